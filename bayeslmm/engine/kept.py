"""What fits of one design share, whatever the response: scaled columns, their cross-products and where these go.

Kept for as long as the design's matrix lives, and used only for the very same arrays, so that simulated responses,
refits and verbs of one fit do not make them again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..covariances.template import Template
from ..design.identification import Identification
from ..tools.arrays import Array
from .crossproducts import CrossProducts, add_products
from .layout import Layout, arrange, with_response
from .scaling import Problem, Scaled, ScaledRows

MOST_NUMBERS = (
    500_000  # of columns that are kept, beyond which making them is little beside the rest, and memory counts
)


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Kept:
    """The rows of a problem without its response."""

    rows: ScaledRows  # with a response of zeros
    cross: CrossProducts
    layout: Layout
    templates: tuple[Template, ...]
    identified: dict[tuple[bool, bool], Identification] = field(default_factory=dict)  # by REML, and an unknown sigma

    @classmethod
    def of(cls, problem: Problem) -> Kept:
        """Those of a problem."""
        rows = ScaledRows.of(replace(problem, y=np.zeros(len(problem.y))))
        cross = rows.cross(problem.weights)
        rows = replace(rows, problem=replace(rows.problem, X=problem.X[:0].copy()))  # whose life is that of all this
        return cls(rows=rows, cross=cross, layout=arrange(cross), templates=problem.templates)

    def is_of(self, problem: Problem) -> bool:
        """Whether these are the rows of a problem with the same X: the same arrays, not only equal ones."""
        mine = self.rows.problem
        same: list[tuple[Any, Any]] = [(mine.weights, problem.weights)]
        same += zip((*mine.Z, *mine.codes), (*problem.Z, *problem.codes), strict=False)
        return (
            all(first is other for first, other in same)
            and len(mine.Z) == len(problem.Z)
            and (mine.levels, mine.blocks, mine.structures, mine.intercept)
            == (problem.levels, problem.blocks, problem.structures, problem.intercept)
        )

    def centred(self, responses: Array) -> tuple[Array, Array]:
        """The centres (R,) of responses (R, n), and what is left."""
        if self.rows.intercept is None:
            return np.zeros(len(responses)), responses
        centers = responses.sum(axis=1) / responses.shape[1]
        return centers, responses - centers[:, None]

    def products(self, responses: Array) -> tuple[list[Array], Array, Array]:
        """Z_kᵀWy (J_k, q_k, R) of every factor, XᵀWy (R, p) and yᵀWy (R,) of centred responses (R, n).

        Each by itself, so that its numbers are the same to the last digit whatever stands beside it.
        """
        problem, rows = self.rows.problem, self.rows
        w = np.ones(responses.shape[1]) if problem.weights is None else problem.weights
        columns = np.ascontiguousarray(responses.T)
        ZtY = [np.zeros((J, z.shape[1], len(responses))) for z, J in zip(rows.Z, problem.levels, strict=True)]
        for code, z, out in zip(problem.codes, rows.Z, ZtY, strict=True):
            add_products(code, z, columns, w, out)
        weighted = responses if problem.weights is None else responses * w
        XtY = np.array([rows.X.T @ y for y in weighted]).reshape(len(responses), rows.X.shape[1])
        return ZtY, XtY, np.array([y @ wy for y, wy in zip(responses, weighted, strict=True)])

    def arranged(self, y: Array) -> tuple[Scaled, Layout]:
        """The cross-products with a response (n,), and their layout."""
        center, centred = self.centred(y[None, :])
        ZtY, XtY, yty = self.products(centred)
        XytXy = self.cross.XytXy.copy()
        XytXy[:-1, -1] = XytXy[-1, :-1] = XtY[0]
        XytXy[-1, -1] = yty[0]
        ZtXy = [products.copy() for products in self.cross.ZtXy]
        for products, column in zip(ZtXy, ZtY, strict=True):
            products[:, :, -1] = column[:, :, 0]
        cross = replace(self.cross, ZtXy=tuple(ZtXy), XytXy=XytXy)
        scaled = replace(self.rows, y_center=float(center[0])).scaled(cross)
        return scaled, with_response(self.layout, cross)


_KEPT: dict[int, tuple[weakref.ref[Array], Kept]] = {}


def kept_of(problem: Problem) -> Kept | None:
    """What is kept of a problem, made now if need be.

    None where rows are many, gone, turned, whitened anew or counted, and of arrays that may change.
    """
    if any(part is not None for part in (problem.sums, problem.residual, problem.likelihood_weights, *problem.wide)):
        return None
    arrays = [problem.X, *problem.Z, *problem.codes, *(() if problem.weights is None else (problem.weights,))]
    if sum(array.size for array in arrays) > MOST_NUMBERS or any(array.flags.writeable for array in arrays):
        return None
    key = id(problem.X)
    entry = _KEPT.get(key)
    if entry is not None and entry[0]() is problem.X and entry[1].is_of(problem):
        return entry[1]
    shared = Kept.of(problem)
    _KEPT[key] = (weakref.ref(problem.X, _forget(key)), shared)
    return shared


def _forget(key: int) -> Callable[[weakref.ref[Array]], None]:
    every = _KEPT  # which a module has no longer when Python ends

    def forget(gone: weakref.ref[Array]) -> None:
        entry = every.get(key)
        if entry is not None and entry[0] is gone:
            del every[key]

    return forget
