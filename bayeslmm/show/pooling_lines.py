"""The data of every level with three lines: its own, that of the mixed model, and the common one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotAvailableError
from ..pooling.estimates import observed_of
from ..pooling.record import Pooling
from ..results.reference import predictors
from ..tools.arrays import Array
from . import style
from .rows import chosen_x, is_continuous, levels_of, rows_by_level

ALL = 36  # levels that are all drawn
LINES = {"none": (style.NONE, "-"), "complete": (style.COMPLETE, "--"), "partial": (style.PARTIAL, "-")}


def draw_lines(
    pool: Pooling, partial: str, *, x: str | None, levels: Sequence[Any] | None, figsize: tuple[float, float] | None
) -> Any:
    """One small panel a level; see :func:`bayeslmm.plot_pooling`."""
    design, term = pool.footing.design, pool.footing.term
    codes = _chosen(pool, levels)
    x = chosen_x(design, x, term.name) if x is not None or predictors(design, groups=False) else None
    figure, axes = style.new_figure(
        len(codes), figsize=figsize, columns=min(6, len(codes)), size=(1.8, 1.75), sharex=True, sharey=True
    )
    y = _responses(pool)
    for code, axis in zip(codes, axes, strict=True):
        of_level = term.codes == code
        places, curves, continuous = _curves(pool, partial, code, x)
        axis.scatter(_places(pool, x, of_level), y[of_level], s=9, color=style.DATA, alpha=0.6, lw=0, zorder=1)
        for name, (color, dashes) in LINES.items():
            axis.plot(
                places,
                curves[name],
                color=color,
                lw=1.7 if name == "partial" else 1.2,
                zorder=3,
                ls=dashes if continuous else "",
                marker="" if continuous else "_",
                ms=9,
                mew=1.6,
                label={"none": "no pooling", "complete": "complete pooling"}.get(name, f"partial ({_kind(pool)})"),
            )
        if x is None:
            axis.set_xticks([])
        elif not continuous:
            style.label_levels(axis, levels_of(design.frame[x]), axis="x")
        style.clean(axis)
        style.facet_title(axis, term.levels[code])
    style.legend(axes)
    response = design.family.label(design.response) + " / trials" * (design.trials is not None)
    figure.supylabel(style.as_is(response), fontsize=style.LABEL)
    missing = style.of_many(len(codes), term.n_levels, f"levels of {term.name}")
    order_words = f"{missing}, from least to most pooled" if missing and levels is None else missing
    figure.supxlabel(style.as_is("\n".join(filter(None, [x or "row", order_words]))), fontsize=style.LABEL)
    return figure


def _kind(pool: Pooling) -> str:
    fit = pool.post if pool.post is not None else pool.reml
    assert fit is not None
    return style.name_of(fit)


def _chosen(pool: Pooling, levels: Sequence[Any] | None) -> list[int]:
    term = pool.footing.term
    names = list(term.levels)
    if levels is not None:
        return [names.index(name) for name in style.chosen("level", levels, names)]
    if len(names) <= ALL:
        return list(range(len(names)))
    key = "shrinkage" if pool.post is not None else "shrinkage_reml"
    return list(style.spread_out(pool.levels[key].to_numpy().reshape(len(names), -1).mean(axis=1)))


def _curves(pool: Pooling, partial: str, code: int, x: str | None) -> tuple[Array, dict[str, Array], bool]:
    """Places along x, and what the three say there: Z times a level's coefficients and X times those in common."""
    footing = pool.footing
    design, term = footing.design, footing.term
    of_level = term.codes == code
    if x is None:  # the bars hold no predictor either
        Z, common = (
            term.Z[of_level][:1].repeat(2, axis=0),
            design.X[of_level][:1, footing.unpooled.common].repeat(2, axis=0),
        )
        places, continuous = np.array([-0.5, of_level.sum() - 0.5]), True
    else:
        rows, _ = rows_by_level(design, term, [code], x)
        built = design.at(rows, groups=[term.name], offset=_no_offset(pool, len(rows)))
        Z, common = built.groups[0].Z, built.X[:, footing.unpooled.common]
        continuous = is_continuous(design, x)
        places = rows[x].to_numpy(float) if continuous else _positions(levels_of(design.frame[x]), rows[x])
    names = {"none": "none", "complete": "complete", "partial": partial}
    q = term.q
    table = pool.levels.iloc[code * q : (code + 1) * q]
    curves = {name: _curve(pool, Z, table[column], common, column) for name, column in names.items()}
    return places, curves, continuous


def _curve(pool: Pooling, Z: Array, own: Any, common: Array, column: str) -> Array:
    """The expected response by one of the three, of a normal one less the offset."""
    with np.errstate(invalid="ignore"):  # an infinite coefficient times zero is none
        eta = np.where(Z == 0.0, 0.0, Z * own.to_numpy(float)).sum(axis=1)
    eta = eta + common @ pool.common[column].to_numpy(float)
    family = pool.footing.design.family
    if family.is_normal:
        return eta
    parameters = {name: np.asarray(pool.fits.loc[column, name]) for name in family.parameters}
    return family.expected(eta, family.complete(parameters, ()))


def _responses(pool: Pooling) -> Array:
    """What is drawn (n,): responses as the lines are of them, without an offset."""
    design = pool.footing.design
    if not design.family.has_mean:
        raise NotAvailableError(
            "plot_pooling(kind='lines'): lines are of expected responses, which categories have none of; take another "
            "kind"
        )
    observed = observed_of(design)
    if design.family.is_normal or not design.offset.any():
        return observed
    if design.family.link != "log":
        raise NotAvailableError(
            f"plot_pooling(kind='lines'): the offset cannot be taken off responses under the link "
            f"{design.family.link!r}; take another kind"
        )
    return np.asarray(observed / np.exp(design.offset))


def _no_offset(pool: Pooling, n: int) -> Array | None:
    """Zeros where the model wants an offset from outside: lines are of the response less the offset."""
    return np.zeros(n) if pool.footing.design.recipe.offset_given_as_array else None


def _places(pool: Pooling, x: str | None, of_level: NDArray[np.bool_]) -> Array:
    design = pool.footing.design
    if x is None:
        return np.arange(of_level.sum(), dtype=float)
    if is_continuous(design, x):
        return design.frame[x].to_numpy(float)[of_level]
    return _positions(levels_of(design.frame[x]), design.frame[x][of_level])


def _positions(levels: list[Any], values: Any) -> Array:
    return np.array([levels.index(value) for value in values], dtype=float)
