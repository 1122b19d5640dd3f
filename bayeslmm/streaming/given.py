"""What a model of data in chunks says besides its rows, and what is refused of it, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..design.plan import Plan
from ..errors import DataError, DroppedRowsWarning, InputError, NotAvailableError
from ..families import Family
from ..formulas.binding import Scope
from ..formulas.expressions import evaluate
from ..formulas.formula import Formula
from ..tools.frame import unknown_column
from ..tools.warned import warn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a model says besides its formula."""

    formula: Formula
    family: Family
    scope: Scope
    weights: Any = None
    offset: Any = None
    levels: Mapping[str, Sequence[Any]] | None = None


def refuse_options(**options: Any) -> None:
    """Raise NotAvailableError for what a model of data in chunks does not take."""
    for name, value in options.items():
        if value is not None:
            raise NotAvailableError(
                f"{name}= is not offered for data that come in chunks. Read a sample of rows into memory for it."
            )


def named_column(value: Any, what: str, columns: Sequence[str]) -> str | None:
    """The column that ``weights=`` or ``offset=`` names; values beside the data cannot be told apart by chunk."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise NotAvailableError(
            f"{what}= of data that come in chunks is the name of a column, not a {type(value).__name__} of values."
        )
    if value not in columns:
        raise unknown_column(value, f"{what}=", columns)
    return value


def given_levels(levels: Any, columns: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """What ``levels=`` says, by column; InputError for what is no dict of lists of different levels."""
    if not isinstance(levels, Mapping | None):
        raise InputError(f"levels={type(levels).__name__}: a dict of levels by column is needed, {{'g': [...]}}")
    given = {}
    for name, values in (levels or {}).items():
        if name not in columns:
            raise InputError(f"levels={{{name!r}: ...}}: the data have no such column")
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise InputError(f"levels={{{name!r}: {values!r}}}: the levels of a column are a list")
        given[name] = tuple(getattr(value, "item", lambda value=value: value)() for value in values)
        if len(set(given[name])) < len(given[name]):
            raise InputError(f"levels={{{name!r}: ...}}: a level stands there twice")
    return given


def refuse_wide(formula: Formula) -> None:
    """Raise NotAvailableError for terms that need all rows at once."""
    for bar in formula.bars:
        if bar.word is not None:
            raise NotAvailableError(f"{bar.text} of data that come in chunks is not offered; (x | g) is.")
    for _, text in formula.smooths:
        raise NotAvailableError(f"{text} of data that come in chunks is not offered; bs(x, knots=[...]) and poly are.")


def refuse_empty(n: int, missing: Mapping[str, int]) -> None:
    """Raise DataError where no row is complete."""
    if n:
        return
    shown = ", ".join(f"{name} {count}" for name, count in missing.items())
    raise DataError(f"No row is complete: missing values: {shown}. Fill in or leave out the column.")


def refuse_changed(before: Mapping[str, Any], after: Mapping[str, Any], words: str = "") -> None:
    """Raise DataError if parts of a source have changed, by their stamps or in the ``words`` for what was seen."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed or words:
        raise DataError(
            f"{changed[0] if changed else 'the data'} changed between the two passes over the rows{words}. Nothing was "
            "fitted. Fit again once they stand still."
        )


def warn_of_dropped(n: int, n_read: int, missing: Mapping[str, int]) -> None:
    """Say how many rows were left out, and for which columns."""
    if missing:
        shown = ", ".join(f"{name} {count}" for name, count in missing.items())
        warn(f"{n_read - n} of {n_read} rows left out, as they have missing values ({shown}).", DroppedRowsWarning)


def settle_memories(plan: Plan, rows: pd.DataFrame) -> None:
    """Evaluate every leaf once: what it would still take of these rows alone is refused."""
    for expression in (plan.response, *plan.expressions.values(), *plan.offsets):
        evaluate(expression, rows)
        if expression.memory is not None and expression.memory.learnt:
            raise NotAvailableError(
                f"{expression.memory.learnt[0]} ({expression.memory.where}) of data that come in chunks is not "
                "offered: it is no sum over rows. mean, sd, var, min, max and sum are, of a column or of what goes row "
                "by row. Compute it first and write the number into the formula."
            )
