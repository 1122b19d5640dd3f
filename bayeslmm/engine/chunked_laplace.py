"""Laplace's approximation where the rows are kept on disk: one pass over them a Newton step, and one for a gradient.

The search is that of rows in memory (`laplace_fit`), and so is the approximation. What it takes of the rows are sums:
[Z X]ᵀW[Z X], [Z X]ᵀℓ' and Σ log p at (β, u) give a step and the next point's likelihood alike, so that a step whose
length is kept costs one pass; [Z X]ᵀc with c = −½ s∘ℓ''' gives the gradient, in which ZᵀWZΛv is a product with sums.
Memory is that of a few such sums, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np

from ..design.design import Design
from ..errors import NotAvailableError
from ..families import Family
from ..families.densities import each_bend, numbers
from ..tools.arrays import Array
from ..tools.summed import GoneRows, refusal
from . import pls
from .crossproducts import CrossProducts, PairBlocks
from .laplace import CERTAIN, Approximation, Factorised, Inner, Joint, Regression, pearson_squares
from .laplace import linked as linked_to
from .laplace_categories import approximation as in_memory
from .laplace_loops import CLOSE, HALVINGS, INNER_STEPS, SURE
from .layout import Codes, Layout, arrange
from .reml import PointSolution
from .reweighting import Reweighted, Rows, fill, gather, leverage, spread
from .rows_on_disk import Block, RowsOnDisk
from .scaling import Problem, scale
from .separation import can_separate, edges, sparsest
from .sums import Sums, rows_of

FIRST, MORE, ROUNDS = 2_000, 200, 200  # rows that a search for separation begins with and adds, and how often
VIOLATED = 1e-6  # by how much a form falls, of a direction with largest entry one


def approximation(design: Design, *, restricted: bool = False) -> Approximation:
    """The approximation of a design, whether its rows are in memory or on disk.

    Raises
    ------
    NotAvailableError
        The rows are gone, as those of a fit that was loaded; or a restricted likelihood of rows on disk.
    """
    if design.sums is None:
        return in_memory(design, restricted=restricted)
    rows = rows_of(design)
    if rows is None:
        raise refusal(design.n)
    if restricted:
        raise NotAvailableError(
            f"fit_reml of {design.n:,} rows in chunks is not offered with {design.family.option}: fit_ml() is, from "
            "which it hardly differs where there are many rows."
        )
    return ChunkedApproximation(design, rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """What makes rows on disk those of `reweighting`; factors in elimination order.

    Attributes
    ----------
    to_x : float64 array (1 + k, p)
        From the columns of a block to the scaled ones of X.
    to_z : float64 array (1 + k, Q)
    starts : int64 array (K + 1,)
        First column of each factor among the Q.
    order : tuple of int
        The factor at each place.
    pair_keys : tuple of (int64 array, int64 array)
        Sorted keys of the pairs of levels, and where the block of each stands.
    """

    family: Family
    layout: Layout
    to_x: Array
    to_z: Array
    starts: np.ndarray
    order: tuple[int, ...]
    pair_keys: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, design: Design, rows: RowsOnDisk, layout: Layout, T_x: Array, T_z: Sequence[Array]) -> Frame:
        """That of the rows of a design, whose columns are scaled."""
        sums = cast(Sums, design.sums)
        width, p, order, widths = rows.width, len(T_x), layout.order, layout.pattern.widths
        to_x = np.zeros((width, p))
        to_x[rows.of_x] = sums.B_xy[:p, :p] @ T_x
        to_z = [np.zeros((width, 0))]
        for k in order:
            part = np.zeros((width, len(T_z[k])))
            part[rows.of_z[k]] = sums.B_z[k] @ T_z[k]
            to_z.append(part)
        m, start, pair_keys = max(layout.m, 1), 0, []
        for each in layout.pairs:
            keys = each.rows[:, 0] * m + each.rows[:, 1]
            sort = np.argsort(keys)
            pair_keys.append((keys[sort], start + sort * int(widths[each.a] * widths[each.b])))
            start += each.values.size
        return cls(
            family=design.family,
            layout=layout,
            to_x=to_x,
            to_z=np.column_stack(to_z),
            starts=np.concatenate([[0], np.cumsum(widths)]).astype(np.int64),
            order=order,
            pair_keys=tuple(pair_keys),
        )

    def rows(self, block: Block) -> Rows:
        """A block as the compiled loops take it."""
        layout, n = self.layout, len(block.y)
        first = np.empty((n, len(self.order)), dtype=np.int64)
        of_block, start = np.empty_like(first), 0
        for position, k in enumerate(self.order):
            q, begin = int(layout.pattern.widths[position]), int(layout.pattern.column_start[position])
            first[:, position] = begin + block.codes[:, k] * q
            of_block[:, position] = start + block.codes[:, k] * (q * q)
            start += (int(layout.pattern.column_start[position + 1]) - begin) * q
        pair, m = np.empty((n, len(layout.pairs)), dtype=np.int64), max(layout.m, 1)
        for number, (each, (keys, places)) in enumerate(zip(layout.pairs, self.pair_keys, strict=True)):
            pair[:, number] = places[np.searchsorted(keys, first[:, each.a] * m + first[:, each.b])]
        return Rows(
            first=first,
            starts=self.starts,
            Z=np.ascontiguousarray(block.columns @ self.to_z),
            block=of_block,
            pair=pair,
            X=np.ascontiguousarray(block.columns @ self.to_x),
        )

    def bends(self, block: Block, eta: Array, values: Array, count: int) -> Array:
        """As `Approximation.bends`, of the rows of a block."""
        out, ones = np.empty((count, len(eta))), np.ones(len(eta))
        kind, link = numbers(self.family)
        response = np.ascontiguousarray(self.family.working_response(block.y), dtype=float)
        with np.errstate(all="ignore"):
            each_bend(kind, link, response, ones, ones, eta, values, out)
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """Where a pass looks at the likelihood.

    ``least``: the least weight that a row has, elsewhere than at a mode; None for the observed information as it is.
    """

    frame: Frame
    beta: Array  # (p,)
    b: Array  # (m,) Λu in elimination order
    values: Array  # of the family's parameters
    least: float | None = None

    def eta(self, block: Block, rows: Rows) -> Array:
        """The linear predictor (n,)."""
        eta = rows.X @ self.beta + block.offset
        if len(self.b):
            spread(rows, self.b, eta)
        return np.ascontiguousarray(eta)


class Standing:
    """The log likelihood of the rows at a point, its slopes and the cross-products under its curvature."""

    def __init__(self, point: Point) -> None:
        layout = point.frame.layout
        values, p = layout.values, len(point.beta)
        self.point = point
        self.total = self.absolute = self.squares = 0.0
        self.n, self.least = 0, np.inf
        self.by_b, self.by_beta = np.zeros(layout.m), np.zeros(p)
        self.values = values._replace(
            ZtZ=np.zeros_like(values.ZtZ),
            ZtXy=np.zeros_like(values.ZtXy),
            pair_values=np.zeros_like(values.pair_values),
            XytXy=np.zeros_like(values.XytXy),
        )

    def add(self, block: Block) -> None:
        """Add the rows of one block."""
        point, values = self.point, self.values
        rows = point.frame.rows(block)
        density, slope, bend = point.frame.bends(block, point.eta(block, rows), point.values, 3)
        weights = -bend if point.least is None else np.maximum(-bend, 0.0) + point.least
        with np.errstate(all="ignore"):
            self.total += float(density.sum())
            self.absolute += float(np.abs(bend).sum())
            self.squares += float((slope[bend != 0.0] ** 2 / -bend[bend != 0.0]).sum())
            self.least = min(self.least, float(np.min(-bend)))
            self.by_beta += rows.X.T @ slope
        self.n += len(block.y)
        fill(rows, weights, values.pair_factors, values.ZtZ, values.ZtXy, values.pair_values, values.XytXy)
        gather(rows, np.ascontiguousarray(slope), self.by_b)

    def merge(self, other: Self) -> None:
        """Add what another one has added up."""
        self.total, self.absolute = self.total + other.total, self.absolute + other.absolute
        self.squares += other.squares
        self.n, self.least = self.n + other.n, min(self.least, other.least)
        self.by_b += other.by_b
        self.by_beta += other.by_beta
        for name in ("ZtZ", "ZtXy", "pair_values", "XytXy"):
            getattr(self.values, name)[...] += getattr(other.values, name)

    def log_density(self) -> float:
        """Σ log density, minus infinity where it is none."""
        return self.total if self.total < np.inf else -np.inf

    def reduce(self, lams: Sequence[Array]) -> pls.Reduced:
        """M factorised, and X reduced beside it."""
        return pls.reduce(replace(self.point.frame.layout, values=self.values), lams)

    def times_ZWZ(self, b: Array) -> Array:
        """ZᵀWZb (m,)."""
        layout, out, start = self.point.frame.layout, np.empty_like(b), 0
        pattern = layout.pattern
        for position, q in enumerate(pattern.widths):
            rows = layout.rows(position)
            length = (rows.stop - rows.start) * int(q)
            blocks = self.values.ZtZ[start : start + length].reshape(-1, int(q), int(q))
            out[rows] = np.einsum("jab,jb->ja", blocks, b[rows].reshape(-1, int(q))).reshape(-1)
            start += length
        start = 0
        for each in layout.pairs:
            values: Array = self.values.pair_values[start : start + each.values.size].reshape(each.values.shape)
            start += each.values.size
            for a in range(each.values.shape[1]):
                for c in range(each.values.shape[2]):
                    left, right = each.rows[:, 0] + a, each.rows[:, 1] + c
                    np.add.at(out, left, values[:, a, c] * b[right])
                    np.add.at(out, right, values[:, a, c] * b[left])
        return out

    def cross(self, like: CrossProducts) -> CrossProducts:
        """Cross-products of [Z X ỹ] under the curvature, ỹ = η − offset + ℓ'/W the working response."""
        layout, point, p = self.point.frame.layout, self.point, len(self.point.beta)
        order, start, widths = layout.order, 0, layout.pattern.widths
        ZtXy = self.values.ZtXy.reshape(-1, p + 1)[:, :p]
        Zy = ZtXy @ point.beta + (self.times_ZWZ(point.b) if len(point.b) else 0.0) + self.by_b
        XX = self.values.XytXy[:p, :p]
        Xy = XX @ point.beta + self.times_XWZ(point.b) + self.by_beta
        yy = float(point.beta @ (Xy + self.by_beta) + point.b @ (Zy + self.by_b)) + self.squares
        ZtZ: list[Array] = [np.zeros(0)] * len(order)
        ZtXys: list[Array] = [np.zeros(0)] * len(order)
        for position, k in enumerate(order):
            q, rows = int(widths[position]), layout.rows(position)
            length = (rows.stop - rows.start) * q
            ZtZ[k] = self.values.ZtZ[start : start + length].reshape(-1, q, q)
            ZtXys[k] = np.column_stack([ZtXy[rows], Zy[rows]]).reshape(-1, q, p + 1)
            start += length
        pairs, start = dict(like.pairs), 0
        for each in layout.pairs:
            values = self.values.pair_values[start : start + each.values.size].reshape(each.values.shape)
            start += each.values.size
            of_a, of_b = (self._levels(each.rows[:, 0], each.a), self._levels(each.rows[:, 1], each.b))
            k, m = order[each.a], order[each.b]
            if k > m:
                k, m, of_a, of_b, values = m, k, of_b, of_a, values.transpose(0, 2, 1)
            keys = of_a * like.levels[m] + of_b
            sort = np.argsort(keys)
            pairs[k, m] = PairBlocks(keys=keys[sort], values=np.ascontiguousarray(values[sort]))
        XytXy = np.block([[XX, Xy[:, None]], [Xy[None, :], np.array([[yy]])]])
        return replace(like, ZtZ=tuple(ZtZ), ZtXy=tuple(ZtXys), pairs=pairs, XytXy=XytXy)

    def _levels(self, first: Codes, position: int) -> Codes:
        """Levels of the factor at this place of the order, by their first places among the m effects."""
        pattern = self.point.frame.layout.pattern
        return (first - pattern.column_start[position]) // pattern.widths[position]

    def times_XWZ(self, b: Array) -> Array:
        """XᵀWZb (p,)."""
        n_xy, p = self.values.XytXy.shape[0], len(self.point.beta)
        return np.asarray(self.values.ZtXy.reshape(-1, n_xy)[:, :p].T @ b) if len(b) else np.zeros(p)


class Sloping:
    """What the gradient takes of the rows beside `Standing`: sums of c = −½ s∘ℓ''' and of slopes by parameters."""

    def __init__(self, point: Point, selected: pls.Selected, flat: Array, count: int) -> None:
        layout = point.frame.layout
        self.point, self.selected, self.flat, self.count = point, selected, flat, count
        self.by_b, self.by_beta = np.zeros(layout.m), np.zeros(len(point.beta))
        self.direct, self.of_b = np.zeros(2), np.zeros((count, layout.m))

    def add(self, block: Block) -> None:
        """Add the rows of one block."""
        point, layout = self.point, self.point.frame.layout
        rows = point.frame.rows(block)
        _, _, _, d3, *by = point.frame.bends(block, point.eta(block, rows), point.values, 10)
        s = np.empty(len(block.y))
        leverage(rows, layout.pattern, layout.values, self.flat, *self.selected, s)
        c = np.ascontiguousarray(0.5 * s * d3)
        self.by_beta += rows.X.T @ c
        gather(rows, c, self.by_b)
        for k in range(self.count):
            self.direct[k] += float((by[3 * k] + 0.5 * s * by[3 * k + 2]).sum())
            gather(rows, np.ascontiguousarray(by[3 * k + 1]), self.of_b[k])

    def merge(self, other: Self) -> None:
        """Add what another one has added up."""
        self.by_b += other.by_b
        self.by_beta += other.by_beta
        self.direct, self.of_b = self.direct + other.direct, self.of_b + other.of_b


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkedInner(Factorised):
    """The mode with the sums of the rows there in place of the rows."""

    standing: Standing


class ChunkedApproximation(Approximation):
    """`Approximation` of rows on disk, unrestricted."""

    def __init__(self, design: Design, rows: RowsOnDisk) -> None:
        # in place of the constructor of rows in memory, attribute by attribute
        problem = Problem.of(design)
        self.design, self.family, self.restricted, self.rows = design, design.family, False, rows
        self.templates = problem.templates
        centred = scale(problem)
        self.T_x, self.T_z, self.cross = centred.T_x, centred.T_z, centred.cross
        self.XtX = centred.cross.XytXy[:-1, :-1]
        layout = arrange(centred.cross)
        self.frame = Frame.of(design, rows, layout, self.T_x, self.T_z)
        nothing = Rows(
            first=np.empty((0, len(layout.order)), np.int64),
            starts=self.frame.starts,
            Z=np.empty((0, int(self.frame.starts[-1]))),
            block=np.empty((0, len(layout.order)), np.int64),
            pair=np.empty((0, len(layout.pairs)), np.int64),
            X=np.empty((0, len(self.T_x))),
        )
        self.alone = self.with_X = Reweighted(rows=nothing, layout=layout)  # for Λ, and effects by factor
        gone = cast(Any, GoneRows(design.n))
        self.X, self.offset, self.order = gone, cast(Any, design.offset), layout.order
        self.kind, self.link = numbers(design.family)
        self.y, self.trials, self.weights, self.response = cast(Any, design.y), gone, gone, (gone, gone)
        self.counted = None
        of_rows = rows.over(lambda: _OfRows(self.family))
        self.constant, self.distinct, self.counts = of_rows.constant, of_rows.distinct, of_rows.counts
        self.loops = design
        self._prepare(design, len(self.T_x))

    def _standing(self, beta: Array, lams: Sequence[Array], u: Array, values: Array, least: float | None) -> Standing:
        b = self.alone.scaled(lams, u[:, None])[:, 0] if self.m else np.zeros(0)
        point = Point(frame=self.frame, beta=beta, b=np.ascontiguousarray(b), values=values, least=least)
        return self.rows.over(lambda: Standing(point))

    def fixed_log_density(self, beta: Array, values: Array) -> float:
        lams = [np.zeros((len(T), len(T))) for T in self.T_z]
        return self._standing(beta, lams, np.zeros(self.m), values, None).log_density()

    def working_cross(self, solution: PointSolution) -> CrossProducts:
        """Cross-products of the normal model that stands for a solution around its modes, in scaled columns."""
        modes = [mode @ np.linalg.inv(T).T for mode, T in zip(solution.modes, self.T_z, strict=True)]
        point = Point(
            frame=self.frame,
            beta=np.linalg.solve(self.T_x, solution.beta),
            b=self.alone.stacked(modes),
            values=self.parameters.values(self.parameters.free(solution.parameters)),
        )
        return self.rows.over(lambda: Standing(point)).cross(self.cross)

    def regression(self) -> Regression:
        first = self.rows.over(lambda: _Working(self.frame))
        average, n = float(self.family.eta(first.mean / self.rows.n)), self.rows.n
        beta = np.linalg.lstsq(self.XtX, first.Xz, rcond=None)[0]
        second = self.rows.over(lambda: _Pearson(self.frame, beta))
        return Regression(
            beta=beta,
            level=np.linalg.lstsq(self.XtX, average * first.X1 - first.X_offset, rcond=None)[0],
            sigma=float(np.sqrt(np.clip(np.nan_to_num(second.total / n, nan=1.0), 1e-12, 1e12))),
            spread=float(np.sqrt(max(first.zz / n - (first.z / n) ** 2, 0.0))),
        )

    def curved(self, inner: Inner, lams: Sequence[Array], least: float = -np.inf) -> pls.Reduced:
        assert isinstance(inner, ChunkedInner)
        if least == -np.inf:
            return inner.standing.reduce(lams)
        point = replace(inner.standing.point, least=least)
        return self.rows.over(lambda: Standing(point)).reduce(lams)

    def _at_modes(self, inner: Inner, lams: Sequence[Array]) -> pls.Reduced:
        assert isinstance(inner, ChunkedInner)
        return inner.reduced

    def separating(self, inner: Inner) -> Array:
        """As of rows in memory; forms are added to the programme that a direction makes fall, until there are none."""
        assert isinstance(inner, ChunkedInner)
        if not can_separate(self.design) or not inner.standing.least < CERTAIN:
            return np.zeros(0)
        p, gathered = self.p, self.rows.over(lambda: _Violated(self.frame, None))
        if not p or not gathered.count:
            return np.zeros(0)
        gain, G, E = gathered.gain / gathered.count, gathered.forms(0), gathered.forms(1)
        direction = np.zeros(0)
        for _ in range(ROUNDS):
            direction = sparsest(np.unique(G, axis=0), np.unique(E, axis=0), p, gain)
            if not len(direction):
                break
            more = self.rows.over(lambda d=direction: _Violated(self.frame, d))  # type: ignore[misc]
            if not len(more.forms(0)) + len(more.forms(1)):
                break
            G, E = np.vstack([G, more.forms(0)]), np.vstack([E, more.forms(1)])
        return direction

    def inner(self, beta: Array, lams: Sequence[Array], values: Array, start: Array, *, joint: bool) -> Factorised:
        """As of rows in memory, with a pass in the place of every look at them."""
        transposed = [lam.T for lam in lams]
        u, beta = start.copy(), beta.copy()
        standing = self._standing(beta, lams, u, values, None)
        h = standing.log_density() - 0.5 * float(u @ u)
        if not np.isfinite(h):
            raise FloatingPointError("the density of the responses is zero or infinite at the start")
        smallest = np.inf
        for _ in range(INNER_STEPS):
            reduced, exact = self._reduced(standing, lams)
            g_u = self.alone.scaled(transposed, standing.by_b[:, None])[:, 0] - u
            step_u = pls.solve_M(reduced, g_u[:, None].copy())[:, 0]
            step_b, promised = np.zeros_like(beta), float(step_u @ g_u)
            if joint:
                normal_equations = Joint.of(reduced, self.order)
                left = standing.by_beta - normal_equations.C.T @ g_u
                step_b = normal_equations.solve(left)
                step_u = step_u - normal_equations.C @ step_b
                promised += float(step_b @ left)
            level = 1.0 + abs(h)
            if not promised > SURE * level or (promised <= CLOSE * level and promised >= 0.1 * smallest):
                break  # there, or as near as rounding lets it
            smallest = min(promised, smallest)
            size = 1.0
            for _ in range(HALVINGS):
                moved = u + size * step_u
                trial = self._standing(beta + size * step_b, lams, moved, values, None)
                trial_h = trial.log_density() - 0.5 * float(moved @ moved)
                if trial_h >= h + 1e-4 * size * promised - 1e-13 * level:
                    break
                size *= 0.5
            else:
                break
            u, beta, standing, h = moved, beta + size * step_b, trial, trial_h
        if not promised <= 1e3 * CLOSE * (1.0 + abs(h)):
            raise FloatingPointError("the modes of the effects were not reached")
        if not exact:
            raise FloatingPointError("the effects have no mode: the curvature has the wrong sign")
        gone = cast(Any, GoneRows(self.rows.n))
        return ChunkedInner(
            u=u,
            beta=beta,
            eta=gone,
            bends=gone,
            h=h,
            log_det_M=reduced.log_det_M,
            joint=None,
            reduced=reduced,
            standing=standing,
        )

    def _reduced(self, standing: Standing, lams: Sequence[Array]) -> tuple[pls.Reduced, bool]:
        try:
            return standing.reduce(lams), True
        except FloatingPointError:
            size = standing.absolute / max(standing.n, 1)
            if not np.isfinite(size):
                raise
            point = replace(standing.point, least=1e-3 * size)
            return self.rows.over(lambda: Standing(point)).reduce(lams), False

    def _slopes(
        self, inner: Factorised, lams: Sequence[Array], values: Array, free: Array
    ) -> tuple[Array, list[Array], Array]:
        assert isinstance(inner, ChunkedInner)
        standing, by_factor, transposed = inner.standing, self.alone.by_factor, [lam.T for lam in lams]
        selected = pls.selected_inverse(inner.reduced)
        flat = pls._flat([lams[k] for k in self.order])
        count = min(len(values), 2)
        sloping = self.rows.over(lambda: Sloping(standing.point, selected, flat, count))
        right = self.alone.scaled(transposed, sloping.by_b[:, None])
        v = pls.solve_M(inner.reduced, right.copy())[:, 0]
        shift = self.alone.scaled(lams, v[:, None])[:, 0] if self.m else np.zeros(0)
        by_beta = standing.by_beta + sloping.by_beta - standing.times_XWZ(shift)
        Zr = by_factor(standing.by_b + sloping.by_b - standing.times_ZWZ(shift))
        u_k, v_k, Zd = by_factor(inner.u), by_factor(v), by_factor(standing.by_b)
        G = pls.inverse(inner.reduced, selected).G
        by_lam = [G[k] - Zr[k].T @ u_k[k] - Zd[k].T @ v_k[k] for k in range(len(lams))]
        by_values = self.normaliser(values)[1][: len(values)]
        by_values[:count] += sloping.direct[:count] + sloping.of_b @ shift
        by_free = self.parameters.jacobian(free).T @ by_values if len(values) else np.zeros(0)
        return -by_beta, by_lam, -by_free


class _OfRows:
    """What a likelihood holds whatever its unknowns: Σ constants, and the responses that differ."""

    def __init__(self, family: Family) -> None:
        self.family, self.constant = family, 0.0
        self.distinct, self.counts = np.zeros(0), np.ones(1)
        if family.normaliser_takes_y:
            self.counts = np.zeros(0)

    def add(self, block: Block) -> None:
        self.constant += float(self.family.constants(block.y, None, None).sum())
        if self.family.normaliser_takes_y:
            values, counts = np.unique(self.family.working_response(block.y), return_counts=True)
            self._join(values.astype(float), counts.astype(float))

    def merge(self, other: Self) -> None:
        self.constant += other.constant
        if self.family.normaliser_takes_y:
            self._join(other.distinct, other.counts)

    def _join(self, values: Array, counts: Array) -> None:
        distinct, where = np.unique(np.concatenate([self.distinct, values]), return_inverse=True)
        self.counts = np.bincount(where, np.concatenate([self.counts, counts]), len(distinct))
        self.distinct = distinct


class _Working:
    """Sums of what `linked_to` gives, for `Regression`."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.Xz, self.X1, self.X_offset = np.zeros((3, frame.to_x.shape[1]))
        self.z = self.zz = self.mean = 0.0

    def add(self, block: Block) -> None:
        X, family = block.columns @ self.frame.to_x, self.frame.family
        with np.errstate(all="ignore"):
            response = family.working_response(block.y)
            mean, z = linked_to(family, response, np.ones(len(response)), block.offset)
        self.mean, self.z, self.zz = self.mean + float(mean.sum()), self.z + float(z.sum()), self.zz + float(z @ z)
        self.Xz, self.X1 = self.Xz + X.T @ z, self.X1 + X.sum(axis=0)
        self.X_offset = self.X_offset + X.T @ block.offset

    def merge(self, other: Self) -> None:
        for name in ("Xz", "X1", "X_offset", "z", "zz", "mean"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _Pearson:
    """The sum of squared Pearson residuals around Xβ."""

    def __init__(self, frame: Frame, beta: Array) -> None:
        self.frame, self.beta, self.total = frame, beta, 0.0

    def add(self, block: Block) -> None:
        family = self.frame.family
        eta = block.columns @ (self.frame.to_x @ self.beta) + block.offset
        with np.errstate(all="ignore"):
            squares = pearson_squares(family, family.working_response(block.y), family.mean(eta))
            self.total += float(squares.sum())

    def merge(self, other: Self) -> None:
        self.total += other.total


class _Violated:
    """Forms that a direction makes fall, and those that have to stay and do not; of no direction some of both."""

    def __init__(self, frame: Frame, direction: Array | None) -> None:
        self.frame, self.direction = frame, direction
        self.gain, self.count = np.zeros(frame.to_x.shape[1]), 0
        self._forms: tuple[list[Array], list[Array]] = ([], [])

    def add(self, block: Block) -> None:
        X, family = block.columns @ self.frame.to_x, self.frame.family
        low, high, fixed = edges(family, family.working_response(block.y), None, 0)
        rising, staying = np.vstack([-X[low], X[high]]), X[fixed]
        self.gain += rising.sum(axis=0)
        self.count += len(rising)
        for k, forms in enumerate((rising, staying)):
            if self.direction is None:
                self._forms[k].append(np.round(forms[: max(0, FIRST - sum(map(len, self._forms[k])))], 12))
                continue
            fall = -(forms @ self.direction) if k == 0 else np.abs(forms @ self.direction)
            worst = np.argsort(-fall)[:MORE]
            self._forms[k].append(forms[worst[fall[worst] > VIOLATED]])
            if sum(map(len, self._forms[k])) > 10 * MORE:
                self._forms[k][:] = [self.forms(k)]

    def merge(self, other: Self) -> None:
        self.gain, self.count = self.gain + other.gain, self.count + other.count
        for k in range(2):
            self._forms[k].extend(other._forms[k])

    def forms(self, k: int) -> Array:
        """Those that were found, at most so many."""
        forms = np.vstack([np.zeros((0, len(self.gain))), *self._forms[k]])
        if self.direction is None:
            return forms
        fall = -(forms @ self.direction) if k == 0 else np.abs(forms @ self.direction)
        return forms[np.argsort(-fall)[: 2 * MORE]]
