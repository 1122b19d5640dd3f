"""Normal responses with known standard errors, as in meta-analysis: y_i ~ Normal(μ_i, se_i).

The data of such a model hold weights (σ/se_i)², so that all that is written for normal residuals holds with a σ that
is no parameter. σ is the typical standard error of the rows, the one that I² compares with (Higgins & Thompson 2002,
eq. 9): the unit in which the kernel computes, which no estimate depends on.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..tools.arrays import Array
from ..tools.compiling import compiled
from .family import Scale
from .gaussian import Gaussian


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density and its derivative by η; the weight is 1/se²."""
    z = y - eta
    return -0.5 * weight * z * z, weight * z, 0.0, 0.0


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    z = y - eta
    return -0.5 * weight * z * z, weight * z, -weight, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianKnown(Gaussian):
    """y ~ Normal(μ, σ/√w), with σ and w known.

    Attributes
    ----------
    sigma : float
        The typical standard error.
    """

    sigma: float = 1.0

    links: ClassVar[tuple[str, ...]] = ("identity",)
    every_parameter: ClassVar[tuple[str, ...]] = ()
    has_free_dispersion: ClassVar[bool] = False
    row, rows, bends = row, None, bends

    def __str__(self) -> str:
        return "gaussian (identity link, known standard errors)"

    @property
    def known(self) -> Mapping[str, float]:  # noqa: D102
        return {"sigma": self.sigma}

    def precisions(self, weights: Array | None) -> Array | None:  # noqa: D102
        return None if weights is None else weights / self.sigma**2

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        completed = self.complete(parameters, ())
        return super(GaussianKnown, self).variance(mean, completed, trials=trials, weights=weights)

    def scale(self, y: Array) -> Scale:
        spread = float(np.std(y, ddof=1)) if len(y) > 1 else 0.0
        return Scale(spread, "sd(y)") if spread > 0.0 else Scale(self.sigma, "typical standard error")

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return super(GaussianKnown, self).constants(y, trials, self.precisions(weights))

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return self.sigma**2 + np.zeros_like(fixed), "sampling variance of a typical row"
