"""What priors imply, with a slider for their widths; computed beforehand, so that a page needs no server or network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from ..design.categories import as_seen
from ..design.design import Design
from ..design.priors import Prior, Priors
from ..errors import NotAvailableError
from ..results.audit import per_trial
from ..results.prior_draws import prior_draws, response_stream, responses
from ..results.text import number
from ..tools.arrays import Array
from . import style
from .interactive import HEIGHT, plotly
from .rows import response_label

TIMES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # widths of the priors
MOST_ROWS, MOST_SETS, VALUES = 10_000, 400, 300_000  # simulated data sets of a width, and responses of them in all
BINS = 60
INSIDE = (0.02, 0.98)  # quantiles of responses at the widths of the model, which the axis holds

# what a distribution is wide by, and whether it is a scale (1) or a rate (-1)
_WIDTHS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("Normal", "StudentT", "HalfNormal", "HalfStudentT"), ("sigma", 1)),
    **dict.fromkeys(("Cauchy", "HalfCauchy", "InverseGamma"), ("beta", 1)),
    "Laplace": ("b", 1),
    "Exponential": ("lam", -1),
    "Gamma": ("beta", -1),
}
_PARTS = {"Intercept": "fixed effects", "fixed": "fixed effects", "sd": "sds of groups"}
_ALL, _OTHERS = "all priors", "parameters of the family"


def explore_priors(design: Design, priors: Priors, *, random_seed: int | None = 1) -> Any:
    """Simulated responses beside the observed ones, for priors an eighth to eight times as wide.

    A list picks whose priors the slider widens: all, those of the fixed effects, of the sds of groups, of the family.

    Parameters
    ----------
    design : Design
    priors : Priors
        All of them proper.
    random_seed : int, optional
        The same streams for every width, so that nothing but the priors moves.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    PriorError
        A prior is improper (flat), so it implies nothing.
    NotAvailableError
        plotly is not installed, or no prior has a width.
    """
    go = plotly()
    if design.n > MOST_ROWS:  # evenly chosen ones tell as much
        kept = np.zeros(design.n, dtype=bool)
        kept[np.linspace(0, design.n - 1, MOST_ROWS).astype(int)] = True
        design = design.rows(kept)
    share, parts = per_trial(design), _parts(priors)
    if not parts:
        raise NotAvailableError("explore_priors(): no prior has a scale or a rate that a slider could change")
    observed = share * as_seen(design, design.y)
    middle = _simulated(design, priors, share, random_seed)
    settings = [(part, times) for part in parts for times in TIMES]
    simulated = {
        (part, times): middle if times == 1.0 else _simulated(design, wider(priors, part, times), share, random_seed)
        for part, times in settings
    }
    ends = [*np.quantile(middle, INSIDE), np.nanmin(observed), np.nanmax(observed)]
    edges = np.linspace(min(ends), max(ends), BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2.0
    figure = go.Figure()
    figure.add_bar(
        x=centres, y=_shares(observed, edges), name="observed", marker={"color": style.DATA, "opacity": 0.45}
    )
    for setting in settings:
        line = {"color": style.PRIOR, "width": 2, "shape": "hvh"}
        shown = setting == (parts[0], 1.0)
        figure.add_scatter(
            x=centres, y=_shares(simulated[setting], edges), name="simulated", mode="lines", line=line, visible=shown
        )
    sliders = [_slider(part, settings, simulated, edges) for part in parts]
    figure.update_layout(
        template="plotly_white",
        height=HEIGHT,
        bargap=0.0,
        title={"text": sliders[0]["steps"][TIMES.index(1.0)]["args"][1]["title.text"], "y": 0.96, "x": 0.05},
        margin={"t": 120},
        xaxis={"title": escape(response_label(design)), "range": [edges[0], edges[-1]]},
        yaxis_title="share of responses",
        legend={"yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0, "orientation": "h"},
        sliders=[sliders[0]],
        updatemenus=[
            {
                "buttons": [_button(part, slider, settings) for part, slider in zip(parts, sliders, strict=True)],
                **{"x": 0.0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
            }
        ],
    )
    return figure


def wider(priors: Priors, part: str, times: float) -> Priors:
    """The priors of a part, or of all, so many times as wide; those without a scale or rate as they are."""
    entries = []
    for entry in priors.entries:
        if isinstance(entry.prior, Prior) and entry.prior.name in _WIDTHS and part in (_ALL, _part(entry.kind)):
            name, power = _WIDTHS[entry.prior.name]
            changed = {key: value * times**power if key == name else value for key, value in entry.prior.params}
            entry = replace(entry, prior=Prior(entry.prior.name, **changed))
        entries.append(entry)
    return replace(priors, entries=tuple(entries))


def _part(kind: str) -> str:
    return _PARTS.get(kind, _OTHERS)


def _parts(priors: Priors) -> list[str]:
    """All, and what they are the priors of, where there is more than one kind."""
    there = [
        _part(entry.kind) for entry in priors.entries if isinstance(entry.prior, Prior) and entry.prior.name in _WIDTHS
    ]
    kinds = list(dict.fromkeys(there))
    return [_ALL, *kinds] if len(kinds) > 1 else kinds


def _simulated(design: Design, priors: Priors, share: Array, random_seed: int | None) -> Array:
    """Finite responses (any,) of as many data sets as stay cheap, on the scale on which they are seen."""
    sets = max(20, min(MOST_SETS, VALUES // design.n))
    prior_sample = prior_draws(design, priors, draws=sets, random_seed=random_seed)
    y = responses(design, prior_sample, response_stream(random_seed))
    weighted_response = share * (as_seen(design, y) if design.family.has_categories else y)
    return weighted_response[np.isfinite(weighted_response)]


def _shares(values: Array, edges: Array) -> Array:
    """Of all values, how many lie in each bin."""
    return np.histogram(values[np.isfinite(values)], edges)[0] / max(1, np.isfinite(values).sum())


def _slider(
    part: str, settings: list[tuple[str, float]], simulated: Mapping[Any, Array], edges: Array
) -> dict[str, Any]:
    steps = []
    for times in TIMES:
        visible = [True, *(setting == (part, times) for setting in settings)]
        said = _sentence(part, times, simulated[part, times], edges)
        steps.append({"label": f"{times:g}", "method": "update", "args": [{"visible": visible}, {"title.text": said}]})
    prefix = {"prefix": f"width of {part}, times "}
    return {"steps": steps, "active": TIMES.index(1.0), "currentvalue": prefix, "pad": {"t": 50}}


def _button(part: str, slider: dict[str, Any], settings: list[tuple[str, float]]) -> dict[str, Any]:
    """A choice of the list: its own slider, in the middle."""
    data, layout = slider["steps"][TIMES.index(1.0)]["args"]
    return {"label": part, "method": "update", "args": [data, {**layout, "sliders": [slider]}]}


def _sentence(part: str, times: float, values: Array, edges: Array) -> str:
    """What the priors imply at a setting."""
    low, high = (number(float(value), digits=3) for value in np.quantile(values, (0.05, 0.95)))
    outside = float(np.mean((values < edges[0]) | (values > edges[-1])))
    width = "as they are" if times == 1.0 else f"{times:g} times as wide"
    return f"{part} {width}: 90 % of responses from {low} to {high}; {outside:.0%} beyond this axis"
