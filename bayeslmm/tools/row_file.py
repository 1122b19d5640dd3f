"""Rows of numbers in a file without a name: it is gone when nobody holds it, however the process ends."""

from __future__ import annotations

import os
import tempfile
import weakref
from threading import Lock
from typing import Any, Self

import numpy as np

from ..errors import StorageError
from .arrays import Array

BLOCK = 65_536  # rows that are written and read at a time


class RowFile:
    """Rows of float64 columns beside int32 codes, added in pieces of any size and read in blocks of one size.

    Parameters
    ----------
    columns, codes : int
        How many of each.
    """

    def __init__(self, columns: int, codes: int) -> None:
        self.columns, self.codes, self.n = columns, codes, 0
        self._file: Any = None
        self._lock = Lock()
        self._blocks: list[tuple[int, int]] = []  # first byte and rows
        self._waiting: list[tuple[Array, np.ndarray]] = []
        self._many = self._end = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return 8 * self.columns + 4 * self.codes

    def __len__(self) -> int:
        """Number of blocks, of rows that are `finished`."""
        return len(self._blocks)

    def rows_of(self, block: int) -> int:
        """Rows of a block."""
        return self._blocks[block][1]

    def append(self, numbers: Array, codes: np.ndarray) -> None:
        """Add rows (n, columns) with their codes (n, codes).

        Raises
        ------
        StorageError
            The disk is full, or cannot be written.
        """
        self._waiting.append((numbers, np.asarray(codes, dtype=np.int32)))
        self._many += len(numbers)
        self.n += len(numbers)
        if self._many >= BLOCK:
            self._write(everything=False)

    def finish(self) -> Self:
        """Write what waits for a whole block."""
        if self._many:
            self._write(everything=True)
        return self

    def _write(self, *, everything: bool) -> None:
        numbers = np.concatenate([part for part, _ in self._waiting])
        codes = np.concatenate([part for _, part in self._waiting])
        done = 0
        while len(numbers) - done >= BLOCK or (everything and done < len(numbers)):
            rows = slice(done, min(done + BLOCK, len(numbers)))
            content = numbers[rows].astype(np.float64).tobytes() + codes[rows].tobytes()
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="bayeslmm-")  # noqa: SIM115 - open as long as its rows
                    weakref.finalize(self, self._file.close)
                self._file.seek(self._end)
                self._file.write(content)
                self._file.flush()
            except OSError as problem:
                raise StorageError(
                    f"the rows that point fits of this model need are kept in a temporary file, {self.row_bytes} bytes "
                    f"a row, which cannot be written in {tempfile.gettempdir()} after {self.n:,} rows: {problem}. Make "
                    "room there, or set the environment variable TMPDIR to a folder on a larger disk."
                ) from None
            self._blocks.append((self._end, rows.stop - rows.start))
            self._end += len(content)
            done = rows.stop
        self._waiting = [(numbers[done:].copy(), codes[done:].copy())] if done < len(numbers) else []
        self._many = len(numbers) - done

    def read(self, block: int) -> tuple[Array, np.ndarray]:
        """Rows (n, columns) of a block and their codes (n, codes), by any thread.

        Raises
        ------
        StorageError
            The file cannot be read, or holds less than was written.
        """
        first, rows = self._blocks[block]
        content = self._bytes(first, rows * self.row_bytes)
        ends = 8 * rows * self.columns
        numbers = np.frombuffer(content[:ends], dtype=np.float64).reshape(rows, self.columns)
        return numbers, np.frombuffer(content[ends:], dtype=np.int32).reshape(rows, self.codes)

    def _bytes(self, first: int, count: int) -> memoryview:
        try:
            if hasattr(os, "pread"):
                content = os.pread(self._file.fileno(), count, first)
            else:
                with self._lock:
                    self._file.seek(first)
                    content = self._file.read(count)
        except OSError as problem:
            raise StorageError(f"the temporary file that holds the rows cannot be read: {problem}") from None
        if len(content) != count:
            raise StorageError("the temporary file that holds the rows is shorter than what was written into it")
        return memoryview(content)

    def __reduce__(self) -> Any:
        raise TypeError("rows in a temporary file stay in the process that wrote them")
