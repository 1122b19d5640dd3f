"""Profile likelihood of other than normal responses: lme4's ends, searches by hand, and the normal case."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import profile as normal
from bayeslmm.engine import profile_laplace, reml
from bayeslmm.engine.laplace import Approximation
from bayeslmm.engine.profile import parameters
from bayeslmm.engine.profile_laplace import _Held
from bayeslmm.engine.scaling import Problem
from bayeslmm.errors import NotAvailableError

GLM = json.loads((Path(__file__).parents[1] / "reference" / "glm.json").read_text())
CBPP = ("p(incidence, size) ~ period + (1 | herd)", "cbpp", "binomial", {"nAGQ": 1})
MODELS = {
    "cbpp": CBPP,
    "cbpp_25": (*CBPP[:3], {"nAGQ": 25}),
    "slopes": ("y ~ x + (x | g)", None, "poisson", {"nAGQ": 1}),
    "grouseticks": ("TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)", None, "poisson", {"nAGQ": 1}),
}


@pytest.mark.parametrize("name", MODELS)
def test_ends_are_those_of_lme4(name):
    formula, dataset, family, options = MODELS[name]
    data = blm.load_dataset(dataset) if dataset else pd.DataFrame(GLM[name])
    ours = blm.glmer(formula, data, family=family, **options).confint("profile", progressbar=False)
    theirs = pd.DataFrame(GLM["profiles"][name])
    if name == "slopes":  # lme4 puts the correlation between the sds
        theirs = theirs.iloc[[0, 2, 1, 3, 4]]
    # lme4 interpolates a spline and stops its inner loops early under one node: some 1e-4 of a width
    width = (ours["conf_high"] - ours["conf_low"]).to_numpy()
    assert np.abs(ours["conf_low"] - theirs["low"].to_numpy()).max() < 2e-4 * width.max()
    assert np.abs(ours["conf_high"] - theirs["high"].to_numpy()).max() < 2e-4 * width.max()
    assert name != "grouseticks" or ours["conf_low"][1] == 0.0  # a zero is inside


def test_of_normal_responses_it_is_the_exact_profile():
    rng = fixed_rng(4)
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "x": rng.normal(size=60)})
    d["y"] = 5.0 + d.x + rng.normal(size=10)[d.g] + 0.5 * rng.normal(size=10)[d.g] * d.x + rng.normal(size=60)
    design = blm.Model("y ~ x + (x | g)", d).design
    problem = Problem.of(design)
    best = reml.fit(problem, reml=False)
    exact = list(normal.profile(problem, best, 1.96))
    about = Approximation(design)
    for curve, parameter in zip(exact, parameters(problem), strict=True):
        held = _Held(about, _with_errors(best), parameter)
        for value, zeta in zip(curve.value[::4], curve.zeta[::4], strict=True):
            at = np.log(value) if held.link is not None else value
            if held.link is not None or parameter.kind != "sd" or value > 0.0:
                # both searches stop where a step gains 1e-10 of a log likelihood
                assert held.deviance(at, held.start)[0] == pytest.approx(best.criterion + zeta**2, abs=1e-5)


def _with_errors(solution):
    from dataclasses import replace

    return replace(solution, parameter_errors={"sigma": 0.1}, nodes=1)


def test_a_point_of_the_curve_is_a_search_without_that_parameter():
    rng = fixed_rng(5)
    d = pd.DataFrame({"g": np.repeat(np.arange(8), 10), "x": rng.normal(size=80)})
    d["y"] = rng.negative_binomial(2.0, 2.0 / (2.0 + np.exp(0.5 + 0.4 * d.x + 0.7 * rng.normal(size=8)[d.g])))
    fit = blm.glmer("y ~ x + (1 | g)", d, family="negbinomial", nAGQ=1)
    about = Approximation(fit.design)
    shape = next(p for p in parameters(Problem.of(fit.design), {"shape": None}) if p.kind == "family")
    held = _Held(about, fit.solution, shape)

    def objective(rest):
        about.last = None
        return about.at(np.append(rest, np.log(0.8)))[0]

    free = minimize(objective, [0.5, 0.4, 0.5], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    assert held.deviance(np.log(0.8), held.start)[0] == pytest.approx(2.0 * free.fun, abs=1e-6)


def test_cutpoints_and_parameters_without_an_end():
    rng = fixed_rng(6)
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 12), "x": rng.normal(size=120)})
    eta = 0.6 * d.x + 0.8 * rng.normal(size=10)[d.g]
    d["o"], d["c"] = np.digitize(eta + rng.logistic(size=120), [-0.7, 0.7]), rng.poisson(np.exp(0.5 + eta))
    ordered = blm.glmer("o ~ x + (1 | g)", d, family="ordinal", nAGQ=1)
    table = ordered.confint("profile", progressbar=False).set_index("term")
    wald = ordered.confint().set_index("term")
    for term in ("cutpoint[0]", "cutpoint[1]", "x"):
        width = wald.loc[term, "conf_high"] - wald.loc[term, "conf_low"]
        assert table.loc[term, "conf_high"] - table.loc[term, "conf_low"] == pytest.approx(width, rel=0.25)
        assert table.loc[term, "conf_low"] < table.loc[term, "estimate"] < table.loc[term, "conf_high"]
    with pytest.warns(blm.errors.SingularFitWarning, match="shape goes to infinity"):
        counts = blm.glmer("c ~ x + (1 | g)", d, family="negbinomial", nAGQ=1)
    shape = counts.confint("profile", progressbar=False).set_index("term").loc["shape"]
    assert shape["conf_high"] == np.inf and 1.0 < shape["conf_low"] < shape["estimate"]


def test_a_variance_of_zero_has_no_lower_end_and_an_upper_one():
    rng = fixed_rng(7)
    d = pd.DataFrame({"g": np.repeat(np.arange(6), 20), "y": np.tile([0.0, 1.0], 60), "x": rng.normal(size=120)})
    with pytest.warns(blm.errors.SingularFitWarning):
        fit = blm.glmer("y ~ x + (1 | g)", d, family="bernoulli", nAGQ=1)
    curve = next(profile_laplace.profile(fit.design, fit.solution, 1.96))
    assert fit.solution.singular[0] and curve.low == 0.0 == curve.estimate
    assert 0.1 < curve.high < 1.5 and np.all(np.diff(curve.zeta) > 0.0)


def test_where_there_is_no_maximum_it_is_refused():
    d = pd.DataFrame({"g": np.repeat(np.arange(6), 10), "x": np.tile([0.0, 1.0], 30)})
    d["y"] = np.where(d.x == 1.0, 1.0, fixed_rng(8).integers(0, 2, 60))
    with pytest.warns(blm.errors.ConvergenceWarning, match="separat"):
        fit = blm.glmer("y ~ x + (1 | g)", d, family="bernoulli", nAGQ=1)
    with pytest.raises(NotAvailableError, match="'separated'.*no maximum of the likelihood"):
        fit.confint("profile")
