"""Compiled loops of `one_factor`: the density of β, sd and family parameters, and a Markov chain with exact effects.

The effects of a level are λu with u ~ N(0, 1); the log density of its rows is concave in u for the families that come
here, so that tangents at the nodes of the quadrature bound it from above: effects are drawn by rejection from the
exponential pieces between them (Gilks & Wild 1992), which is exact and costs next to no further evaluation.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..families.densities import along, normaliser
from ..tools.arrays import Array
from ..tools.compiling import compiled
from .hyperpriors import log_location_scale, log_prior
from .hyperspace import FARTHEST

Codes = NDArray[np.int64]

MOST_STEPS = 40
SHORTEST = 1e-3  # part of a Newton step
REACH = 40.0  # of a start for u: beyond, no normal effect lies
FLAT = 1e-6  # change of a tangent over its piece, below which it is level
MOST_TRIALS = 10_000


class Rows(NamedTuple):
    """A model with one scalar effect a level as arrays; n rows, sorted by level, of J levels."""

    kind: int
    link: int
    y: Array  # (n,)
    trials: Array
    weights: Array
    counted: Array  # how often each row counts
    offset: Array
    z: Array
    X: Array  # (n, p) centred where there is an intercept
    starts: Codes  # (J + 1,) first row of each level
    center: Array  # (p,) of β
    unit: Array  # (p,)
    beta_prior: Array  # (p, 3) location, scale, degrees of freedom
    softness: float  # c of the sd's coordinate
    sd_kind: int
    sd_prior: Array  # (2,)
    positive: bool  # whether the family's parameters are; else they are ordered
    parameter_kind: Codes  # (r,)
    parameter_prior: Array  # (r, 3)
    values: Array  # distinct responses, where the normaliser hangs on them
    counts: Array
    n: float  # rows, as often as they count
    constant: float


class Rule(NamedTuple):
    """Nodes of the standard normal distribution, in order."""

    x: Array  # (K,)
    log_weight: Array  # (K,) with x²/2 added


class Anchor(NamedTuple):
    """Where the modes of the effects are, to first order around a point: where each search begins."""

    x: Array  # (d,)
    modes: Array  # (J,)
    slopes: Array  # (J, d)


class Steps(NamedTuple):
    """What `walk` fills, a row for each step."""

    log_density: Array  # (N,)
    state: Codes  # (N,) row of x each draw stands on; empty without a chain
    parameters: Array  # (N, r)
    u: Array  # (N, J)


class _Room(NamedTuple):
    """What an evaluation leaves: the linear predictor without effects, and the log integrand at the nodes."""

    eta: Array  # (n,)
    loading: Array  # (n,) sd × z
    unused: Array
    parameters: Array  # (r,)
    nodes: Array  # (J, K)
    values: Array  # (J, K) log p(y_j | u) − u²/2
    bends: Array  # (J, K) its derivative by u


@compiled
def _room(rows, rule, r):
    n, J, K = rows.y.shape[0], rows.starts.shape[0] - 1, rule.x.shape[0]
    return _Room(
        np.empty(n), np.empty(n), np.zeros(max(2, r)), np.empty(r), np.empty((J, K)), np.empty((J, K)), np.empty((J, K))
    )


@compiled
def _locate(rows, x, parameters):
    """The sd, and log prior with that of the coordinates; fills the family's parameters."""
    p, r = rows.center.shape[0], parameters.shape[0]
    for i in range(x.shape[0]):
        if not abs(x[i]) < FARTHEST:
            return 1.0, -np.inf
    if x[p] < 0.0:
        return 1.0, -np.inf
    total = rows.constant + x[p]
    sd = rows.softness * np.expm1(x[p])
    total += log_prior(rows.sd_kind, rows.sd_prior[0], rows.sd_prior[1], sd)[0]
    for c in range(p):
        beta = rows.center[c] + rows.unit[c] * x[c]
        prior = rows.beta_prior[c]
        total += log_location_scale(prior[0], prior[1], prior[2], beta)[0]
    first = p + 1
    for k in range(r):
        prior = rows.parameter_prior[0 if not rows.positive else k]
        if rows.positive:
            parameters[k] = np.exp(x[first + k])
            total += log_prior(rows.parameter_kind[k], prior[0], prior[1], parameters[k])[0] + x[first + k]
        else:
            parameters[k] = x[first] if k == 0 else parameters[k - 1] + np.exp(x[first + k])
            total += log_location_scale(prior[0], prior[1], prior[2], parameters[k])[0]
            total += x[first + k] if k > 0 else 0.0
    return sd, total


@compiled
def _linear_predictor(rows, x, sd, room):
    """η without effects, and what an effect of one adds to it."""
    eta = room.eta
    for i in range(eta.shape[0]):
        eta[i] = rows.offset[i]
        room.loading[i] = sd * rows.z[i]
    for c in range(rows.center.shape[0]):
        beta = rows.center[c] + rows.unit[c] * x[c]
        for i in range(eta.shape[0]):
            eta[i] += rows.X[i, c] * beta


@compiled
def _at(rows, first, last, u, room):
    """Log density of the rows of a level at u, and its first two derivatives."""
    return along(
        rows.kind,
        rows.link,
        rows.y,
        rows.trials,
        rows.weights,
        rows.counted,
        room.eta,
        room.loading,
        u,
        room.parameters,
        first,
        last,
    )


@compiled
def _mode(rows, first, last, start, close, room):
    """Mode of log p(y_j | u) − u²/2 from a start, with value, slope and curvature of the rows' part there.

    ``close`` is the gain that is not worth a step.
    """
    u = min(max(start, -REACH), REACH)
    value, slope, bend = _at(rows, first, last, u, room)
    if not (np.isfinite(value) and np.isfinite(slope)):
        u = 0.0
        value, slope, bend = _at(rows, first, last, u, room)
    for _ in range(MOST_STEPS):
        curvature = 1.0 - min(bend, 0.0)  # it is concave, but for rounding
        step = (slope - u) / curvature
        if not 0.5 * step * (slope - u) > close:
            break
        objective, size, trial = value - 0.5 * u * u, 1.0, u
        new = value, slope, bend
        while size > SHORTEST:
            trial = u + size * step
            new = _at(rows, first, last, trial, room)
            if new[0] - 0.5 * trial * trial >= objective:
                break
            size *= 0.5
        if not size > SHORTEST:
            break
        u = trial
        value, slope, bend = new
    return u, value, slope, 1.0 - min(bend, 0.0)


@compiled
def _integral(rows, j, start, rule, close, room):
    """log ∫ p(y_j | u) φ(u) du; keeps the integrand at the nodes."""
    first, last = rows.starts[j], rows.starts[j + 1]
    u, value_there, slope_there, curvature = _mode(rows, first, last, start, close, room)
    L = np.sqrt(curvature)
    K, largest = rule.x.shape[0], -np.inf
    nodes, values, bends = room.nodes[j], room.values[j], room.bends[j]
    for k in range(K):
        if 2 * k + 1 == K:  # the node at the mode
            nodes[k], value, slope = u, value_there, slope_there
        else:
            nodes[k] = u + rule.x[k] / L
            value, slope, _ = _at(rows, first, last, nodes[k], room)
        values[k] = value - 0.5 * nodes[k] ** 2
        bends[k] = slope - nodes[k]
        largest = max(largest, values[k] + rule.log_weight[k])
    if not np.isfinite(largest):
        return -np.inf
    total = 0.0
    for k in range(K):
        if values[k] > -np.inf:
            total += np.exp(values[k] + rule.log_weight[k] - largest)
    low, high = _ends(values, bends)
    if not (low < high and bends[low] > 0.0 and bends[high] < 0.0):
        return -np.inf  # the nodes are not around the mode
    return largest + np.log(total) - np.log(L)


@compiled
def _ends(values, bends):
    """First and last node at which the integrand and its derivative are finite."""
    low, high = 0, values.shape[0] - 1
    while low < high and not (np.isfinite(values[low]) and np.isfinite(bends[low])):
        low += 1
    while high > low and not (np.isfinite(values[high]) and np.isfinite(bends[high])):
        high -= 1
    return low, high


@compiled
def _density(rows, rule, anchor, close, x, room):
    """Log density at x."""
    sd, total = _locate(rows, x, room.parameters)
    if not total > -np.inf:
        return -np.inf
    _linear_predictor(rows, x, sd, room)
    total += normaliser(rows.kind, rows.n, room.parameters, rows.values, rows.counts, room.unused)
    for j in range(rows.starts.shape[0] - 1):
        start = anchor.modes[j]
        for c in range(x.shape[0]):
            start += anchor.slopes[j, c] * (x[c] - anchor.x[c])
        total += _integral(rows, j, start, rule, close, room)
        if not np.isfinite(total):
            return -np.inf
    return total


@compiled
def modes(rows, x, start, r):
    """Modes of u (J,) at x, searched from ``start``."""
    J = rows.starts.shape[0] - 1
    out, room = np.zeros(J), _room(rows, Rule(np.zeros(1), np.zeros(1)), r)
    sd, total = _locate(rows, x, room.parameters)
    if not total > -np.inf:
        return start.copy()
    _linear_predictor(rows, x, sd, room)
    for j in range(J):
        out[j] = _mode(rows, rows.starts[j], rows.starts[j + 1], start[j], 1e-10, room)[0]
    return out


@compiled
def _uniform(state):
    """A number between 0 and 1 from a state (1,), by SplitMix64 (Steele, Lea & Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@compiled
def _draw(rows, j, room, state, ends, mass):
    """u of level j given the rest, by rejection from the pieces between tangents; ``ends``, ``mass``: work space."""
    nodes, values, bends = room.nodes[j], room.values[j], room.bends[j]
    low, high = _ends(values, bends)
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
        if low <= i < high:
            share = (u - nodes[i]) / (nodes[i + 1] - nodes[i])
            if asked <= (1.0 - share) * values[i] + share * values[i + 1] - hull:
                return u
        value = _at(rows, rows.starts[j], rows.starts[j + 1], u, room)[0] - 0.5 * u * u
        if asked <= value - hull:
            return u
    return np.nan


@compiled
def walk(rows, rule, anchor, close, r, x, log_proposal, log_uniform, seeds, steps):
    """Log densities at x (N, d); with ``seeds`` (N,) a chain from x[0] over the proposals x[1:], with u of every level.

    The chain is that of `bayeslmm.engine.chains.walk`.
    """
    N, J, K = x.shape[0], rows.starts.shape[0] - 1, rule.x.shape[0]
    log_density, state, parameters, u = steps
    room, current_room = _room(rows, rule, r), _room(rows, rule, r)
    ends, mass, generator = np.empty(K), np.empty(K), np.zeros(1, np.uint64)
    current = -1
    for i in range(N):
        value = _density(rows, rule, anchor, close, x[i], room)
        log_density[i] = value
        if state.shape[0] == 0:
            continue
        if value > -np.inf and (
            current < 0 or log_uniform[i] < value - log_proposal[i] - log_density[current] + log_proposal[current]
        ):
            current = i
            room, current_room = current_room, room
        if current >= 0:
            state[i] = current
            generator[0] = seeds[i]
            for k in range(r):
                parameters[i, k] = current_room.parameters[k]
            for j in range(J):
                u[i, j] = _draw(rows, j, current_room, generator, ends, mass)
