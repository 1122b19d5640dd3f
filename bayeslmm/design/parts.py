"""The parts of a design on the rows of a frame: the fixed part, bars merged by factor, the predictor of a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import AliasedColumnsWarning, DataError, FormulaError, UnidentifiedTermError
from ..families import Family
from ..formulas.expressions import Expression, total_offset
from ..formulas.formula import Bar
from ..formulas.terms import Atom, Terms
from ..terms.group import GroupTerm
from ..terms.wide import WideTerm
from ..tools.frame import Columns, frozen
from ..tools.warned import warn
from .aliases import Aliases
from .coding import MatrixRecipe, design_columns, independent_columns
from .columns import structure_of
from .fixing import Fixing, reduced
from .grouping import Grouping, check_levels, factorize, joined, warn_if_constant_within_levels
from .newdata import Recipe
from .predictor_words import PredictorWords
from .predictors import ParameterPart
from .wide_terms import WideRecipe, wide_terms


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class FixedPart:
    """Columns of the fixed part, without those that depend on others."""

    X: np.ndarray  # (n, p)
    columns: MatrixRecipe
    kept: np.ndarray  # (columns,) those of X
    aliases: Aliases
    aliased: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """One a column of X."""
        return tuple(name for name, is_kept in zip(self.columns.names, self.kept, strict=True) if is_kept)


def fixed_part(
    terms: Terms, expressions: Mapping[Atom, Expression], frame: Columns, what: str, *, has_cutpoints: bool = False
) -> FixedPart:
    """The columns of the terms; ``what`` they are goes into the warning of aliased ones."""
    if has_cutpoints:  # which stand in place of an intercept: factors are coded beside one
        terms = replace(terms, intercept=True)
    columns, every_column = design_columns(terms, expressions, frame)
    X, independent, aliased = _without_aliases(every_column, columns, terms, what)
    kept = independent
    if has_cutpoints:
        X, kept = X[:, 1:], np.concatenate([[False], kept[1:]])
    check_rows(len(frame), X.shape[1])
    aliases = Aliases.of(every_column, kept, independent, columns.names, intercept=terms.intercept)
    return FixedPart(X=frozen(X), columns=columns, kept=kept, aliases=aliases, aliased=aliased)


def check_rows(n: int, p: int) -> None:
    """Refuse fewer complete rows than coefficients."""
    if n <= p:
        raise DataError(
            f"{n} complete row{'s' * (n > 1)} for {p} coefficient{'s' * (p > 1)} of the fixed part: more rows than "
            "coefficients are needed. Use more data or fewer terms."
        )


def _without_aliases(
    X: np.ndarray, fixed: MatrixRecipe, terms: Terms, what: str
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    is_kept = independent_columns(X, has_intercept=terms.intercept)
    aliased = warn_of_aliases(fixed.names, is_kept, what)
    if aliased:
        X = X[:, is_kept]
    is_kept.setflags(write=False)
    return X, is_kept, aliased


def warn_of_aliases(names: Sequence[str], kept: np.ndarray, what: str) -> tuple[str, ...]:
    """The names of the columns that are left out, after saying so."""
    aliased = tuple(name for name, is_kept in zip(names, kept, strict=True) if not is_kept)
    if aliased:
        warn(
            f"{what} is rank deficient: {', '.join(aliased)} left out, as "
            f"{'it depends' if len(aliased) == 1 else 'they depend'} linearly on columns before.",
            AliasedColumnsWarning,
        )
    return aliased


def merged_bars(
    bars: tuple[Bar, ...], expressions: Mapping[Atom, Expression], frame: Columns
) -> tuple[tuple[GroupTerm, ...], tuple[tuple[MatrixRecipe, ...], ...], tuple[Grouping, ...]]:
    """The bars of each grouping factor merged into one term, in order of first appearance."""
    bars_of: dict[frozenset[str], list[Bar]] = {}
    for bar in bars:
        bars_of.setdefault(frozenset(bar.group), []).append(bar)
    terms, recipes, groupings = [], [], []
    names = joined([factor_bars[0].group for factor_bars in bars_of.values()])
    for factor_bars, name in zip(bars_of.values(), names, strict=True):
        grouping, codes = factorize([frame[column] for column in factor_bars[0].group], name)
        check_levels(grouping, len(frame))
        built = [design_columns(bar.terms, expressions, frame) for bar in factor_bars]
        for bar, (bar_recipe, Z) in zip(factor_bars, built, strict=True):
            warn_if_constant_within_levels(bar.text, grouping, codes, bar_recipe.names, Z)
        terms.append(merged(factor_bars, grouping, codes, built, frame))
        recipes.append(tuple(recipe for recipe, _ in built))
        groupings.append(grouping)
    return tuple(terms), tuple(recipes), tuple(groupings)


def without_fixed(
    groups: tuple[GroupTerm, ...],
    bars: tuple[tuple[MatrixRecipe, ...], ...],
    groupings: tuple[Grouping, ...],
    fixing: Fixing,
) -> tuple[
    tuple[GroupTerm, ...], tuple[tuple[MatrixRecipe, ...], ...], tuple[Grouping, ...], tuple[np.ndarray | None, ...]
]:
    """Grouping factors without columns whose sds are fixed at zero, and which columns of their bars are left."""
    left = []
    for term, recipes, grouping in zip(groups, bars, groupings, strict=True):
        is_kept = fixing.kept(term)
        smaller = term if is_kept is None else reduced(term, is_kept)
        if smaller is not None:
            left.append((smaller, recipes, grouping, is_kept))
    terms, recipes_of, groupings_of, kept_of = zip(*left, strict=True) if left else ((), (), (), ())
    return tuple(terms), tuple(recipes_of), tuple(groupings_of), tuple(kept_of)


def merged(
    bars: list[Bar], grouping: Grouping, codes: np.ndarray, built: list[tuple[MatrixRecipe, np.ndarray]], frame: Columns
) -> GroupTerm:
    """The bars of one factor as one term, on the rows that they were built on."""
    columns = tuple(name for recipe, _ in built for name in recipe.names)
    twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if twice:
        texts = " + ".join(dict.fromkeys(bar.text for bar in bars))
        raise UnidentifiedTermError(
            f"{texts}: {', '.join(twice)} varies by {grouping.name} twice, so the two variances cannot be "
            "told apart. "
            "Keep one, for example with (0 + x | g) beside (1 | g)."
        )
    starts = np.cumsum([0] + [Z.shape[1] for _, Z in built])
    return GroupTerm(
        name=grouping.name,
        variables=grouping.variables,
        codes=frozen(codes, dtype=np.int64),
        levels=grouping.levels,
        columns=columns,
        Z=frozen(built[0][1] if len(built) == 1 else np.hstack([Z for _, Z in built])),
        blocks=tuple(tuple(range(int(start), int(b))) for start, b in zip(starts, starts[1:], strict=False)),
        texts=tuple(bar.text for bar in bars),
        structures=tuple(
            structure_of(bar, recipe, grouping.name, frame) for bar, (recipe, _) in zip(bars, built, strict=True)
        ),
        lefts=tuple(bar.columns.removeprefix("0 + ") for bar in bars),
    )


def parameter_part(
    words: PredictorWords, family: Family, expressions: Mapping[Atom, Expression], frame: Columns
) -> ParameterPart:
    """The linear predictor of a parameter on the rows of a frame."""
    what, is_relative = f"{words.parameter}={words.text!r}", words.parameter in family.parameters_by_row
    fixed = fixed_part(words.formula.fixed_terms, expressions, frame, what, has_cutpoints=is_relative)
    if not fixed.names:
        raise FormulaError(
            f"{what}: there is no column. Besides cutpoints a {words.parameter} is relative, one where all predictors "
            f"are zero, so that there is no intercept. Write '~ x', or leave it out."
        )
    groups, bars, groupings = merged_bars(words.formula.bars, expressions, frame)
    wide: list[WideTerm] = []
    wide_recipes: list[WideRecipe] = []
    if words.formula.smooths:
        wide, wide_recipes = wide_terms(words.formula, expressions, frame.frame, {}, None)

    def called(name: str) -> str:
        return f"{words.parameter}_{name}"

    offsets = tuple(expressions[atom] for atom in words.offset_atoms)
    recipe = Recipe(
        fixed=fixed.columns,
        kept=fixed.kept,
        aliases=fixed.aliases,
        bars=bars,
        groupings=tuple(replace(grouping, name=called(grouping.name)) for grouping in groupings),
        offsets=offsets,
        offset_given_as_array=False,
        wide=tuple(replace(term, name=called(term.name)) for term in wide_recipes),
    )
    return ParameterPart(
        parameter=words.parameter,
        text=words.text,
        link=family.parameter_link(words.parameter),
        X=fixed.X,
        x_names=fixed.names,
        groups=(
            *(replace(group, name=called(group.name)) for group in groups),
            *(g.renamed(called(g.name)) for g in wide),
        ),
        offset=frozen(total_offset(offsets, frame, None)),
        recipe=recipe,
    )
