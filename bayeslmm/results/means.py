"""Marginal means and trends of predictors, and contrasts of them, as emmeans.

A mean is a combination lβ of fixed effects: the average of rows of a reference grid, in which factors run over their
levels and numbers stand at their mean. So it is the mean of the average group, on the scale of the linear predictor.
Coefficients of smooths stand behind the fixed effects: their curve is the same in all groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..engine.inference import Approximation
from ..engine.prediction import Errors
from ..engine.working import working
from ..errors import InputError
from ..tools.arrays import Array
from ..tools.hints import with_hints
from ..tools.lazy import sparse
from ..tools.words import is_one_of
from . import wald
from .adjustment import IN_WORDS, adjusted, check_method
from .contrast_weights import contrast_weights, interaction_weights
from .described import rounds_to_zero
from .draws import Draws
from .estimates import Estimates
from .margins import EQUIVALENCE, NON_INFERIORITY, against_margin
from .reading import Shown, for_reading
from .reference import is_number, levels, predictors, typical
from .summaries import P_POSITIVE, SUMMARY, check_interval
from .tables import apart_names, set_apart
from .text import Text, number, percent, probability, table

OWN = ("contrast",)  # columns that say what a number is of, beside the user's
WEIGHTS = ("equal", "proportional", "cells")
DEFAULT = {"pairwise": "tukey", "reverse": "tukey", "reference": "dunnett", "consecutive": "mvt", "mean": "fdr"}
FEW = 2  # values of a number up to which each is a level of the reference grid, as in emmeans
STEP = 1e-4  # of a variable's range, for the slope of a line that the formula may bend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distribution:
    """What is known of the fixed effects, and of the coefficients of smooths: estimates with errors, or draws.

    Attributes
    ----------
    estimate : (p,)
        β̂, or the mean of the draws.
    variances, df : callables
        Of combinations (k, p) of it; those of draws have no df.
    covariance : (p, p)
    draws : (chain, draw, p) or None
    caption : str
        What intervals rest on.
    """

    estimate: Array
    variances: Callable[[Array], Array]
    df: Callable[[Array], Array]
    covariance: Array
    caption: str
    draws: Array | None = None
    summarise: Callable[[Array, float], pd.DataFrame] | None = None


def of_estimates(record: Estimates, ddf: str | None) -> Distribution:
    """What a point fit knows of its fixed effects."""
    approximation = wald.approximation(record.design, record.solution, ddf)
    if record.design.smooths:
        return _with_curves(record, approximation, ddf)
    return Distribution(
        estimate=record.solution.beta,
        variances=approximation.variances,
        df=approximation.df,
        covariance=approximation.vcov,
        caption=wald.caption(record.design, record.solution, ddf),
    )


def _with_curves(record: Estimates, about: Approximation, ddf: str | None) -> Distribution:
    """The same with the coefficients of smooths, whose errors go with those of the fixed effects."""
    design, solution = record.design, record.solution
    errors = Errors.of(*working(design, solution), about.vcov)
    places = [k for k, group in enumerate(design.groups) if group in design.smooths]
    ends = np.cumsum([design.p, *(design.groups[k].n_levels for k in places)])

    def split(L: Array) -> tuple[Array, list[tuple[int, Any]]]:
        blocks = np.split(L, ends[:-1], axis=1)
        return blocks[0], [(k, sparse.csr_array(A)) for k, A in zip(places, blocks[1:], strict=True)]

    def variances(L: Array) -> Array:
        return errors.of_combinations(*split(L))

    return Distribution(
        estimate=np.concatenate([solution.beta, *(solution.modes[k][:, 0] for k in places)]),
        variances=variances,
        df=lambda L: wald.df_of_sums(about, errors.reach_of_combinations(*split(L)), variances(L)),
        covariance=errors.covariance_of_combinations(*split(np.eye(int(ends[-1])))),
        caption=wald.caption(design, solution, ddf),
    )


def of_draws(record: Draws, ci_kind: str | None) -> Distribution:
    """What a posterior knows of its fixed effects."""
    beta = np.concatenate([record.values.beta, *(record.values.curves or ())], axis=-1)
    flat = beta.reshape(beta.shape[0] * beta.shape[1], beta.shape[2])
    p = beta.shape[-1]
    covariance = np.cov(flat, rowvar=False).reshape(p, p) if p else np.zeros((0, 0))
    return Distribution(
        estimate=flat.mean(axis=0),
        covariance=covariance,
        caption="",
        draws=beta,
        variances=lambda L: np.einsum("ka,ab,kb->k", L, covariance, L),
        df=lambda L: np.full(len(L), np.inf),
        summarise=lambda values, ci_prob: record.summarise(values, ci_prob, ci_kind),
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Means(Shown):
    """Marginal means, trends, or contrasts of them.

    Attributes
    ----------
    labels : DataFrame
        What each number is of: the variables of ``means``, or ``contrast``, and those of ``by``.
    combinations : float64 array (k, p)
        The numbers as combinations of the fixed effects; NaN where the data do not tell one.
    offset : float
        What the linear predictor of a mean has on top.
    compared : Means or None
        Of differences on the scale of the response: the means, of which ``weights`` (k, m) makes the differences.
    table : DataFrame
        The labels with estimate, std_error, df, conf_low, conf_high and, of contrasts, statistic and p_value; of a
        posterior mean, sd, median, conf_low, conf_high and, but for means on the scale of the response, p_positive, the
        probability of a number above zero.
    """

    labels: pd.DataFrame
    combinations: Array
    by: tuple[str, ...]
    design: Design = field(repr=False)
    distribution: Distribution = field(repr=False)
    ci_prob: float = 0.95
    adjust: str = "none"
    n_means: int = 0
    is_contrast: bool = False
    scale: str = "link"
    bias_sd: float = 0.0
    offset: float = 0.0
    compared: Means | None = None
    weights: Array | None = None
    title: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """Labels and numbers."""
        numbers = _posterior_numbers(self) if self.distribution.draws is not None else _numbers(self)
        table: pd.DataFrame = for_reading(self.labels.join(numbers))
        return table

    def draws(self) -> Any:
        """Draws of a posterior as a DataArray (chain, draw, row), the labels as coordinates.

        Raises
        ------
        InputError
            A point fit has none.
        """
        import xarray as xr

        if self.distribution.draws is None:
            raise InputError("means(...).draws(): a point fit has no draws; model.fit() gives a posterior")
        labels = set_apart(self.labels, ("chain", "draw", "row"))
        coords = {str(label): ("row", labels[label].astype(object).to_numpy()) for label in labels}
        return xr.DataArray(_values(self), dims=("chain", "draw", "row"), coords=coords)

    @with_hints
    def pairs(self, *, adjust: str | None = None, kind: str | None = None) -> Means:
        """Differences between all pairs of means, within every combination of ``by``; Tukey's adjustment by default."""
        return self.contrasts("pairwise", adjust=adjust, kind=kind)

    @with_hints
    def contrasts(
        self,
        method: str | Mapping[str, Sequence[float]] = "pairwise",
        *,
        adjust: str | None = None,
        interaction: str | Sequence[str] | None = None,
        kind: str | None = None,
        sum_to_zero: bool = True,
    ) -> Means:
        """Contrasts of means.

        Parameters
        ----------
        method : str or mapping
            ``"pairwise"``, ``"reverse"`` (the later less the earlier), ``"reference"`` (each against the first),
            ``"consecutive"``, ``"mean"`` (each against the mean of all), ``"poly"`` (linear, quadratic, ...), or
            weights of the means by name, in the order of the table, that sum to zero: ``{"active": [0.5, 0.5, -1]}``.
        adjust : str, optional
            ``"none"``, ``"tukey"``, ``"holm"``, ``"bonferroni"``, ``"sidak"``, ``"fdr"``, ``"dunnett"`` (emmeans'
            approximation) or ``"mvt"`` (multivariate t), of the contrasts within a combination of ``by``. By default
            what emmeans takes: Tukey for pairs, Dunnett against a reference, mvt for consecutive ones, fdr against the
            mean, else none. A posterior has no p-values to adjust.
        interaction : str or sequence of str, optional
            Contrasts of contrasts: a method for every variable of the means, or one for all.
        kind : {"ratio", "difference"}, optional
            Of means on the scale of the response: ratios of odds or rates, or differences of the means themselves (of
            probabilities, of counts). By default ratios where the link has them.
        sum_to_zero : bool
            Whether weights by name have to, as those of contrasts do. False takes other sums of means, such as the
            average of two, but not of ratios, nor of linear predictors with an offset.

        Returns
        -------
        Means

        Raises
        ------
        InputError
            Unknown words, weights of another number than there are means, or whose sum is not zero.
        """
        return _contrasts(self, method, adjust, interaction, kind, sum_to_zero)

    def equivalence(self, margin: float) -> pd.DataFrame:
        """Whether contrasts lie within ± a margin: of the two one-sided t tests the larger p-value, or a probability.

        Parameters
        ----------
        margin : float
            The largest difference that does not matter, in the unit of the contrasts.

        Returns
        -------
        DataFrame
            The labels with estimate, std_error, df, margin, statistic and p_value (not adjusted); of a posterior mean,
            sd, margin and the probability of a difference within it.

        Raises
        ------
        InputError
            Means that are no contrasts, ratios, or a margin that is not above zero.
        """
        return self._against(EQUIVALENCE, margin)

    def noninferiority(self, margin: float) -> pd.DataFrame:
        """Whether contrasts lie above minus a margin; arguments as of `equivalence`, whose test is of both sides."""
        return self._against(NON_INFERIORITY, margin)

    def _against(self, kind: str, margin: float) -> pd.DataFrame:
        if not self.is_contrast:
            raise InputError(f"{kind}(...): it is of contrasts: means(...).pairs().{kind}(margin)")
        if self.scale == "response" and self.compared is None:
            raise InputError(
                f"{kind}(...): ratios have no margin around zero; take the contrasts of means(...) on the scale of the "
                "linear predictor, with the log of the ratio as the margin"
            )
        values = None if self.distribution.draws is None else _values(self)
        numbers = _numbers(self) if self.distribution.draws is None else _posterior_numbers(self)
        table: pd.DataFrame = for_reading(against_margin(self.labels, kind, margin, numbers, values))
        return table

    def with_adjustment(self, adjust: str) -> Means:
        """The same with p-values and intervals of several tests at once."""
        check_method(adjust)
        return replace(self, adjust=adjust)

    def response(self, *, bias_sd: float | None = None) -> Means:
        """On the scale of the response: the inverse link of means and their intervals; ratios of odds or rates.

        Parameters
        ----------
        bias_sd : float, optional
            The sd of the linear predictor between groups and rows, by whose variance the curvature of the inverse link
            moves a mean: h(η) + sd² h''(η)/2 (emmeans' ``bias.adjust``). Of means only.

        Raises
        ------
        InputError
            Differences on a link that is neither a log nor a logit.
        """
        family = self.design.family
        if not family.has_mean or family.models_log:
            raise InputError(f"response(): the mean of {family} is no function of the linear predictor alone")
        if self.is_contrast and family.link not in ("log", "logit"):
            raise InputError(
                f"response(): differences on the link {family.link!r} are no ratios; take the contrasts of "
                "means(...).response()"
            )
        is_number = isinstance(bias_sd, int | float | np.number) and not isinstance(bias_sd, bool)
        if bias_sd is not None and (self.is_contrast or not is_number or not 0.0 <= bias_sd < np.inf):
            raise InputError(f"response(bias_sd={bias_sd!r}): a sd, zero or more, and of means, not of contrasts")
        note = () if not bias_sd else (f"Adjusted for a sd of {bias_sd:.4g} on the link.",)
        on_response = replace(self, scale="response", remarks=(*self.remarks, *note), bias_sd=bias_sd or 0.0)
        return _as_ratios(on_response) if self.is_contrast else on_response

    def text(self) -> Text:
        """Title, table, what it rests on."""
        shown = self.table
        columns = list(self.labels)
        numbers = [c for c in shown if c not in columns]
        rows = [
            [*(str(r[column]) for column in columns), *(_cell(c, r[c], r) for c in numbers)]
            for _, r in shown.iterrows()
        ]
        return Text.of(
            self.title, table([*map(str, columns), *numbers], rows, left=len(columns)), _caption(self), *self.remarks
        )


def over_tables(parts: Sequence[Means], distribution: Distribution) -> Means:
    """Means of one model given several imputed tables as one, by what is known of the coefficients from all tables.

    Numbers stand at the mean of their means in the tables.
    """
    return replace(
        parts[0],
        combinations=np.mean([part.combinations for part in parts], axis=0),
        distribution=distribution,
        offset=float(np.mean([part.offset for part in parts])),
        remarks=(*parts[0].remarks, f"Over {len(parts)} imputed tables."),
    )


def _cell(column: str, value: float, row: pd.Series) -> str:
    if not np.isfinite(value):
        return "∞" if column == "df" and np.isinf(value) else "-"
    if column == "p_value":
        return probability(value)
    if column in ("df", "statistic", P_POSITIVE):
        return format(value, {"df": ".1f", "statistic": ".2f"}.get(column, ".3f"))
    return number(value, row.get("std_error", row.get("sd")))


def _caption(means: Means) -> str:
    words = [f"Intervals are {percent(means.ci_prob)}"]
    if means.distribution.draws is None:
        words.append(means.distribution.caption)
        if means.is_contrast:
            words.append(f"adjusted by {IN_WORDS[means.adjust]}" if means.adjust != "none" else "not adjusted")
    return "; ".join(words) + "."


# -- numbers


def _values(means: Means) -> Array:
    draws = means.distribution.draws
    assert draws is not None
    if means.compared is None:
        return _on_scale(means, draws @ means.combinations.T)
    differences: Array = _known(_values(means.compared)) @ _mixing(means).T
    return np.where(np.isnan(means.combinations).any(axis=1), np.nan, differences)


def _known(values: Array) -> Array:
    """Zero in place of what is not estimable, where weights of zero meet it."""
    return np.where(np.isnan(values), 0.0, values)


def _mixing(means: Means) -> Array:
    assert means.weights is not None
    return means.weights


def _on_scale(means: Means, eta: Array) -> Array:
    if means.compared is not None:
        return eta
    if not means.is_contrast:
        eta = eta + means.offset
    if means.scale == "link":
        return eta
    if means.is_contrast:
        return np.exp(eta)
    inverse = means.design.family.mean
    mean: Array = inverse(eta)
    if not means.bias_sd:
        return mean
    h = 1e-3
    curvature = (inverse(eta + h) - 2.0 * mean + inverse(eta - h)) / h**2
    return mean + means.bias_sd**2 * curvature / 2.0


def _slope(means: Means, eta: Array) -> Array:
    """How the number on the scale asked for moves with η (k,)."""
    h = 1e-5
    moved: Array = (_on_scale(means, eta + h) - _on_scale(means, eta - h)) / (2.0 * h)
    return moved


def _posterior_numbers(means: Means) -> pd.DataFrame:
    summarise = means.distribution.summarise
    assert summarise is not None
    numbers = summarise(_values(means), means.ci_prob)
    if means.is_contrast or means.scale == "link":
        beyond = 1.0 if means.scale == "response" and means.compared is None else 0.0
        values = _values(means)
        above = (values > beyond).mean(axis=(0, 1))
        numbers[P_POSITIVE] = np.where(np.isnan(means.combinations).any(axis=1), np.nan, above)
    return numbers[[*SUMMARY, *([P_POSITIVE] if P_POSITIVE in numbers else [])]]


def _gradients(means: Means) -> tuple[Array, Array]:
    """Differences of means on the scale of the response (k,), and how they move with β (k, p): the delta method."""
    assert means.compared is not None
    L = means.compared.combinations
    eta = L @ means.distribution.estimate
    moved = _slope(means.compared, eta)[:, None] * L
    gradients = _mixing(means) @ _known(moved)
    gradients[np.isnan(means.combinations).any(axis=1)] = np.nan
    return _mixing(means) @ _known(_on_scale(means.compared, eta)), gradients


def _numbers(means: Means) -> pd.DataFrame:
    L, distribution = means.combinations, means.distribution
    values = L @ distribution.estimate
    if means.compared is not None:
        values, L = _gradients(means)
    estimable = ~np.isnan(L).any(axis=1)
    eta, se, df = np.full(len(L), np.nan), np.full(len(L), np.nan), np.full(len(L), np.nan)
    eta[estimable], se[estimable] = values[estimable], np.sqrt(distribution.variances(L[estimable]))
    df[estimable] = distribution.df(L[estimable])
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = eta / se
    p, width = np.full(len(L), np.nan), np.full(len(L), np.nan)
    for rows in _families(means):
        safe = np.where(np.isnan(L[rows]), 0.0, L[rows])
        spread = safe @ distribution.covariance @ safe.T
        size = np.sqrt(np.maximum(np.diag(spread), 1e-300))
        p[rows], width[rows] = adjusted(
            statistic[rows],
            df[rows],
            means.adjust,
            n_means=means.n_means,
            correlation=spread / np.outer(size, size),
            ci_prob=means.ci_prob,
        )
    low, high = (_on_scale(means, eta + side * width * se) for side in (-1.0, 1.0))
    low, high = np.minimum(low, high), np.maximum(low, high)  # an inverse link may fall
    numbers = pd.DataFrame(
        {
            "estimate": _on_scale(means, eta),
            "std_error": np.abs(_slope(means, eta)) * se,
            "df": df,
            "conf_low": low,
            "conf_high": high,
        }
    )
    if means.is_contrast:
        numbers = numbers.assign(statistic=statistic, p_value=p)
    return numbers


def _families(means: Means) -> list[NDArray[np.int64]]:
    """Rows whose tests are adjusted together: those of one combination of ``by``; means stand alone."""
    if not means.is_contrast and means.adjust == "none":
        return [np.array([k]) for k in range(len(means.labels))]
    if not means.by or not len(means.labels):
        return [np.arange(len(means.labels))]
    grouped = means.labels.groupby(list(means.by), sort=False, observed=True)
    return [np.asarray(rows) for rows in grouped.indices.values()]


# -- the reference grid


def marginal_means(
    design: Design,
    distribution: Distribution,
    of: Any,
    *,
    by: Any,
    at: Any,
    weights: str,
    ci_prob: float,
    trend: str | None = None,
    offset: float | None = None,
) -> Means:
    """Means of the levels of variables, or the slope of a number, averaged over the other factors.

    Raises
    ------
    InputError
        A name that is no predictor, a level that is not there, other weights.
    """
    check_interval(ci_prob)
    verb = "means" if trend is None else "trends"
    design.refuse_nominal(
        f"{verb}()",
        "it is of one linear predictor. predict(blm.grid(fit, ...)) and comparisons() have the probabilities of the "
        "categories",
    )
    variables, groups = _names(of, verb), _names(by, verb)
    if not isinstance(at, Mapping | None):
        raise InputError(f"{verb}(at={at!r}): values by predictor, such as at={{'x': [0, 1]}}")
    at = dict(at or {})
    of_fixed_part = _of_fixed_part(design)
    for name in (*variables, *groups, *at, *([trend] if trend else [])):
        if name not in of_fixed_part:
            raise InputError(
                f"{verb}: {name!r} is no predictor of the model; it has {', '.join(map(repr, of_fixed_part))}"
            )
    if set(variables) & set(groups):
        raise InputError(f"{verb}: {sorted(set(variables) & set(groups))[0]!r} stands in by= as well")
    if not design.p and not design.smooths:
        raise InputError(f"{verb}: {design.formula.text!r} has no fixed effects to average")
    if not is_one_of(weights, WEIGHTS):
        raise InputError(f"{verb}(weights={weights!r}): weights are {', '.join(map(repr, WEIGHTS))}")
    if trend is not None and not is_number(design.frame[trend]):
        raise InputError(f"trends({trend!r}): {trend!r} has levels, not numbers; means({trend!r}) compares them")
    values = {name: _grid_values(design, name, at.get(name), verb) for name in of_fixed_part}
    rows = pd.DataFrame(index=[0])  # of an intercept alone
    if values:
        rows = pd.MultiIndex.from_product(list(values.values()), names=list(values)).to_frame(index=False)
    X = _slopes(design, rows, trend) if trend else _matrix(design, rows)
    keep = [*variables, *groups]
    averaged = [name for name in of_fixed_part if name not in keep]
    weight = _weights(design, rows, averaged, keep, weights)
    order = [*reversed(groups), *reversed(variables)]  # the first variable runs fastest, as in emmeans
    labels = pd.DataFrame(index=[0])
    if order:
        cells = pd.MultiIndex.from_product([values[name] for name in order], names=order)
        labels = cells.to_frame(index=False)
    L = np.array([_average(X, weight, _are(rows, cell)) for _, cell in labels.iterrows()]).reshape(len(labels), -1)
    over = [name for name in averaged if len(values[name]) > 1]
    held = [f"{name} at {_held(design, name, values[name][0], at)}" for name in averaged if len(values[name]) == 1]
    level = _offset(design, offset, verb) if trend is None else 0.0
    if np.any(design.offset) and trend is None:
        held.append(f"offset at {_short(level)}")
    title = f"Marginal means of {', '.join(variables) or 'all rows'}" if trend is None else f"Trends of {trend}"
    if groups:
        title += f" by {', '.join(groups)}"
    held = [f"held: {', '.join(held)}"] if held else []  # so that no name stands first and gets a capital
    words = [*([f"averaged over {', '.join(over)} ({weights} weights)"] if over else []), *held]
    remark = "; ".join(words)
    shown = labels[[*variables, *groups]].reset_index(drop=True)
    names = apart_names(shown, OWN)
    return Means(
        labels=shown.rename(columns=names),
        combinations=L,
        by=tuple(names.get(group, group) for group in groups),
        design=design,
        distribution=distribution,
        ci_prob=ci_prob,
        offset=level,
        title=title,
        remarks=(remark[0].upper() + remark[1:] + ".",) if remark else (),
    )


def _offset(design: Design, offset: Any, verb: str) -> float:
    """What the linear predictor of every mean has on top: the mean of the offsets, as emmeans has it, or a number."""
    if offset is None:
        return float(design.average(design.offset))
    number_given = isinstance(offset, int | float | np.number) and not isinstance(offset, bool)
    if not number_given or not np.isfinite(offset):
        raise InputError(f"{verb}(offset={offset!r}): a number is needed")
    if not np.any(design.offset):
        raise InputError(f"{verb}(offset={offset!r}): the model has no offset")
    return float(offset)


def _names(argument: Any, verb: str) -> list[str]:
    names = [] if argument is None else [argument] if isinstance(argument, str) else argument
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{verb}({argument!r}): the name of a predictor, or a list of names")
    if len(set(names)) < len(names):
        raise InputError(f"{verb}({argument!r}): a predictor stands there twice")
    return list(names)


def _of_fixed_part(design: Design) -> list[str]:
    """Columns of the data that X and the smooths hang on."""
    leaves = [coded.expression for product in design.recipe.fixed.products for coded in product]
    leaves += [leaf for wide in design.recipe.wide if not wide.is_grouping for leaf in wide.leaves]
    used_names = {name for leaf in leaves for name in leaf.columns.values()}
    return [name for name in design.frame if name in used_names]


def _places(values: Sequence[Any]) -> dict[Any, int]:
    return {value: k for k, value in enumerate(values)}


def _held(design: Design, name: str, value: Any, at: Mapping[str, Any]) -> str:
    """What a predictor is held at: the mean of a centred one is zero, but for what rounding left of it."""
    is_mean = isinstance(value, float) and name not in at
    return "0" if is_mean and rounds_to_zero(value, float(design.frame[name].std())) else _short(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _are(rows: pd.DataFrame, cell: pd.Series) -> NDArray[np.bool_]:
    matches = np.ones(len(rows), dtype=bool)
    for name, value in cell.items():
        matches &= (rows[name] == value).to_numpy()
    return matches


def _grid_values(design: Design, name: str, asked_values: Any, verb: str) -> list[Any]:
    column = design.frame[name]
    if asked_values is not None:
        values = [asked_values] if np.ndim(asked_values) == 0 else list(asked_values)
        unknown = [] if is_number(column) else [value for value in values if value not in levels(column)]
        if any(pd.isna(value) for value in values):
            raise InputError(f"{verb}(at={{{name!r}: {asked_values!r}}}): a value is missing")
        if not values or unknown:
            raise InputError(
                f"{verb}(at={{{name!r}: {asked_values!r}}}): "
                + (f"{name} has no level {unknown[0]!r}" if unknown else "no values are given")
            )
        return values
    if not is_number(column):
        return levels(column)
    distinct = np.unique(column.to_numpy())
    return distinct.tolist() if len(distinct) <= FEW else [float(design.average(column.to_numpy()))]


def _matrix(design: Design, rows: pd.DataFrame) -> Array:
    import warnings

    from ..errors import NotEstimableWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotEstimableWarning)  # the table shows what is missing
        new = design.at(_like(design, rows), groups=(), offset=_no_offset(design))
    return np.hstack([new.X, *(np.asarray(wide.matrix) for wide in new.wide)])


def _no_offset(design: Design) -> Any:
    return 0.0 if design.recipe.offset_given_as_array else None


def _like(design: Design, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the variables that bars and offsets need, at typical values: X does not depend on them."""
    other_variables = [name for name in predictors(design, groups=False) if name not in rows]
    return rows.assign(**{name: typical(design.frame[name]) for name in other_variables})


def _slopes(design: Design, rows: pd.DataFrame, variable: str) -> Array:
    column = design.frame[variable]
    step = STEP * float(column.max() - column.min() or 1.0)
    high, low = (_matrix(design, rows.assign(**{variable: rows[variable] + sign * step})) for sign in (0.5, -0.5))
    return (high - low) / step


def _weights(design: Design, rows: pd.DataFrame, averaged: list[str], keep: list[str], kind: str) -> Array:
    """How much each row of the grid counts in its average."""
    factors = [n for n in averaged if not is_number(design.frame[n]) or design.frame[n].nunique() <= FEW]
    if kind == "equal" or not factors:
        return np.ones(len(rows))
    names = factors if kind == "proportional" else [*factors, *(n for n in keep if not is_number(design.frame[n]))]
    counted = pd.Series(design.counted, index=design.frame.index)
    counts = counted.groupby([design.frame[name] for name in names], observed=False).sum()
    keys = rows[names].itertuples(index=False, name=None) if len(names) > 1 else rows[names[0]]
    return np.array([float(counts.get(key, 0)) for key in keys])


def _average(X: Array, weight: Array, chosen: NDArray[np.bool_]) -> Array:
    counted = chosen & (weight > 0.0)
    total = weight[counted].sum()
    if not total:
        return np.full(X.shape[1], np.nan)
    mean: Array = weight[counted] @ X[counted] / total
    return mean


# -- contrasts


def _contrasts(
    means: Means,
    method: str | Mapping[str, Sequence[float]],
    adjust: str | None,
    interaction: Any,
    kind: Any,
    sum_to_zero: bool,
) -> Means:
    if means.is_contrast:
        raise InputError("contrasts(...): these are contrasts already")
    if isinstance(method, Mapping) and not method:
        raise InputError("contrasts({}): weights of the means by name of the contrast are needed")
    blocks = _blocks(means)
    if not isinstance(method, Mapping) and all(len(rows) < 2 for rows, _ in blocks):
        within = f" in every combination of {', '.join(means.by)}" if means.by else ""
        raise InputError(
            f"contrasts(...): there is one mean{within}, so nothing to compare it with; "
            "ask for means at several values, at={'x': [0, 1]}, or of a factor"
        )
    differs = _takes_differences(means, kind)
    if not sum_to_zero:
        _refuse_other_sums(means, differs)
    if adjust is not None:
        check_method(adjust)
    chosen = adjust or ("none" if interaction or isinstance(method, Mapping) else DEFAULT.get(str(method), "none"))
    contrasted = [label for label in means.labels if label not in means.by]
    parts, combos, mixings = [], [], []
    for rows, cell in blocks:
        if interaction:
            labels, C = interaction_weights(means.labels.iloc[rows][contrasted], interaction)
        else:
            names = [" ".join(str(v) for v in r) for r in means.labels.iloc[rows][contrasted].itertuples(index=False)]
            contrast_names, C = contrast_weights(method, names, sum_to_zero=sum_to_zero)
            labels = pd.DataFrame({"contrast": contrast_names})
        parts.append(labels.assign(**cell))
        combos.append(_combined(C, means.combinations[rows]))
        mixing = np.zeros((len(C), len(means.labels)))
        mixing[:, rows] = C
        mixings.append(mixing)
    size = len(blocks[0][0]) if blocks else 0
    contrasts = replace(
        means,
        labels=pd.concat(parts, ignore_index=True),
        combinations=np.concatenate(combos),
        adjust=chosen,
        n_means=size,
        is_contrast=True,
        compared=means if differs else None,
        weights=np.concatenate(mixings) if differs else None,
        title=f"Contrasts: {means.title[0].lower()}{means.title[1:]}",
    )
    return contrasts if differs or means.scale == "link" else _as_ratios(contrasts)


def _as_ratios(contrasts: Means) -> Means:
    """Contrasts on a log or logit link as ratios, named so."""
    scale_word = "odds" if contrasts.design.family.link == "logit" else "means"
    labels = contrasts.labels
    if "contrast" in labels:
        labels = labels.assign(contrast=[str(name).replace(" - ", " / ") for name in labels["contrast"]])
    return replace(contrasts, labels=labels, remarks=(*contrasts.remarks, f"Ratios of {scale_word}."))


def _takes_differences(means: Means, kind: Any) -> bool:
    """Whether contrasts are differences of means on the scale of the response, not sums of the linear predictor."""
    if kind is not None and not is_one_of(kind, ("ratio", "difference")):
        raise InputError(f"contrasts(kind={kind!r}): it is 'ratio' or 'difference'")
    has_ratios = means.design.family.link in ("log", "logit")
    if means.scale == "link":
        if kind == "ratio":
            raise InputError("contrasts(kind='ratio'): ratios are of means(...).response()")
        return False
    if kind == "ratio" and not has_ratios:
        raise InputError(f"contrasts(kind='ratio'): differences on the link {means.design.family.link!r} are no ratios")
    if means.bias_sd and kind != "difference":
        raise InputError("contrasts(...) of means adjusted for bias are differences: kind='difference'")
    return kind == "difference" or not has_ratios


def _refuse_other_sums(means: Means, differs: bool) -> None:
    """Raise InputError where sums of means with weights that do not sum to zero have no meaning."""
    if differs:  # sums of the means themselves
        return
    if means.scale == "response":
        raise InputError("contrasts(sum_to_zero=False): ratios are of weights that sum to zero; add kind='difference'")
    if means.offset:
        raise InputError(
            f"contrasts(sum_to_zero=False): every mean has an offset of {means.offset:.4g}, which such weights do not "
            "take away; ask for means(..., offset=0)"
        )


def _blocks(means: Means) -> list[tuple[NDArray[np.int64], dict[str, Any]]]:
    """Rows by combination of ``by``, and its values."""
    if not means.by:
        return [(np.arange(len(means.labels)), {})]
    by = list(means.by)
    grouped = means.labels.groupby(by, sort=False, observed=True).indices
    return [(np.asarray(rows), dict(means.labels.iloc[rows[0]][by])) for rows in grouped.values()]


def _combined(C: Array, L: Array) -> Array:
    """C L, in which a mean that is not estimable matters only where it counts."""
    known_weights = np.where(np.isnan(L), 0.0, L)
    out = C @ known_weights
    out[(C != 0.0) @ np.isnan(L).any(axis=1)] = np.nan
    return out
