"""REML beside the posterior."""

from __future__ import annotations

import pandas as pd

from ..errors import InputError
from ..results.point import PointFit
from ..results.posterior import PosteriorFit


def compare_estimates(point: PointFit, posterior: PosteriorFit) -> pd.DataFrame:
    """Point estimates beside posterior summaries, one row a parameter.

    Returns
    -------
    DataFrame
        Columns estimate, std_error (fixed effects only: missing elsewhere), mean, sd, conf_low, conf_high, and
        ``difference``: (mean − estimate) in posterior sds.

    Raises
    ------
    InputError
        The fits are of different models.
    """
    if point.design.formula.text != posterior.design.formula.text or point.nobs != posterior.nobs:
        raise InputError(
            f"these are fits of different models: {point.design.formula.text!r} on {point.nobs} rows and "
            f"{posterior.design.formula.text!r} on {posterior.nobs} rows"
        )
    left = point.fixef()[["estimate", "std_error"]]
    right = posterior.fixef()[["mean", "sd", "conf_low", "conf_high"]]
    fixed = left.join(right)
    keys = ["group", "term", "quantity"]
    components = point.variance_components().merge(posterior.variance_components(), on=keys)
    components = components[components["quantity"].isin(["sd", "cor"])]
    components.index = pd.Index(
        [
            f"{quantity}({term or 'residual'})" + (f" | {group}" if term else "")
            for group, term, quantity in components[keys].itertuples(index=False)
        ]
    )
    table = pd.concat([fixed, components[["estimate", "mean", "sd", "conf_low", "conf_high"]]])
    table["difference"] = (table["mean"] - table["estimate"]) / table["sd"]
    return table.rename_axis("parameter")
