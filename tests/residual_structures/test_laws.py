"""What residual structures have to do, whatever the numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayeslmm as blm
from bayeslmm.cli.main import main
from bayeslmm.engine.residual_search import Criteria
from bayeslmm.engine.scaling import Problem
from bayeslmm.residual_structures import CORRELATIONS, Blocks
from tests.laws.same import quietly
from tests.residual_structures.test_oracle import table
from tests.strategies import examples


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


def test_exchangeable_residuals_are_a_random_intercept(sleep):
    """While ρ > 0: τ² is ρ times the variance."""
    gls = blm.Model("Reaction ~ Days", sleep, residual="cs(1 | Subject)").fit_reml()
    lme = blm.Model("Reaction ~ Days + (1 | Subject)", sleep).fit_reml()
    np.testing.assert_allclose(gls.criterion, lme.criterion, rtol=1e-11)
    np.testing.assert_allclose(gls.vcov(), lme.vcov(), rtol=1e-6)
    tau2, sigma2 = lme.solution.covariances[0][0, 0], lme.sigma**2
    np.testing.assert_allclose(gls.sigma**2, tau2 + sigma2, rtol=1e-5)
    np.testing.assert_allclose(gls.solution.residual[0], tau2 / (tau2 + sigma2), rtol=1e-5)
    # and so are the degrees of freedom, though the parameters are others
    np.testing.assert_allclose(gls.fixef()["df"], lme.fixef()["df"], rtol=1e-4)


def test_exchangeable_residuals_may_repel_each_other():
    """Where a random intercept stops at zero."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(30, 3))
    z -= 0.9 * z.mean(axis=1, keepdims=True)
    data = pd.DataFrame({"y": z.ravel(), "g": np.repeat(np.arange(30), 3)})
    fit = blm.Model("y ~ 1", data, residual="cs(1 | g)").fit_ml()
    assert -0.5 < fit.solution.residual[0] < -0.3
    assert fit.criterion < blm.Model("y ~ 1", data).fit_ml().criterion - 5.0


@given(seed=st.integers(0, 2**32 - 1))
@examples(4)
def test_a_structure_that_is_not_needed_is_the_plain_model(seed):
    """At equal sds, and at ρ = 0, the criterion is that of the plain model; at the optimum it is no higher."""
    data = table(seed)
    plain = blm.Model("y ~ x", data).fit_ml()
    for options in ({"sigma": "~ f"}, {"residual": "ar1(t | s)"}, {"residual": "us(v | s)"}):
        model = blm.Model("y ~ x", data, **options)
        problem = Problem.of(model.design)
        nothing = np.zeros(problem.residual.n_values)
        np.testing.assert_allclose(
            Criteria(problem, reml=False).value(nothing, np.zeros(0)), plain.criterion, rtol=1e-11
        )
        if model.design.residual.n_parameters == 1:  # others take their time, and are no different
            assert quietly(model.fit_ml).criterion <= plain.criterion + 1e-8


def test_strata_that_share_nothing_are_fits_of_their_own():
    """Every coefficient and every sd by stratum: the ML deviance is the sum of the two."""
    data = table(7)
    both = blm.Model("y ~ f * x", data, sigma="~ f").fit_ml()
    alone = [blm.Model("y ~ x", data[data["f"] == f]).fit_ml() for f in ("a", "b")]
    np.testing.assert_allclose(both.criterion, sum(fit.criterion for fit in alone), rtol=1e-10)
    told = both.variance_components().set_index(["group", "term", "quantity"])["estimate"]["Residual"]
    np.testing.assert_allclose([told[f, "sd"] for f in ("a", "b")], [fit.sigma for fit in alone], rtol=1e-5)


def test_units_and_order_of_rows_change_nothing():
    data = table(9)
    fit = quietly(blm.Model("y ~ x + (1 | site)", data, sigma="~ x", residual="car1(u | s)").fit_reml)
    other = data.assign(y=10.0 * data["y"] + 3.0, x=100.0 * data["x"], u=60.0 * data["u"]).sample(
        frac=1.0, random_state=1
    )
    again = quietly(blm.Model("y ~ x + (1 | site)", other, sigma="~ x", residual="car1(u | s)").fit_reml)
    np.testing.assert_allclose(again.solution.residual[0] * 100.0, fit.solution.residual[0], rtol=1e-4)
    np.testing.assert_allclose(again.solution.residual[1] ** 60.0, fit.solution.residual[1], rtol=1e-4)
    np.testing.assert_allclose(again.sigma, 10.0 * fit.sigma, rtol=1e-5)
    np.testing.assert_allclose(again.fixef()["df"], fit.fixef()["df"], rtol=1e-3)


@pytest.mark.parametrize("name", CORRELATIONS)
@given(seed=st.integers(0, 2**32 - 1))
@examples(10)
def test_whitening_and_noise_are_roots_of_the_correlation(name, seed):
    """WᵀW = R⁻¹ and NNᵀ = R for blocks of any size, in any order; free coordinates go there and back."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, 12)
    positions = np.zeros(12)
    for c in range(4):
        own = codes == c
        positions[own] = np.sort(rng.choice(12, own.sum(), replace=False))
    levels = 12 if CORRELATIONS[name].of_levels else 0
    structure, blocks = CORRELATIONS[name](), Blocks.of(codes, positions, levels)
    count = structure.count(blocks)
    free = rng.normal(size=count) * (0.5 if levels else 1.0)
    rho = structure.natural(free, blocks)
    np.testing.assert_allclose(structure.free(rho, blocks), free, rtol=1e-6, atol=1e-8)
    order = blocks.order
    R = np.eye(12)
    for c in range(4):
        own = np.flatnonzero(codes[order] == c)
        R[np.ix_(own, own)] = structure.matrix(rho, blocks.positions[own])
    white, log_det = structure.whiten(rho, blocks, np.eye(12))
    np.testing.assert_allclose(white.T @ white @ R, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(R)[1], atol=1e-9)
    noise = structure.correlated(rho, blocks, np.eye(12))
    np.testing.assert_allclose(noise @ noise.T, R, atol=1e-9)


def test_simulated_responses_have_the_structure(sleep):
    fit = blm.Model("Reaction ~ Days", sleep, residual="ar1(Days | Subject)", sigma="~ Days").fit_reml()
    drawn = (fit.simulate(4000, random_seed=1).to_numpy().T - fit.fitted()) / fit.sigma
    own = drawn[:, :10]  # of the first subject
    days, (slope, rho) = np.arange(10), fit.solution.residual
    sd = np.exp(slope * days)
    wanted = sd[:, None] * rho ** np.abs(days[:, None] - days) * sd
    # a covariance of 4,000 draws errs by some 2.3 % of the product of the sds
    assert np.abs(np.cov(own.T) - wanted).max() < 0.1 * wanted.max()
    assert np.abs(np.corrcoef(drawn[:, 9], drawn[:, 10])[0, 1]) < 0.06  # of two subjects


def test_residuals_are_scaled_by_the_sd_of_their_row():
    fit = blm.Model("y ~ x", table(13), sigma="~ f", weights="w").fit_reml()
    frame = fit.design.frame
    sd = fit.sigma * np.exp(fit.solution.residual[0] * (frame["f"] == "b")) / np.sqrt(table(13)["w"])
    np.testing.assert_allclose(fit.residuals("scaled"), fit.residuals() / sd, rtol=1e-10)


def test_intervals_of_new_rows_have_the_sd_of_their_stratum():
    data = table(15)
    fit = blm.Model("y ~ x", data, sigma="~ f").fit_reml()
    rows = pd.DataFrame({"x": [0.0, 0.0], "f": ["a", "b"]})
    mean = fit.predict(rows, interval="plug-in")
    one = fit.predict(rows, kind="response", interval="plug-in")
    added = np.sqrt(one["std_error"] ** 2 - mean["std_error"] ** 2)
    np.testing.assert_allclose(added, fit.sigma * np.exp(fit.solution.residual[0] * np.array([0.0, 1.0])), rtol=1e-8)
    # the df of an observation are next to those of its own sd: about twice the rows of its stratum over ... at most n
    assert (one["df"] < len(data)).all()
    assert one["df"].iloc[0] > one["df"].iloc[1]  # the stratum b has fewer rows


def test_refits_search_the_residual_parameters_anew(sleep):
    model = blm.Model("Reaction ~ Days", sleep, residual="ar1(Days | Subject)")
    fit = model.fit_reml()
    again = fit.refit(fit.simulate(1, random_seed=3)["sim_1"])
    assert again.solution.residual[0] != fit.solution.residual[0]
    boot = fit.bootstrap(8, random_seed=1, cores=1, progressbar=False)
    drawn = boot["Residual", "cor__rho"]
    assert drawn.std() > 0.01 and abs(drawn.mean() - fit.solution.residual[0]) < 0.1


def test_larger_structures_are_tested_against_smaller_ones(sleep):
    formula = "Reaction ~ Days"
    plain = blm.Model(formula, sleep).fit_reml()
    ar1 = blm.Model(formula, sleep, residual="ar1(Days | Subject)").fit_reml()
    both = blm.Model(formula, sleep, residual="ar1(Days | Subject)", sigma="~ Days").fit_reml()
    cs = blm.Model(formula, sleep, residual="cs(1 | Subject)").fit_reml()
    found = blm.anova(plain, ar1, both).table
    assert found["nested"].tolist() == [None, True, True]
    np.testing.assert_allclose(found["chisq"].iloc[1], plain.criterion - ar1.criterion)
    assert found["df"].iloc[1:].tolist() == [1.0, 1.0]
    assert (
        "False" in str(blm.anova(ar1, cs).table["nested"].tolist())
        or blm.anova(ar1, cs).table["nested"].iloc[1] is False
    )


def test_checks_look_at_decorrelated_residuals_and_name_the_remedy(sleep):
    plain = blm.Model("Reaction ~ Days", sleep).fit_reml()
    told = blm.check(plain, by=sleep["Subject"])["independence"]
    assert told.level == "no" and 'residual="ar1(time | Subject)"' in told.remedy
    model = blm.Model("Reaction ~ Days", sleep, residual="ar1(Days | Subject)")
    better = model.fit_reml()
    better = better.refit(better.simulate(1, random_seed=4)["sim_1"])  # data of this very model
    after = blm.check(better)["independence"]
    assert after.level == "ok", after.sentence
    data = table(17, subjects=80)
    unequal = blm.Model("y ~ x + f", data.assign(y=data["y"] * np.where(data["f"] == "b", 3.0, 1.0))).fit_reml()
    remedy = blm.check(unequal)["residual variance"].remedy
    assert 'sigma="~ f"' in remedy


def test_files_and_updates_keep_the_structure(sleep, tmp_path):
    fit = blm.Model("Reaction ~ Days", sleep, residual="ar1(Days | Subject)", sigma="~ Days").fit_reml()
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.solution.residual, fit.solution.residual)
    assert again.design.described == fit.design.described
    np.testing.assert_array_equal(again.predict(sleep.head(2)), fit.predict(sleep.head(2)))
    fewer = fit.update(". ~ . - Days")
    assert fewer.design.residual.text == fit.design.residual.text


def test_a_covariance_for_each_arm_is_two_fits():
    """Where the arms share nothing else: the ML deviance is the sum of two, and the common matrix is nested in it."""
    data = table(19, subjects=40)
    both = blm.Model("y ~ arm * x", data, residual="us(arm:v | s)").fit_ml()
    alone = [blm.Model("y ~ x", part, residual="us(v | s)").fit_ml() for _, part in data.groupby("arm")]
    np.testing.assert_allclose(both.criterion, sum(fit.criterion for fit in alone), rtol=1e-9)
    common = blm.Model("y ~ arm * x", data, residual="us(v | s)").fit_ml()
    found = blm.anova(common, both).table
    assert found["nested"].tolist() == [None, True] and found["df"].iloc[1] == 10.0


def test_tables_reports_and_the_command_line_name_the_structure(sleep, tmp_path, capsys):
    fit = blm.Model("Reaction ~ Days", sleep, residual="ar1(Days | Subject)", sigma="~ Days").fit_reml()
    blm.report(fit, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "residual=&#x27;ar1(Days | Subject)&#x27;" in html
    told = str(blm.model_table(fit))
    assert "ρ residual: rho" in told and "log σ: Days" in told
    options = ["--reml", "--residual", "ar1(Days | Subject)", "--sigma", "~ Days"]
    assert main(["fit", "sleepstudy", "Reaction ~ Days", *options]) == 0
    assert "correlation rho" in capsys.readouterr().out
    assert main(["fit", "sleepstudy", "Reaction ~ Days", *options[1:], "--draws", "200", "--seed", "1"]) == 0
    assert "log_ratio(Days)" in capsys.readouterr().out


def test_a_correlation_that_decays_at_once_is_none():
    """The best rate of a CAR(1) may be beyond all bounds: the fit is that without it."""
    data = table(1101140973, subjects=20)
    fit = quietly(blm.Model("y ~ x + f + (1 | s)", data, sigma="~ f", residual="car1(u | s)").fit_reml)
    plain = quietly(blm.Model("y ~ x + f + (1 | s)", data, sigma="~ f").fit_reml)
    assert fit.solution.residual[-1] < 1e-3
    # the rate is searched up to 40 per typical gap: neighbours that lie much closer keep a little of a correlation
    np.testing.assert_allclose(fit.criterion, plain.criterion, rtol=1e-5)
