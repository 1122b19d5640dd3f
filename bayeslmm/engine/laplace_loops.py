"""Compiled: the modes of the effects given the rest, and the slopes of Laplace's approximation there.

The same Newton steps as `laplace.Approximation.inner` and the same slopes as its `_slopes`, over the loops of the
kernel, without a return to Python: on small data Python would take twenty times as long as they do.  For layouts
without a dense rest.  Where the numbers break down it says so, and `laplace` goes on in Python.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from ..families.densities import bends_at
from ..tools.arrays import Array
from ..tools.compiling import Readiness, compiled, copy_into
from .assembly import compiled_room, scale, trace_sums
from .elimination import back_substitute, eliminate, forward_substitute, selected_inverse
from .reweighting import fill, gather, leverage, spread

INNER_STEPS = 1000
CLOSE, SURE = (1e-12, 1e-20)  # gain that an inner Newton step promises, below which rounding may, or does, decide
HALVINGS = 30
WORTH_COMPILING = 2_000  # modes by Python, which take some seconds, as long as compiling the loops does
H, LOG_DET, IS_SOUND = range(3)  # places in `Mode.numbers`


_part = numba.njit(nogil=True, error_model="numpy")  # compiled into what calls it


class Density(NamedTuple):
    """The rows of a response for the density of its family: addresses, so that there is one kind of them to compile."""

    bends: int  # of the C function, see `densities.bends_address`
    kind: int
    link: int
    y: int
    trials: int
    weights: int
    counted: Array  # (n,) how often each row counts


class Mode(NamedTuple):
    """What is filled: where the effects have their mode, and what the gradient is made of there."""

    u: Array  # (m,) in elimination order; the start before
    eta: Array  # (n,)
    bends: Array  # (10, n), see `Family.bends`
    by_eta: Array  # (n,) slopes of the log likelihood by what is fixed in η
    each: Array  # (2, n) by the first two parameters of a row
    by_lam: Array  # (Σq²,) by Λ, in elimination order
    numbers: Array  # (3,)


@_part
def _fill_bends(density, parameters, eta, out):
    """`Family.bends` of all rows, as often as they count."""
    n = eta.shape[0]
    bends_at(
        density.bends,
        density.kind,
        density.link,
        n,
        out.shape[0],
        parameters.shape[0],
        density.y,
        density.trials,
        density.weights,
        eta.ctypes.data,
        parameters.ctypes.data,
        out.ctypes.data,
    )
    for part in range(out.shape[0]):
        for i in range(n):
            out[part, i] *= density.counted[i]


@_part
def _times_factors(pattern, values, lams, right, transposed, out):
    """ΛA, or ΛᵀA, into ``out``, both (m,)."""
    for k in range(pattern.widths.shape[0]):
        q, lam = pattern.widths[k], values.lam_start[k]
        for row in range(pattern.column_start[k], pattern.column_start[k + 1], q):
            for a in range(q):
                total = 0.0
                for r in range(q):
                    entry = lams[lam + r * q + a] if transposed else lams[lam + a * q + r]
                    total += entry * right[row + r]
                out[row + a] = total


@_part
def _log_density(bends, u):
    total = 0.0
    for i in range(bends.shape[1]):
        total += bends[0, i]
    squares = 0.0
    for i in range(u.shape[0]):
        squares += u[i] ** 2
    return total - 0.5 * squares


@compiled
def find_mode(rows, pattern, values, density, parameters, lams, fixed, with_slopes, mode):
    """The mode of u from ``mode.u`` on, and the slopes there if they are asked for.

    ``values`` is overwritten. ``fixed`` (n,) is Xβ and the offset, ``lams`` (Σq²,) the templates in elimination order.
    """
    u, eta, bends, numbers = mode.u, mode.eta, mode.bends, mode.numbers
    n, m = fixed.shape[0], u.shape[0]
    numbers[IS_SOUND] = 0.0
    D, P, dense, dense_xy, xy, half, columns = compiled_room(pattern, 1)
    here, there, weights = np.empty((3, n)), np.empty((3, n)), np.empty(n)
    sums, scaled, moved, along, trial_eta = np.empty(m), np.empty(m), np.empty(m), np.empty(n), np.empty(n)
    step, g = np.empty((m, 1)), np.empty(m)
    _times_factors(pattern, values, lams, u, False, scaled)
    copy_into(eta, fixed)
    spread(rows, scaled, eta)
    _fill_bends(density, parameters, eta, here)
    h = _log_density(here, u)
    if not np.isfinite(h):
        return
    smallest, promised, log_det = np.inf, np.inf, 0.0
    for _ in range(INNER_STEPS):
        for i in range(n):
            weights[i] = -here[2, i]
        for i in range(values.ZtZ.shape[0]):
            values.ZtZ[i] = 0.0
        for i in range(values.pair_values.shape[0]):
            values.pair_values[i] = 0.0
        fill(rows, weights, values.pair_factors, values.ZtZ, values.ZtXy, values.pair_values, values.XytXy)
        scale(pattern, values, lams, half, D, P, dense, dense_xy, xy)
        log_det = eliminate(pattern, columns, D, P, dense, dense_xy, xy)
        if not np.isfinite(log_det):
            return
        sums[:] = 0.0
        gather(rows, here[1], sums)
        _times_factors(pattern, values, lams, sums, True, g)
        for i in range(m):
            g[i] -= u[i]
            step[i, 0] = g[i]
        forward_substitute(pattern, D, P, step)
        back_substitute(pattern, D, P, step)
        promised = 0.0
        for i in range(m):
            promised += step[i, 0] * g[i]
        level = 1.0 + abs(h)
        if not promised > SURE * level or (promised <= CLOSE * level and promised >= 0.1 * smallest):
            break
        smallest = min(promised, smallest)
        _times_factors(pattern, values, lams, step[:, 0], False, scaled)
        along[:] = 0.0
        spread(rows, scaled, along)
        size, is_higher = 1.0, False
        for _ in range(HALVINGS):
            for i in range(n):
                trial_eta[i] = eta[i] + size * along[i]
            _fill_bends(density, parameters, trial_eta, there)
            for i in range(m):
                moved[i] = u[i] + size * step[i, 0]
            trial_h = _log_density(there, moved)
            if trial_h >= h + 1e-4 * size * promised - 1e-13 * level:
                is_higher = True
                break
            size *= 0.5
        if not is_higher:
            break
        h = trial_h
        copy_into(u, moved)
        copy_into(eta, trial_eta)
        for part in range(3):
            copy_into(here[part], there[part])
    if not promised <= 1e3 * CLOSE * (1.0 + abs(h)):
        return
    _fill_bends(density, parameters, eta, bends)
    numbers[H], numbers[LOG_DET], numbers[IS_SOUND] = h, log_det, 1.0
    if not with_slopes:
        return
    V_diagonal, V_panel, V_upper = np.empty_like(D), np.empty_like(P), np.empty((0, 0))
    selected_inverse(pattern, 1, D, P, V_upper, V_diagonal, V_panel)
    s = along
    leverage(rows, pattern, values, lams, V_diagonal, V_panel, V_upper, s)
    c, shift = weights, trial_eta
    for i in range(n):
        c[i] = 0.5 * s[i] * bends[3, i]
    sums[:] = 0.0
    gather(rows, c, sums)
    _times_factors(pattern, values, lams, sums, True, g)
    for i in range(m):
        step[i, 0] = g[i]
    forward_substitute(pattern, D, P, step)
    back_substitute(pattern, D, P, step)
    _times_factors(pattern, values, lams, step[:, 0], False, scaled)
    shift[:] = 0.0
    spread(rows, scaled, shift)
    for i in range(n):
        mode.by_eta[i] = bends[1, i] + c[i] + bends[2, i] * shift[i]
        for k in range(2):
            mode.each[k, i] = bends[4 + 3 * k, i] + 0.5 * s[i] * bends[6 + 3 * k, i] + shift[i] * bends[5 + 3 * k, i]
    by_lam, of_rows, of_slopes = mode.by_lam, sums, moved
    by_lam[:] = 0.0
    trace_sums(pattern, values, lams, V_diagonal, V_panel, V_upper, by_lam)
    of_rows[:] = 0.0
    of_slopes[:] = 0.0
    gather(rows, mode.by_eta, of_rows)
    gather(rows, bends[1], of_slopes)
    for k in range(pattern.widths.shape[0]):
        q, lam = pattern.widths[k], values.lam_start[k]
        for row in range(pattern.column_start[k], pattern.column_start[k + 1], q):
            for a in range(q):
                for b in range(q):
                    by_lam[lam + a * q + b] -= of_rows[row + a] * u[row + b] + of_slopes[row + a] * step[row + b, 0]


is_ready = Readiness(find_mode, "laplace_loops.find_mode", WORTH_COMPILING)
