"""Smooths with their bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..results.curves import OWN
from ..results.fit import Fit
from ..results.tables import apart_names
from . import style


def plot_smooth(
    fit: Fit,
    name: str | Sequence[str] | None = None,
    *,
    at: Sequence[float] | None = None,
    derivative: bool = False,
    ci_prob: float = style.OUTER,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """The course of every smooth, one panel each: pointwise band dark, simultaneous band light.

    The simultaneous band holds the whole curve with the given probability. Ticks along the bottom are the rows.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Of a model with ``s(x)``.
    name : str or sequence of str, optional
        Smooths as ``fit.smooth()`` calls them, such as ``"s(x)"``; all by default.
    at : sequence of float, optional
        Points along the variable; by default over the range of the data.
    derivative : bool
        The slopes of the curves.
    ci_prob : float
        Probability of the bands.
    figsize : (float, float), optional
        Inches.
    ax : Axes or sequence of Axes, optional
        Where to draw instead, one for each panel.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        The model has no such smooth.
    """
    style.check_fit(fit, "plot_smooth")
    table = fit.smooth(at=at, derivative=derivative, ci_prob=ci_prob)
    names = style.chosen("smooth", name, list(dict.fromkeys(table["smooth"])))
    figure, axes = style.new_figure(len(names), figsize=figsize, ax=ax, size=(4.2, 3.1), sharey=True)
    middle = "mean" if "mean" in table else "estimate"
    for each, panel in zip(names, axes, strict=True):
        curve = table[table["smooth"] == each]
        term = next(group for group in fit.design.groups if group.name == each)
        variable_of = {apart_names([variable], OWN).get(variable, variable): variable for variable in term.variables}
        column = next(c for c in reversed(curve.columns[: curve.columns.get_loc(middle)]) if c in variable_of)
        along, x = curve[column].to_numpy(), variable_of[column]
        panel.fill_between(
            along,
            curve["simultaneous_low"],
            curve["simultaneous_high"],
            color=style.POSTERIOR,
            alpha=0.15,
            lw=0,
            label=f"{ci_prob:.0%} of the whole curve",
        )
        panel.fill_between(
            along,
            curve["conf_low"],
            curve["conf_high"],
            color=style.POSTERIOR,
            alpha=0.3,
            lw=0,
            label=f"{ci_prob:.0%} at each point",
        )
        panel.plot(along, curve[middle], color=style.POSTERIOR, lw=1.8, label="slope" if derivative else "curve")
        panel.axhline(0.0, color=style.GREY, lw=0.8, zorder=0)
        rows = np.unique(fit.design.frame[x].to_numpy(dtype=float))
        panel.plot(
            rows, np.zeros(len(rows)), "|", color=style.DATA, ms=6, mew=0.6, transform=panel.get_xaxis_transform()
        )
        first = ax is not None or panel.get_subplotspec().is_first_col()
        style.clean(
            panel,
            title=style.short(each, 34),
            xlabel=style.as_is(x),
            ylabel=("slope" if derivative else "effect") if first else "",
        )
    style.legend(axes, ax=ax, columns=4 if len(axes) > 1 else 1)
    return figure
