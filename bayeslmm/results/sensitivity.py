"""How far a posterior leans on its priors: power scaling, by ArviZ (Kallioinen, Paananen, Bürkner & Vehtari 2024)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..design.names import EACH, as_labels
from .draws import Draws, add_group
from .log_density import log_likelihood, log_prior
from .parameter_draws import parameter_draws


def add_log_likelihood(fit: Draws) -> None:
    """Add the group ``log_likelihood`` to ``idata``."""
    add_group(fit, "log_likelihood", log_likelihood(fit.design, fit.idata.posterior))


def add_log_prior(fit: Draws) -> None:
    """Add the group ``log_prior`` to ``idata``."""
    add_group(fit, "log_prior", log_prior(fit.design, fit.priors, fit.idata.posterior))


def summary(fit: Draws) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.prior_sensitivity`; adds to ``idata`` what it needs and is not there."""
    import xarray as xr
    from arviz_stats import psense_summary

    for group, add in (("log_prior", add_log_prior), ("log_likelihood", add_log_likelihood)):
        if group not in fit.idata.children:
            add(fit)
    groups = {group: fit.idata[group].to_dataset() for group in ("log_prior", "log_likelihood")}
    tree = xr.DataTree.from_dict({"posterior": _without_effects(fit), **groups})
    return psense_summary(tree, round_to=3).rename_axis("parameter")


def of_priors(fit: Draws) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.prior_influence`."""
    import xarray as xr
    from arviz_stats import psense

    labels, draws = parameter_draws(fit)
    labels = labels[["effect", "group", "term"]]
    densities = log_prior(fit.design, fit.priors, fit.idata.posterior)
    total = sum(density.to_numpy().reshape(*draws.shape[:2], -1).sum(axis=-1) for density in densities.values())
    if np.ptp(total) == 0.0:  # flat priors everywhere
        return labels.assign(prior_sensitivity=0.0)
    dims = ("chain", "draw")
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"x": ((*dims, "parameter"), draws)}),
            "log_prior": xr.Dataset({"total": (dims, total)}),
        }
    )
    return labels.assign(prior_sensitivity=psense(tree, group="prior")["x"].to_numpy())


def _without_effects(fit: Draws) -> Any:
    """The posterior without random effects; of each correlation matrix only what varies, (chain, draw, pair)."""
    import xarray as xr

    posterior, names = fit.idata.posterior.to_dataset(), fit.design.names
    kept = posterior.drop_vars(names.effects | names.correlations | names.at_means, errors="ignore")
    for group in fit.design.every_group:
        if group.correlated:
            labels = [group.correlation_label(a, b) for a, b in group.correlated]
            draws = np.stack([fit.draws(names.cor[group.name])[..., a, b] for a, b in group.correlated], axis=-1)
            pair = names.pair[group.name]
            kept[names.cor[group.name]] = xr.DataArray(draws, dims=(*EACH, pair), coords={pair: as_labels(labels)})
    return kept
