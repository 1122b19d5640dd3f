"""Free coordinates of ordered cutpoints beside a scale of each row, for the search by Laplace's approximation.

log P(y | η) = ℓ(η / s, c / s) with the compiled ℓ of one scale, so all derivatives are those of ℓ by the chain rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..design.design import Design
from ..tools.arrays import Array


class ScaledCutpoints:
    """The first cutpoint and the logs of the gaps, then coefficients of log scale, of columns of mean square one."""

    ordered = by_row = True

    def __init__(self, design: Design) -> None:
        self.of_family = design.family.every_parameter
        cutpoint, scale = self.of_family
        part = design.predictors[scale]
        self.names = (cutpoint, part.variable)
        self.K, self.n = len(design.levels) - 1, design.n
        self.sizes = np.maximum(np.sqrt(np.mean(part.X**2, axis=0)), 1e-300)
        self.X, self.shift = part.X / self.sizes, part.offset
        self.size = self.K + len(self.sizes)
        self.y = design.y.astype(np.int64)

    def place(self, parameter: str) -> int | None:
        """Where a parameter of the family stands; None for one with a linear predictor."""
        return 0 if parameter == self.of_family[0] else None

    def parameter_at(self, place: int) -> str:
        """The parameter of the family whose coordinate, or one of its coefficients', stands there."""
        return self.of_family[int(place >= self.K)]

    def _cutpoints(self, free: Array) -> Array:
        return np.cumsum(np.concatenate([free[:1], np.exp(free[1 : self.K])]))

    def values(self, free: Array) -> Array:
        """Cutpoints and the scale of every row (n, K)."""
        scale = np.exp(self.X @ free[self.K :] + self.shift)
        return np.column_stack([np.broadcast_to(self._cutpoints(free), (self.n, self.K)), scale])

    def free(self, parameters: Mapping[str, Array]) -> Array:
        """Coordinates of estimates by their names."""
        cutpoints, gamma = (np.asarray(parameters[name]) for name in self.names)
        return np.concatenate([cutpoints[:1], np.log(np.diff(cutpoints)), gamma * self.sizes])

    def begin(self, guesses: Array) -> Array:
        """Coordinates at which these are the cutpoints, and nothing changes the scale."""
        return self.free({self.names[0]: guesses, self.names[1]: np.zeros(len(self.sizes))})

    def named(self, free: Array) -> dict[str, Array]:
        """Estimates by their names on the user's scale."""
        return dict(zip(self.names, (self._cutpoints(free), free[self.K :] / self.sizes), strict=True))

    def jacobian(self, free: Array) -> Array:
        """∂cutpoints/∂their coordinates (K, K)."""
        J = np.tril(np.ones((self.K, self.K)))
        J[:, 1:] *= np.exp(free[1 : self.K])
        return J

    def errors(self, free: Array, covariance: Array) -> dict[str, Array]:
        """Standard errors of the cutpoints and the coefficients."""
        J, first = self.jacobian(free), slice(0, self.K)
        of_cutpoints = np.sqrt(np.diag(J @ covariance[first, first] @ J.T))
        return dict(zip(self.names, (of_cutpoints, np.sqrt(np.diag(self.covariance("", covariance)))), strict=True))

    def covariance(self, name: str, covariance: Array) -> Array:
        """That of the coefficients (p, p) on the user's scale, from that of the coordinates."""
        return covariance[self.K :, self.K :] / np.outer(self.sizes, self.sizes)

    def pull_back(self, free: Array, by_row: Sequence[Array]) -> Array:
        """Derivatives by the coordinates, from those of each row by the cutpoints around it and by log scale (3, n)."""
        above, below, by_log_scale = by_row
        by_cutpoint = np.bincount(self.y, above, self.K + 1)[: self.K] + np.bincount(self.y, below, self.K + 1)[1:]
        return np.concatenate([self.jacobian(free).T @ by_cutpoint, self.X.T @ by_log_scale])


def bends_by_scale(bends: Array, eta: Array, cutpoints: Array, y: Array, scale: Array) -> Array:
    """Derivatives (13, n) by η, the cutpoints around and log scale, from those in units of the scale (10, n).

    Parameters
    ----------
    bends : (10, n) or (3, n)
        `Family.bends` at ``eta`` (n,) and ``cutpoints`` (n, K), both over the scale (n,).
    y : (n,) categories

    Returns
    -------
    (13, n), the last three the derivative by log scale and those of the first two by η, or (3, n).
    """
    value, d1, d2, d3 = *bends[:3], bends[3] if len(bends) > 3 else None
    if d3 is None:
        return np.stack([value, d1 / scale, d2 / scale**2])
    rows, K = np.arange(len(y)), cutpoints.shape[1]
    # the first and the last category have one cutpoint, and no derivative by another
    above = np.where(y < K, cutpoints[rows, np.minimum(y, K - 1)], 0.0)
    below = np.where(y > 0, cutpoints[rows, np.maximum(y - 1, 0)], 0.0)
    of_above, of_below = bends[4:7], bends[7:10]
    by_log_scale = -(eta * d1 + above * of_above[0] + below * of_below[0])
    slope = -(d1 + eta * d2 + above * of_above[1] + below * of_below[1])
    bend = -(2.0 * d2 + eta * d3 + above * of_above[2] + below * of_below[2])
    units = scale ** np.arange(1, 4)[:, None]
    return np.vstack(
        [value, bends[1:4] / units, of_above / units, of_below / units, by_log_scale, slope / scale, bend / scale**2]
    )
