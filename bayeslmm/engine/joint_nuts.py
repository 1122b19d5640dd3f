"""NUTS by nutpie on the joint density in compiled loops; a door to nutpie.

nutpie takes C functions of an unconstrained vector, whose data come through one pointer: the buffer of a `Joint`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..tools.arrays import Array
from .interrupts import interruptible
from .joint import coordinates_for_c, density_for_c

START_TRIES = 100
AFTER_DIVERGENCES = (0.95, 0.99)
HOPELESS = 0.1  # share of divergences that smaller steps will not mend


@dataclass(frozen=True, slots=True, kw_only=True)
class JointDraws:
    """Draws of NUTS and how they came about.

    Attributes
    ----------
    x : float64 array (chain, draw, d)
    stats : xarray.Dataset
        What the sampler reports of every draw.
    tune_seconds, draw_seconds : float
        Time of all chains together, shared out by evaluations of the gradient.
    """

    x: Array
    stats: Any
    tune_seconds: float
    draw_seconds: float


def sample_joint(
    buffer: Array,
    start: Callable[[int], Array],
    d: int,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    random_seed: int | None,
    report: Callable[[Any], None],
    options: Mapping[str, Any],
) -> JointDraws:
    """Draw x from its joint density.

    Parameters
    ----------
    buffer : float64 array
        A packed `Joint`.
    start : callable
        A start (d,) for a seed; others are tried where the density is zero.
    d : int
        Number of coordinates.
    report : callable
        Told now and then, by another thread, how far the chains are: a list of ``nutpie.ChainProgress``.
    options : mapping
        Further settings of ``nutpie.sample``, such as ``target_accept``.
    """
    import nutpie
    from nutpie.compile_pymc import CompiledPyMCModel

    model = CompiledPyMCModel(
        dims={},
        _coords={},
        _shapes={"x": (d,)},
        compiled_logp_func=density_for_c,
        compiled_expand_func=coordinates_for_c,
        initial_point_func=lambda seed: first_start(buffer, start, d, seed)[0],
        shared_data={},
        shared_var_keys={},
        user_data=buffer,
        n_expanded=d,
        shape_info=(["x"], [slice(0, d)], [(d,)]),
        logp_func=None,
        expand_func=None,
        _n_dim=d,
    )
    begin = time.perf_counter()
    with interruptible():  # nutpie answers Ctrl-C with the draws it has, of some chains none
        tree = nutpie.sample(
            model,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            seed=random_seed,
            progress_bar=False,
            progress_callback=report,
            save_warmup=True,
            **options,
        )
    seconds = time.perf_counter() - begin
    stats = tree.sample_stats.to_dataset()
    tuning = float(tree.warmup_sample_stats["n_steps"].sum())
    share = tuning / (tuning + float(stats["n_steps"].sum()))
    return JointDraws(
        x=tree.posterior["x"].to_numpy(), stats=stats, tune_seconds=share * seconds, draw_seconds=(1 - share) * seconds
    )


def with_smaller_steps(sample: Callable[[float], JointDraws], first: float, *, mend: bool) -> tuple[JointDraws, float]:
    """Draws without divergences, if smaller steps give them, and the acceptance rate aimed at.

    Parameters
    ----------
    sample : callable
        Draws for an acceptance rate to aim at.
    first : float
        The rate to begin with.
    mend : bool
        Whether to aim at higher ones after divergences.

    Returns
    -------
    JointDraws
        The last ones; their seconds are those of all trials.
    float
    """
    drawn, target = sample(first), first
    for higher in AFTER_DIVERGENCES:
        if not mend or not 0.0 < float(drawn.stats["diverging"].mean()) < HOPELESS:
            break
        if higher <= target:
            continue
        again, target = sample(higher), higher
        drawn = replace(
            again,
            tune_seconds=drawn.tune_seconds + again.tune_seconds,
            draw_seconds=drawn.draw_seconds + again.draw_seconds,
        )
    return drawn, target


def first_start(buffer: Array, start: Callable[[int], Array], d: int, seed: Any) -> tuple[Array, bool]:
    """The first of many starts with a finite density and gradient, and whether there is one."""
    first_seed = int(np.asarray(seed).reshape(-1)[0]) if seed is not None else 0
    for attempt in range(START_TRIES):
        x = np.ascontiguousarray(start(first_seed + attempt))
        if _is_finite(buffer, x):
            return x, True
    return x, False


def _is_finite(buffer: Array, x: Array) -> bool:
    """Whether the density and its gradient at x are, by the function that NUTS calls."""
    gradient, value = np.zeros_like(x), np.zeros(1)
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for a in (x, gradient, value)]
    return bool(density_for_c.ctypes(len(x), *pointers, buffer.ctypes.data) == 0)
