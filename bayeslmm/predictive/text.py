"""How a predictive check prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..results.text import Table, Text, number, percent, table

if TYPE_CHECKING:
    from .ppc import PredictiveCheck

LEVELS_SHOWN = 5
LARGE = 1e7  # from here on powers of ten; statistics of priors go that far


def text(check: PredictiveCheck) -> Text:
    """Title, tables, how to read them, verdict."""
    whole = check.table[check.table["level"].isna()]
    how = (
        "Expected: median of the data sets. p: share of them whose statistic is as large as the observed one or "
        f"larger, ties counted half. *: outside the {percent(check.ci_prob)} interval."
    )
    if check.source != "prior":
        how += " These data were used for the fit, so p lies nearer to 0.5 than chance alone would put it."
    return Text.of(
        check.title,
        _table_of(check, whole, "", label_of) if len(whole) else None,
        *_level_tables(check),
        how,
        *check.remarks,
        f"Verdict: {verdict(check)}",
    )


def verdict(check: PredictiveCheck) -> str:
    """Which statistics the model does not reproduce, and how many chance alone would put outside."""
    judged = check.judged.set_index("label")["found"]
    failed, doubtful = check.failed, check.doubtful
    k, level = len(judged), 1.0 - check.ci_prob
    who, does, does_not = (
        ("the priors", "expect", "do not expect")
        if check.source == "prior"
        else ("the model", "reproduces", "does not reproduce")
    )
    if not failed and not doubtful:
        return f"{who} {does} the {many(k, 'statistic') if k != 1 else 'statistic'} looked at."
    told = [
        f"{start} {'; '.join(f'{label} ({judged[label]})' for label in labels)}."
        for start, labels in ((f"{who} {does_not}", failed), ("In doubt:", doubtful))
        if labels
    ]
    if k > 1:
        outside = len(failed) + len(doubtful)
        told.append(f"Outside: {outside} of {k} statistics, where chance alone puts about {level * k:.2g}.")
    if doubtful and len(check.replicates) * level <= k:
        told.append(f"More data sets would tell more: draws={round(2 * k / level)}.")
    return " ".join(told)


def _level_tables(check: PredictiveCheck) -> Iterator[Table]:
    """How many levels are outside, and those that are furthest."""
    if check.counts.empty:
        return
    rows = [
        [
            label_of(r), f"{r['levels']:,}", f"{r['outside']:,}", f"{r['mean']:.1f}", f"{r['conf_low']:.0f}",
            f"{r['conf_high']:.0f}", _starred(check, r["p_value"], 2.0 * r["p_value"]),
        ]
        for _, r in check.counts.iterrows()
    ]  # fmt: skip
    headers = ["", "Levels", "Outside", "Expected", *_ends(check), "p "]
    yield table(headers, rows, title=f"Within the levels of {check.by}:")
    within = check.table[check.table["level"].notna()]
    away = ((within["observed"] - within["mean"]) / within["sd"]).abs()
    order = within.assign(away=-away).sort_values(["p_two_sided", "away"])
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


def found(row: Any) -> str:
    """A statistic of the data and the interval of the data sets."""
    shown = {c: _cell(row[c], row["sd"]) for c in ("observed", "conf_low", "conf_high")}
    return f"{shown['observed']}, expected {shown['conf_low']} to {shown['conf_high']}"


def found_levels(row: Any) -> str:
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
