"""A query of Polars that is not run yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from ..errors import DataError
from .source import CHUNK, Chunk, Source


class PolarsLazy(Source):
    """A ``polars.LazyFrame``: the query runs in Polars' streaming engine, once a pass."""

    described = "a Polars LazyFrame"

    def __init__(self, data: Any) -> None:
        self._query = data

    @classmethod
    def takes(cls, data: Any) -> bool:
        """A LazyFrame."""
        return type(data).__name__ == "LazyFrame" and type(data).__module__.partition(".")[0] == "polars"

    @property
    def columns(self) -> list[str]:
        """By the schema of the query."""
        try:
            return list(self._query.collect_schema().names())
        except Exception as problem:  # Polars has an error for every kind of query that it cannot run
            raise DataError(f"The Polars query cannot be run: {type(problem).__name__}: {problem}") from None

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Batches of the answer, in its order."""
        batches = self._query.select(list(columns)).collect_batches(chunk_size=CHUNK, maintain_order=True)
        iterator, number = iter(batches), 0
        while True:
            number += 1
            where = f"batch {number} of the query"
            try:
                batch = next(iterator, None)
            except Exception as problem:
                raise DataError(f"{where} cannot be read: {type(problem).__name__}: {problem}") from None
            if batch is None:
                return
            yield Chunk(where=where, frame=batch.to_pandas())

    def mapped(self, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str]) -> Any:
        """A LazyFrame."""
        import polars as pl

        query = self._query.select(list(columns))
        few = query.head(2).collect().to_pandas()
        if not len(few):
            raise DataError("The data (a Polars LazyFrame) hold no rows.")
        schema = pl.from_pandas(function(few)).schema
        return query.map_batches(
            lambda batch: pl.from_pandas(function(batch.to_pandas())) if len(batch) else pl.DataFrame(schema=schema),
            schema=schema,
            streamable=True,
            predicate_pushdown=False,
            projection_pushdown=False,
            slice_pushdown=False,
        )
