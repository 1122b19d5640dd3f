"""Multi-membership: a row belongs to several levels of one factor, with weights (Browne, Goldstein & Rasbash 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError
from ..tools.lazy import sparse
from .words import Membership

MOST_LEVELS = 6_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """Levels of all slots together, and how rows weigh them."""

    word: Membership
    text: str
    levels: tuple[Any, ...]

    @classmethod
    def of(cls, word: Membership, text: str, slots: Sequence[pd.Series]) -> Members:
        """The levels that occur in any slot, numbers by size, texts by code point."""
        present = [_plain(slot).dropna().infer_objects() for slot in slots]
        kinds = {pd.api.types.is_numeric_dtype(values.dtype) for values in present if len(values)}
        if len(kinds) > 1:
            raise DataError(f"{text}: some of its columns hold numbers and others text. Make them alike.")
        distinct = pd.unique(pd.concat([_plain(slot) for slot in slots], ignore_index=True).dropna())
        levels = tuple(sorted(distinct.tolist()))
        if len(levels) < 2:
            held = "one level" if levels else "missing values alone, and no levels"
            raise DataError(f"{text}: its columns hold {held}, whose variance cannot be estimated")
        if len(levels) > MOST_LEVELS:
            raise DataError(f"{text}: {len(levels):,} levels; at most {MOST_LEVELS:,} are offered")
        return cls(word=word, text=text, levels=levels)

    def matrix(self, slots: Sequence[pd.Series], weights: Sequence[pd.Series]) -> tuple[Any, NDArray[np.bool_]]:
        """Z (n, J), sparse, and which rows (n,) name a level that is not among these.

        An empty slot has no weight. Without weights all members of a row count alike; ``scale`` makes the weights of a
        row sum to one.

        Raises
        ------
        DataError
            A row without a member, weights that are negative, missing or all zero.
        """
        w, present = self._weights(slots, weights)
        index, unknown = pd.Index(self.levels, dtype=object), np.zeros(len(w), dtype=bool)
        places = [index.get_indexer(pd.Index(_plain(slot).astype(object), dtype=object)) for slot in slots]
        for k, place in enumerate(places):
            unknown |= present[:, k] & (place < 0)
        return _incidence(np.column_stack(places), w, len(self.levels)), unknown

    def unknown(self, slots: Sequence[pd.Series], weights: Sequence[pd.Series]) -> Any:
        """Z (n, U), sparse, of the U levels that are not among these."""
        w, present = self._weights(slots, weights)
        index = pd.Index(self.levels, dtype=object)
        labels = np.column_stack([_plain(slot).astype(object).to_numpy() for slot in slots])
        known = np.column_stack([index.get_indexer(pd.Index(column, dtype=object)) >= 0 for column in labels.T])
        codes, distinct = pd.factorize(
            pd.Series(labels.reshape(-1), dtype=object).where((present & ~known).reshape(-1))
        )
        return _incidence(codes.reshape(labels.shape), w, len(distinct))

    def _weights(
        self, slots: Sequence[pd.Series], weights: Sequence[pd.Series]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What each slot counts in each row (n, slots), and whether it names a level."""
        present = np.column_stack([np.asarray(slot.notna()) for slot in slots])
        w = np.ones(present.shape)
        if weights:
            w = np.column_stack([np.asarray(pd.to_numeric(weight), dtype=float) for weight in weights])
            is_invalid = present & ~(np.isfinite(w) & (w >= 0.0))
            if is_invalid.any():
                raise DataError(
                    f"{self.text}: {int(is_invalid.sum())} weights of members are missing, infinite or negative "
                    f"(first in row {int(np.argmax(is_invalid.any(axis=1))) + 1})"
                )
        w = np.where(present, w, 0.0)
        total = w.sum(axis=1)
        if (total == 0.0).any():
            row = int(np.argmax(total == 0.0)) + 1
            raise DataError(
                f"{self.text}: {int((total == 0.0).sum())} rows have no member with a weight (first: {row})"
            )
        if self.word.scale:
            w = w / total[:, None]
        return w, present


def _incidence(places: NDArray[np.int64], w: NDArray[np.float64], J: int) -> Any:
    """Z (n, J), sparse: the weights of each row's slots at their levels; slots of no level, −1, are empty."""
    rows, slots = np.nonzero(places >= 0)
    return sparse.csr_array((w[rows, slots], (rows, places[rows, slots])), shape=(len(w), J))


def _plain(slot: pd.Series) -> pd.Series:
    """Categories as their values, whole numbers that a missing one made floats as whole numbers."""
    values = slot.astype(object).reset_index(drop=True)
    return values.map(lambda v: int(v) if isinstance(v, float | np.floating) and float(v).is_integer() else v)
