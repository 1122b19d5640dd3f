"""Negative binomial counts with zeros beside theirs."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..tools.arrays import Array
from ..tools.compiling import compiled
from . import negbinomial
from .negbinomial import NegativeBinomial
from .zeros import ZeroInflated, inflated, inflated_bends


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without its gamma functions; its derivatives by η, by shape and by zi."""
    of_y = negbinomial.row(link, y, trials, weight, eta, parameters)
    of_zero = negbinomial.row(link, 0.0, trials, weight, eta, parameters)
    return inflated(y, of_y, of_zero, parameters[1])


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    of_y = negbinomial.bends(link, y, trials, weight, eta, parameters)
    of_zero = negbinomial.bends(link, 0.0, trials, weight, eta, parameters)
    return inflated_bends(y, of_y, of_zero, parameters[1])


class ZeroInflatedNegativeBinomial(ZeroInflated, NegativeBinomial):
    """y = 0 with probability zi, else y ~ Negative-Binomial(μ, shape)."""

    name = "zero_inflated_negbinomial"
    every_parameter: ClassVar[tuple[str, ...]] = ("shape", "zi")
    limited_by: ClassVar[Mapping[str, str]] = {"shape": "zero_inflated_poisson", "zi": "negbinomial"}
    row, rows, bends = row, None, bends
    distribution = "0 with probability zi, else Negative-Binomial(μ_i, shape)"
    variance_in_words = "(1 - zi) μ_i (1 + μ_i (zi + 1/shape))"
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

        mean, alpha, some = self.graph_mean(eta), parameters["shape"], 1.0 - parameters["zi"]
        return pm.ZeroInflatedNegativeBinomial("y", psi=some, mu=mean, alpha=alpha, **options)
