"""Known standard errors of the rows: ``se=`` of a model -> weights, and the family that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, InputError, NotAvailableError
from ..families import GAUSSIAN, Family, GaussianKnown
from ..tools.frame import row_names
from .plan import from_outside

KNOWN = GaussianKnown(link="identity")  # in whatever unit


def named(se: Any) -> str | None:
    """The column of the standard errors; empty where they are given as values, None where they are not known."""
    return None if se is None else se if isinstance(se, str) else ""


def refuse_contradictions(family: Family, se: Any, weights: Any) -> None:
    """Raise where standard errors are given and cannot be.

    Raises
    ------
    NotAvailableError
        Another family than gaussian with the identity link.
    InputError
        Weights beside standard errors.
    """
    if se is None:
        return
    if family != GAUSSIAN and not family.residual_is_known:
        raise NotAvailableError(
            f"se= with family={family}: a known standard error is the sd of a normal response with the identity link, "
            "and takes the place of sigma. Other families have no such sd: analyse estimates and their standard errors "
            "(of log odds ratios, say) by a normal model, or the counts themselves without se="
        )
    if weights is not None:
        raise InputError(
            "se= and weights=: both say how exact each row is, so that one of them is too many. With se= the residual "
            "variance of a row is se², and with weights= it is sigma²/weight with an unknown sigma. Leave one out."
        )


def checked(se: Any, data: pd.DataFrame, keep: np.ndarray | None, index: pd.Index) -> np.ndarray:
    """Standard errors (n,) of the kept rows, all positive and finite.

    Raises
    ------
    DataError
        They are not numbers, not one a row, or not positive and finite.
    UnknownColumnError
        There is no such column.
    """
    values = from_outside(se, data, "se")
    assert values is not None
    values = values if keep is None else values[keep]
    which = f"se={se!r}" if named(se) else "se="
    is_invalid = ~(np.isfinite(values) & (values > 0.0))
    if is_invalid.any():
        raise DataError(
            f"{which}: standard errors are positive and finite; {int(is_invalid.sum())} are not "
            f"({row_names(index, is_invalid)}). Leave these rows out of the data: how much they tell is not known."
        )
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        squares = values**2
        extreme = ~np.isfinite(squares) | (squares == 0.0) | ~np.isfinite(1.0 / squares)
    if extreme.any():
        raise DataError(
            f"{which}: {int(extreme.sum())} standard errors are so small or large that their squares are "
            f"no numbers ({row_names(index, extreme)}). Measure the response in another unit."
        )
    return values


def typical(se: np.ndarray) -> float:
    """The typical standard error of rows (n,).

    σ² = (n − 1) Σw / ((Σw)² − Σw²) with w = 1/se²: the typical sampling variance with which Higgins & Thompson (2002,
    eq. 9) compare τ², so that τ²/(τ² + σ²) is I². It hangs on no predictor, so that models of the same rows share it.
    """
    unit = float(np.exp(np.mean(np.log(se))))
    w = (unit / se) ** 2
    left = float(w.sum() - np.sum(w**2) / w.sum())
    return unit * float(np.sqrt((len(se) - 1) / left)) if left > 1e-12 * w.max() else unit


def family_and_weights(se: np.ndarray) -> tuple[Family, np.ndarray]:
    """The family of known standard errors (n,), and the weights that give them back: sigma/√weight."""
    sigma = typical(se)
    return GaussianKnown(link="identity", sigma=sigma), (sigma / se) ** 2
