"""Cross-products of rows that are whitened anew for every value of the parameters of residuals.

Where everything stands is known from the data; only the numbers change.  Without correlations, and with few strata of
rows that have one sd each, they are weighted sums of those of the strata, and no row is read again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..residual_structures import Residuals
from ..tools.arrays import Array
from .crossproducts import add_products
from .layout import Layout, Values
from .scaling import ScaledRows

MOST_STRATA = 40  # whose cross-products are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitened:
    """The rows of a problem, to be whitened; K factors in the order of elimination."""

    residual: Residuals
    layout: Layout
    A: Array  # (n, c): X, y and the columns of every factor
    ends: tuple[int, ...]  # of these parts
    codes: tuple[NDArray[np.int64], ...]  # K
    pairs: tuple[NDArray[np.int64], ...]  # the pair of levels of every row, for each of the layout's
    strata: tuple[Array, Array] | None  # (strata, d) of G, and numbers of the layout (strata, ...) of their rows

    @classmethod
    def of(cls, rows: ScaledRows, y: Array, layout: Layout) -> Whitened:
        """Rows with this response (n,), for the layout of their cross-products."""
        problem, residual = rows.problem, rows.problem.residual
        assert residual is not None
        Z = [rows.Z[k] for k in layout.order]
        codes = tuple(problem.codes[k] for k in layout.order)
        pairs = []
        for pair in layout.pairs:
            low, high = sorted((layout.order[pair.a], layout.order[pair.b]))
            keys = problem.codes[low] * problem.levels[high] + problem.codes[high]
            pairs.append(np.unique(keys, return_inverse=True)[1].reshape(-1).astype(np.int64))
        made = cls(
            residual=residual,
            layout=layout,
            A=np.ascontiguousarray(np.column_stack([rows.X, y, *Z])),
            ends=tuple(np.cumsum([rows.X.shape[1] + 1, *(z.shape[1] for z in Z)]).tolist()),
            codes=codes,
            pairs=tuple(pairs),
            strata=None,
        )
        return made._with_strata()

    def _with_strata(self) -> Whitened:
        G = self.residual.spread.G
        if self.residual.correlation is not None:
            return self
        distinct, inverse_index = np.unique(G, axis=0, return_inverse=True)
        if len(distinct) > MOST_STRATA:
            return self
        prior = np.ones(len(G)) if self.residual.prior is None else self.residual.prior
        parts = [
            self._numbers(self.A * np.sqrt(np.where(inverse_index.reshape(-1) == s, prior, 0.0))[:, None])
            for s in range(len(distinct))
        ]
        return Whitened(
            residual=self.residual,
            layout=self.layout,
            A=self.A,
            ends=self.ends,
            codes=self.codes,
            pairs=self.pairs,
            strata=(distinct, np.array(parts)),
        )

    def at(self, values: Array) -> tuple[Values, float]:
        """Cross-products where δ and ρ have these values, and Σ log w − log|R|.

        Raises
        ------
        numpy.linalg.LinAlgError
            The correlation matrix is not positive definite in doubles.
        """
        if self.strata is None:
            white, log_det = self.residual.whiten(self.A, values)
            return self._filled(self._numbers(white)), -log_det
        distinct, parts = self.strata
        weights = self.residual.weights(values)
        assert weights is not None
        return self._filled(np.exp(-2.0 * (distinct @ values)) @ parts), float(np.log(weights).sum())

    def _numbers(self, white: Array) -> Array:
        """ZᵀZ, Zᵀ[X y], the pairs' and [X y]ᵀ[X y] of whitened rows, in one array."""
        ones = np.ones(len(white))
        Xy, *Z = (np.ascontiguousarray(part) for part in np.split(white, self.ends[:-1], axis=1))
        layout = self.layout
        levels = [layout.cross.levels[k] for k in layout.order]
        squares, with_xy, of_pairs = [], [], []
        for code, z, J in zip(self.codes, Z, levels, strict=True):
            squares.append(np.zeros((J, z.shape[1], z.shape[1])))
            with_xy.append(np.zeros((J, z.shape[1], Xy.shape[1])))
            add_products(code, z, z, ones, squares[-1])
            add_products(code, z, Xy, ones, with_xy[-1])
        for pair, where in zip(layout.pairs, self.pairs, strict=True):
            of_pairs.append(np.zeros(pair.values.shape))
            add_products(where, Z[pair.a], Z[pair.b], ones, of_pairs[-1])
        return np.concatenate([part.reshape(-1) for part in (*squares, *with_xy, *of_pairs, Xy.T @ Xy)])

    def _filled(self, numbers: Array) -> Values:
        values = self.layout.values
        sizes = [values.ZtZ.size, values.ZtXy.size, values.pair_values.size]
        squares, with_xy, of_pairs, xy = np.split(numbers, np.cumsum(sizes))
        return values._replace(ZtZ=squares, ZtXy=with_xy, pair_values=of_pairs, XytXy=xy.reshape(values.XytXy.shape))
