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
from .layout import Layout

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """[Z X y] reduced at Λ: the factors of M and what is left of [X y] (2.1–2.3)."""

    layout: Layout
    lam: Array  # the templates, flat, in elimination order
    lam_start: NDArray[np.int64]
    D: Array  # Cholesky factors of the nodes, flat
    P: Array  # panels of L and B, flat
    L_dense: Array  # (m_dense, m_dense) lower
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
    """M⁻¹ on the pattern of M, and G_k = Σ_levels (ZᵀWZΛM⁻¹)_jj for every factor."""

    diagonal: tuple[Array, ...]  # per factor (J_k, q_k, q_k): blocks of M⁻¹
    G: tuple[Array, ...]  # per factor (q_k, q_k)


def _flat(layout: Layout, lams: Sequence[Array]) -> tuple[Array, NDArray[np.int64]]:
    start = np.concatenate([[0], np.cumsum(layout.widths**2)]).astype(np.int64)
    parts = [np.asarray(lams[k], dtype=float).reshape(-1) for k in layout.order]
    return (np.concatenate(parts) if parts else np.zeros(0)), start


def _dense_lambda(layout: Layout, lams: Sequence[Array], right: Array) -> Array:
    """ΛᵀA for the dense rows of A (m_dense, columns)."""
    out = np.empty_like(right)
    for position in range(layout.n_chain, len(layout.order)):
        rows = layout.rows(position)
        here = slice(rows.start - layout.m_chain, rows.stop - layout.m_chain)
        q = int(layout.widths[position])
        lam = lams[layout.order[position]]
        block = right[here].reshape(-1, q, right.shape[1])
        out[here] = np.einsum("rs,jrc->jsc", lam, block).reshape(-1, right.shape[1])
    return out


def reduce(layout: Layout, lams: Sequence[Array]) -> Reduced:
    """Factorise M = ΛᵀZᵀWZΛ + I at the given templates (one q_k × q_k matrix a factor, in the caller's order)."""
    lam, lam_start = _flat(layout, lams)
    D, P = np.empty_like(layout.S_diagonal), np.empty_like(layout.S_panel)
    m_dense = layout.S_dense.shape[0]
    dense = np.zeros((0, 0), order="F")
    dense_xy = np.zeros((0, layout.cross.XytXy.shape[0]))
    if m_dense:
        dense = np.asfortranarray(_dense_lambda(layout, lams, _dense_lambda(layout, lams, layout.S_dense).T))
        dense[np.diag_indices(m_dense)] += 1.0  # (2.1)
        dense_xy = _dense_lambda(layout, lams, layout.R_dense)
    xy = layout.cross.XytXy.copy()
    log_det = elimination.eliminate(
        layout.widths, lam, lam_start, layout.node_start, layout.block_start, layout.block_column,
        layout.block_factor, layout.block_node, layout.panel_start, layout.diagonal_start, layout.S_diagonal,
        layout.S_panel, layout.m_chain, D, P, dense, dense_xy, xy,
    )  # fmt: skip
    if m_dense:
        dense, info = lapack.dpotrf(dense, lower=1, clean=1, overwrite_a=1)
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
        layout.panel_start, layout.diagonal_start, reduced.D, reduced.P, reduced.XyVXy.shape[0], G,
    )  # fmt: skip
    return G


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
    V_dense = np.zeros((0, 0))
    if layout.m > layout.m_chain:
        lower, _ = lapack.dpotri(reduced.L_dense, lower=1)
        V_dense = np.tril(lower) + np.tril(lower, -1).T
        _add_dense_G(reduced, V_dense, G)
    V_diagonal, V_panel = np.zeros_like(reduced.D), np.zeros_like(reduced.P)
    elimination.selected_inverse(
        layout.widths, reduced.lam, reduced.lam_start, layout.node_start, layout.block_start,
        layout.block_column, layout.block_factor, layout.block_node, layout.panel_start, layout.diagonal_start,
        layout.S_diagonal, layout.S_panel, layout.m_chain, reduced.XyVXy.shape[0], reduced.D, reduced.P, V_dense,
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
            rows = layout.rows(position)
            base = np.arange(rows.start, rows.stop, q) - layout.m_chain
            at = base[:, None] + np.arange(q)
            diagonal[k] = V_dense[at[:, :, None], at[:, None, :]]
    return Inverse(diagonal=tuple(diagonal), G=tuple(sums))


def _lams(reduced: Reduced) -> list[Array]:
    layout = reduced.layout
    lams: list[Array] = [np.zeros(0)] * len(layout.order)
    for position, k in enumerate(layout.order):
        q = int(layout.widths[position])
        lams[k] = reduced.lam[reduced.lam_start[position] : reduced.lam_start[position + 1]].reshape(q, q)
    return lams


def _add_dense_G(reduced: Reduced, V_dense: Array, G: Array) -> None:
    """G_k += Σ_j (S_dd Λ M⁻¹_dd)_jj for the dense factors."""
    layout = reduced.layout
    S_lam = _dense_lambda(layout, _lams(reduced), layout.S_dense).T  # S Λ, since S is symmetric
    for position in range(layout.n_chain, len(layout.order)):
        rows = layout.rows(position)
        q = int(layout.widths[position])
        here = slice(rows.start - layout.m_chain, rows.stop - layout.m_chain)
        left, right = (
            S_lam[here].reshape(-1, q, V_dense.shape[0]),
            V_dense[here].reshape(-1, q, V_dense.shape[0]),
        )
        G[reduced.lam_start[position] : reduced.lam_start[position + 1]] += np.einsum(
            "jac,jbc->ab", left, right
        ).reshape(-1)


def projected(reduced: Reduced) -> tuple[Array, ...]:
    """ZᵀV⁻¹[X y] per factor (J_k, q_k, p + 1), by R − SΛU: finite where Λ is singular (section 5)."""
    layout, lams = reduced.layout, _lams(reduced)
    U = _back_substitute(reduced, _right_side(reduced))
    LU = np.empty_like(U)
    E = np.empty_like(U)
    for position, k in enumerate(layout.order):
        rows, q = layout.rows(position), int(layout.widths[position])
        block = U[rows].reshape(-1, q, U.shape[1])
        LU[rows] = np.einsum("rs,jsc->jrc", lams[k], block).reshape(-1, U.shape[1])
        E[rows] = layout.cross.ZtXy[k].reshape(-1, U.shape[1])
    elimination.subtract_products(
        layout.widths, layout.node_start, layout.block_start, layout.block_column, layout.block_factor,
        layout.panel_start, layout.diagonal_start, layout.S_diagonal, layout.S_panel, reduced.XyVXy.shape[0], LU, E,
    )  # fmt: skip
    if layout.m > layout.m_chain:
        E[layout.m_chain :] -= layout.S_dense @ LU[layout.m_chain :]
    return _by_factor(layout, E)


def gamma_terms(
    reduced: Reduced, solution: Solution, sigma2: float, *, with_X: bool
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Per factor: Σ_j (Q_jA⁻¹Q_jᵀ + e_je_jᵀ/σ²) (q_k, q_k) and G_k, so that ∂(−2ℓ)/∂Λ_k = 2 (G_k − [·] Λ_k).

    ``with_X=False`` leaves out the Q term (ML).
    """
    outer = []
    for E in projected(reduced):
        Q, e = E[:, :, :-1], E[:, :, -1] - E[:, :, :-1] @ solution.beta
        total = np.einsum("ja,jb->ab", e, e) / sigma2
        if with_X and Q.shape[2]:
            flat = Q.reshape(-1, Q.shape[2])
            half = lapack.dtrtrs(solution.R_x, flat.T, lower=0, trans=1)[0].T.reshape(Q.shape)
            total = total + np.einsum("jac,jbc->ab", half, half)
        outer.append(total)
    return tuple(outer), inverse(reduced).G
