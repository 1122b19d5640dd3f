"""Numbers of comparisons and slopes: of a posterior by its draws, of a point fit by the errors of β̂ and b̂.

A posterior predicts every state of a plan with the same draws, those of new groups included; a point fit has exact
linear combinations of β̂ and b̂.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..design.newdata import NewDesign
from ..engine.prediction import Errors
from ..engine.randomness import generator
from ..engine.working import working
from ..errors import NotEstimableWarning
from ..tools.arrays import Array
from ..tools.lazy import sparse
from ..tools.warned import warn
from . import wald
from .draws import Draws
from .effects import Plan
from .estimates import Estimates
from .moments import expected_over, keeps_mean
from .parameter_rows import rows_of_plan
from .quantities import Quantity
from .rows import rows_of
from .summaries import P_POSITIVE, check_interval, flat
from .targets import asked_rows, label_places, parts, target_columns, targets

# -- a posterior


def by_draws(
    fit: Draws,
    plan: Plan,
    groups: str | Mapping[str, str],
    *,
    draws: bool,
    random_seed: int | None,
    offset: Any,
    ci_prob: float | None,
    ci_kind: str | None,
) -> Any:
    """Draws of a plan's numbers, summarised."""
    design, asked, n = fit.design, targets(fit.design, groups, plan.verb), plan.n
    new = asked_rows(design, pd.concat(plan.states), asked, _repeated(design, plan, offset), estimable_only=False)
    rng = generator(random_seed)
    rows = rows_of(fit, new, asked, rng, trials=None, weights=None, repeated=n)
    values = _averages(rows, plan)
    ordinal = design.family.has_categories
    numbers = values.reshape(fit.n_chains, fit.n_draws, -1)
    targets_of = _whose(plan, new, asked, len(design.levels) if ordinal else 1)
    table = plan.table(design.levels if ordinal else ()).assign(**targets_of)
    missing = np.repeat(~_estimable(design, plan, new), len(design.levels) if ordinal else 1)
    quantity = Quantity(verb=plan.verb, name="comparison", labels=table, of=lambda _: numbers)
    if draws:
        return quantity.draws(np.where(missing, np.nan, numbers))
    summary = _summary(fit, plan, numbers, ci_prob, ci_kind)
    summary.loc[missing] = np.nan
    return table.join(summary)


def on_parameter(
    fit: Draws,
    plan: Plan,
    parameter: str,
    groups: str | Mapping[str, str],
    *,
    draws: bool,
    random_seed: int | None,
    ci_prob: float | None,
    ci_kind: str | None,
) -> Any:
    """The same of a parameter of the family in place of the response."""
    values = _averages(rows_of_plan(fit, plan, parameter, groups, random_seed), plan)
    numbers = values.reshape(fit.n_chains, fit.n_draws, -1)
    if draws:
        return Quantity(verb=plan.verb, name="comparison", labels=plan.table(), of=lambda _: numbers).draws(numbers)
    return plan.table().join(_summary(fit, plan, numbers, ci_prob, ci_kind))


def _summary(fit: Draws, plan: Plan, numbers: Array, ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    summary = fit.summarise(numbers, ci_prob, ci_kind).rename(columns={"mean": "estimate", "sd": "std_error"})
    summary[P_POSITIVE] = np.mean(flat(numbers) > plan.null, axis=0)
    return summary[["estimate", "std_error", "conf_low", "conf_high", P_POSITIVE]]


def _estimable(design: Design, plan: Plan, new: NewDesign) -> NDArray[np.bool_]:
    """Which numbers of a plan (pairs × averages,) follow from the fit; says so of those that do not.

    Where responses are linear in the coefficients, a difference may be estimable although its two sides are not.
    """
    aliases, n, G = design.recipe.aliases, plan.n, plan.means.shape[1]
    if not aliases.names:
        return np.ones(len(plan.pairs) * G, dtype=bool)
    linear = keeps_mean(design.family)
    weights = plan.means if plan.kind != "slope" else sparse.diags_array(1.0 / plan.width) @ plan.means
    means = weights.T.tocsr()
    rows = [slice(k * n, (k + 1) * n) for k in range(len(plan.states))]
    parts = []
    for _, high, low in plan.pairs:
        sides = [(new.X[rows[k]], new.aliased[rows[k]]) for k in (high, low)]
        if linear and not plan.is_ratio:
            (X, aliased), (X_low, aliased_low) = ((means @ X, means @ a) for X, a in sides)
            size = aliases.sizes(X, aliased) + aliases.sizes(X_low, aliased_low)
            parts.append(aliases.estimable(X - X_low, aliased - aliased_low, weight=0.0, size=size))
        elif linear:
            parts.append(np.all([aliases.estimable(means @ X, means @ a) for X, a in sides], axis=0))
        else:
            of_rows = np.all([aliases.estimable(X, a) for X, a in sides], axis=0)
            parts.append(abs(means) @ (~of_rows).astype(float) == 0.0)
    estimable = np.concatenate(parts)
    if not estimable.all():
        warn(aliases.words(int((~estimable).sum()), len(estimable), "number"), NotEstimableWarning)
    return np.asarray(estimable)


def _whose(plan: Plan, new: NewDesign, asked: Mapping[str, str], each: int = 1) -> dict[str, Any]:
    """Columns that say what a mixed target came to, of rows and points that are told one by one."""
    n = plan.n
    if plan.means.shape[1] != n or abs(plan.means - sparse.identity(n)).sum() > 0.0:
        return {}
    columns = target_columns(new, asked).items()
    return {name: np.repeat(np.tile(column[:n], len(plan.pairs)), each) for name, column in columns}


def _repeated(design: Design, plan: Plan, offset: Any) -> Any:
    """An offset given as an array, for all states; that of the fit for its own rows."""
    if offset is None and plan.own_rows and design.recipe.offset_given_as_array:
        offset = design.offset - design.at(design.frame, groups=[], offset=0.0).offset
    single = offset is None or isinstance(offset, str) or np.ndim(offset) == 0
    return offset if single else np.tile(np.asarray(offset, dtype=float), len(plan.states))


def _averages(rows: Any, plan: Plan) -> Array:
    """Draws (S, pairs × averages × categories), block by block of rows."""
    n, S = plan.n, len(rows.beta)
    step = max(1, -(-next(rows.blocks()).stop // len(plan.states)))
    top: dict[int, Any] = dict.fromkeys(range(len(plan.pairs)), 0.0)
    bottom = dict(top)
    for first in range(0, n, step):
        block = np.arange(first, min(first + step, n))
        means, width = plan.means[block].T, plan.width[block]
        states = [rows.mean(block + k * n) for k in range(len(plan.states))]
        for i, (_, high, low) in enumerate(plan.pairs):
            if plan.is_ratio:
                top[i] = top[i] + _weighted(means, states[high])
                bottom[i] = bottom[i] + _weighted(means, states[low])
            else:
                shape = (-1, *(1,) * (states[0].ndim - 2))
                top[i] = top[i] + _weighted(means, (states[high] - states[low]) / width.reshape(shape))
    parts = [plan.scaled(top[i])[0] / plan.scaled(bottom[i])[0] if plan.is_ratio else top[i] for i in top]
    return np.stack(parts, axis=1).reshape(S, -1)


def _weighted(means: Any, values: Array) -> Array:
    """Averages (S, G, ...) of values (S, rows, ...) by sparse weights (G, rows)."""
    S, rows, *other_axes = values.shape
    moved = np.moveaxis(values, 1, 0).reshape(rows, -1)
    return np.moveaxis((means @ moved).reshape(means.shape[0], S, *other_axes), 0, 1)


# -- a point fit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Linear:
    """G numbers offset + Xβ + Σ A_k b_k; new groups apart, whose b is on average zero."""

    offset: Array  # (G,)
    X: Array  # (G, p)
    observed: dict[int, Any]  # factor -> sparse (G, J q)
    new: dict[int, Any]

    def combined(self, a: Array, other: _Linear, b: Array) -> _Linear:
        """Number by number a·self + b·other."""
        A, B = sparse.diags_array(a), sparse.diags_array(b)
        return _Linear(
            offset=a * self.offset + b * other.offset,
            X=a[:, None] * self.X + b[:, None] * other.X,
            observed={k: (A @ self.observed[k] + B @ other.observed[k]).tocsr() for k in self.observed},
            new={k: (A @ self.new[k] + B @ other.new[k]).tocsr() for k in self.new},
        )


def by_delta(
    fit: Estimates,
    plan: Plan,
    groups: str | Mapping[str, str],
    *,
    offset: Any,
    ci_prob: float,
    ddf: str | None,
    adjust: str = "none",
) -> pd.DataFrame:
    """Estimates of a plan's numbers with standard errors, variances taken as known; ratios by the delta method."""
    check_interval(ci_prob)
    design, solution = fit.design, fit.solution
    design.refuse_nominal(
        f"{plan.verb}() of a point fit", "errors of several linear predictors move every probability. fit() has it"
    )
    asked, offsets = targets(design, groups, plan.verb), _repeated(design, plan, offset)
    new = asked_rows(design, pd.concat(plan.states), asked, offsets, estimable_only=False)
    if not keeps_mean(design.family):
        return _by_curved_delta(fit, plan, asked, new, ci_prob, ddf, adjust)
    states = _linear_states(design, plan, asked, new)
    approximation = wald.approximation(design, solution, ddf)
    errors = Errors.of(*working(design, solution), approximation.vcov)

    def value(of: _Linear) -> Array:
        eta = of.offset + of.X @ solution.beta
        for k, A in of.observed.items():
            eta = eta + A @ solution.modes[k].reshape(-1)
        return np.asarray(eta)

    estimates, deviations, dfs = [], [], []
    for _, high, low in plan.pairs:
        top, bottom = states[high], states[low]
        ones = np.ones(len(top.X))
        if plan.is_ratio:
            divisor = value(bottom)
            estimate = value(top) / divisor
            change = top.combined(ones / divisor, bottom, -estimate / divisor)
        else:
            change = top.combined(ones, bottom, -ones)
            estimate = value(change)
        variances = errors.of_combinations(change.X, list(change.observed.items()))
        for key, A in change.new.items():
            root = _root(solution.covariances[key])
            spread = A @ sparse.kron(sparse.identity(A.shape[1] // len(root)), root)
            variances = variances + np.asarray(spread.multiply(spread).sum(axis=1)).reshape(-1)
        reach = errors.reach_of_combinations(change.X, list(change.observed.items()))
        estimates.append(estimate)
        dfs.append(wald.df_of_sums(approximation, reach, variances))
        deviations.append(np.sqrt(np.maximum(variances, 0.0)))
    numbers = pd.DataFrame(
        {"estimate": np.concatenate(estimates), "std_error": np.concatenate(deviations), "df": np.concatenate(dfs)}
    )
    numbers.loc[~_estimable(design, plan, new)] = np.nan
    table = plan.table().assign(**_whose(plan, new, asked))
    return table.join(wald.with_tests(numbers, ci_prob, adjust, null=plan.null, verb=plan.verb))


def _by_curved_delta(
    fit: Estimates, plan: Plan, asked: Mapping[str, str], new: NewDesign, ci_prob: float, ddf: str | None, adjust: str
) -> pd.DataFrame:
    """As `by_delta` where the expected response bends: every row's slope stands before its linear predictor.

    Rows of groups that are not observed are averaged over them (`expected_over`), and new groups add the variance that
    they differ by.
    """
    design, solution, family = fit.design, fit.solution, fit.design.family
    design.refuse_predicted_means("an effect on the response, with its standard error, of a point fit")
    places = {group.name: k for k, group in enumerate(design.groups)}
    approximation = wald.approximation(design, solution, ddf)
    errors = Errors.of(*working(design, solution), approximation.vcov)
    eta, spread = new.X @ solution.beta + new.offset, np.zeros(len(new.X))
    having = parts(new, asked)
    for g, target in having:
        k = places[g.name]
        if target == "observed":
            eta = eta + np.einsum("nq,nq->n", g.Z, solution.modes[k][g.codes])
        elif target in ("new", "population"):
            spread = spread + np.einsum("na,ab,nb->n", g.Z, solution.covariances[k], g.Z)
    step = 1e-5

    def mean(eta: Array) -> Array:
        means_of = expected_over(family, eta, np.sqrt(np.maximum(spread, 0.0)), design.along(fit.values.family, new))
        return means_of[:, None] if means_of.ndim == 1 else means_of

    value, slope = mean(eta), (mean(eta + step) - mean(eta - step)) / (2.0 * step)
    n, K = plan.n, value.shape[1]
    weights = plan.means if plan.is_ratio else sparse.diags_array(1.0 / plan.width) @ plan.means
    means = weights.T.tocsr()

    def state(number: int, k: int) -> tuple[Array, _Linear]:
        rows = slice(number * n, (number + 1) * n)
        tilt = slope[rows, k]
        weights_of: dict[str, dict[int, Any]] = {"observed": {}, "new": {}}
        for g, target in having:
            if target in weights_of:
                codes, count = (
                    (g.codes, design.groups[places[g.name]].n_levels) if target == "observed" else label_places(g, n)
                )
                Z = g.Z[rows] * tilt[:, None]
                weights_of[target][places[g.name]] = means @ _spread_out(codes[rows], Z, count)
        X = means @ (new.X[rows] * tilt[:, None])
        return means @ value[rows, k], _Linear(offset=np.zeros(len(X)), X=X, **weights_of)

    numbers = []
    for _, high, low in plan.pairs:
        of_category = []
        for k in range(K):
            (top, up), (bottom, down) = state(high, k), state(low, k)
            ones = np.ones(len(top))
            if plan.is_ratio:
                (above, by_top), (below, by_bottom) = plan.scaled(top), plan.scaled(bottom)
                estimate = above / below
                change = up.combined(by_top / below, down, -by_bottom * estimate / below)
            else:
                estimate, change = top - bottom, up.combined(ones, down, -ones)
            variances = errors.of_combinations(change.X, list(change.observed.items()))
            for factor, A in change.new.items():
                root = _root(solution.covariances[factor])
                reached = A @ sparse.kron(sparse.identity(A.shape[1] // len(root)), root)
                variances = variances + np.asarray(reached.multiply(reached).sum(axis=1)).reshape(-1)
            of_category.append((estimate, np.sqrt(np.maximum(variances, 0.0))))
        numbers.append(np.stack(of_category, axis=-1))  # (2, averages, categories)
    estimates, deviations = (np.concatenate([number[i].reshape(-1) for number in numbers]) for i in (0, 1))
    table = pd.DataFrame({"estimate": estimates, "std_error": deviations, "df": np.inf})
    table.loc[np.repeat(~_estimable(design, plan, new), K)] = np.nan
    levels = design.levels if family.has_categories else ()
    labels = plan.table(levels).assign(**_whose(plan, new, asked, K))
    return labels.join(wald.with_tests(table, ci_prob, adjust, null=plan.null, verb=plan.verb))


def _root(cov: Array) -> Array:
    values, vectors = np.linalg.eigh(cov)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _linear_states(design: Design, plan: Plan, asked: Mapping[str, str], new: NewDesign) -> list[_Linear]:
    """Averages of the rows of every state."""
    places = {group.name: k for k, group in enumerate(design.groups)}
    n, states = plan.n, []
    weights = plan.means if plan.is_ratio else sparse.diags_array(1.0 / plan.width) @ plan.means
    means = weights.T.tocsr()
    for state in range(len(plan.states)):
        rows = slice(state * n, (state + 1) * n)
        weights_of: dict[str, dict[int, Any]] = {"observed": {}, "new": {}}
        for g, target in parts(new, asked):
            if target not in weights_of:
                continue
            n_levels = design.groups[places[g.name]].n_levels
            codes, count = (g.codes, n_levels) if target == "observed" else label_places(g, n)
            weights_of[target][places[g.name]] = means @ _spread_out(codes[rows], g.Z[rows], count)
        for wide in new.wide:
            if not wide.is_grouping or asked[wide.name] != "average":
                weights_of["observed"][places[wide.name]] = (means @ sparse.csr_array(wide.matrix[rows])).tocsr()
        states.append(_Linear(offset=means @ new.offset[rows], X=means @ new.X[rows], **weights_of))
    return states


def _spread_out(codes: NDArray[np.int64], Z: Array, count: int) -> Any:
    """Z by level as a sparse matrix (n, J q)."""
    n, q = Z.shape
    columns = codes[:, None] * q + np.arange(q)
    return sparse.csr_matrix((Z.reshape(-1), columns.reshape(-1), np.arange(0, n * q + 1, q)), shape=(n, count * q))
