"""Rows under draws of a model's parameters: linear predictors, expected responses, responses, block by block.

`Rows` holds the draws of every effect that the rows need, those of many new groups as a recipe, and never more than a
few million numbers of the linear predictor at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from ..design.design import Design, GroupTerm
from ..design.newdata import NewDesign
from ..design.predictors import ParameterPart
from ..families import LINKS, Family
from ..residual_structures import Residuals
from ..terms.wide import WideTerm, spread
from ..tools.arrays import Array
from ..tools.blas import one_blas_thread
from ..tools.lazy import special
from .draws import Draws, covariance_of
from .moments import expected_of, expected_over, expected_response, keeps_mean
from .simulation import residual_noise, simulate_response
from .summaries import flat
from .targets import MIXED, PURE, asked_rows, check_seen, label_places, parts, targets

Codes = NDArray[np.int64]
T = TypeVar("T")

NUMBERS = 1_000_000  # of a linear predictor held at a time: 8 MB, which stay close to the processor
CHUNK = 1_000_000  # of the effects of new groups drawn at a time
NODES_OF_TWO = 15  # a dimension, of the average of probabilities over the groups of two linear predictors
POINTS = 512  # of a low-discrepancy sequence in more dimensions
NODES = 21  # of the average of a parameter over groups: of a probability right to 1e-6 where the sd is 3
HELD = 16_000_000  # of the effects of new groups that are kept: 128 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewGroups:
    """Draws of the effects of groups not seen before, made when they are needed: the same ones every time."""

    roots: Array  # (q, q, S) of the covariance matrices
    count: int
    seed: int

    @property
    def _size(self) -> int:
        """Groups that are drawn together."""
        return max(1, min(self.count, CHUNK // (self.roots.shape[1] * self.roots.shape[2])))

    def _chunk(self, number: int) -> Array:
        size, (q, _, S) = self._size, self.roots.shape
        groups = min(size, self.count - number * size)
        noise = default_rng([self.seed, number]).standard_normal((q, groups, S))
        return np.stack([sum(self.roots[a, c] * noise[c] for c in range(q)) for a in range(q)])

    def all(self) -> Array:
        """Effects (q, count, S)."""
        chunks = range(-(-self.count // self._size))
        return np.concatenate([self._chunk(number) for number in chunks], axis=1)

    def some(self, codes: Codes) -> tuple[Array, Codes]:
        """Effects (q, groups, S) of the groups with these codes, and the places (n,) of the codes among them."""
        chunks, inverse_index = np.unique(codes // self._size, return_inverse=True)
        drawn = np.concatenate([self._chunk(int(number)) for number in chunks], axis=1)
        return drawn, inverse_index * self._size + codes % self._size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """Effects of the levels of a factor at n rows; of new groups with the covariance matrices they are drawn from."""

    name: str
    b: Array | NewGroups  # (q, J, S)
    codes: Codes  # (n,)
    Z: Array  # (n, q)
    covariance: Array | None = None  # (S, q, q)

    def add(self, eta: Array, rows: Any) -> None:
        """Add Zb to η (rows, S)."""
        b, codes = self.b, self.codes[rows]
        if isinstance(b, NewGroups):
            b, codes = b.some(codes)
        for k in range(self.Z.shape[1]):
            column = self.Z[rows, k, None]
            eta += b[k, codes] if np.all(column == 1.0) else b[k, codes] * column

    def taking(self, order: Any) -> Effects:
        """Those of some rows."""
        return replace(self, codes=self.codes[order], Z=self.Z[order])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WideEffects:
    """Effects of a wide term at n rows."""

    name: str
    b: Array  # (J q, S)
    matrix: Any  # (n, J q), dense or sparse
    covariance: None = None  # no new levels are drawn

    @classmethod
    def of(cls, name: str, effects: Array, matrix: Any) -> WideEffects:
        """From effects (S, J, q)."""
        return cls(name=name, b=np.ascontiguousarray(effects.reshape(len(effects), -1).T), matrix=matrix)

    def add(self, eta: Array, rows: Any) -> None:
        """Add Zb to η (rows, S)."""
        eta += self.matrix[rows] @ self.b

    def taking(self, order: Any) -> WideEffects:
        """Those of some rows."""
        return replace(self, matrix=self.matrix[order])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Averaged:
    """A factor that n rows are averaged over."""

    name: str
    covariance: Array  # (S, q, q)
    Z: Array  # (n, q)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowResiduals:
    """Residuals with parameters besides sigma, at n rows under S draws."""

    G: Array  # (n, d) columns of log sd
    values: Array  # (S, d + r)

    def sds(self, rows: Any) -> Array:
        """Sds (S, rows) in units of sigma."""
        return np.asarray(np.exp(self.values[:, : self.G.shape[1]] @ self.G[rows].T))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictedRows:
    """A parameter of the family with a linear predictor at n rows under S draws.

    Attributes
    ----------
    gamma : (S, p)
    X, offset : (n, p), (n,)
    effects, averaged : tuple
        As of `Rows`, of the parameter's own bars and smooths.
    """

    part: ParameterPart
    gamma: Array
    X: Array
    offset: Array
    effects: tuple[Effects | WideEffects, ...] = ()
    averaged: tuple[Averaged, ...] = ()

    def eta(self, rows: Any) -> Array:
        """The linked parameter (S, rows) with the effects of the groups that have any."""
        return _linear_predictor(self.X, self.gamma, self.offset, self.effects, rows)

    def values(self, rows: Any, rng: Generator | None = None) -> Array:
        """The parameter (S, rows): its mean over the groups averaged over, or with ``rng`` that of one drawn a row."""
        link, eta, spread = LINKS[self.part.link], self.eta(rows), _spread(self.averaged, rows)
        with np.errstate(over="ignore"):
            if spread is None:
                return link.to_mean(eta)
            if rng is not None:
                return link.to_mean(eta + spread * rng.standard_normal(eta.shape))
            nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
            each = (
                w * link.to_mean(eta + node * spread) for node, w in zip(nodes, weights / weights.sum(), strict=True)
            )
            return np.asarray(sum(each))

    def taking(self, order: Any) -> PredictedRows:
        """That of some rows."""
        return replace(
            self,
            X=self.X[order],
            offset=self.offset[order],
            effects=tuple(effect.taking(order) for effect in self.effects),
            averaged=tuple(replace(a, Z=a.Z[order]) for a in self.averaged),
        )


def _linear_predictor(X: Array, beta: Array, offset: Array, effects: Sequence[Effects | WideEffects], rows: Any) -> Any:
    """Xβ + Zb + offset (S, rows) for β (S, p); the draws of a row lie together."""
    eta = X[rows] @ beta.T
    eta += offset[rows, None]
    for effect in effects:
        effect.add(eta, rows)
    return eta.T


def _spread(averaged: Sequence[Averaged], rows: Any) -> Array | None:
    """Sd (S, rows) that factors averaged over add to a linear predictor; None without any."""
    if not averaged:
        return None
    total = sum(np.einsum("na,sab,nb->sn", a.Z[rows], a.covariance, a.Z[rows]) for a in averaged)
    return np.sqrt(np.maximum(total, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """n rows under S draws.

    Attributes
    ----------
    beta : (S, p)
    X, offset : (n, p), (n,)
    effects : tuple of Effects
        Of the factors whose levels have effects here.
    averaged : tuple of Averaged
        The factors that are averaged over.
    parameters : mapping
        Of the family, (S, 1) for all rows; cutpoints (S, K − 1). Those that differ between rows are ``predicted``.
    trials, weights : (n,) or None
    transform : callable or None
        What is asked for is this function of a normal response.
    residual : RowResiduals or None
        Of draws whose residuals have parameters besides sigma; at estimates these are in the weights.
    """

    family: Family
    beta: Array
    X: Array
    offset: Array
    effects: tuple[Effects | WideEffects, ...]
    averaged: tuple[Averaged, ...]
    parameters: Mapping[str, Array]
    trials: Array | None
    weights: Array | None
    predicted: tuple[PredictedRows, ...] = ()
    transform: Callable[[Array], Array] | None = None
    residual: RowResiduals | None = None

    def residual_sds(self, rows: Any) -> Array:
        """Residual sds (S, rows), or (S, 1) where they are alike, of a normal response."""
        sigma = self.parameters_at(rows)["sigma"]
        if self.residual is not None:
            sigma = sigma * self.residual.sds(rows)
        return sigma if self.weights is None else sigma / np.sqrt(self.weights[rows])

    def blocks(self) -> Iterator[slice]:
        """Slices of rows that are small enough to hold."""
        step = max(1, NUMBERS // len(self.beta))
        for first in range(0, len(self.X), step):
            yield slice(first, min(first + step, len(self.X)))

    def over_blocks(self, of: Callable[[slice, Generator], T], rng: Generator) -> list[T]:
        """A function of every block, on several threads; the generator of a block does not depend on their number."""
        blocks = list(self.blocks())
        seeded = rng.spawn(len(blocks))
        if len(blocks) == 1:
            return [of(blocks[0], seeded[0])]
        with one_blas_thread, ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return list(pool.map(of, blocks, seeded))

    def eta(self, rows: Any) -> Array:
        """Linear predictor (S, rows) with the effects of the groups that have any; the draws of a row lie together."""
        return np.asarray(_linear_predictor(self.X, self.beta, self.offset, self.effects, rows))

    def parameters_at(self, rows: Any, rng: Generator | None = None) -> Mapping[str, Array]:
        """The family's parameters at some rows: they broadcast against their linear predictors (S, rows).

        With ``rng`` those of a group drawn for each row, where their own groups are averaged over.
        """
        if not self.predicted:
            return self.parameters
        return {
            **self.parameters,
            **{predictor.part.parameter: predictor.values(rows, rng) for predictor in self.predicted},
        }

    def spread(self, rows: Any) -> Array | None:
        """Sd (S, rows) that the factors averaged over add to the linear predictor."""
        return _spread(self.averaged, rows)

    def mean(self, rows: Any) -> Array:
        """Expected responses, or of their transform, (S, rows), or (S, rows, K)."""
        weights = None if self.weights is None else self.weights[rows]
        if self.transform is not None:
            noise, spread = self.residual_sds(rows), self.spread(rows)
            return expected_of(self.transform, self.eta(rows), noise if spread is None else np.hypot(spread, noise))
        if self.family.has_categories and any(predictor.averaged for predictor in self.predicted):
            return self._mean_over_groups(rows)
        spread = None if keeps_mean(self.family) else self.spread(rows)
        if spread is None:
            return expected_response(self.family, self.eta(rows), self.parameters_at(rows), weights=weights)
        return expected_over(self.family, self.eta(rows), spread, self.parameters_at(rows), weights=weights)

    def _mean_over_groups(self, rows: Any) -> Array:
        """Probabilities (S, rows, K) averaged over groups, whose effects move several linear predictors at once."""
        eta, eta_spread = self.eta(rows), self.spread(rows)
        links = {predictor.part.parameter: LINKS[predictor.part.link] for predictor in self.predicted}
        centres = {predictor.part.parameter: predictor.eta(rows) for predictor in self.predicted}
        spreads = {predictor.part.parameter: _spread(predictor.averaged, rows) for predictor in self.predicted}
        nodes, weights = normal_nodes(len(self.predicted) + (eta_spread is not None))
        total = np.zeros(())
        for node, weight in zip(nodes, weights, strict=True):
            moved = {
                name: links[name].to_mean(centre if (spread := spreads[name]) is None else centre + z * spread)
                for (name, centre), z in zip(centres.items(), node, strict=False)
            }
            moved_eta = eta if eta_spread is None else eta + node[-1] * eta_spread
            total = total + weight * self.family.expected(moved_eta, {**self.parameters, **moved})
        return total

    def response(self, rows: Any, rng: Generator) -> Array:
        """A response, or its transform, (S, rows) for every draw."""
        eta, spread = self.eta(rows), self.spread(rows)
        if spread is not None:
            eta += spread * rng.standard_normal(eta.shape)
        if self.residual is not None:
            y = eta + self.residual_sds(rows) * rng.standard_normal(eta.shape)
            return y if self.transform is None else self.transform(y)
        cut = {name: None if v is None else v[rows] for name, v in (("trials", self.trials), ("weights", self.weights))}
        y = simulate_response(self.family, eta, parameters=self.parameters_at(rows, rng), rng=rng, **cut)
        return y if self.transform is None else self.transform(y)

    def by_new_group(self) -> tuple[Rows, NDArray[np.intp] | None]:
        """The rows in an order in which every block needs few of the new groups, and that order, if it is another."""
        lazy = sorted(
            (effect for effect in self.effects if isinstance(effect.b, NewGroups)),
            key=lambda e: -e.b.count,  # type: ignore[union-attr]
        )
        if not lazy:
            return self, None
        order = np.lexsort([entry.codes for entry in lazy])  # the last key, that of the fewest groups, comes first
        taken = self._taken(order)
        numbered = (
            replace(effect, codes=pd.factorize(effect.codes)[0]) if isinstance(effect.b, NewGroups) else effect
            for effect in taken.effects
        )
        return replace(taken, effects=tuple(numbered)), order

    def _taken(self, order: NDArray[np.intp]) -> Rows:
        return replace(
            self,
            X=self.X[order],
            offset=self.offset[order],
            effects=tuple(effect.taking(order) for effect in self.effects),
            averaged=tuple(replace(a, Z=a.Z[order]) for a in self.averaged),
            predicted=tuple(predictor.taking(order) for predictor in self.predicted),
            trials=None if self.trials is None else self.trials[order],
            weights=None if self.weights is None else self.weights[order],
            residual=None if self.residual is None else replace(self.residual, G=self.residual.G[order]),
        )


@lru_cache(maxsize=8)
def normal_nodes(dimensions: int) -> tuple[Array, Array]:
    """Points (m, d) and weights (m,) of averages over independent standard normal numbers.

    Gauss-Hermite in one or two dimensions; in more a scrambled Sobol sequence, the same every time, of which averages
    of probabilities are right to some 1e-3.
    """
    if dimensions <= 2:
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES if dimensions == 1 else NODES_OF_TWO)
        grids = np.meshgrid(*[nodes] * dimensions)
        products = np.prod(np.meshgrid(*[weights / weights.sum()] * dimensions), axis=0)
        return np.stack([grid.reshape(-1) for grid in grids], axis=1), products.reshape(-1)
    from scipy.stats import qmc

    uniform = qmc.Sobol(dimensions, rng=np.random.default_rng(0)).random(POINTS)
    return np.asarray(special.ndtri(uniform)), np.full(POINTS, 1.0 / POINTS)


def responses_around(rows: Rows, residual: Residuals, rng: Generator) -> Array:
    """Responses (S, n) with residuals of such a structure, sd and correlation, at all rows of a fit together.

    ``residual`` has the estimates, unless the rows have draws of these.
    """
    every = slice(0, len(rows.X))
    eta, spread = rows.eta(every), rows.spread(every)
    if spread is not None:
        eta = eta + spread * rng.standard_normal(eta.shape)
    if rows.residual is not None:
        noise = residual_noise(residual, rows.residual.values, rng)
    else:
        noise = residual.noise(rng.standard_normal(eta.T.shape)).T
    return eta + rows.parameters["sigma"] * noise


def rows_of(
    fit: Draws,
    new: NewDesign,
    asked: Mapping[str, str],
    rng: Generator,
    *,
    trials: Array | None,
    weights: Array | None,
    chosen: Any = slice(None),
    repeated: int | None = None,
    columns: Array | None = None,
) -> Rows:
    """Rows under the draws of a posterior; ``chosen`` takes some of them.

    ``columns`` (n, d) are those of log sd, of residuals with parameters besides sigma; without them nothing can be
    asked that hangs on a residual.
    """
    values = fit.values
    residual = None
    if values.residual is not None and columns is not None:
        residual = RowResiduals(G=columns, values=flat(values.residual)[chosen])
    rows = rows_under(
        fit.design,
        new,
        asked,
        rng,
        beta=flat(values.beta)[chosen],
        covariances=[flat(covariance)[chosen] for covariance in values.covariances],
        effects=lambda name: flat(fit.draws(fit.design.names.b[name]))[chosen],
        parameters={name: flat(fit.draws(name))[chosen] for name in fit.design.parameters},
        of_parameters=covariances_of_parameters(fit, chosen),
        trials=trials,
        weights=weights,
        repeated=repeated,
    )
    return replace(rows, residual=residual)


def covariances_of_parameters(fit: Draws, chosen: Any = slice(None)) -> dict[str, Array]:
    """Covariance matrices (S, q, q) of the effects of parameters of the family, by the names of their terms."""
    return {group.name: flat(covariance_of(fit, group))[chosen] for group in fit.design.parameter_groups}


def rows_under(
    design: Design,
    new: NewDesign,
    asked: Mapping[str, str],
    rng: Generator,
    *,
    beta: Array,
    covariances: Sequence[Array],
    effects: Callable[[str], Array],
    parameters: Mapping[str, Array],
    trials: Array | None,
    weights: Array | None,
    repeated: int | None = None,
    of_parameters: Mapping[str, Array] | None = None,
) -> Rows:
    """Rows under S draws of β (S, p), covariance matrices (S, q, q), parameters, and effects (S, J, q) where asked.

    ``repeated`` is the number of rows, if the same ones are there several times with other predictors;
    ``of_parameters`` are the covariance matrices of effects in predictors of the family's parameters.
    """
    of_factor = {group.name: covariance for group, covariance in zip(design.groups, covariances, strict=True)}
    having, averaged = _effects_at(design.groups, new, asked, rng, of_factor, effects, repeated)
    constant = {name: value for name, value in parameters.items() if name not in design.of_variable}
    return Rows(
        family=design.family,
        beta=beta,
        X=new.X,
        offset=new.offset,
        effects=having,
        averaged=averaged,
        parameters=design.family.along(design.family.complete(constant, beta.shape[:-1])),
        predicted=tuple(
            parameter_at(
                part,
                new.predictors.get(name) or part.of_fit(new.index),
                asked,
                rng,
                gamma=parameters[part.variable],
                covariances=of_parameters or {},
                effects=effects,
                repeated=repeated,
            )
            for name, part in design.predictors.items()
        ),
        trials=trials,
        weights=weights,
    )


def parameter_at(
    part: ParameterPart,
    new: NewDesign,
    asked: Mapping[str, str],
    rng: Generator,
    *,
    gamma: Array,
    covariances: Mapping[str, Array],
    effects: Callable[[str], Array],
    repeated: int | None = None,
) -> PredictedRows:
    """A parameter of the family at rows under S draws of γ (S, p) and of what its own terms have."""
    having, averaged = _effects_at(part.groups, new, asked, rng, covariances, effects, repeated)
    return PredictedRows(part=part, gamma=gamma, X=new.X, offset=new.offset, effects=having, averaged=averaged)


def _effects_at(
    groups: Sequence[GroupTerm],
    new: NewDesign,
    asked: Mapping[str, str],
    rng: Generator,
    of_factor: Mapping[str, Array],
    effects: Callable[[str], Array],
    repeated: int | None,
) -> tuple[tuple[Effects | WideEffects, ...], tuple[Averaged, ...]]:
    """The effects of some terms at new rows, and the factors that are averaged over."""
    check_seen(new, asked)
    having: list[Effects | WideEffects] = []
    averaged = []
    for part, target in parts(new, asked):
        name, covariance = part.name, of_factor[part.name]
        if target == "observed":
            b = np.ascontiguousarray(effects(name).transpose(2, 1, 0))
            having.append(Effects(name=name, b=b, codes=part.codes, Z=part.Z))
        elif target == "new":
            codes, count = label_places(part, repeated)
            drawn = _new_groups(covariance, count, rng)
            having.append(Effects(name=name, b=drawn, codes=codes, Z=part.Z, covariance=covariance))
        else:
            averaged.append(Averaged(name=name, covariance=covariance, Z=part.Z))
    for wide in new.wide:
        target = asked[wide.name] if wide.is_grouping else "observed"
        term, covariance = next(group for group in groups if group.name == wide.name), of_factor[wide.name]
        assert isinstance(term, WideTerm)
        known, others = (target, target) if target in PURE else ("observed", MIXED[target])
        if known == "observed":
            having.append(WideEffects.of(wide.name, effects(wide.name), wide.matrix))
        for matrix, of_these in ((wide.matrix, known), (wide.others, others)):
            if matrix is None or of_these in ("observed", "average"):
                continue
            related = matrix is wide.matrix
            if of_these == "new":  # all levels anew, related as they are
                z = rng.standard_normal((len(covariance), matrix.shape[1] // term.q, term.q))
                drawn = np.einsum("sjc,sac->sja", z, roots_of(covariance))
                having.append(WideEffects.of(wide.name, term.related(drawn) if related else drawn, matrix))
            else:
                Z = spread(matrix, term.root if related else None, term.q)
                averaged.append(Averaged(name=wide.name, covariance=covariance, Z=Z))
    return tuple(having), tuple(averaged)


def _new_groups(cov: Array, count: int, rng: Generator) -> Array | NewGroups:
    """Effects (q, count, S) of groups not seen before, from each draw's covariance matrix (S, q, q), maybe singular."""
    groups = NewGroups(
        roots=np.ascontiguousarray(roots_of(cov).transpose(1, 2, 0)), count=count, seed=int(rng.integers(2**62))
    )
    return groups.all() if count * cov[..., 0].size <= HELD else groups


def roots_of(cov: Array) -> Array:
    """C (S, q, q) with C Cᵀ each covariance matrix, maybe singular."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :])


def own_rows(
    fit: Draws, groups: str | Mapping[str, str] = "observed", *, rng: Generator | None = None, chosen: Any = slice(None)
) -> Rows:
    """The rows of the fit."""
    design, asked = fit.design, targets(fit.design, groups, "simulate")
    return rows_of(
        fit,
        asked_rows(design, None, asked, None),
        asked,
        rng or default_rng(),
        trials=design.trials,
        weights=design.weights,
        chosen=chosen,
        columns=design.residual_columns(),
    )
