"""Families: which distribution a response has, and how its mean hangs on the linear predictor.

A family is one file of this room and one line of the table `FAMILIES`, or of `BY_NUTS`.

================  ==========================================  ==============  =============================
family            links, default first                        parameters      mean μ = g⁻¹(η)
================  ==========================================  ==============  =============================
gaussian          identity, log, inverse                      sigma           of y; sd sigma
student_t         identity, log, inverse                      sigma, nu       location of y
lognormal         identity                                    sigma           of log y; sd sigma
bernoulli         logit, probit, cloglog, cauchit             –               probability of 1
binomial          logit, probit, cloglog, cauchit             –               probability of a success
beta_binomial     logit, probit, cloglog, cauchit             phi             the same, of average rows
poisson           log, sqrt, identity                         –               of y
negbinomial       log, sqrt, identity                         shape           of y; variance μ + μ²/shape
nbinom1           log, sqrt, identity                         phi             of y; variance μ (1 + phi)
truncated_poisson log                                         –               before zeros are left out
truncated_negbinomial  log                                    shape           before zeros are left out
zero_inflated_poisson  log                                    zi              before zeros join, P = zi
zero_inflated_negbinomial  log                                shape, zi       before zeros join, P = zi
hurdle_poisson    log                                         hu              of y > 0 before zeros left; P(0) = hu
hurdle_negbinomial  log                                       shape, hu       of y > 0 before zeros left; P(0) = hu
gamma             log, inverse, identity                      shape           of y; variance μ²/shape
inverse_gaussian  log, inverse, identity                      shape           of y; variance μ³/shape
weibull           log                                         shape           of y; hazard y^(shape - 1)
exgaussian        identity                                    sigma, nu       of y; normal plus exponential of mean nu
beta              logit, probit, cloglog, cauchit             phi             of y; variance μ(1 − μ)/(1 + phi)
ordinal           logit, probit, cloglog, cauchit             cutpoint        P(y ≤ k) = g⁻¹(cutpoint_k − η)
categorical       logit                                       mu_b, mu_c, …   P(y = k) ∝ exp(mu_k); mu of the first is 0
zero_one_inflated_beta  logit, probit, cloglog, cauchit       phi, zoi, coi   of 0 < y < 1; P(0 or 1) = zoi
================  ==========================================  ==============  =============================

Names are R's (``family()``, brms).  The default is R's canonical link, except for gamma: 1/η is negative for half of
the normal random effects, so ``log`` comes first there, as in brms.
"""

from __future__ import annotations

from collections.abc import Collection

from ..errors import InputError
from ..tools.hints import absent_family, family_hint, link_hint
from ..tools.words import is_one_of
from .bernoulli import Bernoulli
from .beta import Beta
from .beta_binomial import BetaBinomial
from .binomial import Binomial
from .categorical import Categorical
from .censored import Censored
from .censored_gaussian import CensoredGaussian
from .censored_lognormal import CensoredLogNormal
from .censored_weibull import CensoredWeibull
from .exgaussian import ExGaussian
from .family import Default, Family, Scale
from .gamma import Gamma
from .gaussian import Gaussian
from .gaussian_known import GaussianKnown
from .hurdle_negbinomial import HurdleNegativeBinomial
from .hurdle_poisson import HurdlePoisson
from .inverse_gaussian import InverseGaussian
from .links import LINKS, Link
from .lognormal import LogNormal
from .nbinom1 import NegativeBinomial1
from .negbinomial import NegativeBinomial
from .ordinal import Ordinal
from .ordinal_scaled import OrdinalScaled
from .poisson import Poisson
from .student_t import StudentT
from .truncated_negbinomial import TruncatedNegativeBinomial
from .truncated_poisson import TruncatedPoisson
from .weibull import Weibull
from .zero_inflated_negbinomial import ZeroInflatedNegativeBinomial
from .zero_inflated_poisson import ZeroInflatedPoisson
from .zero_one_inflated_beta import ZeroOneInflatedBeta

__all__ = [
    "BY_OPTION",
    "BY_PREDICTOR",
    "CENSORED",
    "FAMILIES",
    "GAUSSIAN",
    "LINKS",
    "NAMES",
    "BY_NUTS",
    "PREDICTED",
    "Default",
    "Family",
    "GaussianKnown",
    "Link",
    "Scale",
    "families_with",
    "family_of",
    "with_censoring",
    "with_parameters",
    "without_censoring",
    "without_parameters",
]

FAMILIES: dict[str, type[Family]] = {
    kind.name: kind
    for kind in (
        Gaussian,
        StudentT,
        LogNormal,
        Bernoulli,
        Binomial,
        BetaBinomial,
        Poisson,
        NegativeBinomial,
        NegativeBinomial1,
        TruncatedPoisson,
        TruncatedNegativeBinomial,
        ZeroInflatedPoisson,
        ZeroInflatedNegativeBinomial,
        HurdlePoisson,
        HurdleNegativeBinomial,
        Gamma,
        InverseGaussian,
        Weibull,
        ExGaussian,
        Beta,
        Ordinal,
    )
}
# which no compiled loop knows: posteriors by NUTS on the PyMC model
BY_NUTS: dict[str, type[Family]] = {kind.name: kind for kind in (Categorical, ZeroOneInflatedBeta)}
NAMES: tuple[str, ...] = (*FAMILIES, *BY_NUTS)
# what ``cens(y, status)`` makes of a family
CENSORED: dict[str, type[Censored]] = {
    kind.name: kind for kind in (CensoredGaussian, CensoredLogNormal, CensoredWeibull)
}
# not asked for by name: ``se=`` of a model makes the first of a gaussian one
BY_OPTION: tuple[type[Family], ...] = (GaussianKnown, *CENSORED.values())
# what a linear predictor of one more parameter makes of a family: parameter -> family -> its kind
BY_PREDICTOR: dict[str, dict[str, type[Family]]] = {"scale": {OrdinalScaled.name: OrdinalScaled}}
# parameters that may have a linear predictor, besides sigma
PREDICTED: tuple[str, ...] = (
    *dict.fromkeys(
        name
        for kind in (*FAMILIES.values(), *BY_NUTS.values())
        if kind.positive_parameters
        for name in kind.every_parameter
        if name != "sigma"
    ),
    *BY_PREDICTOR,
)
GAUSSIAN = Gaussian(link="identity")


def family_of(name: str, link: str | None = None) -> Family:
    """Look a family up by name; without a link, its first.

    Raises
    ------
    InputError
        No such family, or it has no such link.
    """
    kind = FAMILIES.get(name, BY_NUTS.get(name)) if isinstance(name, str) else None
    if kind is None:
        hint, absent = family_hint(name, NAMES), absent_family(name)
        lead = f"here it is {hint}; " if hint else f"{absent}; " if absent else ""
        raise InputError(f"family={name!r}: {lead}families are {', '.join(NAMES)}")
    if link is not None and not is_one_of(link, kind.links):
        hint = link_hint(link, kind.links)
        lead = f"here it is {hint!r}; " if hint else ""
        raise InputError(f"link={link!r}: {lead}links of {name} are {', '.join(kind.links)}")
    return kind(link=link or kind.links[0])


def with_parameters(family: Family, predicted: Collection[str]) -> Family:
    """The family with the parameters that it has only where they have a linear predictor, of those in ``predicted``."""
    for name in predicted:
        kind = BY_PREDICTOR.get(name, {}).get(family.name)
        if kind is not None:
            return kind(link=family.link, fixed=family.fixed)
    return family


def without_parameters(family: Family) -> Family:
    """The family without the parameters that a linear predictor gave it; itself where there are none."""
    return FAMILIES[family.name](link=family.link, fixed=family.fixed) if family.parameters_by_row else family


def families_with(parameter: str) -> list[str]:
    """The families that have a parameter, or can have it, by name."""
    having = [name for name, kind in (FAMILIES | BY_NUTS).items() if parameter in kind.every_parameter]
    return having or list(BY_PREDICTOR.get(parameter, {}))


def with_censoring(family: Family) -> Family | None:
    """What ``cens(y, status)`` makes of a family; None of one that knows no censoring, or not under its link."""
    kind = CENSORED.get(family.name)
    return kind(link=family.link) if kind is not None and family.link in kind.links else None


def without_censoring(family: Family) -> Family:
    """The family whose rows are all observed; itself where they are."""
    return FAMILIES[family.name](link=family.link) if family.is_censored else family
