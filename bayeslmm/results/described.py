"""A model before it is fitted, and its data, as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..design.priors import Priors
from ..tools.frame import is_numeric
from .summaries import P_POSITIVE
from .text import Table, Text, number, table

MOST_LEVELS = 6  # named in a line
MOST_FACTOR_LEVELS = 15  # of which any are named


def model_text(design: Design, priors: Priors) -> Text:
    """Formula, family, rows, groups and priors."""
    dropped = f", {design.n_dropped:,} dropped (missing values)" if design.n_dropped else ""
    head = [
        f"Mixed-effects model, family {design.family}",
        f"Formula: {design.formula.text}",
        f"Rows: {design.n:,} used{dropped}{design.rows_words}",
        f"Fixed: {design.fixed_words}",
        *design.contrast_lines,
        *design.predictor_lines,
    ]
    if design.residual is not None:
        head.append(f"Residuals: {design.residual.text}")
    return Text.of("\n".join(head), groups_table(design), priors_table(priors))


def groups_table(design: Design) -> Table | None:
    """Grouping factors with their random effects and sizes, if there are any."""
    rows = []
    for group in design.every_group:
        if group.is_wide:
            rows.append(
                [
                    group.name,
                    ", ".join(group.columns) if group.is_grouping else "curve",
                    f"{group.n_levels:,}",
                    "",
                    "",
                    "",
                ]
            )
            continue
        sizes = pd.Series(group.codes).value_counts()
        spread = [f"{sizes.min():,}", f"{sizes.median():,.0f}", f"{sizes.max():,}"]
        rows.append([group.name, ", ".join(group.columns), f"{group.n_levels:,}", *spread])
    headers = ["Grouping factor", "Effects", "Levels", "Fewest rows", "Median", "Most"]
    return table(headers, rows, left=2) if rows else None


def priors_table(priors: Priors) -> Table:
    """Every prior with the reason for its scale."""
    return table(["Parameter", "Prior", "Because"], [list(row) for row in priors.rows], left=3)


def variables_table(design: Design) -> Table:
    """The used columns: range, mean and sd of numbers, the most frequent levels of factors."""
    rows = [[name, *_described(design.frame[name])] for name in design.frame.columns]
    return table(["Variable", "Kind", "Values"], rows, left=3)


def _described(column: pd.Series) -> list[str]:
    if is_numeric(column) and column.dtype != bool:
        sd, middle = float(column.std()), float(column.mean())
        low, mean, high = (number(float(v)) for v in (column.min(), middle, column.max()))
        return ["number", f"{low} to {high}, mean {'0' if rounds_to_zero(middle, sd) else mean}, sd {number(sd)}"]
    counts = column.value_counts()
    if len(counts) > MOST_FACTOR_LEVELS:  # who it is matters to nobody who reads the page
        return ["factor", f"{len(counts):,} levels"]
    listed = ", ".join(f"{level}: {count:,}" for level, count in counts.head(MOST_LEVELS).items())
    return ["factor", f"{listed}, … ({len(counts):,} levels)" if len(counts) > MOST_LEVELS else listed]


def rounds_to_zero(mean: float, sd: float) -> bool:
    """Whether a predictor is centred, but for what rounding left: to the digits that its sd has, its mean is zero."""
    return abs(mean) <= 5e-4 * sd


def numbers_table(frame: pd.DataFrame) -> Table:
    """A table of results for reading: digits as their sd or standard error justifies, else four."""
    spread = next((c for c in ("sd", "std_error") if c in frame), None)
    rows = []
    for _, row in frame.iterrows():
        uncertainty = row[spread] if spread else None
        rows.append([_cell(row[column], None if column == P_POSITIVE else uncertainty) for column in frame])
    numeric = [is_numeric(frame[column]) for column in frame]
    left = numeric.index(True) if True in numeric else len(numeric)
    return table([HEADERS.get(str(column), str(column).capitalize()) for column in frame], rows, left=left)


HEADERS = {
    "conf_low": "Low",
    "conf_high": "High",
    "sd": "SD",
    "icc": "",
    "r2": "",
    "std_error": "Std.Error",
    P_POSITIVE: "P(>0)",
}


def _cell(value: Any, uncertainty: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else number(value, uncertainty if uncertainty else None)
