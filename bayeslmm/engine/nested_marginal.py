"""The exact marginal of models with few effects a level of one or nested factors, for responses that are not normal.

The effects are integrated out by adaptive Gauss–Hermite quadrature (Pinheiro & Bates 1995), one at a time, inner ones
first. That leaves a density of β, sds, correlations and the family's parameters: few numbers, drawn by the machinery
of the exact sampler (`proposal`, `sampler`). Given them the effects are drawn exactly (`nested_marginal_loops`).

The coordinates x are (β − β₀)/se of rough estimates at centred predictors, for each bar log(1 + sd/c) of its sds and
h·y of its correlations (`hyperspace`), and the parameters' logs, or of ordered cutpoints the first and the logs of the
steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.random import Generator
from numpy.typing import NDArray

from ..covariances import loops as structures
from ..design.design import Design, GroupTerm
from ..design.names import CUTPOINT
from ..design.priors import LKJ, Priors
from ..families.densities import numbers
from ..tools.arrays import Array
from ..tools.lazy import special
from . import nested_marginal_loops as loops
from .hyperpriors import Kind, Positive, location_scale, of_fixed_effect
from .pql import Rough
from .proposal import Density, Mixture, cholesky, climb, inverse_curvature

NODES = (5, 9, 15, 25, 45)  # of the rules that are tried, coarsest first
TOLERANCE = 1e-2  # of the log density but for a constant, between a rule and the next
TRIED = 24  # points that choose the rule
CLOSE, CLOSER = 2e-3, 1e-9  # gain of a step towards the mode of an effect, up to which nodes stay where they are
LEAST_SD = 0.1  # of the family's natural scale, where the search begins
MOST_COORDINATES = 40  # beyond, no independent proposal fits well
FEW_NODES = 25_000  # rows times five nodes an effect, if there are several: beyond, NUTS is worth a try first
SOME_NODES = 50_000  # beyond, the draws of NUTS stand with their doubts: it would take many minutes
MOST_NODES = 1_000_000  # and beyond these hours
OF_THREE = 10  # how much longer a node takes under three effects a row, whose finer rules have 9³ and 15³ of them
SOFTEST = 30.0  # scales of its prior: a unit of an sd's coordinate is no larger, whatever little the data say
WIDER = 1.3  # of the inverse curvature at the mode
STEP = 0.5  # of an effect's sd, over which the way of inner modes is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a proposal has to know of the coordinates."""

    sd_at: NDArray[np.bool_]  # (d,) those that are not negative
    correlation_at: NDArray[np.bool_]  # (d,)
    partial_shape: Array  # shapes of the priors of correlations


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A stretch of a Markov chain: N draws."""

    x: Array  # (N, d)
    parameters: Array  # (N, r) of the family
    lam: Array  # (N, S, S) what turns u into effects
    u: Array  # (N, U)
    log_density: Array  # (N,)
    log_proposal: Array  # (N,)
    accepted: NDArray[np.bool_]  # (N,) whether the proposal was taken
    log_weights: Array  # (N,) of the proposals


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Draws of what belongs to a bar."""

    sds: Array  # (..., q) of each column
    correlations: Array  # (..., q, q)
    effects: Array  # (..., J, q)


def why_not(design: Design, most: int = FEW_NODES) -> str:
    """Why the effects of a model are not integrated out here, in words; empty where they are.

    Parameters
    ----------
    design : Design
    most : int
        Rows times nodes of several effects a row that are not too many.
    """
    family = design.family
    for part in design.predictors.values():
        return f"{part.parameter} has a linear predictor"
    for name in family.fixed:
        return f"{name[0]} is fixed"
    if not family.is_log_concave:
        return f"the log density of family={family} is not concave in the linear predictor"
    if any(group.is_wide for group in design.groups):
        return "it has levels that are not independent of each other"
    bars = sorted(design.groups, key=lambda group: group.n_levels)
    for outer, inner in zip(bars, bars[1:], strict=False):
        if len(np.unique(inner.codes * outer.n_levels + outer.codes)) > len(np.unique(inner.codes)):
            return f"its grouping factors are crossed ({inner.name!r} is not nested in {outer.name!r})"
    stages = sum(group.q for group in bars)
    if stages > loops.MOST_STAGES:
        return f"it has {stages} effects a row, and more than {loops.MOST_STAGES} are not integrated out"
    if stages > 1 and design.n * NODES[0] ** stages * (OF_THREE if stages > 2 else 1) > most:
        return f"{design.n:,} rows times the nodes of {stages} effects a row are too many"
    of_bars = sum(len(group.sd_terms) + len(group.template.correlated) for group in bars)
    if len(design.x_names) + of_bars + max(len(family.parameters), len(design.levels) - 1) > MOST_COORDINATES:
        return f"it has more than {MOST_COORDINATES} unknowns besides the effects"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Rows sorted by unit, and which units hold which: see `nested_marginal_loops`."""

    order: NDArray[np.intp]  # (n,) rows in their new order
    begin: NDArray[np.int64]
    children: NDArray[np.int64]
    rows_of: NDArray[np.int64]
    levels: tuple[NDArray[np.int64], ...]  # of each bar, the level that each unit is

    @classmethod
    def of(cls, bars: list[GroupTerm]) -> _Tree:
        """Of bars, outer before inner ones."""
        order = np.lexsort([bar.codes for bar in bars[::-1]])
        rank, levels, starts = np.zeros(len(order), np.int64), [], []
        for bar in bars:
            codes = bar.codes[order]
            is_first = np.r_[True, (codes[1:] != codes[:-1]) | (rank[1:] != rank[:-1])]
            rank = np.cumsum(is_first) - 1
            empty = np.setdiff1d(np.arange(bar.n_levels), codes)  # they come last, and hold nothing
            levels.append(np.concatenate([codes[is_first], empty]).astype(np.int64))
            starts.append(np.concatenate([np.flatnonzero(is_first), np.full(len(empty) + 1, len(order))]))
        stage_rows = [start for bar, start in zip(bars, starts, strict=True) for _ in range(bar.q)]
        # the empty units of a stage are held by the last unit of the stage before, whatever it is
        children = []
        for outer, inner in zip(stage_rows, [*stage_rows[1:], None], strict=True):
            if inner is None or inner is outer:
                children.append(outer if inner is None else np.arange(len(outer)))
            else:
                held = np.searchsorted(inner[:-1], outer)
                held[-1] = len(inner) - 1
                children.append(held)
        return cls(
            order=order,
            begin=np.cumsum([0, *(len(start) - 1 for start in stage_rows)]).astype(np.int64),
            children=np.concatenate(children).astype(np.int64),
            rows_of=np.concatenate(stage_rows).astype(np.int64),
            levels=tuple(levels),
        )


class NestedMarginal:
    """log p(β, sds, correlations, φ | y) + log p(y), with the effects integrated out by quadrature.

    Parameters
    ----------
    design : Design
        One for which `why_not` is empty, with effects at means (`Priors.at_means`).
    priors : Priors
        All of them written out (`hyperpriors.unwritten`).
    rough : Rough
        Estimates of the same design, from which the search for the mode begins.
    """

    def __init__(self, design: Design, priors: Priors, rough: Rough) -> None:
        family = design.family
        self.design = design
        self.places = sorted(range(len(design.groups)), key=lambda k: design.groups[k].n_levels)
        self.bars = [design.groups[k] for k in self.places]
        self.tree = _Tree.of(self.bars)
        self.S, self.U = len(self.tree.begin) - 1, int(self.tree.begin[-1])
        self.is_centred = design.has_intercept or family.has_cutpoints
        names = list(design.x_names)
        self.shift = design.X.mean(axis=0) if self.is_centred else np.zeros(len(names))
        self.intercept = names.index("Intercept") if design.has_intercept else None
        if self.intercept is not None:
            self.shift[self.intercept] = 0.0
        self.p, self.r = len(names), len(design.levels) - 1 if family.has_cutpoints else len(family.parameters)
        center, unit = self._rough_fixed_effects(rough)
        bars = _Bars.of(self.bars, priors, rough)
        self.of_bars = bars
        self.d = self.p + len(bars.is_sd) + self.r
        sd_at = np.zeros(self.d, bool)
        correlation_at = np.zeros(self.d, bool)
        of_bars = slice(self.p, self.p + len(bars.is_sd))
        sd_at[of_bars], correlation_at[of_bars] = bars.is_sd, ~bars.is_sd
        self.space = Bounds(sd_at=sd_at, correlation_at=correlation_at, partial_shape=bars.partial_shape)
        self.start, self._sds = self._rough_coordinates(rough)
        self.rows = self._rows(priors, center, unit)
        self.nodes = (NODES[1],) * self.S
        self.rule, self.close = _rules(self.nodes), CLOSER
        nowhere = np.zeros(self.U)
        self.anchor = loops.Anchor(
            x=self.start, modes=nowhere, slopes=np.zeros((self.U, self.d)), gains=np.zeros((self.U, self.S))
        )

    def _rows(self, priors: Priors, center: Array, unit: Array) -> loops.Rows:
        design, bars, tree = self.design, self.of_bars, self.tree
        family, ones, (low, high) = design.family, np.ones(design.n), design.working_ends
        kind, link = numbers(family)
        values, counts = design.distinct_responses()
        if family.positive_parameters:
            positive = [Positive.of(priors.get(name)) for name in family.parameters]
            parameter_kind = [prior.kind for prior in positive]
            parameter_prior = [(prior.a, prior.b, np.inf) for prior in positive]
        else:
            parameter_kind = [Kind.FLAT]
            parameter_prior = [location_scale(name, priors.get(name)) for name in family.parameters]
        Z = np.column_stack([bar.Z for bar in self.bars])
        of_rows = [ones if v is None else v for v in (low, high, design.precisions)]
        counted = ones if design.likelihood_weights is None else design.likelihood_weights
        table = np.column_stack([*of_rows, design.offset, Z, design.X - self.shift])[tree.order]
        table, times, rows_of = _collapsed(table, counted[tree.order], tree)
        constant = design.density_constants @ design.counted + np.log(unit).sum() + np.log(bars.softness).sum()
        constant += sum(structures.prior_constant(shape) for shape in bars.partial_shape)
        last = tree.begin[-2] + self.S - 1  # where the rows of the last stage begin
        return loops.Rows(
            kind=kind,
            link=link,
            y=_column(table, 0),
            trials=_column(table, 1),
            weights=_column(table, 2),
            times=times,
            offset=_column(table, 3),
            Z=np.ascontiguousarray(table[:, 4 : 4 + self.S].T),
            X=np.ascontiguousarray(table[:, 4 + self.S :]),
            n_rows=float(design.n_counted),
            begin=tree.begin,
            children=np.concatenate([tree.children[:last], rows_of[last:]]),
            rows_of=rows_of,
            center=center,
            unit=unit,
            beta_prior=np.array(
                [location_scale(name, of_fixed_effect(priors, name)) for name in self.design.x_names]
            ).reshape(-1, 3),
            bar_stage=np.cumsum([0, *(bar.q for bar in self.bars)]).astype(np.int64),
            bar_sd=bars.bar_sd,
            sd_of=np.array([place for bar in self.bars for place in bar.template.sd_of], np.int64),
            softness=bars.softness,
            sd_kind=bars.sd_kind,
            sd_prior=bars.sd_prior,
            bar_partial=bars.bar_partial,
            partial_row=bars.partial_row,
            partial_column=bars.partial_column,
            partial_shape=bars.partial_shape,
            partial_gain=bars.partial_gain,
            block=bars.block,
            block_columns=bars.block_columns,
            positive=family.positive_parameters,
            parameter_kind=np.array(parameter_kind, dtype=np.int64),
            parameter_prior=np.array(parameter_prior, dtype=np.float64).reshape(-1, 3),
            values=np.ascontiguousarray(values, dtype=np.float64),
            counts=np.ascontiguousarray(counts, dtype=np.float64),
            constant=float(constant),
        )

    def _rough_fixed_effects(self, rough: Rough) -> tuple[Array, Array]:
        """β₀ (p,) at centred predictors and its standard errors."""
        move = np.eye(self.p)
        if self.intercept is not None:
            move[self.intercept] += self.shift
        center = move @ rough.solution.beta
        variances = np.diag(move @ rough.solution.vcov @ move.T)
        return center, np.sqrt(np.maximum(variances, 1e-16 * (1.0 + center**2)))

    def _rough_coordinates(self, rough: Rough) -> tuple[Array, Array]:
        """Where the search begins (d,), and about how far the posterior reaches from there."""
        design, family, n = self.design, self.design.family, self.design.n
        least = LEAST_SD * (family.scale(design.y).value or 1.0)
        of_bars, reach_of_bars, total, uncertain = [], [], 0.0, 0.0
        for k, bar in enumerate(self.bars):
            rough_sds = np.sqrt(np.diag(rough.solution.covariances[self.places[k]]))[list(bar.template.sd_columns)]
            size = np.sqrt(np.mean(bar.Z**2, axis=0))[list(bar.template.sd_columns)]
            sds = np.maximum(rough_sds, least / np.maximum(size, 1e-300))
            softness = self.of_bars.softness[self.of_bars.bar_sd[k] : self.of_bars.bar_sd[k + 1]]
            sds = np.minimum(sds, self.of_bars.sd_scale[self.of_bars.bar_sd[k] : self.of_bars.bar_sd[k + 1]])
            first, last = self.of_bars.bar_partial[k : k + 2]
            of_bars += [np.log1p(sds / softness), np.zeros(last - first)]
            reach = np.maximum(sds, 0.5 * softness) / np.sqrt(2.0 * bar.n_levels) / (sds + softness)
            reach_of_bars += [reach, np.sqrt(special.polygamma(1, self.of_bars.partial_shape[first:last]) / 2.0)]
            total += float((sds * size) @ (sds * size))
            uncertain += float((sds * size) @ (sds * size)) / bar.n_levels
        if family.has_cutpoints:
            counts = np.bincount(design.y.astype(int), minlength=self.r + 1)
            cuts = family.eta(np.clip(np.cumsum(counts)[:-1] / n, 0.01, 0.99))
            # effects widen the scale of the latent variable
            cuts = cuts * np.sqrt(1.0 + total / 3.0)
            parameters = np.concatenate([cuts[:1], np.log(np.maximum(np.diff(cuts), 0.05))])
            first_reach = np.sqrt(4.0 / n + uncertain)
            reach = np.concatenate([[first_reach], 1.0 / np.sqrt(np.maximum(counts[1:-1], 1.0))])
        else:
            parameters = np.log([family.guess(name, rough.solution.sigma) for name in family.parameters])
            reach = np.full(self.r, 2.0 * np.sqrt(2.0 / n))
        start = np.concatenate([np.zeros(self.p), *of_bars, parameters])
        return start, np.concatenate([np.full(self.p, 0.5), *reach_of_bars, reach])

    @property
    def priors_of_beta(self) -> tuple[Array, Array]:
        """Centers and scales (p,) of the priors of fixed effects in the coordinates; flat ones at zero, infinite."""
        location, scale, _ = self.rows.beta_prior.T
        flat = ~np.isfinite(scale)
        centers = np.where(flat, 0.0, (location - self.rows.center) / self.rows.unit)
        return centers, np.where(flat, np.inf, scale / self.rows.unit)

    @property
    def sizes_of_beta(self) -> Array:
        """What a unit of each fixed effect's coordinate moves the linear predictor by, as an sd over rows (p,)."""
        size = np.sqrt(np.mean((self.design.X - self.shift) ** 2, axis=0))
        return np.asarray(size * self.rows.unit)

    def with_sds_beside(self, x: Array, spread: float) -> Array:
        """Coordinates x (d,) with the sds that effects have which make up so large an sd of the predictor besides."""
        x, first = x.copy(), self.p
        for k, bar in enumerate(self.bars):
            size = np.sqrt(np.mean(bar.Z**2, axis=0))[list(bar.template.sd_columns)]
            softness = self.of_bars.softness[self.of_bars.bar_sd[k] : self.of_bars.bar_sd[k + 1]]
            places = slice(first, first + len(softness))
            sds = np.hypot(softness * np.expm1(x[places]), spread / np.maximum(size, 1e-300))
            x[places] = np.log1p(sds / softness)
            first += len(softness) + self.of_bars.bar_partial[k + 1] - self.of_bars.bar_partial[k]
        return x

    def rough_sds(self, x: Array) -> Array:
        """About how far the posterior reaches in each direction around x (d,): less in the middle of a narrow prior."""
        centers, scales = self.priors_of_beta
        sds = self._sds.copy()
        sds[: self.p] = np.minimum(sds[: self.p], np.maximum(scales, 0.5 * np.abs(x[: self.p] - centers)))
        return sds

    # -- density

    def log_densities(self, x: Array) -> Array:
        """Log density at each row of x (N, d); −∞ for negative sds and where numbers break down."""
        return self._walk(x, np.zeros(0), np.zeros(0), np.zeros(0, np.uint64)).log_density

    def _walk(self, x: Array, log_proposal: Array, log_uniform: Array, seeds: NDArray[np.uint64]) -> loops.Steps:
        N = len(seeds)
        steps = loops.Steps(
            log_density=np.full(len(x), -np.inf),
            state=np.zeros(N, dtype=np.int64),
            parameters=np.empty((N, self.r)),
            lam=np.empty((N, self.S, self.S)),
            u=np.zeros((N, self.U)),
        )
        x = np.ascontiguousarray(x)
        task = (loops.NO_TRACE, 0.0, x, log_proposal, log_uniform, seeds, steps)
        loops.walk(self.rows, self.rule, self.anchor, self.close, loops.along_address(), self.r, *task)
        return steps

    def settle(self, density: Density, rng: Generator) -> Mixture:
        """Find the mode, lay nodes around it as many as needed, and describe the density there by one t distribution.

        Parameters
        ----------
        density : callable
            ``log_densities``, or what spreads its work; positive at the start.
        """
        mode = climb(density, self, self.start)
        self._anchor_at(mode)
        mode = climb(density, self, mode)
        self._anchor_at(mode)
        for _ in range(2):  # the second time over the sds that the first has measured
            spread = inverse_curvature(density, mode, self)
            self._sds = np.sqrt(np.diag(spread))
        near = Mixture(shares=np.ones(1), means=mode[None], roots=cholesky(WIDER * spread)[None], dof=5.0)
        self.choose_rule(density, near, rng)
        return near

    def _modes(self, x: Array, moved: int = -1, by: float = 0.0) -> Array:
        """Modes of u (U,) at x, each given outer ones; these are ``by`` off their modes in stage ``moved``."""
        none, out = np.zeros(0), self.anchor.modes.copy()[None]
        steps = loops.Steps(
            log_density=np.empty(1),
            state=np.zeros(0, np.int64),
            parameters=np.empty((0, self.r)),
            lam=np.empty((0, self.S, self.S)),
            u=out,
        )
        task = (moved, by, x[None], none, none, np.zeros(0, np.uint64), steps)
        loops.walk(self.rows, self.rule, self.anchor, CLOSER, loops.along_address(), self.r, *task)
        return out[0]

    def search_from_zero(self) -> None:
        """Search the modes of effects from zero: where they are expected from one mode is far off around another."""
        nothing = (np.zeros(self.U), np.zeros((self.U, self.d)), np.zeros((self.U, self.S)))
        self.anchor = loops.Anchor(self.anchor.x, *nothing)

    def _anchor_at(self, x: Array) -> None:
        u = self._modes(x)
        self.anchor = self.anchor._replace(x=x.copy(), modes=u)
        slopes, gains = np.empty((self.U, self.d)), np.zeros((self.U, self.S))
        for c, step in enumerate(0.5 * self._sds):
            moved = x.copy()
            moved[c] += step
            slopes[:, c] = (self._modes(moved) - u) / step
        for draw in range(self.S - 1):
            inner = slice(self.tree.begin[draw + 1], None)
            gains[inner, draw] = (self._modes(x, draw, STEP) - u)[inner] / STEP
        self.anchor = loops.Anchor(x=x.copy(), modes=u, slopes=slopes, gains=gains)

    def choose_rule(self, density: Density, near: Mixture, rng: Generator) -> None:
        """For every stage the first rule that the next one hardly corrects where the posterior is."""
        x = near.draw(rng, TRIED)
        x[:, self.space.sd_at] = np.abs(x[:, self.space.sd_at])
        self.close = CLOSE
        taken = [0] * self.S
        before = self._by_rules(density, x, taken)
        stages = list(range(self.S))
        while stages:
            for stage in list(stages):
                finer = [k + (t == stage) for t, k in enumerate(taken)]
                after = self._by_rules(density, x, finer)
                is_finite = np.isfinite(before) & np.isfinite(after)
                change = (
                    after[is_finite] - before[is_finite]
                )  # what it has in common everywhere is a constant of the density
                if is_finite.any() and np.abs(change - np.median(change)).max() < TOLERANCE / self.S:
                    stages.remove(stage)
                    continue
                taken, before = finer, after
                if taken[stage] == len(NODES) - 1:
                    stages.remove(stage)
        self.nodes = tuple(NODES[k] for k in taken)
        self.rule = _rules(self.nodes)

    def _by_rules(self, density: Density, x: Array, taken: list[int]) -> Array:
        self.rule = _rules([NODES[k] for k in taken])
        return density(x)

    # -- chains

    def noise(self, rng: Generator, n: int) -> NDArray[np.uint64]:
        """What n draws of the effects begin with."""
        return rng.integers(np.iinfo(np.uint64).max, size=n, dtype=np.uint64)

    def walk(self, x: Array, log_proposal: Array, log_uniform: Array, noise: NDArray[np.uint64]) -> Walk:
        """Independence Metropolis–Hastings from x[0] over N proposals, with an exact draw of the effects each."""
        steps = self._walk(
            x, log_proposal, np.concatenate([[0.0], log_uniform]), np.concatenate([np.zeros(1, np.uint64), noise])
        )
        state = steps.state[1:]
        return Walk(
            x=x[state],
            parameters=steps.parameters[1:],
            lam=steps.lam[1:],
            u=steps.u[1:],
            log_density=steps.log_density[state],
            log_proposal=log_proposal[state],
            accepted=state == np.arange(1, len(x)),
            log_weights=(steps.log_density - log_proposal)[1:],
        )

    def outwards(self, x: Array, parameters: Array) -> tuple[Array, dict[str, Array]]:
        """β (..., p) and the family's parameters by name on the user's scale."""
        beta = self.rows.center + self.rows.unit * x[..., : self.p]
        moved = beta @ self.shift
        if self.intercept is not None:
            beta[..., self.intercept] -= moved
        names = self.design.family.parameters
        if CUTPOINT in names:
            return beta, {CUTPOINT: parameters + moved[..., None]}
        return beta, {name: parameters[..., k] for k, name in enumerate(names)}

    def inwards(self, beta: Array) -> Array:
        """The coordinates of fixed effects β (..., p) on the user's scale: `outwards` the other way."""
        beta = beta.copy()
        if self.intercept is not None:
            beta[..., self.intercept] += beta @ self.shift
        return np.asarray((beta - self.rows.center) / self.rows.unit)

    def effects_of(self, lam: Array, u: Array) -> list[Effects]:
        """What belongs to each bar, in the order of the design, from Λ (..., S, S) and u (..., U)."""
        out: list[Effects] = [None] * len(self.bars)  # type: ignore[list-item]
        first = 0
        for place, bar, levels in zip(self.places, self.bars, self.tree.levels, strict=True):
            of_bar = lam[..., first : first + bar.q, first : first + bar.q]
            begins = self.tree.begin[first : first + bar.q]
            columns = np.stack([u[..., begin : begin + bar.n_levels] for begin in begins], axis=-1)
            effects = np.empty((*lam.shape[:-2], bar.n_levels, bar.q))
            effects[..., levels, :] = columns @ np.swapaxes(of_bar, -1, -2)
            covariances = of_bar @ np.swapaxes(of_bar, -1, -2)
            sd = np.sqrt(np.einsum("...ii->...i", covariances))
            size = sd[..., :, None] * sd[..., None, :]
            correlations = np.divide(covariances, size, out=np.zeros_like(covariances), where=size > 0.0)
            diagonal = np.arange(bar.q)
            correlations[..., diagonal, diagonal] = 1.0
            out[place] = Effects(sds=sd, correlations=correlations, effects=effects)
            first += bar.q
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bars:
    """Coordinates and priors of sds and correlations, bar after bar: see `loops.Rows`."""

    softness: Array
    sd_scale: Array  # of their priors
    sd_kind: NDArray[np.int64]
    sd_prior: Array
    bar_sd: NDArray[np.int64]
    bar_partial: NDArray[np.int64]
    partial_row: NDArray[np.int64]
    partial_column: NDArray[np.int64]
    partial_shape: Array
    partial_gain: Array
    block: NDArray[np.int64]
    block_columns: NDArray[np.int64]
    is_sd: NDArray[np.bool_]  # of all coordinates

    @classmethod
    def of(cls, bars: list[GroupTerm], priors: Priors, rough: Rough) -> _Bars:
        """Of bars, outer before inner ones."""
        softness, sds, is_sd = [], [], []
        entries: list[tuple[int, int, float, float]] = []
        blocks: list[tuple[int, int, int, int, int]] = []
        columns: list[int] = []
        partials = [0]
        for k, bar in enumerate(bars):
            products = bar.Z**2 * rough.information[:, None]
            information = np.array([np.bincount(bar.codes, column, bar.n_levels).mean() for column in products.T])
            of_bar = [Positive.of(priors.get("sd", bar.name, term)) for term in bar.sd_terms]
            softness += [
                min(1.0 / np.sqrt(max(information[c], 1e-300)), SOFTEST * prior.scale)
                for c, prior in zip(bar.template.sd_columns, of_bar, strict=True)
            ]
            sds += of_bar
            lkj = priors.get("cor", bar.name) if bar.correlated else LKJ(1.0)
            assert isinstance(lkj, LKJ)
            for block, structure in zip(bar.template.blocks, bar.template.structures, strict=True):
                q = len(block)
                pairs, shapes = structure.entries(q), lkj.eta + structure.excess(q)
                if not pairs:
                    continue
                blocks.append((k, structures.number(structure), len(columns), q, len(entries)))
                columns += list(block)
                gains = bar.n_levels * (q * (q - 1) / 2.0 / len(pairs)) * special.polygamma(1, shapes) / 2.0
                entries += [(block[i], block[j], s, g) for (i, j), s, g in zip(pairs, shapes, gains, strict=True)]
            partials.append(len(entries))
            is_sd += [True] * len(bar.sd_terms) + [False] * (partials[-1] - partials[-2])
        row, column, shape, gain = np.array(entries, float).reshape(-1, 4).T
        return cls(
            softness=np.array(softness),
            sd_scale=np.array([prior.scale for prior in sds]),
            sd_kind=np.array([int(prior.kind) for prior in sds], np.int64),
            sd_prior=np.array([(prior.a, prior.b) for prior in sds]),
            bar_sd=np.cumsum([0, *(len(bar.sd_terms) for bar in bars)]).astype(np.int64),
            bar_partial=np.array(partials, np.int64),
            partial_row=row.astype(np.int64),
            partial_column=column.astype(np.int64),
            partial_shape=np.ascontiguousarray(shape),
            partial_gain=np.ascontiguousarray(gain),
            block=np.array(blocks, np.int64).reshape(-1, 5),
            block_columns=np.array(columns, np.int64),
            is_sd=np.array(is_sd, bool),
        )


def _collapsed(table: Array, counted: Array, tree: _Tree) -> tuple[Array, Array, NDArray[np.int64]]:
    """Rows (m, ·) that differ, how often each counts, and where those of each unit begin."""
    last = tree.begin[-2] + len(tree.begin) - 2
    starts = tree.rows_of[last:]
    of_row = np.searchsorted(starts[:-1], np.arange(len(table)), side="right") - 1
    kinds, inverse = np.unique(np.column_stack([of_row, table]), axis=0, return_inverse=True)
    if len(kinds) == len(table):
        return table, np.ascontiguousarray(counted, dtype=np.float64), tree.rows_of
    times = np.bincount(inverse.reshape(-1), counted)
    begin = np.searchsorted(kinds[:, 0], np.arange(len(starts)))
    moved = np.full(len(table) + 1, -1)
    moved[starts] = begin  # units of outer stages begin where one of the last does
    return kinds[:, 1:], times, moved[tree.rows_of]


def _column(table: Array, place: int) -> Array:
    return np.ascontiguousarray(table[:, place])


def _rules(nodes: list[int] | tuple[int, ...]) -> loops.Rule:
    """One rule a stage."""
    x, log_weight = np.zeros((len(nodes), max(nodes))), np.zeros((len(nodes), max(nodes)))
    for s, count in enumerate(nodes):
        points, weights = hermegauss(count)
        x[s, :count], log_weight[s, :count] = points, np.log(weights / weights.sum()) + 0.5 * points**2
    return loops.Rule(nodes=np.array(nodes, np.int64), x=x, log_weight=log_weight)
