"""Every structure of the table by itself: factor, derivatives, prior, draws, graph, and how they contain each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from bayeslmm.covariances import STRUCTURES, loops
from bayeslmm.covariances.template import Template

EVERY = [kind(hom=hom) for kind in STRUCTURES.values() for hom in (False, True) if kind.has_hom or not hom]
NAMES = [f"{structure.name}{'-hom' * structure.hom}" for structure in EVERY]
each = pytest.mark.parametrize("structure", EVERY, ids=NAMES)
CURVED = [(s, n) for s, n in zip(EVERY, NAMES, strict=True) if s.free_entries(3) is None]
curved = pytest.mark.parametrize("structure", [s for s, _ in CURVED], ids=[n for _, n in CURVED])


def coordinates(structure, q, seed, n=1):
    return np.random.default_rng(seed).normal(size=(n, structure.n_correlations(q)))


@each
@given(q=st.integers(2, 6), seed=st.integers(0, 1000))
def test_factor_is_that_of_a_correlation_matrix_with_the_positions_of_the_coordinates(structure, q, seed):
    y = coordinates(structure, q, seed)
    L = structure.factors(y, q)[0]
    np.testing.assert_array_equal(L, np.tril(L))
    cor = L @ L.T
    np.testing.assert_allclose(np.diag(cor), 1.0, atol=1e-14)
    np.testing.assert_allclose(structure.positions(cor, range(q)), np.tanh(y[0]), atol=1e-9)
    for rows in (structure.graph_factor_of(cor, range(q)), structure.graph_factor(list(np.tanh(y[0])), q)):
        for i, row in enumerate(rows):
            np.testing.assert_allclose(np.array(row, float), L[i, : i + 1], atol=1e-9)


@each
@given(q=st.integers(2, 6), seed=st.integers(0, 1000))
def test_derivatives_are_differences(structure, q, seed):
    y = coordinates(structure, q, seed)[0]
    found = structure.slopes(y, q)
    for k in range(len(y)):
        step = np.zeros(len(y))
        step[k] = 1e-6
        up, down = structure.factors(np.array([y + step, y - step]), q)
        np.testing.assert_allclose(found[k], (up - down) / 2e-6, atol=1e-8)


@curved
@given(q=st.integers(2, 6), seed=st.integers(0, 1000))
def test_template_goes_to_numbers_and_back_with_its_derivatives(structure, q, seed):
    template = Template.from_blocks([range(q)], [structure])
    rng = np.random.default_rng(seed)
    low, high = structure.interval(q)
    theta = np.concatenate(
        [rng.uniform(0.2, 3.0, structure.n_sds(q)), rng.uniform(low, high, structure.n_correlations(q)) * 0.9]
    )
    lam = template.factor(theta)
    np.testing.assert_allclose(template.theta(lam), theta, rtol=1e-10, atol=1e-12)
    by_lam = np.tril(rng.normal(size=(q, q)))
    gradient, curvature = template.gradient(theta, by_lam), template.curvature(theta, by_lam)
    for k in range(len(theta)):
        step = np.zeros(len(theta))
        step[k] = 1e-6
        up, down = theta + step, theta - step
        slope = np.sum(by_lam * (template.factor(up) - template.factor(down))) / 2e-6
        bend = (template.gradient(up, by_lam) - template.gradient(down, by_lam)) / 2e-6
        np.testing.assert_allclose(gradient[k], slope, rtol=1e-6, atol=1e-7)
        # the slopes of L are differenced once, whose error is 1e-10 of a third derivative
        np.testing.assert_allclose(curvature[k], bend, rtol=1e-4, atol=1e-4 * np.abs(curvature).max() + 1e-8)


@curved
@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("q", [2, 3, 5])
def test_ends_of_the_interval_are_singular(structure, end, q):
    if not structure.n_correlations(q):
        return
    theta = np.array([2.0] * structure.n_sds(q) + [structure.interval(q)[end]])
    lam = Template.from_blocks([range(q)], [structure]).factor(theta)
    assert np.isfinite(lam).all()
    np.testing.assert_allclose(np.diag(lam @ lam.T), 4.0, atol=1e-12)
    assert abs(np.linalg.det(lam)) < 1e-12


@each
@pytest.mark.parametrize("eta", [0.7, 2.0])
def test_prior_of_two_effects_is_that_of_their_correlation(structure, eta):
    """LKJ(η) of two effects is a Beta(η, η) correlation, whatever the structure."""
    if not structure.n_correlations(2):
        assert structure.log_density(eta, np.eye(2)) == 0.0
        return
    rho = np.array([-0.7, 0.1, 0.6])
    cor = np.array([[[1.0, r], [r, 1.0]] for r in rho])
    expected = stats.beta.logpdf(rho, eta, eta, loc=-1.0, scale=2.0)
    np.testing.assert_allclose(structure.log_density(eta, cor), expected, atol=1e-12)


@each
@pytest.mark.parametrize("q", [3, 5])
def test_density_of_one_correlation_integrates_to_one(structure, q):
    if structure.n_correlations(q) != 1:
        return
    low, high = structure.interval(q)
    total, _ = integrate.quad(
        lambda rho: float(np.exp(structure.log_density(2.0, structure.correlation([np.array(rho)], q)))), low, high
    )
    assert total == pytest.approx(1.0, abs=1e-7)  # that of quad


@each
def test_draws_follow_the_prior(structure):
    q, eta = 4, 1.5
    L = structure.draw(eta, q, 4000, np.random.default_rng(1))
    cor = L @ np.swapaxes(L, 1, 2)
    positions = structure.positions(np.moveaxis(cor, (1, 2), (0, 1)), range(q))
    for p, excess in zip(positions, structure.excess(q), strict=True):
        shape = eta + excess
        assert stats.kstest((1.0 + p) / 2.0, stats.beta(shape, shape).cdf).pvalue > 1e-3


@each
def test_log_prior_of_a_coordinate_is_that_of_its_share(structure):
    shape, y = 1.7, np.linspace(-4.0, 4.0, 9)
    share = (1.0 + np.tanh(y)) / 2.0
    expected = stats.beta.logpdf(share, shape, shape) + np.log(2.0 * share * (1.0 - share))
    found = [loops.log_prior(shape, v)[0] + loops.prior_constant(shape) for v in y]
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_names_are_those_of_the_table():
    assert list(STRUCTURES) == ["us", "diag", "cs", "ar1"]
    assert [STRUCTURES[name].hom_by_default for name in STRUCTURES] == [False, False, False, True]


@each
@pytest.mark.parametrize("other", EVERY, ids=NAMES)
def test_a_structure_contains_another_where_every_matrix_of_it_is_one_of_its_own(structure, other):
    """By a random matrix of the other, put through the numbers of the one and back."""
    for q in (2, 3):
        rng, inside = np.random.default_rng(q), True
        for _ in range(5):
            low, high = other.interval(q)
            sds = np.full(q, rng.uniform(0.5, 2.0)) if other.hom else rng.uniform(0.5, 2.0, q)
            n = other.n_correlations(q)
            cor = other.correlation(list(rng.uniform(low, high, n) * 0.5), q)
            if other.is_free:
                L = other.draw(1.0, q, 1, rng)[0]
                cor = L @ L.T
            cov = sds[:, None] * cor * sds
            template = Template.from_blocks([range(q)], [structure])
            lam = template.factor(template.theta(np.linalg.cholesky(cov)))
            inside &= np.allclose(lam @ lam.T, cov, atol=1e-8)
        assert structure.contains(other, q) == inside
