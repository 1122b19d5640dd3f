"""In which coordinates NUTS moves: centred, not centred, or between, for every column of every grouping factor.

A random effect b ~ N(m, s²) can be sampled itself (centred) or as z = (b − m)/s (not centred).  The first is nearly
orthogonal to s where the rows of a level tell b well, the second where they say little; in between a weight w serves,
v ~ N(w m, s^w) with b = m + s^(1−w) (v − w m) (Papaspiliopoulos, Roberts & Sköld 2007; Gorinova, Moore & Hoffman 2020).

What the rows tell is the reliability 1 − Var(b | y)/τ² at rough estimates.  Centred effects are sampled around what
else the mean of their level holds: the effects of the factor that they are nested in, and for one factor the fixed
effects (Gelfand, Sahu & Carlin 1995).  Of a wide term the coordinates are those of its rotation, each with a weight of
its own: what the rows tell of a column is one number.  Effects are not made to sum to zero: they are draws from a
population, and β is its mean, not that of the levels at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design, GroupTerm
from ..errors import InputError
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from .pql import Rough

Codes = NDArray[np.int64]

CENTRED_ABOVE = 0.7  # mean reliability above which b itself is sampled
NOT_BELOW = 0.5  # mean reliability below which z is
FEW_LEVELS = 10  # with fewer levels τ is so uncertain that the estimated reliability is, too
TOO_FEW = 2.0  # effects of a wide term that the rows tell, in all: below, τ is hardly known
SURE = 0.95  # reliability above which few levels do not matter
OTHER_WEIGHT = 0.1  # from which on coordinates are others
FAR_FROM_ZERO = 0.5  # |mean| of a predictor in sds


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The coordinates of one grouping factor.

    Attributes
    ----------
    weights : float64 array (J, q)
        w: 1 where b is sampled itself, 0 where z is.
    reliability : tuple of float
        Mean over levels, of each column; NaN where there was no rough fit.
    blocks : tuple of tuple of int
        Columns in the order in which they are conditioned on each other.
    parent : str
        The factor that this one is nested in, if any; ``above`` (J,) are its levels.
    """

    weights: Array
    reliability: tuple[float, ...]
    blocks: tuple[tuple[int, ...], ...]
    parent: str = ""
    above: Codes

    def is_centred(self, column: int) -> bool:
        """Whether b of this column is sampled itself in all levels."""
        return bool(np.all(self.weights[:, column] == 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A fixed effect around which a centred column is sampled: times ``weights`` (J,)."""

    column: int
    coefficient: int
    weights: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The coordinates of a model; ``order`` are the factors of the mean, outer before inner ones."""

    placements: Mapping[str, Placement]
    columns: Mapping[str, tuple[str, ...]]
    order: tuple[str, ...]
    attached: Mapping[str, tuple[Attached, ...]]

    def above_column(self, group: GroupTerm, column: int) -> int | None:
        """The column of the factor above around whose effects a column is sampled, if any."""
        placement = self.placements[group.name]
        if not placement.parent or not placement.weights[:, column].any():
            return None
        names = self.columns[placement.parent]
        return names.index(group.columns[column]) if group.columns[column] in names else None

    @property
    def few_levels(self) -> bool:
        """Whether some factor has so few levels that its sd is hardly known."""
        return any(len(placement.weights) < FEW_LEVELS for placement in self.placements.values())


def choose_geometry(design: Design, rough: Rough | None, centring: Mapping[Any, Any] | None = None) -> Geometry:
    """The geometry that rough estimates suggest; ``centring`` overrides it.

    Parameters
    ----------
    design : Design
    rough : Rough or None
        Without rough estimates nothing is centred.
    centring : mapping, optional
        Weights between 0 (not centred) and 1 (centred) by grouping factor or by (factor, column).

    Raises
    ------
    InputError
        ``centring`` names no factor or column, or holds no weight.
    """
    user_weights = _given(design, centring or {})
    placements, spread = {}, {}
    for k, group in enumerate(design.groups):
        weights, reliability = _suggested(group, rough, k)
        for (name, column), weight in user_weights.items():
            if name == group.name:
                weights[:, column] = weight
        parent, above = _parent(design, group)
        placements[group.name] = Placement(
            weights=weights,
            reliability=reliability,
            blocks=tuple(
                tuple(block) if structure.has_order else _conditioning(group, block, weights)
                for block, structure in zip(group.blocks, group.template.structures, strict=True)
            ),
            parent=parent,
            above=above,
        )
        tau2 = 0.0 if rough is None else float(np.diag(rough.solution.covariances[k]).max())
        spread[group.name] = (_depth(placements, group.name), tau2 * _variance_of_mean(group))
    for group in design.parameter_groups:  # of which a rough fit says nothing
        weights = np.zeros((group.n_levels, group.q))
        for (name, column), weight in user_weights.items():
            if name == group.name:
                weights[:, column] = weight
        placements[group.name] = Placement(
            weights=weights,
            reliability=(float("nan"),) * group.q,
            blocks=tuple(tuple(block) for block in group.blocks),
            above=np.zeros(group.n_levels, np.int64),
        )
    # β is known up to the mean of the effects, so it moves with those of the factor with the widest mean
    candidates = [g.name for g in design.groups if _has_room(g, placements[g.name])]
    return Geometry(
        placements=placements,
        columns={g.name: g.columns for g in design.every_group},
        order=tuple(g.name for g in sorted(design.groups, key=lambda g: g.n_levels)),
        attached=_attach(design, placements, max(candidates, key=spread.__getitem__, default="")),
    )


def _suggested(group: GroupTerm, rough: Rough | None, k: int) -> tuple[Array, tuple[float, ...]]:
    """Weights (J, q) and mean reliability of each column."""
    weights = np.zeros((group.n_levels, group.q))
    if rough is None:
        return weights, (float("nan"),) * group.q
    if isinstance(group, WideTerm) and group.q > 1:  # the effects of all levels are told together: none is centred
        return weights, (float("nan"),) * group.q
    if isinstance(group, WideTerm):
        information = np.einsum("n,nj,nj->j", rough.information, group.rotation.columns, group.rotation.columns)
        ratio = information * group.rotation.size**2 * float(rough.solution.covariances[k][0, 0])
        pooling_factor = ratio / (1.0 + ratio)
        if pooling_factor.sum() >= TOO_FEW:
            weights[:, 0] = pooling_factor
        return weights, (float(pooling_factor.mean()),)
    tau2 = np.diag(rough.solution.covariances[k])
    left = np.einsum("jkk->jk", rough.solution.mode_covariances[k])
    pooling_factor = np.clip(np.where(tau2 > 0.0, 1.0 - left / np.maximum(tau2, 1e-300), 0.0), 0.0, 1.0)
    # at a correlation of ±1 one column seems to tell the other: each has to be told by its own rows as well
    pooling_factor = np.minimum(pooling_factor, tau2 / (tau2 + _own_variances(group, rough.information) + 1e-300))
    alone = [any(block == (column,) for block, _ in group.template.parts()) for column in range(group.q)]
    for column in range(group.q):
        weights[:, column] = _weights(pooling_factor[:, column], alone=alone[column])
    return weights, tuple(float(v) for v in pooling_factor.mean(axis=0))


def _weights(reliability: Array, *, alone: bool) -> Array:
    """Weights (J,) of a column from the reliability of each level; ``alone``: it is correlated with no other."""
    mean, is_few = reliability.mean(), len(reliability) < FEW_LEVELS
    if mean >= (SURE if is_few else CENTRED_ABOVE):
        return np.ones_like(reliability)
    return reliability if alone and (is_few or mean >= NOT_BELOW) else np.zeros_like(reliability)


def learned_centring(
    groups: Sequence[GroupTerm], geometry: Geometry, effects: Mapping[str, Array], sds: Mapping[str, Array]
) -> dict[tuple[str, str], float]:
    """Weights by factor and column that draws suggest, where they are others than those of the geometry.

    Rough estimates of variances are too small where rows say little each, as of sparse binary responses, and so is what
    they make of the reliability.

    Parameters
    ----------
    groups : sequence of GroupTerm
        Those to learn about, with independent levels.
    effects : mapping of float64 array (S, J, q)
        Draws, by grouping factor.
    sds : mapping of float64 array (S, q)
        Those of their columns.
    """
    centring = {}
    for group in groups:
        b, tau2 = effects[group.name], np.mean(sds[group.name] ** 2, axis=0)
        pooling_factor = np.clip(1.0 - b.var(axis=0) / np.maximum(tau2, 1e-300), 0.0, 1.0)
        parts = [block for block, _ in group.template.parts()]
        for k, column in enumerate(group.columns):
            weight = float(_weights(pooling_factor[:, k], alone=(k,) in [tuple(part) for part in parts]).mean())
            if abs(weight - geometry.placements[group.name].weights[:, k].mean()) > OTHER_WEIGHT:
                centring[group.name, column] = round(weight, 3)
    return centring


def _own_variances(group: GroupTerm, information: Array) -> Array:
    """[(Z_jᵀWZ_j)⁻¹]_kk per level and column (J, q); infinite where the rows of the level cannot tell its columns."""
    products = np.zeros((group.n_levels, group.q, group.q))
    for a in range(group.q):
        for b in range(group.q):
            values = information * group.Z[:, a] * group.Z[:, b]
            products[:, a, b] = np.bincount(group.codes, weights=values, minlength=group.n_levels)
    variances = np.full((group.n_levels, group.q), np.inf)
    well_conditioned = np.linalg.cond(products) < 1e10
    variances[well_conditioned] = np.diagonal(np.linalg.inv(products[well_conditioned]), axis1=1, axis2=2)
    return variances


def _given(design: Design, centring: Mapping[Any, Any]) -> dict[tuple[str, int], float]:
    """The user's weights by factor and number of the column, those of single columns last."""
    if not isinstance(centring, Mapping):
        raise InputError(f"centring={centring!r}: it is a dict of weights such as {{'school': 0}}")
    user_weights: dict[tuple[str, int], float] = {}
    columns_of = {g.name: g.columns for g in design.every_group}
    for key, weight in sorted(centring.items(), key=lambda item: isinstance(item[0], tuple)):
        group, *terms = key if isinstance(key, tuple) else (key,)
        if group not in columns_of or len(terms) > 1 or (terms and terms[0] not in columns_of[group]):
            names = [repr(g) for g in columns_of] + [repr((g, c)) for g, columns in columns_of.items() for c in columns]
            raise InputError(f"centring: {key!r} is no grouping factor or column; there are {', '.join(names)}")
        if not isinstance(weight, int | float | np.number) or not 0.0 <= weight <= 1.0:
            raise InputError(f"centring={{{key!r}: {weight!r}}}: a weight lies between 0 (not centred) and 1 (centred)")
        for column, name in enumerate(columns_of[group]):
            if not terms or name == terms[0]:
                user_weights[group, column] = float(weight)
    return user_weights


def _parent(design: Design, group: GroupTerm) -> tuple[str, Codes]:
    """The finest factor that this one is nested in, and the level of it that each level belongs to."""
    best: tuple[str, Codes, int] = ("", np.zeros(group.n_levels, np.int64), 0)
    for other in () if group.is_wide else design.groups:
        if other.is_wide or other is group or not best[2] < other.n_levels < group.n_levels:
            continue
        pairs = group.codes * other.n_levels + other.codes
        if len(np.unique(pairs)) == group.n_levels:
            above = np.zeros(group.n_levels, np.int64)
            above[group.codes] = other.codes
            best = (other.name, above, other.n_levels)
    return best[0], best[1]


def _has_room(group: GroupTerm, placement: Placement) -> bool:
    """Whether a fixed effect may be what the effects of a term are sampled around."""
    if isinstance(group, WideTerm):
        return group.is_grouping and group.q == 1 and bool(placement.weights.any()) and _adds_up(group)
    return any(placement.is_centred(column) for column in range(group.q))


def _adds_up(term: WideTerm) -> bool:
    """Whether equal effects of all levels are an intercept."""
    return bool(np.allclose(term.matrix @ np.ones(term.n_levels), 1.0))


def _variance_of_mean(group: GroupTerm) -> float:
    """The variance of the mean of all effects, in units of their own."""
    if not isinstance(group, WideTerm) or group.root is None:
        return 1.0 / group.n_levels
    return float(np.sum(group.root.sum(axis=0) ** 2)) / group.n_levels**2


def _depth(placements: Mapping[str, Placement], name: str) -> int:
    parent = placements[name].parent
    return 0 if not parent else 1 + (_depth(placements, parent) if parent in placements else 0)


def _conditioning(group: GroupTerm, block: Sequence[int], weights: Array) -> tuple[int, ...]:
    """The columns of a block in the order in which they are conditioned; most structures do not mind it.

    Where a predictor lies far from zero, a centred intercept goes last, to be sampled at the middle of the predictors:
    at zero it is almost collinear with the slopes given the rows of a group.
    """
    if group.is_wide:
        return tuple(block)
    constant = [k for k in block if np.all(group.Z[:, k] == group.Z[0, k])]
    far = any(abs(z.mean()) > FAR_FROM_ZERO * z.std() > 0.0 for z in group.Z[:, list(block)].T)
    if not far or not any(np.all(weights[:, k] == 1.0) for k in constant):
        return tuple(block)
    return (*(k for k in block if k not in constant), *constant)


def _attach(design: Design, placements: Mapping[str, Placement], widest: str) -> dict[str, tuple[Attached, ...]]:
    """Of every fixed effect the centred column that is sampled around it, if there is one.

    The intercept goes to one factor, the ``widest``; another column goes there as well if it can, else to the factor
    with most levels of those that it does not vary within.
    """
    attached: dict[str, list[Attached]] = {g.name: [] for g in design.every_group}
    centred = design.has_intercept or design.family.has_cutpoints
    means = design.X.mean(axis=0) if centred else np.zeros(len(design.x_names))
    ordinary = [g for g in design.groups if not g.is_wide]
    factors = sorted(ordinary, key=lambda g: (g.name != widest, -g.n_levels))
    wide_term = next((g for g in design.groups if isinstance(g, WideTerm) and g.name == widest), None)
    for c, name in enumerate(design.x_names):
        if wide_term is not None and name == "Intercept":  # R u + α 1 = R (u + α R⁻¹ 1)
            weights = wide_term.inwards[0].sum(axis=1)
            attached[wide_term.name].append(Attached(column=0, coefficient=c, weights=weights))
        for group in factors if name != "Intercept" else [factor for factor in factors if factor.name == widest]:
            placement = placements[group.name]
            centred_columns = [k for k in range(group.q) if placement.is_centred(k)]
            # predictors of effects at means are centred, and so is what is compared with them
            mean = 0.0 if name == "Intercept" else means[c]
            column, mean = (design.X[:, c] - mean, 0.0) if group.is_at_means else (design.X[:, c], mean)
            ratios = [(k, _ratio(group, k, column)) for k in centred_columns]
            constant = [i for i in centred_columns if np.all(group.Z[:, i] == 1.0)]
            # without an intercept to take up the rest, a slope goes with its own fixed effect only
            fitting = [
                (k, ratio)
                for k, ratio in ratios
                if ratio is not None and (constant or np.abs(ratio - 1.0).max() < 1e-9)
            ]
            if not fitting:
                continue
            k, ratio = fitting[0]
            if k in constant:
                attached[group.name].append(Attached(column=k, coefficient=c, weights=ratio - mean))
            else:
                attached[group.name].append(Attached(column=k, coefficient=c, weights=ratio))
                attached[group.name] += [
                    Attached(column=i, coefficient=c, weights=_at_middle(group, placement, i, k) * ratio - mean)
                    for i in constant
                ]
            break
    kept = {name: [a for a in every if np.any(np.abs(a.weights) > 1e-12)] for name, every in attached.items()}
    return {name: tuple(every) for name, every in kept.items()}


def _ratio(group: GroupTerm, k: int, column: Array) -> Array | None:
    """w (J,) with column = Z_k · w_level in every row, or None."""
    z = group.Z[:, k]
    squares = np.bincount(group.codes, weights=z * z, minlength=group.n_levels)
    products = np.bincount(group.codes, weights=z * column, minlength=group.n_levels)
    w = products / np.where(squares > 0.0, squares, 1.0)
    off = np.abs(column - z * w[group.codes]).max()
    return w if off <= 1e-9 * max(float(np.abs(column).max()), 1e-300) else None


def _at_middle(group: GroupTerm, placement: Placement, intercept: int, other: int) -> float:
    """Mean of a predictor if the intercept is sampled at its middle, else 0."""
    for block in placement.blocks:
        if intercept in block:
            return dict(middle_shifts(group, block, block.index(intercept))).get(other, 0.0)
    return 0.0


def middle_shifts(group: GroupTerm, block: Sequence[int], place: int) -> list[tuple[int, float]]:
    """(column, mean of its predictor) of what takes a level's intercept to the middle of the predictors before it."""
    if group.is_wide or not np.all(group.Z[:, block[place]] == 1.0):
        return []
    return [(other, float(group.Z[:, other].mean())) for other in block[:place]]
