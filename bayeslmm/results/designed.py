"""Formula and table → design, whether the table is in memory or comes in chunks."""

from __future__ import annotations

from typing import Any

from ..design.build import build_design
from ..design.design import Design
from ..design.fixing import in_words
from ..engine.sums import rows_of
from ..errors import InputError, NotAvailableError
from ..families import GAUSSIAN, Family
from ..formulas.binding import Scope
from ..formulas.formula import Formula
from ..sources import source_of
from .estimates import Origin
from .progress import Reading


def designed(
    formula: Formula, origin: Origin, scope: Scope, family: Family, matrices: Any, *, progressbar: bool = True
) -> Design:
    """The design of a table in memory, or of one that comes in chunks."""
    source = source_of(origin.data)
    if source is None:
        if origin.levels is not None:
            raise InputError("levels=: of a table in memory say it there, by pandas.Categorical(column, categories)")
        return build_design(
            formula,
            origin.data,
            weights=origin.weights,
            offset=origin.offset,
            se=origin.se,
            namespace=scope.names,
            trust=scope.trusted,
            contrasts=scope.codings.given,
            family=family,
            matrices=matrices,
            sigma=origin.sigma,
            residual=origin.residual,
            predictors=origin.predictors,
            fixed=origin.fixed,
        )
    from ..streaming.build import stream_design
    from ..streaming.cells import NotCounted, counted_design
    from ..streaming.given import Given
    from ..streaming.kept_rows import why_not_kept

    given = Given(
        formula=formula, family=family, scope=scope, weights=origin.weights, offset=origin.offset, levels=origin.levels
    )
    refused = {"se": origin.se, "matrices": matrices or None, "residual": origin.residual}
    if family != GAUSSIAN:
        predictors = {**({} if origin.sigma is None else {"sigma": origin.sigma}), **origin.predictors}
        with Reading(source.n_rows, show=progressbar) as reading:
            try:
                return counted_design(
                    given, source, report=reading.add, predictors=predictors, fixed=origin.fixed, **refused
                )
            except NotCounted as too_many:
                why_not = why_not_kept(given, predictors=bool(predictors), fixed=bool(origin.fixed))
                if why_not:
                    raise NotAvailableError(f"{too_many} Point fits by rows on disk: {why_not}.") from None
            design = stream_design(given, source, report=reading.add, keep_rows=True, **refused)
        rows = rows_of(design)
        assert rows is not None
        rows.is_shown = progressbar
        return design
    if origin.fixed:
        raise NotAvailableError(
            f"priors= with {in_words(origin.fixed)}: parameters are fixed in tables in memory. Read a sample of rows "
            "into memory for it."
        )
    refused |= {"sigma": origin.sigma, **origin.predictors}
    with Reading(source.n_rows, show=progressbar) as reading:
        return stream_design(given, source, report=reading.add, **refused)
