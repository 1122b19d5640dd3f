"""Counts of one or more: a negative binomial count that is seen only where it is not zero."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import stats
from . import negbinomial
from .family import Family
from .negbinomial import NegativeBinomial
from .poisson import draw_counts
from .zeros import first_of_some, without_zeros, without_zeros_bends

STEPS = 60  # of Newton's method, which comes down to its root


@compiled
def row(link, y, trials, weight, eta, parameters):
    """Log density without its gamma functions; its derivatives by η and by shape."""
    zero = negbinomial.row(link, 0.0, trials, weight, eta, parameters)
    return without_zeros(negbinomial.row(link, y, trials, weight, eta, parameters), zero)


@compiled
def bends(link, y, trials, weight, eta, parameters):
    """See `Family.bends`."""
    zero = negbinomial.bends(link, 0.0, trials, weight, eta, parameters)
    return without_zeros_bends(negbinomial.bends(link, y, trials, weight, eta, parameters), zero)


class TruncatedNegativeBinomial(NegativeBinomial):
    """y ~ Negative-Binomial(μ, shape) given y > 0."""

    name = "truncated_negbinomial"
    has_unit_deviance = False
    links = ("log",)
    least = 1.0
    for_zeros: ClassVar[tuple[str, ...]] = ()
    scales_with_mean = False
    mean_parameters = frozenset({"shape"})
    limited_by: ClassVar[Mapping[str, str]] = {"shape": "truncated_poisson"}
    row, rows, bends = row, None, bends
    distribution = "Negative-Binomial(μ_i, shape), given y_i > 0"
    needs = "whole numbers, one or more"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y < 1.0) | (y != np.round(y))

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        mean, shape = self.mean(eta), parameters["shape"]
        return np.divide(mean, share_of_some(mean, shape), out=np.ones_like(mean), where=mean > 0.0)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        shape = parameters["shape"]
        of_all = mean_of_all(mean, shape)
        return mean * np.maximum(1.0 + of_all * (1.0 + 1.0 / shape) - mean, 0.0)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        mean, shape = self.mean(eta), parameters["shape"]
        some, p = share_of_some(mean, shape), shape / (shape + mean)
        below = stats.nbinom.sf(np.maximum(y - 1.0, 0.0), shape, p)
        return 1.0 - below / some, 1.0 - stats.nbinom.sf(y, shape, p) / some

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        return draw_some(self.mean(eta), parameters["shape"], rng)

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

        untruncated = pm.NegativeBinomial.dist(mu=self.graph_mean(eta), alpha=parameters["shape"])
        return pm.Truncated("y", untruncated, lower=1, **options)


def share_of_some(mean: Array, shape: Array) -> Array:
    """P(y > 0) of a negative binomial count."""
    return -np.expm1(-shape * np.log1p(mean / shape))


def mean_of_all(mean: Array, shape: Array) -> Array:
    """μ of the count whose mean is ``mean`` where it is not zero, which grows with μ and bends upwards."""
    mu = np.array(np.broadcast_to(mean, np.broadcast_shapes(np.shape(mean), np.shape(shape))), dtype=np.float64)
    for _ in range(STEPS):
        some = share_of_some(mu, shape)
        with np.errstate(all="ignore"):
            mean_of_some = mu / some
            slope = (1.0 - mean_of_some * (1.0 - some) * shape / (shape + mu)) / some
            step = np.where(mu > 0.0, (mean_of_some - mean) / slope, 0.0)
        mu = np.maximum(mu - np.nan_to_num(step), 0.0)
        if np.all(np.abs(step) <= 1e-14 * (1.0 + mu)):
            break
    return mu


def draw_some(mean: Array, shape: Array, rng: Generator) -> Array:
    """Counts that are not zero: clusters that arrive as a Poisson number, each of logarithmic size (Quenouille 1949).

    The first arrives by a truncated exponential time, the others are a negative binomial count again.
    """
    shape = np.broadcast_to(shape, mean.shape)
    possible = np.isfinite(mean) & (mean >= 0.0)
    sound = np.where(possible, mean, 1.0)
    rate = shape * np.log1p(sound / shape)
    left = np.divide(rate - first_of_some(rate, rng), rate, out=np.zeros_like(rate), where=rate > 0.0)
    first = rng.logseries(np.minimum(sound / (shape + sound), 1.0 - 1e-16))
    more = draw_counts(rng.standard_gamma(shape * np.clip(left, 0.0, 1.0)) * sound / shape, rng)
    return np.where(possible, first + more, np.nan)
