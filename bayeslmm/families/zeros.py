"""Counts whose zeros are left out, or have a part of their own: what a count's density and moments become.

``of_y`` and ``of_zero`` are what `row` or `bends` of the count give at y and at zero.  `ZeroInflated` and `Hurdle`
stand before a family of counts among the bases of a family.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from .family import Default
from .poisson import Poisson


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


@compiled
def _log_mixture(log_zero, share):
    """log(π + (1 − π) p) of p = P(0) given log p, and the part (1 − π) p of what is in the bracket."""
    apart, counted = np.log(share), np.log1p(-share) + log_zero
    larger = max(apart, counted)
    if not larger > -np.inf:
        return -np.inf, 0.0
    value = larger + np.log(np.exp(apart - larger) + np.exp(counted - larger))
    return value, np.exp(counted - value)


@compiled
def inflated(y, of_y, of_zero, share):
    """Of zeros beside a count with probability π: log density, its derivatives by η, the count's parameter, and π."""
    if y > 0.0:
        return np.log1p(-share) + of_y[0], of_y[1], of_y[2], -1.0 / (1.0 - share)
    value, counted = _log_mixture(of_zero[0], share)
    by_share = -np.expm1(of_zero[0]) * np.exp(-value)
    return value, counted * of_zero[1], counted * of_zero[2], by_share


@compiled
def inflated_bends(y, of_y, of_zero, share):
    """`bends` of the same, those by the second parameter being those by π."""
    if y > 0.0:
        by_share = -1.0 / (1.0 - share)
        value = np.log1p(-share) + of_y[0]
        return value, of_y[1], of_y[2], of_y[3], of_y[4], of_y[5], of_y[6], by_share, 0.0, 0.0
    value, counted = _log_mixture(of_zero[0], share)
    bent = counted * (1.0 - counted)
    d1, d2, d3, a, a1, a2, _, _, _ = composed(counted, bent, bent * (1.0 - 2.0 * counted), of_zero)
    by_share = -np.expm1(of_zero[0]) * np.exp(-value)
    moved = -np.exp(of_zero[0] - 2.0 * value)  # how the probability that the count made the zero moves with π
    slope, bend = moved * of_zero[1], moved * ((1.0 - 2.0 * counted) * of_zero[1] ** 2 + of_zero[2])
    return value, d1, d2, d3, a, a1, a2, by_share, slope, bend


@compiled
def hurdled(y, of_y, of_zero, share):
    """Of zeros with probability π and counts without zeros: as `inflated`."""
    if y > 0.0:
        value, by_eta, by_parameter, _ = without_zeros(of_y, of_zero)
        return np.log1p(-share) + value, by_eta, by_parameter, -1.0 / (1.0 - share)
    return np.log(share), 0.0, 0.0, 1.0 / share


@compiled
def hurdled_bends(y, of_y, of_zero, share):
    """As `inflated_bends`."""
    if y > 0.0:
        value, d1, d2, d3, a, a1, a2, _, _, _ = without_zeros_bends(of_y, of_zero)
        return np.log1p(-share) + value, d1, d2, d3, a, a1, a2, -1.0 / (1.0 - share), 0.0, 0.0
    return np.log(share), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0 / share, 0.0, 0.0


@compiled
def alone(bends):
    """`bends` of a count without parameters, whose π is the first."""
    value, d1, d2, d3, _, _, _, a, a1, a2 = bends
    return value, d1, d2, d3, a, a1, a2, 0.0, 0.0, 0.0


def first_of_some(rate: Array, rng: Generator) -> Array:
    """When the first of a Poisson number of arrivals comes, given that there is one: rate (...,) is their mean."""
    with np.errstate(all="ignore"):
        return np.minimum(-np.log1p(rng.random(np.shape(rate)) * np.expm1(-rate)), rate)


class ZerosApart(Poisson):
    """A count that is zero with a probability of its own, its last parameter, and else as the next base has it."""

    links = ("log",)
    has_unit_deviance = False
    for_zeros: ClassVar[tuple[str, ...]] = ()
    meaning: ClassVar[str]  # of that probability, in the words of its prior's reason

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        return (1.0 - parameters[self.zeros]) * super().expected(eta, parameters, weights)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        share = parameters[self.zeros]
        with np.errstate(all="ignore"):
            of_count = mean / (1.0 - share)
        return (1.0 - share) * (super().variance(of_count, parameters) + share * of_count**2)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        share = parameters[self.zeros]
        below, up_to = (np.clip(part, 0.0, 1.0) for part in super().cdf(y, eta, parameters, trials))
        return np.where(y > 0.0, share + (1.0 - share) * below, 0.0), share + (1.0 - share) * up_to

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        drawn = super().draw(eta, parameters, trials, rng)
        apart = rng.random(drawn.shape) < parameters[self.zeros]
        return np.where(apart & ~np.isnan(drawn), 0.0, drawn)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return None, "zeros with a probability of their own have no variance on the scale of the linear predictor"

    def guess(self, parameter: str, sigma: float) -> float:
        return 0.2 if parameter == self.zeros else super().guess(parameter, sigma)

    def default_prior(self, parameter: str, y: Array) -> Default:
        if parameter == self.zeros:
            return Default("Beta", {"alpha": 1.0, "beta": 1.0}, f"uniform: {self.meaning}")
        return super().default_prior(parameter, y)


class ZeroInflated(ZerosApart):
    """Zeros beside those of a count."""

    zeros = "zi"
    mean_parameters = frozenset({"zi"})
    meaning = "any share of zeros beside those of the count"
    parameter_links: ClassVar[Mapping[str, str]] = {"zi": "logit"}
    limit_at_zero = frozenset({"zi"})


class Hurdle(ZerosApart):
    """All zeros; the next base has none."""

    zeros = "hu"
    mean_parameters = frozenset({"hu"})
    meaning = "any share of zeros"
    parameter_links: ClassVar[Mapping[str, str]] = {"hu": "logit"}
    limit_at_zero = frozenset({"hu"})
    scales_with_mean = False
    least = 0.0
