"""One pass over the data: AᵀWA for A = [Z X y] (docs/theory.md, section 2).

Everything the likelihood needs is a sum over rows, so two `CrossProducts` of different rows can be added: a
table too large for memory is read in chunks and the fit afterwards is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled
from ..tools.lazy import sparse

Codes = NDArray[np.int64]
WAITING = 1_000_000  # blocks of pairs of chunks that wait to be joined


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBlocks:
    """ZₖᵀWZₗ for k < l: only pairs of levels that occur together; of k = l those whose first level comes before."""

    keys: Codes  # (pairs,) sorted: level of k × J_l + level of l
    values: Array  # (pairs, q_k, q_l)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossProducts:
    """Weighted cross-products of [Z X y]; K grouping factors with J_k levels of q_k columns each."""

    levels: tuple[int, ...]  # J_k
    widths: tuple[int, ...]  # q_k
    ZtZ: tuple[Array, ...]  # (J_k, q_k, q_k): ZₖᵀWZₖ, block diagonal
    ZtXy: tuple[Array, ...]  # (J_k, q_k, p + 1): ZₖᵀW[X y]
    pairs: dict[tuple[int, int], PairBlocks]  # of k < l; (k, k) where levels of one term meet each other
    XytXy: Array  # (p + 1, p + 1): [X y]ᵀW[X y]
    n: float  # rows, or the sum of their likelihood weights
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
    codes, Z : for each factor the level of every row (n,) and its columns (n, q_k); no codes for a term whose columns
        (n, J_k q_k) stand for levels themselves; of one column a level they are orthogonal under the weights
    levels : J_k, the number of levels of each factor (rows of a chunk need not hold all of them)
    weights : (n,) prior weights, or None for ones
    """
    w = np.ones(len(y)) if weights is None else np.ascontiguousarray(weights)
    Xy = np.column_stack([X, y])
    wide = [not len(code) and len(y) > 0 for code in codes]
    keys_and_blocks = {}
    for k in range(len(codes)):
        for m in range(k + 1, len(codes)):
            if wide[k] or wide[m]:
                keys_and_blocks[k, m] = _wide_pair(codes, Z, levels, w, k, m)
                continue
            keys, where = np.unique(codes[k] * levels[m] + codes[m], return_inverse=True)
            values = np.zeros((len(keys), Z[k].shape[1], Z[m].shape[1]))
            add_products(where.reshape(-1), Z[k], Z[m], w, values)
            keys_and_blocks[k, m] = PairBlocks(keys=keys, values=values)
    ZtZ, ZtXy = [], []
    for code, z, J, is_wide in zip(codes, Z, levels, wide, strict=True):
        if is_wide:
            ZtXy.append((z.T @ (Xy * w[:, None])).reshape(J, -1, Xy.shape[1]))
            if z.shape[1] == J:
                ZtZ.append(np.einsum("n,nj,nj->j", w, z, z)[:, None, None])
                continue
            k = len(ZtZ)
            within, keys_and_blocks[k, k] = _within_wide(z, w, J)
            ZtZ.append(within)
            continue
        ZtZ.append(np.zeros((J, z.shape[1], z.shape[1])))
        ZtXy.append(np.zeros((J, z.shape[1], Xy.shape[1])))
        add_products(code, z, z, w, ZtZ[-1])
        add_products(code, z, Xy, w, ZtXy[-1])
    return CrossProducts(
        levels=tuple(levels),
        widths=tuple(z.shape[1] // J if is_wide else z.shape[1] for z, J, is_wide in zip(Z, levels, wide, strict=True)),
        ZtZ=tuple(ZtZ),
        ZtXy=tuple(ZtXy),
        pairs=keys_and_blocks,
        XytXy=Xy.T @ (Xy if weights is None else Xy * w[:, None]),
        n=len(y),
        sum_log_weights=0.0 if weights is None else float(np.log(w).sum()),
    )


class Growing:
    """Cross-products that chunks of rows are added to in place, each factor an ordinary one.

    The columns of all factors, of X and y come in one matrix, so that a product of two columns that several of them
    share is summed once a level.

    Parameters
    ----------
    levels : sequence of int
        J_k.
    places : sequence of int arrays (q_k,)
        Which columns of the rows are those of each factor.
    xy : int array (p + 1,)
        Which are those of [X y].
    """

    def __init__(self, levels: Sequence[int], places: Sequence[Codes], xy: Codes) -> None:
        self.levels, self.places, self.xy = tuple(levels), tuple(places), xy
        self._products = tuple(_products(place, np.concatenate([place, xy])) for place in places)
        self._sums = [np.zeros((J, len(left))) for J, (left, _, _) in zip(levels, self._products, strict=True)]
        every = [(k, m) for k in range(len(levels)) for m in range(k + 1, len(levels))]
        self._pairs = {
            (k, m): PairBlocks(keys=np.zeros(0, np.int64), values=np.zeros((0, len(places[k]), len(places[m]))))
            for k, m in every
        }
        self._waiting: dict[tuple[int, int], list[PairBlocks]] = {pair: [] for pair in every}
        self.XytXy = np.zeros((len(xy), len(xy)))
        self.n, self.sum_log_weights = 0, 0.0

    def add(self, rows: Array, codes: Sequence[Codes], weights: Array | None, gram: Array) -> None:
        """Add rows (n, width), of each factor the levels (n,), and the cross-products of the rows without weights."""
        w = np.ones(len(rows)) if weights is None else weights
        for code, sums, (left, right, _) in zip(codes, self._sums, self._products, strict=True):
            add_rows(code, rows, left, right, w, sums)
        for k, m in self._pairs:
            keys, where = np.unique(codes[k] * self.levels[m] + codes[m], return_inverse=True)
            one, other = self.places[k], self.places[m]
            sums = np.zeros((len(keys), len(one) * len(other)))
            add_rows(where.reshape(-1), rows, np.repeat(one, len(other)), np.tile(other, len(one)), w, sums)
            self._wait((k, m), PairBlocks(keys=keys, values=sums.reshape(len(keys), len(one), len(other))))
        if weights is None:
            self.XytXy += gram[np.ix_(self.xy, self.xy)]
        else:
            Xy = rows[:, self.xy]
            self.XytXy += Xy.T @ (Xy * w[:, None])
            self.sum_log_weights += float(np.log(w).sum())
        self.n += len(rows)

    def merge(self, other: Growing) -> None:
        """Add those of other rows."""
        for mine, more in zip(self._sums, other._sums, strict=True):
            mine += more
        for pair, block in other.pairs.items():
            self._wait(pair, block)
        self.XytXy += other.XytXy
        self.n, self.sum_log_weights = self.n + other.n, self.sum_log_weights + other.sum_log_weights

    def _wait(self, pair: tuple[int, int], block: PairBlocks) -> None:
        waiting = self._waiting[pair]
        waiting.append(block)
        if sum(len(each.keys) for each in waiting) > max(WAITING, len(self._pairs[pair].keys)):
            self._join(pair)

    def _join(self, pair: tuple[int, int]) -> None:
        blocks = [self._pairs[pair], *self._waiting[pair]]
        keys, where = np.unique(np.concatenate([block.keys for block in blocks]), return_inverse=True)
        values = np.zeros((len(keys), *blocks[0].values.shape[1:]))
        np.add.at(values, where.reshape(-1), np.concatenate([block.values for block in blocks]))
        self._pairs[pair], self._waiting[pair] = PairBlocks(keys=keys, values=values), []

    @property
    def pairs(self) -> dict[tuple[int, int], PairBlocks]:
        """The blocks of levels that met."""
        for pair, waiting in self._waiting.items():
            if waiting:
                self._join(pair)
        return self._pairs

    def finished(self) -> CrossProducts:
        """The sums so far."""
        blocks = [
            sums[:, where].reshape(len(sums), len(place), -1)
            for sums, place, (_, _, where) in zip(self._sums, self.places, self._products, strict=True)
        ]
        return CrossProducts(
            levels=self.levels,
            widths=tuple(map(len, self.places)),
            ZtZ=tuple(np.ascontiguousarray(block[:, :, : block.shape[1]]) for block in blocks),
            ZtXy=tuple(np.ascontiguousarray(block[:, :, block.shape[1] :]) for block in blocks),
            pairs=dict(self.pairs),
            XytXy=self.XytXy,
            n=self.n,
            sum_log_weights=self.sum_log_weights,
        )


def _products(left: Codes, right: Codes) -> tuple[Codes, Codes, Codes]:
    """Pairs of columns whose products are all of left × right (q × m), each once; and where each of those is."""
    different: dict[tuple[int, int], int] = {}
    where = [different.setdefault((min(a, b), max(a, b)), len(different)) for a in left for b in right]
    pairs = np.array(list(different), dtype=np.int64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), np.array(where, dtype=np.int64)


def _wide_pair(
    codes: Sequence[Codes], Z: Sequence[Array], levels: Sequence[int], w: Array, k: int, m: int
) -> PairBlocks:
    """ZₖᵀWZₘ where one or both are wide: every column that any row meets with every level."""
    wide = [i for i in (k, m) if not len(codes[i])]
    weighted = Z[wide[0]] * w[:, None]
    if len(wide) == 2:
        products = weighted.T @ Z[m]
    else:
        other = m if wide[0] == k else k
        n, q = Z[other].shape
        positions = codes[other][:, None] * q + np.arange(q)
        rows = sparse.csr_array(
            (Z[other].reshape(-1), positions.reshape(-1), np.arange(n + 1) * q), shape=(n, levels[other] * q)
        )
        products = rows.T @ weighted
        products = products if other == k else products.T
    q_k, q_m = (Z[i].shape[1] // levels[i] if i in wide else Z[i].shape[1] for i in (k, m))
    blocks = np.asarray(products).reshape(levels[k], q_k, levels[m], q_m).transpose(0, 2, 1, 3)
    met = [
        Z[i].any(axis=0).reshape(levels[i], -1).any(axis=1) if i in wide else np.ones(levels[i], dtype=bool)
        for i in (k, m)
    ]
    first, second = (part.reshape(-1) for part in np.meshgrid(*map(np.flatnonzero, met), indexing="ij"))
    return PairBlocks(keys=first * levels[m] + second, values=np.ascontiguousarray(blocks[first, second]))


def _within_wide(z: Array, w: Array, J: int) -> tuple[Array, PairBlocks]:
    """ZᵀWZ of a term of several columns a level (n, J q): its own blocks (J, q, q), and those of levels that meet."""
    q = z.shape[1] // J
    blocks = (z.T @ (z * w[:, None])).reshape(J, q, J, q).transpose(0, 2, 1, 3)
    first, second = np.triu_indices(J, 1)
    meet = blocks[first, second].any(axis=(1, 2))
    first, second = first[meet], second[meet]
    within = np.ascontiguousarray(blocks[np.arange(J), np.arange(J)])
    return within, PairBlocks(keys=first * J + second, values=np.ascontiguousarray(blocks[first, second]))


@compiled
def add_products(where, left, right, w, out):  # type: ignore[no-untyped-def]
    """out[where[i]] += w[i] left[i] right[i]ᵀ for every row i."""
    for i in range(where.shape[0]):
        block = where[i]
        for a in range(left.shape[1]):
            scaled = w[i] * left[i, a]
            for b in range(right.shape[1]):
                out[block, a, b] += scaled * right[i, b]


@compiled
def add_rows(where, rows, left, right, w, sums):  # type: ignore[no-untyped-def]
    """sums[where[i], t] += w[i] rows[i, left[t]] rows[i, right[t]] for every row i and pair of columns t."""
    for i in range(where.shape[0]):
        block = where[i]
        for t in range(left.shape[0]):
            sums[block, t] += w[i] * rows[i, left[t]] * rows[i, right[t]]
