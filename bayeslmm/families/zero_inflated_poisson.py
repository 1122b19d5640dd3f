"""Poisson counts with zeros beside theirs."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..tools.arrays import Array
from ..tools.compiling import compiled
from . import poisson
from .poisson import Poisson
from .zeros import ZeroInflated, alone, inflated, inflated_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without log y!; its derivatives by η and by zi."""
    of_y = poisson.row(link, y, trials, weight, eta, parameters)
    of_zero = poisson.row(link, 0.0, trials, weight, eta, parameters)
    value, by_eta, _, by_zi = inflated(y, of_y, of_zero, parameters[0])
    return value, by_eta, by_zi, 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    of_y = poisson.bends(link, y, trials, weight, eta, parameters)
    of_zero = poisson.bends(link, 0.0, trials, weight, eta, parameters)
    return alone(inflated_bends(y, of_y, of_zero, parameters[0]))


class ZeroInflatedPoisson(ZeroInflated, Poisson):
    """y = 0 with probability zi, else y ~ Poisson(μ)."""

    name = "zero_inflated_poisson"
    every_parameter = ("zi",)
    limited_by: ClassVar[Mapping[str, str]] = {"zi": "poisson"}
    row, rows, bends = row, None, bends
    distribution = "0 with probability zi, else Poisson(μ_i)"
    variance_in_words = "(1 - zi) μ_i (1 + zi μ_i)"
    needs = "whole numbers, zero or more"

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

        return pm.ZeroInflatedPoisson("y", psi=1.0 - parameters["zi"], mu=self.graph_mean(eta), **options)
