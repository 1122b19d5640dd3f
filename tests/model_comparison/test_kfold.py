"""K-fold cross-validation against leave-one-out, which it is with as many folds as units."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.model_comparison import kfold as module
from bayeslmm.model_comparison.kfold import deal
from bayeslmm.results.sampling import sample

QUIET = {"random_seed": 1, "progressbar": False}
SHORT = {**QUIET, "draws": 500, "tune": 500, "chains": 2}


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def post(sleep):
    return blm.Model("Reaction ~ Days + (Days | Subject)", sleep).fit(**QUIET)


@pytest.fixture(scope="module")
def rows(post):
    return blm.kfold(post, k=5, progressbar=False)


@pytest.fixture(scope="module")
def crossed():
    data = blm.load_dataset("penicillin")
    return blm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit(**QUIET)


@pytest.fixture(scope="module")
def herds():
    cbpp = blm.load_dataset("cbpp")
    return blm.Model("p(incidence, size) ~ period + (1 | herd)", cbpp, family="binomial").fit(**QUIET)


@pytest.mark.slow
def test_as_many_folds_as_groups_is_leave_one_out(post):
    found, loo = blm.kfold(post, k=18, unit="Subject", progressbar=False), post.loo("Subject")
    assert found.n_folds == 18 and found.kind == "loo_kfold" and found.unit == "Subject"
    # Monte Carlo error of both sides: it is largest for 332, an outlier, by 0.05 to 0.54 over seeds
    assert np.abs(found.elpd_i - loo.elpd_i).max() < 1.0
    assert found.elpd == pytest.approx(loo.elpd, abs=4 * np.hypot(found.mcse, 0.1))
    assert found.p == pytest.approx(loo.p, abs=1.0)
    assert list(found.elpd_i["Subject"].to_numpy()) == list(post.design.groups[0].levels)


def test_rows_see_nine_tenths_of_their_group(post, rows):
    loo = post.loo()
    assert rows.n_data_points == 180 and rows.n_folds == 5
    # four fifths of the rows tell less than all but one, unless the outliers of a subject are left out together
    assert loo.elpd - 20.0 < rows.elpd < loo.elpd + 15.0
    text = str(rows)
    assert text.startswith("5-fold cross-validation: one observation (a new row of a known group)")
    assert "elpd_kfold" in text and "Monte Carlo error" in text


def test_groups_of_crossed_factors(crossed):
    """A sample left out with all its rows, against y_j given draws of the other factor's effects, densely."""
    found = blm.kfold(crossed, unit="sample", progressbar=False)
    assert found.n_folds == 6 and list(found.elpd_i["sample_level"].to_numpy()) == list("ABCDEF")
    design = crossed.design
    codes = design.group("sample").codes
    fold = int(found.folds[codes == 0][0])
    out = found.folds == fold
    settings = crossed.settings.changed({"random_seed": 9, "progressbar": False})
    others = sample(design.rows(~out), crossed.priors, settings)
    own = design.rows(codes == 0)
    plates = others.draws("b_plate").reshape(4000, -1)[:, own.group("plate").codes]
    mean = others.draws("beta").reshape(4000, 1) + plates
    sd, sigma = others.draws("sd_sample").reshape(-1), others.draws("sigma").reshape(-1)
    log_density = [
        stats.multivariate_normal.logpdf(
            own.y, mean[s], sd[s] ** 2 + sigma[s] ** 2 * np.eye(own.n), allow_singular=False
        )
        for s in range(0, 4000, 4)
    ]
    expected = logsumexp(log_density) - np.log(1000)
    error = np.exp(log_density - expected).std() / np.sqrt(1000)
    assert float(found.elpd_i[0]) == pytest.approx(expected, abs=5 * np.hypot(error, found.mcse))


def test_another_family(herds):
    found = blm.kfold(herds, k=3, unit="herd", progressbar=False)
    assert found.n_data_points == 15
    # ten herds tell less than fourteen, by how much hangs on which are dealt together
    assert herds.loo("herd").elpd - 15.0 < found.elpd < herds.loo("herd").elpd + 4.0


@pytest.mark.slow
def test_another_family_with_as_many_folds_as_units(herds):
    groups = blm.kfold(herds, k=15, unit="herd", progressbar=False)
    np.testing.assert_allclose(groups.elpd_i, herds.loo("herd").elpd_i, atol=0.2)
    rows = blm.kfold(herds, k=56, progressbar=False)
    np.testing.assert_allclose(rows.elpd_i, herds.loo().elpd_i, atol=0.2)
    assert rows.elpd == pytest.approx(herds.loo().elpd, abs=5 * rows.mcse)


def test_groups_and_what_is_nested_in_them():
    pastes = blm.Model("strength ~ 1 + (1 | batch/cask)", blm.load_dataset("pastes")).fit(**QUIET)
    found = blm.kfold(pastes, k=10, unit="batch", progressbar=False)
    np.testing.assert_allclose(found.elpd_i, pastes.loo("batch").elpd_i, atol=0.3)
    casks = blm.kfold(pastes, k=3, unit="batch:cask", progressbar=False)  # refused by loo
    assert casks.n_data_points == 30 and np.isfinite(casks.elpd)


def test_rows_are_dealt_within_groups(post, crossed):
    folds = deal(post.design, "observation", 5, np.random.default_rng(1))
    each = pd.crosstab(post.design.groups[0].codes, folds).to_numpy()
    assert (each == 2).all()  # ten rows of every subject, two a fold
    folds = deal(crossed.design, "observation", 6, fixed_rng(1))  # of other deals some may hold none of a sample
    assert (pd.crosstab(crossed.design.group("plate").codes, folds).to_numpy() == 1).all()
    of_samples = pd.crosstab(crossed.design.group("sample").codes, folds).to_numpy()
    assert of_samples.min() > 0 and of_samples.max() < 12  # four of 24 on average
    folds = deal(post.design, "Subject", 4, np.random.default_rng(1))
    each = (pd.crosstab(post.design.groups[0].codes, folds) > 0).to_numpy()
    assert (each.sum(axis=1) == 1).all() and set(each.sum(axis=0)) == {4, 5}
    assert len(np.unique(deal(post.design, "Subject", 50, np.random.default_rng(1)))) == 18


def test_same_seed_same_numbers(post, rows):
    again = blm.kfold(post, k=5, progressbar=False)
    np.testing.assert_array_equal(again.folds, rows.folds)
    np.testing.assert_allclose(again.elpd_i, rows.elpd_i, rtol=1e-9)
    other = blm.kfold(post, k=5, random_seed=2, progressbar=False)
    assert (other.folds != rows.folds).any() and other.elpd != rows.elpd
    given = blm.kfold(post, folds=np.array(list("abcde"))[rows.folds], progressbar=False)
    np.testing.assert_allclose(given.elpd_i, rows.elpd_i, rtol=1e-9)


def test_results_are_compared_where_folds_are_the_same(sleep, post, rows):
    line = blm.Model("Reaction ~ Days + (1 | Subject)", sleep).fit(**QUIET)
    same = blm.kfold(line, folds=rows.folds, progressbar=False)
    found = blm.compare(rows, same, names=["slopes", "intercepts"])
    assert list(found.table.index) == ["slopes", "intercepts"] and found.unit == "observation"
    assert "5-fold cross-validation: one observation" in str(found)
    with pytest.raises(errors.InputError, match=r"different folds.*folds=other\.folds"):
        blm.compare(rows, blm.kfold(line, k=5, random_seed=2, progressbar=False))
    with pytest.raises(errors.InputError, match="5-fold cross-validation of one observation, m1 by Leave-one-out"):
        blm.compare(rows, line)
    with pytest.raises(errors.InputError, match="of another unit, 'observation'"):
        blm.compare(rows, same, unit="Subject")
    with pytest.raises(errors.InputError, match="different units"):
        blm.compare(post.loo(), line.loo("Subject"))


def test_a_large_monte_carlo_error_is_told(post, monkeypatch):
    monkeypatch.setattr(module, "LARGE_ERROR", 1e-4)
    with pytest.warns(errors.SamplingWarning, match="Monte Carlo error of 18 of 18 groups of Subject"):
        assert blm.kfold(post, k=2, unit="Subject", progressbar=False).warning


def test_a_coefficient_that_one_fold_alone_tells():
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 4), "x": 0.0, "y": np.random.default_rng(1).normal(size=24)})
    data.loc[8:11, "x"] = 1.0
    model = blm.Model("y ~ x + (1 | g)", data, priors={"fixed": blm.flat(), "Intercept": blm.flat()})
    flat = model.fit(**SHORT)
    with pytest.raises(errors.InputError, match="do not tell all coefficients with flat priors"):
        blm.kfold(flat, k=6, unit="g", progressbar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SamplingWarning)  # short chains, and a far prediction
        proper = flat.with_priors({"fixed": blm.Prior("Normal", mu=0, sigma=3)})
        assert np.isfinite(blm.kfold(proper, k=6, unit="g", progressbar=False).elpd)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"unit": "school"}, "'observation', 'Subject'"),
        ({"k": 1}, "at least 2"),
        ({"k": 2.5}, "at least 2"),
        ({"k": True}, "at least 2"),
        ({"k": 181}, "180 rows"),
        ({"folds": [0, 1]}, r"shape \(2,\); the fit uses 180"),
        ({"folds": np.zeros(180)}, "one fold holds all rows"),
        ({"folds": [np.nan] + [1.0] * 89 + [2.0] * 90}, "1 rows have no fold"),
        ({"folds": np.arange(180) % 2, "unit": "Subject"}, "18 levels of Subject are in several folds"),
    ],
)
def test_bad_input(post, options, match):
    with pytest.raises(errors.InputError, match=match):
        blm.kfold(post, **options)


def test_point_fits_are_refused(sleep):
    with pytest.raises(errors.InputError, match=r"from model\.fit\(\), not PointFit"):
        blm.kfold(blm.lmer("Reaction ~ Days + (1 | Subject)", sleep))
