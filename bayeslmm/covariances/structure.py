"""What a covariance structure is: the contract that every file of this room fulfils (docs/architecture.md).

The q effects that one bar gives a level have the covariance diag(sd) C diag(sd), C = L Lᵀ.  A structure says how many
sds there are, and how L hangs on a few numbers.  Each of these has a *coordinate* y on the whole line; ``tanh y`` is
its *position* p in (−1, 1), and it lies at that place of its interval.  Its prior is Beta(s, s) of (1 + p)/2: so the
prior is written once for all structures, in any coordinates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.lazy import special


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure(ABC):
    """How the q effects of a level that one bar gives vary together.

    One subclass a structure, two instances.  What a structure can do is said by the capabilities below; nobody asks for
    its name.

    Attributes
    ----------
    hom : bool
        One standard deviation for all effects.
    """

    hom: bool = False

    # -- what it is called
    name: ClassVar[str]  # lme4's word
    words: ClassVar[str]  # "correlated with each other", of the effects of a level
    entry: ClassVar[tuple[str, str]] = ("", "")  # of C, between effects k and l, and in LaTeX; %s is the parameter
    # -- capabilities
    hom_by_default: ClassVar[bool] = False
    is_free: ClassVar[bool] = False  # any correlation matrix: combinations of the columns have one of the kind, too
    has_order: ClassVar[bool] = False  # the columns are steps, and cannot be taken in another order
    has_hom: ClassVar[bool] = True  # may have one sd for all effects
    # -- compiled
    factor: ClassVar[Any]  # (q, y, L): fills the lower triangle of L (q, q) from the coordinates y (n,)
    pull_back: ClassVar[Any]  # (q, y, L, by_L, by_y): fills by_y (n,) from the derivatives by the lower triangle of L

    def n_sds(self, q: int) -> int:
        """Number of standard deviations of q effects."""
        return 1 if self.hom else q

    @abstractmethod
    def entries(self, q: int) -> tuple[tuple[int, int], ...]:
        """The entries (row, column) below the diagonal that stand for each coordinate; C has its parameters there."""

    def pairs(self, q: int) -> tuple[tuple[int, int], ...]:
        """The entries (a, b) of C, a < b, that are its parameters, in the order of a table."""
        return tuple(sorted((column, row) for row, column in self.entries(q)))

    def n_correlations(self, q: int) -> int:
        """Number of correlation parameters of q effects."""
        return len(self.entries(q))

    def interval(self, q: int) -> tuple[float, float]:
        """Between what numbers a correlation parameter may lie, whatever the others."""
        return (-1.0, 1.0)

    def excess(self, q: int) -> Array:
        """e (n,) of every correlation parameter: its position has the prior Beta(η + e, η + e).

        The volume of correlation matrices per position is Π(1 − p²)^e, so that their density is ∝ Π(1 − p²)^(η − 1).
        """
        return np.zeros(self.n_correlations(q))

    def contains(self, other: Structure, q: int) -> bool:
        """Whether every covariance matrix of another structure is one of this one."""
        if self.is_free or (type(self) is type(other) and self.hom <= other.hom):
            return True
        if self.hom and not other.hom:
            return False
        # without correlations, or with the only one that two effects have
        return not other.n_correlations(q) or (q == 2 and bool(self.n_correlations(q)))

    def contains_fewer(self, q: int) -> bool:
        """Whether the same structure of some of q effects is this one with sds of zero for the others.

        A common sd has no zeros for some, and where several correlations hang on one number, its interval, and how far
        apart two effects are, change with those that are left.
        """
        return not self.hom and (self.is_free or q == 2 or not self.n_correlations(q))

    # -- the numbers of a search: sds, and correlation parameters as they are

    def free_entries(self, q: int) -> tuple[tuple[int, int], ...] | None:
        """(row, column) of the entries of Λ that may be any numbers; None where Λ hangs on fewer numbers."""
        return None

    def template(self, numbers: Array, q: int) -> Array:
        """diag(sd) L (q, q) of sds and correlation parameters; what follows these is left alone."""
        return self._sds(numbers, q)[:, None] * self.factors(self.coordinates(numbers, q)[None], q)[0]

    def parameters(self, covariance: Array) -> Array:
        """Sds and correlation parameters of a covariance matrix (q, q) of this structure."""
        sd = np.sqrt(np.diag(covariance))
        sds = [np.sqrt(np.mean(sd**2))] if self.hom else sd
        return np.concatenate([sds, self.correlations_of(covariance, sd)])

    def correlations_of(self, covariance: Array, sd: Array) -> Array:
        """Correlation parameters (n,) of a covariance matrix; zero where sds of zero hide one."""
        correlations = []
        for row, column in self.entries(len(sd)):
            size = sd[row] * sd[column]
            correlations.append(covariance[row, column] / size if size > 0.0 else 0.0)
        return np.clip(np.array(correlations), *self.interval(len(sd)))

    def jacobian(self, numbers: Array, q: int) -> Array:
        """∂Λ/∂(sds, correlations) (n, q, q)."""
        sds, y = self._sds(numbers, q), self.coordinates(numbers, q, inside=True)
        L = self.factors(y[None], q)[0]
        J = np.zeros((self.n_sds(q) + len(y), q, q))
        for i in range(q):
            J[0 if self.hom else i, i] = L[i]
        J[self.n_sds(q) :] = sds[:, None] * self._slopes(y, q)
        return J

    def curvature(self, numbers: Array, by_template: Array) -> Array:
        """Σ_rc ∂f/∂Λ_rc ∂²Λ_rc (n, n); Λ is linear in the sds, and the slopes of L are differenced."""
        q, s = len(by_template), self.n_sds(len(by_template))
        sds, y = self._sds(numbers, q), self.coordinates(numbers, q, inside=True)
        H = np.zeros((len(numbers), len(numbers)))
        by_sds = np.einsum("nrc,rc->rn", self._slopes(y, q), by_template)
        H[:s, s:] = by_sds.sum(axis=0) if self.hom else by_sds
        H[s:, :s] = H[:s, s:].T
        low, high = self.interval(q)
        by_factor = sds[:, None] * by_template
        for i in range(len(y)):
            step = np.zeros(len(y))
            step[i] = 1e-5
            change = self._along(y + step, by_factor) - self._along(y - step, by_factor)
            H[s + i, s:] = change / (2.0 * step[i]) * np.cosh(y[i]) ** 2 * 2.0 / (high - low)  # of y per number
        H[s:, s:] = (H[s:, s:] + H[s:, s:].T) / 2.0
        return H

    def tangents(self, sds: Array) -> list[Array]:
        """Changes (q, q) of the covariance matrix by each parameter, at a point with about these sds.

        Not just these: where all are the same, more cannot be told than elsewhere.
        """
        q = len(sds)
        if self.is_free:
            pairs = [(i, j) for i in range(q) for j in range(i + 1)]
            return [np.array([[float({a, b} == {i, j}) for b in range(q)] for a in range(q)]) for i, j in pairs]
        low, high = self.interval(q)
        alike = np.full(q, float(np.mean(sds)))
        numbers = np.concatenate(
            [
                alike[:1] if self.hom else sds * np.geomspace(0.8, 1.3, q),
                np.full(self.n_correlations(q), low + 0.6 * (high - low)),
            ]
        )
        lam = self.template(numbers, q)
        return [derivative @ lam.T + lam @ derivative.T for derivative in self.jacobian(numbers, q)]

    def _sds(self, numbers: Array, q: int) -> Array:
        return np.full(q, numbers[0]) if self.hom else np.asarray(numbers[:q], dtype=float)

    def coordinates(self, numbers: Array, q: int, *, inside: bool = False) -> Array:
        """y (n,) of the correlation parameters; ``inside``: of numbers a little off the ends of their interval."""
        s, (low, high) = self.n_sds(q), self.interval(q)
        share = (np.asarray(numbers[s : s + self.n_correlations(q)], float) - low) / (high - low)
        if inside:
            share = np.clip(share, 1e-8, 1.0 - 1e-8)
        with np.errstate(divide="ignore"):
            return 0.5 * (np.log(share) - np.log1p(-share))

    # -- L of coordinates

    def factors(self, y: Array, q: int) -> Array:
        """L (N, q, q) of coordinates y (N, n)."""
        L, fill = np.zeros((len(y), q, q)), type(self).factor
        for coordinates, each in zip(np.ascontiguousarray(y), L, strict=True):
            fill(q, coordinates, each)
        return L

    def slopes(self, y: Array, q: int) -> Array:
        """∂L/∂y (n, q, q) at coordinates y (n,)."""
        return _slopes_at(self, q, tuple(y.tolist())).copy()

    def _slopes(self, y: Array, q: int) -> Array:
        """∂L/∂(correlation parameters) (n, q, q) at coordinates y."""
        return _slopes_at(self, q, tuple(y.tolist())) * self._per_number(y, q)[:, None, None]

    def _along(self, y: Array, by_factor: Array) -> Array:
        """Derivatives (n,) by correlation parameters, at coordinates y, from those by L (q, q)."""
        q, by_y = len(by_factor), np.zeros(len(y))
        type(self).pull_back(q, y, self.factors(y[None], q)[0], by_factor, by_y)
        return by_y * self._per_number(y, q)

    def _per_number(self, y: Array, q: int) -> Array:
        """Change of coordinates (n,) per correlation parameter."""
        low, high = self.interval(q)
        return np.asarray(2.0 / (high - low) * np.cosh(y) ** 2)

    # -- correlations for graphs and tables

    @abstractmethod
    def positions(self, cor: Any, columns: Sequence[int]) -> list[Any]:
        """The positions p of a block of a correlation matrix, whose entries are arrays (...,) or symbols."""

    @abstractmethod
    def graph_factor(self, positions: Sequence[Any], q: int) -> list[list[Any]]:
        """L from positions, entry by entry, row by row to the diagonal: no Cholesky to compile."""

    @abstractmethod
    def graph_factor_of(self, cor: Any, columns: Sequence[int]) -> list[list[Any]]:
        """L of a block of a correlation matrix, entry by entry."""

    def graph_log_shrinkage(self, cor: Any, columns: Sequence[int]) -> Any:
        """Σ log(1 − p²) over the positions of a block of a correlation matrix, as a graph."""
        import pytensor.tensor as pt

        total: Any = np.float64(0.0)
        for position in self.positions(cor, columns):
            total = total + pt.log1p(-(position**2))
        return total

    def correlation(self, numbers: Sequence[Array], q: int) -> Array:
        """Correlation matrices (..., q, q) from correlation parameters, each (...,)."""
        low, high = self.interval(q)
        positions = [np.clip(2.0 * (value - low) / (high - low) - 1.0, -1.0, 1.0) for value in numbers]
        rows = self.graph_factor(positions, q)
        shape = np.shape(numbers[0]) if numbers else ()
        L = np.zeros((*shape, q, q))
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                L[..., i, j] = value
        return np.asarray(L @ np.swapaxes(L, -1, -2))

    def log_volume(self, q: int) -> float:
        """Log of the length of correlation parameters per position, besides Π(1 − p²)^excess."""
        low, high = self.interval(q)
        return float(self.n_correlations(q) * np.log((high - low) / 2.0))

    def log_constant(self, q: int, eta: float) -> float:
        """The logarithm of ∫ Π(1 − p²)^(η − 1) over the correlation parameters."""
        shapes = eta + self.excess(q)
        return float(np.sum((2.0 * shapes - 1.0) * np.log(2.0) + special.betaln(shapes, shapes)) + self.log_volume(q))

    def log_density(self, eta: float, cor: Array) -> Array:
        """Log prior density (...,) of correlation matrices (..., q, q), by their correlation parameters."""
        q = cor.shape[-1]
        p = self.positions(np.moveaxis(cor, (-2, -1), (0, 1)), range(q))
        total = np.full(cor.shape[:-2], -self.log_constant(q, eta))
        if eta != 1.0:
            with np.errstate(divide="ignore"):
                for position in p:
                    total += (eta - 1.0) * np.log1p(-(position**2))
        return total

    def draw(self, eta: float, q: int, draws: int, rng: Generator) -> Array:
        """L (draw, q, q) of correlation matrices from their prior."""
        shapes = eta + self.excess(q)
        shares = np.stack([rng.beta(shape, shape, size=draws) for shape in shapes] or [np.zeros(draws)], axis=1)
        with np.errstate(divide="ignore"):
            return self.factors(0.5 * (np.log(shares) - np.log1p(-shares))[:, : len(shapes)], q)


@lru_cache(maxsize=64)  # an evaluation of a criterion asks for the same ones several times
def _slopes_at(structure: Structure, q: int, coordinates: tuple[float, ...]) -> Array:
    """∂L/∂y (n, q, q), not to be written to."""
    y = np.array(coordinates)
    L, by_L, by_y, J = structure.factors(y[None], q)[0], np.zeros((q, q)), np.zeros(len(y)), np.zeros((len(y), q, q))
    pull_back = type(structure).pull_back
    for i in range(q):
        for j in range(i + 1):
            by_L[i, j] = 1.0
            pull_back(q, y, L, by_L, by_y)
            by_L[i, j] = 0.0
            J[:, i, j] = by_y
    return J
