"""Mean and spread of a response given its linear predictor, for every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..spec.family import Family

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def expected_response(
    family: Family, eta: Array, parameters: Mapping[str, Array], *, weights: Array | None = None
) -> Array:
    """E(y | η): of a lognormal response exp(η + σ²/2), of an ordinal one the probabilities of its categories.

    Parameters
    ----------
    family : Family
    eta : (..., n)
    parameters : mapping
        The family's parameters (...,); cutpoints (..., K − 1).
    weights : (n,), optional

    Returns
    -------
    (..., n), or (..., n, K) for ordinal
    """
    with np.errstate(over="ignore"):
        if family.name == "ordinal":
            below = family.mean(parameters["cutpoint"][..., None, :] - eta[..., None])
            edges = np.zeros((*below.shape[:-1], 1))
            return np.diff(np.concatenate([edges, below, edges + 1.0], axis=-1), axis=-1)
        if family.name == "lognormal":
            return np.exp(eta + 0.5 * _variance_of_log(parameters, weights))
        return family.mean(eta)


def expected_over(
    family: Family, eta: Array, sd: Array, parameters: Mapping[str, Array], *, weights: Array | None = None
) -> Array:
    """E(y) where the linear predictor is normal around η with this sd (..., n): averaged over groups.

    In closed form for identity and log links, by Gauss–Hermite quadrature with 31 nodes for the others.
    """
    if keeps_mean(family):
        return expected_response(family, eta, parameters, weights=weights)
    if family.link == "log" or family.name == "lognormal":
        return expected_response(family, eta + 0.5 * sd**2, parameters, weights=weights)
    total = np.zeros(())
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        total = total + weight * expected_response(family, eta + sd * node, parameters, weights=weights)
    return total


def keeps_mean(family: Family) -> bool:
    """Whether E(y) is the linear predictor, so that what scatters around it with mean zero leaves E(y) as it is."""
    return family.link == "identity" and family.name not in ("lognormal", "ordinal")


def expected_of(transform: Callable[[Array], Array], mean: Array, sd: Array) -> Array:
    """E f(y) of a normal response (..., n), by Gauss–Hermite quadrature with 31 nodes: exact for polynomials.

    Raises
    ------
    InputError
        f does not give one number for each.
    """
    total = np.zeros(())
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        value = np.asarray(transform(mean + sd * node))
        if value.shape != mean.shape:
            raise InputError(
                f"transform: a function of an array with one number for each, such as np.square; {mean.shape} became "
                f"{value.shape}"
            )
        total = total + weight * value
    return total


def _variance_of_log(parameters: Mapping[str, Array], weights: Array | None) -> Array:
    variance = parameters["sigma"][..., None] ** 2
    return variance if weights is None else variance / weights


def response_variance(
    family: Family,
    mean: Array,
    parameters: Mapping[str, Array],
    *,
    trials: Array | None = None,
    weights: Array | None = None,
    unit: bool = False,
) -> Array:
    """Var(y | η) (..., n), of successes over trials for binomial.

    With ``unit`` the variance function, in units of sigma² (gaussian, student_t) or 1/shape (gamma), as lme4's Pearson
    residuals have it.

    Raises
    ------
    NotAvailableError
        For ordinal responses.
    """
    by_weight = 1.0 if weights is None else 1.0 / weights
    if family.name == "ordinal":
        raise NotAvailableError(
            "categories have no mean and no variance: an ordinal response has no residuals"
        )
    if family.name == "gaussian":
        return (1.0 if unit else parameters["sigma"][..., None] ** 2) * by_weight + np.zeros_like(mean)
    if family.name == "student_t":
        if unit:
            return by_weight + np.zeros_like(mean)
        nu = parameters["nu"][..., None]
        heavy = np.divide(nu, nu - 2.0, out=np.full_like(nu, np.inf), where=nu > 2.0)
        return parameters["sigma"][..., None] ** 2 * heavy * by_weight + np.zeros_like(mean)
    if family.name == "lognormal":
        return mean**2 * np.expm1(_variance_of_log(parameters, weights))
    if family.name in ("bernoulli", "binomial"):
        return mean * (1.0 - mean) / (1.0 if trials is None else trials)
    if family.name == "poisson":
        return mean
    if family.name == "negbinomial":
        return mean + mean**2 / parameters["shape"][..., None]
    if family.name == "gamma":
        return mean**2 / (1.0 if unit else parameters["shape"][..., None])
    return mean * (1.0 - mean) / (1.0 + parameters["phi"][..., None])  # beta
