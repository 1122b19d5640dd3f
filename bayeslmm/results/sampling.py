"""Which sampler draws a posterior, and why: a plan, chosen before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..design.design import Design
from ..design.priors import Priors
from ..engine.nested_marginal import FEW_NODES, MOST_NODES, SOME_NODES
from ..engine.reml import refuse_perfect_fixed_part
from ..engine.scaling import Problem
from ..errors import NotAvailableError
from . import exact, quadrature
from .diagnosis import Diagnosis, tell
from .draws import Draws
from .exact import sample_exact, why_not_exact
from .extension import FEWEST, settled
from .nuts import asked_for_pymc, better_coordinates, sample_graph, sample_in_loops, why_not_in_loops
from .quadrature import sample_quadrature, why_no_quadrature
from .settings import Settings

Sampler = Callable[[Design, Priors, Settings], Any]
MOST_ROWS_OF_NUTS = 1_000_000  # a gradient over them takes some 10 ms, a posterior hundreds of thousands of gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A way to draw a posterior. Its name is the class, its ``reason`` why no better one was chosen.

    Attributes
    ----------
    reason : str
        Empty where there is nothing better.
    shown : bool
        Whether the verdict says so.
    """

    reason: str = ""
    shown: bool = False
    sampler: ClassVar[Sampler]

    def draw(self, design: Design, priors: Priors, settings: Settings) -> Any:
        """An ``xarray.DataTree`` of draws."""
        return type(self).sampler(design, priors, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Plan):
    """Fixed and random effects integrated out, the hyperparameters drawn, the effects drawn given them."""

    def draw(self, design: Design, priors: Priors, settings: Settings) -> Any:
        tree, reason = sample_exact(design, priors, settings)
        return tree if not reason else Graph(reason=reason, shown=True).draw(design, priors, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginal(Plan):
    """Few effects a row, of one or nested factors, integrated out by quadrature; the rest drawn, and they given it."""

    def draw(self, design: Design, priors: Priors, settings: Settings) -> Any:
        tree, reason = sample_quadrature(design, priors, settings)
        return tree if not reason else _nuts(design, priors, reason).draw(design, priors, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nuts(Plan):
    """NUTS on all unknowns; of a model that the exact sampler knows, its modes are held against those found there."""

    def draw(self, design: Design, priors: Priors, settings: Settings) -> Any:
        tree = type(self).sampler(design, priors, settings)
        if self.reason and self.shown:
            tree.posterior.attrs["reason"] = self.reason
        compared = exact.doubt_about_modes if design.family.is_normal else quadrature.doubt_about_modes
        doubt = compared(design, priors, settings, tree)
        if doubt:
            tree.posterior.attrs["doubt"] = doubt
        return tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint(_Nuts):
    """NUTS on the joint density of all unknowns, in compiled loops."""

    sampler: ClassVar[Sampler] = sample_in_loops


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph(_Nuts):
    """NUTS on the PyMC model: any prior, any sampler, any option of ``pymc.sample``."""

    sampler: ClassVar[Sampler] = sample_graph


def _nuts(design: Design, priors: Priors, reason: str) -> _Nuts:
    """NUTS in place of a sampler that did not do, in loops where these know the priors."""
    _refuse_many_rows(design, reason)
    kind = Graph if why_not_in_loops(design, priors) else Joint
    return kind(reason=reason, shown=True)


def _refuse_many_rows(design: Design, reason: str) -> None:
    """Raise NotAvailableError where NUTS, which nobody asked for by its name, would take hours."""
    if design.n > MOST_ROWS_OF_NUTS:
        raise NotAvailableError(
            f"The posterior of {design.n:,} rows by NUTS takes hours ({reason}), and is drawn up to "
            f"{MOST_ROWS_OF_NUTS:,} rows. fit_ml() has estimates; of a sample of rows, or of rows that are alike "
            'counted by y | weights(n), there is a posterior; method="nuts" takes the hours.'
        )


def choose(design: Design, priors: Priors, settings: Settings) -> Plan:
    """How a model is sampled.

    Raises
    ------
    NotAvailableError
        ``method="exact"`` for a model that no exact sampler is made for.
    """
    why = ""
    if design.residual is not None and (settings.wants_nuts or why_not_exact(design, priors)):
        design.refuse_residual(f"NUTS ({why_not_exact(design, priors) or 'asked for'})")
    if not settings.wants_nuts:
        why = why_not_exact(design, priors)
        if not why:
            return Exact()
        if not design.family.is_normal and design.groups:
            by_quadrature = why_no_quadrature(design, priors, MOST_NODES if settings.method == "exact" else FEW_NODES)
            if not by_quadrature:
                return Marginal()
            why += f", and no quadrature does it: {by_quadrature}"
        if settings.method == "exact":
            raise NotAvailableError(why)
    asked = asked_for_pymc(settings)
    if asked:
        return Graph(reason=asked)
    if not settings.wants_nuts:
        _refuse_many_rows(design, why)
    outside = why_not_in_loops(design, priors)
    by_family = not design.family.is_normal  # nobody expects the exact sampler there
    if outside:
        return Graph(reason=outside if by_family or not why else why, shown=True)
    return Joint(reason=why, shown=bool(why) and not by_family)


def sample(design: Design, priors: Priors, settings: Settings) -> Draws:
    """The posterior: by the exact sampler where the model allows it, else by NUTS."""
    family = design.family
    if (
        not design.groups
        and design.residual is None
        and (family.is_normal or (family.has_residual and family.link == "identity"))
    ):
        refuse_perfect_fixed_part(Problem.of(design))
    plan = choose(design, priors, settings)
    ways = [plan]

    def draw(changed: Settings) -> Any:
        return ways[-1].draw(design, priors, changed)

    def better(slow: Any, changed: Settings) -> tuple[Settings, str]:
        if isinstance(plan, Marginal):  # no proposal was good enough, and none will be
            ways.append(_nuts(design, priors, slow.posterior.attrs.get("reason", "")))
        return better_coordinates(design, priors, slow, changed)

    tree, diagnosis = settled(draw, design, settings, better if isinstance(plan, Joint | Marginal) else None)
    if isinstance(plan, Joint) and _is_worth_another(design, priors, settings, diagnosis):
        tree, diagnosis = _by_quadrature_instead(design, priors, settings, tree, diagnosis)
    tell(diagnosis)
    return Draws(design=design, priors=priors, idata=tree, settings=settings, diagnosis=diagnosis)


def _is_worth_another(design: Design, priors: Priors, settings: Settings, diagnosis: Diagnosis) -> bool:
    """Whether doubtful draws of NUTS are of a model that quadrature draws exactly, if more slowly."""
    if diagnosis.converged or settings.wants_nuts or settings.draws < FEWEST or not design.groups:
        return False
    return not design.family.is_normal and not why_no_quadrature(design, priors, SOME_NODES)


def _by_quadrature_instead(
    design: Design, priors: Priors, settings: Settings, tree: Any, diagnosis: Diagnosis
) -> tuple[Any, Diagnosis]:
    """Draws from the marginal with their verdict; those of NUTS, where no proposal fits it."""

    def draw(changed: Settings) -> Any:
        again, reason = sample_quadrature(design, priors, changed)
        if reason:
            raise _NoProposalError(reason)
        again.posterior.attrs["reason"] = (
            f"NUTS was doubtful (R-hat {diagnosis.max_rhat:.3f}, ESS "
            f"{min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail):,.0f})"
        )
        return again

    try:
        return settled(draw, design, settings)
    except _NoProposalError:
        return tree, diagnosis


class _NoProposalError(Exception):
    """No proposal fits the marginal."""
