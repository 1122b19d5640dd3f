"""The compiled loops of `quadrature`: modes, curvatures and sums over nodes, draw after draw and unit after unit.

A unit is a level of the factor whose effects are integrated out, a piece one level nested in it.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ..families.densities import normaliser, row
from ..tools.arrays import Array
from ..tools.compiling import compiled, copy_into

Codes = NDArray[np.int64]

STEP = 1e-4  # of differences, in prior sds of an effect
CLOSE = 1e-9  # gain that Newton's next step promises, where it stops
FLAT = 1e-3  # curvature that is no guide to a step
SHORTEST = 1e-3  # part of a step: where none gains, as with few nodes inside, the place is good enough
MOST_STEPS = 1000  # where a density falls doubly exponentially, as a Weibull one with a large shape, steps are short
ALL = np.int64(-1)  # no row is skipped; a bare −1 is a type of its own, for which numba compiles everything once more
# a row's part in what tells its group's effects, and how far it moves their mode, up to which their nodes do without it
SHARE, SHIFT = 0.15, 0.5


class Rows(NamedTuple):
    """Responses sorted by unit, and by nested level inside."""

    kind: int
    link: int
    by_value: bool  # whether the normaliser hangs on the response
    y: Array  # (n,)
    trials: Array
    weights: Array
    counted: Array  # how often each row counts
    constants: Array
    Z: Array  # (n, q)
    Z_nested: Array  # (n, q'), without columns if nothing is nested
    pieces: Codes  # (P + 1,) first row of every nested level, of every unit where nothing is nested
    units: Codes  # (J + 1,) first piece of every unit


class Rule(NamedTuple):
    """Nodes of a product rule for the standard normal distribution."""

    x: Array  # (K, q)
    log_weight: Array  # (K,) with |x|²/2 added


class Room(NamedTuple):
    """Work space of one level of integration."""

    u: Array  # (q,)
    trial: Array
    gradient: Array
    other: Array
    step: Array
    L: Array  # (q, q)


@compiled
def _room(q):
    return Room(np.zeros(q), np.zeros(q), np.zeros(q), np.zeros(q), np.zeros(q), np.zeros((q, q)))


@compiled
def _normalisers(rows, parameters, out):
    """What the log density of every row holds besides `row`, into ``out`` (n,)."""
    none, one, unused = np.zeros(0), np.ones(1), np.zeros(max(2, parameters.shape[0]))
    shared = 0.0 if rows.by_value else normaliser(rows.kind, 1.0, parameters, none, one, unused)
    for i in range(out.shape[0]):
        out[i] = rows.constants[i] + shared
        if rows.by_value:
            out[i] += normaliser(rows.kind, 1.0, parameters, rows.y[i : i + 1], one, unused)
        out[i] *= rows.counted[i]


@compiled
def _row(rows, i, eta_i, parameters):
    """Log density of a row without its normaliser, and its slope by η, as often as it counts."""
    value, slope, _, _ = row(rows.kind, rows.link, rows.y[i], rows.trials[i], rows.weights[i], eta_i, parameters)
    return rows.counted[i] * value, rows.counted[i] * slope


@compiled
def _loadings(Z, root, out):
    """a_i = Λᵀz_i of every row."""
    for i in range(Z.shape[0]):
        for b in range(root.shape[1]):
            total = 0.0
            for a in range(root.shape[0]):
                total += Z[i, a] * root[a, b]
            out[i, b] = total


@compiled
def _of_rows(u, gradient, rows, first, last, skip, eta, parameters, a):
    """Log density of rows at u without their normalisers; fills its gradient."""
    total = 0.0
    gradient[:] = 0.0
    for i in range(first, last):
        if i == skip:
            continue
        eta_i = eta[i]
        for c in range(u.shape[0]):
            eta_i += a[i, c] * u[c]
        value, slope = _row(rows, i, eta_i, parameters)
        total += value
        for c in range(u.shape[0]):
            gradient[c] += slope * a[i, c]
    return total


@compiled
def _factor(curvature):
    """Cholesky factor of a symmetric matrix in place, with as much added to its diagonal as that takes.

    A log density that is concave has no pivot below one, which the effects' own distribution brings.
    """
    q = curvature.shape[0]
    kept, added = curvature.copy(), 0.0
    while True:
        sound = True
        for a in range(q):
            for b in range(a + 1):
                total = kept[a, b] + (added if a == b else 0.0)
                for r in range(b):
                    total -= curvature[a, r] * curvature[b, r]
                if a > b:
                    curvature[a, b] = total / curvature[b, b]
                elif total > (FLAT if added == 0.0 else 1.0):
                    curvature[a, a] = np.sqrt(total)
                else:
                    sound = False
                    curvature[a, a] = 1.0
        if sound or not added < 1e300:
            return
        added = 2.0 * added + 1.0


@compiled
def _newton_step(L, u, gradient, step):
    """M⁻¹(gradient − u) for M = LLᵀ; returns the gain that it promises."""
    q = u.shape[0]
    for a in range(q):
        total = gradient[a] - u[a]
        for b in range(a):
            total -= L[a, b] * step[b]
        step[a] = total / L[a, a]
    promised = 0.0
    for a in range(q):
        promised += step[a] ** 2
    _solve_upper(L, step)
    return 0.5 * promised


@compiled
def _solve_upper(L, x):
    """L⁻ᵀx in place."""
    for a in range(x.shape[0] - 1, -1, -1):
        for b in range(a + 1, x.shape[0]):
            x[a] -= L[b, a] * x[b]
        x[a] /= L[a, a]


@compiled
def _square(u):
    total = 0.0
    for c in range(u.shape[0]):
        total += u[c] * u[c]
    return total


@compiled
def _log_det(L):
    total = 0.0
    for c in range(L.shape[0]):
        total += np.log(L[c, c])
    return total


@compiled
def _differences(L, q):
    """Symmetric I − differences of gradients, in place."""
    for a in range(q):
        for b in range(a):
            L[a, b] = L[b, a] = -0.5 * (L[a, b] + L[b, a])
        L[a, a] = 1.0 - L[a, a]


def _search(log_density: Any) -> Any:
    """The mode of a log density + log φ(u), from ``room.u`` on, and the factor of the curvature there.

    ``log_density(u, gradient, *of)`` fills its gradient.
    """

    @numba.njit(nogil=True, error_model="numpy")
    def search(room, *of):
        u, q = room.u, room.u.shape[0]
        value = log_density(u, room.gradient, *of)
        for _ in range(MOST_STEPS):
            for c in range(q):
                copy_into(room.trial, u)
                room.trial[c] += STEP
                log_density(room.trial, room.other, *of)
                for r in range(q):
                    room.L[r, c] = (room.other[r] - room.gradient[r]) / STEP
            _differences(room.L, q)
            _factor(room.L)
            promised = _newton_step(room.L, u, room.gradient, room.step)
            if not promised > CLOSE:
                return
            objective, size = value - 0.5 * _square(u), 1.0
            while size > SHORTEST:
                for c in range(q):
                    room.trial[c] = u[c] + size * room.step[c]
                value = log_density(room.trial, room.gradient, *of)
                if value - 0.5 * _square(room.trial) >= objective:
                    break
                size *= 0.5
            if not size > SHORTEST:
                return
            copy_into(u, room.trial)

    return search


_mode = _search(_of_rows)


@compiled
def _integral(rows, first, last, eta, parameters, a, rule, room, by, gradient):
    """log ∫ p(rows | v) φ(v) dv, without normalisers, and its gradient by what acts through ``by`` (n, q)."""
    _mode(room, rows, first, last, -1, eta, parameters, a)
    K, scale = rule.x.shape[0], _log_det(room.L)
    total, largest, slopes = 0.0, -np.inf, np.empty(gradient.shape[0])
    gradient[:] = 0.0
    for k in range(K):
        copy_into(room.step, rule.x[k])
        _solve_upper(room.L, room.step)
        for c in range(room.u.shape[0]):
            room.trial[c] = room.u[c] + room.step[c]
        value = rule.log_weight[k] - 0.5 * _square(room.trial)
        slopes[:] = 0.0
        for i in range(first, last):
            eta_i = eta[i]
            for c in range(room.trial.shape[0]):
                eta_i += a[i, c] * room.trial[c]
            log_density, slope = _row(rows, i, eta_i, parameters)
            value += log_density
            for c in range(by.shape[1]):
                slopes[c] += slope * by[i, c]
        if value > largest:
            shrink = np.exp(largest - value)
            total *= shrink
            gradient *= shrink
            largest = value
        if value > -np.inf:
            weight = np.exp(value - largest)
            total += weight
            gradient += weight * slopes
    gradient /= total
    return largest + np.log(total) - scale


@compiled
def _of_unit(u, gradient, rows, j, eta, parameters, a, a_nested, rule, modes, inner, shifted):
    """Log density of the rows of a unit at u, what is nested in it integrated out; fills its gradient."""
    first, last = rows.units[j], rows.units[j + 1]
    if a_nested.shape[1] == 0:
        return _of_rows(u, gradient, rows, rows.pieces[first], rows.pieces[last], ALL, eta, parameters, a)
    for i in range(rows.pieces[first], rows.pieces[last]):
        shifted[i] = eta[i]
        for c in range(u.shape[0]):
            shifted[i] += a[i, c] * u[c]
    total, piece_gradient = 0.0, np.zeros(u.shape[0])
    gradient[:] = 0.0
    for piece in range(first, last):
        copy_into(inner.u, modes[piece])
        total += _integral(
            rows,
            rows.pieces[piece],
            rows.pieces[piece + 1],
            shifted,
            parameters,
            a_nested,
            rule,
            inner,
            a,
            piece_gradient,
        )
        copy_into(modes[piece], inner.u)
        gradient += piece_gradient
    return total


_unit_mode = _search(_of_unit)  # in which something is nested


@compiled
def integrals(rows, rule, nested_rule, eta, parameters, roots, roots_nested, out):
    """log p(y_j | draw) of every unit into ``out`` (S, J)."""
    n, q, q_nested = rows.y.shape[0], rows.Z.shape[1], rows.Z_nested.shape[1]
    a, a_nested = np.empty((n, q)), np.empty((n, q_nested))
    room, inner, shifted = _room(q), _room(q_nested), np.empty(n)
    modes = np.zeros((rows.pieces.shape[0] - 1, q_nested))
    J, K = rows.units.shape[0] - 1, rule.x.shape[0]
    starts, values, normalisers = np.zeros((J, q)), np.empty(K), np.empty(n)
    for s in range(eta.shape[0]):
        _normalisers(rows, parameters[s], normalisers)
        _loadings(rows.Z, roots[s], a)
        _loadings(rows.Z_nested, roots_nested[s], a_nested)
        for j in range(J):
            first, last = rows.pieces[rows.units[j]], rows.pieces[rows.units[j + 1]]
            copy_into(room.u, starts[j])  # the mode of the draw before is near
            if q_nested == 0:
                _mode(room, rows, first, last, ALL, eta[s], parameters[s], a)
            else:
                _unit_mode(room, rows, j, eta[s], parameters[s], a, a_nested, nested_rule, modes, inner, shifted)
            copy_into(starts[j], room.u)
            for k in range(K):
                copy_into(room.step, rule.x[k])
                _solve_upper(room.L, room.step)
                for c in range(room.u.shape[0]):
                    room.trial[c] = room.u[c] + room.step[c]
                values[k] = rule.log_weight[k] - 0.5 * _square(room.trial)
                values[k] += _of_unit(
                    room.trial,
                    room.other,
                    rows,
                    j,
                    eta[s],
                    parameters[s],
                    a,
                    a_nested,
                    nested_rule,
                    modes,
                    inner,
                    shifted,
                )
            out[s, j] = _log_sum(values) - _log_det(room.L) + normalisers[first:last].sum()


@compiled
def _log_sum(values):
    largest = values.max()
    if not largest > -np.inf:
        return largest
    return largest + np.log(np.exp(values - largest).sum())


@compiled
def _row_value(rows, i, eta, parameters, a, u):
    """`row` at u and its slope by η."""
    eta_i = eta[i]
    for c in range(u.shape[0]):
        eta_i += a[i, c] * u[c]
    return _row(rows, i, eta_i, parameters)


@compiled
def _at_nodes(rows, first, last, skip, eta, parameters, a, rule, room, each):
    """Log integrand at every node around the mode (K,), and the rows' own parts of it in ``each`` (n, K)."""
    K = rule.x.shape[0]
    values = np.empty(K)
    for k in range(K):
        copy_into(room.step, rule.x[k])
        _solve_upper(room.L, room.step)
        for c in range(room.u.shape[0]):
            room.trial[c] = room.u[c] + room.step[c]
        values[k] = rule.log_weight[k] - 0.5 * _square(room.trial) - _log_det(room.L)
        for i in range(first, last):
            if i != skip:
                each[i, k] = _row_value(rows, i, eta, parameters, a, room.trial)[0]
                values[k] += each[i, k]
    return values


@compiled
def _counts(rows, i, eta, parameters, a, room):
    """Whether leaving a row out moves or widens what is known of its unit's effects; ``room`` is at their mode."""
    for c in range(room.u.shape[0]):  # L⁻¹a
        total = a[i, c]
        for b in range(c):
            total -= room.L[c, b] * room.other[b]
        room.other[c] = total / room.L[c, c]
    size, reach = np.sqrt(_square(room.other)), np.sqrt(_square(a[i]))
    if reach == 0.0:
        return False
    slope = _row_value(rows, i, eta, parameters, a, room.u)[1]
    for c in range(room.u.shape[0]):
        room.trial[c] = room.u[c] + STEP / reach * a[i, c]
    bend = (slope - _row_value(rows, i, eta, parameters, a, room.trial)[1]) / (STEP * reach)
    return not (abs(bend) * size**2 <= SHARE and abs(slope) * size <= SHIFT)


@compiled
def rows_left_out(rows, rule, nested_rule, eta, parameters, roots, roots_nested, without, within):
    """log p(y_i | the others of its unit, draw) and of a new response in its place, into arrays (S, n)."""
    n, q, J = rows.y.shape[0], rows.Z.shape[1], rows.units.shape[0] - 1
    a, normalisers = np.empty((n, q)), np.empty(n)
    each, unused = np.empty((n, rule.x.shape[0])), np.empty((n, rule.x.shape[0]))
    room, other, starts = _room(q), _room(q), np.zeros((J, q))
    for s in range(eta.shape[0]):
        _normalisers(rows, parameters[s], normalisers)
        _loadings(rows.Z, roots[s], a)
        for j in range(J):
            first, last = rows.pieces[rows.units[j]], rows.pieces[rows.units[j + 1]]
            copy_into(room.u, starts[j])
            _mode(room, rows, first, last, ALL, eta[s], parameters[s], a)
            copy_into(starts[j], room.u)
            values = _at_nodes(rows, first, last, ALL, eta[s], parameters[s], a, rule, room, each)
            total = _log_sum(values)
            for i in range(first, last):
                within[s, i] = _log_sum(values + each[i]) - total + normalisers[i]
                if _counts(rows, i, eta[s], parameters[s], a, room) or not np.isfinite(each[i]).all():
                    copy_into(other.u, room.u)
                    _mode(other, rows, first, last, i, eta[s], parameters[s], a)
                    others = _at_nodes(rows, first, last, i, eta[s], parameters[s], a, rule, other, unused)
                else:
                    others = values - each[i]
                without[s, i] = total - _log_sum(others) + normalisers[i]
