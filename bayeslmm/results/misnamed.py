"""Sentences for what was asked of the wrong object, or under another name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..tools.hints import ATTRIBUTE_WORDS, MODEL_WORDS

if TYPE_CHECKING:
    from ..design.design import Design


def variable_hint(name: object, design: Design, variables: Iterable[str]) -> str:
    """Which variable of draws is meant by a column, a factor or a verb; and which there are."""
    names, present = design.names, [str(v) for v in variables]
    lead = ""
    if not isinstance(name, str):
        return f"Variables here: {', '.join(present)}"
    if name in design.x_names or name == "(Intercept)":
        coefficient = "Intercept" if name == "(Intercept)" else name
        lead = f"The coefficient is idata.posterior['beta'].sel(coef={coefficient!r}). "
    elif name in names.b:
        lead = f"Its effects are draws({names.b[name]!r}), their sds draws({names.sd[name]!r}). "
    elif name in ("sd", "cor", "b", "ranef"):
        of_kind = {"sd": names.sd, "cor": names.cor}.get(name, names.b)
        lead = f"Each grouping factor has its own: {', '.join(v for v in of_kind.values() if v in present)}. "
    elif name in ("fixef", "coef", "fixed"):
        lead = "The fixed effects are draws('beta'). "
    return f"{lead}Variables here: {', '.join(present)}"


def unfitted(name: str, *, has_reml: bool) -> str:
    """What to do about a verb of fits that was asked of a model; empty for a name that no fit knows either."""
    from .point import PointFit
    from .posterior import PosteriorFit

    if name in MODEL_WORDS:
        return f"{name}: here it is model.{MODEL_WORDS[name]}"
    hint = ATTRIBUTE_WORDS.get(name, "")
    word = re.match(r"\w+", hint or name)
    verb = word[0] if word else name
    kinds = [kind for kind in (PointFit, PosteriorFit) if hasattr(kind, verb)]
    if not kinds:
        return f"{name}: fit first; of a fit it is {hint}" if hint else ""
    of_kind = getattr(kinds[0], verb)
    written = hint or (f"{verb}()" if callable(of_kind) else verb)
    point, posterior = f"model.fit_reml().{written}", f"model.fit().{written}"
    if PointFit not in kinds:
        return f"{name}: fit first: {posterior}"
    if PosteriorFit not in kinds:
        return f"{name}: fit first: {point}" + ("" if has_reml else ", which is for normal responses")
    return f"{name}: fit first: " + (f"{point}, or {posterior} for the posterior" if has_reml else posterior)
