"""Forests hold the numbers of the tables."""

import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError


def entries(figure):
    return [t.get_text() for t in figure.legends[0].get_texts()]


def rows(ax):
    return [t.get_text() for t in ax.get_yticklabels()]


def drawn(ax, label):
    return next(one.get_xdata() for one in ax.get_lines() if one.get_label() == label)


def ends(ax, k):
    """Outer ends (rows, 2) of the k-th fit; the inner ones follow in the same panel."""
    return np.array([segment[:, 0] for segment in ax.collections[k].get_segments()])


def test_reml_beside_the_posterior(point, post):
    reml, fit = point("sleepstudy"), post("sleepstudy")
    figure = blm.plot_estimates(reml, fit)
    fixed, sds, cors = figure.axes
    assert entries(figure) == ["REML", "posterior"]
    assert rows(fixed) == ["Days"]
    assert rows(sds) == ["sd(Intercept | Subject)", "sd(Days | Subject)", "sigma"]
    assert rows(cors) == ["cor(Intercept, Days | Subject)"]
    table = fit.confint().set_index("term").loc[["sd__Intercept", "sd__Days", "sd__Observation"]]
    np.testing.assert_allclose(drawn(sds, "posterior"), table["estimate"])
    np.testing.assert_allclose(ends(sds, 2), table[["conf_low", "conf_high"]])
    profiled = reml.confint("profile", progressbar=False).set_index("term").loc[table.index]
    np.testing.assert_allclose(ends(sds, 0), profiled[["conf_low", "conf_high"]])
    half = reml.confint("profile", ci_prob=0.5, progressbar=False).set_index("term").loc[table.index]
    np.testing.assert_allclose(ends(sds, 1), half[["conf_low", "conf_high"]])


def test_wald_intervals_are_of_fixed_effects_only(point):
    fixed, sds, _ = blm.plot_estimates(point("sleepstudy"), method="wald").axes
    wald = point("sleepstudy").fixef().loc[["Days"], ["conf_low", "conf_high"]]
    np.testing.assert_allclose(ends(fixed, 0), wald)
    assert not any(len(segment) for bars in sds.collections for segment in bars.get_segments())


def test_several_models_leave_gaps_for_what_they_have_not():
    data = blm.load_dataset("hsb")
    formulas = ["mathach ~ ses + (1 | school)", "mathach ~ ses + sector + (1 | school)"]
    fits = [blm.lmer(formula, data) for formula in formulas]
    figure = blm.plot_estimates(*fits, random=False)
    (ax,) = figure.axes
    assert entries(figure) == formulas
    assert rows(ax) == ["ses", "sector[Public]"]
    np.testing.assert_array_equal(np.isnan(drawn(ax, formulas[0])), [False, True])
    named = blm.plot_estimates(*fits, names=["one", "two"], intercept=True, random=False)
    assert entries(named) == ["one", "two"]
    assert rows(named.axes[0]) == ["Intercept", "ses", "sector[Public]"]
    assert len({line.get_color() for line in ax.get_lines() if line.get_marker() in "os"}) == 2


def test_an_intercept_that_is_alone_is_drawn(point):
    assert rows(blm.plot_estimates(point("penicillin")).axes[0]) == ["Intercept"]


def test_some_parameters(post):
    figure = blm.plot_estimates(post("sleepstudy"), terms=["Intercept", "sigma"])
    assert [rows(ax) for ax in figure.axes] == [["Intercept"], ["sigma"]]


def test_what_cannot_be_compared_is_refused(point):
    with pytest.raises(InputError, match="one or more fits are needed"):
        blm.plot_estimates()
    with pytest.raises(InputError, match="different responses: Reaction, mathach"):
        blm.plot_estimates(point("sleepstudy"), point("hsb"))
    with pytest.raises(InputError, match="no parameter 'ses'"):
        blm.plot_estimates(point("sleepstudy"), terms="ses")
    with pytest.raises(InputError, match="'profile' or 'wald'"):
        blm.plot_estimates(point("sleepstudy"), method="boot")
    with pytest.raises(InputError, match="one name of its own"):
        blm.plot_estimates(point("sleepstudy"), names=["a", "b"])
    with pytest.raises(InputError, match="a fit is drawn"):
        blm.plot_estimates(point("sleepstudy"), "post")
