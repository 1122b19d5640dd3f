"""Maximum likelihood by adaptive Gauss–Hermite quadrature where there is one grouping factor (Pinheiro & Bates 1995).

The search starts at the optimum of Laplace's approximation, in coordinates in which the curvature there is the unit
matrix. With one effect a level, the gradient is that of the rule itself, how its nodes move with the parameters
included, and the curvature at the end its differences. Otherwise both are differences of the likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design
from ..design.identification import can_judge, identification
from ..errors import FitError, NotAvailableError
from ..tools.arrays import Array
from . import laplace_fit, ridge
from .chunked_laplace import approximation
from .criterion import Evaluation
from .laplace import Approximation, Inner
from .laplace_fit import Optimum
from .quadrature import MOST_EFFECTS, MOST_NODES, OneFactor, rule_of
from .reml import PointSolution
from .scaling import Problem, scale

SLOPE, BEND = 3e-3, 0.05  # steps of first and second differences, in standard errors
TILT = 3e-3  # of differences of gradients
FREED = 0.1  # step of the second difference of a parameter that leaves its boundary
STEPS = 40
NEAR, UNKNOWN = 4.0, 0.5  # errors from zero; error of a log
AT_REST = 1e-9  # gain that the next step promises
MOST_ROWS = 200_000  # of a model whose rule of integration is looked at: some seconds
FINER = {1: (9, 15, 25, 45), 2: (9, 15, 25), 3: (5, 7, 9)}  # by effects a level: what another rule is judged by
ROUNDING = 1e-14  # of terms that cancel in a log density, as those of counts of 1e15 do
SETTLED = 1e-3  # of a log likelihood, or of how far another rule is from it, between two of them
RULES = (1, 9, 25, 45, 101)  # that are tried in turn: each is judged by the next
MOVED = 0.1  # standard errors by which the next rule may move an estimate


def refuse(design: Design, nodes: int) -> None:
    """Raise NotAvailableError where the effects cannot be integrated out by a product rule.

    Raises
    ------
    NotAvailableError
        Several grouping factors, effects of which rows meet many, or too many effects of a level.
    """
    bars = " + ".join(text for group in design.groups for text in group.texts)
    if design.sums is not None:
        raise NotAvailableError(
            f"nAGQ={nodes}: {design.n:,} rows in chunks are fitted by Laplace's approximation. Leave nAGQ out, or make "
            "the model of a sample of rows that fits into memory."
        )
    for part in design.predictors.values():
        if part.category:
            raise NotAvailableError(
                f"nAGQ={nodes}: every category but the first has a linear predictor, and quadrature integrates the "
                "effects of one out. Leave nAGQ out for Laplace's approximation."
            )
        raise NotAvailableError(
            f"nAGQ={nodes}: {part.parameter} has a linear predictor, and quadrature takes it to be the same in all "
            "rows. Leave nAGQ out for Laplace's approximation."
        )
    if len(design.groups) != 1 or design.groups[0].is_wide:
        raise NotAvailableError(
            f"nAGQ={nodes}: quadrature integrates the effects of one grouping factor out; this model has "
            f"{bars or 'none'}. Leave nAGQ out for Laplace's approximation."
        )
    q = design.groups[0].q
    if q > MOST_EFFECTS or nodes**q > MOST_NODES:
        raise NotAvailableError(
            f"nAGQ={nodes}: {bars} has {q} effects a level, and {nodes}^{q} nodes are more than {MOST_NODES:,}. Take "
            "fewer nodes, or leave nAGQ out for Laplace's approximation."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Modes:
    """Where the nodes of a rule lie, with one effect a level."""

    inner: Inner
    values: Array  # of the family's parameters
    u: Array  # (J,)
    s: Array  # (J,) sds of the effects around them
    h: Array  # (J,) log density of a level and its effect
    a: Array  # (n,) what an effect is multiplied by, and
    z: Array  # (n,) over Λ
    fixed: Array  # (n,) Xβ + offset


@dataclass(frozen=True, slots=True, kw_only=True)
class _Likelihood:
    """Minus log likelihood of points ψ (S, size) under a rule."""

    about: Approximation
    integrals: OneFactor
    nodes: int

    def __call__(self, psi: Array) -> Array:
        about, T = self.about, self.about.T_z[0]
        eta, values, roots = [], [], []
        with np.errstate(all="ignore"):
            for point in np.atleast_2d(psi):
                beta, theta, free = about.split(point)
                eta.append(about.X @ beta + about.offset)
                values.append(about.parameters.values(free))
                roots.append(T @ about.lams(theta)[0])
            deviances = -self.integrals(np.array(eta), np.array(values), np.array(roots), self.nodes)
            deviances -= [about.at_ends(each)[0].sum() for each in values]
        return np.where(np.isfinite(deviances), deviances, np.inf)

    def slopes(self, psi: Array, C: Array, most: float = np.inf) -> tuple[float, Array]:
        """The value, and unless it is more than ``most`` the gradient in coordinates C."""
        exact = self.exact(psi)
        if exact is not None:
            return exact[0], C.T @ exact[1]
        value = float(self(psi)[0])
        return value, _gradient(self, psi, C) if value <= most else np.zeros(C.shape[1])

    def exact(self, psi: Array) -> tuple[float, Array] | None:
        """`with_gradient`, where it answers: with one effect a level, whose modes have a curvature."""
        if self.about.design.groups[0].q > 1:
            return None
        try:
            return self.with_gradient(psi)
        except FloatingPointError:
            return None

    def value(self, psi: Array) -> float:
        """The value at one ψ, with one effect a level around the modes that Laplace's approximation has."""
        about = self.about
        if about.design.groups[0].q > 1:
            return float(self(psi)[0])
        try:
            with np.errstate(all="ignore"):
                at = self._around(psi)
        except FloatingPointError:
            return float(self(psi)[0])
        codes, rule, total = about.design.groups[0].codes, rule_of(self.nodes, 1), np.zeros(len(at.u))
        with np.errstate(all="ignore"):
            for x, log_weight in zip(rule.x[:, 0], rule.log_weight, strict=True):
                node = at.u + at.s * x
                density = about.bends(at.fixed + at.a * node[codes], at.values)[0]
                total += np.exp(log_weight + np.bincount(codes, density, len(node)) - 0.5 * node**2 - at.h)
            value = float(np.sum(at.h + np.log(total) + np.log(at.s))) + about.constant
            value += about.normaliser(at.values)[0]
        return -value if np.isfinite(value) else np.inf

    def _around(self, psi: Array) -> _Modes:
        """The modes at one ψ, of a model with one effect a level.

        Raises
        ------
        FloatingPointError
            They are not reached.
        """
        about, (group,) = self.about, self.about.design.groups
        beta, theta, free = about.split(psi)
        lams = about.lams(theta)
        z = group.Z[:, 0] * about.T_z[0][0, 0]
        a = lams[0][0, 0] * z
        values = about.parameters.values(free)
        inner = about.mode(beta, lams, values)
        about.last = inner
        u = about.alone.by_factor(inner.u)[0][:, 0]
        density, _, d2, *_ = inner.bends
        M = 1.0 - np.bincount(group.codes, a**2 * d2, len(u))
        return _Modes(
            inner=inner,
            values=values,
            u=u,
            s=1.0 / np.sqrt(M),
            h=np.bincount(group.codes, density, len(u)) - 0.5 * u**2,
            a=a,
            z=z,
            fixed=about.X @ beta + about.offset,
        )

    def with_gradient(self, psi: Array) -> tuple[float, Array]:
        """The value and the gradient (size,) at one ψ, of a model with one effect a level.

        With û_j the mode of an effect, M_j the curvature there and s = M^(−½), the likelihood of a level is
        s Σ_k w_k f(û + s x_k): its slopes are those of log f at the nodes, weighted by their parts of the sum, and how
        û and s move, which for an exact rule would have no effect.

        Raises
        ------
        FloatingPointError
            The modes are not reached, or the sum over the nodes is not finite.
        """
        about, codes = self.about, self.about.design.groups[0].codes
        with np.errstate(all="ignore"):
            around = self._around(psi)
            inner, values, u, a, z = around.inner, around.values, around.u, around.a, around.z
            s, h, fixed = around.s, around.h, around.fixed
            _, theta, free = about.split(psi)
            _, d1, d2, d3, *by = inner.bends

            def sums(of_rows: Array) -> Array:
                return np.bincount(codes, of_rows, minlength=len(u))

            total, first, second = np.zeros((3, len(u)))  # over nodes, of weights × 1, u, u²
            d1_total, d1_first, *direct = np.zeros((4, len(codes)))
            rule = rule_of(self.nodes, 1)
            for x, log_weight in zip(rule.x[:, 0], rule.log_weight, strict=True):
                node = u + s * x
                each = about.bends(fixed + a * node[codes], values, 10 if about.parameters.size else 3)
                weight = np.exp(log_weight + sums(each[0]) - 0.5 * node**2 - h)  # against the largest, at the mode
                total += weight
                first += weight * node
                second += weight * node**2
                of_rows = weight[codes]
                there = of_rows > 0.0  # elsewhere a density is zero, and has no slope
                d1_total += np.where(there, of_rows * each[1], 0.0)
                d1_first += np.where(there, (weight * node)[codes] * each[1], 0.0)
                for out, slope in zip(direct, each[4::3], strict=False):
                    out += np.where(there, of_rows * slope, 0.0)
            value = float(np.sum(h + np.log(total) + np.log(s))) + about.constant + about.normaliser(values)[0]
            d1_total, d1_first, *direct = (rows / total[codes] for rows in (d1_total, d1_first, *direct))
            left = sums(a * d1_total) - first / total  # what the slope of log f keeps at the nodes
            by_s = (1.0 + sums(a * d1_first) - second / total - u * left) / s
            by_M = -0.5 * s**3 * by_s
            by_u = ((left - by_M * sums(a**3 * d3)) * s**2)[codes]
            by_M = by_M[codes]
            by_eta = by_u * a * d2 - by_M * a**2 * d3
            by_beta = about.X.T @ (d1_total + by_eta)
            by_lam = np.sum(z * (d1_first + u[codes] * by_eta + by_u * d1 - 2.0 * by_M * a * d2))
            each_way = zip(direct, by[1::3], by[2::3], strict=True)
            by_rows = [way + by_u * a * slope - by_M * a**2 * bend for way, slope, bend in each_way]
            by_free = about.by_coordinates(by_rows, values, free)
        by_theta = about.gradient(theta, [np.full((1, 1), by_lam)])
        gradient = -np.concatenate([by_beta, by_theta, by_free])
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise FloatingPointError("the likelihood or its gradient is not finite")
        return -value, gradient


def fit(design: Design, nodes: int, *, start: PointSolution | None = None) -> PointSolution:
    """Estimates by maximum likelihood with so many nodes along each effect.

    Raises
    ------
    NotAvailableError
        As `refuse`.
    FitError
        The likelihood cannot be computed around the optimum of Laplace's approximation.
    """
    refuse(design, nodes)
    about = Approximation(design)
    first = laplace_fit.optimum(about, start)
    likelihood = _Likelihood(about=about, integrals=OneFactor(design.in_loops), nodes=nodes)
    optimum = _best(likelihood, _optimum(likelihood, first), start)
    solution = replace(laplace_fit.report(about, optimum), nodes=nodes)
    return _settled(about, solution, optimum) if start is None else solution


def _settled(about: Approximation, solution: PointSolution, optimum: Optimum) -> PointSolution:
    """The solution with errors that hang on where it is alone, as those of a fit that is loaded, not on the way there.

    So they do to rounding where a standard error is a small step. Where an sd is within a few errors of zero, or a
    parameter of the family is all but unknown, second differences depend on the coordinates that they are taken in.
    """
    spread = laplace_fit.joint_covariance(about, optimum)
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.diag(spread))
    theta, errors = np.abs(optimum.psi[about.theta_at]), se[about.theta_at]
    near_zero = about.diagonal & (theta < NEAR * errors) & (errors > 0.0)
    unknown = se[about.n_beta + about.n_theta :] > UNKNOWN
    if not (near_zero.any() or unknown.any()):
        return solution
    again = reported_at(about.design, solution)
    return replace(again, status=solution.status, evaluations=solution.evaluations)


def _best(likelihood: _Likelihood, optimum: Optimum, start: PointSolution | None = None) -> Optimum:
    """An optimum, or a better one at another end of what effects and a dispersion explain alike."""
    best, about = optimum, likelihood.about
    for end in laplace_fit.ends(about) if start is None else ():
        laplace_fit.hold(about, end)
        try:
            candidate = _optimum(likelihood, end)
        except (FitError, FloatingPointError, np.linalg.LinAlgError):
            continue
        if candidate.value < best.value - 1e-9 * abs(best.value):
            best = candidate
    laplace_fit.hold(about, best)
    return best


def fit_as_needed(design: Design) -> PointSolution:
    """Estimates by maximum likelihood, with as many nodes as it takes until more would hardly move them.

    One node, which is Laplace's approximation, where no rule with more can be had: of several factors, of many effects.

    Raises
    ------
    FitError
        As `bayeslmm.engine.laplace_fit.fit`.
    """
    about = approximation(design)
    first = laplace_fit.optimum(about)
    solution = laplace_fit.report(about, first)
    rules = [nodes for nodes in RULES[1:] if has_rule(design, nodes)]
    if solution.status not in ("converged", "boundary") or not rules:
        return solution
    integrals, optimum, chosen = OneFactor(design.in_loops), first, 1
    for nodes in rules:
        likelihood = _Likelihood(about=about, integrals=integrals, nodes=nodes)
        if _moves(likelihood, optimum) < MOVED:
            break
        optimum, chosen = _optimum(likelihood, optimum), nodes
    if about.has_rivals:
        likelihood = _Likelihood(about=about, integrals=integrals, nodes=chosen if chosen > 1 else rules[0])
        better = _best(likelihood, optimum if chosen > 1 else _optimum(likelihood, optimum))
        optimum, chosen = better, likelihood.nodes
    if chosen == 1:
        return solution
    return _settled(about, replace(laplace_fit.report(about, optimum), nodes=chosen), optimum)


def has_rule(design: Design, nodes: int) -> bool:
    """Whether so many nodes along each effect make a rule for this design."""
    try:
        refuse(design, nodes)
    except NotAvailableError:
        return False
    return True


def _moves(likelihood: _Likelihood, optimum: Optimum) -> float:
    """By how many standard errors a rule would move an estimate that is furthest from its own, by a Newton step."""
    if _inside(likelihood, optimum) is not None:
        return np.inf
    C = _coordinates(likelihood.about, optimum, optimum.free)
    step = C @ likelihood.slopes(optimum.psi, C)[1]
    se = np.sqrt(np.einsum("ij,ij->i", C, C))
    return float(np.max(np.abs(step[se > 0.0]) / se[se > 0.0], initial=0.0))


def is_looked_at(design: Design) -> bool:
    """Whether the rule of integration is looked at: of rows in memory that are not too many."""
    return design.sums is None and design.n <= MOST_ROWS


def estimates(
    design: Design, *, restricted: bool = False, nodes: int | None = 1, start: PointSolution | None = None
) -> PointSolution:
    """Estimates by Laplace's approximation, by quadrature with more nodes than one, or (None) by what it takes.

    Raises
    ------
    NotAvailableError
        As `refuse`, and a restricted likelihood by quadrature.
    FitError
        There are no estimates.
    """
    try:
        if nodes is None and not restricted and is_looked_at(design):
            return fit_as_needed(design)
        if nodes is None or nodes <= 1:
            return laplace_fit.fit(design, restricted=restricted, start=start)
        if not restricted:
            return fit(design, nodes, start=start)
    except FloatingPointError:  # at the end of a search, or around it
        raise FitError(laplace_fit.broken_down(approximation(design))) from None
    raise NotAvailableError(
        f"nAGQ={nodes} is for fit_ml(): the restricted likelihood integrates the fixed effects out as well, which "
        "Laplace's approximation does: fit_reml()"
    )


def reported_at(design: Design, solution: PointSolution) -> PointSolution:
    """What the parameters of a solution give for a design: that solution, if it is one."""
    about, first = laplace_fit.optimum_at(design, solution)
    if solution.nodes == 1:
        return _kept_status(solution, laplace_fit.report(about, first))
    likelihood = _Likelihood(about=about, integrals=OneFactor(design.in_loops), nodes=solution.nodes)
    C = _coordinates(about, first, first.free)
    back = np.linalg.pinv(C)
    value, _ = likelihood.slopes(first.psi, C)
    optimum = replace(first, value=value, hessian=back.T @ _curvature(likelihood, first.psi, C) @ back)
    return _kept_status(solution, replace(laplace_fit.report(about, optimum), nodes=solution.nodes))


def _kept_status(solution: PointSolution, again: PointSolution) -> PointSolution:
    return replace(again, status=solution.status) if solution.status == "unidentified" else again


def with_rivals(design: Design, solution: PointSolution) -> PointSolution:
    """The solution with other estimates that are as good beside it, where the data do not tell all variances.

    A likelihood knows the effects by the covariances ZGZᵀ of the linear predictor alone, whatever the family, so that
    what does not change these is not told by any data (docs/theory.md, section 13).
    """
    if not design.groups or not can_judge(design) or solution.status not in ("converged", "boundary", "unidentified"):
        return solution
    if design.sums is None:
        identified = identification(design, beside_fixed=solution.reml, residual=False)
    else:
        problem = replace(Problem.of(design), sigma=1.0)
        identified = ridge.judged(problem, scale(problem), reml=False)
    if identified.is_full:
        return solution
    about = approximation(design, restricted=solution.reml)
    templates = tuple(group.template for group in design.groups)  # a wide term has one variance, however many columns
    if any(template.curved for template in templates):
        raise ridge.UntoldVariancesError(identified)
    T_z = [T[:1, :1] if group.is_wide else T for T, group in zip(about.T_z, design.groups, strict=True)]
    factors = ridge.OfTemplates(templates=templates)
    rivals = [
        reported_at(design, replace(solution, scaled_theta=theta, status="unidentified"))
        for theta in ridge.elsewhere(T_z, factors, solution.scaled_theta, identified)
    ]
    if not rivals:  # as where their sum is zero, which tells all of them
        return solution
    singular = tuple(all(s) for s in zip(solution.singular, *(r.singular for r in rivals), strict=True))
    there = reported_at(design, replace(solution, status="unidentified"))
    return replace(there, singular=singular, rule_error=solution.rule_error, untold=identified, rivals=tuple(rivals))


def error(design: Design, solution: PointSolution) -> float | None:
    """Log likelihood of finer rules less that of the solution's at its estimates, until one hardly corrects the other.

    None where there is no rule.
    """
    q = design.groups[0].q if len(design.groups) == 1 else 0
    rules = [k for k in FINER.get(q, ()) if k > solution.nodes and has_rule(design, k)]
    if not rules:
        return None
    about, integrals = Approximation(design), OneFactor(design.in_loops)
    psi, before = laplace_fit.coordinates(about, solution), np.inf
    for nodes in rules:
        off = -_Likelihood(about=about, integrals=integrals, nodes=nodes).value(psi) + 0.5 * solution.criterion
        if abs(off - before) <= SETTLED * max(1.0, abs(off)):
            break
        before = off
    return off if abs(off) > ROUNDING * float(np.abs(about.loops.density_constants).sum()) else 0.0


def _optimum(likelihood: _Likelihood, first: Optimum) -> Optimum:
    """Where a search ends, at the end of a parameter of the family that grows for ever and costs nothing there."""
    optimum, about = _searched(likelihood, first), likelihood.about
    for _ in about.limits:
        place = laplace_fit.far_out(about, optimum)
        if place is None:
            break
        ended = laplace_fit.at_its_end(about, optimum, place)
        laplace_fit.hold(about, ended)
        at_end = _searched(likelihood, ended)
        if at_end.value > optimum.value + laplace_fit.lost(about, ended.limits[-1]):  # it has an optimum, far out
            laplace_fit.hold(about, first)
            optimum = _searched(likelihood, first, watched=False)
            break
        optimum = at_end
    return optimum


def _searched(likelihood: _Likelihood, first: Optimum, *, watched: bool = True) -> Optimum:
    """Where steps from an optimum end, or (``watched``) where a parameter of the family goes to its limit."""
    about, free = likelihood.about, first.free.copy()
    psi, inside = first.psi.copy(), _inside(likelihood, first)
    if inside is not None:
        psi, free = inside, ~about.held
        first = replace(first, hessian=_with_freed(likelihood, first, psi, free & ~first.free))
    C = _coordinates(about, first, free)
    value, gradient = likelihood.slopes(psi, C)
    if not np.isfinite(value):
        raise FitError("quadrature: the likelihood cannot be computed at the optimum of Laplace's approximation")
    n, radius = C.shape[1], 1.0
    H = np.eye(n)
    for _ in range(STEPS):
        curvatures, axes = np.linalg.eigh(H)
        evaluation = Evaluation(theta=psi, value=value, gradient=gradient, curvatures=curvatures, axes=axes)
        step = evaluation.step_within(radius) if n else np.zeros(0)
        promise = evaluation.promise(step)
        if promise < AT_REST or radius < 1e-6:
            break
        proposal = psi + C @ step
        new, new_gradient = likelihood.slopes(proposal, C, value)
        if not np.isfinite(new) or new > value:
            radius = 0.25 * float(np.linalg.norm(step))
            continue
        miss = new_gradient - gradient - H @ step
        if abs(miss @ step) > 1e-8 * float(np.linalg.norm(miss) * np.linalg.norm(step)):
            H = H + np.outer(miss, miss) / (miss @ step)
        if value - new > 0.75 * promise and np.linalg.norm(step) > 0.99 * radius:
            radius *= 2.5
        psi, value, gradient = proposal, new, new_gradient
        if laplace_fit.far_out(about, replace(first, psi=psi)) is not None and watched:
            break
    bend = _curvature(likelihood, psi, C)
    values, axes = np.linalg.eigh(bend)
    curved = values > 1e-10
    decrement = float(np.sum((axes.T @ gradient)[curved] ** 2 / values[curved]))
    back = np.linalg.pinv(C)
    psi = laplace_fit.canonical(about, psi)
    inner = _inner(about, psi, first)
    return replace(
        first,
        psi=psi,
        value=value,
        gradient=back.T @ gradient,
        inner=inner,
        hessian=back.T @ bend @ back,
        free=free,
        decrement=decrement,
    )


def _inner(about: Approximation, psi: Array, first: Optimum) -> Inner:
    """The modes at ψ, from nothing, so that they are those of a fit that is loaded, or else from those of the start."""
    for last in (None, first.inner):
        about.last = last
        try:
            return about.at(psi)[2]
        except FloatingPointError:
            continue
    raise FitError(
        f"quadrature: the modes of the effects cannot be computed where the search ended, at {_shown(about, psi)}"
    )


def _shown(about: Approximation, psi: Array) -> str:
    named = about.parameters.named(about.split(psi)[2])
    return ", ".join(f"{name} = {np.asarray(value).reshape(-1)[0]:.4g}" for name, value in named.items())


def _inside(likelihood: _Likelihood, optimum: Optimum) -> Array | None:
    """Away from the boundary, if that is better there: a variance is zero by a coarser rule alone."""
    about, psi = likelihood.about, optimum.psi
    inside = psi.copy()
    inside[about.theta_at] = np.where(about.diagonal & ~optimum.free[about.theta_at], 0.3, psi[about.theta_at])
    return inside if (inside != psi).any() and likelihood(inside)[0] < likelihood(psi)[0] else None


def _with_freed(likelihood: _Likelihood, optimum: Optimum, psi: Array, freed: NDArray[np.bool_]) -> Array:
    """The curvature of an optimum with that of parameters which were held at a boundary, one by one."""
    hessian = optimum.hessian.copy()
    for c in np.flatnonzero(freed):
        step = np.zeros(len(psi))
        step[c] = FREED
        low, middle, high = likelihood(np.array([psi - step, psi, psi + step]))
        bend = abs(low - 2.0 * middle + high) / FREED**2
        hessian[c], hessian[:, c] = 0.0, 0.0
        hessian[c, c] = bend if np.isfinite(bend) and bend > 0.0 else 1.0
    return hessian


def _coordinates(about: Approximation, optimum: Optimum, free: NDArray[np.bool_]) -> Array:
    """C (size, free) of coordinates in which the curvature at an optimum is the unit matrix."""
    C = np.zeros((about.size, int(free.sum())))
    C[free] = laplace_fit.scales(optimum.hessian[np.ix_(free, free)])
    return C


def _gradient(likelihood: _Likelihood, psi: Array, C: Array) -> Array:
    steps = SLOPE * C.T
    values = likelihood(np.concatenate([psi + steps, psi - steps])) if len(steps) else np.zeros(0)
    n = len(steps)
    return np.asarray((values[:n] - values[n:]) / (2.0 * SLOPE))


def _curvature(likelihood: _Likelihood, psi: Array, C: Array) -> Array:
    """Differences of the gradient, or second ones of the likelihood, of fourth order along each axis."""
    sides = [(likelihood.exact(psi + step), likelihood.exact(psi - step)) for step in TILT * C.T]
    ways = [up[1] - down[1] for up, down in sides if up is not None and down is not None]
    if len(ways) == len(sides) > 0:
        H = np.array(ways) @ C / (2.0 * TILT)
        return np.asarray(0.5 * (H + H.T))
    n, steps = C.shape[1], BEND * C.T
    pairs = [(i, j) for i in range(n) for j in range(i)]
    points = [psi, *(psi + k * step for step in steps for k in (-2.0, -1.0, 1.0, 2.0))]
    points += [psi + a * steps[i] + b * steps[j] for i, j in pairs for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    values = likelihood(np.array(points))
    H, along_axes = np.empty((n, n)), values[1 : 1 + 4 * n].reshape(n, 4)
    for i in range(n):
        a, b, c, d = along_axes[i]
        H[i, i] = (-a + 16.0 * b - 30.0 * values[0] + 16.0 * c - d) / (12.0 * BEND**2)
    for (i, j), (mm, mp, pm, pp) in zip(pairs, values[1 + 4 * n :].reshape(-1, 4), strict=True):
        H[i, j] = H[j, i] = (pp - pm - mp + mm) / (4.0 * BEND**2)
    return H
