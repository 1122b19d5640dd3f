"""What a family is: the contract that every file of this room fulfils (docs/architecture.md, where new code goes)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import InputError, NotAvailableError
from ..tools.arrays import Array
from ..tools.lazy import special
from .links import LINKS, PROBABILITY_LINKS

FARTHEST = 8.0  # of a normal score: doubles know no probability nearer to one


class Default(NamedTuple):
    """A default prior before it is made: PyMC's name of the distribution, its arguments, why."""

    name: str
    arguments: dict[str, float]
    reason: str


class Scale(NamedTuple):
    """The natural scale of a linear predictor: a value and what it is."""

    value: float
    words: str
    is_unit: bool = False  # counts units ("2.5 log units") rather than naming a statistic ("2.5 sd(y)")

    def times(self, factor: float, *, divisor: float = 1.0, divisor_name: str = "") -> str:
        """A multiple in words and in numbers: ``2.5 sd(y) / sd(ses) = 2.5 × 6.88 / 0.779``."""
        plural = "s" if self.is_unit and factor != 1.0 else ""
        words = f"{factor:g} {self.words}{plural}" if factor != 1.0 or self.value == 1.0 else self.words
        numbers = " × ".join([f"{v:.3g}" for v in (factor, self.value) if v != 1.0] or ["1"])
        if divisor_name:
            return f"{words} / sd({divisor_name}) = {numbers} / {divisor:.3g}"
        return f"{words} = {numbers}" if self.value != 1.0 else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(ABC):
    """A response distribution with its link η = g(μ).

    One subclass a family, one instance a link.  What a family cannot do is said by the capabilities below; nobody asks
    for its name.  ``eta`` and ``mean`` are (..., n), and arrays of parameters broadcast against them (`along`);
    cutpoints have the leading axes of the draws, (...,), and one of their own.

    Attributes
    ----------
    link : str
        By R's name.
    """

    link: str
    fixed: tuple[tuple[str, float], ...] = ()  # parameters that are given as numbers: no unknowns

    # -- what it is called and takes
    name: ClassVar[str]
    links: ClassVar[tuple[str, ...]]  # default first
    every_parameter: ClassVar[tuple[str, ...]] = ()  # besides the mean
    limited_by: ClassVar[Mapping[str, str]] = {}  # parameter -> what the family tends to as it grows
    limit_at_zero: ClassVar[frozenset[str]] = frozenset()  # or, of these, as it goes to zero
    positive_parameters: ClassVar[bool] = True  # sampled by `parameter_links`; the others are ordered
    parameter_links: ClassVar[Mapping[str, str]] = {}  # in which they are searched and modelled, where that is not log
    parameters_by_row: ClassVar[frozenset[str]] = frozenset()  # have a linear predictor in any case, without intercept
    # -- capabilities
    has_mean: ClassVar[bool] = True  # E(y | η) is one number
    has_categories: ClassVar[bool] = False
    is_ordered: ClassVar[bool] = True  # of categories: whether cutpoints stand in place of an intercept
    has_residual: ClassVar[bool] = False  # sigma is the sd of an error, which weights divide
    has_free_dispersion: ClassVar[bool] = False  # the likelihood has no bound where every row is at its mean
    narrow: ClassVar[float] = 1e4  # dispersion with which rows vary by about a hundredth around their means
    has_unit_deviance: ClassVar[bool] = False  # the largest density of a response is where its mean is
    has_trials: ClassVar[bool] = False
    is_binary: ClassVar[bool] = False  # 0 or 1, or two categories by name
    is_count: ClassVar[bool] = False
    least: ClassVar[float] = 0.0  # count
    mean_parameters: ClassVar[frozenset[str]] = frozenset()  # on which E(y | η) hangs besides η
    scales_with_mean: ClassVar[bool] = True  # E(y | η) is a multiple of g⁻¹(η), or η with models_log
    between: ClassVar[type[Family] | None] = (
        None  # known to loops, of rows at none of `ends`: which others tell nothing of
    )
    zeros: ClassVar[str] = ""  # the parameter that is the probability of a zero beside, or in place of, the count's
    for_zeros: ClassVar[tuple[str, ...]] = ()  # families with a part for zeros besides those of this one
    is_discrete: ClassVar[bool] = False
    is_censored: ClassVar[bool] = False  # rows may lie in intervals, whose ends stand for the response and the trials
    lowest: ClassVar[float] = -np.inf  # end of the support
    ends: ClassVar[tuple[float, ...]] = ()  # of a continuous response: values with a probability of their own
    is_compiled: ClassVar[bool] = True  # known to compiled loops; else by `log_density` and its graph alone
    models_log: ClassVar[bool] = False  # the linear predictor is that of log y
    has_normal_scores: ClassVar[bool] = False  # of y or log y, in units of sigma: their spread is fitted
    has_long_tails: ClassVar[bool] = False
    has_positive_mean: ClassVar[bool] = False
    log_concave_links: ClassVar[tuple[str, ...]] = ()  # log density concave in η whatever the parameters
    normaliser_takes_y: ClassVar[bool] = False  # `normaliser` hangs on the distinct responses
    # -- compiled: see `bayeslmm.families.densities`
    row: ClassVar[Any]
    rows: ClassVar[Any] = None  # over all rows, where that is faster than `row` by `row`
    # log density of a row as `row` gives it, its first three derivatives by η, and for each of the first two parameters
    # (of categories, the cutpoints above and below) its derivative and those of the first two by η
    bends: ClassVar[Any]
    normaliser: ClassVar[Any] = None
    # -- words
    distribution: ClassVar[str] = ""  # in equations, %s: sigma with its weights, or the trials
    variance_in_words: ClassVar[str] = ""
    mean_symbol: ClassVar[str] = "μ_i"
    needs: ClassVar[str] = ""  # what responses must be
    without_dispersion: ClassVar[str] = (  # what is known where the dispersion goes away
        "the model fits the data perfectly, and the likelihood has no bound. Leave out what determines the response."
    )

    def __str__(self) -> str:
        return f"{self.name} ({self.link} link)"

    @property
    def word(self) -> str:
        """The word for it in texts and files, which a model takes as ``family=``; nothing is to hang on it."""
        return self.name

    @property
    def option(self) -> str:
        """How it is asked for, in the words of messages."""
        return f"family={self.word!r}"

    @property
    def is_normal(self) -> bool:
        """Whether response, or its logarithm, is normal around the linear predictor: the exact sampler's case."""
        return False

    @property
    def dispersion(self) -> str:
        """The unknown parameter by which responses vary more or less around one mean; empty where there is none."""
        return next((name for name in self.parameters if name in ("shape", "phi")), "")

    @property
    def is_log_concave(self) -> bool:
        """Whether the log density of a response is concave in the linear predictor, whatever the parameters.

        A class says so for itself: one with another density would inherit what does not hold of it.
        """
        return self.link in vars(type(self)).get("log_concave_links", ())

    @property
    def mean_is_probability(self) -> bool:
        """Whether E(y | η) lies between 0 and 1."""
        return self.has_mean and self.link in PROBABILITY_LINKS

    @property
    def has_reml(self) -> bool:
        """Whether REML and ML are for this response as it is."""
        return self.is_normal and not self.models_log

    @property
    def has_cutpoints(self) -> bool:
        """Whether responses are ordered categories, between which there are cutpoints in place of an intercept."""
        return self.has_categories and self.is_ordered

    @property
    def is_nominal(self) -> bool:
        """Whether responses are categories without an order, each but the first with a linear predictor of its own."""
        return self.has_categories and not self.is_ordered

    @property
    def is_categorical(self) -> bool:
        """Whether responses are categories, two or more."""
        return self.is_binary or self.has_categories

    @property
    def parameters(self) -> tuple[str, ...]:
        """The unknown ones of `every_parameter`, which the compiled densities take all."""
        fixed = dict(self.fixed)
        return tuple(name for name in self.every_parameter if name not in fixed)

    @property
    def known(self) -> Mapping[str, float]:
        """Parameters that are no unknowns of the model: fixed ones, or the sigma of known standard errors."""
        return dict(self.fixed)

    def is_positive(self, parameter: str) -> bool:
        """Whether a parameter is one positive number, or a probability, in a row: what a linear predictor can be of."""
        return self.positive_parameters

    @property
    def of_loops(self) -> Family:
        """The family whose compiled density rows have, at what `for_loops` makes of theirs."""
        return self

    def for_loops(self, eta: Array, parameters: Array) -> tuple[Array, Array, Array | float]:
        """Linear predictors (n,) and parameters (r,) or (n, r) for the loops of `of_loops`, and the unit (n,) of η."""
        return eta, parameters, 1.0

    def among_all(self, values: Mapping[str, Array]) -> Array:
        """All parameters (r,) as the compiled densities take them, from the unknown ones."""
        every = (np.atleast_1d({**values, **self.known}[name]) for name in self.every_parameter)
        return np.concatenate([np.zeros(0), *every])

    @property
    def residual_is_known(self) -> bool:
        """Whether sigma is known, so that an effect of every row can be told from the residual."""
        return "sigma" in self.known

    @property
    def adds_unknown_error(self) -> bool:
        """Whether a normal error of unknown sd is added to every row, as an effect of the row would be."""
        return "sigma" in self.parameters and (self.has_residual or self.is_on_response_scale)

    def complete(self, parameters: Mapping[str, Array], like: tuple[int, ...]) -> dict[str, Array]:
        """All parameters, those that are known repeated to the shape ``like`` of draws."""
        return {**parameters, **{name: np.full(like, value) for name, value in self.known.items()}}

    def along(self, parameters: Mapping[str, Any]) -> dict[str, Array]:
        """Parameters (...,), one for all rows, as they broadcast against linear predictors (..., n)."""
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
        return {name: value[..., None] for name, value in arrays.items()} if self.has_mean else arrays

    def precisions(self, weights: Array | None) -> Array | None:
        """What the compiled loops take for the weights (n,): divided by sigma² where that is known."""
        return weights

    def hides_row_effects(self, trials: Array | None) -> bool:
        """Whether an effect of every row is lost in what stands between the linear predictor and the response.

        So it is where a row says on which side of a threshold a latent variable lies, whose sd is a matter of
        convention: one trial, or one of several ordered categories.
        """
        return self.is_categorical or (self.has_trials and (trials is None or bool(np.max(trials) <= 1.0)))

    def label(self, response: str) -> str:
        """What the linear predictor of an identity link is called: the response, or its logarithm."""
        return f"log({response})" if self.models_log else response

    def log_jacobian(self, y: Array) -> Array:
        """log |dy/dz| (n,) of the working response z: densities of y are those of z less this."""
        return np.log(y) if self.models_log else np.zeros(len(y))

    @property
    def is_on_response_scale(self) -> bool:
        """Whether the linear predictor is E(y | η), so that offsets are in units of y."""
        return self.link == "identity" and not self.models_log and self.has_mean

    # -- links

    def parameter_link(self, parameter: str) -> str:
        """The link of a parameter besides the mean: log of a positive one, logit of a probability."""
        return self.parameter_links.get(parameter, "log")

    def is_probability(self, parameter: str) -> bool:
        """Whether a parameter lies between 0 and 1."""
        return self.parameter_link(parameter) in PROBABILITY_LINKS

    def eta(self, mean: Array | float) -> Array:
        """The linear predictor of a mean."""
        return LINKS[self.link].to_eta(np.asarray(mean, dtype=np.float64))

    def mean(self, eta: Array) -> Array:
        """μ = g⁻¹(η)."""
        return LINKS[self.link].to_mean(np.asarray(eta, dtype=np.float64))

    def slope(self, eta: Array) -> Array:
        """dμ/dη."""
        return LINKS[self.link].slope(np.asarray(eta, dtype=np.float64))

    # -- responses

    def impossible(self, y: Array) -> NDArray[np.bool_]:
        """Where a response (n,) lies outside the support."""
        return np.zeros(y.shape, dtype=bool)

    def working_response(self, y: Array) -> Array:
        """The response as the compiled loops take it."""
        return np.asarray(y)

    def constants(self, y: Array, trials: Array | None, weights: Array | None) -> Array:
        """What the log density of each row holds besides `row` and `normaliser` (n,): it hangs on the data only."""
        return np.zeros(len(y))

    def at_ends(self, y: Array, parameters: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """What the probabilities of `ends` add to the log density of each row (n,), and its slopes by these.

        Of a family with rows `between`: log density = that of `between`, of rows that are at no end, plus this.
        """
        return np.zeros(len(y)), {}

    def raised_by(self, parameter: str, y: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows (n,) that a probability besides the mean makes likelier, and those of which it says something."""
        return y == 0.0, np.ones(len(y), dtype=bool)

    def goes_to_zero(self, parameter: str, y: Array) -> bool:
        """Whether a parameter that has a limit (`limited_by`) has it at zero, for these responses."""
        return parameter in self.limit_at_zero

    def log_density(self, y: Array, eta: Array, parameters: Mapping[str, Array]) -> Array:
        """log P(y | parameters) (..., n), of families that no compiled loop knows."""
        raise AssertionError(f"{self} is known to compiled loops")

    # -- moments, distribution, draws

    def expected(self, eta: Array, parameters: Mapping[str, Array], weights: Array | None = None) -> Array:
        """E(y | η) (..., n)."""
        return self.mean(eta)

    @abstractmethod
    def variance(
        self,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
        unit: bool = False,
    ) -> Array:
        """Var(y | η) (..., n), of successes over trials for binomial; with ``unit`` the variance function alone.

        Raises
        ------
        NotAvailableError
            There is none.
        """

    def working_residual_variance(
        self, y: Array, mean: Array, parameters: Mapping[str, Array], *, trials: Array | None, weights: Array | None
    ) -> Array:
        """Inverse weight of each row (n,) in a normal model that stands for this one around ``mean``."""
        return self.variance(mean, parameters, trials=trials, weights=weights)

    def unit_deviance(
        self,
        y: Array,
        mean: Array,
        parameters: Mapping[str, Array],
        *,
        trials: Array | None = None,
        weights: Array | None = None,
    ) -> Array:
        """−2 (log density at the mean less that at μ = y) of each row (n,), without the dispersion."""
        raise AssertionError(f"{self.name} has no unit deviance")

    @abstractmethod
    def cdf(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None = None
    ) -> tuple[Array, Array]:
        """P(Y < y) and P(Y ≤ y) (..., n), one array twice for continuous responses.

        Sigma of this method and of `draw` is divided by the roots of the weights.
        """

    def normal_scores(
        self, y: Array, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator
    ) -> Array:
        """Φ⁻¹(F(y)) (..., n), drawn uniformly from the jump of F where y is discrete (Dunn & Smyth 1996)."""
        below, up_to = self.cdf(y, eta, parameters, trials)
        u = below + rng.random(eta.shape) * (up_to - below)
        return np.clip(special.ndtri(u), -FARTHEST, FARTHEST)

    @abstractmethod
    def draw(self, eta: Array, parameters: Mapping[str, Array], trials: Array | None, rng: Generator) -> Array:
        """One response for every linear predictor (..., n); NaN where the mean is impossible."""

    def residual_variance(
        self, parameters: Mapping[str, Array], fixed: Array, random: Array
    ) -> tuple[Array | None, str]:
        """The variance on the scale of the linear predictor that groups' is compared with, and its name.

        Parameters
        ----------
        parameters : mapping
            They broadcast against ``fixed``.
        fixed : (...,)
            Xβ + offset where the residual is wanted.
        random : (...,)
            Variance of the linear predictor around that.

        Returns
        -------
        None, and the reason, where there is no such variance.
        """
        return None, "the residual variance on the scale of the linear predictor has no simple form"

    # -- PyMC

    @abstractmethod
    def graph(
        self,
        eta: Any,
        parameters: Mapping[str, Any],
        *,
        trials: Array | None,
        weights: Array | None,
        categories: Array,
        options: Mapping[str, Any],
    ) -> Any:
        """The observed variable ``y`` of a PyMC model around the linear predictor.

        ``categories`` are the numbers (K,) that stand for those of an ordered response, increasing.
        """

    def graph_interval(self, y: Any, lower: Array, upper: Array) -> Any:
        """log P(lower < y ≤ upper) (n,) in PyTensor, of the observed variable ``y`` of `graph`."""
        raise AssertionError(f"{self} has no intervals")

    def graph_mean(self, eta: Any) -> Any:
        """g⁻¹(η) in PyTensor."""
        return LINKS[self.link].graph(eta)

    # -- starts

    def start(self, y: Array, trials: Array) -> Array:
        """Means to begin a search with: the data, drawn towards their average so that the link is finite."""
        if self.link in ("log", "inverse") and y.min() <= 0.0:
            return np.full(len(y), max(abs(float(y.mean())), 1e-3))
        return y

    def working_variance(self, mean: Array) -> Array:
        """Variance of the response up to a factor, as a function of its mean."""
        return np.ones_like(mean)

    def guess(self, parameter: str, sigma: float) -> float:
        """Where a search for a parameter begins, ``sigma`` being the sd of the working response."""
        raise AssertionError(f"{self.name} has no parameter {parameter}")

    # -- default priors

    def centre(self, y: Array, trials: Array | None) -> float:
        """The linear predictor of the average response: where the prior of the intercept sits."""
        mean = y.mean()
        if (self.link == "log" and mean <= 0.0) or (self.link == "inverse" and mean == 0.0):
            function_word = "logarithm" if self.link == "log" else "inverse"
            raise InputError(
                f"link={self.link!r}: the mean of the response is {mean:.4g}, which has no {function_word}"
            )
        return float(self.eta(mean))

    @property
    def centre_in_words(self) -> str:
        """What `centre` is."""
        return "mean(y)" if self.link == "identity" else f"{self.link}(mean y)"

    def scale(self, y: Array) -> Scale:
        """The natural scale of the linear predictor.

        The response's sd carried through the link (|g'(ȳ)| sd y), one for a log link, whose unit is a factor of e, and
        for links of probabilities one unit of log odds, or as large a part of the sd behind the threshold: 1 for logit,
        √3/π for probit.
        """
        if self.link in PROBABILITY_LINKS:
            return Scale(float(LINKS[self.link].latent_sd / LINKS["logit"].latent_sd), "log odds")
        if self.link == "log":
            return Scale(1.0, "log unit", is_unit=True)
        spread = float(np.std(y, ddof=1)) or max(float(y.mean()), 1.0) ** 0.5
        average = self.eta(max(float(y.mean()), 0.5 / len(y)))
        return Scale(float(spread / abs(self.slope(average))), f"sd(y) on the {self.link} scale")

    def default_prior(self, parameter: str, y: Array) -> Default:
        """The prior of a parameter besides the mean, before its class is known."""
        raise AssertionError(f"{self.name} has no parameter {parameter}")


def linked_moments(prior: Default, link: str) -> tuple[float, float]:
    """Mean and sd of the log, or the log odds, of a parameter with such a prior.

    Raises
    ------
    AssertionError
        A default prior whose moments are not written out here.
    """
    match prior.name, link, prior.arguments:
        case "LogNormal", "log", {"mu": mu, "sigma": sigma}:
            return mu, sigma
        case "Gamma", "log", {"alpha": shape, "beta": rate}:
            return float(special.digamma(shape) - np.log(rate)), float(np.sqrt(special.polygamma(1, shape)))
        case "HalfStudentT", "log", {"nu": nu, "sigma": scale}:  # t² is an F of 1 and ν
            mean = 0.5 * (special.digamma(0.5) - special.digamma(0.5 * nu) + np.log(nu))
            variance = 0.25 * (special.polygamma(1, 0.5) + special.polygamma(1, 0.5 * nu))
            return float(np.log(scale) + mean), float(np.sqrt(variance))
        case "Normal", "identity", {"mu": mu, "sigma": sigma}:
            return mu, sigma
        case "Beta", "logit", {"alpha": a, "beta": b}:
            variance = special.polygamma(1, a) + special.polygamma(1, b)
            return float(special.digamma(a) - special.digamma(b)), float(np.sqrt(variance))
    raise AssertionError(f"no moments of {link} under {prior.name}")


def no_moments(what: str, response: str = "an ordinal") -> NotAvailableError:
    """The refusal of families without a mean."""
    return NotAvailableError(f"categories have no mean and no variance: {response} response has no {what}")
