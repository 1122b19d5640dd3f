"""When the fits of one model in two guises count as the same: by numbers that no choice of units or columns touches."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import event, reject

from bayeslmm import errors

# The search ends where a Newton step would gain 1e-14 of a deviance, some 1e-7 of a standard error of θ; where the data
# say little about θ, rounding of a criterion of size 1000 ends it earlier. The criterion errs by the square of that.
CRITERION = 1e-6
ON_A_FACE = 1e-4  # where a covariance of three or more columns is singular, the Hessian is as well: steps gain little
STANDARD_ERRORS = 1e-3


def quietly(make):
    """What ``make()`` returns, without the package's own warnings; others are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return make()


def fit(table, *, reml=True):
    """The point fit of a table, which the search must have found; hypothesis counts the verdicts.

    Without an intercept columns far from zero are not centred, and their squares cost the criterion up to ten digits:
    it may then be too rough for the search, which says so.
    """
    found = quietly(lambda: table.model().fit_reml() if reml else table.model().fit_ml())
    event(f"a fit is {found.solution.status}")
    if found.solution.status == "failed" and not found.design.has_intercept:
        reject()
    assert found.solution.status != "failed"
    return found


def row_numbers(found):
    """(n,) arrays that are the same in all guises of a model, in units of the response or their squares."""
    design, solution = found.design, found.solution
    numbers = {
        "fixed part": design.X @ solution.beta,
        "variance of the fixed part": np.einsum("ij,jk,ik->i", design.X, solution.vcov, design.X),
        "fitted": found.fitted() - design.offset,
        "residual": found.residuals(),
    }
    for group, cov, modes in zip(design.groups, solution.covariances, solution.modes, strict=True):
        numbers[f"variance of {group.name}"] = np.einsum("ij,jk,ik->i", group.Z, cov, group.Z)
        numbers[f"effect of {group.name}"] = np.einsum("ij,ij->i", group.Z, modes[group.codes])
    return numbers


def volume(design):
    """log|XᵀX|/2, by which REML criteria of the same space in other columns differ."""
    return float(np.log(np.abs(np.linalg.qr(design.X, mode="r").diagonal())).sum())


def cancelled(design):
    """The relative error of x'Cov(β̂)x and z'Cov(b)z in doubles, told in the columns of the user.

    They cancel where columns are nearly collinear, as powers and products of predictors far from zero are. Bars may
    have columns that depend on others, where the rest still has to agree to a hundredth.
    """
    squares = [min(1e-15 * _collinearity(group.Z), 0.01) for group in design.groups]
    return max([*squares, 1e-15 * _collinearity(design.X) if design.X.shape[1] else 0.0])


def _collinearity(A):
    return np.linalg.cond(A / np.maximum(np.linalg.norm(A, axis=0), 1e-300)) ** 2


def check_same(one, other, *, rows=slice(None), scale=1.0, shift=0.0, tolerance=STANDARD_ERRORS):
    """``other`` is the fit ``one`` of the rows in this order, of a response y' with y = shift + scale y'."""
    n, p = one.design.X.shape
    df = n - p if one.solution.reml else n
    expected = other.criterion + 2.0 * df * np.log(scale)
    if one.solution.reml:
        expected += 2.0 * (volume(one.design) - volume(other.design))
    wide = max((group.q for group in one.design.groups), default=0) > 2
    on_a_face = wide and "boundary" in (one.solution.status, other.solution.status)
    criterion = ON_A_FACE if on_a_face else CRITERION
    assert abs(one.criterion - expected) < criterion * (1.0 + 1e-3 * abs(one.criterion))
    tolerance += max(cancelled(one.design), cancelled(other.design)) + (np.sqrt(criterion) if on_a_face else 0.0)
    # estimates are told to a part of their standard error: where groups differ far more than rows that is not sigma
    spread = np.sqrt(np.einsum("ia,ab,ib->i", one.design.X, one.solution.vcov, one.design.X).max(initial=0.0))
    allowed = tolerance * max(one.sigma, spread) + 1e-11 * np.abs(one.design.y).max()
    theirs, ours = row_numbers(other), row_numbers(one)
    assert set(theirs) == set(ours)
    assert abs(scale * other.sigma - one.sigma) < allowed
    for name, values in theirs.items():
        unit, error, expected = scale, allowed, ours[name][rows]
        if name.startswith("variance"):  # where it is all but zero, its root would tell rounding as more than it is
            unit, error = scale**2, tolerance * max(one.sigma**2, expected.max())
        moved = unit * values + (shift if name in ("fixed part", "fitted") else 0.0)
        np.testing.assert_allclose(moved, expected, rtol=tolerance, atol=error, err_msg=name)
