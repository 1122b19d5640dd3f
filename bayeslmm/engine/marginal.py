"""The exact posterior of a Gaussian model with normal or flat priors on β (docs/theory.md, sections 4, 6, 7).

β and b are integrated out, which leaves a density of the few hyperparameters: σ, the sds and the correlations. They
are drawn by independence Metropolis–Hastings from a multivariate t fitted to that density, on log σ, log(1 + sd/c) (the
sd itself near zero, where it is truncated, and its log far away) and atanh of the canonical partial correlations; β and
b are then drawn exactly, given them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.special import betaln, gammaln

from . import pls
from .hyperpriors import HyperPriors, log_prior
from .layout import arrange
from .scaling import Problem, Scaled, scale

Array = NDArray[np.float64]

COMPONENTS = ((0.85, 6.0, 1.0), (0.15, 2.0, 2.0))  # of the proposal: share, degrees of freedom, width
FARTHEST = 100.0  # e¹⁰⁰ times the unit of an sd: beyond, numbers overflow and no posterior reaches
LARGEST_RATIO = 1e6  # of an sd to σ, in scaled columns: its square times rounding error is 1e-4
FIRST_INFLATION = 1.3  # of the covariance that the curvature at the mode gives, and
NEXT_INFLATION = 1.1  # of the one that weighted draws give
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperPoint:
    """One value of the hyperparameters."""

    sds: tuple[Array, ...]  # per factor (q_k,)
    factors: tuple[Array, ...]  # per factor (q_k, q_k): Cholesky factors of the correlation matrices
    sigma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDraws:
    """Draws from the posterior and how they were made."""

    beta: Array  # (chain, draw, p) on the user's scale
    sigma: Array  # (chain, draw)
    sds: tuple[Array, ...]  # per factor (chain, draw, q_k)
    correlations: tuple[Array, ...]  # per factor (chain, draw, q_k, q_k)
    effects: tuple[Array, ...]  # per factor (chain, draw, J_k, q_k)
    log_density: Array  # (chain, draw) of the hyperparameters, normalised but for p(y)
    accepted: Array  # (chain, draw) whether the proposal was taken
    log_weights: Array  # (chain · draw,) of the proposals: their spread is what k̂ measures


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A point with the factorisation there and its log density."""

    at: HyperPoint
    reduced: pls.Reduced
    solution: pls.Solution
    log_density: float


class Marginal:
    """log p(σ, sds, correlations | y) + log p(y) with β and b integrated out, as a function of coordinates x (4.1).

    x holds for each factor log(1 + sd/c) of its columns and the atanh of its partial correlations, block after block,
    and log σ at the end. c is the standard error of one level's own estimate, as if all variance were residual.
    """

    def __init__(self, problem: Problem, priors: HyperPriors) -> None:
        self.problem, self.priors = problem, priors
        self.scaled: Scaled = scale(problem)
        units = np.diag(self.scaled.T_x)
        center = np.zeros(len(units))
        if self.scaled.intercept is not None:
            center[self.scaled.intercept] = self.scaled.y_center
        self.mean = np.where(np.isfinite(priors.beta_sd), (priors.beta_mean - center) / units, 0.0)
        self.precision = np.diag((units / priors.beta_sd) ** 2)  # P₀ of β̃
        shift = np.eye(len(units) + 1)
        shift[:-1, -1] = -self.mean
        cross = self.scaled.cross
        self.layout = arrange(
            replace(cross, ZtXy=tuple(z @ shift for z in cross.ZtXy), XytXy=shift.T @ cross.XytXy @ shift)
        )
        self.n, self.p = cross.n, len(units)
        self.to_scaled = [np.linalg.inv(T) for T in self.scaled.T_z]
        spread = float(np.std(problem.y)) or 1.0
        self.softness = [
            spread / np.sqrt(np.maximum(np.sum(Z**2, axis=0) / levels, 1e-300))
            for Z, levels in zip(problem.Z, problem.levels, strict=True)
        ]
        self.sd_priors = [[log_prior(prior) for prior in of_factor] for of_factor in priors.sds]
        self.sigma_prior = log_prior(priors.sigma)
        self.pairs = [
            [
                (block[i], block[j], len(block), j)
                for block in blocks
                for i in range(len(block))
                for j in range(i)
            ]
            for blocks in problem.blocks
        ]
        lengths = [(Z.shape[1], len(pairs)) for Z, pairs in zip(problem.Z, self.pairs, strict=True)]
        self.bounded = np.concatenate([*(np.repeat([True, False], each) for each in lengths), [False]])
        # ½ log|P₀| over the proper priors, whose n log 2π terms cancel against those of the integrated β
        proper = np.isfinite(priors.beta_sd)
        self.log_det_prior = float(np.sum(np.log(np.diag(self.precision)[proper])))
        self.improper = int(np.sum(~proper))
        self.log_units = float(np.sum(np.log(np.abs(units[~proper]))))

    def point(self, x: Array) -> tuple[HyperPoint, float]:
        """The hyperparameters at x, and log prior plus log Jacobian there."""
        sigma = float(np.exp(x[-1]))
        total, at = self.sigma_prior(sigma) + float(x[-1]), 0
        sds, factors = [], []
        for k, (pairs, priors) in enumerate(zip(self.pairs, self.sd_priors, strict=True)):
            q = len(priors)
            sd = self.softness[k] * np.expm1(x[at : at + q])
            total += float(np.sum(np.log(self.softness[k]) + x[at : at + q]))
            total += sum(prior(float(value)) for prior, value in zip(priors, sd, strict=True))
            factor = np.eye(q)
            lkj = self.priors.lkj[k]
            for (i, j, d, place), y in zip(pairs, x[at + q : at + q + len(pairs)], strict=True):
                assert lkj is not None
                shape = lkj.eta + (d - 2 - place) / 2.0
                log_left = -2.0 * float(np.logaddexp(y, -y) - np.log(2.0))  # log(1 − tanh² y)
                total += shape * log_left - (2.0 * shape - 1.0) * np.log(2.0) - betaln(shape, shape)
                partial = np.tanh(y)
                factor[i, j] = partial * factor[i, i]
                factor[i, i] *= np.sqrt(1.0 - partial**2)
            sds.append(sd)
            factors.append(factor)
            at += q + len(pairs)
        return HyperPoint(sds=tuple(sds), factors=tuple(factors), sigma=sigma), float(total)

    def reduce(self, at: HyperPoint) -> tuple[pls.Reduced, pls.Solution]:
        """The factorisation and β̂ at a point.

        Raises
        ------
        FloatingPointError
            Sds so much above σ that rounding would decide about the density.
        """
        lams = [
            to_scaled @ (sd[:, None] * factor) / at.sigma
            for to_scaled, sd, factor in zip(self.to_scaled, at.sds, at.factors, strict=True)
        ]
        if not all(np.abs(lam).max() < LARGEST_RATIO for lam in lams):
            raise FloatingPointError(f"an sd is over {LARGEST_RATIO:g} times σ")
        reduced = pls.reduce(self.layout, lams)
        return reduced, pls.solve(reduced, prior_precision=at.sigma**2 * self.precision)

    def log_likelihood(self, at: HyperPoint, reduced: pls.Reduced, solution: pls.Solution) -> float:
        """log p(y | σ, sds, correlations) (4.1); a flat prior counts as a density of one in the user's units."""
        value = (
            self.n * np.log(2.0 * np.pi * at.sigma**2)
            - self.layout.cross.sum_log_weights
            + reduced.log_det_M
            + solution.log_det_A
            - self.p * np.log(at.sigma**2)
            - self.log_det_prior
            + solution.r2 / at.sigma**2
        )
        return float(-0.5 * value + 0.5 * self.improper * np.log(2.0 * np.pi) + self.log_units)

    def __call__(self, x: Array) -> float:
        """Log density at x; −∞ outside the range of the sds, and where they or σ are beyond all measure."""
        if np.any(x[self.bounded] < 0.0) or np.any(np.abs(x) >= FARTHEST):
            return -np.inf
        state = self.state(x)
        return -np.inf if state is None else state.log_density

    def state(self, x: Array) -> State | None:
        """All that is known at x, or None where the numbers break down, far out in the tails."""
        with np.errstate(all="ignore"):
            at, log_prior_and_jacobian = self.point(x)
            try:
                reduced, solution = self.reduce(at)
            except (FloatingPointError, ZeroDivisionError):
                return None
            density = self.log_likelihood(at, reduced, solution) + log_prior_and_jacobian
        if not np.isfinite(density):
            return None
        return State(at=at, reduced=reduced, solution=solution, log_density=density)

    def conditional_draw(self, state: State, rng: Generator) -> tuple[Array, list[Array]]:
        """One exact draw of β (p,) and b (J_k, q_k) given the hyperparameters, on the user's scale (section 6)."""
        at, reduced, solution = state.at, state.reduced, state.solution
        noise = lapack.dtrtrs(solution.R_x, rng.normal(size=self.p))[0] if self.p else np.zeros(0)
        beta = solution.beta + at.sigma * noise
        u = pls.spherical_modes(reduced, beta, at.sigma * rng.normal(size=self.layout.m))
        effects = [
            part @ (sd[:, None] * factor).T / at.sigma
            for part, sd, factor in zip(u, at.sds, at.factors, strict=True)
        ]
        return self.scaled.beta(beta + self.mean), effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A multivariate t with a wider, heavier one mixed in, truncated where sds would be negative.

    The second bounds the weights where the posterior of an sd has a long tail, as it has with few levels.
    """

    mean: Array  # (d,)
    root: Array  # (d, d) Cholesky factor of its scale matrix
    bounded: NDArray[np.bool_]

    def draw(self, rng: Generator, n: int) -> Array:
        """Draws (n, d); those with a negative sd, or one beyond all measure, are drawn again, from either part."""
        kept = np.empty((0, len(self.mean)))
        while len(kept) < n:
            _, nu, width = np.array(COMPONENTS)[(rng.uniform(size=n) > COMPONENTS[0][0]).astype(int)].T
            stretch = width * np.sqrt(nu / rng.chisquare(nu))
            x = self.mean + stretch[:, None] * (rng.normal(size=(n, len(self.mean))) @ self.root.T)
            inside = np.all(x[:, self.bounded] >= 0.0, axis=1) & np.all(np.abs(x) < FARTHEST, axis=1)
            kept = np.concatenate([kept, x[inside]])
        return kept[:n]

    def log_density(self, x: Array) -> Array:
        """At each row of x (n, d), up to a constant that is the same for every row."""
        d = x.shape[1]
        squared = np.sum(lapack.dtrtrs(self.root, (x - self.mean).T, lower=1)[0] ** 2, axis=0)
        parts = [
            np.log(share) + gammaln((nu + d) / 2) - gammaln(nu / 2) - d * np.log(width * np.sqrt(nu))
            - 0.5 * (nu + d) * np.log1p(squared / (nu * width**2))
            for share, nu, width in COMPONENTS
        ]  # fmt: skip
        return np.logaddexp(*parts)


def fit_proposal(marginal: Marginal, rng: Generator) -> tuple[Proposal, float]:
    """A t distribution for the hyperparameters, and the share of its draws that count (relative ESS of the weights).

    Its first shape is that of the density around the mode, measured over about one sd; up to three rounds of weighted
    draws then move it to the posterior's mean and covariance.
    """
    start, steps = _rough_location(marginal)
    mode = _mode(marginal, start, steps)
    cov = FIRST_INFLATION * _curvature(marginal, mode, steps)
    best, best_share = Proposal(mean=mode, root=np.linalg.cholesky(cov), bounded=marginal.bounded), 0.0
    proposal, draws = best, 150 + 50 * len(mode)
    for _ in range(ROUNDS):
        x = proposal.draw(rng, draws)
        log_weights = np.array([marginal(row) for row in x]) - proposal.log_density(x)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        share = float(1.0 / np.sum(weights**2) / draws)
        if share > best_share:
            best, best_share = proposal, share
        if share > 0.6 or share * draws < 2 * len(mode):
            break
        mean = weights @ x
        spread = (x - mean).T @ ((x - mean) * weights[:, None])
        root = np.linalg.cholesky(NEXT_INFLATION * spread + 1e-12 * np.diag(np.diag(spread)))
        proposal = Proposal(mean=mean, root=root, bounded=marginal.bounded)
    return best, best_share


def _rough_location(marginal: Marginal) -> tuple[Array, Array]:
    """Where to look for the mode and about how wide the posterior is there, from a REML-like reading of the data."""
    from .reml import fit

    found = fit(marginal.problem)
    x, width = [], []
    for k, cov in enumerate(found.covariances):
        sd, soft = np.sqrt(np.diag(cov)), marginal.softness[k]
        levels, pairs = marginal.problem.levels[k], len(marginal.pairs[k])
        x += [*np.log1p(np.maximum(sd, 0.1 * soft) / soft), *np.zeros(pairs)]
        error = np.maximum(sd, 0.5 * soft) / np.sqrt(2.0 * levels)
        width += [*(error / (sd + soft)), *np.full(pairs, levels**-0.5)]
    return np.array([*x, np.log(found.sigma)]), np.array([*width, (2.0 * marginal.n) ** -0.5])


def _mode(marginal: Marginal, start: Array, steps: Array) -> Array:
    """The mode in coordinates measured in ``steps``."""
    from scipy.optimize import minimize

    bounds = [(0.0, None) if bound else (None, None) for bound in marginal.bounded]
    found = minimize(
        lambda z: -marginal(z * steps), start / steps, method="L-BFGS-B", bounds=bounds,
        options={"ftol": 1e-9, "maxiter": 60, "eps": 1e-4},
    )  # fmt: skip
    return found.x * steps


def _curvature(marginal: Marginal, mode: Array, steps: Array) -> Array:
    """Inverse of minus the second differences of the log density over ± one step, made positive definite."""
    d = len(mode)
    center = np.where(marginal.bounded, np.maximum(mode, steps), mode)
    h = np.diag(steps)
    at = marginal(center)
    single = [(marginal(center + h[i]), marginal(center - h[i])) for i in range(d)]
    H = np.empty((d, d))
    for i in range(d):
        H[i, i] = 2.0 * at - sum(single[i])
        for j in range(i):
            both = marginal(center + h[i] + h[j]) - marginal(center + h[i] - h[j])
            both -= marginal(center - h[i] + h[j]) - marginal(center - h[i] - h[j])
            H[i, j] = H[j, i] = -0.25 * both
    H = np.where(np.isfinite(H), H, np.eye(d))
    values, axes = np.linalg.eigh(H)
    return (steps[:, None] * axes / np.maximum(values, 0.05)) @ axes.T * steps


def sample(
    marginal: Marginal, proposal: Proposal, *, draws: int, rngs: Sequence[Generator]
) -> Iterator[ExactDraws]:
    """Draws of one chain for each generator, by independence Metropolis–Hastings; β and b exactly, given the rest.

    The first state of a chain is drawn from 100 proposals by their weights, so there is nothing to warm up.
    """
    for rng in rngs:
        yield _chain(marginal, proposal, draws, rng)


def _states(marginal: Marginal, proposal: Proposal, rng: Generator, n: int) -> Iterator[tuple[State, float]]:
    """n proposals with their log weights; the rare one at which the numbers break down is left out."""
    rows = proposal.draw(rng, n)
    for x, log_proposal in zip(rows, proposal.log_density(rows), strict=True):
        state = marginal.state(x)
        if state is not None:
            yield state, state.log_density - float(log_proposal)


def _chain(marginal: Marginal, proposal: Proposal, draws: int, rng: Generator) -> ExactDraws:
    first = list(_states(marginal, proposal, rng, 100))
    weights = np.exp(np.array([w for _, w in first]) - max(w for _, w in first))
    state, log_weight = first[rng.choice(len(first), p=weights / weights.sum())]
    beta, sigma, log_density = np.empty((draws, marginal.p)), np.empty(draws), np.empty(draws)
    accepted, log_weights = np.zeros(draws, dtype=bool), np.empty(draws)
    sds = [np.empty((draws, Z.shape[1])) for Z in marginal.problem.Z]
    correlations = [np.empty((draws, Z.shape[1], Z.shape[1])) for Z in marginal.problem.Z]
    effects = [
        np.empty((draws, levels, Z.shape[1]))
        for levels, Z in zip(marginal.problem.levels, marginal.problem.Z, strict=True)
    ]
    proposals = chain.from_iterable(_states(marginal, proposal, rng, draws) for _ in count())
    for i, (there, log_weights[i]) in zip(range(draws), proposals, strict=False):
        if np.log(rng.uniform()) < log_weights[i] - log_weight:
            state, log_weight, accepted[i] = there, log_weights[i], True
        beta[i], b = marginal.conditional_draw(state, rng)
        sigma[i], log_density[i] = state.at.sigma, state.log_density
        for k, effect in enumerate(b):
            sds[k][i], effects[k][i] = state.at.sds[k], effect
            correlations[k][i] = state.at.factors[k] @ state.at.factors[k].T
            np.fill_diagonal(correlations[k][i], 1.0)
    return ExactDraws(
        beta=beta[None], sigma=sigma[None], sds=tuple(sd[None] for sd in sds),
        correlations=tuple(cor[None] for cor in correlations), effects=tuple(b[None] for b in effects),
        log_density=log_density[None], accepted=accepted[None], log_weights=log_weights,
    )  # fmt: skip
