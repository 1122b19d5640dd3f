"""Profile likelihood: the deviance minimised over everything but one parameter (docs/theory.md, section 10).

Parameters are those people read: standard deviations and correlations of the random effects in the user's units,
sigma, and the fixed effects. The deviance is that of maximum likelihood, also after a REML fit, as in lme4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import Template, cholesky_psd, sd_and_correlation
from ..tools.arrays import Array
from . import pls
from .criterion import Criterion, prepare
from .crossproducts import CrossProducts
from .layout import Layout, arrange
from .reml import PointSolution, fit
from .scaling import Problem, Scaled

STEP = 0.5  # in ζ
ONLY_SIGMA: Mapping[str, int | None] = MappingProxyType({"sigma": None})
SAME = 1e-3  # difference in ζ of two searches that ended at one place
BEYOND = 0.3  # how far past the wanted ζ the curve is followed


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What is profiled: columns a (and b) of a grouping factor, sigma, column a of X, or another of the family's.

    Of residuals with parameters besides sigma the a-th of these, which bootstraps know and profiles do not.
    """

    kind: Literal["sd", "cor", "sigma", "residual", "beta", "family"]
    factor: int = -1
    a: int = -1
    b: int = -1
    name: str = ""  # of the family's, and a is its place among several


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A profile: ζ = sign(value − estimate) √(deviance − minimum) at increasing values."""

    parameter: Parameter
    estimate: float
    value: Array
    zeta: Array
    low: float  # where ζ reaches −cutoff, or the end of the parameter's range
    high: float
    below: float  # how far below the minimum a smaller deviance was met, by which the estimates are no optimum


def parameters(problem: Problem, family: Mapping[str, int | None] = ONLY_SIGMA) -> list[Parameter]:
    """Every parameter of a model, in the order of lme4's ``profile``: sds and correlations, sigma, fixed effects.

    What else the family has follows, each with how many numbers it has: None stands for one.
    """
    listed = []
    for k, template in enumerate(problem.templates):
        for block, structure in zip(template.blocks, template.structures, strict=True):
            d = len(block)
            listed += [Parameter(kind="sd", factor=k, a=a) for a in block[: structure.n_sds(d)]]
            pairs = structure.entries(d)
            listed += [Parameter(kind="cor", factor=k, a=block[a], b=block[b]) for b, a in pairs]
    if "sigma" in family and problem.sigma is None:
        listed.append(Parameter(kind="sigma"))
    if problem.residual is not None:
        listed += [Parameter(kind="residual", a=a) for a in range(problem.residual.n_values)]
    listed += [Parameter(kind="beta", a=a) for a in range(problem.X.shape[1])]
    return listed + [
        Parameter(kind="family", name=name, a=a)
        for name, count in family.items()
        if name != "sigma"
        for a in ([-1] if count is None else range(count))
    ]


def profile(problem: Problem, solution: PointSolution, cutoff: float) -> Iterator[Curve]:
    """The curve of every parameter, followed until |ζ| passes ``cutoff``.

    Parameters
    ----------
    problem : Problem
    solution : PointSolution
        Its fit by ML or REML.
    cutoff : float
        The |ζ| at which the interval ends: 1.96 for 95 %.

    Yields
    ------
    Curve
        In the order of :func:`parameters`.
    """
    best = solution if not solution.reml else fit(problem, reml=False)
    scaled, criterion = prepare(problem, reml=False)
    for parameter in parameters(problem):
        yield followed(_Slice(scaled, criterion, best, parameter), cutoff)


class _Slice:
    """The ML deviance with one parameter held, as a function of the others.

    The others are the entries of the absolute Cholesky factors C_k = σΛ_k on the user's columns, over the sd of their
    row, and log σ unless it is known. Inside its block the held column is put first, so that holding its sd holds one
    entry of C_k. Where the structure of a block has sds and correlations for its numbers, the held one is one of them.
    """

    def __init__(self, scaled: Scaled, criterion: Criterion, best: PointSolution, parameter: Parameter) -> None:
        self.scaled, self.parameter = scaled, parameter
        self.layout, self.templates = criterion.layout, criterion.templates
        self.n, self.sigma = criterion.layout.cross.n, criterion.sigma
        self.minimum = best.criterion
        self.held_at = [_place(template, parameter, k) for k, template in enumerate(self.templates)]
        self.orders = [
            list(range(template.q))
            if place >= 0 or k != parameter.factor
            else column_order(template.q, template.blocks, parameter)
            for k, (template, place) in enumerate(zip(self.templates, self.held_at, strict=True))
        ]
        self.back = [np.linalg.inv(T)[:, order] for T, order in zip(scaled.T_z, self.orders, strict=True)]
        covariances = [
            covariance[np.ix_(order, order)] for covariance, order in zip(best.covariances, self.orders, strict=True)
        ]
        factors = [
            cholesky_psd(covariance, template.blocks)
            for covariance, template in zip(covariances, self.templates, strict=True)
        ]
        self.units = [
            np.where(np.diag(covariance) > 0.0, np.sqrt(np.diag(covariance)), best.sigma * np.abs(np.diag(T)[order]))
            for covariance, T, order in zip(covariances, scaled.T_z, self.orders, strict=True)
        ]
        self.free = [self._searched(k, template) for k, template in enumerate(self.templates)]
        self.entries = [np.zeros(template.n_theta) for template in self.templates]  # of the last point looked at
        self.start = self._pack(factors, best.sigma)
        self.estimate = self._value(best, covariances)
        self.scale = self._first_step(best)
        self.plateau = self._find_plateau()

    def _searched(self, k: int, template: Template) -> NDArray[np.bool_]:
        """Which numbers of factor k are searched."""
        free = np.ones(template.n_theta, dtype=bool)
        if self.held_at[k] >= 0:
            free[self.held_at[k]] = False
        else:
            entries = zip(template.rows, template.columns, strict=True)
            free[: len(template.rows)] = [self._is_free(k, r, c) for r, c in entries]
        return free

    def _is_free(self, k: int, row: int, column: int) -> bool:
        """Whether an entry of C_k is searched; a held correlation turns row b into one number, its sd."""
        if k != self.parameter.factor:
            return True
        a, b = (self.orders[k].index(c) if c >= 0 else -1 for c in (self.parameter.a, self.parameter.b))
        if self.parameter.kind == "sd":
            return not row == column == a
        return not (row == b and column == a)

    def _value(self, best: PointSolution, covariances: list[Array]) -> float:
        p = self.parameter
        if p.kind == "sigma":
            return best.sigma
        if p.kind == "beta":
            return float(best.beta[p.a])
        sd, correlation = sd_and_correlation(best.covariances[p.factor])
        return float(sd[p.a] if p.kind == "sd" else correlation[p.a, p.b])

    def _first_step(self, best: PointSolution) -> float:
        """A guess at a standard error; the walk corrects it."""
        p = self.parameter
        if p.kind == "beta":
            return float(np.sqrt(best.vcov[p.a, p.a]))
        if p.kind == "cor":
            return 0.2
        if p.kind == "sigma":
            return best.sigma / np.sqrt(2.0 * self.n)
        levels = self.layout.cross.levels[p.factor]
        return float(self.units[p.factor][self.orders[p.factor].index(p.a)]) / np.sqrt(2.0 * levels)

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of the parameter."""
        p = self.parameter
        if p.kind == "cor" and self.held_at[p.factor] >= 0:
            low, high = self.templates[p.factor].ends
            place = self.held_at[p.factor]
            return (float(low[place]), float(high[place]))
        return {"sd": (0.0, np.inf), "sigma": (0.0, np.inf), "cor": (-1.0, 1.0), "beta": (-np.inf, np.inf)}[p.kind]

    def _pack(self, factors: list[Array], sigma: float) -> Array:
        parts = [
            template.theta(C / unit[:, None])[free]
            for C, unit, template, free in zip(factors, self.units, self.templates, self.free, strict=True)
        ]
        end = [np.array([np.log(sigma)])] if self._searches_sigma else []
        return np.concatenate([np.zeros(0), *parts, *end])

    def _unpack(self, x: Array, held: float) -> tuple[list[Array], float]:
        factors, start = [], 0
        for k, (template, free) in enumerate(zip(self.templates, self.free, strict=True)):
            entries = np.zeros(template.n_theta)
            entries[free] = x[start : start + free.sum()]
            start += int(free.sum())
            place = self.held_at[k]
            if place >= 0:
                unit = self.units[k][self.parameter.a] if self.parameter.kind == "sd" else 1.0
                entries[place] = held / unit
            self.entries[k] = entries
            C = template.factor(entries)
            if k == self.parameter.factor and place < 0:
                a, b = self._held(k)
                if self.parameter.kind == "sd":
                    C[a, a] = held / self.units[k][a]
                else:  # the entry [b, b] is searched as the sd of row b
                    C[b, a], C[b, b] = held * C[b, b], np.sqrt(1.0 - held**2) * C[b, b]
            factors.append(C * self.units[k][:, None])
        if self._searches_sigma:
            return factors, float(np.exp(x[-1]))
        return factors, held if self.sigma is None else self.sigma

    @property
    def _searches_sigma(self) -> bool:
        return self.sigma is None and self.parameter.kind != "sigma"

    def _held(self, k: int) -> tuple[int, int]:
        order = self.orders[k]
        return order.index(self.parameter.a), order.index(self.parameter.b) if self.parameter.b >= 0 else -1

    def deviance(self, held: float, start: Array) -> tuple[float, Array]:
        """Smallest deviance with the parameter held, and where the search ended."""
        layout = self.layout if self.parameter.kind != "beta" else self._without_column(held)
        if not len(start):
            return self._objective(start, held, layout)[0], start
        value, x = self._search(held, self._off_zero(start), layout, self._bounds())
        return min(value, self.plateau), x

    def elsewhere(self, x: Array) -> list[Array]:
        """Points with the searched correlations of `curved` blocks near either of their ends."""
        masks = zip(self.templates, self.free, strict=True)
        bent = np.concatenate([np.zeros(0, bool), *(template.is_correlation[free] for template, free in masks)])
        places = np.flatnonzero(bent)  # beyond them may stand log σ
        if not len(places):
            return []
        low, high = np.array(self._bounds() or [], dtype=float)[places].T
        starts = []
        for share in (0.15, 0.85):
            start = x.copy()
            start[places] = low + share * (high - low)
            starts.append(start)
        return starts

    def _search(
        self, held: float, start: Array, layout: Layout, bounds: list[tuple[float | None, float | None]] | None
    ) -> tuple[float, Array]:
        from scipy.optimize import minimize

        result = minimize(
            self._objective,
            start,
            args=(held, layout),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-14, "gtol": 1e-6, "maxiter": 200},
        )
        return float(result.fun), result.x

    def _find_plateau(self) -> float:
        """Smallest deviance where one of a held correlation's sds is zero, and the correlation says nothing."""
        if self.parameter.kind != "cor" or self.held_at[self.parameter.factor] >= 0:
            return np.inf
        values = []
        for i, bound in enumerate(self._bounds() or []):
            if bound[0] == 0.0:
                bounds = self._bounds() or []
                bounds[i] = (0.0, 0.0)
                values.append(self._search(0.0, self._off_zero(self.start), self.layout, bounds)[0])
        return min(values)

    def _bounds(self) -> list[tuple[float | None, float | None]] | None:
        """Sds that belong to a held correlation stay positive: a change of sign would be one of the correlation."""
        of_a_cor = self.parameter.kind == "cor"
        if not of_a_cor and all(template.is_linear for template in self.templates):
            return None
        bounds: list[tuple[float | None, float | None]] = []
        for k, (template, free) in enumerate(zip(self.templates, self.free, strict=True)):
            held = self._held(k) if of_a_cor and k == self.parameter.factor and self.held_at[k] < 0 else ()
            entries = zip(template.rows, template.columns, free, strict=False)
            bounds += [(0.0 if r == c and r in held else None, None) for r, c, use in entries if use]
            low, high = (end[len(template.rows) :][free[len(template.rows) :]] for end in template.bounds)
            bounds += list(zip(low.tolist(), high.tolist(), strict=True))
        return [*bounds, (None, None)] if self._searches_sigma else bounds

    def _off_zero(self, x: Array) -> Array:
        """Zeros on the diagonals moved to 0.1: at zero the derivative says nothing."""
        parts = (template.is_diagonal[free] for template, free in zip(self.templates, self.free, strict=True))
        pivots = np.concatenate([np.zeros(0), *parts])
        at_zero = np.zeros(len(x), dtype=bool)
        at_zero[: len(pivots)] = (pivots > 0) & (np.abs(x[: len(pivots)]) < 0.1)
        return np.where(at_zero, 0.1, x)

    def _objective(self, x: Array, held: float, layout: Layout) -> tuple[float, Array]:
        factors, sigma = self._unpack(x, held)
        lams = [back @ C / sigma for back, C in zip(self.back, factors, strict=True)]
        reduced = pls.reduce(layout, lams)
        solution = pls.solve(reduced)
        terms = pls.slopes(reduced, solution, sigma**2, with_X=False)
        value = (
            reduced.log_det_M
            + self.n * np.log(2.0 * np.pi * sigma**2)
            + solution.r2 / sigma**2
            - layout.cross.sum_log_weights
        )
        by_lam = terms.gradients(lams)
        gradient = [
            self._gradient(k, back.T @ D / sigma, held)
            for k, (back, D) in enumerate(zip(self.back, by_lam, strict=True))
        ]
        if self._searches_sigma:
            along_sigma = 2.0 * self.n - 2.0 * solution.r2 / sigma**2
            along_sigma -= sum(float(np.sum(D * lam)) for D, lam in zip(by_lam, lams, strict=True))
            gradient.append(np.array([along_sigma]))
        return float(value), np.concatenate([np.zeros(0), *gradient])

    def _gradient(self, k: int, by_C: Array, held: float) -> Array:
        """Derivatives with respect to the searched entries of factor k."""
        t, by_entry = self.templates[k], by_C * self.units[k][:, None]
        if k == self.parameter.factor and self.parameter.kind == "cor" and self.held_at[k] < 0:
            a, b = self._held(k)
            by_entry[b, b] = held * by_entry[b, a] + np.sqrt(1.0 - held**2) * by_entry[b, b]
        return t.gradient(self.entries[k], by_entry)[self.free[k]]

    def _without_column(self, held: float) -> Layout:
        """The cross-products of [X y] with β_a held: y − tx and X without the direction of β_a."""
        row = self.scaled.T_x[self.parameter.a]
        center = self.scaled.y_center if self.parameter.a == self.scaled.intercept else 0.0
        t = (held - self.scaled.beta(np.zeros_like(row))[self.parameter.a]) if center else held
        p = len(row)
        along = row / (row @ row)
        null_space = np.linalg.svd(row[None, :])[2][1:].T  # (p, p − 1): β̃ with rowᵀβ̃ = 0
        change = np.zeros((p + 1, p))
        change[:p, : p - 1] = null_space
        change[:p, p - 1] = -t * along
        change[p, p - 1] = 1.0
        cross: CrossProducts = self.layout.cross
        return arrange(
            replace(cross, ZtXy=tuple(z @ change for z in cross.ZtXy), XytXy=change.T @ cross.XytXy @ change)
        )


def _place(template: Template, parameter: Parameter, k: int) -> int:
    """Where the held parameter stands among the numbers of factor k, if it is one of them; else −1."""
    if k != parameter.factor:
        return -1
    for block, structure, offset in template.curved:
        if parameter.a in block:
            d = len(block)
            if parameter.kind == "sd":
                return offset + (0 if structure.hom else block.index(parameter.a))
            entry = (block.index(parameter.b), block.index(parameter.a))
            return offset + structure.n_sds(d) + structure.entries(d).index(entry)
    return -1


def column_order(q: int, blocks: tuple[tuple[int, ...], ...], parameter: Parameter) -> list[int]:
    """Columns of the parameter's factor with the held ones first in their block."""
    order = list(range(q))
    for block in blocks:
        if parameter.a in block:
            first = [c for c in (parameter.a, parameter.b) if c >= 0]
            for place, column in zip(block, first + [c for c in block if c not in first], strict=True):
                order[place] = column
    return order


class Slice(Protocol):
    """The smallest deviance with one parameter held."""

    parameter: Parameter
    estimate: float
    minimum: float
    scale: float  # about a standard error
    start: Array  # of the others, at the estimate

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of the parameter."""

    def deviance(self, held: float, start: Array) -> tuple[float, Array]:
        """Smallest deviance with the parameter held, and where the search ended."""

    def elsewhere(self, x: Array) -> list[Array]:
        """Other points to begin a search from: the deviance has a dip on either side of a correlation."""


def followed(piece: Slice, cutoff: float) -> Curve:
    """The curve of a parameter on both sides of its estimate, until |ζ| passes ``cutoff``."""
    low_end, high_end = piece.bounds
    (down, lowest), (up, lowest_above) = _walk(piece, cutoff, -1.0, low_end), _walk(piece, cutoff, 1.0, high_end)
    values = np.array([v for v, _ in reversed(down)] + [piece.estimate] + [v for v, _ in up])
    zetas = np.array([z for _, z in reversed(down)] + [0.0] + [z for _, z in up])
    return Curve(
        parameter=piece.parameter,
        estimate=piece.estimate,
        value=values,
        zeta=zetas,
        low=_end(down, cutoff, low_end),
        high=_end(up, cutoff, high_end),
        below=max(piece.minimum - min(lowest, lowest_above), 0.0),
    )


def _walk(piece: Slice, cutoff: float, sign: float, end: float) -> tuple[list[tuple[float, float]], float]:
    """(value, ζ) from the estimate outwards, at most 40 points and the one where ζ has the cutoff's value.

    And the smallest deviance that was seen.

    The curve has kinks where another variance leaves zero, so the crossing is bracketed, not interpolated; searches
    start from the point further in, since from further out they may end on another branch. Before a crossing is
    believed it is looked for from elsewhere: a branch that is lower there is followed back to where it begins.
    """
    from scipy.optimize import brentq

    smallest = piece.minimum

    def zeta_from(value: float, start: Array) -> tuple[float, Array]:
        nonlocal smallest
        deviance, x = piece.deviance(value, start)
        smallest = min(smallest, deviance)
        return float(sign * np.sqrt(max(deviance - piece.minimum, 0.0))), x

    def lowest(value: float, start: Array, zeta: float, x: Array) -> tuple[float, Array]:
        """The lowest of ζ that was found at a value and of searches from elsewhere."""
        return min(
            [(zeta, x), *(zeta_from(value, other) for other in piece.elsewhere(start))], key=lambda end: abs(end[0])
        )

    def lowered(start: Array) -> None:
        """Follow a lower branch back over the points, as far as it is lower."""
        for k in reversed(range(len(points))):
            zeta, start = zeta_from(points[k][0], start)
            if abs(zeta) > abs(points[k][1]) - SAME:
                return
            points[k] = points[k][0], zeta

    value, zeta, x, step = piece.estimate, 0.0, piece.start, piece.scale * STEP
    points: list[tuple[float, float]] = []
    crossing: list[tuple[float, float]] = []
    while abs(zeta) < cutoff + BEYOND and len(points) < 40 and sign * (end - value) > 1e-9 * abs(value):
        proposal = value + sign * step
        if sign * (proposal - end) >= 0.0:  # towards a finite end: zero itself, but never a correlation of one
            proposal = end if end == 0.0 and piece.parameter.kind == "sd" else value + 0.7 * (end - value)
        if piece.parameter.kind == "cor" and abs(proposal) > 0.9999:
            break
        proposed, proposed_x = zeta_from(proposal, x)
        if abs(zeta) < cutoff < abs(proposed):
            first = proposed
            proposed, proposed_x = lowest(proposal, x, proposed, proposed_x)
            if abs(proposed) < abs(first) - SAME:
                lowered(proposed_x)
                zeta = points[-1][1] if points else zeta
        if abs(zeta) < cutoff < abs(proposed):
            ends = {value: abs(zeta) - cutoff, proposal: abs(proposed) - cutoff}  # a search may end a little elsewhere
            crossing_value = brentq(
                lambda v, start=x, ends=ends: ends[v] if v in ends else abs(zeta_from(v, start)[0]) - cutoff,
                value,
                proposal,
                xtol=1e-6 * piece.scale,
            )
            crossing = [(float(crossing_value), sign * cutoff)]
        step *= float(np.clip(STEP / max(abs(proposed - zeta), 1e-3), 0.25, 4.0))
        value, zeta, x = proposal, proposed, proposed_x
        points.append((value, zeta))
    return sorted([*points, *crossing], key=lambda point: sign * point[0]), smallest


def _end(points: list[tuple[float, float]], cutoff: float, end: float) -> float:
    """Where ζ has the cutoff's value; the range's end if it never has."""
    return next((value for value, zeta in points if abs(zeta) == cutoff), end)
