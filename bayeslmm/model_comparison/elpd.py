"""Posteriors ranked by how well they predict what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..results.elpd import ROW, LeftOut, ranked
from ..results.posterior import PosteriorFit
from ..results.quantities import check_same_data
from ..results.reading import Shown
from ..results.text import Text, number, table
from .names import names_of, spread


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PredictiveComparison(Shown):
    """Models ranked by expected log predictive density.

    Attributes
    ----------
    table : pandas.DataFrame
        As ``arviz_stats.compare`` gives it: rank, elpd, p, elpd_diff and its standard error, weight, ...
    unit : str
        What was left out: ``"observation"`` or a grouping factor.
    title : str
        The first lines of the print, which say what was left out and how.
    """

    table: pd.DataFrame
    unit: str
    title: str

    def text(self) -> Text:
        """Title, table and how to read it."""
        rows = [
            [
                str(name),
                number(r["elpd"], r["se"]),
                number(r["se"], r["se"]),
                f"{r['p']:.1f}",
                number(r["elpd_diff"], r["dse"] or r["se"]) if r["rank"] else "",
                number(r["dse"], r["dse"]) if r["rank"] else "",
                f"{r['weight']:.2f}",
            ]
            for name, r in self.table.iterrows()
        ]
        headers = ["", "elpd", "SE", "p", "elpd - best", "SE of that", "weight"]
        legend = (
            "elpd: expected log predictive density, higher is better. p: effective number of parameters. A difference "
            "of a few of its standard errors, and of more than 4, tells models apart. weight: share in the best "
            "mixture of their predictions (stacking)."
        )
        return Text.of(self.title, table(headers, rows), legend)


def compare(
    *models: Any,
    unit: str | None = None,
    names: Sequence[str] | None = None,
    conditional: bool = False,
    refit: bool | None = None,
) -> PredictiveComparison:
    """Rank models of the same data by how well they predict a unit that was left out, by ArviZ.

    Parameters
    ----------
    *models : PosteriorFit, or what their ``loo`` or `bayeslmm.kfold` gave
        Two or more, of the same response on the same rows; results of `kfold` with the same folds. One
        list of them, or a dict by name, will do as well.
    unit : str, optional
        ``"observation"``: a new row of a known group, which posteriors are compared by unless said. A grouping factor:
        a whole new group, for which another model may be the best. Results of ``loo`` and ``kfold`` have their own.
    names : sequence of str, optional
        Names of the models; by default m0, m1, ...
    conditional, refit : bool, optional
        As in :meth:`PosteriorFit.loo`.

    Raises
    ------
    InputError
        Fewer than two models, something else than these, other rows or responses, other units or folds.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> sleep = blm.load_dataset("sleepstudy")
    >>> models = [blm.Model(f"Reaction ~ Days + ({effects} | Subject)", sleep) for effects in ("1", "Days")]
    >>> fits = [model.fit(random_seed=1, progressbar=False) for model in models]
    >>> blm.compare(*fits, names=["intercepts", "slopes"]).table.index[0]
    'slopes'
    """
    models, names = spread(models, names, "compare")  # type: ignore[assignment]
    if len(models) < 2:
        raise InputError("compare(post_a, post_b, ...): two posteriors or more are needed")
    for model in models:
        if not isinstance(model, PosteriorFit | LeftOut):
            raise InputError(
                f"compare ranks posteriors from model.fit(), or their loo() or kfold results, not "
                f"{type(model).__name__}; blm.anova compares REML and ML fits"
            )
        check_same_data(models[0].design, model.design, "compare: predictions of different data", any_family=True)
    labels = names_of(names, [f"m{i}" for i in range(len(models))], "compare")
    units = [model.unit for model in models if isinstance(model, LeftOut)]
    chosen_unit = unit or (units[0] if units else ROW)
    left_out = {
        name: model if isinstance(model, LeftOut) else model.loo(chosen_unit, conditional=conditional, refit=refit)
        for name, model in zip(labels, models, strict=True)
    }
    _check_alike(left_out, unit)
    first = left_out[labels[0]]
    lines = [f"{name}: {model.design.formula.text}" for name, model in left_out.items()]
    return PredictiveComparison(
        table=ranked(left_out),
        unit=chosen_unit,
        title="\n".join(["Models by how well they predict", f"{first.how}: {first.what}", *lines]),
    )


def _check_alike(left_out: Mapping[str, LeftOut], unit: str | None) -> None:
    """Whether all leave out the same, in the same way."""
    (first, one), *others = left_out.items()
    if unit is not None and one.unit != unit:
        raise InputError(f"compare(unit={unit!r}): {first} is of another unit, {one.unit!r}")
    for name, other in others:
        if (other.unit, other.how) != (one.unit, one.how):
            raise InputError(
                f"compare: predictions of different units, or made in different ways. {first} by {one.how} of one "
                f"{one.unit}, {name} by {other.how} of one {other.unit}"
            )
        if one.folds is not None and not np.array_equal(one.folds, other.folds):
            raise InputError(
                f"compare: {first} and {name} have different folds, so that they have seen different rows. Take those "
                "of one for the other: kfold(post, folds=other.folds)"
            )
