"""Comparisons and slopes: what predictions say about a predictor, over the rows of the data or at chosen points.

A `Plan` holds rows in two or more states of one variable and the pairs of states to compare; `effect_estimates` puts
numbers to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError, UnknownColumnError
from ..tools.arrays import Array
from ..tools.frame import as_frame
from ..tools.lazy import sparse
from ..tools.words import is_one_of
from .reference import is_number, levels, predictors, reference_grid
from .tables import set_apart

RATIOS = ("ratio", "odds_ratio")
KINDS = ("difference", *RATIOS)
OWN = ("term", "contrast", "category")  # columns that say what a number is of, beside the user's
STEP = 1e-5  # of a variable's range, for slopes: far from rounding, and a curve is straight over it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """n rows in K states, and what is compared.

    Attributes
    ----------
    states : tuple of DataFrame
        The same rows at other values of one variable.
    pairs : tuple of (label, high, low)
        Numbers of states.
    width : float64 array (n,)
        What a difference is divided by.
    kind : {"difference", "ratio", "odds_ratio", "slope"}
    means : sparse (n, G)
        Weights of the rows in each of G averages; columns add up to one.
    labels : DataFrame
        G rows that say which average it is.
    own_rows : bool
        Whether the rows are those of the fit.
    """

    verb: str
    variable: str
    states: tuple[pd.DataFrame, ...]
    pairs: tuple[tuple[str, int, int], ...]
    width: Array
    kind: str
    means: Any
    labels: pd.DataFrame
    own_rows: bool

    @property
    def is_ratio(self) -> bool:
        """Whether one side is divided by the other, so that no difference is a one."""
        return self.kind in RATIOS

    @property
    def null(self) -> float:
        """No difference."""
        return 1.0 if self.is_ratio else 0.0

    def scaled(self, mean: Array) -> tuple[Array, Array]:
        """What is divided, of averages, and how it moves with them: these themselves, or their odds."""
        if self.kind != "odds_ratio":
            return mean, np.ones_like(mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            return mean / (1.0 - mean), (1.0 - mean) ** -2.0

    @property
    def n(self) -> int:
        """Rows of a state."""
        return len(self.width)

    def table(self, categories: Sequence[Any] = ()) -> pd.DataFrame:
        """What every number is of: term, contrast and labels, pair by pair, average by average, category inside."""
        parts = []
        for label, _, _ in self.pairs:
            part = set_apart(self.labels, OWN)
            part.insert(0, "contrast", label)
            part.insert(0, "term", self.variable)
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        if not len(categories):
            return table
        table = table.loc[table.index.repeat(len(categories))].reset_index(drop=True)
        return table.assign(category=list(categories) * (len(table) // len(categories)))


# -- what is compared


def comparison_plan(
    design: Design, variable: str, contrast: Any, kind: str, newdata: Any, at: Any, by: Any, average: bool
) -> Plan:
    """States for the contrasts of a variable."""
    if not is_one_of(kind, KINDS):
        raise InputError(f"comparisons(kind={kind!r}): kind is 'difference', 'ratio' or 'odds_ratio'")
    if kind == "odds_ratio" and not design.family.mean_is_probability:
        raise InputError(f"comparisons(kind='odds_ratio'): the mean of {design.family} is no probability; kind='ratio'")
    if isinstance(variable, Mapping) and len(variable) == 1 and contrast is None:  # marginaleffects' way
        ((variable, contrast),) = variable.items()
    _check_variable(design, variable, "comparisons")
    if isinstance(at, Mapping) and variable in at and not _is_step(design, variable, contrast):
        raise InputError(
            f"comparisons({variable!r}, at=...): the contrast sets {variable!r} itself; leave it out of at="
        )
    rows, means, labels = _rows(design, newdata, at, by, average, "comparisons")
    sign = "-" if kind == "difference" else "/"
    values, pairs = _contrasts(design.frame[variable], variable, contrast, rows, sign)
    states = tuple(rows.assign(**{variable: value}) for value in values)
    return Plan(
        verb="comparisons",
        variable=variable,
        states=states,
        pairs=tuple(pairs),
        width=np.ones(len(rows)),
        kind=kind,
        means=means,
        labels=labels,
        own_rows=newdata is None and at is None,
    )


def slope_plan(design: Design, variable: str, newdata: Any, at: Any, by: Any, average: bool) -> Plan:
    """States a small step apart; inside the observed range, where splines end."""
    _check_variable(design, variable, "slopes")
    column = design.frame[variable]
    if not is_number(column):
        raise InputError(f"slopes({variable!r}): {variable!r} has levels, not numbers; comparisons({variable!r})")
    rows, means, labels = _rows(design, newdata, at, by, average, "slopes")
    x = _column(rows, variable, "slopes").to_numpy(dtype=float)
    lowest, highest = float(column.min()), float(column.max())
    step = STEP * (highest - lowest or abs(highest) or 1.0)  # a column may be constant
    inside = (x >= lowest) & (x <= highest) & (lowest < highest)
    high = np.where(inside, np.minimum(x + step, highest), x + step)
    low = np.where(inside, np.maximum(x - step, lowest), x - step)
    return Plan(
        verb="slopes",
        variable=variable,
        pairs=((f"d/d{variable}", 1, 0),),
        width=high - low,
        kind="slope",
        states=tuple(rows.assign(**{variable: value}) for value in (low, high)),
        means=means,
        labels=labels,
        own_rows=newdata is None and at is None,
    )


def _check_variable(design: Design, variable: Any, verb: str) -> None:
    available = predictors(design, groups=False)
    if variable not in available:
        listed = ", ".join(map(repr, available)) or "none"
        raise InputError(f"{verb}({variable!r}): {variable!r} is no predictor of the model; it has {listed}")


def _rows(
    design: Design, newdata: Any, at: Any, by: Any, average: bool, verb: str
) -> tuple[pd.DataFrame, Any, pd.DataFrame]:
    """Rows, the weights of their averages, and what these are of."""
    if at is not None:
        if newdata is not None or by is not None:
            raise InputError(f"{verb}(at=...): points are predicted one by one; newdata= and by= are averaged over")
        points, rows = reference_grid(design, at)
        held = [
            predictor
            for predictor in predictors(design)
            if predictor in points or predictor in predictors(design, groups=False)
        ]
        return rows[held], sparse.identity(len(rows), format="csr"), points
    rows = design.frame if newdata is None else as_frame(newdata)
    rows = rows.reset_index(names="row") if not average and "row" not in rows else rows.reset_index(drop=True)
    if not average:
        if by is not None:
            raise InputError(f"{verb}(average=False, by=...): by= names what is averaged over")
        return rows, sparse.identity(len(rows), format="csr"), rows[["row"]]
    names = [by] if isinstance(by, str) else list(by or [])
    for name in names:
        if name not in rows:
            raise InputError(f"{verb}(by={name!r}): no such column; there are {', '.join(map(repr, rows.columns))}")
    counted = design.counted if newdata is None else np.ones(len(rows))
    if not names:
        return rows, sparse.csr_matrix(counted[:, None] / counted.sum()), pd.DataFrame(index=[0])
    grouped = rows.groupby(names, observed=True, dropna=False, sort=True)
    codes, sizes = grouped.ngroup().to_numpy(), grouped.size()
    weights = counted / np.bincount(codes, weights=counted)[codes]
    means = sparse.csr_matrix((weights, (np.arange(len(rows)), codes)), shape=(len(rows), len(sizes)))
    return rows, means, sizes.index.to_frame(index=False)


def _column(rows: pd.DataFrame, variable: str, verb: str) -> pd.Series:
    """Where a variable starts from."""
    if variable not in rows:
        raise UnknownColumnError(f"{verb}({variable!r}, newdata=...): newdata has no column {variable!r} to start from")
    return rows[variable]


def _is_step(design: Design, variable: str, contrast: Any) -> bool:
    """Whether a contrast starts from the value that a row has."""
    pair = isinstance(contrast, tuple | list) or contrast in ("reference", "pairwise")
    return is_number(design.frame[variable]) and not pair


def _contrasts(
    column: pd.Series, variable: str, contrast: Any, rows: pd.DataFrame, sign: str
) -> tuple[list[Any], list[tuple[str, int, int]]]:
    """Values of the variable by state, and pairs of states."""
    if isinstance(contrast, tuple | list):
        if len(contrast) != 2:
            raise InputError(f"comparisons(contrast={contrast!r}): two values, (low, high)")
        low, high = contrast
        return [low, high], [(f"{high} {sign} {low}", 1, 0)]
    if contrast in ("reference", "pairwise") or (contrast is None and not is_number(column)):
        values = levels(column)
        last = len(values) if contrast == "pairwise" else 1
        pairs = [(low, high) for low in range(last) for high in range(low + 1, len(values))]
        return values, [(f"{values[high]} {sign} {values[low]}", high, low) for low, high in pairs]
    if not is_number(column):
        raise InputError(
            f"comparisons({variable!r}, contrast={contrast!r}): of levels, 'reference', 'pairwise' or a pair of them"
        )
    step = _step(column, variable, contrast)
    start = _column(rows, variable, "comparisons")
    label = "+sd" if contrast == "sd" else f"{step:+g}"
    return [start, start + step], [(label, 1, 0)]


def _step(column: pd.Series, variable: str, contrast: Any) -> float:
    """How much a number grows."""
    step = 1.0 if contrast is None else column.std() if contrast == "sd" else contrast
    is_one = isinstance(step, int | float | np.number) and not isinstance(step, bool)
    if not is_one or not np.isfinite(step) or step == 0:
        raise InputError(
            f"comparisons({variable!r}, contrast={contrast!r}): of a number, how much it grows (1, 'sd', 2.5), or two "
            "values, (low, high)"
        )
    return float(step)
