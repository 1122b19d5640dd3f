"""Statistics of data sets, for predictive checks: of all rows, within every level of a factor, between its levels.

Arrays in, arrays out. Every statistic is computed for S data sets at once, from `Parts`, which hold them split by
level; all rows together are one level.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.codes import scores
from ..design.design import Design
from ..errors import InputError
from ..tools.arrays import Array

ENOUGH_ROWS = 5  # of a level whose sd is compared with that of others
NUMBERS = 4_000_000  # of data sets split at a time: 32 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Rows by level.

    Attributes
    ----------
    name : str
        The factor; empty for all rows together.
    labels : tuple
        Levels that have rows.
    order : int array (m,)
        Rows that have a level, those of one level together in their order.
    starts, sizes : int arrays (J,)
        Where the rows of a level begin in ``order``, and how many there are.
    """

    name: str
    labels: tuple[Any, ...]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, codes: NDArray[np.int64], labels: Sequence[Any]) -> Split:
        """Rows by the codes of their levels (n,), −1 for rows without one."""
        order = np.argsort(codes, kind="stable")
        order = order[codes[order] >= 0]
        present, starts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
        return cls(name=name, labels=tuple(labels[c] for c in present), order=order, starts=starts, sizes=sizes)

    @classmethod
    def whole(cls, n: int) -> Split:
        """All rows together."""
        return cls.of("", np.zeros(n, dtype=np.int64), (None,))

    @property
    def blocks(self) -> Iterator[slice]:
        """Where the rows of each level are."""
        for start, size in zip(self.starts, self.sizes, strict=True):
            yield slice(int(start), int(start + size))


class Parts:
    """S data sets (S, n) split by level; what several statistics need is computed once."""

    def __init__(self, y: Array, split: Split) -> None:
        self.split = split
        self.values = y[:, split.order]
        self.values.setflags(write=False)

    def sums(self, values: Array) -> Array:
        """Sum of each level (S, J) of values (S, m)."""
        return np.add.reduceat(values, self.split.starts, axis=1)

    @cached_property
    def means(self) -> Array:
        """Mean of each level (S, J)."""
        return self.sums(self.values) / self.split.sizes

    @cached_property
    def deviations(self) -> Array:
        """Values less the mean of their level (S, m)."""
        return self.values - np.repeat(self.means, self.split.sizes, axis=1)

    @cached_property
    def squares(self) -> Array:
        """Sum of squared deviations of each level (S, J)."""
        return self.sums(self.deviations**2)


Compute = Callable[[Parts], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A named statistic: of the rows of every level (S, J), or of the differences between levels (S,)."""

    name: str
    compute: Compute
    between: bool = False
    by_user: bool = False


# -- of the rows of every level, (S, J)


def _sd(parts: Parts) -> Array:
    return np.sqrt(parts.squares / (parts.split.sizes - 1.0))


def _skewness(parts: Parts) -> Array:
    """Third central moment over the sd cubed, both divided by n."""
    third = parts.sums(parts.deviations * parts.deviations * parts.deviations) / parts.split.sizes
    return third / (parts.squares / parts.split.sizes) ** 1.5


def _share(value: float) -> Compute:
    return lambda parts: parts.sums((parts.values == value).astype(float)) / parts.split.sizes


def _quantile(p: float) -> Compute:
    def compute(parts: Parts) -> Array:
        return np.column_stack([np.quantile(parts.values[:, block], p, axis=1) for block in parts.split.blocks])

    return compute


WITHIN: dict[str, Compute] = {
    "mean": lambda parts: parts.means,
    "sd": _sd,
    "min": lambda parts: np.minimum.reduceat(parts.values, parts.split.starts, axis=1),
    "max": lambda parts: np.maximum.reduceat(parts.values, parts.split.starts, axis=1),
    "median": _quantile(0.5),
    "skewness": _skewness,
    "share_of_zeros": _share(0.0),
    "share_of_ones": _share(1.0),
}


# -- between levels, (S,)


def _mean_squares(parts: Parts) -> tuple[Array, Array, float]:
    """Mean squares between and within levels (S,), and the size n₀ that stands for all of them.

    E(between) = σ² + n₀τ² and E(within) = σ² (Searle, Casella & McCulloch 1992, chapter 3).
    """
    sizes = parts.split.sizes
    n, levels = sizes.sum(), len(sizes)
    centred = parts.means - parts.values.mean(axis=1, keepdims=True)
    between = (centred**2) @ sizes / (levels - 1.0)
    within = parts.squares.sum(axis=1) / (n - levels)
    return between, within, float((n - (sizes**2).sum() / n) / (levels - 1.0))


def _between_group_sd(parts: Parts) -> Array:
    between, within, size = _mean_squares(parts)
    return np.sqrt(np.maximum(between - within, 0.0) / size)


def _icc(parts: Parts) -> Array:
    between, within, size = _mean_squares(parts)
    return (between - within) / (between + (size - 1.0) * within)


def _within_sd_ratio(parts: Parts) -> Array:
    sd = _sd(parts)[:, parts.split.sizes >= ENOUGH_ROWS]
    return sd.max(axis=1) / sd.min(axis=1)


BETWEEN: dict[str, Compute] = {
    "between_group_sd": _between_group_sd,
    "icc": _icc,
    "smallest_group_mean": lambda parts: parts.means.min(axis=1),
    "largest_group_mean": lambda parts: parts.means.max(axis=1),
    "within_sd_ratio": _within_sd_ratio,
}


def undefined(name: str, split: Split) -> str | None:
    """Why a statistic between levels cannot be computed for these; None where it can."""
    sizes = split.sizes
    if len(sizes) < 2:
        return f"{split.name} has one level"
    if name in ("between_group_sd", "icc") and len(sizes) == sizes.sum():
        return f"every level of {split.name} has one row, so nothing is known of the variation within them"
    if name == "within_sd_ratio" and (sizes >= ENOUGH_ROWS).sum() < 2:
        return f"it compares levels with {ENOUGH_ROWS} rows or more, and {split.name} has not two of them"
    return None


# -- by name


def battery(design: Design) -> list[str]:
    """Names of the statistics of all rows and between levels that suit a family."""
    family = design.family
    if family.is_nominal:
        return [*_shares(design)]
    if family.has_categories:
        return [*_shares(design), *_of_levels(scale=False)]
    if family.is_binary:
        return ["mean", *_of_levels(scale=False)]
    if family.is_discrete:
        zeros = ["share_of_zeros"] if family.least == 0.0 else []
        return ["mean", "sd", *zeros, "max", *_of_levels(scale=False)]
    if family.ends:
        return ["mean", "sd", "share_of_zeros", "share_of_ones", *_of_levels(scale=True)]
    return ["mean", "sd", "skewness", "min", "max", *_of_levels(scale=True)]


def _of_levels(*, scale: bool) -> list[str]:
    return [name for name in BETWEEN if scale or name != "within_sd_ratio"]


def within_battery(design: Design) -> list[str]:
    """Names of the statistics that are looked at within every level."""
    if design.family.is_nominal:
        return [*_shares(design)]
    return ["mean"] if design.family.is_categorical or design.family.has_trials else ["mean", "sd"]


def _shares(design: Design) -> dict[str, float]:
    """The value of each category on the scale of the check, by the name of its share."""
    values = scores(design.levels) if design.family.has_categories else np.arange(2.0)
    return {f"share[{level}]": float(value) for level, value in zip(design.levels, values, strict=False)}


def named(name: str, design: Design) -> Statistic:
    """A built-in statistic.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name in BETWEEN:
        return Statistic(name=name, compute=BETWEEN[name], between=True)
    if name in WITHIN:
        return Statistic(name=name, compute=WITHIN[name])
    if re.fullmatch(r"q\d{1,2}", name):
        return Statistic(name=name, compute=_quantile(int(name[1:]) / 100.0))
    shares = _shares(design)
    if name in shares:
        return Statistic(name=name, compute=_share(shares[name]))
    known_names = [*WITHIN, *shares, *BETWEEN]
    near = get_close_matches(name, known_names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"ppc(stat={name!r}): no such statistic.{hint} There are {', '.join(known_names)}, quantiles such as q10, and "
        "any function of the response."
    )


def user_statistic(name: str, function: Callable[..., Any]) -> Statistic:
    """A user's function of one data set; with a parameter ``axis`` it is called once for all of them."""
    at_once = _takes_axis(function)

    def compute(parts: Parts) -> Array:
        blocks = (parts.values[:, block] for block in parts.split.blocks)
        return np.column_stack([_apply(name, function, block, at_once) for block in blocks])

    return Statistic(name=name, compute=compute, by_user=True)


def _takes_axis(function: Callable[..., Any]) -> bool:
    try:
        return "axis" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some compiled functions do not tell
        return False


def _apply(name: str, function: Callable[..., Any], y: Array, at_once: bool) -> Array:
    """One number (S,) for each data set (S, rows)."""
    if at_once:
        values = np.asarray(function(y, axis=-1))
        if values.shape != (len(y),):
            raise InputError(
                f"ppc(stat={name!r}): called with axis=-1 on {len(y)} data sets of {y.shape[1]:,} values, an array of "
                f"shape {y.shape}, it returned shape {values.shape}. One number a data set is needed: ({len(y)},)."
            )
        return _numbers(name, values)
    results = [function(row) for row in y]
    for result in results:
        if np.ndim(result) != 0:
            raise InputError(
                f"ppc(stat={name!r}): for a data set of {y.shape[1]:,} values it returned an array of shape "
                f"{np.shape(result)}. A statistic is one number; give several as a dict of functions."
            )
    return _numbers(name, np.array(results))


def _numbers(name: str, values: np.ndarray) -> Array:
    if values.dtype.kind not in "biuf":
        first = values.tolist()[0]
        raise InputError(f"ppc(stat={name!r}): it returned {first!r} ({type(first).__name__}), not a number")
    return values.astype(np.float64)


# -- for many data sets


def compute(y: Array, statistics: Sequence[tuple[Statistic, Split]]) -> Array:
    """Every statistic (S, columns) of data sets (S, n): one column a statistic between levels, else one a level.

    NaN where a statistic is not defined, such as the sd of one row.
    """
    step = max(1, NUMBERS // max(1, y.shape[1]))
    blocks = []
    with np.errstate(all="ignore"):
        for first in range(0, len(y), step):
            parts: dict[int, Parts] = {}
            columns = []
            for statistic, split in statistics:
                if id(split) not in parts:
                    parts[id(split)] = Parts(y[first : first + step], split)
                columns.append(statistic.compute(parts[id(split)]).reshape(len(parts[id(split)].values), -1))
            blocks.append(np.concatenate(columns, axis=1))
    return np.concatenate(blocks)
