"""Draws of the joint density's coordinates as the parameters that users know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..design.design import Design
from ..design.names import CUTPOINT
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from . import joint as loops
from .geometry import Geometry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterDraws:
    """Draws of all unknowns of a model on the user's scale; grouping factors in the order of the design."""

    beta: Array  # (chain, draw, p)
    parameters: Mapping[str, Array]  # of the family: (chain, draw), of cutpoints (chain, draw, thresholds)
    sds: tuple[Array, ...]  # (chain, draw, number of sds)
    correlations: tuple[Array, ...]  # (chain, draw, q, q)
    effects: tuple[Array, ...]  # (chain, draw, J, q)


def parameters_of(design: Design, geometry: Geometry, joint: loops.Joint, x: Array) -> ParameterDraws:
    """The parameters at coordinates x (chain, draw, d)."""
    shape, flat = x.shape[:2], x.reshape(-1, x.shape[-1])
    S, p, Q, r = len(flat), len(design.x_names), int(joint.column_start[-1]), len(joint.parameter_known)
    sds, factors = np.zeros((S, Q)), np.zeros((S, Q, joint.middle.shape[1]))
    b, values = np.empty((S, int(joint.effect_start[-1]))), np.empty((S, r))
    loops.unfold(loops.pack(joint), flat, sds, factors, b, values)
    beta = flat[:, :p].copy()
    moved = np.zeros(S)
    if design.has_intercept or design.family.has_cutpoints:
        slopes = [j for j, name in enumerate(design.x_names) if name != "Intercept"]
        moved = beta[:, slopes] @ design.X[:, slopes].mean(axis=0)
    if design.has_intercept:
        beta[:, design.x_names.index("Intercept")] -= moved
    of_sds, correlations, effects = [], [], []
    for group in design.groups:
        k = geometry.order.index(group.name)
        first, after = int(joint.column_start[k]), int(joint.column_start[k + 1])
        of_sds.append(sds[:, first:after].reshape(*shape, -1))
        L = factors[:, first:after, : group.q]
        order = np.argsort(joint.place[first:after])
        correlations.append((L @ L.swapaxes(1, 2))[:, order][:, :, order].reshape(*shape, group.q, group.q))
        factor_effects = b[:, joint.effect_start[k] : joint.effect_start[k + 1]].reshape(S, group.n_levels, group.q)
        if isinstance(group, WideTerm):
            factor_effects = np.einsum("jk,skq->sjq", group.rotation.root, factor_effects, optimize=True)
        effects.append(factor_effects.reshape(*shape, group.n_levels, group.q))
    parameters = {
        name: (values + moved[:, None]).reshape(*shape, -1) if name == CUTPOINT else values[:, k].reshape(shape)
        for k, name in enumerate(design.family.every_parameter)
        if name in design.family.parameters
    }
    return ParameterDraws(
        beta=beta.reshape(*shape, p),
        parameters=parameters,
        sds=tuple(of_sds),
        correlations=tuple(correlations),
        effects=tuple(effects),
    )
