"""What a user does after a fit: intervals, predictions, simulations, other fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import progress


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit(sleep):
    return blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)


# -- intervals


def test_bootstrap_intervals_are_percentiles_of_the_replicates(fit):
    options = {"draws": 40, "random_seed": 1, "cores": 1, "progressbar": False}
    draws = fit.bootstrap(**options)
    table = fit.confint("boot", ci_prob=0.5, **options)
    assert draws.shape == (40, 6) and draws.attrs["failed"] == 0
    np.testing.assert_allclose(table["conf_low"], draws.quantile(0.25))
    np.testing.assert_allclose(table["conf_high"], draws.quantile(0.75))
    assert list(draws.columns) == list(zip(table["group"], table["term"], strict=True))
    assert list(table["term"]) == [
        "sd__Intercept",
        "sd__Days",
        "cor__Intercept.Days",
        "sd__Observation",
        "Intercept",
        "Days",
    ]
    np.testing.assert_allclose(table["estimate"].iloc[3:], [fit.sigma, *fit.fixef()["estimate"]])


def test_profile_for_plotting(fit):
    table = fit.profile(ci_prob=0.5, progressbar=False)
    for (_, term), curve in table.groupby(["group", "term"]):
        assert curve["value"].is_monotonic_increasing and curve["zeta"].is_monotonic_increasing, term
        assert curve["zeta"].iloc[0] <= -0.67 and curve["zeta"].iloc[-1] >= 0.67


def test_intervals_refuse_nonsense(fit):
    with pytest.raises(errors.InputError, match="profil"):
        fit.confint("profil")
    with pytest.raises(errors.InputError, match="95"):
        fit.confint(ci_prob=95)
    with pytest.raises(errors.InputError, match="draws=0"):
        fit.confint("boot", draws=0)
    with pytest.raises(errors.InputError, match="cores=0"):
        fit.bootstrap(10, cores=0)
    with pytest.raises(errors.InputError, match="'sattertwaite'"):
        fit.summary(ddf="sattertwaite")


def test_progress_is_shown_unless_refused(fit, capsys, monkeypatch):
    fit.bootstrap(3, random_seed=1, cores=1)
    assert capsys.readouterr().out == ""  # over before anyone could read it
    monkeypatch.setattr(progress, "SECONDS_UNSEEN", 0.0)
    fit.bootstrap(3, random_seed=1, cores=1)
    assert "Refitting" in capsys.readouterr().err
    fit.bootstrap(3, random_seed=1, cores=1, progressbar=False)
    assert capsys.readouterr().out == ""


# -- predictions


def test_predictions_of_the_rows_are_the_fitted_values(sleep, fit):
    np.testing.assert_allclose(fit.predict(), fit.fitted())
    np.testing.assert_allclose(fit.predict(sleep.sample(frac=1, random_state=1)).sort_index(), fit.fitted())


def test_predictions_by_target(sleep, fit):
    rows = sleep.head(3).drop(columns="Reaction")
    beta = fit.fixef()["estimate"].to_numpy()
    average = beta[0] + beta[1] * rows["Days"]
    for target in ("average", "population", "new"):
        np.testing.assert_allclose(fit.predict(rows.drop(columns="Subject"), groups=target), average)
    stranger = rows.assign(Subject="new one")
    np.testing.assert_allclose(fit.predict(stranger, groups={"Subject": "new"}), average)
    with pytest.raises(errors.UnseenLevelError, match=r"3 rows .*'new one'.*groups="):
        fit.predict(stranger)
    with pytest.raises(errors.InputError, match="'typical'"):
        fit.predict(rows, groups="typical")
    with pytest.raises(errors.InputError, match="'subject'"):
        fit.predict(rows, groups={"subject": "new"})
    with pytest.raises(errors.UnknownColumnError, match="Days"):
        fit.predict(rows.drop(columns="Days"))


def test_part_of_the_groups():
    pastes = blm.load_dataset("pastes")
    nested = blm.lmer("strength ~ 1 + (1 | batch/cask)", pastes)
    both, batch = nested.predict(pastes), nested.predict(pastes, groups={"batch:cask": "average"})
    cask = nested.ranef(wide=True).loc["batch:cask"]["Intercept"]
    added = (pastes["batch"].astype(str) + ":" + pastes["cask"].astype(str)).map(cask)
    np.testing.assert_allclose(both - batch, added)


def test_a_missing_predictor_gives_a_missing_prediction(sleep, fit):
    rows = sleep.head(3).assign(Days=[0.0, np.nan, 2.0])
    assert list(fit.predict(rows, groups="average").isna()) == [False, True, False]


def test_draws_for_new_groups_share_a_draw_by_label(sleep, fit):
    rows = pd.DataFrame({"Days": [0.0, 0.0, 0.0], "Subject": ["a", "a", "b"]})
    draws = fit.predict(rows, groups="new", draws=4000, random_seed=1)
    assert draws.dims == ("draw", "obs")
    same = np.corrcoef(draws.values, rowvar=False)
    assert same[0, 1] == pytest.approx(1.0) and abs(same[0, 2]) < 5 / np.sqrt(4000)
    sd = np.sqrt(fit.var_corr()["Subject"].loc["Intercept", "Intercept"])
    # the sd of 4,000 draws is known to 1.1 %
    assert draws.values[:, 0].std() == pytest.approx(sd, rel=0.056)
    response = fit.predict(rows, groups="new", draws=4000, random_seed=1, kind="response")
    assert response.values[:, 0].std() == pytest.approx(np.hypot(sd, fit.sigma), rel=0.056)
    known = fit.predict(sleep.head(2), draws=3, random_seed=1)
    np.testing.assert_allclose(known.values, np.tile(fit.fitted()[:2], (3, 1)))


def test_simulate(fit):
    table = fit.simulate(3, random_seed=1)
    assert table.shape == (180, 3) and list(table) == ["sim_1", "sim_2", "sim_3"]
    pd.testing.assert_frame_equal(table, fit.simulate(3, random_seed=1))
    kept = fit.simulate(400, random_seed=1, groups="observed")
    # the mean of 400 draws around the fitted value: σ/20, five of them
    assert np.abs(kept.mean(axis=1) - fit.fitted()).max() < 5 * fit.sigma / 20
    with pytest.raises(errors.InputError, match=r"simulate\(groups='typical'\)"):
        fit.simulate(groups="typical")


# -- other fits


def test_refit_recovers_what_was_simulated(sleep, fit):
    again = fit.refit(sleep["Reaction"])
    assert again.criterion == pytest.approx(fit.criterion, abs=1e-9)
    doubled = fit.refit(2 * sleep["Reaction"].to_numpy())
    assert doubled.sigma == pytest.approx(2 * fit.sigma, rel=1e-6)
    with pytest.raises(errors.DataError, match="180"):
        fit.refit([1.0, 2.0])
    with pytest.raises(errors.NonFiniteError, match="1 values"):
        fit.refit(sleep["Reaction"].where(sleep.index != 3))


def test_refit_takes_the_used_rows_of_a_longer_series(sleep):
    data = sleep.assign(Days=sleep["Days"].where(sleep.index != 5))
    with pytest.warns(errors.DroppedRowsWarning):
        fit = blm.lmer("Reaction ~ Days + (1 | Subject)", data)
    assert fit.refit(data["Reaction"]).criterion == pytest.approx(fit.criterion, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        (". ~ . - (Days | Subject) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)"),
        (". ~ . + I(Days**2)", "Reaction ~ Days + I(Days ** 2) + (Days | Subject)"),
        (". ~ . - Days", "Reaction ~ 1 + (Days | Subject)"),
        ("np.log(Reaction) ~ .", "np.log(Reaction) ~ Days + (Days | Subject)"),
        ("Reaction ~ (1 | Subject)", "Reaction ~ 1 + (1 | Subject)"),
    ],
)
def test_update(sleep, fit, change, whole):
    changed = fit.update(change)
    assert changed.design.formula.text == whole
    assert changed.criterion == pytest.approx(blm.lmer(whole, sleep).criterion, abs=1e-7)


def test_update_keeps_weights_criterion_and_columns_unused_so_far(sleep):
    data = sleep.assign(w=1.0 + sleep["Days"], z=np.sin(sleep["Days"] * 5.0))
    ml = blm.Model("Reaction ~ Days + (1 | Subject)", data, weights="w").fit_ml()
    changed = ml.update(". ~ . + z")
    expected = blm.Model("Reaction ~ Days + z + (1 | Subject)", data, weights="w").fit_ml()
    assert changed.criterion == pytest.approx(expected.criterion, abs=1e-8)
    shorter = ml.update(". ~ .", data=data[data["Days"] > 3])
    assert shorter.nobs == 108
    with pytest.raises(errors.FormulaError, match="no bar"):
        ml.update(". ~ . - (Days | Subject)")
    with pytest.raises(errors.FormulaError, match="change"):
        ml.update("+ z")


def test_pseudo_r2_of_linear_models_is_r2(sleep):
    ml, null = (blm.Model(f, sleep).fit_ml() for f in ("Reaction ~ Days", "Reaction ~ 1"))
    r2 = np.corrcoef(sleep["Days"], sleep["Reaction"])[0, 1] ** 2
    assert ml.pseudo_r2(null).loc["Residual", "pseudo_r2"] == pytest.approx(r2, rel=1e-9)
    reml, null = (blm.Model(f, sleep).fit_reml() for f in ("Reaction ~ Days", "Reaction ~ 1"))
    adjusted = 1 - (1 - r2) * 179 / 178
    assert reml.pseudo_r2(null).loc["Residual", "pseudo_r2"] == pytest.approx(adjusted, rel=1e-9)


def test_notebook_tables_are_html(fit):
    html = fit._repr_html_()
    assert html.count("<table") == 4 and "Pr(&gt;|t|)" in html and "<pre" not in html


# -- tidy tables


def test_tidy_has_brooms_columns(fit):
    table = fit.tidy()
    assert list(table) == [
        "effect",
        "group",
        "term",
        "estimate",
        "std_error",
        "df",
        "statistic",
        "p_value",
        "conf_low",
        "conf_high",
    ]
    assert list(table["term"]) == [
        "Intercept",
        "Days",
        "sd__Intercept",
        "sd__Days",
        "cor__Intercept.Days",
        "sd__Observation",
    ]
    assert (fit.tidy("fixed", ddf=None)["df"] == np.inf).all() and "p_value" not in fit.tidy("fixed", ddf=None)
    values = fit.tidy("ran_vals")
    assert len(values) == 36 and {"level", "std_error", "conf_low"} <= set(values)
    assert {"level", "std_error", "conf_low"} <= set(fit.tidy(["ran_coefs"]))
    with pytest.raises(errors.InputError, match="'random'"):
        fit.tidy("random")


def test_glance_is_one_row(sleep, fit):
    row = fit.glance()
    assert len(row) == 1 and row.loc[0, "reml_criterion"] == fit.criterion
    assert row.loc[0, "icc"] == pytest.approx(0.721658, abs=1e-6)  # performance::icc
    assert row.loc[0, "r2_conditional"] == pytest.approx(0.799219, abs=1e-6)
    linear = blm.Model("Reaction ~ Days", sleep).fit_ml().glance()
    assert np.isnan(linear.loc[0, "icc"]) and np.isnan(linear.loc[0, "reml_criterion"])
    assert linear.loc[0, "r2_marginal"] == linear.loc[0, "r2_conditional"]


def test_augment_adds_to_the_used_rows(sleep, fit):
    table = fit.augment()
    np.testing.assert_allclose(table["_fitted"] + table["_resid"], sleep["Reaction"])
    np.testing.assert_allclose(table["_fixed"], fit.predict(sleep, groups="average"))
    np.testing.assert_allclose(table["_scaled_resid"] * fit.sigma, table["_resid"])


# -- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.predict(draws=True), "draws=True"),
        (lambda f: f.predict(draws=0), "draws=0"),
        (lambda f: f.predict(kind="response"), "draws=1000"),
        (lambda f: f.icc(bootstrap=True), "bootstrap=True"),
        (lambda f: f.icc(bootstrap=2.5), "bootstrap=2.5"),
        (lambda f: f.bootstrap(2.5), "draws=2.5"),
        (lambda f: f.icc(at="Reaction"), "no predictor"),
        (lambda f: f.predict(groups={"Subject": "old"}), "'Subject': 'old'"),
    ],
)
def test_numbers_and_targets_that_make_no_sense(fit, call, message):
    with pytest.raises(errors.InputError, match=message):
        call(fit)


def test_a_dictionary_of_columns_is_a_table(fit):
    rows = pd.DataFrame({"Days": [1.0, 3.0]})
    pd.testing.assert_series_equal(
        fit.predict(rows.to_dict("list"), groups="average"), fit.predict(rows, groups="average")
    )
    with pytest.raises(errors.DataError, match="DataFrame"):
        fit.predict([{"Days": 1.0}], groups="average")


@pytest.mark.parametrize(("theirs", "ours"), [("VarCorr", "var_corr"), ("logLik", "loglik"), ("waic", "loo")])
def test_names_of_other_packages_are_answered_with_ours(fit, theirs, ours):
    assert not hasattr(fit, theirs)
    with pytest.raises(errors.RefusedVerbError, match=ours):
        getattr(fit, theirs)


def test_intervals_of_a_summary(sleep):
    post = blm.Model("Reaction ~ Days + (1 | Subject)", sleep).fit(random_seed=1)
    assert "95% equal-tailed" in str(post.summary())
    other = str(post.summary(ci_prob=0.995, ci_kind="hdi"))
    assert "99.5% highest-density" in other and "l-99.5% CI" in other
    with pytest.raises(errors.InputError, match="ci_kind"):
        post.summary(ci_kind="wald")
