"""REML beside the posterior."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..covariances.template import sd_and_correlation
from ..design.design import Design, GroupTerm
from ..errors import InputError
from ..results import wald
from ..results.parameter_draws import parameter_draws
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.reading import Shown
from ..results.summaries import P_POSITIVE
from ..results.text import Text, decimals, number, percent, table
from ..results.variance import RESIDUAL
from ..terms.group import RHO
from ..tools.words import is_one_of

PRIOR_MATTERS = 0.05  # sensitivity from which a posterior moves noticeably (Kallioinen et al. 2024)
REMARKS = (
    "Diff.: (mean - estimate) in posterior sds; a star where stronger or weaker priors move the posterior "
    f"noticeably (power-scaling sensitivity above {PRIOR_MATTERS})."
)
AT_ONE = 1.0 - 1e-6  # a correlation of ±1, to the precision of the search
KEYS = ["effect", "group", "term"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class EstimateComparison(Shown):
    """Point estimates beside posterior summaries.

    Attributes
    ----------
    table : pandas.DataFrame
        Index effect, group, term, as `tidy` names them. Columns parameter (as in a summary); estimate, std_error, df,
        estimate_low, estimate_high of the point fit, missing where it has none; mean, sd, conf_low, conf_high of the
        posterior, p_positive of what can be negative; difference: (mean − estimate) in posterior sds; prior_sensitivity
        and whether it is above 0.05.
    ci_prob : float
        Probability of all intervals.
    boundary : tuple of str
        What the posterior says where the point estimate is a variance of zero or a correlation of ±1.
    """

    table: pd.DataFrame
    title: str
    ci_prob: float
    boundary: tuple[str, ...] = ()

    def text(self) -> Text:
        """Title, table and the boundary report."""
        rows = []
        for _, r in self.table.iterrows():
            ends = [r["estimate_low"], r["estimate_high"]]
            cells = [str(r["parameter"]), number(r["estimate"], r["sd"]), _known(r["std_error"], r["sd"])]
            cells.append(_range(ends, r["sd"]))
            cells += [number(r["mean"], r["sd"]), number(r["sd"], r["sd"])]
            mark = "*" if r["prior_matters"] else " "
            cells += [_range([r["conf_low"], r["conf_high"]], r["sd"]), f"{r['difference']:+.2f}{mark}"]
            rows.append(cells)
        interval = f"{percent(self.ci_prob)} CI"
        headers = ["", "Estimate", "SE", interval, "Mean", "SD", interval, "Diff. "]
        return Text.of(self.title, table(headers, rows, starts=(4,)), REMARKS, *self.boundary)


def _known(value: float, sd: float) -> str:
    return number(value, sd) if np.isfinite(value) else ""


def _range(ends: list[float], sd: float) -> str:
    """Both ends with two digits of the sd: the table is wide."""
    places = decimals(sd, significant=2)
    return f"{ends[0]:.{places}f}, {ends[1]:.{places}f}" if np.isfinite(ends).all() else ""


def _keyed(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Some columns of a table beside those that say of which parameter; of the whole model the group is empty."""
    kept = table.reindex(columns=[*KEYS, *columns])
    return kept.assign(group=kept["group"].astype(object).fillna(""))


def compare_estimates(
    point: PointFit, posterior: PosteriorFit, *, method: str = "wald", ci_prob: float = 0.95, ddf: str | None = wald.DDF
) -> EstimateComparison:
    """Point estimates beside the posterior, one row a parameter, and what the posterior says of a boundary.

    Parameters
    ----------
    point : PointFit
    posterior : PosteriorFit
        Of the same model and data.
    method : {"wald", "profile"}
        Intervals of the point fit: ``wald`` for the fixed effects only, ``profile`` for all parameters.
    ci_prob : float
        Probability of all intervals.
    ddf : {"satterthwaite", "kenward-roger", None}
        Degrees of freedom of ``wald`` intervals; None for z.

    Raises
    ------
    InputError
        The fits are of different models, or in another order.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> compared = blm.compare_estimates(model.fit_reml(), model.fit(random_seed=1))
    >>> bool(compared.table["difference"].abs().max() < 1)
    True
    """
    if not isinstance(point, PointFit) or not isinstance(posterior, PosteriorFit):
        raise InputError(
            f"compare_estimates(point, posterior): a REML or ML fit and then a posterior, not "
            f"{type(point).__name__} and {type(posterior).__name__}"
        )
    if not is_one_of(method, ("wald", "profile")):
        raise InputError(f"compare_estimates(method={method!r}): method is 'wald' or 'profile'")
    if not _same(point.design, posterior.design):
        raise InputError(
            f"these are fits of different models: {_named_model(point.design)} and "
            f"{_named_model(posterior.design)}, or of other data"
        )
    effects = ("fixed", "ran_pars", "family")
    left = _keyed(point.tidy(effects, ddf=ddf), ["estimate", "std_error", "df"])
    ends = _keyed(point.confint(method, ci_prob=ci_prob, ddf=ddf, progressbar=False), ["conf_low", "conf_high"])
    ends.columns = pd.Index([*KEYS, "estimate_low", "estimate_high"])
    posterior_table = posterior.tidy(effects, ci_prob=ci_prob)
    right = _keyed(posterior_table, ["estimate", "std_error", "conf_low", "conf_high", P_POSITIVE])
    right = right.rename(columns={"estimate": "mean", "std_error": "sd"})
    joined = _named(posterior).merge(left, on=KEYS).merge(ends, on=KEYS, how="left").merge(right, on=KEYS)
    joined["difference"] = (joined["mean"] - joined["estimate"]) / joined["sd"]
    moved = _keyed(posterior.prior_influence(), ["prior_sensitivity"])
    joined = joined.merge(moved, on=KEYS, how="left").set_index(KEYS)
    joined["prior_matters"] = joined["prior_sensitivity"] > PRIOR_MATTERS
    criterion_name = "REML" if point.solution.reml else "ML"
    kind = "profile likelihood"
    if method == "wald":
        kind = f"Wald, {wald.caption(point.design, point.solution, ddf)}"
    return EstimateComparison(
        table=joined,
        ci_prob=ci_prob,
        title=f"{criterion_name} beside the posterior\nFormula: {point.design.formula.text}\n"
        f"Intervals of {criterion_name}: {kind}",
        boundary=tuple(_boundary(point, posterior, criterion_name, ci_prob)),
    )


def _same(a: Design, b: Design) -> bool:
    """Whether two designs are of one formula and family, and of the same arrays."""
    if (a.formula.text, a.family, a.n) != (b.formula.text, b.family, b.n):
        return False
    return all(np.array_equal(array, other) for array, other in zip(_arrays(a), _arrays(b), strict=True))


def _arrays(design: Design) -> list[np.ndarray]:
    weights = np.ones(design.n) if design.weights is None else design.weights
    of_groups = [array for group in design.every_group for array in group.arrays]
    return [design.y, design.X, design.offset, weights, *of_groups]


def _named_model(design: Design) -> str:
    return f"{design.formula.text!r}, family {design.family.word}, on {design.n:,} rows"


def _named(posterior: PosteriorFit) -> pd.DataFrame:
    """The parameters as a summary calls them, the factor's name with those of random effects."""
    labels, _ = parameter_draws(posterior)
    names = [
        f"{name} | {group}" if group not in ("", RESIDUAL) else name
        for name, group in zip(labels["name"], labels["group"], strict=True)
    ]
    return labels[KEYS].assign(parameter=names)


def _boundary(point: PointFit, posterior: PosteriorFit, how: str, ci_prob: float) -> Iterator[str]:
    """A sentence or two for every sd of zero and every correlation of ±1 of the point fit."""
    for k, group in enumerate(point.design.every_group):
        if not point.solution.singular[k]:
            continue
        sd, correlation = sd_and_correlation(point.solution.covariances[k])
        posterior_draws, named = posterior.draws(posterior.design.names.sd[group.name]), False
        for column, c in zip(group.sd_terms, group.template.sd_columns, strict=True):
            if sd[c] == 0.0:
                named = True
                yield _zero_sd(group, column, posterior_draws[..., c], how, ci_prob)
        for a, b in group.correlated:
            if abs(correlation[a, b]) > AT_ONE and sd[a] and sd[b]:
                named = True
                yield _extreme_correlation(
                    group,
                    a,
                    b,
                    float(correlation[a, b]),
                    posterior.draws(posterior.design.names.cor[group.name])[..., a, b],
                    how,
                    ci_prob,
                )
        if not named:
            yield (
                f"The covariance matrix of {group.name} is singular by {how}: some combination of "
                f"{', '.join(group.columns)} does not vary. The posterior is of full rank; its correlations above say "
                "how far the data tell them."
            )


def _zero_sd(group: GroupTerm, column: str, drawn: np.ndarray, how: str, ci_prob: float) -> str:
    upper, middle = np.quantile(drawn, [ci_prob, 0.5])
    name = f"sd({column} | {group.name})"
    return (
        f"{name} is zero by {how}. That is the most plausible single value, not what is known: the posterior has a "
        f"median of {number(middle)} and is below {number(upper)} with probability {percent(ci_prob)} (one-sided). "
        "If differences of that size would not matter, the term can go; if they would, the data do not exclude them."
    )


def _extreme_correlation(
    group: GroupTerm, a: int, b: int, estimate: float, drawn: np.ndarray, how: str, ci_prob: float
) -> str:
    low, middle, high = np.quantile(drawn, [(1.0 - ci_prob) / 2.0, 0.5, (1.0 + ci_prob) / 2.0])
    other, label = group.columns[b], group.correlation_label(a, b)
    wide = high - low > 1.0
    verdict = (
        "the data hardly tell it, and diag() without it may do"
        if wide and label.startswith(RHO)
        else "the data hardly tell it, and ({0} || {1}) without it may do"
        if wide
        else "it is strong, but its sign and rough size are all the data tell"
    ).format(" + ".join(column for column in group.columns if column != "Intercept") or other, group.name)
    return (
        f"cor({label} | {group.name}) is {estimate:+.0f} by {how}. The posterior has a median of {middle:.2f} "
        f"and lies between {low:.2f} and {high:.2f} with probability {percent(ci_prob)}: {verdict}."
    )
