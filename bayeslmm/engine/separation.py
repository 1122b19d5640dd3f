"""Directions of the fixed effects along which a likelihood rises for ever: separation (Albert & Anderson 1984).

A row at the edge of its range (no success, all successes, no count, the lowest category) gains by a linear predictor
that goes on and on; others fix it. Whether some combination of coefficients moves no row the wrong way, and some the
right one, is a linear programme (Konis 2007).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design
from ..families import Family
from ..tools.arrays import Array
from ..tools.lazy import optimize, sparse
from .sums import rows_of

MOVED = 1e-6  # of a coefficient of scaled columns, where the largest is one
HARDLY = 0.05  # zeros expected beside the counts in all rows, below which one's probability is nothing


def can_separate(design: Design) -> bool:
    """Whether rows of this family can be at an edge that the link reaches at infinity only."""
    family = design.family
    return (
        family.mean_is_probability
        and family.is_discrete
        or family.has_cutpoints
        or (family.is_count and family.link == "log")
    )


def separating(design: Design, X: Array) -> Array:
    """Coefficients (p,) of such a direction, the largest ±1; without entries if there is none.

    Parameters
    ----------
    design : Design
    X : (n, p) its fixed part with columns of size one
    """
    p = X.shape[1]
    K = len(design.levels) - 1 if design.family.has_cutpoints else 0
    if not p or not can_separate(design):
        return np.zeros(0)
    low, high, fixed = edges(design.family, design.y, design.trials, len(design.levels))
    if K:
        y, cuts = design.y.astype(int), np.eye(K)
        rising = [np.hstack([-X[low], cuts[y[low]]]), np.hstack([X[high], -cuts[y[high] - 1]])]
    else:
        rising = [-X[low], X[high]]
    forms = (rising, [np.hstack([X[fixed], np.zeros((int(fixed.sum()), K))])])  # that must not fall, and that must stay
    G, E = (np.unique(np.round(np.vstack(form), 12), axis=0) for form in forms)
    if not len(G):
        return np.zeros(0)
    return sparsest(G, E, p, G.sum(axis=0) / len(G))


def separating_categories(X: Array, chosen: Array) -> Array:
    """Such a direction (p,) of the linear predictors of categories without an order; without entries if there is none.

    Along it no other category gains on that of a row, and some lose.

    Parameters
    ----------
    X : (n, K, p)
        Columns of size one of every row and category, zero of the first.
    chosen : (n,)
        The category of each row.
    """
    n, K, p = X.shape
    ahead = X[np.arange(n), chosen][:, None] - X
    others = np.arange(K) != chosen[:, None]
    return _sparsest(np.unique(np.round(ahead[others], 12), axis=0), np.zeros((0, p)), p) if p else np.zeros(0)


def separating_rows(design: Design, parameter: str, X: Array, probabilities: Array) -> Array:
    """Such a direction (p,) of the linear predictor of a probability besides the mean; without entries if none is.

    A zero gains by a higher one and any other count by a lower one, whatever the counts' mean. A zero that the count
    explains alone, where that probability is as good as nothing, loses nothing by a lower one.

    Parameters
    ----------
    design : Design
    parameter : str
        The probability, as that of a zero or of an end.
    X : (n, p) columns of the predictor, of size one
    probabilities : (n,) where a search ended
    """
    raised, concerned = design.family.raised_by(parameter, design.y)
    raised, X, probabilities = raised[concerned], X[concerned], probabilities[concerned]
    none, n = probabilities * len(X) < HARDLY, len(X)
    if not (none | ((1.0 - probabilities) * n < HARDLY)).any():
        return np.zeros(0)
    gains = raised & ~none
    G = np.unique(np.round(np.where(gains[:, None], X, -X), 12), axis=0)
    return _sparsest(G, np.zeros((0, X.shape[1])), X.shape[1])


def separating_scale(X: Array, certain: NDArray[np.bool_]) -> Array:
    """Such a direction (p,) of log scale, along which rows that are certain only gain, and the others stay.

    Parameters
    ----------
    X : (n, p) columns of the predictor, of size one
    certain : (n,) rows whose category has a probability of one
    """
    if not certain.any():
        return np.zeros(0)
    G, E = (np.unique(np.round(part, 12), axis=0) for part in (-X[certain], X[~certain]))
    return _sparsest(G, E, X.shape[1])


def _sparsest(G: Array, E: Array, p: int) -> Array:
    """`sparsest` of forms that rise by one on average."""
    return sparsest(G, E, p, G.sum(axis=0) / len(G))


def sparsest(G: Array, E: Array, p: int, gain: Array) -> Array:
    """Of the directions along which no form G falls, some rise and E stay, the least in sum of sizes: its first p.

    The form ``gain``, a mean of forms, rises by one; the largest entry is ±1. Without entries if there is none.
    """
    q = G.shape[1]
    program = optimize.linprog(
        np.ones(2 * q),
        A_ub=sparse.csr_array(np.hstack([-G, G])),
        b_ub=np.zeros(len(G)),
        A_eq=sparse.csr_array(np.vstack([np.hstack([E, -E]), np.concatenate([gain, -gain])])),
        b_eq=np.append(np.zeros(len(E)), 1.0),
        bounds=(0.0, 1e6),
        method="highs",
    )
    if program.x is None:
        return np.zeros(0)
    direction = (program.x[:q] - program.x[q:])[:p]
    size = np.abs(direction).max()
    if size <= MOVED:  # the cutpoints alone move, where a category is empty
        return np.zeros(0)
    return np.where(np.abs(direction) > MOVED * size, direction / size, 0.0)


def edges(
    family: Family, y: Array, trials: Array | None, categories: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows (n,) that gain by a lower linear predictor, by a higher one (categories between: both), or by neither."""
    if family.has_cutpoints:
        return y < categories - 1, y > 0, np.zeros(len(y), dtype=bool)
    most = np.full(len(y), np.inf) if family.is_count else 1.0 if trials is None else trials
    low, high = y <= family.least, y >= most
    has_trials = np.ones(len(y), dtype=bool) if trials is None else trials > 0
    return low & has_trials, high & has_trials, ~low & ~high & has_trials


def rows_that_separate(
    design: Design, codes: NDArray[np.int64], Z: Array, levels: int
) -> tuple[NDArray[np.bool_], Array]:
    """Rows (n,) whose density rises to its limit without a penalty on coefficients of every level, and a direction.

    Parameters
    ----------
    design : Design
        Its X are the columns that keep one coefficient.
    codes, Z, levels : (n,), (n, q), int
        The levels with coefficients of their own.

    Returns
    -------
    rows : (n,)
        All that some direction makes certain.
    direction : (levels q + p,)
        One that does so to all of them; zero if there is none.
    """
    n, q = Z.shape
    K = len(design.levels) - 1 if design.family.has_cutpoints else 0
    columns = (codes[:, None] * q + np.arange(q)).reshape(-1)
    of_levels = sparse.csr_array((Z.reshape(-1), columns, np.arange(0, n * q + 1, q)), shape=(n, levels * q))
    F = sparse.hstack([of_levels, sparse.csr_array(design.X)], format="csr")
    of_rows = edges(design.family, design.y, design.trials, len(design.levels))
    low, high, fixed = (np.flatnonzero(rows) for rows in of_rows)
    G, E = sparse.vstack([-F[low], F[high]], format="csr"), F[fixed]
    if K:
        y = design.y.astype(int)
        cuts = np.concatenate([y[low], y[high] - 1])
        signs = np.concatenate([np.ones(len(low)), -np.ones(len(high))])
        G = sparse.hstack([G, sparse.csr_array((signs, (np.arange(len(cuts)), cuts)), shape=(len(cuts), K))])
        E = sparse.csr_array((0, G.shape[1]))
    forms, size = G.shape
    gains = np.concatenate([np.zeros(size), -np.ones(forms)])  # each form's gain counts up to one
    program = optimize.linprog(
        gains,
        A_ub=sparse.hstack([-G, sparse.eye_array(forms)], format="csr"),
        b_ub=np.zeros(forms),
        A_eq=sparse.hstack([E, sparse.csr_array((E.shape[0], forms))], format="csr") if E.shape[0] else None,
        b_eq=np.zeros(E.shape[0]) if E.shape[0] else None,
        bounds=[(None, None)] * size + [(0.0, 1.0)] * forms,
        method="highs",
    )
    rows = np.zeros(n, dtype=bool)
    if program.x is None:
        return rows, np.zeros(levels * q + design.p)
    certain = program.x[size:] > 0.5  # each is nought or one: directions can be made longer
    of_form = np.concatenate([low, high])
    rows[of_form[certain]] = True
    rows[of_form[~certain]] = False  # of a category between others both forms have to gain
    return rows, program.x[: levels * q + design.p]


def constant_levels(design: Design) -> list[int]:
    """Grouping factors of which every level has several rows that are all at one edge: their variance has no bound."""
    if design.family.is_nominal:
        return _constant_categories(design)
    if not can_separate(design) or design.family.is_count or design.family.has_cutpoints:
        return []
    factors = []
    for k, group in enumerate(design.groups):
        if group.is_wide:  # its effects are shared by rows of several levels
            continue
        successes, trials_of = _of_levels(design, k)
        at_edges = (successes == 0.0) | (successes == trials_of)
        if at_edges.all() and successes.any() and (successes < trials_of).any() and (trials_of > 1.0).all():
            factors.append(k)
    return factors


def _constant_categories(design: Design) -> list[int]:
    """The same of categories without an order, of which all have the same factors: their places among these."""
    first, factors = design.of_categories[0], []
    for k, group in enumerate(first.groups):
        if group.is_wide:
            continue
        met = np.unique(np.column_stack([group.codes, design.y.astype(np.int64)]), axis=0)
        several = np.bincount(group.codes, minlength=group.n_levels) > 1
        if len(met) == group.n_levels and several.all():
            factors.append(k)
    return factors


def _of_levels(design: Design, k: int) -> tuple[Array, Array]:
    """Successes and trials of the levels (J,) of a factor; nothing where the rows are gone."""
    group = design.groups[k]
    if design.sums is None:
        trials = np.ones(design.n) if design.trials is None else design.trials
        successes, trials_of = (np.bincount(group.codes, v, group.n_levels) for v in (design.y, trials))
        return successes, trials_of
    rows = rows_of(design)
    return (np.zeros(1), np.zeros(1)) if rows is None else rows.of_levels(k, group.n_levels)
