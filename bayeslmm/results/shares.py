"""What the variance of a prediction is made of: fixed effects, every grouping factor, residual (docs/predictions.md).

A part's share is its covariance with the linear predictor over the variance of the prediction. So shares add up to one
and what two parts have in common, such as the intercept and the effect of an observed group, which the data tell better
in sum than apart, is split evenly between them. A share can be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator

from ..design.design import Design
from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from .moments import expected_response, keeps_mean
from .rows import Effects, Rows, WideEffects
from .variance import told_as


def check_shares(design: Design, shares: bool, transform: Any) -> None:
    """Raise unless a prediction of this model has shares of variance."""
    if shares and not design.family.has_mean:
        raise NotAvailableError("predict(shares=True): categories have no variance that could be shared out")
    if shares and transform is not None:
        raise InputError("predict(shares=True, transform=...): shares are told of the response as the model has it")


def share_table(design: Design, parts: Array, residual: Array) -> pd.DataFrame:
    """Columns share_fixed, share_<factor>, share_residual from parts of the variance (rows, 1 + factors) and (rows,).

    An infinite residual variance, of Student t with nu <= 2, is all there is.
    """
    variances = np.column_stack([parts, residual])
    endless = np.isinf(residual)
    variances[endless] = 0.0
    variances[endless, -1] = 1.0
    with np.errstate(invalid="ignore"):  # nothing varies: 0/0
        shares = variances / variances.sum(axis=1, keepdims=True)
    factors = (told_as(group.name, ("fixed", "residual")) for group in design.groups)
    names = ["fixed", *factors, "residual"]
    return pd.DataFrame(shares, columns=[f"share_{name}" for name in names])


def shares_of(rows: Rows, block: slice, design: Design, kind: str, rng: Generator) -> pd.DataFrame:
    """Shares of the rows of a block under draws.

    Notes
    -----
    On the scale of the response, var(y) = var(E(y | η)) + mean(var(y | η)) over the draws. The first is split by the
    linear predictor's parts where the link is not the identity: the split is exact for a straight link.
    """
    parts = _parts(rows, block, design, kind)
    if kind == "mean":
        return share_table(design, parts, np.zeros(len(parts)))
    if keeps_mean(rows.family):
        mean, between = rows.mean(block), parts.sum(axis=1)
    else:
        mean = _mean_of_any_group(rows, block, rng)
        between = mean.var(axis=0, ddof=1)
        with np.errstate(invalid="ignore"):
            parts = parts * (between / parts.sum(axis=1))[:, None]
    if rows.residual is not None:
        return share_table(design, parts, (rows.residual_sds(block) ** 2).mean(axis=0))
    within = rows.family.variance(
        mean,
        rows.parameters_at(block),
        trials=None if rows.trials is None else rows.trials[block],
        weights=None if rows.weights is None else rows.weights[block],
    )
    return share_table(design, parts, within.mean(axis=0))


def _parts(rows: Rows, block: slice, design: Design, kind: str) -> Array:
    """Variance (rows, 1 + factors) of the linear predictor by fixed effects and grouping factors."""
    fixed = rows.X[block] @ rows.beta.T
    observed = {
        effect.name: _effect(effect, block, fixed.shape) for effect in rows.effects if effect.covariance is None
    }
    total = sum(observed.values(), fixed)
    total = total - total.mean(axis=1, keepdims=True)
    shares_of = {name: _covariances(part, total) for name, part in {"": fixed, **observed}.items()}
    fresh: Sequence[Any] = [effect for effect in rows.effects if effect.covariance is not None]
    if kind == "response":
        fresh = [*fresh, *rows.averaged]
    for part in fresh:  # independent of all else, given the draws: no need to look at them
        Z = part.Z[block]
        group_variance = np.einsum("na,ab,nb->n", Z, part.covariance.mean(axis=0), Z)
        shares_of[part.name] = (
            shares_of.get(part.name, 0.0) + group_variance
        )  # of rows with known levels and of the others
    zeros = np.zeros(len(fixed))
    return np.column_stack([shares_of[""], *(shares_of.get(group.name, zeros) for group in design.groups)])


def _effect(effects: Effects | WideEffects, block: slice, shape: tuple[int, ...]) -> Array:
    eta = np.zeros(shape)
    effects.add(eta, block)
    return eta


def _covariances(part: Array, centred: Array) -> Array:
    """Covariance (rows,) of draws (rows, S) with centred ones."""
    return np.einsum("ns,ns->n", part, centred) / max(part.shape[1] - 1, 1)


def _mean_of_any_group(rows: Rows, block: slice, rng: Generator) -> Array:
    """Expected responses (S, rows), those of factors averaged over at a group drawn for every row."""
    spread = rows.spread(block)
    if spread is None:
        return rows.mean(block)
    eta = rows.eta(block) + spread * rng.standard_normal(spread.shape)
    weights = None if rows.weights is None else rows.weights[block]
    return expected_response(rows.family, eta, rows.parameters_at(block), weights=weights)
