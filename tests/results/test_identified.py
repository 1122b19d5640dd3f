"""Where the data do not tell all variances: what they tell is given, the rest is missing, and every verb says so."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors


def schools(seed=1):
    """One class a school."""
    rng = fixed_rng(seed)
    d = pd.DataFrame({"x": rng.normal(size=120), "s": np.repeat([f"s{i:02d}" for i in range(12)], 10)})
    d["y"] = d.x + np.repeat(rng.normal(0, 2, 12), 10) + rng.normal(size=120)
    return d.assign(c="c" + d.s, b=np.repeat(np.arange(12) % 2, 10), f=np.array(list("ab"))[np.arange(120) % 2])


def saturated(seed):
    """As many predictors of the groups as groups less one."""
    rng = np.random.default_rng(seed)
    d = pd.DataFrame({"s": np.repeat(list("ABCDEF"), 10)})
    for k in range(1, 6):
        d[f"z{k}"] = d.s.map(dict(zip("ABCDEF", rng.normal(size=6), strict=True)))
    d["y"] = d.s.map(dict(zip("ABCDEF", rng.normal(0, 1, 6), strict=True))) + rng.normal(size=60)
    return d


def untold(formula, data, **options):
    with pytest.warns(errors.WeaklyIdentifiedWarning, match="not identified"):
        fit = blm.lmer(formula, data, **options)
    assert fit.solution.status == "unidentified" and fit.verdict.startswith("not identified")
    return fit


PAIRS = [  # a model, and one that is the same with every variance told
    ("y ~ x + (1 | s / c)", "y ~ x + (1 | s)"),
    ("y ~ x + (1 | s) + (1 | c)", "y ~ x + (1 | s)"),
    ("y ~ x + (1 | c) + (1 | s)", "y ~ x + (1 | s)"),
    ("y ~ x + (x | s) + (1 | c)", "y ~ x + (x | s)"),
    ("y ~ x + (x || s) + (1 | c)", "y ~ x + (x || s)"),
    ("y ~ f + (1 | s) + (0 + f | s)", "y ~ f + (0 + f | s)"),
]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("formula", "told"), PAIRS)
def test_what_the_data_tell_is_that_of_the_model_that_they_tell(formula, told, reml):
    data, rng = schools(), np.random.default_rng(5)
    code, f = np.arange(120) // 10, (np.arange(120) % 2)
    data["y"] += rng.normal(0, 1, 12)[code] * data.x + rng.normal(0, 1.5, (12, 2))[code, f]  # all variances large
    fit, other = untold(formula, data, REML=reml), blm.lmer(told, data, REML=reml)
    assert fit.criterion == pytest.approx(other.criterion, abs=1e-6)
    assert np.allclose(fit.fitted(), other.fitted(), atol=1e-4)
    pd.testing.assert_frame_equal(fit.fixef(), other.fixef(), rtol=1e-4)
    pd.testing.assert_frame_equal(fit.vcov(), other.vcov(), rtol=1e-3, atol=1e-6)
    ddf = "satterthwaite"
    assert np.allclose(fit.fixef(ddf=ddf)["df"], other.fixef(ddf=ddf)["df"], rtol=0.03)
    assert fit.sigma == pytest.approx(other.sigma, rel=1e-4)
    assert fit.icc(by_group=False)["estimate"].to_numpy() == pytest.approx(
        other.icc(by_group=False)["estimate"].to_numpy(), rel=1e-3
    )
    assert fit.r2()["estimate"].to_numpy() == pytest.approx(other.r2()["estimate"].to_numpy(), rel=1e-3)
    for groups in ("observed", "new", "average", "population"):
        mine = fit.predict(data.head(4), groups=groups, interval="plug-in", kind="response")
        yours = other.predict(data.head(4), groups=groups, interval="plug-in", kind="response")
        assert np.allclose(mine[["estimate", "std_error"]], yours[["estimate", "std_error"]], rtol=1e-3)


def test_the_printed_case():
    fit = untold("y ~ x + (1 | s / c)", schools())
    table = fit.variance_components().set_index(["group", "quantity"])["estimate"]
    assert table[["s", "s:c"]].isna().all() and table["Residual"].notna().all()
    assert table["sd(s)² + sd(s:c)²", "combination"] == pytest.approx(7.9313, abs=2e-4)
    assert "only sd(s)² + sd(s:c)² = 7.931 is known" in fit.verdict
    assert re.search(r"^s +Intercept +- +-$", str(fit.summary()), re.M) and "converged" not in str(fit.summary())
    assert fit.ranef()["estimate"].isna().all() and fit.icc()["estimate"].isna().tolist() == [False, False, True, True]
    assert all(v.isna().all(axis=None) for v in fit.var_corr().values())
    coefficients = fit.coef(wide=True)
    assert coefficients["Intercept"].isna().all() and coefficients["x"].notna().all()
    tidied = fit.tidy(("fixed", "ran_pars"))
    assert tidied.loc[tidied.group.isin(["s", "s:c"]), "estimate"].isna().all()
    assert tidied.loc[tidied.group == "Residual", "estimate"].notna().all()
    halves = fit.predict(schools().head(2), groups={"s": "observed", "s:c": "average"})
    assert halves.isna().all()
    drawn = fit.predict(schools().head(2), groups={"s": "observed", "s:c": "new"}, draws=5, random_seed=1)
    assert np.isnan(drawn.to_numpy()).all()
    verdict = blm.check(fit)["identification"]
    assert verdict.level == "no" and "sd(s)² + sd(s:c)²" in verdict.words
    with pytest.raises(errors.UnidentifiedTermError, match="profile"):
        fit.profile(progressbar=False)
    wald = fit.confint()
    assert wald[["conf_low", "conf_high"]].notna().all(axis=None)


def test_a_bootstrap_leaves_out_the_same_numbers():
    fit = untold("y ~ x + (1 | s / c)", schools())
    options = {"draws": 4, "random_seed": 1, "cores": 1, "progressbar": False}
    table = fit.confint("boot", **options)
    missing = table["group"].isin(["s", "s:c"])
    assert table.loc[missing, ["estimate", "conf_low", "conf_high"]].isna().all(axis=None)
    assert table.loc[~missing, ["estimate", "conf_low", "conf_high"]].notna().all(axis=None)
    replicates = fit.bootstrap(**options)
    assert replicates[["s", "s:c"]].isna().all(axis=None) and replicates["Residual"].notna().all(axis=None)
    with_boot = fit.icc(bootstrap=4, random_seed=1, cores=1, progressbar=False)
    assert with_boot["conf_low"].isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("seed", range(6))
def test_a_flat_criterion_gives_no_standard_errors(seed):
    fit = untold("y ~ z1 + z2 + z3 + z4 + z5 + (1 | s)", saturated(seed))
    assert "the data say nothing about sd(s)²" in fit.verdict
    table = fit.fixef(ddf="satterthwaite")
    assert table["estimate"].notna().all()
    assert table[["std_error", "statistic", "p_value", "conf_low", "conf_high"]].isna().all(axis=None)
    means = saturated(seed).groupby("s")["y"].transform("mean")
    assert np.allclose(fit.fitted(), means)
    assert "nan" not in str(fit.summary())
    with pytest.warns(errors.SingularFitWarning):  # ML knows that the fixed part explains all there is
        assert blm.lmer("y ~ z1 + z2 + z3 + z4 + z5 + (1 | s)", saturated(seed), REML=False).is_singular


def test_a_sum_of_zero_tells_both():
    data = schools()
    data["y"] -= data.groupby("s")["y"].transform("mean")
    with pytest.warns(errors.SingularFitWarning):
        fit = blm.lmer("y ~ 1 + (1 | s) + (1 | c)", data)
    assert fit.solution.status == "boundary"
    assert all((v == 0).all(axis=None) for v in fit.var_corr().values())


def test_a_slope_that_is_constant_within_levels():
    """b is 0 or 1: the variance of the levels with 1 is told, not what it consists of."""
    data = schools()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.WeaklyIdentifiedWarning)
        fit = blm.lmer("y ~ x + b + (b | s)", data)
    assert fit.solution.status == "unidentified"
    components = fit.variance_components().set_index(["group", "term", "quantity"])["estimate"]
    assert components["s", "Intercept", "variance"] > 0  # that of the levels with b = 0
    assert np.isnan(components["s", "b", "variance"])
    assert fit.predict(data).notna().all()


def test_a_residual_that_only_the_fixed_part_hides():
    """Two rows of one level, both taken by dummies; without them one row a level is left."""
    d = pd.DataFrame({"g": [0, 0, *range(1, 20)], "y": fixed_rng(0).normal(size=21)})
    d["p"], d["q"] = (np.arange(21) == 0) * 1.0, (np.arange(21) == 1) * 1.0
    model = blm.Model("y ~ p + q + (1 | g)", d)
    assert any("sigma²" in trap for trap in model.explain().traps)
    with pytest.raises(errors.UnidentifiedTermError, match=r"sd\(g\)² \+ sigma²"):
        model.fit_reml()


def test_short_panels_are_fitted():
    """lme4 with its checks off, nlme and glmmTMB agree on these numbers."""
    rng = fixed_rng(39)
    k = rng.choice([1, 2, 3], 150, p=[0.4, 0.3, 0.3])
    s = np.repeat(np.arange(150), k)
    t = np.concatenate([np.arange(i) for i in k]) + rng.uniform(0, 0.5, len(s))
    b0, b1 = rng.normal(0, 2, 150), rng.normal(0, 1, 150)
    y = 5 + b0[s] + (1 + b1[s]) * t + rng.normal(size=len(s)) * 0.7
    fit = blm.lmer("y ~ t + (t | s)", pd.DataFrame({"s": [f"p{i}" for i in s], "t": t, "y": y}))
    cov = fit.var_corr()["s"].to_numpy()
    found = [cov[0, 0] ** 0.5, cov[1, 1] ** 0.5, cov[0, 1] / (cov[0, 0] * cov[1, 1]) ** 0.5, fit.sigma]
    assert fit.verdict == "converged" and found == pytest.approx([2.0009, 1.0015, 0.0642, 0.7456], abs=1e-4)
    assert blm.check(fit)["identification"].level == "ok"


def test_one_row_a_level_with_unequal_weights_is_fitted():
    """A meta-analysis with a residual factor: the criterion is that of independent rows, var = τ² + σ²/w."""
    rng = fixed_rng(2)
    w = rng.uniform(0.5, 20, 200)
    d = pd.DataFrame({"s": range(200), "w": w, "y": 1 + rng.normal(0, 1, 200) + rng.normal(0, 1.5, 200) / np.sqrt(w)})
    fit = blm.lmer("y ~ 1 + (1 | s)", d, weights="w", REML=False)
    assert fit.verdict == "converged"

    def deviance(tau2, sigma2):
        v = tau2 + sigma2 / w
        mean = np.average(d.y, weights=1 / v)
        return np.sum(np.log(2 * np.pi * v) + (d.y - mean) ** 2 / v)

    tau2, sigma2 = fit.var_corr()["s"].iloc[0, 0], fit.sigma**2
    assert fit.criterion == pytest.approx(deviance(tau2, sigma2), abs=1e-6)
    for a, b in ((1.02, 1), (0.98, 1), (1, 1.02), (1, 0.98)):
        assert deviance(a * tau2, b * sigma2) > fit.criterion


def test_saved_fits_are_judged_again(tmp_path):
    fit = untold("y ~ x + (1 | s / c)", schools())
    fit.save(tmp_path / "fit.nc") if hasattr(fit, "save") else blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    assert again.verdict == fit.verdict
    pd.testing.assert_frame_equal(again.variance_components(), fit.variance_components())


@pytest.mark.parametrize("method", ["exact", "nuts"])
def test_a_posterior_says_where_the_priors_decide(method):
    model = blm.Model("y ~ x + (1 | s / c)", schools())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SamplingWarning)
        post = model.fit(method=method, draws=200, tune=300, chains=2, random_seed=1, progressbar=False)
    told = "of the sds only sd(s)² + sd(s:c)² is known, the rest is the priors'"
    assert told in post.verdict and told in " ".join(str(post.summary()).split())
    verdict = blm.check(post)["identification"]
    assert verdict.level == "look" and "priors" in verdict.words


def test_a_posterior_that_the_data_tell_says_nothing():
    model = blm.Model("y ~ x + (1 | s)", schools())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SamplingWarning)
        post = model.fit(draws=200, chains=2, random_seed=1, progressbar=False)
    assert "known" not in post.verdict


def of_family(family, seed=2):
    """One class a school, and a response of a family."""
    d, rng = schools(seed), np.random.default_rng(seed)
    eta = 0.4 * d.x + np.repeat(rng.normal(size=12), 10)
    draw = {
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "zero_inflated_poisson": lambda: rng.poisson(np.exp(eta)) * (rng.random(120) < 0.7),
        "bernoulli": lambda: (rng.random(120) < 1.0 / (1.0 + np.exp(-2.0 * eta))).astype(int),
        "ordinal": lambda: np.digitize(eta + rng.logistic(size=120), [-1.0, 0.5]),
        "gamma": lambda: np.exp(eta) * rng.gamma(3.0, size=120),
        "student_t": lambda: eta + rng.standard_t(4, size=120),
    }
    return d.assign(y=draw[family]())


@pytest.mark.parametrize(
    ("family", "formula", "told"),
    [
        *(
            (family, "y ~ x + (1 | s / c)", "y ~ x + (1 | s)")
            for family in ("poisson", "zero_inflated_poisson", "bernoulli", "ordinal", "gamma", "student_t")
        ),
        ("poisson", "y ~ x + (x || s) + (1 | c)", "y ~ x + (x || s)"),
    ],
)
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_of_other_families_what_the_data_tell_is_that_of_the_model_that_they_tell(family, formula, told, tmp_path):
    data = of_family(family)
    with pytest.warns(errors.WeaklyIdentifiedWarning, match=r"only sd\(s"):
        fit = blm.Model(formula, data, family=family).fit_ml()
    other = blm.Model(told, data, family=family).fit_ml()
    assert fit.verdict.startswith("not identified") and blm.check(fit)["identification"].level == "no"
    assert fit.criterion == pytest.approx(other.criterion, abs=1e-5)
    assert np.allclose(fit.fitted(), other.fitted(), atol=2e-3)
    # errors come from differences of gradients, here and there in other coordinates
    pd.testing.assert_frame_equal(fit.fixef(), other.fixef(), rtol=5e-3, atol=1e-4)
    table = fit.variance_components().set_index(["group", "term", "quantity"])["estimate"]
    split = table[[row for row in table.index if row[0] in ("s", "s:c", "c") and row[1] == "Intercept"]]
    assert len(split) == 4 and split.isna().all()
    combined = next(v for (name, _, kind), v in table.items() if kind == "combination")
    expected = other.var_corr()["s"].loc["Intercept", "Intercept"]
    assert combined == pytest.approx(expected, rel=5e-3, abs=1e-4)
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    assert again.verdict == fit.verdict and again.variance_components().equals(fit.variance_components())


def test_of_other_families_a_structure_with_untold_variances_is_refused():
    data = of_family("poisson")
    with pytest.raises(errors.UnidentifiedTermError, match="the data do not tell all variances"):
        blm.Model("y ~ x + (1 | c) + cs(0 + f | s, hom=True)", data, family="poisson").fit_ml()


def test_a_restricted_likelihood_of_counts_is_flat_where_predictors_tell_all_levels():
    data = saturated(1)
    data["y"] = np.random.default_rng(1).poisson(np.exp(0.5 * data.y.clip(-2, 2)))
    model = blm.Model("y ~ z1 + z2 + z3 + z4 + z5 + (1 | s)", data, family="poisson")
    with pytest.warns(errors.WeaklyIdentifiedWarning, match=r"the data say nothing about sd\(s\)²"):
        assert model.fit_reml().var_corr()["s"].isna().all(axis=None)
    with pytest.warns(errors.SingularFitWarning):
        assert model.fit_ml().is_singular


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_slopes_of_columns_that_say_the_same_are_not_told_at_a_boundary_either():
    """No straight line from a singular covariance matrix stays among covariance matrices."""
    data = schools().assign(x2=lambda d: 2.0 * d.x)
    fit = untold("y ~ x + (x + x2 | s)", data)
    table = fit.variance_components().set_index(["term", "quantity"])["estimate"]
    assert table[[("x", "sd"), ("x2", "sd"), ("x, x2", "cor")]].isna().all()
    assert np.isfinite(table["Intercept", "sd"])
    assert np.allclose(fit.fitted(), blm.lmer("y ~ x + (x | s)", data).fitted(), atol=1e-3)


def test_check_answers_where_no_error_is_told():
    data = schools()
    fit = untold("y ~ s + f + (1 | s)", data)
    assert blm.check(fit)["identification"].level == "no" and blm.check(fit)["collinearity"].words
