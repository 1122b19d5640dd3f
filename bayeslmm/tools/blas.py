"""BLAS held to one thread while threads of ours call it.

Its own threads would share the cores out once more, keep them busy waiting for work, and beside a busy machine wait for
each other: minutes in the place of seconds. They also round differently on another number of cores.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  (it brings a BLAS of its own, which is not seen before it is loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _OneBlasThread:
    """Holds BLAS to one thread within ``with`` statements, which may overlap: the setting is the process's.

    A thread of its own sets it, since threadpoolctl lets only the thread that has set it set it back.
    """

    def __init__(self) -> None:
        self._lock, self._entered = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._entered:
                held, self._done = threading.Event(), threading.Event()
                self._keeper = threading.Thread(target=self._hold, args=(held, self._done), daemon=True)
                self._keeper.start()
                try:
                    held.wait()
                except BaseException:
                    self._done.set()
                    raise
            self._entered += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                self._done.set()
                self._keeper.join()

    @staticmethod
    def _hold(held: threading.Event, done: threading.Event) -> None:
        try:
            with _blas().limit(limits=1, user_api="blas"):
                held.set()
                done.wait()
        finally:
            held.set()  # nobody waits for a thread that has failed


one_blas_thread = _OneBlasThread()
