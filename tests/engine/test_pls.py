"""The kernel against its dense twins on random designs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plain
import pytest
from hypothesis import given
from strategies import examples, problems, problems_with_theta

from bayeslmm.covariances.template import Template
from bayeslmm.engine import pls
from bayeslmm.engine.criterion import Criterion
from bayeslmm.engine.crossproducts import accumulate
from bayeslmm.engine.layout import arrange
from bayeslmm.engine.scaling import Problem


def _criterion(problem, templates, *, reml):
    cross = accumulate(problem.X, problem.y, problem.codes, problem.Z, levels=problem.levels, weights=problem.weights)
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


def _by_factor(problem, templates, stacked):
    """Split (m, columns) into (J_k, q_k, columns) per factor."""
    ends = np.cumsum([J * t.q for J, t in zip(problem.levels, templates, strict=True)])
    parts = np.split(stacked, ends[:-1])
    return [a.reshape(J, t.q, -1) for a, J, t in zip(parts, problem.levels, templates, strict=True)]


def _stacked(parts):
    return np.concatenate([np.vstack(a) for a in parts])


@given(problems_with_theta())
@examples(40)
def test_what_else_is_read_off_the_factors_equals_the_dense_formulas(case):
    problem, templates, theta = case
    criterion = _criterion(problem, templates, reml=True)
    lams = criterion.lams(theta)
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    X, y, Z, L = problem.X, problem.y, plain.dense_Z(problem), plain.dense_lambda(problem, lams)
    Vi = np.linalg.inv(plain.relative_V(problem, lams))
    W = np.diag(np.ones(len(y)) if problem.weights is None else problem.weights)
    m, p = Z.shape[1], X.shape[1]
    M_inverse = np.linalg.inv(L.T @ Z.T @ W @ Z @ L + np.eye(m))
    close = {"rtol": 1e-7, "atol": 1e-7}  # V and M are inverted explicitly, as above

    noise = _stacked(pls.spherical_noise(reduced, np.eye(m)))
    np.testing.assert_allclose(noise @ noise.T, M_inverse, **close)
    one = [u[:, :, None] for u in pls.spherical_modes(reduced, solution.beta, np.eye(m)[0])]
    none = [u[:, :, None] for u in pls.spherical_modes(reduced, solution.beta)]
    np.testing.assert_allclose(_stacked(one) - _stacked(none), noise[:, :1], **close)
    slopes = _stacked(pls.mode_slopes(reduced))
    np.testing.assert_allclose(slopes, -M_inverse @ L.T @ Z.T @ W @ X, **close)

    A = np.random.default_rng(m).normal(size=(m, 3))
    parts = _by_factor(problem, templates, A)
    half = pls.whitened(reduced, parts)
    np.testing.assert_allclose(half.T @ half, A.T @ L @ M_inverse @ L.T @ A, **close)

    places = _by_factor(problem, templates, np.arange(m)[:, None])
    order = _stacked([places[k] for k in criterion.layout.order])[:, 0]
    np.testing.assert_allclose(pls.whole_Q(reduced), (Z.T @ Vi @ X)[order], **close)
    np.testing.assert_allclose(pls.whole_K(reduced), (Z.T @ Vi @ Z)[np.ix_(order, order)], **close)
    P = Vi - Vi @ X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
    for with_X, middle in ((True, P), (False, Vi)):
        terms = pls.slopes(reduced, solution, 1.0, with_X=with_X)
        products = pls.projected_products(reduced, solution, terms, parts)
        np.testing.assert_allclose(products, A.T @ Z.T @ middle @ Z @ A, **close)

    precision = np.diag(np.arange(1.0, p + 1))
    shrunk = pls.solve(reduced, prior_precision=precision)
    A_x, d_xy = X.T @ Vi @ X + precision, X.T @ Vi @ y
    np.testing.assert_allclose(shrunk.beta, np.linalg.solve(A_x, d_xy), **close)
    np.testing.assert_allclose(shrunk.r2, y @ Vi @ y - d_xy @ np.linalg.solve(A_x, d_xy), **close)
    np.testing.assert_allclose(shrunk.log_det_A, np.linalg.slogdet(A_x)[1], **close)


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


def four_factors(rng, widths, across):
    """Four factors inside each other, or three and one across them, in a shuffled order."""
    n = 90
    pupil = rng.integers(0, 16, n)
    codes = [pupil // 8, pupil // 4, pupil // 2, rng.integers(0, 3, n) if across else pupil]
    order = rng.permutation(4)
    columns = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    return Problem(
        y=rng.normal(size=n),
        X=columns[:, :2].copy(),
        codes=tuple(codes[k] for k in order),
        Z=tuple(columns[:, : widths[k]].copy() for k in order),
        levels=tuple(codes[k].max() + 1 for k in order),
        blocks=tuple((tuple(range(widths[k])),) for k in order),
        weights=rng.uniform(0.5, 2.0, n),
    )


@pytest.mark.parametrize("across", [False, True], ids=["all nested", "one across"])
@pytest.mark.parametrize("widths", [(1, 1, 1, 1), (2, 3, 1, 2), (3, 2, 1, 1), (1, 2, 3, 2), (2, 2, 2, 2)])
def test_four_factors_equal_the_dense_formulas(widths, across):
    """A node of the chain has as many as three ancestors, at odd and even columns."""
    rng = np.random.default_rng(sum(widths))
    problem = four_factors(rng, widths, across)
    templates = [Template.from_blocks(b) for b in problem.blocks]
    criterion = _criterion(problem, templates, reml=True)
    theta = rng.normal(0.5, 0.5, len(criterion.diagonal))
    lams = criterion.lams(theta)
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    assert criterion(theta)[0] == pytest.approx(plain.criterion(problem, lams, reml=True), rel=1e-10)
    Z, L, W = plain.dense_Z(problem), plain.dense_lambda(problem, lams), np.diag(problem.weights)
    M_inverse = np.linalg.inv(L.T @ Z.T @ W @ Z @ L + np.eye(len(L)))
    SLM = Z.T @ W @ Z @ L @ M_inverse
    modes = M_inverse @ L.T @ Z.T @ W @ (problem.y - problem.X @ solution.beta)
    found, u, start = pls.inverse(reduced), pls.spherical_modes(reduced, solution.beta), 0
    for k, (template, J) in enumerate(zip(templates, problem.levels, strict=True)):
        q, here = template.q, slice(start, start + J * template.q)
        np.testing.assert_allclose(u[k].reshape(-1), modes[here], atol=1e-10)
        blocks = [M_inverse[here, here].reshape(J, q, J, q)[j, :, j] for j in range(J)]
        np.testing.assert_allclose(found.diagonal[k], blocks, atol=1e-10)
        G = np.einsum("jajb->ab", SLM[here, here].reshape(J, q, J, q))
        np.testing.assert_allclose(found.G[k], G, rtol=1e-9, atol=1e-9)
        start += J * q
    noise = _stacked(pls.spherical_noise(reduced, np.eye(len(L))))
    np.testing.assert_allclose(noise @ noise.T, M_inverse, atol=1e-10)
    half = pls.whitened(reduced, _by_factor(problem, templates, np.eye(len(L))))
    np.testing.assert_allclose(half.T @ half, L @ M_inverse @ L.T, atol=1e-10)


def test_no_sum_of_squares_is_negative_by_rounding():
    cross = accumulate(np.ones((4, 1)), np.ones(4), [np.array([0, 0, 1, 1])], [np.ones((4, 1))], levels=(2,))
    reduced = pls.reduce(arrange(cross), [np.eye(1)])
    rounded = replace(reduced, XyVXy=np.array([[1.0, 1.0], [1.0, 1.0 - 1e-15]]))
    assert pls.solve(rounded).r2 == 0.0


def test_lapack_is_not_asked_about_empty_systems(capfd):
    """It would write to the console that they are illegal: no fixed effects, and no columns but those of the chain."""
    codes, ones = [np.array([0, 0, 1, 1])], [np.ones((4, 1))]
    layout = arrange(accumulate(np.ones((4, 0)), np.arange(4.0), codes, ones, levels=(2,)))
    assert layout.m == layout.m_chain
    reduced = pls.reduce(layout, [np.ones((1, 1))])
    solution = pls.solve(reduced)
    assert (solution.beta.shape, solution.R_x.shape, solution.log_det_A) == ((0,), (0, 0), 0.0)
    # M = ZᵀZ + 1 = 3: the sums 1 and 5 shrink to thirds, the squares lose (1 + 25) / 3
    assert solution.r2 == pytest.approx(14.0 - 26.0 / 3.0, rel=1e-14)
    np.testing.assert_allclose(pls.spherical_modes(reduced, solution.beta)[0][:, 0], [1 / 3, 5 / 3])
    np.testing.assert_allclose(pls.whitened(reduced, [np.ones((2, 1, 1))])[:, 0], 3**-0.5)
    np.testing.assert_allclose(pls.inverse(reduced).diagonal[0][:, 0, 0], 1 / 3)
    pls.slopes(reduced, solution, 1.0, with_X=True)
    assert capfd.readouterr() == ("", "")


def test_cross_products_of_different_designs_do_not_add():
    y, codes, Z = np.arange(4.0), [np.array([0, 0, 1, 1])], [np.ones((4, 1))]
    one = accumulate(np.ones((4, 1)), y, codes, Z, levels=(2,))
    other = accumulate(np.ones((4, 2)), y, codes, Z, levels=(2,))
    with pytest.raises(ValueError, match="different designs"):
        one + other
