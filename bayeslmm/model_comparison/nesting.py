"""Whether one model is a special case of another, asked of the numbers and not of the names.

The mean of one lies in the other's if its columns, and the difference of the offsets, lie in the other's column space.
The covariance of one lies in the other's if every term Z_b(I ⊗ E)Z_bᵀ of it is a sum of such terms of the other: with
as many levels for a wider bar, or with finer ones, as ``(1 | g:f)`` is ``(0 + f | g)`` with one variance and no
covariances.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..covariances import Structure
from ..design.design import Design, GroupTerm
from ..errors import NotAvailableError
from ..terms.wide import WideTerm
from ..tools.arrays import Array

TOLERANCE = 1e-7  # of a column's length that may lie outside of a space: rounding, columns of unlike sizes


def mean_is_nested(small: Design, large: Design) -> bool:
    """Whether every mean of one design is one of the other."""
    shift = small.offset - large.offset
    columns = np.column_stack([small.X, shift]) if np.any(shift) else small.X
    return _within(columns, large.X)


def same_mean(a: Design, b: Design) -> bool:
    """Whether two designs have the same means."""
    a, b = on_sample(a, b)
    return mean_is_nested(a, b) and mean_is_nested(b, a)


def covariance_is_nested(small: Design, large: Design) -> bool:
    """Whether every covariance of one design's responses is one of the other's."""
    merged = _by_partition([group for group in large.groups if not group.is_wide])
    wide_terms = [group for group in large.groups if isinstance(group, WideTerm)]
    return all(
        any(group.is_same(other) for other in wide_terms) for group in small.groups if isinstance(group, WideTerm)
    ) and all(
        any(_term_is_nested(group, block, other) or _is_among(group, block, structure, other) for other in merged)
        for group in small.groups
        if not group.is_wide
        for block, structure in group.template.parts()
    )


def residual_is_nested(small: Design, large: Design) -> bool:
    """Whether every residual structure of one design is one of the other."""
    if small.residual is None:
        return True
    first, other = small.residual.structure, None if large.residual is None else large.residual.structure
    sds, constant = first.spread.G, np.ones((small.n, 1))
    wider = constant if other is None else np.column_stack([constant, other.spread.G])
    if not _within(sds, wider):
        return False
    if first.correlation is None or first.blocks is None:
        return True
    if other is None or other.correlation is None or other.blocks is None:
        return False
    a, b = first.blocks.codes(), other.blocks.codes()
    if not (_refines(a, b) and _refines(b, a)):
        return False
    if type(first.correlation) is type(other.correlation) and not other.correlation.of_levels:
        return np.array_equal(first.blocks.positions_of_rows(), other.blocks.positions_of_rows())
    # any correlation of the rows of a block, where it hangs on nothing but the positions
    position_pairs = np.unique(
        np.column_stack([first.blocks.positions_of_rows(), other.blocks.positions_of_rows()]), axis=0
    )
    tied = len(position_pairs) == len(np.unique(position_pairs[:, 1]))
    return other.correlation.of_levels and (tied or not first.correlation.has_positions)


def predictors_are_nested(small: Design, large: Design) -> bool:
    """Whether the family's parameters in the rows of one design are among those of the other."""
    constant = np.ones((small.n, 1))
    if any(small.family.known.get(name) != value for name, value in large.family.fixed):
        return False
    return all(
        _within(_columns_of(small, name, constant), _columns_of(large, name, constant))
        for name in {*small.predictors, *large.predictors}
    )


def _columns_of(design: Design, parameter: str, constant: Array) -> Array:
    """The columns (n, p) of a parameter's linear predictor, a constant one where it is the same in all rows."""
    return design.predictors[parameter].X if parameter in design.predictors else constant


def parts_not_nested(small: Design, large: Design) -> tuple[str, ...]:
    """Parts of one design that are no special case of the other: fixed, random, residual, parameters of the family."""
    parts = {
        "fixed": mean_is_nested,
        "random": covariance_is_nested,
        "residual": residual_is_nested,
        "parameters": predictors_are_nested,
    }
    small, large = on_sample(small, large)
    return tuple(part for part, nested in parts.items() if not nested(small, large))


def on_sample(small: Design, large: Design) -> tuple[Design, Design]:
    """Two designs whose rows went by in chunks on the sample that is kept of them; others as they are."""
    if small.sums is None or large.sums is None:
        return small, large
    samples = [design.sums.sample for design in (large, small) if design.sums is not None]
    columns = {str(name) for sample in samples for name in sample}
    whole = next((sample for sample in samples if columns <= set(map(str, sample))), None)
    if whole is None:
        raise NotAvailableError(
            f"{small.formula.text!r} and {large.formula.text!r} of data in chunks have columns that the other does not "
            "read, so that no rows are kept that tell whether one is a case of the other. Compare AIC or BIC."
        )
    return _at(small, whole), _at(large, whole)


def _at(design: Design, rows: pd.DataFrame) -> Design:
    new = design.at(rows, estimable_only=False)
    groups = tuple(
        replace(term, codes=group.codes, Z=group.Z) for term, group in zip(design.groups, new.groups, strict=True)
    )
    return replace(design, y=np.zeros(len(rows)), X=new.X, groups=groups, offset=new.offset, sums=None)


def _within(columns: Array, space: Array) -> bool:
    """Whether columns (n, k) are linear combinations of others (n, p)."""
    if not columns.shape[1]:
        return True
    if not space.shape[1]:
        return not np.any(columns)
    if _outside(np.ones((len(space), 1)), _basis(space)).max() <= TOLERANCE:  # of a year's digits only the last differ
        space, columns = _centred(space), _centred(columns)
    return bool(np.all(_outside(columns, _basis(space)) <= TOLERANCE))


def _basis(space: Array) -> Array:
    """Orthonormal columns that span a space."""
    Q, R = np.linalg.qr(_unit(space))
    U, singular, _ = np.linalg.svd(R)
    return np.asarray(Q @ U[:, : int(np.sum(singular > 1e-10 * singular.max(initial=0.0)))])


def _outside(columns: Array, basis: Array) -> Array:
    """Lengths (k,) of what of each column, of length one, lies outside of a space."""
    columns = _unit(columns)
    for _ in range(2):  # once more for the digits
        columns = columns - basis @ (basis.T @ columns)
    return np.linalg.norm(columns, axis=0)


def _centred(columns: Array) -> Array:
    """Deviations from the mean; of a constant, whose are rounding, zeros."""
    deviations = columns - columns.mean(axis=0)
    rounding = np.abs(deviations).max(axis=0) <= 1e-13 * np.abs(columns).max(axis=0)
    return np.where(rounding, 0.0, deviations)


def _unit(columns: Array) -> Array:
    """Columns of length one, and of length zero where they are zero."""
    columns = _scaled(columns)
    lengths = np.linalg.norm(columns, axis=0)
    return columns / np.where(lengths > 0.0, lengths, 1.0)


def _by_partition(groups: Sequence[GroupTerm]) -> list[GroupTerm]:
    """The terms, those that divide the rows alike as one with the blocks of all."""
    merged: list[GroupTerm] = []
    for group in groups:
        for place, other in enumerate(merged):
            if _refines(group.codes, other.codes) and _refines(other.codes, group.codes):
                merged[place] = _joined(other, group)
                break
        else:
            merged.append(group)
    return merged


def _joined(a: GroupTerm, b: GroupTerm) -> GroupTerm:
    return replace(
        a,
        columns=(*a.columns, *b.columns),
        Z=np.hstack([a.Z, b.Z]),
        blocks=(*a.blocks, *(tuple(column + a.q for column in block) for block in b.blocks)),
        structures=(*a.template.structures, *b.template.structures),
    )


def _is_among(group: GroupTerm, block: tuple[int, ...], structure: Structure, other: GroupTerm) -> bool:
    """Whether another term has these very columns in a structure that contains this one."""
    if not (_refines(group.codes, other.codes) and _refines(other.codes, group.codes)):
        return False
    return any(
        len(theirs) == len(block)
        and np.array_equal(group.Z[:, list(block)], other.Z[:, list(theirs)])
        and kind.contains(structure, len(block))
        for theirs, kind in other.template.parts()
    )


def _refines(fine: NDArray[np.int64], coarse: NDArray[np.int64]) -> bool:
    """Whether every level of one lies in one level of the other."""
    pairs = len(np.unique(np.column_stack([fine, coarse]), axis=0))
    return pairs == len(np.unique(fine))


def _term_is_nested(group: GroupTerm, block: tuple[int, ...], other: GroupTerm) -> bool:
    """Whether Z_b(I ⊗ E)Z_bᵀ is Z(I ⊗ F)Zᵀ of another term for every E, with F positive where E is and free to be so.

    Level by level of the other term Z_b = Z A; then F solves PFP = A(I ⊗ E)Aᵀ, P the projector on what Z tells of its
    columns there, with the same F for all levels.
    """
    if not _refines(group.codes, other.codes):
        return False
    if not _free(other):
        return False
    levels = _levels(_scaled(group.Z[:, list(block)]), group.codes, _scaled(other.Z), other.codes)
    if levels is None:
        return False
    F = _common(levels, other)
    differences = [P @ F @ P - target for P, target in levels]
    largest = max(1.0, *(np.abs(target).max() for _, target in levels))
    return max(np.abs(left).max() for left in differences) <= TOLERANCE * largest and _keeps_positive(F)


def _levels(
    Z_b: Array, fine: NDArray[np.int64], Z: Array, coarse: NDArray[np.int64]
) -> list[tuple[Array, Array]] | None:
    """P (q, q) and A(I ⊗ E)Aᵀ (k, k, q, q) for E = (e_c e_dᵀ + e_d e_cᵀ)/2, a pair a kind of level.

    None if somewhere Z_b ≠ Z A. Balanced designs have few kinds of levels.
    """
    kinds: dict[bytes, tuple[Array, Array]] = {}
    q, k = Z.shape[1], Z_b.shape[1]
    for rows in _rows_of_levels(coarse):
        within = _spread(Z_b[rows], fine[rows])
        if within.shape[1] > q:  # more independent columns than there are
            return None
        within = within.reshape(len(rows), -1)
        inverse = np.linalg.pinv(Z[rows], rcond=1e-9)
        A = inverse @ within
        if np.abs(Z[rows] @ A - within).max(initial=0.0) > TOLERANCE:
            return None
        A = A.reshape(q, -1, k)
        target = np.einsum("alc,bld->cdab", A, A)
        target = (target + target.swapaxes(0, 1)) / 2.0
        P = inverse @ Z[rows]
        kinds.setdefault(np.round(np.concatenate([P.ravel(), target.ravel()]), 9).tobytes(), (P, target))
    return list(kinds.values())


def _free(term: GroupTerm) -> list[tuple[int, int]]:
    """Entries (a, b), a ≤ b, of a term's covariance matrix that may be any numbers, whatever the others."""
    return sorted(
        (block[j], block[i])
        for block, structure in term.template.parts()
        for i, j in structure.free_entries(len(block)) or ()
    )


def _common(levels: Sequence[tuple[Array, Array]], other: GroupTerm) -> Array:
    """F (k, k, q, q), free inside the other term's blocks, that comes nearest to PFP = target at all levels."""
    free = _free(other)
    units = np.zeros((len(free), other.q, other.q))
    for unit, (a, b) in zip(units, free, strict=True):
        unit[a, b] = unit[b, a] = 1.0
    normal, right = np.zeros((len(free), len(free))), 0.0
    for P, target in levels:
        images = (P @ units @ P).reshape(len(free), -1)
        normal += images @ images.T
        right = right + np.einsum("fi,cdi->fcd", images, target.reshape(*target.shape[:2], -1))
    solved = np.tensordot(np.linalg.pinv(normal, rcond=1e-10, hermitian=True), right, axes=1)
    return np.einsum("fcd,fab->cdab", solved, units)


def _scaled(columns: Array) -> Array:
    largest = np.abs(columns).max(axis=0, initial=0.0)
    return columns / np.where(largest > 0.0, largest, 1.0)


def _rows_of_levels(codes: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    yield from np.split(order, starts[1:])


def _spread(Z: Array, codes: NDArray[np.int64]) -> Array:
    """Z (n, k) by level (n, L, k)."""
    levels, places = np.unique(codes, return_inverse=True)
    wide = np.zeros((len(Z), len(levels), Z.shape[1]))
    wide[np.arange(len(Z)), places.reshape(-1)] = Z
    return wide


def _keeps_positive(F: Array) -> bool:
    """Whether Σ E_cd F_cd is a covariance matrix for every covariance matrix E, on some of them."""
    k = len(F)
    directions = np.vstack([np.eye(k), np.random.default_rng(0).standard_normal((4 * k, k))])
    images = np.einsum("ic,id,cdab->iab", directions, directions, F)
    values = np.linalg.eigvalsh(images)
    return bool(values.min() >= -TOLERANCE * max(1.0, values.max()))
