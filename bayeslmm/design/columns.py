"""The structure of a bar against its columns: whether they are many enough, and have the order it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..covariances import UNSTRUCTURED, Structure
from ..errors import DataError, UnequalStepsWarning, UnidentifiedTermError
from ..formulas.formula import Bar
from ..tools.frame import Columns
from ..tools.warned import warn
from .coding import Coded, MatrixRecipe

SHOWN = 6  # levels that a message lists


def structure_of(bar: Bar, recipe: MatrixRecipe, group: str, frame: pd.DataFrame | Columns) -> Structure:
    """The structure of a bar with these columns; a single column has an sd and no more.

    Raises
    ------
    UnidentifiedTermError
        A structure with a correlation, and one column only.
    DataError
        A structure of steps in an order, and columns that have none.

    Warns
    -----
    UnequalStepsWarning
        Steps that are numbers with unequal distances.
    """
    structure, width = bar.structure, recipe.width
    if width == 1:
        if structure.is_free or not structure.n_correlations(2):
            return UNSTRUCTURED
        raise UnidentifiedTermError(
            f"{bar.text}: {bar.columns} is one column ({recipe.names[0]}), and {structure.name} is about the "
            f"correlation of several. Write ({bar.columns} | {group}), or C() around a number whose values are levels."
        )
    if structure.has_order:
        _check_steps(bar, recipe, frame)
    return structure


def _check_steps(bar: Bar, recipe: MatrixRecipe, frame: pd.DataFrame | Columns) -> None:
    """Refuse columns of which nobody says which comes next."""
    factors = [coded for product in recipe.products for coded in product if coded.table is not None]
    word = bar.structure.name
    if len(recipe.products) != 1 or len(factors) != 1 or not _is_indicators(recipe, factors[0]):
        raise DataError(
            f"{bar.text}: {word} takes its columns as steps one after the other, the levels of one factor, and "
            f"{', '.join(recipe.names[:SHOWN])}{', ...' * (recipe.width > SHOWN)} are none. Write "
            f"{word}(0 + f | g) with a factor f; C(week) makes one of numbers. For an intercept with a slope there are "
            "us, diag and cs."
        )
    steps = factors[0]
    column = frame[steps.expression.label] if steps.expression.is_column else None
    in_order(f"{bar.text}: {word}", steps.expression.label, steps.levels, column)
    _warn_of_gaps(bar, steps)


def _is_indicators(recipe: MatrixRecipe, steps: Coded) -> bool:
    return recipe.width == len(steps.levels) and np.array_equal(np.asarray(steps.table), np.eye(recipe.width))


def in_order(who: str, label: str, levels: Sequence[Any], column: pd.Series | None) -> None:
    """Refuse text whose letters and whose numbers give two orders, unless the data say which is meant.

    Raises
    ------
    DataError
    """
    ordered = column is not None and bool(getattr(column.dtype, "ordered", False))
    if ordered or not all(isinstance(level, str) for level in levels):
        return
    natural = sorted(levels, key=_by_numbers)
    if natural != list(levels):
        raise DataError(
            f"{who} takes the levels of {label} in the order of their letters, {', '.join(levels[:SHOWN])}, and by "
            f"their numbers it is {', '.join(natural[:SHOWN])}. Say which is meant: make it a pandas.Categorical with "
            "its categories in order, ordered=True."
        )


def _by_numbers(level: str) -> list[Any]:
    """Texts with numbers in them in the order of these."""
    return [(0, float(piece), "") if piece.isdigit() else (1, 0.0, piece) for piece in re.split(r"(\d+)", level)]


def _warn_of_gaps(bar: Bar, steps: Coded) -> None:
    try:
        numbers = np.array([float(level) for level in steps.levels])
    except (TypeError, ValueError):
        return
    distances = np.diff(numbers)
    if len(distances) > 1 and not np.allclose(distances, distances[0]):
        listed = ", ".join(f"{number:g}" for number in numbers[:SHOWN])
        warn(
            f"{bar.text}: {bar.structure.name} counts the levels {listed}{', ...' * (len(numbers) > SHOWN)} as steps "
            "of equal length, and as numbers they are not.",
            UnequalStepsWarning,
        )
