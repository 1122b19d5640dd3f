"""A mixture of t distributions fitted to the posterior of the hyperparameters (docs/theory.md, section 7).

From the mode and the curvature there, rounds of weighted draws move the mixture to the posterior by expectation
maximisation (Cappé, Douc, Guillin, Marin & Robert 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..covariances import loops
from ..errors import FitError
from ..tools.arrays import Array
from ..tools.lazy import lapack, special
from .hyperpriors import PERFECT
from .hyperspace import FARTHEST
from .marginal import Marginal

Density = Callable[[Array], Array]  # log density at each row of x (N, d)


class Coordinates(Protocol):
    """What a proposal has to know of the coordinates of a density."""

    @property
    def sd_at(self) -> NDArray[np.bool_]:
        """(d,) those that are truncated at zero."""

    @property
    def correlation_at(self) -> NDArray[np.bool_]:
        """(d,) those of correlations."""

    @property
    def partial_shape(self) -> Array:
        """Shapes of the Beta priors of these."""


class Target(Protocol):
    """A density that a proposal can be fitted to."""

    @property
    def d(self) -> int:
        """Number of coordinates."""

    @property
    def space(self) -> Coordinates:
        """Its coordinates."""

    def log_densities(self, x: Array) -> Array:
        """Log density at each row of x (N, d)."""

    def rough_sds(self, x: Array) -> Array:
        """About how far it reaches around x (d,)."""


COMPONENTS = 3
DOF = 10.0  # degrees of freedom of each
SHARES = np.array([0.84, 0.06, 0.1])  # of the near, the wide and the corner part
WIDTH, WIDE_DOF = 1.75, 3.0  # of the wide part
WIDTH_OF_CORNER, CORNER_DOF = 1.2, 5.0  # of the corner part, which is centred where sds near zero are zero
NEAR_ZERO = 6.0  # sds from zero: what is nearer gets a corner
LOWEST = -1e12  # stands for −∞ in the search for the mode
ROUNDS, PILOT = 5, 200
ENOUGH = 0.85  # share of draws that count, at which the fit ends,
FAIR, TOO_LITTLE = 0.7, 0.03  # or at this one if a round gains little
EM_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """K multivariate t distributions of d coordinates."""

    shares: Array  # (K,)
    means: Array  # (K, d)
    roots: Array  # (K, d, d) Cholesky factors of the scale matrices
    dof: float

    def draw(self, rng: Generator, n: int) -> Array:
        """Draws (n, d)."""
        k = rng.choice(len(self.shares), size=n, p=self.shares)
        normal = rng.normal(size=(n, self.means.shape[1])) * np.sqrt(self.dof / rng.chisquare(self.dof, (n, 1)))
        return self.means[k] + (self.roots[k] @ normal[:, :, None])[:, :, 0]

    def distances(self, x: Array) -> Array:
        """Squared Mahalanobis distances (K, n)."""
        parts = [
            lapack.dtrtrs(root, (x - mean).T, lower=1)[0] for mean, root in zip(self.means, self.roots, strict=True)
        ]
        with np.errstate(over="ignore"):  # a point so far away that its distance is infinite has density zero
            return np.sum(np.square(parts), axis=1)

    def parts(self, x: Array) -> Array:
        """Log of share times density of each component (K, n)."""
        d, nu = x.shape[1], self.dof
        scale = np.sum(np.log(np.diagonal(self.roots, axis1=1, axis2=2)), axis=1)
        constant = special.gammaln((nu + d) / 2) - special.gammaln(nu / 2) - 0.5 * d * np.log(np.pi * nu)
        kernel = -0.5 * (nu + d) * np.log1p(self.distances(x) / nu)
        return (np.log(self.shares) - scale + constant)[:, None] + kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A mixture of a near, a wide and a corner part, truncated where sds would be negative.

    The wide part bounds the weights in the tails. So does the corner part where sds are near zero: there correlations
    follow their prior in the posterior, and in this part.
    """

    near: Mixture
    wide: Mixture
    corner: Mixture  # of the coordinates that are no correlations
    bounded: NDArray[np.bool_]  # (d,) coordinates that are not negative
    correlations: NDArray[np.bool_]  # (d,) those of partial correlations
    shapes: Array  # of the Beta priors of these

    @classmethod
    def around(cls, near: Mixture, target: Target) -> Proposal:
        """The near part with the other two."""
        space = target.space
        mean = near.shares @ near.means
        off = near.means - mean
        spread = np.einsum("k,kij,klj->il", near.shares, near.roots, near.roots) + (near.shares * off.T) @ off
        zero = np.flatnonzero(space.sd_at & (mean < NEAR_ZERO * np.sqrt(np.diag(spread))))
        to_corner = -spread[:, zero] @ np.linalg.solve(spread[np.ix_(zero, zero)], mean[zero])
        others = np.flatnonzero(~space.correlation_at)
        corner = (WIDTH_OF_CORNER**2 * spread + np.outer(to_corner, to_corner))[np.ix_(others, others)]
        return cls(
            near=near,
            wide=Mixture(shares=np.ones(1), means=mean[None], roots=WIDTH * cholesky(spread)[None], dof=WIDE_DOF),
            corner=Mixture(
                shares=np.ones(1), means=(mean + to_corner)[None, others], roots=cholesky(corner)[None], dof=CORNER_DOF
            ),
            bounded=space.sd_at,
            correlations=space.correlation_at,
            shapes=space.partial_shape,
        )

    def draw(self, rng: Generator, n: int) -> Array:
        """Draws (n, d); one with a negative sd, or beyond all measure, is drawn again."""
        kept = np.empty((0, len(self.bounded)))
        while len(kept) < n:
            x = self.near.draw(rng, n)
            part = rng.choice(3, size=n, p=SHARES)
            wide, corner = np.flatnonzero(part == 1), np.flatnonzero(part == 2)
            x[wide] = self.wide.draw(rng, len(wide))
            x[np.ix_(corner, ~self.correlations)] = self.corner.draw(rng, len(corner))
            beta = rng.beta(self.shapes, self.shapes, (len(corner), len(self.shapes)))
            x[np.ix_(corner, self.correlations)] = np.arctanh(np.clip(2.0 * beta - 1.0, -1 + 1e-15, 1 - 1e-15))
            inside = np.all(x[:, self.bounded] >= 0.0, axis=1) & np.all(np.abs(x) < FARTHEST, axis=1)
            kept = np.concatenate([kept, x[inside]])
        return kept[:n]

    def log_density(self, x: Array) -> Array:
        """At each row of x (n, d), up to a constant, which truncation makes."""
        y, s = x[:, self.correlations], self.shapes
        of_correlations = loops.log_priors(s, y)
        parts = [
            np.logaddexp.reduce(self.near.parts(x), axis=0),
            self.wide.parts(x)[0],
            self.corner.parts(x[:, ~self.correlations])[0] + of_correlations,
        ]
        return np.logaddexp.reduce(np.log(SHARES)[:, None] + parts, axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A proposal, and what weighted draws of it say."""

    proposal: Proposal
    share: float  # of its draws that count: relative effective sample size of their weights
    log_mean_weight: float  # log p(y) by its draws, up to the constant of `Proposal.log_density`
    of_mode: NDArray[np.int64]  # (K,) the mode each component of the near part belongs to
    masses: Array  # of each mode, by the weights
    errors: Array  # their standard errors


def fit_proposal(
    marginal: Marginal,
    rng: Generator,
    *,
    density: Density | None = None,
    pilot: int = PILOT,
    start: tuple[Mixture, NDArray[np.int64]] | None = None,
    enough: float = ENOUGH,
) -> Fitted:
    """A proposal for the hyperparameters.

    Parameters
    ----------
    density
        Replaces ``marginal.log_densities``, to spread the work.
    pilot
        Number of draws a coordinate in every round.
    start
        A mixture to begin with and the mode each component belongs to; without it, one mode is searched for.
    enough
        Share of the draws that count, at which the rounds end.

    Raises
    ------
    FitError
        Nothing is left for σ, so there is no posterior; or the priors leave no room.
    """
    density = density or marginal.log_densities
    if start is None:
        mode = _mode(density, marginal)
        root = cholesky(1.3 * inverse_curvature(density, mode, marginal))
        start = Mixture(shares=np.ones(1), means=mode[None], roots=root[None], dof=5.0), np.zeros(1, np.int64)
    return refine(marginal, rng, density, *start, pilot=pilot, enough=enough)


def refine(
    target: Target,
    rng: Generator,
    density: Density,
    mixture: Mixture,
    of_mode: NDArray[np.int64],
    *,
    pilot: int = PILOT,
    enough: float = ENOUGH,
) -> Fitted:
    """The best proposal that rounds of weighted draws make of a mixture; arguments as of `fit_proposal`."""
    seeded = len(mixture.shares) > 1
    proposal = Proposal.around(mixture, target)
    n = pilot * target.d
    best = None
    rows, weights = np.empty((0, target.d)), np.empty(0)  # of all rounds, each as heavy as its draws count
    for _ in range(ROUNDS):
        x = proposal.draw(rng, n)
        log_weights = density(x) - proposal.log_density(x)
        round_weights, share = _weights(log_weights)
        rows, weights = np.concatenate([rows, x]), np.concatenate([weights, share * round_weights])
        gain = share - (best.share if best else 0.0)
        if best is None or gain > 0.0:
            best = _judged(proposal, of_mode, x, log_weights)
        if share == 0.0:
            break
        if share > enough or (gain < TOO_LITTLE and best.share > FAIR):
            break
        try:
            if not seeded:
                mixture, of_mode, seeded = (
                    _seeds(rows, weights / weights.sum(), rng),
                    np.zeros(COMPONENTS, np.int64),
                    True,
                )
            mixture = _maximise(mixture, of_mode, rows, weights / weights.sum())
        except np.linalg.LinAlgError:  # fewer draws than dimensions have all of the weight: the best stands as it is
            break
        proposal = Proposal.around(mixture, target)
    assert best is not None
    return best


def _judged(proposal: Proposal, of_mode: NDArray[np.int64], x: Array, log_weights: Array) -> Fitted:
    weights, share = _weights(log_weights)
    with np.errstate(divide="ignore"):
        log_mean = float(np.logaddexp.reduce(log_weights) - np.log(len(x)))
    inside = nearest_modes(proposal.near, of_mode, x)[:, None] == np.arange(of_mode.max() + 1)
    masses = weights @ inside
    return Fitted(
        proposal=proposal,
        share=share,
        log_mean_weight=log_mean,
        of_mode=of_mode,
        masses=masses,
        errors=np.sqrt(np.square(weights) @ np.square(inside - masses)),
    )


def nearest_modes(mixture: Mixture, of_mode: NDArray[np.int64], x: Array) -> NDArray[np.int64]:
    """The mode whose components are densest at each row of x (n, d)."""
    K = int(of_mode.max()) + 1
    if K == 1:
        return np.zeros(len(x), np.int64)
    parts = mixture.parts(x)
    return np.argmax([np.logaddexp.reduce(parts[of_mode == k], axis=0) for k in range(K)], axis=0)


def _mode(density: Density, marginal: Marginal) -> Array:
    """The mode that the best start leads to."""
    starts = marginal.starts()
    values = density(starts)
    if not np.isfinite(values.max()):
        raise FitError("no start of the search has a positive density: the priors exclude what the data ask for")
    mode = climb(density, marginal, starts[np.argmax(values)])
    spread = np.std(marginal.problem.y)
    for sigma in np.exp(
        np.nan_to_num(mode[marginal.sigma_at], nan=np.log(1e-3 * PERFECT * spread))
    ):  # past all numbers
        if not sigma < PERFECT * spread:
            continue
        raise FitError(
            f"the model fits the data perfectly: sigma goes to zero (below {sigma:.2g}, the response has an sd of "
            f"{spread:.2g}), and its posterior has no bound there. Leave out what determines the response."
        )
    return mode


def climb(density: Density, target: Target, start: Array) -> Array:
    """A mode, by L-BFGS-B in units of the rough sds; each gradient is a batch of central differences."""
    from scipy.optimize import minimize

    units, bounded = target.rough_sds(start), target.space.sd_at
    h = 1e-3 * np.diag(units)

    def slope(z: Array) -> tuple[float, Array]:
        x = z * units
        low = np.where(bounded & (x < np.diag(h)), 0.0, 1.0)  # forward differences next to zero
        values = np.maximum(density(np.concatenate([x[None], x + h, x - low[:, None] * h])), LOWEST)
        ahead, behind = values[1 : 1 + len(x)], values[1 + len(x) :]
        return -float(values[0]), -(ahead - behind) / (1e-3 * (1.0 + low))

    bounds = [(0.0, None) if b else (None, None) for b in bounded]
    result = minimize(
        slope, start / units, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-9, "maxiter": 60}
    )
    return np.asarray(result.x * units)


def inverse_curvature(density: Density, mode: Array, target: Target) -> Array:
    """Inverse of minus the second differences of the log density over ± a rough sd, made positive definite."""
    d, steps = len(mode), target.rough_sds(mode)
    center = np.where(target.space.sd_at, np.maximum(mode, steps), mode)
    h = np.diag(steps)
    pairs = [(i, j) for i in range(d) for j in range(i)]
    corners = [center + a * h[i] + b * h[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
    values = density(np.array([center, *(center + h), *(center - h), *corners]))
    H = np.diag(2.0 * values[0] - values[1 : 1 + d] - values[1 + d : 1 + 2 * d])
    with np.errstate(invalid="ignore"):  # outside the support of a prior the density is zero
        for (i, j), (pp, pm, mp, mm) in zip(pairs, values[1 + 2 * d :].reshape(-1, 4), strict=True):
            H[i, j] = H[j, i] = -0.25 * (pp - pm - mp + mm)
    curvatures, axes = np.linalg.eigh(np.where(np.isfinite(H), H, np.eye(d)))
    return (steps[:, None] * axes / np.maximum(curvatures, 0.05)) @ axes.T * steps


def cholesky(covariance: Array) -> Array:
    """The lower factor of a covariance matrix that rounding may have made singular."""
    return np.linalg.cholesky(covariance + 1e-12 * np.diag(np.diag(covariance)))


def _weights(log_weights: Array) -> tuple[Array, float]:
    """Normalised weights and their relative effective sample size."""
    if not np.isfinite(log_weights.max()):  # not one draw counts
        return np.full(len(log_weights), 1.0 / len(log_weights)), 0.0
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return weights, float(1.0 / np.sum(weights**2) / len(weights))


def _seeds(x: Array, weights: Array, rng: Generator) -> Mixture:
    """A mixture around draws chosen by weight, from which to maximise."""
    mean = weights @ x
    spread = (x - mean).T @ ((x - mean) * weights[:, None])
    return Mixture(
        shares=np.full(COMPONENTS, 1.0 / COMPONENTS),
        means=x[rng.choice(len(x), size=COMPONENTS, p=weights)],
        roots=np.repeat(cholesky(0.6 * spread)[None], COMPONENTS, axis=0),
        dof=DOF,
    )


def _maximise(mixture: Mixture, of_mode: NDArray[np.int64], x: Array, weights: Array) -> Mixture:
    """Steps of expectation maximisation for weighted draws.

    Each scale matrix leans a little towards the mean of those of its mode: another mode may be a thousand times wider.
    """
    d = x.shape[1]
    same = (of_mode[:, None] == of_mode).astype(float)
    for _ in range(EM_STEPS):
        parts = mixture.parts(x)
        total = np.logaddexp.reduce(parts, axis=0)
        if not np.isfinite(total).all():
            reached = np.isfinite(total)
            if weights[~reached].any():
                raise np.linalg.LinAlgError("draws that count lie where no component reaches")
            x, weights, parts, total = x[reached], weights[reached], parts[:, reached], total[reached]
        duty = weights * np.exp(parts - total)  # (K, n)
        pull = duty * (mixture.dof + d) / (mixture.dof + mixture.distances(x))
        mass, pulled = duty.sum(axis=1), pull.sum(axis=1)
        means = (pull @ x) / pulled[:, None]
        off = x - means[:, None]
        scales = (pull[:, :, None] * off).swapaxes(1, 2) @ off / mass[:, None, None]
        of_each = same * mass
        common = np.einsum("mk,kij->mij", of_each / of_each.sum(axis=1, keepdims=True), scales)
        shares = np.maximum(mass, 0.02)
        mixture = Mixture(
            shares=shares / shares.sum(),
            means=means,
            roots=np.array(
                [cholesky(1.05 * (scale + 0.02 * lean)) for scale, lean in zip(scales, common, strict=True)]
            ),
            dof=mixture.dof,
        )
    return mixture
