"""The compiled loops over blocks of cross-products: ΛᵀZᵀWZΛ + I (2.1), and the sums that gradients need (5.1)."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled, inlined

Codes = NDArray[np.int64]


class Room(NamedTuple):
    """Arrays for one factorisation."""

    D: Array
    P: Array
    dense: Array  # its upper triangle
    dense_xy: Array
    xy: Array  # [X y]ᵀV⁻¹[X y]
    half: Array
    columns: Codes


def room(pattern: Any, n_xy: int) -> Room:
    """Room for one factorisation of M with n_xy = p + 1 columns beside it."""
    m_dense = pattern.column_start[-1] - pattern.column_start[pattern.node_start.shape[0] - 1]
    widest = 0
    for k in range(pattern.widths.shape[0]):
        widest = max(widest, pattern.widths[k])
    return Room(
        np.empty(pattern.diagonal_start[-1]),
        np.empty(pattern.panel_start[-1]),
        np.empty((m_dense, m_dense)),
        np.empty((m_dense, n_xy)),
        np.empty((n_xy, n_xy)),
        np.empty((widest, widest)),
        np.empty(m_dense, np.int64),
    )


compiled_room = compiled(room)


# Helpers return numbers: where numba writes one into its caller, every array among its arguments is counted anew


@inlined
def _product_with_lambda(S, s, q, lams, lam, a, b):
    """(S Λ)_ab, for a block S of q columns that begins at S[s] and the template at lams[lam]."""
    total = 0.0
    for r in range(q):
        total += S[s + a * q + r] * lams[lam + r * q + b]
    return total


@inlined
def _lambda_times(lams, lam, q, a, half, b, total):
    """``total`` + (Λᵀ half)_ab."""
    for r in range(q):
        total += lams[lam + r * q + a] * half[r, b]
    return total


@compiled
def scale(pattern, values, lams, half, D, P, dense, dense_xy, xy):
    """ΛᵀZᵀWZΛ + I and ΛᵀZᵀW[X y] (2.1) into a `Room`; ``lams`` holds the q × q templates one after another."""
    ZtZ, ZtXy, XytXy, lam_start = values.ZtZ, values.ZtXy, values.XytXy, values.lam_start
    pair_factors, pair_counts, pair_at = values.pair_factors, values.pair_counts, values.pair_at
    pair_values, panel_start, diagonal_start = values.pair_values, pattern.panel_start, pattern.diagonal_start
    widths, column_start, node_start = pattern.widths, pattern.column_start, pattern.node_start
    n_chain, n_xy, n_dense = node_start.shape[0] - 1, xy.shape[0], dense.shape[0]
    m_chain = column_start[n_chain]
    for i in range(n_dense):
        for j in range(n_dense):
            dense[i, j] = 0.0
    for i in range(n_xy):
        for j in range(n_xy):
            xy[i, j] = XytXy[i, j]
    gram_start = right = 0
    for k in range(widths.shape[0]):
        q, lam = widths[k], lam_start[k]
        for level in range((column_start[k + 1] - column_start[k]) // q):
            for a in range(q):
                for b in range(q):
                    half[a, b] = _product_with_lambda(ZtZ, gram_start, q, lams, lam, a, b)
            first = column_start[k] + level * q - m_chain
            row = d = p = 0
            if k < n_chain:
                v = node_start[k] + level
                row = (panel_start[v + 1] - panel_start[v]) // q
                d, p = diagonal_start[v], panel_start[v] + row - n_xy
            for a in range(q):
                for b in range(q):
                    entry = _lambda_times(lams, lam, q, a, half, b, 1.0 if a == b else 0.0)
                    if k < n_chain:
                        D[d + a * q + b] = entry
                    else:
                        dense[first + a, first + b] = entry
                for c in range(n_xy):
                    entry = 0.0
                    for r in range(q):
                        entry += lams[lam + r * q + a] * ZtXy[right + r * n_xy + c]
                    if k < n_chain:
                        P[p + a * row + c] = entry
                    else:
                        dense_xy[first + a, c] = entry
            gram_start += q * q
            right += q * n_xy
    pair_start = 0
    for i in range(pair_counts.shape[0]):
        first, second = pair_factors[i, 0], pair_factors[i, 1]
        q_a, q_b, lam_a, lam_b = widths[first], widths[second], lam_start[first], lam_start[second]
        for _ in range(pair_counts[i]):
            for a in range(q_a):
                for b in range(q_b):
                    half[a, b] = _product_with_lambda(pair_values, pair_start, q_b, lams, lam_b, a, b)
            for a in range(q_a):
                for b in range(q_b):
                    entry, to = _lambda_times(lams, lam_a, q_a, a, half, b, 0.0), pair_at[pair_start + a * q_b + b]
                    if first < n_chain:
                        P[to] = entry
                    else:
                        dense[to // n_dense, to % n_dense] = entry
            pair_start += q_a * q_b


@compiled
def right_side(pattern, P, dense_xy, B):
    """Into B: L⁻¹ΛᵀZᵀW[X y], (m, p + 1) in elimination order."""
    n_xy, column = dense_xy.shape[1], 0
    for k in range(pattern.node_start.shape[0] - 1):
        q = pattern.widths[k]
        for v in range(pattern.node_start[k], pattern.node_start[k + 1]):
            row = (pattern.panel_start[v + 1] - pattern.panel_start[v]) // q
            for a in range(q):
                first = pattern.panel_start[v] + a * row + row - n_xy
                for c in range(n_xy):
                    B[column, c] = P[first + c]
                column += 1
    for i in range(dense_xy.shape[0]):
        for c in range(n_xy):
            B[column + i, c] = dense_xy[i, c]


@compiled
def subtract_products(pattern, values, A, E):
    """E −= ZᵀWZ A, both (m, columns) in elimination order."""
    ZtZ, pair_factors = values.ZtZ, values.pair_factors
    pair_counts, pair_values, pair_rows = values.pair_counts, values.pair_values, values.pair_rows
    widths, column_start = pattern.widths, pattern.column_start
    gram_start = 0
    for k in range(widths.shape[0]):
        q = widths[k]
        for row in range(column_start[k], column_start[k + 1], q):
            for a in range(q):
                for r in range(q):
                    for c in range(A.shape[1]):
                        E[row + a, c] -= ZtZ[gram_start + a * q + r] * A[row + r, c]
            gram_start += q * q
    i = pair_start = 0
    for pair in range(pair_counts.shape[0]):
        q_a, q_b = widths[pair_factors[pair, 0]], widths[pair_factors[pair, 1]]
        for _ in range(pair_counts[pair]):
            row, column = pair_rows[i, 0], pair_rows[i, 1]
            for a in range(q_a):
                for b in range(q_b):
                    value = pair_values[pair_start + a * q_b + b]
                    for c in range(A.shape[1]):
                        E[row + a, c] -= value * A[column + b, c]
                        E[column + b, c] -= value * A[row + a, c]
            i += 1
            pair_start += q_a * q_b


@compiled
def project(pattern, values, lams, U, E):
    """Into E: ZᵀV⁻¹[X y] = ZᵀW[X y] − ZᵀWZ ΛU, (m, p + 1) in elimination order, from U = M⁻¹ΛᵀZᵀW[X y]."""
    ZtXy, lam_start = values.ZtXy, values.lam_start
    widths, column_start = pattern.widths, pattern.column_start
    n_xy = U.shape[1]
    scaled = np.zeros(U.shape)  # ΛU
    for k in range(widths.shape[0]):
        q, lam = widths[k], lam_start[k]
        for row in range(column_start[k], column_start[k + 1], q):
            for a in range(q):
                for r in range(q):
                    for c in range(n_xy):
                        scaled[row + a, c] += lams[lam + a * q + r] * U[row + r, c]
    for row in range(U.shape[0]):
        for c in range(n_xy):
            E[row, c] = ZtXy[row * n_xy + c]
    subtract_products(pattern, values, scaled, E)


@compiled
def trace_sums(pattern, values, lams, V_diagonal, V_panel, V_upper, sums):
    """Add to ``sums`` Σ_levels (ZᵀWZΛM⁻¹)_jj of each factor, (Σ q²,) in elimination order, from M⁻¹."""
    ZtZ, lam_start, pair_factors = values.ZtZ, values.lam_start, values.pair_factors
    pair_counts, pair_values, pair_at = values.pair_counts, values.pair_values, values.pair_at
    diagonal_start = pattern.diagonal_start
    widths, column_start, node_start = pattern.widths, pattern.column_start, pattern.node_start
    n_chain = node_start.shape[0] - 1
    m_chain = column_start[n_chain]
    gram_start = 0
    for k in range(widths.shape[0]):
        q, lam = widths[k], lam_start[k]
        for level in range((column_start[k + 1] - column_start[k]) // q):
            d = row = 0
            if k < n_chain:
                d = diagonal_start[node_start[k] + level]
            else:
                row = column_start[k] + level * q - m_chain
            for b in range(q):
                for a in range(q):
                    half = 0.0
                    for r in range(q):
                        half += ZtZ[gram_start + a * q + r] * lams[lam + r * q + b]
                    for c in range(q):
                        if k < n_chain:
                            sums[lam + a * q + c] += half * V_diagonal[d + b * q + c]
                        else:
                            sums[lam + a * q + c] += half * V_upper[row + min(b, c), row + max(b, c)]
            gram_start += q * q
    pair_start = 0
    for pair in range(pair_counts.shape[0]):
        first, second = pair_factors[pair, 0], pair_factors[pair, 1]
        q_a, q_b, lam_a, lam_b = (widths[first], widths[second], lam_start[first], lam_start[second])
        for _ in range(pair_counts[pair]):
            for i in range(q_a):
                for j in range(q_b):
                    to = pair_at[pair_start + i * q_b + j]
                    if first < n_chain:
                        V = V_panel[to]
                    else:
                        V = V_upper[to // V_upper.shape[0], to % V_upper.shape[0]]
                    for a in range(q_a):  # G_a += S_ab Λ_b V_abᵀ
                        for r in range(q_b):
                            half = pair_values[pair_start + a * q_b + r] * lams[lam_b + r * q_b + j]
                            sums[lam_a + a * q_a + i] += half * V
                    for b in range(q_b):  # G_b += S_abᵀ Λ_a V_ab
                        for r in range(q_a):
                            half = pair_values[pair_start + r * q_b + b] * lams[lam_a + r * q_a + i]
                            sums[lam_b + b * q_b + j] += half * V
            pair_start += q_a * q_b
