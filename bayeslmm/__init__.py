"""Mixed-effects models in Python: lme4's numbers and the full posterior from one formula.

Map of the package
------------------
Fit          `Model`, `lmer`, `glmer`; `fit_imputed` of tables imputed several times
Verbs        of a fit: `summary`, `fixef`, `ranef`, `coef`, `confint`, `var_corr`, `variance_components`, `icc`, `r2`,
             `tidy`, `glance`, `augment`, `predict`, `comparisons`, `slopes`, `means`, `trends`, `test`, `fitted`,
             `residuals`, `simulate`, `refit`; of a point fit `profile`, `bootstrap`, `aic`, `bic`, `loglik`; of a
             posterior `loo`, `hypothesis`, `rank_groups`, `prior_sensitivity`, `draws`, `idata`; of smooths `smooth`,
             `smooths`; of a meta-analysis `heterogeneity`.
             `icc`, `predictions`, `comparisons`, `slopes` are functions of a fit too
Priors       `Prior`, `LKJ`, `flat`
Relations    `compare_estimates`, `compare_pooling`, `compare`, `kfold`, `model_table`, `no_pooling`, `complete_pooling`
Tests        `anova`, `ranova`, `drop1`
Checks       `check`, `ppc`
Studies      `assume`, `plan`: power, precision and errors of studies that are not yet made
Pictures     `plot_ranef`, `plot_coef`, `plot_pooling`, `plot_lines`, `plot_predictions`, `plot_variance`, `plot_icc`,
             `plot_prior_posterior`, `plot_profile`, `plot_smooth`, `plot_estimates`, `plot_residuals`,
             `plot_ranef_normality`, `plot_ppc`, `plot_trace`, `plot_rank`, `plot_energy`; of a meta-analysis
             `plot_forest`, `plot_funnel`; of a plan `plot_plan`
Report       `report`, on one page; tables have `to_markdown` and `to_latex`
Data         `load_dataset`, `list_datasets`, `center_within`, `grid`
Files        `save`, `load`
Errors       `errors`

Importing the package is light: PyMC, ArviZ and matplotlib are imported when something needs them.
"""

from __future__ import annotations

from importlib import import_module
from inspect import isfunction
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Model": "model",
    "lmer": "model",
    "glmer": "model",
    "fit_imputed": "model",
    "assume": "model",
    "plan": "planning.plan",
    "icc": "results.functions",
    "comparisons": "results.functions",
    "slopes": "results.functions",
    "predictions": "results.functions",
    "Prior": "design.priors",
    "LKJ": "design.priors",
    "flat": "design.priors",
    "compare_estimates": "model_comparison.estimates",
    "compare": "model_comparison.elpd",
    "kfold": "model_comparison.kfold",
    "ppc": "predictive.ppc",
    "check": "checks.check",
    "grid": "results.reference",
    "model_table": "model_comparison.model_table",
    "compare_pooling": "pooling.pooling",
    "no_pooling": "pooling.pooling",
    "complete_pooling": "pooling.pooling",
    "anova": "model_comparison.anova",
    "ranova": "model_comparison.anova",
    "drop1": "model_comparison.anova",
    "plot_pooling": "show.pooling",
    "plot_ranef": "show.levels",
    "plot_coef": "show.levels",
    "plot_lines": "show.lines",
    "plot_predictions": "show.lines",
    "plot_variance": "show.variances",
    "plot_icc": "show.variances",
    "plot_prior_posterior": "show.variances",
    "plot_profile": "show.profiles",
    "plot_smooth": "show.smooths",
    "plot_estimates": "show.estimates",
    "plot_residuals": "show.residuals",
    "plot_ranef_normality": "show.residuals",
    "plot_ppc": "show.predictive",
    "plot_trace": "show.sampler",
    "plot_rank": "show.sampler",
    "plot_energy": "show.sampler",
    "plot_forest": "show.studies",
    "plot_funnel": "show.studies",
    "plot_plan": "show.planning",
    "report": "show.report",
    "save": "results.storage",
    "load": "results.storage",
    "center_within": "design.centring",
    "load_dataset": "datasets",
    "list_datasets": "results.catalogue",
}

__all__ = ["__version__", "errors", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        from .errors import RefusedVerbError, UnknownNameError
        from .tools.hints import function_hint, like

        hint, message = function_hint(name) or _family_hint(name), f"module 'bayeslmm' has no attribute {name!r}"
        if hint:
            raise RefusedVerbError(f"{message}; here it is {hint}")
        raise UnknownNameError(f"{message}{'' if name.startswith('_') else like(name, __all__)}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    if isfunction(value):
        from .tools.hints import public

        value = public(value)
    globals()[name] = value
    return value


def _family_hint(name: str) -> str:
    from .families import NAMES

    return f"a text: Model(formula, data, family={name!r})" if name in NAMES else ""


def __dir__() -> list[str]:
    return sorted(__all__)
