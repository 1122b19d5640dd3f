"""Where a function of one number crosses zero, without SciPy's optimisers, which take half a second to load."""

from __future__ import annotations

from collections.abc import Callable
from math import copysign

XTOL, STEPS = 2e-12, 100


def crossing(function: Callable[[float], float], low: float, high: float, *, rtol: float) -> float:
    """Between two points where a function has different signs, by Brent's method; the iterates of SciPy's `brentq`.

    Brent (1973), Algorithms for Minimization Without Derivatives, chapter 4.

    Raises
    ------
    ValueError
        It has the same sign at both.
    """
    before, here, f_before, f_here = low, high, function(low), function(high)
    if f_before == 0.0 or f_here == 0.0:
        return before if f_before == 0.0 else here
    if copysign(1.0, f_before) == copysign(1.0, f_here):
        raise ValueError(f"no crossing of zero between {low:g} and {high:g}: {f_before:g} and {f_here:g}")
    opposite, f_opposite, last, step = before, f_before, 0.0, 0.0
    for _ in range(STEPS):
        if f_before != 0.0 and f_here != 0.0 and copysign(1.0, f_before) != copysign(1.0, f_here):
            opposite, f_opposite = before, f_before
            last = step = here - before
        if abs(f_opposite) < abs(f_here):
            before, here, opposite = here, opposite, here
            f_before, f_here, f_opposite = f_here, f_opposite, f_here
        close, half = (XTOL + rtol * abs(here)) / 2.0, (opposite - here) / 2.0
        if f_here == 0.0 or abs(half) < close:
            return here
        last, step = _step(before, here, opposite, f_before, f_here, f_opposite, last, step, close, half)
        before, f_before = here, f_here
        here += step if abs(step) > close else (close if half > 0.0 else -close)
        f_here = function(here)
    return here


def _step(
    before: float,
    here: float,
    opposite: float,
    f_before: float,
    f_here: float,
    f_opposite: float,
    last: float,
    step: float,
    close: float,
    half: float,
) -> tuple[float, float]:
    """The step before, and the next one: along a line or a parabola if that is short enough, else to the middle."""
    if not (abs(last) > close and abs(f_here) < abs(f_before)):
        return half, half
    if before == opposite:
        tried = -f_here * (here - before) / (f_here - f_before)
    else:
        slope, other = (f_before - f_here) / (before - here), (f_opposite - f_here) / (opposite - here)
        tried = -f_here * (f_opposite * other - f_before * slope) / (other * slope * (f_opposite - f_before))
    if 2.0 * abs(tried) < min(abs(last), 3.0 * abs(half) - close):
        return step, tried
    return half, half
