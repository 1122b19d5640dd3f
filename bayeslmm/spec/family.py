"""Families and links: which distribution a response has, and how its mean hangs on the linear predictor.

=============  ==========================================  ==============  =============================
family         links, default first                        parameters      mean μ = g⁻¹(η)
=============  ==========================================  ==============  =============================
gaussian       identity, log, inverse                      sigma           of y; sd sigma
student_t      identity, log, inverse                      sigma, nu       location of y
lognormal      identity                                    sigma           of log y; sd sigma
bernoulli      logit, probit, cloglog, cauchit             –               probability of 1
binomial       logit, probit, cloglog, cauchit             –               probability of a success
poisson        log, sqrt, identity                         –               of y
negbinomial    log, sqrt, identity                         shape           of y; variance μ + μ²/shape
gamma          log, inverse, identity                      shape           of y; variance μ²/shape
beta           logit, probit, cloglog, cauchit             phi             of y; variance μ(1 − μ)/(1 + phi)
ordinal        logit, probit, cloglog, cauchit             cutpoint        P(y ≤ k) = g⁻¹(cutpoint_k − η)
=============  ==========================================  ==============  =============================

Names are R's (``family()``, brms).  The default is R's canonical link, except for gamma: 1/η is negative for half of
the normal random effects, so ``log`` comes first there, as in brms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..errors import InputError
from .words import is_one_of

Array = NDArray[np.float64]

_PROBABILITY = ("logit", "probit", "cloglog", "cauchit")
_COUNT = ("log", "sqrt", "identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    links: tuple[str, ...]
    parameters: tuple[str, ...] = ()


KINDS = {
    "gaussian": _Kind(links=("identity", "log", "inverse"), parameters=("sigma",)),
    "student_t": _Kind(links=("identity", "log", "inverse"), parameters=("sigma", "nu")),
    "lognormal": _Kind(links=("identity",), parameters=("sigma",)),
    "bernoulli": _Kind(links=_PROBABILITY),
    "binomial": _Kind(links=_PROBABILITY),
    "poisson": _Kind(links=_COUNT),
    "negbinomial": _Kind(links=_COUNT, parameters=("shape",)),
    "gamma": _Kind(links=("log", "inverse", "identity"), parameters=("shape",)),
    "beta": _Kind(links=_PROBABILITY, parameters=("phi",)),
    "ordinal": _Kind(links=_PROBABILITY, parameters=("cutpoint",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """η = g(μ): both directions and the slope dμ/dη; for links of probabilities the sd behind the threshold."""

    to_eta: Callable[[Array], Array]
    to_mean: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    latent_sd: float = np.nan


def _logistic_slope(eta: Array) -> Array:
    p = special.expit(eta)
    return p * (1.0 - p)


LINKS = {
    "identity": Link(to_eta=lambda m: m, to_mean=lambda e: e, slope=np.ones_like),
    "log": Link(to_eta=np.log, to_mean=np.exp, slope=np.exp),
    "inverse": Link(to_eta=lambda m: 1.0 / m, to_mean=lambda e: 1.0 / e, slope=lambda e: -1.0 / e**2),
    "sqrt": Link(to_eta=np.sqrt, to_mean=np.square, slope=lambda e: 2.0 * e),
    "logit": Link(
        to_eta=special.logit, to_mean=special.expit, slope=_logistic_slope, latent_sd=np.pi / np.sqrt(3.0)
    ),
    "probit": Link(
        to_eta=special.ndtri,
        to_mean=special.ndtr,
        slope=lambda e: np.exp(-0.5 * e**2) / np.sqrt(2.0 * np.pi),
        latent_sd=1.0,
    ),
    "cloglog": Link(
        to_eta=lambda m: np.log(-np.log1p(-m)),
        to_mean=lambda e: -np.expm1(-np.exp(e)),
        slope=lambda e: np.exp(e - np.exp(e)),
        latent_sd=np.pi / np.sqrt(6.0),
    ),
    "cauchit": Link(
        to_eta=lambda m: np.tan(np.pi * (m - 0.5)),
        to_mean=lambda e: 0.5 + np.arctan(e) / np.pi,
        slope=lambda e: 1.0 / (np.pi * (1.0 + e**2)),
        latent_sd=np.pi / np.sqrt(3.0),  # a Cauchy distribution has no sd: the logistic's instead
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A response distribution with its link.

    Attributes
    ----------
    name, link : str
        As in the table above.
    """

    name: str = "gaussian"
    link: str = "identity"

    @classmethod
    def of(cls, name: str, link: str | None = None) -> Family:
        """Look a family up by name.

        Raises
        ------
        InputError
            No such family, or it has no such link.
        """
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise InputError(f"family={name!r}: families are {', '.join(KINDS)}")
        if link is not None and not is_one_of(link, kind.links):
            raise InputError(f"link={link!r}: links of {name} are {', '.join(kind.links)}")
        return cls(name=name, link=link or kind.links[0])

    def __str__(self) -> str:
        return f"{self.name} ({self.link} link)"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters besides the mean, such as ``sigma``."""
        return KINDS[self.name].parameters

    @property
    def is_normal(self) -> bool:
        """Whether response, or its logarithm, is normal around the linear predictor: the exact sampler's case."""
        return self.name in ("gaussian", "lognormal") and self.link == "identity"

    @property
    def has_residual(self) -> bool:
        """Whether sigma is the sd of an error that one random effect for every row could not be told from."""
        return self.name in ("gaussian", "student_t", "lognormal")

    def eta(self, mean: Array | float) -> Array:
        """The linear predictor of a mean."""
        return LINKS[self.link].to_eta(np.asarray(mean, dtype=np.float64))

    def mean(self, eta: Array) -> Array:
        """g⁻¹(η): μ of the table above."""
        return LINKS[self.link].to_mean(np.asarray(eta, dtype=np.float64))

    def slope(self, eta: Array) -> Array:
        """dμ/dη."""
        return LINKS[self.link].slope(np.asarray(eta, dtype=np.float64))

    def centre(self, y: Array, trials: Array | None) -> float:
        """The linear predictor of the average response: where the prior of the intercept sits."""
        if self.name == "ordinal":
            return 0.0
        if self.name == "lognormal":
            return float(np.log(y).mean())
        if self.link in _PROBABILITY:
            if self.name == "beta":
                return float(self.eta(y.mean()))
            total = len(y) if trials is None else trials.sum()
            return float(self.eta((y.sum() + 0.5) / (total + 1.0)))
        if self.name in ("poisson", "negbinomial"):
            return float(self.eta((y.sum() + 0.5) / len(y)))
        mean = y.mean()
        if (self.link == "log" and mean <= 0.0) or (self.link == "inverse" and mean == 0.0):
            what = "logarithm" if self.link == "log" else "inverse"
            raise InputError(
                f"link={self.link!r}: the mean of the response is {mean:.4g}, which has no {what}"
            )
        return float(self.eta(mean))

    def scale(self, y: Array) -> tuple[float, str]:
        """The natural scale of the linear predictor, and where it comes from.

        The response's sd carried through the link (|g'(ȳ)| sd y), one for a log link, whose unit is a factor of e, and
        for links of probabilities one unit of log odds, or as large a part of the sd behind the threshold: 1 for logit,
        √3/π for probit.
        """
        if self.name == "lognormal":
            return float(np.std(np.log(y), ddof=1)), "sd(log y)"
        if self.link == "identity" and self.name in ("gaussian", "student_t"):
            return float(np.std(y, ddof=1)), "sd(y)"
        if self.link in _PROBABILITY:
            of_logit = LINKS[self.link].latent_sd / LINKS["logit"].latent_sd
            return float(of_logit), "log odds"
        if self.link == "log":
            return 1.0, "log unit"
        spread = float(np.std(y, ddof=1)) or max(float(y.mean()), 1.0) ** 0.5
        at = self.eta(max(float(y.mean()), 0.5 / len(y)))
        return float(spread / abs(self.slope(at))), f"sd(y) on the {self.link} scale"


GAUSSIAN = Family()
