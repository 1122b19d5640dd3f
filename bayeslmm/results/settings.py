"""How a posterior is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError

METHODS = ("auto", "exact", "nuts")


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
    options: Mapping[str, Any] = field(default_factory=dict)  # of pymc.sample

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"fit(method={self.method!r}): method is 'auto', 'exact' or 'nuts'")
        if min(self.draws, self.tune, self.chains) < 1:
            raise InputError(
                f"draws={self.draws}, tune={self.tune}, chains={self.chains}: each must be at least 1"
            )
        if self.method == "exact" and (self.options or self.nuts_sampler):
            raise InputError(
                f"options of NUTS do not apply to method='exact': {self.nuts_sampler or sorted(self.options)}"
            )

    @property
    def wants_nuts(self) -> bool:
        """Whether it has to be NUTS on the PyMC model."""
        return self.method == "nuts" or bool(self.options or self.nuts_sampler)
