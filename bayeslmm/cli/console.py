"""What the command line says beside its results: notes and warnings on standard error, progress on a terminal only."""

from __future__ import annotations

import io
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ..errors import BayesLMMWarning

WIDTH = 100
WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}
OK, DOUBTFUL, REFUSED, BROKEN, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141


def heading(text: str, line: str = "=") -> None:
    """A title on standard output, with a line under it."""
    print(f"\n{text}\n{line * min(len(text), 100)}")


def note(text: str) -> None:
    """A message on standard error, after what has been printed so far; lines set out by hand stay as they are."""
    sys.stdout.flush()
    for line in text.splitlines():
        wrapped = line if line.startswith(" ") else textwrap.fill(line, WIDTH, subsequent_indent="  ", **WHOLE_WORDS)
        print(wrapped, file=sys.stderr, flush=True)


def shows_progress() -> bool:
    """Whether a moving bar would be seen and disturb nothing."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def write_what_can_be_written() -> None:
    """Signs that the terminal's encoding does not have become question marks, not an error at the end of a fit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def silence_standard_output() -> None:
    """Nobody reads any more: keep Python from complaining when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Our own warnings as notes, each once; those of other libraries are for programmers."""
    printed = set()

    def tell(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if str(message) not in printed:
            note(f"warning: {message}")
        printed.add(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", BayesLMMWarning)
        warnings.showwarning = tell
        yield
