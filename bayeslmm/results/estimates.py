"""The record of a point fit: estimates, and what they are estimates of. Verbs are functions of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..engine.reml import PointSolution
from ..errors import RefusedVerbError
from .variance import Values, curves_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Origin:
    """What a design was built from, so that a fit can be updated."""

    data: pd.DataFrame
    weights: Any = None
    offset: Any = None
    se: Any = None
    sigma: str | None = None
    residual: str | None = None
    predictors: Mapping[str, str] = field(default_factory=dict)
    levels: Any = None
    fixed: Mapping[Any, float] = field(default_factory=dict)  # parameters given as numbers, by the keys of priors

    def __repr__(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self)[1:]}
        given = [name for name, value in values.items() if not (value is None or isinstance(value, dict) and not value)]
        return f"<Origin: {len(self.data):,} rows{''.join(f', {name}' for name in given)}>"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Estimates:
    """Estimates of a model.

    Attributes
    ----------
    design : Design
        What was fitted.
    solution : PointSolution
        The estimates as arrays.
    origin : Origin
        The user's table, weights and offset as they were given.
    """

    design: Design
    solution: PointSolution
    origin: Origin = field(repr=False)

    def __post_init__(self) -> None:
        if self.design.residual is not None:  # whoever has estimates has a design that knows the weights of its rows
            object.__setattr__(self, "design", self.design.with_residual(self.solution.residual))

    @property
    def sigma(self) -> float:
        """Residual standard deviation, in units of the response; of known standard errors a typical one.

        Raises
        ------
        RefusedVerbError
            The family has none.
        """
        if "sigma" not in self.solution.parameters or not self.design.family.has_residual:
            raise RefusedVerbError(
                f"sigma: {self.design.family} has no residual sd; values.family holds "
                f"{', '.join(self.solution.parameters) or 'no parameters'}"
            )
        return self.solution.sigma

    @property
    def criterion(self) -> float:
        """REML criterion, or deviance for an ML fit (docs/theory.md, eq. 3.1)."""
        return self.solution.criterion

    @property
    def n_parameters(self) -> int:
        """Fixed effects, covariance parameters and those of the family that are not known, as lme4 counts them."""
        of_family = sum(np.size(self.solution.parameters[name]) for name in self.design.parameters)
        of_residual = len(self.solution.residual)
        return self.design.p + len(self.solution.theta) + of_family + of_residual

    @property
    def loglik(self) -> float:
        """(Restricted) log-likelihood."""
        return -self.criterion / 2.0

    @property
    def deviance(self) -> float:
        """−2 log-likelihood; for a REML fit the REML criterion."""
        return self.criterion

    @property
    def aic(self) -> float:
        """−2 loglik + 2 n_parameters."""
        return self.criterion + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """−2 loglik + log(n) n_parameters, n the rows as often as they count."""
        return self.criterion + float(np.log(self.design.n_counted)) * self.n_parameters

    @property
    def df_resid(self) -> float:
        """Rows, as often as they count, less n_parameters."""
        left = self.design.n_counted - self.n_parameters
        return int(left) if left == int(left) else left

    @property
    def is_singular(self) -> bool:
        """Whether a covariance matrix of the random effects has not full rank."""
        return any(self.solution.singular)

    @property
    def values(self) -> Values:
        """β̂, the covariance matrices and the family's parameters, such as σ̂, as arrays."""
        solution = self.solution
        return Values(
            beta=solution.beta,
            covariances=solution.covariances[: len(self.design.groups)],  # others are of categories
            family={name: np.asarray(value) for name, value in solution.parameters.items()},
            residual=None if self.design.residual is None else solution.residual,
            curves=curves_of(self.design, solution.modes[: len(self.design.groups)]),
        )
