"""Smooths as curves: their course with bands, their slope, how many degrees of freedom they take.

The curve of s(x) is its straight line and what is bent together, centred over the rows of the fit as mgcv centres it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import default_rng

from ..design.coding import MatrixRecipe, new_columns
from ..design.design import Design
from ..engine.pql import rough_fit, turned
from ..engine.prediction import Errors
from ..engine.prediction import degrees_of_freedom as degrees_of_freedom_given
from ..engine.reml import mode_slopes
from ..engine.scaling import Problem
from ..engine.working import working
from ..errors import InputError, NotAvailableError
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.lazy import sparse, stats
from .draws import Draws
from .estimates import Estimates
from .reference import typical
from .summaries import P_POSITIVE, SUMMARY, check_interval, flat
from .tables import set_apart

OWN = ("smooth", "simultaneous_low", "simultaneous_high", "chain", "draw", "point")  # beside columns of the user's
POINTS = 101
SIMULATIONS = 10_000  # of the largest deviation over a grid: its quantile is known to 1 %
STEP = 1e-5  # of the range of x, for slopes
MOST_DRAWS = 500  # of which degrees of freedom are computed: a factorisation each


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """Smooths at points: Cβ + Ab, where C has the columns of the straight line and A those of what is bent.

    Attributes
    ----------
    table : DataFrame
        Columns smooth, the factor of ``by`` if there is one, and the variable.
    C, A : (points, p), (points, J) of each smooth in turn
    places : tuple of int
        Of each smooth among the random terms.
    """

    table: pd.DataFrame
    C: tuple[Array, ...]
    A: tuple[Array, ...]
    places: tuple[int, ...]


def curves(design: Design, name: str | None, at: Sequence[float] | None, derivative: bool) -> Curves:
    """The smooths of a model, or one, at points along their variable."""
    smooths = {
        group.name: k for k, group in enumerate(design.groups) if isinstance(group, WideTerm) and not group.is_grouping
    }
    for part in design.predictors.values() if not smooths else ():
        if any(group.is_wide for group in part.groups):
            raise NotAvailableError(
                f"smooth() is of curves of the mean. Those in the predictor of {part.parameter} are in "
                f"predict(blm.grid(fit, 'x'), parameter={part.parameter!r}, groups='average')"
            )
    if not smooths:
        raise InputError("the model has no smooth; write s(x) in its formula")
    if name is not None and name not in smooths:
        of_column = [smooth for smooth in smooths if smooth.startswith((f"s({name})", f"s({name},"))]
        name = of_column[0] if len(of_column) == 1 else name  # by the predictor alone
    if name is not None and name not in smooths:
        raise InputError(f"no smooth {name!r}; the model has {', '.join(map(repr, smooths))}")
    chosen = list(smooths) if name is None else [name]
    tables, C, A = [], [], []
    for smooth in chosen:
        table, line, bent = _one(design, smooth, at, derivative)
        tables.append(table)
        C.append(line)
        A.append(bent)
    return Curves(
        table=pd.concat(tables, ignore_index=True),
        C=tuple(C),
        A=tuple(A),
        places=tuple(smooths[smooth] for smooth in chosen),
    )


def _one(design: Design, name: str, at: Sequence[float] | None, derivative: bool) -> tuple[pd.DataFrame, Array, Array]:
    recipe = next(wide for wide in design.recipe.wide if wide.name == name)
    x_of, *by_of = recipe.leaves
    columns = list(dict.fromkeys(x_of.columns.values()))
    if len(columns) != 1:
        raise NotAvailableError(
            f"{name}: its curve runs along {x_of.label}, which is made of several columns; predict() gives its values"
        )
    x = columns[0]
    seen = design.frame[x].to_numpy(dtype=np.float64)
    values = np.linspace(seen.min(), seen.max(), POINTS) if at is None else np.asarray(at, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError("at=...: points are finite numbers, one at least")
    times_number = bool(by_of) and recipe.level is None  # f of z f(x), which nothing centres
    levels = {by.label: 1.0 if times_number else recipe.level for by in by_of}
    held = {column: typical(design.frame[column]) for column in design.frame.columns}

    def at_points(points: Array) -> tuple[Array, Array]:
        table = pd.DataFrame({**held, **levels, x: points})
        table = table.astype({column: design.frame[column].dtype for column in table.columns if column != x})
        line = _line(design, (x_of.label, *levels), table)
        if times_number:
            line = line + _line(design, tuple(levels), table)
        return line, np.asarray(recipe.rows(table)[0])

    shown = set_apart(pd.DataFrame({**levels, x: values}), OWN)
    shown.insert(0, "smooth", name)
    if derivative:
        h = STEP * float(np.ptp(seen))
        (C_up, A_up), (C_down, A_down) = at_points(values + h), at_points(values - h)
        return shown, (C_up - C_down) / (2.0 * h), (A_up - A_down) / (2.0 * h)
    C, A = at_points(values)
    return shown, C if times_number else C - at_points(seen)[0].mean(axis=0), A


def _line(design: Design, labels: Sequence[str], table: pd.DataFrame) -> Array:
    """The columns of X that are the straight line of a smooth, the others zero (n, p)."""
    fixed = design.recipe.fixed
    complete = np.zeros((len(table), len(fixed.names)))
    start = 0
    for factors in fixed.products:
        product = MatrixRecipe(products=(factors,))
        width = product.width
        if factors and {coded.expression.label for coded in factors} == set(labels):
            complete[:, start : start + width] = new_columns(product, table)
        start += width
    return complete[:, design.recipe.kept]


def of_point(
    fit: Estimates, name: str | None, at: Sequence[float] | None, derivative: bool, ci_prob: float, seed: int | None
) -> pd.DataFrame:
    """The table behind :meth:`PointFit.smooth`."""
    check_interval(ci_prob)
    smooth_curves, solution = curves(fit.design, name, at, derivative), fit.solution
    errors, parts = Errors.of(*working(fit.design, solution)), []
    z = float(stats.norm.ppf(0.5 + ci_prob / 2.0))
    for C, A, place in zip(smooth_curves.C, smooth_curves.A, smooth_curves.places, strict=True):
        estimate = C @ solution.beta + A @ solution.modes[place][:, 0]
        covariance = errors.covariance_of_combinations(C, [(place, sparse.csr_array(A))])
        se = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        wide = _critical(covariance, se, ci_prob, seed)
        parts.append(_bands(estimate, se, z, wide))
    return smooth_curves.table.join(pd.concat(parts, ignore_index=True))


def _bands(estimate: Array, se: Array, z: float, wide: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": se,
            "conf_low": estimate - z * se,
            "conf_high": estimate + z * se,
            "simultaneous_low": estimate - wide * se,
            "simultaneous_high": estimate + wide * se,
        }
    )


def _critical(covariance: Array, se: Array, ci_prob: float, seed: int | None) -> float:
    """How many standard errors hold the whole curve with this probability (Ruppert, Wand & Carroll 2003, 6.5)."""
    is_used = se > 0.0
    if not is_used.any():
        return 0.0
    values, vectors = np.linalg.eigh(covariance[np.ix_(is_used, is_used)])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = default_rng(seed).standard_normal((SIMULATIONS, len(root))) @ root.T
    return float(np.quantile(np.abs(noise / se[is_used]).max(axis=1), ci_prob))


def of_posterior(
    fit: Draws, name: str | None, at: Sequence[float] | None, derivative: bool, ci_prob: float | None, draws: bool
) -> Any:
    """The table or draws behind :meth:`PosteriorFit.smooth`."""
    smooth_curves = curves(fit.design, name, at, derivative)
    names, beta = fit.design.names, flat(fit.values.beta)
    prob = fit.ci_prob if ci_prob is None else ci_prob
    check_interval(prob)
    parts, every = [], []
    for C, A, place in zip(smooth_curves.C, smooth_curves.A, smooth_curves.places, strict=True):
        b = flat(fit.draws(names.b[fit.design.groups[place].name]))[:, :, 0]
        values = beta @ C.T + b @ A.T
        every.append(values)
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
        low, high = np.quantile(values, [0.5 - prob / 2.0, 0.5 + prob / 2.0], axis=0)
        distance = np.abs(values - mean) / np.where(sd > 0.0, sd, np.inf)
        wide = float(np.quantile(distance.max(axis=1), prob))
        parts.append(
            pd.DataFrame(
                {
                    "mean": mean,
                    "sd": sd,
                    "conf_low": low,
                    "conf_high": high,
                    "simultaneous_low": mean - wide * sd,
                    "simultaneous_high": mean + wide * sd,
                    P_POSITIVE: np.mean(values > 0.0, axis=0),
                }
            )
        )
    if draws:
        import xarray as xr

        values = np.concatenate(every, axis=1).reshape(fit.n_chains, fit.n_draws, -1)
        coords = {column: ("point", smooth_curves.table[column].to_numpy()) for column in smooth_curves.table}
        return xr.DataArray(values, dims=("chain", "draw", "point"), coords=coords, name="smooth")
    return smooth_curves.table.join(pd.concat(parts, ignore_index=True))


def degrees_of_freedom(fit: Estimates) -> pd.DataFrame:
    """The table behind :meth:`PointFit.smooths`."""
    design, solution = fit.design, fit.solution
    slopes = mode_slopes(*working(design, solution))
    rows = []
    for k, group in enumerate(design.groups):
        if not isinstance(group, WideTerm) or group.is_grouping:
            continue
        variance = float(solution.covariances[k][0, 0])
        bent = _bent(solution.mode_covariances[k], slopes[k], solution.vcov, variance)
        line = _line_columns(design, group.name)
        rows.append((group.name, np.sqrt(variance), bent + line, float(group.n_levels + line)))
    return pd.DataFrame(rows, columns=["smooth", "sd", "edf", "most"]).set_index("smooth")


def draws_of_degrees_of_freedom(fit: Draws, ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.smooths`."""
    design = fit.design
    places = [k for k, group in enumerate(design.groups) if group in design.smooths]
    if not places:
        return pd.DataFrame(columns=["smooth", "quantity", *SUMMARY])
    values, problem, noise = fit.values, Problem.of(design), np.ones((fit.n_chains, fit.n_draws))
    if design.family.is_normal:
        noise = np.broadcast_to(values.family["sigma"], noise.shape)
    else:
        rough = rough_fit(design)
        weights = None if rough is None else rough.information
        problem = replace(problem, y=design.X.sum(axis=1), weights=weights, wide=turned(design, weights))
    chosen = np.linspace(0, noise.size - 1, min(noise.size, MOST_DRAWS)).astype(int)
    covariances = [flat(covariance)[chosen] for covariance in values.covariances]
    bent = degrees_of_freedom_given(problem, covariances, flat(noise)[chosen], places)
    rows = []
    for i, k in enumerate(places):
        name = design.groups[k].name
        sd = np.sqrt(values.covariances[k][..., 0, 0])
        edf = bent[:, i] + _line_columns(design, name)
        for quantity, drawn in (("sd", sd), ("edf", edf.reshape(1, -1))):
            table = fit.summarise(drawn[..., None], ci_prob, ci_kind)
            rows.append(table.assign(smooth=name, quantity=quantity))
    return pd.concat(rows, ignore_index=True)[["smooth", "quantity", *SUMMARY]]


def _bent(mode_variances: Array, slopes: Array, vcov: Array, variance: float) -> float:
    """J − tr(Cov(b − b̂))/τ²: what of the coefficients the data tell, mgcv's F = I − V S λ/σ² on the block."""
    if variance == 0.0:
        return 0.0
    moved = np.einsum("jqp,pr,jqr->", slopes, vcov, slopes)
    return float(len(mode_variances) - (mode_variances.sum() + moved) / variance)


def _line_columns(design: Design, name: str) -> int:
    """How many coefficients the straight line of a smooth has: its slope, of a curve times a number its height too."""
    _, C, _ = _one(design, name, None, derivative=False)
    return int(np.linalg.matrix_rank(C)) if np.abs(C).max(initial=0.0) > 0.0 else 0
