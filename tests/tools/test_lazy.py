"""Modules that are loaded late."""

import pickle

from bayeslmm.tools.lazy import Later


def test_a_module_for_later_goes_to_other_processes():
    """Dask sends verbs to its workers with the names that they use."""
    module = pickle.loads(pickle.dumps(Later("math")))
    assert module.sqrt(4.0) == 2.0
