"""THE kernel: penalised least squares by blocked elimination (docs/theory.md, sections 2, 3, 5, 6).

Given Λ, one factorisation of M = ΛᵀZᵀWZΛ + I yields the criterion, its gradient, the conditional modes, their
covariances and exact draws. Nothing here grows with the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..tools.arrays import Array
from ..tools.lazy import lapack
from . import assembly, elimination
from .layout import Layout, Values
from .reduction import SMALL, solve_small


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """[Z X y] reduced at Λ: the factors of M and what is left of [X y] (2.1–2.3)."""

    layout: Layout
    lams: tuple[Array, ...]  # the templates (q_k, q_k), in elimination order
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


def _lambda(lams: Sequence[Array], layout: Layout, right: Array) -> Array:
    """ΛA for A (m, columns), both in elimination order."""
    out = np.empty_like(right)
    for position, lam in enumerate(lams):
        rows = layout.rows(position)
        block = right[rows].reshape(-1, len(lam), right.shape[1])
        out[rows] = np.matmul(lam, block).reshape(-1, right.shape[1])
    return out


def _flat(lams: Sequence[Array]) -> Array:
    return np.concatenate([np.zeros(0), *(lam.reshape(-1) for lam in lams)])


def reduce(layout: Layout, lams: Sequence[Array]) -> Reduced:
    """Factorise M = ΛᵀZᵀWZΛ + I at the given templates (one q_k × q_k matrix a factor, in the caller's order)."""
    ordered = tuple(np.asarray(lams[k], dtype=float) for k in layout.order)
    pattern, m_dense = layout.pattern, layout.m - layout.m_chain
    D, P, upper, dense_xy, xy, half, columns = assembly.room(pattern, layout.values.XytXy.shape[0])
    assembly.scale(pattern, layout.values, _flat(ordered), half, D, P, upper, dense_xy, xy)  # (2.1)
    log_det = elimination.eliminate(pattern, columns, D, P, upper, dense_xy, xy)
    if not np.isfinite(log_det):
        raise FloatingPointError("M is not positive definite")
    dense = upper.T
    if m_dense:
        dense, info = lapack.dpotrf(dense, lower=1, clean=0, overwrite_a=1)
        if info:
            raise FloatingPointError(f"M is not positive definite at column {info} of its dense part")
        dense_xy, _ = lapack.dtrtrs(dense, dense_xy, lower=1)  # (2.2)
        xy -= dense_xy.T @ dense_xy  # (2.3)
        log_det += 2.0 * float(np.log(dense.diagonal()).sum())
    return Reduced(
        layout=layout, lams=ordered, D=D, P=P, L_dense=dense, B_dense=dense_xy, XyVXy=xy, log_det_M=float(log_det)
    )


def solve(reduced: Reduced, *, prior_precision: Array | None = None) -> Solution:
    """β̂ = A_x⁻¹D_xy with A_x = D_xx + prior_precision (σ²P₀; none for REML and ML)."""
    p = reduced.XyVXy.shape[0] - 1
    A, d_xy = reduced.XyVXy[:p, :p], reduced.XyVXy[:p, p]
    if prior_precision is not None:
        A = A + prior_precision
    if p == 0:
        return Solution(beta=np.zeros(0), R_x=np.zeros((0, 0)), r2=float(reduced.XyVXy[0, 0]), log_det_A=0.0)
    if p <= SMALL:
        R_x, half, beta = np.array(A, order="C"), np.array(d_xy), np.empty(p)
        is_definite = solve_small(R_x, half, beta)
    else:
        R_x, info = lapack.dpotrf(A, lower=0, clean=1)
        is_definite = info == 0
        if is_definite:
            half, _ = lapack.dtrtrs(R_x, d_xy, lower=0, trans=1)
            beta, _ = lapack.dtrtrs(R_x, half, lower=0)
    if not is_definite:
        raise FloatingPointError("XᵀV⁻¹X is not positive definite")
    r2 = max(float(reduced.XyVXy[p, p] - half @ half), 0.0)
    return Solution(beta=beta, R_x=R_x, r2=r2, log_det_A=2.0 * float(np.log(R_x.diagonal()).sum()))


def _back_substitute(reduced: Reduced, G: Array) -> Array:
    """U with LᵀU = G, G (m, columns) in elimination order; G is overwritten."""
    layout = reduced.layout
    if layout.m > layout.m_chain:
        G[layout.m_chain :] = lapack.dtrtrs(reduced.L_dense, G[layout.m_chain :], lower=1, trans=1)[0]
    elimination.back_substitute(layout.pattern, reduced.D, reduced.P, G)
    return G


def _forward_substitute(reduced: Reduced, G: Array) -> Array:
    """U with LU = G, G (m, columns) in elimination order; G is overwritten."""
    layout = reduced.layout
    elimination.forward_substitute(layout.pattern, reduced.D, reduced.P, G)
    if layout.m > layout.m_chain:
        G[layout.m_chain :] = lapack.dtrtrs(reduced.L_dense, G[layout.m_chain :], lower=1)[0]
    return G


def _right_side(reduced: Reduced) -> Array:
    """B = L⁻¹ΛᵀZᵀW[X y], (m, p + 1) in elimination order."""
    B = np.empty((reduced.layout.m, reduced.XyVXy.shape[0]))
    assembly.right_side(reduced.layout.pattern, reduced.P, reduced.B_dense, B)
    return B


def _by_factor(layout: Layout, stacked: Array) -> tuple[Array, ...]:
    """Split (m, columns) in elimination order into (J_k, q_k, columns) per factor, in the caller's order."""
    parts: list[Array] = [np.zeros(0)] * len(layout.order)
    for position, k in enumerate(layout.order):
        q = int(layout.pattern.widths[position])
        rows = stacked[layout.rows(position)]
        parts[k] = rows.reshape(len(rows) // q, q, rows.shape[1])  # which may have no columns
    return tuple(parts)


def spherical_modes(reduced: Reduced, beta: Array, noise: Array | None = None) -> tuple[Array, ...]:
    """û(β) = L⁻ᵀ(B_y − B_xβ) per factor (J_k, q_k); with ``noise`` (m,), a draw û(β) + L⁻ᵀnoise (section 6)."""
    B = _right_side(reduced)
    right = B[:, -1:] - B[:, :-1] @ beta[:, None]
    if noise is not None:
        right += noise[:, None]
    return tuple(part[:, :, 0] for part in _by_factor(reduced.layout, _back_substitute(reduced, right)))


def whitened(reduced: Reduced, parts: Sequence[Array]) -> Array:
    """L⁻¹ΛᵀA (m, c) for A_k (J_k, q_k, c) per factor: its columns' products are Cov(Aᵀb | y, β) in units of σ² (6)."""
    layout = reduced.layout
    stacked = np.concatenate([parts[k].reshape(-1, parts[k].shape[2]) for k in layout.order])
    return _forward_substitute(reduced, _lambda([lam.T for lam in reduced.lams], layout, stacked))


def spherical_root(reduced: Reduced, parts: Sequence[Array]) -> Array:
    """L⁻¹A (m, c) for A_k (J_k, q_k, c) per factor: its columns' products are Cov(Aᵀu | y, β) in units of σ² (6)."""
    stacked = np.concatenate([parts[k].reshape(-1, parts[k].shape[2]) for k in reduced.layout.order])
    return _forward_substitute(reduced, stacked)


def spherical_noise(reduced: Reduced, noise: Array) -> tuple[Array, ...]:
    """L⁻ᵀnoise per factor (J_k, q_k, S) for standard normal noise (S, m): u − û in units of σ (section 6)."""
    return _by_factor(reduced.layout, _back_substitute(reduced, np.array(noise.T, order="C")))


def mode_slopes(reduced: Reduced) -> tuple[Array, ...]:
    """∂û/∂β = −L⁻ᵀB_x per factor (J_k, q_k, p): how the conditional modes move with the fixed effects."""
    slopes = _back_substitute(reduced, -_right_side(reduced)[:, :-1])
    return _by_factor(reduced.layout, slopes)


class Selected(NamedTuple):
    """M⁻¹ on the pattern of M, as the compiled loops keep it."""

    diagonal: Array  # blocks of the nodes, flat
    panel: Array  # what stands beside them, flat
    upper: Array  # (m_dense, m_dense); below the diagonal anything


def selected_inverse(reduced: Reduced) -> Selected:
    """M⁻¹ on the pattern of M by Takahashi's recursion (section 5)."""
    layout = reduced.layout
    V_upper = np.zeros((0, 0))
    if layout.m > layout.m_chain:
        V_upper = lapack.dpotri(reduced.L_dense, lower=1)[0].T
    V_diagonal, V_panel = np.empty_like(reduced.D), np.empty_like(reduced.P)
    elimination.selected_inverse(
        layout.pattern, reduced.XyVXy.shape[0], reduced.D, reduced.P, V_upper, V_diagonal, V_panel
    )
    return Selected(V_diagonal, V_panel, np.ascontiguousarray(V_upper))


def inverse(reduced: Reduced, selected: Selected | None = None) -> Inverse:
    """M⁻¹ on the pattern of M by Takahashi's recursion, and the sums G the gradient needs (section 5)."""
    layout, lams = reduced.layout, reduced.lams
    V_diagonal, V_panel, V_upper = selected or selected_inverse(reduced)
    flat = _flat(lams)
    sums = np.zeros_like(flat)
    assembly.trace_sums(layout.pattern, layout.values, flat, V_diagonal, V_panel, V_upper, sums)
    diagonal, G, start = [], [], 0
    for position, lam in enumerate(lams):
        if position < layout.n_chain:
            first, last = layout.pattern.diagonal_start[layout.pattern.node_start[position : position + 2]]
            V = V_diagonal[first:last].reshape(-1, *lam.shape)
        else:
            V = _symmetrized(V_upper.reshape(-1)[layout.dense_diagonal(position)])
        diagonal.append(V)
        G.append(sums[start : start + lam.size].reshape(lam.shape))
        start += lam.size
    place = np.argsort(layout.order)
    return Inverse(diagonal=tuple(diagonal[i] for i in place), G=tuple(G[i] for i in place))


def solve_M(reduced: Reduced, right: Array) -> Array:
    """M⁻¹A for A (m, columns) in elimination order, which is overwritten."""
    return _back_substitute(reduced, _forward_substitute(reduced, right))


def _symmetrized(blocks: Array) -> Array:
    """Blocks (..., q, q) of which only the upper triangles are given."""
    if blocks.shape[-1] == 1:
        return blocks
    return np.triu(blocks) + np.triu(blocks, 1).swapaxes(-1, -2)


def projected(reduced: Reduced) -> tuple[Array, ...]:
    """ZᵀV⁻¹[X y] per factor (J_k, q_k, p + 1), by R − SΛU: finite where Λ is singular (section 5)."""
    layout = reduced.layout
    U = _back_substitute(reduced, _right_side(reduced))
    E = np.empty_like(U)
    assembly.project(layout.pattern, layout.values, _flat(reduced.lams), U, E)
    return _by_factor(layout, E)


def whole_Q(reduced: Reduced) -> Array:
    """ZᵀV⁻¹X, (m, p) in elimination order."""
    parts, columns = projected(reduced), reduced.XyVXy.shape[0]
    return np.concatenate([parts[k].reshape(-1, columns) for k in reduced.layout.order])[:, :-1]


def whole_K(reduced: Reduced) -> Array:
    """ZᵀV⁻¹Z = S − SΛM⁻¹ΛᵀS, dense (m, m) in elimination order."""
    layout = reduced.layout
    S = layout.S.toarray()
    half = _forward_substitute(reduced, _lambda([lam.T for lam in reduced.lams], layout, S))
    return S - half.T @ half


def slopes_by_parts(
    reduced: Reduced, solution: Solution, parts: Sequence[Values], *, with_X: bool
) -> tuple[Array, Array]:
    """Derivatives by f_s of log|M| (with ``with_X`` also of log|A_x|) and of r², where ZᵀWZ, … are Σ f_s times parts.

    Parameters
    ----------
    parts : sequence of Values
        Those of each s in the places of ``reduced.layout``.

    Returns
    -------
    log_dets, r2s : float64 arrays (S,)

    Notes
    -----
    With Û = M⁻¹ΛᵀZᵀW[X y] the derivative of [X y]ᵀV⁻¹[X y] is the product with itself of what ZΛÛ leaves of [X y] in
    the rows of s, and that of log|M| is tr M⁻¹ΛᵀZᵀW_sZΛ.
    """
    layout, flat = reduced.layout, _flat(reduced.lams)
    U, selected = _back_substitute(reduced, _right_side(reduced)), selected_inverse(reduced)
    effects, contrast = _lambda(reduced.lams, layout, U), np.append(-solution.beta, 1.0)
    log_dets, r2s = np.empty(len(parts)), np.empty(len(parts))
    for s, values in enumerate(parts):
        sums, E = np.zeros_like(flat), np.empty_like(U)
        assembly.trace_sums(layout.pattern, values, flat, *selected, sums)
        assembly.project(layout.pattern, values, flat, U, E)
        D = values.XytXy - values.ZtXy.reshape(U.shape).T @ effects - effects.T @ E
        log_dets[s], r2s[s] = sums @ flat, contrast @ D @ contrast
        if with_X and len(contrast) > 1:
            half = _whiten(solution, _whiten(solution, D[:-1, :-1]).T)  # R⁻ᵀDR⁻¹, of which the trace is tr A⁻¹D
            log_dets[s] += np.trace(half)
    return log_dets, r2s


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
    return slopes_of(projected(reduced), inverse(reduced).G, solution, sigma2, with_X=with_X)


def slopes_of(
    parts: Sequence[Array], K_lam: tuple[Array, ...], solution: Solution, sigma2: float, *, with_X: bool
) -> Slopes:
    """Derivative terms from ZᵀV⁻¹[X y] per factor and the traces."""
    Q, e, outer = [], [], []
    for E in parts:
        Qk, ek = E[:, :, :-1], E[:, :, -1] - E[:, :, :-1] @ solution.beta
        total = ek.T @ ek / sigma2
        if with_X and Qk.shape[2]:
            half = _whiten(solution, Qk.reshape(-1, Qk.shape[2]).T).reshape(-1, *Qk.shape[:2])
            total = total + np.einsum("cja,cjb->ab", half, half)
        Q.append(Qk if with_X else Qk[:, :, :0])
        e.append(ek)
        outer.append(total)
    return Slopes(Q=tuple(Q), e=tuple(e), K_lam=K_lam, outer=tuple(outer))


def _whiten(solution: Solution, right: Array) -> Array:
    """R_x⁻ᵀA for A (p, columns)."""
    return lapack.dtrtrs(solution.R_x, right, lower=0, trans=1)[0]


def projected_products(reduced: Reduced, solution: Solution, terms: Slopes, A: Sequence[Array]) -> Array:
    """AᵀZᵀPZA (N, N) for A_k (J_k, q_k, N), with P = V⁻¹ − V⁻¹XA_x⁻¹XᵀV⁻¹ (for ML P = V⁻¹)."""
    layout, N = reduced.layout, A[0].shape[2]
    stacked = np.concatenate([A[k].reshape(-1, N) for k in layout.order])
    SA = layout.S @ stacked
    half = _forward_substitute(reduced, _lambda([lam.T for lam in reduced.lams], layout, SA))
    return less_fixed(solution, terms, A, stacked.T @ SA - half.T @ half)


def less_fixed(solution: Solution, terms: Slopes, A: Sequence[Array], products: Array) -> Array:
    """AᵀZᵀPZA (N, N) from AᵀZᵀV⁻¹ZA, which is overwritten."""
    QtA = np.zeros((terms.Q[0].shape[2], products.shape[0]))
    for Q, a in zip(terms.Q, A, strict=True):
        QtA += np.tensordot(Q, a, axes=((0, 1), (0, 1)))
    if len(QtA):
        along = _whiten(solution, QtA)
        products -= along.T @ along
    return products
