"""Tables and records of results as they are read: digits that mean something, every column, and long ones folded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UnknownEntryError
from ..tools.columns import LONGEST_LINE, aligned, blocks_of, line_width, widths_of, wrapped_columns
from ..tools.frame import is_numeric, one_line
from ..tools.hints import with_hints
from ..tools.html import html_cell, html_table
from ..tools.words import is_one_of
from .text import Text, decimals, number, probability

PAGE_WIDTH = 140  # characters of a notebook 1,300 pixels wide, whose headers are bold
PAGE_GAP = 3  # characters between columns
FOLDED, ENDS = 40, 10  # more rows than so many show these at both ends
MOST_ROWS = 1000  # of a notebook's table when it is unfolded
MOST_DECIMALS = 6
MOST_NAMES = 20  # that an error lists
READ = "_prints_for_reading"  # the mark of a verb whose tables do

_UNCERTAINTY = ("std_error", "sd")  # columns whose digits are those of the others
_BY_UNCERTAINTY = {"estimate", "mean", "median", "conf_low", "conf_high", "std_error", "sd", "low", "high", "value"}
_BY_UNCERTAINTY |= {"bayes_factor", "bf_mcse"}  # their own Monte Carlo error

_CRITERIA = ("loglik", "deviance", "aic", "bic", "reml_criterion", "elpd_loo", "se_elpd_loo", "p_loo")


class ResultTable(pd.DataFrame):  # type: ignore[misc]  # pandas comes without types
    """A DataFrame like any other, which prints for reading; ``pd.DataFrame(table)`` prints as pandas does.

    Numbers have the digits that their standard error or sd justifies, four where there is none. In a terminal columns
    that do not fit stand below, and of many rows the first and the last are shown; a notebook unfolds them.
    """

    @property
    def _constructor(self) -> Callable[..., ResultTable]:
        return ResultTable

    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            raise UnknownEntryError(_lacking(self, key)) from None

    def __repr__(self) -> str:
        n = len(self)
        if n == 0 or self.shape[1] == 0:
            return pd.DataFrame(self).__repr__()
        if n <= FOLDED:
            return "\n\n".join(_blocks(*_cells(self)))
        ends = self.iloc[[*range(ENDS), *range(n - ENDS, n)]]
        headers, rows, texts, labels = _cells(ends)
        rows.insert(ENDS, ["…"] * len(headers))
        return "\n\n".join([*_blocks(headers, rows, texts, labels), f"[{n:,} rows x {self.shape[1]} columns]"])

    def _repr_html_(self) -> str:
        n = len(self)
        if n == 0 or self.shape[1] == 0:
            return str(pd.DataFrame(self)._repr_html_())
        headers, rows, texts, labels = _cells(self.iloc[:MOST_ROWS])
        if n <= 2 * ENDS:
            return _html(headers, rows, texts, labels)
        summary = f"{n - ENDS:,} more rows" if n <= MOST_ROWS else f"the first {MOST_ROWS:,} of {n:,} rows"
        return (
            f"{_html(headers, rows[:ENDS], texts, labels)}"
            f"<details><summary>{summary}</summary>"
            f"<div style='max-height:36em;overflow:auto'>{_html(headers, rows, texts, labels)}</div></details>"
        )


class ResultSeries(pd.Series):  # type: ignore[misc]  # pandas comes without types
    """A column of numbers like any other, which prints as a `ResultTable` of one column does."""

    @property
    def _constructor(self) -> Callable[..., ResultSeries]:
        return ResultSeries

    @property
    def _constructor_expanddim(self) -> Callable[..., ResultTable]:
        return ResultTable

    def _table(self) -> ResultTable:
        return ResultTable(pd.Series(self).to_frame("" if self.name is None else self.name))

    def __repr__(self) -> str:
        return repr(self._table()) if len(self) else pd.Series(self).__repr__()

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()


class ResultArray(np.ndarray):
    """An array of numbers like any other, which prints for reading; what is computed of it is a plain array.

    A terminal shows digits that mean something, and of many numbers the first and the last; a notebook a table of them,
    which unfolds, below the word of the verb they came from.
    """

    word = ""

    def __array_finalize__(self, source: Any) -> None:
        self.word = getattr(source, "word", "")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def copy(self, order: Any = "C") -> Any:
        """A plain array, as data frames keep it."""
        return np.array(self, order=order)

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()  # a file needs nothing of ours

    def __repr__(self) -> str:
        return f"array({self._written(', ', prefix='array(', suffix=')')})"

    def __str__(self) -> str:
        return self._written(" ")

    def _written(self, separator: str, **around: Any) -> str:
        write = _column_writer(np.asarray(self))
        return np.array2string(
            np.asarray(self),
            separator=separator,
            threshold=FOLDED,
            edgeitems=ENDS if self.ndim == 1 else ENDS // 2,
            max_line_width=line_width(),
            formatter={"float_kind": lambda value: write(float(value)) or "nan"},
            **around,
        )

    def _repr_html_(self) -> str:
        if self.ndim == 2 and self.shape[1] > ENDS:
            return f"<pre>{html_cell(repr(self))}</pre>"
        names = [self.word] if self.ndim == 1 else list(map(str, range(self.shape[1])))
        return ResultTable(np.asarray(self), columns=names)._repr_html_()


class Shown:
    """A record that prints as the `Text` it makes of itself, in a terminal, a notebook, Markdown and LaTeX.

    Its tables print for reading as well, as those of a fit do.
    """

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        tables_for_reading(cls)

    def __post_init__(self) -> None:
        for entry in fields(self):  # type: ignore[arg-type]  # every record is a dataclass
            value = getattr(self, entry.name)
            if type(value) is pd.DataFrame:
                object.__setattr__(self, entry.name, for_reading(value))

    def text(self) -> Text:
        """Paragraphs and tables."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.text())

    def _repr_html_(self) -> str:
        return self.text()._repr_html_()

    def to_markdown(self) -> str:
        """The printed tables and remarks as Markdown."""
        return self.text().to_markdown()

    def to_latex(self) -> str:
        """The printed tables and remarks as LaTeX, for the package booktabs."""
        return self.text().to_latex()


class NamedTables(dict[str, Any]):
    """A dictionary of tables, each printed below its name."""

    def __missing__(self, key: Any) -> Any:
        raise UnknownEntryError(f"no table is called {key!r}; there are {_listed(self)}")

    def __repr__(self) -> str:
        return "\n\n".join(f"{one_line(name)}\n{table!r}" for name, table in self.items())

    def _repr_html_(self) -> str:
        parts = ((html_cell(str(name)), for_reading(table)._repr_html_()) for name, table in self.items())
        return "".join(f"<b>{name}</b>{table}" for name, table in parts)


def for_reading(result: Any) -> Any:
    """A table, a dictionary of tables or numbers that print for reading; anything else as it is."""
    if type(result) is pd.DataFrame:
        table = ResultTable(result)
        table.attrs.update(result.attrs)  # such as how many fits of a bootstrap failed
        return table
    if type(result) is dict and result and all(isinstance(value, pd.DataFrame) for value in result.values()):
        return NamedTables({name: for_reading(table) for name, table in result.items()})
    if type(result) is pd.Series and pd.api.types.is_float_dtype(result):
        series = ResultSeries(result)
        series.attrs.update(result.attrs)  # such as which effects each row has
        return series
    if type(result) is np.ndarray and result.dtype.kind == "f" and result.ndim in (1, 2):
        return result.view(ResultArray)
    return result


def tables_for_reading[C: type](cls: C) -> C:
    """Let the tables that the verbs of a class return print for reading, and other programs' arguments lead on."""
    for name, verb in list(vars(cls).items()):
        if inspect.isfunction(verb) and not name.startswith("_") and READ not in vars(verb):  # slots make a class twice
            setattr(cls, name, _reading(verb))
    return cls


def _reading(verb: Callable[..., Any]) -> Callable[..., Any]:
    hinted = with_hints(verb)

    @functools.wraps(verb)
    def _read(*args: Any, **options: Any) -> Any:
        result = for_reading(hinted(*args, **options))
        if isinstance(result, ResultArray):
            result.word = verb.__name__
        return result

    setattr(_read, READ, True)
    return _read


def _lacking(table: pd.DataFrame, key: Any) -> str:
    """What a table has in place of a column that it lacks; where to find a group that was meant."""
    words = f"this table has no column {key!r}; its columns are {_listed(map(str, table.columns))}"
    if "group" in table.index.names:
        groups, rows = table.index.unique("group"), f"table.loc[{key!r}]"
    elif list(table.columns).count("group") == 1:
        groups, rows = table.get("group").unique(), f"table[table['group'] == {key!r}]"
    elif is_one_of(key, list(table.index)):
        return f"{words}. Its row is table.loc[{key!r}]"
    else:
        return words
    if is_one_of(key, list(groups)):
        return f"{words}. The rows of this group are {rows}"
    return f"{words}. Groups are {_listed(groups)}"


def _listed(names: Iterable[Any]) -> str:
    shown = list(map(repr, names))
    return ", ".join(shown[:MOST_NAMES]) + ", …" * (len(shown) > MOST_NAMES) if shown else "none"


# -- cells


def _cells(frame: pd.DataFrame) -> tuple[list[str], list[list[str]], list[int], list[int]]:
    """Headers, rows of texts, which columns are text, and which say what row it is."""
    names = list(frame.columns)
    spread = next((c for c in _UNCERTAINTY if names.count(c) == 1 and is_numeric(frame[c])), None)
    uncertainty = None if spread is None else frame[spread].to_numpy(dtype=float, na_value=np.nan)
    index = [frame.index.get_level_values(k) for k in range(frame.index.nlevels)]
    columns = [_texts(str(name), pd.Series(level), None) for name, level in zip(frame.index.names, index, strict=True)]
    headers = ["" if name is None else one_line(name) for name in frame.index.names]
    is_text = [True] * len(columns)
    for j, name in enumerate(frame.columns):
        column = frame.iloc[:, j]
        headers.append(" ".join(map(one_line, name)) if isinstance(name, tuple) else one_line(name))
        own = "bf_mcse" if str(name) in ("bayes_factor", "bf_mcse") and "bf_mcse" in names else None
        columns.append(_texts(str(name), column, uncertainty if own is None else frame[own].to_numpy(dtype=float)))
        is_text.append(not is_numeric(column))
    texts = [c for c, text in enumerate(is_text) if text]
    return headers, [list(row) for row in zip(*columns, strict=True)], texts, _labels_of_rows(columns[: len(index)])


def _labels_of_rows(index: Sequence[Sequence[str]]) -> list[int]:
    """The one level of an index that differs from row to row, or all of them."""
    return next(([k] for k, texts in enumerate(index) if len(set(texts)) == len(texts)), list(range(len(index))))


def _texts(name: str, column: pd.Series, uncertainty: np.ndarray | None) -> list[str]:
    """A column as texts."""
    if not pd.api.types.is_float_dtype(column):
        return ["" if pd.api.types.is_scalar(value) and pd.isna(value) else one_line(value) for value in column]
    values = column.to_numpy(dtype=float, na_value=np.nan)
    write = _writer(name, values)
    if uncertainty is None or name not in _BY_UNCERTAINTY:
        return [write(value) for value in values]
    by_uncertainty = np.isfinite(uncertainty) & (uncertainty > 0.0) & np.isfinite(values)
    return [
        number(value, u) if known else write(value)
        for value, u, known in zip(values, uncertainty, by_uncertainty, strict=True)
    ]


def _writer(name: str, values: np.ndarray) -> Callable[[float], str]:
    """How numbers of such a column are written."""
    if name in ("p_value", "p_adjusted", "p"):
        return probability
    if "ess" in name.split("_"):
        return lambda v: _finite(v, ",.0f")
    if name in _CRITERIA:
        return lambda v: _finite(v, ".2f")
    if name.endswith(("rhat", "_share")) or name.startswith(("p_", "share")) or name in ("probability", "fmi"):
        return lambda v: _finite(v, ".3f")
    if name in ("df", "num_df", "den_df", "statistic", "chisq", "f", "t_value", "zeta"):
        return lambda v: _finite(v, ".2f" if abs(v) < 1e3 else ",.0f")
    if name in _BY_UNCERTAINTY:  # and no uncertainty is there
        return lambda v: number(v) if np.isfinite(v) else _finite(v, "")
    return _column_writer(values)


def _finite(value: float, form: str) -> str:
    if np.isnan(value):
        return ""
    return format(value, form) if np.isfinite(value) else "∞" if value > 0 else "-∞"


def _column_writer(values: np.ndarray) -> Callable[[float], str]:
    """As many decimals for all: those that the numbers have, or four digits of one of middling size."""
    finite = values[np.isfinite(values) & (values != 0.0)]
    size = float(np.median(np.abs(finite))) if finite.size else 1.0
    if finite.size and (np.abs(finite).min() < 1e-4 or np.abs(finite).max() >= 1e7):  # one layout would show zeros
        return lambda v: number(v) if np.isfinite(v) else _finite(v, "")
    most = decimals(size, significant=4, most=MOST_DECIMALS)
    shown = next((d for d in range(most) if np.allclose(np.round(finite, d), finite, rtol=1e-9, atol=0.0)), most)
    return lambda v: _finite(v, f".{shown}f")


# -- as text


def _blocks(
    headers: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int], labels: Sequence[int]
) -> list[str]:
    """Columns side by side while they fit, the others below, each time with those that say which row it is."""
    columns = [[headers[c], *(row[c] for row in rows)] for c in range(len(headers))]
    wrapped = wrapped_columns(columns)
    widths = widths_of(wrapped)
    first = next((c for c in range(len(headers)) if c not in texts), len(headers))  # behind those that stand first
    left = {c for c in range(len(headers)) if c < first or widths[c] >= LONGEST_LINE // 2}
    return [aligned(wrapped, widths, block, left) for block in blocks_of(widths, line_width(), labels)]


def _html(headers: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int], labels: Sequence[int]) -> str:
    """The same for a page, on which long texts are broken by the browser."""
    widths = [min(LONGEST_LINE, max(len(row[c]) for row in (headers, *rows))) for c in range(len(headers))]
    tables = (
        html_table(
            [headers[column] for column in block],
            [[row[column] for column in block] for row in rows],
            [place for place, c in enumerate(block) if c in texts],
        )
        for block in blocks_of(widths, PAGE_WIDTH, labels, PAGE_GAP)
    )
    return f"<div style='overflow-x:auto'>{''.join(tables)}</div>"
