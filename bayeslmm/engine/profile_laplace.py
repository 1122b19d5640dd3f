"""Profile likelihood of other than normal responses: by Laplace's approximation or by quadrature, as the fit.

The parameters are those of `profile`, on users' scales; those of the family are followed on the scale of their log.
With one held the others are searched by quasi-Newton steps in a trust region, with the exact gradients of the
approximation, from the point further in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd, sd_and_correlation
from ..design.design import Design
from ..errors import FitError
from ..families import LINKS
from ..tools.arrays import Array
from . import agq, laplace_fit
from .criterion import Evaluation
from .laplace import Approximation
from .laplace_fit import ENDLESS
from .profile import Curve, Parameter, column_order, followed, parameters
from .quadrature import OneFactor
from .reml import PointSolution
from .scaling import Problem

STEPS = 60
AT_REST = 1e-10  # gain of the log likelihood that the next step promises
H, SLOPE = 1e-4, 3e-3  # of differences of gradients, and of likelihoods, in units of the search
ELSEWHERE = 1.5  # coordinate of one from which a search begins anew
FARTHEST_CORRELATION = 3.0  # coordinate of one from which a search begins
FARTHEST = 30.0  # log of a parameter of the family
OUT_OF_REACH = 1e4  # deviance above the smallest where the likelihood cannot be computed
LEAST = 0.1  # relative sd that a search starts from: at zero the derivative says nothing


def profile(design: Design, solution: PointSolution, cutoff: float) -> Iterator[Curve]:
    """The curve of every parameter, followed until |ζ| passes ``cutoff``; see `bayeslmm.engine.profile.profile`.

    Of a restricted fit that of the likelihood itself.
    """
    design.refuse_predictors("a profile likelihood")
    best = agq.estimates(design, nodes=solution.nodes, start=solution) if solution.reml else solution
    approximation = Approximation(design)
    for parameter in parameters(Problem.of(design), design.numbers_of_parameters):
        yield _curve(_Held(approximation, best, parameter), cutoff)


def _curve(held: _Held, cutoff: float) -> Curve:
    curve = followed(held, cutoff)
    if held.link is None:
        return curve
    low, high = held.bounds
    ends = [curve.estimate, -np.inf if curve.low == low else curve.low, np.inf if curve.high == high else curve.high]
    estimate, lowest, highest = map(float, held.link.to_mean(np.array(ends)))
    return replace(curve, estimate=estimate, value=held.link.to_mean(curve.value), low=lowest, high=highest)


class _Held:
    """Minus twice the log likelihood with one parameter held, as a function of the others.

    The others are β̃ without the direction that is held, the entries of Λ̃ and the family's parameters, free.  Of the
    factor to which a held sd or correlation belongs they are the entries of the Cholesky factor on the user's columns
    with the held column first, each over the sd of its row.
    """

    def __init__(self, approximation: Approximation, best: PointSolution, parameter: Parameter) -> None:
        self.approximation, self.parameter, self.minimum = approximation, parameter, best.criterion
        self.nodes, self.integrals = best.nodes, OneFactor(approximation.loops) if best.nodes > 1 else None
        beta, theta, free = approximation.split(laplace_fit.coordinates(approximation, best))
        names, kind = approximation.family.parameters, parameter.kind
        self.place = names.index(parameter.name or "sigma") if kind in ("sigma", "family") else -1
        in_link = self.place >= 0 and not approximation.parameters.ordered
        self.link = LINKS[approximation.family.parameter_link(names[self.place])] if in_link else None
        self.row = approximation.T_x[parameter.a] if kind == "beta" else np.zeros(approximation.p)
        self.outside = np.linalg.svd(self.row[None, :])[2][1:].T if kind == "beta" else np.eye(approximation.p)
        self.at_limit, self.at_limit_ends = self._limits(best)
        self.direct = self._direct()
        self.order = self._order()
        self.unit = self._units(best)
        factors = np.split(theta, approximation.ends[:-1])[: len(approximation.templates)]  # of none there is one piece
        if self.order:
            factors[parameter.factor] = self._entries(best)
        self.shapes = [len(part) for part in factors]
        self.searched = [self._is_searched(k) for k in range(len(factors))]
        self.start = np.concatenate(
            [
                self.outside.T @ beta,
                *(part[is_searched] for part, is_searched in zip(factors, self.searched, strict=True)),
                self._without_held(free),
            ]
        )
        self.estimate = self._estimate(best, free)
        self.scale = self._scale(best)
        approximation.last = None
        self.C = self._whitened()
        self.H = np.eye(self.C.shape[1])
        self.plateau = self._find_plateau(best)

    # -- the coordinates

    def _direct(self) -> int | None:
        """Where a held sd or correlation stands in the factor's coordinates, if it is one of them."""
        if self.parameter.kind not in ("sd", "cor"):
            return None
        for block, structure, offset in self.approximation.templates[self.parameter.factor].curved:
            if self.parameter.a in block:
                a, d = block.index(self.parameter.a), len(block)
                if self.parameter.b < 0:
                    return offset + (0 if structure.hom else a)
                return offset + structure.n_sds(d) + structure.entries(d).index((block.index(self.parameter.b), a))
        return None

    def _order(self) -> list[int]:
        """Columns of the held factor with the held ones first in their block."""
        if self.parameter.kind not in ("sd", "cor") or self.direct is not None:
            return []
        template = self.approximation.templates[self.parameter.factor]
        return column_order(template.q, template.blocks, self.parameter)

    def _limits(self, best: PointSolution) -> tuple[NDArray[np.bool_], Array]:
        """Which of the family's searched parameters are at their limit, and between what a search begins (r, 2)."""
        names = [name for k, name in enumerate(self.approximation.family.parameters) if k != self.place]
        if self.approximation.parameters.ordered:
            return np.zeros(0, dtype=bool), np.zeros((0, 2))
        ends = np.reshape([laplace_fit.ends_of_start(self.approximation, name) for name in names], (len(names), 2))
        return np.array([name in best.limits for name in names], dtype=bool), ends

    def _units(self, best: PointSolution) -> Array:
        if not self.order:
            return np.zeros(0)
        sd = np.sqrt(np.diag(best.covariances[self.parameter.factor]))[self.order]
        T = np.abs(np.diag(self.approximation.T_z[self.parameter.factor]))[self.order]
        return np.where(sd > 0.0, sd, T * laplace_fit.unit_of(self.approximation))

    def _entries(self, best: PointSolution) -> Array:
        k = self.parameter.factor
        template, order = self.approximation.templates[k], np.ix_(self.order, self.order)
        root = cholesky_psd(best.covariances[k][order], template.blocks) / self.unit[:, None]
        return template.unbounded(template.theta(root))

    def _held_columns(self) -> tuple[int, int]:
        a, b = self.parameter.a, self.parameter.b
        return self.order.index(a), self.order.index(b) if b >= 0 else -1

    def _is_searched(self, k: int) -> NDArray[np.bool_]:
        """Which entries of factor k are searched; a held correlation turns the second row into one number, its sd."""
        template = self.approximation.templates[k]
        searched = np.ones(template.n_theta, dtype=bool)
        if k != self.parameter.factor:
            return searched
        if self.direct is not None:
            searched[self.direct] = False
        if self.order:
            rows, columns = np.array(template.rows, dtype=int), np.array(template.columns, dtype=int)
            a, b = self._held_columns()
            held = (rows == a) & (columns == a) if b < 0 else (rows == b) & (columns == a)
            searched[: len(rows)] = ~held
        return searched

    def _without_held(self, free: Array) -> Array:
        """The family's parameters, free, without the held one: beside a held cutpoint the logs of the gaps."""
        if self.place < 0:
            return free
        return free[1:] if self.approximation.parameters.ordered else np.delete(free, self.place)

    def _with_held(self, part: Array, held: float) -> Array:
        if self.place < 0:
            return part
        if self.approximation.parameters.ordered:
            return np.concatenate([[held - np.exp(part[: self.parameter.a]).sum()], part])
        return np.insert(part, self.place, held)

    def _gradient_without_held(self, part: Array, by_free: Array) -> Array:
        if self.place < 0:
            return by_free
        if not self.approximation.parameters.ordered:
            return np.delete(by_free, self.place)
        out, a = by_free[1:].copy(), self.parameter.a
        out[:a] -= by_free[0] * np.exp(part[:a])
        return out

    def _estimate(self, best: PointSolution, free: Array) -> float:
        parameter = self.parameter
        if self.place >= 0:
            cutpoint = self.approximation.parameters.values(free)[max(parameter.a, 0)]
            return float(cutpoint if self.approximation.parameters.ordered else free[self.place])
        if parameter.kind == "beta":
            return float(best.beta[parameter.a])
        sd, correlation = sd_and_correlation(best.covariances[parameter.factor])
        return float(sd[parameter.a] if parameter.kind == "sd" else correlation[parameter.a, parameter.b])

    def _scale(self, best: PointSolution) -> float:
        """A guess at a standard error; the walk corrects it."""
        parameter = self.parameter
        if parameter.kind == "cor":
            return 0.2
        if parameter.kind == "beta":
            se = float(np.sqrt(best.vcov[parameter.a, parameter.a]))
        elif self.place >= 0:
            errors = best.parameter_errors[self.approximation.family.parameters[self.place]]
            se = float(np.atleast_1d(errors)[max(parameter.a, 0)])
        else:
            unit = self.estimate if self.direct is not None else float(self.unit[self._held_columns()[0]])
            unit = unit or self._size_of_direct * laplace_fit.unit_of(self.approximation)
            se = unit / np.sqrt(2.0 * self.approximation.design.groups[parameter.factor].n_levels)
        return se if np.isfinite(se) and se > 0.0 else 0.5

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of the parameter, that of a family's in its link: as far as one with a limit is followed."""
        if self.link is not None:
            return (-float(np.log(ENDLESS)), max(float(np.log(ENDLESS)), self.estimate))
        ranges = {"sd": (0.0, np.inf), "cor": (-1.0, 1.0)}
        if self.parameter.kind == "cor" and self.direct is not None:
            ends = self.approximation.templates[self.parameter.factor].ends
            return float(ends[0][self.direct]), float(ends[1][self.direct])
        return ranges.get(self.parameter.kind, (-np.inf, np.inf))

    # -- the likelihood

    def _parts(self, x: Array, held: float) -> tuple[Array, list[Array], list[Array], Array]:
        """β̃, Λ̃, the entries they are made of and the family's parameters, free."""
        approximation, n_y = self.approximation, self.outside.shape[1]
        beta = self.outside @ x[:n_y]
        if self.parameter.kind == "beta":
            beta = beta + held / float(self.row @ self.row) * self.row
        lams, entries, start = [], [], n_y
        for k, (is_searched, size) in enumerate(zip(self.searched, self.shapes, strict=True)):
            part = np.zeros(size)
            part[is_searched] = x[start : start + is_searched.sum()]
            start += int(is_searched.sum())
            if self.direct is not None and k == self.parameter.factor:
                part[self.direct] = self._coordinate(part, held)
            entries.append(part)
            factor = approximation.templates[k].unbounded_factor(part)
            lams.append(self._lam(factor, held) if self.order and k == self.parameter.factor else factor)
        return beta, lams, entries, self._with_held(x[start:], held)

    def _coordinate(self, part: Array, held: float) -> float:
        """That of a held sd or correlation among those of its factor."""
        if self.parameter.kind == "sd":
            return held / self._size_of_direct
        assert self.direct is not None
        template = self.approximation.templates[self.parameter.factor]
        theta = template.bounded(part)
        theta[self.direct] = held
        return float(template.unbounded(theta)[self.direct])

    @property
    def _size_of_direct(self) -> float:
        """The sd on the user's scale of one in the factor's coordinates."""
        a = self.parameter.a
        return float(self.approximation.T_z[self.parameter.factor][a, a])

    def _lam(self, factor: Array, held: float) -> Array:
        """Λ̃ from the entries on the user's columns."""
        C, (a, b) = factor.copy(), self._held_columns()
        if b < 0:
            C[a, a] = held / self.unit[a]
        else:  # the entry [b, b] is searched as the sd of row b; of either sd the size
            C[a, a], sd = abs(C[a, a]), abs(C[b, b])
            C[b, a], C[b, b] = held * sd, np.sqrt(1.0 - held**2) * sd
        back = np.linalg.inv(self.approximation.T_z[self.parameter.factor])[:, self.order]
        return np.asarray(back @ (C * self.unit[:, None]))

    def _by_entries(self, k: int, entries: Array, by_lam: Array, held: float) -> Array:
        """Slopes by the searched entries of factor k from those by Λ̃."""
        template, is_searched = self.approximation.templates[k], self.searched[k]
        if not self.order or k != self.parameter.factor:
            return template.unbounded_gradient(entries, by_lam)[is_searched]
        back = np.linalg.inv(self.approximation.T_z[k])[:, self.order]
        by_C = (back.T @ by_lam) * self.unit[:, None]
        a, b = self._held_columns()
        if b >= 0:
            signs = np.sign(np.diag(template.unbounded_factor(entries)))
            by_C[b, b] = signs[b] * (held * by_C[b, a] + np.sqrt(1.0 - held**2) * by_C[b, b])
            by_C[a, a] *= signs[a]
        return template.unbounded_gradient(entries, by_C)[is_searched]

    def _values(self, points: Array, held: float) -> Array:
        """Minus log likelihoods of points by quadrature, infinite where they cannot be computed."""
        approximation = self.approximation
        assert self.integrals is not None
        eta, values, roots = [], [], []
        with np.errstate(all="ignore"):
            for x in points:
                beta, lams, _, free = self._parts(x, held)
                eta.append(approximation.X @ beta + approximation.offset)
                values.append(approximation.parameters.values(free) if len(free) else free)
                roots.append(approximation.T_z[0] @ lams[0])
            totals = self.integrals(np.array(eta), np.array(values), np.array(roots), self.nodes)
            totals += [approximation.at_ends(each)[0].sum() for each in values]
        return np.where(np.isfinite(totals), -totals, np.inf)

    def _by_laplace(self, x: Array, held: float) -> tuple[float, Array]:
        """Minus log likelihood by Laplace's approximation and its slopes."""
        beta, lams, entries, free = self._parts(x, held)
        value, by_beta, by_lam, by_free, self.approximation.last = self.approximation.evaluate(beta, lams, free)
        n_free = len(free) - (self.place >= 0)
        part = x[len(x) - n_free :] if n_free else np.zeros(0)
        slopes = [self._by_entries(k, entries[k], by_lam[k], held) for k in range(len(lams))]
        return value, np.concatenate([self.outside.T @ by_beta, *slopes, self._gradient_without_held(part, by_free)])

    def _evaluated(self, x: Array, held: float, C: Array) -> tuple[float, Array]:
        """Value and slopes along the columns of C.

        Raises
        ------
        FloatingPointError
            The likelihood cannot be computed there.
        """
        free = x[len(x) - len(self.at_limit) :] if len(self.at_limit) else np.zeros(0)
        if not np.isfinite(x).all() or (np.abs(free) > FARTHEST).any():
            raise FloatingPointError("the search is far beyond what numbers hold")
        if self.integrals is None:
            value, gradient = self._by_laplace(x, held)
            return value, C.T @ gradient
        steps = SLOPE * C.T
        values = self._values(np.concatenate([[x], x + steps, x - steps]), held)
        if not np.isfinite(values).all():
            raise FloatingPointError("the likelihood is zero or cannot be computed")
        n = len(steps)
        return float(values[0]), np.asarray((values[1 : n + 1] - values[n + 1 :]) / (2.0 * SLOPE))

    def _whitened(self) -> Array:
        """C in whose coordinates the curvature of Laplace's approximation at the estimate is about the unit matrix."""
        d = len(self.start)
        x, held, bend = self._off_zero(self.start), self._inside(self.estimate), np.zeros((d, d))
        for i in range(d):
            step = np.zeros(d)
            step[i] = H * max(1.0, abs(x[i]))
            forward, backward = self._by_laplace(x + step, held)[1], self._by_laplace(x - step, held)[1]
            bend[:, i] = (forward - backward) / (2.0 * step[i])
        return laplace_fit.scales(0.5 * (bend + bend.T))

    def _inside(self, value: float) -> float:
        """A correlation of ±1 drawn in: beyond it there is no covariance matrix."""
        return float(np.clip(value, -0.999, 0.999)) if self.parameter.kind == "cor" else value

    def _off_zero(self, x: Array) -> Array:
        """Zeros on the diagonals moved, and parameters at their limit: there the derivative says nothing."""
        diagonals = [
            (np.array(template.is_diagonal, dtype=bool)[is_searched])
            for template, is_searched in zip(self.approximation.templates, self.searched, strict=True)
        ]
        n_y, pivots = self.outside.shape[1], np.concatenate([np.zeros(0, dtype=bool), *diagonals])
        out = x.copy()
        part = slice(n_y, n_y + len(pivots))
        least = LEAST * (laplace_fit.unit_of(self.approximation) if not self.order else 1.0)
        out[part] = np.where(pivots & (np.abs(x[part]) < least), least, x[part])
        out[part] = np.where(
            self._is_correlation, np.clip(out[part], -FARTHEST_CORRELATION, FARTHEST_CORRELATION), out[part]
        )
        if self.at_limit.any():  # nearer, where the slope still says something
            ends = np.log(np.maximum(self.at_limit_ends, 1e-300))
            parameters = slice(len(x) - len(ends), None)
            out[parameters] = np.where(self.at_limit, np.clip(out[parameters], *ends.T), out[parameters])
        return out

    def elsewhere(self, x: Array) -> list[Array]:
        """Points with the searched correlations of `curved` blocks on either side."""
        n_y, starts = self.outside.shape[1], []
        places = n_y + np.flatnonzero(self._is_correlation)
        for coordinate in (-ELSEWHERE, ELSEWHERE) if len(places) else ():
            start = x.copy()
            start[places] = coordinate
            starts.append(start)
        return starts

    @property
    def _is_correlation(self) -> NDArray[np.bool_]:
        """Which of the searched entries of Λ̃ are correlations of `curved` blocks."""
        correlations = [
            template.is_correlation[is_searched]
            for template, is_searched in zip(self.approximation.templates, self.searched, strict=True)
        ]
        return np.concatenate([np.zeros(0, dtype=bool), *correlations])

    # -- the search

    def deviance(self, held: float, start: Array) -> tuple[float, Array]:
        """Smallest minus twice log likelihood with the parameter held, and where the search ended."""
        try:
            value, x = self._search(held, self._off_zero(start))
        except (FloatingPointError, FitError, np.linalg.LinAlgError):
            return self.minimum + OUT_OF_REACH, start
        return min(2.0 * value, self.plateau), x

    def _search(self, held: float, x: Array) -> tuple[float, Array]:
        C, H, radius = self.C, self.H, 1.0
        value, gradient = self._evaluated(x, held, C)
        if not len(x):
            return value, x
        for _ in range(STEPS):
            curvatures, axes = np.linalg.eigh(H)
            evaluation = Evaluation(theta=x, value=value, gradient=gradient, curvatures=curvatures, axes=axes)
            step = evaluation.step_within(radius)
            promise = evaluation.promise(step)
            if promise < AT_REST or radius < 1e-7:
                break
            length = float(np.linalg.norm(step))
            try:
                new, new_gradient = self._evaluated(x + C @ step, held, C)
            except (FloatingPointError, FitError):
                radius = 0.25 * length
                continue
            miss = new_gradient - gradient - H @ step
            if abs(miss @ step) > 1e-8 * float(np.linalg.norm(miss)) * length:
                H = H + np.outer(miss, miss) / (miss @ step)
            gain = (value - new) / promise
            radius = (
                0.25 * length if gain < 0.25 else 2.5 * radius if gain > 0.75 and length > 0.99 * radius else radius
            )
            if new < value:
                x, value, gradient = x + C @ step, new, new_gradient
        self.H = H
        return value, x

    def _find_plateau(self, best: PointSolution) -> float:
        """Smallest deviance where one of a held correlation's sds is zero, and the correlation says nothing."""
        if self.parameter.kind != "cor":
            return np.inf
        ends, columns = [], [self.parameter.a, self.parameter.b]
        if self.direct is not None:
            curved = self.approximation.templates[self.parameter.factor].curved
            block, hom = next((block, structure.hom) for block, structure, _ in curved if columns[0] in block)
            columns = [block[0]] if hom else columns if len(block) == 2 else []  # others still tell it
        for column in columns:
            sd = _Held(self.approximation, best, replace(self.parameter, kind="sd", a=column, b=-1))
            ends.append(sd.deviance(0.0, sd.start)[0])
        return min(ends, default=np.inf)
