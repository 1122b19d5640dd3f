"""Binary and binomial responses: y of m trials succeed, each with probability μ."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special, stats
from .family import Family
from .links import LINKS, LOGIT, PROBABILITY_LINKS, log_cdf, log_cdf_bends, log_survival, log_survival_bends

LARGEST_PRODUCT = 1e250  # of factors 1 + exp(−|η|), before its log is taken


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without the binomial coefficient, and its derivative by η."""
    log_p, up = log_cdf(link, eta)
    log_q, down = log_survival(link, eta)
    failures = trials - y
    value = (y * log_p if y > 0.0 else 0.0) + (failures * log_q if failures > 0.0 else 0.0)
    return value, (y * up if y > 0.0 else 0.0) + (failures * down if failures > 0.0 else 0.0), 0.0, 0.0


@compiled
def rows(link, y, trials, weights, eta, parameters, by_eta, gradient):
    """With the logit link, the log of a product of many factors costs one logarithm."""
    n, total = y.shape[0], 0.0
    if link == LOGIT:
        product = 1.0
        for i in range(n):
            e = np.exp(-abs(eta[i]))
            p = 1.0 / (1.0 + e) if eta[i] >= 0.0 else e / (1.0 + e)
            total += y[i] * eta[i] - trials[i] * max(eta[i], 0.0)
            by_eta[i] = y[i] - trials[i] * p
            if trials[i] == 1.0:
                product *= 1.0 + e
                if product > LARGEST_PRODUCT:
                    total -= np.log(product)
                    product = 1.0
            else:
                total -= trials[i] * np.log1p(e)
        return total - np.log(product)
    for i in range(n):
        value, by_eta[i], _, _ = row(link, y[i], trials[i], weights[i], eta[i], parameters)
        total += value
    return total


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    failures = trials - y
    if link == LOGIT:
        e = np.exp(-abs(eta))
        p = 1.0 / (1.0 + e) if eta >= 0.0 else e / (1.0 + e)
        value = y * eta - trials * (max(eta, 0.0) + np.log1p(e))
        d2 = -trials * e / (1.0 + e) ** 2
        return value, y - trials * p, d2, d2 * (1.0 - 2.0 * p), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    value = d1 = d2 = d3 = 0.0
    if y > 0.0:
        up, u1, u2, u3 = log_cdf_bends(link, eta)
        value, d1, d2, d3 = y * up, y * u1, y * u2, y * u3
    if failures > 0.0:
        down, u1, u2, u3 = log_survival_bends(link, eta)
        value, d1 = value + failures * down, d1 + failures * u1
        d2, d3 = d2 + failures * u2, d3 + failures * u3
    return value, d1, d2, d3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


class Binomial(Family):
    """y successes of m trials."""

    name = "binomial"
    has_unit_deviance = True
    links = PROBABILITY_LINKS
    has_trials = True
    is_discrete = True
    log_concave_links = ("logit", "probit", "cloglog")
    row, rows, bends = row, rows, bends
    distribution = "Binomial(%s, p_i)"
    mean_symbol = "p_i"
    needs = "proportions between 0 and 1"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y < 0.0) | (y > 1.0)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        m = np.asarray(trials)
        return special.gammaln(m + 1.0) - special.gammaln(y + 1.0) - special.gammaln(m - y + 1.0)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean * (1.0 - mean) / (1.0 if trials is None else trials)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        m, mean = np.ones(np.shape(y)) if trials is None else trials, self.mean(eta)
        return stats.binom.cdf(y - 1.0, m, mean), stats.binom.cdf(y, m, mean)

    def unit_deviance(
        self,
        y: Array,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
    ) -> Array:
        m = 1.0 if trials is None else trials
        return 2.0 * m * (special.xlogy(y, y / mean) + special.xlogy(1.0 - y, (1.0 - y) / (1.0 - mean)))

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean = self.mean(eta)
        possible = ~np.isnan(mean)
        number = np.broadcast_to(np.ones(1) if trials is None else trials, mean.shape).astype(np.int64)
        drawn = rng.binomial(number, np.where(possible, mean, 0.5))
        return np.where(possible, drawn, np.nan)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return latent_variance(self.link, fixed)

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

        if self.link == "logit":
            return pm.Binomial("y", n=trials, logit_p=eta, **options)
        return pm.Binomial("y", n=trials, p=self.graph_mean(eta), **options)

    def start(self, y: Array, trials: Array) -> Array:
        return (trials * y + 0.5) / (trials + 1.0)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean * (1.0 - mean), 1e-10)

    def centre(self, y: Array, trials: Array | None) -> float:
        total = len(y) if trials is None else trials.sum()
        return float(self.eta((y.sum() + 0.5) / (total + 1.0)))


def latent_variance(link: str, fixed: Array) -> tuple[Array | None, str]:
    """That of the variable behind the threshold: π²/3 for logit, 1 for probit, π²/6 for cloglog."""
    words = LINKS[link].latent_variance
    if not words:
        return None, "a Cauchy variable has no variance"
    return np.full(np.shape(fixed), LINKS[link].latent_sd ** 2), f"latent residual: {words}"
