"""The user's table → the rows and columns a model uses, in plain dtypes.

Complete rows are chosen here, once, over every used column. Text stays text; categories keep their own order
and lose the levels that no kept row has; nullable and Arrow-backed columns become NumPy's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ..errors import BayesLMMError, DataError, NonFiniteError, UnknownColumnError

SHOWN = 5
FEW = 16  # columns
LARGEST, SMALLEST = 1e50, 1e-50  # the variance of a variance takes fourth powers, which doubles still hold
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
PLAIN = frozenset((np.dtype("float64"), np.dtype("int64"), np.dtype("bool")))
TEXT = pd.StringDtype(na_value=np.nan)  # what pandas makes of text
NUMBER_LIKE = {"integer", "floating", "mixed-integer-float", "decimal"}


class Columns:
    """Columns of one length by name, as Series: a DataFrame when first asked for one, which may take as long as a fit.

    Attributes
    ----------
    index : pandas.Index
        Labels of the rows, those of each Series.
    """

    __slots__ = ("_frame", "_series", "index")

    def __init__(self, series: Mapping[str, pd.Series], index: pd.Index) -> None:
        self._series, self.index = dict(series), index
        self._frame: pd.DataFrame | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """All of them as a table."""
        if self._frame is None:
            arrays = {name: column.array for name, column in self._series.items()}
            self._frame = pd.DataFrame(arrays, index=self.index, copy=False)
        return self._frame

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return list(self._series)

    def replaced(self, name: str, series: pd.Series) -> Columns:
        """These with another Series of that name."""
        return Columns({**self._series, name: series}, self.index)

    def __getitem__(self, name: Any) -> Any:
        return self._series[name] if isinstance(name, str) else self.frame[name]

    def __len__(self) -> int:
        return len(self.index)


def as_frame(data: Any) -> pd.DataFrame:
    """Return the data as a DataFrame with rows, or say how to make one.

    The one door for tables: of pandas, or of any library that offers ``to_pandas`` or Arrow's C stream (Polars,
    PyArrow, DuckDB, ...), or columns by name in a mapping.
    """
    if isinstance(data, Mapping):
        data = _from_columns(data)
    if not isinstance(data, pd.DataFrame):
        data = _from_elsewhere(data)
    if data.columns.nlevels > 1:
        raise DataError(
            f"The columns of the data are named on {data.columns.nlevels} levels (a MultiIndex); a formula needs plain "
            "names. Join them: data.columns = ['_'.join(map(str, name)) for name in data.columns]."
        )
    if len(data) == 0:
        raise DataError("The data hold no rows. Check how the table was read or filtered.")
    return data


def _from_columns(columns: Mapping[Any, Any]) -> pd.DataFrame:
    """Columns by name; a single value stands in every row."""
    lengths = {
        name: len(value)
        for name, value in columns.items()
        if np.ndim(value) == 1 or isinstance(value, pd.Series | pd.Index)
    }
    odd = [name for name, value in columns.items() if name not in lengths and not types.is_scalar(value)]
    if odd:
        raise DataError(
            f"The data are a dict whose {odd[0]!r} is no column: a list of values, or one value, is needed."
        )
    if len(set(lengths.values())) > 1:
        lengths_in_words = ", ".join(f"{name!r} has {length:,}" for name, length in list(lengths.items())[:SHOWN])
        raise DataError(f"The data are a dict of columns of different lengths: {lengths_in_words}.")
    rows = next(iter(lengths.values()), 1 if columns else 0)
    kept = {
        name: np.asarray(value)
        if isinstance(value, pd.Index)
        else value.array
        if isinstance(value, pd.Series)
        else value
        for name, value in columns.items()
    }
    return pd.DataFrame(kept, index=range(rows))


def _from_elsewhere(data: Any) -> pd.DataFrame:
    try:
        if hasattr(data, "to_pandas"):
            frame = data.to_pandas()
        elif hasattr(data, "__arrow_c_stream__") and not isinstance(data, pd.Series):
            frame = pd.DataFrame.from_arrow(data)
        else:
            frame = None
    except BayesLMMError:
        raise
    except Exception as problem:
        what = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
        raise DataError(
            f"The data are a {what}, which does not turn into a pandas DataFrame: {type(problem).__name__}: {problem}"
        ) from None
    if not isinstance(frame, pd.DataFrame):
        raise DataError(_not_a_frame(data))
    return frame


def _not_a_frame(data: Any) -> str:
    what = type(data).__name__
    remedy = "pandas.DataFrame(data, columns=[...])"
    if isinstance(data, str):
        remedy = "pandas.read_csv(path)"
    elif isinstance(data, np.ndarray):
        what = f"numpy array of shape {data.shape}"
    elif isinstance(data, pd.Series):
        remedy = "series.to_frame()"
    elif hasattr(data, "collect"):
        remedy = "data.collect(), which runs the query"
    return f"The data are a {what}; a pandas DataFrame with named columns is needed. Make one with {remedy}."


def pick(data: pd.DataFrame, name: str) -> pd.Series:
    """One column; a name that stands twice in the table is an error."""
    column = data[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(f"The data have {column.shape[1]} columns called {name!r}. Rename them, so that one is meant.")
    return column


def unknown_column(name: str, where: str, columns: Collection[Any], others: Collection[str] = ()) -> UnknownColumnError:
    """The error for a name that nothing answers to, with the nearest names."""
    names = [str(column) for column in columns]
    if name in names:
        kind = type(list(columns)[names.index(name)]).__name__
        return UnknownColumnError(
            f"The column {name} ({where}) is named by a value of type {kind}, while a formula names columns by text. "
            "Rename it: data.columns = data.columns.astype(str)."
        )
    near = difflib.get_close_matches(name, [*names, *others], n=1, cutoff=0.6)
    folded = [candidate for candidate in names if candidate.casefold() == name.casefold()]
    guess = (folded or near)[:1]
    hint = f" Did you mean {guess[0]!r}?" if guess else f" The columns are: {_listing(names)}."
    if where.startswith("weights") and name.startswith("var") and "(" in name:
        hint = " Variances that differ are sigma='~ x' of a factor or a number x; weights= is a column of numbers."
    return UnknownColumnError(f"{short(name)!r} ({where}) is neither a column of the data nor a name in scope.{hint}")


def _listing(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def complete_rows(columns: Mapping[str, Any]) -> tuple[np.ndarray | None, dict[str, int]]:
    """Which rows are complete (None: all of them), and how many values each column lacks."""
    keep: np.ndarray | None = None
    counts: dict[str, int] = {}
    for name, values in columns.items():
        missing = _missing(values)
        if missing is None:
            continue
        count = int(np.count_nonzero(missing))
        if count:
            counts[name] = count
            keep = ~missing if keep is None else keep & ~missing
    return keep, counts


def _missing(values: Any) -> np.ndarray | None:
    """Which values are missing; None where none can be. Of NumPy's numbers without pandas, which takes longer."""
    dtype = getattr(values, "dtype", None)
    kind = dtype.kind if isinstance(dtype, np.dtype) else "O"
    if kind in "iub":
        return None
    if kind == "f":
        return np.isnan(np.asarray(values))
    if isinstance(dtype, pd.StringDtype):
        return np.asarray(values.array.isna())
    return np.asarray(pd.isna(values))


def plain(series: pd.Series, name: str, *, group_only: bool = False) -> pd.Series:
    """A column without missing values in one of: bool, int64, float64, str, ordered category.

    Columns used only as grouping factors may also hold dates or tuples; these become text.
    """
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype in PLAIN:
        return series
    if isinstance(dtype, pd.CategoricalDtype):
        return _plain_category(series)
    if isinstance(dtype, pd.StringDtype):
        return series if dtype == TEXT else series.astype("str")
    if types.is_bool_dtype(dtype):
        return series.astype(bool)
    if types.is_integer_dtype(dtype):
        wide = types.is_unsigned_integer_dtype(dtype) and series.max() > np.iinfo(np.int64).max
        return series.astype(_of_wide_integers(group_only) if wide else "int64")
    if types.is_float_dtype(dtype):
        return series.astype("float64")
    if types.is_complex_dtype(dtype):
        raise DataError(f"Column {name!r} holds complex numbers. Use its .real, .imag or abs().")
    if isinstance(dtype, pd.SparseDtype):
        return plain(pd.Series(np.asarray(series), index=series.index), name, group_only=group_only)
    if types.is_object_dtype(dtype):
        return _plain_object(series, name, group_only)
    if types.is_string_dtype(dtype):
        return series.astype("str")
    if group_only:
        return series.astype("str")
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        raise DataError(_dates(name))
    if types.is_timedelta64_dtype(dtype):
        raise DataError(_durations(name))
    return _plain_object(series.astype(object), name, group_only)


def _of_wide_integers(group_only: bool) -> str:
    """The dtype for whole numbers beyond int64: as numbers they are rounded, as labels they must not be."""
    return "str" if group_only else "float64"


def _dates(name: str) -> str:
    return (
        f"Column {name!r} holds dates or times. Turn them into numbers, for example days since the first: "
        f"(data[{name!r}] - data[{name!r}].min()).dt.days."
    )


def _durations(name: str) -> str:
    return f"Column {name!r} holds durations. Turn them into numbers, for example data[{name!r}].dt.total_seconds()."


def _plain_object(series: pd.Series, name: str, group_only: bool) -> pd.Series:
    if not len(series):
        return series.astype("float64")
    kind = types.infer_dtype(series, skipna=True)
    if kind == "string":
        return series.astype("str")
    if kind == "boolean":
        return series.astype(bool)
    if kind == "integer":
        try:
            return series.astype("int64")
        except OverflowError:
            return series.astype(_of_wide_integers(group_only))
    if kind in NUMBER_LIKE:
        return series.astype("float64")
    if kind in ("datetime", "datetime64", "date", "period", "time"):
        if group_only:
            return series.astype(str)
        raise DataError(_dates(name))
    if kind in ("timedelta", "timedelta64"):
        if group_only:
            return series.astype(str)
        raise DataError(_durations(name))
    if group_only and kind == "mixed" and _are_labels(series):
        return pd.Series([str(value) for value in series], index=series.index, name=series.name, dtype="str")
    kinds = sorted({type(value).__name__ for value in series.iloc[:10_000]})
    raise DataError(
        f"Column {name!r} mixes or holds types that no model can use ({', '.join(kinds)}). "
        f"Make it one type, for example with pandas.to_numeric(data[{name!r}]) or .astype(str)."
    )


def group_column(column: pd.Series) -> pd.Series:
    """A column of labels in a plain dtype, missing ones as they are."""
    present = column.dropna()
    if not len(present):
        return column
    values = plain(present, str(column.name), group_only=True)
    if values.dtype == column.dtype:
        return column
    if len(present) == len(column):
        return values
    full = pd.Series(np.full(len(column), None, dtype=object), index=column.index, name=column.name)
    full[np.asarray(column.notna())] = values.astype(object).to_numpy()
    return full


def _are_labels(series: pd.Series) -> bool:
    """Whether objects, such as tuples, serve as labels: of one type, and as different when they are written out."""
    try:
        distinct = set(series)
    except TypeError:  # lists and the like
        return False
    return len({type(value) for value in distinct}) == 1 and len({str(value) for value in distinct}) == len(distinct)


def _plain_category(series: pd.Series) -> pd.Series:
    values = series.cat.remove_unused_categories()
    categories = values.cat.categories
    if not (types.is_string_dtype(categories) or types.is_numeric_dtype(categories)):
        texts = [str(category) for category in categories]
        if len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise DataError(
                f"Column {series.name!r} has two categories that read {twice!r}, of different types. Rename one."
            )
        values = values.cat.rename_categories(texts)
    return values.cat.as_ordered()


def check_finite(values: np.ndarray, index: pd.Index, what: str) -> None:
    """Raise NonFiniteError that names the first rows, unless every number is finite."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    bad = ~np.isfinite(values)
    if bad.ndim > 1:
        bad = bad.any(axis=1)
    count = int(bad.sum())
    kind = "infinite" if np.isinf(values).any() and not np.isnan(values).any() else "non-finite"
    raise NonFiniteError(
        f"{what} holds {count} {kind} value{'s' * (count > 1)} ({row_names(index, bad)}). "
        "Correct them, or set them to missing to leave these rows out."
    )


def check_size(values: np.ndarray, names: Sequence[str], *, smallest: float = SMALLEST) -> None:
    """Raise DataError for the first column of values (n, k) whose powers would overflow, or vanish."""
    if values.shape[1] <= FEW:  # NumPy takes five times as long for a few columns together
        sizes = [max(float(v.max(initial=0.0)), -float(v.min(initial=0.0))) for v in values.T]
    else:
        sizes = np.maximum(values.max(axis=0, initial=0.0), -values.min(axis=0, initial=0.0)).tolist()
    for name, size in zip(names, sizes, strict=True):
        if size <= LARGEST and (size >= smallest or size == 0.0):
            continue
        limit = f"above {LARGEST:g}" if size > LARGEST else f"below {smallest:g}"
        raise DataError(
            f"{name!r} holds numbers up to {size:.3g}, {limit}: computing with them leaves the range of floating-point "
            "numbers. Rescale it: put it in other units, or correct single values that are wrong."
        )


def brief(values: Sequence[Any], most: int = SHOWN) -> str:
    """The first values for a message, texts in quotes."""
    shown = [repr(short(value)) if isinstance(value, str) else short(value) for value in values[:most]]
    return ", ".join(shown) + (", …" if len(values) > most else "")


def one_line(value: Any) -> str:
    """A value as a text without line breaks and other control characters."""
    return CONTROL.sub(" ", str(value))


def short(value: Any, most: int = 60) -> str:
    """A value as a text that does not fill a message or a table."""
    text = one_line(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def row_names(index: pd.Index, chosen: np.ndarray) -> str:
    """The labels of the first chosen rows, for a message."""
    labels = index[np.flatnonzero(chosen)]
    listed = ", ".join(repr(label) if isinstance(label, str) else str(label) for label in labels[:SHOWN])
    return f"row{'s' * (len(labels) > 1)} {listed}" + (", …" if len(labels) > SHOWN else "")


def is_numeric(series: pd.Series) -> bool:
    """True for bool and numbers (after `plain`)."""
    return isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf"


def frozen(array: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    """A C-contiguous read-only array that is not a view of the user's data."""
    result = np.ascontiguousarray(array, dtype=dtype)
    if result.base is not None or not result.flags.owndata:
        result = result.copy()
    result.setflags(write=False)
    return result
