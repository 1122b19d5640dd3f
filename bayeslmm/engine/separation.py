"""Directions of the fixed effects along which a likelihood rises for ever: separation (Albert & Anderson 1984).

A row at the edge of its range (no success, all successes, no count, the lowest category) gains by a linear predictor
that goes on and on; others fix it. Whether some combination of coefficients moves no row the wrong way, and some the
right one, is a linear programme (Konis 2007).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from ..design.design import Design
from ..tools.arrays import Array

MOVED = 1e-6  # of a coefficient of scaled columns, where the largest is one


def can_separate(design: Design) -> bool:
    """Whether rows of this family can be at an edge that the link reaches at infinity only."""
    family = design.family
    return (
        family.mean_is_probability
        and family.is_discrete
        or family.has_categories
        or (family.is_count and family.link == "log")
    )


def separating(design: Design, X: Array) -> Array:
    """Coefficients (p,) of such a direction, the largest ±1; without entries if there is none.

    Parameters
    ----------
    design : Design
    X : (n, p) its fixed part with columns of size one
    """
    p, y = X.shape[1], design.y
    K = len(design.levels) - 1 if design.family.has_categories else 0
    if not p or not can_separate(design):
        return np.zeros(0)
    rising, fixed = [], []  # rows of linear forms that must not fall, and that must stay
    if K:
        cuts = np.eye(K)
        below, above = y < K, y > 0
        rising.append(np.hstack([-X[below], cuts[y[below].astype(int)]]))
        rising.append(np.hstack([X[above], -cuts[y[above].astype(int) - 1]]))
    else:
        most = np.full(len(y), np.inf) if design.family.is_count else 1.0 if design.trials is None else design.trials
        low, high = y <= design.family.least, y >= most
        some = np.ones(len(y), dtype=bool) if design.trials is None else design.trials > 0
        rising += [-X[low & some], X[high & some]]
        fixed.append(X[~low & ~high & some])
    G, E = (np.unique(np.round(np.vstack([np.zeros((0, p + K)), *a]), 12), axis=0) for a in (rising, fixed))
    if not len(G):
        return np.zeros(0)
    # the sparsest: least in sum of sizes among those whose rows rise by one on average
    gain = G.sum(axis=0) / len(G)
    program = linprog(
        np.ones(2 * (p + K)),
        A_ub=sparse.csr_array(np.hstack([-G, G])),
        b_ub=np.zeros(len(G)),
        A_eq=sparse.csr_array(np.vstack([np.hstack([E, -E]), np.concatenate([gain, -gain])])),
        b_eq=np.append(np.zeros(len(E)), 1.0),
        bounds=(0.0, 1e6),
        method="highs",
    )
    if program.x is None:
        return np.zeros(0)
    direction = (program.x[: p + K] - program.x[p + K :])[:p]
    size = np.abs(direction).max()
    if size <= MOVED:  # the cutpoints alone move, where a category is empty
        return np.zeros(0)
    return np.where(np.abs(direction) > MOVED * size, direction / size, 0.0)


def constant_levels(design: Design) -> list[int]:
    """Grouping factors of which every level has several rows that are all at one edge: their variance has no bound."""
    if not can_separate(design) or design.family.is_count or design.family.has_categories:
        return []
    trials = np.ones(design.n) if design.trials is None else design.trials
    factors = []
    for k, group in enumerate(design.groups):
        successes, of = (np.bincount(group.codes, v, group.n_levels) for v in (design.y, trials))
        edges = (successes == 0.0) | (successes == of)
        if edges.all() and successes.any() and (successes < of).any() and (of > 1.0).all():
            factors.append(k)
    return factors
