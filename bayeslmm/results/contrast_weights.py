"""Weights of means in contrasts: pairs, against a reference, against the mean of all, polynomials, interactions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tools.arrays import Array
from ..tools.words import is_one_of

CONTRASTS = ("pairwise", "reverse", "reference", "consecutive", "mean", "poly")
ROUNDING = 1e-8  # of weights such as 1 / 3


def contrast_weights(method: Any, names: list[str], *, sum_to_zero: bool = True) -> tuple[list[str], Array]:
    """Names and weights (contrasts, means) of a method.

    Raises
    ------
    InputError
        No such method, other than a finite weight for each mean, weights that are all zero, or with ``sum_to_zero``
        weights that do not.
    """
    k = len(names)
    if isinstance(method, Mapping):
        C = []
        for name, user_weights in method.items():
            try:
                row = np.asarray(user_weights, dtype=float)
            except (TypeError, ValueError):
                row = np.zeros(0)
            if row.shape != (k,) or not np.isfinite(row).all():
                raise InputError(
                    f"contrasts({{{name!r}: ...}}): {k} finite weights are needed, one for each of {', '.join(names)}"
                )
            size, total = float(np.abs(row).sum()), float(row.sum())
            if not size:
                raise InputError(f"contrasts({{{name!r}: ...}}): all weights are zero, so nothing is compared")
            if sum_to_zero and abs(total) > ROUNDING * size:
                raise InputError(
                    f"contrasts({{{name!r}: ...}}): the weights of {', '.join(names)} sum to {total:.6g}; those of a "
                    "contrast sum to zero, as [0.5, 0.5, -1]. For another sum or average of means say "
                    "contrasts(..., sum_to_zero=False)"
                )
            C.append(row)
        return [str(name) for name in method], np.array(C).reshape(len(C), k)
    if not is_one_of(method, CONTRASTS):
        raise InputError(f"contrasts({method!r}): methods are {', '.join(map(repr, CONTRASTS))}, or weights by name")
    unit = np.eye(k)
    if method in ("pairwise", "reverse"):
        pairs = [(a, b) if method == "pairwise" else (b, a) for a, b in combinations(range(k), 2)]
    elif method == "reference":
        pairs = [(b, 0) for b in range(1, k)]
    elif method == "consecutive":
        pairs = [(b + 1, b) for b in range(k - 1)]
    elif method == "mean":
        return [f"{name} effect" for name in names], unit - 1.0 / k
    else:
        return _polynomial(k)
    return [f"{names[a]} - {names[b]}" for a, b in pairs], np.array([unit[a] - unit[b] for a, b in pairs]).reshape(
        -1, k
    )


def _polynomial(k: int) -> tuple[list[str], Array]:
    """Orthogonal polynomials with whole weights, where they have some, as emmeans and printed tables."""
    powers = np.vander(np.arange(k, dtype=float), k, increasing=True)
    Q = np.linalg.qr(powers)[0].T[1:]
    rows = []
    for q in Q:
        q = q * np.sign(q[-1])
        small = np.abs(q[np.abs(q) > 1e-9]).min()
        whole = q / small
        for factor in range(1, 41):
            if np.allclose(whole * factor, np.rint(whole * factor), atol=1e-6):
                whole = np.rint(whole * factor)
                break
        rows.append(whole)
    names = ["linear", "quadratic", "cubic", "quartic"] + [f"degree {d}" for d in range(5, k)]
    return names[: k - 1], np.array(rows).reshape(-1, k)


def interaction_weights(labels: pd.DataFrame, methods: Any) -> tuple[pd.DataFrame, Array]:
    """Products of the contrasts of every variable."""
    names = list(labels)
    methods_of = [methods] * len(names) if isinstance(methods, str) else list(methods)
    if len(methods_of) != len(names):
        raise InputError(
            f"contrasts(interaction=...): {len(names)} methods are needed, one each for {', '.join(names)}"
        )
    parts = []
    for name, method in zip(names, methods_of, strict=True):
        distinct = list(dict.fromkeys(labels[name]))
        parts.append(
            (
                name,
                contrast_weights(method, [str(value) for value in distinct]),
                {value: k for k, value in enumerate(distinct)},
            )
        )
    rows: list[dict[str, str]] = [{}]
    C = np.ones((1, len(labels)))
    for name, (contrasts, weights), place in parts:
        level_weights = weights[:, [place[v] for v in labels[name]]]
        # the first variable's contrasts run fastest, as in emmeans
        rows = [{**row, name: text} for text in contrasts for row in rows]
        C = np.array([weight * c for weight in level_weights for c in C]).reshape(-1, len(labels))
    return pd.DataFrame(rows), C
