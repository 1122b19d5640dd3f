"""Rows of a model that do not fit into memory, kept compactly on disk, and passes over them block by block.

Other than normal likelihoods are no function of sums that are taken once: every step of a search takes new ones, under
weights that hang on where it is. What a pass adds up is small, and the blocks are shared out to threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.row_file import RowFile
from .processes import cores_of

Codes = NDArray[np.int64]
MOST = 4  # threads: each has sums of its own
AHEAD = 2  # blocks of a thread that wait


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some rows as they were kept.

    Attributes
    ----------
    columns : float64 array (n, 1 + k)
        Ones, and the columns of X and Z in units of their own.
    y, offset : float64 arrays (n,)
    codes : int64 array (n, K)
        The level of each factor.
    """

    columns: Array
    y: Array
    offset: Array
    codes: Codes


class Total(Protocol):
    """What one pass over the blocks adds up."""

    def add(self, block: Block) -> None:
        """Add the rows of one block."""

    def merge(self, other: Self) -> None:
        """Add what another one has added up."""


class RowsOnDisk:
    """The rows of a design, in files that `streaming.kept_rows` has written.

    Parameters
    ----------
    files : sequence of RowFile
        Each with k columns, y, and the offset if there is one.
    of_x : int array (p,)
        Which of `Block.columns` are those of X; 0 is the column of ones.
    of_z : sequence of int arrays (q_k,)
        Which are those of each factor.
    """

    def __init__(self, files: Sequence[RowFile], of_x: Codes, of_z: Sequence[Codes], *, has_offset: bool) -> None:
        self._files, self.of_x, self.of_z = [file.finish() for file in files if file.n], of_x, tuple(of_z)
        self._has_offset = has_offset
        self.width = files[0].columns - has_offset  # of `Block.columns`
        self._blocks = [(file, number) for file in self._files for number in range(len(file))]
        self.n = sum(file.n for file in self._files)
        self.passes = 0
        self.working: Any = None  # a solution and the sums of the normal model that stands for it (`engine.working`)
        self.is_shown = True  # whether who watches the passes draws them
        self.report: Callable[[int, int], None] = lambda passes, rows: None  # the number of a pass, and how many more
        self._levels: dict[int, tuple[Array, Array]] = {}

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.n * file.row_bytes for file in self._files)

    def __reduce__(self) -> Any:
        return (_nothing, ())  # other processes and files have the sums alone

    def over[T: Total](self, make: Callable[[], T]) -> T:
        """What one pass adds up, block k by thread k modulo their number, so that the same rows give the same sums."""
        self.passes += 1
        lanes = max(1, min(MOST, cores_of(None), len(self._blocks)))
        totals = [make() for _ in range(lanes)]
        if lanes == 1:
            for file, number in self._blocks:
                totals[0].add(self._read(file, number))
                self.report(self.passes, file.rows_of(number))
            return totals[0]
        pools = [ThreadPoolExecutor(1) for _ in range(lanes)]
        waiting: deque[tuple[Future[None], int]] = deque()

        def work(total: T, file: RowFile, number: int) -> None:
            total.add(self._read(file, number))

        def finish() -> None:
            future, rows = waiting.popleft()
            future.result()
            self.report(self.passes, rows)

        try:
            for k, (file, number) in enumerate(self._blocks):
                waiting.append((pools[k % lanes].submit(work, totals[k % lanes], file, number), file.rows_of(number)))
                while len(waiting) > AHEAD * lanes:
                    finish()
            while waiting:
                finish()
        finally:  # after an error or a Ctrl-C what has not begun is left
            for pool in pools:
                pool.shutdown(wait=True, cancel_futures=True)
        for other in totals[1:]:
            totals[0].merge(other)
        return totals[0]

    def _read(self, file: RowFile, number: int) -> Block:
        numbers, codes = file.read(number)
        k = self.width - 1
        columns = np.empty((len(numbers), self.width))
        columns[:, 0], columns[:, 1:] = 1.0, numbers[:, :k]
        offset = numbers[:, k + 1].copy() if self._has_offset else np.zeros(len(numbers))
        return Block(columns=columns, y=numbers[:, k].copy(), offset=offset, codes=codes.astype(np.int64))

    def of_levels(self, factor: int, count: int) -> tuple[Array, Array]:
        """Σy and the number of rows (count,) of each level of a factor, by one pass when first asked for."""
        if factor not in self._levels:
            total = self.over(lambda: _OfLevels(factor, count))
            self._levels[factor] = total.sums, total.sizes
        return self._levels[factor]


class _OfLevels:
    def __init__(self, factor: int, count: int) -> None:
        self.factor, self.count = factor, count
        self.sums, self.sizes = np.zeros(count), np.zeros(count)

    def add(self, block: Block) -> None:
        codes = block.codes[:, self.factor]
        np.add.at(self.sums, codes, block.y)
        np.add.at(self.sizes, codes, 1.0)

    def merge(self, other: Self) -> None:
        self.sums, self.sizes = self.sums + other.sums, self.sizes + other.sizes


def _nothing() -> None:
    return None
