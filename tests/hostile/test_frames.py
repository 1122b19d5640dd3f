"""Tables of every shape and library: the rows of a plain DataFrame, or a word on how to make one."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bayeslmm as blm
from bayeslmm import errors

from .harness import ROWS, Case, check, clean, fitted, refused, same_numbers

DATA = errors.DataError
PLAIN = "y ~ x + (1 | g)"


def shuffled(data: pd.DataFrame) -> pd.DataFrame:
    return data.sample(frac=1.0, random_state=1)


INDEXES = [
    fitted("rows in another order", PLAIN, shuffled),
    fitted("one label for all rows", PLAIN, lambda d: d.set_axis([0] * ROWS)),
    fitted("every label twice", PLAIN, lambda d: d.set_axis([*range(30)] * 2)),
    fitted("text for labels", PLAIN, lambda d: d.set_axis([f"row {k}" for k in range(ROWS)])),
    fitted("missing labels", PLAIN, lambda d: d.set_axis([np.nan] * ROWS)),
    fitted("labels of several types", PLAIN, lambda d: d.set_axis(["a", 1, None, 2.5] * 15)),
    fitted("dates for labels", PLAIN, lambda d: d.set_axis(pd.date_range("2020", periods=ROWS, freq="D"))),
    fitted("dates with a zone for labels", PLAIN, lambda d: d.set_axis(pd.date_range("2020", periods=ROWS, tz="CET"))),
    fitted("periods for labels", PLAIN, lambda d: d.set_axis(pd.period_range("2020", periods=ROWS))),
    fitted("intervals for labels", PLAIN, lambda d: d.set_axis(pd.interval_range(0, ROWS))),
    fitted("categories for labels", PLAIN, lambda d: d.set_axis(pd.CategoricalIndex(d["g"]))),
    fitted("two levels of labels", PLAIN, lambda d: d.set_axis(pd.MultiIndex.from_frame(d[["g", "h"]]))),
    fitted(
        "two levels of labels, named as columns, and twice each",
        PLAIN,
        lambda d: d.set_axis(pd.MultiIndex.from_frame(d[["g", "f"]])),
    ),
    fitted("labels from the back", PLAIN, lambda d: d.set_axis(range(ROWS, 0, -1))),
    fitted("every second row of another table", PLAIN, lambda d: pd.concat([d, d]).sort_index(kind="stable").iloc[::2]),
    fitted("a view", PLAIN, lambda d: pd.concat([d, d])[:ROWS]),
    fitted(
        "one label and missing values",
        PLAIN,
        lambda d: pd.concat([d, d.head(3).assign(x=np.nan)]).set_axis([0] * 63),
        warns=(errors.DroppedRowsWarning,),
    ),
    fitted(
        "two levels of labels and missing values",
        PLAIN,
        lambda d: pd.concat([d, d.head(3).assign(g=None)]).set_index(["h", "f"], drop=False),
        warns=(errors.DroppedRowsWarning,),
    ),
    fitted("read-only arrays", PLAIN, lambda d: _read_only(d)),
    fitted(
        "columns side by side in one array",
        "y ~ x + (1 | i)",
        lambda d: pd.DataFrame(np.asfortranarray(d[["y", "x", "i"]].to_numpy()), columns=["y", "x", "i"]),
        warns=(errors.SingularFitWarning,),
    ),
    fitted("attributes and flags", PLAIN, lambda d: _with_attributes(d)),
    fitted("a subclass of DataFrame", PLAIN, lambda d: Sub(d)),
    fitted("dtypes of convert_dtypes", "y ~ x + f + b + i + (1 | g)", lambda d: d.convert_dtypes()),
    fitted(
        "dtypes of Arrow throughout", "y ~ x + f + b + i + (1 | g)", lambda d: d.convert_dtypes(dtype_backend="pyarrow")
    ),
    fitted(
        "read as Arrow's from CSV",
        PLAIN,
        lambda d: pd.read_csv(io.BytesIO(d.to_csv(index=False).encode()), dtype_backend="pyarrow"),
        of=lambda d: pd.read_csv(io.BytesIO(d.to_csv(index=False).encode())),
    ),
    fitted("written and read as pickle", PLAIN, lambda d: pd.read_pickle(_pickled(d))),
]


class Sub(pd.DataFrame):
    """As GeoPandas and others do."""

    @property
    def _constructor(self):
        return Sub


def _read_only(data: pd.DataFrame) -> pd.DataFrame:
    arrays = {name: data[name].to_numpy().copy() for name in data}
    for array in arrays.values():
        array.setflags(write=False)
    return pd.DataFrame(arrays, copy=False)


def _with_attributes(data: pd.DataFrame) -> pd.DataFrame:
    data.attrs["source"] = {"nested": [1, 2]}
    return data.set_flags(allows_duplicate_labels=False)


def _pickled(data: pd.DataFrame) -> io.BytesIO:
    buffer = io.BytesIO()
    data.to_pickle(buffer)
    buffer.seek(0)
    return buffer


FEW = [
    refused("no rows", PLAIN, lambda d: d.iloc[:0], DATA, "no rows", "filtered"),
    refused("no rows and no columns", PLAIN, lambda d: pd.DataFrame(), DATA, "no rows"),
    refused("rows and no columns", PLAIN, lambda d: d[[]], errors.UnknownColumnError, "'y'"),
    refused("one row", PLAIN, lambda d: d.head(1), DATA, "1 complete row for 1 coefficient of"),
    refused("one row, intercept alone", "y ~ 1", lambda d: d.head(1), DATA, "1 complete row", "more rows"),
    refused("one row, group alone", "y ~ 0 + (1 | g)", lambda d: d.head(1), errors.InputError),
    refused("two rows, two coefficients", "y ~ x", lambda d: d.head(2), DATA, "2 complete rows for 2 coefficients"),
    refused(
        "two rows, two groups",
        "y ~ 1 + (1 | g)",
        lambda d: d.iloc[[0, 30]],
        errors.UnidentifiedTermError,
        "2 levels for 2 rows",
    ),
    refused(
        "more coefficients than rows",
        "y ~ x + z + i + I(x**2) + I(z**2)",
        lambda d: d.head(5),
        DATA,
        "5 complete rows for",
        "Use more data or fewer terms",
    ),
    refused(
        "a factor with more levels than rows left",
        "y ~ f * h * b",
        lambda d: d.head(12),
        DATA,
        "36 columns for 12 rows",
    ),
    fitted("three rows", "y ~ x", lambda d: d.head(3), of=lambda d: d.head(3)),
    refused(
        "a response that is one number",
        PLAIN,
        lambda d: d.assign(y=3),
        DATA,
        "'y' is 3 in all 60 rows",
        "nothing to explain",
    ),
]


def other(name: str, make: object, *words: str) -> Case:
    return refused(name, PLAIN, lambda d: make(d) if callable(make) else make, DATA, *words)


NO_FRAMES = [
    other("None", lambda d: None, "NoneType", "pandas.DataFrame"),
    other("a path", lambda d: "data.csv", "str", "pandas.read_csv"),
    other("a number", lambda d: 3, "int"),
    fitted("a dict of columns", PLAIN, lambda d: d.to_dict("list")),
    fitted("a dict of arrays", PLAIN, lambda d: {k: v.to_numpy() for k, v in d.items()}),
    other("a dict of rows", lambda d: d.to_dict("index"), "dict", "is no column"),
    other("a dict of unequal columns", lambda d: {"y": d["y"], "x": d["x"][:5], "g": d["g"]}, "different lengths"),
    other("an empty dict", lambda d: {}, "hold no rows"),
    other("records", lambda d: d.to_dict("records"), "list", "pandas.DataFrame(data"),
    other("an array", lambda d: d.to_numpy(), "numpy array of shape (60, 8)"),
    other("an array of records", lambda d: d.to_records(index=False), "pandas.DataFrame(data"),
    other("a series", lambda d: d["y"], "Series", "series.to_frame()"),
    other("an index", lambda d: d.index, "Index"),
    other("a group-by", lambda d: d.groupby("g"), "DataFrameGroupBy"),
    other("a class", lambda d: pd.DataFrame, "type"),
    other("a generator", lambda d: (row for row in d.itertuples()), "generator"),
    other("something that is not yet computed", lambda d: SimpleNamespace(collect=lambda: d), "data.collect()"),
    other("something that turns into a series", lambda d: SimpleNamespace(to_pandas=lambda: d["y"]), "SimpleNamespace"),
    other(
        "something that fails to turn",
        lambda d: Broken(),
        "does not turn into a pandas DataFrame",
        "ImportError: no pyarrow",
    ),
    other("an array of Arrow", lambda d: pa.array(d["y"]), "DataFrame"),
]


class Broken:
    def to_pandas(self):
        raise ImportError("no pyarrow")


CASES = [*INDEXES, *FEW, *NO_FRAMES]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frame(case):
    check(case)


# -- tables of other libraries

LIKE = "y ~ x + f + b + i + (1 | g)"


def other_tables(data: pd.DataFrame):
    """The table in every library that is installed."""
    yield "pyarrow", pa.Table.from_pandas(data)
    yield "pyarrow record batch", pa.RecordBatch.from_pandas(data)
    yield "Arrow's C stream alone", Stream(pa.Table.from_pandas(data))


class Stream:
    """What DuckDB, GeoArrow or Ibis offer: no method of its own, only the protocol."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("name", ["pyarrow", "pyarrow record batch", "Arrow's C stream alone", "polars"])
def test_tables_of_other_libraries_are_taken_everywhere(name):
    """As data, new data, data of an update and data to centre, with the numbers of pandas."""
    data = clean()
    if name == "polars":
        table, head = (pytest.importorskip("polars").from_pandas(d) for d in (data, data.head(7)))
    else:
        table, head = (dict(other_tables(d))[name] for d in (data, data.head(7)))
    fit, expected = blm.lmer(LIKE, table), blm.lmer(LIKE, data)
    same_numbers(fit, expected)
    np.testing.assert_allclose(fit.predict(head), expected.predict(data.head(7)), rtol=1e-12)
    np.testing.assert_allclose(
        expected.predict(head, groups="average"), expected.predict(data.head(7), groups="average")
    )
    same_numbers(fit.update(". ~ . + z"), expected.update(". ~ . + z"))
    same_numbers(expected.update(". ~ .", data=table), expected)
    pd.testing.assert_frame_equal(
        blm.center_within(head, "x", by="g")[["x_mean", "x_within"]],
        blm.center_within(data.head(7), "x", by="g")[["x_mean", "x_within"]],
    )


def test_polars_own_types_and_missing_values():
    pl = pytest.importorskip("polars")
    data = clean()
    table = pl.DataFrame(
        {
            "y": data["y"].to_list(),
            "x": [None, float("nan"), *data["x"][2:]],  # both are missing to pandas
            "f": pl.Series(data["f"].to_list(), dtype=pl.Categorical),
            "e": pl.Series(data["f"].to_list(), dtype=pl.Enum(["w", "v", "u"])),
            "g": pl.Series([None, *data["g"][1:]]),
            "i": pl.Series(data["i"].to_list(), dtype=pl.Decimal(10, 2)),
            "b": pl.Series([*data["b"][:-1], None]),
        }
    )
    with pytest.warns(errors.DroppedRowsWarning, match="3 of 60 rows left out"):
        fit = blm.lmer("y ~ x + f + i + b + (1 | g)", table)
    expected = blm.lmer("y ~ x + f + i + b + (1 | g)", data.iloc[2:-1])
    same_numbers(fit, expected)
    ordered = blm.lmer("y ~ e + (1 | g)", table.filter(pl.col("g").is_not_null()))
    assert list(ordered.fixef().index) == ["Intercept", "e[v]", "e[u]"]
    for kept in (table, table.filter(pl.col("b"))):
        with pytest.warns(errors.DroppedRowsWarning):
            read_in_chunks, in_memory = blm.lmer(PLAIN, kept.lazy()), blm.lmer(PLAIN, kept)
        np.testing.assert_allclose(read_in_chunks.fixef(), in_memory.fixef(), rtol=1e-6)
        assert read_in_chunks.criterion == pytest.approx(in_memory.criterion, rel=1e-10)
    with pytest.raises(DATA, match="dates"):
        blm.Model("y ~ d", table.with_columns(d=pl.lit("2020-01-01").str.to_date()))
    with pytest.raises(DATA, match="'y'.*ndarray"):
        blm.Model("y ~ i", table.with_columns(y=pl.concat_list("i")))
