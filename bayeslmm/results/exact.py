"""Draws of the exact sampler under the naming contract of every posterior."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine import marginal as engine
from ..engine.hyperpriors import HyperPriors
from ..engine.scaling import Problem
from ..errors import InputError, NotAvailableError
from ..spec.design import Design
from ..spec.priors import Priors
from .progress import track

MOST_HYPERPARAMETERS = 12  # beyond, a t distribution fits the posterior badly


def sample_exact(
    design: Design, priors: Priors, *, draws: int, chains: int, random_seed: int | None, progressbar: bool
) -> Any:
    """An ``xarray.DataTree`` as NUTS gives; k-hat and the acceptance rate are attributes of ``sample_stats``.

    Raises
    ------
    NotAvailableError
        A prior does not allow it, or there are too many hyperparameters.
    """
    if min(draws, chains) < 1:
        raise InputError(f"draws={draws}, chains={chains}: each must be at least 1")
    if not design.groups:
        raise NotAvailableError("a model without random effects has no group sds to sample")
    marginal = engine.Marginal(Problem.of(design), HyperPriors.of(design, priors))
    if len(marginal.bounded) > MOST_HYPERPARAMETERS:
        raise NotAvailableError(
            f"{len(marginal.bounded)} hyperparameters are too many for one proposal (limit {MOST_HYPERPARAMETERS})"
        )
    started = time.perf_counter()
    own, *streams = (np.random.default_rng(s) for s in np.random.SeedSequence(random_seed).spawn(chains + 1))
    proposal, _ = engine.fit_proposal(marginal, own)
    finished = engine.sample(marginal, proposal, draws=draws, rngs=streams)
    per_chain = [
        chain for _, chain in track(((1, c) for c in finished), chains, "Sampling chains", progressbar)
    ]
    return _tree(design, per_chain, seconds=time.perf_counter() - started)


def _tree(design: Design, chains: Sequence[engine.ExactDraws], *, seconds: float) -> Any:
    import xarray as xr
    from arviz_stats.base import array_stats

    def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(parts))

    n_chains, n_draws = len(chains), chains[0].sigma.shape[1]
    steps = {"chain": np.arange(n_chains), "draw": np.arange(n_draws)}
    coords: dict[str, Any] = {**steps, "coef": np.array(design.x_names, dtype=object)}
    variables: dict[str, Any] = {"sigma": (("chain", "draw"), joined([c.sigma for c in chains]))}
    if design.x_names:
        variables["beta"] = (("chain", "draw", "coef"), joined([c.beta for c in chains]))
    for k, g in enumerate(design.groups):
        term, other = f"{g.name}_term", f"{g.name}_term_bis"
        columns = np.array(g.columns, dtype=object)
        coords |= {g.name: np.array(g.levels, dtype=object), term: columns, other: columns}
        variables[f"sd_{g.name}"] = (("chain", "draw", term), joined([c.sds[k] for c in chains]))
        if any(len(block) > 1 for block in g.blocks):
            cor = joined([c.correlations[k] for c in chains])
            variables[f"cor_{g.name}"] = (("chain", "draw", term, other), cor)
        variables[f"b_{g.name}"] = (("chain", "draw", g.name, term), joined([c.effects[k] for c in chains]))
    log_weights = joined([c.log_weights for c in chains])
    accepted = joined([c.accepted for c in chains])
    posterior = xr.Dataset(variables, coords=coords)
    posterior.attrs = {
        "sample_dims": ["chain", "draw"],
        "sampler": f"the exact marginal sampler ({accepted.mean():.0%} of proposals accepted)",
        "seconds": round(seconds, 3),
        "tuning_steps": 0,
    }
    stats = xr.Dataset(
        {
            "lp": (("chain", "draw"), joined([c.log_density for c in chains])),
            "accepted": (("chain", "draw"), accepted),
        },
        coords=steps,
    )
    k_hat = float(array_stats.psislw(log_weights.max() - log_weights)[1])
    stats.attrs = {
        "sample_dims": ["chain", "draw"],
        "k_hat": k_hat,
        "acceptance_rate": float(accepted.mean()),
    }
    observed = xr.Dataset({"y": ("obs", design.y)}, coords={"obs": design.index.to_numpy()})
    return xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": stats,
            "observed_data": observed,
            "constant_data": xr.Dataset(),
        }
    )
