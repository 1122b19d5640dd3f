"""Meta-analyses: a forest of studies with their estimates, shrunk estimates and the pooled mean; a funnel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError
from ..results.fit import Fit
from ..results.heterogeneity import averages, weights_of
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.lazy import special
from ..tools.words import is_one_of
from . import style

ORDERS = ("data", "estimate", "precision")
MOST_STUDIES = 120  # that a picture can hold with a line each
ALTERNATIVE = 0.99  # of the outer region of a funnel


def plot_forest(
    fit: Fit,
    *,
    labels: Any = None,
    order: str = "data",
    numbers: bool = True,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Studies with their 95 % intervals, what the model makes of each, the pooled mean and a prediction interval.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Of a model with known standard errors, ``Model(..., se=...)``.
    labels : str or sequence, optional
        Names of the studies: a column of the rows, or one name a row. By default the levels of the factor with most
        levels.
    order : {"data", "estimate", "precision"}
        From top to bottom: as in the data, by rising estimate, the most precise first.
    numbers : bool
        Whether to write estimates and intervals beside the picture.
    figsize : (float, float), optional
        Inches.
    ax : Axes, optional
        Where to draw instead.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    NotAvailableError
        The standard errors are not known.
    InputError
        Another order, labels that are none, or more than 120 studies.

    Notes
    -----
    Squares are the estimates of the studies themselves, in area proportional to their weight 1/(se² + τ²), with normal
    intervals; dots are their true effects as the model shrinks them (conditional modes, or posterior means). The
    diamond is the mean effect with its interval, at average predictors where there are some; the line below it the
    interval of the true effect of a new study.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.Model("y ~ 1 + (1 | trial)", blm.load_dataset("bcg"), se="se").fit_reml()
    >>> figure = blm.plot_forest(fit)
    >>> figure.axes[0].get_xlabel()
    'y'
    """
    style.check_fit(fit, "plot_forest")
    assert isinstance(fit, PointFit | PosteriorFit)
    design = fit.design
    w = weights_of(design, "plot_forest")
    if not is_one_of(order, ORDERS):
        raise InputError(f"plot_forest(order={order!r}): studies are ordered by {', '.join(map(repr, ORDERS))}")
    if design.n > MOST_STUDIES:
        raise InputError(
            f"plot_forest: {design.n:,} rows are more than a picture can show, {MOST_STUDIES} at most; plot_ranef "
            "draws the effects of many levels, plot_funnel all rows"
        )
    names = _names(fit, labels)
    se, z = w**-0.5, float(special.ndtri(0.5 + style.OUTER / 2.0))
    intervals = np.column_stack([design.y, design.y - z * se, design.y + z * se])
    shrunk = _shrunk(fit)
    mean = averages(fit, style.OUTER)
    down = {"data": np.arange(design.n), "estimate": np.argsort(design.y), "precision": np.argsort(se)}[order]
    n = design.n
    height = 0.27 * (n + 3) + 1.0
    figure, (panel,) = style.new_figure(figsize=figsize, ax=ax, size=(7.6 if numbers else 5.6, height))
    positions = np.arange(n, 0, -1) + 1.6  # below: the mean at 1, a new study at 0
    size = 1.0 / (se**2 + _between(fit))
    panel.axvline(mean.value.iloc[0], color=style.LINE, lw=0.9, ls="--", zorder=0)
    panel.hlines(positions, intervals[down, 1], intervals[down, 2], color=style.DATA, lw=1.1, zorder=1)
    areas = 12.0 + 60.0 * size[down] / size.max()
    panel.scatter(intervals[down, 0], positions, s=areas, marker="s", color=style.DATA, lw=0.0, zorder=2, label="study")
    if design.groups:
        low, high = shrunk[down, 1], shrunk[down, 2]
        panel.hlines(positions - 0.27, low, high, color=style.PARTIAL, lw=1.1, alpha=0.8, zorder=3)
        panel.plot(
            shrunk[down, 0], positions - 0.27, "o", ms=4.0, color=style.PARTIAL, zorder=4, label="as the model has it"
        )
    value, low, high = mean.iloc[0]
    panel.fill([low, value, high, value], [1.0, 1.28, 1.0, 0.72], color=style.COMPLETE, lw=0.0, label="mean effect")
    rows = [*names[down], _mean_in_words(fit)]
    places = [*positions, 1.0]
    if design.groups:
        panel.hlines(0.0, *mean.iloc[1, 1:], color=style.NEW_GROUP, lw=2.4, label="new study, true effect")
        rows, places = [*rows, "new study"], [*places, 0.0]
    left, right = panel.get_xlim()
    if left < 0.0 < right:
        panel.axvline(0.0, color=style.LINE, lw=0.8, zorder=0)
    panel.axhline(1.9, color=style.LINE, lw=0.8)
    panel.set_yticks(places, [style.as_is(style.short(str(row), 34)) for row in rows])
    panel.set_ylim(-0.7, n + 2.3)
    style.clean(panel, xlabel=style.as_is(design.response))
    if numbers:
        written = np.vstack([intervals[down], mean.to_numpy()[: 2 if design.groups else 1]])
        _write_numbers(panel, places, written)
    style.legend([panel], ax=ax)
    middle = style.name_of(fit) if isinstance(fit, PointFit) else "Posterior"
    style.note(figure, f"{middle}; 95 % intervals", ax=ax)
    return figure


def plot_funnel(fit: Fit, *, figsize: tuple[float, float] | None = None, ax: Any = None) -> Any:
    """Estimates of the studies against their standard errors, with the region in which chance alone puts 95 and 99 %.

    Gaps on one side of the lower part hint at studies that were not published, but also at effects that differ with the
    size of a study. The region is that of sampling error around the mean effect (Sterne & Egger 2001); with predictors
    what is drawn are residuals from the fixed part, around zero.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Of a model with known standard errors.
    figsize : (float, float), optional
        Inches.
    ax : Axes, optional
        Where to draw instead.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    NotAvailableError
        The standard errors are not known.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.Model("y ~ 1 + (1 | trial)", blm.load_dataset("bcg"), se="se").fit_reml()
    >>> blm.plot_funnel(fit).axes[0].get_ylabel()
    'standard error'
    """
    style.check_fit(fit, "plot_funnel")
    assert isinstance(fit, PointFit | PosteriorFit)
    design = fit.design
    se = weights_of(design, "plot_funnel") ** -0.5
    has_predictors = any(name != "Intercept" for name in design.x_names)
    if has_predictors:
        beta = fit.solution.beta if isinstance(fit, PointFit) else fit.values.beta.mean(axis=(0, 1))
        x, middle, xlabel = design.y - design.X @ beta - design.offset, 0.0, "residual from the fixed part"
    else:
        x, middle, xlabel = design.y, float(averages(fit, style.OUTER).value.iloc[0]), design.response
    figure, (panel,) = style.new_figure(figsize=figsize, ax=ax, size=(5.2, 4.4))
    largest = 1.05 * float(se.max())
    for prob, colour in ((ALTERNATIVE, "#EEEEEE"), (style.OUTER, style.ENVELOPE)):
        half = float(special.ndtri(0.5 + prob / 2.0)) * largest
        panel.fill(
            [middle - half, middle, middle + half],
            [largest, 0.0, largest],
            color=colour,
            lw=0.0,
            zorder=0,
            label=f"{prob:.0%} by sampling error alone",
        )
    panel.plot([middle, middle], [0.0, largest], color=style.COMPLETE, lw=1.1, zorder=1)
    panel.plot(x, se, "o", ms=5.0, color=style.DATA, mec="white", mew=0.6, zorder=2)
    panel.set_ylim(largest, 0.0)
    style.clean(panel, xlabel=style.as_is(xlabel), ylabel="standard error")
    style.legend([panel], ax=ax)
    outside = int(np.sum(np.abs(x - middle) > float(special.ndtri(0.5 + style.OUTER / 2.0)) * se))
    style.note(figure, f"{outside} of {design.n:,} rows lie outside the 95 % region", ax=ax)
    return figure


def _names(fit: Fit, labels: Any) -> NDArray[Any]:
    """What the rows are called."""
    design = fit.design
    if labels is None:
        if not design.groups:
            return np.array([str(label) for label in design.index], dtype=object)
        single = [
            (group.levels, codes)
            for group in design.groups
            if (codes := group.only_level if isinstance(group, WideTerm) else group.codes) is not None
        ]
        if not single:  # a row belongs to several
            return np.array([str(label) for label in design.index], dtype=object)
        levels, codes = max(single, key=lambda each: len(np.unique(each[1])))
        return np.array([str(levels[code]) for code in codes], dtype=object)
    if isinstance(labels, str):
        table = getattr(getattr(fit, "origin", None), "data", None)
        source = design.frame if labels in design.frame else table
        if not isinstance(source, pd.DataFrame) or labels not in source:
            raise InputError(
                f"plot_forest(labels={labels!r}): the rows of the fit have no such column; give one name a row"
            )
        labels = source[labels].loc[design.index] if source is not design.frame else source[labels]
    names = np.array([str(label) for label in labels], dtype=object)
    if len(names) != design.n:
        raise InputError(f"plot_forest(labels=...): {len(names):,} names for {design.n:,} rows of the fit")
    return names


def _shrunk(fit: Fit) -> Array:
    """The true effect of every row as the model has it: value, low, high (n, 3)."""
    if isinstance(fit, PointFit):
        table = fit.predict(interval="plug-in", ci_prob=style.OUTER)
        return table[["estimate", "conf_low", "conf_high"]].to_numpy(dtype=float)
    table = fit.predict(ci_prob=style.OUTER)
    return table[["mean", "conf_low", "conf_high"]].to_numpy(dtype=float)


def _between(fit: PointFit | PosteriorFit) -> float:
    """τ², that all factors make together."""
    table = fit.heterogeneity()
    value = "estimate" if "estimate" in table else "mean"
    taus = table.loc[table["quantity"] == "tau2", value]
    return float(taus.iloc[-1]) if len(taus) else 0.0


def _mean_in_words(fit: Fit) -> str:
    return "mean effect" if set(fit.design.x_names) <= {"Intercept"} else "mean, average predictors"


def _write_numbers(ax: Any, places: Any, written: Array) -> None:
    """Estimates and intervals in a column on the right."""
    digits = int(np.clip(1 - np.floor(np.log10(max(float(np.abs(written).max()), 1e-300) / 5.0)), 0, 6))

    def written_out(value: float) -> str:
        return f"{value:.{digits}f}" if round(value, digits) else f"{0.0:.{digits}f}"

    for place, (value, low, high) in zip(places, written, strict=True):
        text = f"{written_out(value)} [{written_out(low)}, {written_out(high)}]"
        ax.text(
            1.02,
            place,
            text,
            transform=ax.get_yaxis_transform(),
            va="center",
            ha="left",
            fontsize=style.TICK,
            color=style.NOTE,
            clip_on=False,
        )
