"""Fits of imputed tables as one, against mice."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

FOLDER = pathlib.Path(__file__).parents[1] / "reference"
WANTED = json.loads((FOLDER / "imputed.json").read_text(encoding="utf-8"))


def wanted(table, column):
    return [row[WANTED[table]["columns"].index(column)] for row in WANTED[table]["rows"]]


@pytest.fixture(scope="module")
def tables():
    data = pd.read_csv(FOLDER / "imputed.csv")
    return [table.reset_index(drop=True) for _, table in data.groupby("imp")]


@pytest.fixture(scope="module")
def imputed(tables):
    return blm.fit_imputed(WANTED["formula_py"], tables)


@pytest.mark.reference
def test_rubins_rules_are_those_of_mice(imputed):
    table = imputed.fixef()
    columns = {
        "estimate": "estimate",
        "std_error": "SE",
        "df": "df",
        "statistic": "t",
        "conf_low": "lower",
        "conf_high": "upper",
        "p_value": "p",
    }
    for ours, theirs in columns.items():
        np.testing.assert_allclose(table[ours], wanted("pooled", theirs), rtol=1e-5)
    np.testing.assert_allclose(table["between_share"], wanted("parts", "lambda"), rtol=1e-5)
    np.testing.assert_allclose(table["fmi"], wanted("parts", "fmi"), rtol=1e-5)
    np.testing.assert_allclose(np.diag(imputed.vcov()), wanted("parts", "total"), rtol=1e-6)


@pytest.mark.reference
def test_the_joint_test_is_that_of_mice(imputed):
    found, D1 = imputed.test("ses = 0, minority[Yes] = 0").iloc[0], WANTED["D1"]
    assert found["f"] == pytest.approx(D1["F"], rel=1e-6)
    assert found["den_df"] == pytest.approx(D1["df2_reiter"], rel=1e-6)
    assert found["p_value"] == pytest.approx(D1["p_reiter"], rel=1e-5)
    assert imputed.test("ses = 0, 2 * ses = 0")["num_df"].iloc[0] == 1


def test_tables_that_are_alike_are_one_table():
    sleep = blm.load_dataset("sleepstudy")
    found = blm.fit_imputed("Reaction ~ Days + (Days | Subject)", [sleep, sleep])
    single = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep).fixef()
    np.testing.assert_allclose(found.fixef()["std_error"], single["std_error"])
    assert (found.fixef()["between_share"] == 0.0).all()
    np.testing.assert_allclose(
        found.test("Days = 10")["f"], ((single.loc["Days", "estimate"] - 10) / single.loc["Days", "std_error"]) ** 2
    )
    assert "the tables do not differ" in found.verdict


def test_means_and_trends_are_pooled_as_coefficients_are(imputed):
    """A difference of means is a coefficient, whatever stands at the means of the tables."""
    pair, coefficients = imputed.means("sector").contrasts("reverse", adjust="none").table.iloc[0], imputed.fixef()
    slope = imputed.trends("ses").table.iloc[0]
    for found, name in ((pair, "sector[Public]"), (slope, "ses")):
        for column in ("estimate", "std_error", "df", "conf_low", "conf_high"):
            assert found[column] == pytest.approx(coefficients.loc[name, column], rel=1e-8), (name, column)
    means = imputed.means("sector")
    single = [fit.means("sector").table["estimate"] for fit in imputed.fits]
    np.testing.assert_allclose(means.table["estimate"], np.mean(single, axis=0), rtol=1e-3)  # ses at the mean of means
    assert "Barnard-Rubin df" in str(means) and "5 imputed tables" in str(means)
    with pytest.raises(errors.InputError, match="Barnard and Rubin"):
        imputed.means("sector", ddf=None)


def test_comparisons_and_slopes_are_pooled_as_coefficients_are(imputed):
    """In a linear model they are coefficients."""
    for found, name in ((imputed.slopes("ses"), "ses"), (imputed.comparisons("sector"), "sector[Public]")):
        wanted = imputed.fixef().loc[name]
        for column in ("estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high", "between_share"):
            assert found[column].iloc[0] == pytest.approx(wanted[column], rel=1e-6), column
    ratio = imputed.comparisons("sector", kind="ratio").iloc[0]
    assert ratio["statistic"] == pytest.approx(np.log(ratio["estimate"]) / (ratio["std_error"] / ratio["estimate"]))
    for options, message in (({"ddf": None}, "Barnard"), ({"draws": True}, "every fit")):
        with pytest.raises(errors.InputError, match=message):
            imputed.slopes("ses", **options)
    with pytest.raises(errors.NotAvailableError, match="how='posterior'"):
        imputed.hypothesis("ses > 0")


def test_posteriors_are_stacked(tables):
    found = blm.fit_imputed(
        WANTED["formula_py"], tables[:2], how="posterior", sampling={"random_seed": 1, "progressbar": False}
    )
    draws = np.concatenate([fit.draws("beta") for fit in found.fits])
    np.testing.assert_allclose(found.fixef()["mean"], draws.mean(axis=(0, 1)))
    assert found.draws("sigma").shape == (8, 1000)
    assert found.parameters()["mean"].iloc[-1] == pytest.approx(found.draws("sigma").mean())
    assert found.fixef()["between_share"].between(0, 1).all()
    np.testing.assert_allclose(found.fixef()["p_positive"], (draws > 0).mean(axis=(0, 1)))
    pair = found.means("sector").pairs()
    assert pair.table["mean"].iloc[0] == pytest.approx(-found.fixef().loc["sector[Public]", "mean"])
    assert pair.draws().sizes["chain"] == 8
    assert "draws stacked" in str(found)
    share = found.hypothesis("ses > 1, sd(Intercept | school) > 2")["probability"]
    sds = np.concatenate([fit.draws(fit.design.names.sd["school"]) for fit in found.fits])
    np.testing.assert_allclose(share, [(draws[..., 1] > 1).mean(), (sds > 2).mean()])
    slope = found.slopes("ses").iloc[0]
    of_ses = found.fixef().loc["ses"]
    for ours, theirs in (("estimate", "mean"), ("std_error", "sd"), ("conf_low", "conf_low")):
        assert slope[ours] == pytest.approx(of_ses[theirs], rel=1e-6)
    assert slope["p_positive"] == pytest.approx(of_ses["p_positive"])
    with pytest.raises(errors.NotAvailableError, match="probabilities"):
        found.test("ses = 0")


def test_what_rests_on_the_imputer_is_said():
    rng = np.random.default_rng(1)
    sleep = blm.load_dataset("sleepstudy")
    noisy = [sleep.assign(x=rng.normal(size=len(sleep))) for _ in range(3)]
    noisy = [table.assign(Reaction=table["Reaction"] + 30 * k * table["x"]) for k, table in enumerate(noisy, start=-1)]
    found = blm.fit_imputed("Reaction ~ Days + x + (1 | Subject)", noisy)
    assert "more than half of the variance is between imputations for x" in found.verdict


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda tables: tables[:1], {}, "two or more"),
        (lambda tables: [tables[0], tables[1].iloc[10:]], {}, "517 rows, the first 527"),
        (lambda tables: [tables[0], tables[1].assign(sex="Male")], {}, "one level"),
        (lambda tables: [tables[0], tables[1].replace({"sector": {"Public": "State"}})], {}, "other columns"),
        (lambda tables: [tables[0], tables[1].replace({"school": {1436: 9999}})], {}, "other levels of 'school'.*9999"),
        (lambda tables: tables, {"how": "bayes"}, "'reml', 'ml', 'posterior'"),
        (lambda tables: tables, {"sampling": {"draws": 5}}, "belong to how='posterior'"),
        (lambda tables: pd.concat(tables), {}, "a list of tables"),
    ],
)
def test_what_cannot_be_pooled_is_refused(tables, change, options, message):
    with pytest.raises(errors.BayesLMMError, match=message):
        blm.fit_imputed(WANTED["formula_py"], change(tables), **options)


def test_point_fits_have_no_draws(imputed):
    with pytest.raises(errors.NotAvailableError, match="how='posterior'"):
        imputed.draws("beta")
