"""R-hat and effective sample sizes are ArviZ's, whose autocovariance is replaced: it mutes warnings for all threads."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats
from shifted import fixed_rng

from bayeslmm.results import convergence


def chains(shape, seed):
    """Autoregressive chains; of the first parameters one has ties, one stands and one disagrees."""
    rng = fixed_rng(seed)
    draws, memory = rng.normal(size=shape), rng.uniform(-0.6, 0.99, shape[2])
    for t in range(1, shape[1]):
        draws[:, t] = memory * draws[:, t - 1] + np.sqrt(1.0 - memory**2) * draws[:, t]
    draws[..., 0] = np.round(draws[..., 0], 1)
    draws[..., 1] = 3.0
    draws[0, :, 2] += 4.0
    return draws


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:.*:UserWarning")  # ArviZ's, of chains that stand
@pytest.mark.parametrize("shape", [(4, 203, 6), (2, 37, 4), (1, 50, 4), (4, 4, 4), (3, 5, 4), (2, 3, 4)])
def test_numbers_are_arvizs(shape):
    for seed in range(3):
        draws, axes = chains(shape, seed), {"chain_axis": 0, "draw_axis": 1}
        if seed == 2:
            draws[0, 1, 3] = np.nan
        rhat, bulk, tail = convergence.convergence(draws)
        # sums of some hundred numbers in another order
        np.testing.assert_allclose(rhat, array_stats.rhat(draws, **axes), rtol=1e-9)
        np.testing.assert_allclose(bulk, array_stats.ess(draws, method="bulk", **axes), rtol=1e-9)
        expected = array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes)
        np.testing.assert_allclose(tail, expected, rtol=1e-9)
        means = array_stats.ess(draws, method="mean", **axes)
        for k, mean in enumerate(means):
            expected = mean if np.isfinite(mean) else draws[..., k].size
            assert convergence.effective_size(draws[..., k]) == pytest.approx(expected, rel=1e-9)
