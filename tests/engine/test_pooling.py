"""Fits without a penalty against dense least squares, limits, and left-out units by brute force."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import examples, problems

from bayeslmm.engine import pls, pooling
from bayeslmm.engine.criterion import prepare
from bayeslmm.engine.layout import arrange
from bayeslmm.engine.loo import Hyperdraws
from bayeslmm.engine.scaling import Problem, scale

QUICK = examples(25)


@st.composite
def with_group_predictors(draw):
    """A random problem whose X also has columns that the first factor's bars hold within every level."""
    problem = draw(problems())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    Z, codes, J = problem.Z[0], problem.codes[0], problem.levels[0]
    held = [Z[:, k] * rng.normal(size=J)[codes] for k in range(draw(st.integers(0, Z.shape[1])))]
    X = np.column_stack([problem.X, *held])
    if plain.rank(X) < X.shape[1]:  # two levels have room for one predictor
        X = problem.X
    return replace(problem, X=np.ascontiguousarray(X))


def dense(problem, own):
    """Indicators times Z, the common columns, √w."""
    first = replace(problem, codes=problem.codes[:1], Z=problem.Z[:1], levels=problem.levels[:1])
    root = np.ones(len(problem.y)) if problem.weights is None else np.sqrt(problem.weights)
    return np.hstack([plain.dense_Z(first), problem.X[:, own.common]]), root


@QUICK
@given(with_group_predictors())
def test_no_pooling_is_least_squares_with_indicators(problem):
    own = pooling.unpooled(problem, 0)
    F, root = dense(problem, own)
    beta, _, rank, _ = np.linalg.lstsq(F * root[:, None], problem.y * root, rcond=1e-10)
    # all that X says is in Z level by level and the common columns
    assert rank == plain.rank(np.hstack([F, problem.X]) * root[:, None], tol=1e-8)
    assert own.line.rank == rank
    # rounding of designs of some 40 rows whose condition may be 1e4
    np.testing.assert_allclose(own.line.residuals, problem.y - F @ beta, atol=1e-8)
    hat = (F * root[:, None]) @ np.linalg.pinv(F * root[:, None], rcond=1e-10)
    np.testing.assert_allclose(own.line.leverage, np.diag(hat), atol=1e-8)
    full = ~np.isnan(own.coefficients).any(axis=1)
    J, q = own.coefficients.shape
    np.testing.assert_allclose(own.shared, beta[J * q :], atol=1e-6)
    np.testing.assert_allclose(own.coefficients[full], beta[: J * q].reshape(J, q)[full], atol=1e-6)
    if full.all() and rank == F.shape[1]:
        vcov = np.linalg.inv((F * root[:, None]).T @ (F * root[:, None]))
        blocks = [vcov[j * q : (j + 1) * q, j * q : (j + 1) * q] for j in range(J)]
        np.testing.assert_allclose(own.vcov, blocks, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(own.shared_vcov, vcov[J * q :, J * q :], rtol=1e-5, atol=1e-8)


@QUICK
@given(with_group_predictors())
def test_the_fixed_part_is_split_without_rest(problem):
    own = pooling.unpooled(problem, 0)
    known = np.where(np.isnan(own.A), 0.0, own.A)[problem.codes[0]]  # levels without a rule are left out below
    rebuilt = np.einsum("nq,nqp->np", problem.Z[0], known) + problem.X[:, own.common] @ own.M
    kept = ~np.isnan(own.A[problem.codes[0]]).any(axis=(1, 2))
    np.testing.assert_allclose(rebuilt[kept], problem.X[kept], atol=1e-8)
    np.testing.assert_array_equal(own.A[:, :, own.common][np.isfinite(own.A[:, :, own.common])], 0.0)


@pytest.fixture
def singleton():
    """A random slope, a predictor of the group, and a level with one row."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(4), [6, 6, 6, 1])
    x, w = rng.normal(size=19), np.array([0.0, 1.0, 1.0, 1.0])[codes]
    Z = np.column_stack([np.ones(19), x])
    return Problem(
        y=rng.normal(size=19),
        X=np.column_stack([np.ones(19), x, w, w * x]),
        codes=(codes,),
        Z=(Z,),
        levels=(4,),
        blocks=(((0, 1),),),
        weights=None,
    )


def test_a_singleton_has_no_fit_but_a_place_in_the_model(singleton):
    own = pooling.unpooled(singleton, 0)
    assert np.isnan(own.coefficients[3]).all() and np.isfinite(own.coefficients[:3]).all()
    assert np.isnan(own.vcov[3]).all()
    np.testing.assert_allclose(own.A[3], [[1, 0, 1, 0], [0, 1, 0, 1]], atol=1e-10)
    np.testing.assert_allclose(own.A[0], [[1, 0, 0, 0], [0, 1, 0, 0]], atol=1e-10)
    assert not own.common.any() and own.line.rank == 7


def test_what_no_rule_tells_of_a_singleton_is_missing(singleton):
    codes, Z = singleton.codes[0], singleton.Z[0]
    mixed = Z[:, 0] * np.array([1.0, 2.0, 4.0, 3.0])[codes] + Z[:, 1] * np.array([3.0, 1.0, 0.0, 2.0])[codes]
    A = pooling.attributed(singleton, 0, mixed[:, None])
    np.testing.assert_allclose(A[:3, :, 0], [[1, 3], [2, 1], [4, 0]], atol=1e-9)
    assert np.isnan(A[3]).all()


def test_columns_outside_the_levels_are_not_absorbed(singleton):
    rng = np.random.default_rng(0)
    columns = np.column_stack([rng.normal(size=19), np.ones(19)])
    A = pooling.absorbed(singleton, 0, columns)
    np.testing.assert_array_equal(A[:, :, 0], 0.0)
    np.testing.assert_allclose(A[:, :, 1], np.tile([1.0, 0.0], (4, 1)), atol=1e-12)


def test_a_predictor_far_from_zero_loses_no_digits():
    codes, x = np.repeat([0, 1], 5), np.tile(np.arange(2015.0, 2020.0), 2)
    own = np.array([[3.0, 0.5], [-7.0, 1.25]])
    problem = Problem(
        y=own[codes, 0] + own[codes, 1] * x,
        X=np.ones((10, 1)),
        codes=(codes,),
        Z=(np.column_stack([np.ones(10), x]),),
        levels=(2,),
        blocks=(((0, 1),),),
        weights=None,
    )
    # an intercept 2,000 units of x away: cross-products of x leave three digits of it, columns of it ten
    np.testing.assert_allclose(pooling.unpooled(problem, 0).coefficients, own, rtol=1e-9)


@QUICK
@given(with_group_predictors())
def test_infinite_variances_are_no_pooling_and_zero_ones_complete(problem):
    alone = replace(
        problem,
        codes=problem.codes[:1],
        Z=problem.Z[:1],
        levels=problem.levels[:1],
        blocks=problem.blocks[:1],
        structures=problem.structures[:1],
        wide=problem.wide[:1],
    )
    own, whole = pooling.unpooled(alone, 0), pooling.least_squares(alone)
    scaled = scale(alone)
    layout = arrange(scaled.cross)
    q = alone.Z[0].shape[1]
    reduced = pls.reduce(layout, [np.zeros((q, q))])
    np.testing.assert_allclose(scaled.beta(pls.solve(reduced).beta), whole.beta, atol=1e-7)
    np.testing.assert_allclose(pls.solve(reduced).r2, whole.line.rss, rtol=1e-7, atol=1e-9)
    # a sd 1e4 times that of the errors leaves 1e-8 of a penalty, and rounding of 1e8 times eps
    reduced = pls.reduce(layout, [1e4 * np.eye(q)])
    solution = pls.solve(reduced)
    scale_of_y = np.abs(problem.y).max()
    np.testing.assert_allclose(solution.r2, own.line.rss, rtol=1e-4, atol=1e-4 * scale_of_y)
    beta = scaled.beta(solution.beta)
    b = pls.spherical_modes(reduced, solution.beta)[0] @ (1e4 * scaled.T_z[0]).T
    total = own.A @ beta + b
    full = ~np.isnan(own.coefficients).any(axis=1) & (np.bincount(problem.codes[0]) > 2 * q)
    np.testing.assert_allclose(total[full], own.coefficients[full], rtol=1e-2, atol=1e-2 * scale_of_y)


@QUICK
@given(problems())
def test_point_quantities_are_those_of_dense_matrices(problem):
    scaled, criterion = prepare(problem, reml=True)
    rng = np.random.default_rng(2)
    theta = np.where(criterion.diagonal, rng.uniform(0.3, 2.0, len(criterion.diagonal)), 0.3)
    solution = SimpleNamespace(reml=True, scaled_theta=theta, sigma=1.3)  # all that is looked at
    lams = [T @ lam for T, lam in zip(scaled.T_z, criterion.lams(theta), strict=True)]
    V = plain.relative_V(problem, lams)
    L, Z = plain.dense_lambda(problem, lams), plain.dense_Z(problem)
    conditional = 1.3**2 * (L @ L.T - L @ L.T @ Z.T @ np.linalg.inv(V) @ Z @ L @ L.T)
    Vi = np.linalg.inv(V)
    P = Vi
    if problem.X.shape[1]:
        half = Vi @ problem.X
        P = Vi - half @ np.linalg.solve(problem.X.T @ half, half.T)
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
    # fitted = y − W⁻¹Py
    np.testing.assert_allclose(pooling.hat_trace(problem, solution), len(w) - np.trace(P / w[:, None]), rtol=1e-8)
    J, q = 3, 2
    parts, rows = [], np.zeros((J, q, conditional.shape[0]))
    start = 0
    for k, (Z, n_levels) in enumerate(zip(problem.Z, problem.levels, strict=True)):
        q_k = Z.shape[1]
        levels, B = rng.integers(0, n_levels, J), rng.normal(size=(J, q, q_k))
        parts.append((k, levels, B))
        for j in range(J):
            at = start + levels[j] * q_k
            rows[j, :, at : at + q_k] += B[j]
        start += n_levels * q_k
    expected = np.einsum("jqa,ab,jqb->jq", rows, conditional, rows)
    np.testing.assert_allclose(
        pooling.combined_variances(problem, solution, parts), expected, rtol=1e-4, atol=1e-5 * solution.sigma**2
    )


@QUICK
@given(problems())
def test_open_shares_are_those_of_dense_matrices(problem):
    rng = np.random.default_rng(1)
    S = 2
    covariances = []
    for Z, blocks in zip(problem.Z, problem.blocks, strict=True):
        cov = np.zeros((S, Z.shape[1], Z.shape[1]))
        for block in blocks:
            root = rng.normal(size=(S, len(block), len(block)))
            cov[np.ix_(range(S), block, block)] = root @ root.swapaxes(1, 2) + 0.1 * np.eye(len(block))
        covariances.append(cov)
    sigma = np.array([0.7, 1.3])
    draws = Hyperdraws(sigma=sigma, covariances=tuple(covariances), beta=np.zeros((S, problem.X.shape[1])), prior=None)
    shares, traces = pooling.open_shares(problem, draws, 0)
    J, q = problem.levels[0], problem.Z[0].shape[1]
    for s in range(S):
        lams = [np.linalg.cholesky(cov[s] / sigma[s] ** 2) for cov in covariances]
        V = plain.relative_V(problem, lams)
        L, Z = plain.dense_lambda(problem, lams), plain.dense_Z(problem)
        given_beta = L @ L.T - L @ L.T @ Z.T @ np.linalg.inv(V) @ Z @ L @ L.T
        expected = np.diag(given_beta)[: J * q] / np.diag(L @ L.T)[: J * q]
        np.testing.assert_allclose(shares[s].reshape(-1), expected, rtol=1e-6, atol=1e-9)
        assert 0 < traces[s] < Z.shape[1] + problem.X.shape[1] + 1e-9


def test_a_zero_variance_is_complete_pooling(singleton):
    draws = Hyperdraws(sigma=np.ones(1), covariances=(np.zeros((1, 2, 2)),), beta=np.zeros((1, 4)), prior=None)
    shares, traces = pooling.open_shares(singleton, draws, 0)
    np.testing.assert_array_equal(shares, 1.0)
    np.testing.assert_allclose(traces, 4.0, rtol=1e-12)


# -- left-out rows and groups


@QUICK
@given(with_group_predictors())
def test_rows_left_out_by_refitting(problem):
    own = pooling.unpooled(problem, 0)
    F, root = dense(problem, own)
    found = pooling.rows_left_out(own.line)
    keep = _independent(F * root[:, None])
    _check_rows(F[:, keep], problem, root, found)


def test_rows_of_one_regression_left_out(singleton):
    whole = pooling.least_squares(singleton)
    found = pooling.rows_left_out(whole.line)
    _check_rows(singleton.X, singleton, np.ones(19), found)
    assert np.isfinite(found.without).all()


def test_a_row_that_alone_tells_a_coefficient_is_not_predicted(singleton):
    found = pooling.rows_left_out(pooling.unpooled(singleton, 0).line)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.without)), [18])


def test_without_degrees_of_freedom_nothing_is_predicted():
    line = pooling.Linear(
        residuals=np.array([0.1, -0.1, 0.0]), leverage=np.array([0.5, 0.5, 1.0]), weights=np.ones(3), rank=2
    )
    assert np.isnan(pooling.rows_left_out(line).without).all()


def _independent(F):
    kept = []
    for c in range(F.shape[1]):
        if plain.rank(F[:, [*kept, c]], tol=1e-8) > len(kept):
            kept.append(c)
    return kept


def _check_rows(F, problem, root, found):
    n, p = F.shape
    w = root**2
    for i in (0, n // 2, n - 1):
        rest = np.arange(n) != i
        if plain.rank(F[rest] * root[rest, None], tol=1e-7) < p or n - 1 <= p:
            assert np.isnan(found.without[i])
            continue
        for chosen, density in ((rest, found.without[i]), (np.ones(n, bool), found.within[i])):
            A = (F[chosen] * w[chosen, None]).T @ F[chosen]
            beta = np.linalg.solve(A, (F[chosen] * w[chosen, None]).T @ problem.y[chosen])
            df = chosen.sum() - p
            s2 = w[chosen] @ (problem.y[chosen] - F[chosen] @ beta) ** 2 / df
            variance = s2 * (1 / w[i] + F[i] @ np.linalg.solve(A, F[i]))
            expected = stats.t.logpdf(problem.y[i], df, F[i] @ beta, np.sqrt(variance))
            np.testing.assert_allclose(density, expected, rtol=1e-5, atol=1e-5)


@QUICK
@given(problems())
def test_groups_left_out_by_refitting(problem):
    codes, J = problem.codes[0], problem.levels[0]
    found = pooling.groups_left_out(problem, codes, J)
    w = np.ones(len(codes)) if problem.weights is None else problem.weights
    X, y, p = problem.X, problem.y, problem.X.shape[1]
    for j in range(J):
        mine, rest = codes == j, codes != j
        if plain.rank(X[rest]) < p or rest.sum() <= p:
            assert np.isnan(found.without[j])
            continue
        for chosen, density in ((rest, found.without[j]), (np.ones(len(y), bool), found.within[j])):
            A = (X[chosen] * w[chosen, None]).T @ X[chosen]
            beta = np.linalg.solve(A, (X[chosen] * w[chosen, None]).T @ y[chosen])
            df = chosen.sum() - p
            s2 = w[chosen] @ (y[chosen] - X[chosen] @ beta) ** 2 / df
            shape = s2 * (np.diag(1 / w[mine]) + X[mine] @ np.linalg.solve(A, X[mine].T))
            expected = stats.multivariate_t.logpdf(y[mine], X[mine] @ beta, shape, df)
            np.testing.assert_allclose(density, expected, rtol=1e-6, atol=1e-6)


def test_groups_that_alone_tell_a_coefficient_are_not_predicted():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 4)
    problem = Problem(
        y=rng.normal(size=12),
        X=np.column_stack([np.ones(12), codes == 0]).astype(float),
        codes=(),
        Z=(),
        levels=(),
        blocks=(),
        weights=None,
    )
    found = pooling.groups_left_out(problem, codes, 3)
    np.testing.assert_array_equal(np.isnan(found.without), [True, False, False])
