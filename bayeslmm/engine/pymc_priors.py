"""Priors of a model as it is made: what the table of `bayeslmm.design.supports` does not hold is asked of PyMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..design.design import Design
from ..design.names import CUTPOINT
from ..design.priors import Prior, Priors, is_positive, resolve_priors
from ..design.propriety import FLAT
from ..design.supports import DISTRIBUTIONS, no_probability, not_positive
from ..errors import PriorError
from .pymc_draws import PLAIN, distribution
from .separation import can_separate, separating

SOUGHT = -np.geomspace(1e-10, 1e10, 401)  # negative numbers at which a prior of a positive parameter has no density
DRAWS = 200


def priors_of(design: Design, user: Mapping[Any, Any] | None, *, given: Mapping[Any, Any] | None = None) -> Priors:
    """`resolve_priors`, with distributions outside its table judged by PyMC.

    Raises
    ------
    NotAvailableError
        The rows are on disk: there are point fits only.
    PriorError
        As there; or PyMC has no such distribution of one number, refuses its arguments, or it gives negative numbers
        to a positive parameter; or flat priors of coefficients along which the likelihood rises for ever.
    """
    design.refuse_without_posterior()
    priors = resolve_priors(design, user, given=given)
    _refuse_flat_and_separated(design, priors)
    for entry in priors.entries:
        if isinstance(entry.prior, Prior) and entry.prior.name not in DISTRIBUTIONS:
            family = design.family
            probability = family.is_probability(entry.kind)
            _judge(entry.prior, entry.label, positive=is_positive(entry.kind, family), probability=probability)
    return priors


def _refuse_flat_and_separated(design: Design, priors: Priors) -> None:
    """Raise PriorError where responses are separated by predictors whose priors do not hold their coefficients."""
    flat = [entry for entry in priors.entries if isinstance(entry.prior, Prior) and entry.prior.name in FLAT]
    free = {entry.term for entry in flat if entry.kind in ("Intercept", "fixed")}
    columns = [j for j, name in enumerate(design.x_names) if name in free]
    cutpoints_held = design.family.has_cutpoints and not any(entry.kind == CUTPOINT for entry in flat)
    if not columns or cutpoints_held or not can_separate(design):
        return
    X = design.X[:, columns]
    direction = separating(design, X / np.linalg.norm(X, axis=0))
    names = [design.x_names[columns[j]] for j in np.flatnonzero(direction)]
    if names:
        raise PriorError(
            f"{', '.join(names)}: a flat prior has no posterior, since the responses are separated: their likelihood "
            "rises for ever along these coefficients. Give a proper one such as Prior('Normal', mu=0, sigma=2.5)."
        )


def _judge(prior: Prior, label: str, *, positive: bool, probability: bool) -> None:
    import pymc as pm

    distribution_of_prior = distribution(prior, label)
    try:
        variable = distribution_of_prior.dist(**dict(prior.params))
        if variable.ndim != 0:
            raise PriorError(f"{label}: {prior!r} is a distribution of several numbers; one is needed")
        sample = pm.draw(distribution_of_prior.dist(**dict(prior.params), shape=DRAWS), random_seed=1, mode=PLAIN)
        density = pm.logp(variable, np.concatenate([sample[:1], SOUGHT])).eval(mode=PLAIN)
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        if isinstance(error, PriorError):
            raise
        raise PriorError(f"{label}: PyMC refuses {prior!r}: {error}") from None
    if not np.isfinite(density[0]):
        raise PriorError(f"{label}: {prior!r} has no density at its own draw {sample[0]:g}")
    below = [*sample[sample < 0.0], *SOUGHT[density[1:] > -np.inf]]
    if probability and (sample > 1.0).any():
        raise no_probability(label, repr(prior), f"such as {sample.max():.3g}")
    if positive and below:
        raise not_positive(label, repr(prior), f"such as {below[0]:.3g}")
