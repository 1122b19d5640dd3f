"""The words of a formula once it is read: leaves, and sums of products of leaves."""

from __future__ import annotations

import re
from dataclasses import dataclass

PLAIN_NAME = re.compile(r"[^\W\d]\w*(\.\w+)*")


@dataclass(frozen=True, slots=True)
class Atom:
    """One leaf of a term: a column's name, or (``is_name=False``) an expression in Python."""

    text: str
    is_name: bool = True

    @property
    def label(self) -> str:
        """The name that columns get: without backticks."""
        return self.text if self.is_name else self.text.replace("`", "")

    def __str__(self) -> str:
        return f"`{self.text}`" if self.is_name and not PLAIN_NAME.fullmatch(self.text) else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A sum of products: with or without an intercept, products ordered by degree as R does."""

    intercept: bool
    products: tuple[tuple[Atom, ...], ...]

    def __str__(self) -> str:
        listed = [":".join(str(atom) for atom in factors) for factors in self.products]
        return " + ".join(["1" if self.intercept else "0", *listed])

    def __len__(self) -> int:
        return self.intercept + len(self.products)

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Every leaf once, in order of appearance."""
        return tuple(dict.fromkeys(atom for factors in self.products for atom in factors))
