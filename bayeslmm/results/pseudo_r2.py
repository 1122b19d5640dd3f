"""By how much a model's variances are smaller than those of a baseline (Raudenbush & Bryk 2002, eq. 4.20)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from ..design.design import Design
from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from . import variance
from .alike import agreed, rivals_of
from .draws import Draws
from .estimates import Estimates
from .quantities import check_same_data
from .summaries import P_POSITIVE, flat
from .variance import Parts, Values

NEGATIVE = "negative: the variance is larger than the baseline's, as when predictors uncover differences of groups"
RESCALED = "latent scale: its unit changes with every predictor, so variances of two models are not comparable"
NOTHING = "undefined: the baseline's variance is zero"


def of_point(record: Estimates, baseline: Estimates) -> pd.DataFrame:
    """The table behind :meth:`PointFit.pseudo_r2`: what all estimates of the baseline that are as good say alike."""
    if not isinstance(baseline, Estimates):
        raise InputError("pseudo_r2(baseline): a REML or ML fit is compared with another one, not with a posterior")
    tables = [
        _reductions(record.design, record.values, rival.design, rival.values, lambda draws: draws)
        for rival in (baseline, *rivals_of(baseline))
    ]
    return reduce(agreed, tables)


def of_posterior(record: Draws, baseline: Draws, ci_prob: float | None, ci_kind: str | None) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.pseudo_r2`."""
    if not isinstance(baseline, Draws):
        raise InputError("pseudo_r2(baseline): a posterior is compared with another posterior, from model.fit()")
    return _reductions(
        record.design,
        record.values,
        baseline.design,
        baseline.values,
        lambda draws: record.summarise(draws, ci_prob, ci_kind, signs=True),
    )


def _reductions(
    design: Design, values: Values, baseline: Design, before: Values, summarise: Callable[[Array], Any]
) -> pd.DataFrame:
    """(baseline − model) / baseline of every variance that both models have, one row each, with remarks.

    ``summarise`` turns draws (draw, k) into a table of k rows; where there is one value each it is not called.
    """
    check_same_data(design, baseline, "pseudo_r2 compares models of the same data")
    pairs = variance.reductions(
        design, values, Parts.of(design, values), (baseline, before, Parts.of(baseline, before))
    )
    if not pairs:
        raise NotAvailableError(
            f"{design.formula.text!r} and {baseline.formula.text!r} have no variance in common to compare"
        )
    old, new = (np.stack([np.asarray(flat(pair[i])) for pair in pairs.values()], axis=-1) for i in (0, 1))
    draws = min(len(old), len(new)) if old.ndim > 1 else 0
    if draws:  # fits of one seed have draws made of the same random numbers; shuffled, they are independent
        old, new = np.random.default_rng(0).permutation(old)[:draws], new[:draws]
    reduction = np.divide(old - new, old, out=np.full(old.shape, np.nan), where=old > 0.0)
    if draws:
        table = pd.DataFrame({"baseline": np.median(old, axis=0), "model": np.median(new, axis=0)})
        summary = summarise(reduction)
        table = table.assign(pseudo_r2=summary["median"], sd=summary["sd"], conf_low=summary["conf_low"])
        table = table.assign(**{column: summary[column] for column in ("conf_high", P_POSITIVE)})
    else:
        table = pd.DataFrame({"baseline": old, "model": new, "pseudo_r2": reduction})
    table["note"] = [NOTHING if np.isnan(value) else NEGATIVE if value < 0.0 else "" for value in table["pseudo_r2"]]
    if not design.family.has_residual:
        table["note"] = [RESCALED + (f"; {note}" if note else "") for note in table["note"]]
    return table.set_index(pd.Index(pairs, name="variance"))
