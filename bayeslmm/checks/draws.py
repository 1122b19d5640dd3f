"""Residuals and random effects drawn from their distribution given the data, which checks look at.

Such draws are independent and standard normal if the model is right, whatever was estimated and however much is shrunk
(Waagepetersen 2006; Johnson 2007); residuals and modes at estimates are not. So chance is the same statistic of random
numbers. An average over draws varies less than one draw, so that chance is rather over- than understated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from ..design.design import Design, GroupTerm
from ..engine import around_categories, reml
from ..engine.working import working
from ..predictive.statistics import Split
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.quantile_residuals import quantile_residuals
from ..results.rows import own_rows
from ..results.summaries import flat
from ..tools.arrays import Array
from .verdict import Measure

RANDOM_NUMBERS = 1_500_000  # of residuals: 12 MB
SIMULATIONS = 400  # of random effects


def _measure(
    limit: str,
    statistic: Callable[[Array], Array],
    drawn: Array,
    noise: Array,
    *,
    of: str = "",
    size: Callable[[float, Array], float],
    words: Callable[[float, Array], str],
    upwards: bool = False,
) -> Measure:
    observed, chance = float(np.mean(statistic(drawn))), statistic(noise)
    return Measure(
        limit=limit,
        of=of,
        observed=observed,
        chance=chance,
        size=size(observed, chance),
        words=words(observed, chance),
        upwards=upwards,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """Draws of one column of random effects.

    Attributes
    ----------
    group : GroupTerm
    column : int
    drawn : (K, J)
        Over their sd.
    noise : (S, J)
        Standard normal.
    reliability : float
        1 − mean Var(b_j | y) / Var(b_j): how far the data tell the levels apart.
    """

    group: GroupTerm
    column: int
    drawn: Array
    noise: Array
    reliability: float

    @property
    def term(self) -> str:
        """As a summary calls it."""
        return f"{self.group.columns[self.column]} | {self.group.name}"

    def measure(self, limit: str, statistic: Callable[[Array], Array], **options: Any) -> Measure:
        """A statistic (S,) of effects (S, J): its mean over the draws beside those of random numbers."""
        return _measure(limit, statistic, self.drawn, self.noise, **{"of": self.term, **options})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """Draws of the residuals and random effects of a fit, beside random numbers.

    Attributes
    ----------
    design : Design
    residuals, eta : (K, n)
        Normal scores of the residuals, and the linear predictors they belong to.
    noise : (S, n)
        Standard normal.
    effects : tuple of Effects
        Of every column whose sd is not zero.
    splits : tuple of Split
        Rows by the levels of the factors, and of a column that the user named.
    """

    design: Design
    residuals: Array
    eta: Array
    noise: Array
    effects: tuple[Effects, ...]
    splits: tuple[Split, ...]

    def measure(self, limit: str, statistic: Callable[[Array], Array], **options: Any) -> Measure:
        """A statistic (S,) of residuals (S, n): its mean over the draws beside those of random numbers."""
        return _measure(limit, statistic, self.residuals, self.noise, **options)


def draws_of(fit: PointFit | PosteriorFit, splits: tuple[Split, ...], rng: Generator) -> Draws:
    """Draws of either fit, and as many random numbers as are needed to judge them."""
    fit.design.refuse_likelihood_weights("a check of residuals or effects")
    n = fit.design.n
    K, S = int(np.clip(RANDOM_NUMBERS // (10 * n), 10, 30)), int(np.clip(RANDOM_NUMBERS // n, 99, 400))
    residual = None
    if isinstance(fit, PointFit):
        eta, b, of_rows = (_of_categories if fit.design.of_categories else _given_variances)(fit, K, rng)
        sds = [np.sqrt(np.diag(covariance))[None] for covariance in fit.values.covariances]
        parameters = fit.design.along(of_rows)
    else:
        chosen = np.linspace(0, fit.n_chains * fit.n_draws - 1, K).astype(np.int64)
        rows = own_rows(fit, chosen=chosen)
        eta, parameters = rows.eta(slice(None)), dict(rows.parameters_at(slice(None)))
        residual = None if rows.residual is None else rows.residual.values
        names = fit.design.names
        b = [flat(fit.draws(names.b[group.name]))[chosen] for group in fit.design.groups]
        sds = [flat(fit.draws(names.sd[group.name]))[chosen] for group in fit.design.groups]
    return Draws(
        design=fit.design,
        residuals=quantile_residuals(fit.design, eta, parameters, rng=rng, residual=residual),
        eta=eta,
        noise=rng.standard_normal((S, n)),
        effects=tuple(
            _effects(group, c, effects[..., c], sd[:, c], rng)
            for group, effects, sd in zip(fit.design.groups, b, sds, strict=True)
            for c in range(0 if group.is_wide else group.q)
            if sd[:, c].min() > 0.0
        ),
        splits=splits,
    )


def _effects(group: GroupTerm, column: int, b: Array, sd: Array, rng: Generator) -> Effects:
    z = b / sd[:, None]
    noise = rng.standard_normal((SIMULATIONS, group.n_levels))
    reliability = float(1.0 - z.var(axis=0, ddof=1).mean())
    return Effects(group=group, column=column, drawn=z, noise=noise, reliability=reliability)


def _of_categories(fit: PointFit, K: int, rng: Generator) -> tuple[Array, list[Array], dict[str, Array]]:
    """As `_given_variances`, where every category but the first has a linear predictor: that of the first is zero."""
    design, solution = fit.design, fit.solution
    noise = rng.standard_normal((K, len(solution.vcov))) @ np.linalg.cholesky(solution.vcov).T
    count = sum(group.n_levels * group.q for group in design.parameter_groups)
    of_rows: dict[str, Array] = {}
    moved = np.split(noise, len(design.of_categories), axis=1)
    for part, step in zip(design.of_categories, moved, strict=True):
        of_rows[part.variable] = solution.parameters[part.variable] + step
    effects = around_categories.conditional_draws(design, solution, rng.standard_normal((K, count)))
    slopes = around_categories.mode_slopes(design, solution)
    for group, effect, slope in zip(design.parameter_groups, effects, slopes, strict=True):
        of_rows[design.names.b[group.name]] = effect + np.einsum("jqp,kp->kjq", slope, noise)
    return np.zeros((K, design.n)), [], of_rows


def _given_variances(fit: PointFit, K: int, rng: Generator) -> tuple[Array, list[Array], dict[str, Array]]:
    """Xβ + Zb + offset (K, n), b, and the family's parameters, with β and b drawn given y and the variances.

    b moves with β as its mode does.
    """
    design = fit.design
    repeated = {name: np.tile(value, (K, *[1] * np.ndim(value))) for name, value in fit.values.family.items()}
    problem, solution = working(design, fit.solution)
    root = np.linalg.cholesky(solution.vcov) if design.p else np.zeros((0, 0))
    noise = rng.standard_normal((K, design.p)) @ root.T
    eta = design.offset + (solution.beta + noise) @ design.X.T
    effects: list[Array] = []
    if not design.groups:
        return eta, effects, repeated
    count = sum(group.n_levels * group.q for group in design.groups)
    simulated_effects = reml.conditional_draws(problem, solution, rng.standard_normal((K, count)))
    for group, effect, slope in zip(design.groups, simulated_effects, reml.mode_slopes(problem, solution), strict=True):
        effects.append(effect + np.einsum("jqp,kp->kjq", slope, noise))
        eta += group.contribution(effects[-1])
    return eta, effects, repeated
