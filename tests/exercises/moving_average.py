"""First-order moving average: neighbours correlate by ρ, others not; |ρ| < 1/(2 cos(π/(q + 1))).

The correlation factor L has two diagonals: L_{j,j−1} = ρ/L_{j−1,j−1} and L_jj² = 1 − L_{j,j−1}².  The last L_jj² would
cancel at the ends of ρ: it is |C| over the other L_jj², and |C| = Π_k (1 − 4ρ² cos²(kπ/(q + 1))) for k ≤ q/2.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..tools.arrays import Array
from ..tools.compiling import compiled
from .structure import Structure


@compiled
def factor(q, y, L):
    """L (q, q) from the coordinate of ρ."""
    rho = np.tanh(y[0]) / (2.0 * np.cos(np.pi / (q + 1.0)))
    L[:, :] = 0.0
    L[0, 0] = 1.0
    last = 1.0 / np.cosh(y[0]) ** 2  # |C|/Π L_jj², of which this is the first factor
    for k in range(2, q // 2 + 1):
        last *= 1.0 - (2.0 * rho * np.cos(k * np.pi / (q + 1.0))) ** 2
    for j in range(1, q):
        L[j, j - 1] = rho / L[j - 1, j - 1]
        L[j, j] = np.sqrt(1.0 - L[j, j - 1] ** 2) if j < q - 1 else np.sqrt(last)
        last /= L[j, j] ** 2 if j < q - 1 else 1.0


@compiled
def pull_back(q, y, L, by_L, by_y):
    """Derivative by the coordinate from those by the lower triangle of L."""
    end = 1.0 / (2.0 * np.cos(np.pi / (q + 1.0)))
    rho, per_y = end * np.tanh(y[0]), end / np.cosh(y[0]) ** 2
    total, of_diagonal = 0.0, 0.0
    for j in range(1, q):
        before = L[j - 1, j - 1]
        of_lower = per_y / before - rho / before**2 * of_diagonal
        of_diagonal = -L[j, j - 1] * of_lower / L[j, j]
        total += by_L[j, j - 1] * of_lower + by_L[j, j] * of_diagonal
    by_y[0] = total


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingAverage(Structure):
    """``ma1``: neighbours are correlated, others are not."""

    name: ClassVar[str] = "ma1"
    words: ClassVar[str] = "neighbours correlated, others not"
    entry: ClassVar[tuple[str, str]] = ("%s [|k - l| = 1]", "{%s} [|k - l| = 1]")
    has_order: ClassVar[bool] = True
    factor: ClassVar[Any] = factor
    pull_back: ClassVar[Any] = pull_back

    def entries(self, q: int) -> tuple[tuple[int, int], ...]:
        """That of the first two steps."""
        return ((1, 0),)

    def interval(self, q: int) -> tuple[float, float]:
        """Of more than two effects neighbours cannot all be the same."""
        end = float(1.0 / (2.0 * np.cos(np.pi / (q + 1.0))))
        return (-end, end)

    def correlations_of(self, covariance: Array, sd: Array) -> Array:
        """The mean over neighbours that tell it."""
        rows = [i for i in range(1, len(sd)) if sd[i] * sd[i - 1] > 0.0]
        rho = float(np.mean([covariance[i, i - 1] / (sd[i] * sd[i - 1]) for i in rows])) if rows else 0.0
        return np.clip(np.array([rho]), *self.interval(len(sd)))

    def positions(self, cor: Any, columns: Sequence[int]) -> list[Any]:
        """ρ by its place in the interval."""
        return [cor[columns[1], columns[0]] / self.interval(len(columns))[1]]

    def graph_factor(self, positions: Sequence[Any], q: int) -> list[list[Any]]:
        """`factor` of symbols."""
        rho = positions[0] * self.interval(q)[1]
        last = 1.0 - positions[0] ** 2
        for k in range(2, q // 2 + 1):
            last = last * (1.0 - (2.0 * rho * np.cos(k * np.pi / (q + 1.0))) ** 2)
        rows: list[list[Any]] = [[np.float64(1.0)]]
        for j in range(1, q):
            lower = rho / rows[-1][-1]
            square = 1.0 - lower**2 if j < q - 1 else last
            last = last / square if j < q - 1 else last
            rows.append([*(np.float64(0.0) for _ in range(j - 1)), lower, square**0.5])
        return rows

    def graph_factor_of(self, cor: Any, columns: Sequence[int]) -> list[list[Any]]:
        """`factor` at the matrix's ρ."""
        return self.graph_factor(self.positions(cor, columns), len(columns))
