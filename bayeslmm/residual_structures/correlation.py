"""What a correlation of errors is: the contract that every file of this room fulfils (docs/architecture.md).

A block of rows has the correlation matrix R(ρ), which hangs on a few numbers ρ.  The search moves in free coordinates
on the whole line.  Rows are whitened by a square root of R⁻¹; any will do, since only AᵀR⁻¹A enters the likelihood.

The prior of a single ρ is Beta(η, η) on its share u of what it may be, 0 < u < 1; that of a matrix LKJ(η).
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special
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

    def matrices(self, rho: Array, blocks: Blocks) -> list[Array]:
        """R of every pattern of blocks."""
        return [self.matrix(rho, positions) for positions, _ in blocks.patterns]

    def shares(self, free: Array, blocks: Blocks) -> tuple[Array, Array, Array]:
        """log u, log(1 − u) and log|du/dfree| (...,) of a single ρ at free coordinates (..., 1)."""
        raise NotImplementedError

    def of_share(self, u: Array, blocks: Blocks) -> Array:
        """The single ρ (...,) whose share this is."""
        raise NotImplementedError

    def at(self, y: Array, blocks: Blocks) -> Array:
        """ρ (r,) at coordinates of samplers: the free ones, unless they have long tails."""
        return self.natural(y, blocks)

    def coordinates(self, rho: Array, blocks: Blocks) -> Array:
        """The other way."""
        return self.free(rho, blocks)

    def log_prior(self, y: Array, eta: float, blocks: Blocks) -> float:
        """Log prior density of coordinates of samplers (r,)."""
        log_u, log_rest, log_slope = self.shares(y, blocks)
        return float((eta - 1.0) * (log_u + log_rest) - special.betaln(eta, eta) + log_slope)

    def log_density(self, rho: Array, eta: float, blocks: Blocks) -> Array:
        """Log prior density (...,) of ρ (..., r) as users know it, up to a constant."""
        log_u, log_rest, _ = self.shares(self.free(rho, blocks), blocks)
        return (eta - 1.0) * (log_u + log_rest)

    def drawn(self, rng: Generator, n: int, eta: float, blocks: Blocks) -> Array:
        """ρ (n, r) from the prior."""
        return self.of_share(rng.beta(eta, eta, n), blocks)[:, None]

    @abstractmethod
    def prior_in_words(self, blocks: Blocks) -> str:
        """What LKJ(eta) means here."""

    def rough_sd(self, blocks: Blocks) -> float:
        """About how well the data tell a free coordinate."""
        return float(max(len(blocks.order) - len(blocks.sizes), 1)) ** -0.5

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
        """(R^-½A (n, c), log|R|) for A (n, c), both in the order of the blocks.

        Raises
        ------
        numpy.linalg.LinAlgError
            R is not positive definite.
        """
        every = self.matrices(rho, blocks)
        first = np.cumsum([0, *(R.size for R in every)])
        flat = np.concatenate([R.reshape(-1) for R in every])
        out = np.array(A, order="C")
        log_det = _whiten(blocks.starts, blocks.pattern_of, first, flat, out)
        if np.isnan(log_det):
            raise np.linalg.LinAlgError("a correlation matrix of residuals is not positive definite")
        return out, float(log_det)

    def in_sequence(self, rho: Array, blocks: Blocks, A: Array) -> tuple[Array, Array]:
        """A (n, c) less what the rows before it in its block tell of it, over its sd given these; and that sd (n,)."""
        out, sds = np.empty_like(A), np.empty(len(A))
        for (_, places), R in zip(blocks.patterns, self.matrices(rho, blocks), strict=True):
            L = np.linalg.cholesky(R)
            out[places] = np.linalg.solve(L, A[places])
            sds[places] = np.diag(L)
        return out, sds

    def correlated(self, rho: Array, blocks: Blocks, noise: Array) -> Array:
        """R^½z (n, c) of independent noise z (n, c), in the order of the blocks."""
        out = np.empty_like(noise)
        for positions, places in blocks.patterns:
            R = self.matrix(rho, positions)
            values, vectors = np.linalg.eigh(R)
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            out[places] = np.einsum("ab,kbc->kac", root, noise[places])
        return out


@compiled
def _whiten(starts, pattern_of, first, R, A):
    """L⁻¹A in place of A, block by block, for LLᵀ of each pattern in place of R; log|R|, or NaN where there is no L."""
    done = np.zeros(first.shape[0], dtype=np.int64)
    log_dets = np.zeros(first.shape[0])
    total = 0.0
    for block in range(starts.shape[0] - 1):
        begin, m = starts[block], starts[block + 1] - starts[block]
        pattern = pattern_of[block]
        at = first[pattern]
        if not done[pattern]:
            for i in range(m):
                for j in range(i + 1):
                    entry = R[at + i * m + j]
                    for r in range(j):
                        entry -= R[at + i * m + r] * R[at + j * m + r]
                    if i == j:
                        if not entry > 0.0:
                            return np.nan
                        R[at + i * m + i] = np.sqrt(entry)
                        log_dets[pattern] += np.log(entry)
                    else:
                        R[at + i * m + j] = entry / R[at + j * m + j]
            done[pattern] = 1
        total += log_dets[pattern]
        for i in range(m):
            for c in range(A.shape[1]):
                value = A[begin + i, c]
                for j in range(i):
                    value -= R[at + i * m + j] * A[begin + j, c]
                A[begin + i, c] = value / R[at + i * m + i]
    return total


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
