"""A grouping factor without a penalty, and how far a penalty pools its levels (docs/pooling.md).

Arrays in, small records out: n rows, p columns of X, J levels of q columns. Least squares within levels goes by
orthonormal columns, level by level but in whole arrays, since cross-products would square the condition number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.coding import independent_columns
from ..tools.arrays import Array
from ..tools.lazy import special
from . import pls
from .criterion import prepare
from .loo import LOST, Hyperdraws, LeftOut, _Coordinates
from .reml import PointSolution
from .scaling import Problem

Codes = NDArray[np.int64]

DEPENDENT = 1e-10  # of a column's length within its level: what is left is rounding
INSIDE = 1e-9  # of a column's length, outside the columns that it depends on
NUMBERS = 4_000_000  # held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """What leaving rows out of a least-squares fit needs."""

    residuals: Array  # (n,)
    leverage: Array  # (n,)
    weights: Array  # (n,)
    rank: int
    known_sigma: float | None = None

    @property
    def rss(self) -> float:
        """Weighted sum of squared residuals."""
        return float(self.weights @ self.residuals**2)

    @property
    def df(self) -> int:
        """Rows less coefficients."""
        return len(self.residuals) - self.rank

    @property
    def sigma(self) -> float:
        """Residual sd; NaN without degrees of freedom, unless it is known."""
        if self.known_sigma is not None:
            return self.known_sigma
        return float(np.sqrt(self.rss / self.df)) if self.df else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpenalised:
    """A fit without random effects: by least squares, or by maximum likelihood of another response."""

    line: Linear | None  # None of other than normal responses
    rank: int  # number of coefficients
    parameters: Mapping[str, Array]  # of the family

    @property
    def linear(self) -> Linear:
        """What leaving rows out needs, of least squares."""
        assert self.line is not None
        return self.line

    @property
    def sigma(self) -> float:
        """What standard errors of unit variance are multiplied with."""
        return 1.0 if self.line is None else self.line.sigma

    @property
    def df(self) -> float:
        """Degrees of freedom of t intervals, infinite of normal ones, and NaN if none are left."""
        if self.line is None or self.line.known_sigma is not None:
            return np.inf
        return float(self.line.df) if self.line.df else np.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(Unpenalised):
    """One regression for all rows."""

    beta: Array  # (p,)
    vcov: Array  # (p, p), of least squares that of errors with variance one
    separated: NDArray[np.bool_]  # (p,) coefficients without a finite estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpooled(Unpenalised):
    """Own coefficients for every level, beside columns of X that keep one coefficient.

    X = Z A_level + X_common M: what X says about the coefficients of a level, and about those that all levels share.
    """

    coefficients: Array  # (J, q); NaN where the rows of a level do not tell them
    vcov: Array  # (J, q, q), of least squares that of errors with variance one
    common: NDArray[np.bool_]  # (p,)
    shared: Array  # (c,) their coefficients
    shared_vcov: Array  # (c, c)
    A: Array  # (J, q, p)
    M: Array  # (c, p)
    separated: NDArray[np.bool_]  # (J,) levels without a finite estimate
    shared_separated: NDArray[np.bool_]  # (c,) common coefficients without one


def least_squares(problem: Problem) -> Regression:
    """y on X, groups ignored."""
    problem.refuse_wide("A comparison of pooling")
    root, y, X = _whitened(problem)
    Q, R = np.linalg.qr(X)
    beta = np.linalg.solve(R, Q.T @ y)
    half = np.linalg.inv(R)
    line = _linear(problem, root, y - Q @ (Q.T @ y), (Q**2).sum(axis=1), X.shape[1])
    return Regression(
        beta=beta, vcov=half @ half.T, separated=np.zeros(X.shape[1], dtype=bool), **_of_line(line, X.shape[1])
    )


def unpooled(problem: Problem, factor: int) -> Unpooled:
    """The limit of a model without other factors as the variances of this one grow: y on Z level by level and on X.

    Columns of X that Z holds within every level drop out; the others keep one coefficient.
    """
    problem.refuse_wide("A comparison of pooling")
    root, y, X = _whitened(problem)
    Z, J = problem.Z[factor], problem.levels[factor]
    within_levels = _Within.of(Z * root[:, None], problem.codes[factor], J)
    outside = np.where(within_levels.holds(X), 0.0, within_levels.residuals(X))
    common = independent_columns(outside, has_intercept=False)
    Q, R = np.linalg.qr(outside[:, common])
    half = np.linalg.inv(R)
    M = half @ (Q.T @ outside)
    M[:, common] = np.eye(M.shape[0])
    residuals = within_levels.residuals(y[:, None])[:, 0]
    shared = half @ (Q.T @ residuals)
    per_level = within_levels.coefficients(np.column_stack([y, X[:, common]]))  # (J, q, 1 + c)
    by_shared = per_level[:, :, 1:] @ half
    rank = within_levels.rank + int(common.sum())
    line = _linear(
        problem, root, residuals - Q @ (Q.T @ residuals), (within_levels.Q**2).sum(axis=1) + (Q**2).sum(axis=1), rank
    )
    return Unpooled(
        coefficients=per_level[:, :, 0] - per_level[:, :, 1:] @ shared,
        vcov=within_levels.vcov() + by_shared @ by_shared.swapaxes(1, 2),
        common=common,
        shared=shared,
        shared_vcov=half @ half.T,
        A=attributed(problem, factor, problem.X - problem.X[:, common] @ M),
        M=M,
        separated=np.zeros(J, dtype=bool),
        shared_separated=np.zeros(int(common.sum()), dtype=bool),
        **_of_line(line, rank),
    )


def absorbed(problem: Problem, factor: int, columns: Array) -> Array:
    """As `attributed`, and zero for columns (n, c) that Z does not hold within every level."""
    problem.refuse_wide("A comparison of pooling")
    within = _Within.of(problem.Z[factor], problem.codes[factor], problem.levels[factor])
    return attributed(problem, factor, np.where(within.holds(columns), columns, 0.0))


def attributed(problem: Problem, factor: int, columns: Array) -> Array:
    """a (J, q, c) with column_c = Z a_jc in the rows of every level j.

    Where the rows of a level do not tell a, it is what holds in all levels: one combination of the columns of Z, or one
    column of Z times a number of the level. NaN where there is no such rule.
    """
    problem.refuse_wide("A comparison of pooling")
    codes, Z, J = problem.codes[factor], problem.Z[factor], problem.levels[factor]
    coefficients = _Within.of(Z, codes, J).coefficients(columns)
    untold = np.isnan(coefficients).any(axis=(1, 2))
    everywhere = np.linalg.lstsq(Z, columns, rcond=None)[0]
    size = np.maximum(np.abs(columns).max(axis=0, initial=0.0), 1e-300)
    same_everywhere = np.abs(columns - Z @ everywhere).max(axis=0, initial=0.0) <= INSIDE * size
    coefficients[:, :, same_everywhere] = everywhere[:, same_everywhere]
    for c in np.flatnonzero(~same_everywhere) if untold.any() else ():
        for k in range(Z.shape[1]):
            squares = _summed(Z[:, k] ** 2, codes, J)
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = _summed(Z[:, k] * columns[:, c], codes, J) / squares
            remainder = columns[:, c] - Z[:, k] * np.nan_to_num(ratio)[codes]
            if np.abs(remainder).max() <= INSIDE * size[c]:
                coefficients[untold, :, c] = 0.0
                coefficients[untold, k, c] = ratio[untold]
                break
    return coefficients


def combined_variances(problem: Problem, solution: PointSolution, parts: Sequence[tuple[int, Codes, Array]]) -> Array:
    """Var(Σ_k B_jk b_k,level(j) | y, β) of combinations of effects (J, q), at a point solution.

    Parameters
    ----------
    parts : sequence of (factor, levels (J,), B (J, q, q_k))
        Which effects of which level of which factor are added.
    """
    scaled, criterion = prepare(problem, reml=solution.reml)
    reduced = pls.reduce(criterion.layout, criterion.lams(solution.scaled_theta))
    J, q = parts[0][2].shape[:2]
    variances, step = np.empty((J, q)), max(1, NUMBERS // (q * criterion.layout.m))
    for first in range(0, J, step):
        chosen = np.arange(first, min(first + step, J))
        combined = [
            np.zeros((level, Z.shape[1], len(chosen), q)) for level, Z in zip(problem.levels, problem.Z, strict=True)
        ]
        for k, levels, B in parts:
            on_scaled = (B[chosen] @ scaled.T_z[k]).swapaxes(1, 2)  # (chosen, q_k, q)
            combined[k][levels[chosen], :, np.arange(len(chosen))] += on_scaled
        half = pls.whitened(reduced, [part.reshape(*part.shape[:2], len(chosen) * q) for part in combined])
        variances[chosen] = solution.sigma**2 * (half**2).sum(axis=0).reshape(len(chosen), q)
    return variances


def open_shares(problem: Problem, draws: Hyperdraws, factor: int) -> tuple[Array, Array]:
    """Var(b_jk | y, β, Σ, σ) / Σ_kk of every draw (S, J, q), and the trace of the hat matrix (S,)."""
    problem.refuse_wide("A comparison of pooling")
    coordinates = _Coordinates.of(problem, draws)
    layout, S = coordinates.layout(), len(draws.sigma)
    T, J = coordinates.scaled.T_z[factor], problem.levels[factor]
    shares, traces = np.empty((S, J, len(T))), np.empty(S)
    for draw in range(S):
        reduced = pls.reduce(layout, [lam[draw] for lam in coordinates.lams])
        V = pls.inverse(reduced).diagonal
        half = T @ coordinates.lams[factor][draw]
        posterior = np.einsum("ka,jab,kb->jk", half, V[factor], half)
        prior = (half**2).sum(axis=1)
        shares[draw] = np.where(prior > 0.0, posterior / np.where(prior > 0.0, prior, 1.0), 1.0)
        traces[draw] = trace_of_hat(reduced, V, coordinates.precision * draws.sigma[draw] ** 2)
    return shares, traces


def hat_trace(problem: Problem, solution: PointSolution) -> float:
    """Trace of the matrix that takes y to its fitted values: the effective number of parameters of a point fit."""
    problem.refuse_wide("A comparison of pooling")
    _, criterion = prepare(problem, reml=solution.reml)
    reduced = pls.reduce(criterion.layout, criterion.lams(solution.scaled_theta))
    return trace_of_hat(reduced, pls.inverse(reduced).diagonal, np.zeros(criterion.p))


def trace_of_hat(reduced: pls.Reduced, V: Sequence[Array], held: Array) -> float:
    """tr(FᵀWF(FᵀWF + D)⁻¹) = m + p − tr(M⁻¹) − tr(A_x⁻¹(UᵀU + σ²P₀)) with D = blockdiag(I, σ²P₀)."""
    p = len(held)
    UtU = np.diag(held)
    for U in pls.mode_slopes(reduced):
        UtU = UtU + np.tensordot(U, U, axes=((0, 1), (0, 1)))
    A = reduced.XyVXy[:p, :p] + np.diag(held)
    ridge = float(np.trace(np.linalg.solve(A, UtU))) if p else 0.0
    return reduced.layout.m + p - sum(float(np.trace(v, axis1=1, axis2=2).sum()) for v in V) - ridge


# -- left-out rows and groups of a regression with p(β, σ) ∝ 1/σ, or p(β) ∝ 1 where σ is known


def rows_left_out(line: Linear) -> LeftOut:
    """log p(y_i | the others) (n,), a t density, of a known σ normal; NaN where a row alone tells a coefficient."""
    df, e, h, w = line.df, line.residuals, line.leverage, line.weights
    if line.known_sigma is not None:
        identified = 1.0 - h > LOST
        one_less_h, variance = np.where(identified, 1.0 - h, 1.0), line.known_sigma**2
        without, within = (
            _log_normal(e / one_less_h, variance / (w * one_less_h)),
            _log_normal(e, variance * (1.0 + h) / w),
        )
        return LeftOut(without=np.where(identified, without, np.nan), within=np.where(identified, within, np.nan))
    identified = (1.0 - h > LOST) & (df > 1)
    one_less_h = np.where(identified, 1.0 - h, 1.0)
    s2 = np.maximum(line.rss - w * e**2 / one_less_h, 1e-300) / max(df - 1, 1)
    without = _log_t(e / one_less_h, s2 / (w * one_less_h), df - 1)
    within = _log_t(e, line.rss / max(df, 1) * (1.0 + h) / w, df)
    return LeftOut(without=np.where(identified, without, np.nan), within=np.where(identified, within, np.nan))


def groups_left_out(problem: Problem, codes: Codes, J: int) -> LeftOut:
    """log p(y_j | the other groups) (J,) of a regression on X; NaN where they do not tell a coefficient."""
    problem.refuse_wide("A comparison of pooling")
    root, y, X = _whitened(problem)
    Q, _ = np.linalg.qr(X)
    e, p, n = y - Q @ (Q.T @ y), X.shape[1], len(y)
    both = np.column_stack([Q, e])
    T = np.empty((J, p + 1, p + 1))
    for a in range(p + 1):
        for b in range(a + 1):
            T[:, a, b] = T[:, b, a] = _summed(both[:, a] * both[:, b], codes, J)
    rows, rss = np.bincount(codes, minlength=J), float(e @ e)

    def evidence(sign: float) -> Array:
        """log p(y with a group added or taken away), up to a constant."""
        A = np.eye(p) + sign * T[:, :p, :p]
        df = n + sign * rows - p
        is_definite = np.linalg.eigvalsh(A).min(axis=1, initial=np.inf) > LOST
        A = np.where(is_definite[:, None, None], A, np.eye(p))
        v = T[:, :p, p]
        S = rss + sign * T[:, p, p] - np.einsum("ja,ja->j", v, np.linalg.solve(A, v[..., None])[..., 0])
        df = np.where(is_definite & (df > 0), df, np.nan)
        log_det = np.linalg.slogdet(A)[1]
        if problem.sigma is not None:
            return -0.5 * (df * np.log(2.0 * np.pi * problem.sigma**2) + log_det + S / problem.sigma**2)
        return special.gammaln(df / 2.0) - df / 2.0 * np.log(np.pi * np.maximum(S, 1e-300)) - 0.5 * log_det

    log_likelihood = special.gammaln((n - p) / 2.0) - (n - p) / 2.0 * np.log(np.pi * max(rss, 1e-300))
    if problem.sigma is not None:
        log_likelihood = -0.5 * ((n - p) * np.log(2.0 * np.pi * problem.sigma**2) + rss / problem.sigma**2)
    jacobian = _summed(np.log(root), codes, J)
    return LeftOut(without=log_likelihood - evidence(-1.0) + jacobian, within=evidence(1.0) - log_likelihood + jacobian)


def _log_normal(x: Array, variance: Array) -> Array:
    return -0.5 * (np.log(2.0 * np.pi * variance) + x**2 / variance)


def _log_t(x: Array, variance: Array, df: int) -> Array:
    constant = special.gammaln((df + 1) / 2.0) - special.gammaln(df / 2.0) if df > 0 else np.nan
    df = max(df, 1)
    return constant - 0.5 * np.log(df * np.pi * variance) - (df + 1) / 2.0 * np.log1p(x**2 / (df * variance))


# -- within levels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Within:
    """Z = QR level by level; a column of Q is zero where it depends on those before within the level."""

    codes: Codes
    Q: Array  # (n, q)
    R: Array  # (J, q, q) upper; ones on the diagonal where the column of Q is zero
    full: NDArray[np.bool_]  # (J,)
    rank: int

    @classmethod
    def of(cls, Z: Array, codes: Codes, J: int) -> _Within:
        q = Z.shape[1]
        Q, R, alive = np.zeros_like(Z), np.zeros((J, q, q)), np.ones((J, q), bool)
        for k in range(q):
            remainder = Z[:, k].copy()
            size = np.sqrt(_summed(remainder**2, codes, J))
            for _ in range(2):
                for m in range(k):
                    along = _summed(Q[:, m] * remainder, codes, J)
                    R[:, m, k] += along
                    remainder -= Q[:, m] * along[codes]
            norm = np.sqrt(_summed(remainder**2, codes, J))
            alive[:, k] = norm > DEPENDENT * size
            R[:, k, k] = np.where(alive[:, k], norm, 1.0)
            Q[:, k] = np.where(alive[codes, k], remainder / R[codes, k, k], 0.0)
        return cls(codes=codes, Q=Q, R=R, full=alive.all(axis=1), rank=int(alive.sum()))

    def _along(self, columns: Array) -> Array:
        """QᵀA per level (J, q, c)."""
        J, q = self.R.shape[:2]
        products = np.empty((J, q, columns.shape[1]))
        for k in range(q):
            for c in range(columns.shape[1]):
                products[:, k, c] = _summed(self.Q[:, k] * columns[:, c], self.codes, J)
        return products

    def residuals(self, columns: Array) -> Array:
        """What Z leaves of columns (n, c) within levels."""
        return columns - np.einsum("nk,nkc->nc", self.Q, self._along(columns)[self.codes])

    def holds(self, columns: Array) -> NDArray[np.bool_]:
        """Which of the columns (n, c) are combinations of those of Z within every level."""
        lengths = np.sqrt((columns**2).sum(axis=0))
        left = np.sqrt((self.residuals(columns) ** 2).sum(axis=0))
        return np.asarray(left <= INSIDE * lengths)

    def coefficients(self, columns: Array) -> Array:
        """Least squares of columns (n, c) on Z within levels, (J, q, c); NaN where the rows do not tell them."""
        solved = np.linalg.solve(self.R, self._along(columns))
        solved[~self.full] = np.nan
        return solved

    def vcov(self) -> Array:
        """(ZᵀZ)⁻¹ per level (J, q, q); NaN where it is singular."""
        half = np.linalg.inv(self.R)
        half[~self.full] = np.nan
        return half @ half.swapaxes(1, 2)


def _whitened(problem: Problem) -> tuple[Array, Array, Array]:
    """√w, √w y and √w X."""
    root = np.ones(len(problem.y)) if problem.weights is None else np.sqrt(problem.weights)
    return root, problem.y * root, problem.X * root[:, None]


def _of_line(line: Linear, rank: int) -> dict[str, Any]:
    return {"line": line, "rank": rank, "parameters": {"sigma": np.asarray(line.sigma)}}


def _linear(problem: Problem, root: Array, white: Array, leverage: Array, rank: int) -> Linear:
    return Linear(residuals=white / root, leverage=leverage, weights=root**2, rank=rank, known_sigma=problem.sigma)


def _summed(values: Array, codes: Codes, J: int) -> Array:
    return np.bincount(codes, weights=values, minlength=J)
