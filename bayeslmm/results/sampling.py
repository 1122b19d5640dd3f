"""Which sampler draws a posterior, and why."""

from __future__ import annotations

from typing import Any

from ..engine import pymc_model, reml
from ..engine.scaling import Problem
from ..errors import NotAvailableError
from ..spec.design import Design
from ..spec.priors import Priors
from .diagnosis import diagnose_draws
from .exact import sample_exact
from .posterior import PosteriorFit
from .settings import Settings


def sample_posterior(design: Design, priors: Priors, settings: Settings) -> PosteriorFit:
    """The posterior: by the exact sampler where the model allows it, else by NUTS on the PyMC model."""
    tree, reason = None, ""
    if not settings.wants_nuts:
        try:
            tree = sample_exact(design, priors, settings)
        except NotAvailableError as error:
            if settings.method == "exact":
                raise
            reason = str(error)
    if tree is None:
        tree = pymc_model.sample_nuts(
            pymc_of(design, priors), draws=settings.draws, tune=settings.tune, chains=settings.chains,
            cores=settings.cores, random_seed=settings.random_seed, nuts_sampler=settings.nuts_sampler or "nutpie",
            progressbar=settings.progressbar, **settings.options,
        )  # fmt: skip
        if reason:
            tree.posterior.attrs["reason"] = reason
    return PosteriorFit(
        design=design, priors=priors, idata=tree, settings=settings, diagnosis=diagnose_draws(tree)
    )


def pymc_of(design: Design, priors: Priors) -> Any:
    """The PyMC model, in the geometry that a REML fit suggests."""
    rough = reml.fit(Problem.of(design))
    geometry = pymc_model.choose_geometry(design, rough.covariances, rough.sigma)
    return pymc_model.build_model(design, priors, geometry)
