"""Formula + source of chunks → a `Design` of the rows that differ, each with how often it was read.

The likelihood of other than normal responses is no function of sums over rows. It is one of the different rows and
their numbers, ``y | weights(rows)``; where predictors are discrete these are few, however many rows there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..design.build import build_design
from ..design.design import Design
from ..design.fixing import Fixed
from ..design.plan import Plan, make_plan
from ..design.predictor_words import PredictorWords
from ..errors import NotAvailableError
from ..formulas.formula import Formula, parse_formula
from ..formulas.terms import Atom
from ..sources.source import Source
from ..tools.frame import brief
from .given import (
    Given,
    given_levels,
    named_column,
    refuse_changed,
    refuse_empty,
    refuse_options,
    refuse_wide,
    settle_memories,
    warn_of_dropped,
)
from .request import Kind, Request
from .statistics import REMEDY, wanted

COUNT = "rows"  # the column of the numbers, or rows_2, ... where the data have one of this name
MOST = 4_000_000  # different rows that are held
PENDING = 500_000  # different rows of chunks that wait to be joined
NEARLY_ALL, SEEN = 0.9, 400_000  # share of rows that differ, of so many and more: nor will the others be alike
TILDE = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|(~)")


class NotCounted(NotAvailableError):
    """The rows that differ are too many, or do not tell what the formula takes."""


def counted_design(
    given: Given,
    source: Source,
    *,
    report: Callable[[str, int], None],
    predictors: Mapping[str, Any],
    fixed: Fixed | None = None,
    **others: Any,
) -> Design:
    """The design of a model whose rows come in chunks and are counted.

    Parameters
    ----------
    given : Given
    source : Source
    report : callable
        Told what goes on, and how many more rows were read.
    predictors, fixed
        As of `build_design`.
    **others
        Options of `build_design` that are not offered here, which are refused unless they are None.

    Raises
    ------
    NotCounted
        Too many different rows, or terms that take a statistic of all rows, by their names.
    NotAvailableError
        Terms that take something of all rows at once.
    DataError
        What a chunk holds that others do not; the message names it.
    """
    refuse_options(**others)
    columns = source.columns
    count = _unused(COUNT, columns)
    formula = _uncounted(given.formula, count)
    refuse_wide(formula)
    offset, weights = named_column(given.offset, "offset", columns), named_column(given.weights, "weights", columns)
    words = PredictorWords.of(dict(predictors), given.family)
    plan = make_plan(formula, pd.DataFrame(columns=pd.Index(columns)), given.scope, weights, offset, predictors=words)
    _refuse_statistics(plan)
    plan = replace(plan, columns=tuple(dict.fromkeys([*plan.columns, *([weights] if weights else [])])))
    request = Request(plan=plan, weights=None, levels=given_levels(given.levels, columns), groups=())
    stamps = source.stamps()
    cells: Cells = source.reduce(
        partial(Cells, request, count, source.n_rows), request.columns, partial(report, "Counting rows")
    )
    refuse_changed(stamps, source.stamps())
    refuse_empty(cells.n, cells.missing)
    warn_of_dropped(cells.n, cells.n_read, cells.missing)
    table = cells.table()
    settle_memories(plan, table)
    design = build_design(
        parse_formula(_counted(formula, count)),
        table,
        weights=weights,
        offset=offset,
        namespace=given.scope.names,
        trust=given.scope.trusted,
        contrasts=given.scope.codings.given,
        family=given.family,
        predictors=predictors,
        fixed=fixed,
    )
    return replace(design, n_dropped=cells.n_read - cells.n)


class Cells:
    """The different complete rows of the columns that are read, and how often each was."""

    def __init__(self, request: Request, count: str, expected: int | None = None) -> None:
        self.request, self.count, self.expected = request, count, expected
        self.n = self.n_read = 0
        self.missing: dict[str, int] = {}
        self.kinds: dict[str, Kind] = {}
        self.unordered: set[str] = set()  # columns of categories that are ordered nowhere, or not everywhere
        self._counts: pd.DataFrame | None = None
        self._waiting: list[pd.DataFrame] = []
        self._many = 0

    def add(self, data: pd.DataFrame, where: str) -> None:
        """Count the rows of a chunk."""
        rows = self.request.rows(data)
        frame = rows.frame
        self.n_read += len(data)
        self._count_missing(rows.missing)
        if not len(frame):
            return
        self.n += len(frame)
        for name in frame:
            self._kind(str(name), Kind.of(frame[name], where))
            dtype = data[name].dtype
            if name not in self.request.levels and isinstance(dtype, pd.CategoricalDtype) and not dtype.ordered:
                self.unordered.add(str(name))
        self._wait(_distinct(frame.assign(**{self.count: np.ones(len(frame), np.int64)}), self.count))

    def merge(self, other: Cells) -> None:
        """Count the rows that another one has counted."""
        self.n, self.n_read = self.n + other.n, self.n_read + other.n_read
        self._count_missing(other.missing)
        for name, kind in other.kinds.items():
            self._kind(name, kind)
        self.unordered |= other.unordered
        if other.n:
            self._wait(other._joined())

    def table(self) -> pd.DataFrame:
        """A row for each that differs, in the order of its values, and how often it was read in the column ``count``.

        The order is one of the rows themselves, so that chunks of any size give the same table.
        """
        table = self._joined()
        table = table.sort_values([name for name in table if name != self.count], ignore_index=True)
        for name in self.unordered:
            table[name] = table[name].cat.as_unordered()
        return table

    def _count_missing(self, missing: Mapping[str, int]) -> None:
        for name, many in missing.items():
            self.missing[name] = self.missing.get(name, 0) + many

    def _kind(self, name: str, kind: Kind) -> None:
        self.kinds[name] = self.kinds[name].joined(kind, name) if name in self.kinds else kind

    def _wait(self, counts: pd.DataFrame) -> None:
        self._waiting.append(counts)
        self._many += len(counts)
        if self._many > max(PENDING, 0 if self._counts is None else len(self._counts)):
            self._joined()

    def _joined(self) -> pd.DataFrame:
        if self._waiting:
            known = [] if self._counts is None else [self._counts]
            self._counts = _distinct(pd.concat([*known, *self._waiting], ignore_index=True), self.count)
            self._waiting, self._many = [], 0
        assert self._counts is not None
        hopeless = len(self._counts) > max(NEARLY_ALL * self.n, SEEN) and NEARLY_ALL * (self.expected or 0) > MOST
        if len(self._counts) > MOST or hopeless:
            self._refuse(self._counts)
        return self._counts

    def _refuse(self, counts: pd.DataFrame) -> None:
        values = {str(name): counts[name].nunique() for name in counts if name != self.count}
        widest = max(values, key=lambda name: values[name])
        many = f"more than {MOST:,}" if len(counts) > MOST else f"{len(counts):,} (of {self.expected:,} rows in all)"
        raise NotCounted(
            f"The data have {many} different rows of {brief(list(values))}, after {self.n:,} rows: other than normal "
            f"responses have posteriors, and all kinds of point fits, by up to {MOST:,} rows that differ, which are "
            f"held in memory. {widest!r} has {values[widest]:,} different values so far: round or cut it, or take a "
            "sample of rows into memory."
        )


def _distinct(table: pd.DataFrame, count: str) -> pd.DataFrame:
    """The different rows of a table, and the sums of their numbers."""
    columns = [name for name in table if name != count]
    return table.groupby(columns, sort=False, observed=True, as_index=False)[[count]].sum()


def _unused(name: str, columns: list[str]) -> str:
    number = 1
    candidate = name
    while candidate in columns:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _counted(formula: Formula, count: str) -> str:
    """The formula with ``| weights(count)`` beside its response."""
    tilde = next(match for match in TILDE.finditer(formula.text) if match[1])
    weights = count if formula.likelihood_weights is None else f"({formula.likelihood_weights}) * {count}"
    return f"{formula.response} | weights({weights}) {formula.text[tilde.start() :]}"


def _uncounted(formula: Formula, count: str) -> Formula:
    """The formula as it was before `_counted`, of a fit that is made again from its source."""
    if formula.likelihood_weights != Atom(count):
        return formula
    return replace(formula, likelihood_weights=None)


def _refuse_statistics(plan: Plan) -> None:
    """Raise NotCounted for a leaf that takes a statistic of all rows, which different rows do not tell."""
    every = [plan.response, *plan.expressions.values(), *plan.offsets]
    for expression in [*every, *([] if plan.likelihood_weights is None else [plan.likelihood_weights])]:
        if wanted(expression):
            raise NotCounted(
                f"{expression.label} of data that come in chunks: it takes a statistic of all rows, and of other than "
                f"normal responses only the rows that differ are held. {REMEDY}"
            )
