"""A relation of DuckDB: a table, a view or a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from .arrow import _converted, as_reader
from .source import CHUNK, Chunk, Source


class DuckDB(Source):
    """A ``duckdb.DuckDBPyRelation``, which runs its query once a pass."""

    described = "a DuckDB relation"

    def __init__(self, data: Any) -> None:
        self._relation = data

    @classmethod
    def takes(cls, data: Any) -> bool:
        """A relation."""
        return type(data).__name__ == "DuckDBPyRelation"

    @property
    def columns(self) -> list[str]:
        """Of the relation."""
        return list(self._relation.columns)

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Batches of the answer."""
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        relation = self._relation.project(quoted)
        reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
        yield from _converted("the relation", reader(CHUNK))

    def mapped(self, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str]) -> Any:
        """A ``pyarrow.RecordBatchReader``, which ``duckdb.from_arrow`` takes."""
        return as_reader((function(chunk.frame) for chunk in self.chunks(columns) if len(chunk.frame)), self.described)
