"""Contrasts of a factor: the columns that its levels become.

Each has the two methods of formulae's encodings, so that one of a user's own may stand in their place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class ContrastMatrix:
    """A row a level, a label a column."""

    matrix: np.ndarray
    labels: list[str]


class _BesideOnes(ABC):
    """Contrasts that span all levels together with a column of ones."""

    __slots__ = ()

    @abstractmethod
    def code_without_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """The contrasts themselves: they do not span the intercept."""

    def code_with_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """The contrasts and the mean of the levels."""
        coded = self.code_without_intercept(levels)
        return ContrastMatrix(np.column_stack([np.ones(len(levels)), coded.matrix]), ["mean", *coded.labels])


@dataclass(frozen=True, slots=True)
class Treatment:
    """R's ``contr.treatment``: the difference of each level from a reference, by default the first."""

    reference: Any = None

    def code_with_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """A column for each level."""
        return ContrastMatrix(np.eye(len(levels)), [str(level) for level in levels])

    def code_without_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """A column for each level but the reference."""
        reference = 0 if self.reference is None else _position(self.reference, levels)
        others = [k for k in range(len(levels)) if k != reference]
        return ContrastMatrix(np.eye(len(levels))[:, others], [str(levels[k]) for k in others])


@dataclass(frozen=True, slots=True)
class Sum(_BesideOnes):
    """R's ``contr.sum``: the difference of each level but one, by default the last, from the mean of all."""

    omit: Any = None

    def code_without_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """A column for each level but the omitted one, which has -1 in all of them."""
        omitted = len(levels) - 1 if self.omit is None else _position(self.omit, levels)
        others = [k for k in range(len(levels)) if k != omitted]
        matrix = np.eye(len(levels))[:, others]
        matrix[omitted] = -1.0
        return ContrastMatrix(matrix, [str(levels[k]) for k in others])


@dataclass(frozen=True, slots=True)
class Helmert(_BesideOnes):
    """R's ``contr.helmert``: each level with the mean of those before it."""

    def code_without_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """Column k has -1 for the first k levels and k for the next."""
        k = np.arange(1, len(levels))
        row = np.arange(len(levels))[:, None]
        matrix = np.where(row < k, -1.0, np.where(row == k, k, 0.0))
        return ContrastMatrix(matrix, [str(j) for j in k])


@dataclass(frozen=True, slots=True)
class Poly(_BesideOnes):
    """R's ``contr.poly``: orthonormal polynomials of the levels' order, at equal distances."""

    def code_without_intercept(self, levels: Sequence[Any]) -> ContrastMatrix:
        """Linear, quadratic, ... columns, each of length 1 and rising at its end."""
        n = len(levels)
        x = np.linspace(-1.0, 1.0, n)
        Q, R = np.linalg.qr(np.vander(x, n, increasing=True))
        labels = [".L", ".Q", ".C", *(f"^{k}" for k in range(4, n))][: n - 1]
        return ContrastMatrix((Q * np.sign(np.diag(R)))[:, 1:], labels)


CONTRASTS = {"Helmert": Helmert, "Poly": Poly, "Sum": Sum, "Treatment": Treatment}

# -- of factors whose coding the formula leaves open

WORDS = {"treatment": Treatment, "sum": Sum, "helmert": Helmert, "poly": Poly}
MARKS = {"sum": "S.", "helmert": "H."}  # before the labels of columns, which treatment's would be taken for


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """The contrasts of one factor, by their word, and whether it was asked for by the factor's name."""

    word: str
    is_named: bool = False

    def columns(self, levels: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
        """The contrasts (levels, columns), and their labels."""
        coded = WORDS[self.word]().code_without_intercept(levels)
        return coded.matrix, [MARKS.get(self.word, "") + label for label in coded.labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codings:
    """What ``contrasts=`` says: one word for every factor, or words by factor. Nothing said is treatment contrasts.

    As R's ``options(contrasts=)`` they are of factors for which the formula names none, and where those of a term are
    not all free; elsewhere a factor has an indicator for each level.
    """

    every: str | None = None
    by_factor: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, contrasts: Any) -> Codings:
        """Read the argument.

        Raises
        ------
        InputError
            No word for contrasts, or no dict of them by factor.
        """
        if contrasts is None:
            return cls()
        if isinstance(contrasts, Mapping):
            return cls(
                by_factor={str(name): _word(word, f"{{{name!r}: {word!r}}}") for name, word in contrasts.items()}
            )
        return cls(every=_word(contrasts, repr(contrasts)))

    @property
    def given(self) -> str | dict[str, str] | None:
        """The argument again, in its shortest words."""
        return self.every or dict(self.by_factor) or None

    @property
    def in_words(self) -> str:
        """For a line of text; empty where nothing was said."""
        if self.every:
            return f"{self.every} of every factor"
        return ", ".join(f"{word} of {name}" for name, word in self.by_factor.items())

    def coding(self, label: str) -> Coding | None:
        """The coding of the leaf with a label, should it be a factor; None for treatment contrasts unasked."""
        named = [word for name, word in self.by_factor.items() if label in (name, f"C({name})")]
        if named:
            return Coding(word=named[0], is_named=True)
        return None if self.every in (None, "treatment") else Coding(word=str(self.every))

    def refuse_unused(self, labels: Collection[str]) -> None:
        """Raise InputError for a name that no leaf among the labels answers to."""
        for name in self.by_factor:
            if name in labels or f"C({name})" in labels:
                continue
            coded = [label for label in labels if label.startswith((f"C({name},", f"T({name},", f"S({name},"))]
            if coded:
                raise InputError(f"contrasts={{{name!r}: ...}}: the formula says them already: {coded[0]}")
            near = get_close_matches(name, list(labels), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"contrasts={{{name!r}: ...}}: {name!r} is no factor of the formula{meant}")


def _word(given: Any, shown: str) -> str:
    """One of WORDS: by itself, or by R's or the formula's name."""
    word = given.removeprefix("contr.").lower() if isinstance(given, str) else ""
    if word not in WORDS:
        raise InputError(
            f"contrasts={shown}: contrasts are {', '.join(map(repr, WORDS))}, of every factor or by factor, "
            "{'a': 'sum'}. Those of a factor with more to say stand in the formula: C(a, Treatment('b'))"
        )
    return word


def _position(level: Any, levels: Sequence[Any]) -> int:
    if level not in levels:
        raise ValueError(f"{level!r} is none of the levels")
    return list(levels).index(level)
