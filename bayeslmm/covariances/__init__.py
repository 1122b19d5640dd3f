"""Covariance structures: how the effects of a bar vary together.

A structure is one file of this room and one line of the table `STRUCTURES`.

=========  ======================================  ==========================  ==================
structure  sds, unless ``hom``                     correlations                ``hom`` by default
=========  ======================================  ==========================  ==================
us         one an effect                           one a pair                  no
diag       one an effect                           none                        no
cs         one an effect                           one, of any two effects     no
ar1        one an effect                           one, of neighbours          yes
=========  ======================================  ==========================  ==================

Names and defaults are those of lme4 2.
"""

from __future__ import annotations

from .autoregressive import Autoregressive
from .compound_symmetry import CompoundSymmetry
from .diagonal import Diagonal
from .structure import Structure
from .unstructured import Unstructured

__all__ = ["INDEPENDENT_ALIKE", "STRUCTURES", "UNSTRUCTURED", "Structure"]

STRUCTURES: dict[str, type[Structure]] = {
    kind.name: kind for kind in (Unstructured, Diagonal, CompoundSymmetry, Autoregressive)
}
UNSTRUCTURED: Structure = Unstructured()
INDEPENDENT_ALIKE: Structure = Diagonal(hom=True)
