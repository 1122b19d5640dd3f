"""Degrees of freedom for t tests of fixed effects (docs/theory.md, section 10).

Satterthwaite as lmerTest (Kuznetsova, Brockhoff & Christensen 2017), Kenward–Roger (1997) as pbkrtest (Halekoh &
Højsgaard 2014), both on the cross-products alone: no n × n matrix appears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..spec.covariance import Template
from . import pls
from .criterion import Criterion, prepare
from .reml import PointSolution
from .scaling import Problem

Array = NDArray[np.float64]

MOST_EFFECTS = 6000  # random effects for which Kenward–Roger builds ZᵀV⁻¹Z: 290 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class TTests:
    """Standard errors and degrees of freedom of some contrasts of β."""

    std_error: Array  # (k,)
    df: Array  # (k,)


def residual_df(problem: Problem, solution: PointSolution, contrasts: Array) -> TTests:
    """The exact t distribution of a model without random effects: n − p degrees of freedom."""
    n, p = problem.X.shape
    se = np.sqrt(np.einsum("ka,ab,kb->k", contrasts, solution.vcov, contrasts))
    return TTests(std_error=se, df=np.full(len(contrasts), float(n - p)))


def satterthwaite(problem: Problem, solution: PointSolution, contrasts: Array) -> TTests:
    """Degrees of freedom 2v²/(gᵀAg) of contrasts (k, p) with variance v (10.1).

    g is the gradient of v in (θ, σ), A twice the inverse Hessian of the deviance that is not profiled over σ.
    """
    scaled, criterion = prepare(problem, reml=solution.reml)
    theta, sigma = solution.scaled_theta, solution.sigma
    reduced, at_optimum, _, terms = criterion.derivatives(theta)
    n_theta, lams = len(theta), criterion.lams(theta)

    H = np.empty((n_theta + 1, n_theta + 1))
    for i in range(n_theta):
        h = np.zeros(n_theta)
        h[i] = 1e-4 * max(abs(theta[i]), 0.1)
        up, down = (_gradient_given_sigma(criterion, theta + s * h, sigma) for s in (1.0, -1.0))
        H[:n_theta, i] = (up - down) / (2.0 * h[i])
    H[:n_theta, :n_theta] = (H[:n_theta, :n_theta] + H[:n_theta, :n_theta].T) / 2.0
    forces = criterion.theta([2.0 * e.T @ e @ lam for e, lam in zip(terms.e, lams, strict=True)])
    H[n_theta, :n_theta] = H[:n_theta, n_theta] = 2.0 * forces / sigma**3
    H[n_theta, n_theta] = 4.0 * criterion.df / sigma**2

    Q = [E[:, :, :-1] for E in pls.projected(reduced)]
    x = np.linalg.solve(at_optimum.R_x, np.linalg.solve(at_optimum.R_x.T, scaled.T_x.T @ contrasts.T))
    v = sigma**2 * np.einsum("ka,ak->k", contrasts @ scaled.T_x, x)
    g = np.empty((len(contrasts), n_theta + 1))
    for row, along in enumerate(x.T):
        Qx = [q @ along for q in Q]
        g[row, :n_theta] = sigma**2 * criterion.theta(
            [2.0 * each.T @ each @ lam for each, lam in zip(Qx, lams, strict=True)]
        )
    g[:, n_theta] = 2.0 * v / sigma
    values, vectors = np.linalg.eigh(H)
    use = values > 1e-8 * values.max()  # flat directions carry no information: lmerTest leaves them out too
    along_axes = g @ vectors[:, use]
    variance_of_v = 2.0 * np.sum(along_axes**2 / values[use], axis=1)
    return TTests(std_error=np.sqrt(v), df=2.0 * v**2 / variance_of_v)


def _gradient_given_sigma(criterion: Criterion, theta: Array, sigma: float) -> Array:
    lams = criterion.lams(theta)
    reduced = pls.reduce(criterion.layout, lams)
    terms = pls.slopes(reduced, pls.solve(reduced), sigma**2, with_X=criterion.reml)
    return criterion.theta(terms.gradients(lams))


def kenward_roger(problem: Problem, solution: PointSolution, contrasts: Array) -> TTests:
    """Kenward–Roger adjusted standard errors and degrees of freedom of contrasts (k, p) of a REML fit.

    Written for V = Σ_r γ_r G_r relative to σ². What G_res = W⁻¹ contributes follows from Σ_r γ_r G_r = V.

    Raises
    ------
    InputError
        The fit is by ML.
    NotAvailableError
        More than 6,000 random effects.
    """
    if not solution.reml:
        raise InputError("Kenward–Roger is defined for REML fits: use fit_reml(), or ddf='satterthwaite'")
    scaled, criterion = prepare(problem, reml=True)
    m = criterion.layout.m
    if m > MOST_EFFECTS:
        raise NotAvailableError(
            f"Kenward–Roger needs a {m:,} × {m:,} matrix here (limit {MOST_EFFECTS:,}); with so many random effects "
            "ddf='satterthwaite' gives practically the same"
        )
    reduced, at_optimum, _, _ = criterion.derivatives(solution.scaled_theta)
    pieces = _Pieces.of(criterion, reduced, solution)
    inverse_R = np.linalg.inv(at_optimum.R_x)
    Phi = inverse_R @ inverse_R.T
    P, Q, T = pieces.P, pieces.Q, pieces.T
    PhiP = [Phi @ each for each in P]
    r = range(len(P))
    information = np.array(
        [[T[i, j] - 2.0 * np.sum(Phi * Q[i][j]) + np.sum(PhiP[i] * PhiP[j].T) for j in r] for i in r]
    )
    W = 2.0 * np.linalg.pinv((information + information.T) / 2.0, rcond=1e-12, hermitian=True)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ PhiP[j]) for i in r for j in r)
    U = (U + U.T) / 2.0
    adjusted = solution.sigma**2 * scaled.T_x @ (Phi + 2.0 * Phi @ U @ Phi) @ scaled.T_x.T
    df = [_kenward_roger_df(contrast, Phi, PhiP, W) for contrast in contrasts @ scaled.T_x]
    return TTests(
        std_error=np.sqrt(np.einsum("ka,ab,kb->k", contrasts, adjusted, contrasts)), df=np.array(df)
    )


def _kenward_roger_df(contrast: Array, Phi: Array, PhiP: Sequence[Array], W: Array) -> float:
    """Kenward & Roger (1997), section 3, for one contrast.

    There A₁ = A₂ = A, so that ρ = (1 − A/2)/(1 − 2A) and the df 4 + 3/(ρ − 1) are 2/A; A is zero where the variance of
    the contrast is σ̂² times a number known without error.
    """
    v = contrast @ Phi @ contrast
    moments = np.array([contrast @ each @ Phi @ contrast for each in PhiP]) / v
    A = moments @ W @ moments
    return float(2.0 / A) if A > 1e-12 else np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """P_r = −XᵀV⁻¹G_rV⁻¹X, Q_rs = XᵀV⁻¹G_rV⁻¹G_sV⁻¹X and T_rs = tr(V⁻¹G_rV⁻¹G_s), the residual last."""

    P: list[Array]
    Q: list[list[Array]]
    T: Array

    @classmethod
    def of(cls, criterion: Criterion, reduced: pls.Reduced, solution: PointSolution) -> _Pieces:
        layout, p = criterion.layout, criterion.p
        K, Q_all = pls.whole_K(reduced), pls.whole_Q(reduced)
        lams = criterion.lams(solution.scaled_theta)
        parameters = [
            (layout.rows(position), *entry)
            for position, k in enumerate(layout.order)
            for entry in _covariance_entries(criterion.templates[k], lams[k])
        ]
        gamma = np.array([value for _, _, value in parameters])
        right = [_spread(K[:, rows], E) for rows, E, _ in parameters]  # K (I ⊗ E_r)
        sides = [_spread(Q_all[rows].T, E).T for rows, E, _ in parameters]  # (I ⊗ E_r) Q
        own = [rows for rows, _, _ in parameters]
        r = range(len(parameters))
        P = [-Q_all[own[i]].T @ sides[i] for i in r]
        Q = [[sides[i].T @ K[own[i], own[j]] @ sides[j] for j in r] for i in r]
        T = np.array([[np.sum(right[i][own[j]] * right[j][own[i]].T) for j in r] for i in r]).reshape(
            len(P), len(P)
        )
        trace = np.array([np.trace(right[i][own[i]]) for i in r])

        A = reduced.XyVXy[:p, :p]
        zero = np.zeros_like(A)
        P_res = -A - sum((g * each for g, each in zip(gamma, P, strict=True)), zero)
        Q_res = [-P[j] - sum((gamma[i] * Q[i][j] for i in r), zero) for j in r]
        Q_res_res = -P_res - sum((gamma[i] * Q_res[i].T for i in r), zero)
        T_res = trace - gamma @ T
        T_res_res = (criterion.layout.cross.n - gamma @ trace) - gamma @ T_res
        return cls(
            P=[*P, P_res],
            Q=[*([*Q[i], Q_res[i].T] for i in r), [*Q_res, Q_res_res]],
            T=np.block([[T, T_res[:, None]], [T_res[None, :], np.array([[T_res_res]])]]),
        )


def _covariance_entries(template: Template, lam: Array) -> list[tuple[Array, float]]:
    """(E, γ) for every free entry of the relative covariance ΛΛᵀ = Σ γE."""
    cov = lam @ lam.T
    entries = []
    for a, b in zip(template.rows, template.columns, strict=True):
        E = np.zeros_like(cov)
        E[a, b] = E[b, a] = 1.0
        entries.append((E, float(cov[a, b])))
    return entries


def _spread(A: Array, E: Array) -> Array:
    """A (I ⊗ E) for A (rows, J q)."""
    return (A.reshape(len(A), -1, len(E)) @ E).reshape(A.shape)
