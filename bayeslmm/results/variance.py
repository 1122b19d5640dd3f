"""Variance components and ICC: one array formula for a point estimate and for draws (docs/theory.md, section 9).

Every function broadcasts over leading axes: a REML fit passes arrays without them, a posterior (chain, draw, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..spec.covariance import sd_and_correlation
from ..spec.design import Design, GroupTerm

Array = NDArray[np.float64]


def mean_group_variance(Z: Array, cov: Array) -> Array:
    """v = mean_i z_iᵀ Σ z_i (Johnson 2014, eq. 10): the variance a factor adds at the average row.

    Parameters
    ----------
    Z : (n, q) random-effect columns
    cov : (..., q, q)
    """
    second_moment = Z.T @ Z / Z.shape[0]
    return np.einsum("ab,...ab->...", second_moment, cov)


_LATENT = {"logit": (np.pi**2 / 3.0, "pi^2/3"), "probit": (1.0, "1"), "cloglog": (np.pi**2 / 6.0, "pi^2/6")}


def residual_variance(design: Design, drawn: Mapping[str, Array], random: Array) -> tuple[Array | None, str]:
    """The variance that groups' is compared with, on the scale of the linear predictor (...,), and its name.

    ``drawn`` has draws of ``beta`` (..., p) and of the family's parameters (...,).

    σ² of normal residuals; that of the variable behind a threshold for logit, probit and cloglog; the observation-level
    variance of Nakagawa, Johnson & Schielzeth (2017, lognormal approximation) for log links of poisson, negbinomial and
    gamma, at the mean exp(mean(Xβ) + mean(offset) + v/2), where ``random`` is v, the variance of the random effects.

    Returns
    -------
    None, and the reason, where there is no such variance.
    """
    family = design.family
    if family.is_normal:
        return drawn["sigma"] ** 2, "residual: sigma^2"
    if family.name == "student_t" and family.link == "identity":
        nu = drawn["nu"]
        finite = np.divide(nu, nu - 2.0, out=np.full_like(nu, np.inf), where=nu > 2.0)
        return drawn["sigma"] ** 2 * finite, "residual: sigma^2 nu/(nu - 2)"
    if family.name in ("bernoulli", "binomial", "ordinal") and family.link in _LATENT:
        value, name = _LATENT[family.link]
        return np.full(np.shape(random), value), f"latent residual: {name}"
    if family.link == "log" and family.name in ("poisson", "negbinomial"):
        with np.errstate(all="ignore"):
            log_mean = drawn["beta"] @ design.X.mean(axis=0) + design.offset.mean() + random / 2.0
            extra = 1.0 / drawn["shape"] if family.name == "negbinomial" else 0.0
            added = "1/mean + 1/shape" if family.name == "negbinomial" else "1/mean"
            return np.log1p(np.exp(-log_mean) + extra), f"residual: log(1 + {added})"
    if family.link == "log" and family.name == "gamma":
        return np.log1p(1.0 / drawn["shape"]), "residual: log(1 + 1/shape)"
    reason = (
        "a Cauchy variable has no variance"
        if family.link == "cauchit"
        else "the residual variance on the scale of the linear predictor has no simple form"
    )
    return None, f"No ICC, no R² and no shrinkage for {family}: {reason}."


def components(
    design: Design, covariances: Sequence[Array], sigma: Array | float | None
) -> list[tuple[str, str, str, Array]]:
    """(group, term, quantity, value (...,)) for every variance, sd, share and correlation, residual last.

    The ``share`` is of a whole grouping factor, v_k over Σ v + σ² at the average row, so that shares lie between 0 and
    1 and add to one; correlated columns of a factor have no shares of their own. Without a ``sigma`` there are no
    shares and no residual rows.
    """
    parts = [mean_group_variance(g.Z, cov) for g, cov in zip(design.groups, covariances, strict=True)]
    residual = np.asarray(0.0 if sigma is None else sigma) ** 2
    total = residual + sum(parts)
    rows: list[tuple[str, str, str, Array]] = []
    for group, cov, part in zip(design.groups, covariances, parts, strict=True):
        for k, term in enumerate(group.columns):
            rows.append((group.name, term, "variance", cov[..., k, k]))
            rows.append((group.name, term, "sd", np.sqrt(cov[..., k, k])))
        rows += correlations(group, cov)
        if sigma is not None:
            rows.append((group.name, "", "share", part / total))
    if sigma is None:
        return rows
    rows.append(("Residual", "", "variance", residual))
    rows.append(("Residual", "", "sd", np.sqrt(residual)))
    rows.append(("Residual", "", "share", residual / total))
    return rows


def correlations(group: GroupTerm, cov: Array) -> list[tuple[str, str, str, Array]]:
    """A row as in `components` for every pair of columns inside a block."""
    _, cor = sd_and_correlation(cov)
    return [
        (group.name, f"{group.columns[a]}, {group.columns[b]}", "cor", cor[..., a, b])
        for block in group.blocks
        for i, a in enumerate(block)
        for b in block[i + 1 :]
    ]


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


def r2(
    design: Design, covariances: Sequence[Array], sigma: Array | float, fixed_variance: Array
) -> dict[str, Array]:
    """Nakagawa, Johnson & Schielzeth's (2017) R²: share of Var(Xβ), and of it and the random effects, in the total."""
    parts = [mean_group_variance(g.Z, cov) for g, cov in zip(design.groups, covariances, strict=True)]
    explained = fixed_variance + sum(parts, np.zeros_like(np.asarray(sigma)))
    total = explained + np.asarray(sigma) ** 2
    return {"marginal": fixed_variance / total, "conditional": explained / total}


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
