"""Ordered categories 0, ..., K − 1: P(y ≤ k) = F(cutpoint_k − η), a cumulative model."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.compiling import compiled
from .binomial import latent_variance
from .family import Default, Family, no_moments
from .links import LINKS, LOGIT, PROBABILITY_LINKS, log_cdf, log_survival, score


@compiled
def category(link, k, last, eta, cutpoints):
    """log P(y = k), and its derivatives by the cutpoints above and below k."""
    if k == 0:
        value, slope = log_cdf(link, cutpoints[0] - eta)
        return value, slope, 0.0
    if k == last:
        value, slope = log_survival(link, cutpoints[last - 1] - eta)
        return value, 0.0, slope
    upper, lower = cutpoints[k] - eta, cutpoints[k - 1] - eta
    if link == LOGIT:  # F(u) − F(l) = F(u) (1 − F(l)) (1 − e^(l − u))
        log_u, by_u = log_cdf(link, upper)
        log_l, by_l = log_survival(link, lower)
        apart = np.expm1(upper - lower)
        return log_u + log_l - np.log1p(1.0 / apart), by_u + 1.0 / apart, by_l - 1.0 / apart
    if upper + lower < 0.0:
        log_u, by_u = log_cdf(link, upper)
        log_l, by_l = log_cdf(link, lower)
        value = log_u + np.log(-np.expm1(log_l - log_u))
        return value, by_u * np.exp(log_u - value), -by_l * np.exp(log_l - value)
    log_u, by_u = log_survival(link, upper)
    log_l, by_l = log_survival(link, lower)
    value = log_l + np.log(-np.expm1(log_u - log_l))
    return value, -by_u * np.exp(log_u - value), by_l * np.exp(log_l - value)


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density; its derivatives by η and by the cutpoints above and below the category."""
    value, above, below = category(link, int(y), parameters.shape[0], eta, parameters)
    return value, -(above + below), above, below


@compiled
def rows(link, y, trials, weights, eta, parameters, by_eta, gradient):
    """Each row's derivatives go to the cutpoints around its category."""
    total = 0.0
    for i in range(y.shape[0]):
        k = int(y[i])
        value, above, below = category(link, k, parameters.shape[0], eta[i], parameters)
        by_eta[i] = -(above + below)
        total += value
        if k < parameters.shape[0]:
            gradient[k] += above
        if k > 0:
            gradient[k - 1] += below
    return total


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    k, last = int(y), parameters.shape[0]
    value, above, below = category(link, k, last, eta, parameters)
    g_u = g_u1 = g_l = g_l1 = 0.0
    if k < last:
        g_u, g_u1 = score(link, parameters[k] - eta)
    if k > 0:
        g_l, g_l1 = score(link, parameters[k - 1] - eta)
    # moving both cutpoints by one number is moving −η: s and its derivatives along that
    s = above + below
    above1, below1 = above * (g_u - s), below * (g_l - s)
    s1 = above1 + below1
    above2 = above1 * (g_u - s) + above * (g_u1 - s1)
    below2 = below1 * (g_l - s) + below * (g_l1 - s1)
    return value, -s, s1, -(above2 + below2), above, -above1, above2, below, -below1, below2


class Ordinal(Family):
    """Categories of a latent variable cut at K − 1 points."""

    name = "ordinal"
    links = PROBABILITY_LINKS
    every_parameter = ("cutpoint",)
    positive_parameters = False
    has_mean = False
    has_categories = True
    is_discrete = True
    log_concave_links = ("logit", "probit", "cloglog")
    row, rows, bends = row, rows, bends

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        """The probabilities of the categories (..., n, K)."""
        below = self.mean(parameters["cutpoint"][..., None, :] - eta[..., None])
        edges = np.zeros((*below.shape[:-1], 1))
        return np.diff(np.concatenate([edges, below, edges + 1.0], axis=-1), axis=-1)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        raise no_moments("residuals")

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        cutpoints = parameters["cutpoint"]
        edges = np.pad(cutpoints, [(0, 0)] * (cutpoints.ndim - 1) + [(1, 1)], constant_values=((-np.inf, np.inf),))
        k = y.astype(np.int64)
        return self.mean(edges[..., k] - eta), self.mean(edges[..., k + 1] - eta)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        """The number of cutpoints below a latent variable."""
        cutpoints, uniform = parameters["cutpoint"], rng.random(eta.shape)
        drawn = np.zeros(eta.shape)
        for k in range(cutpoints.shape[-1]):
            drawn += uniform > self.mean(cutpoints[..., k, None] - eta)
        return np.where(np.isnan(eta), np.nan, drawn)

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

        cutpoints = parameters["cutpoint"]  # elementwise: pm.Categorical would compile for half a minute
        return pm.CustomDist(
            "y",
            eta,
            *[cutpoints[k] for k in range(len(categories) - 1)],
            logp=partial(_log_density, self.link, categories),
            dist=partial(_draw, self.link, categories),
            **options,
        )

    def centre(self, y: Array, trials: Array | None) -> float:
        return 0.0

    def default_prior(self, parameter: str, y: Array) -> Default:
        scale = self.scale(y)
        reason = f"{scale.times(2.5)}; in order; centred predictors"
        return Default("Normal", {"mu": 0.0, "sigma": 2.5 * scale.value}, reason)


def _log_density(link: str, numbers: Array, value: Any, eta: Any, *cutpoints: Any) -> Any:
    """log P(y = k) = log(F(c_k − η) − F(c_{k−1} − η)) of categories that these numbers stand for."""
    import pytensor.tensor as pt

    mean = LINKS[link].graph
    # as whole numbers: a sum of comparisons may become a logical or
    code: Any = sum(pt.cast(pt.ge(value, number), "int64") for number in numbers[1:])

    def cutpoint(k: Any) -> Any:
        chosen = cutpoints[0]
        for number, other in enumerate(cutpoints[1:], start=1):
            chosen = pt.switch(pt.ge(k, number), other, chosen)
        return chosen

    up_to = pt.switch(pt.eq(code, len(cutpoints)), 1.0, mean(cutpoint(code) - eta))
    below = pt.switch(pt.eq(code, 0), 0.0, mean(cutpoint(code - 1) - eta))
    return pt.log(up_to - below)


def _draw(link: str, numbers: Array, *inputs: Any) -> Any:
    """The category below whose cutpoint a uniform number lies; as a graph, which PyMC compiles."""
    import pymc as pm
    import pytensor.tensor as pt

    eta, *cutpoints, _ = inputs
    uniform, mean = pm.Uniform.dist(0.0, 1.0, size=eta.shape), LINKS[link].graph
    drawn: Any = np.asarray(numbers[0])
    for cutpoint, below, above in zip(cutpoints, numbers, numbers[1:], strict=False):
        drawn = drawn + (above - below) * pt.cast(pt.gt(uniform, mean(cutpoint - eta)), numbers.dtype.name)
    return drawn
