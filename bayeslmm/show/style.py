"""What all pictures share: colours that mean one thing each, figures, axes, labels.

Matplotlib is imported inside functions, and only its `Figure`: no pyplot state, no rcParams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..design.names import LOG_RATIO, RHO
from ..errors import InputError
from ..results.fit import Fit
from ..results.point import PointFit
from ..results.variance import RESIDUAL, row_of
from ..tools.arrays import Array
from ..tools.frame import one_line

# Okabe & Ito's palette: told apart by colour-blind readers
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"

NONE, PARTIAL, COMPLETE = GREY, BLUE, VERMILION  # pooling
POSTERIOR, POINT, PRIOR = BLUE, BLACK, PURPLE  # a posterior, the mark of a REML or ML fit, a prior
DATA = "#4D4D4D"  # observations
AVERAGE, NEW_GROUP = BLACK, GREEN  # the group with b = 0; a group not seen before
CURVE = VERMILION  # a smoother through points
ENVELOPE, LINE, NOTE = "#DDDDDD", "#BBBBBB", "#555555"  # what chance does; reference lines; small print
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)  # things without a role of their own

INNER, OUTER = 0.5, 0.95  # probabilities of the thick and the thin interval
MOST_LABELS = 40  # ticks of one axis that can be read
MOST_FACETS = 24  # small panels of one figure that can be read
TITLE, LABEL, TICK = 11, 10, 9  # points
LONGEST = 60  # letters of a title or a label


@cache
def _picture() -> type:
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that shows itself in a notebook although pyplot was never imported."""

        def _repr_png_(self) -> bytes:
            buffer = BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    Picture.__module__, Picture.__qualname__ = __name__, "Picture"  # where pickle finds it: below
    return Picture


def __getattr__(name: str) -> Any:
    if name == "Picture":
        return _picture()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# -- figures and axes


def new_figure(
    panels: int = 1,
    *,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
    columns: int | None = None,
    size: tuple[float, float] = (4.6, 3.8),
    sharex: bool | str = False,
    sharey: bool | str = False,
) -> tuple[Any, list[Any]]:
    """A figure with so many panels, or the Axes that the user brought.

    Parameters
    ----------
    panels : int
    figsize : (float, float), optional
        Inches of the whole figure; ``size`` times the panels unless given.
    ax : matplotlib.axes.Axes or sequence of Axes, optional
        Where to draw instead, one for each panel.
    columns : int, optional
        Panels side by side; up to three, or near a square of more.
    size : (float, float)
        Inches of a panel.
    sharex, sharey : bool or {"all", "row", "col"}
        Which axes have one range.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : list of matplotlib.axes.Axes
        As many as panels.

    Raises
    ------
    InputError
        Not as many Axes as panels, or something else than Axes.
    """
    if ax is not None:
        return _given(panels, ax)
    across = columns or (panels if panels <= 3 else int(np.ceil(np.sqrt(panels))))
    across = min(across, panels)
    down = -(-panels // across)
    figure = _picture()(figsize=figsize or (size[0] * across, size[1] * down), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05, wspace=0.02, hspace=0.02)
    grid = figure.subplots(down, across, squeeze=False, sharex=sharex, sharey=sharey).ravel()
    for unused in grid[panels:]:
        unused.remove()
    for above in grid[max(panels - across, 0) : panels]:  # the last of its column
        above.xaxis.set_tick_params(labelbottom=True)
    return figure, list(grid[:panels])


def _given(panels: int, ax: Any) -> tuple[Any, list[Any]]:
    from matplotlib.axes import Axes

    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if not all(isinstance(panel, Axes) for panel in axes):
        raise InputError(f"ax={ax!r}: draw on a matplotlib Axes, or on a sequence of them")
    if len(axes) != panels:
        needs = "one Axes" if panels == 1 else f"{panels} Axes, one for each panel"
        raise InputError(f"ax=...: this picture needs {needs}; {len(axes)} given")
    return axes[0].get_figure(root=True), axes


def as_picture(figure: Any) -> Any:
    """A figure made by pyplot, such as ArviZ's, taken from it so that a notebook shows it once; names as they are."""
    from matplotlib import pyplot
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(as_is(text.get_text()))
    pyplot.close(figure)
    figure.__class__ = _picture()
    return figure


def clean(ax: Any, *, title: str | None = None, xlabel: str | None = None, ylabel: str | None = None) -> None:
    """Two spines, short ticks, small type; title and labels where given."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=3, labelsize=TICK)
    if title is not None:
        ax.set_title(_caption(title), fontsize=TITLE, loc="left")
    if xlabel is not None:
        ax.set_xlabel(_caption(xlabel), fontsize=LABEL)
    if ylabel is not None:
        ax.set_ylabel(_caption(ylabel), fontsize=LABEL)


def facet_title(ax: Any, label: Any) -> None:
    """The level that a small panel is about."""
    ax.set_title(as_is(short(label, 18)), fontsize=TICK, loc="left", pad=3)


def legend(axes: Sequence[Any], *, ax: Any = None, columns: int = 4) -> None:
    """One entry a label over all panels: above the figure, or inside the first Axes where the user brought them."""
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if not handles:
        return
    entries: dict[str, Any] = {
        "handles": list(handles.values()),
        "labels": list(map(_caption, handles)),
        "frameon": False,
    }
    if ax is not None:
        axes[0].legend(fontsize=TICK, **entries)
    else:
        figure = axes[0].get_figure(root=True)
        columns = min(columns, len(handles))
        figure.legend(loc="outside upper center", ncols=columns, fontsize=TICK, **entries)


def note(figure: Any, text: str, *, ax: Any = None) -> None:
    """A line of small print below a figure that is ours."""
    if ax is None and text:
        figure.supxlabel(as_is(text), fontsize=TICK, color=NOTE, x=0.01, ha="left")


# -- labels


def short(label: Any, most: int = 22) -> str:
    """A level or term as text, the middle of long ones left out."""
    text = one_line(label)
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def as_is(text: str) -> str:
    r"""A text in which matplotlib finds no mathematics: names of levels may hold dollars.

    Examples
    --------
    >>> as_is("$5 to $10")
    '\\$5 to \\$10'
    """
    return text.replace("$", r"\$")


def entry(text: str) -> str:
    """The same for a legend: matplotlib leaves out what begins with an underscore."""
    return f" {text}" if text.startswith("_") else text


def _caption(text: str) -> str:
    """The same, without so much of an endless name that nothing of the picture is left."""
    return as_is("\n".join(short(line, LONGEST) for line in text.split("\n")))


def label_levels(ax: Any, levels: Sequence[Any], *, axis: str = "y", most: int = MOST_LABELS) -> int:
    """Ticks at 0, 1, ... with the names of levels; of many every k-th. The k."""
    step = -(-len(levels) // most)
    positions = range(0, len(levels), step)
    texts = [as_is(short(levels[position])) for position in positions]
    size = TICK if len(positions) <= 25 else TICK - 1
    if axis == "y":
        ax.set_yticks(positions, texts, fontsize=size)
    else:
        upright = sum(map(len, texts)) + 2 * len(texts) > 50  # letters that a panel holds side by side
        ax.set_xticks(positions, texts, fontsize=size, rotation=90 if upright else 0)
    return step


def spread_out(keys: Iterable[float], most: int = MOST_FACETS) -> NDArray[np.int64]:
    """Positions of at most so many values, in their order; of more, evenly spaced from lowest to highest."""
    order = np.argsort(np.asarray(list(keys), dtype=float), kind="stable")
    if len(order) <= most:
        return order
    return order[np.unique(np.linspace(0, len(order) - 1, most).round().astype(int))]


def of_many(shown: int, total: int, what: str) -> str:
    """What to say where not everything is shown."""
    return "" if shown == total else f"{shown} of {total:,} {what} shown"


# -- fits


def check_fit(fit: Any, verb: str) -> None:
    """Raise InputError unless this is a fit."""
    if not isinstance(fit, Fit):
        several = "; of imputed tables .stacked, the draws of posteriors, or one of .fits" * hasattr(fit, "fits")
        raise InputError(
            f"{verb}: a fit is drawn, from fit_reml(), fit_ml() or fit(); not {type(fit).__name__}{several}"
        )


def name_of(fit: Fit) -> str:
    """``REML``, ``ML`` or ``posterior``."""
    if isinstance(fit, PointFit):
        return "REML" if fit.solution.reml else "ML"
    return "posterior"


def chosen(what: str, requested: str | Sequence[str] | None, available: Sequence[str]) -> list[str]:
    """The names wanted, or all known ones.

    Raises
    ------
    InputError
        One is not known, or there are none.
    """
    names = list(available) if requested is None else [requested] if isinstance(requested, str) else list(requested)
    for name in names:
        if name not in available:
            available_words = f"there are {', '.join(map(repr, available))}" if available else "the model has none"
            raise InputError(f"no {what} {name!r}; {available_words}")
    if not names:
        raise InputError(f"no {what} to draw: {what}s were asked for as {requested!r}, the model has {list(available)}")
    return names


def parameter_names(design: Design, labels: pd.DataFrame) -> list[str]:
    """What pictures call the parameters of tables with columns effect, group and term: ``sd(Days | Subject)``."""
    named = {("ran_pars", RESIDUAL, "sd__Observation"): "sigma"}
    for group in design.every_group:
        named |= {
            ("ran_pars", row_of(group.name), f"sd__{column}"): f"sd({column} | {group.name})"
            for column in group.sd_terms
        }
        for a, b in group.correlated:
            term = f"cor__{group.correlation_label(a, b, '.')}"
            named["ran_pars", row_of(group.name), term] = f"cor({group.correlation_label(a, b)} | {group.name})"
    if design.residual is not None:
        for k, label in enumerate(design.residual.labels):
            kind, variable = ("log_ratio", LOG_RATIO) if k < design.residual.n_spread else ("cor", RHO)
            called = variable if label == variable else f"{variable}({label})"
            named["ran_pars", RESIDUAL, f"{kind}__{label}"] = called
    keys = labels[["effect", "group", "term"]].itertuples(index=False, name=None)
    return [named.get(key, key[2]) for key in keys]


# -- curves


def density(draws: Any) -> tuple[Array, Array]:
    """Grid and density of draws by ArviZ's kernel estimate, which keeps to the ends of what was drawn.

    A single value, which has no density, is an upright line of height one.
    """
    from arviz_stats.base import array_stats

    values = np.ravel(draws)
    if np.ptp(values) == 0.0:
        return np.repeat(values[0], 2), np.array([0.0, 1.0])
    grid, height, _ = array_stats.kde(values, bw_fct=1.25)
    return grid, height
