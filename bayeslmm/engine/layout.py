"""The order of elimination and where every block lives (docs/theory.md, section 2: blocked elimination).

Factors are ordered by number of levels, largest first. The first, and every next one in which all earlier ones are
nested, form the *chain*: their levels are the *nodes*, eliminated one by one. The rest is *dense*, and so is a term
whose own levels meet each other, which comes last. A node's *panel* holds its cross-products with its ancestors in the
chain, the dense columns it meets, and [X y], in that order; what meets a node also meets its ancestors, so elimination
creates no block that is not there from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import NotAvailableError
from ..tools.arrays import Array
from ..tools.lazy import sparse
from .crossproducts import CrossProducts

Codes = NDArray[np.int64]
MOST_DENSE = 12_909  # columns of the dense rest: 4 GB with its inverse and a copy, and a minute an evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Z_aᵀWZ_b of two factors, a before b in the order of elimination, and where ΛᵀZᵀWZΛ keeps such blocks.

    Of one dense term, a = b, whose levels meet each other, those of a level and one after it.
    """

    a: int
    b: int
    values: Array  # (pairs, q_a, q_b)
    rows: Codes  # (pairs, 2): first row and column of the block among the m
    entries: Codes  # (pairs, q_a, q_b): entries of the flat panels if a is in the chain, else of the flat dense part


class Pattern(NamedTuple):
    """Where everything stands, for the compiled loops; K factors in elimination order, m random effects."""

    widths: Codes  # (K,) q
    column_start: Codes  # (K + 1,) first column of each factor among the m
    node_start: Codes  # (chain + 1,) first node of each chain factor
    block_start: Codes  # (nodes + 1,) first tail block of each node
    block_column: Codes  # (blocks,) first column of the block among the m
    block_factor: Codes  # (blocks,) position of its factor in the order
    block_node: Codes  # (blocks,) its node, or -1 for a dense block
    panel_start: Codes  # (nodes + 1,) first entry of each panel, stored by rows
    diagonal_start: Codes  # (nodes + 1,) first entry of each node's q × q block


class Values(NamedTuple):
    """The cross-products in one flat array a kind, in elimination order, for the compiled loops."""

    ZtZ: Array  # q × q blocks, level after level, factor after factor
    ZtXy: Array  # q × (p + 1) blocks likewise
    XytXy: Array  # (p + 1, p + 1)
    lam_start: Codes  # (K,) where the template of each factor stands among all, q × q each
    pair_factors: Codes  # (P, 2) the two positions of each `Blocks`
    pair_counts: Codes  # (P,) how many pairs of levels it holds
    pair_values: Array  # q_a × q_b blocks
    pair_rows: Codes  # (pairs, 2) their first row and column among the m
    pair_at: Codes  # where their entries go


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Cross-products arranged for elimination. m random effects, of which m_chain belong to the chain."""

    cross: CrossProducts
    order: tuple[int, ...]  # elimination order: position -> factor
    pattern: Pattern
    values: Values
    pairs: tuple[Blocks, ...]

    @cached_property
    def S(self) -> sparse.csr_array:
        """ZᵀWZ (m, m) in elimination order, made when first asked for."""
        return _cross_product_matrix(self.cross, self.order, self.pattern.column_start, self.m)

    @property
    def n_chain(self) -> int:
        """Number of factors in the chain."""
        return len(self.pattern.node_start) - 1

    @property
    def m(self) -> int:
        """Number of random effects."""
        return int(self.pattern.column_start[-1])

    @property
    def m_chain(self) -> int:
        """Number of random effects eliminated node by node."""
        return int(self.pattern.column_start[self.n_chain])

    def rows(self, position: int) -> slice:
        """Where the factor at this place of the order stands among the m random effects."""
        return slice(int(self.pattern.column_start[position]), int(self.pattern.column_start[position + 1]))

    def dense_rows(self, position: int) -> slice:
        """Where it stands among the dense ones."""
        rows = self.rows(position)
        return slice(rows.start - self.m_chain, rows.stop - self.m_chain)

    def dense_diagonal(self, position: int) -> Codes:
        """Entries (J, q, q) of a dense factor's diagonal blocks in the flat dense part."""
        rows = self.dense_rows(position)
        first = np.arange(rows.start, rows.stop, self.pattern.widths[position])
        return _entries(
            first, first, self.pattern.widths[position], self.pattern.widths[position], self.m - self.m_chain
        )


def _entries(rows: Codes, columns: Codes, q_rows: int, q_columns: int, row_length: int) -> Codes:
    """Flat indices (blocks, q_rows, q_columns) of blocks that start at these rows and columns of a square array."""
    start = rows * row_length + columns
    return start[:, None, None] + np.arange(q_rows)[:, None] * row_length + np.arange(q_columns)


def pair_of(cross: CrossProducts, first: int, second: int) -> tuple[Codes, Codes, Array]:
    """Levels of both factors and the blocks Z_firstᵀ W Z_second (pairs, q_first, q_second)."""
    low, high = min(first, second), max(first, second)
    block = cross.pairs[low, high]
    a, b = np.divmod(block.keys, cross.levels[high])
    if first == low:
        return a, b, block.values
    return b, a, block.values.transpose(0, 2, 1)


def _starts(counts: Codes) -> Codes:
    """Where each of so many begins, and the last one ends."""
    starts = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _chain_length(cross: CrossProducts, order: tuple[int, ...]) -> int:
    """How many leading factors can be eliminated level by level: each nested in all that follow in the chain."""
    order = tuple(k for k in order if (k, k) not in cross.pairs)
    for length in range(1, len(order)):
        for earlier in order[:length]:
            level, _, _ = pair_of(cross, earlier, order[length])
            if np.bincount(level, minlength=1).max() > 1:  # one of them meets two
                return length
    return len(order)


def dense_columns(cross: CrossProducts) -> int:
    """How many random effects elimination leaves for its dense rest."""
    order = _order(cross)
    return sum(cross.levels[k] * cross.widths[k] for k in order[_chain_length(cross, order) :])


def refuse_dense(cross: CrossProducts, columns: int) -> None:
    """Raise NotAvailableError where the dense rest has so many columns that it would not fit."""
    if columns <= MOST_DENSE:
        return
    listed = " and ".join(f"{J:,}" for J in sorted(cross.levels, reverse=True))
    raise NotAvailableError(
        f"Factors of {listed} levels are crossed: eliminating the largest leaves {columns:,} columns that all meet, "
        f"a dense matrix of {8e-9 * columns**2:.1f} GB, with its inverse and a copy more than the "
        f"{24e-9 * MOST_DENSE**2:.0f} GB that are taken here. fit_reml() and fit_ml() give estimates without it, by "
        "conjugate gradients (docs/more_than_memory.md says what these answer); this needs it: take a sample of the "
        "levels, or leave out a factor."
    )


def _order(cross: CrossProducts) -> tuple[int, ...]:
    """Factors by their number of levels, largest first; those whose own levels meet come last."""
    return tuple(sorted(range(len(cross.levels)), key=lambda k: ((k, k) in cross.pairs, -cross.levels[k], k)))


def arrange(cross: CrossProducts) -> Layout:
    """Lay the cross-products out for elimination; done once per data set.

    Raises
    ------
    NotAvailableError
        The dense rest would not fit.
    """
    if len(cross.levels) == 1 and not cross.pairs:
        return _of_one_factor(cross)
    order = _order(cross)
    widths = np.array([cross.widths[k] for k in order], dtype=np.int64)
    levels = np.array([cross.levels[k] for k in order], dtype=np.int64)
    column_start = _starts(widths * levels)
    n_chain = _chain_length(cross, order)
    refuse_dense(cross, int(column_start[-1] - column_start[n_chain]))
    node_start = _starts(levels[:n_chain])
    n_xy = cross.XytXy.shape[0]

    node, column, factor, target, places, chain_values = [], [], [], [], [], []
    for a in range(n_chain):
        for b in range(a + 1, len(order)):
            first, second, values = pair_of(cross, order[a], order[b])
            node.append(node_start[a] + first)
            column.append(column_start[b] + second * widths[b])
            factor.append(np.full(len(first), b))
            target.append(node_start[b] + second if b < n_chain else np.full(len(first), -1))
            places.append((a, b, column_start[a] + first * widths[a]))
            chain_values.append(values)
    n_nodes = int(node_start[-1])
    width_of_node = np.repeat(widths[:n_chain], levels[:n_chain])
    node_of, block_column, block_factor, block_node = (
        np.concatenate([np.zeros(0), *part]).astype(np.int64) for part in (node, column, factor, target)
    )
    by_node = np.lexsort((block_column, node_of))
    block_start = np.searchsorted(node_of[by_node], np.arange(n_nodes + 1)).astype(np.int64)
    before = _starts(widths[block_factor][by_node])
    tail = np.diff(before[block_start])
    row_length = tail + n_xy
    panel_start = _starts(width_of_node * row_length)

    offset = np.empty(len(by_node), dtype=np.int64)  # of a block inside its node's panel
    offset[by_node] = before[:-1] - before[block_start[node_of[by_node]]]
    ends = np.cumsum([len(values) for values in chain_values])
    pairs = []
    offsets = np.split(offset, ends[:-1]) if len(ends) else []
    for (a, b, first), second, values, nodes, shift in zip(places, column, chain_values, node, offsets, strict=True):
        rows = (panel_start[nodes] + shift)[:, None] + np.arange(widths[a]) * row_length[nodes][:, None]
        entries = rows[:, :, None] + np.arange(widths[b])
        pairs.append(Blocks(a=a, b=b, values=values, rows=np.column_stack([first, second]), entries=entries))
    pairs += _dense_pairs(cross, order, n_chain, column_start)
    return Layout(
        cross=cross,
        order=order,
        pattern=Pattern(
            widths=widths,
            column_start=column_start,
            node_start=node_start,
            block_start=block_start,
            block_column=block_column[by_node],
            block_factor=block_factor[by_node],
            block_node=block_node[by_node],
            panel_start=panel_start,
            diagonal_start=_starts(width_of_node**2),
        ),
        values=_flat(cross, order, pairs),
        pairs=tuple(pairs),
    )


def _of_one_factor(cross: CrossProducts) -> Layout:
    """That of levels which meet no others: the same as `arrange` comes to, in a tenth of the time of a small fit."""
    (J,), (q,) = cross.levels, cross.widths
    n_xy = cross.XytXy.shape[0]
    none, count = np.zeros(0, dtype=np.int64), np.arange(J + 1, dtype=np.int64)
    return Layout(
        cross=cross,
        order=(0,),
        pattern=Pattern(
            widths=np.array([q], dtype=np.int64),
            column_start=np.array([0, J * q], dtype=np.int64),
            node_start=np.array([0, J], dtype=np.int64),
            block_start=np.zeros(J + 1, dtype=np.int64),
            block_column=none,
            block_factor=none,
            block_node=none,
            panel_start=count * (q * n_xy),
            diagonal_start=count * (q * q),
        ),
        values=Values(
            ZtZ=cross.ZtZ[0].reshape(-1),
            ZtXy=cross.ZtXy[0].reshape(-1),
            XytXy=np.ascontiguousarray(cross.XytXy),
            lam_start=np.zeros(1, dtype=np.int64),
            pair_factors=np.zeros((0, 2), dtype=np.int64),
            pair_counts=none,
            pair_values=np.zeros(0),
            pair_rows=np.zeros((0, 2), dtype=np.int64),
            pair_at=none,
        ),
        pairs=(),
    )


def refilled(layout: Layout, cross: CrossProducts) -> Layout:
    """The layout of other numbers in the same places: of cross-products whose pairs of levels are the same."""
    pairs = []
    for pair in layout.pairs:
        _, _, values = pair_of(cross, layout.order[pair.a], layout.order[pair.b])
        pairs.append(replace(pair, values=values))
    return replace(layout, cross=cross, values=_flat(cross, layout.order, pairs), pairs=tuple(pairs))


def with_response(layout: Layout, cross: CrossProducts) -> Layout:
    """The layout of cross-products that differ in those with the response only."""
    parts = [cross.ZtXy[k].reshape(-1) for k in layout.order]
    ZtXy = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0), *parts])
    values = layout.values._replace(ZtXy=ZtXy, XytXy=cross.XytXy)
    other = Layout(cross=cross, order=layout.order, pattern=layout.pattern, values=values, pairs=layout.pairs)
    if "S" in layout.__dict__:  # which does not hang on the response
        other.__dict__["S"] = layout.S
    return other


def _flat(cross: CrossProducts, order: tuple[int, ...], pairs: Sequence[Blocks]) -> Values:
    def joined(parts: Iterable[NDArray[Any]], kind: type) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, kind), *(part.reshape(-1) for part in parts)])

    return Values(
        ZtZ=joined((cross.ZtZ[k] for k in order), float),
        ZtXy=joined((cross.ZtXy[k] for k in order), float),
        XytXy=np.ascontiguousarray(cross.XytXy),
        lam_start=np.cumsum([0, *(cross.widths[k] ** 2 for k in order)])[:-1],
        pair_factors=np.array([(pair.a, pair.b) for pair in pairs], np.int64).reshape(-1, 2),
        pair_counts=np.array([len(pair.values) for pair in pairs], np.int64),
        pair_values=joined((pair.values for pair in pairs), float),
        pair_rows=joined((pair.rows for pair in pairs), np.int64).reshape(-1, 2),
        pair_at=joined((pair.entries for pair in pairs), np.int64),
    )


def _dense_pairs(cross: CrossProducts, order: tuple[int, ...], n_chain: int, start: Codes) -> list[Blocks]:
    pairs, m_chain = [], start[n_chain]
    for a in range(n_chain, len(order)):
        for b in range(a, len(order)):
            if a == b and (order[a], order[a]) not in cross.pairs:
                continue
            first, second, values = pair_of(cross, order[a], order[b])
            q_a, q_b = values.shape[1:]
            rows = np.column_stack([start[a] + first * q_a, start[b] + second * q_b])
            first_row, first_column = (rows - m_chain).T
            entries = _entries(first_row, first_column, q_a, q_b, int(start[-1] - m_chain))
            pairs.append(Blocks(a=a, b=b, values=values, rows=rows, entries=entries))
    return pairs


def _cross_product_matrix(cross: CrossProducts, order: tuple[int, ...], start: Codes, m: int) -> sparse.csr_array:
    """ZᵀWZ, (m, m) in elimination order."""
    entries, values = [], []
    for a, k in enumerate(order):
        q = cross.widths[k]
        first_rows = start[a] + np.arange(cross.levels[k]) * q
        entries.append(_entries(first_rows, first_rows, q, q, m))
        values.append(cross.ZtZ[k])
        for b in range(a, len(order)):
            if a == b and (k, k) not in cross.pairs:
                continue
            first, second, block = pair_of(cross, k, order[b])
            rows, columns, q_b = start[a] + first * q, start[b] + second * block.shape[2], block.shape[2]
            entries += [_entries(rows, columns, q, q_b, m), _entries(columns, rows, q_b, q, m)]
            values += [block, block.transpose(0, 2, 1)]
    flat = np.concatenate([np.zeros(0, np.int64), *(entry.reshape(-1) for entry in entries)])
    data = np.concatenate([np.zeros(0), *(value.reshape(-1) for value in values)])
    return sparse.csr_array((data, np.divmod(flat, max(m, 1))), shape=(m, m))
