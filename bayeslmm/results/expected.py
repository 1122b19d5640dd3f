"""Rows of a posterior: fitted values, residuals, predictions, simulated responses.

All go through `Rows`, which holds the draws of every effect that the rows need and never more than a few million
numbers of the linear predictor at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from ..errors import DataError, InputError, NotAvailableError
from ..spec.design import Design
from ..spec.family import Family
from ..spec.newdata import NewDesign
from ..spec.plan import from_outside
from . import variance
from .moments import expected_over, expected_response, response_variance
from .predict import KINDS, check_simulated, label_places, new_rows, seen_codes, targets
from .simulation import simulate_response
from .summaries import flat

if TYPE_CHECKING:
    from .posterior import PosteriorFit

Array = NDArray[np.float64]

NUMBERS = 8_000_000  # of a linear predictor held at a time: 64 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """n rows under S draws.

    Attributes
    ----------
    beta : (S, p)
    X, offset : (n, p), (n,)
    effects : tuple of (b (q, J, S), codes (n,), Z (n, q))
        Of the factors whose levels have effects here.
    averaged : tuple of (covariances (S, q, q), Z (n, q))
        Of the factors that are averaged over.
    parameters : mapping
        Of the family, (S, ...).
    trials, weights : (n,) or None
    """

    family: Family
    beta: Array
    X: Array
    offset: Array
    effects: tuple[tuple[Array, NDArray[np.int64], Array], ...]
    averaged: tuple[tuple[Array, Array], ...]
    parameters: Mapping[str, Array]
    trials: Array | None
    weights: Array | None

    def blocks(self) -> Iterator[slice]:
        """Slices of rows that are small enough to hold."""
        step = max(1, NUMBERS // len(self.beta))
        for first in range(0, len(self.X), step):
            yield slice(first, min(first + step, len(self.X)))

    def eta(self, rows: slice) -> Array:
        """Linear predictor (S, rows) with the effects of the groups that have any; the draws of a row lie together."""
        eta = self.X[rows] @ self.beta.T + self.offset[rows, None]
        for b, codes, Z in self.effects:
            for k in range(Z.shape[1]):
                column = Z[rows, k, None]
                eta += b[k, codes[rows]] if np.all(column == 1.0) else b[k, codes[rows]] * column
        return eta.T

    def spread(self, rows: slice) -> Array | None:
        """Sd (S, rows) that the factors averaged over add to the linear predictor."""
        if not self.averaged:
            return None
        total = sum(np.einsum("na,sab,nb->sn", Z[rows], cov, Z[rows]) for cov, Z in self.averaged)
        return np.sqrt(np.maximum(total, 0.0))

    def mean(self, rows: slice) -> Array:
        """Expected responses (S, rows), or (S, rows, K)."""
        weights = None if self.weights is None else self.weights[rows]
        eta, spread = self.eta(rows), self.spread(rows)
        if spread is None:
            return expected_response(self.family, eta, self.parameters, weights=weights)
        return expected_over(self.family, eta, spread, self.parameters, weights=weights)

    def response(self, rows: slice, rng: Generator) -> Array:
        """A response (S, rows) for every draw."""
        eta, spread = self.eta(rows), self.spread(rows)
        if spread is not None:
            eta += spread * rng.standard_normal(eta.shape)
        cut = {
            name: None if v is None else v[rows]
            for name, v in (("trials", self.trials), ("weights", self.weights))
        }
        return simulate_response(self.family, eta, parameters=self.parameters, rng=rng, **cut)


def _rows_of(
    fit: PosteriorFit, new: NewDesign, asked: Mapping[str, str], rng: Generator, *,
    trials: Array | None, weights: Array | None, chosen: Any = slice(None),
) -> Rows:  # fmt: skip
    """Rows under the draws of a posterior; ``chosen`` takes some of them."""
    values, effects, averaged = fit.values, [], []
    places = {g.name: g for g in new.groups}
    for group, cov in zip(fit.design.groups, values.covariances, strict=True):
        target, cov = asked[group.name], flat(cov)[chosen]
        if target == "average":
            continue
        here = places[group.name]
        if target == "observed":
            b, codes = flat(fit.draws(f"b_{group.name}"))[chosen], seen_codes(here)
            effects.append((_draws_last(b), codes, here.Z))
        elif target == "new":
            codes, count = label_places(here)
            effects.append((_draws_last(_new_effects(cov, count, rng)), codes, here.Z))
        else:
            averaged.append((cov, here.Z))
    return Rows(
        family=fit.design.family,
        beta=flat(values.beta)[chosen],
        X=new.X,
        offset=new.offset,
        effects=tuple(effects),
        averaged=tuple(averaged),
        parameters={name: flat(fit.draws(name))[chosen] for name in fit.design.family.parameters},
        trials=trials,
        weights=weights,
    )


def _draws_last(b: Array) -> Array:
    """Effects (S, J, q) as (q, J, S)."""
    return np.ascontiguousarray(b.transpose(2, 1, 0))


def _new_effects(cov: Array, count: int, rng: Generator) -> Array:
    """Effects (S, count, q) of groups not seen before, from each draw's covariance matrix; it may be singular."""
    values, vectors = np.linalg.eigh(cov)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return rng.standard_normal((len(cov), count, cov.shape[-1])) @ root.swapaxes(-1, -2)


def _own_rows(
    fit: PosteriorFit, groups: str | Mapping[str, str] = "observed", *, rng: Generator | None = None,
    chosen: Any = slice(None),
) -> Rows:  # fmt: skip
    """The rows of the fit."""
    design, asked = fit.design, targets(fit.design, groups)
    return _rows_of(
        fit, new_rows(design, None, [n for n, t in asked.items() if t != "average"], None), asked,
        rng or default_rng(), trials=design.trials, weights=design.weights, chosen=chosen,
    )  # fmt: skip


# -- rows of the fit


def fitted(fit: PosteriorFit) -> Array:
    """Posterior mean of the expected response, (n,) or (n, K)."""
    rows = _own_rows(fit)
    if fit.design.family.link == "identity" and fit.design.family.name not in ("lognormal", "ordinal"):
        eta = rows.X @ rows.beta.mean(axis=0) + rows.offset
        for b, codes, Z in rows.effects:
            eta += np.einsum("nq,nq->n", Z, b.mean(axis=2).T[codes])
        return eta
    return np.concatenate([rows.mean(block).mean(axis=0) for block in rows.blocks()])


def fitted_and_sd(fit: PosteriorFit, groups: str = "observed") -> tuple[Array, Array]:
    """Posterior mean and sd of the expected response, (n,) or (n, K)."""
    rows = _own_rows(fit, groups)
    parts = [(mean.mean(axis=0), mean.std(axis=0, ddof=1)) for mean in map(rows.mean, rows.blocks())]
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([sd for _, sd in parts])


def fitted_draws(fit: PosteriorFit) -> Any:
    """Draws (chain, draw, obs) of the expected response."""
    rows = _own_rows(fit)
    return _as_draws(
        fit, np.concatenate([rows.mean(block) for block in rows.blocks()], axis=1), fit.design.index
    )


def residuals(fit: PosteriorFit, kind: str, *, draws: bool) -> Any:
    """Residuals of every draw or their mean (n,)."""
    if kind not in ("raw", "pearson", "scaled"):
        raise InputError(f"residuals(kind={kind!r}): kind is 'raw', 'pearson' or 'scaled'")
    design, rows = fit.design, _own_rows(fit)
    observed = design.y if design.trials is None else design.y / design.trials
    if kind == "raw" and not draws and design.family.name != "ordinal":
        return observed - fitted(fit)
    parts = []
    for block in rows.blocks():
        mean = rows.mean(block)
        spread = response_variance(
            design.family, mean, rows.parameters, unit=kind == "pearson",
            trials=None if design.trials is None else design.trials[block],
            weights=None if design.weights is None else design.weights[block],
        )  # fmt: skip
        raw = observed[block] - mean
        part = (
            raw
            if kind == "raw"
            else np.divide(raw, np.sqrt(spread), out=np.zeros_like(raw), where=spread > 0.0)
        )
        parts.append(part if draws else part.mean(axis=0))
    return _as_draws(fit, np.concatenate(parts, axis=1), design.index) if draws else np.concatenate(parts)


def bayes_r2(fit: PosteriorFit) -> Array:
    """`variance.bayes_r2` (chain, draw)."""
    design, rows = fit.design, _own_rows(fit)
    if design.family.name == "ordinal":
        raise NotAvailableError(
            "categories have no variance: an ordinal response has no Bayesian R²; see r2()"
        )
    n = design.n
    centre, total, square, residual = np.zeros((4, len(rows.beta)))
    for block in rows.blocks():
        mean = rows.mean(block)
        spread = response_variance(
            design.family, mean, rows.parameters,
            trials=None if design.trials is None else design.trials[block],
            weights=None if design.weights is None else design.weights[block],
        )  # fmt: skip
        if block.start == 0:
            centre = mean.mean(axis=1)  # near the mean of all, so that the squares lose no digits
        away = mean - centre[:, None]
        total, square = total + away.sum(axis=1), square + (away**2).sum(axis=1)
        residual = residual + spread.sum(axis=1)
    of_fit = (square - total**2 / n) / (n - 1)
    return variance.bayes_r2(of_fit, residual / n).reshape(fit.n_chains, fit.n_draws)


def simulate(
    fit: PosteriorFit, n: int, random_seed: int | None, groups: str | Mapping[str, str]
) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.simulate`."""
    asked = targets(fit.design, groups)
    check_simulated(asked, n)
    rng = default_rng(random_seed)
    available = fit.n_chains * fit.n_draws
    chosen = rng.choice(available, size=n, replace=n > available)
    rows = _own_rows(fit, groups, rng=rng, chosen=chosen)
    values = np.concatenate([rows.response(block, rng) for block in rows.blocks()], axis=1)
    return pd.DataFrame(values.T, index=fit.design.index, columns=[f"sim_{i + 1}" for i in range(n)])


# -- new rows


def predict(
    fit: PosteriorFit, newdata: Any, groups: str | Mapping[str, str], *, kind: str, draws: bool,
    random_seed: int | None, offset: Any, trials: Any, summarise: Callable[[Array], pd.DataFrame],
) -> Any:  # fmt: skip
    """The table or draws behind :meth:`PosteriorFit.predict`."""
    if kind not in KINDS:
        raise InputError(f"predict(kind={kind!r}): kind is {' or '.join(map(repr, KINDS))}")
    design, asked, rng = fit.design, targets(fit.design, groups), default_rng(random_seed)
    needed = [n for n, target in asked.items() if target in ("observed", "new")]
    new = new_rows(
        design, newdata, needed, offset, averaged=[n for n, t in asked.items() if t == "population"]
    )
    rows = _rows_of(
        fit, new, asked, rng, trials=_trials(design, newdata, kind, trials),
        weights=design.weights if newdata is None else None,
    )  # fmt: skip
    if draws:
        parts = [rows.mean(b) if kind == "mean" else rows.response(b, rng) for b in rows.blocks()]
        return _as_draws(fit, np.concatenate(parts, axis=1), new.index)
    tables = []
    for block in rows.blocks():
        values = rows.mean(block) if kind == "mean" else rows.response(block, rng)
        table = summarise(values.reshape(1, len(values), -1))
        index = new.index[block]
        if values.ndim == 3:
            table.insert(0, "category", np.tile(np.array(design.levels, dtype=object), len(index)))
            index = index.repeat(len(design.levels))
        tables.append(table.set_axis(index))
    return pd.concat(tables)


def _trials(design: Design, newdata: Any, kind: str, trials: Any) -> Array | None:
    if design.trials is None:
        return None
    if trials is None and newdata is None:
        return design.trials
    if trials is None:
        if kind == "mean":
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


def _as_draws(fit: PosteriorFit, values: Array, index: pd.Index) -> Any:
    """Draws (S, obs) or (S, obs, category) as a DataArray (chain, draw, obs, ...)."""
    import xarray as xr

    dims = ["chain", "draw", "obs", "category"][: values.ndim + 1]
    coords: dict[str, Any] = {"obs": index.to_numpy()}
    if values.ndim == 3:
        coords["category"] = np.array(fit.design.levels, dtype=object)
    shaped = values.reshape(fit.n_chains, fit.n_draws, *values.shape[1:])
    return xr.DataArray(shaped, dims=dims, coords=coords, name=fit.design.response)
