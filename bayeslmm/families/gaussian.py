"""Normal responses: y ~ Normal(μ, σ/√w)."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special
from .family import Default, Family, Scale
from .links import IDENTITY, by_eta, mean_and_slope, mean_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density and its derivatives by η and by sigma."""
    mean, slope = mean_and_slope(link, eta)
    sigma = parameters[0]
    z = (y - mean) / sigma
    value = -np.log(sigma) - 0.5 * weight * z * z
    return value, weight * z / sigma * slope, (weight * z * z - 1.0) / sigma, 0.0


@compiled
def rows(link, y, trials, weights, eta, parameters, by_eta, gradient):
    """With the identity link, one logarithm for all rows."""
    n, total = y.shape[0], 0.0
    if link == IDENTITY:
        squares, precision = 0.0, 1.0 / (parameters[0] * parameters[0])
        for i in range(n):
            e = y[i] - eta[i]
            squares += weights[i] * e * e
            by_eta[i] = weights[i] * e * precision
        gradient[0] += (squares * precision - n) / parameters[0]
        return -n * np.log(parameters[0]) - 0.5 * squares * precision
    for i in range(n):
        value, by_eta[i], by_sigma, _ = row(link, y[i], trials[i], weights[i], eta[i], parameters)
        total += value
        gradient[0] += by_sigma
    return total


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    sigma = parameters[0]
    e, precision = y - mean, weight / parameters[0] ** 2
    d1, d2, d3 = by_eta(precision * e, -precision, 0.0, m1, m2, m3)
    scale = -2.0 / sigma  # of what sigma does to derivatives by η
    squares = precision * e * e
    value = -np.log(sigma) - 0.5 * squares
    return value, d1, d2, d3, (squares - 1.0) / sigma, scale * d1, scale * d2, 0.0, 0.0, 0.0


class Gaussian(Family):
    """y ~ Normal(μ, σ/√w)."""

    name = "gaussian"
    links: ClassVar[tuple[str, ...]] = ("identity", "log", "inverse")
    has_unit_deviance = True
    every_parameter: ClassVar[tuple[str, ...]] = ("sigma",)
    has_residual = True
    has_free_dispersion = True
    has_normal_scores = True
    row, rows, bends = row, rows, bends
    distribution = "Normal(μ_i, %s)"

    @property
    def is_normal(self) -> bool:  # noqa: D102
        return self.link == "identity"

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return np.zeros(len(y)) - 0.5 * np.log(2.0 * np.pi) + 0.5 * np.log(_ones(weights, y))

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        by_weight = 1.0 if weights is None else 1.0 / weights
        return (1.0 if unit else parameters["sigma"] ** 2) * by_weight + np.zeros_like(mean)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        below = special.ndtr((y - self.mean(eta)) / parameters["sigma"])
        return below, below

    def normal_scores(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator
    ) -> Array:
        return (self.working_response(y) - self.mean(eta)) / parameters["sigma"]

    def unit_deviance(
        self,
        y: Array,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
    ) -> Array:
        return (y - mean) ** 2 * (1.0 if weights is None else weights)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean = self.mean(eta)
        return mean + parameters["sigma"] * rng.standard_normal(mean.shape)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link != "identity":
            return super().residual_variance(parameters, fixed, random)
        return parameters["sigma"] ** 2 + np.zeros_like(fixed), "residual: sigma^2"

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

        return pm.Normal("y", self.graph_mean(eta), weighted(parameters["sigma"], weights), **options)

    def guess(self, parameter: str, sigma: float) -> float:
        return sigma

    def scale(self, y: Array) -> Scale:
        return Scale(float(np.std(y, ddof=1)), "sd(y)") if self.link == "identity" else super().scale(y)

    def default_prior(self, parameter: str, y: Array) -> Default:
        return sigma_prior(self, y)


def sigma_prior(family: Family, y: Array) -> Default:
    """The default of a residual sd: as large as the response's sd, with a heavy tail."""
    scale = family.scale(y) if family.link == "identity" else Scale(float(np.std(y, ddof=1)), "sd(y)")
    return Default("HalfStudentT", {"nu": 3.0, "sigma": scale.value}, scale.times(1.0))


def weighted(sigma: Any, weights: Array | None) -> Any:
    """The residual sd of each row."""
    return sigma if weights is None else sigma / weights**0.5


def _ones(weights: Array | None, y: Array) -> Array:
    return np.ones(len(y)) if weights is None else weights
