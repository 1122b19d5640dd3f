"""A bar for what takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

SECONDS_UNSEEN = 1.0  # what is done sooner needs no bar


class Bar:
    """A progress bar that appears when something takes longer than a second; threads may advance it."""

    def __init__(self, what: str, total: int, *, show: bool) -> None:
        self._what, self._total, self._show = what, total, show
        self._done, self._started, self._lock = 0, time.perf_counter(), threading.Lock()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            if kind is None:
                self._progress.update(self._task, completed=self._total)
            self._progress.stop()

    def advance(self, steps: int) -> None:
        """Count steps as done."""
        with self._lock:
            self._done += steps
            if not self._show or time.perf_counter() - self._started < SECONDS_UNSEEN:
                return
            if self._progress is None:
                from rich.progress import Progress

                self._progress = Progress()
                self._task = self._progress.add_task(self._what, total=self._total)
                self._progress.start()
            self._progress.update(self._task, completed=self._done)


def track(steps: Iterable[tuple[int, Any]], total: int, what: str, show: bool) -> Iterator[tuple[int, Any]]:
    """Pass (weight, item) on, drawing a bar that fills by the weights."""
    with Bar(what, total, show=show) as bar:
        for weight, item in steps:
            yield weight, item
            bar.advance(weight)
