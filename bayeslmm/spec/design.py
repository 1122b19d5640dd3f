"""Formula + table → `Design`: the arrays of the model, with names, levels and kept rows.

Rows are chosen once, over every used column; each part of the formula is then built on these rows. Random terms stay
group codes beside a narrow matrix: indicators are never built.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayeslmm.errors import AliasedColumnsWarning, DataError, DroppedRowsWarning, UnidentifiedTermError
from bayeslmm.spec.coding import MatrixRecipe, design_columns, independent_columns, new_columns
from bayeslmm.spec.expressions import Expression, as_numbers_or_factor, bind, evaluate
from bayeslmm.spec.formula import Atom, Bar, Formula, parse_formula
from bayeslmm.spec.frame import (
    as_frame,
    check_finite,
    complete_rows,
    is_numeric,
    pick,
    plain,
    row_names,
    unknown_column,
)
from bayeslmm.spec.grouping import Grouping, check_identified, check_levels, factorize, new_codes


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTerm:
    """One grouping factor with all its bars.

    Attributes
    ----------
    name, variables : str, tuple of str
        ``"school:class"`` and the columns it combines.
    codes : int64 array (n,)
        The level of each row.
    levels : tuple
        Labels in the order of the codes: values of the column, or ``"a:b"`` texts for combinations.
    columns : tuple of str
        Names of the q columns of Z.
    Z : float64 array (n, q)
        What each row multiplies its level's effects with.
    blocks : tuple of tuple of int
        A partition of the columns: effects inside one block are correlated, blocks are independent.
    texts : tuple of str
        The bars as the user wrote them, one per block.
    """

    name: str
    variables: tuple[str, ...]
    codes: np.ndarray
    levels: tuple[Any, ...]
    columns: tuple[str, ...]
    Z: np.ndarray
    blocks: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] = ()

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.levels)

    @property
    def q(self) -> int:
        """Number of effects per level."""
        return len(self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """A grouping factor on new rows: code −1 and its label where the level is new, label None where missing."""

    name: str
    codes: np.ndarray
    labels: np.ndarray
    Z: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDesign:
    """The arrays of a design on new rows; rows with missing predictors hold NaN."""

    X: np.ndarray
    groups: tuple[NewGroup, ...]
    offset: np.ndarray
    index: pd.Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a design remembers to build itself for new data."""

    fixed: MatrixRecipe
    kept: np.ndarray
    bars: tuple[tuple[MatrixRecipe, ...], ...]
    groupings: tuple[Grouping, ...]
    offsets: tuple[Expression, ...]
    offset_given_as_array: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The data of a mixed model, complete and read-only.

    Attributes
    ----------
    formula : Formula
    response : str
        Name of the response, for example ``sqrt(weight)``.
    y : float64 array (n,)
        The response; successes for ``p(successes, trials)``.
    trials : float64 array (n,) or None
        The trials of a ``p(successes, trials)`` response.
    X : float64 array (n, p)
        The fixed part, without aliased columns; ``x_names`` names its columns.
    aliased : tuple of str
        Columns left out because they depend linearly on earlier ones.
    groups : tuple of GroupTerm
        One per grouping factor, in order of first appearance.
    weights, offset : float64 arrays (n,)
        ``weights`` is None when none were given; ``offset`` is zero then.
    index : pandas.Index
        Labels of the kept rows; ``n_dropped`` rows had missing values.
    frame : pandas.DataFrame
        The used columns on the kept rows, in plain dtypes.
    """

    formula: Formula
    response: str
    y: np.ndarray
    trials: np.ndarray | None
    X: np.ndarray
    x_names: tuple[str, ...]
    aliased: tuple[str, ...]
    groups: tuple[GroupTerm, ...]
    weights: np.ndarray | None
    offset: np.ndarray
    index: pd.Index
    n_dropped: int
    frame: pd.DataFrame
    recipe: Recipe

    @property
    def n(self) -> int:
        """Number of rows used."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Number of columns of X."""
        return len(self.x_names)

    @property
    def has_intercept(self) -> bool:
        """True when the fixed part has an intercept."""
        return "Intercept" in self.x_names

    def at(
        self, newdata: pd.DataFrame, *, groups: Collection[str] | None = None, offset: Any = None
    ) -> NewDesign:
        """Build X, Z, codes and offset for new rows, with the transforms and codings of this design.

        Parameters
        ----------
        newdata : pandas.DataFrame
            Needs the predictors and grouping columns, not the response.
        groups : collection of str, optional
            Names of the grouping factors to build; all by default. The others' columns need not be there.
        offset : array or str, optional
            Replaces an offset that was given to the model as an array.

        Raises
        ------
        UnknownColumnError
            A needed column is not there.
        UnseenLevelError
            A fixed factor has a level that the fit has not seen. (An unseen group gets code −1 instead.)
        """
        return _at(self, newdata, groups, offset)


# -- building --------------------------------------------------------------------------------------------------


def build_design(
    formula: Formula | str,
    data: pd.DataFrame,
    *,
    weights: Any = None,
    offset: Any = None,
    namespace: Mapping[str, Any] | None = None,
    residual: bool = True,
) -> Design:
    """Build the arrays of a mixed model.

    Parameters
    ----------
    formula : str or Formula
    data : pandas.DataFrame
        Left as it is.
    weights, offset : str or array (len(data),), optional
        A column's name or values in the order of the rows. Weights are positive; an offset adds to ``offset()`` terms.
    namespace : mapping, optional
        Where functions in the formula are looked up.
    residual : bool
        False for families without a residual variance, which may have one row per level.

    Returns
    -------
    Design

    Raises
    ------
    FormulaError, DataError, UnknownColumnError, NonFiniteError, UnidentifiedTermError

    Warns
    -----
    DroppedRowsWarning, AliasedColumnsWarning

    Examples
    --------
    >>> import pandas as pd
    >>> d = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]})
    >>> build_design("y ~ (1 | g)", d).groups[0].levels
    ('a', 'b')
    """
    formula = parse_formula(formula) if isinstance(formula, str) else formula
    data = as_frame(data)
    plan = _plan(formula, data, namespace or {}, weights, offset)
    weights = _from_outside(weights, data, "weights")
    offset = _from_outside(offset, data, "offset")
    frame, keep = _kept_frame(plan, data, offset)
    weights = _weights(weights, keep, frame.index)
    offset = None if offset is None else (offset if keep is None else offset[keep])

    y, trials = _response(plan.response, frame)
    fixed, X = design_columns(formula.fixed_terms, plan.expressions, frame)
    X, kept, aliased = _without_aliases(X, fixed, formula)
    _check_rows(len(y), X.shape[1])
    groups, bars, groupings = _groups(formula.bars, plan.expressions, frame, residual)
    recipe = Recipe(
        fixed=fixed,
        kept=kept,
        bars=bars,
        groupings=groupings,
        offsets=plan.offsets,
        offset_given_as_array=offset is not None and not plan.offset_column,
    )
    return Design(
        formula=formula,
        response=plan.response.label,
        y=_frozen(y),
        trials=None if trials is None else _frozen(trials),
        X=_frozen(X),
        x_names=tuple(name for name, use in zip(fixed.names, kept, strict=True) if use),
        aliased=aliased,
        groups=groups,
        weights=None if weights is None else _frozen(weights),
        offset=_frozen(_offsets(plan.offsets, frame, offset)),
        index=frame.index,
        n_dropped=len(data) - len(frame),
        frame=frame,
        recipe=recipe,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The leaves of a formula with their names resolved, and the columns they use."""

    response: Expression
    expressions: Mapping[Atom, Expression]
    offsets: tuple[Expression, ...]
    columns: tuple[str, ...]
    group_only: frozenset[str]
    offset_column: bool


def _plan(
    formula: Formula, data: pd.DataFrame, namespace: Mapping[str, Any], weights: Any, offset: Any
) -> _Plan:
    columns = data.columns
    response = bind(formula.response_atom, columns, namespace, "response")
    expressions = {atom: bind(atom, columns, namespace, "fixed part") for atom in formula.fixed_terms.atoms}
    for bar in formula.bars:
        for atom in bar.terms.atoms:
            expressions.setdefault(atom, bind(atom, columns, namespace, f"left side of {bar.text}"))
        for name in bar.group:
            if name not in columns:
                raise unknown_column(name, f"grouping factor of {bar.text}", columns)
    offsets = [bind(Atom(text, is_name=False), columns, namespace, "offset") for text in formula.offsets]
    if isinstance(offset, str):
        offsets.append(bind(Atom(offset), columns, namespace, "offset="))
    if isinstance(weights, str) and weights not in columns:
        raise unknown_column(weights, "weights=", columns)
    every = [response, *expressions.values(), *offsets]
    valued = dict.fromkeys(name for expression in every for name in expression.columns.values())
    grouping = dict.fromkeys(name for bar in formula.bars for name in bar.group)
    return _Plan(
        response=response,
        expressions=expressions,
        offsets=tuple(offsets),
        columns=tuple({**valued, **grouping}),
        group_only=frozenset(grouping) - frozenset(valued),
        offset_column=isinstance(offset, str),
    )


def _kept_frame(
    plan: _Plan, data: pd.DataFrame, offset: np.ndarray | None
) -> tuple[pd.DataFrame, np.ndarray | None]:
    used = {name: pick(data, name) for name in plan.columns}
    outside = {"offset": offset} if offset is not None else {}
    keep, counts = complete_rows({**used, **outside})
    if keep is not None:
        _report_dropped(keep, counts)
    columns = {
        name: plain(column if keep is None else column[keep], name, group_only=name in plan.group_only)
        for name, column in used.items()
    }
    index = data.index if keep is None else data.index[keep]
    frame = pd.DataFrame(columns, index=index, copy=False)
    for name in plan.columns:
        if is_numeric(frame[name]):
            check_finite(frame[name].to_numpy(), index, f"Column {name!r}")
    return frame, keep


def _report_dropped(keep: np.ndarray, counts: Mapping[str, int]) -> None:
    n, dropped = len(keep), int(len(keep) - keep.sum())
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    if dropped == n:
        empty = [name for name, count in counts.items() if count == n]
        why = f"{', '.join(map(repr, empty))} is all missing" if empty else f"missing values: {shown}"
        raise DataError(f"No row is complete: {why}. Fill in or leave out the column.")
    warnings.warn(
        f"{dropped} of {n} rows left out, as they have missing values ({shown}).",
        DroppedRowsWarning,
        stacklevel=4,
    )


def _from_outside(values: Any, data: pd.DataFrame, what: str) -> np.ndarray | None:
    """Weights or offset as float64 (len(data),); None for none, and for an offset that is a column."""
    if values is None or (isinstance(values, str) and what == "offset"):
        return None
    if isinstance(values, str):
        values = pick(data, values)
    if isinstance(values, pd.Series) and not values.index.equals(data.index):
        raise DataError(
            f"{what}= is a Series with an index other than the data's. Align it, or pass {what}.to_numpy() to go by order."
        )
    try:
        array = pd.to_numeric(pd.Series(values)).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{what}= does not hold numbers: {problem}.") from problem
    if array.shape != (len(data),):
        raise DataError(
            f"{what}= has {array.size} values for {len(data)} rows of data. Give one for each row."
        )
    return array


def _weights(values: np.ndarray | None, keep: np.ndarray | None, index: pd.Index) -> np.ndarray | None:
    if values is None:
        return None
    values = values if keep is None else values[keep]
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        raise DataError(
            f"Weights are positive and finite; {int(bad.sum())} are not ({row_names(index, bad)}). "
            "Leave these rows out of the data."
        )
    return values


def _response(expression: Expression, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray | None]:
    value = evaluate(expression, frame)
    if hasattr(value, "successes") and hasattr(value, "trials"):
        return np.asarray(value.successes, dtype=np.float64), np.asarray(value.trials, dtype=np.float64)
    numbers = as_numbers_or_factor(value, expression, frame.index)
    if not isinstance(numbers, np.ndarray):
        raise DataError(
            f"The response {expression.label!r} holds text or categories; numbers are needed. Convert it with "
            f"pandas.to_numeric, or write I({expression.label} == 'level') for a yes/no response."
        )
    if numbers.ndim > 1:
        raise DataError(f"The response {expression.label!r} has {numbers.shape[1]} columns; one is needed.")
    return numbers, None


def _without_aliases(
    X: np.ndarray, fixed: MatrixRecipe, formula: Formula
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    kept = independent_columns(X, has_intercept=formula.fixed_terms.intercept)
    aliased = tuple(name for name, use in zip(fixed.names, kept, strict=True) if not use)
    if aliased:
        warnings.warn(
            f"The fixed part is rank deficient: {', '.join(aliased)} left out, as "
            f"{'it depends' if len(aliased) == 1 else 'they depend'} linearly on columns before.",
            AliasedColumnsWarning,
            stacklevel=3,
        )
        X = X[:, kept]
    kept.setflags(write=False)
    return X, kept, aliased


def _check_rows(n: int, p: int) -> None:
    if n <= p:
        raise DataError(
            f"{n} complete row{'s' * (n > 1)} for {p} coefficients of the fixed part: more rows than coefficients are "
            "needed. Use more data or fewer terms."
        )


def _groups(
    bars: tuple[Bar, ...], expressions: Mapping[Atom, Expression], frame: pd.DataFrame, residual: bool
) -> tuple[tuple[GroupTerm, ...], tuple[tuple[MatrixRecipe, ...], ...], tuple[Grouping, ...]]:
    """The bars of each grouping factor merged into one term, in order of first appearance."""
    together: dict[frozenset[str], list[Bar]] = {}
    for bar in bars:
        together.setdefault(frozenset(bar.group), []).append(bar)
    terms, recipes, groupings = [], [], []
    for same in together.values():
        grouping, codes = factorize([frame[name] for name in same[0].group])
        check_levels(grouping, len(frame))
        built = [design_columns(bar.terms, expressions, frame) for bar in same]
        if residual:
            for bar, (_, Z) in zip(same, built, strict=True):
                check_identified(bar.text, grouping, Z.shape[1], len(frame))
        terms.append(_merged(same, grouping, codes, built))
        recipes.append(tuple(recipe for recipe, _ in built))
        groupings.append(grouping)
    return tuple(terms), tuple(recipes), tuple(groupings)


def _merged(
    bars: list[Bar], grouping: Grouping, codes: np.ndarray, built: list[tuple[MatrixRecipe, np.ndarray]]
) -> GroupTerm:
    columns = tuple(name for recipe, _ in built for name in recipe.names)
    twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if twice:
        texts = " + ".join(dict.fromkeys(bar.text for bar in bars))
        raise UnidentifiedTermError(
            f"{texts}: {', '.join(twice)} varies by {grouping.name} twice, so the two variances cannot be told apart. "
            "Keep one, for example with (0 + x | g) beside (1 | g)."
        )
    starts = np.cumsum([0] + [Z.shape[1] for _, Z in built])
    return GroupTerm(
        name=grouping.name,
        variables=grouping.variables,
        codes=_frozen(codes, dtype=np.int64),
        levels=grouping.levels,
        columns=columns,
        Z=_frozen(np.hstack([Z for _, Z in built])),
        blocks=tuple(tuple(range(int(a), int(b))) for a, b in zip(starts, starts[1:], strict=False)),
        texts=tuple(bar.text for bar in bars),
    )


def _offsets(
    expressions: tuple[Expression, ...], frame: pd.DataFrame, given: np.ndarray | None
) -> np.ndarray:
    total = np.zeros(len(frame)) if given is None else given.copy()
    for expression in expressions:
        value = evaluate(expression, frame)
        if np.ndim(value) == 0:
            value = np.full(len(frame), value)
        numbers = as_numbers_or_factor(value, expression, frame.index)
        if not isinstance(numbers, np.ndarray) or numbers.ndim > 1:
            raise DataError(f"The offset {expression.label!r} does not hold one number per row.")
        total += numbers
    check_finite(total, frame.index, "The offset")
    return total


def _frozen(array: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    """A C-contiguous read-only array that is not a view of the user's data."""
    result = np.ascontiguousarray(array, dtype=dtype)
    if result.base is not None or not result.flags.owndata:
        result = result.copy()
    result.setflags(write=False)
    return result


# -- new data --------------------------------------------------------------------------------------------------


def _at(design: Design, newdata: Any, groups: Collection[str] | None, offset: Any) -> NewDesign:
    newdata = as_frame(newdata)
    recipe = design.recipe
    wanted = [
        (term, bars, grouping)
        for term, bars, grouping in zip(design.groups, recipe.bars, recipe.groupings, strict=True)
        if groups is None or term.name in groups
    ]
    matrices = [recipe.fixed, *(bar for _, bars, _ in wanted for bar in bars)]
    leaves = [coded.expression for matrix in matrices for factors in matrix.products for coded in factors]
    named = [(leaf, "fixed part or left of a bar") for leaf in leaves] + [
        (leaf, "offset") for leaf in recipe.offsets
    ]
    used: dict[str, pd.Series] = {}
    for leaf, where in named:
        for name in leaf.columns.values():
            used[name] = _present(newdata, name, where)
    keep, _ = complete_rows(used)
    complete = np.ones(len(newdata), dtype=bool) if keep is None else keep
    frame = _new_frame(used, complete, newdata.index, design.frame)
    outside = _new_offset(recipe, newdata, offset)

    X = _scatter(new_columns(recipe.fixed, frame)[:, recipe.kept], complete)
    shift = _scatter(_offsets(recipe.offsets, frame, None)[:, None], complete)[:, 0]
    built = []
    for term, bars, grouping in wanted:
        columns = [
            _group_column(_present(newdata, name, f"grouping factor of {term.texts[0]}"))
            for name in term.variables
        ]
        codes, labels = new_codes(grouping, columns)
        Z = _scatter(np.hstack([new_columns(bar, frame) for bar in bars]), complete)
        labels.setflags(write=False)
        built.append(NewGroup(name=term.name, codes=_frozen(codes, np.int64), labels=labels, Z=_frozen(Z)))
    return NewDesign(X=_frozen(X), groups=tuple(built), offset=_frozen(shift + outside), index=newdata.index)


def _present(newdata: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in newdata.columns:
        raise unknown_column(name, where, newdata.columns)
    return pick(newdata, name)


def _new_frame(
    used: Mapping[str, pd.Series], complete: np.ndarray, index: pd.Index, known: pd.DataFrame
) -> pd.DataFrame:
    columns = {}
    for name, column in used.items():
        values = plain(column[complete], name)
        if is_numeric(known[name]) and not is_numeric(values) and len(values):
            raise DataError(
                f"Column {name!r} was numeric in the fit and holds text or categories in the new data."
            )
        if is_numeric(values):
            check_finite(values.to_numpy(), values.index, f"Column {name!r}")
        columns[name] = values
    return pd.DataFrame(columns, index=index[complete], copy=False)


def _new_offset(recipe: Recipe, newdata: pd.DataFrame, offset: Any) -> np.ndarray | float:
    if offset is None:
        if recipe.offset_given_as_array:
            raise DataError(
                "The model's offset was given as an array, which says nothing about new rows. "
                "Pass offset= with one value per row (or 0)."
            )
        return 0.0
    if np.ndim(offset) == 0 and not isinstance(offset, str):
        return float(offset)
    values = _from_outside(
        _present(newdata, offset, "offset=") if isinstance(offset, str) else offset, newdata, "offset"
    )
    return 0.0 if values is None else values


def _group_column(column: pd.Series) -> pd.Series:
    present = column.dropna()
    values = plain(present, str(column.name), group_only=True)
    if values.dtype == column.dtype:
        return column
    if len(present) == len(column):
        return values
    full = pd.Series(np.full(len(column), None, dtype=object), index=column.index, name=column.name)
    full[np.asarray(column.notna())] = values.astype(object).to_numpy()
    return full


def _scatter(values: np.ndarray, complete: np.ndarray) -> np.ndarray:
    if complete.all():
        return values
    full = np.full((len(complete), values.shape[1]), np.nan)
    full[complete] = values
    return full
