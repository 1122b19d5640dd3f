"""Columns of which only sums are known, since their rows went by chunk by chunk.

They stand where a design has matrices of rows. What means and cross-products can answer they do, as an array would
(`mean`, `std`, products of columns); for anything else the rows are needed, and the verb that asks is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import NotAvailableError
from .arrays import Array

ALIKE = 1e-9  # of the largest value, by which sums of the same rows may differ


class RowSums(Protocol):
    """What the engine keeps of rows that went by."""

    @property
    def untold(self) -> Any:
        """What of the variances the data do not tell, as `bayeslmm.design.identification` has it."""

    @property
    def sample(self) -> pd.DataFrame:
        """Some rows from all over the data, and one of each level of a factor."""


class GoneRows:
    """Values of rows that were read chunk by chunk and not kept: their number is known, whatever else is refused."""

    __slots__ = ("_n",)
    __array_ufunc__ = None  # arithmetic with arrays comes to the methods below

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return (self._n,)

    def __reduce__(self) -> Any:
        return (GoneRows, (self._n,))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's protocols ask for what may not be there
            raise AttributeError(name)
        raise self._refusal()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise self._refusal()

    def _refusal(self) -> NotAvailableError:
        return refusal(self._n)

    __array__ = __getitem__ = __iter__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __pow__ = __neg__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse


def refusal(n: int, verb: str = "") -> NotAvailableError:
    """The error for a verb that needs rows that are gone; the function that was called from outside by default."""
    return NotAvailableError(
        f"{verb or called_verb()} needs the {n:,} rows of the data, which were read chunk by chunk and not kept: the "
        "model has sums of them. Make the model of a sample of rows that fits into memory, as a pandas DataFrame, and "
        "ask that one."
    )


def called_verb() -> str:
    """The function of the package that was called from outside of it."""
    package = __name__.partition(".")[0]
    frame: FrameType | None = sys._getframe(2)
    name = "this"
    while frame is not None:  # libraries that call back stand between
        if frame.f_globals.get("__name__", "").partition(".")[0] == package:
            name = frame.f_code.co_name if not frame.f_code.co_name.startswith(("_", "<")) else name
        frame = frame.f_back
    return name


class GoneFrame(GoneRows):
    """A table whose rows are gone: its columns have a dtype."""

    __slots__ = ("dtypes",)

    def __init__(self, n: int, dtypes: Mapping[str, Any]) -> None:
        super().__init__(n)
        self.dtypes = dict(dtypes)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.dtypes)

    def __getitem__(self, name: Any) -> GoneColumn:  # type: ignore[override]
        if not isinstance(name, str):
            raise refusal(len(self))
        return GoneColumn(len(self), self.dtypes[name])

    def __contains__(self, name: object) -> bool:
        return name in self.dtypes

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self.dtypes)

    def __reduce__(self) -> Any:
        return (GoneFrame, (len(self), self.dtypes))


class GoneColumn(GoneRows):
    """A column whose rows are gone."""

    __slots__ = ("dtype",)

    def __init__(self, n: int, dtype: Any) -> None:
        super().__init__(n)
        self.dtype = dtype


class MetLevels(GoneRows):
    """The levels of rows that are gone: how many pairs they made with those of each other factor."""

    __slots__ = ("pairs",)

    def __init__(self, n: int, pairs: Mapping[str, int]) -> None:
        super().__init__(n)
        self.pairs = dict(pairs)

    def __reduce__(self) -> Any:
        return (MetLevels, (len(self), self.pairs))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """Sums of the columns that were summed, in units of their own.

    Attributes
    ----------
    n : int
    gram : float64 array (1 + m, 1 + m)
        Cross-products of a column of ones and the m columns less ``shift``, over ``unit``.
    shift, unit : float64 arrays (m,)
    low, high : float64 arrays (m,)
        The smallest and largest value of each column.
    """

    n: int
    gram: Array
    shift: Array
    unit: Array
    low: Array
    high: Array


class SummedColumns(GoneRows):
    """Columns (n, k), or one (n,), that are combinations of those of a `Basis` and of ones."""

    __slots__ = ("_basis", "_flat", "_weights")

    def __init__(self, basis: Basis, weights: Array, *, flat: bool = False) -> None:
        super().__init__(basis.n)
        self._basis, self._weights, self._flat = basis, weights, flat  # weights (1 + m, k), of ones first

    @classmethod
    def of(cls, basis: Basis, columns: Sequence[int], *, flat: bool = False) -> SummedColumns:
        """Some columns of a basis as they were summed."""
        weights = np.zeros((len(basis.shift) + 1, len(columns)))
        for k, column in enumerate(columns):
            weights[0, k], weights[column + 1, k] = basis.shift[column], basis.unit[column]
        return cls(basis, weights, flat=flat)

    def __reduce__(self) -> Any:
        return (_restored, (self._basis, self._weights, self._flat))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, k) or (n,)."""
        return (len(self),) if self._flat else (len(self), self._weights.shape[1])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> SummedColumns:  # type: ignore[override]
        if self._flat or not isinstance(key, tuple) or len(key) != 2 or key[0] != slice(None):
            raise refusal(len(self))
        is_number = isinstance(key[1], int | np.integer)
        columns = [key[1]] if is_number else key[1]
        return SummedColumns(self._basis, self._weights[:, columns], flat=is_number)

    def __sub__(self, other: Any) -> SummedColumns:  # type: ignore[override]
        if isinstance(other, SummedColumns) and other._basis is self._basis:
            return SummedColumns(self._basis, self._weights - other._weights, flat=self._flat)
        if isinstance(other, GoneRows) or np.ndim(other) > 1 - self._flat:
            raise refusal(len(self))
        weights = self._weights.copy()
        weights[0] -= other
        return SummedColumns(self._basis, weights, flat=self._flat)

    def __matmul__(self, matrix: Any) -> SummedColumns:  # type: ignore[override]
        matrix = np.asarray(matrix)
        if self._flat or matrix.ndim > 2:
            raise refusal(len(self))
        weights = self._weights @ matrix
        return SummedColumns(self._basis, weights.reshape(len(weights), -1), flat=matrix.ndim == 1)

    def __pow__(self, power: Any) -> Any:
        if power != 2:
            raise refusal(len(self))
        return Squares(self)

    def products(self, other: SummedColumns) -> Array:
        """Cross-products (k, l) with columns of the same basis."""
        if other._basis is not self._basis:
            raise refusal(len(self))
        return np.asarray(self._weights.T @ self._basis.gram @ other._weights)

    def centred_products(self, other: SummedColumns) -> Array:
        """Cross-products (k, l) of the deviations from the means."""
        if other._basis is not self._basis:
            raise refusal(len(self))
        gram = self._basis.gram
        about = gram - np.outer(gram[:, 0], gram[0]) / len(self)
        return np.asarray(self._weights[1:].T @ about[1:, 1:] @ other._weights[1:])

    def is_like(self, other: SummedColumns) -> bool:
        """Whether all that is known of another column is the same but for rounding: rows, range, mean and sd."""
        if self.shape != other.shape or not self._flat:
            return False
        sizes = np.maximum(np.abs(self._ranges()).max(axis=0, initial=0.0), 1e-300)
        pairs = [(self._ranges(), other._ranges())]
        pairs += [(np.atleast_1d(f(self)), np.atleast_1d(f(other))) for f in (SummedColumns.mean, SummedColumns.std)]
        return all(bool(np.all(np.abs(np.asarray(a) - b) <= ALIKE * sizes)) for a, b in pairs)

    def mean(self, axis: int | None = None, **_: Any) -> Any:
        """Means (k,), or that of one column."""
        self._along_rows(axis)
        means = self._weights.T @ self._basis.gram[:, 0] / len(self)
        return means[0] if self._flat else means

    def std(self, axis: int | None = None, *, ddof: int = 0, **_: Any) -> Any:
        """Standard deviations (k,), or that of one column."""
        self._along_rows(axis)
        squares = np.maximum(np.diag(self.centred_products(self)), 0.0) / (len(self) - ddof)
        spread = np.where(self._ranges()[0] == self._ranges()[1], 0.0, np.sqrt(squares))
        return spread[0] if self._flat else spread

    def min(self, axis: int | None = None, **_: Any) -> Any:
        """Smallest values of columns that were summed."""
        self._along_rows(axis)
        low = self._ranges()[0]
        return low[0] if self._flat else low

    def max(self, axis: int | None = None, **_: Any) -> Any:
        """Largest values of columns that were summed."""
        self._along_rows(axis)
        high = self._ranges()[1]
        return high[0] if self._flat else high

    def constant(self, column: int) -> float | None:
        """The value that a column has in all rows, if it is no zero; else None."""
        low, high = (float(ends[column]) for ends in self._ranges())
        return low if low == high and low != 0.0 else None

    def _ranges(self) -> tuple[Array, Array]:
        """Smallest and largest values (k,); NaN of what is no column that was summed."""
        low, high = np.full((2, self._weights.shape[1]), np.nan)
        for k, weights in enumerate(self._weights.T):
            used = np.flatnonzero(weights[1:])
            basis = self._basis
            if len(used) == 1 and weights[used[0] + 1] == basis.unit[used[0]] and weights[0] == basis.shift[used[0]]:
                low[k], high[k] = basis.low[used[0]], basis.high[used[0]]
        return low, high

    def _along_rows(self, axis: int | None) -> None:
        if axis not in ((None, 0) if self._flat else (0,)):
            raise refusal(len(self))


class Squares:
    """The squares of summed columns: all that is known of them are their means."""

    def __init__(self, columns: SummedColumns) -> None:
        self._columns = columns

    def mean(self, axis: int | None = None, **_: Any) -> Any:
        """Means (k,)."""
        columns = self._columns
        return np.diag(columns.products(columns)) / len(columns)


def _restored(basis: Basis, weights: Array, flat: bool) -> SummedColumns:
    return SummedColumns(basis, weights, flat=flat)


def constant_in(A: Any, column: int) -> float | None:
    """The value that a column of a matrix (n, k) has in all rows, if it is no zero; else None."""
    if isinstance(A, SummedColumns):
        return A.constant(column)
    first = A[0, column]
    return float(first) if first != 0.0 and np.all(A[:, column] == first) else None


def covariance_of(A: Any, counted: Array | None = None) -> Array:
    """Covariance matrix (k, k) of columns (n, k), with divisor n − 1, n the rows as often as they count (n,)."""
    if isinstance(A, SummedColumns):
        return A.centred_products(A) / (len(A) - 1)
    if counted is None:
        return np.atleast_2d(np.cov(A, rowvar=False))
    away = A - np.average(A, axis=0, weights=counted)
    return np.asarray(away.T @ (away * counted[:, None]) / (counted.sum() - 1.0))


def second_moment_of(A: Any, counted: Array | None = None) -> Array:
    """Mean cross-products (k, k) of columns (n, k), rows counted so often (n,)."""
    if isinstance(A, SummedColumns):
        return A.products(A) / len(A)
    if counted is None:
        return np.asarray(A.T @ A / A.shape[0])
    return np.asarray(A.T @ (A * counted[:, None]) / counted.sum())


def least_squares(A: Any, y: Any) -> NDArray[np.float64]:
    """Coefficients (k,) of y on columns (n, k)."""
    if isinstance(A, SummedColumns):
        return np.asarray(np.linalg.lstsq(A.products(A), A.products(y)[:, 0])[0])
    return np.asarray(np.linalg.lstsq(A, y)[0])
