"""Densities, marks, priors and curves of variances."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.errors import InputError, RefusedVerbError


def line(ax, label):
    return next(one for one in ax.get_lines() if one.get_label() == label)


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def entries(figure):
    return [t.get_text() for t in figure.legends[0].get_texts()]


@pytest.mark.parametrize("quantity", ["sd", "variance", "cor", "share"])
def test_the_mark_is_the_point_estimate_and_the_density_the_posterior(point, post, quantity):
    reml, fit = point("sleepstudy"), post("sleepstudy")
    figure = blm.plot_variance(fit, point=reml, quantity=quantity)
    estimates = reml.variance_components().query("quantity == @quantity")["estimate"]
    means = fit.variance_components().query("quantity == @quantity")["mean"]
    assert len(figure.axes) == len(estimates)
    for ax, estimate, mean in zip(figure.axes, estimates, means, strict=True):
        assert line(ax, "REML").get_xdata()[0] == pytest.approx(estimate)
        at, height = line(ax, "posterior").get_data()
        total = np.trapezoid(height, at)
        assert total == pytest.approx(1.0, abs=0.02)  # smoothing at the ends
        assert np.trapezoid(at * height, at) / total == pytest.approx(mean, rel=0.02, abs=0.02)
    assert entries(figure) == ["posterior", "prior", "REML"]


def test_panels_are_named_in_the_words_of_the_formula(post):
    assert titles(blm.plot_variance(post("sleepstudy"))) == [
        "sd(Intercept | Subject)",
        "sd(Days | Subject)",
        "sd(Residual)",
    ]
    assert titles(blm.plot_variance(post("sleepstudy"), quantity="cor")) == ["cor(Intercept, Days | Subject)"]
    assert titles(blm.plot_variance(post("science"), quantity="share")) == [
        "share of school",
        "share of school:class",
        "share of Residual",
    ]


def test_the_prior_is_the_one_of_the_model(post):
    fit = post("penicillin").with_priors({"sd": blm.Prior("HalfNormal", sigma=2.0)}, random_seed=1)
    ax = blm.plot_variance(fit).axes[1]
    at, height = line(ax, "prior").get_data()
    inside = (at > 0.2) & (at < 4.0)
    # 20,000 draws: the relative error of a density estimate where it is not small is a few per cent
    np.testing.assert_allclose(height[inside], stats.halfnorm.pdf(at[inside], scale=2.0), rtol=0.12)


def test_flat_priors_are_not_drawn():
    flat = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"), priors={"sd": blm.flat()})
    fit = flat.fit(random_seed=1)
    for draw in (blm.plot_variance, blm.plot_icc, blm.plot_prior_posterior):
        figure = draw(fit)
        assert entries(figure) == ["posterior"]
        assert "flat priors" in figure.get_supxlabel()
    assert "flat" not in blm.plot_variance(fit, prior=False).get_supxlabel()


def test_a_constant_of_the_family_has_no_panel(post):
    assert titles(blm.plot_variance(post("cbpp"))) == ["sd(Intercept | herd)"]


def test_a_point_fit_has_profile_intervals(point):
    reml = point("sleepstudy")
    (ax,) = blm.plot_variance(reml).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "sd(Intercept | Subject)",
        "sd(Days | Subject)",
        "sd(Residual)",
    ]
    table = reml.confint("profile", progressbar=False).set_index("term")
    table = table.loc[["sd__Intercept", "sd__Days", "sd__Observation"]]
    np.testing.assert_allclose(ax.get_lines()[0].get_xdata(), table["estimate"], rtol=1e-6)
    drawn = np.array([segment[:, 0] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(drawn, table[["conf_low", "conf_high"]], rtol=1e-6)
    squared = blm.plot_variance(reml, quantity="variance").axes[0].collections[0].get_segments()
    np.testing.assert_allclose([s[:, 0] for s in squared], drawn**2)
    assert not blm.plot_variance(reml, quantity="share").axes[0].collections


def test_icc_of_every_factor(point, post):
    figure = blm.plot_icc(post("science"), point=point("science"))
    assert titles(figure) == [f"ICC, {name}" for name in point("science").icc().index]
    for ax, value in zip(figure.axes, point("science").icc()["estimate"], strict=True):
        assert line(ax, "REML").get_xdata()[0] == pytest.approx(value)
    assert titles(blm.plot_icc(post("sleepstudy"))) == ["ICC, adjusted", "ICC, unadjusted"]
    # without predictors the two are one
    assert titles(blm.plot_icc(post("penicillin"))) == ["ICC, adjusted", "ICC, plate", "ICC, sample"]


def test_icc_along_a_predictor(point, post):
    figure = blm.plot_icc(post("sleepstudy"), at="Days", point=point("sleepstudy"))
    (ax,) = figure.axes
    said = post("sleepstudy").icc(at="Days")
    np.testing.assert_allclose(line(ax, "posterior").get_xydata(), said[["Days", "mean"]])
    np.testing.assert_allclose(line(ax, "REML").get_ydata(), point("sleepstudy").icc(at="Days")["estimate"])
    assert len(ax.collections) == 2
    assert figure.get_supxlabel() == "50 and 95 % intervals"


def test_icc_of_a_point_fit_with_a_bootstrap(point):
    figure = blm.plot_icc(point("sleepstudy"), bootstrap=20, random_seed=1)
    said = point("sleepstudy").icc(bootstrap=20, random_seed=1, progressbar=False).loc[["adjusted", "unadjusted"]]
    drawn = [segment[:, 0] for segment in figure.axes[0].collections[0].get_segments()]
    np.testing.assert_allclose(drawn, said[["conf_low", "conf_high"]])
    assert not blm.plot_icc(point("sleepstudy")).axes[0].collections


def test_prior_and_posterior_of_every_parameter(post):
    figure = blm.plot_prior_posterior(post("sleepstudy"))
    assert titles(figure) == [
        "Intercept",
        "Days",
        "sd(Intercept | Subject)",
        "sd(Days | Subject)",
        "cor(Intercept, Days | Subject)",
        "sigma",
    ]
    cor = figure.axes[4]
    at, height = line(cor, "prior").get_data()  # LKJ(2) of two: 2 Beta(2, 2) − 1
    inside = np.abs(at) < 0.6
    np.testing.assert_allclose(height[inside], stats.beta.pdf((at[inside] + 1) / 2, 2, 2) / 2, rtol=0.12)
    assert titles(blm.plot_prior_posterior(post("sleepstudy"), terms=["sigma"])) == ["sigma"]


@pytest.mark.parametrize(
    ("draw", "wrong", "message"),
    [
        ("plot_variance", {"quantity": "ses"}, "'sd', 'variance', 'cor', 'share'"),
        ("plot_icc", {"at": "ses"}, "no predictor"),
        ("plot_icc", {"at": {"Days": [0], "ses": [1]}}, "along one variable"),
        ("plot_icc", {"bootstrap": 10}, "the bootstrap is of a point fit"),
        ("plot_prior_posterior", {"terms": "ses"}, "no parameter 'ses'; there are 'Intercept'"),
    ],
)
def test_what_does_not_exist_is_refused(post, draw, wrong, message):
    with pytest.raises(InputError, match=message):
        getattr(blm, draw)(post("sleepstudy"), **wrong)


def test_a_model_without_correlations_says_so(post):
    with pytest.raises(InputError, match="the model has none"):
        blm.plot_variance(post("science"), quantity="cor")


def test_the_mark_is_of_the_same_model(point, post):
    for draw in (blm.plot_variance, blm.plot_icc):
        with pytest.raises(InputError, match="a fit of another model"):
            draw(post("sleepstudy"), point=point("hsb"))
        with pytest.raises(InputError, match="not PosteriorFit"):
            draw(post("sleepstudy"), point=post("sleepstudy"))
        with pytest.raises(InputError, match="belongs to the picture of a posterior"):
            draw(point("sleepstudy"), point=point("sleepstudy"))


def test_a_point_fit_has_no_priors(point):
    with pytest.raises(RefusedVerbError, match="no priors"):
        blm.plot_prior_posterior(point("sleepstudy"))


@pytest.mark.parametrize("quantity", ["sd", "variance"])
def test_a_family_without_residual_variance_shows_the_sds_of_its_effects(quantity):
    """A beta response has none on the scale of its link, and so no profile of one."""
    rng = fixed_rng(2)
    g, x = np.repeat(np.arange(8), 6), rng.normal(size=48)
    mean = 1.0 / (1.0 + np.exp(-0.3 * x - rng.normal(size=8)[g]))
    d = pd.DataFrame({"g": g, "x": x, "y": rng.beta(8.0 * mean, 8.0 * (1.0 - mean))})
    (ax,) = blm.plot_variance(blm.Model("y ~ x + (1 | g)", d, family="beta").fit_ml(nAGQ=1), quantity=quantity).axes
    ((low, high),) = (segment[:, 0] for segment in ax.collections[0].get_segments())
    assert low < ax.lines[0].get_xdata()[0] < high
