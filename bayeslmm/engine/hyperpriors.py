"""Priors as the exact sampler needs them: numbers, and compiled log densities with their slopes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import lgamma

import numpy as np

from ..design.design import Design, GroupTerm
from ..design.names import LOG_RATIO, RHO
from ..design.priors import LKJ, Prior, Priors
from ..errors import NotAvailableError, PriorError
from ..tools.arrays import Array
from ..tools.compiling import compiled

PERFECT = 1e-5  # of the response's sd: a residual sd below is rounding


class Kind(IntEnum):
    """Distributions on positive numbers, or on those between 0 and 1; each has up to two parameters a, b."""

    FLAT = 0
    HALF_NORMAL = 1  # scale
    HALF_T = 2  # degrees of freedom, scale
    EXPONENTIAL = 3  # rate
    GAMMA = 4  # shape, rate
    INVERSE_GAMMA = 5  # shape, scale
    LOG_NORMAL = 6  # mean and sd of the log
    UNIFORM = 7  # lower, upper
    BETA = 8  # both shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Positive:
    """A prior of a positive number."""

    kind: Kind
    a: float = 1.0
    b: float = 1.0

    @classmethod
    def of(cls, prior: Prior | LKJ) -> Positive:
        """A `Prior` in numbers.

        Raises
        ------
        NotAvailableError
            A distribution, or a parametrisation, that is not written out here; NUTS takes any.
        PriorError
            A scale, rate or shape that is not positive, or an empty interval.
        """
        positive = cls.find(prior)
        if positive is None:
            raise NotAvailableError(unknown_positive(prior))
        sound = {Kind.LOG_NORMAL: positive.b > 0.0, Kind.UNIFORM: 0.0 <= positive.a < positive.b}
        if not sound.get(positive.kind, min(positive.a, positive.b) > 0.0):
            needed = "0 <= lower < upper" if positive.kind == Kind.UNIFORM else "positive scales, rates and shapes"
            raise PriorError(f"{prior!r} is no distribution of a positive number: it needs {needed}")
        return positive

    @property
    def scale(self) -> float:
        """Of a density that is highest at zero; infinite for others."""
        match self.kind:
            case Kind.HALF_NORMAL:
                return self.a
            case Kind.HALF_T:
                return self.b
            case Kind.EXPONENTIAL:
                return 1.0 / self.a
        return np.inf

    @classmethod
    def find(cls, prior: Prior | LKJ) -> Positive | None:
        """The numbers of a prior, sound or not; None for one that is not written out here."""
        assert isinstance(prior, Prior)
        match prior.name, {name: float(value) for name, value in prior.params}:
            case "Flat" | "HalfFlat", {}:
                return cls(kind=Kind.FLAT)
            case "HalfNormal", {"sigma": scale, **rest} if not rest:
                return cls(kind=Kind.HALF_NORMAL, a=scale)
            case "HalfStudentT", {"nu": nu, "sigma": scale, **rest} if not rest:
                return cls(kind=Kind.HALF_T, a=nu, b=scale)
            case "HalfCauchy", {"beta": scale, **rest} if not rest:
                return cls(kind=Kind.HALF_T, a=1.0, b=scale)
            case "Exponential", {"lam": rate, **rest} if not rest:
                return cls(kind=Kind.EXPONENTIAL, a=rate)
            case "Exponential", {"scale": scale, **rest} if not rest:
                return cls(kind=Kind.EXPONENTIAL, a=1.0 / scale)
            case "Gamma", {"alpha": shape, "beta": rate, **rest} if not rest:
                return cls(kind=Kind.GAMMA, a=shape, b=rate)
            case "InverseGamma", {"alpha": shape, "beta": scale, **rest} if not rest:
                return cls(kind=Kind.INVERSE_GAMMA, a=shape, b=scale)
            case "LogNormal", {"mu": mu, "sigma": sigma, **rest} if not rest:
                return cls(kind=Kind.LOG_NORMAL, a=mu, b=sigma)
            case "Uniform", {"lower": lower, "upper": upper, **rest} if not rest:
                return cls(kind=Kind.UNIFORM, a=lower, b=upper)
            case "Beta", {"alpha": a, "beta": b, **rest} if not rest:
                return cls(kind=Kind.BETA, a=a, b=b)
        return None


def unknown_positive(prior: Prior | LKJ) -> str:
    """Why a prior of a positive number is for the PyMC model only."""
    return f"the exact sampler does not know the prior {prior!r}; method='nuts' takes any"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualPriors:
    """Priors of the parameters of residuals besides sigma: d log ratios of sds, and correlations."""

    mean: Array  # (d,)
    sd: Array  # (d,) infinite for a flat prior
    nu: Array  # (d,) infinite for a normal or flat prior
    eta: float  # of LKJ


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperPriors:
    """Priors of a model in numbers; K grouping factors with q_k columns, p fixed effects.

    A Student t prior of a fixed effect is a normal one whose precision is multiplied by ω ~ Gamma(ν/2, ν/2); ω is one
    more hyperparameter.
    """

    beta_mean: Array  # (p,) of the intercept at centred predictors and of the slopes
    beta_sd: Array  # (p,) infinite for a flat prior
    beta_nu: Array  # (p,) degrees of freedom, infinite for a normal or flat prior
    sds: tuple[tuple[Positive, ...], ...]  # K × its number of sds
    lkj: tuple[float, ...]  # K: eta
    sigma: Positive | None  # None where it is known
    residual: ResidualPriors | None = None  # of residuals with parameters besides sigma

    @classmethod
    def of(cls, design: Design, priors: Priors) -> HyperPriors:
        """The priors of a model.

        Raises
        ------
        NotAvailableError
            A fixed effect has a prior that is neither normal, Student t, Cauchy nor flat, so it cannot be integrated
            out; or see `Positive.of`.
        """
        of_beta = [location_scale(name, of_fixed_effect(priors, name)) for name in design.x_names]
        mean, sd, nu = np.array(of_beta).reshape(-1, 3).T
        return cls(
            beta_mean=mean,
            beta_sd=sd,
            beta_nu=nu,
            sds=tuple(
                tuple(Positive.of(priors.get("sd", group.name, term)) for term in group.sd_terms)
                for group in design.groups
            ),
            lkj=tuple(_eta(priors, group) for group in design.groups),
            sigma=None if design.family.residual_is_known else Positive.of(priors.get("sigma")),
            residual=_of_residuals(design, priors),
        )


def _of_residuals(design: Design, priors: Priors) -> ResidualPriors | None:
    part = design.residual
    if part is None:
        return None
    each = [priors.get(LOG_RATIO, term=label) for label in part.labels[: part.n_spread]]
    numbers = [location_scale(label, prior) for label, prior in zip(part.labels, each, strict=False)]
    mean, sd, nu = np.array(numbers, dtype=float).reshape(-1, 3).T
    lkj = priors.get(RHO) if part.is_correlated else LKJ(1.0)
    assert isinstance(lkj, LKJ)
    return ResidualPriors(mean=mean, sd=sd, nu=nu, eta=lkj.eta)


def keeps_from_zero(prior: Prior | LKJ, *, rows: int, spread: float) -> bool:
    """Whether a prior of sigma outweighs σ⁻ⁿ, the likelihood of n rows without residuals, next to zero.

    Next to zero is below `PERFECT` times the response's sd, here ``spread``.
    """
    if Positive.find(prior) is None:
        return False
    positive = Positive.of(prior)
    sigma = spread * np.geomspace(1e-3 * PERFECT, 1e3, 500)
    density = [log_prior(int(positive.kind), positive.a, positive.b, s)[0] - rows * np.log(s) for s in sigma]
    return bool(sigma[np.argmax(density)] > PERFECT * spread)


def location_scale(name: str, prior: Prior | LKJ) -> tuple[float, float, float]:
    """(location, scale, degrees of freedom) of a fixed effect's prior.

    Raises
    ------
    NotAvailableError
        It has none: see `find_location_scale`.
    """
    numbers = find_location_scale(name, prior)
    if numbers is None:
        raise NotAvailableError(unknown_real(name, prior))
    return numbers


def find_location_scale(name: str, prior: Prior | LKJ) -> tuple[float, float, float] | None:
    """(location, scale, degrees of freedom) of a normal, Student t, Cauchy or flat prior; None of any other."""
    if not isinstance(prior, Prior):
        return None
    arguments = {key: float(value) for key, value in prior.params}
    names = frozenset(arguments)
    if prior.name == "Flat":
        return 0.0, np.inf, np.inf
    if prior.name == "Normal" and names <= {"mu", "sigma"}:
        return arguments.get("mu", 0.0), arguments.get("sigma", 1.0), np.inf
    if prior.name == "StudentT" and "nu" in names <= {"nu", "mu", "sigma"}:
        return arguments.get("mu", 0.0), arguments.get("sigma", 1.0), arguments["nu"]
    if prior.name == "Cauchy" and names == {"alpha", "beta"}:
        if arguments["beta"] <= 0.0:
            raise PriorError(f"{name} has the prior {prior!r}: beta, its scale, must be positive")
        return arguments["alpha"], arguments["beta"], 1.0
    return None


def unknown_real(name: str, prior: Prior | LKJ) -> str:
    """Why a prior of a real number is for the PyMC model only."""
    return f"{name} has the prior {prior!r}; only normal, Student t, Cauchy and flat ones are written out here"


def of_fixed_effect(priors: Priors, name: str) -> Prior | LKJ:
    """The prior of a column of X."""
    return priors.get("Intercept") if name == "Intercept" else priors.get("fixed", term=name)


def unwritten(design: Design, priors: Priors) -> str:
    """Which prior of a model is not written out here, in words; empty where all are."""
    for part in design.predictors.values():
        having = "every category" if part.category else part.parameter
        return f"{having} has a linear predictor, which the loops do not know"
    for name in design.x_names:
        prior = of_fixed_effect(priors, name)
        if find_location_scale(name, prior) is None:
            return unknown_real(name, prior)
    if design.residual is not None:
        for label in design.residual.labels[: design.residual.n_spread]:
            prior = priors.get(LOG_RATIO, term=label)
            if find_location_scale(label, prior) is None:
                return unknown_real(f"{LOG_RATIO}({label})", prior)
    positive = [priors.get("sd", group.name, term) for group in design.groups for term in group.sd_terms]
    for name in design.family.parameters:
        prior = priors.get(name)
        if design.family.positive_parameters:
            positive.append(prior)
        elif find_location_scale(name, prior) is None:
            return unknown_real(name, prior)
    return next((unknown_positive(prior) for prior in positive if Positive.find(prior) is None), "")


def with_other_ends(design: Design, priors: Priors) -> str:
    """Which prior ends where its parameter does not, which the joint density in loops does not know; empty if none.

    Such are uniform ones, and beta ones of parameters that may be larger than one.
    """
    family = design.family
    each = [(f"sd({t} | {g.name})", priors.get("sd", g.name, t), False) for g in design.groups for t in g.sd_terms]
    if family.positive_parameters:
        each += [(name, priors.get(name), family.is_probability(name)) for name in family.parameters]
    for name, prior, ends_at_one in each:
        if isinstance(prior, Prior) and (prior.name == "Uniform" or (prior.name == "Beta" and not ends_at_one)):
            return f"the prior {prior!r} of {name} has ends, and other coordinates in PyMC"
    return ""


def _eta(priors: Priors, group: GroupTerm) -> float:
    if not group.correlated:
        return 1.0
    prior = priors.get("cor", group.name)
    assert isinstance(prior, LKJ)
    return prior.eta


@compiled
def log_prior(kind: int, a: float, b: float, v: float) -> tuple[float, float]:
    """Log density of a `Positive` at v > 0, and its derivative."""
    if kind == Kind.HALF_NORMAL:
        return 0.5 * np.log(2.0 / np.pi) - np.log(a) - 0.5 * (v / a) ** 2, -v / a**2
    if kind == Kind.HALF_T:
        constant = np.log(2.0) + lgamma((a + 1.0) / 2.0) - lgamma(a / 2.0) - 0.5 * np.log(a * np.pi) - np.log(b)
        return constant - (a + 1.0) / 2.0 * np.log1p((v / b) ** 2 / a), -(a + 1.0) * v / (a * b**2 + v**2)
    if kind == Kind.EXPONENTIAL:
        return np.log(a) - a * v, -a
    if kind == Kind.GAMMA:
        return a * np.log(b) - lgamma(a) + (a - 1.0) * np.log(v) - b * v, (a - 1.0) / v - b
    if kind == Kind.INVERSE_GAMMA:
        return a * np.log(b) - lgamma(a) - (a + 1.0) * np.log(v) - b / v, b / v**2 - (a + 1.0) / v
    if kind == Kind.LOG_NORMAL:
        z = (np.log(v) - a) / b
        return -0.5 * np.log(2.0 * np.pi) - np.log(b) - np.log(v) - 0.5 * z**2, -(1.0 + z / b) / v
    if kind == Kind.UNIFORM:
        return (-np.log(b - a) if a <= v <= b else -np.inf), 0.0
    if kind == Kind.BETA:
        constant = lgamma(a + b) - lgamma(a) - lgamma(b)
        if not 0.0 < v < 1.0:
            return -np.inf, 0.0
        return constant + (a - 1.0) * np.log(v) + (b - 1.0) * np.log1p(-v), (a - 1.0) / v - (b - 1.0) / (1.0 - v)
    return 0.0, 0.0


@compiled
def log_location_scale(location: float, scale: float, nu: float, value: float) -> tuple[float, float]:
    """Log density of a normal, Student t or flat prior of a real number, and its derivative."""
    if np.isinf(scale):
        return 0.0, 0.0
    z = (value - location) / scale
    if np.isinf(nu):
        return -0.5 * z * z - np.log(scale) - 0.5 * np.log(2.0 * np.pi), -z / scale
    constant = lgamma(0.5 * (nu + 1.0)) - lgamma(0.5 * nu) - 0.5 * np.log(nu * np.pi)
    slope = -(nu + 1.0) * z / (nu + z * z) / scale
    return constant - np.log(scale) - 0.5 * (nu + 1.0) * np.log1p(z * z / nu), slope
