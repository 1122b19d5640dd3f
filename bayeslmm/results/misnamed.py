"""Which variable of draws is meant by another name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..design.design import Design


def variable_hint(name: object, design: Design, variables: Iterable[str]) -> str:
    """Which variable of draws is meant by a column, a factor or a verb; and which there are."""
    names, present = design.names, [str(variable) for variable in variables]
    lead = ""
    if not isinstance(name, str):
        return f"Variables here: {', '.join(present)}"
    if name in design.x_names or name == "(Intercept)":
        coefficient = "Intercept" if name == "(Intercept)" else name
        lead = f"The coefficient is idata.posterior['beta'].sel(coef={coefficient!r}). "
    elif name in names.b:
        lead = f"Its effects are draws({names.b[name]!r}), their sds draws({names.sd[name]!r}). "
    elif name in ("sd", "cor", "b", "ranef"):
        of_kind = {"sd": names.sd, "cor": names.cor}.get(name, names.b)
        lead = f"Each grouping factor has its own: {', '.join(v for v in of_kind.values() if v in present)}. "
    elif name in ("fixef", "coef", "fixed"):
        lead = "The fixed effects are draws('beta'). "
    return f"{lead}Variables here: {', '.join(present)}"
