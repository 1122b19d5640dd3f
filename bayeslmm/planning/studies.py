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
from ..engine import agq, refitting, reml
from ..engine.bootstrap import Simulator, Truth
from ..engine.hyperpriors import HyperPriors
from ..engine.inference import Approximation, Satterthwaite
from ..engine.marginal import Marginal
from ..engine.mixtures import mixture_of_beta
from ..engine.reml import PointSolution
from ..engine.scaling import Problem
from ..errors import BayesLMMWarning, DataError, FitError, UnidentifiedTermError
from ..results import wald
from ..results.exact import why_not_exact
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

    def together(self, designs: Sequence[Design], contrasts: Array) -> list[tuple[Array, bool] | None]:
        """The same of studies that differ by their responses, where they are sooner done together; None where not."""


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
        approximation = wald.approximation(design, solution, self.ddf)
        return self._around(contrasts @ solution.beta, approximation, contrasts), any(solution.singular)

    def together(self, designs: Sequence[Design], contrasts: Array) -> list[tuple[Array, bool] | None]:
        """As in the contract: one compiled search after the other, and Satterthwaite's degrees of freedom."""
        results: list[tuple[Array, bool] | None] = [None] * len(designs)
        first = designs[0]
        if not (first.family.is_normal and first.groups) or wald.method_of(self.ddf) != wald.DDF:
            return results
        problem, responses = Problem.of(first), np.array([design.normal_response for design in designs])
        start = np.concatenate([template.is_diagonal for template in problem.templates]).astype(float)
        refitted = refitting.refits(problem, responses, reml=self.restricted, start=start)
        for i, beta, theta, sigma in zip(
            np.flatnonzero(refitted.regular), refitted.beta, refitted.theta, refitted.sigma, strict=True
        ):
            approximation = Satterthwaite.of_refit(
                replace(problem, y=responses[i]), reml=self.restricted, theta=theta, sigma=float(sigma)
            )
            results[i] = self._around(contrasts @ beta, approximation, contrasts), False
        return results

    def _around(self, estimate: Array, approximation: Approximation, contrasts: Array) -> Array:
        error = np.sqrt(approximation.variances(contrasts))
        half = wald.quantile(approximation.df(contrasts), self.ci_prob) * error
        return np.array([estimate - half, estimate + half, estimate, error])

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
        """As in the contract: by the normal distributions given the hyperparameters, by draws where these do not do."""
        priors = resolve_priors(design, self.priors)
        if not why_not_exact(design, priors):
            shifted = priors.at_means(design)
            marginal = Marginal(Problem.of(shifted), HyperPriors.of(shifted, priors))
            draws = self.settings.chains * self.settings.draws
            mixture = mixture_of_beta(marginal, default_rng(seed), draws)
            if mixture is not None:
                return mixture.intervals(contrasts, self.ci_prob), False
        settings = replace(self.settings, random_seed=int(seed.generate_state(1)[0] >> 1))
        values = flat(sample(design, priors, settings).values.beta) @ contrasts.T
        tail = (1.0 - self.ci_prob) / 2.0
        low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
        return np.array([low, high, values.mean(axis=0), values.std(axis=0)]), False

    def together(self, designs: Sequence[Design], contrasts: Array) -> list[tuple[Array, bool] | None]:
        """As in the contract: each by itself."""
        return [None] * len(designs)


def analysed(
    design: Design, truths: Sequence[Truth], seeds: Sequence[SeedSequence], contrasts: Array, analysis: Analysis
) -> Array:
    """Studies (S, k + 1, 5): of every quantity the columns above; the last row begins with 1 where a fit is singular.

    A study whose data cannot be analysed, such as counts that are all zero, has NaN in place of numbers.
    """
    k = len(contrasts)
    results = np.full((len(seeds), k + 1, len(COLUMNS)), np.nan)
    results[:, :k, TRUTH] = [contrasts @ truth.beta for truth in truths]
    streams = [seed.spawn(2) for seed in seeds]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesLMMWarning)  # of single studies nothing is reported
        studies = _simulated(design, truths, [data for data, _ in streams])
        whole = [study for study in studies if study is not None]
        quick = iter(analysis.together(whole, contrasts) if whole else [])
        for result, study, (_, sampler) in zip(results, studies, streams, strict=True):
            if study is None:
                continue
            try:
                numbers, singular = next(quick) or analysis.intervals(study, contrasts, sampler)
            except (FitError, DataError, UnidentifiedTermError):
                continue
            result[:k, :TRUTH] = numbers.T
            result[k, 0] = singular
    return results


def _simulated(design: Design, truths: Sequence[Truth], seeds: Sequence[SeedSequence]) -> list[Design | None]:
    """A study for each truth; None where no data can be had, such as of counts beyond all measure."""
    simulators: dict[int, Simulator] = {}
    studies: list[Design | None] = []
    for truth, seed in zip(truths, seeds, strict=True):
        try:
            if id(truth) not in simulators:
                simulators[id(truth)] = Simulator(design, truth)
            studies.append(design.with_coded_response(simulators[id(truth)].response(default_rng(seed))))
        except (FitError, DataError, UnidentifiedTermError):
            studies.append(None)
    return studies
