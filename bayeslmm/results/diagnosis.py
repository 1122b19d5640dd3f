"""What draws say about themselves: R-hat, effective sample sizes, and what the sampler reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..design.names import ROW, Names
from ..errors import SamplingWarning
from ..tools.lazy import special
from ..tools.warned import warn
from .convergence import convergence

MOST_LEVELS = 100  # of a factor, evenly chosen, whose effects NUTS is judged by: each takes ArviZ some milliseconds
FEWEST_WEIGHTS = 100  # for a k-hat
K_HAT_LIMIT = 0.7  # above, importance weights have no usable variance (Vehtari et al. 2024)
RHAT_LIMIT, ESS_LIMIT, EBFMI_LIMIT = 1.01, 100, 0.3  # ESS a chain
STUCK = 100.0  # an R-hat of chains that do not move, which is infinite or of the order of 1e15 by rounding
MOST_LONGER = 16  # times as many draws, where chains are slow
STANDARD_ERRORS, BY_CHANCE = 3.0, 1e-3  # of ESS, and of R-hat: a limit missed by less is missed by chance


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Diagnosis:
    """What the draws say about themselves; ``reasons`` is empty when nothing raises doubt."""

    max_rhat: float
    min_ess_bulk: float
    min_ess_tail: float
    divergences: int | None = None  # of NUTS
    min_ebfmi: float | None = None
    k_hat: float | None = None  # of the exact sampler's proposal
    sampler: str = ""  # which was used, and why if it was not the first choice
    reasons: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether nothing raises doubt."""
        return not self.reasons

    def __repr__(self) -> str:
        return f"<Diagnosis: {self}>"

    def __str__(self) -> str:
        ess = min(self.min_ess_bulk, self.min_ess_tail)
        facts = ["R-hat unknown"] if np.isnan(self.max_rhat) else [f"R-hat {_up_to(self.max_rhat, '≤')}"]
        facts.append(f"ESS ≥ {ess:,.0f}" if np.isfinite(ess) else "ESS unknown")
        if self.divergences is not None:
            facts.append(f"{self.divergences} divergences")
        if self.k_hat is not None and np.isfinite(self.k_hat):
            facts.append(f"k-hat {self.k_hat:.2f}")
        summary = f"({', '.join(facts)}{'; by ' if self.sampler else ''}{self.sampler})"
        return f"converged {summary}" if self.converged else f"doubtful: {'; '.join(self.reasons)} {summary}"


def pareto_k(log_weights: np.ndarray) -> float:
    """The shape of the weights' tail (Vehtari et al. 2024); too few draws have none.

    Infinite where the tail has no shape: next to no draw counts, or its weights are all alike.
    """
    from arviz_stats.base import array_stats

    if log_weights.size < FEWEST_WEIGHTS:
        return float("nan")
    if np.isfinite(log_weights).sum() < FEWEST_WEIGHTS:
        return float("inf")
    try:
        k = float(array_stats.psislw(-log_weights.reshape(-1))[1])
    except ValueError:  # "all tail values are the same"
        return float("inf")
    return k if np.isfinite(k) else float("inf")


def diagnose_draws(tree: Any, names: Names) -> Diagnosis:
    """The verdict on draws, with a warning where it is doubtful."""
    diagnosis = judge(tree, names)
    tell(diagnosis)
    return diagnosis


def tell(diagnosis: Diagnosis) -> None:
    """Warn of a doubtful verdict."""
    if diagnosis.reasons:
        warn(f"sampling: {diagnosis}", SamplingWarning)


def judge(tree: Any, names: Names) -> Diagnosis:
    """R-hat and ESS over all parameters (Vehtari et al. 2021), what the sampler reports, and what follows from them.

    The exact sampler draws random effects independently given the other parameters, so these decide. Of NUTS the
    effects of at most 100 levels a factor are looked at, evenly chosen.

    Doubt is raised by R-hat above 1.01, an effective sample size under 100 a chain, draws too few for either, any
    divergence, an E-BFMI under 0.3, and a k-hat over 0.7.
    """
    exact, draws = _is_exact(tree), _judged(tree, names)
    of_each = convergence(draws)
    rhat, bulk, tail = float(of_each[0].max()), float(of_each[1].min()), float(of_each[2].min())
    rhat = float(tree.posterior.attrs.get("rhat", rhat))  # of the draws before they were thinned
    stats: Any = tree.sample_stats.to_dataset() if "sample_stats" in tree.children else {}
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else None
    ebfmi = _ebfmi(stats["energy"].to_numpy()) if "energy" in stats else None
    if ebfmi is not None and "ebfmi" in stats.attrs:  # of the draws before they were thinned
        ebfmi = float(stats.attrs["ebfmi"])
    k_hat = tree.sample_stats.attrs.get("k_hat") if "sample_stats" in tree.children else None
    attrs = tree.posterior.attrs
    because = f", since {attrs['reason']}" if attrs.get("reason") else ""
    longer = f"; {attrs['extended']}" if attrs.get("extended") else ""
    reasons = []
    if np.isnan([rhat, bulk, tail]).any():
        size = f"{draws.shape[0]} x {draws.shape[1]} draws"
        reasons.append(f"{size} do not tell whether chains agree: take two chains or more and draw more")
    if rhat > RHAT_LIMIT:
        reasons.append(f"R-hat {_up_to(rhat, 'up to')}: chains disagree, draw more")
    enough = _with_error(min(bulk, tail)) if longer else min(bulk, tail)
    if enough < ESS_LIMIT * draws.shape[0]:
        reasons.append(f"effective sample size down to {min(bulk, tail):.0f}: draw more")
    if divergences:
        remedy = "draw with a longer tune" if exact else "raise target_accept"
        reasons.append(f"{divergences} divergences: part of the posterior may be missed, {remedy}")
    if ebfmi is not None and ebfmi < EBFMI_LIMIT:
        reasons.append(f"E-BFMI {ebfmi:.2f}: the energy moves slowly, reparameterise or draw more")
    if k_hat is not None and k_hat > K_HAT_LIMIT:
        reasons.append(f"k-hat {k_hat:.2f}: the proposal misses part of the posterior, use method='nuts'")
    if attrs.get("doubt"):
        reasons.append(attrs["doubt"])
    return Diagnosis(
        max_rhat=rhat,
        min_ess_bulk=bulk,
        min_ess_tail=tail,
        divergences=divergences,
        min_ebfmi=ebfmi,
        k_hat=k_hat,
        sampler=f"{attrs.get('sampler', 'NUTS')}{because}{longer}",
        reasons=tuple(reasons),
    )


def narrowly_missed(tree: Any, diagnosis: Diagnosis, names: Names) -> str:
    """What raises doubt by less than its own Monte Carlo error, in words; empty where nothing does, or more as well.

    Of an effective sample size S the standard error is about S·√(8/S). R-hat of m chains that agree is about
    1 + c / (2s(2m − 1)), where c is chi-squared with 2m − 1 degrees of freedom and s the effective size of half a
    chain, by every chain alone: what chains disagree about does not make it smaller.
    """
    ess = min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
    if _with_error(ess) < ESS_LIMIT * tree.posterior.sizes["chain"]:
        return ""
    return _by_chance(tree, diagnosis, names)


def too_slow(tree: Any, diagnosis: Diagnosis, names: Names) -> str:
    """What more draws of NUTS will mend, in words; empty where they will not, or nothing has to be mended.

    Its chains agree as far as they can tell and nothing diverges, so that all a small effective size says is that they
    move slowly; not so slowly, though, that sixteen times as many draws would be too few.
    """
    if _is_exact(tree):
        return ""
    ess = min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
    if ess * MOST_LONGER < ESS_LIMIT * tree.posterior.sizes["chain"]:
        return ""
    return _by_chance(tree, diagnosis, names)


def hardly_moves(tree: Any, diagnosis: Diagnosis) -> str:
    """What other coordinates of NUTS may mend, in words: few effective draws or a large R-hat, without divergences."""
    if diagnosis.converged or _is_exact(tree) or tree.posterior.attrs.get("doubt") or diagnosis.divergences != 0:
        return ""
    numbers = [diagnosis.max_rhat, diagnosis.min_ess_bulk, diagnosis.min_ess_tail]
    return f"R-hat was up to {diagnosis.max_rhat:.3f}" if np.isfinite(numbers).all() else ""


def covers(tree: Any, other: Any, names: Names) -> bool:
    """Whether draws reach the middle of every chain of others: a mode that they had found is not lost."""
    draws, middles = _judged(tree, names), np.median(_judged(other, names), axis=1)
    return bool(((draws.min(axis=(0, 1)) <= middles) & (middles <= draws.max(axis=(0, 1)))).all())


def _by_chance(tree: Any, diagnosis: Diagnosis, names: Names) -> str:
    """What raises doubt, in words, if chains do not disagree by more than chance and the sampler reports no trouble."""
    of_sampler = (
        diagnosis.divergences
        or tree.posterior.attrs.get("doubt")
        or (diagnosis.min_ebfmi is not None and diagnosis.min_ebfmi < EBFMI_LIMIT)
        or (diagnosis.k_hat is not None and diagnosis.k_hat > K_HAT_LIMIT)
    )
    numbers = [diagnosis.max_rhat, diagnosis.min_ess_bulk, diagnosis.min_ess_tail]
    if diagnosis.converged or of_sampler or not np.isfinite(numbers).all():
        return ""
    draws = _judged(tree, names)
    chains, ess = draws.shape[0], min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
    high = draws[..., convergence(draws)[0] > RHAT_LIMIT]
    alone = [np.minimum(*convergence(high[[c]])[1:]) for c in range(chains)] if high.size else []
    if alone:
        df = 2 * chains - 1
        half_chain = np.sum(alone, axis=0) / (2 * chains)
        by_chance = 1.0 + special.chdtri(df, BY_CHANCE) / (2.0 * df * half_chain)
        if (convergence(high)[0] > by_chance).any():
            return ""
    if ess >= ESS_LIMIT * chains:
        return f"R-hat was up to {diagnosis.max_rhat:.3f}"
    return f"the effective sample size was down to {ess:.0f}"


def too_sticky(tree: Any, diagnosis: Diagnosis) -> str:
    """What more draws of an exact sampler will mend, in words; empty where they will not, or nothing has to be mended.

    Its chains begin in the posterior and their proposals do not hang on where they stand, so that all a small effective
    size says is that some draws stay for long.
    """
    others = (
        diagnosis.divergences is not None  # by NUTS
        or tree.posterior.attrs.get("doubt")
        or (diagnosis.k_hat is not None and diagnosis.k_hat > K_HAT_LIMIT)
    )
    numbers = [diagnosis.max_rhat, diagnosis.min_ess_bulk, diagnosis.min_ess_tail]
    if diagnosis.converged or others or not _is_exact(tree) or not np.isfinite(numbers).all():
        return ""
    ess = min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
    if ess < ESS_LIMIT * tree.posterior.sizes["chain"]:
        return f"the effective sample size was down to {ess:.0f}"
    return f"R-hat was up to {diagnosis.max_rhat:.3f}"


def _up_to(rhat: float, words: str) -> str:
    return f"{words} {rhat:.3f}" if rhat < STUCK else f"over {STUCK:.0f}"


def _with_error(ess: float) -> float:
    """An effective sample size and three of its standard errors."""
    return float(ess + STANDARD_ERRORS * np.sqrt(8.0 * ess))


def _is_exact(tree: Any) -> bool:
    return bool(tree.posterior.attrs.get("method") == "exact")


def _judged(tree: Any, names: Names) -> np.ndarray:
    """The draws (chain, draw, k) that decide."""
    return _varying(tree.posterior.to_dataset(), names, without=names.effects if _is_exact(tree) else frozenset())


def _varying(posterior: Any, names: Names, *, without: frozenset[str]) -> np.ndarray:
    """Draws (chain, draw, k) of all variables but some, without what does not vary: unit entries of correlations."""
    parts = []
    for name, variable in posterior.data_vars.items():
        if name in without or ROW in variable.dims:
            continue
        values = variable.to_numpy()
        if name in names.effects and values.shape[2] > MOST_LEVELS:
            values = values[:, :, np.linspace(0, values.shape[2] - 1, MOST_LEVELS).astype(int)]
        flat = values.reshape(*values.shape[:2], -1)
        parts.append(flat[..., flat.std(axis=(0, 1)) > 0] if name in names.correlations else flat)
    return np.concatenate(parts, axis=-1)


def _ebfmi(energy: np.ndarray) -> float:
    spread, moved = energy.var(axis=1), np.square(np.diff(energy, axis=1)).mean(axis=1)
    return float(np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0.0).min())  # 0: it never moved
