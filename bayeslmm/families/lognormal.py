"""Log-normal responses: log y ~ Normal(η, σ/√w)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from .family import Scale
from .gaussian import Gaussian, weighted


class LogNormal(Gaussian):
    """log y ~ Normal(μ, σ/√w): a normal model of log y, in the units of y."""

    name = "lognormal"
    has_unit_deviance = False
    mean_parameters = frozenset({"sigma"})
    links: ClassVar[tuple[str, ...]] = ("identity",)
    models_log = True
    distribution = "Log-Normal(μ_i, %s)"
    needs = "numbers above zero"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return np.asarray(y <= 0.0)

    def working_response(self, y: Array) -> Array:
        return np.log(y)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return super().constants(y, trials, weights) - np.log(y)

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        return np.exp(eta + 0.5 * _variance_of_log(parameters, weights))

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        return mean**2 * np.expm1(_variance_of_log(parameters, weights))

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        return super().cdf(np.log(y), eta, parameters)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return np.exp(super().draw(eta, parameters, trials, rng))

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

        return pm.LogNormal("y", mu=eta, sigma=weighted(parameters["sigma"], weights), **options)

    def centre(self, y: Array, trials: Array | None) -> float:
        return float(np.log(y).mean())

    @property
    def centre_in_words(self) -> str:
        return "mean(log y)"

    def scale(self, y: Array) -> Scale:
        return Scale(float(np.std(np.log(y), ddof=1)), "sd(log y)")


def _variance_of_log(parameters: Mapping[str, Array], weights: Array | None) -> Array:
    variance = parameters["sigma"] ** 2
    return variance if weights is None else variance / weights
