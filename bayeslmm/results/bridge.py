"""The ratio of two normalising constants from draws of both distributions (Meng & Wong 1996, Stat. Sinica 6).

What the posterior of all rows has beside that of the others is the density of the rows left out given the
hyperparameters, so that this ratio is p(y_i | the others). Draws of either posterior alone tell it badly where the two
are far apart: weights of those with the rows have no variance, and few of those without them lie where the rows are
likely. Together each makes up for what the other lacks.
"""

from __future__ import annotations

import numpy as np

from ..tools.arrays import Array
from ..tools.lazy import special

TURNS = 1000
AT_REST = 1e-8  # of a log ratio
BATCHES = 20  # of successive draws, whose means differ by their Monte Carlo error


def log_ratio(with_rows: Array, without_rows: Array) -> tuple[float, float]:
    """log p(y_i | the others), and its Monte Carlo error.

    Parameters
    ----------
    with_rows, without_rows : float64 arrays (S,), (R,)
        log p(y_i | the others, draw) under draws of the posterior of all rows, and of that of the others.
    """
    S, R = len(with_rows), len(without_rows)
    share, other_share = np.log(S / (S + R)), np.log(R / (S + R))
    ratio = float(special.logsumexp(without_rows) - np.log(R))
    if not np.isfinite(ratio):
        return ratio, np.inf
    for _ in range(TURNS):
        top = without_rows - np.logaddexp(share + without_rows, other_share + ratio)
        bottom = -np.logaddexp(share + with_rows, other_share + ratio)
        before, ratio = ratio, float(special.logsumexp(top) - np.log(R) - special.logsumexp(bottom) + np.log(S))
        if abs(ratio - before) < AT_REST:
            break
    return ratio, float(np.hypot(_relative_error(top), _relative_error(bottom)))


def _relative_error(log_values: Array) -> float:
    """That of the mean of values whose logs are given, which may depend on each other."""
    values = np.exp(log_values - log_values.max())
    size = len(values) // BATCHES
    means = values[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(BATCHES) / means.mean())
