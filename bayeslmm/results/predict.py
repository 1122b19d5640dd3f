"""Predictions of a point fit: plain, with plug-in or simulated intervals, as draws; and simulated responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from ..design.categories import as_table
from ..design.design import Design
from ..design.newdata import NewDesign, NewGroup
from ..engine.inference import Approximation
from ..engine.prediction import Errors, draws_given
from ..engine.randomness import generator
from ..engine.working import working
from ..errors import InputError, NotAvailableError
from ..terms.wide import WideTerm, spread
from ..tools.arrays import Array
from ..tools.lazy import sparse
from . import parameter_rows, wald
from .alike import told_alike, without
from .estimates import Estimates
from .expected import prediction_table, trials_of, values_of_rows
from .intervals import bootstrap_table as refits
from .intervals import values_of
from .moments import expected_over, keeps_mean
from .predictive_quantiles import predictive
from .rows import Rows, responses_around, rows_under
from .shares import check_shares, share_table
from .summaries import check_interval, summarise
from .targets import (
    MIXED,
    OF_POINTS,
    PURE,
    Transform,
    asked_rows,
    check_count,
    check_kind,
    check_seen,
    check_transform,
    new_rows,
    of_seen,
    parts,
    target_columns,
    targets,
)

INTERVALS = ("plug-in", "simulated")
REFITS = 1000  # of a simulated interval


def predict(
    fit: Estimates,
    newdata: Any,
    groups: str | Mapping[str, str],
    *,
    kind: str,
    interval: str | None,
    ci_prob: float,
    ddf: str | None,
    draws: int | None,
    shares: bool,
    random_seed: int | None,
    offset: Any,
    trials: Any,
    transform: Transform | None,
    parameter: str | None,
    cores: int | None,
    progressbar: bool,
) -> Any:
    """The series, table or draws behind :meth:`PointFit.predict`."""
    check_kind(kind, OF_POINTS)
    check_interval(ci_prob)
    wald.method_of(ddf)
    check_transform(fit.design, transform)
    check_shares(fit.design, shares, transform)
    if parameter is not None:
        others = {
            "kind": (kind, "mean"),
            "draws": (draws, None),
            "shares": (shares, False),
            "transform": (transform, None),
        }
        _refuse_effects_of_categories(fit.design, groups, parameter)
        parameter_rows.refuse_beside_parameter(**others, interval=(interval if interval == "simulated" else None, None))
        return parameter_rows.predict(fit, newdata, parameter, interval, ci_prob)
    if interval is not None or kind == "link":
        fit.design.refuse_nominal(
            f"predict({'interval=' + repr(interval) if interval is not None else 'kind=' + repr(kind)}) of a point fit",
            "every category but the first has a linear predictor, whose errors move all probabilities. Log odds: "
            f"predict(parameter={fit.design.of_categories[0].parameter!r}, groups='average')"
            if fit.design.of_categories
            else "",
        )
    _check_asked(fit.design, kind, interval, draws, shares, transform)
    if interval == "simulated":
        fit.design.refuse_residual("predict(interval='simulated')")
    if draws is not None and kind == "response":
        fit.design.refuse_correlated("predict(draws=..., kind='response')")
    if kind != "link" and (interval == "plug-in" or (draws is not None and interval is None)):
        fit.design.refuse_predicted_means(
            f"predict({'draws=...' if interval is None else 'interval=' + repr(interval)})"
        )
    asked, trials_of_rows = targets(fit.design, groups), trials_of(fit.design, newdata, kind, trials)
    if interval == "plug-in":
        return _plug_in(fit, newdata, asked, kind, ci_prob, ddf, shares, offset, trials_of_rows)
    if interval is None and draws is None:
        return _estimates(fit, newdata, asked, offset, transform, linear=kind == "link")
    rng, count = generator(random_seed), REFITS if draws is None else draws
    if interval == "simulated":
        asked_rows(fit.design, newdata, asked, offset)  # what is wrong with them is said before the refits
        parameter_draws_of = _parameter_draws(fit, count, rng, cores, progressbar)
        predicted = _simulated(
            fit, newdata, asked, kind, ci_prob, shares, parameter_draws_of, rng, offset, transform, trials_of_rows
        )
    else:
        predicted = _draws(fit, newdata, asked, kind, count, rng, offset, transform, trials_of_rows)
    if not fit.solution.rivals:
        return predicted
    # draws are those of one of the estimates that are as good
    plug_in = _plug_in(fit, newdata, asked, kind, 0.95, wald.DDF, False, offset)
    return without(predicted, plug_in[["estimate", "std_error"]].isna().any(axis=1).to_numpy())


def _refuse_effects_of_categories(design: Design, groups: str | Mapping[str, str], parameter: str) -> None:
    """Raise NotAvailableError where log odds of a category are asked for with effects of groups, by a point fit."""
    if design.of_categories and design.parameter_groups and groups != "average":
        raise NotAvailableError(
            f"predict(parameter={parameter!r}) of a point fit has the log odds of a category without effects of "
            "groups: groups='average'. Those with effects: coef(), or a posterior, fit()"
        )


def _check_asked(design: Design, kind: str, interval: str | None, draws: Any, shares: bool, transform: Any) -> None:
    if interval not in (None, *INTERVALS):
        raise InputError(f"predict(interval={interval!r}): intervals are 'plug-in' or 'simulated'")
    if draws is not None:
        check_count("draws", draws)
    if interval is None and draws is None and kind == "response":
        raise InputError(
            "predict(kind='response'): the estimate is that of the mean; observations have an interval, "
            "interval='plug-in' or 'simulated', or are simulated, draws=1000"
        )
    curved = not keeps_mean(design.family)
    curved = curved or (kind == "response" and not design.family.has_reml)
    if interval == "plug-in" and (curved and shares and kind != "link"):
        raise NotAvailableError(
            f"predict(interval='plug-in', shares=True): shares of the variance of {design.family} responses are those "
            "of the linear predictor: kind='link'"
        )
    if kind != "link" and interval == "plug-in" and design.family.has_categories:
        raise NotAvailableError(
            f"predict(kind={kind!r}, interval='plug-in'): the probability of a category need not rise with the linear "
            "predictor, and hangs on cutpoints with errors of their own: kind='link', or interval='simulated'"
        )
    if kind == "link" and (draws is not None or interval == "simulated" or transform is not None):
        raise InputError(
            "predict(kind='link'): the linear predictor has an estimate and a plug-in interval; draws and simulated "
            "intervals are of kind='mean' or 'response'"
        )
    if interval is None and shares:
        raise InputError("predict(shares=True): shares are of the variance behind an interval: interval='plug-in'")
    if interval == "plug-in" and draws is not None:
        raise InputError("predict(interval='plug-in', draws=...): a plug-in interval is computed without draws")
    if interval == "plug-in" and transform is not None:
        raise InputError(
            "predict(interval='plug-in', transform=...): what a function makes of a normal prediction is simulated: "
            "interval='simulated'"
        )


@told_alike
def _estimates(
    fit: Estimates,
    newdata: Any,
    asked: Mapping[str, str],
    offset: Any,
    transform: Transform | None,
    *,
    linear: bool = False,
) -> Any:
    """Predictions at the estimates; new groups count as the mean over groups, which in a linear model is b = 0."""
    design = fit.design
    if transform is None and (linear or keeps_mean(design.family)):
        kept = [name for name, target in asked.items() if target == "observed" or target in MIXED]
        new = new_rows(design, newdata, kept, offset)
        check_seen(new, asked)
        same_mean = dict.fromkeys(asked, "average") | {
            name: "observed_or_average" if asked[name] in MIXED else "observed"
            for name in (*(group.name for group in new.groups), *(w.name for w in new.wide if w.is_grouping))
        }
    else:
        same_mean = {name: target.replace("new", "population") for name, target in asked.items()}
        new = asked_rows(design, newdata, same_mean, offset)
    weights = design.weights_at(newdata, needed=transform is not None)
    rows = replace(_rows_at_estimates(fit, new, same_mean, 1, default_rng(0), weights), transform=transform)
    prediction = rows.eta if linear else rows.mean
    values = np.concatenate([prediction(block)[0] for block in rows.blocks()])
    if values.ndim == 2:
        levels = pd.Index(design.levels, name="category")
        return pd.DataFrame(values, index=new.index, columns=levels).assign(**target_columns(new, asked))
    series = pd.Series(values, index=new.index, name=_name(design, transform))
    series.attrs = {name: column.tolist() for name, column in target_columns(new, asked).items()}
    return series


def _name(design: Design, transform: Transform | None) -> str:
    if transform is None:
        return design.response
    return f"{getattr(transform, '__name__', 'transform')}({design.response})"


def _rows_at_estimates(
    fit: Estimates,
    new: NewDesign,
    asked: Mapping[str, str],
    draws: int,
    rng: Generator,
    weights: Array | None,
    trials: Array | None = None,
) -> Rows:
    design, solution = fit.design, fit.solution
    every = design.every_group
    modes = {group.name: mode for group, mode in zip(every, solution.modes, strict=True)}
    covariances = {
        group.name: np.broadcast_to(covariance, (draws, *covariance.shape))
        for group, covariance in zip(every, solution.covariances, strict=True)
    }
    return rows_under(
        fit.design,
        new,
        asked,
        rng,
        beta=np.broadcast_to(solution.beta, (draws, len(solution.beta))),
        covariances=[covariances[group.name] for group in design.groups],
        of_parameters=covariances,
        effects=lambda name: np.broadcast_to(modes[name], (draws, *modes[name].shape)),
        parameters={name: np.tile(value, (draws, *[1] * np.ndim(value))) for name, value in fit.values.family.items()},
        trials=trials,
        weights=weights,
    )


def _draws(
    fit: Estimates,
    newdata: Any,
    asked: Mapping[str, str],
    kind: str,
    draws: int,
    rng: Generator,
    offset: Any,
    transform: Transform | None,
    trials: Array | None,
) -> Any:
    """Draws (draw, obs) that take the estimates as known."""
    import xarray as xr

    new = asked_rows(fit.design, newdata, asked, offset)
    weights = fit.design.weights_at(newdata, needed=kind == "response" or transform is not None)
    rows = replace(_rows_at_estimates(fit, new, asked, draws, rng, weights, trials), transform=transform)
    values = np.concatenate(
        rows.over_blocks(lambda b, rng: values_of_rows(rows, fit.design, kind, b, rng), rng), axis=1
    )
    target_coords = {name: ("obs", column) for name, column in target_columns(new, asked).items()}
    coords: dict[str, Any] = {"draw": np.arange(draws), "obs": new.index.to_numpy(), **target_coords}
    dims = ("draw", "obs", "category")[: values.ndim]
    if values.ndim == 3:
        coords["category"] = np.array(fit.design.levels, dtype=object)
    return xr.DataArray(values, dims=dims, coords=coords, name=_name(fit.design, transform))


@told_alike
def _plug_in(
    fit: Estimates,
    newdata: Any,
    asked: Mapping[str, str],
    kind: str,
    ci_prob: float,
    ddf: str | None,
    shares: bool,
    offset: Any,
    trials: Array | None = None,
) -> pd.DataFrame:
    """Estimates ± t sd, with variances of random effects taken as known (docs/theory.md, eq. 9.8)."""
    design, solution = fit.design, fit.solution
    new = asked_rows(design, newdata, asked, offset)
    having = parts(new, asked)
    effects = {g.name: (_factor(design, g.name), g.codes, g.Z) for g, target in having if target == "observed"}
    approximation = wald.approximation(design, solution, ddf)
    errors = Errors.of(*working(design, solution), approximation.vcov)
    if new.wide:
        weights = design.weights_at(newdata, needed=kind == "response")
        return _plug_in_of_wide(fit, new, asked, having, kind, ci_prob, approximation, errors, weights, shares, trials)
    error_variances = errors.of_rows(new.X, list(effects.values()))
    nothing = np.zeros(len(new.X))
    error_variance_of = dict.fromkeys(_factors(fit), nothing) | dict(
        zip(("", *effects), error_variances.T, strict=True)
    )
    estimate = new.X @ solution.beta + new.offset
    for k, codes, Z in effects.values():
        estimate += np.einsum("nq,nq->n", Z, solution.modes[k][codes])
    for g, target in having:
        if target == "new" or (target == "population" and kind == "response"):
            covariance = solution.covariances[_factor(design, g.name)]
            error_variance_of[g.name] = error_variance_of[g.name] + np.einsum("na,ab,nb->n", g.Z, covariance, g.Z)
    weights = design.weights_at(newdata, needed=kind == "response")
    residual = np.zeros(len(estimate))
    curved = kind == "mean" and not keeps_mean(design.family)
    if kind == "response" and design.family.has_reml:
        residual = residual + fit.sigma**2 / (1.0 if weights is None else weights)
    variances = np.column_stack([error_variance_of[name] for name in ("", *_factors(fit))])
    total = np.maximum(variances.sum(axis=1) + residual, 0.0)
    reach, bends = errors.reach_of_rows(new.X, list(effects.values())), _residual_slopes(design, newdata, residual)
    df = wald.df_of_sums(approximation, reach, total, residual, bends)
    table = pd.DataFrame({"estimate": estimate, "std_error": np.sqrt(total), "df": df})
    table = wald.with_interval(table, ci_prob)
    if curved:
        table = _through_link(fit, table, new, having, weights)
    elif kind == "response" and not design.family.has_reml:
        table = _of_responses(fit, table, new, weights, trials, ci_prob)
    table = table.assign(interval="plug-in", **target_columns(new, asked))
    if shares:
        table = table.join(share_table(design, variances, residual))
    return table.set_axis(new.index)


def _residual_slopes(design: Design, newdata: Any, residual: Array) -> Array | None:
    """Derivatives (n, d + r) of residual variances (n,) by the residuals' parameters; None where there are none."""
    if design.residual is None or not residual.any():
        return None
    return 2.0 * residual[:, None] * design.residual.columns_at(design.frame, newdata)


def _through_link(
    fit: Estimates,
    table: pd.DataFrame,
    new: NewDesign,
    having: Sequence[tuple[NewGroup, str]],
    weights: Array | None,
    of_wide: Mapping[str, Array] | None = None,
) -> pd.DataFrame:
    """A table of the linear predictor as one of the expected response.

    Its estimate is averaged over groups that are not observed; the interval of new groups spans them, and its ends are
    those of single groups. ``of_wide`` has the variances (n,) of levels of wide terms by their target.
    """
    design, solution = fit.design, fit.solution
    parameters = design.along(fit.values.family, new)

    def variance(*targets_of: str) -> Array:
        parts = [(g, solution.covariances[_factor(design, g.name)]) for g, to in having if to in targets_of]
        total = np.zeros(len(table))
        for g, covariance in parts:
            total += np.einsum("na,ab,nb->n", g.Z, covariance, g.Z)
        for to in targets_of:
            total += (of_wide or {}).get(to, np.zeros(1))
        return total

    def mean(eta: Array, spread: Array) -> Array:
        return expected_over(design.family, eta, np.sqrt(spread), parameters, weights=weights)

    eta, se = table["estimate"].to_numpy(), table["std_error"].to_numpy()
    over, inside = variance("new", "population"), variance("population")
    step = 1e-4 * np.maximum(se, 1e-8)
    slope = (mean(eta + step, over) - mean(eta - step, over)) / (2.0 * step)
    low, high = (mean(table[c].to_numpy(), inside) for c in ("conf_low", "conf_high"))
    return table.assign(
        estimate=mean(eta, over),
        std_error=np.abs(slope) * se,
        conf_low=np.minimum(low, high),
        conf_high=np.maximum(low, high),
    )


def _of_responses(
    fit: Estimates, table: pd.DataFrame, new: NewDesign, weights: Array | None, trials: Array | None, ci_prob: float
) -> pd.DataFrame:
    """A table of the linear predictor as one of new responses, of which there are other distributions than normal."""
    design, tail = fit.design, 0.5 * (1.0 - ci_prob)
    predicted = predictive(
        design.family,
        table["estimate"].to_numpy(),
        table["std_error"].to_numpy(),
        design.along(fit.values.family, new),
        trials=trials,
        weights=weights,
        probabilities=(tail, 1.0 - tail),
    )
    low, high = predicted.quantiles
    return table.assign(estimate=predicted.mean, std_error=predicted.sd, conf_low=low, conf_high=high)


def _plug_in_of_wide(
    fit: Estimates,
    new: NewDesign,
    asked: Mapping[str, str],
    having: Sequence[tuple[NewGroup, str]],
    kind: str,
    ci_prob: float,
    about: Approximation,
    errors: Errors,
    weights: Array | None,
    shares: bool,
    trials: Array | None,
) -> pd.DataFrame:
    """The same where rows meet many effects of a term: by combinations of all effects."""
    design, solution = fit.design, fit.solution
    if shares:
        design.refuse_wide("predict(shares=True)")
    estimate, extra = new.X @ solution.beta + new.offset, np.zeros(len(new.X))
    combinations: list[tuple[int, Any]] = []
    of_wide = dict.fromkeys(("new", "population"), np.zeros(len(new.X)))
    for g, target in having:
        k = _factor(design, g.name)
        if target == "observed":
            combinations.append((k, of_levels(g.codes, g.Z, design.groups[k].n_levels)))
        elif target == "new" or (target == "population" and kind == "response"):
            extra += np.einsum("na,ab,nb->n", g.Z, solution.covariances[k], g.Z)
    for wide in new.wide:
        k, target = _factor(design, wide.name), asked[wide.name] if wide.is_grouping else "observed"
        known, others = (target, target) if target in PURE else ("observed", MIXED[target])
        if known == "observed":
            combinations.append((k, sparse.csr_array(wide.matrix)))
        term = design.groups[k]
        assert isinstance(term, WideTerm)
        for matrix, of_these in ((wide.matrix, known), (wide.others, others)):
            if matrix is not None and of_these in of_wide:
                s = spread(matrix, term.root if matrix is wide.matrix else None, term.q)
                of_wide[of_these] = of_wide[of_these] + np.einsum("na,ab,nb->n", s, solution.covariances[k], s)
    extra += of_wide["new"] + (of_wide["population"] if kind == "response" else 0.0)
    for k, A in combinations:
        estimate += A @ solution.modes[k].reshape(-1)
    residual = np.zeros(len(estimate))
    if kind == "response" and design.family.has_reml:
        residual = residual + fit.sigma**2 / (1.0 if weights is None else weights)
    total = np.maximum(errors.of_combinations(new.X, combinations) + extra + residual, 0.0)
    df = wald.df_of_sums(about, errors.reach_of_combinations(new.X, combinations), total, residual)
    table = pd.DataFrame({"estimate": estimate, "std_error": np.sqrt(total), "df": df})
    table = wald.with_interval(table, ci_prob)
    if kind == "mean" and not keeps_mean(design.family):
        table = _through_link(fit, table, new, having, weights, of_wide)
    elif kind == "response" and not design.family.has_reml:
        table = _of_responses(fit, table, new, weights, trials, ci_prob)
    return table.assign(interval="plug-in", **target_columns(new, asked)).set_axis(new.index)


def of_levels(codes: NDArray[np.int64], Z: Array, J: int) -> Any:
    """Z (n, J q), sparse: each row's columns at its level."""
    n, q = Z.shape
    positions = codes[:, None] * q + np.arange(q)
    return sparse.csr_array((Z.reshape(-1), positions.reshape(-1), np.arange(n + 1) * q), shape=(n, J * q))


def _factors(fit: Estimates) -> list[str]:
    return [group.name for group in fit.design.groups]


def _factor(design: Design, name: str) -> int:
    """Place of a grouping factor among those of the fit."""
    return [group.name for group in design.groups].index(name)


def _simulated(
    fit: Estimates,
    newdata: Any,
    asked: Mapping[str, str],
    kind: str,
    ci_prob: float,
    shares: bool,
    drawn: dict[str, Any],
    rng: Generator,
    offset: Any,
    transform: Transform | None,
    trials: Array | None,
) -> pd.DataFrame:
    """Quantiles of draws that carry the uncertainty of all estimates (docs/predictions.md)."""
    design = fit.design
    new = asked_rows(design, newdata, asked, offset)
    weights = design.weights_at(newdata, needed=kind == "response" or shares or transform is not None)
    rows = rows_under(design, new, asked, rng, trials=trials, weights=weights, **drawn)
    rows, order = replace(rows, transform=transform).by_new_group()
    table = prediction_table(
        rows, order, new.index, design, kind, rng, shares, lambda values: summarise(values, ci_prob)
    )
    if kind == "response" and not design.family.has_reml:  # observations in their own units, such as successes
        estimate = table["mean"].to_numpy()
    else:
        estimates = _estimates(fit, newdata, asked, offset, transform)
        estimates = estimates[list(design.levels)] if design.family.has_categories else estimates
        estimate = estimates.to_numpy().reshape(-1)
    sd, low, high = (table[c].to_numpy() for c in ("sd", "conf_low", "conf_high"))
    numbers = pd.DataFrame(
        {"estimate": estimate, "std_error": sd, "conf_low": low, "conf_high": high, "interval": "simulated"}
    )
    repeated = len(numbers) // max(len(new.index), 1)
    of_rows = {name: np.repeat(column, repeated) for name, column in target_columns(new, asked).items()}
    numbers = numbers.assign(**of_rows).set_axis(table.index)
    if "category" in table:
        numbers.insert(0, "category", table["category"].to_numpy())
    shown = table[[c for c in table if str(c).startswith("share_")]]
    return pd.concat([numbers, shown], axis=1) if shares else numbers


def _parameter_draws(
    fit: Estimates, draws: int, rng: Generator, cores: int | None, progressbar: bool
) -> dict[str, Any]:
    """Draws of the variances by a parametric bootstrap, and of β and b given the data and each of them.

    Laird & Louis (1987), type III: the conditional distribution that a plug-in prediction takes at the estimated
    variances is averaged over the sampling distribution of these.
    """
    replicates = refits(fit, draws=draws, random_seed=int(rng.integers(2**62)), cores=cores, progressbar=progressbar)
    values = values_of(fit.design, replicates.dropna().to_numpy())
    problem, solution = working(fit.design, fit.solution)
    exact = solution.nodes == 0
    sigma = np.asarray(values.family["sigma"]) if exact else np.ones(len(values.beta))
    beta, effects = draws_given(problem, solution, values.covariances, sigma, rng)
    by_name = dict(zip(_factors(fit), effects, strict=True))
    return {
        "beta": beta,
        "covariances": values.covariances,
        "effects": by_name.__getitem__,
        "parameters": dict(values.family),
    }


def simulate(fit: Estimates, n: int, random_seed: int | None, groups: str | Mapping[str, str]) -> pd.DataFrame:
    """The table behind :meth:`PointFit.simulate`."""
    check_count("n", n)
    design, rng = fit.design, generator(random_seed)
    asked = targets(design, groups, "simulate")
    asked = of_seen(asked)
    rows = _rows_at_estimates(fit, asked_rows(design, None, asked, None), asked, n, rng, design.weights, design.trials)
    if design.residual is not None:
        return as_table(design, responses_around(rows, design.residual.structure, rng))
    return as_table(design, np.concatenate([rows.response(block, rng) for block in rows.blocks()], axis=1))
