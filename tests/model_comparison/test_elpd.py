"""Posteriors ranked by what they predict."""

from __future__ import annotations

import warnings

import pytest

import bayeslmm as blm
from bayeslmm import errors


@pytest.fixture(scope="module")
def fits():
    sleep = blm.load_dataset("sleepstudy")
    formulas = ("Reaction ~ 1 + (1 | Subject)", "Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days | Subject)")
    return [blm.Model(formula, sleep).fit(random_seed=1) for formula in formulas]


@pytest.mark.parametrize("unit", ["observation", "Subject"])
def test_the_order_is_that_of_loo(fits, unit):
    found = blm.compare(*fits, unit=unit, names=["mean", "line", "lines"])
    assert list(found.table.index) == ["lines", "line", "mean"] and list(found.table["rank"]) == [0, 1, 2]
    elpd = [fit.loo(unit).elpd for fit in reversed(fits)]
    assert list(found.table["elpd"]) == pytest.approx(elpd)
    assert list(found.table["elpd_diff"]) == pytest.approx([e - elpd[0] for e in elpd])
    assert found.table["weight"].sum() == pytest.approx(1.0) and found.unit == unit
    text = str(found)
    said = "one observation (a new row of a known group)" if unit == "observation" else "one Subject with all its rows"
    assert f"Leave-one-out: {said}" in text
    assert max(map(len, text.splitlines())) <= 100 and "nan" not in text
    assert "<table" in found._repr_html_() and "elpd" in found.to_latex() and "|" in found.to_markdown()


def test_bad_input(fits):
    sleep = blm.load_dataset("sleepstudy")
    with pytest.raises(errors.InputError, match="two posteriors"):
        blm.compare(fits[0])
    with pytest.raises(errors.InputError, match=r"blm\.anova"):
        blm.compare(fits[0], blm.lmer("Reaction ~ Days + (1 | Subject)", sleep))
    with pytest.raises(errors.InputError, match="2 fits"):
        blm.compare(*fits[:2], names="AB")
    with pytest.raises(errors.InputError, match="'school'"):
        blm.compare(*fits, unit="school")
    fewer = blm.Model("Reaction ~ 1 + (1 | Subject)", sleep.iloc[1:]).fit(random_seed=1)
    with pytest.raises(errors.InputError, match="180 .* 179"):
        blm.compare(fits[0], fewer)
    log = blm.Model("np.log(Reaction) ~ 1 + (1 | Subject)", sleep).fit(random_seed=1)
    with pytest.raises(errors.InputError, match="different responses"):
        blm.compare(fits[0], log)


def test_families_may_differ_as_long_as_the_response_is_the_same():
    sleep = blm.load_dataset("sleepstudy")
    formula = "Reaction ~ Days + (1 | Subject)"
    options = {"draws": 300, "tune": 300, "chains": 2, "random_seed": 1, "progressbar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SamplingWarning)  # short chains
        found = blm.compare(
            blm.Model(formula, sleep).fit(random_seed=1),
            blm.Model(formula, sleep, family="student_t").fit(**options),
            names=["normal", "t"],
        )
    assert found.table.index[0] == "t"  # two subjects have outliers


def test_results_that_are_there_already_are_compared(fits):
    found = blm.compare(*(fit.loo("Subject") for fit in fits[1:]))
    assert found.unit == "Subject"
    expected = blm.compare(*fits[1:], unit="Subject")
    assert list(found.table["elpd"]) == list(expected.table["elpd"]) and str(found) == str(expected)
    mixed = blm.compare(fits[1].loo("Subject"), fits[2])  # the unit is that of the result
    assert list(mixed.table["elpd"]) == list(expected.table["elpd"])


def test_the_conditional_loo_is_said(fits):
    with pytest.warns(errors.SamplingWarning, match="rows have a Pareto k"):
        found = blm.compare(*fits[1:], conditional=True)
    assert "Leave-one-out, conditional on draws of the random effects: one observation" in str(found)
    with pytest.raises(errors.InputError, match="different ways"), pytest.warns(errors.SamplingWarning):
        blm.compare(fits[1].loo(), fits[2].loo(conditional=True))


def test_results_of_other_rows_are_refused(fits):
    sleep = blm.load_dataset("sleepstudy")
    fewer = blm.Model("Reaction ~ 1 + (1 | Subject)", sleep.iloc[1:]).fit(random_seed=1)
    with pytest.raises(errors.InputError, match="180 .* 179"):
        blm.compare(fits[0].loo(), fewer.loo())
