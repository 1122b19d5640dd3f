"""Priors: what is assumed about every parameter, on which scale, and why.

Defaults are weakly informative and scaled to the data; none depends on where a predictor is measured from:

=====================  ============================================================================
Intercept              Normal(mean y, 2.5 sd y), at centred predictors
other fixed effects    Normal(0, 2.5 sd y / sd x)
group sds              HalfStudentT(3, sd y / sd z), sd z = 1 for an intercept
correlations           LKJ(2)
sigma                  HalfStudentT(3, sd y)
=====================  ============================================================================

For other families than gaussian the natural scale of the link stands for sd y (`bayeslmm.spec.family.Family.scale`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..errors import PriorError
from .design import Design

Key = str | tuple[str, ...]

_ONLY_POSITIVE_SCALE = {"sigma", "nu"}


@dataclass(frozen=True, slots=True)
class Prior:
    """A univariate PyMC distribution by its PyMC name.

    Parameters
    ----------
    name : str
        Such as ``"Normal"``, ``"HalfStudentT"``, ``"Exponential"``.
    **params : float
        The distribution's parameters under PyMC's names.

    Examples
    --------
    >>> Prior("Normal", mu=0, sigma=5)
    Normal(mu=0, sigma=5)
    """

    name: str
    params: tuple[tuple[str, float], ...]

    def __init__(self, name: str, **params: float) -> None:
        for key, value in params.items():
            if not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
                raise PriorError(f"{name}({key}={value!r}): parameters of a prior are finite numbers")
            if key in _ONLY_POSITIVE_SCALE and value <= 0:
                raise PriorError(f"{name}({key}={value!r}): {key} must be positive")
        object.__setattr__(self, "name", name)
        # bare Python numbers cost 1e-8 of log density in PyMC, which casts them to float32 on the way
        object.__setattr__(self, "params", tuple((k, np.float64(v)) for k, v in params.items()))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v:.4g}' for k, v in self.params)})"


@dataclass(frozen=True, slots=True)
class LKJ:
    """Lewandowski, Kurowicka & Joe's distribution of a correlation matrix, density ∝ det(R)^(eta − 1)."""

    eta: float

    def __post_init__(self) -> None:
        if (
            isinstance(self.eta, bool)
            or not isinstance(self.eta, int | float | np.number)
            or not self.eta > 0
        ):
            raise PriorError(f"LKJ({self.eta!r}): eta must be positive")

    def __repr__(self) -> str:
        return f"LKJ({self.eta:g})"


def flat() -> Prior:
    """An improper uniform prior; half of the line for standard deviations."""
    return Prior("Flat")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPrior:
    """The prior of one parameter, with the reason for its scale."""

    kind: str  # "Intercept", "fixed", "sd", "cor", or a parameter of the family such as "sigma"
    group: str
    term: str
    prior: Prior | LKJ
    reason: str

    @property
    def label(self) -> str:
        """Name in print: ``ses``, ``sd(ses | school)``, ``cor(school)``."""
        if self.kind == "sd":
            return f"sd({self.term} | {self.group})"
        if self.kind == "cor":
            return f"cor({self.group})"
        return self.term


@dataclass(frozen=True, slots=True, kw_only=True)
class Priors:
    """All priors of a model, in the order of its parameters; and what the user gave."""

    entries: tuple[ResolvedPrior, ...]
    given: Mapping[Any, Prior | LKJ] = field(default_factory=dict)

    def get(self, kind: str, group: str = "", term: str = "") -> Prior | LKJ:
        """The prior of one parameter."""
        for e in self.entries:
            if (e.kind, e.group) == (kind, group) and (not term or e.term == term):
                return e.prior
        raise KeyError((kind, group, term))

    def table(self) -> pd.DataFrame:
        """One row a parameter: parameter, prior, reason."""
        return pd.DataFrame(
            [(e.label, repr(e.prior), e.reason) for e in self.entries],
            columns=["parameter", "prior", "reason"],
        )

    def __str__(self) -> str:
        widths = [max(len(f(e)) for e in self.entries) for f in (lambda e: e.label, lambda e: repr(e.prior))]
        return "\n".join(
            f"  {e.label:<{widths[0]}}  {e.prior!r:<{widths[1]}}  {e.reason}" for e in self.entries
        )

    __repr__ = __str__


def resolve_priors(
    design: Design, user: Mapping[Any, Any] | None = None, *, given: Mapping[Any, Any] | None = None
) -> Priors:
    """Every parameter's prior: the user's most specific one, else the default scaled to the data.

    Parameters
    ----------
    design : Design
    user : mapping, optional
        Keys: ``"Intercept"``, the name of a coefficient, ``"fixed"`` (all but the intercept), ``"sd"`` (all group
        sds), ``("sd", group)``, ``("sd", group, term)``, ``"cor"``, ``("cor", group)``, and the parameters of the
        family: ``"sigma"``, ``"nu"``, ``"shape"``, ``"phi"``, ``"cutpoint"``.
        Values: `Prior`, and `LKJ` for correlations.
    given : mapping, optional
        What the user gave before: ``user`` replaces or joins it.

    Raises
    ------
    PriorError
        A key matches nothing, or a value is of the wrong kind.
    """
    if not isinstance(user, Mapping | None):
        raise PriorError(
            f"priors={user!r}: priors are a dict such as {{'sigma': Prior('HalfNormal', sigma=5)}}"
        )
    user = {**(given or {}), **(user or {})}
    used: set[Any] = set()

    def choose(keys: Sequence[Key], default: Prior | LKJ, reason: str) -> tuple[Prior | LKJ, str]:
        chosen = None
        for key in keys:  # most specific first; the less specific ones match as well
            if key in user:
                used.add(key)
                chosen = chosen or user[key]
        if chosen is None:
            return default, reason
        wanted = LKJ if isinstance(default, LKJ) else Prior
        if not isinstance(chosen, wanted):
            raise PriorError(f"prior for {keys[0]!r}: expected a {wanted.__name__}, got {chosen!r}")
        return chosen, "set by you"

    family = design.family
    y = design.y - design.offset if family.link == "identity" and not family.name == "lognormal" else design.y
    scale, unit = family.scale(y)
    scale = np.float64(scale) or np.float64(1.0)
    entries = []

    def add(
        kind: str, term: str, keys: Sequence[Key], default: Prior | LKJ, reason: str, group: str = ""
    ) -> None:
        prior, why = choose(keys, default, reason)
        entries.append(ResolvedPrior(kind=kind, group=group, term=term, prior=prior, reason=why))

    for j, name in enumerate(design.x_names):
        if name == "Intercept":
            centre = np.float64(family.centre(y, design.trials))
            if family.link != "identity" or family.name == "lognormal":
                centre -= design.offset.mean()
            default = Prior("Normal", mu=centre, sigma=2.5 * scale)
            where = "mean(y)" if family.link == "identity" else f"{family.link}(mean y)"
            where = "mean(log y)" if family.name == "lognormal" else where
            plural = "s" if unit.endswith("unit") else ""
            reason = f"{where}, 2.5 {unit}{plural}; centred predictors"
            add("Intercept", name, [name], default, reason)
            continue
        sd_x = np.float64(design.X[:, j].std(ddof=1)) or np.float64(1.0)
        default = Prior("Normal", mu=0.0, sigma=2.5 * scale / sd_x)
        add("fixed", name, [name, "fixed"], default, _reason(2.5, scale, unit, sd_x, name))
    for g in design.groups:
        for k, column in enumerate(g.columns):
            spread = np.float64(g.Z[:, k].std(ddof=1))
            constant = spread <= 1e-12 * np.abs(g.Z[:, k]).max()
            sd_z = np.float64(1.0) if constant else spread
            default = Prior("HalfStudentT", nu=3.0, sigma=scale / sd_z)
            why = _reason(1.0, scale, unit, sd_z, "" if constant else column)
            add("sd", column, [("sd", g.name, column), ("sd", g.name), "sd"], default, why, g.name)
        if any(len(block) > 1 for block in g.blocks):
            add("cor", "", [("cor", g.name), "cor"], LKJ(2.0), "leans away from correlations of ±1", g.name)
    for name in family.parameters:
        own, of = (
            (scale, unit) if family.link == "identity" or name != "sigma" else (np.std(y, ddof=1), "sd(y)")
        )
        default, why = _of_parameter(name, family.name, np.float64(own), of)
        add(name, name, [name], default, why)
    unused = [key for key in user if key not in used]
    if unused:
        raise PriorError(_no_match(unused[0], entries))
    return Priors(entries=tuple(entries), given=user)


def _reason(times: float, scale: float, unit: str, divisor: float = 1.0, name: str = "") -> str:
    """A scale in words and in numbers: ``2.5 sd(y) / sd(ses) = 2.5 × 6.88 / 0.779``."""
    plural = "s" if unit.endswith("unit") and times != 1.0 else ""
    words = f"{times:g} {unit}{plural}" if times != 1.0 or scale == 1.0 else unit
    factors = [f"{v:.3g}" for v in (times, scale) if v != 1.0] or ["1"]
    numbers = " × ".join(factors)
    if name:
        return f"{words} / sd({name}) = {numbers} / {divisor:.3g}"
    return f"{words} = {numbers}" if scale != 1.0 else words


def _of_parameter(name: str, family: str, scale: np.float64, unit: str) -> tuple[Prior, str]:
    """Default prior of a parameter of the family besides the mean, and why."""
    if name == "sigma":
        return Prior("HalfStudentT", nu=3.0, sigma=scale), _reason(1.0, scale, unit)
    if name == "nu":  # Juárez & Steel (2010)
        return Prior("Gamma", alpha=2.0, beta=0.1), "from heavy tails to nearly normal: mostly 2 to 50"
    if name == "phi":
        return Prior("LogNormal", mu=3.0, sigma=1.5), "a precision as of 1 to 400 trials"
    if name == "cutpoint":
        reason = f"{_reason(2.5, scale, unit)}; in order; centred predictors"
        return Prior("Normal", mu=0.0, sigma=2.5 * scale), reason
    if family == "gamma":
        return Prior("LogNormal", mu=1.5, sigma=2.0), "coefficients of variation from 0.07 to 3"
    return Prior("LogNormal", mu=2.0, sigma=1.5), "from strong overdispersion to nearly Poisson"


def _no_match(key: Any, entries: list[ResolvedPrior]) -> str:
    names: list[Key] = ["fixed", "sd", "cor"]
    for e in entries:
        names.append(
            ("sd", e.group, e.term) if e.kind == "sd" else ("cor", e.group) if e.kind == "cor" else e.term
        )
    close = difflib.get_close_matches(str(key), [str(n) for n in names], n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"no parameter matches the prior key {key!r}.{hint} Keys here: {', '.join(map(repr, names))}"
