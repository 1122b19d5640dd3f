"""Waiting times: mean μ, hazard that falls (shape < 1) or rises with time."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special
from .family import Default, Family
from .special import digamma


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without −log y; its derivatives by η and by shape."""
    shape = parameters[0]
    away = np.log(y) - eta + lgamma(1.0 + 1.0 / shape)  # log of y over the scale
    t = np.exp(shape * away)  # cumulative hazard
    by_shape = away - digamma(1.0 + 1.0 / shape) / shape
    return np.log(shape) + shape * away - t, shape * (t - 1.0), 1.0 / shape + by_shape * (1.0 - t), 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    shape = parameters[0]
    away = np.log(y) - eta + lgamma(1.0 + 1.0 / shape)
    t = np.exp(shape * away)
    by_shape = away - digamma(1.0 + 1.0 / shape) / shape
    d1, d2, d3 = shape * (t - 1.0), -(shape**2) * t, shape**3 * t
    s1, s2 = t - 1.0 + by_shape * shape * t, -shape * t * (2.0 + by_shape * shape)
    value = np.log(shape) + shape * away - t
    return value, d1, d2, d3, 1.0 / shape + by_shape * (1.0 - t), s1, s2, 0.0, 0.0, 0.0


class Weibull(Family):
    """y ~ Weibull(shape, μ/Γ(1 + 1/shape)): μ is the mean, as in brms."""

    name = "weibull"
    links = ("log",)
    every_parameter = ("shape",)
    narrow = 40.0
    has_free_dispersion = True
    has_positive_mean = True
    row, bends = row, bends
    distribution = "Weibull(shape, μ_i/Γ(1 + 1/shape))"
    variance_in_words = "μ_i² (Γ(1 + 2/shape)/Γ(1 + 1/shape)² - 1)"
    needs = "numbers above zero"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return np.asarray(y <= 0.0)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return -np.log(y)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        if unit:
            return mean**2
        shape = parameters["shape"]
        square = special.gammaln(1.0 + 2.0 / shape) - 2.0 * special.gammaln(1.0 + 1.0 / shape)
        return mean**2 * np.expm1(square)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        shape = parameters["shape"]
        with np.errstate(over="ignore"):
            below = -np.expm1(-np.exp(shape * (np.log(y) - eta + special.gammaln(1.0 + 1.0 / shape))))
        return below, below

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        shape = parameters["shape"]
        return np.exp(eta - special.gammaln(1.0 + 1.0 / shape)) * rng.weibull(np.broadcast_to(shape, eta.shape))

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        """That of log y around its mean, which is exact."""
        variance = np.pi**2 / 6.0 / parameters["shape"] ** 2
        return variance + np.zeros_like(fixed), "residual: pi^2/(6 shape^2)"

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
        import pytensor.tensor as pt

        shape = parameters["shape"]
        return pm.Weibull("y", alpha=shape, beta=self.graph_mean(eta) / pt.gamma(1.0 + 1.0 / shape), **options)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean**2, 1e-300)

    def guess(self, parameter: str, sigma: float) -> float:
        return float(sigma**-1.086)  # from the coefficient of variation, to some per cent

    def default_prior(self, parameter: str, y: Array) -> Default:
        return Default("LogNormal", {"mu": 0.7, "sigma": 1.0}, "coefficients of variation from 0.09 to 6")
