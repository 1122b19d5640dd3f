"""Pareto smoothing of many units at once is ArviZ's of each."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats

from bayeslmm.results import loo, psis

SCALES = np.array([0.01, 0.3, 1.0, 3.0])  # of log densities: from weights that are alike to tails without a mean


def log_densities(draws, units, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_t(3, size=(draws, units)) * np.resize(SCALES, units) + 10.0 * rng.normal(size=units)


@pytest.mark.parametrize("draws", [40, 100, 225, 226, 1391])
def test_elpd_and_shape_are_arvizs(draws):
    L = log_densities(draws, 40, draws)
    elpd, k, known = psis.leave_out(L)
    by_unit, shapes, _ = array_stats.loo(L[None], chain_axis=0, draw_axis=1)
    assert known.all()
    np.testing.assert_allclose(elpd, by_unit, rtol=1e-11)  # sums of some thousand numbers in another order
    np.testing.assert_allclose(k, shapes, rtol=1e-9, atol=1e-11)


def test_blocks_do_not_matter(monkeypatch):
    L = log_densities(300, 23, 1)
    whole = psis.leave_out(L)
    monkeypatch.setattr(psis, "AT_ONCE", 7 * 300 * 50)
    for one, other in zip(whole, psis.leave_out(L), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_fit_is_left_to_arviz():
    L = log_densities(300, 4, 2)
    L[:, 1] = -1.0  # weights that are all alike
    L[:, 3] = np.where(np.arange(300) < 200, 0.0, -1.0)  # a tail that is alike
    assert psis.leave_out(L)[2].tolist() == [True, False, True, False]
    elpd, k = loo._smoothed(L)
    by_unit, shapes = loo._smoothed_by_unit(L)
    np.testing.assert_allclose(elpd, by_unit, rtol=1e-11)
    np.testing.assert_allclose(k, shapes, rtol=1e-9)
    assert not psis.leave_out(L[:20])[2].any()  # tails of four draws


def test_the_mean_density_is_that_of_scipy():
    from scipy.special import logsumexp

    L = log_densities(50, 6, 3)
    L[:, 2] = -np.inf
    np.testing.assert_allclose(loo.log_mean(L), logsumexp(L, axis=0) - np.log(50), rtol=1e-13)
