"""Laws of the exact posterior: units, guises, the joint density, the chain rule, leave-one-out."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import SCALES, Table, examples, problems, tables

import bayeslmm as blm
from bayeslmm.covariances.template import cholesky_psd
from bayeslmm.engine import hyperspace, pls
from bayeslmm.engine.criterion import prepare
from bayeslmm.engine.hyperpriors import HyperPriors
from bayeslmm.engine.loo import leave_one_out
from bayeslmm.engine.marginal import Marginal
from bayeslmm.engine.scaling import Problem

from ..engine.test_loo import some_draws
from ..engine.test_marginal import conditional, hyper_priors, random_point, single
from ..results.test_variance import posterior_of
from .same import quietly
from .test_guises import WITH_INTERCEPT
from .test_limits import taken

SEEDS = st.integers(0, 2**32 - 1)
ONE_INTERCEPT = {1: ("(1 | {})",)}


def marginal_of(table):
    """The density of the hyperparameters of a model with its default priors."""
    model = quietly(table.model)
    return Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))


def points(marginal, seed, count=3):
    """Random points where sigma is about as large as the response: far below, a log density has no digits left."""
    x = np.array([random_point(marginal, seed + i) for i in range(count)])
    x[:, marginal.sigma_at] += np.log(np.std(marginal.problem.y))
    return x


def check_densities(one, other, seed, *, scale=1.0):
    """log p at the same points in units of the response: that of y/scale is n log(scale) higher everywhere.

    The coordinates of the sds have no units, the last one is log σ. Rounding: V of condition up to 1e6.
    """
    x = points(one, seed)
    moved = x.copy()
    moved[:, one.sigma_at] -= np.log(scale)
    found, expected = other.log_densities(moved), one.log_densities(x) + one.n * np.log(scale)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-6)


@examples(20)
@given(tables(fixed=WITH_INTERCEPT), st.sampled_from(SCALES), st.sampled_from([0.0, -40.0, 3e4]), SEEDS)
def test_response_in_other_units_and_from_another_zero(table, scale, shift, seed):
    """The default priors go with the response, so the posterior does."""
    spread = table.data["y"].std()

    def move(data):
        return data.assign(y=(data["y"] - shift * spread) / scale, o=data["o"] / scale)

    check_densities(marginal_of(table), marginal_of(table.changed(move)), seed, scale=scale)


@examples(20)
@given(tables(), st.lists(st.sampled_from(SCALES), min_size=3, max_size=3), SEEDS)
def test_predictors_in_other_units(table, scales, seed):
    """The default priors go with the predictors."""
    factors = dict(zip(("x", "z", "t"), scales, strict=True))
    other = table.changed(lambda d: d.assign(**{name: d[name] * c for name, c in factors.items()}))
    check_densities(marginal_of(table), marginal_of(other), seed)


@examples(20)
@given(tables(fixed=("x", "x + z", "x + f"), bars=ONE_INTERCEPT, locations=(0.0,)), st.sampled_from([50.0, 2e3]), SEEDS)
def test_predictors_from_another_zero(table, location, seed):
    """The prior of the intercept is that of centred predictors. (A random slope ties an sd to where x is zero.)"""

    def move(data):
        return data.assign(**{name: data[name] + location * data[name].std() for name in ("x", "z")})

    check_densities(marginal_of(table), marginal_of(table.changed(move)), seed)


@examples(20)
@given(tables(), SEEDS)
def test_rows_in_another_order(table, seed):
    order = np.random.default_rng(seed).permutation(len(table.data))
    check_densities(marginal_of(table), marginal_of(table.changed(lambda d: d.iloc[order])), seed)


@examples(20)
@given(tables(), SEEDS)
def test_levels_by_other_names(table, seed):
    rng = np.random.default_rng(seed)

    def rename(data):
        for name in [column for column in ("g", "h", "k") if column in data]:
            old = data[name].unique()
            data[name] = data[name].map(dict(zip(old, rng.permutation(len(old)), strict=True)))
        return data

    check_densities(marginal_of(table), marginal_of(table.changed(rename)), seed)


@examples(20)
@given(tables(bars={1: ("(1 | {})",)}, max_factors=2), SEEDS, st.sampled_from(["(x || {})", "(1 | {} / f)"]))
def test_sugar_and_what_it_stands_for(table, seed, short):
    longer = {"(x || {})": "(1 | {0}) + (0 + x | {0})", "(1 | {} / f)": "(1 | {0}) + (1 | {0}:f)"}[short]
    one, other = (
        marginal_of(Table(formula=f"y ~ x + {bar.format('g')}", data=table.data, options=table.options))
        for bar in (short, longer)
    )
    x = points(one, seed)
    np.testing.assert_array_equal(one.log_densities(x), other.log_densities(x))


@pytest.mark.parametrize(("scale", "shift", "factor"), [(1e4, -300.0, 1e3), (1e-3, 5.0, 1e-5)])
def test_draws_go_with_the_units(scale, shift, factor):
    """The same seed gives the same draws in other units: nothing on the way to them has a scale of its own."""
    data = blm.load_dataset("sleepstudy")
    moved = data.assign(Reaction=(data["Reaction"] - shift) / scale, Days=factor * data["Days"])
    one, other = (
        blm.Model("Reaction ~ Days + (Days | Subject)", each).fit(
            random_seed=3, draws=300, chains=2, cores=1, progressbar=False
        )
        for each in (data, moved)
    )
    by = scale * np.array([1.0, factor])
    back = {
        "beta": other.draws("beta") * by + [shift, 0.0],
        "sigma": other.draws("sigma") * scale,
        "sd_Subject": other.draws("sd_Subject") * by,
        "b_Subject": other.draws("b_Subject") * by,
        "cor_Subject": other.draws("cor_Subject")[..., 0, 1],
    }
    for name, draws in back.items():
        expected = one.draws(name)[..., 0, 1] if name == "cor_Subject" else one.draws(name)
        # the proposal is fitted by a search that rounding ends a little elsewhere; a few draws may be refused by it
        away = np.abs(draws - expected) / expected.std(axis=(0, 1))
        assert np.mean(away < 1e-2) > 0.98, name


def given_hyperparameters(marginal, x):
    """log p(y | σ, sds, correlations, ω): the density less priors and Jacobians, which `locate` adds up."""
    space, widths = marginal.space, marginal.space.widths
    squares = int(np.sum(widths**2))
    room = np.empty(int(widths.sum())), np.empty(squares), np.empty(squares), np.empty(marginal.p)
    of_beta = space.constant + 0.5 * x[marginal.omega_at].sum()  # of log|P₀|, with its ω: no prior of ω
    return marginal.log_densities(x[None])[0] - (hyperspace.locate(space, x, *room)[1] - of_beta)


@examples(40)
@given(problems(max_columns=4), SEEDS, st.sampled_from(["normal", "flat", "t"]))
def test_joint_is_marginal_times_conditional(problem, seed, beta):
    """p(y | β, b) p(β) p(b) = p(y) p(β, b | y) given the hyperparameters, at β and b as the sampler draws them."""
    marginal = Marginal(problem, hyper_priors(problem, beta=beta))
    x = random_point(marginal, seed) + 0.2 * marginal.space.sd_at
    noise = np.random.default_rng(seed).normal(size=(1, marginal.p + marginal.layout.m))
    drawn = marginal.walk(np.array([x, x]), np.zeros(2), np.array([-np.inf]), noise)
    sds, factors, sigma, omega = single(marginal, x)
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
    mean = problem.X @ drawn.beta[0]
    joint = 0.0
    for codes, Z, sd, C, effects in zip(problem.codes, problem.Z, sds, factors, drawn.effects, strict=True):
        spherical = np.linalg.solve(sd[:, None] * C, effects[0].T)
        joint += stats.norm.logpdf(spherical).sum() - len(effects[0]) * np.log(sd * C.diagonal()).sum()
        mean += np.einsum("nq,nq->n", Z, effects[0][codes])
    joint += stats.norm.logpdf(problem.y, mean, sigma / np.sqrt(w)).sum()
    if beta != "flat":
        at_center = drawn.beta[0].copy()  # the prior of the intercept is that at the mean of the predictors
        if problem.intercept is not None:
            at_center[problem.intercept] = drawn.beta[0] @ problem.X.mean(axis=0)
        sd = marginal.priors.beta_sd / np.sqrt(omega)
        joint += stats.norm.logpdf(at_center, marginal.priors.beta_mean, sd).sum()
    center, cov = conditional(marginal, x)
    L = np.linalg.cholesky(cov)
    away = np.linalg.solve(L, np.concatenate([drawn.beta[0], *(b[0].reshape(-1) for b in drawn.effects)]) - center)
    given_y = stats.norm.logpdf(away).sum() - np.log(L.diagonal()).sum()
    # the dense precision of (β, b) is inverted: sds between 0.02 and 10 cost it up to eight of sixteen digits
    assert joint == pytest.approx(given_hyperparameters(marginal, x) + given_y, rel=1e-7, abs=1e-5)


def flat_density(problem, covariances, sigma):
    """log p(y | σ, Σ) under a flat prior of β, by the kernel (docs/theory.md, 4.1)."""
    scaled, criterion = prepare(problem, reml=True)
    lams = [
        cholesky_psd(np.linalg.solve(T, np.linalg.solve(T, cov).T), blocks) / sigma
        for T, cov, blocks in zip(scaled.T_z, covariances, problem.blocks, strict=True)
    ]
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    units = np.linalg.slogdet(scaled.T_x)[1] if criterion.p else 0.0
    twice = criterion.df * np.log(2 * np.pi * sigma**2) + reduced.log_det_M + solution.log_det_A - 2 * units
    return -0.5 * (twice - scaled.cross.sum_log_weights + solution.r2 / sigma**2)


@examples(20)
@given(problems(max_columns=4), SEEDS)
def test_leaving_a_row_out_is_the_density_with_it_over_that_without(problem, seed):
    """log p(y) − log p(y₋ᵢ) = log p(yᵢ | y₋ᵢ) at any hyperparameters: two factorisations against a leverage."""
    draws = some_draws(problem, np.random.default_rng(seed), kind="flat", S=2)
    p = problem.X.shape[1]
    draws = replace(draws, prior=(np.zeros(p), np.full(p, np.inf)))
    found = leave_one_out(problem, draws)
    n = len(problem.y)
    for s, i in product(range(2), range(0, n, 5)):
        others = np.delete(np.arange(n), i)
        if plain.rank(problem.X[others]) < p:
            continue
        covariances = [cov[s] for cov in draws.covariances]
        whole = flat_density(problem, covariances, draws.sigma[s])
        without = flat_density(taken(problem, others), covariances, draws.sigma[s])
        assert found.without[s, i] == pytest.approx(whole - without, abs=1e-7, rel=1e-8)


@examples(10)
@given(tables(max_factors=2), SEEDS)
def test_draws_of_predictions_for_the_rows_of_the_fit_are_those_of_the_fitted_values(table, seed):
    model = quietly(table.model)
    post = quietly(lambda: posterior_of(model, seed))
    order = np.random.default_rng(seed).permutation(model.design.n)
    rows = table.data.iloc[order].drop(columns="y")
    predicted = quietly(lambda: post.predict(rows, groups="observed", draws=True)).to_numpy()
    fitted = post.fitted(draws=True).to_numpy()[..., order]
    np.testing.assert_allclose(predicted, fitted, rtol=1e-10, atol=1e-10 * np.abs(fitted).max())
