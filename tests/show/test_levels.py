"""Caterpillars: what stands where."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

import bayeslmm as blm
from bayeslmm.errors import InputError


def intervals(ax):
    """(outer, inner) ends (J, 2) of a panel."""
    bars = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [np.array([segment[:, 0] for segment in bar.get_segments()]) for bar in bars]


def dots(ax):
    return next(line.get_xdata() for line in ax.get_lines() if line.get_marker() == "o")


def names(ax):
    return [t.get_text() for t in ax.get_yticklabels()]


@pytest.mark.parametrize("kind", ["point", "post"])
@pytest.mark.parametrize("name", ["sleepstudy", "hsb"])
def test_every_level_is_drawn_in_the_order_of_the_first_term(name, kind, request):
    fit = request.getfixturevalue(kind)(name)
    term = fit.design.groups[0]
    figure = blm.plot_ranef(fit)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(term.columns)
    wide = fit.ranef(wide=True).loc[term.name].sort_values("Intercept")
    for ax, column in zip(figure.axes, term.columns, strict=True):
        np.testing.assert_allclose(dots(ax), wide[column])
        outer, inner = intervals(ax)
        assert len(outer) == len(inner) == term.n_levels
        assert np.all(outer[:, 0] < inner[:, 0])
        assert np.all(inner[:, 1] < outer[:, 1])
    table = fit.ranef().query("term == 'Intercept'").set_index("level").loc[wide.index]
    np.testing.assert_allclose(intervals(figure.axes[0])[0], table[["conf_low", "conf_high"]])


def test_few_levels_are_all_named_and_many_one_in_so_many(point):
    few = blm.plot_ranef(point("sleepstudy")).axes[0]
    assert len(names(few)) == 18
    assert names(few)[0] == "309"
    assert few.get_ylabel() == "Subject"
    many = blm.plot_ranef(point("hsb")).axes[0]
    assert many.get_ylabel() == "school (one in 3 named)"
    assert len(names(many)) == 54


def test_of_hundreds_none_is_named():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(300), 4)})
    data["y"] = rng.normal(size=300)[data["g"]] + rng.normal(size=1200)
    ax = blm.plot_ranef(blm.lmer("y ~ (1 | g)", data)).axes[0]
    assert names(ax) == []
    assert ax.get_ylabel() == "300 levels of g"


def test_order_by_another_term_or_as_in_the_data(point):
    fit = point("sleepstudy")
    by_days = blm.plot_ranef(fit, order="Days").axes
    assert np.all(np.diff(dots(by_days[1])) >= 0)
    assert not np.all(np.diff(dots(by_days[0])) >= 0)
    as_given = blm.plot_ranef(fit, order="data").axes[0]
    assert names(as_given) == list(fit.design.groups[0].levels)[::-1]


@pytest.mark.parametrize("kind", ["point", "post"])
def test_coefficients_stand_around_the_fixed_effect(kind, request):
    fit = request.getfixturevalue(kind)("sleepstudy")
    figure = blm.plot_coef(fit)
    wide = fit.coef(wide=True).loc["Subject"].sort_values("Intercept")
    for ax, column in zip(figure.axes, ["Intercept", "Days"], strict=True):
        np.testing.assert_allclose(dots(ax), wide[column])
        assert ax.get_lines()[0].get_xdata()[0] == pytest.approx(fit.fixef().iloc[:, 0][column])


def test_a_term_without_random_effects_can_be_asked_for(point):
    (ax,) = blm.plot_coef(point("chickweight"), terms="Intercept").axes
    assert np.ptp(dots(ax)) == 0.0


def test_several_factors_have_panels_with_their_names(point):
    figure = blm.plot_ranef(point("penicillin"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Intercept | plate", "Intercept | sample"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["plate", "sample"]
    (one,) = blm.plot_ranef(point("penicillin"), group="sample").axes
    assert sorted(names(one)) == list("ABCDEF")


def test_a_variance_of_zero_is_said(point):
    school, classes = blm.plot_ranef(point("science")).axes
    assert "estimated\nas zero" in school.texts[0].get_text()
    assert not classes.texts


def test_axes_may_be_given(point):
    from matplotlib.figure import Figure

    mine = Figure()
    axes = mine.subplots(1, 2)
    assert blm.plot_ranef(point("sleepstudy"), ax=axes) is mine
    with pytest.raises(InputError, match="needs 2 Axes"):
        blm.plot_ranef(point("sleepstudy"), ax=axes[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"terms": "ses"}, "no term 'ses'; there are 'Intercept', 'Days'"),
        ({"group": "school"}, "no grouping factor 'school'; there are 'Subject'"),
        ({"order": "ses"}, "ordered by 'Intercept', 'Days' or 'data'"),
        ({"terms": []}, "no term to draw"),
    ],
)
def test_what_does_not_exist_is_refused(point, wrong, message):
    with pytest.raises(InputError, match=message):
        blm.plot_ranef(point("sleepstudy"), **wrong)


def test_a_model_without_groups_has_no_levels():
    fit = blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy"))
    with pytest.raises(InputError, match="no grouping factor to draw"):
        blm.plot_ranef(fit)
