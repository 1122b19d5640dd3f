"""Formula + table → `Design`: the arrays of the model, with names, levels and kept rows.

Rows are chosen once, over every used column; each part of the formula is then built on these rows. Random
terms stay group codes beside a narrow matrix: indicators are never built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import AliasedColumnsWarning, DataError, InputError, UnidentifiedTermError
from ..families import GAUSSIAN, Family, with_censoring, without_censoring
from ..formulas.binding import Scope
from ..formulas.expressions import Expression, total_offset
from ..formulas.formula import Bar, Formula, parse_formula
from ..formulas.predictors import has_more_than_columns
from ..formulas.terms import Atom, Terms
from ..terms.group import GroupTerm
from ..terms.relationship import Matrix
from ..terms.wide import WideTerm
from ..terms.words import Related
from ..tools.frame import Columns, as_frame, frozen
from ..tools.warned import warn
from .aliases import Aliases
from .codes import as_word
from .coding import MatrixRecipe, design_columns, independent_columns
from .columns import structure_of
from .design import Design, weighed
from .fixing import Fixed, Fixing, reduced
from .grouping import Grouping, check_levels, factorize, joined, warn_if_constant_within_levels
from .identification import refuse_interchangeable, refuse_untold_residual
from .likelihood_weights import read_likelihood_weights
from .newdata import Recipe
from .plan import check_weights, from_outside, kept_columns, make_plan
from .predictor_words import PredictorWords, words_of_categories
from .predictors import ParameterPart
from .residual import build_residual
from .residual_words import ResidualWords
from .response import check_order, read_response, warn_of_categories, with_declared
from .standard_errors import KNOWN, checked, family_and_weights, named, refuse_contradictions
from .wide_terms import WideRecipe, wide_terms

LARGEST_LOG = 700.0  # exp of it is within doubles


def build_design(
    formula: Formula | str,
    data: pd.DataFrame,
    *,
    weights: Any = None,
    offset: Any = None,
    se: Any = None,
    namespace: Mapping[str, Any] | None = None,
    trust: bool = True,
    family: Family = GAUSSIAN,
    matrices: Mapping[str, Any] | None = None,
    sigma: str | None = None,
    residual: str | None = None,
    predictors: Mapping[str, Any] | None = None,
    fixed: Fixed | None = None,
) -> Design:
    """Build the arrays of a mixed model.

    Parameters
    ----------
    formula : str or Formula
    data : pandas.DataFrame
        Left as it is.
    weights, offset : str or array (len(data),), optional
        A column's name or values in the order of the rows. Weights are positive; an offset adds to
        ``offset()`` terms.
    se : str or array (len(data),), optional
        Known standard error of each row: the residual variance is se², and no sigma is estimated.
    namespace : mapping, optional
        Where functions in the formula are looked up.
    trust : bool
        False for a formula of unknown origin: `bayeslmm.formulas.whitelist` says what it may hold besides
        ``namespace``.
    family : Family
        What the response is checked against. Families without an unknown residual sd may have one row per level.
    matrices : mapping, optional
        The matrices of ``gr(column, cov=A)`` by their names.
    sigma, residual : str, optional
        The log-linear model of the residual sd, and the correlation of residuals (`bayeslmm.formulas.residuals`).
        Of another family than gaussian ``sigma`` is one of the ``predictors``.
    predictors : mapping, optional
        Linear predictors of the family's parameters by their names, such as ``{"zi": "~ x"}``.
    fixed : mapping, optional
        Parameters that are no unknowns, by the keys of priors: ``{"sigma": 1.0, ("sd", "g", "x"): 0.0}``.

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
    refuse_contradictions(family, se, weights)
    # the response of a design that is built anew says again that it is censored
    family = without_censoring(replace(family if se is None else KNOWN, fixed=()))
    if family.is_nominal:  # whose categories the response says again
        family = replace(family, categories=())  # type: ignore[call-arg]
    data = as_frame(data)
    given = dict(predictors or {})
    # effects of log sigma are drawn by NUTS, as those of any parameter; columns alone are for the kernel of residuals
    if sigma is not None and (family != GAUSSIAN or has_more_than_columns(sigma)) and residual is None and se is None:
        given, sigma = {"sigma": sigma, **given}, None
    weights_column = weights if isinstance(weights, str) and family.has_residual else None
    words, of_parameters = ResidualWords.of(sigma, residual, family, se, data), PredictorWords.of(given, family)
    fixing = Fixing.of(
        fixed, family, se=se, residual=words, predicted=[predictor.parameter for predictor in of_parameters]
    )
    scope = Scope(names=namespace or {}, trusted=trust)
    plan = make_plan(formula, data, scope, weights, offset, se, words, of_parameters)
    weights = from_outside(weights, data, "weights")
    offset = from_outside(offset, data, "offset")
    frame, keep = kept_columns(plan, data, offset)
    weights = check_weights(weights, keep, frame.index)
    errors = None if se is None else checked(se, data, keep, frame.index)
    offset = None if offset is None else (offset if keep is None else offset[keep])

    if family.has_cutpoints and plan.response.is_column:
        check_order(plan.response.label, data[plan.response.label])
    if family.is_nominal and plan.response.is_column:
        frame = with_declared(plan.response.label, frame, data[plan.response.label])
    response = read_response(plan.response, frame, family, weights)
    if family.has_cutpoints and plan.response.is_column:
        warn_of_categories(plan.response.label, data[plan.response.label], response.levels)
    if response.bounds is not None:
        family = with_censoring(family) or family
    weights = weights if family.has_residual else None  # those of a binomial response are its trials
    of_mean, of_categories = formula, None
    if family.is_nominal:
        family = replace(family, categories=response.levels)  # type: ignore[call-arg]
        of_categories = words_of_categories(formula, family, has_offset=offset is not None or plan.offset_column)
        of_mean = replace(formula, fixed_terms=Terms(intercept=False, products=()), bars=(), offsets=(), smooths=())
    terms = of_mean.fixed_terms
    if family.has_cutpoints:  # the cutpoints stand in place of an intercept: factors are coded beside one
        terms = replace(terms, intercept=True)
    columns, X = design_columns(terms, plan.expressions, frame)
    whole, (X, independent, aliased) = X, _without_aliases(X, columns, terms, "The fixed part")
    kept = independent
    if family.has_cutpoints:
        X, kept = X[:, 1:], np.concatenate([[False], kept[1:]])
    check_rows(len(frame), X.shape[1])
    if errors is not None:
        family, weights = family_and_weights(errors)
    weights = None if weights is None else frozen(weights)
    likelihood_weights = read_likelihood_weights(plan.likelihood_weights, frame)
    information = weighed(weights, likelihood_weights)
    named_matrices = _matrices(formula, matrices)
    whole_groups, bars, groupings = _groups(
        tuple(bar for bar in of_mean.bars if bar.word is None), plan.expressions, frame
    )
    groups, bars, groupings, kept_of_bars = _without_fixed(whole_groups, bars, groupings, fixing)
    family = fixing.family(family)
    wide: list[WideTerm] = []
    wide_recipes: list[WideRecipe] = []
    if of_mean.smooths or any(bar.word is not None for bar in of_mean.bars):
        wide, wide_recipes = wide_terms(of_mean, plan.expressions, frame.frame, named_matrices, information)
    predictors = {
        predictor.parameter: _parameter_part(predictor, family, plan.expressions, frame) for predictor in of_parameters
    }
    if of_categories is not None:
        first = _parameter_part(of_categories, family, plan.expressions, frame)
        named_categories = zip(family.parameters, response.levels[1:], strict=True)
        predictors = {name: first.of_category(name, as_word(category)) for name, category in named_categories}
    _refuse_names_twice(
        [g.name for g in (*groups, *wide, *(group for part in predictors.values() for group in part.groups))]
    )
    x_names = tuple(name for name, is_kept in zip(columns.names, kept, strict=True) if is_kept)
    _refuse_names_twice([*x_names, *(label for part in predictors.values() for label in part.labels)])
    recipe = Recipe(
        fixed=columns,
        kept=kept,
        aliases=Aliases.of(whole, kept, independent, columns.names, intercept=terms.intercept),
        bars=bars,
        groupings=groupings,
        kept_of_bars=kept_of_bars,
        offsets=plan.offsets,
        offset_given_as_array=offset is not None and not plan.offset_column,
        wide=tuple(wide_recipes),
    )
    design = Design(
        formula=formula,
        response=plan.response.label,
        family=family,
        y=response.y,
        trials=response.trials,
        bounds=response.bounds,
        levels=response.levels,
        X=frozen(X),
        x_names=x_names,
        aliased=aliased,
        groups=(*groups, *wide),
        weights=weights,
        likelihood_weights=likelihood_weights,
        information=information,
        weights_column=weights_column,
        offset=frozen(total_offset(plan.offsets, frame, offset)),
        index=frame.index,
        n_dropped=len(data) - len(frame),
        table=frame,
        recipe=recipe,
        scope=plan.scope,
        se=named(se),
        matrices=named_matrices,
        residual=None
        if words is None
        else build_residual(words, plan.expressions, frame.frame, (*groups, *wide), weights),
        fixed=fixing.resolved(family, whole_groups, [group for part in predictors.values() for group in part.groups]),
        predictors=predictors,
    )
    if words is not None:
        design.refuse_likelihood_weights("sigma= or residual=")
    _refuse_huge_offset(design)
    _refuse_constant_remainder(design)
    parts = design.of_categories  # all with the same terms
    refuse_untold_residual(design.for_category(parts[0]) if parts else design)
    refuse_interchangeable(design)
    return design


def _matrices(formula: Formula, matrices: Mapping[str, Any] | None) -> dict[str, Matrix]:
    """The matrices that a formula names."""
    if not isinstance(matrices, Mapping | None):
        raise InputError(f"matrices={type(matrices).__name__}: a dict such as {{'A': A}} is needed")
    named = {bar.word.matrix for bar in formula.bars if isinstance(bar.word, Related)}
    unused = [name for name in matrices or {} if name not in named]
    if unused and not named:
        raise InputError(
            f"matrices={{{unused[0]!r}: ...}}: the formula names none. Write (1 | gr(g, cov={unused[0]}))."
        )
    return {
        name: value if isinstance(value, Matrix) else Matrix.of(name, value)
        for name, value in (matrices or {}).items()
        if name in named
    }


def _refuse_constant_remainder(design: Design) -> None:
    """A response that is its offset and a constant leaves nothing to explain, as a constant response does."""
    if not (design.family.is_on_response_scale and design.family.has_free_dispersion and design.n > 1):
        return
    remainder = design.y - design.offset
    if np.ptp(remainder) == 0.0:
        raise DataError(
            f"The response {design.response!r} less its offset is {remainder[0]:g} in all {design.n:,} rows, so there "
            "is nothing to explain."
        )


def _refuse_huge_offset(design: Design) -> None:
    """Offsets of a log link beyond what a double can be a factor of: mostly counts whose log was meant."""
    largest = float(np.abs(design.offset).max(initial=0.0))
    if design.family.link == "log" and largest > LARGEST_LOG:
        raise DataError(
            f"The offset goes up to {largest:.4g} in size, and with a log link it is the logarithm of a factor: "
            f"exp({LARGEST_LOG:g}) is about the largest number there is. Give log(exposure), not exposure."
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


def _parameter_part(
    words: PredictorWords, family: Family, expressions: Mapping[Atom, Expression], frame: Columns
) -> ParameterPart:
    """The linear predictor of a parameter on the rows of a frame."""
    terms = words.formula.fixed_terms
    fixed, every_column = design_columns(terms, expressions, frame)
    X, kept, _ = _without_aliases(every_column, fixed, terms, f"{words.parameter}={words.text!r}")
    check_rows(len(frame), X.shape[1])
    groups, bars, groupings = _groups(words.formula.bars, expressions, frame)
    wide: list[WideTerm] = []
    wide_recipes: list[WideRecipe] = []
    if words.formula.smooths:
        wide, wide_recipes = wide_terms(words.formula, expressions, frame.frame, {}, None)

    def called(name: str) -> str:
        return f"{words.parameter}_{name}"

    offsets = tuple(expressions[atom] for atom in words.offset_atoms)
    recipe = Recipe(
        fixed=fixed,
        kept=kept,
        aliases=Aliases.of(every_column, kept, kept, fixed.names, intercept=terms.intercept),
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
        X=frozen(X),
        x_names=tuple(name for name, is_kept in zip(fixed.names, kept, strict=True) if is_kept),
        groups=(
            *(replace(group, name=called(group.name)) for group in groups),
            *(g.renamed(called(g.name)) for g in wide),
        ),
        offset=frozen(total_offset(offsets, frame, None)),
        recipe=recipe,
    )


def _refuse_names_twice(names: Sequence[str]) -> None:
    """Refuse factors, or coefficients, of one name: a column of the data may be called like those of a parameter."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"Two terms of the model would be called {twice!r}, since a column of the data, or a category of the "
            "response, is called like a part of it. Rename it."
        )


def check_rows(n: int, p: int) -> None:
    """Refuse fewer complete rows than coefficients."""
    if n <= p:
        raise DataError(
            f"{n} complete row{'s' * (n > 1)} for {p} coefficient{'s' * (p > 1)} of the fixed part: more rows than "
            "coefficients are needed. Use more data or fewer terms."
        )


def _groups(
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


def _without_fixed(
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
