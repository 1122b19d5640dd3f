"""Rows that lines are drawn through, and what a fit predicts for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.categories import category_words
from ..design.coding import MatrixRecipe
from ..design.design import Design, GroupTerm
from ..errors import InputError, NotAvailableError
from ..results import reference, wald
from ..results.fit import Fit
from ..results.point import PointFit
from ..results.variance import nesting
from ..tools.arrays import Array
from ..tools.frame import is_numeric
from . import style

POINTS = 31  # of a line


def predictors(design: Design) -> list[str]:
    """Columns of the data that lines can run along: no grouping factors."""
    return reference.predictors(design, groups=False)


def _columns(recipes: Sequence[MatrixRecipe]) -> list[str]:
    leaves = [coded.expression for recipe in recipes for factors in recipe.products for coded in factors]
    return list(dict.fromkeys(name for leaf in leaves for name in leaf.columns.values()))


def chosen_x(design: Design, x: str | None, group: str | None = None) -> str:
    """The predictor asked for; or the first number that has random slopes, the first number, the first predictor.

    Raises
    ------
    InputError
        It is no predictor, or the model has none.
    """
    available = predictors(design)
    if x is not None or not available:
        if not available:
            raise InputError("the model has no predictor to draw lines over; plot_coef shows its levels")
        return style.chosen("predictor", x, available)[0]
    ordinary = [g for g in design.groups if not g.is_wide]
    bars = [
        bar
        for g, bars_of in zip(ordinary, design.recipe.bars, strict=True)
        for bar in bars_of
        if group in (None, g.name)
    ]
    candidates = [*_columns(bars), *available]
    return next((name for name in candidates if is_continuous(design, name)), available[0])


def is_continuous(design: Design, name: str) -> bool:
    """Whether a column holds numbers, and not yes and no."""
    column = design.frame[name]
    return is_numeric(column) and column.dtype != bool


def levels_of(column: pd.Series) -> list[Any]:
    """The levels of a factor in their order."""
    return list(column.cat.categories) if hasattr(column, "cat") else sorted(column.unique())


def observed(design: Design) -> Array:
    """The response (n,) as it is drawn: successes over trials of a binomial one."""
    return design.y if design.trials is None else design.y / design.trials


def response_label(design: Design) -> str:
    """What stands along the axis of the response."""
    if design.family.is_binary:
        return f"probability of {category_words(design)[1]}" if design.levels else f"probability of {design.response}"
    return design.response if design.trials is None else f"proportion, {design.response}"


def no_categories(design: Design, verb: str) -> None:
    """Refuse an ordinal response."""
    if not design.family.has_mean:
        raise NotAvailableError(
            f"{verb}: such a response has a probability for each category; plot_predictions draws them"
        )


def rows_by_level(
    design: Design, term: GroupTerm, codes: Sequence[int], x: str
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Rows along ``x`` for some levels of a factor, and the place in ``codes`` of each row's level.

    The line of a level goes as far as its data do; the other predictors are held at the level's own typical values.
    """
    parts = []
    for code in codes:
        level_rows = design.frame[term.codes == code]
        values = _along(design, x, level_rows[x])
        held = {name: [reference.typical(level_rows[name])] * len(values) for name in level_rows}
        parts.append(pd.DataFrame({**held, x: values}))
    place = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return pd.concat(parts, ignore_index=True).astype(_text_as_it_was(design)), place


def _along(design: Design, x: str, column: pd.Series) -> list[Any]:
    if not is_continuous(design, x):
        return [level for level in levels_of(design.frame[x]) if (column == level).any()]
    low, high = column.min(), column.max()
    return [low] if low == high else list(np.linspace(low, high, POINTS))


def _text_as_it_was(design: Design) -> dict[str, Any]:
    """Types of the columns of the fit, without those of numbers, which a line divides."""
    return {name: column.dtype for name, column in design.frame.items() if not is_numeric(column)}


def observed_groups(design: Design, name: str) -> dict[str, str]:
    """What to predict for a level of one factor: its own effects and those it is nested in, the average of others."""
    observed = {name, *nesting(design)[name]}
    return {
        group.name: "observed" if group.name in observed else "average" for group in design.groups if group.is_grouping
    }


def predicted(
    fit: Fit,
    rows: pd.DataFrame,
    groups: str | dict[str, str],
    *,
    random_seed: int | None = None,
    ddf: str | None = wald.DDF,
) -> pd.DataFrame:
    """Expected responses of rows with the 95 % interval: mean, conf_low, conf_high; of an ordinal one by category.

    Levels of a point fit have no interval here; its other intervals are those of ``predict``, with these ``ddf``.
    """
    design = fit.design
    offset = float(design.offset.mean()) if design.recipe.offset_given_as_array else None
    if not isinstance(fit, PointFit):
        table = fit.predict(rows, groups=groups, offset=offset, ci_prob=style.OUTER, random_seed=random_seed)
        return table.drop(columns=["sd", "median"])
    if groups in ("average", "new"):
        table = fit.predict(rows, groups=groups, offset=offset, interval="plug-in", ci_prob=style.OUTER, ddf=ddf)
        return table.rename(columns={"estimate": "mean"})[["mean", "conf_low", "conf_high"]]
    mean = fit.predict(rows, groups=groups, offset=offset).to_numpy()
    return pd.DataFrame({"mean": mean, "conf_low": np.nan, "conf_high": np.nan}, index=rows.index)
