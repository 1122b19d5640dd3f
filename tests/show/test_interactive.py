"""Pictures that answer the pointer: what they say, and that they need no network."""

import re
import sys
from importlib.util import find_spec

import matplotlib.text
import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.prior_draws import prior_draws
from bayeslmm.show.prior_explorer import TIMES, wider

needs_plotly = pytest.mark.skipif(find_spec("plotly") is None, reason="an optional extra")


@pytest.fixture(scope="module")
def fit():
    return blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


@needs_plotly
def test_the_pointer_shows_name_rows_effects_and_shrinkage(fit):
    figure = blm.plot_lines(fit, interactive=True)
    assert len(figure.data) == 2 * 18 + 1
    dots, line = figure.data[:2]
    assert dots.hovertext == line.hovertext
    assert re.fullmatch(
        r"<b>Subject 308</b><br>10 rows<br>Intercept: 2.3 ± 12.1 from the average, shrunk by \d+ %"
        r"<br>Days: 9.20 ± 2.30 from the average, shrunk by \d+ %",
        line.hovertext,
    )
    sleep = blm.load_dataset("sleepstudy").query("Subject == '308'")
    assert np.allclose(dots.y, sleep["Reaction"])
    expected = fit.predict(sleep.iloc[[0, -1]])
    assert np.allclose([line.y[0], line.y[-1]], expected)


@needs_plotly
def test_the_average_says_where_other_predictors_are_held(fit):
    assert blm.plot_lines(fit, interactive=True).data[-1].name == "average Subject"
    sectors = blm.lmer("mathach ~ ses * sector + (1 | school)", blm.load_dataset("hsb"))
    average = blm.plot_lines(sectors, x="ses", levels=["1224", "1317"], interactive=True).data[-1]
    assert average.name == "average school (at sector = Public)"
    note = blm.plot_lines(sectors, x="ses", levels=["1224", "1317"], together=True).findobj(match=matplotlib.text.Text)
    assert any("average school at sector = Public" in text.get_text() for text in note)


@needs_plotly
def test_a_list_picks_one_level(fit):
    menu = blm.plot_lines(fit, levels=["308", "335"], interactive=True).layout.updatemenus[0]
    assert [button.label for button in menu.buttons] == ["every Subject", "308", "335"]
    opacity = menu.buttons[2].args[0]["opacity"]
    assert opacity[2] == opacity[3] == 1.0 and max(opacity[:2]) < 0.1 and len(opacity) == 5


@needs_plotly
def test_names_of_the_data_are_no_markup():
    sleep = blm.load_dataset("sleepstudy")
    sleep["Subject"] = "<script>" + sleep["Subject"].astype(str)
    figure = blm.plot_lines(blm.lmer("Reaction ~ Days + (1 | Subject)", sleep), interactive=True)
    assert "<script>" not in figure.data[0].hovertext + figure.layout.updatemenus[0].buttons[1].label


@needs_plotly
def test_levels_of_other_responses_say_their_shrinkage_too():
    formula = "p(incidence, size) ~ period + (1 | herd)"
    fit = blm.Model(formula, blm.load_dataset("cbpp"), family="binomial").fit_ml()
    figure = blm.plot_lines(fit, interactive=True)
    assert "herd 1</b>" in figure.data[0].hovertext and "shrunk by 29 %" in figure.data[0].hovertext
    assert list(figure.layout.xaxis.ticktext) == ["1", "2", "3", "4"]


@needs_plotly
def test_the_report_carries_the_library(fit, tmp_path):
    page = blm.report(fit, tmp_path / "page.html", interactive=True).read_text(encoding="utf-8")
    assert "Plotly.newPlot" in page and len(page) > 3e6
    assert not re.search(r"<script[^>]*\ssrc=", page)


def test_without_the_library_its_extra_is_named(fit, tmp_path, monkeypatch):
    for name in ("plotly", "plotly.graph_objects"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.NotAvailableError, match=r"pip install 'bayeslmm\[interactive\]'"):
        blm.plot_lines(fit, interactive=True)
    with pytest.raises(errors.NotAvailableError, match=r"pip install 'bayeslmm\[interactive\]'"):
        blm.report(fit, tmp_path / "page.html", interactive=True)
    assert not list(tmp_path.iterdir())


def test_what_belongs_to_matplotlib_is_refused(fit):
    with pytest.raises(errors.InputError, match="Matplotlib"):
        blm.plot_lines(fit, interactive=True, figsize=(3, 3))


@needs_plotly
def test_a_slider_widens_priors_and_says_what_they_imply():
    model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    figure = model.explore_priors()
    menu, (slider,) = figure.layout.updatemenus[0], figure.layout.sliders
    parts = ["all priors", "fixed effects", "sds of groups", "parameters of the family"]
    assert [button.label for button in menu.buttons] == parts
    assert (
        len(figure.data) == 1 + len(parts) * len(TIMES) and [bool(t.visible) for t in figure.data[1:]].count(True) == 1
    )
    assert figure.data[1 + TIMES.index(1.0)].visible

    def width(words):
        low, high = re.search(r"from (\S+) to (\S+);", words).groups()
        return float(high) - float(low)

    widths = [width(step.args[1]["title.text"]) for step in slider.steps]
    assert widths == sorted(widths)
    assert 7.0 < widths[-1] / widths[3] < 9.0  # all eight times as wide: heavy tails move the quantiles a little
    # what is seen of a step is its line: one of the same part and width
    for button in menu.buttons:
        (own,) = button.args[1]["sliders"]
        assert own["steps"][own["active"]]["args"][1]["title.text"] == button.args[1]["title.text"]
        assert all(step["args"][0]["visible"].count(True) == 2 for step in own["steps"])
    assert "cdn" not in figure.to_html(include_plotlyjs=True)[:5000]


@needs_plotly
def test_a_prior_is_as_many_times_as_wide_whatever_its_parameter():
    priors = {"sd": blm.Prior("Exponential", lam=0.1), "sigma": blm.Prior("Gamma", alpha=2, beta=0.1)}
    model = blm.Model("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"), priors=priors)
    drawn = prior_draws(model.design, model.priors, draws=200, random_seed=1)
    wide = prior_draws(model.design, wider(model.priors, "all priors", 4.0), draws=200, random_seed=1)
    for name in ("sd_Subject", "sigma"):
        assert np.allclose(wide[name], 4.0 * drawn[name])
    only = wider(model.priors, "sds of groups", 4.0)
    assert [str(a.prior) != str(b.prior) for a, b in zip(only.entries, model.priors.entries, strict=True)] == [
        entry.kind == "sd" for entry in model.priors.entries
    ]
