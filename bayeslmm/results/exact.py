"""Draws of the exact sampler under the naming contract of every posterior."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design
from ..design.priors import Priors
from ..engine.hyperpriors import HyperPriors, unwritten, with_other_ends
from ..engine.marginal import Marginal
from ..engine.marginal_nuts import sample_marginal
from ..engine.modes import Cover, cover, disagreement, modes_of_draws
from ..engine.opinions import is_opinionated
from ..engine.proposal import PILOT, nearest_modes
from ..engine.randomness import seed_sequence
from ..engine.residual_marginal import marginal_of
from ..engine.sampler import ExactDraws, Team, complete
from ..engine.scaling import Problem
from .contract import as_tree, named
from .diagnosis import K_HAT_LIMIT, pareto_k
from .progress import Bar
from .settings import Settings

SHARE_LIMIT = 0.3  # of the proposal's draws that count: below, NUTS does better

NUTS_STATS = ("diverging", "energy", "depth", "maxdepth_reached", "n_steps", "step_size", "mean_tree_accept")


def sample_exact(design: Design, priors: Priors, settings: Settings) -> tuple[Any, str]:
    """An ``xarray.DataTree`` as NUTS gives, and an empty text; or none, and why the PyMC model has to be sampled.

    K-hat and the acceptance rate are attributes of ``sample_stats``.

    Where the proposal covers the posterior badly, by its own pilot draws or by a k-hat over 0.7 twice, the second time
    with a proposal made with more care, NUTS draws the hyperparameters from the same density instead, and
    ``posterior.attrs["reason"]`` says why. Where a prior has ends, which that density breaks off at, it is the PyMC
    model's to be drawn, whose coordinates have none.
    """
    draws, chains = settings.draws, settings.chains
    started = time.perf_counter()
    ends = with_other_ends(design, priors)
    design = priors.at_means(design)
    marginal = marginal_of(Problem.of(design), HyperPriors.of(design, priors))
    cores = min(settings.threads, chains)
    seeds = seed_sequence(settings.random_seed).spawn(chains + 2)
    proposal_stream, *streams, modes_stream = map(np.random.default_rng, seeds)
    reason, seen = "", None
    with Bar("Sampling", chains * draws, show=settings.progressbar) as bar, Team(cores, advance=bar.advance) as team:
        density = team.densities(marginal)
        for pilot in (PILOT, 4 * PILOT):
            covered = cover(marginal, density, proposal_stream, modes_stream, pilot=pilot, seen=seen)
            seen, fitted = covered.seen, covered.fitted
            if fitted.share < SHARE_LIMIT:
                reason = f"only {fitted.share:.1%} of the draws of the best proposal count"
                break
            if covered.missed and pilot == PILOT:
                continue
            chain_draws = team.chains(marginal, fitted.proposal, draws, streams)
            k_hat = pareto_k(chain_draws.log_weights)
            if not k_hat > K_HAT_LIMIT:
                reason = ""
                break
            reason = f"the best proposal fits badly (k-hat {k_hat:.2f})"
    if reason and ends and design.residual is None:
        return None, f"{reason}, and {ends}"
    if reason:
        return _by_nuts(design, marginal, covered, settings, cores, proposal_stream, started, reason), ""
    accepted = float(chain_draws.accepted.mean())
    tree = _tree(
        design,
        chain_draws,
        {"lp": chain_draws.log_density, "accepted": chain_draws.accepted},
        {"k_hat": k_hat, "acceptance_rate": accepted},
        {
            "sampler": f"the exact sampler ({accepted:.0%} of proposals accepted{_modes(covered)})",
            "method": "exact",
            "tuning_steps": 0,
            **({"doubt": covered.doubt()} if covered.doubt() else {}),
        },
        started,
    )
    return tree, ""


def why_not_exact(design: Design, priors: Priors) -> str:
    """Why the exact sampler does not draw a model, in words; empty where it does."""
    if not design.family.is_normal:
        return f"family={design.family}: the exact sampler integrates effects out of normal responses only"
    if not design.every_group and design.residual is None:
        return "a model without random effects has no group sds to sample"
    return unwritten(design, priors)


def _modes(covered: Cover) -> str:
    return f"; modes with {covered.words} of the mass" if covered.words else ""


def _by_nuts(
    design: Design,
    marginal: Marginal,
    covered: Cover,
    settings: Settings,
    cores: int,
    rng: np.random.Generator,
    started: float,
    reason: str,
) -> Any:
    fitted = covered.fitted
    steps = settings.chains * (settings.tune + settings.draws)
    with Bar("Sampling", steps, show=settings.progressbar) as bar:
        x, nuts_stats = sample_marginal(
            marginal,
            fitted.proposal,
            draws=settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            cores=cores,
            random_seed=int(rng.integers(2**31)),
            report=bar.reached,
        )
    chain_draws = complete(marginal, x, rng)
    statistics = {name: nuts_stats[name].to_numpy() for name in NUTS_STATS}
    labels = nearest_modes(fitted.proposal.near, fitted.of_mode, x.reshape(-1, x.shape[-1]))
    doubt = disagreement(fitted, labels.reshape(x.shape[:2]))
    return _tree(
        design,
        chain_draws,
        {"lp": chain_draws.log_density, **statistics},
        {},
        {"sampler": "NUTS on the exact marginal", "method": "exact", "tuning_steps": settings.tune, "reason": reason}
        | ({"doubt": doubt} if doubt else {}),
        started,
    )


def doubt_about_modes(design: Design, priors: Priors, settings: Settings, tree: Any) -> str:
    """Where draws of NUTS on all unknowns give a mode another mass than the exact density does, in words.

    Nothing is compared, and the answer is empty, where no prior has an opinion, residuals have parameters besides
    sigma, or the density is not written out.
    """
    if design.residual is not None or why_not_exact(design, priors):
        return ""
    design = priors.at_means(design)
    marginal = marginal_of(Problem.of(design), HyperPriors.of(design, priors))
    if not is_opinionated(marginal):
        return ""
    first, second = map(np.random.default_rng, seed_sequence(settings.random_seed).spawn(2))
    covered = cover(marginal, marginal.log_densities, first, second)
    if covered.missed or len(covered.fitted.masses) == 1:
        return covered.doubt()
    posterior_draws = tree.posterior
    named = [design.names.spread_of(group.name, group.is_at_means) for group in design.groups]
    of_groups = [posterior_draws[sd].to_numpy() for sd, _ in named]
    correlations = [
        posterior_draws[correlation].to_numpy() if group.correlated else np.eye(group.q)
        for group, (_, correlation) in zip(design.groups, named, strict=True)
    ]
    sds = np.concatenate(marginal.sds_of_coordinates(of_groups, correlations), axis=-1)
    shape = sds.shape[:2]
    sigma = np.ones(shape) if design.family.residual_is_known else posterior_draws["sigma"].to_numpy()
    beta = posterior_draws["beta"].to_numpy() if design.x_names else np.empty((*shape, 0))
    flat = [values.reshape(sigma.size, -1) for values in (sds, sigma, beta)]
    labels = modes_of_draws(marginal, covered.fitted, flat[0], flat[1][:, 0], flat[2])
    doubt = disagreement(covered.fitted, labels.reshape(shape))
    return f"{doubt}. method='exact' draws from all of them" if doubt else ""


def _tree(
    design: Design,
    drawn: ExactDraws,
    stats: dict[str, NDArray[Any]],
    of_stats: dict[str, float],
    of_posterior: dict[str, Any],
    started: float,
) -> Any:
    of_residuals = {} if design.residual is None else design.residual.named(drawn.residual)
    variables = named(
        design,
        beta=drawn.beta,
        parameters={"sigma": drawn.sigma, **of_residuals},
        sds=drawn.sds,
        correlations=drawn.correlations,
        effects=drawn.effects,
    )
    seconds = round(time.perf_counter() - started, 3)
    return as_tree(design, variables, stats, of_posterior={**of_posterior, "seconds": seconds}, of_statistics=of_stats)
