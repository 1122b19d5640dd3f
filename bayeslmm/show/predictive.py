"""Pictures of predictive checks: data beside data sets from a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..design.codes import scores
from ..errors import InputError, NotAvailableError
from ..predictive.ppc import ppc
from ..predictive.record import PredictiveCheck, label_of, share
from ..results.text import percent
from ..tools.arrays import Array
from ..tools.words import is_one_of
from . import style

KINDS = ("density", "stat", "by", "pit")
CURVES = 50  # data sets whose density is drawn
MANY_VALUES = 40  # side by side
MOST_COUNTS = 0.995  # share of the data sets' counts that the axis holds
DATA, REPLICATES, OUTSIDE = style.BLACK, style.BLUE, style.VERMILION
SOURCES = {"posterior": "posterior predictive", "estimates": "plug-in predictive", "prior": "prior predictive"}


def plot_ppc(
    check: Any,
    kind: str = "density",
    *,
    stat: Any = None,
    by: Any = None,
    groups: Any = "observed",
    draws: int = 500,
    random_seed: int | None = None,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Any:
    """Draw a predictive check.

    Parameters
    ----------
    check : PredictiveCheck, PosteriorFit, PointFit or Model
        What `bayeslmm.ppc` returned, or what it takes.
    kind : {"density", "stat", "by", "pit"}
        ``density``: the response over that of the data sets; of counts, categories and yes/no responses how often
        every value comes up, with intervals. ``stat``: every statistic of the data over those of the data sets, with p
        = P(T(data set) ≥ T(data)). ``by``: a statistic within each level, sorted. ``pit``: where each observation lies
        among its data sets, as the difference between an ECDF and the uniform one, by ArviZ.
    stat : str, callable, list or dict, optional
        With a fit or model: as in `bayeslmm.ppc`. With a check: names of those of its statistics to draw.
    by, groups, draws, random_seed
        As in `bayeslmm.ppc`, for a fit or a model; ``kind="by"`` looks into the first grouping factor unless told.
    ax : matplotlib.axes.Axes or sequence of these, optional
        Where to draw, one for each panel; not for ``pit``.
    figsize : (float, float), optional
        Inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        An unknown kind or statistic, or a check that has nothing of this kind.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.plot_ppc(fit, "by", by="Days", stat="sd", random_seed=1).axes[0].get_ylabel()
    'Days'
    """
    if not is_one_of(kind, KINDS):
        raise InputError(f"plot_ppc(kind={kind!r}): kinds are {', '.join(map(repr, KINDS))}")
    if not isinstance(check, PredictiveCheck):
        grouping = getattr(getattr(check, "design", None), "groups", ())
        if kind == "by" and by is None and grouping:
            by = grouping[0].name
        check = ppc(check, stat, by=by, groups=groups, draws=draws, random_seed=random_seed)
        stat = None
    draw = {"density": _densities, "stat": _statistics, "by": _levels, "pit": _pit}[kind]
    return draw(check, stat, ax, figsize)


def _response(check: PredictiveCheck) -> str:
    design = check.design
    return f"{design.response}, proportion" if design.trials is not None else design.response


def _replicates(check: PredictiveCheck) -> str:
    return f"{SOURCES[check.source]} data sets"


# -- the response


def _densities(check: PredictiveCheck, stat: Any, ax: Any, figsize: Any) -> Any:
    figure, axes = style.new_figure(figsize=figsize, ax=ax, size=(6.0, 4.0))
    family = check.design.family
    if family.is_categorical:
        _draw_categories(axes[0], check)
    elif family.is_count:
        _draw_counts(axes[0], check)
    else:
        _draw_curves(axes[0], check)
    style.legend(axes, ax=ax)
    return figure


def _draw_curves(ax: Any, check: PredictiveCheck) -> None:
    for i, y in enumerate(_some(check.y_rep)):
        label = f"{min(len(check.y_rep), CURVES)} {_replicates(check)}" if i == 0 else None
        ax.plot(*style.density(y), color=REPLICATES, lw=0.6, alpha=0.35, label=label)
    ax.plot(*style.density(check.y), color=DATA, lw=1.8, label="data")
    ax.set_ylim(bottom=0.0)
    ax.set_yticks([])
    style.clean(ax, xlabel=_response(check), ylabel="density")


def _some(y_rep: Array) -> Array:
    """Some data sets, spread over all of them."""
    return y_rep[np.linspace(0, len(y_rep) - 1, min(len(y_rep), CURVES)).astype(int)]


def _draw_categories(ax: Any, check: PredictiveCheck) -> None:
    levels = check.design.levels or (0, 1)
    values = scores(levels) if check.design.family.has_categories else np.arange(2.0)
    _draw_frequencies(ax, check, values, lambda rows: rows / len(check.y))
    ax.set_xticks(values, [style.as_is(style.short(level)) for level in levels])
    style.clean(ax, xlabel=_response(check), ylabel="share of rows")


def _draw_counts(ax: Any, check: PredictiveCheck) -> None:
    """Roots of frequencies, which vary about equally, up to a count that few data sets exceed."""
    top = max(np.quantile(check.y, MOST_COUNTS), np.quantile(check.y_rep, MOST_COUNTS))
    values = np.arange(0.0, np.ceil(top) + 1.0)
    _draw_frequencies(ax, check, values, np.sqrt)
    ticks = np.array([0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 144, 225, 400, 625, 900, 1600, 2500, 4900, 10_000])
    ticks = ticks[np.sqrt(ticks) <= ax.get_ylim()[1]]
    ax.set_yticks(np.sqrt(ticks), [f"{tick:,}" for tick in ticks])
    beyond = int((check.y > values[-1]).sum())
    suffix = f" ({beyond} larger not shown)" if beyond else ""
    style.clean(ax, xlabel=f"{_response(check)}{suffix}", ylabel="rows (square-root scale)")


def _draw_frequencies(ax: Any, check: PredictiveCheck, values: Array, scale: Callable[[Array], Array]) -> None:
    """How often values come up: bars of the data, dots with intervals of the data sets."""
    tail = (1.0 - check.ci_prob) / 2.0
    rows = np.column_stack([(check.y_rep == value).sum(axis=1) for value in values])
    low, middle, high = scale(np.quantile(rows, [tail, 0.5, 1.0 - tail], axis=0))
    observed = scale(np.array([(check.y == value).sum() for value in values]))
    ax.bar(values, observed, width=0.75, color=style.ENVELOPE, label="data")
    ax.vlines(values, low, high, color=REPLICATES, lw=1.8 if len(values) <= MANY_VALUES else 0.8)
    ax.plot(
        values,
        middle,
        "o",
        ms=4 if len(values) <= MANY_VALUES else 2,
        color=REPLICATES,
        label=f"{_replicates(check)}: median, {percent(check.ci_prob)} interval",
    )


# -- statistics


def _statistics(check: PredictiveCheck, stat: Any, ax: Any, figsize: Any) -> Any:
    rows = _chosen(check.table[check.table["level"].isna()], stat, "stat")
    figure, axes = style.new_figure(len(rows), figsize=figsize, ax=ax, size=(3.1, 2.3))
    for panel, (i, row) in zip(axes, rows.iterrows(), strict=True):
        _draw_statistic(panel, check, check.replicates[:, i], row)
    style.legend(axes, ax=ax)
    return figure


def _draw_statistic(ax: Any, check: PredictiveCheck, drawn: Array, row: pd.Series) -> None:
    outside = row["p_two_sided"] < 1.0 - check.ci_prob
    drawn = drawn[np.isfinite(drawn)]
    ax.hist(drawn, bins=_bins(drawn), color=REPLICATES, alpha=0.45, label=_replicates(check))
    if np.isfinite(row["observed"]):
        ax.axvline(row["observed"], color=DATA, lw=1.8, label="data")
    ax.set_yticks([])
    style.clean(ax, title=label_of(row), xlabel=f"p {share(row['p_value'], len(check.replicates), sign=True)}")
    if outside:
        ax.xaxis.label.set_color(OUTSIDE)


def _bins(drawn: Array) -> Any:
    """One bin a value where these are few and lie on a grid, such as counts; else 25."""
    values = np.unique(drawn)
    if len(values) > 1:
        step = np.diff(values).min()
        places = (values - values[0]) / step
        if places[-1] <= MANY_VALUES and np.allclose(places, np.rint(places)):
            return values[0] + step * (np.arange(np.rint(places[-1]) + 2) - 0.5)
    return 25


def _chosen(rows: pd.DataFrame, stat: Any, kind: str) -> pd.DataFrame:
    """The rows of these statistics, by their names or labels."""
    if stat is not None:
        names = [stat] if isinstance(stat, str) else list(stat)
        unknown = [name for name in names if name not in {*rows["stat"], *map(label_of, _rows(rows))}]
        if unknown:
            present = ", ".join(dict.fromkeys(map(repr, rows["stat"]))) or "none of this kind"
            raise InputError(f"plot_ppc(stat={unknown[0]!r}): the check has {present}")
        rows = rows[[row["stat"] in names or label_of(row) in names for row in _rows(rows)]]
    if rows.empty:
        remedy = "run ppc(..., by=...)" if kind == "by" else "name statistics: ppc(fit, ['mean', 'sd'])"
        raise InputError(f"plot_ppc(kind={kind!r}): the check has no statistic of this kind; {remedy}")
    return rows


def _rows(frame: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in frame.iterrows()]


# -- levels


def _levels(check: PredictiveCheck, stat: Any, ax: Any, figsize: Any) -> Any:
    rows = _chosen(check.table[check.table["level"].notna()], stat, "by")
    names = list(dict.fromkeys(rows["stat"]))
    largest = int(rows.groupby("stat")["level"].size().max())
    height = min(max(2.4, 0.9 + 0.22 * largest), 8.0)
    width = 6.0 if len(names) == 1 else 4.4  # as wide as the legend
    figure, axes = style.new_figure(len(names), figsize=figsize, ax=ax, size=(width, height))
    for panel, name in zip(axes, names, strict=True):
        _draw_levels(panel, check, rows[rows["stat"] == name])
    style.legend(axes, ax=ax)
    return figure


def _draw_levels(ax: Any, check: PredictiveCheck, rows: pd.DataFrame) -> None:
    """Levels in the order of their expected values, the highest on top."""
    rows = rows[rows["p_two_sided"].notna()].sort_values("median", kind="stable")
    positions, outside = np.arange(len(rows)), (rows["p_two_sided"] < 1.0 - check.ci_prob).to_numpy()
    thin = len(rows) > style.MOST_LABELS
    ax.hlines(
        positions,
        rows["conf_low"],
        rows["conf_high"],
        color=REPLICATES,
        lw=1.0 if thin else 3.0,
        alpha=0.45,
        label=f"{_replicates(check)}, {percent(check.ci_prob)}",
    )
    size = 3 if thin else 5
    observed = rows["observed"].to_numpy()
    ax.plot(observed[~outside], positions[~outside], "o", ms=size, color=DATA, label="data, inside")
    ax.plot(observed[outside], positions[outside], "D", ms=size + 1, color=OUTSIDE, label="data, outside", zorder=3)
    group = str(rows["group"].iloc[0])
    counts = check.counts[(check.counts["stat"] == rows["stat"].iloc[0])].iloc[0]
    title = f"{rows['stat'].iloc[0]}: {counts['outside']} of {len(rows)} outside ({counts['mean']:.1f} expected)"
    if thin:
        ax.set_yticks([])
        style.clean(ax, title=title, ylabel=f"{len(rows)} levels of {group}, by expected value")
    else:
        style.label_levels(ax, rows["level"].tolist())
        style.clean(ax, title=title, ylabel=group)
    ax.set_ylim(-1.0, len(rows))
    ax.set_xlabel(style.as_is(f"{rows['stat'].iloc[0]} of {_response(check)}"), fontsize=style.LABEL)


# -- probability integral transform


def _pit(check: PredictiveCheck, stat: Any, ax: Any, figsize: Any) -> Any:
    from arviz_plots import plot_ppc_pit

    if ax is not None:
        raise InputError("plot_ppc(kind='pit', ax=...): ArviZ draws this one on a figure of its own; leave ax out")
    if check.design.family.is_categorical:
        raise NotAvailableError(
            "plot_ppc(kind='pit'): where a category lies among categories says little; see kind='density'"
        )
    tree = check.to_datatree()
    group = next(name for name in tree.children if name != "observed_data")
    size = {"figsize": figsize or (6.0, 4.0), "layout": "constrained"}
    tree["posterior_predictive"] = tree[group]  # of priors ArviZ warns; it is meant
    collection = plot_ppc_pit(tree, group="posterior_predictive", backend="matplotlib", figure_kwargs=size)
    figure = style.as_picture(collection.viz["figure"].item())
    for panel in figure.axes:
        panel.set_title("")  # ArviZ's, in the middle
        style.clean(panel, title=f"{_response(check)} among its {_replicates(check)}", xlabel="PIT")
    return figure
