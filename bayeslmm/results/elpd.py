"""ArviZ's records of expected log predictive densities, which say what was left out as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..design import names
from ..design.design import Design
from ..tools.html import html_table

if TYPE_CHECKING:
    import pandas as pd

ROW = "observation"


class LeftOut:
    """What was left out, beside the numbers of an ``arviz_stats`` record.

    Attributes
    ----------
    unit : str
        ``"observation"`` or a grouping factor.
    conditional : bool
        Whether draws of the random effects themselves were reweighted.
    design : Design
        The data.
    folds : int64 array (nobs,) or None
        The fold of every row, of a K-fold cross-validation.
    mcse : float or None
        Monte Carlo error of ``elpd``, of a K-fold cross-validation.
    """

    unit: str
    conditional: bool
    design: Design
    folds: Any = None
    mcse: float | None = None

    @property
    def how(self) -> str:
        """How it was left out, in words."""
        n_folds = getattr(self, "n_folds", None)
        if n_folds is not None:
            return f"{n_folds}-fold cross-validation"
        return "Leave-one-out" + (", conditional on draws of the random effects" if self.conditional else "")

    @property
    def what(self) -> str:
        """What was left out, in words."""
        return unit_in_words(self.unit)

    def __str__(self) -> str:
        error = "" if self.mcse is None else f"\nMonte Carlo error of elpd: {self.mcse:.2f}"
        return f"{self.how}: {self.what}\n{super().__str__()}{error}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """A notebook's tables: the estimates, and how far the weights can be trusted."""
        numbers: Any = self  # of ArviZ's record
        what = numbers.kind.split("_")[-1]  # loo, or kfold of loo_kfold
        rows = [[f"elpd_{what}", f"{numbers.elpd:,.2f}", f"{numbers.se:,.2f}"], [f"p_{what}", f"{numbers.p:,.2f}", ""]]
        parts = [f"<p>{escape(self.how)}: {escape(self.what)}</p>", html_table(["", "Estimate", "SE"], rows, 1)]
        if self.mcse is not None:
            parts.append(f"<p>Monte Carlo error of elpd: {self.mcse:.2f}</p>")
        k = getattr(self, "pareto_k", None)
        if k is not None:
            sizes, good = np.ravel(k), numbers.good_k
            bands = (("good", -np.inf, good), ("bad", good, max(1.0, good)), ("very bad", max(1.0, good), np.inf))
            counted = [
                [f"{word} (up to {high:.2f})" if np.isfinite(high) else word, f"{count:,}", f"{count / sizes.size:.1%}"]
                for word, low, high in bands
                for count in [int(((sizes > low) & (sizes <= high)).sum())]
            ]
            parts.append(html_table(["", "Count", "Share"], counted, 1, "Pareto k"))
        return "".join(parts)


def unit_in_words(unit: str) -> str:
    """What is predicted when a unit is left out."""
    return (
        "one observation (a new row of a known group)"
        if unit == ROW
        else f"one {unit} with all its rows (a new {unit})"
    )


def units_there_are(design: Design) -> tuple[str, ...]:
    """What can be left out: rows, levels of factors, and those within which residuals are correlated."""
    units = [ROW, *(group.name for group in design.groups if group.is_grouping)]
    if design.residual is not None and design.residual.is_correlated and design.residual.group not in units:
        units.append(design.residual.group)
    return tuple(units)


def units_of(design: Design, unit: str) -> tuple[str, Any]:
    """The dimension of what is left out, and the labels along it."""
    if unit == ROW:
        return names.ROW, design.index.to_numpy()
    part = design.residual
    if part is not None and unit not in (group.name for group in design.groups):
        return f"{unit}_level", names.as_labels(part.levels)
    return design.names.level[unit], names.as_labels(design.group(unit).levels)


def record(
    kind: str,
    *,
    unit: str,
    design: Design,
    conditional: bool = False,
    folds: Any = None,
    mcse: float | None = None,
    **numbers: Any,
) -> Any:
    """A record of ArviZ's class ``kind`` that says what was left out; elpd and its error follow from ``elpd_i``."""
    values = numbers["elpd_i"].to_numpy()
    elpd_record = _record_class(kind)(
        elpd=float(values.sum()),
        se=float(np.sqrt(values.size * values.var())) if np.isfinite(values).all() else np.nan,
        n_data_points=values.size,
        scale="log",
        **numbers,
    )
    elpd_record.unit, elpd_record.design, elpd_record.conditional = unit, design, conditional
    elpd_record.folds, elpd_record.mcse = folds, mcse
    return elpd_record


def ranked(records: Mapping[str, Any]) -> pd.DataFrame:
    """Models by their elpd, with differences and stacking weights, by ArviZ."""
    import arviz_stats

    plain = {}
    for name, elpd_record in records.items():  # ArviZ copies what it is given, down to the data
        base = type(elpd_record).__bases__[1]
        plain[name] = base(**{entry.name: getattr(elpd_record, entry.name) for entry in fields(base)})
    return arviz_stats.compare(plain, round_to="none")


@cache
def _record_class(kind: str) -> Any:
    """ArviZ's class with `LeftOut`; made when asked for, since ArviZ takes seconds to import."""
    from arviz_stats import utils

    base = getattr(utils, kind)
    return type(kind, (LeftOut, base), {"__module__": __name__, "__doc__": LeftOut.__doc__})


def __getattr__(name: str) -> Any:
    if name.startswith("ELPDData"):  # where pickle looks for the class of a record
        return _record_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
