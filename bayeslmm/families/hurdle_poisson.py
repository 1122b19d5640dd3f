"""Zeros with a probability of their own, and Poisson counts of one or more."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from . import poisson
from .truncated_poisson import TruncatedPoisson
from .zeros import Hurdle, alone, hurdled, hurdled_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without log y!; its derivatives by η and by hu."""
    of_y = poisson.row(link, y, trials, weight, eta, parameters)
    of_zero = poisson.row(link, 0.0, trials, weight, eta, parameters)
    value, by_eta, _, by_hu = hurdled(y, of_y, of_zero, parameters[0])
    return value, by_eta, by_hu, 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    of_y = poisson.bends(link, y, trials, weight, eta, parameters)
    of_zero = poisson.bends(link, 0.0, trials, weight, eta, parameters)
    return alone(hurdled_bends(y, of_y, of_zero, parameters[0]))


class HurdlePoisson(Hurdle, TruncatedPoisson):
    """y = 0 with probability hu, else y ~ Poisson(μ) given y > 0."""

    name = "hurdle_poisson"
    every_parameter = ("hu",)
    limited_by: ClassVar[Mapping[str, str]] = {"hu": "truncated_poisson"}
    row, rows, bends = row, None, bends
    distribution = "0 with probability hu, else Poisson(μ_i) given y_i > 0"
    needs = "whole numbers, zero or more"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y < 0.0) | (y != np.round(y))

    def graph(
        self,
        eta: Any,
        parameters: Mapping[str, Any],
        *,
        trials: Array | None,
        weights: Array | None,
        categories: Array,
        options: Mapping[str, Any],
    ) -> Any:
        import pymc as pm

        return pm.HurdlePoisson("y", psi=1.0 - parameters["hu"], mu=self.graph_mean(eta), **options)
