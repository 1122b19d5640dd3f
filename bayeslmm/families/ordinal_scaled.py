"""Ordered categories whose latent variable has an sd of its own in each row: P(y ≤ k) = F((cutpoint_k − η) / scale).

``scale="~ x"`` of a model makes it of an ordinal family: log scale = xᵀγ without an intercept, which the cutpoints
have. That is ``scale = ~ x`` of ``ordinal::clm`` (Christensen 2018) and, with the opposite sign, brms's ``disc``, which
is one over it. No loop is compiled for it: it is the ordinal family at η / scale and cutpoints / scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from .family import Default, Family
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
        cutpoints, scale = parameters["cutpoint"], parameters[SCALE]
        return super().graph(
            eta / scale,
            {"cutpoint": [cutpoints[k] / scale for k in range(len(categories) - 1)]},
            trials=trials,
            weights=weights,
            categories=categories,
            options=options,
        )

    def default_prior(self, parameter: str, y: Array) -> Default:
        if parameter == SCALE:
            return Default("LogNormal", {"mu": 0.0, "sigma": 1.0}, "of the scale where predictors are zero")
        return super().default_prior(parameter, y)
