"""Grouping columns → integer codes and labels, never indicators; and what lme4 checks about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, UnidentifiedTermError, WeaklyIdentifiedWarning
from ..tools.frame import brief
from ..tools.warned import warn
from .coding import level_codes, whole_numbers
from .names import as_labels

FEW = 10_000  # levels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grouping:
    """One grouping factor: the levels of each of its columns, and the combinations that occur.

    ``keys`` holds, sorted, each observed combination as one number in the mixed base of the level counts; ``name`` is
    the factor's, for example ``school:class``, unlike that of any other factor of the model.
    """

    name: str
    variables: tuple[str, ...]
    tables: tuple[tuple[Any, ...], ...]
    keys: np.ndarray
    levels: tuple[Any, ...]


def joined(parts: Sequence[tuple[str, ...]], taken: Collection[str] = ()) -> list[str]:
    """Texts such as ``school:class``, one for each of these distinct tuples, all different and unlike those taken.

    Where two would coincide, as ``("x", "y:z")`` and ``("x:y", "z")``, their parts that hold a colon stand in
    backticks; what coincides even then is numbered. All others are the parts with colons between.

    Examples
    --------
    >>> joined([("x", "y:z"), ("x:y", "z"), ("a", "b")])
    ['x:`y:z`', '`x:y`:z', 'a:b']
    """
    texts = [":".join(part) for part in parts]
    used = set(taken)
    if not taken and len(set(texts)) == len(texts):
        return texts
    counts = Counter(texts)
    alone = [counts[text] == 1 and text not in used for text in texts]
    used.update(text for text, only in zip(texts, alone, strict=True) if only)
    for k, part in enumerate(parts):
        if alone[k]:
            continue
        quoted = text = ":".join(f"`{value}`" if ":" in value else value for value in part)
        number = 1
        while text in used:
            number += 1
            text = f"{quoted} ({number})"
        used.add(text)
        texts[k] = text
    return texts


def factorize(columns: Sequence[pd.Series], name: str) -> tuple[Grouping, np.ndarray]:
    """The grouping factor of this name made of these columns, and each row's code (int64).

    Numbers are ordered as numbers, text by code point, categories by their own order. Only combinations that
    occur become levels.
    """
    coded = [_levels_and_codes(column) for column in columns]
    if math.prod(len(levels) for levels, _ in coded) >= 2**62:
        raise DataError(f"{name} has too many combinations to number. Make one column of them first.")
    tables = tuple(tuple(levels) for levels, _ in coded)
    key = _mixed_base([codes for _, codes in coded], [len(table) for table in tables])
    codes, keys = pd.factorize(key, sort=True) if len(columns) > 1 else (key, np.arange(len(tables[0])))
    levels = tables[0] if len(columns) == 1 else tuple(combined(keys, tables))
    keys = np.ascontiguousarray(keys, dtype=np.int64)
    keys.setflags(write=False)
    names = tuple(str(column.name) for column in columns)
    grouping = Grouping(name=name, variables=names, tables=tables, keys=keys, levels=levels)
    return grouping, np.ascontiguousarray(codes, dtype=np.int64)


def new_codes(grouping: Grouping, columns: Sequence[pd.Series]) -> tuple[np.ndarray, np.ndarray]:
    """Codes for new rows (−1 for a combination not seen, or missing), and labels (None where missing)."""
    columns = [_whole_unless_missing(column) for column in columns]
    missing = np.zeros(len(columns[0]), dtype=bool)
    parts = []
    for column, table in zip(columns, grouping.tables, strict=True):
        absent = np.asarray(column.isna())
        codes = np.full(len(column), -1, dtype=np.int64)
        if not absent.all():
            codes[~absent] = level_codes(column[~absent].infer_objects(), table)
        parts.append(codes)
        missing |= absent
    unseen = np.any([codes < 0 for codes in parts], axis=0)
    sizes = [len(table) for table in grouping.tables]
    key = _mixed_base([np.where(unseen, 0, codes) for codes in parts], sizes)
    positions = pd.Index(grouping.keys).get_indexer(pd.Index(key))
    codes = np.where(unseen, -1, positions).astype(np.int64)
    return codes, _labels(columns, missing, codes, grouping.levels)


def _labels(columns: Sequence[pd.Series], missing: np.ndarray, codes: np.ndarray, levels: Sequence[Any]) -> np.ndarray:
    """What each row's level is called: a combination that the fit has not seen unlike those it has."""
    lists = [column.astype(object).tolist() for column in columns]
    labels = np.empty(len(missing), dtype=object)
    if len(lists) == 1:
        labels[:] = lists[0]
        labels[missing] = None
        return labels
    labels[codes >= 0] = as_labels(levels)[codes[codes >= 0]]
    unseen = np.flatnonzero((codes < 0) & ~missing)
    parts = [tuple(str(values[row]) for values in lists) for row in unseen]
    distinct = list(dict.fromkeys(parts))
    label_of = dict(zip(distinct, joined(distinct, levels), strict=True)) if distinct else {}
    labels[unseen] = as_labels([label_of[part] for part in parts])
    return labels


def _whole_unless_missing(column: pd.Series) -> pd.Series:
    present = column.dropna()
    is_whole = whole_numbers(present)
    if is_whole.dtype == present.dtype:
        return column
    return is_whole.astype(object).reindex(column.index) if column.index.is_unique else column.astype("Int64")


def _levels_and_codes(column: pd.Series) -> tuple[list[Any], np.ndarray]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.categories.tolist(), column.cat.codes.to_numpy(dtype=np.int64)
    if isinstance(column.dtype, pd.StringDtype):  # which `plain` made; pandas takes longer to sort a few
        codes, texts = pd.factorize(column.array)
        levels = texts.tolist()
        if len(levels) <= FEW:
            order = sorted(range(len(levels)), key=levels.__getitem__)
            place = np.empty(len(order), dtype=np.int64)
            place[order] = np.arange(len(order))
            return [levels[k] for k in order], place[codes]
    codes, levels = pd.factorize(whole_numbers(column), sort=True)
    return levels.tolist(), codes.astype(np.int64)


def _mixed_base(parts: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    key = parts[0]
    for codes, size in zip(parts[1:], sizes[1:], strict=True):
        key = key * size + codes
    return key


def combined(keys: np.ndarray, tables: Sequence[Sequence[Any]]) -> list[str]:
    """What combinations are called, for keys in the mixed base of the level counts."""
    digits = []
    quotient = np.asarray(keys)
    for table in reversed(tables[1:]):
        quotient, digit = np.divmod(quotient, len(table))
        digits.append(digit)
    digits.append(quotient)
    columns = [[str(table[k]) for k in digit] for table, digit in zip(tables, reversed(digits), strict=True)]
    return joined(list(zip(*columns, strict=True)))


def check_levels(grouping: Grouping, n: int) -> None:
    """A factor with one level says nothing about the variance between levels."""
    if len(grouping.levels) < 2:
        raise UnidentifiedTermError(
            f"The grouping factor {grouping.name!r} has one level ({brief(grouping.levels)}) in the {n} rows used, "
            "so a variance between levels cannot be estimated. Leave the term out or use data with more levels."
        )


def warn_if_constant_within_levels(
    text: str, grouping: Grouping, codes: np.ndarray, names: Sequence[str], Z: np.ndarray
) -> None:
    """A slope beside an intercept needs a column that varies within some level; lme4 is silent about it.

    Without one, intercept and slope of a level are only seen as their sum, and the variances are told apart by how the
    spread of these sums changes with the column.
    """
    if "Intercept" not in names:
        return
    first = np.empty(len(grouping.levels), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    at_first = first[codes]
    flat = [name for c, name in enumerate(names) if name != "Intercept" and np.array_equal(Z[:, c], Z[at_first, c])]
    if flat:
        single = len(flat) == 1
        warn(
            f"{text}: {', '.join(flat)} {'varies' if single else 'vary'} within none of the {len(grouping.levels):,} "
            f"levels of {grouping.name}, so {'its' if single else 'their'} random slope can hardly be told from the "
            f"intercept. Keep {'it' if single else 'them'} in the fixed part and write (1 | {grouping.name}).",
            WeaklyIdentifiedWarning,
        )
