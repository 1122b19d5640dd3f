"""`center_within`: group means, deviations from them, and tables that are not as they should be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import DataError, InputError, UnknownColumnError


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "g": ["a", "b", "a", "b", "c", "a"],
            "h": [1, 1, 2, 1, 2, 1],
            "x": [1.0, 2.0, 5.0, 4.0, 7.0, 3.0],
            "n": [1, 2, 3, 4, 5, 6],
        }
    )


def test_means_and_deviations_by_hand(table):
    split = blm.center_within(table, "x", by="g")
    assert list(split) == ["g", "h", "x", "n", "x_mean", "x_within"]
    assert split["x_mean"].tolist() == [3.0, 3.0, 3.0, 3.0, 7.0, 3.0]
    assert split["x_within"].tolist() == [-2.0, -1.0, 2.0, 1.0, 0.0, 0.0]


def test_several_columns_by_combinations(table):
    split = blm.center_within(table, ["x", "n"], by=["g", "h"])
    assert list(split)[4:] == ["x_mean", "x_within", "n_mean", "n_within"]
    for name in ("x", "n"):
        for i, row in table.iterrows():
            same = (table["g"] == row["g"]) & (table["h"] == row["h"])
            assert split.loc[i, f"{name}_mean"] == pytest.approx(table.loc[same, name].mean())
        np.testing.assert_allclose(split[f"{name}_within"] + split[f"{name}_mean"], table[name])


def test_the_two_parts_are_orthogonal_and_add_up():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": rng.integers(0, 30, 400), "x": 1e6 + rng.normal(size=400)})
    split = blm.center_within(data, "x", by="g")
    np.testing.assert_allclose(split["x_within"] + split["x_mean"], data["x"], rtol=1e-15)
    # sums of 400 numbers of size one, known to 1e-10 as x itself has 16 digits of a million
    assert split.groupby("g")["x_within"].sum().abs().max() < 1e-8
    assert abs((split["x_within"] * (split["x_mean"] - 1e6)).sum()) < 1e-6


def test_the_given_table_stays_as_it_is(table):
    before = table.copy(deep=True)
    split = blm.center_within(table, ["x", "n"], by="g")
    split["x"] = split.loc[:, "n"] = 0
    pd.testing.assert_frame_equal(table, before)


def test_missing_values_do_not_count(table):
    table.loc[2, "x"] = np.nan
    split = blm.center_within(table, "x", by="g")
    assert split["x_mean"].tolist() == [2.0, 3.0, 2.0, 3.0, 7.0, 2.0]
    assert split["x_within"].isna().tolist() == [False, False, True, False, False, False]
    table.loc[4, "x"] = np.nan  # all of a group
    split = blm.center_within(table, "x", by="g")
    assert split["x_mean"].isna().tolist() == [False] * 4 + [True, False]


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_rows_without_a_group_have_neither_part(table, dtype):
    table["g"] = pd.Series(["a", None, "a", "b", "c", "a"], dtype=object).astype(dtype)
    split = blm.center_within(table, "x", by="g")
    assert split["x_mean"].isna().tolist() == split["x_within"].isna().tolist() == [False, True] + [False] * 4
    assert split["x_mean"].iloc[3] == 4.0  # of what is left of b


def test_categories_that_no_row_has_are_no_groups(table):
    table["g"] = pd.Categorical(table["g"], categories=["z", "c", "b", "a"])
    table["h"] = pd.Categorical(table["h"], categories=[2, 3, 1])
    split = blm.center_within(table, "x", by=["g", "h"])
    assert split["x_mean"].tolist() == [2.0, 3.0, 5.0, 3.0, 7.0, 2.0]
    assert list(split["g"].cat.categories) == ["z", "c", "b", "a"]


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "int64[pyarrow]", "double[pyarrow]"])
def test_nullable_and_arrow_numbers(table, dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    table["n"] = pd.array([1, 2, None, 4, 5, 6], dtype=dtype)
    split = blm.center_within(table, "n", by="g")
    assert split["n_mean"].dtype == split["n_within"].dtype == np.float64
    assert split["n_mean"].tolist() == [3.5, 3.0, 3.5, 3.0, 5.0, 3.5]
    np.testing.assert_array_equal(split["n_within"], [-2.5, -1.0, np.nan, 1.0, 0.0, 2.5])
    assert split["n"].dtype == dtype


@pytest.mark.parametrize(
    "index", [[3, 1, 4, 1, 5, 9], ["r", "r", "r", "r", "r", "r"], pd.date_range("2020-01-01", periods=6)]
)
def test_the_index_stays(table, index):
    indexed = blm.center_within(table.set_axis(index), "x", by="g")
    assert list(indexed.index) == list(index)
    plain = blm.center_within(table, "x", by="g")
    np.testing.assert_array_equal(indexed["x_mean"], plain["x_mean"])
    np.testing.assert_array_equal(indexed["x_within"], plain["x_within"])


def test_names_of_the_parts(table):
    split = blm.center_within(table, ["x", "n"], by="g", mean="mean_{}", within="c{}")
    assert list(split)[4:] == ["mean_x", "cx", "mean_n", "cn"]
    assert {"between", "within"} <= set(blm.center_within(table, "x", by="g", mean="between", within="within"))


@pytest.mark.parametrize(
    ("columns", "names", "taken"),
    [
        ("x", {"mean": "n"}, "n"),
        ("x", {"within": "{}"}, "x"),
        ("x", {"mean": "both", "within": "both"}, "both"),
        (["x", "n"], {"mean": "mean"}, "mean"),
        (["x", "x"], {}, "x_mean"),
    ],
)
def test_a_name_that_is_taken(table, columns, names, taken):
    with pytest.raises(InputError, match=f"'{taken}' already"):
        blm.center_within(table, columns, by="g", **names)


@pytest.mark.parametrize("names", [{"mean": "{column}_mean"}, {"within": "{}_{0}"}, {"mean": "{"}])
def test_a_pattern_that_is_none(table, names):
    with pytest.raises(InputError, match="pattern"):
        blm.center_within(table, "x", by="g", **names)


def test_what_cannot_be_split(table):
    with pytest.raises(UnknownColumnError, match=r"'X' .*'x'"):
        blm.center_within(table, "X", by="g")
    with pytest.raises(UnknownColumnError, match="'school'"):
        blm.center_within(table, "x", by=["g", "school"])
    with pytest.raises(DataError, match="'g' holds"):
        blm.center_within(table, "g", by="h")
    with pytest.raises(DataError, match="'yes' holds bool"):
        blm.center_within(table.assign(yes=True), "yes", by="g")
    with pytest.raises(DataError, match="'when' holds datetime"):
        blm.center_within(table.assign(when=pd.Timestamp("2020-01-01")), "when", by="g")
    twice = pd.concat([table, table[["x"]]], axis=1)
    with pytest.raises(DataError, match="2 columns called 'x'"):
        blm.center_within(twice, "x", by="g")
    with pytest.raises(DataError, match="2 columns called 'g'"):
        blm.center_within(pd.concat([table, table[["g"]]], axis=1), "x", by="g")
    for columns, by in (([], "g"), ("x", [])):
        with pytest.raises(InputError, match="needed"):
            blm.center_within(table, columns, by=by)
    with pytest.raises(DataError, match="DataFrame"):
        blm.center_within([1.0], "x", by="g")
    with pytest.raises(DataError, match="no rows"):
        blm.center_within(table.iloc[:0], "x", by="g")


def test_hsb_has_been_split_this_way():
    hsb = blm.load_dataset("hsb")
    split = blm.center_within(hsb.drop(columns=["cses", "mean_ses"]), "ses", by="school", mean="mean_{}", within="c{}")
    np.testing.assert_allclose(split["mean_ses"], hsb["mean_ses"], atol=1e-6)
    np.testing.assert_allclose(split["cses"], hsb["cses"], atol=1e-6)
    assert split["cses"].abs().max() > 1  # and these are not all near zero
