"""What both kinds of fit have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import RefusedVerbError

if TYPE_CHECKING:
    from ..spec.design import Design
    from .text import Text


class Fit:
    """A fitted model. Verbs of the other kind of fit are refused with the reason."""

    __slots__ = ()

    _refused: ClassVar[Mapping[str, str]] = {}

    if TYPE_CHECKING:
        design: Design

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return self.design.n

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor."""
        return {g.name: g.n_levels for g in self.design.groups}

    def summary(self) -> Text:
        """The fit in print."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        refused = type(self)._refused
        if name in refused:
            raise RefusedVerbError(f"{name}: {refused[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()
