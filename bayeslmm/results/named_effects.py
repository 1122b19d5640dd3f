"""Effects of single levels by name, as statements hold them: ``ranef(Days | Subject[308])``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..design.design import Design, GroupTerm
from ..errors import InputError
from ..tools.arrays import Array
from .coefficients import coding_of
from .parameter_draws import Source

CALL = re.compile(r"(?<![\w.])(ranef|coef)\(")
EFFECT = re.compile(r"\s*(?P<term>[^|]+?)\s*\|\s*(?P<group>[^|]+?)\[(?P<level>.+?)\]\s*\)")
LISTED = 10  # names of an error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effect:
    """The random effect of one level, ``ranef``, or its coefficient, ``coef``: with the fixed effect."""

    name: str
    kind: str
    group: GroupTerm
    level: int
    term: str

    def drawn(self, design: Design, source: Source) -> Array:
        """Its draws (chain, draw)."""
        effects = source.draws(design.names.b[self.group.name])[..., self.level, :]
        if self.kind == "ranef":
            return effects[..., self.group.columns.index(self.term)]
        coding = coding_of(design, self.group)
        place = coding.names.index(self.term)
        of_level = [k for k, where in enumerate(coding.places) if where == place]
        return source.values.beta @ coding.B[place] + effects[..., of_level].sum(axis=-1)


def effects_in(hypotheses: Any, design: Design) -> list[Effect]:
    """What statements say of single levels.

    Raises
    ------
    InputError
        A factor, a level or a term that is not there, or another form.
    """
    texts = [hypotheses] if isinstance(hypotheses, str) else hypotheses if isinstance(hypotheses, Sequence) else []
    found: dict[str, Effect] = {}
    for text in texts:
        for call in CALL.finditer(text) if isinstance(text, str) else ():
            effect = _effect(call, text, design)
            found[effect.name] = effect
    return list(found.values())


def _effect(call: re.Match[str], text: str, design: Design) -> Effect:
    kind, asked = call[1], f"hypothesis({text.strip()!r})"
    factors = design.groups if kind == "coef" else design.every_group
    groups = {group.name: group for group in factors if group.is_grouping}
    if not groups:
        raise InputError(f"{asked}: the model has no grouping factor whose levels had effects")
    example = _example(kind, next(iter(groups.values())))
    written = EFFECT.match(text, call.end())
    if written is None:
        raise InputError(f"{asked}: the effect of a level is written {example}")
    name, label, term = written["group"], written["level"], written["term"]
    if name not in groups:
        raise InputError(f"{asked}: no grouping factor {name!r}{_instead(name, list(groups))}")
    group = groups[name]
    levels = [str(level) for level in group.levels]
    if label not in levels:
        raise InputError(f"{asked}: {name} has no level {label!r}{_instead(label, levels)}")
    terms = list(group.columns if kind == "ranef" else coding_of(design, group).names)
    if term not in terms:
        raise InputError(f"{asked}: {name} has no {kind} {term!r}{_instead(term, terms)}")
    full = f"{kind}({term} | {name}[{label}])"
    return Effect(name=full, kind=kind, group=group, level=levels.index(label), term=term)


def _example(kind: str, group: GroupTerm) -> str:
    return f"{kind}({group.columns[0]} | {group.name}[{group.levels[0]}])"


def _instead(name: str, names: Sequence[str]) -> str:
    """What may have been meant."""
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    listed = ", ".join(map(repr, names[:LISTED])) + (", …" if len(names) > LISTED else "")
    return f"; did you mean {', '.join(map(repr, near))}?" if near else f"; there are {listed}"
