"""Arrays of draws as the datasets and the tree of every posterior, under the names of `bayeslmm.design.names`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.categories import as_seen
from ..design.design import Design, GroupTerm
from ..design.names import BETA, EACH, LOG_RATIO, RESPONSE, RHO, ROW, Names
from ..terms.means import sheared


def shapes(design: Design) -> dict[str, tuple[int, ...]]:
    """The variables that draws of the model have, each with its shape beyond chain and draw."""
    names = design.names
    shape_of: dict[str, tuple[int, ...]] = {BETA: (len(design.x_names),)} if design.x_names else {}
    shape_of |= {name: design.shape_of(name) for name in design.parameters}
    if design.residual is not None:
        lengths = {LOG_RATIO: design.residual.n_spread, RHO: design.residual.n_parameters - design.residual.n_spread}
        shape_of |= {name: (lengths[name],) for name in design.residual.variables}
    for group in design.every_group:
        shape_of |= {names.sd[group.name]: (group.q,), names.b[group.name]: (group.n_levels, group.q)}
        if group.correlated:
            shape_of[names.cor[group.name]] = (group.q, group.q)
    return shape_of


def as_dataset(design: Design, variables: Mapping[str, NDArray[Any]]) -> Any:
    """Arrays (chain, draw, ...) as a Dataset with the dimensions and coordinates of the model; others are left out."""
    import xarray as xr

    n_chains, n_draws = next(variable for variable in variables.values() if variable.size).shape[:2]
    dims = design.names.dims
    kept = {name: ((*EACH, *dims[name]), values) for name, values in variables.items() if name in dims}
    used_names = {dim for of_variable, _ in kept.values() for dim in of_variable}
    coords = {dim: values for dim, values in design.coords.items() if dim in used_names}
    return xr.Dataset(kept, coords={"chain": np.arange(n_chains), "draw": np.arange(n_draws), **coords})


def named(
    design: Design,
    *,
    beta: NDArray[Any],
    parameters: Mapping[str, NDArray[Any]],
    sds: Sequence[NDArray[Any]],
    correlations: Sequence[NDArray[Any]],
    effects: Sequence[NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    """Draws (chain, draw, ...) of a sampler under their names; one array a grouping factor, in the design's order.

    The design is that of the sampler: of effects at the means of predictors (`Priors.at_means`) there are sds and
    correlations twice, and the effects themselves at zero.
    """
    variables = {BETA: beta, **parameters}
    for k, group in enumerate(design.groups):
        variables |= of_group(group, design.names, sds[k], correlations[k], effects[k])
    return variables


def of_group(
    group: GroupTerm, names: Names, sds: NDArray[Any], correlations: NDArray[Any], effects: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Sds (..., q), correlations (..., q, q) and effects (..., J, q) of a grouping factor under their names."""
    variables = {}
    if group.shear is not None:
        variables = dict(zip(names.spread_of(group.name, True), (sds, correlations), strict=True))
        sds, correlations = sheared(group.shear, sds, correlations)
        effects = effects @ group.shear.T
    variables[names.sd[group.name]] = sds
    if group.correlated:
        variables[names.cor[group.name]] = correlations
    return variables | {names.b[group.name]: effects}


def as_tree(
    design: Design,
    variables: Mapping[str, NDArray[Any]],
    statistics: Mapping[str, NDArray[Any]],
    *,
    of_posterior: Mapping[str, Any],
    of_statistics: Mapping[str, Any],
) -> Any:
    """Draws and what the sampler says of them (chain, draw) as a DataTree, each with attributes."""
    import xarray as xr

    posterior = as_dataset(design, variables)
    steps = {dim: posterior[dim].to_numpy() for dim in EACH}
    posterior.attrs = {"sample_dims": list(EACH), **of_posterior}
    of_sampler = xr.Dataset({name: (EACH, values) for name, values in statistics.items()}, coords=steps)
    of_sampler.attrs = {"sample_dims": list(EACH), **of_statistics}
    return xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "sample_stats": of_sampler,
            "observed_data": observed_data(design),
            "constant_data": xr.Dataset(),
        }
    )


def observed_data(design: Design) -> Any:
    """The response as a Dataset, y (obs), in the numbers that a user sees; empty where the rows are gone."""
    import xarray as xr

    if design.sums is not None:
        return xr.Dataset()
    return xr.Dataset({RESPONSE: (ROW, as_seen(design, design.y))}, coords={ROW: design.index.to_numpy()})
