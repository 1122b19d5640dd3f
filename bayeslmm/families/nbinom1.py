"""Counts with variance μ (1 + φ)."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import stats
from .family import Default, Family
from .links import by_eta, mean_and_slope, mean_bends
from .poisson import Poisson, draw_counts
from .special import rising


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without log y!; its derivatives by η and by phi."""
    mean, slope = mean_and_slope(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    phi = parameters[0]
    r, more = mean / phi, np.log1p(phi)
    value, first, _, _ = rising(r, y)
    by_r = first - more
    value += y * (np.log(phi) - more) - r * more
    by_phi = (y / phi - r) / (1.0 + phi) - r * by_r / phi
    return value, by_r / phi * slope, by_phi, 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    phi = parameters[0]
    r, more = mean / phi, np.log1p(phi)
    value, first, second, third = rising(r, y)
    by_r = first - more
    value += y * (np.log(phi) - more) - r * more
    d1, d2, d3 = by_eta(by_r / phi, second / phi**2, third / phi**3, m1, m2, m3)
    by_phi = (y / phi - r) / (1.0 + phi) - r * by_r / phi
    s1 = -(by_r + r * second) / phi**2 - 1.0 / (phi * (1.0 + phi))
    s1, s2, _ = by_eta(s1, -(2.0 * second + r * third) / phi**3, 0.0, m1, m2, m3)
    return value, d1, d2, d3, by_phi, s1, s2, 0.0, 0.0, 0.0


class NegativeBinomial1(Poisson):
    """y ~ Negative-Binomial(μ, μ/phi), the first kind: a variance proportional to the mean (glmmTMB's nbinom1)."""

    name = "nbinom1"
    has_unit_deviance = False
    every_parameter = ("phi",)
    limited_by: ClassVar[Mapping[str, str]] = {"phi": "poisson"}
    limit_at_zero: ClassVar[frozenset[str]] = frozenset({"phi"})
    row, rows, bends = row, None, bends
    distribution = "Negative-Binomial(μ_i, μ_i/φ)"
    variance_in_words = "μ_i (1 + φ)"

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean * (1.0 + parameters["phi"])

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        phi = parameters["phi"]
        r, p = self.mean(eta) / phi, 1.0 / (1.0 + phi)
        return stats.nbinom.cdf(y - 1.0, r, p), stats.nbinom.cdf(y, r, p)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean, phi = self.mean(eta), parameters["phi"]
        rate = rng.standard_gamma(np.maximum(mean, 0.0) / phi) * phi
        return draw_counts(np.where(mean >= 0.0, rate, np.nan), rng)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        if self.link != "log":
            return Family.residual_variance(self, parameters, fixed, random)
        with np.errstate(all="ignore"):
            return np.log1p(
                (1.0 + parameters["phi"]) * np.exp(-(fixed + random / 2.0))
            ), "residual: log(1 + (1 + phi)/mean)"

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

        mean = self.graph_mean(eta)
        return pm.NegativeBinomial("y", mu=mean, alpha=mean / parameters["phi"], **options)

    def guess(self, parameter: str, sigma: float) -> float:
        return max(sigma**2 - 1.0, 0.1)

    def default_prior(self, parameter: str, y: Array) -> Default:
        return Default("LogNormal", {"mu": 0.0, "sigma": 1.5}, "variances of 1.05 to 20 times the mean")
