"""The response of a model in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """The response in numbers.

    Attributes
    ----------
    y : float64 array (n,)
        Successes for binomial; 0 or 1 for bernoulli; 0, 1, ... for the categories of an ordinal response.
    trials : float64 array (n,) or None
    levels : tuple
        Categories of an ordinal response in order; (failure, success) where these are given by name.
    bounds : float64 array (n, 2) or None
        Of a censored response the interval in which each row lies, of length zero for rows that were observed.
    """

    y: np.ndarray
    trials: np.ndarray | None = None
    levels: tuple[Any, ...] = ()
    bounds: np.ndarray | None = None
