"""Zeros with a probability of their own, and negative binomial counts of one or more."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from . import negbinomial
from .truncated_negbinomial import TruncatedNegativeBinomial
from .zeros import Hurdle, hurdled, hurdled_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without its gamma functions; its derivatives by η, by shape and by hu."""
    of_y = negbinomial.row(link, y, trials, weight, eta, parameters)
    of_zero = negbinomial.row(link, 0.0, trials, weight, eta, parameters)
    return hurdled(y, of_y, of_zero, parameters[1])


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    of_y = negbinomial.bends(link, y, trials, weight, eta, parameters)
    of_zero = negbinomial.bends(link, 0.0, trials, weight, eta, parameters)
    return hurdled_bends(y, of_y, of_zero, parameters[1])


class HurdleNegativeBinomial(Hurdle, TruncatedNegativeBinomial):
    """y = 0 with probability hu, else y ~ Negative-Binomial(μ, shape) given y > 0."""

    name = "hurdle_negbinomial"
    mean_parameters = frozenset({"shape", "hu"})
    every_parameter: ClassVar[tuple[str, ...]] = ("shape", "hu")
    limited_by: ClassVar[Mapping[str, str]] = {"shape": "hurdle_poisson", "hu": "truncated_negbinomial"}
    row, rows, bends = row, None, bends
    distribution = "0 with probability hu, else Negative-Binomial(μ_i, shape) given y_i > 0"
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

        mean, alpha, some = self.graph_mean(eta), parameters["shape"], 1.0 - parameters["hu"]
        return pm.HurdleNegativeBinomial("y", psi=some, mu=mean, alpha=alpha, **options)
