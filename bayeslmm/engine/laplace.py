"""Laplace's approximation of the likelihood of any family, its gradient, and the search for its maximum.

log L = h(û) − ½ log|M| with h(u) = Σ log p(y_i | η_i) − ½uᵀu, η = Xβ + ZΛu + offset, û = argmax h and M = ΛᵀZᵀWZΛ + I,
W the *observed* information −∂²log p/∂η² (Tierney & Kadane 1986; Skaug & Fournier 2006).  The inner problem is Newton's
method on the kernel's weighted cross-products; the gradient is that of the approximation itself, how û and W move with
the parameters included.  Restricted: β is integrated out beside u, with a flat prior.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..covariances import INDEPENDENT_ALIKE
from ..covariances.template import Template
from ..design.design import Design, GroupTerm
from ..design.identification import beside_dispersion, limits_of
from ..errors import FitError, NotAvailableError
from ..families import LINKS, Family, Link
from ..families.densities import add_normaliser, bends_address, each_bend, each_bend_by_row, each_normaliser, numbers
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.lazy import lapack
from . import laplace_loops, layout, pls
from .laplace_loops import CLOSE, HALVINGS, INNER_STEPS, SURE
from .reml import PointSolution
from .reweighting import Reweighted
from .scaled_cutpoints import ScaledCutpoints, bends_by_scale
from .scaling import Problem, scale
from .separation import can_separate, separating

PERFECT = 1e-6  # residual sd over that of the response, below which there is none
CERTAIN = 1e-9  # information of a row at an edge, a trial, below which it may be separated
NEARLY_PERFECT = 1e-4  # the same of a search that came to no rest, as a coefficient of variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """The mode of the effects given the rest, with what the log likelihood and its gradient are made of."""

    u: Array  # (m,) in elimination order
    beta: Array  # (p,), a mode as well where it is restricted
    eta: Array  # (n,)
    bends: Array  # (10, n), see `Family.bends`, or (13, n), see `scaled_cutpoints`
    h: float  # Σ log density, without its constants, − ½uᵀu
    log_det_M: float
    joint: Joint | None  # of a restricted approximation


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorised(Inner):
    """The same with the factors of M, where Python sought it."""

    reduced: pls.Reduced


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Loops:
    """What the compiled search for a mode takes of a model, whatever its parameters (`laplace_loops`)."""

    density: laplace_loops.Density
    pattern: layout.Pattern
    values: layout.Values  # which it overwrites
    held: tuple[Array, ...]  # of which it has addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What eliminating β after u leaves: H = [M, AᵀWX; XᵀWA, XᵀWX]."""

    C: Array  # (m, p) M⁻¹AᵀWX
    R: Array  # (p, p) upper, RᵀR = XᵀWX − XᵀWA C

    @classmethod
    def of(cls, reduced: pls.Reduced, order: Sequence[int]) -> Joint:
        slopes = pls.mode_slopes(reduced)
        p = reduced.XyVXy.shape[0] - 1
        flat = (slopes[k].reshape(slopes[k].shape[0] * slopes[k].shape[1], p) for k in order)
        C = -np.concatenate([np.zeros((0, p)), *flat])
        R, info = lapack.dpotrf(reduced.XyVXy[:p, :p], lower=0, clean=1) if p else (np.zeros((0, 0)), 0)
        if info:
            raise FloatingPointError("XᵀV⁻¹X is not positive definite")
        return cls(C=C, R=R)

    def solve(self, right: Array) -> Array:
        """(XᵀV⁻¹X)⁻¹ of (p,) or (p, c)."""
        if not len(self.R):
            return right
        return lapack.dpotrs(self.R, right, lower=0)[0]

    def whiten(self, right: Array) -> Array:
        """R⁻ᵀA for A (p, c)."""
        return lapack.dtrtrs(self.R, right, lower=0, trans=1)[0] if len(self.R) else right


class Parameters:
    """Free coordinates of a family's parameters, in their links; of cutpoints the first and logs of the gaps.

    Of a parameter with a linear predictor they are coefficients of its columns, centred and in units of their sds; one
    that is fixed has none.
    """

    def __init__(self, design: Design) -> None:
        family = design.family
        self.ordered = not family.positive_parameters
        self.of_family = family.every_parameter
        self.known = [family.known.get(name) for name in self.of_family]
        self.links = [LINKS[family.parameter_link(name)] for name in self.of_family]
        self.parts = [design.predictors.get(name) for name in self.of_family]
        self.names = tuple(
            name if part is None else part.variable for name, part in zip(self.of_family, self.parts, strict=True)
        )
        self.scales = [None if part is None else _scaling(part.X, part.has_intercept) for part in self.parts]
        self.X = [
            None if part is None or T is None else part.X @ T for part, T in zip(self.parts, self.scales, strict=True)
        ]
        self.shifts = [np.zeros(0) if part is None else part.offset for part in self.parts]
        self.by_row = bool(design.predictors)
        self.n = design.n
        sizes = [
            int(np.prod(design.shape_of(name))) if known_value is None else 0
            for name, known_value in zip(self.names, self.known, strict=True)
        ]
        self.size, ends = sum(sizes), np.cumsum([0, *sizes])
        self.places = [slice(int(start), int(end)) for start, end in zip(ends, ends[1:], strict=False)]

    def place(self, parameter: str) -> int | None:
        """Where a parameter of the family stands; None for one with a linear predictor."""
        if parameter not in self.of_family:  # of a category
            return None
        k = self.of_family.index(parameter)
        return None if self.parts[k] is not None else self.places[k].start

    def parameter_at(self, place: int) -> str:
        """The parameter of the family whose coordinate, or one of its coefficients', stands there."""
        return self.of_family[next(k for k, each in enumerate(self.places) if each.start <= place < each.stop)]

    def values(self, free: Array) -> Array:
        """The parameters as the compiled densities take them: (r,), or (n, r) where rows have their own."""
        if self.ordered:
            return np.cumsum(np.concatenate([free[:1], np.exp(free[1:])]))
        columns = [
            link.to_mean(free[place] if X is None else X @ free[place] + shift)
            if known_value is None
            else np.array([known_value])
            for link, place, X, shift, known_value in zip(
                self.links, self.places, self.X, self.shifts, self.known, strict=True
            )
        ]
        if self.by_row:
            return np.column_stack([np.broadcast_to(column, self.n) for column in columns])
        return np.array([float(column[0]) for column in columns])

    def free(self, parameters: Mapping[str, Array]) -> Array:
        """Coordinates of estimates by their names."""
        if self.ordered:
            values = np.asarray(next(iter(parameters.values())))
            return np.concatenate([values[:1], np.log(np.diff(values))])
        each = [
            np.atleast_1d(link.to_eta(parameters[name])) if T is None else np.linalg.solve(T, parameters[name])
            for name, link, T, known_value in zip(self.names, self.links, self.scales, self.known, strict=True)
            if known_value is None
        ]
        return np.concatenate([np.zeros(0), *each])

    def begin(self, guesses: Array) -> Array:
        """Coordinates at which the unknown parameters are nearly these in all rows; of cutpoints, they are these."""
        if self.ordered:
            return self.free({self.names[0]: guesses})
        each = []
        unknown = [k for k, known_value in enumerate(self.known) if known_value is None]
        for k, guess in zip(unknown, guesses, strict=True):
            link, X, shift = self.links[k], self.X[k], self.shifts[k]
            eta = np.atleast_1d(link.to_eta(guess))
            each.append(eta if X is None else np.linalg.lstsq(X, eta[0] - shift, rcond=None)[0])
        return np.concatenate([np.zeros(0), *each])

    def named(self, free: Array) -> dict[str, Array]:
        """Estimates by their names on the user's scale."""
        if self.ordered:
            return {self.names[0]: self.values(free)}
        named = {
            name: link.to_mean(free[place])[0] if T is None else T @ free[place]
            for name, link, place, T, known_value in self._each()
            if known_value is None
        }
        return named | {
            name: np.asarray(known_value) for name, *_, known_value in self._each() if known_value is not None
        }

    def _each(self) -> Iterator[tuple[str, Link, slice, Array | None, float | None]]:
        """(variable, link, place, scaling of its columns, value if it is fixed) of every parameter."""
        yield from zip(self.names, self.links, self.places, self.scales, self.known, strict=True)

    def errors(self, free: Array, covariance: Array) -> dict[str, Array]:
        """Standard errors of coefficients and cutpoints on the user's scale, of other parameters in their links."""
        if self.ordered:
            J = self.jacobian(free)
            return {self.names[0]: np.sqrt(np.diag(J @ covariance @ J.T))}
        out: dict[str, Array] = {}
        for name, _, place, T, known_value in self._each():
            if known_value is not None:
                continue
            block = covariance[place, place]
            out[name] = np.sqrt(block[0, 0]) if T is None else np.sqrt(np.diag(T @ block @ T.T))
        return out

    def covariance(self, name: str, covariance: Array) -> Array:
        """That of the coefficients (p, p) of a linear predictor on the user's scale, from that of the coordinates."""
        k = self.names.index(name)
        T, place = self.scales[k], self.places[k]
        assert T is not None
        return T @ covariance[place, place] @ T.T

    def jacobian(self, free: Array) -> Array:
        """∂values/∂free (r, size) of parameters that are the same in all rows."""
        if self.ordered:
            J = np.tril(np.ones((self.size, self.size)))
            J[:, 1:] *= np.exp(free[1:])
            return J
        J = np.zeros((len(self.of_family), self.size))
        for k, (_, link, place, _, known_value) in enumerate(self._each()):
            if known_value is None:
                J[k, place] = link.slope(free[place])
        return J

    def pull_back(self, free: Array, by_row: Array) -> Array:
        """Derivatives by the coordinates, from those by the parameters of each row (r, n)."""
        out = np.empty(self.size)
        arguments = zip(self.links, self.places, self.X, self.shifts, strict=True)
        for k, (link, place, X, shift) in enumerate(arguments):
            if X is None:
                out[place] = by_row[k].sum() * link.slope(free[place])
            else:
                out[place] = X.T @ (by_row[k] * link.slope(X @ free[place] + shift))
        return out


def _scaling(X: Array, centred: bool) -> Array:
    """T (p, p) for which XT has columns of mean zero, beside an intercept, and of mean square one."""
    p = X.shape[1]
    T, constant = np.eye(p), np.ptp(X, axis=0) == 0.0
    if centred:
        intercept = int(np.flatnonzero(constant & (X[0] == 1.0))[0])
        slopes = [j for j in range(p) if j != intercept]
        T[intercept, slopes] = -X[:, slopes].mean(axis=0)
    return T / np.maximum(np.sqrt(np.mean((X @ T) ** 2, axis=0)), 1e-300)


MOST_PRODUCTS = 500_000_000  # of the columns of a wide term, whose cross-products change from step to step


def narrowed(design: Design) -> Problem:
    """The arrays of a design with every wide term as one level of as many effects that share an sd.

    Under weights that change from step to step no rotation makes its cross-products diagonal.

    Raises
    ------
    NotAvailableError
        Its effects are correlated, or too many.
    """
    problem = Problem.of(design)
    codes, Z, levels = list(problem.codes), list(problem.Z), list(problem.levels)
    blocks, structures = list(problem.blocks), list(problem.structures)
    for k, group in enumerate(design.groups):
        if not isinstance(group, WideTerm):
            continue
        if group.q > 1:
            raise NotAvailableError(
                f"{group.texts[0]}: point estimates of {design.family.option} take one effect a level of a {group.kind}"
                ", or several that are independent, ||. The posterior, fit(), has correlated ones."
            )
        columns = group.loadings
        if design.n * columns.shape[1] ** 2 > MOST_PRODUCTS:
            raise NotAvailableError(
                f"{group.texts[0]}: {columns.shape[1]:,} effects that hang together, of {design.n:,} rows, are too "
                f"many for point estimates of {design.family.option}, whose cross-products change from step to step. "
                "The posterior, fit(), has them."
            )
        codes[k], Z[k], levels[k] = np.zeros(design.n, dtype=np.int64), columns, 1
        blocks[k], structures[k] = (tuple(range(columns.shape[1])),), (INDEPENDENT_ALIKE,)
    return replace(
        problem,
        codes=tuple(codes),
        Z=tuple(Z),
        levels=tuple(levels),
        blocks=tuple(blocks),
        structures=tuple(structures),
        wide=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Where a search begins: least squares on the scale of the link."""

    beta: Array  # (p,) of the responses' own linear predictors
    level: Array  # (p,) of that of the mean response alone
    sigma: float  # root of the mean Pearson residual's square around the first
    spread: float  # sd of the linear predictors


class Approximation:
    """Minus log likelihood of a design by Laplace's approximation, as a function of ψ = (β̃, θ̃, φ̃), or (θ̃, φ̃).

    β̃ and θ̃ are of scaled columns (`scaling`), φ̃ the family's parameters in `Parameters`.
    """

    can_loop = False  # whether compiled loops take it

    def __init__(self, design: Design, *, restricted: bool = False) -> None:
        problem = narrowed(design)
        self.design, self.family, self.restricted = design, design.family, restricted
        self.templates = problem.templates
        centred = scale(problem)
        self.T_x = centred.T_x
        # rows of a wide term have a mean square of one, not its columns: as its rotation has them
        self.T_z = tuple(
            T / np.sqrt(len(T)) if group.is_wide else T for T, group in zip(centred.T_z, design.groups, strict=True)
        )
        X = design.X @ self.T_x
        Z = [z @ T for z, T in zip(problem.Z, self.T_z, strict=True)]
        self.with_X = Reweighted.of(X, problem.codes, Z, problem.levels)
        self.alone = Reweighted.of(X[:, :0], problem.codes, Z, problem.levels)
        self.X, self.offset, self.order = X, np.asarray(design.offset), self.alone.layout.order
        self.loops = design.in_loops  # as the compiled loops take it
        self.kind, self.link = numbers(self.loops.family.of_loops)
        ones = np.ones(design.n)
        self.y = np.ascontiguousarray(self.loops.working_response, dtype=float)
        self.trials = ones if design.trials is None else np.ascontiguousarray(design.trials, dtype=float)
        low, high = self.loops.working_ends
        high = ones if high is None else high
        self.response = np.ascontiguousarray(low, dtype=float), np.ascontiguousarray(high, dtype=float)
        self.weights = ones if design.weights is None else np.ascontiguousarray(design.weights, dtype=float)
        self.counted = self.loops.likelihood_weights  # (n,) how often each row counts, if not once
        self.constant = float(np.sum(self.loops.density_constants * self.loops.counted))
        self.distinct, self.counts = self.loops.distinct_responses()
        self._prepare(design, X.shape[1])
        # what compiled loops can take: rows with the same parameters, all of which count, effects without a dense rest
        self.can_loop = (
            not restricted
            and isinstance(self.parameters, Parameters)
            and not self.parameters.by_row
            and (self.counted is None or bool((self.counted > 0.0).all()))
            and 0 < self.m == self.alone.layout.m_chain
        )

    def _prepare(self, design: Design, p: int) -> None:
        """What the search keeps beside the rows of p columns, where they are laid out."""
        has_scale = bool(design.family.parameters_by_row)
        self.parameters: Parameters | ScaledCutpoints = ScaledCutpoints(design) if has_scale else Parameters(design)
        self.p, self.m = p, self.alone.layout.m
        self.n_theta = sum(template.n_theta for template in self.templates)
        self.n_beta = 0 if self.restricted else self.p
        self.size = self.n_beta + self.n_theta + self.parameters.size
        self.diagonal = np.concatenate([np.zeros(0, bool), *(template.is_diagonal for template in self.templates)])
        self.correlation = np.concatenate(
            [np.zeros(0, bool), *(template.is_correlation for template in self.templates)]
        )
        self.ends = np.cumsum([template.n_theta for template in self.templates])
        self.evaluations = 0
        self.held = np.zeros(self.size, dtype=bool)  # parameters that are not searched
        self.limits = frozenset(limits_of(design))  # parameters of the family that may go to an end
        self.has_rivals = bool(beside_dispersion(design))  # effects and a parameter that spread the rows alike
        self.last: Inner | None = None  # where the next search for û starts
        self.last_values: Array | None = None  # the family's parameters where a likelihood was computed last
        self.first_beta = np.zeros(self.p)  # and for β̂ of a restricted one, before there is a last

    @cached_property
    def _loops(self) -> _Loops:
        """What they are handed, made when they are first used."""
        values = self.alone.layout.values
        low, high, weights = held = (*self.response, self.weights)
        return _Loops(
            density=laplace_loops.Density(
                bends_address(),
                self.kind,
                self.link,
                low.ctypes.data,
                high.ctypes.data,
                weights.ctypes.data,
                np.ones(len(self.y)) if self.counted is None else np.ascontiguousarray(self.counted, dtype=float),
            ),
            pattern=self.alone.layout.pattern,
            values=values._replace(
                ZtZ=np.zeros_like(values.ZtZ),
                ZtXy=np.zeros_like(values.ZtXy),
                pair_values=np.zeros_like(values.pair_values),
                XytXy=np.zeros_like(values.XytXy),
            ),
            held=held,
        )

    # -- coordinates

    def split(self, psi: Array) -> tuple[Array, Array, Array]:
        """β̃, θ̃ and φ̃."""
        first, after = self.n_beta, self.n_beta + self.n_theta
        return psi[:first], psi[first:after], psi[after:]

    @property
    def theta_at(self) -> slice:
        """Where θ̃ stands in ψ."""
        return slice(self.n_beta, self.n_beta + self.n_theta)

    def lams(self, theta: Array) -> list[Array]:
        """Λ̃_k from θ̃, which has no bounds (`Template.unbounded`)."""
        return [template.unbounded_factor(part) for template, part in self._with_templates(theta)]

    def gradient(self, theta: Array, by_lam: Sequence[Array]) -> Array:
        """Slopes by θ̃ from those by Λ̃_k."""
        arguments = zip(self._with_templates(theta), by_lam, strict=True)
        return np.concatenate(
            [np.zeros(0), *(template.unbounded_gradient(part, by) for (template, part), by in arguments)]
        )

    def bounded(self, theta: Array) -> Array:
        """θ̃ as solutions have it, with correlations themselves."""
        return np.concatenate([np.zeros(0), *(t.bounded(part) for t, part in self._with_templates(theta))])

    def unbounded(self, theta: Array) -> Array:
        """The other way."""
        return np.concatenate([np.zeros(0), *(t.unbounded(part) for t, part in self._with_templates(theta))])

    def at_boundary(self, theta: Array) -> NDArray[np.bool_]:
        """Which θ̃ stand at a boundary, or say nothing there."""
        of_templates = (t.at_boundary(part) for t, part in self._with_templates(theta))
        return np.concatenate([np.zeros(0, dtype=bool), *of_templates])

    def canonical(self, theta: Array) -> Array:
        """The same covariance matrices with a diagonal of Λ̃, and sds, that are not negative."""
        of_templates = (t.signs(t.unbounded_factor(part)) * part for t, part in self._with_templates(theta))
        theta = np.concatenate([np.zeros(0), *of_templates])
        return np.where(self.diagonal, np.abs(theta), theta)

    def _with_templates(self, theta: Array) -> Iterator[tuple[Template, Array]]:
        """(template, its part of θ̃)."""
        start = 0
        for template in self.templates:
            yield template, theta[start : start + template.n_theta]
            start += template.n_theta

    # -- what a search asks of the rows besides

    def regression(self) -> Regression:
        """Least squares on the scale of the link."""
        family, offset = self.family, self.offset
        shares = self.design.y / np.maximum(self.trials, 1.0) if family.has_trials else self.y
        with np.errstate(all="ignore"):
            mean, z = linked(family, shares, self.trials, offset)
            beta = np.linalg.lstsq(self.X, z, rcond=None)[0]
            pearson = pearson_squares(family, shares, family.mean(self.X @ beta + offset)) * self.weights
        average = np.full(self.design.n, float(family.eta(mean.mean())))
        return Regression(
            beta=beta,
            level=np.linalg.lstsq(self.X, average - offset, rcond=None)[0],
            sigma=float(np.sqrt(np.clip(np.nan_to_num(pearson.mean(), nan=1.0), 1e-12, 1e12))),
            spread=float(np.std(z)),
        )

    # -- the inner problem

    def bends(self, eta: Array, values: Array, rows: int = 3) -> Array:
        """Log density of each row without its constants, and its first two derivatives by η, (3, n); or all of (10, n).

        The rest are as in `Family.bends`, and of a family with a scale three more by its logarithm, (13, n).
        """
        out = np.empty((rows, len(eta)))
        with np.errstate(all="ignore"):
            of_rows = each_bend_by_row if values.ndim == 2 else each_bend
            relative_eta, of_loops, scale = self.family.for_loops(eta, values)
            of_rows(self.kind, self.link, *self.response, self.weights, relative_eta, of_loops, out)
            if isinstance(scale, np.ndarray):
                out = bends_by_scale(out, relative_eta, of_loops, self.y.astype(np.int64), scale)
        if self.counted is None:
            return out
        with np.errstate(invalid="ignore"):
            out *= self.counted
        out[:, self.counted == 0.0] = 0.0  # of a density that is not finite as well
        return out

    def fixed_log_density(self, beta: Array, values: Array) -> float:
        """Σ log density without effects, and without its constants."""
        return _total(self.bends(self.X @ beta + self.offset, values)[0])

    def eta(self, beta: Array, lams: Sequence[Array], u: Array) -> Array:
        """The linear predictor (n,)."""
        eta = self.X @ beta + self.offset
        return eta + self.alone.effect(self.alone.scaled(lams, u[:, None])[:, 0]) if self.m else eta

    def inner(self, beta: Array, lams: Sequence[Array], values: Array, start: Array, *, joint: bool) -> Factorised:
        """û, and β̂ where it is a mode as well (``joint``), by Newton's method with halved steps.

        Raises
        ------
        FloatingPointError
            There is no mode to be reached: the density is zero or infinite, or its curvature has the wrong sign.
        """
        rows = self.with_X if joint else self.alone
        transposed = [lam.T for lam in lams]
        u, beta = start.copy(), beta.copy()
        eta = self.eta(beta, lams, u)
        bends = self.bends(eta, values)
        h = _total(bends[0]) - 0.5 * float(u @ u)
        if not np.isfinite(h):
            raise FloatingPointError("the density of the responses is zero or infinite at the start")
        smallest = np.inf
        for _ in range(INNER_STEPS):
            reduced, exact = self._factorise(rows, -bends[2], lams)
            g_u = rows.scaled(transposed, rows.sums(bends[1])[:, None])[:, 0] - u
            step_u = pls.solve_M(reduced, g_u[:, None].copy())[:, 0]
            step_b, normal_equations, promised = np.zeros_like(beta), None, float(step_u @ g_u)
            if joint:
                normal_equations = Joint.of(reduced, self.order)
                left = self.X.T @ bends[1] - normal_equations.C.T @ g_u
                step_b = normal_equations.solve(left)
                step_u = step_u - normal_equations.C @ step_b
                promised += float(step_b @ left)
            level = 1.0 + abs(h)
            if not promised > SURE * level or (promised <= CLOSE * level and promised >= 0.1 * smallest):
                break  # there, or as near as rounding lets it
            smallest = min(promised, smallest)
            along = self.X @ step_b
            if self.m:
                along = along + rows.effect(rows.scaled(lams, step_u[:, None])[:, 0])
            size = 1.0
            for _ in range(HALVINGS):
                trial = self.bends(eta + size * along, values)
                moved = u + size * step_u
                trial_h = _total(trial[0]) - 0.5 * float(moved @ moved)
                if trial_h >= h + 1e-4 * size * promised - 1e-13 * level:
                    break
                size *= 0.5
            else:
                break
            u, beta, eta, bends, h = moved, beta + size * step_b, eta + size * along, trial, trial_h
        if not promised <= 1e3 * CLOSE * (1.0 + abs(h)):
            raise FloatingPointError("the modes of the effects were not reached")
        if not exact:
            raise FloatingPointError("the effects have no mode: the curvature has the wrong sign")
        return Factorised(
            u=u,
            beta=beta,
            eta=eta,
            bends=self.bends(eta, values, 10),
            h=h,
            log_det_M=reduced.log_det_M,
            joint=normal_equations,
            reduced=reduced,
        )

    def _by_loops(
        self, beta: Array, lams: Sequence[Array], values: Array, *, with_slopes: bool
    ) -> tuple[Inner, laplace_loops.Mode] | None:
        """The inner solution by compiled loops, from the last one; None where they are not for it, or break down."""
        if not (self.can_loop and laplace_loops.is_ready()):
            return None
        loops, n = self._loops, len(self.y)
        lam = np.concatenate([lams[k].reshape(-1) for k in self.order])
        mode = laplace_loops.Mode(
            np.zeros(self.m) if self.last is None else self.last.u.copy(),
            np.empty(n),
            np.empty((10, n)),
            np.empty(n),
            np.empty((2, n)),
            np.empty(len(lam)),
            np.empty(3),
        )
        fixed = self.X @ beta + self.offset
        laplace_loops.find_mode(
            self.alone.rows, loops.pattern, loops.values, loops.density, values, lam, fixed, with_slopes, mode
        )
        h, log_det_M, is_sound = mode.numbers.tolist()
        if not is_sound:
            return None
        inner = Inner(u=mode.u, beta=beta, eta=mode.eta, bends=mode.bends, h=h, log_det_M=log_det_M, joint=None)
        return inner, mode

    def _factorise(self, rows: Reweighted, W: Array, lams: Sequence[Array]) -> tuple[pls.Reduced, bool]:
        """M, and whether it is that of these weights: elsewhere than at a mode they may have to be above zero."""
        try:
            return rows.reduce(W, lams), True
        except FloatingPointError:
            if not np.isfinite(W).all():
                raise
            with np.errstate(over="ignore"):
                size = float(np.mean(np.abs(W)))
            if not np.isfinite(size):
                raise
            return rows.reduce(np.maximum(W, 0.0) + 1e-3 * size, lams), False

    def curved(self, inner: Inner, lams: Sequence[Array], least: float = -np.inf) -> pls.Reduced:
        """M at the modes, of weights that are this at least, and X reduced beside it."""
        return self.with_X.reduce(np.maximum(-inner.bends[2], least), lams)

    def each_lam(self, lams: Sequence[Array]) -> Sequence[Array]:
        """Λ̃ of every random term, of those of each factor."""
        return lams

    def _at_modes(self, inner: Inner, lams: Sequence[Array]) -> pls.Reduced:
        """M at the modes."""
        return self.alone.reduce(-inner.bends[2], lams)

    def terms(self, inner: Inner, lams: Sequence[Array]) -> Iterator[tuple[GroupTerm, Array, Array, Array]]:
        """(term, Λ on the user's columns, modes u (J, q), blocks of M⁻¹ (J, q, q)) of every random term."""
        V = pls.inverse(self._at_modes(inner, lams))
        u = self.alone.by_factor(inner.u)
        yield from zip(
            self.design.groups, (T @ lam for T, lam in zip(self.T_z, lams, strict=True)), u, V.diagonal, strict=True
        )

    def coefficients(self, beta: Array, vcov: Array) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """β̂ as solutions have it; by their names coefficients of other linear predictors, and their errors."""
        return beta, {}, {}

    def coefficients_of(self, solution: PointSolution) -> Array:
        """β̂ (p,) of a solution, on the user's columns."""
        return solution.beta

    def separating(self, inner: Inner) -> Array:
        """Where some rows are certain, whether that is separation: a direction (p,) of β̃, without entries if not."""
        if not can_separate(self.design) or not (-inner.bends[2] < CERTAIN * self.trials).any():
            return np.zeros(0)
        return separating(self.design, self.X)

    # -- the approximation

    def at(self, psi: Array) -> tuple[float, Array, Inner]:
        """Minus log likelihood, its gradient and the inner solution.

        Raises
        ------
        FloatingPointError
            The inner problem has no solution.
        """
        beta, theta, free = self.split(psi)
        value, by_beta, by_lam, by_free, inner = self.evaluate(beta, self.lams(theta), free)
        gradient = np.concatenate([by_beta[: self.n_beta], self.gradient(theta, by_lam), by_free])
        return value, gradient, inner

    def evaluate(
        self, beta: Array, lams: Sequence[Array], free: Array
    ) -> tuple[float, Array, list[Array], Array, Inner]:
        """Minus log likelihood, its slopes by β̃, Λ̃_k (of whatever form) and φ̃, and the inner solution.

        Raises
        ------
        FloatingPointError
            The inner problem has no solution.
        """
        self.evaluations += 1
        with np.errstate(all="ignore"):
            values = self.parameters.values(free)
        self.refuse_perfect(values)
        answer = self._by_loops(beta, lams, values, with_slopes=True)
        with np.errstate(all="ignore"):  # what is not finite is refused
            inner: Inner
            if answer is not None:
                inner, mode = answer
                slopes = self._slopes_of(mode, lams, values, free)
            else:
                inner = self._factorised(beta, lams, values)
                slopes = self._slopes(inner, lams, values, free)
            value = self._value(inner, values)
        if not (np.isfinite(value) and all(np.isfinite(part).all() for part in (slopes[0], *slopes[1], slopes[2]))):
            raise FloatingPointError("the log likelihood or its gradient is not finite")
        self.last_values = values
        return value, *slopes, inner

    def mode(self, beta: Array, lams: Sequence[Array], values: Array) -> Inner:
        """The inner solution, sought from the last one, and from zero effects where that fails.

        Raises
        ------
        FloatingPointError
            As `inner`.
        """
        answer = self._by_loops(beta, lams, values, with_slopes=False)
        return self._factorised(beta, lams, values) if answer is None else answer[0]

    def _factorised(self, beta: Array, lams: Sequence[Array], values: Array) -> Factorised:
        """The same by Python, with the factors of M."""
        laplace_loops.is_ready.evaluations += self.can_loop
        if self.last is not None:
            start, beta = self.last.u, self.last.beta if self.restricted else beta
        else:
            start, beta = np.zeros(self.m), self.first_beta if self.restricted else beta
        try:
            return self.inner(beta, lams, values, start, joint=self.restricted)
        except FloatingPointError:
            if not start.any():
                raise
            return self.inner(beta, lams, values, np.zeros(self.m), joint=self.restricted)

    @property
    def has_free_dispersion(self) -> bool:
        """Whether the first parameter of the family is a dispersion, and unknown."""
        return self.family.has_free_dispersion and self.family.every_parameter[0] not in self.family.known

    def refuse_perfect(self, values: Array, *, stuck: bool = False) -> None:
        """Raise FitError where the dispersion has gone, by which the likelihood may have no bound.

        A search that got stuck is judged by a coefficient of variation that rounding may leave.
        """
        family = self.family
        if not self.has_free_dispersion:
            return
        of_rows, dispersion = np.atleast_2d(values)[:, 0], family.every_parameter[0]
        if dispersion == "sigma":
            first = float(of_rows.min())
            perfect = first < PERFECT * float(np.std(self.y))
        else:
            first = float(of_rows.max())
            perfect = first > 1.0 / PERFECT**2
            if stuck and family.has_positive_mean:
                variances = family.variance(np.ones(len(of_rows)), {dispersion: of_rows})
                perfect = float(np.min(variances)) < NEARLY_PERFECT**2
        if perfect:
            raise FitError(
                f"the residual variance goes away ({dispersion} goes to {first:.2g}): {family.without_dispersion}"
            )

    def normaliser(self, values: Array) -> tuple[float, Array]:
        """What the parameters add to the log density of all rows whatever η, and its slopes by them."""
        if values.ndim == 2:
            return float(self._normalisers(values)[0].sum()), np.zeros(0)
        gradient, total = np.zeros(max(2, len(values))), np.zeros(1)
        if self.loops.family.of_loops.normaliser is not None:
            n = float(self.loops.n_counted)
            add_normaliser(self.kind, n, values, self.distinct, self.counts, gradient, total)
        if self.family.between is None:
            return float(total[0]), gradient[: len(values)]
        of_ends, slopes = self.at_ends(values)
        return float(total[0]) + float(of_ends.sum()), gradient[: len(values)] + slopes.sum(axis=1)

    def at_ends(self, values: Array) -> tuple[Array, Array]:
        """What ends with probabilities of their own add to the rows (n,) whatever η, and its slopes (r, n).

        Nothing of a family without such ends: (0,) and (r, 0) then.
        """
        names = self.parameters.of_family
        if self.family.between is None:
            return np.zeros(0), np.zeros((values.shape[-1], 0))
        value, by = self.family.at_ends(self.design.y, dict(zip(names, values.T, strict=True)))
        slopes = np.zeros((len(names), self.design.n))
        for k, name in enumerate(names):
            slopes[k] = by.get(name, 0.0)
        return value * self.design.counted, slopes * self.design.counted

    def _normalisers(self, values: Array) -> tuple[Array, Array]:
        """`normaliser` of rows (n,) with parameters (n, r) of their own, and its derivatives by these (r, n)."""
        out, gradient = np.zeros(len(self.y)), np.zeros((len(self.y), max(2, values.shape[1])))
        takes_y = self.family.normaliser_takes_y
        each_normaliser(self.kind, takes_y, self.y, values, out, gradient)
        out, slopes = out * self.loops.counted, gradient.T[: values.shape[1]] * self.loops.counted
        if self.family.between is None:
            return out, slopes
        of_ends, by_ends = self.at_ends(values)
        return out + of_ends, slopes + by_ends

    def _value(self, inner: Inner, values: Array) -> float:
        total = inner.h + self.constant + self.normaliser(values)[0] - 0.5 * inner.log_det_M
        if inner.joint is not None and self.p:
            total += 0.5 * self.p * np.log(2.0 * np.pi) - float(np.log(inner.joint.R.diagonal()).sum())
        return -total

    def _slopes_of(
        self, mode: laplace_loops.Mode, lams: Sequence[Array], values: Array, free: Array
    ) -> tuple[Array, list[Array], Array]:
        """What `_slopes` gives, of what the compiled loops have filled."""
        by_lam, start = list(lams), 0
        for k in self.order:
            by_lam[k] = mode.by_lam[start : start + lams[k].size].reshape(lams[k].shape)
            start += lams[k].size
        by_free = self.by_coordinates(list(mode.each), values, free) if len(values) else np.zeros(0)
        return -(self.X.T @ mode.by_eta), by_lam, -by_free

    def _slopes(
        self, inner: Factorised, lams: Sequence[Array], values: Array, free: Array
    ) -> tuple[Array, list[Array], Array]:
        rows = self.with_X if self.restricted else self.alone
        _, d1, d2, d3, *by = inner.bends
        W, joint, transposed = -d2, inner.joint, [lam.T for lam in lams]
        selected = pls.selected_inverse(inner.reduced)
        s = rows.leverages(selected, lams)
        if joint is not None:
            beside = self._beside(rows, lams, joint)  # X − AC
            s = s + (joint.whiten(beside.T) ** 2).sum(axis=0)
        c = 0.5 * s * d3
        right = rows.scaled(transposed, rows.sums(c)[:, None])
        v, shift = pls.solve_M(inner.reduced, right.copy())[:, 0], np.zeros(len(c))
        if joint is not None:
            v_beta = joint.solve(self.X.T @ c - joint.C.T @ right[:, 0])
            v = v - joint.C @ v_beta
            shift = self.X @ v_beta
        if self.m:
            shift = shift + rows.effect(rows.scaled(lams, v[:, None])[:, 0])
        r = d1 + c - W * shift
        by_lam = []
        u_k, v_k = rows.by_factor(inner.u), rows.by_factor(v)
        Zr, Zd = rows.by_factor(rows.sums(r)), rows.by_factor(rows.sums(d1))
        G = list(pls.inverse(inner.reduced, selected).G)
        if joint is not None:  # β̂ beside û in the inverse: Zᵀ W (X − AC) (XᵀV⁻¹X)⁻¹ Cᵀ
            weighted, half = joint.whiten(beside.T).T * W[:, None], joint.whiten(joint.C.T.copy()).T
            for left, right_column in zip(weighted.T, half.T, strict=True):
                sums = rows.by_factor(rows.sums(np.ascontiguousarray(left)))
                reached = rows.by_factor(np.ascontiguousarray(right_column))
                for k in range(len(G)):
                    G[k] = G[k] - sums[k].T @ reached[k]
        for k in range(len(lams)):
            by_lam.append(G[k] - Zr[k].T @ u_k[k] - Zd[k].T @ v_k[k])
        direct, slope, bend = by[::3], by[1::3], by[2::3]
        each = [direct[k] + 0.5 * s * bend[k] + shift * slope[k] for k in range(len(direct))]
        by_free = self.by_coordinates(each, values, free)
        by_beta = np.zeros(0) if self.restricted else self.X.T @ r
        return -by_beta, by_lam, -by_free

    def by_coordinates(self, each: Sequence[Array], values: Array, free: Array) -> Array:
        """Slopes by the coordinates of the family's parameters, from those of the rows (2, n)."""
        if isinstance(self.parameters, ScaledCutpoints):
            return self.parameters.pull_back(free, each)
        if values.ndim == 2:
            of_rows = self._normalisers(values)[1]
            for k, slopes in zip(range(values.shape[1]), each, strict=False):
                of_rows[k] += slopes
            return self.parameters.pull_back(free, of_rows)
        by_values = self.normaliser(values)[1] + self.by_parameters(each, values)
        return self.parameters.jacobian(free).T @ by_values if len(values) else np.zeros(0)

    def by_parameters(self, each: Sequence[Array], values: Array) -> Array:
        """Slopes by the parameters (r,) from those of the rows (2, n) by the first two, or the cutpoints around."""
        out = np.zeros(len(values))
        for number in range(2):
            if self.parameters.ordered:
                cut = self.y.astype(np.int64) - number
                inside = (cut >= 0) & (cut < len(values))
                out += np.bincount(cut[inside], each[number][inside], minlength=len(values))
            elif number < len(values):
                out[number] += each[number].sum()
        return out

    def _beside(self, rows: Reweighted, lams: Sequence[Array], joint: Joint) -> Array:
        if not self.m or not self.p:
            return self.X
        reached = rows.scaled(lams, joint.C)
        return self.X - np.column_stack(
            [np.zeros((len(self.X), 0)), *(rows.effect(np.ascontiguousarray(col)) for col in reached.T)]
        )


def linked(family: Family, shares: Array, trials: Array, offset: Array) -> tuple[Array, Array]:
    """Means (n,) to begin with and their linear predictors (n,) less the offset."""
    mean = family.start(shares, trials)
    if family.is_binary:
        mean = 0.25 + 0.5 * shares
    z = np.nan_to_num(family.eta(np.maximum(mean, 0.1) if family.is_count else mean)) - offset
    return mean, z


def pearson_squares(family: Family, shares: Array, fitted: Array) -> Array:
    """Squares (n,) of Pearson residuals."""
    return np.asarray((shares - fitted) ** 2 / family.working_variance(np.abs(fitted)))


def _total(values: Array) -> float:
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite one of each sign has no sum
        total = float(values.sum())
    return total if total < np.inf else -np.inf
