"""Counts with variance μ."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special, stats
from .family import Family
from .links import COUNT_LINKS, LOG, by_eta, mean_and_slope, mean_bends

LARGEST = 1e18  # mean of counts that are drawn: numpy's limit is 9.2e18; their relative sd is 1e-9 here


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without log y!, and its derivative by η."""
    mean, slope = mean_and_slope(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    return y * np.log(mean) - mean, (y / mean - 1.0) * slope, 0.0, 0.0


@compiled
def rows(link, y, trials, weights, eta, parameters, by_eta, gradient):
    """With the log link, one exponential a row."""
    n, total = y.shape[0], 0.0
    if link == LOG:
        for i in range(n):
            mean = np.exp(eta[i])
            total += y[i] * eta[i] - mean
            by_eta[i] = y[i] - mean
        return total
    for i in range(n):
        value, by_eta[i], _, _ = row(link, y[i], trials[i], weights[i], eta[i], parameters)
        total += value
    return total


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    if link == LOG:
        mean = np.exp(eta)
        return y * eta - mean, y - mean, -mean, -mean, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    mean, m1, m2, m3 = mean_bends(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    share = y / mean
    d1, d2, d3 = by_eta(share - 1.0, -share / mean, 2.0 * share / mean**2, m1, m2, m3)
    return y * np.log(mean) - mean, d1, d2, d3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


class Poisson(Family):
    """y ~ Poisson(μ)."""

    name = "poisson"
    links: ClassVar[tuple[str, ...]] = COUNT_LINKS
    has_unit_deviance = True
    is_count = True
    for_zeros: ClassVar[tuple[str, ...]] = ("zero_inflated_poisson", "hurdle_poisson")
    is_discrete = True
    has_positive_mean = True
    log_concave_links = ("log",)
    row, rows, bends = row, rows, bends
    distribution = "Poisson(μ_i)"
    needs = "whole numbers, zero or more"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y < 0.0) | (y != np.round(y))

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return -special.gammaln(y + 1.0)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        mean = self.mean(eta)
        return stats.poisson.cdf(y - 1.0, mean), stats.poisson.cdf(y, mean)

    def unit_deviance(
        self,
        y: Array,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
    ) -> Array:
        return 2.0 * (special.xlogy(y, y / mean) - (y - mean))

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return draw_counts(self.mean(eta), rng)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link != "log":
            return super().residual_variance(parameters, fixed, random)
        return lognormal_variance(fixed, random, 0.0), "residual: log(1 + 1/mean)"

    def graph(
        self,
        eta: Any,
        parameters: Mapping[str, Any],
        *,
        trials: Array | None,
        weights: Array | None,
        categories: Array,
        options: Mapping[str, Any],
    ) -> Any:
        import pymc as pm

        return pm.Poisson("y", mu=self.graph_mean(eta), **options)

    def start(self, y: Array, trials: Array) -> Array:
        return y + 0.1 * (y == 0.0) + 0.1 * (y.mean() == 0.0)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean, 1e-10)

    def centre(self, y: Array, trials: Array | None) -> float:
        return float(self.eta((y.sum() + 0.5) / len(y)))


def draw_counts(mean: Array, rng: Generator) -> Array:
    """Poisson counts with these means; NaN for negative ones."""
    small = (mean >= 0.0) & (mean <= LARGEST)
    drawn = rng.poisson(np.where(small, mean, 0.0)).astype(np.float64)
    return np.where(small, drawn, np.where(mean > LARGEST, np.rint(mean), np.nan))


def lognormal_variance(fixed: Array, random: Array, extra: Array | float) -> Array:
    """Observation-level variance of a log link, log(1 + 1/mean + extra), at the mean exp(fixed + random/2).

    Nakagawa, Johnson & Schielzeth (2017), lognormal approximation.
    """
    with np.errstate(all="ignore"):
        return np.log1p(np.exp(-(fixed + random / 2.0)) + extra)
