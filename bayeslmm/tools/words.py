"""Words that name a choice."""

from __future__ import annotations

from collections.abc import Collection


def is_one_of(value: object, words: Collection[str]) -> bool:
    """Whether a value is one of these words; tables and arrays, which have no truth of their own, are none."""
    return isinstance(value, str) and value in words
