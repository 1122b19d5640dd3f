"""Rows of a point fit: linear predictors, expected responses and residuals at the estimates, for every family."""

from __future__ import annotations

import numpy as np

from ..tools.arrays import Array
from .alike import told_alike
from .deviances import deviance_residuals
from .estimates import Estimates
from .moments import expected_response
from .targets import check_residuals

KINDS = ("raw", "pearson", "scaled", "deviance")


def linear_predictor(record: Estimates, *, with_groups: bool = True) -> Array:
    """Xβ̂ + Zb̂ + offset (nobs,), or without the effects of groups."""
    values = record.design.X @ record.solution.beta + record.design.offset
    for group, modes in zip(record.design.groups, record.solution.modes, strict=False):  # others are of categories
        if with_groups or not group.is_grouping:
            values = values + group.contribution(modes)
    return np.asarray(values)


@told_alike
def fitted(record: Estimates, *, with_groups: bool = True) -> Array:
    """The values behind :meth:`PointFit.fitted`: E(y) at the modes, or probabilities of categories (nobs, K)."""
    design, eta = record.design, linear_predictor(record, with_groups=with_groups)
    parameters = design.along(_behind_parameters(record, with_groups))
    return expected_response(design.family, eta, parameters, weights=design.weights)


def _behind_parameters(record: Estimates, with_groups: bool) -> dict[str, Array]:
    """What the family's parameters hang on in a row, as `Design.along` takes it: effects of categories included."""
    names, groups = record.design.names.b, record.design.every_group
    modes = {
        names[group.name]: mode if with_groups or not group.is_grouping else np.zeros_like(mode)
        for group, mode in zip(groups, record.solution.modes, strict=True)
    }
    others = {names[group.name] for group in record.design.parameter_groups}
    return {**record.values.family, **{name: mode for name, mode in modes.items() if name in others}}


def residuals(record: Estimates, kind: str = "raw") -> Array:
    """The values behind :meth:`PointFit.residuals`."""
    check_residuals(kind, KINDS)
    design, family = record.design, record.design.family
    design.refuse_censored("residuals()")
    design.refuse_nominal("residuals()", "categories without an order have no mean, and no side to err on")
    observed = design.y if design.trials is None else design.y / np.maximum(design.trials, 1.0)
    mean = fitted(record)
    parameters = design.along(record.values.family)
    if kind == "deviance":
        return deviance_residuals(design, observed, mean, linear_predictor(record), parameters)
    spread = family.variance(
        mean, parameters, unit=kind == "pearson", trials=design.trials, weights=design.weights
    )  # which says that categories have none
    raw = observed - mean
    if kind == "raw":
        return np.asarray(raw)
    return np.divide(raw, np.sqrt(spread), out=np.where(np.isnan(raw), np.nan, 0.0), where=spread > 0.0)
