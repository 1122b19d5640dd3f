"""Predictions beside the rows that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError
from ..tools.frame import as_frame

INTERVALS = {None: "equal-tailed", "eti": "equal-tailed", "hdi": "highest density"}


def beside_data(
    table: Any,
    design: Design,
    newdata: Any,
    groups: str | Mapping[str, str],
    ci_prob: float | None,
    ci_kind: str | None,
) -> pd.DataFrame:
    """The model's columns of the rows, then what is predicted for them, for whom, and by which interval.

    Raises
    ------
    InputError
        Draws are no table; a column is called as one of the prediction.
    """
    if not isinstance(table, pd.Series | pd.DataFrame):
        raise InputError("predict(with_data=True, draws=True): draws are no table of rows; leave one of the two out")
    mixed = {name: values for name, values in table.attrs.items() if name.startswith("target_")}
    if isinstance(table, pd.Series):
        table = table.to_frame("estimate").assign(**mixed)
    rows = design.frame if newdata is None else as_frame(newdata)
    used_names = [name for name in design.frame.columns if name in rows.columns and name != design.response]
    caption: dict[str, Any] = {"target": _words(groups)}
    if "conf_low" in table and "interval" not in table:
        caption["interval"] = f"{100.0 * (0.95 if ci_prob is None else ci_prob):g}% {INTERVALS[ci_kind]}"
    clash = set(used_names) & (set(map(str, table.columns)) | set(caption))
    if clash:
        name = sorted(clash)[0]
        raise InputError(f"predict(with_data=True): the data and the prediction both have a column {name!r}; rename it")
    of_row = np.repeat(np.arange(len(rows)), len(table) // max(len(rows), 1))  # of categories a row has several
    return pd.concat([rows[used_names].iloc[of_row].set_axis(table.index), table.assign(**caption)], axis=1)


def _words(groups: str | Mapping[str, str]) -> str:
    """The targets, by factor where they differ."""
    return groups if isinstance(groups, str) else ", ".join(f"{name}: {target}" for name, target in groups.items())
