"""Pictures that answer the pointer, as pages that need no network. The door to plotly."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import GroupTerm
from ..errors import NotAvailableError
from ..pooling.pooling import pool_fit
from ..results.fit import Fit
from ..results.text import number
from . import style
from .along import places_of
from .rows import is_continuous, levels_of, observed, response_label

HEIGHT = 560  # pixels
FAINT, CLEAR = 0.45, 1.0


def plotly() -> ModuleType:
    """The library, or how to install it."""
    try:
        import plotly.graph_objects
    except ImportError:
        raise NotAvailableError(
            "interactive=True: pictures that answer the pointer are made by plotly, which is not installed: "
            "pip install 'bayeslmm[interactive]'"
        ) from None
    return plotly.graph_objects


def page_part(figure: Any) -> str:
    """A picture as HTML with the library inside, so that it needs no network."""
    return str(figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}))


def interactive_lines(
    fit: Fit,
    term: GroupTerm,
    x: str,
    codes: Sequence[int],
    along: tuple[np.ndarray, np.ndarray, pd.DataFrame],
    average: tuple[np.ndarray, np.ndarray],
    held: str,
) -> Any:
    """Fitted lines of levels, each with its name, rows, effects and shrinkage under the pointer; a list picks one.

    Parameters
    ----------
    fit : Fit
    term : GroupTerm
    x : str
    codes : sequence of int
        The levels that are drawn.
    along : (places, place in ``codes``, predictions)
        Of the rows of the lines.
    average : (places, expected responses)
        Of the average level.
    held : str
        Where its other predictors are held; empty where there are none.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    go = plotly()
    design, (places, place, predictions) = fit.design, along
    described, mode = _described(fit, term), "lines" if is_continuous(design, x) else "lines+markers"
    all_places, response = places_of(design, x, design.frame[x]), observed(design)
    figure = go.Figure()
    for k, code in enumerate(codes):
        is_level, of_level = term.codes == code, place == k
        shared = {"hovertext": described[code], "hoverinfo": "text", "opacity": FAINT, "showlegend": False}
        dots = {"color": style.DATA, "size": 5}
        figure.add_scatter(x=all_places[is_level], y=response[is_level], mode="markers", marker=dots, **shared)
        lines = {"color": style.PARTIAL, "width": 2}
        mean = predictions["mean"].to_numpy()[of_level]
        figure.add_scatter(
            x=places[of_level], y=mean, mode="lines+markers" if len(mean) == 1 else mode, line=lines, **shared
        )
    dashed = {"color": style.AVERAGE, "dash": "dash"}
    name = escape(f"average {term.name}{f' ({held})' if held else ''}")
    figure.add_scatter(x=average[0], y=average[1], mode=mode, line=dashed, name=name, hoverinfo="name")
    _lay_out(figure, fit, term, x, codes)
    return figure


def _lay_out(figure: Any, fit: Fit, term: GroupTerm, x: str, codes: Sequence[int]) -> None:
    """Titles, the list of levels, and a note of what is not drawn."""
    design = fit.design
    everyone = [{"label": f"every {term.name}", "method": "restyle", "args": [_opacities(len(codes), None)]}]
    single = [
        {"label": escape(str(term.levels[code])), "method": "restyle", "args": [_opacities(len(codes), k)]}
        for k, code in enumerate(codes)
    ]
    missing = style.of_many(len(codes), term.n_levels, f"levels of {term.name}")
    figure.update_layout(
        template="plotly_white",
        height=HEIGHT,
        hovermode="closest",
        title=escape(f"{design.described}{f' ({missing})' if missing else ''}"),
        xaxis_title=escape(x),
        yaxis_title=escape(response_label(design)),
        legend={"yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0, "orientation": "h"},
        updatemenus=[{"buttons": [*everyone, *single], "x": 1.02, "y": 1.0, "xanchor": "left", "yanchor": "top"}],
    )
    if not is_continuous(design, x):
        names = [escape(str(level)) for level in levels_of(design.frame[x])]
        figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names)


def _opacities(n_levels: int, chosen: int | None) -> dict[str, list[float]]:
    """Of the dots and line of every level, and of the average."""
    shown = [FAINT if chosen is None else CLEAR if k == chosen else 0.04 for k in range(n_levels)]
    return {"opacity": [*np.repeat(shown, 2).tolist(), CLEAR]}


def _described(fit: Fit, term: GroupTerm) -> list[str]:
    """By level: its name, rows, and of every effect the estimate with its uncertainty, and shrinkage where known."""
    effects = fit.ranef()
    effects = effects[effects["group"] == term.name]
    middle, spread = ("mean", "sd") if "sd" in effects else ("estimate", "std_error")
    shrinkage = _shrinkage(fit, term)
    rows = np.bincount(term.codes, minlength=term.n_levels)
    texts = [[f"<b>{term.name} {escape(str(level))}</b>", f"{rows[k]:,} rows"] for k, level in enumerate(term.levels)]
    for r, (_, effect) in enumerate(effects.iterrows()):
        value, error = float(effect[middle]), float(effect[spread])
        said = f"{escape(str(effect['term']))}: {number(value, error)} ± {number(error, error)} from the average"
        pulled = "" if shrinkage is None else f", shrunk by {100.0 * shrinkage[r]:.0f} %"
        texts[r // len(term.columns)].append(said + pulled)
    return ["<br>".join(lines) for lines in texts]


def _shrinkage(fit: Fit, term: GroupTerm) -> np.ndarray | None:
    """Share of the variance between levels that the rows leave open, by level and effect; none where not offered."""
    try:
        table = pool_fit(fit, term.name).table()  # type: ignore[arg-type]
    except NotAvailableError:
        return None
    return np.asarray(table["shrinkage" if "shrinkage" in table else "shrinkage_reml"], dtype=float)
