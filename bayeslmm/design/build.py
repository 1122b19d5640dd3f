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

from ..errors import DataError, InputError
from ..families import GAUSSIAN, Family, with_censoring, with_parameters, without_censoring, without_parameters
from ..formulas.binding import Scope
from ..formulas.contrasts import Codings
from ..formulas.expressions import total_offset
from ..formulas.formula import Formula, parse_formula
from ..formulas.predictors import has_more_than_columns
from ..formulas.terms import Terms
from ..terms.relationship import Matrix
from ..terms.wide import WideTerm
from ..terms.words import Related
from ..tools.frame import Columns, as_frame, frozen
from .codes import as_word
from .design import Design, weighed
from .fixing import Fixed, Fixing
from .identification import refuse_interchangeable, refuse_untold_residual
from .likelihood_weights import read_likelihood_weights
from .newdata import Recipe
from .parts import fixed_part, merged_bars, parameter_part, without_fixed
from .plan import Plan, check_weights, from_outside, kept_columns, make_plan
from .predictor_words import PredictorWords, words_of_categories
from .predictors import ParameterPart
from .residual import build_residual
from .residual_words import ResidualWords
from .response import check_order, read_response, warn_of_categories, with_declared
from .response_record import Response
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
    contrasts: Any = None,
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
    contrasts : str or mapping, optional
        Of factors whose coding the formula leaves open: ``"sum"``, or by factor ``{"a": "sum"}``.
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
    family = _before_its_response(family if se is None else KNOWN)
    data = as_frame(data)
    given = dict(predictors or {})
    # effects of log sigma are drawn by NUTS, as those of any parameter; columns alone are for the kernel of residuals
    if sigma is not None and (family != GAUSSIAN or has_more_than_columns(sigma)) and residual is None and se is None:
        given, sigma = {"sigma": sigma, **given}, None
    family = with_parameters(family, [name for name, text in given.items() if text is not None])
    weights_column = weights if isinstance(weights, str) and family.has_residual else None
    words, of_parameters = ResidualWords.of(sigma, residual, family, se, data), PredictorWords.of(given, family)
    fixing = Fixing.of(
        fixed, family, se=se, residual=words, predicted=[predictor.parameter for predictor in of_parameters]
    )
    scope = Scope(names=namespace or {}, trusted=trust, codings=Codings.of(contrasts))
    plan = make_plan(formula, data, scope, weights, offset, se, words, of_parameters)
    weights = from_outside(weights, data, "weights")
    offset = from_outside(offset, data, "offset")
    frame, keep = kept_columns(plan, data, offset)
    weights = check_weights(weights, keep, frame.index)
    errors = None if se is None else checked(se, data, keep, frame.index)
    offset = None if offset is None else (offset if keep is None else offset[keep])

    response, frame = _response(plan, data, frame, family, weights)
    if response.bounds is not None:
        family = with_censoring(family) or family
    weights = weights if family.has_residual else None  # those of a binomial response are its trials
    of_mean, of_categories = formula, None
    if family.is_nominal:
        family = replace(family, categories=response.levels)  # type: ignore[call-arg]
        of_categories = words_of_categories(formula, family, has_offset=offset is not None or plan.offset_column)
        of_mean = replace(formula, fixed_terms=Terms(intercept=False, products=()), bars=(), offsets=(), smooths=())
    fixed_effects = fixed_part(
        of_mean.fixed_terms, plan.expressions, frame, "The fixed part", has_cutpoints=family.has_cutpoints
    )
    if errors is not None:
        family, weights = family_and_weights(errors)
    weights = None if weights is None else frozen(weights)
    likelihood_weights = read_likelihood_weights(plan.likelihood_weights, frame)
    information = weighed(weights, likelihood_weights)
    named_matrices = _matrices(formula, matrices)
    ordinary = tuple(bar for bar in of_mean.bars if bar.word is None)
    whole_groups, bars, groupings = merged_bars(ordinary, plan.expressions, frame)
    groups, bars, groupings, kept_of_bars = without_fixed(whole_groups, bars, groupings, fixing)
    family = fixing.family(family)
    wide: list[WideTerm] = []
    wide_recipes: list[WideRecipe] = []
    if of_mean.smooths or len(ordinary) < len(of_mean.bars):
        wide, wide_recipes = wide_terms(of_mean, plan.expressions, frame.frame, named_matrices, information)
    parts = _parts_of_parameters(of_parameters, of_categories, family, response, plan, frame)
    every_group = (*groups, *wide)
    groups_of_parameters = [group for part in parts.values() for group in part.groups]
    _refuse_names_twice([group.name for group in (*every_group, *groups_of_parameters)])
    _refuse_names_twice([*fixed_effects.names, *(label for part in parts.values() for label in part.labels)])
    design = Design(
        formula=formula,
        response=plan.response.label,
        family=family,
        y=response.y,
        trials=response.trials,
        bounds=response.bounds,
        levels=response.levels,
        X=fixed_effects.X,
        x_names=fixed_effects.names,
        aliased=fixed_effects.aliased,
        groups=every_group,
        weights=weights,
        likelihood_weights=likelihood_weights,
        information=information,
        weights_column=weights_column,
        offset=frozen(total_offset(plan.offsets, frame, offset)),
        index=frame.index,
        n_dropped=len(data) - len(frame),
        table=frame,
        recipe=Recipe(
            fixed=fixed_effects.columns,
            kept=fixed_effects.kept,
            aliases=fixed_effects.aliases,
            bars=bars,
            groupings=groupings,
            kept_of_bars=kept_of_bars,
            offsets=plan.offsets,
            offset_given_as_array=offset is not None and not plan.offset_column,
            wide=tuple(wide_recipes),
        ),
        scope=plan.scope,
        se=named(se),
        matrices=named_matrices,
        residual=None if words is None else build_residual(words, plan.expressions, frame.frame, every_group, weights),
        fixed=fixing.resolved(family, whole_groups, groups_of_parameters),
        predictors=parts,
    )
    _refuse_what_is_not_told(design)
    return design


def _before_its_response(family: Family) -> Family:
    """A family without what a response says again where a design is built anew: censoring, categories, fixed values."""
    family = without_parameters(without_censoring(replace(family, fixed=())))
    return replace(family, categories=()) if family.is_nominal else family  # type: ignore[call-arg]


def _response(plan: Plan, data: pd.DataFrame, frame: Columns, family: Family, weights: Any) -> tuple[Response, Columns]:
    """The response, and the frame with its categories where the whole column declares them."""
    label, is_column = plan.response.label, plan.response.is_column
    if family.has_cutpoints and is_column:
        check_order(label, data[label])
    if family.is_nominal and is_column:
        frame = with_declared(label, frame, data[label])
    response = read_response(plan.response, frame, family, weights)
    if response.levels and not family.is_nominal and is_column:
        warn_of_categories(label, data[label], response.levels, is_ordered=family.has_cutpoints)
    return response, frame


def _parts_of_parameters(
    of_parameters: Sequence[PredictorWords],
    of_categories: PredictorWords | None,
    family: Family,
    response: Response,
    plan: Plan,
    frame: Columns,
) -> dict[str, ParameterPart]:
    """Linear predictors of parameters by their names; of categories without an order, one each of one formula."""
    if of_categories is not None:
        first = parameter_part(of_categories, family, plan.expressions, frame)
        named_categories = zip(family.parameters, response.levels[1:], strict=True)
        return {name: first.of_category(name, as_word(category)) for name, category in named_categories}
    return {words.parameter: parameter_part(words, family, plan.expressions, frame) for words in of_parameters}


def _refuse_what_is_not_told(design: Design) -> None:
    """Raise where the data of a design cannot tell its unknowns, or numbers would break down."""
    if design.residual is not None:
        design.refuse_likelihood_weights("sigma= or residual=")
    _refuse_huge_offset(design)
    _refuse_constant_remainder(design)
    parts = design.of_categories  # all with the same terms
    refuse_untold_residual(design.for_category(parts[0]) if parts else design)
    refuse_interchangeable(design)


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


def _refuse_names_twice(names: Sequence[str]) -> None:
    """Refuse factors, or coefficients, of one name: a column of the data may be called like those of a parameter."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"Two terms of the model would be called {twice!r}, since a column of the data, or a category of the "
            "response, is called like a part of it. Rename it."
        )
