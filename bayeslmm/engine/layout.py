"""The order of elimination and where every block lives (docs/theory.md, section 2: blocked elimination).

Factors are ordered by number of levels, largest first. The first, and every next one in which all earlier ones are
nested, form the *chain*: their levels are the *nodes*, eliminated one by one. The rest is *dense*. A node's *panel*
holds its cross-products with its ancestors in the chain, the dense columns it meets, and [X y], in that order; what
meets a node also meets its ancestors, so elimination creates no block that is not there from the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .crossproducts import CrossProducts

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseBlocks:
    """Blocks of ZᵀWZ between two dense factors, or of one with itself; rows never stand above columns."""

    row_position: int  # places in the order of elimination
    column_position: int
    rows: Codes  # (pairs,) first row of each block in the dense part
    columns: Codes  # (pairs,)
    values: Array  # (pairs, q_row, q_column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Cross-products arranged for elimination. m random effects, of which m_chain belong to the chain."""

    cross: CrossProducts
    order: tuple[int, ...]  # elimination order: position -> factor
    widths: Codes  # (K,) q in elimination order
    column_start: Codes  # (K + 1,) first column of each factor among the m
    node_start: Codes  # (chain + 1,) first node of each chain factor
    block_start: Codes  # (nodes + 1,) first tail block of each node
    block_column: Codes  # (blocks,) first column of the block among the m
    block_factor: Codes  # (blocks,) position of its factor in `order`
    block_node: Codes  # (blocks,) its node, or -1 for a dense block
    panel_start: Codes  # (nodes + 1,) first entry of each panel, stored by rows
    diagonal_start: Codes  # (nodes + 1,) first entry of each node's q × q block
    S_diagonal: Array
    S_panel: Array
    dense_blocks: tuple[DenseBlocks, ...]  # the lower triangle of the dense part of ZᵀWZ
    S_dense: sparse.csr_array  # (m_dense, m_dense), the same, symmetric
    R_dense: Array  # (m_dense, p + 1)

    @property
    def n_chain(self) -> int:
        """Number of factors in the chain."""
        return len(self.node_start) - 1

    @property
    def m(self) -> int:
        """Number of random effects."""
        return int(self.column_start[-1])

    @property
    def m_chain(self) -> int:
        """Number of random effects eliminated node by node."""
        return int(self.column_start[self.n_chain])

    def rows(self, position: int) -> slice:
        """Where the factor at this place of the order stands among the m random effects."""
        return slice(int(self.column_start[position]), int(self.column_start[position + 1]))

    def dense_rows(self, position: int) -> slice:
        """Where it stands among the dense ones."""
        rows = self.rows(position)
        return slice(rows.start - self.m_chain, rows.stop - self.m_chain)


def _pair(cross: CrossProducts, first: int, second: int) -> tuple[Codes, Codes, Array]:
    """Levels of both factors and the blocks Z_firstᵀ W Z_second (pairs, q_first, q_second)."""
    low, high = min(first, second), max(first, second)
    block = cross.pairs[low, high]
    a, b = np.divmod(block.keys, cross.levels[high])
    if first == low:
        return a, b, block.values
    return b, a, block.values.transpose(0, 2, 1)


def _chain_length(cross: CrossProducts, order: tuple[int, ...]) -> int:
    """How many leading factors can be eliminated level by level: each nested in all that follow in the chain."""
    for length in range(1, len(order)):
        for earlier in order[:length]:
            level, _, _ = _pair(cross, earlier, order[length])
            if len(level) > cross.levels[earlier]:
                return length
    return len(order)


def arrange(cross: CrossProducts) -> Layout:
    """Lay the cross-products out for elimination; done once per data set."""
    order = tuple(sorted(range(len(cross.levels)), key=lambda k: (-cross.levels[k], k)))
    widths = np.array([cross.widths[k] for k in order], dtype=np.int64)
    levels = np.array([cross.levels[k] for k in order], dtype=np.int64)
    column_start = np.concatenate([[0], np.cumsum(widths * levels)]).astype(np.int64)
    n_chain = _chain_length(cross, order)
    node_start = np.concatenate([[0], np.cumsum(levels[:n_chain])]).astype(np.int64)
    m_chain, n_xy = int(column_start[n_chain]), cross.XytXy.shape[0]

    node, column, factor, target, source = [], [], [], [], []
    for a in range(n_chain):
        for b in range(a + 1, len(order)):
            first, second, values = _pair(cross, order[a], order[b])
            node.append(node_start[a] + first)
            column.append(column_start[b] + second * widths[b])
            factor.append(np.full(len(first), b))
            target.append(node_start[b] + second if b < n_chain else np.full(len(first), -1))
            source.append(values)
    n_nodes = int(node_start[-1])
    width_of_node = np.repeat(widths[:n_chain], levels[:n_chain])
    node_of, block_column, block_factor, block_node = (
        np.concatenate(part).astype(np.int64) if part else np.zeros(0, np.int64)
        for part in (node, column, factor, target)
    )
    by_node = np.lexsort((block_column, node_of))
    block_start = np.searchsorted(node_of[by_node], np.arange(n_nodes + 1)).astype(np.int64)
    block_width = widths[block_factor]
    before = np.concatenate([[0], np.cumsum(block_width[by_node])])
    tail = np.diff(before[block_start])
    panel_start = np.concatenate([[0], np.cumsum(width_of_node * (tail + n_xy))]).astype(np.int64)

    offset = np.empty(len(by_node), dtype=np.int64)  # of a block inside its node's panel
    offset[by_node] = before[:-1] - before[block_start[node_of[by_node]]]
    S_panel = np.zeros(panel_start[-1])
    done = 0
    for values in source:
        here = slice(done, done + len(values))
        rows = panel_start[node_of[here]][:, None] + np.arange(values.shape[1]) * (
            tail[node_of[here]][:, None] + n_xy
        )
        S_panel[(rows + offset[here][:, None])[:, :, None] + np.arange(values.shape[2])] = values
        done += len(values)
    for a in range(n_chain):
        nodes = np.arange(node_start[a], node_start[a + 1])
        row_length = (tail[nodes] + n_xy)[:, None]
        rows = panel_start[nodes][:, None] + np.arange(widths[a]) * row_length + tail[nodes][:, None]
        S_panel[rows[:, :, None] + np.arange(n_xy)] = cross.ZtXy[order[a]]

    m_dense = int(column_start[-1]) - m_chain
    R_dense = [cross.ZtXy[k].reshape(-1, n_xy) for k in order[n_chain:]]
    dense_blocks = _dense_blocks(cross, order, n_chain, column_start - m_chain)
    return Layout(
        cross=cross,
        order=order,
        widths=widths,
        column_start=column_start,
        node_start=node_start,
        block_start=block_start,
        block_column=block_column[by_node],
        block_factor=block_factor[by_node],
        block_node=block_node[by_node],
        panel_start=panel_start,
        diagonal_start=np.concatenate([[0], np.cumsum(width_of_node**2)]).astype(np.int64),
        S_diagonal=np.concatenate([np.zeros(0), *(cross.ZtZ[k].reshape(-1) for k in order[:n_chain])]),
        S_panel=S_panel,
        dense_blocks=dense_blocks,
        S_dense=_symmetric(dense_blocks, m_dense),
        R_dense=np.concatenate([np.zeros((0, n_xy)), *R_dense]),
    )


def _dense_blocks(
    cross: CrossProducts, order: tuple[int, ...], n_chain: int, start: Codes
) -> tuple[DenseBlocks, ...]:
    blocks = []
    for a in range(n_chain, len(order)):
        own = start[a] + np.arange(cross.levels[order[a]]) * cross.widths[order[a]]
        blocks.append(
            DenseBlocks(row_position=a, column_position=a, rows=own, columns=own, values=cross.ZtZ[order[a]])
        )
        for b in range(a + 1, len(order)):
            above, below, values = _pair(cross, order[a], order[b])
            blocks.append(
                DenseBlocks(
                    row_position=b,
                    column_position=a,
                    rows=start[b] + below * cross.widths[order[b]],
                    columns=start[a] + above * cross.widths[order[a]],
                    values=values.transpose(0, 2, 1),
                )
            )
    return tuple(blocks)


def entries(block: DenseBlocks) -> tuple[Codes, Codes]:
    """Row and column of every entry of the blocks, each (pairs, q_row, q_column)."""
    _, q_row, q_column = block.values.shape
    rows = block.rows[:, None, None] + np.arange(q_row)[:, None]
    columns = block.columns[:, None, None] + np.arange(q_column)
    return np.broadcast_arrays(rows, columns)  # type: ignore[return-value]


def _symmetric(blocks: tuple[DenseBlocks, ...], m: int) -> sparse.csr_array:
    total = sparse.csr_array((m, m))
    for block in blocks:
        rows, columns = (index.reshape(-1) for index in entries(block))
        part = sparse.csr_array((block.values.reshape(-1), (rows, columns)), shape=(m, m))
        total = total + part
        if block.row_position != block.column_position:
            total = total + part.T
    return sparse.csr_array(total)
