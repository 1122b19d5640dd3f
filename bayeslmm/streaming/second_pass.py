"""The second pass: cross-products of all rows, and the sums that means, sds and shares of variance are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
import pandas as pd

from ..design.coding import MatrixRecipe, new_columns, whole_numbers
from ..engine.crossproducts import Growing
from ..errors import DataError
from ..formulas.expressions import Expression, as_numbers_or_factor, evaluate, total_offset
from ..tools.arrays import Array
from ..tools.frame import check_size, one_line
from ..tools.summed import Basis
from .first_pass import as_learned
from .loops import look_up, to_units
from .request import Kind, Request

DIRECT, SCATTERED = 1 << 20, 8  # places of a table of whole numbers: so many, or so many for each


class Coder:
    """One grouping factor: the code of every row, by labels of its columns that are looked up once."""

    def __init__(self, name: str, variables: tuple[str, ...], tables: Sequence[pd.Index], keys: Any) -> None:
        self.name, self.variables, self.tables, self.keys = name, variables, tuple(tables), keys
        self._direct: tuple[Any, ...] | None = None

    def __getstate__(self) -> Any:
        return {**self.__dict__, "_direct": None}

    def __call__(self, frame: pd.DataFrame) -> np.ndarray:
        """Codes (n,) of the rows.

        Raises
        ------
        DataError
            A level that the first pass has not met.
        """
        key = np.zeros(0, np.int64)
        for k, (variable, table) in enumerate(zip(self.variables, self.tables, strict=True)):
            codes = self._codes(k, _labels(frame[variable]))
            if codes.min() < 0:
                self._refuse(codes < 0, frame, variable)
            key = key * len(table) + codes if k else codes
        if self.keys is None:
            return key
        codes = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        self._refuse(self.keys[codes] != key, frame, self.variables[-1])
        return np.asarray(codes)

    def _codes(self, k: int, labels: Any) -> np.ndarray:
        if self._direct is None:
            self._direct = tuple(direct_table(table) for table in self.tables)
        direct = self._direct[k]
        if direct is None or labels.dtype != np.int64:
            return np.asarray(self.tables[k].get_indexer(pd.Index(labels)), dtype=np.int64)
        codes = np.empty(len(labels), np.int64)
        look_up(labels, *direct, codes)
        return codes

    def _refuse(self, unknown: np.ndarray, frame: pd.DataFrame, variable: str) -> None:
        if unknown.any():
            label = one_line(frame[variable].iloc[int(np.flatnonzero(unknown)[0])])
            raise DataError(
                f"{self.name!r} has the level {label!r}, which was not there when the levels were found: the data "
                "changed between the two passes over them. Fit again once they stand still."
            )


def _labels(column: pd.Series) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(dtype=np.int64)
    values = whole_numbers(column)
    return values.to_numpy() if values.dtype.kind in "biuf" else values.array


def direct_table(table: pd.Index) -> tuple[int, np.ndarray] | None:
    """The smallest of sorted whole numbers, and the place of each number from there on; None of far scattered ones."""
    if table.dtype != np.int64:
        return None
    low, width = int(table[0]), int(table[-1]) - int(table[0]) + 1
    if width > max(DIRECT, SCATTERED * len(table)):
        return None
    places = np.full(width, -1, dtype=np.int64)
    places[table.to_numpy() - low] = np.arange(len(table))
    return low, places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blueprint:
    """How the rows of a chunk become columns.

    Attributes
    ----------
    shift, unit : float64 arrays (width,)
        Of the fixed columns, the response less its offset, the response, the offset, and those columns of factors that
        are no fixed ones.
    places : tuple of int arrays (q_k,)
        Where the columns of each factor are.
    """

    request: Request
    kinds: Mapping[str, Kind]
    fixed: MatrixRecipe
    bars: tuple[tuple[MatrixRecipe, ...], ...]
    coders: tuple[Coder, ...]
    offsets: tuple[Expression, ...]
    shift: Array
    unit: Array
    places: tuple[np.ndarray, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        out = [*self.fixed.names, *[self.request.plan.response.label] * 2, "offset", *[""] * len(self.shift)]
        out = out[: len(self.shift)]
        for recipes, places in zip(self.bars, self.places, strict=True):
            for name, place in zip((name for recipe in recipes for name in recipe.names), places, strict=True):
                out[place] = name
        return tuple(out)

    @property
    def summed(self) -> np.ndarray:
        """Which columns are summed: y − offset once if it is y, and both are to be less one middle; no offset then."""
        P = self.fixed.width
        every = np.arange(len(self.shift))
        is_short = not self.offsets and bool(self.shift[P] == self.shift[P + 1])
        return np.delete(every, [P + 1, P + 2]) if is_short else every

    def columns(self, frame: pd.DataFrame) -> Array:
        """The columns (n, width) that are `summed`."""
        P, summed = self.fixed.width, self.summed
        raw = np.empty((len(frame), len(summed)))
        place_of = np.full(len(self.shift), -1)
        place_of[summed] = np.arange(len(summed))
        new_columns(self.fixed, frame, out=raw[:, :P])
        y = response_of(self.request.plan.response, frame)
        raw[:, P] = y
        if place_of[P + 1] >= 0:
            raw[:, P + 2] = total_offset(self.offsets, frame, None)
            raw[:, P], raw[:, P + 1] = y - raw[:, P + 2], y
        for recipes, places in zip(self.bars, self.places, strict=True):
            first = 0
            for recipe in recipes:
                there = places[first : first + recipe.width]
                first += recipe.width
                is_of_bar = there > P
                if is_of_bar.any():
                    raw[:, place_of[there[is_of_bar]]] = new_columns(recipe, frame)[:, is_of_bar]
        return raw


def shared_columns(
    fixed: MatrixRecipe, bars: Sequence[Sequence[MatrixRecipe]], centred: Sequence[Sequence[bool]]
) -> tuple[list[np.ndarray], int]:
    """Where each factor's columns are, those of the fixed part first and three behind them; and how many there are.

    One of a factor is a fixed one if both are summed less their middle, as they are beside an intercept (``centred``),
    or neither is.
    """
    with_intercept = "Intercept" in fixed.names
    keys = {(key, with_intercept and key != ()): place for place, key in enumerate(_keys(fixed))}
    count, places = fixed.width + 3, []
    for recipes, is_centred in zip(bars, centred, strict=True):
        of_factor = []
        for key in zip((key for recipe in recipes for key in _keys(recipe)), is_centred, strict=True):
            if key not in keys:
                keys[key], count = count, count + 1
            of_factor.append(keys[key])
        places.append(np.array(of_factor, dtype=np.int64))
    return places, count


def _keys(recipe: MatrixRecipe) -> list[Any]:
    """What tells one column from another: its leaves, and the numbers that stand for their levels."""
    return [
        tuple(
            (coded.expression.label, k if coded.table is None else (coded.levels, coded.table[:, k].tobytes()))
            for coded, k in zip(factors, numbers, strict=True)
        )
        for factors in recipe.products
        for numbers in product(*(range(len(coded.labels)) for coded in factors))
    ]


def response_of(expression: Expression, frame: pd.DataFrame) -> Array:
    """The response (n,) in numbers."""
    numbers = as_numbers_or_factor(evaluate(expression, frame), expression, frame.index)
    if not isinstance(numbers, np.ndarray) or numbers.ndim > 1:
        raise DataError(f"The response {expression.label!r} is not one number a row: a normal response is needed.")
    return numbers


class Moments:
    """Sums of columns and of their products, less a shift and over a unit, with their ranges."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, width = tuple(names), len(names)
        self.n, self.gram = 0, np.zeros((width + 1, width + 1))
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)

    def add(self, raw: Array, shift: Array, unit: Array) -> tuple[Array, Array]:
        """Add rows (n, width); ones and the rows in units (n, 1 + width), with their cross-products.

        Raises
        ------
        DataError
            Numbers whose powers would overflow.
        """
        units = np.empty((len(raw), raw.shape[1] + 1))
        to_units(raw, shift, unit, units, self.low, self.high)
        check_size(np.stack([self.low, self.high]), self.names, smallest=0.0)
        gram = units.T @ units
        self.gram += gram
        self.n += len(raw)
        return units, gram

    def merge(self, other: Moments) -> None:
        """Add those of other rows."""
        self.n, self.gram = self.n + other.n, self.gram + other.gram
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    def basis(self, blueprint: Blueprint) -> Basis:
        """What stands for the columns of a blueprint in a design; those that were not summed are as it says."""
        P, summed = blueprint.fixed.width, blueprint.summed
        width = len(blueprint.shift)
        gram, low, high = np.zeros((width + 1, width + 1)), np.zeros(width), np.zeros(width)
        gram[np.ix_([0, *(summed + 1)], [0, *(summed + 1)])] = self.gram
        low[summed], high[summed] = self.low, self.high
        if len(summed) < width:
            gram[P + 2] = gram[P + 1]
            gram[:, P + 2] = gram[:, P + 1]
            low[P + 1], high[P + 1] = low[P], high[P]
        return Basis(n=self.n, gram=gram, shift=blueprint.shift, unit=blueprint.unit, low=low, high=high)


class Summed:
    """What the second pass has summed so far."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        summed, P = blueprint.summed, blueprint.fixed.width
        levels = [len(coder.tables[0]) if coder.keys is None else len(coder.keys) for coder in blueprint.coders]
        places = [np.searchsorted(summed, place) + 1 for place in blueprint.places]
        self.cross = Growing(levels, places, np.arange(1, P + 2))
        self.moments = Moments([blueprint.names[place] for place in summed])
        self.n_read = 0
        self.totals: dict[str, float] = {}

    def add(self, data: pd.DataFrame, where: str) -> None:
        """Add the rows of a chunk."""
        blueprint = self.blueprint
        rows = blueprint.request.rows(data)
        self.n_read += len(data)
        if not len(rows.frame):
            return
        for name, total in rows.totals().items():
            self.totals[name] = self.totals.get(name, 0.0) + total
        frame = as_learned(rows.frame, dict(blueprint.kinds), where)
        codes = [coder(frame) for coder in blueprint.coders]
        summed, raw = blueprint.summed, blueprint.columns(frame)
        units, gram = self.moments.add(raw, blueprint.shift[summed], blueprint.unit[summed])
        self.cross.add(units, codes, rows.weights, gram)
        self.seen(frame, raw, units, codes)

    def seen(self, frame: pd.DataFrame, raw: Array, units: Array, codes: Sequence[np.ndarray]) -> None:
        """Whatever else is to be done with the rows that were summed: their columns as they are, and in units."""

    def merge(self, other: Self) -> None:
        """Add what another pass over other rows has."""
        self.n_read += other.n_read
        for name, total in other.totals.items():
            self.totals[name] = self.totals.get(name, 0.0) + total
        self.moments.merge(other.moments)
        self.cross.merge(other.cross)
