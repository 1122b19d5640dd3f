"""Parametric bootstrap: simulate from the fit, refit, collect (docs/theory.md, section 10)."""

from __future__ import annotations

from collections.abc import Generator as Batches
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd, sd_and_correlation
from ..errors import FitError
from .profile import parameters
from .randomness import seed_sequence
from .reml import PointSolution, fit
from .scaling import Problem

Array = NDArray[np.float64]


def simulate(problem: Problem, solution: PointSolution, rng: Generator) -> Array:
    """One response (n,) of the fitted model with new effects of all groups, without the offset."""
    y = problem.X @ solution.beta
    for k, (codes, Z) in enumerate(zip(problem.codes, problem.Z, strict=True)):
        root = cholesky_psd(solution.covariances[k], problem.blocks[k])
        rotation = problem.wide[k]
        if rotation is not None:
            y += rotation.columns @ (rotation.size * root[0, 0] * rng.normal(size=problem.levels[k]))
            continue
        b = rng.normal(size=(problem.levels[k], Z.shape[1])) @ root.T
        y += np.einsum("nq,nq->n", Z, b[codes])
    noise = solution.sigma * rng.normal(size=len(y))
    return y + (noise if problem.weights is None else noise / np.sqrt(problem.weights))


def estimates(problem: Problem, solution: PointSolution) -> Array:
    """What a solution says about each of :func:`bayeslmm.engine.profile.parameters`."""
    values = []
    for parameter in parameters(problem):
        if parameter.kind == "sigma":
            values.append(solution.sigma)
        elif parameter.kind == "beta":
            values.append(solution.beta[parameter.a])
        else:
            sd, cor = sd_and_correlation(solution.covariances[parameter.factor])
            values.append(sd[parameter.a] if parameter.kind == "sd" else cor[parameter.a, parameter.b])
    return np.array(values)


def refits(problem: Problem, solution: PointSolution, seeds: Sequence[SeedSequence]) -> Array:
    """Estimates (len(seeds), parameters + 1) of one simulated data set a seed; the last column is 1 where singular.

    A row of NaN stands for a data set on which the search broke down.
    """
    rows = np.full((len(seeds), len(parameters(problem)) + 1), np.nan)
    for row, seed in zip(rows, seeds, strict=True):
        simulated = replace(problem, y=simulate(problem, solution, default_rng(seed)))
        try:
            again = fit(simulated, reml=solution.reml, start=solution.scaled_theta)
        except FitError:
            continue
        row[:-1], row[-1] = estimates(simulated, again), any(again.singular)
    return rows


def bootstrap(
    problem: Problem, solution: PointSolution, *, draws: int, random_seed: int | None, cores: int
) -> Batches[Array]:
    """Rows as in :func:`refits`, in batches, in the order of the draws whatever the number of processes."""
    seeds = seed_sequence(random_seed).spawn(draws)
    size = max(1, min(25, draws // (4 * cores)))
    batches = [seeds[i : i + size] for i in range(0, draws, size)]
    if cores == 1:
        yield from (refits(problem, solution, batch) for batch in batches)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    tasks = (delayed(refits)(problem, solution, batch) for batch in batches)
    try:
        yield from Parallel(n_jobs=cores, return_as="generator")(tasks)
    except TerminatedWorkerError as error:
        raise FitError(
            f"bootstrap: one of {cores} worker processes was killed, as the system does when memory runs out. With "
            "cores=1 this process does the work alone."
        ) from error
