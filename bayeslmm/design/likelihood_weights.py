"""``y | weights(w)``: what the log density of each row is multiplied by, as frequencies and survey weights are.

A row of weight w counts in every likelihood as w rows that are alike do. Nothing is said of how exact the row is, and
nothing of new rows: that is what ``weights=`` of normal responses does, which divides the variance of a row.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import DataError
from ..formulas.expressions import Expression, as_numbers_or_factor, evaluate
from ..tools.arrays import Array
from ..tools.frame import Columns, check_size, frozen, row_names


def read_likelihood_weights(expression: Expression | None, frame: pd.DataFrame | Columns) -> Array | None:
    """The weights (n,) of the rows of a frame; None where the formula has none.

    Raises
    ------
    DataError
        Other things than positive, finite numbers, with their rows.
    """
    if expression is None:
        return None
    values = as_numbers_or_factor(evaluate(expression, frame), expression, frame.index)
    what = f"weights({expression.label}) beside the response"
    if not isinstance(values, np.ndarray) or values.ndim > 1:
        raise DataError(f"{what}: one column of numbers is needed, how often each row counts.")
    values = np.asarray(values, dtype=np.float64)
    is_invalid = ~(np.isfinite(values) & (values > 0.0))
    if is_invalid.any():
        raise DataError(
            f"{what}: they are positive and finite; {int(is_invalid.sum())} are not "
            f"({row_names(frame.index, is_invalid)}). Leave these rows out of the data."
        )
    check_size(values[:, None], [expression.label])
    return frozen(values)
