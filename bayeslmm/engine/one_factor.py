"""The exact marginal of models with one scalar effect a level, for responses that are not normal.

The effects are integrated out by adaptive Gauss–Hermite quadrature (Pinheiro & Bates 1995), level by level. That leaves
a density of β, the sd and the family's parameters: few numbers, drawn by the machinery of the exact sampler
(`proposal`, `sampler`). Given them the effects are drawn exactly (`one_factor_loops`).

The coordinates x are (β − β₀)/se of rough estimates at centred predictors, log(1 + sd/c), and the parameters' logs, or
of ordered cutpoints the first and the logs of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.random import Generator
from numpy.typing import NDArray

from ..design.design import Design
from ..design.names import CUTPOINT
from ..design.priors import Priors
from ..families.densities import numbers
from ..tools.arrays import Array
from . import one_factor_loops as loops
from .hyperpriors import Kind, Positive, location_scale, of_fixed_effect
from .pql import Rough
from .proposal import Density, Mixture, cholesky, climb, inverse_curvature

NODES = (5, 9, 15, 25, 45)  # of the rules that are tried, coarsest first
TOLERANCE = 1e-2  # of the log density but for a constant, between a rule and the next
TRIED = 24  # points that choose the rule
CLOSE, CLOSER = 2e-3, 1e-9  # gain of a step towards the mode of an effect, up to which nodes stay where they are
LEAST_SD = 0.1  # of the family's natural scale, where the search begins
MOST_COORDINATES = 30  # beyond, no independent proposal fits well
WIDER = 1.3  # of the inverse curvature at the mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a proposal has to know of the coordinates."""

    sd_at: NDArray[np.bool_]  # (d,) those that are not negative
    correlation_at: NDArray[np.bool_]  # (d,)
    partial_shape: Array  # shapes of the priors of correlations: there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A stretch of a Markov chain: N draws."""

    x: Array  # (N, d)
    parameters: Array  # (N, r) of the family
    effects: Array  # (N, J)
    log_density: Array  # (N,)
    log_proposal: Array  # (N,)
    accepted: NDArray[np.bool_]  # (N,) whether the proposal was taken
    log_weights: Array  # (N,) of the proposals


def why_not(design: Design) -> str:
    """Why the effects of a model are not integrated out here, in words; empty where they are."""
    family = design.family
    for part in design.predictors.values():
        return f"{part.parameter} has a linear predictor"
    if not family.is_log_concave:
        return f"the log density of family={family} is not concave in the linear predictor"
    if len(design.groups) != 1 or design.groups[0].is_wide:
        return "it has not one grouping factor of independent levels"
    if design.groups[0].q != 1:
        return f"it has {design.groups[0].q} effects a level"
    if len(design.x_names) + 1 + max(len(family.parameters), len(design.levels) - 1) > MOST_COORDINATES:
        return f"it has more than {MOST_COORDINATES} unknowns besides the effects"
    return ""


class OneFactor:
    """log p(β, sd, φ | y) + log p(y), with the effects integrated out by quadrature.

    Parameters
    ----------
    design : Design
        One for which `why_not` is empty.
    priors : Priors
        All of them written out (`hyperpriors.unwritten`).
    rough : Rough
        Estimates from which the search for the mode begins.
    """

    def __init__(self, design: Design, priors: Priors, rough: Rough) -> None:
        family, (group,) = design.family, design.groups
        self.design = design
        self.order = np.argsort(group.codes, kind="stable")
        self.is_centred = design.has_intercept or family.has_categories
        names = list(design.x_names)
        self.shift = design.X.mean(axis=0) if self.is_centred else np.zeros(len(names))
        self.intercept = names.index("Intercept") if design.has_intercept else None
        if self.intercept is not None:
            self.shift[self.intercept] = 0.0
        self.p, self.r = len(names), len(design.levels) - 1 if family.has_categories else len(family.parameters)
        self.d, self.J = self.p + 1 + self.r, group.n_levels
        center, unit = self._rough_fixed_effects(rough)
        information = np.bincount(group.codes, weights=rough.information * group.Z[:, 0] ** 2, minlength=self.J)
        softness = 1.0 / np.sqrt(np.maximum(information.mean(), 1e-300))
        self.start, self._sds = self._rough_coordinates(rough, softness)
        kind, link = numbers(family)
        ones = np.ones(design.n)
        low, high = design.working_ends
        values, counts = design.distinct_responses()
        of_sd = Positive.of(priors.get("sd", group.name, group.sd_terms[0]))
        if family.positive_parameters:
            positive = [Positive.of(priors.get(name)) for name in family.parameters]
            parameter_kind = [prior.kind for prior in positive]
            parameter_prior = [(prior.a, prior.b, np.inf) for prior in positive]
        else:
            parameter_kind = [Kind.FLAT]
            parameter_prior = [location_scale(name, priors.get(name)) for name in family.parameters]

        def sorted_rows(values: Array | None) -> Array:
            return np.ascontiguousarray((ones if values is None else values)[self.order], dtype=np.float64)

        constant = float(design.density_constants @ design.counted + np.log(unit).sum() + np.log(softness))
        self.rows = loops.Rows(
            kind=kind,
            link=link,
            y=sorted_rows(low),
            trials=sorted_rows(high),
            weights=sorted_rows(design.precisions),
            counted=sorted_rows(design.likelihood_weights),
            offset=sorted_rows(design.offset),
            z=sorted_rows(group.Z[:, 0]),
            X=sorted_rows(design.X - self.shift),
            starts=np.searchsorted(group.codes[self.order], np.arange(self.J + 1)).astype(np.int64),
            center=center,
            unit=unit,
            beta_prior=np.array([location_scale(n, of_fixed_effect(priors, n)) for n in names]).reshape(-1, 3),
            softness=float(softness),
            sd_kind=int(of_sd.kind),
            sd_prior=np.array([of_sd.a, of_sd.b]),
            positive=family.positive_parameters,
            parameter_kind=np.array(parameter_kind, dtype=np.int64),
            parameter_prior=np.array(parameter_prior, dtype=np.float64).reshape(-1, 3),
            values=np.ascontiguousarray(values, dtype=np.float64),
            counts=np.ascontiguousarray(counts, dtype=np.float64),
            n=float(design.n_counted),
            constant=constant,
        )
        sd_at = np.arange(self.d) == self.p
        self.space = Bounds(sd_at=sd_at, correlation_at=np.zeros(self.d, bool), partial_shape=np.zeros(0))
        self.nodes, self.rule, self.close = NODES[-1], _rule(NODES[1]), CLOSER
        u = rough.solution.modes[0][:, 0] / self.sd_of(self.start)
        self.anchor = loops.Anchor(x=self.start, modes=np.clip(u, -4.0, 4.0), slopes=np.zeros((self.J, self.d)))

    def _rough_fixed_effects(self, rough: Rough) -> tuple[Array, Array]:
        """β₀ (p,) at centred predictors and its standard errors."""
        move = np.eye(self.p)
        if self.intercept is not None:
            move[self.intercept] += self.shift
        center = move @ rough.solution.beta
        variances = np.diag(move @ rough.solution.vcov @ move.T)
        return center, np.sqrt(np.maximum(variances, 1e-16 * (1.0 + center**2)))

    def _rough_coordinates(self, rough: Rough, softness: float) -> tuple[Array, Array]:
        """Where the search begins (d,), and about how far the posterior reaches from there."""
        design, family, n = self.design, self.design.family, self.design.n
        least = LEAST_SD * (family.scale(design.y).value or 1.0)
        sd = max(float(np.sqrt(rough.solution.covariances[0][0, 0])), least)
        sd_reach = max(sd, 0.5 * softness) / np.sqrt(2.0 * self.J) / (sd + softness)
        if family.has_categories:
            counts = np.bincount(design.y.astype(int), minlength=self.r + 1)
            cuts = family.eta(np.clip(np.cumsum(counts)[:-1] / n, 0.01, 0.99))
            # an effect widens the scale of the latent variable
            cuts = cuts * np.sqrt(1.0 + sd**2 / 3.0)
            parameters = np.concatenate([cuts[:1], np.log(np.maximum(np.diff(cuts), 0.05))])
            first = np.hypot(2.0 / np.sqrt(n), sd / np.sqrt(self.J))
            reach = np.concatenate([[first], 1.0 / np.sqrt(np.maximum(counts[1:-1], 1.0))])
        else:
            parameters = np.log([family.guess(name, rough.solution.sigma) for name in family.parameters])
            reach = np.full(self.r, 2.0 * np.sqrt(2.0 / n))
        start = np.concatenate([np.zeros(self.p), [np.log1p(sd / softness)], parameters])
        return start, np.concatenate([np.full(self.p, 0.5), [sd_reach], reach])

    def rough_sds(self, x: Array) -> Array:
        """About how far the posterior reaches in each direction (d,)."""
        return self._sds

    def sd_of(self, x: Array) -> Array:
        """The sd of the effects at x (..., d)."""
        return np.asarray(self.rows.softness * np.expm1(x[..., self.p]))

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
            u=np.empty((N, self.J)),
        )
        x = np.ascontiguousarray(x)
        loops.walk(self.rows, self.rule, self.anchor, self.close, self.r, x, log_proposal, log_uniform, seeds, steps)
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
        self._choose_rule(density, near, rng)
        return near

    def _anchor_at(self, x: Array) -> None:
        u = loops.modes(self.rows, x, self.anchor.modes, self.r)
        slopes = np.empty((self.J, self.d))
        for c, step in enumerate(0.5 * self._sds):
            moved = x.copy()
            moved[c] += step
            slopes[:, c] = (loops.modes(self.rows, moved, u, self.r) - u) / step
        self.anchor = loops.Anchor(x=x.copy(), modes=u, slopes=slopes)

    def _choose_rule(self, density: Density, near: Mixture, rng: Generator) -> None:
        """The first rule that the next one hardly corrects where the posterior is."""
        x = near.draw(rng, TRIED)
        x[:, self.p] = np.abs(x[:, self.p])
        before = np.full(TRIED, np.nan)
        for k, nodes in enumerate(NODES):
            self.rule, self.close = _rule(nodes), CLOSE
            after = density(x)
            kept = np.isfinite(before) & np.isfinite(after)
            change = after[kept] - before[kept]  # what it has in common everywhere is a constant of the density
            if kept.any() and np.abs(change - np.median(change)).max() < TOLERANCE:
                self.nodes, self.rule = NODES[k - 1], _rule(NODES[k - 1])
                return
            before = after
        self.nodes = NODES[-1]

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
            effects=steps.u[1:] * self.sd_of(x[state])[:, None],
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


def _rule(nodes: int) -> loops.Rule:
    x, weight = hermegauss(nodes)
    return loops.Rule(x=x, log_weight=np.log(weight / weight.sum()) + 0.5 * x**2)
