"""The profiled criterion of REML and ML with its derivatives (docs/theory.md, sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import Template
from ..tools.arrays import Array
from ..tools.lazy import optimize
from . import newton, pls
from .kept import kept_of
from .layout import Layout, arrange
from .scaling import Problem, Scaled, scale

MOST_EFFECTS, MOST_DENSE = 20_000, 200  # of a search that Python does not interrupt: a second at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The criterion at a point of θ̃, with its first derivatives and an approximation H to the second (5.2)."""

    theta: Array  # (n_theta,)
    value: float
    gradient: Array  # (n_theta,)
    curvatures: Array  # (n_theta,) eigenvalues of H, rising
    axes: Array  # (n_theta, n_theta) its eigenvectors, in columns

    @property
    def newton_step(self) -> Array:
        """−H⁻¹g along the directions in which the criterion curves upwards; flat directions are left alone."""
        is_used = self.curvatures > 1e-10 * max(float(self.curvatures.max(initial=0.0)), 1e-300)
        axes = self.axes[:, is_used]
        return -axes @ ((self.gradient @ axes) / self.curvatures[is_used])

    @property
    def decrement(self) -> float:
        """gᵀH⁻¹g: twice the decrease a Newton step promises, and twice the squared distance in standard errors."""
        return float(-self.gradient @ self.newton_step)

    def leads_to(self, other: Evaluation) -> bool:
        """Whether the quadratic model has its minimum, to a fifth of the way, at another point, and knows the gain.

        Then both lie in one valley, and a search from here would end there.
        """
        gain = self.value - other.value
        if not (gain > 0.0 and self.curvatures.min(initial=1.0) > 0.0):
            return False
        way = other.theta - self.theta
        length, missed = (
            float(np.sqrt(np.sum(self.curvatures * (each @ self.axes) ** 2))) for each in (way, way - self.newton_step)
        )
        return missed <= 0.2 * length and abs(self.promise(way) - gain) <= 0.2 * gain

    def step_within(self, radius: float) -> Array:
        """The step of at most this length that lowers the quadratic model most (Moré & Sorensen 1983)."""
        slope, lowest = self.gradient @ self.axes, float(self.curvatures[0])
        if lowest > 0.0:
            step = -slope / self.curvatures
            if np.linalg.norm(step) <= radius:
                return self.axes @ step

        base = self.curvatures - min(lowest, 0.0)

        def excess(shift: float) -> float:
            return radius - float(np.linalg.norm(slope / (base + shift)))

        high = (1.0 + 1e-6) * float(np.linalg.norm(slope)) / radius + 1e-100  # short enough, rounding included
        low = 1e-9 * high
        if excess(low) < 0.0:
            return self.axes @ (-slope / (base + optimize.brentq(excess, low, high, rtol=1e-6)))
        step = -slope / (base + low)  # the gradient has next to no part along the most negative curvature: go there
        step[0] = 0.0
        step[0] = np.copysign(np.sqrt(max(radius**2 - float(step @ step), 0.0)), -slope[0])
        return self.axes @ step

    def among(self, free: NDArray[np.bool_]) -> Evaluation:
        """The same with some θ̃ held where they are."""
        if free.all():
            return self
        H = (self.axes * self.curvatures) @ self.axes.T
        curvatures, axes = np.linalg.eigh(H[np.ix_(free, free)])
        return replace(self, theta=self.theta[free], gradient=self.gradient[free], curvatures=curvatures, axes=axes)

    def promise(self, step: Array) -> float:
        """Decrease of the quadratic model along a step."""
        along = step @ self.axes
        return float(-self.gradient @ step - 0.5 * np.sum(self.curvatures * along**2))


class Criterion:
    """−2 log-likelihood, profiled over β and σ, and its derivatives, as functions of θ̃ (3.1, 5.1, 5.2).

    A σ that is known is not profiled (3.2).
    """

    def __init__(
        self, layout: Layout, templates: Sequence[Template], *, reml: bool, sigma: float | None = None
    ) -> None:
        self.layout, self.templates, self.reml, self.sigma = layout, tuple(templates), reml, sigma
        self.p = layout.cross.XytXy.shape[0] - 1
        self.df = layout.cross.n - (self.p if reml else 0)
        self.evaluations = 0
        self.diagonal = np.concatenate([np.zeros(0, bool), *(template.is_diagonal for template in self.templates)])
        self._ends = np.cumsum([template.n_theta for template in self.templates], dtype=np.int64).tolist()

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃_k from θ̃."""
        return [template.factor(part) for template, part in zip(self.templates, self._parts(theta), strict=True)]

    def _parts(self, theta: Array) -> list[Array]:
        """The part of θ̃ of each factor."""
        return [theta[end - template.n_theta : end] for template, end in zip(self.templates, self._ends, strict=True)]

    def theta(self, lams: Sequence[Array]) -> Array:
        """θ̃ from Λ̃_k."""
        parts = [template.theta(lam) for template, lam in zip(self.templates, lams, strict=True)]
        return np.concatenate([np.zeros(0), *parts])

    def gradient(self, theta: Array, by_lams: Sequence[Array]) -> Array:
        """Derivatives by θ̃ from those by Λ̃_k: the chain rule through the structures."""
        parts = [t.gradient(x, each) for t, x, each in self._with_templates(theta, by_lams)]
        return np.concatenate([np.zeros(0), *parts])

    def slopes(self, theta: Array) -> list[list[list[tuple[int, int, float]]]]:
        """Entries (row, column, value) of ∂Λ̃/∂θ̃ for every parameter of every factor."""
        return [t.slopes(part) for t, part, _ in self._with_templates(theta, self.templates)]

    def signs(self, lams: Sequence[Array]) -> Array:
        """±1 for every θ̃ that make the diagonals of Λ̃_k positive and leave Λ̃Λ̃ᵀ."""
        return np.concatenate(
            [np.zeros(0), *(template.signs(lam) for template, lam in zip(self.templates, lams, strict=True))]
        )

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Between what numbers the search keeps each θ̃."""
        return self._of_templates("bounds")

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """The least and largest values that each θ̃ can have where it is bounded."""
        return self._of_templates("ends")

    @cached_property
    def is_linear(self) -> bool:
        """Whether every Λ̃ is a linear function of θ̃."""
        return all(template.is_linear for template in self.templates)

    @cached_property
    def is_small(self) -> bool:
        """Whether the search can be one compiled loop (`newton`)."""
        m, m_chain = self.layout.m, self.layout.m_chain
        return self.is_linear and len(self.diagonal) > 0 and m <= MOST_EFFECTS and m - m_chain <= MOST_DENSE

    @property
    def is_compiled(self) -> bool:
        """Whether the search is."""
        return self.is_small and newton.is_ready()

    @cached_property
    def form(self) -> newton.Form:
        """What the compiled search needs to know of it."""
        place = np.argsort(self.layout.order).tolist()
        entries = [
            (place[k], r, c)
            for k, template in enumerate(self.templates)
            for r, c in zip(template.rows, template.columns, strict=True)
        ]
        factor, row, column = np.array(entries, dtype=np.int64).T.copy()
        return newton.Form(
            factor=factor,
            row=row,
            column=column,
            df=float(self.df),
            reml=self.reml,
            sigma=np.nan if self.sigma is None else float(self.sigma),
            constant=-float(self.layout.cross.sum_log_weights),
        )

    def searched(self, start: Array, rival: float) -> tuple[Evaluation | None, int]:
        """Where the compiled search ends, or None if the numbers break down, and how it ends (`newton.AT_REST`, …)."""
        point, trial = (newton.empty_point(len(start), self.p) for _ in range(2))
        point.theta[:] = start
        newton.search(self.layout.pattern, self.layout.values, self.form, rival, newton.STEPS, point, trial)
        value, evaluations, ended, _ = point.numbers
        self.evaluations += int(evaluations)
        if ended == newton.BROKEN:
            return None, newton.BROKEN
        return Evaluation(
            theta=point.theta, value=float(value), gradient=point.gradient, curvatures=point.curvatures, axes=point.axes
        ), int(ended)

    def gradient_given_sigma(self, theta: Array, sigma: float) -> Array | None:
        """The gradient by the compiled loop where σ is held; None if the search is none, or θ̃ next to zero."""
        if not self.is_compiled or bool(np.any(self.diagonal & (np.abs(theta) < 1e-6))):  # which it moves
            return None
        point, trial = (newton.empty_point(len(theta), self.p) for _ in range(2))
        point.theta[:] = theta
        form = self.form._replace(sigma=float(sigma))
        newton.search(self.layout.pattern, self.layout.values, form, np.inf, 0, point, trial)
        return None if np.isnan(point.numbers[newton.VALUE]) else point.gradient

    def _of_templates(self, which: str) -> tuple[Array, Array]:
        pairs = [getattr(template, which) for template in self.templates]
        low, high = (np.concatenate([np.zeros(0), *(pair[i] for pair in pairs)]) for i in (0, 1))
        return low, high

    def _with_templates(self, theta: Array, others: Sequence[Any]) -> Iterator[tuple[Template, Array, Any]]:
        """(template, its part of θ̃, its part of something else)."""
        yield from zip(self.templates, self._parts(theta), others, strict=True)

    def value(self, reduced: pls.Reduced, solution: pls.Solution) -> float:
        """Equation (3.1), up to nothing: constants included."""
        log_det = reduced.log_det_M + (solution.log_det_A if self.reml else 0.0)
        sigma2 = self.sigma2(solution)
        squares = self.df if self.sigma is None else solution.r2 / sigma2
        quadratic = squares + self.df * np.log(2.0 * np.pi * sigma2)
        return float(log_det + quadratic - self.layout.cross.sum_log_weights)

    def sigma2(self, solution: pls.Solution) -> float:
        """σ̂², or σ² where it is known."""
        return max(solution.r2, 1e-300) / self.df if self.sigma is None else self.sigma**2

    def derivatives(self, theta: Array) -> tuple[pls.Reduced, pls.Solution, float, pls.Slopes]:
        """Factors, β̂, σ̂² and the terms of the derivatives."""
        self.evaluations += 1
        newton.is_ready.evaluations += self.is_small
        reduced = pls.reduce(self.layout, self.lams(theta))
        solution = pls.solve(reduced)
        sigma2 = self.sigma2(solution)
        return reduced, solution, sigma2, pls.slopes(reduced, solution, sigma2, with_X=self.reml)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Criterion and gradient (n_theta,)."""
        reduced, solution, _, terms = self.derivatives(theta)
        return self.value(reduced, solution), self.gradient(theta, terms.gradients(self.lams(theta)))

    def evaluate(self, theta: Array) -> Evaluation:
        """Criterion, gradient and average information; a zero on the diagonal of Λ is moved to 1e-7.

        From zero the curvature is invisible, since ∂/∂Λ vanishes there; the move changes the criterion by 1e-14.
        """
        if not len(theta):
            value, gradient = self(theta)
            return Evaluation(
                theta=theta, value=value, gradient=gradient, curvatures=np.zeros(0), axes=np.zeros((0, 0))
            )
        if not self.is_linear:
            theta = np.clip(theta, *self.bounds)
        near_zero = self.diagonal & (np.abs(theta) < 1e-7)
        theta = np.where(near_zero, np.where(theta < 0.0, -1e-7, 1e-7), theta)
        reduced, solution, sigma2, terms = self.derivatives(theta)
        lams = self.lams(theta)
        jacobians = [template.jacobian(part) for template, part in zip(self.templates, self._parts(theta), strict=True)]
        by_lams = terms.gradients(lams)
        information, forces = self._information(reduced, solution, terms, theta, jacobians, lams, by_lams)
        if self.sigma is None:
            information -= np.outer(forces, forces) / (self.df * sigma2**2)
        curvatures, axes = np.linalg.eigh(information)
        return Evaluation(
            theta=theta,
            value=self.value(reduced, solution),
            gradient=np.concatenate([np.tensordot(J, by, 2) for J, by in zip(jacobians, by_lams, strict=True)]),
            curvatures=curvatures,
            axes=axes,
        )

    def information(
        self, reduced: pls.Reduced, solution: pls.Solution, terms: pls.Slopes, theta: Array
    ) -> tuple[Array, Array]:
        """The approximation to the second derivatives given σ (n_theta, n_theta), and yᵀPV̇_iPy (n_theta,)."""
        lams = self.lams(theta)
        jacobians = [template.jacobian(part) for template, part in zip(self.templates, self._parts(theta), strict=True)]
        return self._information(reduced, solution, terms, theta, jacobians, lams, terms.gradients(lams))

    def _information(
        self,
        reduced: pls.Reduced,
        solution: pls.Solution,
        terms: pls.Slopes,
        theta: Array,
        jacobians: Sequence[Array],
        lams: Sequence[Array],
        by_lams: Sequence[Array],
    ) -> tuple[Array, Array]:
        products, forces = self._working_products(reduced, solution, terms, jacobians, lams)
        curved = self._second_derivative_of_V(terms, theta, lams, jacobians, by_lams)
        return products / self.sigma2(solution) + curved, forces

    def _working_products(
        self,
        reduced: pls.Reduced,
        solution: pls.Solution,
        terms: pls.Slopes,
        jacobians: Sequence[Array],
        lams: Sequence[Array],
    ) -> tuple[Array, Array]:
        """yᵀPV̇_iPV̇_jPy (n_theta, n_theta) and yᵀPV̇_iPy (n_theta,), where V̇_iPy = Z_k(Λ̇_iΛᵀ + ΛΛ̇_iᵀ)e_k."""
        n_theta, i = len(self.diagonal), 0
        directions, forces = [], np.zeros(n_theta)
        for J, lam, e in zip(jacobians, lams, terms.e, strict=True):
            half = J @ lam.T
            symmetric_sum = half + half.transpose(0, 2, 1)  # Λ̇_iΛᵀ + ΛΛ̇_iᵀ, (n_k, q, q)
            a, span = np.zeros((*e.shape, n_theta)), slice(i, i + len(J))
            a[:, :, span] = np.tensordot(e, symmetric_sum, axes=(1, 1)).transpose(0, 2, 1)
            forces[span] = np.tensordot(symmetric_sum, e.T @ e, 2)
            i += len(J)
            directions.append(a)
        return self.products(reduced, solution, terms, directions), forces

    def products(
        self, reduced: pls.Reduced, solution: pls.Solution, terms: pls.Slopes, directions: Sequence[Array]
    ) -> Array:
        """AᵀZᵀPZA (N, N) for directions A_k (J_k, q_k, N)."""
        return pls.projected_products(reduced, solution, terms, directions)

    def _second_derivative_of_V(
        self,
        terms: pls.Slopes,
        theta: Array,
        lams: Sequence[Array],
        jacobians: Sequence[Array],
        by_lams: Sequence[Array],
    ) -> Array:
        """⟨Γ, V̈_ij⟩ = 2⟨ΓΛ̇_i, Λ̇_j⟩ + ⟨2ΓΛ, Λ̈_ij⟩, Γ summed over levels; between two factors zero."""
        H = np.zeros((len(self.diagonal), len(self.diagonal)))
        start = 0
        gammas = self._gammas(terms, lams)
        arguments = zip(self._with_templates(theta, gammas), jacobians, by_lams, strict=True)
        for (template, part, gamma), J, by_lam in arguments:
            span = slice(start, start + template.n_theta)
            if template.is_linear:
                rows, columns = np.array(template.rows), np.array(template.columns)
                H[span, span] = 2.0 * gamma[np.ix_(rows, rows)] * (columns[:, None] == columns)
            else:
                H[span, span] = 2.0 * np.tensordot(J, gamma @ J, ((1, 2), (1, 2)))
                H[span, span] += template.curvature(part, by_lam)
            start += template.n_theta
        return H

    def _gammas(self, terms: pls.Slopes, lams: Sequence[Array]) -> list[Array]:
        """Σ_levels Γ_jj per factor, from (KΛ)Λ⁻¹."""
        gammas = [
            K_lam @ np.linalg.inv(lam) - outer for K_lam, outer, lam in zip(terms.K_lam, terms.outer, lams, strict=True)
        ]
        return [(gamma + gamma.T) / 2.0 for gamma in gammas]

    def variance_slopes(self, theta: Array) -> list[Array]:
        """Σ_levels Γ_jj per factor: ∂ criterion/∂(ΛΛᵀ), with Λ moved 1e-3 off the boundary."""
        theta = np.clip(np.where(self.diagonal, np.maximum(theta, 1e-3), theta), *self.bounds)
        return self._gammas(self.derivatives(theta)[3], self.lams(theta))


def prepare(problem: Problem, *, reml: bool) -> tuple[Scaled, Criterion]:
    """The scaled problem and its criterion."""
    shared = kept_of(problem)
    if shared is None:
        scaled = scale(problem)
        return scaled, Criterion(arrange(scaled.cross), problem.templates, reml=reml, sigma=problem.sigma)
    scaled, layout = shared.arranged(problem.y)
    return scaled, Criterion(layout, shared.templates, reml=reml, sigma=problem.sigma)
