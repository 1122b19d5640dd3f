"""The kernel against its dense twins on random designs."""

from __future__ import annotations

import numpy as np
import plain
import pytest
from hypothesis import given
from strategies import examples, problems, problems_with_theta

from bayeslmm.engine import pls
from bayeslmm.engine.criterion import Criterion
from bayeslmm.engine.crossproducts import accumulate
from bayeslmm.engine.layout import arrange


def _criterion(problem, templates, *, reml):
    cross = accumulate(
        problem.X, problem.y, problem.codes, problem.Z, levels=problem.levels, weights=problem.weights
    )
    return Criterion(arrange(cross), templates, reml=reml)


@given(problems_with_theta())
@examples(150)
def test_criterion_equals_the_dense_formula(case):
    problem, templates, theta = case
    for reml in (True, False):
        criterion = _criterion(problem, templates, reml=reml)
        expected = plain.criterion(problem, criterion.lams(theta), reml=reml)
        # V is inverted explicitly in the twin: condition numbers to about 1e4 cost it four digits
        assert criterion(theta)[0] == pytest.approx(expected, rel=1e-9, abs=1e-8)


@given(problems_with_theta())
@examples(80)
def test_gradient_equals_finite_differences(case):
    problem, templates, theta = case
    for reml in (True, False):
        criterion = _criterion(problem, templates, reml=reml)
        _, gradient = criterion(theta)
        for i in range(len(theta)):
            h = 1e-5
            step = np.eye(len(theta))[i] * h
            numeric = (criterion(theta + step)[0] - criterion(theta - step)[0]) / (2 * h)
            # central differences: truncation h² f''' and rounding 1e-13 |f| / h, both below 1e-5 here
            assert gradient[i] == pytest.approx(numeric, rel=1e-5, abs=2e-5)


@given(problems_with_theta())
@examples(60)
def test_modes_and_their_covariances_equal_the_dense_formulas(case):
    problem, templates, theta = case
    criterion = _criterion(problem, templates, reml=True)
    lams = criterion.lams(theta)
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    beta, sigma, _, modes, conditional = plain.estimates(problem, lams, reml=True)
    np.testing.assert_allclose(solution.beta, beta, rtol=1e-8, atol=1e-9)
    u, V = pls.spherical_modes(reduced, solution.beta), pls.inverse(reduced)
    start = 0
    for k, (lam, J) in enumerate(zip(lams, problem.levels, strict=True)):
        q = lam.shape[0]
        np.testing.assert_allclose((u[k] @ lam.T).reshape(-1), modes[start : start + J * q], atol=1e-8)
        for j in range(J):
            here = slice(start + j * q, start + (j + 1) * q)
            expected = conditional[here, here]
            np.testing.assert_allclose(sigma**2 * lam @ V.diagonal[k][j] @ lam.T, expected, atol=1e-8)
        start += J * q


@given(problems())
@examples(40)
def test_cross_products_of_chunks_add_up(problem):
    def part(rows):
        return accumulate(
            problem.X[rows],
            problem.y[rows],
            [c[rows] for c in problem.codes],
            [z[rows] for z in problem.Z],
            levels=problem.levels,
            weights=None if problem.weights is None else problem.weights[rows],
        )

    whole, added = part(slice(None)), part(slice(0, 13)) + part(slice(13, None))
    np.testing.assert_allclose(added.XytXy, whole.XytXy, atol=1e-12)
    for key, block in whole.pairs.items():
        np.testing.assert_array_equal(added.pairs[key].keys, block.keys)
        np.testing.assert_allclose(added.pairs[key].values, block.values, atol=1e-12)
    for a, b in zip(added.ZtZ + added.ZtXy, whole.ZtZ + whole.ZtXy, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert (added.n, added.sum_log_weights) == (whole.n, pytest.approx(whole.sum_log_weights))


def test_cross_products_of_different_designs_do_not_add():
    y, codes, Z = np.arange(4.0), [np.array([0, 0, 1, 1])], [np.ones((4, 1))]
    one = accumulate(np.ones((4, 1)), y, codes, Z, levels=(2,))
    other = accumulate(np.ones((4, 2)), y, codes, Z, levels=(2,))
    with pytest.raises(ValueError, match="different designs"):
        one + other
