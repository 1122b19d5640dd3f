"""Forests: the parameters of several fits beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..model_comparison.names import names_of
from ..results import wald
from ..results.fit import Fit
from ..results.point import PointFit
from ..tools.words import is_one_of
from . import style

METHODS = ("profile", "wald")
ENDS = ["low", "low_inner", "high_inner", "high"]


def plot_estimates(
    *fits: Fit,
    names: Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
    intercept: bool = False,
    random: bool = True,
    method: str = "profile",
    ddf: str | None = wald.DDF,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Fixed effects and standard deviations of one or several fits with 50 and 95 % intervals.

    Parameters
    ----------
    *fits : PointFit or PosteriorFit
        REML beside a posterior of the same model, or several models, of one response.
    names : sequence of str, optional
        What the legend calls the fits; by default the kind of fit, or the formula where these are equal.
    terms : str or sequence of str, optional
        Parameters to draw, such as ``"ses"`` or ``"sd(ses | school)"``; all by default.
    intercept : bool
        Whether to draw the intercept, which is often far from all else.
    random : bool
        Whether to draw a panel of sds and one of correlations beside the fixed effects.
    method : {"profile", "wald"}
        Intervals of point fits: by the profile likelihood, or ± t standard errors of fixed effects, and none of others.
    ddf : {"satterthwaite", "kenward-roger", None}
        Degrees of freedom of Wald intervals; None for z.
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
        No fits, of different responses, no such parameter, or another method.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> figure = blm.plot_estimates(model.fit_reml(), model.fit(random_seed=1))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['REML', 'posterior']
    """
    if not fits:
        raise InputError("plot_estimates(): one or more fits are needed, such as plot_estimates(reml, post)")
    for fit in fits:
        style.check_fit(fit, "plot_estimates")
    if not is_one_of(method, METHODS):
        raise InputError(f"plot_estimates(method={method!r}): method is 'profile' or 'wald'")
    responses = {fit.design.response for fit in fits}
    if len(responses) > 1:
        raise InputError(f"plot_estimates: these fits are of different responses: {', '.join(sorted(responses))}")
    titles = names_of(names, _defaults(fits), "plot_estimates")
    tables = [_table(fit, method, ddf) for fit in fits]
    panels = _panels(tables, terms, intercept, random)
    tallest = max(len(parameters) for _, parameters in panels)
    figure, axes = style.new_figure(
        len(panels), figsize=figsize, ax=ax, size=(3.6, 1.3 + (0.22 + 0.13 * len(fits)) * tallest)
    )
    for (title, parameters), panel in zip(panels, axes, strict=True):
        _draw(panel, parameters, tables, titles, fits)
        style.clean(panel, title=title)
    style.legend(axes, ax=ax)
    points = [fit for fit in fits if isinstance(fit, PointFit)]
    methods_of_points = dict.fromkeys(
        "profile likelihood" if method == "profile" else f"Wald, {wald.caption(point.design, point.solution, ddf)}"
        for point in points
    )
    methods = f"; of point fits {', '.join(methods_of_points)}" if points else ""
    style.note(figure, f"50 and 95 % intervals{methods}", ax=ax)
    return figure


def _defaults(fits: Sequence[Fit]) -> list[str]:
    kinds = [style.name_of(fit) for fit in fits]
    if len(set(kinds)) == len(kinds):
        return kinds
    formulas = [fit.design.described for fit in fits]
    if len(set(formulas)) == len(formulas):
        return formulas
    both = [f"{formula}, {kind}" for formula, kind in zip(formulas, kinds, strict=True)]
    return both if len(set(both)) == len(both) else [f"{k + 1}: {text}" for k, text in enumerate(both)]


def _table(fit: Fit, method: str, ddf: str | None) -> pd.DataFrame:
    """Index name; columns kind (of the panel), estimate and the ends of both intervals."""
    if isinstance(fit, PointFit):
        inner, outer = (_point(fit, method, ddf, prob) for prob in (style.INNER, style.OUTER))
    else:
        inner, outer = (fit.confint(ci_prob=prob) for prob in (style.INNER, style.OUTER))
    keys = list(outer[["effect", "term"]].itertuples(index=False, name=None))
    columns = {
        "kind": [_kind(effect, term) for effect, term in keys],
        "estimate": outer["estimate"].to_numpy(),
        "low": outer["conf_low"].to_numpy(),
        "low_inner": inner["conf_low"].to_numpy(),
        "high_inner": inner["conf_high"].to_numpy(),
        "high": outer["conf_high"].to_numpy(),
    }
    return pd.DataFrame(columns, index=pd.Index(style.parameter_names(fit.design, outer), name="parameter"))


def _kind(effect: str, term: str) -> str:
    if effect != "ran_pars":
        return "Fixed effects" if effect == "fixed" else "Family"
    return "Standard deviations" if term.startswith("sd__") else "Correlations"


def _point(fit: PointFit, method: str, ddf: str | None, prob: float) -> pd.DataFrame:
    """All parameters with the intervals that there are."""
    keys = ["effect", "group", "term"]
    every = fit.tidy(ddf=ddf).reindex(columns=[*keys, "estimate"]).fillna({"group": ""})
    intervals = fit.confint(method, ci_prob=prob, ddf=ddf, progressbar=False).fillna({"group": ""})
    return every.merge(intervals[[*keys, "conf_low", "conf_high"]], on=keys, how="left")


def _panels(
    tables: Sequence[pd.DataFrame], terms: str | Sequence[str] | None, intercept: bool, random: bool
) -> list[tuple[str, list[str]]]:
    """Title and parameters of each panel, in the order in which the fits have them."""
    kinds: dict[str, str] = {}
    for table in tables:
        kinds |= {name: kind for name, kind in table["kind"].items() if name not in kinds}
    if terms is not None:
        parameters = style.chosen("parameter", terms, list(kinds))
    else:
        parameters = [name for name, kind in kinds.items() if random or kind == "Fixed effects"]
        slopes = [name for name in parameters if intercept or name != "Intercept"]
        parameters = slopes if any(kinds[name] == "Fixed effects" for name in slopes) else parameters
    order = ("Fixed effects", "Standard deviations", "Correlations", "Family")
    panels = [(kind, [name for name in parameters if kinds[name] == kind]) for kind in order]
    return [(kind, of_kind) for kind, of_kind in panels if of_kind]


def _draw(
    ax: Any, parameters: Sequence[str], tables: Sequence[pd.DataFrame], titles: Sequence[str], fits: Sequence[Fit]
) -> None:
    rows = np.arange(len(parameters), dtype=float)[::-1]
    step = 0.62 / len(tables)
    for k, (table, title) in enumerate(zip(tables, titles, strict=True)):
        estimates = table.reindex(parameters)
        positions = rows + step * ((len(tables) - 1) / 2.0 - k)
        colour = _colour(fits, k)
        low, low_inner, high_inner, high = estimates[ENDS].to_numpy(dtype=float).T
        ax.hlines(positions, low, high, color=colour, lw=1.2)
        ax.hlines(positions, low_inner, high_inner, color=colour, lw=3.2)
        ax.plot(
            estimates["estimate"],
            positions,
            ls="",
            marker="os^Dv"[k % 5],
            ms=6,
            color=colour,
            mec="white",
            mew=0.7,
            label=title,
        )
    ax.axvline(0.0, color=style.GREY, lw=0.8, zorder=0)
    ax.set_yticks(rows, [style.as_is(style.short(name, 34)) for name in parameters])
    ax.set_ylim(-0.6, len(parameters) - 0.4)
    ax.tick_params(axis="y", length=0)


def _colour(fits: Sequence[Fit], k: int) -> str:
    """Black and blue for a point fit and a posterior, the palette for several of a kind."""
    if len(fits) <= 2 and len({isinstance(fit, PointFit) for fit in fits}) == len(fits):
        return style.POINT if isinstance(fits[k], PointFit) else style.POSTERIOR
    return style.CYCLE[k % len(style.CYCLE)]
