"""One pass over chunks, side by side on the processors of this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, Self

import pandas as pd

from ..engine.processes import cores_of

MOST = 4  # lanes: each has sums of its own, and reading has to keep up with them
WORTH = 20_000  # rows of the first chunk from which on a second lane pays
AHEAD = 2  # chunks of a lane that are read and wait


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Some rows, and where they came from: a file, a partition or the number of a chunk."""

    where: str
    frame: pd.DataFrame


class Pass(Protocol):
    """What one pass over the rows adds up."""

    def add(self, frame: pd.DataFrame, where: str) -> None:
        """Add the rows of one chunk."""

    def merge(self, other: Self) -> None:
        """Add what another one has added up, of rows behind those of this one."""


def reduced(
    chunks: Iterable[Chunk],
    make: Callable[[], Pass],
    add: Callable[[Pass, Chunk], None],
    progress: Callable[[int], None],
    *,
    lanes: int | None = None,
) -> Any:
    """Add all chunks up.

    Chunk k goes to lane k modulo their number, and the sums of the lanes are merged in their order, so that the same
    chunks give the same sums whichever lane is faster.

    Raises
    ------
    Exception
        What was raised for the first chunk that was refused.
    """
    iterator = iter(chunks)
    first = next(iterator, None)
    count = 1 if first is None or len(first.frame) < WORTH else lanes or max(1, min(MOST, cores_of(None)))
    totals = [make() for _ in range(count)]
    every: Iterator[Chunk] = chain([] if first is None else [first], iterator)
    if count == 1:
        for chunk in every:
            add(totals[0], chunk)
            progress(len(chunk.frame))
        return totals[0]
    pools = [ThreadPoolExecutor(1) for _ in range(count)]
    waiting: deque[tuple[Future[None], int]] = deque()
    try:
        for number, chunk in enumerate(_read(every, lambda: _finish_all(waiting, progress))):
            lane = number % count
            waiting.append((pools[lane].submit(add, totals[lane], chunk), len(chunk.frame)))
            while len(waiting) > AHEAD * count:
                _finish(waiting, progress)
        _finish_all(waiting, progress)
    finally:  # after an error or a Ctrl-C what has not begun is left
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)
    for other in totals[1:]:
        totals[0].merge(other)
    return totals[0]


def _read(chunks: Iterator[Chunk], finish: Callable[[], None]) -> Iterator[Chunk]:
    """The chunks; before what cannot be read is said, those before it are finished, which may have been refused."""
    try:
        yield from chunks
    except Exception:
        finish()
        raise


def _finish_all(waiting: deque[tuple[Future[None], int]], progress: Callable[[int], None]) -> None:
    while waiting:
        _finish(waiting, progress)


def _finish(waiting: deque[tuple[Future[None], int]], progress: Callable[[int], None]) -> None:
    future, rows = waiting.popleft()
    future.result()
    progress(rows)
