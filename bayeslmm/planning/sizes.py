"""A design with other numbers of groups, rows and values of a predictor, and values that are assumed to be true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..design.identification import refuse_untold_residual
from ..errors import InputError, NotAvailableError, UnidentifiedTermError
from ..results.reference import is_number, predictors
from ..results.variance import nesting
from ..terms.group import GroupTerm
from ..tools.frame import frozen

Codes = NDArray[np.int64]

GROUPS, ROWS = "groups", "rows"
BETA, SD, PARAMETER = "beta", "sd", "parameter"
ASSUMED = (BETA, SD, PARAMETER)  # axes along which the truth differs, and not the design
MOST_ROWS = 2_000_000  # of one simulated study
FEW = 12  # distinct values by which groups are dealt out evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What one entry of ``vary`` asks for.

    Attributes
    ----------
    name : str
        As the user has it, and as it stands in tables.
    of : {"groups", "rows", "values", "beta", "sd", "parameter"}
    variable : str
        A grouping factor, a predictor, a fixed effect or a parameter of the family; empty for rows.
    sizes : tuple of int or of float
        How many; of what is assumed the values.
    """

    name: str
    of: str
    variable: str
    sizes: tuple[float, ...]

    @property
    def label(self) -> str:
        """What is counted, or assumed, in words."""
        words = {GROUPS: self.variable, ROWS: "rows a group", BETA: f"effect of {self.variable}"}
        words |= {SD: f"sd of {self.variable}", PARAMETER: self.variable}
        return words.get(self.of, f"values of {self.variable}")

    def words(self, size: float) -> str:
        """One of the sizes in words."""
        return f"{self.label} {size:g}" if self.of in ASSUMED else f"{size} {self.label}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Rows of a design, each a copy of one of its rows, with levels and predictors of their own.

    Attributes
    ----------
    source : int64 array (n,)
        The row that each is a copy of.
    codes : tuple of int64 arrays (n,)
        The level of each row, of every grouping factor.
    changed : mapping
        Predictors with other values than those of the source.
    """

    source: Codes
    codes: tuple[Codes, ...]
    changed: Mapping[str, NDArray[Any]]

    def taking(self, rows: Any) -> Layout:
        """Some of the rows, or some of them several times."""
        return Layout(
            source=self.source[rows],
            codes=tuple(code[rows] for code in self.codes),
            changed={name: values[rows] for name, values in self.changed.items()},
        )


def axes(design: Design, vary: Any) -> list[Axis]:
    """The entries of ``vary``, checked.

    Raises
    ------
    InputError
        What is neither a grouping factor, a number nor an assumed value of the model, or sizes that are impossible.
    """
    if not isinstance(vary, Mapping) or not vary:
        names = [*(group.name for group in design.groups), *_numbers(design), ROWS]
        raise InputError(
            f"plan(vary={vary!r}): sizes by name, such as {{{names[0]!r}: [10, 20, 40]}}; names here are "
            f"{', '.join(map(repr, names))}"
        )
    asked_axes = [axis for name, sizes in vary.items() for axis in _axes(design, name, sizes)]
    repeated = [axis.name for k, axis in enumerate(asked_axes) if (axis.of, axis.variable) in _asked(asked_axes[:k])]
    if repeated:
        raise InputError(f"plan(vary=...): {repeated[0]!r} is asked for twice")
    return asked_axes


def _asked(of: Sequence[Axis]) -> list[tuple[str, str]]:
    return [(axis.of, axis.variable) for axis in of]


def _axes(design: Design, name: Any, sizes: Any) -> list[Axis]:
    """The axes of one entry: several of ``beta`` and ``sd``, whose values are by name."""
    if name in [*(group.name for group in design.groups), *_numbers(design)]:
        return [_axis(design, name, sizes)]
    if name in (BETA, SD):
        names = design.x_names if name == BETA else [g.name for g in design.groups if len(g.sd_terms) == 1]
        what = "fixed effect" if name == BETA else "factor with one sd"
        example = f"{{{name!r}: {{{(*names, 'x')[min(1, len(names) - 1)]!r}: [1, 2]}}}}"
        if not isinstance(sizes, Mapping) or not sizes:
            raise InputError(f"plan(vary={{{name!r}: {sizes!r}}}): values by {what}, such as {example}")
        unknown = [each for each in sizes if each not in names]
        if unknown:
            raise InputError(
                f"plan(vary={{{name!r}: ...}}): {unknown[0]!r} is no {what}; there are "
                f"{', '.join(map(repr, names)) or 'none'}"
            )
        return [
            Axis(name=f"{name}[{each}]", of=name, variable=each, sizes=_values(f"{name}[{each}]", values, name == SD))
            for each, values in sizes.items()
        ]
    if name in design.family.parameters and design.numbers_of_parameters.get(name, 0) is None:
        return [Axis(name=str(name), of=PARAMETER, variable=str(name), sizes=_values(str(name), sizes, False))]
    return [_axis(design, name, sizes)]


def _values(name: str, values: Any, is_sd: bool) -> tuple[float, ...]:
    """Assumed values of one number."""
    listed = [values] if np.ndim(values) == 0 else list(values)
    are_numbers = all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value)
        for value in listed
    )
    if not listed or not are_numbers or (is_sd and min(listed) < 0.0):
        raise InputError(f"plan(vary=...): {name} is {values!r}; finite numbers{' of at least 0' * is_sd} are needed")
    if len(set(map(float, listed))) < len(listed):
        raise InputError(f"plan(vary=...): {name} is {values!r}; a value stands there twice")
    return tuple(float(value) for value in listed)


def _axis(design: Design, name: Any, sizes: Any) -> Axis:
    factors = [group.name for group in design.groups]
    numbers = _numbers(design)
    least = 2
    if name == ROWS and ROWS not in (*factors, *numbers):
        _refuse_crossed(design)
        kind, variable, least = ROWS, "", 1
    elif name == GROUPS and GROUPS not in (*factors, *numbers):
        kind, variable = GROUPS, _outermost(design)
    elif name in factors:
        kind, variable = GROUPS, name
    elif name in numbers:
        kind, variable = "values", name
    else:
        raise InputError(
            f"plan(vary={{{name!r}: ...}}): sizes are of a grouping factor, of the values of a number, or of "
            f"{ROWS!r} a group; assumed values of {BETA!r} and {SD!r} by name, or of a parameter of the family; names "
            f"here are {', '.join(map(repr, [*factors, *numbers, ROWS, BETA, SD, *design.family.parameters]))}"
        )
    return Axis(name=str(name), of=kind, variable=variable, sizes=_sizes(name, sizes, least))


def _numbers(design: Design) -> list[str]:
    """Predictors whose number of values may vary."""
    levels = {name for group in design.groups for name in group.variables}
    return [
        predictor
        for predictor in predictors(design, groups=False)
        if is_number(design.frame[predictor]) and predictor not in levels
    ]


def _sizes(name: Any, sizes: Any, least: int) -> tuple[int, ...]:
    values = [sizes] if np.ndim(sizes) == 0 else list(sizes)
    whole = [isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values]
    if not values or not all(whole) or any(not least <= value <= MOST_ROWS for value in values):
        raise InputError(f"plan(vary={{{name!r}: {sizes!r}}}): whole numbers from {least} to {MOST_ROWS:,} are needed")
    if len(set(values)) < len(values):
        raise InputError(f"plan(vary={{{name!r}: {sizes!r}}}): a size stands there twice")
    return tuple(int(value) for value in values)


def _outermost(design: Design) -> str:
    within = nesting(design)
    outer = [name for name, coarser in within.items() if not coarser]
    if not outer:
        raise InputError(
            "plan(vary={'groups': ...}): the model has no grouping factor; 'rows' is how many rows there are"
        )
    if len(outer) != 1:
        listed = ", ".join(map(repr, outer))
        raise InputError(f"plan(vary={{'groups': ...}}): the factors that lie in no other are {listed}; name one")
    return outer[0]


def _refuse_crossed(design: Design) -> None:
    if any(len(coarser) != k for k, coarser in enumerate(sorted(nesting(design).values(), key=len))):
        raise InputError(
            f"plan(vary={{'rows': ...}}): {' and '.join(group.name for group in design.groups)} are crossed, and a row "
            "belongs to one level of each; vary the number of their levels"
        )


def sizes_of(asked: Sequence[Axis]) -> list[dict[str, float]]:
    """All combinations of sizes, the last running fastest."""
    return [
        dict(zip((axis.name for axis in asked), sizes, strict=True))
        for sizes in product(*(axis.sizes for axis in asked))
    ]


def resized(design: Design, asked: Sequence[Axis], size: Mapping[str, float]) -> Design:
    """The design with these sizes: values of predictors are changed first, then groups, then rows of a group.

    Further groups are copies of those that are there, in turn; fewer are dealt out so that factors that tell groups
    apart keep their shares. Further values of a number go on in equal steps.

    Raises
    ------
    InputError
        Too many rows, steps that are not equal, or a design of which the data could not tell all parameters.
    """
    layout = Layout(source=np.arange(design.n), codes=tuple(group.codes for group in design.groups), changed={})
    for kind in ("values", GROUPS, ROWS):
        for axis in asked:
            if axis.of == kind:
                layout = _RESIZE[kind](design, layout, axis, int(size[axis.name]))
    counts = {axis.name: size[axis.name] for axis in asked if axis.of not in ASSUMED}
    return _built(design, layout, ", ".join(f"{name}={count}" for name, count in counts.items()) or "its own rows")


def _with_values(design: Design, layout: Layout, axis: Axis, count: int) -> Layout:
    """One row for each of so many values in every combination of levels and other predictors."""
    others = [name for name in predictors(design, groups=False) if name != axis.variable]
    labels = pd.DataFrame({k: codes for k, codes in enumerate(layout.codes)}, index=range(len(layout.source)))
    for name in others:
        labels[f"of {name}"] = pd.factorize(_column(design, layout, name))[0]
    first = np.flatnonzero(~labels.duplicated()) if len(labels.columns) else np.array([0])
    values = _continued(np.unique(_column(design, layout, axis.variable).to_numpy()), count, axis.variable)
    _check_size(len(first) * count)
    taken = layout.taking(np.repeat(first, count))
    return replace(taken, changed={**taken.changed, axis.variable: np.tile(values, len(first))})


def _continued(values: NDArray[Any], count: int, name: str) -> NDArray[Any]:
    if count <= len(values):
        return values[:count]
    steps = np.diff(values.astype(float))
    if len(values) < 2 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise InputError(
            f"plan(vary={{{name!r}: ...}}): the {len(values)} values of {name} are not in equal steps, so there is no "
            f"saying what {count} values are. Give the model a table with more of them."
        )
    return values[0] + (values[1] - values[0]) * np.arange(count)


def _with_groups(design: Design, layout: Layout, axis: Axis, count: int) -> Layout:
    place = [g.name for g in design.groups].index(axis.variable)
    codes = layout.codes[place]
    order = _dealt(design, layout, codes)
    rows_of = [np.flatnonzero(codes == level) for level in order]
    chosen = [rows_of[k % len(rows_of)] for k in range(count)]
    _check_size(sum(map(len, chosen)))
    level = np.repeat(np.arange(count), list(map(len, chosen)))
    rows = np.concatenate(chosen)
    taken = layout.taking(rows)
    inside = {fine for fine, coarser in nesting(design).items() if axis.variable in coarser}
    new = list(taken.codes)
    for k, group in enumerate(design.groups):
        if k == place:
            new[k] = level
        elif group.name in inside:  # the levels of a copy are its own
            new[k] = _packed(level * (int(taken.codes[k].max(initial=0)) + 1) + taken.codes[k])
        else:
            new[k] = _packed(taken.codes[k])
    return replace(taken, codes=tuple(new))


def _packed(codes: Codes) -> Codes:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64).reshape(-1)


def _dealt(design: Design, layout: Layout, codes: Codes) -> Codes:
    """The levels in an order of which every beginning holds the kinds of levels in about their shares.

    A kind is what predictors with few values say that are the same in all rows of each level, such as a treatment.
    """
    labels = pd.DataFrame({"level": codes})
    for name in predictors(design, groups=False):
        numbers = pd.factorize(_column(design, layout, name))[0]
        if numbers.max(initial=0) < FEW and len(np.unique(codes * FEW + numbers)) == codes.max() + 1:
            labels[f"of {name}"] = numbers
    levels = labels.drop_duplicates().sort_values("level", kind="stable").set_index("level")
    return _evenly(levels)


def _evenly(kinds: pd.DataFrame) -> Codes:
    if not len(kinds.columns):
        return np.arange(len(kinds))
    kind = kinds.groupby(list(kinds.columns), sort=False).ngroup().to_numpy()
    sizes = np.bincount(kind)
    rank = pd.Series(kind).groupby(kind).cumcount().to_numpy()
    return np.argsort((rank + 0.5) / sizes[kind], kind="stable")


def _with_rows(design: Design, layout: Layout, axis: Axis, count: int) -> Layout:
    """So many rows of each finest group, its own in turn."""
    finest = max(layout.codes, key=lambda codes: int(codes.max(initial=0)), default=np.zeros(design.n, np.int64))
    levels = int(finest.max(initial=0)) + 1
    _check_size(levels * count)
    factors = [
        predictor for predictor in predictors(design, groups=False) if not is_number(_column(design, layout, predictor))
    ]
    chosen = []
    for level in range(levels):
        rows = np.flatnonzero(finest == level)
        kinds = pd.DataFrame({name: pd.factorize(_column(design, layout, name).iloc[rows])[0] for name in factors})
        rows = rows[_evenly(kinds)] if factors else rows
        chosen.append(rows[np.arange(count) % len(rows)])
    return layout.taking(np.concatenate(chosen))


_RESIZE = {"values": _with_values, GROUPS: _with_groups, ROWS: _with_rows}


def _column(design: Design, layout: Layout, name: str) -> pd.Series:
    if name in layout.changed:
        return pd.Series(layout.changed[name])
    return design.frame[name].iloc[layout.source]


def _check_size(rows: int) -> None:
    if rows > MOST_ROWS:
        raise InputError(f"plan: a study of {rows:,} rows is more than {MOST_ROWS:,}")


def _built(design: Design, layout: Layout, words: str) -> Design:
    source, n = layout.source, len(layout.source)
    frame = design.frame.iloc[source].reset_index(drop=True)
    X, offset = design.X[source], design.offset[source]
    columns = [group.Z[source] for group in design.groups]
    if layout.changed:
        if design.recipe.offset_given_as_array:
            raise NotAvailableError("plan: an offset that was given as values has none for other rows; name a column")
        frame = frame.assign(**layout.changed)
        new = design.at(frame)
        X, offset, columns = new.X, new.offset, [group.Z for group in new.groups]
    if n <= design.p or np.linalg.matrix_rank(X) < design.p:
        raise InputError(
            f"plan: with {words} the {n:,} rows do not tell {design.p} fixed effects ({', '.join(design.x_names)})"
        )
    groups = tuple(
        _group(group, codes, Z) for group, codes, Z in zip(design.groups, layout.codes, columns, strict=True)
    )
    small = [group.name for group in groups if group.n_levels < 2]
    if small:
        raise InputError(f"plan: with {words} there is one level of {small[0]}, which has no variance")
    resized_design = replace(
        design,
        y=frozen(design.y[source]),
        trials=None if design.trials is None else frozen(design.trials[source]),
        weights=None if design.weights is None else frozen(design.weights[source]),
        X=frozen(np.array(X)),
        offset=frozen(np.array(offset)),
        groups=groups,
        index=frame.index,
        table=frame,
    )
    try:
        refuse_untold_residual(resized_design)
    except UnidentifiedTermError as error:
        raise UnidentifiedTermError(f"plan: with {words}: {error}") from None
    return resized_design


def _group(group: GroupTerm, codes: Codes, Z: Any) -> GroupTerm:
    count = int(codes.max(initial=-1)) + 1
    levels = tuple(range(1, count + 1))  # who they are plays no part
    return replace(group, codes=frozen(codes, np.int64), Z=frozen(np.array(Z)), levels=levels)
