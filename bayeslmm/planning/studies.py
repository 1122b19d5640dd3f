"""Studies simulated from known values and analysed: an interval for every quantity."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.random import SeedSequence, default_rng

from ..design.design import Design
from ..design.priors import resolve_priors
from ..engine import agq, reml
from ..engine.bootstrap import Truth, simulate_any
from ..engine.reml import PointSolution
from ..engine.scaling import Problem
from ..errors import BayesLMMWarning, DataError, FitError, UnidentifiedTermError
from ..results import wald
from ..results.sampling import sample
from ..results.settings import Settings
from ..results.summaries import flat
from ..tools.arrays import Array

LOW, HIGH, ESTIMATE, ERROR, TRUTH = range(5)  # columns of what a study says
COLUMNS = ("conf_low", "conf_high", "estimate", "std_error", "truth")


class Analysis(Protocol):
    """How a simulated study is analysed."""

    def intervals(self, design: Design, contrasts: Array, seed: SeedSequence) -> tuple[Array, bool]:
        """low, high, estimate, std_error (4, k) of contrasts (k, p), and whether a variance came out as zero.

        Raises
        ------
        FitError, DataError, UnidentifiedTermError
            The data of the study cannot be analysed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ByEstimates:
    """REML or ML with t intervals, or z intervals where the model has those.

    Attributes
    ----------
    restricted : bool
    ddf : str or None
        As of :meth:`PointFit.fixef`.
    ci_prob : float
    """

    restricted: bool
    ddf: str | None
    ci_prob: float

    def intervals(self, design: Design, contrasts: Array, seed: SeedSequence) -> tuple[Array, bool]:
        """As in the contract."""
        solution = self._solution(design)
        about = wald.approximation(design, solution, self.ddf)
        estimate = contrasts @ solution.beta
        error = np.sqrt(about.variances(contrasts))
        half = wald.quantile(about.df(contrasts), self.ci_prob) * error
        return np.array([estimate - half, estimate + half, estimate, error]), any(solution.singular)

    def _solution(self, design: Design) -> PointSolution:
        if design.family.is_normal:
            return reml.fit(Problem.of(design), reml=self.restricted)
        solution = agq.estimates(design, restricted=self.restricted, nodes=1)
        if solution.status == "failed":
            raise FitError("the search for the largest likelihood broke down")
        if np.any(solution.separation):
            raise FitError("the likelihood rises for ever: estimates are infinite")
        return solution


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPosterior:
    """The posterior with equal-tailed intervals.

    Attributes
    ----------
    priors : mapping
        Those of the user; the others are the defaults, from the data of each study.
    settings : Settings
    ci_prob : float
    """

    priors: Mapping[Any, Any]
    settings: Settings
    ci_prob: float

    def intervals(self, design: Design, contrasts: Array, seed: SeedSequence) -> tuple[Array, bool]:
        """As in the contract."""
        settings = replace(self.settings, random_seed=int(seed.generate_state(1)[0] >> 1))
        draws = sample(design, resolve_priors(design, self.priors), settings)
        values = flat(draws.values.beta) @ contrasts.T
        tail = (1.0 - self.ci_prob) / 2.0
        low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
        return np.array([low, high, values.mean(axis=0), values.std(axis=0)]), False


def analysed(
    design: Design, truths: Sequence[Truth], seeds: Sequence[SeedSequence], contrasts: Array, analysis: Analysis
) -> Array:
    """Studies (S, k + 1, 5): of every quantity the columns above; the last row begins with 1 where a fit is singular.

    A study whose data cannot be analysed, such as counts that are all zero, has NaN in place of numbers.
    """
    k = len(contrasts)
    results = np.full((len(seeds), k + 1, len(COLUMNS)), np.nan)
    for result, truth, seed in zip(results, truths, seeds, strict=True):
        data, sampler = seed.spawn(2)
        result[:k, TRUTH] = contrasts @ truth.beta
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesLMMWarning)  # of single studies nothing is reported
            try:
                study = design.with_coded_response(simulate_any(design, truth, default_rng(data)))
                numbers, singular = analysis.intervals(study, contrasts, sampler)
            except (FitError, DataError, UnidentifiedTermError):
                continue
        result[:k, :TRUTH] = numbers.T
        result[k, 0] = singular
    return results
