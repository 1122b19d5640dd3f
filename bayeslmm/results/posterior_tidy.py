"""Tidy tables of draws, with broom.mixed's columns (underscores for dots)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import NotAvailableError
from . import expected, posterior_tables, quantities
from . import loo as leaving_out
from .diagnosis import Diagnosis
from .draws import Draws
from .elpd import ROW
from .parameter_draws import parameter_table
from .tidy import fixed_rows, joined, wanted_effects


def tidy(fit: Draws, effects: str | Sequence[str], ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.tidy`."""
    tables = []
    for effect in wanted_effects(effects):
        if effect in ("fixed", "ran_pars", "family"):
            table = parameter_table(fit, [effect], ci_prob, ci_kind)
            tables.append(table.assign(group=table["group"].where(table["group"] != "")))
            continue
        verb = posterior_tables.ranef if effect == "ran_vals" else posterior_tables.coef
        names = {"mean": "estimate", "sd": "std_error"}
        table = verb(fit, False, False, ci_prob, ci_kind).rename(columns=names)
        tables.append(table.assign(effect=effect))
    return joined([*tables, fixed_rows(fit.design, wanted_effects(effects))])


def glance(fit: Draws, *, loo: bool | None) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.glance`."""
    sigma = None if fit.design.family.residual_is_known else fit.values.family.get("sigma")
    row = {"nobs": fit.design.n, "sigma": np.nan if sigma is None else float(sigma.mean())}
    shares = {"icc": np.nan, "r2_marginal": np.nan, "r2_conditional": np.nan}
    try:
        r2 = _means(fit, quantities.r2(fit.design))
        shares |= {"r2_marginal": r2["marginal"], "r2_conditional": r2["conditional"]}
        if any(group.is_grouping for group in fit.design.groups):
            shares["icc"] = _means(fit, quantities.icc(fit.design, None, False))["adjusted"]
    except NotAvailableError:  # the family has no residual variance to compare with
        pass
    shares |= _left_out(fit) if leaving_out.is_wanted(fit, loo) else {}
    return pd.DataFrame([row | shares | diagnostics(fit.diagnosis)])


def diagnostics(diagnosis: Diagnosis) -> dict[str, float]:
    """The columns of a row that tell what draws say about themselves."""
    return {
        "max_rhat": diagnosis.max_rhat,
        "min_ess_bulk": diagnosis.min_ess_bulk,
        "min_ess_tail": diagnosis.min_ess_tail,
        "divergences": np.nan if diagnosis.divergences is None else diagnosis.divergences,
        "k_hat": np.nan if diagnosis.k_hat is None else diagnosis.k_hat,
    }


def _means(fit: Draws, quantity: quantities.Quantity) -> pd.Series:
    return quantity.table(fit.summarise(quantity.of(fit.values)))["mean"]


def _left_out(fit: Draws) -> dict[str, float]:
    try:
        elpd = leaving_out.loo(fit, ROW, conditional=False, draws=None, refit=None)
    except NotAvailableError:  # draws made elsewhere that lack a variable
        return dict.fromkeys(("elpd_loo", "se_elpd_loo", "p_loo", "k_max"), np.nan)
    k_max = float(elpd.pareto_k.max())
    return {"elpd_loo": elpd.elpd, "se_elpd_loo": elpd.se, "p_loo": elpd.p, "k_max": k_max}


def augment(fit: Draws) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.augment`."""
    design = fit.design
    fitted, sd = expected.fitted_and_sd(fit)
    if design.family.has_categories:
        return design.frame.assign(**{f"_p[{level}]": fitted[:, k] for k, level in enumerate(design.levels)})
    table = design.frame.assign(_fitted=fitted, _fixed=expected.fitted_and_sd(fit, "average")[0], _fitted_sd=sd)
    if design.bounds is not None:
        return table
    observed = design.y if design.trials is None else design.y / design.trials
    return table.assign(_resid=observed - fitted, _scaled_resid=expected.residuals(fit, "scaled", draws=False))
