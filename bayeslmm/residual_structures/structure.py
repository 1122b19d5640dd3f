"""The residuals of n rows: sds that are log-linear in columns, and a correlation within blocks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..tools.arrays import Array
from .blocks import Blocks
from .correlation import Correlation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """log sd of every row = log σ + G δ: nlme's ``varIdent`` (G: indicators), ``varExp`` (x), ``varPower`` (log|x|).

    Attributes
    ----------
    G : float64 array (n, d)
        Without a constant column, whose place σ takes.
    labels : tuple of str (d,)
    """

    G: Array
    labels: tuple[str, ...]
    units: Array = field(init=False)  # (d,) spread of the columns

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", np.maximum(self.G.std(axis=0), 1e-12))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """ε ~ N(0, σ² D R D): D of a `Spread` and of prior weights, R of a `Correlation` within `Blocks`.

    Attributes
    ----------
    spread : Spread
    correlation, blocks : Correlation and Blocks, or None
    prior : float64 array (n,) or None
        Prior weights.
    labels : tuple of str
        What the parameters are called: δ, then ρ.
    values : float64 array (d + r,) or None
        δ and ρ, once they are estimated.
    """

    spread: Spread
    correlation: Correlation | None
    blocks: Blocks | None
    prior: Array | None
    labels: tuple[str, ...]
    values: Array | None = None

    @property
    def n_spread(self) -> int:
        """Number of δ."""
        return self.spread.G.shape[1]

    @property
    def n_values(self) -> int:
        """Number of δ and ρ."""
        return self.n_spread + (self.correlation.count(self.blocks) if self.correlation and self.blocks else 0)

    def with_values(self, values: Array) -> Residuals:
        """The same at other δ and ρ."""
        return replace(self, values=np.asarray(values, dtype=float))

    def weights(self, values: Array | None = None) -> Array | None:
        """Prior weights over the squared relative sds (n,); None where all are one."""
        values = self.values if values is None else values
        if values is None or not self.n_spread:
            return self.prior
        relative = np.exp(-2.0 * (self.spread.G @ values[: self.n_spread]))
        return relative if self.prior is None else self.prior * relative

    def rho(self, values: Array | None = None) -> Array:
        """ρ (r,)."""
        values = self.values if values is None else values
        assert values is not None
        return values[self.n_spread :]

    def whiten(self, A: Array, values: Array | None = None) -> tuple[Array, float]:
        """(W^½R^-½ of A (n, c), log|R| − Σ log w): rows whose errors are independent with sd σ."""
        w = self.weights(values)
        scaled, log_det = (A, 0.0) if w is None else (A * np.sqrt(w)[:, None], -float(np.log(w).sum()))
        if self.correlation is None or self.blocks is None:
            return scaled, log_det
        white, of_R = self.correlation.whiten(self.rho(values), self.blocks, scaled[self.blocks.order])
        out = np.empty_like(white)
        out[self.blocks.order] = white
        return out, log_det + of_R

    def covariance(self, values: Array) -> Array:
        """Of the errors of few rows (n, n), in units of σ²."""
        w = self.weights(values)
        sd = np.ones(len(self.spread.G)) if w is None else 1.0 / np.sqrt(w)
        R = np.eye(len(sd))
        if self.correlation is not None and self.blocks is not None:
            for (_, places), matrix in zip(
                self.blocks.patterns, self.correlation.matrices(self.rho(values), self.blocks), strict=True
            ):
                for rows in self.blocks.order[places]:
                    R[np.ix_(rows, rows)] = matrix
        return sd[:, None] * R * sd

    def correlation_of_positions(self, values: Array) -> Array:
        """R (levels, levels) of all positions of a factor; zero for two that never meet."""
        assert self.correlation is not None
        assert self.blocks is not None
        return self.correlation.matrix(self.rho(values), np.arange(self.blocks.levels, dtype=float))

    def precision(self, values: Array) -> Array:
        """Its inverse (n, n)."""
        return np.linalg.inv(self.covariance(values))

    def precisions(self, values: Array) -> Array:
        """The diagonal (n,) of that, of many rows."""
        w = self.weights(values)
        out = np.ones(len(self.spread.G)) if w is None else np.array(w)
        if self.correlation is not None and self.blocks is not None:
            for (_, places), R in zip(
                self.blocks.patterns, self.correlation.matrices(self.rho(values), self.blocks), strict=True
            ):
                out[self.blocks.order[places]] *= np.diag(np.linalg.inv(R))
        return out

    def weighted(self, A: Array, values: Array) -> Array:
        """The inverse of their covariance, in units of σ², times A (n, c)."""
        w = self.weights(values)
        root = np.ones(len(A)) if w is None else np.sqrt(w)
        out = A * root[:, None]
        if self.correlation is not None and self.blocks is not None:
            sorted_rows, solved = out[self.blocks.order], np.empty_like(out)
            for (_, places), R in zip(
                self.blocks.patterns, self.correlation.matrices(self.rho(values), self.blocks), strict=True
            ):
                solved[places] = np.linalg.inv(R) @ sorted_rows[places]
            out[self.blocks.order] = solved
        return out * root[:, None]

    def decorrelated(self, scores: Array, values: Array | None = None) -> Array:
        """R^-½ of errors (n, c) in units of their sds: independent ones, each told by those before it in its block."""
        if self.correlation is None or self.blocks is None:
            return scores
        out = np.empty_like(scores)
        out[self.blocks.order], _ = self.correlation.whiten(self.rho(values), self.blocks, scores[self.blocks.order])
        return out

    def log_densities(self, errors: Array, values: Array) -> Array:
        """Log normal density (n,) of errors in units of σ, each given those before it in its block."""
        w = self.weights(values)
        scores = errors if w is None else errors * np.sqrt(w)
        log_sd = np.zeros(len(errors)) if w is None else -0.5 * np.log(w)
        if self.correlation is not None and self.blocks is not None:
            order, rho = self.blocks.order, self.rho(values)
            white, sds = self.correlation.in_sequence(rho, self.blocks, scores[order, None])
            scores, more = np.empty(len(errors)), np.empty(len(errors))
            scores[order], more[order] = white[:, 0], np.log(sds)
            log_sd = log_sd + more
        return np.asarray(-0.5 * scores**2 - log_sd - 0.5 * np.log(2.0 * np.pi))

    def noise(self, independent: Array) -> Array:
        """Errors (n, c) in units of σ, from independent standard normal ones (n, c)."""
        w = self.weights()
        out = independent
        if self.correlation is not None and self.blocks is not None:
            out = np.empty_like(independent)
            order = self.blocks.order
            out[order] = self.correlation.correlated(self.rho(), self.blocks, independent[order])
        return out if w is None else out / np.sqrt(w)[:, None]

    def free(self, values: Array) -> Array:
        """Coordinates on the whole line (d + r,) of δ and ρ, the δ in units of the spread of their columns."""
        parts = [values[: self.n_spread] * self.units]
        if self.correlation and self.blocks:
            parts.append(self.correlation.free(self.rho(values), self.blocks))
        return np.concatenate(parts)

    def natural(self, free: Array) -> Array:
        """The other way."""
        parts = [free[: self.n_spread] / self.units]
        if self.correlation and self.blocks:
            parts.append(self.correlation.natural(free[self.n_spread :], self.blocks))
        return np.concatenate(parts)

    def width(self, free: Array) -> float:
        """Between which numbers the log sds of rows lie at free coordinates."""
        return float(np.ptp(self.spread.G @ (free[: self.n_spread] / self.units))) if len(self.spread.G) else 0.0

    def at(self, y: Array) -> Array:
        """δ and ρ (d + r,) at coordinates of samplers."""
        parts = [y[: self.n_spread] / self.units]
        if self.correlation and self.blocks:
            parts.append(self.correlation.at(y[self.n_spread :], self.blocks))
        return np.concatenate(parts)

    def coordinates(self, values: Array) -> Array:
        """The other way."""
        parts = [values[: self.n_spread] * self.units]
        if self.correlation and self.blocks:
            parts.append(self.correlation.coordinates(self.rho(values), self.blocks))
        return np.concatenate(parts)

    def starts(self) -> list[Array]:
        """Where searches begin, in free coordinates."""
        zero = np.zeros(self.n_spread)
        if not (self.correlation and self.blocks):
            return [zero]
        return [np.concatenate([zero, start]) for start in self.correlation.starts(self.blocks)]

    def rough_sds(self) -> Array:
        """About how well the data tell each coordinate of samplers (d + r,)."""
        parts = [np.full(self.n_spread, (2.0 * len(self.spread.G)) ** -0.5)]
        if self.correlation and self.blocks:
            count = self.correlation.count(self.blocks)
            parts.append(np.full(count, self.correlation.rough_sd(self.blocks)))
        return np.concatenate(parts)

    @property
    def units(self) -> Array:
        """Spread (d,) of the columns of the sds, in which free coordinates are counted."""
        return self.spread.units

    def taking(self, chosen: Any) -> Residuals:
        """That of some rows."""
        rows = np.arange(len(self.spread.G))[chosen]
        return replace(
            self,
            spread=replace(self.spread, G=self.spread.G[rows]),
            blocks=None if self.blocks is None else self.blocks.taking(rows),
            prior=None if self.prior is None else self.prior[rows],
        )
