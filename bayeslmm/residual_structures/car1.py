"""Autoregressive errors in continuous time: ρ^|s − t|."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tools.arrays import Array
from .blocks import Blocks
from .correlation import Correlation, gaps_of, whiten_in_sequence

NARROW, WIDE = (
    1e-7,
    40.0,
)  # typical gap times the rate at which correlation decays: between are all that tell themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousAutoregressive(Correlation):
    """nlme's ``corCAR1``: ρ is the correlation of two errors one unit of time apart."""

    name = "car1"
    words = "correlated over time, the less the more time lies between"
    entry = "ρ^|t_i - t_j|"

    def natural(self, free: Array, blocks: Blocks) -> Array:
        rate = np.clip(np.exp(np.clip(free, -50.0, 50.0)), NARROW, WIDE) / _typical(blocks)
        return np.exp(-rate)

    def free(self, rho: Array, blocks: Blocks) -> Array:
        rate = -np.log(np.clip(rho, 1e-300, 1.0 - 1e-16)) * _typical(blocks)
        return np.log(np.clip(rate, NARROW, WIDE))

    def shares(self, free: Array, blocks: Blocks) -> tuple[Array, Array, Array]:
        """u = ρ^(typical gap): the correlation over the median of the gaps."""
        log_rate = np.minimum(free[..., 0], 500.0)
        rate = np.exp(log_rate)
        return -rate, np.log(np.maximum(-np.expm1(-rate), 1e-300)), log_rate - rate

    def of_share(self, u: Array, blocks: Blocks) -> Array:
        return np.asarray(u ** (1.0 / _typical(blocks)))

    def prior_in_words(self, blocks: Blocks) -> str:
        gap = _typical(blocks)
        return f"correlation over a typical gap ({gap:.3g}) as Beta(eta, eta) between 0 and 1"

    def starts(self, blocks: Blocks) -> list[Array]:
        return [np.log([-np.log(r)]) for r in (0.02, 0.3, 0.7, 0.95)]

    def matrix(self, rho: Array, positions: Array) -> Array:
        return np.asarray(rho[0] ** np.abs(positions[:, None] - positions))

    def whiten(self, rho: Array, blocks: Blocks, A: Array) -> tuple[Array, float]:
        gaps, first = gaps_of(blocks)
        return whiten_in_sequence(rho[0] ** gaps, first, A)


def _typical(blocks: Blocks) -> float:
    gaps, first = gaps_of(blocks)
    return float(np.median(gaps[~first])) if not first.all() else 1.0
