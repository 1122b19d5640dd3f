"""Links η = g(μ): each is one entry of `LINKS`, for arrays and for PyMC's graphs, and one branch of the compiled loops.

Names are R's.  The links of probabilities are the quantile functions of a variable behind a threshold.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc
from typing import Any

import numpy as np

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special

PROBABILITY_LINKS: tuple[str, ...] = ("logit", "probit", "cloglog", "cauchit")
COUNT_LINKS: tuple[str, ...] = ("log", "sqrt", "identity")
# positions in LINKS, for the compiled loops
IDENTITY, LOG, INVERSE, SQRT, LOGIT, PROBIT, CLOGLOG, CAUCHIT = range(8)
FAR_TAIL = -8.0  # below, the normal tail by its asymptotic series


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link: both directions, the slope dμ/dη, g⁻¹ in PyTensor, and what is left of ``to_eta`` in equations.

    Links of probabilities have the sd of the variable behind the threshold, and its variance in words where there is
    one (a Cauchy variable has none: the logistic sd stands in where a scale is needed).
    """

    to_eta: Callable[[Array], Array]
    to_mean: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    graph: Callable[[Any], Any]
    latent_sd: float = np.nan
    latent_variance: str = ""


def _logistic_slope(eta: Array) -> Array:
    p = special.expit(eta)
    return p * (1.0 - p)


def _in_pytensor(write: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A function of PyTensor's module and a variable, as one of the variable; PyTensor is loaded when it is called."""

    def graph(eta: Any) -> Any:
        import pytensor.tensor as pt

        return write(pt, eta)

    return graph


LINKS = {
    "identity": Link(to_eta=lambda m: m, to_mean=lambda e: e, slope=np.ones_like, graph=lambda eta: eta),
    "log": Link(to_eta=np.log, to_mean=np.exp, slope=np.exp, graph=_in_pytensor(lambda pt, eta: pt.exp(eta))),
    "inverse": Link(
        to_eta=lambda m: 1.0 / m, to_mean=lambda e: 1.0 / e, slope=lambda e: -1.0 / e**2, graph=lambda eta: 1.0 / eta
    ),
    "sqrt": Link(to_eta=np.sqrt, to_mean=np.square, slope=lambda e: 2.0 * e, graph=lambda eta: eta**2),
    "logit": Link(
        to_eta=lambda m: special.logit(m),
        to_mean=lambda e: special.expit(e),
        slope=_logistic_slope,
        graph=_in_pytensor(lambda pt, eta: pt.sigmoid(eta)),
        latent_sd=np.pi / np.sqrt(3.0),
        latent_variance="pi^2/3",
    ),
    "probit": Link(
        to_eta=lambda m: special.ndtri(m),
        to_mean=lambda e: special.ndtr(e),
        slope=lambda e: np.exp(-0.5 * e**2) / np.sqrt(2.0 * np.pi),
        graph=_in_pytensor(lambda pt, eta: 0.5 * pt.erfc(-eta / np.sqrt(2.0))),
        latent_sd=1.0,
        latent_variance="1",
    ),
    "cloglog": Link(
        to_eta=lambda m: np.log(-np.log1p(-m)),
        to_mean=lambda e: -np.expm1(-np.exp(e)),
        slope=lambda e: np.exp(e - np.exp(e)),
        graph=_in_pytensor(lambda pt, eta: -pt.expm1(-pt.exp(eta))),
        latent_sd=np.pi / np.sqrt(6.0),
        latent_variance="pi^2/6",
    ),
    "cauchit": Link(
        to_eta=lambda m: np.tan(np.pi * (m - 0.5)),
        to_mean=lambda e: 0.5 + np.arctan(e) / np.pi,
        slope=lambda e: 1.0 / (np.pi * (1.0 + e**2)),
        graph=_in_pytensor(lambda pt, eta: 0.5 + pt.arctan(eta) / np.pi),
        latent_sd=np.pi / np.sqrt(3.0),
    ),
}


# -- the same in compiled loops


@compiled
def log_cdf(link, x):
    """log F(x) of the distribution behind a threshold link, and its derivative f(x)/F(x)."""
    if link == LOGIT:  # logistic
        e = np.exp(-abs(x))
        if x >= 0.0:
            return -np.log1p(e), e / (1.0 + e)
        return x - np.log1p(e), 1.0 / (1.0 + e)
    if link == PROBIT:  # normal
        if x > FAR_TAIL:
            value = 0.5 * erfc(-x / np.sqrt(2.0))
            return np.log(value), np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi) / value
        f = 1.0 / (x * x)
        series = 1.0 - f * (1.0 - f * (3.0 - f * (15.0 - f * (105.0 - 945.0 * f))))
        return -0.5 * x * x - np.log(-x) - 0.5 * np.log(2.0 * np.pi) + np.log(series), -x / series
    if link == CLOGLOG:  # Gumbel of minima
        rate = np.exp(x)
        share = -np.expm1(-rate)
        if rate < 1e-300:
            return x, 1.0
        if rate > 745.0:
            return 0.0, 0.0
        return np.log(share), rate * np.exp(-rate) / share
    angle = np.arctan2(1.0, -x)  # Cauchy
    return np.log(angle / np.pi), 1.0 / ((1.0 + x * x) * angle)


@compiled
def log_survival(link, x):
    """log(1 − F(x)) and its derivative."""
    if link == CLOGLOG:
        rate = np.exp(x)
        return -rate, -rate
    value, slope = log_cdf(link, -x)
    return value, -slope


@compiled
def mean_and_slope(link, eta):
    """μ = g⁻¹(η) and dμ/dη."""
    if link == IDENTITY:
        return eta, 1.0
    if link == LOG:
        m = np.exp(eta)
        return m, m
    if link == INVERSE:
        return 1.0 / eta, -1.0 / (eta * eta)
    if link == SQRT:
        return eta * eta, 2.0 * eta
    log_p, ratio = log_cdf(link, eta)
    p = np.exp(log_p)
    return p, p * ratio


@compiled
def score(link, x):
    """g = (log f)'(x) of the density behind a threshold link, and its derivative."""
    if link == LOGIT:
        e = np.exp(-abs(x))
        p = 1.0 / (1.0 + e) if x >= 0.0 else e / (1.0 + e)
        return 1.0 - 2.0 * p, -2.0 * e / (1.0 + e) ** 2
    if link == PROBIT:
        return -x, -1.0
    if link == CLOGLOG:
        rate = np.exp(x)
        return 1.0 - rate, -rate
    square = x * x
    return -2.0 * x / (1.0 + square), 2.0 * (square - 1.0) / (1.0 + square) ** 2


@compiled
def log_cdf_bends(link, x):
    """log F(x) and its first three derivatives."""
    value, r = log_cdf(link, x)
    if not abs(r) > 0.0:  # so far to the right that F is one
        return value, 0.0, 0.0, 0.0
    g, g_slope = score(link, x)
    second = r * (g - r)
    return value, r, second, second * (g - r) + r * (g_slope - second)


@compiled
def log_survival_bends(link, x):
    """log(1 − F(x)) and its first three derivatives."""
    if link == CLOGLOG:
        rate = np.exp(x)
        return -rate, -rate, -rate, -rate
    value, first, second, third = log_cdf_bends(link, -x)
    return value, -first, second, -third


@compiled
def mean_bends(link, eta):
    """μ = g⁻¹(η) and its first three derivatives."""
    if link == IDENTITY:
        return eta, 1.0, 0.0, 0.0
    if link == LOG:
        m = np.exp(eta)
        return m, m, m, m
    if link == INVERSE:
        m = 1.0 / eta
        return m, -m * m, 2.0 * m * m * m, -6.0 * m * m * m * m
    if link == SQRT:
        return eta * eta, 2.0 * eta, 2.0, 0.0
    log_p, ratio = log_cdf(link, eta)
    p = np.exp(log_p)
    g, g_slope = score(link, eta)
    density = p * ratio
    if not density > 0.0:
        return p, 0.0, 0.0, 0.0
    return p, density, density * g, density * (g * g + g_slope)


@compiled
def by_eta(f1, f2, f3, m1, m2, m3):
    """The derivatives by η of a function whose derivatives by μ are f1, f2, f3."""
    return f1 * m1, f2 * m1 * m1 + f1 * m2, f3 * m1 * m1 * m1 + 3.0 * f2 * m1 * m2 + f1 * m3
