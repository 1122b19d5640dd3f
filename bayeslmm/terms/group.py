"""The ordinary random term: every row belongs to one level of a grouping factor, and levels are independent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..covariances import Structure
from ..covariances.template import Template
from ..tools.frame import frozen

RHO = "rho"  # a correlation that is one number for several pairs of columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupTerm:
    """One grouping factor with all its bars.

    Attributes
    ----------
    name, variables : str, tuple of str
        ``"school:class"`` and the columns it combines. Beside a column called ``f:g``, a factor itself, the name of
        ``(1 | f:g)`` stays and that of the column is told in backticks.
    codes : int64 array (n,)
        The level of each row.
    levels : tuple
        Labels in the order of the codes: values of the column, or ``"a:b"`` texts for combinations, in
        which a value that holds a colon stands in backticks where two would be the same.
    columns : tuple of str
        Names of the q columns of Z.
    Z : float64 array (n, q)
        What each row multiplies its level's effects with.
    blocks : tuple of tuple of int
        A partition of the columns: effects inside one block are correlated, blocks are independent.
    texts : tuple of str
        The bars as the user wrote them, one per block.
    structures : tuple of Structure
        How the effects of each block vary together; any way by default.
    lefts : tuple of str
        What stands on the left of each bar, which is the name of an sd that all its columns share.
    shear : float64 array (q, q) or None
        A, where the effects of this term are those at the means of their predictors (`bayeslmm.terms.means`).
    """

    is_wide: ClassVar[bool] = False  # whether a row meets many levels, or levels are related
    is_grouping: ClassVar[bool] = True  # whether users call its levels groups

    name: str
    variables: tuple[str, ...]
    codes: np.ndarray
    levels: tuple[Any, ...]
    columns: tuple[str, ...]
    Z: np.ndarray
    blocks: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] = ()
    structures: tuple[Structure, ...] = ()
    lefts: tuple[str, ...] = ()
    shear: np.ndarray | None = None

    @property
    def template(self) -> Template:
        """What the columns have of sds and correlations."""
        return Template.from_blocks(self.blocks, self.structures)

    @property
    def is_at_means(self) -> bool:
        """Whether effects are those at the means of their predictors."""
        return self.shear is not None

    @property
    def sd_terms(self) -> tuple[str, ...]:
        """What each sd is of, in the order of the template's: a column, or all columns of a bar."""
        template, shared = self.template, {}
        for block, structure, left in zip(self.blocks, template.structures, self.lefts, strict=False):
            if structure.hom and len(block) > 1:
                shared[block[0]] = left
        return tuple(shared.get(column, self.columns[column]) for column in template.sd_columns)

    def sd_label(self, column: int) -> str:
        """What the sd of a column is of: the column, or all columns of its bar."""
        return self.sd_terms[self.template.sd_of[column]]

    def correlation_label(self, a: int, b: int, between: str = ", ") -> str:
        """What a correlation is called: by its columns, or ``rho`` where it is one number for several pairs."""
        structured = [
            (block, left)
            for block, structure, left in zip(self.blocks, self.template.structures, self.lefts, strict=False)
            if structure.n_correlations(len(block)) and not structure.is_free
        ]
        for block, left in structured:
            if a in block and b in block:
                return RHO if len(structured) == 1 else f"{RHO}({left})"
        return f"{self.columns[a]}{between}{self.columns[b]}"

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.levels)

    @property
    def q(self) -> int:
        """Number of effects per level."""
        return len(self.columns)

    @property
    def correlated(self) -> tuple[tuple[int, int], ...]:
        """Pairs of columns (a, b), a before b in a block, whose correlation is a parameter."""
        return self.template.correlated

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What tells the rows of one term from those of another."""
        return (self.codes, self.Z)

    def taking(self, chosen: Any) -> GroupTerm:
        """The term on some of the rows; a level may be left without any."""
        return replace(self, codes=frozen(self.codes[chosen], self.codes.dtype), Z=frozen(self.Z[chosen]))

    def related(self, b: np.ndarray) -> np.ndarray:
        """Effects (..., J, q) from those of independent levels: the same."""
        return b

    def contribution(self, b: np.ndarray) -> np.ndarray:
        """What effects (..., J, q) add to the linear predictor of every row (..., n)."""
        eta = np.zeros((*b.shape[:-2], len(self.codes)))
        for k in range(self.q):
            eta += b[..., k][..., self.codes] * self.Z[:, k]
        return eta
