"""What of a session is everybody's, and might be changed by a package that is used in it."""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pandas as pd
import threadpoolctl


def snapshot() -> dict[str, Any]:
    """The state of this process by name, in values that can be compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of pandas' options are deprecated
        pandas = _options(pd.options)
    state = {
        "numpy's generator": repr(np.random.get_state()),
        "random": repr(random.getstate()),
        "numpy's errors": repr((np.geterr(), np.geterrcall())),
        "numpy's printing": repr(np.get_printoptions()),
        "decimal": repr(decimal.getcontext()),
        "pandas": pandas,
        "warnings": [repr(each) for each in warnings.filters],
        "how warnings are shown": (warnings.showwarning, warnings.formatwarning),
        "logging": (
            logging.root.level,
            [repr(handler) for handler in logging.root.handlers],
            logging.root.manager.disable,
        ),
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.gettrace()),
        "recursion": sys.getrecursionlimit(),
        "path": list(sys.path),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
        "threads of BLAS": {pool["filepath"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()},
    }
    mask = os.umask(0)
    os.umask(mask)
    state["umask"] = mask
    if "matplotlib" in sys.modules:
        import matplotlib

        state["matplotlib"] = {key: repr(value) for key, value in matplotlib.rcParams.items()}
    if "matplotlib.pyplot" in sys.modules:
        state["figures"] = sys.modules["matplotlib.pyplot"].get_fignums()
    if "arviz_base" in sys.modules:
        state["ArviZ"] = {key: repr(value) for key, value in sys.modules["arviz_base"].rcParams.items()}
    if "xarray" in sys.modules:
        state["xarray"] = dict(sys.modules["xarray"].get_options())
    return state


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    return [f"{name}: {_difference(before[name], after[name])}" for name in before if before[name] != after[name]]


def _options(branch: Any) -> dict[str, str]:
    """pandas' options by name, whatever their depth."""
    found = {}
    for name in dir(branch):
        value = getattr(branch, name)
        below = _options(value) if type(value) is type(pd.options) else {"": repr(value)}
        found |= {f"{name}.{key}".rstrip("."): each for key, each in below.items()}
    return found


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, dict):
        return str({key: (one.get(key), other.get(key)) for key in {*one, *other} if one.get(key) != other.get(key)})
    if isinstance(one, list):
        added, gone = ([each for each in a if each not in b] for a, b in ((other, one), (one, other)))
        return f"added {added}, gone {gone}"
    return f"{one!s:.200} became {other!s:.200}"
