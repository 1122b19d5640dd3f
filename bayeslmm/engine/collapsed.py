"""The criterion of balanced data, where many levels of one factor have the same ZᵀWZ (docs/theory.md, section 3).

Effects of such levels stay independent and alike when they are turned by any orthogonal matrix across levels, and so do
their cross-products with themselves.  A turn that makes those with [X y] triangular leaves no more levels that meet X
or y than these have columns; all others add their log determinant and nothing else, which is the same for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from . import pls
from .criterion import Criterion
from .layout import Layout, arrange

FEWEST = 40  # levels below which an evaluation is the time that Python takes for it
SAME = 1e-12  # of the largest entry of ZᵀWZ: rounding of sums


class Collapsed(Criterion):
    """The criterion by fewer levels, and how many more there are of each ZᵀWZ."""

    def __init__(self, criterion: Criterion, layout: Layout, squares: Array, counts: Array) -> None:
        super().__init__(layout, criterion.templates, reml=criterion.reml, sigma=criterion.sigma)
        self.squares, self.counts = squares, counts  # (d, q, q) and (d,)

    @property
    def is_small(self) -> bool:
        """No search of this is one compiled loop, which does not count levels."""
        return False

    def derivatives(self, theta: Array) -> tuple[pls.Reduced, pls.Solution, float, pls.Slopes]:
        """Factors, β̂, σ̂² and the terms of the derivatives, those of the levels left out among them."""
        reduced, solution, sigma2, terms = super().derivatives(theta)
        (lam,) = reduced.lams
        M = lam.T @ self.squares @ lam + np.eye(len(lam))
        traces = np.tensordot(self.counts, self.squares @ lam @ np.linalg.inv(M), 1)
        reduced = replace(reduced, log_det_M=reduced.log_det_M + float(self.counts @ np.linalg.slogdet(M)[1]))
        return reduced, solution, sigma2, replace(terms, K_lam=(terms.K_lam[0] + traces,))


def collapsed(criterion: Criterion) -> Criterion:
    """The same criterion by fewer levels; itself where that saves less than half of them."""
    cross = criterion.layout.cross
    if criterion.is_compiled or len(cross.levels) != 1 or cross.pairs or cross.levels[0] < FEWEST:
        return criterion
    ZtZ, ZtXy = cross.ZtZ[0], cross.ZtXy[0]
    most = ZtXy[0].size
    kinds = list(_alike(ZtZ, ZtXy.shape[0] // (2 * most)))
    left = sum(min(len(levels), most) for levels in kinds)
    if not kinds or 2 * left > len(ZtZ):
        return criterion
    turned = [np.linalg.qr(ZtXy[levels].reshape(len(levels), most), mode="r") for levels in kinds]
    squares = np.array([ZtZ[levels[0]] for levels in kinds])
    fewer = replace(
        cross,
        levels=(left,),
        ZtZ=(np.repeat(squares, [len(rows) for rows in turned], axis=0),),
        ZtXy=(np.concatenate(turned).reshape(left, *ZtXy.shape[1:]),),
    )
    counts = np.array([float(len(levels) - len(rows)) for levels, rows in zip(kinds, turned, strict=True)])
    return Collapsed(criterion, arrange(fewer), squares, counts)


def _alike(ZtZ: Array, most: int) -> Iterator[NDArray[np.int64]]:
    """Levels with the same ZᵀWZ, kind after kind; none where there are more than ``most`` kinds."""
    flat, size = ZtZ.reshape(len(ZtZ), -1), float(np.abs(ZtZ).max(initial=0.0))
    marks = flat @ np.cos(np.arange(flat.shape[1]))  # by which to sort: a number of each, different where they are
    order = np.argsort(marks, kind="stable")
    ends = np.flatnonzero(np.diff(marks[order]) > SAME * size * flat.shape[1]) + 1
    if len(ends) >= most:
        return
    kinds = np.split(order, ends)
    if all(float(np.abs(flat[levels] - flat[levels[0]]).max()) <= SAME * size for levels in kinds):
        yield from kinds
