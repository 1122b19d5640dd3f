"""The same model once more: with another response or formula, or under other priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from ..design import fixing
from ..engine.pymc_priors import priors_of
from ..errors import NotAvailableError
from ..formulas.formula import update_formula
from .alike import estimated
from .designed import designed
from .draws import Draws
from .estimates import Estimates


def on_response[Record: Estimates](record: Record, y: Any) -> Record:
    """The estimates behind :meth:`PointFit.refit`."""
    design = record.design.with_response(y)
    solver = record.solution.probes or None
    solution = estimated(design, reml=record.solution.reml, nodes=record.solution.nodes, probes=solver)
    return replace(record, design=design, solution=solution)


def updated[Record: Estimates](
    record: Record, formula: str, data: pd.DataFrame | None, namespace: Mapping[str, Any]
) -> Record:
    """The estimates behind :meth:`PointFit.update`; functions in the formula are looked up in ``namespace``."""
    origin = record.origin if data is None else replace(record.origin, data=data)
    scope = record.design.scope.at(namespace)
    changed = update_formula(record.design.formula, formula)
    design = designed(changed, origin, scope, record.design.family, record.design.matrices)
    solution = estimated(design, reml=record.solution.reml, nodes=record.solution.nodes)
    return replace(record, design=design, solution=solution, origin=origin)


def draws_on_response(record: Draws, y: Any, settings: Mapping[str, Any]) -> Draws:
    """The draws behind :meth:`PosteriorFit.refit`, with changes of the settings."""
    from .sampling import sample

    return sample(record.design.with_response(y), record.priors, record.settings.changed(settings))


def under_priors(record: Draws, priors: Mapping[Any, Any], settings: Mapping[str, Any]) -> Draws:
    """The draws behind :meth:`PosteriorFit.with_priors`, with changes of the settings."""
    from .sampling import sample

    fixed, others = fixing.changed(record.design.fixed, priors)
    if fixed != dict(record.design.fixed) or fixing.numbers(priors):
        raise NotAvailableError(
            "with_priors: which parameters are fixed by a number is part of the model. Fit that model: "
            "model.update(priors={...}).fit()"
        )
    resolved = priors_of(record.design, others, given=record.priors.given)
    return sample(record.design, resolved, record.settings.changed(settings))
