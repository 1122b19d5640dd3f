"""Deviances of rows: twice the log density that the best linear predictor of a row's own would gain.

Families of which it is the density at μ = y have them in closed form; of the others the best one is searched row by
row. Its sign, and that of the residual, says on which side of the fitted linear predictor it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..design.design import Design
from ..families.densities import each_bend, each_bend_by_row, numbers
from ..tools.arrays import Array
from .moments import in_columns

STEPS = 200  # towards the best linear predictor: 40 lead to an infinite one, whose gain falls by e² a step
HALVINGS = 40
GAIN = 1e-13  # that a step promises, below which rounding decides
REACH = 4.0  # longest first step on the scale of a link that is not the identity


def deviance_residuals(
    design: Design, observed: Array, mean: Array, eta: Array, parameters: Mapping[str, Array]
) -> Array:
    """Signed roots (n,) of the unit deviances, in the units of a residual where the family has a residual sd.

    Parameters
    ----------
    design : Design
    observed, mean : (n,)
        Responses, over their trials, and what is expected of them; of an ordinal response not used.
    eta : (n,)
        Linear predictors at the estimates.
    parameters : mapping
        `Design.along` of the estimates.
    """
    family = design.family
    if family.has_unit_deviance:
        unit = family.unit_deviance(observed, mean, parameters, trials=design.trials, weights=design.weights)
        return np.asarray(np.sign(observed - mean) * np.sqrt(np.maximum(unit, 0.0)))
    values = _values(design, parameters)
    log_density = _log_density(design, values)
    best = _best(log_density, eta, _starts(design), float(np.std(design.working_response)))
    gained = np.maximum(log_density(best)[0] - log_density(eta)[0], 0.0)
    dispersion = parameters["sigma"] ** 2 if family.has_residual else 1.0
    return np.asarray(np.sign(best - eta) * np.sqrt(2.0 * gained * dispersion))


def _values(design: Design, parameters: Mapping[str, Array]) -> Array:
    """The family's parameters as the compiled densities take them: (r,), or (n, r) where rows have their own."""
    if design.family.has_cutpoints and not design.predictors:
        return np.ascontiguousarray(parameters[design.family.every_parameter[0]], dtype=float)
    columns = [np.atleast_1d(np.asarray(parameters[name], dtype=float)) for name in design.family.every_parameter]
    if all(column.shape == (1,) for column in columns):
        return np.array([float(column[0]) for column in columns])
    return in_columns(columns, design.n)


def _log_density(design: Design, values: Array) -> Callable[[Array], Array]:
    """Of linear predictors (n,) the log densities of the rows, without constants, and two derivatives (3, n)."""
    family, loops, ones = design.family, design.in_loops, np.ones(design.n)
    (kind, link), (y, trials) = numbers(loops.family.of_loops), loops.working_ends
    says_nothing = np.zeros(len(ones), dtype=bool) if loops is design else loops.counted == 0.0
    given = (ones if each is None else each for each in (y, trials, design.precisions))
    low, high, weights = (np.ascontiguousarray(each, dtype=float) for each in given)
    of_rows = each_bend_by_row if values.ndim == 2 else each_bend

    def log_density(eta: Array) -> Array:
        out = np.empty((3, len(eta)))
        with np.errstate(all="ignore"):
            relative_eta, of_values, unit = family.for_loops(np.ascontiguousarray(eta), values)
            of_rows(kind, link, low, high, weights, relative_eta, of_values, out)
            out[1], out[2] = out[1] / unit, out[2] / unit**2
        out[0] = np.where(np.isfinite(out).all(axis=0), out[0], -np.inf)
        out[:, says_nothing] = 0.0
        return out

    return log_density


def _starts(design: Design) -> Array | None:
    """Linear predictors of the responses themselves, where these are means."""
    if not design.family.has_mean:
        return None
    with np.errstate(all="ignore"):
        y = design.working_response if design.trials is None else design.y / np.maximum(design.trials, 1.0)
        return np.asarray(y if design.family.models_log else design.family.eta(y))


def _best(log_density: Callable[[Array], Array], eta: Array, starts: Array | None, spread: float) -> Array:
    """Where the log density of every row is largest, by Newton's steps uphill; far out where it has no largest."""
    best = eta.copy()
    here = log_density(best)
    if starts is not None:
        start_values = log_density(np.where(np.isfinite(starts), starts, eta))
        nearer = np.isfinite(starts) & (start_values[0] > here[0])
        best, here = np.where(nearer, starts, best), np.where(nearer, start_values, here)
    longest = np.full(len(eta), max(REACH, spread))
    for _ in range(STEPS):
        value, slope, bend = here
        with np.errstate(all="ignore"):
            step = np.clip(slope / np.maximum(np.abs(bend), 1e-300), -longest, longest)
        moving = np.isfinite(step) & (np.abs(slope * step) > GAIN * (1.0 + np.abs(value)))
        if not moving.any():
            break
        size = np.where(moving, 1.0, 0.0)
        for _ in range(HALVINGS):
            trial = log_density(best + size * step)
            worse = ~(trial[0] >= value) & (size > 0.0)
            if not worse.any():
                break
            size[worse] *= 0.5
        size[worse] = 0.0
        if not size.any():
            break
        kept = size > 0.0
        best, here = np.where(kept, best + size * step, best), np.where(kept, trial, here)
    return best
