"""Priors: what is assumed about every parameter, on which scale, and why.

Defaults are weakly informative and scaled to the data; none depends on where a predictor is measured from:

=====================  ============================================================================
Intercept              Normal(mean y, 2.5 sd y), at centred predictors
other fixed effects    Normal(0, 2.5 sd y / sd x)
group sds              HalfStudentT(3, sd y / sd z), sd z = 1 for an intercept, at predictors near their means
correlations           LKJ(2), likewise
sigma                  HalfStudentT(3, sd y)
log ratios of sds      Normal(0, 1) for a level of a factor, Normal(0, 1 / sd x) for a number
residual correlations  LKJ(1)
=====================  ============================================================================

For other families than gaussian the natural scale of the link stands for sd y (`Family.scale`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import indent
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import PriorError
from ..families import Default, Family, Scale
from ..families.family import linked_moments
from ..terms.means import at_means, slopes_far_from_zero
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.columns import GAP, side_by_side, terminal_width
from ..tools.html import html_table
from ..tools.summed import second_moment_of
from .design import Design, GroupTerm
from .fixing import Fixed, label_of
from .names import LOG_RATIO, RHO
from .predictors import ParameterPart
from .propriety import refuse_impropriety
from .supports import DISTRIBUTIONS, check_arguments, ends, no_probability, not_positive

Key = str | tuple[str, ...]

_ONLY_POSITIVE_SCALE = {"sigma", "nu"}
SET = "set by you"  # the reason of a prior that is no default
FIXED = "fixed by you"


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

    def __init__(self, name: str, *args: Any, **params: float) -> None:
        if args or not isinstance(name, str):
            raise PriorError(_by_names(name, args))
        for key, value in params.items():
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
                raise PriorError(f"{name}({key}={value!r}): parameters of a prior are finite numbers")
            if key in _ONLY_POSITIVE_SCALE and value <= 0:
                raise PriorError(f"{name}({key}={value!r}): {key} must be positive")
        object.__setattr__(self, "name", name)
        # bare Python numbers cost 1e-8 of log density in PyMC, which casts them to float32 on the way
        object.__setattr__(self, "params", tuple((k, np.float64(number)) for k, number in params.items()))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v:.4g}' for k, v in self.params)})"


@dataclass(frozen=True, slots=True)
class LKJ:
    """Lewandowski, Kurowicka & Joe's distribution of a correlation matrix, density ∝ det(R)^(eta − 1)."""

    eta: float

    def __post_init__(self) -> None:
        if isinstance(self.eta, bool) or not isinstance(self.eta, int | float | np.number) or not 0 < self.eta < np.inf:
            raise PriorError(f"LKJ({self.eta!r}): eta must be positive and finite")

    def __repr__(self) -> str:
        return f"LKJ({self.eta:g})"


def _by_names(name: Any, args: tuple[Any, ...]) -> str:
    """How a prior is written whose name is none, or whose numbers have none."""
    if not isinstance(name, str):
        return f"Prior({name!r}): the name of a distribution of PyMC comes first: Prior('Normal', mu=0, sigma=1)"
    usual = {
        "Normal": ("mu", "sigma"),
        "Cauchy": ("alpha", "beta"),
        "HalfNormal": ("sigma",),
        "Exponential": ("lam",),
        "HalfCauchy": ("beta",),
        "StudentT": ("nu", "mu", "sigma"),
        "HalfStudentT": ("nu", "sigma"),
        "Gamma": ("alpha", "beta"),
        "InverseGamma": ("alpha", "beta"),
        "Laplace": ("mu", "b"),
        "LogNormal": ("mu", "sigma"),
        "Uniform": ("lower", "upper"),
        "Beta": ("alpha", "beta"),
    }.get(name, ())
    arguments = ", ".join(map(repr, args))
    if len(usual) == len(args):
        named = ", ".join(f"{key}={value!r}" for key, value in zip(usual, args, strict=True))
    else:
        named = ", ".join(f"{key}=..." for key in usual) or "mu=..., sigma=..."
    return f"Prior({name!r}, {arguments}): parameters go by their names in PyMC: Prior({name!r}, {named})"


def flat() -> Prior:
    """An improper uniform prior; half of the line for standard deviations."""
    return Prior("Flat")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPrior:
    """The prior of one parameter, with the reason for its scale."""

    kind: str  # "Intercept", "fixed", "sd", "cor", "log_ratio", "rho", "coef", or one of the family's such as "sigma"
    group: str
    term: str
    prior: Prior | LKJ
    reason: str
    at: str = ""  # where an sd or a correlation is stated, if not at zero: "mean Days"

    @property
    def label(self) -> str:
        """Name in print: ``ses``, ``sd(ses | school)``, ``cor(school)``."""
        if self.kind == "sd":
            return f"sd({self.term} | {self.group})"
        if self.kind == "cor":
            return f"cor({self.group})"
        if self.kind == "coef":  # of a parameter's linear predictor
            return f"{self.group}_{self.term}"
        return f"{LOG_RATIO}({self.term})" if self.kind == LOG_RATIO else self.term

    @property
    def key(self) -> Key:
        """What the prior goes by in ``priors=``."""
        if self.kind == "sd":
            return ("sd", self.group, self.term)
        if self.kind == "cor":
            return ("cor", self.group)
        return (LOG_RATIO, self.term) if self.kind == LOG_RATIO else self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Priors:
    """All priors of a model, in the order of its parameters; and what the user gave."""

    entries: tuple[ResolvedPrior, ...]
    given: Mapping[Any, Prior | LKJ] = field(default_factory=dict, hash=False)
    fixed: Fixed = field(default_factory=dict, hash=False)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Parameter, prior and reason of every parameter; then those that are fixed."""
        rows = [(entry.label, repr(entry.prior), entry.reason) for entry in self.entries]
        return rows + [(label_of(key), f"{value:.6g}", FIXED) for key, value in self.fixed.items()]

    def get(self, kind: str, group: str = "", term: str = "") -> Prior | LKJ:
        """The prior of one parameter."""
        for entry in self.entries:
            if (entry.kind, entry.group) == (kind, group) and (not term or entry.term == term):
                return entry.prior
        raise KeyError((kind, group, term))

    def at_means(self, design: Design) -> Design:
        """The design whose effects have these priors: at the means of predictors where the priors are stated there."""
        stated = {entry.group for entry in self.entries if entry.at}
        if not stated:
            return design

        def moved(groups: Sequence[GroupTerm]) -> tuple[GroupTerm, ...]:
            return tuple(at_means(group) if group.name in stated else group for group in groups)

        parts = {name: replace(part, groups=moved(part.groups)) for name, part in design.predictors.items()}
        return replace(design, groups=moved(design.groups), predictors=parts)

    def table(self) -> pd.DataFrame:
        """One row a parameter: parameter, prior, reason. It prints every column."""
        return _PriorTable(self.rows, columns=["parameter", "prior", "reason"])

    def __str__(self) -> str:
        return _aligned(self.rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(["Parameter", "Prior", "Because"], self.rows, left=3)


class _PriorTable(pd.DataFrame):  # type: ignore[misc]  # pandas comes without types
    """Parameters, priors and reasons, printed whole; so is what is made of them."""

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return _PriorTable

    def _texts(self) -> list[tuple[str, ...]]:
        """The headers and rows, after an index that has a name."""
        whole = pd.DataFrame(self if self.index.names == [None] else self.reset_index())
        return [tuple(map(str, row)) for row in (whole.columns, *whole.itertuples(index=False))]

    def __repr__(self) -> str:
        return pd.DataFrame(self).__repr__() if self.empty else _aligned(self._texts())

    def _repr_html_(self) -> str:
        headers, *rows = self._texts()
        return html_table(headers, rows, left=len(headers))


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns flush left, the last as long as it is, or as a terminal has room for."""
    width = terminal_width()
    text = side_by_side(list(zip(*rows, strict=True)), len(rows[0]), width=None if width is None else width - GAP)
    return indent(text, " " * GAP)


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
        family: ``"sigma"``, ``"nu"``, ``"shape"``, ``"phi"``, ``"zi"``, ``"hu"``, ``"zoi"``, ``"coi"``,
        ``"cutpoint"``. Of residuals with
        parameters besides sigma ``"log_ratio"`` (all log ratios of sds), ``("log_ratio", term)`` and ``"rho"``. Of a
        parameter with a linear predictor ``"zi_Intercept"``, ``"zi_x"``, and ``("zi", "fixed")`` for all but its
        intercept; the factor ``g`` of its bars is called ``"zi_g"``: ``("sd", "zi_g", "Intercept")``. Values: `Prior`,
        and `LKJ` for correlations; numbers, which fix a parameter, are the design's.
    given : mapping, optional
        What the user gave before: ``user`` replaces or joins it.

    Raises
    ------
    PriorError
        A key matches nothing, or a value is of the wrong kind.
    """
    if not isinstance(user, Mapping | None):
        raise PriorError(f"priors={user!r}: priors are a dict such as {{'sigma': Prior('HalfNormal', sigma=5)}}")
    user = {**(given or {}), **(user or {})}
    used_keys: set[Any] = set()
    entries = []
    for unknown in _unknowns(design, user):
        matching = [key for key in unknown.keys if key in user]  # most specific first
        used_keys.update(matching)
        entries.append(_resolved(unknown, user, matching, design.family))
    unused = [key for key in user if key not in used_keys]
    if unused:
        raise PriorError(_no_match(unused[0], entries, design))
    refuse_impropriety(design, entries)
    return Priors(entries=tuple(entries), given=user, fixed=design.fixed)


class _Unknown(NamedTuple):
    """A parameter with the keys by which a user gives its prior, and the default otherwise."""

    kind: str
    term: str
    keys: Sequence[Key]
    default: Prior | LKJ
    reason: str
    group: str = ""
    at: str = ""


def _resolved(unknown: _Unknown, user: Mapping[Any, Any], matching: Sequence[Key], family: Family) -> ResolvedPrior:
    """The user's prior of the first key that matches, checked; else the default."""
    expected = LKJ if isinstance(unknown.default, LKJ) else Prior
    for key in matching:
        if not isinstance(user[key], expected):
            example = "LKJ(2)" if expected is LKJ else "Prior('Normal', mu=0, sigma=1)"
            written = "flat()" if user[key] is flat else example
            raise PriorError(f"prior for {key!r}: expected a {expected.__name__}, got {user[key]!r}. Write {written}")
    kind, at = unknown.kind, unknown.at
    prior, reason = unknown.default, f"{unknown.reason}; at {at}" if at else unknown.reason
    if matching:
        prior, reason = user[matching[0]], SET
    entry = ResolvedPrior(kind=kind, group=unknown.group, term=unknown.term, prior=prior, reason=reason, at=at)
    if matching and isinstance(prior, Prior):
        _check(entry, prior, positive=is_positive(kind, family), at_most_one=family.is_probability(kind))
    return entry


def _unknowns(design: Design, user: Mapping[Any, Any]) -> Iterator[_Unknown]:
    """All of a design, in the order of tables; the user's keys say where priors of intercepts are meant."""
    family = design.family
    y = design.as_counted(design.y - design.offset if family.is_on_response_scale else design.y)
    natural = family.scale(y)
    scale = np.float64(natural.value) or np.float64(1.0)
    yield from _of_fixed(design, y, natural, scale)
    for group in design.groups:
        yield from _of_group(design, group, user, natural, scale)
    for name in family.parameters:
        scaled = family.default_prior(name, y)
        if name in design.predictors:
            yield from _of_predictor(design, design.predictors[name], user, scaled)
            continue
        arguments = {key: np.float64(value) for key, value in scaled.arguments.items()}
        yield _Unknown(name, name, [name], Prior(scaled.name, **arguments), scaled.reason)
    yield from _of_residuals(design)


def _of_fixed(design: Design, y: Array, natural: Scale, scale: np.float64) -> Iterator[_Unknown]:
    """Of the fixed part, on the scale of the linear predictor."""
    family = design.family
    for j, name in enumerate(design.x_names):
        if name == "Intercept":
            trials = None if design.trials is None else design.as_counted(design.trials)
            centre = np.float64(family.centre(y, trials))
            if not family.is_on_response_scale:
                centre -= design.as_counted(design.offset).mean()
            default = Prior("Normal", mu=centre, sigma=2.5 * scale)
            unit = natural.words + "s" * natural.is_unit
            reason = f"{family.centre_in_words}, 2.5 {unit}; centred predictors"
            yield _Unknown("Intercept", name, [name], default, reason)
            continue
        size, unit_name = _size(design.as_counted(design.X[:, j]), name)
        default = Prior("Normal", mu=0.0, sigma=2.5 * scale / size)
        reason = natural.times(2.5, divisor=size, divisor_name=unit_name)
        yield _Unknown("fixed", name, [name, "fixed"], default, reason)


def _of_group(
    design: Design, group: GroupTerm, user: Mapping[Any, Any], natural: Scale, scale: np.float64, factor: str = ""
) -> Iterator[_Unknown]:
    """Sds and correlations of the effects of a term."""
    template, moved = group.template, _stated_at_means(group, user, factor)
    for place, (column, k) in enumerate(zip(group.sd_terms, template.sd_columns, strict=True)):
        if isinstance(group, WideTerm):
            size, unit_name = _size_of_wide(group, k)
        else:
            size, unit_name = _size(design.as_counted(group.Z[:, k]), column)
        if template.sd_of.count(place) > 1:  # an effect of a row is Σ z b, of variance sd² Σ z²
            alike = np.array(template.sd_of) == place
            moment = second_moment_of(group.Z[:, np.flatnonzero(alike)], design.likelihood_weights)
            size = np.float64(np.sqrt(np.trace(moment)))
            size, unit_name = (size, f"a row of {column}") if abs(size - 1.0) > 1e-12 else (np.float64(1.0), "")
        default = Prior("HalfStudentT", nu=3.0, sigma=scale / size)
        reason = natural.times(1.0, divisor=size, divisor_name=unit_name)
        keys = _keys_of_sd(group, column, factor)
        yield _Unknown("sd", column, keys, default, reason, group.name, moved.get(k, ""))
    if group.correlated:
        remark = "; ".join(dict.fromkeys(moved.values()))
        yield _Unknown("cor", "", _keys_of_cor(group, factor), LKJ(2.0), _away_from_ends(group), group.name, remark)


def _of_predictor(design: Design, part: ParameterPart, user: Mapping[Any, Any], scaled: Default) -> Iterator[_Unknown]:
    """Of the linear predictor of a parameter of the family, whose default as a number is ``scaled``."""
    name = part.parameter
    for j, (term, label) in enumerate(zip(part.x_names, part.labels, strict=True)):
        keys: list[Key] = [label, *([] if term == "Intercept" else [(name, "fixed")])]
        if part.category:  # of all categories
            keys += [term, *([] if term == "Intercept" else ["fixed"])]
        yield _Unknown("coef", term, keys, *_of_coefficient(design, part, j, scaled), name)
    for group in part.groups:
        factor = part.factor_of(group) if part.category else ""
        yield from _of_group(design, group, user, _scale_of(part), np.float64(1.0), factor)


def _of_residuals(design: Design) -> Iterator[_Unknown]:
    """Of the parameters of residuals besides sigma."""
    if design.residual is None:
        return
    structure = design.residual.structure
    for label, column in zip(structure.spread.labels, structure.spread.G.T, strict=True):
        keys: list[Key] = [(LOG_RATIO, label), LOG_RATIO]
        size, unit_name = (np.float64(1.0), "") if np.isin(column, (0.0, 1.0)).all() else _size(column, label)
        prior = Prior("Normal", mu=0.0, sigma=1.0 / size)
        reason = f"for one sd of {unit_name} ({size:.3g})" if unit_name else "of sigma"
        yield _Unknown(LOG_RATIO, label, keys, prior, f"sds within a factor of 7 {reason}")
    if structure.correlation is not None and structure.blocks is not None:
        yield _Unknown(RHO, RHO, [RHO], LKJ(1.0), structure.correlation.prior_in_words(structure.blocks))


def _keys_of_sd(group: GroupTerm, column: str, factor: str = "") -> list[Key]:
    """Of one sd, the most specific first; ``factor`` is what the factor is called for all categories."""
    of_all: list[Key] = [("sd", factor, column), ("sd", factor)] if factor else []
    return [("sd", group.name, column), ("sd", group.name), *of_all, "sd"]


def _keys_of_cor(group: GroupTerm, factor: str = "") -> list[Key]:
    of_all: list[Key] = [("cor", factor)] if factor else []
    return [("cor", group.name), *of_all, "cor"]


def _stated_at_means(group: GroupTerm, user: Mapping[Any, Any], factor: str = "") -> dict[int, str]:
    """Where the default prior of an intercept's sd holds, by its column, if not at zero.

    A predictor far from zero makes an intercept at zero and its slopes nearly collinear: priors stated there would
    change with the zero of its scale, and tell much about the slopes. What a user says is of the sds and correlations
    of the model as it is written.
    """
    moved = slopes_far_from_zero(group)
    if any(key in user for key in _keys_of_cor(group, factor)):
        return {}
    if any(key in user for column in moved for key in _keys_of_sd(group, group.columns[column], factor)):
        return {}
    return {
        column: f"mean {group.columns[others[0]]}" if len(others) == 1 else "the means of the slopes' predictors"
        for column, others in moved.items()
    }


def _of_coefficient(design: Design, part: ParameterPart, j: int, of_constant: Default) -> tuple[Prior, str]:
    """The default prior of a coefficient of a parameter's linear predictor, and its reason.

    An intercept, at centred predictors, has mean and sd of the linked parameter under the prior of a constant one.
    """
    if part.x_names[j] == "Intercept":
        mean, sd = linked_moments(of_constant, part.link)
        constant = repr(Prior(of_constant.name, **of_constant.arguments))
        reason = f"mean and sd of {part.link}({part.parameter}) under {constant}; centred predictors"
        if part.category:
            reason = f"{of_constant.reason}; centred predictors"
        centre = mean - design.as_counted(part.offset).mean()
        return Prior("Normal", mu=np.float64(centre), sigma=np.float64(sd)), reason
    natural = _scale_of(part)
    factor = 2.5 if part.is_log_odds else 1.0
    size, unit_name = _size(design.as_counted(part.X[:, j]), part.x_names[j])
    return Prior("Normal", mu=0.0, sigma=factor / size), natural.times(factor, divisor=size, divisor_name=unit_name)


def _scale_of(part: ParameterPart) -> Scale:
    """The unit of a parameter's linear predictor."""
    return Scale(1.0, "log odds" if part.is_log_odds else "log unit", is_unit=not part.is_log_odds)


def _away_from_ends(group: GroupTerm) -> str:
    """What LKJ means for the correlations of a factor."""
    structured = [
        (structure, len(block))
        for block, structure in zip(group.blocks, group.template.structures, strict=True)
        if structure.n_correlations(len(block)) and not structure.is_free
    ]
    words = []
    for structure, q in structured:
        low, high = structure.interval(q)
        words.append(f"rho of {structure.name} as Beta(eta, eta) between {low:.3g} and {high:.3g}")
    return "; ".join([*words, "leans away from correlations of ±1" if not words else "leans away from the ends"])


def _size(column: np.ndarray, name: str) -> tuple[np.float64, str]:
    """The sd of a predictor and its name; one, and none, for a constant, whose sd is zero or rounding."""
    spread = np.float64(column.std(ddof=1))
    constant = spread <= 1e-12 * max(column.max(), -column.min())
    return (np.float64(1.0), "") if constant else (spread, name)


def _size_of_wide(term: WideTerm, column: int) -> tuple[np.float64, str]:
    """The root mean square of what an sd of one gives to the rows, and its name; one, and none, if it is one."""
    size = np.float64(np.sqrt(term.mean_products()[column, column]))
    if abs(size - 1.0) < 1e-9 or size == 0.0:
        return np.float64(1.0), ""
    return size, f"a row of {term.name}" if term.q == 1 else f"{term.columns[column]} in a row of {term.name}"


def is_positive(kind: str, family: Family) -> bool:
    """Whether a parameter of this kind takes positive numbers only."""
    return kind == "sd" or (kind in family.parameters and family.is_positive(kind))


def _check(entry: ResolvedPrior, prior: Prior, *, positive: bool, at_most_one: bool) -> None:
    """Refuse a prior of the user's that is no distribution, or not one of this parameter's numbers."""
    if prior.name not in DISTRIBUTIONS:
        return  # asked of PyMC where a model is made
    arguments = {key: float(value) for key, value in prior.params}
    check_arguments(prior.name, arguments, f"{entry.label}: {prior!r}")
    low, high = ends(prior.name, arguments)
    if at_most_one and (low < 0.0 or high > 1.0):
        raise no_probability(entry.label, repr(prior), f"its support is {low:g} to {high:g}")
    if positive and low < 0.0 and prior.name != "Flat":  # that is flat on the half line here
        raise not_positive(entry.label, repr(prior), f"its support is {low:g} to {high:g}")


def _no_match(key: Any, entries: list[ResolvedPrior], design: Design) -> str:
    kinds = {entry.kind for entry in entries}
    names: list[Key] = [kind for kind in ("fixed", "sd", "cor") if kind in kinds]
    for entry in entries:
        names.append(entry.key)
    close = difflib.get_close_matches(str(key), [str(name) for name in names], n=1)
    hint = _what_there_is(key, design) or (f" Did you mean {close[0]}?" if close else "")
    return f"no parameter matches the prior key {key!r}.{hint} Keys here: {', '.join(map(repr, names))}"


KEY_WORDS = {  # of other programs, by their letters
    **dict.fromkeys(("b", "beta", "common", "coef", "fixef", "slopes", "betas"), "'fixed'"),
    **dict.fromkeys(("groupspecific", "random", "ranef", "tau", "sds", "theta", "sdgroup"), "'sd'"),
    **dict.fromkeys(("residual", "error", "auxiliary", "scale", "sigmaresidual", "epsilon"), "'sigma'"),
    **dict.fromkeys(("correlation", "lkj", "corr", "l", "rho", "omega"), "'cor'"),
    **dict.fromkeys(("const", "constant", "alpha", "b0"), "'Intercept'"),
}


def _what_there_is(key: Any, design: Design) -> str:
    """Why a key that is right in other models matches nothing in this one."""
    family = design.family
    first = key[0] if isinstance(key, tuple) and key else key
    if first == "cor":
        factors = {group.name: part.factor_of(group) for part in design.predictors.values() for group in part.groups}
        called = {group.name: factors.get(group.name, group.name) for group in design.every_group}  # in the formula
        bars = [factor for name, factor in called.items() if key == "cor" or name in key or factor in key]
        several = f" Write (1 + x | {bars[0]}) for one." if bars else ""
        return "" if key != "cor" and not bars else f" No correlation is estimated here.{several}"
    word = "".join(c for c in str(first).lower() if c.isalnum())
    if first not in design.x_names and word in KEY_WORDS:
        return f" It is {KEY_WORDS[word]} here."
    if first == "sd" and not design.every_group:
        return " There is no grouping factor here."
    if key == "fixed":
        return " There is no fixed effect besides the intercept."
    if key in design.aliased:
        return f" {key} was left out, since it depends linearly on columns before."
    if key == "Intercept" and family.has_cutpoints:
        return " Cutpoints stand in place of an intercept: use 'cutpoint'."
    if key in design.predictors:
        return f" {key} has a linear predictor here: {', '.join(map(repr, design.predictors[key].labels))}."
    if key in design.fixed:
        return " It is fixed here: update the model by priors= to make it an unknown."
    if key in family.known:
        return f" It is known here, by se={design.se or 'values'}."
    if key in ("sigma", "nu", "shape", "phi", "zi", "hu", "zoi", "coi", "scale", "cutpoint"):
        available_words = (
            f"its parameters are {', '.join(family.parameters)}" if family.parameters else "it has no parameters"
        )
        return f" {family.option} has no {key}; {available_words} besides the mean."
    return ""
