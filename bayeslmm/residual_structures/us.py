"""Errors with any correlation matrix over the levels of a factor: the covariance of an MMRM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.lazy import special
from .blocks import Blocks
from .correlation import Correlation

LIMIT = 3e4  # of a free coordinate: correlations within 1e-9 of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstructured(Correlation):
    """nlme's ``corSymm`` with ``varIdent`` by position; blocks may lack some of the positions.

    Positions that never meet, as the visits of two arms, fall into sets, each with a correlation matrix of its own.

    Attributes
    ----------
    sets : tuple of tuples of int
        The positions that meet; empty until the blocks are known, which is one set of all.
    """

    sets: tuple[tuple[int, ...], ...] = ()

    name = "us"
    words = "correlated with each other"
    entry = "ρ_ij"
    of_levels = True

    def on(self, blocks: Blocks) -> Unstructured:
        """With the sets of positions that meet."""
        pairs_met = _met(blocks)
        left, sets = set(range(blocks.levels)), []
        while left:
            reached: set[int] = {min(left)}
            size = 0
            while size != len(reached):
                size = len(reached)
                reached |= set(np.flatnonzero(pairs_met[sorted(reached)].any(axis=0)).tolist())
            sets.append(tuple(sorted(reached)))
            left -= reached
        return replace(self, sets=tuple(sets))

    def _pairs(self, levels: int) -> NDArray[np.int64]:
        """(a, b) with a < b that meet, row by row of the lower triangle (pairs, 2)."""
        return _pairs_of(self.sets or (tuple(range(levels)),), levels)

    def _levels(self, rho: Array) -> int:
        if self.sets:
            return 1 + max(max(places) for places in self.sets)
        return int(np.rint((1.0 + np.sqrt(1.0 + 8.0 * len(rho))) / 2.0))

    def _root(self, free: Array, blocks: Blocks) -> tuple[Array, Array]:
        """L, whose rows are (free numbers, 1) over their length (glmmTMB's coordinates), and the lengths."""
        L = np.eye(blocks.levels)
        a, b = self._pairs(blocks.levels).T
        L[b, a] = np.clip(free, -LIMIT, LIMIT)
        length = np.linalg.norm(L, axis=1)
        return L / length[:, None], length

    def count(self, blocks: Blocks) -> int:
        return len(self._pairs(blocks.levels))

    def labels(self, positions: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{positions[a]}.{positions[b]}" for a, b in self._pairs(len(positions)))

    def natural(self, free: Array, blocks: Blocks) -> Array:
        L, _ = self._root(free, blocks)
        a, b = self._pairs(blocks.levels).T
        return np.asarray(np.einsum("kc,kc->k", L[a], L[b]))

    def free(self, rho: Array, blocks: Blocks) -> Array:
        R = self.matrix(rho, np.arange(blocks.levels, dtype=float))
        values, vectors = np.linalg.eigh(R)
        L = np.linalg.cholesky((vectors * np.maximum(values, 1e-9)) @ vectors.T)
        a, b = self._pairs(blocks.levels).T
        return np.clip(L[b, a] / np.diag(L)[b], -LIMIT, LIMIT)

    def at(self, y: Array, blocks: Blocks) -> Array:
        """From asinh of the free coordinates: of two positions Fisher's z."""
        return self.natural(np.sinh(np.clip(y, -50.0, 50.0)), blocks)

    def coordinates(self, rho: Array, blocks: Blocks) -> Array:
        return np.arcsinh(self.free(rho, blocks))

    def log_prior(self, y: Array, eta: float, blocks: Blocks) -> float:
        belongs, powers, constant = _prior_of_rows(self.sets or (tuple(range(blocks.levels)),), blocks.levels, eta)
        cosh = np.cosh(y)  # of what is below `FARTHEST` of the exact sampler, and so no overflow
        return float(constant - powers @ np.log1p(belongs @ (cosh**2 - 1.0)) + np.sum(np.log(cosh)))

    def log_density(self, rho: Array, eta: float, blocks: Blocks) -> Array:
        R = np.broadcast_to(np.eye(blocks.levels), (*rho.shape[:-1], blocks.levels, blocks.levels)).copy()
        a, b = self._pairs(blocks.levels).T
        R[..., a, b] = R[..., b, a] = rho
        return np.asarray((eta - 1.0) * np.linalg.slogdet(R)[1])

    def drawn(self, rng: Generator, n: int, eta: float, blocks: Blocks) -> Array:
        belongs, powers, _ = _prior_of_rows(self.sets or (tuple(range(blocks.levels)),), blocks.levels, eta)
        scale = np.sqrt(rng.chisquare(2.0 * powers - belongs.sum(axis=1), (n, len(powers))))
        free = rng.standard_normal((n, self.count(blocks))) / (scale @ belongs)
        return np.array([self.natural(each, blocks) for each in free]).reshape(free.shape)

    def prior_in_words(self, blocks: Blocks) -> str:
        return "density det(R)^(eta - 1) of correlation matrices"

    def rough_sd(self, blocks: Blocks) -> float:
        return float(len(blocks.sizes)) ** -0.5

    def starts(self, blocks: Blocks) -> list[Array]:
        exchangeable = np.full(self.count(blocks), 0.5)
        return [np.zeros(self.count(blocks)), self.free(exchangeable, blocks)]

    def matrix(self, rho: Array, positions: Array) -> Array:
        levels = self._levels(rho)
        places = positions.astype(np.int64)
        return self._full(rho, levels)[places[:, None], places]

    def _full(self, rho: Array, levels: int) -> Array:
        full = np.eye(levels)
        a, b = self._pairs(levels).T
        full[a, b] = full[b, a] = rho
        return full

    def matrices(self, rho: Array, blocks: Blocks) -> list[Array]:
        full = self._full(rho, blocks.levels)
        return [full[places[:, None], places] for places in (p.astype(np.int64) for p, _ in blocks.patterns)]

    def slopes(self, free: Array, blocks: Blocks, positions: Array) -> Array:
        L, length = self._root(free, blocks)
        a, b = self._pairs(blocks.levels).T
        rows = -L[b, a][:, None] * L[b]  # ∂L_b/∂(its entry a), times the length of the row
        rows[np.arange(len(a)), a] += 1.0
        moved = (rows / length[b][:, None]) @ L.T  # of R_bc for every c
        out = np.zeros((len(a), blocks.levels, blocks.levels))
        indices = np.arange(len(a))
        out[indices, b, :] = moved
        out[indices, :, b] = moved
        out[indices, b, b] = 0.0
        places = positions.astype(np.int64)
        return out[:, places[:, None], places]

    def basis(self, positions: Array, levels: int) -> list[Array] | None:
        """Every variance and covariance; with one sd for all positions the covariance is linear in none."""
        if self.hom:
            return None
        places, out = positions.astype(np.int64), []
        for a, b in [*((k, k) for k in range(levels)), *self._pairs(levels).tolist()]:
            E = np.zeros((levels, levels))
            E[a, b] = E[b, a] = 1.0
            out.append(E[np.ix_(places, places)])
        return out

    def lacks(self, blocks: Blocks) -> str:
        pairs_met = _met(blocks)
        never = [(a, b) for a, b in self.on(blocks)._pairs(blocks.levels) if not pairs_met[a, b]]
        if never:
            a, b = never[0]
            return f"positions {a + 1} and {b + 1} never occur in one level together"
        return "" if self.on(blocks).count(blocks) else "no level has two positions"


def _met(blocks: Blocks) -> NDArray[np.bool_]:
    """Which positions occur in one block (levels, levels)."""
    met = np.zeros((blocks.levels, blocks.levels), dtype=bool)
    for positions, _ in blocks.patterns:
        places = positions.astype(np.int64)
        met[np.ix_(places, places)] = True
    return met


@lru_cache(maxsize=64)
def _pairs_of(sets: tuple[tuple[int, ...], ...], levels: int) -> NDArray[np.int64]:
    which = {place: number for number, each in enumerate(sets) for place in each}
    pairs = [(a, b) for b in range(levels) for a in range(b) if which[a] == which[b]]
    index_pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    index_pairs.flags.writeable = False
    return index_pairs


@lru_cache(maxsize=64)
def _prior_of_rows(sets: tuple[tuple[int, ...], ...], levels: int, eta: float) -> tuple[Array, Array, float]:
    """Of the rows of L: which pairs belong to each (rows, pairs), (ν + b)/2 (rows,), and the constant of their density.

    LKJ's density of the rows of L (Lewandowski, Kurowicka & Joe 2009, eq. 16) makes the free numbers of the b-th of K
    positions b-variate t with K − 1 + 2η − b degrees of freedom ν, over √ν.
    """
    pairs = _pairs_of(sets, levels)
    belongs, powers, constant = [], [], 0.0
    for positions in sets:
        for b, position in enumerate(positions[1:], start=1):
            nu = len(positions) - 1.0 + 2.0 * eta - b
            belongs.append(pairs[:, 1] == position)
            powers.append(0.5 * (nu + b))
            constant += float(special.gammaln(powers[-1]) - special.gammaln(0.5 * nu) - 0.5 * b * np.log(np.pi))
    return np.array(belongs, dtype=float).reshape(-1, len(pairs)), np.array(powers), constant
