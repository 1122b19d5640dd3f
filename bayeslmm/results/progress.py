"""A bar for what takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType
from typing import Any, ClassVar, cast

SECONDS_UNSEEN = 1.0  # what is done sooner needs no bar


class Bar:
    """A progress bar that appears when something takes longer than a second; threads may advance it.

    Of bars within bars one is seen: the first that is drawn. A library draws one at a time.
    """

    _seen: ClassVar[Bar | None] = None

    def __init__(self, what: str, total: int, *, show: bool) -> None:
        self._what, self._total, self._show = what, total, show
        self._done, self._started, self._lock = 0, time.perf_counter(), threading.Lock()
        self._drawn: _InTerminal | _InNotebook | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._show = False  # another thread may still report
            if self._drawn is not None:
                self._drawn.stop(complete=kind is None)
                Bar._seen = None

    def say(self, what: str) -> None:
        """Other words before the bar."""
        with self._lock:
            self._what = what
            if self._drawn is not None:
                self._drawn.say(what)
            self._draw(self._done)

    def advance(self, steps: int) -> None:
        """Count steps as done."""
        with self._lock:
            self._draw(self._done + steps)

    def reach(self, done: int) -> None:
        """So many steps are done, of what may have begun anew."""
        with self._lock:
            self._draw(done)

    def reached(self, chains: Any) -> None:
        """Take over how far chains of NUTS are, a list of ``nutpie.ChainProgress``."""
        with self._lock:
            self._draw(sum(chain.finished_draws for chain in chains))

    def _draw(self, done: int) -> None:
        self._done = done
        if not self._show or time.perf_counter() - self._started < SECONDS_UNSEEN:
            return
        if self._drawn is None:
            if Bar._seen is not None:
                return
            from rich.console import Console

            Bar._seen = self
            self._drawn = (_InNotebook if Console().is_jupyter else _InTerminal)(self._what, self._total)
        self._drawn.update(done)


class _InTerminal:
    """A bar of the library rich, which stays when it is full; on standard error, since tables go to standard output."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._total, self._progress = total, Progress(console=Console(stderr=True))
        self._task = self._progress.add_task(what, total=total or None)
        self._progress.start()

    def say(self, what: str) -> None:
        self._progress.update(self._task, description=what)

    def update(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def stop(self, *, complete: bool) -> None:
        if complete and self._total:
            self.update(self._total)
        self._progress.stop()


class _InNotebook:
    """A bar of HTML, which goes when it is done: notebooks are kept. Rich would want ipywidgets, and warn."""

    def __init__(self, what: str, total: int) -> None:
        display = import_module("IPython.display").display
        self._what, self._total = what, total
        self._place = display(self._bar(0), raw=True, display_id=True)

    def say(self, what: str) -> None:
        self._what = what

    def _bar(self, done: int) -> dict[str, str]:
        percent = f"{100 * done // self._total} %" if self._total else f"{done:,}"
        bar = f"<progress value='{done}' max='{self._total}'></progress>"
        return {"text/html": f"{self._what} {bar} {percent}", "text/plain": f"{self._what}: {percent}"}

    def update(self, done: int) -> None:
        self._place.update(self._bar(done), raw=True)

    def stop(self, *, complete: bool) -> None:
        self._place.update({"text/html": "", "text/plain": ""}, raw=True)


def note(text: str, *, show: bool) -> None:
    """Say between two bars why there is another one."""
    if show:
        from rich.console import Console

        Console(stderr=True).print(text, markup=False, highlight=False)


def track(steps: Iterable[tuple[int, Any]], total: int, what: str, show: bool) -> Iterator[tuple[int, Any]]:
    """Pass (weight, item) on, drawing a bar that fills by the weights."""
    with Bar(what, total, show=show) as bar:
        for weight, item in steps:
            yield weight, item
            bar.advance(weight)


class Reading:
    """Passes over rows that are read chunk by chunk: a bar for each, or a count where nobody knows how many there are.

    The words say how many rows a second.
    """

    def __init__(self, rows: int | None, *, show: bool) -> None:
        self._rows, self._show = rows, show
        self._what, self._bar = "", cast(Bar | None, None)
        self._done, self._started = 0, 0.0
        self._stack = ExitStack()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def add(self, what: str, rows: int) -> None:
        """So many more rows of the pass of this name were read."""
        if what != self._what:
            self._stack.close()
            self._what, self._done, self._started = what, 0, time.perf_counter()
            self._bar = self._stack.enter_context(Bar(what, self._rows or 0, show=self._show))
        self._done += rows
        assert self._bar is not None
        seconds = time.perf_counter() - self._started
        if seconds > 0.0:
            self._bar.say(f"{what}, {self._done / seconds:,.0f} rows/s")
        self._bar.advance(rows)


class Passing:
    """Passes over the same rows, whose number nobody knows beforehand: a bar that begins anew with each.

    The words say which pass it is, and how many rows a second all of them took.
    """

    def __init__(self, what: str, rows: int, *, show: bool) -> None:
        self._what, self._bar = what, Bar(what, rows, show=show)
        self._pass, self._done, self._all, self._started = 0, 0, 0, time.perf_counter()

    def __enter__(self) -> Passing:
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.__exit__(*exception)

    def add(self, number: int, rows: int) -> None:
        """So many more rows of the pass of this number."""
        if number != self._pass:
            self._pass, self._done = number, 0
        self._done, self._all = self._done + rows, self._all + rows
        seconds = time.perf_counter() - self._started
        self._bar.say(f"{self._what}: pass {number} over the rows, {self._all / max(seconds, 1e-9):,.0f} rows/s")
        self._bar.reach(self._done)
