"""The second pass: cross-products of all rows, and the sums that means, sds and shares of variance are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from .request import Kind, Request


class Coder:
    """One grouping factor: the code of every row, by labels of its columns that are looked up once."""

    def __init__(self, name: str, variables: tuple[str, ...], tables: Sequence[pd.Index], keys: Any) -> None:
        self.name, self.variables, self.tables, self.keys = name, variables, tuple(tables), keys

    def __call__(self, frame: pd.DataFrame) -> np.ndarray:
        """Codes (n,) of the rows.

        Raises
        ------
        DataError
            A level that the first pass has not met.
        """
        key = np.zeros(len(frame), np.int64)
        for variable, table in zip(self.variables, self.tables, strict=True):
            codes = table.get_indexer(_labels(frame[variable], table))
            self._refuse(codes < 0, frame, variable)
            key = key * len(table) + codes
        if self.keys is None:
            return key
        codes = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        self._refuse(self.keys[codes] != key, frame, self.variables[-1])
        return np.asarray(codes)

    def _refuse(self, unknown: np.ndarray, frame: pd.DataFrame, variable: str) -> None:
        if unknown.any():
            label = one_line(frame[variable].iloc[int(np.flatnonzero(unknown)[0])])
            raise DataError(
                f"{self.name!r} has the level {label!r}, which was not there when the levels were found: the data "
                "changed between the two passes over them. Fit again once they stand still."
            )


def _labels(column: pd.Series, table: pd.Index) -> pd.Index:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pd.Index(column.cat.codes.to_numpy(dtype=np.int64))
    values = whole_numbers(column)
    return pd.Index(values.to_numpy() if values.dtype.kind in "biuf" else values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blueprint:
    """How the rows of a chunk become columns.

    ``shift`` and ``unit`` of the fixed columns, the response less its offset, the response and the offset; and those of
    the columns of each factor.
    """

    request: Request
    kinds: Mapping[str, Kind]
    fixed: MatrixRecipe
    bars: tuple[tuple[MatrixRecipe, ...], ...]
    coders: tuple[Coder, ...]
    offsets: tuple[Expression, ...]
    shift: Array
    unit: Array
    shift_z: tuple[Array, ...]
    unit_z: tuple[Array, ...]

    def columns(self, frame: pd.DataFrame) -> tuple[Array, list[Array]]:
        """[X, y − offset, y, offset] (n, P + 3), and Z (n, q_k) of every factor."""
        y = response_of(self.request.plan.response, frame)
        offset = total_offset(self.offsets, frame, None)
        X = new_columns(self.fixed, frame)
        return np.column_stack([X, y - offset, y, offset]), [
            np.hstack([new_columns(recipe, frame) for recipe in recipes]) for recipes in self.bars
        ]


def response_of(expression: Expression, frame: pd.DataFrame) -> Array:
    """The response (n,) in numbers."""
    numbers = as_numbers_or_factor(evaluate(expression, frame), expression, frame.index)
    if not isinstance(numbers, np.ndarray) or numbers.ndim > 1:
        raise DataError(f"The response {expression.label!r} is not one number a row: a normal response is needed.")
    check_size(numbers[:, None], [expression.label], smallest=0.0)
    return numbers


class Moments:
    """Sums of columns and of their products, less a shift and over a unit, with their ranges."""

    def __init__(self, width: int) -> None:
        self.n, self.gram = 0, np.zeros((width + 1, width + 1))
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)

    def add(self, raw: Array, units: Array) -> None:
        """Add rows (n, width), as they are and in units."""
        A = np.column_stack([np.ones(len(raw)), units])
        self.gram += A.T @ A
        self.n += len(raw)
        self.low, self.high = np.minimum(self.low, raw.min(axis=0)), np.maximum(self.high, raw.max(axis=0))

    def merge(self, other: Moments) -> None:
        """Add those of other rows."""
        self.n, self.gram = self.n + other.n, self.gram + other.gram
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    def basis(self, shift: Array, unit: Array) -> Basis:
        """What stands for the columns in a design."""
        return Basis(n=self.n, gram=self.gram, shift=shift, unit=unit, low=self.low, high=self.high)


class Summed:
    """What the second pass has summed so far."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        widths = [len(shift) for shift in blueprint.shift_z]
        n_fixed = len(blueprint.shift)
        levels = [len(c.tables[0]) if c.keys is None else len(c.keys) for c in blueprint.coders]
        self.cross = Growing(levels, widths, n_fixed - 2)
        self.fixed = Moments(n_fixed)
        self.random = [Moments(width) for width in widths]
        self.n_read = 0
        self.totals: dict[str, float] = {}

    def add(self, data: pd.DataFrame, where: str) -> None:
        """Add the rows of a chunk."""
        blueprint = self.blueprint
        frame, weights, _ = blueprint.request.rows(data)
        self.n_read += len(data)
        if not len(frame):
            return
        for name in frame:
            if frame[name].dtype.kind in "biuf":
                self.totals[str(name)] = self.totals.get(str(name), 0.0) + float(frame[name].sum())
        frame = as_learned(frame, dict(blueprint.kinds), where)
        raw, raw_z = blueprint.columns(frame)
        units = (raw - blueprint.shift) / blueprint.unit
        self.fixed.add(raw, units)
        Z = []
        for z, moments, shift, unit in zip(raw_z, self.random, blueprint.shift_z, blueprint.unit_z, strict=True):
            Z.append(np.ascontiguousarray((z - shift) / unit))
            moments.add(z, Z[-1])
        codes = [coder(frame) for coder in blueprint.coders]
        self.cross.add(np.ascontiguousarray(units[:, :-2]), codes, Z, weights)

    def merge(self, other: Summed) -> None:
        """Add what another pass over other rows has."""
        self.n_read += other.n_read
        for name, total in other.totals.items():
            self.totals[name] = self.totals.get(name, 0.0) + total
        self.fixed.merge(other.fixed)
        for mine, more in zip(self.random, other.random, strict=True):
            mine.merge(more)
        self.cross.merge(other.cross)
