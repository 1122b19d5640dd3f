"""Work shared by processes. The door to joblib."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from ..errors import FitError, InputError


def cores_of(cores: int | None) -> int:
    """How many processes: as many as asked for, or as there are cores for this one.

    Raises
    ------
    InputError
        Not a whole number of at least one.
    """
    if cores is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(cores, bool) or not isinstance(cores, int | np.integer) or cores < 1:
        raise InputError(f"cores={cores!r}: a whole number, at least one core, is needed")
    return int(cores)


def shared(work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], cores: int, *, verb: str) -> Generator[Any]:
    """``work(*task)`` of every task, in their order whatever the number of processes.

    Raises
    ------
    FitError
        A process was killed; the message begins with the verb.
    """
    if cores == 1:
        yield from (work(*task) for task in tasks)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        yield from Parallel(n_jobs=cores, return_as="generator")(delayed(work)(*task) for task in tasks)
    except TerminatedWorkerError as error:
        raise FitError(
            f"{verb}: one of {cores} worker processes was killed, as the system does when memory runs out. With "
            "cores=1 this process does the work alone."
        ) from error
