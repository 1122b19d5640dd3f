"""The same model once more: with another response, or under other priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..engine.pymc_priors import priors_of
from .alike import estimated
from .draws import Draws
from .estimates import Estimates
from .sampling import sample


def on_response[Record: Estimates](record: Record, y: Any) -> Record:
    """The estimates behind :meth:`PointFit.refit`."""
    design = record.design.with_response(y)
    solution = estimated(design, reml=record.solution.reml, nodes=record.solution.nodes)
    return replace(record, design=design, solution=solution)


def draws_on_response(record: Draws, y: Any, settings: Mapping[str, Any]) -> Draws:
    """The draws behind :meth:`PosteriorFit.refit`, with changes of the settings."""
    return sample(record.design.with_response(y), record.priors, record.settings.changed(settings))


def under_priors(record: Draws, priors: Mapping[Any, Any], settings: Mapping[str, Any]) -> Draws:
    """The draws behind :meth:`PosteriorFit.with_priors`, with changes of the settings."""
    resolved = priors_of(record.design, priors, given=record.priors.given)
    return sample(record.design, resolved, record.settings.changed(settings))
