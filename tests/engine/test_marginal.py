"""The exact sampler: its density against dense formulas and PyMC, its draws against quadrature and simulation."""

from __future__ import annotations

import warnings
from dataclasses import replace

import calibration
import numpy as np
import pandas as pd
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import block_diag
from strategies import examples, problems

import bayeslmm as blm
from bayeslmm.covariances.template import covariance
from bayeslmm.design.build import build_design
from bayeslmm.design.priors import Prior, resolve_priors
from bayeslmm.engine import marginal_nuts
from bayeslmm.engine.geometry import choose_geometry
from bayeslmm.engine.hyperpriors import HyperPriors, Kind, Positive, log_prior
from bayeslmm.engine.marginal import Marginal
from bayeslmm.engine.proposal import Mixture, Proposal, fit_proposal
from bayeslmm.engine.pymc_model import build_model
from bayeslmm.engine.sampler import Team
from bayeslmm.engine.scaling import Problem
from bayeslmm.errors import AliasedColumnsWarning, NotAvailableError

from .test_pymc_model import evaluate

HALF_T = Positive(kind=Kind.HALF_T, a=3.0, b=1.5)
BETA = st.sampled_from(["normal", "flat", "t"])


def hyper_priors(problem, *, beta="normal"):
    p = problem.X.shape[1]
    return HyperPriors(
        beta_mean=np.linspace(0.5, 1.5, p),
        beta_sd=np.full(p, np.inf if beta == "flat" else 2.0),
        beta_nu=np.where((np.arange(p) % 2 == 0) & (beta == "t"), 3.0, np.inf),
        sds=tuple((HALF_T,) * Z.shape[1] for Z in problem.Z),
        lkj=(1.5,) * len(problem.Z),
        sigma=HALF_T,
    )


def single(marginal, x):
    """The hyperparameters at one x: per factor sds and Cholesky factors of correlations, σ, ω of every fixed effect."""
    noise = np.zeros((1, marginal.p + marginal.layout.m))
    points = marginal.walk(np.array([x, x]), np.zeros(2), np.array([-np.inf]), noise)
    omega = np.ones(marginal.p)
    omega[marginal.space.with_t] = np.exp(x[len(x) - len(marginal.space.nu) :])
    return [sd[0] for sd in points.sds], [C[0] for C in points.factors], float(points.sigma[0]), omega


def dense_log_density(marginal, x):
    """The same from V: y ~ N(X m₀, V + X P₀⁻¹Xᵀ), and the priors by scipy; Jacobians by differences."""
    problem, priors = marginal.problem, marginal.priors
    sds, factors, sigma, omega = single(marginal, x)
    lams = [sd[:, None] * factor / sigma for sd, factor in zip(sds, factors, strict=True)]
    X = problem.X.copy()
    if problem.intercept is not None:  # its prior is that at centred predictors
        others = np.arange(X.shape[1]) != problem.intercept
        X[:, others] -= X[:, others].mean(axis=0)
    if np.isinf(priors.beta_sd).any():
        value = -0.5 * plain.deviance(replace(problem, X=X), lams, sigma, reml=True)
        value += 0.5 * X.shape[1] * np.log(2 * np.pi)
    else:
        V = sigma**2 * plain.relative_V(problem, lams) + (X * priors.beta_sd**2 / omega) @ X.T
        value = stats.multivariate_normal(X @ priors.beta_mean, V).logpdf(problem.y)
    value += np.log(2) + stats.t.logpdf(sigma, 3, scale=1.5)
    value += np.sum(stats.gamma.logpdf(omega[marginal.space.with_t], 1.5, scale=1 / 1.5))
    for sd, factor, blocks in zip(sds, factors, problem.blocks, strict=True):
        value += np.sum(np.log(2) + stats.t.logpdf(sd, 3, scale=1.5))
        for block in blocks:
            correlation = (factor @ factor.T)[np.ix_(block, block)]
            value += lkj_density(correlation, 1.5)
    return value + log_jacobian(marginal, x)


def lkj_density(correlation, eta):
    """log LKJ, its constant by integrating over one correlation after another: products of Beta functions."""
    d = len(correlation)
    constant = 0.0
    for k in range(1, d):  # Joe (2006): vine of partial correlations, each Beta on (−1, 1)
        shape = eta + (d - 1 - k) / 2
        constant += (d - k) * (stats.beta.logpdf(0.5, shape, shape) - np.log(2))
    return constant + (eta - 1) * np.linalg.slogdet(correlation)[1]


def log_jacobian(marginal, x):
    """log |∂(sds, correlations, log… σ, ω)/∂x| by central differences."""

    def free(x):
        sds, factors, sigma, omega = single(marginal, x)
        out = []
        for sd, C, blocks in zip(sds, factors, marginal.problem.blocks, strict=True):
            R = C @ C.T
            out += [*sd, *(R[a, b] for block in blocks for i, a in enumerate(block) for b in block[:i])]
        return np.array([*out, sigma, *omega[marginal.space.with_t]])

    h = 1e-5 * np.eye(len(x))
    return np.linalg.slogdet([(free(x + step) - free(x - step)) / 2e-5 for step in h])[1]


def random_point(marginal, seed):
    rng = np.random.default_rng(seed)
    return np.where(marginal.space.sd_at, rng.exponential(1.0, marginal.d), rng.normal(0, 0.5, marginal.d))


@given(problems(), st.integers(0, 2**32 - 1), BETA)
@examples(80)
def test_density_equals_the_dense_formula(problem, seed, beta):
    marginal = Marginal(problem, hyper_priors(problem, beta=beta))
    x = random_point(marginal, seed) + 1e-3 * marginal.space.sd_at
    # V is built and inverted explicitly in the twin, and the Jacobian of up to twelve coordinates is numeric
    assert marginal.log_densities(x[None])[0] == pytest.approx(dense_log_density(marginal, x), rel=1e-7, abs=1e-6)
    assert marginal.log_densities(np.where(marginal.space.sd_at, -0.1, x)[None])[0] == -np.inf


@given(problems(), st.integers(0, 2**32 - 1), BETA)
@examples(60)
def test_gradient_equals_finite_differences(problem, seed, beta):
    marginal = Marginal(problem, hyper_priors(problem, beta=beta))
    x = random_point(marginal, seed) + 1e-3 * marginal.space.sd_at
    value, gradient = marginal.with_gradient(x)
    assert value == pytest.approx(marginal.log_densities(x[None])[0], rel=1e-12)
    h = 1e-5 * np.eye(len(x))
    numeric = (marginal.log_densities(x + h) - marginal.log_densities(x - h)) / 2e-5
    # rounding: 1e-16 of the largest term, up to 1e6 at points far out, over 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-5 * (1 + np.abs(gradient).max()))
    z = marginal_nuts.unbounded(marginal, x)
    np.testing.assert_allclose(marginal_nuts.bounded(marginal, z), x, rtol=1e-9)
    on_z, by_z = marginal_nuts.log_density(marginal, z)
    numeric = [
        (marginal_nuts.log_density(marginal, z + s)[0] - marginal_nuts.log_density(marginal, z - s)[0]) / 2e-5
        for s in h
    ]
    np.testing.assert_allclose(by_z, numeric, rtol=1e-5, atol=1e-5 * (1 + np.abs(by_z).max()))
    assert on_z <= value
    assert marginal.with_gradient(np.full(len(x), 200.0))[0] == -np.inf


@pytest.mark.parametrize(
    ("data", "formula"),
    [
        ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
        ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
        ("pastes", "strength ~ 1 + (1 | batch / cask)"),
    ],
)
def test_under_flat_priors_the_density_of_sigma_and_sds_has_its_mode_at_reml(data, formula):
    """What REML maximises is the likelihood with β integrated out, so only the Jacobian is left of the slope there."""
    flat = {key: blm.flat() for key in ("Intercept", "fixed", "sd", "sigma") if key != "fixed" or "Days" in formula}
    model = blm.Model(formula, blm.load_dataset(data), priors=flat)
    marginal = Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))
    fit = model.fit_reml()
    sds = np.concatenate([np.sqrt(np.diag(cov)) for cov in fit.solution.covariances])
    x = np.append(np.log1p(sds / marginal.space.softness), np.log(fit.sigma))
    by_jacobian = np.ones(len(x))  # of Σ log(sd + c) + log σ: each sd + c is c eˣ
    # the slope changes by about 2n per unit of log σ; REML stops within 1e-8 of a standard error
    np.testing.assert_allclose(marginal.with_gradient(x)[1], by_jacobian, atol=1e-5 * marginal.n)
    here = marginal.log_densities(x[None])[0] - x.sum()
    for step in 0.01 * np.vstack([np.eye(len(x)), -np.eye(len(x))]):
        assert marginal.log_densities((x + step)[None])[0] - (x + step).sum() < here


@given(problems(max_columns=2), st.integers(0, 2**32 - 1), BETA)
@examples(12)
def test_conditional_draws_have_the_conditional_moments(problem, seed, beta):
    marginal = Marginal(problem, hyper_priors(problem, beta=beta))
    x = random_point(marginal, seed) + 0.2 * marginal.space.sd_at
    n = 4000
    noise = np.random.default_rng(seed).normal(size=(n, marginal.p + marginal.layout.m))
    walk = marginal.walk(np.repeat(x[None], n + 1, axis=0), np.zeros(n + 1), np.full(n, -np.inf), noise)
    assert walk.accepted.all()
    draws = np.concatenate([walk.beta, *(b.reshape(n, -1) for b in walk.effects)], axis=1)
    mean, cov = conditional(marginal, x)
    error = np.sqrt(np.diag(cov) / n)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5.5 * error + 1e-10)
    # the variance of 4,000 draws is known to √(2/4000) = 2.2 %
    np.testing.assert_allclose(np.var(draws, axis=0), np.diag(cov), rtol=5.5 * 0.0224, atol=1e-12)


def conditional(marginal, x):
    """Mean and covariance of (β, b) given y and the hyperparameters, densely, for coordinates of the user."""
    problem, priors = marginal.problem, marginal.priors
    sds, factors, sigma, omega = single(marginal, x)
    p = problem.X.shape[1]
    center = np.eye(p)  # from β to (intercept at centred predictors, slopes)
    if problem.intercept is not None:
        center[problem.intercept] = problem.X.mean(axis=0)
    covariances = [covariance(sd, factor @ factor.T) for sd, factor in zip(sds, factors, strict=True)]
    of_beta = omega * priors.beta_sd**-2.0
    prior_precision = block_diag(
        center.T @ np.diag(of_beta) @ center,
        *(np.linalg.inv(cov) for cov, J in zip(covariances, problem.levels, strict=True) for _ in range(J)),
    )
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
    A = np.hstack([problem.X, plain.dense_Z(problem)])
    precision = A.T @ (A * w[:, None]) / sigma**2 + prior_precision
    right = A.T @ (w * problem.y) / sigma**2
    right[:p] += center.T @ (priors.beta_mean * of_beta)
    cov = np.linalg.inv(precision)
    return cov @ right, cov


FORMULAS = [
    "y ~ x + (1 | g)",
    "y ~ x + z + (x | g)",
    "y ~ x + (x || g)",
    "y ~ 0 + x + (1 | g) + (0 + z | h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ x + (1 | g / h)",
    "y ~ x + (1 | g) + (0 + x + z | g)",
    "y ~ z + (x + z | g)",
    "y ~ 1 + (1 | g:h) + (x | h)",
    "y ~ 0 + one + x + (1 | g)",
    "y ~ 0 + half + x + (x | g)",
    "y ~ 0 + x + minus + z + (1 | g) + (1 | h)",
    "y ~ x + half + (1 | g)",
    "y ~ 0 + f + x + (1 | g)",
    "y ~ 0 + f:x + (x | g)",
    "y ~ 0 + one + (0 + half | g)",
    "y ~ x + cs(0 + f | g)",
    "y ~ x + cs(1 + x + z | g, hom=True) + (1 | h)",
    "y ~ x + ar1(0 + f | g)",
    "y ~ x + ar1(0 + f | g, hom=False)",
    "y ~ x + diag(x + z | g, hom=True) + cs(0 + f | g)",
]
INFORMATIVE = {"fixed": Prior("Normal", mu=0.7, sigma=0.01), "sd": Prior("HalfNormal", sigma=0.5)}


@pytest.mark.filterwarnings("ignore:The recursion limit")  # PyTensor raises it
@given(
    st.sampled_from(FORMULAS),
    st.integers(0, 2**32 - 1),
    st.sampled_from([{}, {"weights": "w"}, {"offset": "o"}]),
    st.sampled_from(["default", "flat", "informative"]),
)
@examples(40)
def test_joint_of_pymc_is_marginal_times_conditional(formula, seed, options, kind):
    """The law that ties both samplers: no sampling, only densities at one point of a random design."""
    design = random_design(formula, seed, options)
    user = {"sd": Prior("HalfNormal", sigma=2.0), "sigma": Prior("HalfCauchy", beta=1.0)}
    if "x" in design.x_names:
        user["x"] = blm.flat()
    if kind == "informative":
        user = {
            key: prior for key, prior in INFORMATIVE.items() if key != "fixed" or set(design.x_names) - {"Intercept"}
        }
    priors = resolve_priors(design, None if kind == "default" else user)
    joint, values = evaluate(build_model(design, priors, centred(design)), seed % 1000)
    marginal = Marginal(Problem.of(design), HyperPriors.of(design, priors))
    x, jacobian = coordinates(marginal, design, values)
    mean, cov = conditional(marginal, x)
    effects = np.concatenate([values["beta"], *(values[f"b_{g.name}"].reshape(-1) for g in design.groups)])
    given_hyper = stats.multivariate_normal(mean, cov, allow_singular=False).logpdf(effects)
    assert joint == pytest.approx(marginal.log_densities(x[None])[0] - jacobian + given_hyper, rel=1e-9)


def random_design(formula, seed, options):
    rng = np.random.default_rng(seed)
    n, J = int(rng.integers(36, 60)), int(rng.integers(5, 9))
    data = {
        "g": np.arange(n) % J,
        "h": rng.integers(0, 3, n),
        "f": np.array(["a", "b", "c"])[np.arange(n) % 3],
        "one": 1.0,
        "half": 0.5,
        "minus": -3.0,
        "x": rng.normal(1, 1, n),
        "z": rng.normal(size=n),
    }
    data |= {"w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n), "y": rng.normal(3, 1, n)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AliasedColumnsWarning)  # a constant beside the intercept
        return build_design(formula, pd.DataFrame(data), **options)


def centred(design):
    """The geometry in which b itself is a free variable, so that no Jacobian comes in."""
    centred = choose_geometry(design, None, {g.name: 1.0 for g in design.groups})
    alone = {g.name: replace(centred.placements[g.name], parent="", blocks=g.blocks) for g in design.groups}
    return replace(centred, placements=alone, attached={g.name: () for g in design.groups})


def coordinates(marginal, design, values):
    """x at PyMC's values, and the log Jacobian from its free variables (sds, sigma, correlations) to x."""
    space, x, jacobian = marginal.space, [], np.log(values["sigma"])
    for k, (g, soft) in enumerate(zip(design.groups, marginal.softness, strict=True)):
        template = g.template
        sd = values[f"sd_{g.name}"][list(template.sd_columns)]
        x += list(np.log1p(sd / soft))
        jacobian += np.sum(np.log(sd + soft))
        reliability = (sd**2 / (sd**2 + soft**2))[list(template.sd_of)]
        cor, positions = values.get(f"cor_{g.name}", np.eye(g.q)), []
        for block, structure in zip(template.blocks, template.structures, strict=True):
            if structure.is_free:
                factor = np.linalg.cholesky(cor[np.ix_(block, block)])
                for i in range(len(block)):
                    positions += [factor[i, j] / np.sqrt(1 - np.sum(factor[i, :j] ** 2)) for j in range(i)]
            elif structure.n_correlations(len(block)):
                low, high = structure.interval(len(block))
                positions.append(2 * (cor[block[0], block[1]] - low) / (high - low) - 1)
                jacobian += np.log((high - low) / 2)
        for e, position in zip(range(*space.partial_start[k : k + 2]), positions, strict=True):
            i, j = space.partial_row[e], space.partial_column[e]
            h = np.sqrt(1 + space.partial_gain[e] * reliability[i] * reliability[j])
            x.append(h * np.arctanh(position))
            # the matrix moves with the partial correlation to the power s - eta of 1 - p²
            jacobian += (1 + space.partial_shape[e] - 2.0) * np.log1p(-(position**2)) - np.log(h)
    return np.array([*x, np.log(values["sigma"])]), jacobian


def test_joint_with_a_t_prior_is_the_integral_over_omega():
    """ω is integrated on a grid: the t density is its mixture of normals, and so is the joint density of PyMC."""
    design = random_design("y ~ x + (x | g)", 5, {})
    t, cauchy = Prior("StudentT", nu=3.0, mu=2.0, sigma=1.5), Prior("Cauchy", alpha=0.2, beta=0.7)
    priors = resolve_priors(design, {"Intercept": t, "x": cauchy})
    joint, values = evaluate(build_model(design, priors, centred(design)))
    marginal = Marginal(Problem.of(design), HyperPriors.of(design, priors))
    x, jacobian = coordinates(marginal, design, values)
    grid = np.linspace(-14.0, 5.0, 120)  # of log ω
    effects = np.concatenate([values["beta"], values["b_g"].reshape(-1)])
    logs = []
    for first in grid:
        for second in grid:
            at = np.append(x, [first, second])
            mean, cov = conditional(marginal, at)
            logs.append(marginal.log_densities(at[None])[0] + stats.multivariate_normal(mean, cov).logpdf(effects))
    # the integrand vanishes at both ends, where the rectangle rule errs by less than the tails cut off, e⁻⁷
    found = np.logaddexp.reduce(logs) + 2 * np.log(grid[1] - grid[0]) - jacobian
    assert found == pytest.approx(joint, abs=2e-3)


@pytest.mark.parametrize("name", ["dyestuff", "dyestuff2"])
def test_draws_agree_with_quadrature_also_near_zero(name):
    """Two hyperparameters: their posterior on a grid, dense formula; dyestuff2 has most of its mass near zero."""
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset(name))
    marginal = Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))
    post = model.fit(method="exact", draws=2500, random_seed=3, progressbar=False)
    sd, sigma = (post.draws(v).reshape(-1) for v in ("sd_Batch", "sigma"))
    grid_sd = np.linspace(0, 6 * sd.mean(), 150)
    grid_log_sigma = np.linspace(np.log(sigma).min() - 0.3, np.log(sigma).max() + 0.3, 70)
    soft = marginal.softness[0][0]
    grid = np.array([(np.log1p(a / soft), b) for a in grid_sd for b in grid_log_sigma])
    log_density = marginal.log_densities(grid).reshape(len(grid_sd), -1) - np.log(grid_sd + soft)[:, None]
    weight = np.exp(log_density - log_density.max())
    weight[0] *= 0.5
    by_sd = weight.sum(axis=1) / weight.sum()
    ess = 500  # at least so many independent draws of the 10,000, by the verdict
    for probability in (0.05, 0.25, 0.5, 0.75):
        at = np.interp(probability, np.cumsum(by_sd) - 0.5 * by_sd, grid_sd)
        share = np.mean(sd < at)
        assert abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / ess) + 0.01
    assert post.diagnosis.min_ess_bulk > ess


def simulated(name="(x | g)", seed=2):
    problem, _ = calibration.simulate(*calibration.structures()[name], np.random.default_rng(seed))
    return Marginal(problem, calibration.structures()[name][1])


def test_far_draws_of_the_proposal_do_no_harm():
    """Heavy tails reach sds that overflow; calibration once met one and never ended."""
    marginal = simulated("(x || g)")
    wide = Mixture(shares=np.ones(1), means=np.zeros((1, 3)), roots=60.0 * np.eye(3)[None], dof=3.0)
    x = Proposal.around(wide, marginal).draw(np.random.default_rng(1), 500)
    assert x.shape == (500, 3) and np.abs(x).max() < 100 and x[:, :2].min() >= 0
    near = fit_proposal(marginal, np.random.default_rng(1)).proposal
    assert marginal.log_densities(x).max() <= marginal.log_densities(near.near.means).max() + 1.0
    assert marginal.log_densities(np.array([[800.0, 0.1, 0.0]]))[0] == -np.inf


def test_the_proposal_is_a_density_and_draws_from_itself():
    """By importance sampling from a wide normal, half of its mass lies below the median of its draws."""
    marginal = simulated()
    fitted = fit_proposal(marginal, np.random.default_rng(1))
    proposal, share = fitted.proposal, fitted.share
    assert share > 0.5
    x = proposal.draw(np.random.default_rng(2), 40_000)
    spread = stats.multivariate_normal(x.mean(axis=0), 4 * np.cov(x.T))
    y = spread.rvs(400_000, random_state=3)
    y = y[np.all(y[:, proposal.bounded] >= 0, axis=1)]
    weights = np.exp(proposal.log_density(y) - spread.logpdf(y))
    middle = np.median(x, axis=0)
    for k in range(x.shape[1]):
        below = np.average(y[:, k] < middle[k], weights=weights)
        assert below == pytest.approx(0.5, abs=0.02)  # 4 standard errors of 400,000 weighted draws


def test_the_share_of_the_work_among_threads_changes_no_draw(monkeypatch):
    marginal = simulated()
    proposal = fit_proposal(marginal, np.random.default_rng(1)).proposal
    found = []
    for cores, seconds in ((1, 10.0), (2, 0.0005)):  # one segment, and many
        monkeypatch.setattr(calibration.sampler, "SEGMENT_SECONDS", seconds)
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(3).spawn(3)]
        with Team(cores) as team:
            found.append(team.chains(marginal, proposal, 400, streams))
    for field in ("beta", "sigma", "log_density", "accepted", "log_weights"):
        np.testing.assert_array_equal(getattr(found[0], field), getattr(found[1], field))
    np.testing.assert_array_equal(found[0].effects[0], found[1].effects[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(calibration.structures()))
def test_ranks_are_uniform_over_simulated_data(name):
    """A thin run of ``make calibrate``: 100 data sets a structure."""
    found = calibration.calibrate(*calibration.structures()[name], refits=100, seed=4)
    for parameter, ranks in found.items():
        # some 60 tests over all structures: one in a thousand runs would fail by chance
        assert calibration.uniformity(ranks, bins=5) > 1.6e-5, (parameter, np.bincount(ranks // 40))


def test_calibration_notices_a_wrong_density(monkeypatch):
    """Broken on purpose: a residual variance that counts too often."""
    problem, priors = calibration.structures()["(x | g)"]

    class Broken(Marginal):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.n += 6

    monkeypatch.setattr(calibration, "marginal_of", Broken)
    found = calibration.calibrate(problem, priors, refits=100, seed=4)
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
        (Prior("InverseGamma", alpha=2.0, beta=0.5), lambda v: stats.invgamma.logpdf(v, 2, scale=0.5)),
        (Prior("LogNormal", mu=0.3, sigma=0.8), lambda v: stats.lognorm.logpdf(v, 0.8, scale=np.exp(0.3))),
        (Prior("Uniform", lower=0.0, upper=5.0), lambda v: stats.uniform.logpdf(v, 0, 5)),
        (blm.flat(), lambda v: 0.0),
    ],
)
def test_priors_are_scipys(prior, twin):
    known = Positive.of(prior)
    for value in (0.1, 1.0, 3.3):
        density, slope = log_prior(known.kind, known.a, known.b, value)
        assert density == pytest.approx(twin(value), rel=1e-12, abs=1e-12)
        ahead, behind = (log_prior(known.kind, known.a, known.b, value + h)[0] for h in (1e-5, -1e-5))
        assert slope == pytest.approx((ahead - behind) / 2e-5, rel=1e-7, abs=1e-8)


def test_a_prior_that_is_not_written_out_is_refused():
    with pytest.raises(NotAvailableError, match="Weibull"):
        Positive.of(Prior("Weibull", alpha=1.0, beta=1.0))
    with pytest.raises(NotAvailableError, match="Gamma"):
        Positive.of(Prior("Gamma", mu=1.0, sigma=1.0))
    design = build_design("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    priors = resolve_priors(design, {"Intercept": Prior("Laplace", mu=0.0, b=1.0)})
    with pytest.raises(NotAvailableError, match="Intercept"):
        HyperPriors.of(design, priors)
