"""Draws of one PyMC distribution, for priors whose distribution numpy and scipy do not have."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ..design.priors import Prior
from ..errors import PriorError
from ..tools.arrays import Array

PLAIN = "FAST_COMPILE"  # one call of numpy or scipy needs no compilation


def distribution(prior: Prior, label: str = "") -> Any:
    """The PyMC class of a prior.

    Raises
    ------
    PriorError
        PyMC has no such distribution of a number, or it has no such parameter: PyMC passes over these in silence.
    """
    import pymc as pm

    name = f"{label}: " if label else ""
    candidate: Any = getattr(pm, prior.name, None) if isinstance(prior.name, str) else None
    if not (isinstance(candidate, type) and issubclass(candidate, pm.distributions.Continuous)):
        raise PriorError(f"{name}PyMC has no continuous distribution {prior.name!r}")
    made: Any = candidate
    accepted = inspect.signature(made.dist).parameters
    unknown = [parameter for parameter, _ in prior.params if parameter not in accepted]
    if unknown:
        named = [variable for variable, p in accepted.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        raise PriorError(f"{name}{prior!r}: {prior.name} has no {', '.join(unknown)}; it has {', '.join(named)}")
    return made


def draw_prior(prior: Prior, draws: int, rng: np.random.Generator) -> Array:
    """Independent draws (draws,) of any univariate continuous PyMC distribution.

    Raises
    ------
    PriorError
        PyMC has no such distribution, or refuses its parameters.
    """
    import pymc as pm

    distribution_of_prior = distribution(prior)
    try:
        variable = distribution_of_prior.dist(**dict(prior.params), shape=draws)
        sample = pm.draw(variable, random_seed=int(rng.integers(2**31)), mode=PLAIN)
        # drawing does not look at the parameters, the density does
        pm.logp(distribution_of_prior.dist(**dict(prior.params)), sample[0]).eval(mode=PLAIN)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise PriorError(f"PyMC refuses to draw from {prior!r}: {error}") from None
    return np.asarray(sample, dtype=np.float64)
