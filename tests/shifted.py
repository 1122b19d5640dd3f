"""Every seed of the tests shifted by BAYESLMM_SEED_SHIFT, to see whether a test hinges on particular draws."""

import os

import numpy as np

from bayeslmm.engine import randomness

SHIFT = int(os.environ.get("BAYESLMM_SEED_SHIFT", "0"))

_default_rng = np.random.default_rng


def fixed_rng(seed):
    """A generator that no shift changes: for data whose reference numbers, or whose peculiarity, are written down.

    NumPy's streams are the same on every machine. What is *sampled* from such data is shifted all the same.
    """
    return _default_rng(seed)


def _shifted(seed):
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
    return int(seed) + SHIFT if whole else seed


def install():
    """Shift what tests draw by ``numpy.random.default_rng``, and what the package draws for its ``random_seed``."""
    seed_sequence, sampler_seed = randomness.seed_sequence, randomness.sampler_seed
    np.random.default_rng = lambda seed=None: _default_rng(_shifted(seed))
    randomness.seed_sequence = lambda random_seed=None, spawn_key=(): seed_sequence(_shifted(random_seed), spawn_key)
    randomness.sampler_seed = lambda random_seed=None: sampler_seed(_shifted(random_seed))
