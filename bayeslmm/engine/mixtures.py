"""The posterior of β as a mixture of normals: for studies whose chains nobody looks at, and for densities at a point.

Given the hyperparameters β is normal. Weighted draws of these by the proposal of the exact sampler give means and roots
of its covariances, which say as much about β as thousands of draws of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from ..tools.arrays import Array
from ..tools.lazy import special
from . import pls
from .layout import arrange
from .loo import Hyperdraws, ScaledDraws
from .marginal import Marginal
from .modes import look_around
from .opinions import is_opinionated
from .proposal import fit_proposal
from .scaling import Problem

PILOT = 50  # draws a coordinate in every round of the fit of a proposal
FEWEST = 100  # draws of the hyperparameters
ENOUGH, SHARE = 0.6, 0.4  # of them that count, at which a proposal will do, and below which it does not
BISECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalMixture:
    """A mixture of N normals of p coefficients.

    Attributes
    ----------
    weights : float64 array (N,)
        They sum to one.
    means : float64 array (N, p)
    roots : float64 array (N, p, p)
        R with Cov = RRᵀ.
    """

    weights: Array
    means: Array
    roots: Array

    def intervals(self, contrasts: Array, ci_prob: float) -> Array:
        """Low and high end of equal-tailed intervals, mean and sd (4, k) of combinations (k, p)."""
        means, spread = self.means @ contrasts.T, np.linalg.norm(np.matmul(contrasts, self.roots), axis=2)
        mean = self.weights @ means
        sd = np.sqrt(self.weights @ (spread**2 + (means - mean) ** 2))
        tail = (1.0 - ci_prob) / 2.0
        return np.array([self._quantiles(means, spread, tail), self._quantiles(means, spread, 1.0 - tail), mean, sd])

    def densities(self, contrast: Array, value: float) -> Array:
        """Density (N,) of one combination (p,) at a value, by each of the normals."""
        spread = np.linalg.norm(contrast @ self.roots, axis=-1)
        away = (value - self.means @ contrast) / spread
        return np.asarray(np.exp(-0.5 * away**2) / (spread * np.sqrt(2.0 * np.pi)))

    def _quantiles(self, means: Array, spread: Array, share: float) -> Array:
        """Where the distribution functions (k,) reach a share, by bisection."""
        reach = 40.0 * spread.max(axis=0)
        low, high = means.min(axis=0) - reach, means.max(axis=0) + reach
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            with np.errstate(divide="ignore", invalid="ignore"):
                below = self.weights @ special.ndtr((middle - means) / spread) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)


def given_hyperparameters(problem: Problem, draws: Hyperdraws) -> tuple[NormalMixture, NormalMixture]:
    """The posterior of β given each of S draws of the hyperparameters, and its normal prior, on the user's scale.

    Raises
    ------
    FloatingPointError
        A factorisation that breaks down.
    """
    at = ScaledDraws.of(problem, draws)
    scaled, shift, p = at.scaled, at.shift(), len(at.mean)
    cross = scaled.cross
    layout = arrange(replace(cross, ZtXy=tuple(z @ shift for z in cross.ZtXy), XytXy=shift.T @ cross.XytXy @ shift))
    S = len(draws.sigma)
    means, roots = np.empty((S, p)), np.empty((S, p, p))
    for s, sigma in enumerate(draws.sigma):
        reduced = pls.reduce(layout, [lams[s] for lams in at.lams])
        solution = pls.solve(reduced, prior_precision=np.diag(sigma**2 * at.precision))
        means[s], roots[s] = solution.beta, sigma * np.linalg.inv(np.triu(solution.R_x))
    with np.errstate(divide="ignore"):
        of_prior = np.diag(1.0 / np.sqrt(at.precision))
    posterior = NormalMixture(weights=np.full(S, 1.0 / S), means=scaled.beta(means + at.mean), roots=scaled.T_x @ roots)
    prior = NormalMixture(weights=np.ones(1), means=scaled.beta(at.mean[None]), roots=(scaled.T_x @ of_prior)[None])
    return posterior, prior


def mixture_of_beta(marginal: Marginal, rng: Generator, draws: int) -> NormalMixture | None:
    """The posterior of β on the user's scale by about so many evaluations of the marginal.

    None where it is not safe to do without chains: priors with opinions, a proposal that fits badly, a density far
    beyond it elsewhere.

    Raises
    ------
    FitError
        As of `fit_proposal`.
    """
    if is_opinionated(marginal):
        return None
    fitted = fit_proposal(marginal, rng, pilot=PILOT, enough=ENOUGH)
    if fitted.share < SHARE or look_around(marginal, marginal.log_densities, rng, fitted) is not None:
        return None
    p = marginal.p
    N = max(FEWEST, -(-draws // (p + 1)))
    x = fitted.proposal.draw(rng, N)
    log_proposal = fitted.proposal.log_density(x)
    # β is linear in the p first of its normal numbers: without them it is the mean, with one a column of the root
    noise = np.zeros((p + 1, N, p + marginal.layout.m))
    for column in range(p):
        noise[column + 1, :, column] = 1.0
    walk = marginal.walk(
        np.concatenate([x[:1], *([x] * (p + 1))]),
        np.concatenate([log_proposal[:1], *([log_proposal] * (p + 1))]),
        np.full((p + 1) * N, -np.inf),
        noise.reshape((p + 1) * N, -1),
    )
    log_weights = walk.log_weights[:N]
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    if 1.0 / np.sum(weights**2) < SHARE * N:
        return None
    beta = walk.beta.reshape(p + 1, N, p)
    return NormalMixture(weights=weights, means=beta[0], roots=(beta[1:] - beta[0]).transpose(1, 2, 0))
