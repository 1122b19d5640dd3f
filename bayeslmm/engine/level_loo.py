"""Levels of a factor left out by sums alone, where the rows went by chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from ..tools.arrays import Array
from .loo import NUMBERS, Hyperdraws, LeftOut, ScaledDraws
from .scaling import Problem
from .sums import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSums:
    """What is known of the rows of each of the J levels of a factor."""

    products: Array  # (J, p + 1, p + 1) of the columns that `Sums` has, with weights
    sizes: Array  # (J,) rows
    log_weights: Array  # (J,) their sums


def leave_one_level_out(problem: Problem, draws: Hyperdraws, levels: LevelSums) -> LeftOut:
    """As `bayeslmm.engine.loo.leave_one_group_out`, of the only factor of a problem of sums."""
    scaled_draws, sums = ScaledDraws.of(problem, draws), cast(Sums, problem.sums)
    scaled, p = scaled_draws.scaled, len(scaled_draws.mean)
    C = np.eye(p + 1)
    C[:p, :p] = scaled.T_x
    if scaled.intercept is not None:
        C[scaled.intercept, p] = -scaled.y_center * scaled.T_x[scaled.intercept, scaled.intercept]
    B = sums.B_xy @ C @ scaled_draws.shift()
    XyXy = B.T @ levels.products @ B
    ZtZ, ZtXy = scaled.cross.ZtZ[0], scaled.cross.ZtXy[0] @ scaled_draws.shift()
    (J, q), S = ZtZ.shape[:2], len(draws.sigma)
    step = max(1, NUMBERS // (J * (q + p + 1) ** 2))
    parts = []
    for first in range(0, S, step):
        part = slice(first, min(first + step, S))
        lam = scaled_draws.lams[0][part, None]
        L = np.linalg.cholesky(lam.swapaxes(-1, -2) @ ZtZ @ lam + np.eye(q))
        half = np.linalg.solve(L, lam.swapaxes(-1, -2) @ ZtXy)
        T = XyXy - half.swapaxes(-1, -2) @ half
        log_det = 2.0 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(axis=-1)
        normaliser = levels.sizes * np.log(2.0 * np.pi * draws.sigma[part, None] ** 2) - levels.log_weights
        parts.append(scaled_draws.left_out(T, log_det, normaliser, draws, part))
    return LeftOut(
        without=np.concatenate([part.without for part in parts]), within=np.concatenate([part.within for part in parts])
    )
