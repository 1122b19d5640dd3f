"""The exact sampler: its density against dense formulas and PyMC, its draws against quadrature and simulation."""

from __future__ import annotations

from dataclasses import replace

import calibration
import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import block_diag
from strategies import problems

import bayeslmm as blm
from bayeslmm.engine import marginal as exact
from bayeslmm.engine.hyperpriors import HyperPriors, log_prior
from bayeslmm.engine.pymc_model import Geometry, build_model
from bayeslmm.engine.scaling import Problem
from bayeslmm.errors import NotAvailableError
from bayeslmm.spec.covariance import covariance
from bayeslmm.spec.design import build_design
from bayeslmm.spec.priors import LKJ, Prior, resolve_priors

from .test_pymc_model import evaluate

HALF_T = Prior("HalfStudentT", nu=3.0, sigma=1.5)


def hyper_priors(problem, *, flat=False):
    p = problem.X.shape[1]
    return HyperPriors(
        beta_mean=np.linspace(0.5, 1.5, p),
        beta_sd=np.full(p, np.inf if flat else 2.0),
        sds=tuple((HALF_T,) * Z.shape[1] for Z in problem.Z),
        lkj=tuple(LKJ(1.5) if any(len(b) > 1 for b in blocks) else None for blocks in problem.blocks),
        sigma=HALF_T,
    )


def dense_log_density(marginal, x):
    """The same from V: y ~ N(X m₀, V + X P₀⁻¹Xᵀ), and the priors by scipy."""
    problem, priors = marginal.problem, marginal.priors
    at, _ = marginal.point(x)
    lams = [sd[:, None] * factor / at.sigma for sd, factor in zip(at.sds, at.factors, strict=True)]
    V = at.sigma**2 * plain.relative_V(problem, lams)
    X = problem.X.copy()
    constant = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) == 0]
    if constant:  # the intercept's prior is that at centred predictors
        others = [j for j in range(X.shape[1]) if j not in constant]
        X[:, others] -= X[:, others].mean(axis=0)
    if np.isinf(priors.beta_sd).any():
        value = -0.5 * plain.deviance(replace(problem, X=X), lams, at.sigma, reml=True)
        value += 0.5 * X.shape[1] * np.log(2 * np.pi)
    else:
        V = V + (X * priors.beta_sd**2) @ X.T
        value = stats.multivariate_normal(X @ priors.beta_mean, V).logpdf(problem.y)
    value += np.log(2) + stats.t.logpdf(at.sigma, 3, scale=1.5) + np.log(at.sigma)
    position = 0
    for sd, soft, pairs in zip(at.sds, marginal.softness, marginal.pairs, strict=True):
        value += np.sum(np.log(2) + stats.t.logpdf(sd, 3, scale=1.5) + np.log(sd + soft))
        position += len(sd)
        for (_, _, d, place), y in zip(pairs, x[position : position + len(pairs)], strict=True):
            shape, partial = 1.5 + (d - 2 - place) / 2, np.tanh(y)
            value += stats.beta.logpdf((partial + 1) / 2, shape, shape) - np.log(2) + np.log1p(-(partial**2))
        position += len(pairs)
    return value


def random_point(marginal, seed):
    rng = np.random.default_rng(seed)
    return np.where(
        marginal.bounded,
        rng.exponential(1.0, len(marginal.bounded)),
        rng.normal(0, 0.5, len(marginal.bounded)),
    )


@given(problems(), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=80, deadline=None)
def test_density_equals_the_dense_formula(problem, seed, flat):
    marginal = exact.Marginal(problem, hyper_priors(problem, flat=flat))
    x = random_point(marginal, seed)
    # V is built and inverted explicitly in the twin; its condition number costs it some digits
    assert marginal(x) == pytest.approx(dense_log_density(marginal, x), rel=1e-8, abs=1e-7)
    assert marginal(np.where(marginal.bounded, -0.1, x)) == -np.inf


@given(problems(max_columns=2), st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_conditional_draws_have_the_conditional_moments(problem, seed):
    marginal = exact.Marginal(problem, hyper_priors(problem))
    x = random_point(marginal, seed) + 0.2 * marginal.bounded
    at, _ = marginal.point(x)
    state = marginal.state(x)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(3000):
        beta, effects = marginal.conditional_draw(state, rng)
        draws.append(np.concatenate([beta, *(b.reshape(-1) for b in effects)]))
    mean, cov = conditional(marginal, at)
    error = np.sqrt(np.diag(cov) / 3000)
    assert np.all(np.abs(np.mean(draws, axis=0) - mean) < 5.5 * error + 1e-10)
    # the variance of 3,000 draws is known to √(2/3000) = 2.6 %
    np.testing.assert_allclose(np.var(draws, axis=0), np.diag(cov), rtol=5.5 * 0.026, atol=1e-12)


def conditional(marginal, at):
    """Mean and covariance of (β, b) given y and the hyperparameters, densely, for coordinates of the user."""
    problem, priors = marginal.problem, marginal.priors
    p = problem.X.shape[1]
    center = np.eye(p)  # from β to (intercept at centred predictors, slopes)
    for j in [j for j in range(p) if np.ptp(problem.X[:, j]) == 0]:
        center[j] = problem.X.mean(axis=0) / problem.X[0, j]
    covariances = [covariance(sd, factor @ factor.T) for sd, factor in zip(at.sds, at.factors, strict=True)]
    prior_precision = block_diag(
        center.T @ np.diag(priors.beta_sd**-2.0) @ center,
        *(np.linalg.inv(cov) for cov, J in zip(covariances, problem.levels, strict=True) for _ in range(J)),
    )
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
    A = np.hstack([problem.X, plain.dense_Z(problem)])
    precision = A.T @ (A * w[:, None]) / at.sigma**2 + prior_precision
    right = A.T @ (w * problem.y) / at.sigma**2
    right[:p] += center.T @ (priors.beta_mean / priors.beta_sd**2)
    cov = np.linalg.inv(precision)
    return cov @ right, cov


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ x + (1 | g)", {}),
        ("y ~ x + z + (x | g)", {}),
        ("y ~ x + (x || g)", {}),
        ("y ~ 0 + x + (1 | g) + (0 + z | h)", {}),
        ("y ~ x + (x | g) + (1 | h)", {"weights": "w", "offset": "o"}),
        ("y ~ x + (1 | g / h)", {}),
    ],
)
def test_joint_of_pymc_is_marginal_times_conditional(formula, options):
    """The law that ties both samplers: no sampling, only densities at one point."""
    rng = np.random.default_rng(8)
    n = 48
    data = {
        "g": np.arange(n) % 8,
        "h": rng.integers(0, 3, n),
        "x": rng.normal(5, 1, n),
        "z": rng.normal(size=n),
    }
    data |= {"w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n), "y": rng.normal(3, 1, n)}
    design = build_design(formula, blm_frame(data), **options)
    priors = resolve_priors(design)
    centred = Geometry(
        centred={g.name: (True,) * g.q for g in design.groups},
        reliability={g.name: (1.0,) * g.q for g in design.groups},
    )
    joint, values = evaluate(build_model(design, priors, centred))
    marginal = exact.Marginal(Problem.of(design), HyperPriors.of(design, priors))
    x, jacobian = coordinates(marginal, design, values)
    at, _ = marginal.point(x)
    mean, cov = conditional(marginal, at)
    effects = np.concatenate([values["beta"], *(values[f"b_{g.name}"].reshape(-1) for g in design.groups)])
    given_hyper = stats.multivariate_normal(mean, cov, allow_singular=False).logpdf(effects)
    assert joint == pytest.approx(marginal(x) - jacobian + given_hyper, rel=1e-9)


def blm_frame(data):
    import pandas as pd

    return pd.DataFrame(data)


def coordinates(marginal, design, values):
    """x at PyMC's values, and the log Jacobian from its free variables (sds, sigma, Beta variables) to x."""
    x, jacobian = [], 0.0
    for g, soft, pairs in zip(design.groups, marginal.softness, marginal.pairs, strict=True):
        sd = values[f"sd_{g.name}"]
        x += list(np.log1p(sd / soft))
        jacobian += np.sum(np.log(sd + soft))
        for i, j, _, _ in pairs:
            names = (f"partial_{g.name}_{g.columns[a]}_{g.columns[b]}" for a, b in ((i, j), (j, i)))
            u = next(values[name] for name in names if name in values)  # of two columns it is the correlation
            partial = 2 * u - 1
            x.append(np.arctanh(partial))
            jacobian += np.log1p(-(partial**2)) - np.log(2)
    return np.array([*x, np.log(values["sigma"])]), jacobian + np.log(values["sigma"])


@pytest.mark.parametrize("name", ["dyestuff", "dyestuff2"])
def test_draws_agree_with_quadrature_also_near_zero(name):
    """Two hyperparameters: their posterior on a grid, dense formula; dyestuff2 has most of its mass near zero."""
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset(name))
    marginal = exact.Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))
    post = model.fit(method="exact", draws=2500, random_seed=3, progressbar=False)
    sd, sigma = (post.draws(v).reshape(-1) for v in ("sd_Batch", "sigma"))
    grid_sd = np.linspace(0, 6 * sd.mean(), 150)
    grid_log_sigma = np.linspace(np.log(sigma).min() - 0.3, np.log(sigma).max() + 0.3, 70)
    soft = marginal.softness[0][0]
    log_density = np.array(
        [
            [marginal(np.array([np.log1p(a / soft), b])) - np.log(a + soft) for b in grid_log_sigma]
            for a in grid_sd
        ]
    )
    weight = np.exp(log_density - log_density.max())
    weight[0] *= 0.5
    by_sd = weight.sum(axis=1) / weight.sum()
    ess = 500  # at least so many independent draws of the 10,000, by the verdict
    for probability in (0.05, 0.25, 0.5, 0.75):
        at = np.interp(probability, np.cumsum(by_sd) - 0.5 * by_sd, grid_sd)
        share = np.mean(sd < at)
        assert abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / ess) + 0.01
    assert post.diagnosis.min_ess_bulk > ess


def test_far_draws_of_the_proposal_do_no_harm():
    """Heavy tails reach sds that overflow; calibration once met one and never ended."""
    wide = exact.Proposal(mean=np.zeros(3), root=np.eye(3) * 60.0, bounded=np.array([True, True, False]))
    x = wide.draw(np.random.default_rng(1), 500)
    assert x.shape == (500, 3) and np.abs(x).max() < 100 and x[:, :2].min() >= 0
    problem, _ = calibration.simulate(calibration.structures()["(x || g)"], np.random.default_rng(2))
    marginal = exact.Marginal(problem, calibration.priors_for(problem))
    at_mode = marginal(np.array([0.1, 0.1, -1.0]))
    assert max(marginal(row) for row in x) < at_mode
    assert marginal(np.array([800.0, 0.1, 0.0])) == -np.inf


@pytest.mark.slow
@pytest.mark.parametrize("name", list(calibration.structures()))
def test_ranks_are_uniform_over_simulated_data(name):
    """A thin run of ``make calibrate``: 100 data sets a structure."""
    found = calibration.calibrate(calibration.structures()[name], refits=100, seed=4)
    for parameter, ranks in found.items():
        # some 50 tests over all structures: one in a thousand runs would fail by chance
        assert calibration.uniformity(ranks, bins=5) > 2e-5, (parameter, np.bincount(ranks // 20))


def test_calibration_notices_a_wrong_density(monkeypatch):
    """Broken on purpose: a residual variance that counts too often."""
    right = exact.Marginal.log_likelihood
    monkeypatch.setattr(
        exact.Marginal, "log_likelihood",
        lambda self, at, reduced, solution: right(self, at, reduced, solution) - 6 * np.log(at.sigma),
    )  # fmt: skip
    found = calibration.calibrate(calibration.structures()["(x | g)"], refits=100, seed=4)
    assert calibration.uniformity(found["sigma"], bins=5) < 2e-5


@pytest.mark.parametrize(
    ("prior", "twin"),
    [
        (Prior("HalfNormal", sigma=2.0), lambda v: stats.halfnorm.logpdf(v, scale=2)),
        (Prior("HalfStudentT", nu=4.0, sigma=2.0), lambda v: np.log(2) + stats.t.logpdf(v, 4, scale=2)),
        (Prior("HalfCauchy", beta=2.0), lambda v: stats.halfcauchy.logpdf(v, scale=2)),
        (Prior("Exponential", lam=0.5), lambda v: stats.expon.logpdf(v, scale=2)),
        (Prior("Exponential", scale=2.0), lambda v: stats.expon.logpdf(v, scale=2)),
        (Prior("Gamma", alpha=2.0, beta=0.5), lambda v: stats.gamma.logpdf(v, 2, scale=2)),
        (Prior("LogNormal", mu=0.3, sigma=0.8), lambda v: stats.lognorm.logpdf(v, 0.8, scale=np.exp(0.3))),
        (Prior("Uniform", lower=0.0, upper=5.0), lambda v: stats.uniform.logpdf(v, 0, 5)),
        (blm.flat(), lambda v: 0.0),
    ],
)
def test_priors_are_scipys(prior, twin):
    for value in (0.1, 1.0, 3.3):
        assert log_prior(prior)(value) == pytest.approx(twin(value), rel=1e-12, abs=1e-12)


def test_a_prior_that_is_not_written_out_is_refused():
    with pytest.raises(NotAvailableError, match="InverseGamma"):
        log_prior(Prior("InverseGamma", alpha=1.0, beta=1.0))
    design = build_design("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    priors = resolve_priors(design, {"Intercept": Prior("StudentT", nu=3.0, mu=0.0, sigma=1.0)})
    with pytest.raises(NotAvailableError, match="Intercept"):
        HyperPriors.of(design, priors)
