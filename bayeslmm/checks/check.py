"""One call that says whether a fit can be trusted, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from ..engine.randomness import generator
from ..errors import InputError, NotAvailableError
from ..predictive.levels import levels_by
from ..predictive.statistics import Split
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.progress import Bar
from ..results.reading import ResultTable, Shown
from ..results.text import Text
from . import draws as checks_draws
from . import fits as checks_fit
from . import groups as checks_groups
from . import influence as checks_influence
from . import rows as checks_rows
from .verdict import LEVELS, LIMITS, Verdict, html_verdicts, no_answer

HEADINGS = {"no": "NO", "look": "LOOK", "ok": "FINE"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Check(Shown):
    """Verdicts on a fit; true if none of them says no.

    Attributes
    ----------
    title : str
    verdicts : tuple of Verdict
        In the order of the questions: computation, structure, residuals, groups, prediction.
    """

    title: str
    verdicts: tuple[Verdict, ...]

    def __getitem__(self, name: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        raise InputError(f"check[{name!r}]: checks are {', '.join(repr(v.name) for v in self.verdicts)}")

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __bool__(self) -> bool:
        return self.passed

    @property
    def passed(self) -> bool:
        """Whether no verdict says no."""
        return not any(verdict.level == "no" for verdict in self.verdicts)

    @property
    def table(self) -> pd.DataFrame:
        """One row a verdict: level, words, remedy; the index is its name."""
        rows = [(verdict.name, verdict.level, verdict.words, verdict.remedy) for verdict in self.verdicts]
        return ResultTable(rows, columns=["check", "level", "words", "remedy"]).set_index("check")

    @property
    def limits(self) -> pd.DataFrame:
        """From where on a check says look, and from where on no: one row a quantity, with the source."""
        rows = [(limit.what, limit.look, limit.no, limit.source) for limit in LIMITS.values()]
        return ResultTable(rows, columns=["quantity", "look", "no", "source"], index=pd.Index(LIMITS, name="limit"))

    def text(self) -> Text:
        """The verdicts, worst first, with what to do."""
        blocks = []
        for level, heading in HEADINGS.items():
            sentences = [verdict.sentence for verdict in self.verdicts if verdict.level == level]
            if sentences:
                blocks.append("\n".join([heading, *sentences]))
        reasons: dict[str, list[str]] = {}
        for verdict in self.verdicts:
            if verdict.level == "none":
                reasons.setdefault(verdict.words, []).append(verdict.name)
        lines = [f"{', '.join(names)}: {why}." for why, names in reasons.items()]
        return Text.of(_title(self), *blocks, "\n".join(["DOES NOT APPLY", *lines]) if lines else None)

    def _repr_html_(self) -> str:
        title = escape(_title(self)).replace("\n", "<br>")
        silent = ", ".join(verdict.name for verdict in self.verdicts if verdict.level == "none")
        remark = f"<p style='opacity:0.7'>Does not apply here: {escape(silent)}.</p>" if silent else ""
        judged = sorted(
            (verdict for verdict in self.verdicts if verdict.level in HEADINGS), key=lambda v: LEVELS.index(v.level)
        )
        return f"<p>{title}</p>{html_verdicts(judged)}{remark}"


OF_CATEGORIES = "it is not looked at where categories have linear predictors"
NOT_OF_CATEGORIES = (
    "identification",
    "boundary",
    "collinearity",
    "residual variance",
    "linearity",
    "random effects",
    "level means",
    "influence",
)


def _title(check: Check) -> str:
    """What was checked, and how many verdicts are how bad."""
    counts = {level: sum(verdict.level == level for verdict in check.verdicts) for level in HEADINGS}
    return f"{check.title}\n{counts['no']} no, {counts['look']} to look at, {counts['ok']} fine."


def check(fit: PointFit | PosteriorFit, *, by: Any = None, random_seed: int = 1, progressbar: bool = True) -> Check:
    """Whether a fit can be trusted: sampler, priors, prediction, residuals, random effects, influence, in words.

    Every check compares the fit with what the model itself would show, and calls for attention only if the difference
    is beyond chance and large enough to matter (`Check.limits` lists from where on, with sources).

    Parameters
    ----------
    fit : PointFit or PosteriorFit
    by : str, Series or array, optional
        Rows that may belong together although the model has no effect for them: a column, or one value a row.
    random_seed : int
        Residuals are drawn, and so is what they are compared with; same seed, same verdicts.
    progressbar : bool
        Whether to show which check is made when they take more than a second.

    Returns
    -------
    Check

    Raises
    ------
    InputError
        Not a fit; ``by`` is no column.

    Notes
    -----
    Residuals are drawn with β and b from their distribution given the data, so that they are independent and standard
    normal if the model is right (Waagepetersen 2006, Scandinavian Journal of Statistics 33; Johnson 2007, Bayesian
    Analysis 2); for other families than the normal they are quantile residuals (Dunn & Smyth 1996).

    Examples
    --------
    >>> import bayeslmm as blm
    >>> sleep = blm.load_dataset("sleepstudy")
    >>> line = blm.Model("Reaction ~ Days", sleep).fit_reml()
    >>> blm.check(line, by=sleep["Subject"])["independence"].level
    'no'
    """
    if not isinstance(fit, PointFit | PosteriorFit):
        raise InputError(f"check(fit): a REML or ML fit or a posterior, not {type(fit).__name__}")
    design = fit.design
    drawn = _drawn(fit, _splits(fit, by), generator(random_seed))
    questions: dict[str, Callable[[], Verdict]] = {
        "optimiser": lambda: checks_fit.optimiser(fit),
        "integration": lambda: checks_fit.integration(fit, random_seed),
        "sampler": lambda: checks_fit.sampler(fit),
        "prior sensitivity": lambda: checks_fit.priors(fit),
        "identification": lambda: checks_groups.identified(fit),
        "boundary": lambda: checks_groups.boundary(fit),
        "levels": lambda: checks_groups.levels(design),
        "collinearity": lambda: checks_fit.collinearity(fit),
        "residual distribution": lambda: checks_rows.distribution(drawn()),
        "residual variance": lambda: checks_rows.spread(drawn()),
        "independence": lambda: checks_rows.independence(drawn()),
        "linearity": lambda: checks_rows.linearity(drawn()),
        "random effects": lambda: checks_groups.random_effects(drawn()),
        "level means": lambda: checks_groups.level_means(drawn()),
        "influence": lambda: checks_influence.influence(fit),
        "prediction": lambda: checks_fit.prediction(fit, random_seed),
    }
    if design.of_categories:
        questions |= {name: partial(no_answer, name, OF_CATEGORIES) for name in NOT_OF_CATEGORIES}
    verdicts = []
    with Bar("Checking", len(questions), show=progressbar) as bar:
        for name, question in questions.items():
            bar.say(f"Checking: {name}")
            verdicts.append(_answer(name, question))
            bar.advance(1)
    method = "posterior" if isinstance(fit, PosteriorFit) else "REML fit" if fit.solution.reml else "ML fit"
    family = "" if design.family.has_reml else f", family {design.family}"
    return Check(title=f"Check of the {method} of {design.described}{family}", verdicts=tuple(verdicts))


def _splits(fit: PointFit | PosteriorFit, by: Any) -> tuple[Split, ...]:
    """Rows by every factor of the model, and by what the user named."""
    ordinary = {name: group for name, group in fit.design.factors.items() if not group.is_wide}
    of_factors = [Split.of(name, group.codes, group.levels) for name, group in ordinary.items()]
    part = fit.design.residual
    if (
        part is not None
        and part.structure.blocks is not None
        and part.group not in {factor.name for factor in of_factors}
    ):
        row_blocks = part.structure.blocks
        of_factors.append(Split.of(part.group, row_blocks.codes(), range(len(row_blocks.sizes))))
    if by is None:
        return tuple(of_factors)
    named = levels_by(fit, by).split(np.ones(fit.nobs, dtype=bool))
    return (*(factor for factor in of_factors if factor.name != named.name), named)


def _drawn(
    fit: PointFit | PosteriorFit, splits: tuple[Split, ...], rng: np.random.Generator
) -> Callable[[], checks_draws.Draws]:
    """The draws that several checks look at, made when the first one asks."""
    return cache(lambda: checks_draws.draws_of(fit, splits, rng))


def _answer(name: str, question: Callable[[], Verdict]) -> Verdict:
    """A verdict, or the reason why there is none: draws made elsewhere may lack variables."""
    try:
        return question()
    except NotAvailableError as error:
        return no_answer(name, str(error))
