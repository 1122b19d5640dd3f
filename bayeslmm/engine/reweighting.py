"""The compiled loops over rows of Newton's method: cross-products under other weights, and what rows and effects share.

Only the numbers of a `Layout` change from step to step: which levels meet is known from the data alone.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from . import pls
from .crossproducts import accumulate
from .layout import Layout, arrange

Codes = NDArray[np.int64]


class Rows(NamedTuple):
    """Where each row stands; K factors in elimination order with Q columns in all."""

    first: Codes  # (n, K) first random effect, among the m, of the level of each factor
    starts: Codes  # (K + 1,) first column of each factor among the Q
    Z: Array  # (n, Q)
    block: Codes  # (n, K) where the level's q × q block starts in `Values.ZtZ`
    pair: Codes  # (n, P) where the block of the two levels starts in `Values.pair_values`
    X: Array  # (n, p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reweighted:
    """Rows of a model whose weights change, and the layout of their cross-products.

    Λ-templates are in the caller's order, effects (m,) and (m, c) in that of elimination.
    """

    rows: Rows
    layout: Layout

    @classmethod
    def of(cls, X: Array, codes: Sequence[Codes], Z: Sequence[Array], levels: Sequence[int]) -> Reweighted:
        """Arrays as of `crossproducts.accumulate`."""
        n = len(X)
        layout = arrange(accumulate(X, np.zeros(n), codes, Z, levels=levels))
        pattern, order = layout.pattern, layout.order
        widths = pattern.widths
        first = np.empty((n, len(order)), dtype=np.int64)
        block, start = np.empty_like(first), 0
        for position, k in enumerate(order):
            q = int(widths[position])
            first[:, position] = pattern.column_start[position] + codes[k] * q
            block[:, position] = start + codes[k] * q * q
            start += levels[k] * q * q
        pair, start = np.empty((n, len(layout.pairs)), dtype=np.int64), 0
        m = max(layout.m, 1)
        for number, each in enumerate(layout.pairs):
            keys = each.rows[:, 0] * m + each.rows[:, 1]
            sort = np.argsort(keys)
            where = np.searchsorted(keys[sort], first[:, each.a] * m + first[:, each.b])
            pair[:, number] = start + sort[where] * int(widths[each.a] * widths[each.b])
            start += each.values.size
        rows = Rows(
            first=first,
            starts=np.concatenate([[0], np.cumsum(widths)]).astype(np.int64),
            Z=np.ascontiguousarray(np.column_stack([np.zeros((n, 0)), *(Z[k] for k in order)])),
            block=block,
            pair=pair,
            X=np.ascontiguousarray(X),
        )
        return cls(rows=rows, layout=layout)

    def reduce(self, weights: Array, lams: Sequence[Array]) -> pls.Reduced:
        """M under these weights (n,) factorised, and X reduced beside it."""
        values = self.layout.values
        fresh = values._replace(
            ZtZ=np.zeros_like(values.ZtZ),
            ZtXy=np.zeros_like(values.ZtXy),
            pair_values=np.zeros_like(values.pair_values),
            XytXy=np.zeros_like(values.XytXy),
        )
        fill(self.rows, weights, fresh.pair_factors, fresh.ZtZ, fresh.ZtXy, fresh.pair_values, fresh.XytXy)
        return pls.reduce(replace(self.layout, values=fresh), lams)

    def scaled(self, lams: Sequence[Array], effects: Array) -> Array:
        """ΛA for A (m, c)."""
        return pls._lambda([lams[k] for k in self.layout.order], self.layout, effects)

    def effect(self, b: Array) -> Array:
        """Zb (n,)."""
        out = np.zeros(len(self.rows.first))
        spread(self.rows, b, out)
        return out

    def sums(self, values: Array) -> Array:
        """Zᵀv (m,)."""
        out = np.zeros(self.layout.m)
        gather(self.rows, values, out)
        return out

    def leverages(self, selected: pls.Selected, lams: Sequence[Array]) -> Array:
        """a_iᵀM⁻¹a_i (n,) with a_i = Λᵀz_i."""
        out, layout = np.empty(len(self.rows.first)), self.layout
        flat = pls._flat([lams[k] for k in layout.order])
        leverage(self.rows, layout.pattern, layout.values, flat, *selected, out)
        return out

    def by_factor(self, effects: Array) -> tuple[Array, ...]:
        """Effects (m,) as (J_k, q_k) per factor, in the caller's order."""
        return tuple(part[:, :, 0] for part in pls._by_factor(self.layout, effects[:, None]))

    def stacked(self, parts: Sequence[Array]) -> Array:
        """The other way."""
        return np.concatenate([np.zeros(0), *(parts[k].reshape(-1) for k in self.layout.order)])


@compiled
def fill(rows, weights, pair_factors, ZtZ, ZtXy, pair_values, XytXy):
    """Add ZᵀWZ and [Z X]ᵀWX of all rows to arrays laid out as in `layout.Values`; the last column stays."""
    starts, Z, X = rows.starts, rows.Z, rows.X
    K, p, n_xy = starts.shape[0] - 1, X.shape[1], XytXy.shape[0]
    for i in range(weights.shape[0]):
        w = weights[i]
        for k in range(K):
            q, c, start = starts[k + 1] - starts[k], starts[k], rows.block[i, k]
            for a in range(q):
                scaled = w * Z[i, c + a]
                for b in range(q):
                    ZtZ[start + a * q + b] += scaled * Z[i, c + b]
                if p > 0:
                    right = (rows.first[i, k] + a) * n_xy
                    for b in range(p):
                        ZtXy[right + b] += scaled * X[i, b]
        for pair in range(pair_factors.shape[0]):
            k, other, start = pair_factors[pair, 0], pair_factors[pair, 1], rows.pair[i, pair]
            q_a, q_b = starts[k + 1] - starts[k], starts[other + 1] - starts[other]
            for a in range(q_a):
                scaled = w * Z[i, starts[k] + a]
                for b in range(q_b):
                    pair_values[start + a * q_b + b] += scaled * Z[i, starts[other] + b]
        for a in range(p):
            scaled = w * X[i, a]
            for b in range(p):
                XytXy[a, b] += scaled * X[i, b]


@compiled
def spread(rows, b, out):
    """Add Zb to ``out`` (n,)."""
    starts, Z = rows.starts, rows.Z
    for i in range(out.shape[0]):
        for k in range(starts.shape[0] - 1):
            for a in range(starts[k + 1] - starts[k]):
                out[i] += Z[i, starts[k] + a] * b[rows.first[i, k] + a]


@compiled
def gather(rows, values, out):
    """Add Zᵀv to ``out`` (m,)."""
    starts, Z = rows.starts, rows.Z
    for i in range(values.shape[0]):
        for k in range(starts.shape[0] - 1):
            for a in range(starts[k + 1] - starts[k]):
                out[rows.first[i, k] + a] += Z[i, starts[k] + a] * values[i]


@compiled
def leverage(rows, pattern, values, lams, V_diagonal, V_panel, V_upper, out):
    """a_iᵀM⁻¹a_i into ``out`` (n,), from M⁻¹ on its pattern."""
    starts, Z, pair_factors, pair_at = rows.starts, rows.Z, values.pair_factors, values.pair_at
    n_chain = pattern.node_start.shape[0] - 1
    m_chain = pattern.column_start[n_chain]
    a_i = np.empty(Z.shape[1])
    for i in range(out.shape[0]):
        total = 0.0
        for k in range(starts.shape[0] - 1):
            q, c, lam = starts[k + 1] - starts[k], starts[k], values.lam_start[k]
            for b in range(q):
                a_i[c + b] = 0.0
                for a in range(q):
                    a_i[c + b] += Z[i, c + a] * lams[lam + a * q + b]
            d = row = 0
            if k < n_chain:
                level = (rows.first[i, k] - pattern.column_start[k]) // q
                d = pattern.diagonal_start[pattern.node_start[k] + level]
            else:
                row = rows.first[i, k] - m_chain
            for a in range(q):
                for b in range(q):
                    if k < n_chain:
                        V = V_diagonal[d + a * q + b]
                    else:
                        V = V_upper[row + min(a, b), row + max(a, b)]
                    total += a_i[c + a] * V * a_i[c + b]
        for pair in range(pair_factors.shape[0]):
            k, other, start = pair_factors[pair, 0], pair_factors[pair, 1], rows.pair[i, pair]
            q_b = starts[other + 1] - starts[other]
            for a in range(starts[k + 1] - starts[k]):
                for b in range(q_b):
                    to = pair_at[start + a * q_b + b]
                    if k < n_chain:
                        V = V_panel[to]
                    else:
                        V = V_upper[to // V_upper.shape[0], to % V_upper.shape[0]]
                    total += 2.0 * a_i[starts[k] + a] * V * a_i[starts[other] + b]
        out[i] = total
