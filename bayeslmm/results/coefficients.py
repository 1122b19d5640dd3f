"""The coefficients of a level: β and b in one coding.

A column of X that is also in a bar is added to it. One that is coded differently there (``scale(x)`` beside
``(x | g)``, contrasts beside cells) depends on the bar's columns and those of X that stay, and is written in terms of
them: with X = Z A + X_rest R the line of a level, Xβ + Zb, is Z (Aβ + b) + X_rest (Rβ).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..design.design import Design, GroupTerm
from ..terms.wide import WideTerm
from ..tools.arrays import Array

DEPENDENT = 1e-8  # of a column's spread that others leave of it, where it depends on them
MOST_ROWS = 100_000  # evenly chosen, on which is looked whether columns depend on each other


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coding:
    """The coefficients γ of a level of a grouping factor: γ = B β, plus b at some places.

    Attributes
    ----------
    names : tuple of str
        Of the coefficients; each multiplies a column of X or of Z.
    B : float64 array (terms, p)
    places : list of int
        Where the q random effects are added.
    """

    names: tuple[str, ...]
    B: Array
    places: list[int]


def coding_of(design: Design, group: GroupTerm) -> Coding:
    """The coding in which β and b of a grouping factor add up: the bar's columns, then those of X that they leave."""
    p, q = design.p, group.q
    if isinstance(group, WideTerm):  # b alone, or beside the intercept
        places = [design.x_names.index(name) if name in design.x_names else design.p for name in group.columns]
        alone = tuple(name for name in group.columns if name not in design.x_names)
        return Coding(names=design.x_names + alone, B=np.eye(p + len(alone), p), places=places)
    X, Z = _matrices(design, group)
    column_in_Z = {
        name: group.columns.index(name)
        for column, name in enumerate(design.x_names)
        if name in group.columns and np.array_equal(X[:, column], Z[:, group.columns.index(name)])
    }
    of_Z, of_X = np.zeros((q, p)), np.zeros((p, p))
    others_of_X = []
    for c, name in enumerate(design.x_names):
        if name in column_in_Z:
            of_Z[column_in_Z[name], c] = 1.0
        else:
            others_of_X.append(c)
    stay = list(others_of_X)
    if len(column_in_Z) < q and others_of_X:
        stay = []
        Z, X = _rows(Z), _rows(X)
        centred = design.has_intercept or "Intercept" in group.columns
        for c in others_of_X:
            others = np.column_stack([Z, X[:, stay]])
            weights = _combination(others, X[:, c], centred=centred)
            if weights is None:
                stay.append(c)
                of_X[c, c] = 1.0
            else:
                of_Z[:, c] = weights[:q]
                of_X[stay, c] = weights[q:]
    else:
        of_X[stay, stay] = 1.0
    kept = [column for column, name in enumerate(design.x_names) if name in column_in_Z or column in stay]
    only = [k for k, name in enumerate(group.columns) if name not in column_in_Z]
    names = [design.x_names[column] for column in kept]
    names += [name if name not in names else f"{name} | {group.name}" for name in (group.columns[k] for k in only)]
    row_of = {design.x_names[c]: row for row, c in enumerate(kept)}
    places = [
        row_of[name] if name in column_in_Z else len(kept) + only.index(k) for k, name in enumerate(group.columns)
    ]
    B = np.zeros((len(names), p))
    for c in stay:
        B[row_of[design.x_names[c]]] = of_X[c]
    B[places] = of_Z
    return Coding(names=tuple(names), B=B, places=places)


def _matrices(design: Design, group: GroupTerm) -> tuple[Array, Array]:
    """X and Z; on the sample of rows that is kept where the others went by chunk by chunk."""
    if design.sums is None:
        return design.X, group.Z
    new = design.at(design.sums.sample, groups=[group.name], estimable_only=False)
    return new.X, new.groups[0].Z


def _rows(A: Array) -> Array:
    return A if len(A) <= MOST_ROWS else A[np.linspace(0, len(A) - 1, MOST_ROWS).astype(np.int64)]


def _combination(others: Array, column: Array, *, centred: bool) -> Array | None:
    """Weights with which other columns (n, k) add up to one (n,); None if they do not."""
    size = np.sqrt(np.mean(others**2, axis=0))
    size[size == 0.0] = 1.0
    weights = np.linalg.lstsq(others / size, column, rcond=1e-10)[0] / size
    left = column - others @ weights
    spread = np.std(column) if centred else 0.0
    least = spread if spread > 0.0 else np.sqrt(np.mean(column**2))
    if np.sqrt(np.mean(left**2)) > DEPENDENT * least:
        return None
    return np.where(np.abs(weights * size) > 1e-12 * np.abs(weights * size).max(initial=0.0), weights, 0.0)
