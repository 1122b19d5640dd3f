"""What priors and data ask for, each by itself: whether they may be in conflict, and where to look then."""

from __future__ import annotations

import numpy as np

from ..tools.arrays import Array
from ..tools.lazy import special
from ..tools.summed import least_squares
from .hyperpriors import Kind, Positive, log_prior
from .marginal import Marginal
from .marginal_nuts import unbounded

NARROW, LARGE_ETA = 0.2, 20.0  # of a log ratio, in units of its column; of LKJ for residuals
RANGE = 3.0  # of the log density of a prior, over what the data allow: more is an opinion
RESIDUALS = 3.5  # of a coordinate of residuals: sds that differ by a factor of 30, correlations of 0.998


def is_opinionated(marginal: Marginal) -> bool:
    """Whether a prior is narrow, or far away, beside what the data could say in their own units."""
    priors, problem = marginal.priors, marginal.problem
    spread = float(np.std(problem.y)) or 1.0
    size = np.sqrt(np.mean((problem.X - centers(marginal)) ** 2, axis=0))
    reach = size * priors.beta_sd
    distance = size * np.abs(priors.beta_mean - _least_squares(marginal))
    of_beta = np.isfinite(priors.beta_sd) & ((reach < spread) | (distance > spread + 2.0 * reach))
    residual, structure = priors.residual, problem.residual
    of_residuals = False
    if residual is not None and structure is not None:
        narrow = (residual.sd * structure.units < NARROW) | (np.abs(residual.mean) * structure.units > 1.0)
        of_residuals = bool(narrow.any()) or residual.eta > LARGE_ETA
    return (
        bool(of_beta.any())
        or of_residuals
        or any(_range(prior, unit) > RANGE for prior, unit in zip(_positive(marginal), _units(marginal), strict=True))
    )


def _range(prior: Positive, unit: float) -> float:
    """How much the log density varies between 0.05 and 1 units; infinite where the prior excludes some of it."""
    values = [log_prior(int(prior.kind), prior.a, prior.b, v)[0] for v in unit * np.geomspace(0.05, 1.0, 30)]
    return max(values) - min(values) if np.isfinite(values).all() else np.inf


def centers(marginal: Marginal) -> Array:
    """Means of the predictors if there is an intercept, zero for it (p,)."""
    X, k = marginal.problem.X, marginal.scaled.intercept
    if k is None:
        return np.zeros(X.shape[1])
    means: Array = X.mean(axis=0)
    means[k] = 0.0
    return means


def _least_squares(marginal: Marginal) -> Array:
    """β (p,) by least squares, that of the intercept at centred predictors, as its prior is."""
    X = marginal.problem.X - centers(marginal)
    return least_squares(X, marginal.problem.y)


def _positive(marginal: Marginal) -> list[Positive]:
    sigma = marginal.priors.sigma
    return [*(p for of_factor in marginal.priors.sds for p in of_factor), *([] if sigma is None else [sigma])]


def _units(marginal: Marginal) -> Array:
    """The sd (all sds and σ) at which each part alone would make up the response's spread."""
    spread = float(np.std(marginal.problem.y)) or 1.0
    of_sds = np.sqrt(np.concatenate([np.zeros(0), *marginal.problem.mean_squares]))[marginal.space.column_of]
    of_sigma = np.ones(int(marginal.problem.sigma is None))
    return np.hypot(spread, marginal.problem.sigma or 0.0) / np.append(of_sds, of_sigma)


def _bulk(prior: Positive, unit: float) -> tuple[float, float]:
    """The middle 99 % of a prior, within a millionth and a thousand units; two units of a flat one."""
    if prior.kind == Kind.FLAT:
        return unit, unit
    grid = unit * np.geomspace(1e-6, 1e3, 600)
    values = np.array([log_prior(int(prior.kind), prior.a, prior.b, value)[0] for value in grid]) + np.log(grid)
    if not np.isfinite(values.max()):
        return unit, unit
    share = np.cumsum(np.exp(values - values.max()))
    low, high = np.searchsorted(share / share[-1], [0.005, 0.995])
    return float(grid[low]), float(grid[high])


def box(marginal: Marginal, points: Array) -> tuple[Array, Array]:
    """Lowest and highest z (d,) of where to look, as `unbounded` has them: what priors and data ask for, and points."""
    low, high = np.empty(marginal.d), np.empty(marginal.d)
    z = unbounded(marginal, np.concatenate([marginal.starts(), points]))
    space, units = marginal.space, _units(marginal)
    places = [*np.flatnonzero(space.sd_at), *range(marginal.d)[marginal.sigma_at]]
    scales = [*space.softness, 1.0][: len(places)]
    for place, prior, unit, scale in zip(places, _positive(marginal), units, scales, strict=True):
        ends = _bulk(prior, unit)
        low[place] = np.log(min(ends[0], 0.02 * unit) / scale)
        high[place] = np.log(max(ends[1], 3.0 * unit) / scale)
    correlations = np.flatnonzero(space.correlation_at)
    low[correlations], high[correlations] = (sign * 2.5 * np.sqrt(1.0 + space.partial_gain) for sign in (-1.0, 1.0))
    t = mixing(marginal, 2.0)
    low[marginal.omega_at] = np.log(t) - 2.0
    high[marginal.omega_at] = np.log(special.gammaincinv(space.nu / 2.0, 0.999) / (space.nu / 2.0))
    low[marginal.residual_at], high[marginal.residual_at] = -RESIDUALS, RESIDUALS
    return np.minimum(low, z.min(axis=0) - 0.5), np.maximum(high, z.max(axis=0) + 0.5)


def mixing(marginal: Marginal, times: float) -> Array:
    """ω (t,) of the t priors where their effects are ``times`` as far from the center as the data could ask for."""
    which, nu = marginal.space.with_t, marginal.space.nu
    size = np.sqrt(np.mean((marginal.problem.X - centers(marginal)) ** 2, axis=0))[which]
    away = np.abs(_least_squares(marginal) - marginal.priors.beta_mean)[which]
    away = np.maximum(away, 0.3 * np.std(marginal.problem.y) / np.maximum(size, 1e-300))
    return (nu + 1.0) / (nu + (times * away / marginal.priors.beta_sd[which]) ** 2)
