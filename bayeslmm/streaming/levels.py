"""A pass for what only some verbs ask: the cross-products of the fixed part and the response within levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd

from ..engine.crossproducts import Growing
from ..engine.level_loo import LevelSums
from .first_pass import as_learned
from .second_pass import Blueprint, Moments


class OfLevels:
    """Sums of the rows of each level of a factor."""

    def __init__(self, blueprint: Blueprint, factor: int, columns: Sequence[int]) -> None:
        self.blueprint, self.factor, self.columns = blueprint, factor, np.asarray(columns)
        coder = blueprint.coders[factor]
        levels = len(coder.tables[0]) if coder.keys is None else len(coder.keys)
        self.cross = Growing([levels], [self.columns + 1], self.columns[-1:] + 1)
        self.sizes, self.log_weights = np.zeros(levels), np.zeros(levels)

    def add(self, data: pd.DataFrame, where: str) -> None:
        """Add the rows of a chunk."""
        blueprint = self.blueprint
        rows = blueprint.request.rows(data)
        if not len(rows.frame):
            return
        frame = as_learned(rows.frame, dict(blueprint.kinds), where)
        codes, summed = blueprint.coders[self.factor](frame), blueprint.summed
        moments = Moments([blueprint.names[place] for place in summed])
        units, gram = moments.add(blueprint.columns(frame), blueprint.shift[summed], blueprint.unit[summed])
        self.cross.add(units, [codes], rows.weights, gram)
        self.sizes += np.bincount(codes, minlength=len(self.sizes))
        if rows.weights is not None:
            self.log_weights += np.bincount(codes, np.log(rows.weights), minlength=len(self.sizes))

    def merge(self, other: Self) -> None:
        """Add what another pass over other rows has."""
        self.cross.merge(other.cross)
        self.sizes, self.log_weights = self.sizes + other.sizes, self.log_weights + other.log_weights

    def finished(self) -> LevelSums:
        """The sums."""
        products = self.cross.finished().ZtZ[0]
        return LevelSums(products=products, sizes=self.sizes, log_weights=self.log_weights)
