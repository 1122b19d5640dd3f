"""Quantile residuals are standard normal when the model is right, and only then."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayeslmm.design.build import build_design
from bayeslmm.families import family_of
from bayeslmm.families.family import FARTHEST
from bayeslmm.results.quantile_residuals import quantile_residuals
from bayeslmm.results.simulation import simulate_response

N = 4000
PARAMETERS = {
    "gaussian": {"sigma": 0.7},
    "student_t": {"sigma": 0.7, "nu": 4.0},
    "lognormal": {"sigma": 0.5},
    "bernoulli": {},
    "binomial": {},
    "poisson": {},
    "negbinomial": {"shape": 1.5},
    "gamma": {"shape": 2.0},
    "beta": {"phi": 6.0},
    "ordinal": {"cutpoint": [-1.0, 0.2, 1.0]},
}


def simulated(name, *, weights=None):
    """A design with responses of the family at known linear predictors, and its parameters."""
    rng = np.random.default_rng(1)
    eta = rng.normal(0.3, 0.6, N)
    trials = rng.integers(1, 12, N).astype(float) if name == "binomial" else None
    parameters = {key: np.array(value)[None] for key, value in PARAMETERS[name].items()}
    y = simulate_response(family_of(name), eta[None], parameters=parameters, trials=trials, weights=weights, rng=rng)[0]
    frame = pd.DataFrame({"y": y, "n": 1.0 if trials is None else trials})
    frame["y"] = pd.Categorical(y, ordered=True) if name == "ordinal" else y
    left = "p(y, n)" if name == "binomial" else "y"
    design = build_design(f"{left} ~ 1", frame, family=family_of(name), weights=weights)
    return design, eta, parameters


def p_normal(z):
    return stats.kstest(z.ravel(), "norm").pvalue


@pytest.mark.parametrize("name", PARAMETERS)
def test_they_are_standard_normal_if_the_model_is_right(name):
    design, eta, parameters = simulated(name)
    z = quantile_residuals(design, eta[None], parameters, rng=np.random.default_rng(2))
    assert z.shape == (1, N)
    # ten families: one of them below 1e-3 by chance in a hundred runs, and the seed is fixed
    assert p_normal(z) > 1e-3


@pytest.mark.parametrize("name", PARAMETERS)
def test_they_are_not_if_the_linear_predictor_is_wrong(name):
    design, eta, parameters = simulated(name)
    z = quantile_residuals(design, eta[None] + 0.5, parameters, rng=np.random.default_rng(2))
    assert p_normal(z) < 1e-6


@pytest.mark.parametrize("name", ["gaussian", "student_t", "lognormal"])
def test_weights_divide_the_variance(name):
    weights = np.random.default_rng(3).uniform(0.2, 5.0, N)
    design, eta, parameters = simulated(name, weights=weights)
    assert p_normal(quantile_residuals(design, eta[None], parameters, rng=np.random.default_rng(2))) > 1e-3


def test_draws_of_the_parameters_broadcast():
    design, eta, parameters = simulated("gamma")
    both = {"shape": np.array([[2.0], [20.0]])}
    z = quantile_residuals(design, np.stack([eta, eta]), both, rng=np.random.default_rng(2))
    one = quantile_residuals(design, eta[None], parameters, rng=np.random.default_rng(2))
    np.testing.assert_allclose(z[0], one[0], rtol=1e-12)  # gamma is continuous: nothing is drawn
    assert z[1].std() > 2.0 > z[0].std()


def test_an_impossible_response_is_far_but_finite():
    design, eta, parameters = simulated("poisson")
    z = quantile_residuals(design, np.full((1, N), -30.0), parameters, rng=np.random.default_rng(2))
    assert z.max() == FARTHEST and np.isfinite(z).all()
