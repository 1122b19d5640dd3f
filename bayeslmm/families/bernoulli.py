"""Yes/no responses: one trial a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from .binomial import Binomial


class Bernoulli(Binomial):
    """y is 1 with probability μ."""

    name = "bernoulli"
    has_trials = False
    is_binary = True
    log_concave_links = Binomial.log_concave_links
    distribution = "Bernoulli(p_i)"
    needs = "0 or 1 (or True and False, or two categories)"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y != 0.0) & (y != 1.0)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        return np.zeros(len(y))

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        mean = self.mean(eta)
        return np.where(np.isnan(mean), np.nan, rng.random(mean.shape) < mean)

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

        if self.link == "logit":  # one softplus a row, where pm.Bernoulli takes two
            return pm.CustomDist("y", eta, logp=_logit_log_density, dist=_logit_draw, **options)
        return pm.Bernoulli("y", p=self.graph_mean(eta), **options)


def _logit_log_density(value: Any, eta: Any) -> Any:
    import pytensor.tensor as pt

    return value * eta - pt.softplus(eta)


def _logit_draw(eta: Any, size: Any) -> Any:
    import pymc as pm

    return pm.Bernoulli.dist(logit_p=eta, size=size)
