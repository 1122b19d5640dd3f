"""``gr(...)``, ``mm(...)`` and ``s(...)`` with data → wide terms, and their rows for new data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, InputError, NotAvailableError, UnidentifiedTermError, UnseenLevelError
from ..formulas.expressions import Expression, Factor, as_numbers_or_factor, evaluate
from ..formulas.formula import Bar, Formula
from ..formulas.terms import PLAIN_NAME, Atom
from ..terms.membership import Members
from ..terms.relationship import Matrix, Relationship, incidence
from ..terms.smooth import Curve
from ..terms.wide import WideTerm
from ..terms.words import Membership, Related, Smooth
from ..tools.arrays import Array
from ..tools.lazy import sparse
from .coding import MatrixRecipe, design_columns, new_columns

MOST_CORRELATED = 3_000  # effects of a term of several a level: a factorisation takes a second there


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewWide:
    """A wide term on new rows.

    Attributes
    ----------
    matrix : (n, J q), dense or sparse
        What each row multiplies the effects with, level by level; a row with missing predictors has NaN, or nothing.
    unknown : bool array (n,)
        Rows of a level that the term does not have.
    beyond : bool array (n,)
        Rows where a smooth is extrapolated.
    others : (n, U q), sparse, or None
        The same for the U levels that the term does not have, which are independent of each other and of the rest.
    left : (n, q) or None
        The columns on the left of the bar, whatever the level; None of a smooth.
    """

    name: str
    is_grouping: bool
    matrix: Any
    unknown: np.ndarray
    beyond: np.ndarray
    others: Any = None
    left: np.ndarray | None = None

    def taking(self, chosen: Any) -> NewWide:
        """Some of the rows."""
        return NewWide(
            name=self.name,
            is_grouping=self.is_grouping,
            matrix=self.matrix[chosen],
            unknown=self.unknown[chosen],
            beyond=self.beyond[chosen],
            others=None if self.others is None else self.others[chosen],
            left=None if self.left is None else self.left[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WideRecipe:
    """How the rows of a wide term are made: ``leaves`` and ``columns`` are what they need of a table.

    ``rows`` takes a table in which these are complete, ``loose`` columns excepted, and gives the matrix (n, J), and
    which rows are of an unknown level or beyond the data; ``others`` the matrix of the unknown levels, ``left`` the
    columns on the left of the bar.
    """

    name: str
    is_grouping: bool
    leaves: tuple[Expression, ...]
    columns: tuple[str, ...]
    loose: tuple[str, ...]
    rows: Callable[[pd.DataFrame], tuple[Any, np.ndarray, np.ndarray]]
    level: Any = None  # of ``by``, of a smooth of one level
    others: Callable[[pd.DataFrame], Any] | None = None
    left: Callable[[pd.DataFrame], np.ndarray] | None = None


def wide_terms(
    formula: Formula,
    expressions: Mapping[Atom, Expression],
    frame: pd.DataFrame,
    matrices: Mapping[str, Matrix],
    weights: Array | None,
) -> tuple[list[WideTerm], list[WideRecipe]]:
    """The wide terms of a formula in order of appearance, smooths last."""
    built: list[tuple[WideTerm, WideRecipe]] = []
    for bar in formula.bars:
        if isinstance(bar.word, Related):
            built.append(_related(bar, bar.word, expressions, frame, matrices, weights))
        elif isinstance(bar.word, Membership):
            built.append(_membership(bar, bar.word, expressions, frame, weights))
    for word, text in formula.smooths:
        built += _smooth(word, text, formula, expressions, frame, weights)
    names = [term.name for term, _ in built]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        texts = " + ".join(dict.fromkeys(term.texts[0] for term, _ in built if term.name == twice))
        raise UnidentifiedTermError(f"{texts}: {twice} is there twice. Keep one of them.")
    return [term for term, _ in built], [recipe for _, recipe in built]


def _related(
    bar: Bar,
    word: Related,
    expressions: Mapping[Atom, Expression],
    frame: pd.DataFrame,
    matrices: Mapping[str, Matrix],
    weights: Array | None,
) -> tuple[WideTerm, WideRecipe]:
    recipe, Z = design_columns(bar.terms, expressions, frame)
    relationship = Relationship.of(word, matrices, bar.text)
    places = relationship.places(frame[word.column], bar.text)
    relationship.check(places, frame[word.column], bar.text)
    if len(np.unique(places)) < 2:
        raise UnidentifiedTermError(
            f"{bar.text}: one level of {word.column!r} has rows, so a variance between levels cannot be estimated."
        )
    J = len(relationship.matrix.labels)
    _refuse_too_many(bar, J, recipe)
    name = _name(word.name, bar, recipe)
    members = incidence(places, np.ones(len(frame)), J)
    term = WideTerm(
        name=name,
        variables=(word.column,),
        levels=relationship.matrix.labels,
        text=bar.text,
        kind="relationship matrix",
        matrix=by_column(members, Z),
        root=relationship.root,
        weights=weights,
        columns=recipe.names,
        left=_several(Z),
        members=members,
    )

    def rows(table: pd.DataFrame) -> tuple[Any, np.ndarray, np.ndarray]:
        places = relationship.places(table[word.column], bar.text)
        members = incidence(places, np.ones(len(table)), J)
        return by_column(members, _left(recipe, table)), places < 0, np.zeros(len(table), dtype=bool)

    def others(table: pd.DataFrame) -> Any:
        is_labelled = relationship.places(table[word.column], bar.text) >= 0
        codes, labels = pd.factorize(table[word.column].astype(object).where(~is_labelled))
        return by_column(incidence(codes, np.ones(len(table)), len(labels)), _left(recipe, table))

    return term, WideRecipe(
        name=name,
        is_grouping=True,
        leaves=_leaves(recipe),
        columns=(word.column,),
        loose=(),
        rows=rows,
        others=others,
        left=lambda table: _left(recipe, table),
    )


def _name(word: str, bar: Bar, recipe: MatrixRecipe) -> str:
    """What a term is called: by its columns where it has no intercept, as several of one word may stand together."""
    if recipe.names[0] == "Intercept":
        return word
    return f"{word}:{recipe.names[0] if len(recipe.names) == 1 else bar.columns.removeprefix('0 + ')}"


def _refuse_too_many(bar: Bar, J: int, recipe: MatrixRecipe) -> None:
    q = len(recipe.names)
    if q > 1 and J * q > MOST_CORRELATED:
        raise NotAvailableError(
            f"{bar.text}: {q} correlated effects of each of {J:,} levels are a dense block of {J * q:,} columns, at "
            f"most {MOST_CORRELATED:,} are offered. Independent ones, with || in place of |, have no such limit."
        )


def _several(Z: np.ndarray) -> np.ndarray | None:
    """The columns that a term of several effects a level keeps besides its matrix."""
    return np.ascontiguousarray(Z) if Z.shape[1] > 1 else None


def _left(recipe: MatrixRecipe, table: pd.DataFrame) -> np.ndarray:
    """The columns on the left of a bar on new rows (m, q)."""
    return new_columns(recipe, table) if len(table) else np.empty((0, len(recipe.names)))


def by_column(members: Any, Z: np.ndarray) -> Any:
    """What rows multiply effects with (n, J q), sparse: of weights of levels (n, J) and columns (n, q)."""
    columns = [sparse.csc_array(members.multiply(z[:, None])) for z in Z.T]
    if len(columns) == 1:
        return sparse.csr_array(columns[0])
    J, q = members.shape[1], len(columns)
    return sparse.csr_array(sparse.hstack(columns, format="csc")[:, np.arange(J * q).reshape(q, J).T.reshape(-1)])


def _leaves(recipe: MatrixRecipe) -> tuple[Expression, ...]:
    return tuple(coded.expression for factors in recipe.products for coded in factors)


def _membership(
    bar: Bar, word: Membership, expressions: Mapping[Atom, Expression], frame: pd.DataFrame, weights: Array | None
) -> tuple[WideTerm, WideRecipe]:
    recipe, Z = design_columns(bar.terms, expressions, frame)
    members = Members.of(word, bar.text, [frame[column] for column in word.columns])
    _refuse_too_many(bar, len(members.levels), recipe)
    name = _name(word.name, bar, recipe)

    def weighed(table: pd.DataFrame) -> tuple[Any, np.ndarray]:
        slots, weight_columns = ([table[column] for column in columns] for columns in (word.columns, word.weights))
        return members.matrix(slots, weight_columns)

    def rows(table: pd.DataFrame) -> tuple[Any, np.ndarray, np.ndarray]:
        by_level, unknown = weighed(table)
        return by_column(by_level, _left(recipe, table)), unknown, np.zeros(len(table), dtype=bool)

    def others(table: pd.DataFrame) -> Any:
        slots, weight_columns = ([table[column] for column in columns] for columns in (word.columns, word.weights))
        return by_column(members.unknown(slots, weight_columns), _left(recipe, table))

    by_level = weighed(frame)[0]
    term = WideTerm(
        name=name,
        variables=word.columns,
        levels=members.levels,
        text=bar.text,
        kind="multi-membership",
        matrix=by_column(by_level, Z),
        root=None,
        weights=weights,
        columns=recipe.names,
        left=_several(Z),
        members=by_level,
    )
    return term, WideRecipe(
        name=name,
        is_grouping=True,
        leaves=_leaves(recipe),
        columns=word.weights,
        loose=word.columns,
        rows=rows,
        others=others,
        left=lambda table: _left(recipe, table),
    )


def atoms_of(word: Smooth, text: str) -> tuple[Atom, ...]:
    """The leaves of a smooth: its number, and the factor that it varies by."""
    is_name = PLAIN_NAME.fullmatch(word.x) is not None or f"s(`{word.x}`" in text
    return (Atom(word.x, is_name=is_name), *((Atom(word.by),) if word.by else ()))


def _smooth(
    word: Smooth,
    text: str,
    formula: Formula,
    expressions: Mapping[Atom, Expression],
    frame: pd.DataFrame,
    weights: Array | None,
) -> list[tuple[WideTerm, WideRecipe]]:
    x_of, *by_of = [expressions[atom] for atom in atoms_of(word, text)]
    x = _numbers(x_of, frame, text)
    curve = Curve.of(word, text, x)
    if not by_of:
        return [_curve_term(word.name, text, curve, x_of, None, frame, weights)]
    by = as_numbers_or_factor(evaluate(by_of[0], frame), by_of[0], frame.index)
    if not isinstance(by, Factor):
        if (Atom(word.by),) not in formula.fixed_terms.products:
            raise InputError(
                f"{text}: a curve times the number {word.by} holds {word.by} itself, whose effect no penalty reaches: "
                f"write {word.by} + {text}. (Make {word.by} a column of text if its numbers name levels.)"
            )
        return [_curve_term(f"{word.name}:{word.by}", text, curve, x_of, (by_of[0], None, ()), frame, weights)]
    levels = list(dict.fromkeys(sorted(by.data.dropna().astype(object).unique().tolist(), key=str)))
    return [
        _curve_term(f"{word.name}:{word.by}{level}", text, curve, x_of, (by_of[0], level, levels), frame, weights)
        for level in levels
    ]


def _curve_term(
    name: str,
    text: str,
    curve: Curve,
    x_of: Expression,
    by: tuple[Expression, Any, Sequence[Any]] | None,
    frame: pd.DataFrame,
    weights: Array | None,
) -> tuple[WideTerm, WideRecipe]:
    """A curve; or with ``by`` (the factor, a level, all levels) that of one level, without levels a curve times it."""

    def rows(table: pd.DataFrame) -> tuple[Any, np.ndarray, np.ndarray]:
        x = _numbers(x_of, table, text)
        matrix, beyond = curve.columns(x), curve.beyond(x)
        if by is not None:
            by_of, level, levels = by
            if not levels:
                return matrix * _numbers(by_of, table, text)[:, None], np.zeros(len(table), dtype=bool), beyond
            factor = as_numbers_or_factor(evaluate(by_of, table), by_of, table.index)
            values = factor.data.astype(object) if isinstance(factor, Factor) else pd.Series(factor)
            unseen = values[~values.isin(levels)]
            if len(unseen):
                raise UnseenLevelError(
                    f"{text}: the fit has not seen the level {unseen.iloc[0]!r} of {by_of.label!r}: it has no curve."
                )
            in_level = np.asarray(values == level)
            matrix, beyond = matrix * in_level[:, None], beyond & in_level
        return matrix, np.zeros(len(table), dtype=bool), beyond

    matrix = rows(frame)[0]
    leaves = (x_of,) if by is None else (x_of, by[0])
    term = WideTerm(
        name=name,
        variables=tuple(dict.fromkeys(column for leaf in leaves for column in leaf.columns.values())),
        levels=tuple(range(1, matrix.shape[1] + 1)),
        text=text,
        kind="smooth",
        matrix=matrix,
        root=None,
        weights=weights,
        columns=("curve",),
    )
    return term, WideRecipe(
        name=name,
        is_grouping=False,
        leaves=leaves,
        columns=(),
        loose=(),
        rows=rows,
        level=None if by is None else by[1],
    )


def _numbers(expression: Expression, frame: pd.DataFrame, text: str) -> np.ndarray:
    values = as_numbers_or_factor(evaluate(expression, frame), expression, frame.index)
    if isinstance(values, Factor) or np.ndim(values) != 1 and np.shape(values)[1:] != (1,):
        raise DataError(f"{text}: {expression.label!r} holds no numbers, so there is no curve along it.")
    return np.asarray(values, dtype=np.float64).reshape(len(frame))
