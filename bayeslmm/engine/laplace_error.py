"""How far Laplace's approximation is from the likelihood, by importance sampling around the modes of the effects.

One factor is integrated out by quadrature, level by level, given the others; the others, v, are drawn from the normal
distribution that the approximation gives them, a little widened, in pairs around the mode (Durbin & Koopman 1997).
What hangs together in no row is integrated by itself, so that weights do not grow with the number of levels.

    log L = Σ_c log mean_s w_cs,   w_cs = L_c(v_s) φ(v_cs) / q(v_cs)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design, GroupTerm
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.lazy import linalg, sparse, special
from .laplace import Approximation, Inner
from .laplace_fit import coordinates
from .quadrature import MOST_EFFECTS, OneFactor
from .randomness import generator
from .reml import PointSolution

RULES = {1: (45, 25, 15), 2: (15, 9, 7), 3: (7, 5)}  # nodes along each effect of a level, the finest first
PAIRS, FEWEST, WORK = 400, 25, 1e7  # of draws; evaluations of the density that all of them may take
MOST_DRAWN = 1500  # effects that are drawn together
WIDER = 0.25  # the sds of draws are larger by this over the root of how many are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class LaplaceError:
    """Log likelihood less Laplace's approximation to it, at the estimates."""

    value: float
    monte_carlo: float  # standard error


def error(design: Design, solution: PointSolution, *, random_seed: int = 1) -> LaplaceError | None:
    """The error at the estimates of a fit; None where there are too many effects to be drawn together.

    Of a restricted fit that of the likelihood of the fixed effects' estimates.
    """
    approximation = Approximation(design)
    psi = coordinates(approximation, solution)
    minus_log_likelihood, _, inner = approximation.at(psi)
    sampled = _Sampled.of(approximation, psi, inner)
    if sampled is None:
        return None
    total, variance = sampled.log_likelihood(random_seed)
    return LaplaceError(value=total + minus_log_likelihood, monte_carlo=float(np.sqrt(variance)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sampled:
    """What is drawn, around what, and what is left to quadrature."""

    approximation: Approximation
    fixed: Array  # (n,) Xβ + offset
    values: Array  # of the family's parameters
    integrated: int | None  # the factor
    root: Array | None  # its Λ on the user's columns
    A: sparse.csr_array  # (n, d) of the effects that are drawn
    mode: Array  # (d,)
    L: Array  # (d, d) lower, L Lᵀ their precision
    parts: NDArray[np.int64]  # (d,) which drawn effects hang together
    parts_of_units: NDArray[np.int64]  # the same of levels that are integrated out, or of rows
    n_parts: int

    @classmethod
    def of(cls, approximation: Approximation, psi: Array, inner: Inner) -> _Sampled | None:
        from scipy.sparse import csgraph
        from scipy.sparse.linalg import spsolve

        beta, theta, free = approximation.split(psi)
        lams, groups = approximation.lams(theta), approximation.design.groups
        narrow = [
            k for k, group in enumerate(groups) if group.q <= MOST_EFFECTS and len(groups) > 1 and not group.is_wide
        ]
        narrow = (
            [] if approximation.parameters.by_row else narrow
        )  # quadrature takes one value of each parameter for all rows
        integrated = max(narrow, key=lambda k: groups[k].n_levels, default=None)
        drawn = [k for k in range(len(groups)) if k != integrated]
        columns = [_loadings(group, T @ lam) for group, T, lam in _each(approximation, lams)]
        A = sparse.hstack([sparse.csr_array((approximation.design.n, 0)), *(columns[k] for k in drawn)], format="csr")
        if not 0 < A.shape[1] <= MOST_DRAWN:
            return None
        W = sparse.diags_array(-inner.bends[2])
        precision = (A.T @ W @ A).toarray() + np.eye(A.shape[1])
        codes = np.arange(approximation.design.n)
        if integrated is not None:
            B, codes = columns[integrated], groups[integrated].codes
            beside = (B.T @ W @ B).tocsc() + sparse.eye_array(B.shape[1], format="csc")
            crossed = (B.T @ W @ A).tocsc()
            precision = precision - crossed.T @ spsolve(beside, crossed.toarray())
        n_units = int(codes.max()) + 1
        meets = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_units, len(codes)))
        joined = meets @ _pattern(A)
        graph = sparse.block_array([[None, joined], [joined.T, None]])
        n_parts, parts = csgraph.connected_components(graph, directed=False)
        u = approximation.alone.by_factor(inner.u)
        return cls(
            approximation=approximation,
            fixed=approximation.X @ beta + approximation.offset,
            values=approximation.parameters.values(free),
            integrated=integrated,
            root=None if integrated is None else approximation.T_z[integrated] @ lams[integrated],
            A=A,
            mode=np.concatenate([u[k].reshape(-1) for k in drawn]),
            L=np.linalg.cholesky(precision),
            parts=parts[n_units:],
            parts_of_units=parts[:n_units],
            n_parts=n_parts,
        )

    def log_likelihood(self, random_seed: int) -> tuple[float, float]:
        """Its estimate, and the Monte Carlo variance of that."""
        n, q = self.approximation.design.n, 0 if self.root is None else len(self.root)
        rules = RULES.get(q, (1,))
        nodes = next((k for k in rules if 2.0 * FEWEST * n * k**q <= WORK), rules[-1])
        pairs = int(np.clip(WORK / (2.0 * n * nodes**q), FEWEST, PAIRS))
        z = generator(random_seed).normal(size=(pairs, len(self.mode)))
        sizes = np.bincount(self.parts, minlength=self.n_parts)
        wider = 1.0 + WIDER / np.sqrt(np.maximum(sizes, 1.0))
        steps = linalg.solve_triangular(self.L, z.T, lower=True, trans="T").T * wider[self.parts]
        logs = np.empty((2, pairs, self.n_parts))
        constant = self._summed(-np.log(np.diag(self.L)), self.parts) + sizes * np.log(wider)
        for side, sign in enumerate((1.0, -1.0)):
            v = self.mode + sign * steps
            logs[side] = self._summed(0.5 * (z**2 - v**2), self.parts) + constant
            logs[side] += self._summed(self._given(v, nodes), self.parts_of_units)
        of_pairs = special.logsumexp(logs, axis=0) - np.log(2.0)  # (pairs, parts)
        means = special.logsumexp(of_pairs, axis=0) - np.log(pairs)
        variance = np.var(np.exp(of_pairs - means), axis=0, ddof=1) / pairs
        total = float(means.sum())
        if self.root is None:
            total += self.approximation.constant + self.approximation.normaliser(self.values)[0]
        else:
            total += float(self.approximation.at_ends(self.values)[0].sum())
        return total, float(variance.sum())

    def _given(self, v: Array, nodes: int) -> Array:
        """log p(y | v) of the levels that are integrated out (S, J), or of the rows without their constants."""
        eta = self.fixed + (self.A @ v.T).T
        if self.integrated is None or self.root is None:
            return np.array([self.approximation.bends(row, self.values)[0] for row in eta])
        design = self.approximation.loops
        alone = replace(design, groups=(design.groups[self.integrated],))
        S = len(v)
        return OneFactor(alone).by_level(eta, np.tile(self.values, (S, 1)), np.tile(self.root, (S, 1, 1)), nodes)

    def _summed(self, values: Array, parts: NDArray[np.int64]) -> Array:
        """Sums (..., parts) of values (..., d) over what hangs together."""
        shape = (len(parts), self.n_parts)
        membership = sparse.csr_array((np.ones(len(parts)), (np.arange(len(parts)), parts)), shape=shape)
        return np.asarray(values @ membership)


def _each(approximation: Approximation, lams: Sequence[Array]) -> Iterator[tuple[GroupTerm, Array, Array]]:
    yield from zip(approximation.design.groups, approximation.T_z, lams, strict=True)


def _loadings(group: GroupTerm, root: Array) -> sparse.csr_array:
    """Columns of the effects u of a term, which are independent and have an sd of one."""
    if isinstance(group, WideTerm):
        return sparse.csr_array(group.loadings @ root)
    return _columns(group.Z @ root, group.codes, group.n_levels)


def _columns(Z: Array, codes: NDArray[np.int64], levels: int) -> sparse.csr_array:
    """Columns (n, levels q) of every level's effects."""
    n, q = Z.shape
    positions = (codes[:, None] * q + np.arange(q)).reshape(-1)
    return sparse.csr_array((Z.reshape(-1), positions, np.arange(0, n * q + 1, q)), shape=(n, levels * q))


def _pattern(A: sparse.csr_array) -> sparse.csr_array:
    """Ones where a row meets an effect, even if it multiplies it with zero."""
    return sparse.csr_array((np.ones(len(A.indices)), A.indices, A.indptr), shape=A.shape)
