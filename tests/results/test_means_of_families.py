"""Marginal means, ratios, differences and tests of terms of generalised models against emmeans and car."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

REFERENCE = Path(__file__).parents[1] / "reference"
NAMES = sorted(path.stem for path in (REFERENCE / "glmm_means").glob("*.json"))
FAMILIES = {"nbinom2": "negbinomial"}
METHODS = {"pairwise": "pairwise", "revpairwise": "reverse", "trt.vs.ctrl1": "reference"}


@functools.cache
def reference(name):
    return json.loads((REFERENCE / "glmm_means" / f"{name}.json").read_text(encoding="utf-8"))


@functools.cache
def fit_of(name):
    kept = reference(name)
    data = pd.read_csv(REFERENCE / "glmm_data" / f"{Path(kept['data_file']).stem}.csv.gz")
    for column, kind in kept["columns"].items():
        if kind["type"] == "factor":
            levels = [str(level) for level in kind["levels"]]
            data[column] = pd.Categorical(data[column].astype(str), categories=levels)
    formula, family = kept["formula_py"], FAMILIES.get(kept["family"], kept["family"])
    if kept["response"].get("size"):
        formula = formula.replace("incidence", "p(incidence, size)", 1)
    if kept["success"]:
        formula, family = formula.replace("use", f"use[{kept['success']}]", 1), "bernoulli"
    return blm.glmer(formula, data, family=family)


def means_of(name, mean):
    request = reference(name)["means"][mean]["request"]
    options = {key: request[key] for key in ("by", "at", "weights", "offset") if key in request}
    specs = [] if request["specs"] == "1" else request["specs"]
    return fit_of(name).means(specs, **options)


CASES = [(name, mean) for name in NAMES for mean in reference(name)["means"]]
CONTRASTS = [case for case in CASES if "ratios" in reference(case[0])["means"][case[1]]]


def column(table, *names):
    place = next(table["columns"].index(name) for name in names if name in table["columns"])
    return np.array([row[place] for row in table["rows"]], dtype=float)


def matches(found, wanted, estimate, rtol=2e-4):
    """The optimum of Laplace's approximation is glmmTMB's to 1e-6 of a standard error, its standard errors to 1e-4."""
    se = column(wanted, "SE")
    np.testing.assert_allclose(found["estimate"], column(wanted, *estimate), rtol=rtol, atol=1e-3 * se.max())
    np.testing.assert_allclose(found["std_error"], se, rtol=2e-3)
    for ours, theirs in (("conf_low", "lower"), ("conf_high", "upper")):
        if theirs in wanted["columns"]:
            np.testing.assert_allclose(found[ours], column(wanted, theirs), atol=4e-3 * se.max(), rtol=2e-3)


@pytest.mark.parametrize(("name", "mean"), CASES)
def test_means_on_both_scales(name, mean):
    kept, means = reference(name)["means"][mean], means_of(name, mean)
    response = ("prob", "response", "rate")
    matches(means.table, kept["link"], ("emmean",))
    matches(means.response().table, kept["response"], response)
    spread = reference(name)["bias_adjust_sigma"]
    matches(means.response(bias_sd=spread).table, kept["response_bias_adjusted"], response, rtol=1e-3)


@pytest.mark.parametrize(("name", "mean"), CONTRASTS)
def test_contrasts_as_sums_ratios_and_differences(name, mean):
    kept, means = reference(name)["means"][mean], means_of(name, mean)
    method = METHODS[kept["request"]["method"]]
    found, wanted = means.contrasts(method, adjust="none").table, kept["contrasts_link"]
    matches(found, wanted, ("estimate",))
    np.testing.assert_allclose(found["p_value"], column(wanted, "p_none"), rtol=0.02, atol=1e-6)
    for adjust in ("holm", "bonferroni", "tukey"):
        if f"p_{adjust}" in wanted["columns"]:
            found = means.contrasts(method, adjust=adjust).table
            np.testing.assert_allclose(found["p_value"], column(wanted, f"p_{adjust}"), rtol=0.02, atol=1e-6)
    ratios = means.response().contrasts(method, adjust="none").table
    assert all(" / " in name for name in ratios["contrast"])
    matches(ratios, kept["ratios"], ("odds.ratio", "ratio"), rtol=1e-3)
    differences = means.response().contrasts(method, adjust="none", kind="difference").table
    matches(differences, kept["response_differences"], ("estimate",), rtol=1e-3)
    np.testing.assert_allclose(differences["p_value"], column(kept["response_differences"], "p"), rtol=0.03, atol=1e-6)
    moved = means.response(bias_sd=reference(name)["bias_adjust_sigma"])
    adjusted = moved.contrasts(method, adjust="none", kind="difference").table
    matches(adjusted, kept["response_differences_bias_adjusted"], ("estimate",), rtol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_terms_are_those_of_car(name):
    """Type III in sum coding; type II by the covariance of the estimates."""
    kept, fit = reference(name)["anova"], fit_of(name)
    for kind, of_car in ((2, kept["II"]["wald_chisq"]), (3, kept["III"]["wald_chisq_sum_coding"])):
        by_term = {row[0]: row[1:] for row in of_car["rows"]}
        found = blm.anova(fit, type=kind)
        for term, row in found.table.iterrows():
            chisq, df, _ = by_term[str(term).replace(" ** ", "^")]
            assert row["chisq"] == pytest.approx(chisq, rel=5e-3) and row["df"] == df
    dropped = blm.drop1(fit)
    for term, chisq, df, _ in kept["drop1_LRT"]["rows"]:
        row = dropped.table.loc[term.replace("^", " ** ")]
        assert row["chisq"] == pytest.approx(chisq, rel=1e-3) and row["df"] == df


def test_draws_give_the_same_kinds_of_contrasts():
    cbpp = blm.load_dataset("cbpp")
    post = blm.Model("p(incidence, size) ~ period + (1 | herd)", cbpp, family="binomial").fit(
        draws=200, chains=2, random_seed=1, progressbar=False
    )
    means = post.means("period").response()
    drawn = means.draws().to_numpy()
    difference = means.pairs(kind="difference")
    np.testing.assert_allclose(difference.draws().to_numpy()[..., 0], drawn[..., 0] - drawn[..., 1])
    assert difference.table["p_positive"].iloc[0] == pytest.approx((drawn[..., 0] > drawn[..., 1]).mean())
    ratio = means.pairs(kind="ratio").draws().to_numpy()[..., 0]
    odds = drawn / (1 - drawn)
    np.testing.assert_allclose(ratio, odds[..., 0] / odds[..., 1])


def test_kinds_that_there_are_not():
    fit = fit_of("cbpp_logit")
    means = fit.means("period")
    for given, words in (({"kind": "odds"}, "'ratio' or 'difference'"), ({"kind": "ratio"}, "response")):
        with pytest.raises(errors.InputError, match=words):
            means.pairs(**given)
    with pytest.raises(errors.InputError, match="adjusted for bias"):
        means.response(bias_sd=0.5).pairs()
    with pytest.raises(errors.InputError, match="no offset"):
        fit.means("period", offset=1.0)
    probit = blm.glmer("p(incidence, size) ~ period + (1 | herd)", blm.load_dataset("cbpp"), "binomial", link="probit")
    response = probit.means("period").response()
    with pytest.raises(errors.InputError, match="no ratios"):
        response.pairs(kind="ratio")
    found = response.pairs().table["estimate"].iloc[0]
    assert found == pytest.approx(-np.diff(response.table["estimate"])[0])
