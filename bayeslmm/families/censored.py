"""Responses of which some rows are known to lie in an interval only: ``cens(y, status)``, ``y | cens(status)``.

The compiled loops take the ends of the interval of each row in the places of the response and of the trials. They are
one number where the row was observed, and there the density is that of the base; elsewhere it is the probability of
the interval. The base comes after `Censored` among the bases of a class.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from .family import Family


class Censored(Family, ABC):
    """Rows that are observed, and rows that lie in an interval."""

    is_censored: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"{self.name} ({self.link} link, censored)"

    @property
    def is_normal(self) -> bool:  # noqa: D102
        return False

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        is_observed = np.ones(len(y), dtype=bool) if trials is None else y == trials
        stand_in = np.where(is_observed, y, 1.0)
        return np.where(is_observed, super().constants(stand_in, None, weights), 0.0)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        with np.errstate(divide="ignore"):
            below = super().cdf(y, eta, parameters)[0]  # type: ignore[safe-super]
            return below, below if trials is None else super().cdf(trials, eta, parameters)[1]  # type: ignore[safe-super]

    def normal_scores(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator
    ) -> Array:
        return Family.normal_scores(self, y, eta, parameters, trials, rng)

    def working_response(self, y: Array) -> Array:
        with np.errstate(divide="ignore"):
            return super().working_response(y)

    def graph_interval(self, y: Any, lower: Array, upper: Array) -> Any:
        """log P(lower < y ≤ upper) (n,) in PyTensor, of the observed variable ``y`` of `graph`."""
        import pymc as pm
        import pytensor.tensor as pt

        # of rows that a branch is not for it gets numbers at which it is finite, as their slopes are multiplied by zero
        has_low, has_high = lower > self.lowest, np.isfinite(upper)
        is_between = has_low & has_high & (lower < upper)
        low = np.where(has_low, lower, 1.0)
        above = pm.logccdf(y, low)  # of y > lower
        between = above + pt.log1mexp(pm.logccdf(y, np.where(is_between, upper, low + 1.0)) - above)
        up_to = pm.logcdf(y, np.where(has_high, upper, 1.0))
        return pt.where(is_between, between, pt.where(has_low, above, up_to))
