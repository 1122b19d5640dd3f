"""Any covariance matrix; its correlations by canonical partial ones, whose priors under LKJ(η) are independent.

Row i of L holds partial correlations p_ij, each times what those before leave of a unit row, and
p_ij ~ 2 Beta(s, s) − 1 with s = η + (q − 2 − j)/2 (Lewandowski, Kurowicka & Joe 2009, section 2.4; columns from 0).
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special
from .structure import Structure


@compiled
def factor(q, y, L):
    """L (q, q) from the coordinates y of the partial correlations, row by row below the diagonal."""
    position = 0
    for i in range(q):
        remaining = 1.0  # of a unit row
        for j in range(i):
            L[i, j] = np.tanh(y[position]) * remaining
            remaining /= np.cosh(y[position])
            position += 1
        L[i, i] = remaining


@compiled
def pull_back(q, y, L, by_L, by_y):
    """Derivatives by y (n,) from those by the lower triangle of L."""
    for i in range(q):
        first = i * (i - 1) // 2
        left, by_left = L[i, i], by_L[i, i]
        for j in range(i - 1, -1, -1):
            r, shrink = np.tanh(y[first + j]), 1.0 / np.cosh(y[first + j])
            left /= shrink
            by_r = by_L[i, j] * left - by_left * left * r / shrink
            by_y[first + j] = by_r * shrink * shrink
            by_left = by_L[i, j] * r + by_left * shrink


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstructured(Structure):
    """``us``: an sd for every effect, a correlation for every pair."""

    name: ClassVar[str] = "us"
    words: ClassVar[str] = "correlated with each other"
    is_free: ClassVar[bool] = True
    has_hom: ClassVar[bool] = False
    factor: ClassVar[Any] = factor
    pull_back: ClassVar[Any] = pull_back

    def entries(self, q: int) -> tuple[tuple[int, int], ...]:
        """All of them, row by row."""
        return tuple((i, j) for i in range(q) for j in range(i))

    def free_entries(self, q: int) -> tuple[tuple[int, int], ...] | None:
        """The lower triangle."""
        return None if self.hom else tuple((r, c) for r in range(q) for c in range(r + 1))

    def excess(self, q: int) -> Array:
        """(q − 2 − j)/2 of p_ij, row by row below the diagonal."""
        return np.array([(q - 2 - j) / 2.0 for i in range(q) for j in range(i)])

    def positions(self, cor: Any, columns: Sequence[int]) -> list[Any]:
        """Partial correlations, row by row: `graph_factor` backwards."""
        out = []
        for row in self.graph_factor_of(cor, columns)[1:]:
            left: Any = np.float64(1.0)
            for entry in row[:-1]:
                out.append(entry / left)
                left = left * (1.0 - out[-1] ** 2) ** 0.5
        return out

    def graph_factor(self, positions: Sequence[Any], q: int) -> list[list[Any]]:
        """`factor` of symbols."""
        rows, offset = [], 0
        for i in range(q):
            row: list[Any] = []
            remaining: Any = np.float64(1.0)
            for partial in positions[offset : offset + i]:
                row.append(partial * remaining)
                remaining = remaining * (1.0 - partial**2) ** 0.5
            rows.append([*row, remaining])
            offset += i
        return rows

    def graph_factor_of(self, cor: Any, columns: Sequence[int]) -> list[list[Any]]:
        """Cholesky's algorithm."""
        L: list[list[Any]] = [[np.float64(1.0)]]
        for i in range(1, len(columns)):
            row: list[Any] = []
            left: Any = np.float64(1.0)
            for j in range(i):
                value = cor[columns[i], columns[j]]
                for m in range(j):
                    value = value - row[m] * L[j][m]
                row.append(value / L[j][j] if j else value)
                left = left - row[j] ** 2
            L.append([*row, left**0.5])
        return L

    def graph_log_shrinkage(self, cor: Any, columns: Sequence[int]) -> Any:
        """log |C|, from the diagonal of L."""
        import pytensor.tensor as pt

        factor = self.graph_factor_of(cor, columns)
        total: Any = np.float64(0.0)
        for i in range(1, len(factor)):
            total = total + 2.0 * pt.log(factor[i][i])
        return total

    def log_density(self, eta: float, cor: Array) -> Array:
        """LKJ(η) by the determinant; Lewandowski, Kurowicka & Joe 2009, equation 16."""
        q = cor.shape[-1]
        steps = np.arange(1, q)
        shape = eta + (q - steps - 1) / 2.0
        constant = np.sum((2.0 * eta - 2.0 + q - steps) * (q - steps)) * np.log(2.0)
        constant += np.sum((q - steps) * special.betaln(shape, shape))
        return np.asarray((eta - 1.0) * np.linalg.slogdet(cor)[1] - constant)
