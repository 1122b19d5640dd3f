"""The marginal of other families with one scalar effect a level: density, effects given the rest, cores."""

from __future__ import annotations

import agreement_families
import numpy as np
import pytest
from scipy import integrate, stats

import bayeslmm as blm
from bayeslmm.engine.one_factor import OneFactor, why_not
from bayeslmm.engine.pql import rough_fit
from bayeslmm.engine.sampler import Team
from bayeslmm.results.log_density import log_prior

CASES = ("bernoulli cloglog", "binomial", "poisson, offset", "negbinomial", "gamma", "ordinal probit")


def model_of(name):
    formula, table, options = agreement_families.structures()[name]
    return blm.Model(formula, table, **options)


@pytest.fixture(scope="module", params=CASES)
def settled(request):
    """A model, its marginal with nodes around the mode, and points of the posterior."""
    model = model_of(request.param)
    marginal = OneFactor(model.design, model.priors, rough_fit(model.design))
    near = marginal.settle(marginal.log_densities, np.random.default_rng(1))
    return model, marginal, np.abs(near.draw(np.random.default_rng(2), 3)) * np.sign(near.means)


def log_integrands(model, marginal, x, j, u):
    """log p(y_j | u) φ(u) at many u, from the family's own log densities of rows."""
    from bayeslmm.families.densities import each_row, numbers

    design = model.design
    beta, named = marginal.outwards(
        x[None], marginal.walk(x[None].repeat(2, 0), np.zeros(2), np.full(1, -np.inf), np.ones(1, np.uint64)).parameters
    )
    values = np.concatenate([np.zeros(0), *(np.ravel(v) for v in named.values())])
    rows = np.flatnonzero(design.groups[0].codes == j)
    eta = design.X[rows] @ beta[0] + design.offset[rows]
    z, ones, out = design.groups[0].Z[rows, 0], np.ones(len(rows)), np.empty(len(rows))
    trials = ones if design.trials is None else design.trials[rows]
    y = np.ascontiguousarray(design.working_response[rows])
    total = np.empty(len(u))
    for i, each in enumerate(u):
        each_row(
            *numbers(design.family),
            design.family.normaliser_takes_y,
            y,
            trials,
            ones,
            eta + marginal.sd_of(x) * z * each,
            values,
            out,
        )
        total[i] = out.sum() + design.density_constants[rows].sum()
    return total + stats.norm.logpdf(u)


def test_the_density_is_that_of_a_fine_sum_times_the_priors(settled):
    """Levels by Simpson's rule over ±8 sd, priors by `log_prior` and the Jacobian of the coordinates by hand."""
    model, marginal, x = settled
    u, found = np.linspace(-8.0, 8.0, 1601), []
    for point in x:
        levels = [log_integrands(model, marginal, point, j, u) for j in range(marginal.J)]
        likelihood = sum(np.log(integrate.simpson(np.exp(v - v.max()), x=u)) + v.max() for v in levels)
        beta, named = marginal.outwards(
            point[None, None],
            marginal.walk(point[None].repeat(2, 0), np.zeros(2), np.full(1, -np.inf), np.ones(1, np.uint64)).parameters[
                None
            ],
        )
        found.append(likelihood + prior_of(model, marginal, beta, named, point))
    # the rule's tolerance is 0.005 in all
    np.testing.assert_allclose(marginal.log_densities(x), found, atol=0.01)


def prior_of(model, marginal, beta, named, x):
    """Log prior of the parameters in the coordinates x."""
    from bayeslmm.results.contract import as_tree
    from bayeslmm.results.contract import named as under_names

    design = model.design
    variables = under_names(
        design,
        beta=beta,
        parameters=named,
        sds=[marginal.sd_of(x)[None, None, None]],
        correlations=[np.ones((1, 1, 1, 1))],
        effects=[np.zeros((1, 1, marginal.J, 1))],
    )
    tree = as_tree(design, variables, {}, of_posterior={}, of_statistics={})
    priors = log_prior(design, model.priors, tree.posterior)
    kept = [v for v in priors.data_vars if v not in design.names.effects]
    total = sum(float(priors[v].sum()) for v in kept)
    total += x[marginal.p] + np.log(marginal.rows.softness) + np.log(marginal.rows.unit).sum()
    steps = x[marginal.p + 1 :]
    return total + (steps[1:].sum() if design.family.has_categories else steps.sum())


def test_effects_given_the_rest_have_their_distribution(settled):
    """Of the first two levels, draws at one point against the distribution function by the trapezoidal rule."""
    model, marginal, x = settled
    N = 10_000
    walk = marginal.walk(
        x[:1].repeat(N + 1, 0), np.zeros(N + 1), np.full(N, -np.inf), marginal.noise(np.random.default_rng(3), N)
    )
    u = np.linspace(-8.0, 8.0, 3201)
    for j in range(2):
        density = np.exp(log_integrands(model, marginal, x[0], j, u))
        cdf = integrate.cumulative_trapezoid(density, u, initial=0.0)
        drawn = walk.effects[:, j] / marginal.sd_of(x[0])
        # one in 100,000 right samples is farther away; the noise is the same in all cases
        assert stats.kstest(drawn, lambda v, cdf=cdf: np.interp(v, u, cdf / cdf[-1])).pvalue > 1e-5


def test_cores_and_neighbours_change_no_number():
    model = model_of("binomial")
    marginal = OneFactor(model.design, model.priors, rough_fit(model.design))
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
        ("one grouping factor", "count ~ x + (1 | g) + (1 | i)", {"family": "poisson"}),
        ("2 effects a level", "count ~ x + (x | g)", {"family": "poisson"}),
    ],
)
def test_what_has_other_effects_is_said(words, formula, options):
    table = agreement_families.simulated()
    assert words in why_not(blm.Model(formula, table, **options).design)
