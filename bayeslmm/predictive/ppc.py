"""Predictive checks: whether data like these would come out of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.categories import as_seen, category_words
from ..design.codes import are_numbers
from ..design.design import Design
from ..errors import FitError, InputError
from ..results.point import PointFit
from ..results.replicates import Replicates, replicate
from ..results.summaries import check_interval
from ..tools.arrays import Array
from . import statistics as statistics
from .levels import levels_by
from .numbers import count_levels, summarise
from .record import PredictiveCheck, many
from .statistics import Split, Statistic

TITLES = {
    "posterior": "Posterior predictive check: {count:,} data sets from draws of the posterior",
    "estimates": "Plug-in predictive check: {count:,} data sets from the {how} estimates, taken as known",
    "prior": "Prior predictive check: {count:,} data sets from draws of the priors",
}
TARGETS = {
    "observed": "the observed levels",
    "new": "new levels",
    "average": "the average level",
    "population": "a new level for every row",
}


def ppc(
    fit: Any,
    stat: Any = None,
    *,
    by: Any = None,
    groups: str | Mapping[str, str] = "observed",
    draws: int = 500,
    random_seed: int | None = None,
    ci_prob: float = 0.95,
) -> PredictiveCheck:
    """Statistics of the data beside those of data sets simulated from a posterior, from estimates or from priors.

    Parameters
    ----------
    fit : PosteriorFit, PointFit or Model
        A posterior gives the posterior predictive check, a REML or ML fit its plug-in version, which takes the
        estimates as known, a model the prior predictive check.
    stat : str, callable, list of these, or dict of callables by name, optional
        By default what suits the family. Built-in: ``mean``, ``sd``, ``skewness``, ``min``, ``max``, ``median``,
        quantiles such as ``q10``, ``share_of_zeros``, ``share_of_ones``, ``share[category]``; and between the levels of
        every grouping factor: ``between_group_sd``, ``icc``, ``smallest_group_mean``, ``largest_group_mean``,
        ``within_sd_ratio`` (see Notes). A callable gets one data set (rows,) and returns a number; if it has a
        parameter ``axis``, all of them at once.
    by : str, Series or array, optional
        A grouping factor, a column of the data, or one value a row: statistics are then taken within each of its
        levels, and those between groups compare its levels. Numbers that are not whole are cut into ten bins of equal
        size.
    groups : {"observed", "new", "average", "population"} or dict by grouping factor
        Whose data are simulated, as in ``predict``. ``observed``: new observations of the same groups; ``new``: of as
        many other groups, which also checks the distribution between groups.
    draws : int
        Data sets.
    random_seed : int, optional
    ci_prob : float
        Probability of the intervals, and 1 − the level at which a statistic is marked.

    Returns
    -------
    PredictiveCheck

    Raises
    ------
    InputError
        An unknown statistic, one that returns no single number, a target that ``predict`` does not have either.
    DataError
        ``by`` is no column, or has another number of rows.

    Notes
    -----
    ``between_group_sd`` and ``icc`` are the estimates of the analysis of variance with n₀ = (N − Σnⱼ²/N)/(J − 1) rows a
    level: √max(0, (B − W)/n₀) and (B − W)/(B + (n₀ − 1)W), of the mean squares B between and W within levels (Searle,
    Casella & McCulloch 1992, chapter 3; Donner 1986). They know nothing of predictors, in data and data sets alike.
    ``within_sd_ratio`` is the largest over the smallest sd within a level, of those with five rows or more. Binomial
    responses are looked at as proportions, ordinal ones as the
    numbers that their categories are, or as scores 1, 2, ...

    References
    ----------
    Gelman, Meng & Stern (1996), Posterior predictive assessment of model fitness, Statistica Sinica 6.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> hsb = blm.load_dataset("hsb")
    >>> pooled = blm.Model("mathach ~ ses", hsb).fit_reml()
    >>> blm.ppc(pooled, ["between_group_sd", "icc"], by="school", random_seed=1).failed
    ('between_group_sd | school', 'icc | school')
    """
    check_interval(ci_prob)
    simulated = replicate(fit, draws=draws, groups=groups, random_seed=random_seed)
    design = simulated.design
    design.refuse_likelihood_weights("ppc()")
    design.refuse_censored("ppc()")
    used, y, y_rep, remarks = _on_scale(simulated)
    by_split = None if by is None else levels_by(fit, by).split(used)
    statistics_of, left_out = _wanted(design, stat, by_split, used)
    observed, replicates = statistics.compute(y[None], statistics_of)[0], statistics.compute(y_rep, statistics_of)
    frame = summarise(statistics_of, observed, replicates, ci_prob)
    return PredictiveCheck(
        table=frame,
        counts=count_levels(frame, replicates, ci_prob),
        replicates=replicates,
        y=y,
        y_rep=y_rep,
        index=design.index[used],
        design=design,
        source=simulated.source,
        groups=simulated.groups,
        by="" if by_split is None else by_split.name,
        ci_prob=ci_prob,
        title=_title(fit, simulated, len(y_rep)),
        remarks=(*remarks, *left_out),
    )


def _title(fit: Any, drawn: Replicates, count: int) -> str:
    design = drawn.design
    method = ("REML" if fit.solution.reml else "ML") if isinstance(fit, PointFit) else ""
    lines = [
        TITLES[drawn.source].format(count=count, how=method),
        f"Formula: {design.described}",
        f"Rows: {design.n:,}; response: {design.response}, family {design.family}",
    ]
    if drawn.groups and drawn.source != "prior":
        named = {t: [name for name, asked in drawn.groups.items() if asked == t] for t in TARGETS}
        targets = [f"{TARGETS[t]} of {', '.join(names)}" for t, names in named.items() if names]
        lines.append(f"Simulated for {'; '.join(targets)}")
    return "\n".join(lines)


def _on_scale(drawn: Replicates) -> tuple[NDArray[np.bool_], Array, Array, list[str]]:
    """The rows used (n,), response and data sets on the scale of the check, and remarks on them."""
    design, remarks = drawn.design, []
    is_used = np.ones(design.n, dtype=bool) if design.trials is None else design.trials > 0
    y, y_rep = design.y[is_used], drawn.y[:, is_used] if not is_used.all() else drawn.y
    finite = np.isfinite(y_rep).all(axis=1)
    if not finite.any():
        raise FitError(
            f"none of {len(y_rep):,} data sets is of numbers that a computer can hold: the unknowns they are drawn "
            "from make impossible or infinite responses. Look at prior_audit() or the posterior first."
        )
    if not finite.all():
        y_rep = y_rep[finite]
        remarks.append(f"{many(int((~finite).sum()), 'data set')} with impossible or infinite responses left out.")
    if design.trials is not None:
        y, y_rep = y / design.trials[is_used], y_rep / design.trials[is_used]
        remarks.append("Responses are looked at as proportions, successes over trials.")
    elif design.family.has_categories:
        y, y_rep = as_seen(design, y).astype(np.float64), as_seen(design, y_rep).astype(np.float64)
        first, *_, last = category_words(design)
        if design.family.is_ordered and not are_numbers(design.levels):
            remarks.append(
                f"Categories are scored 1, 2, ... in their order, from {first} to {last}; shares need no scores."
            )
    elif design.levels:
        remarks.append(f"Means are shares of {category_words(design)[1]}.")
    elif design.response not in design.frame.columns:
        remarks.append(f"Everything is on the scale of {design.response}, the left side of the formula.")
    for values in (y, y_rep):
        values.setflags(write=False)
    return is_used, y, y_rep, remarks


# -- statistics


def _wanted(
    design: Design, stat: Any, by: Split | None, used: NDArray[np.bool_]
) -> tuple[list[tuple[Statistic, Split]], list[str]]:
    """Every statistic with the levels it is of, and what had to be left out of those that nobody asked for."""
    all_rows = Split.whole(int(used.sum()))
    factors = (
        [by]
        if by is not None
        else [Split.of(group.name, group.codes[used], group.levels) for group in design.groups if not group.is_wide]
    )
    statistics_of, left_out = [], []
    for statistic in _statistics(design, stat, by is not None):
        if not statistic.between:
            statistics_of.append((statistic, by or all_rows))
            continue
        if not factors and stat is not None:
            raise InputError(
                f"ppc(stat={statistic.name!r}) compares groups, and the model has none. Say which: by=data['school']."
            )
        for factor in factors:
            reason = statistics.undefined(statistic.name, factor)
            if reason is None:
                statistics_of.append((statistic, factor))
            elif stat is None:
                left_out.append(f"Left out: {statistic.name} of {factor.name}, since {reason}.")
            else:
                raise InputError(f"ppc(stat={statistic.name!r}): {reason}")
    return statistics_of, left_out


def _statistics(design: Design, stat: Any, within: bool) -> list[Statistic]:
    """What was asked for, or what suits the family."""
    if stat is None:
        names = statistics.battery(design)
        if within:
            between = [name for name in names if name in statistics.BETWEEN]
            names = [*statistics.within_battery(design), *between]
        return [statistics.named(name, design) for name in names]
    if isinstance(stat, Mapping):
        chosen = [_statistic(design, value, str(name)) for name, value in stat.items()]
    elif isinstance(stat, list | tuple):
        chosen = [_statistic(design, value) for value in stat]
    else:
        chosen = [_statistic(design, stat)]
    if not chosen:
        raise InputError("ppc(stat=...): no statistic is named; leave stat out for those that suit the family")
    names = [statistic.name for statistic in chosen]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"ppc(stat=...): several statistics are called {repeated[0]!r}; name them: stat={{'name': function, ...}}"
        )
    return chosen


def _statistic(design: Design, stat: Any, name: str | None = None) -> Statistic:
    if isinstance(stat, str):
        suiting = statistics.battery(design)
        if stat not in suiting:
            why = f"categories have no mean and no order; there are {', '.join(suiting)}"
            design.refuse_nominal(f"ppc(stat={stat!r})", why)
        return statistics.named(stat, design)
    if callable(stat):
        return statistics.user_statistic(name or str(getattr(stat, "__name__", "stat")), stat)
    raise InputError(
        f"ppc(stat={stat!r}): a statistic is a name, a function of the response, or a dict of functions by name"
    )
