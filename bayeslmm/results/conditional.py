"""Given the hyperparameters of a normal model β is normal: what draws of these say about it, without its own draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.hyperpriors import find_location_scale, of_fixed_effect, unwritten
from ..engine.loo import Hyperdraws
from ..engine.mixtures import NormalMixture, given_hyperparameters
from ..engine.scaling import Problem
from ..errors import InputError
from ..tools.arrays import Array
from .convergence import effective_size
from .draws import Draws
from .statements import Statement, linear

ENOUGH = 1000  # draws of the hyperparameters, evenly chosen


def normal_priors(fit: Draws) -> tuple[Array, Array] | None:
    """Means and sds of the priors of the fixed effects, if all are normal or flat."""
    entries = []
    for name in fit.design.x_names:
        written_out = find_location_scale(name, of_fixed_effect(fit.priors, name))
        if written_out is None or np.isfinite(written_out[2]):
            return None
        mean, sd, _ = written_out
        entries.append((mean, sd))
    means, sds = np.array(entries, dtype=float).reshape(-1, 2).T
    return means, sds


def given_draws(record: Draws) -> tuple[NormalMixture, NormalMixture, tuple[int, int]] | None:
    """Posterior and prior of β as `given_hyperparameters` has them, and how many draws of how many chains it rests on.

    None where β is not normal given the hyperparameters, or where the kernel does not hold them: other families, priors
    with other tails, parameters of residuals besides sigma, wide terms, rows that are counted or gone.
    """
    design = record.design
    if not design.family.is_normal or not design.x_names or design.is_wide or design.sums is not None:
        return None
    if design.residual is not None or design.likelihood_weights is not None or unwritten(design, record.priors):
        return None
    priors = normal_priors(record)
    if priors is None:
        return None
    values = record.values
    each = min(record.n_draws, -(-ENOUGH // record.n_chains))
    chosen = np.arange(each) * record.n_draws // each

    def taken(draws: Array) -> Array:
        drawn = draws[:, chosen]
        return np.ascontiguousarray(drawn.reshape(-1, *drawn.shape[2:]))

    known = np.broadcast_to(design.family.known.get("sigma", np.nan), (record.n_chains, record.n_draws))
    draws = Hyperdraws(
        sigma=taken(np.asarray(values.family.get("sigma", known))),
        covariances=tuple(taken(covariance) for covariance in values.covariances),
        beta=taken(values.beta),
        prior=priors,
    )
    try:
        return *given_hyperparameters(Problem.of(design), draws), (record.n_chains, each)
    except FloatingPointError:  # a sample so far out that the kernel breaks down
        return None


def densities_at_equality(
    statement: Statement, records: Sequence[Draws]
) -> tuple[tuple[float, float, float], float] | None:
    """Posterior density of left − right at zero with effective number and relative error, and prior density.

    Averaged over draws of the hyperparameters (Gelfand & Smith 1990), which knows no kernel's width. Of several imputed
    tables the mean over tables. None where the statement is no equation of a sum of fixed effects, or β is not normal.

    References
    ----------
    Gelfand & Smith (1990), Sampling-based approaches to calculating marginal densities, JASA 85.
    """
    names = records[0].design.x_names
    if statement.relation != "=" or not set(statement.names) <= set(names):
        return None
    try:
        L, r = linear([statement], names, "hypothesis")
    except InputError:  # not linear
        return None
    parts = [given_draws(record) for record in records]
    after, before, number, variance = [], [], 0.0, 0.0
    for part in parts:
        if part is None:
            return None
        posterior, prior, (chains, draws) = part
        each = posterior.densities(L[0], float(r[0])).reshape(chains, draws)
        prior_density = float(prior.densities(L[0], float(r[0]))[0])
        if not np.isfinite(prior_density) or not prior_density > 0.0 or not np.isfinite(each).all():
            return None
        after.append(float(each.mean()))
        before.append(prior_density)
        total, squares = float(each.sum()), float(np.sum(each**2))
        number += total**2 / squares if squares > 0.0 else 0.0
        variance += float(each.var()) / effective_size(each)
    density = float(np.mean(after))
    error = np.sqrt(variance) / len(parts) / density if density > 0.0 else np.nan
    return (density, number, float(error)), float(np.mean(before))
