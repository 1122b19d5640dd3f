"""The kernel where the dense rest of the elimination would not fit: conjugate gradients and random probes.

The largest factor is eliminated level by level, as in `pls`. The Schur complement C that is left for the others is
never formed: with the Cholesky factors L of its diagonal blocks, A = L⁻¹CL⁻ᵀ = I + E, and E is zero in those blocks. A
product with A costs what the pairs of levels cost (Pandolfi, Papaspiliopoulos & Zanella 2024; Ghosh,
Hastie & Owen 2022). Solutions come from conjugate gradients, log|A| and the traces of the gradient from the same steps
started at random signs (Ubaru, Chen & Saad 2017; Hutchinson 1990), less what is known of their first terms, since
tr E = 0, and exact along the constants of every column (Hutch++, Meyer et al. 2021), where A is next to singular. The
signs are the same at every θ, so that the gradient is a smooth function of it. docs/theory.md, section 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.lazy import linalg, sparse
from . import pls
from .crossproducts import CrossProducts
from .layout import pair_of
from .processes import cores_of

Codes = NDArray[np.int64]

TOLERANCE = 1e-9  # of a residual of conjugate gradients, relative to its right-hand side
MOST_STEPS = 2000  # of conjugate gradients: levels that hardly meet take some hundreds
COLUMNS = 16  # right-hand sides that go together: the more, the fewer times the pairs are read, the more memory
CHUNK = 1_000_000  # pairs of levels whose blocks are looked at together
SEED = 20_240_101  # of the signs: the same data give the same numbers


class _Rows:
    """A sparse matrix whose products with a dense one are taken by rows on several processors."""

    def __init__(self, matrix: sparse.csr_array) -> None:
        cores = max(1, min(4, cores_of(None)))
        ends = np.searchsorted(matrix.indptr, np.linspace(0, matrix.nnz, cores + 1)[1:-1]).tolist()
        cuts = [0, *ends, matrix.shape[0]]
        self.shape = matrix.shape
        self._parts = [matrix[first:last] for first, last in zip(cuts[:-1], cuts[1:], strict=True) if last > first]

    def __matmul__(self, right: Array) -> Array:
        right = np.ascontiguousarray(right)
        if len(self._parts) < 2 or sum(part.nnz for part in self._parts) < CHUNK // 10:
            return np.concatenate([np.zeros((0, right.shape[1])), *(part @ right for part in self._parts)])
        with ThreadPoolExecutor(len(self._parts)) as pool:  # SciPy's loops let other threads run
            return np.concatenate(list(pool.map(lambda part: part @ right, self._parts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """Cross-products with the largest factor (m₁ effects) apart from the others (m₂), in the order of their sizes."""

    cross: CrossProducts
    order: tuple[int, ...]  # position -> factor
    starts: tuple[int, ...]  # where each factor after the first begins among the m₂, and the last one ends
    across: _Rows  # (m₁, m₂)
    back: _Rows  # its transpose
    among: _Rows | None  # (m₂, m₂) between different factors of the others; None of one

    @property
    def m(self) -> int:
        """Number of random effects."""
        return self.across.shape[0] + self.across.shape[1]

    def parts(self, rest: Array) -> list[Array]:
        """Those of each factor of the others, from (m₂, ...)."""
        return [rest[a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def probes(self, number: int) -> Array:
        """The first so many columns of random signs (m₂, number); more of them begin with the same."""
        columns = [
            np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(i,))).integers(0, 2, self.across.shape[1])
            for i in range(number)
        ]
        return np.column_stack([np.zeros((self.across.shape[1], 0)), *columns]) * 2.0 - 1.0


def halved(cross: CrossProducts) -> Halves:
    """The largest factor apart."""
    order = tuple(sorted(range(len(cross.levels)), key=lambda k: (-cross.levels[k], k)))
    sizes = [cross.levels[k] * cross.widths[k] for k in order]
    starts = np.concatenate([[0], np.cumsum(sizes[1:])]).tolist()
    across = _matrix(cross, [(order[0], k, 0, start) for k, start in zip(order[1:], starts, strict=False)])
    between = [
        (order[a], order[b], starts[a - 1], starts[b - 1])
        for a in range(1, len(order))
        for b in range(a + 1, len(order))
    ]
    shape = (sizes[0], starts[-1])
    among = None
    if between:
        upper = _sparse(_matrix(cross, between), (starts[-1], starts[-1]))
        among = _Rows(sparse.csr_array(upper + upper.T))
    matrix = _sparse(across, shape)
    return Halves(
        cross=cross,
        order=order,
        starts=tuple(starts),
        across=_Rows(matrix),
        back=_Rows(sparse.csr_array(matrix.T)),
        among=among,
    )


def _matrix(cross: CrossProducts, places: Sequence[tuple[int, int, int, int]]) -> tuple[Any, Any, Any]:
    """Rows, columns and entries of the blocks of pairs of factors, each from a first row and column on."""
    rows, columns, entries = [], [], []
    for first, second, row, column in places:
        a, b, values = pair_of(cross, first, second)
        q_a, q_b = values.shape[1:]
        kind = np.int32 if max(cross.levels[k] * cross.widths[k] for k in (first, second)) < 2**30 else np.int64
        whole_rows = (row + a * q_a).astype(kind)[:, None, None] + np.arange(q_a, dtype=kind)[:, None]
        whole_columns = (column + b * q_b).astype(kind)[:, None, None] + np.arange(q_b, dtype=kind)
        rows.append(np.broadcast_to(whole_rows, values.shape).reshape(-1))
        columns.append(np.broadcast_to(whole_columns, values.shape).reshape(-1))
        entries.append(values.reshape(-1))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(entries)


def _sparse(entries: tuple[Any, Any, Any], shape: tuple[int, int]) -> sparse.csr_array:
    rows, columns, values = entries
    return sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()


def _times(blocks: Array, right: Array) -> Array:
    """Block diagonal (J, q, q) or one block for all (q, q) times (J q, columns)."""
    q = blocks.shape[-1]
    if q == 1:
        return np.asarray(blocks.reshape(-1, 1) * right)
    return np.matmul(blocks, right.reshape(-1, q, right.shape[1])).reshape(right.shape)


def _transposed(blocks: Array) -> Array:
    return blocks.swapaxes(-1, -2)


def _outer_sums(left: Array, right: Array, q: int) -> Array:
    """Σ_levels l_j r_jᵀ (columns, q, q) for l, r (J q, columns)."""
    if q == 1:
        return np.einsum("jc,jc->c", left, right)[:, None, None]
    shape = (-1, q, left.shape[1])
    return np.einsum("jac,jbc->cab", left.reshape(shape), right.reshape(shape))


def _outers(left: Array, right: Array, q: int, weights: Array) -> Array:
    """Σ_columns w_c l_jc r_jcᵀ (J, q, q)."""
    shape = (-1, q, left.shape[1])
    return np.einsum("jac,jbc->jab", left.reshape(shape) * weights, right.reshape(shape), optimize=True)


class _Steps(NamedTuple):
    """What conjugate gradients came to."""

    solution: Array  # A⁻¹B
    tridiagonals: list[tuple[Array, Array]]  # of Lanczos's steps from each column of B


def conjugate_gradients(times: Callable[[Array], Array], B: Array) -> _Steps:
    """A⁻¹B for B (m, columns), each column by itself, and the tridiagonal matrices of its Lanczos steps.

    SciPy's takes one column at a time, for which the pairs are read as often, and hands out no steps.

    Raises
    ------
    FloatingPointError
        It does not get there.
    """
    X, R = np.zeros_like(B), B.copy()
    P, squares = R.copy(), np.einsum("mc,mc->c", R, R)
    target = TOLERANCE**2 * squares
    alphas, betas, active = [], [], []
    for _ in range(MOST_STEPS):
        going = squares > target
        if not going.any():
            break
        AP = times(P)
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = np.where(going, squares / np.einsum("mc,mc->c", P, AP), 0.0)
        if not np.isfinite(alpha).all() or (alpha < 0.0).any():
            raise FloatingPointError("M is not positive definite")
        X += alpha * P
        R -= alpha * AP
        new = np.where(going, np.einsum("mc,mc->c", R, R), squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            beta = np.where(going, new / squares, 0.0)
        P *= beta
        P += R
        squares = new
        alphas.append(alpha)
        betas.append(beta)
        active.append(going)
    else:
        raise FloatingPointError(f"conjugate gradients do not end in {MOST_STEPS} steps")
    shape = (len(alphas), B.shape[1])
    a, b = np.array(alphas).reshape(shape), np.array(betas).reshape(shape)
    counts = np.array(active, dtype=bool).reshape(shape).sum(axis=0)
    return _Steps(X, [_tridiagonal(a[:count, c], b[:count, c]) for c, count in enumerate(counts)])


def _tridiagonal(alpha: Array, beta: Array) -> tuple[Array, Array]:
    """Diagonal and off-diagonal of Lanczos's matrix from the steps of conjugate gradients (Saad 2003, 6.7.3)."""
    diagonal = 1.0 / alpha
    diagonal[1:] += beta[:-1] / alpha[:-1]
    return diagonal, np.sqrt(beta[:-1]) / alpha[:-1]


def _log_form(tridiagonal: tuple[Array, Array], square: float) -> float:
    """vᵀ(log A − (A − I))v by Gauss's quadrature, |v|² = ``square``."""
    if not len(tridiagonal[0]):
        return 0.0
    values, vectors = linalg.eigh_tridiagonal(*tridiagonal)
    weights = square * vectors[0] ** 2
    return float(weights @ (np.log(values) - (values - 1.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Eliminated:
    """The largest factor eliminated at Λ, and the preconditioner of what is left."""

    halves: Halves
    lams: tuple[Array, ...]  # in the order of the halves
    V: Array  # (J₁, q₁, q₁): M₁₁⁻¹
    left: tuple[Array, ...]  # of each other factor (J, q, q): diagonal blocks G of ZᵀWZ less what the first explains
    D: tuple[Array, ...]  # (J, q, q): ΛᵀGΛ + I, diagonal blocks of C
    L_inverse: tuple[Array, ...]  # (J, q, q): of their Cholesky factors
    log_det: float  # log|M₁₁| + log|D|

    @classmethod
    def at(cls, halves: Halves, lams: Sequence[Array]) -> Eliminated:
        """At the given templates, in the caller's order."""
        cross, order = halves.cross, halves.order
        ordered = tuple(np.asarray(lams[k], dtype=float) for k in order)
        M = ordered[0].T @ cross.ZtZ[order[0]] @ ordered[0] + np.eye(len(ordered[0]))
        V = np.linalg.inv(M)
        log_det = float(np.linalg.slogdet(M)[1].sum())
        spread = ordered[0] @ V @ ordered[0].T
        left, D, L_inverse = [], [], []
        for k, lam in zip(order[1:], ordered[1:], strict=True):
            left.append(cross.ZtZ[k] - _explained(cross, order[0], k, spread))
            D.append(lam.T @ left[-1] @ lam + np.eye(len(lam)))
            L = np.linalg.cholesky(D[-1])
            log_det += 2.0 * float(np.log(np.diagonal(L, axis1=1, axis2=2)).sum())
            L_inverse.append(np.linalg.inv(L))
        return cls(
            halves=halves, lams=ordered, V=V, left=tuple(left), D=tuple(D), L_inverse=tuple(L_inverse), log_det=log_det
        )

    # -- products; "rest" is (m₂, columns), "first" (m₁, columns)

    def each(self, blocks: Sequence[Array], rest: Array) -> Array:
        """Blocks of each other factor times the rest."""
        return np.concatenate(
            [_times(block, part) for block, part in zip(blocks, self.halves.parts(rest), strict=True)]
        )

    def scaled(self, rest: Array) -> Array:
        """Λ₂ rest."""
        return self.each(self.lams[1:], rest)

    def scaled_back(self, rest: Array) -> Array:
        """Λ₂ᵀ rest."""
        return self.each([lam.T for lam in self.lams[1:]], rest)

    def preconditioned(self, rest: Array) -> Array:
        """L⁻¹ rest."""
        return self.each(self.L_inverse, rest)

    def unconditioned(self, rest: Array) -> Array:
        """L⁻ᵀ rest."""
        return self.each([_transposed(block) for block in self.L_inverse], rest)

    def apart(self, rest: Array) -> Array:
        """What meets other levels: (S₂₂ − S₂₁Λ₁M₁₁⁻¹Λ₁ᵀS₁₂) rest without the diagonal blocks."""
        halves = self.halves
        spread = self.lams[0] @ self.V @ self.lams[0].T
        out = -(halves.back @ _times(spread, halves.across @ rest))
        if halves.among is not None:
            out += halves.among @ rest
        own = [block - halves.cross.ZtZ[k] for block, k in zip(self.left, halves.order[1:], strict=True)]
        return out - self.each(own, rest)

    def times(self, rest: Array) -> Array:
        """A rest, A = L⁻¹CL⁻ᵀ."""
        return rest + self.preconditioned(self.scaled_back(self.apart(self.scaled(self.unconditioned(rest)))))

    def meet(self, rest: Array) -> Array:
        """M₁₁⁻¹M₁₂ rest."""
        return _times(self.V @ self.lams[0].T, self.halves.across @ self.scaled(rest))

    def right_of(self, first: Array, rest: Array) -> Array:
        """L⁻¹(rest − M₂₁M₁₁⁻¹first): the right-hand side for A."""
        met = self.halves.back @ _times(self.lams[0] @ self.V, first)
        return self.preconditioned(rest - self.scaled_back(met))

    def whole(self, first: Array, rest: Array) -> tuple[Array, Array]:
        """ZᵀWZ times effects (S, not M) of both."""
        halves = self.halves
        S = [halves.cross.ZtZ[k] for k in halves.order]
        out = self.each(S[1:], rest) + halves.back @ first
        if halves.among is not None:
            out += halves.among @ rest
        return _times(S[0], first) + halves.across @ rest, out


def _explained(cross: CrossProducts, by: int, of: int, spread: Array) -> Array:
    """Σ_i S_jiW_iS_ij (J, q, q) of every level j of one factor over the levels i of another that it meets."""
    source, target, values = pair_of(cross, by, of)
    q = cross.widths[of]
    out = np.zeros((cross.levels[of], q, q))
    for first in range(0, len(source), CHUNK):
        part = slice(first, first + CHUNK)
        S, W = values[part], spread[source[part]]
        products = W * S**2 if S.shape[1:] == (1, 1) else _transposed(S) @ W @ S
        for a in range(q):
            for b in range(q):
                out[:, a, b] += np.bincount(target[part], products[:, a, b], minlength=len(out))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """log|M|, and G_k = Σ_levels (ZᵀWZΛM⁻¹)_jj, with what each probe gave; in the caller's order.

    The standard error of a mean over the probes is that of their values over √N.
    """

    log_det: float
    log_dets: Array  # (N,) of which log_det is the mean
    G: tuple[Array, ...]  # (q_k, q_k)
    Gs: tuple[Array, ...]  # (N, q_k, q_k)
    diagonal: tuple[Array, ...]  # (J_k, q_k, q_k): blocks of M⁻¹


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterated:
    """[Z X y] reduced at Λ by conjugate gradients: what `pls.Reduced` is by elimination."""

    eliminated: Eliminated
    U: tuple[Array, Array]  # M⁻¹ΛᵀZᵀW[X y] of the first factor and the rest
    XyVXy: Array  # (p + 1, p + 1)
    traces: Traces
    log_det_M: float

    def by_factor(self, first: Array, rest: Array) -> tuple[Array, ...]:
        """(J_k, q_k, columns) per factor in the caller's order."""
        halves = self.eliminated.halves
        parts: list[Array] = [first] * len(halves.order)
        for k, part in zip(halves.order, [first, *halves.parts(rest)], strict=True):
            parts[k] = part.reshape(halves.cross.levels[k], halves.cross.widths[k], part.shape[1])
        return tuple(parts)


def _stacked(halves: Halves, parts: Sequence[Array]) -> tuple[Array, Array]:
    """(J_k, q_k, columns) per factor as those of the first and of the rest."""
    flat = [parts[k].reshape(-1, parts[k].shape[2]) for k in halves.order]
    return flat[0], np.concatenate(flat[1:])


def solve_M(eliminated: Eliminated, first: Array, rest: Array) -> tuple[Array, Array]:
    """M⁻¹ of right-hand sides (m₁, columns), (m₂, columns)."""
    below = []
    right = eliminated.right_of(first, rest)
    for start in range(0, right.shape[1], COLUMNS):
        below.append(conjugate_gradients(eliminated.times, right[:, start : start + COLUMNS]).solution)
    x = eliminated.unconditioned(np.column_stack([np.zeros((len(right), 0)), *below]))
    return _times(eliminated.V, first) - eliminated.meet(x), x


def reduce(halves: Halves, lams: Sequence[Array], *, probes: int) -> Iterated:
    """What `pls.reduce` and `pls.inverse` give, solutions to the `TOLERANCE` and traces by so many probes."""
    eliminated = Eliminated.at(halves, lams)
    cross, lam = halves.cross, eliminated.lams
    R_first, R_rest = _stacked(halves, cross.ZtXy)
    right = _times(lam[0].T, R_first), eliminated.scaled_back(R_rest)
    U = solve_M(eliminated, *right)
    traces = _traces(eliminated, probes)
    return Iterated(
        eliminated=eliminated,
        U=U,
        XyVXy=cross.XytXy - right[0].T @ U[0] - right[1].T @ U[1],
        traces=traces,
        log_det_M=traces.log_det,
    )


def _constants(halves: Halves, eliminated: Eliminated) -> Array:
    """An orthonormal basis of the constants of every column of the others, where A is next to singular."""
    columns = np.zeros((halves.across.shape[1], sum(len(lam) for lam in eliminated.lams[1:])))
    column = 0
    for start, k in zip(halves.starts, halves.order[1:], strict=False):
        q = halves.cross.widths[k]
        for a in range(q):
            columns[start + a : start + halves.cross.levels[k] * q : q, column] = 1.0
            column += 1
    # L^T of the constants: levels with more rows weigh more
    conditioned = eliminated.each([_transposed(np.linalg.inv(block)) for block in eliminated.L_inverse], columns)
    return np.linalg.qr(conditioned)[0]


def _traces(eliminated: Eliminated, probes: int) -> Traces:
    """log|M| and traces by runs from the constants, exact, and from random signs less their part along these."""
    halves, lam = eliminated.halves, eliminated.lams
    cross, order = halves.cross, halves.order
    Q = _constants(halves, eliminated)
    signs = halves.probes(probes)
    starts = np.column_stack([Q, signs - Q @ (Q.T @ signs)])
    weights = np.concatenate([np.ones(Q.shape[1]), np.full(probes, 1.0 / probes)])
    widths = [len(matrix) for matrix in lam]
    # what is known: of C by its diagonal blocks
    D_inverse = [np.linalg.inv(block) for block in eliminated.D]
    spread = [each @ block @ each.T for each, block in zip(lam[1:], D_inverse, strict=True)]
    met = sum(
        (_explained(cross, k, order[0], W) for k, W in zip(order[1:], spread, strict=True)),
        np.zeros_like(cross.ZtZ[order[0]]),
    )
    S = cross.ZtZ[order[0]]
    whiten = np.linalg.inv(S @ lam[0] @ lam[0].T + np.eye(widths[0]))  # Λ⁻ᵀM₁₁⁻¹Λᵀ
    unwhiten = [
        np.linalg.inv(G @ each @ each.T + np.eye(len(each))) for G, each in zip(eliminated.left, lam[1:], strict=True)
    ]
    exact = [(S @ lam[0] @ eliminated.V).sum(axis=0) - (whiten @ met @ lam[0] @ eliminated.V).sum(axis=0)]
    exact += [
        (G @ each @ block).sum(axis=0) for G, each, block in zip(eliminated.left, lam[1:], D_inverse, strict=True)
    ]
    V_spread = eliminated.V @ lam[0].T
    diagonal = [eliminated.V + V_spread @ met @ _transposed(V_spread), *D_inverse]
    logs, sums = [], [[] for _ in order]  # type: ignore[var-annotated]
    for first in range(0, starts.shape[1], COLUMNS):
        span = slice(first, first + COLUMNS)
        start = starts[:, span]
        steps = conjugate_gradients(eliminated.times, start)
        squares = np.einsum("mc,mc->c", start, start)
        logs += [
            _log_form(tridiagonal, square) for tridiagonal, square in zip(steps.tridiagonals, squares, strict=True)
        ]
        x, w = eliminated.unconditioned(steps.solution), eliminated.unconditioned(start)
        # C⁻¹ beyond the first two terms of its series, I − E, whose diagonal blocks are known
        beyond = eliminated.apart(eliminated.scaled(w - x))
        for i, (part, of_w) in enumerate(zip(halves.parts(beyond), halves.parts(w), strict=True), start=1):
            sums[i].append(-_outer_sums(_times(unwhiten[i - 1], part), of_w, widths[i]))
            later = _times(D_inverse[i - 1] @ lam[i].T, part)
            diagonal[i] = diagonal[i] + _outers(later, of_w, widths[i], weights[span])
        change, of_w = halves.across @ eliminated.scaled(x - w), halves.across @ eliminated.scaled(w)
        of_w = _times(V_spread, of_w)
        sums[0].append(-_outer_sums(_times(whiten, change), of_w, widths[0]))
        diagonal[0] = diagonal[0] + _outers(_times(V_spread, change), of_w, widths[0], weights[span])
    log_forms = np.array(logs)
    n_exact, place = Q.shape[1], np.argsort(order)
    log_dets = eliminated.log_det + log_forms[:n_exact].sum() + log_forms[n_exact:]
    Gs = []
    for first_terms, each in zip(exact, sums, strict=True):
        values = np.concatenate(each)
        Gs.append(first_terms + values[:n_exact].sum(axis=0) + values[n_exact:])
    return Traces(
        log_det=float(log_dets.mean()),
        log_dets=log_dets,
        G=tuple(Gs[i].mean(axis=0) for i in place),
        Gs=tuple(Gs[i] for i in place),
        diagonal=tuple((diagonal[i] + _transposed(diagonal[i])) / 2.0 for i in place),
    )


def projected(reduced: Iterated) -> tuple[Array, ...]:
    """ZᵀV⁻¹[X y] per factor (J_k, q_k, p + 1), by R − SΛU (section 5)."""
    eliminated = reduced.eliminated
    R = _stacked(eliminated.halves, eliminated.halves.cross.ZtXy)
    moved = eliminated.whole(_times(eliminated.lams[0], reduced.U[0]), eliminated.scaled(reduced.U[1]))
    return reduced.by_factor(R[0] - moved[0], R[1] - moved[1])


def projected_products(reduced: Iterated, solution: pls.Solution, terms: pls.Slopes, A: Sequence[Array]) -> Array:
    """AᵀZᵀPZA (N, N) for A_k (J_k, q_k, N), as `pls.projected_products`."""
    eliminated = reduced.eliminated
    first, rest = _stacked(eliminated.halves, A)
    SA = eliminated.whole(first, rest)
    half = _times(eliminated.lams[0].T, SA[0]), eliminated.scaled_back(SA[1])
    solved = solve_M(eliminated, *half)
    products = first.T @ SA[0] + rest.T @ SA[1] - half[0].T @ solved[0] - half[1].T @ solved[1]
    return pls.less_fixed(solution, terms, A, products)


def spherical_modes(reduced: Iterated, beta: Array) -> tuple[Array, ...]:
    """û(β) per factor (J_k, q_k)."""
    modes = [U[:, -1:] - U[:, :-1] @ beta[:, None] for U in reduced.U]
    return tuple(part[:, :, 0] for part in reduced.by_factor(modes[0], modes[1]))


def mode_slopes(reduced: Iterated) -> tuple[Array, ...]:
    """∂û/∂β per factor (J_k, q_k, p)."""
    return reduced.by_factor(-reduced.U[0][:, :-1], -reduced.U[1][:, :-1])
