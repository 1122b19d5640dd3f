"""Compiled loops of the exact sampler: many densities, and a Markov chain with exact draws of β and u (section 7).

One factorisation is that of `elimination`; what is added here is the small algebra of β, so that thousands of
points are visited without a return to Python.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

from .assembly import project, scale, trace_sums, workspace
from .elimination import back_substitute, eliminate, selected_inverse
from .hyperspace import locate, pull_back

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
# what is called once only: compiled with its caller, which saves seconds the first time
_inline = numba.njit(inline="always", error_model="numpy")


@_jit
def _cholesky(A):
    """(R upper with RᵀR = A, of which the upper triangle is read; whether A is positive definite)."""
    n = A.shape[0]
    if n > 16:  # LAPACK
        try:
            return np.linalg.cholesky(A.T).T, True
        except Exception:
            return np.zeros((n, n)), False
    R = np.zeros((n, n))
    for i in range(n):
        for j in range(i, n):
            total = A[i, j]
            for r in range(i):
                total -= R[r, i] * R[r, j]
            if i == j:
                if not total > 0.0:
                    return R, False
                R[i, i] = np.sqrt(total)
            else:
                R[i, j] = total / R[i, i]
    return R, True


@_jit
def _forward(R, rows):
    """Solve RᵀX = rows in place."""
    for r in range(R.shape[0]):
        for c in range(rows.shape[1]):
            rows[r, c] /= R[r, r]
            for i in range(r + 1, R.shape[0]):
                rows[i, c] -= R[r, i] * rows[r, c]


@_jit
def _backward(R, x):
    """Solve Rx = x in place."""
    for i in range(R.shape[0] - 1, -1, -1):
        for r in range(i + 1, R.shape[0]):
            x[i] -= R[i, r] * x[r]
        x[i] /= R[i, i]


@_inline
def _factorise(pattern, values, lams, prior_precision, D, P, dense, dense_xy, xy):
    """Reduce at Λ, solve for β: log|M| + log|A_x|, r², Lᵀ of the dense part, R_x, β̂, and whether the numbers held."""
    n_xy = xy.shape[0]
    p = n_xy - 1
    scale(pattern, values, lams, D, P, dense, dense_xy, xy)
    log_det = eliminate(pattern, D, P, dense, dense_xy, xy)
    Lt, sound = _cholesky(dense)
    if dense.shape[0] and sound:
        _forward(Lt, dense_xy)
        for i in range(dense.shape[0]):
            log_det += 2.0 * np.log(Lt[i, i])
            for a in range(n_xy):
                for b in range(n_xy):
                    xy[a, b] -= dense_xy[i, a] * dense_xy[i, b]
    A, beta = np.empty((p, p)), np.empty(p)
    for a in range(p):
        for b in range(p):
            A[a, b] = xy[a, b]
        A[a, a] += prior_precision[a]
        beta[a] = xy[a, p]
    R, definite = _cholesky(A)
    r2 = xy[p, p]
    if definite:
        _forward(R, beta.reshape(p, 1))
        for a in range(p):
            r2 -= beta[a] ** 2
            log_det += 2.0 * np.log(R[a, a])
        _backward(R, beta)
    return log_det, max(r2, 0.0), Lt, R, beta, sound and definite


@_inline
def _log_likelihood(n, p, log_det, r2, sigma):
    """−½ [n log 2πσ² + log|M| + log|A_x| − p log σ² + r²/σ²]: what (4.1) holds besides constants and priors."""
    s2 = sigma * sigma
    return -0.5 * (n * np.log(2.0 * np.pi * s2) + log_det - p * np.log(s2) + r2 / s2)


@_inline
def _rooms(space):
    """Arrays that `locate` fills: sds, factors, lams, precision."""
    squares = space.to_scaled.shape[0]
    return (
        np.empty(space.softness.shape[0]),
        np.empty(squares),
        np.empty(squares),
        np.empty(space.precision.shape[0]),
    )


@_jit
def _inverse_of_dense(Rt):
    """(RᵀR)⁻¹ of the dense part, both triangles."""
    if Rt.shape[0] > 16:
        half = np.ascontiguousarray(np.linalg.inv(Rt))
    else:
        half = np.eye(Rt.shape[0])
        for c in range(Rt.shape[0]):
            _backward(Rt, half[:, c])
    return half @ half.T


@_jit
def with_gradient(pattern, values, space, n, x, gradient):
    """The log density at x and, into ``gradient`` (d,), its derivatives (5.1); −∞ and zeros as in `log_densities`."""
    n_xy = values.XytXy.shape[0]
    p = n_xy - 1
    D, P, dense, dense_xy, xy = workspace(pattern, n_xy)
    sds, factors, lams, precision = _rooms(space)
    gradient[:] = 0.0
    sigma, log_prior = locate(space, x, sds, factors, lams, precision)
    if log_prior == -np.inf:
        return -np.inf
    log_det, r2, Lt, R, beta, sound = _factorise(pattern, values, lams, precision, D, P, dense, dense_xy, xy)
    value = _log_likelihood(n, p, log_det, r2, sigma) + log_prior
    if not (sound and np.isfinite(value)):
        return -np.inf
    U = _right_side(pattern, P, dense_xy)
    m_chain = U.shape[0] - dense_xy.shape[0]
    for c in range(n_xy):
        _backward(Lt, U[m_chain:, c])
    back_substitute(pattern, D, P, U)
    E = project(pattern, values, lams, U)  # [Q | ZᵀV⁻¹y]
    for row in range(E.shape[0]):
        for c in range(p):
            E[row, p] -= E[row, c] * beta[c]  # e
    V_diagonal, V_panel = np.empty_like(D), np.empty_like(P)
    V_upper = _inverse_of_dense(Lt)
    selected_inverse(pattern, n_xy, D, P, V_upper, V_diagonal, V_panel)
    by_lam = trace_sums(pattern, values, lams, V_diagonal, V_panel, V_upper)  # KΛ
    A_inverse = _inverse_of_dense(R)
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
def _right_side(pattern, P, dense_xy):
    """B = L⁻¹ΛᵀZᵀW[X y], (m, p + 1) in elimination order."""
    m, n_xy = pattern.column_start[-1], dense_xy.shape[1]
    B, at = np.empty((m, n_xy)), 0
    for k in range(pattern.node_start.shape[0] - 1):
        q = pattern.widths[k]
        for v in range(pattern.node_start[k], pattern.node_start[k + 1]):
            row = (pattern.panel_start[v + 1] - pattern.panel_start[v]) // q
            for a in range(q):
                first = pattern.panel_start[v] + a * row + row - n_xy
                for c in range(n_xy):
                    B[at, c] = P[first + c]
                at += 1
    for i in range(dense_xy.shape[0]):
        for c in range(n_xy):
            B[at + i, c] = dense_xy[i, c]
    return B


@_inline
def _draw(pattern, D, P, dense_xy, Lt, R, beta_hat, sigma, noise, beta, u):
    """β = β̂ + σR_x⁻¹z₁ and u = L⁻ᵀ(B_y − B_xβ + σz₂) (section 6), u in elimination order."""
    p = beta_hat.shape[0]
    for a in range(p):
        beta[a] = sigma * noise[a]
    _backward(R, beta)
    for a in range(p):
        beta[a] += beta_hat[a]
    B = _right_side(pattern, P, dense_xy)
    for i in range(u.shape[0]):
        u[i] = B[i, p] + sigma * noise[p + i]
        for c in range(p):
            u[i] -= B[i, c] * beta[c]
    _backward(Lt, u[u.shape[0] - dense_xy.shape[0] :])
    back_substitute(pattern, D, P, u.reshape(-1, 1))


@_jit
def walk(pattern, values, space, n, x, log_proposal, log_uniform, noise):
    """Independence Metropolis–Hastings from x[0] over the proposals x[1:], with a draw of β and u each.

    Parameters
    ----------
    x, log_proposal : (N, d) and (N,)
    log_uniform, noise : (N,), of which the first is of no use, and (N, p + m). Without rows there is no chain.

    Returns
    -------
    log_density (N,), state (N,) row of x each draw stands on, beta (N, p), u (N, m)
        The density is −∞ out of bounds and where numbers break down. Without a chain only the density is of use.
    """
    N, p, m = x.shape[0], values.XytXy.shape[0] - 1, pattern.column_start[-1]
    D, P, dense, dense_xy, xy = workspace(pattern, p + 1)
    D_here, P_here, _, dense_xy_here, _ = workspace(pattern, p + 1)
    sds, factors, lams, precision = _rooms(space)
    log_density, state = np.full(N, -np.inf), np.zeros(noise.shape[0], np.int64)
    betas, us = np.empty((noise.shape[0], p)), np.empty((noise.shape[0], m))
    here, sigma_here = -1, 0.0
    Lt_here = R_here = dense
    beta_here = np.empty(p)
    for i in range(N):
        sigma, log_prior = locate(space, x[i], sds, factors, lams, precision)
        if log_prior > -np.inf:
            log_det, r2, Lt, R, beta, sound = _factorise(
                pattern, values, lams, precision, D, P, dense, dense_xy, xy
            )
            value = _log_likelihood(n, p, log_det, r2, sigma) + log_prior
            if sound and np.isfinite(value):
                log_density[i] = value
                if state.shape[0] and (
                    here < 0
                    or log_uniform[i] < value - log_proposal[i] - log_density[here] + log_proposal[here]
                ):
                    here, sigma_here, Lt_here, R_here, beta_here = i, sigma, Lt, R, beta
                    D, D_here, P, P_here = D_here, D, P_here, P
                    dense_xy, dense_xy_here = dense_xy_here, dense_xy
        if here >= 0:
            state[i] = here
            _draw(
                pattern, D_here, P_here, dense_xy_here, Lt_here, R_here, beta_here, sigma_here,
                noise[i], betas[i], us[i],
            )  # fmt: skip
    return log_density, state, betas, us
