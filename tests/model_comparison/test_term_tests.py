"""F tests of terms against lmerTest and pbkrtest."""

import re

import numpy as np
import pandas as pd
import pytest
from terms_reference import FITS, fit_of, numbers, reference

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import wald
from bayeslmm.results.hypothesis_matrices import hypotheses

TYPES = {"I": 1, "II": 2, "III": 3}
CENTRED = {
    "chickweight_diet": "weight ~ Diet * center(Time) + (Time | Chick)",
    "items_crossed": "rt ~ cond * center(freq) + (cond | subject) + (1 | item)",
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::bayeslmm.errors.AliasedColumnsWarning", "ignore::bayeslmm.errors.SingularFitWarning"
)
CASES = [
    (name, kind, ddf)
    for name in FITS
    for kind, tables in reference(name)["anova"].items()
    for ddf in ("satterthwaite", "kenward_roger")
    if ddf in tables  # pbkrtest 0.5.2 is wrong with weights, so that model has none
]


@pytest.mark.reference
@pytest.mark.parametrize(("name", "kind", "ddf"), CASES)
def test_every_type_is_that_of_lmertest(name, kind, ddf):
    wanted = reference(name)["anova"][kind][ddf]
    found = blm.anova(fit_of(name), type=TYPES[kind], ddf=ddf.replace("_", "-")).table
    assert list(found["num_df"]) == list(numbers(wanted, "NumDF"))
    np.testing.assert_allclose(found["f"], numbers(wanted, "F"), rtol=1e-6)
    # Satterthwaite's df of several contrasts depend on the basis in which a hypothesis is written, by some 1e-5
    np.testing.assert_allclose(found["den_df"], numbers(wanted, "DenDF"), rtol=1e-4)
    np.testing.assert_allclose(found["p_value"], numbers(wanted, "p"), rtol=2e-4, atol=1e-12)


@pytest.mark.reference
@pytest.mark.parametrize("name", [name for name in FITS if reference(name).get("tests")])
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward_roger"])
def test_linear_hypotheses_are_those_of_lmertest(name, ddf):
    fit = fit_of(name)
    ours = {n.replace("[", "").replace("]", "").replace("Intercept", "(Intercept)"): n for n in fit.design.x_names}
    for case in reference(name)["tests"]:
        sides = [" + ".join(f"{w} * {ours[term]}" for term, w in row.items()) for row in case["rows"]]
        text = ", ".join(f"{side} = {value}" for side, value in zip(sides, case["rhs"], strict=True))
        found, wanted = fit.test(text, ddf=ddf.replace("_", "-")).iloc[0], case[ddf]
        assert found["num_df"] == wanted["NumDF"]
        assert found["f"] == pytest.approx(wanted["F"], rel=1e-6)
        assert found["den_df"] == pytest.approx(wanted["DenDF"], rel=1e-4)
        assert found["p_value"] == pytest.approx(wanted["p"], rel=2e-4)


def of_r(term):
    """The name of a term of ours in R."""
    return re.sub(r"(?:C|center)\((\w+)[^)]*\)", r"\1", term)


@pytest.mark.reference
@pytest.mark.parametrize("name", [name for name in FITS if "car_Anova" in reference(name)])
def test_type_two_by_the_covariance_of_the_estimates_is_that_of_car(name):
    """The hypotheses that tables of other than normal responses test, here with car's Kenward-Roger F tests."""
    fit, wanted = fit_of(name), {row[0]: row[1:] for row in reference(name)["car_Anova"]["II"]["rows"]}
    about = wald.approximation(fit.design, fit.solution, "kenward-roger")
    matrices = hypotheses(fit.design, 2, about.vcov)
    assert [of_r(term) for term in matrices] == list(wanted)
    for term, L in matrices.items():
        found = about.f_test(L, L @ fit.solution.beta)
        num_df, den_df, f, _ = wanted[of_r(term)]
        assert found.num_df == num_df
        assert found.den_df == pytest.approx(den_df, rel=1e-7)
        assert found.f == pytest.approx(f, rel=1e-7)


@pytest.mark.reference
@pytest.mark.parametrize("name", [name for name in FITS if "joint_tests" in reference(name)])
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward_roger"])
def test_type_three_is_that_of_joint_tests(name, ddf):
    """Numbers at their mean, so centred here; F has three decimals there, df two.

    With several df emmeans takes other denominators, and leaves the scale of Kenward and Roger's F out; where cells are
    empty it tests what is estimable.
    """
    kept = reference(name)["joint_tests"].get(ddf)
    if kept is None or kept["note"] is not None:
        pytest.skip("not there, or of cells that are empty")
    fit = fit_of(name)
    fit = fit.update(CENTRED[name]) if name in CENTRED else fit
    found = blm.anova(fit, ddf=ddf.replace("_", "-")).table.rename(index=of_r)
    for term, num_df, den_df, f, p in (row[:5] for row in kept["rows"]):
        row, single = found.loc[term], num_df == 1
        assert row["num_df"] == num_df
        if single or ddf == "satterthwaite":
            assert row["f"] == pytest.approx(f, abs=6e-4)
        if single:
            assert row["den_df"] == pytest.approx(den_df, abs=6e-3)
            assert row["p_value"] == pytest.approx(p, rel=1e-4)


def test_a_term_with_one_column_is_tested_by_its_t(sleep):
    table = blm.anova(sleep).table
    row = sleep.fixef().loc["Days"]
    assert table.loc["Days", "f"] == pytest.approx(row["statistic"] ** 2, rel=1e-10)
    assert table.loc["Days", "p_value"] == pytest.approx(row["p_value"], rel=1e-8)


def test_without_df_the_test_is_walds(sleep):
    table = blm.anova(sleep, ddf=None).table
    assert table.loc["Days", "chisq"] == pytest.approx(sleep.fixef(ddf=None).loc["Days", "statistic"] ** 2, rel=1e-10)
    assert list(table) == ["chisq", "df", "p_value"]


def test_a_linear_model_has_the_f_test_of_least_squares():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abc"), 8), "y": rng.normal(size=24)})
    table = blm.anova(blm.Model("y ~ g", data).fit_reml()).table
    groups = [part["y"].to_numpy() for _, part in data.groupby("g")]
    from scipy.stats import f_oneway

    wanted = f_oneway(*groups)
    assert table.loc["g", "f"] == pytest.approx(wanted.statistic, rel=1e-10)
    assert table.loc["g", "p_value"] == pytest.approx(wanted.pvalue, rel=1e-10)
    assert table.loc["g", "den_df"] == 21.0


def test_type_three_does_not_depend_on_the_coding():
    data = fit_of("factorial_sum").design.frame
    plain = blm.lmer("y ~ A * B * C + (A | subject)", data)
    coded = blm.anova(fit_of("factorial_sum")).table
    np.testing.assert_allclose(blm.anova(plain).table["f"], coded["f"], rtol=1e-6)


def test_a_covariate_that_interacts_is_pointed_at():
    assert "where that number is zero" in str(blm.anova(fit_of("chickweight_diet")))
    assert "where that number is zero" not in str(blm.anova(fit_of("chickweight_diet"), type=2))


@pytest.fixture(scope="module")
def sleep():
    return blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: blm.anova(fit, type=4), "types of tests are 1, 2 and 3"),
        (lambda fit: blm.anova(fit, type=True), "types of tests"),
        (lambda fit: blm.anova(fit, ddf="chi"), "degrees of freedom are"),
        (lambda fit: blm.anova(), "one fit or several"),
        (lambda fit: fit.test("Dayz = 0"), "did you mean 'Days'"),
        (lambda fit: fit.test("Days > 0"), "a test is of equations"),
        (lambda fit: fit.test("Days"), "a statement holds"),
        (lambda fit: fit.test("Days ** 2 = 1"), "sums of coefficients"),
        (lambda fit: fit.test("Days = Days"), "no coefficient stands in it"),
        (lambda fit: fit.test("__import__('os').system('true') = 1"), "a statement holds names"),
        (lambda fit: fit.test("(" * 300 + "Days" + ")" * 300 + " = 0"), "Days"),
        (lambda fit: fit.test("Days = 1" + "0" * 400), "a statement holds names"),
        (lambda fit: fit.test(7), "statements are texts"),
    ],
)
def test_what_cannot_be_tested_is_refused(sleep, call, message):
    with pytest.raises(errors.InputError, match=message):
        call(sleep)


def test_equations_that_follow_from_others_are_not_counted(sleep):
    assert sleep.test("Days = 10, 2 * Days = 20").loc[:, "num_df"].iloc[0] == 1


def test_a_model_of_an_intercept_has_no_terms():
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    with pytest.raises(errors.InputError, match="no terms but the intercept"):
        blm.anova(fit)


def test_an_interaction_without_its_effects_has_no_type_three():
    data = fit_of("factorial_sum").design.frame
    fit = blm.lmer("y ~ A:B + C + (1 | subject)", data)
    with pytest.raises(errors.NotAvailableError, match="type=1 and type=2"):
        blm.anova(fit)
    assert list(blm.anova(fit, type=2).table["num_df"]) == [1, 3]
