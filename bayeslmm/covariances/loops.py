"""Compiled correlation factors of any structure: one switch, written from the table of structures.

Coordinates y, factors L and the prior of a coordinate are explained in `structure`. A structure is asked for by its
number in the table.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

from math import lgamma
from typing import Any

import numba
import numpy as np

from ..tools.arrays import Array
from ..tools.compiling import compiled
from . import STRUCTURES
from .structure import Structure

_KINDS = tuple(STRUCTURES.values())
_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}


def number(structure: Structure) -> int:
    """A structure by number, for the loops."""
    return _NUMBER[type(structure)]


def _switch(arguments: str, which: str) -> Any:
    """A function of ``kind`` and other arguments with one branch a structure, compiled into what calls it."""
    lines, functions = [f"def switch(kind, {arguments}):"], {}
    for place, kind in enumerate(_KINDS):
        lines += [f"    if kind == {place}:", f"        {kind.name}_{which}({arguments})"]
        functions[f"{kind.name}_{which}"] = getattr(kind, which)
    exec("\n".join(lines), functions)  # names of the table, nothing from outside
    return numba.njit(nogil=True, error_model="numpy")(functions["switch"])


# Fills the lower triangle of L (q, q) from the coordinates y (n,).
factor = _switch("q, y, L", "factor")

# Fills ``by_y`` (n,) from the derivatives by the lower triangle of L.
pull_back = _switch("q, y, L, by_L, by_y", "pull_back")


@compiled
def log_prior(shape, y):
    """Log density of a coordinate y whose share (1 + tanh y)/2 is Beta(shape, shape), and its slope.

    Without `prior_constant`.
    """
    size = 2.0 * abs(y)  # the log odds of the share are 2y
    return shape * (-size - 2.0 * np.log1p(np.exp(-size))), -2.0 * shape * np.tanh(y)


@compiled
def prior_constant(shape):
    """What `log_prior` leaves out."""
    return np.log(2.0) - 2.0 * lgamma(shape) + lgamma(2.0 * shape)


@compiled
def _each_prior(shapes, y, out):
    for k in range(y.shape[0]):
        for e in range(shapes.shape[0]):
            out[k] += log_prior(shapes[e], y[k, e])[0] + prior_constant(shapes[e])


def log_priors(shapes: Array, y: Array) -> Array:
    """Log density (N,) of coordinates y (N, n) whose shares are Beta(s, s)."""
    out = np.zeros(len(y))
    _each_prior(shapes, np.ascontiguousarray(y), out)
    return out
