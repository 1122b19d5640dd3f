"""What fits that stand side by side are called."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError


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
