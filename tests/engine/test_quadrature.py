"""Random effects integrated out by quadrature: closed forms, fine grids, and lme4's adaptive quadrature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import FAMILIES
from scipy import stats
from scipy.special import logsumexp
from shifted import fixed_rng
from strategies import problems

from bayeslmm.datasets import load_dataset
from bayeslmm.design.build import build_design
from bayeslmm.engine import quadrature
from bayeslmm.engine.loo import Hyperdraws, leave_one_group_out
from bayeslmm.engine.quadrature import Effects, Integrand, integrate, leave_rows_out, root
from bayeslmm.families import family_of
from bayeslmm.families.densities import each_row, numbers

GRID = np.linspace(-9.0, 9.0, 1201)  # in prior sds; the trapezoidal rule is exact to rounding for smooth densities
LINKS = [(name, link) for name, kind in FAMILIES.items() for link in kind.links]
PARAMETERS = {
    "gaussian": [0.7],
    "student_t": [0.7, 4.0],
    "lognormal": [0.7],
    "bernoulli": [],
    "binomial": [],
    "poisson": [],
    "negbinomial": [3.0],
    "gamma": [3.0],
    "beta": [12.0],
    "ordinal": [-1.0, 0.2, 1.5],
}
# linear predictors around which every link gives means that the family can have
CENTRE = {"inverse": 2.0, "sqrt": 2.0, "identity": 3.0, "log": 0.4}


def design_of(family, link=None, *, right="1 + (1 | g)", sizes=(1, 2, 3, 5, 9, 20), seed=1, spread=0.5):
    """Responses of unequal groups whose intercepts differ by ``spread``."""
    # under t noise some groups have two modes, which the rule does not resolve (docs/limitations.md): here none has
    rng = fixed_rng(seed)
    family = family_of(family, link)
    g = np.repeat(np.arange(len(sizes)), sizes)
    data = pd.DataFrame(
        {"g": g, "c": np.arange(len(g)) // 2, "x": rng.normal(size=len(g)), "m": rng.integers(1, 9, len(g))}
    )
    eta = centre(family) + spread * rng.normal(size=len(sizes))[g]
    p = PARAMETERS[family.name]
    mean = eta if family.name == "ordinal" else family.mean(eta)
    data["y"] = {
        "gaussian": lambda: rng.normal(mean, p[0]),
        "student_t": lambda: mean + p[0] * rng.standard_t(p[1], len(g)),
        "lognormal": lambda: np.exp(rng.normal(mean, p[0])),
        "bernoulli": lambda: rng.binomial(1, mean),
        "binomial": lambda: rng.binomial(data["m"], mean),
        "poisson": lambda: rng.poisson(mean),
        "negbinomial": lambda: rng.negative_binomial(p[0], p[0] / (p[0] + mean)),
        "gamma": lambda: rng.gamma(p[0], mean / p[0]),
        "beta": lambda: rng.beta(mean * p[0], (1 - mean) * p[0]).clip(1e-6, 1 - 1e-6),
        "ordinal": lambda: (rng.logistic(size=len(g))[:, None] + eta[:, None] > p).sum(axis=1),
    }[family.name]()
    left = "p(y, m)" if family.name == "binomial" else "y"
    return build_design(f"{left} ~ {right}", data, family=family)


def centre(family):
    return 0.0 if family.name == "ordinal" else CENTRE.get(family.link, -0.3)


def integrand_of(design, covariances, *, nested=None, S=3, seed=2):
    """Some draws: the linear predictor and its parameters jitter."""
    rng = fixed_rng(seed)
    eta = centre(design.family) + 0.1 * rng.normal(size=(S, 1)) + np.zeros((S, design.n))
    parameters = np.tile(np.array(PARAMETERS[design.family.name], dtype=float), (S, 1))
    parameters = parameters * np.exp(0.05 * rng.normal(size=(S, 1)))
    both = []
    for group, covariance in zip(design.groups, covariances, strict=True):
        factors = np.exp(0.1 * rng.normal(size=S))[:, None, None] * np.asarray(covariance, dtype=float)
        both.append(Effects(codes=group.codes, Z=group.Z, roots=root(factors)))
    return Integrand(
        design=design, eta=eta, parameters=parameters, effects=both[0], nested=both[1] if len(both) > 1 else None
    )


def densities(integrand, s, shift):
    """Log densities of all rows (..., n) with the linear predictor shifted by (..., n)."""
    design = integrand.design
    kind, link = numbers(design.family)
    ones = np.ones(design.n)
    trials = ones if design.trials is None else design.trials
    weights = ones if design.weights is None else design.weights
    out = np.empty(shift.shape)
    for at in np.ndindex(shift.shape[:-1]):
        each_row(
            kind,
            link,
            design.family.normaliser_takes_y,
            design.working_response,
            trials,
            weights,
            integrand.eta[s] + shift[at],
            integrand.parameters[s],
            out[at],
        )
    return out + design.density_constants


def on_grid(integrand, s):
    """Log densities of rows at every point of the grid (points, n), and the log weights of the points."""
    effects = integrand.effects
    q = effects.Z.shape[1]
    points = GRID if q == 1 else np.linspace(-8.0, 8.0, 161)
    u = np.stack(np.meshgrid(*[points] * q, indexing="ij"), axis=-1).reshape(-1, q)
    log_weight = stats.norm.logpdf(u).sum(axis=1) + q * np.log(points[1] - points[0])
    return densities(integrand, s, u @ (effects.Z @ effects.roots[s]).T), log_weight


def of_groups(integrand, s):
    """log p(y_j) by the fine grid (J,)."""
    each, log_weight = on_grid(integrand, s)
    codes = integrand.effects.codes
    return np.array([logsumexp(each[:, codes == j].sum(axis=1) + log_weight) for j in range(codes.max() + 1)])


def of_rows(integrand, s):
    """log p(y_i | the others of its group) by the fine grid (n,)."""
    each, log_weight = on_grid(integrand, s)
    codes = integrand.effects.codes
    found = np.empty(len(codes))
    for i, j in enumerate(codes):
        own = codes == j
        others = own & (np.arange(len(codes)) != i)
        found[i] = logsumexp(each[:, own].sum(axis=1) + log_weight)
        found[i] -= logsumexp(each[:, others].sum(axis=1) + log_weight)
    return found


@pytest.mark.parametrize(("family", "link"), LINKS)
def test_groups_and_rows_of_every_family_against_a_fine_grid(family, link):
    integrand = integrand_of(design_of(family, link), [[[0.25]]])
    groups = integrate(integrand)
    rows, error = leave_rows_out(integrand)
    assert max(groups.error, error) < quadrature.TOLERANCE
    for s in range(3):
        # the rule was refined until it changed by less than the tolerance
        np.testing.assert_allclose(groups.log_density[s], of_groups(integrand, s), atol=2 * quadrature.TOLERANCE)
        np.testing.assert_allclose(rows.without[s], of_rows(integrand, s), atol=4 * quadrature.TOLERANCE)


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "student_t", "ordinal"])
@pytest.mark.parametrize("correlation", [-0.5, 1.0])
def test_two_effects_a_level_against_a_fine_grid(family, correlation):
    design = design_of(family, right="1 + (x | g)", sizes=(1, 4, 12))
    covariance = [[0.3, correlation * 0.3], [correlation * 0.3, 0.3]]  # singular where the correlation is one
    integrand = integrand_of(design, [covariance], S=1)
    found, (rows, error) = integrate(integrand), leave_rows_out(integrand)
    assert max(found.error, error) < quadrature.TOLERANCE
    np.testing.assert_allclose(found.log_density[0], of_groups(integrand, 0), atol=2 * quadrature.TOLERANCE)
    np.testing.assert_allclose(rows.without[0], of_rows(integrand, 0), atol=4 * quadrature.TOLERANCE)


@pytest.mark.parametrize("family", ["bernoulli", "negbinomial", "gamma"])
def test_nested_effects_against_a_grid_in_a_grid(family):
    design = design_of(family, right="1 + (1 | g) + (1 | c)", sizes=(2, 4, 10))
    integrand = integrand_of(design, [[[0.3]], [[0.5]]], nested=True, S=2)
    found = integrate(integrand)
    assert found.error < quadrature.TOLERANCE
    points = np.linspace(-8.0, 8.0, 201)
    log_weight = stats.norm.logpdf(points) + np.log(points[1] - points[0])
    effects, nested = integrand.effects, integrand.nested
    for s in range(2):
        shift = (effects.roots[s, 0, 0] * points)[:, None, None] + (nested.roots[s, 0, 0] * points)[:, None]
        each = densities(integrand, s, shift + np.zeros(design.n))  # (points of g, points of c, n)
        for j in range(3):
            own = np.unique(nested.codes[effects.codes == j])
            inner = [logsumexp(each[:, :, nested.codes == c].sum(axis=2) + log_weight, axis=1) for c in own]
            expected = logsumexp(np.sum(inner, axis=0) + log_weight)
            assert found.log_density[s, j] == pytest.approx(expected, abs=2 * quadrature.TOLERANCE)


@settings(max_examples=40, deadline=None)
@given(problem=problems(max_factors=1), seed=st.integers(0, 2**32 - 1))
def test_a_normal_response_is_the_closed_form(problem, seed):
    rng = np.random.default_rng(seed)
    q, p = problem.Z[0].shape[1], problem.X.shape[1]
    A = rng.normal(size=(2, q, q))
    covariance = A @ A.swapaxes(1, 2)
    draws = Hyperdraws(
        sigma=rng.uniform(0.3, 2.0, 2), covariances=(covariance,), beta=rng.normal(size=(2, p)), prior=None
    )
    whole = replace(problem, blocks=(((0, 1, 2)[:q],),))
    expected = leave_one_group_out(whole, draws, 0).within
    found = integrate(normal(problem, draws))
    assert found.nodes == 1
    # curvatures are differences with steps of 1e-4, of derivatives that are linear here
    np.testing.assert_allclose(found.log_density, expected, atol=1e-6, rtol=1e-7)


def normal(problem, draws):
    """The same as an integrand."""
    design = design_of("gaussian", sizes=(len(problem.y) - 2, 2))
    design = replace(design, y=problem.y, weights=problem.weights)
    return Integrand(
        design=design,
        eta=draws.beta @ problem.X.T,
        parameters=draws.sigma[:, None],
        effects=Effects(codes=problem.codes[0], Z=problem.Z[0], roots=root(draws.covariances[0])),
    )


def test_rows_of_a_normal_response_are_the_closed_form():
    rng = np.random.default_rng(3)
    design = design_of("gaussian")
    integrand = integrand_of(design, [[[0.4]]])
    rows, _ = leave_rows_out(integrand)
    codes = integrand.effects.codes
    for s in range(3):
        sigma, variance = integrand.parameters[s, 0], integrand.effects.roots[s, 0, 0] ** 2
        residual = design.y - integrand.eta[s]
        for i in rng.choice(design.n, 12, replace=False):
            others = (codes == codes[i]) & (np.arange(design.n) != i)
            precision = 1.0 / variance + others.sum() / sigma**2
            mean = residual[others].sum() / sigma**2 / precision
            expected = stats.norm.logpdf(residual[i], mean, np.sqrt(1.0 / precision + sigma**2))
            again = stats.norm.logpdf(
                residual[i],
                (mean * precision + residual[i] / sigma**2) / (precision + sigma**-2),
                np.sqrt(1.0 / (precision + sigma**-2) + sigma**2),
            )
            assert rows.without[s, i] == pytest.approx(expected, abs=4 * quadrature.TOLERANCE)
            assert rows.within[s, i] == pytest.approx(again, abs=4 * quadrature.TOLERANCE)


def test_a_row_that_is_all_there_is_of_its_group_is_predicted_by_the_population():
    design = replace(design_of("poisson", sizes=(1, 1)), y=np.array([0.0, 30.0]))  # one of them far out
    integrand = integrand_of(design, [[[0.25]]])
    rows, _ = leave_rows_out(integrand)
    groups = integrate(integrand)
    np.testing.assert_allclose(rows.without, groups.log_density, atol=1e-9)
    np.testing.assert_allclose(rows.without[0], of_groups(integrand, 0), atol=2 * quadrature.TOLERANCE)


def test_lme4s_adaptive_quadrature(monkeypatch):
    """lme4 1.1-31, glmer(..., nAGQ = 25) of cbpp, whose log likelihood is relative to that of the saturated model."""
    design = build_design(
        "p(incidence, size) ~ period + (1 | herd)", load_dataset("cbpp"), family=family_of("binomial")
    )
    beta = np.array([-1.39923042954689, -0.991403669582319, -1.12781945055975, -1.57947069438882])
    sd, loglik = 0.64751847862358, -50.005015268375
    saturated = stats.binom.logpmf(design.y, design.trials, design.y / design.trials).sum()
    group = design.groups[0]
    monkeypatch.setattr(quadrature, "RULES", (25, 45))

    def total(shift, factor):
        effects = Effects(codes=group.codes, Z=group.Z, roots=np.full((1, 1, 1), factor * sd))
        eta = (design.X @ (beta + shift))[None]
        found = integrate(Integrand(design=design, eta=eta, parameters=np.zeros((1, 0)), effects=effects))
        return float(found.log_density.sum()) - saturated

    assert total(0.0, 1.0) == pytest.approx(loglik, abs=1e-8)
    for shift, factor in [(0.02, 1.0), (-0.02, 1.0), (0.0, 1.03), (0.0, 0.97)]:
        assert total(shift, factor) < loglik  # they are maximum likelihood estimates


def test_threads_change_nothing():
    integrand = integrand_of(design_of("bernoulli"), [[[0.4]]], S=40)
    # Newton's method starts from the draw before, and stops when it promises less than 1e-9
    np.testing.assert_allclose(
        integrate(integrand, cores=3).log_density, integrate(integrand, cores=1).log_density, atol=1e-8
    )


@pytest.mark.parametrize(("apart", "enough"), [(2.0, True), (5.0, False)])
def test_an_error_that_no_rule_mends_is_told(apart, enough):
    # two responses apart under t noise: from some distance on the effect has two modes, and the nodes sit around one
    design = design_of("student_t", sizes=(2, 2))
    design = replace(design, y=np.array([3.0 - apart, 3.0 + apart, 3.0, 3.1]))
    integrand = integrand_of(design, [[[25.0]]], S=1)
    found = integrate(integrand)
    assert (found.error < quadrature.TOLERANCE) == enough
    off = np.abs(found.log_density[0] - of_groups(integrand, 0)).max()
    assert (off < 2 * quadrature.TOLERANCE) == enough


def test_means_that_a_family_cannot_have_have_no_density():
    design = design_of("gamma", "identity", sizes=(1, 3))
    integrand = integrand_of(design, [[[4.0]]], S=1)  # a third of the intercepts are negative
    found, (rows, _) = integrate(integrand), leave_rows_out(integrand)
    assert np.isfinite(found.log_density).all() and np.isfinite(rows.without).all()
    # the density jumps to zero inside the range of the nodes, where no rule is exact
    np.testing.assert_allclose(found.log_density[0], of_groups(integrand, 0), atol=0.1)


def test_a_start_far_out_in_the_tails_of_t_noise_finds_the_mode():
    # every search starts from the mode of the draw before, which under another scale of the effects is somewhere else,
    # where the density is not concave
    rng, S = np.random.default_rng(5), 150
    design = design_of("student_t", sizes=(10, 12))
    integrand = integrand_of(replace(design, y=design.y - 12.0), [[[100.0]]], S=S)
    parameters = np.column_stack([rng.uniform(2.0, 4.0, S), rng.uniform(1.5, 6.0, S)])
    roots = rng.uniform(6.0, 16.0, (S, 1, 1))
    integrand = replace(integrand, parameters=parameters, effects=replace(integrand.effects, roots=roots))
    found = integrate(integrand).log_density
    expected = np.stack([of_groups(integrand, s) for s in range(S)])
    np.testing.assert_allclose(found, expected, atol=5e-3)  # the rule was chosen by some of the draws
