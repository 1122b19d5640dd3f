"""A predictive check, and how it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..results.reading import ResultTable, Shown
from ..results.text import Table, Text, number, percent, table
from ..tools.arrays import Array

LEVELS_SHOWN = 5
LARGE = 1e7  # from here on powers of ten; statistics of priors go that far


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PredictiveCheck(Shown):
    """Statistics of the data beside the same statistics of data sets from a model.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a statistic. Columns stat; group (the factor whose levels it compares or looks into, else empty);
        level (within which it was taken, else None); n (rows); observed; mean, sd, median, conf_low, conf_high of the
        data sets; p_value: P(T(data set) ≥ T(observed)), ties counted half; p_two_sided: 2 min(p, 1 − p).
    counts : pandas.DataFrame
        One row a statistic taken within levels. Columns stat, group; levels: how many; outside: of how many
        p_two_sided is below 1 − ci_prob; mean, conf_low, conf_high: of how many in the data sets, each of them held
        against the others; p_value: P(as many in a data set, or more).
    replicates : float64 array (S, rows of table)
        The statistics of the data sets.
    y, y_rep : float64 arrays (n,), (S, n)
        Response and data sets on the scale of the check.
    index : pandas.Index
        Labels of the n rows.
    design : Design
        What they were simulated from.
    source : {"posterior", "estimates", "prior"}
        What the unknowns were drawn from.
    groups : dict
        What was asked of every grouping factor, as in predictions.
    by : str
        What the table looks within; empty for all rows together.
    ci_prob : float
        Probability of the intervals.
    title : str
    remarks : tuple of str
        Scale of the response, what was left out.
    """

    table: pd.DataFrame
    counts: pd.DataFrame
    replicates: Array
    y: Array
    y_rep: Array
    index: pd.Index
    design: Design
    source: str
    groups: Mapping[str, str]
    by: str
    ci_prob: float
    title: str
    remarks: tuple[str, ...]

    @property
    def idata(self) -> Any:
        """:meth:`to_datatree`."""
        return self.to_datatree()

    def to_datatree(self) -> Any:
        """Data sets and data as ArviZ takes them.

        Returns
        -------
        xarray.DataTree
            Groups ``posterior_predictive`` (``prior_predictive`` of priors) with ``y`` (chain, draw, obs), and
            ``observed_data``; on the scale of the check.
        """
        import xarray as xr

        obs = {"obs": self.index.to_numpy()}
        steps = {"chain": np.arange(1), "draw": np.arange(len(self.y_rep))}
        is_whole = self.design.family.is_count or self.design.family.is_categorical
        kind = np.int64 if is_whole else np.float64  # ArviZ goes by the type
        y, y_rep = self.y.astype(kind), self.y_rep.astype(kind)
        drawn = xr.Dataset({"y": (("chain", "draw", "obs"), y_rep[None])}, coords=steps | obs)
        drawn.attrs["sample_dims"] = ["chain", "draw"]
        group = "prior_predictive" if self.source == "prior" else "posterior_predictive"
        return xr.DataTree.from_dict({group: drawn, "observed_data": xr.Dataset({"y": ("obs", y)}, coords=obs)})

    @property
    def judged(self) -> pd.DataFrame:
        """What the verdict rests on: label, p, what was found.

        p is two-sided, for counts of levels twice the one-sided, and no less than the number of data sets can tell.
        """
        overall = self.table[self.table["level"].isna()]
        rows = [(label_of(r), r["p_two_sided"], _what(r)) for _, r in overall.iterrows()]
        rows += [(label_of(r), min(1.0, 2.0 * r["p_value"]), _what_of_levels(r)) for _, r in self.counts.iterrows()]
        judged = pd.DataFrame(rows, columns=["label", "p", "found"]).dropna(subset="p")
        return ResultTable(judged).assign(p=judged["p"].clip(lower=1.0 / len(self.replicates)))

    @property
    def failed(self) -> tuple[str, ...]:
        """Statistics that the model does not reproduce: p below (1 − ci_prob) / number of statistics (Bonferroni)."""
        judged = self.judged
        return tuple(judged["label"][judged["p"] < (1.0 - self.ci_prob) / max(len(judged), 1)])

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Statistics outside their interval, but not further than chance may put one of so many."""
        judged = self.judged
        outside = judged["label"][judged["p"] < 1.0 - self.ci_prob]
        return tuple(label for label in outside if label not in self.failed)

    @property
    def verdict(self) -> str:
        """Which statistics the model does not reproduce, in words."""
        return _verdict(self)

    def text(self) -> Text:
        """Title, tables, how to read them, verdict."""
        return _printed(self)


# -- the check


def _printed(check: PredictiveCheck) -> Text:
    """Title, tables, how to read them, verdict."""
    overall = check.table[check.table["level"].isna()]
    caption = (
        "Expected: median of the data sets. p: share of them whose statistic is as large as the observed one or "
        f"larger, ties counted half. *: outside the {percent(check.ci_prob)} interval."
    )
    if check.source != "prior":
        caption += " These data were used for the fit, so p lies nearer to 0.5 than chance alone would put it."
    return Text.of(
        check.title,
        _table_of(check, overall, "", label_of) if len(overall) else None,
        *_level_tables(check),
        caption,
        *check.remarks,
        f"Verdict: {_verdict(check)}",
    )


def _verdict(check: PredictiveCheck) -> str:
    """Which statistics the model does not reproduce, and how many chance alone would put outside."""
    judged = check.judged.set_index("label")["found"]
    failed, doubtful = check.failed, check.doubtful
    k, level = len(judged), 1.0 - check.ci_prob
    subject, does, does_not = (
        ("the priors", "expect", "do not expect")
        if check.source == "prior"
        else ("the model", "reproduces", "does not reproduce")
    )
    if not failed and not doubtful:
        return f"{subject} {does} the {many(k, 'statistic') if k != 1 else 'statistic'} looked at."
    sentences = [
        f"{start} {'; '.join(f'{label} ({judged[label]})' for label in labels)}."
        for start, labels in ((f"{subject} {does_not}", failed), ("In doubt:", doubtful))
        if labels
    ]
    if k > 1:
        outside = len(failed) + len(doubtful)
        sentences.append(f"Outside: {outside} of {k} statistics, where chance alone puts about {level * k:.2g}.")
    if doubtful and len(check.replicates) * level <= k:
        sentences.append(f"More data sets would tell more: draws={round(2 * k / level)}.")
    return " ".join(sentences)


def _level_tables(check: PredictiveCheck) -> Iterator[Table]:
    """How many levels are outside, and those that are furthest."""
    if check.counts.empty:
        return
    rows = [
        [
            label_of(r),
            f"{r['levels']:,}",
            f"{r['outside']:,}",
            f"{r['mean']:.1f}",
            f"{r['conf_low']:.0f}",
            f"{r['conf_high']:.0f}",
            _starred(check, r["p_value"], 2.0 * r["p_value"]),
        ]
        for _, r in check.counts.iterrows()
    ]
    headers = ["", "Levels", "Outside", "Expected", *_ends(check), "p "]
    yield table(headers, rows, title=f"Within the levels of {check.by}:")
    within = check.table[check.table["level"].notna()]
    distance = ((within["observed"] - within["mean"]) / within["sd"]).abs()
    order = within.assign(away=-distance).sort_values(["p_two_sided", "away"])
    furthest = order[order["p_two_sided"].notna()].iloc[:LEVELS_SHOWN]
    yield _table_of(check, furthest, "Furthest from what is expected:", _level_label)


def _table_of(check: PredictiveCheck, chosen: pd.DataFrame, title: str, label: Callable[[Any], str]) -> Table:
    rows = [
        [
            label(r),
            *(_cell(r[c], r["sd"]) for c in ("observed", "median", "conf_low", "conf_high")),
            _starred(check, r["p_value"], r["p_two_sided"]),
        ]
        for _, r in chosen.iterrows()
    ]
    return table(["", "Observed", "Expected", *_ends(check), "p "], rows, title=title)


def _ends(check: PredictiveCheck) -> list[str]:
    tail = (1.0 - check.ci_prob) / 2.0
    return [percent(tail), percent(1.0 - tail)]


def _starred(check: PredictiveCheck, p: float, two_sided: float) -> str:
    return share(p, len(check.replicates)) + ("*" if two_sided < 1.0 - check.ci_prob else " ")


def share(p: float, count: int, *, sign: bool = False) -> str:
    """A share of so many data sets, no finer than their number tells; ``sign`` adds "= " where it is exact."""
    if not np.isfinite(p):
        return ""
    least, digits = 1.0 / count, 3 if count <= 1000 else 4
    if p < least or p > 1.0 - least:
        gap = " " if sign else ""
        return f"<{gap}{least:.{digits}f}" if p < least else f">{gap}{1.0 - least:.{digits}f}"
    return f"{'= ' if sign else ''}{p:.{digits}f}"


def label_of(row: Any) -> str:
    """A statistic as it prints: with the factor whose levels it is about."""
    return f"{row['stat']} | {row['group']}" if row["group"] else str(row["stat"])


def _level_label(row: Any) -> str:
    return f"{row['stat']} | {row['group']} = {row['level']}"


def _what(row: Any) -> str:
    """A statistic of the data and the interval of the data sets."""
    shown = {c: _cell(row[c], row["sd"]) for c in ("observed", "conf_low", "conf_high")}
    return f"{shown['observed']}, expected {shown['conf_low']} to {shown['conf_high']}"


def _what_of_levels(row: Any) -> str:
    """How many levels are outside, and how many of the data sets are."""
    return (
        f"{row['outside']:,} of {many(row['levels'], 'level')} outside, expected {row['conf_low']:.0f} to "
        f"{row['conf_high']:.0f}"
    )


def _cell(value: float, sd: float) -> str:
    return f"{value:.3g}" if abs(value) >= LARGE else number(value, sd)


def many(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
