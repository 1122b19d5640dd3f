"""Profile zeta plots of a REML or ML fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..results.fit import Fit
from ..results.intervals import quantile
from ..tools.arrays import Array
from . import style

MOST_PANELS = 12


def plot_profile(
    fit: Fit,
    *,
    terms: str | Sequence[str] | None = None,
    progressbar: bool = False,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Profile ζ of every parameter: signed square root of how much the deviance rises when it is held at a value.

    A straight line, as the dashed one, means that ± z standard errors is right; a curve shows how an interval should
    lean. The ends of the 50 and the 95 % profile interval are where ζ is ±0.67 and ±1.96 (grey lines).

    Parameters
    ----------
    fit : PointFit
        Profiles are of the likelihood, whether the fit is by ML or REML.
    terms : str or sequence of str, optional
        Parameters as the titles call them, such as ``"Days"``, ``"sd(Days | Subject)"`` or ``"sigma"``; the first
        twelve by default.
    progressbar : bool
        Whether to show progress.
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
        No such parameter.
    RefusedVerbError
        Of a posterior.

    References
    ----------
    Bates, Mächler, Bolker & Walker (2015), Fitting linear mixed-effects models using lme4, section 5.1.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"), REML=False)
    >>> [ax.get_title(loc="left") for ax in blm.plot_profile(fit).axes]
    ['sd(Intercept | Batch)', 'sigma', 'Intercept']
    """
    style.check_fit(fit, "plot_profile")
    curves = fit.profile(progressbar=progressbar)
    names = np.array(style.parameter_names(fit.design, curves))
    parameters = list(dict.fromkeys(names.tolist()))
    chosen_parameters = parameters[:MOST_PANELS] if terms is None else style.chosen("parameter", terms, parameters)
    figure, axes = style.new_figure(len(chosen_parameters), figsize=figsize, ax=ax, size=(3.2, 2.6), sharey=True)
    for name, panel in zip(chosen_parameters, axes, strict=True):
        curve = curves[names == name]
        _draw(panel, curve["value"].to_numpy(), curve["zeta"].to_numpy())
        first = ax is not None or panel.get_subplotspec().is_first_col()
        style.clean(panel, title=style.short(name, 34), ylabel="ζ" if first else "")
    style.legend(axes, ax=ax)
    if terms is None:
        style.note(figure, style.of_many(len(chosen_parameters), len(parameters), "parameters"), ax=ax)
    return figure


def _draw(ax: Any, value: Array, zeta: Array) -> None:
    """The curve, smooth between the values it is known at, and its tangent at the estimate."""
    from scipy.interpolate import PchipInterpolator

    value, first = np.unique(value, return_index=True)
    zeta = zeta[first]
    smooth = PchipInterpolator(value, zeta)
    estimate = value[np.argmin(np.abs(zeta))]
    along = np.linspace(value[0], value[-1], 201)
    for z in (quantile(style.INNER), quantile(style.OUTER)):
        ax.hlines([-z, z], 0.0, 1.0, transform=ax.get_yaxis_transform(), color=style.LINE, lw=0.7, zorder=0)
    ax.axhline(0.0, color=style.GREY, lw=0.8, zorder=0)
    ax.plot(along, smooth(along), color=style.POSTERIOR, lw=1.8, label="profile")
    if value[0] < estimate:  # inside what is possible: at a variance of zero there is no tangent
        straight = float(smooth(estimate, nu=1)) * (along - estimate)
        seen = np.abs(straight) < np.abs(zeta).max()
        ax.plot(along[seen], straight[seen], color=style.NOTE, lw=1.1, ls="--", label="estimate ± z standard errors")
    ax.plot(estimate, 0.0, "o", ms=5, color=style.POINT)
    ax.locator_params(axis="x", nbins=5)
