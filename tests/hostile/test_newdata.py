"""New rows that are bad or strange: right predictions, or a word on the column and the rows."""

import warnings
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

from .harness import Maker, check_message, check_unchanged, check_warnings, clean

DATA, UNKNOWN, UNSEEN, INPUT = (errors.DataError, errors.UnknownColumnError, errors.UnseenLevelError, errors.InputError)
FORMULA = "y ~ x + i + f + b + (x | g)"
AVERAGE = {"groups": "average"}


@pytest.fixture(scope="module")
def fit():
    return blm.lmer(FORMULA, clean())


def head() -> pd.DataFrame:
    return clean().iloc[[0, 7, 31, 58]].drop(columns="y")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """New rows and what is predicted for them: the same as for these rows of the clean table, or an error."""

    name: str
    rows: Maker
    options: dict[str, Any] = field(default_factory=dict)
    of: Maker = head
    missing: tuple[int, ...] = ()
    error: type[errors.BayesLMMError] | None = None
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def same(name: str, change: Any, *, of: Any = None, missing: tuple[int, ...] = (), **options: Any) -> Rows:
    """Rows for which the predictions are those of the clean rows after the change ``of``."""
    return Rows(name=name, rows=_changed(change), of=_changed(of), missing=missing, options=options)


def refused(name: str, change: Any, error: type[errors.BayesLMMError], *words: str, **options: Any) -> Rows:
    return Rows(name=name, rows=_changed(change), options=options, error=error, words=words)


def _changed(change: Any) -> Maker:
    if change is None:
        return head
    if callable(change):
        return lambda: change(head())
    return lambda: head().assign(**change)


X, K, F, G, B = (head()[name] for name in "xifgb")
CASES = [
    same("as they are", None),
    same("with the response", lambda d: d.assign(y=1.0)),
    same("with the response as text", lambda d: d.assign(y="unknown")),
    same("with other columns", lambda d: d.assign(more=[[], {}, None, 1j], x2=1)),
    same("in another order", lambda d: d[d.columns[::-1]]),
    same("one row", lambda d: d.head(1), of=lambda d: d.head(1)),
    same("every row a hundred times", lambda d: pd.concat([d] * 100), of=lambda d: pd.concat([d] * 100)),
    same("one label", lambda d: d.set_axis([5] * 4)),
    same("two levels of labels", lambda d: d.set_axis(pd.MultiIndex.from_tuples([(1, 2), (1, 2), (3, 4), (5, 6)]))),
    same("x as Float64", {"x": X.astype("Float64")}),
    same("x as Arrow's", {"x": X.astype("float64[pyarrow]")}),
    same("x as objects", {"x": X.astype(object)}),
    same("i as floats", {"i": K.astype(float)}),
    same("i as Int8", {"i": K.astype("Int8")}),
    same("i as Decimal", {"i": [Decimal(int(v)) for v in K]}),
    same("i sparse", {"i": pd.arrays.SparseArray(K.to_numpy())}),
    same("f as categories", {"f": F.astype("category")}),
    same("f as categories in another order", {"f": pd.Categorical(F, ["w", "v", "u", "never"])}),
    same("f as string", {"f": F.astype("string")}),
    same("f as Arrow's", {"f": F.astype("string[pyarrow]")}),
    same("b as boolean", {"b": B.astype("boolean")}),
    same("b as Arrow's", {"b": B.astype("bool[pyarrow]")}),
    same("b as objects", {"b": B.astype(object)}),
    same("g as categories", {"g": G.astype("category")}),
    same("g as Arrow's", {"g": G.astype("string[pyarrow]")}),
    same("g as objects", {"g": G.astype(object)}),
    same("all of convert_dtypes", lambda d: d.convert_dtypes()),
    same("all of Arrow", lambda d: d.convert_dtypes(dtype_backend="pyarrow")),
    same("no group for the average one", lambda d: d.drop(columns="g"), **AVERAGE),
    same("x missing", {"x": X.where(X.index != 7)}, missing=(1,)),
    same("x NA", {"x": X.astype("Float64").where(X.index != 7)}, missing=(1,)),
    same("f missing", {"f": F.where(F.index != 7, None)}, missing=(1,)),
    same("b NA", {"b": B.astype("boolean").where(B.index != 7)}, missing=(1,)),
    same("x all missing", {"x": np.nan}, missing=(0, 1, 2, 3)),
    refused("no rows", lambda d: d.iloc[:0], DATA, "no rows"),
    same("a dict of lists", lambda d: d.to_dict("list"), of=lambda d: d.reset_index(drop=True)),
    same(
        "a dict with one value for all",
        lambda d: {**d.to_dict("list"), "x": 1.0},
        of=lambda d: d.reset_index(drop=True).assign(x=1.0),
    ),
    refused("a dict of unequal lists", lambda d: {**d.to_dict("list"), "x": [1.0]}, DATA, "different lengths"),
    refused("an array", lambda d: d.to_numpy(), DATA, "numpy array"),
    refused("one row as a Series", lambda d: d.iloc[0], DATA, "Series", "to_frame"),
    refused("a list of dicts", lambda d: d.to_dict("records"), DATA, "list"),
    refused("columns on two levels", lambda d: pd.concat({"a": d}, axis=1), DATA, "MultiIndex"),
    refused("x twice", lambda d: pd.concat([d, d[["x"]]], axis=1), DATA, "2 columns called 'x'"),
    refused("x not there", lambda d: d.drop(columns="x"), UNKNOWN, "'x'"),
    refused("x under another name", lambda d: d.rename(columns={"x": "X"}), UNKNOWN, "'x'", "Did you mean 'X'?"),
    refused("g not there", lambda d: d.drop(columns="g"), UNKNOWN, "'g'", "'average'", "'population'"),
    refused("x as text", {"x": "1.5"}, DATA, "'x' was numeric in the fit"),
    refused("x as text of Arrow", {"x": pd.array(["1"] * 4, dtype="string[pyarrow]")}, DATA, "'x' was numeric"),
    refused("x as dates", {"x": pd.date_range("2020", periods=4)}, DATA, "'x' holds dates"),
    refused("x infinite", {"x": np.inf}, errors.NonFiniteError, "'x'", "4 infinite"),
    refused("x huge", {"x": 1e300}, DATA, "'x'", "Rescale"),
    refused("x mixed", {"x": [1.0, "a", None, 2]}, DATA, "'x'", "float"),
    refused("x complex", {"x": 1j}, DATA, "'x'", "complex"),
    refused("f unseen", {"f": "new"}, UNSEEN, "'f' has the level 'new'", "u, v, w"),
    refused("f empty text", {"f": ""}, UNSEEN, "'f' has the level ''"),
    refused("f as numbers", {"f": 1}, UNSEEN, "'f' has the level", "u, v, w"),
    refused("f as booleans", {"f": True}, UNSEEN, "'f'", "u, v, w"),
    refused("f unseen many times", {"f": [f"new {k}" for k in range(4)]}, UNSEEN, "'new 0', 'new 1'"),
    refused("f a level of 10000 letters", {"f": "a" * 10_000}, UNSEEN, "'f'"),
    refused("b as text", {"b": "yes"}, errors.InputError, "'b'"),
    refused("b as numbers beyond 0 and 1", {"b": 7}, errors.InputError, "'b'"),
    refused("g unseen", {"g": "zz"}, UNSEEN, "4 rows", "'zz'", "'average'"),
    refused("g missing", {"g": None}, UNSEEN, "4 rows", "missing values"),
    refused("g of lists", {"g": [["a"]] * 4}, DATA, "'g'", "list"),
    refused("groups that are not offered", None, INPUT, "'observed', 'new', 'average', 'population'", groups="all"),
    refused("groups of another type", None, INPUT, "groups", groups=3),
    refused("groups of an unknown factor", None, INPUT, "'school'", groups={"school": "new"}),
    refused("groups of a bad target", None, INPUT, "'nobody'", groups={"g": "nobody"}),
    refused("a kind that is not offered", None, INPUT, "kind", kind="odds"),
    refused("draws of zero", None, INPUT, "draws=0", draws=0),
    refused("draws of half", None, INPUT, "draws=0.5", draws=0.5),
    refused("draws as a text", None, INPUT, "draws='many'", draws="many"),
    refused("a seed of text", None, INPUT, "random_seed", draws=2, random_seed="seed"),
    refused("a negative seed", None, INPUT, "random_seed", draws=2, random_seed=-1),
    refused("an offset too short", None, DATA, "offset= has 2 values for 4 rows", offset=[1.0, 2.0]),
    refused("an offset of text", None, DATA, "offset= does not hold numbers", offset=["a"] * 4),
    refused("an offset of a column that is not there", None, UNKNOWN, "'oo'", offset="oo"),
    refused("an offset infinite", None, errors.InputError, "offset", offset=np.inf),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_new_rows(fit, case):
    rows, before = case.rows(), case.rows()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        if case.error is not None:
            with pytest.raises(Exception) as caught:  # noqa: PT011
                fit.predict(rows, **case.options)
            check_message(caught.value, case.error, case.words)
        else:
            found, expected = fit.predict(rows, **case.options), fit.predict(case.of(), **case.options)
            lost = np.isin(np.arange(len(expected)), case.missing)
            np.testing.assert_array_equal(np.isnan(found), lost)
            np.testing.assert_allclose(found.to_numpy()[~lost], expected.to_numpy()[~lost], rtol=1e-12)
            assert found.index.equals(getattr(rows, "index", pd.RangeIndex(len(found))))
    check_warnings(given, None)
    check_unchanged(rows, before)


def test_groups_whose_labels_changed_type():
    """Codes meet as numbers, text, categories and with .0, as they come back from files."""
    data = clean().assign(g=np.repeat(range(300, 310), 6))
    fit = blm.lmer("y ~ x + (x | g)", data)
    rows, known = data.iloc[[0, 20, 59]], fit.fitted()[[0, 20, 59]]
    for g in (
        rows["g"].astype(float),
        rows["g"].astype(str),
        rows["g"].astype("category"),
        rows["g"].astype(object),
        rows["g"].astype("Int64"),
        rows["g"].astype("string"),
        rows["g"].astype("int32[pyarrow]"),
    ):
        np.testing.assert_allclose(fit.predict(rows.assign(g=g)), known, rtol=1e-12)


def test_labels_beyond_what_floats_hold():
    data = clean().assign(g=(np.repeat(np.arange(10), 6).astype("uint64") + np.uint64(2**63)))
    fit = blm.lmer("y ~ x + (1 | g)", data)
    assert fit.ngroups == {"g": 10}
    for g in (data["g"], data["g"].astype(object), data["g"].astype(str)):
        np.testing.assert_allclose(fit.predict(data.assign(g=g)), fit.fitted(), rtol=1e-12)
    with pytest.raises(UNSEEN, match="9223372036854775820"):
        fit.predict(data.head(2).assign(g=np.uint64(2**63 + 12)))
