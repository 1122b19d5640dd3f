"""Counts whose zeros are left out, or have a part of their own: what a count's density becomes.

``of_y`` and ``of_zero`` are what `row` or `bends` of the count give at y and at zero. No family stands in this file.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled


@compiled
def log_some(log_zero):
    """log(1 − p) of p = P(0) given log p, and the odds p/(1 − p)."""
    some = -np.expm1(log_zero)
    return np.log(some), np.exp(log_zero) / some


@compiled
def without_zeros(of_y, of_zero):
    """`row` of the count given that it is not zero."""
    value, odds = log_some(of_zero[0])
    return (of_y[0] - value, of_y[1] + odds * of_zero[1], of_y[2] + odds * of_zero[2], of_y[3] + odds * of_zero[3])


@compiled
def composed(first, second, third, of):
    """The nine derivatives of f(g), by those of f at g and `bends` of g."""
    d1, d2, d3 = of[1], of[2], of[3]
    a, a1, a2, b, b1, b2 = of[4], of[5], of[6], of[7], of[8], of[9]
    return (
        first * d1,
        second * d1 * d1 + first * d2,
        third * d1**3 + 3.0 * second * d1 * d2 + first * d3,
        first * a,
        second * d1 * a + first * a1,
        third * d1 * d1 * a + second * (d2 * a + 2.0 * d1 * a1) + first * a2,
        first * b,
        second * d1 * b + first * b1,
        third * d1 * d1 * b + second * (d2 * b + 2.0 * d1 * b1) + first * b2,
    )


@compiled
def without_zeros_bends(of_y, of_zero):
    """`bends` of the count given that it is not zero: those of −log(1 − exp(log p)) are its odds and their own."""
    value, odds = log_some(of_zero[0])
    bent = odds * (1.0 + odds)
    more = composed(odds, bent, (1.0 + 2.0 * odds) * bent, of_zero)
    return (
        of_y[0] - value,
        of_y[1] + more[0],
        of_y[2] + more[1],
        of_y[3] + more[2],
        of_y[4] + more[3],
        of_y[5] + more[4],
        of_y[6] + more[5],
        of_y[7] + more[6],
        of_y[8] + more[7],
        of_y[9] + more[8],
    )


def first_of_some(rate: Array, rng: Generator) -> Array:
    """When the first of a Poisson number of arrivals comes, given that there is one: rate (...,) is their mean."""
    with np.errstate(all="ignore"):
        return np.minimum(-np.log1p(rng.random(np.shape(rate)) * np.expm1(-rate)), rate)
