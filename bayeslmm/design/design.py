"""`Design`: the arrays of a model, with names, levels and kept rows; `bayeslmm.design.build` makes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, InputError, NonFiniteError, NotAvailableError
from ..families import GAUSSIAN, Family
from ..formulas.binding import Scope
from ..formulas.formula import Formula
from ..formulas.predictors import parse_predictor
from ..terms.group import GroupTerm as GroupTerm
from ..terms.relationship import Matrix
from ..terms.wide import WideTerm
from ..tools.frame import Columns, as_frame, frozen, one_line
from ..tools.summed import RowSums
from ..tools.words import is_one_of
from .censoring import words as censored_words
from .codes import as_codes, as_word
from .fixing import Fixed, in_words
from .names import COEF, CUTPOINT, ROW, THRESHOLD, Names, as_labels, contract
from .newdata import NewDesign, Recipe, rebuild
from .plan import check_weights, from_outside
from .predictors import ParameterPart
from .residual import ResidualPart
from .response import check_values
from .standard_errors import checked

MOST_COUNTED = 100_000  # repeated rows that stand for all


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
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
    weights : float64 array (n,) or None
        None when none were given.
    offset : float64 array (n,)
        Zero when none was given.
    bounds : float64 array (n, 2) or None
        Of a censored response the interval in which each row lies; of rows that were observed ``y`` twice.
    weights_column : str or None
        The column of ``weights``, which new rows may have as well.
    likelihood_weights : float64 array (n,) or None
        What the log density of each row is multiplied by: ``y | weights(w)``.
    information : float64 array (n,) or None
        Their product with ``weights``: what rows weigh in cross-products, where sigma is one.
    se : str or None
        The column of the known standard errors of the rows; empty where they were given as values. ``weights`` are
        (sigma/se)² then, with the known sigma of the family.
    index : pandas.Index
        Labels of the kept rows; ``n_dropped`` rows had missing values.
    table : pandas.DataFrame or Columns
        The used columns on the kept rows, in plain dtypes; ``frame`` is a DataFrame of them.
    scope : Scope
        Functions and values of its author that the formula uses, and whether its text was trusted.
    matrices : mapping
        The matrices of ``gr()`` by their names.
    residual : ResidualPart or None
        The structure of the residuals, where they have parameters besides sigma. With estimates in it ``weights`` are
        the prior weights over the squared relative sds, so that sd = sigma/√weight.
    predictors : mapping
        The linear predictors of parameters of the family, by name.
    fixed : mapping
        Parameters that are no unknowns, since they were given as numbers, by the keys of priors: of the family, and sds
        of zero, whose columns are not among those of the groups.
    sums : RowSums or None
        Where the rows went by chunk by chunk: what the engine has of them (`bayeslmm.engine.sums`). ``y``, ``X`` and
        ``offset`` are `bayeslmm.tools.summed` columns then, and ``frame`` has no rows.
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
    table: pd.DataFrame | Columns
    recipe: Recipe
    scope: Scope
    se: str | None = None
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    residual: ResidualPart | None = None
    predictors: Mapping[str, ParameterPart] = field(default_factory=dict)
    sums: RowSums | None = None
    likelihood_weights: np.ndarray | None = None
    information: np.ndarray | None = None
    weights_column: str | None = None
    bounds: np.ndarray | None = None
    fixed: Fixed = field(default_factory=dict)

    def __repr__(self) -> str:
        levels = ", ".join(f"{group.name} {group.n_levels:,}" for group in self.groups) or "none"
        return f"<Design: {self.described}; {self.n:,} rows, X {self.n:,} x {self.p}, levels: {levels}>"

    @property
    def frame(self) -> pd.DataFrame:
        """The used columns on the kept rows, in plain dtypes."""
        return self.table.frame if isinstance(self.table, Columns) else self.table

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
        groups = tuple((group.name, group.columns) for group in self.every_group)
        residual = () if self.residual is None else self.residual.variables
        predicted = tuple((part.variable, part.dimension) for part in self.predictors.values())
        return contract(self.parameters, self.x_names, groups, residual, predicted)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The unknowns of the family: its parameters, coefficients in place of those with a linear predictor."""
        return tuple(
            self.predictors[name].variable if name in self.predictors else name for name in self.family.parameters
        )

    @property
    def parameter_groups(self) -> tuple[GroupTerm, ...]:
        """The bars and smooths of linear predictors of the family's parameters."""
        return tuple(group for part in self.predictors.values() for group in part.groups)

    @property
    def every_group(self) -> tuple[GroupTerm, ...]:
        """All terms with random effects: `groups`, which the mean has, and `parameter_groups`."""
        return (*self.groups, *self.parameter_groups)

    @property
    def of_categories(self) -> tuple[ParameterPart, ...]:
        """The linear predictors of categories, which are all of one formula."""
        return tuple(part for part in self.predictors.values() if part.category)

    @property
    def factors(self) -> dict[str, GroupTerm]:
        """The grouping factors by what the formula calls them; of a formula of all categories those of the first."""
        group_of = {group.name: group for group in self.groups if group.is_grouping}
        for part in self.of_categories[:1]:
            group_of |= {part.factor_of(group): group for group in part.groups if group.is_grouping}
        return group_of

    @property
    def coefficient_labels(self) -> tuple[str, ...]:
        """What the fixed effects are called in tables: if each category has some, those of one after the other."""
        return (*self.x_names, *(label for part in self.of_categories for label in part.labels))

    @property
    def fixed_words(self) -> str:
        """The columns of the fixed part."""
        parts = self.of_categories
        if not parts:
            return ", ".join(self.x_names) or "none"
        categories = ", ".join(part.category for part in parts)
        return f"{', '.join(parts[0].x_names)} of each of {categories}: log odds against {as_word(self.levels[0])}"

    @property
    def of_rows(self) -> tuple[str, ...]:
        """The variables that the family's parameters hang on in a row: `parameters`, and effects that they have."""
        names = self.names.b
        return (*self.parameters, *(names[group.name] for group in self.parameter_groups))

    def for_category(self, part: ParameterPart) -> Design:
        """The design whose linear predictor is that of a category."""
        return replace(self, X=part.X, x_names=part.x_names, groups=part.groups, offset=part.offset, predictors={})

    @property
    def of_variable(self) -> dict[str, ParameterPart]:
        """The linear predictors by the variables of their coefficients."""
        return {part.variable: part for part in self.predictors.values()}

    def labels_of(self, name: str) -> tuple[str, ...]:
        """What the numbers of one of `parameters` are called in tables."""
        if name in self.of_variable:
            return self.of_variable[name].labels
        return tuple(f"{name}[{one_line(level)}]" for level in self.levels[:-1]) if name == CUTPOINT else (name,)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of one of `parameters`."""
        return (len(self.labels_of(name)),) if name == CUTPOINT or name in self.of_variable else ()

    @property
    def numbers_of_parameters(self) -> dict[str, int | None]:
        """How many numbers each of `parameters` is; None for one that is a number and no vector."""
        return {name: (self.shape_of(name) or (None,))[0] for name in self.parameters}

    def along(self, values: Mapping[str, Any], new: NewDesign | None = None) -> dict[str, np.ndarray]:
        """The family's parameters on rows, so that they broadcast against linear predictors (..., n).

        Parameters
        ----------
        values : mapping
            `of_rows` with leading axes (...,).
        new : NewDesign, optional
            Other rows than those of the fit, of a model without `parameter_groups`.
        """
        b, of_effects = self.names.b, {self.names.b[group.name] for group in self.parameter_groups}
        predicted = {}
        for name, part in self.predictors.items():
            random = sum((group.contribution(values[b[group.name]]) for group in part.groups), np.zeros(1))
            rows = None if new is None else new.predictors.get(name)
            predicted[name] = part.values(values[part.variable], rows, random)
        elsewhere = {*self.of_variable, *of_effects}
        constant = {name: value for name, value in values.items() if name not in elsewhere}
        fixed = {name: np.asarray(value) for name, value in self.family.known.items()}
        return {**fixed, **self.family.along(constant), **predicted}

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """The coordinates of draws by dimension: coefficients, rows, levels, ... as object arrays."""
        names = self.names
        coords = {COEF: as_labels(self.x_names)}
        if self.sums is None:
            coords[ROW] = self.index.to_numpy()
        if CUTPOINT in self.family.parameters:
            coords[THRESHOLD] = as_labels(self.levels[:-1])
        if self.residual is not None:
            coords |= self.residual.coords
        coords |= {part.dimension: as_labels(part.x_names) for part in self.predictors.values()}
        for group in self.every_group:
            coords[names.level[group.name]] = as_labels(group.levels)
            coords[names.term[group.name]] = coords[names.other[group.name]] = as_labels(group.columns)
        return coords

    @property
    def n(self) -> int:
        """Number of rows used."""
        return len(self.y)

    @property
    def n_counted(self) -> float:
        """How many rows the likelihood counts: the sum of the likelihood weights."""
        return self.n if self.likelihood_weights is None else float(self.likelihood_weights.sum())

    @property
    def p(self) -> int:
        """Number of columns of X."""
        return len(self.x_names)

    @property
    def normal_response(self) -> np.ndarray:
        """What is normal around Xβ + Zb (n,): the response, or the log of a lognormal one, less the offset."""
        if self.sums is not None:  # a gaussian response is its own
            return self.y - self.offset
        return self.working_response - self.offset

    @property
    def working_response(self) -> np.ndarray:
        """The response (n,) as the compiled loops take it: logged for a lognormal model."""
        return self.family.working_response(self.y)

    @property
    def density_constants(self) -> np.ndarray:
        """What the log density of each row (n,) holds besides what hangs on the unknowns, without its own weight."""
        return self.family.constants(*self.ends, self.weights)

    @property
    def counted(self) -> np.ndarray:
        """How often the log density of each row (n,) counts."""
        return np.ones(self.n) if self.likelihood_weights is None else self.likelihood_weights

    @property
    def rows_words(self) -> str:
        """How often rows count and how many are censored, as it goes on after their number; empty for plain rows."""
        weights = self.likelihood_weights
        counted = "" if weights is None else f", counted {self.n_counted:,.6g} times by {self.formula.weights_text}"
        return counted + censored_words(self.bounds, self.y)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray | None]:
        """What stands in the places of a response and its trials (n,): of a censored one the ends of the intervals."""
        return (self.y, self.trials) if self.bounds is None else (self.bounds[:, 0], self.bounds[:, 1])

    @property
    def working_ends(self) -> tuple[np.ndarray, np.ndarray | None]:
        """`ends` as the compiled loops take them."""
        if self.bounds is None:
            return self.working_response, self.trials
        low, high = (self.family.working_response(end) for end in self.bounds.T)
        return low, high

    @property
    def in_loops(self) -> Design:
        """The design as the compiled loops of point fits take it.

        Rows at an end with a probability of its own say nothing of the linear predictor: they count for nothing in the
        family of those `between`, and what the ends add is `Family.at_ends`.
        """
        between = self.family.between
        if between is None:
            return self
        at_end = np.isin(self.y, self.family.ends)
        return replace(
            self,
            family=between(link=self.family.link),
            y=np.where(at_end, np.mean(self.family.ends), self.y),
            likelihood_weights=np.where(at_end, 0.0, self.counted),
        )

    def average(self, values: np.ndarray) -> np.ndarray:
        """The mean (...,) of values (n, ...) over the rows, each as often as it counts."""
        counted = self.likelihood_weights
        return np.asarray(values.mean(axis=0) if counted is None else np.average(values, axis=0, weights=counted))

    def as_counted(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) of the rows, each as often as it counts, for what defaults are measured by.

        Whole weights that add up to `MOST_COUNTED` at most repeat the rows; of others so many repeated rows are taken,
        evenly spaced.
        """
        weights = self.likelihood_weights
        if weights is None:
            return values
        ends = np.cumsum(weights)
        are_counts = ends[-1] <= MOST_COUNTED and np.array_equal(weights, np.round(weights))
        many = int(ends[-1]) if are_counts else max(self.n, MOST_COUNTED)
        places = np.searchsorted(ends, (np.arange(many) + 0.5) * (ends[-1] / many))
        return np.asarray(values[places])

    def distinct_responses(self) -> tuple[np.ndarray, np.ndarray]:
        """The working responses that differ, and how often each counts; none where no normaliser hangs on them."""
        if not self.family.normaliser_takes_y:
            return np.zeros(0), np.ones(1)
        values, inverse_index = np.unique(self.working_response, return_inverse=True)
        return values.astype(float), np.bincount(inverse_index.reshape(-1), weights=self.counted)

    @property
    def precisions(self) -> np.ndarray | None:
        """The weights (n,) as the compiled loops take them: one over the variance where that is known."""
        return self.family.precisions(self.weights)

    @property
    def standard_errors(self) -> np.ndarray | None:
        """The known standard errors (n,) of the rows; None where sigma is estimated."""
        if self.weights is None or self.se is None:
            return None
        return np.asarray(self.family.known["sigma"] / np.sqrt(self.weights))

    @property
    def described(self) -> str:
        """The formula, and what was said of the residuals and of parameters of the family."""
        parts = [self.formula.text, *([] if self.residual is None else [self.residual.text])]
        parts += [part.said for part in self.predictors.values() if not part.category]
        parts += [f"contrasts: {self.scope.codings.in_words}"] if self.scope.codings.given else []
        return ", ".join([*parts, *([f"fixed: {self.fixed_in_words}"] if self.fixed else [])])

    @property
    def contrast_lines(self) -> list[str]:
        """How factors are coded, as a line of text, where the model says so beside its formula."""
        return [f"Contrasts: {self.scope.codings.in_words}"] if self.scope.codings.given else []

    @property
    def leaves(self) -> set[str]:
        """The labels of all leaves that columns are made of: of the formula, its bars, and other linear predictors."""
        formulas = [self.formula, *(parse_predictor(name, text) for name, text in self.said_predictors.items())]
        terms = [part for each in formulas for part in (each.fixed_terms, *(bar.terms for bar in each.bars))]
        return {atom.label for part in terms for atom in part.atoms}

    @property
    def predictor_lines(self) -> list[str]:
        """The linear predictors of parameters of the family, each as a line of text."""
        return [f"{part.link}({name}): {part.text}" for name, part in self.predictors.items() if not part.category]

    @property
    def said_predictors(self) -> dict[str, str]:
        """The formulas of linear predictors that were given besides that of the model, by their parameters."""
        return {name: part.text for name, part in self.predictors.items() if not part.category}

    @property
    def fixed_in_words(self) -> str:
        """Which parameters are fixed, and where; empty if none is."""
        return in_words(self.fixed)

    @property
    def takes_residual(self) -> bool:
        """Whether the residuals could have parameters besides sigma: ``sigma=`` and ``residual=``."""
        return self.family == GAUSSIAN and not self.is_wide and not self.predictors

    @property
    def prior_weights(self) -> np.ndarray | None:
        """The weights (n,) that were given: without what estimates of the residuals' sds add to them."""
        return self.weights if self.residual is None else self.residual.structure.prior

    def refuse_residual(self, verb: str) -> None:
        """Raise NotAvailableError where residuals have parameters besides sigma, for a verb that knows none."""
        if self.residual is not None:
            raise NotAvailableError(
                f"{verb} is not offered for models with {self.residual.text}: it knows no parameters of residuals "
                "besides sigma"
            )

    def refuse_predictors(self, verb: str) -> None:
        """Raise NotAvailableError where a parameter has a linear predictor, for a verb that knows one for all rows."""
        for part in self.predictors.values():
            knows = (
                "knows one linear predictor"
                if part.category
                else "takes the family's parameters to be the same in all rows"
            )
            raise NotAvailableError(f"{verb} is not offered for models with {part.said}: it {knows}")

    def refuse_nominal(self, verb: str, why: str) -> None:
        """Raise NotAvailableError where categories have linear predictors, for a verb that needs one, or a mean."""
        if self.family.is_nominal:
            raise NotAvailableError(f"{verb} is not offered for models with {self.family.option}: {why}")

    def refuse_uncompiled(self, verb: str, instead: str = "") -> None:
        """Raise NotAvailableError where no compiled loop knows the family, for a verb of draws that goes by these."""
        if not self.family.is_compiled and not self.of_categories:
            raise NotAvailableError(
                f"{verb} is not offered for models with {self.family.option}, whose posterior is drawn by NUTS and "
                f"whose effects no quadrature integrates out{instead}"
            )

    def refuse_point_fit(self) -> None:
        """Raise NotAvailableError for effects of a parameter, an offset of log sigma, and categories without rows."""
        between = self.family.between
        if between is not None and not np.isin(self.y, self.family.ends).any():
            raise NotAvailableError(
                f"fit_ml is not offered for {self.family.option} where no response is at an end: nothing tells "
                f"{' or '.join(self.family.limited_by)}. Take family={between.name!r}"
            )
        if between is None and not self.of_categories:
            self.refuse_uncompiled("fit_ml", ". fit() draws it")
        self.refuse_empty_categories("A point fit")
        for part in self.predictors.values():
            if part.category:
                continue
            if part.groups or self.family.is_normal:
                raise NotAvailableError(
                    f'fit_ml and fit_reml are not offered for models with {part.parameter}="{part.text}": no kernel '
                    f"integrates effects, or an offset, of {part.parameter} out of the likelihood. fit() draws the "
                    f'posterior; columns alone, such as {part.parameter}="~ x", have a point fit'
                )

    @property
    def empty_categories(self) -> tuple[Any, ...]:
        """Ordered categories of no row, which ``C(y, levels=[...])`` on the left of a formula keeps."""
        if not self.family.has_cutpoints:
            return ()
        counts = np.bincount(np.asarray(self.y, dtype=np.int64), minlength=len(self.levels))
        return tuple(level for level, count in zip(self.levels, counts, strict=True) if not count)

    def refuse_empty_categories(self, verb: str) -> None:
        """Raise NotAvailableError where categories have no row, for a verb that maximises a likelihood."""
        self._refuse_endless_log_odds(verb)
        empty = self.empty_categories
        if empty:
            shown = ", ".join(map(repr, empty))
            raise NotAvailableError(
                f"{verb} is not offered where the response {self.response!r} has no row in {shown}: the likelihood is "
                "largest where that has no probability, with cutpoints that coincide or are infinite. Its limit is the "
                f"model without {'it' if len(empty) == 1 else 'them'}: leave {shown} out of levels=. fit() draws the "
                "posterior, in which priors hold cutpoints apart"
            )

    def _refuse_endless_log_odds(self, verb: str) -> None:
        """The same of a category without an order that is declared and has no row."""
        if not self.of_categories:
            return
        counts = np.bincount(np.asarray(self.y, dtype=np.int64), minlength=len(self.levels))
        empty = [as_word(level) for level, count in zip(self.levels, counts, strict=True) if not count]
        if empty:
            raise NotAvailableError(
                f"{verb} is not offered where a category has no row: the log odds of {', '.join(empty)} have no finite "
                "estimate. Drop it, data[...].cat.remove_unused_categories(), or take a prior: fit()"
            )

    def refuse_without_posterior(self) -> None:
        """Raise NotAvailableError where the rows went by in chunks and no sums of them tell the likelihood."""
        if self.sums is not None and not self.family.has_reml:
            raise NotAvailableError(
                f"the posterior of {self.n:,} rows in chunks, more of which differ than are held in memory, is not "
                f"offered with {self.family.option}: every density would read them all, and a posterior takes "
                "thousands. fit_ml() has estimates. There is a posterior of rows that differ less (round or cut "
                "numbers, leave statistics such as scale(x) out of the formula) or of a sample of rows in memory"
            )

    def refuse_predicted_means(self, verb: str) -> None:
        """Raise NotAvailableError where E(y) hangs on coefficients whose errors a verb of a point fit does not know."""
        for name, part in self.predictors.items():
            if name in self.family.mean_parameters:
                raise NotAvailableError(
                    f'{verb} is not offered for models with {name}="{part.text}": E(y) hangs on {name}, and the errors '
                    "of its coefficients would be left out. predict(interval='simulated') and a posterior, fit(), have "
                    "them"
                )

    def refuse_likelihood_weights(self, verb: str) -> None:
        """Raise NotAvailableError where rows count several times, for a verb that takes each row once."""
        if self.likelihood_weights is not None:
            raise NotAvailableError(
                f"{verb} is not offered for models with {self.formula.weights_text}: it takes every row once. Of whole "
                "numbers repeat the rows: data.loc[data.index.repeat(data['w'])]"
            )

    def refuse_censored(self, verb: str) -> None:
        """Raise NotAvailableError where responses may be censored, for a verb that needs their values."""
        if self.bounds is not None:
            raise NotAvailableError(
                f"{verb} is not offered for a censored response, {self.response}: the values of censored rows are not "
                "known. blm.check has residuals that are drawn within what is known"
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

    def residual_columns(self, newdata: Any = None, *, needed: bool = True) -> np.ndarray | None:
        """Columns (m, d) of log sd at new rows, those of the fit if no others are given, where residuals have any.

        None as well where they are not ``needed`` and new rows lack them.
        """
        part = self.residual
        if part is None:
            return None
        if newdata is None:
            return part.structure.spread.G
        lacking = [column for column in part.columns if column not in as_frame(newdata).columns]
        if lacking and not needed:
            return None
        return part.columns_at(self.frame, newdata)[:, : part.n_spread]

    def weights_at(self, newdata: Any, *, needed: bool = False) -> np.ndarray | None:
        """Weights of new rows: one, unless standard errors are known or newdata have the column of the weights.

        ``None`` for newdata: the rows of the fit.

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
            They, or the weights, are not positive and finite.
        """
        if newdata is None:
            return self.weights
        frame = as_frame(newdata)
        weights = None
        if self.weights_column is not None and self.weights_column in frame.columns:
            weights = check_weights(from_outside(self.weights_column, frame, "weights"), None, frame.index)
        if self.residual is not None and self.residual.structure.values is not None:
            if not needed and any(column not in frame.columns for column in self.residual.columns):
                return None
            of_residual = self.residual.weights_at(self.frame, newdata)
            return of_residual if weights is None else of_residual * weights
        if self.se is None:
            return weights
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
        weights = None if weights is None else frozen(weights)
        return replace(self, residual=residual, weights=weights, information=weights)

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
        groups = tuple(g for g in (self.parameter_groups if self.of_categories else self.groups) if g.is_grouping)
        names = ", ".join(repr(group.name) for group in groups)
        if not groups:
            raise InputError("the model has no grouping factor")
        if name is None and len(groups) > 1:
            raise InputError(f"the model has several grouping factors ({names}); say which: group=...")
        for term in groups:
            if name is None or is_one_of(name, (term.name,)):
                return term
        varying = [repr(term.name) for term in groups if is_one_of(name, term.columns)]
        effect = f"; {name!r} is an effect that varies by {', '.join(varying)}" if varying else ""
        raise InputError(f"no grouping factor {name!r}; the model has {names}{effect}")

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
            Names of the grouping factors to build; all by default, those of `parameter_groups` as well. The columns
            of others need not be there.
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
        of_parameters = [group.name for group in self.parameter_groups if group.is_grouping]
        named = None if groups is None else [name for name in groups if name not in of_parameters]
        new = rebuild(self.recipe, self.frame, newdata, named, offset, estimable_only)
        asked = of_parameters if groups is None else groups
        in_mean = self.family.mean_parameters if estimable_only else frozenset()  # what E(y) hangs on
        parts = {
            name: part.at(self.frame, newdata, asked, estimable_only=name in in_mean)
            for name, part in self.predictors.items()
        }
        return replace(new, predictors=parts)

    def rows(self, chosen: Any) -> Design:
        """This design on some of its rows, with the same columns, levels and transforms.

        Parameters
        ----------
        chosen : array of bool (n,) or of int
            Which rows. A level may be left without any.
        """

        def cut(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else frozen(values[chosen], values.dtype)

        groups = tuple(group.taking(chosen) for group in self.groups)
        names = ("y", "trials", "bounds", "X", "weights", "offset", "likelihood_weights")
        arrays = {name: cut(getattr(self, name)) for name in names}
        frame = self.frame.iloc[np.arange(self.n)[chosen]]
        information = weighed(arrays["weights"], arrays["likelihood_weights"])
        if information is not None:  # the very object, which the rotations of wide terms are checked against
            groups = tuple(group.weighted(information) if isinstance(group, WideTerm) else group for group in groups)
        residual = None if self.residual is None else self.residual.taking(chosen)
        predictors = {name: part.taking(chosen) for name, part in self.predictors.items()}
        return replace(
            self,
            groups=groups,
            index=frame.index,
            table=frame,
            residual=residual,
            predictors=predictors,
            information=information,
            **arrays,  # type: ignore[arg-type]
        )

    def with_response(self, y: Any) -> Design:
        """This design with another response (n,), in its categories where it has some.

        Raises
        ------
        DataError
            Another number of values, or values that the family cannot have.
        NotAvailableError
            The response is censored.
        """
        self.refuse_censored("refit")
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


def weighed(weights: np.ndarray | None, likelihood_weights: np.ndarray | None) -> np.ndarray | None:
    """What rows weigh in cross-products (n,): one of them itself, or their product."""
    if weights is None or likelihood_weights is None:
        return likelihood_weights if weights is None else weights
    return frozen(weights * likelihood_weights)
