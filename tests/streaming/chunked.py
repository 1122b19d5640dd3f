"""A table with the troubles of large ones, in memory and in chunks."""

import numpy as np
import pandas as pd
from shifted import fixed_rng

ROWS, CHUNK = 1500, 170


def table():
    """Predictors far from zero, text, categories in an order of their own, weights, missing values, crossed factors."""
    rng = fixed_rng(241)
    g, h = rng.integers(0, 40, ROWS), rng.integers(0, 12, ROWS)
    frame = pd.DataFrame(
        {
            "g": g,
            "h": np.array(list("lkjihgfedcba"))[h],
            "x": rng.normal(1000.0, 2.0, ROWS),
            "z": rng.gamma(2.0, size=ROWS),
            "f": rng.choice(["u", "v", "w"], ROWS),
            "dose": pd.Categorical(rng.choice(["low", "mid", "high"], ROWS), ["low", "mid", "high", "none"]),
            "w": rng.uniform(0.5, 2.0, ROWS),
        }
    )
    b = rng.normal(size=(40, 2)) @ [[1.0, 0.2], [0.0, 0.4]]
    frame["y"] = 3.0 + 0.5 * (frame["x"] - 1000.0) + b[g, 0] + b[g, 1] * (frame["x"] - 1000.0)
    frame["y"] += rng.normal(size=12)[h] + rng.normal(size=ROWS)
    frame.loc[::97, "x"] = np.nan
    frame.loc[5::301, "h"] = None
    return frame


def in_chunks(frame, rows=CHUNK):
    """The same rows from a function that gives frames."""
    return lambda: (frame.iloc[first : first + rows] for first in range(0, len(frame), rows))


def apart(one, other):
    """The largest distance of two arrays, relative to the size of the numbers, or of the largest a thousandth."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    size = np.maximum(np.abs(one), 1e-3 * np.abs(one).max(initial=1e-300))
    return float((np.abs(one - other) / size).max(initial=0.0))
