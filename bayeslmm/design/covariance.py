"""The one map between θ, the templates Λ, and (standard deviations, correlations).

A grouping factor with q columns has a q × q lower-triangular template Λ, relative to the residual sd:
Cov(b_j) = σ² Λ Λᵀ.  Its free entries, column by column, are the factor's part of θ (Bates et al. 2015, eq. 4).
Entries that join columns of different blocks are structural zeros: ``(x || g)`` has a diagonal template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Which entries of a lower-triangular q × q matrix are free."""

    q: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]

    @classmethod
    def from_blocks(cls, blocks: Sequence[Sequence[int]]) -> Template:
        """Template of a factor whose columns are correlated inside each block and nowhere else."""
        ordered = tuple(tuple(sorted(block)) for block in blocks)
        entries = sorted((c, r) for block in ordered for c in block for r in block if r >= c)
        return cls(
            q=sum(len(block) for block in ordered),
            rows=tuple(r for _, r in entries),
            columns=tuple(c for c, _ in entries),
            blocks=ordered,
        )

    @property
    def n_theta(self) -> int:
        """Number of free entries."""
        return len(self.rows)

    @property
    def is_diagonal(self) -> Array:
        """Boolean (n_theta,): which entries of θ lie on the diagonal and are bounded below by zero."""
        return np.array([r == c for r, c in zip(self.rows, self.columns, strict=True)])

    def factor(self, theta: Array) -> Array:
        """Λ (q, q) from this factor's part of θ."""
        lam = np.zeros((self.q, self.q))
        lam[list(self.rows), list(self.columns)] = theta
        return lam

    def theta(self, lam: Array) -> Array:
        """This factor's part of θ from Λ (also picks the free entries of a gradient with respect to Λ)."""
        return lam[list(self.rows), list(self.columns)]


def cholesky_psd(cov: Array, blocks: Sequence[Sequence[int]]) -> Array:
    """Lower-triangular L ≥ 0 on the diagonal with L Lᵀ = cov, block by block; cov may be singular.

    By the eigenvectors of the correlation matrix and a QR factorisation of the square root they give, which is stable
    where the pivots of Cholesky's algorithm are rounding error.
    """
    lam = np.zeros_like(cov)
    for block in blocks:
        at = np.ix_(block, block)
        sd, cor = sd_and_correlation(cov[at])
        values, vectors = np.linalg.eigh(cor)
        root = sd[:, None] * vectors * np.sqrt(np.where(values > 1e-14 * len(sd), values, 0.0))
        triangle = np.linalg.qr(root.T, mode="r").T
        lam[at] = triangle * np.where(np.diag(triangle) < 0.0, -1.0, 1.0)
    return lam


def sd_and_correlation(cov: Array) -> tuple[Array, Array]:
    """Standard deviations (..., q) and correlations (..., q, q) of covariance matrices (..., q, q).

    A correlation with a zero sd is undefined; it is given as zero so that nothing downstream becomes NaN.
    """
    sd = np.sqrt(np.maximum(np.diagonal(cov, axis1=-2, axis2=-1), 0.0))
    scale = sd[..., :, None] * sd[..., None, :]
    cor = np.divide(cov, scale, out=np.zeros_like(cov), where=scale > 0)
    index = np.arange(cov.shape[-1])
    cor[..., index, index] = 1.0
    return sd, np.clip(cor, -1.0, 1.0)


def covariance(sd: Array, cor: Array) -> Array:
    """Covariance matrices (..., q, q) from sds (..., q) and correlations (..., q, q)."""
    return sd[..., :, None] * cor * sd[..., None, :]
