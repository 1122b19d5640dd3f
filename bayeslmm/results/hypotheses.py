"""Hypotheses about parameters: F tests of a point fit, probabilities and Bayes factors of a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..covariances.template import covariance
from ..design.design import Design
from ..design.names import BETA
from ..errors import InputError, NotAvailableError, NotEstimableWarning, PriorError
from ..tools.arrays import Array
from ..tools.lazy import stats
from ..tools.warned import warn
from . import variance, wald
from .conditional import densities_at_equality
from .convergence import effective_size
from .draws import Draws
from .estimates import Estimates
from .named_effects import Effect, effects_in
from .parameter_draws import parameter_draws
from .prior_draws import prior_draws, residual_values
from .statements import Statement, linear, parse
from .variance import Parts, Values

PRIOR_DRAWS = 20_000
FEWEST_NEAR = 10  # draws within two widths of a kernel: a density from fewer is off by a third or more
HOLDS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


def test(record: Estimates, hypotheses: Any, ddf: str | None) -> pd.DataFrame:
    """The table behind :meth:`PointFit.test`."""
    names, beta = record.design.coefficient_labels, wald.coefficients_of(record.design, record.solution)
    statements = parse(hypotheses, names, "test")
    L, r = linear(statements, names, "test")
    approximation = wald.approximation(record.design, record.solution, ddf)
    f_test = approximation.f_test(L, L @ beta - r)
    index = pd.Index([", ".join(statement.text for statement in statements)], name="hypothesis")
    if np.isinf(f_test.den_df):  # variances count as known: Wald's χ²
        chisq = f_test.num_df * f_test.f
        p_value = float(stats.chi2.sf(chisq, f_test.num_df))
        return pd.DataFrame({"chisq": [chisq], "df": [f_test.num_df], "p_value": [p_value]}, index=index)
    p_value = float(stats.f.sf(f_test.f, f_test.num_df, f_test.den_df))
    numbers = {"num_df": f_test.num_df, "den_df": f_test.den_df, "f": f_test.f, "p_value": p_value}
    return pd.DataFrame(numbers, index=index)


def hypothesis(
    record: Draws,
    hypotheses: Any,
    *,
    rope: float | tuple[float, float] | None,
    ci_prob: float | None,
    ci_kind: str | None,
) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.hypothesis`."""
    return hypothesis_over([record], hypotheses, rope=rope, ci_prob=ci_prob, ci_kind=ci_kind)


def hypothesis_over(
    records: Sequence[Draws],
    hypotheses: Any,
    *,
    rope: float | tuple[float, float] | None,
    ci_prob: float | None,
    ci_kind: str | None,
) -> pd.DataFrame:
    """The same of one model's posteriors of several imputed tables, their chains side by side."""
    interval = _rope(rope)
    mentioned = effects_in(hypotheses, records[0].design)
    posterior = _side_by_side([_posterior_numbers(record, mentioned) for record in records])
    statements = parse(hypotheses, list(posterior), "hypothesis")
    try:
        draws = PRIOR_DRAWS // len(records)
        prior = _side_by_side([_prior_numbers(record, mentioned, draws) for record in records])
    except (PriorError, NotAvailableError):  # a flat prior has no draws: there is no Bayes factor
        prior = None
    rows = []
    for statement in statements:
        difference = _differences(statement, posterior)
        undefined = int(np.sum(~np.isfinite(difference)))
        if undefined:
            raise InputError(
                f"hypothesis({statement.text!r}): in {undefined:,} of {difference.size:,} draws this is no finite "
                "number"
            )
        before = None if prior is None else _differences(statement, prior)
        table = records[0].summarise(difference[..., None], ci_prob, ci_kind, signs=True)
        exact = None if before is None else densities_at_equality(statement, records)
        evidence = (
            _evidence(statement, difference, before, tables=len(records))
            if exact is None
            else _of_densities(statement, *exact)
        )
        row = {"hypothesis": statement.text, **table.iloc[0].to_dict(), **evidence}
        if interval is not None:
            inside = (difference >= interval[0]) & (difference <= interval[1])
            row["in_rope"] = float(inside.mean())
        rows.append(row)
    return pd.DataFrame(rows).set_index("hypothesis")


def _side_by_side(numbers: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Numbers (chain, draw) by name, the chains of all records together."""
    return {name: np.concatenate([number[name] for number in numbers]) for name in numbers[0]}


def _rope(rope: Any) -> tuple[float, float] | None:
    if rope is None:
        return None
    ends = list(rope) if isinstance(rope, tuple | list | np.ndarray) else [rope]
    numbers = [isinstance(end, int | float | np.number) and not isinstance(end, bool) for end in ends]
    low, high = (-ends[0], ends[0]) if numbers == [True] else ends if numbers == [True, True] else (np.nan, np.nan)
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"hypothesis(rope={rope!r}): a half-width above zero, or two ends, (low, high)")
    return float(low), float(high)


def _differences(statement: Statement, numbers: Mapping[str, Array]) -> Array:
    """left − right of every draw (draws,)."""
    if not statement.names:
        raise InputError(f"hypothesis({statement.text!r}): no parameter stands in it")
    return np.asarray(statement.difference([numbers[name] for name in statement.names]))


def _evidence(statement: Statement, after: Array, before: Array | None, *, tables: int = 1) -> dict[str, float]:
    """P(statement | data), and the Bayes factor for it against its opposite, with their Monte Carlo errors.

    Of an equation the Savage–Dickey ratio (Dickey 1971): posterior over prior density where the sides are equal; its
    probability is missing, since priors here give it none. Of several imputed tables ``after`` holds each one's chains
    in turn: how they differ is no Monte Carlo error.
    """
    if before is not None and np.isnan(before).any():  # the priors allow what the statement is no number for
        before = None
    if statement.relation == "=":
        factor, error = (np.nan, np.nan) if before is None else _ratio_of_densities(statement, after, before, tables)
        return {"probability": np.nan, "p_mcse": np.nan, "bayes_factor": factor, "bf_mcse": error}
    holds = HOLDS[statement.relation]
    p, size, p_error = _share(holds(after, 0.0), tables)
    if before is None:
        return {"probability": p, "p_mcse": p_error, "bayes_factor": np.nan, "bf_mcse": np.nan}
    q, prior_size, _ = _share(holds(before, 0.0), tables)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = float(np.divide(p, 1.0 - p) / np.divide(q, 1.0 - q))
    if not 0.0 < p < 1.0 or not 0.0 < q < 1.0:  # a factor of zero, or without a bound
        return {"probability": p, "p_mcse": p_error, "bayes_factor": factor, "bf_mcse": np.nan}
    of_log = 1.0 / (size * p * (1.0 - p)) + 1.0 / (prior_size * q * (1.0 - q))  # by the delta method
    return {"probability": p, "p_mcse": p_error, "bayes_factor": factor, "bf_mcse": factor * float(np.sqrt(of_log))}


def _of_densities(statement: Statement, after: tuple[float, float, float], before: float) -> dict[str, float]:
    """The same of an equation whose densities are known given the hyperparameters; that of the prior is exact."""
    density, number, error = after
    factor = density / before
    if number < FEWEST_NEAR:
        _warn_of_few(statement, int(number), "posterior")
        factor = error = np.nan
    return {"probability": np.nan, "p_mcse": np.nan, "bayes_factor": factor, "bf_mcse": factor * error}


def _warn_of_few(statement: Statement, count: int, whose: str) -> None:
    warn(
        f"hypothesis({statement.text!r}): {count} draws of the {whose} come close to equality, too few to estimate "
        "its density there, so that the Bayes factor is missing",
        NotEstimableWarning,
    )


def _share(holds: Array, tables: int) -> tuple[float, float, float]:
    """How many of the draws (chain, draw) fulfil a statement, their effective number, and the error of the share.

    The error is that of a share with one draw for and one against on top, so that all or none leave some as well.
    """
    share, size = float(holds.mean()), _effective(holds.astype(float), tables)
    smoothed = (share * size + 1.0) / (size + 2.0)
    return share, size, float(np.sqrt(smoothed * (1.0 - smoothed) / (size + 2.0)))


def _ratio_of_densities(statement: Statement, after: Array, before: Array, tables: int) -> tuple[float, float]:
    """Posterior over prior density where the sides are equal, and its error; missing where too few draws are near."""
    (numerator, near, above), (denominator, near_before, below) = (
        _density_at_zero(draws, tables) for draws in (after, before)
    )
    if min(near, near_before) < FEWEST_NEAR:
        whose, count = ("prior", near_before) if near_before < FEWEST_NEAR else ("posterior", near)
        _warn_of_few(statement, count, whose)
        return np.nan, np.nan
    ratio = numerator / denominator
    return ratio, float(ratio * np.hypot(above, below))


def _effective(values: Array, tables: int) -> float:
    """The effective number of draws (chain, draw) of so many tables, the same number of chains of each."""
    return sum(effective_size(part) for part in np.split(values, tables))


def _density_at_zero(draws: Array, tables: int) -> tuple[float, int, float]:
    """By a normal kernel of Silverman's width, from the quartiles where tails are long.

    With the number of draws that it rests on, and its relative Monte Carlo error by their effective number.
    """
    low, high = np.quantile(draws, [0.25, 0.75])
    spread = min(float(draws.std()), float(high - low) / 1.34)
    if not spread > 0.0:
        return np.nan, draws.size, np.nan
    width = 0.9 * spread * draws.size**-0.2
    kernels = stats.norm.pdf(draws / width) / width
    density, near = float(kernels.mean()), int(np.sum(np.abs(draws) < 2.0 * width))
    if not density > 0.0:
        return density, near, np.nan
    return density, near, float(kernels.std() / np.sqrt(_effective(kernels, tables)) / density)


def _posterior_numbers(record: Draws, mentioned: Sequence[Effect]) -> dict[str, Array]:
    """Draws (chain, draw) of everything a statement may name."""
    labels, draws = parameter_draws(record)
    numbers = _named(record.design, labels, draws, record.values)
    return numbers | {effect.name: effect.drawn(record.design, record) for effect in mentioned}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PriorDraws:
    """Draws of the priors, in the form in which `parameter_draws` reads those of a posterior."""

    design: Design
    values: Values
    arrays: Mapping[str, Array]

    def draws(self, name: str) -> Array:
        return self.arrays[name]


def _prior_numbers(record: Draws, mentioned: Sequence[Effect], draws: int) -> dict[str, Array]:
    """Draws (1, draw) of the same from the priors.

    Raises
    ------
    PriorError
        A prior is improper.
    """
    design, names = record.design, record.design.names
    smooths = [smooth.name for smooth in design.smooths]
    effects_of = {*smooths, *(effect.group.name for effect in mentioned)}
    prior_sample = prior_draws(design, record.priors, draws=draws, random_seed=0, effects_of=effects_of)
    arrays = {name: values[None] for name, values in prior_sample.items()}  # one chain
    correlations = [arrays.get(names.cor[group.name], np.eye(group.q)) for group in design.groups]
    sds = [arrays[names.sd[group.name]] for group in design.groups]
    parameters = {name: arrays[name] for name in design.parameters}
    values = Values(
        beta=arrays[BETA],
        covariances=tuple(covariance(sd, correlation) for sd, correlation in zip(sds, correlations, strict=True)),
        family=design.family.complete(parameters, (1, draws)),
        residual=residual_values(design, arrays),
        curves=tuple(arrays[names.b[name]][..., 0] for name in smooths),
    )
    source = _PriorDraws(design=design, values=values, arrays=arrays)
    labels, of_parameters = parameter_draws(source)
    numbers = _named(design, labels, of_parameters, values)
    return numbers | {effect.name: effect.drawn(design, source) for effect in mentioned}


def _named(design: Design, labels: pd.DataFrame, draws: Array, values: Values) -> dict[str, Array]:
    numbers = {}
    for k, (part, name) in enumerate(zip(labels["part"], labels["name"], strict=True)):
        is_factor = part not in variance.PARTS
        full = f"{name[:-1]} | {part})" if is_factor else name  # sd(Days) of Subject: sd(Days | Subject)
        numbers[full] = draws[..., k]
    try:
        shares = variance.icc(design, Parts.of(design, values))
    except NotAvailableError:  # no random effects, or no residual variance to compare with
        return numbers
    numbers["icc"] = np.asarray(shares.pop("adjusted"))
    numbers |= {f"icc({name})": np.asarray(share) for name, share in shares.items() if name != "unadjusted"}
    return numbers
