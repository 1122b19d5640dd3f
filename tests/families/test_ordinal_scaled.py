"""Ordinal responses with ``scale=``: ordinal::clm's optima, a dense oracle for effects, laws, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine.laplace import Approximation
from bayeslmm.families import LINKS, family_of, with_parameters
from bayeslmm.results.deviances import deviance_residuals

WINE = Path(__file__).parents[1] / "reference" / "glmm_data" / "wine.csv.gz"

# ordinal: clm(rating ~ temp + contact, scale = ~temp, data = wine, link = ...); cutpoints, temp, contact, scale of temp
CLM = {
    "logit": (
        -86.4394628794,
        [-1.352041770, 1.273001757, 3.617023054, 5.298236285, 2.629418430, 1.587843755, 0.0953591669],
    ),
    "probit": (
        -85.6731119729,
        [-0.778782623663, 0.745251225890, 2.143401395953, 3.142019891753, 1.586686042076, 0.911389293, 0.111082663],
    ),
    "cloglog": (
        -86.4849029459,
        [-1.712654324798, 0.289426254939, 1.614847377098, 2.362699192, 1.491088447546, 0.763133816, -0.1558786193],
    ),
    "cauchit": (
        -92.5077417843,
        [-2.5296897467966, 0.8964901981, 2.9481894450713, 4.7124051545994, 2.0270879644, 1.2391871153, 0.0569955257],
    ),
}
ERRORS = [0.522331644, 0.453346509, 0.777394458, 1.202657836, 0.685970637, 0.530137955, 0.2941424654]


@pytest.fixture(scope="module")
def data():
    """Four categories of a latent variable whose sd is twice as large where f is b, in 6 groups."""
    rng = fixed_rng(11)
    n = 180
    d = pd.DataFrame({"x": rng.normal(size=n), "f": np.where(np.arange(n) % 2, "a", "b"), "g": np.arange(n) % 6})
    latent = d.x + np.linspace(-1, 1, 6)[d.g] + np.where(d.f == "a", 1.0, 2.0) * rng.logistic(size=n)
    return d.assign(y=np.digitize(latent, [-1.0, 0.3, 1.5]))


def probability(y, eta, cutpoints, scale, link="logit"):
    """By differences of the distribution function (n,)."""
    ends = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    cdf = LINKS[link].to_mean
    return cdf((ends[y + 1] - eta) / scale) - cdf((ends[y] - eta) / scale)


def log_likelihood(*arguments):
    return np.log(np.maximum(probability(*arguments), 1e-300))


@pytest.mark.parametrize("link", CLM)
def test_optima_are_those_of_clm(link):
    wine = pd.read_csv(WINE)
    model = blm.Model("rating ~ temp + contact", wine, family="ordinal", link=link, scale="~ temp")
    fit = model.fit_ml()
    loglik, estimates = CLM[link]
    clm_stops_early = link == "cauchit"  # by 3e-4, with gradients of up to 0.06
    assert -1e-7 < fit.loglik - loglik < (5e-4 if clm_stops_early else 1e-7)
    parameters = fit.solution.parameters
    ours = np.concatenate([parameters["cutpoint"], fit.solution.beta, parameters["beta_scale"]])
    np.testing.assert_allclose(ours, estimates, atol=0.2 if clm_stops_early else 2e-4)
    if link == "logit":
        errors = fit.solution.parameter_errors
        ours = [errors["cutpoint"], np.sqrt(np.diag(fit.solution.vcov)), errors["beta_scale"]]
        np.testing.assert_allclose(np.concatenate(ours), ERRORS, rtol=1e-4)


def test_a_coefficient_of_zero_is_the_plain_model(data):
    scaled = Approximation(blm.Model("y ~ x + (1 | g)", data, family="ordinal", scale="~ f").design)
    plain = Approximation(blm.Model("y ~ x + (1 | g)", data, family="ordinal").design)
    psi = fixed_rng(1).normal(size=plain.size)
    value, gradient, _ = scaled.at(np.append(psi, 0.0))
    of_plain, slopes, _ = plain.at(psi)
    assert value == pytest.approx(of_plain, rel=1e-12)
    np.testing.assert_allclose(gradient[:-1], slopes, atol=1e-8 * np.abs(slopes).max())


def test_effects_are_integrated_out(data):
    """Group by group: Laplace's approximation by a scalar search, and near it the integral."""
    fit = blm.Model("y ~ x + (1 | g)", data, family="ordinal", scale="~ f").fit_ml()
    parameters, sd = fit.solution.parameters, float(np.sqrt(fit.solution.covariances[0][0, 0]))
    assert sd > 0.2
    fixed = data.x.to_numpy() * fit.solution.beta[0]
    scale = np.exp(np.where(data.f == "b", parameters["beta_scale"][0], 0.0))
    laplace = integrals = 0.0
    for level in range(6):
        rows = (data.g == level).to_numpy()
        y, eta, of_rows = data.y.to_numpy()[rows], fixed[rows], scale[rows]

        def h(b, y=y, eta=eta, of_rows=of_rows):
            return log_likelihood(y, eta + b, parameters["cutpoint"], of_rows).sum() + stats.norm.logpdf(b, 0, sd)

        mode = optimize.minimize_scalar(lambda b, h=h: -h(b), bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
        step = 1e-3
        curvature = -(h(mode.x + step) - 2 * h(mode.x) + h(mode.x - step)) / step**2
        laplace += h(mode.x) + 0.5 * np.log(2 * np.pi / curvature)
        top = mode.fun
        integrals += np.log(integrate.quad(lambda b, h=h, top=top: np.exp(h(b) + top), -6, 6)[0]) - top
    assert fit.loglik == pytest.approx(laplace, abs=1e-5)  # of a curvature by differences
    assert fit.loglik == pytest.approx(integrals, abs=0.02)


def test_probabilities_distribution_draws_and_residuals_are_of_one_model():
    family = with_parameters(family_of("ordinal", "probit"), ["scale"])
    rng = fixed_rng(2)
    eta, scale, cutpoints = rng.normal(size=40), np.exp(rng.normal(size=40)), np.array([-1.0, 0.2, 1.4])
    parameters = {**family.along({"cutpoint": cutpoints}), "scale": scale}
    probabilities = family.expected(eta, parameters)
    for k in range(4):
        y = np.full(40, k)
        np.testing.assert_allclose(probabilities[:, k], probability(y, eta, cutpoints, scale, "probit"))
        below, up_to = family.cdf(y, eta, parameters)
        np.testing.assert_allclose(up_to - below, probabilities[:, k], atol=1e-14)
    many = np.repeat(eta[None], 4000, axis=0)
    drawn = family.draw(many, parameters, None, rng)
    for k in range(4):  # five standard errors of each of 160 shares
        error = np.sqrt(probabilities[:, k] * (1 - probabilities[:, k]) / 4000)
        assert (np.abs((drawn == k).mean(axis=0) - probabilities[:, k]) < 5 * error + 1e-3).all()


def test_deviance_residuals_are_from_the_best_linear_predictor(data):
    fit = blm.Model("y ~ x", data, family="ordinal", scale="~ f").fit_ml()
    parameters, eta = fit.solution.parameters, data.x.to_numpy() * fit.solution.beta[0]
    scale = np.exp(np.where(data.f == "b", parameters["beta_scale"][0], 0.0))
    y = data.y.to_numpy()
    grid = np.linspace(-60.0, 60.0, 24_001)[:, None]
    some = np.flatnonzero((y > 0) & (y < 3))[:5]  # of a category at the end it is infinite
    best = log_likelihood(y[some], grid, parameters["cutpoint"], scale[some]).max(axis=0)
    here = log_likelihood(y[some], eta[some], parameters["cutpoint"], scale[some])
    along = fit.design.along(fit.values.family)
    ours = deviance_residuals(fit.design, fit.design.y, fit.fitted(), eta, along)
    np.testing.assert_allclose(ours[some] ** 2, 2 * (best - here), atol=1e-5)


def test_rows_are_predicted_with_their_scale(data, tmp_path):
    fit = blm.Model("y ~ x + (1 | g)", data, family="ordinal", scale="~ f").fit_ml()
    rows = data.head(4)
    np.testing.assert_allclose(fit.predict(rows, groups="observed").to_numpy(), fit.fitted()[:4], rtol=1e-12)
    gamma = fit.solution.parameters["beta_scale"][0]
    np.testing.assert_allclose(
        fit.predict(rows, parameter="scale"), np.exp(np.where(rows.f == "b", gamma, 0.0)), rtol=1e-12
    )
    ratio = fit.comparisons("f", parameter="scale", kind="ratio")["estimate"].iloc[0]
    assert ratio == pytest.approx(np.exp(gamma), rel=1e-9)
    blm.save(fit, tmp_path / "fit.nc")
    assert str(blm.load(tmp_path / "fit.nc").summary()) == str(fit.summary())
    assert "(cutpoint_k - η_i) / scale_i)" in str(blm.Model("y ~ x", data, family="ordinal", scale="~ f").equations())


def _within(sigma):
    return blm.Prior("HalfNormal", sigma=sigma)


def _around(sigma):
    return blm.Prior("Normal", mu=0.0, sigma=sigma)


def test_effects_on_the_scale_are_averaged_over(data):
    """The population's probabilities are those of both averaged; a posterior that is draws of the priors."""
    options = {"scale": "~ f + (1 | g)", "priors": {"sd": _within(0.5), ("scale", "fixed"): _around(0.5)}}
    model = blm.Model("y ~ x + (1 | g)", data, family="ordinal", link="probit", **options)
    prior = model.prior_predictive(4, random_seed=3)
    post = model.read_draws(type(prior).from_dict({"posterior": prior["prior"].to_dataset()}))
    ours = post.predict(data.head(1), groups="population", draws=True).to_numpy().reshape(4, -1)
    rng = fixed_rng(5)
    b, c = rng.normal(size=(2, 100_000))
    draws = {name: post.draws(name)[0] for name in ("beta", "cutpoint", "beta_scale", "sd_g", "sd_scale_g")}
    for k in range(4):
        eta = draws["beta"][k, 0] * data.x[0] + draws["sd_g"][k, 0] * b
        scale = np.exp(draws["beta_scale"][k, 0] * (data.f[0] == "b") + draws["sd_scale_g"][k, 0] * c)
        below = [stats.norm.cdf((cut - eta) / scale).mean() for cut in draws["cutpoint"][k]]
        # 100,000 numbers leave an error of 0.0016, few nodes beside large sds one of some 1e-3
        np.testing.assert_allclose(ours[k], np.diff([0.0, *below, 1.0]), atol=8e-3)
    with pytest.raises(blm.errors.NotAvailableError, match="integrates effects"):
        model.fit_ml()


@pytest.mark.parametrize("category", [1, 3])
def test_rows_of_one_answer_have_no_finite_scale(category, data):
    alike = data.assign(y=np.where(data.f == "b", category, data.y))
    with pytest.warns(blm.errors.ConvergenceWarning, match="separation of.*scale_f\\[b\\]"):
        fit = blm.Model("y ~ f", alike, family="ordinal", scale="~ f").fit_ml()
    assert fit.solution.status == "separated" and "scale_f[b]" in fit.solution.limits
    finite = np.isfinite(fit.solution.parameter_errors["cutpoint"])
    assert finite.all()


def test_two_thresholds_of_each_level_are_a_place_and_a_scale(data):
    """With three categories the model that the hint leads to is the levels' models; one that only moves them is not."""
    three = data.assign(y=np.where(data.f == "a", (data.y + 1) // 2, data.y.clip(upper=2)))  # a: a wide middle
    joint = blm.Model("y ~ x * f", three, family="ordinal", scale="~ f").fit_ml()
    apart = [blm.Model("y ~ x", rows, family="ordinal").fit_ml() for _, rows in three.groupby("f")]
    moved = blm.Model("y ~ x * f", three, family="ordinal").fit_ml()
    assert joint.loglik == pytest.approx(sum(fit.loglik for fit in apart), abs=1e-6)
    assert moved.loglik < joint.loglik - 1.0


@pytest.mark.parametrize("word", ["thresholds", "threshold", "thres", "cutpoints", "nominal"])
def test_thresholds_by_group_lead_on(word, data):
    with pytest.raises(blm.errors.InputError, match=r"scale='~ g' spreads .* models of the rows of each level"):
        blm.Model("y ~ x", data, family="ordinal", **{word: "f"})
