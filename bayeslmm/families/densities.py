"""Compiled log densities of any family: one switch, written from the table of families (docs/theory.md, section 11).

Of each family `row` gives the log density of one response without what hangs on the data only (`Family.constants`) or
on the parameters only (`normaliser`), with its derivatives by η and by up to two parameters; `add_rows` sums it over
rows and `each_row` fills an array.  A family is asked for by its number in the table, once for all rows.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from ..tools.arrays import Array
from ..tools.compiling import called_at, compiled, compiled_for_c, reals_at
from . import BY_OPTION, FAMILIES
from .family import Family
from .links import LINKS

_KINDS = (*FAMILIES.values(), *BY_OPTION)
_FAMILY_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}
_LINK_NUMBER = {name: number for number, name in enumerate(LINKS)}
_ROWS = "link, y, trials, weights, eta, parameters, by_eta, gradient"


def numbers(family: Family) -> tuple[int, int]:
    """Family and link by number, for the loops."""
    return _FAMILY_NUMBER[type(family)], _LINK_NUMBER[family.link]


def link_number(link: str) -> int:
    """A link by number, for the loops."""
    return _LINK_NUMBER[link]


def _switch(arguments: str, of_family: Callable[[type[Family]], str], otherwise: str) -> Any:
    """A function of ``kind`` and other arguments with one branch a family, compiled into what calls it."""
    lines, functions = [f"def switch(kind, {arguments}):"], {"nan": np.nan}
    for number, kind in enumerate(_KINDS):
        lines += [f"    if kind == {number}:", *(f"        {line}" for line in of_family(kind).splitlines())]
        parts = {"row": kind.row, "rows": kind.rows, "bends": kind.bends, "normaliser": kind.normaliser}
        functions |= {f"{kind.__name__}_{name}": part for name, part in parts.items()}
    exec("\n".join([*lines, f"    return {otherwise}"]), functions)  # names of the table, nothing from outside
    return numba.njit(nogil=True, error_model="numpy")(functions["switch"])


def _sum_of_rows(kind: type[Family]) -> str:
    """The family's own loop, or one over its rows."""
    if kind.rows is not None:
        return f"return {kind.__name__}_rows({_ROWS})"
    sums = "".join(f"    gradient[{k}] += by_{k}\n" for k in range(len(kind.every_parameter)))
    return (
        "total = 0.0\n"
        "for i in range(y.shape[0]):\n"
        f"    value, by_eta[i], by_0, by_1 = {kind.__name__}_row("
        "link, y[i], trials[i], weights[i], eta[i], parameters)\n"
        f"    total += value\n{sums}"
        "return total"
    )


def _normaliser_of(kind: type[Family]) -> str:
    if kind.normaliser is None:
        return "return 0.0"
    return f"return {kind.__name__}_normaliser(n, parameters, values, counts, gradient)"


# Log density of one response; its derivatives by η and by the first two parameters, or the two cutpoints around it.
row = _switch(
    "link, y, trials, weight, eta, parameters",
    lambda kind: f"return {kind.__name__}_row(link, y, trials, weight, eta, parameters)",
    "nan, nan, nan, nan",
)

# Sum of `row` over all rows; fills ``by_eta`` (n,) and adds to ``gradient`` of the parameters.
add_rows = _switch(_ROWS, _sum_of_rows, "nan")

# Derivatives of one response: `Family.bends`.
bends = _switch(
    "link, y, trials, weight, eta, parameters",
    lambda kind: f"return {kind.__name__}_bends(link, y, trials, weight, eta, parameters)",
    ", ".join(["nan"] * 10),
)

_each_bend = _switch(
    "link, y, trials, weights, eta, parameters, out",
    lambda kind: (
        "for i in range(y.shape[0]):\n"
        f"    a, b, c, d, e, f, g, h, k, m = {kind.__name__}_bends("
        "link, y[i], trials[i], weights[i], eta[i], parameters)\n"
        "    out[0, i], out[1, i], out[2, i] = a, b, c\n"
        "    if out.shape[0] > 3:\n"
        "        out[3, i], out[4, i], out[5, i], out[6, i] = d, e, f, g\n"
        "        out[7, i], out[8, i], out[9, i] = h, k, m\n"
        "return 0.0"
    ),
    "nan",
)


def _bends_for_c(kind, link, n, parts, r, y, trials, weights, eta, parameters, out):  # pragma: no cover - compiled
    """Those of all rows into ``out`` (10, n), or the first three of them."""
    return _each_bend(
        kind,
        link,
        numba.carray(reals_at(y), n),
        numba.carray(reals_at(trials), n),
        numba.carray(reals_at(weights), n),
        numba.carray(reals_at(eta), n),
        numba.carray(reals_at(parameters), r),
        numba.carray(reals_at(out), (parts, n)),
    )


@cache
def _bends_in_c() -> Any:
    """It, which has to live as long as its address is called; compiled once, and not with what calls it."""
    return compiled_for_c(types.float64(*[types.int64] * 11))(_bends_for_c)


def bends_address() -> int:
    """Where the derivatives of all rows stand as a C function, compiled when first asked for."""
    return int(_bends_in_c().address)


@intrinsic
def bends_at(typing_context, address, kind, link, n, parts, r, y, trials, weights, eta, parameters, out):
    """The C function at an address, of arrays by theirs."""
    whole, real = types.int64, types.float64

    def generate(context, builder, signature, values):
        return called_at(builder, values[0], values[1:], context.get_value_type(signature.return_type))

    return real(whole, whole, whole, whole, whole, whole, whole, whole, whole, whole, whole, whole), generate


def each_bend(
    kind: int, link: int, y: Array, trials: Array, weights: Array, eta: Array, parameters: Array, out: Array
) -> None:
    """Derivatives of all rows, `Family.bends`, into ``out`` (10, n), or the first three of them; arrays in order."""
    arrays = [np.ascontiguousarray(array, dtype=float) for array in (y, trials, weights, eta, parameters)]
    if numba.config.DISABLE_JIT:  # there is no C function then
        _each_bend(kind, link, *arrays, out)
        return
    addresses = [array.ctypes.data for array in (*arrays, out)]
    _bends_in_c().ctypes(kind, link, len(y), len(out), len(parameters), *addresses)


@compiled
def each_bend_by_row(kind, link, y, trials, weights, eta, parameters, out):
    """The same where every row has parameters of its own: (n, r)."""
    for i in range(y.shape[0]):
        a, b, c, d, e, f, g, h, k, m = bends(kind, link, y[i], trials[i], weights[i], eta[i], parameters[i])
        out[0, i], out[1, i], out[2, i] = a, b, c
        if out.shape[0] > 3:
            out[3, i], out[4, i], out[5, i], out[6, i] = d, e, f, g
            out[7, i], out[8, i], out[9, i] = h, k, m


# Sum over rows from ``first`` up to ``last`` of the log density at η + loadings[at] × u, each row so many ``times``.
# Its first two derivatives by u, and by what earlier loadings belong to, go into ``slopes`` and ``curves``.
along = _switch(
    "link, y, trials, weights, times, eta, loadings, at, u, parameters, first, last, slopes, curves",
    lambda kind: (
        "value = slope = curve = 0.0\n"
        "for s in range(at):\n"
        "    slopes[s] = curves[s] = 0.0\n"
        "for i in range(first, last):\n"
        "    loading = loadings[at, i]\n"
        f"    a, b, c, _, _, _, _, _, _, _ = {kind.__name__}_bends("
        "link, y[i], trials[i], weights[i], eta[i] + loading * u, parameters)\n"
        "    b *= times[i]\n"
        "    c *= times[i]\n"
        "    value += times[i] * a\n"
        "    slope += b * loading\n"
        "    curve += c * loading**2\n"
        "    for s in range(at):\n"
        "        slopes[s] += b * loadings[s, i]\n"
        "        curves[s] += c * loadings[s, i] ** 2\n"
        "slopes[at], curves[at] = slope, curve\n"
        "return value"
    ),
    "nan",
)

# What the parameters add to the log density of n rows whatever the linear predictor; adds to ``gradient``. ``values``
# and their ``counts`` are the distinct responses, where `Family.normaliser_takes_y`.
normaliser = _switch("n, parameters, values, counts, gradient", _normaliser_of, "nan")


@compiled
def add_normaliser(kind, n, parameters, values, counts, gradient, total):
    """`normaliser` added to ``total`` (1,)."""
    total[0] += normaliser(kind, n, parameters, values, counts, gradient)


@compiled
def each_normaliser(kind, by_value, y, parameters, out, gradient):
    """`normaliser` of every row with parameters (n, r) of its own into ``out`` (n,), its slopes into ``gradient``."""
    none, one = np.zeros(0), np.ones(1)
    for i in range(y.shape[0]):
        out[i] = normaliser(kind, 1.0, parameters[i], y[i : i + 1] if by_value else none, one, gradient[i])


@compiled
def each_row(kind, link, by_value, y, trials, weights, eta, parameters, out):
    """Log density of every row, without its constant, into ``out`` (n,); ``by_value``: `Family.normaliser_takes_y`."""
    none, one, unused = np.zeros(0), np.ones(1), np.zeros(max(2, parameters.shape[0]))
    for i in range(y.shape[0]):
        value = row(kind, link, y[i], trials[i], weights[i], eta[i], parameters)[0]
        alone = y[i : i + 1] if by_value else none
        out[i] = value + normaliser(kind, 1.0, parameters, alone, one, unused)


@compiled
def each_row_by_row(kind, link, by_value, y, trials, weights, eta, parameters, out):
    """The same where every row has parameters (n, r) of its own."""
    none, one, unused = np.zeros(0), np.ones(1), np.zeros(max(2, parameters.shape[1]))
    for i in range(y.shape[0]):
        value = row(kind, link, y[i], trials[i], weights[i], eta[i], parameters[i])[0]
        alone = y[i : i + 1] if by_value else none
        out[i] = value + normaliser(kind, 1.0, parameters[i], alone, one, unused)
