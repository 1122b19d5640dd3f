"""Draws → tables: mean, sd, median and interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError
from ..tools.arrays import Array

SUMMARY = ("mean", "sd", "median", "conf_low", "conf_high")
P_POSITIVE = "p_positive"  # how many of the draws are above zero
CI_KINDS = {"eti": "equal-tailed", "hdi": "highest-density"}


def check_interval(ci_prob: float, ci_kind: str = "eti") -> None:
    """Raise InputError unless these are a probability and a kind of interval."""
    number = isinstance(ci_prob, int | float | np.number) and not isinstance(ci_prob, bool)
    if not number or not 0.0 < ci_prob < 1.0:
        raise InputError(f"ci_prob={ci_prob!r}: the probability of an interval lies between 0 and 1")
    if not isinstance(ci_kind, str) or ci_kind not in CI_KINDS:
        raise InputError(f"ci_kind={ci_kind!r}: intervals are 'eti' (equal-tailed) or 'hdi' (highest density)")


def flat(values: Array) -> Array:
    """Draws (chain, draw, ...) as (chain × draw, ...); values without these axes as they are."""
    values = np.asarray(values)
    if values.ndim < 2:
        return values
    # not -1: with no fixed effects there are no numbers to tell it from
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])


def interval(draws: Array, ci_prob: float, ci_kind: str = "eti") -> tuple[Array, Array]:
    """Ends (k,) of the interval of draws (S, k); NaN where a draw is."""
    check_interval(ci_prob, ci_kind)
    if ci_kind == "eti":
        tail = (1.0 - ci_prob) / 2.0
        low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
        return low, high
    from arviz_stats.base import array_stats

    ends = array_stats.hdi(draws.T, prob=ci_prob, axis=-1)
    return ends[..., 0], ends[..., 1]


def summarise(
    values: Array, ci_prob: float, ci_kind: str = "eti", *, signs: bool | NDArray[np.bool_] = False
) -> pd.DataFrame:
    """Mean, sd, median and interval of draws (chain, draw, k): k rows; with ``signs`` the share that is above zero.

    ``signs`` (k,) tells it of some, missing of those that cannot be negative, and not at all where that is all.
    """
    check_interval(ci_prob, ci_kind)
    draws = np.asarray(values, dtype=np.float64)
    draws = draws.reshape(int(np.prod(draws.shape[:-1])), draws.shape[-1])
    ordered = np.array(draws.T, order="C")  # rows of draws side by side: sorting them is what takes the time
    ordered.sort(axis=1)
    tail = (1.0 - ci_prob) / 2.0
    low, middle, high = (_quantile(ordered, p) for p in (tail, 0.5, 1.0 - tail))
    mean, above = ordered.mean(axis=1), np.mean(ordered > 0.0, axis=1)
    above[np.isnan(mean)] = np.nan
    with np.errstate(invalid="ignore"):  # an infinite variance, of Student t with nu <= 2, has no sd
        ordered -= mean[:, None]
        squares = np.einsum("ks,ks->k", ordered, ordered)
        sd = np.sqrt(squares / (len(draws) - 1)) if len(draws) > 1 else np.full(len(mean), np.nan)
    if ci_kind != "eti":
        low, high = interval(draws, ci_prob, ci_kind)
    table = pd.DataFrame({"mean": mean, "sd": sd, "median": middle, "conf_low": low, "conf_high": high})
    if not np.any(signs):
        return table
    return table.assign(**{P_POSITIVE: np.where(signs, above, np.nan)})


def _quantile(ordered: Array, p: float) -> Array:
    """Quantile of sorted rows (k, S) as `numpy.quantile` has it; of two infinite neighbours, or one, the nearer."""
    last = ordered.shape[1] - 1
    place = p * last
    left = int(place)
    t = place - left
    a, b = ordered[:, left], ordered[:, min(left + 1, last)]
    with np.errstate(invalid="ignore"):
        between = b - (b - a) * (1.0 - t) if t >= 0.5 else a + (b - a) * t
    nearer = a if t < 0.5 else b
    interpolated = np.where(np.isinf(a) | np.isinf(b), nearer, between)
    return np.where(np.isnan(ordered[:, last]), np.nan, interpolated)
