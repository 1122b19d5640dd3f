"""Monte Carlo errors of estimates by the iterative solver, whose gradient is that of random probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..tools.arrays import Array
from .estimates import Estimates


def error_of[Record: Estimates](record: Record, numbers: Callable[[Record], Array]) -> Array | None:
    """Standard Monte Carlo errors of numbers that estimates are made into; None of estimates without chance.

    The numbers are taken one error away along independent directions (`bayeslmm.engine.reml.Iterative`).
    """
    by_probes, solution = record.solution.iterative, record.solution
    if by_probes is None:
        return None
    middle = numbers(record)
    squares = np.zeros_like(middle)
    for i, sigma in enumerate(by_probes.sigmas):
        away = replace(
            solution,
            beta=by_probes.betas[i],
            covariances=tuple(covariance[i] for covariance in by_probes.covariances),
            parameters={"sigma": np.asarray(sigma)},
        )
        squares = squares + (numbers(replace(record, solution=away)) - middle) ** 2
    return np.sqrt(squares)


def in_words(record: Estimates) -> str:
    """How the estimates came about and how far chance moves them; empty of those without chance."""
    by_probes = record.solution.iterative
    if by_probes is None:
        return ""

    def sds(fit: Estimates) -> Array:
        variances = [np.diagonal(covariance) for covariance in fit.solution.covariances]
        return np.sqrt(np.maximum(np.concatenate(variances), 0.0))

    labels = [f"sd({name} | {group.name})" for group in record.design.groups for name in group.columns]
    values, errors = sds(record), error_of(record, sds)
    assert errors is not None
    shares = np.divide(errors, values, out=np.zeros(len(values)), where=values > 0.0)
    worst = int(np.argmax(shares))
    return (
        f"By conjugate gradients with {record.solution.probes} random probes (solver='iterative'); Monte Carlo error "
        f"of sds at most {100.0 * shares[worst]:.2g} % ({labels[worst]}), of the log-likelihood "
        f"{by_probes.criterion_error / 2.0:.2g}"
    )
