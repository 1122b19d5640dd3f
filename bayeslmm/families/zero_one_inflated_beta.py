"""Shares from 0 to 1: the ends with probabilities of their own, between them beta shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.lazy import special
from .beta import Beta
from .family import Default, Family
from .links import PROBABILITY_LINKS

INSIDE = 0.02  # of the ends, that means begin at in a rough search


class ZeroOneInflatedBeta(Family):
    """0 or 1 with probability zoi, then 1 with probability coi; else y ~ Beta(μφ, (1 − μ)φ)."""

    name = "zero_one_inflated_beta"
    links = PROBABILITY_LINKS
    every_parameter = ("phi", "zoi", "coi")
    parameter_links: ClassVar[Mapping[str, str]] = {"zoi": "logit", "coi": "logit"}
    limited_by: ClassVar[Mapping[str, str]] = {"coi": "one whose ends are all alike"}
    limit_at_zero = frozenset({"coi"})
    mean_parameters = frozenset({"zoi", "coi"})
    scales_with_mean = False
    has_free_dispersion = True
    is_compiled = False
    between = Beta
    ends = (0.0, 1.0)
    distribution = "0 or 1 with probability zoi, 1 of these with coi, else Beta(μ_i φ, (1 - μ_i) φ)"
    needs = "numbers from 0 to 1"

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        return (y < 0.0) | (y > 1.0)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        inside = (y > 0.0) & (y < 1.0)
        return np.where(inside, Beta(link=self.link).constants(np.where(inside, y, 0.5), trials, weights), 0.0)

    def at_ends(self, y: Array, parameters: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        zoi, coi, inside, one = parameters["zoi"], parameters["coi"], (y > 0.0) & (y < 1.0), y >= 1.0
        which = np.where(one, np.log(coi), np.log1p(-coi))
        value = np.where(inside, np.log1p(-zoi), np.log(zoi) + which)
        by_coi = np.where(inside, 0.0, np.where(one, 1.0 / coi, -1.0 / (1.0 - coi)))
        return value, {"zoi": np.where(inside, -1.0 / (1.0 - zoi), 1.0 / zoi), "coi": by_coi}

    def raised_by(self, parameter: str, y: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        at_end = (y <= 0.0) | (y >= 1.0)
        return (at_end, np.ones(len(y), dtype=bool)) if parameter == "zoi" else (y >= 1.0, at_end)

    def goes_to_zero(self, parameter: str, y: Array) -> bool:
        return not (y >= 1.0).any()

    def guess(self, parameter: str, sigma: float) -> float:
        return {"zoi": 0.2, "coi": 0.5}.get(parameter) or Beta(link=self.link).guess(parameter, sigma)

    def log_density(self, y: Array, eta: Array, parameters: Mapping[str, Array]) -> Array:
        mean, phi, zoi, coi = self.mean(eta), parameters["phi"], parameters["zoi"], parameters["coi"]
        inside = (y > 0.0) & (y < 1.0)
        a, b, between = mean * phi, (1.0 - mean) * phi, np.where(inside, y, 0.5)
        with np.errstate(all="ignore"):
            of_share = special.xlogy(a - 1.0, between) + special.xlog1py(b - 1.0, -between) - special.betaln(a, b)
            at_end = np.log(zoi) + np.where(y > 0.0, np.log(coi), np.log1p(-coi))
            return np.where(inside, np.log1p(-zoi) + of_share, at_end)

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        zoi = parameters["zoi"]
        return zoi * parameters["coi"] + (1.0 - zoi) * self.mean(eta)

    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        """Of E(y | η), which tells that of the shares between the ends."""
        phi, zoi, coi = parameters["phi"], parameters["zoi"], parameters["coi"]
        with np.errstate(all="ignore"):
            between = (mean - zoi * coi) / (1.0 - zoi)
        second = between**2 + between * (1.0 - between) / (1.0 + phi)
        return zoi * coi + (1.0 - zoi) * second - mean**2

    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        zoi, coi = parameters["zoi"], parameters["coi"]
        share, _ = Beta(link=self.link).cdf(y, eta, parameters)
        zero, one = zoi * (1.0 - coi), zoi * coi
        up_to = np.where(y >= 0.0, zero, 0.0) + (1.0 - zoi) * share
        below = np.where(y > 0.0, up_to, 0.0)
        return below, np.where(y >= 1.0, below + one, up_to)

    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        share = Beta(link=self.link).draw(eta, parameters, trials, rng)
        at_end, one = rng.random(share.shape) < parameters["zoi"], rng.random(share.shape) < parameters["coi"]
        return np.where(at_end & ~np.isnan(share), one.astype(np.float64), share)

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        return None, "ends with a probability of their own have no variance on the scale of the linear predictor"

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

        mean = pt.as_tensor(self.graph_mean(eta))
        others = [pt.zeros_like(mean) + parameters[name] for name in self.every_parameter]
        return pm.CustomDist("y", mean, *others, logp=_logp, dist=_dist, **options)

    def start(self, y: Array, trials: Array) -> Array:
        return np.clip(y, INSIDE, 1.0 - INSIDE)

    def working_variance(self, mean: Array) -> Array:
        return np.maximum(mean * (1.0 - mean), 1e-10)

    def default_prior(self, parameter: str, y: Array) -> Default:
        if parameter == "zoi":
            return Default("Beta", {"alpha": 1.0, "beta": 1.0}, "uniform: any share of zeros and ones")
        if parameter == "coi":
            return Default("Beta", {"alpha": 1.0, "beta": 1.0}, "uniform: any share of ones among zeros and ones")
        return Beta(link=self.link).default_prior(parameter, y)


def _logp(value: Any, mean: Any, phi: Any, zoi: Any, coi: Any) -> Any:
    """The log density as a graph: that of a share between is taken at one half where there is none."""
    import pytensor.tensor as pt

    inside = pt.and_(pt.gt(value, 0.0), pt.lt(value, 1.0))
    a, b, between = mean * phi, (1.0 - mean) * phi, pt.switch(inside, value, 0.5)
    log_beta = pt.gammaln(a) + pt.gammaln(b) - pt.gammaln(phi)
    of_share = (a - 1.0) * pt.log(between) + (b - 1.0) * pt.log1p(-between) - log_beta
    at_end = pt.log(zoi) + pt.switch(pt.gt(value, 0.0), pt.log(coi), pt.log1p(-coi))
    return pt.switch(inside, pt.log1p(-zoi) + of_share, at_end)


def _dist(mean: Any, phi: Any, zoi: Any, coi: Any, size: Any) -> Any:
    """A draw as a graph."""
    import pymc as pm
    import pytensor.tensor as pt

    share = pm.Beta.dist(alpha=mean * phi, beta=(1.0 - mean) * phi, size=mean.shape)
    at_end, one = (pm.Uniform.dist(0.0, 1.0, size=mean.shape) for _ in range(2))
    return pt.switch(pt.lt(at_end, zoi), pt.switch(pt.lt(one, coi), 1.0, 0.0), share)
