"""Parquet files, by path, glob or folder, and datasets of PyArrow."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from ..errors import DataError
from .source import CHUNK, Chunk, Source, lacking


class Parquet(Source):
    """A Dataset or ParquetFile of PyArrow's, or the path, glob or folder of Parquet files."""

    described = "Parquet files"

    def __init__(self, data: Any) -> None:
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq

        if isinstance(data, str | os.PathLike) and os.path.isdir(data) and _has_hive(os.fspath(data)):
            data = ds.dataset(os.fspath(data), format="parquet", partitioning="hive")
        self._whole = data if isinstance(data, ds.Dataset) else None  # with what it filters
        self._file = data if isinstance(data, pq.ParquetFile) else None
        if self._file is not None:
            self._parts: list[tuple[str, Any]] = [("the Parquet file", self._file)]
        elif self._whole is not None:
            fragments = list(self._whole.get_fragments()) if hasattr(self._whole, "files") else []
            self._parts = [
                (str(getattr(fragment, "path", "")) or f"part {k}", fragment) for k, fragment in enumerate(fragments, 1)
            ]
        else:
            self._parts = [(path, path) for path in paths_of(data)]

    @classmethod
    def takes(cls, data: Any) -> bool:
        """A path that says Parquet, or an object of PyArrow's that reads chunk by chunk."""
        if isinstance(data, str | os.PathLike):
            text = os.fspath(data)
            return str(text).endswith((".parquet", ".pq")) or any(map(is_parquet, _matching(str(text))[:1]))
        if type(data).__module__.partition(".")[0] != "pyarrow":
            return False
        return any(base.__name__ in ("Dataset", "ParquetFile") for base in type(data).__mro__)

    @property
    def columns(self) -> list[str]:
        """Of the dataset, or of the first file."""
        return [str(name) for name in self._schema.names]

    @property
    def _schema(self) -> Any:
        if self._whole is not None:
            return self._whole.schema
        where, part = self._parts[0]
        return self._opened(part, where).schema_arrow

    @property
    def n_rows(self) -> int | None:
        """By the footers of the files."""
        try:
            if self._whole is not None:
                return int(self._whole.count_rows())
            return sum(self._opened(part, where).metadata.num_rows for where, part in self._parts)
        except Exception:  # the pass over the rows says better which file is at fault
            return None

    def stamps(self) -> dict[str, Any]:
        """Size and time of every file on a disk."""
        collected = {}
        for where, _ in self._parts:
            if os.path.isfile(where):
                state = os.stat(where)
                collected[where] = (state.st_size, state.st_mtime_ns)
        return collected

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Batches of the files, one file after another."""
        names = list(columns)
        if self._whole is not None and not self._parts:
            yield from _converted("the dataset", self._whole.to_batches(columns=names, batch_size=CHUNK))
            return
        for where, part in self._parts:
            yield from _converted(where, self._batches(part, where, names))

    def _batches(self, part: Any, where: str, names: list[str]) -> Iterator[Any]:
        if self._whole is not None:
            problem = lacking(names, part.physical_schema.names, where) if not _partitioned(part) else None
            if problem:
                raise problem
            yield from part.to_batches(schema=self._whole.schema, columns=names, batch_size=CHUNK)
            return
        file = self._opened(part, where)
        problem = lacking(names, file.schema_arrow.names, where)
        if problem:
            raise problem
        yield from file.iter_batches(batch_size=CHUNK, columns=names)

    def _opened(self, part: Any, where: str) -> Any:
        import pyarrow.parquet as pq

        if isinstance(part, pq.ParquetFile):
            return part
        try:
            return pq.ParquetFile(part)
        except Exception as problem:  # PyArrow has no one error for damage
            raise _damaged(where, problem) from None

    def mapped(self, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str]) -> Any:
        """A ``pyarrow.RecordBatchReader``: batches as they are read."""
        return as_reader((function(chunk.frame) for chunk in self.chunks(columns) if len(chunk.frame)), self.described)


def as_reader(frames: Iterator[pd.DataFrame], described: str) -> Any:
    """Frames as a ``pyarrow.RecordBatchReader``, whose schema is that of the first."""
    import pyarrow as pa

    first = next(frames, None)
    if first is None:
        raise DataError(f"The data ({described}) hold no rows.")
    table = pa.Table.from_pandas(first, preserve_index=False)

    def batches() -> Iterator[Any]:
        yield from table.to_batches()
        for frame in frames:
            yield from pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False).to_batches()

    return pa.RecordBatchReader.from_batches(table.schema, batches())


def paths_of(data: Any) -> list[str]:
    """The Parquet files of a path, a glob or a folder, in the order of their names.

    Raises
    ------
    DataError
        There are none.
    """
    text = os.fspath(data)
    match = _matching(text)
    if not match:
        raise DataError(f"There is no Parquet file {text!r}: a path, a glob such as 'rows/*.parquet', or a folder.")
    return match


def _matching(text: str) -> list[str]:
    if os.path.isdir(text):
        return sorted(str(path) for path in Path(text).rglob("*.parquet"))
    if os.path.isfile(text):
        return [text]
    return sorted(path for path in glob.glob(text, recursive=True) if os.path.isfile(path))


def _has_hive(folder: str) -> bool:
    """Whether a folder holds folders such as ``year=2020``, whose names are a column."""
    return any("=" in path.name for path in Path(folder).iterdir() if path.is_dir())


def is_parquet(path: str) -> bool:
    """Whether a file begins as Parquet files do."""
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"


def _partitioned(part: Any) -> bool:
    """Whether columns of a fragment may stand in the names of its folders."""
    return str(part.partition_expression) != "true"


def _converted(where: str, batches: Iterator[Any]) -> Iterator[Chunk]:
    """Batches as frames; what cannot be read names its file."""
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator, None)
            frame = None if batch is None else batch.to_pandas(split_blocks=True)
        except DataError:
            raise
        except Exception as problem:  # PyArrow has no one error for damage
            raise _damaged(where, problem) from None
        if frame is None:
            return
        yield Chunk(where=where, frame=frame)


def _damaged(where: str, problem: Exception) -> DataError:
    line = (str(problem).splitlines() or [""])[0][:200]
    return DataError(
        f"{where} cannot be read: {type(problem).__name__}: {line}. Nothing was fitted. Write the file anew, or leave "
        "it out."
    )


def columns_of_parquet(stream: BinaryIO) -> list[str]:
    """Names of the columns of a file, also where two are one name and it cannot be read; none of a damaged one."""
    import pyarrow.parquet as pq

    stream.seek(0)
    try:
        return [str(name) for name in pq.read_schema(stream).names]
    except Exception:  # PyArrow has no one error for damage
        return []
