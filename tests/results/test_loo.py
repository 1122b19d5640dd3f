"""Leave-one-out prediction of posteriors against refits without the rows and groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.log_density import log_likelihood
from bayeslmm.results.loo import _exact_densities
from bayeslmm.results.sampling import sample_posterior


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def post(sleep):
    return blm.Model("Reaction ~ Days + (Days | Subject)", sleep).fit(random_seed=1)


def without(post, out):
    settings = post.settings.changed({"random_seed": 7, "progressbar": False})
    return sample_posterior(post.design.rows(~out), post.priors, settings)


def mean_of_densities(log_density):
    """log of the mean density, and its Monte Carlo error."""
    total = logsumexp(log_density) - np.log(log_density.size)
    return total, np.exp(log_density - total).std() / np.sqrt(log_density.size)


def test_rows_against_refits(post):
    found = post.loo()
    assert (found.pareto_k < 0.7).all()
    for i in np.random.default_rng(1).choice(post.nobs, 8, replace=False):
        out = np.arange(post.nobs) == i
        others = without(post, out)
        # densities given draws of β and b: nothing is shared with the formula that is tested
        drawn = log_likelihood(post.design.rows(out), others.idata.posterior)["y"].to_numpy()
        expected, error = mean_of_densities(drawn)
        # five Monte Carlo errors of the refit; that of loo is smaller, but for rows far out
        assert float(found.elpd_i[i]) == pytest.approx(expected, abs=5 * error + 0.02)


def test_groups_against_refits(post):
    found = post.loo("Subject")
    assert list(found.elpd_i["Subject"].to_numpy()) == list(post.design.groups[0].levels)
    for j in (0, 5, 11):
        out = post.design.groups[0].codes == j
        others = without(post, out)
        drawn = _exact_densities(post, "Subject", others.values, slice(None))[1][:, j]  # p(y_j | β, σ, Σ)
        expected, error = mean_of_densities(drawn)
        assert float(found.elpd_i[j]) == pytest.approx(expected, abs=5 * error + 0.1)


def test_rows_of_known_groups_are_predicted_better_than_new_groups(post):
    rows, groups = post.loo(), post.loo("Subject")
    assert rows.elpd > groups.elpd
    # effective parameters: two of each of 18 subjects, shrunk, two slopes and four hyperparameters at most
    assert 25 < rows.p < 42 and 2 < groups.p < 20
    assert rows.n_data_points == 180 and groups.n_data_points == 18


def test_bad_weights_are_mended_by_refits(sleep):
    odd = sleep.copy()
    odd.loc[57, "Reaction"] = 640.0
    post = blm.Model("Reaction ~ Days + (Days | Subject)", odd).fit(random_seed=1)
    with pytest.warns(errors.SamplingWarning, match=r"Pareto k above 0.70 .*refit=True"):
        raw = post.loo(refit=False)
    assert raw.warning and float(raw.pareto_k[57]) > 0.7
    mended = post.loo()
    refitted = np.isfinite(post.idata["loo"]["refitted_elpd_i"].to_numpy())
    assert refitted[57] and not mended.warning and (mended.pareto_k <= mended.good_k).all()
    same = ~refitted
    np.testing.assert_array_equal(mended.elpd_i.to_numpy()[same], raw.elpd_i.to_numpy()[same])
    with pytest.warns(errors.SamplingWarning, match="Pareto"):
        assert post.loo(refit=False).elpd == raw.elpd  # both are kept
    out = np.arange(180) == 57
    expected, error = mean_of_densities(
        _exact_densities(post, "observation", without(post, out).values, slice(None))[0][:, 57]
    )
    assert float(mended.elpd_i[57]) == pytest.approx(expected, abs=0.5 + 5 * error)  # far out, both uncertain


def test_other_priors_condition_on_the_fixed_effects(sleep, post):
    wide = {"fixed": blm.Prior("StudentT", nu=4, mu=0, sigma=50)}
    other = post.with_priors(wide, random_seed=3)
    # the prior is as wide as the default one, so the predictions are nearly the same
    assert other.loo().elpd == pytest.approx(post.loo().elpd, abs=0.7)
    assert other.loo("Subject").elpd == pytest.approx(post.loo("Subject").elpd, abs=1.0)


def test_lognormal_is_in_the_units_of_the_response(sleep):
    log = blm.Model("np.log(Reaction) ~ Days + (1 | Subject)", sleep).fit(random_seed=1)
    lognormal = blm.Model("Reaction ~ Days + (1 | Subject)", sleep, family="lognormal").fit(random_seed=1)
    shift = np.log(sleep["Reaction"]).sum()
    # the priors differ a little, and both are Monte Carlo
    assert lognormal.loo().elpd == pytest.approx(log.loo().elpd - shift, abs=0.5)
    assert lognormal.loo("Subject").elpd == pytest.approx(log.loo("Subject").elpd - shift, abs=0.5)


def test_other_families_have_the_conditional_loo():
    cbpp = blm.load_dataset("cbpp")
    post = blm.Model("p(incidence, size) ~ period + (1 | herd)", cbpp, family="binomial").fit(random_seed=1)
    with pytest.warns(errors.SamplingWarning, match="rows have a Pareto k"):
        found = post.loo()
    from arviz_stats import loo

    post.compute_log_likelihood()
    with pytest.warns(UserWarning, match="Pareto"):
        conditional = loo(post.idata)
    assert found.elpd == pytest.approx(conditional.elpd, abs=0.2)
    mended = post.loo(refit=True)
    assert not mended.warning and mended.elpd < found.elpd + 0.5
    with pytest.raises(errors.NotAvailableError, match="normal responses"):
        post.loo("herd")


def test_nested_and_crossed_units():
    pastes = blm.Model("strength ~ 1 + (1 | batch/cask)", blm.load_dataset("pastes")).fit(random_seed=1)
    assert pastes.loo("batch").n_data_points == 10
    with pytest.raises(errors.NotAvailableError, match="leave out one batch"):
        pastes.loo("batch:cask")
    crossed = blm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    with pytest.raises(errors.NotAvailableError, match="sample is not nested in plate"):
        crossed.fit(random_seed=1).loo("plate")


def test_a_level_without_rows_left_is_no_trouble():
    few = pd.DataFrame({"y": [1.0, 2.5, 0.3, 2.0, 1.1, 3.0, 0.2], "g": list("aabbccd")})
    post = blm.Model("y ~ 1 + (1 | g)", few).fit(random_seed=1)
    assert np.isfinite(post.loo(refit=True).elpd) and np.isfinite(post.loo("g").elpd)


@pytest.mark.parametrize(("unit", "rows"), [("g", 4), ("observation", 1)])
def test_a_coefficient_that_one_unit_alone_tells_has_no_prediction_under_a_flat_prior(unit, rows):
    data = pd.DataFrame(
        {"g": np.repeat(list("abcdef"), 4), "x": 0.0, "y": np.random.default_rng(1).normal(size=24)}
    )
    data.loc[8 : 7 + rows, "x"] = 1.0
    flat = {"fixed": blm.flat(), "Intercept": blm.flat()}
    post = blm.Model("y ~ x + (1 | g)", data, priors=flat).fit(random_seed=1)
    with pytest.warns(errors.SamplingWarning, match="1 of .* alone tell a coefficient"):
        found = post.loo(unit)
    values = found.elpd_i.to_numpy()
    out = 2 if unit == "g" else 8
    assert values[out] == -np.inf and np.isfinite(np.delete(values, out)).all()
    proper = post.with_priors({"fixed": blm.Prior("Normal", mu=0, sigma=3)})
    assert np.isfinite(proper.loo(unit).elpd)


def test_one_very_large_group_is_predicted_like_any_other():
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(4032, 5)), columns=list("abcde"))
    data["g"] = np.repeat(np.arange(9), [4000, *[4] * 8])
    data["y"] = data["a"] + rng.normal(size=9)[data["g"]] + rng.normal(size=len(data))
    found = blm.Model("y ~ a + b + c + d + e + (1 | g)", data).fit(random_seed=1).loo("g")
    assert np.isfinite(found.elpd_i).all() and np.isfinite(found.se)


def test_it_is_kept_for_the_next_call_and_saved(post, tmp_path):
    first = post.loo()
    assert post.loo().elpd == first.elpd and post.idata["loo"].attrs["draws"] == 4000
    fewer = post.loo(draws=200)
    assert fewer.n_samples == 200 and fewer.elpd == pytest.approx(first.elpd, abs=1.5)
    blm.save(post, tmp_path / "post.nc")
    again = blm.load(tmp_path / "post.nc")
    assert "loo" in again.idata.children and again.loo(draws=200).elpd == fewer.elpd


@pytest.mark.parametrize(
    ("unit", "draws", "match"),
    [
        ("subject", None, "'Subject'"),
        ("observation", 5, "at least 100"),
        ("observation", 1.5, "at least 100"),
    ],
)
def test_bad_input(post, unit, draws, match):
    with pytest.raises(errors.InputError, match=match):
        post.loo(unit, draws=draws)


def test_point_fits_are_told_what_to_use(sleep):
    with pytest.raises(errors.RefusedVerbError, match=r"model\.fit\(\)\.loo\(\)"):
        blm.lmer("Reaction ~ Days + (1 | Subject)", sleep).loo()
