"""Other estimates that are as good: where the data do not tell all variances, the criterion has a ridge.

What all points of the ridge say alike (fitted values, sums of variances) the data tell; what they say differently (how
a sum is split) they do not. Where the ridge meets the boundary in one point, as for a sum of zero, all is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..covariances.template import Template, cholesky_psd
from ..design.identification import Identification, judge
from ..tools.arrays import Array
from .kept import kept_of
from .scaling import Problem, Scaled

MOST = 3  # points on straight lines looked at beside the first
SHORTEST = 1e-3  # step, in units of the largest variance, that counts as another point
SAME = 1e-8  # of what is told, in the same units: what the search for another point may leave
STARTS = (1.0, 0.3, 0.1)  # sizes of random factors from which other points are sought, in units of what is told
COMBINED = 8  # random combinations of directions that are tried where there are several


def identification(problem: Problem, scaled: Scaled, *, reml: bool) -> Identification:
    """What variances a normal response tells, from its cross-products; whatever the response."""
    shared = kept_of(problem)
    if shared is None:
        return judged(problem, scaled, reml=reml)
    key = (reml, problem.sigma is None)
    if key not in shared.identified:
        shared.identified[key] = judged(problem, scaled, reml=reml)
    return shared.identified[key]


def judged(problem: Problem, scaled: Scaled, *, reml: bool) -> Identification:
    """The same, looked at anew."""
    cross = scaled.cross
    XtX = cross.XytXy[:-1, :-1]
    size = np.sqrt(np.maximum(XtX.diagonal(), 1e-300))
    values, vectors = np.linalg.eigh(XtX / (size[:, None] * size))
    if len(values) and values[0] > 1e-13 * values[-1]:
        whitening, p = vectors / size[:, None] / np.sqrt(values), len(values)
    else:
        is_used = values > 1e-13 * values.max(initial=0.0)
        whitening, p = (vectors / size[:, None])[:, is_used] / np.sqrt(values[is_used]), int(is_used.sum())
    return judge(
        ZtZ=cross.ZtZ,
        pairs={
            (k, m): (*np.divmod(block.keys, cross.levels[m]), block.values) for (k, m), block in cross.pairs.items()
        },
        ZtQ=[products[:, :, :-1] @ whitening for products in cross.ZtXy] if reml else None,
        n=cross.n,
        p=p,
        templates=problem.templates,
        T=scaled.T_z,
        residual=problem.sigma is None,
    )


class Factors(Protocol):
    """What takes θ̃ to the factors Λ̃_k and back: a criterion, an approximation of a likelihood."""

    @property
    def templates(self) -> Sequence[Template]:
        """How the effects of each factor vary together."""

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃_k from θ̃."""

    def theta(self, lams: Sequence[Array]) -> Array:
        """θ̃ from Λ̃_k."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTemplates:
    """`Factors` of structures whose Λ̃ is a linear function of θ̃."""

    templates: tuple[Template, ...]

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃_k from θ̃."""
        parts = np.split(theta, np.cumsum([template.n_theta for template in self.templates])[:-1])
        return [template.factor(part) for template, part in zip(self.templates, parts, strict=True)]

    def theta(self, lams: Sequence[Array]) -> Array:
        """θ̃ from Λ̃_k."""
        return np.concatenate([template.theta(lam) for template, lam in zip(self.templates, lams, strict=True)])


def elsewhere(T_z: Sequence[Array], criterion: Factors, theta: Array, identified: Identification) -> list[Array]:
    """Other θ̃ (n_theta,) with the same criterion, if there are any: a few that differ in all that is not told."""
    covariances = [lam @ lam.T for lam in criterion.lams(theta)]
    unit = max(1.0, *(float(np.diag(covariance).max(initial=0.0)) for covariance in covariances))
    points = []
    for direction in _directions(identified, T_z):
        for step in unit * np.array([1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 0.003, SHORTEST]):
            moved = [covariance + step * change for covariance, change in zip(covariances, direction, strict=True)]
            if all(
                _is_covariance(covariance, template.blocks, unit)
                for covariance, template in zip(moved, criterion.templates, strict=True)
            ):
                lams = [
                    cholesky_psd(covariance, template.blocks)
                    for covariance, template in zip(moved, criterion.templates, strict=True)
                ]
                points.append(criterion.theta(lams))
                break
        if len(points) == MOST:
            break
    return [*points, *_around(T_z, criterion, theta, identified, unit)]


def _around(
    T_z: Sequence[Array], criterion: Factors, theta: Array, identified: Identification, unit: float
) -> list[Array]:
    """Some that no straight line from the point may reach, as from a singular covariance matrix.

    Factors are sought, from random starts, whose ΛΛᵀ has the same told combinations.
    """
    from scipy import optimize

    inside = [np.zeros((template.q, template.q), dtype=bool) for template in criterion.templates]
    for template, mask in zip(criterion.templates, inside, strict=True):
        for block in template.blocks:
            mask[np.ix_(block, block)] = True

    def flat(matrices: Sequence[Array]) -> Array:
        return np.concatenate([matrix[mask] for matrix, mask in zip(matrices, inside, strict=True)])

    back = [np.linalg.inv(T) for T in T_z]
    changes = [
        flat([b @ covariance @ b.T for b, covariance in zip(back, direction.covariances, strict=True)])
        for direction in identified.directions
    ]
    across = np.linalg.qr(np.array(changes).T)[0]
    covariances = flat([lam @ lam.T for lam in criterion.lams(theta)])
    kept = covariances - across @ (across.T @ covariances)
    size = max(float(np.abs(kept).max(initial=0.0)), SHORTEST)

    def miss(point: Array) -> Array:
        other_covariances = flat([lam @ lam.T for lam in criterion.lams(point)])
        return (other_covariances - across @ (across.T @ other_covariances) - kept) / size

    rng, points = np.random.default_rng(0), []
    for scale in STARTS:
        start = scale * np.sqrt(size) * rng.normal(size=len(theta))
        reached = optimize.least_squares(miss, start, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=500)
        moved = flat([lam @ lam.T for lam in criterion.lams(reached.x)]) - covariances
        if np.abs(reached.fun).max(initial=0.0) < SAME and np.abs(moved).max(initial=0.0) > SHORTEST * unit:
            points.append(reached.x)
    return points


def _directions(identified: Identification, T_z: Sequence[Array]) -> Iterator[list[Array]]:
    """Changes of the scaled covariance matrices along which the criterion is flat, of largest entry one."""
    back = [np.linalg.inv(T) for T in T_z]
    basis = [
        [b @ covariance @ b.T for b, covariance in zip(back, each.covariances, strict=True)]
        for each in identified.directions
    ]
    weights = np.eye(len(basis))
    rng = np.random.default_rng(0)
    if len(basis) > 1:
        weights = np.vstack([rng.normal(size=(COMBINED, len(basis))), weights])
    for row in weights:
        direction = [
            sum((w * column[k] for w, column in zip(row, basis, strict=True)), np.zeros_like(back[k]))
            for k in range(len(back))
        ]
        size = max(float(np.abs(change).max(initial=0.0)) for change in direction)
        for sign in (1.0, -1.0):
            yield [sign * change / size for change in direction]


def _is_covariance(cov: Array, blocks: Sequence[Sequence[int]], unit: float) -> bool:
    return all(np.linalg.eigvalsh(cov[np.ix_(block, block)]).min() >= -1e-12 * unit for block in blocks)


class UntoldVariancesError(Exception):
    """The data do not tell all variances, and a structure lets no other estimates be found that are as good."""

    def __init__(self, identified: Identification) -> None:
        super().__init__("the data do not tell all variances")
        self.identified = identified


class UntoldResidualError(Exception):
    """A variance cannot be told from that of the residual; whoever knows names says which."""

    def __init__(self, identified: Identification) -> None:
        super().__init__("a variance cannot be told from that of the residual")
        self.identified = identified
