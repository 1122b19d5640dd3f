"""Draws of all parameters but the random effects, under the names that tables give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from ..design.design import Design
from ..design.names import LOG_RATIO, RHO
from ..tools.arrays import Array
from .draws import Draws
from .variance import RESIDUAL, Values, part_of, row_of


class Source(Protocol):
    """What parameters are read from: draws of a posterior, or of priors, with leading axes (chain, draw)."""

    @property
    def design(self) -> Design:
        """The model."""
        ...

    @property
    def values(self) -> Values:
        """β, covariance matrices and the family's parameters."""
        ...

    def draws(self, name: str) -> Array:
        """Draws of one variable."""
        ...


def parameter_draws(fit: Source) -> tuple[pd.DataFrame, Array]:
    """What all parameters but the random effects are called, and their draws (chain, draw, k).

    Columns part (``fixed``, ``family`` or a grouping factor), name (in a summary), effect, group and term (broom's),
    and signed: whether a number can be negative.
    """
    design, values = fit.design, fit.values
    rows = [("fixed", name, "fixed", "", name, True) for name in design.x_names]
    parts = [values.beta]
    for g in design.every_group:
        part, group = part_of(g.name), row_of(g.name)
        rows += [(part, f"sd({c})", "ran_pars", group, f"sd__{c}", False) for c in g.sd_terms]
        parts.append(fit.draws(design.names.sd[g.name])[..., list(g.template.sd_columns)])
        for a, b in g.correlated:
            term = f"cor__{g.correlation_label(a, b, '.')}"
            rows.append((part, f"cor({g.correlation_label(a, b)})", "ran_pars", group, term, True))
            parts.append(fit.draws(design.names.cor[g.name])[..., a, b, None])
    for name in design.parameters:
        if name not in values.family:  # draws made elsewhere
            continue
        drawn = values.family[name]
        if name == "sigma":
            rows.append(("family", name, "ran_pars", RESIDUAL, "sd__Observation", False))
        else:
            kind = "fixed" if design.family.is_nominal else "family"
            signed = name in design.of_variable or not design.family.positive_parameters
            rows += [(kind, each, kind, "", each, signed) for each in design.labels_of(name)]
        parts.append(drawn if drawn.ndim == 3 else drawn[..., None])
    if design.residual is not None and values.residual is not None:
        for k, label in enumerate(design.residual.labels):
            name, kind = (LOG_RATIO, "log_ratio") if k < design.residual.n_spread else (RHO, "cor")
            called = name if label == name else f"{name}({label})"
            rows.append(("family", called, "ran_pars", RESIDUAL, f"{kind}__{label}", True))
        parts.append(values.residual)
    labels = pd.DataFrame(rows, columns=["part", "name", "effect", "group", "term", "signed"])
    return labels, np.concatenate(parts, axis=-1)


def parameter_table(fit: Draws, effects: Sequence[str], ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    """Mean, sd, interval, P(> 0) and diagnostics of the parameters of these kinds."""
    labels, draws = parameter_draws(fit)
    chosen = labels["effect"].isin(effects).to_numpy()
    signed = labels.loc[chosen, "signed"].to_numpy(dtype=bool)
    labels = labels.loc[chosen, ["effect", "group", "term"]].reset_index(drop=True)
    draws = draws[..., chosen]
    if not len(labels):
        return labels
    numbers = fit.summarise(draws, ci_prob, ci_kind, signs=signed)
    rhat, bulk, tail = fit._convergence(draws)
    numbers = numbers.rename(columns={"mean": "estimate", "sd": "std_error"}).drop(columns="median")
    return labels.join(numbers).assign(rhat=rhat, ess_bulk=bulk, ess_tail=tail)
