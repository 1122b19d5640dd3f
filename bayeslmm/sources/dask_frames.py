"""A data frame of Dask: partitions, reduced where they are.

Reading a partition and summing it are one task, so that no column is ever the answer of a task: what workers send each
other are sums and levels, in a tree of merges. Dask runs the tasks of a worker that died again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from ..errors import BayesLMMError, DataError
from .source import Chunk, Pass, Progress, Source, added

TOGETHER = 8  # sums merged by one task
FIRST = 2_000  # rows that are looked at before the first pass


class Dask(Source):
    """A ``dask.dataframe.DataFrame``; on a cluster, if there is a ``dask.distributed.Client``."""

    described = "a Dask data frame"

    def __init__(self, data: Any) -> None:
        self._data = data

    @classmethod
    def takes(cls, data: Any) -> bool:
        """A data frame of Dask."""
        return type(data).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(data, "map_partitions")

    @property
    def columns(self) -> list[str]:
        """Of its meta data."""
        return [str(name) for name in self._data.columns]

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Partitions, one after another, in this process."""
        for number in range(self._data.npartitions):
            try:
                frame = self._data[list(columns)].get_partition(number).compute()
            except BayesLMMError:
                raise
            except Exception as problem:  # whatever reads the partition
                raise _unreadable(_where(number), problem) from None
            yield Chunk(where=_where(number), frame=frame)

    def head(self, columns: Sequence[str]) -> Chunk:
        """A few rows of the first partition that has some."""
        for number in range(self._data.npartitions):
            try:
                frame = self._data[list(columns)].get_partition(number).map_partitions(_first).compute()
            except Exception as problem:
                raise _unreadable(_where(number), problem) from None
            if len(frame):
                return Chunk(where=_where(number), frame=frame)
        raise DataError(f"The data ({self.described}) hold no rows. Check how the table was read or filtered.")

    def reduce(self, make: Callable[[], Pass], columns: Sequence[str], progress: Progress) -> Any:
        """One pass, each partition where it is; sums are merged in a tree."""
        from dask.base import compute
        from dask.delayed import delayed

        parts = self._data[list(columns)].map_partitions(_summed, make, meta=pd.Series([], dtype=object, name="sums"))
        level = parts.to_delayed()
        merge = delayed(_merged, pure=False)
        while len(level) > 1:
            level = [merge(level[k : k + TOGETHER]) for k in range(0, len(level), TOGETHER)]
        try:
            (answer,) = compute(level[0])  # type: ignore[no-untyped-call]
        except Exception as problem:  # whatever reads a partition, or ends a worker
            raise _unreadable("a partition", problem) from None
        outcome = answer.iloc[0]
        if isinstance(outcome, Exception):
            raise outcome
        progress(0)
        return outcome

    def mapped(self, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str]) -> Any:
        """A data frame of Dask."""
        meta = function(self.head(columns).frame.head(2)).iloc[:0]
        return self._data[list(columns)].map_partitions(
            lambda frame: function(frame) if len(frame) else meta, meta=meta
        )


def _summed(frame: pd.DataFrame, make: Callable[[], Pass], partition_info: Any = None) -> pd.Series:
    """The sums of one partition, or what was refused there, as the one entry of a Series."""
    number = (partition_info or {}).get("number")
    total: Any = make()
    try:
        added(total, Chunk(where="a partition" if number is None else _where(number), frame=frame))
    except BayesLMMError as problem:
        total = problem
    return pd.Series([total], dtype=object, name="sums")


def _merged(parts: Sequence[pd.Series]) -> pd.Series:
    outcomes = [part.iloc[0] for part in parts]
    refused = next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
    if refused is not None:
        return pd.Series([refused], dtype=object, name="sums")
    total = outcomes[0]
    for other in outcomes[1:]:
        try:
            total.merge(other)
        except BayesLMMError as problem:
            return pd.Series([problem], dtype=object, name="sums")
    return pd.Series([total], dtype=object, name="sums")


def _where(number: int) -> str:
    return f"partition {number}"


def _first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:FIRST]


def _unreadable(where: str, problem: Exception) -> DataError:
    return DataError(f"{where} cannot be read: {type(problem).__name__}: {problem}. Nothing was fitted.")
