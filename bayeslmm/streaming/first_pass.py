"""The first pass: what has to be known of all rows before one of them can be summed.

Levels and categories, statistics that the formula remembers, and a sample: rows from all over the data and one of
every level of a factor, on which the columns of the model are laid out as on the whole table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from ..design.coding import MOST_COLUMNS, whole_numbers
from ..errors import DataError
from ..formulas.expressions import Expression, Factor, as_numbers_or_factor, evaluate
from .loops import mark
from .request import Kind, Request

FROM_EACH = 16  # rows of a chunk that join the sample
SAMPLE = 8_000  # rows of it, besides one for every level of a factor
PENDING = 1_000_000  # values of chunks that wait to be joined
WIDEST = 1 << 25  # range of whole numbers that has a mark for each


class Uniques:
    """The different combinations of some columns."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._known: pd.DataFrame | None = None
        self._waiting: list[pd.DataFrame] = []
        self._many = 0
        self._marked = Marked()

    def add(self, frame: pd.DataFrame) -> None:
        """Those of a chunk."""
        columns = {name: _values(frame[name]) for name in self.names}
        if len(columns) == 1:
            ((name, values),) = columns.items()
            if self._marked.add(values):
                return
            self._wait(pd.DataFrame({name: pd.unique(values)}))
        else:
            self._wait(pd.DataFrame(columns).drop_duplicates(ignore_index=True))

    def merge(self, other: Self) -> None:
        """Those of another."""
        self._wait(other.table)

    def known(self, table: pd.DataFrame) -> None:
        """A row for each, as another's ``table`` has them."""
        self._known = table

    def _wait(self, table: pd.DataFrame) -> None:
        self._waiting.append(table)
        self._many += len(table)
        if self._many > max(PENDING, 2 * (0 if self._known is None else len(self._known))):
            self._join()

    def _join(self) -> None:
        tables = [] if self._known is None else [self._known]
        self._known = pd.concat([*tables, *self._waiting], ignore_index=True).drop_duplicates(ignore_index=True)
        self._waiting, self._many = [], 0

    @property
    def table(self) -> pd.DataFrame:
        """A row a combination."""
        if self._marked.any:
            self._waiting.append(pd.DataFrame({self.names[0]: self._marked.values()}))
            self._marked = Marked()
        if self._waiting:
            self._join()
        assert self._known is not None
        return self._known

    def __getstate__(self) -> Any:
        empty = self._known is None and not self._waiting and not self._marked.any
        return (self.names, None if empty else self.table)

    def __setstate__(self, state: Any) -> None:
        self.names, self._known = state
        self._waiting, self._many, self._marked = [], 0, Marked()


class Marked:
    """Which whole numbers there are, by a mark for each number of their range."""

    def __init__(self) -> None:
        self._low, self._seen = 0, np.zeros(0, np.uint8)

    def add(self, values: Any) -> bool:
        """Mark these, unless they are something else or too far apart."""
        if not isinstance(values, np.ndarray) or values.dtype != np.int64:
            return False
        low, high = int(values.min()), int(values.max())
        if not self.any:
            first, last = low, high
        else:
            first, last = min(low, self._low), max(high, self._low + len(self._seen) - 1)
        if last - first >= WIDEST:
            return False
        if last - first >= len(self._seen):
            seen = np.zeros(last - first + 1, np.uint8)
            seen[self._low - first : self._low - first + len(self._seen)] = self._seen
            self._low, self._seen = first, seen
        mark(values, self._low, self._seen)
        return True

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return len(self._seen) > 0

    def values(self) -> np.ndarray:
        """Those that there are, in order."""
        return np.flatnonzero(self._seen) + self._low


def _values(column: pd.Series) -> Any:
    """Labels as they are compared: categories by their codes."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(dtype=np.int64)
    values = whole_numbers(column)
    return values.to_numpy() if values.dtype.kind in "biuf" else values.array


class Learned:
    """What the first pass has learned of the rows so far."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.n = self.n_read = 0
        self.missing: dict[str, int] = {}
        self.kinds: dict[str, Kind] = {}
        self.totals: dict[str, float] = {}
        self.uniques = [Uniques(names) for names in request.groups]
        self.statistics = [wanted.start() for wanted in request.wanted]
        self.sample: list[pd.DataFrame] = []
        self.levels: list[dict[Any, pd.DataFrame]] = [{} for _ in request.factors]

    def add(self, data: pd.DataFrame, where: str) -> None:
        """Learn the rows of a chunk."""
        rows = self.request.rows(data)
        frame = rows.frame
        self.n_read += len(data)
        self._count_missing(rows.missing)
        if not len(frame):
            return
        self.n += len(frame)
        for expression in (self.request.plan.response, *self.request.plan.expressions.values()):
            if expression.is_column:
                rows.check_size(expression.label)
        for name in frame:
            self._kind(str(name), Kind.of(frame[name], where))
        for name, summed in rows.totals().items():
            self.totals[name] = self.totals.get(name, 0.0) + summed
        for uniques in self.uniques:
            uniques.add(frame)
        for wanted, total in zip(self.request.wanted, self.statistics, strict=True):
            with np.errstate(all="ignore"):
                total.add(*wanted.values(frame))
        for expression, of_levels in zip(self.request.factors, self.levels, strict=True):
            self._see_levels(expression, frame, of_levels)
        self._take(frame.iloc[np.unique(np.linspace(0, len(frame) - 1, FROM_EACH).astype(np.int64))])

    def merge(self, other: Learned) -> None:
        """Learn what another pass over other rows has."""
        self.n, self.n_read = self.n + other.n, self.n_read + other.n_read
        self._count_missing(other.missing)
        for name, kind in other.kinds.items():
            self._kind(name, kind)
        for name, total in other.totals.items():
            self.totals[name] = self.totals.get(name, 0.0) + total
        for uniques, more in zip(self.uniques, other.uniques, strict=True):
            if other.n:
                uniques.merge(more)
        for statistic, added in zip(self.statistics, other.statistics, strict=True):
            statistic.merge(added)
        for rows, new in zip(self.levels, other.levels, strict=True):
            for value, row in new.items():
                rows.setdefault(value, row)
        for rows_of in other.sample:
            self._take(rows_of)

    def _count_missing(self, missing: Mapping[str, int]) -> None:
        for name, count in missing.items():
            self.missing[name] = self.missing.get(name, 0) + count

    def _kind(self, name: str, kind: Kind) -> None:
        self.kinds[name] = self.kinds[name].joined(kind, name) if name in self.kinds else kind

    def _see_levels(self, expression: Expression, frame: pd.DataFrame, rows: dict[Any, pd.DataFrame]) -> None:
        value = as_numbers_or_factor(evaluate(expression, frame), expression, frame.index)
        if not isinstance(value, Factor):
            raise DataError(f"{expression.label} gives numbers here, and text or categories before.")
        data = pd.Series(np.asarray(value.data))
        for place in np.flatnonzero(~data.duplicated().to_numpy()):
            rows.setdefault(data.iloc[place], frame.iloc[[place]])
        if len(rows) > MOST_COLUMNS:
            raise DataError(
                f"The factor {expression.label!r} has more than {MOST_COLUMNS:,} levels, and a column for each is too "
                f"many. If it names groups, write (1 | {expression.label}); if it holds numbers as text, convert it."
            )

    def _take(self, rows: pd.DataFrame) -> None:
        self.sample.append(rows)
        if sum(map(len, self.sample)) > SAMPLE:
            self.sample = [pd.concat(self.sample, ignore_index=True).iloc[::2]]

    def sampled(self, most: int = SAMPLE) -> pd.DataFrame:
        """The sample, in the dtypes that all rows have together: so many rows, and one of every level of a factor."""
        rows = [row for of_factor in self.levels for row in of_factor.values()]
        sample = pd.concat(self.sample, ignore_index=True)
        frame = pd.concat([sample.iloc[:: max(1, -(-len(sample) // most))], *rows], ignore_index=True)
        return frame.astype({name: _dtype(kind) for name, kind in self.kinds.items()})


def _dtype(kind: Kind) -> Any:
    if kind.letter == "c":
        return pd.CategoricalDtype(pd.Index(list(kind.categories)), ordered=True)
    return {"b": "bool", "i": "int64", "f": "float64", "s": "str"}[kind.letter]


def as_learned(frame: pd.DataFrame, kinds: dict[str, Kind], where: str) -> pd.DataFrame:
    """A chunk in the dtypes that were learned."""
    for name, kind in kinds.items():
        joined = kind.joined(Kind.of(frame[name], where), name)
        if joined.letter != kind.letter:
            raise DataError(f"Column {name!r} holds other numbers than when its levels were found: the data changed.")
        if frame[name].dtype != _dtype(kind):
            frame[name] = frame[name].astype(_dtype(kind))
    return frame
