"""Shapes of tables that both kinds of fit share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ..tools.arrays import Array
from ..tools.frame import TEXT
from .summaries import P_POSITIVE

FEW = 2_000  # rows of a table

# columns of numbers, of either kind of fit
NUMBERS = frozenset(
    ("estimate", "std_error", "df", "conf_low", "conf_high", "statistic", "p_value", "mean", "sd", "median", P_POSITIVE)
)


def set_apart(labels: pd.DataFrame, own: Collection[str] = ()) -> pd.DataFrame:
    """Columns of the user's that say what a number is of, by other names where they are called like numbers.

    Parameters
    ----------
    labels : DataFrame
        One row a number.
    own : collection of str
        Other names that the table has for itself.
    """
    return labels.rename(columns=apart_names(labels, own))


def apart_names(names: Collection[str], own: Collection[str] = ()) -> dict[str, str]:
    """What such columns are called."""
    return {name: f"{name} (column)" for name in names if name in NUMBERS or name in own}


def level_table(group: str, levels, terms, **values: Array) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Long table of (levels, terms) arrays."""
    J, q = len(levels), len(terms)
    return pd.DataFrame(
        {
            "group": group,
            "level": pd.Series(list(levels), dtype=object).repeat(q).to_numpy(),
            "term": list(terms) * J,
            **{name: array.reshape(-1) for name, array in values.items()},
        }
    )


def level_labels(parts: Sequence[tuple[str, Sequence[Any], Sequence[str]]]) -> dict[str, Any]:
    """The columns group, level and term of tables of (name, levels, terms) one below the other, as `stack` has them.

    Made at once, since every column that pandas adds to a table takes longer than a small fit.
    """
    if sum(len(levels) * len(terms) for _, levels, terms in parts) <= FEW:
        return {  # a column of text takes longer to be told places than to be made of as many texts
            "group": _column([name for name, levels, terms in parts for _ in range(len(levels) * len(terms))]),
            "level": _column([level for _, levels, terms in parts for level in levels for _ in terms]),
            "term": _column([term for _, levels, terms in parts for _ in levels for term in terms]),
        }
    names, every_level = [name for name, _, _ in parts], [level for _, levels, _ in parts for level in levels]
    every_term = list(dict.fromkeys(term for _, _, terms in parts for term in terms))
    sizes = [len(levels) * len(terms) for _, levels, terms in parts]
    widths = np.repeat([len(terms) for _, _, terms in parts], [len(levels) for _, levels, _ in parts])
    of_terms = [np.tile([every_term.index(term) for term in terms], len(levels)) for _, levels, terms in parts]
    return {
        "group": _column(names).take(np.repeat(np.arange(len(names)), sizes)),
        "level": _column(every_level).take(np.repeat(np.arange(len(every_level)), widths)),
        "term": _column(every_term).take(np.concatenate(of_terms)),
    }


def _column(values: Sequence[Any]) -> Any:
    """Labels as a column of a table holds them: text as text, others as they are."""
    labels = np.empty(len(values), dtype=object)
    labels[:] = values
    if set(map(type, values)) == {str}:  # pandas takes as long again to find that out
        return pd.array(labels, dtype=TEXT)
    return pd.Series(labels).array


@lru_cache(maxsize=256)
def _index_of(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(list(names))


def named_square(values: Array, names: Sequence[str]) -> pd.DataFrame:
    """A matrix (k, k) with these names on both sides, of which a user may rename one: each has an index of its own."""
    index = _index_of(tuple(names))
    return pd.DataFrame(values, index=index.view(), columns=index.view())


def stack(parts: list[pd.DataFrame], numbers: Sequence[str] = ("estimate", "std_error")) -> pd.DataFrame:
    """Level tables one below the other; an empty table with these numbers where there are none."""
    if not parts:
        return pd.DataFrame(columns=["group", "level", "term", *numbers])
    return pd.concat(parts, ignore_index=True)


def wide_table(table: pd.DataFrame, value: str = "estimate") -> pd.DataFrame:
    """One row a level, one column a term, in the order of the long table."""
    rows = pd.MultiIndex.from_frame(table[["group", "level"]].drop_duplicates())
    terms = list(dict.fromkeys(table["term"]))
    wide = table.pivot(index=["group", "level"], columns="term", values=value)
    return wide.reindex(index=rows, columns=terms).rename_axis(columns=None)


def square(values: pd.Series, grid: pd.DataFrame) -> pd.DataFrame:
    """One number a pair of the grid's rows as a matrix, labelled by the grid's values."""
    index = pd.MultiIndex.from_frame(grid) if grid.shape[1] > 1 else pd.Index(grid.iloc[:, 0])
    return pd.DataFrame(values.to_numpy().reshape(len(grid), len(grid)), index=index, columns=index)
