"""Columns that X lacks since they depend on others, and what the fit says nothing about for that reason.

A combination of coefficients is estimable if and only if it lies in the row space of the whole matrix of the fixed
part (Searle 1971, section 5.4): if its aliased columns are the same combinations of the kept ones as in the rows of
the fit. Predictions that are do not depend on which of the columns were dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tools.frame import frozen

DEPENDENT = 1e-6  # of what a row moves a column: the kept ones leave 1e-7 of an aliased one (`ALIAS_TOLERANCE`)
NEGLIGIBLE = 1e-9  # of the spread of an aliased column: a kept one brings nothing to it
ROUNDING = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aliases:
    """The aliased columns of a fixed part as combinations of the p kept ones, about their means.

    Attributes
    ----------
    columns : int64 array (a,)
        Their places in the whole matrix.
    names : tuple of str
    weights : float64 array (p, a)
        What they are made of.
    centre, aliased_centre, spread : float64 arrays (p,), (a,), (a,)
        Means, zero without intercept, and root mean squares about them.
    """

    columns: np.ndarray
    names: tuple[str, ...]
    weights: np.ndarray
    centre: np.ndarray
    aliased_centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(
        cls, X: np.ndarray, kept: np.ndarray, independent: np.ndarray, names: tuple[str, ...], *, intercept: bool
    ) -> Aliases:
        """From the whole matrix (n, P), the columns in use, and which do not depend on earlier ones."""
        if independent.all():
            p, none = int(np.count_nonzero(kept)), frozen(np.zeros(0))
            return cls(
                columns=np.zeros(0, np.int64),
                names=(),
                weights=frozen(np.zeros((p, 0))),
                centre=frozen(np.zeros(p)),
                aliased_centre=none,
                spread=none,
            )
        columns = np.flatnonzero(~independent)
        A, B = X[:, kept], X[:, columns]
        shift = 1.0 if intercept and len(columns) else 0.0
        centre, aliased_centre = shift * A.mean(axis=0), shift * B.mean(axis=0)
        spread = np.sqrt(np.mean((B - aliased_centre) ** 2, axis=0))
        weights = np.zeros((A.shape[1], len(columns)))
        if len(columns):
            centred = A - centre
            size = np.sqrt(np.mean(centred**2, axis=0))
            size[size <= ROUNDING * np.abs(centre)] = np.inf  # the intercept itself
            parts = np.linalg.lstsq(centred / size, B - aliased_centre, rcond=None)[0]
            weights = np.where(np.abs(parts) > NEGLIGIBLE * spread, parts, 0.0) / size[:, None]
        return cls(
            columns=columns,
            names=tuple(names[column] for column in columns),
            weights=frozen(weights),
            centre=frozen(centre),
            aliased_centre=frozen(aliased_centre),
            spread=frozen(spread),
        )

    def estimable(
        self, X: np.ndarray, aliased: np.ndarray, *, weight: float = 1.0, size: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Which combinations of rows (G, p) and (G, a) the fit says something about (G,).

        Parameters
        ----------
        weight : float
            The sum of the weights of the rows: 1 for rows and means, 0 for contrasts.
        size : float64 array (G, a)
            How large the numbers were that a contrast is the difference of (`sizes`): what rounding is told by.
        """
        along, centred = X - weight * self.centre, aliased - weight * self.aliased_centre
        beyond = np.abs(centred - along @ self.weights)
        moved = np.abs(centred) + np.abs(along) @ np.abs(self.weights)
        least = DEPENDENT * (moved + weight * self.spread) + ROUNDING * (size + self.sizes(X, aliased))
        return ~np.any(beyond > least, axis=1)  # a missing predictor is another reason

    def sizes(self, X: np.ndarray, aliased: np.ndarray) -> np.ndarray:
        """Sizes (G, a) of the numbers that are compared."""
        return np.abs(aliased) + np.abs(X) @ np.abs(self.weights)

    def words(self, count: int, of: int, what: str = "row") -> str:
        """Why so many numbers are missing."""
        single = len(self.names) == 1
        names = ", ".join(self.names[:4]) + ", …" * (len(self.names) > 4)
        return (
            f"{count:,} of {of:,} {what}{'s' * (of != 1)} not estimable, and missing in the result: in the data "
            f"{names} depend{'s' * single} linearly on the other columns of the fixed part, and here not. "
            "Ask for combinations that occur in the data, or leave terms out of the formula."
        )
