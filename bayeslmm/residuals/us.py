"""Errors with any correlation matrix over the levels of a factor: the covariance of an MMRM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tools.arrays import Array
from .blocks import Blocks
from .correlation import Correlation

LIMIT = 3e4  # of a free coordinate: correlations within 1e-9 of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstructured(Correlation):
    """nlme's ``corSymm`` with ``varIdent`` by position; blocks may lack some of the positions."""

    name = "us"
    words = "correlated with each other"
    entry = "ρ_ij"
    of_levels = True

    def count(self, blocks: Blocks) -> int:
        return blocks.levels * (blocks.levels - 1) // 2

    def labels(self, positions: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{positions[a]}.{positions[b]}" for a, b in _pairs(len(positions)))

    def natural(self, free: Array, blocks: Blocks) -> Array:
        """Correlations of L Lᵀ, whose rows are (free numbers, 1) over their length (glmmTMB's coordinates)."""
        m = blocks.levels
        L = np.eye(m)
        a, b = _pairs(m).T
        L[b, a] = np.clip(free, -LIMIT, LIMIT)
        L /= np.linalg.norm(L, axis=1)[:, None]
        return np.asarray(np.einsum("kc,kc->k", L[a], L[b]))

    def free(self, rho: Array, blocks: Blocks) -> Array:
        R = self.matrix(rho, np.arange(blocks.levels, dtype=float))
        values, vectors = np.linalg.eigh(R)
        L = np.linalg.cholesky((vectors * np.maximum(values, 1e-9)) @ vectors.T)
        a, b = _pairs(blocks.levels).T
        return np.clip(L[b, a] / np.diag(L)[b], -LIMIT, LIMIT)

    def starts(self, blocks: Blocks) -> list[Array]:
        exchangeable = np.full(self.count(blocks), 0.5)
        return [np.zeros(self.count(blocks)), self.free(exchangeable, blocks)]

    def matrix(self, rho: Array, positions: Array) -> Array:
        m = int(np.rint((1.0 + np.sqrt(1.0 + 8.0 * len(rho))) / 2.0))
        whole = np.eye(m)
        a, b = _pairs(m).T
        whole[a, b] = whole[b, a] = rho
        at = positions.astype(np.int64)
        return whole[np.ix_(at, at)]

    def slopes(self, free: Array, blocks: Blocks, positions: Array) -> Array:
        m = blocks.levels
        L = np.eye(m)
        a, b = _pairs(m).T
        L[b, a] = np.clip(free, -LIMIT, LIMIT)
        length = np.linalg.norm(L, axis=1)
        L /= length[:, None]
        rows = -L[b, a][:, None] * L[b]  # ∂L_b/∂(its entry a), times the length of the row
        rows[np.arange(len(a)), a] += 1.0
        moved = (rows / length[b][:, None]) @ L.T  # of R_bc for every c
        found = np.zeros((len(a), m, m))
        each = np.arange(len(a))
        found[each, b, :] = moved
        found[each, :, b] = moved
        found[each, b, b] = 0.0
        at = positions.astype(np.int64)
        return found[:, at[:, None], at]

    def basis(self, positions: Array, levels: int) -> list[Array] | None:
        """Every variance and covariance; with one sd for all positions the covariance is linear in none."""
        if self.hom:
            return None
        at, found = positions.astype(np.int64), []
        for a in range(levels):
            for b in range(a + 1):
                E = np.zeros((levels, levels))
                E[a, b] = E[b, a] = 1.0
                found.append(E[np.ix_(at, at)])
        return found

    def lacks(self, blocks: Blocks) -> str:
        met = np.zeros((blocks.levels, blocks.levels), dtype=bool)
        for positions, _ in blocks.patterns:
            at = positions.astype(np.int64)
            met[np.ix_(at, at)] = True
        never = [(a, b) for a, b in _pairs(blocks.levels) if not met[a, b]]
        if not never:
            return "" if blocks.levels > 1 else "there is one position only"
        return f"positions {never[0][0] + 1} and {never[0][1] + 1} never occur in one level together"


def _pairs(m: int) -> np.ndarray:
    """(a, b) with a < b, row by row of the lower triangle (pairs, 2)."""
    return np.array([(a, b) for b in range(m) for a in range(b)], dtype=np.int64).reshape(-1, 2)
