"""First-order autoregression: effects i and j steps apart have the correlation ρ^|i − j|, −1 < ρ < 1.

An effect is ρ times the one before, in units of their sds, and something new: L_i0 = ρ^i and, for j > 0,
L_ij = ρ^(i − j) √(1 − ρ²) (Pinheiro & Bates 2000, section 5.3.1, for the structure).
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
    """L (q, q) from the coordinate of ρ, its atanh."""
    rho, fresh = np.tanh(y[0]), 1.0 / np.cosh(y[0])
    for j in range(q):
        value = 1.0 if j == 0 else fresh
        for i in range(j, q):
            L[i, j] = value
            value *= rho


@compiled
def pull_back(q, y, L, by_L, by_y):
    """Derivative by the coordinate from those by the lower triangle of L."""
    rho, fresh = np.tanh(y[0]), 1.0 / np.cosh(y[0])
    total = 0.0
    for j in range(q):
        start = 1.0 if j == 0 else fresh
        power, lower = 1.0, 0.0  # ρ^k and kρ^(k − 1)
        for i in range(j, q):
            slope = start * lower * fresh * fresh
            if j > 0:
                slope -= start * rho * power
            total += by_L[i, j] * slope
            lower = lower * rho + power
            power *= rho
    by_y[0] = total


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoregressive(Structure):
    """``ar1``: correlations that fall with the distance in steps; one sd, or one for every step."""

    name: ClassVar[str] = "ar1"
    words: ClassVar[str] = "correlated the less the more steps are between them"
    entry: ClassVar[tuple[str, str]] = ("%s^|k - l|", "{%s}^{|k - l|}")
    hom_by_default: ClassVar[bool] = True
    has_order: ClassVar[bool] = True
    factor: ClassVar[Any] = factor
    pull_back: ClassVar[Any] = pull_back

    def entries(self, q: int) -> tuple[tuple[int, int], ...]:
        """That of the first two steps."""
        return ((1, 0),)

    def correlations_of(self, covariance: Array, sd: Array) -> Array:
        """The mean over neighbours that tell it."""
        rows = [i for i in range(1, len(sd)) if sd[i] * sd[i - 1] > 0.0]
        rho = float(np.mean([covariance[i, i - 1] / (sd[i] * sd[i - 1]) for i in rows])) if rows else 0.0
        return np.clip(np.array([rho]), -1.0, 1.0)

    def positions(self, cor: Any, columns: Sequence[int]) -> list[Any]:
        """ρ itself."""
        return [cor[columns[1], columns[0]]]

    def graph_factor(self, positions: Sequence[Any], q: int) -> list[list[Any]]:
        """`factor` of symbols."""
        rho = positions[0]
        fresh = (1.0 - rho**2) ** 0.5
        powers: list[Any] = [np.float64(1.0)]
        for _ in range(1, q):
            powers.append(powers[-1] * rho)
        return [[powers[i], *(powers[i - j] * fresh for j in range(1, i + 1))] for i in range(q)]

    def graph_factor_of(self, cor: Any, columns: Sequence[int]) -> list[list[Any]]:
        """`factor` at the matrix's ρ."""
        return self.graph_factor(self.positions(cor, columns), len(columns))
