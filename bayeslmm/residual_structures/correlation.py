"""What a correlation of errors is: the contract that every file of this room fulfils (docs/architecture.md).

A block of rows has the correlation matrix R(ρ), which hangs on a few numbers ρ.  The search moves in free coordinates
on the whole line.  Rows are whitened by a square root of R⁻¹; any will do, since only AᵀR⁻¹A enters the likelihood.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ..tools.arrays import Array
from .blocks import Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation(ABC):
    """How the errors of a block vary together.

    One subclass a structure. What it can do is said by the capabilities below; nobody asks for its name.

    Attributes
    ----------
    hom : bool
        One standard deviation for all positions, where there could be one each.
    """

    hom: bool = False

    name: ClassVar[str]
    words: ClassVar[str]  # of the errors of a level
    entry: ClassVar[str]  # of R, between rows i and j
    # -- capabilities
    has_positions: ClassVar[bool] = True  # a column stands on the left
    of_levels: ClassVar[bool] = False  # positions are the levels of a factor, one sd each
    whole_steps: ClassVar[bool] = False  # positions are whole numbers, or the order of a factor
    is_shared_effect: ClassVar[bool] = False  # a random intercept of the level gives the same covariance

    def on(self, blocks: Blocks) -> Correlation:
        """The structure as it is on these blocks."""
        return self

    def count(self, blocks: Blocks) -> int:
        """Number of parameters ρ."""
        return 1

    def labels(self, positions: tuple[str, ...]) -> tuple[str, ...]:
        """What the parameters are called, where positions are levels with these names."""
        return ("rho",)

    @abstractmethod
    def natural(self, free: Array, blocks: Blocks) -> Array:
        """ρ from coordinates on the whole line."""

    @abstractmethod
    def free(self, rho: Array, blocks: Blocks) -> Array:
        """The other way."""

    @abstractmethod
    def starts(self, blocks: Blocks) -> list[Array]:
        """Where searches begin, in free coordinates; the first is independence or next to it."""

    @abstractmethod
    def matrix(self, rho: Array, positions: Array) -> Array:
        """R (m, m) of a block with these positions (m,)."""

    def slopes(self, free: Array, blocks: Blocks, positions: Array) -> Array:
        """∂R/∂free (r, m, m) of a block with these positions; by differences, whose errors are 1e-10."""
        derivatives = []
        for k in range(len(free)):
            h = np.zeros(len(free))
            h[k] = 1e-5 * max(1.0, abs(float(free[k])))
            up, down = (self.matrix(self.natural(free + s * h, blocks), positions) for s in (1.0, -1.0))
            derivatives.append((up - down) / (2.0 * h[k]))
        return np.array(derivatives).reshape(len(free), len(positions), len(positions))

    def basis(self, positions: Array, levels: int) -> list[Array] | None:
        """Matrices (m, m) in which the covariance of a block is linear, with its sds; None where there are none."""
        return None

    def lacks(self, blocks: Blocks) -> str:
        """Why the data do not tell ρ; empty where they do."""
        return "" if int(blocks.sizes.max()) > 1 else "no level has two rows"

    def whiten(self, rho: Array, blocks: Blocks, A: Array) -> tuple[Array, float]:
        """(R^-½A (n, c), log|R|) for A (n, c), both in the order of the blocks."""
        out, log_det = np.empty_like(A), 0.0
        for positions, places in blocks.patterns:
            L = np.linalg.cholesky(self.matrix(rho, positions))
            stacked = A[places]  # (blocks, m, c)
            B, m, c = stacked.shape
            flat = stacked.transpose(1, 0, 2).reshape(m, B * c)
            white = solve_triangular(L, flat, lower=True, check_finite=False)
            out[places] = white.reshape(m, B, c).transpose(1, 0, 2)
            log_det += 2.0 * B * float(np.log(np.diag(L)).sum())
        return out, log_det

    def correlated(self, rho: Array, blocks: Blocks, noise: Array) -> Array:
        """R^½z (n, c) of independent noise z (n, c), in the order of the blocks."""
        out = np.empty_like(noise)
        for positions, places in blocks.patterns:
            R = self.matrix(rho, positions)
            values, vectors = np.linalg.eigh(R)
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            out[places] = np.einsum("ab,kbc->kac", root, noise[places])
        return out


def whiten_in_sequence(steps: Array, first: NDArray[np.bool_], A: Array) -> tuple[Array, float]:
    """As `Correlation.whiten` where the error of a row hangs on the one before alone.

    ``steps`` (n,) is their correlation, and ``first`` (n,) says which rows have none before them.
    """
    steps = np.where(first, 0.0, steps)
    innovation = np.maximum(1.0 - steps**2, 1e-300)
    before = np.empty_like(A)
    before[1:], before[:1] = A[:-1], 0.0
    white = (A - steps[:, None] * before) / np.sqrt(innovation)[:, None]
    return white, float(np.log(innovation).sum())


def gaps_of(blocks: Blocks) -> tuple[Array, NDArray[np.bool_]]:
    """(gap to the row before (n,), whether there is none (n,)), in the order of the blocks."""
    first = np.zeros(len(blocks.order), dtype=bool)
    first[blocks.starts[:-1]] = True
    gaps = np.diff(blocks.positions, prepend=blocks.positions[:1])
    return np.where(first, 1.0, gaps), first
