"""Columns of every dtype pandas has: the numbers of a plain column, or a refusal with its name and the remedy."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bayeslmm as blm
from bayeslmm import errors

from .harness import ROWS, Case, check, clean, fitted, refused, table

DATA, NONFINITE, UNIDENTIFIED = errors.DataError, errors.NonFiniteError, errors.UnidentifiedTermError
SINGULAR = (errors.SingularFitWarning,)
DROPPED = (errors.DroppedRowsWarning,)
X, K, F, G, B = (clean()[name] for name in "xifgb")
PLAIN, WHOLE, FACTOR, YES = (f"y ~ {name} + (1 | g)" for name in ("x", "i", "f", "b"))
GAPS = np.isin(np.arange(ROWS), [3, 11, 40])


def gap(column: str):
    """The clean table without the rows in which a column of the other one is missing."""
    return lambda data: data[~GAPS]


def holed(values: pd.Series, dtype: object = object, missing: object = None) -> pd.Series:
    """The values with three missing ones."""
    found = values.astype(object).copy()
    found[GAPS] = missing
    return found.astype(dtype) if dtype is not object else found


NUMBERS = [
    *(fitted(f"x as {dtype}", PLAIN, {"x": X.astype(dtype)}) for dtype in ("Float64", "float64[pyarrow]")),
    *(
        fitted(f"i as {dtype}", WHOLE, {"i": K.astype(dtype)}, like=WHOLE)
        for dtype in (
            "int8",
            "int16",
            "int32",
            "Int8",
            "Int64",
            "int8[pyarrow]",
            "int64[pyarrow]",
            "float32",
            "Float32",
            "float16",
            "longdouble",
            "float64",
        )
    ),
    *(
        fitted(f"i as {dtype}", WHOLE, {"i": (K + 2).astype(dtype)}, of={"i": K + 2})
        for dtype in ("uint8", "uint64", "UInt8", "uint32[pyarrow]")
    ),
    fitted("x as objects", PLAIN, {"x": X.astype(object)}),
    fitted(
        "i as objects of several kinds of number",
        WHOLE,
        {"i": [int(v) if k % 2 else np.float32(v) for k, v in enumerate(K)]},
    ),
    fitted("i as Decimal", WHOLE, {"i": [Decimal(int(v)) for v in K]}),
    fitted(
        "i as decimals of Arrow",
        WHOLE,
        {"i": pd.Series([Decimal(int(v)) for v in K]).astype(pd.ArrowDtype(pa.decimal128(5, 1)))},
    ),
    fitted("i as big-endian floats", WHOLE, {"i": K.to_numpy().astype(">f8")}),
    fitted("i sparse", WHOLE, {"i": pd.arrays.SparseArray(K.to_numpy(dtype=float))}),
    fitted("i sparse whole numbers", WHOLE, {"i": pd.arrays.SparseArray(K.to_numpy())}),
    fitted("i with a negative zero", WHOLE, {"i": np.where(K == 0, -0.0, K)}),
    fitted(
        "unsigned numbers above int64",
        "y ~ k + (1 | g)",
        {"k": ((K + 2).astype("uint64") << np.uint64(61))},
        of={"k": (K + 2.0) * 2.0**61},
    ),
    fitted("y as Float64", PLAIN, lambda d: d.assign(y=d["y"].astype("Float64"))),
    fitted("y as Arrow's", PLAIN, lambda d: d.assign(y=d["y"].astype("float64[pyarrow]"))),
    fitted("y as objects", PLAIN, lambda d: d.assign(y=d["y"].astype(object))),
    fitted("y as Int64", "i ~ x + (1 | g)", {"i": K.astype("Int64")}, warns=SINGULAR),
    fitted("y as booleans", "b ~ x + (1 | g)", {"b": B.astype("boolean")}, of={"b": B.astype(float)}, warns=SINGULAR),
    fitted("y sparse", "i ~ x + (1 | g)", {"i": pd.arrays.SparseArray(K.to_numpy(dtype=float))}, warns=SINGULAR),
    refused("i as Fraction", WHOLE, {"i": [Fraction(int(v)) for v in K]}, DATA, "'i'", "Fraction", "to_numeric"),
    refused("complex", PLAIN, {"x": X + 0j}, DATA, "'x'", "complex", ".real"),
    refused("numbers as text", PLAIN, {"x": X.astype(str)}, DATA, "'x'", "60 different", "pandas.to_numeric"),
    refused("numbers with commas", PLAIN, {"x": [f"{v:.3f}".replace(".", ",") for v in X]}, DATA, "'x'", "60 levels"),
    refused("numbers and a text", PLAIN, {"x": [*X[:-1], "n/a"]}, DATA, "'x'", "float", "str", "to_numeric"),
    refused("lists", PLAIN, {"x": [[v] for v in X]}, DATA, "'x'", "list"),
    refused("dicts", PLAIN, {"x": [{"v": v} for v in X]}, DATA, "'x'", "dict"),
    refused("tuples", PLAIN, {"x": [(v, v) for v in X]}, DATA, "'x'", "tuple"),
    refused("arrays", PLAIN, {"x": [np.ones(2) for _ in X]}, DATA, "'x'", "ndarray"),
    refused("bytes", PLAIN, {"x": [b"u", b"v"] * 30}, DATA, "'x'", "bytes"),
    refused("classes", PLAIN, {"x": [int, str] * 30}, DATA, "'x'", "type"),
    refused("dates", PLAIN, {"x": pd.date_range("2020", periods=ROWS)}, DATA, "'x'", "dates", ".dt.days"),
    refused("dates with a zone", PLAIN, {"x": pd.date_range("2020", periods=ROWS, tz="UTC")}, DATA, "'x'", "dates"),
    refused("dates of Python", PLAIN, {"x": list(pd.date_range("2020", periods=ROWS).date)}, DATA, "'x'", "dates"),
    refused(
        "dates of Arrow",
        PLAIN,
        {"x": pd.Series(pd.date_range("2020", periods=ROWS)).astype("timestamp[ns][pyarrow]")},
        DATA,
        "'x'",
        "dates",
    ),
    refused(
        "days of Arrow",
        PLAIN,
        {"x": pd.Series(pd.date_range("2020", periods=ROWS)).astype("date32[pyarrow]")},
        DATA,
        "'x'",
        "dates",
    ),
    refused(
        "durations", PLAIN, {"x": pd.to_timedelta(range(ROWS), unit="D")}, DATA, "'x'", "durations", "total_seconds"
    ),
    refused(
        "durations of Arrow",
        PLAIN,
        {"x": pd.Series(pd.to_timedelta(range(ROWS), unit="D")).astype("duration[ns][pyarrow]")},
        DATA,
        "'x'",
        "durations",
    ),
    refused("periods", PLAIN, {"x": pd.period_range("2020", periods=ROWS, freq="M")}, DATA, "'x'", "dates"),
    refused("intervals", PLAIN, {"x": pd.interval_range(0, ROWS)}, DATA, "'x'", "Interval"),
    refused(
        "lists of Arrow",
        PLAIN,
        {"x": pd.Series([[1.0]] * ROWS).astype(pd.ArrowDtype(pa.list_(pa.float64())))},
        DATA,
        "'x'",
    ),
    refused(
        "durations within an expression",
        "y ~ I(x.dt.days)",
        {"x": pd.to_timedelta(range(ROWS), unit="D")},
        DATA,
        "'x'",
        "durations",
        "total_seconds",
    ),
]
GAPPED = [
    fitted("x with NaN", PLAIN, {"x": X.where(~GAPS)}, of=gap("x"), warns=DROPPED),
    fitted("x with None", PLAIN, {"x": holed(X)}, of=gap("x"), warns=DROPPED),
    fitted("x with pandas.NA", PLAIN, {"x": holed(X, missing=pd.NA)}, of=gap("x"), warns=DROPPED),
    fitted("x with NaT", PLAIN, {"x": holed(X, missing=pd.NaT)}, of=gap("x"), warns=DROPPED),
    fitted("x as Float64 with NA", PLAIN, {"x": holed(X, "Float64")}, of=gap("x"), warns=DROPPED),
    fitted("x of Arrow with null", PLAIN, {"x": holed(X, "float64[pyarrow]")}, of=gap("x"), warns=DROPPED),
    fitted("i as Int64 with NA", WHOLE, {"i": holed(K, "Int64")}, of=gap("i"), warns=DROPPED),
    fitted("i of Arrow with null", WHOLE, {"i": holed(K, "int64[pyarrow]")}, of=gap("i"), warns=DROPPED),
    fitted(
        "i as Decimal with None",
        WHOLE,
        {"i": holed(pd.Series([Decimal(int(v)) for v in K]))},
        of=gap("i"),
        warns=DROPPED,
    ),
    fitted(
        "i sparse with NaN",
        WHOLE,
        {"i": pd.arrays.SparseArray(K.where(~GAPS).to_numpy(dtype=float))},
        of=gap("i"),
        warns=DROPPED,
    ),
    fitted("b as boolean with NA", YES, {"b": holed(B, "boolean")}, of=gap("b"), warns=DROPPED),
    fitted("b of Arrow with null", YES, {"b": holed(B, "bool[pyarrow]")}, of=gap("b"), warns=DROPPED),
    fitted("b as objects with None", YES, {"b": holed(B)}, of=gap("b"), warns=DROPPED),
    fitted("f with None", FACTOR, {"f": holed(F)}, of=gap("f"), warns=DROPPED),
    fitted("f with NaN among objects", FACTOR, {"f": holed(F, missing=np.nan)}, of=gap("f"), warns=DROPPED),
    fitted("f as string with NA", FACTOR, {"f": holed(F, "string")}, of=gap("f"), warns=DROPPED),
    fitted("f of Arrow with null", FACTOR, {"f": holed(F, "string[pyarrow]")}, of=gap("f"), warns=DROPPED),
    fitted("f as categories with NaN", FACTOR, {"f": holed(F, "category")}, of=gap("f"), warns=DROPPED),
    fitted("g with None", PLAIN, {"g": holed(G)}, of=gap("g"), warns=DROPPED),
    fitted("g as categories with NaN", PLAIN, {"g": holed(G, "category")}, of=gap("g"), warns=DROPPED),
    fitted("y with NaN", PLAIN, lambda d: d.assign(y=d["y"].where(~GAPS)), of=gap("y"), warns=DROPPED),
    fitted("y as Float64 with NA", PLAIN, lambda d: d.assign(y=holed(d["y"], "Float64")), of=gap("y"), warns=DROPPED),
    fitted("a gap in a column that is not used", PLAIN, {"z": np.nan}),
    refused("x all missing", PLAIN, {"x": np.nan}, DATA, "No row is complete", "'x' is all missing"),
    refused("x all None", PLAIN, {"x": None}, DATA, "No row is complete", "'x' is all missing"),
    refused("y all missing", PLAIN, {"y": np.nan}, DATA, "'y' is all missing"),
    refused("g all missing", PLAIN, {"g": pd.NA}, DATA, "'g' is all missing"),
    refused(
        "no row complete",
        PLAIN,
        lambda d: d.assign(x=X.where(B), z=X.where(~B)).rename(columns={"z": "w"}).assign(y=lambda s: s["y"].where(~B)),
        DATA,
        "No row is complete",
        "y 30, x 30",
    ),
    refused("complete rows of one group only", PLAIN, {"x": X.where(G == "c")}, UNIDENTIFIED, "'g'", "one level ('c')"),
    refused(
        "complete rows of one level only", FACTOR, {"x": X, "f": F.where(F == "v")}, DATA, "'f' has one level ('v')"
    ),
]
FACTORS = [
    *(
        fitted(f"f as {dtype}", FACTOR, {"f": F.astype(dtype)})
        for dtype in ("category", "string", "object", "string[pyarrow]", "str")
    ),
    fitted(
        "f as dictionary of Arrow",
        FACTOR,
        {"f": pd.Series(F.to_numpy(), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))},
    ),
    fitted("f as numpy's str_", FACTOR, {"f": [np.str_(v) for v in F]}),
    fitted("f as ordered categories", FACTOR, {"f": pd.Categorical(F, ["u", "v", "w"], ordered=True)}),
    fitted(
        "f with categories in another order",
        FACTOR,
        {"f": pd.Categorical(F, ["w", "v", "u"])},
        of={"f": F.map({"w": "1", "v": "2", "u": "3"})},
        terms=("Intercept", "f[v]", "f[u]"),
    ),
    fitted(
        "f with categories that no row has",
        FACTOR,
        {"f": pd.Categorical(F, [*"auvwz"])},
        terms=("Intercept", "f[v]", "f[w]"),
    ),
    fitted("f with whole numbers as categories", FACTOR, {"f": K.astype("category")}, like="y ~ C(i) + (1 | g)"),
    fitted("f with fractions as categories", FACTOR, {"f": (K / 2).astype("category")}, like="y ~ C(i) + (1 | g)"),
    fitted("f with booleans as categories", FACTOR, {"f": B.astype("category")}, like=YES),
    fitted(
        "f with dates as categories",
        FACTOR,
        {"f": pd.to_datetime(dict(year=K + 2010, month=1, day=1)).astype("category")},
        like="y ~ C(i) + (1 | g)",
    ),
    fitted(
        "f with intervals as categories",
        FACTOR,
        {"f": pd.cut(K, [-3, 0, 2, 9])},
        like="y ~ C(k) + (1 | g)",
        of={"k": np.digitize(K, [1, 3])},
    ),
    fitted(
        "f with tuples as categories",
        FACTOR,
        {"f": pd.Categorical(pd.Series(list(zip(F, B, strict=True))))},
        of={"f": F + B.astype(str)},
    ),
    fitted("codes as text", "y ~ k + (1 | g)", {"k": (K + 2).astype(str)}, like="y ~ C(i) + (1 | g)"),
    fitted("the empty text", FACTOR, {"f": F.replace("u", "")}, terms=("Intercept", "f[v]", "f[w]")),
    fitted("a space", FACTOR, {"f": F.replace("u", " ")}),
    fitted(
        "levels in letters of all the world",
        FACTOR,
        {"f": F.map({"u": "Ä", "v": "ß", "w": "東京"})},
        terms=("Intercept", "f[ß]", "f[東京]"),
    ),
    fitted("emoji", FACTOR, {"f": F.map({"u": "\U0001f40d", "v": "\U0001f41f", "w": "\U0001f981"})}),
    fitted(
        "levels like HTML",
        FACTOR,
        {"f": F.map({"u": "<b>", "v": "<script>alert(1)</script>", "w": "&amp;"})},
        of={"f": F.map({"u": "b", "v": "c", "w": "a"})},
    ),
    fitted(
        "levels like LaTeX and Markdown",
        FACTOR,
        {"f": F.map({"u": "$a_1$", "v": "|x|", "w": "100%\\"})},
        of={"f": F.map({"u": "a", "v": "c", "w": "b"})},
    ),
    fitted(
        "levels like formulas",
        FACTOR,
        {"f": F.map({"u": "a + b", "v": "(1 | g)", "w": "y ~ x"})},
        of={"f": F.map({"u": "b", "v": "a", "w": "c"})},
    ),
    fitted(
        "levels with brackets and colons",
        "y ~ f * b + (1 | g)",
        {"f": F.map({"u": "a]", "v": "[b:", "w": "c]:b[True"})},
        of={"f": F.map({"u": "b", "v": "a", "w": "c"})},
        like="y ~ f * b + (1 | g)",
    ),
    fitted("levels with line breaks", FACTOR, {"f": F.map({"u": "a\nb", "v": "c\td", "w": "e\r"})}),
    fitted("a level of 10000 letters", FACTOR, {"f": F.replace("u", "a" * 10_000)}),
    fitted("levels called True and False as text", "y ~ k + (1 | g)", {"k": B.astype(str)}, like=YES),
    fitted("b as boolean", YES, {"b": B.astype("boolean")}),
    fitted("b of Arrow", YES, {"b": B.astype("bool[pyarrow]")}),
    fitted("b as objects", YES, {"b": B.astype(object)}),
    fitted("b as numpy's bools", YES, {"b": [np.bool_(v) for v in B]}),
    refused("booleans and text", YES, {"b": [True, "no"] * 30}, DATA, "'b'", "bool", "str"),
    refused("one level", FACTOR, {"f": "u"}, DATA, "'f' has one level ('u')", "Leave it out"),
    refused(
        "one level of a boolean category",
        FACTOR,
        {"f": pd.Categorical(["u"] * ROWS, ["u", "v"])},
        DATA,
        "'f' has one level",
    ),
    refused(
        "as many levels as rows",
        FACTOR,
        {"f": [f"row {k}" for k in range(ROWS)]},
        DATA,
        "60 columns for 60 rows",
        "'f'",
        "(1 | group)",
    ),
    refused(
        "levels that cannot be sorted", FACTOR, {"f": pd.Series(["u", 1, 2.5] * 20)}, DATA, "'f'", "float, int, str"
    ),
    fitted(
        "text and a number within a category",
        FACTOR,
        {"f": pd.Categorical(["u", 1] * 30, ["u", 1])},
        of={"f": ["a", "b"] * 30},
    ),
]
CODES = np.repeat(np.arange(10), 6)
GROUPS = [
    *(
        fitted(f"g as codes of {dtype}", PLAIN, {"g": pd.Series(CODES).astype(dtype)})
        for dtype in ("int8", "uint64", "float64", "Int64", "Float64", "int32[pyarrow]", "str", "category", "object")
    ),
    fitted("g as categories that no row has", PLAIN, {"g": pd.Categorical(G, [*"abcdefghijklm"])}),
    fitted("g as fractions", PLAIN, {"g": CODES / 7}),
    fitted("g as negative codes", PLAIN, {"g": CODES - 5}),
    fitted("g as codes above int32", PLAIN, {"g": CODES + 2**40}),
    fitted("g as codes above 2**53", PLAIN, {"g": CODES + 2**60}),
    fitted("g as unsigned codes above int64", PLAIN, {"g": CODES.astype("uint64") + np.uint64(2**63)}),
    fitted(
        "g as booleans",
        "y ~ x + (1 | b)",
        {"b": B.astype("boolean")},
        like="y ~ x + (1 | k)",
        of={"k": B.map({True: "t", False: "f"})},
    ),
    fitted("g as codes of Python above int64", PLAIN, {"g": [int(k) + 2**70 for k in CODES]}),
    fitted("g as dates", PLAIN, {"g": pd.to_datetime("2020") + pd.to_timedelta(CODES, unit="D")}),
    fitted("g as dates of Python", PLAIN, {"g": (pd.to_datetime("2020") + pd.to_timedelta(CODES, unit="D")).date}),
    fitted("g as periods", PLAIN, {"g": pd.PeriodIndex([pd.Period("2020", "Y") + int(k) for k in CODES])}),
    fitted("g as durations", PLAIN, {"g": pd.to_timedelta(CODES, unit="h")}),
    fitted("g as intervals", PLAIN, {"g": pd.cut(CODES, 10)}),
    fitted("g as text of numbers", PLAIN, {"g": [f"{k:03d}" for k in CODES]}),
    fitted("g with the empty text", PLAIN, {"g": G.replace("a", "")}),
    fitted("g like HTML", PLAIN, {"g": "<i>" + G + "</i>"}),
    fitted("g with colons, nested", "y ~ x + (1 | g) + (1 | g:b)", {"g": G + ":" + G}, warns=SINGULAR),
    fitted(
        "two columns whose combinations are spelt alike",
        "y ~ x + (1 | k:l)",
        {"k": ["a", "a:b"] * 30, "l": ["b:c", "c"] * 30},
        like="y ~ x + (1 | k)",
        of={"k": ["a", "b"] * 30},
    ),
    refused("g with an infinite code", PLAIN, {"g": np.where(G == "a", np.inf, CODES)}, NONFINITE, "'g'", "6 infinite"),
    refused("g complex", PLAIN, {"g": CODES + 1j}, DATA, "'g'", "complex"),
    refused("g of lists", PLAIN, {"g": [[k] for k in CODES]}, DATA, "'g'", "list"),
    refused("g of text and numbers", PLAIN, {"g": ["a", 1] * 30}, DATA, "'g'", "int, str", "astype(str)"),
    refused("g with one level", PLAIN, {"g": 1}, UNIDENTIFIED, "'g' has one level (1)"),
    refused("g with a level a row", PLAIN, {"g": range(ROWS)}, UNIDENTIFIED, "60 levels for 60 rows"),
]
CASES: list[Case] = [*NUMBERS, *GAPPED, *FACTORS, *GROUPS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_column(case):
    check(case)


def test_names_of_cases_are_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert table()().equals(clean())


def test_levels_neither_tear_nor_fill_what_is_printed():
    data = clean().assign(f=F.map({"u": "a", "v": "b\r\n\tc", "w": "<script>" + "w" * 10_000}))
    model = blm.Model("y ~ f + (1 | g)", data)
    fit = model.fit_reml()
    assert list(fit.fixef().index)[1:] == ["f[a]", "f[b c]"]  # in the order of the code points, '<' first
    summary = fit.summary()
    for shown in (str(summary), summary.to_markdown(), summary.to_latex(), repr(model)):
        assert all(len(line) < 300 for line in shown.splitlines())
        assert not any(line.lstrip(" |").startswith("c]") for line in shown.splitlines()) and "[b c]" in shown
    swapped = blm.lmer("y ~ x + (1 | f)", data)
    for html in (swapped._repr_html_(), swapped.summary()._repr_html_(), model._repr_html_(), fit._repr_html_()):
        assert "<script>" not in html


def test_a_warning_points_at_the_line_of_the_user():
    gaps = clean().assign(x=X.where(~GAPS), k=1.0)
    for ask in (
        lambda: blm.Model("y ~ x + k", gaps),
        lambda: blm.lmer("y ~ x + k + (1 | g)", gaps),
        lambda: blm.Model("z ~ 1 + (1 | h)", clean()).fit_reml(),
    ):
        with pytest.warns(errors.BayesLMMWarning) as given:
            ask()
        assert {w.filename for w in given} == {__file__}
