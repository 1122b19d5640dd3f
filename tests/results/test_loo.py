"""Leave-one-out prediction of posteriors against refits without the rows and groups."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import integrated
from bayeslmm.results.log_density import log_likelihood
from bayeslmm.results.loo import _exact_densities, _smoothed, evenly
from bayeslmm.results.sampling import sample


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def post(sleep):
    return blm.Model("Reaction ~ Days + (Days | Subject)", sleep).fit(random_seed=1)


def without(post, out):
    settings = post.settings.changed({"random_seed": 7, "progressbar": False})
    return sample(post.design.rows(~out), post.priors, settings)


def mean_of_densities(log_density):
    """log of the mean density, and its Monte Carlo error."""
    total = logsumexp(log_density) - np.log(log_density.size)
    return total, np.exp(log_density - total).std() / np.sqrt(log_density.size)


def error_of_weights(post, unit):
    """Monte Carlo errors of elpd_i that is averaged with weights 1/p(y_i | the others), without their smoothing."""
    log_density = _exact_densities(post, unit, post, evenly(post, 10**6))[0]
    weights = np.exp(log_density.min(axis=0) - log_density)
    return weights.std(axis=0) / weights.mean(axis=0) / np.sqrt(len(weights))


def check_rows(post, chosen):
    found, of_weights = post.loo(), error_of_weights(post, "observation")
    assert (found.pareto_k < 0.7).all()
    for i in chosen:
        out = np.arange(post.nobs) == i
        # densities given draws of β and b: nothing is shared with the formula that is tested
        drawn = log_likelihood(post.design.rows(out), without(post, out).idata.posterior)["y"].to_numpy()
        expected, error = mean_of_densities(drawn)
        assert float(found.elpd_i[i]) == pytest.approx(expected, abs=4 * np.hypot(error, of_weights[i]) + 1e-3)


def check_groups(post, chosen):
    found, of_weights = post.loo("Subject"), error_of_weights(post, "Subject")
    assert list(found.elpd_i["Subject"].to_numpy()) == list(post.design.groups[0].levels)
    assert (found.pareto_k < 0.7).all()
    for j in chosen:
        out = post.design.groups[0].codes == j
        others = without(post, out)
        # p(y_j | β, σ, Σ) by quadrature: nothing is shared with the formula that is tested
        drawn, _ = integrated.of_groups(post.design.rows(out), others, "Subject", None, evenly(others, 4000))
        expected, error = mean_of_densities(drawn[:, j])
        assert float(found.elpd_i[j]) == pytest.approx(expected, abs=4 * np.hypot(error, of_weights[j]) + 1e-3)


def test_rows_against_refits(post):
    check_rows(post, np.random.default_rng(1).choice(post.nobs, 5, replace=False))


def test_groups_against_refits(post):
    check_groups(post, (0, 5, 11))  # 5 is 332, whose k is above 0.7


@pytest.mark.slow
def test_twenty_rows_and_all_groups_against_refits(post):
    check_rows(post, np.random.default_rng(2).choice(post.nobs, 20, replace=False))
    check_groups(post, range(18))


def test_the_conditional_loo_has_its_own_name(post):
    with pytest.warns(errors.SamplingWarning, match="of 180 rows have a Pareto k"):
        found = post.loo(conditional=True)
    from arviz_stats import loo

    post.compute_log_likelihood()
    with pytest.warns(UserWarning, match="Pareto"):
        expected = loo(post.idata, pointwise=True, reff=1.0)
    np.testing.assert_allclose(found.elpd_i, expected.elpd_i, atol=1e-9)
    exact = post.loo()
    assert found.conditional and not exact.conditional
    assert "conditional" in str(found) and "conditional" not in str(exact)
    assert (found.pareto_k > 0.7).sum() >= 3 and exact.elpd != found.elpd
    with pytest.raises(errors.InputError, match="no draws of effects to condition on"):
        post.loo("Subject", conditional=True)


def test_the_record_says_what_was_left_out(post):
    found = post.loo("Subject")
    assert found.unit == "Subject" and found.kind == "loo" and found.folds is None
    assert str(found).startswith("Leave-one-out: one Subject with all its rows (a new Subject)")
    assert "Pareto k" in repr(found)
    again = pickle.loads(pickle.dumps(found))
    assert str(again) == str(found) and again.elpd == found.elpd


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
    with warnings.catch_warnings():  # by eight sds from the others, told to 0.2 in most draws, not in all
        warnings.filterwarnings("ignore", ".*the Monte Carlo error is still above 0.2", errors.SamplingWarning)
        mended = post.loo()
    refitted = np.isfinite(post.idata["loo"]["refitted_elpd_i"].to_numpy())
    assert refitted[57] and (mended.warning or (mended.pareto_k <= mended.good_k).all())
    same = ~refitted
    np.testing.assert_array_equal(mended.elpd_i.to_numpy()[same], raw.elpd_i.to_numpy()[same])
    with pytest.warns(errors.SamplingWarning, match="Pareto"):
        assert post.loo(refit=False).elpd == raw.elpd  # both are kept
    out = np.arange(180) == 57
    expected, error = mean_of_densities(
        _exact_densities(post, "observation", without(post, out), slice(None))[0][:, 57]
    )
    assert float(mended.elpd_i[57]) == pytest.approx(
        expected, abs=0.5 + 8 * error
    )  # far out, both uncertain, the error too


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


@pytest.fixture(scope="module")
def herds():
    cbpp = blm.load_dataset("cbpp")
    model = blm.Model("p(incidence, size) ~ period + (1 | herd)", cbpp, family="binomial")
    return model.fit(random_seed=1, progressbar=False)


def test_rows_of_other_families_against_refits(herds):
    with pytest.warns(errors.SamplingWarning, match="rows have a Pareto k"):
        conditional = herds.loo(conditional=True)
    found = herds.loo(refit=False)
    # integrating the effects out makes refits superfluous
    assert found.pareto_k.max() < 0.7 < conditional.pareto_k.max()
    worst = np.argsort(conditional.pareto_k.to_numpy())[-3:]
    for i in worst:
        out = np.arange(56) == i
        drawn = log_likelihood(herds.design.rows(out), without(herds, out).idata.posterior)["y"].to_numpy()
        expected, error = mean_of_densities(drawn)
        # 4000 draws by NUTS count for half as many; as many again for the weights
        assert float(found.elpd_i[i]) == pytest.approx(expected, abs=8 * error + 0.02)
    mended = herds.loo(conditional=True, refit=True)
    assert not mended.warning
    np.testing.assert_allclose(mended.elpd_i[worst], found.elpd_i[worst], atol=0.2)


def test_groups_of_other_families_against_refits(herds):
    found = herds.loo("herd")
    assert found.n_data_points == 15 and found.pareto_k.max() < 0.7
    # a new herd is harder to predict than a new row; its rows are one prediction
    assert found.p < herds.loo().p
    codes = herds.design.groups[0].codes
    rng = np.random.default_rng(1)
    for j in (0, 7):
        out = codes == j
        others = without(herds, out)
        # new effects by sampling: nothing is shared with the quadrature
        rows, values = herds.design.rows(out), others.values
        sd = others.draws("sd_herd")[..., 0]
        eta = (values.beta @ rows.X.T)[..., None, :] + (sd[..., None] * rng.normal(size=(*sd.shape, 50)))[..., None]
        p = 1.0 / (1.0 + np.exp(-eta))
        log_density = stats.binom.logpmf(rows.y, rows.trials, p).sum(axis=-1)
        expected, error = mean_of_densities(logsumexp(log_density, axis=-1).reshape(-1) - np.log(50))
        assert float(found.elpd_i[j]) == pytest.approx(expected, abs=8 * error + 0.02)


def test_bad_groups_of_other_families_are_mended():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(12), 6)
    data = pd.DataFrame({"g": g, "y": rng.poisson(np.exp(0.5 + 0.3 * rng.normal(size=12))[g])})
    data.loc[g == 3, "y"] += 60
    short = {"draws": 2000, "chains": 2, "random_seed": 1, "progressbar": False}
    post = blm.Model("y ~ 1 + (1 | g)", data, family="poisson").fit(**short)
    with pytest.warns(errors.SamplingWarning, match=r"1 of 12 groups of g have a Pareto k"):
        raw = post.loo("g", refit=False)
    mended = post.loo("g")
    assert raw.pareto_k[3] > raw.good_k and mended.pareto_k[3] == 0.0 and not mended.warning
    assert float(mended.elpd_i[3]) == pytest.approx(float(raw.elpd_i[3]), abs=4.0) and mended.elpd < raw.elpd


def test_without_random_effects_there_is_nothing_to_integrate():
    cbpp = blm.load_dataset("cbpp")
    short = {"draws": 500, "chains": 2, "random_seed": 1, "progressbar": False}
    post = blm.Model("p(incidence, size) ~ period", cbpp, family="binomial").fit(**short)
    found, conditional = post.loo(refit=False), post.loo(conditional=True)
    assert found.elpd == conditional.elpd


def test_quadrature_that_is_not_exact_is_told(herds, monkeypatch):
    monkeypatch.setattr(integrated, "INACCURATE", 1e-6)  # it is refined to 2e-3
    with pytest.warns(errors.SamplingWarning, match="quadrature over random effects is not exact"):
        herds.loo("herd", draws=200)


def test_nested_and_crossed_units():
    pastes = blm.Model("strength ~ 1 + (1 | batch/cask)", blm.load_dataset("pastes")).fit(random_seed=1)
    assert pastes.loo("batch").n_data_points == 10
    with pytest.raises(errors.NotAvailableError, match=r"blm\.kfold.*leave out one batch"):
        pastes.loo("batch:cask")
    crossed = blm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    with pytest.raises(errors.NotAvailableError, match="sample is not nested in plate.*kfold"):
        crossed.fit(random_seed=1).loo("plate")


SHORT = {"draws": 250, "tune": 300, "chains": 2, "random_seed": 1, "progressbar": False}


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")  # short chains
def test_nested_and_crossed_units_of_other_families():
    pastes = blm.load_dataset("pastes")
    pastes = pastes.assign(many=(pastes["strength"] > 60).astype(int), third=np.arange(60) // 2)
    nested = blm.Model("many ~ 1 + (1 | batch/cask)", pastes, family="bernoulli").fit(**SHORT)
    groups, rows = nested.loo("batch", draws=100, refit=False), nested.loo(draws=100, refit=False)
    assert groups.n_data_points == 10 and rows.n_data_points == 60 and groups.elpd < rows.elpd
    with pytest.raises(errors.NotAvailableError, match="leave out one batch"):
        nested.loo("batch:cask")
    deep = blm.Model("many ~ 1 + (1 | batch/cask) + (1 | batch:cask:third)", pastes, family="bernoulli")
    with pytest.raises(errors.NotAvailableError, match="by quadrature.*kfold"):
        deep.fit(**SHORT).loo("batch")
    penicillin = blm.load_dataset("penicillin")
    penicillin["wide"] = (penicillin["diameter"] > 23).astype(int)
    crossed = blm.Model("wide ~ 1 + (1 | plate) + (1 | sample)", penicillin, family="bernoulli").fit(**SHORT)
    # of rows the effects of the plates are integrated out, given draws of those of the samples
    assert crossed.loo(refit=False).elpd == pytest.approx(crossed.loo(conditional=True).elpd, abs=3.0)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_more_effects_than_quadrature_takes():
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc")).assign(g=np.arange(120) % 6)
    data["y"] = rng.poisson(2.0, 120)
    post = blm.Model("y ~ 1 + (a + b + c || g)", data, family="poisson").fit(**SHORT)
    with pytest.raises(errors.NotAvailableError, match="conditional=True"):
        post.loo()
    with pytest.raises(errors.NotAvailableError, match=r"kfold\(post\) leaves out rows"):  # as it refuses groups:
        post.loo("g")
    with pytest.raises(errors.NotAvailableError, match="4 effects a level"):
        blm.kfold(post, unit="g")
    assert np.isfinite(post.loo(conditional=True).elpd)


def test_a_level_without_rows_left_is_no_trouble():
    few = pd.DataFrame({"y": [1.0, 2.5, 0.3, 2.0, 1.1, 3.0, 0.2], "g": list("aabbccd")})
    post = blm.Model("y ~ 1 + (1 | g)", few).fit(random_seed=1)
    assert np.isfinite(post.loo(refit=True).elpd) and np.isfinite(post.loo("g").elpd)


@pytest.mark.parametrize(("unit", "rows"), [("g", 4), ("observation", 1)])
def test_a_coefficient_that_one_unit_alone_tells_has_no_prediction_under_a_flat_prior(unit, rows):
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 4), "x": 0.0, "y": np.random.default_rng(1).normal(size=24)})
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
        ("observation", True, "at least 100"),
    ],
)
def test_bad_input(post, unit, draws, match):
    with pytest.raises(errors.InputError, match=match):
        post.loo(unit, draws=draws)


def test_point_fits_are_told_what_to_use(sleep):
    with pytest.raises(errors.RefusedVerbError, match=r"model\.fit\(\)\.loo\(\)"):
        blm.lmer("Reaction ~ Days + (1 | Subject)", sleep).loo()


def test_a_tail_without_a_shape_has_an_infinite_k():
    """Draws of a chain that stands: the weights are taken as they are, and the unit is named as doubtful."""
    rng = np.random.default_rng(3)
    sound = rng.normal(-1.0, 0.1, 400)
    stands = np.where(np.arange(400) < 300, -1.0, -9.0)  # a quarter, and the tail is less
    elpd, k = _smoothed(np.column_stack([sound, stands]))
    assert np.isinf(k[1]) and k[0] < 0.7
    assert elpd[1] == pytest.approx(-np.log(np.mean(np.exp(-stands))))
    assert elpd[0] == pytest.approx(_smoothed(sound[:, None])[0][0])
