"""R-hat and effective sample sizes of many parameters (Vehtari et al. 2021, Bayesian Analysis 16).

The same steps as ArviZ takes, which to load would take longer than a first posterior's draws: SciPy's statistics and
signals come with it.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np

from ..tools.arrays import Array

OFFSET = 3.0 / 8.0  # of ranks (Blom 1958)
FEWEST_DRAWS, FEWEST_CHAINS = 4, 2  # that R-hat is of; effective sizes are of one chain as well
TAILS = (0.05, 0.95)
MOST_KEPT = 200_000  # draws for which normal scores are kept
FACTORS = (2, 3, 5, 7, 11)  # of lengths whose Fourier transforms are fast


def convergence(draws: Array) -> tuple[Array, Array, Array]:
    """R-hat, bulk and tail ESS (k,) of draws (chain, draw, k); NaN where they are too few or no numbers."""
    out = np.full((3, draws.shape[2]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # chains that stay where they are: infinite
        for k in range(draws.shape[2]):
            out[:, k] = _of_one(np.asarray(draws[:, :, k], dtype=float))
    return out[0], out[1], out[2]


def effective_size(values: Array) -> float:
    """As many independent draws tell the mean of values (chain, draw) as well; all of them where they do not differ."""
    values = np.asarray(values, dtype=float)
    if values.shape[1] < FEWEST_DRAWS or np.isnan(values).any():
        return float(values.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = _effective_size(_halves(values))
    return size if np.isfinite(size) else float(values.size)


def _of_one(values: Array) -> tuple[float, float, float]:
    """R-hat, bulk and tail ESS of one parameter (chain, draw)."""
    if values.shape[1] < FEWEST_DRAWS or np.isnan(values).any():
        return np.nan, np.nan, np.nan
    halves = _halves(values)
    scores, rhat = _normal_scores(halves), np.nan
    if len(values) >= FEWEST_CHAINS:
        rhat = max(_rhat(scores), _rhat(_normal_scores(np.abs(halves - np.median(halves)))))
    tails = [_effective_size(_halves((values <= np.quantile(values, p)).astype(float))) for p in TAILS]
    return rhat, _effective_size(scores), min(tails)


def _halves(values: Array) -> Array:
    """Chains (2 × chain, ⌊draw / 2⌋) cut in two."""
    half = values.shape[1] // 2
    return np.vstack((values[:, :half], values[:, -half:]))


def _normal_scores(values: Array) -> Array:
    """Normal quantiles of the ranks of all values together, those of equal ones at the middle of their ranks."""
    flat = values.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    is_new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    number = np.cumsum(is_new)  # of each distinct value
    ends = np.append(np.flatnonzero(is_new), len(flat))
    twice = np.empty(len(flat), dtype=np.int64)
    twice[order] = ends[number] + ends[number - 1] + 1
    of_size = _scores if len(flat) <= MOST_KEPT else _scores.__wrapped__
    return of_size(len(flat))[twice].reshape(values.shape)


@cache
def _scores(n: int) -> Array:
    """Normal quantiles of the ranks 0, ½, 1, ..., n among n values (2n + 1,); NaN before the first."""
    quantile = NormalDist().inv_cdf
    of_ranks = (quantile((0.5 * twice - OFFSET) / (n - 2.0 * OFFSET + 1.0)) for twice in range(2, 2 * n + 1))
    return np.concatenate([[np.nan, np.nan], np.fromiter(of_ranks, float, 2 * n - 1)])


def _rhat(values: Array) -> float:
    """√ of the variance of all draws (chain, draw), as chains tell it, over that within chains."""
    n = values.shape[1]
    between, within = n * np.var(values.mean(axis=1), ddof=1), np.mean(np.var(values, axis=1, ddof=1))
    return float(np.sqrt((between / within + n - 1) / n))


def _effective_size(values: Array) -> float:
    """The size of draws (chain, draw) over their autocorrelation time, by Geyer's monotone sequence of pairs."""
    if np.max(values) - np.min(values) < np.finfo(float).resolution:
        return float(values.size)
    n_chains, n = values.shape
    covariances = _autocovariances(values)
    variance = covariances[0] * n / (n - 1.0)
    total = variance * (n - 1.0) / n
    if n_chains > 1:
        total += np.var(values.mean(axis=1), ddof=1)
    of_lag = 1.0 - (variance - covariances) / total
    correlation = np.zeros(n)
    correlation[0], correlation[1] = even, odd = 1.0, of_lag[1]
    t = 1
    while t < n - 3 and even + odd > 0.0:
        even, odd = of_lag[t + 1], of_lag[t + 2]
        if even + odd >= 0.0:
            correlation[t + 1], correlation[t + 2] = even, odd
        t += 2
    last = t - 2
    if even > 0.0:
        correlation[last + 1] = even
    for t in range(1, last - 1, 2):
        if correlation[t + 1] + correlation[t + 2] > correlation[t - 1] + correlation[t]:
            correlation[t + 1] = correlation[t + 2] = (correlation[t - 1] + correlation[t]) / 2.0
    size = n_chains * n
    time = -1.0 + 2.0 * np.sum(correlation[: last + 1]) + np.sum(correlation[last + 1 : last + 2])
    # a maximum that is NaN where the time is
    return float(np.nan if np.isnan(correlation).any() else size / max(time, 1.0 / np.log10(size)))


def _autocovariances(values: Array) -> Array:
    """Of every lag (draw,), the mean over chains (chain, draw), by Fourier transforms."""
    n = values.shape[1]
    length = _fast_length(2 * n)
    spectrum = np.fft.rfft(values - values.mean(axis=1, keepdims=True), n=length)
    return np.fft.irfft(spectrum * np.conjugate(spectrum), n=length)[:, :n].mean(axis=0) / n


@cache
def _fast_length(least: int) -> int:
    """The first whole number from here on without large factors."""
    length = least
    while True:
        rest = length
        for factor in FACTORS:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
