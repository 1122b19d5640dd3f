"""Caterpillars: every level of a grouping factor with its intervals, one panel a term."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import GroupTerm
from ..errors import InputError
from ..results.coefficients import coding_of
from ..results.fit import Fit
from ..results.point import PointFit
from . import style

INTERVALS = "conf_low", "conf_high"
MOST_LABELS = 70  # that a column of the height drawn here holds
MOST_NAMED = 200  # levels of which some are named; of more, none
_WIDTHS = ((0.14, (0.25, 1.2)), (0.32, (0.5, 3.2)), (0.55, (1.7, 6.5)))  # of lines and dots, by the room for a level


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One term of one grouping factor: its levels from bottom to top.

    Attributes
    ----------
    group, term : str
    levels : tuple
    middle : (J,)
    inner, outer : (J, 2)
        Ends of the 50 and of the 95 % interval.
    reference : float
        The average level's value.
    """

    group: str
    term: str
    levels: tuple[Any, ...]
    middle: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    reference: float


def plot_ranef(
    fit: Fit,
    *,
    group: str | Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
    order: str | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Random effects of every level with 50 and 95 % intervals, sorted.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Conditional modes ± z times their conditional sd, or posterior means with equal-tailed intervals.
    group : str or sequence of str, optional
        Grouping factors; all by default.
    terms : str or sequence of str, optional
        Terms, such as ``"Intercept"``; all by default. One panel each.
    order : str, optional
        The term that orders the levels in all panels of a factor, or ``"data"`` for the order of the levels. The first
        term drawn by default.
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
        No such factor or term.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> figure = blm.plot_ranef(fit)
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Intercept', 'Days']
    """
    style.check_fit(fit, "plot_ranef")
    return _draw(fit, _panels(fit, fit.ranef, {}, group, terms, order), "random effect", figsize, ax)


def plot_coef(
    fit: Fit,
    *,
    group: str | Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
    order: str | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Coefficients of every level, β + b, with 50 and 95 % intervals, sorted; the dashed line is β.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        The intervals hold the uncertainty of both β and b.
    group, terms, order, figsize, ax
        As in :func:`plot_ranef`; by default the terms that differ between levels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        No such factor or term.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> figure = blm.plot_coef(fit, terms="Days")
    >>> figure.axes[0].get_xlabel()
    'coefficient'
    """
    style.check_fit(fit, "plot_coef")
    fit.design.refuse_nominal("plot_coef", "coef() has their coefficients, and plot_ranef draws the effects of levels")
    beta = fit.fixef().iloc[:, 0].to_numpy()
    codings = {g.name: coding_of(fit.design, g) for g in fit.design.groups if g.is_grouping}
    fixed = {name: dict(zip(c.names, c.B @ beta, strict=True)) for name, c in codings.items()}
    return _draw(fit, _panels(fit, fit.coef, fixed, group, terms, order), "coefficient", figsize, ax)


def _panels(
    fit: Fit,
    verb: Callable[..., pd.DataFrame],
    fixed: Mapping[str, Mapping[str, float]],
    group: str | Sequence[str] | None,
    terms: str | Sequence[str] | None,
    order: str | None,
) -> list[Panel]:
    """Panels of each factor in turn; ``fixed`` holds, by factor, what the verb adds to the random effects."""
    factors = style.chosen("grouping factor", group, factors_of(fit))
    inner, outer = verb(ci_prob=style.INNER), verb(ci_prob=style.OUTER)
    if terms is not None:
        random = [column for f in factors for column in fit.design.group(f).columns]
        terms = style.chosen(
            "term", terms, list(dict.fromkeys([*random, *(n for f in factors for n in fixed.get(f, {}))]))
        )
    panels = []
    for factor in factors:
        term = fit.design.group(factor)
        common = fixed.get(factor, {})
        names = [n for n in terms or term.columns if n in term.columns or n in common]
        narrow, wide = (t[t["group"] == factor].set_index("term") for t in (inner, outer))
        upwards = _upwards(wide, term, (order or names[0]) if names else "data")
        panels += [
            _panel(term, name, upwards, narrow.loc[name], wide.loc[name], common.get(name, 0.0)) for name in names
        ]
    return panels


def factors_of(fit: Fit) -> list[str]:
    """The grouping factors with effects on the mean, or on the log odds of categories."""
    design = fit.design
    return [g.name for g in (design.parameter_groups if design.of_categories else design.groups) if g.is_grouping]


def _upwards(table: pd.DataFrame, term: GroupTerm, order: str) -> np.ndarray:
    """Codes of the levels from bottom to top."""
    if order == "data":
        return np.arange(term.n_levels)[::-1]  # the first on top, as in a table
    if order not in table.index:
        orders = ", ".join(map(repr, table.index.unique()))
        raise InputError(f"order={order!r}: levels of {term.name} are ordered by {orders} or 'data'")
    return np.argsort(table.loc[order, _middle(table)].to_numpy(), kind="stable")


def _middle(table: pd.DataFrame) -> str:
    return "estimate" if "estimate" in table else "mean"


def _panel(
    term: GroupTerm, name: str, upwards: np.ndarray, narrow: pd.DataFrame, wide: pd.DataFrame, reference: float
) -> Panel:
    return Panel(
        group=term.name,
        term=name,
        levels=tuple(term.levels[upward] for upward in upwards),
        middle=wide[_middle(wide)].to_numpy()[upwards],
        inner=narrow[list(INTERVALS)].to_numpy()[upwards],
        outer=wide[list(INTERVALS)].to_numpy()[upwards],
        reference=reference,
    )


def _draw(fit: Fit, panels: Sequence[Panel], quantity: str, figsize: tuple[float, float] | None, ax: Any) -> Any:
    largest = max(len(p.levels) for p in panels)
    height = float(np.clip(0.19 * largest + 1.0, 2.4, 9.5))
    columns = min(len(panels), 4)
    figure, axes = style.new_figure(
        len(panels), figsize=figsize, ax=ax, columns=columns, size=(3.6 if columns > 1 else 4.8, height)
    )
    several = len({p.group for p in panels}) > 1
    for k, (panel, panel_axes) in enumerate(zip(panels, axes, strict=True)):
        first = k % columns == 0 or panels[k - 1].group != panel.group
        _caterpillar(panel_axes, panel, points=72.0 * height / (len(panel.levels) + 5))
        side = _name_levels(panel_axes, panel, first)
        title = f"{panel.term} | {panel.group}" if several else panel.term
        style.clean(panel_axes, title=title, xlabel=quantity, ylabel=side)
    if not isinstance(fit, PointFit):
        middle = "Posterior means"
    else:
        middle = style.name_of(fit) + (" estimates" if quantity == "coefficient" else " conditional modes")
    style.note(figure, f"{middle} with 50 and 95 % intervals", ax=ax)
    return figure


def _caterpillar(ax: Any, panel: Panel, points: float) -> None:
    """Dots and intervals; ``points`` is the room for a level."""
    positions = np.arange(len(panel.levels))
    thin, thick, dot = (float(np.clip(c * points, *ends)) for c, ends in _WIDTHS)
    ax.axvline(panel.reference, color=style.GREY, lw=1.0, ls="--" if panel.reference else "-", zorder=0)
    ax.hlines(positions, *panel.outer.T, color=style.POSTERIOR, lw=thin, alpha=0.8, zorder=1)
    ax.hlines(positions, *panel.inner.T, color=style.POSTERIOR, lw=thick, alpha=0.8, zorder=2)
    ax.plot(
        panel.middle,
        positions,
        "o",
        ms=dot,
        color=style.POSTERIOR,
        mec="white",
        mew=dot / 8.0 if dot > 3.0 else 0.0,
        zorder=3,
    )
    ax.set_ylim(-1.0, len(positions))
    if np.ptp(panel.outer) == 0.0:
        ax.text(
            0.95,
            0.5,
            "sd estimated\nas zero",
            transform=ax.transAxes,
            ha="right",
            va="center",
            fontsize=style.TICK,
            color=style.NOTE,
        )


def _name_levels(ax: Any, panel: Panel, first: bool) -> str:
    """Names beside the first panel of a factor, and what stands along its axis."""
    count = len(panel.levels)
    if first and count <= MOST_NAMED:
        step = style.label_levels(ax, panel.levels, most=MOST_LABELS)
        return panel.group if step == 1 else f"{panel.group} (one in {step} named)"
    ax.set_yticks([])
    return f"{count:,} levels of {panel.group}" if first else ""
