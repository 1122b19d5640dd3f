"""What all estimates that are as good say alike; the rest is missing (docs/theory.md, section 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..design.identification import (
    by_form_alone,
    combination_names,
    limits_of,
    refuse_untold_residual,
    untold_residual,
    words_of,
)
from ..engine import reml as engine
from ..engine.reml import PointSolution
from ..engine.ridge import UntoldResidualError, UntoldVariancesError
from ..engine.scaling import Problem
from ..engine.separation import constant_levels
from ..engine.sums import rows_of
from ..errors import UnidentifiedTermError
from ..tools.arrays import Array
from ..tools.lazy import Later
from .estimates import Estimates
from .monte_carlo import in_words
from .progress import Passing
from .text import number

if TYPE_CHECKING:
    from ..engine import agq, iterative_fit, laplace_fit
else:
    agq, iterative_fit = Later("bayeslmm.engine.agq"), Later("bayeslmm.engine.iterative_fit")
    laplace_fit = Later("bayeslmm.engine.laplace_fit")

# rivals are far apart on the ridge and agree to rounding in what is told; df come from differences of gradients
RELATIVE, OF_DF = 1e-4, 0.02
BLURRED = 10.0  # variance of an effect given the data, over its own
LARGE_SD = 15.0  # of effects in units of a link
FAR_OFF = 0.5  # of a log likelihood, between rules
FROM_DF = ("df", "p_value", "conf_low", "conf_high")


def estimated(design: Design, *, reml: bool, nodes: int | None = 1, probes: int | None = None) -> PointSolution:
    """Estimates, with others beside them that are as good; of other than normal responses by so many nodes.

    By elimination, or with random probes by the iterative solver; by default where the rest of it would not fit.

    Raises
    ------
    UnidentifiedTermError
        A variance cannot be told from that of the residual.
    NotAvailableError
        A parameter of the family has effects of its own; the iterative solver cannot take the model.
    """
    design.refuse_point_fit()
    for part in design.of_categories[:1]:  # which all have the same bars
        refuse_untold_residual(design.for_category(part))
    try:
        if not design.family.has_reml:
            with watched(design):
                solution = agq.estimates(design, restricted=reml, nodes=nodes)
            looked_at = not reml and agq.is_looked_at(design) and solution.status in ("converged", "boundary")
            off = (looked_at and agq.error(design, solution)) or 0.0
            if not np.isfinite(off):  # as where a curvature is next to zero, which spreads the nodes over all numbers
                solution, off = replace(solution, status="failed"), 0.0
            solution = replace(solution, rule_error=off)
            return agq.with_rivals(design, solution)
        problem = Problem.of(design)
        if probes is None:
            probes = iterative_fit.PROBES if iterative_fit.is_too_large(problem) else 0
        fit = partial(iterative_fit.fit, probes=probes) if probes else engine.fit
        return fit(problem, reml=reml, judged=True)
    except UntoldResidualError as untold:
        raise UnidentifiedTermError(untold_residual(untold.identified, design)) from None
    except UntoldVariancesError as untold:
        subject = "By the iterative solver" if probes else "With a covariance structure other than us and diag"
        raise UnidentifiedTermError(
            f"the data do not tell all variances: {words_of(untold.identified, design)}. {subject} no estimate "
            "stands for all that are as good: leave out a term, or take the posterior (model.fit()), whose priors "
            "tell the rest."
        ) from None


@contextmanager
def watched(design: Design) -> Iterator[None]:
    """A bar for the passes over rows on disk; none for rows in memory."""
    rows = rows_of(design)
    if rows is None:
        yield
        return
    before = rows.report
    with Passing("Fitting", rows.n, show=rows.is_shown) as passing:
        rows.report = passing.add
        try:
            yield
        finally:
            rows.report = before


def solved(design: Design, like: PointSolution, *, reml: bool) -> PointSolution:
    """Estimates of a design by the method of a solution, without others beside them."""
    if like.nodes:
        nodes = like.nodes if agq.has_rule(design, like.nodes) else 1  # without groups there is nothing to integrate
        return agq.estimates(design, restricted=reml, nodes=nodes)
    problem = Problem.of(design)
    if like.probes and not iterative_fit.why_not(problem):  # of one factor elimination leaves nothing dense
        return iterative_fit.fit(problem, reml=reml, probes=like.probes)
    return engine.fit(problem, reml=reml)


def told_alike[Record: Estimates, **P, R](
    verb: Callable[Concatenate[Record, P], R],
) -> Callable[Concatenate[Record, P], R]:
    """A verb whose numbers are missing where estimates that are as good give others."""

    @wraps(verb)
    def alone(fit: Record, *args: P.args, **options: P.kwargs) -> R:
        value = verb(fit, *args, **options)
        for rival in rivals_of(fit):
            value = cast(R, agreed(value, verb(rival, *args, **options)))
        return value

    return cast(Callable[Concatenate["Record", P], R], alone)


def rivals_of[Record: Estimates](fit: Record) -> list[Record]:
    """The fit at the other estimates."""
    return [replace(fit, solution=rival) for rival in fit.solution.rivals]


def agreed(one: Any, other: Any) -> Any:
    """A table, series, array or mapping of them without what another one of its kind says differently."""
    if isinstance(one, pd.DataFrame):
        columns = {
            column: agreed_numbers(
                one[column].to_numpy(), other[column].to_numpy(), OF_DF if column in FROM_DF else RELATIVE
            )
            for column in one.columns
            if one[column].dtype.kind == "f"
        }
        return one.assign(**columns)
    if isinstance(one, pd.Series):
        numbers = agreed_numbers(one.to_numpy(), other.to_numpy())
        return pd.Series(numbers, index=one.index, name=one.name)
    if isinstance(one, Mapping):
        return {name: agreed(value, other[name]) for name, value in one.items()}
    if isinstance(one, np.ndarray):
        return agreed_numbers(one, other)
    return one


def agreed_numbers(one: Array, other: Array, tolerance: float = RELATIVE) -> Array:
    """Numbers where the others are the same, else NaN; next to zero in units of the largest."""
    size = np.abs(np.concatenate([one.reshape(-1), other.reshape(-1)]))
    largest = float(np.max(size, where=np.isfinite(size), initial=0.0))
    scale = np.maximum(np.maximum(np.abs(one), np.abs(other)), 1e-3 * largest)
    with np.errstate(invalid="ignore"):
        return np.where((one == other) | (np.abs(one - other) <= tolerance * scale), one, np.nan)  # also where infinite


def without(value: Any, missing: NDArray[np.bool_]) -> Any:
    """A table (rows, ...) or draws (draw, rows) with NaN for some of the rows."""
    if isinstance(value, pd.DataFrame):
        numbers = value.select_dtypes("float").columns
        return value.assign(**{number: np.where(missing, np.nan, value[number].to_numpy()) for number in numbers})
    return value.copy(data=np.where(missing, np.nan, value.to_numpy()))


VERDICTS = {
    "converged": "converged",
    "boundary": "boundary (singular) fit: a variance is zero or a correlation is ±1",
    "unidentified": "not identified: the data do not tell all variances",
    "separated": "separated: the likelihood rises without bound",
    "failed": "failed: the optimiser stopped away from a stationary point; do not use these numbers",
}


def verdict(fit: Estimates) -> str:
    """Whether the search ended at an optimum, and what the data do not tell, in words."""
    details, solution = told_of(fit), fit.solution
    if solution.status == "separated":
        details = _separation(fit)
    elif solution.status == "failed":
        details = _why_failed(fit)
    elif solution.limits and solution.status == "boundary":
        limits = [_limit(name, fit.design) for name in solution.limits]
        details = ", and ".join(limits)
    elif solution.limits and solution.status == "unidentified":
        details += "".join(f"; {_limit(name, fit.design)}" for name in solution.limits)
    words = VERDICTS[solution.status] + (f": {details}" if details else "")
    if solution.limits and solution.status == "boundary" and not fit.is_singular:
        words = f"boundary fit: {details}"
    if abs(solution.rule_error) > FAR_OFF:
        rule = "Laplace's approximation" if solution.nodes == 1 else f"quadrature with {solution.nodes} nodes"
        more = next((k for k in (9, 25, 45) if k > solution.nodes), 2 * solution.nodes + 1)
        way = "higher" if solution.rule_error > 0.0 else "lower"
        words += (
            f". But {rule} is off: a fine rule gives a log-likelihood {way} by "
            f"{abs(solution.rule_error):.2f} at these estimates. Take fit_ml(nAGQ={more})"
        )
    alone = by_form_alone(fit.design)
    if alone and solution.status in ("converged", "boundary", "unidentified"):
        words += f". {alone}: take their sum as known, and each as a guess"
    by_chance = in_words(fit)
    return f"{words}. {by_chance}" if by_chance else words


def _why_failed(fit: Estimates) -> str:
    """What a search came to no rest for, where that is seen; empty elsewhere."""
    design = fit.design
    if design.family.has_reml:
        return ""
    of_offset = laplace_fit.spread_of_offset(design)
    far = [] if design.family.is_on_response_scale else _large_sds(fit)
    limits = [_limit(name, design) for name in fit.solution.limits]
    if limits and not of_offset:
        return f"{' and '.join(limits)}. Take that family"
    flat = [] if of_offset else _without_curvature(fit)
    if flat:
        return (
            f"effects of {' and '.join(flat)} are less certain given the data than without. The log density of "
            f"{design.family} is not concave in them, and Laplace's approximation grows without bound where its "
            "curvature goes to zero, so that it has no maximum. Take another family, or fit()"
        )
    if far and not of_offset:
        return (
            f"{' and '.join(far)} on the scale of the {design.family.link} link: nearly all levels have responses of "
            "one end alone, which any larger sd explains as well"
        )
    return of_offset


def _without_curvature(fit: Estimates) -> list[str]:
    """Factors with levels whose conditional variances are far above the effects' own: of no log-concave density."""
    solution, names = fit.solution, []
    for group, covariance, of_modes in zip(
        fit.design.every_group, solution.covariances, solution.mode_covariances, strict=True
    ):
        largest = np.diagonal(of_modes, axis1=1, axis2=2).max(axis=0, initial=0.0)
        if (largest > BLURRED * np.diag(covariance)).any():
            names.append(group.name)
    return names


def _large_sds(fit: Estimates) -> list[str]:
    """Factors whose effects on the scale of a link are larger than any response tells, with their sds."""
    sds = [float(np.sqrt(np.diag(covariance).max())) for covariance in fit.solution.covariances]
    groups = zip(fit.design.every_group, sds, strict=True)
    return [f"effects of {group.name} have an sd of {number(sd)}" for group, sd in groups if sd > LARGE_SD]


def _limit(name: str, design: Design) -> str:
    family, limits = design.family, limits_of(design)
    if name not in limits:
        return (
            f"{name} goes to zero, where the random effects are all that varies. That printed is where the search ended"
        )
    most = "one" if family.is_probability(name) else "infinity"
    return f"{name} goes to {'zero' if family.goes_to_zero(name, design.y) else most}, where {limits[name]}"


def _separation(fit: Estimates) -> str:
    """What is infinite, and why."""
    direction, design = fit.solution.separation, fit.design
    labels = {label for part in design.predictors.values() for label in part.labels}
    infinite = [name for name in fit.solution.limits if name in labels]
    if not len(direction) and not infinite:
        factors = list(design.factors) if design.of_categories else [group.name for group in design.groups]
        names = ", ".join(factors[k] for k in constant_levels(design))
        return (
            f"every level of {names} has one response only, so that its sd is infinite. That printed is where the "
            "search stopped. Leave the term out, or take a prior: fit()"
        )
    fixed = design.coefficient_labels
    of_mean = [name for name, d in zip(fixed, direction, strict=True) if d != 0.0] if len(direction) else []
    named = [
        name
        for names, intercepts in (
            (of_mean, {"Intercept", *(f"{part.parameter}_Intercept" for part in design.of_categories)}),
            (infinite, {f"{predictor}_Intercept" for predictor in design.predictors}),
        )
        for name in [n for n in names if n not in intercepts] or names
    ]
    return (
        f"separation of {', '.join(named)}. The estimate and its error are infinite, and those printed where the "
        "search stopped. Join categories, leave the predictor out, or take a prior: fit()"
    )


def told_of(fit: Estimates) -> str:
    """What is known of the variances that the data do not tell, in words; empty where they tell all."""
    untold = fit.solution.untold
    if untold is None:
        return ""
    values = [f" = {number(value)}" for value in combinations_of(fit).values()]
    return words_of(untold, fit.design, values)


def combinations_of(fit: Estimates) -> dict[str, float]:
    """The combinations of variances that the data tell of those that they do not, by their names."""
    untold, covariances = fit.solution.untold, fit.solution.covariances
    if untold is None:
        return {}
    combinations = untold.combinations()
    names = combination_names(combinations, fit.design)
    return {
        name: float(sum(w * covariances[k][a, b] for (k, a, b), w in combination.items()))
        for name, combination in zip(names, combinations, strict=True)
    }
