"""A wide term: one isotropic block of effects, of which a row may meet many, or which a known matrix relates.

Effects b = L u with u ~ N(0, τ² I) and L known: L Lᵀ is the relationship matrix of a pedigree, the identity for
multi-membership, and for a smooth L is the identity and the columns are those of its penalised basis. An orthogonal
V with (ZL)ᵀW(ZL) = V diag(d) Vᵀ leaves u isotropic, so the columns of ZLV are the levels of an ordinary factor whose
own cross-products are d (the trick of EMMA, Kang et al. 2008, Genetics 178, eq. 2-5). `Rotation` holds it; the
effects on the way out are LV times those of the columns.

Correlated intercepts and slopes, b = (L ⊗ T) u with Cov(Tu_j) = Σ, have q columns a level. No orthogonal matrix makes
all their cross-products diagonal, so V is the identity, and the columns ZL of one level meet those of another: such a
term is dense in the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import NotAvailableError
from ..tools.lazy import linalg, sparse
from .group import GroupTerm

NEGLIGIBLE = 1e-12  # of the largest own cross-product: a column that no row meets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rotation:
    """A wide block turned so that its own cross-product is diagonal.

    Attributes
    ----------
    columns : float64 array (n, J)
        ZLV over ``size``; columns that no row meets are zero. Of several effects a level ML over ``size`` instead,
        where M has what a row weighs the levels with.
    size : float
        The root mean square of the rows of ZLV.
    root : float64 array (J, J)
        LV: the effects are this times those of the columns.
    weights : float64 array (n,) or None
        W, for which the cross-product is diagonal.
    left : float64 array (n, q) or None
        The columns on the left of the bar where a level has several effects.
    """

    columns: NDArray[np.float64]
    size: float
    root: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    left: NDArray[np.float64] | None = None

    @property
    def q(self) -> int:
        """Effects of a level."""
        return 1 if self.left is None else self.left.shape[1]

    def under(self, left: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """What rows multiply the effects of all levels with (n, J q), for columns (n, q), level by level."""
        if left is None:
            return self.columns
        return np.ascontiguousarray((self.columns[:, :, None] * left[:, None, :]).reshape(len(left), -1))

    @property
    def whole(self) -> NDArray[np.float64]:
        """`under` the columns as they are."""
        return self.under(self.left)

    @property
    def mean_products(self) -> NDArray[np.float64]:
        """What a row adds to the variance on average (q, q), in units of the covariances of a level's effects."""
        variances = self.size**2 * np.einsum("nj,nj->n", self.columns, self.columns)
        left = np.ones((len(variances), 1)) if self.left is None else self.left
        return (left * variances[:, None]).T @ left / max(len(left), 1)

    @classmethod
    def correlated(
        cls, M: Any, left: NDArray[np.float64], L: NDArray[np.float64] | None, weights: NDArray[np.float64] | None
    ) -> Rotation:
        """That of several effects a level: of M (n, J) and the columns on the left of the bar (n, q)."""
        columns = np.asarray(M @ L if L is not None else M.toarray() if sparse.issparse(M) else M, dtype=float)
        size = float(np.sqrt(np.einsum("nj,nj->", columns, columns) / max(len(columns), 1))) or 1.0
        root = np.eye(columns.shape[1]) if L is None else L
        return cls(columns=np.ascontiguousarray(columns / size), size=size, root=root, weights=weights, left=left)

    @classmethod
    def of(cls, Z: Any, L: NDArray[np.float64] | None, weights: NDArray[np.float64] | None) -> Rotation:
        """That of Z (n, J), dense or sparse, with L (J, J), None for the identity."""
        if sparse.issparse(Z):
            by_level = Z.T @ (Z if weights is None else Z.multiply(weights[:, None]))
            inner = np.asarray(by_level.toarray() if L is None else L.T @ (by_level @ L))
        else:
            weighted = (Z if L is None else Z @ L) * (1.0 if weights is None else np.sqrt(weights)[:, None])
            inner = weighted.T @ weighted
        values, V = linalg.eigh(inner, driver="evd", overwrite_a=True, check_finite=False)
        root = V if L is None else L @ V
        columns = np.asarray(Z @ root, dtype=float)
        columns[:, values <= NEGLIGIBLE * max(float(values.max(initial=0.0)), 1e-300)] = 0.0
        size = float(np.sqrt(np.einsum("nj,nj->", columns, columns) / max(len(columns), 1))) or 1.0
        columns /= size
        return cls(columns=np.ascontiguousarray(columns), size=size, root=np.ascontiguousarray(root), weights=weights)


class WideTerm(GroupTerm):
    """One covariance matrix for effects of which a row meets several, or which are related.

    It has no ``codes`` and no ``Z`` by level: a verb that asks for them is not made for such terms and refuses.

    Attributes
    ----------
    kind : str
        What users call it: ``"relationship matrix"``, ``"multi-membership"``, ``"smooth"``.
    matrix : (n, J q), dense or sparse
        Z: what each row multiplies the effects b with, level by level.
    root : float64 array (J, J) or None
        L of b = L u; None for the identity.
    weights : float64 array (n,) or None
        Those of the design.
    left : float64 array (n, q) or None
        The columns on the left of the bar where a level has several effects, and ``members`` (n, J) what a row weighs
        the levels with, so that Z is their product.
    """

    __slots__ = ("__dict__", "kind", "left", "matrix", "members", "root", "weights")

    is_wide: ClassVar[bool] = True

    kind: str
    matrix: Any
    root: NDArray[np.float64] | None
    weights: NDArray[np.float64] | None
    left: NDArray[np.float64] | None
    members: Any

    def __init__(
        self,
        *,
        name: str,
        variables: tuple[str, ...],
        levels: tuple[Any, ...],
        text: str,
        kind: str,
        matrix: Any,
        root: NDArray[np.float64] | None,
        weights: NDArray[np.float64] | None,
        columns: tuple[str, ...] = ("Intercept",),
        left: NDArray[np.float64] | None = None,
        members: Any = None,
    ) -> None:
        fields: Mapping[str, Any] = {
            "name": name,
            "variables": variables,
            "levels": levels,
            "columns": columns,
            "blocks": (tuple(range(len(columns))),),
            "texts": (text,),
            "kind": kind,
            "matrix": matrix,
            "root": root,
            "weights": weights,
            "left": left,
            "members": members,
            "structures": (),
            "lefts": (),
            "shear": None,
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)

    @property
    def is_grouping(self) -> bool:  # type: ignore[override]
        """Whether users call its levels groups; a smooth has none."""
        return self.kind != "smooth"

    @property
    def codes(self) -> NDArray[np.int64]:
        """Refused: no row belongs to one level that is independent of the others."""
        raise self.refusal("this verb")

    @property
    def Z(self) -> NDArray[np.float64]:
        """Refused, as `codes`."""
        raise self.refusal("this verb")

    def __repr__(self) -> str:
        return f"WideTerm({self.name!r}, {self.kind}, {self.n_levels} levels)"

    def refusal(self, verb: str) -> NotAvailableError:
        """Why a verb is not offered."""
        why = {
            "relationship matrix": "its levels are not independent of each other",
            "multi-membership": "a row belongs to several of its levels",
            "smooth": "its coefficients are no groups",
        }[self.kind]
        return NotAvailableError(
            f"{verb} is not offered for a model with {self.texts[0]} ({self.kind}: {why}); docs/limitations.md says "
            "which verbs are"
        )

    @cached_property
    def rotation(self) -> Rotation:
        """Made once, when it is first needed: an eigendecomposition of a J × J matrix."""
        return self.turned(self.weights)

    def turned(self, weights: NDArray[np.float64] | None) -> Rotation:
        """The rotation under these weights of the rows."""
        if self.left is not None:
            return Rotation.correlated(self.members, self.left, self.root, weights)
        return Rotation.of(self.matrix, self.root, weights)

    @property
    def loadings(self) -> NDArray[np.float64]:
        """ZL (n, J): what rows multiply effects with that are independent of each other; of one effect a level."""
        Z = self.matrix if self.root is None else self.matrix @ self.root
        return np.ascontiguousarray(Z.toarray() if sparse.issparse(Z) else Z, dtype=float)

    @cached_property
    def inwards(self) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """The inverse (J, J) of the root of the rotation, the log of its determinant, and what it takes to zero (J, m).

        Of a relationship matrix without full rank the pseudo-inverse and -determinant, on the effects that it allows.
        """
        root = self.rotation.root
        if self.root is None:
            return np.ascontiguousarray(root.T), 0.0, np.zeros((len(root), 0))
        values, vectors = linalg.eigh(root @ root.T, driver="evd")
        is_used = values > NEGLIGIBLE * values[-1]
        inverse = (vectors[:, is_used] / values[is_used]) @ vectors[:, is_used].T
        null_space = linalg.svd(root)[2][is_used.sum() :].T if not is_used.all() else np.zeros((len(root), 0))
        return np.ascontiguousarray(root.T @ inverse), 0.5 * float(np.log(values[is_used]).sum()), null_space

    def slots(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which of the J q effects each row meets with their weights (n, m), of rows that meet few; the rest: none."""
        rows = sparse.csr_array(self.matrix)
        counts = np.diff(rows.indptr)
        places = np.zeros((rows.shape[0], max(int(counts.max(initial=0)), 1)), np.int64)
        weights = np.zeros(places.shape)
        filled = np.arange(places.shape[1]) < counts[:, None]
        places[filled], weights[filled] = rows.indices, rows.data
        return places, weights

    @cached_property
    def row_variances(self) -> NDArray[np.float64]:
        """Variance (n,) that the term gives to every row, in units of τ², the variance of each effect of a level."""
        if self.left is not None:
            return self._per_member * np.einsum("nq,nq->n", self.left, self.left)
        return row_variances(self.matrix, self.root)

    @cached_property
    def _per_member(self) -> NDArray[np.float64]:
        return row_variances(self.members, self.root)

    def mean_per_member(self, counted: NDArray[np.float64] | None = None) -> float:
        """What the average row gets of each effect of a level, in units of its variance: 1 of unrelated levels."""
        return float(np.average(self._per_member, weights=counted))

    @property
    def only_level(self) -> NDArray[np.int64] | None:
        """The level (n,) of every row, where each has one; related levels are not independent of each other."""
        if self.kind != "relationship matrix":
            return None
        return np.asarray(sparse.csr_array(self.members).indices, dtype=np.int64)

    def mean_products(self, counted: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """What the average row gets (q, q), in units of the covariances of a level's effects; rows count as often."""
        if self.left is None:
            return np.array([[np.average(self.row_variances, weights=counted)]])
        weights = np.full(len(self.left), 1.0 / len(self.left)) if counted is None else counted / counted.sum()
        return np.asarray((self.left * (self._per_member * weights)[:, None]).T @ self.left)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What tells the rows of one term from those of another: of J effects, the variance of each row's part."""
        return (self.row_variances, np.asarray(self.matrix @ np.arange(1.0, self.matrix.shape[1] + 1.0)))

    def is_same(self, other: WideTerm) -> bool:
        """Whether another term gives the rows the same covariances, up to its variance, or more of them."""
        if (
            self.kind != other.kind
            or len(self.levels) != len(other.levels)
            or not set(self.columns) <= set(other.columns)
        ):
            return False
        if max(self.q, other.q) > 1:
            return self.levels == other.levels and self._is_part_of(other)
        columns, other_columns = (t.rotation.columns * t.rotation.size for t in (self, other))
        probe = np.random.default_rng(0).standard_normal((len(columns), 3))
        product, other_product = columns @ (columns.T @ probe), other_columns @ (other_columns.T @ probe)
        return bool(np.allclose(product, other_product, rtol=1e-8, atol=1e-8 * np.abs(product).max(initial=0.0)))

    def _is_part_of(self, other: WideTerm) -> bool:
        """Whether all columns stand in another term of the same levels."""
        roots = [np.eye(len(self.levels)) if side.root is None else side.root for side in (self, other)]
        first, theirs = (sparse.csc_array(side.matrix) for side in (self, other))
        return bool(np.allclose(roots[0] @ roots[0].T, roots[1] @ roots[1].T)) and all(
            np.allclose((first[:, k :: self.q] - theirs[:, other.columns.index(name) :: other.q]).toarray(), 0.0)
            for k, name in enumerate(self.columns)
        )

    def related(self, b: np.ndarray) -> np.ndarray:
        """Effects (..., J, q) from those of independent levels: L times them."""
        return b if self.root is None else np.einsum("jk,...kq->...jq", self.root, b, optimize=True)

    def contribution(self, b: np.ndarray) -> np.ndarray:
        """What effects (..., J, q) add to the linear predictor of every row (..., n)."""
        return contribution(self.matrix, b)

    def taking(self, chosen: Any) -> WideTerm:
        """The term on some of the rows."""
        return self._with(
            matrix=self.matrix[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            left=None if self.left is None else self.left[chosen],
            members=None if self.members is None else self.members[chosen],
        )

    def renamed(self, name: str) -> WideTerm:
        """The term under another name."""
        return self._with(name=name)

    def weighted(self, weights: NDArray[np.float64] | None) -> WideTerm:
        """The term with other weights of its rows."""
        return self._with(weights=weights)

    def _with(self, **changed: Any) -> WideTerm:
        fields = {
            "name": self.name,
            "variables": self.variables,
            "levels": self.levels,
            "text": self.texts[0],
            "kind": self.kind,
            "matrix": self.matrix,
            "root": self.root,
            "columns": self.columns,
            "weights": self.weights,
            "left": self.left,
            "members": self.members,
        }
        return WideTerm(**{**fields, **changed})


def contribution(matrix: Any, b: np.ndarray) -> np.ndarray:
    """Z b (..., n) of effects (..., J, q)."""
    flat = b.reshape(-1, b.shape[-2] * b.shape[-1])
    return np.asarray((matrix @ flat.T).T).reshape(*b.shape[:-2], matrix.shape[0])


def spread(matrix: Any, root: NDArray[np.float64] | None, q: int) -> NDArray[np.float64]:
    """s (n, q) with sᵀΣs the variance that effects of covariances Σ, related by L Lᵀ, give to every row."""
    columns = [matrix[:, k::q] for k in range(q)]
    signs = [np.where(np.asarray(column.sum(axis=1)).reshape(-1) < 0.0, -1.0, 1.0) for column in columns]
    return np.column_stack(
        [sign * np.sqrt(row_variances(column, root)) for sign, column in zip(signs, columns, strict=True)]
    )


def row_variances(matrix: Any, root: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """diag(Z L Lᵀ Zᵀ) (n,)."""
    if root is None:
        squares = matrix.multiply(matrix) if sparse.issparse(matrix) else matrix**2
        return np.asarray(squares.sum(axis=1), dtype=float).reshape(-1)
    spread = np.asarray(matrix @ root)
    return np.einsum("nj,nj->n", spread, spread)
