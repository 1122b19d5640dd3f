"""Quantiles of a response whose linear predictor is normal around an estimate, for every family.

    F(y) = ∫ P(Y ≤ y | η̂ + se z) φ(z) dz,

summed over nodes; a quantile is where F first reaches a probability, found by bisection of all rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..families import Family
from ..tools.arrays import Array

NODES = 31  # of Gauss and Hermite, where the response scatters no less than its mean does
POINTS, ENDS = 401, 6.0  # of a sum over equal steps, where it scatters less and F at a node is next to a step itself
NARROW = 3.0  # sds of the response in one of its mean, from where on
FAR = 1.0  # se from where on means differ by factors, and sds of the response and of its mean compare nothing
CLOSE = 1e-7  # of an sd, and of a number above zero itself: how near a bisection comes
WIDENINGS, BISECTIONS = 120, 200
NUMBERS = 4_000_000  # of a distribution function held at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictive:
    """Responses (n,) around linear predictors that are normal: moments and quantiles; NaN where there are none."""

    mean: Array
    sd: Array
    quantiles: Array  # (probabilities, n)


def predictive(
    family: Family,
    eta: Array,
    se: Array,
    parameters: Mapping[str, Array],
    *,
    trials: Array | None,
    weights: Array | None,
    probabilities: Sequence[float],
) -> Predictive:
    """Moments and quantiles of new responses, of successes where there are trials.

    Parameters
    ----------
    family : Family
        Not one of categories.
    eta, se : (n,)
    parameters : mapping
        `Design.along` of the estimates: (1,) or (n,) each.
    trials, weights : (n,) or None
    probabilities : sequence of float
    """
    n = len(eta)
    mean, sd, quantiles = np.empty(n), np.empty(n), np.empty((len(probabilities), n))
    complete = _Rows(
        family=family,
        eta=eta,
        se=se,
        parameters={name: np.broadcast_to(np.asarray(value, dtype=float), (n,)) for name, value in parameters.items()},
        trials=trials,
        weights=weights,
    )
    for first in range(0, n, NUMBERS // POINTS):
        places = np.arange(first, min(first + NUMBERS // POINTS, n))
        with np.errstate(all="ignore"):
            mean[places], sd[places], of_mean = complete.taking(places).moments()
            is_narrow = of_mean * (1.0 + NARROW**2) > NARROW**2 * sd[places] ** 2
            is_narrow |= (se[places] > FAR) & (not family.is_on_response_scale)
            for chosen, rule in ((places[~is_narrow], _hermite()), (places[is_narrow], _equal_steps())):
                rows = complete.taking(chosen)
                for i, probability in enumerate(probabilities):
                    quantiles[i, chosen] = rows.quantile(probability, rule)
    return Predictive(mean=mean, sd=sd, quantiles=quantiles)


Rule = tuple[Array, Array]


def _hermite() -> Rule:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()


def _equal_steps() -> Rule:
    nodes = np.linspace(-ENDS, ENDS, POINTS)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """Rows (n,) of `predictive`."""

    family: Family
    eta: Array
    se: Array
    parameters: Mapping[str, Array]
    trials: Array | None
    weights: Array | None

    def taking(self, use: NDArray[np.intp]) -> _Rows:
        """Some of the rows."""
        return _Rows(
            family=self.family,
            eta=self.eta[use],
            se=self.se[use],
            parameters={name: value[use] for name, value in self.parameters.items()},
            trials=None if self.trials is None else self.trials[use],
            weights=None if self.weights is None else self.weights[use],
        )

    def _nodes(self, rule: Rule) -> tuple[Array, Array]:
        """Linear predictors (K, n) with their weights; none where the mean is impossible, as under an inverse link."""
        eta = self.eta + rule[0][:, None] * self.se
        mean = self.family.mean(eta)
        impossible = np.isnan(mean) | (self.family.has_positive_mean & (mean < 0.0))
        weights = np.where(impossible, 0.0, rule[1][:, None])
        return eta, weights / weights.sum(axis=0)

    def moments(self) -> tuple[Array, Array, Array]:
        """Mean and sd of the response (n,), and the variance of its mean given η."""
        eta, weights = self._nodes(_hermite())
        times = 1.0 if self.trials is None else self.trials
        mean = self.family.expected(eta, self.parameters, self.weights)
        spread = self.family.variance(mean, self.parameters, trials=self.trials, weights=self.weights) * times**2
        mean = mean * times
        is_used = weights > 0.0

        def average(values: Array) -> Array:
            return np.where(is_used.any(axis=0), np.sum(np.where(is_used, weights * values, 0.0), axis=0), np.nan)

        total = average(mean)
        of_mean = average((mean - total) ** 2)
        return total, np.sqrt(of_mean + average(np.broadcast_to(spread, mean.shape))), of_mean

    def _about(self) -> tuple[Array, Array]:
        """Where a response is at the estimate of its linear predictor (n,), and about how far it scatters there."""
        times = 1.0 if self.trials is None else self.trials
        mean = self.family.expected(self.eta, self.parameters, self.weights)
        spread = self.family.variance(mean, self.parameters, trials=self.trials, weights=self.weights)
        moved = self.family.expected(self.eta + 0.1 * self.se, self.parameters, self.weights) - mean
        unit = np.sqrt(spread + (10.0 * moved) ** 2) * times
        return mean * times, np.where(np.isfinite(unit) & (unit > 0.0), unit, 1.0 + np.abs(mean * times))

    def _below(self, y: Array, rule: Rule) -> Array:
        """F(y) (n,)."""
        eta, weights = self._nodes(rule)
        values = {name: np.broadcast_to(value, eta.shape) for name, value in self.parameters.items()}
        if "sigma" in values and self.weights is not None:
            values["sigma"] = values["sigma"] / np.sqrt(self.weights)
        trials = None if self.trials is None else np.broadcast_to(self.trials, eta.shape)
        probability = self.family.cdf(np.broadcast_to(y, eta.shape), eta, values, trials)[1]
        return np.asarray(np.sum(np.where(weights > 0.0, weights * probability, 0.0), axis=0))

    def quantile(self, probability: float, rule: Rule) -> Array:
        """The least y (n,) at which F reaches a probability; NaN where there is no distribution."""
        is_whole = self.family.is_discrete
        center, unit = self._about()
        lowest, highest = self._ends()
        low, high = np.maximum(center - unit, lowest), np.minimum(center + unit, highest)
        if is_whole:
            low, high = np.floor(low), np.ceil(high)
        sound, size = np.isfinite(self.eta) & np.isfinite(self.se) & np.isfinite(center), unit
        for _ in range(WIDENINGS):
            above = sound & (low > lowest) & (self._below(low, rule) >= probability)
            if not above.any():
                break
            high = np.where(above, low, high)
            unit = np.where(above, 2.0 * unit, unit)
            low = np.where(above, np.maximum(low - np.ceil(unit) if is_whole else low - unit, lowest), low)
        for _ in range(WIDENINGS):
            short = sound & (high < highest) & ~(self._below(high, rule) >= probability)
            if not short.any():
                break
            low = np.where(short, high, low)
            unit = np.where(short, 2.0 * unit, unit)
            high = np.where(short, np.minimum(high + np.ceil(unit) if is_whole else high + unit, highest), high)
        for _ in range(BISECTIONS):
            middle = np.floor(0.5 * (low + high)) if is_whole else 0.5 * (low + high)
            if is_whole:
                if not (sound & (middle > low) & (middle < high)).any():
                    break
            elif not (sound & (high - low > CLOSE * np.where(lowest == 0.0, np.minimum(size, high), size))).any():
                break
            enough = self._below(middle, rule) >= probability
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        sound &= (self._below(high, rule) >= probability) & ((low <= lowest) | (self._below(low, rule) < probability))
        return np.where(sound, high if is_whole else 0.5 * (low + high), np.nan)

    def _ends(self) -> tuple[Array, Array]:
        """What the response is above, and not above (n,)."""
        family, n = self.family, len(self.eta)
        low = -np.inf
        if family.is_discrete:
            low = (family.least if family.is_count else 0.0) - 1.0
        elif family.has_positive_mean or family.models_log or family.mean_is_probability:
            low = 0.0
        high = np.full(n, np.inf)
        if self.trials is not None:
            high = self.trials
        elif family.has_trials or family.mean_is_probability:
            high = np.ones(n)
        return np.full(n, low), high
