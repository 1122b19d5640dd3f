"""Priors of the correlations of residuals: draws, densities of coordinates, and densities of what users know."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from bayeslmm.residual_structures import CORRELATIONS, Blocks

ETA = 1.7
CODES = np.repeat(np.arange(9), 4)
POSITIONS = np.tile([0.0, 1.0, 2.0, 5.0], 9)
STEPS = Blocks.of(CODES, POSITIONS)
VISITS = Blocks.of(CODES, np.tile([0.0, 1.0, 2.0, 3.0], 9), levels=4)
ARMS = Blocks.of(CODES, np.tile([0.0, 1.0, 2.0, 3.0], 9) + 4.0 * (CODES % 2), levels=8)  # visits of two arms never meet


def case(name, blocks=None):
    blocks = (VISITS if name == "us" else STEPS) if blocks is None else blocks
    return CORRELATIONS[name]().on(blocks), blocks


@pytest.mark.parametrize("name", ["ar1", "car1", "cs"])
def test_the_density_of_a_single_coordinate_is_one_and_is_that_of_the_draws(name):
    structure, blocks = case(name)

    def density(y):
        return np.exp(structure.log_prior(np.array([y]), ETA, blocks))

    whole = quad(density, -40.0, 40.0, limit=400, points=[-2.0, 0.0, 2.0])[0]
    np.testing.assert_allclose(whole, 1.0, rtol=1e-6)  # of the quadrature
    drawn = structure.drawn(np.random.default_rng(1), 400, ETA, blocks)
    below = [
        quad(density, -40.0, structure.coordinates(rho, blocks)[0], limit=400, points=[-2.0, 0.0])[0] for rho in drawn
    ]
    assert stats.kstest(below, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("blocks", [VISITS, ARMS], ids=["one set", "two sets"])
def test_correlations_of_positions_are_lkj(blocks):
    structure, _ = case("us", blocks)
    drawn = structure.drawn(np.random.default_rng(2), 4000, ETA, blocks)
    shape = ETA + (4 - 2) / 2.0  # of each correlation of an LKJ matrix of four
    for rho in drawn.T:
        assert stats.kstest((rho + 1.0) / 2.0, stats.beta(shape, shape).cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("name", "blocks"), [("ar1", STEPS), ("car1", STEPS), ("cs", STEPS), ("us", VISITS), ("us", ARMS)]
)
def test_the_density_of_coordinates_is_that_of_the_correlations_times_the_jacobian(name, blocks):
    structure, _ = case(name, blocks)
    rng, rest = np.random.default_rng(3), []
    r = structure.count(blocks)
    for _ in range(6):
        y = rng.normal(0.0, 0.7, r)
        np.testing.assert_allclose(structure.coordinates(structure.at(y, blocks), blocks), y, atol=1e-9)
        h = 1e-6 * np.eye(r)
        J = np.array([(structure.at(y + e, blocks) - structure.at(y - e, blocks)) / 2e-6 for e in h])
        of_rho = structure.log_density(structure.at(y, blocks), ETA, blocks)
        if name == "car1":  # whose prior is that of the correlation over a typical gap, u = rho
            assert structure.prior_in_words(blocks).startswith("correlation over a typical gap (1)")
        rest.append(structure.log_prior(y, ETA, blocks) - of_rho - np.linalg.slogdet(J)[1])
    np.testing.assert_allclose(rest, rest[0], atol=1e-6)  # what is left is a constant; of differences


@pytest.mark.parametrize(("name", "blocks"), [("ar1", STEPS), ("cs", STEPS), ("us", ARMS)])
def test_densities_in_sequence_add_up_to_the_joint_one(name, blocks):
    structure, _ = case(name, blocks)
    rho = structure.at(np.full(structure.count(blocks), 0.4), blocks)
    z = np.random.default_rng(4).normal(size=(len(CODES), 1))
    white, sds = structure.in_sequence(rho, blocks, z)
    total = stats.norm.logpdf(white).sum() - np.log(sds).sum()
    expected = 0.0
    for first, last in zip(blocks.starts[:-1], blocks.starts[1:], strict=True):
        R = structure.matrix(rho, blocks.positions[first:last])
        expected += stats.multivariate_normal(cov=R).logpdf(z[first:last, 0])
    np.testing.assert_allclose(total, expected, rtol=1e-12)
