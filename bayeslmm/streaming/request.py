"""What is read of every chunk, and how its columns become those that every other chunk has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.coding import level_codes
from ..design.plan import Plan, check_weights
from ..errors import DataError
from ..formulas.expressions import Expression
from ..tools.frame import brief, check_finite, check_size, complete_rows, is_numeric, pick, plain, unknown_column
from .loops import scan
from .statistics import Wanted

KINDS = {"b": "True and False", "i": "whole numbers", "f": "numbers", "s": "text", "c": "categories"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """What a column holds, and where that was seen."""

    letter: str  # of KINDS
    where: str
    categories: tuple[Any, ...] = ()

    @classmethod
    def of(cls, column: pd.Series, where: str) -> Kind:
        """Of a column in a plain dtype."""
        if isinstance(column.dtype, pd.CategoricalDtype):
            return cls(letter="c", where=where, categories=tuple(column.cat.categories))
        return cls(letter=column.dtype.kind if is_numeric(column) else "s", where=where)

    def joined(self, other: Kind, name: str) -> Kind:
        """What the rows of both hold.

        Raises
        ------
        DataError
            They are of different kinds, or have different categories.
        """
        if {self.letter, other.letter} == {"i", "f"}:
            return self if self.letter == "f" else other
        if self.letter != other.letter:
            raise DataError(
                f"Column {name!r} holds {KINDS[other.letter]} in {other.where} and {KINDS[self.letter]} in "
                f"{self.where}. Make it one type in all parts of the data."
            )
        if self.categories != other.categories:
            raise DataError(
                f"Column {name!r} has the categories {brief(other.categories)} in {other.where} and "
                f"{brief(self.categories)} in {self.where}, so their order is not one. Say it: "
                f"levels={{{name!r}: [...]}}; or make it text in all parts of the data."
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """What one look at the numbers of a column tells."""

    missing: int
    infinite: int
    low: float
    high: float
    total: float

    @classmethod
    def of(cls, column: pd.Series) -> Scan | None:
        """Of a column of NumPy's doubles, whole numbers or booleans; None of others."""
        if not len(column) or column.dtype not in (np.float64, np.int64, np.bool_):
            return None
        values = column.to_numpy()
        if values.dtype == np.float64:
            out = np.empty(5)
            scan(values, out)
            return cls(missing=int(out[0]), infinite=int(out[1]), low=out[2], high=out[3], total=out[4])
        return cls(missing=0, infinite=0, low=values.min(), high=values.max(), total=float(values.sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The complete rows of a chunk.

    Attributes
    ----------
    frame : pandas.DataFrame
        In plain dtypes.
    weights : float64 array (n,) or None
    missing : mapping
        How many values each column lacks, where it lacks some.
    scans : mapping
        What is known of the columns of numbers.
    """

    frame: pd.DataFrame
    weights: np.ndarray | None
    missing: Mapping[str, int]
    scans: Mapping[str, Scan]

    def totals(self) -> dict[str, float]:
        """The sums of the columns of numbers."""
        return {name: scan.total for name, scan in self.scans.items()}

    def check_size(self, name: str) -> None:
        """Raise DataError where powers of a column of numbers would overflow."""
        if name in self.scans:
            check_size(np.array([[self.scans[name].low], [self.scans[name].high]], float), [name], smallest=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What a model needs of every chunk.

    Attributes
    ----------
    plan : Plan
    weights : str or None
        The column of prior weights.
    levels : mapping
        The levels of columns, in order, where they are given.
    groups : tuple of tuple of str
        The columns of each grouping factor.
    factors : tuple of Expression
        The leaves that become factors.
    wanted : tuple of Wanted
        The statistics of all rows that the formula takes.
    """

    plan: Plan
    weights: str | None
    levels: Mapping[str, tuple[Any, ...]]
    groups: tuple[tuple[str, ...], ...]
    factors: tuple[Expression, ...] = ()
    wanted: tuple[Wanted, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([*self.plan.columns, *([self.weights] if self.weights else [])]))

    def rows(self, data: pd.DataFrame) -> Rows:
        """The complete rows in plain dtypes."""
        for name in self.columns:
            if name not in data.columns:
                raise unknown_column(name, "read of every part of the data", data.columns)
        used_names = {name: pick(data, name) for name in self.plan.columns}
        scans = {name: scan for name, column in used_names.items() if (scan := Scan.of(column)) is not None}
        keep, counts = complete_rows(
            {name: column for name, column in used_names.items() if name not in scans or scans[name].missing}
        )
        index = data.index if keep is None else data.index[keep]
        columns = {}
        for name, column in used_names.items():
            kept = column if keep is None else column[keep]
            columns[name] = self._plain(kept, name)
            if keep is not None or columns[name] is not kept or name not in scans:
                scan = Scan.of(columns[name])
                scans = {key: value for key, value in scans.items() if key != name} | ({name: scan} if scan else {})
            if name in scans and scans[name].infinite:
                check_finite(columns[name].to_numpy(), index, f"Column {name!r}")
        frame = pd.DataFrame({name: column.array for name, column in columns.items()}, index=index, copy=False)
        weights = None
        if self.weights is not None:
            values = pd.to_numeric(pick(data, self.weights)).to_numpy(dtype=np.float64, na_value=np.nan)
            weights = check_weights(values, keep, index)
        return Rows(frame=frame, weights=weights, missing=counts, scans=scans)

    def _plain(self, column: pd.Series, name: str) -> pd.Series:
        if name in self.levels:
            return self._of_given(column, name)
        if isinstance(column.dtype, pd.CategoricalDtype):
            categories = column.cat.categories
            plain_categories = plain(pd.Series(categories.astype(object)).astype("category"), name).cat.categories
            if len(plain_categories) != len(categories):
                raise DataError(f"Column {name!r} has two categories that read alike. Rename one.")
            if all(isinstance(value, str) for value in categories) or categories.dtype.kind in "biuf":
                return column.cat.as_ordered()
            return column.cat.rename_categories([str(value) for value in categories]).cat.as_ordered()
        return plain(column, name, group_only=name in self.plan.group_only)

    def _of_given(self, column: pd.Series, name: str) -> pd.Series:
        levels = self.levels[name]
        values = plain(column, name, group_only=name in self.plan.group_only) if len(column) else column
        codes = level_codes(values, levels) if len(column) else np.zeros(0, np.int64)
        if (codes < 0).any():
            other = pd.unique(np.asarray(column)[codes < 0]).tolist()
            raise DataError(
                f"Column {name!r} holds {brief(other)}, which is none of the {len(levels):,} levels given for it. Add "
                "it to levels=, or leave these rows out."
            )
        values = pd.Categorical.from_codes(codes, categories=pd.Index(list(levels)), ordered=True)
        return pd.Series(values, index=column.index, name=name)
