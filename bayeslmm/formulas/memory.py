"""What a leaf of a formula knows of the rows of the fit.

A part of a leaf whose value is no column, such as the mean of one in ``x - np.mean(x)``, is a statistic of the rows of
the fit: it is taken once and given back for every other row. What has a value for each row must give a row the same
value whatever other rows stand beside it, which is tried on some rows when the model is made: running sums, ranks and
bins made from the data do not, and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import FormulaError
from ..tools.frame import is_numeric, plain

TRIED = 50  # rows at a time
SEED = 20_240_607  # of the choice of rows, so that a formula is always judged alike
DATA = (np.ndarray, np.generic, pd.Series, pd.DataFrame, pd.Index, pd.api.extensions.ExtensionArray)
PLAIN = (bool, int, float, complex, str, type(None))

Compute = Callable[[pd.DataFrame], Any]


class _AcrossRowsError(Exception):
    """A part of a leaf has another value for a row when other rows stand beside it."""

    def __init__(self, part: int) -> None:
        super().__init__(part)
        self.part = part


class Memory:
    """The statistics inside one leaf; called with the number of a part and what computes it.

    Attributes
    ----------
    shown : list of str
        The parts as written.
    where : str
        Part of the formula, for messages.
    tried : bool
        False for a leaf that is evaluated once and never for other rows: a response.
    """

    def __init__(self, where: str, *, tried: bool) -> None:
        self.shown: list[str] = []
        self.where, self.tried = where, tried
        self.complete = False
        self._statistics: dict[int, Any] = {}
        self._given: dict[int, Any] = {}
        self._columns: dict[int, Any] = {}
        self._n = 0
        self._rows: np.ndarray | None = None

    def __call__(self, part: int, compute: Callable[[], Any]) -> Any:
        if part in self._statistics:
            return self._statistics[part]
        if self.complete:
            return compute()
        if self._rows is None:
            return self._first(part, compute())
        try:
            value = compute()
        except _AcrossRowsError:
            raise
        except Exception:  # whatever it is, the rows of the fit together did not raise it
            raise _AcrossRowsError(part) from None
        if part in self._columns and not _same(self._columns[part], self._rows, value):
            raise _AcrossRowsError(part)
        return value

    def _first(self, part: int, value: Any) -> Any:
        if has_a_value_a_row(value, self._n):
            self._columns[part] = value
        elif _is_data(value):
            self._statistics[part] = value
        return value

    def like(self) -> Memory:
        """One of the same parts that has seen no rows."""
        memory = Memory(self.where, tried=True)
        memory.shown.extend(self.shown)
        return memory

    def preset(self, statistics: Mapping[int, Any]) -> None:
        """Take the statistics of these parts from elsewhere: of rows that never stand together."""
        self._given = dict(statistics)

    @property
    def learnt(self) -> list[str]:
        """The parts whose statistics were taken of the rows it saw, as written."""
        return [self.shown[part] for part in self._statistics if part not in self._given]

    def learn(self, compute: Compute, frame: pd.DataFrame, label: str) -> Any:
        """The value of the leaf on the rows of the fit, whose statistics are kept.

        Raises
        ------
        FormulaError
            The leaf, or a part of it, does not go row by row.
        """
        self._statistics, self._columns, self._n = dict(self._given), {}, len(frame)
        value = compute(frame)
        if self.tried and has_a_value_a_row(value, self._n):
            for rows in _samples(frame):
                self._try(compute, frame, rows, value, label)
        self._columns, self._rows, self.complete = {}, None, True
        return value

    def _try(self, compute: Compute, frame: pd.DataFrame, rows: np.ndarray, value: Any, label: str) -> None:
        self._rows = rows
        try:
            agrees = _same(value, rows, compute(_some(frame, rows)))
        except _AcrossRowsError as across:
            raise FormulaError(self._refusal(self.shown[across.part])) from None
        except Exception:  # as above
            agrees = False
        if not agrees:
            raise FormulaError(self._refusal(label))

    def _refusal(self, part: str) -> str:
        return (
            f"{part} ({self.where}) does not go row by row: a row gets another value when other rows stand beside it, "
            "so the model could say nothing about new rows. Make it a column of the data before the fit. (Single "
            "numbers of a column, such as np.mean(x), may stand in a formula and are remembered; so are scale(x), "
            "poly(x, 2), bs(x, df=4) and ave(x, g).)"
        )


def has_a_value_a_row(value: Any, n: int) -> bool:
    """Whether a value holds one entry, or one line of entries, for each of n rows."""
    value = getattr(value, "data", value) if hasattr(value, "contrast") else value
    value = getattr(value, "successes", value)
    if isinstance(value, list | tuple | range):
        return len(value) == n
    return isinstance(value, DATA) and np.ndim(value) > 0 and np.shape(value)[0] == n


def _is_data(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_data, value))
    return isinstance(value, DATA + PLAIN)


def _same(whole: Any, rows: np.ndarray, value: Any) -> bool:
    """Whether these rows of the whole are the value, up to rounding."""
    for name in ("successes", "trials", "data"):
        if hasattr(whole, name) and (name != "data" or hasattr(whole, "contrast")):
            whole_part, part = getattr(whole, name), getattr(value, name, None)
            if np.ndim(whole_part) and not _same(whole_part, rows, part):
                return False
    if hasattr(whole, "successes") or hasattr(whole, "contrast"):
        return type(whole) is type(value)
    a, b = np.asarray(whole), np.asarray(value)
    if a.shape[:1] == (0,) or b.shape != (len(rows), *a.shape[1:]):
        return False
    size = np.abs(a[np.isfinite(a)]).max(initial=0.0) if a.dtype.kind in "biuf" else 0.0
    a = a[rows]
    if a.dtype.kind in "biuf" and b.dtype.kind in "biuf":
        return np.allclose(
            np.asarray(a, dtype=np.float64),
            np.asarray(b, dtype=np.float64),
            rtol=1e-9,
            atol=1e-12 * size,
            equal_nan=True,
        )
    return bool(np.all((a.astype(object) == b.astype(object)) | (pd.isna(a) & pd.isna(b))))


def _samples(frame: pd.DataFrame) -> Iterator[np.ndarray]:
    """Positions of rows that give a statistic away: some in another order, single ones, the ends of each column."""
    n = len(frame)
    sample = np.random.default_rng(SEED).choice(n, size=max(1, min(n // 2, TRIED)), replace=False)
    yield sample
    yield from (sample[k : k + 1] for k in range(min(3, len(sample))))
    for name in frame:
        if is_numeric(frame[name]):
            order = np.argsort(frame[name].to_numpy(), kind="stable")
            yield order[-max(1, min(n // 3, TRIED)) :]
            yield order[-1:]
            yield order[:1]


def _some(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """These rows as new data come in: under other labels, without the categories that they lack."""
    columns = {name: plain(frame[name].iloc[rows], str(name)).array for name in frame}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)), copy=False)
