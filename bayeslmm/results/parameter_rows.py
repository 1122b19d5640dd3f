"""A parameter of the family at rows, in place of their response: predictions of it and effects on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator

from ..design.design import Design
from ..design.predictors import ParameterPart
from ..engine.laplace_fit import coefficient_covariance
from ..engine.randomness import generator
from ..errors import InputError, NotAvailableError
from ..families import LINKS
from ..tools.arrays import Array
from ..tools.frame import as_frame
from ..tools.words import is_one_of
from . import wald
from .draws import Draws
from .effects import Plan
from .estimates import Estimates
from .rows import PredictedRows, covariances_of_parameters, parameter_at
from .summaries import flat
from .targets import labelled, targets, warn_beyond

NUMBERS = 1_000_000  # that are held at a time
STEP = 1e-5  # of a difference, in standard errors of a coefficient


def check_parameter(design: Design, parameter: Any, verb: str) -> str:
    """Raise InputError unless it is a parameter of the family that is one number in a row."""
    family = design.family
    named = tuple(name for name in family.parameters if family.is_positive(name))
    if not is_one_of(parameter, named):
        known_names = f"it has {', '.join(named)}" if named else "it has none that rows have"
        raise InputError(
            f"{verb}(parameter={parameter!r}): {family.option} has no such parameter besides the mean; {known_names}"
        )
    return str(parameter)


def refuse_beside_parameter(**asked: tuple[Any, Any]) -> None:
    """Raise InputError for arguments (value, default) of predictions that are about responses."""
    for name, (value, default) in asked.items():
        if value is not default and value != default:
            raise InputError(f"predict(parameter=..., {name}={value!r}): {name}= is about responses. Leave one out.")


def part_of(design: Design, parameter: Any, verb: str) -> ParameterPart:
    """The linear predictor of a parameter; InputError where it is the same in all rows."""
    name = check_parameter(design, parameter, verb)
    if name not in design.predictors:
        raise InputError(
            f"{verb}(parameter={name!r}): {name} is the same in all rows of this model, so that nothing changes it; "
            f'{name}="~ x" of a model lets it differ'
        )
    return design.predictors[name]


# -- a posterior


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterRows:
    """A parameter at n rows under S draws: what effects average in place of responses."""

    predicted: PredictedRows

    @property
    def beta(self) -> Array:
        """The coefficients (S, p)."""
        return self.predicted.gamma

    def blocks(self) -> Iterator[slice]:
        """Slices of rows that are small enough to hold."""
        step = max(1, NUMBERS // len(self.beta))
        for first in range(0, len(self.predicted.X), step):
            yield slice(first, min(first + step, len(self.predicted.X)))

    def mean(self, rows: Any) -> Array:
        """The parameter (S, rows)."""
        return self.predicted.values(rows)


def rows_of_plan(
    fit: Draws, plan: Plan, parameter: Any, groups: str | Mapping[str, str], random_seed: int | None
) -> ParameterRows:
    """The rows of a plan's states."""
    part = part_of(fit.design, parameter, plan.verb)
    asked, rng = targets(fit.design, groups, plan.verb), generator(random_seed)
    return _rows(fit, part, pd.concat(plan.states), asked, rng, slice(None), repeated=plan.n)


def _rows(
    fit: Draws,
    part: ParameterPart,
    newdata: Any,
    asked: Mapping[str, str],
    rng: Generator,
    chosen: Any,
    repeated: int | None = None,
) -> ParameterRows:
    """A parameter with a linear predictor at rows, those of the fit if no others are given."""
    design = fit.design
    wanted = [name for name, target in asked.items() if target != "average"]
    if newdata is None:
        new = part.of_fit(design.index, wanted)
    else:
        new = part.at(design.frame, labelled(part.groups, as_frame(newdata), asked), wanted)
        warn_beyond(new)
    names = design.names.b
    predicted = parameter_at(
        part,
        new,
        asked,
        rng,
        gamma=flat(fit.draws(part.variable))[chosen],
        covariances=covariances_of_parameters(fit, chosen),
        effects=lambda name: flat(fit.draws(names[name]))[chosen],
        repeated=repeated,
    )
    return ParameterRows(predicted=predicted)


def predict_draws(
    fit: Draws,
    newdata: Any,
    parameter: Any,
    chosen: Any,
    asked: Mapping[str, str],
    rng: Generator,
    summarise: Callable[[Array], pd.DataFrame] | None,
) -> Any:
    """Draws (S, n) of a parameter at rows and their index, or summaries of them."""
    name = check_parameter(fit.design, parameter, "predict")
    index = fit.design.index if newdata is None else as_frame(newdata).index
    if name not in fit.design.predictors:
        values = np.broadcast_to(
            flat(fit.draws(name))[chosen][:, None], (len(flat(fit.draws(name))[chosen]), len(index))
        )
        return (values, index) if summarise is None else summarise(values[None]).set_axis(index)
    rows = _rows(fit, fit.design.predictors[name], newdata, asked, rng, chosen)
    if summarise is None:
        return rows.mean(slice(None)), index
    tables = [summarise(rows.mean(block)[None]) for block in rows.blocks()]
    return pd.concat(tables, ignore_index=True).set_axis(index)


# -- a point fit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linked:
    """A parameter of a point fit at rows: its coefficients (p,), their covariance, their columns (n, p), its link.

    ``offset`` (n,) is what is added to these.
    """

    gamma: Array
    covariance: Array
    X: Array
    link: str
    offset: Array | float = 0.0

    @classmethod
    def of(cls, fit: Estimates, parameter: Any, newdata: Any, verb: str) -> Linked:
        """At new rows, or at those of the fit.

        Raises
        ------
        NotAvailableError
            The sigma of a normal response, which is no part of a linear predictor.
        """
        design, solution = fit.design, fit.solution
        name = check_parameter(design, parameter, verb)
        if solution.nodes == 0:
            raise NotAvailableError(
                f"{verb}(parameter={name!r}) is for other than normal responses; their sds are in variance_components()"
            )
        link = design.family.parameter_link(name)
        if name in design.predictors:
            part = design.predictors[name]
            new = part.of_fit(design.index) if newdata is None else part.at(design.frame, newdata)
            covariance = coefficient_covariance(design, solution, part.variable)
            gamma = solution.parameters[part.variable]
            return cls(gamma=gamma, covariance=covariance, X=new.X, link=link, offset=new.offset)
        n = design.n if newdata is None else len(as_frame(newdata))
        gamma = np.atleast_1d(LINKS[link].to_eta(np.asarray(solution.parameters[name])))
        error = np.atleast_1d(solution.parameter_errors[name])
        return cls(gamma=gamma, covariance=error[:, None] ** 2, X=np.ones((n, 1)), link=link)

    def values(self, gamma: Array) -> Array:
        """The parameter (n,)."""
        return LINKS[self.link].to_mean(self.X @ gamma + self.offset)


def predict(fit: Estimates, newdata: Any, parameter: Any, interval: str | None, ci_prob: float) -> Any:
    """Estimates of a parameter at rows, with Wald intervals in its link if asked for."""
    linked = Linked.of(fit, parameter, newdata, "predict")
    index = fit.design.index if newdata is None else as_frame(newdata).index
    estimate = linked.values(linked.gamma)
    if interval is None:
        return pd.Series(estimate, index=index, name=str(parameter))
    link, eta = LINKS[linked.link], linked.X @ linked.gamma + linked.offset
    error = np.sqrt(np.maximum(np.einsum("na,ab,nb->n", linked.X, linked.covariance, linked.X), 0.0))
    table = wald.with_interval(pd.DataFrame({"estimate": eta, "std_error": error, "df": np.inf}), ci_prob)
    ends = {name: link.to_mean(table[name].to_numpy()) for name in ("conf_low", "conf_high")}
    table = table.assign(estimate=estimate, std_error=error * np.abs(link.slope(eta)), **ends, interval=interval)
    return table.set_axis(index)


def by_delta(fit: Estimates, plan: Plan, parameter: Any, ci_prob: float, adjust: str = "none") -> pd.DataFrame:
    """Estimates of a plan's numbers with standard errors by the delta method."""
    part_of(fit.design, parameter, plan.verb)
    linked = Linked.of(fit, parameter, pd.concat(plan.states), plan.verb)
    n, weights = plan.n, plan.means.T.tocsr()

    def numbers(gamma: Array) -> Array:
        values = linked.values(gamma).reshape(len(plan.states), n)
        if plan.is_ratio:
            parts = [(weights @ values[high], weights @ values[low]) for _, high, low in plan.pairs]
            return np.concatenate([plan.scaled(top)[0] / plan.scaled(bottom)[0] for top, bottom in parts])
        return np.concatenate([weights @ ((values[high] - values[low]) / plan.width) for _, high, low in plan.pairs])

    steps = STEP * np.sqrt(np.diag(linked.covariance))
    moved = [numbers(linked.gamma + step) - numbers(linked.gamma - step) for step in np.diag(steps)]
    gradient = np.column_stack(moved) / (2.0 * np.maximum(steps, 1e-300))
    error = np.sqrt(np.maximum(np.einsum("na,ab,nb->n", gradient, linked.covariance, gradient), 0.0))
    table = pd.DataFrame({"estimate": numbers(linked.gamma), "std_error": error, "df": np.inf})
    return plan.table().join(wald.with_tests(table, ci_prob, adjust, null=plan.null, verb=plan.verb))
