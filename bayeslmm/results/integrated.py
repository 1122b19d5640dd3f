"""Densities of rows and groups with random effects integrated out, under the draws of a posterior, for any family."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design, GroupTerm
from ..engine.loo import LeftOut
from ..engine.quadrature import MOST_EFFECTS, Effects, Integrand, Integrated, integrate, leave_rows_out, root
from ..errors import NotAvailableError, SamplingWarning
from ..terms.wide import WideTerm
from ..tools.arrays import Array
from ..tools.warned import warn
from .draws import Draws
from .elpd import ROW
from .summaries import flat
from .variance import nesting

Codes = NDArray[np.int64]

FEWEST = 200  # draws, where there are many rows
WORK = 10_000_000  # rows times draws that are used where there are more draws
COST = {1: 1, 2: 3, 3: 10}  # of an integral over so many effects
COST_OF_TAILS = {1: 1, 2: 200, 3: 200}  # with Student t noise, which takes the finest rule
COST_NESTED = 10  # of one in which others are nested
INACCURATE = 0.05  # change of a log density with the finest rule, from which it is said


def draws_used(design: Design, unit: str, available: int) -> int:
    """How many draws are worth their time."""
    cost = 1
    if not design.family.is_normal and design.groups:
        factor = factor_of_rows(design) if unit == ROW else design.group(unit)
        costs = COST_OF_TAILS if design.family.has_long_tails else COST
        cost = 1 if factor is None else costs[factor.q]
        cost *= COST_NESTED if unit != ROW and nested_in(design, unit) else 1
    return min(available, max(FEWEST, WORK // (design.n * cost)))


def factor_of_rows(design: Design) -> GroupTerm | None:
    """The factor whose effects are integrated out where a row is left out: that with the most levels.

    Its levels have the fewest rows, so one row matters most there. None if no factor has few enough effects a level,
    and if all effects are of wide terms.
    """
    possible = [group for group in design.groups if group.q <= MOST_EFFECTS and not group.is_wide]
    return max(possible, key=lambda g: g.n_levels, default=None)


def refuse_wide_unit(design: Design, unit: str, verb: str) -> None:
    """Raise NotAvailableError where the levels of a unit are related, or rows belong to several of them."""
    for group in design.groups:
        if group.name == unit and isinstance(group, WideTerm):
            raise NotAvailableError(
                f"{group.refusal(verb)}. blm.kfold(post, folds=labels) leaves out rows by labels of yours, such as all "
                "rows of some levels"
            )


def nested_in(design: Design, unit: str) -> str | None:
    """The factor nested in a unit whose effects are integrated out beside its own: that with the fewest levels."""
    above = nesting(design)
    inside = [group for group in design.groups if unit in above[group.name]]
    n_effects = design.group(unit).q
    possible = [g for g in inside if design.family.is_normal or n_effects + g.q <= MOST_EFFECTS]
    return min(possible, key=lambda g: g.n_levels).name if possible else None


def of_groups(design: Design, fit: Draws, unit: str, nested: str | None, chosen: Codes) -> tuple[Array, float]:
    """log p(y_j | draw) (S, levels) of the rows of every level of a factor, and the error of the quadrature.

    Draws of the fit's other effects are taken as they are; the design may hold other rows than those of the fit.
    """
    integrals: Integrated = integrate(_integrand(design, fit, chosen, unit, nested), cores=fit.settings.threads)
    return integrals.log_density, integrals.error


def of_rows(design: Design, fit: Draws, factor: str, chosen: Codes) -> tuple[LeftOut, float]:
    """log p(y_i | the others of its level, draw) of every row, and the error of the quadrature."""
    return leave_rows_out(_integrand(design, fit, chosen, factor, None), cores=fit.settings.threads)


def warn_of_error(what: str, error: float) -> None:
    """Say so where the finest rule is not fine enough."""
    if error > INACCURATE:
        warn(
            f"{what}: the quadrature over random effects is not exact; with fewer nodes a log density changes by "
            f"{error:.2f}. blm.kfold with rows left out, or loo(conditional=True), needs none.",
            SamplingWarning,
        )


def _integrand(design: Design, fit: Draws, chosen: Codes, factor: str, nested: str | None) -> Integrand:
    design.refuse_uncompiled("integrating random effects out by quadrature")
    design.refuse_predictors("integrating random effects out by quadrature")
    values = fit.values
    eta = flat(values.beta)[chosen] @ design.X.T + design.offset
    inside: dict[str, Effects] = {}
    for group, covariances in zip(design.groups, values.covariances, strict=True):
        if group.name in (factor, nested):
            roots = root(flat(covariances)[chosen])
            inside[group.name] = Effects(codes=group.codes, Z=group.Z, roots=roots)
            continue
        b = flat(fit.draws(fit.design.names.b[group.name]))[chosen]
        eta += group.contribution(b)
    each = [flat(values.family[name])[chosen] for name in design.family.every_parameter]
    parameters = [np.zeros((len(eta), 0)), *(v if v.ndim == 2 else v[:, None] for v in each)]
    return Integrand(
        design=design,
        eta=eta,
        parameters=np.concatenate(parameters, axis=1),
        effects=inside[factor],
        nested=None if nested is None else inside[nested],
    )
