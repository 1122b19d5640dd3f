"""No and complete pooling are plain least squares."""

from __future__ import annotations

import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError
from bayeslmm.spec.design import build_design


@pytest.fixture(scope="module")
def design():
    return build_design("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def test_complete_pooling_is_least_squares(design):
    data = blm.load_dataset("sleepstudy")
    slope, intercept = np.polyfit(data["Days"], data["Reaction"], 1)
    np.testing.assert_allclose(blm.complete_pooling(design), [intercept, slope], rtol=1e-10)


def test_no_pooling_is_least_squares_per_group(design):
    data = blm.load_dataset("sleepstudy")
    table = blm.no_pooling(design)
    for level, rows in data.groupby("Subject"):
        slope, intercept = np.polyfit(rows["Days"], rows["Reaction"], 1)
        np.testing.assert_allclose(table.loc[level], [intercept, slope], rtol=1e-9)


def test_a_level_with_too_few_rows_is_missing_not_dropped():
    data = blm.load_dataset("sleepstudy").iloc[9:]  # one row of the first subject is left
    table = blm.no_pooling(build_design("Reaction ~ Days + (Days | Subject)", data))
    assert table.iloc[0].isna().all() and table.iloc[1:].notna().all().all()


def test_which_factor_must_be_said(design):
    two = build_design("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    with pytest.raises(InputError, match="'plate', 'sample'"):
        blm.no_pooling(two)
    assert len(blm.no_pooling(two, "sample")) == 6
    with pytest.raises(InputError, match="'School'"):
        blm.no_pooling(design, "School")
