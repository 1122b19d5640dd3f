"""Functions of formulas: those that remember the rows of the fit, and words of R.

A class marked as a stateful transform (formulae's protocol) is made once for each place in a formula. Its first call
learns from the rows of the fit, and later ones use what was learnt.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ..errors import DataError
from ..terms.bases import make


class Stateful:
    """A transform that learns at its first call."""

    __stateful_transform__: ClassVar[bool] = True

    def __init__(self) -> None:
        self.state: Any = None


class Center(Stateful):
    """``center(x)``: the deviations from the mean of the fit's rows."""

    def __call__(self, x: Any) -> Any:
        if self.state is None:
            self.state = np.mean(x)
        return x - self.state


class Scale(Stateful):
    """R's ``scale(x, center, scale)``: in sds (n - 1) from the mean of the fit's rows.

    As in R, ``center`` and ``scale`` may be numbers to use, and without centring the root mean square takes the place
    of the sd.
    """

    def __call__(self, x: Any, center: bool | float = True, scale: bool | float = True) -> Any:
        if self.state is None:
            self.state = self._learn(x, center, scale)
        return (x - self.state[0]) / self.state[1]

    @staticmethod
    def _learn(x: Any, center: bool | float, scale: bool | float) -> tuple[float, float]:
        for name, value in (("center", center), ("scale", scale)):
            if not isinstance(value, bool | int | float | np.number):
                raise TypeError(f"{name}= is True, False or a number")
        shift = float(np.mean(x)) if center is True else float(center)
        if scale is not True:
            return shift, 1.0 if scale is False else float(scale)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = float(np.sum((np.asarray(x) - shift) ** 2))
        return shift, root_mean_square(squares, len(x), float(np.max(np.abs(x))))


def root_mean_square(squares: float, n: int, largest: float) -> float:
    """That of `Scale`, n - 1 in the place of n, from a sum of squares and the largest size among the numbers.

    Raises
    ------
    DataError
        Squares of finite numbers leave the range of floating-point numbers, so that all would be scaled to zero.
    """
    if not np.isfinite(squares) and np.isfinite(largest):
        raise DataError(
            f"scale() takes numbers up to {largest:.3g}, whose squares leave the range of floating-point numbers. "
            "Rescale them: put them in other units, or correct single values that are wrong."
        )
    return float(np.sqrt(np.float64(squares) / (n - 1)))


class Average(Stateful):
    """R's ``ave(x, g, ...)``: for each row the mean of its group in the rows of the fit."""

    def __call__(self, x: Any, *groups: Any) -> Any:
        if not groups:
            raise TypeError("ave(x, g) takes the column to group by; the mean of all rows is np.mean(x)")
        keys = pd.MultiIndex.from_arrays([np.asarray(group) for group in groups])
        if self.state is None:
            codes, levels = keys.factorize()
            sums = np.bincount(codes, weights=np.asarray(x, dtype=np.float64))
            self.state = sums / np.bincount(codes), levels
        means, levels = self.state
        codes = levels.get_indexer(keys)
        if (codes < 0).any():
            unseen = ":".join(map(str, keys[int(np.flatnonzero(codes < 0)[0])]))
            raise ValueError(f"the group {unseen!r} has no mean, as no row of the fit is in it")
        return means[codes]


class Binary(Stateful):
    """formulae's ``binary(x, success)``: 1 where x is the level, by default the first in order."""

    def __call__(self, x: Any, success: Any = None) -> Any:
        x = pd.Series(x)
        if self.state is None:
            self.state = (sorted(x.unique().tolist())[0] if success is None else success,)
            if not (x == self.state[0]).any():
                raise ValueError(f"no row of {x.name!r} holds {success!r}")
        return np.where(x == self.state[0], 1.0, 0.0)


class Indicator(Stateful):
    """1 where x is the level: what ``y['level'] ~ ...`` makes the response."""

    def __call__(self, x: Any, level: Any) -> Any:
        if self.state is None:
            if not (x == level).any():
                raise ValueError(f"no row of {x.name!r} holds {level!r}")
            self.state = True
        return (x == level).astype("float64")


class CurvesOfLevels(Stateful):
    """``fs_curves(x, k)``: the k − 2 bent columns of a thin plate spline with a penalty of one each, for ``bs="fs"``.

    They have no straight line in them over the rows of the fit, as mgcv's.
    """

    def __call__(self, x: Any, k: int) -> Any:
        if not pd.api.types.is_numeric_dtype(x):
            raise TypeError("s(x, g, bs='fs') takes the number first and then the levels")
        values = np.asarray(x, dtype=np.float64)
        if self.state is None:
            basis = make("tp", values, k, "fs_curves()")
            penalties, vectors = np.linalg.eigh(basis.penalty[: k - 2, : k - 2])
            bent, lines = np.split(basis.columns(values), [k - 2], axis=1)
            transform = vectors / np.sqrt(penalties)
            self.state = basis, np.vstack([transform, -np.linalg.lstsq(lines, bent @ transform)[0]])
        basis, transform = self.state
        return basis.columns(values) @ transform


def double(value: Any) -> Any:
    """Whole numbers and truth values of columns as doubles, as R reckons; anything else as it is."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biu":
        return value.astype("float64")
    return value


def double_unless_logical(value: Any) -> Any:
    """Whole numbers of columns as doubles."""
    dtype = getattr(value, "dtype", None)
    return value if isinstance(dtype, np.dtype) and dtype.kind == "b" else double(value)


def pmax(x1: Any, x2: Any, *more: Any) -> Any:
    """R's ``pmax(x, y, ...)``: the largest of each row."""
    return reduce(np.maximum, (x1, x2, *more))


def pmin(x1: Any, x2: Any, *more: Any) -> Any:
    """R's ``pmin(x, y, ...)``: the smallest of each row."""
    return reduce(np.minimum, (x1, x2, *more))


def ifelse(test: Any, yes: Any, no: Any) -> Any:
    """R's ``ifelse(test, yes, no)``."""
    return np.where(test, yes, no)


def sd(x: Any) -> Any:
    """R's ``sd(x)``, with n - 1."""
    return np.std(np.asarray(x), ddof=1)


def var(x: Any) -> Any:
    """R's ``var(x)``, with n - 1."""
    return np.var(np.asarray(x), ddof=1)


R_WORDS: dict[str, Any] = {
    "ave": Average,
    "ceiling": np.ceil,
    "floor": np.floor,
    "ifelse": ifelse,
    "mean": np.mean,
    "median": np.median,
    "pmax": pmax,
    "pmin": pmin,
    "quantile": np.quantile,
    "sd": sd,
    "var": var,
}
"""What a word of R means unless the author of the formula has given the name a meaning."""
