"""Tables in chunks: ONE FILE A SOURCE, one line of the table here."""

from __future__ import annotations

from typing import Any

from .arrow import Parquet
from .dask_frames import Dask
from .duckdb_relation import DuckDB
from .frames import Frames
from .polars_lazy import PolarsLazy
from .source import Source

SOURCES: tuple[Any, ...] = (Parquet, PolarsLazy, DuckDB, Dask, Frames)


def source_of(data: Any) -> Source | None:
    """The source that a table is, or None for a table in memory."""
    if isinstance(data, Source):
        return data
    return next((kind(data) for kind in SOURCES if kind.takes(data)), None)
