"""Responses simulated from a linear predictor, for every family; prior and posterior prediction both go through here.

Everything broadcasts over leading axes: (draw,) for priors, (chain, draw) for a posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..spec.design import Design
from ..spec.family import Family

Array = NDArray[np.float64]

LARGEST_POISSON = 1e18  # numpy's limit is 9.2e18; the relative sd of a count is 1e-9 here


def linear_predictor(design: Design, beta: Array, effects: Sequence[Array]) -> Array:
    """η = Xβ + Zb + offset at the rows of a design.

    Parameters
    ----------
    design : Design
    beta : (..., p)
    effects : one (..., J, q) for every grouping factor

    Returns
    -------
    (..., n)
    """
    eta = beta @ design.X.T + design.offset
    for group, b in zip(design.groups, effects, strict=True):
        for k in range(group.q):
            eta += b[..., k][..., group.codes] * group.Z[:, k]
    return eta


def simulate_response(
    family: Family,
    eta: Array,
    *,
    parameters: Mapping[str, Any],
    trials: Array | None,
    weights: Array | None,
    rng: Generator,
) -> Array:
    """Draw one response for every linear predictor.

    Parameters
    ----------
    family : Family
    eta : (..., n)
        Linear predictor, offset included.
    parameters : mapping
        The family's parameters under the names of ``family.parameters``: arrays (...), and ``cutpoint`` (..., K − 1) in
        increasing order.
    trials : (n,) or None
        Of a binomial response; one each where there are none.
    weights : (n,) or None
        They divide the variance of gaussian and lognormal responses, and the squared scale of student_t ones.
    rng : numpy.random.Generator

    Returns
    -------
    float64 array (..., n)
        Successes of a binomial response; 0, ..., K − 1 for the categories of an ordinal one.

    Notes
    -----
    Numbers that a computer cannot hold do not stop the simulation:

    * NaN where the mean is impossible, such as a negative one of a count (identity link) or of a gamma response
      (identity and inverse link), and where it is NaN itself;
    * inf where a mean or a response is larger than 1.8e308;
    * counts with a mean above 1e18, where they vary by less than one part in 10⁹, are the mean itself;
    * a beta or gamma response may round to the edge of its support, 0 or 1.
    """
    eta = np.asarray(eta, dtype=np.float64)
    given = {name: np.asarray(parameters[name], dtype=np.float64) for name in family.parameters}
    with np.errstate(all="ignore"):
        if family.name == "ordinal":
            return _categories(family, eta, given["cutpoint"], rng)
        mean = family.mean(eta)
        own = {name: np.broadcast_to(value[..., None], mean.shape) for name, value in given.items()}
        if "sigma" in own and weights is not None:
            own["sigma"] = own["sigma"] / np.sqrt(weights)
        match family.name:
            case "gaussian":
                return mean + own["sigma"] * rng.standard_normal(mean.shape)
            case "student_t":
                return mean + own["sigma"] * rng.standard_t(own["nu"])
            case "lognormal":
                return np.exp(mean + own["sigma"] * rng.standard_normal(mean.shape))
            case "bernoulli":
                return np.where(np.isnan(mean), np.nan, rng.random(mean.shape) < mean)
            case "binomial":
                return _successes(mean, trials, rng)
            case "poisson":
                return _counts(mean, rng)
            case "negbinomial":
                return _counts(_gamma(mean, own["shape"], rng, zero=True), rng)
            case "gamma":
                return _gamma(mean, own["shape"], rng)
            case "beta":
                return _beta(mean, own["phi"], rng)
    raise AssertionError(f"no simulation of {family}")


def _categories(family: Family, eta: Array, cutpoints: Array, rng: Generator) -> Array:
    """The number of cutpoints below a latent variable: P(y ≤ k) = g⁻¹(cutpoint_k − η)."""
    uniform = rng.random(eta.shape)
    category = np.zeros(eta.shape)
    for k in range(cutpoints.shape[-1]):
        category += uniform > family.mean(cutpoints[..., k, None] - eta)
    return np.where(np.isnan(eta), np.nan, category)


def _successes(mean: Array, trials: Array | None, rng: Generator) -> Array:
    known = ~np.isnan(mean)
    number = np.broadcast_to(np.ones(1) if trials is None else trials, mean.shape).astype(np.int64)
    drawn = rng.binomial(number, np.where(known, mean, 0.5))
    return np.where(known, drawn, np.nan)


def _counts(mean: Array, rng: Generator) -> Array:
    """Poisson counts with these means; NaN for negative ones."""
    small = (mean >= 0.0) & (mean <= LARGEST_POISSON)
    drawn = rng.poisson(np.where(small, mean, 0.0)).astype(np.float64)
    return np.where(small, drawn, np.where(mean > LARGEST_POISSON, np.rint(mean), np.nan))


def _gamma(mean: Array, shape: Array, rng: Generator, *, zero: bool = False) -> Array:
    """Gamma responses, mean μ and variance μ²/shape; NaN for means that are not positive (``zero`` allows zero)."""
    unit = rng.standard_gamma(shape) / shape
    unit = np.where(np.isposinf(shape), 1.0, unit)
    possible = (mean >= 0.0) if zero else (mean > 0.0)
    return np.where(possible, np.where(unit == 0.0, 0.0, mean * unit), np.nan)


def _beta(mean: Array, phi: Array, rng: Generator) -> Array:
    """Beta responses, a = μ phi and b = (1 − μ) phi; means that round to 0 or 1 are the response."""
    a, b = mean * phi, (1.0 - mean) * phi
    inside = (a > 0.0) & (b > 0.0)
    drawn = rng.beta(np.where(inside, a, 1.0), np.where(inside, b, 1.0))
    return np.where(inside, drawn, mean)
