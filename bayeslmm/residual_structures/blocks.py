"""Rows sorted by the level within which their errors are correlated, and by their positions there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """n rows in blocks whose errors are correlated; errors of two blocks are not.

    Attributes
    ----------
    order : int array (n,)
        The rows, block after block, each by position.
    starts : int array (blocks + 1,)
        Where each block begins in that order.
    positions : float array (n,)
        In that order; codes of the levels where positions are those of a factor.
    patterns : tuple of (positions (m,), places (blocks, m))
        Blocks with the same positions together; places are in that order.
    levels : int
        Number of positions of a factor, 0 where they are numbers.
    pattern_of : int array (blocks,)
        The place of each block's pattern.
    """

    order: Codes
    starts: Codes
    positions: Array
    patterns: tuple[tuple[Array, Codes], ...]
    levels: int
    pattern_of: Codes

    @classmethod
    def of(cls, codes: Codes, positions: Array, levels: int = 0) -> Blocks:
        """From the block (n,) and the position (n,) of every row."""
        order = np.lexsort((positions, codes))
        sorted_codes, sorted_positions = codes[order], np.asarray(positions, float)[order]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(sorted_codes)) + 1, [len(codes)]]).astype(np.int64)
        starts_of: dict[bytes, list[int]] = {}
        for b in range(len(starts) - 1):
            starts_of.setdefault(sorted_positions[starts[b] : starts[b + 1]].tobytes(), []).append(int(starts[b]))
        patterns, pattern_of = [], np.empty(len(starts) - 1, dtype=np.int64)
        for number, (key, firsts) in enumerate(starts_of.items()):
            where = np.frombuffer(key)
            patterns.append((where, np.array(firsts)[:, None] + np.arange(len(where))))
            pattern_of[np.searchsorted(starts, firsts)] = number
        return cls(
            order=order,
            starts=starts,
            positions=sorted_positions,
            patterns=tuple(patterns),
            levels=levels,
            pattern_of=pattern_of,
        )

    @property
    def sizes(self) -> Codes:
        """Number of rows of every block (blocks,)."""
        return np.diff(self.starts)

    @property
    def block_of(self) -> Codes:
        """The block (n,) of every row, in the sorted order."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def codes(self) -> Codes:
        """The block (n,) of every row, as the rows came."""
        codes = np.empty(len(self.order), dtype=np.int64)
        codes[self.order] = self.block_of
        return codes

    def positions_of_rows(self) -> Array:
        """The position (n,) of every row, as the rows came."""
        positions = np.empty(len(self.order))
        positions[self.order] = self.positions
        return positions

    def taking(self, chosen: NDArray[np.int64]) -> Blocks:
        """Those of some rows."""
        return Blocks.of(self.codes()[chosen], self.positions_of_rows()[chosen], self.levels)
