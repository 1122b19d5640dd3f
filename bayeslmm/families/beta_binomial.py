"""Successes of m trials whose probability varies from row to row as Beta(μφ, (1 − μ)φ)."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import stats
from .binomial import Binomial
from .family import Default, Family
from .links import by_eta, log_survival, mean_and_slope, mean_bends
from .special import rising


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without the binomial coefficient; its derivatives by η and by phi."""
    mean, slope = mean_and_slope(link, eta)
    complement = np.exp(log_survival(link, eta)[0])  # 1 − μ without cancellation
    if not min(mean, complement) > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    phi = parameters[0]
    up, up1, _, _ = rising(mean * phi, y)
    down, down1, _, _ = rising(complement * phi, trials - y)
    all_, all1, _, _ = rising(phi, trials)
    return up + down - all_, phi * (up1 - down1) * slope, mean * up1 + complement * down1 - all1, 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    complement = np.exp(log_survival(link, eta)[0])
    if not min(mean, complement) > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    phi = parameters[0]
    up, up1, up2, up3 = rising(mean * phi, y)
    down, down1, down2, down3 = rising(complement * phi, trials - y)
    all_, all1, _, _ = rising(phi, trials)
    d1, d2, d3 = by_eta(phi * (up1 - down1), phi**2 * (up2 + down2), phi**3 * (up3 - down3), m1, m2, m3)
    s1 = up1 - down1 + phi * (mean * up2 - complement * down2)
    s2 = 2.0 * phi * (up2 + down2) + phi**2 * (mean * up3 + complement * down3)
    s1, s2, _ = by_eta(s1, s2, 0.0, m1, m2, m3)
    return up + down - all_, d1, d2, d3, mean * up1 + complement * down1 - all1, s1, s2, 0.0, 0.0, 0.0


class BetaBinomial(Binomial):
    """y successes of m trials, whose probability is Beta(μφ, (1 − μ)φ) in every row."""

    name = "beta_binomial"
    has_unit_deviance = False
    every_parameter = ("phi",)
    limited_by: ClassVar[Mapping[str, str]] = {"phi": "binomial"}
    row, rows, bends = row, None, bends
    distribution = "Beta-Binomial(%s, p_i φ, (1 - p_i) φ)"
    variance_in_words = "p_i (1 - p_i)/m_i (1 + (m_i - 1)/(1 + φ))"

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        of_one = mean * (1.0 - mean)
        if trials is None:
            return of_one
        return of_one / trials * (1.0 + (trials - 1.0) / (1.0 + parameters["phi"]))

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        m, mean, phi = np.ones(np.shape(y)) if trials is None else trials, self.mean(eta), parameters["phi"]
        a, b = mean * phi, (1.0 - mean) * phi
        return stats.betabinom.cdf(y - 1.0, m, a, b), stats.betabinom.cdf(y, m, a, b)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean, phi = self.mean(eta), parameters["phi"]
        a, b = mean * phi, (1.0 - mean) * phi
        inside = (a > 0.0) & (b > 0.0)
        p = np.where(inside, rng.beta(np.where(inside, a, 1.0), np.where(inside, b, 1.0)), mean)
        number = np.broadcast_to(np.ones(1) if trials is None else trials, mean.shape).astype(np.int64)
        return np.where(np.isnan(p), np.nan, rng.binomial(number, np.where(np.isnan(p), 0.5, p)))

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return Family.residual_variance(self, parameters, fixed, random)

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
        return pm.BetaBinomial("y", n=trials, alpha=mean * phi, beta=(1.0 - mean) * phi, **options)

    def guess(self, parameter: str, sigma: float) -> float:
        return 10.0

    def default_prior(self, parameter: str, y: Array) -> Default:
        return Default("LogNormal", {"mu": 3.0, "sigma": 1.5}, "probabilities known as from 1 to 400 trials")
