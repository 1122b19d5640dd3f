"""A function that gives frames, one after another, anew at every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from ..errors import DataError
from ..tools.frame import as_frame
from .source import Chunk, Source, lacking


class Frames(Source):
    """``data=lambda: (pd.read_csv(path) for path in paths)``: two passes call it twice."""

    described = "a function that gives frames"

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory

    @classmethod
    def takes(cls, data: Any) -> bool:
        """A function without arguments."""
        return callable(data) and not hasattr(data, "to_pandas") and not isinstance(data, type)

    @property
    def columns(self) -> list[str]:
        """Of the first frame."""
        for frame in self._frames():
            return [str(name) for name in frame.columns]
        raise DataError("The function given as data gave no frame. It is called anew for every pass over the rows.")

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """A chunk a frame."""
        for number, frame in enumerate(self._frames(), 1):
            where = f"frame {number}"
            problem = lacking(columns, list(frame.columns), where)
            if problem:
                raise problem
            yield Chunk(where=where, frame=frame[list(columns)])

    def _frames(self) -> Iterator[pd.DataFrame]:
        try:
            frames = iter(self._factory())
        except TypeError as problem:
            raise DataError(
                f"data=: the function does not give frames one after another: {problem}. It takes no arguments and "
                "gives an iterable of frames, such as lambda: (pandas.read_csv(path) for path in paths)."
            ) from None
        for frame in frames:
            yield frame if isinstance(frame, pd.DataFrame) and not len(frame) else as_frame(frame)

    def mapped(self, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str]) -> Any:
        """A function that gives frames as well."""
        return lambda: (function(chunk.frame) for chunk in self.chunks(columns) if len(chunk.frame))
