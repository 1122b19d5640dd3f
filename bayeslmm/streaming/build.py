"""Formula + source of chunks → a `Design` without rows: two passes, of which levels and sums are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd

from ..design.coding import design_columns
from ..design.design import Design
from ..design.grouping import Grouping, check_levels, combined, joined
from ..design.newdata import Recipe
from ..design.parts import check_rows, merged, warn_of_aliases
from ..design.plan import make_plan
from ..engine import ridge
from ..engine.crossproducts import CrossProducts
from ..engine.scaling import Problem, scale
from ..engine.sums import Sums, transformed
from ..errors import DataError, NotAvailableError, WeaklyIdentifiedWarning
from ..formulas.expressions import Expression, Factor, as_numbers_or_factor, evaluate
from ..formulas.formula import Bar, Formula
from ..sources.source import Source, named_by
from ..terms.group import GroupTerm
from ..tools.arrays import Array
from ..tools.frame import check_size, frozen, plain
from ..tools.summed import Basis, GoneFrame, GoneRows, MetLevels, SummedColumns
from ..tools.warned import warn
from . import ranks
from .first_pass import Learned, Uniques
from .given import (
    Given,
    given_levels,
    named_column,
    refuse_changed,
    refuse_empty,
    refuse_options,
    refuse_wide,
    settle_memories,
    warn_of_dropped,
)
from .kept_rows import KeptRows
from .request import Request
from .second_pass import Blueprint, Coder, Summed, response_of, shared_columns
from .statistics import settle, wanted

AS_ROWS = 200_000  # rows that the sample stands for where the formula is laid out
NOTHING_WITHIN = 1e-12  # of a variance, that rounding leaves within levels
Report = Callable[[str, int], None]


def stream_design(
    given: Given, source: Source, *, report: Report = lambda what, rows: None, keep_rows: bool = False, **others: Any
) -> Design:
    """The design of a model whose rows come in chunks.

    Parameters
    ----------
    given : Given
    source : Source
    keep_rows : bool
        Whether the rows are kept on disk, for likelihoods that sums do not tell.
    report : callable
        Told what goes on, and how many more rows were read.
    **others
        Options of `build_design` that are not offered here, which are refused unless they are None.

    Raises
    ------
    NotAvailableError
        What cannot be summed chunk by chunk, by its name.
    DataError
        What a chunk holds that others do not; the message names it.
    """
    refuse_options(**others)
    _refuse_terms(given.formula)
    stamps = source.stamps()
    request, bars = _request(given, source)
    learned: Learned = source.reduce(partial(Learned, request), request.columns, partial(report, "Finding levels"))
    refuse_empty(learned.n, learned.missing)
    request = learned.request  # the very leaves that the sums are of
    settle(request.wanted, learned.statistics)
    blueprint, terms, groupings = lay_out(given.formula, learned, bars)
    if keep_rows:  # in this process
        make, what = partial(KeptRows, blueprint, given.family), "Keeping rows"
        summed: Summed = source.gathered(make, request.columns, partial(report, what))
    else:
        summed = source.reduce(partial(Summed, blueprint), request.columns, partial(report, "Summing rows"))
    _refuse_changes(learned, summed, stamps, source.stamps())
    warn_of_dropped(learned.n, learned.n_read, learned.missing)
    totals = Totals(basis=summed.moments.basis(blueprint), cross=summed.cross.finished())
    design = assemble(given, learned, (blueprint, terms, groupings), totals, source)
    if not isinstance(summed, KeptRows):
        return design
    return replace(design, sums=replace(cast(Sums, design.sums), rows=summed.rows(design)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Totals:
    """What both passes come to.

    Attributes
    ----------
    basis : Basis
        Of all columns.
    cross : CrossProducts
        Of those of the factors, of X and y − offset, in units; ``is_short`` without the aliased columns of X.
    """

    basis: Basis
    cross: CrossProducts
    is_short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passes:
    """What a design of data in chunks is made of, besides its cross-products.

    ``source``: where the rows can be read again; None of a file, and in other processes.
    """

    learned: Learned
    basis: Basis
    blueprint: Blueprint
    source: Source | None

    def __reduce__(self) -> Any:
        return (_without_source, (self.learned, self.basis, self.blueprint))


def _without_source(learned: Learned, basis: Basis, blueprint: Blueprint) -> Passes:
    return Passes(learned=learned, basis=basis, blueprint=blueprint, source=None)


def design_again(given: Given, source: Source, fill: Callable[[Request], Learned], totals: Totals) -> Design:
    """The design of what a file has kept of both passes.

    Parameters
    ----------
    given : Given
    source : Source
        Of the sample of rows.
    fill : callable
        What was learned, for the request.
    totals : Totals
    """
    _refuse_terms(given.formula)
    request, bars = _request(given, source)
    learned = fill(request)
    settle(request.wanted, learned.statistics)
    blueprint, terms, groupings = lay_out(given.formula, learned, bars)
    blueprint = replace(blueprint, shift=totals.basis.shift, unit=totals.basis.unit)
    return assemble(given, learned, (blueprint, terms, groupings), totals)


def _request(given: Given, source: Source) -> tuple[Request, dict[tuple[str, ...], list[Bar]]]:
    """What is read of every chunk, by the first one; and the bars of each factor."""
    columns = source.columns
    levels = given_levels(given.levels, columns)
    empty = pd.DataFrame(columns=pd.Index(columns))
    offset = named_column(given.offset, "offset", columns)
    plan = make_plan(given.formula, empty, given.scope, None, offset)
    weights = named_column(given.weights, "weights", columns)
    of_factor: dict[frozenset[str], list[Bar]] = {}
    for bar in given.formula.bars:
        of_factor.setdefault(frozenset(bar.group), []).append(bar)
    bars = {factor_bars[0].group: factor_bars for factor_bars in of_factor.values()}
    request = Request(plan=plan, weights=weights, levels=levels, groups=tuple(bars))
    every = [plan.response, *plan.expressions.values(), *plan.offsets]
    statistics = tuple(each for expression in every for each in wanted(expression))
    head = source.head(request.columns)
    with named_by(head.where):
        frame = request.rows(head.frame).frame
        factors = tuple(
            expression for expression in plan.expressions.values() if len(frame) and _is_factor(expression, frame)
        )
    return replace(request, factors=factors, wanted=statistics), bars


def _is_factor(expression: Expression, frame: pd.DataFrame) -> bool:
    """Whether a leaf becomes a factor; one that remembers something of all rows is taken for numbers."""
    if expression.memory is not None or wanted(expression):
        return False
    return isinstance(as_numbers_or_factor(evaluate(expression, frame), expression, frame.index), Factor)


def _refuse_terms(formula: Formula) -> None:
    """Raise NotAvailableError for models that need the rows."""
    if formula.likelihood_weights is not None:
        raise NotAvailableError(f"{formula.weights_text} of data that come in chunks is not offered.")
    if not formula.response_atom.is_name and formula.response.startswith("cens("):
        raise NotAvailableError("A censored response of data that come in chunks is not offered.")
    refuse_wide(formula)


def _refuse_changes(learned: Learned, summed: Summed, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise DataError if the second pass saw other rows than the first."""
    words = ""
    if (learned.n_read, learned.n) != (summed.n_read, summed.moments.n):
        words = f": {learned.n_read:,} rows ({learned.n:,} complete), then {summed.n_read:,} ({summed.moments.n:,})"
    for name, total in learned.totals.items():
        again = summed.totals.get(name, 0.0)
        if not words and abs(total - again) > 1e-9 * max(abs(total), abs(again)):  # rows in another order round so
            words = f": {name!r} adds up to {total:.15g}, then to {again:.15g}"
    refuse_changed(before, after, words)


# -- columns


def lay_out(
    formula: Formula, learned: Learned, bars: Mapping[tuple[str, ...], list[Bar]]
) -> tuple[Blueprint, list[GroupTerm], list[Grouping]]:
    """The columns of the model, laid out on the sample as on a whole table."""
    plan = learned.request.plan
    rows = learned.sampled()
    rows = rows.assign(**{str(name): plain(rows[name], str(name)) for name in rows})  # without categories of no row
    rows = rows.iloc[np.resize(np.arange(len(rows)), max(len(rows), min(learned.n, AS_ROWS)))]
    rows = rows.reset_index(drop=True)
    settle_memories(plan, rows)
    fixed, X = design_columns(formula.fixed_terms, plan.expressions, rows)
    check_rows(learned.n, 0)
    terms, groupings, coders, recipes = [], [], [], []
    names = joined(list(bars))
    for factor_bars, uniques, name in zip(bars.values(), learned.uniques, names, strict=True):
        grouping, coder = _grouping(name, uniques, learned)
        check_levels(grouping, learned.n)
        built = [design_columns(bar.terms, plan.expressions, rows) for bar in factor_bars]
        terms.append(merged(factor_bars, grouping, np.zeros(0, np.int64), built, rows))
        groupings.append(grouping)
        coders.append(coder)
        recipes.append(tuple(recipe for recipe, _ in built))
    y = response_of(plan.response, rows)
    shift, unit = _middles(X, [range(X.shape[1])], fixed.names)
    with_intercept = "Intercept" in fixed.names
    shift = np.concatenate([shift, [float(y.mean()) * with_intercept, float(y.mean()), 0.0]])
    unit = np.concatenate([unit, np.repeat(_sizes(y[:, None]), 2), [1.0]])
    places, width = shared_columns(fixed, recipes, [_centred(term) for term in terms])
    shift, unit = np.resize(shift, width), np.resize(unit, width)
    for term, place in zip(terms, places, strict=True):
        is_of_bar = place >= len(fixed.names)
        of_z = _middles(term.Z, term.blocks, term.columns)
        shift[place[is_of_bar]], unit[place[is_of_bar]] = of_z[0][is_of_bar], of_z[1][is_of_bar]
    blueprint = Blueprint(
        request=learned.request,
        kinds=learned.kinds,
        fixed=fixed,
        bars=tuple(recipes),
        coders=tuple(coders),
        offsets=plan.offsets,
        shift=shift,
        unit=unit,
        places=tuple(places),
    )
    return blueprint, terms, groupings


def _middles(A: Array, blocks: Sequence[Sequence[int]], names: Sequence[str]) -> tuple[Array, Array]:
    """What is taken off each column before it is summed, and its unit: about mean and sd beside an intercept."""
    shift, unit = np.zeros(A.shape[1]), np.ones(A.shape[1])
    for block in blocks:
        columns = [column for column in block if names[column] != "Intercept"]
        if len(columns) < len(block):
            shift[columns] = A[:, columns].mean(axis=0)
        unit[columns] = _sizes(A[:, columns] - shift[columns])
    return shift, unit


def _centred(term: GroupTerm) -> list[bool]:
    """Which columns of a factor stand beside an intercept of their block."""
    beside = {column for block in term.blocks if "Intercept" in [term.columns[c] for c in block] for column in block}
    return [c in beside and name != "Intercept" for c, name in enumerate(term.columns)]


def _sizes(A: Array) -> Array:
    size = np.sqrt(np.mean(A**2, axis=0))
    return np.where(size > 0.0, size, 1.0)


def _grouping(name: str, uniques: Uniques, learned: Learned) -> tuple[Grouping, Coder]:
    """The levels of a factor in order, as `factorize` has them, and what codes them."""
    table = uniques.table
    tables, indexes, codes = [], [], []
    for variable in uniques.names:
        values = pd.Index(np.sort(np.asarray(table[variable].unique())))
        kind = learned.kinds[variable]
        shown = [kind.categories[code] for code in values] if kind.letter == "c" else values.tolist()
        tables.append(tuple(getattr(value, "item", lambda value=value: value)() for value in shown))
        indexes.append(values)
        codes.append(values.get_indexer(pd.Index(table[variable])))
    keys = None
    if len(uniques.names) > 1:
        key = np.zeros(len(table), np.int64)
        for column, values in zip(codes, indexes, strict=True):
            key = key * len(values) + column
        keys = np.unique(key)
    levels = tables[0] if keys is None else tuple(combined(keys, tables))
    grouping = Grouping(
        name=name,
        variables=uniques.names,
        tables=tuple(tables),
        keys=frozen(np.arange(len(levels)) if keys is None else keys, np.int64),
        levels=levels,
    )
    return grouping, Coder(name, uniques.names, indexes, keys)


# -- the design


def assemble(
    given: Given,
    learned: Learned,
    laid_out: tuple[Blueprint, Sequence[GroupTerm], Sequence[Grouping]],
    totals: Totals,
    source: Source | None = None,
) -> Design:
    """The design, of what both passes have kept.

    Raises
    ------
    DataError
        Sums that do not fit the columns of the formula, of a file.
    """
    blueprint, terms, groupings = laid_out
    basis, formula, plan, n = totals.basis, given.formula, blueprint.request.plan, learned.n
    names, P = blueprint.fixed.names, len(blueprint.fixed.names)
    X = SummedColumns.of(basis, range(P))
    _check_ranges(basis, names, plan.response.label)
    kept = ranks.independent(X, names, has_intercept=formula.fixed_terms.intercept)
    kept.setflags(write=False)
    aliased = warn_of_aliases(names, kept, "The fixed part")
    check_rows(n, int(kept.sum()))
    cross = totals.cross
    if not totals.is_short:
        select = np.eye(P + 1)[:, [*np.flatnonzero(kept), P]]
        cross = transformed(cross, select, [np.eye(term.q) for term in terms])
    _check_shapes(cross, terms, int(kept.sum()) + 1)
    groups = _summed_groups(terms, cross, basis, blueprint)
    x_names = tuple(name for name, is_kept in zip(names, kept, strict=True) if is_kept)
    recipe = Recipe(
        fixed=blueprint.fixed,
        kept=kept,
        aliases=ranks.aliases(X, kept, names, intercept=formula.fixed_terms.intercept),
        bars=blueprint.bars,
        groupings=tuple(groupings),
        offsets=plan.offsets,
        offset_given_as_array=False,
    )
    places, sample = [*np.flatnonzero(kept), P], learned.sampled()
    sums = Sums(
        cross=cross,
        B_xy=_back(blueprint.shift[places], blueprint.unit[places], x_names),
        B_z=tuple(
            _back_of_blocks(blueprint.shift[place], blueprint.unit[place], term)
            for place, term in zip(blueprint.places, terms, strict=True)
        ),
        untold=None,
        sample=sample,
        passes=Passes(learned=learned, basis=basis, blueprint=blueprint, source=source),
    )
    design = Design(
        formula=formula,
        response=plan.response.label,
        family=given.family,
        y=SummedColumns.of(basis, [P + 1], flat=True),  # type: ignore[arg-type]
        trials=None,
        levels=(),
        X=SummedColumns.of(basis, np.flatnonzero(kept).tolist()),  # type: ignore[arg-type]
        x_names=x_names,
        aliased=aliased,
        groups=groups,
        weights=None if blueprint.request.weights is None else GoneRows(n),  # type: ignore[arg-type]
        weights_column=blueprint.request.weights,
        offset=SummedColumns.of(basis, [P + 2], flat=True),  # type: ignore[arg-type]
        index=GoneRows(n),
        n_dropped=learned.n_read - n,
        table=GoneFrame(n, {str(name): sample[name].dtype for name in sample}),
        recipe=recipe,
        scope=plan.scope,
        sums=sums,
    )
    if not groups:
        return design
    problem = Problem.of(design)
    if not given.family.adds_unknown_error:
        problem = replace(problem, sigma=1.0)
    untold = ridge.identification(problem, scale(problem), reml=True)
    return replace(design, sums=replace(sums, untold=untold))


def _check_shapes(cross: CrossProducts, terms: Sequence[GroupTerm], n_xy: int) -> None:
    """Raise DataError unless the cross-products are those of these factors and so many columns of [X y]."""
    for k, term in enumerate(terms):
        shapes = cross.ZtZ[k].shape, cross.ZtXy[k].shape
        expected = (term.n_levels, term.q, term.q), (term.n_levels, term.q, n_xy)
        if shapes != expected:
            raise DataError(f"the sums of {term.name} have the shapes {shapes}, and by the formula {expected}")
    if cross.XytXy.shape != (n_xy, n_xy):
        raise DataError(f"the sums of the fixed part have the shape {cross.XytXy.shape} for {n_xy} columns")


def _summed_groups(
    terms: Sequence[GroupTerm], cross: CrossProducts, basis: Basis, blueprint: Blueprint
) -> tuple[GroupTerm, ...]:
    """The terms with sums in the place of their rows."""
    groups = []
    for k, (term, place) in enumerate(zip(terms, blueprint.places, strict=True)):
        _warn_if_constant(term, cross.ZtZ[k])
        met = {other.name: len(cross.pairs[min(k, m), max(k, m)].keys) for m, other in enumerate(terms) if m != k}
        Z: Any = SummedColumns.of(basis, place.tolist())
        codes: Any = MetLevels(basis.n, met)
        groups.append(replace(term, codes=codes, Z=Z))
    return tuple(groups)


def _warn_if_constant(term: GroupTerm, ZtZ: Array) -> None:
    """As `warn_if_constant_within_levels`, by sums: ΣZ² of a level is (ΣZ)²/Σ1 then."""
    for block, text in zip(term.blocks, term.texts, strict=True):
        names = [term.columns[c] for c in block]
        if "Intercept" not in names:
            continue
        intercept_column = block[names.index("Intercept")]
        flat = []
        for column in block:
            within = (
                ZtZ[:, column, column]
                - ZtZ[:, intercept_column, column] ** 2 / ZtZ[:, intercept_column, intercept_column]
            ).sum()
            if column != intercept_column and within <= NOTHING_WITHIN * ZtZ[:, column, column].sum():
                flat.append(term.columns[column])
        if flat:
            warn(
                f"{text}: {', '.join(flat)} {'varies' if len(flat) == 1 else 'vary'} within none of the "
                f"{term.n_levels:,} levels of {term.name}, so that random slopes can hardly be told from the "
                f"intercept. Keep what is constant within a level in the fixed part and write (1 | {term.name}).",
                WeaklyIdentifiedWarning,
            )


def _back(shift: Array, unit: Array, names: Sequence[str]) -> Array:
    """B (q, q) with A = Â B for Â = (A − shift)/unit and the response behind the columns of X."""
    B = np.diag(unit)
    if "Intercept" in names:
        place = list(names).index("Intercept")
        B[place] += np.where(np.arange(len(shift)) == place, 0.0, shift)
    return B


def _back_of_blocks(shift: Array, unit: Array, term: GroupTerm) -> Array:
    B = np.diag(unit)
    for block in term.blocks:
        intercept_column = next((c for c in block if term.columns[c] == "Intercept"), None)
        if intercept_column is not None:
            for column in block:
                B[intercept_column, column] += 0.0 if column == intercept_column else shift[column]
    return B


def _check_ranges(basis: Basis, names: tuple[str, ...], response: str) -> None:
    """What a whole table is asked: sizes within doubles, and a response that is no constant."""
    P = len(names)
    low, high = basis.low, basis.high
    largest = np.maximum(np.abs(low), np.abs(high))[None, :]
    check_size(largest[:, :P], names)
    check_size(largest[:, P + 1 : P + 2], [response])
    n = basis.n
    if n > 1 and low[P + 1] == high[P + 1]:
        raise DataError(
            f"The response {response!r} is {low[P + 1]:g} in all {n:,} rows, so there is nothing to explain."
        )
    if n > 1 and low[P] == high[P]:
        raise DataError(
            f"The response {response!r} less its offset is {low[P]:g} in all {n:,} rows, so there is nothing to "
            "explain."
        )
