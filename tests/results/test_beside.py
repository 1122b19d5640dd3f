"""Predictions beside their rows, and new groups without a column of labels."""

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.beside import beside_data
from bayeslmm.results.described import numbers_table, variables_table


@pytest.fixture(scope="module")
def fit():
    return blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def test_rows_stand_before_their_prediction(fit):
    rows = pd.DataFrame({"Subject": ["309", "308"], "Days": [3, 1], "unused": [0, 0]}, index=[7, 5])
    plain = fit.predict(rows)
    table = fit.predict(rows, with_data=True)
    assert table.columns.tolist() == ["Days", "Subject", "estimate", "target"]
    assert table.index.tolist() == [7, 5] and table["Days"].tolist() == [3, 1] and set(table["target"]) == {"observed"}
    assert np.array_equal(table["estimate"], plain)
    interval = fit.predict(rows, groups={"Subject": "average"}, interval="plug-in", with_data=True)
    assert set(interval["interval"]) == {"plug-in"} and set(interval["target"]) == {"Subject: average"}
    assert len(fit.predict(with_data=True)) == 180


def test_mixed_targets_are_told_row_by_row(fit):
    rows = pd.DataFrame({"Subject": ["309", "nobody"], "Days": [3, 1]})
    table = fit.predict(rows, groups="observed_or_new", with_data=True)
    assert table["target_Subject"].tolist() == ["observed", "new"]


def test_the_interval_of_draws_is_told(fit):
    table = pd.DataFrame({"mean": [1.0, 2.0], "conf_low": [0.0, 1.0], "conf_high": [2.0, 3.0]})
    rows = pd.DataFrame({"Days": [1, 2]})
    assert set(beside_data(table, fit.design, rows, "new", None, None)["interval"]) == {"95% equal-tailed"}
    assert set(beside_data(table, fit.design, rows, "new", 0.9, "hdi")["interval"]) == {"90% highest density"}
    twice = beside_data(pd.concat([table, table], ignore_index=True), fit.design, rows, "new", None, None)
    assert twice["Days"].tolist() == [1, 1, 2, 2]  # of categories every row has several


def test_draws_and_clashing_columns_are_refused(fit):
    with pytest.raises(errors.InputError, match="draws are no table"):
        fit.predict(draws=10, random_seed=1, with_data=True)
    table = pd.DataFrame({"Days": [1.0]})
    with pytest.raises(errors.InputError, match="'Days'; rename it"):
        beside_data(table, fit.design, pd.DataFrame({"Days": [1]}), "new", None, None)


def test_new_groups_need_no_labels(fit):
    rows = pd.DataFrame({"Days": [0, 9]})
    labelled = rows.assign(Subject="one")
    options = {"groups": "new", "interval": "plug-in"}
    pd.testing.assert_frame_equal(fit.predict(rows, **options), fit.predict(labelled, **options))
    drawn = {"groups": "new", "draws": 200, "random_seed": 1}
    assert np.array_equal(fit.predict(rows, **drawn), fit.predict(labelled, **drawn))
    with pytest.raises(errors.UnknownColumnError, match="to which Subject a row belongs"):
        fit.predict(rows)


def test_names_are_counted_and_centred_means_are_zero():
    sleep = blm.load_dataset("sleepstudy")
    sleep["centred"] = (sleep["Days"] - sleep["Days"].mean()) / 3.0
    table = str(variables_table(blm.Model("Reaction ~ centred + (1 | Subject)", sleep).design))
    assert "18 levels" in table and "308" not in table and "mean 0, sd" in table
    hsb = blm.load_dataset("hsb")[["ses", "mathach"]]  # ses is centred, to its three decimals
    assert "mean 0, sd 0.7794" in str(variables_table(blm.Model("mathach ~ ses", hsb).design))
    shown = str(numbers_table(pd.DataFrame({"mean": [0.25, 0.5], "sd": [0.1, 0.1], "p_positive": [np.nan, 0.924]})))
    assert "P(>0)" in shown and "0.924" in shown and "-" not in shown
