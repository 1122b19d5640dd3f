"""One pass over the data: AᵀWA for A = [Z X y] (docs/theory.md, section 2).

Everything the likelihood needs is a sum over rows, so two `CrossProducts` of different rows can be added: a
table too large for memory is read in chunks and the fit afterwards is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.compiling import compiled

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBlocks:
    """ZₖᵀWZₗ for k < l: only pairs of levels that occur together."""

    keys: Codes  # (pairs,) sorted: level of k × J_l + level of l
    values: Array  # (pairs, q_k, q_l)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossProducts:
    """Weighted cross-products of [Z X y]; K grouping factors with J_k levels of q_k columns each."""

    levels: tuple[int, ...]  # J_k
    widths: tuple[int, ...]  # q_k
    ZtZ: tuple[Array, ...]  # (J_k, q_k, q_k): ZₖᵀWZₖ, block diagonal
    ZtXy: tuple[Array, ...]  # (J_k, q_k, p + 1): ZₖᵀW[X y]
    pairs: dict[tuple[int, int], PairBlocks]
    XytXy: Array  # (p + 1, p + 1): [X y]ᵀW[X y]
    n: int
    sum_log_weights: float

    def __add__(self, other: CrossProducts) -> CrossProducts:
        """Cross-products of the rows of both; the encodings (levels, columns) must be the same."""
        if (self.levels, self.widths, self.XytXy.shape) != (other.levels, other.widths, other.XytXy.shape):
            raise ValueError(
                "cross-products of different designs cannot be added: "
                f"levels {self.levels} and {other.levels}, widths {self.widths} and {other.widths}"
            )
        return CrossProducts(
            levels=self.levels,
            widths=self.widths,
            ZtZ=tuple(a + b for a, b in zip(self.ZtZ, other.ZtZ, strict=True)),
            ZtXy=tuple(a + b for a, b in zip(self.ZtXy, other.ZtXy, strict=True)),
            pairs={key: _merge(block, other.pairs[key]) for key, block in self.pairs.items()},
            XytXy=self.XytXy + other.XytXy,
            n=self.n + other.n,
            sum_log_weights=self.sum_log_weights + other.sum_log_weights,
        )


def _merge(a: PairBlocks, b: PairBlocks) -> PairBlocks:
    keys = np.union1d(a.keys, b.keys)
    values = np.zeros((len(keys), *a.values.shape[1:]))
    values[np.searchsorted(keys, a.keys)] += a.values
    values[np.searchsorted(keys, b.keys)] += b.values
    return PairBlocks(keys=keys, values=values)


def accumulate(
    X: Array,
    y: Array,
    codes: Sequence[Codes],
    Z: Sequence[Array],
    *,
    levels: Sequence[int],
    weights: Array | None = None,
) -> CrossProducts:
    """Cross-products of some rows.

    Parameters
    ----------
    X, y : (n, p) and (n,)
    codes, Z : for each factor the level of every row (n,) and its columns (n, q_k)
    levels : J_k, the number of levels of each factor (rows of a chunk need not hold all of them)
    weights : (n,) prior weights, or None for ones
    """
    w = np.ones(len(y)) if weights is None else np.ascontiguousarray(weights)
    Xy = np.column_stack([X, y])
    keys_and_blocks = {}
    for k in range(len(codes)):
        for m in range(k + 1, len(codes)):
            keys, where = np.unique(codes[k] * levels[m] + codes[m], return_inverse=True)
            values = np.zeros((len(keys), Z[k].shape[1], Z[m].shape[1]))
            _add_products(where.reshape(-1), Z[k], Z[m], w, values)
            keys_and_blocks[k, m] = PairBlocks(keys=keys, values=values)
    ZtZ, ZtXy = [], []
    for code, z, J in zip(codes, Z, levels, strict=True):
        ZtZ.append(np.zeros((J, z.shape[1], z.shape[1])))
        ZtXy.append(np.zeros((J, z.shape[1], Xy.shape[1])))
        _add_products(code, z, z, w, ZtZ[-1])
        _add_products(code, z, Xy, w, ZtXy[-1])
    return CrossProducts(
        levels=tuple(levels),
        widths=tuple(z.shape[1] for z in Z),
        ZtZ=tuple(ZtZ),
        ZtXy=tuple(ZtXy),
        pairs=keys_and_blocks,
        XytXy=Xy.T @ (Xy if weights is None else Xy * w[:, None]),
        n=len(y),
        sum_log_weights=0.0 if weights is None else float(np.log(w).sum()),
    )


@compiled
def _add_products(where, left, right, w, out):  # type: ignore[no-untyped-def]
    """out[where[i]] += w[i] left[i] right[i]ᵀ for every row i."""
    for i in range(where.shape[0]):
        block = where[i]
        for a in range(left.shape[1]):
            scaled = w[i] * left[i, a]
            for b in range(right.shape[1]):
                out[block, a, b] += scaled * right[i, b]
