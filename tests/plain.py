"""Dense twins of the fast kernel: explicit Z, Λ, V, straight from the definitions in docs/theory.md."""

from __future__ import annotations

import numpy as np
from scipy.linalg import block_diag


def dense_Z(problem):
    """Z (n, m), factor after factor, level after level."""
    parts = []
    for codes, Z, J in zip(problem.codes, problem.Z, problem.levels, strict=True):
        n, q = Z.shape
        out = np.zeros((n, J * q))
        for i in range(n):
            out[i, codes[i] * q : (codes[i] + 1) * q] = Z[i]
        parts.append(out)
    return np.hstack(parts)


def dense_lambda(problem, lams):
    return block_diag(*[lam for lam, J in zip(lams, problem.levels, strict=True) for _ in range(J)])


def relative_V(problem, lams):
    """V = W⁻¹ + ZΛΛᵀZᵀ."""
    ZL = dense_Z(problem) @ dense_lambda(problem, lams)
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
    return np.diag(1.0 / w) + ZL @ ZL.T


def criterion(problem, lams, *, reml):
    """−2 log (restricted) likelihood, profiled over β and σ, from the explicit V."""
    V = relative_V(problem, lams)
    n, p = problem.X.shape
    Vi = np.linalg.inv(V)
    A = problem.X.T @ Vi @ problem.X
    beta = np.linalg.solve(A, problem.X.T @ Vi @ problem.y)
    r = problem.y - problem.X @ beta
    df = n - p if reml else n
    value = np.linalg.slogdet(V)[1] + df * (1 + np.log(2 * np.pi * (r @ Vi @ r) / df))
    return value + (np.linalg.slogdet(A)[1] if reml else 0.0)


def estimates(problem, lams, *, reml):
    """β̂, σ̂, Cov(β̂), conditional modes and covariances of b, all dense."""
    V = relative_V(problem, lams)
    n, p = problem.X.shape
    Vi = np.linalg.inv(V)
    cov_beta = np.linalg.inv(problem.X.T @ Vi @ problem.X)
    beta = cov_beta @ problem.X.T @ Vi @ problem.y
    r = problem.y - problem.X @ beta
    sigma2 = r @ Vi @ r / (n - p if reml else n)
    L, Z = dense_lambda(problem, lams), dense_Z(problem)
    modes = L @ L.T @ Z.T @ Vi @ r
    conditional = sigma2 * (L @ L.T - L @ L.T @ Z.T @ Vi @ Z @ L @ L.T)
    return beta, np.sqrt(sigma2), sigma2 * cov_beta, modes, conditional
