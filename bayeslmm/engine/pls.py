"""THE kernel: penalised least squares by blocked elimination (docs/theory.md, sections 2, 3, 5, 6).

Given Λ, one factorisation of M = ΛᵀZᵀWZΛ + I yields the criterion, its gradient, the conditional modes, their
covariances and exact draws. Nothing here grows with the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from . import elimination
from .layout import Layout, entries

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """[Z X y] reduced at Λ: the factors of M and what is left of [X y] (2.1–2.3)."""

    layout: Layout
    lam: Array  # the templates, flat, in elimination order
    lam_start: NDArray[np.int64]
    D: Array  # Cholesky factors of the nodes, flat
    P: Array  # panels of L and B, flat
    L_dense: Array  # (m_dense, m_dense) lower; above the diagonal anything
    B_dense: Array  # (m_dense, p + 1)
    XyVXy: Array  # (p + 1, p + 1): [X y]ᵀV⁻¹[X y]
    log_det_M: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """β̂ and what the criterion needs, given a `Reduced` (section 2)."""

    beta: Array  # (p,)
    R_x: Array  # (p, p) upper, R_xᵀR_x = A_x
    r2: float  # r² = D_yy − D_xyᵀβ̂
    log_det_A: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverse:
    """M⁻¹ on the pattern of M, and G_k = Σ_levels (ZᵀWZΛM⁻¹)_jj = Σ_levels (ZᵀV⁻¹Z)_jjΛ_k for every factor."""

    diagonal: tuple[Array, ...]  # per factor (J_k, q_k, q_k): blocks of M⁻¹
    G: tuple[Array, ...]  # per factor (q_k, q_k)


def _flat(layout: Layout, lams: Sequence[Array]) -> tuple[Array, NDArray[np.int64]]:
    start = np.concatenate([[0], np.cumsum(layout.widths**2)]).astype(np.int64)
    parts = [np.asarray(lams[k], dtype=float).reshape(-1) for k in layout.order]
    return (np.concatenate(parts) if parts else np.zeros(0)), start


def _lambda(layout: Layout, lams: Sequence[Array], right: Array, *, transpose: bool = False) -> Array:
    """ΛA, or ΛᵀA, for A (m, columns) in elimination order."""
    out = np.empty_like(right)
    for position, k in enumerate(layout.order):
        rows = layout.rows(position)
        block = right[rows].reshape(-1, int(layout.widths[position]), right.shape[1])
        lam = lams[k].T if transpose else lams[k]
        out[rows] = np.matmul(lam, block).reshape(-1, right.shape[1])
    return out


def _dense_part(layout: Layout, lams: Sequence[Array]) -> tuple[Array, Array]:
    """The upper triangle of M and ΛᵀZᵀW[X y] for the dense factors, before anything is eliminated (2.1)."""
    m = layout.R_dense.shape[0]
    upper = np.zeros((m, m))
    for block in layout.dense_blocks:
        rows, columns = entries(block)
        left, right = lams[layout.order[block.row_position]], lams[layout.order[block.column_position]]
        upper[columns, rows] = left.T @ block.values @ right
    upper[np.diag_indices(m)] += 1.0
    xy = np.empty_like(layout.R_dense)
    for position in range(layout.n_chain, len(layout.order)):
        here, q = layout.dense_rows(position), int(layout.widths[position])
        scaled = lams[layout.order[position]].T @ layout.R_dense[here].reshape(-1, q, xy.shape[1])
        xy[here] = scaled.reshape(-1, xy.shape[1])
    return upper, xy


def reduce(layout: Layout, lams: Sequence[Array]) -> Reduced:
    """Factorise M = ΛᵀZᵀWZΛ + I at the given templates (one q_k × q_k matrix a factor, in the caller's order)."""
    lam, lam_start = _flat(layout, lams)
    D, P = np.empty_like(layout.S_diagonal), np.empty_like(layout.S_panel)
    upper, dense_xy = _dense_part(layout, lams)
    xy = layout.cross.XytXy.copy()
    log_det = elimination.eliminate(
        layout.widths, lam, lam_start, layout.node_start, layout.block_start, layout.block_column,
        layout.block_factor, layout.block_node, layout.panel_start, layout.diagonal_start, layout.S_diagonal,
        layout.S_panel, layout.m_chain, D, P, upper, dense_xy, xy,
    )  # fmt: skip
    dense = upper.T
    if len(dense):
        dense, info = lapack.dpotrf(dense, lower=1, clean=0, overwrite_a=1)
        if info:
            raise FloatingPointError(f"M is not positive definite at column {info} of its dense part")
        dense_xy, _ = lapack.dtrtrs(dense, dense_xy, lower=1)  # (2.2)
        xy -= dense_xy.T @ dense_xy  # (2.3)
        log_det += 2.0 * float(np.log(dense.diagonal()).sum())
    return Reduced(
        layout=layout, lam=lam, lam_start=lam_start, D=D, P=P, L_dense=dense, B_dense=dense_xy, XyVXy=xy,
        log_det_M=float(log_det),
    )  # fmt: skip


def solve(reduced: Reduced, *, prior_precision: Array | None = None) -> Solution:
    """β̂ = A_x⁻¹D_xy with A_x = D_xx + prior_precision (σ²P₀; none for REML and ML)."""
    p = reduced.XyVXy.shape[0] - 1
    A, d_xy = reduced.XyVXy[:p, :p], reduced.XyVXy[:p, p]
    if prior_precision is not None:
        A = A + prior_precision
    if p == 0:
        return Solution(beta=np.zeros(0), R_x=np.zeros((0, 0)), r2=float(reduced.XyVXy[0, 0]), log_det_A=0.0)
    R_x, info = lapack.dpotrf(A, lower=0, clean=1)
    if info:
        raise FloatingPointError(f"XᵀV⁻¹X is not positive definite at column {info}")
    half, _ = lapack.dtrtrs(R_x, d_xy, lower=0, trans=1)
    beta, _ = lapack.dtrtrs(R_x, half, lower=0)
    r2 = max(float(reduced.XyVXy[p, p] - half @ half), 0.0)
    return Solution(beta=beta, R_x=R_x, r2=r2, log_det_A=2.0 * float(np.log(R_x.diagonal()).sum()))


def _back_substitute(reduced: Reduced, G: Array) -> Array:
    """U with LᵀU = G, G (m, columns) in elimination order; G is overwritten."""
    layout = reduced.layout
    if layout.m > layout.m_chain:
        G[layout.m_chain :] = lapack.dtrtrs(reduced.L_dense, G[layout.m_chain :], lower=1, trans=1)[0]
    elimination.back_substitute(
        layout.widths, layout.node_start, layout.block_start, layout.block_column, layout.block_factor,
        layout.panel_start, layout.diagonal_start, reduced.D, reduced.P, G,
    )  # fmt: skip
    return G


def _forward_substitute(reduced: Reduced, G: Array) -> Array:
    """U with LU = G, G (m, columns) in elimination order; G is overwritten."""
    layout = reduced.layout
    elimination.forward_substitute(
        layout.widths, layout.node_start, layout.block_start, layout.block_column, layout.block_factor,
        layout.panel_start, layout.diagonal_start, reduced.D, reduced.P, G,
    )  # fmt: skip
    if layout.m > layout.m_chain:
        G[layout.m_chain :] = lapack.dtrtrs(reduced.L_dense, G[layout.m_chain :], lower=1)[0]
    return G


def _times_ZtWZ(layout: Layout, A: Array) -> Array:
    """ZᵀWZA for A (m, columns) in elimination order."""
    E = np.zeros_like(A)
    E[layout.m_chain :] = layout.S_dense @ A[layout.m_chain :]
    elimination.add_products(
        layout.widths, layout.node_start, layout.block_start, layout.block_column, layout.block_factor,
        layout.panel_start, layout.diagonal_start, layout.S_diagonal, layout.S_panel, A, E,
    )  # fmt: skip
    return E


def _right_side(reduced: Reduced) -> Array:
    """B = L⁻¹ΛᵀZᵀW[X y], (m, p + 1) in elimination order."""
    layout, n_xy = reduced.layout, reduced.XyVXy.shape[0]
    B = np.empty((layout.m, n_xy))
    elimination.chain_right_side(layout.widths, layout.node_start, layout.panel_start, reduced.P, n_xy, B)
    B[layout.m_chain :] = reduced.B_dense
    return B


def _by_factor(layout: Layout, stacked: Array) -> tuple[Array, ...]:
    """Split (m, columns) in elimination order into (J_k, q_k, columns) per factor, in the caller's order."""
    parts: list[Array] = [np.zeros(0)] * len(layout.order)
    for position, k in enumerate(layout.order):
        parts[k] = stacked[layout.rows(position)].reshape(-1, int(layout.widths[position]), stacked.shape[1])
    return tuple(parts)


def spherical_modes(reduced: Reduced, beta: Array, noise: Array | None = None) -> tuple[Array, ...]:
    """û(β) = L⁻ᵀ(B_y − B_xβ) per factor (J_k, q_k); with ``noise`` (m,), a draw û(β) + L⁻ᵀnoise (section 6)."""
    B = _right_side(reduced)
    right = B[:, -1:] - B[:, :-1] @ beta[:, None]
    if noise is not None:
        right += noise[:, None]
    return tuple(part[:, :, 0] for part in _by_factor(reduced.layout, _back_substitute(reduced, right)))


def inverse(reduced: Reduced) -> Inverse:
    """M⁻¹ on the pattern of M by Takahashi's recursion, and the sums G the gradient needs (section 5)."""
    layout = reduced.layout
    G = np.zeros_like(reduced.lam)
    V_upper = np.zeros((0, 0))
    if layout.m > layout.m_chain:
        V_upper = lapack.dpotri(reduced.L_dense, lower=1)[0].T
        _add_dense_G(reduced, V_upper, G)
    V_diagonal, V_panel = np.zeros_like(reduced.D), np.zeros_like(reduced.P)
    elimination.selected_inverse(
        layout.widths, reduced.lam, reduced.lam_start, layout.node_start, layout.block_start,
        layout.block_column, layout.block_factor, layout.block_node, layout.panel_start, layout.diagonal_start,
        layout.S_diagonal, layout.S_panel, layout.m_chain, reduced.XyVXy.shape[0], reduced.D, reduced.P, V_upper,
        V_diagonal, V_panel, G,
    )  # fmt: skip
    diagonal: list[Array] = [np.zeros(0)] * len(layout.order)
    sums: list[Array] = [np.zeros(0)] * len(layout.order)
    for position, k in enumerate(layout.order):
        q = int(layout.widths[position])
        sums[k] = G[reduced.lam_start[position] : reduced.lam_start[position + 1]].reshape(q, q)
        if position < layout.n_chain:
            first, last = layout.diagonal_start[layout.node_start[position : position + 2]]
            diagonal[k] = V_diagonal[first:last].reshape(-1, q, q)
        else:
            at = np.arange(layout.dense_rows(position).start, layout.dense_rows(position).stop).reshape(-1, q)
            diagonal[k] = _symmetrized(V_upper[at[:, :, None], at[:, None, :]])
    return Inverse(diagonal=tuple(diagonal), G=tuple(sums))


def _lams(reduced: Reduced) -> list[Array]:
    layout = reduced.layout
    lams: list[Array] = [np.zeros(0)] * len(layout.order)
    for position, k in enumerate(layout.order):
        q = int(layout.widths[position])
        lams[k] = reduced.lam[reduced.lam_start[position] : reduced.lam_start[position + 1]].reshape(q, q)
    return lams


def _symmetrized(blocks: Array) -> Array:
    """Blocks (..., q, q) of which only the upper triangles are given."""
    upper = np.triu(blocks)
    return upper + np.triu(blocks, 1).swapaxes(-1, -2)


def _add_dense_G(reduced: Reduced, V_upper: Array, G: Array) -> None:
    """G_k += Σ_j (S_dd Λ M⁻¹_dd)_jj for the dense factors."""
    layout, lams = reduced.layout, _lams(reduced)
    for block in layout.dense_blocks:
        rows, columns = entries(block)
        r, c = block.row_position, block.column_position  # below: V (pairs, q_row, q_column)
        V = _symmetrized(V_upper[rows, columns]) if r == c else V_upper[columns, rows]
        own = slice(reduced.lam_start[r], reduced.lam_start[r + 1])
        S_lam = block.values @ lams[layout.order[c]]
        G[own] += np.einsum("iac,ibc->ab", S_lam, V).reshape(-1)
        if r != c:
            other = slice(reduced.lam_start[c], reduced.lam_start[c + 1])
            St_lam = block.values.swapaxes(1, 2) @ lams[layout.order[r]]
            G[other] += np.einsum("iac,icb->ab", St_lam, V).reshape(-1)


def projected(reduced: Reduced) -> tuple[Array, ...]:
    """ZᵀV⁻¹[X y] per factor (J_k, q_k, p + 1), by R − SΛU: finite where Λ is singular (section 5)."""
    layout = reduced.layout
    U = _back_substitute(reduced, _right_side(reduced))
    E = -_times_ZtWZ(layout, _lambda(layout, _lams(reduced), U))
    for position, k in enumerate(layout.order):
        E[layout.rows(position)] += layout.cross.ZtXy[k].reshape(-1, U.shape[1])
    return _by_factor(layout, E)


def whole_Q(reduced: Reduced) -> Array:
    """ZᵀV⁻¹X, (m, p) in elimination order."""
    parts = projected(reduced)
    p = reduced.XyVXy.shape[0] - 1
    return np.concatenate([parts[k][:, :, :-1].reshape(-1, p) for k in reduced.layout.order])


def whole_K(reduced: Reduced) -> Array:
    """ZᵀV⁻¹Z = S − SΛM⁻¹ΛᵀS, dense (m, m) in elimination order."""
    layout = reduced.layout
    S = _times_ZtWZ(layout, np.eye(layout.m))
    half = _forward_substitute(reduced, _lambda(layout, _lams(reduced), S, transpose=True))
    return S - half.T @ half


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """What the derivatives of the criterion are made of (5.1), per factor; Q is empty for ML."""

    Q: tuple[Array, ...]  # (J_k, q_k, p): ZᵀV⁻¹X
    e: tuple[Array, ...]  # (J_k, q_k): ZᵀV⁻¹(y − Xβ̂)
    K_lam: tuple[Array, ...]  # (q_k, q_k): Σ_levels K_jj Λ_k
    outer: tuple[Array, ...]  # (q_k, q_k): Σ_levels (QA⁻¹Qᵀ + eeᵀ/σ²)_jj

    def gradients(self, lams: Sequence[Array]) -> list[Array]:
        """∂(−2ℓ)/∂Λ_k = 2 Σ_levels Γ_jj Λ_k, (q_k, q_k) per factor."""
        return [2.0 * (K - o @ lam) for K, o, lam in zip(self.K_lam, self.outer, lams, strict=True)]


def slopes(reduced: Reduced, solution: Solution, sigma2: float, *, with_X: bool) -> Slopes:
    """Derivative terms at a `Reduced`; ``with_X=False`` leaves out the Q terms (ML)."""
    Q, e, outer = [], [], []
    for E in projected(reduced):
        Qk, ek = E[:, :, :-1], E[:, :, -1] - E[:, :, :-1] @ solution.beta
        total = ek.T @ ek / sigma2
        if with_X and Qk.shape[2]:
            half = _whiten(solution, Qk.reshape(-1, Qk.shape[2]).T).reshape(-1, *Qk.shape[:2])
            total = total + np.einsum("cja,cjb->ab", half, half)
        Q.append(Qk if with_X else Qk[:, :, :0])
        e.append(ek)
        outer.append(total)
    return Slopes(Q=tuple(Q), e=tuple(e), K_lam=inverse(reduced).G, outer=tuple(outer))


def _whiten(solution: Solution, right: Array) -> Array:
    """R_x⁻ᵀA for A (p, columns)."""
    return lapack.dtrtrs(solution.R_x, right, lower=0, trans=1)[0]


def projected_products(reduced: Reduced, solution: Solution, terms: Slopes, A: Sequence[Array]) -> Array:
    """AᵀZᵀPZA (N, N) for A_k (J_k, q_k, N), with P = V⁻¹ − V⁻¹XA_x⁻¹XᵀV⁻¹ (for ML P = V⁻¹)."""
    layout, N = reduced.layout, A[0].shape[2]
    stacked = np.concatenate([A[k].reshape(-1, N) for k in layout.order])
    SA = _times_ZtWZ(layout, stacked)
    half = _forward_substitute(reduced, _lambda(layout, _lams(reduced), SA, transpose=True))
    products = stacked.T @ SA - half.T @ half
    QtA = np.zeros((terms.Q[0].shape[2], N))
    for Q, a in zip(terms.Q, A, strict=True):
        QtA += np.tensordot(Q, a, axes=((0, 1), (0, 1)))
    if len(QtA):
        along = _whiten(solution, QtA)
        products -= along.T @ along
    return products
