"""Pictures. The sole door to matplotlib, which is imported when a picture is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.pooling import complete_pooling, no_pooling

# Okabe & Ito's palette: told apart by colour-blind readers
NONE, PARTIAL, COMPLETE = "#999999", "#0072B2", "#D55E00"


def plot_pooling(fit: Any, *, group: str | None = None, figsize: tuple[float, float] | None = None) -> Any:
    """How far partial pooling moves every group: from its own least-squares fit towards the common one.

    One panel a term with the groups in the order of their own estimates, and, for two terms, a panel with one axis a
    term. Grey: the group alone (no pooling); blue: the mixed model; orange: all rows together (complete pooling).

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Conditional modes or posterior means are drawn.
    group : str, optional
        The grouping factor, where the model has several.
    figsize : (float, float), optional
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    term = fit.design.group(group)
    alone = no_pooling(fit.design, term.name)
    partial = fit.coef(wide=True).loc[term.name].reindex(columns=list(term.columns))
    pooled = complete_pooling(fit.design).reindex(list(term.columns), fill_value=0.0)
    panels = term.q + (term.q == 2)
    figure = Figure(figsize=figsize or (4.6 * panels, 4.4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for ax, name in zip(axes, term.columns, strict=False):
        _draw_sorted(ax, alone[name], partial[name], float(pooled[name]), term.name)
    if term.q == 2:
        _draw_plane(axes[-1], alone, partial, pooled)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw_sorted(ax: Any, alone: pd.Series, partial: pd.Series, pooled: float, group: str) -> None:
    key = alone.to_numpy(float)
    order = np.argsort(np.where(np.isnan(key), partial.to_numpy(float), key), kind="stable")
    before, after = key[order], partial.to_numpy(float)[order]
    at = np.arange(len(order))
    size = 22 if len(order) <= 40 else 9
    ax.vlines(at, before, after, color=NONE, lw=0.8, alpha=0.6, zorder=1)
    ax.scatter(at, before, s=size, facecolors="white", edgecolors=NONE, label="no pooling", zorder=2)
    ax.scatter(at, after, s=size, color=PARTIAL, label="partial pooling", zorder=3)
    ax.axhline(pooled, color=COMPLETE, lw=1.4, label="complete pooling", zorder=0)
    if len(order) <= 40:
        ax.set_xticks(at, [str(alone.index[i]) for i in order], rotation=90, fontsize=8)
        ax.set_xlabel(group)
    else:
        ax.set_xticks([])
        ax.set_xlabel(f"{len(order)} levels of {group}, in the order of their own fits")
    ax.set_title(str(alone.name), fontsize=11)
    _clean(ax)


def _draw_plane(ax: Any, alone: pd.DataFrame, partial: pd.DataFrame, pooled: pd.Series) -> None:
    x, y = alone.columns
    size = 22 if len(alone) <= 40 else 9
    for level in alone.index[alone.notna().all(axis=1)]:
        ax.annotate(
            "",
            xytext=(alone.at[level, x], alone.at[level, y]),
            xy=(partial.at[level, x], partial.at[level, y]),
            arrowprops={
                "arrowstyle": "-",
                "color": NONE,
                "lw": 0.8,
                "alpha": 0.6,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    ax.scatter(alone[x], alone[y], s=size, facecolors="white", edgecolors=NONE, zorder=2)
    ax.scatter(partial[x], partial[y], s=size, color=PARTIAL, zorder=3)
    ax.scatter([pooled[x]], [pooled[y]], s=110, marker="X", color=COMPLETE, edgecolors="white", zorder=4)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(f"{x} and {y} together", fontsize=11)
    _clean(ax)


def _clean(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=3)
