"""Cross-products of rows that went by, in units near those of the scaled problem, and the scaling by sums alone.

The rows were summed less a rough middle and over a rough spread, Ẑ = Z B⁻¹, so that nothing is lost where a predictor
lies far from zero: were x itself summed, its variance would be a difference of numbers (mean/sd)² times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from ..design.design import Design
from ..design.identification import Identification
from ..tools.arrays import Array
from ..tools.summed import SummedColumns
from .crossproducts import CrossProducts, PairBlocks
from .rows_on_disk import RowsOnDisk


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Cross-products of columns [Ẑ X̂ ŷ] with Z = Ẑ B, [X y] = [X̂ ŷ] B, and what else is kept of the rows."""

    cross: CrossProducts
    B_xy: Array  # (p + 1, p + 1)
    B_z: tuple[Array, ...]  # K × (q_k, q_k)
    untold: Identification | None  # what the data do not tell of the variances
    sample: pd.DataFrame  # of rows
    rows: RowsOnDisk | None = None  # of other than normal responses, in this process
    passes: Any = None  # what the passes over the rows told, of which files make all this anew


def rows_of(design: Design) -> RowsOnDisk | None:
    """The rows on disk that a design is fitted by, in the process that has read them."""
    return None if design.sums is None else cast(Sums, design.sums).rows


def transformed(cross: CrossProducts, C_xy: Array, C_z: Sequence[Array]) -> CrossProducts:
    """Cross-products of [Z C, [X y] C] from those of [Z X y]."""
    return replace(
        cross,
        ZtZ=tuple(C.T @ products @ C for products, C in zip(cross.ZtZ, C_z, strict=True)),
        ZtXy=tuple(C.T @ products @ C_xy for products, C in zip(cross.ZtXy, C_z, strict=True)),
        pairs={
            (k, m): PairBlocks(keys=block.keys, values=C_z[k].T @ block.values @ C_z[m])
            for (k, m), block in cross.pairs.items()
        },
        XytXy=C_xy.T @ cross.XytXy @ C_xy,
    )


def scaling_of(
    A: SummedColumns,
    blocks: Sequence[Sequence[int]],
    constants: Sequence[int | None],
    *,
    orthogonal: bool,
    least: float,
) -> Array:
    """T (q, q) that makes the columns A T centred about the constant one of their block, and of rms 1.

    ``orthogonal``: and orthogonal inside a block, unless less than ``least`` of a column is left beside those before.
    """
    n, q = A.shape
    T = np.eye(q)
    means, spreads, sizes = A.mean(axis=0), A.std(axis=0), np.sqrt((A**2).mean(axis=0))
    for block, constant in zip(blocks, constants, strict=True):
        before: list[int] = []
        for column in block:
            if column == constant:
                T[column, column] = 1.0 / float(A.constant(column) or 1.0)
                continue
            scale = float(sizes[column] if constant is None else spreads[column]) or 1.0
            T[column, column] = 1.0 / scale
            if constant is not None:
                T[constant, column] = -means[column] / (scale * float(A.constant(constant) or 1.0))
            if orthogonal and _make_orthogonal(A, T, column, before, least):
                before.append(column)
    return T


def _make_orthogonal(A: SummedColumns, T: Array, c: int, before: Sequence[int], least: float) -> bool:
    """Make column c of A T orthogonal to those before, with rms 1; False, and nothing done, if it depends on them."""
    n, back = len(A), T[:, c].copy()
    for k in [*before, *before]:
        back -= float((A @ back[:, None]).products(A @ T[:, [k]])[0, 0]) / n * T[:, k]
    size = float(np.sqrt(max(((A @ back[:, None]) ** 2).mean(axis=0)[0], 0.0)))
    if size < least:
        return False
    T[:, c] = back / size
    return True
