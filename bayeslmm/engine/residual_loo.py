"""Leave one row or one group out where residuals have parameters besides sigma (docs/theory.md, sections 12 and 14).

Given the hyperparameters y is normal with precision P = Ω − ΩG(GᵀΩG + D)⁻¹GᵀΩ, where Ω is that of the residuals and the
columns of G are those of the random effects, in units of their sds, and of β.  Of a part of the rows given all others
the precision is P's block there, and P(y − mean) says how far it is from what they predict.  A new response in its
place, beside the same other residuals of its block, is off by Ω⁻¹P(y − mean) of that block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd
from ..residual_structures import Residuals
from ..tools.arrays import Array
from ..tools.lazy import linalg
from .loo import Hyperdraws, LeftOut
from .scaling import Problem

ALONE = 1e-10  # of a precision: what is left of a row that alone tells a coefficient
LOG_2PI = float(np.log(2.0 * np.pi))


def leave_out(problem: Problem, draws: Hyperdraws, values: Array, codes: NDArray[np.int64] | None = None) -> LeftOut:
    """Log densities of rows, or of the units (n,) that codes name, under draws (S, d + r) of the residuals.

    The prior of the intercept in ``draws`` is that at centred predictors.
    """
    S, n = len(draws.sigma), len(problem.y)
    units = None if codes is None else [np.flatnonzero(codes == unit) for unit in range(int(codes.max()) + 1)]
    without, within = np.empty((2, S, n if units is None else len(units)))
    for draw in range(S):
        precision = _Precision.of(problem, draws, values[draw], draw)
        if units is None:
            without[draw], within[draw] = precision.of_rows()
        else:
            without[draw], within[draw] = np.array([precision.of_unit(rows) for rows in units]).T
    return LeftOut(without=without, within=within)


class _Precision:
    """Ω, and what effects and coefficients take from it, at one draw."""

    def __init__(self, residual: Residuals, values: Array, sigma: float, T: Array, away: Array) -> None:
        self.residual, self.values, self.sigma = residual, values, sigma
        self.T, self.away = T, away  # P = Ω − TTᵀ (n, n), and P(y − mean) (n,)

    @classmethod
    def of(cls, problem: Problem, draws: Hyperdraws, values: Array, s: int) -> _Precision:
        residual, sigma = problem.residual, float(draws.sigma[s])
        assert residual is not None
        columns, inverse_variances = _effects(problem, draws, s), []
        inverse_variances.append(np.ones(columns.shape[1]))
        y = problem.y
        if draws.prior is None:
            y = y - problem.X @ draws.beta[s]
        else:
            X = _centred(problem)
            mean, sd = draws.prior
            y = y - X @ np.where(np.isfinite(sd), mean, 0.0)
            size = np.sqrt(np.mean(X**2, axis=0))
            columns = np.column_stack([columns, X / size])
            inverse_variances.append((size * sd) ** -2.0)
        weighted = residual.weighted(np.column_stack([columns, y]), values) / sigma**2  # by Ω
        M = columns.T @ weighted[:, :-1] + np.diag(np.concatenate(inverse_variances))
        L = np.linalg.cholesky(M)
        T = linalg.solve_triangular(L, weighted[:, :-1].T, lower=True, check_finite=False).T
        right = linalg.solve_triangular(L, columns.T @ weighted[:, -1], lower=True, check_finite=False)
        return cls(residual, values, sigma, T, weighted[:, -1] - T @ right)

    def of_rows(self) -> tuple[Array, Array]:
        omega = self.residual.precisions(self.values) / self.sigma**2
        taken = np.sum(self.T**2, axis=1)
        left = omega - taken
        with np.errstate(divide="ignore", invalid="ignore"):
            without = 0.5 * (np.log(left) - self.away**2 / left - LOG_2PI)
        variance = 1.0 / omega + taken / omega**2
        within = -0.5 * (np.log(variance) + (self.away / omega) ** 2 / variance + LOG_2PI)
        return np.where(left > ALONE * omega, without, -np.inf), within

    def of_unit(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        omega = self.residual.taking(rows).precision(self.values) / self.sigma**2
        T, away = self.T[rows], self.away[rows]
        sds = np.linalg.inv(omega)
        variance = sds + sds @ T @ T.T @ sds
        left = omega - T @ T.T
        scale = np.sqrt(np.diag(omega))
        if np.linalg.eigvalsh(left / np.outer(scale, scale))[0] < ALONE:
            return -np.inf, _log_normal(sds @ away, variance)
        without = 0.5 * (np.linalg.slogdet(left)[1] - away @ np.linalg.solve(left, away) - len(rows) * LOG_2PI)
        return float(without), _log_normal(sds @ away, variance)


def _log_normal(z: Array, variance: Array) -> float:
    return float(-0.5 * (np.linalg.slogdet(variance)[1] + z @ np.linalg.solve(variance, z) + len(z) * LOG_2PI))


def _effects(problem: Problem, draws: Hyperdraws, s: int) -> Array:
    """Columns (n, Σ J q) of all effects in units of their sds."""
    n, parts = len(problem.y), [np.zeros((len(problem.y), 0))]
    for Z, codes, levels, blocks, covariance in zip(
        problem.Z, problem.codes, problem.levels, problem.blocks, draws.covariances, strict=True
    ):
        scaled = Z @ cholesky_psd(covariance[s], blocks)
        columns = np.zeros((n, levels, Z.shape[1]))
        columns[np.arange(n), codes] = scaled
        parts.append(columns.reshape(n, -1))
    return np.concatenate(parts, axis=1)


def _centred(problem: Problem) -> Array:
    """X with its predictors centred where there is an intercept, whose prior is at their means."""
    X = np.array(problem.X)
    if problem.intercept is not None:
        means = X.mean(axis=0)
        means[problem.intercept] = 0.0
        X -= means
    return X
