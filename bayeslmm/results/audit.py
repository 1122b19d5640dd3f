"""What the priors imply before any data are seen: sds, ICC, shrinkage, and the range of responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..covariances.template import covariance
from ..design.categories import as_seen, category_words
from ..design.codes import are_numbers
from ..design.design import Design, GroupTerm
from ..design.names import Names
from ..design.predictors import ParameterPart
from ..design.priors import Priors
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from . import variance
from .prior_draws import prior_draws, residual_values, response_stream, responses
from .reading import for_reading
from .simulation import linear_predictor
from .summaries import check_interval
from .text import Table, Text, number, table

VALUES = 10_000_000  # simulated responses in all: a second or two
FEWEST_SETS = 200  # simulated data sets, however many rows
ROWS_KEPT = 500  # of each data set, for the quantiles of single responses
CHUNK = 2_000_000  # responses in memory at a time

FAR_FROM_ZERO = 3.0  # |mean| of a predictor in sds, as for NUTS
TOO_MANY = 0.1  # share of impossible or far responses that is worth a word
TIMES_RANGE = 10.0  # an interval so many times as wide as the observed range
TIMES_SCALE = 10.0  # a group sd so many times the response's
ICC_LIMITS = (0.05, 0.95)
CERTAIN = 0.01  # probabilities under it or over 1 − it are near-certain

_COLUMNS = ["quantity", "group", "term", "low", "median", "high", "remark"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """What the priors imply; prints in a terminal and in a notebook.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a quantity: quantity, group, term, low, median, high, remark. Quantities are ``sd``, the family's
        parameters, ``icc``, ``shrinkage``, and ``response``, ``response_mean``, ``response_sd`` with the terms
        ``simulated`` and ``observed``; of categories without an order ``share[...]`` in place of these.
    remarks : tuple of str
        What is off; empty where nothing is.
    notes : tuple of str
        How to read the numbers, and what is left out.
    heading : str
    ci_prob : float
        Probability between ``low`` and ``high``.
    """

    table: pd.DataFrame
    remarks: tuple[str, ...]
    notes: tuple[str, ...]
    heading: str
    ci_prob: float

    @property
    def text(self) -> Text:
        """Paragraphs and tables of the print."""
        remarks = "\n".join(["Worth a look:", *(f"- {remark}" for remark in self.remarks)])
        return Text.of(
            f"What the priors imply before any data are seen\n{self.heading}",
            self._parameters(),
            self._responses(),
            remarks if self.remarks else "Nothing looks off.",
            "\n".join(self.notes),
        )

    def _headers(self) -> tuple[str, str, str]:
        low, high = (50.0 * (1.0 + sign * self.ci_prob) for sign in (-1, 1))
        return f"{low:g} %", "median", f"{high:g} %"

    def _parameters(self) -> Table | None:
        rows = self.table[~self.table["term"].isin(_SOURCES)]
        cells = []
        for _, r in rows.iterrows():
            values = _numbers(r, share=r["quantity"] in ("icc", "shrinkage"))
            cells.append([_label(r["quantity"], r["group"], r["term"]), *values, r["remark"]])
        return _flush_left(["", *self._headers(), ""], cells, "Parameters:") if cells else None

    def _responses(self) -> Table:
        rows = self.table.set_index(["quantity", "term"])
        cells = []
        for quantity in self.table.loc[self.table["term"] == "simulated", "quantity"]:
            label = _RESPONSES.get(quantity, quantity)
            simulated, observed = rows.loc[(quantity, "simulated")], rows.loc[(quantity, "observed")]
            observed_text = " / ".join(text for text in _numbers(observed) if text != "-")
            cells.append([label, *_numbers(simulated), observed_text])
        unit = self.table.loc[self.table["term"] == "simulated", "remark"].iloc[0]
        return _flush_left(["", *self._headers(), "observed"], cells, f"Simulated responses ({unit}):")

    def __str__(self) -> str:
        return str(self.text)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.text._repr_html_()


_SOURCES = ("simulated", "observed")
_RESPONSES = {"response": "one response", "response_mean": "mean of a data set", "response_sd": "sd of a data set"}


def _flush_left(headers: list[str], rows: list[list[str]], title: str) -> Table:
    """A table whose last column is flush left too: padded to one width."""
    widest = max(len(row[-1]) for row in [headers, *rows])
    headers, *rows = [[*row[:-1], row[-1].ljust(widest)] for row in [headers, *rows]]
    return table(headers, rows, title=title)


def _label(quantity: str, group: str, term: str) -> str:
    """A quantity in print."""
    if quantity == "sd":
        return f"sd({term} | {group})"
    if quantity == "icc":
        return f"ICC of {group}" if group else "ICC"
    if quantity == "shrinkage":
        return f"shrinkage of a typical {group}"
    return f"{quantity} {term}".rstrip()


def _numbers(row: Any, *, share: bool = False) -> list[str]:
    """Quantiles in print: shares with three decimals, others with three significant digits."""
    values = [float(row[name]) for name in ("low", "median", "high")]
    return [f"{value:.3f}" if share else _shown(value) for value in values]


def _shown(value: float) -> str:
    """Three significant digits; infinity by name, which prior simulations may reach."""
    if np.isnan(value):
        return "-"
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    if abs(value) >= 1e6:
        return f"{value:.3g}"
    return f"{value:.0f}" if value == round(value) else number(value, digits=3)


def prior_audit(
    design: Design, priors: Priors, *, draws: int = 4000, random_seed: int | None = 1, ci_prob: float = 0.9
) -> Audit:
    """What the priors imply before any data are seen.

    Parameters
    ----------
    design : Design
    priors : Priors
        All of them proper.
    draws : int
        Draws of the parameters; responses are simulated for as many of them as make ten million.
    random_seed : int, optional
    ci_prob : float
        Probability between the outer columns.

    Returns
    -------
    Audit

    Raises
    ------
    PriorError
        A prior is improper: nothing can be drawn from it.

    Examples
    --------
    >>> import bayeslmm
    >>> from bayeslmm.design.build import build_design
    >>> from bayeslmm.design.priors import resolve_priors
    >>> design = build_design("mathach ~ ses + (1 | school)", bayeslmm.load_dataset("hsb"))
    >>> audit = prior_audit(design, resolve_priors(design), draws=200)
    >>> list(audit.table["quantity"][:4])
    ['sd', 'sigma', 'icc', 'shrinkage']
    """
    check_interval(ci_prob)
    prior_sample = prior_draws(design, priors, draws=draws, random_seed=random_seed)
    probs = ((1.0 - ci_prob) / 2.0, 0.5, (1.0 + ci_prob) / 2.0)
    findings = _Findings(probs)
    stated = priors.at_means(design)
    _remark_on_far_predictors(findings, stated, prior_sample)
    _parameters(findings, stated, {entry.label: entry.at for entry in priors.entries if entry.at}, prior_sample)
    _between_groups(findings, stated, prior_sample)
    sets = _responses(findings, design, prior_sample, random_seed)
    findings.notes.append(_about_centring(design, priors))
    heading = (
        f"Formula: {design.described}\nFamily: {design.family}\n{draws:,} draws of the priors, "
        f"{sets:,} simulated data sets of {design.n:,} rows"
    )
    return Audit(
        table=for_reading(pd.DataFrame(findings.rows, columns=_COLUMNS)),
        remarks=tuple(findings.remarks),
        notes=tuple(findings.notes),
        heading=heading,
        ci_prob=ci_prob,
    )


class _Findings:
    """Rows, remarks and notes while they are gathered."""

    def __init__(self, probs: tuple[float, float, float]) -> None:
        self.probs = probs
        self.rows: list[tuple[str, str, str, float, float, float, str]] = []
        self.remarks: list[str] = []
        self.notes: list[str] = []

    def add(self, quantity: str, group: str, term: str, values: Array, remark: str) -> None:
        """A row of quantiles."""
        low, median, high = quantiles(values, self.probs)
        self.rows.append((quantity, group, term, low, median, high, remark))


def quantiles(values: Array, probs: Sequence[float]) -> tuple[float, ...]:
    """Sample quantiles that are values themselves, so that infinite ones may be among them; NaN are left out."""
    present = values[~np.isnan(values)]
    if not len(present):
        return (np.nan,) * len(probs)
    return tuple(float(v) for v in np.quantile(present, probs, method="inverted_cdf"))


# -- parameters


def _scale_name(design: Design) -> str:
    family = design.family
    if family.models_log:
        return f"log {design.response}"
    return design.response if family.link == "identity" else f"{family.link} scale"


def _parameters(findings: _Findings, design: Design, where: dict[str, str], drawn: dict[str, np.ndarray]) -> None:
    """Rows of group sds and of the family's parameters; a remark on sds far over the response's.

    ``where`` says of sds by their labels where they are stated, if not at zero.
    """
    scale, unit = _natural_scale(design)
    on = _scale_name(design)
    links = {group.name: _scale_of(part) for part in design.predictors.values() for group in part.groups}
    for group in design.every_group:
        on_its, of_mean = links[group.name] if group.name in links else on, group.name not in links
        for term, k in zip(group.sd_terms, group.template.sd_columns, strict=True):
            sd = drawn[design.names.spread_of(group.name, group.is_at_means)[0]][:, k]
            called = f"sd({term} | {group.name})"
            if isinstance(group, WideTerm):
                findings.add("sd", group.name, term, sd, on_its if group.is_grouping else "of a curve's coefficients")
                continue
            slope = not _is_constant(group.Z[:, k])
            position_words = f", at {where[called]}" if called in where else ""
            findings.add("sd", group.name, term, sd, (f"{on_its} per {term}" if slope else on_its) + position_words)
            spread = float(group.Z[:, k].std(ddof=1)) if slope else float(abs(group.Z[0, k]))
            (most,) = quantiles(sd, (0.95,))
            if of_mean and most * spread > TIMES_SCALE * scale:
                times = f"{most * spread / scale:,.0f} times the {unit} ({scale:.3g})"
                per = f", for one sd of {term}," if slope else ""
                findings.remarks.append(
                    f"The prior of {called} reaches{per} {times} at its 95 % point: groups may differ "
                    "more than any data could show. A narrower one, such as HalfNormal with the sd of the response as "
                    "sigma, keeps what is possible."
                )
    for label, values in _residual_parameters(design, drawn):
        findings.add(label[0], "", label[1], values, label[2])
    for name in design.parameters:
        if name in design.of_variable:
            part = design.of_variable[name]
            for k, label_of in enumerate(part.labels):
                findings.add(label_of, "", "", drawn[name][:, k], _scale_of(part))
            continue
        if name != "cutpoint":
            findings.add(name, "", "", drawn[name], on if name == "sigma" else "")
            continue
        middle = drawn["beta"] @ design.X.mean(axis=0)
        for k, level in enumerate(category_words(design)[:-1]):
            findings.add(name, "", f"over {level}", drawn[name][:, k] - middle, f"{on}, at average predictors")


def _scale_of(part: ParameterPart) -> str:
    """The scale of a linear predictor."""
    return f"log odds of {part.category}" if part.category else f"{part.link} scale"


def _residual_parameters(design: Design, drawn: dict[str, np.ndarray]) -> Iterator[tuple[tuple[str, str, str], Array]]:
    """(quantity, term, unit) and draws of what residuals have besides sigma: ratios of sds, and correlations."""
    part, values = design.residual, residual_values(design, drawn)
    if part is None or values is None:
        return
    for k, label in enumerate(part.labels):
        if k < part.n_spread:
            yield ("sd_ratio", label, "sd over sigma"), np.exp(values[:, k])
        else:
            yield ("rho", "" if label == "rho" else label, "of residuals"), values[:, k]


def _natural_scale(design: Design) -> tuple[float, str]:
    """The scale of the linear predictor that default priors use, and its name."""
    of_y = design.family.is_on_response_scale
    natural = design.family.scale(design.y - design.offset if of_y else design.y)
    scale, unit = natural.value, natural.words
    name = f"observed {unit}" if unit.startswith("sd(") else unit.split(":")[0]
    return scale or 1.0, name


def _is_constant(column: Array) -> bool:
    return bool(np.all(column == column[0]))


# -- between groups


def _between_groups(findings: _Findings, design: Design, drawn: dict[str, np.ndarray]) -> None:
    """Rows of the ICC and of the shrinkage of random intercepts."""
    if not any(group.is_grouping for group in design.groups):
        reason = "No random effects of groups, so there is no ICC and no shrinkage."
        findings.notes.append("Categories have no common ICC, and no shrinkage." if design.of_categories else reason)
        return
    covs = tuple(_covariances(group, design.names, drawn) for group in design.groups)
    family = {name: drawn[name] for name in design.parameters}
    family = design.family.complete(family, covs[0].shape[:1])
    beta = drawn["beta"] if design.x_names else np.zeros((len(covs[0]), 0))
    curves = variance.curves_of(design, [drawn[design.names.b[group.name]] for group in design.groups])
    residual_part = residual_values(design, drawn)
    values = variance.Values(beta=beta, covariances=covs, family=family, residual=residual_part, curves=curves)
    parts = variance.Parts.of(design, values)
    if parts.residual is None:
        findings.notes.append(parts.residual_words)
        return
    residual, shares = parts.residual, variance.icc(design, parts)
    findings.add("icc", "", "", shares["adjusted"], parts.residual_words)
    (middle,) = quantiles(shares["adjusted"], (0.5,))
    if not ICC_LIMITS[0] <= middle <= ICC_LIMITS[1]:
        says = "nearly all" if middle > 0.5 else "hardly any"
        findings.remarks.append(
            f"The prior median of the ICC is {middle:.3f}: the priors say that {says} of the variance lies between "
            "groups. Check the scales of the priors of group sds against that of the residual."
        )
    if len(parts.groups) > 1:
        for group in (group for group in design.groups if group.is_grouping):
            findings.add("icc", group.name, "", shares[group.name], "share of the same total")
    for group, covariance_matrix in zip(design.groups, covs, strict=True):
        for k in range(0 if group.is_wide else group.q):
            if np.all(group.Z[:, k] == 1.0):
                size, unit = _typical_size(design, group)
                residual_of_mean = residual / size
                with np.errstate(all="ignore"):
                    kept = np.where(
                        np.isinf(residual_of_mean),
                        0.0,
                        covariance_matrix[:, k, k] / (covariance_matrix[:, k, k] + residual_of_mean),
                    )
                findings.add("shrinkage", group.name, group.columns[k], 1.0 - kept, f"{size:g} {unit}")
    findings.notes.append(
        "ICC: share of the variance that lies between groups. Shrinkage of the effect of a group of median size: "
        "0 no pooling, 1 complete pooling."
    )


def _covariances(group: GroupTerm, names: Names, drawn: dict[str, np.ndarray]) -> Array:
    sd, correlation = names.spread_of(group.name, group.is_at_means)
    return covariance(drawn[sd], drawn.get(correlation, np.eye(group.q)))


def _typical_size(design: Design, group: GroupTerm) -> tuple[float, str]:
    """The median number of rows of a level; of trials for a binomial response, of weights where there are any."""
    counts, unit = np.ones(design.n), "rows"
    if design.weights is not None:
        counts, unit = design.weights, "rows by weight"
    if design.family.residual_is_known:
        unit = "rows of typical standard error"
    if design.trials is not None:
        counts, unit = design.trials, "trials"
    sizes = np.bincount(group.codes, weights=counts, minlength=group.n_levels)
    size = float(np.median(sizes))
    return size, unit.replace("rows", "row") if size == 1.0 else unit


# -- responses


def _responses(findings: _Findings, design: Design, drawn: dict[str, np.ndarray], random_seed: int | None) -> int:
    """Rows of simulated and observed responses, and remarks on the former; how many data sets were simulated."""
    rng = response_stream(random_seed)
    kept = np.sort(rng.choice(design.n, min(design.n, ROWS_KEPT), replace=False))
    sets = min(len(drawn["beta"]), max(FEWEST_SETS, VALUES // design.n))
    step = max(1, CHUNK // design.n)
    parts, means, sds, certain = [], [], [], []
    share_of = per_trial(design)
    for start in range(0, sets, step):
        chunk = {name: values[start : min(start + step, sets)] for name, values in drawn.items()}
        eta = linear_predictor(design, chunk["beta"], [chunk[design.names.b[group.name]] for group in design.groups])
        drawn_y = responses(design, chunk, rng)
        if design.family.is_nominal:
            parts.append(np.stack([(drawn_y == k).mean(axis=1) for k in range(len(design.levels))], axis=1))
            continue
        y = share_of * (as_seen(design, drawn_y) if design.family.has_categories else drawn_y)
        mean, sd = _mean_and_sd(y)
        means.append(mean)
        sds.append(sd)
        parts.append(y[:, kept])
        if design.family.mean_is_probability:
            with np.errstate(all="ignore"):
                certain.append(np.abs(design.family.mean(eta[:, kept]) - 0.5) > 0.5 - CERTAIN)
    if design.family.is_nominal:
        _shares(findings, design, np.concatenate(parts))
        return sets
    simulated, observed = np.concatenate(parts), share_of * as_seen(design, design.y)
    unit = _response_unit(design)
    for quantity, values, observed_values in (
        ("response", simulated, observed),
        ("response_mean", np.concatenate(means), np.array([np.nanmean(observed)])),
        ("response_sd", np.concatenate(sds), np.array([np.nanstd(observed, ddof=1)])),
    ):
        findings.add(quantity, "", "simulated", values, unit)
        findings.add(quantity, "", "observed", observed_values, unit)
        if len(observed_values) == 1:  # one number has no interval
            findings.rows[-1] = (quantity, "", "observed", np.nan, float(observed_values[0]), np.nan, unit)
    _remark_on_responses(findings, design, simulated[:, ~np.isnan(share_of[kept])], observed)
    if certain:
        _remark_on_certainty(findings, design, float(np.concatenate(certain).mean()))
    return sets


def _shares(findings: _Findings, design: Design, simulated: Array) -> None:
    """Rows of the shares (sets, K) of categories in simulated data sets, and in the data."""
    for k, level in enumerate(design.levels):
        observed = float(np.mean(design.y == k))
        findings.add(f"share[{level}]", "", "simulated", simulated[:, k], "share of the rows of a data set")
        findings.rows.append((f"share[{level}]", "", "observed", np.nan, observed, np.nan, ""))


def per_trial(design: Design) -> Array:
    """What turns successes into shares (n,): one over the trials, NaN where there are none; one for other families."""
    if design.trials is None:
        return np.ones(design.n)
    return np.divide(1.0, design.trials, out=np.full(design.n, np.nan), where=design.trials > 0)


def _response_unit(design: Design) -> str:
    if design.family.has_trials:
        return "share of successes"
    if design.family.has_categories:
        if are_numbers(design.levels):
            return "category"
        return f"category: 1 = {category_words(design)[0]} ... {len(design.levels)} = {category_words(design)[-1]}"
    if design.family.is_binary and design.levels:
        return f"1 = {category_words(design)[1]}"
    return design.response


def _mean_and_sd(y: Array) -> tuple[Array, Array]:
    """Mean and sd (draw,) of each row without its NaN; an infinite response makes them infinite."""
    present = ~np.isnan(y)
    count = present.sum(axis=1)
    with np.errstate(all="ignore"):
        mean = np.where(present, y, 0.0).sum(axis=1) / count
        squares = np.where(present, np.square(y - mean[:, None]), 0.0).sum(axis=1)
        sd = np.sqrt(squares / (count - 1))
    sd[count < 2] = np.nan
    sd[np.isinf(y).any(axis=1)] = np.inf
    return mean, sd


def _remark_on_responses(findings: _Findings, design: Design, simulated: Array, observed: Array) -> None:
    """Where many simulated responses are impossible or far from the observed ones."""
    impossible = float(np.isnan(simulated).mean())
    if impossible > TOO_MANY:
        findings.remarks.append(
            f"{impossible:.0%} of the simulated responses are impossible: their linear predictor gives a mean that no "
            f"{design.family.word} response can have under the {design.family.link} link. Narrow the priors, or take a "
            "log link."
        )
    lowest, highest = np.nanmin(observed), np.nanmax(observed)
    middle, reach = (lowest + highest) / 2.0, TIMES_RANGE * (highest - lowest) / 2.0
    far = float((np.abs(simulated - middle) > reach).mean()) if reach > 0.0 else 0.0
    if far > TOO_MANY and design.family.has_mean and not design.family.mean_is_probability:
        findings.remarks.append(
            f"{far:.0%} of the simulated responses lie outside an interval {TIMES_RANGE:.0f} times as wide as the "
            f"observed range ({_shown(lowest)} to {_shown(highest)}): the priors allow far more than the data show. "
            "Narrower priors of fixed effects and group sds lose nothing."
        )


def _remark_on_certainty(findings: _Findings, design: Design, share: float) -> None:
    if share > 0.5:
        kind = "probabilities" if design.family.is_discrete else "means"
        findings.remarks.append(
            f"{share:.0%} of the simulated {kind} are under {CERTAIN:.0%} or over {1 - CERTAIN:.0%}: together the "
            f"priors lean towards near-certain outcomes. Narrower ones on the {design.family.link} scale, such as "
            "{'fixed': Prior('Normal', mu=0, sigma=1)}, are more even on the scale of the response."
        )


# -- where predictors are measured from


def _about_centring(design: Design, priors: Priors) -> str:
    line = "Default priors do not depend on where predictors are measured from"
    if any(not _is_constant(column) for group in design.groups if not group.is_wide for column in group.Z.T):
        spread = "an sd of Intercept is that of groups where the predictors are zero"
        if any(entry.at for entry in priors.entries):
            return f"{line}. With random slopes {spread}; its prior is stated at their means, which lie far from zero."
        return f"{line}. With random slopes the spread of groups does: {spread}."
    if not (design.has_intercept or design.family.has_categories):
        return f"{line}, but a model without an intercept does."
    return f"{line}: a constant added to a column of the fixed part changes no number here."


def _remark_on_far_predictors(findings: _Findings, design: Design, drawn: dict[str, np.ndarray]) -> None:
    """A random slope on a predictor far from zero spreads groups at the observed rows, by priors stated at zero."""
    for group in design.groups:
        for k, term in enumerate(() if group.is_wide or group.is_at_means else group.columns):
            z = group.Z[:, k]
            if _is_constant(z) or not abs(z.mean()) > FAR_FROM_ZERO * z.std():
                continue
            spread = np.sqrt(variance.mean_group_variance(group.Z, _covariances(group, design.names, drawn)))
            (middle,) = quantiles(spread, (0.5,))
            findings.remarks.append(
                f"{term} lies {abs(z.mean()) / z.std():,.0f} sds from zero, so its random slope spreads the groups of "
                f"{group.name} at the observed rows: an sd of {_shown(middle)} (prior median) on the scale of the "
                f"linear predictor. Write center({term}) or subtract a typical value."
            )
