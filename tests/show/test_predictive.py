"""What is drawn, not how its pixels fall."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.show.style import BLACK, BLUE, VERMILION


@pytest.fixture(scope="module")
def sleep():
    return blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def by_day(sleep):
    return blm.ppc(sleep, by="Days", random_seed=1)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def colours(artists):
    return [artist.get_color() for artist in artists]


def test_density_of_numbers(sleep):
    figure = blm.plot_ppc(sleep, draws=80, random_seed=1)
    (ax,) = figure.axes
    assert ax.get_xlabel() == "Reaction" and len(ax.lines) == 51
    assert colours(ax.lines) == [BLUE] * 50 + [BLACK]
    assert legend_of(figure) == ["50 plug-in predictive data sets", "data"]
    grid, height = ax.lines[-1].get_data()
    assert np.trapezoid(height, grid) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("family", "response", "names"),
    [("ordinal", "like", [f"{k}" for k in range(1, 9)]), ("bernoulli", "sex", ["f", "m"]), ("poisson", "like", None)],
)
def test_frequencies_of_categories_and_counts(family, response, names):
    science = blm.load_dataset("science").dropna()
    model = blm.Model(f"{response} ~ 1 + (1 | school)", science, family=family)
    figure = blm.plot_ppc(model, draws=60, random_seed=1)
    (ax,) = figure.axes
    y, heights = model.design.y, [bar.get_height() for bar in ax.patches]
    assert ax.get_xlabel() == response
    assert sorted(legend_of(figure)) == ["data", "prior predictive data sets: median, 95% interval"]
    if names is None:  # roots of frequencies
        assert heights[:10] == [np.sqrt((y == v).sum()) for v in range(10)]
    else:
        assert [t.get_text() for t in ax.get_xticklabels()] == names
        np.testing.assert_allclose(heights, [(y == v).mean() for v in range(len(names))])


def test_counts_beyond_the_axis_are_counted():
    data = pd.DataFrame({"y": [0, 1, 2, 1, 0, 3, 1, 2] * 40 + [90], "g": ["a", "b", "c"] * 107})
    priors = {"Intercept": blm.Prior("Normal", mu=0, sigma=0.1), "sd": blm.Prior("HalfNormal", sigma=0.1)}
    model = blm.Model("y ~ 1 + (1 | g)", data, family="poisson", priors=priors)
    (ax,) = blm.plot_ppc(model, draws=60, random_seed=1).axes
    assert ax.get_xlabel() == "y (1 larger not shown)" and len(ax.patches) < 10


def test_proportions_say_so():
    model = blm.Model("p(incidence, size) ~ 1 + (1 | herd)", blm.load_dataset("cbpp"), family="binomial")
    (ax,) = blm.plot_ppc(model, draws=20, random_seed=1).axes
    assert ax.get_xlabel() == "p(incidence, size), proportion"
    assert ax.lines[0].get_xdata().max() <= 1.0


def test_data_sets_of_one_value_are_upright_lines():
    data = pd.DataFrame({"s": [0, 0, 1, 0] * 5, "n": 3, "g": list("abcde") * 4})
    model = blm.Model(
        "p(s, n) ~ 1 + (1 | g)", data, family="binomial", priors={"Intercept": blm.Prior("Normal", mu=-30, sigma=1)}
    )
    (ax,) = blm.plot_ppc(model, draws=20, random_seed=1).axes
    assert all(line.get_xdata().tolist() == [0.0, 0.0] for line in ax.lines[:20])


def test_statistics_with_their_observed_values():
    pooled = blm.lmer("mathach ~ ses", blm.load_dataset("hsb"))
    check = blm.ppc(pooled, ["between_group_sd", "icc", "largest_group_mean"], by="school", random_seed=1)
    figure = blm.plot_ppc(check, "stat")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["between_group_sd | school", "icc | school", "largest_group_mean | school"]
    assert [ax.lines[0].get_xdata()[0] for ax in figure.axes] == check.table["observed"].tolist()
    assert [ax.get_xlabel() for ax in figure.axes] == ["p < 0.002"] * 3
    assert {ax.xaxis.label.get_color() for ax in figure.axes} == {VERMILION}
    counts = [sum(patch.get_height() for patch in ax.patches) for ax in figure.axes]
    assert counts == [500.0] * 3
    assert len(blm.plot_ppc(check, "stat", stat="icc").axes) == 1
    assert len(blm.plot_ppc(check, "stat", stat=["icc | school", "between_group_sd"]).axes) == 2


def test_few_different_values_get_a_bar_each(sleep):
    figure = blm.plot_ppc(sleep, "stat", stat={"slow": lambda y: (y > 350).sum()}, draws=50, random_seed=1)
    assert np.unique(np.diff([patch.get_x() for patch in figure.axes[0].patches])).round(9).tolist() == [1.0]


def test_levels_sorted_with_those_outside_marked(by_day):
    figure = blm.plot_ppc(by_day, "by")
    mean, sd = figure.axes
    assert mean.get_ylabel() == "Days" and sd.get_xlabel() == "sd of Reaction"
    rows = by_day.table[by_day.table["stat"] == "sd"].sort_values("median", kind="stable")
    outside = rows["p_two_sided"] < 0.05
    inside, out = sd.lines
    assert list(inside.get_xdata()) == rows.loc[~outside, "observed"].tolist()
    assert list(out.get_xdata()) == rows.loc[outside, "observed"].tolist() and outside.any()
    assert out.get_color() == VERMILION
    assert [t.get_text() for t in sd.get_yticklabels()] == rows["level"].astype(str).tolist()
    assert sd.get_title(loc="left").startswith(f"sd: {outside.sum()} of 10 outside (0.")
    assert len(blm.plot_ppc(by_day, "by", stat="sd").axes) == 1


def test_many_levels_have_no_names_and_the_first_factor_is_looked_into():
    hsb = blm.lmer("mathach ~ ses + (1 | school)", blm.load_dataset("hsb"))
    figure = blm.plot_ppc(hsb, "by", draws=60, random_seed=1)
    assert [ax.get_ylabel() for ax in figure.axes] == ["160 levels of school, by expected value"] * 2
    assert all(len(ax.get_yticks()) == 0 for ax in figure.axes)
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines) == 160


@pytest.mark.filterwarnings("ignore:.*prior")
@pytest.mark.parametrize("source", ["estimates", "prior"])
def test_pit_is_drawn_by_arviz_with_the_name_of_the_response(source, sleep):
    fit = sleep if source == "estimates" else blm.Model("Reaction ~ Days + (1 | Subject)", sleep.origin.data)
    (ax,) = blm.plot_ppc(fit, "pit", draws=50, random_seed=1, figsize=(5, 3)).axes
    assert ax.get_title(loc="left").startswith("Reaction among its p") and ax.get_xlabel() == "PIT"
    assert tuple(ax.figure.get_size_inches()) == (5.0, 3.0) and ax.lines


def test_axes_of_the_user(by_day):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(1, 2)
    assert blm.plot_ppc(by_day, "by", ax=axes) is figure and axes[1].get_xlabel() == "sd of Reaction"
    assert blm.plot_ppc(by_day, ax=figure.subplots()) is figure
    assert tuple(blm.plot_ppc(by_day, figsize=(3, 2)).get_size_inches()) == (3.0, 2.0)


def test_bad_input(by_day, sleep):
    with pytest.raises(errors.InputError, match="kinds are 'density', 'stat'"):
        blm.plot_ppc(by_day, "hist")
    with pytest.raises(errors.InputError, match="the check has 'between_group_sd'"):
        blm.plot_ppc(by_day, "stat", stat="skewness")
    with pytest.raises(errors.InputError, match=r"run ppc\(\.\.\., by=\.\.\.\)"):
        blm.plot_ppc(blm.ppc(sleep, draws=5), "by")
    with pytest.raises(errors.InputError, match=r"name statistics"):
        blm.plot_ppc(blm.ppc(sleep, "sd", by="Days", draws=5), "stat")
    with pytest.raises(errors.InputError, match="leave ax out"):
        blm.plot_ppc(by_day, "pit", ax=object())
    with pytest.raises(errors.InputError, match="not DataFrame"):
        blm.plot_ppc(sleep.origin.data)
    with pytest.raises(errors.InputError, match="not str"):
        blm.plot_ppc("sleep", "by")
    ordinal = blm.Model("like ~ 1 + (1 | school)", blm.load_dataset("science"), family="ordinal")
    with pytest.raises(errors.NotAvailableError, match="kind='density'"):
        blm.plot_ppc(ordinal, "pit", draws=5)
