"""The contract of a source: a table that comes in chunks of rows, as often as it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pandas as pd

from ..errors import BayesLMMError, DataError
from .lanes import Chunk as Chunk
from .lanes import Pass as Pass
from .lanes import reduced

CHUNK = 131_072  # rows read at a time, where the source leaves the choice


Progress = Callable[[int], None]


class Source(ABC):
    """A table in chunks; a subclass for every kind of it.

    Attributes
    ----------
    described : str
        What it is, for messages.
    """

    described: ClassVar[str]

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The names of its columns."""

    @property
    def n_rows(self) -> int | None:
        """How many rows there are, where that is known without reading them."""
        return None

    @abstractmethod
    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """The rows, from the first one on at every call."""

    def stamps(self) -> Mapping[str, Any]:
        """What tells whether parts of the source have changed, by their names; empty where nothing does."""
        return {}

    def head(self, columns: Sequence[str]) -> Chunk:
        """The first chunk that has rows.

        Raises
        ------
        DataError
            There is none.
        """
        for chunk in self.chunks(columns):
            if len(chunk.frame):
                return chunk
        raise DataError(f"The data ({self.described}) hold no rows. Check how the table was read or filtered.")

    def reduce(self, make: Callable[[], Pass], columns: Sequence[str], progress: Progress) -> Any:
        """One pass over all rows, where they are."""
        return self.gathered(make, columns, progress)

    def gathered(self, make: Callable[[], Pass], columns: Sequence[str], progress: Progress) -> Any:
        """One pass over all rows in this process, on its processors."""
        return reduced(self.chunks(columns), make, added, progress)

    @abstractmethod
    def mapped(self, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str]) -> Any:
        """The table that a function makes of every chunk, as the kind of table that this source is."""


def added(total: Pass, chunk: Chunk) -> None:
    """Add a chunk; whatever is refused names where it stood."""
    if len(chunk.frame):
        with named_by(chunk.where):
            total.add(chunk.frame, chunk.where)


@contextmanager
def named_by(where: str) -> Iterator[None]:
    """Say where the rows stood that are refused."""
    try:
        yield
    except BayesLMMError as problem:
        raise type(problem)(f"{where}: {problem}") from None


def lacking(columns: Sequence[str], there: Sequence[str], where: str) -> DataError | None:
    """The error for a part of the source that has not all columns of the others."""
    missing = [name for name in columns if name not in there]
    if not missing:
        return None
    return DataError(
        f"{where} has no column {', '.join(map(repr, missing))}, which the other parts of the data have. Leave it out, "
        "or write it anew with all columns."
    )
