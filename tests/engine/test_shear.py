"""Intercepts at the means of predictors that lie far from zero: another set of coordinates, the same posterior."""

from __future__ import annotations

import agreement
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime

import bayeslmm as blm
from bayeslmm.engine import hyperspace
from bayeslmm.engine.hyperpriors import HyperPriors
from bayeslmm.engine.marginal import Marginal
from bayeslmm.engine.scaling import Problem

FORMULA = "Reaction ~ Days + (Days | Subject)"
PRIORS = {
    "sd": blm.Prior("HalfNormal", sigma=40.0),
    ("sd", "Subject", "Days"): blm.Prior("Gamma", alpha=2.0, beta=0.2),
    "cor": blm.LKJ(1.7),
}


def moved(by):
    data = blm.load_dataset("sleepstudy")
    return data.assign(Days=data["Days"] + by)


def marginal_of(formula, data, priors=None):
    model = blm.Model(formula, data, priors=priors)
    return Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))


@pytest.fixture(scope="module")
def both():
    """The marginal in both kinds of coordinates; the predictor lies 4 sds from zero."""
    sheared = marginal_of(FORMULA, moved(7), PRIORS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hyperspace, "shear", lambda Z, template: None)
        return sheared, marginal_of(FORMULA, moved(7), PRIORS)


def test_the_density_is_the_same_but_for_the_jacobian(both):
    """Priors at zero are carried over: p(x̃) = p(x) |∂x/∂x̃|, by differences of the map between the coordinates."""
    sheared, plain = both
    assert sheared.space.sheared.tolist() == [0] and plain.space.sheared.tolist() == [-1]

    def to_plain(x):
        walk = sheared.walk(np.array([x, x]), np.zeros(2), np.full(1, -np.inf), np.zeros((1, 2 + 36)))
        ratio = walk.sds[0][0] / plain.space.softness
        reliability = ratio**2 / (1.0 + ratio**2)
        h = np.sqrt(1.0 + plain.space.partial_gain[0] * reliability.prod())
        correlation = (walk.factors[0][0] @ walk.factors[0][0].T)[0, 1]
        return np.array([*np.log1p(ratio), h * np.arctanh(correlation), np.log(walk.sigma[0])])

    rng, off = np.random.default_rng(1), []
    for _ in range(5):
        x = np.array([0.8, 0.7, 0.3, np.log(26.0)]) + 0.3 * rng.uniform(-1.0, 1.0, 4)
        jacobian = np.array([approx_fprime(x, lambda v, i=i: to_plain(v)[i], 1e-6) for i in range(4)])
        carried = plain.log_densities(to_plain(x)[None])[0] + np.linalg.slogdet(jacobian)[1]
        off.append(sheared.log_densities(x[None])[0] - carried)
    np.testing.assert_allclose(off, 0.0, atol=1e-3)  # of differences over 1e-6


@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ Days + (Days + Early | Subject)"])
def test_the_gradient_is_that_of_the_density(formula):
    data = moved(50).assign(Early=lambda d: (d["Days"] < 54).astype(float))
    marginal = marginal_of(formula, data, PRIORS)
    assert marginal.space.sheared[0] == 0
    rng = np.random.default_rng(2)
    for _ in range(3):
        x = 0.5 + 0.3 * rng.uniform(size=marginal.d)
        x[marginal.sigma_at] = np.log(26.0)
        h = 1e-5 * np.eye(marginal.d)
        expected = (marginal.log_densities(x + h) - marginal.log_densities(x - h)) / 2e-5
        np.testing.assert_allclose(marginal.with_gradient(x)[1], expected, rtol=1e-4, atol=1e-4)


def test_draws_on_the_users_scale_are_those_of_the_plain_coordinates(monkeypatch):
    """Moments by both, where both sample well, in Monte Carlo errors."""
    model = blm.Model(FORMULA, moved(7), priors=PRIORS)
    sheared = model.fit(random_seed=1, draws=2000, progressbar=False)
    monkeypatch.setattr(hyperspace, "shear", lambda Z, template: None)
    plain = model.fit(random_seed=2, draws=2000, progressbar=False)
    found = agreement.disagreement(sheared, plain)
    assert found["largest"].max() < 4.5, found.to_string()  # 170 quantities


@pytest.mark.parametrize("by", [200.0, -5000.0])
def test_default_priors_do_not_hang_on_where_a_predictor_is_measured_from(by):
    """Priors of the intercept's sd and of correlations hold at the mean, so one posterior is the other, moved."""
    far, centred = (
        blm.Model(FORMULA, moved(each)).fit(random_seed=seed, progressbar=False)
        for seed, each in enumerate((by, -4.5), 1)
    )
    assert far.diagnosis.converged and "exact sampler" in " ".join(far.verdict.split())
    m = by + 4.5
    for post, shift in ((far, m), (centred, 0.0)):
        sds, cor = post.draws("sd_Subject"), post.draws("cor_Subject")[..., 0, 1]
        at_mean = np.sqrt(sds[..., 0] ** 2 + (shift * sds[..., 1]) ** 2 + 2.0 * shift * cor * sds[..., 0] * sds[..., 1])
        drawn = np.stack([at_mean, sds[..., 1], post.draws("sigma")], axis=-1)
        mean, ess = drawn.mean(axis=(0, 1)), post.diagnosis.min_ess_bulk
        if post is far:
            first, errors = mean, drawn.var(axis=(0, 1)) / ess
            names = post.design.names
            # squares of numbers as large as the shift: rounding in their differences
            np.testing.assert_allclose(at_mean, post.draws(names.sd_at_means["Subject"])[..., 0], rtol=1e-5)
        else:
            away = (first - mean) / np.sqrt(errors + drawn.var(axis=(0, 1)) / ess)
            assert np.abs(away).max() < 5.0  # of 3 quantities, in Monte Carlo errors from the smallest ESS


@pytest.mark.parametrize(
    ("priors", "stated"),
    [
        ({}, "mean Days"),
        ({("sd", "Subject", "Days"): blm.Prior("HalfNormal", sigma=5.0)}, "mean Days"),
        ({"sigma": blm.Prior("HalfNormal", sigma=5.0)}, "mean Days"),
        ({"sd": blm.Prior("HalfNormal", sigma=5.0)}, ""),
        ({("sd", "Subject", "Intercept"): blm.Prior("HalfNormal", sigma=5.0)}, ""),
        ({"cor": blm.LKJ(1.0)}, ""),
    ],
)
def test_what_a_user_says_is_of_the_model_as_written(priors, stated):
    model = blm.Model(FORMULA, moved(200), priors=priors)
    assert [e.at for e in model.priors.entries if e.kind in ("sd", "cor")] == [stated, "", stated]
    assert ("at mean Days" in str(model.priors)) == bool(stated)
    assert not any(e.at for e in blm.Model(FORMULA, moved(0)).priors.entries)


def test_draws_of_the_priors_are_those_at_the_mean():
    model = blm.Model(FORMULA, moved(200))
    names = model.design.names
    drawn = model.prior_predictive(draws=4000, random_seed=1)["prior"]
    at_means = blm.Model(FORMULA, moved(-4.5)).prior_predictive(draws=4000, random_seed=1)["prior"]
    for name in ("sd", "cor"):
        zero, there = getattr(names, name)["Subject"], getattr(names, f"{name}_at_means")["Subject"]
        np.testing.assert_allclose(drawn[there], at_means[zero], rtol=1e-9)
    lines = drawn["b_Subject"].values @ np.array([1.0, 204.5])
    np.testing.assert_allclose(lines, at_means["b_Subject"].values[..., 0], rtol=1e-6, atol=1e-6)


def test_pupils_whose_scores_lie_far_from_zero():
    rng = np.random.default_rng(3)
    g = np.arange(600) % 60
    iq = rng.normal(100.0, 8.0, 600)
    b = rng.normal(size=(60, 2)) * [3.0, 0.15]
    y = 40.0 + (0.3 + b[g, 1]) * (iq - 100.0) + b[g, 0] + rng.normal(0, 6, 600)
    model = blm.Model("y ~ iq + (iq | g)", pd.DataFrame({"y": y, "iq": iq, "g": g}))
    post = model.fit(random_seed=1, progressbar=False)
    assert post.diagnosis.converged and post.diagnosis.min_ess_bulk > 400
