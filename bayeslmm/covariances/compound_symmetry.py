"""Compound symmetry: one correlation ρ of any two effects, between −1/(q − 1) and 1.

With B_j = 1 + (j − 1)ρ, column j of the correlation factor L is (columns from 0)

    L_jj² = (1 − ρ) B_{j+1} / B_j,    L_ij = ρ √((1 − ρ) / (B_j B_{j+1}))  for every i > j,

since given the effects before j any two others have the covariance ρ(1 − ρ)/B_j (Pinheiro & Bates 2000, section 5.3.1,
for the structure).  Everything is written in the share u of the interval that lies below ρ, in which 1 − ρ and B_q do
not cancel at its ends.
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
    share, complement = 1.0 / (1.0 + np.exp(-2.0 * y[0])), 1.0 / (1.0 + np.exp(2.0 * y[0]))
    rho, away = (q * share - 1.0) / (q - 1.0), q * complement / (q - 1.0)  # ρ and 1 − ρ
    for j in range(q):
        before = away if j == 0 else (q - j + (j - 1) * q * share) / (q - 1.0)  # B_j
        after = 1.0 if j == 0 else (q - 1 - j + j * q * share) / (q - 1.0)  # B_{j+1}
        L[j, j] = 1.0 if j == 0 else np.sqrt(away * after / before)
        below = rho if j == 0 else rho * np.sqrt(away / (before * after)) if j < q - 1 else 0.0
        for i in range(j + 1, q):
            L[i, j] = below


@compiled
def pull_back(q, y, L, by_L, by_y):
    """Derivative by the coordinate from those by the lower triangle of L."""
    share, complement = 1.0 / (1.0 + np.exp(-2.0 * y[0])), 1.0 / (1.0 + np.exp(2.0 * y[0]))
    rho, away = (q * share - 1.0) / (q - 1.0), q * complement / (q - 1.0)
    per_y = 2.0 * share * complement * q / (q - 1.0)  # ∂ρ/∂y
    over_away = 2.0 * share  # per_y/(1 − ρ)
    total = 0.0
    for i in range(1, q):
        total += by_L[i, 0] * per_y
    for j in range(1, q):
        before, after = (q - j + (j - 1) * q * share) / (q - 1.0), (q - 1 - j + j * q * share) / (q - 1.0)
        # ∂ log after/∂y; of the last column after is q u and cancels against what is left of ∂ρ/∂y
        of_after = j * per_y / after if j < q - 1 else 2.0 * complement
        of_before = (j - 1) * per_y / before
        total += by_L[j, j] * 0.5 * L[j, j] * (of_after - over_away - of_before)
        if j < q - 1:
            scale = np.sqrt(away / (before * after))
            slope = scale * (per_y - 0.5 * rho * (over_away + of_before + of_after))
            for i in range(j + 1, q):
                total += by_L[i, j] * slope
    by_y[0] = total


@dataclass(frozen=True, slots=True, kw_only=True)
class CompoundSymmetry(Structure):
    """``cs``: one correlation of any two effects; an sd for every effect, or one for all."""

    name: ClassVar[str] = "cs"
    words: ClassVar[str] = "any two of them equally correlated"
    entry: ClassVar[tuple[str, str]] = ("%s", "%s")
    factor: ClassVar[Any] = factor
    pull_back: ClassVar[Any] = pull_back

    def entries(self, q: int) -> tuple[tuple[int, int], ...]:
        """That of the first two effects."""
        return ((1, 0),)

    def interval(self, q: int) -> tuple[float, float]:
        """Lower correlations of q effects among each other cannot be."""
        return (-1.0 / (q - 1), 1.0)

    def correlations_of(self, covariance: Array, sd: Array) -> Array:
        """The mean over all pairs that tell it."""
        q = len(sd)
        pairs = [(a, b) for a in range(q) for b in range(a) if sd[a] * sd[b] > 0.0]
        rho = float(np.mean([covariance[a, b] / (sd[a] * sd[b]) for a, b in pairs])) if pairs else 0.0
        return np.clip(np.array([rho]), *self.interval(q))

    def positions(self, cor: Any, columns: Sequence[int]) -> list[Any]:
        """ρ by its place in the interval."""
        q = len(columns)
        rho = cor[columns[1], columns[0]]
        return [(2.0 * (q - 1.0) * rho - (q - 2.0)) / q]

    def graph_factor(self, positions: Sequence[Any], q: int) -> list[list[Any]]:
        """`factor` of symbols."""
        share, complement = 0.5 * (1.0 + positions[0]), 0.5 * (1.0 - positions[0])
        rho, away = (q * share - 1.0) / (q - 1.0), q * complement / (q - 1.0)
        rows: list[list[Any]] = [[np.float64(1.0)], *([rho] for _ in range(1, q))]
        for j in range(1, q):
            before, after = (q - j + (j - 1) * q * share) / (q - 1.0), (q - 1 - j + j * q * share) / (q - 1.0)
            rows[j].append((away * after / before) ** 0.5)
            for i in range(j + 1, q):
                rows[i].append(rho * (away / (before * after)) ** 0.5)
        return rows

    def graph_factor_of(self, cor: Any, columns: Sequence[int]) -> list[list[Any]]:
        """`factor` at the matrix's ρ."""
        return self.graph_factor(self.positions(cor, columns), len(columns))
