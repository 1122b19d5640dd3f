"""A bar for what takes long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def track(steps: Iterable[tuple[int, Any]], total: int, what: str, show: bool) -> Iterator[tuple[int, Any]]:
    """Pass (weight, item) on, drawing a bar that fills by the weights."""
    if not show:
        yield from steps
        return
    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task(what, total=total)
        for weight, item in steps:
            yield weight, item
            bar.advance(task, weight)
