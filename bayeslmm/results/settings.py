"""How a posterior is sampled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..tools.hints import METHOD_WORDS, SETTING_WORDS
from ..tools.words import is_one_of

METHODS = ("auto", "exact", "nuts")
ADAPTATIONS = ("diag", "draw_diag", "low_rank")  # of the metric of NUTS, by nutpie


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user asked of the sampler; `Model.fit` describes it."""

    method: str = "auto"
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    random_seed: int | None = None
    nuts_sampler: str | None = None
    progressbar: bool = True
    centring: Mapping[Any, Any] = field(default_factory=dict, hash=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of pymc.sample

    def __post_init__(self) -> None:
        if not is_one_of(self.method, METHODS):
            hint = METHOD_WORDS.get(self.method.lower(), "") if isinstance(self.method, str) else ""
            lead = f"here it is {hint}; " if hint else ""
            raise InputError(f"fit(method={self.method!r}): {lead}method is 'auto', 'exact' or 'nuts'")
        for name in self.options:
            if name in SETTING_WORDS:
                raise InputError(f"fit({name}=...): here it is {SETTING_WORDS[name]}")
        if not isinstance(self.nuts_sampler, str | None):
            raise InputError(f"fit(nuts_sampler={self.nuts_sampler!r}): it is the name of a sampler")
        if not isinstance(self.centring, Mapping):
            raise InputError(f"fit(centring={self.centring!r}): it is a dict of weights such as {{'school': 0}}")
        for name, least in (("draws", 1), ("tune", 1), ("chains", 1), ("cores", 1), ("random_seed", 0)):
            value = getattr(self, name)
            optional = name in ("cores", "random_seed") and value is None
            is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not optional and not (is_whole and value >= least):
                raise InputError(f"fit({name}={value!r}): {name} is a whole number, at least {least}")
        if not isinstance(self.progressbar, bool | np.bool_):
            raise InputError(f"fit(progressbar={self.progressbar!r}): progressbar is True or False")
        if self.method == "exact" and self.wants_nuts:
            nuts_options = self.nuts_sampler or sorted(self.options) or "centring"
            raise InputError(f"options of NUTS do not apply to method='exact': {nuts_options}")
        target = self.options.get("target_accept", 0.8)
        if isinstance(target, bool) or not isinstance(target, int | float | np.number) or not 0.0 < target < 1.0:
            raise InputError(f"fit(target_accept={target!r}): target_accept lies between 0 and 1")
        adaptation = self.options.get("adaptation", ADAPTATIONS[0])
        if not is_one_of(adaptation, ADAPTATIONS):
            raise InputError(f"fit(adaptation={adaptation!r}): it is one of {', '.join(map(repr, ADAPTATIONS))}")
        for name in ("max_treedepth", "maxdepth"):
            depth = self.options.get(name, 10)
            if not isinstance(depth, int | np.integer) or isinstance(depth, bool) or depth < 1:
                raise InputError(f"fit({name}={depth!r}): {name} is a whole number, at least 1")

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These with changes."""
        settings = [entry.name for entry in fields(self)]
        for name in changes:
            if name in SETTING_WORDS and name not in settings:
                raise InputError(f"{name}={changes[name]!r}: here it is {SETTING_WORDS[name]}")
            if name not in settings:
                raise InputError(f"{name}={changes[name]!r}: no such setting; there are {', '.join(settings)}")
        return replace(self, **changes)

    @property
    def threads(self) -> int:
        """How many processors may be used: all, if nothing was asked for."""
        return self.cores or os.cpu_count() or 1

    @property
    def wants_nuts(self) -> bool:
        """Whether it has to be NUTS on all unknowns."""
        return self.method == "nuts" or bool(self.options or self.nuts_sampler or self.centring)
