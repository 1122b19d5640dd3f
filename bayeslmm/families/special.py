"""Special functions for compiled loops, which SciPy's cannot be called from."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from math import erfc, lgamma

import numpy as np

from ..tools.compiling import compiled

SQRT_2 = np.sqrt(2.0)
HALF_LOG_2_PI = 0.5 * np.log(2.0 * np.pi)


@compiled
def digamma(x):
    """ψ(x), x > 0: recurrence to x ≥ 10, then the asymptotic series (Abramowitz & Stegun 6.3.18)."""
    total = 0.0
    while x < 10.0:
        total -= 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    series = f * (1.0 / 12 - f * (1.0 / 120 - f * (1.0 / 252 - f * (1.0 / 240 - f * (1.0 / 132)))))
    return total + np.log(x) - 0.5 / x - series


@compiled
def trigamma(x):
    """ψ'(x), x > 0: recurrence to x ≥ 10, then the asymptotic series (Abramowitz & Stegun 6.4.12)."""
    total = 0.0
    while x < 10.0:
        total += 1.0 / (x * x)
        x += 1.0
    f = 1.0 / (x * x)
    series = 1.0 / 6 - f * (1.0 / 30 - f * (1.0 / 42 - f * (1.0 / 30 - f * (5.0 / 66))))
    return total + 1.0 / x + 0.5 * f + series * f / x


@compiled
def tetragamma(x):
    """ψ''(x), x > 0: recurrence to x ≥ 10, then the asymptotic series (Abramowitz & Stegun 6.4.13)."""
    total = 0.0
    while x < 10.0:
        total -= 2.0 / (x * x * x)
        x += 1.0
    f = 1.0 / (x * x)
    series = 0.5 - f * (1.0 / 6 - f * (1.0 / 6 - f * (3.0 / 10 - f * (5.0 / 6))))
    return total - f - f / x - series * f * f


@compiled
def rising(a, y):
    """log Γ(a + y) − log Γ(a), a > 0, y ≥ 0, and its first three derivatives by a.

    The first two by their asymptotic series where a is so large that the difference would lose digits.
    """
    if y == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    b = a + y
    if a < 100.0:
        value, first = lgamma(b) - lgamma(a), digamma(b) - digamma(a)
    else:
        grown, u, v = np.log1p(y / a), 1.0 / a, 1.0 / b
        value = (a - 0.5) * grown + y * np.log(b) - y + (v - u) / 12.0 - (v**3 - u**3) / 360.0
        first = grown - 0.5 * (v - u) - (v * v - u * u) / 12.0 + (v**4 - u**4) / 120.0
    return value, first, trigamma(b) - trigamma(a), tetragamma(b) - tetragamma(a)


@compiled
def log_normal_cdf(z):
    """log Φ(z): below −30 by the asymptotic series (Abramowitz & Stegun 26.2.12), above zero by its complement."""
    if z > 0.0:
        return np.log1p(-0.5 * erfc(z / SQRT_2))
    if z > -30.0:
        return np.log(0.5 * erfc(-z / SQRT_2))
    f = 1.0 / (z * z)
    series = -f * (1.0 - f * (3.0 - f * (15.0 - f * 105.0)))
    return -0.5 * z * z - np.log(-z) - HALF_LOG_2_PI + np.log1p(series)


@compiled
def log_normal_between(low, high):
    """log(Φ(high) − Φ(low)), low < high, from the tail that both are nearer to."""
    if low > 0.0:
        low, high = -high, -low
    top, bottom = log_normal_cdf(high), log_normal_cdf(low)
    return top + np.log(-np.expm1(bottom - top))
