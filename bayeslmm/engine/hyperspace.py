"""The coordinates in which the exact sampler moves (docs/theory.md, section 7).

x holds for each factor log(1 + sd/c) of its columns (the sd itself near zero, where it is truncated, and its log far
away) and h·atanh of its canonical partial correlations, factor after factor; then log σ unless it is known; then log ω
of every fixed
effect with a Student t prior. c is the standard error of one level's own estimate, as if all variance were residual.
h² = 1 + J r_i r_j v, with r = sd²/(sd² + c²) and v the prior variance of the atanh, is what J levels add to the
precision of a correlation: in these units it is known about equally well wherever the sds are.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from ..tools.compiling import compiled
from .hyperpriors import HyperPriors, log_prior
from .layout import Layout
from .scaling import Problem

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

FARTHEST = 100.0  # e¹⁰⁰ times the unit of an sd: beyond, numbers overflow and no posterior reaches
LARGEST_RATIO = 1e6  # of an sd to σ, in scaled columns: its square times rounding error is 1e-4


class Space(NamedTuple):
    """Coordinates, priors and scaling, for the compiled loops. Factors in the caller's order."""

    widths: Codes  # (K,) q
    levels: Codes  # (K,)
    order: Codes  # (K,) the factors in elimination order
    sd_start: Codes  # (K,) where its columns stand among all
    square_start: Codes  # (K,) where its q × q matrices do
    lam_at: Codes  # (K,) where each template stands among those in elimination order
    to_scaled: Array  # (Σ q²,) T⁻¹ of each factor
    softness: Array  # (Σ q,) c
    kinds: Codes  # (Σ q + 1,) prior of each sd and, last, of σ unless it is known
    parameters: Array  # (Σ q + 1, 2) and its parameters
    partial_start: Codes  # (K + 1,)
    partial_row: Codes  # entry of the Cholesky factor of the correlation matrix
    partial_column: Codes
    partial_shape: Array  # (s, s) of its Beta prior on (−1, 1)
    partial_gain: Array  # J v, see above
    precision: Array  # (p,) P₀ of β̃ where ω = 1
    with_t: Codes  # (t,) the fixed effects with a t prior
    nu: Array  # (t,)
    constant: float  # of the log density
    known_sigma: float  # NaN where σ is a coordinate
    sd_at: NDArray[np.bool_]  # (d,) the coordinates that are truncated at zero
    correlation_at: NDArray[np.bool_]  # (d,) those that are the atanh of a partial correlation


def build(problem: Problem, priors: HyperPriors, layout: Layout, to_scaled: Sequence[Array],
          precision: Array, constant: float) -> Space:  # fmt: skip
    """The space of a problem whose cross-products were laid out."""
    spread = float(np.hypot(np.std(problem.y), problem.sigma or 0.0)) or 1.0
    widths = np.array(problem.widths, np.int64)
    softness = [
        spread / np.sqrt(np.maximum(len(problem.y) * squares / levels, 1e-300))
        for squares, levels in zip(problem.mean_squares, problem.levels, strict=True)
    ]
    lam_at = np.empty(len(widths), np.int64)
    lam_at[list(layout.order)] = layout.values.lam_start
    partials = [
        # shapes of LKJ(eta): Lewandowski, Kurowicka & Joe 2009, section 2.4
        [(block[i], block[j], eta + (len(block) - 2 - j) / 2.0)
         for block in blocks for i in range(len(block)) for j in range(i)]
        for blocks, eta in zip(problem.blocks, priors.lkj, strict=True)
    ]  # fmt: skip
    flat = [entry for of_factor in partials for entry in of_factor]
    shapes = np.array([shape for _, _, shape in flat], float)
    every = [prior for of_factor in priors.sds for prior in of_factor]
    every += [] if priors.sigma is None else [priors.sigma]
    with_t = np.flatnonzero(np.isfinite(priors.beta_nu))
    is_sd = [np.repeat([True, False], [q, len(own)]) for q, own in zip(widths, partials, strict=True)]
    of_sigma = int(problem.sigma is None)
    sd_at = np.concatenate([*is_sd, np.zeros(of_sigma + len(with_t), bool)])
    return Space(
        widths=widths,
        levels=np.array(problem.levels, np.int64),
        order=np.array(layout.order, np.int64),
        sd_start=np.cumsum([0, *widths])[:-1],
        square_start=np.cumsum([0, *widths**2])[:-1],
        lam_at=lam_at,
        to_scaled=np.concatenate([np.zeros(0), *(T.reshape(-1) for T in to_scaled)]),
        softness=np.concatenate([np.zeros(0), *softness]),
        kinds=np.array([prior.kind for prior in every], np.int64),
        parameters=np.array([(prior.a, prior.b) for prior in every]).reshape(-1, 2),
        partial_start=np.cumsum([0, *map(len, partials)]),
        partial_row=np.array([row for row, _, _ in flat], np.int64),
        partial_column=np.array([column for _, column, _ in flat], np.int64),
        partial_shape=shapes,
        partial_gain=np.repeat(problem.levels, [len(own) for own in partials]) * polygamma(1, shapes) / 2.0,
        precision=precision,
        with_t=with_t,
        nu=priors.beta_nu[with_t],
        constant=float(constant),
        known_sigma=np.nan if problem.sigma is None else float(problem.sigma),
        sd_at=sd_at,
        correlation_at=~sd_at & (np.arange(len(sd_at)) < len(sd_at) - of_sigma - len(with_t)),
    )


@compiled
def _reliability(x):
    """sd²/(sd² + c²) from x = log(1 + sd/c)."""
    ratio = np.expm1(x)
    return ratio**2 / (1.0 + ratio**2)


@compiled
def _slope_of_reliability(x):
    ratio = np.expm1(x)
    return 2.0 * ratio * (1.0 + ratio) / (1.0 + ratio**2) ** 2


@compiled
def locate(space, x, sds, factors, lams, precision):
    """The hyperparameters at x: σ, and all of the log density that does not depend on y.

    Fills ``sds`` (Σq,), ``factors`` (Σq²,) of the correlations, ``lams`` (Σq²,) = T⁻¹ diag(sd) C/σ in elimination order
    and ``precision`` (p,) = σ²P₀. Out of bounds the second value is −∞ and they are left half-filled.
    """
    widths, lam_at, to_scaled, softness = space.widths, space.lam_at, space.to_scaled, space.softness
    kinds, parameters, partial_start = space.kinds, space.parameters, space.partial_start
    partial_row, partial_column = space.partial_row, space.partial_column
    partial_shape, partial_gain, prior_precision = space.partial_shape, space.partial_gain, space.precision
    with_t, nu, constant, sd_at = space.with_t, space.nu, space.constant, space.sd_at
    for i in range(x.shape[0]):
        if not abs(x[i]) < FARTHEST or (sd_at[i] and x[i] < 0.0):
            return 1.0, -np.inf
    t = nu.shape[0]
    last, total, sigma = softness.shape[0], constant, space.known_sigma
    if np.isnan(sigma):
        log_sigma = x[x.shape[0] - 1 - t]
        sigma = np.exp(log_sigma)
        total += log_sigma
        total += log_prior(kinds[last], parameters[last, 0], parameters[last, 1], sigma)[0]
    at = own = square = 0
    for k in range(widths.shape[0]):
        q = widths[k]
        for i in range(q * q):
            factors[square + i] = 0.0
        for c in range(q):
            factors[square + c * q + c] = 1.0
            sds[own + c] = softness[own + c] * np.expm1(x[at + c])
            total += np.log(softness[own + c]) + x[at + c]
            a, b = parameters[own + c, 0], parameters[own + c, 1]
            total += log_prior(kinds[own + c], a, b, sds[own + c])[0]
        start = at
        at += q
        for e in range(partial_start[k], partial_start[k + 1]):
            i, j, s = partial_row[e], partial_column[e], partial_shape[e]
            first, second = _reliability(x[start + i]), _reliability(x[start + j])
            h = np.sqrt(1.0 + partial_gain[e] * first * second)
            y = x[at] / h
            total -= np.log(h)
            size = abs(y)
            log_left = -2.0 * (size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0))  # log(1 − tanh² y)
            total += s * log_left - (2.0 * s - 1.0) * np.log(2.0) - 2.0 * lgamma(s) + lgamma(2.0 * s)
            ii = square + i * q + i
            factors[square + i * q + j] = np.tanh(y) * factors[ii]
            factors[ii] *= np.exp(0.5 * log_left)
            at += 1
        lam = lam_at[k]
        for a in range(q):
            for b in range(q):
                entry = 0.0
                for r in range(q):
                    entry += to_scaled[square + a * q + r] * sds[own + r] * factors[square + r * q + b]
                lams[lam + a * q + b] = entry / sigma
                if not abs(lams[lam + a * q + b]) < LARGEST_RATIO:
                    return 1.0, -np.inf
        own += q
        square += q * q
    for j in range(precision.shape[0]):
        precision[j] = sigma**2 * prior_precision[j]
    for j in range(t):
        half, log_omega = nu[j] / 2.0, x[x.shape[0] - t + j]
        precision[with_t[j]] *= np.exp(log_omega)
        total += half * (np.log(half) + log_omega - np.exp(log_omega)) - lgamma(half) + 0.5 * log_omega
    if np.isnan(total):
        total = -np.inf
    return sigma, total


@compiled
def pull_back(space, x, sigma, sds, factors, lams, by_lam, held, along_prior, gradient):
    """Gradient in x of the log density, from the derivatives of the log likelihood.

    ``by_lam`` (Σq²,) in elimination order, ``held`` that by log σ with Λ held, ``along_prior`` (p,) minus twice that by
    log P₀ of each fixed effect, ½ log|P₀| left out.
    """
    widths, lam_at, to_scaled, softness = space.widths, space.lam_at, space.to_scaled, space.softness
    kinds, parameters, partial_start = space.kinds, space.parameters, space.partial_start
    partial_row, partial_column = space.partial_row, space.partial_column
    partial_shape, partial_gain, with_t = space.partial_shape, space.partial_gain, space.with_t
    nu = space.nu
    at = own = square = 0
    for k in range(widths.shape[0]):
        q = widths[k]
        lam = lam_at[k]
        later = np.zeros(q)  # Σ ∂ℓ/∂C_im C_im over the entries of row i from the one at hand on
        by_C = np.zeros((q, q))
        for r in range(q):
            by_sd = 0.0
            for b in range(r + 1):
                total = 0.0
                for a in range(q):
                    total += to_scaled[square + a * q + r] * by_lam[lam + a * q + b]
                by_sd += total * factors[square + r * q + b] / sigma
                by_C[r, b] = total * sds[own + r] / sigma
            first, second = parameters[own + r, 0], parameters[own + r, 1]
            prior = log_prior(kinds[own + r], first, second, sds[own + r])[1]
            gradient[at + r] = 1.0 + (by_sd + prior) * (sds[own + r] + softness[own + r])
            later[r] = by_C[r, r] * factors[square + r * q + r]
        first, end = partial_start[k], partial_start[k + 1]
        at += q
        left, remaining = np.empty(end - first), np.ones(q)
        h, y = np.empty(end - first), np.empty(end - first)
        for e in range(first, end):
            i, j, place = partial_row[e], partial_column[e], e - first
            gain = partial_gain[e] * _reliability(x[at - q + i]) * _reliability(x[at - q + j])
            h[place] = np.sqrt(1.0 + gain)
            y[place] = x[at + place] / h[place]
            left[place] = remaining[i]
            remaining[i] /= np.cosh(y[place])
        for e in range(end - 1, first - 1, -1):
            i, j, place = partial_row[e], partial_column[e], e - first
            r = np.tanh(y[place])
            direct = left[place] * by_C[i, j] / np.cosh(y[place]) ** 2
            by_y = direct - r * (later[i] + 2.0 * partial_shape[e])
            gradient[at + place] = by_y / h[place]
            by_log_h = 0.5 * partial_gain[e] / h[place] ** 2 * (-1.0 - by_y * y[place])
            x_i, x_j = x[at - q + i], x[at - q + j]
            gradient[at - q + i] += by_log_h * _slope_of_reliability(x_i) * _reliability(x_j)
            gradient[at - q + j] += by_log_h * _slope_of_reliability(x_j) * _reliability(x_i)
            later[i] += by_C[i, j] * factors[square + i * q + j]
        at += end - first
        for i in range(q * q):
            held -= by_lam[lam + i] * lams[lam + i]
        own += q
        square += q * q
    if np.isnan(space.known_sigma):
        first, second = parameters[own, 0], parameters[own, 1]
        gradient[at] = held + log_prior(kinds[own], first, second, sigma)[1] * sigma + 1.0
        at += 1
    for j in range(nu.shape[0]):
        omega = np.exp(x[at + j])
        gradient[at + j] = nu[j] / 2.0 * (1.0 - omega) + 0.5 * (1.0 - along_prior[with_t[j]])
