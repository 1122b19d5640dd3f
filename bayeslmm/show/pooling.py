"""How far every level moves from its own fit towards the common one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..pooling.pooling import pool_fit
from ..pooling.record import Pooling
from ..results.fit import Fit
from ..tools.arrays import Array
from . import style
from .pooling_lines import draw_lines

KINDS = ("arrows", "plane", "lines", "size")
INNER, OUTER = 0.5, 0.95  # of the distribution of levels that the ellipses hold
MOST_CENTERS = 3  # fixed parts that each get their ellipses


def plot_pooling(
    pool: Pooling | Fit,
    *,
    kind: str | None = None,
    group: str | None = None,
    terms: str | Sequence[str] | None = None,
    x: str | None = None,
    levels: Sequence[Any] | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """How far partial pooling moves every level: from its own fit (none) towards the common one (complete).

    Grey is no pooling, blue the mixed model, vermilion complete pooling: see :func:`bayeslmm.compare_pooling`.

    Parameters
    ----------
    pool : Pooling, PointFit or PosteriorFit
        A fit is put beside the others first. Of a `Pooling` with both the posterior is drawn.
    kind : {"arrows", "plane", "lines", "size"}, optional
        ``arrows``: one panel a term, the levels in the order of their own fits. ``plane``: two terms against each
        other, with the ellipses that hold 50 and 95 % of the levels by the model. ``lines``: the data and three lines,
        one small panel a level; of more than 36 levels 24 that are evenly spaced from the least to the most pooled.
        ``size``: shrinkage against rows of the level, with the interval of a posterior. By default ``arrows``, and
        ``plane`` beside them where there are two terms.
    group : str, optional
        The grouping factor of a fit that has several.
    terms : str or sequence of str, optional
        Which columns of the bars; all, or for ``plane`` the first two.
    x : str, optional
        For ``lines``: the predictor along the x-axis; by default the first number with random slopes, or the first.
    levels : sequence, optional
        For ``lines``: which levels, in this order.
    figsize : (float, float), optional
        Inches.
    ax : Axes or sequence of Axes, optional
        Where to draw instead, one for each panel; not for ``lines``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Something else than a fit; no such kind, factor, term, predictor or level.
    NotAvailableError
        ``lines`` of categories, or of a link that an offset cannot be taken off.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> len(blm.plot_pooling(fit).axes)
    3
    """
    pool = _pooling(pool, group)
    names = list(pool.footing.term.columns)
    if kind not in (None, *KINDS):
        raise InputError(f"plot_pooling(kind={kind!r}): kinds are {', '.join(map(repr, KINDS))}")
    if kind == "lines":
        if ax is not None:
            raise InputError("plot_pooling(kind='lines') has a panel for every level: one figure of its own, no ax=")
        return draw_lines(pool, partial_of(pool), x=x, levels=levels, figsize=figsize)
    chosen_terms = style.chosen("term", terms, names)
    if kind == "plane":
        if len(chosen_terms) < 2:
            raise InputError(f"plot_pooling(kind='plane'): two terms are drawn against each other, not {chosen_terms}")
        panels: list[Callable[[Any], None]] = [lambda a: _draw_plane(a, pool, chosen_terms[0], chosen_terms[1])]
    elif kind == "size":
        panels = [lambda a, name=name: _draw_size(a, pool, name) for name in chosen_terms]  # type: ignore[misc]
    else:
        panels = [lambda a, name=name: _draw_sorted(a, pool, name) for name in chosen_terms]  # type: ignore[misc]
        if kind is None and len(chosen_terms) == 2:
            panels.append(lambda a: _draw_plane(a, pool, chosen_terms[0], chosen_terms[1]))
    figure, axes = style.new_figure(len(panels), figsize=figsize, ax=ax, size=(4.6, 4.4))
    for panel, draw in zip(axes, panels, strict=True):
        draw(panel)
    style.legend(axes, ax=ax, columns=5 if len(axes) > 1 else 2)
    return figure


def partial_of(pool: Pooling) -> str:
    """The column of the fit that is drawn: the posterior if there is one."""
    if pool.post is None and pool.reml is None:
        raise InputError("plot_pooling: compare_pooling was told reml=False and post=False, nothing is pooled")
    return "posterior" if pool.post is not None else "reml"


def partial_label(pool: Pooling) -> str:
    """What it is called."""
    return f"partial ({style.name_of(pool.post or pool.reml)})"  # type: ignore[arg-type]


def _pooling(pool: Any, group: str | None) -> Pooling:
    if isinstance(pool, Pooling):
        if group not in (None, pool.group):
            raise InputError(
                f"plot_pooling(group={group!r}): this Pooling is of {pool.group!r}; compare_pooling(model, {group!r}) "
                "is of the other"
            )
        return pool
    style.check_fit(pool, "plot_pooling")
    return pool_fit(pool, group)


def _of_term(pool: Pooling, name: str) -> pd.DataFrame:
    return pool.levels[pool.levels["term"] == name].set_index("level")


def _dot(n_levels: int) -> float:
    return 22.0 if n_levels <= style.MOST_LABELS else 9.0


def _draw_sorted(ax: Any, pool: Pooling, name: str) -> None:
    table, partial = _of_term(pool, name), partial_of(pool)
    table = table.loc[table["none"].fillna(table[partial]).sort_values(kind="stable").index]
    unpooled, partially_pooled, common = (table[c].to_numpy(float) for c in ("none", partial, "complete"))
    positions, size = np.arange(len(table)), _dot(len(table))
    ends, endless = _within_reach(unpooled, np.concatenate([unpooled, partially_pooled, common])), np.isinf(unpooled)
    ax.vlines(positions, ends, partially_pooled, color=style.NONE, lw=0.8, alpha=0.7, zorder=1)
    unfilled = {"s": size, "facecolors": "white", "edgecolors": style.NONE, "zorder": 2}
    ax.scatter(positions, np.where(endless, np.nan, unpooled), label="no pooling", **unfilled)
    for sign, marker in ((1.0, "^"), (-1.0, "v")):
        which = unpooled == sign * np.inf
        if which.any():
            name_of_end = f"no pooling: {'∞' if sign > 0.0 else '-∞'}"
            ax.scatter(positions[which], ends[which], marker=marker, label=name_of_end, **unfilled)
    ax.scatter(positions, partially_pooled, s=size, color=style.PARTIAL, label=partial_label(pool), zorder=3)
    if np.ptp(common[np.isfinite(common)]) <= 1e-9 * np.abs(np.nan_to_num(common)).max():
        ax.axhline(common[np.isfinite(common)][0], color=style.COMPLETE, lw=1.4, label="complete pooling", zorder=0)
    else:  # predictors of the groups
        ax.scatter(
            positions, common, s=1.6 * size, marker="_", color=style.COMPLETE, label="complete pooling", zorder=0
        )
    if len(table) <= style.MOST_LABELS:
        style.label_levels(ax, list(table.index), axis="x")
        style.clean(ax, title=name, xlabel=pool.group)
    else:
        ax.set_xticks([])
        style.clean(ax, title=name, xlabel=f"{len(table):,} levels of {pool.group}, in the order of their own fits")


def _within_reach(values: Array, drawn: Array) -> Array:
    """Infinite numbers as ones a little beyond all that are drawn."""
    finite = drawn[np.isfinite(drawn)]
    reach = 0.12 * (float(np.ptp(finite)) or 1.0)
    return np.where(np.isinf(values), np.where(values > 0.0, finite.max() + reach, finite.min() - reach), values)


def _draw_plane(ax: Any, pool: Pooling, x: str, y: str) -> None:
    from matplotlib.collections import LineCollection

    partial, across, along = partial_of(pool), _of_term(pool, x), _of_term(pool, y)
    unpooled, partially_pooled, common = (
        np.column_stack([across[c].to_numpy(float), along[c].to_numpy(float)]) for c in ("none", partial, "complete")
    )
    _draw_ellipses(ax, pool, x, y)
    has_own_fit = np.isfinite(unpooled).all(axis=1)
    size = _dot(len(unpooled))
    ax.add_collection(
        LineCollection(
            list(np.stack([unpooled[has_own_fit], partially_pooled[has_own_fit]], axis=1)),
            colors=style.NONE,
            lw=0.8,
            alpha=0.7,
            zorder=1,
        )
    )
    ax.scatter(*unpooled.T, s=size, facecolors="white", edgecolors=style.NONE, label="no pooling", zorder=2)
    ax.scatter(*partially_pooled.T, s=size, color=style.PARTIAL, label=partial_label(pool), zorder=3)
    is_few = len(_distinct(common)) <= MOST_CENTERS
    ax.scatter(
        *common.T,
        s=110 if is_few else size,
        marker="X",
        color=style.COMPLETE,
        edgecolors="white",
        lw=0.8 if is_few else 0.3,
        label="complete pooling",
        zorder=4,
    )
    style.clean(ax, title=f"{x} and {y}", xlabel=x, ylabel=y)


def _distinct(points: Array) -> Array:
    """Points (J, 2) without missing ones, each once but for rounding."""
    finite = points[np.isfinite(points).all(axis=1)]
    unit = np.abs(finite).max(axis=0, initial=1e-300)
    return np.unique((finite / unit).round(9), axis=0) * unit


def _draw_ellipses(ax: Any, pool: Pooling, x: str, y: str) -> None:
    """Where the model puts half and 95 % of the levels with one fixed part; none where there are many fixed parts."""
    fit = pool.post if pool.post is not None else pool.reml
    assert fit is not None
    footing = pool.footing
    beta = fit.fixef()["mean" if pool.post is not None else "estimate"].to_numpy()
    names = list(footing.term.columns)
    pair = [names.index(x), names.index(y)]
    centers = _distinct(footing.fixed(beta)[:, pair])
    if len(centers) > MOST_CENTERS:
        return
    values, axes = np.linalg.eigh(fit.var_corr()[footing.term.name].to_numpy()[np.ix_(pair, pair)])
    half = axes * np.sqrt(np.maximum(values, 0.0))
    turn = np.linspace(0.0, 2.0 * np.pi, 200)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    for probability, dashes in ((INNER, "-"), (OUTER, "--")):
        radius = np.sqrt(-2.0 * np.log(1.0 - probability))  # of two normal variables
        for center in centers:
            ring = center[:, None] + radius * half @ circle
            ax.plot(
                *ring,
                color=style.PARTIAL,
                lw=0.9,
                ls=dashes,
                alpha=0.6,
                zorder=0,
                label=f"{probability:.0%} of levels, by the model",
            )


def _draw_size(ax: Any, pool: Pooling, name: str) -> None:
    table, partial = _of_term(pool, name), partial_of(pool)
    n = table["n"].to_numpy(float)
    value = table["shrinkage" if partial == "posterior" else "shrinkage_reml"].to_numpy(float)
    if partial == "posterior":
        low, high = table["shrinkage_low"], table["shrinkage_high"]
        ax.vlines(n, low, high, color=style.PARTIAL, lw=0.7, alpha=0.35, label=f"{pool.ci_prob:.0%} interval")
    ax.scatter(n, value, s=_dot(len(n)), color=style.PARTIAL, label=partial_label(pool), zorder=3)
    has_own_fit = table["none"].notna().to_numpy()
    if not has_own_fit.all():
        ax.scatter(
            n[~has_own_fit],
            value[~has_own_fit],
            s=3.0 * _dot(len(n)),
            facecolors="none",
            edgecolors=style.COMPLETE,
            label="no fit of its own",
            zorder=4,
        )
    if n.max() > 20.0 * max(n.min(), 1.0):
        ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.02)
    style.clean(ax, title=name, xlabel=f"rows of a level of {pool.group}", ylabel="shrinkage")
