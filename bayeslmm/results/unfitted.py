"""Sentences for a verb of fits that was asked of a model."""

from __future__ import annotations

import re

from ..tools.hints import ATTRIBUTE_WORDS, MODEL_WORDS
from .point import PointFit
from .posterior import PosteriorFit


def unfitted(name: str, *, has_reml: bool) -> str:
    """What to do about a verb of fits that was asked of a model; empty for a name that no fit knows either."""
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
    point, posterior = f"model.fit_{'reml' if has_reml else 'ml'}().{written}", f"model.fit().{written}"
    if PointFit not in kinds:
        return f"{name}: fit first: {posterior}"
    if PosteriorFit not in kinds:
        return f"{name}: fit first: {point}"
    return f"{name}: fit first: {point}, or {posterior} for the posterior"
