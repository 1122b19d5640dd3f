"""Tests of contrasts against a margin: equivalence and non-inferiority, by estimates or by draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tools.arrays import Array
from ..tools.lazy import special
from .summaries import flat

EQUIVALENCE, NON_INFERIORITY = "equivalence", "noninferiority"


def against_margin(
    labels: pd.DataFrame, kind: str, margin: Any, numbers: pd.DataFrame, values: Array | None
) -> pd.DataFrame:
    """Rows of labels with statistic and p_value of one-sided t tests, or of draws with a probability.

    Parameters
    ----------
    labels : DataFrame
        What each contrast is of.
    kind : {"equivalence", "noninferiority"}
        Whether a number lies within ± the margin, or above minus the margin.
    margin : float
        Above zero, in the unit of the contrasts.
    numbers : DataFrame
        estimate, std_error and df of point fits; mean and sd of draws.
    values : (chain, draw, k) or None
        Draws.

    Raises
    ------
    InputError
        Another margin.
    """
    is_number = isinstance(margin, int | float | np.number) and not isinstance(margin, bool)
    if not is_number or not np.isfinite(margin) or not margin > 0.0:
        raise InputError(f"{kind}(margin={margin!r}): the largest difference that does not matter, a number above zero")
    size = float(margin)
    if values is not None:
        rows = flat(values)
        inside = np.abs(rows) < size if kind == EQUIVALENCE else rows > -size
        share = np.where(np.isnan(rows).any(axis=0), np.nan, inside.mean(axis=0))
        return labels.assign(mean=numbers["mean"], sd=numbers["sd"], margin=size, probability=share)
    estimate, error, df = (numbers[name].to_numpy(dtype=float) for name in ("estimate", "std_error", "df"))
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == EQUIVALENCE:  # of the two one-sided tests the one that is farther from being passed
            statistic, side = (np.abs(estimate) - size) / error, 1.0
        else:
            statistic, side = (estimate + size) / error, -1.0
    endless = np.isinf(df)
    p = np.where(endless, special.ndtr(side * statistic), special.stdtr(np.where(endless, 1.0, df), side * statistic))
    return labels.assign(estimate=estimate, std_error=error, df=df, margin=size, statistic=statistic, p_value=p)
