"""Statistics of the data against those of data sets: intervals, p-values, how many levels are outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tools.arrays import Array
from ..tools.lazy import stats
from .statistics import Split, Statistic


def summarise(
    statistics: Sequence[tuple[Statistic, Split]], observed: Array, replicates: Array, ci_prob: float
) -> pd.DataFrame:
    """One row a column of the replicates (S, k)."""
    keys = [
        (statistic.name, split.name, level, int(size))
        for statistic, split in statistics
        for level, size in (
            [(None, split.sizes.sum())] if statistic.between else zip(split.labels, split.sizes, strict=True)
        )
    ]
    frame = pd.DataFrame(keys, columns=["stat", "group", "level", "n"], dtype=object).astype({"n": int})
    user_given = {statistic.name for statistic, split in statistics if statistic.by_user and not split.name}
    for name in frame["stat"][~np.isfinite(observed)]:
        if name in user_given:
            raise InputError(f"ppc(stat={name!r}): it is no finite number for the observed response")
    defined = ~np.isnan(observed) & ~np.isnan(replicates).all(axis=0)
    simulated = np.where(defined, replicates, 0.0)
    tail = (1.0 - ci_prob) / 2.0
    with np.errstate(all="ignore"):  # statistics of priors may be too large to be squared
        ends = [tail, 0.5, 1.0 - tail]
        low, median, high = np.nanquantile(simulated, ends, axis=0, method="inverted_cdf")
        mean, sd = np.nanmean(simulated, axis=0), np.nanstd(simulated, axis=0)
    p = _share_above(simulated, observed)
    numbers = {"mean": mean, "sd": sd, "median": median, "conf_low": low, "conf_high": high, "p_value": p}
    numbers["p_two_sided"] = 2.0 * np.minimum(p, 1.0 - p)
    masked = {name: np.where(defined, values, np.nan) for name, values in numbers.items()}
    return frame.assign(observed=observed, **masked)


def _share_above(drawn: Array, observed: Array) -> Array:
    """P(T(data set) ≥ T(observed)) with ties counted half (k,), of the data sets whose statistic is defined."""
    above = (drawn > observed) + 0.5 * (drawn == observed)
    return np.where(np.isnan(drawn), 0.0, above).sum(axis=0) / np.maximum((~np.isnan(drawn)).sum(axis=0), 1)


def count_levels(frame: pd.DataFrame, replicates: Array, ci_prob: float) -> pd.DataFrame:
    """How many levels are outside, in the data and in every data set held against the others."""
    within = frame[frame["level"].notna() & frame["p_two_sided"].notna()]
    tail, rows = (1.0 - ci_prob) / 2.0, []
    for (stat, group), levels in within.groupby(["stat", "group"], sort=False):
        simulated = replicates[:, levels.index]
        above = (~np.isnan(simulated)).sum(axis=0) + 0.5 - stats.rankdata(simulated, axis=0, nan_policy="omit")
        p = above / np.maximum((~np.isnan(simulated)).sum(axis=0), 1)
        counts = (2.0 * np.minimum(p, 1.0 - p) < 1.0 - ci_prob).sum(axis=1)
        outside = int((levels["p_two_sided"] < 1.0 - ci_prob).sum())
        low, high = np.quantile(counts, [tail, 1.0 - tail], method="inverted_cdf")
        rows.append(
            {
                "stat": stat,
                "group": group,
                "levels": len(levels),
                "outside": outside,
                "mean": counts.mean(),
                "conf_low": low,
                "conf_high": high,
                "p_value": float(_share_above(counts[:, None].astype(float), np.array([outside]))[0]),
            }
        )
    columns = ["stat", "group", "levels", "outside", "mean", "conf_low", "conf_high", "p_value"]
    return pd.DataFrame(rows, columns=columns)
