"""The response of a PyMC model, family by family; a door to PyMC."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..spec.design import Design
from ..spec.family import Family

_SQRT2 = np.sqrt(2.0)


def add_response(design: Design, eta: Any, parameters: dict[str, Any], observed: Any, weights: Any) -> Any:
    """The observed variable ``y`` around the linear predictor ``eta`` (n,).

    ``parameters`` are the family's, as variables; ``weights`` divide the variance (None: all 1).
    """
    import pymc as pm

    family = design.family
    options: dict[str, Any] = {"observed": observed, "dims": "obs"}
    if "sigma" in parameters:
        scale = parameters["sigma"] if weights is None else parameters["sigma"] / weights**0.5
    if family.name == "bernoulli" and family.link == "logit":
        # one softplus a row, where pm.Bernoulli takes two
        return pm.CustomDist("y", eta, logp=_logit_log_density, random=_logit_random, **options)
    if family.name == "binomial" and family.link == "logit":
        return pm.Binomial("y", n=design.trials, logit_p=eta, **options)
    if family.name == "ordinal":  # elementwise: pm.Categorical would compile for half a minute
        cutpoints = [parameters["cutpoint"][k] for k in range(len(design.levels) - 1)]
        return pm.CustomDist(
            "y", eta, *cutpoints, logp=partial(_ordinal_log_density, family.link),
            random=partial(_ordinal_random, family), **options,
        )  # fmt: skip
    mean = _mean(family.link, eta)
    match family.name:
        case "gaussian":
            return pm.Normal("y", mean, scale, **options)
        case "student_t":
            return pm.StudentT("y", nu=parameters["nu"], mu=mean, sigma=scale, **options)
        case "lognormal":
            return pm.LogNormal("y", mu=mean, sigma=scale, **options)
        case "bernoulli":
            return pm.Bernoulli("y", p=mean, **options)
        case "binomial":
            return pm.Binomial("y", n=design.trials, p=mean, **options)
        case "poisson":
            return pm.Poisson("y", mu=mean, **options)
        case "negbinomial":
            return pm.NegativeBinomial("y", mu=mean, alpha=parameters["shape"], **options)
        case "gamma":
            return pm.Gamma("y", alpha=parameters["shape"], beta=parameters["shape"] / mean, **options)
    assert family.name == "beta"
    phi = parameters["phi"]
    return pm.Beta("y", alpha=mean * phi, beta=(1.0 - mean) * phi, **options)


def _mean(link: str, eta: Any) -> Any:
    """g⁻¹(η) in PyTensor."""
    import pytensor.tensor as pt

    match link:
        case "identity":
            return eta
        case "log":
            return pt.exp(eta)
        case "inverse":
            return 1.0 / eta
        case "sqrt":
            return eta**2
        case "logit":
            return pt.sigmoid(eta)
        case "probit":
            return 0.5 * pt.erfc(-eta / _SQRT2)
        case "cloglog":
            return -pt.expm1(-pt.exp(eta))
    assert link == "cauchit"
    return 0.5 + pt.arctan(eta) / np.pi


def _ordinal_log_density(link: str, value: Any, eta: Any, *cutpoints: Any) -> Any:
    """log P(y = k) = log(F(c_k − η) − F(c_{k−1} − η))."""
    import pytensor.tensor as pt

    def at(k: Any) -> Any:
        found = cutpoints[0]
        for number, cutpoint in enumerate(cutpoints[1:], start=1):
            found = pt.switch(pt.ge(k, number), cutpoint, found)
        return found

    below = pt.switch(pt.eq(value, len(cutpoints)), 1.0, _mean(link, at(value) - eta))
    under = pt.switch(pt.eq(value, 0), 0.0, _mean(link, at(value - 1) - eta))
    return pt.log(below - under)


def _ordinal_random(family: Family, eta: Any, *cutpoints: Any, rng: Any = None, size: Any = None) -> Any:
    shape = np.broadcast_shapes(np.shape(eta), *map(np.shape, cutpoints)) if size is None else size
    drawn = rng.random(shape)
    return sum((drawn > family.mean(np.asarray(c) - eta)).astype(int) for c in cutpoints)


def _logit_log_density(value: Any, eta: Any) -> Any:
    import pytensor.tensor as pt

    return value * eta - pt.softplus(eta)


def _logit_random(eta: Any, rng: Any = None, size: Any = None) -> Any:
    return rng.binomial(1, 1.0 / (1.0 + np.exp(-eta)), size=size)
