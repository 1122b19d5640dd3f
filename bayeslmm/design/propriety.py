"""Flat priors under which no posterior exists, or none with a mean.

As an sd s grows, each level whose response bounds its effect on both sides gives the likelihood a factor 1/s, and each
flat fixed effect that the levels' effects can mimic takes one back: the posterior falls as s^(r − J). It is proper from
J − r = 2 on; three levels are Gelman's condition with a flat intercept (2006, Bayesian Analysis 1, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PriorError
from ..tools.arrays import Array
from .identification import limits_of

if TYPE_CHECKING:
    from .design import Design, GroupTerm

FLAT = ("Flat", "HalfFlat")
LEVELS = 3
REMEDY = "Give a proper one such as Prior('HalfNormal', sigma=1), in units of the linear predictor."


def refuse_impropriety(design: Design, entries: Iterable[Any]) -> None:
    """Raise PriorError for flat priors that leave a parameter without a posterior.

    Parameters
    ----------
    entries : iterable of ResolvedPrior
    """
    entries = [entry for entry in entries if getattr(entry.prior, "name", "") in FLAT]
    if entries and design.family.is_nominal:
        raise PriorError(
            f"{entries[0].label}: a flat prior is not offered with {design.family.option}: whether there is a "
            f"posterior is not judged for several linear predictors. {REMEDY}"
        )
    empty = design.empty_categories if any(entry.kind in design.family.every_parameter for entry in entries) else ()
    if empty:
        raise PriorError(
            f"cutpoint: a flat prior has no posterior, as no row is in {', '.join(map(repr, empty))}: nothing holds "
            "the cutpoints at its ends. Give a proper one such as Prior('Normal', mu=0, sigma=2.5)."
        )
    free = {entry.term for entry in entries if entry.kind in ("Intercept", "fixed")}
    X = design.X[:, [name in free for name in design.x_names]]
    for entry in entries:
        limits = limits_of(design) if entry.kind in design.family.every_parameter else {}
        if entry.kind in limits and entry.kind not in design.family.limit_at_zero:
            raise PriorError(
                f"{entry.label}: a flat prior has no posterior, since the likelihood of {design.family.option} "
                f"tends to one in which {limits[entry.kind]} as {entry.label} grows. Give a proper one "
                "such as Prior('Gamma', alpha=2, beta=0.1)."
            )
        if entry.kind == "coef":
            _check_coefficient(design, entry)
        if entry.kind == "sd" and entry.group in {g.name for g in design.parameter_groups}:
            raise PriorError(
                f"{entry.label}: a flat prior is not offered for effects on a parameter besides the mean: whether "
                "there is a posterior is not judged. Give a proper one such as Prior('HalfNormal', sigma=1)."
            )
        if entry.kind == "sd":
            group = next(g for g in design.every_group if g.name == entry.group)
            _check_sd(design, group, entry, X)


def _check_coefficient(design: Design, entry: Any) -> None:
    """Raise PriorError where the likelihood need not vanish at an end of what a linear predictor may reach."""
    family, part = design.family, design.predictors[entry.group]
    becomes = family.limited_by.get(entry.group)
    if becomes is None and part.link != "logit":
        return
    why = f"tends to that of {becomes}" if becomes else "need not vanish"
    raise PriorError(
        f"{entry.label}: a flat prior has no posterior, since the likelihood of {family.option} {why} as the linear "
        f"predictor of {entry.group} goes to an end. Give a proper one such as Prior('Normal', mu=0, sigma=2.5)."
    )


def _check_sd(design: Design, group: GroupTerm, entry: Any, X: Array) -> None:
    if group.is_wide:
        raise PriorError(
            f"{entry.label}: a flat prior on the sd of {group.texts[0]} is not offered: whether there is a posterior "
            f"is not judged for related levels, memberships and smooths. {REMEDY}"
        )
    z = group.Z[:, group.columns.index(entry.term)]
    levels = int(_bounding(design, group, z).sum())
    taken = mimicked(X, z, group.codes, group.n_levels)
    if levels >= LEVELS and levels - taken >= 2:
        return
    which = "levels" if levels == group.n_levels else f"of {group.n_levels:,} levels"
    which += "" if levels == group.n_levels else " have responses that bound their effects"
    beside = f" and {taken} flat fixed effect{'s' * (taken > 1)} beside them" if taken else ""
    consequence = "no posterior" if levels - taken < 2 else "a posterior without a mean"
    raise PriorError(
        f"{entry.label}: a flat prior has {consequence}, as {levels} {which}{beside}: that takes at least "
        f"{max(LEVELS, taken + 2)} levels (Gelman 2006). {REMEDY}"
    )


def _bounding(design: Design, group: GroupTerm, z: Array) -> NDArray[np.bool_]:
    """Levels (J,) whose effect the response bounds on both sides: not all 0 or all 1, for one."""
    family, y, used = design.family, design.y, z != 0.0
    low, high = np.ones((2, design.n), dtype=np.bool_)
    if family.is_discrete or family.has_categories or family.is_binary:
        low = y > family.least
        if family.has_trials:
            assert design.trials is not None
            high = y < design.trials
        elif family.is_categorical:
            high = y < (len(design.levels) - 1 if family.has_categories else 1)
    counts = [np.bincount(group.codes, weights=side & used, minlength=group.n_levels) for side in (low, high)]
    return np.asarray((counts[0] > 0.0) & (counts[1] > 0.0))


def mimicked(X: Array, z: Array, codes: NDArray[np.int64], levels: int) -> int:
    """How many dimensions of the columns of X (n, p) are multiples of z (n,) within every level."""
    if X.shape[1] == 0:
        return 0
    square = np.bincount(codes, weights=z * z, minlength=levels)
    left = X / np.linalg.norm(X, axis=0)
    tolerance = 1e-9 * np.sqrt(len(X))
    before = int(np.linalg.matrix_rank(left, tol=tolerance))
    for j in range(left.shape[1]):
        along = np.bincount(codes, weights=z * left[:, j], minlength=levels)
        slope = np.divide(along, square, out=np.zeros(levels), where=square > 0.0)
        left[:, j] -= slope[codes] * z
    return before - int(np.linalg.matrix_rank(left, tol=tolerance))
