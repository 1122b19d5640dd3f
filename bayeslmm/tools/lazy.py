"""Parts of SciPy that take as long to load as a first fit, loaded when something of them is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, what: str) -> Any:
        return getattr(import_module(self._name), what)


stats: Any = _Lazy("scipy.stats")
optimize: Any = _Lazy("scipy.optimize")
interpolate: Any = _Lazy("scipy.interpolate")
