"""Leave-one-out densities against dense covariance matrices, on random designs."""

from __future__ import annotations

import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import examples, problems

from bayeslmm.covariances.template import covariance
from bayeslmm.engine.loo import Hyperdraws, leave_one_group_out, leave_one_out

EXAMPLES = examples(60)


def some_draws(problem, rng, *, kind, S=3):
    p = problem.X.shape[1]
    covariances = []
    for Z, blocks in zip(problem.Z, problem.blocks, strict=True):
        q = Z.shape[1]
        cor = np.tile(np.eye(q), (S, 1, 1))
        for block in blocks:
            for i, a in enumerate(block):
                for b in block[i + 1 :]:
                    cor[:, a, b] = cor[:, b, a] = rng.uniform(-0.4, 0.4, S)
        sd = rng.uniform(0.1, 2.0, (S, q)) * (rng.uniform(size=q) > 0.2)  # some are zero
        covariances.append(covariance(sd, cor))
    sds = (
        np.where(rng.uniform(size=p) < 0.3, np.inf, rng.uniform(0.5, 3.0, p))
        if kind == "flat"
        else rng.uniform(0.5, 3.0, p)
    )
    return Hyperdraws(
        sigma=rng.uniform(0.3, 2.0, S),
        covariances=tuple(covariances),
        beta=rng.normal(size=(S, p)),
        prior=None if kind == "given" else (rng.normal(size=p), sds),
    )


def marginal(problem, draws, s):
    """Mean and covariance of y with b, and β where it has a proper prior, integrated out; columns with a flat one."""
    n = len(problem.y)
    weights = np.ones(n) if problem.weights is None else problem.weights
    V = np.diag(draws.sigma[s] ** 2 / weights)
    for codes, Z, cov in zip(problem.codes, problem.Z, draws.covariances, strict=True):
        V += (Z @ cov[s] @ Z.T) * (codes[:, None] == codes[None, :])
    if draws.prior is None:
        return problem.X @ draws.beta[s], V, np.zeros((n, 0))
    mean, sd = draws.prior
    X = problem.X.copy()
    if problem.intercept is not None:  # column 0; its prior is of centred predictors
        X[:, 1:] -= X[:, 1:].mean(axis=0)
    proper = np.isfinite(sd)
    return X[:, proper] @ mean[proper], V + (X[:, proper] * sd[proper] ** 2) @ X[:, proper].T, X[:, ~proper]


def log_density_left_out(mean, V, flat, y, own):
    """log p(y_own | the rest): N(0, P_oo⁻¹) of P_oo⁻¹(Pr)_o, P the precision of what the flat columns leave."""
    P = np.linalg.inv(V)
    if flat.shape[1]:
        P = P - P @ flat @ np.linalg.solve(flat.T @ P @ flat, flat.T @ P)
    precision = (P[np.ix_(own, own)] + P[np.ix_(own, own)].T) / 2.0
    residual = np.linalg.solve(precision, (P @ (y - mean))[own])
    return 0.5 * (np.linalg.slogdet(precision / (2.0 * np.pi))[1] - residual @ precision @ residual)


@pytest.mark.parametrize("kind", ["normal", "flat", "given"])
@EXAMPLES
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_rows_against_the_dense_covariance(kind, problem, seed):
    draws = some_draws(problem, np.random.default_rng(seed), kind=kind)
    found = leave_one_out(problem, draws, cores=2)
    n = len(problem.y)
    for s in range(len(draws.sigma)):
        mean, V, flat = marginal(problem, draws, s)
        for i in range(0, n, 7):
            expected = log_density_left_out(mean, V, flat, problem.y, np.arange(n) == i)
            # V⁻¹ loses digits where a variance of 9 meets noise of 0.09
            assert found.without[s, i] == pytest.approx(expected, abs=1e-7, rel=1e-9)


@EXAMPLES
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_a_new_response_in_the_place_of_a_row(problem, seed):
    draws = some_draws(problem, np.random.default_rng(seed), kind="normal")
    found = leave_one_out(problem, draws)
    n, i = len(problem.y), int(np.random.default_rng(seed).integers(len(problem.y)))
    weights = np.ones(n) if problem.weights is None else problem.weights
    for s in range(len(draws.sigma)):
        mean, V, _ = marginal(problem, draws, s)
        noise = np.diag(draws.sigma[s] ** 2 / weights)
        K = np.linalg.solve(V, V - noise)  # of the linear predictor
        at = mean + K.T @ (problem.y - mean)
        C = (V - noise) - (V - noise) @ K + noise
        expected = stats.norm.logpdf(problem.y[i], at[i], np.sqrt(C[i, i]))
        assert found.within[s, i] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("kind", ["normal", "flat", "given"])
@EXAMPLES
@given(problem=problems(max_factors=1), seed=st.integers(0, 2**32 - 1))
def test_groups_against_the_dense_covariance(kind, problem, seed):
    draws = some_draws(problem, np.random.default_rng(seed), kind=kind)
    found = leave_one_group_out(problem, draws, 0)
    for s in range(len(draws.sigma)):
        mean, V, flat = marginal(problem, draws, s)
        given_beta = Hyperdraws(sigma=draws.sigma, covariances=draws.covariances, beta=draws.beta, prior=None)
        mean_given, V_given, _ = marginal(problem, given_beta, s)
        for j in range(problem.levels[0]):
            own = problem.codes[0] == j
            alone = stats.multivariate_normal.logpdf(problem.y[own], mean_given[own], V_given[np.ix_(own, own)])
            assert found.within[s, j] == pytest.approx(alone, abs=1e-7, rel=1e-9)
            if kind == "given":
                assert found.without[s, j] == found.within[s, j]
            elif plain.rank(flat[~own]) == flat.shape[1]:
                expected = log_density_left_out(mean, V, flat, problem.y, own)
                assert found.without[s, j] == pytest.approx(expected, abs=1e-6, rel=1e-8)  # sums over a group
            elif flat.shape[1] == problem.X.shape[1]:
                assert np.isnan(found.without[s, j])


def test_nested_groups_are_left_out_with_all_that_is_in_them():
    rng = np.random.default_rng(1)
    problem = _nested(rng)
    draws = some_draws(problem, rng, kind="normal")
    found = leave_one_group_out(problem, draws, 1)
    for s in range(len(draws.sigma)):
        mean, V, flat = marginal(problem, draws, s)
        for j in range(problem.levels[1]):
            expected = log_density_left_out(mean, V, flat, problem.y, problem.codes[1] == j)
            assert found.without[s, j] == pytest.approx(expected, abs=1e-8)


def test_pieces_of_draws_and_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    problem = _nested(rng)
    draws = some_draws(problem, rng, kind="normal", S=20)
    whole = leave_one_group_out(problem, draws, 1), leave_one_out(problem, draws)
    monkeypatch.setattr("bayeslmm.engine.loo.NUMBERS", 100)
    pieces = leave_one_group_out(problem, draws, 1), leave_one_out(problem, draws, cores=3)
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(a.without, b.without, rtol=1e-12)
        np.testing.assert_allclose(a.within, b.within, rtol=1e-12)


def _nested(rng):
    from bayeslmm.engine.scaling import Problem

    fine = np.repeat(np.arange(8), 4)
    n = len(fine)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    return Problem(
        y=rng.normal(size=n),
        X=X,
        codes=(fine, fine // 2),
        Z=(np.ones((n, 1)), X.copy()),
        levels=(8, 4),
        blocks=(((0,),), ((0, 1),)),
        weights=rng.uniform(0.5, 2.0, n),
        intercept=0,
    )
