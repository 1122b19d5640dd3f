"""Note 1: attitudes to science by class and school, where the schools add nothing; growth of chicks by diet."""

from __future__ import annotations

import warnings

import pytest

import bayeslmm as blm
from bayeslmm.errors import DroppedRowsWarning, SingularFitWarning

from .printed import check, entries, label, linear_model_numbers, summary_numbers


def numbers():
    science, chicks = blm.load_dataset("science"), blm.load_dataset("chickweight")
    n = {("data", name): value for name, value in _data(science, chicks).items()}

    # Students in classes in schools: all of the variance between schools is between classes
    like = "like ~ sex + PrivPub"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedRowsWarning)  # two students without an answer
        warnings.simplefilter("ignore", SingularFitWarning)  # tested below
        fits = {
            "science_nested_reml": blm.lmer(f"{like} + (1 | school) + (1 | school:class)", science),
            "science_class_reml": blm.lmer(f"{like} + (1 | school:class)", science),
            "science_school_reml": blm.lmer(f"{like} + (1 | school)", science),
        }
        plain, null = (
            blm.Model(like, science),
            blm.Model("like ~ 1", science.dropna(subset=["sex", "PrivPub", "like"])),
        )
    for model, fit in fits.items():
        n |= {(model, name): value for name, value in summary_numbers(fit).items()}
    nested = fits["science_nested_reml"]
    model = "science_nested_reml"
    n[model, "sex effect, in words"] = nested.fixef().loc["sex[m]", "estimate"]
    n[model, "school type effect, in words"] = nested.fixef().loc["PrivPub[public]", "estimate"]
    n[model, "class variance in the fraction"] = n[model, "school:class variance"]
    n[model, "residual variance in the fraction"] = n[model, "Residual variance"]
    shares = nested.variance_components().query("quantity == 'share'").set_index("group")["estimate"]
    n[model, "share of variance between classes, percent"] = 100 * shares["school:class"]
    n[model, "share of variance between students, percent"] = 100 * shares["Residual"]

    # The same without classes
    model = "science_lm"
    pair = (plain.fit_reml(), plain.fit_ml())
    n |= {
        (model, name): value
        for name, value in linear_model_numbers(pair, (null.fit_reml(), null.fit_ml()), blm.anova).items()
    }
    n[model, "observations deleted"] = plain.design.n_dropped

    # Chicks: a slope of their own each, by diet
    growth = blm.lmer("sqrt(weight) ~ Time + (Time - 1 | Chick) + Diet:Time", chicks)
    for name, value in summary_numbers(growth).items():
        diet, _, rest = name.partition(":Time")  # R names the interaction Time:Diet2
        n["chickweight_slope_reml", f"Time:{diet}{rest}" if rest else name] = value
    return n


def _data(science, chicks):
    classes = science.groupby(["PrivPub", "school", "class"], observed=True).size()
    schools = science.groupby("PrivPub", observed=True)["school"].nunique()
    return {
        "students": len(science),
        "classes in private schools": len(classes["private"]),
        "private schools": schools["private"],
        "classes in public schools": len(classes["public"]),
        "public schools": schools["public"],
        "lowest score": science["like"].min(),
        "highest score": science["like"].max(),
        "smallest class": classes.min(),
        "largest class": classes.max(),
        "diets": chicks["Diet"].nunique(),
    }


@pytest.fixture(scope="module")
def ours():
    return numbers()


@pytest.mark.parametrize("entry", entries(1), ids=label)
def test_number(entry, ours):
    check(entry, ours[entry["model"], entry["quantity"]])


def test_the_singular_fit_is_said_aloud():
    complete = blm.load_dataset("science").dropna(subset=["sex", "PrivPub", "like"])
    with pytest.warns(SingularFitWarning, match="school"):
        blm.lmer("like ~ sex + PrivPub + (1 | school/class)", complete)
