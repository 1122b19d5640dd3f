"""Particles tempered from a uniform density to the posterior of hyperparameters (Del Moral, Doucet & Jasra 2006)."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from .marginal import Marginal
from .marginal_nuts import bounded, unbounded
from .proposal import Density

PARTICLES, SWEEPS, MOST_STEPS = 400, 3, 80
EFFECTIVE = 0.5  # share of the particles that count after a step of the temperature
MIDWAY = 0.2  # the temperature's inverse at which modes of little mass still hold many particles


def temper(
    marginal: Marginal, density: Density, rng: Generator, low: Array, high: Array, among: Array
) -> tuple[Array, Array, Array]:
    """Particles (N, d), their log densities, and the particles at a temperature midway, from a uniform start.

    They start in a box of z, as `unbounded` has it; ``among`` (n, d) are points of which some have mass.

    Steps of the temperature leave half of the particles; each is followed by sweeps of differential evolution (ter
    Braak 2006), whose jumps reach from one mode to another.
    """
    sds = marginal.space.sd_at

    def target(z: Array) -> tuple[Array, Array]:
        value = density(bounded(marginal, z))
        return value - np.sum(np.logaddexp(0.0, -z[:, sds]), axis=1), value

    z = rng.uniform(low, high, (PARTICLES, len(low)))
    z[: len(among)] = np.clip(unbounded(marginal, among), low, high)  # one has a positive density then
    total, value = target(z)
    power, midway = 0.0, z
    for _ in range(MOST_STEPS):
        step = _step(total, 1.0 - power)
        power += step
        weights = np.exp(step * (total - total.max()))
        keep = _resample(weights / weights.sum(), rng)
        z, total, value = z[keep], total[keep], value[keep]
        for sweep in range(SWEEPS):
            move = _evolved(z, rng, jump=sweep == 0)
            inside = np.all((move > low) & (move < high), axis=1)
            new_total, new_value = np.full(len(z), -np.inf), np.full(len(z), -np.inf)
            new_total[inside], new_value[inside] = target(move[inside])
            taken = np.log(rng.uniform(size=len(z))) < power * (new_total - total)
            z, total = np.where(taken[:, None], move, z), np.where(taken, new_total, total)
            value = np.where(taken, new_value, value)
        if power < MIDWAY:
            midway = z
        if power >= 1.0:
            break
    return bounded(marginal, z), value, bounded(marginal, midway)


def _step(total: Array, left: float) -> float:
    """The largest step of the power, up to ``left``, that leaves enough particles."""

    def share(step: float) -> float:
        weights = np.exp(step * (total - total.max()))
        return float(weights.sum() ** 2 / np.sum(weights**2) / len(weights))

    if share(left) > EFFECTIVE:
        return left
    few, many = 1e-12, left
    for _ in range(40):
        middle = np.sqrt(few * many)
        few, many = (middle, many) if share(middle) > EFFECTIVE else (few, middle)
    return float(few)


def _resample(weights: Array, rng: Generator) -> NDArray[np.int64]:
    """Systematic resampling."""
    N = len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), (np.arange(N) + rng.uniform()) / N), N - 1)


def _evolved(z: Array, rng: Generator, *, jump: bool) -> Array:
    """Each particle moved along the difference of two others; with ``jump`` by all of it."""
    N, d = z.shape
    first, second = (np.arange(N) + rng.integers(1, N, N)) % N, (np.arange(N) + rng.integers(1, N, N)) % N
    gain = 1.0 if jump else 2.38 / np.sqrt(2.0 * d) * rng.choice([1.0, 0.3], size=(N, 1))
    return z + gain * (z[first] - z[second]) + 1e-3 * z.std(axis=0) * rng.normal(size=(N, d))
