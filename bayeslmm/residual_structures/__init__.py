"""Residual structures: how the errors of a normal response vary, and vary together within the levels of a factor.

A correlation is one file of this room and one line of the table `CORRELATIONS`; sds are log-linear in columns
(`bayeslmm.residual_structures.structure`).

=====  ===========================  =============================================  =====================
word   correlation of two errors    positions                                      sds by position
=====  ===========================  =============================================  =====================
ar1    ρ^|i − j|, −1 < ρ < 1        whole numbers, or the order of a factor        no
car1   ρ^|s − t|, 0 < ρ < 1         any numbers                                    no
cs     ρ                            none: ``1``                                    no
us     one a pair of positions      levels of a factor                             yes, unless ``hom``
=====  ===========================  =============================================  =====================

The structures are nlme's (Pinheiro & Bates 2000, chapter 5), written in lme4's words.
"""

from __future__ import annotations

from .ar1 import Autoregressive
from .blocks import Blocks
from .car1 import ContinuousAutoregressive
from .correlation import Correlation
from .cs import Exchangeable
from .structure import Residuals, Spread
from .us import Unstructured

__all__ = ["CORRELATIONS", "Blocks", "Correlation", "Residuals", "Spread"]

CORRELATIONS: dict[str, type[Correlation]] = {
    kind.name: kind for kind in (Autoregressive, ContinuousAutoregressive, Exchangeable, Unstructured)
}
