"""Rows at chosen values of some variables, the others held where they are typical."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError
from ..terms.wide import WideTerm
from ..tools.frame import is_numeric
from ..tools.words import is_one_of
from .reading import for_reading

POINTS = 41  # of a curve


def predictors(design: Design, *, groups: bool = True) -> list[str]:
    """Names of the columns that new rows need: of predictors, offsets and, unless left out, of grouping factors."""
    recipe = design.recipe
    matrices = [recipe.fixed, *(bar for bars in recipe.bars for bar in bars)]
    of_parameters = [part.recipe for part in design.predictors.values()]
    matrices += [each for part in of_parameters for each in (part.fixed, *(bar for bars in part.bars for bar in bars))]
    leaves = [coded.expression for matrix in matrices for factors in matrix.products for coded in factors]
    leaves += [leaf for each in (recipe, *of_parameters) for term in each.wide for leaf in term.leaves]
    used_names = {name for leaf in (*leaves, *recipe.offsets) for name in leaf.columns.values()}
    used_names |= {name for part in of_parameters for leaf in part.offsets for name in leaf.columns.values()}
    if groups:
        used_names |= {variable for group in design.every_group if group.is_grouping for variable in group.variables}
    return [name for name in design.frame if name in used_names]


def grid(
    fit: Any,
    *variables: str,
    at: Mapping[str, Sequence[Any]] | None = None,
    by: str | Mapping[str, Sequence[Any]] | None = None,
    points: int = POINTS,
    **values: Any,
) -> pd.DataFrame:
    """Rows for predictions: all combinations of chosen values, the other predictors held where they are typical.

    Parameters
    ----------
    fit : PointFit, PosteriorFit or Model
    *variables : str
        Predictors that run over their range in ``points`` steps, or over their levels.
    at : mapping, optional
        Values by predictor, for names that are no Python keywords.
    by : str or mapping, optional
        A grouping factor such as ``"school"`` or ``"school:class"``: a copy of the rows for each of its levels, with
        the columns that name it. A mapping gives some of its levels: ``{"school": [3, 7]}``.
    points : int
        Values of a numeric variable that is only named.
    **values
        Values by predictor: ``Days=[0, 5]``, ``sex="f"``.

    Returns
    -------
    DataFrame
        Every predictor has a column. The others are held at the observed value nearest to their mean, or at their most
        frequent level. Grouping factors have columns only with ``by``.

    Raises
    ------
    InputError
        A name that is no predictor, no grouping factor, or given twice; no values; a level that is not there.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> rows = blm.grid(fit, Days=[0, 5, 9], by={"Subject": ["308", "309"]})
    >>> fit.predict(rows).round(1).tolist()
    [253.7, 352.0, 430.7, 211.0, 220.2, 227.6]
    """
    design = getattr(fit, "design", None)
    if not isinstance(design, Design):
        raise InputError(f"grid({type(fit).__name__}): a grid is of a model or a fit")
    available = predictors(design, groups=False)
    chosen: dict[str, Any] = {}
    for name, asked_values in [*((variable, None) for variable in variables), *(at or {}).items(), *values.items()]:
        if not is_one_of(name, available):
            raise InputError(
                f"grid: {name!r} is no predictor; the model has {_listed(available)}{_by_hint(design, name)}"
            )
        if name in chosen:
            raise InputError(f"grid: {name!r} is given twice")
        column = design.frame[name]
        chosen[name] = _range(column, points) if asked_values is None else _known(column, _values(name, asked_values))
    rows = _crossed(chosen)
    labels = _labels(design, by)
    held = {n: typical(design.frame[n]) for n in available if n not in chosen and n not in labels}
    return for_reading(_ordered(labels.merge(rows.assign(**held), how="cross"), available))


def _by_hint(design: Design, name: str) -> str:
    of_groups = {x for factor, group in design.factors.items() for x in (factor, *group.variables)}
    return f". Levels of a grouping factor: by={name!r}" if is_one_of(name, of_groups) else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _crossed(values: Mapping[str, list[Any]]) -> pd.DataFrame:
    """All combinations, the last variable running fastest; one empty row of no variables."""
    if not values:
        return pd.DataFrame(index=[0])
    return pd.MultiIndex.from_product(list(values.values()), names=list(values)).to_frame(index=False)


def _ordered(rows: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    return rows[[*first, *(row for row in rows if row not in first)]]


def _labels(design: Design, by: str | Mapping[str, Sequence[Any]] | None) -> pd.DataFrame:
    """The columns that name the levels of a grouping factor, one row a level; one empty row for no factor."""
    if by is None:
        return pd.DataFrame(index=[0])
    if isinstance(by, Mapping) and len(by) != 1:
        raise InputError(f"grid(by={by!r}): one grouping factor, such as by={{'school': [3, 7]}}")
    name = by if isinstance(by, str) else next(iter(by))
    group = design.factors[name] if is_one_of(name, tuple(design.factors)) else design.group(name)
    if isinstance(group, WideTerm) and group.only_level is not None:  # of which levels without rows are told as well
        codes, rows = np.arange(group.n_levels), pd.DataFrame({group.variables[0]: list(group.levels)})
    elif isinstance(group, WideTerm):
        raise group.refusal("grid(by=...)")
    else:
        codes, first = np.unique(group.codes, return_index=True)
        rows = design.frame[list(group.variables)].iloc[first].reset_index(drop=True)
    if isinstance(by, str):
        return rows
    chosen_levels = _values(name, by[name])
    place_of = {str(group.levels[code]): k for k, code in enumerate(codes)}
    unknown = [level for level in chosen_levels if str(level) not in place_of]
    if unknown:
        raise InputError(f"grid(by=...): {name} has no level {unknown[0]!r}; it has {_listed(group.levels[:5])}, …")
    return rows.iloc[[place_of[str(level)] for level in chosen_levels]].reset_index(drop=True)


def reference_grid(design: Design, at: Mapping[str, Sequence[Any]] | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All combinations of the given values, and complete rows of the model's variables that hold them.

    Parameters
    ----------
    design : Design
    at : mapping or str
        Values by variable; the name of one variable stands for a curve: 41 values over its range, or its levels.

    Returns
    -------
    grid, rows : DataFrame
        ``grid`` has the variables of ``at`` only. In ``rows`` the others are held at the value nearest to their mean,
        or at their most frequent level.

    Raises
    ------
    InputError
        A name is not a variable of the model, or has no values.
    """
    frame = design.frame
    if isinstance(at, str):
        at = {at: []} if at not in frame else {at: _range(frame[at], POINTS)}
    if not isinstance(at, Mapping) or not at:
        raise InputError(f"at={at!r}: values by variable, such as at={{'x': [0, 1, 2]}}, or a variable's name")
    available = predictors(design)
    if design.residual is not None:
        available += [name for name in design.residual.needed if name not in available]
    for name in at:
        if name not in available:
            raise InputError(
                f"at={{{name!r}: ...}}: {name!r} is no predictor of the model; it has {_listed(available)}"
            )
    grid = _crossed({name: _values(name, asked_values) for name, asked_values in at.items()})
    held = {name: typical(frame[name]) for name in frame if name not in grid}
    return grid, _ordered(grid.assign(**held), list(frame))


def _values(name: str, asked_values: Any) -> list[Any]:
    values = [asked_values] if isinstance(asked_values, str) or np.ndim(asked_values) == 0 else list(asked_values)
    if not values:
        raise InputError(f"at={{{name!r}: []}}: no values given")
    if pd.isna(np.asarray(values, dtype=object)).any():
        raise InputError(f"at={{{name!r}: ...}}: a value is missing")
    return values


def _known(column: pd.Series, values: list[Any]) -> list[Any]:
    """Values that a variable may have; of one that is no quantity, its levels."""
    unknown = [] if is_number(column) else [value for value in values if value not in levels(column)]
    if unknown:
        raise InputError(f"grid: {column.name} has no level {unknown[0]!r}; it has {_listed(levels(column)[:5])}")
    return values


def _range(column: pd.Series, points: int) -> list[Any]:
    if is_number(column):
        return list(np.linspace(column.min(), column.max(), points))
    return levels(column)


def is_number(column: pd.Series) -> bool:
    """Whether a variable is a quantity; True and False are levels."""
    return is_numeric(column) and column.dtype != bool


def levels(column: pd.Series) -> list[Any]:
    """The values of a factor in its own order, or sorted."""
    return list(column.cat.categories) if hasattr(column, "cat") else sorted(column.unique())


def typical(column: pd.Series) -> Any:
    """An observed value, so that every transform of the formula has an answer for it."""
    if is_number(column):
        return column.iloc[int(np.argmin(np.abs(column.to_numpy() - column.mean())))]
    return column.mode().iloc[0]
