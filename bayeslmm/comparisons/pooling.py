"""No pooling and complete pooling, to set beside the partial pooling of a mixed model."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import NotAvailableError
from ..spec.design import Design

Array = NDArray[np.float64]


def _normal_response(design: Design) -> Array:
    """What least squares is for: the response, its log in a lognormal model, less the offset."""
    if not design.family.is_normal:
        raise NotAvailableError(
            f"family={design.family}: fits without and with complete pooling are by least squares, which is for normal "
            "responses"
        )
    return design.normal_response


def complete_pooling(design: Design) -> pd.Series:
    """Least squares of the response on the fixed part, groups ignored."""
    y = _normal_response(design)
    w = np.ones(len(y)) if design.weights is None else np.sqrt(design.weights)
    beta, *_ = np.linalg.lstsq(design.X * w[:, None], y * w, rcond=None)
    return pd.Series(beta, index=list(design.x_names), name="complete")


def no_pooling(design: Design, group: str | None = None) -> pd.DataFrame:
    """Least squares within each level on the columns of the bar, as ``lme4::lmList``.

    Returns
    -------
    DataFrame
        One row a level, one column a term; missing where a level has too few distinct rows for its own fit.
    """
    term = design.group(group)
    order = np.argsort(term.codes, kind="stable")
    ends = np.searchsorted(term.codes[order], np.arange(term.n_levels + 1))
    y = _normal_response(design)
    w = np.ones(len(y)) if design.weights is None else np.sqrt(design.weights)
    estimates = np.full((term.n_levels, term.q), np.nan)
    for level in range(term.n_levels):
        rows = order[ends[level] : ends[level + 1]]
        beta, _, rank, _ = np.linalg.lstsq(term.Z[rows] * w[rows, None], y[rows] * w[rows], rcond=None)
        if rank == term.q:
            estimates[level] = beta
    return pd.DataFrame(
        estimates, index=pd.Index(list(term.levels), name=term.name), columns=list(term.columns)
    )
