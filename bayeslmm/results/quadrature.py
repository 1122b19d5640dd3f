"""Draws from the marginal by quadrature of models with few effects a row, under the naming contract."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from ..design.design import Design
from ..design.priors import Priors
from ..engine.hyperpriors import find_location_scale, of_fixed_effect, unwritten
from ..engine.nested_marginal import FEW_NODES, NestedMarginal, why_not
from ..engine.nested_modes import APART, LEAST_MASS, NARROW, conflicts, modes_in_conflict
from ..engine.pql import rough_fit
from ..engine.proposal import Fitted, refine
from ..engine.randomness import seed_sequence
from ..engine.sampler import Team
from ..tools.arrays import Array
from .contract import as_tree, named
from .diagnosis import K_HAT_LIMIT, pareto_k
from .progress import Bar
from .settings import Settings

PILOT = 100  # draws a coordinate in a round of the proposal's fit
PILOT_OF_MODES = 1600  # where there are several: few draws tell little of a narrow one's mass and tails
SHARE_LIMIT = 0.2  # of the proposal's draws that count: below, NUTS does better


def why_no_quadrature(design: Design, priors: Priors, most: int = FEW_NODES) -> str:
    """Why a model is not drawn from its marginal by quadrature of so many nodes, in words; empty where it is."""
    return why_not(design, most) or unwritten(design, priors)


def sample_quadrature(design: Design, priors: Priors, settings: Settings) -> tuple[Any, str]:
    """An ``xarray.DataTree`` of draws, and an empty text; or none, and why NUTS has to draw them.

    That is where no proposal fits: by its own pilot draws, or by a k-hat over 0.7 three times, each time with
    four times as many of them.
    """
    started = time.perf_counter()
    design = priors.at_means(design)
    rough = rough_fit(design)
    if rough is None:
        return None, "there are no rough estimates to begin with"
    marginal = NestedMarginal(design, priors, rough)
    draws, chains = settings.draws, settings.chains
    cores = min(settings.cores or os.cpu_count() or 1, chains)
    first, *streams = map(np.random.default_rng, seed_sequence(settings.random_seed).spawn(chains + 1))
    reason = ""
    with Bar("Sampling", chains * draws, show=settings.progressbar) as bar, Team(cores, advance=bar.advance) as team:
        density = team.densities(marginal)
        if not np.isfinite(marginal.log_densities(marginal.start[None])[0]):
            return None, "the density at rough estimates is zero"
        near, of_mode = marginal.settle(density, first), np.zeros(1, np.int64)
        modes = modes_in_conflict(marginal, density, near)
        if modes is not None:
            near, of_mode = modes.mixture(first)
            marginal.search_from_zero()
            marginal.choose_rule(density, near, first)
        least = PILOT if modes is None else PILOT_OF_MODES
        for pilot in (least, 4 * least, 16 * least):
            fitted = refine(marginal, first, density, near, of_mode, pilot=pilot)
            if fitted.share < SHARE_LIMIT:
                reason = f"only {fitted.share:.1%} of the draws of the best proposal count"
                break
            walks = team.walks(marginal, fitted.proposal, draws, streams)
            k_hat = pareto_k(_joined(walks, "log_weights"))
            if not k_hat > K_HAT_LIMIT:
                reason = ""
                break
            reason = f"the best proposal fits badly (k-hat {k_hat:.2f})"
    if reason:
        return None, reason
    x, accepted = _joined(walks, "x"), _joined(walks, "accepted")
    beta, parameters = marginal.outwards(x, _joined(walks, "parameters"))
    of_bars = marginal.effects_of(_joined(walks, "lam"), _joined(walks, "u"))
    variables = named(
        design,
        beta=beta,
        parameters=parameters,
        sds=[of_bar.sds for of_bar in of_bars],
        correlations=[of_bar.correlations for of_bar in of_bars],
        effects=[of_bar.effects for of_bar in of_bars],
    )
    rate, nodes = float(accepted.mean()), " × ".join(map(str, marginal.nodes))
    sampler_words = f"{nodes} nodes, {rate:.0%} of proposals accepted{_modes(fitted)}"
    tree = as_tree(
        design,
        variables,
        {"lp": _joined(walks, "log_density"), "accepted": accepted},
        of_posterior={
            "sampler": f"the exact marginal by quadrature ({sampler_words})",
            "method": "exact",
            "tuning_steps": 0,
            "seconds": round(time.perf_counter() - started, 3),
        },
        of_statistics={"k_hat": k_hat, "acceptance_rate": rate},
    )
    return tree, ""


def doubt_about_modes(design: Design, priors: Priors, settings: Settings, tree: Any) -> str:
    """Which mode draws of NUTS leave out, or may, where there is no density to ask, in words; empty where none."""
    if design.family.is_normal or not design.groups:
        return ""
    if why_no_quadrature(design, priors):
        return _at_one_end(design, priors, tree.posterior["beta"].to_numpy() if design.x_names else np.empty(0))
    design = priors.at_means(design)
    rough = rough_fit(design)
    if rough is None:
        return ""
    marginal = NestedMarginal(design, priors, rough)
    if not len(conflicts(marginal)) or not np.isfinite(marginal.log_densities(marginal.start[None])[0]):
        return ""
    near = marginal.settle(marginal.log_densities, np.random.default_rng(seed_sequence(settings.random_seed)))
    modes = modes_in_conflict(marginal, marginal.log_densities, near)
    beta = tree.posterior["beta"].to_numpy()
    skipped = "" if modes is None else modes.skipped(marginal.inwards(beta.reshape(-1, beta.shape[-1])))
    if not skipped:
        return ""
    return (
        f"priors and data are in conflict: the posterior has several modes, and one {skipped}. "
        "Look at prior_audit(); method='exact' draws from all of them where a proposal fits"
    )


def _at_one_end(design: Design, priors: Priors, beta: Array) -> str:
    """Which slope of groups has all draws (chain, draw, p) at one end of a conflict of prior and data, in words.

    Heavy tails let it be where the data have it, and a group's sd lets it be where the prior has it: there may be a
    mode at either end, between which chains do not go.
    """
    rough = rough_fit(design)
    if rough is None:
        return ""
    for j, name in enumerate(design.x_names):
        prior = find_location_scale(name, of_fixed_effect(priors, name))
        if prior is None or name == "Intercept" or not _is_of_groups(design, design.X[:, j]):
            continue
        location, scale, dof = prior
        estimate, error = float(rough.solution.beta[j]), float(np.sqrt(rough.solution.vcov[j, j]))
        if not (np.isfinite(dof) and np.abs(estimate - location) > max(NARROW * scale, APART * error)):
            continue
        at_prior = float(np.mean(np.abs(beta[..., j] - location) < np.abs(beta[..., j] - estimate)))
        if not LEAST_MASS < at_prior < 1.0 - LEAST_MASS:
            taken, other = ("its prior", "the data") if at_prior > 0.5 else ("the data", "its prior")
            return (
                f"prior and data are in conflict over {name}: the draws are where {taken} would have it, and there may "
                f"be a second mode where {other} would, to which chains do not go. Look at prior_audit()"
            )
    return ""


def _is_of_groups(design: Design, column: Array) -> bool:
    """Whether a column (n,) is the same in all rows of a level of some factor, but not in all rows."""
    for group in design.groups:
        if group.is_wide:
            continue
        first = np.zeros(group.n_levels)
        first[group.codes] = column
        if np.ptp(column) > 0.0 and np.array_equal(first[group.codes], column):
            return True
    return False


def _modes(fitted: Fitted) -> str:
    """The masses of modes, where there are several of a thousandth or more."""
    masses = [mass for mass in sorted(fitted.masses, reverse=True) if mass >= 0.001]
    return f"; modes with {', '.join(f'{mass:.1%}' for mass in masses)} of the mass" if len(masses) > 1 else ""


def _joined(walks: list[list[Any]], part: str) -> Any:
    """One part of all stretches, chains side by side (chain, draw, ...)."""
    return np.stack([np.concatenate([getattr(walk, part) for walk in chain]) for chain in walks])
