"""Compiled: leverages and residuals of the rows of a model with one factor (docs/theory.md, section 12).

Given the hyperparameters a row's leverage is a quadratic form in its columns c = (z, x), and rows of one level have the
same form. Products of the entries of c do not change from draw to draw: a row costs one multiplication for each,
row after row in memory.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from ..tools.compiling import compiled, inlined
from .reduction import factorise, inverse_of_dense, work_for

Codes = NDArray[np.int64]

MOST_COLUMNS = 12  # of c, whose products take more room and time than solving for each row beyond


class LevelRows(NamedTuple):
    """The rows of one factor, level by level; c has q + p entries."""

    columns: Array  # (q + p, n) the entries of c
    products: Array  # (pairs, n) w c_a c_b for b ≤ a, twice that for b < a
    y: Array  # (n,)
    place: Codes  # (n,) among the rows of the data
    ends: Codes  # (J + 1,) where each level begins and ends

    @classmethod
    def of(cls, Z: Array, X: Array, y: Array, weights: Array, codes: Codes, levels: int) -> LevelRows:
        """Those of Z (n, q), X (n, p) and the level of each row."""
        place = np.argsort(codes, kind="stable")
        columns = np.ascontiguousarray(np.hstack([Z, X])[place].T)
        below = [(a, b) for a in range(len(columns)) for b in range(a + 1)]
        products = np.empty((len(below), len(y)))
        for product, (a, b) in zip(products, below, strict=True):
            product[:] = (1.0 if a == b else 2.0) * weights[place] * columns[a] * columns[b]
        ends = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=levels))])
        return cls(columns=columns, products=products, y=y[place], place=place, ends=ends)


@inlined
def _level_form(pattern, work, v, lams, A_inverse, beta, towards, along, form):
    """Of one level: ΛU (q, p + 1) into ``along`` by ``towards`` = ΛL⁻ᵀ (q, q), and the form into ``form``.

    The effects make ``towards`` times its transpose of it, ΛM⁻¹Λᵀ, and the coefficients FA_x⁻¹Fᵀ, with F = (−ΛU_x, I).
    """
    D, P, _, _, _, _, _ = work.room
    q, p = towards.shape[0], beta.shape[0]
    d, panel = pattern.diagonal_start[v], pattern.panel_start[v]
    for r in range(q):
        for b in range(q):
            total = lams[r * q + b]
            for e in range(b):
                total -= D[d + b * q + e] * towards[r, e]
            towards[r, b] = total / D[d + b * q + b]
        for c in range(p + 1):
            along[r, c] = 0.0
            for b in range(q):
                along[r, c] += towards[r, b] * P[panel + b * (p + 1) + c]
    for a in range(q + p):
        for c in range(p):  # row a of FA_x⁻¹
            total = A_inverse[a - q, c] if a >= q else 0.0
            for r in range(p if a < q else 0):
                total -= along[a, r] * A_inverse[r, c]
            form[a, q + c] = total
        for b in range(q if a < q else 0):
            total = 0.0
            for e in range(q):
                total += towards[a, e] * towards[b, e]
            for c in range(p):
                total -= form[a, q + c] * along[b, c]
            form[a, b] = total


@compiled
def leverages_and_residuals(pattern, values, rows, lams, sigmas, precision, betas, beta_given, leverage, residual):
    """Fill both arrays (S, n): h = w cᵀ(form)c and y − xᵀβ̂ − zᵀb̂; NaN where the numbers break down."""
    n_xy, n = values.XytXy.shape[0], rows.y.shape[0]
    q, p = pattern.widths[0], n_xy - 1
    work = work_for(pattern, n_xy)
    towards, along, form = np.empty((q, q)), np.empty((q, n_xy)), np.empty((q + p, q + p))
    h, e = np.empty(n), np.empty(n)
    for s in range(sigmas.shape[0]):
        _, _, _, _, sound = factorise(pattern, values, lams[s], precision * sigmas[s] ** 2, work)
        if not sound:
            leverage[s, :], residual[s, :] = np.nan, np.nan
            continue
        beta, A_inverse = work.beta, np.zeros((p, p))
        if beta_given:
            beta = betas[s]
        else:
            A_inverse = inverse_of_dense(work.R)
        for level in range(rows.ends.shape[0] - 1):
            first, last = rows.ends[level], rows.ends[level + 1]
            _level_form(pattern, work, level, lams[s], A_inverse, beta, towards, along, form)
            for i in range(first, last):
                h[i], e[i] = 0.0, rows.y[i]
            pair = 0
            for a in range(q + p):
                fit = beta[a - q] if a >= q else along[a, p]
                for c in range(p if a < q else 0):
                    fit -= along[a, c] * beta[c]
                for i in range(first, last):
                    e[i] -= fit * rows.columns[a, i]
                for b in range(a + 1):
                    value = form[b, a] if a >= q else form[a, b]
                    for i in range(first, last):
                        h[i] += value * rows.products[pair, i]
                    pair += 1
        for i in range(n):
            leverage[s, rows.place[i]], residual[s, rows.place[i]] = h[i], e[i]
