"""What a fit expects along a predictor: for the levels of a grouping factor, for the average one, for a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design, GroupTerm
from ..errors import InputError
from ..results import wald
from ..results.fit import Fit
from ..results.point import PointFit
from ..results.reference import reference_grid
from ..terms.wide import WideTerm
from ..tools.hints import with_hints
from . import style
from .along import chosen_levels, draw_data, label_x, places_of
from .interactive import interactive_lines, plotly
from .rows import (
    chosen_x,
    is_continuous,
    levels_of,
    no_categories,
    observed_groups,
    predicted,
    predictors,
    response_label,
    rows_by_level,
)

MOST_LINES = 100  # of single levels in one panel
QUANTILES = (0.1, 0.5, 0.9)  # of a numeric `by`


def plot_lines(
    fit: Fit,
    x: str | None = None,
    *,
    group: str | None = None,
    levels: Sequence[Any] | None = None,
    together: bool = False,
    interactive: bool = False,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """The fitted line of every level of a grouping factor over its data, one small panel a level.

    Of more than 24 levels 24 are drawn, evenly spaced in the order of their first random effect, which the picture
    says. The line of a level goes as far as its data; other predictors are held at the level's own typical values, and
    grouping factors that it is not nested in at their average. Dashed: the average level, b = 0.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        A posterior adds 95 % bands of the expected response.
    x : str, optional
        The predictor along the x-axis; by default the first number with random slopes, or the first number.
    group : str, optional
        The grouping factor, where the model has several.
    levels : sequence, optional
        Which levels to draw, in this order.
    together : bool
        All lines in one panel (of more than 100 levels, 100), without bands.
    interactive : bool
        The same as a figure of plotly, ``pip install 'bayeslmm[interactive]'``: the pointer shows a level's name, rows,
        effects and shrinkage, a list picks one. ``.write_html("lines.html")`` makes a page that needs no network.
    figsize : (float, float), optional
        Inches.
    ax : Axes, optional
        Where to draw all lines together instead.

    Returns
    -------
    matplotlib.figure.Figure, or plotly.graph_objects.Figure

    Raises
    ------
    InputError
        No such predictor, factor or level; ``interactive`` with ``ax`` or ``figsize``.
    NotAvailableError
        Of an ordinal response; plotly is not installed.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> len(blm.plot_lines(fit).axes)
    18
    """
    style.check_fit(fit, "plot_lines")
    design = fit.design
    no_categories(design, "plot_lines")
    term = design.group(group)
    if isinstance(term, WideTerm):
        raise term.refusal("plot_lines")
    x = chosen_x(design, x, term.name)
    together = together or ax is not None
    if interactive and (ax is not None or figsize is not None):
        raise InputError("plot_lines(interactive=True): ax= and figsize= are Matplotlib's")
    codes = chosen_levels(fit, term, levels, MOST_LINES if together or interactive else style.MOST_FACETS)
    if interactive:
        plotly()  # or how to install it, before anything is computed
        places, place, predictions, _ = _along(fit, term, x, codes)
        at, expected, held = _of_average(fit, x)
        return interactive_lines(fit, term, x, codes, (places, place, predictions), (at, expected), held)
    if together:
        return _one_panel(fit, term, x, codes, figsize, ax)
    return _small_panels(fit, term, x, codes, figsize)


def _one_panel(
    fit: Fit, term: GroupTerm, x: str, codes: Sequence[int], figsize: tuple[float, float] | None, ax: Any
) -> Any:
    design = fit.design
    places, place, predictions, _ = _along(fit, term, x, codes)
    figure, (panel,) = style.new_figure(figsize=figsize, ax=ax, size=(6.0, 4.4))
    draw_data(panel, design, x, np.isin(term.codes, codes))
    dots = "" if is_continuous(design, x) else "o"
    for k in range(len(codes)):
        of_level = place == k
        panel.plot(
            places[of_level],
            predictions["mean"].to_numpy()[of_level],
            color=style.PARTIAL,
            lw=0.9,
            alpha=0.6 if len(codes) <= 40 else 0.4,
            marker="o" if of_level.sum() == 1 else dots,
            ms=3,
            label=f"fitted, each {term.name}",
        )
    at, expected, held = _of_average(fit, x)
    _draw_average(panel, at, expected, term.name, lw=1.6)
    label_x(panel, design, x)
    style.clean(panel, xlabel=x, ylabel=response_label(design))
    style.legend([panel], ax=ax)
    missing = style.of_many(len(codes), term.n_levels, f"levels of {term.name}")
    style.note(figure, "; ".join(filter(None, [held and f"average {term.name} {held}", missing])), ax=ax)
    return figure


def _of_average(fit: Fit, x: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Places along x, what is expected there of the average level, and where other predictors are held."""
    grid, rows = reference_grid(fit.design, x)
    expected = predicted(fit, rows, "average")["mean"].to_numpy()
    return places_of(fit.design, x, grid[x]), expected, _held(fit.design, rows, {x: grid[x]})


def _small_panels(fit: Fit, term: GroupTerm, x: str, codes: Sequence[int], figsize: tuple[float, float] | None) -> Any:
    design = fit.design
    places, place, predictions, rows = _along(fit, term, x, codes)
    average = predicted(fit, rows, "average")["mean"].to_numpy()
    lines = is_continuous(design, x)
    figure, axes = style.new_figure(
        len(codes), figsize=figsize, columns=min(6, len(codes)), size=(1.75, 1.7), sharex=True, sharey=True
    )
    for k, (code, panel) in enumerate(zip(codes, axes, strict=True)):
        of_level = place == k
        draw_data(panel, design, x, term.codes == code, alpha=0.7)
        _draw_level(panel, places[of_level], predictions[of_level], lines)
        _draw_average(panel, places[of_level], average[of_level], term.name, lines=lines)
        label_x(panel, design, x, ticks=4)
        style.clean(panel)
        style.facet_title(panel, term.levels[code])
    style.legend(axes)
    missing = style.of_many(len(codes), term.n_levels, f"levels of {term.name}")
    figure.supylabel(style.as_is(response_label(design)), fontsize=style.LABEL)
    figure.supxlabel(style.as_is(x + (f"\n{missing}" if missing else "")), fontsize=style.LABEL)
    return figure


def _along(
    fit: Fit, term: GroupTerm, x: str, codes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Where rows stand along x, which of the levels they are of, what is predicted for them, and the rows."""
    rows, place = rows_by_level(fit.design, term, codes, x)
    predictions = predicted(fit, rows, observed_groups(fit.design, term.name))
    return places_of(fit.design, x, rows[x]), place, predictions, rows


def _draw_level(ax: Any, places: np.ndarray, predictions: pd.DataFrame, lines: bool) -> None:
    low, high, mean = (predictions[c].to_numpy() for c in ("conf_low", "conf_high", "mean"))
    band = {"color": style.PARTIAL, "label": "95 % interval"}
    line = lines and len(places) > 1
    ax.plot(
        places,
        mean,
        color=style.PARTIAL,
        lw=1.8 if line else 0,
        marker="" if line else "o",
        ms=5,
        label="fitted",
        zorder=3,
    )
    if np.isnan(low).any():
        return
    if line:
        ax.fill_between(places, low, high, alpha=0.25, lw=0, **band)
    else:
        ax.vlines(places, low, high, lw=1.4, zorder=2, **band)


def _draw_average(
    ax: Any, places: np.ndarray, mean: np.ndarray, group: str, *, lines: bool = True, lw: float = 1.0
) -> None:
    line = lines and len(places) > 1
    ax.plot(
        places,
        mean,
        color=style.AVERAGE,
        lw=lw if line else 0,
        ls="--",
        marker="" if line else "_",
        ms=9,
        label=f"average {group}",
        zorder=4,
    )


@with_hints
def plot_predictions(
    fit: Fit,
    x: str | None = None,
    *,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    group: str | None = None,
    lines: bool = True,
    new_group: bool = True,
    data: bool = True,
    ddf: str | None = wald.DDF,
    random_seed: int | None = 0,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Expected response along a predictor: the average group, the groups of the fit, and a group not seen before.

    The other predictors are held at the observed value nearest to their mean, or at their most frequent level; ``at``
    holds them elsewhere. The band of the average group (b = 0) is the uncertainty of the fixed effects; that of a new
    group adds how much groups differ. All bands have 95 %. A factor along the x-axis is drawn as points with intervals.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Bands of a point fit are plug-in intervals of ``predict``.
    x : str, optional
        The predictor; by default the first number with random slopes, or the first number, or the first factor.
    by : str, optional
        A second predictor with a colour for each level, of a number for its 10, 50 and 90 % quantiles. There are bands
        of the average group only then.
    at : mapping, optional
        Value by variable, or values of ``by``.
    group : str, optional
        The grouping factor whose levels get thin lines; of several factors the one with most levels.
    lines, new_group, data : bool
        Whether to draw lines of single levels, the band of a new group, and the observations.
    ddf : {"satterthwaite", None}
        Degrees of freedom of the bands of a point fit; None for z.
    random_seed : int, optional
        For the new group of a posterior.
    figsize : (float, float), optional
        Inches.
    ax : Axes, optional
        Where to draw instead.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        No such predictor or factor, or more levels of ``by`` than colours.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.plot_predictions(fit, "Days").axes[0].get_ylabel()
    'Reaction'
    """
    style.check_fit(fit, "plot_predictions")
    design = fit.design
    x = chosen_x(design, x)
    ordinal = design.family.has_categories
    values = _values(design, x, by, at)
    if ordinal and by is not None:
        raise InputError("plot_predictions(by=...): the colours of such a response are its categories")
    grid, rows = reference_grid(design, values)
    figure, axes = style.new_figure(figsize=figsize, ax=ax, size=(6.0, 4.4))
    canvas, missing = axes[0], ""
    if data and not ordinal:
        draw_data(canvas, design, x, np.ones(design.n, dtype=bool), by, values.get(by) if by else None)
    places = places_of(design, x, grid[x])
    if ordinal or by is not None:
        _draw_coloured(canvas, design, x, places, predicted(fit, rows, "average", ddf=ddf), grid, by)
    else:
        term = _finest(design, group)
        if term is not None and lines:
            missing = _draw_groups(canvas, fit, term, x, places, rows)
        related = any(g.is_wide and g.is_grouping for g in design.groups)  # of these there are no new levels
        if term is not None and new_group and not related:
            band = predicted(fit, rows, "new", random_seed=random_seed, ddf=ddf)
            _draw_band(canvas, design, x, places, band, style.NEW_GROUP, _new_name(design), wide=True)
        band = predicted(fit, rows, "average", ddf=ddf)
        _draw_band(canvas, design, x, places, band, style.AVERAGE, _average_name(design))
    label_x(canvas, design, x)
    style.clean(canvas, xlabel=x, ylabel="probability" if ordinal else response_label(design))
    style.legend(axes, ax=ax)
    bands = f"95 % bands: {wald.caption(design, fit.solution, ddf)}" if isinstance(fit, PointFit) else ""
    style.note(figure, "; ".join(filter(None, [_held(design, rows, values), missing, bands])), ax=ax)
    return figure


def _values(design: Design, x: str, by: str | None, at: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values by variable: along x, at the levels of ``by``, and what is held elsewhere."""
    along = reference_grid(design, x)[0][x].tolist()
    values: dict[str, Any] = {x: along, **(at or {})}
    if by is None:
        several = [
            name for name, value in values.items() if name != x and not isinstance(value, str) and np.size(value) > 1
        ]
        if several:
            raise InputError(f"at={{{several[0]!r}: ...}}: one value, unless by={several[0]!r} says so")
        return values
    style.chosen("predictor", by, predictors(design))
    if by == x:
        raise InputError(f"by={by!r}: it is along the x-axis already")
    if by not in values:
        column = design.frame[by]
        is_few = not is_continuous(design, by) or column.nunique() <= len(QUANTILES)
        values[by] = levels_of(column) if is_few else np.quantile(column, QUANTILES, method="nearest").tolist()
    if np.size(values[by]) > len(style.CYCLE):
        raise InputError(
            f"by={by!r}: {np.size(values[by])} levels are more than there are colours ({len(style.CYCLE)}); "
            f"choose some: at={{{by!r}: [...]}}"
        )
    return values


def _finest(design: Design, group: str | None) -> GroupTerm | None:
    ordinary = [g for g in design.groups if not g.is_wide]
    if group is None and ordinary:
        return max(ordinary, key=lambda g: g.n_levels)
    return design.group(group) if group is not None else None


def _new_name(design: Design) -> str:
    return "a new " + " and ".join(group.name for group in design.groups if group.is_grouping)


def _average_name(design: Design) -> str:
    groups = [group for group in design.groups if group.is_grouping]
    if not groups:
        return "expected"
    return f"average {groups[0].name}" if len(groups) == 1 else "average groups"


def _draw_groups(ax: Any, fit: Fit, term: GroupTerm, x: str, places: np.ndarray, rows: pd.DataFrame) -> str:
    """Thin lines of single levels; what to say where some are left out."""
    design = fit.design
    codes = chosen_levels(fit, term, None, MOST_LINES)
    first = np.array([int(np.argmax(term.codes == code)) for code in codes])
    repeated = rows.loc[np.tile(np.arange(len(rows)), len(codes))].reset_index(drop=True)
    labels = design.frame.iloc[np.repeat(first, len(rows))].reset_index(drop=True)
    grouping_columns = [
        variable for group in design.groups if group.is_grouping for variable in group.variables if variable in repeated
    ]
    repeated = repeated.assign(**{name: labels[name] for name in grouping_columns})
    means = predicted(fit, repeated, observed_groups(design, term.name))["mean"].to_numpy()
    curves = means.reshape(len(codes), len(rows)).T
    line = is_continuous(design, x)
    ax.plot(
        places + (0.0 if line else 0.2),
        curves,
        color=style.PARTIAL,
        lw=0.8 if line else 0,
        marker="" if line else "o",
        ms=3.5,
        mew=0,
        alpha=0.45,
        label=[f"each {term.name}"] + ["_"] * (len(codes) - 1),
        zorder=2,
    )
    return style.of_many(len(codes), term.n_levels, f"levels of {term.name}")


def _draw_band(
    ax: Any,
    design: Design,
    x: str,
    places: np.ndarray,
    band: pd.DataFrame,
    colour: str,
    label: str,
    *,
    wide: bool = False,
    shift: float = 0.0,
) -> None:
    """A line in its band, or points with intervals; of a ``wide`` band, which lies behind, the band only."""
    low, high, mean = (band[c].to_numpy() for c in ("conf_low", "conf_high", "mean"))
    if is_continuous(design, x):
        ax.fill_between(
            places,
            low,
            high,
            color=colour,
            alpha=0.16 if wide else 0.25,
            lw=0,
            label=label if wide else None,
            zorder=1 + (not wide),
        )
        if not wide:
            ax.plot(places, mean, color=colour, lw=2.0, label=label, zorder=4)
        return
    places = places + shift
    if wide:
        ax.vlines(places, low, high, color=colour, lw=9, alpha=0.3, label=label, zorder=1)
    else:
        ax.errorbar(
            places, mean, yerr=[mean - low, high - mean], fmt="o", ms=5.5, color=colour, lw=1.6, label=label, zorder=4
        )


def _draw_coloured(
    ax: Any, design: Design, x: str, places: np.ndarray, table: pd.DataFrame, grid: pd.DataFrame, by: str | None
) -> None:
    """A band for each level of ``by``, or for each category of an ordinal response."""
    if by is None:
        key, places = table["category"].to_numpy(), np.repeat(places, len(design.levels))
    else:
        key = grid[by].to_numpy()
    levels = list(dict.fromkeys(key))
    for k, (level, colour) in enumerate(zip(levels, style.CYCLE * (1 + len(levels) // 8), strict=False)):
        is_level, shift = key == level, min(0.14, 0.5 / len(levels)) * k - 0.08
        name = design.response if by is None else by
        _draw_band(
            ax,
            design,
            x,
            places[is_level],
            table[is_level],
            colour,
            style.entry(f"{name} = {_text(level)}"),
            shift=shift,
        )


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else style.short(value)


def _held(design: Design, rows: pd.DataFrame, values: Mapping[str, Any]) -> str:
    """Where the other predictors are held."""
    others = [name for name in predictors(design) if np.size(values.get(name, 0)) == 1]
    return "at " + ", ".join(f"{name} = {_text(rows[name].iloc[0])}" for name in others) if others else ""
