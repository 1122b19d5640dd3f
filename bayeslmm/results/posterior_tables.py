"""Tables of draws: fixed effects, random effects, coefficients of levels, covariance matrices, parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..design.names import EACH, as_labels
from ..errors import InputError
from ..tools.arrays import Array
from . import variance
from .coefficients import coding_of
from .draws import Draws, covariance_of
from .parameter_draws import parameter_draws
from .summaries import P_POSITIVE, SUMMARY, flat
from .tables import level_table, stack, wide_table


def fixef(record: Draws, ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.fixef`."""
    labels, beta = fixed_draws(record)
    table = record.summarise(beta, ci_prob, ci_kind, signs=True)
    return table.set_index(pd.Index(labels, name="term"))


def fixed_draws(record: Draws) -> tuple[tuple[str, ...], Array]:
    """What fixed effects are called, and their draws (chain, draw, p): those of all categories one after the other."""
    design = record.design
    if not design.family.is_nominal:
        return design.x_names, record.values.beta
    of_parts = [(part.labels, record.draws(part.variable)) for part in design.predictors.values()]
    labels = tuple(label for each, _ in of_parts for label in each)
    return labels, np.concatenate([drawn for _, drawn in of_parts], axis=-1)


def vcov(record: Draws) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.vcov`."""
    names, beta = fixed_draws(record)
    covariance = np.cov(flat(beta), rowvar=False).reshape(len(names), len(names))
    return pd.DataFrame(covariance, index=list(names), columns=list(names))


def ranef(record: Draws, wide: bool, draws: bool, ci_prob: float | None, ci_kind: str | None) -> Any:
    """The table or draws behind :meth:`PosteriorFit.ranef`."""
    names = record.design.names.b
    if draws:
        return record.idata.posterior.to_dataset()[list(names.values())]
    parts = [
        of_levels(record, group.name, group.levels, group.columns, record.draws(names[group.name]), ci_prob, ci_kind)
        for group in record.design.every_group
        if group.is_grouping
    ]
    table = stack(parts, (*SUMMARY, P_POSITIVE))
    return wide_table(table, "mean") if wide else table


def coef(record: Draws, wide: bool, draws: bool, ci_prob: float | None, ci_kind: str | None) -> Any:
    """The table or draws behind :meth:`PosteriorFit.coef`."""
    import xarray as xr

    parts, kept = [], {}
    names = record.design.names
    of_groups = [(record.design, record.values.beta, group) for group in record.design.groups]
    of_groups += [
        (record.design.for_category(part), record.draws(part.variable), group)
        for part in record.design.of_categories
        for group in part.groups
    ]
    for design, beta, group in of_groups:
        if not group.is_grouping:
            continue
        coding = coding_of(design, group)
        values = np.repeat((beta @ coding.B.T)[:, :, None, :], group.n_levels, axis=2)
        values[..., coding.places] += record.draws(names.b[group.name])
        if draws:
            dims = (*EACH, names.level[group.name], names.coef_term[group.name])
            coords = dict(zip(dims[2:], (as_labels(group.levels), as_labels(coding.names)), strict=True))
            kept[names.coef[group.name]] = xr.DataArray(values, dims=dims, coords=coords)
        else:
            parts.append(of_levels(record, group.name, group.levels, coding.names, values, ci_prob, ci_kind))
    if draws:
        return xr.Dataset(kept)
    table = stack(parts, (*SUMMARY, P_POSITIVE))
    return wide_table(table, "mean") if wide else table


def of_levels(
    record: Draws,
    group: str,
    levels: Sequence[Any],
    terms: Sequence[str],
    values: Array,
    ci_prob: float | None,
    ci_kind: str | None,
) -> pd.DataFrame:
    """One row a level and term of a factor, from draws (chain, draw, level, term)."""
    numbers = record.summarise(values.reshape(*values.shape[:2], -1), ci_prob, ci_kind, signs=True)
    return level_table(group, levels, terms, **{number: numbers[number].to_numpy() for number in numbers})


def var_corr(record: Draws, draws: bool) -> dict[str, Any]:
    """The matrices behind :meth:`PosteriorFit.var_corr`."""
    import xarray as xr

    matrices: dict[str, Any] = {}
    names = record.design.names
    for group in record.design.every_group:
        covariance = covariance_of(record, group)
        terms = list(group.columns)
        if draws:
            dims = (names.term[group.name], names.other[group.name])
            coords = dict.fromkeys(dims, terms)
            matrices[group.name] = xr.DataArray(covariance, dims=(*EACH, *dims), coords=coords)
        else:
            matrices[group.name] = pd.DataFrame(covariance.mean(axis=(0, 1)), index=terms, columns=terms)
    return matrices


def parameters(record: Draws, part: str) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.parameters`."""
    labels, draws = parameter_draws(record)
    parts = (*variance.PARTS, *(variance.part_of(group.name) for group in record.design.every_group))
    if part not in parts:
        raise InputError(f"parameters({part!r}): parts are {', '.join(map(repr, parts))}")
    in_part = labels["part"] == part
    if not in_part.any():  # a family without parameters besides its mean
        return pd.DataFrame(columns=[*SUMMARY, "rhat", "ess_bulk", "ess_tail"])
    chosen = draws[..., in_part.to_numpy()]
    rhat, bulk, tail = record._convergence(chosen)
    signed = labels.loc[in_part, "signed"].to_numpy(dtype=bool)
    table = record.summarise(chosen, signs=signed).set_index(pd.Index(labels.loc[in_part, "name"], name="term"))
    return table.assign(rhat=rhat, ess_bulk=bulk, ess_tail=tail)
