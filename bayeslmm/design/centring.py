"""Within and between: a predictor split into the mean of its group and the deviation from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from pandas.api import types

from ..errors import DataError, InputError
from ..tools.frame import as_frame, pick, unknown_column


def center_within(
    data: pd.DataFrame,
    columns: str | Sequence[str],
    *,
    by: str | Sequence[str],
    mean: str = "{}_mean",
    within: str = "{}_within",
) -> pd.DataFrame:
    """Add the group means of predictors and the deviations from them, for contextual effects.

    With both in a model, ``y ~ x_within + x_mean + (1 | g)``, the first coefficient compares rows of one group and the
    second compares groups; with the raw predictor alone the two are mixed (Raudenbush & Bryk 2002, ch. 5; Bell & Jones
    2015).

    Parameters
    ----------
    data : pandas.DataFrame
        Left as it is.
    columns : str or sequence of str
        Numeric columns to split.
    by : str or sequence of str
        The grouping column; several mean their combinations.
    mean, within : str
        Names of the new columns, ``{}`` standing for the old one.

    Returns
    -------
    DataFrame
        A copy with two more columns for each. Missing values do not count towards a mean; where the group is missing
        both are.

    Raises
    ------
    DataError
        A column is not there or not numeric.
    InputError
        A new name is taken already, or a pattern has braces other than ``{}``.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> hsb = blm.load_dataset("hsb")[["school", "mathach", "ses"]]
    >>> split = blm.center_within(hsb, "ses", by="school", mean="mean_{}", within="c{}")
    >>> list(split)
    ['school', 'mathach', 'ses', 'mean_ses', 'cses']
    >>> bool(abs(split.groupby("school")["cses"].mean()).max() < 1e-12)
    True
    """
    data = as_frame(data)
    predictors, groups = _names(columns), _names(by)
    if not predictors or not groups:
        raise InputError("center_within(data, columns, by=...): a column to centre and one to group by are needed")
    for pattern in (mean, within):
        if not isinstance(pattern, str) or set(pattern.replace("{}", "")) & set("{}"):
            raise InputError(f"center_within: {pattern!r} is no pattern for names, such as '{{}}_mean'")
    for name in [*predictors, *groups]:
        if name not in data.columns:
            raise unknown_column(name, "center_within", data.columns)
        pick(data, name)
    added: dict[str, pd.Series] = {}
    for name in predictors:
        values = data[name]
        if not types.is_numeric_dtype(values.dtype) or types.is_bool_dtype(values.dtype):
            raise DataError(f"center_within: column {name!r} holds {values.dtype}, not numbers")
        values = values.astype("float64")
        means = values.groupby([data[group] for group in groups], observed=True, sort=False).transform("mean")
        for pattern, new in ((mean, means), (within, values - means)):
            label = pattern.replace("{}", name)
            if label in data.columns or label in added:
                raise InputError(
                    f"center_within: there is a column {label!r} already; give another name with mean= or within="
                )
            added[label] = new
    return data.assign(**added)


def _names(columns: Any) -> list[str]:
    names = [columns] if isinstance(columns, str) or not isinstance(columns, Iterable) else list(columns)
    not_texts = [name for name in names if not isinstance(name, str)]
    if not_texts:
        raise InputError(f"center_within: columns are named by texts, not by {not_texts[0]!r}")
    return names
