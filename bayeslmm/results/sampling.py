"""Which sampler draws a posterior, and why."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..design.design import Design
from ..design.priors import Priors
from ..engine.reml import refuse_perfect_fixed_part
from ..engine.scaling import Problem
from ..errors import NotAvailableError
from .diagnosis import tell
from .draws import Draws
from .exact import doubt_about_modes, sample_exact
from .extension import settled
from .nuts import sample_by_nuts
from .settings import Settings


def sample(design: Design, priors: Priors, settings: Settings) -> Draws:
    """The posterior: by the exact sampler where the model allows it, else by NUTS."""
    family = design.family
    if not design.groups and (family.is_normal or (family.has_residual and family.link == "identity")):
        refuse_perfect_fixed_part(Problem.of(design))
    tree, found = settled(partial(_sample, design, priors), design, settings)
    tell(found)
    return Draws(design=design, priors=priors, idata=tree, settings=settings, diagnosis=found)


def _sample(design: Design, priors: Priors, settings: Settings) -> Any:
    reason = ""
    if not settings.wants_nuts:
        try:
            return sample_exact(design, priors, settings)
        except NotAvailableError as error:
            if settings.method == "exact":
                raise
            reason = str(error)
    tree = sample_by_nuts(design, priors, settings)
    if reason and design.family.is_normal:
        tree.posterior.attrs["reason"] = reason
    doubt = doubt_about_modes(design, priors, settings, tree)
    if doubt:
        tree.posterior.attrs["doubt"] = doubt
    return tree
