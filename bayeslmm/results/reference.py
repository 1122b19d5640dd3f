"""Rows at chosen values of some variables, the others held where they are typical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..spec.design import Design
from ..spec.frame import is_numeric

POINTS = 41  # of a curve


def reference_grid(
    design: Design, at: Mapping[str, Sequence[Any]] | str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All combinations of the given values, and complete rows of the model's variables that hold them.

    Parameters
    ----------
    design : Design
    at : mapping or str
        Values by variable; the name of one variable stands for a curve: 41 values over its range, or its levels.

    Returns
    -------
    grid, rows : DataFrame
        ``grid`` has the variables of ``at`` only. In ``rows`` the others are held at the value nearest to their mean,
        or at their most frequent level.

    Raises
    ------
    InputError
        A name is not a variable of the model, or has no values.
    """
    frame = design.frame
    if isinstance(at, str):
        at = {at: []} if at not in frame else {at: _range(frame[at])}
    if not isinstance(at, Mapping) or not at:
        raise InputError(
            f"at={at!r}: values by variable, such as at={{'x': [0, 1, 2]}}, or a variable's name"
        )
    predictors = [name for name in frame.columns if name != design.response]
    for name in at:
        if name not in predictors:
            raise InputError(
                f"at={{{name!r}: ...}}: {name!r} is no predictor of the model; "
                f"it has {', '.join(map(repr, predictors))}"
            )
    values = {name: _values(name, given) for name, given in at.items()}
    grid = pd.MultiIndex.from_product(list(values.values()), names=list(values)).to_frame(index=False)
    rows = pd.DataFrame(
        {name: grid[name] if name in values else [_typical(frame[name])] * len(grid) for name in frame}
    )
    return grid, rows


def _values(name: str, given: Any) -> list[Any]:
    values = [given] if isinstance(given, str) or np.ndim(given) == 0 else list(given)
    if not values:
        raise InputError(f"at={{{name!r}: []}}: no values given")
    if pd.isna(np.asarray(values, dtype=object)).any():
        raise InputError(f"at={{{name!r}: ...}}: a value is missing")
    return values


def _range(column: pd.Series) -> list[Any]:
    if is_numeric(column) and column.dtype != bool:
        return list(np.linspace(column.min(), column.max(), POINTS))
    return list(column.cat.categories) if hasattr(column, "cat") else sorted(column.unique())


def _typical(column: pd.Series) -> Any:
    """An observed value, so that every transform of the formula has an answer for it."""
    if is_numeric(column) and column.dtype != bool:
        return column.iloc[int(np.argmin(np.abs(column.to_numpy() - column.mean())))]
    return column.mode().iloc[0]
