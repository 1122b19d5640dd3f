"""τ², I², H² and Q of models with known standard errors: metafor's numbers, definitions, and both kinds of fit."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.engine import pooling as engine
from bayeslmm.engine.scaling import Problem
from bayeslmm.results.heterogeneity import averages

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")


@pytest.fixture(scope="module")
def bcg():
    return blm.load_dataset("bcg")


@pytest.fixture(scope="module")
def post(bcg):
    return blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit(draws=500, random_seed=1, progressbar=False)


def numbers(table):
    return table.set_index(["group", "quantity"])


def test_metafors_numbers(bcg):
    """``rma(y, v)`` and ``confint()`` of it, as documented for these data (``dat.bcg``)."""
    found = numbers(blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml().heterogeneity())
    assert found.loc[("", "Q"), "estimate"] == pytest.approx(152.2330, abs=1e-4)
    assert found.loc[("trial", "I2"), "estimate"] == pytest.approx(0.922214, abs=1e-6)
    assert found.loc[("", "H2"), "estimate"] == pytest.approx(12.86, abs=5e-3)
    wanted = {"tau2": (0.1197, 1.1115), "tau": (0.3460, 1.0543), "I2": (0.8192, 0.9768)}
    for quantity, ends in wanted.items():
        row = found.loc[("trial", quantity)]
        assert (row.conf_low, row.conf_high) == pytest.approx(ends, abs=6e-5)


def test_metafors_numbers_with_a_moderator(bcg):
    found = numbers(blm.Model("y ~ ablat + (1 | trial)", bcg, se="se").fit_reml().heterogeneity())
    assert found.loc[("trial", "I2"), "estimate"] == pytest.approx(0.6839, abs=5e-5)
    assert found.loc[("", "Q"), "estimate"] == pytest.approx(30.7331, abs=1e-4)
    assert found.loc[("", "Q"), "p_value"] == pytest.approx(0.0012, abs=5e-5)
    # metafor stops its search at 1e-5 of tau² by default and prints 16.3571
    assert found.loc[("", "QM"), "estimate"] == pytest.approx(16.357, abs=2e-3)


def test_the_intervals_of_z_are_metafors(bcg):
    fit = blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml()
    new = pd.DataFrame({"trial": ["another"]})
    found = fit.predict(new, groups="new", interval="plug-in", ddf=None).iloc[0]
    assert (found.conf_low, found.conf_high) == pytest.approx((-1.8667, 0.4376), abs=5e-5)
    own = fit.fixef(ddf=None).iloc[0]
    assert (own.conf_low, own.conf_high) == pytest.approx((-1.0669, -0.3622), abs=5e-5)


def test_levels_add_up():
    data = blm.load_dataset("konstantopoulos")
    fit = blm.Model("y ~ 1 + (1 | district/school)", data, se="se").fit_reml()
    found = numbers(fit.heterogeneity())
    assert found.loc[("", "Q"), "estimate"] == pytest.approx(578.8640, abs=1e-4)
    for quantity in ("tau2", "I2"):
        parts = found.loc[("district", quantity), "estimate"] + found.loc[("district:school", quantity), "estimate"]
        assert found.loc[("", quantity), "estimate"] == pytest.approx(parts)
    # without predictors the typical row is that of I²
    assert found.loc[("", "I2"), "estimate"] == pytest.approx(fit.icc().loc["adjusted", "estimate"])
    assert found.conf_low.isna().all()


def test_a_posterior_has_the_same_quantities(bcg, post):
    point = numbers(blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml().heterogeneity())
    found = numbers(post.heterogeneity())
    assert list(found.index) == list(point.index)
    assert found.loc[("", "Q"), "mean"] == pytest.approx(point.loc[("", "Q"), "estimate"])
    tau = post.draws("sd_trial").ravel()
    assert found.loc[("trial", "tau"), "mean"] == pytest.approx(tau.mean())
    s2 = point.loc[("trial", "tau2"), "estimate"] / (point.loc[("", "H2"), "estimate"] - 1.0)
    assert found.loc[("trial", "I2"), "median"] == pytest.approx(np.median(tau**2 / (tau**2 + s2)))


def test_a_common_effect_has_Q_only(bcg):
    fit = blm.Model("y ~ 1", bcg, se="se").fit_reml()
    assert list(fit.heterogeneity()["quantity"]) == ["Q"]
    assert fit.fixef().loc["Intercept", "std_error"] == pytest.approx(np.sum(bcg.se**-2.0) ** -0.5)


def test_no_heterogeneity():
    found = numbers(
        blm.Model("y ~ 1 + (1 | school)", blm.load_dataset("eight_schools"), se="se").fit_reml().heterogeneity()
    )
    assert found.loc[("school", "tau2"), "estimate"] == 0.0
    assert found.loc[("school", "tau2"), "conf_low"] == 0.0
    assert found.loc[("", "H2"), "estimate"] == 1.0
    assert found.loc[("", "Q"), "estimate"] == pytest.approx(4.7071, abs=1e-4)


def test_estimated_residuals_are_refused():
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    with pytest.raises(errors.NotAvailableError, match="one residual variance for all rows"):
        fit.heterogeneity()


def test_averages_are_those_of_predict(bcg, post):
    fit = blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml()
    found = averages(fit, 0.95)
    new = fit.predict(pd.DataFrame({"trial": ["another"]}), groups="new", interval="plug-in").iloc[0]
    assert tuple(found.loc["new study"]) == pytest.approx((new.estimate, new.conf_low, new.conf_high))
    mean = fit.fixef().iloc[0]
    assert tuple(found.loc["mean"]) == pytest.approx((mean.estimate, mean.conf_low, mean.conf_high))
    assert averages(post, 0.95).loc["mean", "value"] == pytest.approx(post.draws("beta").mean())


# -- verbs of models with known standard errors


def test_what_is_printed_names_the_standard_errors(bcg, post):
    model = blm.Model("y ~ ablat + (1 | trial)", bcg, se="se")
    fit = model.fit_reml()
    for text in (fit.summary(), post.summary()):
        assert "Standard errors of the rows: known, se (0.06294 to 0.7297)" in str(text)
        assert "Residual" not in str(text) and "sigma" not in str(text)
    assert "sd__Observation" not in set(fit.tidy()["term"]) | set(post.tidy()["term"])
    assert np.isnan(fit.glance()["sigma"].iloc[0]) and np.isnan(post.glance(loo=False)["sigma"].iloc[0])
    assert "Normal(μ_i, se_i)" in str(model.equations())
    assert "its se" in str(model.explain()) and "no sigma" in str(model.explain())
    assert "sigma" not in post.idata.posterior


def test_new_studies_with_and_without_standard_errors(bcg, post):
    new = pd.DataFrame({"trial": ["another"]})
    with pytest.raises(errors.InputError, match="no column 'se'"):
        post.predict(new, groups="new", kind="response")
    draws = post.predict(new.assign(se=2.0), groups="new", kind="response", draws=True, random_seed=1)
    effect = post.predict(new, groups="new", draws=True, random_seed=1)
    # 2,000 draws tell a variance to 3 %
    assert float(draws.var()) == pytest.approx(float(effect.var()) + 4.0, rel=0.15)
    with pytest.raises(errors.DataError, match="positive and finite"):
        post.predict(new.assign(se=-1.0), groups="new", kind="response")
    values = blm.Model("y ~ 1 + (1 | trial)", bcg, se=bcg.se.to_numpy()).fit_reml()
    with pytest.raises(errors.InputError, match="given them as values"):
        values.predict(new.assign(se=2.0), groups="new", kind="response", interval="plug-in")


def test_responses_of_the_rows_have_their_own_errors(bcg):
    fit = blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml()
    drawn = fit.simulate(4000, random_seed=1, groups="average")
    # 4,000 draws tell an sd to 1.1 %
    np.testing.assert_allclose(drawn.std(axis=1), bcg.se, rtol=0.05)
    table = fit.predict(kind="response", groups="average", interval="plug-in", ddf=None)
    se = fit.fixef().std_error.iloc[0]
    np.testing.assert_allclose(table.std_error**2, se**2 + bcg.se**2)


def test_residuals_are_over_the_errors(bcg, post):
    fit = blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml()
    for kind in ("scaled", "pearson"):
        np.testing.assert_allclose(fit.residuals(kind), fit.residuals() / bcg.se)
        np.testing.assert_allclose(post.residuals(kind), post.residuals() / bcg.se)


def test_saved_and_loaded(tmp_path, bcg, post):
    fit = blm.Model("y ~ ablat + (1 | trial)", bcg, se="se").fit_reml()
    for one in (fit, post):
        blm.save(one, tmp_path / "a.nc")
        again = blm.load(tmp_path / "a.nc")
        assert again.design.se == "se"
        np.testing.assert_allclose(again.design.standard_errors, bcg.se)
        pd.testing.assert_frame_equal(again.heterogeneity(), one.heterogeneity())
    blm.save(fit, tmp_path / "a.nc")
    assert blm.load(tmp_path / "a.nc").update(". ~ . - ablat").criterion == pytest.approx(
        fit.update(". ~ . - ablat").criterion
    )


def test_nested_models_are_compared(bcg):
    model = blm.Model("y ~ ablat + (1 | trial)", bcg, se="se")
    smaller = model.update(". ~ . - ablat")
    assert "m1" in str(blm.anova(model.fit_ml(), smaller.fit_ml()))
    reduction = model.fit_reml().pseudo_r2(smaller.fit_reml())
    assert list(reduction.index) == ["trial"]
    # metafor's R² of the moderator
    assert reduction.pseudo_r2.iloc[0] == pytest.approx(0.7562, abs=1e-3)


def test_complete_pooling_is_the_common_effect(bcg):
    model = blm.Model("y ~ 1 + (1 | trial)", bcg, se="se")
    pool = blm.compare_pooling(model, draws=250, random_seed=1, progressbar=False)
    found, w, z = pool.levels, bcg.se.to_numpy() ** -2.0, 1.959964
    mean, se = float(np.sum(w * bcg.y) / w.sum()), float(w.sum() ** -0.5)
    np.testing.assert_allclose(found["complete"], mean)
    np.testing.assert_allclose(found["complete_low"], mean - z * se, rtol=1e-6)
    np.testing.assert_allclose(found["none_high"] - found["none_low"], 2 * z * bcg.se, rtol=1e-6)
    y, total = bcg.y.to_numpy(), w.sum()
    others, left = (total * mean - w * y) / (total - w), total - w
    wanted = stats.norm(others, np.sqrt(1 / w + 1 / left)).logpdf(y).sum()
    problem = Problem.of(model.design)
    line = engine.least_squares(problem).line
    assert engine.rows_left_out(line).without.sum() == pytest.approx(wanted)
    groups = engine.groups_left_out(problem, problem.codes[0], model.design.n)
    assert groups.without.sum() == pytest.approx(wanted)


def test_any_one_row_is_left_out_exactly(post, bcg):
    """p(y_i | others) with the hyperparameters integrated by importance sampling, against refits' density by draws."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        rows, groups = post.loo(), post.loo("trial")
    np.testing.assert_allclose(rows.elpd_i, groups.elpd_i, atol=1e-6)
