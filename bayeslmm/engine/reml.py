"""REML and ML by a Newton search with analytic gradient and average information (docs/theory.md, sections 3, 5).

The search is free of bounds, since Λ and its columns with other signs give one ΛΛᵀ: a bound at zero would stop it at
points where the best covariance lies just across. Signs are made canonical afterwards, and a zero is made exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import FitError
from ..spec.covariance import Template, cholesky_psd
from . import pls
from .layout import Layout, arrange
from .scaling import Problem, Scaled, scale

Array = NDArray[np.float64]
Status = Literal["converged", "boundary", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSolution:
    """REML or ML estimates on the user's scale."""

    reml: bool
    criterion: float  # −2 log (restricted) likelihood
    beta: Array  # (p,)
    vcov: Array  # (p, p)
    sigma: float
    covariances: tuple[Array, ...]  # Cov(b_j) per factor (q_k, q_k)
    theta: Array  # relative Cholesky entries, factor after factor
    scaled_theta: Array  # the same for scaled columns: where the search ended
    modes: tuple[Array, ...]  # conditional modes of b per factor (J_k, q_k)
    mode_covariances: tuple[Array, ...]  # Cov(b_j | y, β̂, θ̂, σ̂) per factor (J_k, q_k, q_k)
    status: Status
    singular: tuple[bool, ...]  # per factor: its covariance matrix has not full rank
    gradient_norm: float  # largest |∂ criterion/∂θ̃| (scaled columns)
    evaluations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The criterion at a point of θ̃, with its first derivatives and an approximation to the second."""

    theta: Array  # (n_theta,)
    value: float
    gradient: Array  # (n_theta,)
    hessian: Array  # (n_theta, n_theta): average information (5.2)

    @property
    def newton_step(self) -> Array:
        """−H⁻¹g along the directions in which the criterion curves upwards; flat directions are left alone."""
        values, vectors = np.linalg.eigh(self.hessian)
        use = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
        return -vectors[:, use] @ ((vectors[:, use].T @ self.gradient) / values[use])

    @property
    def decrement(self) -> float:
        """gᵀH⁻¹g: twice the decrease a Newton step promises, and the squared distance in standard errors × ½."""
        return float(-self.gradient @ self.newton_step)


class Criterion:
    """−2 log-likelihood, profiled over β and σ, and its derivatives, as functions of θ̃ (3.1, 5.1, 5.2)."""

    def __init__(self, layout: Layout, templates: Sequence[Template], *, reml: bool) -> None:
        self.layout, self.templates, self.reml = layout, tuple(templates), reml
        self.p = layout.cross.XytXy.shape[0] - 1
        self.df = layout.cross.n - (self.p if reml else 0)
        self.evaluations = 0
        self.diagonal = np.concatenate([np.zeros(0, bool), *(t.is_diagonal for t in self.templates)])
        self._ends = np.cumsum([t.n_theta for t in self.templates])

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃_k from θ̃."""
        parts = np.split(theta, self._ends[:-1])
        return [t.factor(part) for t, part in zip(self.templates, parts, strict=False)]

    def theta(self, lams: Sequence[Array]) -> Array:
        """θ̃ from Λ̃_k; also the gradient in θ̃ from those in Λ̃_k."""
        parts = [t.theta(lam) for t, lam in zip(self.templates, lams, strict=True)]
        return np.concatenate([np.zeros(0), *parts])

    def value(self, reduced: pls.Reduced, solution: pls.Solution) -> float:
        """Equation (3.1), up to nothing: constants included."""
        log_det = reduced.log_det_M + (solution.log_det_A if self.reml else 0.0)
        profiled = self.df * (1.0 + np.log(2.0 * np.pi * max(solution.r2, 1e-300) / self.df))
        return float(log_det + profiled - self.layout.cross.sum_log_weights)

    def derivatives(self, theta: Array) -> tuple[pls.Reduced, pls.Solution, float, pls.Slopes]:
        """Factors, β̂, σ̂² and the terms of the derivatives."""
        self.evaluations += 1
        reduced = pls.reduce(self.layout, self.lams(theta))
        solution = pls.solve(reduced)
        sigma2 = max(solution.r2, 1e-300) / self.df
        return reduced, solution, sigma2, pls.slopes(reduced, solution, sigma2, with_X=self.reml)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Criterion and gradient (n_theta,)."""
        reduced, solution, _, terms = self.derivatives(theta)
        return self.value(reduced, solution), self.theta(terms.gradients(self.lams(theta)))

    def evaluate(self, theta: Array) -> Evaluation:
        """Criterion, gradient and average information; a zero on the diagonal of Λ is moved to 1e-7.

        From zero the curvature is invisible, since ∂/∂Λ vanishes there; the move changes the criterion by 1e-14.
        """
        if not len(theta):
            value, gradient = self(theta)
            return Evaluation(theta=theta, value=value, gradient=gradient, hessian=np.zeros((0, 0)))
        near_zero = self.diagonal & (np.abs(theta) < 1e-7)
        theta = np.where(near_zero, np.where(theta < 0.0, -1e-7, 1e-7), theta)
        reduced, solution, sigma2, terms = self.derivatives(theta)
        lams = self.lams(theta)
        products, forces = self._working_products(reduced, solution, terms, lams)
        information = products / sigma2 - np.outer(forces, forces) / (self.df * sigma2**2)
        return Evaluation(
            theta=theta,
            value=self.value(reduced, solution),
            gradient=self.theta(terms.gradients(lams)),
            hessian=information + self._second_derivative_of_V(terms, lams),
        )

    def _working_products(
        self, reduced: pls.Reduced, solution: pls.Solution, terms: pls.Slopes, lams: Sequence[Array]
    ) -> tuple[Array, Array]:
        """yᵀPV̇_iPV̇_jPy (n_theta, n_theta) and yᵀPV̇_iPy (n_theta,), where V̇_iPy = Z_k(Λ̇_iΛᵀ + ΛΛ̇_iᵀ)e_k."""
        n_theta, at = len(self.diagonal), 0
        directions, forces = [], np.empty(n_theta)
        for template, lam, e in zip(self.templates, lams, terms.e, strict=True):
            a = np.zeros((*e.shape, n_theta))
            spherical = e @ lam
            for r, c in zip(template.rows, template.columns, strict=True):
                a[:, :, at] = np.outer(e[:, r], lam[:, c])
                a[:, r, at] += spherical[:, c]
                forces[at] = 2.0 * (e[:, r] @ spherical[:, c])
                at += 1
            directions.append(a)
        return pls.projected_products(reduced, solution, terms, directions), forces

    def _second_derivative_of_V(self, terms: pls.Slopes, lams: Sequence[Array]) -> Array:
        """⟨Γ, V̈_ij⟩: 2 (Σ_levels Γ)_rr' for two entries of the same column c of Λ_k, else zero."""
        H = np.zeros((len(self.diagonal), len(self.diagonal)))
        at = 0
        for template, gamma in zip(self.templates, self._gammas(terms, lams), strict=True):
            rows, columns = np.array(template.rows), np.array(template.columns)
            here = slice(at, at + template.n_theta)
            H[here, here] = 2.0 * gamma[np.ix_(rows, rows)] * (columns[:, None] == columns)
            at += template.n_theta
        return H

    def _gammas(self, terms: pls.Slopes, lams: Sequence[Array]) -> list[Array]:
        """Σ_levels Γ_jj per factor, from (KΛ)Λ⁻¹."""
        gammas = [
            K_lam @ np.linalg.inv(lam) - outer
            for K_lam, outer, lam in zip(terms.K_lam, terms.outer, lams, strict=True)
        ]
        return [(gamma + gamma.T) / 2.0 for gamma in gammas]

    def variance_slopes(self, theta: Array) -> list[Array]:
        """Σ_levels Γ_jj per factor: ∂ criterion/∂(ΛΛᵀ), with Λ moved 1e-3 off the boundary."""
        lams = [lam.copy() for lam in self.lams(theta)]
        for lam in lams:
            np.fill_diagonal(lam, np.maximum(lam.diagonal(), 1e-3))
        return self._gammas(self.derivatives(self.theta(lams))[3], lams)


def fit(problem: Problem, *, reml: bool = True, start: Array | None = None) -> PointSolution:
    """Estimate by REML or ML.

    The search runs on scaled columns from Λ̃ = I, or from another θ̃ if one is given. At a boundary the sign of the
    derivative with respect to the *variance* decides (that with respect to θ is always zero there); where it says the
    variance should grow, the search starts again from inside. A singular optimum is challenged from two more starts:
    small crowded designs have several optima, and the boundary is where the search ends in a lesser one.
    """
    scaled, criterion = prepare(problem, reml=reml)
    return _report(scaled, criterion, optimum(criterion, start))


def prepare(problem: Problem, *, reml: bool) -> tuple[Scaled, Criterion]:
    """The scaled problem and its criterion."""
    scaled = scale(problem)
    templates = [Template.from_blocks(blocks) for blocks in problem.blocks]
    return scaled, Criterion(arrange(scaled.cross), templates, reml=reml)


def optimum(criterion: Criterion, start: Array | None = None) -> Evaluation:
    """The best point found from the start (Λ̃ = I), and from two more starts if it is singular or the search broke down.

    Raises
    ------
    FitError
        The factorisation broke down from every start.
    """
    first = (
        criterion.diagonal * 1.0
        if start is None
        else np.where(criterion.diagonal, np.maximum(start, 0.1), start)
    )
    best = _climb(criterion, first)
    if best is None or any(_is_singular(lam) for lam in criterion.lams(best.theta)):
        for scale in (0.2, 3.0):
            other = _climb(criterion, scale * criterion.diagonal, rival=best)
            best = other or best
    if best is None:
        raise FitError(
            f"the search broke down: with {criterion.p} fixed and {criterion.layout.m} random effects for "
            f"{criterion.layout.cross.n} rows the residual variance goes to zero. Drop columns from the bars."
        )
    return best


def _climb(criterion: Criterion, start: Array, *, rival: Evaluation | None = None) -> Evaluation | None:
    """Search, and search again from inside while a boundary turns out to be no optimum.

    None if it does not get below a rival, or if the numbers break down, as they do where a saturated model drives the
    residual variance to zero.
    """
    try:
        found = _trust_region(criterion, start)
        if rival is not None and found.value > rival.value - 1e-9 * abs(rival.value):
            return None
        found = _finish(criterion, found)
        for _ in range(5):
            escape = _escape(criterion, found.theta)
            if escape is None:
                break
            found = _finish(criterion, _trust_region(criterion, escape))
    except (FloatingPointError, ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return found


def _trust_region(criterion: Criterion, start: Array) -> Evaluation:
    """Newton steps in a trust region, until the next would gain no more than the rounding error of the criterion.

    The average information leads there in some ten evaluations, unless the data say next to nothing about some
    direction; along such valleys L-BFGS, which learns the curvature as it goes, does better.
    """
    from scipy.optimize import minimize

    if not len(start):
        return criterion.evaluate(start)
    seen: dict[bytes, Evaluation] = {}

    def at(theta: Array) -> Evaluation:
        key = theta.tobytes()
        if key not in seen:
            seen[key] = criterion.evaluate(theta.copy())
        return seen[key]

    def halt(theta: Array) -> None:
        if _at_rest(at(theta)):
            raise StopIteration

    found = minimize(
        lambda theta: at(theta).value, start, jac=lambda theta: at(theta).gradient,
        hess=lambda theta: at(theta).hessian, method="trust-exact", callback=halt,
        options={"gtol": 1e-9, "maxiter": 30},
    )  # fmt: skip
    if not _at_rest(at(found.x)):
        found = minimize(
            criterion, found.x, jac=True, method="L-BFGS-B",
            options={"ftol": 1e-13, "gtol": 1e-5, "maxiter": 500, "maxcor": 20},
        )  # fmt: skip
    return _canonical(criterion, at(found.x))


def _at_rest(here: Evaluation) -> bool:
    return here.decrement < 1e-13 * abs(here.value) and float(np.linalg.eigvalsh(here.hessian)[0]) > -1e-6


def _finish(criterion: Criterion, found: Evaluation) -> Evaluation:
    """Newton steps until the optimum is known to 1e-7 of a standard error; then small variances become exact zeros."""
    for _ in range(20):
        if found.decrement < 1e-14:
            break
        proposal = _canonical(criterion, criterion.evaluate(found.theta + found.newton_step))
        if np.abs(proposal.gradient).max() > 0.5 * np.abs(found.gradient).max():
            break
        found = proposal
    snapped = np.where(criterion.diagonal & (found.theta < 1e-4), 0.0, found.theta)
    if np.any(snapped != found.theta):
        value, gradient = criterion(snapped)
        if value <= found.value + 1e-9 * abs(found.value):
            return replace(found, theta=snapped, value=value, gradient=gradient)
    return found


def _canonical(criterion: Criterion, found: Evaluation) -> Evaluation:
    """The same ΛΛᵀ with a diagonal ≥ 0: columns of Λ change sign, and so do derivatives with respect to them."""
    lams = criterion.lams(found.theta)
    signs = criterion.theta(
        [np.broadcast_to(np.where(np.diag(lam) < 0.0, -1.0, 1.0), lam.shape) for lam in lams]
    )
    return Evaluation(
        theta=signs * found.theta,
        value=found.value,
        gradient=signs * found.gradient,
        hessian=np.outer(signs, signs) * found.hessian,
    )


def _escape(criterion: Criterion, theta: Array) -> Array | None:
    """A better start away from a boundary that is no optimum, or None if every boundary is one.

    At the optimum Σ Γ_jj must be positive semidefinite on the null space of each singular covariance block. Where it
    is not, the criterion falls along its negative eigenvectors; the best of a few steps along them is lower than the
    boundary, so a descending search from there cannot come back.
    """
    lams = criterion.lams(theta)
    if all(np.all(np.diag(lam) > 0) for lam in lams):
        return None
    covariances = [lam @ lam.T for lam in lams]
    directions = [np.zeros_like(cov) for cov in covariances]
    slopes = criterion.variance_slopes(theta)
    for cov, direction, gamma, template in zip(
        covariances, directions, slopes, criterion.templates, strict=True
    ):
        for block in template.blocks:
            at = np.ix_(block, block)
            values, vectors = np.linalg.eigh(cov[at])
            null = vectors[:, values <= 1e-12 * max(values.max(), 1.0)]
            if null.shape[1]:
                slope, axes = np.linalg.eigh(null.T @ gamma[at] @ null)
                falling = null @ axes[:, slope < -1e-7]
                direction[at] += falling @ falling.T
    if not any(direction.any() for direction in directions):
        return None
    best, lowest = None, criterion(theta)[0]
    for step in np.geomspace(1.0, 1e-7, 8):
        start = criterion.theta(
            [
                cholesky_psd(cov + step * direction, template.blocks)
                for cov, direction, template in zip(covariances, directions, criterion.templates, strict=True)
            ]
        )
        value = criterion(start)[0]
        if value < lowest - 1e-9 * abs(lowest):
            best, lowest = start, value
    return best


def _report(scaled: Scaled, criterion: Criterion, found: Evaluation) -> PointSolution:
    lams = criterion.lams(found.theta)
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    p, df = criterion.p, criterion.df
    sigma2 = solution.r2 / df
    # |X̃ᵀV⁻¹X̃| = |T_x|² |XᵀV⁻¹X|
    shift = 2.0 * float(np.log(np.abs(np.diag(scaled.T_x))).sum()) if criterion.reml else 0.0
    norm = float(np.abs(found.gradient).max(initial=0.0))
    covariances, relative, singular, modes, mode_cov = [], [], [], [], []
    u, V = pls.spherical_modes(reduced, solution.beta), pls.inverse(reduced)
    for k, (T, lam, template) in enumerate(zip(scaled.T_z, lams, criterion.templates, strict=True)):
        to_user = T @ lam
        cov = to_user @ to_user.T
        covariances.append(sigma2 * cov)
        relative.append(template.theta(cholesky_psd(cov, template.blocks)))
        singular.append(_is_singular(lam))
        modes.append(u[k] @ to_user.T)
        mode_cov.append(sigma2 * to_user @ V.diagonal[k] @ to_user.T)
    inverse_R = np.linalg.solve(solution.R_x, np.eye(p)) if p else np.zeros((0, 0))
    half = scaled.T_x @ inverse_R
    # the criterion is flat to about 1e-5 of a unit per unit of θ̃ where doubles end, on data of this size
    stationary = norm <= 1e-3 * max(1.0, np.sqrt(criterion.layout.cross.n))
    status: Status = "failed" if not stationary else "boundary" if any(singular) else "converged"
    return PointSolution(
        reml=criterion.reml,
        criterion=criterion.value(reduced, solution) - shift,
        beta=scaled.beta(solution.beta),
        vcov=sigma2 * half @ half.T,
        sigma=float(np.sqrt(sigma2)),
        covariances=tuple(covariances),
        theta=np.concatenate([np.zeros(0), *relative]),
        scaled_theta=found.theta,
        modes=tuple(modes),
        mode_covariances=tuple(mode_cov),
        status=status,
        singular=tuple(singular),
        gradient_norm=norm,
        evaluations=criterion.evaluations,
    )


def _is_singular(lam: Array) -> bool:
    """Whether Λ̃Λ̃ᵀ has an eigenvalue below (1e-4)², lme4's tolerance, in units of scaled columns."""
    return bool(np.linalg.svd(lam, compute_uv=False)[-1] < 1e-4)
