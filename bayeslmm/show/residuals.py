"""Residuals and random effects against what their assumptions say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..design.codes import scores
from ..design.design import Design
from ..engine.randomness import generator
from ..errors import DataError, InputError
from ..results.fit import Fit
from ..results.point import PointFit
from ..results.streamed import need_rows
from ..sources import source_of
from ..tools.arrays import Array
from ..tools.frame import as_frame
from ..tools.lazy import special
from ..tools.words import is_one_of
from . import style
from .along import MANY_POINTS
from .levels import factors_of

KINDS = ("density", "fitted", "qq", "scale")
SPAN = 2.0 / 3.0  # of the rows that a local regression looks at, as R's lowess
SMOOTHED = 80  # places where it is evaluated
SIMULATED = 250  # responses, for residuals of families that are not normal
SAMPLES, NUMBERS = 200, 4_000_000  # normal samples of an envelope, and how many numbers in all
QUANTILES = 400  # that an envelope of a QQ plot is drawn at
BINS = 512  # of a density


def plot_residuals(
    fit: Fit,
    *,
    kind: str | Sequence[str] = KINDS,
    by: str | pd.Series | None = None,
    random_seed: int | None = 0,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Residuals: whether they are normal, around zero, of one spread, and without a trace of the groups.

    Residuals of a normal response are scaled by its sd. Those of another family are randomised quantile residuals
    (Dunn & Smyth 1996) from 250 responses simulated by the fit for the observed groups: standard normal where the model
    is right, whatever the family.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
        Of a posterior the residuals are means over the draws.
    kind : str or sequence of {"density", "fitted", "qq", "scale"}
        ``density`` with the envelope that holds, at each place, 95 % of the densities of normal samples of the same
        size, mean and sd; ``fitted``: residuals against fitted values; ``qq``: quantiles against those of the normal
        distribution, with such an envelope; ``scale``: √|residual| against fitted values. The curves through points are
        local linear regressions over the nearest two thirds of the rows.
    by : str or Series, optional
        A grouping factor, a column of the data, or one value a row: ``fitted`` in a small panel for each level, which
        shows whether the residuals of a level lie on one side. Of more than 24 levels 24 are drawn, evenly spaced in
        the order of their mean residuals.
    random_seed : int, optional
        For the envelopes and for simulated responses.
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
        Another kind, or ``by`` is nothing that the data have.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> len(blm.plot_residuals(fit).axes), len(blm.plot_residuals(fit, by="Subject").axes)
    (4, 18)
    """
    style.check_fit(fit, "plot_residuals")
    kinds = _kinds(kind)
    residuals, name = _residuals(fit, random_seed)
    if by is not None:
        return _facets(fit, residuals, name, _labels(fit, by), figsize, ax)
    figure, axes = style.new_figure(
        len(kinds), figsize=figsize, ax=ax, columns=2 if len(kinds) == 4 else None, size=(4.4, 3.4)
    )
    rng = generator(random_seed)
    for one_kind, panel in zip(kinds, axes, strict=True):
        if one_kind == "density":
            _draw_density(panel, residuals, rng, name)
        elif one_kind == "qq":
            _draw_qq(panel, residuals, rng, name)
        else:
            _draw_against(panel, _fitted(fit), residuals, name, spread=one_kind == "scale")
    style.legend(axes, ax=ax)
    return figure


def plot_ranef_normality(
    fit: Fit,
    *,
    group: str | Sequence[str] | None = None,
    random_seed: int | None = 0,
    figsize: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Density and QQ plot of the random effects of each term, with envelopes of normal samples of the same size.

    Conditional modes and posterior means are shrunk towards a normal distribution, more where a level has few rows: the
    picture finds outlying levels and groups of levels rather than long tails.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
    group : str or sequence of str, optional
        Grouping factors; all by default.
    random_seed : int, optional
        For the envelopes.
    figsize : (float, float), optional
        Inches.
    ax : sequence of Axes, optional
        Where to draw instead: density and QQ plot of each term.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        No such factor, or no random effects.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> len(blm.plot_ranef_normality(fit).axes)
    4
    """
    style.check_fit(fit, "plot_ranef_normality")
    factors = style.chosen("grouping factor", group, factors_of(fit))
    effects = fit.ranef(wide=True)
    terms = [(f, column) for f in factors for column in fit.design.group(f).columns]
    figure, axes = style.new_figure(2 * len(terms), figsize=figsize, ax=ax, columns=2, size=(4.4, 2.9))
    rng = generator(random_seed)
    for k, (factor, term) in enumerate(terms):
        of_term = effects.loc[factor, term]
        label = f"{term} | {factor}"
        for panel, draw in ((axes[2 * k], _draw_density), (axes[2 * k + 1], _draw_qq)):
            if np.ptp(of_term) > 0.0:
                draw(panel, of_term.to_numpy(), rng, label)
            else:
                panel.text(0.5, 0.5, "sd estimated as zero", ha="center", va="center", color=style.NOTE)
                panel.set_axis_off()
                style.clean(panel, title=label)
        if np.ptp(of_term) > 0.0:
            _name_outliers(axes[2 * k + 1], of_term)
    style.legend(axes, ax=ax)
    return figure


# -- residuals


def _kinds(kind: str | Sequence[str]) -> list[str]:
    kinds = [kind] if isinstance(kind, str) else list(kind)
    for panel in kinds:
        if not is_one_of(panel, KINDS):
            raise InputError(f"plot_residuals(kind={panel!r}): kinds are {', '.join(map(repr, KINDS))}")
    if not kinds:
        raise InputError("plot_residuals(kind=[]): nothing to draw")
    return kinds


def _residuals(fit: Fit, random_seed: int | None) -> tuple[Array, str]:
    """Residuals (n,) that are standard normal where the model is right, and what they are called."""
    need_rows(fit.design)
    fit.design.refuse_censored("plot_residuals()")
    if fit.design.family.has_normal_scores and not fit.design.family.models_log:
        return fit.residuals("scaled"), "scaled residual"
    table = fit.simulate(SIMULATED, random_seed=random_seed, groups="observed")
    if fit.design.levels:
        table = table.apply(fit.design.codes_of)
    simulated, y = table.to_numpy(), fit.design.y[:, None]
    below, equal = (simulated < y).sum(axis=1), (simulated == y).sum(axis=1)
    inside = generator(random_seed).random(len(y))
    return special.ndtri((below + inside * (equal + 1.0)) / (SIMULATED + 1.0)), "quantile residual"


def _fitted(fit: Fit) -> Array:
    fitted = fit.fitted()
    return fitted @ scores(fit.design.levels) if fitted.ndim == 2 else fitted  # the expected category


def _labels(fit: Fit, by: str | pd.Series) -> pd.Series:
    """The level of each row."""
    design = fit.design
    if not isinstance(by, str):
        return _as_series(by, design)
    for group in design.groups:
        if group.name == by:
            return pd.Series(np.asarray(group.levels, dtype=object)[group.codes], name=by)
    if by in design.frame:
        return design.frame[by].reset_index(drop=True)
    if isinstance(fit, PointFit) and source_of(fit.origin.data) is None:
        data = as_frame(fit.origin.data)
        if by in data and data.index.is_unique:
            return data.loc[design.index, by].reset_index(drop=True)
    raise InputError(f"by={by!r}: it is no grouping factor and no column of the data")


def _as_series(by: Any, design: Design) -> pd.Series:
    if isinstance(by, pd.Series) and len(by) != design.n and by.index.is_unique and design.index.isin(by.index).all():
        by = by.loc[design.index]
    values = pd.Series(np.asarray(by), name=getattr(by, "name", None) or "by")
    if len(values) != design.n:
        raise DataError(f"by=...: {len(values):,} values for {design.n:,} rows")
    return values


# -- panels


def _draw_density(ax: Any, values: Array, rng: np.random.Generator, label: str) -> None:
    centre, spread = values.mean(), values.std(ddof=1)
    standardised = (values - centre) / spread
    reach = max(np.abs(standardised).max(), 3.2) + 0.3
    points, height = _densities([standardised], reach)
    _, curves = _densities(_normal_samples(len(standardised), rng), reach)
    place, low, high = centre + spread * points, *(end / spread for end in _middle(curves))
    ax.fill_between(place, low, high, color=style.ENVELOPE, lw=0, label="95 % of normal samples")
    ax.plot(place, height[0] / spread, color=style.POSTERIOR, lw=1.8)
    if len(values) <= 200:
        ax.plot(values, np.zeros(len(values)), "|", color=style.DATA, ms=7, alpha=0.7)
    ax.set_yticks([])
    ax.set_ylim(bottom=-0.03 * height.max() / spread)
    style.clean(ax, title="Density", xlabel=label)
    ax.spines["left"].set_visible(False)


def _draw_qq(ax: Any, values: Array, rng: np.random.Generator, label: str) -> None:
    n = len(values)
    centre, spread = values.mean(), values.std(ddof=1)
    normal = special.ndtri((np.arange(n) + 0.5) / n)
    positions = np.unique(np.linspace(0, n - 1, min(n, QUANTILES)).round().astype(int))
    sorted_samples = np.array([np.sort(sample)[positions] for sample in _normal_samples(n, rng)])
    low, high = _middle(centre + spread * sorted_samples)
    ax.fill_between(normal[positions], low, high, color=style.ENVELOPE, lw=0, label="95 % of normal samples")
    ax.plot(normal[[0, -1]], centre + spread * normal[[0, -1]], color=style.GREY, lw=1.0)
    ax.plot(
        normal,
        np.sort(values),
        "o",
        ms=4 if n <= 200 else 2.2,
        color=style.POSTERIOR,
        mew=0,
        alpha=0.8,
        rasterized=n > MANY_POINTS,
    )
    style.clean(ax, title="Quantiles", xlabel="standard normal quantile", ylabel=label)


def _draw_against(ax: Any, fitted: Array, residuals: Array, name: str, *, spread: bool) -> None:
    y = np.sqrt(np.abs(residuals)) if spread else residuals
    many = len(y) > MANY_POINTS
    if not spread:
        ax.axhline(0.0, color=style.GREY, lw=1.0)
    ax.scatter(fitted, y, s=4 if many else 12, color=style.DATA, alpha=0.15 if many else 0.5, lw=0, rasterized=many)
    if np.ptp(fitted) > 0.0:
        ax.plot(*local_regression(fitted, y), color=style.CURVE, lw=1.8, label="local regression")
    style.clean(
        ax, title="Spread" if spread else "Residuals", xlabel="fitted value", ylabel=f"√|{name}|" if spread else name
    )


def _facets(
    fit: Fit, residuals: Array, name: str, labels: pd.Series, figsize: tuple[float, float] | None, ax: Any
) -> Any:
    codes, levels = pd.factorize(labels, sort=True)
    means = np.bincount(codes[codes >= 0], residuals[codes >= 0]) / np.bincount(codes[codes >= 0])
    drawn = style.spread_out(means) if len(levels) > style.MOST_FACETS else np.arange(len(levels))
    figure, axes = style.new_figure(
        len(drawn), figsize=figsize, ax=ax, columns=min(6, len(drawn)), size=(1.75, 1.7), sharex=True, sharey=True
    )
    fitted = _fitted(fit)
    for code, panel in zip(drawn, axes, strict=True):
        of_level = codes == code
        panel.axhline(0.0, color=style.GREY, lw=1.0)
        panel.axhline(means[code], color=style.CURVE, lw=1.4, label="mean of the level")
        panel.scatter(fitted[of_level], residuals[of_level], s=11, color=style.DATA, alpha=0.7, lw=0)
        style.clean(panel)
        style.facet_title(panel, levels[code])
        panel.locator_params(axis="x", nbins=4)
    style.legend(axes, ax=ax)
    if ax is None:
        missing = style.of_many(len(drawn), len(levels), f"levels of {labels.name}")
        figure.supylabel(style.as_is(name), fontsize=style.LABEL)
        figure.supxlabel(style.as_is("fitted value" + (f"\n{missing}" if missing else "")), fontsize=style.LABEL)
    return figure


def _name_outliers(ax: Any, effects: pd.Series) -> None:
    """Names of the lowest and the highest level."""
    n = len(effects)
    for place, level, side in ((0, effects.idxmin(), 1), (n - 1, effects.idxmax(), -1)):
        ax.annotate(
            style.as_is(style.short(level, 14)),
            (special.ndtri((place + 0.5) / n), effects[level]),
            xytext=(4 * side, -9 * side),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=style.TICK - 1,
            color=style.NOTE,
        )


# -- numbers


def _normal_samples(n: int, rng: np.random.Generator) -> Iterator[Array]:
    """Samples (n,) of a normal distribution, each with mean 0 and sd 1 as the data are compared with."""
    for _ in range(max(40, min(SAMPLES, NUMBERS // n))):
        sample = rng.standard_normal(n)
        yield (sample - sample.mean()) / sample.std(ddof=1)


def _densities(samples: Iterable[Array], reach: float) -> tuple[Array, Array]:
    """Normal kernel densities of standardised samples (n,) between ±reach: places (k,) and densities (samples, k).

    All with the bandwidth that is best for a normal distribution, 1.06 n^(−1/5), so that they differ by chance only.
    From counts in narrow bins, which makes hundreds of them as cheap as one.
    """
    edges = np.linspace(-reach, reach, BINS + 1)
    counts = np.array([np.histogram(sample, edges)[0] for sample in samples])
    n = counts[0].sum()
    points, middles, width = np.linspace(-reach, reach, 161), (edges[1:] + edges[:-1]) / 2.0, 1.06 * n**-0.2
    kernel = np.exp(-0.5 * ((points - middles[:, None]) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    return points, counts @ kernel / n


def _middle(curves: Array) -> tuple[Array, Array]:
    low, high = np.quantile(curves, [0.5 - style.OUTER / 2.0, 0.5 + style.OUTER / 2.0], axis=0)
    return low, high


def local_regression(x: Array, y: Array) -> tuple[Array, Array]:
    """Local linear regression of y on x at up to 80 quantiles of x, tricube weights over the nearest two thirds.

    Cleveland (1979), Robust locally weighted regression and smoothing scatterplots, JASA 74, without its robust steps.

    Parameters
    ----------
    x, y : (n,)

    Returns
    -------
    at, smooth : (k,)
    """
    points = np.unique(np.quantile(x, np.linspace(0.0, 1.0, min(SMOOTHED, len(x)))))
    smooth = np.empty(len(points))
    near = max(2, int(np.ceil(SPAN * len(x)))) - 1
    for k, centre in enumerate(points):  # one weighted line each: n numbers at a time, whatever n
        distance = x - centre
        width = np.partition(np.abs(distance), near)[near]
        weight = np.clip(1.0 - (np.abs(distance) / max(width, np.finfo(float).tiny)) ** 3, 0.0, None) ** 3
        weight = np.where(distance == 0.0, 1.0, weight)
        w, wx, wy = weight.sum(), weight @ distance, weight @ y
        wxx, wxy = weight @ distance**2, weight @ (distance * y)
        determinant = w * wxx - wx**2
        flat = determinant <= 1e-12 * w * wxx
        smooth[k] = wy / w if flat else (wxx * wy - wx * wxy) / determinant
    return points, smooth
