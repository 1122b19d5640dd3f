"""Draws from the exact posterior by independence Metropolis–Hastings, chains at once (docs/theory.md, section 7)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.blas import one_blas_thread
from .marginal import Marginal, Walk
from .proposal import Proposal

FIRST = 100  # proposals from which the first state of a chain is drawn by weight: there is nothing to warm up
SEGMENT_SECONDS = 0.2  # between two looks at the progress bar and at an interrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDraws:
    """Draws from the posterior and how they were made."""

    beta: Array  # (chain, draw, p) on the user's scale
    sigma: Array  # (chain, draw)
    sds: tuple[Array, ...]  # per factor (chain, draw, q_k)
    correlations: tuple[Array, ...]  # per factor (chain, draw, q_k, q_k)
    effects: tuple[Array, ...]  # per factor (chain, draw, J_k, q_k)
    residual: Array  # (chain, draw, d + r) of residuals with parameters besides sigma
    log_density: Array  # (chain, draw) of the hyperparameters, normalised but for p(y)
    accepted: NDArray[np.bool_]  # (chain, draw) whether the proposal was taken
    log_weights: Array  # (chain, draw) of the proposals: their spread is what k̂ measures


class Chainable(Protocol):
    """A density that chains can be drawn from."""

    def log_densities(self, x: Array) -> Array:
        """Log density at each row of x (N, d)."""

    def noise(self, rng: Generator, n: int) -> Any:
        """What n draws need besides their proposals."""

    def walk(self, x: Array, log_proposal: Array, log_uniform: Array, noise: Any) -> Any:
        """A stretch of a chain; it has ``x`` and ``log_proposal`` of every draw."""


class _Pace:
    """How many rows or draws take about as long as a segment: found by trying, from one on."""

    def __init__(self) -> None:
        self.rows = 1

    def took(self, rows: int, seconds: float) -> None:
        """Learn from what has been done."""
        if seconds > SEGMENT_SECONDS:
            self.rows = max(1, rows // 2)
        elif seconds < SEGMENT_SECONDS / 2:
            self.rows = max(self.rows, 2 * rows)

    def segments(self, end: int) -> Iterator[slice]:
        """Slices from 0 to ``end``; the time until the next is asked for is that of the last."""
        first = 0
        while first < end:
            last, started = min(first + self.rows, end), time.perf_counter()
            yield slice(first, last)
            self.took(last - first, time.perf_counter() - started)
            first = last


class Team:
    """Threads that share the work; the compiled loops let them run at the same time. Use it in a ``with`` statement.

    BLAS is held to one thread meanwhile: its own would share the cores out once more, keep them busy waiting for work,
    and round differently on another number of cores.
    """

    def __init__(self, cores: int, *, advance: Callable[[int], object] = lambda steps: None) -> None:
        self.cores, self.advance = max(cores, 1), advance
        self.interrupted = threading.Event()
        self._open = ExitStack()

    def __enter__(self) -> Team:
        self._open.enter_context(one_blas_thread)
        self._pool = self._open.enter_context(ThreadPoolExecutor(self.cores))
        return self

    def __exit__(self, *error: object) -> None:
        self.interrupted.set()
        self._open.close()

    def densities(self, marginal: Chainable) -> Callable[[Array], Array]:
        """``marginal.log_densities``, its rows spread over the threads, in pieces that an interrupt can wait for."""
        pace = _Pace()

        def density(x: Array) -> Array:
            started = time.perf_counter()
            if len(x) <= min(pace.rows, 16 * self.cores):
                pieces, rounds = [x], 1
                parts = [marginal.log_densities(x)]
            else:
                rounds = math.ceil(len(x) / (pace.rows * self.cores))
                pieces = np.array_split(x, rounds * self.cores)
                parts = list(self._pool.map(marginal.log_densities, pieces))
            pace.took(len(pieces[0]), (time.perf_counter() - started) / rounds)
            return np.concatenate(parts)

        return density

    def chains(self, marginal: Marginal, proposal: Proposal, draws: int, rngs: Sequence[Generator]) -> ExactDraws:
        """One chain for each generator."""
        return _gather(self.walks(marginal, proposal, draws, rngs))

    def walks(self, marginal: Chainable, proposal: Proposal, draws: int, rngs: Sequence[Generator]) -> list[list[Any]]:
        """The stretches of one chain for each generator."""
        jobs = [self._pool.submit(self._chain, marginal, proposal, draws, rng) for rng in rngs]
        for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
            job.result()  # raises what stopped a chain, and leaving the team stops the others
        return [job.result() for job in jobs]

    def _chain(self, marginal: Chainable, proposal: Proposal, draws: int, rng: Generator) -> list[Any]:
        moves, noise = rng.spawn(2)  # so that the length of a segment changes no draw
        x = proposal.draw(moves, FIRST)
        pace, log_weights = _Pace(), -proposal.log_density(x)
        for part in pace.segments(FIRST):
            if self.interrupted.is_set():
                return []
            log_weights[part] += marginal.log_densities(x[part])
        weights = np.exp(log_weights - log_weights.max())
        first = x[moves.choice(FIRST, p=weights / weights.sum())]
        x = np.concatenate([first[None], proposal.draw(moves, draws)])
        log_proposal = proposal.log_density(x)
        log_uniform = np.log(moves.uniform(size=draws))
        walks: list[Any] = []
        for part in pace.segments(draws):
            if self.interrupted.is_set():
                break
            end = part.stop
            normal = marginal.noise(noise, end - part.start)
            rows = slice(part.start, end + 1)
            walks.append(marginal.walk(x[rows], log_proposal[rows], log_uniform[part], normal))
            x[end], log_proposal[end] = (walks[-1].x[-1], walks[-1].log_proposal[-1])  # where the next one begins
            self.advance(end - part.start)
        return walks


def complete(marginal: Marginal, x: Array, rng: Generator) -> ExactDraws:
    """Draws of β and b for hyperparameters x (chain, draw, d) that another sampler has drawn."""

    def walk(points: Array) -> Walk:
        return marginal.walk(
            np.concatenate([points[:1], points]),
            np.zeros(len(points) + 1),
            np.full(len(points), -np.inf),
            marginal.noise(rng, len(points)),
        )

    pace = _Pace()
    return _gather([[walk(chain[part]) for part in pace.segments(len(chain))] for chain in x])


def _gather(chains: Sequence[Sequence[Walk]]) -> ExactDraws:
    """Segments one after another, chains side by side."""

    def joined(part: Callable[[Walk], NDArray[Any]]) -> NDArray[Any]:
        return np.stack([np.concatenate([part(walk) for walk in walks]) for walks in chains])

    def by_factor(part: Callable[[Walk], Sequence[Array]]) -> tuple[Array, ...]:
        def of(k: int) -> Array:
            return joined(lambda walk: part(walk)[k])

        return tuple(of(k) for k in range(len(chains[0][0].effects)))

    return ExactDraws(
        beta=joined(lambda w: w.beta),
        sigma=joined(lambda w: w.sigma),
        sds=by_factor(lambda w: w.sds),
        correlations=tuple(map(_correlations, by_factor(lambda w: w.factors))),
        effects=by_factor(lambda w: w.effects),
        residual=joined(lambda w: w.residual),
        log_density=joined(lambda w: w.log_density),
        accepted=joined(lambda w: w.accepted),
        log_weights=joined(lambda w: w.log_weights),
    )


def _correlations(factors: Array) -> Array:
    """CCᵀ with ones on the diagonal."""
    correlations = factors @ factors.swapaxes(-1, -2)
    diagonal = range(correlations.shape[-1])
    correlations[..., diagonal, diagonal] = 1.0
    return correlations
