"""A comparison of pooling, and how it prints."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import NotAvailableError
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.reading import Shown
from ..results.text import Table, Text, decimals, number, percent, table
from .estimates import Footing
from .scores import HeldOut, PoolingScores, held_out, scores

MOST_LEVELS, SHOWN = 24, 12  # up to so many levels all are printed, else so many
LONGEST = 14  # letters of a level's label
NAMED = 12  # separated levels


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Pooling(Shown):
    """Complete, no and partial pooling of the levels of one grouping factor.

    Attributes
    ----------
    levels : DataFrame
        What :meth:`table` gives.
    common : DataFrame
        The fixed effects that all levels share, by term: complete, none, reml and posterior, each with ``_low`` and
        ``_high``.
    terms : DataFrame
        By term: ``sd_reml`` and ``sd_posterior`` between levels; the mean over the levels of ``shrinkage_reml`` and
        ``shrinkage`` with ``_low`` and ``_high``; ``pooling_factor``, 1 − Var_j(E b_j) / E Var_j(b_j) (Gelman &
        Pardoe 2006), where 0.5 is as far from no as from complete pooling.
    fits : DataFrame
        By kind of pooling: ``parameters``, the number of coefficients or, of partial pooling, the trace of the matrix
        that takes y to its fitted values (of the working model, where the response is not normal), with ``_low`` and
        ``_high`` of the posterior; ``sigma``, the residual sd, or what else the family has of single parameters.
    reml : PointFit or None
    post : PosteriorFit or None
        The fits with partial pooling.
    ci_prob : float
        Probability of all intervals.
    """

    levels: pd.DataFrame
    common: pd.DataFrame
    terms: pd.DataFrame
    fits: pd.DataFrame
    reml: PointFit | None
    post: PosteriorFit | None
    ci_prob: float
    footing: Footing = field(repr=False)

    @property
    def group(self) -> str:
        """The grouping factor."""
        return self.footing.term.name

    def table(self) -> pd.DataFrame:
        """One row a level and term.

        Returns
        -------
        DataFrame
            Columns group, level, n (rows), term; complete, none, reml and posterior (means), each with ``_low`` and
            ``_high``; shrinkage_reml and shrinkage, shrinkage_low, shrinkage_high (posterior); moved. Missing fits have
            no columns; numbers without pooling are missing for a level whose rows do not tell its coefficients, and
            ±inf for an intercept of rows that are all at one edge, such as failures alone.

            ``shrinkage`` is Var(b | y, β, Σ, σ) / Var(b): the share of the variance between levels that the rows leave
            open, from 0 (the level's own rows decide) to 1 (complete pooling); for random intercepts
            σ² / (σ² + n τ²). ``moved`` is 1 − b_partial / b_none: the share of the way from a level's own fit to what
            it is pulled to. For random intercepts alone the two are one number; with correlated slopes a term can move
            away, or across, and where the own fit is less than a standard error from what it is pulled to, it is
            missing.
        """
        return self.levels.copy()

    def loo(self, unit: str = "observation") -> PoolingScores:
        """Expected log predictive density of left-out rows, or groups, of the three.

        Partial pooling by :meth:`PosteriorFit.loo`. Complete and no pooling are linear models with p(β, σ) ∝ 1/σ, whose
        density of a left-out row is a t density, so that it is exact.

        Parameters
        ----------
        unit : str
            ``"observation"``: a new row of a known group. A grouping factor: a new group, of which no pooling
            says nothing.

        Returns
        -------
        PoolingScores
            Rows that alone tell a coefficient (of a level with few rows) are predicted by nothing without pooling; they
            are counted and left out of the comparison.

        Raises
        ------
        NotAvailableError
            There is no posterior (``post=False``), the response is not normal, or groups are not independent.
        """
        if not self.footing.design.family.is_normal:
            raise NotAvailableError(
                f"loo() puts the posterior beside exact densities of linear models; without priors there are none for "
                f"{self.footing.design.family}. held_out() compares the three on rows that were held out"
            )
        if self.post is None:
            raise NotAvailableError(
                "loo() averages over a posterior; compare_pooling was told post=False. held_out() does without"
            )
        return scores(self.footing, self.post, unit)

    def held_out(self, folds: int = 5, *, by: str | None = None, random_seed: int | None = 1) -> HeldOut:
        """Mean squared error on held-out rows; all are fitted again to the others.

        Of other than normal responses the error is that of the expected response, of a share of the trials.

        Parameters
        ----------
        folds : int
            The rows of every level are dealt at random to so many parts, each held out once.
        by : {"reml", "posterior"}, optional
            How partial pooling is fitted; ``reml`` (or ML, as the fit was) if there is one.
        random_seed : int, optional
            Of the parts.

        Raises
        ------
        InputError
            Fewer than two parts or more than rows, or a fit that is not there.
        NotAvailableError
            Categories have no expected response.
        """
        return held_out(self.footing, self.reml, self.post, folds, by, random_seed)

    def text(self) -> Text:
        """Tables by term, the coefficients in common, and how many parameters that makes."""
        return _printed(self)


def _printed(pool: Pooling) -> Text:
    """Tables by term, the coefficients in common, how far the levels are pooled, and what was left out."""
    term, design = pool.footing.term, pool.footing.design
    points = _names(pool)
    head = [f"Pooling of {term.name} ({term.n_levels:,} levels)", f"Formula: {design.formula.text}"]
    description = {
        "complete": "complete: one regression for all rows",
        "none": "none: own coefficients for every level",
        "reml": f"{points.get('reml')}: the model's conditional modes",
        "posterior": "posterior: means",
    }
    head.append("; ".join(description[name] for name in points))
    head.append(f"Intervals are {percent(pool.ci_prob)}")
    shown = _selection(pool)
    return Text.of(
        "\n".join(head),
        *(_levels_table(pool, name, shown) for name in term.columns),
        _common_table(pool),
        _terms_table(pool),
        _fits_table(pool),
        *_notes(pool, len(shown)),
    )


def _names(pool: Pooling) -> dict[str, str]:
    """Columns of the table and what they are called in print."""
    names = {"complete": "Complete", "none": "None"}
    if pool.reml is not None:
        names["reml"] = "REML" if pool.reml.solution.reml else "ML"
    if pool.post is not None:
        names["posterior"] = "Posterior"
    return names


def _selection(pool: Pooling) -> list[object]:
    """The levels printed: all, or some spread evenly from least to most pooled."""
    levels = list(pool.footing.term.levels)
    if len(levels) <= MOST_LEVELS:
        return levels
    table = pool.levels
    key = next((c for c in ("shrinkage", "shrinkage_reml") if c in table), "n")
    order = table.groupby("level", sort=False)[key].mean().to_numpy().argsort(kind="stable")
    return [levels[i] for i in order[np.linspace(0, len(levels) - 1, SHOWN).round().astype(int)]]


def _levels_table(pool: Pooling, name: str, shown: list[object]) -> Table:
    rows = pool.levels[pool.levels["term"] == name]
    names = _names(pool)
    places = _places(rows, list(names)[-1])
    first = rows.iloc[0]
    title = name
    varies = not np.allclose(rows["complete"], first["complete"], rtol=1e-9, equal_nan=True)
    if not varies:  # one number for all levels needs no column
        del names["complete"]
        ends = _ends(first["complete_low"], first["complete_high"], places)
        title += f": complete pooling {_fixed(first['complete'], places)} ({ends})"
    headers, columns = _headers(names)
    body = []
    for _, r in rows.set_index("level", drop=False).loc[shown].iterrows():
        cells = [_short(r["level"]), f"{r['n']:,}", *_cells(r, columns, places)]
        if "moved" in r:
            cells.append(_fixed(r.get("shrinkage", r.get("shrinkage_reml")), 2))
        body.append(cells)
    headers = [pool.group, "n", *headers, *(["Shrinkage"] if "moved" in rows else [])]
    return table(headers, body, title=title)


def _common_table(pool: Pooling) -> Table | None:
    if pool.common.empty:
        return None
    headers, columns = _headers(_names(pool))
    body = []
    for term, r in pool.common.iterrows():
        body.append([str(term), *_cells(r, columns, _places(r.to_frame().T, list(columns)[-1]))])
    return table(["", *headers], body, title="The same for all levels:")


def _headers(names: dict[str, str]) -> tuple[list[str], dict[str, bool]]:
    """Headers, and which columns have their interval beside them: no pooling and the last."""
    columns = {name: name == "none" or name == list(names)[-1] for name in names}
    headers = []
    for c, with_ends in columns.items():
        headers += [names[c], "interval"] if with_ends else [names[c]]
    return headers, columns


def _cells(r: pd.Series, columns: dict[str, bool], places: int) -> list[str]:
    cells = []
    for c, with_ends in columns.items():
        cells.append(_fixed(r[c], places))
        if with_ends:
            cells.append(_ends(r[f"{c}_low"], r[f"{c}_high"], places - 1))
    return cells


def _places(rows: pd.DataFrame, column: str) -> int:
    """Decimals for the typical uncertainty of a column."""
    width = (rows[f"{column}_high"] - rows[f"{column}_low"]).astype(float)
    return decimals(float(width.median()) / 4.0)


def _terms_table(pool: Pooling) -> Table | None:
    terms, names = pool.terms, _names(pool)
    if terms.shape[1] == 0:
        return None
    headers = [""]
    headers += [f"{names['reml']}: sd", "Shrinkage"] if "reml" in names else []
    headers += [f"{names['posterior']}: sd", "Shrinkage", "Pooling factor"] if "posterior" in names else []
    body = []
    for term, r in terms.iterrows():
        cells = [str(term)]
        if "sd_reml" in r:
            cells += [number(r["sd_reml"]), f"{r['shrinkage_reml']:.2f}"]
        if "sd_posterior" in r:
            ends = _ends(r["shrinkage_low"], r["shrinkage_high"], 2)
            cells += [number(r["sd_posterior"]), f"{r['shrinkage']:.2f} ({ends})", f"{r['pooling_factor']:.2f}"]
        body.append(cells)
    return table(headers, body, title="Differences between levels, and their shrinkage on average:")


def _fits_table(pool: Pooling) -> Table:
    names = _names(pool)
    of_family = [name for name in pool.fits if not str(name).startswith("parameters")]
    body = []
    for kind, r in pool.fits.iterrows():
        count = f"{r['parameters']:,.0f}" if kind in ("complete", "none") else f"{r['parameters']:,.1f}"
        if kind == "posterior":
            count += f" ({r['parameters_low']:,.1f}, {r['parameters_high']:,.1f})"
        body.append([names[str(kind)], count, *(number(r[name]) for name in of_family)])
    known_residual = pool.footing.design.family.residual_is_known
    of_rows = {"sigma": "Typical standard error" if known_residual else "Residual sd"}
    headers = ["", "Parameters", *(of_rows.get(name, name) for name in of_family)]
    return table(headers, body, title="Effective number of parameters:")


def _notes(pool: Pooling, shown: int) -> list[str]:
    footing = pool.footing
    term, design = footing.term, footing.design
    notes = []
    if shown < term.n_levels:
        notes.append(f"{shown} of {term.n_levels:,} levels are printed, from least to most pooled; .table() has all.")
    notes += _separated(pool)
    untold = np.isnan(footing.unpooled.coefficients).any(axis=1) & ~footing.unpooled.separated
    missing = int(untold.sum()) if not footing.unpooled.shared_separated.any() else 0
    if missing:
        notes.append(
            f"{missing} of {term.n_levels:,} levels {'has' if missing == 1 else 'have'} too few distinct rows for "
            "coefficients of their own (-)."
        )
    outer = [design.groups[k].name for k, _, _ in footing.outer]
    if outer:
        notes.append(
            f"{term.name} is nested in {', '.join(outer)}: partial pooling is towards the "
            f"{' and '.join(outer)} of a level, whose effect is part of its coefficients."
        )
    others = [group.name for group in design.groups if group.name not in (term.name, *outer)]
    if others:
        notes.append(f"Without and with complete pooling the effects of {', '.join(others)} are left out.")
    if "moved" in pool.levels:
        notes.append(
            "Shrinkage: the share of the variance between levels that a level's rows leave open, 0 without and 1 with "
            "complete pooling."
        )
    if pool.reml is not None and pool.reml.solution.singular[footing.factor]:
        notes.append(
            f"{_names(pool)['reml']} is at a boundary, a variance of zero or a correlation of ±1, where one term is "
            "known from the others and shrinks as little as they do; the posterior averages over what else is possible."
        )
    if pool.post is not None:
        notes.append("Pooling factor: 1 - Var(E b) / E Var(b) over the levels (Gelman & Pardoe 2006).")
    if design.family.models_log:
        notes.append("Coefficients are of the logarithm.")
    elif not design.family.is_normal:
        notes.append(f"Coefficients are of the linear predictor, {_scale(design)}.")
    if footing.levels_sum_to_zero:
        notes.append("Without pooling the intercepts of the levels sum to zero: the cutpoints have what they share.")
    return notes


def _scale(design: Design) -> str:
    if design.family.has_categories:
        return f"{design.family.link} of the probability of a higher category"
    return f"{design.family.link} of the expected response"


def _separated(pool: Pooling) -> list[str]:
    """What has no finite estimate, by name."""
    footing, notes = pool.footing, []
    complete = [
        name
        for name, is_separated in zip(footing.design.x_names, footing.complete.separated, strict=True)
        if is_separated
    ]
    if complete:
        notes.append(f"Complete pooling: separation of {', '.join(complete)}, which has no finite estimate (-).")
    common = [
        name
        for name, is_separated in zip(footing.common, footing.unpooled.shared_separated, strict=True)
        if is_separated
    ]
    if common:
        notes.append(f"No pooling: separation of {', '.join(common)}; no level then has a finite estimate (-).")
        return notes
    levels = [str(footing.term.levels[j]) for j in np.flatnonzero(footing.unpooled.separated)]
    if levels:
        named = ", ".join(levels[:NAMED]) + (f" and {len(levels) - NAMED:,} more" if len(levels) > NAMED else "")
        notes.append(
            f"No pooling: separation in {len(levels):,} of {footing.term.n_levels:,} levels, whose rows no finite "
            f"coefficients fit best ({'∞' if footing.term.q == 1 else '-'}): {footing.term.name} {named}."
        )
    return notes


def _short(label: object) -> str:
    text = str(label)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _fixed(value: object, places: int) -> str:
    number = float(value)  # type: ignore[arg-type]
    if np.isinf(number):
        return "∞" if number > 0.0 else "-∞"
    return f"{number:.{max(places, 0)}f}" if np.isfinite(number) else "-"


def _ends(low: float, high: float, places: int) -> str:
    return f"{_fixed(low, places)}, {_fixed(high, places)}" if np.isfinite([low, high]).all() else "-"
