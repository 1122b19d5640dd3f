"""Variance components and ICC: one array formula for a point estimate and for draws (docs/theory.md, section 9).

Every function broadcasts over leading axes: a REML fit passes arrays without them, a posterior (chain, draw, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..spec.covariance import sd_and_correlation
from ..spec.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One row of the variance-component table; ``variance`` and ``sd`` (...,) broadcast over draws."""

    group: str
    term: str
    variance: Array
    sd: Array
    share: Array


def mean_group_variance(Z: Array, cov: Array) -> Array:
    """v = mean_i z_iᵀ Σ z_i (Johnson 2014, eq. 10): the variance a factor adds at the average row.

    Parameters
    ----------
    Z : (n, q) random-effect columns
    cov : (..., q, q)
    """
    second_moment = Z.T @ Z / Z.shape[0]
    return np.einsum("ab,...ab->...", second_moment, cov)


def components(design: Design, covariances: Sequence[Array], sigma: Array | float) -> list[Component]:
    """Variances and sds of every random-effect column and the residual.

    The share of a column is its variance at the average row, σ_k² mean(z_k²), out of the total, so that the shares
    of uncorrelated columns and of the residual add to one; covariances between columns belong to no single one.
    """
    total = np.asarray(sigma) ** 2 + sum(
        mean_group_variance(g.Z, cov) for g, cov in zip(design.groups, covariances, strict=True)
    )
    rows = []
    for group, cov in zip(design.groups, covariances, strict=True):
        mean_square = (group.Z**2).mean(axis=0)
        for k, term in enumerate(group.columns):
            variance = cov[..., k, k]
            share = variance * mean_square[k] / total
            rows.append(
                Component(group=group.name, term=term, variance=variance, sd=np.sqrt(variance), share=share)
            )
    residual = np.asarray(sigma) ** 2
    rows.append(
        Component(group="Residual", term="", variance=residual, sd=np.sqrt(residual), share=residual / total)
    )
    return rows


def correlations(design: Design, covariances: Sequence[Array]) -> list[tuple[str, str, str, Array]]:
    """(group, first column, second column, correlation (...,)) for every pair inside a block."""
    rows = []
    for group, cov in zip(design.groups, covariances, strict=True):
        _, cor = sd_and_correlation(cov)
        for block in group.blocks:
            for i, a in enumerate(block):
                for b in block[i + 1 :]:
                    rows.append((group.name, group.columns[a], group.columns[b], cor[..., a, b]))
    return rows


def icc(
    design: Design,
    covariances: Sequence[Array],
    sigma: Array | float,
    fixed_variance: Array,
) -> dict[str, Array]:
    """Intraclass correlations: ``adjusted``, ``unadjusted`` and one per grouping factor.

    ICC = Σ_k v_k / (Σ_k v_k + σ²); unadjusted: Var(Xβ) joins the denominator (Nakagawa, Johnson & Schielzeth 2017).

    Raises
    ------
    NotAvailableError
        The model has no random effects.
    """
    if not design.groups:
        raise NotAvailableError("an ICC compares groups; this model has no random effects")
    parts = {g.name: mean_group_variance(g.Z, cov) for g, cov in zip(design.groups, covariances, strict=True)}
    random = sum(parts.values(), np.zeros_like(np.asarray(sigma)))
    total = random + np.asarray(sigma) ** 2
    return {
        "adjusted": random / total,
        "unadjusted": random / (total + fixed_variance),
        **{name: part / total for name, part in parts.items()},
    }


def fixed_part_variance(design: Design, beta: Array) -> Array:
    """Var(Xβ) over the rows, with divisor n − 1, for β (..., p); through Cov(X), not through (..., n) fits."""
    if design.X.shape[1] == 0:
        return np.zeros(np.asarray(beta).shape[:-1])
    cov_x = np.atleast_2d(np.cov(design.X, rowvar=False))
    return np.einsum("...a,ab,...b->...", beta, cov_x, beta)


def icc_at(
    design: Design, covariances: Sequence[Array], sigma: Array | float, at: Mapping[str, Sequence[float]]
) -> tuple[pd.DataFrame, Array]:
    """ICC(x) = zᵀΣz / (zᵀΣz + σ²) at given covariate values, all factors together: (grid, (..., rows)).

    Raises
    ------
    InputError
        A name in ``at`` is not a variable of the model.
    """
    known = set(design.frame.columns)
    for name in at:
        if name not in known:
            raise InputError(f"icc(at=...): {name!r} is not a variable of the model; it has {sorted(known)}")
    index = pd.MultiIndex.from_product(list(at.values()), names=list(at))
    grid = index.to_frame(index=False)
    rows = pd.DataFrame({c: [design.frame[c].iloc[0]] * len(grid) for c in design.frame.columns})
    for name in at:
        rows[name] = grid[name].to_numpy()
    new = design.at(rows)
    random = sum(
        np.einsum("na,...ab,nb->...n", g.Z, cov, g.Z) for g, cov in zip(new.groups, covariances, strict=True)
    )
    return grid, random / (random + (np.asarray(sigma) ** 2)[..., None])
