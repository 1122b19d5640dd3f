"""Compiled: one factorisation with β̂ at a template, for the loops that do not return to Python (section 2)."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..tools.arrays import Array
from ..tools.compiling import compiled, inlined
from .assembly import Room, compiled_room, scale
from .elimination import eliminate

SMALL = 16  # up to this size a matrix is factorised by loops, beyond by LAPACK


class Work(NamedTuple):
    """What one factorisation leaves, used again and again."""

    room: Room
    R: Array  # (p, p) R_x; its lower triangle is of no use
    beta: Array  # (p,) β̂


@inlined
def work_for(pattern, n_xy):
    """Room for one factorisation with n_xy = p + 1 columns beside it."""
    return Work(compiled_room(pattern, n_xy), np.empty((n_xy - 1, n_xy - 1)), np.empty(n_xy - 1))


@compiled
def _cholesky(A):
    """In place of A, of which the upper triangle is read, the upper R with RᵀR = A; whether A is positive definite."""
    for i in range(A.shape[0]):
        for j in range(i, A.shape[0]):
            for r in range(i):
                A[i, j] -= A[r, i] * A[r, j]
            if i == j:
                if not A[i, i] > 0.0:
                    return False
                A[i, i] = np.sqrt(A[i, i])
            else:
                A[i, j] /= A[i, i]
    return True


@compiled
def _dense_cholesky(A):
    """The same for a matrix that may be large, by LAPACK then; its lower triangle is of no use."""
    if A.shape[0] <= SMALL:
        return A, _cholesky(A)
    try:
        return np.ascontiguousarray(np.linalg.cholesky(A.T).T), True
    except Exception:
        return A, False


@compiled
def forward(R, rows):
    """Solve RᵀX = rows in place."""
    for r in range(R.shape[0]):
        for c in range(rows.shape[1]):
            rows[r, c] /= R[r, r]
            for i in range(r + 1, R.shape[0]):
                rows[i, c] -= R[r, i] * rows[r, c]


@compiled
def backward(R, x):
    """Solve Rx = x in place."""
    for i in range(R.shape[0] - 1, -1, -1):
        for r in range(i + 1, R.shape[0]):
            x[i] -= R[i, r] * x[r]
        x[i] /= R[i, i]


@inlined
def factorise(pattern, values, lams, prior_precision, work):
    """Reduce at Λ, solve for β: log|M|, log|A_x|, r², Lᵀ of the dense part, and whether the numbers held."""
    D, P, dense, dense_xy, xy, half, columns = work.room
    R, beta = work.R, work.beta
    n_xy = xy.shape[0]
    p = n_xy - 1
    scale(pattern, values, lams, half, D, P, dense, dense_xy, xy)
    log_det = eliminate(pattern, columns, D, P, dense, dense_xy, xy)
    Lt, sound = _dense_cholesky(dense)
    if sound:
        forward(Lt, dense_xy)
        for i in range(dense.shape[0]):
            log_det += 2.0 * np.log(Lt[i, i])
            for a in range(n_xy):
                for b in range(n_xy):
                    xy[a, b] -= dense_xy[i, a] * dense_xy[i, b]
    for a in range(p):
        for b in range(a, p):
            R[a, b] = xy[a, b]
        R[a, a] += prior_precision[a]
        beta[a] = xy[a, p]
    definite = _cholesky(R)
    r2, log_det_A = xy[p, p], 0.0
    if definite:
        for r in range(p):
            beta[r] /= R[r, r]
            r2 -= beta[r] ** 2
            log_det_A += 2.0 * np.log(R[r, r])
            for i in range(r + 1, p):
                beta[i] -= R[r, i] * beta[r]
        backward(R, beta)
    return log_det, log_det_A, max(r2, 0.0), Lt, sound and definite


@compiled
def inverse_of_dense(Rt):
    """(RᵀR)⁻¹ of the dense part, both triangles."""
    size = Rt.shape[0]
    if size > SMALL:
        half = np.ascontiguousarray(np.linalg.inv(Rt))
        return half @ half.T
    half, inverse = np.eye(size), np.zeros((size, size))
    for c in range(size):
        backward(Rt, half[:, c])
    for a in range(size):
        for b in range(a + 1):
            for c in range(a, size):  # half is upper triangular
                inverse[a, b] += half[a, c] * half[b, c]
            inverse[b, a] = inverse[a, b]
    return inverse


@compiled
def solve_small(R, half, x):
    """A becomes its upper R, RᵀR = A, and b becomes half = R⁻ᵀb; x = A⁻¹b. Whether A is positive definite."""
    if not _cholesky(R):
        return False
    for a in range(R.shape[0]):
        for r in range(a):
            R[a, r] = 0.0
            half[a] -= R[r, a] * half[r]
        half[a] /= R[a, a]
        x[a] = half[a]
    backward(R, x)
    return True
