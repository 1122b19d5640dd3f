"""Formula + table → `Design`: the arrays of the model, with names, levels and kept rows.

Rows are chosen once, over every used column; each part of the formula is then built on these rows. Random
terms stay group codes beside a narrow matrix: indicators are never built.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import (
    AliasedColumnsWarning,
    DataError,
    InputError,
    NonFiniteError,
    NotAvailableError,
    UnidentifiedTermError,
)
from ..families import GAUSSIAN, Family
from ..formulas.binding import Scope
from ..formulas.expressions import Expression, total_offset
from ..formulas.formula import Bar, Formula, parse_formula
from ..formulas.terms import Atom, Terms
from ..terms.group import GroupTerm as GroupTerm
from ..terms.relationship import Matrix
from ..terms.wide import WideTerm
from ..terms.words import Related
from ..tools.frame import as_frame, frozen
from ..tools.warned import warn
from ..tools.words import is_one_of
from .aliases import Aliases
from .codes import as_codes
from .coding import MatrixRecipe, design_columns, independent_columns
from .columns import structure_of
from .grouping import Grouping, check_levels, factorize, joined, warn_if_constant_within_levels
from .identification import refuse_untold_residual
from .names import COEF, CUTPOINT, ROW, THRESHOLD, Names, as_labels, contract
from .newdata import NewDesign, Recipe, rebuild
from .plan import check_weights, from_outside, kept_frame, make_plan
from .residual import ResidualPart, build_residual
from .residual_words import ResidualWords
from .response import check_order, check_values, read_response
from .standard_errors import KNOWN, checked, family_and_weights, named, refuse_contradictions
from .wide_terms import wide_terms

LARGEST_LOG = 700.0  # exp of it is within doubles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The data of a mixed model, complete and read-only.

    Attributes
    ----------
    formula : Formula
    response : str
        Name of the response, for example ``sqrt(weight)``.
    family : Family
    y : float64 array (n,)
        The response; successes for ``p(successes, trials)``; 0, 1, ... for categories.
    trials : float64 array (n,) or None
        The trials of a binomial response.
    levels : tuple
        Categories of an ordinal response in order; (failure, success) of a bernoulli one given by name.
    X : float64 array (n, p)
        The fixed part, without aliased columns; ``x_names`` names its columns.
    aliased : tuple of str
        Columns left out because they depend linearly on earlier ones.
    groups : tuple of GroupTerm
        One per grouping factor, in order of first appearance; then wide terms, smooths last.
    weights, offset : float64 arrays (n,)
        ``weights`` is None when none were given; ``offset`` is zero then.
    se : str or None
        The column of the known standard errors of the rows; empty where they were given as values. ``weights`` are
        (sigma/se)² then, with the known sigma of the family.
    index : pandas.Index
        Labels of the kept rows; ``n_dropped`` rows had missing values.
    frame : pandas.DataFrame
        The used columns on the kept rows, in plain dtypes.
    scope : Scope
        Functions and values of its author that the formula uses, and whether its text was trusted.
    matrices : mapping
        The matrices of ``gr()`` by their names.
    residual : ResidualPart or None
        The structure of the residuals, where they have parameters besides sigma. With estimates in it ``weights`` are
        the prior weights over the squared relative sds, so that sd = sigma/√weight.
    """

    formula: Formula
    family: Family
    response: str
    y: np.ndarray
    trials: np.ndarray | None
    levels: tuple[Any, ...]
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
    scope: Scope
    se: str | None = None
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    residual: ResidualPart | None = None

    @property
    def is_wide(self) -> bool:
        """Whether a term is wide: a relationship matrix, multi-membership or a smooth."""
        return any(group.is_wide for group in self.groups)

    @property
    def smooths(self) -> tuple[WideTerm, ...]:
        """The smooths."""
        return tuple(group for group in self.groups if isinstance(group, WideTerm) and not group.is_grouping)

    def refuse_wide(self, verb: str) -> None:
        """Raise NotAvailableError where a term is wide, for a verb that goes by levels and their rows."""
        for group in self.groups:
            if isinstance(group, WideTerm):
                raise group.refusal(verb)

    @property
    def names(self) -> Names:
        """What variables and dimensions of draws are called."""
        return contract(
            self.family.parameters, self.x_names, tuple((group.name, group.columns) for group in self.groups)
        )

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """The coordinates of draws by dimension: coefficients, rows, levels, ... as object arrays."""
        names = self.names
        coords = {COEF: as_labels(self.x_names), ROW: self.index.to_numpy()}
        if CUTPOINT in self.family.parameters:
            coords[THRESHOLD] = as_labels(self.levels[:-1])
        for group in self.groups:
            coords[names.level[group.name]] = as_labels(group.levels)
            coords[names.term[group.name]] = coords[names.other[group.name]] = as_labels(group.columns)
        return coords

    @property
    def n(self) -> int:
        """Number of rows used."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Number of columns of X."""
        return len(self.x_names)

    @property
    def normal_response(self) -> np.ndarray:
        """What is normal around Xβ + Zb (n,): the response, or the log of a lognormal one, less the offset."""
        return self.working_response - self.offset

    @property
    def working_response(self) -> np.ndarray:
        """The response (n,) as the compiled loops take it: logged for a lognormal model."""
        return self.family.working_response(self.y)

    @property
    def density_constants(self) -> np.ndarray:
        """What the log density of each row (n,) holds besides what hangs on the unknowns."""
        return self.family.constants(self.y, self.trials, self.weights)

    @property
    def precisions(self) -> np.ndarray | None:
        """The weights (n,) as the compiled loops take them: one over the variance where that is known."""
        return self.family.precisions(self.weights)

    @property
    def standard_errors(self) -> np.ndarray | None:
        """The known standard errors (n,) of the rows; None where sigma is estimated."""
        if self.weights is None or not self.family.residual_is_known:
            return None
        return np.asarray(self.family.known["sigma"] / np.sqrt(self.weights))

    @property
    def described(self) -> str:
        """The formula, and what was said of the residuals."""
        return self.formula.text if self.residual is None else f"{self.formula.text}, {self.residual.text}"

    @property
    def takes_residual(self) -> bool:
        """Whether the residuals could have parameters besides sigma: ``sigma=`` and ``residual=``."""
        return self.family == GAUSSIAN and not self.is_wide

    @property
    def prior_weights(self) -> np.ndarray | None:
        """The weights (n,) that were given: without what estimates of the residuals' sds add to them."""
        return self.weights if self.residual is None else self.residual.structure.prior

    def refuse_residual(self, verb: str) -> None:
        """Raise NotAvailableError where residuals have parameters besides sigma, for a verb that knows none."""
        if self.residual is not None:
            raise NotAvailableError(
                f"{verb} is not offered for models with {self.residual.text}: parameters of residuals besides sigma "
                "are estimated by REML and maximum likelihood only, fit_reml() and fit_ml()"
            )

    def refuse_correlated(self, verb: str) -> None:
        """Raise NotAvailableError where residuals are correlated, for a verb that takes rows one by one."""
        if self.residual is not None and self.residual.is_correlated:
            raise NotAvailableError(
                f'{verb} is not offered for models with residual="{self.residual.words.residual}": it takes rows one '
                "by one, and theirs are not independent of each other given the groups"
            )

    def relative_variances(self, values: np.ndarray, newdata: Any = None) -> np.ndarray | None:
        """Residual variances (..., m) of rows, those of the fit if no others are given, in units of σ²; None for one.

        Parameters
        ----------
        values : (..., d + r)
            Parameters of the residuals.
        """
        if self.residual is None or not self.residual.n_spread:
            return None
        return self.residual.relative_variances(values, self.frame, newdata)

    def weights_at(self, newdata: Any, *, needed: bool = False) -> np.ndarray | None:
        """Weights of new rows: one, unless standard errors are known. ``None`` for newdata: the rows of the fit.

        Parameters
        ----------
        newdata : DataFrame, optional
            With the column of standard errors, if the model has one.
        needed : bool
            Whether something is asked for that hangs on the residual of a row.

        Raises
        ------
        InputError
            Standard errors are needed and not there.
        DataError
            They are not positive and finite.
        """
        if newdata is None:
            return self.weights
        if self.residual is not None and self.residual.structure.values is not None:
            lacking = [column for column in self.residual.columns if column not in as_frame(newdata).columns]
            return None if lacking and not needed else self.residual.weights_at(self.frame, newdata)
        if not self.family.residual_is_known:
            return None
        frame = as_frame(newdata)
        if self.se and self.se in frame.columns:
            return np.asarray((self.family.known["sigma"] / checked(self.se, frame, None, frame.index)) ** 2)
        if needed:
            lacks = (
                f"newdata has no column {self.se!r} with it. Add it"
                if self.se
                else "this model was given them as values. Give it the name of a column: se='column'"
            )
            raise InputError(
                f"an observation of a new row varies with its standard error, and {lacks}; or predict the mean, which "
                "is without sampling error: kind='mean', without shares and transform"
            )
        return None

    def with_residual(self, values: np.ndarray) -> Design:
        """This design with these estimates of the parameters of its residuals."""
        assert self.residual is not None
        residual = self.residual.with_values(values)
        weights = residual.structure.weights()
        return replace(self, residual=residual, weights=None if weights is None else frozen(weights))

    @property
    def has_intercept(self) -> bool:
        """True when the fixed part has an intercept."""
        return "Intercept" in self.x_names

    def group(self, name: str | None = None) -> GroupTerm:
        """The grouping factor of that name; the only one, if none is named.

        Raises
        ------
        InputError
            No such factor, or several and none is named.
        """
        groups = tuple(g for g in self.groups if g.is_grouping)
        names = ", ".join(repr(g.name) for g in groups)
        if not groups:
            raise InputError("the model has no grouping factor")
        if name is None and len(groups) > 1:
            raise InputError(f"the model has several grouping factors ({names}); say which: group=...")
        for term in groups:
            if name is None or is_one_of(name, (term.name,)):
                return term
        raise InputError(f"no grouping factor {name!r}; the model has {names}")

    def at(
        self,
        newdata: pd.DataFrame,
        *,
        groups: Collection[str] | None = None,
        offset: Any = None,
        estimable_only: bool = True,
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
        estimable_only : bool
            Whether the X of a row that the data say nothing about is NaN (`bayeslmm.design.aliases`).

        Raises
        ------
        UnknownColumnError
            A needed column is not there.
        UnseenLevelError
            A fixed factor has a level that the fit has not seen. (An unseen group gets code −1 instead.)

        Warns
        -----
        NotEstimableWarning
        """
        return rebuild(self.recipe, self.frame, newdata, groups, offset, estimable_only)

    def rows(self, chosen: Any) -> Design:
        """This design on some of its rows, with the same columns, levels and transforms.

        Parameters
        ----------
        chosen : array of bool (n,) or of int
            Which rows. A level may be left without any.
        """

        def cut(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else frozen(values[chosen], values.dtype)

        groups = tuple(
            group.taking(chosen)
            if isinstance(group, WideTerm)
            else replace(group, codes=cut(group.codes), Z=cut(group.Z))  # type: ignore[arg-type]
            for group in self.groups
        )
        arrays = {name: cut(getattr(self, name)) for name in ("y", "trials", "X", "weights", "offset")}
        frame = self.frame.iloc[np.arange(self.n)[chosen]]
        if arrays["weights"] is not None:  # the very object, which the rotations of wide terms are checked against
            groups = tuple(
                group.weighted(arrays["weights"]) if isinstance(group, WideTerm) else group for group in groups
            )
        residual = None if self.residual is None else self.residual.taking(chosen)
        return replace(self, groups=groups, index=frame.index, frame=frame, residual=residual, **arrays)  # type: ignore[arg-type]

    def with_response(self, y: Any) -> Design:
        """This design with another response (n,), in its categories where it has some.

        Raises
        ------
        DataError
            Another number of values, or values that the family cannot have.
        """
        if isinstance(y, pd.Series) and len(y) != self.n and self.index.isin(y.index).all():
            y = y.loc[self.index]
        return self.with_coded_response(self.codes_of(y) if np.shape(y) == (self.n,) else y)

    def codes_of(self, y: Any) -> Any:
        """Responses (n,) in the codes of this design; DataError for a value that is no category."""
        return as_codes(y, self.levels, is_binary=self.family.is_binary, response=self.response)

    def with_coded_response(self, y: Any) -> Design:
        """This design with another response (n,), coded as `y` is: categories by number from zero."""
        try:
            values = np.array(y, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"refit: the response ({type(y).__name__}) holds other things than numbers") from None
        if values.shape != (self.n,):
            raise DataError(f"refit: the response has shape {values.shape}; the fit uses {self.n:,} rows")
        if not np.isfinite(values).all():
            raise NonFiniteError(f"refit: {int((~np.isfinite(values)).sum())} values are missing or infinite")
        check_values(self, values)
        return replace(self, y=frozen(values))


# -- building


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
    family = family if se is None else KNOWN
    data = as_frame(data)
    words = ResidualWords.of(sigma, residual, family, se, data)
    plan = make_plan(formula, data, Scope(names=namespace or {}, trusted=trust), weights, offset, se, words)
    weights = from_outside(weights, data, "weights")
    offset = from_outside(offset, data, "offset")
    frame, keep = kept_frame(plan, data, offset)
    weights = check_weights(weights, keep, frame.index)
    errors = None if se is None else checked(se, data, keep, frame.index)
    offset = None if offset is None else (offset if keep is None else offset[keep])

    if family.has_categories and plan.response.is_column:
        check_order(plan.response.label, data[plan.response.label])
    response = read_response(plan.response, frame, family, weights)
    weights = weights if family.has_residual else None  # those of a binomial response are its trials
    terms = formula.fixed_terms
    if family.has_categories:  # the cutpoints stand in place of an intercept: factors are coded beside one
        terms = replace(terms, intercept=True)
    fixed, X = design_columns(terms, plan.expressions, frame)
    whole, (X, independent, aliased) = X, _without_aliases(X, fixed, terms)
    kept = independent
    if family.has_categories:
        X, kept = X[:, 1:], np.concatenate([[False], kept[1:]])
    _check_rows(len(frame), X.shape[1])
    if errors is not None:
        family, weights = family_and_weights(errors)
    weights = None if weights is None else frozen(weights)
    named_matrices = _matrices(formula, matrices)
    groups, bars, groupings = _groups(tuple(bar for bar in formula.bars if bar.word is None), plan.expressions, frame)
    wide, wide_recipes = wide_terms(formula, plan.expressions, frame, named_matrices, weights)
    if wide and not family.is_normal:
        raise NotAvailableError(
            f"{wide[0].texts[0]} ({wide[0].kind}) is offered for normal responses (gaussian, lognormal), not for "
            f"{family}"
        )
    if len({g.name for g in (*groups, *wide)}) < len(groups) + len(wide):
        raise DataError(f"A column of the data is called like a term, {wide[0].name!r}. Rename it.")
    recipe = Recipe(
        fixed=fixed,
        kept=kept,
        aliases=Aliases.of(whole, kept, independent, fixed.names, intercept=terms.intercept),
        bars=bars,
        groupings=groupings,
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
        levels=response.levels,
        X=frozen(X),
        x_names=tuple(name for name, use in zip(fixed.names, kept, strict=True) if use),
        aliased=aliased,
        groups=(*groups, *wide),
        weights=weights,
        offset=frozen(total_offset(plan.offsets, frame, offset)),
        index=frame.index,
        n_dropped=len(data) - len(frame),
        frame=frame,
        recipe=recipe,
        scope=plan.scope,
        se=named(se),
        matrices=named_matrices,
        residual=None if words is None else build_residual(words, plan.expressions, frame, (*groups, *wide), weights),
    )
    _refuse_huge_offset(design)
    _refuse_constant_remainder(design)
    refuse_untold_residual(design)
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
    X: np.ndarray, fixed: MatrixRecipe, terms: Terms
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    kept = independent_columns(X, has_intercept=terms.intercept)
    aliased = tuple(name for name, use in zip(fixed.names, kept, strict=True) if not use)
    if aliased:
        warn(
            f"The fixed part is rank deficient: {', '.join(aliased)} left out, as "
            f"{'it depends' if len(aliased) == 1 else 'they depend'} linearly on columns before.",
            AliasedColumnsWarning,
        )
        X = X[:, kept]
    kept.setflags(write=False)
    return X, kept, aliased


def _check_rows(n: int, p: int) -> None:
    if n <= p:
        raise DataError(
            f"{n} complete row{'s' * (n > 1)} for {p} coefficient{'s' * (p > 1)} of the fixed part: more rows than "
            "coefficients are needed. Use more data or fewer terms."
        )


def _groups(
    bars: tuple[Bar, ...], expressions: Mapping[Atom, Expression], frame: pd.DataFrame
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
        terms.append(_merged(factor_bars, grouping, codes, built, frame))
        recipes.append(tuple(recipe for recipe, _ in built))
        groupings.append(grouping)
    return tuple(terms), tuple(recipes), tuple(groupings)


def _merged(
    bars: list[Bar],
    grouping: Grouping,
    codes: np.ndarray,
    built: list[tuple[MatrixRecipe, np.ndarray]],
    frame: pd.DataFrame,
) -> GroupTerm:
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
