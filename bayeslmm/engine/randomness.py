"""Seeds of the user → generators, or a word on what a seed is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError


def generator(random_seed: Any = None) -> np.random.Generator:
    """A generator for a seed; a Generator is taken as it is.

    Raises
    ------
    InputError
        Not None, a whole number from zero up, or a sequence of these.
    """
    if isinstance(random_seed, np.random.Generator):
        return random_seed
    return np.random.default_rng(seed_sequence(random_seed))


def seed_sequence(random_seed: Any = None, spawn_key: tuple[int, ...] = ()) -> np.random.SeedSequence:
    """The same as seeds that can be spawned; those of another ``spawn_key`` are independent."""
    try:
        return np.random.SeedSequence(random_seed, spawn_key=spawn_key)
    except (TypeError, ValueError):
        raise InputError(
            f"random_seed={random_seed!r}: a seed is a whole number from zero up, or None for any"
        ) from None


def sampler_seed(random_seed: int | None = None) -> int:
    """The same as the one number that NUTS takes; for None any."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if random_seed is None else random_seed
