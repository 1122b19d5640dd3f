"""Ctrl-C where a library answers it otherwise."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a `KeyboardInterrupt` also where a sampler answers it with the draws it has, or with another error.

    Python tells the main thread only, so that other threads have nothing to watch; nor is there anything to do where
    somebody else answers the signal, or has chosen not to be interrupted.
    """
    answer = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(answer):
        yield
        return
    interrupted = False

    def watch(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        try:
            answer(number, frame)
        except KeyboardInterrupt:
            interrupted = True
            raise

    signal.signal(signal.SIGINT, watch)
    try:
        yield
    except Exception:
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, answer)
    if interrupted:
        raise KeyboardInterrupt
