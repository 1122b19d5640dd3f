"""A model in words, and the traps it warns of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.families import family_of
from bayeslmm.results.explain import explain

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


def frame():
    rng = np.random.default_rng(1)
    school = np.repeat(np.arange(8), 12)
    return pd.DataFrame(
        {
            "y": rng.normal(size=96),
            "grade": rng.integers(0, 3, 96),
            "x": rng.normal(size=96),
            "f": np.tile(list("abc"), 32),
            "school": school,
            "size": 10.0 * school,
            "room": [f"s{s}r{i}" for s, i in zip(school, np.tile([1, 2, 3, 4] * 3, 8), strict=True)],
            # numbered from 1 in every school, with two or three rooms each
            "number": np.tile(np.arange(12), 8) % (2 + school % 2) + 1,
            "rater": np.tile(np.arange(6), 16),
            "sex": np.tile(["m", "f"], 48),
        }
    )


def told(formula, family="gaussian"):
    return explain(build_design(formula, frame(), family=family_of(family)))


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x + (1 | school)", "Each level of school has its own intercept, drawn"),
        (
            "y ~ x + (x | school)",
            "its own intercept and its own effect of x, drawn from one normal distribution and corr",
        ),
        ("y ~ x + (0 + x | school)", "Each level of school has its own effect of x, drawn"),
        ("y ~ x + (x || school)", "Effects of school from different bars are independent"),
        ("y ~ x + (1 | school/room)", "school:room has 32 levels. Each lies in one level of school."),
        ("y ~ x + (1 | school) + (1 | rater)", "rater has 6 levels."),
        ("y ~ x", "The same for all rows: Intercept, x."),
    ],
)
def test_what_the_parts_mean(formula, words):
    found = told(formula)
    assert any(words in part for part in found.parts), found
    assert found.traps == ()


@pytest.mark.parametrize(
    ("formula", "family", "counts"),
    [
        ("y ~ x + (x | school)", "gaussian", "2 fixed effects, 2 sds of groups, 1 correlation, sigma; 16 random"),
        ("y ~ 1 + (1 | school/room)", "gaussian", "1 fixed effect, 2 sds of groups, sigma; 40 random effects"),
        ("grade ~ x + (1 | school)", "ordinal", "1 fixed effect, 1 sd of groups, 2 cutpoints; 8 random effects"),
        ("grade ~ x + (f | school)", "poisson", "2 fixed effects, 3 sds of groups, 3 correlations; 24 random"),
    ],
)
def test_what_is_estimated(formula, family, counts):
    assert counts in told(formula, family).counts


@pytest.mark.parametrize(
    ("formula", "trap"),
    [
        ("y ~ size + (size | school)", "size varies within no level of school"),
        ("y ~ 1 + (x | school)", "the mean effect of x is held at zero"),
        ("y ~ 0 + x + (1 | school)", "its mean over the levels is held at zero"),
        ("y ~ x + (f | school)", "the mean effect of f[b] is held at zero"),
        ("y ~ f + (f || school)", "are correlated (as in lme4)"),
        ("y ~ x + (1 | sex)", "sex has 2 levels only"),
        ("y ~ x + (1 | school) + (1 | number)", "number is numbered from the start again in every level of school"),
    ],
)
def test_traps(formula, trap):
    assert any(trap in each for each in told(formula).traps), told(formula)


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("y ~ f + (0 + f | school)", "gaussian"),  # full coding lies in the span of the reduced one
        ("grade ~ x + (x | school)", "ordinal"),  # the cutpoints are the intercept's fixed counterpart
        ("y ~ x + (1 | school) + (1 | rater)", "gaussian"),  # every rater in every school
        ("y ~ x + (1 | school) + (1 | school:number)", "gaussian"),
        ("y ~ size + (1 | school)", "gaussian"),
    ],
)
def test_where_nothing_is_wrong_nothing_is_said(formula, family):
    assert told(formula, family).traps == ()


def test_it_prints_and_knows_the_science_data():
    science = blm.load_dataset("science")
    found = blm.Model("like ~ sex + (1 | school) + (1 | class)", science).explain()
    text = str(found)
    assert "write (1 | school/class)" in text.replace("\n  ", " ") and max(map(len, text.splitlines())) <= 100
    assert "<p>" in found._repr_html_()
    assert blm.Model("like ~ sex + (1 | school/class)", science).explain().traps == ()
