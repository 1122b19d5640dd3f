"""A posterior density with its intervals, its prior and a mark; and draws of the priors to put beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..design.priors import Prior
from ..results.posterior import PosteriorFit
from ..results.prior_draws import IMPROPER, prior_draws
from ..tools.arrays import Array
from . import style

SEEN = 0.995  # of the draws lie inside a panel
PRIOR_DRAWS = 20_000
REACH = 12.0  # posterior sds to either side that a prior is drawn for


def from_priors(fit: PosteriorFit) -> PosteriorFit | None:
    """The fit with draws of its priors in place of the posterior's; None if one is improper.

    Without random effects but the coefficients of smooths, which are part of what the fixed effects vary by.
    """
    import xarray as xr

    if any(isinstance(entry.prior, Prior) and entry.prior.name in IMPROPER for entry in fit.priors.entries):
        return None
    smooths = {group.name for group in fit.design.every_group if not group.is_grouping}
    prior_sample = prior_draws(fit.design, fit.priors, draws=PRIOR_DRAWS, random_seed=0, effects_of=smooths)
    variables = {
        name: (("chain", "draw", *(f"{name}_{k}" for k in range(value.ndim - 1))), value[None])
        for name, value in prior_sample.items()
    }
    return replace(fit, idata=xr.DataTree.from_dict({"posterior": xr.Dataset(variables)}))


def limits_of(draws: Array, mark: float | None, lower: float | None, upper: float | None) -> tuple[float, float]:
    """Nearly all draws and the mark; from the end of what is possible where the draws come near it."""
    low, high = np.quantile(draws, [(1.0 - SEEN) / 2.0, (1.0 + SEEN) / 2.0])
    if mark is not None:
        low, high = min(low, mark), max(high, mark)
    width = high - low
    at_end = lower is not None and low - lower < 0.3 * width
    low = low - 0.04 * width if not at_end else lower - 0.02 * width * (mark == lower)  # a mark at the end is seen
    high = upper if upper is not None and upper - high < 0.04 * width else high + 0.04 * width
    return float(low), float(high)


def limits_of_both(after: Array, before: Array | None) -> tuple[float, float]:
    """The posterior, and the middle 90 % of the prior as far as that is not much wider."""
    low, high = after.min(), after.max()
    if before is None:
        return float(low), float(high)
    ends, middle, reach = np.quantile(before, [0.05, 0.95]), after.mean(), REACH * after.std()
    bottom = 0.0 if before.min() >= 0.0 else ends[0]
    return float(min(low, max(bottom, middle - reach))), float(max(high, min(ends[1], middle + reach)))


def draw_density(ax: Any, draws: Array, prior: Array | None, mark: float | None, limits: tuple[float, float]) -> None:
    """Density with its intervals below, the prior and the mark, between two limits."""
    points, height = style.density(draws)
    top = height.max()
    ax.fill_between(points, height, color=style.POSTERIOR, alpha=0.25, lw=0)
    ax.plot(points, height, color=style.POSTERIOR, lw=1.6, label="posterior")
    if prior is not None:
        margin = 0.1 * (limits[1] - limits[0])
        inside = prior[(prior > limits[0] - margin) & (prior < limits[1] + margin)]
        if len(inside) > 1:
            points, height = style.density(inside)
            ax.plot(points, height * len(inside) / len(prior), color=style.PRIOR, lw=1.6, ls="--", label="prior")
    below = -0.07 * top
    for prob, width in ((style.OUTER, 1.2), (style.INNER, 3.2)):
        ends = np.quantile(draws, [0.5 - prob / 2.0, 0.5 + prob / 2.0])
        ax.plot(ends, [below, below], color=style.POSTERIOR, lw=width, solid_capstyle="butt")
    ax.plot(draws.mean(), below, "o", ms=5, color=style.POSTERIOR, mec="white", mew=0.7)
    ax.axhline(0.0, color=style.LINE, lw=0.8, zorder=0)
    if mark is not None:
        ax.axvline(mark, color=style.POINT, lw=1.4)
    ax.set_xlim(*limits)
    ax.set_ylim(2.0 * below, 1.06 * top)
    ax.set_yticks([])
    ax.locator_params(axis="x", nbins=5)
    ax.spines["left"].set_visible(False)
