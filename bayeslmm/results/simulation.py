"""Responses simulated from a linear predictor, for every family; prior and posterior prediction both go through here.

Everything broadcasts over leading axes: (draw,) for priors, (chain, draw) for a posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from ..design.design import Design
from ..families import Family
from ..residual_structures import Residuals
from ..tools.arrays import Array


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
    for group, effect in zip(design.groups, effects, strict=True):
        eta += group.contribution(effect)
    return eta


def residual_noise(structure: Residuals, values: Array, rng: Generator) -> Array:
    """Errors (S, n) in units of sigma, with sds and correlations as draws (S, d + r) of their parameters have them."""
    independent = rng.standard_normal((len(values), len(structure.spread.G), 1))
    noise = [structure.with_values(value).noise(z)[:, 0] for value, z in zip(values, independent, strict=True)]
    return np.array(noise)


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
        The family's parameters under the names of ``family.parameters``: they broadcast against ``eta``, as
        `Family.along` makes those of all rows do; ``cutpoint`` (..., K − 1) in increasing order.
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
    values = {name: np.asarray(parameters[name], dtype=np.float64) for name in family.parameters}
    values = family.complete(values, eta.shape)
    if family.has_mean:
        values = {name: np.broadcast_to(value, eta.shape) for name, value in values.items()}
    with np.errstate(all="ignore"):
        if "sigma" in values and weights is not None:
            values["sigma"] = values["sigma"] / np.sqrt(weights)
        return family.draw(eta, values, trials, rng)
