"""Tidy tables of a point fit, and their form for both kinds: broom.mixed's columns (underscores for dots)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError, NotAvailableError
from ..tools.words import is_one_of
from . import point_tables, quantities
from .alike import told_alike
from .estimates import Estimates
from .fitted import fitted, residuals
from .intervals import estimates_of, family_table, parameter_labels, quantity_table
from .summaries import P_POSITIVE
from .variance import RESIDUAL, row_of

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs", "family")
COLUMNS = [
    "effect",
    "group",
    "level",
    "term",
    "estimate",
    "std_error",
    "df",
    "statistic",
    "p_value",
    "conf_low",
    "conf_high",
    P_POSITIVE,
    "rhat",
    "ess_bulk",
    "ess_tail",
]


def wanted_effects(effects: str | Sequence[str]) -> list[str]:
    """The kinds of effects that a user asked for, known ones only."""
    chosen = list(effects) if isinstance(effects, Sequence) and not isinstance(effects, str) else [effects]
    for effect in chosen:
        if not is_one_of(effect, EFFECTS):
            raise InputError(f"tidy(effects={effect!r}): effects are {', '.join(map(repr, EFFECTS))}")
    return chosen


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, with the columns that apply to any of them."""
    full = [t for t in tables if len(t)]
    if not full:
        return pd.DataFrame(columns=COLUMNS[:5])
    table = pd.concat(full, ignore_index=True)
    if "group" in table and table["group"].isna().all():
        table = table.drop(columns="group")
    return table[[column for column in COLUMNS if column in table]]


def fixed_rows(design: Design, effects: Sequence[str]) -> pd.DataFrame:
    """Parameters that are fixed: they have no errors, and a row where their kind was asked for."""
    rows: list[tuple[str, str | None, str, float]] = []
    for key, value in design.fixed.items():
        if isinstance(key, tuple):
            rows.append(("ran_pars", row_of(key[1]), f"sd__{key[2]}", value))
        elif key == "sigma":
            rows.append(("ran_pars", RESIDUAL, "sd__Observation", value))
        else:
            rows.append(("family", None, key, value))
    columns = ["effect", "group", "term", "estimate"]
    return pd.DataFrame([row for row in rows if row[0] in effects], columns=columns)


@told_alike
def tidy(fit: Estimates, effects: str | Sequence[str], *, ddf: str | None, ci_prob: float) -> pd.DataFrame:
    """The table behind :meth:`PointFit.tidy`."""
    parts = {
        "fixed": lambda: point_tables.fixef(fit, ddf=ddf, ci_prob=ci_prob).reset_index().assign(effect="fixed"),
        "ran_pars": lambda: _ran_pars(fit),
        "ran_vals": lambda: point_tables.ranef(fit, ci_prob=ci_prob).assign(effect="ran_vals"),
        "ran_coefs": lambda: point_tables.coef(fit, ci_prob=ci_prob, ddf=ddf).assign(effect="ran_coefs"),
        "family": lambda: family_table(fit, ci_prob),  # without sigma, which is one of the ran_pars
    }
    wanted = wanted_effects(effects)
    return joined([*(parts[effect]() for effect in wanted), fixed_rows(fit.design, wanted)])


def _ran_pars(fit: Estimates) -> pd.DataFrame:
    values = estimates_of(fit)
    labels = pd.DataFrame(parameter_labels(fit.design), columns=["effect", "group", "term"])
    table = labels.assign(estimate=values)
    return table[table["effect"] == "ran_pars"]


def glance(fit: Estimates) -> pd.DataFrame:
    """The table behind :meth:`PointFit.glance`."""
    shares = {"icc": np.nan, "r2_marginal": np.nan, "r2_conditional": np.nan}
    try:
        r2 = quantity_table(fit, quantities.r2(fit.design))["estimate"]
        shares |= {"r2_marginal": float(r2["marginal"]), "r2_conditional": float(r2["conditional"])}
        if any(group.is_grouping for group in fit.design.groups):
            shares["icc"] = _icc(fit)
    except NotAvailableError:  # the family has no residual variance to compare with
        if not fit.solution.nodes:
            raise
    sigma = np.nan if fit.design.family.residual_is_known else fit.solution.parameters.get("sigma", np.nan)
    return pd.DataFrame(
        [
            {
                "nobs": fit.design.n,
                "sigma": float(sigma),
                "loglik": fit.loglik,
                "deviance": fit.deviance,
                "aic": fit.aic,
                "bic": fit.bic,
                "df_resid": fit.df_resid,
                "reml_criterion": fit.criterion if fit.solution.reml else np.nan,
                **shares,
            }
        ]
    )


def _icc(fit: Estimates) -> float:
    return float(quantity_table(fit, quantities.icc(fit.design, None, False)).loc["adjusted", "estimate"])


def augment(fit: Estimates) -> pd.DataFrame:
    """The table behind :meth:`PointFit.augment`."""
    design = fit.design
    values = fitted(fit)
    if design.family.has_categories:
        table = design.frame.assign(**{f"_p[{level}]": values[:, k] for k, level in enumerate(design.levels)})
        return table if design.family.is_nominal else table.assign(_deviance_resid=residuals(fit, "deviance"))
    table = design.frame.assign(_fitted=values, _fixed=fitted(fit, with_groups=False))
    if design.bounds is not None:
        return table
    table = table.assign(_resid=residuals(fit), _scaled_resid=residuals(fit, "scaled"))
    if not fit.solution.nodes:
        return table
    return table.assign(_pearson_resid=residuals(fit, "pearson"), _deviance_resid=residuals(fit, "deviance"))
