"""A few hundred formulas of the fuzzer; ``python tests/fuzz_formulas.py`` runs thousands."""

from __future__ import annotations

import time
import warnings
from collections import Counter

import fuzz_formulas
import numpy as np
import pandas as pd
import pytest
from fuzz_formulas import formulas, outcome, run, table

from bayeslmm.results.point import PointFit

COUNT, SEED = 600, 7


@pytest.fixture(scope="module")
def outcomes():
    return list(run(COUNT, SEED))


def test_formulas_are_fitted_or_refused_by_an_error_of_ours(outcomes):
    assert [o for o in outcomes if o.trouble] == []


def test_every_stage_is_reached(outcomes):
    """Else the grammar tests nothing but the parser, or bends nothing."""
    counts = Counter(o.kind for o in outcomes)
    for kind in ("refused by the parser", "refused by the data", "designed", "fitted"):
        assert counts[kind] >= 0.04 * COUNT, counts


def test_a_seed_names_its_formulas():
    assert list(formulas(50, 3)) == list(formulas(50, 3)) != list(formulas(50, 4))
    assert len(set(formulas(1000, 1))) > 900


@pytest.mark.parametrize("fitted", [False, True])
def test_the_table_is_left_alone(fitted):
    data = table()
    for text in formulas(30, 11):
        outcome(text, data, fitted=fitted)
    assert data.equals(table())


def broken(*args: object) -> None:
    raise KeyError("g")


def warning(*args: object) -> None:
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)


def slow(*args: object) -> None:
    time.sleep(0.5)


@pytest.mark.parametrize(
    ("fault", "word"), [(broken, "KeyError"), (warning, "Deprecation"), (slow, "more than 0.05 s")]
)
def test_the_fuzzer_finds_faults(monkeypatch, fault, word):
    assert outcome("y ~ x", table(), fitted=True).trouble == ""
    monkeypatch.setattr(fuzz_formulas, "parse_formula", fault)
    assert word in outcome("y ~ x", table(), fitted=False, seconds=0.05 if fault is slow else 5.0).trouble


def test_the_fuzzer_finds_holes_and_foreign_tracebacks(monkeypatch):
    def chained(text: str) -> None:
        try:
            broken()
        except KeyError as error:
            raise fuzz_formulas.BayesLMMError("a message that is long enough") from error

    monkeypatch.setattr(fuzz_formulas, "parse_formula", chained)
    assert "traceback of KeyError" in outcome("y ~ x", table(), fitted=False).trouble
    monkeypatch.setattr(fuzz_formulas, "parse_formula", lambda text: None)
    monkeypatch.setattr(PointFit, "augment", lambda fit: pd.DataFrame({"_fitted": [1.0, np.nan]}))
    assert "missing in a table" in outcome("y ~ x", table(), fitted=True).trouble
