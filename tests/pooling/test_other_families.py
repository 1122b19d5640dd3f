"""Pooling of responses that are not normal: R's glm, regressions with a column a level, and separation by name."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import unpenalised
from bayeslmm.errors import FitError, NotAvailableError
from bayeslmm.families import FAMILIES, family_of
from bayeslmm.pooling.estimates import open_shares_at

GLM = json.loads((Path(__file__).parents[1] / "reference" / "glm.json").read_text())
OTHERS = [name for name in FAMILIES if not family_of(name).is_normal]


def table(n=120, levels=6):
    """Rows of six levels with a response of every kind."""
    rng = fixed_rng(0)
    d = pd.DataFrame({"x": rng.normal(size=n), "h": np.arange(n) % levels, "m": 5})
    eta = 0.4 * d.x + 0.6 * rng.normal(size=levels)[d.h]
    mean, share = np.exp(eta), 1 / (1 + np.exp(-eta))
    d["poisson"], d["bernoulli"] = rng.poisson(mean), (rng.random(n) < 0.3 + 0.4 * share) * 1.0
    d["negbinomial"], d["nbinom1"] = rng.poisson(mean * rng.gamma(2.0, 0.5, n)), rng.poisson(rng.gamma(mean, 1.0))
    d["student_t"] = eta + 0.5 * rng.standard_t(3, n)
    d["gamma"] = d["inverse_gaussian"] = d["weibull"] = mean * rng.gamma(4.0, 0.25, n) + 0.05
    d["beta"] = np.clip(1 / (1 + np.exp(-eta - 0.5 * rng.normal(size=n))), 0.02, 0.98)
    d["ordinal"] = np.digitize(eta + rng.normal(size=n), [-1.0, 0.0, 1.0])
    d["binomial"] = rng.binomial(5, share)
    d["beta_binomial"] = rng.binomial(5, rng.beta(2 * share, 2 * (1 - share)))
    d["truncated_poisson"], d["truncated_negbinomial"] = d.poisson + 1, d.negbinomial + 1
    there = rng.random(n) > 0.3
    for zeros in ("zero_inflated", "hurdle"):
        d[f"{zeros}_poisson"], d[f"{zeros}_negbinomial"] = there * (d.poisson + 1), there * (d.negbinomial + 1)
    d["exgaussian"] = eta + rng.normal(size=n) + rng.exponential(0.8, n)
    return d


def written(family, right):
    return (f"p({family}, m)" if family_of(family).has_trials else family) + f" ~ {right}"


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture(scope="module")
def cbpp():
    model = blm.Model("p(incidence, size) ~ period + (1 | herd)", blm.load_dataset("cbpp"), family="binomial")
    return blm.compare_pooling(model, post=False)


@pytest.fixture(scope="module")
def separated():
    """Levels 0 and 1 have one outcome only; in level 2 the predictor separates the outcomes."""
    rng = fixed_rng(1)
    d = pd.DataFrame({"g": np.repeat(np.arange(8), 10), "x": rng.normal(size=80)})
    d["y"] = (rng.random(80) < 1 / (1 + np.exp(-0.5 * d.x))) * 1.0
    d.loc[d.g == 0, "y"], d.loc[d.g == 1, "y"] = 0.0, 1.0
    d.loc[d.g == 2, "y"] = (d.x > 0.0) * 1.0
    return d


# -- numbers


def test_numbers_are_those_of_glm(cbpp):
    own, common = GLM["cbpp_none"], GLM["cbpp_complete"]
    numbers = dict(zip(own["names"], own["estimate"], strict=True))
    errors = dict(zip(own["names"], own["se"], strict=True))
    rows = cbpp.table().set_index("level")
    for herd in rows.index:  # R's figures have ten digits
        assert rows.loc[herd, "none"] == pytest.approx(numbers[f"herd{herd}"], abs=1e-8)
        half = 1.959964 * errors[f"herd{herd}"]
        assert rows.loc[herd, "none_high"] - rows.loc[herd, "none"] == pytest.approx(half, rel=1e-6)
    np.testing.assert_allclose(cbpp.common["none"], [numbers[f"period{k}"] for k in (2, 3, 4)], atol=1e-8)
    np.testing.assert_allclose(cbpp.common["complete"], common["estimate"][1:], atol=1e-8)
    half = 1.959964 * np.array(common["se"])
    np.testing.assert_allclose(cbpp.common["complete_high"] - cbpp.common["complete"], half[1:], rtol=1e-6)
    assert cbpp.fits["parameters"].loc[["complete", "none"]].tolist() == [4.0, 18.0]
    assert "sigma" not in cbpp.fits and 4.0 < cbpp.fits.loc["reml", "parameters"] < 18.0


@pytest.mark.parametrize("bars", ["(1 | h)", "(x | h)"])
@pytest.mark.parametrize("family", OTHERS)
def test_no_pooling_is_a_regression_with_columns_for_every_level(rows, family, bars):
    with_slopes = bars == "(x | h)"
    own = unpenalised.unpooled(blm.Model(written(family, f"x + {bars}"), rows, family=family).design, 0)
    as_text = rows.assign(h=rows.h.astype(str))
    fixed = blm.Model(written(family, "h * x" if with_slopes else "x + h"), as_text, family=family).fit_ml()
    beta, V = fixed.fixef()["estimate"], fixed.vcov()
    categories = family_of(family).has_categories
    map_to_levels = np.zeros((6, len(beta)))
    for level in range(6):
        map_to_levels[level, [list(beta.index).index("Intercept")] if not categories else []] = 1.0
        if level:
            map_to_levels[level, list(beta.index).index(f"h[{level}]")] = 1.0
    if categories:
        map_to_levels -= map_to_levels.mean(axis=0)
    # both searches stop where the next step gains some 1e-10, at 1e-5 of a standard error
    se = np.sqrt(np.einsum("ja,ab,jb->j", map_to_levels, V, map_to_levels))
    np.testing.assert_allclose(own.coefficients[:, 0], map_to_levels @ beta, atol=3e-5 * se.max())
    np.testing.assert_allclose(np.sqrt(own.vcov[:, 0, 0]), se, rtol=1e-4)
    slope_se = fixed.fixef()["std_error"]["x"]
    slope, variance = (own.coefficients[0, 1], own.vcov[0, 1, 1]) if with_slopes else (own.shared[0], own.shared_vcov)
    assert slope == pytest.approx(beta["x"], abs=3e-5 * slope_se)
    assert np.sqrt(np.ravel(variance)[0]) == pytest.approx(slope_se, rel=1e-4)
    for name, value in own.parameters.items():
        assert np.shape(value) == np.shape(fixed.solution.parameters[name])
        if not categories and np.log(value) < 12.0:  # not where it goes to its limit
            assert value == pytest.approx(fixed.solution.parameters[name], rel=1e-4)


def test_partial_pooling_is_the_model_itself(cbpp):
    fit = cbpp.reml
    table = cbpp.table().set_index("level")
    own = fit.coef().query("term == 'Intercept'").set_index("level").loc[table.index]
    np.testing.assert_allclose(table["reml"], own["estimate"], rtol=1e-10)
    np.testing.assert_allclose(table["reml_low"], own["conf_low"], rtol=1e-7)  # one interval of a level everywhere
    shares = open_shares_at(cbpp.footing, fit)
    np.testing.assert_allclose(table["shrinkage_reml"], shares[:, 0])
    between = (table["reml"] - fit.fixef()["estimate"]["Intercept"]).abs()
    assert (between < (table["none"] - fit.fixef()["estimate"]["Intercept"]).abs() + 0.15).all()


def test_shares_of_draws_are_those_of_the_estimates_there(cbpp):
    solution = cbpp.reml.solution
    shares, traces = unpenalised.open_shares(
        cbpp.footing.design, solution.beta[None], [solution.covariances[0][None]], np.zeros((1, 0)), 0
    )
    np.testing.assert_allclose(shares[0], open_shares_at(cbpp.footing, cbpp.reml), rtol=1e-6)
    assert traces[0] == pytest.approx(cbpp.fits.loc["reml", "parameters"], rel=1e-6)


def test_the_posterior_stands_beside_them(cbpp):
    model = blm.Model("p(incidence, size) ~ period + (1 | herd)", blm.load_dataset("cbpp"), family="binomial")
    post = model.fit(draws=300, chains=2, random_seed=1, progressbar=False)
    pool = blm.compare_pooling(model, reml=cbpp.reml, post=post)
    table = pool.table()
    # the variance is larger on average than at its estimate: less shrinkage
    assert 0.4 < (table["shrinkage"] / table["shrinkage_reml"]).mean() < 1.1
    assert (table["shrinkage_low"] < table["shrinkage_high"]).all()
    assert {"reml", "posterior"} <= set(pool.fits.index) and "Posterior" in str(pool)
    with pytest.raises(NotAvailableError, match=r"held_out\(\) compares the three"):
        pool.loo()


# -- separation


def test_levels_of_one_outcome_are_infinite_and_named(separated):
    pool = blm.compare_pooling(blm.Model("y ~ x + (1 | g)", separated, family="bernoulli"), post=False)
    none = pool.table()["none"].to_numpy()
    assert none[0] == -np.inf and none[1] == np.inf and np.isfinite(none[2:]).all()
    text = " ".join(str(pool).split())
    assert "separation in 2 of 8 levels, whose rows no finite coefficients fit best (∞): g 0, 1" in text
    assert np.isnan(pool.table().loc[:1, ["none_low", "none_high", "moved"]].to_numpy(float)).all()
    others = blm.no_pooling(blm.Model("y ~ x + (1 | g)", separated[separated.g > 1], family="bernoulli"))
    np.testing.assert_allclose(none[2:], others["Intercept"], atol=1e-8)  # as if they were not there
    labels = [line.get_text() for line in blm.plot_pooling(pool).legends[0].get_texts()]
    assert "no pooling: ∞" in labels and "no pooling: -∞" in labels
    plt.close("all")


def test_predictors_that_separate_a_level_are_found(separated):
    pool = blm.compare_pooling(blm.Model("y ~ x + (x | g)", separated, family="bernoulli"), post=False)
    table = pool.footing.unpooled
    assert table.separated.tolist()[:3] == [True] * 3
    assert np.isnan(table.coefficients[table.separated]).all()
    assert np.isfinite(table.coefficients[~table.separated]).all()
    assert "(-): g 0, 1, 2" in " ".join(str(pool).split())


def test_a_common_predictor_that_separates_is_named(separated):
    data = separated[separated.g > 2].assign(z=lambda d: d.y * 2.0 + d.x * d.y)
    pool = blm.compare_pooling(blm.Model("y ~ z + (1 | g)", data, family="bernoulli"), reml=False, post=False)
    text = " ".join(str(pool).split())
    assert "Complete pooling: separation of" in text and "No pooling: separation of z" in text
    assert pool.table()["none"].isna().all() and pool.common["none"].isna().all()


def test_counts_without_events_and_categories_at_an_end():
    rng = fixed_rng(2)
    d = pd.DataFrame({"g": np.repeat(np.arange(6), 8), "x": rng.normal(size=48)})
    d["c"], d["o"] = rng.poisson(1.5, 48), rng.integers(0, 3, 48)
    d.loc[d.g == 4, ["c", "o"]] = 0
    counts = blm.no_pooling(blm.Model("c ~ x + (1 | g)", d, family="poisson"))["Intercept"]
    ordered = blm.no_pooling(blm.Model("o ~ x + (1 | g)", d, family="ordinal"))["Intercept"]
    for each in (counts, ordered):
        assert each.iloc[4] == -np.inf and np.isfinite(each.drop(each.index[4])).all()
    assert ordered.drop(ordered.index[4]).sum() == pytest.approx(0.0, abs=1e-10)


def test_what_every_row_fits_has_no_dispersion():
    d = pd.DataFrame({"g": np.arange(12), "y": fixed_rng(3).gamma(3.0, size=12)})
    model = blm.Model("y ~ 1 + (1 | g)", pd.concat([d, d]), family="gamma")
    with pytest.raises(
        FitError, match="no pooling, coefficients for every level of g: the residual variance goes away"
    ):
        blm.no_pooling(model)


# -- what else a comparison does


def test_held_out_rows_are_compared_by_their_expected_response(cbpp):
    held = cbpp.held_out(4)
    assert held.title.startswith("Mean squared error of p(incidence, size) / trials")
    assert held.rows["observed"].between(0.0, 1.0).all() and held.rows["partial"].between(0.0, 1.0).all()
    fold = held.rows["fold"] == 0
    design = cbpp.footing.design.rows(~fold.to_numpy())
    own = unpenalised.complete(design)
    eta = cbpp.footing.design.X[fold.to_numpy()] @ own.beta
    np.testing.assert_allclose(held.rows.loc[fold, "complete"], 1 / (1 + np.exp(-eta)), rtol=1e-8)


def test_categories_have_no_lines_and_no_squares(rows):
    pool = blm.compare_pooling(blm.Model("ordinal ~ x + (1 | h)", rows, family="ordinal"), post=False)
    assert "intercepts of the levels sum to zero" in str(pool)
    with pytest.raises(NotAvailableError, match="kfold"):
        pool.held_out()
    with pytest.raises(NotAvailableError, match="categories have none"):
        blm.plot_pooling(pool, kind="lines")


def test_lines_are_expected_responses(rows):
    exposure = np.linspace(0.5, 2.0, len(rows))
    model = blm.Model("poisson ~ x + (1 | h)", rows, family="poisson", offset=np.log(exposure))
    pool = blm.compare_pooling(model, post=False)
    axis = blm.plot_pooling(pool, kind="lines").axes[0]
    line = next(one for one in axis.lines if one.get_label() == "no pooling")
    own, slope = pool.table()["none"].iloc[0], pool.common.loc["x", "none"]
    np.testing.assert_allclose(line.get_ydata(), np.exp(own + slope * np.asarray(line.get_xdata())))
    drawn = np.asarray(axis.collections[0].get_offsets())[:, 1]
    np.testing.assert_allclose(drawn, (rows["poisson"] / exposure)[rows.h == 0])
    plt.close("all")
