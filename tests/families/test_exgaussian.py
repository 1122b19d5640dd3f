"""Reaction times as a normal part plus an exponential one, against SciPy's distribution and as a user meets them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.families import family_of
from bayeslmm.families.densities import each_row, numbers


def test_the_density_is_scipys():
    """In both tails, and where the exponential part is next to nothing."""
    family, out = family_of("exgaussian"), np.empty(5)
    y, eta = np.array([-4.0, 0.2, 1.0, 7.0, 60.0]), np.array([0.3, 0.4, 1.1, 0.0, 0.0])
    for sigma, nu in [(0.6, 0.8), (1.0, 0.02)]:
        each_row(*numbers(family), False, y, np.ones(5), np.ones(5), eta, np.array([sigma, nu]), out)
        reference = stats.exponnorm.logpdf(y, nu / sigma, loc=eta - nu, scale=sigma)
        np.testing.assert_allclose(out, reference, rtol=1e-10)


@pytest.fixture(scope="module")
def times():
    rng = fixed_rng(4)
    person, hard = np.repeat(np.arange(15), 20), np.tile([0.0, 1.0], 150)
    mean = 0.6 + 0.1 * hard + rng.normal(0.0, 0.08, 15)[person]
    tail = 0.1 + 0.15 * hard
    y = mean - tail + rng.normal(0.0, 0.05, 300) + tail * rng.exponential(size=300)
    return pd.DataFrame({"y": y, "hard": hard, "person": person})


def test_the_mean_is_that_of_the_whole(times):
    """Least squares knows the same means, and the tail may differ by a predictor."""
    fit = blm.Model("y ~ hard + (1 | person)", times, family="exgaussian", nu="~ hard").fit_ml()
    assert fit.verdict.startswith("converged")
    by_mean = blm.lmer("y ~ hard + (1 | person)", times).fixef()
    z = (fit.fixef()["estimate"] - by_mean["estimate"]) / by_mean["std_error"]
    assert np.abs(z).max() < 2.0
    nu = fit.predict(parameter="nu")
    assert 0.05 < nu[0] < 0.16 < nu[1] < 0.4  # 0.1 and 0.25 are the truth, known to some 15 %
    np.testing.assert_allclose(fit.predict()[:4], fit.fitted()[:4])
