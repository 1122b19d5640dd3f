"""Rows of a posterior: fitted values, residuals, predictions, simulated responses. All go through `Rows`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from ..design.categories import as_seen, as_table
from ..design.design import Design
from ..design.names import EACH, RESPONSE, ROW
from ..design.plan import from_outside
from ..engine.randomness import generator
from ..errors import DataError, InputError, NotAvailableError
from ..tools.arrays import Array
from . import variance
from .draws import Draws
from .moments import keeps_mean
from .parameter_rows import predict_draws, refuse_beside_parameter
from .rows import Rows, own_rows, responses_around, rows_of
from .shares import check_shares, shares_of
from .summaries import flat
from .targets import (
    Transform,
    asked_rows,
    check_count,
    check_kind,
    check_residuals,
    check_transform,
    of_seen,
    target_columns,
    targets,
)

# -- rows of the fit


def fitted(fit: Draws) -> Array:
    """Posterior mean of the expected response, (n,) or (n, K)."""
    design = fit.design
    if keeps_mean(design.family):
        eta = design.X @ flat(fit.values.beta).mean(axis=0) + design.offset
        for group in design.groups:
            eta += group.contribution(flat(fit.draws(fit.design.names.b[group.name])).mean(axis=0))
        return eta
    rows = own_rows(fit)
    return np.concatenate([rows.mean(block).mean(axis=0) for block in rows.blocks()])


def fitted_and_sd(fit: Draws, groups: str = "observed") -> tuple[Array, Array]:
    """Posterior mean and sd of the expected response, (n,) or (n, K)."""
    rows = own_rows(fit, groups)
    parts = [(mean.mean(axis=0), mean.std(axis=0, ddof=1)) for mean in map(rows.mean, rows.blocks())]
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([sd for _, sd in parts])


def fitted_draws(fit: Draws) -> Any:
    """Draws (chain, draw, obs) of the expected response."""
    rows = own_rows(fit)
    return as_draws(fit, np.concatenate([rows.mean(block) for block in rows.blocks()], axis=1), fit.design.index)


def residuals(fit: Draws, kind: str, *, draws: bool) -> Any:
    """Residuals of every draw or their mean (n,)."""
    check_residuals(kind)
    design, rows = fit.design, own_rows(fit)
    design.refuse_censored("residuals()")
    observed = design.y if design.trials is None else design.y / design.trials
    if kind == "raw" and not draws and design.family.has_mean:
        return observed - fitted(fit)
    parts = []
    for block in rows.blocks():
        mean = rows.mean(block)
        spread = design.family.variance(
            mean,
            rows.parameters_at(block),
            unit=kind == "pearson",
            trials=None if design.trials is None else design.trials[block],
            weights=None if design.weights is None else design.weights[block],
        )
        if rows.residual is not None:  # whose sds hang on the row; Pearson's are in units of sigma
            of_sigma = rows.parameters["sigma"] if kind == "pearson" else 1.0
            spread = np.broadcast_to((rows.residual_sds(block) / of_sigma) ** 2, mean.shape)
        raw = observed[block] - mean
        part = raw if kind == "raw" else np.divide(raw, np.sqrt(spread), out=np.zeros_like(raw), where=spread > 0.0)
        parts.append(part if draws else part.mean(axis=0))
    return as_draws(fit, np.concatenate(parts, axis=1), design.index) if draws else np.concatenate(parts)


def bayes_r2(fit: Draws) -> Array:
    """`variance.bayes_r2` (chain, draw)."""
    design, rows = fit.design, own_rows(fit)
    if design.family.has_categories:
        design.refuse_nominal("bayes_r2()", "categories have no variance")
        raise NotAvailableError("categories have no variance: an ordinal response has no Bayesian R²; see r2()")
    n = design.n_counted
    centre, total, square, residual = np.zeros((4, len(rows.beta)))
    for block in rows.blocks():
        mean = rows.mean(block)
        spread = design.family.variance(
            mean,
            rows.parameters_at(block),
            trials=None if design.trials is None else design.trials[block],
            weights=None if design.weights is None else design.weights[block],
        )
        if rows.residual is not None:
            spread = np.broadcast_to(rows.residual_sds(block) ** 2, mean.shape)
        if block.start == 0:
            centre = mean.mean(axis=1)  # near the mean of all, so that the squares lose no digits
        centred = mean - centre[:, None]
        counted = design.counted[block]
        total, square = total + centred @ counted, square + centred**2 @ counted
        residual = residual + spread @ counted
    of_fit = (square - total**2 / n) / (n - 1)
    return variance.bayes_r2(of_fit, residual / n).reshape(fit.n_chains, fit.n_draws)


def simulate(fit: Draws, n: int, random_seed: int | None, groups: str | Mapping[str, str]) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.simulate`."""
    check_count("n", n)
    rng = generator(random_seed)
    available = fit.n_chains * fit.n_draws
    chosen = rng.choice(available, size=n, replace=n > available)
    asked = of_seen(targets(fit.design, groups, "simulate"))
    rows = own_rows(fit, asked, rng=rng, chosen=chosen)
    if fit.design.residual is not None:
        return as_table(fit.design, responses_around(rows, fit.design.residual.structure, rng))
    return as_table(fit.design, np.concatenate([rows.response(block, rng) for block in rows.blocks()], axis=1))


def posterior_predictive(fit: Draws, random_seed: int | None) -> Any:
    """The Dataset behind :meth:`PosteriorFit.compute_posterior_predictive`."""
    import xarray as xr

    design, rng, rows = fit.design, generator(random_seed), own_rows(fit)
    if design.residual is not None:
        values = responses_around(rows, design.residual.structure, rng)
    else:
        values = as_seen(design, np.concatenate(rows.over_blocks(rows.response, rng), axis=1))
    dataset = xr.Dataset(
        {RESPONSE: ((*EACH, ROW), values.reshape(fit.n_chains, fit.n_draws, design.n))},
        coords={step: fit.idata.posterior[step].to_numpy() for step in EACH} | {ROW: design.index.to_numpy()},
    )
    return dataset.assign_attrs(sample_dims=list(EACH))


# -- new rows


def predict(
    fit: Draws,
    newdata: Any,
    groups: str | Mapping[str, str],
    *,
    kind: str,
    draws: bool | int,
    shares: bool,
    random_seed: int | None,
    offset: Any,
    trials: Any,
    transform: Transform | None,
    parameter: str | None,
    summarise: Callable[[Array], pd.DataFrame],
) -> Any:
    """The table or draws behind :meth:`PosteriorFit.predict`."""
    design, asked = fit.design, targets(fit.design, groups)
    check_kind(kind)
    if kind == "response" and draws is False:
        design.refuse_nominal(
            "predict(kind='response')",
            "categories have no mean and no order. kind='mean' has their probabilities, draws=True draws of them by "
            "number",
        )
    check_transform(design, transform)
    check_shares(design, shares, transform)
    if parameter is not None:
        refuse_beside_parameter(kind=(kind, "mean"), shares=(shares, False), transform=(transform, None))
        return _parameter(fit, newdata, parameter, draws, asked, generator(random_seed), summarise)
    if shares and draws is not False:
        raise InputError("predict(shares=True, draws=...): shares are columns of the table; draws have none")
    if draws is not False and kind == "response" and newdata is not None:
        design.refuse_correlated("predict(draws=..., kind='response') of new rows")
    new, rng = asked_rows(design, newdata, asked, offset), generator(random_seed)
    needed = kind == "response" or shares or transform is not None
    rows = rows_of(
        fit,
        new,
        asked,
        rng,
        trials=trials_of(design, newdata, kind, trials),
        weights=design.weights_at(newdata, needed=needed),
        chosen=chosen_draws(fit, draws),
        columns=design.residual_columns(newdata, needed=needed),
    )
    rows, order = replace(rows, transform=transform).by_new_group()
    if draws is not False:
        values = _responses(rows, design, order, rng) if kind == "response" else None
        if values is None:
            parts = rows.over_blocks(lambda block, rng: values_of_rows(rows, design, kind, block, rng), rng)
            values = np.concatenate(parts, axis=1)
        values = values if order is None else values[:, np.argsort(order)]
        coords = {name: ("obs", column) for name, column in target_columns(new, asked).items()}
        return as_draws(fit, values, new.index).assign_coords(coords)
    table = prediction_table(rows, order, new.index, design, kind, rng, shares, summarise)
    repeated = len(table) // max(len(new.index), 1)
    return table.assign(**{name: np.repeat(c, repeated) for name, c in target_columns(new, asked).items()})


def _responses(rows: Rows, design: Design, order: NDArray[np.intp] | None, rng: Generator) -> Array | None:
    """Responses (S, n) at the rows of the fit, where they are correlated; None where they are not."""
    if design.residual is None or not design.residual.is_correlated:
        return None
    structure = design.residual.structure
    y = responses_around(rows, structure if order is None else structure.taking(order), rng)
    return y if rows.transform is None else rows.transform(y)


def _parameter(
    fit: Draws,
    newdata: Any,
    parameter: str,
    draws: bool | int,
    asked: Mapping[str, str],
    rng: Generator,
    summarise: Callable[[Array], pd.DataFrame],
) -> Any:
    chosen = chosen_draws(fit, draws)
    if draws is False:
        return predict_draws(fit, newdata, parameter, chosen, asked, rng, summarise)
    values, index = predict_draws(fit, newdata, parameter, chosen, asked, rng, None)
    return as_draws(fit, values, index).rename(parameter)


def prediction_table(
    rows: Rows,
    order: NDArray[np.intp] | None,
    index: pd.Index,
    design: Design,
    kind: str,
    rng: Generator,
    shares: bool,
    summarise: Callable[[Array], pd.DataFrame],
) -> pd.DataFrame:
    """Summaries of predictions in the order of an index, and what their variance is made of."""

    def of(block: slice, rng: Generator) -> pd.DataFrame:
        values = values_of_rows(rows, design, kind, block, rng)
        table = summarise(values.reshape(1, len(values), -1))
        return table.join(shares_of(rows, block, design, kind, rng)) if shares else table

    table = pd.concat(rows.over_blocks(of, rng), ignore_index=True)
    categories = len(design.levels) if design.family.has_categories and kind == "mean" else 1
    if order is not None:
        places = np.argsort(order)[:, None] * categories + np.arange(categories)
        table = table.take(places.reshape(-1))
    if categories > 1:
        table.insert(0, "category", np.tile(np.array(design.levels, dtype=object), len(index)))
    return table.set_axis(index.repeat(categories))


def values_of_rows(rows: Rows, design: Design, kind: str, block: slice, rng: Generator) -> Array:
    """Draws of the expected response, or of a response, with categories as they are called in the data."""
    if kind == "mean":
        return rows.mean(block)
    y = rows.response(block, rng)
    return as_seen(design, y).astype(np.float64) if design.family.has_categories else y


def chosen_draws(fit: Draws, draws: bool | int) -> Any:
    """All draws, or about as many as a number says, the same evenly spaced ones of every chain."""
    if isinstance(draws, bool):
        return slice(None)
    check_count("draws", draws)
    per_chain = min(fit.n_draws, -(-draws // fit.n_chains))
    within = np.arange(per_chain) * fit.n_draws // per_chain
    return (np.arange(fit.n_chains)[:, None] * fit.n_draws + within).reshape(-1)


def trials_of(design: Design, newdata: Any, kind: str, trials: Any) -> Array | None:
    """Trials of the rows asked for, where responses are counts of successes."""
    if design.trials is None:
        if trials is not None:
            raise InputError(
                f"predict(trials=...): a response of {design.family.option} is no number of successes in trials"
            )
        return None
    if trials is None and newdata is None:
        return design.trials
    if trials is None:
        if kind != "response":
            return None
        raise InputError(
            "predict(kind='response'): new binomial observations need their trials: trials='column of newdata', or a "
            "number"
        )
    if newdata is None:
        raise InputError("predict(trials=...): the rows of the fit have their own; trials= is for newdata")
    if isinstance(trials, str) and trials not in newdata:
        raise DataError(f"predict(trials={trials!r}): newdata has no such column")
    if np.ndim(trials) == 0 and not isinstance(trials, str):
        trials = np.full(len(newdata), trials)
    values = from_outside(trials, newdata, "trials")
    assert values is not None
    if not (np.isfinite(values).all() and (values >= 0).all() and (values == np.rint(values)).all()):
        raise DataError("predict(trials=...): trials are whole numbers, not negative")
    return values


def as_draws(fit: Draws, values: Array, index: pd.Index) -> Any:
    """Draws (S, obs) or (S, obs, category) as a DataArray (chain, draw, obs, ...)."""
    import xarray as xr

    dims = ["chain", "draw", "obs", "category"][: values.ndim + 1]
    coords: dict[str, Any] = {"obs": index.to_numpy()}
    if values.ndim == 3:
        coords["category"] = np.array(fit.design.levels, dtype=object)
    shaped = values.reshape(fit.n_chains, len(values) // fit.n_chains, *values.shape[1:])
    return xr.DataArray(shaped, dims=dims, coords=coords, name=fit.design.response)
