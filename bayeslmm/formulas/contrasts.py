"""Contrasts of a factor: the columns that its levels become.

Each has the two methods of formulae's encodings, so that one of a user's own may stand in their place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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


def _position(level: Any, levels: Sequence[Any]) -> int:
    if level not in levels:
        raise ValueError(f"{level!r} is none of the levels")
    return list(levels).index(level)
