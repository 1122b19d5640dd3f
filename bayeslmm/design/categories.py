"""The scale on which a user sees a response that a design holds in codes (`bayeslmm.design.codes`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..tools.arrays import Array
from .codes import are_numbers, as_word, scores
from .design import Design

EMPTY = np.zeros(0)


def category_numbers(design: Design) -> NDArray[Any]:
    """The numbers (K,) that a user sees of the categories of a response; none of another."""
    return as_seen(design, np.arange(len(design.levels), dtype=np.float64)) if design.family.has_categories else EMPTY


def category_words(design: Design) -> list[str]:
    """The categories as a sentence shows them."""
    return list(map(as_word, design.levels))


def as_seen(design: Design, y: Array) -> NDArray[Any]:
    """Responses of any shape in the numbers that a user sees, from codes; whole ones as whole numbers.

    ArviZ tells counts and categories from measurements by their type.
    """
    if design.family.has_categories:
        missing = np.isnan(y)
        seen = scores(design.levels)[np.where(missing, 0.0, y).astype(np.int64)]
        y = np.where(missing, np.nan, seen) if missing.any() else seen
    is_whole = design.family.is_discrete and bool(np.all(np.abs(y) < 2.0**53)) and bool(np.all(y == np.rint(y)))
    return y.astype(np.int64) if is_whole else y


def as_table(design: Design, y: Array) -> pd.DataFrame:
    """Data sets (S, n) as columns ``sim_1``, ... of the type of the response: categories where it has labels."""
    several = design.family.has_categories
    named = bool(design.levels) and not (several and are_numbers(design.levels))
    columns: dict[str, Any] = {}
    for i, values in enumerate(y):
        if named:
            columns[f"sim_{i + 1}"] = pd.Categorical.from_codes(
                values.astype(np.int64), categories=list(design.levels), ordered=design.family.has_cutpoints
            )
        else:
            columns[f"sim_{i + 1}"] = as_seen(design, values) if several else values
    return pd.DataFrame(columns, index=design.index)
