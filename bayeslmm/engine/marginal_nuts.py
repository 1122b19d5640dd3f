"""NUTS on the exact marginal: draws hyperparameters where a proposal fits badly (docs/theory.md, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import FitError
from ..tools.arrays import Array
from .interrupts import interruptible
from .marginal import Marginal
from .proposal import Proposal

STARTS = 64  # draws of a proposal among which a chain begins


def unbounded(marginal: Marginal, x: Array) -> Array:
    """z (..., d): log(sd/c) in place of log(1 + sd/c)."""
    z = np.array(x)
    log_sds = np.maximum(x[..., marginal.space.sd_at], 1e-6)
    z[..., marginal.space.sd_at] = log_sds + np.log(-np.expm1(-log_sds))
    return z


def bounded(marginal: Marginal, z: Array) -> Array:
    """The coordinates x (..., d) of the marginal from z."""
    x = np.array(z)
    x[..., marginal.space.sd_at] = np.logaddexp(0.0, z[..., marginal.space.sd_at])
    return x


def log_density(marginal: Marginal, z: Array) -> tuple[float, Array]:
    """Log density of z and its gradient (d,)."""
    sds = marginal.space.sd_at
    value, gradient = marginal.with_gradient(bounded(marginal, z))
    log_slope = -np.logaddexp(0.0, -z[sds])  # log dx/dz
    gradient[sds] = gradient[sds] * np.exp(log_slope) + 1.0 - np.exp(log_slope)
    return value + float(np.sum(log_slope)), gradient


def _densest(marginal: Marginal, proposal: Proposal) -> Array:
    """The middle (d,) of the component where the density is highest."""
    means = proposal.near.means
    return means[np.argmax(marginal.log_densities(means))]


def sample_marginal(
    marginal: Marginal,
    proposal: Proposal,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    random_seed: int | None,
    report: Callable[[Any], None],
) -> tuple[Array, Any]:
    """x (chain, draw, d) by NUTS, started from draws of a proposal, and the sampler's statistics (a Dataset).

    ``report`` is told now and then, by another thread, how far the chains are: a list of ``nutpie.ChainProgress``.
    """
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    def make_log_density() -> Callable[[Array], tuple[float, Array]]:
        return lambda z: log_density(marginal, z)

    def make_expand(*_: Any) -> Callable[[Array], dict[str, Array]]:
        return lambda z: {"z": np.array(z)}

    def start(seed: int) -> Array:
        points = proposal.near.draw(np.random.default_rng(seed), STARTS)
        possible = np.isfinite(marginal.log_densities(points))  # a prior may have ends, which the proposal ignores
        return unbounded(marginal, points[possible.argmax()] if possible.any() else _densest(marginal, proposal))

    compiled = from_pyfunc(
        marginal.d, make_log_density, make_expand, [np.dtype("f8")], [(marginal.d,)], ["z"], make_initial_point_fn=start
    )
    try:
        with interruptible():  # as in `joint_nuts`
            tree = nutpie.sample(
                compiled,
                draws=draws,
                tune=tune,
                chains=chains,
                cores=cores,
                seed=random_seed,
                progress_bar=False,
                progress_callback=report,
                save_warmup=False,
            )
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise FitError(
            f"sampling failed: {reason}. NUTS found no point to begin at: do the priors leave room where the data are?"
        ) from error
    return bounded(marginal, tree.posterior["z"].to_numpy()), tree.sample_stats.to_dataset()
