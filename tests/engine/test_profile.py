"""Profile likelihood against brute force, and its shape."""

from __future__ import annotations

import numpy as np
import plain
import pytest
from scipy.optimize import minimize

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.engine import profile, reml
from bayeslmm.engine.scaling import Problem

Z95 = 1.959963984540054


def curves(name, formula, cutoff=Z95):
    problem = Problem.of(build_design(formula, blm.load_dataset(name)))
    return problem, reml.fit(problem, reml=False), list(profile.profile(problem, reml.fit(problem), cutoff))


def constrained_minimum(problem, held):
    """Smallest dense ML deviance over log sd of the intercepts, log sigma and the mean, some of them held."""
    start = np.array([problem.y.mean(), np.log(problem.y.std()), np.log(problem.y.std())])
    free = [i for i in range(3) if i not in held]

    def deviance(x):
        full = np.array([held.get(i, 0.0) for i in range(3)])
        full[free] = x
        mu, sd, sigma = full[0], np.exp(full[1]), np.exp(full[2])
        V = sigma**2 * plain.relative_V(problem, [np.array([[sd / sigma]])])
        r = problem.y - mu
        return np.linalg.slogdet(2 * np.pi * V)[1] + r @ np.linalg.solve(V, r)

    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
    return min(minimize(deviance, start[free] + d, method="Nelder-Mead", options=options).fun for d in (0.0, -1.0))


@pytest.mark.parametrize("name", ["dyestuff", "dyestuff2"])
def test_ends_are_where_zeta_is_the_quantile(name):
    """For dyestuff2, where the variance is zero, the mean's curve has a kink that a spline would miss."""
    problem, best, (sd, sigma, mean) = curves(name, "Yield ~ 1 + (1 | Batch)")
    for place, curve, transform in ((1, sd, np.log), (2, sigma, np.log), (0, mean, float)):
        for end in (curve.low, curve.high):
            if end == 0.0:
                continue
            deviance = constrained_minimum(problem, {place: transform(end)})
            # the bracketing stops at 1e-6 of a step, Nelder–Mead at 1e-9 of the deviance
            assert np.sqrt(deviance - best.criterion) == pytest.approx(Z95, abs=1e-4)


def test_a_variance_that_may_be_zero_has_a_lower_end_of_zero():
    _, _, (sd, *_) = curves("dyestuff2", "Yield ~ 1 + (1 | Batch)")
    assert (sd.estimate, sd.low) == (0.0, 0.0) and sd.high > 1.0
    assert sd.value[0] == 0.0 and sd.zeta[0] == 0.0


def test_curves_rise_and_pass_through_the_estimate():
    _, _, found = curves("sleepstudy", "Reaction ~ Days + (Days | Subject)", cutoff=2.5)
    for curve in found:
        assert np.all(np.diff(curve.value) > 0) and np.all(np.diff(curve.zeta) > 0)
        assert curve.zeta[curve.value == curve.estimate] == 0.0
        assert curve.zeta[0] <= -2.5 and curve.zeta[-1] >= 2.5


def test_a_correlation_is_unbounded_where_its_sd_may_be_zero():
    """Without a slope variance the correlation says nothing: its curve cannot rise above that model's deviance."""
    problem, best, found = curves("hsb", "mathach ~ ses + (ses | school)", cutoff=2.5)
    without = reml.fit(Problem.of(build_design("mathach ~ ses + (1 | school)", blm.load_dataset("hsb"))), reml=False)
    plateau = np.sqrt(without.criterion - best.criterion)
    assert Z95 < plateau < 2.5
    (cor,) = [curve for curve in found if curve.parameter.kind == "cor"]
    assert (cor.low, cor.high) == (-1.0, 1.0)
    assert np.abs(cor.zeta).max() == pytest.approx(plateau, abs=1e-4)
