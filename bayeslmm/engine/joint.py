"""The joint density of all unknowns and its gradient in compiled loops, for NUTS without compiling a graph.

The twin of the PyMC model: the same coordinates in another order, the same density (tests compare the two).  x holds
the fixed effects at centred predictors, then for each factor, outer before inner, log sds, twice the coordinates of
its correlations (of partial ones: log odds) and its effects column by column, then the parameters of the family: logs,
or ordered cutpoints.  Derivatives are written out by hand, from the rows of the data back to x (docs/theory.md,
section 11).
"""
# mypy: disable-error-code="no-untyped-def, call-overload"

from __future__ import annotations

from math import lgamma
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import betaln

from ..covariances import loops
from ..design.design import Design
from ..design.names import BETA, CUTPOINT
from ..design.priors import LKJ, Priors
from ..errors import NotAvailableError
from ..families import densities
from ..tools.arrays import Array
from ..tools.compiling import compiled, compiled_for_c, kept
from .geometry import Geometry, middle_shifts
from .hyperpriors import Kind, Positive, location_scale, log_prior
from .pql import Rough

Codes = NDArray[np.int64]

NONE = -1
NOT_FINITE = 3  # a recoverable error to nutpie: the trajectory diverges
POINTER = types.CPointer(types.double)
Z_ITSELF, CENTRED, BETWEEN = 0, 1, 2  # what is sampled of a column


class Joint(NamedTuple):
    """A model as flat arrays; K factors in the order of the geometry, q columns each, Q = Σ q."""

    sizes: Codes  # family, link, p, number of parameters of the family, largest q, whether these are positive
    y: Array  # (n,)
    trials: Array  # (n,)
    weights: Array  # (n,)
    offset: Array  # (n,)
    X: Array  # (n, p) centred
    beta_prior: Array  # (p, 3) location, scale, degrees of freedom
    codes: Codes  # (K, n)
    Z: Array  # (n Q,) factor after factor
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
    parameter_kind: Codes  # (r,)
    parameter_prior: Array  # (r, 3): of a positive parameter two numbers, of the cutpoints location, scale, dof
    values: Array  # distinct responses of a negative binomial model
    counts: Array
    gram: Array  # (J r²,) of a normal model with one factor: [Z X y]ᵀW[Z X y] of each level, r = q + p + 1; else empty
    gram_total: Array  # ((p + 1)²,) of [X y], all levels together
    gram_shift: Array  # (p,) what the coefficients of X are taken less, since y is taken less its mean
    constant: Array  # (1,) what hangs on nothing unknown


(
    SIZES,
    Y,
    TRIALS,
    WEIGHTS,
    OFFSET,
    X_,
    BETA_PRIOR,
    CODES,
    Z_,
    LEVELS,
    COLUMN_START,
    X_START,
    EFFECT_START,
    PLACE,
    BLOCK_START,
    BLOCKS,
    BLOCKS_START,
    PARTIALS,
    PARTIAL_SHAPE,
    SHAPE_START,
    SAMPLED,
    CENTRING,
    ATTACHED,
    ATTACHED_START,
    ATTACHED_WEIGHT,
    OUTER,
    ABOVE,
    ABOVE_START,
    ABOVE_COLUMN,
    MIDDLE,
    SD_OF,
    SD_START,
    SD_KIND,
    SD_PRIOR,
    PARAMETER_KIND,
    PARAMETER_PRIOR,
    VALUES,
    COUNTS,
    GRAM,
    GRAM_TOTAL,
    GRAM_SHIFT,
    CONSTANT,
) = range(len(Joint._fields))  # where `_reals` and `_codes` find each field


class Coordinates(NamedTuple):
    """Names of the values of the PyMC model, in the order of x, and the number of each; effects column by column."""

    names: list[str]
    sizes: list[int]


def build(design: Design, priors: Priors, geometry: Geometry) -> tuple[Joint, Coordinates]:
    """The loops' arrays for a model.

    Raises
    ------
    NotAvailableError
        A prior is not written out in `hyperpriors`; the PyMC model takes any.
    """
    family, names = design.family, list(design.x_names)
    of_beta = [
        location_scale(n, priors.get("Intercept") if n == "Intercept" else priors.get("fixed", term=n)) for n in names
    ]
    centred = design.has_intercept or family.has_categories
    X = np.array(design.X, order="C")
    if centred:
        shift = X.mean(axis=0)
        shift[[j for j, n in enumerate(names) if n == "Intercept"]] = 0.0
        X -= shift
    called = design.names
    labels, counts = ([f"{BETA}_centred__"], [len(names)]) if names else ([], [])
    groups = [next(g for g in design.groups if g.name == name) for name in geometry.order]
    widest = max((g.q for g in groups), default=0)
    K, at = len(groups), len(names)
    parts: dict[str, list[Any]] = {
        key: []
        for key in (
            "place",
            "first",
            "blocks",
            "n_blocks",
            "shapes",
            "sampled",
            "w",
            "attached",
            "weights",
            "above",
            "above_column",
            "middle",
            "sds",
            "n_sds",
            "sd_of",
            "x_start",
            "partials",
            "parent",
            "Z",
        )
    }
    for group in groups:
        placement = geometry.placements[group.name]
        parts["x_start"].append(at)
        parts["Z"].append(np.array(group.Z, order="C").reshape(-1))
        parts["parent"].append(geometry.order.index(placement.parent) if placement.parent else NONE)
        parts["above"].append(placement.above)
        parts["w"].append(placement.weights.reshape(-1))
        partials = 0
        middle = np.zeros((group.q, widest))
        template = group.template
        eta = _eta(priors, group.name) if template.correlated else 1.0
        start, with_correlations = 0, 0
        for block, structure in zip(placement.blocks, template.structures, strict=True):
            d = len(block)
            if structure.n_correlations(d):
                parts["blocks"].append((loops.number(structure), start, d, partials))
                parts["shapes"] += list(eta + structure.excess(d))
                partials += structure.n_correlations(d)
                with_correlations += 1
            for i, k in enumerate(block):
                parts["place"].append(k)
                parts["first"].append(start)
                if placement.is_centred(k):
                    for other, mean in middle_shifts(group, block, i):
                        middle[k, other] = mean
            start += d
        parts["n_blocks"].append(with_correlations)
        columns_before = sum(g.q for g in groups[: groups.index(group)])
        for part in geometry.attached[group.name]:
            parts["attached"].append((columns_before + part.column, part.coefficient))
            parts["weights"].append(part.weights)
        parts["partials"].append(partials)
        parts["middle"].append(middle)
        for k in range(group.q):
            w = placement.weights[:, k]
            how = Z_ITSELF if not w.any() else CENTRED if placement.is_centred(k) else BETWEEN
            parts["sampled"].append(how)
            above = geometry.above_column(group, k)
            parts["above_column"].append(NONE if above is None else above)
        n_sds = len(group.sd_terms)
        parts["sds"] += [Positive.of(priors.get("sd", group.name, term)) for term in group.sd_terms]
        parts["n_sds"].append(n_sds)
        parts["sd_of"] += template.sd_of
        labels += [f"{called.sd[group.name]}_log__", f"{called.cor[group.name]}_partial__"]
        labels.append(f"{called.b[group.name]}_coordinates__")
        counts += [n_sds, partials, group.q * group.n_levels]
        at += n_sds + partials + group.q * group.n_levels
    kinds, of_parameters = [], []
    for name in family.parameters:
        if not family.positive_parameters:
            kinds.append(int(Kind.FLAT))
            of_parameters.append(location_scale(name, priors.get(name)))
            labels.append(f"{CUTPOINT}_ordered__")
            counts.append(len(design.levels) - 1)
        else:
            prior = Positive.of(priors.get(name))
            kinds.append(int(prior.kind))
            of_parameters.append((prior.a, prior.b, np.inf))
            labels.append(f"{name}_log__")
            counts.append(1)
    if any(Positive.of(p.prior).kind == Kind.UNIFORM for p in priors.entries if _is_positive(p.kind)):
        raise NotAvailableError("a uniform prior of a positive parameter has other coordinates in PyMC")
    kind, link = densities.numbers(family)
    y = design.working_response
    ones = np.ones(design.n)
    values, of_values = np.unique(y, return_counts=True) if family.normaliser_takes_y else (np.zeros(0),) * 2
    shapes = np.array(parts["shapes"], float)
    effects = [g.q * g.n_levels for g in groups]
    constant = design.density_constants.sum() - 0.5 * np.log(2.0 * np.pi) * sum(effects)
    constant -= betaln(shapes, shapes).sum()
    gram, gram_shift = (
        _gram(design, X, y)
        if K == 1 and family.is_normal and not family.residual_is_known
        else (np.zeros(0), np.zeros(len(names)))
    )
    joint = Joint(
        sizes=_whole([kind, link, len(names), sum(counts) - at, widest, family.positive_parameters]),
        y=_real(y),
        trials=_real(ones if design.trials is None else design.trials),
        weights=_real(ones if design.precisions is None else design.precisions),
        offset=_real(design.offset),
        X=X,
        beta_prior=_real(of_beta).reshape(-1, 3),
        codes=_whole([g.codes for g in groups]).reshape(K, design.n),
        Z=_joined(parts["Z"]),
        levels=_whole([g.n_levels for g in groups]),
        column_start=_starts([g.q for g in groups]),
        x_start=_whole(parts["x_start"]),
        effect_start=_starts(effects),
        place=_whole(parts["place"]),
        block_start=_whole(parts["first"]),
        blocks=_whole(parts["blocks"]).reshape(-1, 4),
        blocks_start=_starts(parts["n_blocks"]),
        partials=_whole(parts["partials"]),
        partial_shape=shapes,
        shape_start=_starts(parts["partials"])[:-1],
        sampled=_whole(parts["sampled"]),
        centring=_joined(parts["w"]),
        attached=_whole(parts["attached"]).reshape(-1, 2),
        attached_start=_starts([len(w) for w in parts["weights"]])[:-1],
        attached_weight=_joined(parts["weights"]),
        outer=_whole(parts["parent"]),
        above=_whole(_joined(parts["above"])),
        above_start=_starts([g.n_levels for g in groups])[:-1],
        above_column=_whole(parts["above_column"]),
        middle=_real(np.concatenate([np.zeros((0, widest)), *parts["middle"]])),
        sd_of=_whole(parts["sd_of"]),
        sd_start=_starts(parts["n_sds"]),
        sd_kind=_whole([prior.kind for prior in parts["sds"]]),
        sd_prior=_real([(prior.a, prior.b) for prior in parts["sds"]]).reshape(-1, 2),
        parameter_kind=_whole(kinds),
        parameter_prior=_real(of_parameters).reshape(-1, 3),
        values=_real(values),
        counts=_real(of_values),
        gram=gram,
        gram_total=_gram_total(gram, len(groups) and groups[0].q, len(names)),
        gram_shift=gram_shift,
        constant=_real([constant]),
    )
    return joint, Coordinates(labels, counts)


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


def _joined(parts) -> Array:
    return np.concatenate([np.zeros(0), *parts])


def _starts(sizes) -> Codes:
    return np.cumsum([0, *sizes]).astype(np.int64)


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
        at = [family.centre(design.y, design.trials) if n == "Intercept" else 0.0 for n in design.x_names]
        spread = np.where(design.X.std(axis=0) > 0.0, design.X.std(axis=0), 1.0)
        parts.append(np.array(at) + 0.1 * scale / spread * rng.uniform(-1.0, 1.0, len(at)))
    for k, name in enumerate(geometry.order):
        place = next(i for i, g in enumerate(design.groups) if g.name == name)
        group = design.groups[place]
        rms = np.sqrt(np.mean(group.Z**2, axis=0)) + 1e-300
        least = 0.05 * scale / rms
        tau = 0.3 * scale / rms if rough is None else np.sqrt(np.diag(rough.solution.covariances[place]))
        sds = np.maximum(tau, least)
        modes = np.zeros((group.n_levels, group.q)) if rough is None else rough.solution.modes[place]
        of_sds = np.array(group.template.sd_of)
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
        parts.append(np.log([family.guess(name, sigma)]) + rng.uniform(-0.2, 0.2, 1))
    return np.concatenate(parts)


def pack(joint: Joint) -> Array:
    """One buffer for the compiled loops.

    It holds its length and where the whole numbers start; all real fields; then, by their bits, whole numbers: where
    each field starts and ends among those of its kind, and the fields.
    """
    whole = [array.dtype == np.int64 for array in joint]
    head, ends = [], {True: 2 * len(joint), False: 2}
    for array, is_whole in zip(joint, whole, strict=True):
        start = ends[is_whole]
        ends[is_whole] = start + array.size
        head += [start, ends[is_whole]]
    reals = [a.reshape(-1) for a, is_whole in zip(joint, whole, strict=True) if not is_whole]
    numbers = [np.array(head), *(a.reshape(-1) for a, is_whole in zip(joint, whole, strict=True) if is_whole)]
    lengths = np.array([ends[False] + ends[True], ends[False]], np.float64)
    return np.concatenate([lengths, *reals, np.concatenate(numbers).astype(np.int64).view(np.float64)])


# -- compiled


# what is called once only: compiled with its caller, which saves seconds the first time
_inline = numba.njit(inline="always", error_model="numpy")


@compiled
def _reals(buffer, whole, field):
    return buffer[whole[2 * field] : whole[2 * field + 1]]


@compiled
def _codes(whole, field):
    return whole[whole[2 * field] : whole[2 * field + 1]]


@compiled
def _of_location_scale(location, scale, nu, value):
    """Log density and slope of a normal, Student t or flat prior (location, scale, degrees of freedom)."""
    if np.isinf(scale):
        return 0.0, 0.0
    z = (value - location) / scale
    if np.isinf(nu):
        return -0.5 * z * z - np.log(scale) - 0.5 * np.log(2.0 * np.pi), -z / scale
    from_t = -0.5 * (nu + 1.0) * np.log1p(z * z / nu)
    slope = -(nu + 1.0) * z / (nu + z * z) / scale
    return from_t - np.log(scale) + _log_t_constant(nu), slope


@compiled
def _log_t_constant(nu):
    from_half = lgamma(0.5 * (nu + 1.0)) - lgamma(0.5 * nu)
    return from_half - 0.5 * np.log(nu * np.pi)


@compiled
def _sds(whole, k):
    """How many sds factor k has."""
    sd_start = _codes(whole, SD_START)
    return sd_start[k + 1] - sd_start[k]


@compiled
def _factors(buffer, whole, k, x, sd, L, gradient):
    """Sds by column and rows of the correlation factor of factor k, in the order of places; their log prior."""
    column_start = _codes(whole, COLUMN_START)
    x_start = _codes(whole, X_START)
    blocks, blocks_start = _codes(whole, BLOCKS), _codes(whole, BLOCKS_START)
    partial_shape = _reals(buffer, whole, PARTIAL_SHAPE)
    shape_start = _codes(whole, SHAPE_START)
    sd_of, sd_start = _codes(whole, SD_OF), _codes(whole, SD_START)
    sd_kind = _codes(whole, SD_KIND)
    sd_prior = _reals(buffer, whole, SD_PRIOR)
    c0, q, at = column_start[k], column_start[k + 1] - column_start[k], x_start[k]
    s0, n_sds = sd_start[k], sd_start[k + 1] - sd_start[k]
    total = 0.0
    for s in range(n_sds):
        value_of_sd = np.exp(x[at + s])
        a, b = sd_prior[2 * (s0 + s)], sd_prior[2 * (s0 + s) + 1]
        value, slope = log_prior(sd_kind[s0 + s], a, b, value_of_sd)
        total += value + x[at + s]
        gradient[at + s] += slope * value_of_sd + 1.0
    for c in range(q):
        sd[c] = np.exp(x[at + sd_of[c0 + c]])
    at += n_sds
    partials = _codes(whole, PARTIALS)[k]
    y = 0.5 * x[at : at + partials]  # x are the log odds of shares
    for e in range(partials):
        value, slope = loops.log_prior(partial_shape[shape_start[k] + e], y[e])
        total += value
        gradient[at + e] += 0.5 * slope
    for i in range(q):
        L[i, i] = 1.0
    for block in range(blocks_start[k], blocks_start[k + 1]):
        kind, first, d, p = (blocks[4 * block], blocks[4 * block + 1], blocks[4 * block + 2], blocks[4 * block + 3])
        loops.factor(kind, d, y[p:], L[first : first + d, first : first + d])
    return total


@compiled
def _shifts(buffer, whole, k, c, x, b):
    """What the effects of column c are sampled around (J,), besides their conditional mean."""
    sizes = _codes(whole, SIZES)
    levels = _codes(whole, LEVELS)
    column_start = _codes(whole, COLUMN_START)
    effect_start = _codes(whole, EFFECT_START)
    attached = _codes(whole, ATTACHED)
    attached_start = _codes(whole, ATTACHED_START)
    attached_weight = _reals(buffer, whole, ATTACHED_WEIGHT)
    outer = _codes(whole, OUTER)
    above = _codes(whole, ABOVE)
    above_start = _codes(whole, ABOVE_START)
    above_column = _codes(whole, ABOVE_COLUMN)
    middle = _reals(buffer, whole, MIDDLE)
    g, J, e0 = column_start[k] + c, levels[k], effect_start[k]
    q, widest = column_start[k + 1] - column_start[k], sizes[4]
    out = np.zeros(J)
    for a in range(attached_start.shape[0]):
        if attached[2 * a] == g:
            for level in range(J):
                out[level] += attached_weight[attached_start[a] + level] * x[attached[2 * a + 1]]
    if above_column[g] >= 0:
        parent, start = outer[k], above_start[k]
        width = column_start[parent + 1] - column_start[parent]
        at = effect_start[parent] + above_column[g]
        for level in range(J):
            out[level] += b[at + above[start + level] * width]
    for other in range(q):
        mean = middle[g * widest + other]
        if mean != 0.0:
            for level in range(J):
                out[level] += mean * b[e0 + level * q + other]
    return out


@compiled
def _effects(buffer, whole, k, x, sd, L, z, b):
    """Effects of factor k from its coordinates; fills z and b, returns their log density."""
    levels = _codes(whole, LEVELS)
    column_start = _codes(whole, COLUMN_START)
    x_start = _codes(whole, X_START)
    effect_start = _codes(whole, EFFECT_START)
    place = _codes(whole, PLACE)
    block_start = _codes(whole, BLOCK_START)
    partials = _codes(whole, PARTIALS)
    sampled = _codes(whole, SAMPLED)
    centring = _reals(buffer, whole, CENTRING)
    c0, q, J = column_start[k], column_start[k + 1] - column_start[k], levels[k]
    at = x_start[k] + _sds(whole, k) + partials[k]
    e0, total = effect_start[k], 0.0
    for i in range(q):
        c, first = place[c0 + i], block_start[c0 + i]
        own, how = sd[c] * L[i, i], sampled[c0 + c]
        log_own = np.log(own)
        shifts = _shifts(buffer, whole, k, c, x, b)
        if how == CENTRED:
            total -= J * log_own
        for level in range(J):
            e = e0 + level * q
            mean = 0.0
            for j in range(first, i):
                mean += L[i, j] * z[e + j]
            mean *= sd[c]
            v = x[at + c * J + level]
            if how == Z_ITSELF:
                zi = v
            elif how == CENTRED:
                zi = (v - mean - shifts[level]) / own
            else:
                w = centring[e + c]
                zi = (v - w * (mean + shifts[level])) * np.exp(-w * log_own)
                total -= w * log_own
            z[e + i] = zi
            b[e + c] = mean + own * zi
            total -= 0.5 * zi * zi
    return total


@_inline
def _pull_back(buffer, whole, k, x, sd, L, z, by_b, gradient):
    """From the derivatives by the effects of factor k to those by x, by outer effects and by fixed effects."""
    levels, column_start = _codes(whole, LEVELS), _codes(whole, COLUMN_START)
    place, block_start = _codes(whole, PLACE), _codes(whole, BLOCK_START)
    sampled = _codes(whole, SAMPLED)
    centring = _reals(buffer, whole, CENTRING)
    c0, q, J = column_start[k], column_start[k + 1] - column_start[k], levels[k]
    start, e0 = _codes(whole, X_START)[k], _codes(whole, EFFECT_START)[k]
    n_sds, partials = _sds(whole, k), _codes(whole, PARTIALS)[k]
    at = start + n_sds + partials
    by_sd, by_L, by_z, by_centre = np.zeros(q), np.zeros((q, q)), np.zeros(J * q), np.zeros(J)
    for i in range(q - 1, -1, -1):
        c, first = place[c0 + i], block_start[c0 + i]
        how, own, by_own = sampled[c0 + c], sd[c] * L[i, i], 0.0
        log_own = np.log(own)
        for level in range(J):
            e = e0 + level * q
            zi, by_effect = z[e + i], by_b[e + c]
            of_z, by_mean = by_z[level * q + i] + by_effect * own - zi, by_effect
            by_own += by_effect * zi
            if how == Z_ITSELF:
                gradient[at + c * J + level] += of_z
            else:
                w = 1.0 if how == CENTRED else centring[e + c]
                per = 1.0 / own if how == CENTRED else np.exp(-w * log_own)
                gradient[at + c * J + level] += of_z * per
                by_own -= w * (of_z * zi + 1.0) / own
                by_centre[level] = -w * of_z * per
                by_mean += by_centre[level]
            for j in range(first, i):
                by_z[level * q + j] += by_mean * sd[c] * L[i, j]
                by_L[i, j] += by_mean * sd[c] * z[e + j]
                by_sd[c] += by_mean * L[i, j] * z[e + j]
        by_sd[c] += by_own * L[i, i]
        by_L[i, i] += by_own * sd[c]
        if how != Z_ITSELF:
            _pull_back_shifts(buffer, whole, k, c, by_centre, by_b, gradient)
    sd_of = _codes(whole, SD_OF)
    for c in range(q):
        gradient[start + sd_of[c0 + c]] += by_sd[c] * sd[c]
    blocks, blocks_start = _codes(whole, BLOCKS), _codes(whole, BLOCKS_START)
    y, by_y = 0.5 * x[start + n_sds : at], np.zeros(partials)
    for block in range(blocks_start[k], blocks_start[k + 1]):
        kind, first, d, p = (blocks[4 * block], blocks[4 * block + 1], blocks[4 * block + 2], blocks[4 * block + 3])
        here = slice(first, first + d)
        loops.pull_back(kind, d, y[p:], L[here, here], by_L[here, here], by_y[p:])
    for e in range(partials):
        gradient[start + n_sds + e] += 0.5 * by_y[e]


@_inline
def _pull_back_shifts(buffer, whole, k, c, by_centre, by_b, gradient):
    """From the derivatives by what column c is sampled around, level by level: the way back of `_shifts`."""
    column_start, effect_start = _codes(whole, COLUMN_START), _codes(whole, EFFECT_START)
    attached, attached_start = _codes(whole, ATTACHED), _codes(whole, ATTACHED_START)
    attached_weight = _reals(buffer, whole, ATTACHED_WEIGHT)
    above, above_column = _codes(whole, ABOVE), _codes(whole, ABOVE_COLUMN)
    middle, widest = _reals(buffer, whole, MIDDLE), _codes(whole, SIZES)[4]
    g, J, e0 = column_start[k] + c, by_centre.shape[0], effect_start[k]
    q = column_start[k + 1] - column_start[k]
    for a in range(attached_start.shape[0]):
        if attached[2 * a] == g:
            total = 0.0
            for level in range(J):
                total += attached_weight[attached_start[a] + level] * by_centre[level]
            gradient[attached[2 * a + 1]] += total
    if above_column[g] >= 0:
        parent, start = _codes(whole, OUTER)[k], _codes(whole, ABOVE_START)[k]
        width = column_start[parent + 1] - column_start[parent]
        at = effect_start[parent] + above_column[g]
        for level in range(J):
            by_b[at + above[start + level] * width] += by_centre[level]
    for other in range(q):
        mean = middle[g * widest + other]
        if mean != 0.0:
            for level in range(J):
                by_b[e0 + level * q + other] += mean * by_centre[level]


@compiled
def _parameters(buffer, whole, x, parameters, gradient):
    """The family's parameters from the last coordinates; their log prior."""
    sizes = _codes(whole, SIZES)
    parameter_kind = _codes(whole, PARAMETER_KIND)
    parameter_prior = _reals(buffer, whole, PARAMETER_PRIOR)
    r = sizes[3]
    at, total, prior = x.shape[0] - r, 0.0, parameter_prior
    if sizes[5] == 0:
        for k in range(r):
            parameters[k] = x[at] if k == 0 else parameters[k - 1] + np.exp(x[at + k])
            total += _of_location_scale(prior[0], prior[1], prior[2], parameters[k])[0]
            if k > 0:
                total += x[at + k]
        return total
    for k in range(r):
        parameters[k] = np.exp(x[at + k])
        value, slope = log_prior(parameter_kind[k], prior[3 * k], prior[3 * k + 1], parameters[k])
        total += value + x[at + k]
        gradient[at + k] += slope * parameters[k] + 1.0
    return total


@_inline
def _pull_back_parameters(buffer, whole, x, parameters, by_parameters, gradient):
    sizes = _codes(whole, SIZES)
    parameter_prior = _reals(buffer, whole, PARAMETER_PRIOR)
    r = sizes[3]
    at = x.shape[0] - r
    if sizes[5] != 0:
        for k in range(r):
            gradient[at + k] += by_parameters[k] * parameters[k]
        return
    from_above, prior = 0.0, parameter_prior
    for k in range(r - 1, -1, -1):
        from_above += by_parameters[k] + _of_location_scale(prior[0], prior[1], prior[2], parameters[k])[1]
        gradient[at + k] += from_above if k == 0 else from_above * np.exp(x[at + k]) + 1.0


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
            total, at = 0.0, codes[i] * q
            for c in range(q):
                total += Z[i * q + c] * b[at + c]
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
            at = codes[i] * q
            for c in range(q):
                by_b[at + c] += Z[i * q + c] * by_eta[i]


@_inline
def _by_rows(buffer, whole, x, b, parameters, gradient, by_b, by_parameters):
    """Log likelihood, row by row; its derivatives join ``gradient`` (of β), ``by_b`` and ``by_parameters``."""
    sizes = _codes(whole, SIZES)
    y = _reals(buffer, whole, Y)
    trials = _reals(buffer, whole, TRIALS)
    weights = _reals(buffer, whole, WEIGHTS)
    offset = _reals(buffer, whole, OFFSET)
    X = _reals(buffer, whole, X_)
    codes = _codes(whole, CODES)
    Z = _reals(buffer, whole, Z_)
    levels = _codes(whole, LEVELS)
    column_start = _codes(whole, COLUMN_START)
    effect_start = _codes(whole, EFFECT_START)
    values = _reals(buffer, whole, VALUES)
    counts = _reals(buffer, whole, COUNTS)
    n, p, K, kind, link = (y.shape[0], sizes[2], levels.shape[0], sizes[0], sizes[1])
    eta, by_eta = offset.copy(), np.empty(n)
    _add_fixed(X, x[:p], eta)
    for k in range(K):
        first, after = column_start[k] * n, column_start[k + 1] * n
        _add_effects(codes[k * n : k * n + n], Z[first:after], b[effect_start[k] : effect_start[k + 1]], eta)
    total = densities.add_rows(kind, link, y, trials, weights, eta, parameters, by_eta, by_parameters)
    total += densities.normaliser(kind, n, parameters, values, counts, by_parameters)
    _sum_over_rows(X, by_eta, gradient, p)
    for k in range(K):
        first, after = column_start[k] * n, column_start[k + 1] * n
        _sum_by_level(codes[k * n : k * n + n], Z[first:after], by_eta, by_b[effect_start[k] : effect_start[k + 1]])
    return total


@_inline
def _by_products(buffer, whole, beta, b, sigma, gradient, by_b, by_parameters):
    """The same for a normal model with one factor, from the cross-products (J r²,) of its levels.

    The residual sum of squares is Σ_j b_jᵀZZ b_j + 2 b_jᵀ(ZX β − Zy) + (β, −1)ᵀ T (β, −1), T the total of the rest.
    """
    y, J = _reals(buffer, whole, Y), _codes(whole, LEVELS)[0]
    gram, rest = _reals(buffer, whole, GRAM), _reals(buffer, whole, GRAM_TOTAL)
    n, p, q = y.shape[0], beta.shape[0], _codes(whole, COLUMN_START)[1]
    r, precision, squares = q + p + 1, 1.0 / (sigma * sigma), 0.0
    c, by_beta = np.empty(p + 1), np.zeros(p + 1)
    c[:p], c[p] = beta, -1.0
    for i in range(p + 1):
        for j in range(p + 1):
            by_beta[i] += rest[i * (p + 1) + j] * c[j]
        squares += c[i] * by_beta[i]
    for level in range(J):
        for i in range(q):
            bi, at = b[level * q + i], (level * r + i) * r
            own, others = 0.0, 0.0
            for j in range(q):
                own += gram[at + j] * b[level * q + j]
            for j in range(p + 1):
                others += gram[at + q + j] * c[j]
                by_beta[j] += gram[at + q + j] * bi
            squares += bi * (own + 2.0 * others)
            by_b[level * q + i] -= (own + others) * precision
    for j in range(p):
        gradient[j] -= by_beta[j] * precision
    by_parameters[0] += (squares * precision - n) / sigma
    return -n * np.log(sigma) - 0.5 * squares * precision


# NUTS calls `density_for_c` only, so it is compiled with that one; from Python, as the tests do, by itself
@kept
@numba.njit(inline="always", error_model="numpy")
def log_density(buffer, x, gradient):
    """Log density of x in a packed model, and its gradient into ``gradient`` (d,)."""
    whole = buffer[int(buffer[1]) :].view(np.int64)
    sizes = _codes(whole, SIZES)
    beta_prior = _reals(buffer, whole, BETA_PRIOR)
    levels = _codes(whole, LEVELS)
    effect_start = _codes(whole, EFFECT_START)
    gram = _reals(buffer, whole, GRAM)
    gram_shift = _reals(buffer, whole, GRAM_SHIFT)
    constant = _reals(buffer, whole, CONSTANT)
    p, K, widest, prior = sizes[2], levels.shape[0], sizes[4], beta_prior
    gradient[:] = 0.0
    total = constant[0]
    for j in range(p):
        value, slope = _of_location_scale(prior[3 * j], prior[3 * j + 1], prior[3 * j + 2], x[j])
        total += value
        gradient[j] += slope
    sds, Ls = np.zeros((K, widest)), np.zeros((K, widest, widest))
    z, b = np.empty(effect_start[K]), np.empty(effect_start[K])
    by_b = np.zeros(effect_start[K])
    for k in range(K):
        total += _factors(buffer, whole, k, x, sds[k], Ls[k], gradient)
        total += _effects(buffer, whole, k, x, sds[k], Ls[k], z, b)
    parameters, by_parameters = np.empty(sizes[3]), np.zeros(max(sizes[3], 2))
    total += _parameters(buffer, whole, x, parameters, gradient)
    if gram.shape[0] > 0:
        total += _by_products(buffer, whole, x[:p] - gram_shift, b, parameters[0], gradient, by_b, by_parameters)
    else:
        total += _by_rows(buffer, whole, x, b, parameters, gradient, by_b, by_parameters)
    for k in range(K - 1, -1, -1):
        _pull_back(buffer, whole, k, x, sds[k], Ls[k], z, by_b, gradient)
    _pull_back_parameters(buffer, whole, x, parameters, by_parameters, gradient)
    return total


@compiled
def unfold(buffer, x, sds, factors, b, parameters):
    """Sds (S, Q), correlation factors (S, Q, widest), effects (S, Σ J q) and parameters (S, r) of draws x (S, d).

    Rows of a correlation factor stand in the order of places.
    """
    whole = buffer[int(buffer[1]) :].view(np.int64)
    levels = _codes(whole, LEVELS)
    column_start = _codes(whole, COLUMN_START)
    unused, z = np.zeros(x.shape[1]), np.empty(b.shape[1])
    for s in range(x.shape[0]):
        for k in range(levels.shape[0]):
            first, after = column_start[k], column_start[k + 1]
            _factors(buffer, whole, k, x[s], sds[s, first:after], factors[s, first:after], unused)
            _effects(buffer, whole, k, x[s], sds[s, first:after], factors[s, first:after], z, b[s])
        _parameters(buffer, whole, x[s], parameters[s], unused)


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
