"""Levels to look into: a grouping factor, a column of the data, values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..errors import DataError
from ..sources import source_of
from ..tools.frame import as_frame, pick
from .statistics import Split

BINS = 10  # of a column of numbers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """The level of every row: codes (n,), −1 without one."""

    name: str
    codes: NDArray[np.int64]
    labels: Sequence[Any]

    def split(self, used: NDArray[np.bool_]) -> Split:
        """Some of the rows (n,) by level."""
        return Split.of(self.name, self.codes[used], self.labels)


def levels_by(fit: Any, by: Any) -> Levels:
    """What ``by`` means: a grouping factor, a column of the data, or values."""
    design = fit.design
    for group in design.groups:
        if isinstance(by, str) and group.name == by:
            return Levels(name=group.name, codes=group.codes, labels=group.levels)
    column = _column(fit, by) if isinstance(by, str) else _aligned(by, design)
    return _coded("by" if column.name is None else str(column.name) or "by", column)


def _column(fit: Any, name: str) -> pd.Series:
    """A column of the used rows; of the data as they were given where these are kept."""
    design = fit.design
    if name in design.frame:
        return pick(design.frame, name)
    origin = getattr(fit, "origin", None) or getattr(fit, "_origin", None)
    if origin is not None and source_of(origin.data) is None:
        data = as_frame(origin.data)
        if name in data:
            return _aligned(pick(data, name), design)
    columns = dict.fromkeys(map(repr, [*(group.name for group in design.groups), *map(str, design.frame.columns)]))
    raise DataError(
        f"by={name!r}: {'the data have' if origin is not None else 'a posterior keeps'} no such column; there are "
        f"{', '.join(columns)}. Another column can be given as such: by=data[{name!r}]."
    )


def _aligned(values: Any, design: Design) -> pd.Series:
    """Values by the labels of the used rows, or in their order."""
    if isinstance(values, pd.Series) and values.index.is_unique and design.index.isin(values.index).all():
        return values.loc[design.index]
    if np.shape(values) != (design.n,):
        raise DataError(
            f"by=...: values of shape {np.shape(values)} for the {design.n:,} rows used. Give one for each, or a "
            "Series with the index of the data."
        )
    return values if isinstance(values, pd.Series) else pd.Series(values)


def _coded(name: str, column: pd.Series) -> Levels:
    """Levels of a column; numbers that are not whole are cut into bins of equal size."""
    present = column.dropna()
    if not len(present):
        raise DataError(f"by=...: {name!r} is missing in all rows used")
    if isinstance(column.dtype, pd.CategoricalDtype):
        labels = column.cat.categories.tolist()
        return Levels(name=name, codes=column.cat.codes.to_numpy(np.int64), labels=labels)
    if pd.api.types.is_float_dtype(column):
        numbers = present.to_numpy(np.float64)
        if not np.array_equal(numbers, np.rint(numbers)):
            bins = pd.qcut(column, BINS, duplicates="drop").cat
            labels = [f"{interval.left:g} to {interval.right:g}" for interval in bins.categories]
            return Levels(name=name, codes=bins.codes.to_numpy(np.int64), labels=labels)
        column = column.astype("Int64")
    elif column.dtype == object:
        column = column.map(str, na_action="ignore")
    codes, values = pd.factorize(column, sort=True)
    return Levels(name=name, codes=codes.astype(np.int64), labels=values.tolist())
