"""What draws say about themselves: R-hat, effective sample sizes, and what the sampler reports."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SamplingWarning

K_HAT_LIMIT = 0.7  # above, importance weights have no usable variance (Vehtari et al. 2024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the draws say about themselves; ``reasons`` is empty when nothing raises doubt."""

    max_rhat: float
    min_ess_bulk: float
    min_ess_tail: float
    divergences: int | None = None  # of NUTS
    min_ebfmi: float | None = None
    k_hat: float | None = None  # of the exact sampler's proposal
    reasons: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether nothing raises doubt."""
        return not self.reasons

    def __str__(self) -> str:
        facts = [f"R-hat ≤ {self.max_rhat:.3f}", f"ESS ≥ {min(self.min_ess_bulk, self.min_ess_tail):,.0f}"]
        if self.divergences is not None:
            facts.append(f"{self.divergences} divergences")
        if self.k_hat is not None:
            facts.append(f"k-hat {self.k_hat:.2f}")
        told = f"({', '.join(facts)})"
        return f"converged {told}" if self.converged else f"doubtful: {'; '.join(self.reasons)} {told}"


def diagnose_draws(tree: Any) -> Diagnosis:
    """R-hat and ESS over all parameters (Vehtari et al. 2021), what the sampler reports, and what follows from them.

    Doubt is raised by R-hat above 1.01, an effective sample size under 100 a chain, any divergence, an E-BFMI under
    0.3, and a k-hat over 0.7.
    """
    import arviz as az

    data = _varying(tree.posterior.to_dataset())
    rhat = max(float(v.max()) for v in az.rhat(data).data_vars.values())
    bulk = min(float(v.min()) for v in az.ess(data, method="bulk").data_vars.values())
    tail = min(float(v.min()) for v in az.ess(data, method="tail").data_vars.values())
    stats = tree.sample_stats.to_dataset()
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else None
    ebfmi = _ebfmi(stats["energy"].to_numpy()) if "energy" in stats else None
    k_hat = tree.sample_stats.attrs.get("k_hat")
    reasons = []
    if rhat > 1.01:
        reasons.append(f"R-hat up to {rhat:.3f}: chains disagree, draw more")
    if min(bulk, tail) < 100 * data.sizes["chain"]:
        reasons.append(f"effective sample size down to {min(bulk, tail):.0f}: draw more")
    if divergences:
        reasons.append(f"{divergences} divergences: part of the posterior may be missed, raise target_accept")
    if ebfmi is not None and ebfmi < 0.3:
        reasons.append(f"E-BFMI {ebfmi:.2f}: the energy moves slowly, reparameterise or draw more")
    if k_hat is not None and k_hat > K_HAT_LIMIT:
        reasons.append(f"k-hat {k_hat:.2f}: the proposal misses part of the posterior, use method='nuts'")
    found = Diagnosis(
        max_rhat=rhat, min_ess_bulk=bulk, min_ess_tail=tail, divergences=divergences, min_ebfmi=ebfmi, k_hat=k_hat,
        reasons=tuple(reasons),
    )  # fmt: skip
    if reasons:
        warnings.warn(f"sampling: {found}", SamplingWarning, stacklevel=3)
    return found


def _varying(posterior: Any) -> Any:
    """Without the unit entries of correlation matrices, which do not vary and have no R-hat."""
    varying = {name: v for name, v in posterior.data_vars.items() if not name.startswith("cor_")}
    for name, v in posterior.data_vars.items():
        if name.startswith("cor_"):
            flat = v.stack(pair=v.dims[2:]).to_numpy()
            moving = flat[..., flat.std(axis=(0, 1)) > 0]
            varying[name] = (("chain", "draw", f"{name}_pair"), moving)
    others = [c for c in posterior.coords if c not in ("chain", "draw")]
    return type(posterior)(varying).drop_vars(others, errors="ignore")


def _ebfmi(energy: np.ndarray) -> float:
    return float((np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1)).min())
