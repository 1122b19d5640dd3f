"""REML and ML by a Newton search with analytic gradient and average information (docs/theory.md, sections 3, 5).

The search is free of bounds, since Λ and its columns with other signs give one ΛΛᵀ: a bound at zero would stop it at
points where the best covariance lies just across. Signs are made canonical afterwards, and a zero is made exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd, corners
from ..design.identification import Identification
from ..errors import FitError
from ..tools.arrays import Array
from . import newton, pls, residual_search, ridge
from .collapsed import collapsed
from .criterion import Criterion, Evaluation, prepare
from .scaling import Problem, Scaled

Status = Literal["converged", "boundary", "unidentified", "separated", "failed"]
NEXT_TO_ZERO = 2e-7  # of an sd in θ̃, whose derivatives are taken at 1e-7 or above
NEXT_TO_AN_END = 1e-6  # of a correlation
FAR, FARTHEST = 20.0, 1e3  # θ̃ from where on the residual may go to zero, and where rounding hides the criterion
WELL_KNOWN = 200.0  # curvature by θ̃ from where on its standard error is below 0.1
NEAR_ZERO = 0.02  # an sd in θ̃ from which a search begins beside zero
FAR_FROM_ZERO = 15.0  # squared ratio of an sd to its standard error from where on it is not zero at another optimum
SINGULAR = 1e-4  # sd of a combination of effects in θ̃ (lme4's tolerance), below which a covariance matrix is singular
PERFECT = 1e-6  # residual sd over that of the response, below which cross-products in doubles hold none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Iterative:
    """What the iterative solver says of its Monte Carlo error, and what verbs would else take from elimination.

    Attributes
    ----------
    betas : float64 array (r, p)
    covariances : per factor (r, q_k, q_k)
    sigmas : float64 array (r,)
        Estimates one standard Monte Carlo error away along r independent directions: the error of a function of them is
        the root of the sum of its squared changes.
    criterion_error : float
        Standard Monte Carlo error of −2 log (restricted) likelihood.
    half, forms, root : float64 arrays
        Of Satterthwaite's degrees of freedom (`bayeslmm.engine.inference.Satterthwaite`), by the average information.
    mode_slopes : per factor (J_k, q_k, p)
        ∂b̂/∂β.
    """

    betas: Array
    covariances: tuple[Array, ...]
    sigmas: Array
    criterion_error: float
    half: Array
    forms: Array
    root: Array
    mode_slopes: tuple[Array, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PointSolution:
    """REML or ML estimates on the user's scale."""

    reml: bool
    criterion: float  # −2 log (restricted) likelihood
    beta: Array  # (p,)
    vcov: Array  # (p, p)
    parameters: Mapping[str, Array]  # of the family, by name: sigma; shape; cutpoint (K − 1,)
    covariances: tuple[Array, ...]  # Cov(b_j) per factor (q_k, q_k)
    theta: Array  # relative Cholesky entries, factor after factor
    scaled_theta: Array  # the same for scaled columns: where the search ended
    modes: tuple[Array, ...]  # conditional modes of b per factor (J_k, q_k)
    mode_covariances: tuple[Array, ...]  # Cov(b_j | y, β̂, θ̂, σ̂) per factor (J_k, q_k, q_k)
    status: Status
    singular: tuple[bool, ...]  # per factor: its covariance matrix has not full rank
    gradient_norm: float  # largest |∂ criterion/∂θ̃| (scaled columns), or |∂/∂ log θ̃| where θ̃ is above 1
    evaluations: int
    residual: Array = field(default_factory=lambda: np.zeros(0))  # δ and ρ of `bayeslmm.residual_structures`
    nodes: int = 0  # of the rule by which effects are integrated out: one is Laplace's; none where that is exact
    parameter_errors: Mapping[str, Array] = field(default_factory=dict)  # se of their logs, of cutpoints themselves
    rule_error: float = 0.0  # log likelihood of a finer rule less that of this one, where it was looked at
    limits: tuple[str, ...] = ()  # parameters of the family, or coefficients of theirs, without a bound or at zero
    separation: Array = field(default_factory=lambda: np.zeros(0))  # (p,) direction in which β̂ is infinite, if any
    untold: Identification | None = None  # what of the variances the data do not tell
    rivals: tuple[PointSolution, ...] = ()  # other estimates that are as good; this one is any of them
    probes: int = 0  # random signs of the iterative solver; none of elimination, which is exact
    iterative: Iterative | None = None  # what that solver says of its errors, and what verbs need of it

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {'REML' if self.reml else 'ML'}, criterion {self.criterion:.4f}, {self.status}>"
        )

    @property
    def sigma(self) -> float:
        """Residual sd of a family that has one."""
        return float(self.parameters["sigma"])


def fit(problem: Problem, *, reml: bool = True, start: Array | None = None, judged: bool = False) -> PointSolution:
    """Estimate by REML or ML; ``judged``: and say whether the data tell all variances (`with_rivals`).

    The search runs on scaled columns from Λ̃ = I, or from another θ̃ if one is given. At a boundary the sign of the
    derivative with respect to the *variance* decides (that with respect to θ is always zero there); where it says the
    variance should grow, the search starts again from inside. A singular optimum is challenged from two more starts:
    small crowded designs have several optima, and the boundary is where the search ends in a lesser one.
    """
    searched = None
    if problem.residual is not None:
        searched = residual_search.search(problem, reml=reml, climb=_climb)
        problem = problem.at_residual(searched.values)
        start = searched.theta if start is None else start
    scaled, criterion = prepare(problem, reml=reml)
    untold = ridge.identification(problem, scaled, reml=reml) if judged and problem.codes else None
    if untold and untold.involves_residual:
        raise ridge.UntoldResidualError(untold)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where the residual variance goes to zero
        evaluation, at_zero = _without_residual(criterion, optimum(criterion, start))
    solution = _report(scaled, criterion, evaluation)
    if at_zero and solution.status != "failed":
        solution = replace(solution, status="boundary", limits=("sigma",))
    if searched is not None:
        solution = _with_residual(solution, searched)
    return solution if untold is None or untold.is_full else _beside(scaled, criterion, solution, untold)


def _with_residual(solution: PointSolution, searched: residual_search.Searched) -> PointSolution:
    """The solution with the parameters of the residuals and what their search says."""
    status: Status = "failed" if not searched.is_stationary else solution.status
    if searched.at_end and status == "converged":
        status = "boundary"
    return replace(
        solution,
        residual=searched.values,
        status=status,
        gradient_norm=max(solution.gradient_norm, searched.gradient_norm),
        evaluations=solution.evaluations + searched.evaluations,
    )


def with_rivals(problem: Problem, solution: PointSolution) -> PointSolution:
    """The solution with other estimates that are as good beside it, where the data do not tell all variances."""
    if not problem.codes:
        return solution
    scaled, criterion = prepare(problem, reml=solution.reml)
    untold = ridge.identification(problem, scaled, reml=solution.reml)
    return solution if untold.is_full else _beside(scaled, criterion, solution, untold)


def reported_at(problem: Problem, solution: PointSolution) -> PointSolution:
    """The estimates that the θ̃ of a solution gives for a problem: its own, if it is a solution of that."""
    scaled, criterion = prepare(problem, reml=solution.reml)
    # the derivatives are taken a little off a boundary, the estimates on it
    evaluation = replace(criterion.evaluate(solution.scaled_theta), theta=solution.scaled_theta)
    return _report(scaled, criterion, evaluation)


def _beside(scaled: Scaled, criterion: Criterion, solution: PointSolution, untold: Identification) -> PointSolution:
    if not criterion.is_linear:
        raise ridge.UntoldVariancesError(untold)
    rivals = []
    for theta in ridge.elsewhere(scaled.T_z, criterion, solution.scaled_theta, untold):
        rival = _report(scaled, criterion, criterion.evaluate(theta))
        rivals.append(replace(rival, residual=solution.residual))
    if not rivals:
        return solution
    singular = tuple(all(s) for s in zip(solution.singular, *(r.singular for r in rivals), strict=True))
    status: Status = "failed" if solution.status == "failed" else "unidentified"
    return replace(solution, untold=untold, rivals=tuple(rivals), singular=singular, status=status)


def optimum(criterion: Criterion, start: Array | None = None) -> Evaluation:
    """The best point found from the start (Λ̃ = I), and from two more starts if it is singular or the search broke down.

    Raises
    ------
    FitError
        The factorisation broke down from every start.
    """
    if not (criterion.is_linear and criterion.is_small):
        fewer = collapsed(criterion)
        if fewer is not criterion:
            best = _optimum_of(fewer, start)
            criterion.evaluations += fewer.evaluations
            return best
    return _optimum_of(criterion, start)


def _optimum_of(criterion: Criterion, start: Array | None) -> Evaluation:
    """That of a criterion as it is."""
    best = _climb(criterion, clear_of_ends(criterion, criterion.diagonal * 1.0 if start is None else start))
    if best is None or any(is_singular(lam) for lam in criterion.lams(best.theta)):
        for scale in (0.2, 3.0):
            other = _climb(criterion, scale * criterion.diagonal, rival=best)
            best = other or best
    if not criterion.is_linear and start is None:
        low, high = criterion.ends
        correlations = ~criterion.diagonal & np.isfinite(low)
        for place in (0.1, 0.5, 0.9) if correlations.any() else ():
            begin = criterion.diagonal * 1.0
            begin[correlations] = (low + place * (high - low))[correlations]
            if not begin[correlations].any():
                continue  # where the first search began
            if best is not None and best.curvatures.min(initial=0.0) > WELL_KNOWN:
                begin[criterion.diagonal] = np.maximum(best.theta, 0.5)[criterion.diagonal]  # 0: ρ says nothing
            other = _climb(criterion, begin, rival=best)
            best = other or best
        for begin in _corners(criterion, best) if best is not None else ():
            other = _climb(criterion, begin, rival=best)
            best = other or best
    if best is None:
        _refuse_perfect_at_zero(criterion)
        raise FitError(
            f"the search broke down: with {criterion.p} fixed and {criterion.layout.m} random effects for "
            f"{criterion.layout.cross.n} rows the residual variance goes to zero. Drop columns from the bars, or "
            "leave out what determines the response."
        )
    return best


def _corners(criterion: Criterion, best: Evaluation) -> Iterator[Array]:
    """Starts next to `corners`: an sd near zero and the correlations of its block near either end.

    Of 120 simulated tables of 8 levels and 3 columns, 10 had their optimum there, where no start from the middle led.
    An sd that the curvature at the best point holds away from zero stays.
    """
    low, high = criterion.ends
    information = np.einsum("ij,j,ij->i", best.axes, best.curvatures, best.axes)
    for sd, correlations in corners(criterion.templates):
        if best.theta[sd] ** 2 * information[sd] > FAR_FROM_ZERO:
            continue
        for share in (0.03, 0.97):
            begin = np.where(criterion.diagonal, np.maximum(best.theta, 0.3), best.theta)
            begin[sd] = NEAR_ZERO
            begin[correlations] = (low + share * (high - low))[correlations]
            yield begin


def clear_of_ends(criterion: Criterion, start: Array) -> Array:
    """A start for the search, moved off zero sds and inside its bounds."""
    return np.clip(np.where(criterion.diagonal, np.maximum(start, 0.1), start), *criterion.bounds)


def _without_residual(criterion: Criterion, evaluation: Evaluation) -> tuple[Evaluation, bool]:
    """The search followed to where the residual variance is zero, if the criterion falls all the way; whether it does.

    Far out it is flat in θ̃, so that the search ends somewhere on the way and takes it for an optimum.
    """
    if criterion.sigma is not None or evaluation.theta[criterion.diagonal].max(initial=0.0) < FAR:
        return evaluation, False
    of_size = criterion.diagonal | np.isinf(criterion.ends[0])  # correlations stay
    falls = False
    while evaluation.theta[criterion.diagonal].max() < FARTHEST:
        trial = criterion.evaluate(np.where(of_size, 4.0 * evaluation.theta, evaluation.theta))
        if not trial.value < evaluation.value - 1e-10 * abs(evaluation.value):
            break
        evaluation, falls = trial, True
    return evaluation, falls


def refuse_perfect_fixed_part(problem: Problem) -> None:
    """Raise FitError where the fixed effects alone fit the response perfectly."""
    _refuse_perfect_at_zero(prepare(problem, reml=True)[1])


def _refuse_perfect_at_zero(criterion: Criterion) -> None:
    lams = criterion.lams(0.0 * criterion.diagonal)
    _refuse_perfect(criterion, pls.solve(pls.reduce(criterion.layout, lams)))


def _refuse_perfect(criterion: Criterion, solution: pls.Solution) -> None:
    """Raise FitError for a solution that leaves no residual but rounding."""
    cross = criterion.layout.cross
    if criterion.sigma is None and solution.r2 / criterion.df <= PERFECT**2 * cross.XytXy[-1, -1] / cross.n:
        raise FitError(
            f"the model fits the data perfectly: the residual sd is below {PERFECT:g} of the response's, too little to "
            "estimate it or a standard error. Leave out what determines the response."
        )


def _climb(criterion: Criterion, start: Array, *, rival: Evaluation | None = None) -> Evaluation | None:
    """Search, and search again from inside while a boundary turns out to be no optimum.

    None if it does not get below a rival, or if the numbers break down, as they do where a saturated model drives the
    residual variance to zero.
    """
    try:
        evaluation = _descend(criterion, start, rival)
        for _ in range(5):
            escape = None if evaluation is None else better_inside(criterion, evaluation.theta)
            if escape is None:
                break
            evaluation = _descend(criterion, escape)
    except (FloatingPointError, ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return evaluation


def _descend(criterion: Criterion, start: Array, rival: Evaluation | None = None) -> Evaluation | None:
    """From a start to where the criterion is lowest nearby; None if that is not below a rival."""
    evaluation = None
    if criterion.is_compiled:
        evaluation, ended = criterion.searched(start, np.inf if rival is None else rival.value)
        if evaluation is not None and ended == newton.AT_REST:
            return _snapped(criterion, evaluation)
        if ended == newton.NOT_LOWER:
            return None
    if evaluation is None:
        evaluation = _trust_region(criterion, start, rival)
    else:
        evaluation = canonical(criterion, _along_valleys(criterion, evaluation))
    if rival is not None and evaluation.value > rival.value - 1e-9 * abs(rival.value):
        return None
    return _finish(criterion, evaluation)


def _trust_region(criterion: Criterion, start: Array, rival: Evaluation | None = None) -> Evaluation:
    """Newton steps in a trust region, until the next would gain no more than the rounding error of the criterion.

    A search on its way to a rival inside the bounds ends as that.

    The average information leads there in some ten evaluations, unless the data say next to nothing about some
    direction; along such valleys L-BFGS, which learns the curvature as it goes, does better.
    """
    evaluation, radius = criterion.evaluate(start), 1.0
    is_inside = rival is not None and _is_inside(criterion, rival.theta)
    for _ in range(newton.STEPS):
        if rival is not None and is_inside and evaluation.leads_to(rival):
            return rival
        among = evaluation.among(_free(criterion, evaluation))
        if _at_rest(among) or radius < 1e-9:
            break
        step = _embedded(criterion, evaluation, among.step_within(radius))
        trial = criterion.evaluate(evaluation.theta + step)
        gain_ratio = (evaluation.value - trial.value) / max(evaluation.promise(step), 1e-300)
        if gain_ratio < 0.25:
            radius = 0.25 * float(np.linalg.norm(step))
        elif gain_ratio > 0.75 and np.linalg.norm(step) > 0.99 * radius:
            radius = 2.0 * radius
        if gain_ratio > 1e-3:
            evaluation = trial
    if len(start) and not _at_rest(evaluation.among(_free(criterion, evaluation))):
        evaluation = _along_valleys(criterion, evaluation)
    return canonical(criterion, evaluation)


def _along_valleys(criterion: Criterion, evaluation: Evaluation) -> Evaluation:
    """The search by L-BFGS."""
    from scipy.optimize import minimize

    bounds = None if criterion.is_linear else list(zip(*criterion.bounds, strict=True))
    result = minimize(
        criterion,
        evaluation.theta,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-13, "gtol": 1e-5, "maxiter": 500, "maxcor": 20},
    )
    return criterion.evaluate(result.x)


def _free(criterion: Criterion, evaluation: Evaluation) -> NDArray[np.bool_]:
    """The θ̃ (n_theta,) that are not held at a bound, at which the criterion would fall beyond it only."""
    if criterion.is_linear:
        return np.ones(len(evaluation.theta), dtype=bool)
    low, high = criterion.bounds
    at_low = (evaluation.theta <= np.where(low == 0.0, NEXT_TO_ZERO, low)) & (evaluation.gradient > 0.0)
    return ~(at_low | ((evaluation.theta >= high) & (evaluation.gradient < 0.0)))


def _is_inside(criterion: Criterion, theta: Array) -> bool:
    """Whether no θ̃ is near a bound, in a criterion that has some."""
    low, high = criterion.bounds
    low = np.where(low == 0.0, SINGULAR, low + NEXT_TO_AN_END)
    return not criterion.is_linear and bool(np.all((theta > low) & (theta < high - NEXT_TO_AN_END)))


def _embedded(criterion: Criterion, evaluation: Evaluation, step: Array) -> Array:
    """A step of the free θ̃ as one of all, cut where it leaves the bounds."""
    if criterion.is_linear:
        return step
    full_step = np.zeros(len(evaluation.theta))
    full_step[_free(criterion, evaluation)] = step
    return np.clip(evaluation.theta + full_step, *criterion.bounds) - evaluation.theta


def _at_rest(evaluation: Evaluation) -> bool:
    """No step would gain anything, and none leads downhill; far out by the curvature in log θ̃, which vanishes in θ̃."""
    farthest = max(float(np.abs(evaluation.theta).max(initial=0.0)), 100.0)
    lowest = float(evaluation.curvatures.min(initial=0.0)) * (farthest / 100.0) ** 2
    return evaluation.decrement < 1e-13 * abs(evaluation.value) and lowest > -1e-6


def _finish(criterion: Criterion, evaluation: Evaluation) -> Evaluation:
    """Newton steps until the optimum is known to 1e-7 of a standard error; small variances are made exact zeros."""
    for _ in range(20):
        among = evaluation.among(_free(criterion, evaluation))
        if among.decrement < 1e-14:
            break
        step = _embedded(criterion, evaluation, among.newton_step)
        proposal = canonical(criterion, criterion.evaluate(evaluation.theta + step))
        remaining = proposal.among(_free(criterion, proposal)).gradient
        if np.abs(remaining).max(initial=0.0) > 0.5 * np.abs(among.gradient).max():
            break
        evaluation = proposal
    return _snapped(criterion, evaluation)


def _snapped(criterion: Criterion, evaluation: Evaluation) -> Evaluation:
    """The evaluation with small variances made exact zeros, where that is no worse."""
    small = criterion.diagonal & (evaluation.theta < 1e-4)
    if criterion.is_linear and not small.any():
        return evaluation
    snapped = np.where(small, 0.0, evaluation.theta)
    for end in criterion.ends:  # correlations that cannot be told from the end of their interval
        bounded = ~criterion.diagonal & np.isfinite(end)
        snapped[bounded] = np.where(np.abs(evaluation.theta - end) < NEXT_TO_AN_END, end, snapped)[bounded]
    if np.any(snapped != evaluation.theta):
        value, gradient = criterion(snapped)
        if value <= evaluation.value + 1e-9 * abs(evaluation.value):
            # at an end itself Λ̃ is singular, and derivatives by a correlation are those next to it
            gradient = np.where(criterion.diagonal | np.isinf(criterion.ends[1]), gradient, evaluation.gradient)
            return replace(evaluation, theta=snapped, value=value, gradient=gradient)
    return evaluation


def canonical(criterion: Criterion, evaluation: Evaluation) -> Evaluation:
    """The same ΛΛᵀ with a diagonal ≥ 0: columns of Λ change sign, and so do derivatives with respect to them."""
    signs = criterion.signs(criterion.lams(evaluation.theta))
    return replace(
        evaluation,
        theta=signs * evaluation.theta,
        gradient=signs * evaluation.gradient,
        axes=signs[:, None] * evaluation.axes,
    )


def better_inside(criterion: Criterion, theta: Array) -> Array | None:
    """A better start away from a boundary that is no optimum, or None if every boundary is one.

    At the optimum Σ Γ_jj must be positive semidefinite on the null space of each singular covariance block. Where it
    is not, the criterion falls along its negative eigenvectors; the best of a few steps along them is lower than the
    boundary, so a descending search from there cannot come back.
    """
    lams = criterion.lams(theta)
    if all((lam.diagonal() > 0.0).all() for lam in lams):
        return None
    covariances = [lam @ lam.T for lam in lams]
    directions = [np.zeros_like(covariance_matrix) for covariance_matrix in covariances]
    slopes = criterion.variance_slopes(theta)
    for covariance, direction, gamma, template in zip(
        covariances, directions, slopes, criterion.templates, strict=True
    ):
        for block, structure in template.parts():
            if structure.free_entries(len(block)) is None:
                continue  # its bounds are seen to by the search itself
            block_index = np.ix_(block, block)
            values, vectors = np.linalg.eigh(covariance[block_index])
            null = vectors[:, values <= 1e-12 * max(values.max(), 1.0)]
            if null.shape[1]:
                slope, axes = np.linalg.eigh(null.T @ gamma[block_index] @ null)
                falling = null @ axes[:, slope < -1e-7]
                direction[block_index] += falling @ falling.T
    if not any(direction.any() for direction in directions):
        return None
    best, lowest = None, criterion(theta)[0]
    for step in np.geomspace(1.0, 1e-7, 8):
        start = criterion.theta(
            [
                cholesky_psd(covariance_matrix + step * direction, template.blocks)
                for covariance_matrix, direction, template in zip(
                    covariances, directions, criterion.templates, strict=True
                )
            ]
        )
        value = criterion(start)[0]
        if value < lowest - 1e-9 * abs(lowest):
            best, lowest = start, value
    return best


def _report(scaled: Scaled, criterion: Criterion, evaluation: Evaluation) -> PointSolution:
    reduced = pls.reduce(criterion.layout, criterion.lams(evaluation.theta))
    solution = pls.solve(reduced)
    V = pls.inverse(reduced).diagonal
    return assembled(
        scaled,
        criterion,
        evaluation,
        solution,
        value=criterion.value(reduced, solution),
        modes=pls.spherical_modes(reduced, solution.beta),
        mode_variances=[
            V[k] if root is None else _own_of_wide(scaled, reduced, k) for k, root in enumerate(scaled.roots)
        ],
    )


def assembled(
    scaled: Scaled,
    criterion: Criterion,
    evaluation: Evaluation,
    solution: pls.Solution,
    *,
    value: float,
    modes: Sequence[Array],
    mode_variances: Sequence[Array],
) -> PointSolution:
    """Estimates on the user's scale from those of scaled columns.

    Parameters
    ----------
    value : float
        The criterion.
    modes, mode_variances : sequence of float64 array (J_k, q_k) and (J_k, q_k, q_k)
        û and Var(u_j | y, β) in units of σ².
    """
    lams = criterion.lams(evaluation.theta)
    _refuse_perfect(criterion, solution)
    p = criterion.p
    sigma2 = solution.r2 / criterion.df if criterion.sigma is None else criterion.sigma**2
    # |X̃ᵀV⁻¹X̃| = |T_x|² |XᵀV⁻¹X|
    shift = 2.0 * float(np.log(np.abs(scaled.T_x.diagonal())).sum()) if criterion.reml else 0.0
    steepness = np.abs(evaluation.gradient * np.maximum(np.abs(evaluation.theta), 1.0))
    free = steepness if criterion.is_linear else steepness[_free(criterion, evaluation)]
    norm = float(free.max(initial=0.0))
    covariances, relative, singular, user_modes, mode_cov = [], [], [], [], []
    for k, (T, lam, template) in enumerate(zip(scaled.T_z, lams, criterion.templates, strict=True)):
        to_user = T @ lam
        covariance = to_user @ to_user.T
        covariances.append(sigma2 * covariance)
        relative.append(template.theta(cholesky_psd(covariance, template.blocks)))
        singular.append(is_singular(lam))
        user_modes.append(scaled.outwards(k, modes[k] @ to_user.T))
        mode_cov.append(sigma2 * to_user @ mode_variances[k] @ to_user.T)
    half = scaled.T_x @ np.linalg.inv(solution.R_x) if p else np.zeros((0, 0))
    # the criterion is flat to about 1e-5 of a unit per unit of θ̃ where doubles end, on data of this size
    stationary = norm <= 1e-3 * max(1.0, np.sqrt(criterion.layout.cross.n))
    status: Status = "failed" if not stationary else "boundary" if any(singular) else "converged"
    return PointSolution(
        reml=criterion.reml,
        criterion=value - shift,
        beta=scaled.beta(solution.beta),
        vcov=sigma2 * half @ half.T,
        parameters={"sigma": np.sqrt(sigma2)},
        covariances=tuple(covariances),
        theta=np.concatenate([np.zeros(0), *relative]),
        scaled_theta=evaluation.theta,
        modes=tuple(user_modes),
        mode_covariances=tuple(mode_cov),
        status=status,
        singular=tuple(singular),
        gradient_norm=norm,
        evaluations=criterion.evaluations,
    )


def _own_of_wide(scaled: Scaled, reduced: pls.Reduced, k: int) -> Array:
    """Var(u_j | y, β) of each level (J, q, q) of a wide term in units of σ² on its users' levels, its root applied."""
    cross, root = scaled.cross, scaled.roots[k]
    assert root is not None
    q = cross.widths[k]
    if len(cross.levels) == 1 and q == 1:
        return np.einsum("ja,a,ja->j", root, pls.inverse(reduced).diagonal[k][:, 0, 0], root)[:, None, None]
    variances, step = np.empty((len(root), q, q)), max(1, 20_000_000 // max(reduced.layout.m * q, 1))
    for first in range(0, len(root), step):
        rows = root[first : first + step]
        parts = [np.zeros((J, width, len(rows) * q)) for J, width in zip(cross.levels, cross.widths, strict=True)]
        for c in range(q):
            parts[k][:, c, c::q] = rows.T
        half = pls.spherical_root(reduced, parts).reshape(-1, len(rows), q)
        variances[first : first + step] = np.einsum("mja,mjb->jab", half, half)
    return variances


def mode_slopes(problem: Problem, solution: PointSolution) -> tuple[Array, ...]:
    """∂b̂/∂β per factor (J_k, q_k, p) on the user's scale: Cov(b̂_j − b_j, β̂) is this times Cov(β̂) (section 6)."""
    if solution.iterative is not None:
        return solution.iterative.mode_slopes
    scaled, criterion = prepare(problem, reml=solution.reml)
    lams = criterion.lams(solution.scaled_theta)
    return outward_slopes(scaled, lams, pls.mode_slopes(pls.reduce(criterion.layout, lams)))


def outward_slopes(scaled: Scaled, lams: Sequence[Array], slopes: Sequence[Array]) -> tuple[Array, ...]:
    """∂b̂/∂β on the user's scale from ∂û/∂β."""
    to_scaled = np.linalg.inv(scaled.T_x)
    return tuple(
        scaled.outwards(k, T @ lam @ S @ to_scaled)
        for k, (T, lam, S) in enumerate(zip(scaled.T_z, lams, slopes, strict=True))
    )


def conditional_draws(problem: Problem, solution: PointSolution, noise: Array) -> tuple[Array, ...]:
    """Draws of b given y and the estimates per factor (S, J_k, q_k), from standard normal noise (S, m) (section 6)."""
    scaled, criterion = prepare(problem, reml=solution.reml)
    lams = criterion.lams(solution.scaled_theta)
    away = pls.spherical_noise(pls.reduce(criterion.layout, lams), noise)
    return tuple(
        mode + solution.sigma * np.einsum("ab,jbs->sja", T @ lam, scaled.outwards(k, u))
        for k, (mode, T, lam, u) in enumerate(zip(solution.modes, scaled.T_z, lams, away, strict=True))
    )


def is_singular(lam: Array) -> bool:
    """Whether Λ̃Λ̃ᵀ has an eigenvalue below SINGULAR², in units of scaled columns."""
    if len(lam) == 1:
        return abs(float(lam[0, 0])) < SINGULAR
    if len(lam) == 2:
        (a, b), (c, d) = lam.tolist()
        squares, det = a * a + b * b + c * c + d * d, a * d - b * c
        largest = math.sqrt((squares + math.sqrt(max(squares * squares - 4.0 * det * det, 0.0))) / 2.0)
        return largest == 0.0 or abs(det) / largest < SINGULAR
    return bool(np.linalg.svd(lam, compute_uv=False)[-1] < SINGULAR)
