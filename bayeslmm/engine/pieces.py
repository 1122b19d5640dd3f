"""Work on draws shared out to threads, in pieces that are short enough to be interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

SECONDS = 0.2  # of a piece: an interrupt is answered when those under way are done


def in_pieces(work: Callable[[slice], object], draws: int, cores: int, *, length: int | None = None) -> None:
    """Call ``work`` for slices that together are all draws, so many at a time as there are cores.

    Without a ``length`` the second draw tells how many are a piece (the first may have to load compiled code): for work
    on which the other draws of a piece have no influence, or the same seed would give other numbers on another day.
    """
    first = 0
    if length is None:
        first, length = _first_two(work, draws, cores)
    pieces = [slice(start, min(start + length, draws)) for start in range(first, draws, length)]
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, pieces))  # its end cancels what has not begun


def _first_two(work: Callable[[slice], object], draws: int, cores: int) -> tuple[int, int]:
    """How many draws are done, and how many a piece should have."""
    seconds = SECONDS
    for first in range(min(draws, 2)):
        started = time.perf_counter()
        work(slice(first, first + 1))
        seconds = time.perf_counter() - started
    shared = math.ceil(max(draws - 2, 1) / cores)
    return min(draws, 2), int(min(max(SECONDS / seconds, 1.0), shared))
