"""Leave one row or one group out, exactly given the hyperparameters, for normal models (docs/theory.md, section 12).

With β and b integrated out, all that a row says about itself is its leverage h_i, and the density of y_i given the
other rows is in closed form: no draw of β or b is reweighted. The same goes for a group, whose products are subtracted.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd
from ..errors import NotAvailableError
from ..tools.arrays import Array
from ..tools.blas import one_blas_thread
from ..tools.compiling import compiled, inlined
from .assembly import right_side
from .elimination import back_substitute, selected_inverse
from .layout import Layout, arrange
from .pieces import in_pieces
from .reduction import backward, factorise, inverse_of_dense, work_for
from .row_loo import MOST_COLUMNS, LevelRows, leverages_and_residuals
from .scaling import Problem, Scaled, scale

Codes = NDArray[np.int64]


class Rows(NamedTuple):
    """The rows in the coordinates of the kernel; K factors in elimination order."""

    X: Array  # (n, p)
    y: Array  # (n,)
    weights: Array  # (n,)
    Z: Array  # (n, Σq)
    first: Codes  # (n, K) first of the row's level among the m
    pair_at: Codes  # (n, pairs) where the entries of M⁻¹ between two of its levels are told in ``values.pair_at``


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Log densities of every row or group (S, units), in units of the response."""

    without: Array  # log p(y_i | the others, hyperparameters)
    within: Array  # of a new response in its place, whose p_loo is to say how many parameters the rows have fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperdraws:
    """S draws of the hyperparameters, and what is known of β."""

    sigma: Array  # (S,)
    covariances: tuple[Array, ...]  # K × (S, q_k, q_k)
    beta: Array  # (S, p)
    prior: tuple[Array, Array] | None  # mean and sd (p,) of normal priors, sd infinite if flat; None: condition on β


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledDraws:
    """Draws in the units of the scaled problem, where the prior of β̃ has mean zero."""

    scaled: Scaled
    lams: tuple[Array, ...]  # K × (S, q_k, q_k) templates
    beta: Array  # (S, p)
    mean: Array  # (p,) that was taken out of β̃
    precision: Array  # (p,) of the prior; zero where β is given or its prior flat

    @classmethod
    def of(cls, problem: Problem, draws: Hyperdraws) -> ScaledDraws:
        """Those of a problem."""
        scaled = scale(problem, for_priors=True)
        units, center = np.diag(scaled.T_x), np.zeros(problem.X.shape[1])
        if scaled.intercept is not None:
            center[scaled.intercept] = scaled.y_center
        mean, precision = np.zeros(len(units)), np.zeros(len(units))
        if draws.prior is not None:
            proper = np.isfinite(draws.prior[1])
            mean = np.where(proper, (draws.prior[0] - center) / units, 0.0)
            precision = (units / draws.prior[1]) ** 2
        of_center = scaled.beta(np.zeros(len(units)))
        beta = np.linalg.solve(scaled.T_x, (draws.beta - of_center).T).T - mean
        lams = tuple(
            _templates(cov, T, blocks, draws.sigma)
            for cov, T, blocks in zip(draws.covariances, scaled.T_z, problem.blocks, strict=True)
        )
        return cls(scaled=scaled, lams=lams, beta=np.ascontiguousarray(beta), mean=mean, precision=precision)

    def shift(self) -> Array:
        """What takes the mean of the prior out of [X̃ ỹ] (p + 1, p + 1)."""
        shift = np.eye(len(self.mean) + 1)
        shift[:-1, -1] = -self.mean
        return shift

    def left_out(self, T: Array, log_det: Array, normaliser: Array, draws: Hyperdraws, part: slice) -> LeftOut:
        """Densities of groups that are independent given the draws of a part.

        Parameters
        ----------
        T : (S, J, p + 1, p + 1)
            [X y]ᵀV⁻¹[X y]/σ² of each group.
        log_det : (S, J)
            log|M|.
        normaliser : (S, J)
            −2 log of the density but for the determinant and the quadratic form.
        """
        s2, beta = draws.sigma[part, None] ** 2, self.beta[part]
        around = np.concatenate([-beta, np.ones((len(beta), 1))], axis=1)
        rest = normaliser + log_det
        within = -0.5 * (rest + np.einsum("sa,sjab,sb->sj", around, T, around) / s2)
        if draws.prior is None:
            return LeftOut(without=within, within=within)
        lost, difference = _without_each(T, s2[..., None] * self.precision)
        return LeftOut(without=-0.5 * (rest + lost + difference / s2), within=within)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coordinates:
    """Problem and draws on centred and scaled columns, where the prior of β̃ has mean zero."""

    at: ScaledDraws
    scaled: Scaled
    X: Array  # (n, p)
    y: Array  # (n,)
    weights: Array  # (n,)
    Z: tuple[Array, ...]  # K × (n, q_k)
    lams: tuple[Array, ...]  # K × (S, q_k, q_k) templates
    beta: Array  # (S, p)
    mean: Array  # (p,) that was taken out of β̃
    precision: Array  # (p,) of the prior; zero where β is given or its prior flat

    @classmethod
    def of(cls, problem: Problem, draws: Hyperdraws) -> _Coordinates:
        at = ScaledDraws.of(problem, draws)
        X = np.ascontiguousarray(problem.X @ at.scaled.T_x)
        return cls(
            at=at,
            scaled=at.scaled,
            X=X,
            y=problem.y - at.scaled.y_center - X @ at.mean,
            weights=np.ones(len(X)) if problem.weights is None else problem.weights,
            Z=tuple(Z @ T for Z, T in zip(problem.Z, at.scaled.T_z, strict=True)),
            lams=at.lams,
            beta=at.beta,
            mean=at.mean,
            precision=at.precision,
        )

    def layout(self) -> Layout:
        """The cross-products arranged for the kernel."""
        shift, cross = self.at.shift(), self.scaled.cross
        return arrange(replace(cross, ZtXy=tuple(z @ shift for z in cross.ZtXy), XytXy=shift.T @ cross.XytXy @ shift))


def leave_one_out(problem: Problem, draws: Hyperdraws, *, cores: int = 1) -> LeftOut:
    """log p(y_i | y₋ᵢ, σ, Σ) of every row (12.1), and log p(y_i | y, σ, Σ) of a new response in its place."""
    coordinates = _Coordinates.of(problem, draws)
    if any(problem.wide):
        return _leave_one_out_of_wide(problem, draws, coordinates, cores)
    layout, S, w = coordinates.layout(), len(draws.sigma), coordinates.weights
    one_factor = len(layout.order) == 1 and problem.widths[0] + len(coordinates.precision) <= MOST_COLUMNS
    fill: Any = leverages_and_residuals if one_factor else _leverages_and_residuals
    rows = _level_rows(problem, coordinates) if one_factor else _rows(problem, layout, coordinates)
    lams = np.concatenate([np.empty((S, 0)), *(coordinates.lams[k].reshape(S, -1) for k in layout.order)], axis=1)
    without, within = np.empty((2, S, len(problem.y)))
    log_w = np.log(w)

    def work(part: slice) -> None:
        sigma, leverage, residual = np.ascontiguousarray(draws.sigma[part]), within[part], without[part]
        given = coordinates.precision, coordinates.beta[part], draws.prior is None
        fill(layout.pattern, layout.values, rows, lams[part], sigma, *given, leverage, residual)
        for s2, h, e in zip(sigma**2, leverage, residual, strict=True):
            _to_densities(e, h, w / s2, log_w - np.log(2.0 * np.pi * s2))

    with one_blas_thread:
        in_pieces(work, S, cores)
    return LeftOut(without=without, within=within)


def _leave_one_out_of_wide(problem: Problem, draws: Hyperdraws, coordinates: _Coordinates, cores: int) -> LeftOut:
    """The same by dense matrices, where a row meets many effects of a term.

    Raises
    ------
    NotAvailableError
        Too many effects for as many draws.
    """
    n, S, p = len(coordinates.y), len(draws.sigma), coordinates.X.shape[1]
    m = sum(J * width for J, width in zip(problem.levels, problem.widths, strict=True))
    work = S * (m**3 / 3.0 + float(n) * m**2)
    if work > MOST_WORK:
        raise NotAvailableError(
            f"Leave-one-out prediction beside a relationship matrix, multi-membership or smooth factorises a dense "
            f"{m:,} × {m:,} matrix for each draw; {S:,} draws are too many. loo(draws=...) takes fewer"
        )
    Z = np.hstack([_whole(problem, coordinates, k) for k in range(len(problem.levels))])
    root = np.sqrt(coordinates.weights)[:, None]
    beta_given = draws.prior is None
    C = np.hstack([Z, coordinates.X[:, : 0 if beta_given else p]]) * root
    products, without, within = C.T @ C, np.empty((S, n)), np.empty((S, n))
    ends = np.cumsum([0, *(J * width for J, width in zip(problem.levels, problem.widths, strict=True))])

    def densities(part: slice) -> None:
        for s in range(part.start, part.stop):
            turn = np.eye(C.shape[1])
            for k, (first, last) in enumerate(pairwise(ends)):
                turn[first:last, first:last] = np.kron(np.eye(problem.levels[k]), coordinates.lams[k][s])
            penalty = np.concatenate([np.ones(m), draws.sigma[s] ** 2 * coordinates.precision[: len(turn) - m]])
            L = np.linalg.cholesky(turn.T @ products @ turn + np.diag(penalty))
            half = np.linalg.solve(L, (C @ turn).T)
            y = (coordinates.y - (coordinates.X @ coordinates.beta[s] if beta_given else 0.0)) * root[:, 0]
            h = np.einsum("mn,mn->n", half, half)
            e = (y - half.T @ (half @ y)) / root[:, 0]
            left = np.where(1.0 - h < LOST, np.nan, 1.0 - h)  # it alone tells a coefficient
            variance = draws.sigma[s] ** 2 / (coordinates.weights * left)  # (12.1)
            without[s] = -0.5 * (np.log(2.0 * np.pi * variance) + (e / left) ** 2 / variance)
            variance = draws.sigma[s] ** 2 * (1.0 + h) / coordinates.weights
            within[s] = -0.5 * (np.log(2.0 * np.pi * variance) + e**2 / variance) + 0.0 * left

    with one_blas_thread:
        in_pieces(densities, S, cores)
    return LeftOut(without=without, within=within)


def _whole(problem: Problem, coordinates: _Coordinates, k: int) -> Array:
    """All columns of a factor (n, J q), those of a wide term rotated."""
    rotation = problem.wide[k]
    if rotation is not None:
        if rotation.left is None:
            return rotation.columns
        return rotation.under(rotation.left @ (coordinates.scaled.T_z[k] * rotation.size))
    n, q = coordinates.Z[k].shape
    whole = np.zeros((n, problem.levels[k], q))
    whole[np.arange(n), problem.codes[k]] = coordinates.Z[k]
    return whole.reshape(n, -1)


MOST_WORK = 2e12  # floating-point operations: some minutes
LOST = 1e-10  # of what tells a coefficient, or 1 − h: rounding is all that is left
NUMBERS = 4_000_000  # held at a time by the products of groups


class _Group(NamedTuple):
    """The rows of one level of a factor, with all random columns that they meet."""

    cross: Array  # [Z X y]ᵀW[Z X y]
    m: int  # columns of Z
    templates: tuple[int, ...]  # the factor of each of its levels
    size: int
    log_weights: float


def leave_one_group_out(problem: Problem, draws: Hyperdraws, factor: int) -> LeftOut:
    """log p(y_j | the other groups, σ, Σ) of every level of a factor, and log p(y_j | β, σ, Σ) (12.2).

    All other factors are nested in this one, so that its levels are independent given β, σ and Σ. NaN where the others
    do not tell a coefficient that the group tells.
    """
    problem.refuse_wide("Leave-one-group-out prediction")
    coordinates = _Coordinates.of(problem, draws)
    codes, J = problem.codes[factor], problem.levels[factor]
    order = np.argsort(codes, kind="stable")
    rows_of_level = np.split(order, np.searchsorted(codes[order], np.arange(1, J)))
    groups = [_group(problem, coordinates, rows) for rows in rows_of_level]
    S, width = len(draws.sigma), coordinates.X.shape[1] + 1
    step = max(1, NUMBERS // (J * width * width))
    parts = [
        _groups_left_out(groups, draws, coordinates, slice(first, min(first + step, S))) for first in range(0, S, step)
    ]
    return LeftOut(
        without=np.concatenate([part.without for part in parts]), within=np.concatenate([part.within for part in parts])
    )


def _groups_left_out(groups: Sequence[_Group], draws: Hyperdraws, coordinates: _Coordinates, part: slice) -> LeftOut:
    """The same for some of the draws."""
    lams = [lam[part] for lam in coordinates.lams]
    reduced = [_reduce_group(group, lams, part.stop - part.start) for group in groups]
    T = np.stack([products for products, _ in reduced], axis=1)  # (S, J, p + 1, p + 1)
    log_det = np.stack([det for _, det in reduced], axis=1)
    sizes, log_weights = (np.array([getattr(g, name) for g in groups]) for name in ("size", "log_weights"))
    normaliser = sizes * np.log(2.0 * np.pi * draws.sigma[part, None] ** 2) - log_weights
    return coordinates.at.left_out(T, log_det, normaliser, draws, part)


def _group(problem: Problem, coordinates: _Coordinates, rows: Codes) -> _Group:
    columns, templates = [np.zeros((len(rows), 0))], []
    for k, (codes, Z) in enumerate(zip(problem.codes, coordinates.Z, strict=True)):
        levels, place = np.unique(codes[rows], return_inverse=True)
        wide = np.zeros((len(rows), len(levels), Z.shape[1]))
        wide[np.arange(len(rows)), place] = Z[rows]
        columns.append(wide.reshape(len(rows), -1))
        templates += [k] * len(levels)
    Z_all = np.concatenate(columns, axis=1)
    both = np.concatenate([Z_all, coordinates.X[rows], coordinates.y[rows, None]], axis=1)
    return _Group(
        cross=both.T @ (coordinates.weights[rows, None] * both),
        m=Z_all.shape[1],
        templates=tuple(templates),
        size=len(rows),
        log_weights=float(np.log(coordinates.weights[rows]).sum()),
    )


def _reduce_group(group: _Group, lams: Sequence[Array], S: int) -> tuple[Array, Array]:
    """[X y]ᵀV⁻¹[X y]/σ² of its rows (S, p + 1, p + 1), and log|M| (S,)."""
    cross, m = group.cross, group.m
    xy = cross[m:, m:]
    T, log_det = np.empty((S, *xy.shape)), np.zeros(S)
    T[:] = xy
    if m == 0:
        return T, log_det
    step = max(1, NUMBERS // (m * (m + len(xy))))
    for first in range(0, S, step):
        part = slice(first, min(first + step, S))
        lam, start = np.zeros((part.stop - first, m, m)), 0
        for template in group.templates:
            q = lams[template].shape[-1]
            lam[:, start : start + q, start : start + q] = lams[template][part]
            start += q
        turned = lam.swapaxes(-1, -2)
        L = np.linalg.cholesky(turned @ cross[:m, :m] @ lam + np.eye(m))
        B = np.linalg.solve(L, turned @ cross[:m, m:])
        T[part] -= B.swapaxes(-1, -2) @ B
        log_det[part] = 2.0 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(axis=-1)
    return T, log_det


def _without_each(T: Array, held: Array) -> tuple[Array, Array]:
    """log|A| − log|A₋ⱼ| and r² − r²₋ⱼ of products (S, J, p + 1, p + 1), each left out; NaN where A₋ⱼ is singular."""
    p = T.shape[-1] - 1
    total = T.sum(axis=1, keepdims=True)
    others = total - T
    if p == 0:
        return np.zeros(T.shape[:2]), T[..., 0, 0]
    prior = np.eye(p) * held[..., None, :]
    half = np.linalg.inv(np.linalg.cholesky(total[..., :p, :p] + prior))
    # A₋ⱼ in units of A: an eigenvalue is the share of a direction that the others tell
    kept = np.linalg.eigvalsh(half @ (others[..., :p, :p] + prior) @ half.swapaxes(-1, -2))
    identified = kept[..., 0] > LOST
    A = np.where(identified[..., None, None], others[..., :p, :p] + prior, np.eye(p))

    def r2(products: Array, solved: Array) -> Array:
        return products[..., p, p] - np.einsum("...a,...a->...", products[..., :p, p], solved)

    with_all = np.linalg.solve(total[..., :p, :p] + prior, total[..., :p, p, None])[..., 0]
    without = np.linalg.solve(A, others[..., :p, p, None])[..., 0]
    lost = -np.log(np.where(identified[..., None], kept, 1.0)).sum(axis=-1)
    return np.where(identified, lost, np.nan), r2(total, with_all) - r2(others, without)


def _templates(cov: Array, T: Array, blocks: Sequence[Sequence[int]], sigma: Array) -> Array:
    """Λ̃ of every draw (S, q, q)."""
    to_scaled = np.linalg.inv(T)
    relative = cov / sigma[:, None, None] ** 2
    return np.stack([to_scaled @ cholesky_psd(each, blocks) for each in relative])


def _level_rows(problem: Problem, coordinates: _Coordinates) -> LevelRows:
    return LevelRows.of(
        coordinates.Z[0], coordinates.X, coordinates.y, coordinates.weights, problem.codes[0], problem.levels[0]
    )


def _rows(problem: Problem, layout: Layout, coordinates: _Coordinates) -> Rows:
    pattern, n = layout.pattern, len(coordinates.y)
    first = np.empty((n, len(layout.order)), np.int64)
    for a, k in enumerate(layout.order):
        first[:, a] = pattern.column_start[a] + problem.codes[k] * pattern.widths[a]
    places, before = np.zeros((n, len(layout.pairs)), np.int64), 0
    for pair, block in enumerate(layout.pairs):
        keys, row_keys = (r[:, 0] * (layout.m + 1) + r[:, 1] for r in (block.rows, first[:, [block.a, block.b]]))
        order = np.argsort(keys)
        positions = order[np.searchsorted(keys, row_keys, sorter=order)]
        size = int(pattern.widths[block.a] * pattern.widths[block.b])
        places[:, pair] = before + positions * size
        before += len(keys) * size
    Z = [coordinates.Z[k] for k in layout.order]
    return Rows(
        X=coordinates.X,
        y=np.ascontiguousarray(coordinates.y),
        weights=np.ascontiguousarray(coordinates.weights),
        Z=np.ascontiguousarray(np.concatenate([np.empty((n, 0)), *Z], axis=1)),
        first=np.ascontiguousarray(first),
        pair_at=places,
    )


@inlined
def _whiten_row(rows, i, pattern, lam_start, lams, U, a, x):
    """Fills a = Λᵀz_i, and x = x_i less what M⁻¹ΛᵀZᵀW takes of it; returns what it takes of y: aᵀU_y."""
    fit, z = 0.0, 0
    for c in range(x.shape[0]):
        x[c] = rows.X[i, c]
    for k in range(pattern.widths.shape[0]):
        q, lam, row = pattern.widths[k], lam_start[k], rows.first[i, k]
        for b in range(q):
            total = 0.0
            for r in range(q):
                total += lams[lam + r * q + b] * rows.Z[i, z + r]
            a[z + b] = total
            fit += total * U[row + b, x.shape[0]]
            for c in range(x.shape[0]):
                x[c] -= total * U[row + b, c]
        z += q
    return fit


@inlined
def _quadratic(rows, i, pattern, values, z_start, V_diagonal, V_panel, V_upper, a):
    """aᵀM⁻¹a, which meets no other blocks of M⁻¹ than those of its pattern."""
    widths, n_chain = pattern.widths, pattern.node_start.shape[0] - 1
    m_chain, total = pattern.column_start[n_chain], 0.0
    for k in range(widths.shape[0]):
        q, z, row = widths[k], z_start[k], rows.first[i, k]
        if k < n_chain:
            level = (row - pattern.column_start[k]) // q
            d = pattern.diagonal_start[pattern.node_start[k] + level]
            for b in range(q):
                for r in range(q):
                    total += a[z + b] * V_diagonal[d + b * q + r] * a[z + r]
        else:
            for b in range(q):
                for r in range(q):
                    total += a[z + b] * V_upper[row - m_chain + b, row - m_chain + r] * a[z + r]
    for pair in range(values.pair_factors.shape[0]):
        k, other = values.pair_factors[pair, 0], values.pair_factors[pair, 1]
        for b in range(widths[k]):
            for r in range(widths[other]):
                to = values.pair_at[rows.pair_at[i, pair] + b * widths[other] + r]
                if k < n_chain:
                    V = V_panel[to]
                else:
                    V = V_upper[to // V_upper.shape[0], to % V_upper.shape[0]]
                total += 2.0 * a[z_start[k] + b] * V * a[z_start[other] + r]
    return total


@inlined
def _add_fixed(R, x, total):
    """``total`` + |R_x⁻ᵀx|²; x is lost."""
    for c in range(x.shape[0]):
        x[c] /= R[c, c]
        total += x[c] ** 2
        for r in range(c + 1, x.shape[0]):
            x[r] -= R[c, r] * x[c]
    return total


def _to_densities(e: Array, h: Array, precision: Array, log_precision: Array) -> None:
    """Residuals e and leverages h (n,) to log densities without the row (12.1) and of a new one; NaN where h is one.

    In place, and by NumPy, whose logs take a fifth of the time of compiled ones; ``log_precision`` is less log 2π.
    """
    left = 1.0 - h
    left[left < LOST] = np.nan  # it alone tells a coefficient
    squares = e * e
    squares *= precision
    np.log(left, out=e)
    e -= squares / left
    e += log_precision
    e *= 0.5
    h += 1.0
    squares /= h
    np.log(h, out=h)
    h += squares
    h -= log_precision
    h *= -0.5
    h += 0.0 * left


@compiled
def _leverages_and_residuals(pattern, values, rows, lams, sigmas, precision, betas, beta_given, leverage, residual):
    """Fill both arrays (S, n); NaN where the numbers break down."""
    K, n, n_xy = pattern.widths.shape[0], rows.y.shape[0], values.XytXy.shape[0]
    p, z_start = n_xy - 1, np.zeros(K + 1, np.int64)
    for k in range(K):
        z_start[k + 1] = z_start[k] + pattern.widths[k]
    work = work_for(pattern, n_xy)
    D, P, _, dense_xy, _, _, _ = work.room
    m_chain = pattern.column_start[pattern.node_start.shape[0] - 1]
    a, x, U = np.empty(rows.Z.shape[1]), np.empty(p), np.empty((pattern.column_start[-1], n_xy))
    for s in range(sigmas.shape[0]):
        s2 = sigmas[s] ** 2
        _, _, _, Lt, sound = factorise(pattern, values, lams[s], precision * s2, work)
        if not sound:
            leverage[s, :], residual[s, :] = np.nan, np.nan
            continue
        beta = betas[s] if beta_given else work.beta
        right_side(pattern, P, dense_xy, U)
        for c in range(n_xy):
            backward(Lt, U[m_chain:, c])
        back_substitute(pattern, D, P, U)
        V_diagonal, V_panel = np.empty_like(D), np.empty_like(P)
        V_upper = inverse_of_dense(Lt)
        selected_inverse(pattern, n_xy, D, P, V_upper, V_diagonal, V_panel)
        for i in range(n):
            fit = _whiten_row(rows, i, pattern, values.lam_start, lams[s], U, a, x)
            quad = _quadratic(rows, i, pattern, values, z_start, V_diagonal, V_panel, V_upper, a)
            for c in range(p):
                fit += x[c] * beta[c]
            if not beta_given:
                quad = _add_fixed(work.R, x, quad)
            leverage[s, i], residual[s, i] = rows.weights[i] * quad, rows.y[i] - fit
