"""Fitted values and residuals of a point fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .alike import told_alike
from .estimates import Estimates
from .targets import check_residuals

Array = NDArray[np.float64]


@told_alike
def fitted(record: Estimates) -> Array:
    """The values behind :meth:`PointFit.fitted`."""
    values = record.design.X @ record.solution.beta + record.design.offset
    for group, modes in zip(record.design.groups, record.solution.modes, strict=True):
        values += group.contribution(modes)
    return values


def residuals(record: Estimates, kind: str = "raw") -> Array:
    """The values behind :meth:`PointFit.residuals`."""
    check_residuals(kind)
    residuals = record.design.y - fitted(record)
    if kind == "raw":
        return residuals
    if record.design.weights is not None:
        residuals = residuals * np.sqrt(record.design.weights)
    unknown = kind == "pearson" and not record.design.family.residual_is_known
    return residuals if unknown else residuals / record.sigma
