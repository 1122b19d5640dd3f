"""Positive responses with variance μ²/shape."""
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
from .links import by_eta, mean_and_slope, mean_bends
from .special import digamma


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without what shape adds whatever η; its derivatives by η and by shape."""
    mean, slope = mean_and_slope(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    shape = parameters[0]
    value = -shape * (np.log(mean) + y / mean) + shape * np.log(y)
    return value, shape * (y / mean - 1.0) / mean * slope, np.log(y / mean) - y / mean, 0.0


@compiled
def normaliser(n, parameters, values, counts, gradient):
    """n (shape log shape − log Γ(shape))."""
    shape = parameters[0]
    gradient[0] += n * (np.log(shape) + 1.0 - digamma(shape))
    return n * (shape * np.log(shape) - lgamma(shape))


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    shape, share = parameters[0], y / mean
    value = -shape * (np.log(mean) + share) + shape * np.log(y)
    f1, f2, f3 = (share - 1.0) / mean, (1.0 - 2.0 * share) / mean**2, (6.0 * share - 2.0) / mean**3
    d1, d2, d3 = by_eta(f1, f2, f3, m1, m2, m3)
    return value, shape * d1, shape * d2, shape * d3, np.log(share) - share, d1, d2, 0.0, 0.0, 0.0


class Gamma(Family):
    """y ~ Gamma(shape, shape/μ).

    The default link is log, not R's canonical one: 1/η is negative for half of the normal random effects.
    """

    name = "gamma"
    links = ("log", "inverse", "identity")
    has_unit_deviance = True
    every_parameter = ("shape",)
    has_free_dispersion = True
    has_positive_mean = True
    log_concave_links = ("log",)
    row, bends, normaliser = row, bends, normaliser
    distribution = "Gamma(shape, shape/μ_i)"
    variance_in_words = "μ_i²/shape"
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
        return mean**2 / (1.0 if unit else parameters["shape"])

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        shape = parameters["shape"]
        below = stats.gamma.cdf(y, shape, scale=self.mean(eta) / shape)
        return below, below

    def unit_deviance(
        self,
        y: Array,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
    ) -> Array:
        return 2.0 * ((y - mean) / mean - np.log(y / mean))

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return draw_gamma(self.mean(eta), parameters["shape"], rng)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link != "log":
            return super().residual_variance(parameters, fixed, random)
        return np.log1p(1.0 / parameters["shape"]) + np.zeros_like(fixed), "residual: log(1 + 1/shape)"

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

        shape = parameters["shape"]
        return pm.Gamma("y", alpha=shape, beta=shape / self.graph_mean(eta), **options)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean**2, 1e-300)

    def guess(self, parameter: str, sigma: float) -> float:
        return 1.0 / sigma**2

    def default_prior(self, parameter: str, y: Array) -> Default:
        reason = "coefficients of variation from 0.07 to 3"
        return Default("LogNormal", {"mu": 1.5, "sigma": 2.0}, reason)


def draw_gamma(mean: Array, shape: Array, rng: Generator, *, zero: bool = False) -> Array:
    """Gamma responses, mean μ and variance μ²/shape; NaN for means that are not positive (``zero`` allows zero)."""
    unit = rng.standard_gamma(np.broadcast_to(shape, mean.shape)) / shape
    unit = np.where(np.isposinf(shape), 1.0, unit)
    possible = (mean >= 0.0) if zero else (mean > 0.0)
    return np.where(possible, np.where(unit == 0.0, 0.0, mean * unit), np.nan)
