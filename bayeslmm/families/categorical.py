"""Categories without an order: P(y = k) = exp(η_k) / Σ_j exp(η_j), of the first category η = 0 (multinomial logit)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.frame import one_line
from ..tools.lazy import special
from .family import Default, Family, no_moments

HALF = 0.5  # a row, added to each category where its odds centre a prior: there may be none


@dataclass(frozen=True, slots=True, kw_only=True)
class Categorical(Family):
    """Categories with a linear predictor each, the log odds against the first.

    The linear predictor of the model itself is that of the first, which is zero; those of the others are those of
    parameters, ``mu_b`` of a category ``b``, and all are of one formula.

    Attributes
    ----------
    categories : tuple
        Those of a response, the reference first; none before a response is known.
    """

    categories: tuple[Any, ...] = ()

    name = "categorical"
    links = ("logit",)
    has_mean = False
    has_categories = True
    is_ordered = False
    is_discrete = True
    is_compiled = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The linear predictors of the categories but the first."""
        names: list[str] = []
        for category in self.categories[1:]:
            name = one_line(f"mu_{category}".replace("/", "_").replace("\0", "_"))  # that a file and a table can hold
            while name in names:
                name += "_"
            names.append(name)
        return tuple(names)

    def parameter_link(self, parameter: str) -> str:
        return "identity"

    def predictors(self, eta: Array, parameters: Mapping[str, Array]) -> Array:
        """Those of all categories (..., n, K)."""
        each = [np.broadcast_to(parameters[name], eta.shape) for name in self.parameters]
        return np.stack([eta, *each], axis=-1)

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        """The probabilities of the categories (..., n, K)."""
        return np.asarray(special.softmax(self.predictors(eta, parameters), axis=-1))

    def log_density(self, y: Array, eta: Array, parameters: Mapping[str, Array]) -> Array:
        every = self.predictors(eta, parameters)
        chosen = np.take_along_axis(every, np.broadcast_to(y.astype(np.int64), eta.shape)[..., None], axis=-1)
        return np.asarray(chosen[..., 0] - special.logsumexp(every, axis=-1))

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        raise no_moments("residuals", "a categorical")

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        """Of the categories in the order in which they stand."""
        probabilities = self.expected(eta, parameters)
        k = np.broadcast_to(y.astype(np.int64), eta.shape)
        below = np.concatenate([np.zeros((*eta.shape, 1)), np.cumsum(probabilities, axis=-1)], axis=-1)
        ends = np.take_along_axis(below, np.stack([k, k + 1], axis=-1), axis=-1)
        return np.minimum(ends[..., 0], 1.0), np.minimum(ends[..., 1], 1.0)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        """The category with the largest of its linear predictor and a Gumbel number."""
        every = self.predictors(eta, parameters)
        drawn = np.argmax(every + rng.gumbel(size=every.shape), axis=-1)
        return np.where(np.isnan(every).any(axis=-1), np.nan, drawn)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return None, "each category but the first has a linear predictor of its own, and no variance is that of all"

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
        import pytensor.tensor as pt

        every = [pt.as_tensor(eta), *(parameters[name] for name in self.parameters)]
        return pm.CustomDist(
            "y", *every, logp=partial(_log_density, categories), dist=partial(_draw, categories), **options
        )

    def centre(self, y: Array, trials: Array | None) -> float:
        return 0.0

    def default_prior(self, parameter: str, y: Array) -> Default:
        """Of the log odds of a category against the first: their own among all rows, as bernoulli's are centred."""
        counts = np.bincount(y.astype(np.int64), minlength=len(self.categories)) + HALF
        k = 1 + self.parameters.index(parameter)
        reason = one_line(f"log odds of {self.categories[k]} against {self.categories[0]}, 2.5 log odds")
        return Default("Normal", {"mu": float(np.log(counts[k] / counts[0])), "sigma": 2.5}, reason)


def _log_density(numbers: Array, value: Any, *every: Any) -> Any:
    """log P(y = k) of categories that these numbers stand for; elementwise, since pm.Categorical compiles slowly."""
    import pytensor.tensor as pt

    largest = every[0]
    for eta in every[1:]:
        largest = pt.maximum(largest, eta)
    total: Any = sum(pt.exp(eta - largest) for eta in every)
    chosen = every[0]
    for number, eta in zip(numbers[1:], every[1:], strict=True):
        chosen = pt.switch(pt.eq(value, number), eta, chosen)
    return chosen - largest - pt.log(total)


def _draw(numbers: NDArray[Any], *inputs: Any) -> Any:
    """The category whose linear predictor and Gumbel number are largest; as a graph, which PyMC compiles."""
    import pymc as pm
    import pytensor.tensor as pt

    *every, _ = inputs

    def tried(eta: Any) -> Any:
        return eta + pm.Gumbel.dist(0.0, 1.0, size=every[-1].shape)

    best, drawn = tried(every[0]), pt.zeros_like(every[-1]) + numbers[0]
    for number, eta in zip(numbers[1:], every[1:], strict=True):
        other = tried(eta)
        drawn, best = pt.switch(other > best, number, drawn), pt.maximum(best, other)
    return pt.cast(drawn, numbers.dtype.name)
