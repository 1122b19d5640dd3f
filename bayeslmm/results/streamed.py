"""Verbs about rows that come in chunks: each chunk in turn, as the kind of table that the rows came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..engine.level_loo import LevelSums
from ..errors import DataError, InputError, NotAvailableError
from ..sources import source_of
from ..sources.source import Source
from ..tools.frame import frozen
from ..tools.summed import refusal

BESIDE = ("offset", "trials")  # options of predict() that may name a column


def of_new_rows[Verb: Callable[..., Any]](verb: Verb) -> Verb:
    """A verb about new rows, or those of the fit, that takes both in chunks as well."""

    @wraps(verb)
    def chunkwise(self: Any, newdata: Any = None, **options: Any) -> Any:
        source = _behind(self.design, verb.__name__) if newdata is None else source_of(newdata)
        if source is None:
            return verb(self, newdata, **options)
        _refuse_draws(self, options)
        for name in BESIDE:
            if not isinstance(options.get(name), str | int | float | None):
                raise InputError(f"{name}=: of rows in chunks it is the name of a column, or one number for all rows")
        named = [options[name] for name in BESIDE if isinstance(options.get(name), str)]

        def of_chunk(rows: pd.DataFrame) -> Any:  # errors of estimates are those of all rows
            return verb(self, complete_rows_of(self.design, rows) if newdata is None else rows, **options)

        return _mapped(self.design, source, of_chunk, named)

    return chunkwise  # type: ignore[return-value]


def of_rows[Verb: Callable[..., Any]](verb: Verb) -> Verb:
    """A verb about the rows of the fit that reads them again where they came in chunks."""

    @wraps(verb)
    def chunkwise(self: Any, *arguments: Any, **options: Any) -> Any:
        source = _behind(self.design, verb.__name__)
        if source is None:
            return verb(self, *arguments, **options)
        _refuse_draws(self, options)

        def of_chunk(rows: pd.DataFrame) -> Any:
            return verb(replace(self, design=of_chunk_rows(self.design, rows)), *arguments, **options)

        return _mapped(self.design, source, of_chunk, [], name=verb.__name__)

    return chunkwise  # type: ignore[return-value]


def need_rows(design: Design) -> None:
    """Raise NotAvailableError where the rows came in chunks, for what needs them at once."""
    if design.sums is not None:
        raise refusal(design.n)


def of_chunk_rows(design: Design, data: pd.DataFrame) -> Design:
    """A design of data in chunks on the complete ones of some rows, which are in memory.

    Raises
    ------
    DataError, UnseenLevelError
        Rows that the passes over the data would have refused.
    """
    from ..streaming.second_pass import response_of

    request, rows, frame = _as_fitted(design, data)
    new = design.at(frame)
    groups = tuple(
        replace(term, codes=group.codes, Z=group.Z) for term, group in zip(design.groups, new.groups, strict=True)
    )
    return replace(
        design,
        y=frozen(response_of(request.plan.response, frame)),
        X=new.X,
        groups=groups,
        weights=None if rows.weights is None else frozen(rows.weights),
        offset=new.offset,
        index=frame.index,
        n_dropped=len(data) - len(frame),
        table=frame,
        sums=None,
    )


def complete_rows_of(design: Design, data: pd.DataFrame) -> pd.DataFrame:
    """The complete ones of some rows of a fit in chunks, with the column of its weights.

    Raises
    ------
    DataError
        As `of_chunk_rows`.
    """
    _, rows, frame = _as_fitted(design, data)
    return frame if design.weights_column is None else frame.assign(**{design.weights_column: rows.weights})


def _as_fitted(design: Design, data: pd.DataFrame) -> tuple[Any, Any, pd.DataFrame]:
    """What was read of every chunk, that of some rows, and their table in the types of all."""
    from ..streaming.first_pass import as_learned
    from .stored_sums import passes_of

    learned = passes_of(design).learned
    rows = learned.request.rows(data)
    return learned.request, rows, as_learned(rows.frame, dict(learned.kinds), "these rows")


def level_sums(design: Design, unit: str, verb: str) -> LevelSums:
    """The sums of the rows of each level of the only factor, by another pass over them.

    Raises
    ------
    NotAvailableError
        The unit is a single row, there are other factors, or nobody knows where the rows are.
    DataError
        They are others than those of the fit.
    """
    from ..streaming.levels import OfLevels
    from .stored_sums import passes_of

    if [group.name for group in design.groups] != [unit]:
        names = ", ".join(f"{verb}(unit={group.name!r})" for group in design.groups) if len(design.groups) == 1 else ""
        raise NotAvailableError(
            f"{verb}(unit={unit!r}) is not offered for data in chunks, of which sums are kept: the levels of the only "
            f"factor of a model may be left out{f', {names}' if names else ''}. Make the model of a sample of rows "
            "that fits into memory, as a pandas DataFrame, and ask that one."
        )
    passes, source = passes_of(design), _behind(design, verb)
    assert source is not None
    blueprint = passes.blueprint
    columns = [*np.flatnonzero(design.recipe.kept), blueprint.fixed.width]
    make = partial(OfLevels, blueprint, 0, columns)
    levels: LevelSums = source.reduce(make, blueprint.request.columns, lambda rows: None).finished()
    if levels.sizes.sum() != design.n:
        now = int(levels.sizes.sum())
        raise DataError(f"the data changed since the fit: {design.n:,} complete rows then, {now:,} now. Fit again.")
    return levels


def _behind(design: Design, verb: str) -> Source | None:
    """Where the rows of a design came from in chunks; None of those in memory.

    Raises
    ------
    NotAvailableError
        They are not known any more: the fit was loaded.
    """
    from .stored_sums import passes_of

    if design.sums is None:
        return None
    passes = passes_of(design)
    if passes is None or passes.source is None:
        raise refusal(design.n, verb)
    return passes.source


def _refuse_draws(fit: Any, options: Any) -> None:
    """Raise NotAvailableError for draws of rows, which are a number a row and draw."""
    if options.get("draws") and not options.get("interval"):
        raise NotAvailableError(
            f"draws of rows in chunks are not offered: {fit.design.n:,} rows would have as many numbers a draw. Ask "
            "for a table (draws=False), or for the draws of a few rows in memory."
        )


def _mapped(
    design: Design, source: Source, verb: Callable[[pd.DataFrame], Any], named: list[str], *, name: str = "prediction"
) -> Any:
    available = source.columns
    columns = [
        column for column in [*design.frame.columns, design.weights_column, design.se, *named] if column in available
    ]

    def of_chunk(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.reset_index(drop=True)
        table = verb(rows)
        if isinstance(table, np.ndarray):
            table = pd.Series(table, name=name)
        if isinstance(table, pd.Series):
            table = table.to_frame(table.name or name)
        return pd.DataFrame(table)

    return source.mapped(of_chunk, list(dict.fromkeys(columns)))
