"""Modules that are loaded when something of them is first asked for: parts of SciPy, and verbs of a fit.

A first fit of ordinary data asks for none of them. No part of SciPy comes alone: the smallest takes a third of the time
of NumPy and pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class Later:
    """A module, loaded when it is first asked for something."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, what: str) -> Any:
        return getattr(import_module(self._name), what)

    def __reduce__(self) -> tuple[type[Later], tuple[str]]:  # verbs go to other processes with what they call
        return Later, (self._name,)


def later(package: str, *names: str) -> dict[str, Any]:
    """Modules of a package by their names, each loaded when it is first asked for something."""
    return {name: Later(f"{package}.{name}") for name in names}


if TYPE_CHECKING:
    from scipy import interpolate, linalg, optimize, sparse, special, stats
    from scipy.linalg import lapack

    __all__ = ["interpolate", "lapack", "linalg", "optimize", "sparse", "special", "stats"]
else:
    globals().update(
        later("scipy", "interpolate", "linalg", "optimize", "sparse", "special", "stats"),
        lapack=Later("scipy.linalg.lapack"),
    )
