"""Several models side by side, one column each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import InputError, NotAvailableError
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.text import Shown, Text, number, table
from .names import names_of

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
Key = tuple[str, str]  # part, row
Cell = tuple[float, float]  # value, and its standard error or NaN
PARTS = ("Fixed effects", "Random part", "Family", "Fit")
ELPD = "elpd (LOO)"
COUNTS, SHARES = ("Observations", "Levels of "), ("ICC", "R²")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelTable(Shown):
    """Models side by side.

    Attributes
    ----------
    table : pandas.DataFrame
        Estimates (posterior means), one column a model; index part and parameter. Missing where a model has none.
    std_error : pandas.DataFrame
        Standard errors (posterior sds) in the same shape.
    """

    table: pd.DataFrame
    std_error: pd.DataFrame
    title: str
    notes: tuple[str, ...] = ()

    def text(self) -> Text:
        """The models, one column each, and what the numbers are."""
        rows = []
        for part in PARTS:
            if part in self.table.index.get_level_values(0):
                rows.append([part, *("" for _ in self.table)])
                rows += [
                    [f"  {name}", *(self._cell(part, str(name), model) for model in self.table)]
                    for name in self.table.loc[part].index
                ]
        return Text.of(self.title, table(["", *map(str, self.table)], rows), *self.notes)

    def _cell(self, part: str, name: str, model: object) -> str:
        value, error = self.table.at[(part, name), model], self.std_error.at[(part, name), model]
        error = error if error > 1e-9 * abs(value) else np.nan  # that of a constant is rounding
        if not np.isfinite(value):
            return ""
        if part == "Fit" and name.startswith(COUNTS):
            return f"{value:,.0f}"
        if part == "Fit" and name.startswith(SHARES):
            return f"{value:.3f}" + (f" ({error:.3f})" if np.isfinite(error) else "")
        if part == "Fit" and not np.isfinite(error):
            return f"{value:,.1f}"
        if name.startswith(("σ²", "τ")) and not np.isfinite(error):
            return f"{number(value)} = {number(np.sqrt(value), digits=3)}²"
        return f"{number(value, error)} ({number(error, error)})" if np.isfinite(error) else number(value)


def model_table(*fits: PointFit | PosteriorFit, names: Sequence[str] | None = None) -> ModelTable:
    """Fixed effects, variances, ICC, R² and measures of fit of several models, one column each.

    Parameters
    ----------
    *fits : PointFit or PosteriorFit
        One or more; both kinds may stand side by side.
    names : sequence of str, optional
        Heads of the columns; by default Model A, Model B, ...

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
    if not fits:
        raise InputError("model_table(fit, ...): one fit at least is needed")
    for fit in fits:
        if not isinstance(fit, PointFit | PosteriorFit):
            raise InputError(
                f"model_table: {type(fit).__name__} is no fit; fit_reml(), fit_ml() and fit() give some"
            )
    heads = names_of(names, [f"Model {_letter(i)}" for i in range(len(fits))], "model_table")
    columns = {head: dict(_entries(fit)) for head, fit in zip(heads, fits, strict=True)}
    keys = _in_order(columns.values())
    index = pd.MultiIndex.from_tuples(keys, names=["part", "parameter"])
    values, errors = (
        pd.DataFrame(
            {h: [c.get(k, (np.nan, np.nan))[i] for k in keys] for h, c in columns.items()}, index=index
        )
        for i in (0, 1)
    )
    lines = [
        f"{head}: {fit.design.formula.text} ({_kind(fit)})" for head, fit in zip(heads, fits, strict=True)
    ]
    return ModelTable(table=values, std_error=errors, title="\n".join(lines), notes=tuple(_notes(fits)))


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else str(i + 1)


def _kind(fit: PointFit | PosteriorFit) -> str:
    if isinstance(fit, PosteriorFit):
        return f"posterior, {fit.design.family.name}"
    return "REML" if fit.solution.reml else "ML"


def _in_order(columns: Iterable[dict[Key, Cell]]) -> list[Key]:
    """Rows of all models, part by part, each new one after the row it follows in its own model."""
    ordered: list[Key] = []
    for column in columns:
        at = 0
        for key in column:
            if key in ordered:
                at = ordered.index(key) + 1
            else:
                ordered.insert(at, key)
                at += 1
    return sorted(ordered, key=lambda key: (PARTS.index(key[0]), key[1] == ELPD))


def _entries(fit: PointFit | PosteriorFit) -> Iterator[tuple[Key, Cell]]:
    estimate, error = ("mean", "sd") if isinstance(fit, PosteriorFit) else ("estimate", "std_error")
    for term, row in fit.fixef().iterrows():
        yield ("Fixed effects", str(term)), (row[estimate], row[error])
    yield from _random_part(fit)
    if isinstance(fit, PosteriorFit):
        for _, row in fit.tidy("family").iterrows():
            yield ("Family", row["term"]), (row["estimate"], row["std_error"])
    yield from _fit_part(fit, estimate)


def _random_part(fit: PointFit | PosteriorFit) -> Iterator[tuple[Key, Cell]]:
    """σ², τ², ρ and the sds that belong to them."""
    posterior = isinstance(fit, PosteriorFit)
    estimate = "mean" if posterior else "estimate"
    found = fit.variance_components().set_index(["group", "term", "quantity"])

    def cell(group: str, term: str, quantity: str) -> Cell:
        row = found.loc[(group, term, quantity)]
        return row[estimate], row["sd"] if posterior else np.nan

    if ("Residual", "", "variance") in found.index:
        yield ("Random part", "σ²"), cell("Residual", "", "variance")
    for g in fit.design.groups:
        for k, column in enumerate(g.columns):
            place = _place(g.columns, k)
            yield ("Random part", f"τ{place}{place} {g.name}: {column}"), cell(g.name, column, "variance")
        for a, b in g.correlated:
            pair = f"{g.columns[a]}, {g.columns[b]}"
            name = f"ρ{_place(g.columns, a)}{_place(g.columns, b)} {g.name}: {pair}"
            yield ("Random part", name), cell(g.name, pair, "cor")


def _place(columns: Sequence[str], k: int) -> str:
    """The textbook's index of a random effect: 0 for the intercept, slopes from 1."""
    first = 0 if "Intercept" in columns else 1
    return str(k + first).translate(SUBSCRIPTS)


def _fit_part(fit: PointFit | PosteriorFit, estimate: str) -> Iterator[tuple[Key, Cell]]:
    posterior = isinstance(fit, PosteriorFit)
    try:
        if fit.design.groups:
            row = fit.icc(by_group=False).loc["adjusted"]
            yield ("Fit", "ICC"), (row[estimate], row["sd"] if posterior else np.nan)
        for kind, row in fit.r2().iterrows():
            yield ("Fit", f"R² {kind}"), (row[estimate], row["sd"] if posterior else np.nan)
    except NotAvailableError:  # the family has no residual variance to compare with: no rows
        pass
    yield ("Fit", "Observations"), (fit.nobs, np.nan)
    for name, levels in fit.ngroups.items():
        yield ("Fit", f"Levels of {name}"), (levels, np.nan)
    if isinstance(fit, PointFit):
        yield ("Fit", "Deviance"), (fit.deviance, np.nan)
        yield ("Fit", "AIC"), (fit.aic, np.nan)
        yield ("Fit", "BIC"), (fit.bic, np.nan)
    else:
        try:
            elpd = fit.loo()
            yield ("Fit", ELPD), (elpd.elpd, elpd.se)
        except NotAvailableError:  # draws made elsewhere that lack a variable: no row
            pass


def _notes(fits: Sequence[PointFit | PosteriorFit]) -> Iterator[str]:
    yield (
        "In brackets: standard errors, or posterior sds. σ² and τ are variances, for point fits with the sds whose "
        "squares they are; ρ are correlations. ICC and R² after Nakagawa, Johnson & Schielzeth (2017)."
    )
    if any(isinstance(fit, PointFit) and fit.solution.reml for fit in fits):
        yield "The deviance of a REML fit is its REML criterion: compare it where the fixed effects are the same only."
