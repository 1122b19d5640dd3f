"""Which numbers a prior can give: arguments, ranges and supports of the usual distributions, under PyMC's names.

Others are asked of PyMC (`bayeslmm.engine.pymc_priors`), which takes a second to import and passes over arguments that
it does not know.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import PriorError

INFINITY = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A continuous distribution of one number.

    Attributes
    ----------
    ways : tuple
        Sets of arguments that must be given, one set for each way to write the distribution.
    may : frozenset of str
        Arguments that can be left out.
    either : tuple of str
        No two of these together.
    any_sign : frozenset of str
        Arguments that need not be positive.
    support : tuple
        Its ends: numbers, or the names of the arguments that are them.
    """

    ways: tuple[frozenset[str], ...] = (frozenset(),)
    may: frozenset[str] = frozenset()
    either: tuple[str, ...] = ()
    any_sign: frozenset[str] = frozenset()
    support: tuple[float | str, float | str] = (-INFINITY, INFINITY)

    @property
    def arguments(self) -> list[str]:
        """All argument names."""
        return sorted(frozenset().union(*self.ways) | self.may)


def _of(
    *ways: str, may: str = "", either: str = "", any_sign: str = "", support: tuple[float | str, float | str]
) -> Distribution:
    return Distribution(
        ways=tuple(frozenset(way.split()) for way in ways or ("",)),
        may=frozenset(may.split()),
        either=tuple(either.split()),
        any_sign=frozenset(any_sign.split()),
        support=support,
    )


LINE, HALF = (-INFINITY, INFINITY), (0.0, INFINITY)

DISTRIBUTIONS: Mapping[str, Distribution] = {
    "Normal": _of(may="mu sigma tau", either="sigma tau", any_sign="mu", support=LINE),
    "StudentT": _of("nu", may="mu sigma lam", either="sigma lam", any_sign="mu", support=LINE),
    "Cauchy": _of("alpha beta", any_sign="alpha", support=LINE),
    "Laplace": _of("mu b", any_sign="mu", support=LINE),
    "Logistic": _of(may="mu s", any_sign="mu", support=LINE),
    "Gumbel": _of("mu beta", any_sign="mu", support=LINE),
    "Flat": _of(support=LINE),
    "HalfFlat": _of(support=HALF),
    "HalfNormal": _of(may="sigma tau", either="sigma tau", support=HALF),
    "HalfStudentT": _of("nu", may="sigma lam", either="sigma lam", support=HALF),
    "HalfCauchy": _of("beta", support=HALF),
    "Exponential": _of("lam", "scale", either="lam scale", support=HALF),
    "Gamma": _of("alpha beta", "mu sigma", support=HALF),
    "InverseGamma": _of("alpha beta", "mu sigma", support=HALF),
    "LogNormal": _of(may="mu sigma tau", either="sigma tau", any_sign="mu", support=HALF),
    "Weibull": _of("alpha beta", support=HALF),
    "ChiSquared": _of("nu", support=HALF),
    "Pareto": _of("alpha m", support=("m", INFINITY)),
    "Beta": _of("alpha beta", "mu sigma", "mu nu", support=(0.0, 1.0)),
    "Uniform": _of("lower upper", any_sign="lower upper", support=("lower", "upper")),
    "TruncatedNormal": _of(
        may="mu sigma tau lower upper", either="sigma tau", any_sign="mu lower upper", support=("lower", "upper")
    ),
}


def check_arguments(name: str, arguments: Mapping[str, float], shown: str) -> None:
    """Refuse arguments that a distribution of the table does not have, lacks, or cannot have.

    Raises
    ------
    PriorError
        ``shown`` is what the message calls the prior.
    """
    distribution = DISTRIBUTIONS[name]
    unknown = [key for key in arguments if key not in distribution.arguments]
    if unknown:
        close = difflib.get_close_matches(unknown[0], distribution.arguments, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        takes = f"it has {', '.join(distribution.arguments)}" if distribution.arguments else "it has no arguments"
        raise PriorError(f"{shown}: {name} has no {', '.join(unknown)}; {takes}.{hint}")
    needed = " or ".join(", ".join(sorted(way)) for way in distribution.ways)
    fits = [way for way in distribution.ways if way <= arguments.keys() <= way | distribution.may]
    if not fits:
        raise PriorError(f"{shown}: {name} needs {needed}; given: {', '.join(arguments) or 'nothing'}")
    twice = [key for key in distribution.either if key in arguments]
    if len(twice) > 1:
        raise PriorError(f"{shown}: {' and '.join(twice)} say the same; give one of them")
    for key, value in arguments.items():
        if not np.isfinite(value) or (key not in distribution.any_sign and value <= 0.0):
            must = "must be positive" if np.isfinite(value) else "must be a finite number"
            raise PriorError(f"{shown}: {key} is {value:g}, and {must}")
    low, high = ends(name, arguments)
    if not low < high:
        raise PriorError(f"{shown}: lower is {low:g} and upper {high:g}; lower must be below upper")
    if name == "Beta" and "mu" in arguments:
        _check_beta(arguments, shown)


def _check_beta(arguments: Mapping[str, float], shown: str) -> None:
    mean = arguments["mu"]
    largest = np.sqrt(max(mean * (1.0 - mean), 0.0))
    if not mean < 1.0 or arguments.get("sigma", 0.0) >= largest:
        raise PriorError(f"{shown}: mu must lie between 0 and 1, and sigma below sqrt(mu (1 - mu))")


def ends(name: str, arguments: Mapping[str, float]) -> tuple[float, float]:
    """The ends of the support of a distribution of the table."""
    low, high = DISTRIBUTIONS[name].support
    return (
        arguments.get(low, -INFINITY) if isinstance(low, str) else low,
        arguments.get(high, INFINITY) if isinstance(high, str) else high,
    )


def not_positive(label: str, shown: str, below: str) -> PriorError:
    """The refusal of a prior of a positive parameter that gives negative numbers as well."""
    return PriorError(
        f"{label}: {shown} can give numbers below zero ({below}), and this parameter is positive. Use HalfNormal, "
        "HalfStudentT, Exponential, Gamma, LogNormal, or TruncatedNormal with lower=0."
    )


def no_probability(label: str, shown: str, outside: str) -> PriorError:
    """The refusal of a prior of a probability that gives other numbers as well."""
    return PriorError(
        f"{label}: {shown} can give numbers that are no probabilities ({outside}). Use Beta, flat with alpha=1 "
        "and beta=1, or Uniform or TruncatedNormal with lower=0 and upper=1."
    )
