"""Tidy tables of a point fit, with broom.mixed's columns (underscores for dots)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..engine.bootstrap import estimates
from ..engine.scaling import Problem
from ..errors import InputError
from .intervals import parameter_labels

if TYPE_CHECKING:
    from .point import PointFit

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
COLUMNS = [
    "effect", "group", "level", "term", "estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high",
]  # fmt: skip


def tidy(fit: PointFit, effects: str | Sequence[str], *, ddf: str | None, ci_prob: float) -> pd.DataFrame:
    """The table behind :meth:`PointFit.tidy`."""
    wanted = [effects] if isinstance(effects, str) else list(effects)
    for effect in wanted:
        if effect not in EFFECTS:
            raise InputError(f"tidy(effects={effect!r}): effects are {', '.join(map(repr, EFFECTS))}")
    parts = {
        "fixed": lambda: fit.fixef(ddf=ddf, ci_prob=ci_prob).reset_index().assign(effect="fixed"),
        "ran_pars": lambda: _ran_pars(fit),
        "ran_vals": lambda: fit.ranef(ci_prob=ci_prob).assign(effect="ran_vals"),
        "ran_coefs": lambda: fit.coef().assign(effect="ran_coefs"),
    }
    tables = [parts[effect]() for effect in wanted]
    table = pd.concat([t for t in tables if len(t)], ignore_index=True)
    return table[[column for column in COLUMNS if column in table]]


def _ran_pars(fit: PointFit) -> pd.DataFrame:
    values = estimates(Problem.of(fit.design), fit.solution)
    labels = pd.DataFrame(parameter_labels(fit.design), columns=["effect", "group", "term"])
    table = labels.assign(estimate=values)
    return table[table["effect"] == "ran_pars"]


def glance(fit: PointFit) -> pd.DataFrame:
    """The table behind :meth:`PointFit.glance`."""
    r2 = fit.r2()["estimate"]
    return pd.DataFrame(
        [
            {
                "nobs": fit.nobs,
                "sigma": fit.sigma,
                "loglik": fit.loglik,
                "deviance": fit.deviance,
                "aic": fit.aic,
                "bic": fit.bic,
                "df_resid": fit.df_resid,
                "reml_criterion": fit.criterion if fit.solution.reml else np.nan,
                "icc": float(fit.icc().loc["adjusted", "estimate"]) if fit.design.groups else np.nan,
                "r2_marginal": float(r2["marginal"]),
                "r2_conditional": float(r2["conditional"]),
            }
        ]
    )


def augment(fit: PointFit) -> pd.DataFrame:
    """The table behind :meth:`PointFit.augment`."""
    design = fit.design
    fitted = fit.fitted()
    return design.frame.assign(
        _fitted=fitted,
        _fixed=design.X @ fit.solution.beta + design.offset,
        _resid=design.y - fitted,
        _scaled_resid=fit.residuals("scaled"),
    )
