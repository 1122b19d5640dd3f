"""Hypotheses about parameters: F tests of a point fit, probabilities and Bayes factors of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
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
from .draws import Draws
from .estimates import Estimates
from .parameter_draws import parameter_draws
from .prior_draws import prior_draws, residual_values
from .statements import Statement, linear, parse
from .summaries import flat
from .variance import Parts, Values

PRIOR_DRAWS = 20_000
FEWEST_NEAR = 10  # draws within two widths of a kernel: a density from fewer is off by a third or more
HOLDS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


def test(record: Estimates, hypotheses: Any, ddf: str | None) -> pd.DataFrame:
    """The table behind :meth:`PointFit.test`."""
    names = record.design.x_names
    statements = parse(hypotheses, names, "test")
    L, r = linear(statements, names, "test")
    about = wald.approximation(record.design, record.solution, ddf)
    f_test = about.f_test(L, L @ record.solution.beta - r)
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
    interval = _rope(rope)
    posterior = {name: flat(values) for name, values in _posterior_numbers(record).items()}
    statements = parse(hypotheses, list(posterior), "hypothesis")
    try:
        prior = _prior_numbers(record)
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
        table = record.summarise(difference.reshape(record.n_chains, record.n_draws, 1), ci_prob, ci_kind, signs=True)
        row = {"hypothesis": statement.text, **table.iloc[0].to_dict()}
        row["probability"], row["bayes_factor"] = _evidence(statement, difference, before)
        if interval is not None:
            inside = (difference >= interval[0]) & (difference <= interval[1])
            row["in_rope"] = float(inside.mean())
        rows.append(row)
    return pd.DataFrame(rows).set_index("hypothesis")


def _rope(rope: Any) -> tuple[float, float] | None:
    if rope is None:
        return None
    low, high = (-rope, rope) if np.ndim(rope) == 0 else tuple(rope)
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"hypothesis(rope={rope!r}): a half-width above zero, or two ends, (low, high)")
    return float(low), float(high)


def _differences(statement: Statement, numbers: Mapping[str, Array]) -> Array:
    """left − right of every draw (draws,)."""
    if not statement.names:
        raise InputError(f"hypothesis({statement.text!r}): no parameter stands in it")
    return np.asarray(statement.difference([numbers[name] for name in statement.names]))


def _evidence(statement: Statement, after: Array, before: Array | None) -> tuple[float, float]:
    """P(statement | data), and the Bayes factor for it against its opposite.

    Of an equation the Savage–Dickey ratio (Dickey 1971): posterior over prior density where the sides are equal; its
    probability is missing, since priors here give it none.
    """
    if before is not None and np.isnan(before).any():  # the priors allow what the statement is no number for
        before = None
    if statement.relation == "=":
        return np.nan, np.nan if before is None else _ratio_of_densities(statement, after, before)
    holds = HOLDS[statement.relation]
    p = float(holds(after, 0.0).mean())
    if before is None:
        return p, np.nan
    q = float(holds(before, 0.0).mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        return p, float(np.divide(p, 1.0 - p) / np.divide(q, 1.0 - q))


def _ratio_of_densities(statement: Statement, after: Array, before: Array) -> float:
    """Posterior over prior density where the sides are equal; missing where too few draws are near to tell."""
    (numerator, near), (denominator, near_before) = _density_at_zero(after), _density_at_zero(before)
    if min(near, near_before) < FEWEST_NEAR:
        whose, count = ("prior", near_before) if near_before < FEWEST_NEAR else ("posterior", near)
        warn(
            f"hypothesis({statement.text!r}): {count} draws of the {whose} come close to equality, too few to estimate "
            "its density there, so that the Bayes factor is missing",
            NotEstimableWarning,
        )
        return np.nan
    return numerator / denominator


def _density_at_zero(draws: Array) -> tuple[float, int]:
    """By a normal kernel of Silverman's width, from the quartiles where tails are long; and the draws it rests on."""
    low, high = np.quantile(draws, [0.25, 0.75])
    spread = min(float(draws.std()), float(high - low) / 1.34)
    if not spread > 0.0:
        return np.nan, len(draws)
    width = 0.9 * spread * len(draws) ** -0.2
    return float(np.mean(stats.norm.pdf(draws / width)) / width), int(np.sum(np.abs(draws) < 2.0 * width))


def _posterior_numbers(record: Draws) -> dict[str, Array]:
    """Draws (chain, draw) of everything a statement may name."""
    labels, draws = parameter_draws(record)
    return _named(record.design, labels, draws, record.values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PriorDraws:
    """Draws of the priors, in the form in which `parameter_draws` reads those of a posterior."""

    design: Design
    values: Values
    arrays: Mapping[str, Array]

    def draws(self, name: str) -> Array:
        return self.arrays[name]


def _prior_numbers(record: Draws) -> dict[str, Array]:
    """Draws of the same from the priors (draws,).

    Raises
    ------
    PriorError
        A prior is improper.
    """
    design, names = record.design, record.design.names
    drawn = prior_draws(design, record.priors, draws=PRIOR_DRAWS, random_seed=0)
    arrays = {name: values[None] for name, values in drawn.items()}  # one chain
    correlations = [arrays.get(names.cor[group.name], np.eye(group.q)) for group in design.groups]
    sds = [arrays[names.sd[group.name]] for group in design.groups]
    parameters = {name: arrays[name] for name in design.parameters}
    values = Values(
        beta=arrays[BETA],
        covariances=tuple(covariance(sd, cor) for sd, cor in zip(sds, correlations, strict=True)),
        family=design.family.complete(parameters, (1, PRIOR_DRAWS)),
        residual=residual_values(design, arrays),
        curves=variance.curves_of(design, [arrays[names.b[group.name]] for group in design.groups]),
    )
    source = _PriorDraws(design=design, values=values, arrays=arrays)
    labels, draws = parameter_draws(source)
    return {name: flat(each) for name, each in _named(design, labels, draws, values).items()}


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
