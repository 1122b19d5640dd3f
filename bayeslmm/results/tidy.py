"""Tidy tables of both kinds of fit, with broom.mixed's columns (underscores for dots)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..tools.words import is_one_of
from . import expected
from .diagnosis import convergence
from .intervals import estimates_of, parameter_labels
from .variance import RESIDUAL, part_of, row_of

if TYPE_CHECKING:
    from .point import PointFit
    from .posterior import PosteriorFit

Array = NDArray[np.float64]

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs", "family")
COLUMNS = [
    "effect", "group", "level", "term", "estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high",
    "rhat", "ess_bulk", "ess_tail",
]  # fmt: skip


def _wanted(effects: str | Sequence[str]) -> list[str]:
    wanted = list(effects) if isinstance(effects, Sequence) and not isinstance(effects, str) else [effects]
    for effect in wanted:
        if not is_one_of(effect, EFFECTS):
            raise InputError(f"tidy(effects={effect!r}): effects are {', '.join(map(repr, EFFECTS))}")
    return wanted


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, with the columns that apply to any of them."""
    full = [t for t in tables if len(t)]
    if not full:
        return pd.DataFrame(columns=COLUMNS[:5])
    table = pd.concat(full, ignore_index=True)
    if "group" in table and table["group"].isna().all():
        table = table.drop(columns="group")
    return table[[column for column in COLUMNS if column in table]]


# -- point fit


def tidy(fit: PointFit, effects: str | Sequence[str], *, ddf: str | None, ci_prob: float) -> pd.DataFrame:
    """The table behind :meth:`PointFit.tidy`."""
    parts = {
        "fixed": lambda: fit.fixef(ddf=ddf, ci_prob=ci_prob).reset_index().assign(effect="fixed"),
        "ran_pars": lambda: _ran_pars(fit),
        "ran_vals": lambda: fit.ranef(ci_prob=ci_prob).assign(effect="ran_vals"),
        "ran_coefs": lambda: fit.coef(ci_prob=ci_prob, ddf=ddf).assign(effect="ran_coefs"),
        "family": pd.DataFrame,  # sigma is the only parameter there is, and one of the ran_pars
    }
    return _joined([parts[effect]() for effect in _wanted(effects)])


def _ran_pars(fit: PointFit) -> pd.DataFrame:
    values = estimates_of(fit)
    labels = pd.DataFrame(parameter_labels(fit.design), columns=["effect", "group", "term"])
    table = labels.assign(estimate=values)
    return table[table["effect"] == "ran_pars"]


def glance(fit: PointFit) -> pd.DataFrame:
    """The table behind :meth:`PointFit.glance`."""
    r2 = {"marginal": np.nan, "conditional": np.nan} if fit.design.smooths else fit.r2()["estimate"]
    return pd.DataFrame(
        [
            {
                "nobs": fit.nobs,
                "sigma": np.nan if fit.design.family.residual_is_known else fit.sigma,
                "loglik": fit.loglik,
                "deviance": fit.deviance,
                "aic": fit.aic,
                "bic": fit.bic,
                "df_resid": fit.df_resid,
                "reml_criterion": fit.criterion if fit.solution.reml else np.nan,
                "icc": float(fit.icc().loc["adjusted", "estimate"])
                if fit.design.groups and not fit.design.smooths
                else np.nan,
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


# -- posterior


def parameter_draws(fit: PosteriorFit) -> tuple[pd.DataFrame, Array]:
    """What all parameters but the random effects are called, and their draws (chain, draw, k).

    Columns part (``fixed``, ``family`` or a grouping factor), name (in a summary), effect, group and term (broom's).
    """
    design, values = fit.design, fit.values
    rows = [("fixed", name, "fixed", "", name) for name in design.x_names]
    parts = [values.beta]
    for g in design.groups:
        part, group = part_of(g.name), row_of(g.name)
        rows += [(part, f"sd({c})", "ran_pars", group, f"sd__{c}") for c in g.sd_terms]
        parts.append(fit.draws(design.names.sd[g.name])[..., list(g.template.sd_columns)])
        for a, b in g.correlated:
            term = f"cor__{g.correlation_label(a, b, '.')}"
            rows.append((part, f"cor({g.correlation_label(a, b)})", "ran_pars", group, term))
            parts.append(fit.draws(design.names.cor[g.name])[..., a, b, None])
    for name in design.family.parameters:
        if name not in values.family:  # draws made elsewhere
            continue
        drawn = values.family[name]
        many = [f"{name}[{level}]" for level in design.levels[:-1]] if name == "cutpoint" else [name]
        if name == "sigma":
            rows.append(("family", name, "ran_pars", RESIDUAL, "sd__Observation"))
        else:
            rows += [("family", each, "family", "", each) for each in many]
        parts.append(drawn if drawn.ndim == 3 else drawn[..., None])
    labels = pd.DataFrame(rows, columns=["part", "name", "effect", "group", "term"])
    return labels, np.concatenate(parts, axis=-1)


def parameters(
    fit: PosteriorFit, effects: Sequence[str], ci_prob: float | None, ci_kind: str | None
) -> pd.DataFrame:
    """Mean, sd, interval and diagnostics of the parameters of these kinds."""
    labels, draws = parameter_draws(fit)
    chosen = labels["effect"].isin(effects).to_numpy()
    labels = labels.loc[chosen, ["effect", "group", "term"]].reset_index(drop=True)
    draws = draws[..., chosen]
    if not len(labels):
        return labels
    numbers = fit.summarise(draws, ci_prob, ci_kind)
    rhat, bulk, tail = convergence(draws)
    return labels.assign(
        estimate=numbers["mean"], std_error=numbers["sd"], conf_low=numbers["conf_low"],
        conf_high=numbers["conf_high"], rhat=rhat, ess_bulk=bulk, ess_tail=tail,
    )  # fmt: skip


def tidy_posterior(
    fit: PosteriorFit, effects: str | Sequence[str], ci_prob: float | None, ci_kind: str | None
) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.tidy`."""
    tables = []
    for effect in _wanted(effects):
        if effect in ("fixed", "ran_pars", "family"):
            table = parameters(fit, [effect], ci_prob, ci_kind)
            tables.append(table.assign(group=table["group"].where(table["group"] != "")))
            continue
        verb = fit.ranef if effect == "ran_vals" else fit.coef
        names = {"mean": "estimate", "sd": "std_error"}
        table = verb(ci_prob=ci_prob, ci_kind=ci_kind).rename(columns=names)
        tables.append(table.assign(effect=effect))
    return _joined(tables)


def glance_posterior(fit: PosteriorFit, *, loo: bool) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.glance`."""
    sigma = None if fit.design.family.residual_is_known else fit.values.family.get("sigma")
    row = {"nobs": fit.nobs, "sigma": np.nan if sigma is None else float(sigma.mean())}
    told = {"icc": np.nan, "r2_marginal": np.nan, "r2_conditional": np.nan}
    try:
        r2 = fit.r2()["mean"]
        told |= {"r2_marginal": r2["marginal"], "r2_conditional": r2["conditional"]}
        if fit.design.groups:
            told["icc"] = fit.icc(by_group=False).loc["adjusted", "mean"]
    except NotAvailableError:  # the family has no residual variance to compare with
        pass
    told |= _left_out(fit) if loo else {}
    found = fit.diagnosis
    row |= told | {
        "max_rhat": found.max_rhat,
        "min_ess_bulk": found.min_ess_bulk,
        "min_ess_tail": found.min_ess_tail,
        "divergences": np.nan if found.divergences is None else found.divergences,
        "k_hat": np.nan if found.k_hat is None else found.k_hat,
    }
    return pd.DataFrame([row])


def _left_out(fit: PosteriorFit) -> dict[str, float]:
    try:
        elpd = fit.loo()
    except NotAvailableError:  # draws made elsewhere that lack a variable
        return dict.fromkeys(("elpd_loo", "se_elpd_loo", "p_loo", "k_max"), np.nan)
    k_max = float(elpd.pareto_k.max())
    return {"elpd_loo": elpd.elpd, "se_elpd_loo": elpd.se, "p_loo": elpd.p, "k_max": k_max}


def augment_posterior(fit: PosteriorFit) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.augment`."""
    design = fit.design
    fitted, sd = expected.fitted_and_sd(fit)
    if design.family.has_categories:
        return design.frame.assign(**{f"_p[{level}]": fitted[:, k] for k, level in enumerate(design.levels)})
    observed = design.y if design.trials is None else design.y / design.trials
    return design.frame.assign(
        _fitted=fitted,
        _fixed=expected.fitted_and_sd(fit, "average")[0],
        _fitted_sd=sd,
        _resid=observed - fitted,
        _scaled_resid=fit.residuals("scaled"),
    )
