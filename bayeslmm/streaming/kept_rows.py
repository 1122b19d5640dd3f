"""The second pass where the rows are needed again and again: it keeps what the model takes of them on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd

from ..design.design import Design
from ..design.response import check_support
from ..engine.rows_on_disk import RowsOnDisk
from ..families import Family
from ..tools.arrays import Array
from ..tools.row_file import RowFile
from .given import Given
from .second_pass import Blueprint, Summed


class KeptRows(Summed):
    """`Summed`, with the columns of X and Z in units, the response and its offset in files without names."""

    def __init__(self, blueprint: Blueprint, family: Family) -> None:
        super().__init__(blueprint)
        self.family = family
        summed, P = blueprint.summed, blueprint.fixed.width
        constant = [k for k, name in enumerate(blueprint.fixed.names) if name == "Intercept"]
        # where the columns that are kept are among those that are summed
        self.kept = np.flatnonzero(~np.isin(summed, [*constant, P, P + 1, P + 2]))
        self.place_of_y = int(np.flatnonzero(summed == (P + 1 if P + 1 in summed else P))[0])
        self.has_offset = P + 2 in summed
        columns = len(self.kept) + 1 + self.has_offset
        self.files = [RowFile(columns, len(blueprint.coders))]

    def seen(self, frame: pd.DataFrame, raw: Array, units: Array, codes: Sequence[np.ndarray]) -> None:
        y = raw[:, self.place_of_y]
        check_support(self.blueprint.request.plan.response.label, frame.index, self.family, y)
        offset = [raw[:, self.blueprint.fixed.width + 2]] if self.has_offset else []
        codes_of_rows = np.column_stack([np.zeros((len(y), 0), np.int32), *codes])
        self.files[-1].append(np.column_stack([units[:, self.kept + 1], y, *offset]), codes_of_rows)

    def merge(self, other: Self) -> None:
        """Add what another lane has."""
        super().merge(other)
        self.files.extend(other.files)

    def rows(self, design: Design) -> RowsOnDisk:
        """The rows of the design that was made of the sums."""
        blueprint = self.blueprint
        place_of = np.zeros(len(blueprint.shift), np.int64)  # the column of ones, where it is no other
        place_of[blueprint.summed[self.kept]] = 1 + np.arange(len(self.kept))
        return RowsOnDisk(
            self.files,
            place_of[np.flatnonzero(design.recipe.kept)],
            [place_of[place] for place in blueprint.places],
            has_offset=self.has_offset,
        )


def why_not_kept(given: Given, *, predictors: bool, fixed: bool) -> str:
    """Why point fits of a model do not go by rows on disk, and what to do; empty where they do."""
    family, formula = given.family, given.formula
    if not family.is_compiled or family.has_categories:
        return f"{family.option} is not offered: it has categories, or a density that no compiled loop knows"
    if family.is_normal:
        return f"{family.option} is not offered: take the logarithm of the response, with family='gaussian'"
    if family.is_censored or (not formula.response_atom.is_name and formula.response.startswith("cens(")):
        return "a censored response is not offered"
    if family.has_trials:
        return f"{family.option} is not offered: of yes and no in single rows take family='bernoulli'"
    if given.weights is not None:
        return "weights= is not offered"
    if formula.likelihood_weights is not None:
        return f"{formula.weights_text} is not offered"
    if predictors:
        return "linear predictors of parameters of the family are not offered"
    return "parameters that are fixed by priors= are not offered" if fixed else ""
