"""Effects of a group integrated out of any response, by adaptive Gauss–Hermite quadrature (docs/theory.md, section 12).

The nodes of a group lie around the mode of its effects, spread by the curvature there, for every draw of what the
integral hangs on. A second factor that is nested in the first is integrated out inside, level by level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from ..design.design import Design
from ..families.densities import numbers
from ..tools.arrays import Array
from .integrals import Rows, Rule, integrals, rows_left_out
from .loo import LeftOut
from .pieces import in_pieces

Codes = NDArray[np.int64]

MOST_EFFECTS = 3  # of a level and one nested in it, that a product rule can integrate out
RULES = (5, 9, 15, 25, 45)  # nodes along each effect, tried in this order
MOST_NODES = 1000
PIECE = 4_000_000  # evaluations of a row at a node between two looks at an interrupt: some tenths of a second
TOLERANCE = 2e-3  # of a log density, between one rule and the next
TRIED = 16  # draws that choose the rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Random effects Λu of the levels of one factor, u ~ N(0, I)."""

    codes: Codes  # (n,)
    Z: Array  # (n, q)
    roots: Array  # (S, q, q) Λ of every draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrand:
    """Responses of n rows under S draws of all but the effects that are integrated out."""

    design: Design
    eta: Array  # (S, n) of everything else
    parameters: Array  # (S, r) of the family
    effects: Effects
    nested: Effects | None = None

    def some(self, chosen: slice | Codes) -> Integrand:
        """Some of the draws."""

        def cut(effects: Effects) -> Effects:
            return Effects(codes=effects.codes, Z=effects.Z, roots=effects.roots[chosen])

        return Integrand(
            design=self.design,
            eta=self.eta[chosen],
            parameters=self.parameters[chosen],
            effects=cut(self.effects),
            nested=None if self.nested is None else cut(self.nested),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrated:
    """Log densities of groups (S, J), and by how much they changed with the last refinement of the rule."""

    log_density: Array
    nodes: int
    error: float


def root(covariances: Array) -> Array:
    """Λ with ΛΛᵀ the covariance matrix (..., q, q), which may be singular."""
    values, vectors = np.linalg.eigh(covariances)
    return vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]


def integrate(integrand: Integrand, *, cores: int = 1) -> Integrated:
    """log p(y_j | the rest) of every level of the factor (12.3), with as many nodes as that takes."""
    rows, order = _sorted(integrand)

    def of(part: Integrand, nodes: int) -> Array:
        log_density = np.empty((len(part.eta), len(rows.units) - 1))
        _each_draw(integrals, rows, order, part, nodes, cores, (log_density,))
        return log_density

    nodes, error = 1, 0.0  # that is exact where the integrand is normal
    if not integrand.design.family.is_normal:
        nodes, error = _choose(integrand, of)
    return Integrated(log_density=of(integrand, nodes), nodes=nodes, error=error)


def leave_rows_out(integrand: Integrand, *, cores: int = 1) -> tuple[LeftOut, float]:
    """log p(y_i | the other rows of its level, the rest) of every row (12.4), and of a new response in its place.

    Also by how much the former changed with the last refinement of the rule.
    """
    assert integrand.nested is None
    rows, order = _sorted(integrand)

    def of(part: Integrand, nodes: int) -> tuple[Array, Array]:
        without, within = np.empty((2, *part.eta.shape))
        _each_draw(rows_left_out, rows, order, part, nodes, cores, (without, within))
        back = np.argsort(order)
        return without[:, back], within[:, back]

    nodes, error = _choose(integrand, lambda part, nodes: of(part, nodes)[0])
    without, within = of(integrand, nodes)
    return LeftOut(without=without, within=within), error


def _choose(integrand: Integrand, of: Callable[[Integrand, int], Array]) -> tuple[int, float]:
    """The first rule that the next one hardly corrects, by some of the draws; and by how much it does."""
    width = integrand.effects.Z.shape[1] + (0 if integrand.nested is None else integrand.nested.Z.shape[1])
    rules = [k for k in RULES if k**width <= MOST_NODES]
    draws = len(integrand.eta)
    subset = integrand.some(np.unique(np.linspace(0, draws - 1, min(TRIED, draws)).astype(np.int64)))
    before, error = of(subset, rules[0]), np.inf
    for k, finer in zip(rules, rules[1:], strict=False):
        after = of(subset, finer)
        is_finite = np.isfinite(before) & np.isfinite(after)
        error = float(np.abs(np.where(is_finite, after - before, 0.0)).max())
        if error < TOLERANCE:
            return k, error
        before = after
    return rules[-1], error


def _each_draw(
    kernel: Callable[..., None],
    rows: Rows,
    order: Codes,
    part: Integrand,
    nodes: int,
    cores: int,
    out: tuple[Array, ...],
) -> None:
    """Run a kernel over the draws, on threads."""
    S, nested = len(part.eta), part.nested
    roots = np.ascontiguousarray(part.effects.roots)
    inner = np.zeros((S, 0, 0)) if nested is None else np.ascontiguousarray(nested.roots)
    outer_rule, inner_rule = rule_of(nodes, roots.shape[-1]), rule_of(nodes, inner.shape[-1])

    def work(chunk: slice) -> None:
        eta = np.ascontiguousarray(part.eta[chunk][:, order])
        parameters = np.ascontiguousarray(part.parameters[chunk])
        kernel(
            rows, outer_rule, inner_rule, eta, parameters, roots[chunk], inner[chunk], *(array[chunk] for array in out)
        )

    evaluations = len(order) * len(outer_rule.x) * len(inner_rule.x)
    in_pieces(work, S, cores, length=max(1, PIECE // evaluations))


@cache
def rule_of(nodes: int, q: int) -> Rule:
    """The product rule of so many nodes along each of q effects; its arrays are shared, and only read."""
    x, weight = hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[x] * q, indexing="ij"), axis=-1).reshape(-1, q) if q else np.zeros((1, 0))
    log_weight = np.log(weight / weight.sum())
    total = sum(np.meshgrid(*[log_weight] * q, indexing="ij")) if q else np.zeros(1)
    return Rule(x=grid, log_weight=np.reshape(total, -1) + 0.5 * (grid**2).sum(axis=1))


def _sorted(integrand: Integrand) -> tuple[Rows, Codes]:
    """The rows in the order of the loops, and that order; units are the levels 0, 1, ... up to the last with rows."""
    design, effects, nested = integrand.design, integrand.effects, integrand.nested
    inner = effects.codes if nested is None else nested.codes
    order = np.lexsort((inner, effects.codes))
    kind, link = numbers(design.family)
    ones = np.ones(design.n)
    low, high = design.working_ends

    def cut(values: Array | None) -> Array:
        return np.ascontiguousarray((ones if values is None else values)[order], dtype=np.float64)

    outside = effects.codes[order]
    starts = np.flatnonzero(np.diff(inner[order], prepend=-1) | np.diff(outside, prepend=-1))
    J = int(effects.codes.max()) + 1
    rows = Rows(
        kind=kind,
        link=link,
        by_value=design.family.normaliser_takes_y,
        y=cut(low),
        trials=cut(high),
        weights=cut(design.precisions),
        counted=cut(design.likelihood_weights),
        constants=cut(design.density_constants),
        Z=cut(effects.Z),
        Z_nested=np.zeros((design.n, 0)) if nested is None else cut(nested.Z),
        pieces=np.append(starts, design.n).astype(np.int64),
        units=np.searchsorted(outside[starts], np.arange(J + 1)).astype(np.int64),
    )
    return rows, order


class OneFactor:
    """log p(y | the rest) of models with one grouping factor, its effects integrated out by a fixed rule."""

    def __init__(self, design: Design) -> None:
        (group,) = design.groups
        self.design, self.codes, self.Z = design, group.codes, group.Z
        self._sorted: tuple[Rows, Codes] | None = None

    def __call__(self, eta: Array, parameters: Array, roots: Array, nodes: int) -> Array:
        """Sums over groups (S,), for η without effects (S, n), parameters (S, r) and Λ (S, q, q)."""
        return np.asarray(self.by_level(eta, parameters, roots, nodes).sum(axis=1))

    def by_level(self, eta: Array, parameters: Array, roots: Array, nodes: int) -> Array:
        """The same of every group (S, J)."""
        effects = Effects(codes=self.codes, Z=self.Z, roots=roots)
        part = Integrand(design=self.design, eta=eta, parameters=parameters, effects=effects)
        if self._sorted is None:
            self._sorted = _sorted(part)
        rows, order = self._sorted
        out = np.empty((len(eta), len(rows.units) - 1))
        _each_draw(integrals, rows, order, part, nodes, 1, (out,))
        return out
