"""Bases of smooths of one number with their penalties, as mgcv defines them (Wood 2017, chapter 5).

A basis has K functions and a penalty matrix S, the integral of f''² (``tp``, ``cr``, ``cc``) or the sum of squared
second differences of the coefficients (``ps``), in the units of x and not rescaled, so that the variance of a smooth
is σ²/λ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..errors import DataError
from ..tools.arrays import Array
from ..tools.lazy import interpolate, linalg

MOST_KNOTS = 2_000  # distinct values that a thin plate basis is made of, as in mgcv


class Basis(Protocol):
    """K functions of x."""

    penalty: Array  # (K, K)
    has_line: bool  # whether the penalty leaves straight lines alone

    def columns(self, x: Array) -> Array:
        """The functions at x (n,): (n, K)."""
        ...


class ThinPlate:
    """Wood (2003): k functions, from the leading eigenvectors of the thin plate spline of the distinct values."""

    has_line = True

    def __init__(self, x: Array, k: int) -> None:
        self.knots = np.unique(x)
        if len(self.knots) > MOST_KNOTS:
            indices = np.round(np.linspace(0, len(self.knots) - 1, MOST_KNOTS)).astype(int)
            self.knots = self.knots[indices]
        self.shift = float(self.knots.mean())
        values, vectors = linalg.eigh(self._kernel(self.knots))
        leading = np.argsort(-np.abs(values), kind="stable")[:k]
        U, D = vectors[:, leading], values[leading]
        T = np.column_stack([np.ones(len(self.knots)), self.knots - self.shift])
        Q = linalg.qr((T.T @ U).T)[0][:, 2:]  # coefficients with no share of straight lines
        self.weights = U @ Q
        self.penalty = np.zeros((k, k))
        self.penalty[: k - 2, : k - 2] = Q.T @ (D[:, None] * Q)

    def _kernel(self, x: Array) -> Array:
        return np.abs(x[:, None] - self.knots) ** 3 / 12.0

    def columns(self, x: Array) -> Array:
        """The functions at x (n,): (n, k), the two straight lines last."""
        curved = self._kernel(x) @ self.weights
        return np.column_stack([curved, np.ones(len(x)), x - self.shift])


class CubicRegression:
    """Natural cubic splines by their values at k knots, quantiles of the distinct values of x (Wood 2017, 5.3.1)."""

    has_line = True

    def __init__(self, x: Array, k: int) -> None:
        self.knots = np.quantile(np.unique(x), np.linspace(0.0, 1.0, k))
        h = np.diff(self.knots)
        D, B = np.zeros((k - 2, k)), np.zeros((k - 2, k - 2))
        for i in range(k - 2):
            D[i, i : i + 3] = 1.0 / h[i], -1.0 / h[i] - 1.0 / h[i + 1], 1.0 / h[i + 1]
            B[i, i] = (h[i] + h[i + 1]) / 3.0
            if i:
                B[i, i - 1] = B[i - 1, i] = h[i] / 6.0
        inside = linalg.solve(B, D, assume_a="pos")
        self.second = np.vstack([np.zeros(k), inside, np.zeros(k)])  # second derivatives at the knots
        self.penalty = D.T @ inside

    def columns(self, x: Array) -> Array:
        """The functions at x (n,): (n, k); straight lines beyond the knots."""
        knots, k = self.knots, len(self.knots)
        inside = np.clip(x, knots[0], knots[-1])
        value, slope = _cubic(inside, knots, np.eye(k), self.second)
        return value + slope * (x - inside)[:, None]


def _cubic(x: Array, knots: Array, at_knots: Array, second: Array) -> tuple[Array, Array]:
    """A cubic spline and its slope at x (n, K), from values and second derivatives at the knots (k, K)."""
    j = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    h = (knots[j + 1] - knots[j])[:, None]
    left, right = (knots[j + 1] - x)[:, None] / h, (x - knots[j])[:, None] / h
    value = left * at_knots[j] + right * at_knots[j + 1]
    value = value + h**2 / 6.0 * ((left**3 - left) * second[j] + (right**3 - right) * second[j + 1])
    slope = (at_knots[j + 1] - at_knots[j]) / h
    slope = slope + h / 6.0 * (-(3.0 * left**2 - 1.0) * second[j] + (3.0 * right**2 - 1.0) * second[j + 1])
    return value, slope


class CyclicCubic:
    """Cubic splines whose ends meet, by their values at k knots, of which the last is the first (Wood 2017, 5.3.2)."""

    has_line = False

    def __init__(self, x: Array, k: int) -> None:
        self.knots = np.quantile(np.unique(x), np.linspace(0.0, 1.0, k))
        h = np.diff(self.knots)
        m = k - 1
        D, B = np.zeros((m, m)), np.zeros((m, m))
        for i in range(m):
            before, after = h[i - 1], h[i]
            D[i, i - 1] += 1.0 / before
            D[i, i] -= 1.0 / before + 1.0 / after
            D[i, (i + 1) % m] += 1.0 / after
            B[i, i - 1] += before / 6.0
            B[i, i] += (before + after) / 3.0
            B[i, (i + 1) % m] += after / 6.0
        inside = linalg.solve(B, D)
        self.second = np.vstack([inside, inside[:1]])
        self.penalty = D.T @ inside
        self.penalty = (self.penalty + self.penalty.T) / 2.0

    def columns(self, x: Array) -> Array:
        """The functions at x (n,): (n, k − 1); x beyond the knots goes round."""
        low, high = self.knots[0], self.knots[-1]
        inside = low + np.mod(x - low, high - low)
        inside = np.where(x == high, high, inside)
        at_knots = np.vstack([np.eye(len(self.knots) - 1), np.eye(len(self.knots) - 1)[:1]])
        return _cubic(inside, self.knots, at_knots, self.second)[0]


class PSpline:
    """k cubic B-splines on equal steps, second differences of coefficients penalised (Eilers & Marx 1996)."""

    has_line = True

    def __init__(self, x: Array, k: int) -> None:
        low, high = float(x.min()), float(x.max())
        margin = 0.001 * (high - low)
        self.low, self.high = low - margin, high + margin
        step = (self.high - self.low) / (k - 3)
        knots = self.low + step * np.arange(-3, k + 1)
        self.spline = interpolate.BSpline(knots, np.eye(k), 3)
        self.slope = self.spline.derivative()
        differences = np.diff(np.eye(k), n=2, axis=0)
        self.penalty = differences.T @ differences

    def columns(self, x: Array) -> Array:
        """The functions at x (n,): (n, k); straight lines beyond the data."""
        inside = np.clip(x, self.low, self.high)
        return np.asarray(self.spline(inside) + self.slope(inside) * (x - inside)[:, None])


MAKERS: dict[str, Callable[[Array, int], Basis]] = {
    "tp": ThinPlate,
    "cr": CubicRegression,
    "cc": CyclicCubic,
    "ps": PSpline,
}


def make(name: str, x: Array, k: int, text: str) -> Basis:
    """A basis of that name on the values of the fit.

    Raises
    ------
    DataError
        Fewer distinct values than functions.
    """
    distinct = len(np.unique(x))
    if distinct < min(k, 4):
        raise DataError(
            f"{text}: {distinct} distinct values for {k} functions, too few for a curve. Write a straight line."
        )
    if distinct < k:
        raise DataError(f"{text}: {distinct} distinct values for {k} functions. Write k={distinct} or less.")
    return MAKERS[name](x, k)
