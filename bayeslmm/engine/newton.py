"""Compiled: the search of `reml` where Λ̃ is linear in θ̃, without a return to Python (docs/theory.md, sections 3, 5).

The same criterion with the same derivatives as `criterion`, and the same steps as `reml` takes: on small data Python
would take twenty times as long as the loops of the kernel. What it does not decide (numbers that break down, valleys
that take another method, boundaries) it says, and `reml` goes on.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import Readiness, compiled, copy_into, inlined
from .assembly import project, right_side, subtract_products, trace_sums
from .elimination import back_substitute, forward_substitute, selected_inverse
from .reduction import SMALL, backward, factorise, forward, inverse_of_dense, work_for

Codes = NDArray[np.int64]

AT_REST, IN_A_VALLEY, NOT_LOWER, BROKEN = range(4)  # how a search ends
STEPS = 60  # in the trust region at most
# places in `Point.numbers`
VALUE, EVALUATIONS, ENDED, RESIDUAL = range(4)


WORTH_COMPILING = 2_000  # evaluations by Python, which take some seconds, as long as compiling the search does


class Form(NamedTuple):
    """How Λ̃ hangs on θ̃, and which criterion it is."""

    factor: Codes  # (n_theta,) place in the order of elimination of the factor of each θ̃
    row: Codes  # (n_theta,) of Λ̃
    column: Codes  # (n_theta,)
    df: float  # n − p for REML, n for ML
    reml: bool
    sigma: float  # where it is known, else NaN
    constant: float  # of the criterion


class Point(NamedTuple):
    """What a search fills: where it is, and the criterion there."""

    theta: Array  # (n_theta,)
    gradient: Array  # (n_theta,)
    curvatures: Array  # (n_theta,) eigenvalues of H, rising
    axes: Array  # (n_theta, n_theta) its eigenvectors, in columns
    beta: Array  # (p,) β̂ there
    numbers: Array  # (4,) the criterion; how often it was evaluated; how the search ended; r²


def empty_point(n_theta: int, p: int) -> Point:
    """Room for a search over so many θ̃ beside p fixed effects."""
    square = np.zeros((n_theta, n_theta))
    return Point(np.empty(n_theta), np.zeros(n_theta), np.zeros(n_theta), square, np.zeros(p), np.zeros(4))


@inlined
def _write_factors(values, widths, form, theta, lams):
    """The templates Λ̃ (Σq²,) of θ̃ one after another."""
    lams[:] = 0.0
    for i in range(theta.shape[0]):
        k = form.factor[i]
        lams[values.lam_start[k] + form.row[i] * widths[k] + form.column[i]] = theta[i]


@inlined
def _outer_sums(pattern, form, E, p, A_inverse, sigma2, outer):
    """Σ_levels (QA⁻¹Qᵀ + eeᵀ/σ²)_jj of each factor, (Σq²,), from E = [Q e]; without Q for ML."""
    square = 0
    solved = np.empty(p)
    for k in range(pattern.widths.shape[0]):
        q = pattern.widths[k]
        for row in range(pattern.column_start[k], pattern.column_start[k + 1], q):
            for a in range(q):
                for c in range(p if form.reml else 0):
                    solved[c] = 0.0
                    for d in range(p):
                        solved[c] += A_inverse[c, d] * E[row + a, d]
                for b in range(a + 1):
                    total = E[row + a, p] * E[row + b, p] / sigma2
                    for c in range(p if form.reml else 0):
                        total += solved[c] * E[row + b, c]
                    outer[square + a * q + b] += total
        for a in range(q):
            for b in range(a):
                outer[square + b * q + a] = outer[square + a * q + b]
        square += q * q


@inlined
def _directions(pattern, values, form, lams, E, A, forces):
    """V̇_iPy = ZA_i with A (m, n_theta), and yᵀPV̇_iPy, from e in the last column of E."""
    e = E.shape[1] - 1
    A[:, :] = 0.0
    for i in range(A.shape[1]):
        k, r, c = form.factor[i], form.row[i], form.column[i]
        q, lam = pattern.widths[k], values.lam_start[k]
        forces[i] = 0.0
        for row in range(pattern.column_start[k], pattern.column_start[k + 1], q):
            spherical = 0.0
            for a in range(q):
                spherical += E[row + a, e] * lams[lam + a * q + c]
                A[row + a, i] += E[row + r, e] * lams[lam + a * q + c]
            A[row + r, i] += spherical
            forces[i] += 2.0 * E[row + r, e] * spherical


@inlined
def _transposed_factors(pattern, values, lams, right):
    """Λᵀ times ``right`` (m, columns), in place."""
    for k in range(pattern.widths.shape[0]):
        q, lam = pattern.widths[k], values.lam_start[k]
        for row in range(pattern.column_start[k], pattern.column_start[k + 1], q):
            for i in range(right.shape[1]):
                for a in range(q):  # Λ is lower triangular: what is read of rows below is not written yet
                    total = 0.0
                    for r in range(a, q):
                        total += lams[lam + r * q + a] * right[row + r, i]
                    right[row + a, i] = total


@inlined
def _second_derivative_of_V(pattern, values, form, by_lam, outer, lams, H):
    """Adds 2⟨ΓΛ̇_i, Λ̇_j⟩ to H, with Γ the symmetric part of (KΛ)Λ⁻¹ less ``outer``."""
    for k in range(pattern.widths.shape[0]):
        q, lam = pattern.widths[k], values.lam_start[k]
        gamma = np.empty((q, q))
        for a in range(q):
            for b in range(q - 1, -1, -1):  # rows of ΓΛ = KΛ from the last column on
                total = by_lam[lam + a * q + b]
                for r in range(b + 1, q):
                    total -= gamma[a, r] * lams[lam + r * q + b]
                gamma[a, b] = total / lams[lam + b * q + b]
        for i in range(H.shape[0]):
            for j in range(H.shape[0]):
                if form.factor[i] == k and form.factor[j] == k and form.column[i] == form.column[j]:
                    a, b = form.row[i], form.row[j]
                    H[i, j] += gamma[a, b] + gamma[b, a] - 2.0 * outer[lam + a * q + b]


@compiled
def _eigen(A, values, vectors):
    """Eigenvalues of a symmetric A, rising, and eigenvectors in columns. A small one is overwritten.

    A small one by Jacobi's rotations, each of which makes an entry beside the diagonal zero: LAPACK has to be loaded,
    with much else of SciPy.
    """
    n = A.shape[0]
    if n > SMALL:
        by_lapack = np.linalg.eigh(A)
        copy_into(values, by_lapack[0])
        for i in range(n):
            copy_into(vectors[i], by_lapack[1][i])
        return
    vectors[:, :] = 0.0
    for i in range(n):
        vectors[i, i] = 1.0
    for _ in range(50):  # quadratic convergence: some six sweeps
        beside, all_squares = 0.0, 0.0
        for i in range(n):
            for j in range(n):
                all_squares += A[i, j] ** 2
                if i != j:
                    beside += A[i, j] ** 2
        if not beside > 1e-36 * all_squares:
            break
        for i in range(n):
            for j in range(i + 1, n):
                if A[i, j] != 0.0:
                    _rotate(A, vectors, i, j)
    for i in range(n):
        least = i
        for j in range(i + 1, n):
            if A[j, j] < A[least, least]:
                least = j
        values[i] = A[least, least]
        A[least, least] = A[i, i]
        for r in range(n):
            vectors[r, i], vectors[r, least] = vectors[r, least], vectors[r, i]


@inlined
def _rotate(A, vectors, i, j):
    """Turn rows and columns i and j of a symmetric A so that A_ij vanishes."""
    ratio = (A[j, j] - A[i, i]) / (2.0 * A[i, j])
    tangent = (1.0 if ratio >= 0.0 else -1.0) / (abs(ratio) + np.sqrt(1.0 + ratio**2))
    cosine = 1.0 / np.sqrt(1.0 + tangent**2)
    sine = tangent * cosine
    for r in range(A.shape[0]):
        A[r, i], A[r, j] = cosine * A[r, i] - sine * A[r, j], sine * A[r, i] + cosine * A[r, j]
        vectors[r, i], vectors[r, j] = (
            cosine * vectors[r, i] - sine * vectors[r, j],
            sine * vectors[r, i] + cosine * vectors[r, j],
        )
    for c in range(A.shape[0]):
        A[i, c], A[j, c] = cosine * A[i, c] - sine * A[j, c], sine * A[i, c] + cosine * A[j, c]
    A[i, j] = A[j, i] = 0.0


@inlined
def _evaluate(pattern, values, form, point):
    """The criterion (3.1) at ``point.theta`` with its gradient (5.1) and H (5.2); NaN if the numbers break down.

    A zero on the diagonal of Λ̃ is moved to 1e-7, as in `criterion.Criterion.evaluate`.
    """
    theta, beta, numbers = point.theta, point.beta, point.numbers
    numbers[EVALUATIONS] += 1.0
    numbers[VALUE] = np.nan
    squares = 0
    for k in range(pattern.widths.shape[0]):
        squares += pattern.widths[k] ** 2
    for i in range(theta.shape[0]):
        if form.row[i] == form.column[i] and abs(theta[i]) < 1e-7:
            theta[i] = -1e-7 if theta[i] < 0.0 else 1e-7
    lams = np.empty(squares)
    _write_factors(values, pattern.widths, form, theta, lams)
    work = work_for(pattern, beta.shape[0] + 1)
    log_det_M, log_det_A, r2, Lt, sound = factorise(pattern, values, lams, np.zeros(beta.shape[0]), work)
    sigma2, value = form.sigma**2, form.df
    if np.isnan(form.sigma):
        sigma2 = max(r2, 1e-300) / form.df
    else:
        value = r2 / sigma2
    value += log_det_M + form.df * np.log(2.0 * np.pi * sigma2) + form.constant
    if form.reml:
        value += log_det_A
    if sound and np.isfinite(value):
        copy_into(beta, work.beta)
        numbers[RESIDUAL] = r2
        if _derivatives(pattern, values, form, lams, work, Lt, sigma2, point):
            numbers[VALUE] = value


@inlined
def _derivatives(pattern, values, form, lams, work, Lt, sigma2, point):
    """Gradient and H of a point from its factorisation; whether all numbers are finite."""
    gradient, curvatures, axes, beta = point.gradient, point.curvatures, point.axes, point.beta
    n_theta, p, m = gradient.shape[0], beta.shape[0], pattern.column_start[-1]
    D, P, _, dense_xy, _, _, _ = work.room
    U, E = np.empty((m, p + 1)), np.empty((m, p + 1))
    right_side(pattern, P, dense_xy, U)
    m_chain = m - dense_xy.shape[0]
    for c in range(p + 1):
        backward(Lt, U[m_chain:, c])
    back_substitute(pattern, D, P, U)
    project(pattern, values, lams, U, E)
    for row in range(m):
        for c in range(p):
            E[row, p] -= E[row, c] * beta[c]  # [Q e]
    V_diagonal, V_panel = np.empty_like(D), np.empty_like(P)
    V_upper = inverse_of_dense(Lt)
    selected_inverse(pattern, p + 1, D, P, V_upper, V_diagonal, V_panel)
    by_lam, outer = np.zeros(lams.shape[0]), np.zeros(lams.shape[0])
    trace_sums(pattern, values, lams, V_diagonal, V_panel, V_upper, by_lam)  # KΛ
    _outer_sums(pattern, form, E, p, inverse_of_dense(work.R), sigma2, outer)
    for i in range(n_theta):
        k = form.factor[i]
        q, lam = pattern.widths[k], values.lam_start[k]
        total = by_lam[lam + form.row[i] * q + form.column[i]]
        for r in range(q):
            total -= outer[lam + form.row[i] * q + r] * lams[lam + r * q + form.column[i]]
        gradient[i] = 2.0 * total

    A, SA, forces = np.empty((m, n_theta)), np.zeros((m, n_theta)), np.empty(n_theta)
    _directions(pattern, values, form, lams, E, A, forces)
    subtract_products(pattern, values, A, SA)  # −ZᵀWZA
    H, along = np.zeros((n_theta, n_theta)), np.zeros((p if form.reml else 0, n_theta))
    for row in range(m):
        for i in range(n_theta):
            for j in range(i + 1):
                H[i, j] -= A[row, i] * SA[row, j]
            for c in range(along.shape[0]):
                along[c, i] += E[row, c] * A[row, i]
    _transposed_factors(pattern, values, lams, SA)
    forward_substitute(pattern, D, P, SA)
    forward(Lt, SA[m_chain:])
    if form.reml:
        forward(work.R, along)
    for row in range(m):
        for i in range(n_theta):
            for j in range(i + 1):
                H[i, j] -= SA[row, i] * SA[row, j]
    for i in range(n_theta):
        for j in range(i + 1):
            for c in range(along.shape[0]):
                H[i, j] -= along[c, i] * along[c, j]
            H[i, j] /= sigma2
            if np.isnan(form.sigma):
                H[i, j] -= forces[i] * forces[j] / (form.df * sigma2**2)
            H[j, i] = H[i, j]
    _second_derivative_of_V(pattern, values, form, by_lam, outer, lams, H)
    finite = True
    for i in range(n_theta):
        for j in range(n_theta):
            finite = finite and np.isfinite(H[i, j])
    if finite:
        _eigen(H, curvatures, axes)
    return finite


@inlined
def _newton_step(point, slope, step):
    """−H⁻¹g along the directions in which the criterion curves upwards into ``step``, ``slope`` = gᵀaxes; gᵀH⁻¹g."""
    curvatures, axes = point.curvatures, point.axes
    n_theta, decrement = step.shape[0], 0.0
    least = 1e-10 * max(curvatures[n_theta - 1], 1e-300)
    step[:] = 0.0
    for i in range(n_theta):
        slope[i] = 0.0
        for j in range(n_theta):
            slope[i] += point.gradient[j] * axes[j, i]
        if curvatures[i] > least:
            decrement += slope[i] ** 2 / curvatures[i]
            for j in range(n_theta):
                step[j] -= axes[j, i] * slope[i] / curvatures[i]
    return decrement


@inlined
def _is_at_rest(point, decrement):
    """As `reml._at_rest`."""
    farthest = 100.0
    for i in range(point.theta.shape[0]):
        farthest = max(farthest, abs(point.theta[i]))
    lowest = min(point.curvatures[0], 0.0) * (farthest / 100.0) ** 2
    return decrement < 1e-13 * abs(point.numbers[VALUE]) and lowest > -1e-6


@inlined
def _length_at(slope, base, shift):
    total = 0.0
    for i in range(slope.shape[0]):
        total += (slope[i] / (base[i] + shift)) ** 2
    return np.sqrt(total)


@compiled
def _step_within(point, slope, radius, step):
    """The step of at most this length that lowers the quadratic model most, as `criterion.Evaluation.step_within`."""
    curvatures, axes, n_theta = point.curvatures, point.axes, step.shape[0]
    base, parts, high = np.empty(n_theta), np.empty(n_theta), 0.0
    for i in range(n_theta):
        base[i] = curvatures[i] - min(curvatures[0], 0.0)
        high += slope[i] ** 2
    high = (1.0 + 1e-6) * np.sqrt(high) / radius + 1e-100
    low, is_hard = 1e-9 * high, False
    if curvatures[0] > 0.0 and _length_at(slope, base, 0.0) <= radius:
        high = 0.0
    elif _length_at(slope, base, low) > radius:
        while high > (1.0 + 1e-6) * low:  # the length falls with the shift
            middle = np.sqrt(low * high)
            if _length_at(slope, base, middle) > radius:
                low = middle
            else:
                high = middle
    else:
        high, is_hard = low, True
    for i in range(n_theta):
        parts[i] = -slope[i] / (base[i] + high)
    if is_hard:  # the gradient has next to no part along the most negative curvature: go there
        rest = radius**2
        for i in range(1, n_theta):
            rest -= parts[i] ** 2
        parts[0] = np.sqrt(max(rest, 0.0)) * (1.0 if slope[0] < 0.0 else -1.0)
    for j in range(n_theta):
        step[j] = 0.0
        for i in range(n_theta):
            step[j] += axes[j, i] * parts[i]


@inlined
def _copy(source, target):
    for i in range(target.theta.shape[0]):
        target.theta[i], target.gradient[i] = source.theta[i], source.gradient[i]
        target.curvatures[i] = source.curvatures[i]
        copy_into(target.axes[i], source.axes[i])
    copy_into(target.beta, source.beta)
    target.numbers[VALUE], target.numbers[RESIDUAL] = source.numbers[VALUE], source.numbers[RESIDUAL]


@inlined
def _make_canonical(form, point):
    """The same Λ̃Λ̃ᵀ with a diagonal ≥ 0."""
    theta = point.theta
    for i in range(theta.shape[0]):
        if form.row[i] == form.column[i] and theta[i] < 0.0:
            for j in range(theta.shape[0]):
                if form.factor[j] == form.factor[i] and form.column[j] == form.column[i]:
                    theta[j] *= -1.0
                    point.gradient[j] *= -1.0
                    for c in range(theta.shape[0]):
                        point.axes[j, c] *= -1.0


@inlined
def _steepest(point):
    steepest = 0.0
    for i in range(point.gradient.shape[0]):
        steepest = max(steepest, abs(point.gradient[i]))
    return steepest


@inlined
def _promise(point, step):
    """Decrease of the quadratic model along a step."""
    promise = 0.0
    for i in range(step.shape[0]):
        along = 0.0
        for j in range(step.shape[0]):
            along += step[j] * point.axes[j, i]
        promise -= 0.5 * point.curvatures[i] * along**2 + point.gradient[i] * step[i]
    return promise


@compiled
def search(pattern, values, form, rival, most, point, trial):
    """From ``point.theta`` to the optimum as `reml._trust_region` and the steps of `reml._finish` go.

    ``rival``: the criterion of another point, at which the search stops if it does not get below. ``most``: steps in
    the trust region; without any the criterion is evaluated where the search begins. ``trial`` is room. There is one
    place that evaluates, which is compiled with the search: numba would compile the kernel once more for each.
    """
    n_theta, numbers = point.theta.shape[0], point.numbers
    slope, step = np.empty(n_theta), np.zeros(n_theta)
    numbers[ENDED], trial.numbers[EVALUATIONS] = BROKEN, 0.0
    radius, steps, is_finishing = 1.0, 0, False
    for evaluations in range(most + 22):
        for i in range(n_theta):
            trial.theta[i] = point.theta[i] + step[i]
        _evaluate(pattern, values, form, trial)
        numbers[EVALUATIONS] = trial.numbers[EVALUATIONS]
        if np.isnan(trial.numbers[VALUE]):
            return
        if evaluations == 0:
            _copy(trial, point)
            if most == 0:
                return
        elif is_finishing:
            _make_canonical(form, trial)
            if _steepest(trial) > 0.5 * _steepest(point):
                break
            _copy(trial, point)
        else:
            kept = (numbers[VALUE] - trial.numbers[VALUE]) / max(_promise(point, step), 1e-300)
            length = 0.0
            for i in range(n_theta):
                length += step[i] ** 2
            length = np.sqrt(length)
            if kept < 0.25:
                radius = 0.25 * length
            elif kept > 0.75 and length > 0.99 * radius:
                radius *= 2.0
            if kept > 1e-3:
                _copy(trial, point)
        if is_finishing:
            steps += 1
        elif _is_at_rest(point, _newton_step(point, slope, step)):
            is_finishing, steps = True, 0
            _make_canonical(form, point)
            if numbers[VALUE] > rival - 1e-9 * abs(rival):
                numbers[ENDED] = NOT_LOWER
                return
        elif radius < 1e-9 or steps == most:
            numbers[ENDED] = IN_A_VALLEY
            return
        else:
            _step_within(point, slope, radius, step)
            steps += 1
        if is_finishing and (_newton_step(point, slope, step) < 1e-14 or steps == 20):
            break
    numbers[ENDED] = AT_REST


is_ready = Readiness(search, "newton.search", WORTH_COMPILING)
