"""The dense covariance of a model with residual structures, written once more without any of the package's algebra."""

from __future__ import annotations

import numpy as np


def residual_covariance(design, sigma, values):
    """σ² D R D (n, n), row by row."""
    part, n = design.residual, design.n
    structure = part.structure
    d = structure.spread.G.shape[1]
    sd = sigma * np.exp(structure.spread.G @ values[:d])
    if structure.prior is not None:
        sd = sd / np.sqrt(structure.prior)
    R = np.eye(n)
    words = part.words.correlation
    if words is not None:
        frame, rho = design.frame, values[d:]
        block = list(zip(*(frame[c].astype(str) for c in words.group), strict=True))
        name = words.structure.name
        if name == "us":
            levels = list(part.positions)
            at = [levels.index(":".join(map(str, v))) for v in zip(*(frame[c] for c in words.positions), strict=True)]
            together = {(at[i], at[j]) for i in range(n) for j in range(n) if block[i] == block[j]}
            met = [(a, b) for b in range(len(levels)) for a in range(b) if (a, b) in together]
            pairs = dict(zip(met, rho, strict=True))
        elif name in ("ar1", "car1"):
            column = frame[words.positions[0]]
            at = column.to_numpy(float) if column.dtype.kind in "if" else column.astype("category").cat.codes.to_numpy()
        for i in range(n):
            for j in range(i):
                if block[i] != block[j]:
                    continue
                if name == "cs":
                    R[i, j] = rho[0]
                elif name == "us":
                    R[i, j] = pairs[min(at[i], at[j]), max(at[i], at[j])]
                else:
                    R[i, j] = rho[0] ** abs(at[i] - at[j])
                R[j, i] = R[i, j]
    return sd[:, None] * R * sd


def covariance(design, sigma, values, covariances):
    """V (n, n)."""
    V = residual_covariance(design, sigma, values)
    for g, cov in zip(design.groups, covariances, strict=True):
        same = g.codes[:, None] == g.codes
        V += same * (g.Z @ cov @ g.Z.T)
    return V


def criterion(design, V, *, reml):
    """−2 log (restricted) likelihood at V, with β at its best, and that β."""
    X, y = design.X, design.y - design.offset
    L = np.linalg.cholesky(V)
    white = np.linalg.solve(L, np.column_stack([X, y]))
    A = white[:, :-1].T @ white[:, :-1]
    beta = np.linalg.solve(A, white[:, :-1].T @ white[:, -1])
    r = white[:, -1] - white[:, :-1] @ beta
    value = 2.0 * np.log(np.diag(L)).sum() + r @ r
    n, p = X.shape
    if reml:
        return value + np.linalg.slogdet(A)[1] + (n - p) * np.log(2.0 * np.pi), beta
    return value + n * np.log(2.0 * np.pi), beta
