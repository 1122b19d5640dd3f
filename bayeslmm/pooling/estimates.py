"""The coefficients of every level without, with complete and with partial pooling, as the same linear map of each fit.

X = Z A_level + X_common M within the rows of a level (docs/pooling.md), so that A_level β is what the fixed part brings
to a level's coefficients and Mβ what is left for all levels together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design, GroupTerm
from ..engine import pooling as engine
from ..engine import reml, unpenalised
from ..engine.loo import Hyperdraws
from ..engine.scaling import Problem
from ..engine.working import working
from ..results import wald
from ..results.alike import agreed, rivals_of
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.summaries import flat, interval
from ..results.tables import level_table
from ..results.variance import nesting
from ..tools.arrays import Array

MOST_DRAWS, FEWEST_DRAWS = 1000, 50  # whose shrinkage is computed
MOST_MODES = 200  # whose modes are searched for that, of other than normal responses
WORK = 50e9  # multiplications that the dense part of all of them may take


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footing:
    """One grouping factor of a model, and what the fits are compared on."""

    design: Design
    term: GroupTerm
    factor: int
    problem: Problem
    complete: engine.Regression
    unpooled: engine.Unpooled
    outer: tuple[tuple[int, NDArray[np.int64], Array], ...]  # of factors that this one is nested in: k, levels, B

    @classmethod
    def of(cls, design: Design, group: str | None) -> Footing:
        """The footing of a grouping factor.

        Raises
        ------
        InputError
            No such factor, or several and none is named.
        NotAvailableError
            Terms whose rows do not belong to one level each.
        FitError
            There is no fit without pooling.
        """
        term = design.group(group)
        problem = Problem.of(design)
        problem.refuse_wide("A comparison of pooling")
        names = [g.name for g in design.groups]
        factor, outer = names.index(term.name), []
        first = np.unique(term.codes, return_index=True)[1]
        for name in nesting(design)[term.name]:
            k = names.index(name)
            B = engine.absorbed(problem, factor, problem.Z[k])
            if np.any(B):
                outer.append((k, problem.codes[k][first], B))
        return cls(
            design=design,
            term=term,
            factor=factor,
            problem=problem,
            complete=complete_fit(design),
            unpooled=unpooled_fit(design, factor),
            outer=tuple(outer),
        )

    @property
    def common(self) -> list[str]:
        """Names of the fixed effects that all levels share."""
        return [name for name, is_common in zip(self.design.x_names, self.unpooled.common, strict=True) if is_common]

    @property
    def levels_sum_to_zero(self) -> bool:
        """Whether cutpoints stand in place of what the levels of the fit without pooling share."""
        return self.design.family.has_cutpoints and bool(np.any(self.absorbed_intercept))

    @property
    def absorbed_intercept(self) -> Array:
        """Coefficients (J, q) whose columns add to one in every row; zero if there are none."""
        return engine.absorbed(self.problem, self.factor, np.ones((self.design.n, 1)))[:, :, 0]

    def fixed(self, beta: Array) -> Array:
        """A_level β (..., J, q) for β (..., p)."""
        return np.einsum("jqp,...p->...jq", self.unpooled.A, beta)

    def from_outer(self, effects: Callable[[int], Array]) -> Array | float:
        """What the effects (..., J_k, q_k) of the factors that this one is nested in bring to its levels."""
        parts = (np.einsum("jqr,...jr->...jq", B, effects(k)[..., levels, :]) for k, levels, B in self.outer)
        return sum(parts, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """Coefficients of every level (J, q), those that all share (c,), and the ends of their intervals."""

    value: Array
    low: Array
    high: Array
    common: Array
    common_low: Array
    common_high: Array
    toward: Array  # (J, q) what the levels are pulled to; their own value where nothing pulls


def complete_fit(design: Design) -> engine.Regression:
    """One regression for all rows: least squares, or maximum likelihood of a response that is not normal."""
    if design.family.is_normal:
        return engine.least_squares(Problem.of(design))
    design.refuse_wide("A comparison of pooling")
    return unpenalised.complete(design)


def unpooled_fit(design: Design, factor: int) -> engine.Unpooled:
    """Coefficients for every level of a factor."""
    if design.family.is_normal:
        return engine.unpooled(Problem.of(design), factor)
    design.refuse_wide("A comparison of pooling")
    return unpenalised.unpooled(design, factor)


def observed_of(design: Design) -> Array:
    """What expected responses stand beside (n,): a normal response, or the log of one, less the offset; a share."""
    if design.family.is_normal:
        return design.normal_response
    return np.asarray(design.y if design.trials is None else design.y / design.trials, dtype=float)


def expected_of(design: Design, eta: Array, parameters: Mapping[str, Any]) -> Array:
    """The same by linear predictors (n,) that the offset is not in."""
    if design.family.is_normal:
        return eta
    values = {name: np.asarray(value) for name, value in parameters.items()}
    return design.family.expected(eta + design.offset, values, design.weights)


def _around(
    value: Array,
    variance: Array,
    common: Array,
    common_variance: Array,
    width: Array | float,
    toward: Array,
    common_width: Array | float | None = None,
) -> Estimates:
    half = width * np.sqrt(np.maximum(variance, 0.0))
    common_half = (width if common_width is None else common_width) * np.sqrt(np.maximum(common_variance, 0.0))
    return Estimates(
        value=value,
        low=value - half,
        high=value + half,
        toward=toward,
        common=common,
        common_low=common - common_half,
        common_high=common + common_half,
    )


def _width(fit: engine.Unpenalised, ci_prob: float) -> float:
    """Half of an interval in standard errors: of the normal distribution where σ is known, or there is none."""
    return float(wald.quantile(fit.df, ci_prob)) if np.isfinite(fit.df) or fit.df == np.inf else float("nan")


def complete(footing: Footing, ci_prob: float) -> Estimates:
    """One regression for all rows, t or normal intervals."""
    whole = footing.complete
    A, M = footing.unpooled.A, footing.unpooled.M
    vcov, beta = whole.sigma**2 * whole.vcov, np.nan_to_num(whole.beta)
    value, common = footing.fixed(beta), M @ beta
    if whole.separated.any():  # what hangs on coefficients without an estimate has none
        value = np.where(A[:, :, whole.separated].any(axis=2), np.nan, value)
        common = np.where(M[:, whole.separated].any(axis=1), np.nan, common)
    return _around(
        value,
        np.einsum("jqa,ab,jqb->jq", A, vcov, A),
        common,
        np.einsum("ca,ab,cb->c", M, vcov, M),
        _width(whole, ci_prob),
        value,
    )


def none(footing: Footing, ci_prob: float) -> Estimates:
    """Every level by itself; t intervals with one residual variance of all levels, or normal ones."""
    unpooled = footing.unpooled
    variance = unpooled.sigma**2 * np.diagonal(unpooled.vcov, axis1=1, axis2=2)
    shared = unpooled.sigma**2 * np.diag(unpooled.shared_vcov)
    variance = np.where(np.isfinite(unpooled.coefficients), variance, np.nan)
    return _around(
        unpooled.coefficients, variance, unpooled.shared, shared, _width(unpooled, ci_prob), unpooled.coefficients
    )


def by_point(footing: Footing, fit: PointFit, ci_prob: float) -> Estimates:
    """REML or ML: fixed part and conditional modes, t intervals by the prediction error (docs/theory.md, 9.8)."""
    k, (problem, solution) = footing.factor, working(fit.design, fit.solution)
    modes, vcov = solution.modes, solution.vcov
    toward = footing.fixed(solution.beta) + footing.from_outer(lambda other: modes[other])
    slopes = reml.mode_slopes(problem, solution)
    reach = footing.unpooled.A + slopes[k] + sum(np.matmul(B, slopes[o][levels]) for o, levels, B in footing.outer)
    if footing.outer:
        J, q = toward.shape
        itself = (k, np.arange(J), np.broadcast_to(np.eye(q), (J, q, q)))
        given_beta = engine.combined_variances(problem, solution, [itself, *footing.outer])
    else:
        given_beta = np.diagonal(solution.mode_covariances[k], axis1=1, axis2=2)
    M, approximation = footing.unpooled.M, wald.approximation(fit.design, fit.solution, wald.DDF)
    variances = given_beta + np.einsum("jqa,ab,jqb->jq", reach, vcov, reach)
    common, shared = M @ solution.beta, approximation.variances(M)
    width = wald.quantile(wald.df_of_sums(approximation, reach, variances), ci_prob)
    shared_width = wald.quantile(approximation.df(M), ci_prob)
    return _around(toward + modes[k], variances, common, shared, width, toward, shared_width)


def by_posterior(footing: Footing, fit: PosteriorFit, ci_prob: float) -> Estimates:
    """Posterior means and equal-tailed intervals of the same numbers."""
    groups, names = footing.design.groups, fit.design.names
    beta = fit.values.beta
    toward = footing.fixed(beta) + footing.from_outer(lambda other: fit.draws(names.b[groups[other].name]))
    drawn = toward + fit.draws(names.b[footing.term.name])
    J, q = drawn.shape[-2:]
    levels = fit.summarise(drawn.reshape(*drawn.shape[:2], J * q), ci_prob, "eti")
    common = fit.summarise(np.einsum("cp,...p->...c", footing.unpooled.M, beta), ci_prob, "eti")
    value, low, high = (levels[c].to_numpy().reshape(J, q) for c in ("mean", "conf_low", "conf_high"))
    return Estimates(
        value=value,
        low=low,
        high=high,
        toward=toward.mean(axis=(0, 1)),
        common=common["mean"].to_numpy(),
        common_low=common["conf_low"].to_numpy(),
        common_high=common["conf_high"].to_numpy(),
    )


# -- how far


def open_shares_at(footing: Footing, fit: PointFit) -> Array:
    """Var(b_jk | y, β̂, Σ̂, σ̂) / Σ̂_kk (J, q); 1 where the variance is zero."""
    k = footing.factor
    left = np.diagonal(fit.solution.mode_covariances[k], axis1=1, axis2=2)
    prior = np.diag(fit.solution.covariances[k])
    return np.where(prior > 0.0, left / np.where(prior > 0.0, prior, 1.0), 1.0)


def open_shares_of(footing: Footing, fit: PosteriorFit) -> tuple[Array, Array]:
    """The same for draws of the posterior (S, J, q), evenly chosen, and the traces of their hat matrices (S,)."""
    values, total, is_normal = fit.values, fit.n_chains * fit.n_draws, footing.design.family.is_normal
    sizes = [group.n_levels * group.q for group in footing.design.groups]
    dense = sum(sizes) - max(sizes)
    largest = int(np.clip(WORK / max(dense, 1) ** 3, FEWEST_DRAWS, MOST_DRAWS if is_normal else MOST_MODES))
    chosen = np.linspace(0, total - 1, min(largest, total)).astype(np.int64)
    if not is_normal:
        return unpenalised.open_shares(
            footing.design,
            flat(values.beta)[chosen],
            [flat(covariance)[chosen] for covariance in values.covariances],
            np.concatenate(
                [
                    np.zeros((len(chosen), 0)),
                    *(_columns(flat(values.family[parameter])[chosen]) for parameter in _parameters(footing)),
                ],
                axis=1,
            ),
            footing.factor,
        )
    draws = Hyperdraws(
        sigma=np.ascontiguousarray(flat(values.family["sigma"])[chosen]),
        covariances=tuple(flat(covariance)[chosen] for covariance in values.covariances),
        beta=flat(values.beta)[chosen],
        prior=None,
    )
    return engine.open_shares(footing.problem, draws, footing.factor)


def _parameters(footing: Footing) -> tuple[str, ...]:
    return footing.design.family.every_parameter


def _columns(values: Array) -> Array:
    """Draws (S,) or (S, r) as (S, r)."""
    return values.reshape(len(values), -1)


def pooling_factors(footing: Footing, fit: PosteriorFit) -> Array:
    """1 − Var_j(E b_j) / E Var_j(b_j) per term (q,) (Gelman & Pardoe 2006)."""
    b = flat(fit.draws(fit.design.names.b[footing.term.name]))
    return 1.0 - b.mean(axis=0).var(axis=0, ddof=1) / b.var(axis=1, ddof=1).mean(axis=0)


def moved(unpooled: Estimates, unpooled_se: Array, partial: Estimates) -> Array:
    """1 − b_partial / b_none (J, q): the share of the way from a level's own fit to what it is pulled to.

    Missing where the two are less than a standard error of the own fit apart: a ratio of noise to noise.
    """
    gap = unpooled.value - partial.toward
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.abs(gap) >= unpooled_se, (unpooled.value - partial.value) / gap, np.nan)


# -- as tables


def together(
    footing: Footing, reml: PointFit | None, post: PosteriorFit | None, ci_prob: float
) -> dict[str, pd.DataFrame]:
    """The tables of :class:`bayeslmm.pooling.pooling.Pooling`: levels, common, terms and fits."""
    unpooled, whole = footing.unpooled, footing.complete
    summaries = {
        "complete": _Summary(estimates=complete(footing, ci_prob), fit=_counted(whole)),
        "none": _Summary(estimates=none(footing, ci_prob), fit=_counted(unpooled)),
    }
    if reml is not None:
        summaries["reml"] = _by_point(footing, reml, ci_prob)
    if post is not None:
        summaries["posterior"] = _by_posterior(footing, post, ci_prob)
    shrinkage = {name: values for summary in summaries.values() for name, values in summary.shrinkage.items()}
    if reml is not None or post is not None:
        partial = summaries["reml" if reml is not None else "posterior"].estimates
        unpooled_se = unpooled.sigma * np.sqrt(np.diagonal(unpooled.vcov, axis1=1, axis2=2))
        shrinkage["moved"] = moved(summaries["none"].estimates, unpooled_se, partial)
    terms = {name: values for summary in summaries.values() for name, values in summary.terms.items()}
    numbers = {name: summary.estimates for name, summary in summaries.items()}
    return {
        "levels": _levels(footing, numbers, shrinkage),
        "common": _common(footing, numbers),
        "terms": pd.DataFrame(terms, index=pd.Index(footing.term.columns, name="term")),
        "fits": pd.DataFrame({name: summary.fit for name, summary in summaries.items()}).T.rename_axis("pooling"),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Summary:
    """What one kind of pooling says."""

    estimates: Estimates
    fit: dict[str, float]  # columns of ``Pooling.fits``
    shrinkage: dict[str, Array] = field(default_factory=dict)  # (J, q) by column of the table
    terms: dict[str, Array] = field(default_factory=dict)  # (q,) by column of ``Pooling.terms``


def _counted(fit: engine.Unpenalised) -> dict[str, float]:
    return {"parameters": float(fit.rank), **scalars(fit.parameters)}


def scalars(parameters: Mapping[str, Array]) -> dict[str, float]:
    """The family's parameters that are one number each: all but cutpoints."""
    return {name: float(value) for name, value in parameters.items() if np.ndim(value) == 0}


def _by_point(footing: Footing, fit: PointFit, ci_prob: float) -> _Summary:
    summary = _at_estimates(footing, fit, ci_prob)
    for rival in rivals_of(fit):
        other = _at_estimates(footing, rival, ci_prob)
        summary = _Summary(
            estimates=Estimates(**agreed(_arrays(summary.estimates), _arrays(other.estimates))),
            fit=summary.fit,
            shrinkage=agreed(summary.shrinkage, other.shrinkage),
            terms=agreed(summary.terms, other.terms),
        )
    return summary


def _arrays(estimates: Estimates) -> dict[str, Array]:
    return {field.name: getattr(estimates, field.name) for field in fields(estimates)}


def _at_estimates(footing: Footing, fit: PointFit, ci_prob: float) -> _Summary:
    shares = open_shares_at(footing, fit)
    sds = np.sqrt(np.diag(fit.solution.covariances[footing.factor]))
    return _Summary(
        estimates=by_point(footing, fit, ci_prob),
        fit={
            "parameters": engine.hat_trace(*working(fit.design, fit.solution)),
            **scalars({name: np.asarray(value) for name, value in fit.solution.parameters.items()}),
        },
        shrinkage={"shrinkage_reml": shares},
        terms={"sd_reml": sds, "shrinkage_reml": shares.mean(axis=0)},
    )


def _by_posterior(footing: Footing, fit: PosteriorFit, ci_prob: float) -> _Summary:
    shares, traces = open_shares_of(footing, fit)
    on_average = shares.mean(axis=1)
    low, high = (ends.reshape(shares.shape[1:]) for ends in interval(shares.reshape(len(shares), -1), ci_prob))
    mean_low, mean_high = interval(on_average, ci_prob)
    fewest, most = interval(traces[:, None], ci_prob)
    return _Summary(
        estimates=by_posterior(footing, fit, ci_prob),
        fit={
            "parameters": float(traces.mean()),
            "parameters_low": float(fewest[0]),
            "parameters_high": float(most[0]),
            **scalars({name: flat(draws).mean(axis=0) for name, draws in fit.values.family.items()}),
        },
        shrinkage={"shrinkage": shares.mean(axis=0), "shrinkage_low": low, "shrinkage_high": high},
        terms={
            "sd_posterior": fit.draws(fit.design.names.sd[footing.term.name]).mean(axis=(0, 1)),
            "shrinkage": on_average.mean(axis=0),
            "shrinkage_low": mean_low,
            "shrinkage_high": mean_high,
            "pooling_factor": pooling_factors(footing, fit),
        },
    )


def _levels(footing: Footing, estimates: dict[str, Estimates], shrinkage: dict[str, Array]) -> pd.DataFrame:
    numbers: dict[str, Array] = {}
    for name, of_kind in estimates.items():
        numbers |= {name: of_kind.value, f"{name}_low": of_kind.low, f"{name}_high": of_kind.high}
    term = footing.term
    table = level_table(term.name, term.levels, term.columns, **numbers, **shrinkage)
    rows = np.bincount(term.codes, minlength=term.n_levels)
    table.insert(2, "n", np.repeat(rows, term.q))
    return table


def _common(footing: Footing, estimates: dict[str, Estimates]) -> pd.DataFrame:
    numbers: dict[str, Array] = {}
    for name, of_kind in estimates.items():
        numbers |= {name: of_kind.common, f"{name}_low": of_kind.common_low, f"{name}_high": of_kind.common_high}
    return pd.DataFrame(numbers, index=pd.Index(footing.common, name="term"))
