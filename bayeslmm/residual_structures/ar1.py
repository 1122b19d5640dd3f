"""Autoregressive errors of order one at whole steps: ρ^|i − j|."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tools.arrays import Array
from .blocks import Blocks
from .correlation import Correlation, gaps_of, whiten_in_sequence

LIMIT = 8.0  # of the free coordinate: a correlation within 2e-7 of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoregressive(Correlation):
    """nlme's ``corAR1``: a position left out is a step of two."""

    name = "ar1"
    words = "correlated from step to step, the less the more steps lie between"
    entry = "ρ^|t_i - t_j|"
    whole_steps = True

    def natural(self, free: Array, blocks: Blocks) -> Array:
        return np.tanh(np.clip(free, -LIMIT, LIMIT))

    def free(self, rho: Array, blocks: Blocks) -> Array:
        return np.clip(np.arctanh(np.clip(rho, -1.0 + 1e-15, 1.0 - 1e-15)), -LIMIT, LIMIT)

    def shares(self, free: Array, blocks: Blocks) -> tuple[Array, Array, Array]:
        """u = (1 + ρ)/2."""
        y = free[..., 0]
        log_u, log_rest = -np.logaddexp(0.0, -2.0 * y), -np.logaddexp(0.0, 2.0 * y)
        return log_u, log_rest, np.log(2.0) + log_u + log_rest

    def of_share(self, u: Array, blocks: Blocks) -> Array:
        return 2.0 * u - 1.0

    def prior_in_words(self, blocks: Blocks) -> str:
        return "rho as Beta(eta, eta) between -1 and 1"

    def starts(self, blocks: Blocks) -> list[Array]:
        return [np.arctanh([r]) for r in (0.0, 0.5, 0.9, -0.4)]

    def matrix(self, rho: Array, positions: Array) -> Array:
        steps = np.abs(positions[:, None] - positions)
        return np.sign(rho[0]) ** steps * np.abs(rho[0]) ** steps if rho[0] != 0.0 else np.eye(len(positions))

    def whiten(self, rho: Array, blocks: Blocks, A: Array) -> tuple[Array, float]:
        gaps, first = gaps_of(blocks)
        return whiten_in_sequence(rho[0] ** np.rint(gaps), first, A)
