"""Centre and scale inside, report outside: a predictor measured in other units reaches the same optimum.

X = X̃ T_x⁻¹ and Z_k = Z̃_k T_k⁻¹ with X̃ centred (about a constant column) and scaled, and the columns of Z̃_k inside
a block orthogonal and scaled where the covariance matrix of the block is free, so that the choice of its columns
changes nothing about the model, nor then about the search.  Another structure knows its columns: they are scaled, all
by one number if they share an sd.  Then β = T_x β̃ (plus ȳ on the intercept) and Cov(b) = T_k Cov(b̃) T_kᵀ.

Without priors on β any constant column may serve to centre the others.  Priors know one intercept, the formula's:
its prior is that at centred predictors; any other constant column is a predictor like others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..covariances import Structure
from ..covariances.template import Template
from ..design.design import Design
from ..errors import NotAvailableError
from ..residual_structures import Residuals
from ..terms.wide import Rotation, WideTerm
from ..tools.arrays import Array
from ..tools.summed import SummedColumns, constant_in
from .crossproducts import CrossProducts, accumulate
from .sums import Sums, scaling_of, transformed

DEPENDENT = 1e-7  # rms of what is left of a column of rms 1: below, rounding is 1e-9 of it
DEPENDENT_IN_SUMS = 1e-6  # the same by sums of squares, which hold 1e-16 of 1 and so 1e-8 of an rms


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A Gaussian mixed model as arrays: n rows, p fixed effects, K random terms.

    Of a wide term (`bayeslmm.terms.wide`) ``codes`` and ``Z`` are empty, and the columns of its rotation stand for
    levels, q of them for each where effects are correlated. Where the rows went by chunk by chunk there are ``sums`` of
    them, and ``y``, ``X`` and ``Z`` are `SummedColumns`.
    """

    y: Array  # (n,), offset already subtracted
    X: Array  # (n, p), full column rank
    codes: tuple[NDArray[np.int64], ...]  # K × (n,)
    Z: tuple[Array, ...]  # K × (n, q_k)
    levels: tuple[int, ...]  # of each factor; every level has rows, which the order of elimination rests on
    blocks: tuple[tuple[tuple[int, ...], ...], ...]
    weights: Array | None  # in cross-products: likelihood weights are in them
    intercept: int | None = None  # column of X that is the formula's intercept
    sigma: float | None = None  # of the residuals, where it is known
    wide: tuple[Rotation | None, ...] = ()  # K, None for an ordinary factor; or empty where all are

    structures: tuple[tuple[Structure, ...], ...] = ()  # of every block; none: all unstructured
    residual: Residuals | None = None  # of residuals with parameters besides sigma; `weights` are those at its values
    sums: Sums | None = None
    likelihood_weights: Array | None = None  # (n,) how often each row counts

    def __post_init__(self) -> None:
        if not self.wide:
            object.__setattr__(self, "wide", (None,) * len(self.codes))

    @property
    def widths(self) -> tuple[int, ...]:
        """q_k: effects of each level."""
        return tuple(r.q if r else Z.shape[1] for Z, r in zip(self.Z, self.wide, strict=True))

    @property
    def mean_squares(self) -> tuple[Array, ...]:
        """What each column adds to the variance of a row on average, in units of its own variance (q_k,)."""
        return tuple(
            np.mean(Z**2, axis=0) if r is None else np.diag(r.mean_products)
            for Z, r in zip(self.Z, self.wide, strict=True)
        )

    def refuse_wide(self, verb: str) -> None:
        """Raise NotAvailableError where a term is wide, for a verb that goes by levels and their rows."""
        if any(self.wide):
            raise NotAvailableError(
                f"{verb} is not offered for models with a relationship matrix, multi-membership or a smooth: their "
                "rows do not belong to one level each that is independent of the others"
            )

    def refuse_correlated(self, verb: str) -> None:
        """Raise NotAvailableError where residuals are correlated, for a verb that takes rows one by one."""
        if self.residual is not None and self.residual.correlation is not None:
            raise NotAvailableError(
                f"{verb} is not offered for models with correlated residuals (residual=): their rows are not "
                "independent of each other given the groups"
            )

    def at_residual(self, values: Array) -> Problem:
        """The same with the parameters of its residuals at these values."""
        assert self.residual is not None
        residual = self.residual.with_values(values)
        return replace(self, residual=residual, weights=residual.weights())

    @property
    def templates(self) -> tuple[Template, ...]:
        """Of each factor: how its columns vary together."""
        every = self.structures or ((),) * len(self.blocks)
        return tuple(
            Template.from_blocks(blocks, structures) for blocks, structures in zip(self.blocks, every, strict=True)
        )

    @classmethod
    def of(cls, design: Design) -> Problem:
        """The arrays of a design."""
        wide = tuple(group.rotation if isinstance(group, WideTerm) else None for group in design.groups)
        return cls(
            y=design.normal_response,
            X=design.X,
            codes=tuple(np.empty(0, np.int64) if group.is_wide else group.codes for group in design.groups),
            Z=tuple(np.empty((0, group.q)) if group.is_wide else group.Z for group in design.groups),
            wide=wide,
            levels=tuple(group.n_levels for group in design.groups),
            blocks=tuple(group.blocks for group in design.groups),
            structures=tuple(group.structures for group in design.groups),
            weights=design.information,
            likelihood_weights=design.likelihood_weights,
            intercept=design.x_names.index("Intercept") if design.has_intercept else None,
            sigma=design.family.known.get("sigma"),
            residual=None if design.residual is None else design.residual.structure,
            sums=cast(Sums | None, design.sums),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """Cross-products of the scaled problem and the way back."""

    cross: CrossProducts
    T_x: Array  # (p, p)
    T_z: tuple[Array, ...]  # K × (q_k, q_k)
    y_center: float
    intercept: int | None  # column of X about which the others are centred
    roots: tuple[Array | None, ...]  # K × (J_k, J_k) of wide terms: their effects are this times their columns'

    def beta(self, scaled: Array, center: Array | None = None) -> Array:
        """β (..., p) on the user's scale from β̃; of responses with other centres (...) with these."""
        beta = np.matmul(self.T_x, scaled[..., None])[..., 0]  # each by itself, to the last digit
        if self.intercept is not None:
            beta[..., self.intercept] += (self.y_center if center is None else center) / self._intercept_value
        return beta

    def outwards(self, k: int, values: Array) -> Array:
        """Of the levels that users know (J_k, ...), from those of the columns of a wide term; of others as they are."""
        root = self.roots[k]
        return values if root is None else np.tensordot(root, values, axes=1)

    def inwards(self, k: int, parts: Array) -> Array:
        """The transpose of `outwards`: combinations (J_k, ...) of effects as combinations of those of the columns."""
        root = self.roots[k]
        return parts if root is None else np.tensordot(root.T, parts, axes=1)

    @property
    def _intercept_value(self) -> float:
        return 1.0 / float(self.T_x[self.intercept, self.intercept])


def _constant_column(A: Array, columns: Sequence[int]) -> int | None:
    return next((column for column in columns if constant_in(A, column) is not None), None)


def _transform(
    A: Array, blocks: Sequence[Sequence[int]], constants: Sequence[int | None], *, orthogonal: bool = False
) -> tuple[Array, Array]:
    """(Ã, T) with Ã = A T: columns centred about the constant column of their block, if any, then scaled to rms 1.

    ``orthogonal``: the columns of a block, the constant one first, by Gram and Schmidt; what depends on those before is
    centred and scaled only.
    """
    n, q = A.shape
    T = np.eye(q)
    out = np.array(A, dtype=float)
    for block, constant in zip(blocks, constants, strict=True):
        before: list[int] = []
        for c in block:
            if c == constant:
                T[c, c] = 1.0 / A[0, c]
                out[:, c] = 1.0
                continue
            column = out[:, c]
            shift = 0.0 if constant is None else float(column.sum()) / n
            column -= shift
            scale = math.sqrt(float((column**2).sum()) / n) or 1.0
            column /= scale
            T[c, c] = 1.0 / scale
            if constant is not None:
                T[constant, c] = -shift / (scale * A[0, constant])
            if orthogonal and _make_orthogonal(out, T, c, before):
                before.append(c)
    return np.ascontiguousarray(out), T


def _for_structures(Z: Array, template: Template) -> tuple[Array, Array]:
    """(Z̃, T) with Z̃ = Z T as the structures of the blocks allow it."""
    parts = list(template.parts())
    free = [block for block, structure in parts if structure.is_free or len(block) == 1]
    out, T = _transform(Z, free, [_constant_column(Z, block) for block in free], orthogonal=True)
    for block, structure in parts:
        if block in free:
            continue
        columns = list(block)
        size = np.sqrt(np.mean(Z[:, columns] ** 2, axis=0))
        if structure.hom:
            size = np.full(len(block), np.sqrt(np.mean(size**2)))
        size = np.where(size > 0.0, size, 1.0)
        T[columns, columns] = 1.0 / size
        out[:, columns] = Z[:, columns] / size
    return np.ascontiguousarray(out), T


def _make_orthogonal(out: Array, T: Array, c: int, before: Sequence[int]) -> bool:
    """Make column c of Ã and T orthogonal to those before, with rms 1; False, and nothing done, if it depends on them.

    Twice, since the first time leaves rounding of what was taken away.
    """
    column, back = out[:, c].copy(), T[:, c].copy()
    for k in [*before, *before]:
        share = float((column * out[:, k]).sum()) / len(column)
        column -= share * out[:, k]
        back -= share * T[:, k]
    size = math.sqrt(float((column**2).sum()) / len(column))
    if size < DEPENDENT:
        return False
    out[:, c], T[:, c] = column / size, back / size
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledRows:
    """The rows of the scaled problem and the way back, before any cross-product is taken."""

    problem: Problem
    X: Array  # (n, p)
    y: Array  # (n,)
    Z: tuple[Array, ...]  # K × (n, q_k)
    T_x: Array
    T_z: tuple[Array, ...]
    y_center: float
    intercept: int | None

    @classmethod
    def of(cls, problem: Problem, *, for_priors: bool = False) -> ScaledRows:
        """Those of a problem."""
        columns = range(problem.X.shape[1])
        intercept = problem.intercept if for_priors else _constant_column(problem.X, columns)
        X, T_x = _transform(problem.X, [columns], [intercept])
        center = float(problem.y.mean()) if intercept is not None else 0.0
        transformed = [
            _for_structures(Z, template) if r is None else _sized(r, problem.weights, template)
            for Z, template, r in zip(problem.Z, problem.templates, problem.wide, strict=True)
        ]
        return cls(
            problem=problem,
            X=X,
            y=problem.y - center,
            Z=tuple(Z for Z, _ in transformed),
            T_x=T_x,
            T_z=tuple(T for _, T in transformed),
            y_center=center,
            intercept=intercept,
        )

    def cross(self, weights: Array | None) -> CrossProducts:
        """Cross-products under these weights."""
        problem = self.problem
        cross = accumulate(self.X, self.y, problem.codes, self.Z, levels=problem.levels, weights=weights)
        counted = problem.likelihood_weights
        if counted is None or weights is None:
            return cross
        log_weights = float(counted @ np.log(weights / counted))  # of rows that are alike, each its own
        return replace(cross, n=float(counted.sum()), sum_log_weights=log_weights)

    def whitened(self, values: Array) -> CrossProducts:
        """Cross-products where the residuals have these parameters (d + r,): rows are whitened first.

        The rows of a block share their levels (`bayeslmm.design.residual` sees to that), so that each stays a row of
        its level.
        """
        problem = self.problem
        residual = problem.residual
        assert residual is not None
        if residual.correlation is None:
            return self.cross(residual.weights(values))
        white, log_det = residual.whiten(np.column_stack([self.X, self.y, *self.Z]), values)
        ends = np.cumsum([self.X.shape[1], 1, *(Z.shape[1] for Z in self.Z)])
        X, y, *Z = (np.ascontiguousarray(part) for part in np.split(white, ends[:-1], axis=1))
        cross = accumulate(X, y[:, 0], problem.codes, Z, levels=problem.levels)
        return replace(cross, sum_log_weights=-log_det)

    def scaled(self, cross: CrossProducts) -> Scaled:
        """Cross-products of these rows with the way back."""
        return Scaled(
            cross=cross,
            T_x=self.T_x,
            T_z=self.T_z,
            y_center=self.y_center,
            intercept=self.intercept,
            roots=tuple(None if r is None else r.root for r in self.problem.wide),
        )


def scale(problem: Problem, *, for_priors: bool = False) -> Scaled:
    """Cross-products of the centred and scaled problem; ``for_priors``: centred as the priors on β are.

    Raises
    ------
    NotAvailableError
        The residuals have parameters that are not estimated yet.
    """
    if problem.sums is not None:
        return _scaled_by_sums(problem, problem.sums, for_priors=for_priors)
    rows = ScaledRows.of(problem, for_priors=for_priors)
    if problem.residual is None:
        return rows.scaled(rows.cross(problem.weights))
    if problem.residual.values is None:
        raise NotAvailableError(
            "this is not offered for models with sigma= or residual= before they are fitted: the parameters of their "
            "residuals are not known"
        )
    return rows.scaled(rows.whitened(problem.residual.values))


def _scaled_by_sums(problem: Problem, sums: Sums, *, for_priors: bool) -> Scaled:
    """The same as of rows, for which means and cross-products are enough."""
    X, y = cast(SummedColumns, problem.X), cast(SummedColumns, problem.y)
    p = X.shape[1]
    intercept = problem.intercept if for_priors else _constant_column(problem.X, range(p))
    C_xy = np.eye(p + 1)
    C_xy[:p, :p] = scaling_of(X, [range(p)], [intercept], orthogonal=False, least=0.0)
    T_x, center = C_xy[:p, :p].copy(), 0.0
    if intercept is not None:
        center = float(y.mean())
        C_xy[intercept, p] = -center * T_x[intercept, intercept]
    T_z = tuple(
        _for_structures_by_sums(cast(SummedColumns, Z), template)
        for Z, template in zip(problem.Z, problem.templates, strict=True)
    )
    cross = transformed(sums.cross, sums.B_xy @ C_xy, [B @ T for B, T in zip(sums.B_z, T_z, strict=True)])
    return Scaled(
        cross=cross, T_x=T_x, T_z=T_z, y_center=center, intercept=intercept, roots=(None,) * len(problem.levels)
    )


def _for_structures_by_sums(Z: SummedColumns, template: Template) -> Array:
    """T as `_for_structures` has it."""
    parts = list(template.parts())
    free = [block for block, structure in parts if structure.is_free or len(block) == 1]
    constants = [next((column for column in block if constant_in(Z, column) is not None), None) for block in free]
    T = scaling_of(Z, free, constants, orthogonal=True, least=DEPENDENT_IN_SUMS)
    sizes = np.sqrt((Z**2).mean(axis=0))
    for block, structure in parts:
        if block in free:
            continue
        columns = list(block)
        size = sizes[columns]
        if structure.hom:
            size = np.full(len(block), np.sqrt(np.mean(size**2)))
        T[columns, columns] = 1.0 / np.where(size > 0.0, size, 1.0)
    return T


def _sized(rotation: Rotation, weights: Array | None, template: Template) -> tuple[Array, Array]:
    """The columns of a wide term over the root mean square of their rows, and that as T (q, q)."""
    if rotation.weights is not weights:
        raise ValueError("a wide term was turned for other weights than those of the rows")
    if rotation.left is None:
        return rotation.columns, np.array([[1.0 / rotation.size]])
    left, T = _for_structures(rotation.left, template)
    return rotation.under(left), T / rotation.size
