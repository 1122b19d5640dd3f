"""REML and ML by a quasi-Newton search with the analytic gradient (docs/theory.md, sections 3 and 5).

The search is free of bounds, since Λ and its columns with other signs give one ΛΛᵀ: a bound at zero would stop it at
points where the best covariance lies just across. Signs are made canonical afterwards, and a zero is made exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
    modes: tuple[Array, ...]  # conditional modes of b per factor (J_k, q_k)
    mode_covariances: tuple[Array, ...]  # Cov(b_j | y, β̂, θ̂, σ̂) per factor (J_k, q_k, q_k)
    status: Status
    singular: tuple[bool, ...]  # per factor: its covariance matrix has not full rank
    gradient_norm: float  # largest |∂ criterion/∂θ̃| (scaled columns)
    evaluations: int


class Criterion:
    """−2 log-likelihood, profiled over β and σ, and its gradient, as functions of θ̃ (3.1, 5.1)."""

    def __init__(self, layout: Layout, templates: Sequence[Template], *, reml: bool) -> None:
        self.layout, self.templates, self.reml = layout, tuple(templates), reml
        self.p = layout.cross.XytXy.shape[0] - 1
        self.df = layout.cross.n - (self.p if reml else 0)
        self.evaluations = 0
        self.diagonal = np.concatenate([t.is_diagonal for t in self.templates] or [np.zeros(0, bool)])
        self._ends = np.cumsum([t.n_theta for t in self.templates])

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃_k from θ̃."""
        parts = np.split(theta, self._ends[:-1])
        return [t.factor(part) for t, part in zip(self.templates, parts, strict=True)]

    def value(self, reduced: pls.Reduced, solution: pls.Solution) -> float:
        """Equation (3.1), up to nothing: constants included."""
        log_det = reduced.log_det_M + (solution.log_det_A if self.reml else 0.0)
        profiled = self.df * (1.0 + np.log(2.0 * np.pi * max(solution.r2, 1e-300) / self.df))
        return float(log_det + profiled - self.layout.cross.sum_log_weights)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Criterion and gradient (n_theta,)."""
        self.evaluations += 1
        lams = self.lams(theta)
        reduced = pls.reduce(self.layout, lams)
        solution = pls.solve(reduced)
        outer, G = pls.gamma_terms(reduced, solution, max(solution.r2, 1e-300) / self.df, with_X=self.reml)
        gradient = [
            t.theta(2.0 * (g - o @ lam)) for t, g, o, lam in zip(self.templates, G, outer, lams, strict=True)
        ]
        return self.value(reduced, solution), np.concatenate(gradient)

    def variance_slopes(self, theta: Array) -> list[Array]:
        """Σ_levels Γ_jj per factor: ∂ criterion/∂(ΛΛᵀ), from (KΛ)Λ⁻¹ at a Λ moved 1e-3 off the boundary."""
        lams = [lam.copy() for lam in self.lams(theta)]
        for lam in lams:
            np.fill_diagonal(lam, np.maximum(lam.diagonal(), 1e-3))
        reduced = pls.reduce(self.layout, lams)
        solution = pls.solve(reduced)
        outer, G = pls.gamma_terms(reduced, solution, solution.r2 / self.df, with_X=self.reml)
        return [g @ np.linalg.inv(lam) - o for g, o, lam in zip(G, outer, lams, strict=True)]


def fit(problem: Problem, *, reml: bool = True) -> PointSolution:
    """Estimate by REML or ML.

    The search runs on scaled columns from Λ̃ = I.  At a boundary the sign of the derivative with respect to the
    *variance* decides (that with respect to θ is always zero there); where it says the variance should grow, the
    search starts again from inside. A singular optimum is challenged from two more starts: small crowded designs have
    several optima, and the boundary is where the search ends in a lesser one.
    """
    scaled = scale(problem)
    layout = arrange(scaled.cross)
    templates = [Template.from_blocks(blocks) for blocks in problem.blocks]
    criterion = Criterion(layout, templates, reml=reml)
    theta, gradient = _optimum(criterion, criterion.diagonal.astype(float))
    if any(_is_singular(lam) for lam in criterion.lams(theta)):
        others = [_optimum(criterion, scale * criterion.diagonal) for scale in (0.2, 3.0)]
        theta, gradient = min([(theta, gradient), *others], key=lambda found: criterion(found[0])[0])
    return _report(problem, scaled, criterion, theta, gradient)


def _optimum(criterion: Criterion, start: Array) -> tuple[Array, Array]:
    """Search, and search again from inside while a boundary turns out to be no optimum: (θ̃, gradient)."""
    theta, gradient = _search(criterion, start)
    for _ in range(5):
        escape = _escape(criterion, theta)
        if escape is None:
            break
        theta, gradient = _search(criterion, escape)
    return theta, gradient


def _search(criterion: Criterion, start: Array) -> tuple[Array, Array]:
    """L-BFGS-B, then Newton steps on the free entries until the gradient is rounding error."""
    from scipy.optimize import minimize

    found = minimize(
        criterion, start, jac=True, method="L-BFGS-B",
        options={"ftol": 1e-13, "gtol": 1e-5, "maxiter": 500, "maxcor": 20},
    )  # fmt: skip
    theta = _canonical(criterion, found.x)
    value, gradient = criterion(theta)
    for _ in range(6):
        if np.abs(gradient).max() < 1e-8:
            break
        proposal = _canonical(criterion, theta + _newton_step(criterion, theta, gradient))
        new_value, new_gradient = criterion(proposal)
        if new_value > value + 1e-10 * abs(value):
            break
        theta, value, gradient = proposal, new_value, new_gradient
    snapped = np.where(criterion.diagonal & (theta < 1e-4), 0.0, theta)
    if np.any(snapped != theta):
        zero_value, zero_gradient = criterion(snapped)
        if zero_value <= value + 1e-9 * abs(value):
            return snapped, zero_gradient
    return theta, gradient


def _canonical(criterion: Criterion, theta: Array) -> Array:
    """The same ΛΛᵀ with a diagonal ≥ 0: columns of Λ change sign."""
    lams = criterion.lams(theta)
    signed = [lam * np.where(np.diag(lam) < 0.0, -1.0, 1.0) for lam in lams]
    return np.concatenate([t.theta(lam) for t, lam in zip(criterion.templates, signed, strict=True)])


def _newton_step(criterion: Criterion, theta: Array, gradient: Array) -> Array:
    """−H⁻¹g, H by central differences of the gradient; flat directions are left alone."""
    H = np.empty((len(theta), len(theta)))
    for i in range(len(theta)):
        h = np.zeros_like(theta)
        h[i] = 1e-4 * max(abs(theta[i]), 0.1)
        H[:, i] = (criterion(theta + h)[1] - criterion(theta - h)[1]) / (2.0 * h[i])
    values, vectors = np.linalg.eigh((H + H.T) / 2.0)
    use = values > 1e-7 * max(values.max(), 1e-300)
    return -vectors[:, use] @ ((vectors[:, use].T @ gradient) / values[use])


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
        start = np.concatenate(
            [
                template.theta(cholesky_psd(cov + step * direction, template.blocks))
                for cov, direction, template in zip(covariances, directions, criterion.templates, strict=True)
            ]
        )
        value = criterion(start)[0]
        if value < lowest - 1e-9 * abs(lowest):
            best, lowest = start, value
    return best


def _report(
    problem: Problem, scaled: Scaled, criterion: Criterion, theta: Array, gradient: Array
) -> PointSolution:
    lams = criterion.lams(theta)
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    p, df = criterion.p, criterion.df
    sigma2 = solution.r2 / df
    # |X̃ᵀV⁻¹X̃| = |T_x|² |XᵀV⁻¹X|
    shift = 2.0 * float(np.log(np.abs(np.diag(scaled.T_x))).sum()) if criterion.reml else 0.0
    norm = float(np.abs(gradient).max())
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
        theta=np.concatenate(relative) if relative else np.zeros(0),
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
