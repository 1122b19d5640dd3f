"""A design's columns, codes and offset on new rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, NotEstimableWarning
from ..formulas.expressions import Expression, total_offset
from ..tools.frame import (
    as_frame,
    check_finite,
    complete_rows,
    frozen,
    group_column,
    is_numeric,
    pick,
    plain,
    unknown_column,
)
from ..tools.lazy import sparse
from ..tools.warned import warn
from .aliases import Aliases
from .coding import MatrixRecipe, new_columns
from .grouping import Grouping, new_codes
from .plan import from_outside
from .wide_terms import NewWide, WideRecipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewGroup:
    """A grouping factor on new rows.

    A level that the fit has not seen has code −1 and keeps its label; a missing one has code −1 and label None.
    """

    name: str
    codes: np.ndarray
    labels: np.ndarray
    Z: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewDesign:
    """The arrays of a design on new rows; rows with missing predictors hold NaN.

    ``aliased`` (n, a) are the columns that X lacks since they depended on others in the rows of the fit; where they do
    not here, the fit says nothing about a row, and unless asked otherwise its X is NaN.
    """

    X: np.ndarray
    groups: tuple[NewGroup, ...]
    offset: np.ndarray
    index: pd.Index
    aliased: np.ndarray
    wide: tuple[NewWide, ...] = ()
    predictors: Mapping[str, NewDesign] = field(default_factory=dict)  # of parameters with a linear predictor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """What a design remembers to build itself for new data."""

    fixed: MatrixRecipe
    kept: np.ndarray
    aliases: Aliases
    bars: tuple[tuple[MatrixRecipe, ...], ...]
    groupings: tuple[Grouping, ...]
    offsets: tuple[Expression, ...]
    offset_given_as_array: bool
    wide: tuple[WideRecipe, ...] = ()
    kept_of_bars: tuple[np.ndarray | None, ...] = ()  # which columns of the bars of each factor; None for all


def rebuild(
    recipe: Recipe,
    fit_frame: pd.DataFrame,
    newdata: Any,
    groups: Collection[str] | None,
    offset: Any,
    estimable_only: bool = True,
    where: str = "fixed part or left of a bar",
) -> NewDesign:
    """The arrays of a recipe on new rows; ``fit_frame`` is the frame of the fit, ``where`` what the recipe is of."""
    newdata = as_frame(newdata)
    factor_names = [*(g.name for g in recipe.groupings), *(wide.name for wide in recipe.wide if wide.is_grouping)]
    unknown = sorted(set(groups or ()) - set(factor_names))
    if unknown:
        raise DataError(
            f"{unknown[0]!r} is no grouping factor of the model; it has {', '.join(map(repr, factor_names)) or 'none'}."
        )
    wide = [
        wide_term
        for wide_term in recipe.wide
        if groups is None or not wide_term.is_grouping or wide_term.name in groups
    ]
    kept_of_bars = recipe.kept_of_bars or (None,) * len(recipe.bars)
    groupings = [
        (bars, grouping, kept)
        for bars, grouping, kept in zip(recipe.bars, recipe.groupings, kept_of_bars, strict=True)
        if groups is None or grouping.name in groups
    ]
    matrices = [recipe.fixed, *(bar for bars, *_ in groupings for bar in bars)]
    leaves = [coded.expression for matrix in matrices for factors in matrix.products for coded in factors]
    leaves += [leaf for wide_term in wide for leaf in wide_term.leaves]
    named = [(leaf, where) for leaf in leaves] + [(leaf, "offset") for leaf in recipe.offsets]
    used_columns: dict[str, pd.Series] = {}
    for leaf, where in named:
        for name in leaf.columns.values():
            used_columns[name] = _present(newdata, name, where)
    for term in wide:
        for name in term.columns:
            used_columns[name] = _present(newdata, name, term.name)
    keep, _ = complete_rows(used_columns)
    complete = np.ones(len(newdata), dtype=bool) if keep is None else keep
    frame = _new_frame(used_columns, complete, newdata.index, fit_frame)
    outside = _new_offset(recipe, newdata, offset)

    full = _columns((recipe.fixed,), frame)
    X, aliased = full[:, recipe.kept], full[:, recipe.aliases.columns]
    if estimable_only:
        X = _without_inestimable(X, aliased, recipe.aliases)
    X, aliased = _scatter(X, complete), _scatter(aliased, complete)
    shift = np.full(len(newdata), np.nan)
    if len(frame):
        shift[complete] = total_offset(recipe.offsets, frame, None)
    built = []
    for bars, grouping, kept in groupings:
        columns = [
            group_column(_present(newdata, name, f"grouping factor {grouping.name}")) for name in grouping.variables
        ]
        codes, labels = new_codes(grouping, columns)
        every = _columns(bars, frame)
        Z = _scatter(every if kept is None else every[:, kept], complete)
        labels.setflags(write=False)
        built.append(NewGroup(name=grouping.name, codes=frozen(codes, np.int64), labels=labels, Z=frozen(Z)))
    for term in wide:
        for name in term.loose:
            frame[name] = group_column(_present(newdata, name, term.name)[complete]).array
    return NewDesign(
        X=frozen(X),
        groups=tuple(built),
        offset=frozen(shift + outside),
        index=newdata.index,
        aliased=frozen(aliased),
        wide=tuple(_new_wide(wide_term, frame, complete) for wide_term in wide),
    )


def matrix_at(recipe: MatrixRecipe, fit_frame: pd.DataFrame, newdata: pd.DataFrame, where: str) -> np.ndarray:
    """A matrix (m, width) on new rows, NaN in those that lack a value; ``fit_frame`` is the frame of the fit.

    Raises
    ------
    UnknownColumnError, UnseenLevelError
    """
    leaves = [coded.expression for factors in recipe.products for coded in factors]
    names = dict.fromkeys(name for leaf in leaves for name in leaf.columns.values())
    used_names = {name: _present(newdata, name, where) for name in names}
    keep, _ = complete_rows(used_names)
    complete = np.ones(len(newdata), dtype=bool) if keep is None else keep
    return _scatter(_columns((recipe,), _new_frame(used_names, complete, newdata.index, fit_frame)), complete)


def _new_wide(recipe: WideRecipe, frame: pd.DataFrame, complete: np.ndarray) -> NewWide:
    matrix, unknown, beyond = recipe.rows(frame)
    others = recipe.others(frame) if recipe.others is not None and unknown.any() else None
    left = None if recipe.left is None else _scatter(recipe.left(frame), complete)
    if not complete.all():
        places = np.zeros(len(complete), dtype=np.int64)
        places[complete] = np.arange(len(frame))
        if not len(frame):
            matrix = sparse.csr_array((1, matrix.shape[1]))
            unknown = beyond = np.zeros(1, dtype=bool)
        matrix = matrix[places]  # of incomplete rows anything: their X is missing
        unknown, beyond = unknown[places] & complete, beyond[places] & complete
        others = None if others is None else others[places]
    return NewWide(
        name=recipe.name,
        is_grouping=recipe.is_grouping,
        matrix=matrix,
        unknown=unknown,
        beyond=beyond,
        others=others,
        left=left,
    )


def _without_inestimable(X: np.ndarray, aliased: np.ndarray, aliases: Aliases) -> np.ndarray:
    """NaN where the fixed part of a row does not follow from the fit's."""
    estimable = aliases.estimable(X, aliased)
    if estimable.all():
        return X
    warn(aliases.words(int((~estimable).sum()), len(X)), NotEstimableWarning)
    return np.where(estimable[:, None], X, np.nan)


def _columns(recipes: tuple[MatrixRecipe, ...], frame: pd.DataFrame) -> np.ndarray:
    if not len(frame):
        return np.empty((0, sum(len(recipe.names) for recipe in recipes)))
    return np.hstack([new_columns(recipe, frame) for recipe in recipes])


def _present(newdata: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in newdata.columns:
        raise unknown_column(name, where, newdata.columns)
    return pick(newdata, name)


def _new_frame(
    used: Mapping[str, pd.Series], complete: np.ndarray, index: pd.Index, fit_frame: pd.DataFrame
) -> pd.DataFrame:
    columns = {}
    for name, column in used.items():
        values = plain(column[complete], name)
        if is_numeric(fit_frame[name]) and not is_numeric(values) and len(values):
            raise DataError(f"Column {name!r} was numeric in the fit and holds text or categories in the new data.")
        if fit_frame[name].dtype == bool and is_numeric(values) and not values.isin((0, 1)).all():
            other = values[~values.isin((0, 1))].iloc[0]
            raise DataError(f"Column {name!r} was True or False in the fit and holds {other} in the new data.")
        if is_numeric(values):
            check_finite(values.to_numpy(), values.index, f"Column {name!r}")
        columns[name] = values
    arrays = {name: values.array for name, values in columns.items()}
    return pd.DataFrame(arrays, index=index[complete], copy=False)


def _new_offset(recipe: Recipe, newdata: pd.DataFrame, offset: Any) -> np.ndarray | float:
    if offset is None:
        if recipe.offset_given_as_array:
            raise DataError(
                "The model's offset was given as an array, which says nothing about new rows. "
                "Pass offset= with one value per row (or 0)."
            )
        return 0.0
    if isinstance(offset, int | float | np.number):
        offset = np.full(len(newdata), float(offset))
    values = from_outside(
        _present(newdata, offset, "offset=") if isinstance(offset, str) else offset, newdata, "offset"
    )
    if values is None:
        return 0.0
    check_finite(values[~np.isnan(values)], newdata.index[~np.isnan(values)], "offset=")
    return values


def _scatter(values: np.ndarray, complete: np.ndarray) -> np.ndarray:
    if complete.all():
        return values
    full = np.full((len(complete), values.shape[1]), np.nan)
    full[complete] = values
    return full
