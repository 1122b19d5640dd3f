"""Maximum likelihood of any family by Laplace's approximation: the start of the search, the search, its report.

The search is one of quasi-Newton steps in a trust region, in coordinates in which the first guess at the curvature is
the unit matrix, with exact gradients; differences of them give the curvature at the end, and the standard errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd, corners
from ..design.design import Design
from ..design.predictors import ParameterPart
from ..errors import FitError
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from .chunked_laplace import approximation
from .criterion import Evaluation
from .laplace import CERTAIN, Approximation, Inner
from .laplace_categories import CategoryApproximation
from .reml import FAR_FROM_ZERO, NEAR_ZERO, PointSolution, Status
from .scaled_cutpoints import ScaledCutpoints
from .separation import constant_levels, separating_rows, separating_scale

STEPS = 100  # of one search
AT_REST = 1e-10  # gain in log likelihood that the next step promises
H = 1e-4  # of differences of gradients, in standard errors
NEXT_TO_AN_END = 4.0  # coordinate of a correlation, 7e-4 of its interval from an end, which is tried
NARROWER = 3.0  # times a large dispersion, at which one stands that grows without end
QUIET = 30.0  # times a dispersion by which rows vary as they do, of one by which they hardly vary
NEAR_AN_END = 3.0  # coordinate of one from which a search begins beside an sd near zero
START_OF_CORRELATION = 1.0  # coordinate of one from which searches begin, either side of the middle
ZERO = 1e-4  # a relative sd below, lme4's tolerance, becomes zero if that costs nothing
BEYOND, ENDLESS = (
    3e3,
    1e6,
)  # a parameter that grows past the one (or below its inverse) is held at the other, if it has a limit
LARGEST_MEAN = 1e6  # of counts with parameters besides the mean
FAR_APART = 100.0  # offsets of two rows under a link: more than any data tell
FLAT = 1e-5  # curvature along a ridge, in units of each parameter's: differences of gradients leave some 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """Where a search ended."""

    psi: Array
    value: float  # minus log likelihood
    gradient: Array
    inner: Inner
    hessian: Array
    free: NDArray[np.bool_]  # parameters that are not at a boundary
    decrement: float  # twice the gain that a Newton step promises
    limits: tuple[str, ...] = ()  # parameters of the family that grow without bound

    @property
    def at_rest(self) -> bool:
        return abs(self.decrement) < 1e3 * AT_REST * max(1.0, 1e-3 * abs(self.value))


def fit(design: Design, *, restricted: bool = False, start: PointSolution | None = None) -> PointSolution:
    """Estimates by maximum (restricted) likelihood, effects integrated out by Laplace's approximation.

    The search begins at a solution of the same model for another response, if one is given.

    Raises
    ------
    FitError
        The likelihood cannot be computed anywhere near the start.
    """
    about = approximation(design, restricted=restricted)
    return report(about, optimum(about, start))


def optimum(about: Approximation, start: PointSolution | None = None) -> Optimum:
    """The best of the searches.

    One, two more where it ends at a boundary or breaks down, and, from no start that is given, two of a correlation,
    some from corners (`_cornered`) and ends (`ends`).
    """
    _refuse_large_counts(about)
    best = None
    signs = (1.0, -1.0) if about.correlation.any() and start is None else ()
    for scale, sign in ((1.0, 0.0), *((1.0, sign) for sign in signs), (0.2, 0.0), (3.0, 0.0)):
        if best is not None and best.at_rest and not sign and not _singular(about, best.psi):
            break
        try:
            psi = _start(about, scale)
            psi[about.theta_at] += sign * START_OF_CORRELATION * about.correlation
            if start is not None and scale == 1.0:
                psi = _inside(about, start, psi)
            candidate = _search(about, psi, None if best is None else best.value)
        except (FloatingPointError, np.linalg.LinAlgError):
            continue
        if candidate is not None and (best is None or candidate.value < best.value - 1e-9 * abs(best.value)):
            best = candidate
    if best is not None and start is None:
        best = min([best, *_cornered(about, best)], key=lambda reached: reached.value)
    for candidate in ends(about) if start is None else ():
        if best is None or candidate.value < best.value - 1e-9 * abs(best.value):
            best = candidate
    if best is None:
        if about.last_values is not None and not about.has_rivals:
            about.refuse_perfect(about.last_values, stuck=True)
        raise FitError(broken_down(about))
    if not best.at_rest and not about.has_rivals:
        about.refuse_perfect(about.parameters.values(about.split(best.psi)[2]), stuck=True)
    hold(about, best)
    return best


def _cornered(about: Approximation, best: Optimum) -> Iterator[Optimum]:
    """What is found from an sd near zero with the correlations of its block on either side (`reml._corners`)."""
    unit, theta = unit_of(about), best.psi[about.theta_at]
    for sd, correlations in corners(about.templates):
        if theta[sd] ** 2 * best.hessian[about.n_beta + sd, about.n_beta + sd] > FAR_FROM_ZERO:
            continue
        for side in (-1.0, 1.0):
            begin = np.where(about.diagonal, np.maximum(theta, 0.3 * unit), theta)
            begin[about.correlation] = np.clip(begin[about.correlation], -NEAR_AN_END, NEAR_AN_END)
            begin[sd] = NEAR_ZERO * unit
            begin[correlations] = side * NEAR_AN_END
            psi = best.psi.copy()
            psi[about.theta_at] = begin
            hold(about, best)
            try:
                candidate = _search(about, psi, best.value)
            except (FloatingPointError, np.linalg.LinAlgError):
                continue
            if candidate is not None:
                yield candidate


def ends(about: Approximation) -> list[Optimum]:
    """Optima in which effects of single rows, or the family's dispersion, take what both explain; none without both."""
    reached = []
    for quiet in (True, False) if about.has_rivals else ():
        try:
            candidate = _search(about, _start(about, 2.0 if quiet else 0.1, quiet=quiet), None)
        except (FloatingPointError, np.linalg.LinAlgError):
            continue
        if candidate is not None:
            reached.append(candidate)
    return reached


def hold(about: Approximation, optimum: Optimum) -> None:
    """Hold the parameters that an optimum has at their limits, and no others."""
    about.held[:] = False
    for name in optimum.limits:
        k = about.parameters.place(name)
        assert k is not None
        about.held[about.n_beta + about.n_theta + k] = True
    about.last = optimum.inner


def _refuse_large_counts(about: Approximation) -> None:
    if about.family.is_count and about.limits and about.y.mean() > LARGEST_MEAN:
        raise FitError(
            f"counts of {about.y.mean():.2g} on average: the gamma functions in the density of {about.family} lose the "
            "digits that tell its parameters. Take family='poisson' with an effect of every row, or 'gamma'."
        )


def broken_down(about: Approximation) -> str:
    """What is told where the likelihood cannot be computed, with the likely cause."""
    family, n = about.family, about.design.n
    message = (
        f"the search broke down from every start, with {about.p} fixed and {about.m:,} random effects for {n:,} rows"
    )
    if family.has_positive_mean and family.link not in ("log", "sqrt"):
        return (
            f"{message} of family {family}: the likelihood rises up to the edge where a mean is no longer positive, "
            "which this link allows. Take link='log', or fit()."
        )
    of_offset = spread_of_offset(about.design)
    if of_offset:
        return f"{message} of family {family}: {of_offset}"
    return (
        f"{message} of family {family}: their likelihood, or the modes of the effects, could not be computed. Look for "
        "very large predictors, offsets or responses, or leave out terms."
    )


def spread_of_offset(design: Design) -> str:
    """That offsets leave nothing to a link, in words; empty where they do not."""
    low, high = float(np.min(design.offset)), float(np.max(design.offset))
    if design.family.is_on_response_scale or high - low < FAR_APART:
        return ""
    return (
        f"the offset goes from {low:,.4g} to {high:,.4g} on the scale of the {design.family.link} link, which takes "
        "means to their ends whatever the predictors. Give it in units of the link, such as log(exposure)"
    )


# -- the start


def _start(about: Approximation, scale: float, *, quiet: bool = False) -> Array:
    """β by least squares on the scale of the link, then the joint mode of β and u at sds that are a guess.

    ``quiet``: with a dispersion by which the rows hardly vary, so that the effects have to explain them.
    """
    design, family = about.design, about.family
    about.last = None
    about.held[:] = False
    if isinstance(about, CategoryApproximation):
        return about.start(scale)
    if family.has_cutpoints:
        share = np.cumsum(np.bincount(about.y.astype(int), minlength=len(design.levels)))[:-1] / design.n
        cuts = family.eta(np.clip(share, 0.5 / design.n, 1.0 - 0.5 / design.n))
        values = cuts + 1e-3 * np.arange(len(cuts)) * (np.diff(cuts, append=np.inf) <= 0.0)
        beta, unit, free = np.zeros(about.p), 1.0, about.parameters.begin(values)
    else:
        begun = about.regression()
        beta, level, sigma = begun.beta, begun.level, begun.sigma
        values = np.array([family.guess(name, sigma) for name in family.parameters])
        if quiet:
            values[family.parameters.index(family.dispersion)] *= QUIET ** _direction(about, family.dispersion)
        free = about.parameters.begin(values)
        unit = sigma if family.link == "identity" and family.has_residual else 1.0
        if (
            not family.mean_is_probability
            and family.link in ("inverse", "sqrt", "identity")
            and not family.has_residual
        ):
            unit = 0.3 * begun.spread or 1.0
        for part in (1.0, 0.5, 0.2, 0.0):  # nearer to the mean of all rows, where a line crosses what is impossible
            if np.isfinite(about.fixed_log_density(level + part * (beta - level), about.parameters.values(free))):
                beta = level + part * (beta - level)
                break
    theta = 0.5 * scale * unit * about.diagonal
    lams = about.lams(theta)
    try:
        inner = about.inner(beta, lams, about.parameters.values(free), np.zeros(about.m), joint=True)
        beta, about.last = inner.beta, inner
    except FloatingPointError:
        pass
    return np.concatenate([np.zeros(0) if about.restricted else beta, theta, free])


def _inside(about: Approximation, solution: PointSolution, psi: Array) -> Array:
    """The parameters of a solution, with sds that are not zero; β as it is here."""
    theta = np.where(about.diagonal, np.maximum(solution.scaled_theta, 0.1 * unit_of(about)), solution.scaled_theta)
    theta = about.unbounded(theta)
    theta[about.correlation] = np.clip(theta[about.correlation], -START_OF_CORRELATION, START_OF_CORRELATION)
    inside = {
        name: np.clip(value, *ends_of_start(about, name)) if name in about.limits else value
        for name, value in solution.parameters.items()
    }
    free = about.parameters.free(inside)
    return np.concatenate([psi[: about.n_beta], theta, free])


def ends_of_start(about: Approximation, parameter: str) -> tuple[float, float]:
    """Between which values a search begins that another one has ended at a limit."""
    return (0.02, np.inf) if parameter in about.family.limit_at_zero else (0.0, 50.0)


def _first_guess(about: Approximation, psi: Array, gradient: Array) -> Array:
    """The curvature at the start: of β that of the working linear model, of the rest by differences of gradients."""
    H0 = np.zeros((about.size, about.size))
    if about.n_beta:
        beta, theta, free = about.split(psi)
        lams = about.lams(theta)
        assert about.last is not None
        reduced = about.curved(about.last, lams, 1e-12)
        H0[: about.p, : about.p] = reduced.XyVXy[: about.p, : about.p]
    for i in range(about.n_beta, about.size):
        if np.isinf(psi[i]):  # a correlation at its end, which stays
            H0[i, i] = 1.0
            continue
        step = np.zeros(about.size)
        step[i] = 1e-4 * max(1.0, abs(psi[i]))
        column = (about.at(psi + step)[1] - gradient) / step[i]
        H0[:, i] = column
        H0[i, : about.n_beta] = column[: about.n_beta]
    variances = slice(about.n_beta, None)
    H0[variances, variances] = 0.5 * (H0[variances, variances] + H0[variances, variances].T)
    return H0


def scales(H0: Array) -> Array:
    """C (size, size) with CᵀHC the unit matrix but for signs."""
    d = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(H0)), 1e-8 * max(float(np.abs(np.diag(H0)).max(initial=0.0)), 1e-8)))
    values, vectors = np.linalg.eigh(H0 * np.outer(d, d))
    return d[:, None] * vectors / np.sqrt(np.maximum(np.abs(values), 1e-3))


# -- the search


def _search(about: Approximation, psi: Array, rival: float | None) -> Optimum | None:
    """Quasi-Newton steps, then Newton's with the curvature by differences; again from inside a boundary if need be."""
    value, gradient, inner = about.at(psi)
    about.last = inner
    psi, value = _quasi_newton(about, psi, value, gradient)
    if rival is not None and value > rival + 1e-6 * max(1.0, 1e-3 * abs(rival)):
        return None
    candidate = _polished(about, psi, value)
    if rival is not None and candidate.value > rival - 1e-9 * abs(rival):
        return None
    for _ in range(3):
        inside = _escape(about, candidate)
        if inside is None:
            break
        value, gradient, inner = about.at(inside)
        about.last = inner
        candidate = _polished(about, *_quasi_newton(about, inside, value, gradient))
    return candidate


def _quasi_newton(about: Approximation, psi: Array, value: float, gradient: Array) -> tuple[Array, float]:
    """The search below, begun again when a parameter of the family turns out to go to its limit."""
    for _ in range(1 + len(about.limits)):
        psi, value, gradient, endless = _steps(about, psi, value, gradient)
        if endless is None:
            break
        about.held[endless] = True
        moved = psi.copy()
        name = about.parameters.parameter_at(endless - about.n_beta - about.n_theta)
        moved[endless] = _end(about, name)
        evaluated = about.at(moved)
        if evaluated[0] > value + lost(about, name):  # it has an optimum, far out
            about.held[endless] = False
            psi, value, gradient, _ = _steps(about, psi, value, gradient, watched=False)
            break
        psi, (value, gradient, about.last) = moved, evaluated
    return psi, value


def lost(about: Approximation, name: str) -> float:
    """What a log likelihood may lose where a parameter stands at its limit, which is no infinite number."""
    return 1e-6 if name in about.family.limited_by else 1e-3


def _direction(about: Approximation, name: str) -> float:
    """1 for a parameter that has its limit at infinity, −1 for one that has it at zero."""
    return -1.0 if about.family.goes_to_zero(name, about.design.y) else 1.0


def _large(about: Approximation, name: str) -> float:
    """A shape, or degrees of freedom, that this many rows hardly tell from an infinite one, or one over a zero."""
    if name not in about.family.limited_by:  # of rows that vary with their effects: densities are ever narrower
        return about.family.narrow
    at_zero = name in about.family.limit_at_zero or about.family.is_probability(name)
    mean = max(float(about.y.mean()), 1.0) if about.family.is_count and not at_zero else 1.0
    return BEYOND * mean * max(1.0, np.sqrt(about.design.n) / 30.0)


def far_out(about: Approximation, optimum: Optimum) -> int | None:
    """Place of a parameter of the family that a search left beyond what so many rows tell from its limit."""
    first = about.n_beta + about.n_theta
    for name in about.family.parameters:
        k = about.parameters.place(name)
        if name in about.limits and k is not None and name not in optimum.limits:
            if _direction(about, name) * optimum.psi[first + k] > np.log(_large(about, name)):
                return first + k
    return None


def at_its_end(about: Approximation, optimum: Optimum, place: int) -> Optimum:
    """An optimum with the parameter at a place at its limit, where it is held."""
    name = about.parameters.parameter_at(place - about.n_beta - about.n_theta)
    psi, free = optimum.psi.copy(), optimum.free.copy()
    psi[place], free[place] = _end(about, name), False
    return replace(optimum, psi=psi, free=free, limits=(*optimum.limits, name))


def _end(about: Approximation, name: str) -> float:
    """The coordinate at which a parameter stands that goes to its limit."""
    large = _large(about, name)
    if name not in about.family.limited_by:
        return float(np.log(NARROWER * large))
    return _direction(about, name) * float(np.log(max(ENDLESS, 300.0 * large)))


def _endless(about: Approximation, psi: Array, gradient: Array) -> int | None:
    """Place of a parameter of the family that is near its limit and wants to be nearer."""
    first = about.n_beta + about.n_theta
    for name in about.family.parameters:
        k = about.parameters.place(name)
        if name not in about.limits or k is None or about.held[first + k]:
            continue
        sign = _direction(about, name)
        if sign * psi[first + k] > np.log(_large(about, name)) and sign * gradient[first + k] <= 0.0:
            return first + k
    return None


def _steps(
    about: Approximation, psi: Array, value: float, gradient: Array, *, watched: bool = True
) -> tuple[Array, float, Array, int | None]:
    """Steps in a trust region by the symmetric rank-one update (Conn, Gould & Toint 1991), which may curve down."""
    if not len(psi):
        return psi, value, gradient, None
    H0 = _first_guess(about, psi, gradient)
    free = ~about.held
    C = np.zeros((about.size, int(free.sum())))
    C[free] = scales(H0[np.ix_(free, free)])
    H, radius = C.T @ H0 @ C, 2.0
    for _ in range(STEPS):
        curvatures, axes = np.linalg.eigh(H)
        evaluation = Evaluation(theta=psi, value=value, gradient=C.T @ gradient, curvatures=curvatures, axes=axes)
        step = evaluation.step_within(radius)
        promise = evaluation.promise(step)
        if promise < AT_REST or radius < 1e-8:
            break
        length = float(np.linalg.norm(step))
        try:
            new_value, new_gradient, new_inner = about.at(psi + C @ step)
        except FloatingPointError:
            radius = 0.25 * length
            continue
        change = C.T @ (new_gradient - gradient)
        miss = change - H @ step
        if abs(miss @ step) > 1e-8 * length * float(np.linalg.norm(miss)):
            H = H + np.outer(miss, miss) / (miss @ step)
        kept = (value - new_value) / promise
        if kept < 0.25:
            radius = 0.25 * length
        elif kept > 0.75 and length > 0.99 * radius:
            radius *= 2.5
        if kept > 1e-4:
            psi, value, gradient = psi + C @ step, new_value, new_gradient
            about.last = new_inner
            endless = _endless(about, psi, gradient)
            if watched and endless is not None:
                return psi, value, gradient, endless
    return psi, value, gradient, None


def _polished(about: Approximation, psi: Array, value: float) -> Optimum:
    """Zeros made exact, and Newton's steps with the curvature by differences, which stays as the answer's."""
    psi, value, gradient, inner = _snapped(about, psi, value)
    about.last = inner
    free = ~about.held
    free[about.theta_at] = ~about.at_boundary(psi[about.theta_at])
    hessian, decrement = np.eye(about.size), 0.0
    for attempt in range(4):
        hessian = curvature(about, psi, gradient, inner, free, hessian if attempt else None)
        values, axes = np.linalg.eigh(hessian[np.ix_(free, free)])
        slope = axes.T @ gradient[free]
        use = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
        decrement = float(np.sum(slope[use] ** 2 / values[use]))
        if decrement < AT_REST:
            break
        step = np.zeros(about.size)
        step[free] = -axes[:, use] @ (slope[use] / values[use])
        try:
            new = about.at(psi + step)
        except FloatingPointError:
            break
        if new[0] > value + 1e-12 * abs(value):
            break
        psi, (value, gradient, inner) = psi + step, new
        about.last = inner
    first = about.n_beta + about.n_theta
    limits = tuple(
        parameter
        for parameter in about.family.parameters
        if parameter in about.limits and (k := about.parameters.place(parameter)) is not None and about.held[first + k]
    )
    return Optimum(
        psi=psi,
        value=value,
        gradient=gradient,
        inner=inner,
        hessian=hessian,
        free=free,
        decrement=decrement,
        limits=limits,
    )


def curvature(
    about: Approximation, psi: Array, gradient: Array, inner: Inner, free: NDArray[np.bool_], guess: Array | None
) -> Array:
    """The second derivatives by differences of gradients to both sides, each over a small part of a standard error."""
    about.last = inner
    second = np.zeros((about.size, about.size))
    if guess is None:
        scale = np.abs(np.diag(_first_guess(about, psi, gradient)))
    else:
        scale = np.abs(np.diag(guess))
    for i in np.flatnonzero(free):
        step = np.zeros(about.size)
        # coordinates in a link may have run far out, where a hundredth of them reaches parameters that are impossible
        far = 1.0 if i >= about.n_beta + about.n_theta else max(1.0, abs(psi[i]))
        step[i] = min(1e-3 / np.sqrt(max(scale[i], 1e-12)), 1e-2 * far)
        second[:, i] = (about.at(psi + step)[1] - about.at(psi - step)[1]) / (2.0 * step[i])
    about.last = inner
    return 0.5 * (second + second.T)


def _snapped(about: Approximation, psi: Array, value: float) -> tuple[Array, float, Array, Inner]:
    """Small relative sds as exact zeros, if the likelihood does not mind; with nothing left beside them."""
    psi = canonical(about, psi)
    theta = psi[about.theta_at]
    unit = unit_of(about)
    small = about.diagonal & (np.abs(theta) < ZERO * unit) & (theta != 0.0)
    ended = about.correlation & (np.abs(theta) > NEXT_TO_AN_END) & np.isfinite(theta)
    ends = np.where(ended, np.copysign(np.inf, theta), theta)
    tiny = (np.abs(theta) < ZERO * unit) & ~about.correlation
    for candidates, moved_theta in ((tiny, ends), (small, ends), (tiny, theta), (small, theta)):
        if not ((candidates & small).any() or (ended.any() and moved_theta is ends)):
            continue
        moved = psi.copy()
        moved[about.theta_at] = np.where(candidates, 0.0, moved_theta)
        try:
            evaluated = about.at(moved)
        except FloatingPointError:
            continue
        if evaluated[0] <= value + 1e-8 * max(1.0, 1e-3 * abs(value)):
            return moved, *evaluated
    return psi, *about.at(psi)


def unit_of(about: Approximation) -> float:
    """What a θ̃ is small against: one, or the scale of the response under an identity link."""
    if about.family.is_on_response_scale:
        return max(float(np.std(about.y)), 1e-300)
    return 1.0


def canonical(about: Approximation, psi: Array) -> Array:
    """The same covariances with a diagonal of Λ ≥ 0."""
    out = psi.copy()
    out[about.theta_at] = about.canonical(psi[about.theta_at])
    return out


def _escape(about: Approximation, optimum: Optimum) -> Array | None:
    """A better start away from a boundary that is no optimum: where some variance that is zero should grow."""
    theta = optimum.psi[about.theta_at]
    at_zero = about.diagonal & (theta == 0.0)
    best, lowest = None, optimum.value - 1e-8 * max(1.0, 1e-3 * abs(optimum.value))
    for k in np.flatnonzero(at_zero):
        for size in (0.03, 0.1, 0.3):
            moved = optimum.psi.copy()
            moved[about.n_beta + k] = size * unit_of(about)
            try:
                value = about.at(moved)[0]
            except FloatingPointError:
                continue
            if value < lowest:
                best, lowest = moved, value
    return best


def _singular(about: Approximation, psi: Array) -> bool:
    return any(_is_singular(lam, unit_of(about)) for lam in about.lams(psi[about.theta_at]))


def _is_singular(lam: Array, unit: float) -> bool:
    return bool(np.linalg.svd(lam, compute_uv=False)[-1] < ZERO * unit)


# -- the report


def joint_covariance(about: Approximation, optimum: Optimum, least: float = 0.0) -> Array:
    """Covariance matrix (size, size) of ψ̂, zero for what stands at a boundary; NaN where the data tell nothing.

    With a ``least`` curvature, in units of each parameter's, what the data do not tell has a large variance instead.
    """
    out = np.zeros((about.size, about.size))
    block = np.ix_(optimum.free, optimum.free)
    hessian = optimum.hessian[block]
    if not len(hessian):
        return out
    sizes = np.diag(hessian)
    d = 1.0 / np.sqrt(np.maximum(sizes, 1e-12 * max(float(sizes.max()), 1e-12)))
    values, vectors = np.linalg.eigh(hessian * np.outer(d, d))
    values = np.maximum(values, least)
    if values[0] <= 1e-12 * (least == 0.0):
        out[block] = np.nan
        return out
    half = d[:, None] * vectors / np.sqrt(values)
    out[block] = half @ half.T
    return out


def coefficient_covariance(design: Design, solution: PointSolution, variable: str) -> Array:
    """Covariance matrix (p, p) of the coefficients of a parameter's linear predictor, on the user's scale."""
    if variable in {part.variable for part in design.of_categories}:
        names = [part.variable for part in design.of_categories]
        size, k = len(solution.vcov) // len(names), names.index(variable)
        return solution.vcov[k * size : (k + 1) * size, k * size : (k + 1) * size]
    about, optimum = optimum_at(design, solution)
    inside = slice(about.n_beta + about.n_theta, None)
    return about.parameters.covariance(variable, joint_covariance(about, optimum)[inside, inside])


def report(about: Approximation, optimum: Optimum) -> PointSolution:
    """The estimates on the user's scale."""
    _, theta, free = about.split(optimum.psi)
    inner, lams = optimum.inner, about.lams(theta)
    spread = joint_covariance(about, optimum)
    beta = inner.beta if about.restricted else about.split(optimum.psi)[0]
    if about.restricted:
        vcov = _vcov_of_modes(about, optimum, spread)
    else:
        vcov = spread[: about.p, : about.p]
    covariances, singular, modes, mode_covariances, relative = [], [], [], [], []
    for lam, (group, to_user, u, V) in zip(about.each_lam(lams), about.terms(inner, lams), strict=True):
        template = group.template
        singular.append(_is_singular(lam, unit_of(about)))
        mode, mode_covariance = u @ to_user.T, to_user @ V @ to_user.T
        covariance = to_user @ to_user.T
        if isinstance(group, WideTerm):  # one level of effects that are independent, and alike
            covariance, root = covariance[:1, :1], np.eye(len(to_user)) if group.root is None else group.root
            mode, variances = root @ mode.T, np.einsum("ja,ab,jb->j", root, mode_covariance[0], root)
            mode_covariance = variances[:, None, None]
        covariances.append(covariance)
        relative.append(template.theta(cholesky_psd(covariance, template.blocks)))
        modes.append(mode)
        mode_covariances.append(mode_covariance)
    shift = float(np.log(np.abs(np.diag(about.T_x))).sum()) if about.restricted else 0.0
    inside = slice(about.n_beta + about.n_theta, None)
    errors = about.parameters.errors(free, spread[inside, inside])
    separation = _separation(about, inner)
    of_chances, towards = _separation_of_chances(about, free, inner)
    endless = bool(len(separation) or constant_levels(about.design) or of_chances)
    if endless:
        spread = joint_covariance(about, optimum, least=1e-12)
        vcov = vcov if about.restricted else spread[: about.p, : about.p]
        errors = about.parameters.errors(free, spread[inside, inside])
    if of_chances:  # those of the others are what they are however far out the search stopped
        apart = joint_covariance(about, replace(optimum, hessian=_stiff(optimum.hessian, towards)))
        finite = about.parameters.errors(free, apart[inside, inside])
        vcov = vcov if about.restricted or len(separation) else apart[: about.p, : about.p]
        of_labels = {name: np.isin(about.design.labels_of(name), of_chances) for name in errors}
        errors = {n: np.where(of_labels[n], e, finite[n]) if np.ndim(e) else finite[n] for n, e in errors.items()}
    status: Status = "boundary" if any(singular) or optimum.limits else "converged"
    if endless or not optimum.at_rest:
        status = "separated" if endless else "failed"
    vcov = about.T_x @ vcov @ about.T_x.T
    beta, of_others, errors_of_others = about.coefficients(about.T_x @ beta, vcov)
    return PointSolution(
        reml=about.restricted,
        criterion=2.0 * (optimum.value - shift),
        beta=beta,
        vcov=vcov,
        parameters=about.parameters.named(free) | of_others,
        covariances=tuple(covariances),
        theta=np.concatenate([np.zeros(0), *relative]),
        scaled_theta=about.bounded(theta),
        modes=tuple(modes),
        mode_covariances=tuple(mode_covariances),
        status=status,
        singular=tuple(singular),
        gradient_norm=float(np.abs(optimum.gradient).max(initial=0.0)),
        evaluations=about.evaluations,
        nodes=1,
        limits=(*optimum.limits, *of_chances),
        separation=separation,
        parameter_errors=errors | errors_of_others,
    )


def coordinates(about: Approximation, solution: PointSolution) -> Array:
    """ψ of a solution; the search for a restricted β̂ begins at its own."""
    beta = np.linalg.solve(about.T_x, about.coefficients_of(solution))
    about.first_beta = beta
    free = about.parameters.free(solution.parameters)
    return np.concatenate([np.zeros(0) if about.restricted else beta, about.unbounded(solution.scaled_theta), free])


def optimum_at(design: Design, solution: PointSolution) -> tuple[Approximation, Optimum]:
    """The approximation at the parameters of a solution, as where a search ended."""
    about = approximation(design, restricted=solution.reml)
    psi = coordinates(about, solution)
    value, gradient, inner = about.at(psi)
    about.last = inner
    first = about.n_beta + about.n_theta
    for name in solution.limits:
        k = about.parameters.place(name) if name in about.family.parameters else None
        if k is None:  # a coefficient of a linear predictor, which is not held
            continue
        about.held[first + k] = True
    free = ~about.held
    free[about.theta_at] = ~about.at_boundary(psi[about.theta_at])
    hessian = curvature(about, psi, gradient, inner, free, None)
    optimum = Optimum(
        psi=psi,
        value=value,
        gradient=gradient,
        inner=inner,
        hessian=hessian,
        free=free,
        decrement=0.0,
        limits=solution.limits,
    )
    return about, optimum if solution.status != "unidentified" else across_ridge(about, optimum)


def across_ridge(about: Approximation, optimum: Optimum) -> Optimum:
    """The optimum with as many variances held as the data do not tell, for the errors of all else.

    Along a ridge nothing but θ̃ changes, so that β̂ and the family's parameters vary as if the ridge's coordinate were
    known.
    """
    free = optimum.free.copy()
    for _ in range(about.n_theta):
        block = optimum.hessian[np.ix_(free, free)]
        d = 1.0 / np.sqrt(np.maximum(np.diag(block), 1e-300))
        values, axes = np.linalg.eigh(block * np.outer(d, d))
        places = np.flatnonzero(free)
        of_theta = (places >= about.n_beta) & (places < about.n_beta + about.n_theta)
        if not of_theta.any() or values[0] > FLAT:
            break
        free[places[int(np.argmax(np.abs(axes[:, 0]) * of_theta))]] = False
    return replace(optimum, free=free)


def _separation(about: Approximation, inner: Inner) -> Array:
    """Where some rows are certain, whether that is separation: a direction (p,) of β on the user's scale."""
    scaled = about.separating(inner)
    if not len(scaled):
        return scaled
    direction = about.T_x @ scaled
    return direction / np.abs(direction).max()


def _stiff(hessian: Array, directions: Array) -> Array:
    """The curvature (size, size) of a criterion that is flat along unit directions (size, s), as if it were held."""
    along = directions @ directions.T
    across = np.eye(len(along)) - along
    return across @ hessian @ across + float(np.diag(hessian).max()) * along


def _separation_of_chances(about: Approximation, free: Array, inner: Inner) -> tuple[tuple[str, ...], Array]:
    """The coefficients of zeros' and ends' probabilities, or of a scale, that are infinite, as tables call them.

    And the directions (size, s) of ψ, a column for every such parameter.
    """
    first = about.n_beta + about.n_theta
    labels: list[str] = []
    towards: list[Array] = []
    for part, T, place, scaled in _separated_parts(about, free, inner):
        along = np.zeros(about.size)
        along[first + place.start : first + place.stop] = scaled / np.linalg.norm(scaled)
        towards.append(along)
        direction = np.abs(T @ scaled)
        labels += [label for label, d in zip(part.labels, direction, strict=True) if d > 1e-6 * direction.max()]
    return tuple(labels), np.column_stack([np.zeros((about.size, 0)), *towards])


def _separated_parts(
    about: Approximation, free: Array, inner: Inner
) -> Iterator[tuple[ParameterPart, Array, slice, Array]]:
    """(linear predictor, scaling of its columns, place among the coordinates, direction) of what is separated."""
    design, parameters = about.design, about.parameters
    if isinstance(parameters, ScaledCutpoints):
        part, T = design.predictors[parameters.of_family[1]], np.diag(1.0 / parameters.sizes)
        scaled = separating_scale(parameters.X, inner.bends[0] > -CERTAIN)
        if len(scaled):
            yield part, T, slice(parameters.K, parameters.size), scaled
        return
    for k, name in enumerate(parameters.of_family):
        X, T_of_part, predictor = parameters.X[k], parameters.scales[k], parameters.parts[k]
        if X is None or T_of_part is None or predictor is None or not about.family.is_probability(name):
            continue
        scaled = separating_rows(design, name, X, parameters.values(free)[:, k])
        if len(scaled):
            yield predictor, T_of_part, parameters.places[k], scaled


def _vcov_of_modes(about: Approximation, optimum: Optimum, spread: Array) -> Array:
    """Covariance of β̂ as a joint mode: given the variances, and how it moves with them (Kass & Steffey 1989)."""
    joint = optimum.inner.joint
    assert joint is not None
    given_variances = joint.solve(np.eye(about.p))
    slopes = np.zeros((about.p, about.size))
    scale = np.sqrt(np.maximum(np.diag(spread), 0.0))
    for i in np.flatnonzero(optimum.free):
        step = np.zeros(about.size)
        step[i] = 1e-2 * scale[i] if np.isfinite(scale[i]) and scale[i] > 0.0 else 1e-4
        up, down = about.at(optimum.psi + step)[2].beta, about.at(optimum.psi - step)[2].beta
        slopes[:, i] = (up - down) / (2.0 * step[i])
    return given_variances + slopes @ np.nan_to_num(spread) @ slopes.T
