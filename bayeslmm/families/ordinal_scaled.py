"""Ordered categories whose latent variable has an sd of its own in each row: P(y ≤ k) = F((cutpoint_k − η) / scale).

``scale="~ x"`` of a model makes it of an ordinal family: log scale = xᵀγ without an intercept, which the cutpoints
have. That is ``scale = ~ x`` of ``ordinal::clm`` (Christensen 2018) and, with the opposite sign, brms's ``disc``, which
is one over it. No loop is compiled for it: it is the ordinal family at η / scale and cutpoints / scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from .family import Default, Family
from .links import LINKS
from .ordinal import Ordinal

SCALE = "scale"


class OrdinalScaled(Ordinal):
    """Categories of a latent variable cut at K − 1 points, with a scale by a linear predictor."""

    every_parameter = ("cutpoint", SCALE)  # type: ignore[assignment]
    parameters_by_row = frozenset({SCALE})
    log_concave_links = ("logit", "probit", "cloglog")

    @property
    def of_loops(self) -> Family:  # noqa: D102
        return Ordinal(link=self.link)

    def is_positive(self, parameter: str) -> bool:  # noqa: D102
        return parameter == SCALE

    def along(self, parameters: Mapping[str, Any]) -> dict[str, Array]:
        """Cutpoints with an axis of rows (..., 1, K − 1)."""
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
        return {name: value[..., None, :] if name == "cutpoint" else value for name, value in arrays.items()}

    def for_loops(self, eta: Array, parameters: Array) -> tuple[Array, Array, Array]:
        """The last column is the scale, and all else is in units of it."""
        scale = parameters[:, -1]
        return eta / scale, np.ascontiguousarray(parameters[:, :-1] / scale[:, None]), scale

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        """The probabilities of the categories (..., n, K)."""
        below = self.mean((parameters["cutpoint"] - eta[..., None]) / parameters[SCALE][..., None])
        edges = np.zeros((*below.shape[:-1], 1))
        return np.diff(np.concatenate([edges, below, edges + 1.0], axis=-1), axis=-1)

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        cutpoints = parameters["cutpoint"]
        edges = np.pad(cutpoints, [(0, 0)] * (cutpoints.ndim - 1) + [(1, 1)], constant_values=((-np.inf, np.inf),))
        edges = np.broadcast_to(edges, (*eta.shape, edges.shape[-1]))
        k = np.broadcast_to(y.astype(np.int64), eta.shape)
        ends = np.take_along_axis(edges, np.stack([k, k + 1], axis=-1), axis=-1)
        probabilities = self.mean((ends - eta[..., None]) / parameters[SCALE][..., None])
        return probabilities[..., 0], probabilities[..., 1]

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        """The number of cutpoints below a latent variable."""
        cutpoints, uniform = parameters["cutpoint"], rng.random(eta.shape)
        drawn = np.zeros(eta.shape)
        for k in range(cutpoints.shape[-1]):
            drawn += uniform > self.mean((cutpoints[..., k] - eta) / parameters[SCALE])
        return np.where(np.isnan(eta), np.nan, drawn)

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

        cutpoints, scale = parameters["cutpoint"], parameters[SCALE]
        ends = [(cutpoints[k] - eta) / scale for k in range(len(categories) - 1)]
        return pm.CustomDist(
            "y",
            *ends,
            logp=partial(_log_density, self.link, categories),
            dist=partial(_draw, self.link, categories),
            **options,
        )

    def default_prior(self, parameter: str, y: Array) -> Default:
        if parameter == SCALE:
            return Default("LogNormal", {"mu": 0.0, "sigma": 1.0}, "of the scale where predictors are zero")
        return super().default_prior(parameter, y)


def _log_density(link: str, numbers: Array, value: Any, *ends: Any) -> Any:
    """log(F(u) − F(l)) of the ends of a category, finite where the difference is no number: scales may be small."""
    import pytensor.tensor as pt

    log_cdf, log_survival = partial(_log_cdf, link), partial(_log_survival, link)
    middle: Any = log_cdf(ends[0])
    for number, low, high in zip(numbers[1:], ends, ends[1:], strict=False):
        is_low = low + high < 0.0  # by the smaller of the two tails
        larger = pt.where(is_low, log_cdf(high), log_survival(low))
        smaller = pt.where(is_low, log_cdf(low), log_survival(high))
        inside = larger + pt.log(-pt.expm1(pt.minimum(smaller - larger, -1e-300)))
        middle = pt.where(pt.ge(value, number), inside, middle)
    return pt.where(pt.ge(value, numbers[-1]), log_survival(ends[-1]), middle)


def _log_cdf(link: str, x: Any) -> Any:
    """log F in PyTensor."""
    import pytensor.tensor as pt
    from pymc.distributions.dist_math import normal_lcdf

    if link == "logit":
        return -pt.softplus(-x)
    if link == "probit":
        return normal_lcdf(0.0, 1.0, x)
    if link == "cloglog":
        return pt.log(-pt.expm1(-pt.exp(x)))
    # arctan loses its digits far out, where F is arctan(−1 / x) / π
    return pt.log(pt.where(x < -1.0, pt.arctan(-1.0 / pt.minimum(x, -1.0)) / np.pi, 0.5 + pt.arctan(x) / np.pi))


def _log_survival(link: str, x: Any) -> Any:
    """log(1 − F) in PyTensor."""
    import pytensor.tensor as pt

    return -pt.exp(x) if link == "cloglog" else _log_cdf(link, -x)


def _draw(link: str, numbers: Array, *inputs: Any) -> Any:
    """The category below whose end a uniform number lies; as a graph, which PyMC compiles."""
    import pymc as pm
    import pytensor.tensor as pt

    *ends, _ = inputs
    uniform, mean = pm.Uniform.dist(0.0, 1.0, size=ends[0].shape), LINKS[link].graph
    drawn: Any = np.asarray(numbers[0])
    for end, below, above in zip(ends, numbers, numbers[1:], strict=False):
        drawn = drawn + (above - below) * pt.cast(pt.gt(uniform, mean(end)), numbers.dtype.name)
    return drawn
