"""The exact marginal where residuals have parameters besides sigma (docs/theory.md, section 14).

They are the last coordinates, in those of `bayeslmm.residual_structures`. At each of their values the rows are
whitened, and what is left is the density of a model whose residuals are independent with one sd.
"""

from __future__ import annotations

import numpy as np

from ..tools.arrays import Array
from . import chains
from .hyperpriors import HyperPriors, log_location_scale
from .hyperspace import FARTHEST
from .layout import Values
from .marginal import Marginal
from .scaling import Problem, ScaledRows
from .whitened import Whitened

STEP = 1e-4  # of a coordinate in a difference


class ResidualMarginal(Marginal):
    """`Marginal` with coordinates of δ and ρ behind those of the other hyperparameters."""

    def __init__(self, problem: Problem, priors: HyperPriors) -> None:
        residual = problem.residual
        assert residual is not None
        assert priors.residual is not None
        super().__init__(problem.at_residual(residual.natural(residual.starts()[0])), priors)
        self.residual, self.of_residual = residual, priors.residual
        rows = ScaledRows.of(self.problem, for_priors=True)
        self.rows = Whitened.of(rows, rows.y - rows.X @ self.mean, self.layout)
        self.log_weights = self.scaled.cross.sum_log_weights  # that the constant of the space holds
        self.kernel, nothing = self.space, np.zeros(residual.n_values, bool)
        self.space = self.kernel._replace(
            sd_at=np.concatenate([self.kernel.sd_at, nothing]),
            correlation_at=np.concatenate([self.kernel.correlation_at, nothing]),
        )

    @property
    def n_residual(self) -> int:
        return self.residual.n_values

    def residual_values(self, x: Array) -> Array:
        rows = [self.residual.at(each) for each in x[:, self.residual_at]]
        return np.array(rows).reshape(len(x), self.n_residual)

    def log_prior(self, y: Array) -> float:
        """Log prior density of the coordinates of δ and ρ (d + r,)."""
        residual, priors = self.residual, self.of_residual
        delta = y[: residual.n_spread] / residual.units
        total = -float(np.log(residual.units).sum())
        for value, mean, sd, nu in zip(delta, priors.mean, priors.sd, priors.nu, strict=True):
            total += log_location_scale(mean, sd, nu, value)[0]
        if residual.correlation is not None and residual.blocks is not None:
            total += residual.correlation.log_prior(y[residual.n_spread :], priors.eta, residual.blocks)
        return total

    def _at(self, y: Array) -> tuple[Values, float] | None:
        """Cross-products at coordinates of δ and ρ, and what is to be added to the density; None out of bounds."""
        if not np.all(np.abs(y) < FARTHEST):
            return None
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                values, log_weights = self.rows.at(self.residual.at(y))
                log_ratio = self.log_prior(y) + 0.5 * (log_weights - self.log_weights)
        except np.linalg.LinAlgError:
            return None
        return (values, log_ratio) if np.isfinite(log_ratio) and np.isfinite(values.XytXy).all() else None

    def _walk(self, x: Array, log_proposal: Array, log_uniform: Array, noise: Array) -> chains.Steps:
        N, k = len(noise), self.residual_at.start
        steps = self._steps(len(x), N)
        for i, point in enumerate(x):
            inner = self._at(point[k:])
            if inner is not None:
                none = self._steps(1, 0)
                self._run(inner[0], point[None, :k], none, np.empty((0, 0)))
                steps.log_density[i] = none.log_density[0] + inner[1]
        if not N:
            return steps
        current, first = -1, 0
        for i in range(N + 1):
            taken = i < N and self._is_taken(steps.log_density, log_proposal, log_uniform, i, current)
            if not (taken or i == N):
                continue
            if current >= 0:
                self._fill(x[current], steps, noise, slice(first, i))
                steps.state[first:i] = current
            current, first = i, i
        return steps

    @staticmethod
    def _is_taken(density: Array, log_proposal: Array, log_uniform: Array, i: int, current: int) -> bool:
        if not np.isfinite(density[i]):
            return False
        gain = density[i] - log_proposal[i] - density[current] + log_proposal[current]
        return current < 0 or bool(log_uniform[i] < gain)

    def _fill(self, point: Array, steps: chains.Steps, noise: Array, stay: slice) -> None:
        """Draws of β and b for each of the steps that stay at a point."""
        k, count = self.residual_at.start, stay.stop - stay.start
        inner = self._at(point[k:])
        assert inner is not None
        chain_draws = self._steps(count, count)
        self._run(inner[0], np.repeat(point[None, :k], count, axis=0), chain_draws, noise[stay])
        for name in ("sds", "factors", "sigma", "beta", "b"):
            getattr(steps, name)[stay] = getattr(chain_draws, name)

    def _run(self, values: Values, x: Array, steps: chains.Steps, noise: Array) -> None:
        nothing = np.zeros(len(x))
        always, pattern = np.full(len(noise), -np.inf), self.layout.pattern
        chains.walk(pattern, values, self.kernel, self.n, np.ascontiguousarray(x), nothing, always, noise, steps)

    def with_gradient(self, x: Array) -> tuple[float, Array]:
        k, gradient = self.residual_at.start, np.zeros(self.d)
        inner = self._at(x[k:])
        if inner is None:
            return -np.inf, gradient
        slopes = np.empty(k)
        value = chains.with_gradient(self.layout.pattern, inner[0], self.kernel, self.n, x[:k].copy(), slopes)
        if not np.isfinite(value):
            return -np.inf, gradient
        moves = STEP * np.eye(self.d)[k:]
        values = self.log_densities(np.concatenate([x + moves, x - moves]))
        with np.errstate(invalid="ignore"):
            differences = (values[: len(moves)] - values[len(moves) :]) / (2.0 * STEP)
        gradient[:k], gradient[k:] = slopes, np.where(np.isfinite(differences), differences, 0.0)
        return float(value + inner[1]), gradient

    def starts(self) -> Array:
        others = super().starts()
        every = [self.residual.coordinates(self.residual.natural(free)) for free in self.residual.starts()]
        out = np.tile(others, (len(every), 1))
        out[:, self.residual_at] = np.repeat(every, len(others), axis=0)
        return out

    def rough_sds(self, x: Array) -> Array:
        out = super().rough_sds(x)
        out[self.residual_at] = self.residual.rough_sds()
        return out


def marginal_of(problem: Problem, priors: HyperPriors) -> Marginal:
    """The exact marginal of a problem."""
    return Marginal(problem, priors) if problem.residual is None else ResidualMarginal(problem, priors)
