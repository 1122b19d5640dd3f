"""Several models side by side, one column each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError, NotAvailableError
from ..results.loo import is_wanted
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.reading import Shown
from ..results.text import Text, number, table
from ..results.variance import RESIDUAL, row_of
from .names import names_of, spread

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
Key = tuple[str, str]  # part, row
Kind = Literal["estimate", "variance", "share", "count", "criterion"]
PARTS = ("Fixed effects", "Random part", "Family", "Fit")
ELPD = "elpd (LOO)"


class Cell(NamedTuple):
    """A number in the table: its standard error, if it has one, and what kind it is, by which it prints."""

    value: float
    error: float
    kind: Kind

    def __str__(self) -> str:
        has_error = self.error > 1e-9 * abs(self.value)  # that of a constant is rounding
        if self.kind == "count":
            return f"{self.value:,.0f}"
        if self.kind == "criterion":
            return f"{self.value:,.1f}" + (f" ({self.error:,.1f})" if has_error else "")
        if self.kind == "share":
            return f"{self.value:.3f}" + (f" ({self.error:.3f})" if has_error else "")
        if has_error:
            return f"{number(self.value, self.error)} ({number(self.error, self.error)})"
        sd = f" [{number(np.sqrt(self.value), digits=3)}]" if self.kind == "variance" else ""
        return f"{number(self.value)}{sd}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ModelTable(Shown):
    """Models side by side.

    Attributes
    ----------
    table : pandas.DataFrame
        Estimates (posterior means), one column a model; index part and parameter. Missing where a model has none.
    std_error : pandas.DataFrame
        Standard errors (posterior sds) in the same shape.
    cells : mapping
        The same by model and row, with the kind of number each is.
    """

    table: pd.DataFrame
    std_error: pd.DataFrame
    cells: Mapping[str, Mapping[Key, Cell]]
    title: str
    notes: tuple[str, ...] = ()

    def text(self) -> Text:
        """The models, one column each, and what the numbers are."""
        rows, heads = [], list(self.cells)
        for part in PARTS:
            names = [name for row_part, name in self.table.index if row_part == part]
            rows += [[part, *("" for _ in heads)]] if names else []
            for name in names:
                cells = (self.cells[head].get((part, name), "") for head in heads)
                rows.append([f"  {name}", *map(str, cells)])
        return Text.of(self.title, table(["", *heads], rows), *self.notes)


def model_table(
    *fits: PointFit | PosteriorFit | Mapping[str, Any] | Sequence[Any],
    names: Sequence[str] | None = None,
    loo: bool | None = None,
) -> ModelTable:
    """Fixed effects, variances, ICC, R² and measures of fit of several models, one column each.

    Parameters
    ----------
    *fits : PointFit or PosteriorFit
        One or more; both kinds may stand side by side. One list of them, or a dict by name, will do as well.
    names : sequence of str, optional
        Heads of the columns; by default Model A, Model B, ...
    loo : bool, optional
        Whether posteriors have a row for leave-one-out prediction, which of many thousand rows takes seconds; by
        default those for which ``loo()`` was called before.

    Returns
    -------
    ModelTable
        Prints, and shows in a notebook; ``.table`` and ``.std_error`` have the numbers, ``to_markdown()`` and
        ``to_latex()`` the print.

    Raises
    ------
    InputError
        No fits, something that is no fit, or another number of names.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> hsb = blm.load_dataset("hsb")
    >>> fits = [blm.lmer(f"mathach ~ {rhs}", hsb) for rhs in ("1 + (1 | school)", "ses + (ses | school)")]
    >>> table = blm.model_table(*fits, names=["A", "B"]).table
    >>> round(table.loc[("Random part", "σ²"), "A"], 2)
    39.15
    """
    models, names = spread(fits, names, "model_table")
    return _side_by_side(models, names, loo)


def _side_by_side(fits: Sequence[Any], names: Sequence[str] | None, loo: bool | None) -> ModelTable:
    if not fits:
        raise InputError("model_table(fit, ...): one fit at least is needed")
    for fit in fits:
        if not isinstance(fit, PointFit | PosteriorFit):
            raise InputError(f"model_table: {type(fit).__name__} is no fit; fit_reml(), fit_ml() and fit() give some")
    heads = names_of(names, [f"Model {_letter(i)}" for i in range(len(fits))], "model_table")
    cells = {head: dict(_entries(fit, loo)) for head, fit in zip(heads, fits, strict=True)}
    keys = _in_order(cells.values())
    index = pd.MultiIndex.from_tuples(keys, names=["part", "parameter"])
    nothing = Cell(np.nan, np.nan, "estimate")
    values, errors = (
        pd.DataFrame({h: [c.get(key, nothing)[i] for key in keys] for h, c in cells.items()}, index=index)
        for i in (0, 1)
    )
    lines = [f"{head}: {fit.design.described} ({_kind(fit)})" for head, fit in zip(heads, fits, strict=True)]
    return ModelTable(table=values, std_error=errors, cells=cells, title="\n".join(lines), notes=tuple(_notes(fits)))


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else str(i + 1)


def _kind(fit: PointFit | PosteriorFit) -> str:
    if isinstance(fit, PosteriorFit):
        return f"posterior, {fit.design.family.word}"
    return "REML" if fit.solution.reml else "ML"


def _in_order(columns: Iterable[Mapping[Key, Cell]]) -> list[Key]:
    """Rows of all models, part by part, each new one after the row it follows in its own model."""
    ordered: list[Key] = []
    for column in columns:
        position = 0
        for key in column:
            if key in ordered:
                position = ordered.index(key) + 1
            else:
                ordered.insert(position, key)
                position += 1
    return sorted(ordered, key=lambda key: (PARTS.index(key[0]), key[1] == ELPD))


def _entries(fit: PointFit | PosteriorFit, loo: bool | None) -> Iterator[tuple[Key, Cell]]:
    estimate, error = ("mean", "sd") if isinstance(fit, PosteriorFit) else ("estimate", "std_error")
    for term, row in fit.fixef().iterrows():
        yield ("Fixed effects", str(term)), Cell(row[estimate], row[error], "estimate")
    yield from _random_part(fit)
    if isinstance(fit, PosteriorFit) and not fit.design.family.is_normal:
        for name, row in fit.parameters("family").iterrows():
            yield ("Family", str(name)), Cell(row["mean"], row["sd"], "estimate")
    yield from _fit_part(fit, estimate, loo)


RESIDUAL_ROWS: Mapping[str, tuple[str, Kind]] = {
    "variance": ("σ²", "variance"),
    "cor": ("ρ residual:", "share"),
    "log_ratio": ("log σ:", "estimate"),
}


def _random_part(fit: PointFit | PosteriorFit) -> Iterator[tuple[Key, Cell]]:
    """σ² of normal responses, τ of every random effect, ρ."""
    posterior = isinstance(fit, PosteriorFit)
    estimate = "mean" if posterior else "estimate"
    components = fit.variance_components().set_index(["group", "term", "quantity"])

    def cell(group: str, term: str, quantity: str, kind: Kind) -> Cell:
        row = components.loc[(group, term, quantity)]
        return Cell(row[estimate], row["sd"] if posterior else np.nan, kind)

    if fit.design.family.is_normal and (RESIDUAL, "", "variance") in components.index:
        yield ("Random part", "σ²"), cell(RESIDUAL, "", "variance", "variance")
    for group, term, quantity in components.index:
        if group == RESIDUAL and term and quantity in RESIDUAL_ROWS:  # of residuals with more than sigma
            name, kind = RESIDUAL_ROWS[quantity]
            yield ("Random part", f"{name} {term}"), cell(group, term, quantity, kind)
    design = fit.design
    for g in design.parameter_groups if design.of_categories else design.groups:
        for column, k in zip(g.sd_terms, g.template.sd_columns, strict=True):
            name = f"τ{_place(g.columns, k)}{_place(g.columns, k)} {g.name}: {column}"
            yield ("Random part", name), cell(row_of(g.name), column, "variance", "variance")
        for a, b in g.correlated:
            pair = g.correlation_label(a, b)
            name = f"ρ{_place(g.columns, a)}{_place(g.columns, b)} {g.name}: {pair}"
            yield ("Random part", name), cell(row_of(g.name), pair, "cor", "share")


def _place(columns: Sequence[str], k: int) -> str:
    """The textbook's index of a random effect: 0 for the intercept, slopes from 1."""
    first = 0 if "Intercept" in columns else 1
    return str(k + first).translate(SUBSCRIPTS)


def _fit_part(fit: PointFit | PosteriorFit, estimate: str, loo: bool | None) -> Iterator[tuple[Key, Cell]]:
    posterior = isinstance(fit, PosteriorFit)
    try:
        if fit.design.groups:
            row = fit.icc(by_group=False).loc["adjusted"]
            yield ("Fit", "ICC"), Cell(row[estimate], row["sd"] if posterior else np.nan, "share")
        for kind, row in fit.r2().iterrows():
            yield ("Fit", f"R² {kind}"), Cell(row[estimate], row["sd"] if posterior else np.nan, "share")
    except NotAvailableError:  # the family has no residual variance to compare with: no rows
        pass
    yield ("Fit", "Observations"), Cell(fit.nobs, np.nan, "count")
    for name, levels in fit.ngroups.items():
        yield ("Fit", f"Levels of {name}"), Cell(levels, np.nan, "count")
    if isinstance(fit, PointFit):
        for name, value in (("Deviance", fit.deviance), ("AIC", fit.aic), ("BIC", fit.bic)):
            yield ("Fit", name), Cell(value, np.nan, "criterion")
    elif is_wanted(fit, loo):
        try:
            elpd = fit.loo()
            yield ("Fit", ELPD), Cell(elpd.elpd, elpd.se, "criterion")
        except NotAvailableError:  # draws made elsewhere that lack a variable: no row
            pass


def _notes(fits: Sequence[PointFit | PosteriorFit]) -> Iterator[str]:
    yield (
        "In round brackets: standard errors, or posterior sds (of elpd its standard error). σ² and τ are variances, "
        "for point fits with their square roots, the sds, in square brackets; ρ are correlations. ICC and R² after "
        "Nakagawa, Johnson & Schielzeth (2017)."
    )
    if any(isinstance(fit, PointFit) and fit.solution.reml for fit in fits):
        yield "The deviance of a REML fit is its REML criterion: compare it where the fixed effects are the same only."
