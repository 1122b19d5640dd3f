"""Designs of data in chunks in files: what both passes over the rows told, of which the design is made anew.

A file holds sums, levels and statistics, and of the rows a few (`FEW`, and one of each level of a factor), on which the
columns of the formula are laid out as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd

from ..design.design import Design
from ..engine.crossproducts import CrossProducts, PairBlocks
from ..engine.sums import Sums
from ..errors import DataError
from ..families import Family
from ..formulas.binding import Scope
from ..formulas.formula import parse_formula
from ..sources.frames import Frames
from ..streaming.build import Passes, Totals, design_again
from ..streaming.first_pass import Learned
from ..streaming.given import Given
from ..streaming.request import KINDS, Kind, Request
from ..tools.summed import Basis
from .file_columns import read, store
from .file_fields import COUNT, FINITE, LIST, RECORD, TEXT, check_fields

FEW = 200  # rows
STREAMED: Mapping[str, Any] = {
    "n": COUNT,
    "n_read": COUNT,
    "missing": RECORD,
    "kinds": LIST,
    "levels": LIST,
    "weights": LIST,
    "uniques": LIST,
    "statistics": LIST,
    "sum_log_weights": FINITE,
}
Arrays = dict[str, np.ndarray]


def passes_of(design: Design) -> Passes:
    """What the passes over the rows told."""
    return cast(Passes, cast(Sums, design.sums).passes)


def describe(design: Design, arrays: Arrays) -> tuple[dict[str, Any], pd.DataFrame]:
    """What the file says of a design of data in chunks, with the rows that it holds; sums go into the arrays."""
    sums = cast(Sums, design.sums)
    passes, cross = passes_of(design), sums.cross
    learned = passes.learned
    basis = passes.basis
    arrays |= {f"sums_{name}": getattr(basis, name) for name in ("gram", "shift", "unit", "low", "high")}
    arrays["sums_XytXy"] = cross.XytXy
    for k, (ZtZ, ZtXy) in enumerate(zip(cross.ZtZ, cross.ZtXy, strict=True)):
        arrays |= {f"sums_ZtZ_{k}": ZtZ, f"sums_ZtXy_{k}": ZtXy}
    for (k, m), block in cross.pairs.items():
        arrays |= {f"sums_keys_{k}_{m}": block.keys, f"sums_pairs_{k}_{m}": block.values}
    description = {
        "n": learned.n,
        "n_read": learned.n_read,
        "missing": dict(learned.missing),
        "kinds": [
            {"name": name, "letter": kind.letter, "categories": list(map(_label, kind.categories))}
            for name, kind in learned.kinds.items()
        ],
        "levels": [[name, list(values)] for name, values in learned.request.levels.items()],
        "weights": [] if learned.request.weights is None else [learned.request.weights],
        "uniques": [_store_table(f"uniques_{k}", uniques.table, arrays) for k, uniques in enumerate(learned.uniques)],
        "statistics": [
            [[part, _store_table(f"statistic_{k}_{part}", table, arrays)] for part, table in statistic.tables().items()]
            for k, statistic in enumerate(learned.statistics)
        ],
        "sum_log_weights": float(cross.sum_log_weights),
    }
    return description, learned.sampled(FEW)


def restored(
    about: Mapping[str, Any], arrays: Arrays, frame: pd.DataFrame, scope: Scope, family: Family
) -> tuple[Design, Given]:
    """The design that `describe` has described.

    Raises
    ------
    DataError
        The description lacks something, or the arrays are not those of the formula.
    """
    streamed = about["streamed"]
    check_fields(streamed, STREAMED, "streamed")
    levels = {str(name): list(values) for name, values in streamed["levels"]}
    given = Given(
        formula=parse_formula(about["formula"]),
        family=family,
        scope=scope,
        weights=streamed["weights"][0] if streamed["weights"] else None,
        offset=about["offset_column"],
        levels=levels or None,
    )
    if given.weights is not None and given.weights not in frame:
        frame = frame.assign(**{given.weights: 1.0})
    basis, cross = _totals(streamed, arrays)

    def fill(request: Request) -> Learned:
        return _learned(request, streamed, arrays, frame)

    source = Frames(lambda: [frame])
    return design_again(given, source, fill, Totals(basis=basis, cross=cross, is_short=True)), given


def _learned(request: Request, about: Mapping[str, Any], arrays: Arrays, frame: pd.DataFrame) -> Learned:
    learned = Learned(request)
    learned.n, learned.n_read, learned.missing = about["n"], about["n_read"], dict(about["missing"])
    for each in about["kinds"]:
        check_fields(each, {"name": TEXT, "letter": TEXT, "categories": LIST}, "streamed.kinds")
        if each["letter"] not in KINDS:
            raise DataError(f"the file is damaged: column {each['name']!r} is of the kind {each['letter']!r}")
        learned.kinds[each["name"]] = Kind(
            letter=each["letter"], where="the data", categories=tuple(each["categories"])
        )
    lacking = [name for name in request.plan.columns if name not in learned.kinds]
    if lacking:
        raise DataError(f"the file is damaged: it says nothing of column {lacking[0]!r}")
    for what, there in (("uniques", learned.uniques), ("statistics", learned.statistics)):
        if len(about[what]) != len(there):
            raise DataError(
                f"the file is damaged: it has {what} of {len(about[what])} parts of the formula, which has {len(there)}"
            )
    for uniques, stored in zip(learned.uniques, about["uniques"], strict=True):
        table = _read_table(stored, arrays)
        if list(table.columns) != list(uniques.names):
            raise DataError(f"the file is damaged: it has levels of {list(table.columns)}, not {list(uniques.names)}")
        uniques.known(table)
    for statistic, parts in zip(learned.statistics, about["statistics"], strict=True):
        statistic.take({part: _read_table(stored, arrays) for part, stored in parts})
    learned.sample = [frame[list(request.plan.columns)]]
    return learned


def _totals(about: Mapping[str, Any], arrays: Arrays) -> tuple[Basis, CrossProducts]:
    """The sums among the arrays, whose shapes are one with each other."""

    def of(name: str, *shape: int | None, dtype: Any = np.float64) -> np.ndarray:
        if f"sums_{name}" not in arrays:
            raise DataError(f"the file is damaged: it has no array sums_{name}")
        array = arrays[f"sums_{name}"]
        fits = len(shape) == array.ndim and all(
            size in (None, length) for size, length in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype != dtype or not np.isfinite(array).all():
            raise DataError(f"the file is damaged: sums_{name} has shape {array.shape} or no finite numbers")
        return array

    width = len(of("shift", None))
    basis = Basis(
        n=about["n"],
        gram=of("gram", width + 1, width + 1),
        shift=of("shift", width),
        unit=of("unit", width),
        low=of("low", width),
        high=of("high", width),
    )
    ends = np.array([basis.low, basis.high])
    means = basis.shift + basis.unit * basis.gram[0, 1:] / max(basis.n, 1)
    room = 1e-9 * np.abs(ends).max(axis=0, initial=0.0)
    if basis.gram[0, 0] != basis.n or (ends[0] - room > means).any() or (means > ends[1] + room).any():
        raise DataError("the file is damaged: the means of its sums are beyond the ranges of their columns")
    count = sum(name.startswith("sums_ZtZ_") for name in arrays)
    ZtZ = tuple(of(f"ZtZ_{k}", None, None, None) for k in range(count))
    pairs = {}
    for k in range(count):
        for m in range(k + 1, count):
            keys = of(f"keys_{k}_{m}", None, dtype=np.int64)
            last = ZtZ[k].shape[0] * ZtZ[m].shape[0]
            if len(keys) and not (0 <= keys[0] and keys[-1] < last and all(a < b for a, b in pairwise(keys))):
                raise DataError(f"the file is damaged: sums_keys_{k}_{m} are no levels in order")
            values = of(f"pairs_{k}_{m}", len(keys), ZtZ[k].shape[1], ZtZ[m].shape[1])
            pairs[k, m] = PairBlocks(keys=keys, values=values)
    cross = CrossProducts(
        levels=tuple(len(products) for products in ZtZ),
        widths=tuple(products.shape[1] for products in ZtZ),
        ZtZ=ZtZ,
        ZtXy=tuple(of(f"ZtXy_{k}", None, None, None) for k in range(count)),
        pairs=pairs,
        XytXy=of("XytXy", None, None),
        n=about["n"],
        sum_log_weights=about["sum_log_weights"],
    )
    return basis, cross


def _store_table(name: str, table: pd.DataFrame, arrays: Arrays) -> list[dict[str, Any]]:
    return [
        {"name": str(column), **store(f"{name}_{k}", table[column].array, arrays, f"{column!r}")}
        for k, column in enumerate(table)
    ]


def _read_table(about: Any, arrays: Arrays) -> pd.DataFrame:
    for column in about if isinstance(about, list) else [about]:
        check_fields(column, {"name": TEXT, "array": TEXT}, "streamed")
        if column["array"] not in arrays:
            raise DataError(f"the file is damaged: it has no array {column['array']}")
    return pd.DataFrame({column["name"]: read(column, arrays) for column in about})


def _label(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
