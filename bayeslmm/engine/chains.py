"""Compiled loops of the exact sampler: many densities, and a Markov chain with exact draws of β and u (section 7).

One factorisation is that of `elimination`; what is added here is the small algebra of β, so that thousands of
points are visited without a return to Python.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from .assembly import project, right_side, trace_sums
from .elimination import back_substitute, selected_inverse
from .hyperspace import at_zero, locate, pull_back
from .reduction import backward, factorise, inverse_of_dense, work_for

# what is called once only: compiled with its caller, which saves seconds the first time
_inline = numba.njit(inline="always", error_model="numpy")


class Steps(NamedTuple):
    """What `walk` fills, a row for each step; `b` is in elimination order."""

    log_density: Array  # (N,) −∞ out of bounds and where numbers break down
    state: NDArray[np.int64]  # (N,) row of x each draw stands on; the rest is empty without a chain
    sds: Array  # (N, Σq)
    factors: Array  # (N, Σq²) of the correlations
    sigma: Array  # (N,)
    beta: Array  # (N, p)
    b: Array  # (N, m)


@_inline
def _log_likelihood(n, p, log_det, r2, sigma):
    """−½ [n log 2πσ² + log|M| + log|A_x| − p log σ² + r²/σ²]: what (4.1) holds besides constants and priors."""
    s2 = sigma * sigma
    return -0.5 * (n * np.log(2.0 * np.pi * s2) + log_det - p * np.log(s2) + r2 / s2)


@_inline
def _rooms(space):
    """Arrays that `locate` fills: sds, factors, lams, precision."""
    squares = space.to_scaled.shape[0]
    return (np.empty(space.sd_of.shape[0]), np.empty(squares), np.empty(squares), np.empty(space.precision.shape[0]))


@compiled
def with_gradient(pattern, values, space, n, x, gradient):
    """The log density at x and, into ``gradient`` (d,), its derivatives (5.1); −∞ and zeros as in `log_densities`."""
    n_xy = values.XytXy.shape[0]
    p = n_xy - 1
    work = work_for(pattern, n_xy)
    D, P, _, dense_xy, _, _, _ = work.room
    beta = work.beta
    sds, factors, lams, precision = _rooms(space)
    gradient[:] = 0.0
    sigma, log_prior = locate(space, x, sds, factors, lams, precision)
    if log_prior == -np.inf:
        return -np.inf
    log_det_M, log_det_A, r2, Lt, sound = factorise(pattern, values, lams, precision, work)
    value = _log_likelihood(n, p, log_det_M + log_det_A, r2, sigma) + log_prior
    if not (sound and np.isfinite(value)):
        return -np.inf
    U = np.empty((pattern.column_start[-1], n_xy))
    right_side(pattern, P, dense_xy, U)
    m_chain = U.shape[0] - dense_xy.shape[0]
    for c in range(n_xy):
        backward(Lt, U[m_chain:, c])
    back_substitute(pattern, D, P, U)
    E = np.empty(U.shape)
    project(pattern, values, lams, U, E)  # [Q | ZᵀV⁻¹y]
    for row in range(E.shape[0]):
        for c in range(p):
            E[row, p] -= E[row, c] * beta[c]  # e
    V_diagonal, V_panel = np.empty_like(D), np.empty_like(P)
    V_upper = inverse_of_dense(Lt)
    selected_inverse(pattern, n_xy, D, P, V_upper, V_diagonal, V_panel)
    by_lam = np.zeros(lams.shape[0])
    trace_sums(pattern, values, lams, V_diagonal, V_panel, V_upper, by_lam)  # KΛ
    A_inverse = inverse_of_dense(work.R)
    square = 0
    for k in range(pattern.widths.shape[0]):
        q = pattern.widths[k]
        outer = np.zeros((q, q))  # Σ_levels (QA⁻¹Qᵀ + eeᵀ/σ²)_jj
        for row in range(pattern.column_start[k], pattern.column_start[k + 1], q):
            for a in range(q):
                for b in range(q):
                    total = E[row + a, p] * E[row + b, p] / sigma**2
                    for c in range(p):
                        for d in range(p):
                            total += E[row + a, c] * A_inverse[c, d] * E[row + b, d]
                    outer[a, b] += total
        for a in range(q):
            for b in range(q):
                for r in range(q):
                    by_lam[square + a * q + b] -= outer[a, r] * lams[square + r * q + b]
        square += q * q
    by_lam *= -1.0  # ∂ℓ = −½ ∂(−2ℓ) = −ΓΛ
    along_prior = np.empty(p)
    held = r2 / sigma**2 + p - n
    for c in range(p):
        along_prior[c] = precision[c] * (beta[c] ** 2 / sigma**2 + A_inverse[c, c])
        held -= along_prior[c]
    pull_back(space, x, sigma, sds, factors, lams, by_lam, held, along_prior, gradient)
    return value


@_inline
def _draw(pattern, D, P, dense_xy, Lt, R, beta_hat, sigma, i, noise, beta, U):
    """β = β̂ + σR_x⁻¹z₁ into beta[i], u = L⁻ᵀ(B_y − B_xβ + σz₂) into U (m, 1), in elimination order (section 6)."""
    widths, node_start, panel_start = pattern.widths, pattern.node_start, pattern.panel_start
    p, n_dense = beta_hat.shape[0], Lt.shape[0]
    for a in range(p - 1, -1, -1):
        total = sigma * noise[i, a]
        for c in range(a + 1, p):
            total -= R[a, c] * (beta[i, c] - beta_hat[c])
        beta[i, a] = beta_hat[a] + total / R[a, a]
    column = 0
    for k in range(node_start.shape[0] - 1):
        q = widths[k]
        for v in range(node_start[k], node_start[k + 1]):
            row = (panel_start[v + 1] - panel_start[v]) // q
            for a in range(q):
                first = panel_start[v] + a * row + row - p - 1
                total = P[first + p] + sigma * noise[i, p + column]
                for c in range(p):
                    total -= P[first + c] * beta[i, c]
                U[column, 0] = total
                column += 1
    for a in range(n_dense - 1, -1, -1):
        total = dense_xy[a, p] + sigma * noise[i, p + column + a]
        for c in range(p):
            total -= dense_xy[a, c] * beta[i, c]
        for c in range(a + 1, n_dense):
            total -= Lt[a, c] * U[column + c, 0]
        U[column + a, 0] = total / Lt[a, a]
    back_substitute(pattern, D, P, U)


@_inline
def _to_effects(space, sds, factors, sigma, U, i, b):
    """b = diag(sd) C u/σ of every level into b[i]."""
    widths, levels, order = space.widths, space.levels, space.order
    sd_start, square_start = space.sd_start, space.square_start
    column = 0
    for position in range(order.shape[0]):
        k = order[position]
        q, sd, C = widths[k], sd_start[k], square_start[k]
        for _ in range(levels[k]):
            for a in range(q):
                total = 0.0
                for r in range(q):
                    total += factors[C + a * q + r] * U[column + r, 0]
                b[i, column + a] = total * sds[sd + a] / sigma
            column += q


@compiled
def walk(pattern, values, space, n, x, log_proposal, log_uniform, noise, steps):
    """Independence Metropolis–Hastings from x[0] over the proposals x[1:], with a draw of β and b each.

    Parameters
    ----------
    x, log_proposal : (N, d) and (N,)
    log_uniform, noise : (N,), of which the first is of no use, and (N, p + m). Without rows there is no chain.
    steps : Steps
        With the densities at −∞ and the states at 0.
    """
    N, p, m = x.shape[0], values.XytXy.shape[0] - 1, pattern.column_start[-1]
    log_density, state, all_sds, all_factors, sigmas, betas, bs = steps
    work, current_work = work_for(pattern, p + 1), work_for(pattern, p + 1)
    sds, factors, lams, precision = _rooms(space)
    current_sds, current_factors, _, _ = _rooms(space)
    U = np.empty((m, 1))
    current, current_sigma, current_Lt = -1, 0.0, work.room.dense
    for i in range(N):
        sigma, log_prior = locate(space, x[i], sds, factors, lams, precision)
        if log_prior > -np.inf:
            log_det_M, log_det_A, r2, Lt, sound = factorise(pattern, values, lams, precision, work)
            value = _log_likelihood(n, p, log_det_M + log_det_A, r2, sigma) + log_prior
            if sound and np.isfinite(value):
                log_density[i] = value
                if state.shape[0] and (
                    current < 0
                    or log_uniform[i] < value - log_proposal[i] - log_density[current] + log_proposal[current]
                ):
                    current, current_sigma, current_Lt = i, sigma, Lt
                    work, current_work = current_work, work
                    sds, current_sds, factors, current_factors = current_sds, sds, current_factors, factors
                    at_zero(space, current_sds, current_factors)
        if current >= 0:
            state[i] = current
            D, P, _, dense_xy, _, _, _ = current_work.room
            _draw(
                pattern,
                D,
                P,
                dense_xy,
                current_Lt,
                current_work.R,
                current_work.beta,
                current_sigma,
                i,
                noise,
                betas,
                U,
            )
            _to_effects(space, current_sds, current_factors, current_sigma, U, i, bs)
            sigmas[i] = current_sigma
            for k in range(sds.shape[0]):
                all_sds[i, k] = current_sds[k]
            for k in range(factors.shape[0]):
                all_factors[i, k] = current_factors[k]
