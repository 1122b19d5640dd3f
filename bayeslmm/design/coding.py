"""Terms + columns → model matrix, with what is needed to build the same columns for new data.

The choice between full and reduced coding of a factor is patsy's and formulae's: the columns of each term
span what no earlier term spans, so a matrix without intercept or main effects still has full rank.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, UnseenLevelError
from ..formulas.expressions import Expression, Factor, as_numbers_or_factor, evaluate
from ..formulas.terms import Atom, Terms
from ..tools.frame import Columns, brief, check_size, one_line, short

ALIAS_TOLERANCE = 1e-7
ROUNDING = 1e-13
MOST_COLUMNS = 5_000  # of one matrix, which is dense; a factor with more levels is a grouping factor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """How one leaf of one term becomes columns: ``table`` has a row per level (None for numbers)."""

    expression: Expression
    labels: tuple[str, ...]
    levels: tuple[Any, ...] = ()
    table: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRecipe:
    """The columns of a model matrix, product by product; an empty product is the intercept."""

    products: tuple[tuple[Coded, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(
            ":".join(labels) if labels else "Intercept"
            for factors in self.products
            for labels in product(*(coded.labels for coded in factors))
        )

    @property
    def width(self) -> int:
        """The number of columns, without writing their names out."""
        return sum(prod(len(coded.labels) for coded in factors) for factors in self.products)


Values = Mapping[Atom, "np.ndarray | Factor"]


def design_columns(
    terms: Terms, expressions: Mapping[Atom, Expression], frame: pd.DataFrame | Columns
) -> tuple[MatrixRecipe, np.ndarray]:
    """The recipe and the matrix (n × p, float64) of a sum of terms on these rows."""
    values = {
        atom: as_numbers_or_factor(evaluate(expressions[atom], frame), expressions[atom], frame.index)
        for atom in terms.atoms
    }
    categories = {
        atom: _categories(value, expressions[atom]) for atom, value in values.items() if isinstance(value, Factor)
    }
    _refuse_coded_numbers([expressions[atom] for atom in values.keys() - categories.keys()])
    products = tuple(
        tuple(
            _code(atom, values[atom], expressions[atom], categories.get(atom), full.get(atom, False))
            for atom in factors
        )
        for factors, full in _choose(terms, set(categories))
    )
    recipe = MatrixRecipe(products=products)
    width = recipe.width
    if width >= max(len(frame), 2) and categories:
        widest = max(categories, key=lambda atom: len(categories[atom]))
        raise DataError(
            f"The terms {terms} need {width} columns for {len(frame)} rows. {expressions[widest].label!r} "
            "alone has "
            f"{len(categories[widest])} levels: if it holds numbers as text, convert it; if it names groups, "
            "write (1 | group)."
        )
    if width > MOST_COLUMNS:
        raise DataError(f"The terms {terms} need {width:,} columns; a matrix has at most {MOST_COLUMNS:,}.")
    names = recipe.names
    if len(set(names)) < width:
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"Two columns of the model matrix would be called {twice!r}. Rename the data's column.")
    if "Intercept" in names and not terms.intercept:
        raise DataError(
            "A column of the data is called 'Intercept', as the model's own is, which has priors and words of its own. "
            "Rename the data's column; if it holds ones, write 1 in the formula."
        )
    matrix = _fill(recipe, {expressions[atom].label: value for atom, value in values.items()}, len(frame))
    check_size(matrix, names)
    return recipe, matrix


def new_columns(recipe: MatrixRecipe, frame: pd.DataFrame, out: np.ndarray | None = None) -> np.ndarray:
    """The matrix of a recipe on new rows; UnseenLevelError for a level that the fit has not seen.

    ``out``: where it is written to; the sizes of its numbers are left to the caller then.
    """
    expressions = {coded.expression.label: coded.expression for factors in recipe.products for coded in factors}
    values = {
        label: as_numbers_or_factor(evaluate(expression, frame), expression, frame.index)
        for label, expression in expressions.items()
    }
    matrix = _fill(recipe, values, len(frame), out)
    if out is None:
        check_size(matrix, recipe.names, smallest=0.0)
    return matrix


def _fill(
    recipe: MatrixRecipe, values: Mapping[str, np.ndarray | Factor], n: int, out: np.ndarray | None = None
) -> np.ndarray:
    matrix = np.empty((n, recipe.width)) if out is None else out
    start = 0
    for factors in recipe.products:
        parts = [_columns(coded, values[coded.expression.label]) for coded in factors]
        with np.errstate(over="ignore"):  # `check_size` says it better
            block = (
                reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(n, -1), parts) if parts else np.ones((n, 1))
            )
        matrix[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    return matrix


def _columns(coded: Coded, value: np.ndarray | Factor) -> np.ndarray:
    name = coded.expression.label
    if coded.table is None:
        if isinstance(value, Factor):
            raise DataError(f"{name!r} was numeric in the fit and holds text or categories here.")
        columns = value.reshape(len(value), -1)
        if columns.shape[1] != len(coded.labels):
            raise DataError(f"{name!r} gives {columns.shape[1]} columns here; the fit has {len(coded.labels)}.")
        return columns
    data = value.data if isinstance(value, Factor) else pd.Series(value)
    codes = level_codes(data, coded.levels)
    unseen = codes < 0
    if unseen.any():
        unseen_levels = sorted(map(str, pd.unique(np.asarray(data)[unseen])))
        seen_levels = ", ".join(map(short, coded.levels[:12])) + (", …" if len(coded.levels) > 12 else "")
        raise UnseenLevelError(
            f"{name!r} has the level{'s' * (len(unseen_levels) > 1)} {brief(unseen_levels)} that the fit has not seen. "
            f"Its levels are: {seen_levels}."
        )
    return coded.table[codes]


def level_codes(data: pd.Series, levels: Sequence[Any]) -> np.ndarray:
    """Positions of the values in ``levels``; −1 where absent. Numbers meet text by their spelling."""
    if isinstance(data.dtype, pd.CategoricalDtype):
        per_category = level_codes(pd.Series(data.cat.categories), levels)
        codes = data.cat.codes.to_numpy()
        return np.where(codes < 0, -1, np.append(per_category, -1)[codes]).astype(np.int64)
    if isinstance(data.dtype, pd.StringDtype) and set(map(type, levels)) == {str}:
        return _text_codes(data, levels)
    index = pd.Index(levels)
    numeric = index.dtype.kind in "biuf"
    if numeric != (data.dtype.kind in "biuf"):
        index = pd.Index([str(level) for level in levels])
        data = whole_numbers(data).astype("str")
    return index.get_indexer(pd.Index(data)).astype(np.int64)


def _text_codes(data: pd.Series, levels: Sequence[str]) -> np.ndarray:
    """The same of text, of which pandas would make an index first."""
    codes, distinct = pd.factorize(data.array)
    place = {level: k for k, level in enumerate(levels)}
    places = [place.get(text, -1) for text in distinct.tolist()]
    return np.array([*places, -1], dtype=np.int64)[codes]  # the last for a missing value, whose code is −1


def whole_numbers(data: pd.Series) -> pd.Series:
    """Whole numbers held as floats become integers, so that 2.0 is spelt 2."""
    if data.dtype.kind == "f":
        values = data.to_numpy()
        if (
            len(values)
            and np.isfinite(values).all()
            and (values == np.floor(values)).all()
            and abs(values).max() < 2**53
        ):
            return data.astype("int64")
    return data


def _categories(value: Factor, expression: Expression) -> tuple[Any, ...]:
    """The levels of a factor: its own order if it has one, else sorted."""
    if value.levels is not None:
        levels: list[Any] = list(value.levels)
        left_out = sorted(set(map(str, _distinct(value.data))) - set(map(str, levels)))
        if left_out:
            raise DataError(f"{expression.label}: levels= leaves out {', '.join(map(repr, left_out[:5]))}.")
    else:
        levels = _distinct(value.data)
    if len(levels) < 2:
        raise DataError(
            f"The factor {expression.label!r} has one level ({brief(levels) or 'none'}) in the rows used, so it "
            "explains nothing. Leave it out of the formula."
        )
    if expression.is_column:
        _refuse_numbers_as_text(levels, expression.label, len(value.data))
    if len(levels) > MOST_COLUMNS:
        raise DataError(
            f"The factor {expression.label!r} has {len(levels):,} levels, and a column for each is too many (at most "
            f"{MOST_COLUMNS:,}). If it names groups, write (1 | {expression.label})."
        )
    return tuple(levels)


def _refuse_numbers_as_text(levels: Sequence[Any], label: str, n: int) -> None:
    """A factor with a level for every tenth row or more, nearly all of them numbers, is a column read wrongly."""
    if len(levels) <= max(10, n / 10) or not all(isinstance(level, str) for level in levels):
        return
    other = [level for level in levels if not _is_number(level)]
    if len(other) > 0.1 * len(levels):
        return
    but = f" but {', '.join(map(repr, other[:3]))}" if other else ""
    raise DataError(
        f"Column {label!r} holds numbers as text: {len(levels):,} different values, such as {levels[0]!r}, all of them "
        f"numbers{but}. Convert it: data[{label!r}] = pandas.to_numeric(data[{label!r}], errors='coerce'). "
        f"If they are codes of categories, write C({label})."
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _distinct(data: pd.Series) -> list[Any]:
    if isinstance(data.dtype, pd.CategoricalDtype):
        return list(data.cat.categories.tolist())
    if isinstance(data.dtype, pd.StringDtype):
        return sorted(data.array.unique().tolist())
    return list(np.sort(np.asarray(whole_numbers(data).unique(), dtype=None)).tolist())


def _code(
    atom: Atom, value: np.ndarray | Factor, expression: Expression, levels: tuple[Any, ...] | None, full: bool
) -> Coded:
    label = expression.label
    if levels is None:
        assert isinstance(value, np.ndarray)
        width = 1 if value.ndim == 1 else value.shape[1]
        labels = (label,) if width == 1 else tuple(f"{label}[{k}]" for k in range(width))
        return Coded(expression=expression, labels=labels)
    assert isinstance(value, Factor)
    coding = expression.coding
    if value.contrast is None and coding is not None and not full:
        table, names = coding.columns(levels)
    else:
        table, names = _contrast(value.contrast, levels, full, label)
    table.setflags(write=False)
    return Coded(expression=expression, labels=tuple(f"{label}[{name}]" for name in names), levels=levels, table=table)


def _refuse_coded_numbers(expressions: Sequence[Expression]) -> None:
    for expression in expressions:
        if expression.coding is not None and expression.coding.is_named:
            raise DataError(
                f"contrasts={{{expression.label!r}: {expression.coding.word!r}}}: {expression.label!r} holds numbers, "
                f"which have one coefficient. Write C({expression.label}) in the formula if each is a level."
            )


def _contrast(contrast: Any, levels: tuple[Any, ...], full: bool, label: str) -> tuple[np.ndarray, list[str]]:
    if contrast is None:
        skip = 0 if full else 1
        return np.eye(len(levels))[:, skip:].copy(), [one_line(level) for level in levels[skip:]]
    try:
        coder: Any = contrast() if inspect.isclass(contrast) else contrast
        coded = (coder.code_with_intercept if full else coder.code_without_intercept)(list(levels))
    except Exception as problem:
        listed = ", ".join(map(repr, levels[:8]))
        raise DataError(f"{label} cannot be coded: {problem}. The levels are {listed}.") from None
    return np.array(coded.matrix, dtype=np.float64), [one_line(name) for name in coded.labels]


# -- full or reduced coding

Choice = tuple[tuple[Atom, ...], dict[Atom, bool]]


def _choose(terms: Terms, categorical: set[Atom]) -> list[Choice]:
    """Every product with the coding of its factors (True: full); a product may split into several.

    A product of factors a, b spans the subspaces {}, {a}, {b}, {a, b}, each coded reduced. Those that earlier
    terms span are left out, and the remaining ones are joined: {a} and {a, b} together are a reduced and b
    full.
    """
    chosen: list[Choice] = [((), {})] if terms.intercept else []
    spanned: dict[frozenset[Atom], set[frozenset[Atom]]] = {frozenset(): {frozenset()} if terms.intercept else set()}
    for factors in terms.products:
        groups = tuple(atom for atom in factors if atom in categorical)
        numbers = frozenset(factors) - frozenset(groups)
        covered = spanned.setdefault(numbers, set())
        subsets = [frozenset(subset) for size in range(len(groups) + 1) for subset in combinations(groups, size)]
        fresh = [subset for subset in subsets if subset not in covered]
        covered.update(fresh)
        parts = _absorb([dict.fromkeys(_in_order(subset, groups), False) for subset in fresh])
        for part in parts:
            kept = tuple(atom for atom in factors if atom in part or atom in numbers)
            chosen.append((kept, part))
    return chosen


def _in_order(subset: frozenset[Atom], groups: tuple[Atom, ...]) -> list[Atom]:
    return [atom for atom in groups if atom in subset]


def _absorb(parts: list[dict[Atom, bool]]) -> list[dict[Atom, bool]]:
    parts = list(parts)
    while True:
        for i, j in combinations(range(len(parts)), 2):
            short, long = parts[i], parts[j]
            if len(long) == len(short) + 1 and short.items() <= long.items():
                (extra,) = set(long) - set(short)
                if not long[extra]:
                    parts[j] = {**long, extra: True}
                    del parts[i]
                    break
        else:
            return parts


# -- rank


def independent_columns(X: np.ndarray, *, has_intercept: bool) -> np.ndarray:
    """Which columns of X (n × p) do not depend on earlier ones, as a boolean mask.

    A column depends on the ones before when they leave less than 1e-7 of its variation about its mean (R's
    tolerance, but R compares with the size itself), so a predictor far from zero is not dropped for its
    distance.
    """
    p = X.shape[1]
    if p == 0:
        return np.ones(0, dtype=bool)
    sizes = np.sqrt(np.einsum("ij,ij->j", X, X))
    centred = X - _means(X)
    centred -= _means(centred)
    spread = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    spread[spread <= ROUNDING * sizes] = 0.0
    if has_intercept:
        A, alive, least = centred, spread > 0, ALIAS_TOLERANCE * spread
    else:
        A, alive = X, sizes > 0
        least = np.maximum(ALIAS_TOLERANCE * np.where(spread > 0, spread, sizes), 10 * ROUNDING * sizes)
    scale = np.where(alive, np.sqrt(np.einsum("ij,ij->j", A, A)), 1.0)
    if np.count_nonzero(alive) > 1:
        kept = _gram_schmidt(np.where(alive, A / scale, 0.0), least / scale, alive)
    else:  # alone it keeps its whole length
        kept = alive & (1.0 > least / scale)
    if has_intercept:
        kept[0] = True
    return kept


def _means(A: np.ndarray) -> np.ndarray:
    """Means of the columns, one by one: NumPy takes five times as long for a few together."""
    return np.array([column.sum() for column in A.T]) / len(A)


def _gram_schmidt(A: np.ndarray, least: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Which living columns of A leave more than ``least`` beside the kept ones before."""
    R = np.linalg.qr(A, mode="r")
    kept = alive.copy()
    basis = np.zeros((R.shape[0], 0))
    for j in np.flatnonzero(alive):
        remainder = R[:, j].copy()
        for _ in range(2):
            remainder -= basis @ (basis.T @ remainder)
        norm = np.linalg.norm(remainder)
        kept[j] = norm > least[j]
        if kept[j]:
            basis = np.column_stack([basis, remainder / norm])
    return kept
