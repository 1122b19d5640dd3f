"""The ratio of two posteriors' constants by draws of both, against closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayeslmm.results.bridge import log_ratio


@pytest.mark.parametrize("y", [0.0, 2.0, 4.0, 6.0])
def test_of_normal_distributions(y):
    """t is N(0, 1) by the others and N(y/2, 1/2) by all; y given t is N(t, 1)."""
    rng = np.random.default_rng(1)
    errors, told = [], []
    for _ in range(40):
        by_all, by_others = rng.normal(y / 2.0, np.sqrt(0.5), 2000), rng.normal(size=2000)
        ratio, error = log_ratio(stats.norm.logpdf(y, by_all), stats.norm.logpdf(y, by_others))
        errors.append(ratio - stats.norm.logpdf(y, scale=np.sqrt(2.0)))
        told.append(error)
    spread = np.std(errors)
    assert abs(np.mean(errors)) < 4.0 * spread / np.sqrt(40)
    assert 0.6 * spread < np.mean(told) < 1.6 * spread  # of 40 errors the sd is known to a ninth, batches add theirs
    assert spread < 0.1  # by the others alone 0.05, 0.1, 0.4 and above 1 in the last


def test_a_distance_that_no_draw_bridges_is_told():
    rng = np.random.default_rng(2)
    by_all, by_others = rng.normal(10.0, np.sqrt(0.5), 1000), rng.normal(size=1000)
    assert log_ratio(stats.norm.logpdf(20.0, by_all), stats.norm.logpdf(20.0, by_others))[1] > 0.2
    assert log_ratio(np.zeros(1000), np.full(1000, -np.inf)) == (-np.inf, np.inf)
