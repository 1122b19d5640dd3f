"""What simulated studies of several sizes say, and how it prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError
from ..results.reading import Shown
from ..results.text import Text, number, percent, table
from .sizes import ASSUMED, Axis


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Plan(Shown):
    """Simulated studies of several sizes.

    Attributes
    ----------
    table : DataFrame
        A row for each size and quantity: the sizes by name, ``rows_in_all``, ``quantity``, ``null`` (the value of the
        hypothesis), ``truth`` (of draws of a posterior their mean), ``power`` with its Monte Carlo error
        ``power_error`` and 95 % interval ``power_low``, ``power_high``, mean ``width`` of the intervals, ``coverage``
        of the truth, ``right_sign`` of the estimate, ``exaggeration`` (mean of abs(estimate - null) / abs(truth - null)
        among studies whose interval excludes the null), ``mean`` and ``sd`` of the estimates, shares of ``singular``
        fits and of studies that ``failed``.
    studies : DataFrame
        Every study: the sizes, ``study``, ``quantity``, ``estimate``, ``std_error``, ``conf_low``, ``conf_high``,
        ``truth``, ``null``, ``significant``.
    axes : tuple of Axis
        What differs between sizes: pictures run along the first.
    design : Design
        Of the source.
    how : {"reml", "ml", "posterior"}
    ci_prob : float
    count : int
        Studies of each size.
    seconds : float
    is_uncertain : bool
        Whether every study was simulated from another draw of a posterior.
    """

    table: pd.DataFrame
    studies: pd.DataFrame
    axes: tuple[Axis, ...]
    design: Design
    how: str
    ci_prob: float
    count: int
    seconds: float
    is_uncertain: bool

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of what differs between sizes, columns of the tables."""
        return tuple(axis.name for axis in self.axes)

    def smallest(self, power: float = 0.8, *, quantity: str | None = None) -> pd.Series:
        """The size with fewest rows of those tried that has at least this power for a quantity.

        Of effects and other values that were varied it is the smallest in absolute value among sizes of as many rows.

        Parameters
        ----------
        power : float
        quantity : str, optional
            Not needed where there is one.

        Returns
        -------
        Series
            Its row of the table.

        Raises
        ------
        InputError
            No such quantity, no probability, or no size has the power.
        """
        if not isinstance(power, int | float) or isinstance(power, bool) or not 0.0 < power < 1.0:
            raise InputError(f"smallest(power={power!r}): it lies between 0 and 1")
        names = list(dict.fromkeys(self.table["quantity"]))
        if quantity is None and len(names) > 1:
            raise InputError(f"smallest: say of which quantity: {', '.join(map(repr, names))}")
        if quantity is not None and quantity not in names:
            raise InputError(f"smallest(quantity={quantity!r}): there are {', '.join(map(repr, names))}")
        rows = self.table[self.table["quantity"] == (quantity or names[0])]
        enough = rows[rows["power"] >= power]
        if not len(enough):
            raise InputError(
                f"smallest(power={power:g}): the largest power of the sizes tried is {rows['power'].max():.2f}; "
                "vary them further"
            )
        varied = [axis.name for axis in self.axes if axis.of in ASSUMED]
        order = enough[varied].abs().assign(rows=enough["rows_in_all"]).sort_values(["rows", *varied], kind="stable")
        row: pd.Series = enough.loc[order.index[0]]
        return row

    def text(self) -> Text:
        """The printed table and what it stands on."""
        several = self.table["quantity"].nunique() > 1
        labels = ["quantity", *self.varied] if several else list(self.varied)
        shown = self.table.sort_values("quantity", kind="stable") if several else self.table
        narrowest = self.table.groupby("quantity")["width"].min()  # whose digits the others of a quantity have
        is_name = ("groups", "parameter")
        words = [axis.label if axis.of in is_name else axis.label[0].upper() + axis.label[1:] for axis in self.axes]
        headers = [
            *(["Quantity"] if several else []),
            *words,
            "Rows",
            "Power",
            "±",
            "Width",
            "Coverage",
            "Right sign",
            "Exaggeration",
        ]
        rows = [
            [
                *(f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in labels),
                f"{row['rows_in_all']:,}",
                f"{row['power']:.3f}",
                f"{1.96 * row['power_error']:.3f}",
                number(row["width"], narrowest[row["quantity"]]),
                f"{row['coverage']:.3f}",
                _share(row["right_sign"]),
                "" if np.isnan(row["exaggeration"]) else f"{row['exaggeration']:.2f}",
            ]
            for _, row in shown.iterrows()
        ]
        truths = {name: sorted(set(of["truth"])) for name, of in self.table.groupby("quantity", sort=False)}
        several_truths = any(len(each) > 1 for each in truths.values())
        true = ("; " if several_truths else ", ").join(
            f"{name}: {', '.join(map(number, each))}" for name, each in truths.items()
        )
        return Text.of(
            f"Plan of {self.design.formula.text}\nTruth: {true}{self._uncertain()}",
            table(headers, rows, left=1 if several else 0),
            f"{self.count:,} simulated studies a size, analysed by {_HOW[self.how]}. Power: how often the "
            f"{self.ci_prob:.0%} interval excludes the value of the hypothesis; ±: 95 % Monte Carlo interval. "
            "Right sign: of the estimate; exaggeration: of its size in studies whose interval excludes that value.",
            self._troubles(),
        )

    def _uncertain(self) -> str:
        return " on average; every study from another draw of the posterior" if self.is_uncertain else ""

    def _troubles(self) -> str:
        failed, singular = self.table["failed"].max(), self.table["singular"].max()
        words = []
        if failed > 0:
            words.append(f"Up to {percent(failed)} of the studies of a size could not be analysed; they have no power.")
        if singular > 0.05:
            words.append(f"Up to {percent(singular)} of the fits of a size have a variance of zero.")
        return " ".join(words)


_HOW = {"reml": "REML", "ml": "maximum likelihood", "posterior": "their posteriors"}


def _share(value: Any) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
