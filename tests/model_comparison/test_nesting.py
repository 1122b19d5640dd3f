"""Whether a model is a special case of another, against dense matrices, and what anova says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.model_comparison import anova as anova_module
from bayeslmm.model_comparison import nesting

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


def table_of(seed=1, n=72):
    rng = np.random.default_rng(seed)
    i = np.arange(n)
    data = pd.DataFrame(
        {"g": i % 6, "h": (i // 6) % 4, "f": np.array(list("pqr"))[i % 3 if seed % 2 else (i // 2) % 3]}
    )
    data["f"] = rng.permutation(data["f"])
    data["x"], data["z"] = rng.normal(2000.0, 3.0, n), rng.normal(size=n)
    data["k"] = data["f"].map({"p": "m", "q": "m", "r": "n"})
    data["gf"] = data["g"].astype(str) + data["f"]
    data["g2"] = data["g"].map(lambda code: f"other {code}")
    data["y"] = data["z"] + rng.normal(0, 1.5, 6)[data["g"]] + rng.normal(0, 0.7, 4)[data["h"]] + rng.normal(size=n)
    data["y"] += rng.normal(0, 1.0, data["gf"].nunique())[pd.factorize(data["gf"])[0]]
    return data


def fit(right, data=None, **options):
    return blm.lmer(f"y ~ {right}", table_of() if data is None else data, **options)


BARS = (
    "(1 | g)",
    "(1 | g2)",
    "(1 | h)",
    "(z | g)",
    "(z || g)",
    "(scale(z) | g)",
    "(scale(z) || g)",
    "(0 + z | g)",
    "(1 | g:f)",
    "(1 | gf)",
    "(0 + f | g)",
    "(f | g2)",
    "(0 + k | g)",
    "(1 | g/f)",
    "(1 | g) + (0 + z | g2)",
    "(1 | g) + (1 | h)",
    "(1 | g:k)",
    "(z | g:f)",
)
NESTED = (
    ("(1 | g)", "(1 | g2)"),
    ("(1 | g)", "(z | g)"),
    ("(1 | g)", "(z || g)"),
    ("(z || g)", "(z | g)"),
    ("(z | g)", "(scale(z) | g2)"),
    ("(scale(z) || g)", "(z | g)"),
    ("(1 | g:f)", "(0 + f | g)"),
    ("(1 | gf)", "(f | g2)"),
    ("(1 | g/f)", "(f | g)"),
    ("(1 | g:k)", "(0 + f | g)"),
    ("(0 + k | g)", "(0 + f | g)"),
    ("(1 | g)", "(1 | g/f)"),
    ("(1 | g:f)", "(1 | g/f)"),
    ("(1 | g)", "(0 + f | g)"),
    ("(1 | h)", "(1 | g) + (1 | h)"),
    ("(z || g)", "(1 | g) + (0 + z | g2)"),
)
NOT_NESTED = (
    ("(1 | g)", "(1 | h)"),
    ("(z | g)", "(z || g)"),
    ("(z || g)", "(scale(z) || g)"),
    ("(1 | g)", "(1 | g:f)"),
    ("(0 + z | g)", "(0 + f | g)"),
    ("(0 + f | g)", "(1 | g/f)"),
    ("(1 | h)", "(z | g)"),
    ("(1 | g:f)", "(0 + k | g)"),
)


@pytest.mark.parametrize(("small", "large"), NESTED)
def test_special_cases(small, large):
    data = table_of()
    a, b = fit(f"z + {small}", data).design, fit(f"z + {large}", data).design
    assert nesting.parts_not_nested(a, b) == () and within_span(a, b)


@pytest.mark.parametrize(("small", "large"), NOT_NESTED)
def test_no_special_cases(small, large):
    data = table_of()
    a, b = fit(f"z + {small}", data).design, fit(f"z + {large}", data).design
    assert nesting.parts_not_nested(a, b) == ("random",)


def within_span(small, large):
    """Whether the dense terms of one covariance are linear combinations of those of the other."""

    def terms(design):
        found = []
        for g in design.groups:
            same = np.equal.outer(g.codes, g.codes)
            for block in g.blocks:
                for i, a in enumerate(block):
                    for b in block[i:]:
                        one = np.outer(g.Z[:, a], g.Z[:, b])
                        found.append((same * (one + one.T)).ravel())
        return np.array(found).T

    A, B = terms(small), terms(large)
    left = A - B @ np.linalg.lstsq(B, A, rcond=1e-10)[0]
    return bool(np.abs(left).max() <= 1e-7 * np.abs(A).max())


@given(st.integers(0, 1000), st.sampled_from(BARS), st.sampled_from(BARS))
@examples(60)
def test_nested_covariances_are_in_the_span_of_the_others(seed, small, large):
    data = table_of(seed)
    a, b = (blm.Model(f"y ~ z + {bar}", data).design for bar in (small, large))
    if nesting.covariance_is_nested(a, b):
        assert within_span(a, b)
    assert nesting.covariance_is_nested(a, a)


@pytest.mark.parametrize(
    ("small", "large", "nested"),
    [
        ("z", "z + x", True),
        ("scale(z)", "z + x", True),
        ("z", "poly(z, 2)", True),
        ("k", "f", True),
        ("f", "k", False),
        ("z", "x + f", False),
        ("z", "np.exp(z) + x", False),
        ("1", "0 + f", True),
        ("0 + z", "z", True),
        ("offset(z)", "z", True),
        ("z + offset(x)", "z", False),
        ("x", "I(x + 1e-6 * z)", False),
        ("x", "I(x / 7) + z", True),
        ("f * z", "0 + f + f:z", True),
    ],
)
def test_means(small, large, nested):
    data = table_of()
    a, b = (blm.Model(f"y ~ {right} + (1 | g)", data).design for right in (small, large))
    assert nesting.mean_is_nested(a, b) is nested


# -- what anova makes of it


def test_models_that_are_not_nested_have_no_test():
    """y ~ z and y ~ x + f: no p-value, no statistic, and AIC and BIC as they are."""
    data = table_of()
    fits = fit("z + (1 | g)", data), fit("x + f + (1 | g)", data), fit("x + f + z + (1 | g)", data)
    found = blm.anova(*fits)
    table = found.table
    assert list(table["nested"]) == [None, False, True]
    assert table.iloc[1][["chisq", "df", "p_value"]].isna().all()
    assert table["aic"].notna().all() and table["bic"].notna().all() and np.isfinite(table["p_value"].iloc[2])
    assert "m0 is not nested in m1: m1 does not contain its fixed effects" in " ".join(str(found).split())
    header, *lines = str(found).splitlines()[5:9]
    assert "nested" in header and "no" in lines[1].split() and "yes" in lines[2].split()
    assert "nested" not in str(blm.anova(fits[0], fits[2]))
    assert "not nested" in str(blm.anova(fit("z + (1 | g)", data), fit("z + (z | h)", data)))


def test_linear_models_that_are_not_nested_have_no_test():
    data = table_of()
    fits = [blm.Model(f"y ~ {right}", data).fit_reml() for right in ("z", "x + f", "x + f + z")]
    table = blm.anova(*fits).table
    assert np.isnan(table["f"].iloc[1]) and np.isnan(table["p_value"].iloc[1])
    assert table["f"].iloc[2] == pytest.approx(blm.anova(*fits[1:]).table["f"].iloc[1])


def test_compound_symmetry_is_tested_against_free_covariances():
    """Pinheiro & Bates (2000), section 1.3: random interaction against a variance for each machine."""
    data = table_of()
    found = blm.anova(fit("z + (1 | g) + (1 | g:f)", data), fit("z + (0 + f | g)", data)).table
    assert found["nested"].iloc[1] is True and found["df"].iloc[1] == 4 and np.isfinite(found["p_value"].iloc[1])


def test_a_larger_model_that_fits_worse_is_told(monkeypatch):
    """A search that ended early: the statistic is negative and shown so; nothing is rounded up to a p-value of 1."""
    data = table_of()
    small, large = fit("z + (1 | g)", data, REML=False), fit("z + x + (1 | g)", data, REML=False)
    worse = replace(large, solution=replace(large.solution, criterion=small.deviance + 0.25))
    found = blm.anova(small, worse)
    assert found.table["chisq"].iloc[1] == pytest.approx(-0.25) and np.isnan(found.table["p_value"].iloc[1])
    assert "fits worse, by 0.25" in str(found) and "-0.25" in str(found)
    rounding = replace(large, solution=replace(large.solution, criterion=small.deviance + 1e-7))
    assert blm.anova(small, rounding).table["chisq"].iloc[1] == 0.0
    for verb, term in ((blm.ranova, "(1 | g)"), (blm.drop1, "x")):
        off = replace(large, solution=replace(large.solution, criterion=large.deviance + 1000.0))
        table = verb(off).table
        assert table.loc[term, "chisq"] < 0.0 and np.isnan(table.loc[term, "p_value"])
        assert "beside the optimum" in str(verb(off))


def test_what_is_compared_is_told():
    data = table_of()
    reml, ml = fit("z + (1 | g)", data), fit("z + (z | g)", data, REML=False)
    assert anova_module.MIXED in blm.anova(reml, ml).notes
    assert anova_module.RECODED in blm.anova(fit("scale(z) + (1 | g)", data), fit("z + (z | g)", data)).notes
    assert anova_module.SAME_FIXED in blm.anova(reml, fit("z + (z | g)", data)).notes
    both = blm.anova(fit("1 + (1 | g)", data), fit("z + (z | g)", data))
    assert anova_module.REFITTED in both.notes and anova_module.BOUNDARY in both.notes
    with pytest.raises(errors.InputError, match="responses"):
        blm.anova(reml, fit("z + (1 | g)", data.assign(y=data["y"] + 1)))


# -- one row a term


@pytest.mark.parametrize(
    ("bars", "labels"),
    [
        ("(1 | g/f)", ["(1 | g)", "(1 | g:f)"]),
        ("(z | g/f)", ["z in (1 + z | g)", "z in (1 + z | g:f)"]),
        ("(z || g/h)", ["(1 | g)", "(0 + z | g)", "(1 | g:h)", "(0 + z | g:h)"]),
        ("(1 | g) + (0 + z | g)", ["(1 | g)", "(0 + z | g)"]),
        ("(1 | g) + (z | h)", ["(1 | g)", "z in (z | h)"]),
        ("(z || g)", ["Intercept in (z || g)", "z in (z || g)"]),
        ("(1 | g) + (1 | g:h)", ["(1 | g)", "(1 | g:h)"]),
    ],
)
def test_ranova_has_a_row_for_every_term(bars, labels):
    table = blm.ranova(fit(f"z + {bars}")).table
    assert sorted(table.index[1:]) == sorted(labels) and table.index.is_unique


def test_ranova_of_nested_factors_has_lmertests_rows():
    """lmerTest 3.1-3 of the Pastes data: cask in batch 1.5e-13, batch 0.4174."""
    table = blm.ranova(blm.lmer("strength ~ 1 + (1 | batch/cask)", blm.load_dataset("pastes"))).table
    assert table.loc["(1 | batch:cask)", "p_value"] == pytest.approx(1.5e-13, rel=0.05)
    assert table.loc["(1 | batch)", "p_value"] == pytest.approx(0.4174, abs=1e-4)
