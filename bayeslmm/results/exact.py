"""Draws of the exact sampler under the naming contract of every posterior."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.hyperpriors import HyperPriors
from ..engine.marginal import Marginal
from ..engine.marginal_nuts import sample_marginal
from ..engine.proposal import PILOT, Proposal, fit_proposal
from ..engine.sampler import ExactDraws, Team, complete
from ..engine.scaling import Problem
from ..errors import NotAvailableError
from ..spec.design import Design
from ..spec.priors import Priors
from .diagnosis import K_HAT_LIMIT
from .progress import Bar
from .settings import Settings

Array = NDArray[Any]

FEWEST_WEIGHTS = 100  # for a k-hat
SHARE_LIMIT = 0.3  # of the proposal's draws that count: below, NUTS does better

NUTS_STATS = ("diverging", "energy", "depth", "maxdepth_reached", "n_steps", "step_size", "mean_tree_accept")


def sample_exact(design: Design, priors: Priors, settings: Settings) -> Any:
    """An ``xarray.DataTree`` as NUTS gives; k-hat and the acceptance rate are attributes of ``sample_stats``.

    Where the proposal covers the posterior badly, by its own pilot draws or by a k-hat over 0.7 twice, the second time
    with a proposal made with more care, NUTS draws the hyperparameters from the same density instead, and
    ``posterior.attrs["reason"]`` says why.

    Raises
    ------
    NotAvailableError
        A prior does not allow it, or there are no random effects.
    """
    draws, chains = settings.draws, settings.chains
    if not design.family.is_normal:
        raise NotAvailableError(
            f"family={design.family}: the exact sampler integrates effects out of normal responses only"
        )
    if not design.groups:
        raise NotAvailableError("a model without random effects has no group sds to sample")
    started = time.perf_counter()
    marginal = Marginal(Problem.of(design), HyperPriors.of(design, priors))
    cores = min(settings.cores or os.cpu_count() or 1, chains)
    seeds = np.random.SeedSequence(settings.random_seed).spawn(chains + 1)
    own, *streams = map(np.random.default_rng, seeds)
    reason = ""
    with (
        Bar("Sampling", chains * draws, show=settings.progressbar) as bar,
        Team(cores, advance=bar.advance) as team,
    ):
        for pilot in (PILOT, 4 * PILOT):
            proposal, share = fit_proposal(marginal, own, density=team.densities(marginal), pilot=pilot)
            if share < SHARE_LIMIT:
                reason = f"only {share:.1%} of the draws of the best proposal count"
                break
            drawn = team.chains(marginal, proposal, draws, streams)
            k_hat = _k_hat(drawn.log_weights)
            if not k_hat > K_HAT_LIMIT:
                reason = ""
                break
            reason = f"the best proposal fits badly (k-hat {k_hat:.2f})"
    if reason:
        return _by_nuts(design, marginal, proposal, settings, cores, own, started, reason)
    accepted = float(drawn.accepted.mean())
    return _tree(
        design, drawn,
        {"lp": drawn.log_density, "accepted": drawn.accepted},
        {"k_hat": k_hat, "acceptance_rate": accepted},
        {"sampler": f"the exact sampler ({accepted:.0%} of proposals accepted)", "method": "exact", "tuning_steps": 0},
        started,
    )  # fmt: skip


def _k_hat(log_weights: Array) -> float:
    """The shape of the weights' tail (Vehtari et al. 2024); too few draws have none."""
    from arviz_stats.base import array_stats

    if log_weights.size < FEWEST_WEIGHTS:
        return float("nan")
    return float(array_stats.psislw(-log_weights.reshape(-1))[1])


def _by_nuts(
    design: Design, marginal: Marginal, proposal: Proposal, settings: Settings, cores: int, rng: np.random.Generator,
    started: float, reason: str,
) -> Any:  # fmt: skip
    steps = settings.chains * (settings.tune + settings.draws)
    with Bar("Sampling", steps, show=settings.progressbar) as bar:
        x, found = sample_marginal(
            marginal, proposal, draws=settings.draws, tune=settings.tune, chains=settings.chains, cores=cores,
            random_seed=int(rng.integers(2**31)), report=bar.reached,
        )  # fmt: skip
    drawn = complete(marginal, x, rng)
    kept = {name: found[name].to_numpy() for name in NUTS_STATS}
    return _tree(
        design, drawn, {"lp": drawn.log_density, **kept}, {},
        {"sampler": "NUTS on the exact marginal", "method": "exact", "tuning_steps": settings.tune, "reason": reason},
        started,
    )  # fmt: skip


def _tree(
    design: Design, drawn: ExactDraws, stats: dict[str, Array], of_stats: dict[str, float],
    of_posterior: dict[str, Any], started: float,
) -> Any:  # fmt: skip
    import xarray as xr

    variables: dict[str, Array] = {"sigma": drawn.sigma, "beta": drawn.beta}
    for k, g in enumerate(design.groups):
        variables[f"sd_{g.name}"] = drawn.sds[k]
        if any(len(block) > 1 for block in g.blocks):
            variables[f"cor_{g.name}"] = drawn.correlations[k]
        variables[f"b_{g.name}"] = drawn.effects[k]
    posterior = as_dataset(design, variables)
    each = ("chain", "draw")
    steps = {name: posterior[name].to_numpy() for name in each}
    posterior.attrs = {
        "sample_dims": list(each),
        **of_posterior,
        "seconds": round(time.perf_counter() - started, 3),
    }
    statistics = xr.Dataset({name: (each, values) for name, values in stats.items()}, coords=steps)
    statistics.attrs = {"sample_dims": list(each), **of_stats}
    return xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": statistics,
            "observed_data": xr.Dataset({"y": ("obs", design.y)}, coords={"obs": design.index.to_numpy()}),
            "constant_data": xr.Dataset(),
        }
    )


def as_dataset(design: Design, variables: Mapping[str, Array]) -> Any:
    """Arrays (chain, draw, ...) as a Dataset whose dimensions and coordinates are those of the naming contract."""
    import xarray as xr

    n_chains, n_draws = next(v for v in variables.values() if v.size).shape[:2]
    coords: dict[str, Any] = {"chain": np.arange(n_chains), "draw": np.arange(n_draws)}
    dims: dict[str, tuple[str, ...]] = {name: ("chain", "draw") for name in variables}
    if design.x_names:
        coords["coef"] = np.array(design.x_names, dtype=object)
        dims["beta"] = ("chain", "draw", "coef")
    if "cutpoint" in variables:
        coords["threshold"] = np.array(design.levels[:-1], dtype=object)
        dims["cutpoint"] = ("chain", "draw", "threshold")
    for g in design.groups:
        term, other = f"{g.name}_term", f"{g.name}_term_bis"
        columns = np.array(g.columns, dtype=object)
        coords |= {g.name: np.array(g.levels, dtype=object), term: columns}
        coords |= {other: columns} if f"cor_{g.name}" in variables else {}
        dims[f"sd_{g.name}"] = ("chain", "draw", term)
        dims[f"cor_{g.name}"] = ("chain", "draw", term, other)
        dims[f"b_{g.name}"] = ("chain", "draw", g.name, term)
    kept = {
        name: (dims[name], values) for name, values in variables.items() if name != "beta" or design.x_names
    }
    return xr.Dataset(kept, coords=coords)
