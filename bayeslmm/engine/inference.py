"""Degrees of freedom for t tests and intervals of fixed effects and predictions (docs/theory.md, section 10).

Satterthwaite as lmerTest (Kuznetsova, Brockhoff & Christensen 2017), Kenward–Roger (1997) as pbkrtest (Halekoh &
Højsgaard 2014), both on the cross-products alone: no n × n matrix appears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import Template
from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from . import pls
from .blocked import Blocked
from .criterion import Criterion, prepare
from .reml import PointSolution
from .residual_search import FAR, Criteria
from .scaling import Problem, ScaledRows

MOST_EFFECTS = 6000  # random effects for which Kenward–Roger builds ZᵀV⁻¹Z: 290 MB


BLOCK = 100_000  # contrasts looked at together
BEND = 1e-3  # of a free coordinate in second differences of the deviance: errors are some 1e-6 of a curvature
DEPENDENT = 1e-9  # of the largest variance: a combination of contrasts with less repeats the others


@dataclass(frozen=True, slots=True, kw_only=True)
class FTest:
    """The test that several combinations of fixed effects are what a hypothesis says.

    Attributes
    ----------
    num_df : int
        How many of them do not follow from the others.
    den_df : float
        Infinite where variances count as known: then ``num_df`` times ``f`` is Wald's χ².
    f : float
    """

    num_df: int
    den_df: float
    f: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximation:
    """The distribution of combinations c'β̂: their variances, and the degrees of freedom of a t that stands for it.

    Attributes
    ----------
    vcov : float64 array (p, p)
        Of β̂; Kenward–Roger's is adjusted.
    """

    vcov: Array

    def variances(self, contrasts: Array) -> Array:
        """c'Cov(β̂)c (k,) of contrasts (k, p)."""
        return np.maximum(np.einsum("ka,ka->k", contrasts @ self.vcov, contrasts), 0.0)

    def df(
        self,
        contrasts: Array,
        *,
        residual: Array | float = 0.0,
        taken_as_known: Array | float = 0.0,
        residual_slopes: Array | None = None,
    ) -> Array:
        """Degrees of freedom (k,) of contrasts (k, p); infinite where nothing that is estimated varies.

        Parameters
        ----------
        contrasts : (k, p)
        residual : (k,)
            Residual variance on top, of a new observation. It is estimated.
        taken_as_known : (k,)
            Variance on top that counts as known, of random effects given the data.
        residual_slopes : (k, d + r), optional
            Derivatives of ``residual`` by the parameters of the residuals, where these have more than sigma.
        """
        k = len(contrasts)
        residual, known_variance = (np.broadcast_to(np.asarray(v, float), (k,)) for v in (residual, taken_as_known))
        df = np.empty(k)
        for first in range(0, k, BLOCK):
            rows = slice(first, first + BLOCK)
            known_part = known_variance[rows]
            if residual_slopes is None:
                df[rows] = self._df(contrasts[rows], residual[rows], known_part)
            else:
                df[rows] = self._df_of_structure(contrasts[rows], residual[rows], known_part, residual_slopes[rows])
        return df

    def _df(self, contrasts: Array, residual: Array, known_variance: Array) -> Array:
        raise NotImplementedError

    def _df_of_structure(self, contrasts: Array, residual: Array, known_variance: Array, slopes: Array) -> Array:
        """As `_df` where the residual variance hangs on parameters besides sigma; known ones make no difference."""
        return self._df(contrasts, residual, known_variance)

    def f_test(self, contrasts: Array, differences: Array) -> FTest:
        """The test of contrasts (k, p) whose estimates lie so far (k,) from what is hypothesised.

        The denominator has the degrees of freedom of an F whose mean is that of the sum of the squares of independent
        t variables along the eigenvectors of the contrasts' covariance (Fai & Cornelius 1996, as lmerTest).
        """
        values, vectors = np.linalg.eigh(contrasts @ self.vcov @ contrasts.T)
        is_used = values > DEPENDENT * max(float(values.max(initial=0.0)), 0.0)
        q = int(is_used.sum())
        if q == 0:
            return FTest(num_df=0, den_df=np.nan, f=np.nan)
        vectors, values = vectors[:, is_used], values[is_used]
        f = float(np.sum((vectors.T @ differences) ** 2 / values) / q)
        return FTest(num_df=q, den_df=self._den_df(vectors.T @ contrasts), f=f)

    def _den_df(self, independent: Array) -> float:
        df = self.df(independent)
        if np.isinf(df).all():
            return np.inf
        if np.ptp(df) < 1e-8:
            return float(df.mean())
        if np.any(df <= 2.0):
            return 2.0
        mean = float(np.sum(df / (df - 2.0)))
        return 2.0 * mean / (mean - len(df))


def _ratio(top: Array, bottom: Array) -> Array:
    """top / bottom, infinite over zero."""
    return np.divide(top, bottom, out=np.full(len(top), np.inf), where=bottom != 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal(Approximation):
    """Variances taken as known: z."""

    def _df(self, contrasts: Array, residual: Array, known_variance: Array) -> Array:
        return np.full(len(contrasts), np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Approximation):
    """The t distribution of a model without random effects, all of whose variances are σ̂² times a number."""

    residual_df: float

    def _df(self, contrasts: Array, residual: Array, known_variance: Array) -> Array:
        estimated = self.variances(contrasts) + residual
        return self.residual_df * _ratio(estimated + known_variance, estimated) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Satterthwaite(Approximation):
    """Degrees of freedom 2v²/(gᵀAg) of a variance v (10.1).

    g is the gradient of v in (θ, σ), A twice the inverse Hessian of the deviance that is not profiled over σ. A known σ
    is none of the parameters. The
    gradient of |c'H|², a quadratic form, is one as well: what all contrasts need is found once.
    """

    half: Array  # (p, p): vcov = σ² half halfᵀ
    forms: Array  # (n_theta, p, p): ∂v/∂θ_t = c'half forms_t halfᵀc
    root: Array  # (n_theta + 1, ...): A = root rootᵀ; of a known σ without the last row
    sigma: float
    residual_units: Array  # (d + r,) ∂value/∂free of parameters of the residuals, which stand between θ and σ

    @classmethod
    def of(cls, problem: Problem, solution: PointSolution) -> Satterthwaite:
        """That of a solution."""
        by_probes = solution.iterative
        if by_probes is not None:
            return cls(
                vcov=solution.vcov,
                half=by_probes.half,
                forms=by_probes.forms,
                root=by_probes.root,
                sigma=solution.sigma,
                residual_units=np.zeros(0),
            )
        free = None if problem.residual is None else _Residual.of(problem, solution)
        approximation = cls._at(problem, solution.reml, solution.scaled_theta, solution.sigma, free)
        return replace(approximation, vcov=solution.vcov)

    @classmethod
    def of_refit(cls, problem: Problem, *, reml: bool, theta: Array, sigma: float) -> Satterthwaite:
        """That of estimates θ̃ (n_theta,) inside and σ̂ of a problem whose residuals have no other parameters."""
        return cls._at(problem, reml, theta, sigma, None)

    @classmethod
    def _at(cls, problem: Problem, reml: bool, theta: Array, sigma: float, free: _Residual | None) -> Satterthwaite:
        scaled, criterion = prepare(problem, reml=reml)
        reduced, at_optimum, _, terms = criterion.derivatives(theta)
        H = _hessian(criterion, theta, sigma, terms)
        inside = _inside(criterion, theta)
        if free is not None:
            H = free.joined(H)
            inside = np.append(inside, free.inside)
        at_end = np.append(~inside, False)  # at an end, as a variance of zero is
        H[at_end] = H[:, at_end] = 0.0
        if criterion.sigma is not None:
            H = H[:-1, :-1]
        inverse_R = np.linalg.inv(at_optimum.R_x)
        forms = forms_of(criterion, theta, sigma, inverse_R, pls.projected(reduced))
        half, p = scaled.T_x @ inverse_R, len(inverse_R)
        if free is not None:
            forms += free.forms(at_optimum.R_x)
        return cls(
            vcov=sigma**2 * half @ half.T,
            half=half,
            forms=np.array(forms).reshape(len(forms), p, p),
            root=root_of(H),
            sigma=sigma,
            residual_units=np.zeros(0) if free is None else free.units,
        )

    def _df(self, contrasts: Array, residual: Array, known_variance: Array) -> Array:
        return self._df_of_structure(contrasts, residual, known_variance, None)

    def _df_of_structure(self, contrasts: Array, residual: Array, known_variance: Array, slopes: Array | None) -> Array:
        along = contrasts @ self.half
        estimated = self.sigma**2 * np.einsum("kp,kp->k", along, along) + residual
        g = np.empty((len(along), len(self.forms) + 1))
        for t, form in enumerate(self.forms):
            g[:, t] = np.einsum("kp,kp->k", along @ form, along)
        if slopes is not None:
            first = len(self.forms) - len(self.residual_units)
            g[:, first:-1] += slopes * self.residual_units
        g[:, -1] = 2.0 * estimated / self.sigma
        g = g[:, : len(self.root)]
        return _ratio(2.0 * (estimated + known_variance) ** 2, np.sum((g @ self.root) ** 2, axis=1))


def root_of(H: Array) -> Array:
    """A root of twice the inverse of a Hessian of the deviance."""
    values, vectors = np.linalg.eigh(H)
    is_used = values > 1e-8 * values.max(initial=0.0)  # flat directions carry no information: lmerTest leaves them out
    return np.asarray(np.sqrt(2.0) * vectors[:, is_used] / np.sqrt(values[is_used]))


def forms_of(
    criterion: Criterion, theta: Array, sigma: float, inverse_R: Array, projected: Sequence[Array]
) -> list[Array]:
    """∂v/∂θ_t = c'half forms_t halfᵀc (n_theta of (p, p)), from ZᵀV⁻¹[X y] per factor."""
    forms = []
    for of_factor, lam, E in zip(criterion.slopes(theta), criterion.lams(theta), projected, strict=True):
        Q = E[:, :, :-1] @ inverse_R  # (J, q, p)
        spherical = np.einsum("ab,jap->jbp", lam, Q)
        for entries in of_factor:
            form = sum(2.0 * sigma**2 * value * Q[:, a].T @ spherical[:, b] for a, b, value in entries)
            forms.append(form if entries else np.zeros((Q.shape[2], Q.shape[2])))
    return forms


def _hessian(criterion: Criterion, theta: Array, sigma: float, terms: pls.Slopes) -> Array:
    """Second derivatives of the deviance in (θ, σ)."""
    n_theta, lams = len(theta), criterion.lams(theta)
    inside = _inside(criterion, theta)
    H = np.zeros((n_theta + 1, n_theta + 1))
    for i in np.flatnonzero(inside):
        h = np.zeros(n_theta)
        h[i] = 1e-4 * max(abs(theta[i]), 0.1)
        if not criterion.is_linear:  # no further than half of the way to an end
            h[i] = min(h[i], 0.5 * min(theta[i] - criterion.ends[0][i], criterion.ends[1][i] - theta[i]))
        forward, backward = (_gradient_given_sigma(criterion, theta + sign * h, sigma) for sign in (1.0, -1.0))
        H[:n_theta, i] = (forward - backward) / (2.0 * h[i])
    H[:n_theta, :n_theta] = (H[:n_theta, :n_theta] + H[:n_theta, :n_theta].T) / 2.0
    forces = criterion.gradient(theta, [2.0 * e.T @ e @ lam for e, lam in zip(terms.e, lams, strict=True)])
    H[n_theta, :n_theta] = H[:n_theta, n_theta] = 2.0 * forces / sigma**3
    H[n_theta, n_theta] = 4.0 * criterion.df / sigma**2
    return H


def _gradient_given_sigma(criterion: Criterion, theta: Array, sigma: float) -> Array:
    gradient = criterion.gradient_given_sigma(theta, sigma)
    if gradient is not None:
        return gradient
    lams = criterion.lams(theta)
    reduced = pls.reduce(criterion.layout, lams)
    terms = pls.slopes(reduced, pls.solve(reduced), sigma**2, with_X=criterion.reml)
    return criterion.gradient(theta, terms.gradients(lams))


def _inside(criterion: Criterion, theta: Array) -> NDArray[np.bool_]:
    """Which θ̃ are not at an end of what a structure allows them."""
    low, high = criterion.ends
    margin = 1e-6
    return ~((np.isfinite(low) & (theta <= low + margin)) | (np.isfinite(high) & (theta >= high - margin)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Residual:
    """Parameters of residuals at a solution, in free coordinates: what they add to the Hessian, and to variances."""

    criteria: Criteria
    theta: Array
    sigma: float
    free: Array  # (f,)
    units: Array  # (f,) ∂value/∂free of log ratios of sds; of correlations zero, which no variance of a row hangs on

    @classmethod
    def of(cls, problem: Problem, solution: PointSolution) -> _Residual:
        residual = problem.residual
        assert residual is not None
        units = np.zeros(residual.n_values)
        units[: residual.n_spread] = 1.0 / residual.units
        free = residual.free(solution.residual)
        return cls(
            criteria=Criteria(problem, reml=solution.reml),
            theta=solution.scaled_theta,
            sigma=solution.sigma,
            free=free,
            units=units,
        )

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which are not at an end of what they may be."""
        n_spread = self.criteria.residual.n_spread
        return np.append(np.ones(n_spread, dtype=bool), np.abs(self.free[n_spread:]) <= FAR)

    def _at(self, step: Array) -> tuple[float, Array, float, Array]:
        """Deviance given σ, its gradient by θ and by σ, and A_x⁻¹, a step (f,) away."""
        criterion = self.criteria.at(self.criteria.residual.natural(self.free + step))
        reduced = pls.reduce(criterion.layout, criterion.lams(self.theta))
        solution = pls.solve(reduced)
        terms = pls.slopes(reduced, solution, self.sigma**2, with_X=criterion.reml)
        log_det = reduced.log_det_M + (solution.log_det_A if criterion.reml else 0.0)
        value = log_det + solution.r2 / self.sigma**2 - criterion.layout.cross.sum_log_weights
        by_sigma = 2.0 * criterion.df / self.sigma - 2.0 * solution.r2 / self.sigma**3
        inverse_R = np.linalg.inv(solution.R_x)
        return (
            value,
            criterion.gradient(self.theta, terms.gradients(criterion.lams(self.theta))),
            by_sigma,
            (inverse_R @ inverse_R.T),
        )

    @property
    def _blocked(self) -> Blocked | None:
        """The derivatives in closed form, of a model without bars."""
        criteria = self.criteria
        if criteria.problem.codes:
            return None
        return criteria.blocked or Blocked.of(criteria.rows, reml=criteria.reml)

    def _joined_without_bars(self, H: Array, blocked: Blocked) -> Array:
        """As `joined`, from differences of derivatives."""
        f, out = len(self.free), np.zeros((len(self.free) + 1, len(self.free) + 1))
        for i, h in enumerate(1e-4 * np.diag(np.maximum(1.0, np.abs(self.free)))):
            forward, backward = (blocked.with_gradient(self.free + sign * h, self.sigma**2)[1] for sign in (1.0, -1.0))
            out[:f, i] = (forward - backward) / (2.0 * h[i])
        out[:f, :f] = (out[:f, :f] + out[:f, :f].T) / 2.0
        h_sigma = 1e-4 * self.sigma
        forward, backward = (
            blocked.with_gradient(self.free, (self.sigma + sign * h_sigma) ** 2)[1] for sign in (1.0, -1.0)
        )
        out[:f, f] = out[f, :f] = (forward - backward) / (2.0 * h_sigma)
        out[f, f] = H[-1, -1]
        return out

    def _steps(self) -> Array:
        return np.diag(BEND * np.maximum(1.0, np.abs(self.free)))

    def joined(self, H: Array) -> Array:
        """The Hessian (θ, σ) with rows for these parameters between."""
        blocked = self._blocked
        if blocked is not None:
            return self._joined_without_bars(H, blocked)
        n_theta, f, h = len(H) - 1, len(self.free), self._steps()
        out = np.zeros((n_theta + f + 1, n_theta + f + 1))
        outer = np.r_[:n_theta, n_theta + f]
        out[np.ix_(outer, outer)] = H
        middle = self._at(np.zeros(f))[0]
        forward, backward = ([self._at(sign * h[i]) for i in range(f)] for sign in (1.0, -1.0))
        for i in range(f):
            i_at, size = n_theta + i, 2.0 * h[i, i]
            out[i_at, :n_theta] = out[:n_theta, i_at] = (forward[i][1] - backward[i][1]) / size
            out[i_at, -1] = out[-1, i_at] = (forward[i][2] - backward[i][2]) / size
            out[i_at, i_at] = (forward[i][0] - 2.0 * middle + backward[i][0]) / h[i, i] ** 2
            for j in range(i):
                along, across = h[i] + h[j], h[i] - h[j]
                pair = sum(self._at(sign * along)[0] for sign in (1.0, -1.0)) - sum(
                    self._at(sign * across)[0] for sign in (1.0, -1.0)
                )
                out[i_at, n_theta + j] = out[n_theta + j, i_at] = pair / (4.0 * h[i, i] * h[j, j])
        return out

    def forms(self, R_x: Array) -> list[Array]:
        """∂v/∂free of every variance v = c'half F halfᵀc, as F (p, p)."""
        forms_of = []
        blocked = self._blocked
        if blocked is not None:
            return [self.sigma**2 * R_x @ slope @ R_x.T for slope in blocked.variance_slopes(self.free)]
        for step in self._steps():
            size = 2.0 * float(step.sum())
            change = (self._at(step)[3] - self._at(-step)[3]) / size
            forms_of.append(self.sigma**2 * R_x @ change @ R_x.T)
        return forms_of


def residual_errors(problem: Problem, solution: PointSolution) -> Array:
    """Standard errors (d + r,) of the parameters of residuals besides sigma; NaN of one at an end of what it may be.

    From the inverse Hessian of the deviance in all parameters, by the chain rule.
    """
    _, criterion = prepare(problem, reml=solution.reml)
    theta, residual = solution.scaled_theta, _Residual.of(problem, solution)
    terms = criterion.derivatives(theta)[3]
    H = residual.joined(_hessian(criterion, theta, solution.sigma, terms))
    at_end = np.append(~np.append(_inside(criterion, theta), residual.inside), False)
    H[at_end] = H[:, at_end] = 0.0
    values, vectors = np.linalg.eigh(H)
    is_used = values > 1e-8 * values.max(initial=0.0)
    root = np.sqrt(2.0) * (vectors[:, is_used] / np.sqrt(values[is_used]))[len(theta) : -1]
    natural, steps = residual.criteria.residual.natural, 1e-5 * np.eye(len(residual.free))
    J = np.array([(natural(residual.free + step) - natural(residual.free - step)) / 2e-5 for step in steps]).T
    return np.where(residual.inside, np.linalg.norm(J @ root, axis=1), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class KenwardRoger(Approximation):
    """Kenward–Roger's adjusted covariance and degrees of freedom of a REML fit.

    Written for V = Σ_r γ_r G_r relative to σ². What G_res = W⁻¹ contributes follows from Σ_r γ_r G_r = V.
    """

    T_x: Array  # (p, p)
    Phi: Array  # (p, p)
    moments: Array  # (R, p, p): Φ P_r Φ
    W: Array  # (R, R)

    @classmethod
    def of(cls, problem: Problem, solution: PointSolution) -> KenwardRoger:
        """That of a solution.

        Raises
        ------
        InputError
            The fit is by ML.
        NotAvailableError
            More than 6,000 random effects.
        """
        if not solution.reml:
            raise InputError("Kenward–Roger is defined for REML fits: use fit_reml(), or ddf='satterthwaite'")
        if problem.residual is not None:
            return cls._of_blocks(problem, solution)
        scaled, criterion = prepare(problem, reml=True)
        if not criterion.is_linear:
            raise NotAvailableError(
                "Kenward–Roger is written for covariances that are linear in their parameters; those of cs, ar1 and "
                "one sd for several columns are not: use ddf='satterthwaite'"
            )
        m = criterion.layout.m
        if m > MOST_EFFECTS:
            raise NotAvailableError(
                f"Kenward–Roger needs a {m:,} × {m:,} matrix here (limit {MOST_EFFECTS:,}); with so many random "
                "effects ddf='satterthwaite' gives practically the same"
            )
        reduced, at_optimum, _, _ = criterion.derivatives(solution.scaled_theta)
        pieces = _Pieces.of(criterion, reduced, solution)
        inverse_R = np.linalg.inv(at_optimum.R_x)
        Phi = inverse_R @ inverse_R.T
        P, Q, T = pieces.P, pieces.Q, pieces.T
        if criterion.sigma is not None:  # the residual, which is last, is no parameter
            P, T = P[:-1], T[:-1, :-1]
        PhiP = [Phi @ matrix for matrix in P]
        r = range(len(P))
        information = np.array(
            [[T[i, j] - 2.0 * np.sum(Phi * Q[i][j]) + np.sum(PhiP[i] * PhiP[j].T) for j in r] for i in r]
        )
        information = information.reshape(len(P), len(P))
        W = 2.0 * np.linalg.pinv((information + information.T) / 2.0, rcond=1e-12, hermitian=True)
        U = sum((W[i, j] * (Q[i][j] - P[i] @ PhiP[j]) for i in r for j in r), np.zeros_like(Phi))
        U = (U + U.T) / 2.0
        return cls(
            vcov=solution.sigma**2 * scaled.T_x @ (Phi + 2.0 * Phi @ U @ Phi) @ scaled.T_x.T,
            T_x=scaled.T_x,
            Phi=Phi,
            moments=np.array([matrix @ Phi for matrix in PhiP]),
            W=W,
        )

    @classmethod
    def _of_blocks(cls, problem: Problem, solution: PointSolution) -> KenwardRoger:
        """That of a model without bars whose covariance is linear in its parameters, over kinds of blocks."""
        rows, residual = ScaledRows.of(problem), problem.residual
        assert residual is not None
        blocked = None if problem.codes else Blocked.of(rows, reml=True)
        bases = None if blocked is None else blocked.bases()
        if blocked is None or bases is None:
            raise NotAvailableError(
                "Kenward–Roger is written for covariances that are linear in their parameters: of models with sigma= "
                "and residual= those without bars with us(...), cs(...) or one sd for each level of a factor, none of "
                "them together: use ddf='satterthwaite'"
            )
        V = blocked.covariances(residual.free(solution.residual))
        p, Phi = blocked.p, blocked.evaluate(residual.free(solution.residual)).inverse_A
        size = len(bases[0])
        P, Q, T = np.zeros((size, p, p)), np.zeros((size, size, p, p)), np.zeros((size, size))
        for kind, covariance, basis in zip(blocked.kinds, V, bases, strict=True):
            Omega, cross = np.linalg.inv(covariance), kind.cross[:, :p, :, :p]
            left = np.array([Omega @ E for E in basis])
            P -= np.einsum("iab,apbq->ipq", left @ Omega, cross, optimize=True)
            pairs = np.einsum("iab,jbc->ijac", left, left @ Omega)
            Q += np.einsum("ijab,apbq->ijpq", pairs, cross, optimize=True)
            T += kind.count * np.einsum("iab,jba->ij", left, left)
        PhiP = Phi @ P
        information = T - 2.0 * np.einsum("ab,ijba->ij", Phi, Q) + np.einsum("iab,jba->ij", PhiP, PhiP)
        W = 2.0 * np.linalg.pinv((information + information.T) / 2.0, rcond=1e-12, hermitian=True)
        U = np.einsum("ij,ijab->ab", W, Q) - np.einsum("ij,iab,jbc->ac", W, P, PhiP)
        U = (U + U.T) / 2.0
        T_x = rows.T_x
        return cls(
            vcov=solution.sigma**2 * T_x @ (Phi + 2.0 * Phi @ U @ Phi) @ T_x.T,
            T_x=T_x,
            Phi=Phi,
            moments=PhiP @ Phi,
            W=W,
        )

    def _df(self, contrasts: Array, residual: Array, known_variance: Array) -> Array:
        """Kenward & Roger (1997), section 3, for single contrasts.

        There A₁ = A₂ = A, so that ρ = (1 − A/2)/(1 − 2A) and the df 4 + 3/(ρ − 1) are 2/A; A is zero where the variance
        of the contrast is σ̂² times a number known without error.
        """
        if np.any(residual > 0.0) or np.any(known_variance > 0.0):
            raise InputError(
                "Kenward–Roger is defined for combinations of fixed effects, not for predictions with random effects "
                "or residuals: use ddf='satterthwaite', or groups='average'"
            )
        c = contrasts @ self.T_x
        v = np.einsum("ka,ab,kb->k", c, self.Phi, c, optimize=True)
        forms = np.array([np.einsum("kp,kp->k", c @ moment, c) for moment in self.moments]).T
        moments = np.divide(forms, v[:, None], out=np.zeros_like(forms), where=v[:, None] > 0.0)
        A = np.einsum("kr,rs,ks->k", moments, self.W, moments)
        return _ratio(np.full(len(c), 2.0), np.where(A > 1e-12, A, 0.0))

    def f_test(self, contrasts: Array, differences: Array) -> FTest:
        """The scaled F test of Kenward & Roger (1997), section 3, as pbkrtest."""
        chi2_test = Approximation.f_test(self, contrasts, differences)
        q = chi2_test.num_df
        if q <= 1:
            return chi2_test
        # any q of the contrasts that do not depend on each other say the same
        values, vectors = np.linalg.eigh(contrasts @ self.vcov @ contrasts.T)
        c = vectors[:, -q:].T @ contrasts @ self.T_x
        theta = c.T @ np.linalg.solve(c @ self.Phi @ c.T, c)
        # ΘΦP_rΦ of every parameter; their traces and those of their products
        each = np.array([theta @ moment for moment in self.moments])
        traces = np.trace(each, axis1=1, axis2=2)
        A_1 = float(traces @ self.W @ traces)
        A_2 = float(np.einsum("rs,rab,sba->", self.W, each, each))
        den_df, scale = _scaled_f(q, A_1, A_2)
        return FTest(num_df=q, den_df=den_df, f=scale * chi2_test.f)

    def _den_df(self, independent: Array) -> float:
        return float(self.df(independent)[0]) if len(independent) == 1 else np.nan  # f_test knows it


def _scaled_f(q: int, A_1: float, A_2: float) -> tuple[float, float]:
    """Denominator degrees of freedom and the factor of F (Kenward & Roger 1997, p. 987)."""
    if A_2 <= 1e-12:  # the covariance is known up to nothing that is estimated
        return np.inf, 1.0
    B = (A_1 + 6.0 * A_2) / (2.0 * q)
    g = ((q + 1.0) * A_1 - (q + 4.0) * A_2) / ((q + 2.0) * A_2)
    bottom = 3.0 * q + 2.0 * (1.0 - g)
    c_1, c_2, c_3 = g / bottom, (q - g) / bottom, (q + 2.0 - g) / bottom
    V_0, V_1, V_2 = 1.0 + c_1 * B, 1.0 - c_2 * B, 1.0 - c_3 * B
    V_0 = 0.0 if abs(V_0) < 1e-10 else V_0
    ratio = 1.0 if abs(1.0 - A_2 / q) < 1e-10 and abs(V_1) < 1e-10 else (1.0 - A_2 / q) / V_1
    rho = ratio**2 * V_0 / V_2 / q
    den_df = 4.0 + (q + 2.0) / (q * rho - 1.0)
    scale = 1.0 if abs(den_df - 2.0) < 1e-2 else den_df * (1.0 - A_2 / q) / (den_df - 2.0)
    return den_df, scale


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """P_r = −XᵀV⁻¹G_rV⁻¹X, Q_rs = XᵀV⁻¹G_rV⁻¹G_sV⁻¹X and T_rs = tr(V⁻¹G_rV⁻¹G_s), the residual last."""

    P: list[Array]
    Q: list[list[Array]]
    T: Array

    @classmethod
    def of(cls, criterion: Criterion, reduced: pls.Reduced, solution: PointSolution) -> _Pieces:
        layout, p = criterion.layout, criterion.p
        K, Q_all = pls.whole_K(reduced), pls.whole_Q(reduced)
        lams = criterion.lams(solution.scaled_theta)
        parameters = [
            (layout.rows(position), *entry)
            for position, k in enumerate(layout.order)
            for entry in _covariance_entries(criterion.templates[k], lams[k])
        ]
        gamma = np.array([value for _, _, value in parameters])
        right = [_spread(K[:, rows], E) for rows, E, _ in parameters]  # K (I ⊗ E_r)
        sides = [_spread(Q_all[rows].T, E).T for rows, E, _ in parameters]  # (I ⊗ E_r) Q
        rows_of = [rows for rows, _, _ in parameters]
        r = range(len(parameters))
        P = [-Q_all[rows_of[i]].T @ sides[i] for i in r]
        Q = [[sides[i].T @ K[rows_of[i], rows_of[j]] @ sides[j] for j in r] for i in r]
        T = np.array([[np.sum(right[i][rows_of[j]] * right[j][rows_of[i]].T) for j in r] for i in r]).reshape(
            len(P), len(P)
        )
        trace = np.array([np.trace(right[i][rows_of[i]]) for i in r])

        A = reduced.XyVXy[:p, :p]
        zero = np.zeros_like(A)
        P_res = -A - sum((g * each for g, each in zip(gamma, P, strict=True)), zero)
        Q_res = [-P[j] - sum((gamma[i] * Q[i][j] for i in r), zero) for j in r]
        Q_res_res = -P_res - sum((gamma[i] * Q_res[i].T for i in r), zero)
        T_res = trace - gamma @ T
        T_res_res = (criterion.layout.cross.n - gamma @ trace) - gamma @ T_res
        return cls(
            P=[*P, P_res],
            Q=[*([*Q[i], Q_res[i].T] for i in r), [*Q_res, Q_res_res]],
            T=np.block([[T, T_res[:, None]], [T_res[None, :], np.array([[T_res_res]])]]),
        )


def _covariance_entries(template: Template, lam: Array) -> list[tuple[Array, float]]:
    """(E, γ) for every free entry of the relative covariance ΛΛᵀ = Σ γE."""
    covariance = lam @ lam.T
    entries = []
    for row, column in zip(template.rows, template.columns, strict=True):
        E = np.zeros_like(covariance)
        E[row, column] = E[column, row] = 1.0
        entries.append((E, float(covariance[row, column])))
    return entries


def _spread(A: Array, E: Array) -> Array:
    """A (I ⊗ E) for A (rows, J q)."""
    return (A.reshape(len(A), A.shape[1] // len(E), len(E)) @ E).reshape(A.shape)
