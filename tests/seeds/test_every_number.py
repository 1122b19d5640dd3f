"""The list of printed numbers is whole, every one has its test, and the page of misprints says what the tests say."""

from __future__ import annotations

import pathlib
from collections import Counter

import pytest

from . import test_reading_in_minneapolis as reading
from . import test_schools as schools
from . import test_schools_and_ses as schools_and_ses
from . import test_science_attitudes_and_chicks as science
from .printed import ENTRIES

MISPRINTS = pathlib.Path(__file__).parents[2] / "docs" / "misprints.md"


def test_list_is_whole():
    assert [e["number"] for e in ENTRIES] == list(range(362))
    assert Counter(e["status"] for e in ENTRIES) == {
        "agree": 326,
        "agree within the optimiser's tolerance": 12,
        "agree within Monte Carlo error": 10,
        "disagree": 12,
        "hypothetical": 2,  # shares of variance that a note makes up: nothing to recompute
    }


@pytest.mark.parametrize(("note", "module"), list(enumerate([reading, science, schools, schools_and_ses])))
def test_every_number_has_its_test(note, module):
    (mark,) = [m for m in module.test_number.pytestmark if m.name == "parametrize"]
    tested = {e["number"] for e in mark.args[1]}
    bootstrap = {e["number"] for e in ENTRIES if e["model"] == "hsb_bootstrap"}  # all in one test
    invented = {e["number"] for e in ENTRIES if e["status"] == "hypothetical"}
    assert len(bootstrap) == 10
    assert tested == {e["number"] for e in ENTRIES if e["note"] == note} - bootstrap - invented


def test_page_of_misprints_lists_each():
    rows = [line.split("|")[3:5] for line in MISPRINTS.read_text().splitlines() if line.startswith("|")]
    listed = [[cell.replace("−", "-").replace(" ", "") for cell in row] for row in rows[2:]]
    wrong = [e for e in ENTRIES if e["status"] == "disagree"]
    assert [printed for printed, _ in listed] == [e["printed"] for e in wrong]
    for (_, right), entry in zip(listed, wrong, strict=True):
        decimals = len(right.rstrip("%").partition(".")[2])
        assert right.rstrip("%") == f"{entry['obtained']:.{decimals}f}"
