"""Penalised smooths as random effects (Wood 2017, section 5.8; Ruppert, Wand & Carroll 2003).

f = Bδ with the penalty δᵀSδ/τ²: under the constraint that f sums to zero over the rows, S = U diag(w) Uᵀ. What S
leaves alone, a straight line, is a fixed effect, and B U₊ w₊^{-1/2} has coefficients that are N(0, τ²). Those of a thin
plate are freed of the straight line over the rows besides, which REML does not see: the line is then the trend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.lazy import linalg
from .bases import Basis, ThinPlate, make
from .words import Smooth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """The penalised part of one smooth: x -> (n, J).

    Attributes
    ----------
    low, high : float
        The range of the data; beyond it a curve is extrapolated.
    """

    basis: Basis
    transform: Array
    low: float
    high: float

    @classmethod
    def of(cls, word: Smooth, text: str, x: Array) -> Curve:
        """The curve of a smooth on the values of the fit."""
        basis = make(word.basis, x, word.k, text)
        sums = basis.columns(x).sum(axis=0)
        inside = linalg.qr(sums[:, None])[0][:, 1:]  # coefficients of curves that sum to zero
        w, U = linalg.eigh(inside.T @ basis.penalty @ inside)
        count = len(w) - basis.has_line
        w, U = w[-count:], U[:, -count:]
        transform = inside @ (U / np.sqrt(w))
        if isinstance(basis, ThinPlate):  # whose coefficients would share nearly all of the straight line
            columns = basis.columns(x)
            transform[-2:] -= np.linalg.lstsq(columns[:, -2:], columns @ transform)[0]
        return cls(basis=basis, transform=transform, low=float(x.min()), high=float(x.max()))

    def columns(self, x: Array) -> Array:
        """Columns whose coefficients are N(0, τ²), (n, J)."""
        return self.basis.columns(x) @ self.transform

    def beyond(self, x: Array) -> NDArray[np.bool_]:
        """Which values (n,) lie outside of those of the fit."""
        return (x < self.low) | (x > self.high)
