"""θ, Λ, standard deviations and correlations are one map."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strategies import examples

from bayeslmm.covariances.template import Template, cholesky_psd, covariance, sd_and_correlation

# squares of what is smaller than 1e-150 have lost their digits before any code sees them
some = st.floats(-3, 3).map(lambda x: x if abs(x) > 1e-150 else 0.0)
entries = arrays(np.float64, (3, 3), elements=some)


@given(entries, st.sampled_from([((0, 1, 2),), ((0,), (1,), (2,)), ((0, 2), (1,))]))
def test_theta_and_templates_round_trip(values, blocks):
    template = Template.from_blocks(blocks)
    theta = template.theta(values)
    lam = template.factor(theta)
    np.testing.assert_array_equal(template.theta(lam), theta)
    assert np.all(np.triu(lam, 1) == 0)
    inside = {(r, c) for b in blocks for r in b for c in b if r >= c}
    assert {(r, c) for r, c in np.argwhere(lam != 0)} <= inside


def test_theta_runs_down_the_columns_as_in_lme4():
    template = Template.from_blocks([(0, 1, 2)])
    assert list(zip(template.rows, template.columns, strict=True)) == [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2)]
    assert template.is_diagonal.tolist() == [True, False, False, True, False, True]


@given(entries)
@examples(500)
def test_factor_of_a_covariance_matrix_also_when_singular(values):
    for cov in (values @ values.T, values[:, :1] @ values[:, :1].T, np.zeros((3, 3))):
        L = cholesky_psd(cov, [(0, 1, 2)])
        scale = max(np.abs(cov).max(), 1.0)
        assert np.all(np.diag(L) >= 0) and np.all(np.triu(L, 1) == 0)
        # backward stable: rounding of the entries, and eigenvalues below 3e-14 that count as zero
        np.testing.assert_allclose(L @ L.T, cov, atol=1e-12 * scale)


@given(entries)
def test_sds_and_correlations_round_trip_and_are_never_missing(values):
    cov = values @ values.T
    sd, cor = sd_and_correlation(cov)
    assert np.isfinite(cor).all() and np.abs(cor).max() <= 1.0
    np.testing.assert_allclose(covariance(sd, cor), cov, atol=1e-12 * max(1.0, cov.max()))
    assert sd_and_correlation(np.zeros((2, 2)))[1].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_no_correlation_is_beyond_one_by_rounding():
    pairs = np.random.default_rng(1).normal(size=(200, 2))
    cov = 0.1 * pairs[:, :, None] * pairs[:, None, :]  # of variables that are proportional
    sd, cor = sd_and_correlation(cov)
    rounded = cov[:, 0, 1] / (sd[:, 0] * sd[:, 1])
    assert rounded.min() < -1.0 and rounded.max() > 1.0
    assert (cor.min(), cor.max()) == (-1.0, 1.0)


@given(arrays(np.float64, (2, 4, 3, 3), elements=some))
def test_a_stack_of_matrices_is_taken_one_by_one(values):
    cov = values @ values.swapaxes(-1, -2)
    sd, cor = sd_and_correlation(cov)
    whole = covariance(sd, cor)
    for at in np.ndindex(2, 4):
        one_sd, one_cor = sd_and_correlation(cov[at])
        np.testing.assert_array_equal(sd[at], one_sd)
        np.testing.assert_array_equal(cor[at], one_cor)
        np.testing.assert_array_equal(whole[at], covariance(one_sd, one_cor))
