"""The façade: what a user meets first, on good and on bad input."""

from __future__ import annotations

import doctest
import pathlib

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


def test_every_public_name_resolves_and_is_documented():
    for name in blm.__all__:
        thing = getattr(blm, name)
        assert name == "__version__" or thing.__doc__, name
    assert set(blm.__all__) <= set(dir(blm))
    with pytest.raises(AttributeError, match="no attribute 'lme'"):
        blm.lme  # noqa: B018


def test_examples_in_docstrings_run():
    from bayeslmm import model
    from bayeslmm.design import priors
    from bayeslmm.formulas import formula
    from bayeslmm.model_comparison import anova

    for module in (model, anova, priors, formula):
        failed, tried = doctest.testmod(module)
        assert tried > 0 and failed == 0, module.__name__


def test_lmer_is_a_synonym(sleep):
    formula = "Reaction ~ Days + (Days | Subject)"
    model = blm.Model(formula, sleep)
    assert blm.lmer(formula, sleep).criterion == model.fit_reml().criterion
    assert blm.lmer(formula, sleep, REML=False).criterion == model.fit_ml().criterion


def test_functions_of_the_caller_are_seen(sleep):
    def half(x):
        return x / 2

    fit = blm.Model("Reaction ~ half(Days) + (1 | Subject)", sleep).fit_reml()
    plain = blm.Model("Reaction ~ Days + (1 | Subject)", sleep).fit_reml()
    assert fit.fixef()["estimate"].iloc[1] == pytest.approx(2 * plain.fixef()["estimate"].iloc[1])
    assert half(2) == 1


def test_shifted_and_scaled_predictors_reach_the_same_optimum(sleep):
    plain = blm.Model("Reaction ~ Days + (Days | Subject)", sleep).fit_reml()
    far = sleep.assign(Days=1e6 * (sleep["Days"] + 1e4))
    fit = blm.Model("Reaction ~ Days + (Days | Subject)", far).fit_reml()
    # |XᵀV⁻¹X| changes by the known factor 10⁶ squared; nothing else does
    assert fit.criterion == pytest.approx(plain.criterion + 2 * np.log(1e6), abs=1e-5)
    assert fit.sigma == pytest.approx(plain.sigma, rel=1e-7)
    assert fit.fixef().loc["Days", "estimate"] == pytest.approx(plain.fixef().loc["Days", "estimate"] / 1e6, rel=1e-6)


def test_a_singular_fit_warns_and_has_exact_zeros():
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff2"))
    with pytest.warns(errors.SingularFitWarning, match="Batch"):
        fit = model.fit_reml()
    assert (fit.ranef()["estimate"] == 0.0).all()
    assert fit.icc().loc["adjusted", "estimate"] == 0.0


def test_weights_are_relative_precisions():
    """Weights times c: σ² times c, everything else as it was."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.arange(40) % 8, "x": rng.normal(size=40), "w": rng.uniform(1, 4, 40)})
    data["y"] = rng.normal(size=8)[data["g"]] * 2 + data["x"] + rng.normal(size=40)
    a = blm.Model("y ~ x + (1 | g)", data, weights="w").fit_reml().solution
    b = blm.Model("y ~ x + (1 | g)", data.assign(w=3 * data["w"]), weights="w").fit_reml().solution
    unweighted = blm.Model("y ~ x + (1 | g)", data).fit_reml().solution
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-6)
    np.testing.assert_allclose(a.covariances[0], b.covariances[0], rtol=1e-6)
    assert b.sigma == pytest.approx(a.sigma * np.sqrt(3), rel=1e-6)
    assert b.criterion == pytest.approx(a.criterion, abs=1e-6)
    assert np.abs(a.beta - unweighted.beta).max() > 1e-3


def test_model_prints_rows_groups_and_priors(sleep):
    text = repr(blm.Model("Reaction ~ Days + (Days | Subject)", sleep))
    assert "180 used" in text and "Subject (18 levels: Intercept, Days)" in text and "LKJ(2)" in text
    assert max(map(len, text.splitlines())) <= 100
    html = blm.Model("Reaction ~ Days + (1 | Subject)", sleep)._repr_html_()
    assert html.count("<table") == 2 and "HalfStudentT(nu=3, sigma=56.33)" in html


def test_reml_summary_is_what_the_first_page_shows(sleep):
    summary = str(blm.Model("Reaction ~ Days + (Days | Subject)", sleep).fit_reml().summary())
    assert summary in (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    assert max(map(len, summary.splitlines())) <= 80


@pytest.mark.parametrize(
    ("formula", "change", "error", "message"),
    [
        ("Reaction ~ Dayz + (1 | Subject)", {}, errors.UnknownColumnError, "Days"),
        ("Reactoin ~ Days + (1 | Subject)", {}, errors.UnknownColumnError, "Reaction"),
        ("Reaction ~ Days + (1 | Subjct)", {}, errors.UnknownColumnError, "Subject"),
        ("Reaction ~ Days + (1 | )", {}, errors.FormulaError, "group"),
        ("Reaction ~ Days + (1 | Subject", {}, errors.FormulaError, r"\^"),
        ("Reaction ~ Days + (1 | Subject)", {"Subject": "a"}, errors.InputError, "level"),
        ("Reaction ~ Days + (1 | Subject)", {"Subject": range(180)}, errors.UnidentifiedTermError, "180"),
        ("Reaction ~ Days + (1 | Subject)", {"Reaction": np.inf}, errors.NonFiniteError, "Reaction"),
        ("Reaction ~ Days + (1 | Subject)", {"Reaction": "slow"}, errors.DataError, "Reaction"),
    ],
)
def test_bad_input(sleep, formula, change, error, message):
    with pytest.raises(error, match=message):
        blm.Model(formula, sleep.assign(**{k: list(v) if isinstance(v, range) else v for k, v in change.items()}))


def test_bad_tables(sleep):
    formula = "Reaction ~ Days + (1 | Subject)"
    with pytest.raises(errors.DataError):
        blm.Model(formula, sleep.iloc[:0])
    for data in ([1, 2, 3], sleep[["Reaction", "Days"]].to_numpy()):
        with pytest.raises(errors.DataError, match="DataFrame"):
            blm.Model(formula, data)


def test_what_is_not_offered_says_who_does(sleep):
    with pytest.raises(errors.InputError, match="families are gaussian, student_t"):
        blm.Model("Reaction ~ Days + (1 | Subject)", sleep, family="tweedie")
    with pytest.raises(errors.InputError, match="links of poisson are log, sqrt, identity"):
        blm.Model("Reaction ~ Days + (1 | Subject)", sleep, family="poisson", link="logit")


def test_without_a_bar_it_is_least_squares(sleep):
    fit = blm.Model("Reaction ~ Days", sleep).fit_reml()
    X = np.column_stack([np.ones(180), sleep["Days"]])
    y = sleep["Reaction"].to_numpy()
    beta, rss, *_ = np.linalg.lstsq(X, y, rcond=None)
    np.testing.assert_allclose(fit.fixef()["estimate"], beta, rtol=1e-10)
    assert fit.sigma**2 == pytest.approx(rss[0] / 178, rel=1e-10)
    assert (fit.fixef(ddf="satterthwaite")["df"] == 178).all()
    assert "no random effects" in str(fit.summary())
    with pytest.raises(errors.NotAvailableError, match="no random effects"):
        fit.icc()


def test_point_fit_refuses_what_it_does_not_know(sleep):
    fit = blm.Model("Reaction ~ Days + (1 | Subject)", sleep).fit_reml()
    with pytest.raises(errors.InputError, match="ci_prob"):
        fit.fixef(ci_prob=95)
    with pytest.raises(errors.InputError, match="working"):
        fit.residuals("working")
    with pytest.raises(errors.InputError, match="Hours"):
        fit.icc(at={"Hours": [1]})


def test_icc_as_a_curve(sleep):
    fit = blm.Model("Reaction ~ Days + (Days | Subject)", sleep).fit_reml()
    cov, s2 = fit.var_corr()["Subject"].to_numpy(), fit.sigma**2
    table = fit.icc(at={"Days": [0, 5, 9]})
    for days, value in table.to_numpy():
        z = np.array([1.0, days])
        assert value == pytest.approx(z @ cov @ z / (z @ cov @ z + s2), rel=1e-12)


def test_the_posterior_is_exact_where_the_model_allows_it(sleep):
    model = blm.Model("Reaction ~ Days + (Days | Subject)", sleep)
    post = model.fit(random_seed=1, progressbar=False)
    assert "exact sampler" in " ".join(str(post.summary()).split()) and "k-hat" in post.verdict
    again = model.fit(method="exact", random_seed=1, progressbar=False)
    np.testing.assert_array_equal(post.draws("b_Subject"), again.draws("b_Subject"))
    assert set(post.idata.children) == {"posterior", "sample_stats", "observed_data", "constant_data"}
    assert {
        v: post.idata.posterior[v].dims[2:] for v in ("sd_Subject", "cor_Subject", "b_Subject", "beta", "sigma")
    } == {
        "sd_Subject": ("Subject_term",),
        "cor_Subject": ("Subject_term", "Subject_term_bis"),
        "b_Subject": ("Subject", "Subject_term"),
        "beta": ("coef",),
        "sigma": (),
    }


def test_what_the_exact_sampler_cannot_do_is_said(sleep):
    laplace = {"Intercept": blm.Prior("Laplace", mu=300.0, b=50.0)}
    model = blm.Model("Reaction ~ Days + (1 | Subject)", sleep, priors=laplace)
    with pytest.raises(errors.NotAvailableError, match="Intercept"):
        model.fit(method="exact")
    post = model.fit(random_seed=1, draws=500, tune=500, progressbar=False)
    words = " ".join(str(post.summary()).split())
    assert "by NUTS (nutpie), since Intercept has the prior Laplace" in words


def test_functions_of_the_user_are_found_wherever_a_formula_is_taken(tmp_path):
    """In the scope of the caller, behind whatever wraps the function or verb that is called."""

    def half(values):
        return np.asarray(values) / 2.0

    data, formula = blm.load_dataset("sleepstudy"), "Reaction ~ half(Days) + (1 | Subject)"
    plain = blm.Model("Reaction ~ Days + (1 | Subject)", data)
    wanted = 2.0 * plain.fit_reml().fixef()["estimate"]["Days"]
    fit = blm.lmer(formula, data)
    blm.save(fit, tmp_path / "fit.nc")
    for made in (
        fit,
        blm.Model(formula, data).fit_reml(),
        plain.update(". ~ half(Days) + (1 | Subject)").fit_reml(),
        plain.fit_reml().update(". ~ half(Days) + (1 | Subject)"),
        blm.load(tmp_path / "fit.nc", trust=True),
        blm.fit_imputed(formula, [data, data]),
    ):
        assert made.fixef()["estimate"]["half(Days)"] == pytest.approx(wanted, rel=1e-9)
    whether = blm.glmer("I(Reaction > 300) ~ half(Days) + (1 | Subject)", data, family="bernoulli")
    assert "half(Days)" in whether.fixef().index
