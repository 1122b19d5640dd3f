"""Which columns of the fixed part depend on earlier ones, by their cross-products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..design.aliases import NEGLIGIBLE, Aliases
from ..errors import DataError
from ..tools.frame import frozen
from ..tools.summed import SummedColumns

ROUNDING = 1e-13  # of a squared length, that sums over many rows leave of nothing
CLEAR = 1e-11  # what is left of a column that certainly says something of its own


def independent(X: SummedColumns, names: tuple[str, ...], *, has_intercept: bool) -> NDArray[np.bool_]:
    """Which columns (n, p) do not depend on earlier ones.

    Raises
    ------
    DataError
        So little is left of a column beside those before that its sums do not tell.
    """
    gram = X.centred_products(X) if has_intercept else X.products(X)
    size = np.sqrt(np.maximum(np.diag(gram), 0.0))
    spread = X.std(axis=0)
    alive = spread > 0.0 if has_intercept else size > 0.0
    scaled = gram / np.outer(np.where(alive, size, 1.0), np.where(alive, size, 1.0))
    kept: list[int] = []
    for j in np.flatnonzero(alive):
        left = 1.0
        if kept:
            left -= float(scaled[j, kept] @ np.linalg.solve(scaled[np.ix_(kept, kept)], scaled[kept, j]))
        if ROUNDING * len(scaled) < left < CLEAR:
            raise DataError(
                f"{names[j]} depends on the columns before nearly, but not quite: {left:.1g} of its variance is left, "
                "which sums over chunks do not tell from nothing. Leave a term out, or take it to other units or a "
                "difference from a column that it follows."
            )
        if left >= CLEAR:
            kept.append(int(j))
    out = np.isin(np.arange(len(names)), kept)
    if has_intercept:
        out[0] = True
    return out


def aliases(X: SummedColumns, kept: NDArray[np.bool_], names: tuple[str, ...], *, intercept: bool) -> Aliases:
    """The dependent columns as combinations of the others, as `Aliases.of` has them of rows."""
    columns, others = np.flatnonzero(~kept), np.flatnonzero(kept)
    shift = 1.0 if intercept and len(columns) else 0.0
    means = shift * X.mean(axis=0)
    gram = X.centred_products(X) if shift else X.products(X)
    spread = np.sqrt(np.maximum(np.diag(gram)[columns], 0.0) / len(X))
    weights = np.zeros((len(others), len(columns)))
    if len(columns):
        size = np.sqrt(np.maximum(np.diag(gram)[others], 0.0) / len(X))
        if intercept:
            size[0] = np.inf
        size[size == 0.0] = np.inf
        inner = gram[np.ix_(others, others)] / np.outer(size, size) / len(X)
        parts = np.linalg.lstsq(inner, gram[np.ix_(others, columns)] / size[:, None] / len(X), rcond=None)[0]
        # sums of squares leave 1e-13 of nothing, and so 1e-6.5 of a column: what is less is none of it
        weights = np.where(np.abs(parts) > 1e2 * NEGLIGIBLE * spread, parts, 0.0) / size[:, None]
    return Aliases(
        columns=columns,
        names=tuple(names[column] for column in columns),
        weights=frozen(weights),
        centre=frozen(means[others]),
        aliased_centre=frozen(means[columns]),
        spread=frozen(spread),
    )
