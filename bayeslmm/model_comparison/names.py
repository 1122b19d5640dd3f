"""What fits that stand side by side are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError


def spread(fits: Sequence[Any], names: Sequence[str] | None, what: str) -> tuple[Sequence[Any], Sequence[str] | None]:
    """Fits and names, where one list, or one dict of fits by name, was given.

    Raises
    ------
    InputError
        Names twice.
    """
    if len(fits) != 1 or not isinstance(fits[0], Mapping | list | tuple):
        return fits, names
    if not isinstance(fits[0], Mapping):
        return tuple(fits[0]), names
    if names is not None:
        raise InputError(f"{what}(names=...): the dict of fits has names already")
    return tuple(fits[0].values()), [str(name) for name in fits[0]]


def names_of(names: Sequence[str] | None, defaults: Sequence[str], what: str) -> list[str]:
    """The names given, or the defaults.

    Raises
    ------
    InputError
        Not one name of its own for each.
    """
    labels = list(defaults) if names is None else [names] if isinstance(names, str) else list(map(str, names))
    if len(labels) != len(defaults) or len(set(labels)) != len(labels):
        raise InputError(f"{what}(names={names!r}): one name of its own for each of {len(defaults)} fits is needed")
    return labels
