"""Penalised quasi-likelihood: rough estimates of a generalised mixed model in milliseconds, for geometry and starts.

Each step is a weighted linear mixed model for the working response (Breslow & Clayton 1993): the kernel of REML does
the work.  Nothing that is reported to a user rests on it: it is biased for binary data with few rows a group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..design.design import Design
from ..errors import FitError
from ..families import Family, family_of
from ..terms.wide import Rotation, WideTerm
from ..tools.arrays import Array
from . import reml
from .reml import PointSolution
from .scaling import Problem

STEPS = 15
FEW_STEPS = 3  # of wide terms, each of which turns them anew
PERFECT = 1e-3  # sigma in sds of the response below which a fit says nothing about reliability
MOST_ETA = 15.0  # of a threshold model: beyond, the working weights vanish


@dataclass(frozen=True, slots=True, kw_only=True)
class Rough:
    """Rough estimates of a model, and what a row tells about its linear predictor."""

    solution: PointSolution
    information: Array  # (n,) inverse variance of the working response


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # what overflows breaks the search down
def rough_fit(design: Design) -> Rough | None:
    """Estimates by penalised quasi-likelihood; None where the search breaks down."""
    family = design.family
    if family.is_normal or (family.has_residual and family.link == "identity"):
        solution = reml.fit(Problem.of(design))
        if not family.residual_is_known and solution.sigma < PERFECT * np.std(design.normal_response):
            return None
        weights = np.ones(design.n) if design.information is None else design.information
        return Rough(solution=solution, information=weights / solution.sigma**2)
    y, trials, family = _as_mean(design)
    mean = family.start(y, trials)
    problem, weighted_fit = Problem.of(design), None
    if design.family.has_cutpoints:  # P(y ≤ k) = F(cutpoint − η), and the cutpoint is an intercept
        problem = replace(problem, X=np.column_stack([np.ones(design.n), -design.X]))
    offset = -design.offset if design.family.has_cutpoints else design.offset
    eta = family.eta(mean)
    for _ in range(STEPS if not design.is_wide else FEW_STEPS):
        slope = family.slope(eta)
        weights = np.maximum(trials * slope**2 / family.working_variance(mean), 1e-8) * design.counted
        working = eta - offset + (y - mean) / slope
        if not (np.isfinite(weights).all() and np.isfinite(working).all()):
            return None
        try:
            weighted_fit = reml.fit(replace(problem, y=working, weights=weights, wide=turned(design, weights)))
        except FitError:
            return None
        before = eta
        eta = _linear_predictor(design, problem.X, weighted_fit) + offset
        if family.mean_is_probability:
            eta = np.clip(eta, -MOST_ETA, MOST_ETA)
        mean = family.mean(eta)
        if not _inside(family, mean):
            return None
        if np.abs(eta - before).max() < 1e-4 * (1.0 + np.abs(eta).max()):
            break
    assert weighted_fit is not None
    if design.family.has_cutpoints:
        weighted_fit = replace(
            weighted_fit,
            beta=weighted_fit.beta[1:],
            vcov=weighted_fit.vcov[1:, 1:],
            modes=tuple(-mode for mode in weighted_fit.modes),
        )
    return Rough(solution=weighted_fit, information=weights / weighted_fit.sigma**2)


def _as_mean(design: Design) -> tuple[Array, Array, Family]:
    """The response as a mean of ``trials``; an ordinal one as whether it lies in the lower half."""
    ones = np.ones(design.n)
    family, y = design.family, design.y
    if design.trials is not None:
        return y / np.maximum(design.trials, 1.0), design.trials, family
    if family.has_cutpoints:
        counts = np.bincount(y.astype(int), minlength=len(design.levels))
        below = np.cumsum(counts)[:-1]
        cut = int(np.argmin(np.abs(below - len(y) / 2.0)))
        return (y <= cut).astype(float), ones, family_of("bernoulli", family.link)
    return y, ones, family


def _inside(family: Family, mean: Array) -> bool:
    return bool(np.isfinite(mean).all() and (not family.has_positive_mean or mean.min() > 0.0))


def turned(design: Design, weights: Array | None) -> tuple[Rotation | None, ...]:
    """The rotations of wide terms under other weights of the rows."""
    return tuple(group.turned(weights) if isinstance(group, WideTerm) else None for group in design.groups)


def _linear_predictor(design: Design, X: Array, solution: PointSolution) -> Array:
    """Xβ + Zb (n,)."""
    eta = X @ solution.beta
    for group, modes in zip(design.groups, solution.modes, strict=True):
        eta = eta + group.contribution(modes)
    return eta
