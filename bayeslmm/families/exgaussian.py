"""Reaction times: a normal part and an exponential one that is added to it (Luce 1986; Palmer et al. 2011)."""
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
from .gaussian import sigma_prior
from .special import HALF_LOG_2_PI, log_normal_cdf


@compiled
def _hazard(v):
    """log Φ(v) + v²/2, λ = φ(v)/Φ(v) and its first two derivatives."""
    if v > -30.0:
        h = log_normal_cdf(v) + 0.5 * v * v
    else:
        f = 1.0 / (v * v)
        h = np.log1p(-f * (1.0 - f * (3.0 - f * (15.0 - f * 105.0)))) - np.log(-v) - HALF_LOG_2_PI
    hazard = np.exp(-HALF_LOG_2_PI - h)
    first = -hazard * (v + hazard)
    return h, hazard, first, -first * (v + hazard) - hazard * (1.0 + first)


@compiled
def _value(e, v, h, sigma, nu):
    """The log density, from the side where nothing cancels."""
    if v > 0.0:
        return 0.5 * (sigma / nu) ** 2 - e / nu + h - 0.5 * v * v - np.log(nu)
    return h - 0.5 * (e / sigma) ** 2 - np.log(nu)


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density and its derivatives by η, sigma and nu."""
    sigma, nu = parameters[0], parameters[1]
    e = y - eta + nu  # from the mean of the normal part
    v = e / sigma - sigma / nu
    h, hazard, _, _ = _hazard(v)
    by_sigma = sigma / nu**2 - hazard * (e / sigma**2 + 1.0 / nu)
    by_nu = (e / nu - 2.0 - (sigma / nu) ** 2) / nu + hazard * (1.0 / sigma + sigma / nu**2)
    return _value(e, v, h, sigma, nu), 1.0 / nu - hazard / sigma, by_sigma, by_nu


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    sigma, nu = parameters[0], parameters[1]
    e = y - eta + nu
    v = e / sigma - sigma / nu
    h, hazard, first, second = _hazard(v)
    v_sigma, v_nu = -e / sigma**2 - 1.0 / nu, 1.0 / sigma + sigma / nu**2
    d1, d2, d3 = 1.0 / nu - hazard / sigma, first / sigma**2, -second / sigma**3
    by_sigma, by_nu = sigma / nu**2 + hazard * v_sigma, (e / nu - 2.0 - (sigma / nu) ** 2) / nu + hazard * v_nu
    s1, s2 = hazard / sigma**2 - first * v_sigma / sigma, second * v_sigma / sigma**2 - 2.0 * first / sigma**3
    n1, n2 = -1.0 / nu**2 - first * v_nu / sigma, second * v_nu / sigma**2
    return _value(e, v, h, sigma, nu), d1, d2, d3, by_sigma, s1, s2, by_nu, n1, n2


class ExGaussian(Family):
    """y ~ Normal(μ − ν, σ) + Exponential with mean ν: μ is the mean of y, as in brms."""

    name = "exgaussian"
    links = ("identity",)
    every_parameter = ("sigma", "nu")
    limited_by: ClassVar[Mapping[str, str]] = {"nu": "gaussian"}
    limit_at_zero = frozenset({"nu"})
    without_dispersion = (
        "this is no perfect fit. The rows are few, or pile up at their least values, so that the likelihood is highest "
        "where the normal part is gone and an exponential one begins at each row's lower end; there it has no smooth "
        "maximum, or no bound. Fix sigma, as priors={'sigma': 0.02}, or take fit(), whose prior keeps it away from "
        "zero, or family='gamma' or 'lognormal'."
    )
    has_free_dispersion = True
    log_concave_links = ("identity",)
    row, bends = row, bends
    distribution = "Normal(μ_i - ν, σ) + Exponential(mean ν)"
    variance_in_words = "σ² + ν²"

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        whole = parameters["sigma"] ** 2 + parameters["nu"] ** 2
        return np.ones_like(mean) if unit else whole + np.zeros_like(mean)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        sigma, nu = parameters["sigma"], parameters["nu"]
        e = y - eta + nu
        v = e / sigma - sigma / nu
        with np.errstate(over="ignore", under="ignore"):
            tail = np.exp(0.5 * (sigma / nu) ** 2 - e / nu + special.log_ndtr(v))
        below = np.clip(special.ndtr(e / sigma) - tail, 0.0, 1.0)
        return below, below

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        normal = eta - parameters["nu"] + parameters["sigma"] * rng.standard_normal(eta.shape)
        return normal + parameters["nu"] * rng.standard_exponential(eta.shape)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return parameters["sigma"] ** 2 + parameters["nu"] ** 2 + np.zeros_like(fixed), "residual: sigma^2 + nu^2"

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

        sigma, nu = parameters["sigma"], parameters["nu"]
        return pm.ExGaussian("y", mu=eta - nu, sigma=sigma, nu=nu, **options)

    def guess(self, parameter: str, sigma: float) -> float:
        return 0.7 * sigma

    def scale(self, y: Array) -> Scale:
        return Scale(float(np.std(y, ddof=1)), "sd(y)")

    def default_prior(self, parameter: str, y: Array) -> Default:
        return sigma_prior(self, y)
