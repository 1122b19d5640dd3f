"""Compiled loops of `nested_marginal`: the density of what is no effect, and a Markov chain with exact effects.

The effects stand in *stages*, outer before inner ones: a column of a bar is one stage, whose units are the levels of
its factor. The unit's u ~ N(0, 1), and what u adds to a row is its loading. A unit holds units of the next stage, one
in which only another column of the same bar follows; those of the last stage hold rows. Stage by stage, from the rows
outwards, u is integrated out by adaptive Gauss–Hermite quadrature:

    I_s(u_<) = ∫ Π_units I_{s+1}(u_<, u) φ(u) du,     I_last = ∫ Π_rows p(y_i | η_i + a_i u) φ(u) du.

log I has the derivatives E[∂f] and E[∂²f] + Var[∂f] by every outer u, expectations over what is integrated out: sums
over the same nodes. The log density of the rows is concave in all u for the families that come here, and so is each
log I (Prékopa 1973): tangents at the nodes bound the integrand of a unit from above, and its u is drawn by rejection
from the exponential pieces between them (Gilks & Wild 1992), outer stages first.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..covariances import loops as structures
from ..families.densities import along, normaliser
from ..tools.arrays import Array
from ..tools.compiling import called_at, compiled, compiled_for_c, reals_at
from .hyperpriors import log_location_scale, log_prior
from .hyperspace import FARTHEST

Codes = NDArray[np.int64]

MOST_STEPS = 40
SHORTEST = 1e-3  # part of a Newton step
REACH = 40.0  # of a start for u: beyond, no normal effect lies
FLAT = 1e-6  # change of a tangent over its piece, below which it is level
MOST_TRIALS = 10_000
MOST_STAGES = 3  # for which loops are compiled
# for numba a number that is written out is a type of its own, for which all that it is handed to is compiled once more
NO_TRACE, FIRST = np.int64(-2), np.int64(0)


class Rows(NamedTuple):
    """A model as arrays: n rows, sorted by unit, S stages of U units in all, B bars, p fixed effects."""

    kind: int
    link: int
    y: Array  # (n,)
    trials: Array
    weights: Array
    times: Array  # how often it counts, with rows that are alike in everything
    offset: Array
    Z: Array  # (S, n) the predictor of each stage's column
    X: Array  # (n, p) centred where there is an intercept
    n_rows: float  # as often as they count
    begin: Codes  # (S + 1,) where the units of each stage begin
    children: Codes  # (U + S,) first unit of the next stage, or row, of each unit; one more entry a stage
    rows_of: Codes  # (U + S,) first row of each unit; one more entry a stage
    center: Array  # (p,) of β
    unit: Array  # (p,)
    beta_prior: Array  # (p, 3) location, scale, degrees of freedom
    bar_stage: Codes  # (B + 1,) the stages of each bar
    bar_sd: Codes  # (B + 1,) the sds of each bar
    sd_of: Codes  # (S,) of each stage, among those of its bar
    softness: Array  # c of each sd's coordinate
    sd_kind: Codes
    sd_prior: Array  # (sds, 2)
    bar_partial: Codes  # (B + 1,) the coordinates of correlations
    partial_row: Codes  # stages that a coordinate stands for, among those of its bar
    partial_column: Codes
    partial_shape: Array
    partial_gain: Array  # see `hyperspace`
    block: Codes  # (blocks, 5): bar, structure, where its columns begin in ``block_columns``, columns, first coordinate
    block_columns: Codes
    positive: bool  # whether the family's parameters are; else they are ordered
    parameter_kind: Codes  # (r,)
    parameter_prior: Array  # (r, 3)
    values: Array  # distinct responses, where the normaliser hangs on them
    counts: Array
    constant: float


class Rule(NamedTuple):
    """Nodes of the standard normal distribution, in order, for each stage."""

    nodes: Codes  # (S,) how many
    x: Array  # (S, K)
    log_weight: Array  # (S, K) with x²/2 added


class Anchor(NamedTuple):
    """Where the modes of u are, given outer ones, to first order around a point: where each search begins."""

    x: Array  # (d,)
    modes: Array  # (U,)
    slopes: Array  # (U, d)
    gains: Array  # (U, S) by the distances of outer u from their modes


class Steps(NamedTuple):
    """What `walk` fills, a row for each step."""

    log_density: Array  # (N,)
    state: Codes  # (N,) row of x each draw stands on; empty without a chain
    parameters: Array  # (N, r)
    lam: Array  # (N, S, S)
    u: Array  # (N, U)


class _Room(NamedTuple):
    """What an evaluation leaves and works with."""

    x: Array  # (d,)
    lam: Array  # (S, S) what turns u into effects
    eta: Array  # (S, n) the linear predictor with the effects of outer stages
    loadings: Array  # (S, n)
    unused: Array
    parameters: Array  # (r,)
    u: Array  # (S,) of the units that are being looked at
    predicted: Array  # (S,) where their modes were expected
    mode: Array  # (S,)
    slopes: Array  # (S + 1, S) derivatives of what was last evaluated in each stage
    curves: Array  # (S + 1, S)
    of_slopes: Array  # (S + 1, S) of what was last integrated
    of_curves: Array
    node_slopes: Array  # (S, K, S)
    node_curves: Array
    outermost: Array  # (U₀, 3, K) nodes, log integrand and its derivative of the units of the first stage
    inner: Array  # (S, 3, K) of the unit last integrated
    share: Array  # (S, K)
    ends: Array  # (S, K)
    mass: Array
    generator: NDArray[np.uint64]  # (1,)
    along: int  # address of the density of rows
    where: Codes  # what it is handed: see `_along_for_c`


class _Tree(NamedTuple):
    """What units hold, of `Rows`: few arrays, since each that a function takes is a tenth of a second of compiling."""

    begin: Codes
    children: Codes
    rows_of: Codes


_part = numba.njit(nogil=True, error_model="numpy")  # compiled into what calls it
_inline = numba.njit(nogil=True, error_model="numpy", inline="always")  # each level of calls compiles all below anew


def _along_for_c(where_, s, u, first, last):  # pragma: no cover - called from compiled code
    """`along` of the rows from ``first`` to ``last`` at u of a unit of stage s, of what ``where`` holds."""
    where = numba.carray(reals_at(where_), 14).view(np.int64)
    kind, link, n, S, r = where[0], where[1], where[2], where[3], where[4]
    return along(
        kind,
        link,
        numba.carray(reals_at(where[5]), n),
        numba.carray(reals_at(where[6]), n),
        numba.carray(reals_at(where[7]), n),
        numba.carray(reals_at(where[8]), n),
        numba.carray(reals_at(where[9]), (S, n))[s],
        numba.carray(reals_at(where[10]), (S, n)),
        s,
        u,
        numba.carray(reals_at(where[11]), r),
        first,
        last,
        numba.carray(reals_at(where[12]), (S + 1, S))[s],
        numba.carray(reals_at(where[13]), (S + 1, S))[s],
    )


def along_address() -> int:
    """Where `along` of rows stands as a C function, compiled when first asked for."""
    return int(_along_in_c().address)


@cache
def _along_in_c() -> Any:
    """It, which has to live as long as its address is called.

    The one place where the switch over the families is compiled for these loops: what calls it by its address does not
    hold it, and numba compiles a function with all that it calls, once for each that calls it.
    """
    whole, real = types.int64, types.float64
    return compiled_for_c(real(whole, whole, real, whole, whole))(_along_for_c)


@intrinsic
def _along_at(typing_context, address, where, s, u, first, last):
    """The C function at an address, of what stands at ``where``."""
    whole, real = types.int64, types.float64

    def generate(context, builder, signature, values):
        return called_at(builder, values[0], values[1:], context.get_value_type(signature.return_type))

    return real(whole, whole, whole, real, whole, whole), generate


@_part
def _room(rows, rule, r, d, address):
    n, S, K = rows.y.shape[0], rule.nodes.shape[0], rule.x.shape[1]
    outer = rows.begin[1] - rows.begin[0]
    eta, loadings, parameters = np.zeros((S, n)), np.zeros((S, n)), np.zeros(r)
    slopes, curves, where = np.zeros((S + 1, S)), np.zeros((S + 1, S)), np.empty(14, np.int64)
    where[0], where[1], where[2], where[3], where[4] = rows.kind, rows.link, n, S, r
    where[5], where[6] = rows.y.ctypes.data, rows.trials.ctypes.data
    where[7], where[8] = rows.weights.ctypes.data, rows.times.ctypes.data
    where[9], where[10] = eta.ctypes.data, loadings.ctypes.data
    where[11], where[12], where[13] = parameters.ctypes.data, slopes.ctypes.data, curves.ctypes.data
    return _Room(
        np.zeros(d),
        np.zeros((S, S)),
        eta,
        loadings,
        np.zeros(max(2, r)),
        parameters,
        np.zeros(S),
        np.zeros(S),
        np.zeros(S),
        slopes,
        curves,
        np.zeros((S + 1, S)),
        np.zeros((S + 1, S)),
        np.zeros((S, K, S)),
        np.zeros((S, K, S)),
        np.zeros((outer, 3, K)),
        np.zeros((S, 3, K)),
        np.zeros((S, K)),
        np.zeros((S, K)),
        np.zeros((S, K)),
        np.zeros(1, np.uint64),
        address,
        where,
    )


@_part
def _reliability(x):
    """sd²/(sd² + c²) from x = log(1 + sd/c)."""
    ratio = np.expm1(x)
    return ratio**2 / (1.0 + ratio**2)


@_part
def _factors(rows, x, position, lam):
    """Fills Λ = diag(sd) C of all bars from their coordinates, from ``position`` on; log prior, and what follows."""
    total = 0.0
    lam[:] = 0.0
    for bar in range(rows.bar_stage.shape[0] - 1):
        first, last = rows.bar_stage[bar], rows.bar_stage[bar + 1]
        first_sd, n_sds = rows.bar_sd[bar], rows.bar_sd[bar + 1] - rows.bar_sd[bar]
        first_partial, last_partial = rows.bar_partial[bar], rows.bar_partial[bar + 1]
        for s in range(n_sds):
            if x[position + s] < 0.0:
                return -np.inf, position
            sd = rows.softness[first_sd + s] * np.expm1(x[position + s])
            prior = rows.sd_prior[first_sd + s]
            total += x[position + s] + log_prior(rows.sd_kind[first_sd + s], prior[0], prior[1], sd)[0]
        for stage in range(first, last):
            lam[stage, stage] = 1.0
        y = np.empty(last_partial - first_partial)
        for e in range(first_partial, last_partial):
            one = _reliability(x[position + rows.sd_of[first + rows.partial_row[e]]])
            other = _reliability(x[position + rows.sd_of[first + rows.partial_column[e]]])
            h = np.sqrt(1.0 + rows.partial_gain[e] * one * other)
            y[e - first_partial] = x[position + n_sds + e - first_partial] / h
            total += structures.log_prior(rows.partial_shape[e], y[e - first_partial])[0] - np.log(h)
        for b in range(rows.block.shape[0]):
            if rows.block[b, 0] != bar:
                continue
            begin, width = rows.block[b, 2], rows.block[b, 3]
            L = np.zeros((width, width))
            structures.factor(rows.block[b, 1], width, y[rows.block[b, 4] - first_partial :], L)
            for i in range(width):
                for j in range(i + 1):
                    lam[first + rows.block_columns[begin + i], first + rows.block_columns[begin + j]] = L[i, j]
        for stage in range(first, last):
            place = rows.sd_of[stage]
            sd = rows.softness[first_sd + place] * np.expm1(x[position + place])
            for column in range(first, last):
                lam[stage, column] *= sd
        position += n_sds + last_partial - first_partial
    return total, position


@_part
def _locate(rows, x, lam, parameters):
    """Log prior with that of the coordinates; fills Λ and the family's parameters."""
    p, r = rows.center.shape[0], parameters.shape[0]
    for i in range(x.shape[0]):
        if not abs(x[i]) < FARTHEST:
            return -np.inf
    of_factors, first = _factors(rows, x, p, lam)
    total = rows.constant + of_factors
    if not total > -np.inf:
        return -np.inf
    for c in range(p):
        beta = rows.center[c] + rows.unit[c] * x[c]
        prior = rows.beta_prior[c]
        total += log_location_scale(prior[0], prior[1], prior[2], beta)[0]
    for k in range(r):
        prior = rows.parameter_prior[0 if not rows.positive else k]
        if rows.positive:
            parameters[k] = np.exp(x[first + k])
            total += log_prior(rows.parameter_kind[k], prior[0], prior[1], parameters[k])[0] + x[first + k]
        else:
            parameters[k] = x[first] if k == 0 else parameters[k - 1] + np.exp(x[first + k])
            total += log_location_scale(prior[0], prior[1], prior[2], parameters[k])[0]
            total += x[first + k] if k > 0 else 0.0
    return total


@_part
def _linear_predictor(rows, x, room):
    """η without effects, and the loading of every stage."""
    room.x[:] = x
    eta, S = room.eta[0], room.loadings.shape[0]
    for i in range(eta.shape[0]):
        eta[i] = rows.offset[i]
    for s in range(S):
        loading = room.loadings[s]
        loading[:] = 0.0
        for r in range(S):
            if room.lam[r, s] != 0.0:
                for i in range(eta.shape[0]):
                    loading[i] += rows.Z[r, i] * room.lam[r, s]
    for c in range(rows.center.shape[0]):
        beta = rows.center[c] + rows.unit[c] * x[c]
        for i in range(eta.shape[0]):
            eta[i] += rows.X[i, c] * beta


@_part
def _predict(begin, anchor, x, u, predicted, s, j):
    """Where the mode of unit j of stage s is expected, given outer u."""
    unit = begin[s] + j
    start = anchor.modes[unit]
    for c in range(x.shape[0]):
        start += anchor.slopes[unit, c] * (x[c] - anchor.x[c])
    for t in range(s):
        start += anchor.gains[unit, t] * (u[t] - predicted[t])
    predicted[s] = start
    return start


@_part
def _move(tree, eta, loadings, of_stages, s, j, u):
    """Takes u of unit j of stage s into the linear predictor of the next stage."""
    place = tree.begin[s] + s + j
    of_stages[s] = u
    for i in range(tree.rows_of[place], tree.rows_of[place + 1]):
        eta[s + 1, i] = eta[s, i] + loadings[s, i] * u


@_part
def _ends(values, bends, K):
    """First and last node at which the integrand and its derivative are finite."""
    low, high = 0, K - 1
    while low < high and not (np.isfinite(values[low]) and np.isfinite(bends[low])):
        low += 1
    while high > low and not (np.isfinite(values[high]) and np.isfinite(bends[high])):
        high -= 1
    return low, high


@_part
def _uniform(state):
    """A number between 0 and 1 from a state (1,), by SplitMix64 (Steele, Lea & Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@_inline
def _of_rows(tree, rule, anchor, close, room, s, j, u):
    """Log density of the rows of unit j of the last stage at u; its derivatives go into ``slopes`` and ``curves``."""
    place = tree.begin[s] + s + j
    return _along_at(room.along, room.where.ctypes.data, s, u, tree.rows_of[place], tree.rows_of[place + 1])


def _of_units(integral: Callable[..., Any]) -> Any:
    """The same of a stage whose units hold others, which ``integral`` integrates out."""

    @_inline
    def of_units(tree, rule, anchor, close, room, s, j, u):
        place, value = tree.begin[s] + s + j, 0.0
        _move(tree, room.eta, room.loadings, room.u, s, j, u)
        for t in range(s + 1):
            room.slopes[s, t] = room.curves[s, t] = 0.0
        for child in range(tree.children[place], tree.children[place + 1]):
            value += integral(tree, rule, anchor, close, room, s + 1, child, room.inner[s + 1])
            for t in range(s + 1):
                room.slopes[s, t] += room.of_slopes[s + 1, t]
                room.curves[s, t] += room.of_curves[s + 1, t]
        return value

    return of_units


def _integral_of(value_at: Callable[..., Any]) -> Any:
    """log ∫ of a unit, given the log density of what it holds."""

    @_part
    def integral(tree, rule, anchor, close, room, s, j, kept):
        """log ∫ φ(u) of unit j of stage s; keeps nodes, log integrand and its derivative (3, K).

        Its derivatives by outer u go into ``of_slopes`` and ``of_curves``, the mode into ``mode``.
        """
        K = rule.nodes[s]
        nodes, values, bends, share = kept[0], kept[1], kept[2], room.share[s]
        # first the mode, by Newton's method from where it is expected; its value is that of the middle node
        middle, largest = K // 2, -np.inf
        u = min(max(_predict(tree.begin, anchor, room.x, room.u, room.predicted, s, j), -REACH), REACH)
        L = best = size = step = 0.0
        trials, k, is_searching, is_again = 0, 0, True, False
        while k < K:
            if is_searching:
                trial = u + size * step
            else:
                trial = u if k == middle else u + rule.x[s, k] / L
            if is_searching or k != middle:
                value = value_at(tree, rule, anchor, close, room, s, j, trial)
            if is_searching:
                slope, objective = room.slopes[s, s], value - 0.5 * trial * trial
                if trials == 0 and not (np.isfinite(value) and np.isfinite(slope)):
                    u, trials = 0.0, 1
                    continue
                if size > 0.0 and not is_again and not objective >= best:  # the step was too long
                    size *= 0.5
                    if not size > SHORTEST:
                        size, is_again = 0.0, True  # back to where it began
                    continue
                trials += 1
                u, best = trial, objective
                curvature = 1.0 - min(room.curves[s, s], 0.0)  # concave, but for rounding
                step, size = (slope - u) / curvature, 1.0
                if not is_again and 0.5 * step * (slope - u) > close and trials < MOST_STEPS:
                    continue
                room.mode[s], L, is_searching = u, np.sqrt(curvature), False
                nodes[middle], values[middle], bends[middle] = u, best, slope - u
                for t in range(s):
                    room.node_slopes[s, middle, t] = room.slopes[s, t]
                    room.node_curves[s, middle, t] = room.curves[s, t]
                continue
            if k != middle:
                nodes[k], values[k], bends[k] = trial, value - 0.5 * trial**2, room.slopes[s, s] - trial
                for t in range(s):
                    room.node_slopes[s, k, t] = room.slopes[s, t]
                    room.node_curves[s, k, t] = room.curves[s, t]
            share[k] = values[k] + rule.log_weight[s, k]
            largest = max(largest, share[k])
            k += 1
        if not np.isfinite(largest):
            return -np.inf
        total = 0.0
        for k in range(K):
            share[k] = np.exp(share[k] - largest) if values[k] > -np.inf else 0.0
            total += share[k]
        low, high = _ends(values, bends, K)
        if not (low < high and bends[low] > 0.0 and bends[high] < 0.0):
            return -np.inf  # the nodes are not around the mode
        for t in range(s):
            mean = square = curve = 0.0
            for k in range(K):
                if share[k] > 0.0:
                    slope = room.node_slopes[s, k, t]
                    mean += share[k] * slope
                    square += share[k] * slope**2
                    curve += share[k] * room.node_curves[s, k, t]
            mean /= total
            room.of_slopes[s, t] = mean
            room.of_curves[s, t] = curve / total + square / total - mean**2
        return largest + np.log(total) - np.log(L)

    return integral


def _draw_of(value_at: Callable[..., Any]) -> Any:
    """A draw of u of a unit, given the same."""

    @_inline
    def draw(tree, rule, anchor, close, room, s, j, kept):
        """u of a unit given outer ones and what is no effect, by rejection from the pieces between tangents."""
        nodes, values, bends, ends, mass, state = kept[0], kept[1], kept[2], room.ends[s], room.mass[s], room.generator
        low, high = _ends(values, bends, rule.nodes[s])
        top = values[low]
        for k in range(low, high + 1):
            top = max(top, values[k])
        total, before = 0.0, -np.inf
        for k in range(low, high + 1):
            after = np.inf
            if k < high:
                met = values[k + 1] - values[k] - nodes[k + 1] * bends[k + 1] + nodes[k] * bends[k]
                after = min(max(met / (bends[k] - bends[k + 1]), nodes[k]), nodes[k + 1])
            ends[k] = after
            if abs(bends[k]) * (after - before) < FLAT:
                mass[k] = np.exp(values[k] - top) * (after - before)
            else:
                right = np.exp(values[k] - top + bends[k] * (after - nodes[k])) if after < np.inf else 0.0
                left = np.exp(values[k] - top + bends[k] * (before - nodes[k])) if before > -np.inf else 0.0
                mass[k] = (right - left) / bends[k]
            total += mass[k]
            before = after
        drawn = np.nan
        for _ in range(MOST_TRIALS):
            left_of, k = _uniform(state) * total, low
            while k < high and left_of > mass[k]:
                left_of -= mass[k]
                k += 1
            begin = ends[k - 1] if k > low else -np.inf
            if abs(bends[k]) * (ends[k] - begin) < FLAT:
                u = begin + (ends[k] - begin) * left_of / mass[k]
            else:
                left = np.exp(values[k] - top + bends[k] * (begin - nodes[k])) if begin > -np.inf else 0.0
                u = nodes[k] + (np.log(left + left_of * bends[k]) - values[k] + top) / bends[k]
                if k == high:  # the piece without an end: measured from the right, where nothing cancels
                    u = ends[k - 1] + np.log1p(-min(left_of / mass[k], 1.0 - 1e-16)) / bends[k]
            hull = values[k] + bends[k] * (u - nodes[k])
            asked = np.log(_uniform(state))
            i = k if u >= nodes[k] else k - 1  # the chord below it
            is_below = False
            if low <= i < high:
                share = (u - nodes[i]) / (nodes[i + 1] - nodes[i])
                is_below = asked <= (1.0 - share) * values[i] + share * values[i + 1] - hull
            if is_below or asked <= value_at(tree, rule, anchor, close, room, s, j, u) - 0.5 * u * u - hull:
                drawn = u
                break
        return drawn

    return draw


def _last(draw: Callable[..., Any]) -> Any:
    """u of a unit of the last stage into ``out`` (U,): see `_descent`."""

    @_part
    def last(tree, rule, anchor, close, room, s, j, kept, moved, by, out):
        _predict(tree.begin, anchor, room.x, room.u, room.predicted, s, j)
        u = draw(tree, rule, anchor, close, room, s, j, kept) if moved == NO_TRACE else room.mode[s]
        out[tree.begin[s] + j] = u

    return last


def _descent(draw: Callable[..., Any], integral: Callable[..., Any], deeper: Callable[..., Any]) -> Any:
    """u of a unit and of all that it holds into ``out`` (U,), by what does so in the next stage.

    They are drawn where ``moved`` is `NO_TRACE`. Else they are modes, each given outer ones; those are ``by`` off their
    modes in stage ``moved``.
    """

    @_part
    def descend(tree, rule, anchor, close, room, s, j, kept, moved, by, out):
        place = tree.begin[s] + s + j
        _predict(tree.begin, anchor, room.x, room.u, room.predicted, s, j)
        u = draw(tree, rule, anchor, close, room, s, j, kept) if moved == NO_TRACE else room.mode[s]
        out[tree.begin[s] + j] = u
        _move(tree, room.eta, room.loadings, room.u, s, j, u + by if s == moved else u)
        for child in range(tree.children[place], tree.children[place + 1]):
            inner = room.inner[s + 1]
            integral(tree, rule, anchor, close, room, s + 1, child, inner)
            deeper(tree, rule, anchor, close, room, s + 1, child, inner, moved, by, out)

    return descend


# by how many stages there are from the one in question to the rows; numba keeps no function that calls itself
_integral_1, _descend_1 = _integral_of(_of_rows), _last(_draw_of(_of_rows))
_of_units_2 = _of_units(_integral_1)
_integral_2, _descend_2 = _integral_of(_of_units_2), _descent(_draw_of(_of_units_2), _integral_1, _descend_1)
_of_units_3 = _of_units(_integral_2)
_integral_3, _descend_3 = _integral_of(_of_units_3), _descent(_draw_of(_of_units_3), _integral_2, _descend_2)


@_inline
def _integral(tree, rule, anchor, close, room, j):
    """log ∫ of unit j of the first stage."""
    S, kept, value = rule.nodes.shape[0], room.outermost[j], 0.0
    if S == 1:
        value = _integral_1(tree, rule, anchor, close, room, FIRST, j, kept)
    elif S == 2:
        value = _integral_2(tree, rule, anchor, close, room, FIRST, j, kept)
    else:
        value = _integral_3(tree, rule, anchor, close, room, FIRST, j, kept)
    return value


@_part
def _descend(tree, rule, anchor, close, room, j, moved, by, out):
    """u of unit j of the first stage and of all that it holds."""
    S, kept = rule.nodes.shape[0], room.outermost[j]
    if S == 1:
        _descend_1(tree, rule, anchor, close, room, FIRST, j, kept, moved, by, out)
    elif S == 2:
        _descend_2(tree, rule, anchor, close, room, FIRST, j, kept, moved, by, out)
    else:
        _descend_3(tree, rule, anchor, close, room, FIRST, j, kept, moved, by, out)


@_inline
def _density(rows, tree, rule, anchor, close, x, room):
    """Log density at x."""
    total = _locate(rows, x, room.lam, room.parameters)
    if total > -np.inf:
        _linear_predictor(rows, x, room)
        total += normaliser(rows.kind, rows.n_rows, room.parameters, rows.values, rows.counts, room.unused)
        for j in range(rows.begin[1]):
            total += _integral(tree, rule, anchor, close, room, j)
            if not np.isfinite(total):
                break
    return total if np.isfinite(total) else -np.inf


@compiled
def walk(rows, rule, anchor, close, address, r, moved, by, x, log_proposal, log_uniform, seeds, steps):
    """Log densities at x (N, d); with ``seeds`` (N,) a chain from x[0] over the proposals x[1:], with all u.

    ``address`` is `along_address()`. The chain is that of `bayeslmm.engine.chains.walk`. Where ``moved`` is no
    `NO_TRACE`, ``u`` (N, U) are modes: see `_descent`. It is all one function, since numba compiles every one with all
    that it calls.
    """
    N, d = x.shape
    log_density, state, parameters, lam, u = steps
    room, current_room = _room(rows, rule, r, d, address), _room(rows, rule, r, d, address)
    tree = _Tree(rows.begin, rows.children, rows.rows_of)
    current = -1
    for i in range(N):
        value = _density(rows, tree, rule, anchor, close, x[i], room)
        log_density[i] = value
        if moved != NO_TRACE and value > -np.inf:
            for j in range(rows.begin[1]):
                _integral(tree, rule, anchor, close, room, j)
                _descend(tree, rule, anchor, close, room, j, moved, by, u[i])
        if state.shape[0] == 0:
            continue
        if value > -np.inf and (
            current < 0 or log_uniform[i] < value - log_proposal[i] - log_density[current] + log_proposal[current]
        ):
            current = i
            room, current_room = current_room, room
        if current >= 0:
            state[i] = current
            current_room.generator[0] = seeds[i]
            for k in range(r):
                parameters[i, k] = current_room.parameters[k]
            lam[i] = current_room.lam
            for j in range(rows.begin[1]):
                _descend(tree, rule, anchor, close, current_room, j, NO_TRACE, by, u[i])
