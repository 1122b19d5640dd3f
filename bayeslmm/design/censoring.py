"""``cens(y, status, upper)`` on the left side of a formula: the interval in which each row is known to lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, NotAvailableError
from ..families import CENSORED, Family, with_censoring
from ..formulas.expressions import Expression
from ..tools.frame import check_finite, check_size, frozen, row_names
from .response_record import Response

STATES = ("none", "right", "left", "interval")
_WORDS = (
    "Say it in words, 'none' (observed), 'right' (the true value is larger), 'left' (smaller) or 'interval' (between y "
    "and upper), or as a condition that is true of rows censored to the right: cens(y, event == 0)."
)


def censored(expression: Expression, index: pd.Index, family: Family, value: Any) -> Response:
    """The response of a censored model, with the intervals of its rows.

    Raises
    ------
    NotAvailableError
        The family knows no censoring.
    DataError
        Numbers that are none, codes of other packages, an interval without an upper end, or no row that was observed.
    """
    label = expression.label
    kind = with_censoring(family)
    if kind is None:
        raise NotAvailableError(
            f"{label}: censored responses are those of {', '.join(map(repr, CENSORED))} with their first link, not of "
            f"{family}; model.pymc_parts() lets PyMC have others (docs/extending.md)."
        )
    y = _numbers(value.y, label, "y", index)
    status = _states(value.status, label, len(y))
    unknown = ~np.isin(status, STATES)
    if unknown.any():
        first = status[np.flatnonzero(unknown)[0]]
        raise DataError(f"{label}: {first!r} is no status ({row_names(index, unknown)}). {_WORDS}")
    between = status == "interval"
    upper = np.full(len(y), np.nan)
    if value.upper is not None:
        upper = _column(value.upper if np.ndim(value.upper) else [value.upper] * len(y), label, "upper", index)
    bad = between & ~(upper > y)
    if bad.any():
        raise DataError(
            f"{label}: a row in an interval lies between y and a larger number, the third of cens(y, status, upper); "
            f"{row_names(index, bad)} have none."
        )
    lower_end = np.where(status == "left", kind.lowest, y)
    upper_end = np.select([status == "right", between], [np.inf, upper], y)
    impossible = family.impossible(y)
    if impossible.any():
        raise DataError(
            f"The response {label!r}: {family.option} needs {family.needs}; {row_names(index, impossible)}."
        )
    seen = status == "none"
    if not seen.any():
        raise DataError(f"{label}: no row was observed, so the data do not tell how much responses vary.")
    if family.has_free_dispersion and len(y) > 1 and np.all(y == y[0]):
        raise DataError(f"The response {label!r} is {y[0]:g} in all {len(y):,} rows, so there is nothing to explain.")
    return Response(y=frozen(y), bounds=frozen(np.column_stack([lower_end, upper_end])))


def _column(values: Any, label: str, what: str, index: pd.Index) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{label}: {what} holds other things than numbers.") from None
    if numbers.shape != (len(index),):
        raise DataError(f"{label}: {what} is one column of numbers.")
    return numbers


def _numbers(values: Any, label: str, what: str, index: pd.Index) -> np.ndarray:
    numbers = _column(values, label, what, index)
    check_finite(numbers, index, f"{label}: {what}")
    check_size(numbers[:, None], [label])
    return numbers


def _states(values: Any, label: str, n: int) -> np.ndarray:
    """The status of each row in words."""
    states = np.asarray(values)
    if states.shape == ():
        states = np.full(n, states[()])
    if states.dtype == bool:
        return np.where(states, "right", "none").astype(object)
    if states.dtype.kind in "iuf":
        raise DataError(
            f"{label}: the status is a number, and numbers mean opposite things: 1 is an event in R's survival and "
            f"lifelines, and censored to the right in brms. {_WORDS}"
        )
    return np.array([str(state) for state in states], dtype=object)


def words(bounds: np.ndarray | None, y: np.ndarray) -> str:
    """How many rows are censored, as it goes on after their number; empty where none can be."""
    if bounds is None:
        return ""
    low, high = bounds.T
    counts = {
        "right": int(np.sum(np.isinf(high))),
        "left": int(np.sum((low < high) & (high == y))),
        "interval": int(np.sum((low < high) & np.isfinite(high) & (high > y))),
    }
    listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return f", censored: {listed or 'none'}"
