"""Plans of studies: power, precision and errors along the size of a study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..planning.record import Plan
from ..tools.words import is_one_of
from . import style

WORDS = {
    "power": "power",
    "width": "mean width of the interval",
    "coverage": "coverage",
    "right_sign": "P(right sign)",
    "exaggeration": "exaggeration of significant estimates",
}
MOST_TICKS = 10  # sizes that each have their label
ENOUGH = 0.8  # of a power, as it is asked for by habit


def plot_plan(
    plan: Plan,
    what: str = "power",
    *,
    quantity: str | None = None,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """A number of the studies along their size, with its Monte Carlo interval.

    Parameters
    ----------
    plan : Plan
    what : {"power", "width", "coverage", "right_sign", "exaggeration"}
    quantity : str, optional
        One of the plan's; by default all have a line. With several sizes varied the first runs along the axis and every
        combination of the others has a line.
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
        Not a plan, or a number or quantity that it has not.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> pilot = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> truth = blm.assume(pilot, beta={"Days": 5})
    >>> found = blm.plan(truth, vary={"Subject": [6, 12]}, studies=30, random_seed=1, cores=1, progressbar=False)
    >>> blm.plot_plan(found).axes[0].get_xlabel()
    'Subject'
    """
    if not isinstance(plan, Plan):
        raise InputError(f"plot_plan takes a plan from blm.plan(), not {type(plan).__name__}")
    if not is_one_of(what, WORDS):
        raise InputError(f"plot_plan(what={what!r}): it is one of {', '.join(map(repr, WORDS))}")
    quantities = list(dict.fromkeys(plan.table["quantity"]))
    if quantity is not None and not is_one_of(quantity, quantities):
        raise InputError(f"plot_plan(quantity={quantity!r}): there are {', '.join(map(repr, quantities))}")
    table = plan.table if quantity is None else plan.table[plan.table["quantity"] == quantity]
    figure, (axes,) = style.new_figure(figsize=figsize, ax=ax, size=(5.6, 4.0))
    along, *others = plan.varied
    lines = list(table.groupby(["quantity", *others], sort=False))
    for k, (labels, line) in enumerate(lines):
        line = line.sort_values(along)
        colour = style.CYCLE[k % len(style.CYCLE)]
        low, high = _limits(plan, line, what)
        axes.fill_between(line[along], low, high, color=colour, alpha=0.18, lw=0.0)
        axes.plot(
            line[along], line[what], "o-", ms=4.5, lw=1.4, color=colour, label=_label(plan, labels, len(quantities))
        )
    if what == "power":
        axes.axhline(ENOUGH, color=style.LINE, lw=0.9, ls="--", zorder=0)
        axes.set_ylim(0.0, 1.02)
    sizes = sorted(table[along].unique())
    if len(sizes) <= MOST_TICKS:
        axes.set_xticks(sizes)
    style.clean(axes, xlabel=style.as_is(plan.axes[0].label), ylabel=WORDS[what])
    if len(lines) > 1:
        style.legend([axes], ax=ax)
    style.note(figure, f"{plan.count:,} simulated studies a size; bands: 95 % Monte Carlo intervals", ax=ax)
    return figure


def _label(plan: Plan, labels: tuple[Any, ...], quantities: int) -> str:
    name, *sizes = labels
    words = [axis.words(size) for axis, size in zip(plan.axes[1:], sizes, strict=True)]
    return style.as_is(", ".join([str(name), *words] if quantities > 1 or not words else words))


def _limits(plan: Plan, line: pd.DataFrame, what: str) -> tuple[Any, Any]:
    """95 % Monte Carlo limits of a number of each size."""
    if what == "power":
        return line["power_low"], line["power_high"]
    low, high = [], []
    for _, row in line.iterrows():
        at_size = (plan.studies[list(plan.varied)] == row[list(plan.varied)]).all(axis=1)
        values = _of_studies(plan.studies[at_size & (plan.studies["quantity"] == row["quantity"])], what)
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        low.append(row[what] - half)
        high.append(row[what] + half)
    return low, high


def _of_studies(studies: pd.DataFrame, what: str) -> Any:
    """What the number is the mean of."""
    studies = studies.dropna(subset=["estimate"])
    if what == "width":
        return (studies["conf_high"] - studies["conf_low"]).to_numpy()
    if what == "coverage":
        inside = (studies["conf_low"] <= studies["truth"]) & (studies["truth"] <= studies["conf_high"])
        return inside.to_numpy(dtype=float)
    studies = studies[studies["truth"] != studies["null"]]
    if what == "exaggeration":
        studies = studies[studies["significant"]]
    estimate, effect = studies["estimate"] - studies["null"], studies["truth"] - studies["null"]
    if what == "right_sign":
        return (np.sign(estimate) == np.sign(effect)).to_numpy(dtype=float)
    return (estimate.abs() / effect.abs()).to_numpy()
