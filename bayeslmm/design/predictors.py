"""Linear predictors of the family's parameters besides the mean, ``zi="~ x + (1 | g)"``, on rows and on new ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..families import LINKS
from ..terms.group import GroupTerm
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.frame import as_frame, frozen
from .names import BETA, COEF
from .newdata import NewDesign, NewGroup, Recipe, rebuild
from .wide_terms import NewWide


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterPart:
    """g(parameter) = Xγ + Zb + offset on the rows of a design.

    Attributes
    ----------
    parameter, text, link : str
        The parameter, its formula as it was written, and the link g.
    category : str
        That whose log odds the parameter is, where the formula is that of all categories of a response; else empty.
    X : float64 array (n, p)
        Without columns that depend linearly on earlier ones; ``x_names`` names them.
    groups : tuple of GroupTerm
        The terms of its bars and smooths, called as the parameter and the factor: ``zi_nest``.
    offset : float64 array (n,)
        The sum of its offsets.
    recipe : Recipe
        What it is made of.
    """

    parameter: str
    text: str
    link: str
    X: Array
    x_names: tuple[str, ...]
    groups: tuple[GroupTerm, ...]
    offset: Array
    recipe: Recipe
    category: str = ""

    @property
    def variable(self) -> str:
        """What γ is called among draws and estimates."""
        return f"{BETA}_{self.parameter}"

    @property
    def dimension(self) -> str:
        """The dimension of γ."""
        return f"{COEF}_{self.parameter}"

    @property
    def labels(self) -> tuple[str, ...]:
        """What each of γ is called in tables."""
        return tuple(f"{self.parameter}_{name}" for name in self.x_names)

    @property
    def has_intercept(self) -> bool:
        """Whether X has one."""
        return "Intercept" in self.x_names

    @property
    def where(self) -> str:
        """How it was said, as messages about its columns have it."""
        return self.said if self.category else f"{self.parameter}={self.text!r}"

    @property
    def said(self) -> str:
        """What of a model makes it."""
        return 'family="categorical"' if self.category else f'{self.parameter}="{self.text}"'

    @property
    def is_log_odds(self) -> bool:
        """Whether the linear predictor is one of log odds."""
        return self.link == "logit" or bool(self.category)

    def factor_of(self, group: GroupTerm) -> str:
        """What the factor of one of its `groups` is called in the formula."""
        return group.name.removeprefix(f"{self.parameter}_")

    def of_category(self, parameter: str, category: str) -> ParameterPart:
        """The same linear predictor of another category."""
        name_of = {group.name: f"{parameter}_{self.factor_of(group)}" for group in self.groups}
        return replace(
            self,
            parameter=parameter,
            category=category,
            groups=tuple(
                group.renamed(name_of[group.name])
                if isinstance(group, WideTerm)
                else replace(group, name=name_of[group.name])
                for group in self.groups
            ),
            recipe=replace(
                self.recipe,
                groupings=tuple(replace(grouping, name=name_of[grouping.name]) for grouping in self.recipe.groupings),
                wide=tuple(replace(term, name=name_of[term.name]) for term in self.recipe.wide),
            ),
        )

    def values(self, gamma: Array, new: NewDesign | None = None, random: Array | float = 0.0) -> Array:
        """The parameter (..., n) for γ (..., p) and Zb (..., n), on the rows of the fit if no others are given."""
        X, offset = (self.X, self.offset) if new is None else (new.X, new.offset)
        with np.errstate(over="ignore"):
            return LINKS[self.link].to_mean(np.asarray(gamma) @ X.T + offset + random)

    def at(
        self, fit_frame: pd.DataFrame, newdata: Any, groups: Collection[str] = (), *, estimable_only: bool = True
    ) -> NewDesign:
        """New rows with these of its `groups`, smooths in any case.

        X is NaN where a value is missing, and of ``estimable_only`` where the data say nothing of it.

        Raises
        ------
        UnknownColumnError, UnseenLevelError
            A column is not there, or a factor has a level that the fit has not seen.
        """
        chosen = [group.name for group in self.groups if group.is_grouping and group.name in groups]
        return rebuild(self.recipe, fit_frame, as_frame(newdata), chosen, None, estimable_only, where=self.where)

    def of_fit(self, index: pd.Index, groups: Collection[str] = ()) -> NewDesign:
        """The rows of the fit in the same form."""
        ordinary = tuple(
            NewGroup(
                name=group.name,
                codes=group.codes,
                labels=np.asarray(group.levels, dtype=object)[group.codes],
                Z=group.Z,
            )
            for group in self.groups
            if not group.is_wide and group.name in groups
        )
        nowhere = np.zeros(len(self.X), dtype=bool)
        wide = tuple(
            NewWide(name=group.name, is_grouping=False, matrix=group.matrix, unknown=nowhere, beyond=nowhere)
            for group in self.groups
            if isinstance(group, WideTerm)
        )
        none = np.empty((len(self.X), 0))
        return NewDesign(X=self.X, groups=ordinary, offset=self.offset, index=index, aliased=none, wide=wide)

    def taking(self, chosen: Any) -> ParameterPart:
        """That of some rows."""
        return replace(
            self,
            X=frozen(self.X[chosen]),
            offset=frozen(self.offset[chosen]),
            groups=tuple(group.taking(chosen) for group in self.groups),
        )
