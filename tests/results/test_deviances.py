"""Deviance residuals of families whose density is not largest at the mean, and quantiles of new responses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.families import FAMILIES, family_of
from bayeslmm.families.densities import each_row, numbers
from bayeslmm.results.fitted import linear_predictor
from bayeslmm.results.predictive_quantiles import predictive

SEARCHED = [name for name, kind in FAMILIES.items() if not kind.has_unit_deviance and kind.is_compiled]
PARAMETERS = {
    "sigma": 0.7,
    "nu": 4.0,
    "phi": 3.0,
    "shape": 2.0,
    "zi": 0.2,
    "hu": 0.3,
    "cutpoint": np.array([-1.0, 0.0, 1.0]),
}


def parameters_of(family):
    return {name: np.asarray(PARAMETERS[name]) for name in family.every_parameter}


def drawn(family, n=60):
    """Rows of ten levels with a response of the family, drawn at parameters of the usual size."""
    rng = fixed_rng(5)
    d = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % 10, "m": 6})
    eta = 0.5 * d.x.to_numpy() + 0.5 * rng.normal(size=10)[d.g] + 0.5
    trials = d.m.to_numpy(float) if family.has_trials else None
    return d.assign(y=family.draw(eta, family.along(parameters_of(family)), trials, rng))


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
@pytest.mark.parametrize("name", SEARCHED)
def test_squares_are_what_the_best_linear_predictor_would_gain(name):
    family = family_of(name)
    left = "p(y, m)" if family.has_trials else "y"
    fit = blm.Model(f"{left} ~ x + (1 | g)", drawn(family), family=name).fit_ml(nAGQ=1)
    residuals, design = fit.residuals("deviance"), fit.design
    assert np.isfinite(residuals).all() and np.abs(residuals).max() < 10.0
    kind, link = numbers(design.family)
    values = np.concatenate([[], *(np.atleast_1d(fit.solution.parameters[p]) for p in design.family.every_parameter)])
    ones, y = np.ones(1), np.ascontiguousarray(design.working_response, dtype=float)
    eta = linear_predictor(fit)
    dispersion = float(fit.solution.parameters["sigma"]) ** 2 if design.family.has_residual else 1.0

    def density(i, at):
        out, trials = np.empty(1), ones if design.trials is None else design.trials[i : i + 1].astype(float)
        by_value = design.family.normaliser_takes_y
        each_row(kind, link, by_value, y[i : i + 1], trials, ones, np.array([float(at)]), values, out)
        return out[0]

    for i in range(0, design.n, 7):
        around = max(
            [
                optimize.minimize_scalar(lambda v, i=i: -density(i, v), bounds=b, method="bounded")
                for b in ((-20.0, 0.0), (-6.0, 6.0), (0.0, 40.0))
            ],
            key=lambda r: -r.fun,
        )
        gained = 2.0 * dispersion * (-around.fun - density(i, eta[i]))
        # the bounded search stops 1e-5 from the best place, or near -20: further out 1 - P(0) loses digits
        assert residuals[i] ** 2 == pytest.approx(max(gained, 0.0), rel=1e-4, abs=1e-5)
        if gained > 1e-4:
            assert np.sign(residuals[i]) == np.sign(around.x - eta[i])


def test_of_normal_ones_they_are_residuals_whatever_the_way():
    """log y of a lognormal response: √w (log y − η); of a t with many degrees of freedom the same of y."""
    data = drawn(family_of("lognormal"))
    logs = blm.Model("y ~ x + (1 | g)", data, family="lognormal").fit_ml(nAGQ=1)
    np.testing.assert_allclose(logs.residuals("deviance"), np.log(data.y) - linear_predictor(logs), atol=1e-6)
    assert "_deviance_resid" in logs.augment()


PREDICTED = [
    (name, link) for name, kind in FAMILIES.items() if kind.has_mean and kind.is_compiled for link in kind.links[:1]
]


@pytest.mark.parametrize("se", [0.0, 0.4])
@pytest.mark.parametrize(("name", "link"), PREDICTED)
def test_quantiles_and_moments_are_those_of_draws(name, link, se):
    family, n = family_of(name, link), 20_000
    rng, probabilities = fixed_rng(1), (0.025, 0.5, 0.975)
    parameters = family.along(parameters_of(family))
    trials = np.array([8.0]) if family.has_trials else None
    found = predictive(
        family, np.array([0.6]), np.array([se]), parameters, trials=trials, weights=None, probabilities=probabilities
    )
    eta = 0.6 + se * rng.normal(size=(n, 1))
    y = family.draw(eta, {name: np.broadcast_to(v, eta.shape) for name, v in parameters.items()}, trials, rng)[:, 0]
    for value, probability in zip(found.quantiles[:, 0], probabilities, strict=True):
        # five standard errors of a share of 20,000 draws
        error = 5.0 * np.sqrt(probability * (1.0 - probability) / n)
        assert np.mean(y < value - 1e-9) <= probability + error
        assert np.mean(y <= value + 1e-9) >= probability - error
    if name != "student_t":  # whose squares have no variance
        assert found.mean[0] == pytest.approx(y.mean(), abs=5.0 * y.std() / np.sqrt(n))
        assert found.sd[0] == pytest.approx(y.std(), rel=0.08)


def test_quantiles_of_means_that_scatter_more_than_responses_do():
    """Counts of a million: the quantiles are those of the mean itself, to a hundredth of its sd."""
    found = predictive(
        family_of("poisson"),
        np.array([14.0]),
        np.array([0.2]),
        {},
        trials=None,
        weights=None,
        probabilities=(0.1, 0.975),
    )
    np.testing.assert_allclose(
        np.log(found.quantiles[:, 0]), 14.0 + 0.2 * np.array([-1.2816, 1.95996]), atol=0.01 * 0.2
    )


def test_impossible_means_do_not_spoil_quantiles():
    """A gamma response with an inverse link, whose linear predictor may be below zero far out."""
    found = predictive(
        family_of("gamma", "inverse"),
        np.array([0.5, np.nan]),
        np.array([0.1, 0.1]),
        family_of("gamma").along({"shape": np.asarray(2.0)}),
        trials=None,
        weights=None,
        probabilities=(0.025, 0.975),
    )
    assert 0.0 < found.quantiles[0, 0] < 2.0 < found.quantiles[1, 0] < 20.0
    assert np.isnan(found.quantiles[:, 1]).all()


def test_quantiles_of_means_that_scatter_by_factors():
    """exp(η) with an sd of three of η: gamma responses are within their law of log y, which is a sum of two others."""
    shape, probabilities = 3.0, (0.025, 0.5, 0.975)
    found = predictive(
        family_of("gamma"),
        np.array([0.0, 0.0, np.nan]),
        np.array([3.0, 10.0, 1.0]),
        {"shape": np.array([shape])},
        trials=None,
        weights=None,
        probabilities=probabilities,
    )
    for i, se in enumerate((3.0, 10.0)):
        z = np.linspace(-9.0, 9.0, 20_001)
        weights = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
        below = [weights @ stats.gamma.cdf(q, shape, scale=np.exp(se * z) / shape) for q in found.quantiles[:, i]]
        np.testing.assert_allclose(below, probabilities, atol=1e-4)  # a sum of 401 terms; 31 nodes miss by 3e-3
    assert np.isnan([found.mean[2], found.sd[2], *found.quantiles[:, 2]]).all()  # no row, and no zero


def test_quantiles_that_no_number_reaches_are_missing():
    """A mean of exp(200 ± 600) is beyond doubles on one side."""
    found = predictive(
        family_of("gamma"),
        np.array([200.0]),
        np.array([600.0]),
        {"shape": np.array([3.0])},
        trials=None,
        weights=None,
        probabilities=(0.025, 0.975),
    )
    assert np.isnan(found.quantiles[1, 0])
