"""Laplace's approximation for categories without an order, each but the first with a linear predictor of its own.

The curvature of a row by its linear predictors, W = diag(p) − ppᵀ, is that of K weighted rows: Σ_k p_k (e_k − p)(e_k −
p)ᵀ, of the first category e = 0. So a row stands for K, one a category, whose columns are those of its own category
less their mean under p: the cross-products, the elimination and the inverse on its pattern are those of one linear
predictor (`bayeslmm.engine.laplace`). The levels of a bar have the effects of all categories as one block, so that they
are eliminated together. With l_k = (e_k − p)ᵀS(e_k − p) the leverage of each of these rows, S = ZΛM⁻¹ΛᵀZᵀ, the slope
of ½ log|M| by η_k is ½ p_k (l_k − Σ_j p_j l_j).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import block_diag

from ..design.design import Design, GroupTerm
from ..errors import NotAvailableError
from ..tools.arrays import Array
from ..tools.lazy import special
from . import pls
from .laplace import CERTAIN, Approximation, Factorised, Inner
from .reml import PointSolution
from .reweighting import Reweighted
from .scaling import Problem, scale
from .separation import separating_categories


def approximation(design: Design, *, restricted: bool = False) -> Approximation:
    """Minus log likelihood of a design by Laplace's approximation, whatever its family."""
    kind = CategoryApproximation if design.family.is_nominal else Approximation
    return kind(design, restricted=restricted)


class CategoryApproximation(Approximation):
    """That of categories: β̃ are the coefficients of all categories but the first, one after the other.

    Rows are (n K,), those of one observation together; η of the first category is zero. Effects of a
    factor are (J, (K − 1) q), those of a category together; templates are of each category's bars, one after the other.
    """

    def __init__(self, design: Design, *, restricted: bool = False) -> None:
        parts = design.of_categories
        first = parts[0]
        of_one = Problem.of(design.for_category(first))
        if any(of_one.wide):
            raise NotAvailableError(
                f"{next(group.texts[0] for group in first.groups if group.is_wide)}: point estimates of "
                f"{design.family.option} take bars, (1 | g). The posterior, fit(), has it."
            )
        self.design, self.family, self.restricted, self.loops = design, design.family, restricted, design
        self.n_categories, others = len(parts) + 1, len(parts)
        self.widths = tuple(group.q for group in first.groups)
        centred = scale(of_one)
        self.T_x = np.asarray(block_diag(*[centred.T_x] * others))
        self.T_z = tuple(np.asarray(block_diag(*[T] * others)) for T in centred.T_z)
        self.templates = of_one.templates * others
        X = self._of_each(first.X @ centred.T_x)
        Z = [self._of_each(group.Z @ T) for group, T in zip(first.groups, centred.T_z, strict=True)]
        codes = [np.repeat(group.codes, self.n_categories) for group in first.groups]
        levels = [group.n_levels for group in first.groups]
        self.with_X = Reweighted.of(X, codes, Z, levels)
        self.alone = Reweighted.of(X[:, :0], codes, Z, levels)
        self.X, self.order = X, self.alone.layout.order
        offset = np.zeros((design.n, self.n_categories))
        offset[:, 1:] = np.column_stack([part.offset for part in parts])
        self.offset = offset.reshape(-1)
        self.y = np.asarray(design.y, dtype=np.int64)
        self.chosen = np.zeros((design.n, self.n_categories))
        self.chosen[np.arange(design.n), self.y] = 1.0
        self.counted = design.likelihood_weights
        self.constant = 0.0
        self.trials = np.ones(X.shape[0])
        self._prepare(replace(design, predictors={}), X.shape[1])

    def _of_each(self, columns: Array) -> Array:
        """Columns (n, q) as those of every category in its own row: (n K, (K − 1) q), zero in rows of the first."""
        K, (n, q) = self.n_categories, columns.shape
        out = np.zeros((n, K, K - 1, q))
        for k in range(1, K):
            out[:, k, k - 1] = columns
        return out.reshape(n * K, (K - 1) * q)

    # -- coordinates

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃ of each factor, block by block those of its categories."""
        each = super().lams(theta)
        count = len(self.widths)
        return [np.asarray(block_diag(*each[k::count])) for k in range(count)]

    def gradient(self, theta: Array, by_lam: Sequence[Array]) -> Array:
        """Slopes by θ̃ from those by Λ̃ of each factor."""
        return super().gradient(theta, self.by_category(by_lam))

    def by_category(self, matrices: Sequence[Array]) -> list[Array]:
        """The blocks (..., q, q) of categories of each factor's matrices, in the order of the templates."""
        return [
            matrix[..., c * q : (c + 1) * q, c * q : (c + 1) * q]
            for c in range(self.n_categories - 1)
            for matrix, q in zip(matrices, self.widths, strict=True)
        ]

    # -- rows

    def bends(self, eta: Array, values: Array, rows: int = 3) -> Array:
        """Of each row and category (3, n K): log density in the first one's place, its slope, minus the weight p."""
        K = self.n_categories
        every = eta.reshape(-1, K)
        out = np.zeros((3, len(every), K))
        with np.errstate(all="ignore"):
            log_p = every - special.logsumexp(every, axis=1, keepdims=True)
            p = np.exp(log_p)
            out[0, :, 0] = np.take_along_axis(log_p, self.y[:, None], axis=1)[:, 0]
        out[1], out[2] = self.chosen - p, -p
        if self.counted is not None:
            out *= self.counted[:, None]
        return out.reshape(3, -1)

    def around(self, rows: Reweighted, W: Array) -> Reweighted:
        """The rows less their mean under the probabilities that the weights W (n K,) are in proportion to."""
        K = self.n_categories
        p = W.reshape(-1, K)
        total = p.sum(axis=1, keepdims=True)
        p = np.divide(p, total, out=np.full_like(p, 1.0 / K), where=total > 0.0)

        def moved(columns: Array) -> Array:
            each = columns.reshape(len(p), K, -1)
            return np.ascontiguousarray((each - np.einsum("nk,nkq->nq", p, each)[:, None]).reshape(columns.shape))

        return replace(rows, rows=rows.rows._replace(Z=moved(rows.rows.Z), X=moved(rows.rows.X)))

    def _factorise(self, rows: Reweighted, W: Array, lams: Sequence[Array]) -> tuple[pls.Reduced, bool]:
        return self.around(rows, W).reduce(W, lams), True

    def curved(self, inner: Inner, lams: Sequence[Array], least: float = -np.inf) -> pls.Reduced:
        """M at the modes, of weights that are this at least, and X reduced beside it."""
        return self._factorise(self.with_X, np.maximum(-inner.bends[2], least), lams)[0]

    def each_lam(self, lams: Sequence[Array]) -> Sequence[Array]:
        """Λ̃ of every category's bars, of those of each factor."""
        return self.by_category(lams)

    def terms(self, inner: Inner, lams: Sequence[Array]) -> Iterator[tuple[GroupTerm, Array, Array, Array]]:
        """(term, Λ on the user's columns, modes u (J, q), blocks of M⁻¹ (J, q, q)) of every category's bars."""
        V = pls.inverse(self._factorise(self.alone, -inner.bends[2], lams)[0])
        u = self.alone.by_factor(inner.u)
        to_user = [T @ lam for T, lam in zip(self.T_z, lams, strict=True)]
        blocks = self.by_category(to_user), self.of_bars(u), self.by_category(V.diagonal)
        yield from zip(self.design.parameter_groups, *blocks, strict=True)

    def of_bars(self, arrays: Sequence[Array]) -> list[Array]:
        """Arrays (J, (K − 1) q, ...) of factors as those (J, q, ...) of every category's bars, category by category."""
        return [
            array[:, c * q : (c + 1) * q]
            for c in range(self.n_categories - 1)
            for array, q in zip(arrays, self.widths, strict=True)
        ]

    def coefficients(self, beta: Array, vcov: Array) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """None of the model itself; those of categories by their names, and their errors."""
        names = [part.variable for part in self.design.of_categories]
        se = np.sqrt(np.diag(vcov))
        estimates, errors = (dict(zip(names, np.split(v, len(names)), strict=True)) for v in (beta, se))
        return np.zeros(0), estimates, errors

    def coefficients_of(self, solution: PointSolution) -> Array:
        """Those of all categories, one after the other."""
        return np.concatenate([solution.parameters[part.variable] for part in self.design.of_categories])

    def separating(self, inner: Inner) -> Array:
        """A direction (p,) of β̃ along which a likelihood rises for ever, where some category is certain not to be."""
        if not (-inner.bends[2] < CERTAIN).any():
            return np.zeros(0)
        return separating_categories(self.X.reshape(-1, self.n_categories, self.p), self.y)

    def start(self, scale: float) -> Array:
        """The joint mode of β and u at sds that are a guess; β of nought where there is none."""
        theta = 0.5 * scale * self.diagonal
        beta = np.zeros(self.p)
        try:
            inner = self.inner(beta, self.lams(theta), np.zeros(0), np.zeros(self.m), joint=True)
            beta, self.last = inner.beta, inner
        except FloatingPointError:
            pass
        return np.concatenate([np.zeros(0) if self.restricted else beta, theta])

    def normaliser(self, values: Array) -> tuple[float, Array]:
        """Nothing: there are no parameters besides."""
        return 0.0, np.zeros(0)

    def _slopes(
        self, inner: Factorised, lams: Sequence[Array], values: Array, free: Array
    ) -> tuple[Array, list[Array], Array]:
        rows = self.with_X if self.restricted else self.alone
        _, d1, minus_W = inner.bends
        W, joint, transposed = -minus_W, inner.joint, [lam.T for lam in lams]
        centred, selected = self.around(rows, W), pls.selected_inverse(inner.reduced)
        leverages = centred.leverages(selected, lams)
        beside = np.zeros((len(W), 0))
        if joint is not None:
            reached = rows.scaled(lams, joint.C)
            moved = [np.zeros((len(W), 0)), *(centred.effect(np.ascontiguousarray(c)) for c in reached.T)]
            beside = centred.rows.X - (np.column_stack(moved) if self.m else 0.0)  # X − AC
            leverages = leverages + (joint.whiten(beside.T) ** 2).sum(axis=0)
        c = -0.5 * self._curved(W, leverages)
        right = rows.scaled(transposed, rows.sums(c)[:, None])
        v, shift = pls.solve_M(inner.reduced, right.copy())[:, 0], np.zeros(len(c))
        if joint is not None:
            v_beta = joint.solve(self.X.T @ c - joint.C.T @ right[:, 0])
            v = v - joint.C @ v_beta
            shift = self.X @ v_beta
        if self.m:
            shift = shift + rows.effect(rows.scaled(lams, v[:, None])[:, 0])
        r = d1 + c - self._curved(W, shift)
        u_k, v_k = rows.by_factor(inner.u), rows.by_factor(v)
        Zr, Zd = rows.by_factor(rows.sums(r)), rows.by_factor(rows.sums(d1))
        G = list(pls.inverse(inner.reduced, selected).G)
        if joint is not None:  # as of one linear predictor
            weighted, half = joint.whiten(beside.T).T * W[:, None], joint.whiten(joint.C.T.copy()).T
            for left, right_column in zip(weighted.T, half.T, strict=True):
                sums = rows.by_factor(centred.sums(np.ascontiguousarray(left)))
                reach = rows.by_factor(np.ascontiguousarray(right_column))
                for k in range(len(G)):
                    G[k] = G[k] - sums[k].T @ reach[k]
        by_lam = [G[k] - Zr[k].T @ u_k[k] - Zd[k].T @ v_k[k] for k in range(len(lams))]
        by_beta = np.zeros(0) if self.restricted else self.X.T @ r
        return -by_beta, by_lam, np.zeros(0)

    def _curved(self, W: Array, values: Array) -> Array:
        """(diag(p) − ppᵀ) v of each row for v (n K,), as often as it counts."""
        w, v = W.reshape(-1, self.n_categories), values.reshape(-1, self.n_categories)
        total = w.sum(axis=1, keepdims=True)
        mean = np.divide((w * v).sum(axis=1, keepdims=True), total, out=np.zeros_like(total), where=total > 0.0)
        return np.asarray((w * (v - mean)).reshape(-1))
