"""Priors of the hyperparameters as the exact sampler needs them: numbers and log densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from ..errors import NotAvailableError
from ..spec.design import Design, GroupTerm
from ..spec.priors import LKJ, Prior, Priors

Array = NDArray[np.float64]
LogDensity = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperPriors:
    """Priors as the sampler needs them; K grouping factors with q_k columns, p fixed effects."""

    beta_mean: Array  # (p,) of the intercept at centred predictors and of the slopes
    beta_sd: Array  # (p,) infinite for a flat prior
    sds: tuple[tuple[Prior, ...], ...]  # K × q_k
    lkj: tuple[LKJ | None, ...]  # K
    sigma: Prior

    @classmethod
    def of(cls, design: Design, priors: Priors) -> HyperPriors:
        """The priors of a model.

        Raises
        ------
        NotAvailableError
            A fixed effect has a prior that is neither normal nor flat, so it cannot be integrated out.
        """
        mean, sd = np.zeros(design.p), np.full(design.p, np.inf)
        for j, name in enumerate(design.x_names):
            prior = priors.get("Intercept") if name == "Intercept" else priors.get("fixed", term=name)
            if isinstance(prior, Prior) and prior.name == "Normal":
                given = dict(prior.params)
                mean[j], sd[j] = given.get("mu", 0.0), given.get("sigma", 1.0)
            elif not (isinstance(prior, Prior) and prior.name == "Flat"):
                raise NotAvailableError(
                    f"{name} has the prior {prior!r}, and only normal and flat ones integrate out"
                )
        return cls(
            beta_mean=mean,
            beta_sd=sd,
            sds=tuple(
                tuple(_positive(priors.get("sd", g.name, c)) for c in g.columns) for g in design.groups
            ),
            lkj=tuple(_correlations(priors, g) for g in design.groups),
            sigma=_positive(priors.get("sigma")),
        )


def _positive(prior: Prior | LKJ) -> Prior:
    assert isinstance(prior, Prior)
    return prior


def _correlations(priors: Priors, group: GroupTerm) -> LKJ | None:
    if all(len(block) == 1 for block in group.blocks):
        return None
    prior = priors.get("cor", group.name)
    assert isinstance(prior, LKJ)
    return prior


def log_prior(prior: Prior) -> LogDensity:
    """The log density of a prior on a positive number.

    Raises
    ------
    NotAvailableError
        A distribution that is not written out here; NUTS takes any.
    """
    given = {name: float(value) for name, value in prior.params}
    names = frozenset(given)
    if prior.name in ("Flat", "HalfFlat"):
        return lambda value: 0.0
    if prior.name == "HalfNormal" and names == {"sigma"}:
        s = given["sigma"]
        return lambda value: 0.5 * np.log(2.0 / np.pi) - np.log(s) - 0.5 * (value / s) ** 2
    if prior.name == "HalfStudentT" and names == {"nu", "sigma"}:
        nu, s = given["nu"], given["sigma"]
        constant = (
            np.log(2.0) + gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(s)
        )
        return lambda value: constant - (nu + 1) / 2 * np.log1p((value / s) ** 2 / nu)
    if prior.name == "HalfCauchy" and names == {"beta"}:
        b = given["beta"]
        return lambda value: np.log(2.0 / np.pi) - np.log(b) - np.log1p((value / b) ** 2)
    if prior.name == "Exponential" and len(names) == 1 and names <= {"lam", "scale"}:
        rate = given["lam"] if "lam" in given else 1.0 / given["scale"]
        return lambda value: np.log(rate) - rate * value
    if prior.name == "Gamma" and names == {"alpha", "beta"}:
        a, b = given["alpha"], given["beta"]
        constant = a * np.log(b) - gammaln(a)
        return lambda value: constant + (a - 1) * np.log(value) - b * value if value > 0 else -np.inf
    if prior.name == "LogNormal" and names == {"mu", "sigma"}:
        mu, s = given["mu"], given["sigma"]
        constant = -0.5 * np.log(2 * np.pi) - np.log(s)
        return lambda v: constant - np.log(v) - 0.5 * ((np.log(v) - mu) / s) ** 2 if v > 0 else -np.inf
    if prior.name == "Uniform" and names == {"lower", "upper"} and given["lower"] >= 0:
        lower, upper = given["lower"], given["upper"]
        return lambda value: -np.log(upper - lower) if lower <= value <= upper else -np.inf
    raise NotAvailableError(f"the exact sampler does not know the prior {prior!r}; method='nuts' takes any")
