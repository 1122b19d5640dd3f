"""Intervals and tests of a point fit from standard errors: the one place where they are made.

Whatever says of a coefficient, a prediction or a comparison how sure it is takes the standard error and the degrees of
freedom from the same `Approximation` and the width from `with_interval`, so that no two verbs can differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..engine import inference
from ..engine.reml import PointSolution
from ..engine.scaling import Problem
from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from ..tools.lazy import special
from ..tools.words import is_one_of
from .adjustment import adjusted
from .summaries import check_interval

DDF = "satterthwaite"  # what summary, intervals, tests, tables and pictures take unless asked otherwise
METHODS = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger"}
ADJUSTMENTS = ("none", "holm", "bonferroni", "sidak", "fdr")  # that need nothing but the p-values
WORDS = {"satterthwaite": "satterthwaite", "kenward-roger": "kenward-roger", "kr": "kenward-roger", "z": None}


def method_of(ddf: str | None) -> str | None:
    """``satterthwaite``, ``kenward-roger``, or None for z.

    Raises
    ------
    InputError
        Another word.
    """
    if ddf is None:
        return None
    if not isinstance(ddf, str) or ddf.lower() not in WORDS:
        raise InputError(
            f"ddf={ddf!r}: degrees of freedom are 'satterthwaite', 'kenward-roger' ('kr'), or None ('z') for the "
            "normal distribution, as lme4"
        )
    return WORDS[ddf.lower()]


def refuse_ddf(verb: str, ddf: str | None) -> None:
    """Raise InputError if a posterior is asked for degrees of freedom."""
    if method_of(ddf) != DDF:
        raise InputError(f"{verb}(ddf={ddf!r}): degrees of freedom are those of a point fit; a posterior has draws")


def approximation(design: Design, solution: PointSolution, ddf: str | None) -> inference.Approximation:
    """The distribution of combinations of β̂ by a method; a linear model has an exact one by either name.

    That is normal where the standard errors of the rows are known.

    Raises
    ------
    NotAvailableError
        Kenward–Roger for other than normal responses, whose tests are z tests.
    """
    method, problem = method_of(ddf), Problem.of(design)
    if solution.nodes and method == "kenward-roger":
        raise NotAvailableError(
            f"ddf={ddf!r}: Kenward and Roger's degrees of freedom are for normal responses; those of {design.family} "
            "have z tests. confint('boot') does without the normal distribution."
        )
    if method is None or solution.nodes:
        return inference.Normal(vcov=solution.vcov)
    if not design.groups and design.family.residual_is_known:
        return inference.Normal(vcov=solution.vcov)
    if not design.groups and design.residual is None:
        n, p = design.X.shape
        return inference.Exact(vcov=solution.vcov, residual_df=float(n - p))
    if method == "satterthwaite":
        return inference.Satterthwaite.of(problem, solution)
    return inference.KenwardRoger.of(problem, solution)


def df_of_sums(
    about: inference.Approximation,
    reach: Array,
    variances: Array,
    residual: Array | float = 0.0,
    residual_slopes: Array | None = None,
) -> Array:
    """Degrees of freedom (...) of numbers that move with β̂ by ``reach`` (..., p) and have these variances in all.

    ``residual_slopes`` (..., d + r) are the derivatives of the residual part by parameters of the residuals.

    What is left of a variance after that of reach'β̂ and the residual is that of random effects, which counts as known;
    where nothing else is there, as along a cyclic smooth, which has no fixed effect, they are infinite.
    """
    contrasts = reach.reshape(int(np.prod(reach.shape[:-1])), reach.shape[-1])
    whole, estimated = variances.reshape(-1), about.variances(contrasts) + residual
    remainder = whole - estimated
    known_variance = np.where(remainder > 1e-10 * whole, remainder, 0.0)  # a difference that is only rounding is none
    known_variance = np.where(np.isnan(remainder), np.nan, known_variance)
    extra = {} if residual_slopes is None else {"residual_slopes": residual_slopes}
    df = about.df(contrasts, residual=residual, taken_as_known=known_variance, **extra)
    return np.where((estimated <= 1e-10 * whole) & (whole > 0.0), np.inf, df).reshape(variances.shape)


def caption(design: Design, solution: PointSolution, ddf: str | None) -> str:
    """The method in words: ``Satterthwaite df``."""
    method = method_of(ddf)
    if method is None or solution.nodes:
        return "z"
    if not design.groups and design.family.residual_is_known:
        return "z tests, standard errors known"
    if not design.groups and design.residual is None:  # of ML the residual variance is RSS/n, and t not exact
        return "exact df" if solution.reml else "residual df"
    return f"{METHODS[method]} df"


def quantile(df: Any, ci_prob: float) -> Any:
    """The t with P(|T| < t) = ci_prob, of infinite degrees of freedom that of the normal distribution."""
    check_interval(ci_prob)
    df, p = np.asarray(df, dtype=float), 0.5 + ci_prob / 2.0
    endless = np.isinf(df)
    return np.where(endless, special.ndtri(p), special.stdtrit(np.where(endless, 1.0, df), p))


def _p_value(statistic: Array, df: Array) -> Array:
    endless, beyond = np.isinf(df), -np.abs(statistic)
    return 2.0 * np.where(endless, special.ndtr(beyond), special.stdtr(np.where(endless, 1.0, df), beyond))


def with_interval(table: pd.DataFrame, ci_prob: float) -> pd.DataFrame:
    """Add conf_low and conf_high to a table with estimate, std_error and df."""
    half = quantile(table["df"].to_numpy(dtype=float), ci_prob) * table["std_error"]
    return table.assign(conf_low=table["estimate"] - half, conf_high=table["estimate"] + half)


def with_tests(numbers: pd.DataFrame, ci_prob: float, adjust: str, *, null: float, verb: str) -> pd.DataFrame:
    """Add interval, statistic and p_value of a hypothesised number to estimate, std_error and df, of all rows at once.

    Of ratios, whose null is one, on the scale of their logarithm: there they are nearer to normal, and no end is
    negative.

    Raises
    ------
    InputError
        A method that needs to know more than the p-values.
    """
    if not is_one_of(adjust, ADJUSTMENTS):
        raise InputError(
            f"{verb}(adjust={adjust!r}): methods here are {', '.join(map(repr, ADJUSTMENTS))}; those for families of "
            "means are of means(...).pairs(adjust=...)"
        )
    estimate, error, df = (numbers[c].to_numpy(dtype=float) for c in ("estimate", "std_error", "df"))
    on_log = (estimate > 0.0) & (null == 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.where(on_log, np.log(estimate), estimate - null)
        spread = np.where(on_log, error / estimate, error)
        statistic = centre / spread
    nothing = np.empty((0, 0))  # correlations, for which none of these methods asks
    p, width = adjusted(statistic, df, adjust, n_means=len(df), correlation=nothing, ci_prob=ci_prob)
    if adjust == "none":
        width = quantile(df, ci_prob)
    with np.errstate(over="ignore"):
        low, high = (
            np.where(on_log, np.exp(np.where(on_log, end, 0.0)), end + null)
            for end in (centre - width * spread, centre + width * spread)
        )
    return numbers.assign(conf_low=low, conf_high=high, statistic=statistic, p_value=p)


def coefficients(design: Design, solution: PointSolution, ddf: str | None, ci_prob: float) -> pd.DataFrame:
    """The fixed effects: estimate, std_error, df, statistic, p_value (not of z) and interval."""
    check_interval(ci_prob)
    beta = coefficients_of(design, solution)
    fixed_effects, each = approximation(design, solution, ddf), np.eye(len(beta))
    se = np.sqrt(fixed_effects.variances(each))
    with np.errstate(divide="ignore", invalid="ignore"):  # a perfect fit has no errors
        statistic = beta / se
    df = fixed_effects.df(each)
    half = quantile(df, ci_prob) * se
    numbers = {"estimate": beta, "std_error": se, "df": df, "statistic": statistic}
    if method_of(ddf) is not None or solution.nodes:  # with z tests there is nothing that is not known
        numbers["p_value"] = _p_value(statistic, df)
    numbers |= {"conf_low": beta - half, "conf_high": beta + half}
    return pd.DataFrame(numbers, index=pd.Index(design.coefficient_labels, name="term"))


def coefficients_of(design: Design, solution: PointSolution) -> Array:
    """The fixed effects (p,): β̂, or the coefficients of all categories, one after the other."""
    return np.concatenate([solution.beta, *(solution.parameters[part.variable] for part in design.of_categories)])
