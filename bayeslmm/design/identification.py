"""Which variances the data tell: the rank of the derivatives of V (docs/theory.md, section 13).

V = Σ_k Z_k (I ⊗ G_k) Z_kᵀ + σ² W⁻¹ is linear in the entries of G_k and in σ², so that data tell the variances if and
only if its derivatives are linearly independent; of what REML sees, if they are between the columns that span what X
leaves. The rank is that of their inner products tr(P V̇_i P V̇_j), at any V the same (Rothenberg 1971; Rao & Kleffe
1988, section 5.1), and with V = I these are sums over cross-products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..covariances import Structure
from ..covariances.template import Template
from ..errors import UnidentifiedTermError
from ..terms.wide import WideTerm
from ..tools.arrays import Array

if TYPE_CHECKING:
    from ..terms.group import GroupTerm
    from .design import Design
    from .residual import ResidualPart
Pairs = Mapping[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64], Array]]

# Squared sines of the angle between a derivative and the others. Doubles leave some 1e-14 of a sum of squares; a design
# of a million levels in which one only tells two variances apart has 1e-6.
FLAT = 1e-12  # of a squared length, that is left beside X
DEPENDENT = 1e-10
ROUNDING = 1e-14
PAIRS = 100_000  # of levels looked at together
MOST_WIDE = 20_000_000  # numbers of the columns of a wide term, or of its products with another term
BAR_CORRELATIONS = (0.6, 0.3)  # at which the rows of a bar are compared with residuals
NEAR = 1e-3  # of a correlation: a bounded search ends within some 1e-5 of the parameter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction:
    """Changes of the covariance matrices (q_k, q_k) and of σ² that leave V, or what REML sees of it, as it is."""

    covariances: tuple[Array, ...]
    residual: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Identification:
    """What the data do not tell of the variances; ``directions`` is empty where they tell all.

    Attributes
    ----------
    directions : tuple of Direction
        Independent ones that together span what is not told.
    sizes : tuple of float64 array (q_k,)
        Root mean squares of the columns of Z, by which entries of different units are compared; none where all is told.
    """

    directions: tuple[Direction, ...]
    sizes: tuple[Array, ...]

    @property
    def is_full(self) -> bool:
        """Whether the data tell every variance."""
        return not self.directions

    @property
    def involves_residual(self) -> bool:
        """Whether a variance cannot be told from that of the residual."""
        return any(each.residual != 0.0 for each in self.directions)

    @cached_property
    def untold(self) -> tuple[tuple[int, int, int], ...]:
        """Entries (factor, row, column) of covariance matrices that are not told; factor −1 is the residual."""
        return tuple(self._entries[i] for i in np.flatnonzero(self._moves))

    @cached_property
    def _entries(self) -> list[tuple[int, int, int]]:
        entries = [(k, b, a) for k, size in enumerate(self.sizes) for b in range(len(size)) for a in range(b + 1)]
        return [*entries, (-1, 0, 0)]

    @cached_property
    def _null(self) -> Array:
        """(entries, directions), in units of what an entry does to V."""
        return np.array(
            [
                [
                    direction.residual
                    if k < 0
                    else direction.covariances[k][a, b] * self.sizes[k][a] * self.sizes[k][b]
                    for direction in self.directions
                ]
                for k, a, b in self._entries
            ]
        ).reshape(len(self._entries), len(self.directions))

    @cached_property
    def _moves(self) -> NDArray[np.bool_]:
        size = np.abs(self._null).max(axis=0, initial=0.0)
        return np.any(np.abs(self._null) > 1e-6 * size, axis=1)

    def combinations(self) -> list[dict[tuple[int, int, int], float]]:
        """What is told of the entries that are not: combinations of them, in row echelon form."""
        moving = np.flatnonzero(self._moves)
        null = self._null[moving]
        basis, values, _ = np.linalg.svd(null)
        rank = int((values > 1e-8 * values.max(initial=0.0)).sum())
        units = np.array([1.0 if e[0] < 0 else self.sizes[e[0]][e[1]] * self.sizes[e[0]][e[2]] for e in self.untold])
        rows = _echelon(basis[:, rank:].T) * units
        rows /= rows[np.arange(len(rows)), [int(np.flatnonzero(row)[0]) for row in rows]][:, None]
        return [{e: float(v) for e, v in zip(self.untold, row, strict=True) if v} for row in rows]


def _echelon(rows: Array) -> Array:
    """Reduced row echelon form of rows of full rank."""
    rows, done = rows.copy(), 0
    for c in range(rows.shape[1]):
        if done == len(rows):
            break
        pivot = done + int(np.argmax(np.abs(rows[done:, c])))
        if abs(rows[pivot, c]) < 1e-7:
            continue
        rows[[done, pivot]] = rows[[pivot, done]]
        rows[done] /= rows[done, c]
        for other in range(len(rows)):
            if other != done:
                rows[other] -= rows[other, c] * rows[done]
        done += 1
    rows[np.abs(rows) < 1e-7] = 0.0
    return rows


# -- from cross-products


def judge(
    *,
    ZtZ: Sequence[Array],
    pairs: Pairs,
    ZtQ: Sequence[Array] | None,
    n: float,
    p: int,
    templates: Sequence[Template],
    T: Sequence[Array],
    residual: bool,
) -> Identification:
    """What variances the rows tell.

    Parameters
    ----------
    ZtZ : K × (J, q, q)
        Z̃_kᵀWZ̃_k by level, for columns Z̃_k = Z_k T_k of like size.
    pairs : {(k, l): (levels of k, levels of l, (pairs, q_k, q_l))} for k < l
        Z̃_kᵀWZ̃_l where two levels meet; (k, k) of a term whose own levels meet, each pair once.
    ZtQ : K × (J, q, p) or None
        Z̃_kᵀW^½Q with an orthonormal basis Q of W^½X, for REML; None judges V itself.
    templates : K × Template
        How the effects of each factor vary together. Where that is no linear space of covariance matrices, the
        question is asked at one point of it.
    residual : bool
        Whether there is a residual variance.
    """
    whole, gram = _products(ZtZ, pairs, ZtQ, templates, n, p, residual)
    if all(structure.is_free for t in templates for structure in t.structures):  # all entries are parameters
        null = _null_space(gram, whole.diagonal())
        if not null.shape[1]:
            return Identification(directions=(), sizes=())
    entries = [
        (k, b, a)
        for k, template in enumerate(templates)
        for block in template.blocks
        for i, b in enumerate(block)
        for a in block[: i + 1]
    ]
    changes = _changes(templates, entries, ZtZ, T, residual)
    if changes is not None:
        null = changes.T @ _null_space(changes @ gram @ changes.T, np.diag(changes @ whole @ changes.T).copy())
        if not null.shape[1]:
            return Identification(directions=(), sizes=())
    directions = []
    for v in null.T:
        matrices = [np.zeros_like(t) for t in T]
        for (k, a, b), value in zip(entries, v, strict=False):
            matrices[k][a, b] = matrices[k][b, a] = value
        residual_entry = float(v[-1]) if residual else 0.0
        residual_entry = (
            residual_entry if abs(residual_entry) > 1e-6 * np.abs(v * np.sqrt(np.diag(whole) / n)).max() else 0.0
        )
        directions.append(
            Direction(
                covariances=tuple(t @ matrix @ t.T for t, matrix in zip(T, matrices, strict=True)),
                residual=residual_entry,
            )
        )
    return Identification(directions=tuple(directions), sizes=tuple(_sizes(ZtZ, T, n)))


def _sizes(ZtZ: Sequence[Array], T: Sequence[Array], n: float) -> list[Array]:
    """Root mean squares (q,) of the columns of each Z."""
    sizes = []
    for S, t in zip(ZtZ, T, strict=True):
        back = np.linalg.inv(t)
        sizes.append(np.sqrt(np.maximum(np.diag(back.T @ S.sum(axis=0) @ back) / n, 1e-300)))
    return sizes


def _changes(
    templates: Sequence[Template],
    entries: Sequence[tuple[int, int, int]],
    ZtZ: Sequence[Array],
    T: Sequence[Array],
    residual: bool,
) -> Array | None:
    """What each parameter changes of the entries, the residual last; None where all entries are parameters."""
    if all(structure.is_free for t in templates for structure in t.structures):
        return None
    rows = []
    for k, (template, size) in enumerate(zip(templates, _sizes(ZtZ, T, 1), strict=True)):
        back = np.linalg.inv(T[k])
        places = [(i, a, b) for i, (factor, a, b) in enumerate(entries) if factor == k]
        for change in template.tangents(size / size.max()):
            scaled = back @ change @ back.T
            row = np.zeros(len(entries) + residual)
            for i, a, b in places:
                row[i] = scaled[a, b]
            rows.append(row)
    if residual:
        rows.append(np.eye(len(entries) + 1)[-1])
    return np.array(rows)


def _null_space(gram: Array, unprojected: Array) -> Array:
    """Directions (entries, d) along which Σ v_i V̇_i vanishes."""
    left = gram.diagonal()
    flat = left <= FLAT * unprojected
    if not flat.any():
        scale = np.sqrt(left)
        noise = ROUNDING * len(gram) * float((unprojected / left).max())
        if np.linalg.eigvalsh(gram / (scale[:, None] * scale))[0] > max(DEPENDENT, noise):
            return np.zeros((len(gram), 0))
    size = np.sqrt(np.where(flat, 1.0, left))
    correlation = np.where(flat[:, None] | flat, 0.0, gram / np.outer(size, size))
    noise = ROUNDING * len(gram) * float((unprojected[~flat] / left[~flat]).max(initial=1.0))
    seen = np.flatnonzero(~flat)
    values, vectors = np.linalg.eigh(correlation[np.ix_(seen, seen)])
    dependent = values <= max(DEPENDENT, noise)
    null = np.zeros((len(gram), int(flat.sum() + dependent.sum())))
    null[np.flatnonzero(flat), np.arange(flat.sum())] = 1.0
    null[np.ix_(seen, np.arange(flat.sum(), null.shape[1]))] = vectors[:, dependent] / size[seen, None]
    return null


def _products(
    ZtZ: Sequence[Array],
    pairs: Pairs,
    ZtQ: Sequence[Array] | None,
    templates: Sequence[Template],
    n: float,
    p: int,
    residual: bool,
) -> tuple[Array, Array]:
    """tr(V̇_i V̇_j) and tr(P V̇_i P V̇_j) of all entries, the residual last."""
    K = len(ZtZ)
    A = [] if ZtQ is None else [_outer(R) for R in ZtQ]
    spread = [_spread(template.blocks, template.q) for template in templates]
    ends = np.cumsum([0, *(D.shape[1] for D in spread)])
    whole = np.zeros((ends[-1] + residual, ends[-1] + residual))
    gram = np.zeros_like(whole)
    for k in range(K):
        of_k = slice(ends[k], ends[k + 1])
        for m in range(k, K):
            of_m = slice(ends[m], ends[m + 1])
            if k == m:
                first = second = None  # each level by itself
                values = ZtZ[k]
            else:
                first, second, values = pairs[k, m]
            if k == m and (k, k) in pairs:  # levels of one term that meet each other, both ways
                one, other, blocks = pairs[k, k]
                index = np.arange(len(ZtZ[k]))
                first, second = np.concatenate([index, one, other]), np.concatenate([index, other, one])
                values = np.concatenate([values, blocks, blocks.transpose(0, 2, 1)])
            total = _sum_of_products(values, values)
            q, r = total.shape[0], total.shape[2]
            whole[of_k, of_m] = spread[k].T @ total.reshape(q * q, r * r) @ spread[m]
            if ZtQ is not None:
                cross = sum(
                    _sum_of_products(values[s], _met(_chosen(ZtQ[k], first, s), _chosen(ZtQ[m], second, s)))
                    for s in (slice(i, i + PAIRS) for i in range(0, max(len(values), 1), PAIRS))
                )
                total = total - cross - np.transpose(cross, (1, 0, 3, 2))
                columns = ZtQ[k].shape[2]
                both = A[k].reshape(q * q, columns**2) @ A[m].reshape(r * r, columns**2).T  # Σ_xy A_acxy A_bdxy
                total = total + both.reshape(q, q, r, r)
            gram[of_k, of_m] = spread[k].T @ total.reshape(q * q, r * r) @ spread[m]
            if k != m:
                whole[of_m, of_k], gram[of_m, of_k] = whole[of_k, of_m].T, gram[of_k, of_m].T
        if residual:
            trace = ZtZ[k].sum(axis=0)
            whole[of_k, -1] = whole[-1, of_k] = trace.reshape(-1) @ spread[k]
            if ZtQ is not None:
                trace = trace - np.einsum("acxx->ac", A[k])
            gram[of_k, -1] = gram[-1, of_k] = trace.reshape(-1) @ spread[k]
    if residual:
        whole[-1, -1], gram[-1, -1] = n, n - (0 if ZtQ is None else p)
    return whole, gram


@lru_cache(maxsize=256)
def _spread(blocks: tuple[tuple[int, ...], ...], q: int) -> Array:
    """Where the entries of a covariance matrix stand in it (q², entries): (b, a) below the diagonal in two places."""
    entries = [(b, a) for block in blocks for i, b in enumerate(block) for a in block[: i + 1]]
    places = np.zeros((q * q, len(entries)))
    for i, (b, a) in enumerate(entries):
        places[b * q + a, i] = places[a * q + b, i] = 1.0
    places.setflags(write=False)
    return places


def _chosen(products: Array, levels: NDArray[np.int64] | None, part: slice) -> Array:
    return products[part] if levels is None else products[levels[part]]


def _sum_of_products(left: Array, right: Array) -> Array:
    """Σ_p left_pab right_pcd as (a, c, b, d)."""
    pairs, q, r = left.shape
    flat = left.reshape(pairs, q * r).T @ right.reshape(pairs, q * r)
    return flat.reshape(q, r, q, r).transpose(0, 2, 1, 3)


def _outer(R: Array) -> Array:
    """Σ_j R_jax R_jcy (q, q, p, p)."""
    J, q, p = R.shape
    flat = R.reshape(J, q * p)
    return (flat.T @ flat).reshape(q, p, q, p).transpose(0, 2, 1, 3)


def _met(left: Array, right: Array) -> Array:
    return np.matmul(left, right.transpose(0, 2, 1))


# -- from a design


def identification(design: Design, *, beside_fixed: bool = True, residual: bool | None = None) -> Identification:
    """What variances of a model its data tell; for any family.

    Parameters
    ----------
    beside_fixed : bool
        Whether the fixed part takes what its columns can explain, as for REML and nearly so for a posterior.
    residual : bool, optional
        Whether there is an error of every row of unknown variance; by default if the family has one.
    """
    root = np.ones(design.n) if design.weights is None else np.sqrt(design.weights)
    has_error = design.family.adds_unknown_error
    Q = np.linalg.qr(design.X * root[:, None])[0] if beside_fixed else np.zeros((design.n, 0))
    terms = [
        _Sparse.of(group, root) if not isinstance(group, WideTerm) else _Full.of(group, root) for group in design.groups
    ]
    pairs = {(k, m): terms[k].pairs(terms[m]) for k in range(len(terms)) for m in range(k + 1, len(terms))}
    pairs |= {
        (k, k): term.inner for k, term in enumerate(terms) if isinstance(term, _Full) and term.columns.shape[2] > 1
    }
    return judge(
        ZtZ=[term.own for term in terms],
        pairs=pairs,
        ZtQ=[term.times(Q) for term in terms] if beside_fixed else None,
        n=design.n,
        p=Q.shape[1],
        templates=[group.template for group in design.groups],
        T=[term.T for term in terms],
        residual=has_error if residual is None else residual,
    )


def can_judge(design: Design) -> bool:
    """Whether wide terms are small enough for products of all their columns, which `identification` needs."""
    columns = [group.n_levels * group.q for group in design.groups if group.is_wide]
    others = [group.n_levels * group.q for group in design.groups]
    return not columns or design.sums is None and max(columns) * (design.n + max(others)) <= MOST_WIDE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sparse:
    """A term of which a row meets one level: W^½ZT (n, q)."""

    codes: NDArray[np.int64]
    columns: Array
    T: Array
    count: int

    @classmethod
    def of(cls, group: GroupTerm, root: Array) -> _Sparse:
        columns, T = _like_sized(group.Z, group.template, root)
        return cls(codes=group.codes, columns=columns, T=T, count=group.n_levels)

    @property
    def own(self) -> Array:
        return _summed(self.codes, self.columns, self.columns, self.count)

    def times(self, right: Array) -> Array:
        return _summed(self.codes, self.columns, right, self.count)

    def pairs(self, other: _Sparse | _Full) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        if isinstance(other, _Full):
            first, second, values = other.pairs(self)
            return second, first, values.transpose(0, 2, 1)
        keys, where = np.unique(self.codes * other.count + other.codes, return_inverse=True)
        values = _summed(where.reshape(-1), self.columns, other.columns, len(keys))
        return keys // other.count, keys % other.count, values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Full:
    """A wide term, of which a row meets many levels: W^½ZLVT (n, J, q), whose own products are diagonal if q is one."""

    columns: Array
    T: Array

    @classmethod
    def of(cls, group: WideTerm, root: Array) -> _Full:
        rotation = group.rotation
        left = np.ones((len(root), 1)) if rotation.left is None else rotation.left
        T = _like_sized(left, group.template, root)[1]
        columns = (rotation.columns * root[:, None])[:, :, None] * (left @ T)[:, None, :]
        return cls(columns=columns, T=T / rotation.size)

    @property
    def own(self) -> Array:
        return np.einsum("nja,njb->jab", self.columns, self.columns)

    @property
    def inner(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Products of every two of its levels."""
        first, second = np.triu_indices(self.columns.shape[1], 1)
        return first, second, self._all(self.columns)[first, :, second, :]

    def times(self, right: Array) -> Array:
        return np.einsum("nja,nb->jab", self.columns, right)

    def pairs(self, other: _Sparse | _Full) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        J = self.columns.shape[1]
        if isinstance(other, _Full):
            products = self._all(other.columns)
        else:
            products = np.zeros((J, self.columns.shape[2], other.count, other.columns.shape[1]))
            for b in range(other.columns.shape[1]):
                by_level = np.zeros((other.count, J, self.columns.shape[2]))
                np.add.at(by_level, other.codes, self.columns * other.columns[:, b, None, None])
                products[:, :, :, b] = by_level.transpose(1, 2, 0)
        first, second = (index.reshape(-1) for index in np.indices((J, products.shape[2])))
        return first, second, products[first, :, second, :]

    def _all(self, others: Array) -> Array:
        """(J, q, J', q')."""
        n, J, q = self.columns.shape
        product = self.columns.reshape(n, J * q).T @ others.reshape(n, -1)
        return product.reshape(J, q, *others.shape[1:])


def _like_sized(Z: Array, template: Template, root: Array) -> tuple[Array, Array]:
    """(W^½Z T, T) with orthogonal columns in a free block, where they are independent, and of mean square one."""
    n, T = len(Z), np.zeros((Z.shape[1], Z.shape[1]))
    weighted = Z * root[:, None]
    for block, structure in zip(template.blocks, template.structures, strict=True):
        block_index = np.ix_(block, block)
        size = np.sqrt(np.mean(weighted[:, block] ** 2, axis=0))
        scaled = np.diag(1.0 / np.where(size > 0.0, size, 1.0))
        R = np.linalg.qr(weighted[:, block] @ scaled / np.sqrt(n), mode="r")
        independent = structure.is_free and R.shape[0] == R.shape[1] and np.abs(np.diag(R)).min() > 1e-7
        T[block_index] = scaled @ np.linalg.inv(R) if independent else scaled
    return weighted @ T, T


def _summed(where: NDArray[np.int64], left: Array, right: Array, count: int) -> Array:
    """Σ left_i right_iᵀ by place (count, a, b)."""
    out = np.empty((count, left.shape[1], right.shape[1]))
    for a in range(left.shape[1]):
        for b in range(right.shape[1]):
            out[:, a, b] = np.bincount(where, left[:, a] * right[:, b], minlength=count)
    return out


def refuse_untold_residual(design: Design) -> None:
    """Raise UnidentifiedTermError where a variance cannot be told from that of the residual, whatever the method.

    That takes as many random effects as rows, so that nothing is computed for most models. The latent variable behind
    one trial or one ordered category has a residual as well, whose variance the link sets: a variance that cannot be
    told from it only changes the unit of all the others.
    """
    if design.is_wide or design.sums is not None:  # the fit judges them by its cross-products
        return
    if design.residual is not None and design.residual.structure.blocks is not None:  # judged when it was built
        return
    effects = sum(group.n_levels * group.q for group in design.groups)
    family = design.family
    latent = family.hides_row_effects(design.trials)
    if not (family.adds_unknown_error or latent) or effects < design.n - design.p or not design.groups:
        return
    identified = identification(design, beside_fixed=False, residual=True)
    if identified.involves_residual:
        raise UnidentifiedTermError((_latent_words if latent else untold_residual)(identified, design))


def beside_dispersion(design: Design) -> Identification | None:
    """The variances of effects that a row has alone, beside a parameter by which the family's rows vary; or None.

    Both spread the rows around one mean: second moments tell them together only, and the form of the distribution tells
    one from the other. The rank is that of `refuse_untold_residual`, with an error of every row in the parameter's
    place. Where a link makes the two no sums, they are as alike on the scale of the linear predictor.
    """
    family = design.family
    if not family.dispersion or not design.groups or not can_judge(design) or design.residual is not None:
        return None
    effects = sum(group.n_levels * group.q for group in design.groups)
    if effects < design.n - design.p or family.hides_row_effects(design.trials):
        return None
    identified = identification(design, beside_fixed=False, residual=True)
    return identified if identified.involves_residual else None


def limits_of(design: Design) -> dict[str, str]:
    """Parameters of the family that may go to an end at which a likelihood is finite, and what there is at that end."""
    family = design.family
    limits = {name: f"the family is {other}" for name, other in family.limited_by.items()}
    name = family.dispersion
    if family.has_free_dispersion and name and name not in design.predictors and beside_dispersion(design):
        limits.setdefault(name, "the random effects are all that varies")
    return limits


def by_form_alone(design: Design) -> str:
    """Which variances a family's own parameter is told from by the form of the distribution alone; or empty."""
    identified = beside_dispersion(design)
    if identified is None:
        return ""
    _, texts, why = _guilty(identified, design)
    return (
        f"{texts}: {why}. Such effects and {design.family.dispersion} both spread single rows, and nothing but the "
        "form of the distribution tells them apart"
    )


def refuse_interchangeable(design: Design) -> None:
    """Raise UnidentifiedTermError where a bar gives the rows covariances of the same form as correlated residuals do.

    Σ of the two is then the same when their sds and correlations change places, so that a likelihood has two optima, or
    one in which nothing is told. Whether forms are the same is seen from their matrices: R of the residuals' blocks at
    the parameter that comes nearest to the correlations of the bar's rows, at two values of the bar's.
    """
    part = design.residual
    if part is None or part.n_spread or part.n_parameters != 1 or design.weights is not None:
        return
    blocks = part.structure.blocks
    assert blocks is not None
    for group in design.groups:
        if group.is_wide or group.n_levels != len(blocks.sizes) or len(np.unique(group.codes[blocks.order])) < 2:
            continue
        of_block = group.codes[blocks.order]
        if (of_block != of_block[blocks.starts[blocks.block_of]]).any():
            continue
        for text, block, structure in zip(group.texts, group.blocks, group.template.structures, strict=True):
            if structure.is_free or not structure.hom or structure.n_correlations(len(block)) != 1:
                continue
            Z = group.Z[:, list(block)]
            if all(_comes_near(part, Z, structure, len(block), rho) for rho in BAR_CORRELATIONS):
                raise UnidentifiedTermError(
                    f"{text} and {part.text} give the rows covariances of one form, so that their sds and "
                    "correlations may change places: the data do not tell which is which. Keep one of the two; beside "
                    f"{text} alone, residuals are what does not last from row to row."
                )


def _comes_near(part: ResidualPart, Z: Array, structure: Structure, q: int, rho: float) -> bool:
    """Whether residuals can have the correlations of a bar's rows, in one block of every pattern."""
    from scipy import optimize

    blocks, correlation = part.structure.blocks, part.structure.correlation
    assert blocks is not None
    assert correlation is not None
    C = structure.correlation([np.asarray(rho)], q)
    wanted = []
    for _, places in blocks.patterns:
        rows = Z[blocks.order[places[0]]]
        wanted.append(rows @ C @ rows.T)

    def distance(free: float) -> float:
        reached = correlation.matrices(correlation.natural(np.array([free]), blocks), blocks)
        return max(float(np.abs(R - V).max()) for R, V in zip(reached, wanted, strict=True))

    grid = np.linspace(-7.0, 7.0, 29)
    start = grid[int(np.argmin([distance(free) for free in grid]))]
    nearest = optimize.minimize_scalar(distance, bounds=(start - 0.5, start + 0.5), method="bounded")
    return float(nearest.fun) < NEAR


# -- words


def untold_residual(identified: Identification, design: Design) -> str:
    """Which terms cannot be told from the residual."""
    guilty, texts, why = _guilty(identified, design)
    drop = "Use" if all(group.q == 1 for group in guilty) else "Drop a column or use"
    return (
        f"{texts}: {why}, so they cannot be told from the residual: {words_of(identified, design)}. {drop} more rows "
        f"per {' or '.join(group.name for group in guilty)}, or se= if the standard error of each row is known."
    )


def _latent_words(identified: Identification, design: Design) -> str:
    guilty, texts, why = _guilty(identified, design)
    return (
        f"{texts}: {why}. With {design.family.option} a row without others of its level does not tell their "
        f"variance: a larger one with larger coefficients gives the same probabilities. Use more rows per "
        f"{' or '.join(group.name for group in guilty)}, or leave the term out."
    )


def _guilty(identified: Identification, design: Design) -> tuple[list[GroupTerm], str, str]:
    """The terms at fault, their texts, and how many effects they have for how many rows."""
    guilty = [group for k, group in enumerate(design.groups) if any(e[0] == k for e in identified.untold)]
    texts = " + ".join(dict.fromkeys(text for group in guilty for text in group.texts))
    effects = sum(group.n_levels * group.q for group in guilty)
    if any(group.n_levels == design.n for group in guilty):
        return guilty, texts, f"{design.n} levels for {design.n} rows, one row per level"
    return guilty, texts, f"{effects} random effects for {design.n} rows"


def words_of(identified: Identification, design: Design, values: Sequence[str] = ()) -> str:
    """What the data know of the variances that they do not tell, by the names of factors and columns.

    ``values`` are written behind the combinations that are known.
    """
    combinations = identified.combinations()
    names = combination_names(combinations, design)
    parts = []
    if combinations:
        shown = " and ".join(name + value for name, value in zip(names, values or [""] * len(names), strict=True))
        parts.append(f"only {shown} {'is' if len(combinations) == 1 else 'are'} known")
    inside = {e for each in combinations for e in each}
    unknown = [_entry(e, design) for e in identified.untold if e not in inside]
    if unknown:
        parts.append(f"the data say nothing about {', '.join(unknown)}")
    return "; ".join(parts)


def untold_variances(design: Design) -> str:
    """What the data know of the variances that they do not tell, in words; empty where they tell all."""
    if not design.groups or not can_judge(design):
        return ""
    identified = identification(design) if design.sums is None else design.sums.untold
    return "" if identified.is_full else words_of(identified, design)


def combination_names(combinations: Sequence[Mapping[tuple[int, int, int], float]], design: Design) -> list[str]:
    """Sums such as ``sd(s)² + 0.5·sd(x | s)²``."""
    return [_sum(each, design) for each in combinations]


def _sum(each: Mapping[tuple[int, int, int], float], design: Design) -> str:
    text = ""
    for e, value in each.items():
        size = f"{abs(value):.3g}"
        sign = ("−" if value < 0 else "") if not text else (" − " if value < 0 else " + ")
        text += sign + ("" if size == "1" else f"{size}·") + _entry(e, design)
    return text


def _entry(e: tuple[int, int, int], design: Design) -> str:
    k, a, b = e
    if k < 0:
        return "sigma²"
    group = design.groups[k]
    row, column = group.columns[a], group.columns[b]
    if a != b:
        return f"cov({column}, {row} | {group.name})"
    return f"sd({group.name})²" if row == "Intercept" else f"sd({row} | {group.name})²"
