"""Compiled: what is done with every row of a chunk, each in one pass over its numbers."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import numpy as np

from ..tools.compiling import compiled

MISSING, INFINITE, LOW, HIGH, TOTAL = range(5)  # entries of what `scan` fills


@compiled
def scan(values, out):
    """Of numbers (n,): how many are missing and infinite, the smallest and the largest of the others, and their sum."""
    missing, infinite, low, high, total = 0, 0, np.inf, -np.inf, 0.0
    for i in range(values.shape[0]):
        value = values[i]
        if np.isfinite(value):
            total += value
            low = min(low, value)
            high = max(high, value)
        elif np.isnan(value):
            missing += 1
        else:
            infinite += 1
    out[MISSING], out[INFINITE], out[LOW], out[HIGH], out[TOTAL] = missing, infinite, low, high, total


@compiled
def mark(values, low, seen):
    """seen[value − low] = 1 for whole numbers (n,) within the range of the table."""
    for i in range(values.shape[0]):
        seen[values[i] - low] = 1


@compiled
def look_up(values, low, table, codes):
    """codes[i] = table[value − low] for whole numbers (n,); −1 outside of the table."""
    for i in range(values.shape[0]):
        place = values[i] - low
        codes[i] = table[place] if 0 <= place < table.shape[0] else -1


@compiled
def to_units(raw, shift, unit, units, low, high):
    """units = [1, (raw − shift)/unit] (n, 1 + k), and the ranges (k,) of the columns of raw (n, k)."""
    for j in range(raw.shape[1]):
        low[j], high[j] = min(low[j], raw[0, j]), max(high[j], raw[0, j])
    for i in range(raw.shape[0]):
        units[i, 0] = 1.0
        for j in range(raw.shape[1]):
            value = raw[i, j]
            units[i, j + 1] = (value - shift[j]) / unit[j]
            low[j] = min(low[j], value)
            high[j] = max(high[j], value)
