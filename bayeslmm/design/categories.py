"""The scale on which a user sees a response, and the codes in which a design holds it.

A design holds categories as 0, ..., K − 1. Seen from outside, categories that are numbers are these numbers; others are
scored 1, ..., K in their order, as in ``ordinal::clm`` and brms, and data sets hold their labels. Success and failure
that were given by name are 1 and 0, as R's ``glm`` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError
from ..tools.arrays import Array

if TYPE_CHECKING:
    from .design import Design

EMPTY = np.zeros(0)


def are_numbers(levels: Sequence[Any]) -> bool:
    """Whether categories are numbers in increasing order."""
    numeric = all(isinstance(level, int | float | np.number) and not isinstance(level, bool) for level in levels)
    return numeric and all(a < b for a, b in zip(levels, levels[1:], strict=False))


def scores(levels: Sequence[Any]) -> Array:
    """The number of every category (K,).

    Examples
    --------
    >>> scores((2, 3, 5)).tolist(), scores(("low", "high")).tolist()
    ([2.0, 3.0, 5.0], [1.0, 2.0])
    """
    return np.array(levels if are_numbers(levels) else range(1, len(levels) + 1), dtype=np.float64)


def category_numbers(design: Design) -> NDArray[Any]:
    """The numbers (K,) that a user sees of the categories of an ordered response; none of another."""
    return as_seen(design, np.arange(len(design.levels), dtype=np.float64)) if design.family.has_categories else EMPTY


def as_seen(design: Design, y: Array) -> NDArray[Any]:
    """Responses of any shape in the numbers that a user sees, from codes; whole ones as whole numbers.

    ArviZ tells counts and categories from measurements by their type.
    """
    if design.family.has_categories:
        missing = np.isnan(y)
        seen = scores(design.levels)[np.where(missing, 0.0, y).astype(np.int64)]
        y = np.where(missing, np.nan, seen) if missing.any() else seen
    whole = design.family.is_discrete and bool(np.all(np.abs(y) < 2.0**53)) and bool(np.all(y == np.rint(y)))
    return y.astype(np.int64) if whole else y


def as_table(design: Design, y: Array) -> pd.DataFrame:
    """Data sets (S, n) as columns ``sim_1``, ... of the type of the response: categories where it has labels."""
    ordinal = design.family.has_categories
    named = bool(design.levels) and not (ordinal and are_numbers(design.levels))
    columns: dict[str, Any] = {}
    for i, values in enumerate(y):
        if named:
            columns[f"sim_{i + 1}"] = pd.Categorical.from_codes(
                values.astype(np.int64), categories=list(design.levels), ordered=ordinal
            )
        else:
            columns[f"sim_{i + 1}"] = as_seen(design, values) if ordinal else values
    return pd.DataFrame(columns, index=design.index)


def as_codes(design: Design, y: Any) -> Any:
    """Responses (n,) as a design codes them: from its categories, or from the numbers that a user sees of them.

    Raises
    ------
    DataError
        A value that is no category.
    """
    if not design.levels:
        return y
    values = list(y)
    code_of = {level: code for code, level in enumerate(design.levels)}
    if not all(_is_among(value, code_of) for value in values):
        numbers = (0.0, 1.0) if design.family.is_binary else scores(design.levels).tolist()
        code_of_number = {number: code for code, number in enumerate(numbers)}
        unknown = next((v for v in values if not _is_among(v, code_of_number) and not pd.isna(v)), None)
        if unknown is not None:
            shown = ", ".join(map(repr, design.levels))
            raise DataError(
                f"refit: {unknown!r} is no category of {design.response!r}; there are {shown}"
                + ("" if numbers == list(design.levels) else f", or the numbers {numbers[0]:g} to {numbers[-1]:g}")
            )
        code_of = code_of_number
    return np.array([np.nan if pd.isna(v) else code_of[v] for v in values])


def _is_among(value: Any, places: dict[Any, int]) -> bool:
    try:
        return value in places
    except TypeError:  # a list has no hash
        return False
