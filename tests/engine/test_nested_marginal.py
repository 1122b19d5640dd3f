"""The marginal of other families with few effects a row: density, effects given the rest, cores."""

from __future__ import annotations

import agreement_families
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

import bayeslmm as blm
from bayeslmm.engine.nested_marginal import NestedMarginal, why_not
from bayeslmm.engine.pql import rough_fit
from bayeslmm.engine.sampler import Team
from bayeslmm.results.log_density import log_prior

ONE_EFFECT = ("bernoulli cloglog", "binomial", "poisson, offset", "negbinomial", "gamma", "ordinal probit")
SEVERAL = ("poisson, slopes", "bernoulli, nested", "gamma, slopes and nested")
# by the number of effects a row: the trapezoidal rule is exact to 1e-8 where the integrand's sd is that of 0.8 steps
GRIDS = {1: np.linspace(-7.0, 7.0, 1401), 2: np.linspace(-7.0, 7.0, 201), 3: np.linspace(-6.0, 6.0, 41)}


def model_of(name):
    formula, table, options = agreement_families.structures()[name]
    return blm.Model(formula, table, **options)


def marginal_of(model):
    design = model.priors.at_means(model.design)
    return NestedMarginal(design, model.priors, rough_fit(design))


@pytest.fixture(scope="module", params=ONE_EFFECT + SEVERAL)
def settled(request):
    """A model, its marginal with nodes around the mode, and points of the posterior."""
    model = model_of(request.param)
    marginal = marginal_of(model)
    near = marginal.settle(marginal.log_densities, np.random.default_rng(1))
    x = near.draw(np.random.default_rng(2), 3)
    x[:, marginal.space.sd_at] = np.abs(x[:, marginal.space.sd_at])
    return model, marginal, x


def at(marginal, x):
    """β, the family's parameters by name, Λ and a draw of the effects at x (d,)."""
    walk = marginal.walk(x[None].repeat(2, 0), np.zeros(2), np.full(1, -np.inf), np.ones(1, np.uint64))
    beta, named = marginal.outwards(x[None], walk.parameters)
    return beta[0], named, walk.lam[0], marginal.effects_of(walk.lam, walk.u)


def log_likelihood(design, values, rows, eta):
    """Log density of rows at η (rows, P), summed over them, from the family's own log densities."""
    from bayeslmm.families.densities import each_row, numbers

    P = eta.shape[1]
    trials = np.ones(design.n) if design.trials is None else design.trials
    y, many, out = (np.ascontiguousarray(np.repeat(v[rows], P)) for v in (design.working_response, trials, trials))
    by_value = design.family.normaliser_takes_y
    each_row(*numbers(design.family), by_value, y, many, np.ones(len(y)), eta.reshape(-1), values, out)
    return out.reshape(-1, P).sum(axis=0) + design.density_constants[rows].sum()


def log_units(marginal, lam, values, rows, s, eta):
    """Sum over the units of stage s that hold ``rows`` of log ∫, at η (rows, P): sums over a grid, stage by stage."""
    design, grid = marginal.design, GRIDS[marginal.S]
    of_stage = [bar for bar in marginal.bars for _ in range(bar.q)]
    Z = np.column_stack([bar.Z for bar in marginal.bars])
    total = np.zeros(eta.shape[1])
    for level in np.unique(of_stage[s].codes[rows]):
        inside = of_stage[s].codes[rows] == level
        held = rows[inside]
        moved = (eta[inside][:, :, None] + (Z[held] @ lam[:, s])[:, None, None] * grid).reshape(len(held), -1)
        if s + 1 < marginal.S:
            value = log_units(marginal, lam, values, held, s + 1, moved)
        else:
            value = log_likelihood(design, values, held, moved)
        value = value.reshape(-1, len(grid)) + stats.norm.logpdf(grid)
        total += special.logsumexp(value, axis=1) + np.log(grid[1] - grid[0])
    return total


def values_of(named):
    return np.concatenate([np.zeros(0), *(np.ravel(v) for v in named.values())])


def test_the_density_is_that_of_a_fine_sum_times_the_priors(settled):
    """Effects by sums over ±7 sd, priors by `log_prior` and the Jacobian of the coordinates by hand."""
    model, marginal, points = settled
    design, sums = marginal.design, []
    points = points if marginal.S < 3 else points[:1]
    for x in points:
        beta, named, lam, effects = at(marginal, x)
        eta = (design.X @ beta + design.offset)[:, None]
        value = log_units(marginal, lam, values_of(named), np.arange(design.n), 0, eta)[0]
        sums.append(value + prior_of(model, marginal, beta, named, effects, x))
    # the rule's tolerance is 0.005 in all, twice that where there are several effects
    np.testing.assert_allclose(marginal.log_densities(points), sums, atol=0.02 if marginal.S > 1 else 0.01)


def prior_of(model, marginal, beta, named, effects, x):
    """Log prior of the parameters in the coordinates x."""
    from bayeslmm.results.contract import as_tree
    from bayeslmm.results.contract import named as under_names

    design = marginal.design
    variables = under_names(
        design,
        beta=beta[None, None],
        parameters={name: value[None] for name, value in named.items()},
        sds=[each.sds[None] for each in effects],
        correlations=[each.correlations[None] for each in effects],
        effects=[0.0 * each.effects[None] for each in effects],
    )
    tree = as_tree(design, variables, {}, of_posterior={}, of_statistics={})
    priors = log_prior(design, model.priors, tree.posterior)
    kept = [v for v in priors.data_vars if v not in design.names.effects]
    total = sum(float(priors[v].sum()) for v in kept)
    total += x[marginal.space.sd_at].sum() + np.log(marginal.rows.softness).sum() + np.log(marginal.rows.unit).sum()
    if marginal.space.correlation_at.any():  # one of two effects: y = atanh ρ, times h
        (ratios,) = [np.expm1(x[marginal.space.sd_at][:2])]
        h = np.sqrt(1.0 + marginal.rows.partial_gain[0] * np.prod(ratios**2 / (1.0 + ratios**2)))
        total += np.log1p(-(np.tanh(x[marginal.space.correlation_at][0] / h) ** 2)) - np.log(h)
    steps = x[marginal.d - marginal.r :]
    return total + (steps[1:].sum() if design.family.has_categories else steps.sum())


def test_effects_given_the_rest_have_their_distribution(settled):
    """Of two outermost units, draws at one point against the distribution function by the trapezoidal rule."""
    _, marginal, points = settled
    if marginal.S > 2:
        pytest.skip("the grid of three effects takes too long here; the density of its draws is tried above")
    N = 3_000 if marginal.S > 1 else 10_000
    walk = marginal.walk(
        points[:1].repeat(N + 1, 0), np.zeros(N + 1), np.full(N, -np.inf), marginal.noise(np.random.default_rng(3), N)
    )
    design, (beta, named, lam, _) = marginal.design, at(marginal, points[0])
    eta, values = design.X @ beta + design.offset, values_of(named)
    u = np.linspace(-7.0, 7.0, 1401 if marginal.S == 1 else 281)
    Z = np.column_stack([bar.Z for bar in marginal.bars])
    for j, level in enumerate(marginal.tree.levels[0][:2]):
        rows = np.flatnonzero(marginal.bars[0].codes == level)
        moved = eta[rows][:, None] + (Z[rows] @ lam[:, 0])[:, None] * u
        log_integral = log_likelihood if marginal.S == 1 else _of_inner(marginal, lam)
        inside = log_integral(design, values, rows, moved)
        density = np.exp(inside - inside.max() + stats.norm.logpdf(u))
        cdf = integrate.cumulative_trapezoid(density, u, initial=0.0)
        # one in 100,000 right samples is farther away; the noise is the same in all cases
        assert stats.kstest(walk.u[:, j], lambda v, cdf=cdf: np.interp(v, u, cdf / cdf[-1])).pvalue > 1e-5


def _of_inner(marginal, lam):
    def log_integral(design, values, rows, eta):
        return np.concatenate([log_units(marginal, lam, values, rows, 1, e) for e in np.array_split(eta, 20, axis=1)])

    return log_integral


def test_inner_effects_are_drawn_given_outer_ones():
    """Means and products of both effects of a level, by a grid of both."""
    marginal = marginal_of(model_of("poisson, slopes"))
    near = marginal.settle(marginal.log_densities, np.random.default_rng(1))
    x, N = near.means[:1], 4_000
    walk = marginal.walk(
        x.repeat(N + 1, 0), np.zeros(N + 1), np.full(N, -np.inf), marginal.noise(np.random.default_rng(3), N)
    )
    design, (beta, named, lam, _) = marginal.design, at(marginal, x[0])
    eta, (bar,) = design.X @ beta + design.offset, marginal.bars
    first, second = (v.reshape(-1) for v in np.meshgrid(GRIDS[2], GRIDS[2], indexing="ij"))
    for j, level in enumerate(marginal.tree.levels[0][:3]):
        rows = np.flatnonzero(bar.codes == level)
        moved = eta[rows][:, None] + (bar.Z[rows] @ lam) @ np.stack([first, second])
        log_density = log_likelihood(design, values_of(named), rows, moved) - (first**2 + second**2) / 2.0
        weights = special.softmax(log_density)
        u, v = walk.u[:, marginal.tree.begin[0] + j], walk.u[:, marginal.tree.begin[1] + j]
        for drawn, expected in ((v, second), (v * v, second**2), (u * v, first * second)):
            # 4.5 standard errors: 1 in 150,000 each
            assert abs(drawn.mean() - weights @ expected) < 4.5 * drawn.std() / np.sqrt(N)


def test_rows_that_are_alike_are_one():
    """Sixteen rows a level with two predictor values and two responses: at most four remain, the density stays."""
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(10), 16), np.tile([0.0, 1.0], 80)
    table = pd.DataFrame({"g": [f"g{k}" for k in g], "x": x, "y": rng.integers(0, 2, 160)})
    marginal = marginal_of(blm.Model("y ~ x + (1 | g)", table, family="bernoulli"))
    apart = marginal_of(
        blm.Model("y ~ x + (1 | g)", table, family="bernoulli", offset=pd.Series(1e-13 * np.arange(160)))
    )
    assert len(marginal.rows.y) <= 40 and marginal.rows.times.sum() == 160 == len(apart.rows.y)
    at_start = [m.log_densities(m.start[None])[0] for m in (marginal, apart)]
    np.testing.assert_allclose(*at_start, rtol=1e-9)


def test_cores_and_neighbours_change_no_number():
    model = model_of("binomial")
    marginal = marginal_of(model)
    near = marginal.settle(marginal.log_densities, np.random.default_rng(1))
    x = near.draw(np.random.default_rng(2), 40)
    with Team(2) as team:
        both = team.densities(marginal)(x)
    alone = np.concatenate([marginal.log_densities(row[None]) for row in x[::-1]])[::-1]
    np.testing.assert_array_equal(both, alone)
    fits = [model.fit(random_seed=4, draws=80, chains=2, cores=cores, progressbar=False) for cores in (1, 2)]
    for name in ("beta", "sd_g", "b_g"):
        np.testing.assert_array_equal(fits[0].draws(name), fits[1].draws(name))


@pytest.mark.parametrize(
    ("words", "formula", "options"),
    [
        ("not concave", "time ~ x + (1 | g)", {"family": "inverse_gaussian"}),
        ("not concave", "binary ~ x + (1 | g)", {"family": "bernoulli", "link": "cauchit"}),
        ("crossed", "count ~ x + (1 | g) + (1 | h)", {"family": "poisson"}),
        ("4 effects a row", "count ~ x + (x + o | g) + (1 | i)", {"family": "poisson"}),
    ],
)
def test_what_has_other_effects_is_said(words, formula, options):
    table = agreement_families.simulated()
    assert words in why_not(blm.Model(formula, table, **options).design)
