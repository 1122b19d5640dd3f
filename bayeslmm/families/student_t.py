"""Student t responses: location μ, scale σ/√w, ν degrees of freedom."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import stats
from .family import Default, Family, Scale
from .gaussian import sigma_prior, weighted
from .links import by_eta, mean_and_slope, mean_bends
from .special import digamma


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without what ν adds whatever η; its derivatives by η, sigma and nu."""
    mean, slope = mean_and_slope(link, eta)
    sigma, nu = parameters[0], parameters[1]
    z = (y - mean) / sigma
    s = weight * z * z / nu
    value = -np.log(sigma) - 0.5 * (nu + 1.0) * np.log1p(s)
    pull = (nu + 1.0) / (1.0 + s) / nu * weight * z
    by_nu = -0.5 * np.log1p(s) + 0.5 * (nu + 1.0) / nu * s / (1.0 + s)
    return value, pull / sigma * slope, (pull * z - 1.0) / sigma, by_nu


@compiled
def normaliser(n, parameters, values, counts, gradient):
    """n log Γ((ν + 1)/2) / (Γ(ν/2) √(νπ)), and its derivative by nu."""
    nu = parameters[1]
    gradient[1] += n * 0.5 * (digamma(0.5 * (nu + 1.0)) - digamma(0.5 * nu) - 1.0 / nu)
    return n * (lgamma(0.5 * (nu + 1.0)) - lgamma(0.5 * nu) - 0.5 * np.log(nu * np.pi))


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    sigma, nu = parameters[0], parameters[1]
    e, scale = y - mean, nu * sigma * sigma
    square = weight * e * e
    B, k = scale + square, (nu + 1.0) * weight
    away = square - scale
    value = -np.log(sigma) - 0.5 * (nu + 1.0) * np.log1p(square / scale)
    d1, d2, d3 = by_eta(k * e / B, k * away / B**2, 2.0 * k * weight * e * (square - 3.0 * scale) / B**3, m1, m2, m3)
    s1, s2, _ = by_eta(
        -2.0 * k * e * nu * sigma / B**2, -2.0 * k * nu * sigma * (3.0 * square - scale) / B**3, 0.0, m1, m2, m3
    )
    variance = sigma * sigma
    n1 = weight * e / B - k * e * variance / B**2
    n2 = weight * away / B**2 - k * variance / B**2 - 2.0 * k * away * variance / B**3
    n1, n2, _ = by_eta(n1, n2, 0.0, m1, m2, m3)
    by_sigma = ((nu + 1.0) * square / B - 1.0) / sigma
    by_nu = -0.5 * np.log1p(square / scale) + 0.5 * (nu + 1.0) / nu * square / B
    return value, d1, d2, d3, by_sigma, s1, s2, by_nu, n1, n2


class StudentT(Family):
    """y ~ Student t(ν, μ, σ/√w)."""

    name = "student_t"
    links = ("identity", "log", "inverse")
    every_parameter = ("sigma", "nu")
    limited_by: ClassVar[Mapping[str, str]] = {"nu": "gaussian"}
    has_residual = True
    has_free_dispersion = True
    has_long_tails = True
    row, bends, normaliser = row, bends, normaliser
    distribution = "Student-t(ν, μ_i, %s)"

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return np.zeros(len(y)) if weights is None else 0.5 * np.log(weights)

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
        if unit:
            return by_weight + np.zeros_like(mean)
        heavy = _variance_of_t(parameters["nu"])
        return parameters["sigma"] ** 2 * heavy * by_weight + np.zeros_like(mean)

    def working_residual_variance(
        self, y: Array, mean: Array, parameters: Mapping[str, Array], *, trials: Array | None, weights: Array | None
    ) -> Array:
        """That of a normal response whose weight falls with its distance from the mean."""
        nu, scale = parameters["nu"], parameters["sigma"] ** 2 / (1.0 if weights is None else weights)
        return scale * (nu + (y - mean) ** 2 / scale) / (nu + 1.0)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        below = stats.t.cdf((y - self.mean(eta)) / parameters["sigma"], parameters["nu"])
        return below, below

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return self.mean(eta) + parameters["sigma"] * rng.standard_t(parameters["nu"])

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link != "identity":
            return super().residual_variance(parameters, fixed, random)
        variance = parameters["sigma"] ** 2 * _variance_of_t(parameters["nu"])
        return variance + np.zeros_like(fixed), "residual: sigma^2 nu/(nu - 2)"

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

        scale = weighted(parameters["sigma"], weights)
        return pm.StudentT("y", nu=parameters["nu"], mu=self.graph_mean(eta), sigma=scale, **options)

    def guess(self, parameter: str, sigma: float) -> float:
        return {"sigma": sigma, "nu": 10.0}[parameter]

    def scale(self, y: Array) -> Scale:
        return Scale(float(np.std(y, ddof=1)), "sd(y)") if self.link == "identity" else super().scale(y)

    def default_prior(self, parameter: str, y: Array) -> Default:
        if parameter == "sigma":
            return sigma_prior(self, y)
        return Default(  # Juárez & Steel (2010)
            "Gamma", {"alpha": 2.0, "beta": 0.1}, "from heavy tails to nearly normal: mostly 2 to 50"
        )


def _variance_of_t(nu: Array) -> Array:
    """ν/(ν − 2), infinite up to ν = 2."""
    return np.divide(nu, nu - 2.0, out=np.full_like(nu, np.inf), where=nu > 2.0)
