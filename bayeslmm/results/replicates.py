"""Data sets simulated at the rows of a model: from a posterior, from point estimates, from priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from ..covariances.template import covariance
from ..design.design import Design
from ..design.priors import Priors
from ..engine import around_categories
from ..engine.randomness import generator
from ..engine.reml import conditional_draws
from ..engine.working import working
from ..errors import InputError
from ..tools.arrays import Array
from .draws import Draws
from .estimates import Estimates
from .prior_draws import prior_draws, residual_values, response_stream
from .rows import RowResiduals, Rows, own_rows, responses_around, rows_under
from .targets import asked_rows, check_count, of_seen, targets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replicates:
    """Simulated responses beside their design.

    Attributes
    ----------
    source : {"posterior", "estimates", "prior"}
    groups : dict
        What was asked of each grouping factor, as in predictions.
    y : float64 array (S, n)
        Coded as ``design.y``; not finite where a number is impossible or too large.
    """

    design: Design
    source: str
    groups: Mapping[str, str]
    y: Array


def replicate(
    source: Any, *, draws: int, groups: str | Mapping[str, str] = "observed", random_seed: int | None = None
) -> Replicates:
    """Simulate responses for the rows of a fit or a model.

    Parameters
    ----------
    source : PosteriorFit, PointFit or Model
        A posterior: one of its draws for every data set. A point fit: its estimates, taken as known. A model: its
        priors.
    draws : int
        Data sets.
    groups : {"observed", "new", "average", "population"} or dict by grouping factor
        ``observed``: the same groups; their effects are drawn given the data, for a point fit given the estimates as
        well. ``new``: as many groups not seen before. ``average``: groups with b = 0. ``population``: a new group for
        every row. No group has been observed before the data, so under priors ``observed`` is ``new``.
    random_seed : int, optional

    Raises
    ------
    InputError
        Not a fit or model, an unknown target, or draws that are no number.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    >>> replicate(fit, draws=5, groups="new", random_seed=1).y.shape
    (5, 30)
    """
    check_count("draws", draws)
    design = getattr(source, "design", None)
    if not isinstance(design, Design):
        raise InputError(
            f"data sets are simulated from a posterior, a point fit or a Model, not {type(source).__name__}"
        )
    asked = of_seen(targets(design, groups, "ppc"))
    if isinstance(source, Draws):
        kind, (rows, rng) = "posterior", _of_posterior(source, asked, draws, random_seed)
    elif isinstance(source, Estimates):
        kind, (rows, rng) = "estimates", _of_estimates(source, asked, draws, random_seed)
    else:
        kind, (rows, rng) = "prior", _of_priors(design, source.priors, asked, draws, random_seed)
    if design.residual is not None:
        y = responses_around(rows, design.residual.structure, rng)
    else:
        y = _responses(rows, rng)
    return Replicates(design=design, source=kind, groups=asked, y=y)


def _responses(rows: Rows, rng: Generator) -> Array:
    """A response (S, n) for every draw."""
    rows, order = rows.by_new_group()
    y = np.concatenate(rows.over_blocks(rows.response, rng), axis=1)
    return y if order is None else y[:, np.argsort(order)]


def _of_posterior(fit: Draws, asked: Mapping[str, str], draws: int, random_seed: int | None) -> tuple[Rows, Generator]:
    rng, available = generator(random_seed), fit.n_chains * fit.n_draws
    chosen = rng.choice(available, size=draws, replace=draws > available)
    return own_rows(fit, asked, rng=rng, chosen=chosen), rng


def _of_estimates(
    fit: Estimates, asked: Mapping[str, str], draws: int, random_seed: int | None
) -> tuple[Rows, Generator]:
    rng, solution = generator(random_seed), fit.solution
    effects: dict[str, Array] = {}
    every = fit.design.every_group
    if "observed" in asked.values() or fit.design.smooths:
        noise = rng.standard_normal((draws, sum(group.n_levels * group.q for group in every)))
        if fit.design.of_categories:
            simulated_effects = around_categories.conditional_draws(fit.design, solution, noise)
        else:
            simulated_effects = conditional_draws(*working(fit.design, solution), noise)
        effects = dict(zip((group.name for group in every), simulated_effects, strict=True))
    covariances = {
        group.name: np.tile(covariance_matrix, (draws, 1, 1))
        for group, covariance_matrix in zip(every, solution.covariances, strict=True)
    }
    rows = _rows_of_design(
        fit.design,
        asked,
        rng,
        beta=np.tile(solution.beta, (draws, 1)),
        covariances=[covariances[group.name] for group in fit.design.groups],
        of_parameters=covariances,
        effects=effects.__getitem__,
        parameters={name: np.tile(value, (draws, *[1] * np.ndim(value))) for name, value in fit.values.family.items()},
    )
    return rows, rng


def _of_priors(
    design: Design, priors: Priors, asked: Mapping[str, str], draws: int, random_seed: int | None
) -> tuple[Rows, Generator]:
    prior_sample, rng = (
        prior_draws(design, priors, draws=draws, random_seed=random_seed),
        response_stream(random_seed),
    )
    names = design.names
    rows = _rows_of_design(
        design,
        {name: "observed" if target == "new" else target for name, target in asked.items()},
        rng,
        beta=prior_sample["beta"],
        covariances=[
            covariance(prior_sample[names.sd[group.name]], prior_sample.get(names.cor[group.name], np.eye(group.q)))
            for group in design.groups
        ],
        effects=lambda name: prior_sample[names.b[name]],
        parameters={name: prior_sample[name] for name in design.parameters},
        of_parameters={
            group.name: covariance(
                prior_sample[names.sd[group.name]], prior_sample.get(names.cor[group.name], np.eye(group.q))
            )
            for group in design.parameter_groups
        },
    )
    values = residual_values(design, prior_sample)
    if design.residual is not None and values is not None:
        rows = replace(rows, residual=RowResiduals(G=design.residual.structure.spread.G, values=values))
    return rows, rng


def _rows_of_design(design: Design, asked: Mapping[str, str], rng: Generator, **drawn: Any) -> Rows:
    new = asked_rows(design, None, asked, None)
    return rows_under(design, new, asked, rng, trials=design.trials, weights=design.weights, **drawn)
