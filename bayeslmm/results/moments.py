"""Mean and spread of a response given its linear predictor, for every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import InputError
from ..families import Family
from ..tools.arrays import Array

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
        The family's parameters as `Family.along` has them: they broadcast against ``eta``; cutpoints (..., K − 1).
    weights : (n,), optional

    Returns
    -------
    (..., n), or (..., n, K) for ordinal
    """
    with np.errstate(over="ignore"):
        return family.expected(eta, parameters, weights)


def expected_over(
    family: Family, eta: Array, sd: Array, parameters: Mapping[str, Array], *, weights: Array | None = None
) -> Array:
    """E(y) where the linear predictor is normal around η with this sd (..., n): averaged over groups.

    In closed form for identity and log links where E(y | η) is a multiple of the mean, by Gauss–Hermite quadrature
    with 31 nodes for the others.
    """
    if keeps_mean(family):
        return expected_response(family, eta, parameters, weights=weights)
    if family.scales_with_mean and (family.link == "log" or family.models_log):
        return expected_response(family, eta + 0.5 * sd**2, parameters, weights=weights)
    total = np.zeros(())
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        total = total + weight * expected_response(family, eta + sd * node, parameters, weights=weights)
    return total


def in_columns(values: Sequence[Array], n: int) -> Array:
    """Parameters (n, r) of the rows, of numbers (n,) or (1,) and of cutpoints (n, K − 1) or (1, K − 1)."""
    return np.column_stack([np.broadcast_to(value, (n, *value.shape[1:])) for value in values])


def keeps_mean(family: Family) -> bool:
    """Whether E(y) is the linear predictor, so that what scatters around it with mean zero leaves E(y) as it is."""
    return family.is_on_response_scale


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
