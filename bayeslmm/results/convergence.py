"""R-hat and effective sample sizes of many parameters, by ArviZ (Vehtari et al. 2021, Bayesian Analysis 16)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..tools.arrays import Array


def convergence(draws: Array) -> tuple[Array, Array, Array]:
    """R-hat, bulk and tail ESS (k,) of draws (chain, draw, k); NaN where they are too few or no numbers."""
    axes, stats = {"chain_axis": 0, "draw_axis": 1}, _array_stats()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # chains that stay where they are: infinite
        return (
            stats.rhat(draws, **axes),
            stats.ess(draws, method="bulk", **axes),
            stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes),
        )


def effective_size(values: Array) -> float:
    """As many independent draws tell the mean of values (chain, draw) as well; all of them where they do not differ."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = float(_array_stats().ess(values[..., None], method="mean", chain_axis=0, draw_axis=1)[0])
    return size if np.isfinite(size) else float(values.size)


@cache
def _array_stats() -> Any:
    from arviz_stats.base import array_stats
    from scipy.fft import next_fast_len

    class Quiet(type(array_stats)):  # type: ignore[misc]
        """ArviZ's functions without its ``warnings.catch_warnings``: of two threads, one may leave all ignored."""

        def autocov(self, ary: np.ndarray, axis: int = -1) -> np.ndarray:
            n = ary.shape[axis]
            centred = np.moveaxis(ary - ary.mean(axis, keepdims=True), axis, -1)
            spectrum = np.fft.rfft(centred, n=next_fast_len(2 * n))
            covariances = np.fft.irfft(spectrum * np.conjugate(spectrum), n=next_fast_len(2 * n))[..., :n]
            return np.moveaxis(covariances / n, -1, axis)

    return Quiet()
