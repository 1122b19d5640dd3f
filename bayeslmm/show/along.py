"""A panel along a predictor: its axis, its observations, and which levels are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design, GroupTerm
from ..errors import InputError
from ..results.fit import Fit
from . import style
from .rows import is_continuous, levels_of, observed

MANY_POINTS = 2000  # from which points are small and kept as pixels in vector files


def chosen_levels(fit: Fit, term: GroupTerm, levels: Sequence[Any] | None, most: int) -> list[int]:
    """Codes of the levels asked for; or of all, of many evenly spaced in the order of their first random effect.

    Raises
    ------
    InputError
        A level that the factor has not.
    """
    if levels is not None:
        requested = [levels] if isinstance(levels, str) else list(levels)
        names = list(term.levels)
        unknown = [level for level in requested if level not in names]
        if unknown or not requested:
            what = f"{unknown[0]!r} is no level of {term.name}" if unknown else "levels=[]: nothing to draw"
            raise InputError(f"{what}; it has {', '.join(map(repr, names[:5]))}{', …' * (len(names) > 5)}")
        return [names.index(level) for level in requested]
    if term.n_levels <= most:
        return list(range(term.n_levels))
    effects = fit.ranef(wide=True).loc[term.name]
    return style.spread_out(effects.iloc[:, 0], most).tolist()


def draw_data(
    ax: Any,
    design: Design,
    x: str,
    mine: np.ndarray,
    by: str | None = None,
    values: Sequence[Any] | None = None,
    alpha: float = 0.4,
) -> None:
    """Observations behind everything, coloured by the levels of a factor ``by``."""
    many = mine.sum() > MANY_POINTS
    places = places_of(design, x, design.frame[x])
    alpha = 0.15 if many else min(alpha, 250.0 / mine.sum())
    if not is_continuous(design, x):  # beside the estimates; apart by the golden ratio: even, the same every time
        places = places - 0.25 + 0.2 * ((np.arange(design.n) * 0.6180339887) % 1.0 - 0.5)
    colours: Any = style.DATA
    if by is not None and not is_continuous(design, by):
        palette = dict(zip(values or [], style.CYCLE, strict=False))
        colours = [palette.get(level, style.ENVELOPE) for level in design.frame[by][mine]]
    ax.scatter(
        places[mine],
        observed(design)[mine],
        s=4 if many else 12,
        c=colours,
        alpha=max(alpha, 0.12),
        lw=0,
        zorder=0,
        rasterized=many,
    )


def places_of(design: Design, x: str, values: pd.Series) -> np.ndarray:
    """Where values stand along the x-axis: numbers as they are, levels at 0, 1, ..."""
    if is_continuous(design, x):
        return values.to_numpy(dtype=float)
    return pd.Index(levels_of(design.frame[x])).get_indexer(pd.Index(values)).astype(float)


def label_x(ax: Any, design: Design, x: str, ticks: int | None = None) -> None:
    """Ticks at whole numbers for whole numbers, the names of levels for a factor."""
    if is_continuous(design, x):
        is_whole = pd.api.types.is_integer_dtype(design.frame[x])
        ax.locator_params(axis="x", nbins=ticks or "auto", integer=is_whole)
    else:
        levels = levels_of(design.frame[x])
        style.label_levels(ax, levels, axis="x")
        ax.set_xlim(-0.6, len(levels) - 0.4)
