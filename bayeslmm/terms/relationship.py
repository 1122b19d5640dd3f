"""Known relationships between levels: pedigrees, phylogenies, neighbourhoods, genomic similarity.

Effects are τ² A with A given, or τ² Q⁻¹ with a precision Q (Henderson 1976, Biometrics 32, for pedigrees; Hadfield &
Nakagawa 2010, J. Evol. Biol. 23, for phylogenies).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, InputError
from ..tools.arrays import Array
from ..tools.lazy import linalg, sparse
from .words import Related

MOST_LEVELS = 6_000  # of a matrix that is held whole: 290 MB
ASYMMETRY = 1e-8  # of the largest entry
NEGATIVE = 1e-8  # of the largest eigenvalue: rounding of a matrix that has not full rank


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """A symmetric matrix with a label for each row, as a user gave it."""

    name: str
    labels: tuple[Any, ...]
    values: Array

    @classmethod
    def of(cls, name: str, source: Any) -> Matrix:
        """From a DataFrame with the same labels on both sides, or (labels, matrix), the matrix dense or sparse.

        Raises
        ------
        InputError
            Not one of these, not square, not symmetric, labels that are missing, twice there, or not as many.
        """
        where = f"matrices[{name!r}]"
        if isinstance(source, pd.DataFrame):
            if set(source.index) != set(source.columns):
                odd = sorted(set(source.index) ^ set(source.columns), key=str)[:3]
                raise InputError(
                    f"{where}: rows and columns of the DataFrame have other labels ({', '.join(map(repr, odd))}). Read "
                    "a CSV file with index_col=0, and give both sides the same labels."
                )
            labels: Sequence[Any] = list(source.index)
            if len(set(labels)) == len(labels):
                source = source.loc[:, labels]
            raw: Any = source.to_numpy()
        elif isinstance(source, tuple) and len(source) == 2:
            labels, raw = list(source[0]), source[1]
        else:
            raise InputError(
                f"{where}: a DataFrame with labels on both sides, or a pair (labels, matrix), not "
                f"{type(source).__name__}"
            )
        shape = np.shape(raw) if not sparse.issparse(raw) else raw.shape
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
            raise InputError(f"{where} has shape {shape}; a square matrix is needed")
        if len(labels) != shape[0]:
            raise InputError(f"{where}: {len(labels)} labels for a matrix of {shape[0]} rows")
        if shape[0] > MOST_LEVELS:
            raise InputError(f"{where} has {shape[0]:,} levels; at most {MOST_LEVELS:,} are held")
        labels = [label.item() if isinstance(label, np.generic) else label for label in labels]
        if any(pd.isna(label) for label in labels):
            raise InputError(f"{where}: a label is missing")
        if len(set(labels)) < len(labels):
            repeated = next(label for label in labels if labels.count(label) > 1)
            raise InputError(f"{where}: the label {repeated!r} is there twice")
        if np.iscomplexobj(raw):
            raise InputError(f"{where} holds complex numbers, of which an imaginary part would be lost. Use its .real.")
        try:
            values = np.array(raw.toarray() if sparse.issparse(raw) else raw, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{where} holds other things than numbers") from None
        if not np.isfinite(values).all():
            raise InputError(f"{where}: {int((~np.isfinite(values)).sum())} entries are missing or infinite")
        largest = float(np.abs(values).max())
        asymmetry = float(np.abs(values - values.T).max())
        if asymmetry > ASYMMETRY * largest:
            i, j = np.unravel_index(np.argmax(np.abs(values - values.T)), values.shape)
            raise InputError(
                f"{where} is not symmetric: its entries for {labels[i]!r} and {labels[j]!r} are {values[i, j]:g} and "
                f"{values[j, i]:g}"
            )
        values = (values + values.T) / 2.0
        values.setflags(write=False)
        return cls(name=name, labels=tuple(labels), values=values)


@dataclass(frozen=True, eq=False)
class Relationship:
    """The matrix of one term."""

    matrix: Matrix
    is_precision: bool

    @classmethod
    def of(cls, word: Related, matrices: Mapping[str, Matrix], text: str) -> Relationship:
        """The one that ``gr()`` names."""
        if word.matrix not in matrices:
            names = ", ".join(map(repr, matrices)) or "none"
            raise InputError(
                f"{text}: no matrix {word.matrix!r} was given (there are {names}). Write Model(..., "
                f"matrices={{{word.matrix!r}: ...}})."
            )
        return cls(matrices[word.matrix], word.is_precision)

    @cached_property
    def root(self) -> Array:
        """L (J, J) with A = L Lᵀ.

        Raises
        ------
        InputError
            The matrix is not positive (semi)definite.
        """
        name, values = self.matrix.name, self.matrix.values
        factor, info = linalg.lapack.dpotrf(values, lower=1, clean=1)
        if not info and np.diag(factor).min() ** 2 > NEGATIVE * np.diag(values).max():
            if not self.is_precision:
                return np.ascontiguousarray(factor)
            inverse = linalg.lapack.dtrtri(factor, lower=1)[0]
            return np.ascontiguousarray(inverse.T)
        eigenvalues, vectors = linalg.eigh(values)
        low, high = float(eigenvalues[0]), float(eigenvalues[-1])
        if low < -NEGATIVE * max(high, 0.0) or high <= 0.0:
            raise InputError(
                f"matrices[{name!r}] is not positive definite: its smallest eigenvalue is {low:.3g}, its largest "
                f"{high:.3g}. A covariance matrix has none below zero; check how it was made, or add a little to its "
                "diagonal."
            )
        if self.is_precision:
            raise InputError(
                f"matrices[{name!r}] is a precision of rank {int((eigenvalues > NEGATIVE * high).sum())} of "
                f"{len(values)}, so it has no inverse. An intrinsic CAR needs a proper one: D - ρW with |ρ| < 1, or a "
                "little on the diagonal."
            )
        return np.ascontiguousarray(vectors * np.sqrt(np.maximum(eigenvalues, 0.0)))

    def places(self, values: pd.Series, text: str) -> NDArray[np.int64]:
        """The row of the matrix (n,) of each value of a column; −1 for one that it lacks."""
        index = pd.Index(self.matrix.labels, dtype=object)
        return np.asarray(index.get_indexer(pd.Index(_plain(values), dtype=object)), dtype=np.int64)

    def check(self, places: NDArray[np.int64], values: pd.Series, text: str) -> None:
        """Raise DataError where a level with rows is not in the matrix."""
        if (places >= 0).all():
            return
        unknown = list(dict.fromkeys(_plain(values[places < 0])))
        labels = self.matrix.labels
        hint = ""
        if {type(value) for value in unknown}.isdisjoint({type(label) for label in labels}):
            kinds = [type(each[0]).__name__ for each in (labels, unknown)]
            hint = f" Its labels are {kinds[0]}, the column's {kinds[1]}: make them alike."
        raise DataError(
            f"{text}: {len(unknown)} level{'s' * (len(unknown) > 1)} of {values.name!r} "
            f"{'are' if len(unknown) > 1 else 'is'} not in the matrix {self.matrix.name!r} "
            f"({', '.join(map(repr, unknown[:5]))}{', …' if len(unknown) > 5 else ''}).{hint}"
        )


def _plain(values: pd.Series) -> list[Any]:
    objects = values.astype(object).tolist()
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in objects]


def incidence(places: NDArray[np.int64], z: Array, J: int) -> Any:
    """Z (n, J): z of each row at its level; rows of places −1 are empty."""
    rows = np.flatnonzero(places >= 0)
    return sparse.csr_array((z[rows], (rows, places[rows])), shape=(len(places), J))
