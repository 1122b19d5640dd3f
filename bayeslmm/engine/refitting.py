"""Searches of one design for many responses, from one start: what the response does not change is made once.

A search that ends inside is done with a few numbers; what is next to a boundary, breaks down or runs along a valley is
left to `reml.fit`, which looks further.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from . import newton
from .criterion import Criterion
from .kept import Kept, kept_of
from .reml import FAR, PERFECT, SINGULAR, clear_of_ends
from .scaling import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Refits:
    """Estimates on the user's scale, of the regular ones among R responses."""

    regular: NDArray[np.bool_]  # (R,)
    beta: Array  # (regular, p)
    sigma: Array  # (regular,)
    theta: Array  # (regular, n_theta) θ̃, of scaled columns
    covariances: tuple[Array, ...]  # K × (regular, q, q)


def refits(problem: Problem, responses: Array, *, reml: bool, start: Array) -> Refits:
    """Estimates for responses (R, n), less the offset, from θ̃ = start (n_theta,)."""
    shared, p = kept_of(problem), problem.X.shape[1]
    criterion = None if shared is None else Criterion(shared.layout, shared.templates, reml=reml, sigma=problem.sigma)
    if shared is None or criterion is None or not criterion.is_small:
        none = np.zeros(len(responses), dtype=bool)
        return Refits(
            regular=none, beta=np.zeros((0, p)), sigma=np.zeros(0), theta=np.zeros((0, len(start))), covariances=()
        )
    return _searched(problem, shared, criterion, responses, clear_of_ends(criterion, start))


def _searched(problem: Problem, kept: Kept, criterion: Criterion, responses: Array, start: Array) -> Refits:
    R, p, n_theta = len(responses), criterion.p, len(start)
    center, centred = kept.centred(responses)
    ZtY, XtY, yty = kept.products(centred)
    order = kept.layout.order
    by_row = np.concatenate([np.zeros((0, R)), *(ZtY[k].reshape(-1, R) for k in order)])
    values = kept.layout.values._replace(
        ZtXy=kept.layout.values.ZtXy.copy(), XytXy=np.ascontiguousarray(kept.layout.values.XytXy.copy())
    )
    with_y, corner = values.ZtXy.reshape(-1, p + 1)[:, p], values.XytXy
    point, trial = (newton.empty_point(n_theta, p) for _ in range(2))
    theta, beta = np.empty((R, n_theta)), np.empty((R, p))
    numbers, steepness = np.empty((R, len(point.numbers))), np.empty(R)
    for i in range(R):
        with_y[:] = by_row[:, i]
        corner[:p, p] = corner[p, :p] = XtY[i]
        corner[p, p] = yty[i]
        point.theta[:] = start
        newton.search(kept.layout.pattern, values, criterion.form, np.inf, newton.STEPS, point, trial)
        theta[i], beta[i], numbers[i] = point.theta, point.beta, point.numbers
        steepness[i] = np.abs(point.gradient * np.maximum(np.abs(point.theta), 1.0)).max()
    r2, n = numbers[:, newton.RESIDUAL], criterion.layout.cross.n
    known_sigma = criterion.sigma
    sigma2 = r2 / criterion.df if known_sigma is None else np.full(R, known_sigma**2)
    regular = (numbers[:, newton.ENDED] == newton.AT_REST) & (steepness <= 1e-3 * max(1.0, np.sqrt(n)))
    if known_sigma is None:
        regular &= (r2 / criterion.df > PERFECT**2 * yty / n) & (np.abs(theta[:, criterion.diagonal]).max(axis=1) < FAR)
    lams, first = [], 0
    for template in kept.templates:
        lam = np.zeros((R, template.q, template.q))
        lam[:, list(template.rows), list(template.columns)] = theta[:, first : first + template.n_theta]
        first += template.n_theta
        regular &= np.linalg.svd(np.where(np.isfinite(lam), lam, 0.0), compute_uv=False)[:, -1] >= SINGULAR
        lams.append(lam)
    halves = [T @ lam[regular] for T, lam in zip(kept.rows.T_z, lams, strict=True)]
    back = kept.rows.scaled(kept.cross)
    return Refits(
        regular=regular,
        beta=back.beta(beta[regular], center[regular]),
        sigma=np.sqrt(sigma2[regular]),
        theta=theta[regular],
        covariances=tuple(sigma2[regular, None, None] * (half @ half.swapaxes(-1, -2)) for half in halves),
    )
