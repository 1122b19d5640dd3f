"""Where mixed models meet least squares: variances of zero and without bound, weights, and repeated rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, problems, problems_with_theta

from bayeslmm.engine import pls
from bayeslmm.engine.criterion import prepare

EVERY = {"max_columns": 4}


def at(problem, theta, *, reml=True, scaled_columns=True):
    """Criterion, fitted values and residual sum of squares of the kernel at θ, of scaled columns or of those given."""
    scaled, criterion = prepare(problem, reml=reml)
    lams = criterion.lams(theta)
    if not scaled_columns:
        lams = [np.linalg.solve(T, lam) for T, lam in zip(scaled.T_z, lams, strict=True)]
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    u = pls.spherical_modes(reduced, solution.beta)
    fitted = problem.X @ scaled.beta(solution.beta)
    for codes, Z, T, lam, own in zip(problem.codes, problem.Z, scaled.T_z, lams, u, strict=True):
        fitted += np.einsum("nq,nq->n", Z, (own @ (T @ lam).T)[codes])
    return criterion.value(reduced, solution), fitted, solution.r2


def least_squares(A, y, weights):
    """Fitted values of weighted least squares, whatever the rank, and the weighted sum of squares they leave."""
    root = np.ones(len(y)) if weights is None else np.sqrt(weights)
    U, s, _ = np.linalg.svd(A * root[:, None], full_matrices=False)
    U = U[:, s > 1e-9 * s.max(initial=0.0)]
    projected = U @ (U.T @ (root * y))
    return projected / root, float(np.sum((root * y - projected) ** 2))


@examples(40)
@given(problems(**EVERY), st.booleans())
def test_without_variance_it_is_ordinary_least_squares(problem, reml):
    n_theta = prepare(problem, reml=reml)[1].diagonal.size
    value, fitted, rss = at(problem, np.zeros(n_theta), reml=reml)
    n, p = problem.X.shape
    expected, left = least_squares(problem.X, problem.y, problem.weights)
    np.testing.assert_allclose(fitted, expected, atol=1e-10)
    assert rss == pytest.approx(left, rel=1e-10)
    df = n - p if reml else n
    w = np.ones(n) if problem.weights is None else problem.weights
    deviance = df * (1 + np.log(2 * np.pi * left / df)) - np.log(w).sum()
    if reml:
        scaled = problem.X @ prepare(problem, reml=True)[0].T_x
        deviance += np.linalg.slogdet(scaled.T @ (scaled * w[:, None]))[1]
    assert value == pytest.approx(deviance, rel=1e-11, abs=1e-8)


@examples(40)
@given(problems(**EVERY))
def test_variance_without_bound_is_no_pooling(problem):
    """Fitted values go to those of least squares on X and Z together: ridge regression says how fast.

    Along a singular vector of Z̃ (beside X) with singular value s they are y's share times θ²s²/(1 + θ²s²).
    """
    scaled, criterion = prepare(problem, reml=True)
    root = np.ones((len(problem.y), 1)) if problem.weights is None else np.sqrt(problem.weights)[:, None]
    Z = replace(problem, Z=tuple(Z @ T for Z, T in zip(problem.Z, scaled.T_z, strict=True)))
    Z = root * plain.dense_Z(Z)
    if problem.X.shape[1]:
        Q = np.linalg.qr(root * problem.X)[0]
        Z -= Q @ (Q.T @ Z)
    s = np.linalg.svd(Z, compute_uv=False)
    slowest = s[s > 1e-7 * s[0]][-1]
    whole, left = least_squares(np.hstack([problem.X, plain.dense_Z(problem)]), problem.y, problem.weights)
    for size in (1e2, 1e4):
        _, fitted, rss = at(problem, size * criterion.diagonal)
        away = np.linalg.norm(root[:, 0] * (fitted - whole))
        # rounding is 1e-16 θ²Z̃'Z̃, of some forty rows
        assert away <= np.linalg.norm(root[:, 0] * problem.y) / (1.0 + (size * slowest) ** 2) + 1e-14 * size**2
        assert rss >= left * (1.0 - 1e-9) - 1e-14 * size**2


@examples(40)
@given(problems_with_theta(**EVERY), st.integers(0, 2**32 - 1))
def test_weights_stand_for_repeated_rows(case, seed):
    """Whole weights: β̂, modes and r² at any θ are those of a table in which each row stands as often."""
    problem, _, theta = case
    times = np.random.default_rng(seed).integers(1, 4, len(problem.y))
    weighted = replace(problem, weights=times.astype(float))
    rows = np.repeat(np.arange(len(problem.y)), times)
    repeated = taken(replace(problem, weights=None), rows)
    # columns are centred at other means in the two
    _, fitted, left = at(weighted, theta, scaled_columns=False)
    _, again, same = at(repeated, theta, scaled_columns=False)
    np.testing.assert_allclose(fitted[rows], again, atol=1e-8)
    assert left == pytest.approx(same, rel=1e-9)


@examples(40)
@given(problems_with_theta(**EVERY))
def test_weights_are_rows_times_their_roots(case):
    """y, X and Z of each row times √w, and no weights; the criterion differs by Σ log w."""
    problem, _, theta = case
    if problem.weights is None:
        problem = replace(problem, weights=1.0 + np.arange(len(problem.y)) % 3)
    root = np.sqrt(problem.weights)
    plainly = replace(
        problem,
        y=problem.y * root,
        X=problem.X * root[:, None],
        Z=tuple(Z * root[:, None] for Z in problem.Z),
        weights=None,
    )
    value, fitted, left = at(problem, theta, reml=False, scaled_columns=False)
    again, by_root, same = at(plainly, theta, reml=False, scaled_columns=False)
    np.testing.assert_allclose(fitted * root, by_root, atol=1e-8)
    assert left == pytest.approx(same, rel=1e-9)
    assert value == pytest.approx(again - np.log(problem.weights).sum(), rel=1e-10, abs=1e-8)


def taken(problem, rows):
    """The problem of these rows, and of the levels that they have."""
    codes = [np.unique(c[rows], return_inverse=True)[1] for c in problem.codes]
    return replace(
        problem,
        y=problem.y[rows],
        X=problem.X[rows],
        codes=tuple(codes),
        Z=tuple(Z[rows] for Z in problem.Z),
        levels=tuple(int(c.max()) + 1 for c in codes),
        weights=None if problem.weights is None else problem.weights[rows],
    )
