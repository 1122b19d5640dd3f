"""The compiled loops of the kernel, over nodes of a `Layout`; called by `pls` and `chains` only.

Flat arrays: the panel of node v is P[panel_start[v]:] with rows of length tail + n_xy; its Cholesky factor is the
q × q block at D[diagonal_start[v]:].
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ..tools.compiling import compiled, inlined


@compiled
def _factor_node(D, d, P, p, q, row):
    """Cholesky of D_v in place and P_v = L_v⁻¹ P_v in place; returns log|L_v|²."""
    log_det = 0.0
    for a in range(q):
        for b in range(a + 1):
            total = D[d + a * q + b]
            for r in range(b):
                total -= D[d + a * q + r] * D[d + b * q + r]
            D[d + a * q + b] = np.sqrt(total) if a == b else total / D[d + b * q + b]
        log_det += 2.0 * np.log(D[d + a * q + a])
    for a in range(q):
        for r in range(a):
            below = D[d + a * q + r]
            for b in range(row):
                P[p + a * row + b] -= below * P[p + r * row + b]
        for b in range(row):
            P[p + a * row + b] /= D[d + a * q + a]
    return log_det


@compiled
def _find_block(pattern, e, w, at_w):
    """From block at_w of node w on, the block with the column of block e: its index and the columns passed."""
    widths, block_start, block_column = pattern.widths, pattern.block_start, pattern.block_column
    block_factor = pattern.block_factor
    passed = 0
    while at_w < block_start[w + 1] and block_column[at_w] != block_column[e]:
        passed += widths[block_factor[at_w]]
        at_w += 1
    return at_w, passed


@inlined
def _subtract_square(D, d, P, w, q, row, width):
    """D_w −= WᵀW, its lower triangle, for the block W (q, width) that begins at P[w] in rows of length ``row``."""
    for a in range(width):
        for b in range(a + 1):
            for r in range(q):
                D[d + a * width + b] -= P[w + r * row + a] * P[w + r * row + b]


@inlined
def _subtract_product(P, to, row_to, w, u, q, row, width, columns):
    """The block (width, columns) that begins at P[to] −= WᵀU, for W (q, width) at P[w] and U (q, columns) at P[u]."""
    for a in range(width):
        for b in range(columns):
            for r in range(q):
                P[to + a * row_to + b] -= P[w + r * row + a] * P[u + r * row + b]


@inlined
def _subtract_from_dense(dense, dense_xy, columns, n_columns, P, w, xy, q, row):
    """The upper triangle of ``dense`` −= WᵀW in ``columns``, and ``dense_xy`` −= WᵀU, for U at P[xy]."""
    for a in range(n_columns):
        for r in range(q):
            left = P[w + r * row + a]
            for b in range(a, n_columns):
                dense[columns[a], columns[b]] -= left * P[w + r * row + b]
            for b in range(dense_xy.shape[1]):
                dense_xy[columns[a], b] -= left * P[xy + r * row + b]


@inlined
def _subtract_from_xy(xy, P, u, q, row):
    """D −= UᵀU of (2.3), for what a node brings to B (2.2): U (q, p + 1) at P[u]."""
    for a in range(xy.shape[0]):
        for b in range(xy.shape[0]):
            for r in range(q):
                xy[a, b] -= P[u + r * row + a] * P[u + r * row + b]


@compiled
def eliminate(pattern, columns, D, P, dense, dense_xy, xy):
    """Eliminate all nodes: D, P become factors, dense (upper), dense_xy, xy are reduced in place; log|M_chain|.

    ``columns`` (m_dense,) is room to work in.
    """
    widths, column_start, node_start = pattern.widths, pattern.column_start, pattern.node_start
    block_start, block_column = pattern.block_start, pattern.block_column
    block_factor, block_node, panel_start = pattern.block_factor, pattern.block_node, pattern.panel_start
    diagonal_start = pattern.diagonal_start
    m_chain = column_start[node_start.shape[0] - 1]
    n_xy = xy.shape[0]
    log_det = 0.0
    for k in range(node_start.shape[0] - 1):
        q = widths[k]
        for v in range(node_start[k], node_start[k + 1]):
            p = panel_start[v]
            row = (panel_start[v + 1] - p) // q
            log_det += _factor_node(D, diagonal_start[v], P, p, q, row)
            block, tail = p, p + row - n_xy  # where its next block, and its [X y], begin in P
            e = block_start[v]
            while e < block_start[v + 1] and block_node[e] >= 0:  # ancestors
                w, width = block_node[e], widths[block_factor[e]]
                p_w = panel_start[w]
                row_w = (panel_start[w + 1] - p_w) // width
                _subtract_square(D, diagonal_start[w], P, block, q, row, width)
                to, position, other = block_start[w], p_w, block + width
                for f in range(e + 1, block_start[v + 1]):
                    to, passed = _find_block(pattern, f, w, to)
                    position += passed
                    _subtract_product(P, position, row_w, block, other, q, row, width, widths[block_factor[f]])
                    other += widths[block_factor[f]]
                _subtract_product(P, p_w + row_w - n_xy, row_w, block, tail, q, row, width, n_xy)
                block += width
                e += 1
            n_columns = 0
            for f in range(e, block_start[v + 1]):
                for b in range(widths[block_factor[f]]):
                    columns[n_columns] = block_column[f] - m_chain + b
                    n_columns += 1
            _subtract_from_dense(dense, dense_xy, columns, n_columns, P, block, tail, q, row)
            _subtract_from_xy(xy, P, tail, q, row)
    return log_det


@compiled
def forward_substitute(pattern, D, P, U):
    """Solve LU = G in place for the chain's rows of U (m, columns), and reduce the dense rows by them."""
    widths, node_start, block_start = pattern.widths, pattern.node_start, pattern.block_start
    block_column, block_factor = pattern.block_column, pattern.block_factor
    panel_start, diagonal_start = pattern.panel_start, pattern.diagonal_start
    first = 0
    for k in range(node_start.shape[0] - 1):
        q = widths[k]
        for v in range(node_start[k], node_start[k + 1]):
            d, p = diagonal_start[v], panel_start[v]
            row = (panel_start[v + 1] - p) // q
            for a in range(q):
                for c in range(U.shape[1]):
                    for r in range(a):
                        U[first + a, c] -= D[d + a * q + r] * U[first + r, c]
                    U[first + a, c] /= D[d + a * q + a]
            offset = 0
            for e in range(block_start[v], block_start[v + 1]):
                for b in range(widths[block_factor[e]]):
                    for a in range(q):
                        value = P[p + a * row + offset]
                        for c in range(U.shape[1]):
                            U[block_column[e] + b, c] -= value * U[first + a, c]
                    offset += 1
            first += q


@compiled
def back_substitute(pattern, D, P, U):
    """Solve LᵀU = G in place for the chain's rows of U (m, columns); the dense rows hold the solution already."""
    widths, node_start, block_start = pattern.widths, pattern.node_start, pattern.block_start
    block_column, block_factor = pattern.block_column, pattern.block_factor
    panel_start, diagonal_start = pattern.panel_start, pattern.diagonal_start
    for k in range(node_start.shape[0] - 2, -1, -1):
        q = widths[k]
        for v in range(node_start[k + 1] - 1, node_start[k] - 1, -1):
            d, p = diagonal_start[v], panel_start[v]
            row = (panel_start[v + 1] - p) // q
            first_node = node_start[k]
            first = (v - first_node) * q
            for i in range(k):
                first += (node_start[i + 1] - node_start[i]) * widths[i]
            offset = 0
            for e in range(block_start[v], block_start[v + 1]):
                for b in range(widths[block_factor[e]]):
                    for a in range(q):
                        value = P[p + a * row + offset]
                        for c in range(U.shape[1]):
                            U[first + a, c] -= value * U[block_column[e] + b, c]
                    offset += 1
            for a in range(q - 1, -1, -1):
                for c in range(U.shape[1]):
                    for r in range(a + 1, q):
                        U[first + a, c] -= D[d + r * q + a] * U[first + r, c]
                    U[first + a, c] /= D[d + a * q + a]


@compiled
def _tail_inverse(pattern, v, V_diagonal, V_panel, V_upper, T):
    """T = M⁻¹ on the tail columns of node v, read from its ancestors and the dense inverse."""
    widths, column_start, block_start = pattern.widths, pattern.column_start, pattern.block_start
    block_column, block_factor, block_node = pattern.block_column, pattern.block_factor, pattern.block_node
    panel_start, diagonal_start = pattern.panel_start, pattern.diagonal_start
    m_chain = column_start[pattern.node_start.shape[0] - 1]
    offset = 0
    for e in range(block_start[v], block_start[v + 1]):
        width, w = widths[block_factor[e]], block_node[e]
        source = offset
        if w >= 0:
            pw, dw = panel_start[w], diagonal_start[w]
            row_w = (panel_start[w + 1] - pw) // width
            for a in range(width):
                for b in range(width):
                    T[offset + a, offset + b] = V_diagonal[dw + a * width + b]
            to, position = block_start[w], 0
            source += width
            for f in range(e + 1, block_start[v + 1]):
                to, passed = _find_block(pattern, f, w, to)
                position += passed
                for b in range(widths[block_factor[f]]):
                    for a in range(width):
                        T[offset + a, source + b] = V_panel[pw + a * row_w + position + b]
                        T[source + b, offset + a] = T[offset + a, source + b]
                source += widths[block_factor[f]]
        else:
            for f in range(e, block_start[v + 1]):
                for b in range(widths[block_factor[f]]):
                    for a in range(width if f > e else b + 1):
                        value = V_upper[block_column[e] - m_chain + a, block_column[f] - m_chain + b]
                        T[offset + a, source + b] = value
                        T[source + b, offset + a] = value
                source += widths[block_factor[f]]
        offset += width


@inlined
def _inverse_of_factor(D, d, q):
    """L_v⁻¹ (q, q)."""
    inverse = np.zeros((q, q))
    for b in range(q):
        inverse[b, b] = 1.0 / D[d + b * q + b]
        for a in range(b + 1, q):
            total = 0.0
            for r in range(b, a):
                total -= D[d + a * q + r] * inverse[r, b]
            inverse[a, b] = total / D[d + a * q + a]
    return inverse


@inlined
def _panel_of_inverse(inverse, P, p, row, T, V_panel):
    """V_v,tail = −L⁻ᵀWT, for the rows W of node v."""
    q = inverse.shape[0]
    for b in range(T.shape[0]):
        for a in range(q):
            total = 0.0
            for s in range(T.shape[0]):
                total += P[p + a * row + s] * T[s, b]
            V_panel[p + a * row + b] = total
        for a in range(q):
            total = 0.0
            for r in range(a, q):
                total -= inverse[r, a] * V_panel[p + r * row + b]
            V_panel[p + a * row + b] = total


@inlined
def _diagonal_of_inverse(inverse, P, p, row, tail, V_panel, V_diagonal, d):
    """V_vv = L⁻ᵀ(L⁻¹ − W V_v,tailᵀ)."""
    q = inverse.shape[0]
    middle = inverse.copy()
    for a in range(q):
        for b in range(q):
            for s in range(tail):
                middle[a, b] -= P[p + a * row + s] * V_panel[p + b * row + s]
    for a in range(q):
        for b in range(q):
            total = 0.0
            for r in range(a, q):
                total += inverse[r, a] * middle[r, b]
            V_diagonal[d + a * q + b] = total


@compiled
def selected_inverse(pattern, n_xy, D, P, V_upper, V_diagonal, V_panel):
    """M⁻¹ on the pattern of M (Takahashi): blocks of the chain and between it and what follows."""
    widths, node_start, panel_start = pattern.widths, pattern.node_start, pattern.panel_start
    for k in range(node_start.shape[0] - 2, -1, -1):
        q = widths[k]
        for v in range(node_start[k + 1] - 1, node_start[k] - 1, -1):
            d, p = pattern.diagonal_start[v], panel_start[v]
            row = (panel_start[v + 1] - p) // q
            tail = row - n_xy
            T = np.empty((tail, tail))
            _tail_inverse(pattern, v, V_diagonal, V_panel, V_upper, T)
            inverse = _inverse_of_factor(D, d, q)
            _panel_of_inverse(inverse, P, p, row, T, V_panel)
            _diagonal_of_inverse(inverse, P, p, row, tail, V_panel, V_diagonal, d)
