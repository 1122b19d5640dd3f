"""Shares strictly between 0 and 1, with variance μ (1 − μ)/(1 + φ)."""
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
from ..tools.lazy import stats
from .family import Default, Family
from .links import PROBABILITY_LINKS, by_eta, log_survival, mean_and_slope, mean_bends
from .special import digamma, tetragamma, trigamma


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without log Γ(φ); its derivatives by η and by phi."""
    mean, slope = mean_and_slope(link, eta)
    complement = np.exp(log_survival(link, eta)[0])  # 1 − μ without cancellation
    if not min(mean, complement) > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    phi = parameters[0]
    a, b = mean * phi, complement * phi
    log_y, log_n = np.log(y), np.log1p(-y)
    psi_a, psi_b = digamma(a), digamma(b)
    value = -lgamma(a) - lgamma(b) + a * log_y + b * log_n
    by_phi = mean * (log_y - psi_a) + complement * (log_n - psi_b)
    return value, phi * (log_y - log_n - psi_a + psi_b) * slope, by_phi, 0.0


@compiled
def normaliser(n, parameters, values, counts, gradient):
    """n log Γ(φ)."""
    phi = parameters[0]
    gradient[0] += n * digamma(phi)
    return n * lgamma(phi)


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    complement = np.exp(log_survival(link, eta)[0])
    if not min(mean, complement) > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    phi = parameters[0]
    a, b = mean * phi, complement * phi
    log_y, log_n = np.log(y), np.log1p(-y)
    psi_a, psi_b, tri_a, tri_b = digamma(a), digamma(b), trigamma(a), trigamma(b)
    tetra_a, tetra_b = tetragamma(a), tetragamma(b)
    away = log_y - log_n - psi_a + psi_b
    value = -lgamma(a) - lgamma(b) + a * log_y + b * log_n
    d1, d2, d3 = by_eta(phi * away, -phi * phi * (tri_a + tri_b), phi**3 * (tetra_b - tetra_a), m1, m2, m3)
    s1 = away + phi * (complement * tri_b - mean * tri_a)
    s2 = -2.0 * phi * (tri_a + tri_b) - phi * phi * (mean * tetra_a + complement * tetra_b)
    s1, s2, _ = by_eta(s1, s2, 0.0, m1, m2, m3)
    by_phi = mean * (log_y - psi_a) + complement * (log_n - psi_b)
    return value, d1, d2, d3, by_phi, s1, s2, 0.0, 0.0, 0.0


class Beta(Family):
    """y ~ Beta(μφ, (1 − μ)φ)."""

    name = "beta"
    links = PROBABILITY_LINKS
    every_parameter = ("phi",)
    has_free_dispersion = True
    row, bends, normaliser = row, bends, normaliser
    distribution = "Beta(μ_i φ, (1 - μ_i) φ)"
    variance_in_words = "μ_i (1 - μ_i)/(1 + φ)"
    needs = "numbers strictly between 0 and 1"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y <= 0.0) | (y >= 1.0)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return -np.log(y) - np.log1p(-y)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean * (1.0 - mean) / (1.0 + parameters["phi"])

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        mean, phi = self.mean(eta), parameters["phi"]
        below = stats.beta.cdf(y, mean * phi, (1.0 - mean) * phi)
        return below, below

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean, phi = self.mean(eta), parameters["phi"]
        a, b = mean * phi, (1.0 - mean) * phi
        inside = (a > 0.0) & (b > 0.0)
        drawn = rng.beta(np.where(inside, a, 1.0), np.where(inside, b, 1.0))
        return np.where(inside, drawn, mean)  # means that round to 0 or 1 are the response

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link == "cauchit":
            return None, "a Cauchy variable has no variance"
        return super().residual_variance(parameters, fixed, random)

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

        mean, phi = self.graph_mean(eta), parameters["phi"]
        return pm.Beta("y", alpha=mean * phi, beta=(1.0 - mean) * phi, **options)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean * (1.0 - mean), 1e-10)

    def guess(self, parameter: str, sigma: float) -> float:
        return max(1.0 / sigma**2 - 1.0, 1.0)

    def default_prior(self, parameter: str, y: Array) -> Default:
        return Default("LogNormal", {"mu": 3.0, "sigma": 1.5}, "a precision as of 1 to 400 trials")
