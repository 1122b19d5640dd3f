"""What both kinds of fit have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import RefusedVerbError

if TYPE_CHECKING:
    from ..spec.design import Design
    from .text import Text


RENAMED = {  # what R's and other packages call it
    "VarCorr": "var_corr()",
    "logLik": "loglik",
    "AIC": "aic",
    "BIC": "bic",
    "isSingular": "is_singular",
    "ngrps": "ngroups",
    "formula": "design.formula.text",
    "prior_summary": "priors",
    "posterior_predict": "predict(kind='response', draws=True)",
    "posterior_epred": "predict(draws=True)",
    "posterior_linpred": "predict(draws=True), of which the link function is the linear predictor",
    "pp_check": "bayeslmm.ppc(fit)",
    "waic": "loo(), which says when it is not reliable",
    "getME": "design and solution, or draws()",
}


class Fit:
    """A fitted model. Verbs of the other kind of fit are refused with the reason."""

    __slots__ = ()

    _refused: ClassVar[Mapping[str, str]] = {}

    if TYPE_CHECKING:
        design: Design

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return self.design.n

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor."""
        return {g.name: g.n_levels for g in self.design.groups}

    def summary(self) -> Text:
        """The fit in print."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name in RENAMED:
            raise RefusedVerbError(f"{name}: here it is {RENAMED[name]}")
        refused = type(self)._refused
        if name in refused:
            raise RefusedVerbError(f"{name}: {refused[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()
