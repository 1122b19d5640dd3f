"""Every public verb on every structure, family and engine: an answer without holes, or a typed refusal that says why.

REML runs on every structure, ML on some. Posteriors cover: every structure with gaussian and with one other family,
every family with two structures or more, and most links that are not the first. Each model is fitted once a process.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.families import family_of
from bayeslmm.results import pseudo_r2, quantities
from bayeslmm.results.fit import Fit
from bayeslmm.results.point import PointFit
from bayeslmm.results.posterior import PosteriorFit
from bayeslmm.results.reading import ResultArray, ResultTable

# boundaries, doubts about 60 draws, few levels: what is asked here is whether the verbs answer all the same
pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

SHORT = {"draws": 60, "tune": 100, "chains": 2, "cores": 1, "progressbar": False, "random_seed": 1}
SHORTER = {"draws": 15, "tune": 30}
BOOT = {"random_seed": 1, "cores": 1, "progressbar": False}

# -- models

ROWS = 96
STRUCTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "intercept": ("x + (1 | g)", {}),
    "correlated slope": ("x + (x | g)", {}),
    "independent slope": ("x + (x || g)", {}),
    "slope only": ("x + (0 + x | g)", {}),
    "nested": ("x + (1 | a/b)", {}),
    "crossed": ("x + (1 | g) + (1 | h)", {}),
    "nested and crossed": ("x + (1 | a/b) + (x | h)", {}),
    "factor in the bar": ("f + (f | g)", {}),
    "compound symmetry": ("x + cs(0 + f | g)", {}),
    "one sd": ("x + diag(x | g, hom=True) + (1 | h)", {}),
    "autoregressive": ("x + ar1(0 + f | g)", {}),
    "no bars": ("x", {}),
    "weights": ("x + (1 | g)", {"weights": "w"}),
    "offset": ("x + offset(o) + (1 | g)", {}),
    "offset as array": ("x + (1 | g)", {"offset": np.linspace(-0.2, 0.2, ROWS)}),
    "no intercept": ("0 + x + (1 | g)", {}),
    "no fixed effects": ("0 + (1 | g)", {}),
    "no variance": ("x + (1 | g)", {}),
    "perfect correlation": ("x + (x | g)", {}),
    "hardly a residual": ("x + (1 | g)", {}),
    "known errors": ("x + (1 | row)", {"se": "w"}),
    "known errors and slopes": ("x + (x | g) + (1 | g:row)", {"se": "w"}),
}
RESIDUALS: dict[str, tuple[str, dict[str, Any]]] = {  # point fits only
    "strata": ("x + (1 | g)", {"sigma": "~ f"}),
    "log-linear sd": ("x", {"sigma": "~ z", "weights": "w"}),
    "autoregressive residuals": ("x + (1 | g)", {"residual": "ar1(t | g)"}),
    "unstructured residuals": ("x", {"residual": "us(f | pair)"}),
}
PREDICTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "zeros by x": ("x + (1 | g)", {"zi": "~ x"}),
    "shape by f": ("x + (1 | g)", {"shape": "~ f"}),
    "scale by f": ("x + (1 | g)", {"scale": "~ f"}),
}
FIXED: dict[str, tuple[str, dict[str, Any]]] = {
    "sigma fixed": ("x + (1 | g)", {"priors": {"sigma": 0.9}}),
    "nu fixed": ("x + (1 | g)", {"priors": {"nu": 4}}),
    "no sd of slopes": ("x + (x | g)", {"priors": {("sd", "g", "x"): 0}}),
}
ALL = STRUCTURES | RESIDUALS | PREDICTORS | FIXED
OTHER_DATA = ("no variance", "perfect correlation", "hardly a residual")


@dataclass(frozen=True)
class Case:
    """A model and how it is fitted."""

    structure: str
    engine: str
    family: str = "gaussian"
    link: str | None = None

    @property
    def id(self) -> str:
        return f"{self.structure}, {self.family}{f' {self.link}' if self.link else ''}, {self.engine}"

    @property
    def has_groups(self) -> bool:
        return "|" in ALL[self.structure][0]


def posterior(structure: str, family: str = "gaussian", link: str | None = None) -> Case:
    return Case(structure, "posterior", family, link)


ML = ("nested", "no bars", "weights", "no fixed effects", "no variance")
POINTS = [Case(structure, "reml") for structure in STRUCTURES]
POINTS += [Case(structure, "ml") for structure in ("correlated slope", "nested", "no bars", "weights", *OTHER_DATA)]
POINTS += [Case("no fixed effects", "ml")]
POINTS += [
    *(Case(structure, "reml") for structure in RESIDUALS),
    Case("strata", "ml"),
    Case("unstructured residuals", "ml"),
    Case("sigma fixed", "reml"),
    Case("no sd of slopes", "reml"),
]
OTHER_POINTS = [
    Case("intercept", "ml", "student_t"),
    Case("weights", "ml", "student_t"),
    Case("weights", "ml", "lognormal"),
    Case("correlated slope", "ml", "bernoulli"),
    Case("crossed", "ml", "bernoulli", "cloglog"),
    Case("independent slope", "ml", "binomial"),
    Case("nested", "reml", "binomial", "probit"),
    Case("no fixed effects", "ml", "binomial"),
    Case("offset", "ml", "poisson"),
    Case("no variance", "ml", "poisson"),
    Case("no bars", "ml", "poisson"),
    Case("intercept", "ml", "poisson", "sqrt"),
    Case("nested and crossed", "ml", "negbinomial"),
    Case("offset as array", "ml", "negbinomial"),
    Case("factor in the bar", "ml", "gamma"),
    Case("slope only", "ml", "beta"),
    Case("intercept", "ml", "ordinal"),
    Case("nested", "ml", "ordinal", "probit"),
    Case("no bars", "ml", "ordinal", "cloglog"),
    Case("intercept", "ml", "gaussian", "log"),
    Case("intercept", "reml", "poisson"),
    Case("nested", "ml", "nbinom1"),
    Case("independent slope", "ml", "beta_binomial"),
    Case("offset", "ml", "truncated_poisson"),
    Case("intercept", "ml", "truncated_negbinomial"),
    Case("correlated slope", "ml", "weibull"),
    Case("intercept", "ml", "exgaussian"),
    Case("intercept", "ml", "zero_inflated_poisson"),
    Case("crossed", "ml", "zero_inflated_negbinomial"),
    Case("offset", "ml", "hurdle_poisson"),
    Case("intercept", "ml", "hurdle_negbinomial"),
    Case("zeros by x", "ml", "zero_inflated_negbinomial"),
    Case("shape by f", "ml", "gamma"),
    Case("scale by f", "ml", "ordinal"),
    Case("sigma fixed", "ml", "lognormal"),
    Case("nu fixed", "ml", "student_t"),
    Case("no sd of slopes", "ml", "poisson"),
    Case("autoregressive", "ml", "poisson"),
    Case("compound symmetry", "ml", "bernoulli"),
    Case("one sd", "reml", "gamma"),
]
POSTERIORS = [
    *(posterior(structure) for structure in STRUCTURES),
    posterior("sigma fixed"),
    posterior("nu fixed", "student_t"),
    posterior("intercept", "student_t"),
    posterior("autoregressive", "bernoulli"),
    posterior("weights", "student_t"),
    posterior("correlated slope", "student_t", "log"),
    posterior("weights", "lognormal"),
    posterior("no intercept", "lognormal"),
    posterior("hardly a residual", "student_t"),
    posterior("correlated slope", "bernoulli"),
    posterior("crossed", "bernoulli", "cloglog"),
    posterior("perfect correlation", "bernoulli", "cauchit"),
    posterior("independent slope", "binomial"),
    posterior("nested", "binomial", "probit"),
    posterior("no fixed effects", "binomial"),
    posterior("offset", "poisson"),
    posterior("no variance", "poisson"),
    posterior("no bars", "poisson"),
    posterior("intercept", "poisson", "sqrt"),
    posterior("nested and crossed", "negbinomial"),
    posterior("offset as array", "negbinomial"),
    posterior("factor in the bar", "gamma"),
    posterior("intercept", "gamma", "inverse"),
    posterior("slope only", "beta"),
    posterior("intercept", "beta", "probit"),
    posterior("intercept", "ordinal"),
    posterior("nested", "ordinal", "probit"),
    posterior("no bars", "ordinal", "cloglog"),
    posterior("intercept", "gaussian", "log"),
    posterior("offset", "nbinom1"),
    posterior("nested", "beta_binomial"),
    posterior("intercept", "truncated_poisson"),
    posterior("intercept", "truncated_negbinomial"),
    posterior("crossed", "weibull"),
    posterior("intercept", "exgaussian"),
    posterior("nested", "zero_inflated_poisson"),
    posterior("intercept", "zero_inflated_negbinomial"),
    posterior("intercept", "hurdle_poisson"),
    posterior("offset", "hurdle_negbinomial"),
    posterior("zeros by x", "zero_inflated_poisson"),
    posterior("scale by f", "ordinal", "probit"),
]


def response(family: str, mean: np.ndarray, m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Responses of a family with these means on the scale of its own default link."""
    if family == "ordinal":
        return (mean[:, None] + rng.logistic(size=(ROWS, 1)) > [-0.5, 0.7, 1.8]).sum(axis=1)
    mu = family_of(family).mean(mean)
    return {
        "gaussian": lambda: rng.normal(mu, 0.5),
        "student_t": lambda: mu + 0.5 * rng.standard_t(5, ROWS),
        "lognormal": lambda: np.exp(rng.normal(mu, 0.5)),
        "bernoulli": lambda: rng.binomial(1, mu),
        "binomial": lambda: rng.binomial(m, mu),
        "poisson": lambda: rng.poisson(mu),
        "negbinomial": lambda: rng.negative_binomial(3, 3 / (3 + mu)),
        "gamma": lambda: rng.gamma(5, mu / 5),
        "beta": lambda: rng.beta(8 * mu, 8 * (1 - mu)),
        "nbinom1": lambda: rng.poisson(rng.gamma(mu, 1.0)),
        "beta_binomial": lambda: rng.binomial(m, rng.beta(4 * mu, 4 * (1 - mu))),
        "truncated_poisson": lambda: 1 + rng.poisson(mu),
        "truncated_negbinomial": lambda: 1 + rng.negative_binomial(3, 3 / (3 + mu)),
        "weibull": lambda: mu * rng.weibull(1.5, ROWS),
        "exgaussian": lambda: rng.normal(mu - 0.5, 0.4) + rng.exponential(0.5, ROWS),
        "zero_inflated_poisson": lambda: rng.poisson(mu) * (rng.random(ROWS) > 0.3),
        "zero_inflated_negbinomial": lambda: rng.negative_binomial(3, 3 / (3 + mu)) * (rng.random(ROWS) > 0.3),
        "hurdle_poisson": lambda: (1 + rng.poisson(mu)) * (rng.random(ROWS) > 0.3),
        "hurdle_negbinomial": lambda: (1 + rng.negative_binomial(3, 3 / (3 + mu))) * (rng.random(ROWS) > 0.3),
    }[family]()


@cache
def data_of(structure: str, family: str) -> pd.DataFrame:
    """96 rows: factors g and h cross each other, b is nested in a; all of them and the slopes matter."""
    rng = fixed_rng(3)  # the boundaries of the cases are those of its numbers
    i = np.arange(ROWS)
    g, h, a, b = i % 12, (3 * i + i // 8) % 8, i // 16, (i // 4) % 4
    x = rng.normal(size=ROWS)
    m = rng.integers(4, 12, ROWS)
    one, slope, other, high, low = (rng.permutation(np.linspace(-1.0, 1.0, k)) for k in (12, 12, 8, 6, 24))
    effect = one[g] + 0.6 * slope[g] * x + other[h] + high[a] + low[4 * a + b]
    if structure in OTHER_DATA:
        effect = {"no variance": 0.0, "perfect correlation": (2.0 * one * (1.0 + 0.5 * x[:, None]))[i, g]}.get(
            structure, one[g]
        )
    y = response(family, 1.0 + 0.4 * x + effect, m, rng)
    if structure == "no variance":  # groups that differ less than chance would have it
        y = np.sort(y)[np.argsort(rng.normal(size=ROWS))]
        y = np.sort(y).reshape(8, 12)
        y = np.concatenate([np.roll(row, k * 5) for k, row in enumerate(y)])
    if structure == "hardly a residual":
        y = np.exp(0.2 + 0.1 * x + one[g] / 5) + 1e-6 * rng.normal(size=ROWS)
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "m": m,
            "g": g,
            "h": [f"h{k}" for k in h],
            "a": [f"a{k}" for k in a],
            "b": b,
            "f": np.where(i // 12 % 2 == 1, "yes", "no"),
            "w": rng.uniform(0.5, 2.0, ROWS),
            "o": rng.uniform(-0.2, 0.2, ROWS),
            "z": rng.normal(size=ROWS),
            "row": i,
            "t": i // 12,
            "pair": i % 12 + 12 * (i // 24),
        }
    )


def model_of(case: Case, right: str | None = None) -> blm.Model:
    formula, options = ALL[case.structure]
    left = "p(y, m)" if family_of(case.family).has_trials else "y"
    data = data_of(case.structure, case.family)
    return blm.Model(f"{left} ~ {right or formula}", data, family=case.family, link=case.link, **options)


def fitted_by(model: blm.Model, engine: str, **settings: Any) -> PointFit | PosteriorFit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        if engine == "posterior":
            return model.fit(**SHORT | settings)
        return model.fit_reml() if engine == "reml" else model.fit_ml()


@cache
def fit_of(case: Case) -> Any:
    return fitted_by(model_of(case), case.engine)


@cache
def baseline_of(case: Case) -> Any:
    right = "1 + (x | g)" if case.structure == "no sd of slopes" else "1 + (1 | g)"
    return fitted_by(model_of(case, right), case.engine, **SHORTER)


# -- verbs


def rows_of(case: Case, *, strange: bool = False) -> pd.DataFrame:
    """New rows; with ``strange`` of groups that the fit has not seen."""
    rows = data_of(case.structure, case.family).head(5).drop(columns="y").assign(x=0.3)
    return rows.assign(g=99, h="no such", a="no such", row=-1 - rows["row"]) if strange else rows


def new(case: Case, fit: Any, *, strange: bool = False, **asked: Any) -> Any:
    if case.structure == "offset as array":
        asked["offset"] = 0.1
    if fit.design.trials is not None and asked.get("kind") == "response":
        asked["trials"] = 5
    return fit.predict(rows_of(case, strange=strange), **asked)


def at_of(case: Case) -> dict[str, Any]:
    if case.structure == "factor in the bar":
        return {"f": ["no", "yes"]}
    return {"g": [0, 1]} if case.structure == "no fixed effects" else {"x": [-1.0, 0.5]}


def predictor_of(case: Case) -> str:
    return next(iter(at_of(case)))


def other_response(fit: Any) -> np.ndarray:
    """The responses of other rows, no more successes than trials."""
    return np.fmin(fit.design.y[::-1], np.inf if fit.design.trials is None else fit.design.trials)


def simulated(fit: Any) -> pd.Series:
    """New responses, by a seed that no shift makes that of the data; shares that round to one just below it."""
    drawn = fit.simulate(1, random_seed=200)["sim_1"]
    return drawn.clip(1e-9, 1.0 - 1e-9) if fit.design.family.word == "beta" else drawn


def group_of(fit: Any) -> dict[str, Any]:
    return {"group": fit.design.groups[-1].name} if fit.design.groups else {}


def both(fit: Any, case: Case) -> Any:
    point = Case(case.structure, "reml", case.family, case.link)
    return blm.compare_estimates(fit_of(point), fit)


Verb = Callable[[Any, Case], Any]
# the word before the first comma is the name of the method
EITHER: dict[str, Verb] = {
    "summary": lambda f, c: str(f.summary()),
    "summary, to_markdown": lambda f, c: f.summary().to_markdown(),
    "summary, to_latex": lambda f, c: f.summary().to_latex(),
    "repr": lambda f, c: repr(f),
    "repr, html": lambda f, c: f._repr_html_(),
    "nobs": lambda f, c: f.nobs,
    "ngroups": lambda f, c: f.ngroups,
    "verdict": lambda f, c: f.verdict,
    "values": lambda f, c: [f.values.beta, *f.values.covariances, *f.values.family.values()],
    "fixef": lambda f, c: f.fixef(),
    "fixef, ci_prob": lambda f, c: f.fixef(ci_prob=0.5),
    "vcov": lambda f, c: f.vcov(),
    "ranef": lambda f, c: f.ranef(),
    "ranef, wide": lambda f, c: f.ranef(wide=True),
    "coef": lambda f, c: f.coef(),
    "coef, wide": lambda f, c: f.coef(wide=True),
    "var_corr": lambda f, c: f.var_corr(),
    "variance_components": lambda f, c: f.variance_components(),
    "icc": lambda f, c: f.icc(),
    "icc, plain": lambda f, c: f.icc(by_group=False),
    "icc, at values": lambda f, c: f.icc(at=at_of(c)),
    "icc, at a name": lambda f, c: f.icc(at=next(iter(at_of(c)))),
    "within_correlation": lambda f, c: f.within_correlation(at_of(c), **group_of(f)),
    "within_correlation, wide": lambda f, c: f.within_correlation(at_of(c), wide=True, **group_of(f)),
    "r2": lambda f, c: f.r2(),
    "heterogeneity": lambda f, c: f.heterogeneity(),
    "pseudo_r2": lambda f, c: f.pseudo_r2(baseline_of(c)),
    "confint": lambda f, c: f.confint(),
    "confint, ci_prob": lambda f, c: f.confint(ci_prob=0.5),
    "tidy": lambda f, c: f.tidy(),
    "tidy, fixed": lambda f, c: f.tidy("fixed"),
    "tidy, ran_pars": lambda f, c: f.tidy("ran_pars"),
    "tidy, ran_vals": lambda f, c: f.tidy("ran_vals"),
    "tidy, ran_coefs": lambda f, c: f.tidy("ran_coefs"),
    "tidy, family": lambda f, c: f.tidy("family"),
    "tidy, all": lambda f, c: f.tidy(("fixed", "ran_pars", "ran_vals", "ran_coefs", "family")),
    "glance": lambda f, c: f.glance(),
    "augment": lambda f, c: f.augment(),
    "fitted": lambda f, c: f.fitted(),
    "residuals": lambda f, c: f.residuals(),
    "residuals, pearson": lambda f, c: f.residuals("pearson"),
    "residuals, scaled": lambda f, c: f.residuals("scaled"),
    "predict": lambda f, c: f.predict(),
    "predict, average": lambda f, c: f.predict(groups="average"),
    "predict, new": lambda f, c: f.predict(groups="new"),
    "predict, population": lambda f, c: f.predict(groups="population"),
    "predict, rows": lambda f, c: new(c, f),
    "predict, unseen": lambda f, c: new(c, f, strange=True),
    "predict, rows, average": lambda f, c: new(c, f, strange=True, groups="average"),
    "predict, rows, new": lambda f, c: new(c, f, strange=True, groups="new"),
    "predict, rows, population": lambda f, c: new(c, f, strange=True, groups="population"),
    "comparisons": lambda f, c: f.comparisons(next(iter(at_of(c)))),
    "comparisons, rows": lambda f, c: f.comparisons(next(iter(at_of(c))), groups="new", average=False, random_seed=1),
    "slopes": lambda f, c: f.slopes(next(iter(at_of(c))), groups="observed"),
    "smooth": lambda f, c: f.smooth("s(x)"),
    "smooths": lambda f, c: f.smooths(),
    "means": lambda f, c: f.means(predictor_of(c)).table,
    "means, text": lambda f, c: str(f.means(predictor_of(c))),
    "means, pairs": lambda f, c: f.means(predictor_of(c), at=at_of(c)).pairs().table,
    "trends": lambda f, c: f.trends(predictor_of(c)).table,
    "simulate": lambda f, c: f.simulate(3, random_seed=1),
    "simulate, observed": lambda f, c: f.simulate(3, random_seed=1, groups="observed"),
    "model_table": lambda f, c: str(blm.model_table(f, baseline_of(c), names=["A", "B"])),
    "model_table, to_markdown": lambda f, c: blm.model_table(f).to_markdown(),
    "model_table, to_latex": lambda f, c: blm.model_table(f).to_latex(),
}
OF_POINTS: dict[str, Verb] = {
    **{
        name: lambda f, c, name=name: getattr(f, name)
        for name in (
            "sigma",
            "criterion",
            "n_parameters",
            "loglik",
            "deviance",
            "aic",
            "bic",
            "df_resid",
            "is_singular",
        )
    },
    "summary, without tests": lambda f, c: str(f.summary(ddf=None)),
    "fixef, satterthwaite": lambda f, c: f.fixef(ddf="satterthwaite"),
    "fixef, kenward-roger": lambda f, c: f.fixef(ddf="kenward-roger"),
    "confint, profile": lambda f, c: f.confint("profile", ci_prob=0.8, progressbar=False),
    "confint, boot": lambda f, c: f.confint("boot", draws=3, **BOOT),
    "profile": lambda f, c: f.profile(ci_prob=0.8, progressbar=False),
    "bootstrap": lambda f, c: f.bootstrap(3, **BOOT),
    "icc, bootstrap": lambda f, c: f.icc(bootstrap=3, **BOOT),
    "r2, bootstrap": lambda f, c: f.r2(bootstrap=3, **BOOT),
    "variance_components, bootstrap": lambda f, c: f.variance_components(bootstrap=3, **BOOT),
    "within_correlation, bootstrap": lambda f, c: f.within_correlation(at_of(c), bootstrap=3, **group_of(f), **BOOT),
    "predict, draws": lambda f, c: f.predict(draws=3, kind="response", random_seed=1),
    "predict, plug-in": lambda f, c: f.predict(interval="plug-in", kind="response", shares=True),
    "predict, mean": lambda f, c: f.predict(interval="plug-in", groups="new"),
    "predict, response, plug-in": lambda f, c: f.predict(interval="plug-in", kind="response", groups="new"),
    "predict, link": lambda f, c: f.predict(kind="link", interval="plug-in", shares=True),
    "residuals, deviance": lambda f, c: f.residuals("deviance"),
    "predict, simulated": lambda f, c: f.predict(interval="simulated", draws=5, groups="new", **BOOT),
    "predict, rows, draws": lambda f, c: new(c, f, strange=True, groups="new", draws=3, random_seed=1),
    "test": lambda f, c: f.test([f"{name} = 0" for name in f.design.x_names]),
    "refit": lambda f, c: f.refit(simulated(f)),
    "update": lambda f, c: f.update(". ~ . + z"),
}
OF_POSTERIORS: dict[str, Verb] = {
    "n_chains": lambda f, c: f.n_chains,
    "n_draws": lambda f, c: f.n_draws,
    "covariances": lambda f, c: f.covariances(),
    "draws": lambda f, c: [f.draws(name) for name in f.idata.posterior.data_vars],
    "summarise": lambda f, c: f.summarise(f.values.beta),
    "parameters": lambda f, c: [f.parameters(part) for part in ("fixed", "family", *f.ngroups)],
    "hypothesis": lambda f, c: f.hypothesis([f"{n} {r} 0" for n in f.design.x_names[-1:] for r in ">="], rope=1.0),
    "ranef, draws": lambda f, c: f.ranef(draws=True),
    "coef, draws": lambda f, c: f.coef(draws=True),
    "rank_groups": lambda f, c: f.rank_groups(top=2, **group_of(f), **term_of(f)),
    "var_corr, draws": lambda f, c: f.var_corr(draws=True),
    "variance_components, draws": lambda f, c: f.variance_components(draws=True),
    "icc, draws": lambda f, c: f.icc(draws=True),
    "icc, at values, draws": lambda f, c: f.icc(at=at_of(c), draws=True),
    "within_correlation, draws": lambda f, c: f.within_correlation(at_of(c), draws=True, **group_of(f)),
    "r2, draws": lambda f, c: f.r2(draws=True),
    "bayes_r2": lambda f, c: f.bayes_r2(),
    "bayes_r2, draws": lambda f, c: f.bayes_r2(draws=True),
    "fixef, hdi": lambda f, c: f.fixef(ci_kind="hdi"),
    "confint, hdi": lambda f, c: f.confint(ci_kind="hdi"),
    "fitted, draws": lambda f, c: f.fitted(draws=True),
    "residuals, draws": lambda f, c: f.residuals(draws=True),
    "residuals, pearson, draws": lambda f, c: f.residuals("pearson", draws=True),
    "predict, response": lambda f, c: f.predict(kind="response", random_seed=1),
    "predict, shares, response": lambda f, c: f.predict(kind="response", shares=True, random_seed=1),
    "predict, draws": lambda f, c: f.predict(kind="response", draws=True, random_seed=1, groups="new"),
    "predict, rows, draws": lambda f, c: new(c, f, strange=True, groups="new", draws=True, random_seed=1),
    "predict, rows, response": lambda f, c: new(c, f, groups="population", kind="response", random_seed=1),
    "refit": lambda f, c: f.refit(other_response(f), **SHORTER),
    "with_priors": lambda f, c: f.with_priors({}, **SHORTER),
    "compute_log_likelihood": lambda f, c: f.compute_log_likelihood() or f.idata.log_likelihood.to_dataset(),
    "compute_log_prior": lambda f, c: f.compute_log_prior() or f.idata.log_prior.to_dataset(),
    "compute_posterior_predictive": lambda f, c: (
        f.compute_posterior_predictive(random_seed=1) or f.idata.posterior_predictive.to_dataset()
    ),
    "prior_sensitivity": lambda f, c: f.prior_sensitivity(),
    "prior_influence": lambda f, c: f.prior_influence(),
    "loo": lambda f, c: [(e := f.loo()).elpd, e.se, e.p, e.pareto_k.max()],
    "compare_estimates": lambda f, c: both(f, c).table,
    "compare_estimates, text": lambda f, c: str(both(f, c)),
    "compare_estimates, to_markdown": lambda f, c: both(f, c).to_markdown(),
    "compare_estimates, to_latex": lambda f, c: both(f, c).to_latex(),
}


def term_of(fit: Any) -> dict[str, Any]:
    return {"term": fit.design.groups[-1].columns[0]} if fit.design.groups else {}


def holes(answer: Any) -> Iterator[str]:
    """Names of the columns, or the kinds of answer, in which a number is missing or infinite."""
    match answer:
        case str():
            if not answer.strip():
                yield "nothing said"
        case pd.DataFrame():
            if not len(answer):
                yield "no rows"
            for column in answer.columns:
                if answer[column].dtype.kind in "fc" and not np.isfinite(answer[column].to_numpy()).all():
                    yield str(column)
                elif answer[column].isna().any():
                    yield str(column)
        case Fit():
            yield from holes(answer.fixef())
            yield from holes(answer.ranef())
        case Mapping() | list() if not hasattr(answer, "data_vars"):
            for each in answer.values() if isinstance(answer, Mapping) else answer:
                yield from holes(each)
        case _ if hasattr(answer, "data_vars"):
            for name, each in answer.data_vars.items():
                if not np.isfinite(each.to_numpy()).all():
                    yield str(name)
        case _:
            if not np.isfinite(np.asarray(answer, dtype=np.float64)).all():
                yield "numbers"


# -- what is refused, and what may be missing

WITHOUT_RESIDUAL = {
    ("student_t", "log"),
    ("gaussian", "log"),
    ("bernoulli", "cauchit"),
    ("poisson", "sqrt"),
    ("gamma", "inverse"),
    ("beta", None),
    ("beta", "probit"),
    ("beta_binomial", None),
    ("truncated_poisson", None),
    ("truncated_negbinomial", None),
    ("zero_inflated_poisson", None),
    ("zero_inflated_negbinomial", None),
    ("hurdle_poisson", None),
    ("hurdle_negbinomial", None),
}
WITHOUT_G = {
    "nested",
    "nested and crossed",
    "no bars",
    "slope only",
    "compound symmetry",
    "autoregressive",
    "one sd",
}  # no intercept of g, as the baseline has
CURVED = {"compound symmetry", "autoregressive", "one sd"}  # covariances that are not linear in their parameters


def refusal(case: Case, name: str) -> type[Exception] | None:
    """The error that a verb has to give, if it cannot answer."""
    word = name.split(",")[0]
    normal = case.family == "gaussian" and case.link is None
    if name == "predict, unseen" and case.has_groups:
        return errors.UnseenLevelError
    shares_residuals = "residual" in RESIDUALS.get(case.structure, ("", {}))[1]
    without_groups = ("icc", "rank_groups") if shares_residuals else ("icc", "within_correlation", "rank_groups")
    if word in without_groups and not case.has_groups:
        return errors.InputError if word == "rank_groups" else errors.NotAvailableError
    if word in ("icc", "within_correlation", "r2") and (case.family, case.link) in WITHOUT_RESIDUAL:
        return errors.NotAvailableError
    if word == "heterogeneity" and fit_of(case).design.se is None:
        return errors.NotAvailableError
    if word == "pseudo_r2" and case.structure == "known errors":  # no intercept of g, and no residual variance
        return errors.NotAvailableError
    of_effects = word in ("comparisons", "slopes", "means", "trends")
    if of_effects and (case.structure == "no fixed effects" or word in ("slopes", "trends") and "f" in at_of(case)):
        return errors.InputError
    if word in ("test", "hypothesis") and case.structure == "no fixed effects":
        return errors.InputError  # it names no coefficient
    if word == "smooth":  # tests/terms has models with smooths
        return errors.InputError
    if name == "predict, shares, response" and case.family == "ordinal":
        return errors.NotAvailableError
    if word in ("residuals", "bayes_r2") and case.family == "ordinal" and name != "residuals, deviance":
        return errors.NotAvailableError
    if word == "pseudo_r2" and case.structure in WITHOUT_G and not family_of(case.family).has_residual:
        return errors.NotAvailableError
    if case.engine != "posterior" and not normal:
        if word == "sigma" and not family_of(case.family).has_residual:
            return errors.RefusedVerbError
        if name in ("fixef, kenward-roger", "predict, plug-in"):
            return errors.NotAvailableError
        if "profile" in name and fit_of(case).solution.status in ("separated", "failed"):
            return errors.NotAvailableError
        if name in ("predict, mean", "predict, response, plug-in", "predict, link") and case.family == "ordinal":
            return errors.NotAvailableError
    if case.structure in PREDICTORS:
        if word in ("icc", "within_correlation", "r2") or "profile" in name or (name == "loo" and case.has_groups):
            return errors.NotAvailableError
        mean_hangs_on_it = case.structure == "zeros by x"
        of_mean = (
            "comparisons",
            "comparisons, rows",
            "slopes",
            "predict, draws",
            "predict, mean",
            "predict, response, plug-in",
            "predict, rows, draws",
        )
        if case.engine != "posterior" and mean_hangs_on_it and name in of_mean:
            return errors.NotAvailableError
    if case.structure in RESIDUALS:
        correlated = "residual" in RESIDUALS[case.structure][1]
        if word == "profile" or name in ("confint, profile", "predict, simulated"):
            return errors.NotAvailableError
        if correlated and name == "predict, draws":
            return errors.NotAvailableError
        if name == "fixef, kenward-roger" and (case.engine == "ml" or case.structure != "unstructured residuals"):
            return errors.NotAvailableError if case.engine == "reml" else errors.InputError
    if name == "fixef, kenward-roger" and case.engine == "ml" and case.has_groups:
        return errors.InputError
    if name == "fixef, kenward-roger" and case.engine == "reml" and case.structure in CURVED:
        return errors.NotAvailableError
    return None


def may_miss(case: Case, fit: Any, name: str) -> set[str]:
    """Columns of a verb's table where a number may be missing, and ``no rows`` where the table may be empty."""
    word = name.split(",")[0]
    found = set()
    parameters = set(fit.design.family.parameters)
    if name in ("tidy", "tidy, all"):
        # columns that apply to some of the effects only: no tests of sds, no R-hat of levels, no level of a parameter
        found = {"group", "level", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"}
        of_draws = {"group", "level", "rhat", "ess_bulk", "ess_tail"}  # what is fixed has no errors
        found = of_draws | (found if case.structure in FIXED else set()) if case.engine == "posterior" else found
    elif name == "tidy, ran_pars" and "sigma" in fit.design.fixed:
        found = {"std_error", "conf_low", "conf_high", "rhat", "ess_bulk", "ess_tail"}
    elif word == "heterogeneity":
        # no df of variances, no interval of tests, and of several factors none by the Q-profile
        found = {"df", "p_value", "conf_low", "conf_high", "sd", "median"}
    elif name == "smooths":
        found = {"no rows"}
    elif name == "hypothesis":
        found = {"probability", "p_mcse", "bayes_factor", "bf_mcse"}  # of an equation, and beside flat priors
    elif word == "glance":
        found = missing_of_glance(case, fit)
    elif name == "pseudo_r2" and case.structure == "no variance":
        found = {"pseudo_r2"}  # nothing to reduce: the note says so
    elif word == "pseudo_r2" and case.engine != "posterior" and case.family == "bernoulli":
        found = {"pseudo_r2"}  # the baseline's variance is zero, as the note says
    elif word == "bootstrap" and case.family in ("beta", "exgaussian"):
        # a response that rounds to one cannot be refitted, nor one whose normal part is all of it
        found = {str(column) for column in fit.bootstrap(1, **BOOT)}
    elif case.engine != "posterior" and fit.solution.limits and name in ("confint", "confint, ci_prob", "tidy, family"):
        found = {"std_error", "conf_low", "conf_high"}  # of a parameter that is infinite
    elif name == "confint, profile" and fit.design.family.limited_by:
        found = {"conf_low", "conf_high"}  # of a parameter that may be infinite
    elif case.structure == "hardly a residual" and case.family == "student_t" and word != "compare_estimates":
        # without noise nu wanders to 2 and below in some draws or most, where a t distribution has an infinite variance
        if word == "variance_components":
            found = {"mean", "sd", "median", "conf_low", "conf_high", "numbers"}
        elif word == "pseudo_r2":
            found = {"sd", "conf_low"}
    elif name == "ranef, wide" and len({g.columns for g in fit.design.groups}) > 1:
        found = {"x"}  # a factor without a slope
    elif name == "compare_estimates":
        found = {"std_error", "df", "estimate_low", "estimate_high"}  # Wald: not of sds
    elif case.link == "inverse" and (word == "simulate" or "response" in name or "draws" in name):
        # 1/η < 0 is no mean of a gamma response: `simulate_response`
        found = {"numbers", "sim_1", "sim_2", "sim_3", "mean", "sd", "median", "conf_low", "conf_high"}
    if case.engine != "posterior":
        found |= {"df"}  # infinite where variances count as known, as of conditional modes
    lists = {"parameters", "refit", "with_priors", "update"}
    if not fit.design.x_names and (name in ("tidy, fixed", "confint", "confint, ci_prob") or word in {"fixef", "vcov"}):
        found |= {"no rows"}
    if not fit.design.x_names and word in lists | {"summarise"}:
        found |= {"no rows"}
    if not fit.design.groups and (word in {"ranef", "coef"} | lists or name in ("tidy, ran_vals", "tidy, ran_coefs")):
        found |= {"no rows"}
    if not fit.design.groups and "sigma" not in parameters and name == "tidy, ran_pars":
        found |= {"no rows"}
    if case.engine == "posterior" and word in {"variance_components", "tidy", "parameters", "compare_estimates"}:
        found |= {"p_positive"}  # of variances, sds and shares, which are positive
    if name == "tidy, family" and not parameters - {"sigma"}:
        found |= {"no rows"}
    if name == "parameters" and not parameters:
        found |= {"no rows"}
    return found


def missing_of_glance(case: Case, fit: Any) -> set[str]:
    found = set() if case.has_groups else {"icc"}
    if fit.design.family.residual_is_known:
        found |= {"sigma"}
    if (case.family, case.link) in WITHOUT_RESIDUAL:
        found |= {"icc", "r2_marginal", "r2_conditional"}
    if "sigma" not in fit.design.family.parameters:
        found |= {"sigma"}
    if case.structure in PREDICTORS:
        found |= {"icc", "r2_marginal", "r2_conditional", "elpd_loo", "se_elpd_loo", "p_loo", "k_max"}
    if case.engine != "posterior":
        return found | ({"reml_criterion"} if case.engine == "ml" else set())
    return found | ({"divergences"} if "k_hat" in fit.idata.sample_stats.attrs else {"k_hat"})


def problems(fit: Any, case: Case, name: str, verb: Verb) -> Iterator[str]:
    """What is wrong with the answer of a verb."""
    wanted = refusal(case, name)
    try:
        answer = verb(fit, case)
    except errors.BayesLMMError as error:
        if wanted is None or not isinstance(error, wanted) or len(str(error)) < 20:
            yield f"{name}: refused by {type(error).__name__}: {error}"
    except Exception as error:
        yield f"{name}: {type(error).__name__}: {error}"
    else:
        if wanted is not None:
            yield f"{name}: answered, though {wanted.__name__} was to be expected"
        unexpected = set(holes(answer)) - may_miss(case, fit, name)
        if unexpected:
            yield f"{name}: missing or infinite: {sorted(unexpected)}"
        yield from (f"{name}: {what}" for what in unreadable(answer))


def unreadable(answer: Any) -> Iterator[str]:
    """What cannot be read of tables and rows of numbers in a terminal of 80 characters, or in a notebook."""
    if isinstance(answer, dict):
        for each in answer.values():
            yield from unreadable(each)
    if isinstance(answer, np.ndarray) and answer.ndim == 1 and answer.dtype.kind == "f":
        if type(answer) is not ResultArray:
            yield "numbers that print as they are kept"
    if isinstance(answer, pd.DataFrame):
        lines = repr(answer).splitlines()
        if not isinstance(answer, ResultTable) or not hasattr(answer, "_repr_html_"):
            yield "a table that prints as it is kept"
        elif max(map(len, lines)) > 80:
            yield f"a line of {max(map(len, lines))} characters"
        if len(answer):
            names = [part for name in answer.columns for part in (name if isinstance(name, tuple) else (name,))]
            hidden = [name for name in names if not set(str(name).split()) <= set(repr(answer).split())]
            if hidden:
                yield f"columns that do not print: {hidden}"


@pytest.mark.parametrize("case", [*POINTS, *OTHER_POINTS, *POSTERIORS], ids=lambda case: case.id)
def test_every_verb_answers_or_says_why_not(case):
    fit = fit_of(case)
    twice = {"reml": "confint, profile", "ml": "profile"}.get(case.engine)  # the same curves: once each is enough
    found = [
        problem
        for name, verb in (EITHER | (OF_POSTERIORS if case.engine == "posterior" else OF_POINTS)).items()
        if name != twice
        for problem in problems(fit, case, name, verb)
    ]
    assert not found, "\n".join(found)


def test_the_cases_cover_structures_families_and_engines():
    """And the cases which are to be on the boundary are."""
    for structure in STRUCTURES:
        cases = [c for c in POSTERIORS if c.structure == structure]
        assert any(c.family == "gaussian" and c.link is None for c in cases), structure
        assert len(cases) > 1 or "se" in STRUCTURES[structure][1] or structure in CURVED, (
            structure
        )  # mostly of normal responses
    for family in FAMILIES:
        assert len({c.structure for c in POSTERIORS if c.family == family}) > 1, family
    for structure in ("no variance", "perfect correlation"):
        assert fit_of(Case(structure, "reml")).is_singular
    sd, cor = (fit_of(Case(s, "reml")).variance_components() for s in ("no variance", "perfect correlation"))
    assert sd.loc[0, "estimate"] == 0.0
    assert abs(cor.loc[cor["quantity"] == "cor", "estimate"].iloc[0]) == pytest.approx(1.0, abs=1e-6)
    assert fit_of(Case("hardly a residual", "reml")).sigma < 0.02
    assert not fit_of(Case("intercept", "reml")).is_singular


def test_a_perfect_fit_is_told():
    """Logarithms that are linear to 1e-6: no posterior, and a point fit that says what it is worth."""
    data = data_of("hardly a residual", "lognormal")
    with pytest.raises(errors.FitError, match="fits the data perfectly"):
        fitted_by(blm.Model("y ~ x + (1 | g)", data, family="lognormal"), "posterior")
    point = fitted_by(blm.Model("np.log(y) ~ x + (1 | g)", data), "reml")
    # at 14 digits of the variance ratio rounding decides whether the optimum is found; it has to say which
    assert point.sigma < 1e-5 and point.verdict.startswith(("converged", "failed"))


def test_no_verb_is_forgotten():
    for kind, table in ((PointFit, EITHER | OF_POINTS), (PosteriorFit, EITHER | OF_POSTERIORS)):
        public = {name for name in dir(kind) if not name.startswith("_")} - {f.name for f in fields(kind)}
        assert public - {name.split(",")[0] for name in table} == set(), kind


# -- verbs of the other kind of fit


@pytest.mark.parametrize("kind", ["reml", "posterior"])
def test_verbs_of_the_other_kind_are_refused_with_the_reason(kind):
    fit = fit_of(Case("intercept", kind))
    for name in type(fit)._refused:
        with pytest.raises(errors.RefusedVerbError, match=rf"^{name}: .{{20}}"):
            getattr(fit, name)
        assert not hasattr(fit, name)
    with pytest.raises(AttributeError, match="no attribute 'no_such_verb'") as caught:
        fit.no_such_verb  # noqa: B018
    assert not isinstance(caught.value, errors.BayesLMMError)


def test_what_only_one_kind_can_is_refused_by_the_other():
    own = {
        PointFit: {"n_parameters"},
        # arrays of draws, and what is done to them
        PosteriorFit: {
            "n_chains",
            "n_draws",
            "covariances",
            "summarise",
            "parameters",
            "compute_log_likelihood",
            "compute_log_prior",
            "compute_posterior_predictive",
        },
    }
    for kind, other in ((PointFit, PosteriorFit), (PosteriorFit, PointFit)):
        verbs = {name for name in dir(kind) if not name.startswith("_")} - {f.name for f in fields(kind)}
        assert verbs - set(dir(other)) - set(other._refused) == own[kind]


def test_fits_of_the_other_kind_are_no_baseline():
    point, post = fit_of(Case("intercept", "reml")), fit_of(posterior("intercept"))
    for one, other in ((point, post), (post, point)):
        with pytest.raises(errors.InputError, match=r"pseudo_r2\(baseline\)"):
            one.pseudo_r2(other)
    with pytest.raises(errors.InputError, match="REML or ML fit and then a posterior"):
        blm.compare_estimates(post, point)
    with pytest.raises(errors.InputError, match="different rows|different responses"):
        point.pseudo_r2(fit_of(Case("no variance", "reml")))


def test_nothing_to_reduce_is_said():
    table = fit_of(Case("no variance", "reml")).pseudo_r2(baseline_of(Case("no variance", "reml")))
    assert np.isnan(table.loc["g", "pseudo_r2"]) and table.loc["g", "note"] == pseudo_r2.NOTHING
    assert np.isfinite(table.loc["Residual", "pseudo_r2"])


# -- answers that have to agree

ONE_FACTOR = [
    s for s, (right, _) in STRUCTURES.items() if right.count("|") - right.count("||") == 1 and "/" not in right
]
EXACT = {"rtol": 1e-9, "atol": 1e-11}  # the same numbers, added in another order


def with_residual(cases: list[Case]) -> list[Case]:
    return [
        c
        for c in cases
        if c.has_groups and (c.family, c.link) not in WITHOUT_RESIDUAL and c.structure not in PREDICTORS
    ]


def estimate_of(fit: Any) -> str:
    return "mean" if isinstance(fit, PosteriorFit) else "estimate"


@pytest.mark.parametrize("case", POSTERIORS, ids=lambda case: case.id)
def test_rows_of_a_posterior_agree(case):
    fit = fit_of(case)
    fitted, drawn = fit.fitted(), fit.fitted(draws=True)
    assert drawn.dims[:3] == ("chain", "draw", "obs") and drawn.shape[:3] == (2, 60, ROWS)
    np.testing.assert_allclose(drawn.mean(("chain", "draw")), fitted, **EXACT)
    own = fit.predict()["mean"].to_numpy().reshape(fitted.shape)
    np.testing.assert_allclose(own, fitted, **EXACT)
    if case.structure != "offset as array":
        rows = fit.predict(data_of(case.structure, case.family))["mean"].to_numpy().reshape(fitted.shape)
        # weights are of the rows of the fit: in a lognormal model they are part of the mean
        if not (case.structure == "weights" and case.family == "lognormal"):
            np.testing.assert_allclose(rows, fitted, **EXACT)
    augmented = fit.augment()
    if case.family == "ordinal":
        np.testing.assert_allclose(augmented.filter(like="_p[").to_numpy(), fitted, **EXACT)
        np.testing.assert_allclose(fitted.sum(axis=1), 1.0)
        return
    np.testing.assert_allclose(augmented["_fitted"], fitted, **EXACT)
    np.testing.assert_allclose(augmented["_resid"], fit.residuals(), **EXACT)
    for kind in ("raw", "pearson", "scaled"):
        means = fit.residuals(kind, draws=True).mean(("chain", "draw"))
        np.testing.assert_allclose(fit.residuals(kind), means, **EXACT)


@pytest.mark.parametrize("case", POINTS, ids=lambda case: case.id)
def test_rows_of_a_point_fit_agree(case):
    fit = fit_of(case)
    np.testing.assert_allclose(fit.predict(), fit.fitted(), **EXACT)
    if case.structure != "offset as array":
        np.testing.assert_allclose(fit.predict(data_of(case.structure, "gaussian")), fit.fitted(), **EXACT)
    np.testing.assert_allclose(fit.predict(draws=2, random_seed=1)[1], fit.fitted(), **EXACT)
    np.testing.assert_allclose(fit.augment()["_resid"], fit.residuals(), **EXACT)
    sigma = 1.0 if fit.design.se is not None else fit.sigma
    np.testing.assert_allclose(fit.residuals("scaled") * sigma, fit.residuals("pearson"), **EXACT)
    if case.structure == "weights":
        assert not np.allclose(fit.residuals("pearson"), fit.residuals())


@pytest.mark.parametrize("case", [c for c in [*POINTS, *POSTERIORS] if c.has_groups], ids=lambda case: case.id)
def test_wide_and_long_tables_agree(case):
    fit = fit_of(case)
    for verb in (fit.ranef, fit.coef):
        long, wide = verb(), verb(wide=True)
        assert list(wide.index) == list(dict.fromkeys(zip(long["group"], long["level"], strict=True)))
        cells = [wide.at[(row["group"], row["level"]), row["term"]] for _, row in long.iterrows()]
        np.testing.assert_array_equal(cells, long[estimate_of(fit)])
        assert wide.notna().to_numpy().sum() == len(long)  # no cell besides these
    if isinstance(fit, PosteriorFit):
        for verb, prefix in ((fit.ranef, "b_"), (fit.coef, "coef_")):
            drawn, long = verb(draws=True), verb()
            for g in fit.design.groups:
                means = drawn[f"{prefix}{g.name}"].mean(("chain", "draw")).to_numpy().ravel()
                np.testing.assert_allclose(means, long.loc[long["group"] == g.name, "mean"], **EXACT)


@pytest.mark.parametrize("case", with_residual([*POINTS, *POSTERIORS]), ids=lambda case: case.id)
def test_shares_iccs_and_r2_agree(case):
    fit = fit_of(case)
    column, values = estimate_of(fit), fit.values
    icc, r2, components = fit.icc()[column], fit.r2()[column], fit.variance_components()
    shares = components[components["quantity"] == "share"].set_index("group")[column]
    assert shares.sum() == pytest.approx(1.0, abs=1e-12) and shares.between(0.0, 1.0).all()
    assert icc["adjusted"] == pytest.approx(1.0 - shares["Residual"], abs=1e-12)
    for name in fit.ngroups:
        assert icc[name] == pytest.approx(shares[name], abs=1e-12)
    if "nested" in case.structure:
        assert icc["a:b in a"] == pytest.approx(icc["a"] + icc["a:b"], abs=1e-12)
    pd.testing.assert_series_equal(fit.icc(by_group=False)[column], icc[["adjusted", "unadjusted"]])
    assert r2["marginal"] <= r2["conditional"] + 1e-12 and icc["unadjusted"] <= icc["adjusted"] + 1e-12
    # the table is the function of the parameters put to the estimates, or its mean over the draws
    for table, quantity in (
        (icc, quantities.icc(fit.design, None, True)),
        (r2, quantities.r2(fit.design)),
        (components[column], quantities.components(fit.design, values)),
    ):
        numbers = quantity.of(values)
        if column == "mean":
            numbers = numbers.mean(axis=(0, 1))
        np.testing.assert_allclose(table, numbers, **EXACT)
    if column == "mean":
        np.testing.assert_allclose(icc, fit.icc(draws=True).mean(("chain", "draw")), **EXACT)
        np.testing.assert_allclose(r2, fit.r2(draws=True).mean(("chain", "draw")), **EXACT)
        drawn = fit.variance_components(draws=True).mean(("chain", "draw"))
        np.testing.assert_allclose(components["mean"], drawn, **EXACT)


@pytest.mark.parametrize("case", with_residual([*POINTS, *POSTERIORS]), ids=lambda case: case.id)
def test_within_correlations_are_the_icc_where_rows_are_equal(case):
    if "residual" in RESIDUALS.get(case.structure, ("", {}))[1]:
        return  # refused, as the table of verbs holds
    fit, at = fit_of(case), at_of(case)
    group, column = fit.design.groups[-1].name, estimate_of(fit)
    long = fit.within_correlation(at, group=group)
    wide = fit.within_correlation(at, group=group, wide=True).to_numpy()
    np.testing.assert_array_equal(long[column], wide.ravel())
    np.testing.assert_allclose(wide, wide.T, **EXACT)
    icc = fit.icc(at=at, by_group=False)[column]
    if case.structure in ONE_FACTOR:
        np.testing.assert_allclose(np.diag(wide), icc, **EXACT)
    else:  # they share part of what varies
        assert (np.diag(wide) <= icc + 1e-12).all()
    if column == "mean":
        drawn = fit.within_correlation(at, group=group, draws=True).mean(("chain", "draw"))
        np.testing.assert_allclose(long["mean"], drawn, **EXACT)


def test_bootstrap_tables_say_what_the_plain_ones_do():
    fit = fit_of(Case("nested", "reml"))
    for verb in (fit.icc, fit.r2, fit.variance_components):
        plain, boot = verb(), verb(bootstrap=4, **BOOT)
        pd.testing.assert_frame_equal(boot[plain.columns], plain)
        assert (boot["conf_low"] <= boot["conf_high"]).all()
    replicates = fit.bootstrap(4, **BOOT)
    pd.testing.assert_frame_equal(replicates, fit.bootstrap(4, **BOOT))
    assert len(replicates) == 4
