"""Brent's method beside SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from shifted import fixed_rng

from bayeslmm.tools.roots import crossing


@pytest.mark.parametrize("rtol", [1e-6, 1e-12])
def test_iterates_are_those_of_scipy(rtol):
    rng = fixed_rng(1)
    for _ in range(200):
        slope, base, radius = rng.normal(size=3), np.exp(3.0 * rng.normal(size=3)), np.exp(rng.normal())
        asked: list[list[float]] = [[], []]

        def excess(shift, seen=None, slope=slope, base=base, radius=radius):
            seen.append(shift)
            return radius - float(np.linalg.norm(slope / (base + shift)))

        low, high = 0.0, float(np.linalg.norm(slope)) / radius * 1.1
        if excess(low, []) >= 0.0:
            continue
        theirs = optimize.brentq(excess, low, high, args=(asked[0],), rtol=rtol)
        ours = crossing(lambda x, f=excess, seen=asked[1]: f(x, seen), low, high, rtol=rtol)
        assert ours == theirs
        assert asked[1] == asked[0]


def test_ends_that_are_roots_are_answers():
    assert crossing(lambda x: x, 0.0, 1.0, rtol=1e-6) == 0.0
    assert crossing(lambda x: x - 1.0, 0.0, 1.0, rtol=1e-6) == 1.0


def test_no_crossing_is_said():
    with pytest.raises(ValueError, match="between 1 and 2: 1 and 2"):
        crossing(lambda x: x, 1.0, 2.0, rtol=1e-6)
