"""The left side of a formula → numbers that a family can have, with every other case refused by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ..errors import DataError, DroppedCategoriesWarning, NotAvailableError
from ..families import Family
from ..formulas.expressions import Expression, Factor, as_numbers_or_factor, evaluate
from ..tools.frame import Columns, check_size, frozen, row_names
from ..tools.warned import warn
from .censoring import censored
from .response_record import Response

_NO_ORDER = (
    "The response {label!r} holds categories without an order. Say it: data[{label!r}] = "
    "pandas.Categorical(data[{label!r}], categories=[lowest, ..., highest], ordered=True). Where they have none, "
    "take family='categorical'."
)
MOST_CATEGORIES = 30  # of a response without an order
EXACT = 2.0**53  # whole numbers from which on doubles have gaps
TRIALS_REMEDY = " Write p(successes, trials) on the left of '~', or give proportions with weights=trials."


def read_response(
    expression: Expression, frame: pd.DataFrame | Columns, family: Family, weights: np.ndarray | None = None
) -> Response:
    """Evaluate the response and check it against the support of its family.

    Raises
    ------
    DataError
        Values that the family cannot have, with their rows.
    NotAvailableError
        Weights for a family in which they have no one meaning.
    """
    value = evaluate(expression, frame)
    if hasattr(value, "status"):
        return censored(expression, frame.index, family, value)
    counted = hasattr(value, "successes") and hasattr(value, "trials")
    if weights is not None and not family.has_residual and (counted or not family.has_trials):
        raise NotAvailableError(
            f"weights with {family.option}: prior weights divide the variance of gaussian, student_t and "
            "lognormal responses, and are the trials of a binomial one given as proportions. Rows that count "
            "several times stand in the formula: y | weights(w)."
        )
    if counted:
        return _counts(expression, frame, family, value)
    numbers = as_numbers_or_factor(value, expression, frame.index)
    if family.has_categories:
        return (_ordered if family.is_ordered else _unordered)(expression, frame, numbers)
    if not isinstance(numbers, np.ndarray):
        if family.is_binary:
            return _yes_or_no(expression, numbers)
        raise DataError(
            f"The response {expression.label!r} holds text or categories; numbers are needed. Convert it "
            f"with pandas.to_numeric, or write I({expression.label} == 'level') for a yes/no response."
        )
    if numbers.ndim > 1:
        raise DataError(f"The response {expression.label!r} has {numbers.shape[1]} columns; one is needed.")
    check_size(numbers[:, None], [expression.label])
    check_support(expression.label, frame.index, family, numbers)
    if family.has_free_dispersion and len(numbers) > 1 and np.all(numbers == numbers[0]):
        raise DataError(
            f"The response {expression.label!r} is {numbers[0]:g} in all {len(numbers):,} rows, so there is nothing to "
            "explain."
        )
    if family.ends and np.isin(numbers, family.ends).all():
        raise DataError(
            f"The response {expression.label!r} is at an end ({' or '.join(f'{end:g}' for end in family.ends)}) in all "
            "rows, so that nothing tells the part between. Take family='bernoulli'."
        )
    if family.has_trials:
        trials = np.ones(len(numbers)) if weights is None else weights
        return _proportions(expression, frame.index, family, numbers, trials)
    return Response(y=frozen(numbers))


def _proportions(
    expression: Expression, index: pd.Index, family: Family, share: np.ndarray, trials: np.ndarray
) -> Response:
    """R's other way to write a binomial response: proportions, with the trials as weights."""
    counts = share * trials
    off = (np.abs(counts - np.round(counts)) > 1e-6 * np.maximum(trials, 1.0)) | (trials != np.round(trials))
    _refuse(
        expression.label,
        index,
        off,
        share,
        "a proportion times its trials (the weights; 1 without them) must be a whole number",
        TRIALS_REMEDY,
    )
    _refuse_single_trials(expression, family, trials)
    return Response(y=frozen(np.round(counts)), trials=frozen(trials))


def _refuse_single_trials(expression: Expression, family: Family, trials: np.ndarray) -> None:
    """Where no row has two trials, nothing tells how much probabilities vary besides."""
    if family.parameters and not np.any(trials > 1.0):
        raise DataError(
            f"The response {expression.label!r}: no row has more than one trial, and one trial tells nothing of "
            f"{', '.join(family.parameters)} of {family.option}. Take family='bernoulli'."
        )


def _as_counts(expression: Expression, what: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"The response {expression.label!r}: the {what} hold text or categories, not numbers. Of yes and no in "
            "single rows write the column itself, with family='bernoulli'."
        ) from None


def _counts(expression: Expression, frame: pd.DataFrame | Columns, family: Family, value: Any) -> Response:
    if not family.has_trials:
        raise DataError(
            f"{expression.label} gives successes and trials, which only family='binomial' and 'beta_binomial' take; "
            f"this model's is {family.word!r}."
        )
    y = _as_counts(expression, "successes", value.successes)
    trials = np.broadcast_to(_as_counts(expression, "trials", value.trials), y.shape)
    for what, numbers in (("successes", y), ("trials", trials)):
        _refuse(
            expression.label,
            frame.index,
            (numbers < 0) | (numbers != np.round(numbers)),
            numbers,
            f"the {what} must be whole numbers, zero or more",
        )
    _refuse(expression.label, frame.index, y > trials, y, "there cannot be more successes than trials")
    _refuse_single_trials(expression, family, trials)
    return Response(y=frozen(y), trials=frozen(trials))


def _yes_or_no(expression: Expression, factor: Factor) -> Response:
    levels = _levels(factor)
    if len(levels) != 2:
        shown = ", ".join(map(repr, levels[:5])) + (", …" if len(levels) > 5 else "")
        raise DataError(
            f"The response {expression.label!r} has {len(levels)} categories ({shown}); a yes/no response has two. "
            f"Write I({expression.label} == 'level'), family='ordinal' if they are ordered, or 'categorical'."
        )
    success = np.asarray(factor.data == levels[1], dtype=np.float64)
    return Response(y=frozen(success), levels=tuple(levels))


def _ordered(expression: Expression, frame: pd.DataFrame | Columns, value: Any) -> Response:
    label = expression.label
    if isinstance(value, np.ndarray):
        levels, codes = _whole_numbers(label, frame.index, value, "an ordinal model holds ordered categories or")
    else:
        data = value.data
        if not (isinstance(data.dtype, pd.CategoricalDtype) and data.dtype.ordered) and not value.levels:
            raise DataError(_NO_ORDER.format(label=label))
        levels = _levels(value)
        codes = pd.Categorical(data, categories=levels).codes
    if len(levels) < 2:
        raise DataError(f"The response {label!r} is {levels[0]!r} in all rows: there is nothing to explain.")
    return Response(y=frozen(codes), levels=tuple(levels))


def _unordered(expression: Expression, frame: pd.DataFrame | Columns, value: Any) -> Response:
    """Categories without an order; those that a column declares stay, with and without rows."""
    label = expression.label
    if isinstance(value, np.ndarray):
        levels, codes = _whole_numbers(label, frame.index, value, "a categorical model holds categories, text or")
    else:
        declared = isinstance(value.data.dtype, pd.CategoricalDtype) and not value.levels
        levels = list(value.data.cat.categories) if declared else _levels(value)
        codes = pd.Categorical(value.data, categories=levels).codes
    counts = np.bincount(codes, minlength=len(levels))
    if np.count_nonzero(counts) < 2:
        only = levels[int(np.argmax(counts))]
        raise DataError(f"The response {label!r} is {only!r} in all rows: there is nothing to explain.")
    if not counts[0]:
        raise DataError(
            f"The response {label!r} has no row in {levels[0]!r}, its first category, which the others are compared "
            f"with. Put another one first: data[{label!r}].cat.reorder_categories([...])."
        )
    if len(levels) > MOST_CATEGORIES:
        raise DataError(
            f"The response {label!r} has {len(levels):,} categories; each but the first has a linear predictor, and "
            f"{MOST_CATEGORIES} are the most. Join rare ones, or take another family if these are numbers."
        )
    return Response(y=frozen(codes), levels=tuple(levels))


def _whole_numbers(label: str, index: pd.Index, value: np.ndarray, holds: str) -> tuple[list[Any], np.ndarray]:
    """Categories that are whole numbers, and the code (n,) of each row."""
    if value.ndim > 1 or np.any(value != np.round(value)):
        raise DataError(
            f"The response {label!r} of {holds} whole numbers"
            + ("." if value.ndim > 1 else f": {row_names(index, value != np.round(value))}.")
        )
    _refuse(
        label,
        index,
        np.abs(value) >= EXACT,
        value,
        "whole numbers of 2^53 and more have no doubles of their own, so that categories would merge: make them "
        "a pandas.Categorical",
    )
    seen, codes = np.unique(value, return_inverse=True)
    return [int(v) for v in seen], codes


def _levels(factor: Factor) -> list[Any]:
    """Levels in the order of the categories, or sorted."""
    if factor.levels:
        return list(factor.levels)
    data = factor.data
    if isinstance(data.dtype, pd.CategoricalDtype):
        return [level for level in data.cat.categories if (data == level).any()]
    return sorted(data.unique())


def check_support(label: str, index: pd.Index, family: Family, y: np.ndarray) -> None:
    """Refuse, by row, numbers that a family cannot have."""
    remedy = TRIALS_REMEDY if family.has_trials else ""
    _refuse(label, index, family.impossible(y), y, f"{family.option} needs {family.needs}", remedy)


def with_declared(label: str, frame: Columns, column: pd.Series) -> Columns:
    """The used columns in which a response without an order has the categories that its column declares.

    A category without rows may be observed elsewhere, and its linear predictor follows from its priors.
    """
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return frame
    declared = column.cat.categories
    kept = types.is_string_dtype(declared) or types.is_numeric_dtype(declared)
    return frame.replaced(label, frame[label].cat.set_categories(declared if kept else map(str, declared)))


def check_order(label: str, column: pd.Series) -> None:
    """Refuse categories without an order as an ordinal response."""
    if isinstance(column.dtype, pd.CategoricalDtype) and not column.dtype.ordered:
        raise DataError(_NO_ORDER.format(label=label))


def warn_of_categories(label: str, column: pd.Series, levels: Sequence[Any], *, is_ordered: bool) -> None:
    """Say which declared categories occur in no row: a likelihood gives them no probability, and no finite cutpoint."""
    declared = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else ()
    unseen = [level for level in declared if level not in levels]
    if unseen:
        shown = ", ".join(map(repr, unseen[:5])) + (", …" if len(unseen) > 5 else "")
        keep = f"; C({label}, levels=[...]) in its place keeps them in a posterior" if is_ordered else ""
        warn(
            f"The response {label!r} has no row in {shown}: left out of the model, whose predictions never are in "
            f"{'it' if len(unseen) == 1 else 'them'}. data[{label!r}].cat.remove_unused_categories() says so of the "
            f"data{keep}.",
            DroppedCategoriesWarning,
        )


def check_values(design: Any, y: np.ndarray) -> None:
    """Refuse a response (n,) that does not fit a design: coded as the design's is."""
    label, index, family = design.response, design.index, design.family
    if family.has_trials:
        bad = (y < 0) | (y > design.trials) | (y != np.round(y))
        _refuse(label, index, bad, y, "successes are whole numbers from zero to the trials")
    elif family.has_categories:
        last = len(design.levels) - 1
        bad = (y < 0) | (y > last) | (y != np.round(y))
        _refuse(label, index, bad, y, f"categories are coded 0 to {last}")
    else:
        check_support(label, index, family, y)


def _refuse(label: str, index: pd.Index, bad: np.ndarray, y: np.ndarray, needed: str, remedy: str = "") -> None:
    if bad.any():
        first = y[np.flatnonzero(bad)[0]]
        raise DataError(f"The response {label!r}: {needed}; {row_names(index, bad)} (first: {first:g}).{remedy}")
