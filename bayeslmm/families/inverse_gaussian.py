"""Positive responses with a long right tail: variance μ³/shape."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import stats
from .family import Default, Family
from .links import by_eta, mean_and_slope, mean_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without what hangs on y alone; its derivatives by η and by shape."""
    mean, slope = mean_and_slope(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    shape = parameters[0]
    away = (y - mean) / mean
    squares = away * away / y
    return (
        0.5 * np.log(shape) - 0.5 * shape * squares,
        shape * away / mean**2 * slope,
        0.5 / shape - 0.5 * squares,
        0.0,
    )


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    shape = parameters[0]
    away = (y - mean) / mean
    squares = away * away / y
    f1, f2 = away / mean**2, (2.0 * mean - 3.0 * y) / mean**4
    d1, d2, d3 = by_eta(f1, f2, (12.0 * y - 6.0 * mean) / mean**5, m1, m2, m3)
    value = 0.5 * np.log(shape) - 0.5 * shape * squares
    return value, shape * d1, shape * d2, shape * d3, 0.5 / shape - 0.5 * squares, d1, d2, 0.0, 0.0, 0.0


class InverseGaussian(Family):
    """y ~ Inverse-Gaussian(μ, shape), the time a drifting Brownian motion needs to reach a line (PyMC's Wald)."""

    name = "inverse_gaussian"
    links = ("log", "inverse", "identity")
    has_unit_deviance = True
    every_parameter = ("shape",)
    has_free_dispersion = True
    has_positive_mean = True
    row, bends = row, bends
    distribution = "Inverse-Gaussian(μ_i, shape)"
    variance_in_words = "μ_i³/shape"
    needs = "numbers above zero"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return np.asarray(y <= 0.0)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return -0.5 * np.log(2.0 * np.pi) - 1.5 * np.log(y)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean**3 / (1.0 if unit else parameters["shape"])

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        shape = parameters["shape"]
        below = stats.invgauss.cdf(y, self.mean(eta) / shape, scale=shape)
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
        return (y - mean) ** 2 / (mean**2 * y)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean = self.mean(eta)
        possible = (mean > 0.0) & np.isfinite(mean)
        return np.where(possible, rng.wald(np.where(possible, mean, 1.0), parameters["shape"]), np.nan)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        """That of log y where y has this mean and variance and is taken for log-normal."""
        if self.link != "log":
            return super().residual_variance(parameters, fixed, random)
        with np.errstate(over="ignore"):
            return np.log1p(np.exp(fixed + random / 2.0) / parameters["shape"]), "residual: log(1 + mean/shape)"

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

        return pm.Wald("y", mu=self.graph_mean(eta), lam=parameters["shape"], **options)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean**3, 1e-300)

    def guess(self, parameter: str, sigma: float) -> float:
        return 1.0 / sigma**2

    def default_prior(self, parameter: str, y: Array) -> Default:
        """Variance over mean² is μ/shape: that of gamma responses, in the units of the response."""
        reason = f"mean(y) = {y.mean():.3g} times 0.1 to 200: coefficients of variation from 0.07 to 3"
        return Default("LogNormal", {"mu": 1.5 + np.log(y.mean()), "sigma": 2.0}, reason)
