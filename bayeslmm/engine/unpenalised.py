"""Complete and no pooling of responses that are not normal: one likelihood of all rows, or coefficients a level.

Without pooling the coefficients of a level are effects whose penalty is all but none, so that the kernel finds them; a
last Newton step without any penalty is exact.  Parameters of the family are estimated beside them, by the profile of
the likelihood.  Levels that no finite coefficient fits best (separation) are found by a linear programme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..covariances.template import cholesky_psd
from ..design.design import Design, GroupTerm
from ..errors import FitError
from ..tools.arrays import Array
from . import laplace_fit, pls, pooling
from .laplace import CERTAIN, Approximation, Inner
from .pooling import Regression, Unpooled
from .scaling import Problem
from .separation import MOVED, can_separate, rows_that_separate

LOOSE = 1e6  # sd of an effect that a penalty leaves alone, in units of the link
FARTHEST, PERFECT = 18.0, 30.0  # |log| of a parameter of the family, and of one whose end is a perfect fit
STEP = 1e-4  # of differences of exact gradients, in log units
STEPS, HALVINGS = 200, 40
AT_REST = 1e-13  # gain that the next step promises, of the log likelihood
FLAT = 1e-8  # curvature of a profile below which a parameter goes to its limit


def complete(design: Design) -> Regression:
    """One regression by maximum likelihood, groups ignored; NaN for what separation leaves without an estimate.

    Raises
    ------
    FitError
        The likelihood has no maximum that could be found.
    """
    solution = laplace_fit.fit(replace(design, groups=()))
    separated = np.zeros(design.p, dtype=bool)
    if len(solution.separation):
        separated = np.abs(solution.separation) > MOVED
    return Regression(
        beta=np.where(separated, np.nan, solution.beta),
        vcov=solution.vcov,
        line=None,
        rank=design.p,
        parameters={name: np.asarray(value) for name, value in solution.parameters.items()},
        separated=separated,
    )


def unpooled(design: Design, factor: int) -> Unpooled:
    """Coefficients of every level without a penalty, by maximum likelihood; other factors are left out.

    Of one effect a level, ±inf where the rows of the level are all at an edge of their range, and NaN where they do not
    tell the coefficients.  Cutpoints take the place of an intercept: then the intercepts of the levels sum to zero, as
    the modes of random ones do.

    Raises
    ------
    FitError
        The rows are fitted perfectly, or the likelihood could not be computed.
    """
    problem = Problem.of(design)
    split = pooling.unpooled(replace(problem, y=np.zeros(design.n), weights=None, sigma=None), factor)
    levels = _Levels.of(design, factor, split.common)
    free, inner = levels.maximum()
    separated, shares_separated = levels.separated(inner)
    fit = levels.exact(free, inner, separated[levels.codes])
    coefficients, vcov = fit.coefficients, fit.vcov
    if shares_separated.any():
        coefficients, vcov = np.full_like(coefficients, np.nan), np.full_like(vcov, np.nan)
    elif levels.q == 1:
        coefficients = np.where(separated[:, None], np.copysign(np.inf, levels.modes(inner)), coefficients)
    return replace(
        split,
        coefficients=coefficients,
        vcov=vcov,
        shared=np.where(shares_separated, np.nan, fit.shared),
        shared_vcov=fit.shared_vcov,
        line=None,
        parameters=levels.named(free, fit.shift),
        separated=separated,
        shared_separated=shares_separated,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exact:
    """Estimates (J, q) and (c,) with their covariances, those of the family's parameters included."""

    coefficients: Array
    vcov: Array  # (J, q, q)
    shared: Array
    shared_vcov: Array
    shift: float  # of the cutpoints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Levels:
    """The likelihood of one factor's levels without a penalty."""

    approximation: Approximation
    design: Design  # of this factor and the columns in common alone
    Z: Array
    codes: NDArray[np.int64]
    constant: Array | None  # (J, q) of coefficients whose columns add to one in every row, beside cutpoints

    @classmethod
    def of(cls, design: Design, factor: int, common: NDArray[np.bool_]) -> _Levels:
        group = design.groups[factor]
        assert isinstance(group, GroupTerm)
        free = replace(group, blocks=(tuple(range(group.q)),), structures=(), texts=(), lefts=())
        names = tuple(name for name, is_common in zip(design.x_names, common, strict=True) if is_common)
        alone = replace(design, X=design.X[:, common], x_names=names, groups=(free,))
        constant = None
        if design.family.has_cutpoints:
            constant = pooling.absorbed(Problem.of(alone), 0, np.ones((design.n, 1)))[:, :, 0]
            constant = constant if np.any(constant) else None
        approximation = Approximation(alone)
        return cls(approximation=approximation, design=alone, Z=group.Z, codes=group.codes, constant=constant)

    @property
    def q(self) -> int:
        return self.Z.shape[1]

    def maximum(self) -> tuple[Array, Inner]:
        """The family's parameters, free, at the maximum of their profile, and the coefficients there."""
        start = laplace_fit._start(self.approximation, 1.0)
        beta, _, free = self.approximation.split(start)
        searched = np.ones(len(free))
        searched[:1] = float(self.constant is None)  # else moving all cutpoints is moving all levels
        try:
            inner = self._inner(beta, free, np.zeros(self.approximation.m))
            return self._search(free, searched, inner) if searched.any() else (free, inner)
        except FitError as error:
            raise FitError(f"no pooling, coefficients for every level of {self._name}: {error}") from None
        except FloatingPointError as error:
            raise FitError(
                f"no pooling: the likelihood with coefficients for every level of {self._name} has no maximum that "
                f"could be found ({error})"
            ) from None

    def _inner(self, beta: Array, free: Array, start: Array) -> Inner:
        values = self.approximation.parameters.values(free)
        self.approximation.refuse_perfect(values)
        return self.approximation.inner(beta, [LOOSE * np.eye(self.q)], values, start, joint=True)

    @property
    def _name(self) -> str:
        return self.design.groups[0].name

    def _search(self, free: Array, searched: Array, inner: Inner) -> tuple[Array, Inner]:
        """BFGS with steps of at most one log unit, shorter ones where the likelihood falls or cannot be computed."""
        value, gradient = self._profile(free, inner)
        gradient, ends = gradient * searched, np.full(len(free), FARTHEST)
        ends[:1] = PERFECT if self.approximation.has_free_dispersion else FARTHEST
        H, failure = np.eye(len(free)) * max(1.0, float(np.abs(gradient).max())), None
        for _ in range(STEPS):
            step = -np.linalg.solve(H, gradient)
            step *= min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-300))
            promise = -float(step @ gradient)
            if promise < AT_REST * (1.0 + abs(value)):
                return free, inner
            for _ in range(HALVINGS):
                proposal = np.clip(free + step, -ends, ends)
                try:
                    new = self._inner(inner.beta, proposal, inner.u)
                except (FitError, FloatingPointError) as error:
                    failure, step = error, 0.5 * step
                    continue
                new_value, new_gradient = self._profile(proposal, new)
                if new_value <= value + 1e-12 * abs(value):
                    break
                step = 0.5 * step
            else:
                break
            moved, change = proposal - free, new_gradient * searched - gradient
            if moved @ change > 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(change)):
                along = H @ moved
                H += np.outer(change, change) / (moved @ change) - np.outer(along, along) / (moved @ along)
            stuck = not moved.any()
            free, inner, value, gradient = proposal, new, new_value, new_gradient * searched
            if stuck:
                return free, inner  # at the end of the range: the limit of the family
        raise failure or FloatingPointError("the search for the parameters of the family did not come to rest")

    def _profile(self, free: Array, inner: Inner) -> tuple[float, Array]:
        """Minus the log likelihood but for constants, and its slopes by the family's parameters, free."""
        values = self.approximation.parameters.values(free)
        total, by_values = self.approximation.normaliser(values)
        by_values = by_values + self.approximation.by_parameters([inner.bends[4], inner.bends[7]], values)
        return -(inner.h + total), -(self.approximation.parameters.jacobian(free).T @ by_values)

    def modes(self, inner: Inner) -> Array:
        """Coefficients (J, q) in the user's units."""
        return self.approximation.alone.by_factor(inner.u)[0] @ (LOOSE * self.approximation.T_z[0]).T

    def separated(self, inner: Inner) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Levels (J,) some rows of which no finite coefficient fits best, and columns in common (c,) of that kind."""
        J, c = self.design.groups[0].n_levels, self.design.p
        none = np.zeros(J, dtype=bool), np.zeros(c, dtype=bool)
        if not can_separate(self.design) or not (-inner.bends[2] < CERTAIN * self.approximation.trials).any():
            return none
        rows, direction = rows_that_separate(self.design, self.codes, self.Z, J)
        none[0][self.codes[rows]] = True
        size = np.abs(direction).max(initial=0.0)
        none[1][:] = np.abs(direction[J * self.q : J * self.q + c]) > MOVED * max(size, 1.0)
        return none

    def exact(self, free: Array, inner: Inner, left_out: NDArray[np.bool_]) -> _Exact:
        """One Newton step without a penalty from the maximum with hardly any, and what the data say of the errors."""
        from .pooling import _Within

        X, J, q = self.design.X, self.design.groups[0].n_levels, self.q
        kept = (~left_out).astype(float)
        if self.approximation.counted is not None:  # rows that count for nothing tell no coefficient
            kept = kept * (self.approximation.counted > 0.0)
        is_identified = _Within.of(self.Z * kept[:, None], self.codes, J).full
        kept = kept * is_identified[self.codes]
        W, slope = -inner.bends[2] * kept, inner.bends[1] * kept
        D = np.where(is_identified[:, None, None], self._sums(W, self.Z, self.Z), np.eye(q))
        inverse = np.linalg.inv(D)
        by_shared = -inverse @ self._sums(W, self.Z, X)  # (J, q, c), how coefficients move with those in common
        S = X.T @ (W[:, None] * X) + np.einsum("jqc,jqd->cd", self._sums(W, self.Z, X), by_shared)
        G = np.linalg.pinv(S) if X.shape[1] else S
        score = self._sums(slope, self.Z, np.ones((len(X), 1)))[:, :, 0]
        step = G @ (X.T @ slope + np.einsum("jqc,jq->c", by_shared, score))
        shared = self.approximation.T_x @ inner.beta + step
        coefficients = self.modes(inner) + np.einsum("jab,jb->ja", inverse, score) + by_shared @ step
        root, of_shared = self._by_parameters(free, inner)
        reach = np.concatenate([by_shared @ _root(G), root], axis=2)  # (J, q, c + r)
        coefficients[~is_identified], inverse[~is_identified], reach[~is_identified] = 0.0, 0.0, 0.0
        shift = 0.0
        if self.constant is not None:
            coefficients, inverse, reach, shift = _centred(
                self.constant * is_identified[:, None], coefficients, inverse, reach
            )
        vcov = inverse + reach @ reach.swapaxes(1, 2)
        coefficients[~is_identified], vcov[~is_identified] = np.nan, np.nan
        shared_vcov = G + of_shared @ of_shared.T
        return _Exact(coefficients=coefficients, vcov=vcov, shared=shared, shared_vcov=shared_vcov, shift=shift)

    def _sums(self, weights: Array, left: Array, right: Array) -> Array:
        """Σ w a bᵀ over the rows of each level (J, a, b)."""
        J = self.design.groups[0].n_levels
        out = np.empty((J, left.shape[1], right.shape[1]))
        for a in range(left.shape[1]):
            for b in range(right.shape[1]):
                out[:, a, b] = np.bincount(self.codes, weights=weights * left[:, a] * right[:, b], minlength=J)
        return out

    def _by_parameters(self, free: Array, inner: Inner) -> tuple[Array, Array]:
        """How coefficients (J, q, r) and those in common (c, r) move with the family's parameters, times their root.

        The root is that of the covariance matrix of the parameters by the curvature of their profile.
        """
        approximation, r = self.approximation, len(free)
        J, c = self.design.groups[0].n_levels, self.design.p
        searched = np.arange(0 if self.constant is None else 1, r)
        moves, moves_shared = np.zeros((J, self.q, r)), np.zeros((c, r))
        bend = np.zeros((r, r))
        for k in searched:
            step = STEP * np.eye(r)[k]
            forward, backward = (self._inner(inner.beta, free + sign * step, inner.u) for sign in (1.0, -1.0))
            moves[:, :, k] = (self.modes(forward) - self.modes(backward)) / (2.0 * STEP)
            moves_shared[:, k] = approximation.T_x @ (forward.beta - backward.beta) / (2.0 * STEP)
            slopes = (self._profile(free + step, forward)[1], self._profile(free - step, backward)[1])
            bend[:, k] = (slopes[0] - slopes[1]) / (2.0 * STEP)
        curved = [k for k in searched if bend[k, k] > FLAT * max(approximation.design.n, 1)]
        block = np.ix_(curved, curved)
        half = np.zeros((r, r))
        half[block] = _root(np.linalg.pinv(0.5 * (bend + bend.T)[block], hermitian=True))
        return moves @ half, moves_shared @ half

    def named(self, free: Array, shift: float) -> dict[str, Array]:
        """The family's parameters by name."""
        values, names = self.approximation.parameters.values(free), self.design.family.every_parameter
        if self.approximation.parameters.ordered:
            return {names[0]: values - shift}
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def _root(matrix: Array) -> Array:
    """R with RRᵀ the matrix, which has no negative eigenvalues but for rounding."""
    values, vectors = np.linalg.eigh(matrix) if len(matrix) else (np.zeros(0), matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _centred(constant: Array, coefficients: Array, block: Array, reach: Array) -> tuple[Array, Array, Array, float]:
    """Coefficients less their part along ``constant``, which cutpoints take; covariances block_j + reach_j reach_kᵀ."""
    size = float(np.sum(constant**2))
    shift = float(np.sum(constant * coefficients)) / size
    along = np.einsum("jqd,jq->d", reach, constant) / size
    half = np.einsum("jab,jb->ja", block, constant)
    spread = float(np.sum(half * constant)) / size**2
    crossed = half[:, :, None] * constant[:, None, :] / size
    block = block - crossed - crossed.swapaxes(1, 2) + spread * constant[:, :, None] * constant[:, None, :]
    return coefficients - shift * constant, block, reach - constant[:, :, None] * along, shift


def open_shares(
    design: Design, beta: Array, covariances: Sequence[Array], parameters: Array, factor: int
) -> tuple[Array, Array]:
    """Var(b_jk | y, β, Σ, φ) / Σ_kk of every draw (S, J, q) by Laplace, and the trace of the working hat matrix (S,).

    Parameters
    ----------
    beta : (S, p)
    covariances : K × (S, q, q)
    parameters : (S, r)
        The family's, in their order.
    """
    approximation, S = Approximation(design), len(beta)
    T, J, start = approximation.T_z[factor], design.groups[factor].n_levels, np.zeros(approximation.m)
    shares, traces = np.empty((S, J, len(T))), np.empty(S)
    inverses = [np.linalg.inv(T) for T in approximation.T_z]
    for draw in range(S):
        lams = [
            cholesky_psd(back @ covariance[draw] @ back.T, group.blocks)
            for back, covariance, group in zip(inverses, covariances, design.groups, strict=True)
        ]
        inner = approximation.inner(
            np.linalg.solve(approximation.T_x, beta[draw]), lams, parameters[draw], start, joint=False
        )
        start = inner.u
        reduced = approximation.with_X.reduce(-inner.bends[2], lams)
        V = pls.inverse(reduced).diagonal
        half = T @ lams[factor]
        prior = (half**2).sum(axis=1)
        posterior = np.einsum("ka,jab,kb->jk", half, V[factor], half)
        shares[draw] = np.where(prior > 0.0, posterior / np.where(prior > 0.0, prior, 1.0), 1.0)
        traces[draw] = pooling.trace_of_hat(reduced, V, np.zeros(design.p))
    return shares, traces
