"""Bars: in a terminal they stay, in a notebook they are one output that is empty in the end."""

from types import SimpleNamespace

import pytest

import bayeslmm as blm
from bayeslmm.results import progress


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_UNSEEN", 0.0)


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook would show, in turn, at the one place that was asked for."""
    display = pytest.importorskip("IPython.display")
    shown = []

    def place(data, *, raw, display_id):
        assert raw and display_id
        shown.append(data)
        return SimpleNamespace(update=lambda data, raw: shown.append(data))

    monkeypatch.setattr(display, "display", place)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return shown


def test_a_notebook_keeps_nothing_of_a_bar(at_once, notebook, capsys):
    with progress.Bar("Refitting", 4, show=True) as bar:
        bar.advance(1)
        bar.advance(2)
    assert [data["text/plain"] for data in notebook] == ["Refitting: 0 %", "Refitting: 25 %", "Refitting: 75 %", ""]
    assert "value='3' max='4'" in notebook[2]["text/html"] and notebook[-1]["text/html"] == ""
    assert capsys.readouterr() == ("", "")


def test_a_report_that_comes_late_draws_nothing(at_once, notebook):
    with progress.Bar("Sampling", 40, show=True) as bar:
        bar.reached([SimpleNamespace(finished_draws=7), SimpleNamespace(finished_draws=9)])
    bar.reached([SimpleNamespace(finished_draws=20), SimpleNamespace(finished_draws=20)])
    assert [data["text/plain"] for data in notebook] == ["Sampling: 0 %", "Sampling: 40 %", ""]


def test_nuts_reports_how_far_its_chains_are(at_once, capsys):
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    few = {"method": "nuts", "draws": 50, "tune": 50, "chains": 2, "cores": 1, "random_seed": 1}
    with pytest.warns(blm.errors.SamplingWarning):  # so few draws
        model.fit(**few)
    printed = capsys.readouterr()
    assert "Sampling" in printed.err and printed.out == ""  # where tables go
    with pytest.warns(blm.errors.SamplingWarning):
        model.fit(**few, progressbar=False)
    assert capsys.readouterr() == ("", "")


def test_of_bars_within_bars_one_is_seen(at_once, notebook):
    with progress.Bar("Reporting", 2, show=True) as outer:
        outer.say("Reporting: Checks")
        with progress.Bar("Refitting", 4, show=True) as inner:
            inner.advance(4)
        outer.advance(1)
    with progress.Bar("Refitting", 4, show=True) as again:
        again.advance(1)
    assert [data["text/plain"] for data in notebook] == [
        *("Reporting: Checks: 0 %", "Reporting: Checks: 0 %", "Reporting: Checks: 50 %", ""),
        *("Refitting: 0 %", "Refitting: 25 %", ""),
    ]


def test_checks_and_reports_say_where_they_are(at_once, capsys, tmp_path):
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    for work, what in (
        (lambda **options: blm.check(fit, **options), "Checking: prediction"),
        (lambda **options: blm.report(fit, tmp_path / "page.html", **options), "Reporting: Reproduce"),
    ):
        work()
        assert what in capsys.readouterr().err
        work(progressbar=False)
        assert capsys.readouterr() == ("", "")
