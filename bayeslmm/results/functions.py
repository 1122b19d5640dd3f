"""Verbs of a fit as functions, for those who look for them there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..tools.hints import variable_missing
from .reference import predictors

if TYPE_CHECKING:
    import pandas as pd

    from .fit import Fit


def of_fit(verb: str, fit: Any, *args: Any, **options: Any) -> Any:
    """Call a verb of a fit; what is no fit is refused, and a model that is not fitted yet answers itself."""
    method = getattr(fit, verb, None)
    if method is None and not hasattr(type(fit), "fit_reml"):
        raise InputError(f"{verb}({type(fit).__name__}): a fit comes first, of lmer(...) or Model(...).fit()")
    return getattr(fit, verb)(*args, **options)


def of_variable(verb: str, fit: Any, variable: str | None, options: Mapping[str, Any]) -> Any:
    """The same of a verb that needs a variable."""
    if variable is None and hasattr(fit, verb):
        design = fit.fits[0].design if hasattr(fit, "fits") else fit.design  # of imputed tables they are all alike
        raise InputError(variable_missing(verb, options, predictors(design, groups=False)))
    return of_fit(verb, fit, variable, **options)


def icc(fit: Fit, **options: Any) -> Any:
    """``fit.icc(**options)``: the share of the variance that groups have."""
    return of_fit("icc", fit, **options)


def comparisons(fit: Fit, variable: str | None = None, **options: Any) -> Any:
    """``fit.comparisons(variable, **options)``: how the expected response differs between values of a variable."""
    return of_variable("comparisons", fit, variable, options)


def slopes(fit: Fit, variable: str | None = None, **options: Any) -> Any:
    """``fit.slopes(variable, **options)``: how steeply the expected response rises with a number."""
    return of_variable("slopes", fit, variable, options)


def predictions(fit: Fit, newdata: pd.DataFrame | None = None, **options: Any) -> Any:
    """``fit.predict(newdata, **options)``: the expected response of rows."""
    return of_fit("predict", fit, newdata, **options)
