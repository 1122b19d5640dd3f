"""The normal model that stands for a point fit of any family around its modes: weights W, residual sd one.

With the observed information as weights and the working response η̂ + ∂ℓ/W, the conditional distribution of the effects
given the estimates is that of Laplace's approximation, and β̂ and b̂ move together as they do there. So what is known of
normal models (errors of predictions, draws given the data, influence) serves the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from ..design.design import Design
from ..terms.wide import WideTerm
from .chunked_laplace import ChunkedApproximation, approximation
from .laplace import Approximation
from .reml import PointSolution
from .scaling import Problem
from .sums import Sums

LEAST = 1e-10  # of the largest weight: an outlier of heavy tails has none, or one below zero


def working(design: Design, solution: PointSolution) -> tuple[Problem, PointSolution]:
    """Arrays of a normal model, and the solution of it; of a normal model itself its own."""
    problem = Problem.of(design)
    if solution.nodes == 0:
        return problem, solution
    if design.sums is not None:
        return _by_sums(design, problem, solution)
    approximation = Approximation(design)
    eta = design.X @ solution.beta + design.offset
    for group, modes in zip(design.groups, solution.modes, strict=True):
        eta = eta + group.contribution(modes)
    _, slope, bend = approximation.bends(
        eta, approximation.parameters.values(approximation.parameters.free(solution.parameters))
    )
    weights = np.maximum(-bend, LEAST * float(np.max(np.abs(bend))))
    wide = tuple(group.turned(weights) if isinstance(group, WideTerm) else None for group in design.groups)
    problem = replace(problem, y=eta - design.offset + slope / weights, weights=weights, wide=wide)
    return problem, replace(solution, parameters={"sigma": np.ones(())})


def _by_sums(design: Design, problem: Problem, solution: PointSolution) -> tuple[Problem, PointSolution]:
    """The same of rows on disk, by one pass over them for every solution.

    Raises
    ------
    NotAvailableError
        The rows are gone.
    """
    about = approximation(design)
    assert isinstance(about, ChunkedApproximation)
    held = about.rows.working
    if held is None or held[0] is not solution:
        sums = cast(Sums, design.sums)
        cross = about.working_cross(solution)
        p = len(about.T_x)
        B_xy = np.eye(p + 1)
        B_xy[:p, :p] = np.linalg.inv(about.T_x)
        sums = replace(sums, cross=cross, B_xy=B_xy, B_z=tuple(np.linalg.inv(T) for T in about.T_z))
        held = about.rows.working = (solution, sums)
    problem = replace(problem, sums=held[1], sigma=1.0)
    return problem, replace(solution, parameters={"sigma": np.ones(())})
