"""Counts with variance μ + μ²/shape."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special, stats
from .family import Default
from .gamma import draw_gamma
from .links import by_eta, mean_and_slope, mean_bends
from .poisson import Poisson, draw_counts, lognormal_variance
from .special import rising


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without its gamma functions; its derivatives by η and by shape."""
    mean, slope = mean_and_slope(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    shape = parameters[0]
    whole = shape + mean
    log_zero = -np.log1p(mean / shape)  # of one unit of shape: log(shape / whole) has no digits where the mean is small
    value = shape * log_zero + (y * np.log(mean / whole) if y > 0.0 else 0.0)
    return value, (y / mean - (y + shape) / whole) * slope, log_zero + (mean - y) / whole, 0.0


@compiled
def normaliser(n, parameters, values, counts, gradient):
    """Σ log Γ(y + shape) − log Γ(shape) over the distinct responses and their counts."""
    total = 0.0
    for i in range(values.shape[0]):
        value, slope, _, _ = rising(parameters[0], values[i])
        total += counts[i] * value
        gradient[0] += counts[i] * slope
    return total


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    shape = parameters[0]
    whole = shape + mean
    a, b = y / mean, (y + shape) / whole
    log_zero = -np.log1p(mean / shape)
    value = shape * log_zero + (y * np.log(mean / whole) if y > 0.0 else 0.0)
    d1, d2, d3 = by_eta(a - b, b / whole - a / mean, 2.0 * (a / mean**2 - b / whole**2), m1, m2, m3)
    away = (y - mean) / whole**2
    s1, s2, _ = by_eta(away, -1.0 / whole**2 - 2.0 * away / whole, 0.0, m1, m2, m3)
    return value, d1, d2, d3, log_zero + (mean - y) / whole, s1, s2, 0.0, 0.0, 0.0


class NegativeBinomial(Poisson):
    """y ~ Negative-Binomial(μ, shape), R's second kind."""

    name = "negbinomial"
    every_parameter: ClassVar[tuple[str, ...]] = ("shape",)
    limited_by: ClassVar[Mapping[str, str]] = {"shape": "poisson"}
    for_zeros: ClassVar[tuple[str, ...]] = ("zero_inflated_negbinomial", "hurdle_negbinomial")
    normaliser_takes_y = True
    log_concave_links = ("log",)
    row, rows, bends, normaliser = row, None, bends, normaliser
    distribution = "Negative-Binomial(μ_i, shape)"
    variance_in_words = "μ_i + μ_i²/shape"

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean + mean**2 / parameters["shape"]

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        shape = parameters["shape"]
        p = shape / (shape + self.mean(eta))
        return stats.nbinom.cdf(y - 1.0, shape, p), stats.nbinom.cdf(y, shape, p)

    def unit_deviance(
        self,
        y: Array,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
    ) -> Array:
        whole = parameters["shape"]
        return 2.0 * (special.xlogy(y, y / mean) - (y + whole) * np.log((y + whole) / (mean + whole)))

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return draw_counts(draw_gamma(self.mean(eta), parameters["shape"], rng, zero=True), rng)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link != "log":
            return super().residual_variance(parameters, fixed, random)
        with np.errstate(all="ignore"):
            extra = 1.0 / parameters["shape"]
        return lognormal_variance(fixed, random, extra), "residual: log(1 + 1/mean + 1/shape)"

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

        return pm.NegativeBinomial("y", mu=self.graph_mean(eta), alpha=parameters["shape"], **options)

    def guess(self, parameter: str, sigma: float) -> float:
        return 1.0

    def default_prior(self, parameter: str, y: Array) -> Default:
        reason = "from strong overdispersion to nearly Poisson"
        return Default("LogNormal", {"mu": 2.0, "sigma": 1.5}, reason)
