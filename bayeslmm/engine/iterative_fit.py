"""REML and ML where the dense rest of the elimination would not fit: θ̂ where the gradient by random probes vanishes.

The probes are the same at every θ, so that the gradient is a smooth function of it and Newton's steps find its zero as
closely as without chance. How far that is from the optimum is the Monte Carlo error: H⁻¹ times that of the gradient,
which the probes tell by how they differ. No value of the criterion is compared: what a step gains is read off the
gradients at its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..errors import FitError, NotAvailableError
from ..tools.arrays import Array
from . import iterative, layout, pls, reml, ridge
from .criterion import Criterion, Evaluation
from .crossproducts import CrossProducts
from .inference import forms_of, root_of
from .layout import Layout, dense_columns
from .reml import Iterative, PointSolution, better_inside
from .scaling import Problem, Scaled, scale

PROBES, FEWEST, MOST = 16, 4, 10_000
FEW = 4  # probes on the way, which are some of those at its end
ON_THE_WAY, AT_REST = 1e-2, 1e-13  # of gᵀH⁻¹g, twice the squared distance in standard errors
STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Unarranged:
    """What the criterion asks of a layout where nothing is laid out for elimination."""

    cross: CrossProducts


class IterativeCriterion(Criterion):
    """The criterion with its derivatives by conjugate gradients and probes."""

    def __init__(self, scaled: Scaled, problem: Problem, *, reml: bool, probes: int) -> None:
        super().__init__(cast(Layout, Unarranged(cross=scaled.cross)), problem.templates, reml=reml)
        self.halves, self.probes = iterative.halved(scaled.cross), probes

    @property
    def is_small(self) -> bool:
        """No search of this is one compiled loop."""
        return False

    def derivatives(self, theta: Array) -> tuple[iterative.Iterated, pls.Solution, float, pls.Slopes]:  # type: ignore[override]
        """As those by elimination."""
        self.evaluations += 1
        reduced = iterative.reduce(self.halves, self.lams(theta), probes=self.probes)
        solution = pls.solve(cast(pls.Reduced, reduced))
        sigma2 = self.sigma2(solution)
        parts = iterative.projected(reduced)
        return reduced, solution, sigma2, pls.slopes_of(parts, reduced.traces.G, solution, sigma2, with_X=self.reml)

    def products(  # type: ignore[override]
        self, reduced: iterative.Iterated, solution: pls.Solution, terms: pls.Slopes, directions: Sequence[Array]
    ) -> Array:
        """As those by elimination."""
        return iterative.projected_products(reduced, solution, terms, directions)


def why_not(problem: Problem) -> str:
    """What of a problem the iterative solver cannot take, in words; empty where it can."""
    if len(problem.levels) < 2:
        return "it has fewer than two grouping factors, whose levels elimination takes one by one"
    if any(problem.wide):
        return "a relationship matrix, multi-membership or a smooth has effects that are no levels"
    if problem.sigma is not None:
        return "its residual sd is known (se=, or a number in priors=)"
    if problem.residual is not None:
        return "its residuals have parameters besides sigma"
    if not all(template.is_linear for template in problem.templates):
        return "a bar has a covariance structure other than us and diag"
    return ""


def is_too_large(problem: Problem) -> bool:
    """Whether elimination would leave more dense columns than fit, and this solver none."""
    sizes = [J * q for J, q in zip(problem.levels, problem.widths, strict=True)]
    if sum(sizes) - max(sizes, default=0) <= layout.MOST_DENSE:
        return False
    return not why_not(problem) and dense_columns(scale(problem).cross) > layout.MOST_DENSE


def fit(problem: Problem, *, reml: bool, probes: int = PROBES, judged: bool = False) -> PointSolution:
    """Estimates by REML or ML; ``judged``: refused where the data do not tell all variances.

    Raises
    ------
    NotAvailableError
        What this solver cannot take; the data do not tell all variances.
    FitError
        The search broke down.
    """
    reason = why_not(problem)
    if reason:
        raise NotAvailableError(f"The iterative solver is not for this model: {reason}.")
    scaled = scale(problem)
    if judged:
        untold = ridge.judged(problem, scaled, reml=reml)
        if untold.involves_residual:
            raise ridge.UntoldResidualError(untold)
        if not untold.is_full:
            raise ridge.UntoldVariancesError(untold)
    criterion = IterativeCriterion(scaled, problem, reml=reml, probes=min(FEW, probes))
    try:
        evaluation = _search(criterion, criterion.diagonal * 1.0, ON_THE_WAY)
        criterion.probes = probes
        evaluation = _search(criterion, evaluation.theta, AT_REST)
        for _ in range(3):
            escape = better_inside(criterion, evaluation.theta)
            if escape is None:
                break
            evaluation = _search(criterion, escape, AT_REST)
        return _report(problem, scaled, criterion, evaluation.theta)
    except (FloatingPointError, np.linalg.LinAlgError) as problem_of_numbers:
        raise FitError(
            f"the iterative search broke down ({problem_of_numbers}): with {criterion.p} fixed and "
            f"{criterion.halves.m:,} random effects for {criterion.layout.cross.n:,.0f} rows. Drop columns from the "
            "bars, or leave out levels with few rows."
        ) from None


def reported_at(problem: Problem, solution: PointSolution) -> PointSolution:
    """The estimates that the θ̃ of a solution gives for a problem: its own, if it is a solution of that."""
    scaled = scale(problem)
    criterion = IterativeCriterion(scaled, problem, reml=solution.reml, probes=solution.probes)
    return _report(problem, scaled, criterion, solution.scaled_theta)


def _search(criterion: IterativeCriterion, start: Array, rest: float) -> Evaluation:
    """Newton's steps in a trust region towards the zero of the gradient."""
    evaluation, radius = criterion.evaluate(start), 1.0
    for _ in range(STEPS):
        lowest = float(evaluation.curvatures.min(initial=0.0))
        if (evaluation.decrement < rest and lowest > -1e-6) or radius < 1e-9:
            break
        step = evaluation.step_within(radius)
        trial = criterion.evaluate(evaluation.theta + step)
        gained = -0.5 * float((evaluation.gradient + trial.gradient) @ step)  # by the trapezoid
        gain_ratio = gained / max(evaluation.promise(step), 1e-300)
        if gain_ratio < 0.25:
            radius = 0.25 * float(np.linalg.norm(step))
        elif gain_ratio > 0.75 and np.linalg.norm(step) > 0.99 * radius:
            radius = 2.0 * radius
        if gain_ratio > 1e-3 or trial.decrement < rest:
            evaluation = trial
    evaluation = reml.canonical(criterion, evaluation)
    small = criterion.diagonal & (evaluation.theta < 1e-4)
    return replace(evaluation, theta=np.where(small, 0.0, evaluation.theta))


def _report(problem: Problem, scaled: Scaled, criterion: IterativeCriterion, theta: Array) -> PointSolution:
    reduced, solved, sigma2, terms = criterion.derivatives(theta)
    traces, lams = reduced.traces, criterion.lams(theta)
    gradient = criterion.gradient(theta, terms.gradients(lams))
    evaluation = Evaluation(
        theta=theta, value=0.0, gradient=gradient, curvatures=np.zeros(0), axes=np.zeros((len(theta), 0))
    )
    solution = reml.assembled(
        scaled,
        criterion,
        evaluation,
        solved,
        value=criterion.value(cast(pls.Reduced, reduced), solved),
        modes=iterative.spherical_modes(reduced, solved.beta),
        mode_variances=traces.diagonal,
    )
    inside = np.where(criterion.diagonal, np.maximum(theta, 1e-7), theta)  # from zero the curvature is invisible
    if np.any(inside != theta):
        reduced, solved, sigma2, terms = criterion.derivatives(inside)
    information, forces = criterion.information(cast(pls.Reduced, reduced), solved, terms, inside)
    n_theta, sigma = len(theta), np.sqrt(sigma2)
    H = np.zeros((n_theta + 1, n_theta + 1))
    H[:n_theta, :n_theta] = information
    H[n_theta, :n_theta] = H[:n_theta, n_theta] = 2.0 * forces / sigma**3
    H[n_theta, n_theta] = 4.0 * criterion.df / sigma2
    inverse_R, parts = np.linalg.inv(solved.R_x), iterative.projected(reduced)
    profiled = information - np.outer(forces, forces) / (criterion.df * sigma2**2)
    away = _away(criterion, theta, profiled, traces)
    effects = _beta_slopes(criterion, theta, inverse_R, parts, terms)
    betas, covariances, sigmas = [], [], []
    for step in away.T:
        moved = sigma2 - float(forces @ step) / criterion.df
        betas.append(solution.beta + scaled.T_x @ (effects.T @ step))
        sigmas.append(np.sqrt(max(moved, 0.0)))
        by_factor = [T @ lam for T, lam in zip(scaled.T_z, criterion.lams(theta + step), strict=True)]
        covariances.append([moved * matrix @ matrix.T for matrix in by_factor])
    p, r = criterion.p, away.shape[1]
    by_probes = Iterative(
        betas=np.array(betas).reshape(r, p),
        covariances=tuple(
            np.array([covariance[k] for covariance in covariances]).reshape(r, len(lam), len(lam))
            for k, lam in enumerate(lams)
        ),
        sigmas=np.array(sigmas),
        criterion_error=float(traces.log_dets.std(ddof=1) / np.sqrt(len(traces.log_dets))),
        half=scaled.T_x @ inverse_R,
        forms=np.array(forms_of(criterion, theta, float(sigma), inverse_R, parts)).reshape(n_theta, p, p),
        root=root_of(H),
        mode_slopes=reml.outward_slopes(scaled, lams, iterative.mode_slopes(reduced)),
    )
    return replace(solution, probes=criterion.probes, iterative=by_probes)


def _away(criterion: IterativeCriterion, theta: Array, H: Array, traces: iterative.Traces) -> Array:
    """A root (n_theta, r) of the Monte Carlo covariance of θ̂: H⁻¹ times that of the gradient."""
    number = len(traces.log_dets)
    gradients = np.array([criterion.gradient(theta, [2.0 * G[n] for G in traces.Gs]) for n in range(number)])
    gradients = (gradients - gradients.mean(axis=0)) / np.sqrt(number * (number - 1))
    values, axes = np.linalg.eigh(H)
    is_used = values > 1e-8 * max(float(values.max(initial=0.0)), 1e-300)
    moves = axes[:, is_used] @ ((axes[:, is_used].T @ gradients.T) / values[is_used][:, None])
    values, axes = np.linalg.eigh(moves @ moves.T)
    return np.asarray(axes * np.sqrt(np.maximum(values, 0.0)))


def _beta_slopes(
    criterion: IterativeCriterion, theta: Array, inverse_R: Array, parts: Sequence[Array], terms: pls.Slopes
) -> Array:
    """∂β̂/∂θ (n_theta, p) = −A_x⁻¹XᵀV⁻¹V̇V⁻¹(y − Xβ̂) on scaled columns."""
    slopes = []
    for of_factor, lam, E, e in zip(criterion.slopes(theta), criterion.lams(theta), parts, terms.e, strict=True):
        for entries in of_factor:
            change = np.zeros_like(lam)
            for a, b, value in entries:
                change[a, b] += value
            symmetric_sum = change @ lam.T + lam @ change.T
            slopes.append(
                -inverse_R @ (inverse_R.T @ np.einsum("jap,jb,ab->p", E[:, :, :-1], e, symmetric_sum, optimize=True))
            )
    return np.array(slopes).reshape(len(theta), len(inverse_R))
