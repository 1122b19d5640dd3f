"""What both kinds of fit report, each as labels and one function of the parameters (docs/theory.md, section 9).

A point fit puts its estimates into the function, its bootstrap and a posterior their draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from ..tools.summed import SummedColumns
from . import variance
from .reference import reference_grid
from .summaries import P_POSITIVE
from .tables import set_apart
from .variance import AtRows, Parts, Values

NO_COMMON_VARIANCE = (
    "each category but the first has a linear predictor, and no residual variance is that of all. var_corr() has the "
    "variances of groups"
)
SIGNED = ("cor", "cov")  # of the quantities of a variance table those that may be negative


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantity:
    """k numbers that follow from the parameters of a model.

    Attributes
    ----------
    verb : str
        That tells them.
    name : str
        Of the dimension of the k numbers, and of the index if ``labels`` has no other column.
    labels : DataFrame
        k rows that say what each number is.
    of : callable
        Values (...) to numbers (..., k).
    """

    verb: str
    name: str
    labels: pd.DataFrame
    of: Callable[[Values], Array]

    def table(self, numbers: pd.DataFrame) -> pd.DataFrame:
        """The labels beside k rows of numbers."""
        joined = self.labels.join(numbers)
        if P_POSITIVE in joined and "quantity" in joined:
            signed = joined["quantity"].isin(SIGNED)
            joined.loc[~signed, P_POSITIVE] = np.nan
            joined = joined if signed.any() else joined.drop(columns=P_POSITIVE)
        return joined.set_index(self.name) if list(self.labels) == [self.name] else joined

    def draws(self, values: Array) -> Any:
        """Draws (chain, draw, k) as a DataArray with the labels as coordinates."""
        import xarray as xr

        only = list(self.labels) == [self.name]
        labels = self.labels if only else set_apart(self.labels, ("chain", "draw", self.name))
        coords = {str(label): (self.name, labels[label].to_numpy()) for label in labels}
        return xr.DataArray(values, dims=("chain", "draw", self.name), coords=coords, name=self.verb)


def _of_names(name: str, names: Sequence[str], of: Callable[[Values], Mapping[str, Array]]) -> Quantity:
    return Quantity(
        verb=name, name=name, labels=pd.DataFrame({name: list(names)}), of=lambda values: _stacked(of(values), names)
    )


def _stacked(arrays: Mapping[str, Array], names: Sequence[str]) -> Array:
    return np.stack([np.asarray(arrays[name]) for name in names], axis=-1)


def icc(design: Design, at: Mapping[str, Sequence[Any]] | str | None, by_group: bool) -> Quantity:
    """`variance.icc`, or ICC(x) at given covariate values."""

    def of(values: Values) -> dict[str, Array]:
        return variance.icc(design, Parts.of(design, values), by_group=by_group)

    design.refuse_nominal("icc()", NO_COMMON_VARIANCE)
    grouping = [group.name for group in design.groups if group.is_grouping]
    if not grouping:
        raise NotAvailableError(variance.NO_GROUPS)
    if at is None:
        return _of_names("icc", _names_of_icc(design, by_group), of)

    def of_rows(values: Values) -> Array:
        ratios = AtRows.of(design, values, at).icc(design, by_group=by_group)
        return np.concatenate([value for _, value in ratios], axis=-1)

    grid = set_apart(reference_grid(design, at)[0], ("icc", "row"))
    kinds = ["adjusted"]
    if by_group and len(grouping) > 1:
        kinds += [variance.told_as(name, variance.ICC) for name in grouping]
    labels = pd.concat([grid] * len(kinds), ignore_index=True)
    if len(kinds) > 1:
        labels.insert(0, "icc", np.repeat(kinds, len(grid)))
    return Quantity(verb="icc", name="row", labels=labels, of=of_rows)


def _names_of_icc(design: Design, by_group: bool) -> list[str]:
    names = list(variance.ICC)
    if by_group:
        names += [variance.told_as(group.name, variance.ICC) for group in design.groups if group.is_grouping]
        names += [variance.cumulative(name, above) for name, above in variance.nesting(design).items() if above]
    return names


def r2(design: Design) -> Quantity:
    """`variance.r2`."""
    design.refuse_nominal("r2()", NO_COMMON_VARIANCE)
    return _of_names("r2", ("marginal", "conditional"), lambda values: variance.r2(Parts.of(design, values)))


def within_correlation(
    design: Design, at: Mapping[str, Sequence[Any]] | str, group: str | None
) -> tuple[Quantity, pd.DataFrame]:
    """Correlations of two observations of one level of a factor at every pair of rows of a grid; and the grid."""
    design.refuse_nominal("within_correlation()", NO_COMMON_VARIANCE)
    name = _level_shared(design, group)
    grid, _ = reference_grid(design, at)
    n = len(grid)
    shown = set_apart(grid, ("pair",))
    labels = pd.concat(
        [
            shown.loc[np.repeat(np.arange(n), n)].reset_index(drop=True),
            shown.loc[np.tile(np.arange(n), n)].reset_index(drop=True).add_suffix("_other"),
        ],
        axis=1,
    )

    def of(values: Values) -> Array:
        correlations = AtRows.of(design, values, at).correlation(design, values, name)
        return correlations.reshape(*correlations.shape[:-2], n * n)

    return Quantity(verb="within_correlation", name="pair", labels=labels, of=of), grid


def _level_shared(design: Design, group: str | None) -> str:
    """The factor whose level two observations share: a grouping factor, or that of correlated residuals."""
    part = design.residual
    if part is not None and part.is_correlated and group in (None, part.group):
        if group is not None or not design.groups or part.group in (g.name for g in design.groups):
            return part.group
    if not design.groups:
        raise NotAvailableError("observations of one group are compared; this model has no random effects")
    return design.group(group).name


def components(design: Design, like: Values) -> Quantity:
    """`variance.components`; ``like`` tells which rows there are."""

    def rows(values: Values) -> list[tuple[str, str, str, Array]]:
        return variance.components(design, values, Parts.of(design, values))

    labels = pd.DataFrame([labels for *labels, _ in rows(like)], columns=["group", "term", "quantity"])
    if not len(labels):
        raise NotAvailableError("variance_components(): this model has no random effects and no residual variance")
    return Quantity(
        verb="variance_components",
        name="component",
        labels=labels,
        of=lambda values: np.stack([value for *_, value in rows(values)], axis=-1),
    )


def check_same_data(a: Design, b: Design, what: str, *, any_family: bool = False) -> None:
    """Whether two designs are of the same response on the same rows with the same weights.

    Parameters
    ----------
    a, b : Design
    what : str
        What asks for it: the beginning of the message.
    any_family : bool
        Whether the families may differ.

    Raises
    ------
    InputError
        They are not; the message says in what they differ.
    """
    if a.n != b.n:
        raise InputError(
            f"{what}: the fits use different rows, {a.n:,} for {a.formula.text!r} and {b.n:,} for "
            f"{b.formula.text!r}. Fit both to the rows that are complete for both (dropna on all columns)."
        )
    if a.response != b.response:
        raise InputError(f"{what}: the fits have different responses, {a.response!r} and {b.response!r}")
    if not any_family and replace(a.family, fixed=()) != replace(b.family, fixed=()):
        raise InputError(f"{what}: the fits have different families, {a.family} and {b.family}")
    if not (_equal(a.y, b.y) and _equal(a.trials, b.trials) and _equal(a.bounds, b.bounds)):
        raise InputError(
            f"{what}: the fits have different responses: {a.response!r} holds other values, or in other rows"
        )
    if not (_equal(a.prior_weights, b.prior_weights) and _equal(a.likelihood_weights, b.likelihood_weights)):
        raise InputError(f"{what}: the fits have different weights")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, SummedColumns):  # of rows that went by
        return isinstance(b, SummedColumns) and a.is_like(b)
    return a is b or (a is not None and b is not None and np.array_equal(a, b))
