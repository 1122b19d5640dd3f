"""Estimates of the parameters of residuals (docs/theory.md, section 14).

The criterion of `criterion.py` is minimised over θ for every δ and ρ, from where the last search ended, and the result
over δ and ρ.  At the optimum of θ the derivatives by δ and ρ of both are the same, so that they are taken with θ held.
Where rows fall into a few strata, their cross-products are weighted sums of those of the strata, and no row is read
again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FitError, UnidentifiedTermError
from ..residual_structures import Residuals
from ..tools.arrays import Array
from . import pls
from .blocked import Blocked
from .collapsed import collapsed
from .criterion import Criterion, Evaluation
from .crossproducts import CrossProducts, PairBlocks
from .layout import Layout, Values, arrange, refilled
from .scaling import Problem, ScaledRows

MOST_STRATA = 40  # whose cross-products are kept
STEP = 1e-4  # of a free coordinate in a difference: errors of rounding and of the next term are alike, some 1e-9
ROUNDING = 1e-14  # of the criterion: a slope that promises less leads nowhere
FAR = 7.0  # a free coordinate of a correlation beyond which it is at its end
ENOUGH = 1e-3  # of a derivative per square root of rows, as `reml` has it
LONG, MANY = 20_000, 3  # rows and parameters beyond which only the best start is followed, where they cost

WIDEST = 12.0  # of log sds: one sd 160,000 times another
MOVED = 0.01  # of a correlation, below which a step in its coordinate says nothing
FLAT = 1e-6  # of a criterion that any information would raise by some thousandths

Climb = Callable[..., Evaluation | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """Where a search ended."""

    values: Array  # δ and ρ
    theta: Array  # θ̃
    gradient_norm: float  # in free coordinates
    evaluations: int
    is_stationary: bool
    at_end: bool  # a correlation is at an end of what it may be


class Criteria:
    """The criterion as a function of θ̃ for every δ and ρ of the residuals of one problem."""

    def __init__(self, problem: Problem, *, reml: bool) -> None:
        assert problem.residual is not None
        self.problem, self.reml, self.residual = problem, reml, problem.residual
        self.rows = ScaledRows.of(problem)
        self.evaluations = 0
        many = self.residual.n_values > MANY  # else differences of the whitened rows cost less
        self.blocked = Blocked.of(self.rows, reml=reml) if many and not problem.codes else None
        self._strata = self._of_strata()
        self._layout: Layout | None = None
        self._parts: list[Values] | None = None  # cross-products of the strata in the places of the layout

    def at(self, values: Array) -> Criterion:
        """The criterion where δ and ρ have these values."""
        self.evaluations += 1
        cross = self._cross(values)
        self._layout = arrange(cross) if self._layout is None else refilled(self._layout, cross)
        return Criterion(self._layout, self.problem.templates, reml=self.reml, sigma=self.problem.sigma)

    def value(self, values: Array, theta: Array) -> float:
        """The criterion itself."""
        criterion = self.at(values)
        reduced = pls.reduce(criterion.layout, criterion.lams(theta))
        return criterion.value(reduced, pls.solve(reduced))

    def lowest_at(self, free: Array, theta: Array) -> float:
        """The criterion at free coordinates, infinite where it breaks down."""
        try:
            if self.blocked is not None:
                return self.blocked.evaluate(free).value
            return self.value(self.residual.natural(free), theta)
        except (FloatingPointError, np.linalg.LinAlgError):
            return np.inf

    def gradient(self, free: Array, theta: Array) -> Array:
        """Derivatives (d + r,) by free coordinates with θ̃ held."""
        if self.blocked is not None:
            return self.blocked.with_gradient(free)[1]
        if self._strata is not None:
            return self._gradient_by_strata(self.residual.natural(free), theta) / self.residual.units
        out = np.empty(len(free))
        for i in range(len(free)):
            h = np.zeros(len(free))
            h[i] = STEP * max(1.0, abs(free[i]))
            forward, backward = (self.value(self.residual.natural(free + sign * h), theta) for sign in (1.0, -1.0))
            out[i] = (forward - backward) / (2.0 * h[i])
        return out

    def _gradient_by_strata(self, values: Array, theta: Array) -> Array:
        """Derivatives (d,) by δ, through those by the weight that each stratum has."""
        assert self._strata is not None
        distinct, every, rows = self._strata
        criterion = self.at(values)
        reduced = pls.reduce(criterion.layout, criterion.lams(theta))
        solution = pls.solve(reduced)
        if self._parts is None:
            self._parts = [refilled(criterion.layout, cross).values for cross in every]
        log_dets, r2s = pls.slopes_by_parts(reduced, solution, self._parts, with_X=self.reml)
        weights = np.exp(-2.0 * (distinct @ values))
        return np.asarray(-2.0 * (weights * (log_dets + r2s / criterion.sigma2(solution)) - rows) @ distinct)

    def _of_strata(self) -> tuple[Array, list[CrossProducts], Array] | None:
        """Rows (strata, d) of G that differ, the cross-products of the rows that have each, and how many they are."""
        G = self.residual.spread.G
        if self.residual.correlation is not None or self.blocked is not None:
            return None
        distinct, inverse_index = np.unique(G, axis=0, return_inverse=True)
        if len(distinct) > MOST_STRATA:
            return None
        prior = np.ones(len(G)) if self.residual.prior is None else self.residual.prior
        with np.errstate(divide="ignore"):  # rows of other strata have no weight, and the sum of their logs is not used
            every = [
                self.rows.cross(np.where(inverse_index.reshape(-1) == s, prior, 0.0)) for s in range(len(distinct))
            ]
        return distinct, every, np.bincount(inverse_index.reshape(-1)).astype(float)

    def _cross(self, values: Array) -> CrossProducts:
        if self._strata is None:
            return self.rows.whitened(values)
        distinct, every, _ = self._strata
        relative = np.exp(-2.0 * (distinct @ values))
        weights = self.residual.weights(values)
        assert weights is not None
        return _combined(every, relative, float(np.log(weights).sum()))


def _combined(every: list[CrossProducts], factors: Array, sum_log_weights: float) -> CrossProducts:
    """Σ factor × cross-products, all of the same rows and so with the same pairs of levels."""

    def total(parts: list[Array]) -> Array:
        return np.asarray(sum(factor * part for factor, part in zip(factors, parts, strict=True)))

    first = every[0]
    return replace(
        first,
        ZtZ=tuple(total([entry.ZtZ[k] for entry in every]) for k in range(len(first.ZtZ))),
        ZtXy=tuple(total([entry.ZtXy[k] for entry in every]) for k in range(len(first.ZtXy))),
        pairs={
            key: PairBlocks(keys=block.keys, values=total([entry.pairs[key].values for entry in every]))
            for key, block in first.pairs.items()
        },
        XytXy=total([entry.XytXy for entry in every]),
        sum_log_weights=sum_log_weights,
    )


def search(problem: Problem, *, reml: bool, climb: Climb) -> Searched:
    """The δ, ρ and θ̃ of the lowest criterion found from several starts.

    Parameters
    ----------
    problem : Problem
    reml : bool
    climb : callable
        (criterion, θ̃) -> the optimum of a `Criterion` near θ̃, or None where numbers break down.

    Raises
    ------
    FitError
        The criterion breaks down at every start, or an sd goes to zero.
    UnidentifiedTermError
        The criterion is the same wherever a parameter is.
    """
    criteria, residual = Criteria(problem, reml=reml), problem.residual
    assert residual is not None
    followed = [each for each in (_Path(criteria, climb, free) for free in residual.starts()) if each.is_alive]
    if not followed:
        raise FitError(
            "the search for the residuals' parameters broke down at every start: the residual variance goes to zero. "
            "Leave out what determines the response."
        )
    best = None
    for path in _worth_following(criteria, followed):
        path.descend()
        if best is None or path.lowest < best.lowest - 1e-9 * abs(best.lowest):
            best = path
    assert best is not None
    _refuse_vanishing(residual, best.free)
    gradient = criteria.gradient(best.free, best.theta)
    far = np.abs(best.free[residual.n_spread :]) > FAR
    _refuse_flat(criteria, best, far)
    norm = float(np.abs(np.where(np.r_[np.zeros(residual.n_spread, bool), far], 0.0, gradient)).max(initial=0.0))
    return Searched(
        values=residual.natural(best.free),
        theta=best.theta,
        gradient_norm=norm,
        evaluations=criteria.evaluations,
        is_stationary=norm <= ENOUGH * max(1.0, float(np.sqrt(len(problem.y)))),
        at_end=bool(far.any()),
    )


def _worth_following(criteria: Criteria, paths: list[_Path]) -> list[_Path]:
    """The paths that may end in optima of their own, lowest first.

    Of starts that differ in one correlation those below their neighbours; of others all, or the lowest where they cost.
    """
    ordered = sorted(paths, key=lambda path: path.lowest)
    count, n_spread = criteria.residual.n_values, criteria.residual.n_spread
    if count - n_spread == 1:
        along = sorted(paths, key=lambda path: float(path.free[-1]))
        heights = [np.inf, *(path.lowest for path in along), np.inf]
        valleys = {id(path) for k, path in enumerate(along) if heights[k + 1] <= min(heights[k], heights[k + 2])}
        return [path for path in ordered if id(path) in valleys]
    costly = criteria.blocked is None and (len(criteria.problem.y) > LONG or count > MANY)
    return ordered[:1] if costly else ordered


def _refuse_vanishing(residual: Residuals, free: Array) -> None:
    """Raise FitError where the sd of some rows goes to zero beside that of others."""
    if residual.width(free) > WIDEST:
        row = int(np.argmin(residual.spread.G @ residual.natural(free)[: residual.n_spread]))
        strata = [name for name, v in zip(residual.spread.labels, residual.spread.G[row], strict=True) if v != 0.0]
        raise FitError(
            f"the residual sd goes to zero in the rows of {', '.join(strata) or 'the first level'}: the model fits "
            "them perfectly. They are too few for the coefficients that are theirs alone: join them with others, or "
            "leave out what determines their response."
        )


def _refuse_flat(criteria: Criteria, best: _Path, far: NDArray[np.bool_]) -> None:
    """Raise UnidentifiedTermError where the criterion is the same wherever a parameter is."""
    residual = criteria.residual
    skip = np.append(np.zeros(residual.n_spread, dtype=bool), far)
    for k in np.flatnonzero(~skip):
        h = 0.5 * np.eye(len(best.free))[k]
        natural = [residual.natural(best.free + sign * h)[k] for sign in (1.0, -1.0)]
        if k >= residual.n_spread and abs(natural[0] - natural[1]) < MOVED:
            continue  # a correlation of zero by a rate without bound, say: it is told, and its coordinate is not
        rises = [criteria.lowest_at(best.free + sign * h, best.theta) - best.lowest for sign in (1.0, -1.0)]
        if max(rises) < FLAT:
            raise UnidentifiedTermError(
                f"the data do not tell the residual parameter {residual.labels[k]}: the criterion is the same wherever "
                "it is. The fixed effects take all that would tell it: leave it out of sigma= or residual=, or use ML."
            )


class _Path:
    """A descent over free coordinates of δ and ρ, with θ̃ at its optimum all along."""

    def __init__(self, criteria: Criteria, climb: Climb, free: Array) -> None:
        self.criteria, self.climb, self.free = criteria, climb, free
        self.theta: Array = np.zeros(0)
        self.lowest = np.inf
        start = np.zeros(0)
        if criteria.blocked is None:
            start = criteria.at(criteria.residual.natural(free)).diagonal * 1.0
        self._optimise(free, start)

    @property
    def is_alive(self) -> bool:
        """Whether the criterion is a number where the path begins."""
        return bool(np.isfinite(self.lowest))

    def _optimise(self, free: Array, start: Array) -> tuple[float, Array]:
        """The criterion at its best θ̃, which is kept if it is the lowest so far."""
        blocked = self.criteria.blocked
        if blocked is not None:
            self.criteria.evaluations += 1
            try:
                value, theta = blocked.evaluate(free).value, start
            except np.linalg.LinAlgError:
                return np.inf, start
            if value < self.lowest:
                self.lowest, self.free = value, np.array(free)
            return value, theta
        criterion = self.criteria.at(self.criteria.residual.natural(free))
        if len(start):
            criterion = collapsed(criterion)
            low = np.where(criterion.diagonal, np.maximum(start, 0.05), start)  # from zero no derivative leads away
            evaluation = self.climb(criterion, np.clip(low, *criterion.bounds))
            self.criteria.evaluations += criterion.evaluations
            if evaluation is None:
                return np.inf, start
            value, theta = evaluation.value, evaluation.theta
        else:
            try:
                value, theta = criterion.evaluate(start).value, start
            except FloatingPointError:
                return np.inf, start
        if value < self.lowest:
            self.lowest, self.free, self.theta = value, np.array(free), theta
        return value, theta

    def descend(self) -> None:
        """Quasi-Newton steps until nothing is gained; again from there until a second descent gains nothing."""
        from scipy.optimize import minimize

        residual = self.criteria.residual

        def objective(free: Array) -> tuple[float, Array]:
            if residual.width(free) > 1.5 * WIDEST:  # where rounding is all that is left, and a wider one than is taken
                return 1e300, np.zeros(len(free))
            try:
                value, theta = self._optimise(free, self.theta)
                gradient = self.criteria.gradient(free, theta) if np.isfinite(value) else np.zeros(len(free))
            except (FloatingPointError, np.linalg.LinAlgError):
                value, gradient = np.inf, np.zeros(len(free))
            return (value, gradient) if np.isfinite(value) else (1e300, np.zeros(len(free)))

        scale = residual.rough_sds() ** 2  # about the inverse of H
        steep = max(1e-5, float(np.sqrt(ROUNDING * abs(self.lowest) / scale.max())))
        for _ in range(3):
            before = self.lowest
            options = {"gtol": steep, "maxiter": 300, "hess_inv0": np.diag(scale)}
            minimize(objective, self.free, jac=True, method="BFGS", options=options)
            if before - self.lowest < 1e-8 or residual.width(self.free) > WIDEST:
                break
