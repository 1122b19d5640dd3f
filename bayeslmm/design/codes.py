"""Categories of a response, the numbers that a user sees of them, and the codes in which a design holds them.

A design holds categories as 0, ..., K − 1. Seen from outside, categories that are numbers are these numbers; others are
scored 1, ..., K in their order, as in ``ordinal::clm`` and brms, and data sets hold their labels. Success and failure
that were given by name are 1 and 0, as R's ``glm`` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..tools.arrays import Array
from ..tools.frame import one_line


def are_numbers(levels: Sequence[Any]) -> bool:
    """Whether categories are numbers in increasing order."""
    numeric = all(isinstance(level, int | float | np.number) and not isinstance(level, bool) for level in levels)
    return numeric and all(a < b for a, b in zip(levels, levels[1:], strict=False))


def as_word(level: Any) -> str:
    """A category as a sentence shows it: on one line, and in quotes where nothing would be seen."""
    return one_line(level) if str(level).strip() else repr(str(level))


def scores(levels: Sequence[Any]) -> Array:
    """The number of every category (K,).

    Examples
    --------
    >>> scores((2, 3, 5)).tolist(), scores(("low", "high")).tolist()
    ([2.0, 3.0, 5.0], [1.0, 2.0])
    """
    return np.array(levels if are_numbers(levels) else range(1, len(levels) + 1), dtype=np.float64)


def as_codes(y: Any, levels: Sequence[Any], *, is_binary: bool, response: str) -> Any:
    """Responses (n,) in codes: from the categories, or from the numbers that a user sees of them.

    Raises
    ------
    DataError
        A value that is no category.
    """
    if not levels:
        return y
    values = list(y)
    code_of = {level: code for code, level in enumerate(levels)}
    if not all(_is_among(value, code_of) for value in values):
        numbers = (0.0, 1.0) if is_binary else scores(levels).tolist()
        code_of_number = {number: code for code, number in enumerate(numbers)}
        unknown = next((value for value in values if not _is_among(value, code_of_number) and not pd.isna(value)), None)
        if unknown is not None:
            listed = ", ".join(map(repr, levels))
            raise DataError(
                f"refit: {unknown!r} is no category of {response!r}; there are {listed}"
                + ("" if numbers == list(levels) else f", or the numbers {numbers[0]:g} to {numbers[-1]:g}")
            )
        code_of = code_of_number
    return np.array([np.nan if pd.isna(value) else code_of[value] for value in values])


def _is_among(value: Any, places: dict[Any, int]) -> bool:
    try:
        return value in places
    except TypeError:  # a list has no hash
        return False
