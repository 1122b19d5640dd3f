"""What a check says: limits with their sources, statistics beside chance, verdicts.

A statistic is called to attention if it is both beyond chance and large enough to matter. Chance is what the model
itself would show, by simulation; what matters is a limit from the literature. With few rows the first decides, with
many the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

from ..results.reading import Shown
from ..results.text import Text
from ..tools.arrays import Array

LEVELS = ("no", "look", "ok", "none")  # worst first; "none" does not apply
COLOURS = {"no": ("#B5361C", "white"), "look": ("#E69F00", "black"), "ok": ("#00795A", "white"), "none": ("none", "")}
COLUMNS = ["statistic", "of", "observed", "chance_low", "chance_high", "size", "beyond_chance", "level", "words"]
FEWEST_DRAWS = 100  # that can be reweighted
CHANCE = 0.01  # how often chance alone may raise one verdict, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """From where on a quantity deserves a look, and from where on it is a no."""

    what: str
    look: float
    no: float
    source: str

    def level(self, size: float) -> str:
        """The verdict on a size that is not by chance."""
        return "no" if size >= self.no else "look" if size >= self.look else "ok"


LIMITS: Mapping[str, Limit] = {
    "rhat": Limit(
        what="R-hat", look=1.01, no=1.05, source="Vehtari et al. (2021): 1.01; Gelman & Rubin (1992): near 1"
    ),
    "ess": Limit(
        what="1 / effective sample size a chain",
        look=1 / 100,
        no=1 / 25,
        source="Vehtari et al. (2021): 100; our choice",
    ),
    "integration": Limit(
        what="|log likelihood - its approximation| at the estimates",
        look=0.5,
        no=3.0,
        source="an AIC off by one, and by six; our choice",
    ),
    "skewness": Limit(what="|skewness|", look=0.5, no=1.0, source="Bulmer (1979): moderate, high"),
    "kurtosis": Limit(
        what="|excess kurtosis|", look=1.0, no=3.0, source="that of Student t with 10 and 6 degrees of freedom"
    ),
    "largest": Limit(what="largest |residual| in sds", look=4.0, no=6.0, source="our choice"),
    "dispersion": Limit(
        what="sd of quantile residuals, or one over it",
        look=1.1,
        no=1.25,
        source="standard errors off by as much; our choice",
    ),
    "spread": Limit(
        what="ratio of residual sds, outer thirds of the fitted values",
        look=1.5,
        no=2.0,
        source="variance ratios of 2 and 4; our choice",
    ),
    "level sds": Limit(
        what="sd of the log residual sds of levels, without chance",
        look=0.2,
        no=0.4,
        source="a typical level's sd is off by 20% or 40%; our choice",
    ),
    "predictor sds": Limit(
        what="sd of the log residual sds of a predictor's levels, without chance",
        look=0.2,
        no=0.4,
        source="as of the levels of a grouping factor; our choice",
    ),
    "same sign": Limit(
        what="correlation of residuals of one level, of a factor in the model", look=0.1, no=0.3, source="our choice"
    ),
    "ignored factor": Limit(
        what="design effect 1 + (rows a level - 1) x correlation, of a factor not in the model",
        look=1.5,
        no=2.0,
        source="Muthén & Satorra (1995): 2",
    ),
    "neighbours": Limit(
        what="|correlation of neighbouring residuals|",
        look=0.2,
        no=0.4,
        source="Durbin-Watson of 1.6 and 1.2; our choice",
    ),
    "curve": Limit(
        what="sd of the mean residual along a predictor, without chance, in residual sds",
        look=0.1,
        no=0.25,
        source="Cohen (1988): small and medium f",
    ),
    "level means": Limit(
        what="|correlation of random effects with means of a predictor|",
        look=0.3,
        no=0.5,
        source="Cohen (1988): medium and large r",
    ),
    "outlying": Limit(what="largest |standardised random effect|", look=3.5, no=5.0, source="our choice"),
    "influence": Limit(
        what="shift of a coefficient without one level, in standard errors",
        look=0.5,
        no=1.0,
        source="Bollen & Jackman (1990): 1",
    ),
    "pareto k": Limit(  # 0.7 to 0.9 are common with some twenty levels of a model that is right
        what="Pareto k of leaving one level out",
        look=1.0,
        no=np.inf,
        source="Vehtari et al. (2024): above 1 the weights have no mean",
    ),
    "few levels": Limit(
        what="1 / levels of a factor", look=1 / 10, no=1 / 5, source="Gelman & Hill (2007): 5; Maas & Hox (2005)"
    ),
    "near zero": Limit(
        what="P(an sd is under a tenth of its 95% quantile), where no: adds less than a tenth of the residual sd",
        look=0.1,
        no=0.5,
        source="0.105 for a flat density from zero on; our choice",
    ),
    "near one": Limit(what="P(|correlation| > 0.95)", look=0.1, no=0.5, source="our choice"),
    "prior": Limit(
        what="power-scaling sensitivity to the priors",
        look=0.05,
        no=0.25,
        source="Kallioinen et al. (2024): 0.05; no: our choice",
    ),
    "prediction": Limit(
        what="distance of a statistic of the data from replicated ones, in their sds",
        look=3.0,
        no=5.0,
        source="our choice",
    ),
    "collinearity": Limit(
        what="variance inflation factor",
        look=10.0,
        no=100.0,
        source="Kutner et al. (2005): 10; no: standard errors tenfold",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Verdict(Shown):
    """What one check says.

    Attributes
    ----------
    name : str
        ``"independence"``, ...
    level : {"no", "look", "ok", "none"}
        ``no``: an assumption fails by enough to matter. ``look``: it deserves a look. ``none``: does not apply.
    words : str
        What was found, with numbers.
    remedy : str
        What to do about it; empty where nothing is to be done.
    numbers : pandas.DataFrame
        The numbers behind the words.
    """

    name: str
    level: str
    words: str
    remedy: str = ""
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def sentence(self) -> str:
        """Name, words and remedy in a paragraph."""
        remedy = f"\n  What to do: {self.remedy}" if self.remedy else ""
        return f"{self.name}: {self.words}{remedy}"

    def text(self) -> Text:
        """The paragraph, in lines that fit a screen."""
        return Text.of(self.sentence)

    def _repr_html_(self) -> str:
        return html_verdicts([self])


def html_verdicts(verdicts: Sequence[Verdict]) -> str:
    """A table whose colours say how bad it is."""
    return f"<table style='border-collapse:collapse'>{''.join(_html_row(v) for v in verdicts)}</table>"


def _html_row(verdict: Verdict) -> str:
    remedy = f"<br><span style='opacity:0.7'>{escape(verdict.remedy)}</span>" if verdict.remedy else ""
    background, ink = COLOURS[verdict.level]
    cell = "padding:5px 10px;vertical-align:top;border-top:1px solid #ddd"
    return (
        f"<tr class='{verdict.level}' style='background:none'>"
        f"<td style='{cell};background:{background};color:{ink};font-weight:600;text-align:center'>{verdict.level}</td>"
        f"<td style='{cell};font-weight:600;white-space:nowrap;text-align:left'>{escape(verdict.name)}</td>"
        f"<td style='{cell};text-align:left;white-space:normal'>{escape(verdict.words)}{remedy}</td></tr>"
    )


def worst(levels: Sequence[str]) -> str:
    """The worst of some levels; ok of none."""
    return min(levels, key=LEVELS.index, default="ok")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """A statistic of a fit, and what it would be if the model were true.

    Attributes
    ----------
    limit : str
        Key of `LIMITS`.
    of : str
        Predictor, factor or term; may be empty.
    observed : float
    chance : (S,)
        The statistic for residuals or effects drawn from the model.
    size : float
        What the limits are for.
    upwards : bool
        Whether only large values speak against the model.
    words : str
        The statistic in words.
    """

    limit: str
    of: str
    observed: float
    chance: Array
    size: float
    words: str
    upwards: bool = False


def judged(measures: Sequence[Measure]) -> pd.DataFrame:
    """One row a measure: its size, whether it is beyond chance, and the level that follows.

    Chance is judged for all of them together: a standardised distance is beyond it that the largest of all distances
    exceeds in 1 % of the simulations.
    """
    distances, chance = [], []
    for measure in measures:
        middle, spread = measure.chance.mean(), measure.chance.std() or np.inf
        fold: Callable[[Array], Array] = (lambda z: z) if measure.upwards else np.abs
        distances.append(float(fold(np.asarray((measure.observed - middle) / spread))))
        chance.append(fold((measure.chance - middle) / spread))
    limit = np.quantile(np.max(chance, axis=0), 1.0 - CHANCE) if measures else np.inf
    rows = []
    for measure, distance in zip(measures, distances, strict=True):
        beyond = bool(distance > limit)
        low, high = np.quantile(measure.chance, [CHANCE / 2.0, 1.0 - CHANCE / 2.0])
        level = LIMITS[measure.limit].level(measure.size) if beyond else "ok"
        rows.append(
            (measure.limit, measure.of, measure.observed, low, high, measure.size, beyond, level, measure.words)
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def verdict(
    name: str, measures: Sequence[Measure], *, fine: str, remedies: Mapping[str, str], more: str = ""
) -> Verdict:
    """The verdict on some measures: those that stand out in words, or that all is fine."""
    table = judged(measures)
    level = worst(table["level"].tolist())
    if level == "ok":
        return Verdict(name=name, level=level, words=_sentence(f"{fine}{_too_little(table)}", more), numbers=table)
    out = table[table["level"] != "ok"]
    out = out.sort_values("level", key=lambda c: c.map(LEVELS.index), kind="stable")
    advice = " ".join(dict.fromkeys(remedies[statistic] for statistic in out["statistic"]))
    words = _sentence("; ".join(out["words"]), more)
    return Verdict(name=name, level=level, words=words, remedy=advice, numbers=table)


def _too_little(table: pd.DataFrame) -> str:
    """Why measures beyond chance are fine: the largest beside the limit from where on it matters."""
    beyond = table[table["beyond_chance"]]
    if beyond.empty:
        return ""
    sizes = beyond["size"] / [LIMITS[name].look for name in beyond["statistic"]]
    largest = beyond.loc[sizes.idxmax()]
    limit = LIMITS[str(largest["statistic"])]
    return f"; more than by chance, but too little to matter: {limit.what} {largest['size']:.2g}, limit {limit.look:g}"


def _sentence(words: str, more: str) -> str:
    return f"{words}. {more}".strip()


def by_chance(chance: Array) -> str:
    """Where 99 % of the values lie that chance gives."""
    low, high = np.quantile(chance, [CHANCE / 2.0, 1.0 - CHANCE / 2.0])
    return f"by chance {low:.2f} to {high:.2f}"


def without_chance(observed: float, chance: Array) -> float:
    """What is left of an sd when that by chance is taken away."""
    return float(np.sqrt(max(observed**2 - np.mean(chance**2), 0.0)))


def no_answer(name: str, why: str) -> Verdict:
    """A check that does not apply, and why."""
    return Verdict(name=name, level="none", words=why)
