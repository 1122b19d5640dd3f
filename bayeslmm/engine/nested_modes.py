"""Other modes of a marginal by quadrature: where priors of fixed effects and the data are in conflict.

A slope of a predictor of groups under a narrow prior is either near the prior's center, and the groups' sd takes what
the predictor explains, or where the data have it, and heavy tails of the prior let it be. A climb from rough estimates
ends in one of the two. Here the density is climbed from both ends of every conflict (docs/theory.md, section 8).
Where the climb from one end reaches the other's mode there may be a shoulder, with a hundredth of the mass or more far
out: a proposal that begins at the mode alone hardly gets there, so that it gets a part of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from .modes import NEGLIGIBLE, parted
from .nested_marginal import WIDER, NestedMarginal
from .proposal import DOF, Density, Mixture, cholesky, climb, inverse_curvature, nearest_modes

APART = 1.5  # standard errors between a prior's center and rough estimates, at which there may be two modes
NARROW = 4.0  # scales of the prior in that distance
MOST_COMBINED = 3  # fixed effects in conflict whose ends are all combined; of more, one end each against the others
LEAST_MASS = 0.005  # of a mode that draws must not skip
LEAST_SHARE = 0.05  # of a proposal, for every mode and shoulder to begin with
FAR = 3.0  # sds of every mode at least, of an end of a conflict that is a shoulder
SKIPPED = 0.25  # of a mode's mass among the draws: less is called skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """K modes of a density, the heaviest first."""

    points: Array  # (K, d)
    spreads: Array  # (K, d, d) inverse curvatures
    masses: Array  # (K,) by Laplace's method, adding to one
    shoulders: Array  # (S, d) ends of conflicts that are far from every mode, where the density is not negligible
    widths: Array  # (S, d) about how far it reaches there

    def mixture(self, rng: np.random.Generator) -> tuple[Mixture, NDArray[np.int64]]:
        """Two t distributions for every mode, one of them wide for the tails, one a shoulder, and the mode of each."""
        roots = [width * cholesky(spread) for spread in self.spreads for width in (1.0, 2.5)]
        means = np.repeat(self.points, 2, axis=0)
        means[1::2] += 0.1 * np.array([root @ rng.normal(size=len(root)) for root in roots[1::2]])
        shares = np.append(np.repeat(np.maximum(self.masses, LEAST_SHARE), 2), [LEAST_SHARE] * len(self.shoulders))
        of_mode = np.repeat(np.arange(len(self.points)), 2)
        if len(self.shoulders):
            nearest = np.argmin(_distances(self.points, self.spreads, self.shoulders), axis=0)
            of_mode = np.append(of_mode, nearest)
            means, roots = np.concatenate([means, self.shoulders]), [*roots, *map(np.diag, self.widths)]
        return Mixture(shares=shares / shares.sum(), means=means, roots=np.array(roots), dof=DOF), of_mode

    def skipped(self, of_beta: Array) -> str:
        """Which mode is left out by draws of the coordinates of fixed effects (N, p), in words; empty where none."""
        p = of_beta.shape[1]
        roots = np.array([cholesky(spread[:p, :p]) for spread in self.spreads])
        laplace = Mixture(shares=self.masses, means=self.points[:, :p], roots=roots, dof=DOF)
        labels = nearest_modes(laplace, np.arange(len(roots)), of_beta)
        for k, mass in enumerate(self.masses):
            share = float(np.mean(labels == k))
            if mass > LEAST_MASS and share < SKIPPED * mass:
                return f"has about {mass:.1%} of the mass and got {share:.1%} of the draws"
        return ""


def modes_in_conflict(marginal: NestedMarginal, density: Density, near: Mixture) -> Modes | None:
    """The modes of a marginal whose ``near`` mode is known; None where that is the only one, without a shoulder."""
    effects = conflicts(marginal)
    if not len(effects):
        return None
    starts = np.array(_starts(marginal, effects))
    starts = starts[np.isfinite(density(starts))]
    ends = np.array([near.means[0], *(climb(density, marginal, start) for start in starts)])
    modes, heights = parted(density, ends)
    spreads = np.array([inverse_curvature(density, mode, marginal) for mode in modes])
    log_masses = heights + 0.5 * np.linalg.slogdet(spreads)[1]
    order = np.argsort(-log_masses)
    order = order[log_masses[order] >= log_masses.max() - NEGLIGIBLE]  # equal where 9 is less than rounding
    points, spreads = modes[order], WIDER * spreads[order]
    shoulders, widths = _shoulders(marginal, density, starts, points, spreads, log_masses.max())
    if len(order) == 1 and not len(shoulders) and np.array_equal(points[0], near.means[0]):
        return None
    masses = np.exp(log_masses[order] - np.logaddexp.reduce(log_masses[order]))
    return Modes(points=points, spreads=spreads, masses=masses, shoulders=shoulders, widths=widths)


def _shoulders(
    marginal: NestedMarginal, density: Density, starts: Array, points: Array, spreads: Array, heaviest: float
) -> tuple[Array, Array]:
    """Starts (S, d) far from all modes (K, d) with mass that counts beside the heaviest's, and their widths (S, d)."""
    far = starts[np.all(_distances(points, spreads, starts) > FAR, axis=0)]
    widths = np.array([marginal.rough_sds(x) for x in far]).reshape(len(far), starts.shape[1])
    counts = density(far) + np.log(widths).sum(axis=1) > heaviest - NEGLIGIBLE if len(far) else np.zeros(0, bool)
    return far[counts], widths[counts]


def _distances(points: Array, spreads: Array, x: Array) -> Array:
    """Mahalanobis distances of rows of x (S, d) from modes (K, d): (K, S)."""
    roots = np.array([cholesky(spread) for spread in spreads])
    off = np.linalg.solve(roots, (x[None] - points[:, None]).swapaxes(1, 2))
    return np.asarray(np.sqrt(np.sum(off**2, axis=1)))


def conflicts(marginal: NestedMarginal) -> NDArray[np.int64]:
    """The fixed effects whose priors have rough estimates far out in their tails."""
    centers, scales = marginal.priors_of_beta
    distance = np.abs(centers)  # rough estimates are the origin, and their standard errors the unit
    return np.flatnonzero((distance > APART) & (distance > NARROW * scales))


def _starts(marginal: NestedMarginal, effects: NDArray[np.int64]) -> list[Array]:
    """Every conflict at either end, with sds as they are roughly, and with what the predictors leave to the groups."""
    k = len(effects)
    patterns: list[tuple[bool, ...]] = (
        list(product((False, True), repeat=k))
        if k <= MOST_COMBINED
        else [tuple(row) for row in np.concatenate([np.eye(k, dtype=bool), ~np.eye(k, dtype=bool)])]
    )
    centers, _ = marginal.priors_of_beta
    starts = []
    for pattern in patterns:
        at_prior = effects[np.array(pattern)]
        x = marginal.start.copy()
        x[at_prior] = centers[at_prior]
        left = float(np.sqrt(np.sum((centers[at_prior] * marginal.sizes_of_beta[at_prior]) ** 2)))
        starts += [x, marginal.with_sds_beside(x, left)] if len(at_prior) else [x]
    return starts
