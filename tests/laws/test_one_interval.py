"""One number, one interval: whatever verb tells a coefficient, a mean, a contrast or a slope, and what R says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import examples, tables

import bayeslmm as blm
from bayeslmm import errors

ENDS = ["estimate", "std_error", "df", "conf_low", "conf_high"]
REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "publish.json").read_text())
DDF = ("satterthwaite", "kenward-roger")

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same numbers: df to 1e-5, all else to 1e-5 of the standard error (a slope is a difference quotient)."""
    found, expected = found[ENDS].to_numpy(float), expected[ENDS].to_numpy(float)
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-5)
    se = expected[:, [1]]
    np.testing.assert_allclose((found / se)[:, [0, 1, 3, 4]], (expected / se)[:, [0, 1, 3, 4]], atol=1e-5, rtol=1e-7)


# -- all verbs agree


@given(tables(fixed=("x", "x + z", "x + f", "x * z", "x * f"), max_factors=2, locations=(0.0, 3.0)))
@examples(25)
def test_every_verb_tells_the_same_interval_of_a_coefficient(table):
    model = table.model()
    for fit, words in ((model.fit_reml(), (*DDF, "kr", None, "z")), (model.fit_ml(), ("satterthwaite", None))):
        if fit.verdict.startswith("failed"):
            continue
        for ddf in words:
            fixed = fit.fixef(ddf=ddf)
            assert (fixed["df"] == np.inf).all() == (ddf in (None, "z"))
            same(fit.confint(ddf=ddf).assign(std_error=fixed["std_error"].to_numpy()), fixed)
            same(fit.tidy("fixed", ddf=ddf), fixed)
            zero = pd.DataFrame({"x": [0.0], "z": 0.0, "t": 0.0, "f": "a", "o": 0.0})
            offset = {"offset": 0.0} if table.options.get("offset") else {}
            same(fit.predict(zero, groups="average", interval="plug-in", ddf=ddf, **offset), fixed.loc[["Intercept"]])
            same(fit.slopes("x", newdata=zero, ddf=ddf, **offset), fixed.loc[["x"]])
            if "f" in fit.design.frame and "f[b]" in fixed.index:
                same(fit.comparisons("f", newdata=zero, ddf=ddf, **offset), fixed.loc[["f[b]"]])
        same(fit.fixef(), fit.fixef(ddf="satterthwaite"))


def test_the_printed_tests_are_those_of_the_tables():
    fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    assert str(fit.summary()) == str(fit.summary(ddf="satterthwaite")) and "Satterthwaite" in str(fit.summary())
    assert str(fit.summary(ddf="kr")) == str(fit.summary(ddf="kenward-roger"))
    assert str(fit.summary(ddf="z")) == str(fit.summary(ddf=None))


def test_levels_have_one_interval():
    """β + b of a level by coef, by prediction and by its slope."""
    fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    for ddf in ("satterthwaite", None):
        own = fit.coef(ddf=ddf)
        rows = blm.grid(fit, Days=[0], by="Subject")
        same(fit.predict(rows, interval="plug-in", ddf=ddf), own[own["term"] == "Intercept"])
        same(fit.slopes("Days", groups="observed", by="Subject", ddf=ddf), own[own["term"] == "Days"])
    assert (fit.ranef()["df"] == np.inf).all()


# -- R's numbers


@pytest.fixture(scope="module")
def reference_fits():
    fits = {}
    for name, said in REFERENCE.items():
        data = blm.load_dataset(said["data"])
        fits[name] = blm.lmer(said["formula"], data.astype(dict.fromkeys(said["factors"], "category")))
    return fits


def agree(found: pd.DataFrame, said: list[list], *, sign: float = 1.0) -> None:
    """Estimate, se and interval to 1e-6 of the standard error; df to 1e-5."""
    numbers = np.array([row[-5:] for row in said], dtype=float)
    if sign < 0:
        numbers[:, [0, 3, 4]] = -numbers[:, [0, 4, 3]]
    found = found[ENDS].to_numpy(float)
    np.testing.assert_allclose(found[:, 2], numbers[:, 2], rtol=1e-5)
    at = [0, 1, 3, 4]
    np.testing.assert_allclose(found[:, at] / numbers[:, [1]], numbers[:, at] / numbers[:, [1]], atol=2e-5)


@pytest.mark.parametrize("ddf", DDF)
def test_means_are_those_of_emmeans(reference_fits, ddf):
    how = {"groups": "average", "interval": "plug-in", "ddf": ddf}
    fit, said = reference_fits["sleepstudy_slope"], REFERENCE["sleepstudy_slope"]
    agree(fit.predict(pd.DataFrame({"Days": [0, 4.5, 9]}), **how), said["days"][ddf]["table"])
    for name, column, mean in (("penicillin_sample", "sample", "sample"), ("pastes_cask", "cask", "cask")):
        rows = REFERENCE[name][mean][ddf]["table"]
        agree(reference_fits[name].predict(pd.DataFrame({column: [row[0] for row in rows]}), **how), rows)
    rows = REFERENCE["chickweight_diet"]["at_times"][ddf]["table"]
    newdata = pd.DataFrame({"Diet": [row[0] for row in rows], "Time": [float(row[1]) for row in rows]})
    newdata = newdata.astype({"Diet": reference_fits["chickweight_diet"].design.frame["Diet"].dtype})
    agree(reference_fits["chickweight_diet"].predict(newdata, **how), rows)


@pytest.mark.parametrize("ddf", DDF)
def test_contrasts_and_slopes_are_those_of_emmeans(reference_fits, ddf):
    said = {name: {k: v[ddf] for k, v in r.items() if isinstance(v, dict)} for name, r in REFERENCE.items()}
    trend = reference_fits["sleepstudy_slope"].slopes("Days", ddf=ddf)
    agree(trend, said["sleepstudy_slope"]["trend"]["table"])
    for name, column in (("penicillin_sample", "sample"), ("pastes_cask", "cask")):
        found = reference_fits[name].comparisons(column, contrast="pairwise", ddf=ddf)
        agree(found, said[name][column]["contrasts"], sign=-1.0)
    found = reference_fits["science_nested"].comparisons("PrivPub", at={"sex": ["f", "m"]}, ddf=ddf)
    agree(found, said["science_nested"]["priv"]["contrasts"], sign=-1.0)
    chicks = reference_fits["chickweight_diet"]
    for time in (0, 10.7, 21):
        found = chicks.comparisons("Diet", contrast="pairwise", at={"Time": [time]}, ddf=ddf)
        rows = [row for row in said["chickweight_diet"]["at_times"]["contrasts"] if float(row[1]) == time]
        agree(found, rows, sign=-1.0)
    agree(chicks.slopes("Time", by="Diet", ddf=ddf), said["chickweight_diet"]["slopes"]["table"])


# -- what counts as known, what is exact, what is refused


def test_a_linear_model_predicts_with_students_t():
    """R's predict(lm, interval = "confidence" | "prediction") has n − p degrees of freedom for both."""
    fit = blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy"))
    rows = pd.DataFrame({"Days": [0.0, 12.0]})
    for kind in ("mean", "response"):
        for ddf in DDF:
            np.testing.assert_allclose(fit.predict(rows, kind=kind, interval="plug-in", ddf=ddf)["df"], 178.0)


def test_random_effects_bring_the_interval_nearer_to_z():
    fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    rows = pd.DataFrame({"Days": [0.0, 9.0], "Subject": ["308", "309"]})
    targets = ("average", "population", "new", "observed")
    df = {groups: fit.predict(rows, groups=groups, interval="plug-in")["df"] for groups in targets}
    np.testing.assert_allclose(df["average"], df["population"])
    assert (df["new"] > df["average"]).all() and (df["observed"] > df["average"]).all()
    about = fit.predict(rows, groups="average", kind="response", interval="plug-in")
    assert about["df"].between(17.0, 180.0).all()


def test_what_does_not_vary_has_no_width():
    """The random part of a fit at the boundary is zero, and so is a contrast of a value with itself."""
    data = blm.load_dataset("dyestuff2")
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", data)
    rows = data.drop_duplicates("Batch")
    same(fit.predict(rows, interval="plug-in"), fit.predict(rows, groups="average", interval="plug-in"))
    sleep = blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    nothing = sleep.comparisons("Days", contrast=(3, 3))
    assert nothing[["estimate", "std_error", "conf_low", "conf_high"]].iloc[0].tolist() == [0.0] * 4
    missing = sleep.predict(pd.DataFrame({"Days": [np.nan, 1.0]}), groups="average", interval="plug-in")
    assert missing.drop(columns="interval").iloc[0].isna().all() and missing.notna().iloc[1].all()


def test_ddf_is_one_of_some_words():
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    rows = fit.design.frame.head(3)
    for ask in (
        fit.fixef,
        fit.confint,
        fit.tidy,
        fit.summary,
        fit.coef,
        lambda ddf: fit.slopes("Days", ddf=ddf),
        lambda ddf: fit.confint("profile", ddf=ddf),
        lambda ddf: fit.predict(rows, ddf=ddf),
    ):
        with pytest.raises(errors.InputError, match="'kr'"):
            ask(ddf="residual")
    with pytest.raises(errors.InputError, match="groups='average'"):
        fit.predict(rows, interval="plug-in", ddf="kr")
    with pytest.raises(errors.InputError, match="REML"):
        blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"), REML=False).slopes("Days", ddf="kr")
