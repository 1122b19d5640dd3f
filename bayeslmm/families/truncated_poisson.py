"""Counts of one or more: a Poisson count of mean μ that is seen only where it is not zero."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import special, stats
from . import poisson
from .family import Family
from .poisson import Poisson, draw_counts
from .zeros import first_of_some, without_zeros, without_zeros_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without log y!, and its derivative by η."""
    zero = poisson.row(link, 0.0, trials, weight, eta, parameters)
    return without_zeros(poisson.row(link, y, trials, weight, eta, parameters), zero)


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    zero = poisson.bends(link, 0.0, trials, weight, eta, parameters)
    return without_zeros_bends(poisson.bends(link, y, trials, weight, eta, parameters), zero)


class TruncatedPoisson(Poisson):
    """y ~ Poisson(μ) given y > 0; μ/(1 − exp(−μ)) is its mean."""

    name = "truncated_poisson"
    has_unit_deviance = False
    links = ("log",)
    least = 1.0
    for_zeros: ClassVar[tuple[str, ...]] = ()
    scales_with_mean = False
    row, rows, bends = row, None, bends
    distribution = "Poisson(μ_i), given y_i > 0"
    needs = "whole numbers, one or more"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y < 1.0) | (y != np.round(y))

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        mean = self.mean(eta)
        return np.divide(mean, -np.expm1(-mean), out=np.ones_like(mean), where=mean > 0.0)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        of_all = np.maximum(mean + special.lambertw(-mean * np.exp(-mean)).real, 0.0)
        return np.asarray(mean * np.maximum(1.0 + of_all - mean, 0.0))

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        mean = self.mean(eta)
        some = -np.expm1(-mean)
        return 1.0 - stats.poisson.sf(np.maximum(y - 1.0, 0.0), mean) / some, 1.0 - stats.poisson.sf(y, mean) / some

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean = self.mean(eta)
        return 1.0 + draw_counts(mean - first_of_some(mean, rng), rng)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return Family.residual_variance(self, parameters, fixed, random)

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

        return pm.Truncated("y", pm.Poisson.dist(mu=self.graph_mean(eta)), lower=1, **options)
