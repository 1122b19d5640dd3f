"""Models without random effects whose residuals have a structure, by kinds of blocks (docs/theory.md, section 14).

Without bars V is block-diagonal with few kinds of blocks: those of the same positions, columns of the sds and prior
weights.  [X y]ᵀV⁻¹[X y] is a sum over kinds of V_κ⁻¹ times cross-products that are taken once, so that nothing grows
with the number of rows, and derivatives by all parameters cost little more than the criterion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..residual_structures import Residuals
from ..tools.arrays import Array
from .scaling import ScaledRows

MOST_NUMBERS = 4_000_000  # of cross-products that are kept: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Blocks whose residuals have the same covariance."""

    positions: Array  # (m,)
    G: Array  # (m, d)
    prior: Array  # (m,) one over the roots of the prior weights
    count: int
    cross: Array  # (m, c, m, c): Σ_blocks A_ac A_bd of A = [X y]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The criterion at a point, with what its derivatives and inference need."""

    value: float  # profiled over σ
    beta: Array  # (p,) on scaled columns
    sigma2: float
    inverse_A: Array  # (p, p) of XᵀV⁻¹X, V relative to σ²
    r2: float
    log_det: float  # of V and, of REML, of XᵀV⁻¹X


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The criterion of a model without bars as a function of the free coordinates of its residuals."""

    residual: Residuals
    kinds: tuple[Kind, ...]
    n: int
    p: int
    reml: bool

    @classmethod
    def of(cls, rows: ScaledRows, *, reml: bool) -> Blocked | None:
        """None where the kinds are too many."""
        residual = rows.problem.residual
        assert residual is not None
        n, A = len(rows.y), np.column_stack([rows.X, rows.y])
        if residual.blocks is None:
            order, starts, positions = np.arange(n), np.arange(n + 1), np.zeros(n)
        else:
            order, starts, positions = residual.blocks.order, residual.blocks.starts, residual.blocks.positions
        prior = np.ones(n) if residual.prior is None else 1.0 / np.sqrt(residual.prior)
        pattern = np.column_stack([positions, residual.spread.G[order], prior[order]])
        alike: dict[bytes, list[int]] = {}
        numbers = 0
        for first, last in zip(starts[:-1], starts[1:], strict=True):
            key = pattern[first:last].tobytes()
            if key not in alike:
                numbers += int((last - first) * A.shape[1]) ** 2
                if numbers > MOST_NUMBERS:
                    return None
            alike.setdefault(key, []).append(int(first))
        kinds = []
        for firsts in alike.values():
            first = firsts[0]
            m = int(starts[np.searchsorted(starts, first) + 1]) - first
            stacked = A[order[np.array(firsts)[:, None] + np.arange(m)]]  # (blocks, m, c)
            flat = stacked.reshape(len(firsts), -1)
            kinds.append(
                Kind(
                    positions=positions[first : first + m],
                    G=residual.spread.G[order[first : first + m]],
                    prior=prior[order[first : first + m]],
                    count=len(firsts),
                    cross=(flat.T @ flat).reshape(m, A.shape[1], m, A.shape[1]),
                )
            )
        return cls(residual=residual, kinds=tuple(kinds), n=n, p=rows.X.shape[1], reml=reml)

    @property
    def df(self) -> int:
        """Rows, of REML less the coefficients."""
        return self.n - self.p * self.reml

    def covariances(self, free: Array) -> list[Array]:
        """V_κ (m, m) of every kind, in units of σ²."""
        values, d = self.residual.natural(free), self.residual.n_spread
        matrices = []
        for kind in self.kinds:
            sd = kind.prior * np.exp(kind.G @ values[:d])
            R = np.eye(len(sd)) if self.residual.correlation is None else self._correlation(values[d:], kind)
            matrices.append(sd[:, None] * R * sd)
        return matrices

    def slopes(self, free: Array, V: list[Array]) -> list[Array]:
        """∂V_κ/∂free (f, m, m) of every kind."""
        values, d = self.residual.natural(free), self.residual.n_spread
        units = 1.0 / self.residual.units
        correlation, blocks = self.residual.correlation, self.residual.blocks
        by_kind = []
        for kind, covariance in zip(self.kinds, V, strict=True):
            by_sd = [unit * (g[:, None] + g) * covariance for unit, g in zip(units, kind.G.T, strict=True)]
            by_rho: Array = np.zeros((0, *covariance.shape))
            if correlation is not None and blocks is not None:
                sd = kind.prior * np.exp(kind.G @ values[:d])
                by_rho = correlation.slopes(free[d:], blocks, kind.positions) * (sd[:, None] * sd)
            by_kind.append(np.concatenate([np.array(by_sd).reshape(d, *covariance.shape), by_rho]))
        return by_kind

    def _correlation(self, rho: Array, kind: Kind) -> Array:
        assert self.residual.correlation is not None
        return self.residual.correlation.matrix(rho, kind.positions)

    def evaluate(self, free: Array) -> Value:
        """The criterion, profiled over β and σ."""
        V = self.covariances(free)
        return self._evaluate([np.linalg.inv(block) for block in V], V)

    def _evaluate(self, inverses: list[Array], V: list[Array]) -> Value:
        c, p = self.p + 1, self.p
        total, log_det = np.zeros((c, c)), 0.0
        for kind, Omega, covariance in zip(self.kinds, inverses, V, strict=True):
            total += np.tensordot(Omega, kind.cross, axes=([0, 1], [0, 2]))
            log_det += kind.count * float(np.linalg.slogdet(covariance)[1])
        A, right = total[:p, :p], total[:p, p]
        R = np.linalg.cholesky(A)
        inverse_R = np.linalg.inv(R)
        inverse_A = inverse_R.T @ inverse_R
        beta = inverse_A @ right
        r2 = max(float(total[p, p] - right @ beta), 1e-300)
        if self.reml:
            log_det += 2.0 * float(np.log(np.diag(R)).sum())
        value = log_det + self.df * (1.0 + np.log(2.0 * np.pi * r2 / self.df))
        return Value(
            value=float(value), beta=beta, sigma2=r2 / self.df, inverse_A=inverse_A, r2=r2, log_det=float(log_det)
        )

    def with_gradient(self, free: Array, sigma2: float | None = None) -> tuple[Value, Array]:
        """The criterion and its derivatives (f,); with σ² given those of the deviance that is not profiled over it."""
        V = self.covariances(free)
        inverses = [np.linalg.inv(block) for block in V]
        value = self._evaluate(inverses, V)
        away = np.append(-value.beta, 1.0)
        W = np.outer(away, away) / (value.sigma2 if sigma2 is None else sigma2)
        if self.reml:
            W[: self.p, : self.p] += value.inverse_A
        gradient = np.zeros(len(free))
        for kind, Omega, dV in zip(self.kinds, inverses, self.slopes(free, V), strict=True):
            T = np.tensordot(kind.cross, W, axes=([1, 3], [0, 1]))
            gradient += np.einsum("ab,jab->j", kind.count * Omega - Omega @ T @ Omega, dV)
        return value, gradient

    def variance_slopes(self, free: Array) -> Array:
        """∂(XᵀV⁻¹X)⁻¹/∂free (f, p, p)."""
        V = self.covariances(free)
        inverses = [np.linalg.inv(block) for block in V]
        inverse_A = self._evaluate(inverses, V).inverse_A
        p, total = self.p, np.zeros((len(free), self.p, self.p))
        for kind, Omega, dV in zip(self.kinds, inverses, self.slopes(free, V), strict=True):
            total += np.einsum("jab,apbq->jpq", Omega @ dV @ Omega, kind.cross[:, :p, :, :p], optimize=True)
        return inverse_A @ total @ inverse_A

    def bases(self) -> list[list[Array]] | None:
        """Matrices (m, m) of every kind in which V is linear, in one order of the parameters; None where it is not."""
        correlation, d = self.residual.correlation, self.residual.n_spread
        strata = np.unique(self.residual.spread.G, axis=0)
        if correlation is None:
            if len(strata) != d + 1:
                return None
            return [
                [np.diag(kind.prior**2 * np.all(kind.G == stratum, axis=1)) for stratum in strata]
                for kind in self.kinds
            ]
        assert self.residual.blocks is not None
        levels = self.residual.blocks.levels
        n_structure_sds = levels - 1 if correlation.of_levels and not correlation.hom else 0
        if d != n_structure_sds:  # other sds beside those of the structure
            return None
        bases_of_kinds = []
        for kind in self.kinds:
            basis = correlation.basis(kind.positions, levels)
            if basis is None:
                return None
            bases_of_kinds.append([kind.prior[:, None] * E * kind.prior for E in basis])
        return bases_of_kinds
