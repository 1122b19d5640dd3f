"""Waiting times: variance μ², the coefficient of variation is one."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from .family import Family
from .links import by_eta, mean_and_slope, mean_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density; its derivative by η."""
    mean, slope = mean_and_slope(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0
    return -np.log(mean) - y / mean, (y - mean) / mean**2 * slope, 0.0, 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    mean, m1, m2, m3 = mean_bends(link, eta)
    if not mean > 0.0:
        return -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    f1, f2, f3 = (y - mean) / mean**2, (mean - 2.0 * y) / mean**3, (6.0 * y - 2.0 * mean) / mean**4
    d1, d2, d3 = by_eta(f1, f2, f3, m1, m2, m3)
    return -np.log(mean) - y / mean, d1, d2, d3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


class Exponential(Family):
    """y ~ Exponential(1/μ)."""

    name = "exponential"
    links = ("log", "inverse", "identity")
    has_positive_mean = True
    row, bends = row, bends
    distribution = "Exponential(1/μ_i)"
    variance_in_words = "μ_i²"
    needs = "numbers above zero"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return np.asarray(y <= 0.0)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean**2

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        below = -np.expm1(-y / self.mean(eta))
        return below, below

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return rng.exponential(self.mean(eta))

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

        return pm.Exponential("y", scale=self.graph_mean(eta), **options)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean**2, 1e-300)
