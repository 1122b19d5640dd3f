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


@compiled
def _each_factor(kind, q, y, out):
    for k in range(y.shape[0]):
        factor(kind, q, y[k], out[k])


def factors(structure: Structure, q: int, y: Array) -> Array:
    """L (N, q, q) of coordinates y (N, n)."""
    out = np.zeros((len(y), q, q))
    _each_factor(number(structure), q, np.ascontiguousarray(y), out)
    return out


@compiled
def _each_slope(kind, q, y, L, by_L, by_y, out):
    factor(kind, q, y, L)
    for i in range(q):
        for j in range(i + 1):
            by_L[i, j] = 1.0
            pull_back(kind, q, y, L, by_L, by_y)
            by_L[i, j] = 0.0
            for k in range(y.shape[0]):
                out[k, i, j] = by_y[k]


def slopes(structure: Structure, q: int, y: Array) -> Array:
    """∂L/∂y (n, q, q) at coordinates y (n,)."""
    L, by_L, out = np.zeros((q, q)), np.zeros((q, q)), np.zeros((len(y), q, q))
    _each_slope(number(structure), q, y, L, by_L, np.zeros(len(y)), out)
    return out
