"""Where else a posterior of hyperparameters has mass (docs/theory.md, section 8).

A proposal that was fitted around one mode, the chains that share it and the weights of its own draws cannot see another
one. Here the density is explored from a box that holds what the priors and what the data ask for, by particles that are
tempered from a uniform density to the posterior (Del Moral, Doucet & Jasra 2006), and climbed from dispersed points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from .marginal import Marginal
from .opinions import box, centers, is_opinionated, mixing
from .proposal import (
    DOF,
    PILOT,
    Density,
    Fitted,
    Mixture,
    Proposal,
    cholesky,
    climb,
    fit_proposal,
    inverse_curvature,
    nearest_modes,
)
from .tempering import temper

KNOWN = 20  # draws of the proposal that start among the particles
CLIMBS = 6  # from particles at the end, and as many from midway
DIP = 0.5  # of the log density between two modes
NEGLIGIBLE = 9.0  # of log mass below the heaviest mode: 1e-4
ALARM, EXCESS = np.log(1000.0), np.log(50.0)  # density over proposal, beyond its average
LEAST_SHARE = 0.003  # of the mass that the proposal hardly reaches: less is let pass
SLACK = 0.15  # of the sd of a draw's mode: what 4 chains of 100 effective draws leave, thrice
FEW = 4  # particles a coordinate, below which a mode is described by its curvature


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the posterior looks like from afar: N particles that are spread as it is, roughly, and K modes."""

    particles: Array  # (N, d)
    log_density: Array  # (N,)
    modes: Array  # (K, d), the heaviest first
    spreads: Array  # (K, d, d) inverse curvatures there
    log_masses: Array  # (K,) by Laplace's method, of the heaviest one zero

    @property
    def labels(self) -> NDArray[np.int64]:
        """The mode each particle belongs to (N,)."""
        laplace = Mixture(shares=np.ones(len(self.modes)), means=self.modes, roots=_roots(self.spreads), dof=DOF)
        return np.argmin(laplace.distances(self.particles), axis=0)

    def mixture(self, rng: Generator) -> tuple[Mixture, NDArray[np.int64]]:
        """Two t distributions for every mode, or one where few particles are, and the mode of each."""
        labels, d = self.labels, self.modes.shape[1]
        means, spreads, shares, of_mode = [], [], [], []
        for k, (mode, spread) in enumerate(zip(self.modes, self.spreads, strict=True)):
            x = self.particles[labels == k]
            share = max(len(x) / len(labels), 0.05)
            parts = 1 if len(x) < 2 * FEW * d else 2
            if len(x) >= FEW * d:
                spread = np.cov(x.T, ddof=0).reshape(d, d)
                centers = [x.mean(axis=0)] if parts == 1 else x[rng.choice(len(x), 2, replace=False)]
            else:
                centers, spread = [mode], 1.3 * spread
            for center in centers:
                means.append(center)
                spreads.append(spread)
                shares.append(share / parts)
                of_mode.append(k)
        mixture = Mixture(
            shares=np.array(shares) / np.sum(shares), means=np.array(means), roots=_roots(np.array(spreads)), dof=DOF
        )
        return mixture, np.array(of_mode)

    def missed(self, fitted: Fitted, density: Density) -> float:
        """About how much of the mass a proposal hardly reaches: there the density exceeds it fifty times."""
        excess = self.log_density - fitted.proposal.log_density(self.particles) - fitted.log_mean_weight
        share = float(np.mean(excess > EXCESS))
        at_modes = density(self.modes) - fitted.proposal.log_density(self.modes) - fitted.log_mean_weight
        masses = np.exp(self.log_masses - np.logaddexp.reduce(self.log_masses))
        missed = max(share, float(np.sum(masses[at_modes > EXCESS])))
        return missed if missed > LEAST_SHARE else 0.0


def _roots(spreads: Array) -> Array:
    return np.array([cholesky(spread) for spread in spreads])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """A proposal for all modes that a survey saw, and what it still misses."""

    fitted: Fitted
    seen: Survey | None  # None where nothing asked for a survey
    missed: float  # mass that the proposal hardly reaches

    @property
    def words(self) -> str:
        """The masses of the modes, where there are several of a thousandth or more."""
        masses = np.sort(self.fitted.masses)[::-1]
        masses = masses[masses >= 0.001]
        return ", ".join(f"{mass:.1%}" for mass in masses) if len(masses) > 1 else ""

    def doubt(self) -> str:
        """What cannot be weighed, in words; empty where all is well."""
        if not self.missed:
            return ""
        return (
            f"about {self.missed:.1%} of the posterior lies where the proposal hardly reaches, so its modes are not "
            "weighed rightly: priors and data are in conflict, look at prior_audit()"
        )


def cover(
    marginal: Marginal,
    density: Density,
    rng: Generator,
    elsewhere: Generator,
    *,
    pilot: int = PILOT,
    seen: Survey | None = None,
) -> Cover:
    """A proposal around the mode that the search finds; around all modes, where a survey sees more than it reaches.

    ``elsewhere`` draws what the survey needs, so that ``rng`` gives the same proposal where there is one mode;
    ``seen`` is the survey of an earlier trial.
    """
    fitted = fit_proposal(marginal, rng, density=density, pilot=pilot)
    seen = seen or look_around(marginal, density, elsewhere, fitted)
    if seen is None:
        return Cover(fitted=fitted, seen=None, missed=0.0)
    missed = seen.missed(fitted, density)
    if missed or len(seen.modes) > 1:
        fitted = fit_proposal(marginal, elsewhere, density=density, pilot=2 * pilot, start=seen.mixture(elsewhere))
        missed = seen.missed(fitted, density)
    return Cover(fitted=fitted, seen=seen, missed=missed)


def look_around(marginal: Marginal, density: Density, rng: Generator, fitted: Fitted) -> Survey | None:
    """A survey; None where nothing asks for one.

    That is where no prior has an opinion (`is_opinionated`), the proposal fits and no dispersed point has a density
    far beyond it: then the posterior is that of the likelihood.
    """
    if not is_opinionated(marginal) and fitted.share > 0.3:
        points = marginal.starts()
        excess = density(points) - fitted.proposal.log_density(points) - fitted.log_mean_weight
        if not np.any(excess > ALARM):
            return None
    return survey(marginal, density, rng, fitted.proposal)


def survey(marginal: Marginal, density: Density, rng: Generator, proposal: Proposal) -> Survey:
    """Particles and modes; the box they are looked for in holds draws of a proposal that has found one mode."""
    points = proposal.draw(rng, KNOWN)
    low, high = box(marginal, points)
    particles, log_density, midway = temper(marginal, density, rng, low, high, points)
    starts = np.concatenate(
        [proposal.near.means, _structured(marginal, density), _dispersed(particles, CLIMBS), _dispersed(midway, CLIMBS)]
    )
    ends = np.array([climb(density, marginal, start) for start in np.maximum(starts, _lowest(marginal))])
    return _distinct(marginal, density, particles, log_density, ends)


def _lowest(marginal: Marginal) -> Array:
    """Zero for what is truncated there."""
    return np.where(marginal.space.sd_at, 0.0, -np.inf)


def _structured(marginal: Marginal, density: Density) -> Array:
    """The best starts with every t prior at its center or where least squares is, and with sds next to zero or not."""
    t = len(marginal.space.nu)
    patterns = list(product((False, True), repeat=t)) if t <= 3 else [*np.eye(t, dtype=bool), *~np.eye(t, dtype=bool)]
    spread, best_starts = np.log(np.std(marginal.problem.y) or 1.0), []
    for pattern in patterns:
        x = marginal.starts()
        raw = x.copy()  # beside what least squares leaves, all of the response's spread
        raw[:, marginal.sigma_at] += spread - x[:, marginal.sigma_at].max(initial=-np.inf)
        raw[:, marginal.space.sd_at] += 1.0
        x = np.concatenate([x, raw])
        x[:, marginal.omega_at] = np.where(pattern, np.log(mixing(marginal, 1.0)), 0.0)
        corner = x.copy()
        corner[:, marginal.space.sd_at] = 1e-3
        best_starts += [each[np.argmax(density(each))] for each in (x, corner)]
    return np.array(best_starts)


def _dispersed(x: Array, n: int) -> Array:
    """Points of x (N, d) far from each other, one after the other."""
    scaled = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-300)
    chosen = [int(np.argmax(np.sum(scaled**2, axis=1)))]
    for _ in range(min(n, len(x)) - 1):
        nearest = np.min([np.sum((scaled - scaled[i]) ** 2, axis=1) for i in chosen], axis=0)
        chosen.append(int(np.argmax(nearest)))
    return x[chosen]


def _distinct(marginal: Marginal, density: Density, particles: Array, log_density: Array, ends: Array) -> Survey:
    """The ends of climbs that are modes of their own, and hold more than next to nothing."""
    modes, heights = parted(density, ends)
    spreads = np.array([inverse_curvature(density, mode, marginal) for mode in modes])
    masses = heights + 0.5 * np.linalg.slogdet(spreads)[1]
    order = np.argsort(-masses)
    result = Survey(
        particles=particles,
        log_density=log_density,
        modes=modes[order],
        spreads=spreads[order],
        log_masses=masses[order] - masses.max(),
    )
    populated = np.bincount(result.labels, minlength=len(order)) > 0
    kept = (result.log_masses > -NEGLIGIBLE) | populated
    return replace(result, modes=result.modes[kept], spreads=result.spreads[kept], log_masses=result.log_masses[kept])


def modes_of_draws(marginal: Marginal, fitted: Fitted, sds: Array, sigma: Array, beta: Array) -> NDArray[np.int64]:
    """The mode (N,) of draws: all sds (N, Σq) as the coordinates have them, σ (N,) and β (N, p) as users do.

    A draw's ω is put at its mean given β; correlations are not looked at.
    """
    space, priors, with_t = marginal.space, marginal.priors, marginal.space.with_t
    beta = beta.copy()
    if marginal.scaled.intercept is not None:  # its prior is that at centred predictors
        beta[:, marginal.scaled.intercept] += beta @ centers(marginal)
    t = (beta[:, with_t] - priors.beta_mean[with_t]) / priors.beta_sd[with_t]
    of_sigma = [np.log(sigma)] if marginal.problem.sigma is None else []
    x = np.column_stack(
        [np.log1p(sds[:, space.column_of] / space.softness), *of_sigma, np.log((space.nu + 1.0) / (space.nu + t**2))]
    )
    near, others = fitted.proposal.near, np.flatnonzero(~space.correlation_at)
    scales = near.roots @ near.roots.swapaxes(1, 2)
    plain = replace(near, means=near.means[:, others], roots=_roots(scales[:, others[:, None], others]))
    return nearest_modes(plain, fitted.of_mode, x)


def disagreement(fitted: Fitted, labels: NDArray[np.int64]) -> str:
    """Where draws of another sampler, of modes ``labels`` (chain, draw), give a mode another mass, in words."""
    for k, (mass, error) in enumerate(zip(fitted.masses, fitted.errors, strict=True)):
        of_chain = np.mean(labels == k, axis=1)
        share = float(of_chain.mean())
        spread = float(np.std(of_chain) / np.sqrt(max(len(of_chain) - 1, 1)))
        slack = 0.005 + SLACK * np.sqrt(max(mass * (1.0 - mass), 0.0))
        off = abs(share - mass) > 4.0 * np.hypot(error, spread) + slack
        skipped = mass > 0.005 and share < 0.25 * mass
        if off or skipped:
            return (
                f"the posterior has {np.sum(fitted.masses > 0.001)} modes, and one that has {mass:.1%} of the mass got "
                f"{share:.1%} of the draws: chains seldom go from one to another"
            )
    return ""


def parted(density: Density, ends: Array) -> tuple[Array, Array]:
    """Ends of climbs with a dip between any two (K, d), the densest first, and their log densities."""
    values = density(ends)
    modes: list[Array] = []
    heights: list[float] = []
    for i in np.argsort(-values):
        if np.isfinite(values[i]) and all(
            _dip(density, mode, ends[i], min(height, values[i])) > DIP
            for mode, height in zip(modes, heights, strict=True)
        ):
            modes.append(ends[i])
            heights.append(float(values[i]))
    return np.array(modes), np.array(heights)


def _dip(density: Density, first: Array, second: Array, lower: float) -> float:
    """How far the log density falls between two points, below the lower of them."""
    along = np.linspace(0.0, 1.0, 17)[1:-1, None]
    return lower - float(np.min(density(first + along * (second - first))))
