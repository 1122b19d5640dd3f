"""What a user gets for bad input: a typed error or warning that says what, where, which numbers, what to do."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

N = 60


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(list("abcdefghij"), 6), "x": rng.normal(size=N), "f": ["u", "v", "w"] * 20})
    data["y"] = data["x"] + np.repeat(rng.normal(size=10), 6) + rng.normal(size=N)
    data["z"] = np.repeat(rng.normal(size=10), 6)
    data["h"] = np.where(data["g"] < "e", "p", "q")
    return data


def with_value(value, at=3, fill=1.0):
    values = np.full(N, fill)
    values[at] = value
    return values


def mostly_numbers():
    return [f"{v:.3f}" for v in np.linspace(0, 1, N - 1)] + ["n/a"]


@pytest.mark.parametrize(
    ("change", "formula", "error", "words"),
    [
        # grouping factors
        ({"g": None}, "y ~ x + (1 | g)", errors.DataError, ["'g'", "all missing"]),
        ({"g": "a"}, "y ~ x + (1 | g)", errors.UnidentifiedTermError, ["one level", "'a'", "60"]),
        ({"g": range(N)}, "y ~ x + (1 | g)", errors.UnidentifiedTermError, ["60 levels for 60 rows", "residual"]),
        ({"g": np.arange(N) // 2}, "y ~ x + (f | g)", errors.UnidentifiedTermError, ["random effects for 60 rows"]),
        # response
        ({"y": 2.0}, "y ~ x + (1 | g)", errors.DataError, ["'y'", "2 in all 60 rows"]),
        ({"y": with_value(-np.inf)}, "y ~ x + (1 | g)", errors.NonFiniteError, ["'y'", "1 infinite", "row 3"]),
        ({"y": "high"}, "y ~ x + (1 | g)", errors.DataError, ["'y'", "numbers are needed"]),
        ({}, "np.log(y) ~ x + (1 | g)", errors.NonFiniteError, ["np.log(y)", "non-finite"]),
        # predictors
        ({"x": mostly_numbers()}, "y ~ x + (1 | g)", errors.DataError, ["'x'", "60 different", "'n/a'", "to_numeric"]),
        ({"x": mostly_numbers()}, "y ~ 1 + (x | g)", errors.DataError, ["'x'", "numbers as text"]),
        ({"x": [1.5, "n/a"] * 30}, "y ~ x + (1 | g)", errors.DataError, ["'x'", "float, str"]),
        ({"x": pd.date_range("2020", periods=N)}, "y ~ x + (1 | g)", errors.DataError, ["'x'", "dates"]),
        ({"x": pd.to_timedelta(range(N), unit="D")}, "y ~ x + (1 | g)", errors.DataError, ["durations"]),
        ({"x": 1j}, "y ~ x + (1 | g)", errors.DataError, ["complex"]),
        ({"x": with_value(np.inf)}, "y ~ x + (1 | g)", errors.NonFiniteError, ["'x'", "1 infinite", "row 3"]),
        ({"x": with_value(0.0, at=7)}, "y ~ np.log(x) + (1 | g)", errors.NonFiniteError, ["np.log(x)", "row 7"]),
        ({}, "y ~ np.sqrt(x) + (1 | g)", errors.NonFiniteError, ["np.sqrt(x)", "non-finite"]),
        ({"f": "same"}, "y ~ f + (1 | g)", errors.DataError, ["'f'", "one level", "'same'"]),
        ({}, "y ~ q + (1 | g)", errors.UnknownColumnError, ["'q'", "The columns are"]),
        # formula
        ({}, "y ~ x < 3 + (1 | g)", errors.FormulaError, ["I(x < 3)."]),
        ({}, "y ~ f + x > 2", errors.FormulaError, ["I(x > 2)."]),
    ],
)
def test_errors(base, change, formula, error, words):
    data = base.assign(**{k: list(v) if isinstance(v, range) else v for k, v in change.items()})
    with pytest.raises(error) as caught:
        blm.Model(formula, data).fit_reml()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_weights_are_positive(base, bad):
    for given in ({"weights": with_value(bad)}, {"weights": "w"}):
        with pytest.raises(errors.DataError, match=r"1 are not \(row 3\)"):
            blm.Model("y ~ x + (1 | g)", base.assign(w=with_value(bad)), **given)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"weights": np.ones(5)}, errors.DataError, "weights= has 5 values for 60 rows"),
        ({"weights": ["heavy"] * N}, errors.DataError, "weights= does not hold numbers"),
        ({"weights": "ww"}, errors.UnknownColumnError, r"'ww' \(weights=\)"),
        ({"offset": np.ones(5)}, errors.DataError, "offset= has 5 values for 60 rows"),
        ({"offset": with_value(np.inf)}, errors.NonFiniteError, r"offset holds 1 infinite value \(row 3\)"),
        ({"offset": "oo"}, errors.UnknownColumnError, r"'oo' \(offset=\)"),
    ],
)
def test_weights_and_offset_of_the_wrong_kind(base, given, error, words):
    with pytest.raises(error, match=words):
        blm.Model("y ~ x + (1 | g)", base, **given)


def test_missing_values_are_dropped_once_and_counted(base):
    data = base.assign(g=base["g"].where(base.index > 5), x=base["x"].where(base.index != 8))
    with pytest.warns(errors.DroppedRowsWarning, match=r"7 of 60 rows .*(g 6, x 1|x 1, g 6)"):
        assert blm.Model("y ~ x + (1 | g)", data).fit_reml().nobs == 53
    with pytest.warns(errors.DroppedRowsWarning, match="offset 1"):
        assert blm.Model("y ~ x + (1 | g)", base, offset=with_value(np.nan)).fit_reml().nobs == 59


def test_a_level_with_one_row_is_fine(base):
    fit = blm.lmer("y ~ x + (1 | g)", base.assign(g=["alone", *base["g"][1:]]))
    assert fit.ngroups == {"g": 11} and fit.solution.status == "converged"


@pytest.mark.parametrize(("formula", "column"), [("y ~ z + (z | g)", "z"), ("y ~ 1 + (h | g)", "h[q]")])
def test_a_slope_that_varies_within_no_level_is_doubtful(base, formula, column):
    with pytest.warns(errors.WeaklyIdentifiedWarning) as caught:
        blm.Model(formula, base)
    message = str(caught[0].message)
    assert column in message and "none of the 10 levels of g" in message and "(1 | g)" in message


def test_slopes_that_vary_somewhere_are_not(base):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blm.Model("y ~ z + (z | g)", base.assign(z=base["z"].where(base.index != 1, 5.0)))
        blm.Model("y ~ z + (0 + z | g)", base)
        blm.Model("y ~ f + (f | g)", base)


@pytest.mark.parametrize(("extra", "name"), [({"k": 3.0}, "k"), ({"k": "twice x"}, "k")])
def test_aliased_columns_are_named_and_dropped(base, extra, name):
    data = base.assign(k=2 * base["x"] if extra["k"] == "twice x" else extra["k"])
    with pytest.warns(errors.AliasedColumnsWarning, match=f"{name} left out"):
        fit = blm.lmer(f"y ~ x + {name} + (1 | g)", data)
    assert list(fit.fixef().index) == ["Intercept", "x"]
    assert f"linearly dependent): {name}" in str(fit.summary())


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, 2, 3] * 20, dtype="Int64"),
        pd.array([True, False] * 30, dtype="boolean"),
        np.array([True, False] * 30),
        pd.Categorical(["u", "v", "w"] * 20, categories=["u", "v", "w", "never"]),
        [str(v) for v in range(5)] * 12,  # few codes as text are a factor
    ],
)
def test_good_columns_of_unusual_types(base, values):
    fit = blm.lmer("y ~ k + (1 | g)", base.assign(k=values))
    assert fit.nobs == N and not any("never" in name for name in fit.fixef().index)


def test_too_few_rows(base):
    with pytest.raises(errors.DataError, match="6 columns for 5 rows"):
        blm.Model("y ~ f * x + (1 | g)", base.iloc[:5])
    with pytest.raises(errors.DataError, match="no rows"):
        blm.Model("y ~ x + (1 | g)", base.iloc[:0])


def test_tables_of_the_wrong_kind(base):
    twice = base.set_axis(["g", "x", "f", "y", "x", "h"], axis=1)
    with pytest.raises(errors.DataError, match="2 columns called 'x'"):
        blm.Model("y ~ x + (1 | g)", twice)
    with pytest.raises(errors.DataError, match="columns of different lengths"):
        blm.Model("y ~ x + (1 | g)", {"y": [1.0], "x": [1.0, 2.0]})
    for table in ([1.0], base.to_numpy()):
        with pytest.raises(errors.DataError, match="DataFrame"):
            blm.Model("y ~ x + (1 | g)", table)
    fit = blm.lmer("y ~ `my x` + (1 | g)", base.rename(columns={"x": "my x"}).set_axis([0] * N))
    assert list(fit.fixef().index) == ["Intercept", "my x"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": None}, errors.UnknownColumnError, "'x'"),
        ({"f": "new"}, errors.UnseenLevelError, "'f' has the level 'new'.*u, v, w"),
        ({"g": "zz"}, errors.UnseenLevelError, "3 rows.*'zz'.*'average'"),
        ({"x": "1.5"}, errors.DataError, "'x' was numeric"),
        ({"x": np.inf}, errors.NonFiniteError, "3 infinite"),
    ],
)
def test_new_data(base, change, error, words):
    fit = blm.lmer("y ~ x + f + (1 | g)", base)
    rows = base.head(3).drop(columns="x") if change.get("x", 0) is None else base.head(3).assign(**change)
    with pytest.raises(error, match=words):
        fit.predict(rows)


def test_codes_of_groups_match_across_types(base):
    codes = base.assign(g=np.repeat(range(300, 310), 6))
    fit = blm.lmer("y ~ x + (1 | g)", codes)
    for g in (300, 300.0, "300"):
        np.testing.assert_allclose(fit.predict(codes.head(3).assign(g=g)), fit.fitted()[:3])
