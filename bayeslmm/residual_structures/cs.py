"""Exchangeable errors: one correlation ρ of any two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tools.arrays import Array
from .blocks import Blocks
from .correlation import Correlation

LIMIT = 18.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchangeable(Correlation):
    """nlme's ``corCompSymm``: a random intercept where ρ > 0, and more since ρ may be below zero."""

    name = "cs"
    words = "correlated with each other, all alike"
    entry = "ρ"
    has_positions = False
    is_shared_effect = True

    def natural(self, free: Array, blocks: Blocks) -> Array:
        low = _lowest(blocks)
        return low + (1.0 - low) / (1.0 + np.exp(-np.clip(free, -LIMIT, LIMIT)))

    def free(self, rho: Array, blocks: Blocks) -> Array:
        low = _lowest(blocks)
        share = np.clip((rho - low) / (1.0 - low), 1e-8, 1.0 - 1e-8)
        return np.log(share) - np.log1p(-share)

    def shares(self, free: Array, blocks: Blocks) -> tuple[Array, Array, Array]:
        """The share of the interval of ρ."""
        y = free[..., 0]
        log_u, log_rest = -np.logaddexp(0.0, -y), -np.logaddexp(0.0, y)
        return log_u, log_rest, log_u + log_rest

    def of_share(self, u: Array, blocks: Blocks) -> Array:
        low = _lowest(blocks)
        return low + (1.0 - low) * u

    def prior_in_words(self, blocks: Blocks) -> str:
        return f"rho as Beta(eta, eta) between {_lowest(blocks):.3g} and 1"

    def rough_sd(self, blocks: Blocks) -> float:
        return float(len(blocks.sizes)) ** -0.5

    def starts(self, blocks: Blocks) -> list[Array]:
        return [self.free(np.array([r]), blocks) for r in (0.0, 0.5)]

    def matrix(self, rho: Array, positions: Array) -> Array:
        m = len(positions)
        return np.full((m, m), rho[0]) + (1.0 - rho[0]) * np.eye(m)

    def basis(self, positions: Array, levels: int) -> list[Array] | None:
        """One variance and one covariance."""
        m = len(positions)
        return [np.eye(m), np.ones((m, m)) - np.eye(m)]

    def whiten(self, rho: Array, blocks: Blocks, A: Array) -> tuple[Array, float]:
        """By R^-½ = (I − cJ/m)/√(1 − ρ), the symmetric root."""
        r, sizes = float(rho[0]), blocks.sizes
        within, shared = 1.0 - r, 1.0 + (sizes - 1.0) * r
        c = 1.0 - np.sqrt(within / shared)
        means = np.add.reduceat(A, blocks.starts[:-1], axis=0) / sizes[:, None]
        white = (A - np.repeat(c[:, None] * means, sizes, axis=0)) / np.sqrt(within)
        return white, float(np.sum((sizes - 1.0) * np.log(within) + np.log(shared)))


def _lowest(blocks: Blocks) -> float:
    """Below this correlation that of the largest block is none."""
    return -1.0 / max(int(blocks.sizes.max()) - 1, 1)
