"""Waiting times of which some rows are censored: mean μ, hazard that falls (shape < 1) or rises with time."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from math import lgamma
from typing import ClassVar

import numpy as np

from ..tools.compiling import compiled
from . import weibull
from .censored import Censored
from .special import digamma
from .weibull import Weibull


@compiled
def _end(y, eta, shape):
    """Cumulative hazard at y, and the derivative of its logarithm by shape; zeros at zero, as if there were no end."""
    if y <= 0.0:
        return 0.0, 0.0
    away = np.log(y) - eta + lgamma(1.0 + 1.0 / shape)
    return np.exp(shape * away), away - digamma(1.0 + 1.0 / shape) / shape


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`; ``y`` and ``trials`` are the ends of the row's interval.

    The probability is exp(−t₁) − exp(−t₂) of cumulative hazards; n_j are Σ ± p t^j and q_j Σ ± p t^j ∂log t/∂shape with
    p = exp(−t) over the probability.
    """
    if y == trials:
        return weibull.bends(link, y, trials, weight, eta, parameters)
    k = parameters[0]
    t, b = _end(y, eta, k)
    value, p = -t, 1.0
    t2 = b2 = p2 = 0.0
    if trials < np.inf:
        t2, b2 = _end(trials, eta, k)
        inside = -np.expm1(t - t2)
        value += np.log(inside)
        p, p2 = 1.0 / inside, np.exp(t - t2) / inside
        if p2 == 0.0:
            t2 = b2 = 0.0  # so far that infinity times zero would be asked for
    n1, n2, n3 = p * t - p2 * t2, p * t**2 - p2 * t2**2, p * t**3 - p2 * t2**3
    q1, q2, q3 = p * t * b - p2 * t2 * b2, p * t**2 * b - p2 * t2**2 * b2, p * t**3 * b - p2 * t2**3 * b2
    bend = n2 - n1 * n1 - n1
    d1, d2 = k * n1, k**2 * bend
    d3 = k**3 * (n3 - n1 * n2 - 2.0 * n2 - (2.0 * n1 + 1.0) * bend)
    slope = q1 + q1 * n1 - q2  # of n1 by shape
    of_n2 = 2.0 * q2 + q1 * n2 - q3
    return (
        value,
        d1,
        d2,
        d3,
        -q1,
        n1 + k * slope,
        2.0 * k * bend + k**2 * (of_n2 - (2.0 * n1 + 1.0) * slope),
        0.0,
        0.0,
        0.0,
    )


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density or log probability, and its derivatives by η and by shape."""
    if y == trials:
        return weibull.row(link, y, trials, weight, eta, parameters)
    value, d1, _, _, by_shape, _, _, _, _, _ = bends(link, y, trials, weight, eta, parameters)
    return value, d1, by_shape, 0.0


class CensoredWeibull(Censored, Weibull):
    """y ~ Weibull(shape, μ/Γ(1 + 1/shape)), some rows in intervals."""

    log_concave_links: ClassVar[tuple[str, ...]] = ("log",)
    lowest: ClassVar[float] = 0.0
    row, bends = row, bends
