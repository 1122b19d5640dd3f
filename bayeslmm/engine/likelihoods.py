"""Compiled log densities of a response given its linear predictor (docs/theory.md, section 11).

`add_rows` sums them over rows, with the derivatives by the linear predictor and by the parameters of the family; `row`
is one of them, for every family and link.  What hangs on the data only is left to `constants`.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from enum import IntEnum
from math import erfc, lgamma

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..spec.design import Design
from .compiling import compiled

Array = NDArray[np.float64]


class Kind(IntEnum):
    """Families by number, for the compiled loops."""

    GAUSSIAN = 0
    STUDENT_T = 1
    LOGNORMAL = 2
    BERNOULLI = 3
    BINOMIAL = 4
    POISSON = 5
    NEGBINOMIAL = 6
    GAMMA = 7
    BETA = 8
    ORDINAL = 9


class Link(IntEnum):
    """Links by number."""

    IDENTITY = 0
    LOG = 1
    INVERSE = 2
    SQRT = 3
    LOGIT = 4
    PROBIT = 5
    CLOGLOG = 6
    CAUCHIT = 7


LARGEST_PRODUCT = 1e250  # of factors 1 + exp(−|η|), before its log is taken
FAR_TAIL = -8.0  # below, the normal tail by its asymptotic series


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
def log_cdf(link, x):
    """log F(x) of the distribution behind a threshold link, and its derivative f(x)/F(x)."""
    if link == 4:  # logistic
        e = np.exp(-abs(x))
        if x >= 0.0:
            return -np.log1p(e), e / (1.0 + e)
        return x - np.log1p(e), 1.0 / (1.0 + e)
    if link == 5:  # normal
        if x > FAR_TAIL:
            value = 0.5 * erfc(-x / np.sqrt(2.0))
            return np.log(value), np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi) / value
        f = 1.0 / (x * x)
        series = 1.0 - f * (1.0 - f * (3.0 - f * (15.0 - f * (105.0 - 945.0 * f))))
        return -0.5 * x * x - np.log(-x) - 0.5 * np.log(2.0 * np.pi) + np.log(series), -x / series
    if link == 6:  # Gumbel of minima
        rate = np.exp(x)
        share = -np.expm1(-rate)
        if rate < 1e-300:
            return x, 1.0
        return np.log(share), rate * np.exp(-rate) / share
    angle = np.arctan2(1.0, -x)  # Cauchy
    return np.log(angle / np.pi), 1.0 / ((1.0 + x * x) * angle)


@compiled
def log_survival(link, x):
    """log(1 − F(x)) and its derivative."""
    if link == 6:
        rate = np.exp(x)
        return -rate, -rate
    value, slope = log_cdf(link, -x)
    return value, -slope


@compiled
def mean_and_slope(link, eta):
    """μ = g⁻¹(η) and dμ/dη."""
    if link == 0:
        return eta, 1.0
    if link == 1:
        m = np.exp(eta)
        return m, m
    if link == 2:
        return 1.0 / eta, -1.0 / (eta * eta)
    if link == 3:
        return eta * eta, 2.0 * eta
    log_p, ratio = log_cdf(link, eta)
    p = np.exp(log_p)
    return p, p * ratio


@compiled
def category(link, k, last, eta, cutpoints):
    """log P(y = k) of an ordinal response, and its derivatives by the cutpoints above and below k."""
    if k == 0:
        value, slope = log_cdf(link, cutpoints[0] - eta)
        return value, slope, 0.0
    if k == last:
        value, slope = log_survival(link, cutpoints[last - 1] - eta)
        return value, 0.0, slope
    upper, lower = cutpoints[k] - eta, cutpoints[k - 1] - eta
    if link == 4:  # F(u) − F(l) = F(u) (1 − F(l)) (1 − e^(l − u))
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
def row(kind, link, y, trials, weight, eta, parameters):
    """Log density of one response without its constant; its derivatives by η and by the first two parameters.

    ``parameters`` are sigma; sigma and nu; shape; phi; or the cutpoints, whose derivatives `category` has.
    """
    if kind == 9:
        k, last = int(y), parameters.shape[0]
        value, above, below = category(link, k, last, eta, parameters)
        return value, -(above + below), above, below
    if kind == 3 or kind == 4:
        log_p, up = log_cdf(link, eta)
        log_q, down = log_survival(link, eta)
        failures = trials - y
        value = (y * log_p if y > 0.0 else 0.0) + (failures * log_q if failures > 0.0 else 0.0)
        return value, (y * up if y > 0.0 else 0.0) + (failures * down if failures > 0.0 else 0.0), 0.0, 0.0
    mean, slope = mean_and_slope(link, eta)
    if kind == 0 or kind == 2:
        sigma = parameters[0]
        z = (y - mean) / sigma
        value = -np.log(sigma) - 0.5 * weight * z * z
        return value, weight * z / sigma * slope, (weight * z * z - 1.0) / sigma, 0.0
    if kind == 1:
        sigma, nu = parameters[0], parameters[1]
        z = (y - mean) / sigma
        s = weight * z * z / nu
        value = -np.log(sigma) - 0.5 * (nu + 1.0) * np.log1p(s)
        pull = (nu + 1.0) / (1.0 + s) / nu * weight * z
        by_nu = -0.5 * np.log1p(s) + 0.5 * (nu + 1.0) / nu * s / (1.0 + s)
        return value, pull / sigma * slope, (pull * z - 1.0) / sigma, by_nu
    if kind == 8:
        rest = np.exp(log_survival(link, eta)[0])  # 1 − μ without cancellation
        if not min(mean, rest) > 0.0:
            return -np.inf, 0.0, 0.0, 0.0
        phi = parameters[0]
        a, b = mean * phi, rest * phi
        log_y, log_n = np.log(y), np.log1p(-y)
        psi_a, psi_b = digamma(a), digamma(b)
        value = -lgamma(a) - lgamma(b) + a * log_y + b * log_n
        by_phi = mean * (log_y - psi_a) + rest * (log_n - psi_b)
        return value, phi * (log_y - log_n - psi_a + psi_b) * slope, by_phi, 0.0
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    if kind == 5:
        return y * np.log(mean) - mean, (y / mean - 1.0) * slope, 0.0, 0.0
    shape = parameters[0]
    if kind == 6:
        whole = shape + mean
        value = shape * np.log(shape / whole) + (y * np.log(mean / whole) if y > 0.0 else 0.0)
        by_shape = np.log(shape / whole) + 1.0 - (shape + y) / whole
        return value, (y / mean - (y + shape) / whole) * slope, by_shape, 0.0
    value = -shape * (np.log(mean) + y / mean) + shape * np.log(y)
    return value, shape * (y / mean - 1.0) / mean * slope, np.log(y / mean) - y / mean, 0.0


@compiled
def of_parameters(kind, n, parameters, values, counts, gradient):
    """What the parameters add to the log density whatever the linear predictor; its derivatives join ``gradient``.

    ``values`` and their ``counts`` are the distinct responses of a negative binomial model.
    """
    a = parameters[0] if parameters.shape[0] > 0 else 1.0
    if kind == 1:
        nu = parameters[1]
        gradient[1] += n * 0.5 * (digamma(0.5 * (nu + 1.0)) - digamma(0.5 * nu) - 1.0 / nu)
        return n * (lgamma(0.5 * (nu + 1.0)) - lgamma(0.5 * nu) - 0.5 * np.log(nu * np.pi))
    if kind == 6:
        total, slope = -n * lgamma(a), -n * digamma(a)
        for i in range(values.shape[0]):
            total += counts[i] * lgamma(values[i] + a)
            slope += counts[i] * digamma(values[i] + a)
        gradient[0] += slope
        return total
    if kind == 7:
        gradient[0] += n * (np.log(a) + 1.0 - digamma(a))
        return n * (a * np.log(a) - lgamma(a))
    if kind == 8:
        gradient[0] += n * digamma(a)
        return n * lgamma(a)
    return 0.0


@compiled
def add_rows(kind, link, y, trials, weights, eta, parameters, by_eta, gradient):
    """Sum of `row` over all rows; fills ``by_eta`` (n,) and adds to ``gradient`` of the parameters."""
    n, total = y.shape[0], 0.0
    if (kind == 3 or kind == 4) and link == 4:
        product = 1.0  # the log of a product of many factors costs one logarithm
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
    if kind == 5 and link == 1:
        for i in range(n):
            mean = np.exp(eta[i])
            total += y[i] * eta[i] - mean
            by_eta[i] = y[i] - mean
        return total
    if (kind == 0 or kind == 2) and link == 0:
        squares, precision = 0.0, 1.0 / (parameters[0] * parameters[0])
        for i in range(n):
            e = y[i] - eta[i]
            squares += weights[i] * e * e
            by_eta[i] = weights[i] * e * precision
        gradient[0] += (squares * precision - n) / parameters[0]
        return -n * np.log(parameters[0]) - 0.5 * squares * precision
    for i in range(n):
        value, by_eta[i], first, second = row(kind, link, y[i], trials[i], weights[i], eta[i], parameters)
        total += value
        if kind == 9:
            k = int(y[i])
            if k < parameters.shape[0]:
                gradient[k] += first
            if k > 0:
                gradient[k - 1] += second
        elif parameters.shape[0] > 0:
            gradient[0] += first
            if parameters.shape[0] > 1:
                gradient[1] += second
    return total


@compiled
def each_row(kind, link, y, trials, weights, eta, parameters, out):
    """Log density of every row, without its constant, into ``out`` (n,)."""
    none, one, unused = np.zeros(0), np.ones(1), np.zeros(max(2, parameters.shape[0]))
    for i in range(y.shape[0]):
        value = row(kind, link, y[i], trials[i], weights[i], eta[i], parameters)[0]
        alone = none if kind != 6 else y[i : i + 1]
        out[i] = value + of_parameters(kind, 1, parameters, alone, one, unused)


def constants(design: Design) -> Array:
    """What the log density of each row holds besides `row` and `of_parameters` (n,): it hangs on the data only."""
    y, n = design.y, np.zeros(design.n)
    weights = np.ones(design.n) if design.weights is None else design.weights
    match design.family.name:
        case "gaussian":
            return n - 0.5 * np.log(2.0 * np.pi) + 0.5 * np.log(weights)
        case "student_t":
            return n + 0.5 * np.log(weights)
        case "lognormal":
            return n - 0.5 * np.log(2.0 * np.pi) + 0.5 * np.log(weights) - np.log(y)
        case "binomial":
            t = np.asarray(design.trials)
            return special.gammaln(t + 1.0) - special.gammaln(y + 1.0) - special.gammaln(t - y + 1.0)
        case "poisson" | "negbinomial":
            return -special.gammaln(y + 1.0)
        case "gamma":
            return -np.log(y)
        case "beta":
            return -np.log(y) - np.log1p(-y)
    return n


def working_response(design: Design) -> Array:
    """The response as the loops take it: logged for a lognormal model."""
    return np.log(design.y) if design.family.name == "lognormal" else np.asarray(design.y)


def numbers(design: Design) -> tuple[int, int]:
    """Kind and link of a family for the loops."""
    return int(Kind[design.family.name.upper()]), int(Link[design.family.link.upper()])
