"""Variances and what follows from them: posterior, prior, and the mark of a REML fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design
from ..errors import InputError, RefusedVerbError
from ..results import quantities
from ..results.fit import Fit
from ..results.parameter_draws import parameter_draws
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.variance import RESIDUAL, row_of
from ..tools.arrays import Array
from ..tools.words import is_one_of
from . import style
from .densities import draw_density, from_priors, limits_of, limits_of_both

QUANTITIES = ("sd", "variance", "cor", "share")
MOST_PANELS = 12


def plot_variance(
    fit: Fit,
    *,
    point: PointFit | None = None,
    quantity: str = "sd",
    prior: bool = True,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Sds, variances, correlations or shares of the total: posterior, prior and the mark of a REML fit.

    Parameters
    ----------
    fit : PosteriorFit or PointFit
        A posterior has a panel for each number: its density, the 50 and 95 % intervals below it, and the prior. A point
        fit has one panel of estimates, of sds, variances and correlations with 95 % profile intervals.
    point : PointFit, optional
        The REML or ML fit of the same model, drawn as a line through the posterior.
    quantity : {"sd", "variance", "cor", "share"}
        What to draw.
    prior : bool
        Whether to draw the prior where it is proper.
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
        Another quantity, one that the model has not, or a point fit of another model.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    >>> figure = blm.plot_variance(model.fit(random_seed=1), point=model.fit_reml())
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['sd(Intercept | Batch)', 'sd(Residual)']
    """
    style.check_fit(fit, "plot_variance")
    if not is_one_of(quantity, QUANTITIES):
        raise InputError(f"plot_variance(quantity={quantity!r}): it is {', '.join(map(repr, QUANTITIES))}")
    fit.design.refuse_nominal("plot_variance", "plot_estimates and plot_prior_posterior draw the sds of all categories")
    components = quantities.components(fit.design, fit.values)
    of_quantity = (components.labels["quantity"] == quantity).to_numpy()
    if not of_quantity.any():
        raise InputError(f"plot_variance(quantity={quantity!r}): the model has none")
    names = [
        _name(quantity, group, term) for group, term in components.labels.loc[of_quantity, ["group", "term"]].to_numpy()
    ]
    if isinstance(fit, PointFit):
        _no_point(point)
        ends = _profile_ends(fit, quantity, len(names))
        return _estimates(fit, names, components.of(fit.values)[of_quantity], ends, quantity, figsize, ax)
    assert isinstance(fit, PosteriorFit)
    return _densities(
        fit, names, components, of_quantity, point, prior, figsize, ax, lower=None if quantity == "cor" else 0.0
    )


def plot_icc(
    fit: Fit,
    *,
    at: Mapping[str, Sequence[Any]] | str | None = None,
    point: PointFit | None = None,
    prior: bool = True,
    bootstrap: int = 0,
    random_seed: int | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Intraclass correlations: posterior densities with the prior and the mark of a REML fit, or a curve.

    Parameters
    ----------
    fit : PosteriorFit or PointFit
    at : str or mapping, optional
        The name of a variable with random slopes for the ICC as a curve over its range, or its values.
    point : PointFit, optional
        The REML or ML fit of the same model, drawn as a line.
    prior : bool
        Whether to draw what proper priors imply.
    bootstrap, random_seed : int, optional
        Of a point fit: simulated data sets for 95 % intervals, 0 for none.
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
        ``at`` is no variable of the model, or has several; a point fit of another model.
    NotAvailableError
        The model has no random effects, or its family no residual variance.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> blm.plot_icc(fit, at="Days").axes[0].get_xlabel()
    'Days'
    """
    style.check_fit(fit, "plot_icc")
    boot: dict[str, Any] = {}
    if isinstance(fit, PointFit):
        _no_point(point)
        boot = {"bootstrap": bootstrap, "random_seed": random_seed, "progressbar": False}
    elif bootstrap:
        raise InputError("plot_icc(bootstrap=...): a posterior has its draws; the bootstrap is of a point fit")
    if at is not None:
        return _curves(fit, at, point, boot, figsize, ax)
    ratios = quantities.icc(fit.design, None, True)
    names = ratios.labels["icc"].tolist()
    design = fit.design
    several = len(design.groups) > 1
    constant_mean = set(design.x_names) <= {"Intercept"} and not np.any(design.offset)  # the mean does not vary
    left_out = {"unadjusted"} if constant_mean else set()
    if not several:
        left_out |= set(names) - {"adjusted", "unadjusted"}  # one factor: it is adjusted
    is_shown = np.array([name not in left_out for name in names])
    shown = [f"ICC, {name}" for name, has_row in zip(names, is_shown, strict=True) if has_row]
    if isinstance(fit, PointFit):
        table = fit.icc(**boot)[is_shown]
        ends = table[["conf_low", "conf_high"]].to_numpy() if bootstrap else None
        return _estimates(fit, shown, table["estimate"].to_numpy(), ends, "intraclass correlation", figsize, ax)
    assert isinstance(fit, PosteriorFit)
    return _densities(fit, shown, ratios, is_shown, point, prior, figsize, ax, lower=0.0, upper=1.0)


def plot_prior_posterior(
    fit: PosteriorFit,
    *,
    terms: str | Sequence[str] | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Prior and posterior of each parameter on one axis: how much was learned from the data.

    The axis holds the whole posterior and the middle 90 % of the prior, which is cut at twelve posterior sds on either
    side where the posterior would be a spike otherwise.

    Parameters
    ----------
    fit : PosteriorFit
    terms : str or sequence of str, optional
        Parameters as the titles call them, such as ``"ses"`` or ``"sd(Intercept | school)"``; the first twelve by
        default.
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
        No such parameter, or no posterior.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
    >>> len(blm.plot_prior_posterior(post).axes)
    3
    """
    style.check_fit(fit, "plot_prior_posterior")
    if isinstance(fit, PointFit):
        raise RefusedVerbError("plot_prior_posterior: a point fit has no priors; model.fit() gives a posterior")
    names, draws = _parameters(fit)
    parameters = names[:MOST_PANELS] if terms is None else style.chosen("parameter", terms, names)
    before = from_priors(fit)
    prior = None if before is None else _parameters(before)[1]
    figure, axes = style.new_figure(len(parameters), figsize=figsize, ax=ax, size=(3.4, 2.4))
    for name, panel in zip(parameters, axes, strict=True):
        k = names.index(name)
        posterior, prior_of_it = draws[:, k], None if prior is None else prior[:, k]
        draw_density(panel, posterior, prior_of_it, None, limits_of_both(posterior, prior_of_it))
        style.clean(panel, title=style.short(name, 36))
    left_out = style.of_many(len(parameters), len(names), "parameters") if terms is None else ""
    _finish(figure, axes, ax, [left_out, _no_prior(before)])
    return figure


# -- what is drawn


def _parameters(fit: PosteriorFit) -> tuple[list[str], Array]:
    """Names and draws (S, k) of all parameters but the random effects."""
    labels, draws = parameter_draws(fit)
    return style.parameter_names(fit.design, labels), draws.reshape(-1, draws.shape[-1])


def _name(quantity: str, group: str, term: str) -> str:
    if quantity == "share":
        return f"share of {group}"
    return f"{quantity}({term} | {group})" if term else f"{quantity}({group})"


def _no_prior(before: PosteriorFit | None) -> str:
    return "flat priors cannot be drawn" if before is None else ""


def _no_point(point: PointFit | None) -> None:
    if point is not None:
        raise InputError("point=...: the mark of a point fit belongs to the picture of a posterior")


def _check_same(design: Design, point: PointFit) -> None:
    if not isinstance(point, PointFit):
        raise InputError(f"point=...: a REML or ML fit, not {type(point).__name__}")
    if (design.formula.text, design.n) != (point.design.formula.text, point.design.n):
        raise InputError(
            f"point=...: a fit of another model, {point.design.formula.text!r} on {point.design.n:,} rows; the "
            f"posterior is of {design.formula.text!r} on {design.n:,}"
        )


# -- panels


def _densities(
    fit: PosteriorFit,
    names: Sequence[str],
    quantity: quantities.Quantity,
    is_shown: NDArray[np.bool_],
    point: PointFit | None,
    prior: bool,
    figsize: tuple[float, float] | None,
    ax: Any,
    *,
    lower: float | None,
    upper: float | None = None,
) -> Any:
    """A panel for each number that is not a constant."""
    draws = quantity.of(fit.values)[..., is_shown].reshape(-1, int(is_shown.sum()))
    marks = None
    if point is not None:
        _check_same(fit.design, point)
        marks = quantity.of(point.values)[is_shown]
    before = from_priors(fit) if prior else None
    implied = None if before is None else quantity.of(before.values)[..., is_shown].reshape(-1, int(is_shown.sum()))
    varies = np.flatnonzero(np.ptp(draws, axis=0) > 1e-9 * np.abs(draws).max(axis=0))
    figure, axes = style.new_figure(len(varies), figsize=figsize, ax=ax, size=(3.4, 2.4))
    for vary, panel in zip(varies.tolist(), axes, strict=True):
        mark = None if marks is None else float(marks[vary])
        limits = limits_of(draws[:, vary], mark, lower, upper)
        draw_density(panel, draws[:, vary], None if implied is None else implied[:, vary], mark, limits)
        if point is not None and mark is not None:
            panel.get_lines()[-1].set_label(style.name_of(point))
        style.clean(panel, title=style.short(names[vary], 36))
    _finish(figure, axes, ax, [_no_prior(before) if prior else ""])
    return figure


def _finish(figure: Any, axes: Sequence[Any], ax: Any, remarks: Sequence[str]) -> None:
    style.legend(axes, ax=ax)
    style.note(figure, "; ".join(filter(None, ["Mean with 50 and 95 % intervals below", *remarks])), ax=ax)


def _profile_ends(fit: PointFit, quantity: str, count: int) -> Array | None:
    """Ends (k, 2) of 95 % profile intervals of so many components, in their order; None for shares."""
    if quantity == "share":
        return None
    groups = fit.design.groups
    if quantity == "cor":
        keys = [
            (row_of(group.name), f"cor__{group.correlation_label(a, b, '.')}")
            for group in groups
            for a, b in group.correlated
        ]
    else:
        keys = [(row_of(group.name), f"sd__{term}") for group in groups for term in group.sd_terms]
        if len(keys) < count:  # a residual variance, which not every family has on the scale of its link
            keys.append((RESIDUAL, "sd__Observation"))
    table = fit.confint("profile", ci_prob=style.OUTER, progressbar=False).set_index(["group", "term"])
    ends = table.reindex(keys)[
        ["conf_low", "conf_high"]
    ].to_numpy()  # of residuals that follow from others there are none
    return ends**2 if quantity == "variance" else ends


def _estimates(
    fit: PointFit,
    names: Sequence[str],
    values: Array,
    ends: Array | None,
    quantity: str,
    figsize: tuple[float, float] | None,
    ax: Any,
) -> Any:
    """Estimates of a point fit from top to bottom, with intervals where there are some."""
    figure, (panel,) = style.new_figure(figsize=figsize, ax=ax, size=(5.4, 0.36 * len(names) + 1.2))
    positions = np.arange(len(names))[::-1]
    if ends is not None:
        panel.hlines(positions, *ends.T, color=style.POINT, lw=1.2)
    panel.plot(values, positions, "o", color=style.POINT, ms=6)
    panel.axvline(0.0, color=style.LINE, lw=0.8, zorder=0)
    panel.set_yticks(positions, [style.as_is(style.short(name, 36)) for name in names])
    panel.set_ylim(-0.6, len(names) - 0.4)
    style.clean(panel, xlabel=quantity)
    style.note(figure, style.name_of(fit) + ("" if ends is None else " with 95 % intervals"), ax=ax)
    return figure


def _curves(
    fit: Fit,
    at: Mapping[str, Sequence[Any]] | str,
    point: PointFit | None,
    boot: Mapping[str, Any],
    figsize: tuple[float, float] | None,
    ax: Any,
) -> Any:
    """ICC along one variable, a colour for each row of the table that is not along it."""
    x = at if isinstance(at, str) else _only(at)
    table = fit.icc(at=at, **boot)
    figure, (panel,) = style.new_figure(figsize=figsize, ax=ax, size=(5.6, 4.0))
    kinds = table["icc"].to_numpy() if "icc" in table else np.repeat("adjusted", len(table))
    inner = None if isinstance(fit, PointFit) else fit.icc(at=at, ci_prob=style.INNER)
    if point is not None:
        _check_same(fit.design, point)
    marks = None if point is None else point.icc(at=at)["estimate"].to_numpy()
    colours = [style.POINT if inner is None else style.POSTERIOR, *style.CYCLE[1:]]
    for kind, colour in zip(dict.fromkeys(kinds), colours, strict=False):
        of_kind = kinds == kind
        rows, along = table[of_kind], table.loc[of_kind, x].to_numpy()
        if "conf_low" in rows:
            panel.fill_between(along, rows["conf_low"], rows["conf_high"], color=colour, alpha=0.15, lw=0)
        if inner is not None:
            half = inner[of_kind]
            panel.fill_between(along, half["conf_low"], half["conf_high"], color=colour, alpha=0.3, lw=0)
        middle = rows["estimate"] if inner is None else rows["mean"]
        label = style.name_of(fit) if len(set(kinds)) == 1 else style.entry(kind)
        panel.plot(along, middle, color=colour, lw=2.0, label=label)
        if point is not None and marks is not None:
            panel.plot(along, marks[of_kind], color=style.POINT, lw=1.4, ls="--", label=style.name_of(point))
    panel.set_ylim(bottom=0.0, top=min(1.0, panel.get_ylim()[1]))
    style.clean(panel, xlabel=x, ylabel="intraclass correlation")
    style.legend([panel], ax=ax)
    bands = "50 and 95 % intervals" if inner is not None else "95 % bootstrap intervals" if boot["bootstrap"] else ""
    style.note(figure, bands, ax=ax)
    return figure


def _only(at: Mapping[str, Sequence[Any]]) -> str:
    if not isinstance(at, Mapping) or len(at) != 1:
        raise InputError(f"plot_icc(at={at!r}): a curve is along one variable, such as at='x' or at={{'x': [0, 1, 2]}}")
    return next(iter(at))
