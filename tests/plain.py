"""Dense twins of the fast kernel: explicit Z, Λ, V, straight from the definitions in docs/theory.md."""

from __future__ import annotations

import numpy as np
from scipy.linalg import block_diag

from bayeslmm import families


def rank(A, tol=None):
    """numpy.linalg.matrix_rank, which fails on a matrix without columns in NumPy 2.2."""
    return int(np.linalg.matrix_rank(A, tol=tol)) if A.size else 0


def dense_Z(problem):
    """Z (n, m), factor after factor, level after level."""
    parts = []
    for codes, Z, J in zip(problem.codes, problem.Z, problem.levels, strict=True):
        n, q = Z.shape
        out = np.zeros((n, J, q))
        out[np.arange(n), codes] = Z
        parts.append(out.reshape(n, J * q))
    return np.hstack(parts)


def dense_lambda(problem, lams):
    return block_diag(*[np.kron(np.eye(J), lam) for lam, J in zip(lams, problem.levels, strict=True)])


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


def deviance(problem, lams, sigma, *, reml):
    """−2 log (restricted) likelihood, profiled over β only."""
    V = sigma**2 * relative_V(problem, lams)
    Vi = np.linalg.inv(V)
    A = problem.X.T @ Vi @ problem.X
    r = problem.y - problem.X @ np.linalg.solve(A, problem.X.T @ Vi @ problem.y)
    value = np.linalg.slogdet(2 * np.pi * V)[1] + r @ Vi @ r
    return value + (np.linalg.slogdet(A)[1] if reml else 0.0)


def kenward_roger(problem, covariances, sigma, contrast):
    """Kenward & Roger (1997) for one contrast, with every n × n matrix written out: (standard error, df)."""
    Z, n = dense_Z(problem), len(problem.y)
    w = np.ones(n) if problem.weights is None else problem.weights
    G, gamma, start = [np.diag(1.0 / w)], [sigma**2], 0
    for cov, J, blocks in zip(covariances, problem.levels, problem.blocks, strict=True):
        Zk = Z[:, start : start + J * len(cov)]
        start += J * len(cov)
        for block in blocks:
            for i, a in enumerate(block):
                for b in block[i:]:
                    E = np.zeros_like(cov)
                    E[a, b] = E[b, a] = 1.0
                    G.append(Zk @ np.kron(np.eye(J), E) @ Zk.T)
                    gamma.append(cov[a, b])
    V = sum(g * each for g, each in zip(gamma, G, strict=True))
    Vi, X = np.linalg.inv(V), problem.X
    Phi = np.linalg.inv(X.T @ Vi @ X)
    P = [-X.T @ Vi @ g @ Vi @ X for g in G]
    Q = [[X.T @ Vi @ g @ Vi @ h @ Vi @ X for h in G] for g in G]
    r = range(len(G))
    info = np.array(
        [
            [
                np.trace(Vi @ G[i] @ Vi @ G[j]) - 2 * np.trace(Phi @ Q[i][j]) + np.trace(Phi @ P[i] @ Phi @ P[j])
                for j in r
            ]
            for i in r
        ]
    )
    W = 2 * np.linalg.inv(info)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in r for j in r)
    adjusted = Phi + 2 * Phi @ U @ Phi
    theta = np.outer(contrast, contrast) / (contrast @ Phi @ contrast)
    A1 = sum(W[i, j] * np.trace(theta @ Phi @ P[i] @ Phi) * np.trace(theta @ Phi @ P[j] @ Phi) for i in r for j in r)
    A2 = sum(W[i, j] * np.trace(theta @ Phi @ P[i] @ Phi @ theta @ Phi @ P[j] @ Phi) for i in r for j in r)
    B, g = (A1 + 6 * A2) / 2, (2 * A1 - 5 * A2) / (3 * A2)
    c = np.array([g, 1 - g, 3 - g]) / (3 + 2 * (1 - g))
    rho = ((1 - A2) / (1 - c[1] * B)) ** 2 * (1 + c[0] * B) / (1 - c[2] * B)
    return np.sqrt(contrast @ adjusted @ contrast), 4 + 3 / (rho - 1)


# Families whose formulas the tests write out once more, besides the laws that run over all of them by themselves.
FAMILIES = {
    name: families.FAMILIES[name]
    for name in (
        "gaussian",
        "student_t",
        "lognormal",
        "bernoulli",
        "binomial",
        "poisson",
        "negbinomial",
        "gamma",
        "beta",
        "ordinal",
    )
}
