"""Intervals of a point fit: Wald, profile likelihood, parametric bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..covariances.template import covariance
from ..design.design import Design
from ..engine import bootstrap as engine
from ..engine import profile as profiles
from ..engine import profile_laplace
from ..engine.inference import residual_errors
from ..engine.processes import cores_of
from ..engine.scaling import Problem
from ..errors import (
    ConvergenceWarning,
    FitError,
    InputError,
    NotAvailableError,
    UnidentifiedTermError,
    UnknownArgumentError,
)
from ..families import LINKS
from ..tools.arrays import Array
from ..tools.hints import ARGUMENT_WORDS, like
from ..tools.lazy import special
from ..tools.warned import warn
from ..tools.words import is_one_of
from . import point_tables, quantities, wald
from .alike import agreed_numbers, combinations_of, estimated, rivals_of, told_of
from .estimates import Estimates
from .monte_carlo import error_of
from .progress import track
from .summaries import check_interval, interval
from .targets import check_count
from .variance import RESIDUAL, Values, row_of

METHODS = ("wald", "profile", "boot")
WORTH_SAYING = 0.01  # of a deviance below the estimates'
BOOT_OPTIONS = ("bootstrap", "ci_prob", "random_seed", "cores", "progressbar")


def quantile(ci_prob: float) -> float:
    """The z with P(|Z| < z) = ci_prob."""
    check_interval(ci_prob)
    return float(special.ndtri(0.5 + ci_prob / 2.0))


def parameters_of(design: Design) -> list[profiles.Parameter]:
    """Every parameter of a model, in the order of the profile."""
    problem = Problem.of(design)
    if design.of_categories:  # sds are of the bars of categories
        groups = design.every_group
        blocks, structures = tuple(g.blocks for g in groups), tuple(g.structures for g in groups)
        problem = replace(problem, blocks=blocks, structures=structures)
    return profiles.parameters(problem, design.numbers_of_parameters)


def parameter_labels(design: Design) -> list[tuple[str, str, str]]:
    """(effect, group, term) of every parameter, in broom.mixed's words and the order of the profile."""
    labels = []
    for parameter in parameters_of(design):
        if parameter.kind == "sigma":
            labels.append(("ran_pars", RESIDUAL, "sd__Observation"))
        elif parameter.kind == "residual":
            assert design.residual is not None
            kind = "log_ratio" if parameter.a < design.residual.n_spread else "cor"
            labels.append(("ran_pars", RESIDUAL, f"{kind}__{design.residual.labels[parameter.a]}"))
        elif parameter.kind == "family":
            effect = "fixed" if design.of_categories else "family"
            labels.append((effect, "", design.labels_of(parameter.name)[max(parameter.a, 0)]))
        elif parameter.kind == "beta":
            labels.append(("fixed", "", design.x_names[parameter.a]))
        else:
            group = design.every_group[parameter.factor]
            a, b = parameter.a, parameter.b
            term = group.sd_label(a) if parameter.kind == "sd" else group.correlation_label(a, b, ".")
            labels.append(("ran_pars", row_of(group.name), f"{parameter.kind}__{term}"))
    return labels


def values_of(design: Design, estimates: Array) -> Values:
    """The parameters of a model from estimates (..., parameters) in the order of the profile.

    Correlations of ±1 and beyond by rounding are kept: they are what the search found.
    """
    groups, where = design.every_group, parameters_of(design)
    lead = estimates.shape[:-1]
    sds = [np.zeros((*lead, group.q)) for group in groups]
    cors = [np.broadcast_to(np.eye(group.q), (*lead, group.q, group.q)).copy() for group in groups]
    beta = np.zeros((*lead, len(design.x_names)))
    residual: list[Array] = []
    family: dict[str, Any] = {name: np.full(lead, value) for name, value in design.family.known.items()}
    for j, parameter in enumerate(where):
        value, a, b = estimates[..., j], parameter.a, parameter.b
        if parameter.kind == "sigma":
            family["sigma"] = value
        elif parameter.kind == "residual":
            residual.append(value)
        elif parameter.kind == "family":
            family.setdefault(parameter.name, []).append(value)
        elif parameter.kind == "beta":
            beta[..., a] = value
        elif parameter.kind == "sd":
            sds[parameter.factor][..., a] = value
        else:
            cors[parameter.factor][..., a, b] = cors[parameter.factor][..., b, a] = value
    of_residual = np.stack(residual, axis=-1) if residual else None
    spread = [
        group.template.spread_out(sd, correlation) for group, sd, correlation in zip(groups, sds, cors, strict=True)
    ]
    matrices = tuple(covariance(sd, correlation) for sd, correlation in spread)
    family_values = {
        name: value if not isinstance(value, list) else np.stack(value, axis=-1) if design.shape_of(name) else value[0]
        for name, value in family.items()
    }
    return Values(beta=beta, covariances=matrices, family=family_values, residual=of_residual)


def confint(
    fit: Estimates,
    *,
    method: str,
    ci_prob: float,
    ddf: str | None,
    draws: int,
    random_seed: int | None,
    cores: int | None,
    progressbar: bool,
) -> pd.DataFrame:
    """The table behind :meth:`PointFit.confint`."""
    if not is_one_of(method, METHODS):
        raise InputError(f"confint(method={method!r}): method is 'wald', 'profile' or 'boot'")
    z, _ = quantile(ci_prob), wald.method_of(ddf)
    labels = pd.DataFrame(parameter_labels(fit.design), columns=["effect", "group", "term"])
    if method == "wald":
        table = labels[labels["effect"] == "fixed"].reset_index(drop=True)
        fixed = point_tables.fixef(fit, ddf=ddf, ci_prob=ci_prob).reset_index(drop=True)
        table = table.join(fixed[["estimate", "df", "conf_low", "conf_high"]])
        extra = [others for others in (family_table(fit, ci_prob), residual_table(fit, ci_prob)) if len(others)]
        return pd.concat([table, *(others[list(table)] for others in extra)], ignore_index=True) if extra else table
    values = estimates_of(fit)
    if method == "profile":
        curves = list(_curves(fit, z, progressbar))
        return labels.assign(
            estimate=values, conf_low=[curve.low for curve in curves], conf_high=[curve.high for curve in curves]
        )
    replicates = bootstrap_table(fit, draws=draws, random_seed=random_seed, cores=cores, progressbar=progressbar)
    low, high = np.nanquantile(replicates.to_numpy(), [0.5 - ci_prob / 2.0, 0.5 + ci_prob / 2.0], axis=0)
    low, high = (np.where(np.isnan(values), np.nan, ends) for ends in (low, high))
    return labels.assign(estimate=values, conf_low=low, conf_high=high)


def estimates_of(fit: Estimates) -> Array:
    """Estimates (parameters,) in the order of the profile, missing where others are as good."""
    where = parameters_of(fit.design)
    values = engine.estimates(where, fit.solution)
    for rival in fit.solution.rivals:
        values = agreed_numbers(values, engine.estimates(where, rival))
    return values


def family_table(fit: Estimates, ci_prob: float) -> pd.DataFrame:
    """The family's parameters besides sigma: estimate, std_error, Wald interval (in its link: of a shape the log)."""
    z, rows = quantile(ci_prob), []
    design, family = fit.design, fit.design.family
    for parameter, (effect, group, term) in zip(parameters_of(fit.design), parameter_labels(fit.design), strict=True):
        if parameter.kind != "family" or design.of_categories:  # whose coefficients are fixed effects
            continue
        value, se = (
            float(np.atleast_1d(values_by_name[parameter.name])[max(parameter.a, 0)])
            for values_by_name in (fit.solution.parameters, fit.solution.parameter_errors)
        )
        se = np.nan if parameter.name in fit.solution.limits else se
        low, high, slope = value - z * se, value + z * se, 1.0
        if not design.shape_of(parameter.name):
            link = LINKS[family.parameter_link(parameter.name)]
            free = link.to_eta(np.asarray(value))
            with np.errstate(over="ignore"):  # an end of the interval may be infinite
                low, high, slope = (float(part) for part in (*link.to_mean(free + [-z * se, z * se]), link.slope(free)))
        rows.append((effect, group, term, value, slope * se, np.inf, low, high))
    columns = ["effect", "group", "term", "estimate", "std_error", "df", "conf_low", "conf_high"]
    return pd.DataFrame(rows, columns=columns)


def residual_table(fit: Estimates, ci_prob: float) -> pd.DataFrame:
    """Parameters of the residuals besides sigma: estimate, std_error, Wald interval (of correlations by artanh)."""
    columns = ["effect", "group", "term", "estimate", "std_error", "df", "conf_low", "conf_high"]
    if fit.design.residual is None:
        return pd.DataFrame(columns=columns)
    z, rows = quantile(ci_prob), []
    errors = residual_errors(Problem.of(fit.design), fit.solution)
    if fit.solution.rivals:
        errors = np.full(len(errors), np.nan)
    of_all = zip(parameters_of(fit.design), parameter_labels(fit.design), strict=True)
    labels = [label for parameter, label in of_all if parameter.kind == "residual"]
    for (effect, group, term), value, se in zip(labels, fit.solution.residual, errors, strict=True):
        if term.startswith("cor__"):
            middle = np.arctanh(np.clip(value, -1.0 + 1e-15, 1.0 - 1e-15))
            low, high = (np.tanh(middle + side * z * se / (1.0 - value**2 + 1e-300)) for side in (-1.0, 1.0))
        else:
            low, high = value - z * se, value + z * se
        rows.append((effect, group, term, float(value), float(se), np.inf, float(low), float(high)))
    return pd.DataFrame(rows, columns=columns)


def profile(fit: Estimates, *, ci_prob: float, progressbar: bool) -> pd.DataFrame:
    """The table behind :meth:`PointFit.profile`."""
    labels = parameter_labels(fit.design)
    parts = [
        pd.DataFrame({"effect": effect, "group": group, "term": term, "value": curve.value, "zeta": curve.zeta})
        for (effect, group, term), curve in zip(labels, _curves(fit, quantile(ci_prob), progressbar), strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def _curves(fit: Estimates, cutoff: float, progressbar: bool) -> Iterator[profiles.Curve]:
    problem = Problem.of(fit.design)
    if fit.design.residual is not None:
        raise NotAvailableError(
            f"profile: profile likelihoods are not computed for models with {fit.design.residual.text}: these "
            "have parameters of residuals, to be searched anew at every point. confint('boot') has intervals of every "
            "parameter, confint('wald') those of the fixed effects."
        )
    if fit.solution.rivals and estimated(fit.design, reml=False).rivals:
        raise UnidentifiedTermError(
            f"profile: the data do not tell all variances: {told_of(fit)}. Leave out terms, or take confint('wald') of "
            "the fixed effects."
        )
    if fit.solution.nodes:
        _refuse_endless(fit)
        curves = profile_laplace.profile(fit.design, fit.solution, cutoff)
    else:
        curves = profiles.profile(problem, fit.solution, cutoff)
    total, below = len(parameters_of(fit.design)), 0.0
    for _, curve in track(((1, c) for c in curves), total, "Profiling", progressbar):
        below = max(below, curve.below)
        yield curve
    if below > WORTH_SAYING:
        warn(
            f"profile: a deviance {below:.2g} below that of the estimates was met, which stand at a lesser optimum: "
            "the likelihood has several, as where few levels tell correlations. Intervals are measured from the "
            "estimates' deviance and are wider for it; take those of a smaller model, or the posterior (model.fit()).",
            ConvergenceWarning,
        )


def _refuse_endless(fit: Estimates) -> None:
    """Raise NotAvailableError where the likelihood has no maximum to measure from."""
    if fit.solution.status in ("separated", "failed"):
        raise NotAvailableError(
            f"profile: the verdict on this fit is {fit.solution.status!r}: there is no maximum of the likelihood "
            "that a profile could be measured from. Leave out what separates the responses (the verdict names it), or "
            "take the posterior (model.fit())."
        )


def bootstrap_table(
    fit: Estimates, *, draws: int, random_seed: int | None, cores: int | None, progressbar: bool
) -> pd.DataFrame:
    """The table behind :meth:`PointFit.bootstrap`."""
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 1:
        raise InputError(f"draws={draws!r}: the bootstrap needs a whole number of data sets, better 1,000")
    fit.design.refuse_likelihood_weights("a bootstrap")
    fit.design.refuse_censored("a bootstrap")
    asked: dict[str, Any] = {"draws": draws, "random_seed": random_seed, "cores": cores_of(cores)}
    if fit.solution.nodes:
        batches = engine.bootstrap_of_any(fit.design, fit.solution, parameters_of(fit.design), **asked)
    else:
        batches = engine.bootstrap(Problem.of(fit.design), fit.solution, **asked)
    with closing(batches):  # also where an interrupt comes between two of them: no process works on unseen
        counted = track(((len(rows), rows) for rows in batches), draws, "Refitting", progressbar)
        rows = np.concatenate([rows for _, rows in counted])
    failed = int(np.isnan(rows[:, -1]).sum())
    if failed == draws:
        raise FitError(f"none of {draws} simulated data sets could be fitted")
    columns = pd.MultiIndex.from_tuples([label[1:] for label in parameter_labels(fit.design)], names=["group", "term"])
    table = pd.DataFrame(rows[:, :-1], columns=columns, index=pd.RangeIndex(draws, name="draw"))
    table.attrs = {"singular": float(np.nanmean(rows[:, -1])), "failed": failed}
    return table


def boot_options(verb: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of `quantity_table` that a verb was called with.

    Raises
    ------
    UnknownArgumentError, InputError
        There is no such option; a word of another program.
    """
    counts = dict.fromkeys(("nsim", "n_sims", "B", "R", "draws", "n_boot"), "bootstrap=, how many data sets")
    words = {**ARGUMENT_WORDS[""], **ARGUMENT_WORDS.get(verb, {}), **counts}
    for word in options:
        if word in BOOT_OPTIONS:
            continue
        if word in words:
            raise InputError(f"{verb}({word}=...): here it is {words[word]}")
        raise UnknownArgumentError(
            f"{verb}(): got an unexpected keyword argument {word!r}; it takes {', '.join(BOOT_OPTIONS)}"
            f"{like(word, BOOT_OPTIONS)}"
        )
    return options


def quantity_table(
    record: Estimates,
    quantity: quantities.Quantity,
    *,
    bootstrap: int = 0,
    ci_prob: float = 0.95,
    random_seed: int | None = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> pd.DataFrame:
    """A quantity at the estimates, with its Monte Carlo error if it has one, and of a bootstrap the percentiles."""
    check_interval(ci_prob)
    estimate = quantity.of(record.values)
    for rival in rivals_of(record):
        estimate = agreed_numbers(estimate, quantity.of(rival.values))
    numbers = pd.DataFrame({"estimate": estimate})
    by_chance = error_of(record, lambda fit: quantity.of(fit.values))
    if by_chance is not None:
        numbers = numbers.assign(mcse=by_chance)
    if bootstrap:
        check_count("bootstrap", bootstrap)
        rows = bootstrap_table(record, draws=bootstrap, random_seed=random_seed, cores=cores, progressbar=progressbar)
        fitted = rows.dropna().to_numpy()
        low, high = interval(quantity.of(values_of(record.design, fitted)), ci_prob)
        missing = np.isnan(estimate)
        numbers = numbers.assign(conf_low=np.where(missing, np.nan, low), conf_high=np.where(missing, np.nan, high))
    return quantity.table(numbers)


def variance_components(record: Estimates, **boot: Any) -> pd.DataFrame:
    """The table behind :meth:`PointFit.variance_components`."""
    design, values = record.design, record.values
    if design.of_categories:  # whose bars have no residual variance to share with
        design = replace(design, groups=design.every_group)
        values = replace(values, covariances=record.solution.covariances)
    quantity = quantities.components(design, values)
    of = quantity.of  # values of replicates have the covariances of all bars
    quantity = replace(quantity, of=lambda each: of(each if len(each.covariances) == len(design.groups) else values))
    table = quantity_table(record, quantity, **boot)
    combinations = combinations_of(record)
    rows = [
        {"group": name, "term": "", "quantity": "combination", "estimate": value}
        for name, value in combinations.items()
    ]
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table
