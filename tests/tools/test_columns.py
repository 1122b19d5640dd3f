"""Columns without a table around them, and what is kept between small fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.results.tables import FEW, level_labels, named_square
from bayeslmm.tools.frame import Columns
from bayeslmm.tools.hints import with_hints


def test_columns_are_a_table_when_one_is_asked_for():
    table = pd.DataFrame({"x": [1.0, 2.0], "g": ["a", "b"]}, index=[3, 7])
    columns = Columns({name: table[name] for name in table}, table.index)
    assert len(columns) == 2
    assert columns.columns == ["x", "g"]
    pd.testing.assert_frame_equal(columns.frame, table)
    assert columns.frame is columns.frame
    pd.testing.assert_frame_equal(columns[["g"]], table[["g"]])
    pd.testing.assert_series_equal(columns["x"], table["x"])


def test_a_design_keeps_its_columns_when_the_table_changes():
    sleep = blm.load_dataset("sleepstudy").copy()
    design = blm.Model("Reaction ~ Days + (1 | Subject)", sleep).design
    before = float(sleep.loc[0, "Days"])
    sleep.loc[0, "Days"] = 99
    assert design.frame["Days"].iloc[0] == before
    assert list(design.frame) == ["Reaction", "Days", "Subject"]


def test_missing_rows_leave_columns_of_every_kind():
    n = 12
    table = pd.DataFrame(
        {
            "y": np.arange(n, dtype=float) ** 1.5,
            "f": pd.Categorical(["u", "v", "w"] * 4),
            "g": ["a", "b", "c", "d"] * 3,
            "k": pd.array([1, 2, 5, 4] * 3, dtype="Int64"),
        }
    )
    table.loc[[2, 5], "y"] = np.nan
    with pytest.warns(blm.errors.DroppedRowsWarning):
        design = blm.Model("y ~ f + k + (1 | g)", table).design
    whole = blm.Model("y ~ f + k + (1 | g)", table.dropna()).design
    np.testing.assert_array_equal(design.X, whole.X)
    np.testing.assert_array_equal(design.groups[0].codes, whole.groups[0].codes)
    pd.testing.assert_frame_equal(design.frame, whole.frame)


def test_a_name_given_to_an_index_stays_with_its_table():
    one = named_square(np.eye(2), ("a", "b"))
    one.index.name = "mine"
    other = named_square(np.eye(2), ("a", "b"))
    assert other.index.name is None
    assert other.columns.name is None


@pytest.mark.parametrize("levels", [["s", "t"], [1, 2], ["b", 3]], ids=["text", "numbers", "mixed"])
def test_few_and_many_labels_are_alike(levels, monkeypatch):
    few = pd.DataFrame(level_labels([("g", levels, ["Intercept", "x"])]))
    monkeypatch.setattr("bayeslmm.results.tables.FEW", 0)
    many = pd.DataFrame(level_labels([("g", levels, ["Intercept", "x"])]))
    pd.testing.assert_frame_equal(few, many)
    assert FEW > 0


def test_arguments_that_are_wrong_are_still_said_so():
    @with_hints
    def verb(self, a, b=1, *, c=2):
        return a, b, c

    assert verb(None, 1, c=3) == (1, 1, 3)
    assert verb(None, a=1, b=2) == (1, 2, 2)
    for arguments, options in (((None,), {}), ((None, 1), {"a": 2}), ((None, 1), {"d": 2})):
        with pytest.raises(blm.errors.UnknownArgumentError):
            verb(*arguments, **options)


@pytest.mark.parametrize("value", ["no", "False", 0, None])
def test_what_is_true_or_false_is_no_text(value):
    """Of Python's own, every text but the empty one counts as true."""

    @with_hints
    def verb(self, wide: bool = False, *, draws: bool = True):
        return wide, draws

    assert verb(None, np.bool_(True), draws=False) == (True, False)
    for arguments, options in (((None, value), {}), ((None,), {"wide": value}), ((None,), {"draws": value})):
        with pytest.raises(blm.errors.InputError, match="is True or False"):
            verb(*arguments, **options)
