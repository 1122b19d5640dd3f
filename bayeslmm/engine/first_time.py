"""The first fit after an installation: two processes share the compiling.

Numba compiles on one thread. The loops of the joint density take about as long as the kernel of REML, which NUTS needs
for its rough estimates, so another process compiles the former meanwhile; this one finds them in the cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..tools.compiling import is_kept
from .elimination import eliminate

JOINT = "joint.density_for_c"  # what numba's cache holds once the joint density is compiled


@contextmanager
def joint_compiled_beside() -> Iterator[None]:
    """Do something else while the joint density is compiled, if it never was and there is a processor to spare."""
    child = None if _is_cached() or (os.cpu_count() or 1) < 2 else _compile_joint()
    try:
        yield
    except BaseException:
        if child is not None:
            child.kill()
        raise
    finally:
        if child is not None:
            child.wait()


def _is_cached() -> bool:
    folder = eliminate._cache.cache_path  # beside the modules, or as numba is told
    return folder is None or is_kept(folder, JOINT)  # kept nowhere, it would not be found


def _compile_joint() -> subprocess.Popen[bytes] | None:
    """A process that imports the joint density; None where there is no Python to start, as in a frozen program."""
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    home = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {home!r}); import bayeslmm.engine.joint"
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen([sys.executable, "-c", code], stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:  # this process compiles it itself then
        return None
