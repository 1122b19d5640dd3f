"""Draws of the priors and of the responses they imply: forward simulation, without a sampler.

Every parameter has a random stream of its own: another prior for one leaves the draws of the others as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from ..design.categories import as_seen
from ..design.design import Design, GroupTerm
from ..design.names import BETA, CUTPOINT, EACH, LOG_RATIO, RESPONSE, RHO, ROW, Names
from ..design.predictors import ParameterPart
from ..design.priors import LKJ, Prior, Priors
from ..engine.pymc_draws import draw_prior
from ..engine.randomness import generator, seed_sequence
from ..errors import InputError, PriorError
from ..tools.arrays import Array
from ..tools.lazy import stats
from .contract import as_dataset, observed_data, of_group
from .simulation import linear_predictor, residual_noise, simulate_response

IMPROPER = ("Flat", "HalfFlat")
_WHOLE_LINE = ("Normal", "StudentT", "Cauchy", "Laplace")


def prior_draws(
    design: Design, priors: Priors, *, draws: int, random_seed: int | None, effects_of: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Independent draws of every parameter from its prior.

    Parameters
    ----------
    design : Design
    priors : Priors
        All of them proper.
    draws : int
    random_seed : int or None
    effects_of : collection of str, optional
        Grouping factors whose effects are drawn as well; of all by default. The other numbers do not hang on it.

    Returns
    -------
    dict of float64 arrays
        ``beta`` (draw, p), intercept at predictors of zero as the model reports it, although its prior is that at
        average predictors; the family's parameters (draw,), ``cutpoint`` (draw, K − 1) increasing and at predictors of
        zero; for every grouping factor g ``sd_g`` (draw, q), ``cor_g`` (draw, q, q) where columns are correlated, and
        ``b_g`` (draw, J, q).

    Raises
    ------
    PriorError
        A prior is improper, or allows negative values for a positive parameter.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayeslmm.design.build import build_design
    >>> from bayeslmm.design.priors import resolve_priors
    >>> d = build_design("y ~ (1 | g)", pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]}))
    >>> {name: a.shape for name, a in prior_draws(d, resolve_priors(d), draws=5, random_seed=1).items()}
    {'beta': (5, 1), 'sd_g': (5, 1), 'b_g': (5, 2, 1), 'sigma': (5,)}
    """
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 1:
        raise InputError(f"draws={draws!r}: draws is a whole number, at least 1")
    _check_proper(priors)
    root = generator(random_seed)
    beta, middle = _fixed_effects(design, priors, int(draws), root)
    drawn: dict[str, np.ndarray] = {BETA: beta}
    for group in priors.at_means(design).every_group:
        with_effects = effects_of is None or group.name in effects_of
        drawn |= _group(group, design.names, priors, int(draws), root, with_effects=with_effects)
    for name in design.parameters:
        if name in design.of_variable:
            drawn[name] = _coefficients(design.of_variable[name], priors, int(draws), root)
            continue
        prior, (rng,) = priors.get(name), root.spawn(1)
        assert isinstance(prior, Prior)
        if name == CUTPOINT:
            cuts = len(design.levels) - 1
            at_middle = np.sort(_draw(name, prior, (int(draws), cuts), rng), axis=1)
            drawn[name] = at_middle + middle[:, None]
        else:
            drawn[name] = _draw(name, prior, (int(draws),), rng, positive=True)
    return drawn | _residuals(design, priors, int(draws), root)


def _residuals(design: Design, priors: Priors, draws: int, root: Generator) -> dict[str, Array]:
    """Parameters of residuals besides sigma."""
    part, drawn = design.residual, []
    if part is None:
        return {}
    for label in part.labels[: part.n_spread]:
        prior = priors.get(LOG_RATIO, term=label)
        assert isinstance(prior, Prior)
        drawn.append(_draw(label, prior, (draws, 1), root.spawn(1)[0]))
    correlation, blocks = part.structure.correlation, part.structure.blocks
    if correlation is not None and blocks is not None:
        lkj = priors.get(RHO)
        assert isinstance(lkj, LKJ)
        drawn.append(correlation.drawn(root.spawn(1)[0], draws, lkj.eta, blocks))
    return part.named(np.concatenate(drawn, axis=1))


def residual_values(design: Design, drawn: Mapping[str, Array]) -> Array | None:
    """Parameters of residuals besides sigma (..., d + r) among draws by name; None where there are none."""
    part = design.residual
    return None if part is None else np.concatenate([drawn[name] for name in part.variables], axis=-1)


def _check_proper(priors: Priors) -> None:
    improper = [entry for entry in priors.entries if isinstance(entry.prior, Prior) and entry.prior.name in IMPROPER]
    if improper:
        names = ", ".join(entry.label for entry in improper)
        example = {
            "sd": "Prior('HalfNormal', sigma=1)",
            "Intercept": "Prior('Normal', mu=0, sigma=1)",
            "fixed": "Prior('Normal', mu=0, sigma=1)",
            "cutpoint": "Prior('Normal', mu=0, sigma=1)",
        }.get(improper[0].kind, "Prior('HalfNormal', sigma=1)")
        raise PriorError(
            f"{names}: a flat prior is improper, so nothing can be drawn from it. Give a proper one, such as "
            f"priors={{{improper[0].key!r}: {example}}} on a scale that suits your data, or leave it out for the "
            "default."
        )


def _fixed_effects(design: Design, priors: Priors, draws: int, root: Generator) -> tuple[Array, Array]:
    """β (draw, p) on the user's scale, and mean(X)·slopes (draw,), by which an intercept or a cutpoint moves."""
    entries = [
        (name, priors.get("Intercept") if name == "Intercept" else priors.get("fixed", term=name))
        for name in design.x_names
    ]
    return _linear(design.X, entries, draws, root)


def _coefficients(part: ParameterPart, priors: Priors, draws: int, root: Generator) -> Array:
    """γ (draw, p) of a parameter's linear predictor on the user's scale."""
    entries = [(name, priors.get("coef", part.parameter, name)) for name in part.x_names]
    return _linear(part.X, entries, draws, root)[0]


def _linear(X: Array, entries: list[tuple[str, Prior | LKJ]], draws: int, root: Generator) -> tuple[Array, Array]:
    """Coefficients (draw, p) with these priors, an intercept's being that at the means of X; how far that moves."""
    beta = np.empty((draws, len(entries)))
    for j, (name, prior) in enumerate(entries):
        assert isinstance(prior, Prior)
        beta[:, j] = _draw(name, prior, (draws,), root.spawn(1)[0])
    slopes = [j for j, (name, _) in enumerate(entries) if name != "Intercept"]
    middle = beta[:, slopes] @ X[:, slopes].mean(axis=0)
    if len(slopes) < len(entries):
        beta[:, [name for name, _ in entries].index("Intercept")] -= middle
    return beta, middle


def _group(
    group: GroupTerm, names: Names, priors: Priors, draws: int, root: Generator, *, with_effects: bool
) -> dict[str, Array]:
    """sds and correlations of one grouping factor, and its effects if they are asked for."""
    template = group.template
    sd_draws = np.empty((draws, len(group.sd_terms)))
    for k, term in enumerate(group.sd_terms):
        prior = priors.get("sd", group.name, term)
        assert isinstance(prior, Prior)
        name = f"sd({term} | {group.name})"
        sd_draws[:, k] = _draw(name, prior, (draws,), root.spawn(1)[0], positive=True)
    sds = sd_draws[:, list(template.sd_of)]
    of_cor, of_b = root.spawn(2)
    factor = np.broadcast_to(np.eye(group.q), (draws, group.q, group.q)).copy()
    for block, structure in zip(map(list, template.blocks), template.structures, strict=True):
        if structure.n_correlations(len(block)):
            lkj = priors.get("cor", group.name)
            assert isinstance(lkj, LKJ)
            factor[:, np.array(block)[:, None], block] = structure.draw(lkj.eta, len(block), draws, of_cor)
    correlation = factor @ factor.transpose(0, 2, 1)
    correlation[:, range(group.q), range(group.q)] = 1.0
    if not with_effects:
        variables = of_group(group, names, sds, correlation, np.zeros((0, group.q)))
        del variables[names.b[group.name]]
        return variables
    z = of_b.standard_normal((draws, group.n_levels, group.q))
    effects = z @ factor.transpose(0, 2, 1) * sds[:, None, :]
    return of_group(group, names, sds, correlation, group.related(effects))


def _draw(name: str, prior: Prior, size: tuple[int, ...], rng: Generator, *, positive: bool = False) -> Array:
    """Draws of one prior, checked to be of a positive number where they should."""
    if positive and prior.name in _WHOLE_LINE:
        raise PriorError(f"{name}: {prior!r} is not confined to positive values; use HalfNormal, HalfStudentT, ...")
    try:
        values = univariate(prior, size, rng)
    except PriorError as error:
        raise PriorError(f"{name}: {error}") from None
    if positive and np.any(values < 0.0):
        share = np.mean(values < 0.0)
        raise PriorError(
            f"{name}: {share:.0%} of {prior!r} is negative; use HalfNormal, HalfStudentT, ... or a lower bound of 0"
        )
    return values


def univariate(prior: Prior, size: tuple[int, ...], rng: Generator) -> Array:
    """Independent draws of a prior; through PyMC where the distribution is not written out here.

    Raises
    ------
    PriorError
        There is no such distribution, or its parameters are impossible.
    """
    if prior.name in ("HalfStudentT", "HalfCauchy"):  # which scipy has not, or not with this name
        symmetric = Prior(prior.name.removeprefix("Half"), **_of_whole(prior))
        return np.abs(univariate(symmetric, size, rng)) if _known(symmetric) else _by_pymc(prior, size, rng)
    of_scipy = _known(prior)
    if of_scipy is None:
        return _by_pymc(prior, size, rng)
    distribution, shapes, location, scale = of_scipy
    if not scale > 0.0:
        raise PriorError(f"{prior!r} is no distribution: it needs a positive scale, rate or width")
    try:
        return np.asarray(distribution.rvs(*shapes, loc=location, scale=scale, size=size, random_state=rng))
    except ValueError as error:
        raise PriorError(f"{prior!r} is no distribution: {error}") from None


def _of_whole(prior: Prior) -> dict[str, float]:
    """Parameters of the symmetric distribution around zero that a half distribution is half of."""
    parameters = {name: float(value) for name, value in prior.params}
    return {"alpha": 0.0, **parameters} if prior.name == "HalfCauchy" else parameters


def _by_pymc(prior: Prior, size: tuple[int, ...], rng: Generator) -> Array:
    return draw_prior(prior, int(np.prod(size)), rng).reshape(size)


def _known(prior: Prior) -> tuple[Any, Sequence[float], float, float] | None:
    """(scipy distribution, shapes, location, scale) of a prior under PyMC's names; None for any other."""
    parameters = {name: float(value) for name, value in prior.params}
    match prior.name, parameters, frozenset(parameters):
        case "Normal", _, names if names <= {"mu", "sigma"}:
            return stats.norm, (), parameters.get("mu", 0.0), parameters.get("sigma", 1.0)
        case "StudentT", {"nu": nu}, names if names <= {"nu", "mu", "sigma"}:
            return stats.t, (nu,), parameters.get("mu", 0.0), parameters.get("sigma", 1.0)
        case "HalfNormal", _, names if names <= {"sigma"}:
            return stats.halfnorm, (), 0.0, parameters.get("sigma", 1.0)
        case "Cauchy", {"alpha": location, "beta": scale}, names if len(names) == 2:
            return stats.cauchy, (), location, scale
        case "Laplace", {"mu": location, "b": scale}, names if len(names) == 2:
            return stats.laplace, (), location, scale
        case "Exponential", {"lam": rate}, names if len(names) == 1:
            return stats.expon, (), 0.0, _inverse(rate)
        case "Exponential", {"scale": scale}, names if len(names) == 1:
            return stats.expon, (), 0.0, scale
        case "Gamma", {"alpha": shape, "beta": rate}, names if len(names) == 2:
            return stats.gamma, (shape,), 0.0, _inverse(rate)
        case "InverseGamma", {"alpha": shape, "beta": scale}, names if len(names) == 2:
            return stats.invgamma, (shape,), 0.0, scale
        case "LogNormal", _, names if names <= {"mu", "sigma"}:
            return stats.lognorm, (parameters.get("sigma", 1.0),), 0.0, float(np.exp(parameters.get("mu", 0.0)))
        case "Uniform", _, names if names <= {"lower", "upper"}:
            lower = parameters.get("lower", 0.0)
            return stats.uniform, (), lower, parameters.get("upper", 1.0) - lower
        case "Beta", {"alpha": a, "beta": b}, names if len(names) == 2:
            return stats.beta, (a, b), 0.0, 1.0
        case "TruncatedNormal", {"mu": mu, "sigma": sigma}, names if names <= {"mu", "sigma", "lower", "upper"}:
            ends = parameters.get("lower", -np.inf), parameters.get("upper", np.inf)
            return stats.truncnorm, tuple((end - mu) / sigma for end in ends), mu, sigma
    return None


def _inverse(rate: float) -> float:
    return 1.0 / rate if rate > 0.0 else -1.0  # a negative scale is refused where it is used


# -- as a tree


def prior_predictive(design: Design, priors: Priors, *, draws: int = 500, random_seed: int | None = None) -> Any:
    """Parameters and responses drawn from the priors, without a look at the observed response.

    Parameters
    ----------
    design : Design
    priors : Priors
    draws : int
        Data sets to simulate.
    random_seed : int, optional

    Returns
    -------
    xarray.DataTree
        Groups ``prior`` (names and dims as in a posterior, with one chain), ``prior_predictive`` (``y``: chain, draw,
        obs; see `bayeslmm.results.simulation.simulate_response` for impossible and very large ones) and
        ``observed_data``.

    Raises
    ------
    PriorError
        A prior is improper, or allows negative values for a positive parameter.
    """
    import xarray as xr

    prior_sample = prior_draws(design, priors, draws=draws, random_seed=random_seed)
    y = responses(design, prior_sample, response_stream(random_seed))
    prior = as_dataset(design, {name: values[None] for name, values in prior_sample.items()})
    steps, rows = {dim: prior[dim].to_numpy() for dim in EACH}, {ROW: design.index.to_numpy()}
    predictive = xr.Dataset({RESPONSE: ((*EACH, ROW), as_seen(design, y)[None])}, coords=steps | rows)
    for dataset in (prior, predictive):
        dataset.attrs["sample_dims"] = list(EACH)
    return xr.DataTree.from_dict(
        {"prior": prior, "prior_predictive": predictive, "observed_data": observed_data(design)}
    )


def response_stream(random_seed: int | None) -> Generator:
    """The random stream of responses, apart from that of the parameters with the same seed."""
    return np.random.default_rng(seed_sequence(random_seed, spawn_key=(2**32 - 1,)))


def responses(design: Design, drawn: dict[str, np.ndarray], rng: Generator) -> Array:
    """One simulated response (draw, n) for every draw of the parameters and every row."""
    eta = linear_predictor(design, drawn[BETA], [drawn[design.names.b[group.name]] for group in design.groups])
    values = residual_values(design, drawn)
    if design.residual is not None and values is not None:
        return eta + drawn["sigma"][:, None] * residual_noise(design.residual.structure, values, rng)
    parameters = design.along({name: drawn[name] for name in design.of_rows})
    return simulate_response(
        design.family, eta, parameters=parameters, trials=design.trials, weights=design.weights, rng=rng
    )
