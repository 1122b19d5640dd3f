"""The one map between θ, the templates Λ, and (standard deviations, correlations).

A grouping factor with q columns has a q × q lower-triangular template Λ, relative to the residual sd:
Cov(b_j) = σ² Λ Λᵀ.  Each block of its columns has a structure, which says on which numbers Λ hangs there.  Where any
triangle, or diagonal, is one of the structure these are its free entries, column by column (Bates et al. 2015, eq. 4);
else they are the sds relative to σ and the correlation parameters, block after block.  These are the factor's part of
θ.  Entries that join columns of different blocks are structural zeros: ``(x || g)`` has a diagonal template.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..tools.arrays import Array
from . import UNSTRUCTURED
from .structure import Structure

SOUND = 1e-3  # sd that is left of a column, of which rounding in its square is 1e-10
NEXT_TO_END = 1e-8  # of the interval of a correlation: nearer to its ends derivatives are those here


@dataclass(frozen=True, kw_only=True)
class Template:
    """What the columns of a grouping factor have of sds and correlations, and how Λ hangs on θ.

    Attributes
    ----------
    q : int
        Number of columns.
    blocks : tuple of tuple of int
        A partition of the columns: effects of different blocks are independent.
    structures : tuple of Structure
        One a block.
    rows, columns : tuple of int
        The free entries of Λ, which θ starts with.
    """

    q: int
    blocks: tuple[tuple[int, ...], ...]
    structures: tuple[Structure, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @classmethod
    def from_blocks(cls, blocks: Sequence[Sequence[int]], structures: Sequence[Structure] = ()) -> Template:
        """Template of a factor whose columns are correlated inside blocks only; these are unstructured by default."""
        return _from_blocks(tuple(map(tuple, blocks)), tuple(structures))

    # -- what there is

    @cached_property
    def curved(self) -> tuple[tuple[tuple[int, ...], Structure, int], ...]:
        """(columns, structure, first place in θ) of the blocks in which Λ is no linear function of θ."""
        curved_blocks, offset = [], len(self.rows)
        for block, structure in zip(self.blocks, self.structures, strict=True):
            d = len(block)
            if structure.free_entries(d) is None:
                curved_blocks.append((block, structure, offset))
                offset += structure.n_sds(d) + structure.n_correlations(d)
        return tuple(curved_blocks)

    @property
    def is_linear(self) -> bool:
        """Whether Λ is a linear function of θ."""
        return not self.curved

    @cached_property
    def n_theta(self) -> int:
        """Number of parameters."""
        if self.is_linear:
            return len(self.rows)
        block, structure, offset = self.curved[-1]
        return offset + structure.n_sds(len(block)) + structure.n_correlations(len(block))

    @cached_property
    def is_diagonal(self) -> NDArray[np.bool_]:
        """(n_theta,): which parameters lie on the diagonal of Λ or are sds, and are bounded below by zero."""
        on_diagonal = np.zeros(self.n_theta, dtype=bool)
        on_diagonal[: len(self.rows)] = [row == column for row, column in zip(self.rows, self.columns, strict=True)]
        for block, structure, offset in self.curved:
            on_diagonal[offset : offset + structure.n_sds(len(block))] = True
        return on_diagonal

    @cached_property
    def sd_of(self) -> tuple[int, ...]:
        """For each column the number of its sd among the factor's: blocks with one sd for all columns share one."""
        positions, n_before = [0] * self.q, 0
        for block, structure in zip(self.blocks, self.structures, strict=True):
            for i, column in enumerate(block):
                positions[column] = n_before + (0 if structure.hom else i)
            n_before += structure.n_sds(len(block))
        return tuple(positions)

    @cached_property
    def sd_columns(self) -> tuple[int, ...]:
        """The first column of each sd."""
        return tuple(self.sd_of.index(number) for number in range(max(self.sd_of) + 1))

    @cached_property
    def correlated(self) -> tuple[tuple[int, int], ...]:
        """Pairs of columns (a, b), a before b in a block, whose correlation is a parameter."""
        return tuple(
            (block[a], block[b])
            for block, structure in zip(self.blocks, self.structures, strict=True)
            for a, b in structure.pairs(len(block))
        )

    def parts(self) -> Iterator[tuple[tuple[int, ...], Structure]]:
        """(columns, structure) of every block that may be written as blocks of its own."""
        for block, structure in zip(self.blocks, self.structures, strict=True):
            if structure.free_entries(len(block)) is not None and not structure.n_correlations(len(block)):
                yield from (((column,), structure) for column in block)
            else:
                yield block, structure

    def spread_out(self, sds: Array, cor: Array) -> tuple[Array, Array]:
        """Sds (..., q) and correlations (..., q, q) of all columns, from those that are parameters."""
        sds, cor = sds[..., [self.sd_columns[place] for place in self.sd_of]], cor.copy()
        for block, structure in zip(self.blocks, self.structures, strict=True):
            if structure.n_correlations(len(block)) and not structure.is_free:
                numbers = [cor[..., block[a], block[b]] for a, b in structure.pairs(len(block))]
                cor[(..., *np.ix_(block, block))] = structure.correlation(numbers, len(block))
        return sds, cor

    # -- between θ and Λ

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`rows` and `columns` as NumPy asks for places."""
        return np.array(self.rows, dtype=np.int64), np.array(self.columns, dtype=np.int64)

    def factor(self, theta: Array) -> Array:
        """Λ (q, q) from this factor's part of θ."""
        lam = np.zeros((self.q, self.q))
        lam[self._places] = theta[: len(self.rows)]
        for block, structure, offset in self.curved:
            lam[np.ix_(block, block)] = structure.template(theta[offset:], len(block))
        return lam

    def theta(self, lam: Array) -> Array:
        """This factor's part of θ from Λ."""
        theta = np.empty(self.n_theta)
        theta[: len(self.rows)] = lam[self._places]
        for block, structure, offset in self.curved:
            factor = lam[np.ix_(block, block)]
            numbers = structure.parameters(factor @ factor.T)
            theta[offset : offset + len(numbers)] = numbers
        return theta

    def gradient(self, theta: Array, by_lam: Array) -> Array:
        """Derivatives by θ from those by Λ (q, q)."""
        by_theta = np.empty(self.n_theta)
        by_theta[: len(self.rows)] = by_lam[list(self.rows), list(self.columns)]
        for block, structure, offset in self.curved:
            J = structure.jacobian(theta[offset:], len(block))
            by_theta[offset : offset + len(J)] = np.einsum("irc,rc->i", J, by_lam[np.ix_(block, block)])
        return by_theta

    # -- a search without bounds: sds of either sign, and the coordinates of correlations

    def unbounded(self, theta: Array) -> Array:
        """θ with the coordinates of correlations in their place, infinite at the ends of their intervals."""
        x = np.array(theta, dtype=float)
        for block, structure, offset in self.curved:
            d = len(block)
            place = self._correlations(structure, d, offset)
            x[place] = structure.coordinates(theta[offset:], d)
        return x

    def bounded(self, x: Array) -> Array:
        """θ of what `unbounded` gives: sds are no negative numbers."""
        theta = np.array(x, dtype=float)
        for block, structure, offset in self.curved:
            d = len(block)
            sds, place = slice(offset, offset + structure.n_sds(d)), self._correlations(structure, d, offset)
            low, high = structure.interval(d)
            theta[sds] = np.abs(x[sds])
            theta[place] = low + 0.5 * (high - low) * (1.0 + np.tanh(x[place]))
        return theta

    def unbounded_factor(self, x: Array) -> Array:
        """Λ (q, q) from what `unbounded` gives."""
        lam = np.zeros((self.q, self.q))
        lam[self._places] = x[: len(self.rows)]
        for block, structure, offset in self.curved:
            d = len(block)
            sds, place = np.abs(x[offset : offset + structure.n_sds(d)]), self._correlations(structure, d, offset)
            lam[np.ix_(block, block)] = sds[:, None] * structure.factors(x[place][None], d)[0]
        return lam

    def unbounded_gradient(self, x: Array, by_lam: Array) -> Array:
        """Derivatives by what `unbounded` gives from those by Λ (q, q)."""
        by_x = np.empty(self.n_theta)
        by_x[: len(self.rows)] = by_lam[self._places]
        for block, structure, offset in self.curved:
            d = len(block)
            n, place = structure.n_sds(d), self._correlations(structure, d, offset)
            sds, by_block = x[offset : offset + n], by_lam[np.ix_(block, block)]
            by_sds = np.sum(structure.factors(x[place][None], d)[0] * by_block, axis=1)
            by_x[offset : offset + n] = np.where(sds < 0.0, -1.0, 1.0) * (by_sds.sum() if structure.hom else by_sds)
            if structure.n_correlations(d):
                by_x[place] = np.einsum("nrc,rc->n", structure.slopes(x[place], d), np.abs(sds)[:, None] * by_block)
        return by_x

    @staticmethod
    def _correlations(structure: Structure, d: int, offset: int) -> slice:
        """Where in θ the correlations of a curved block of d columns stand."""
        first = offset + structure.n_sds(d)
        return slice(first, first + structure.n_correlations(d))

    @cached_property
    def is_correlation(self) -> NDArray[np.bool_]:
        """(n_theta,): which parameters are correlations, of a block in which Λ is no linear function of θ."""
        are = np.zeros(self.n_theta, dtype=bool)
        for block, structure, offset in self.curved:
            are[self._correlations(structure, len(block), offset)] = True
        return are

    @cached_property
    def corners(self) -> tuple[tuple[int, slice], ...]:
        """Sds of curved blocks that have one a column, each with where the correlations of its block stand in θ.

        Without one of these effects the others may be correlated as they cannot be beside it: a likelihood of few
        levels then has an optimum of its own.
        """
        return tuple(
            (sd, self._correlations(structure, len(block), offset))
            for block, structure, offset in self.curved
            if structure.n_correlations(len(block)) and not structure.hom
            for sd in range(offset, offset + structure.n_sds(len(block)))
        )

    def at_boundary(self, x: Array) -> NDArray[np.bool_]:
        """(n_theta,): which of what `unbounded` gives say nothing, or stand at an end.

        Zero sds and entries on the diagonal, what is to the left of these, and correlations of ±1 or of no two effects.
        """
        lam, out = self.unbounded_factor(x), np.zeros(self.n_theta, dtype=bool)
        gone = np.diag(lam) == 0.0
        empty = ~lam.any(axis=1)  # a variance of zero: nothing of its row is free
        rows, columns = self._places
        out[: len(rows)] = (gone[rows] & (rows == columns)) | empty[rows] | ~lam.any(axis=0)[columns]
        for block, structure, offset in self.curved:
            d = len(block)
            n, place = structure.n_sds(d), self._correlations(structure, d, offset)
            sds = x[offset : offset + n]
            out[offset : offset + n] = sds == 0.0
            some = (d if structure.hom else 1) * np.count_nonzero(sds)
            out[place] = np.isinf(x[place]) | (some < 2)
        return out

    def slopes(self, theta: Array) -> list[list[tuple[int, int, float]]]:
        """Entries (row, column, value) of ∂Λ/∂θ_i for every parameter."""
        entries = [[(row, column, 1.0)] for row, column in zip(self.rows, self.columns, strict=True)]
        for block, structure, offset in self.curved:
            for slope in structure.jacobian(theta[offset:], len(block)):
                rows, columns = np.nonzero(slope)
                entries.append(
                    [
                        (block[row], block[column], float(slope[row, column]))
                        for row, column in zip(rows, columns, strict=True)
                    ]
                )
        return entries

    def jacobian(self, theta: Array) -> Array:
        """∂Λ/∂θ (n_theta, q, q)."""
        J = np.zeros((self.n_theta, self.q, self.q))
        J[np.arange(len(self.rows)), list(self.rows), list(self.columns)] = 1.0
        for block, structure, offset in self.curved:
            part = structure.jacobian(theta[offset:], len(block))
            J[(slice(offset, offset + len(part)), *np.ix_(block, block))] = part
        return J

    def curvature(self, theta: Array, by_lam: Array) -> Array:
        """Σ_rc ∂f/∂Λ_rc ∂²Λ_rc/∂θ² (n_theta, n_theta): what curved blocks add to a second derivative."""
        H = np.zeros((self.n_theta, self.n_theta))
        for block, structure, offset in self.curved:
            n = structure.n_sds(len(block)) + structure.n_correlations(len(block))
            span = slice(offset, offset + n)
            H[span, span] = structure.curvature(theta[offset : offset + n], by_lam[np.ix_(block, block)])
        return H

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest values (n_theta,) for a search: none for free entries, whose columns may change sign."""
        low, high = np.full(self.n_theta, -np.inf), np.full(self.n_theta, np.inf)
        for block, structure, offset in self.curved:
            d = len(block)
            sds, n = structure.n_sds(d), structure.n_correlations(d)
            low[offset : offset + sds] = 0.0
            first, last = structure.interval(d)
            margin = NEXT_TO_END * (last - first)
            low[offset + sds : offset + sds + n], high[offset + sds : offset + sds + n] = first + margin, last - margin
        return low, high

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """The same without a margin, so that a search may be told to end on them."""
        low, high = (values.copy() for values in self.bounds)
        for block, structure, offset in self.curved:
            d = len(block)
            correlations = slice(offset + structure.n_sds(d), offset + structure.n_sds(d) + structure.n_correlations(d))
            low[correlations], high[correlations] = structure.interval(d)
        return low, high

    def signs(self, lam: Array) -> Array:
        """Factors ±1 (n_theta,) that make the diagonal of Λ positive, with the same ΛΛᵀ."""
        of_column = np.where(np.diag(lam) < 0.0, -1.0, 1.0)
        signs = np.ones(self.n_theta)
        signs[: len(self.rows)] = of_column[list(self.columns)]
        return signs

    def tangents(self, sizes: Array) -> list[Array]:
        """Changes (q, q) of the covariance matrix that each parameter makes at a point.

        Parameters
        ----------
        sizes : (q,)
            Of the columns: the point has sds that are alike in units of these.
        """
        changes = []
        for block, structure in zip(self.blocks, self.structures, strict=True):
            for change in structure.tangents(1.0 / sizes[list(block)]):
                enlarged = np.zeros((self.q, self.q))
                enlarged[np.ix_(block, block)] = change
                changes.append(enlarged)
        return changes


@lru_cache(maxsize=256)  # every fit asks for the same ones several times
def _from_blocks(blocks: tuple[tuple[int, ...], ...], structures: tuple[Structure, ...]) -> Template:
    ordered = tuple(tuple(sorted(block)) for block in blocks)
    return _template_of(ordered, structures or (UNSTRUCTURED,) * len(ordered))


@lru_cache(maxsize=256)
def _template_of(blocks: tuple[tuple[int, ...], ...], structures: tuple[Structure, ...]) -> Template:
    entries = sorted(
        (block[c], block[r])
        for block, structure in zip(blocks, structures, strict=True)
        for r, c in structure.free_entries(len(block)) or ()
    )
    return Template(
        q=sum(len(block) for block in blocks),
        blocks=blocks,
        structures=structures,
        rows=tuple(r for _, r in entries),
        columns=tuple(c for c, _ in entries),
    )


def cholesky_psd(cov: Array, blocks: Sequence[Sequence[int]]) -> Array:
    """Lower-triangular L ≥ 0 on the diagonal with L Lᵀ = cov, block by block; cov may be singular.

    By the eigenvectors of the correlation matrix and a QR factorisation of the square root they give, which is stable
    where the pivots of Cholesky's algorithm are rounding error; where none is small, by that.
    """
    lam = np.zeros_like(cov)
    for block in blocks:
        if len(block) == 1:
            (k,) = block
            lam[k, k] = math.sqrt(max(cov[k, k], 0.0))
            continue
        if len(block) == 2 and _fill_two(cov, block[0], block[1], lam):
            continue
        index = np.ix_(block, block)
        sd, correlation = sd_and_correlation(cov[index])
        triangle = _cholesky(correlation)
        if triangle is not None:
            lam[index] = sd[:, None] * triangle
            continue
        values, vectors = np.linalg.eigh(correlation)
        root = sd[:, None] * vectors * np.sqrt(np.where(values > 1e-14 * len(sd), values, 0.0))
        triangle = np.linalg.qr(root.T, mode="r").T
        lam[index] = triangle * np.where(np.diag(triangle) < 0.0, -1.0, 1.0)
    return lam


def _fill_two(cov: Array, a: int, b: int, lam: Array) -> bool:
    """Two columns without matrices; False, and nothing done, if a pivot has lost digits."""
    variance, other = float(cov[a, a]), float(cov[b, b])
    if not (variance > 0.0 and other > 0.0):
        return False
    first, second = math.sqrt(variance), math.sqrt(other)
    correlation = float(cov[b, a]) / (first * second)
    left = 1.0 - correlation * correlation
    if not left > SOUND * SOUND:
        return False
    lam[a, a], lam[b, a], lam[b, b] = first, second * correlation, second * math.sqrt(left)
    return True


def _cholesky(cor: Array) -> Array | None:
    """The Cholesky factor of a correlation matrix, or None if a pivot has lost digits."""
    try:
        triangle = np.linalg.cholesky(cor)
    except np.linalg.LinAlgError:
        return None
    return triangle if triangle.diagonal().min() > SOUND else None


def sd_and_correlation(cov: Array) -> tuple[Array, Array]:
    """Standard deviations (..., q) and correlations (..., q, q) of covariance matrices (..., q, q).

    A correlation with a zero sd is undefined; it is given as zero so that nothing downstream becomes NaN.
    """
    sd = np.sqrt(np.maximum(np.diagonal(cov, axis1=-2, axis2=-1), 0.0))
    scale = sd[..., :, None] * sd[..., None, :]
    correlation = np.divide(cov, scale, out=np.zeros_like(cov), where=scale > 0)
    index = np.arange(cov.shape[-1])
    correlation[..., index, index] = 1.0
    return sd, np.clip(correlation, -1.0, 1.0)


def covariance(sd: Array, cor: Array) -> Array:
    """Covariance matrices (..., q, q) from sds (..., q) and correlations (..., q, q)."""
    return sd[..., :, None] * cor * sd[..., None, :]


def corners(templates: Sequence[Template]) -> Iterator[tuple[int, slice]]:
    """`Template.corners` of several, in the θ of all of them."""
    start = 0
    for template in templates:
        for sd, correlations in template.corners:
            yield start + sd, slice(start + correlations.start, start + correlations.stop)
        start += template.n_theta
