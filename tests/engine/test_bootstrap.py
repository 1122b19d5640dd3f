"""The parametric bootstrap: what it draws, and that its draws do not depend on the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import SeedSequence, default_rng

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.engine import bootstrap, reml
from bayeslmm.engine.scaling import Problem


@pytest.fixture(scope="module")
def sleep():
    problem = Problem.of(build_design("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")))
    return problem, reml.fit(problem)


def test_simulated_responses_have_the_fitted_mean_and_covariance(sleep):
    problem, fit = sleep
    rng = default_rng(1)
    draws = np.array([bootstrap.simulate(problem, fit, rng) for _ in range(4000)])
    X = problem.X[:10]  # one subject
    cov = X @ fit.covariances[0] @ X.T + fit.sigma**2 * np.eye(10)
    # Monte Carlo: sd/√4000 for means, and variances to √(2/4000) = 2.2 % of themselves; five of each
    se = np.sqrt(np.diag(cov) / 4000)
    assert np.all(np.abs(draws[:, :10].mean(axis=0) - X @ fit.beta) < 5 * se)
    sample = np.cov(draws[:, :10], rowvar=False)
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    assert np.abs((sample - cov) / scale).max() < 5 * 0.0224
    assert np.abs(np.corrcoef(draws[:, 0], draws[:, 10])[0, 1]) < 5 / np.sqrt(4000)  # another subject


def test_weights_are_precisions_of_the_noise(sleep):
    problem, fit = sleep
    weighted = replace(problem, weights=np.where(np.arange(180) < 90, 1.0, 100.0))
    alike = replace(fit, covariances=tuple(0.0 * cov for cov in fit.covariances))
    rng = default_rng(2)
    sd = np.std([bootstrap.simulate(weighted, alike, rng) for _ in range(500)], axis=0)
    # 90 rows × 500 draws: the mean sd is known to 0.4 %
    assert sd[:90].mean() / sd[90:].mean() == pytest.approx(10.0, rel=0.05)


def test_a_warm_start_finds_the_same_optimum(sleep):
    problem, fit = sleep
    for seed in SeedSequence(3).spawn(5):
        simulated = replace(problem, y=bootstrap.simulate(problem, fit, default_rng(seed)))
        warm, cold = reml.fit(simulated, start=fit.scaled_theta), reml.fit(simulated)
        assert warm.criterion == pytest.approx(cold.criterion, abs=1e-6)


@pytest.mark.slow
def test_same_seed_same_draws_whatever_the_cores(sleep):
    problem, fit = sleep
    one, two = (
        np.concatenate(list(bootstrap.bootstrap(problem, fit, draws=9, random_seed=5, cores=c))) for c in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    other = np.concatenate(list(bootstrap.bootstrap(problem, fit, draws=9, random_seed=6, cores=1)))
    assert np.all(one[:, 0] != other[:, 0])


def test_a_data_set_that_cannot_be_fitted_is_a_missing_row(sleep, monkeypatch):
    from bayeslmm.errors import FitError

    problem, fit = sleep

    def broken(*_, **__):
        raise FitError("no")

    monkeypatch.setattr(bootstrap, "fit", broken)
    monkeypatch.setattr(bootstrap.refitting, "kept_of", lambda _: None)  # each is fitted by itself
    assert np.isnan(bootstrap.refits(problem, fit, SeedSequence(1).spawn(2))).all()
