"""The coordinates in which the exact sampler moves (docs/theory.md, section 7).

x holds for each factor log(1 + sd/c) of its sds (the sd itself near zero, where it is truncated, and its log far away)
and h·y of the coordinates y of its correlations (`bayeslmm.covariances.structure`; the atanh of canonical partial
correlations of an unstructured block), factor after factor; then log σ unless it is known; then log ω of every fixed
effect with a Student t prior. c is the standard error of one level's own estimate, as if all variance were residual.
h² = 1 + J r_i r_j v, with r = sd²/(sd² + c²) and v the prior variance of y, is what J levels add to the precision of a
correlation: in these units it is known about equally well wherever the sds are.

Where a predictor with random slopes lies far from zero, sd and correlations of the intercept are those at the
predictors' means: at zero it is next to collinear with the slopes. With b = A b̃ and A a shear, densities of covariance
matrices are the same on both sides, so that a density of (sd, R) at zero is one at the means times
(s̃/s)^(q + 2(η − 1)), s the intercept's sd, s̃ that at the means: the power q turns sds and correlations into covariances
and back, and LKJ's |R|^(η − 1) has |R| = |R̃| s̃²/s².
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..covariances import loops
from ..covariances.template import Template
from ..terms.means import shear
from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special
from .hyperpriors import HyperPriors, log_prior
from .layout import Layout
from .scaling import Problem

Codes = NDArray[np.int64]

FARTHEST = 100.0  # e¹⁰⁰ times the unit of an sd: beyond, numbers overflow and no posterior reaches
LARGEST_RATIO = 1e6  # of an sd to σ, in scaled columns: its square times rounding error is 1e-4


class Space(NamedTuple):
    """Coordinates, priors and scaling, for the compiled loops. Factors in the caller's order; S sds of C columns."""

    widths: Codes  # (K,) q
    levels: Codes  # (K,)
    order: Codes  # (K,) the factors in elimination order
    sd_start: Codes  # (K,) where its columns stand among all
    square_start: Codes  # (K,) where its q × q matrices do
    lam_at: Codes  # (K,) where each template stands among those in elimination order
    to_scaled: Array  # (Σ q²,) T⁻¹A of each factor
    shear: Array  # (Σ q²,) A of each factor: effects are A times those that have the coordinates' sds and correlations
    sheared: Codes  # (K,) the column of the intercept that A moves, or -1
    shear_power: Array  # (K,) q + 2(η − 1) of its block
    sds: Codes  # (K,) how many sds it has
    sd_of: Codes  # (C,) of each column, among those of its factor
    column_of: Codes  # (S,) the first column of each sd, among all
    softness: Array  # (S,) c
    kinds: Codes  # (S + 1,) prior of each sd and, last, of σ unless it is known
    parameters: Array  # (S + 1, 2) and its parameters
    block_start: Codes  # (K + 1,) the blocks of each factor that have correlations
    block_kind: Codes  # (B,) number of the structure
    block_column: Codes  # (B + 1,) where its columns begin in `block_columns`
    block_columns: Codes  # among those of the factor
    block_partial: Codes  # (B + 1,) where its coordinates begin among all of correlations
    widest_block: int  # columns
    most_partials: int  # of a factor
    partial_start: Codes  # (K + 1,)
    partial_row: Codes  # entry of the correlation factor that stands for the coordinate
    partial_column: Codes
    partial_shape: Array  # (s, s) of its Beta prior
    partial_gain: Array  # J v, see above
    precision: Array  # (p,) P₀ of β̃ where ω = 1
    with_t: Codes  # (t,) the fixed effects with a t prior
    nu: Array  # (t,)
    constant: float  # of the log density, besides
    constant_of_correlations: float  # that of their priors
    known_sigma: float  # NaN where σ is a coordinate
    sd_at: NDArray[np.bool_]  # (d,) the coordinates that are truncated at zero
    correlation_at: NDArray[np.bool_]  # (d,) those of correlations


def shears(problem: Problem) -> list[Array | None]:
    """A of every factor (q, q); None where no predictor with an intercept in its block lies far from zero."""
    return [
        None if wide is not None else shear(Z, template)
        for Z, template, wide in zip(problem.Z, problem.templates, problem.wide, strict=True)
    ]


def build(
    problem: Problem, priors: HyperPriors, layout: Layout, to_scaled: Sequence[Array], precision: Array, constant: float
) -> Space:
    """The space of a problem whose cross-products were laid out."""
    spread = float(np.hypot(np.std(problem.y), problem.sigma or 0.0)) or 1.0
    moves = shears(problem)
    mean_squares = [
        squares if A is None else np.mean((Z @ A) ** 2, axis=0)
        for squares, Z, A in zip(problem.mean_squares, problem.Z, moves, strict=True)
    ]
    to_scaled = [T if A is None else T @ A for T, A in zip(to_scaled, moves, strict=True)]
    templates = problem.templates
    widths = np.array(problem.widths, np.int64)
    sd_start = np.cumsum([0, *widths])[:-1]
    softness = [
        spread / np.sqrt(np.maximum(_mean_by_sd(len(problem.y) * squares, template.sd_of) / levels, 1e-300))
        for squares, levels, template in zip(mean_squares, problem.levels, templates, strict=True)
    ]
    lam_at = np.empty(len(widths), np.int64)
    lam_at[list(layout.order)] = layout.values.lam_start
    blocks, partials, gains = [], [], []
    for template, eta, levels in zip(templates, priors.lkj, problem.levels, strict=True):
        of_factor, of_partials = [], []
        for block, structure in zip(template.blocks, template.structures, strict=True):
            entries, shapes = structure.entries(len(block)), eta + structure.excess(len(block))
            if not entries:
                continue
            of_factor.append((loops.number(structure), block, len(entries)))
            of_partials += [(block[i], block[j], s) for (i, j), s in zip(entries, shapes, strict=True)]
            # one correlation is told by every column after the first
            information = levels * (len(block) * (len(block) - 1) / 2.0 / len(entries))
            gains += list(information * special.polygamma(1, shapes) / 2.0)
        blocks.append(of_factor)
        partials.append(of_partials)
    every_block = [block for of_factor in blocks for block in of_factor]
    flat = [entry for of_factor in partials for entry in of_factor]
    shapes = np.array([shape for _, _, shape in flat], float)
    every = [prior for of_factor in priors.sds for prior in of_factor]
    every += [] if priors.sigma is None else [priors.sigma]
    with_t = np.flatnonzero(np.isfinite(priors.beta_nu))
    is_sd = [
        np.repeat([True, False], [len(c), len(factor_partials)])
        for c, factor_partials in zip(softness, partials, strict=True)
    ]
    of_sigma = int(problem.sigma is None)
    sd_at = np.concatenate([*is_sd, np.zeros(of_sigma + len(with_t), bool)])
    return Space(
        widths=widths,
        levels=np.array(problem.levels, np.int64),
        order=np.array(layout.order, np.int64),
        sd_start=sd_start,
        square_start=np.cumsum([0, *widths**2])[:-1],
        lam_at=lam_at,
        to_scaled=np.concatenate([np.zeros(0), *(T.reshape(-1) for T in to_scaled)]),
        shear=np.concatenate(
            [np.zeros(0), *((np.eye(q) if A is None else A).reshape(-1) for A, q in zip(moves, widths, strict=True))]
        ),
        sheared=np.array(
            [-1 if A is None else int(np.argmax(np.any(A != np.eye(len(A)), axis=1))) for A in moves], np.int64
        ),
        shear_power=np.array(
            [_power(A, template, eta) for A, template, eta in zip(moves, templates, priors.lkj, strict=True)], float
        ),
        sds=np.array([len(c) for c in softness], np.int64),
        sd_of=np.array([place for t in templates for place in t.sd_of], np.int64),
        column_of=np.array(
            [start + c for start, t in zip(sd_start, templates, strict=True) for c in t.sd_columns], np.int64
        ),
        softness=np.concatenate([np.zeros(0), *softness]),
        kinds=np.array([prior.kind for prior in every], np.int64),
        parameters=np.array([(prior.a, prior.b) for prior in every]).reshape(-1, 2),
        block_start=np.cumsum([0, *map(len, blocks)]),
        block_kind=np.array([kind for kind, _, _ in every_block], np.int64),
        block_column=np.cumsum([0, *(len(block) for _, block, _ in every_block)]),
        block_columns=np.array([c for _, block, _ in every_block for c in block], np.int64),
        block_partial=np.cumsum([0, *(number for _, _, number in every_block)]),
        widest_block=max((len(block) for _, block, _ in every_block), default=0),
        most_partials=max(map(len, partials), default=0),
        partial_start=np.cumsum([0, *map(len, partials)]),
        partial_row=np.array([row for row, _, _ in flat], np.int64),
        partial_column=np.array([column for _, column, _ in flat], np.int64),
        partial_shape=shapes,
        partial_gain=np.array(gains, float),
        precision=precision,
        with_t=with_t,
        nu=priors.beta_nu[with_t],
        constant=float(constant),
        constant_of_correlations=float(sum(loops.prior_constant(s) for s in shapes)),
        known_sigma=np.nan if problem.sigma is None else float(problem.sigma),
        sd_at=sd_at,
        correlation_at=~sd_at & (np.arange(len(sd_at)) < len(sd_at) - of_sigma - len(with_t)),
    )


def _power(A: Array | None, template: Template, eta: float) -> float:
    """q + 2(η − 1) of the block of the intercept that is moved."""
    if A is None:
        return 0.0
    moved = int(np.argmax(np.any(A != np.eye(len(A)), axis=1)))
    return next(len(block) for block in template.blocks if moved in block) + 2.0 * (eta - 1.0)


def _mean_by_sd(squares: Array, sd_of: Sequence[int]) -> Array:
    """The mean (s,) over the columns that each sd belongs to."""
    places = np.array(sd_of)
    return np.array([squares[places == place].mean() for place in range(max(sd_of) + 1)])


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
def _coordinates(space, x, k, start, position, y, h):
    """Coordinates y and their units h of the correlations of factor k, whose sds stand at ``start`` of x."""
    first_column, first = space.sd_start[k], space.partial_start[k]
    for e in range(first, space.partial_start[k + 1]):
        one = _reliability(x[start + space.sd_of[first_column + space.partial_row[e]]])
        other = _reliability(x[start + space.sd_of[first_column + space.partial_column[e]]])
        h[e - first] = np.sqrt(1.0 + space.partial_gain[e] * one * other)
        y[e - first] = x[position + e - first] / h[e - first]


@compiled
def _moved_sd(space, k, first_column, square, sds, factors):
    """The intercept's sd at zero of a factor whose coordinates have that at the means, and its row of A diag(sd) C."""
    q, i = space.widths[k], space.sheared[k]
    row, total = np.zeros(q), 0.0
    for j in range(q):
        for r in range(q):
            row[j] += space.shear[square + i * q + r] * sds[first_column + r] * factors[square + r * q + j]
        total += row[j] ** 2
    return np.sqrt(total), row


@compiled
def at_zero(space, sds, factors):
    """Sds and correlation factors of the effects themselves, in place of those that `locate` fills."""
    first_column = square = 0
    for k in range(space.widths.shape[0]):
        q, i = space.widths[k], space.sheared[k]
        if i >= 0:
            sd, row = _moved_sd(space, k, first_column, square, sds, factors)
            sds[first_column + i] = sd
            for j in range(q):
                factors[square + i * q + j] = row[j] / sd
        first_column += q
        square += q * q


@compiled
def locate(space, x, sds, factors, lams, precision):
    """The hyperparameters at x: σ, and all of the log density that does not depend on y.

    Fills ``sds`` (C,), ``factors`` (Σq²,) of the correlations, ``lams`` (Σq²,) = T⁻¹A diag(sd) C/σ in elimination order
    and ``precision`` (p,) = σ²P₀. Out of bounds the second value is −∞ and they are left half-filled.
    """
    widths, lam_at, to_scaled, softness = space.widths, space.lam_at, space.to_scaled, space.softness
    kinds, parameters, partial_start = space.kinds, space.parameters, space.partial_start
    partial_shape, prior_precision = space.partial_shape, space.precision
    with_t, nu, constant, sd_at, sd_of = space.with_t, space.nu, space.constant, space.sd_at, space.sd_of
    for i in range(x.shape[0]):
        if not abs(x[i]) < FARTHEST or (sd_at[i] and x[i] < 0.0):
            return 1.0, -np.inf
    t = nu.shape[0]
    last, total, sigma = softness.shape[0], constant + space.constant_of_correlations, space.known_sigma
    if np.isnan(sigma):
        log_sigma = x[x.shape[0] - 1 - t]
        sigma = np.exp(log_sigma)
        total += log_sigma
        total += log_prior(kinds[last], parameters[last, 0], parameters[last, 1], sigma)[0]
    room = np.empty(2 * space.most_partials + space.widest_block**2)
    y, h = room[: space.most_partials], room[space.most_partials : 2 * space.most_partials]
    L = room[2 * space.most_partials :].reshape((space.widest_block, space.widest_block))
    position = first_column = square = first_sd = 0
    for k in range(widths.shape[0]):
        q, n_sds = widths[k], space.sds[k]
        moved = -1 if space.sheared[k] < 0 else sd_of[first_column + space.sheared[k]]
        for s in range(n_sds):
            place = first_sd + s
            sd = softness[place] * np.expm1(x[position + s])
            total += np.log(softness[place]) + x[position + s]
            if s != moved:
                total += log_prior(kinds[place], parameters[place, 0], parameters[place, 1], sd)[0]
        for c in range(q):
            s = sd_of[first_column + c]
            sds[first_column + c] = softness[first_sd + s] * np.expm1(x[position + s])
        start = position
        position += n_sds
        first = partial_start[k]
        for i in range(q * q):
            factors[square + i] = 0.0
        for c in range(q):
            factors[square + c * q + c] = 1.0
        _coordinates(space, x, k, start, position, y, h)
        for e in range(first, partial_start[k + 1]):
            total -= np.log(h[e - first])
            total += loops.log_prior(partial_shape[e], y[e - first])[0]
        for block in range(space.block_start[k], space.block_start[k + 1]):
            begin = space.block_column[block]
            d = space.block_column[block + 1] - begin
            loops.factor(space.block_kind[block], d, y[space.block_partial[block] - first :], L)
            for i in range(d):
                row = square + space.block_columns[begin + i] * q
                for j in range(i + 1):
                    factors[row + space.block_columns[begin + j]] = L[i, j]
        position += partial_start[k + 1] - partial_start[k]
        if moved >= 0:
            raw = _moved_sd(space, k, first_column, square, sds, factors)[0]
            if not (raw > 0.0 and sds[first_column + space.sheared[k]] > 0.0):
                return 1.0, -np.inf
            place = first_sd + moved
            total += log_prior(kinds[place], parameters[place, 0], parameters[place, 1], raw)[0]
            total += space.shear_power[k] * np.log(sds[first_column + space.sheared[k]] / raw)
        lam = lam_at[k]
        for a in range(q):
            for b in range(q):
                entry = 0.0
                for r in range(q):
                    entry += to_scaled[square + a * q + r] * sds[first_column + r] * factors[square + r * q + b]
                lams[lam + a * q + b] = entry / sigma
                if not abs(lams[lam + a * q + b]) < LARGEST_RATIO:
                    return 1.0, -np.inf
        first_column += q
        square += q * q
        first_sd += n_sds
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
    partial_row, partial_column, sd_of = space.partial_row, space.partial_column, space.sd_of
    partial_shape, partial_gain, with_t = space.partial_shape, space.partial_gain, space.with_t
    nu = space.nu
    partials, widest = space.most_partials, space.widest_block
    y, h, by_y = np.empty(partials), np.empty(partials), np.empty(partials)
    L, by_L = np.empty((widest, widest)), np.empty((widest, widest))
    position = first_column = square = first_sd = 0
    for k in range(widths.shape[0]):
        q, n_sds = widths[k], space.sds[k]
        lam = lam_at[k]
        by_C, by_sd = np.zeros((q, q)), np.zeros(n_sds)
        moved, row, by_row = -1, np.zeros(q), 0.0
        if space.sheared[k] >= 0:
            moved = sd_of[first_column + space.sheared[k]]
            raw, row = _moved_sd(space, k, first_column, square, sds, factors)
            place = first_sd + moved
            by_row = log_prior(kinds[place], parameters[place, 0], parameters[place, 1], raw)[1]
            by_row = (by_row - space.shear_power[k] / raw) / raw
        for r in range(q):
            for b in range(r + 1):
                total = 0.0
                for a in range(q):
                    total += to_scaled[square + a * q + r] * by_lam[lam + a * q + b]
                by_sd[sd_of[first_column + r]] += total * factors[square + r * q + b] / sigma
                by_C[r, b] = total * sds[first_column + r] / sigma
                if moved >= 0:
                    by_entry = by_row * row[b] * space.shear[square + space.sheared[k] * q + r]
                    by_sd[sd_of[first_column + r]] += by_entry * factors[square + r * q + b]
                    by_C[r, b] += by_entry * sds[first_column + r]
        for s in range(n_sds):
            place = first_sd + s
            sd = softness[place] * np.expm1(x[position + s])
            if s == moved:
                prior = space.shear_power[k] / sd
            else:
                prior = log_prior(kinds[place], parameters[place, 0], parameters[place, 1], sd)[1]
            gradient[position + s] = 1.0 + (by_sd[s] + prior) * (sd + softness[place])
        start, first = position, partial_start[k]
        position += n_sds
        _coordinates(space, x, k, start, position, y, h)
        for block in range(space.block_start[k], space.block_start[k + 1]):
            columns = space.block_columns[space.block_column[block] : space.block_column[block + 1]]
            low, high = space.block_partial[block] - first, space.block_partial[block + 1] - first
            d = columns.shape[0]
            for i in range(d):
                for j in range(i + 1):
                    by_L[i, j] = by_C[columns[i], columns[j]]
                    L[i, j] = factors[square + columns[i] * q + columns[j]]
            loops.pull_back(space.block_kind[block], d, y[low:high], L, by_L, by_y[low:high])
        for e in range(first, partial_start[k + 1]):
            place = e - first
            by_y[place] += loops.log_prior(partial_shape[e], y[place])[1]
            gradient[position + place] = by_y[place] / h[place]
            by_log_h = 0.5 * partial_gain[e] / h[place] ** 2 * (-1.0 - by_y[place] * y[place])
            i, j = start + sd_of[first_column + partial_row[e]], start + sd_of[first_column + partial_column[e]]
            gradient[i] += by_log_h * _slope_of_reliability(x[i]) * _reliability(x[j])
            gradient[j] += by_log_h * _slope_of_reliability(x[j]) * _reliability(x[i])
        position += partial_start[k + 1] - first
        for i in range(q * q):
            held -= by_lam[lam + i] * lams[lam + i]
        first_column += q
        square += q * q
        first_sd += n_sds
    if np.isnan(space.known_sigma):
        first, second = parameters[first_sd, 0], parameters[first_sd, 1]
        gradient[position] = held + log_prior(kinds[first_sd], first, second, sigma)[1] * sigma + 1.0
        position += 1
    for j in range(nu.shape[0]):
        omega = np.exp(x[position + j])
        gradient[position + j] = nu[j] / 2.0 * (1.0 - omega) + 0.5 * (1.0 - along_prior[with_t[j]])
