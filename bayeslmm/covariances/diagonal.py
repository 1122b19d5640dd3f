"""Independent effects: an sd each, or one for all."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..tools.compiling import compiled
from .structure import Structure


@compiled
def factor(q, y, L):
    """The identity."""
    for i in range(q):
        for j in range(i):
            L[i, j] = 0.0
        L[i, i] = 1.0


@compiled
def pull_back(q, y, L, by_L, by_y):
    """Nothing to derive by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagonal(Structure):
    """``diag``: independent effects."""

    name: ClassVar[str] = "diag"
    words: ClassVar[str] = "independent of each other"
    factor: ClassVar[Any] = factor
    pull_back: ClassVar[Any] = pull_back

    def entries(self, q: int) -> tuple[tuple[int, int], ...]:
        """None."""
        return ()

    def free_entries(self, q: int) -> tuple[tuple[int, int], ...] | None:
        """The diagonal, if there is an sd for each."""
        return None if self.hom else tuple((r, r) for r in range(q))

    def positions(self, cor: Any, columns: Sequence[int]) -> list[Any]:
        """None."""
        return []

    def graph_factor(self, positions: Sequence[Any], q: int) -> list[list[Any]]:
        """The identity."""
        return [[np.float64(i == j) for j in range(i + 1)] for i in range(q)]

    def graph_factor_of(self, cor: Any, columns: Sequence[int]) -> list[list[Any]]:
        """The identity."""
        return self.graph_factor([], len(columns))
