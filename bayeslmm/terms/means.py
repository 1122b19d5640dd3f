"""Effects of a level at the means of their predictors, for what should not hang on where these are measured from.

The effects b of a level with an intercept and slopes are A b̃, where b̃ has the level's value at the means of the
slopes' predictors in place of that at zero, and the same slopes.  Zb = (ZA) b̃, whose slopes' predictors are centred,
and A Σ̃ Aᵀ is the covariance at zero.  A is a shear, so that volumes are the same on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..covariances.template import Template
from ..tools.arrays import Array
from ..tools.summed import constant_in
from .group import GroupTerm

FAR_FROM_ZERO = 2.0  # |mean| of a predictor in its sds; below, an intercept at zero and one at the mean differ little


def shear(Z: Array, template: Template, *, beyond: float = FAR_FROM_ZERO) -> Array | None:
    """A (q, q); None where no slope that an intercept may be correlated with has a predictor far from zero.

    Parameters
    ----------
    Z : (n, q)
    template : Template
    beyond : float
        How many sds from zero the mean of a predictor is far.
    """
    A = np.eye(Z.shape[1])
    for constant, others in _moved(Z, template, beyond):
        A[constant, others] = -Z[:, others].mean(axis=0) / (constant_in(Z, constant) or 1.0)
    return None if np.array_equal(A, np.eye(len(A))) else A


def _moved(Z: Array, template: Template, beyond: float) -> Iterator[tuple[int, list[int]]]:
    """The column of every intercept with far slopes in its block, and the columns of all slopes there."""
    for block, structure in template.parts():
        constant = [column for column in block if constant_in(Z, column) is not None][:1]
        others = [column for column in block if column not in constant]
        if structure.is_free and constant and others:
            means, spreads = Z[:, others].mean(axis=0), Z[:, others].std(axis=0)
            if np.any(np.abs(means) > beyond * spreads):
                yield constant[0], others


def slopes_far_from_zero(group: GroupTerm) -> dict[int, list[int]]:
    """The columns of slopes by that of the intercept that `shear` takes to the means of their predictors."""
    return {} if group.is_wide else dict(_moved(group.Z, group.template, FAR_FROM_ZERO))


def at_means(group: GroupTerm) -> GroupTerm:
    """The term whose effects are b̃, with A as its ``shear``, however near to zero the predictors are."""
    A = None if group.is_wide else shear(group.Z, group.template, beyond=0.0)
    return group if A is None else replace(group, Z=group.Z @ A, shear=A)


def sheared(A: Array, sds: Array, correlations: Array) -> tuple[Array, Array]:
    """Sds (..., q) and correlations (..., q, q) of A b from those of b."""
    scaled = A * sds[..., None, :]
    covariances = scaled @ correlations @ np.swapaxes(scaled, -1, -2)
    sd = np.sqrt(np.maximum(np.einsum("...ii->...i", covariances), 0.0))
    size = sd[..., :, None] * sd[..., None, :]
    correlation = np.divide(covariances, size, out=np.zeros_like(covariances), where=size > 0.0)
    correlation = np.clip(correlation, -1.0, 1.0)
    diagonal = np.arange(len(A))
    correlation[..., diagonal, diagonal] = 1.0
    return sd, correlation
