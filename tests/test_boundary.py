"""A thin run of ``python tests/boundary.py``, and fits that its judge has to refuse."""

from __future__ import annotations

import warnings
from dataclasses import replace

import boundary
import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm import errors


@pytest.fixture(scope="module")
def thin():
    return boundary.study(36, seed=7, every=13)


@pytest.mark.slow
def test_no_wrong_optimum_verdict_or_error(thin):
    table, failures = thin
    assert not failures
    assert table["data sets"].sum() == 36 and table["singular"].sum() > 12
    assert (table[["wrong optimum", "wrong verdict", "errors"]] == 0).all(axis=None)
    # some 25 means of normal numbers: one in a thousand runs would fail by chance
    assert table["bias (z)"].max() < 4.1
    assert table["posteriors"].str.startswith("1 of 1").sum() == 3


def singular_fit():
    case = next(case for case in boundary.CASES if case.name == "none at all")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.SingularFitWarning)
            fit = blm.Model(case.formula, case.simulate(rng)).fit_reml()
        if fit.is_singular:
            return case, fit
    raise AssertionError("no singular fit in twenty")


def test_the_judge_refuses():
    case, fit = singular_fit()
    solution, rng = fit.solution, np.random.default_rng(1)

    def judged(**changes):
        return boundary.judge_fit(case, replace(fit, solution=replace(solution, **changes)), rng)

    assert not judged().failed
    moved = judged(theta=solution.theta + [0.3, 0.0, 0.3])
    assert moved.lower > boundary.BETTER and moved.slope > boundary.STATIONARY
    assert judged(status="converged").wrong_verdict
    assert judged(status="converged", singular=(False,)).wrong_verdict
    assert judged(status="failed").wrong_verdict
    assert judged(beta=0.0 * solution.beta).away > 1.0  # what statsmodels returned in issue 10239
    assert judged(vcov=1.1 * solution.vcov).away > boundary.EXACT
    assert judged(criterion=solution.criterion + 1e-3).lower > boundary.BETTER
    assert judged(theta=np.zeros(3)).failed == (np.abs(solution.theta).max() > 1e-8)


def test_the_judge_refuses_a_singular_verdict_on_a_regular_fit():
    case = next(case for case in boundary.CASES if case.name == "crossed, one of two")
    rng = np.random.default_rng(3)
    data = case.simulate(rng)
    data["y"] += 2.0 * rng.normal(size=5)[data["h"]]  # now the other factor varies as well
    fit = blm.Model(case.formula, data).fit_reml()
    assert not fit.is_singular and not boundary.judge_fit(case, fit, rng).failed
    wrong = replace(fit, solution=replace(fit.solution, singular=(True, False), status="boundary"))
    assert boundary.judge_fit(case, wrong, rng).wrong_verdict


@pytest.mark.parametrize("what", ["warning", "exception", "silence"])
def test_the_judge_sees_warnings_and_exceptions(monkeypatch, what):
    fit_reml = blm.Model.fit_reml

    def other(model):
        if what == "exception":
            raise ZeroDivisionError("of something else")
        if what == "warning":
            warnings.warn("of something else", RuntimeWarning, stacklevel=1)
            return fit_reml(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fit_reml(model)

    monkeypatch.setattr(blm.Model, "fit_reml", other)
    case = next(case for case in boundary.CASES if case.name == "correlation -1")
    found = [boundary.judge(case, each) for each in np.random.SeedSequence(1).spawn(4)]
    # silence is wrong only where the fit is singular
    assert all(each.error for each in found if each.singular or what != "silence")
    assert any(each.failed for each in found)


def test_the_judge_sees_a_doubtful_posterior():
    case, fit = singular_fit()

    class Hasty:
        def fit(self, **settings):
            return blm.Model(case.formula, fit.origin.data).fit(draws=20, chains=2, **settings)

    told, _ = boundary.judge_posterior(case, Hasty(), 1)
    assert told.startswith("SamplingWarning")
