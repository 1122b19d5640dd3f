"""Relations between fits.

Called as a function, ``bayeslmm.comparisons(fit, variable)``, it is the verb of fits of that name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    """This package, which has the name of a verb and answers for it."""

    def __call__(self, fit: Any, variable: str, **options: Any) -> Any:
        from ..results.functions import of_fit

        return of_fit("comparisons", fit, variable, **options)


sys.modules[__name__].__class__ = _Verb
