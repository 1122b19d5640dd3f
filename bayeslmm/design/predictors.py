"""Linear predictors of the family's parameters besides the mean, ``zi="~ x"``, on rows and on new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..families import LINKS
from ..tools.arrays import Array
from ..tools.frame import as_frame, frozen
from .coding import MatrixRecipe
from .names import BETA, COEF
from .newdata import matrix_at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterPart:
    """g(parameter) = Xγ on the rows of a design.

    Attributes
    ----------
    parameter, text, link : str
        The parameter, its formula as it was written, and the link g.
    X : float64 array (n, p)
        Without columns that depend linearly on earlier ones; ``x_names`` names them.
    recipe : MatrixRecipe
        What X is made of; ``kept`` are the columns of it that X has.
    """

    parameter: str
    text: str
    link: str
    X: Array
    x_names: tuple[str, ...]
    recipe: MatrixRecipe
    kept: np.ndarray

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

    def values(self, gamma: Array, X: Array | None = None) -> Array:
        """The parameter (..., n) for γ (..., p) on rows X, those of the fit if no others are given."""
        with np.errstate(over="ignore"):
            return LINKS[self.link].to_mean(np.asarray(gamma) @ (self.X if X is None else X).T)

    def at(self, fit_frame: pd.DataFrame, newdata: Any) -> Array:
        """X (m, p) of new rows, NaN where a value is missing.

        Raises
        ------
        UnknownColumnError, UnseenLevelError
            A column is not there, or has a level that the fit has not seen.
        """
        where = f"{self.parameter}={self.text!r}"
        return matrix_at(self.recipe, fit_frame, as_frame(newdata), where)[:, self.kept]

    def taking(self, chosen: Any) -> ParameterPart:
        """That of some rows."""
        return replace(self, X=frozen(self.X[chosen]))
