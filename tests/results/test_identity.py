"""Fits, models and records of results can be compared, looked for in lists and used as keys."""

import copy
import warnings
from functools import cache

import pytest

import bayeslmm as blm


@cache
def things():
    data = blm.load_dataset("sleepstudy")
    model = blm.Model("Reaction ~ Days + (Days | Subject)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)
        point, post = model.fit_reml(), model.fit(draws=200, chains=2, random_seed=1, progressbar=False)
        smaller = model.update("Reaction ~ Days + (1 | Subject)").fit_ml()
        return {
            "model": model,
            "point": point,
            "posterior": post,
            "design": point.design,
            "origin": point.origin,
            "solution": point.solution,
            "group": point.design.groups[0],
            "priors": post.priors,
            "settings": post.settings,
            "diagnosis": post.diagnosis,
            "values": post.values,
            "summary": point.summary(),
            "summary of draws": post.summary(),
            "equations": model.equations(),
            "check": blm.check(point),
            "verdict": blm.check(point).verdicts[0],
            "tests": blm.anova(smaller, model.fit_ml()),
            "estimates": blm.compare_estimates(point, post),
            "table": blm.model_table(point),
            "ppc": blm.ppc(post, draws=20, random_seed=1),
            "prior": blm.Prior("Normal", mu=0, sigma=1),
            "LKJ": blm.LKJ(2),
            "pooling": blm.compare_pooling(model),
        }


NAMES = (
    "model",
    "point",
    "posterior",
    "design",
    "origin",
    "solution",
    "group",
    "priors",
    "settings",
    "diagnosis",
    "values",
    "summary",
    "summary of draws",
    "equations",
    "check",
    "verdict",
    "tests",
    "estimates",
    "table",
    "ppc",
    "prior",
    "LKJ",
    "pooling",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_equal_to_itself_and_can_be_a_key(name):
    thing, twin = things()[name], copy.copy(things()[name])
    assert thing == thing and thing in [None, 1, twin, thing]
    assert isinstance(thing == twin, bool) and (thing == twin) is not (thing != twin)
    assert (thing == twin) <= (hash(thing) == hash(twin))  # equal ones are one key
    assert {thing: 1}[thing] == 1 and thing != "another"


def test_all_are_tried():
    assert tuple(things()) == NAMES
