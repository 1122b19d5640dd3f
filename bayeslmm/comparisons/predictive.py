"""Posteriors ranked by how well they predict what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..errors import InputError
from ..results.loo import ranked
from ..results.posterior import PosteriorFit
from ..results.quantities import check_same_data
from ..results.text import Shown, Text, number, table
from .names import names_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PredictiveComparison(Shown):
    """Models ranked by expected log predictive density.

    Attributes
    ----------
    table : pandas.DataFrame
        As ``arviz_stats.compare`` gives it: rank, elpd, p, elpd_diff and its standard error, weight, ...
    unit : str
        What was left out: ``"observation"`` or a grouping factor.
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
        told = (
            "elpd: expected log predictive density, higher is better. p: effective number of parameters. A difference "
            "of a few of its standard errors, and of more than 4, tells models apart. weight: share in the best "
            "mixture of their predictions (stacking)."
        )
        return Text.of(self.title, table(headers, rows), told)


def compare(
    *posteriors: PosteriorFit,
    unit: str = "observation",
    names: Sequence[str] | None = None,
    refit: bool | None = None,
) -> PredictiveComparison:
    """Rank posteriors of the same data by how well they predict a unit that was left out, by ArviZ.

    Parameters
    ----------
    *posteriors : PosteriorFit
        Two or more fits of the same response on the same rows.
    unit : str
        ``"observation"``: a new row of a known group. A grouping factor: a whole new group, for which
        another model may be the best.
    names : sequence of str, optional
        Names of the models; by default m0, m1, ...
    refit : bool, optional
        As in :meth:`PosteriorFit.loo`.

    Raises
    ------
    InputError
        Fewer than two fits, something else than a posterior, other rows or responses, a unit that they do not share.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> sleep = blm.load_dataset("sleepstudy")
    >>> fits = [blm.Model(f"Reaction ~ Days + ({b} | Subject)", sleep).fit(random_seed=1) for b in ("1", "Days")]
    >>> blm.compare(*fits, names=["intercepts", "slopes"]).table.index[0]
    'slopes'
    """
    if len(posteriors) < 2:
        raise InputError("compare(post_a, post_b, ...): two posteriors or more are needed")
    for fit in posteriors:
        if not isinstance(fit, PosteriorFit):
            raise InputError(
                f"compare ranks posteriors from model.fit(), not {type(fit).__name__}; blm.anova compares REML and ML "
                "fits"
            )
        check_same_data(
            posteriors[0].design, fit.design, "compare: predictions of different data", any_family=True
        )
    heads = names_of(names, [f"m{i}" for i in range(len(posteriors))], "compare")
    found = {name: fit.loo(unit, refit=refit) for name, fit in zip(heads, posteriors, strict=True)}
    lines = [f"{name}: {fit.design.formula.text}" for name, fit in zip(heads, posteriors, strict=True)]
    what = "one observation of a known group" if unit == "observation" else f"one {unit} with all its rows"
    return PredictiveComparison(
        table=ranked(found),
        unit=unit,
        title="\n".join([f"Models by how well they predict {what}, left out", *lines]),
    )
