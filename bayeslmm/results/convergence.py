"""R-hat and effective sample sizes of many parameters at once (Vehtari et al. 2021, Bayesian Analysis 16).

The same steps and constants as ArviZ takes parameter by parameter, whose loading takes as long as a first posterior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..tools.arrays import Array
from ..tools.lazy import special

FEWEST_DRAWS = 4  # of a chain
ALIKE = float(np.finfo(float).resolution)  # draws that differ by less are one number
BLOM = 3.0 / 8.0  # offset of ranks
TAILS = (0.05, 0.95)
AT_ONCE = 2_000_000  # numbers of one block of parameters


def convergence(draws: Array) -> tuple[Array, Array, Array]:
    """R-hat, bulk and tail ESS (k,) of draws (chain, draw, k); NaN where they are too few or no numbers.

    R-hat is the larger of those of the ranks of draws and of their distances from the median; tail ESS the smaller of
    those of the 5 and 95 % quantiles.
    """
    chains, n, k = draws.shape
    rhat, bulk, tail = np.full((3, k), np.nan)
    if n < FEWEST_DRAWS or not chains:
        return rhat, bulk, tail
    step = max(1, AT_ONCE // (chains * n))
    for first in range(0, k, step):
        part = np.arange(first, min(first + step, k))
        part = part[~np.isnan(draws[..., part]).any(axis=(0, 1))]
        block = np.ascontiguousarray(draws[..., part], dtype=float)
        split = _split(block)
        ranked = _normal_scores(split)
        if chains > 1:
            with np.errstate(invalid="ignore", over="ignore"):  # of draws beyond all numbers
                away = np.abs(split - np.median(split, axis=(0, 1)))
            of_ranks, of_distances = _rhat(ranked), _rhat(_normal_scores(away))
            rhat[part] = np.where(of_distances > of_ranks, of_distances, of_ranks)
        bulk[part] = _ess(ranked)
        low, high = (_ess(_split(1.0 * (block <= np.quantile(block, p, axis=(0, 1))))) for p in TAILS)
        tail[part] = np.where(high < low, high, low)
    return rhat, bulk, tail


def _split(draws: Array) -> Array:
    """The halves of chains (chain, draw, k) as chains of their own."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(draws: Array) -> Array:
    """Normal quantiles (chain, draw, k) of the ranks of draws among all of a parameter; ties have their mean rank."""
    flat = draws.reshape(-1, draws.shape[2])
    size, columns = len(flat), np.arange(flat.shape[1])
    order = np.argsort(flat, axis=0)
    ordered = flat[order, columns]
    begins = np.concatenate([np.ones((1, len(columns)), bool), ordered[1:] != ordered[:-1]])
    place = np.arange(size)[:, None]
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=0)
    ends = np.concatenate([begins[1:], np.ones((1, len(columns)), bool)])
    last = np.minimum.accumulate(np.where(ends, place, size)[::-1], axis=0)[::-1]
    ranks = np.empty_like(flat)
    ranks[order, columns] = 0.5 * (first + last) + 1.0
    return np.asarray(special.ndtri((ranks - BLOM) / (size - 2.0 * BLOM + 1.0))).reshape(draws.shape)


def _rhat(draws: Array) -> Array:
    """R-hat (k,) of draws (chain, draw, k) as they are."""
    n = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    between = n * draws.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of chains that stand
        return np.asarray(np.sqrt((between / within + n - 1.0) / n))


def _ess(draws: Array) -> Array:
    """Effective sample size (k,) of draws (chain, draw, k) as they are, by Geyer's initial monotone sequence."""
    chains, n, k = draws.shape
    means = draws.mean(axis=1)
    covariance = _autocovariances(draws - means[:, None])
    variance = covariance[0] * n / (n - 1.0)
    whole = variance * (n - 1.0) / n
    if chains > 1:
        whole = whole + means.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of chains that stand
        correlations = (1.0 - (variance - covariance) / whole).T
    stands = np.ptp(draws.reshape(-1, k), axis=0) < ALIKE
    sizes = [_size(each, chains * n) for each in correlations]
    return np.where(stands, float(chains * n), sizes)


def _autocovariances(centred: Array) -> Array:
    """Mean over chains (draw, k) of the autocovariances of (chain, draw, k)."""
    n = centred.shape[1]
    padded = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, n=padded, axis=1)
    squares = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    return np.fft.irfft(squares, n=padded, axis=0)[:n] / n


def _size(correlations: Sequence[float] | Array, draws: int) -> float:
    """Effective size of so many draws whose autocorrelations are these, pairs of which fall while they are positive."""
    n = len(correlations)
    kept = [1.0, float(correlations[1])]
    even, odd = kept
    while len(kept) < n - 2 and even + odd > 0.0:
        even, odd = float(correlations[len(kept)]), float(correlations[len(kept) + 1])
        kept += [even, odd] if even + odd >= 0.0 else [0.0, 0.0]
    last = len(kept) - 3  # the pair after it is the one that ended the sequence
    if even > 0.0:
        kept[last + 1] = even
    for t in range(2, last, 2):
        before = kept[t - 2] + kept[t - 1]
        if kept[t] + kept[t + 1] > before:
            kept[t] = kept[t + 1] = before / 2.0
    if np.isnan(kept).any():
        return float("nan")
    time = -1.0 + 2.0 * sum(kept[: last + 1]) + sum(kept[last + 1 : last + 2])
    return draws / max(time, 1.0 / np.log10(draws))
