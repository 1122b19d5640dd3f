"""The order of groups, and how sure it is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import InputError
from .draws import Draws
from .summaries import flat, interval


def rank_groups(
    fit: Draws, group: str | None, *, term: str, top: int, highest: bool, ci_prob: float, ci_kind: str
) -> pd.DataFrame:
    """The table behind :meth:`PosteriorFit.rank_groups`."""
    g = fit.design.group(group)
    if term not in g.columns:
        raise InputError(f"rank_groups(term={term!r}): the random effects of {g.name} are {', '.join(g.columns)}")
    is_whole = isinstance(top, int | np.integer) and not isinstance(top, bool)
    if not is_whole or top < 1:
        raise InputError(f"rank_groups(top={top!r}): a number of places, from 1 to {g.n_levels}")
    places = min(int(top), max(g.n_levels - 1, 1))
    effects = flat(fit.draws(fit.design.names.b[g.name]))[..., g.columns.index(term)]
    order = np.argsort(-effects if highest else effects, axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, g.n_levels + 1)[None, :], axis=1)
    low, high = interval(ranks.astype(np.float64), ci_prob, ci_kind)
    table = pd.DataFrame(
        {
            "mean": effects.mean(axis=0),
            "p_top": (ranks <= places).mean(axis=0),
            "expected_rank": ranks.mean(axis=0),
            "rank_low": np.floor(low).astype(int),  # places are whole: the interval that holds the quantiles
            "rank_high": np.ceil(high).astype(int),
        },
        index=pd.Index(list(g.levels), name=g.name),
    )
    return table.sort_values("expected_rank", kind="stable")
