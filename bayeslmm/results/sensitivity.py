"""How far a posterior leans on its priors: power scaling, by ArviZ (Kallioinen, Paananen, Bürkner & Vehtari 2024)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..design.names import EACH, as_labels
from .draws import Draws
from .log_density import log_prior
from .parameter_draws import parameter_draws


def summary(fit: Draws) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.prior_sensitivity`."""
    import xarray as xr
    from arviz_stats import psense_summary

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
    kept = posterior.drop_vars(names.effects | names.correlations, errors="ignore")
    for group in fit.design.groups:
        if group.correlated:
            labels = [group.correlation_label(a, b) for a, b in group.correlated]
            draws = np.stack([fit.draws(names.cor[group.name])[..., a, b] for a, b in group.correlated], axis=-1)
            pair = names.pair[group.name]
            kept[names.cor[group.name]] = xr.DataArray(draws, dims=(*EACH, pair), coords={pair: as_labels(labels)})
    return kept
