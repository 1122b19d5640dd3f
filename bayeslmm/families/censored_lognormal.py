"""Log-normal responses of which some rows are censored: the normal ones of log y."""

from __future__ import annotations

from typing import ClassVar

from .censored import Censored
from .censored_gaussian import bends, row
from .lognormal import LogNormal


class CensoredLogNormal(Censored, LogNormal):
    """log y ~ Normal(μ, σ/√w), some rows in intervals."""

    log_concave_links: ClassVar[tuple[str, ...]] = ("identity",)
    lowest: ClassVar[float] = 0.0
    row, rows, bends = row, None, bends
