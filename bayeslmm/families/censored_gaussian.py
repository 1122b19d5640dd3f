"""Normal responses of which some rows are censored (Tobin 1958): y ~ Normal(μ, σ/√w), or P(lower < y ≤ upper)."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..tools.compiling import compiled
from . import gaussian
from .censored import Censored
from .gaussian import Gaussian
from .special import log_normal_between

HALF_LOG_2_PI = 0.5 * np.log(2.0 * np.pi)


@compiled
def _part(z, log_probability):
    """φ(z) over the probability of the interval; zero at an infinite end."""
    return np.exp(-0.5 * z * z - HALF_LOG_2_PI - log_probability) if np.isfinite(z) else 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`; ``y`` and ``trials`` are the ends of the row's interval."""
    if y == trials:
        return gaussian.bends(link, y, trials, weight, eta, parameters)
    sigma = parameters[0]
    s = sigma / np.sqrt(weight)
    low, high = (y - eta) / s, (trials - eta) / s
    value = log_normal_between(low, high)
    at_low, at_high = _part(low, value), _part(high, value)
    low, high = (low if np.isfinite(low) else 0.0), (high if np.isfinite(high) else 0.0)
    m0, m1 = at_low - at_high, low * at_low - high * at_high
    m2, m3 = low**2 * at_low - high**2 * at_high, low**3 * at_low - high**3 * at_high
    d1, d2 = m0 / s, (m1 - m0 * m0) / s**2
    d3 = (m2 - m0 - 3.0 * m0 * m1 + 2.0 * m0**3) / s**3
    by_sigma, of_slope = m1 / sigma, (m2 - m0 * m1 - m0) / (s * sigma)
    of_bend = (m3 - 3.0 * m1 - m1 * m1 - 2.0 * m0 * m2 + 2.0 * m0 * m0 * m1 + 2.0 * m0 * m0) / (s**2 * sigma)
    return value, d1, d2, d3, by_sigma, of_slope, of_bend, 0.0, 0.0, 0.0


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density or log probability, and its derivatives by η and by sigma."""
    if y == trials:
        return gaussian.row(link, y, trials, weight, eta, parameters)
    sigma = parameters[0]
    s = sigma / np.sqrt(weight)
    low, high = (y - eta) / s, (trials - eta) / s
    value = log_normal_between(low, high)
    at_low, at_high = _part(low, value), _part(high, value)
    low, high = (low if np.isfinite(low) else 0.0), (high if np.isfinite(high) else 0.0)
    return value, (at_low - at_high) / s, (low * at_low - high * at_high) / sigma, 0.0


class CensoredGaussian(Censored, Gaussian):
    """y ~ Normal(μ, σ/√w), some rows in intervals."""

    links: ClassVar[tuple[str, ...]] = ("identity",)
    log_concave_links: ClassVar[tuple[str, ...]] = ("identity",)
    row, rows, bends = row, None, bends
