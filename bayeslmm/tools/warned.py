"""Warnings that point at the user's line, and that a caller can keep from being said."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])

_muted: ContextVar[tuple[type[Warning], ...]] = ContextVar("muted", default=())


@contextmanager
def muted(*categories: type[Warning]) -> Iterator[None]:
    """Keep `warn` from saying what the caller knows: in this thread only, as ``warnings.catch_warnings`` does not."""
    before = _muted.set((*_muted.get(), *categories))
    try:
        yield
    finally:
        _muted.reset(before)


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line outside this package that led here."""
    if issubclass(category, _muted.get()):
        return
    warnings.warn(message, category, stacklevel=2, skip_file_prefixes=(PACKAGE,))
