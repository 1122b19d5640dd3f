"""Verdict on influence: whether single levels of a factor carry the fixed effects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd
from ..design.design import Design, GroupTerm
from ..engine import pls
from ..engine.criterion import prepare
from ..engine.scaling import Problem
from ..engine.working import working
from ..errors import NotAvailableError, SamplingWarning
from ..results.alike import solved
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.summaries import flat
from ..results.text import number
from ..results.variance import nesting
from ..tools.arrays import Array
from ..tools.lazy import special
from ..tools.warned import muted
from .groups import NO_GROUPS
from .verdict import CHANCE, FEWEST_DRAWS, LIMITS, Verdict, no_answer, worst

MOST_LEVELS = 200  # of a crossed factor, which are left out one by one
FAR_OUT = 2.0  # standard errors of a shift that deserves a look although the level's predictors explain it
ALONE = 1e-6  # share of what is told of a coefficient by the other levels, under which a level tells it alone


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Working:
    """A linear mixed model with known variances: the fit itself, or what stands for it near its fitted values.

    Attributes
    ----------
    problem : Problem
    covariances : tuple of (q, q)
    sigma : float
    """

    problem: Problem
    covariances: tuple[Array, ...]
    sigma: float

    def rows(self, kept: NDArray[np.bool_]) -> Working:
        """The same on some of its rows."""
        p = self.problem
        cut = replace(
            p,
            y=p.y[kept],
            X=p.X[kept],
            codes=tuple(code[kept] for code in p.codes),
            Z=tuple(Z[kept] for Z in p.Z),
            weights=None if p.weights is None else p.weights[kept],
        )
        return replace(self, problem=cut)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """β̂ (p,), A⁻¹ = (XᵀV⁻¹X)⁻¹, V⁻¹X (n, p) and V⁻¹(y − Xβ̂) (n,), V in units of σ²."""

    beta: Array
    inverse: Array
    VX: Array
    Vr: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shifts:
    """How the fixed effects move when one level is left out: β̂ − β̂₍ⱼ₎.

    Attributes
    ----------
    group : GroupTerm
    shift : (J, p)
        In standard errors.
    surprise : (J, p)
        In units of its sd under the model.
    """

    group: GroupTerm
    shift: Array
    surprise: Array

    def table(self, names: tuple[str, ...]) -> pd.DataFrame:
        """One row a level."""
        table = pd.DataFrame(self.shift, columns=[f"shift[{name}]" for name in names])
        table.insert(0, "level", pd.Series(self.group.levels, dtype=object))
        table.insert(0, "group", self.group.name)
        return table.assign(cook=(self.shift**2).mean(axis=1))


def influence(fit: PointFit | PosteriorFit) -> Verdict:
    """How far the fixed effects move without one level; Pareto k of leaving it out, for posteriors."""
    name, design = "influence", fit.design
    design.refuse_wide("The influence of single levels")
    if not design.groups or not design.x_names:
        return no_answer(name, NO_GROUPS if not design.groups else "the model has no fixed effects")
    factors = [k for k, group in enumerate(design.groups) if group.n_levels > 2]
    if not factors:
        return no_answer(name, "no factor has three levels")
    every = list(left_out(working_model(fit), design, factors))
    if not every:
        return no_answer(name, f"crossed factors of more than {MOST_LEVELS} levels would be left out one by one")
    judged = [_judge(shifts, design.x_names) for shifts in every]
    judged_levels, sentences, influential = [list(part) for part in zip(*judged, strict=True)]
    if isinstance(fit, PointFit):
        sentences.append(_fitted_without(fit, max(every, key=lambda s: np.abs(s.shift).max())))
    else:
        level, words, level_name = _pareto(fit)
        judged_levels, sentences, influential = [*judged_levels, level], [*sentences, words], [*influential, level_name]
    doubtful = [who for who, level in zip(influential, judged_levels, strict=True) if level != "ok"]
    return Verdict(
        name=name,
        level=worst(judged_levels),
        words=" ".join(filter(None, sentences)),
        remedy=f"Look at {', '.join(dict.fromkeys(doubtful))}, and report the fit without." if doubtful else "",
        numbers=pd.concat([shifts.table(design.x_names) for shifts in every], ignore_index=True),
    )


def _judge(shifts: Shifts, names: tuple[str, ...]) -> tuple[str, str, str]:
    """Level, words and whom they are about. What is far out by its predictors alone deserves a look."""
    limit, size = LIMITS["influence"], np.abs(shifts.shift)
    beyond = np.abs(shifts.surprise) > special.ndtri(1.0 - 0.5 * CHANCE / size.size)
    judged = np.where(beyond, size, np.where(size >= FAR_OUT, limit.look, 0.0))
    level = limit.level(float(judged.max()))
    j, c = np.unravel_index(int(np.argmax(judged if level != "ok" else size)), size.shape)
    level_name = f"{shifts.group.name} {shifts.group.levels[j]}"
    words = f"Without {level_name} {names[c]} moves by {-shifts.shift[j, c]:+.2f} standard errors, the most."
    if np.isinf(size[j, c]):
        words = f"{level_name} alone tells {names[c]}."
    return level, words, level_name


# -- one level left out


def working_model(fit: PointFit | PosteriorFit) -> Working:
    """The model with its variances held: at the estimates, or the posterior means.

    For other families than the normal it is that of the working response η + (y − μ)/μ' with weights μ'²/Var(y), as in
    iterated weighted least squares, at the posterior mean of η (Pregibon 1981); of a point fit with the observed
    information at the modes.
    """
    design = fit.design
    design.refuse_correlated("influence")
    if isinstance(fit, PointFit):
        problem, solution = working(design, fit.solution)
        return Working(problem=problem, covariances=solution.covariances, sigma=solution.sigma)
    covariances = tuple(flat(covariance).mean(axis=0) for covariance in fit.covariances())
    if design.family.is_normal and not design.predictors:
        sigma = float(np.sqrt(np.mean(fit.values.family["sigma"] ** 2)))
        residual = fit.values.residual
        if residual is not None:  # rows are weighed by the means of the parameters of their sds
            design = design.with_residual(flat(residual).mean(axis=0))
        return Working(problem=Problem.of(design), covariances=covariances, sigma=sigma)
    y, weights = _working_response(fit)
    return Working(
        problem=replace(Problem.of(design), y=y - design.offset, weights=weights), covariances=covariances, sigma=1.0
    )


def _working_response(fit: PosteriorFit) -> tuple[Array, Array]:
    """Working response, offset included, and its inverse variance (n,)."""
    design, family = fit.design, fit.design.family
    if family.ends:
        raise NotAvailableError("a response with probabilities of its ends is not linear around one mean")
    if not family.has_mean:
        raise NotAvailableError("an ordinal response has no mean to be linear around")
    eta = design.offset + design.X @ flat(fit.values.beta).mean(axis=0)
    for group in design.groups:
        eta += np.einsum("nq,nq->n", group.Z, flat(fit.draws(fit.design.names.b[group.name])).mean(axis=0)[group.codes])
    mean, slope = family.mean(eta), family.slope(eta)
    y = design.y if design.trials is None else design.y / np.maximum(design.trials, 1.0)
    parameters = design.along({name: fit.draws(name).mean(axis=(0, 1)) for name in design.of_rows})
    variance = family.working_residual_variance(y, mean, parameters, trials=design.trials, weights=design.weights)
    return eta + (y - mean) / slope, slope**2 / np.maximum(variance, 1e-300)


def left_out(model: Working, design: Design, factors: Sequence[int]) -> Iterator[Shifts]:
    """β̂ − β̂₍ⱼ₎ for every level of some factors, exactly, with the variances held.

    Where levels are independent of each other, all at once: (A − Aⱼ)⁻¹gⱼ with Aⱼ = XⱼᵀVⱼ⁻¹Xⱼ and
    gⱼ = XⱼᵀVⱼ⁻¹(yⱼ − Xⱼβ̂). Else, in crossed factors, one by one.
    Var(β̂ − β̂₍ⱼ₎) = σ²(A₍ⱼ₎⁻¹ − A⁻¹), as β̂ is efficient (Hausman 1978).
    """
    whole, above = _solve(model), nesting(design)
    se = np.sqrt(np.diag(whole.inverse))
    for factor in factors:
        g = design.groups[factor]
        independent = all(other is g or g.name in above[other.name] for other in design.groups)
        if not independent and g.n_levels > MOST_LEVELS:
            continue
        shift, variance = (_at_once if independent else _one_by_one)(model, whole, g)
        variance = np.maximum(variance - np.diag(whole.inverse), 1e-12 * np.diag(whole.inverse))
        surprise = np.where(np.isfinite(shift), shift, 0.0) / (model.sigma * np.sqrt(variance))
        yield Shifts(group=g, shift=shift / (model.sigma * se), surprise=surprise)


def _at_once(model: Working, whole: Solved, g: GroupTerm) -> tuple[Array, Array]:
    """β̂ − β̂₍ⱼ₎ and the diagonal of A₍ⱼ₎⁻¹, both (J, p)."""
    X, root = model.problem.X, np.linalg.cholesky(whole.inverse)
    by_level = np.stack([_by_level(X * column[:, None], g) for column in whole.VX.T], axis=2)
    values, axes = np.linalg.eigh(root.T @ (0.5 * (by_level + by_level.swapaxes(1, 2))) @ root)
    remaining = 1.0 - np.minimum(values, 1.0 - ALONE)
    back = root @ axes
    score = np.einsum("jba,jb->ja", back, _by_level(X * whole.Vr[:, None], g))
    shift, variance = (
        np.einsum("jpa,ja->jp", back, score / remaining),
        np.einsum("jpa,ja->jp", back**2, 1.0 / remaining),
    )
    for j in np.flatnonzero(values.max(axis=1) > 1.0 - ALONE):
        shift[j, _untold(X, g.codes != j)] = np.inf
    return shift, variance


def _one_by_one(model: Working, whole: Solved, g: GroupTerm) -> tuple[Array, Array]:
    """β̂ − β̂₍ⱼ₎ and the diagonal of A₍ⱼ₎⁻¹, both (J, p)."""
    shift = np.zeros((g.n_levels, len(whole.beta)))
    variance = np.tile(np.diag(whole.inverse), (g.n_levels, 1))
    for j in range(g.n_levels):
        kept = g.codes != j
        if kept.all():
            continue
        untold = _untold(model.problem.X, kept)
        if untold.any():
            shift[j, untold] = np.inf
            continue
        without = _solve(model.rows(kept))
        shift[j], variance[j] = whole.beta - without.beta, np.diag(without.inverse)
    return shift, variance


def _untold(X: Array, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which coefficients (p,) some of the rows do not tell."""
    _, sizes, axes = np.linalg.svd(X[kept] / np.linalg.norm(X, axis=0), full_matrices=False)
    return (np.abs(axes[sizes <= ALONE * sizes[0]]) > ALONE).any(axis=0)


def _solve(model: Working) -> Solved:
    """Generalised least squares; V⁻¹v = W(v + Z∂b̂) once b has followed v."""
    problem = model.problem
    scaled, criterion = prepare(problem, reml=True)
    lams = [
        cholesky_psd(np.linalg.solve(T, np.linalg.solve(T, covariance).T), blocks) / model.sigma
        for T, covariance, blocks in zip(scaled.T_z, model.covariances, problem.blocks, strict=True)
    ]
    reduced = pls.reduce(criterion.layout, lams)
    solution = pls.solve(reduced)
    beta, root = scaled.beta(solution.beta), scaled.T_x @ np.linalg.inv(solution.R_x)
    VX, Vr, to_scaled = problem.X.copy(), problem.y - problem.X @ beta, np.linalg.inv(scaled.T_x)
    slopes, modes = pls.mode_slopes(reduced), pls.spherical_modes(reduced, solution.beta)
    for Z, codes, T, lam, slope, mode in zip(problem.Z, problem.codes, scaled.T_z, lams, slopes, modes, strict=True):
        VX += np.einsum("nq,nqp->np", Z, (T @ lam @ slope @ to_scaled)[codes])
        Vr -= np.einsum("nq,nq->n", Z, (mode @ (T @ lam).T)[codes])
    weights = np.ones(len(Vr)) if problem.weights is None else problem.weights
    return Solved(beta=beta, inverse=root @ root.T, VX=VX * weights[:, None], Vr=Vr * weights)


def _by_level(rows: Array, g: GroupTerm) -> Array:
    """Sums (J, columns) of rows (n, columns)."""
    return np.stack([np.bincount(g.codes, weights=column, minlength=g.n_levels) for column in rows.T], axis=1)


def _fitted_without(fit: PointFit, shifts: Shifts) -> str:
    """What the sds become when the most influential level is left out and the model fitted again."""
    if fit.solution.rivals:
        return "Not fitted without it: the data do not tell all sds."
    g, j = shifts.group, int(np.argmax(np.abs(shifts.shift).max(axis=1)))
    design = fit.design.rows(g.codes != j)
    if design.p and np.linalg.matrix_rank(design.X) < design.p:
        return "Without it the others do not tell all coefficients."
    again = solved(design, fit.solution, reml=fit.solution.reml)
    changes = [
        f"sd({column} | {group.name}) from {number(before)} to {number(after)}"
        for group, old, new in zip(design.groups, fit.solution.covariances, again.covariances, strict=True)
        for column, before, after in zip(group.columns, np.sqrt(np.diag(old)), np.sqrt(np.diag(new)), strict=True)
    ]
    return f"Fitted without {g.name} {g.levels[j]}: {', '.join(changes)}."


def _pareto(fit: PosteriorFit) -> tuple[str, str, str]:
    """The largest Pareto k of leaving one level of the outermost factor out, and whose it is."""
    outer = min(fit.design.groups, key=lambda g: g.n_levels)
    if not fit.design.family.is_normal or fit.n_chains * fit.n_draws < FEWEST_DRAWS:  # others take their time
        return "ok", "", ""
    try:
        with muted(SamplingWarning):
            k = fit.loo(outer.name, refit=False).pareto_k.to_numpy()
    except NotAvailableError as error:
        return "ok", f"Pareto k: {error}.", ""
    j = int(np.argmax(k))
    level_name = f"{outer.name} {outer.levels[j]}"
    words = f"Leaving one {outer.name} out changes the posterior by a Pareto k of {k[j]:.2f} at most ({level_name})."
    return LIMITS["pareto k"].level(float(k[j])), words, level_name
