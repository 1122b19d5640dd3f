"""The plan of a posterior: which sampler, and why, before anything is drawn."""

from __future__ import annotations

import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.sampling import Exact, Graph, Joint, Marginal, choose
from bayeslmm.results.settings import Settings

FORMULA = "Reaction ~ Days + (Days | Subject)"
LAPLACE = {"Days": blm.Prior("Laplace", mu=0, b=10)}
UNIFORM = {"sd": blm.Prior("Uniform", lower=0, upper=200)}


def plan(formula=FORMULA, *, priors=None, family="gaussian", **settings):
    model = blm.Model(formula, blm.load_dataset("sleepstudy"), priors=priors, family=family)
    return choose(model.design, model.priors, Settings(**settings))


def test_plans_are_values():
    assert plan() == Exact() == plan(method="exact", random_seed=3)
    assert plan(method="nuts") == Joint() and plan(centring={"Subject": 0}) == Joint()
    assert plan().reason == "" and plan(family="gamma") == Marginal() == plan(family="gamma", method="exact")


@pytest.mark.parametrize(
    ("kind", "reason", "shown", "case"),
    [
        (Joint, "no group sds", True, {"formula": "Reaction ~ Days"}),
        (Joint, "normal responses only", False, {"family": "inverse_gaussian"}),
        (Graph, "Laplace", True, {"priors": LAPLACE}),
        (Graph, "Laplace", True, {"priors": LAPLACE, "method": "nuts"}),
        (Graph, "Uniform(lower=0, upper=200)", True, {"priors": UNIFORM, "method": "nuts"}),
        (Graph, "Laplace", True, {"priors": LAPLACE, "family": "gamma"}),
        (Graph, "nuts_sampler='pymc'", False, {"nuts_sampler": "pymc"}),
        (Graph, "init", False, {"options": {"init": "adapt_diag"}}),
    ],
)
def test_every_other_way_has_its_reason(kind, reason, shown, case):
    found = plan(**case)
    assert type(found) is kind and reason in found.reason and found.shown is shown


def test_uniform_priors_are_nothing_to_the_exact_sampler():
    assert plan(priors=UNIFORM) == Exact()


@pytest.mark.parametrize(
    ("words", "case"), [("normal responses only", {"family": "inverse_gaussian"}), ("Laplace", {"priors": LAPLACE})]
)
def test_what_no_exact_sampler_draws_is_refused_by_its_reason(words, case):
    with pytest.raises(errors.NotAvailableError, match=words):
        plan(method="exact", **case)
