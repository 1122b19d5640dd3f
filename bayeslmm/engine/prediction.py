"""How far β̂ and b̂ are from β and b: variances of combinations, and draws that carry the variances' own uncertainty.

With variances taken as known, β̂ − β ~ N(0, Cov(β̂)) and b̂ − b = (∂b̂/∂β)(β̂ − β) − u, u ~ N(0, Cov(b | y, β)), which is
independent of β̂ (docs/theory.md, section 6 and eq. 9.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd
from ..tools.arrays import Array
from . import pls
from .criterion import prepare
from .reml import PointSolution, mode_slopes
from .scaling import Problem, Scaled

Codes = NDArray[np.int64]

NUMBERS = 20_000_000  # of L⁻¹ held at a time: 160 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """The joint covariance of β̂ − β and b̂ − b, variances taken as known."""

    reduced: pls.Reduced
    scaled: Scaled  # b = T_z b̃, and of wide terms the root times that
    vcov: Array  # (p, p)
    slopes: tuple[Array, ...]  # per factor (J_k, q_k, p): ∂b̂/∂β
    mode_covariances: tuple[Array, ...]  # per factor (J_k, q_k, q_k): Cov(b_j | y, β)
    sigma: float

    @classmethod
    def of(cls, problem: Problem, solution: PointSolution, vcov: Array | None = None) -> Errors:
        """Those of a solution; with another ``vcov`` (p, p) of β̂, such as one that is adjusted."""
        scaled, criterion = prepare(problem, reml=solution.reml)
        return cls(
            reduced=pls.reduce(criterion.layout, criterion.lams(solution.scaled_theta)),
            scaled=scaled,
            vcov=solution.vcov if vcov is None else vcov,
            slopes=mode_slopes(problem, solution),
            mode_covariances=solution.mode_covariances,
            sigma=solution.sigma,
        )

    def of_rows(self, X: Array, effects: Sequence[tuple[int, Codes, Array]]) -> Array:
        """Variance of x'(β̂ − β) + Σ z_k'(b̂_k − b_k) of every row, as the covariance of each part with the whole.

        Parameters
        ----------
        X : (n, p)
        effects : sequence of (factor, codes (n,), Z (n, q_k))
            The effects that a row has; each factor once.

        Returns
        -------
        (n, 1 + len(effects))
            The variance is their sum.
        """
        parts = np.zeros((len(X), 1 + len(effects)))
        width = X.shape[1] * (1 + sum(Z.shape[1] for _, _, Z in effects))
        joint, which = self._joint(effects)
        ends = np.cumsum([Z.shape[1] for _, _, Z in effects])[:-1]
        step = max(1, NUMBERS // 8 // max(width, 1))
        for first in range(0, len(X), step):
            rows = slice(first, first + step)
            reach = [X[rows]]
            for k, codes, Z in effects:
                reach.append(np.einsum("nq,nqp->np", Z[rows], self.slopes[k][codes[rows]]))
            moved = sum(reach) @ self.vcov
            for i, part in enumerate(reach):
                parts[rows, i] = np.einsum("np,np->n", part, moved)
            if effects:
                Z = np.hstack([Z[rows] for _, _, Z in effects])
                products = Z * np.einsum("nab,nb->na", joint[which[rows]], Z)
                for i, part in enumerate(np.split(products, ends, axis=1), start=1):
                    parts[rows, i] += part.sum(axis=1)
        return parts

    def reach_of_rows(self, X: Array, effects: Sequence[tuple[int, Codes, Array]]) -> Array:
        """How x'β̂ + Σ z_k'b̂_k of every row moves with β̂ (n, p)."""
        reach = X
        for k, codes, Z in effects:
            reach = reach + np.einsum("nq,nqp->np", Z, self.slopes[k][codes])
        return reach

    def reach_of_combinations(self, X: Array, effects: Sequence[tuple[int, Any]]) -> Array:
        """How Xβ̂ + Σ A_k b̂_k moves with β̂ (k, p), for sparse A_k (k, J_k q_k)."""
        reach = X
        for factor, A in effects:
            reach = reach + A @ self.slopes[factor].reshape(-1, X.shape[1])
        return reach

    def of_combinations(self, X: Array, effects: Sequence[tuple[int, Any]]) -> Array:
        """Variance (k,) of Xβ̂ + Σ A_k b̂_k less the same of β and b, for sparse A_k (k, J_k q_k)."""
        reach = self.reach_of_combinations(X, effects)
        variances = np.einsum("kp,pr,kr->k", reach, self.vcov, reach)
        step = max(1, NUMBERS // max(self.reduced.layout.m, 1))
        for first in range(0, len(X) if effects else 0, step):
            rows = slice(first, first + step)
            parts = [np.zeros((*slopes.shape[:2], min(step, len(X) - first))) for slopes in self.slopes]
            for factor, A in effects:
                parts[factor] = A[rows].toarray().T.reshape(parts[factor].shape)
            half = self._half(parts)
            variances[rows] += np.einsum("mk,mk->k", half, half)
        return variances

    def covariance_of_combinations(self, X: Array, effects: Sequence[tuple[int, Any]]) -> Array:
        """Covariance (k, k) of the errors of `of_combinations`."""
        reach = self.reach_of_combinations(X, effects)
        parts = [np.zeros((*slopes.shape[:2], len(X))) for slopes in self.slopes]
        for factor, A in effects:
            parts[factor] = A.toarray().T.reshape(parts[factor].shape)
        half = self._half(parts)
        return np.asarray(reach @ self.vcov @ reach.T + half.T @ half)

    def _half(self, parts: Sequence[Array]) -> Array:
        """A square root (m, c) of Cov(Aᵀb | y, β) for A_k (J_k, q_k, c)."""
        moved = [
            np.einsum("ab,jac->jbc", T, self.scaled.inwards(k, part))
            for k, (T, part) in enumerate(zip(self.scaled.T_z, parts, strict=True))
        ]
        return self.sigma * pls.whitened(self.reduced, moved)

    def _joint(self, effects: Sequence[tuple[int, Codes, Array]]) -> tuple[Array, NDArray[np.intp]]:
        """Cov(b | y, β) of the levels that meet in a row (combinations, Σq, Σq), and each row's combination (n,)."""
        if not effects:
            return np.zeros((0, 0, 0)), np.zeros(0, dtype=np.intp)
        if len(effects) == 1:
            factor, codes, _ = effects[0]
            return self.mode_covariances[factor], codes
        distinct, inverse_index = np.unique(
            np.column_stack([codes for _, codes, _ in effects]), axis=0, return_inverse=True
        )
        factors = [factor for factor, _, _ in effects]
        sizes = [self.mode_covariances[factor].shape[1] for factor in factors]
        m = max(self.reduced.layout.m, 1)
        whole = sum(len(np.unique(distinct[:, i])) * size for i, size in enumerate(sizes)) * m <= NUMBERS
        step = len(distinct) if whole else max(1, NUMBERS // (m * sum(sizes)))
        blocks = [
            self._joint_of(factors, sizes, distinct[first : first + step]) for first in range(0, len(distinct), step)
        ]
        return np.concatenate(blocks), inverse_index.reshape(-1)

    def _joint_of(self, factors: Sequence[int], sizes: Sequence[int], met: Codes) -> Array:
        levels, places = zip(*(np.unique(codes, return_inverse=True) for codes in met.T), strict=True)
        counts = [len(level) * size for level, size in zip(levels, sizes, strict=True)]
        parts = [np.zeros((*slopes.shape[:2], sum(counts))) for slopes in self.slopes]
        start = 0
        for factor, level, size, count in zip(factors, levels, sizes, counts, strict=True):
            columns = start + np.arange(count).reshape(len(level), size)
            parts[factor][level[:, None], np.arange(size), columns] = 1.0
            start += count
        half = np.ascontiguousarray(self._half(parts).T)
        starts = np.concatenate([[0], np.cumsum(counts)])
        columns_of = np.hstack(
            [s + place[:, None] * size + np.arange(size) for s, place, size in zip(starts, places, sizes, strict=False)]
        )
        products = np.empty((len(met), sum(sizes), sum(sizes)))
        step = max(1, NUMBERS // 8 // (half.shape[1] * sum(sizes)))
        for first, last in pairwise([*range(0, len(met), step), len(met)]):
            chosen = half[columns_of[first:last]]
            products[first:last] = chosen @ chosen.swapaxes(1, 2)
        return products


def draws_given(
    problem: Problem, solution: PointSolution, covariances: Sequence[Array], sigma: Array, rng: Generator
) -> tuple[Array, tuple[Array, ...]]:
    """One draw of β (S, p) and of every factor's effects (S, J_k, q_k), given y and each of S sets of variances.

    Parameters
    ----------
    covariances : per factor (S, q_k, q_k)
    sigma : (S,)
    """
    scaled, criterion = prepare(problem, reml=solution.reml)
    layout = criterion.layout
    back = [np.linalg.inv(T) for T in scaled.T_z]
    beta = np.empty((len(sigma), criterion.p))
    effects = tuple(np.empty((len(sigma), J, len(T))) for J, T in zip(problem.levels, scaled.T_z, strict=True))
    for draw, noise in enumerate(sigma):
        lams = [
            cholesky_psd(inverse @ covariance[draw] @ inverse.T, blocks) / noise
            for inverse, covariance, blocks in zip(back, covariances, problem.blocks, strict=True)
        ]
        reduced = pls.reduce(layout, lams)
        solved = pls.solve(reduced)
        scaled_beta = solved.beta + noise * np.linalg.solve(solved.R_x, rng.standard_normal(criterion.p))
        spherical = pls.spherical_modes(reduced, scaled_beta, noise * rng.standard_normal(layout.m))
        beta[draw] = scaled.beta(scaled_beta)
        for k, (T, lam, u) in enumerate(zip(scaled.T_z, lams, spherical, strict=True)):
            effects[k][draw] = scaled.outwards(k, u @ (T @ lam).T)
    return beta, effects


def degrees_of_freedom(
    problem: Problem, covariances: Sequence[Array], sigma: Array, factors: Sequence[int], *, reml: bool = True
) -> Array:
    """How many of the effects of some terms the data tell (S, len(factors)), for each of S sets of variances.

    J − tr(Cov(b − b̂))/τ² of one isotropic block: the trace of its block of (CᵀWC + P)⁻¹CᵀWC, as mgcv's ``edf``.

    Parameters
    ----------
    covariances : per factor (S, q_k, q_k)
    sigma : (S,)
    factors : sequence of int
        Terms with one effect a level.
    """
    scaled, criterion = prepare(problem, reml=reml)
    back = [np.linalg.inv(T) for T in scaled.T_z]
    used = np.zeros((len(sigma), len(factors)))
    for draw, noise in enumerate(sigma):
        lams = [
            cholesky_psd(inverse @ covariance[draw] @ inverse.T, blocks) / noise
            for inverse, covariance, blocks in zip(back, covariances, problem.blocks, strict=True)
        ]
        reduced = pls.reduce(criterion.layout, lams)
        left, slopes, R_x = pls.inverse(reduced).diagonal, pls.mode_slopes(reduced), pls.solve(reduced).R_x
        for i, k in enumerate(factors):
            moved = np.linalg.solve(R_x.T, slopes[k][:, 0].T)
            used[draw, i] = problem.levels[k] - left[k].sum() - np.einsum("pj,pj->", moved, moved)
    return used
