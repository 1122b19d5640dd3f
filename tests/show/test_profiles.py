"""Profiles as drawn are those of the fit."""

import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError, RefusedVerbError


def line(ax, label):
    return next((one for one in ax.get_lines() if one.get_label() == label), None)


def test_the_curve_passes_through_the_profile(point):
    fit = point("sleepstudy")
    table = fit.profile(progressbar=False)
    figure = blm.plot_profile(fit)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [
        "sd(Intercept | Subject)",
        "sd(Days | Subject)",
        "cor(Intercept, Days | Subject)",
        "sigma",
        "Intercept",
        "Days",
    ]
    own = table[table["term"] == "sd__Days"]
    value, zeta = line(figure.axes[1], "profile").get_data()
    np.testing.assert_allclose(np.interp(own["value"], value, zeta), own["zeta"], atol=0.01)  # 201 points


def test_the_dashed_line_touches_at_the_estimate_with_slope_one_over_se(point):
    fit = point("hsb")
    (ax,) = blm.plot_profile(fit, terms="ses").axes
    value, zeta = line(ax, "estimate ± z standard errors").get_data()
    slope = np.ptp(zeta) / np.ptp(value)
    # REML's standard error and the curvature of the deviance differ by a hundredth with 160 schools
    assert 1.0 / slope == pytest.approx(fit.fixef().loc["ses", "std_error"], rel=0.02)


def test_at_a_variance_of_zero_there_is_no_tangent(point):
    figure = blm.plot_profile(point("science"))
    school, classes = figure.axes[:2]
    assert line(school, "estimate ± z standard errors") is None
    assert line(classes, "estimate ± z standard errors") is not None
    assert line(school, "profile").get_ydata().min() == 0.0


def test_a_posterior_has_no_profile(post):
    with pytest.raises(RefusedVerbError, match="profiles are of a likelihood"):
        blm.plot_profile(post("sleepstudy"))


def test_an_unknown_parameter_is_refused(point):
    with pytest.raises(InputError, match="no parameter 'sd__Days'; there are"):
        blm.plot_profile(point("sleepstudy"), terms="sd__Days")
