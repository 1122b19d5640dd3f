"""The exact marginal of a Gaussian model with normal, Student t or flat priors on β (docs/theory.md, sections 4 to 6).

β and b are integrated out, which leaves a density of the few hyperparameters: σ, the sds and the correlations (and
ω for each t prior); `hyperspace` gives them coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from . import chains, hyperspace
from .hyperpriors import HyperPriors, Kind
from .layout import arrange
from .scaling import Problem, Scaled, scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A stretch of a Markov chain: N draws."""

    x: Array  # (N, d)
    sds: tuple[Array, ...]  # per factor (N, q_k)
    factors: tuple[Array, ...]  # per factor (N, q_k, q_k): Cholesky factors of the correlation matrices
    sigma: Array  # (N,)
    log_density: Array  # (N,)
    log_proposal: Array  # (N,)
    beta: Array  # (N, p) on the user's scale
    effects: tuple[Array, ...]  # per factor (N, J_k, q_k)
    residual: Array  # (N, d + r) of residuals with parameters besides sigma
    accepted: NDArray[np.bool_]  # (N,) whether the proposal was taken
    log_weights: Array  # (N,) of the proposals


class Marginal:
    """log p(σ, sds, correlations | y) + log p(y) with β and b integrated out (4.1), in the coordinates of `hyperspace`.

    A flat prior counts as a density of one in the user's units.
    """

    def __init__(self, problem: Problem, priors: HyperPriors) -> None:
        self.problem, self.priors = problem, priors
        self.scaled: Scaled = scale(problem, for_priors=True)
        units = np.diag(self.scaled.T_x)
        center = np.zeros(len(units))
        if self.scaled.intercept is not None:
            center[self.scaled.intercept] = self.scaled.y_center
        proper = np.isfinite(priors.beta_sd)
        self.mean = np.where(proper, (priors.beta_mean - center) / units, 0.0)
        precision = (units / priors.beta_sd) ** 2  # P₀ of β̃, where ω = 1
        shift = np.eye(len(units) + 1)
        shift[:-1, -1] = -self.mean
        cross = self.scaled.cross
        self.layout = arrange(
            replace(cross, ZtXy=tuple(z @ shift for z in cross.ZtXy), XytXy=shift.T @ cross.XytXy @ shift)
        )
        self.n, self.p = float(cross.n), len(units)
        # Σ log w and log|P₀| halved; the n log 2π of each proper prior cancels against that of its integrated β
        constant = 0.5 * (cross.sum_log_weights + np.sum(np.log(precision[proper])))
        constant += 0.5 * np.sum(~proper) * np.log(2.0 * np.pi) + np.sum(np.log(np.abs(units[~proper])))
        to_scaled = [np.linalg.inv(T) for T in self.scaled.T_z]
        self.space = hyperspace.build(problem, priors, self.layout, to_scaled, precision, constant)

    def sds_of_coordinates(self, sds: Sequence[Array], correlations: Sequence[Array]) -> list[Array]:
        """Sds of every factor (..., q_k) as the coordinates have them, from those of the effects (..., q_k).

        The correlations (..., q_k, q_k) are needed where intercepts are taken to the means of predictors.
        """
        collected = []
        for sd, correlation, A in zip(sds, correlations, hyperspace.shears(self.problem), strict=True):
            if A is not None:
                back = np.linalg.inv(A)
                covariances = back @ (sd[..., :, None] * correlation * sd[..., None, :]) @ back.T
                sd = np.sqrt(np.maximum(np.einsum("...ii->...i", covariances), 0.0))
            collected.append(sd)
        return collected

    @property
    def d(self) -> int:
        """Number of coordinates."""
        return len(self.space.sd_at)

    @property
    def n_residual(self) -> int:
        """Coordinates of the parameters of residuals besides sigma, the last ones."""
        return 0

    @property
    def residual_at(self) -> slice:
        """Where they are."""
        return slice(self.d - self.n_residual, self.d)

    @property
    def sigma_at(self) -> slice:
        """The coordinate that holds log σ; none where σ is known."""
        end = self.residual_at.start - len(self.space.nu)
        return slice(end - (self.problem.sigma is None), end)

    @property
    def omega_at(self) -> slice:
        """The coordinates that hold log ω."""
        return slice(self.sigma_at.stop, self.residual_at.start)

    def residual_values(self, x: Array) -> Array:
        """Parameters of the residuals besides sigma (N, d + r) at rows of x (N, d)."""
        return np.empty((len(x), 0))

    def log_densities(self, x: Array) -> Array:
        """Log density at each row of x (N, d); −∞ for negative sds and where numbers break down, far out."""
        nothing = np.empty(0)
        return self._walk(x, nothing, nothing, np.empty((0, 0))).log_density

    def _walk(self, x: Array, log_proposal: Array, log_uniform: Array, noise: Array) -> chains.Steps:
        steps, layout = self._steps(len(x), len(noise)), self.layout
        chains.walk(layout.pattern, layout.values, self.space, self.n, x, log_proposal, log_uniform, noise, steps)
        return steps

    def _steps(self, points: int, N: int) -> chains.Steps:
        """Room for the densities of points, and N draws."""
        space = self.space
        return chains.Steps(
            log_density=np.full(points, -np.inf),
            state=np.zeros(N, dtype=np.int64),
            sds=np.empty((N, len(space.sd_of))),
            factors=np.empty((N, len(space.to_scaled))),
            sigma=np.empty(N),
            beta=np.empty((N, self.p)),
            b=np.empty((N, self.layout.m)),
        )

    def with_gradient(self, x: Array) -> tuple[float, Array]:
        """Log density at x and its gradient (d,); −∞ and zeros where `log_densities` gives −∞ (section 5)."""
        gradient = np.empty(self.d)
        value = chains.with_gradient(self.layout.pattern, self.layout.values, self.space, self.n, x, gradient)
        return float(value), gradient

    def starts(self) -> Array:
        """Points (N, d) to start the search for the mode: what least squares leaves, split in many ratios."""
        products = self.layout.cross.XytXy
        explained = products[-1, :-1] @ np.linalg.lstsq(products[:-1, :-1], products[:-1, -1])[0]
        total = np.sqrt(max(products[-1, -1] - explained, 1e-12 * products[-1, -1], 1e-300) / self.n)
        total = max(total, self.problem.sigma or 0.0)
        c, columns = self.space.softness, self.space.column_of
        scales = np.sqrt(np.concatenate([np.zeros(0), *self.problem.mean_squares]))[columns] * c
        out = np.zeros((20, self.d))
        for row, (between, within) in zip(
            out, product((0.03, 0.1, 0.3, 1.0), (1.0, 0.5, 0.2, 0.05, 0.01)), strict=True
        ):
            row[self.space.sd_at] = np.log1p(self._inside(between * total * c / scales) / c)
            if self.problem.sigma is None:
                row[self.sigma_at] = np.log(self._inside(np.append(c, within * total))[-1])
        return out

    def _inside(self, values: Array) -> Array:
        """Sds, with or without σ behind them, moved into the middle of uniform priors that exclude them."""
        low, high = self.space.parameters[: len(values)].T
        uniform = self.space.kinds[: len(values)] == Kind.UNIFORM
        margin = 0.1 * (high - low)
        return np.where(uniform, np.clip(values, low + margin, np.maximum(high, low) - margin), values)

    def rough_sds(self, x: Array) -> Array:
        """About how far the posterior reaches around x (d,): an sd is known to 1/√(2 levels) of itself, and so on."""
        out, position = np.empty(self.d), 0
        for k, (c, levels) in enumerate(zip(self.softness, self.problem.levels, strict=True)):
            first, end = self.space.partial_start[k : k + 2]
            pairs = int(end - first)
            sd = c * np.expm1(x[position : position + len(c)])
            out[position : position + len(c)] = np.maximum(sd, 0.5 * c) / np.sqrt(2.0 * levels) / (sd + c)
            out[position + len(c) : position + len(c) + pairs] = np.sqrt(self.space.partial_gain[first:end] / levels)
            position += len(c) + pairs
        out[self.sigma_at] = (2.0 * self.n) ** -0.5
        out[self.omega_at] = np.sqrt(2.0 / self.space.nu)
        return out

    @property
    def softness(self) -> list[Array]:
        """c of each factor, one an sd."""
        return list(np.split(self.space.softness, np.cumsum(self.space.sds)[:-1])) if len(self.space.sds) else []

    def noise(self, rng: Generator, n: int) -> Array:
        """Standard normal numbers (n, p + m) for as many draws of β and b."""
        return rng.standard_normal((n, self.p + self.layout.m))

    def walk(self, x: Array, log_proposal: Array, log_uniform: Array, noise: Array) -> Walk:
        """Independence Metropolis–Hastings from x[0] over N proposals, with a draw of β and b each (section 6).

        Parameters
        ----------
        x, log_proposal : (N + 1, d), (N + 1,)
        log_uniform : (N,), −∞ to take every proposal
        noise : (N, p + m), standard normal
        """
        log_density, state, sds, factors, sigma, beta, b = self._walk(
            x,
            log_proposal,
            np.concatenate([[0.0], log_uniform]),
            np.concatenate([np.zeros((1, noise.shape[1])), noise]),
        )
        state, widths = state[1:], self.space.widths
        effects: list[Array] = [np.zeros(0)] * len(self.layout.order)
        for position, k in enumerate(self.layout.order):
            factor_effects = b[1:, self.layout.rows(position)]
            root = self.scaled.roots[k]
            by_level = factor_effects.reshape(len(noise), -1, int(widths[k]))
            effects[k] = by_level if root is None else np.einsum("jk,skq->sjq", root, by_level, optimize=True)
        return Walk(
            x=x[state],
            sds=_split(sds[1:], widths),
            factors=tuple(
                flat.reshape(-1, width, width)
                for flat, width in zip(_split(factors[1:], widths**2), widths, strict=True)
            ),
            sigma=sigma[1:],
            log_density=log_density[state],
            log_proposal=log_proposal[state],
            beta=self.scaled.beta(beta[1:] + self.mean),
            effects=tuple(effects),
            residual=self.residual_values(x[state]),
            accepted=state == np.arange(1, len(x)),
            log_weights=(log_density - log_proposal)[1:],
        )


def _split(values: Array, sizes: NDArray[np.int64]) -> tuple[Array, ...]:
    """Columns (N, Σ sizes) as one array a size."""
    return tuple(np.split(values, np.cumsum(sizes)[:-1], axis=1)) if len(sizes) else ()
