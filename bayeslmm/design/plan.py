"""What a formula needs of a table: every name resolved, every used column on the complete rows."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ..errors import DataError, DroppedRowsWarning, FormulaError
from ..formulas.binding import Scope, bind
from ..formulas.expressions import Censoring, Counts, Expression
from ..formulas.formula import Formula
from ..formulas.terms import Atom
from ..terms.words import Membership
from ..tools.frame import (
    Columns,
    check_finite,
    check_size,
    complete_rows,
    group_column,
    is_numeric,
    pick,
    plain,
    row_names,
    unknown_column,
)
from ..tools.warned import warn
from .predictor_words import PredictorWords
from .residual_words import ResidualWords
from .wide_terms import atoms_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The leaves of a formula with their names resolved, the columns they use, and the scope as far as they used it."""

    response: Expression
    expressions: Mapping[Atom, Expression]
    offsets: tuple[Expression, ...]
    columns: tuple[str, ...]
    group_only: frozenset[str]
    offset_column: bool
    scope: Scope
    likelihood_weights: Expression | None = None
    loose: frozenset[str] = frozenset()  # where a missing value is an empty slot and the row stays


def make_plan(
    formula: Formula,
    data: pd.DataFrame,
    scope: Scope,
    weights: Any,
    offset: Any,
    se: Any = None,
    residual: ResidualWords | None = None,
    predictors: tuple[PredictorWords, ...] = (),
) -> Plan:
    """Resolve every name of the formula; UnknownColumnError for the first that nothing answers to."""
    columns = data.columns
    response = bind(formula.response_atom, columns, scope, "response", once=True)
    expressions = {atom: bind(atom, columns, scope, "fixed part") for atom in formula.fixed_terms.atoms}
    for bar in formula.bars:
        for atom in bar.terms.atoms:
            expressions.setdefault(atom, bind(atom, columns, scope, f"left side of {bar.text}"))
        for name in bar.group:
            if name not in columns:
                raise unknown_column(name, f"grouping factor of {bar.text}", columns)
    bars_of_parameters = [(words.parameter, bar) for words in predictors for bar in words.formula.bars]
    loose: dict[str, None] = {}
    for bar in formula.bars:
        if isinstance(bar.word, Membership):
            loose |= dict.fromkeys(bar.word.columns)
            for name in bar.word.weights:
                if name not in columns:
                    raise unknown_column(name, f"weights of {bar.text}", columns)
    for smooth, text in formula.smooths:
        for atom in (*atoms_of(smooth, text), *((Atom(smooth.group),) if smooth.group else ())):
            expressions.setdefault(atom, bind(atom, columns, scope, text))
    if residual is not None:
        for atom in residual.terms.atoms:
            expressions.setdefault(atom, bind(atom, columns, scope, "sigma="))
        for name, where in residual.columns:
            if name not in columns:
                raise unknown_column(name, where, columns)
    for words in predictors:
        atoms = [*words.formula.fixed_terms.atoms, *words.offset_atoms]
        atoms += [atom for smooth, text in words.formula.smooths for atom in atoms_of(smooth, text)]
        for atom in atoms:
            expressions.setdefault(atom, bind(atom, columns, scope, f"{words.parameter}="))
    for parameter, bar in bars_of_parameters:
        for atom in bar.terms.atoms:
            expressions.setdefault(atom, bind(atom, columns, scope, f"left side of {bar.text} of {parameter}="))
        for name in bar.group:
            if name not in columns:
                raise unknown_column(name, f"grouping factor of {bar.text} of {parameter}=", columns)
    counted = formula.likelihood_weights
    likelihood_weights = None if counted is None else bind(counted, columns, scope, "weights()", once=True)
    offsets = [bind(Atom(text, is_name=False), columns, scope, "offset") for text in formula.offsets]
    if isinstance(offset, str):
        offsets.append(bind(Atom(offset), columns, scope, "offset="))
    for argument, label in ((weights, "weights="), (se, "se=")):
        if isinstance(argument, str) and argument not in columns:
            raise unknown_column(argument, label, columns)
    every = [response, *expressions.values(), *offsets, *([] if likelihood_weights is None else [likelihood_weights])]
    valued = dict.fromkeys(name for expression in every for name in expression.columns.values())
    for bar in formula.bars:
        if isinstance(bar.word, Membership):
            valued |= dict.fromkeys(bar.word.weights)
    grouping = dict.fromkeys(name for bar in formula.bars for name in bar.group)
    grouping |= dict.fromkeys(name for _, bar in bars_of_parameters for name in bar.group)
    grouping |= dict.fromkeys(name for name, _ in (residual.columns if residual is not None else ()))
    _refuse_response_as_predictor(formula, response, {e.label: e for e in (*expressions.values(), *offsets)}, grouping)
    captured = {name: value for expression in every for name, value in expression.captured.items()}
    return Plan(
        response=response,
        expressions=expressions,
        offsets=tuple(offsets),
        columns=tuple({**valued, **grouping}),
        group_only=frozenset(grouping) - frozenset(valued),
        offset_column=isinstance(offset, str),
        scope=replace(scope, names=captured),
        likelihood_weights=likelihood_weights,
        loose=frozenset(loose)
        - frozenset(valued)
        - frozenset(n for b in formula.bars if not isinstance(b.word, Membership) for n in b.group),
    )


def _refuse_response_as_predictor(
    formula: Formula, response: Expression, right: Mapping[str, Expression], grouping: Mapping[str, None]
) -> None:
    """Raise FormulaError where the response explains itself; of ``I(post - pre)`` either column may."""
    of_response = _columns_of_response(response)
    where = [text for text, expression in right.items() if not of_response.isdisjoint(expression.columns.values())]
    if where or not of_response.isdisjoint(grouping):
        (name,) = of_response
        shown = f", in {where[0]}" if where and where[0] != name else ""
        raise FormulaError(
            f"{formula.text!r}: the response {name!r} is among its own predictors{shown}: it would explain itself, and "
            "nothing else could. Leave it out there, or make the column that is meant, as of the values before."
        )


def _columns_of_response(response: Expression) -> frozenset[str]:
    """The one column of which the response is a function, beside trials and status; none where there are more."""
    if response.is_column:
        return frozenset((response.label,))
    tree: ast.AST = ast.parse(response.code, mode="eval").body
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        kind = response.objects.get(tree.func.id)
        if kind in (Counts, Censoring):
            tree = next(iter((*tree.args, *(keyword.value for keyword in tree.keywords))))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & response.columns.keys()
    columns = frozenset(response.columns[name] for name in names)
    return columns if len(columns) == 1 else frozenset()


def kept_columns(plan: Plan, data: pd.DataFrame, offset: np.ndarray | None) -> tuple[Columns, np.ndarray | None]:
    """The used columns on the complete rows, and the mask of these rows (None: all of them)."""
    used_names = {name: pick(data, name) for name in plan.columns}
    outside = {"offset": offset} if offset is not None else {}
    keep, counts = complete_rows(
        {**{key: value for key, value in used_names.items() if key not in plan.loose}, **outside}
    )
    if keep is not None:
        _report_dropped(keep, counts)
    index = data.index
    if keep is not None:
        index = index[keep]
        used_names = {
            name: pd.Series(column.array[keep], index=index, name=name, copy=False)
            for name, column in used_names.items()
        }
    columns = {
        name: group_column(column).astype("category")  # which files can hold
        if name in plan.loose
        else plain(column, name, group_only=name in plan.group_only)
        for name, column in used_names.items()
    }
    for name, column in columns.items():
        if name not in plan.loose and is_numeric(column):
            check_finite(column.to_numpy(), index, f"Column {name!r}")
    return Columns(columns, index), keep


def _report_dropped(keep: np.ndarray, counts: Mapping[str, int]) -> None:
    n, dropped = len(keep), int(len(keep) - keep.sum())
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    if dropped == n:
        empty = [name for name, count in counts.items() if count == n]
        why = f"{', '.join(map(repr, empty))} is all missing" if empty else f"missing values: {listed}"
        raise DataError(f"No row is complete: {why}. Fill in or leave out the column.")
    warn(f"{dropped} of {n} rows left out, as they have missing values ({listed}).", DroppedRowsWarning)


def from_outside(values: Any, data: pd.DataFrame, what: str) -> np.ndarray | None:
    """Weights or offset as float64 (len(data),); None for none, and for an offset that is a column."""
    if values is None or (isinstance(values, str) and what == "offset"):
        return None
    if isinstance(values, str):
        values = pick(data, values)
    if isinstance(values, pd.Series) and not values.index.equals(data.index):
        raise DataError(
            f"{what}= is a Series with an index other than the data's. Align it, or pass {what}.to_numpy() "
            "to go by order."
        )
    try:
        column = pd.Series(values)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{what}= is no column of numbers: {problem}") from None
    many = types.is_list_like(values) and not isinstance(values, Mapping)
    if not many or len(column) != len(data):
        got = f"has {len(column)} values" if many else f"is one {type(values).__name__}"
        raise DataError(f"{what}= {got} for {len(data)} rows of data. Give one value for each row.")
    present = column.notna().to_numpy(dtype=bool)
    present_values = plain(column[present], what)
    array = np.full(len(data), np.nan)
    try:
        array[present] = pd.to_numeric(present_values)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{what}= does not hold numbers: {problem}.") from None
    return array


def check_weights(values: np.ndarray | None, keep: np.ndarray | None, index: pd.Index) -> np.ndarray | None:
    """The weights of the kept rows, all positive and finite."""
    if values is None:
        return None
    values = values if keep is None else values[keep]
    is_invalid = ~(np.isfinite(values) & (values > 0))
    if is_invalid.any():
        raise DataError(
            f"Weights are positive and finite; {int(is_invalid.sum())} are not ({row_names(index, is_invalid)}). "
            "Leave these rows out of the data."
        )
    check_size(values[:, None], ["weights"])
    return values
