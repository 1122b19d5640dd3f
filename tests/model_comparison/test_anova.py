"""Tests between models: against R's figures and against each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


def test_nested_random_parts_are_compared_by_reml(sleep):
    """lmerTest's ranova prints LRT 42.837 on 2 df, p 4.99e-10, for this pair."""
    m0 = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    m1 = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    result = blm.anova(m1, m0)
    row = result.table.loc["m0"]
    assert row["chisq"] == pytest.approx(42.837, abs=5e-4) and row["df"] == 2
    assert row["p_value"] == pytest.approx(4.99e-10, rel=1e-3)
    assert list(result.table.index) == ["m1", "m0"]  # sorted by size; names are by the order given
    assert "boundary" in repr(result) and "REML criteria" in repr(result)
    dropped = blm.ranova(m1).table
    assert dropped.loc["Days in (Days | Subject)", "chisq"] == pytest.approx(row["chisq"], abs=1e-6)


def test_different_fixed_parts_are_refitted_by_ml(sleep):
    m0 = blm.lmer("Reaction ~ 1 + (Days | Subject)", sleep)
    m1 = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    result = blm.anova(m0, m1, names=["without", "with"])
    deviances = [blm.lmer(f"Reaction ~ {x} + (Days | Subject)", sleep, REML=False).deviance for x in ("1", "Days")]
    np.testing.assert_allclose(result.table["deviance"], deviances)
    assert result.table.loc["with", "p_value"] == pytest.approx(chi2.sf(deviances[0] - deviances[1], 1))
    assert "refitted by ML" in repr(result) and "boundary" not in repr(result)
    single = blm.drop1(m1).table.loc["Days"]
    assert single["chisq"] == pytest.approx(deviances[0] - deviances[1], abs=1e-6)


def test_linear_models_are_compared_by_f(sleep):
    table = blm.anova(blm.Model("Reaction ~ 1", sleep).fit_ml(), blm.Model("Reaction ~ Days", sleep).fit_reml()).table
    r2 = np.corrcoef(sleep["Days"], sleep["Reaction"])[0, 1] ** 2
    assert table["f"].iloc[1] == pytest.approx(r2 / (1 - r2) * 178)
    assert table["sum_sq"].iloc[1] == pytest.approx(r2 * ((sleep["Reaction"] - sleep["Reaction"].mean()) ** 2).sum())


def test_ranova_drops_every_term_once():
    d = blm.load_dataset("penicillin")
    table = blm.ranova(blm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", d)).table
    assert list(table.index) == ["(none dropped)", "(1 | plate)", "(1 | sample)"]
    only_plate = blm.lmer("diameter ~ 1 + (1 | plate)", d)
    assert table.loc["(1 | sample)", "loglik"] == pytest.approx(only_plate.loglik, abs=1e-7)
    assert (table["df"].iloc[1:] == 1).all() and table["p_value"].iloc[1:].max() < 1e-10


BARS = ["us(x + z | g)", *(f"{word}(x + z | g{hom})" for word in ("diag", "cs") for hom in ("", ", hom=True"))]


@pytest.mark.parametrize("bar", BARS)
def test_ranova_drops_what_leaves_a_special_case(bar):
    """Of whatever structure: fewer parameters, no better fit, and the whole bar where a part leaves another model."""
    rng = fixed_rng(4)
    d = pd.DataFrame({"x": rng.normal(size=120), "z": rng.normal(size=120), "g": np.arange(120) % 12})
    d["y"] = (rng.normal(size=(12, 3))[d["g"]] * np.column_stack([np.ones(120), d["x"], 0.2 * d["z"]])).sum(axis=1)
    d["y"] += rng.normal(size=120)
    result = blm.ranova(blm.lmer(f"y ~ x + {bar} + (1 | h)", d.assign(h=np.arange(120) // 10 % 6)))
    table = result.table.iloc[1:]
    assert (table["df"] >= 1).all() and (table["chisq"] >= 0.0).all() and table["p_value"].between(0.0, 1.0).all()
    assert "better without" not in str(result)
    is_whole = "hom" in bar or bar.startswith("cs")
    assert len(table) == (2 if is_whole else 3)
    if is_whole:
        smaller = blm.lmer("y ~ x + (1 | h)", d.assign(h=np.arange(120) // 10 % 6))
        assert result.table["loglik"].iloc[1] == pytest.approx(smaller.loglik, abs=1e-5)


def test_ranova_of_factors_and_double_bars(sleep):
    data = sleep.assign(late=np.where(sleep["Days"] > 4, "late", "early"))
    with pytest.warns(errors.WeaklyIdentifiedWarning):  # (1 | Subject) beside both cells of late
        fit = blm.lmer("Reaction ~ Days + (late + Days || Subject)", data)
    table = blm.ranova(fit).table
    assert len(table) == 4
    table = blm.ranova(blm.lmer("Reaction ~ Days + (late | Subject)", data)).table
    assert list(table.index) == ["(none dropped)", "late in (late | Subject)"] and table["df"].iloc[1] == 2


def test_drop1_respects_marginality():
    d = blm.load_dataset("hsb")
    table = blm.drop1(blm.lmer("mathach ~ sector * ses + minority + (1 | school)", d)).table
    assert list(table.index) == ["(none dropped)", "minority", "sector:ses"]


def test_what_cannot_be_compared(sleep):
    m = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    with pytest.raises(errors.InputError, match="one fit or several"):
        blm.anova()
    with pytest.raises(errors.InputError, match="170"):
        blm.anova(m, blm.lmer("Reaction ~ Days + (1 | Subject)", sleep.iloc[10:]))
    with pytest.raises(errors.InputError, match="responses"):
        blm.anova(m, blm.lmer("np.log(Reaction) ~ Days + (1 | Subject)", sleep))
    with pytest.raises(errors.InputError, match="weights"):
        blm.anova(m, blm.Model("Reaction ~ 1 + (1 | Subject)", sleep.assign(w=2.0), weights="w").fit_reml())
    with pytest.raises(errors.InputError, match="Model"):
        blm.anova(m, blm.Model("Reaction ~ Days + (1 | Subject)", sleep))
    with pytest.raises(errors.InputError, match="no random effects"):
        blm.ranova(blm.Model("Reaction ~ Days", sleep).fit_reml())
    with pytest.raises(errors.InputError, match="intercept"):
        blm.drop1(blm.lmer("Reaction ~ 0 + C(Days) + (1 | Subject)", sleep))


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.AliasedColumnsWarning")
@pytest.mark.parametrize("order", ["treated + source * rate", "source * rate + treated", "x + source + x2"])
@pytest.mark.parametrize("family", ["gaussian", "ordinal"])
def test_a_dropped_term_takes_only_what_the_others_do_not_say(order, family):
    """A control beside a factorial: whether a plot was treated is what its source says. The models are written out."""
    cells = [("none", "none"), *((s, r) for s in "AB" for r in ("low", "mid", "high"))]
    rng = fixed_rng(1)
    d = pd.DataFrame([(b, s, r) for b in range(6) for s, r in cells], columns=["block", "source", "rate"])
    d["treated"] = np.where(d["source"] == "none", "no", "yes")
    d["x"] = rng.normal(size=len(d))
    d["x2"] = 1.0 - 2.0 * d["x"]
    score = rng.normal(size=len(d)) + d["source"].map({"none": 0, "A": 1, "B": 2}) + 0.2 * d["block"]
    d["y"] = pd.qcut(score, 3, labels=False) if family == "ordinal" else score
    fit = blm.Model(f"y ~ {order} + (1 | block)", d, family=family).fit_ml()
    table = blm.drop1(fit).table
    without = {"treated": "source * rate", "source:rate": "treated + source + rate", "x": "source + x2", "source": "x"}
    for term in table.index[1:]:
        smaller = blm.Model(f"y ~ {without[term]} + (1 | block)", d, family=family).fit_ml()
        assert table.loc[term, "df"] == fit.n_parameters - smaller.n_parameters
        assert table.loc[term, "chisq"] == pytest.approx(max(smaller.deviance - fit.deviance, 0.0), abs=1e-4)
    nothing_new = [term for term in ("treated", "x") if term in table.index]
    assert (table.loc[nothing_new, "df"] == 0).all() and table.loc[nothing_new, "p_value"].isna().all()
    assert "left out" in str(blm.anova(fit, type=2))
