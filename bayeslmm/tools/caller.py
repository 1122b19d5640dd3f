"""The names in scope where the package was called, among which formulas find functions of the user."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parents[1]) + os.sep


def names_of_caller() -> dict[str, Any]:
    """Globals and locals of the innermost frame that is not of this package, whose wrappers may stand between."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return {**frame.f_globals, **frame.f_locals}
