"""Residual plots: what they show of right and of wrong models."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

import bayeslmm as blm
from bayeslmm.errors import DataError, InputError
from bayeslmm.show.residuals import local_regression


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def points(ax):
    return np.concatenate([c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)])


def curve(ax):
    return max((one for one in ax.get_lines() if one.get_marker() == "None"), key=lambda one: len(one.get_xdata()))


def envelope(ax):
    vertices = next(c for c in ax.collections if c.get_label() == "95 % of normal samples").get_paths()[0].vertices
    corners = pd.DataFrame(vertices, columns=["x", "y"]).groupby("x")["y"]
    return corners.min(), corners.max()


def outside(figure):
    """Share of a density's places outside the envelope of normal samples."""
    ax = figure.axes[0]
    low, high = envelope(ax)
    at, height = curve(ax).get_data()
    low, high = np.interp(at, low.index, low), np.interp(at, high.index, high)
    return np.mean((height < low - 1e-9) | (height > high + 1e-9))


@pytest.mark.parametrize("kind", ["point", "post"])
def test_panels_show_the_residuals(kind, request):
    fit = request.getfixturevalue(kind)("sleepstudy")
    figure = blm.plot_residuals(fit)
    assert titles(figure) == ["Density", "Residuals", "Quantiles", "Spread"]
    density, against, quantiles, spread = figure.axes
    residuals = fit.residuals("scaled")
    np.testing.assert_allclose(points(against), np.column_stack([fit.fitted(), residuals]))
    np.testing.assert_allclose(points(spread)[:, 1], np.sqrt(np.abs(residuals)))
    dots = next(one for one in quantiles.get_lines() if one.get_marker() == "o")
    np.testing.assert_allclose(dots.get_ydata(), np.sort(residuals))
    assert np.trapezoid(curve(density).get_ydata(), curve(density).get_xdata()) == pytest.approx(1.0, abs=0.01)
    assert against.get_ylabel() == "scaled residual"


def noise_model(noise):
    x = np.linspace(0.0, 1.0, len(noise))
    return blm.lmer("y ~ x", pd.DataFrame({"x": x, "y": 1.0 + x + noise}))


def test_normal_residuals_stay_in_the_envelope_and_skewed_ones_leave_it():
    rng = np.random.default_rng(3)
    shares = [outside(blm.plot_residuals(noise_model(rng.normal(size=300)), kind="density")) for _ in range(20)]
    # pointwise 95 %: about 5 % outside on average, in runs, so the mean of 20 densities is below 15 % almost surely
    assert 0.0 < np.mean(shares) < 0.15
    assert outside(blm.plot_residuals(noise_model(rng.exponential(size=300)), kind="density")) > 0.3


def test_the_envelope_follows_from_the_seed(point):
    low = [envelope(blm.plot_residuals(point("sleepstudy"), kind="qq", random_seed=s).axes[0])[0] for s in (1, 1, 2)]
    pd.testing.assert_series_equal(low[0], low[1])
    assert not low[0].equals(low[2])


def test_quantile_residuals_of_another_family_are_standard_normal():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 30), "x": rng.normal(size=600)})
    data["y"] = rng.poisson(np.exp(0.5 + 0.5 * data["x"] + 0.4 * rng.normal(size=20)[data["g"]]))
    fit = blm.Model("y ~ x + (1 | g)", data, family="poisson").fit(random_seed=1, progressbar=False)
    ax = blm.plot_residuals(fit, kind="fitted").axes[0]
    residuals = points(ax)[:, 1]
    assert ax.get_ylabel() == "quantile residual"
    assert np.mean(residuals) == pytest.approx(0.0, abs=0.13)  # three standard errors
    assert np.std(residuals) == pytest.approx(1.0, abs=0.09)
    wrong = fit.refit(np.random.default_rng(2).poisson(np.exp(0.5) * rng.gamma(0.5, 2.0, 600)), progressbar=False)
    assert np.std(points(blm.plot_residuals(wrong, kind="fitted").axes[0])[:, 1]) > 1.2


def test_facets_show_that_a_linear_model_forgot_the_groups(point):
    forgot = blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy"))
    figure = blm.plot_residuals(forgot, by="Subject")  # a column of the data that the model does not use
    assert titles(figure)[:2] == ["308", "309"]
    subject_309 = points(figure.axes[1])
    assert np.all(subject_309[:, 1] < 0.0)
    modelled = blm.plot_residuals(point("sleepstudy"), by="Subject").axes[1]
    assert np.any(points(modelled)[:, 1] > 0.0)


def test_many_facets_are_thinned_and_it_is_said(point):
    figure = blm.plot_residuals(point("hsb"), by="school")
    assert len(figure.axes) == 24
    assert figure.get_supxlabel() == "fitted value\n24 of 160 levels of school shown"


def test_groups_may_be_given_as_values(point):
    data = blm.load_dataset("sleepstudy")
    late = (data["Days"] > 4).map({True: "late", False: "early"}).rename("half")
    assert titles(blm.plot_residuals(point("sleepstudy"), by=late)) == ["early", "late"]
    with pytest.raises(DataError, match="3 values for 180 rows"):
        blm.plot_residuals(point("sleepstudy"), by=pd.Series([1, 2, 3]))


def test_normality_of_every_term(point, post):
    figure = blm.plot_ranef_normality(post("sleepstudy"))
    assert titles(figure) == ["Density", "Quantiles"] * 2
    assert [ax.get_xlabel() for ax in figure.axes[::2]] == ["Intercept | Subject", "Days | Subject"]
    quantiles = figure.axes[1]
    dots = next(one for one in quantiles.get_lines() if one.get_marker() == "o")
    modes = post("sleepstudy").ranef(wide=True).loc["Subject", "Intercept"]
    np.testing.assert_allclose(dots.get_ydata(), np.sort(modes))
    assert {t.get_text() for t in quantiles.texts} == {modes.idxmin(), modes.idxmax()}
    zero = blm.plot_ranef_normality(point("science"), group="school")
    assert zero.axes[0].texts[0].get_text() == "sd estimated as zero"


def test_the_smoother_is_exact_for_a_line_and_follows_a_bend():
    x = np.random.default_rng(1).uniform(size=500)
    at, smooth = local_regression(x, 3.0 - 2.0 * x)
    np.testing.assert_allclose(smooth, 3.0 - 2.0 * at, atol=1e-12)
    at, smooth = local_regression(x, (x - 0.5) ** 2)
    assert smooth[0] > 0.15
    assert np.interp(0.5, at, smooth) < 0.05
    at, smooth = local_regression(np.array([1.0, 1.0, 2.0, 2.0]), np.array([0.0, 2.0, 4.0, 6.0]))
    np.testing.assert_allclose(smooth, [1.0, 5.0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "histogram"}, "'density', 'fitted', 'qq', 'scale'"),
        ({"kind": []}, "nothing to draw"),
        ({"by": "school"}, "no grouping factor and no column"),
    ],
)
def test_what_does_not_exist_is_refused(point, wrong, message):
    with pytest.raises(InputError, match=message):
        blm.plot_residuals(point("sleepstudy"), **wrong)


def test_normality_needs_random_effects(point):
    with pytest.raises(InputError, match="no grouping factor 'school'"):
        blm.plot_ranef_normality(point("sleepstudy"), group="school")
    with pytest.raises(InputError, match="no grouping factor to draw"):
        blm.plot_ranef_normality(blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy")))
