"""What is drawn, not how its pixels fall."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bayeslmm as blm
from bayeslmm.errors import InputError

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return blm.compare_pooling(blm.Model(SLEEP, blm.load_dataset("sleepstudy")), progressbar=False)


@pytest.fixture(scope="module")
def schools():
    model = blm.Model("mathach ~ ses + sector + (ses | school)", blm.load_dataset("hsb"))
    return blm.compare_pooling(model, post=False)


def points(ax, label):
    return next(np.asarray(c.get_offsets()) for c in ax.collections if c.get_label() == label)


def line(ax, label):
    return next(one for one in ax.lines if one.get_label() == label)


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def of_term(pool, name):
    return pool.table()[pool.table()["term"] == name].set_index("level")


def test_by_default_every_term_is_drawn_and_two_in_the_plane(sleep):
    figure = blm.plot_pooling(sleep)
    intercepts, slopes, plane = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Intercept", "Days", "Intercept and Days"]
    for ax, name in ((intercepts, "Intercept"), (slopes, "Days")):
        table = of_term(sleep, name).sort_values("none")
        np.testing.assert_allclose(points(ax, "no pooling")[:, 1], table["none"])
        np.testing.assert_allclose(points(ax, "partial (posterior)")[:, 1], table["posterior"])
        np.testing.assert_allclose(line(ax, "complete pooling").get_ydata(), table["complete"].iloc[0])
        assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(level) for level in table.index]
    table = of_term(sleep, "Intercept"), of_term(sleep, "Days")
    np.testing.assert_allclose(points(plane, "no pooling"), np.column_stack([t["none"] for t in table]))
    assert labels(figure)[:3] == ["no pooling", "partial (posterior)", "complete pooling"]


def test_the_ellipse_holds_as_much_as_it_says(sleep):
    ax = blm.plot_pooling(sleep, kind="plane").axes[0]
    ring = np.column_stack(line(ax, "95% of levels, by the model").get_data())
    center = sleep.post.fixef()["mean"].to_numpy()
    covariance = sleep.post.var_corr()["Subject"].to_numpy()
    drawn = np.random.default_rng(1).multivariate_normal(center, covariance, size=4000)
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    radius = np.linalg.norm((ring - center) @ root.T, axis=1)
    np.testing.assert_allclose(radius, radius[0])
    inside = np.linalg.norm((drawn - center) @ root.T, axis=1) < radius[0]
    assert abs(inside.mean() - 0.95) < 0.02  # five standard errors of 4,000 draws


def test_groups_with_predictors_have_complete_pooling_of_their_own(schools):
    figure = blm.plot_pooling(schools)
    table = of_term(schools, "Intercept").sort_values("none")
    np.testing.assert_allclose(points(figure.axes[0], "complete pooling")[:, 1], table["complete"])
    assert "160 levels of school" in figure.axes[0].get_xlabel()
    rings = [one for one in figure.axes[2].lines if "95%" in str(one.get_label())]
    assert len(rings) == 2  # one around each kind of school


def test_lines_are_those_of_the_fits(sleep):
    figure = blm.plot_pooling(sleep, kind="lines")
    assert len(figure.axes) == 18 and figure.get_supxlabel() == "Days" and figure.get_supylabel() == "Reaction"
    ax, table = figure.axes[3], sleep.table()
    level = sleep.footing.term.levels[3]
    assert ax.get_title(loc="left") == str(level)
    own = table[table["level"] == level].set_index("term")
    for label, name in (("no pooling", "none"), ("complete pooling", "complete"), ("partial (posterior)", "posterior")):
        x, y = line(ax, label).get_data()
        np.testing.assert_allclose(y, own.loc["Intercept", name] + own.loc["Days", name] * x)
    data = blm.load_dataset("sleepstudy")
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], data["Reaction"][data["Subject"] == level])


def test_lines_take_what_all_levels_share_along():
    data = blm.load_dataset("sleepstudy").assign(shift=3.0)
    model = blm.Model("Reaction ~ Days + (1 | Subject)", data, offset="shift")
    pool = blm.compare_pooling(model, post=False)
    ax = blm.plot_pooling(pool, kind="lines").axes[0]
    x, y = line(ax, "no pooling").get_data()
    np.testing.assert_allclose(y, pool.table()["none"][0] + pool.common.loc["Days", "none"] * x)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], data["Reaction"][:10] - 3.0)


def test_of_many_levels_a_stated_selection_has_lines(schools):
    figure = blm.plot_pooling(schools, kind="lines")
    assert len(figure.axes) == 24
    assert "24 of 160 levels of school shown, from least to most pooled" in figure.get_supxlabel()
    some = list(schools.footing.term.levels[:2])
    figure = blm.plot_pooling(schools, kind="lines", levels=some[::-1], x="ses")
    assert [ax.get_title(loc="left") for ax in figure.axes] == [str(level) for level in some[::-1]]


def test_lines_without_numbers():
    dyestuff = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    figure = blm.plot_pooling(dyestuff, kind="lines")
    assert len(figure.axes) == 6 and figure.get_supxlabel() == "row"
    means = blm.no_pooling(dyestuff)["Intercept"]
    np.testing.assert_allclose(line(figure.axes[0], "no pooling").get_ydata(), means.iloc[0])
    students = blm.lmer("like ~ sex + (1 | school)", blm.load_dataset("science").dropna())
    ax = blm.plot_pooling(students, kind="lines", levels=[students.design.groups[0].levels[0]]).axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["f", "m"]
    assert line(ax, "complete pooling").get_linestyle() == "None"


def test_size_shows_shrinkage_against_rows(schools):
    table = of_term(schools, "Intercept")
    ax = blm.plot_pooling(schools, kind="size", terms="Intercept").axes[0]
    np.testing.assert_allclose(points(ax, "partial (REML)"), table[["n", "shrinkage_reml"]].to_numpy(float))
    assert ax.get_ylim() == (-0.02, 1.02)


def test_levels_without_a_fit_of_their_own_are_marked():
    data = pd.concat([blm.load_dataset("sleepstudy").iloc[:1], blm.load_dataset("sleepstudy").iloc[10:]])
    pool = blm.compare_pooling(blm.Model(SLEEP, data), progressbar=False)
    ax = blm.plot_pooling(pool, kind="size", terms="Days").axes[0]
    assert points(ax, "no fit of its own")[:, 0].tolist() == [1.0]
    assert any(c.get_label() == "95% interval" for c in ax.collections)
    for kind in (None, "lines"):
        figure = blm.plot_pooling(pool, kind=kind)
        figure.canvas.draw()  # what is missing is not drawn, and nothing warns


@pytest.mark.parametrize("kind", [None, "arrows", "plane", "size"])
def test_a_fit_is_put_beside_the_others(sleep, kind):
    for fit, name in ((sleep.reml, "partial (REML)"), (sleep.post, "partial (posterior)")):
        figure = blm.plot_pooling(fit, kind=kind)
        assert name in labels(figure)


def test_one_term_has_one_panel():
    fit = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit_reml()
    figure = blm.plot_pooling(fit)
    assert len(figure.axes) == 1
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["F", "D", "A", "B", "C", "E"]


def test_axes_of_the_user_are_drawn_on(sleep):
    mine = Figure()
    ax = mine.subplots(1, 2)
    assert blm.plot_pooling(sleep, kind="arrows", ax=ax) is mine
    assert len(points(ax[0], "no pooling")) == 18
    assert tuple(blm.plot_pooling(sleep, kind="lines", figsize=(9, 5)).get_size_inches()) == (9, 5)


def test_bad_input_is_named(sleep, schools):
    with pytest.raises(InputError, match="kinds are 'arrows', 'plane', 'lines', 'size'"):
        blm.plot_pooling(sleep, kind="shrinkage")
    with pytest.raises(InputError, match="not str"):
        blm.plot_pooling("sleep")
    with pytest.raises(InputError, match="no term 'days'"):
        blm.plot_pooling(sleep, terms=["days"])
    with pytest.raises(InputError, match="two terms"):
        blm.plot_pooling(sleep, kind="plane", terms="Days")
    with pytest.raises(InputError, match="no level 'x'"):
        blm.plot_pooling(sleep, kind="lines", levels=["x"])
    with pytest.raises(InputError, match="this Pooling is of 'Subject'"):
        blm.plot_pooling(sleep, group="school")
    with pytest.raises(InputError, match="needs 3 Axes"):
        blm.plot_pooling(sleep, ax=Figure().subplots())
    with pytest.raises(InputError, match="one figure of its own"):
        blm.plot_pooling(sleep, kind="lines", ax=Figure().subplots())
    model = blm.Model(SLEEP, blm.load_dataset("sleepstudy"))
    with pytest.raises(InputError, match="nothing is pooled"):
        blm.plot_pooling(blm.compare_pooling(model, reml=False, post=False))
    two = blm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    with pytest.raises(InputError, match="several grouping factors"):
        blm.plot_pooling(two)
    assert "sample" in blm.plot_pooling(two, group="sample").axes[0].get_xlabel()
