"""The joint density of all unknowns and its gradient in compiled loops, for NUTS without compiling a graph.

The twin of the PyMC model: the same coordinates in another order, the same density (tests compare the two).  x holds
the fixed effects at centred predictors, then for each factor, outer before inner, log sds, twice the coordinates of
its correlations (of partial ones: log odds) and its effects column by column, then the parameters of the family: logs,
or ordered cutpoints.  Derivatives are written out by hand, from the rows of the data back to x (docs/theory.md,
section 11).
"""
# mypy: disable-error-code="no-untyped-def, call-overload"

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np
from numba import types
from numpy.random import Generator
from numpy.typing import NDArray

from ..covariances import loops
from ..design.design import Design, GroupTerm
from ..design.names import BETA, CUTPOINT
from ..design.priors import LKJ, Priors
from ..errors import NotAvailableError
from ..families import LINKS, densities
from ..families.links import LOG, mean_and_slope, mean_bends
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.compiling import compiled, compiled_for_c, kept
from ..tools.lazy import special
from .geometry import Geometry, middle_shifts
from .hyperpriors import Kind, Positive, location_scale, log_location_scale, log_prior, with_other_ends
from .pql import Rough

Codes = NDArray[np.int64]

NONE = -1
NOT_FINITE = 3  # a recoverable error to nutpie: the trajectory diverges
POINTER = types.CPointer(types.double)
Z_ITSELF, CENTRED, BETWEEN = 0, 1, 2  # what is sampled of a column
FARTHEST_START = 10.0  # scales of their priors: farther out no sd and no fixed effect begins


class Joint(NamedTuple):
    """A model as flat arrays; K factors in the order of the geometry, q columns each, Q = Σ q.

    The compiled loops meet it as `views` of one buffer, under the same names, where every array is flat.
    """

    family: int  # by number, see `densities.numbers`
    link: int
    p: int  # fixed effects
    n_parameters: int  # coordinates of the family's parameters
    widest: int  # q
    positive: int  # whether these parameters are
    y: Array  # (n,)
    trials: Array  # (n,)
    weights: Array  # (n,)
    offset: Array  # (n,)
    X: Array  # (n, p) centred
    beta_prior: Array  # (p, 3) location, scale, degrees of freedom
    codes: Codes  # (K, n), zero for a wide term
    wide: Codes  # (K,) whether every row meets all effects
    Z: Array  # factor after factor: (n, q), of a wide term (J, n), the columns of its rotation
    Z_start: Codes  # (K + 1,)
    levels: Codes  # (K,)
    column_start: Codes  # (K + 1,) where its columns stand among all
    x_start: Codes  # (K,) where its coordinates begin
    effect_start: Codes  # (K + 1,) where its effects (J, q) begin
    place: Codes  # (Q,) its columns in the order of conditioning
    block_start: Codes  # (Q,) of each place: that where its block begins
    blocks: Codes  # (B, 4) that have correlations: structure, first place, columns, first coordinate in the factor
    blocks_start: Codes  # (K + 1,)
    partials: Codes  # (K,) how many coordinates of correlations there are
    partial_shape: Array  # shapes of their Beta priors, factor after factor
    shape_start: Codes  # (K,)
    sampled: Codes  # (Q,) by column: Z_ITSELF, CENTRED or BETWEEN
    centring: Array  # by effect
    attached: Codes  # (A, 2) columns among all and the fixed effects that they are sampled around
    attached_start: Codes  # (A,) where the weights of each begin
    attached_weight: Array  # weights by level, one after the other
    outer: Codes  # (K,) the factor above, or NONE
    above: Codes  # (Σ J,) the level of it
    above_start: Codes  # (K,)
    above_column: Codes  # (Q,) by column: that of the factor above, or NONE
    middle: Array  # (Q, widest q) by column: means of the predictors that take an intercept to their middle
    sd_of: Codes  # (Q,) by column: which of the factor's sds
    sd_start: Codes  # (K + 1,) where its sds begin among all S
    sd_kind: Codes  # (S,)
    sd_prior: Array  # (S, 2)
    parameter_link: Codes  # (r,) in which positive parameters are sampled
    parameter_kind: Codes  # (r,)
    parameter_known: Array  # of every parameter: its value where it is fixed, else NaN; of cutpoints NaN
    parameter_prior: Array  # (r, 3): of a positive parameter two numbers, of the cutpoints location, scale, dof
    values: Array  # distinct responses of a negative binomial model
    counts: Array
    gram: Array  # (J r²,) of a normal model with one factor: [Z X y]ᵀW[Z X y] of each level, r = q + p + 1; else empty
    gram_total: Array  # ((p + 1)²,) of [X y], all levels together
    gram_shift: Array  # (p,) what the coefficients of X are taken less, since y is taken less its mean
    constant: float  # what hangs on nothing unknown


class Coordinates(NamedTuple):
    """Names of the values of the PyMC model, in the order of x, and the number of each; effects column by column."""

    names: list[str]
    sizes: list[int]


class Factor(NamedTuple):
    """The arrays of one factor; those of all, one after the other, are in `Joint`."""

    group: GroupTerm
    place: list[int]
    block_start: list[int]
    blocks: list[tuple[int, int, int, int]]
    partials: int
    partial_shape: list[float]
    sampled: list[int]
    centring: Array
    attached: list[tuple[int, int]]  # columns of this factor
    attached_weight: list[Array]
    outer: int
    above: Codes
    above_column: list[int]
    middle: Array
    sds: list[Positive]

    @classmethod
    def of(cls, group: GroupTerm, priors: Priors, geometry: Geometry, widest: int) -> Factor:
        placement, template = geometry.placements[group.name], group.template
        eta = _eta(priors, group.name) if template.correlated else 1.0
        place: list[int] = []
        block_start: list[int] = []
        blocks: list[tuple[int, int, int, int]] = []
        shapes: list[float] = []
        middle = np.zeros((group.q, widest))
        for columns, structure in zip(placement.blocks, template.structures, strict=True):
            first, size = len(place), len(columns)
            if structure.n_correlations(size):
                blocks.append((loops.number(structure), first, size, len(shapes)))
                shapes += list(eta + structure.excess(size))
            for i, k in enumerate(columns):
                place.append(k)
                block_start.append(first)
                if placement.is_centred(k):
                    for other, mean in middle_shifts(group, columns, i):
                        middle[k, other] = mean
        sampled, above_column = [], []
        for k in range(group.q):
            varies = placement.weights[:, k].any()
            sampled.append(Z_ITSELF if not varies else CENTRED if placement.is_centred(k) else BETWEEN)
            column = geometry.above_column(group, k)
            above_column.append(NONE if column is None else column)
        return cls(
            group=group,
            place=place,
            block_start=block_start,
            blocks=blocks,
            partials=len(shapes),
            partial_shape=shapes,
            sampled=sampled,
            centring=placement.weights.reshape(-1),
            attached=[(part.column, part.coefficient) for part in geometry.attached[group.name]],
            attached_weight=[part.weights for part in geometry.attached[group.name]],
            outer=geometry.order.index(placement.parent) if placement.parent else NONE,
            above=placement.above,
            above_column=above_column,
            middle=middle,
            sds=[Positive.of(priors.get("sd", group.name, term)) for term in group.sd_terms],
        )

    @property
    def sizes(self) -> list[int]:
        """How many coordinates its sds, correlations and effects have."""
        return [len(self.sds), self.partials, self.group.q * self.group.n_levels]


class FamilyPart(NamedTuple):
    """Coordinates of the family's parameters, and their priors as numbers."""

    names: list[str]
    sizes: list[int]
    links: list[int]
    kinds: list[int]
    priors: list[tuple[float, float, float]]

    @classmethod
    def of(cls, design: Design, priors: Priors) -> FamilyPart:
        names = design.family.parameters
        if not design.family.positive_parameters:
            of_cutpoints = [location_scale(name, priors.get(name)) for name in names]
            return cls([f"{CUTPOINT}_ordered__"], [len(design.levels) - 1], [], [int(Kind.FLAT)], of_cutpoints)
        positive = [Positive.of(priors.get(name)) for name in names]
        kinds, numbers = [int(prior.kind) for prior in positive], [(prior.a, prior.b, np.inf) for prior in positive]
        links = [design.family.parameter_link(name) for name in names]
        coordinates = [
            f"{name}_{'log' if link == 'log' else 'logodds'}__" for name, link in zip(names, links, strict=True)
        ]
        return cls(coordinates, [1] * len(names), list(map(densities.link_number, links)), kinds, numbers)


def build(design: Design, priors: Priors, geometry: Geometry) -> tuple[Joint, Coordinates]:
    """The loops' arrays for a model.

    Raises
    ------
    NotAvailableError
        A prior is not written out in `hyperpriors`; the PyMC model takes any.
    """
    for prior in priors.entries:
        if _is_positive(prior.kind):
            Positive.of(prior.prior)  # which refuses those that are not written out
    ends = with_other_ends(design, priors)
    if ends:
        raise NotAvailableError(ends)
    groups = [next(g for g in design.groups if g.name == name) for name in geometry.order]
    widest = max((g.q for g in groups), default=0)
    factors = [Factor.of(group, priors, geometry, widest) for group in groups]
    of_family = FamilyPart.of(design, priors)
    X = _centred(design)
    joint = _joined(design, X, _priors_of_beta(design, priors), factors, of_family, widest)
    return joint, _coordinates(design, factors, of_family)


def _priors_of_beta(design: Design, priors: Priors) -> list[tuple[float, float, float]]:
    return [
        location_scale(name, priors.get("Intercept") if name == "Intercept" else priors.get("fixed", term=name))
        for name in design.x_names
    ]


def _centred(design: Design) -> Array:
    """Predictors less their means, where an intercept or cutpoints take these up."""
    X = np.array(design.X, order="C")
    if design.has_intercept or design.family.has_categories:
        shift = X.mean(axis=0)
        shift[[j for j, name in enumerate(design.x_names) if name == "Intercept"]] = 0.0
        X -= shift
    return X


def _coordinates(design: Design, factors: list[Factor], of_family: FamilyPart) -> Coordinates:
    names, sizes = ([f"{BETA}_centred__"], [design.p]) if design.p else ([], [])
    for factor in factors:
        called = factor.group.name
        sd, cor = design.names.spread_of(called, factor.group.is_at_means)
        names += [f"{sd}_log__", f"{cor}_partial__"]
        names.append(f"{design.names.b[called]}_coordinates__")
        sizes += factor.sizes
    return Coordinates(names + of_family.names, sizes + of_family.sizes)


def _known_of(design: Design, coordinates: int) -> list[float]:
    """Values of the parameters that are fixed, NaN in the places of the others."""
    family = design.family
    if not family.positive_parameters:
        return [np.nan] * coordinates
    return [family.known.get(name, np.nan) for name in family.every_parameter]


def _joined(
    design: Design,
    X: Array,
    beta_prior: list[tuple[float, float, float]],
    factors: list[Factor],
    of_family: FamilyPart,
    widest: int,
) -> Joint:
    """The arrays of all factors one after the other, with those of the fixed effects and of the response."""
    family, link = densities.numbers(design.family)
    y, ones = design.working_response, np.ones(design.n)
    low, high = design.working_ends
    values, counts = np.unique(y, return_counts=True) if design.family.normaliser_takes_y else (np.zeros(0),) * 2
    groups = [factor.group for factor in factors]
    columns = [_columns_of(group) for group in groups]
    column_start, effects = _starts([g.q for g in groups]), [g.q * g.n_levels for g in groups]
    shapes = np.array([shape for factor in factors for shape in factor.partial_shape])
    constant = design.density_constants.sum() - 0.5 * np.log(2.0 * np.pi) * sum(effects)
    constant -= special.betaln(shapes, shapes).sum()
    by_products = design.family.is_normal and not design.family.residual_is_known and not design.is_wide
    gram, gram_shift = _gram(design, X, y) if len(groups) == 1 and by_products else (np.zeros(0), np.zeros(design.p))
    attached = [
        (start + column, coefficient)
        for start, factor in zip(column_start, factors, strict=False)
        for column, coefficient in factor.attached
    ]
    weights = [weight for factor in factors for weight in factor.attached_weight]
    return Joint(
        family=family,
        link=link,
        p=design.p,
        n_parameters=sum(of_family.sizes),
        widest=widest,
        positive=int(design.family.positive_parameters),
        y=_real(low),
        trials=_real(ones if high is None else high),
        weights=_real(ones if design.precisions is None else design.precisions),
        offset=_real(design.offset),
        X=X,
        beta_prior=_real(beta_prior).reshape(-1, 3),
        codes=_whole([np.zeros(design.n) if g.is_wide else g.codes for g in groups]).reshape(len(groups), design.n),
        wide=_whole([g.is_wide for g in groups]),
        Z=_real(_chained(columns)),
        Z_start=_starts([len(values) for values in columns]),
        levels=_whole([g.n_levels for g in groups]),
        column_start=column_start,
        x_start=_starts([sum(factor.sizes) for factor in factors])[:-1] + design.p,
        effect_start=_starts(effects),
        place=_whole(_chained(factor.place for factor in factors)),
        block_start=_whole(_chained(factor.block_start for factor in factors)),
        blocks=_whole([block for factor in factors for block in factor.blocks]).reshape(-1, 4),
        blocks_start=_starts([len(factor.blocks) for factor in factors]),
        partials=_whole([factor.partials for factor in factors]),
        partial_shape=shapes,
        shape_start=_starts([factor.partials for factor in factors])[:-1],
        sampled=_whole(_chained(factor.sampled for factor in factors)),
        centring=_real(_chained(factor.centring for factor in factors)),
        attached=_whole(attached).reshape(-1, 2),
        attached_start=_starts([len(weight) for weight in weights])[:-1],
        attached_weight=_real(_chained(weights)),
        outer=_whole([factor.outer for factor in factors]),
        above=_whole(_chained(factor.above for factor in factors)),
        above_start=_starts([g.n_levels for g in groups])[:-1],
        above_column=_whole(_chained(factor.above_column for factor in factors)),
        middle=_real(np.concatenate([np.zeros((0, widest)), *(factor.middle for factor in factors)])),
        sd_of=_whole(_chained(g.template.sd_of for g in groups)),
        sd_start=_starts([len(factor.sds) for factor in factors]),
        sd_kind=_whole([prior.kind for factor in factors for prior in factor.sds]),
        sd_prior=_real([(prior.a, prior.b) for factor in factors for prior in factor.sds]).reshape(-1, 2),
        parameter_link=_whole(of_family.links),
        parameter_kind=_whole(of_family.kinds),
        parameter_known=_real(_known_of(design, sum(of_family.sizes))),
        parameter_prior=_real(of_family.priors).reshape(-1, 3),
        values=_real(values),
        counts=_real(counts),
        gram=gram,
        gram_total=_gram_total(gram, groups[0].q if groups else 0, design.p),
        gram_shift=gram_shift,
        constant=float(constant),
    )


def _columns_of(group: GroupTerm) -> Array:
    """What rows multiply the effects of a term with, flat: row by row, of a wide term column by column."""
    if isinstance(group, WideTerm):
        return (group.rotation.whole.T * group.rotation.size).reshape(-1)
    return np.array(group.Z, order="C").reshape(-1)


def _gram(design: Design, X: Array, y: Array) -> tuple[Array, Array]:
    """Cross-products of each level of the one factor, flat, and the shift of β that the centring of y asks for."""
    (group,) = design.groups
    shift = np.zeros(X.shape[1])
    response = y - design.offset
    if design.has_intercept:
        shift[design.x_names.index("Intercept")] = response.mean()
        response = response - response.mean()
    A = np.column_stack([group.Z, X, response])
    weighted = A if design.weights is None else A * design.weights[:, None]
    r = A.shape[1]
    gram = np.empty((group.n_levels, r, r))
    for i in range(r):
        for j in range(r):
            gram[:, i, j] = np.bincount(group.codes, weights=weighted[:, i] * A[:, j], minlength=group.n_levels)
    return gram.reshape(-1), shift


def _gram_total(gram: Array, q: int, p: int) -> Array:
    """The part of [X y] of the cross-products of all levels together, flat."""
    blocks = gram.reshape(-1, q + p + 1, q + p + 1)
    return _real(blocks.sum(axis=0)[q:, q:]).reshape(-1)


def _is_positive(kind: str) -> bool:
    return kind not in ("Intercept", "fixed", "cor", "cutpoint")


def _eta(priors: Priors, group: str) -> float:
    lkj = priors.get("cor", group)
    assert isinstance(lkj, LKJ)
    return lkj.eta


def _whole(values) -> Codes:
    return np.ascontiguousarray(values, dtype=np.int64)


def _real(values) -> Array:
    return np.ascontiguousarray(values, dtype=np.float64)


def _chained(parts: Iterable[Any]) -> Array:
    return np.concatenate([np.zeros(0), *parts])


def _starts(sizes) -> Codes:
    return np.cumsum([0, *sizes]).astype(np.int64)


def _farthest_sds(joint: Joint, k: int) -> Array:
    """Where the sds of the k-th factor begin at the farthest, within narrow priors (S_k,)."""
    sds = slice(joint.sd_start[k], joint.sd_start[k + 1])
    priors = zip(joint.sd_kind[sds], joint.sd_prior[sds], strict=True)
    return np.array([FARTHEST_START * Positive(kind=Kind(kind), a=a, b=b).scale for kind, (a, b) in priors])


def starting_point(design: Design, geometry: Geometry, rough: Rough | None, joint: Joint, rng: Generator) -> Array:
    """A start (d,) near rough estimates, spread about as widely as the posterior might be."""
    family = design.family
    parts, scale = [], family.scale(design.y).value or 1.0
    if rough is not None and design.x_names:
        beta, se = rough.solution.beta.copy(), np.sqrt(np.diag(rough.solution.vcov))
        if design.has_intercept:
            k = design.x_names.index("Intercept")
            beta[k] = beta @ design.X.mean(axis=0)
            se[k] = rough.solution.sigma / np.sqrt(design.n)
        parts.append(beta + se * rng.uniform(-1.0, 1.0, len(beta)))
    else:
        centres = [family.centre(design.y, design.trials) if n == "Intercept" else 0.0 for n in design.x_names]
        spread = np.where(design.X.std(axis=0) > 0.0, design.X.std(axis=0), 1.0)
        parts.append(np.array(centres) + 0.1 * scale / spread * rng.uniform(-1.0, 1.0, len(centres)))
    center, scale_of_prior, _ = joint.beta_prior.T
    reach = FARTHEST_START * scale_of_prior
    parts[0] = np.clip(parts[0], center - reach, center + reach)
    for k, name in enumerate(geometry.order):
        place = next(i for i, g in enumerate(design.groups) if g.name == name)
        group = design.groups[place]
        rms = (
            np.sqrt(np.diag(group.rotation.mean_products)) + 1e-300
            if isinstance(group, WideTerm)
            else np.sqrt(np.mean(group.Z**2, axis=0)) + 1e-300
        )
        least = 0.05 * scale / rms
        tau = 0.3 * scale / rms if rough is None else np.sqrt(np.diag(rough.solution.covariances[place]))
        of_sds = np.array(group.template.sd_of)
        asked = np.maximum(tau, least)
        sds = np.minimum(asked, _farthest_sds(joint, k)[of_sds])
        modes = np.zeros((group.n_levels, group.q))
        if rough is not None and not group.is_wide:  # coordinates of a wide term are not its effects
            modes = rough.solution.modes[place] * (sds / asked)
        logs = np.array([np.log(sds)[of_sds == s].mean() for s in range(of_sds.max() + 1)])
        parts += [logs + rng.uniform(-0.3, 0.3, len(logs)), rng.uniform(-0.3, 0.3, joint.partials[k])]
        for c in range(group.q):
            g = joint.column_start[k] + c
            noise = rng.uniform(-0.5, 0.5, group.n_levels)
            if joint.sampled[g] == Z_ITSELF:
                parts.append(noise)
                continue
            w = joint.centring[joint.effect_start[k] + c : joint.effect_start[k + 1] : group.q]
            around = sum(
                (parts[0][a.coefficient] * a.weights for a in geometry.attached[name] if a.column == c),
                np.zeros(group.n_levels),
            )
            parts.append(w * around + modes[:, c] + noise * sds[c] ** w * 0.3)
    sigma = scale if rough is None else rough.solution.sigma
    for name in family.parameters:
        if not family.positive_parameters:
            share = np.cumsum(np.bincount(design.y.astype(int)))[:-1] / design.n
            cuts = family.eta(np.clip(share, 0.01, 0.99))
            steps = np.log(np.maximum(np.diff(cuts), 0.05))
            parts.append(np.concatenate([cuts[:1], steps]) + rng.uniform(-0.1, 0.1, len(cuts)))
            continue
        guess = LINKS[family.parameter_link(name)].to_eta(np.array([family.guess(name, sigma)]))
        parts.append(guess + rng.uniform(-0.2, 0.2, 1))
    return np.concatenate(parts)


def pack(joint: Joint) -> Array:
    """One buffer for the compiled loops, which find the fields in it by `views`.

    It holds its length and where the whole numbers start; all real fields; then, by their bits, whole numbers: where
    each field starts and ends among those of its kind, and the fields.
    """
    fields = [np.asarray(field) for field in joint]
    whole = [field.dtype == np.int64 for field in fields]
    head, ends = [], {True: 2 * len(fields), False: 2}
    for field, is_whole in zip(fields, whole, strict=True):
        start = ends[is_whole]
        ends[is_whole] = start + field.size
        head += [start, ends[is_whole]]
    reals = [field.reshape(-1) for field, is_whole in zip(fields, whole, strict=True) if not is_whole]
    numbers = [np.array(head), *(field.reshape(-1) for field, is_whole in zip(fields, whole, strict=True) if is_whole)]
    lengths = np.array([ends[False] + ends[True], ends[False]], np.float64)
    return np.concatenate([lengths, *reals, np.concatenate(numbers).astype(np.int64).view(np.float64)])


# -- compiled


# what is called once only: compiled with its caller, which saves seconds the first time
_inline = numba.njit(inline="always", error_model="numpy")


def _views_of_fields() -> Any:
    """A compiled function of a buffer that gives its `Joint`: views of arrays under their names, and numbers.

    Names cost nothing there: what a loop does not ask for is not in its machine code.
    """
    parts = []
    for place, kind in enumerate(get_type_hints(Joint).values()):
        values = "buffer" if kind in (Array, float) else "whole"
        first, after = f"whole[{2 * place}]", f"whole[{2 * place + 1}]"
        parts.append(f"{values}[{first}]" if kind in (int, float) else f"{values}[{first}:{after}]")
    lines = ["def views(buffer):", "    whole = buffer[int(buffer[1]) :].view(np.int64)"]
    names = {"np": np, "Joint": Joint}
    exec("\n".join([*lines, f"    return Joint({', '.join(parts)})"]), names)  # fields of a class, nothing from outside
    return _inline(names["views"])


views = _views_of_fields()


@_inline
def _sds(joint, k):
    """How many sds factor k has."""
    return joint.sd_start[k + 1] - joint.sd_start[k]


@_inline
def _factors(joint, k, x, sd, L, gradient):
    """Sds by column and rows of the correlation factor of factor k, in the order of places; their log prior."""
    c0, q, position = joint.column_start[k], joint.column_start[k + 1] - joint.column_start[k], joint.x_start[k]
    s0, n_sds = joint.sd_start[k], joint.sd_start[k + 1] - joint.sd_start[k]
    total = 0.0
    for s in range(n_sds):
        value_of_sd = np.exp(x[position + s])
        a, b = joint.sd_prior[2 * (s0 + s)], joint.sd_prior[2 * (s0 + s) + 1]
        value, slope = log_prior(joint.sd_kind[s0 + s], a, b, value_of_sd)
        total += value + x[position + s]
        gradient[position + s] += slope * value_of_sd + 1.0
    for c in range(q):
        sd[c] = np.exp(x[position + joint.sd_of[c0 + c]])
    position += n_sds
    partials = joint.partials[k]
    y = 0.5 * x[position : position + partials]  # x are the log odds of shares
    for e in range(partials):
        value, slope = loops.log_prior(joint.partial_shape[joint.shape_start[k] + e], y[e])
        total += value
        gradient[position + e] += 0.5 * slope
    for i in range(q):
        L[i, i] = 1.0
    for block in range(joint.blocks_start[k], joint.blocks_start[k + 1]):
        row = joint.blocks[4 * block : 4 * block + 4]
        kind, first, d, p = row[0], row[1], row[2], row[3]
        loops.factor(kind, d, y[p:], L[first : first + d, first : first + d])
    return total


@_inline
def _shifts(joint, k, c, x, b):
    """What the effects of column c are sampled around (J,), besides their conditional mean."""
    g, J, e0 = joint.column_start[k] + c, joint.levels[k], joint.effect_start[k]
    q = joint.column_start[k + 1] - joint.column_start[k]
    out = np.zeros(J)
    for a in range(joint.attached_start.shape[0]):
        if joint.attached[2 * a] == g:
            for level in range(J):
                out[level] += joint.attached_weight[joint.attached_start[a] + level] * x[joint.attached[2 * a + 1]]
    if joint.above_column[g] >= 0:
        parent, start = joint.outer[k], joint.above_start[k]
        width = joint.column_start[parent + 1] - joint.column_start[parent]
        first_effect = joint.effect_start[parent] + joint.above_column[g]
        for level in range(J):
            out[level] += b[first_effect + joint.above[start + level] * width]
    for other in range(q):
        mean = joint.middle[g * joint.widest + other]
        if mean != 0.0:
            for level in range(J):
                out[level] += mean * b[e0 + level * q + other]
    return out


@_inline
def _effects(joint, k, x, sd, L, z, b):
    """Effects of factor k from its coordinates; fills z and b, returns their log density."""
    c0, q, J = joint.column_start[k], joint.column_start[k + 1] - joint.column_start[k], joint.levels[k]
    position = joint.x_start[k] + _sds(joint, k) + joint.partials[k]
    e0, total = joint.effect_start[k], 0.0
    for i in range(q):
        c, first = joint.place[c0 + i], joint.block_start[c0 + i]
        spread, sampled_as = sd[c] * L[i, i], joint.sampled[c0 + c]
        log_spread = np.log(spread)
        shifts = _shifts(joint, k, c, x, b)
        if sampled_as == CENTRED:
            total -= J * log_spread
        for level in range(J):
            e = e0 + level * q
            mean = 0.0
            for j in range(first, i):
                mean += L[i, j] * z[e + j]
            mean *= sd[c]
            v = x[position + c * J + level]
            if sampled_as == Z_ITSELF:
                zi = v
            elif sampled_as == CENTRED:
                zi = (v - mean - shifts[level]) / spread
            else:
                w = joint.centring[e + c]
                zi = (v - w * (mean + shifts[level])) * np.exp(-w * log_spread)
                total -= w * log_spread
            z[e + i] = zi
            b[e + c] = mean + spread * zi
            total -= 0.5 * zi * zi
    return total


@_inline
def _pull_back(joint, k, x, sd, L, z, by_b, gradient):
    """From the derivatives by the effects of factor k to those by x, by outer effects and by fixed effects."""
    c0, q, J = joint.column_start[k], joint.column_start[k + 1] - joint.column_start[k], joint.levels[k]
    start, e0 = joint.x_start[k], joint.effect_start[k]
    n_sds, partials = _sds(joint, k), joint.partials[k]
    position = start + n_sds + partials
    by_sd, by_L, by_z, by_centre = np.zeros(q), np.zeros((q, q)), np.zeros(J * q), np.zeros(J)
    for i in range(q - 1, -1, -1):
        c, first = joint.place[c0 + i], joint.block_start[c0 + i]
        sampled_as, spread, by_spread = joint.sampled[c0 + c], sd[c] * L[i, i], 0.0
        log_spread = np.log(spread)
        for level in range(J):
            e = e0 + level * q
            zi, by_effect = z[e + i], by_b[e + c]
            of_z, by_mean = by_z[level * q + i] + by_effect * spread - zi, by_effect
            by_spread += by_effect * zi
            if sampled_as == Z_ITSELF:
                gradient[position + c * J + level] += of_z
            else:
                w = 1.0 if sampled_as == CENTRED else joint.centring[e + c]
                per = 1.0 / spread if sampled_as == CENTRED else np.exp(-w * log_spread)
                gradient[position + c * J + level] += of_z * per
                by_spread -= w * (of_z * zi + 1.0) / spread
                by_centre[level] = -w * of_z * per
                by_mean += by_centre[level]
            for j in range(first, i):
                by_z[level * q + j] += by_mean * sd[c] * L[i, j]
                by_L[i, j] += by_mean * sd[c] * z[e + j]
                by_sd[c] += by_mean * L[i, j] * z[e + j]
        by_sd[c] += by_spread * L[i, i]
        by_L[i, i] += by_spread * sd[c]
        if sampled_as != Z_ITSELF:
            _pull_back_shifts(joint, k, c, by_centre, by_b, gradient)
    for c in range(q):
        gradient[start + joint.sd_of[c0 + c]] += by_sd[c] * sd[c]
    y, by_y = 0.5 * x[start + n_sds : position], np.zeros(partials)
    for block in range(joint.blocks_start[k], joint.blocks_start[k + 1]):
        row = joint.blocks[4 * block : 4 * block + 4]
        kind, first, d, p = row[0], row[1], row[2], row[3]
        block_rows = slice(first, first + d)
        loops.pull_back(kind, d, y[p:], L[block_rows, block_rows], by_L[block_rows, block_rows], by_y[p:])
    for e in range(partials):
        gradient[start + n_sds + e] += 0.5 * by_y[e]


@_inline
def _pull_back_shifts(joint, k, c, by_centre, by_b, gradient):
    """From the derivatives by what column c is sampled around, level by level: the way back of `_shifts`."""
    g, J, e0 = joint.column_start[k] + c, by_centre.shape[0], joint.effect_start[k]
    q = joint.column_start[k + 1] - joint.column_start[k]
    for a in range(joint.attached_start.shape[0]):
        if joint.attached[2 * a] == g:
            total = 0.0
            for level in range(J):
                total += joint.attached_weight[joint.attached_start[a] + level] * by_centre[level]
            gradient[joint.attached[2 * a + 1]] += total
    if joint.above_column[g] >= 0:
        parent, start = joint.outer[k], joint.above_start[k]
        width = joint.column_start[parent + 1] - joint.column_start[parent]
        first_effect = joint.effect_start[parent] + joint.above_column[g]
        for level in range(J):
            by_b[first_effect + joint.above[start + level] * width] += by_centre[level]
    for other in range(q):
        mean = joint.middle[g * joint.widest + other]
        if mean != 0.0:
            for level in range(J):
                by_b[e0 + level * q + other] += mean * by_centre[level]


@_inline
def _parameters(joint, x, parameters, gradient):
    """The family's parameters from the last coordinates; their log prior."""
    r = joint.n_parameters
    position, total, prior = x.shape[0] - r, 0.0, joint.parameter_prior
    if joint.positive == 0:
        for k in range(r):
            parameters[k] = x[position] if k == 0 else parameters[k - 1] + np.exp(x[position + k])
            total += log_location_scale(prior[0], prior[1], prior[2], parameters[k])[0]
            if k > 0:
                total += x[position + k]
        return total
    i = 0  # among those that are not fixed
    for k in range(joint.parameter_known.shape[0]):
        if not np.isnan(joint.parameter_known[k]):
            parameters[k] = joint.parameter_known[k]
            continue
        link = joint.parameter_link[i]
        parameters[k], slope, bend, _ = mean_bends(link, x[position + i])
        value, by_value = log_prior(joint.parameter_kind[i], prior[3 * i], prior[3 * i + 1], parameters[k])
        total += value + (x[position + i] if link == LOG else np.log(slope))
        gradient[position + i] += by_value * slope + (1.0 if link == LOG else bend / slope)
        i += 1
    return total


@_inline
def _pull_back_parameters(joint, x, parameters, by_parameters, gradient):
    r = joint.n_parameters
    position = x.shape[0] - r
    if joint.positive != 0:
        i = 0
        for k in range(joint.parameter_known.shape[0]):
            if np.isnan(joint.parameter_known[k]):
                gradient[position + i] += by_parameters[k] * mean_and_slope(joint.parameter_link[i], x[position + i])[1]
                i += 1
        return
    from_above, prior = 0.0, joint.parameter_prior
    for k in range(r - 1, -1, -1):
        from_above += by_parameters[k] + log_location_scale(prior[0], prior[1], prior[2], parameters[k])[1]
        gradient[position + k] += from_above if k == 0 else from_above * np.exp(x[position + k]) + 1.0


@_inline
def _add_fixed(X, beta, eta):
    p = beta.shape[0]
    for i in range(eta.shape[0]):
        total = 0.0
        for j in range(p):
            total += X[i * p + j] * beta[j]
        eta[i] += total


@_inline
def _add_effects(codes, Z, b, eta):
    """``b`` (J q,) and ``Z`` (n q,) of one factor, flat."""
    n = eta.shape[0]
    q = Z.shape[0] // n
    if q == 1:
        for i in range(n):
            eta[i] += Z[i] * b[codes[i]]
    else:
        for i in range(n):
            total, first = 0.0, codes[i] * q
            for c in range(q):
                total += Z[i * q + c] * b[first + c]
            eta[i] += total


@_inline
def _sum_over_rows(X, by_eta, gradient, p):
    total = np.zeros(p)
    for i in range(by_eta.shape[0]):
        for j in range(p):
            total[j] += X[i * p + j] * by_eta[i]
    for j in range(p):
        gradient[j] += total[j]


@_inline
def _sum_by_level(codes, Z, by_eta, by_b):
    n = by_eta.shape[0]
    q = Z.shape[0] // n
    if q == 1:
        for i in range(n):
            by_b[codes[i]] += Z[i] * by_eta[i]
    else:
        for i in range(n):
            first = codes[i] * q
            for c in range(q):
                by_b[first + c] += Z[i * q + c] * by_eta[i]


@_inline
def _of_factor(values, start, k):
    return values[start[k] : start[k + 1]]


@_inline
def _add_columns(Z, b, eta):
    """``b`` (J q,) and ``Z`` (J q n,) of a wide term, flat."""
    n = eta.shape[0]
    for level in range(b.shape[0]):
        column, effect = Z[level * n : level * n + n], b[level]
        for i in range(n):
            eta[i] += column[i] * effect


@_inline
def _sum_by_column(Z, by_eta, by_b):
    """The way back of `_add_columns`, in four sums side by side, which a processor adds up at once."""
    n = by_eta.shape[0]
    whole = n - n % 4
    for level in range(by_b.shape[0]):
        column = Z[level * n : level * n + n]
        first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
        for i in range(0, whole, 4):
            first += column[i] * by_eta[i]
            second += column[i + 1] * by_eta[i + 1]
            third += column[i + 2] * by_eta[i + 2]
            fourth += column[i + 3] * by_eta[i + 3]
        for i in range(whole, n):
            first += column[i] * by_eta[i]
        by_b[level] += first + second + third + fourth


@_inline
def _by_rows(joint, x, b, parameters, gradient, by_b, by_parameters):
    """Log likelihood, row by row; its derivatives join ``gradient`` (of β), ``by_b`` and ``by_parameters``."""
    n, p, K, kind, link = (joint.y.shape[0], joint.p, joint.levels.shape[0], joint.family, joint.link)
    eta, by_eta = joint.offset.copy(), np.empty(n)
    _add_fixed(joint.X, x[:p], eta)
    for k in range(K):
        Z, effects = _of_factor(joint.Z, joint.Z_start, k), _of_factor(b, joint.effect_start, k)
        if joint.wide[k]:
            _add_columns(Z, effects, eta)
        else:
            _add_effects(joint.codes[k * n : k * n + n], Z, effects, eta)
    total = densities.add_rows(kind, link, joint.y, joint.trials, joint.weights, eta, parameters, by_eta, by_parameters)
    total += densities.normaliser(kind, n, parameters, joint.values, joint.counts, by_parameters)
    _sum_over_rows(joint.X, by_eta, gradient, p)
    for k in range(K):
        Z, by_effects = _of_factor(joint.Z, joint.Z_start, k), _of_factor(by_b, joint.effect_start, k)
        if joint.wide[k]:
            _sum_by_column(Z, by_eta, by_effects)
        else:
            _sum_by_level(joint.codes[k * n : k * n + n], Z, by_eta, by_effects)
    return total


@_inline
def _by_products(joint, beta, b, sigma, gradient, by_b, by_parameters):
    """The same for a normal model with one factor, from the cross-products (J r²,) of its levels.

    The residual sum of squares is Σ_j b_jᵀZZ b_j + 2 b_jᵀ(ZX β − Zy) + (β, −1)ᵀ T (β, −1), T the total of the rest.
    """
    n, J, p, q = joint.y.shape[0], joint.levels[0], beta.shape[0], joint.column_start[1]
    r, precision, squares = q + p + 1, 1.0 / (sigma * sigma), 0.0
    c, by_beta = np.empty(p + 1), np.zeros(p + 1)
    c[:p], c[p] = beta, -1.0
    for i in range(p + 1):
        for j in range(p + 1):
            by_beta[i] += joint.gram_total[i * (p + 1) + j] * c[j]
        squares += c[i] * by_beta[i]
    for level in range(J):
        for i in range(q):
            bi, entry = b[level * q + i], (level * r + i) * r
            with_itself, with_fixed = 0.0, 0.0
            for j in range(q):
                with_itself += joint.gram[entry + j] * b[level * q + j]
            for j in range(p + 1):
                with_fixed += joint.gram[entry + q + j] * c[j]
                by_beta[j] += joint.gram[entry + q + j] * bi
            squares += bi * (with_itself + 2.0 * with_fixed)
            by_b[level * q + i] -= (with_itself + with_fixed) * precision
    for j in range(p):
        gradient[j] -= by_beta[j] * precision
    by_parameters[0] += (squares * precision - n) / sigma
    return -n * np.log(sigma) - 0.5 * squares * precision


# NUTS calls `density_for_c` only, so it is compiled with that one; from Python, as the tests do, by itself
@kept
@numba.njit(inline="always", error_model="numpy")
def log_density(buffer, x, gradient):
    """Log density of x in a packed model, and its gradient into ``gradient`` (d,)."""
    joint = views(buffer)
    p, K, widest, prior = joint.p, joint.levels.shape[0], joint.widest, joint.beta_prior
    gradient[:] = 0.0
    total = joint.constant
    for j in range(p):
        value, slope = log_location_scale(prior[3 * j], prior[3 * j + 1], prior[3 * j + 2], x[j])
        total += value
        gradient[j] += slope
    sds, Ls = np.zeros((K, widest)), np.zeros((K, widest, widest))
    z, b = np.empty(joint.effect_start[K]), np.empty(joint.effect_start[K])
    by_b = np.zeros(joint.effect_start[K])
    for k in range(K):
        total += _factors(joint, k, x, sds[k], Ls[k], gradient)
        total += _effects(joint, k, x, sds[k], Ls[k], z, b)
    every = joint.parameter_known.shape[0]
    parameters, by_parameters = np.empty(every), np.zeros(max(every, 2))
    total += _parameters(joint, x, parameters, gradient)
    if joint.gram.shape[0] > 0:
        total += _by_products(joint, x[:p] - joint.gram_shift, b, parameters[0], gradient, by_b, by_parameters)
    else:
        total += _by_rows(joint, x, b, parameters, gradient, by_b, by_parameters)
    for k in range(K - 1, -1, -1):
        _pull_back(joint, k, x, sds[k], Ls[k], z, by_b, gradient)
    _pull_back_parameters(joint, x, parameters, by_parameters, gradient)
    return total


@compiled
def unfold(buffer, x, sds, factors, b, parameters):
    """Sds (S, Q), correlation factors (S, Q, widest), effects (S, Σ J q) and parameters (S, r) of draws x (S, d).

    Rows of a correlation factor stand in the order of places; parameters that are fixed are among the r.
    """
    joint = views(buffer)
    unused, z = np.zeros(x.shape[1]), np.empty(b.shape[1])
    for s in range(x.shape[0]):
        for k in range(joint.levels.shape[0]):
            first, after = joint.column_start[k], joint.column_start[k + 1]
            _factors(joint, k, x[s], sds[s, first:after], factors[s, first:after], unused)
            _effects(joint, k, x[s], sds[s, first:after], factors[s, first:after], z, b[s])
        _parameters(joint, x[s], parameters[s], unused)


# -- the same as C functions, as nutpie calls them


@compiled_for_c(types.int64(types.uint64, POINTER, POINTER, POINTER, types.voidptr))
def density_for_c(dim, x_, gradient_, value_, data):  # pragma: no cover - called from compiled code
    """`log_density` for nutpie."""
    size = int(numba.carray(data, 1, types.double)[0])
    buffer = numba.carray(data, size, types.double)
    gradient, value = numba.carray(gradient_, (dim,)), numba.carray(value_, (1,))
    value[0] = log_density(buffer, numba.carray(x_, (dim,)), gradient)
    return 0 if np.isfinite(value[0]) and np.all(np.isfinite(gradient)) else NOT_FINITE


@compiled_for_c(types.int64(types.uint64, types.uint64, POINTER, POINTER, types.voidptr))
def coordinates_for_c(dim, stored, x_, out_, data):  # pragma: no cover - called from compiled code
    """What nutpie stores of a draw: the coordinates as they are."""
    x, out = numba.carray(x_, (dim,)), numba.carray(out_, (stored,))
    out[:] = x
    return 0
