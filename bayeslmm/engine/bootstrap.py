"""Parametric bootstrap: simulate from the fit, refit, collect (docs/theory.md, section 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as Batches
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from ..covariances.template import cholesky_psd, sd_and_correlation
from ..design.design import Design
from ..errors import DataError, FitError, UnidentifiedTermError
from ..tools.arrays import Array
from . import agq, refitting
from .processes import shared
from .profile import Parameter, parameters
from .randomness import seed_sequence
from .reml import PointSolution, fit
from .scaling import Problem

MOST_AT_ONCE = 4_000_000  # numbers of responses that are simulated before they are fitted


def simulate(problem: Problem, solution: PointSolution, rng: Generator) -> Array:
    """One response (n,) of the fitted model with new effects of all groups, without the offset."""
    return _simulated(problem, solution, problem.X @ solution.beta, _roots(problem, solution), rng)


def _roots(problem: Problem, solution: PointSolution) -> list[Array]:
    return [
        cholesky_psd(covariance, blocks)
        for covariance, blocks in zip(solution.covariances, problem.blocks, strict=True)
    ]


def _simulated(
    problem: Problem, solution: PointSolution, fixed: Array, roots: Sequence[Array], rng: Generator
) -> Array:
    """The same from Xβ̂ (n,) and the roots (q, q) of the covariance matrices."""
    y = fixed.copy()
    for k, (codes, Z, root) in enumerate(zip(problem.codes, problem.Z, roots, strict=True)):
        rotation = problem.wide[k]
        if rotation is not None:
            u = rng.normal(size=(problem.levels[k], len(root))) @ root.T
            y += rotation.whole @ (rotation.size * u.reshape(-1))
            continue
        b = rng.normal(size=(problem.levels[k], Z.shape[1])) @ root.T
        y += np.einsum("nq,nq->n", Z, b[codes])
    noise = solution.sigma * rng.normal(size=len(y))
    if problem.residual is not None:
        return y + problem.residual.noise(noise[:, None])[:, 0]
    return y + (noise if problem.weights is None else noise / np.sqrt(problem.weights))


def estimates(of: Sequence[Parameter], solution: PointSolution) -> Array:
    """What a solution says about each of these parameters."""
    values = []
    for parameter in of:
        if parameter.kind == "sigma":
            values.append(solution.sigma)
        elif parameter.kind == "residual":
            values.append(float(solution.residual[parameter.a]))
        elif parameter.kind == "beta":
            values.append(solution.beta[parameter.a])
        elif parameter.kind == "family":
            values.append(float(np.atleast_1d(solution.parameters[parameter.name])[max(parameter.a, 0)]))
        else:
            sd, correlation = sd_and_correlation(solution.covariances[parameter.factor])
            values.append(sd[parameter.a] if parameter.kind == "sd" else correlation[parameter.a, parameter.b])
    return np.array(values)


def refits(problem: Problem, solution: PointSolution, seeds: Sequence[SeedSequence]) -> Array:
    """Estimates (len(seeds), parameters + 1) of one simulated data set a seed; the last column is 1 where singular.

    A row of NaN stands for a data set on which the search broke down. Where the design allows it the searches of many
    responses share what they can (`refitting`).
    """
    parameter_values, fixed, roots = parameters(problem), problem.X @ solution.beta, _roots(problem, solution)
    rows = np.full((len(seeds), len(parameter_values) + 1), np.nan)
    step = max(1, MOST_AT_ONCE // max(len(problem.y), 1))
    for first in range(0, len(seeds), step):
        some = seeds[first : first + step]
        responses = np.array([_simulated(problem, solution, fixed, roots, default_rng(seed)) for seed in some])
        again = refitting.refits(problem, responses, reml=solution.reml, start=solution.scaled_theta)
        regular = again.regular
        part = rows[first : first + step]
        if regular.any():
            part[regular, :-1], part[regular, -1] = estimates_of_many(parameter_values, again), 0.0
        for i in np.flatnonzero(~regular):
            part[i] = _refitted(replace(problem, y=responses[i]), solution, parameter_values)
    return rows


def _refitted(simulated: Problem, solution: PointSolution, of: Sequence[Parameter]) -> Array:
    """The row of one data set."""
    try:
        again = fit(simulated, reml=solution.reml, start=solution.scaled_theta)
    except FitError:
        return np.full(len(of) + 1, np.nan)
    return np.append(estimates(of, again), any(again.singular))


def estimates_of_many(of: Sequence[Parameter], refits: refitting.Refits) -> Array:
    """What the regular ones of many refits say about each of these parameters (refits, parameters)."""
    columns = []
    spread = [sd_and_correlation(covariance) for covariance in refits.covariances]
    for parameter in of:
        if parameter.kind == "sigma":
            columns.append(refits.sigma)
        elif parameter.kind == "beta":
            columns.append(refits.beta[:, parameter.a])
        else:
            sd, correlation = spread[parameter.factor]
            columns.append(sd[:, parameter.a] if parameter.kind == "sd" else correlation[:, parameter.a, parameter.b])
    return np.column_stack([np.zeros((len(refits.beta), 0)), *columns])


class Truth(Protocol):
    """Parameters from which responses are simulated: estimates, or assumed ones."""

    @property
    def beta(self) -> Array:
        """Fixed effects (p,)."""

    @property
    def covariances(self) -> tuple[Array, ...]:
        """Of the random effects, per factor (q, q)."""

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Those of the family, by name."""


def simulate_any(design: Design, truth: Truth, rng: Generator) -> Array:
    """One response (n,) of a model of any family with new effects of all groups."""
    return Simulator(design, truth).response(rng)


class Simulator:
    """Responses of one design and one truth, of any family, with new effects of all groups in each."""

    def __init__(self, design: Design, truth: Truth) -> None:
        self.design = design
        self._fixed = design.X @ truth.beta + design.offset
        self._roots = [
            cholesky_psd(covariance, group.blocks).T
            for group, covariance in zip(design.every_group, truth.covariances, strict=True)
        ]
        self._parameters = truth.parameters
        self._others = {design.names.b[group.name] for group in design.parameter_groups}
        self._values = {} if design.parameter_groups else design.along(truth.parameters)
        if design.family.has_residual and design.weights is not None:
            self._values["sigma"] = self._values["sigma"] / np.sqrt(design.weights)
        if design.family.has_mean:
            self._values = {name: np.broadcast_to(value, design.n) for name, value in self._values.items()}

    def response(self, rng: Generator) -> Array:
        """One response (n,)."""
        eta, values, names = self._fixed, self._values, self.design.names.b
        effects = [
            group.related(rng.normal(size=(group.n_levels, group.q)) @ root)
            for group, root in zip(self.design.every_group, self._roots, strict=True)
        ]
        for group, effect in zip(self.design.groups, effects, strict=False):
            eta = eta + group.contribution(effect)
        if self.design.parameter_groups:
            drawn = {names[g.name]: effect for g, effect in zip(self.design.every_group, effects, strict=True)}
            values = self.design.along({**self._parameters, **{n: b for n, b in drawn.items() if n in self._others}})
        with np.errstate(all="ignore"):
            return self.design.family.draw(eta, values, self.design.trials, rng)


def refits_of_any(
    design: Design, solution: PointSolution, of: Sequence[Parameter], seeds: Sequence[SeedSequence]
) -> Array:
    """As `refits`, for any family; a response that cannot be fitted, such as one that is constant, is one of NaN."""
    rows = np.full((len(seeds), len(of) + 1), np.nan)
    for row, seed in zip(rows, seeds, strict=True):
        try:
            simulated = design.with_coded_response(simulate_any(design, solution, default_rng(seed)))
            again = agq.estimates(simulated, restricted=solution.reml, nodes=solution.nodes, start=solution)
        except (FitError, DataError, UnidentifiedTermError):
            continue
        if again.status != "failed":
            row[:-1], row[-1] = estimates(of, again), any(again.singular)
    return rows


def bootstrap(
    problem: Problem, solution: PointSolution, *, draws: int, random_seed: int | None, cores: int
) -> Batches[Array]:
    """Rows as in :func:`refits`, in batches, in the order of the draws whatever the number of processes."""
    return _in_batches(refits, (problem, solution), draws, random_seed, cores)


def bootstrap_of_any(
    design: Design, solution: PointSolution, of: Sequence[Parameter], *, draws: int, random_seed: int | None, cores: int
) -> Batches[Array]:
    """Rows as in :func:`refits_of_any`, likewise."""
    # what the user's names stand for is not needed, and may be nothing that another process can have
    design = replace(design, scope=replace(design.scope, names={}))
    return _in_batches(refits_of_any, (design, solution, of), draws, random_seed, cores)


def _in_batches(
    refit: Callable[..., Array], arguments: tuple[Any, ...], draws: int, random_seed: int | None, cores: int
) -> Batches[Array]:
    seeds = seed_sequence(random_seed).spawn(draws)
    size = max(1, min(25, draws // (4 * cores)))
    batches = [seeds[i : i + size] for i in range(0, draws, size)]
    return shared(refit, [(*arguments, batch) for batch in batches], cores, verb="bootstrap")
