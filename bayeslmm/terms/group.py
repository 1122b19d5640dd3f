"""The ordinary random term: every row belongs to one level of a grouping factor, and levels are independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupTerm:
    """One grouping factor with all its bars.

    Attributes
    ----------
    name, variables : str, tuple of str
        ``"school:class"`` and the columns it combines. Beside a column called ``f:g``, a factor itself, the name of
        ``(1 | f:g)`` stays and that of the column is told in backticks.
    codes : int64 array (n,)
        The level of each row.
    levels : tuple
        Labels in the order of the codes: values of the column, or ``"a:b"`` texts for combinations, in
        which a value that holds a colon stands in backticks where two would be the same.
    columns : tuple of str
        Names of the q columns of Z.
    Z : float64 array (n, q)
        What each row multiplies its level's effects with.
    blocks : tuple of tuple of int
        A partition of the columns: effects inside one block are correlated, blocks are independent.
    texts : tuple of str
        The bars as the user wrote them, one per block.
    """

    is_wide: ClassVar[bool] = False  # whether a row meets many levels, or levels are related
    is_grouping: ClassVar[bool] = True  # whether users call its levels groups

    name: str
    variables: tuple[str, ...]
    codes: np.ndarray
    levels: tuple[Any, ...]
    columns: tuple[str, ...]
    Z: np.ndarray
    blocks: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] = ()

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.levels)

    @property
    def q(self) -> int:
        """Number of effects per level."""
        return len(self.columns)

    @property
    def correlated(self) -> tuple[tuple[int, int], ...]:
        """Pairs of columns (a, b), a before b in a block, that have a correlation."""
        return tuple((a, b) for block in self.blocks for i, a in enumerate(block) for b in block[i + 1 :])

    def related(self, b: np.ndarray) -> np.ndarray:
        """Effects (..., J, q) from those of independent levels: the same."""
        return b

    def contribution(self, b: np.ndarray) -> np.ndarray:
        """What effects (..., J, q) add to the linear predictor of every row (..., n)."""
        eta = np.zeros((*b.shape[:-2], len(self.codes)))
        for k in range(self.q):
            eta += b[..., k][..., self.codes] * self.Z[:, k]
        return eta
