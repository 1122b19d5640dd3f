"""Words of other programs, and what they are called here: one table a place where they are typed.

Formulas have a table of their own, `bayeslmm.formulas.remedies`.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..errors import InputError, UnknownArgumentError
from .words import is_one_of

ZERO_OR_ONE = "'bernoulli', or 'binomial' with p(successes, trials) on the left"
SHARES = "'zero_one_inflated_beta', of whose ends one may occur in no row"

FAMILY_WORDS: Mapping[str, str] = {  # of family=, by the letters of the word
    **dict.fromkeys(("normal", "norm", "gauss", "n", "lm", "linear", "gaussianidentity"), "'gaussian'"),
    **dict.fromkeys(("t", "student", "studentst", "tdist", "robust", "tfamily"), "'student_t'"),
    **dict.fromkeys(("lnorm", "lognorm", "shiftedlognormal"), "'lognormal'"),
    **dict.fromkeys(("binary", "logistic", "logit", "bern", "bernoullilogit", "quasibinomial"), ZERO_OR_ONE),
    "probit": "'bernoulli' with link='probit'",
    "cloglog": "'bernoulli' with link='cloglog'",
    "binom": "'binomial' with p(successes, trials) on the left",
    "betabinom": "'beta_binomial' with p(successes, trials) on the left",
    **dict.fromkeys(
        ("pois", "count", "counts", "quasipoisson"), "'poisson', or 'negbinomial' for counts that vary more"
    ),
    **dict.fromkeys(
        ("nb", "negbin", "negativebinomial", "nbinom", "nbinom2", "nbinomial", "negbinomial2"), "'negbinomial'"
    ),
    **dict.fromkeys(("invgauss", "invgaussian", "wald", "ig"), "'inverse_gaussian'"),
    **dict.fromkeys(("betareg", "proportion", "betafamily"), "'beta'"),
    **dict.fromkeys(
        (
            "cumulative",
            "clm",
            "clmm",
            "polr",
            "orderedlogit",
            "orderedprobit",
            "orderedlogistic",
            "ordered",
            "propodds",
        ),
        "'ordinal'",
    ),
    **dict.fromkeys(("sratio", "cratio", "acat"), "'ordinal', which is the cumulative model, no other"),
    **dict.fromkeys(
        ("multinomial", "multinom", "softmax"),
        "'categorical', a category a row, for those without an order, and 'ordinal' for ordered ones",
    ),
    **dict.fromkeys(("zeroinflatedbeta", "oneinflatedbeta", "zoib"), SHARES),
    "zip": "'zero_inflated_poisson'",
    **dict.fromkeys(("zinb", "zinb2", "zeroinflatednegativebinomial"), "'zero_inflated_negbinomial'"),
    **dict.fromkeys(("hurdle", "hp"), "'hurdle_poisson'"),
    **dict.fromkeys(("hnb", "hurdlenegativebinomial"), "'hurdle_negbinomial'"),
    **dict.fromkeys(("truncatednbinom2", "ztnb", "zerotruncatednegbinomial"), "'truncated_negbinomial'"),
    **dict.fromkeys(("ztp", "zerotruncatedpoisson"), "'truncated_poisson'"),
    **dict.fromkeys(
        ("exponential", "tweedie", "tw", "frechet", "loglogistic", "gompertz", "pareto", "genextremevalue", "gev"),
        "'gamma', 'weibull' or 'lognormal' for positive numbers",
    ),
    **dict.fromkeys(("cauchy", "laplace", "asymlaplace", "asymmetriclaplace", "scat"), "'student_t', for long tails"),
    **dict.fromkeys(
        ("skewnormal", "gengamma", "shash"), "'exgaussian' for skewed numbers, or 'lognormal' for positive ones"
    ),
    **dict.fromkeys(("exgauss", "exgaussianfamily"), "'exgaussian'"),
    **dict.fromkeys(
        ("cox", "coxph", "weibullsurvival", "survreg", "tobit", "cnorm", "survival", "surv"),
        "'weibull', 'lognormal' or 'gaussian' with cens(y, status) on the left",
    ),
    **dict.fromkeys(
        (
            "nbinom12",
            "compois",
            "genpois",
            "compoisson",
            "conwaymaxwell",
            "geometric",
            "discreteweibull",
            "gpoisson",
            "poissonlognormal",
        ),
        "'negbinomial' or 'nbinom1' for counts that vary more",
    ),
    **dict.fromkeys(("ordbeta", "orderedbeta", "xbx"), SHARES),
    **dict.fromkeys(("ocat", "thurstone"), "'ordinal'"),
    **dict.fromkeys(("betar",), "'beta'"),
    **dict.fromkeys(("zip0", "ziplss", "hurdlepoissonfamily"), "'zero_inflated_poisson' or 'hurdle_poisson'"),
    **dict.fromkeys(("ztpoisson", "truncatedpois"), "'truncated_poisson'"),
    **dict.fromkeys(("gaulss", "gaussianls"), "'gaussian' with sigma='~ x' for residual sds"),
}

PARTS = "model.pymc_parts() lets PyMC have it (docs/extending.md)"
ABSENT_FAMILIES: Mapping[str, str] = {  # of family=, by the letters of the word: what is not offered, and what to do
    **dict.fromkeys(
        ("vonmises", "wiener", "ddm", "dirichlet", "mvn", "multivariatenormal", "rankordered", "bell", "quasi"),
        f"is not offered; {PARTS}",
    ),
    **dict.fromkeys(("truncatednormal", "truncnormal"), f"truncated responses are not offered; {PARTS}"),
    **dict.fromkeys(
        ("hurdlegamma", "ziga", "hurdlelognormal"),
        "zeros beside positive numbers are not offered as one model: 'bernoulli' of y > 0 and 'gamma' or 'lognormal' "
        "of the rows above zero are its two parts",
    ),
    **dict.fromkeys(
        ("zeroinflatedbinomial", "zeroinflatedbetabinomial", "zib", "zibb"),
        f"extra zeros of binomial responses are not offered; 'beta_binomial' varies more, and {PARTS}",
    ),
}

LINK_WORDS: Mapping[str, str] = {  # of link=, by the letters of the word
    **dict.fromkeys(("logistic", "expit", "sigmoid", "invlogit", "logodds"), "logit"),
    **dict.fromkeys(("loglog", "cll", "comploglog", "complementaryloglog"), "cloglog"),
    **dict.fromkeys(("linear", "none", "id", "lin"), "identity"),
    **dict.fromkeys(("ln", "loge", "exp", "log10", "logarithm"), "log"),
    **dict.fromkeys(("reciprocal", "inv", "1/mu", "power"), "inverse"),
    **dict.fromkeys(("norm", "normit", "phi"), "probit"),
    **dict.fromkeys(("squareroot",), "sqrt"),
    **dict.fromkeys(("cauchy",), "cauchit"),
}

SETTING_WORDS: Mapping[str, str] = {  # of Model.fit
    **dict.fromkeys(("seed", "random_state", "rng", "set_seed", "rng_seed", "key", "randomseed"), "random_seed="),
    **dict.fromkeys(
        ("samples", "n_draws", "n_samples", "num_samples", "num_draws", "ndraws", "iter_sampling", "sample"),
        "draws=, those kept of each chain",
    ),
    **dict.fromkeys(("iter", "n_iter", "iterations", "niter"), "draws= (kept of each chain) and tune= (before them)"),
    **dict.fromkeys(
        ("warmup", "n_warmup", "num_warmup", "iter_warmup", "burn", "burnin", "burn_in", "nburn", "n_tune", "adapt"),
        "tune=, which draws= does not contain",
    ),
    **dict.fromkeys(("n_chains", "num_chains", "nchains", "chain"), "chains="),
    **dict.fromkeys(
        ("n_jobs", "n_cores", "num_cores", "mc_cores", "parallel_chains", "ncores", "jobs", "threads"), "cores="
    ),
    **dict.fromkeys(("adapt_delta", "delta"), "target_accept="),
    "control": "target_accept= and max_treedepth=, each by its name",
    **dict.fromkeys(("max_depth", "treedepth"), "max_treedepth="),
    **dict.fromkeys(("sampler", "backend", "inference_method"), "method='exact' or 'nuts', and nuts_sampler="),
    **dict.fromkeys(("algorithm", "engine"), "method='exact' or 'nuts'"),
    **dict.fromkeys(
        ("progress", "progress_bar", "verbose", "refresh", "silent", "quiet", "show_progress"), "progressbar="
    ),
    **dict.fromkeys(("centered", "noncentered", "non_centered", "centering", "center"), "centring=, a dict"),
    **dict.fromkeys(
        ("thin", "thinning"), "nothing: every draw is kept; take post.idata.isel(draw=slice(None, None, 10))"
    ),
    **dict.fromkeys(("reml", "REML"), "fit_reml(), or fit_ml(), in the place of fit()"),
    **dict.fromkeys(("summarize", "summarise"), "nothing: summary() of the fit prints"),
    **dict.fromkeys(("prior", "priors"), "of the model: Model(formula, data, priors={...})"),
    **dict.fromkeys(("family", "link", "weights", "offset"), "of the model: Model(formula, data, family=..., ...)"),
    **dict.fromkeys(("formula", "data"), "of the model: Model(formula, data)"),
}

METHOD_WORDS: Mapping[str, str] = {  # of fit(method=), in small letters
    "reml": "fit_reml()",
    **dict.fromkeys(("ml", "mle", "lme4", "lmer"), "fit_ml(), or fit_reml()"),
    **dict.fromkeys(("mcmc", "hmc", "sample", "sampling", "nutpie", "pymc", "stan"), "fit(method='nuts')"),
    **dict.fromkeys(
        ("vi", "advi", "laplace", "pathfinder", "map"), "fit(), which is exact or NUTS and approximates nothing"
    ),
    **dict.fromkeys(("lbfgs", "bfgs", "powell", "cg", "bobyqa", "newton"), "fit_reml(), which chooses its optimiser"),
}

ATTRIBUTE_WORDS: Mapping[str, str] = {  # of a fit: what R's and other packages call it
    "VarCorr": "var_corr()",
    "logLik": "loglik",
    **dict.fromkeys(("reml_criterion", "REMLcrit", "remlcrit"), "criterion"),
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
    # statsmodels
    "params": "fixef(), with variance_components()",
    "fe_params": "fixef()",
    **dict.fromkeys(("bse", "bse_fe", "tvalues", "pvalues"), "tidy(), one row a parameter"),
    "conf_int": "confint()",
    "cov_params": "vcov()",
    "random_effects": "ranef()",
    "random_effects_cov": "ranef(), whose table has standard errors",
    "cov_re": "var_corr()",
    "vcomp": "variance_components()",
    "fittedvalues": "fitted()",
    "resid": "residuals()",
    "scale": "variance_components(), which has the residual variance",
    "llf": "loglik",
    "converged": "verdict",
    "model": "design; the model is the one whose fit it is",
    "get_prediction": "predict(interval='confidence')",
    "t_test": "comparisons(variable)",
    "cov_re_unscaled": "var_corr()",
    # scikit-learn
    "coef_": "fixef()",
    "intercept_": "fixef()",
    "ranef_": "ranef()",
    "score": "r2()",
    "predict_proba": "predict(), whose mean is the probability of 1",
    "get_params": "design",
    # pymer4, lme4, nlme, brms, bambi, marginaleffects
    "coefs": "tidy()",
    "fixed_effects": "fixef()",
    "fits": "fitted()",
    "ranef_var": "var_corr()",
    "intervals": "confint()",
    "fixefs": "fixef()",
    "ranefs": "ranef()",
    **dict.fromkeys(("posterior", "trace", "inference_data", "to_inferencedata", "as_draws"), "idata"),
    **dict.fromkeys(
        ("as_draws_df", "to_dataframe", "to_pandas"), "draws(name); all draws: idata.posterior.to_dataframe()"
    ),
    **dict.fromkeys(("hdi", "eti", "credible_interval"), "tidy(), whose intervals are ci_prob=0.95"),
    **dict.fromkeys(("posterior_samples", "get_draws", "samples", "extract"), "draws(name), or idata"),
    **dict.fromkeys(("predictions", "avg_predictions", "fitted_values"), "predict(newdata)"),
    **dict.fromkeys(("marginal_effects", "avg_slopes"), "slopes(variable)"),
    "avg_comparisons": "comparisons(variable)",
    "emtrends": "trends(variable, factor)",
    **dict.fromkeys(("emmeans", "lsmeans", "marginal_means"), "means(factor)"),
    **dict.fromkeys(("post_hoc", "contrasts", "pairs"), "means(factor).pairs()"),
    **dict.fromkeys(("linearHypothesis", "linear_hypothesis", "wald_test", "t_test", "f_test"), "test('a = b = 0')"),
    **dict.fromkeys(("loo_R2", "bayes_R2"), "r2()"),
    **dict.fromkeys(("theta", "Lambda"), "solution.theta, relative sds as lme4 has them; var_corr() has covariances"),
    **dict.fromkeys(("X", "exog"), "design.X"),
    "Z": "design.groups, of which each has Z and the codes of its levels",
    **dict.fromkeys(("beta", "fixed", "coefficients"), "fixef()"),
    **dict.fromkeys(("b", "u", "re", "random", "random_effect", "get_ranef", "ranef_df"), "ranef()"),
    "devfun": "criterion, at the optimum; profile() has it elsewhere",
    "isREML": "solution.reml",
    **dict.fromkeys(("optinfo", "convergence", "message", "warnings", "status"), "verdict"),
    **dict.fromkeys(("call", "terms"), "design.formula.text"),
    **dict.fromkeys(("data", "frame", "model_frame", "mod_data"), "augment(), whose rows are those of the fit"),
    "family": "design.family",
    "link": "design.family.link",
    **dict.fromkeys(("groups", "group_names", "n_groups", "levels", "ngrps_"), "ngroups, the levels of each factor"),
    **dict.fromkeys(("n", "n_obs", "nrow", "N"), "nobs"),
    **dict.fromkeys(("se", "std_errors", "stderr", "std_error", "SE"), "tidy(), one row a parameter"),
    **dict.fromkeys(("ci", "confidence_intervals", "conf", "confidence_interval"), "confint()"),
    **dict.fromkeys(
        ("to_latex", "to_html", "to_markdown", "print", "show", "head", "describe", "summary2", "as_text"),
        "summary(), whose tables have to_markdown() and to_latex()",
    ),
    **dict.fromkeys(
        ("diagnostics", "plot_diagnostics", "check_convergence", "overdispersion", "dispersion"),
        "bayeslmm.check(fit), and a posterior's diagnosis",
    ),
    **dict.fromkeys(
        ("qqplot", "residual_plot", "plot_residuals", "plot_resid", "qqnorm"), "bayeslmm.plot_residuals(fit)"
    ),
    **dict.fromkeys(
        ("r_hat", "rhat", "ess", "n_eff", "mcse"), "summary() of a posterior, whose table has r_hat and ess"
    ),
    **dict.fromkeys(("posterior_predictive", "ppd"), "predict(kind='response', draws=True)"),
    **dict.fromkeys(("plot_posterior", "plot_prior_posterior"), "bayeslmm.plot_prior_posterior(fit)"),
    **dict.fromkeys(("loo_pit", "plot_loo_pit"), "bayeslmm.plot_ppc(fit)"),
    "bootMer": "bootstrap()",
    **dict.fromkeys(("step", "stepwise"), "bayeslmm.drop1(fit), which leaves terms out one by one"),
    **dict.fromkeys(("lrtest", "lr_test", "compare_lr_test"), "bayeslmm.anova(smaller, larger)"),
    **dict.fromkeys(("compare", "loo_compare"), "bayeslmm.compare(a, b), of posteriors"),
    **dict.fromkeys(
        ("kfold", "cv", "cross_val_score", "cross_validate"),
        "bayeslmm.kfold(fit), of a posterior; loo() needs no refits",
    ),
    **dict.fromkeys(
        ("bayes_factor", "bridge_sampler", "marginal_likelihood"),
        "bayeslmm.compare(a, b) by loo(): Bayes factors are not offered, for they hang on the width of priors",
    ),
    "equivalence": "means(factor).pairs().equivalence(margin)",
    **dict.fromkeys(("contrast", "t_test_pairwise"), "means(factor).pairs()"),
    **dict.fromkeys(("r2_nakagawa", "r2c", "r2m"), "r2()"),
    **dict.fromkeys(("transform", "fit_transform", "inverse_transform", "fit_predict"), "predict(newdata)"),
    **dict.fromkeys(("feature_names_in_", "n_features_in_"), "design.x_names"),
    "chains": "idata.posterior, which has the dimensions chain and draw",
    **dict.fromkeys(
        ("effects", "allEffects", "marginaleffects", "ggpredict"), "predict(grid), comparisons() and slopes()"
    ),
    **dict.fromkeys(("plot_effects", "effect_plot", "plot_cap"), "bayeslmm.plot_predictions(fit, x)"),
    **dict.fromkeys(
        ("stancode", "make_stancode", "standata", "code"),
        "design, of the model as numbers; model.pymc and model.equations() write it out",
    ),
    **dict.fromkeys(("clone", "copy", "deepcopy"), "update(...), a new fit; none is ever changed"),
    **dict.fromkeys(("get_distribution",), "design.family, or predict(kind='response', draws=True)"),
    "remove_data": "bayeslmm.save(fit, path), which needs the data; nothing is thrown away",
    "load": "bayeslmm.load(path)",
    "rePCA": "var_corr(); is_singular and verdict say where a variance or a correlation is at its end",
    "performance": "glance()",
    "plot": "bayeslmm.plot_coef(fit), and the other plot_ functions",
    **{name: f"bayeslmm.{name}(fit)" for name in ("plot_trace", "plot_rank", "plot_ranef", "plot_lines", "plot_ppc")},
    **dict.fromkeys(
        ("conditional_effects", "plot_slopes", "plot_comparisons", "plot_predictions", "plot_model"),
        "bayeslmm.plot_predictions(fit, x)",
    ),
    **dict.fromkeys(("r2_score", "rsquared", "r_squared", "rsquared_adj"), "r2()"),
    **dict.fromkeys(("nparams", "df_model", "n_params"), "glance(), whose aic and df_resid count them"),
    **dict.fromkeys(("fit", "set_params"), "update(formula), or the model's own fit() and fit_reml()"),
    "hypotheses": "test('a = b'), and hypothesis('a > b') of a posterior",
    **dict.fromkeys(("anova", "ranova", "drop1"), "bayeslmm.anova(fit), with ranova and drop1"),
    "report": "bayeslmm.report(fit)",
    **dict.fromkeys(("save", "to_netcdf", "to_pickle"), "bayeslmm.save(fit, path)"),
    **dict.fromkeys(("check", "check_model", "diagnose"), "bayeslmm.check(fit)"),
    "ppc": "bayeslmm.ppc(fit)",
    # metafor, baggr
    **dict.fromkeys(
        ("tau2", "tau", "I2", "H2", "QE", "QM", "Q", "i2", "pooling", "treatment_effect"),
        "heterogeneity(), for models with se=",
    ),
    **dict.fromkeys(("forest", "forest_plot", "baggr_plot"), "bayeslmm.plot_forest(fit)"),
    **dict.fromkeys(("funnel", "funnel_plot"), "bayeslmm.plot_funnel(fit)"),
    **dict.fromkeys(("blup", "group_effects"), "coef(), or ranef()"),
    **dict.fromkeys(("add_criterion", "add_loo", "add_waic"), "loo(), which is kept with the fit"),
    **dict.fromkeys(("mcmc_plot", "stanplot", "plot_trace", "traceplot"), "bayeslmm.plot_trace(fit)"),
    **dict.fromkeys(("gam_check", "appraise"), "bayeslmm.check(fit)"),
    **dict.fromkeys(("plot_summary", "plot_coefs", "plot_model", "coefplot"), "bayeslmm.plot_estimates(fit)"),
    **dict.fromkeys(("fixef_", "params_"), "fixef()"),
}

MODEL_WORDS: Mapping[str, str] = {  # of a model that is not fitted: what it has itself
    **dict.fromkeys(("sample", "fit_mcmc", "fit_bayes", "run", "mcmc"), "fit()"),
    **dict.fromkeys(("reml", "REML", "optimize", "optimise"), "fit_reml()"),
    **dict.fromkeys(("ml", "ML", "mle", "fit_mle"), "fit_ml()"),
    **dict.fromkeys(("build", "backend", "to_pymc", "pymc_model"), "pymc"),
    **dict.fromkeys(("fit_map", "find_map", "map", "optim", "solve"), "fit_reml()"),
    "plot_priors": "prior_audit(), or explore_priors() with a slider",
    **dict.fromkeys(("sample_prior_predictive", "prior_predict"), "prior_predictive()"),
    **dict.fromkeys(("set_priors", "set_family"), "update(priors={...}), or another Model(..., family=...)"),
    "formula": "design.formula.text",
    "family": "design.family",
    **dict.fromkeys(("exog", "X"), "design.X"),
    **dict.fromkeys(("endog", "y"), "design.y"),
}

FUNCTION_WORDS: Mapping[str, str] = {  # of the package
    **dict.fromkeys(("lme", "mixedlm", "MixedLM", "lm", "ols", "Lmer"), "lmer(formula, data)"),
    **dict.fromkeys(
        ("LinearMixedModel", "LinearMixedEffects", "MixedEffectsModel", "LMM", "MERF", "LinearRegression"),
        "lmer(formula, data)",
    ),
    **dict.fromkeys(
        ("glm", "glmmTMB", "GLMM", "Glmer", "brm", "stan_glmer", "stan_lmer"), "Model(formula, data, family=...).fit()"
    ),
    **dict.fromkeys(
        ("set_prior", "prior", "priors", "get_prior", "default_prior"),
        "Model(formula, data, priors={'sd': Prior(...)})",
    ),
    **dict.fromkeys(("normal", "Normal"), "Prior('Normal', mu=0, sigma=1)"),
    "lkj": "LKJ(2)",
    **dict.fromkeys(
        ("rma", "rma_mv", "metagen", "baggr"), "Model('y ~ 1 + (1 | study)', data, se='sei'), fit_reml() or fit()"
    ),
    **dict.fromkeys(("forest", "forest_plot", "baggr_plot"), "plot_forest(fit)"),
    **dict.fromkeys(("funnel", "funnel_plot"), "plot_funnel(fit)"),
    **dict.fromkeys(("loo_compare", "compare_models"), "compare(a, b)"),
    "VarCorr": "fit.var_corr()",
    **dict.fromkeys(("lmm", "mixed", "lmerTest", "pymer4", "smf", "MixedModel"), "lmer(formula, data)"),
    **dict.fromkeys(("gam", "gamm", "gamm4", "bam"), "lmer('y ~ s(x) + (1 | g)', data)"),
    **dict.fromkeys(("gls", "mmrm"), "Model('y ~ x', data, residual='us(visit | subject)').fit_reml()"),
    **dict.fromkeys(("clmm", "clm", "polr"), "Model(formula, data, family='ordinal').fit_ml()"),
    **dict.fromkeys(("bf", "brmsformula", "Formula", "formula"), "Model('y ~ x + (1 | g)', data), a text"),
    **dict.fromkeys(("bmb", "pm", "Bambi"), "Model(formula, data)"),
    **dict.fromkeys(("az", "arviz"), "fit.idata, which ArviZ reads"),
    **dict.fromkeys(("HalfNormal", "StudentT", "HalfCauchy", "Exponential"), "Prior('HalfNormal', sigma=1)"),
    **dict.fromkeys(("Family", "family"), "Model(formula, data, family='poisson')"),
    **dict.fromkeys(("conditional_effects", "plot_slopes", "plot_comparisons", "plot_model"), "plot_predictions(fit)"),
    **dict.fromkeys(("interpret", "marginaleffects"), "predictions(fit), with comparisons and slopes"),
    **dict.fromkeys(("hypotheses", "linearHypothesis", "test", "wald_test"), "fit.test('a = b = 0')"),
    **dict.fromkeys(("datagrid", "expand_grid", "ref_grid"), "grid(fit, x)"),
    **dict.fromkeys(("check_model", "simulateResiduals", "diagnose"), "check(fit)"),
    **dict.fromkeys(("model_performance", "performance"), "fit.glance()"),
    **dict.fromkeys(("lrtest", "lr_test"), "anova(smaller, larger)"),
    **dict.fromkeys(("powerSim", "powerCurve", "simr", "power"), "plan(assume(fit), vary={'g': [20, 40]})"),
    **dict.fromkeys(("mice", "pool", "MI"), "fit_imputed(formula, tables)"),
    **dict.fromkeys(("mixed_anova", "aov", "aov_ez", "aov_car"), "anova(lmer(formula, data))"),
    **dict.fromkeys(("bootMer", "bootstrap"), "fit.bootstrap()"),
    **dict.fromkeys(("predictInterval", "predict_interval"), "fit.predict(kind='response', interval='simulated')"),
    **dict.fromkeys(("tab_model", "modelsummary", "stargazer", "texreg", "etable"), "model_table(fit)"),
    **dict.fromkeys(("lme4", "nlme", "lmer4"), "lmer(formula, data)"),
    **dict.fromkeys(
        ("glmmPQL", "MCMCglmm", "inla", "INLA", "stan_glm", "stan_gamm4", "rstanarm", "brms", "bambi", "GLMMadaptive")
        + (
            "mixed_model",
            "BinomialBayesMixedGLM",
            "PoissonBayesMixedGLM",
            "GEE",
            "gee",
            "geeglm",
            "pymc",
            "statsmodels",
        ),
        "Model(formula, data, family=...).fit(), or fit_ml()",
    ),
    "GLS": "Model('y ~ x', data, residual='us(visit | subject)').fit_reml()",
    "glmer_nb": "glmer(formula, data, family='negbinomial')",
    "nlmer": "Model(formula, data): non-linear formulas are not offered; model.pymc_parts() lets PyMC have them",
    "lmList": "no_pooling(formula, data), a regression a level",
    **dict.fromkeys(
        ("fit", "fit_model", "train", "sklearn", "LinearRegression", "Ridge"), "Model(formula, data).fit()"
    ),
    **dict.fromkeys(
        ("lmerControl", "glmerControl", "lmeControl", "glmmTMBControl", "allFit", "control"),
        "fit.verdict, which says how the search ended; it takes no settings",
    ),
    **dict.fromkeys(("getME", "mkMerMod", "getVarCov"), "fit.var_corr(), with fit.design and fit.solution"),
    "ngrps": "fit.ngroups",
    **dict.fromkeys(("logLik", "loglik"), "fit.loglik"),
    **dict.fromkeys(("AIC", "aic", "extractAIC"), "fit.aic"),
    **dict.fromkeys(("BIC", "bic"), "fit.bic"),
    **dict.fromkeys(("sigma", "deviance", "nobs"), "fit.sigma, fit.deviance and fit.nobs, each of a fit"),
    **dict.fromkeys(("model_frame", "model_matrix", "dmatrices"), "Model(formula, data).design"),
    "weights": "Model(formula, data, weights='w')",
    **dict.fromkeys(("fortify", "add_epred_draws", "add_fitted_draws"), "fit.augment(), or fit.predict(draws=True)"),
    **dict.fromkeys(("rePCA", "check_singularity", "is_singular"), "fit.is_singular, with fit.var_corr()"),
    **dict.fromkeys(("intervals", "conf_int"), "fit.confint()"),
    **dict.fromkeys(
        ("corAR1", "corCAR1", "corSymm", "corCompSymm", "ACF", "autocor"), "Model(formula, data, residual='ar1(t | g)')"
    ),
    "Variogram": "Model(formula, data, residual='car1(t | g)'): correlations in space are not offered",
    **dict.fromkeys(("varIdent", "varExp", "varPower", "varFixed"), "Model(formula, data, sigma='~ f')"),
    **dict.fromkeys(("pdDiag", "pdSymm", "pdCompSymm", "pdIdent"), "lmer('y ~ x + diag(x | g)', data)"),
    "groupedData": "lmer(formula, data), which takes any table",
    **dict.fromkeys(("augPred", "plot_subjects"), "plot_lines(fit)"),
    **dict.fromkeys(
        ("dotplot", "caterpillar", "ranef_plot", "qqmath"), "plot_ranef(fit), or plot_ranef_normality(fit)"
    ),
    **dict.fromkeys(
        ("bayesplot", "mcmc_plot", "plot_posterior", "mcmc_trace"), "plot_trace(fit), or plot_prior_posterior(fit)"
    ),
    **dict.fromkeys(("mcmc_areas", "mcmc_intervals"), "plot_estimates(fit)"),
    **dict.fromkeys(("pp_average", "model_weights", "loo_model_weights", "loo_moment_compare"), "compare(a, b)"),
    **dict.fromkeys(("add_criterion", "waic", "reloo", "loo_subsample"), "fit.loo(), of a posterior"),
    **dict.fromkeys(
        ("bayes_factor", "bridge_sampler", "BayesFactor", "bayesfactor_models"),
        "compare(a, b): Bayes factors are not offered, for they hang on the width of priors",
    ),
    **dict.fromkeys(("bayes_R2", "r2_nakagawa", "r2_bayes", "rsquared", "r_squared"), "fit.r2()"),
    **dict.fromkeys(("posterior_epred", "fitted_draws"), "fit.predict(draws=True)"),
    "posterior_linpred": "fit.predict(kind='link', draws=True)",
    **dict.fromkeys(
        ("posterior_samples", "as_draws", "as_draws_df", "tidy_draws", "spread_draws", "gather_draws", "draws"),
        "fit.draws(name), or fit.idata",
    ),
    "prior_summary": "Model(formula, data).priors",
    **dict.fromkeys(("make_stancode", "stancode", "standata", "make_standata"), "Model(formula, data).pymc"),
    "log_lik": "fit.idata, whose log_likelihood pymc.compute_log_likelihood(fit.idata, model=model.pymc) adds",
    "hypothesis_test": "fit.test('x = 0')",
    "kfold_compare": "compare(kfold(a), kfold(b))",
    **dict.fromkeys(("rhat", "ess", "neff_ratio", "launch_shinystan", "check_hmc_diagnostics"), "check(fit)"),
    **dict.fromkeys(("train_test_split", "cross_val_score", "GridSearchCV", "GroupKFold"), "kfold(fit, unit='g')"),
    **dict.fromkeys(("rma_uni", "rma_glmm", "meta", "metareg"), "Model('y ~ x + (1 | study)', data, se='sei')"),
    "escalc": "Model(formula, data, se='sei'): effect sizes and their standard errors are made in the table",
    **dict.fromkeys(("regtest", "trimfill"), "plot_funnel(fit): tests of funnels are not offered (metafor has them)"),
    "leave1out": "check(fit), whose influence of levels leaves each out",
    **dict.fromkeys(("gam_check", "k_check"), "check(fit)"),
    **dict.fromkeys(("vis_gam", "predict_gam", "smoothCon"), "plot_smooth(fit)"),
    **dict.fromkeys(("emm_options", "regrid", "contrast_matrix"), "fit.means(factor), with pairs() and response()"),
    **dict.fromkeys(
        ("emmip", "plot_cap", "plot_effects", "ggpredict", "Effect", "allEffects"), "plot_predictions(fit, x)"
    ),
    "ggeffects": "plot_predictions(fit, x)",
    **dict.fromkeys(("cld", "pwpp", "pwpm", "eff_size", "estimate_contrasts"), "fit.means(factor).pairs()"),
    "estimate_means": "fit.means(factor)",
    **dict.fromkeys(("sjPlot", "sjplot", "model_parameters", "broom"), "model_table(fit), or fit.tidy()"),
    **dict.fromkeys(
        ("check_collinearity", "check_overdispersion", "check_heteroscedasticity", "DHARMa", "testDispersion")
        + ("testZeroInflation", "testUniformity", "check_normality", "vif"),
        "check(fit)",
    ),
    **dict.fromkeys(("load_model", "read", "readRDS"), "load(path)"),
    **dict.fromkeys(("save_model", "saveRDS", "write"), "save(fit, path)"),
    **dict.fromkeys(
        ("set_random_seed", "set_seed", "seed"),
        "fit.simulate(random_seed=1), as every verb that draws takes it; Model(...).fit(random_seed=1)",
    ),
    **dict.fromkeys(("sleepstudy", "load_sleepstudy", "cbpp", "penicillin"), "load_dataset('sleepstudy')"),
    **dict.fromkeys(
        ("center", "scale", "standardize", "demean"), "lmer('y ~ scale(x) + (1 | g)', data), or center_within"
    ),
    "avg_comparisons": "fit.comparisons(variable)",
    "avg_slopes": "slopes(fit, variable)",
    "emtrends": "fit.trends(variable, factor)",
    **dict.fromkeys(("emmeans", "lsmeans", "means", "marginal_means", "emm"), "fit.means(factor)"),
    "trends": "fit.trends(variable, factor)",
    **dict.fromkeys(("hypothesis", "glht"), "fit.hypothesis('x > 0') of a posterior, fit.test('x = 0') of a point fit"),
    **dict.fromkeys(("equivalence", "TOST", "tost", "noninferiority"), "fit.means(factor).pairs().equivalence(margin)"),
    **dict.fromkeys(
        ("extend", "makeLmer", "makeGlmer", "doTest"), "assume(formula, table, beta=..., sd=...), for plan()"
    ),
    **dict.fromkeys(("contrast", "pairs"), "fit.means(factor).pairs()"),
    "joint_tests": "anova(fit)",
    "avg_predictions": "predictions(fit)",
    "pp_check": "ppc(fit)",
    "posterior_predict": "fit.predict(kind='response', draws=True)",
    "isSingular": "fit.is_singular",
    "rand": "ranova(fit)",
    "load_data": "load_dataset(name)",
    "data": "load_dataset(name)",
    **dict.fromkeys(
        (
            "fixef",
            "ranef",
            "coef",
            "summary",
            "confint",
            "tidy",
            "glance",
            "augment",
            "predict",
            "simulate",
            "fitted",
            "residuals",
            "vcov",
            "var_corr",
            "variance_components",
            "r2",
            "loo",
            "refit",
            "profile",
        ),
        "",
    ),
}


_WITHOUT_GROUPS = "groups='average' leaves the random effects out, groups='observed' keeps them"
_NEW_GROUPS = "groups='new', or groups='observed_or_new' where some are known"
_IN_FORMULA = "a bar in the formula: 'y ~ x + (1 | group)'"
_FILTERED = "nothing: rows with missing values are left out, with a warning; filter the table before"

_LEVELS = ("prob", "hdi_prob", "level", "conf_level", "conf.level", "cred_mass")
ARGUMENT_WORDS: Mapping[str, Mapping[str, str]] = {  # by the name of the verb; those of "" are of all verbs
    "": {
        **dict.fromkeys(_LEVELS, "ci_prob=0.95"),
        "alpha": "ci_prob=0.95, the probability inside the interval",
        **dict.fromkeys(("seed", "random_state", "rng"), "random_seed="),
        **dict.fromkeys(("summary", "pointwise_draws"), "draws=True, for the draws in the place of their table"),
        **dict.fromkeys(("data", "new_data", "df_new", "exog", "X"), "newdata="),
        **dict.fromkeys(("variables", "var", "focal"), "the variable itself, as the first argument"),
        **dict.fromkeys(("nsim", "n_sims", "B", "R"), "draws="),
        **dict.fromkeys(("n_jobs", "ncpus", "n_cores"), "cores="),
        **dict.fromkeys(
            ("exponentiate", "exp", "eform"),
            "means(factor).pairs().response(), for ratios; or numpy.exp of the estimates",
        ),
    },
    "predict": {
        **dict.fromkeys(("re_form", "re_formula", "re.form", "include_re", "include_group_specific"), _WITHOUT_GROUPS),
        **dict.fromkeys(("allow_new_levels", "sample_new_groups", "sample_new_levels"), _NEW_GROUPS),
        **dict.fromkeys(("se_fit", "se", "se.fit"), "interval='plug-in', whose table has std_error"),
        "type": "kind='mean' or kind='response'",
        "level": "ci_prob= of an interval; of groups groups='average' (level 0 of nlme) and groups='observed'",
        "by": "the table: blm.grid(fit, by) for chosen values, or fit.means(factor) for averages",
    },
    "fitted": {"level": "predict(), whose groups say it; fitted() is of the observed ones"},
    "residuals": {"type": "kind='raw', 'pearson', 'scaled' or 'deviance'"},
    "summary": {
        **dict.fromkeys(
            ("correlation", "corr", "digits", "signif"), "nothing: vcov() has covariances, tables all digits"
        ),
        **dict.fromkeys(("type", "test"), "ddf="),
    },
    "vcov": dict.fromkeys(("full", "correlation"), "nothing: it is the covariance matrix of the fixed effects"),
    "icc": dict.fromkeys(("adjusted", "by", "method"), "by_group=, and at= where it depends on predictors"),
    "r2": dict.fromkeys(("method", "type", "partial"), "nothing: it is Nakagawa's, marginal and conditional"),
    "profile": dict.fromkeys(("which", "parm", "param"), "nothing: the result has all parameters, to choose from"),
    "augment": dict.fromkeys(("newdata", "data"), "predict(newdata), for other rows than those of the fit"),
    "tidy": dict.fromkeys(("conf_int", "conf_level"), "ci_prob=0.95; intervals are always there"),
    "slopes": dict.fromkeys(("wrt", "conditional", "condition"), "the variable first, by= and at="),
    "comparisons": dict.fromkeys(("hypothesis", "contrast_type"), "contrast='pairwise', or means(factor).pairs()"),
    "update": dict.fromkeys(("REML", "reml"), "the model's fit_reml() or fit_ml()"),
    "anova": {
        "test": "nothing: one fit gets F tests (chi-squared of other families), two get a likelihood ratio test",
        "refit": "nothing: REML fits with one fixed part are compared as they are, others refused; compare ML fits",
    },
    "drop1": {"test": "nothing: it is the likelihood ratio test"},
    "ppc": {
        **dict.fromkeys(("ndraws", "nsamples", "n_draws"), "draws="),
        **dict.fromkeys(("kind", "type"), "the second argument, stat, and plot_ppc(result) for the picture"),
    },
    "kfold": dict.fromkeys(("K", "n_splits", "cv", "n_folds"), "k="),
    "plot_ranef": {"which": "group="},
    "fit_reml": {
        **dict.fromkeys(
            ("method", "optimizer", "maxiter", "control", "start", "start_params"),
            "nothing: the search chooses its way and is checked; fit.verdict says how it ended",
        ),
        **dict.fromkeys(("REML", "reml"), "nothing: fit_reml() is by REML and fit_ml() by maximum likelihood"),
        "nAGQ": "of fit_ml(), for the likelihood; the restricted one has Laplace's approximation, or is exact",
    },
    "fit_ml": {
        **dict.fromkeys(
            ("method", "optimizer", "maxiter", "control", "start", "start_params"),
            "nothing: the search chooses its way and is checked; fit.verdict says how it ended",
        ),
        **dict.fromkeys(("REML", "reml"), "nothing: fit_reml() is by REML and fit_ml() by maximum likelihood"),
    },
    "prior_predictive": dict.fromkeys(("samples", "n_draws", "n_samples"), "draws="),
    "contrasts": dict.fromkeys(_LEVELS, "means(..., ci_prob=0.95), before the contrasts"),
    "pairs": {
        **dict.fromkeys(_LEVELS, "means(..., ci_prob=0.95), before the pairs"),
        **dict.fromkeys(("reverse", "infer", "by"), "nothing: contrasts([...]) takes weights by name"),
        "method": "contrasts(method)",
    },
    "LKJ": dict.fromkeys(("n", "dim", "shape"), "eta alone: the size is that of the bar"),
    "simulate": {"nsim": "n=, the first argument", "re_form": _WITHOUT_GROUPS},
    "ranef": {"condVar": "nothing: the table has a standard error for every effect"},
    "loo": {"pointwise": "nothing: the result has elpd_i, one number a row"},
    "Model": {
        **dict.fromkeys(("groups", "group", "re_formula", "vc_formula", "random", "re"), _IN_FORMULA),
        **dict.fromkeys(("REML", "reml", "method"), "fit_reml() or fit_ml() of the model, and REML= of lmer"),
        "weight": "weights=",
        "prior": "priors={'sd': blm.Prior('HalfNormal', sigma=1)}",
        "auto_scale": "nothing: default priors are scaled to the data, each with its reason in model.priors",
        **dict.fromkeys(("control", "optimizer", "start"), "nothing: the search is checked; fit.verdict says so"),
        **dict.fromkeys(("dropna", "na_action", "na.action", "missing", "subset"), _FILTERED),
        **dict.fromkeys(
            ("seed", "random_seed", "draws", "chains", "tune", "cores", "noncentered"), "of fit(): Model(...).fit(...)"
        ),
        **dict.fromkeys(("contrast", "coding"), "contrasts='sum', or by factor: contrasts={'arm': 'sum'}"),
        **dict.fromkeys(("correlation", "autocor"), "residual='ar1(time | group)', or car1, cs and us in its place"),
        **dict.fromkeys(("verbose", "silent", "quiet", "trace"), "nothing: only fit() prints, with progressbar"),
        **dict.fromkeys(("df", "dataframe", "table"), "data="),
        **dict.fromkeys(
            ("covariance", "cov_struct", "structure", "repeated", "R_struct"), "residual='us(visit | subject)'"
        ),
        **dict.fromkeys(("cov_ranef", "data2"), "matrices={'A': A}, with (1 | gr(level, cov=A)) in the formula"),
        "ziformula": "zi='~ x' with family='zero_inflated_poisson' or 'zero_inflated_negbinomial'",
        "dispformula": "sigma='~ x' of residual sds, shape='~ x' and phi='~ x' of other families",
        **dict.fromkeys(
            ("thresholds", "threshold", "thres", "cutpoints", "nominal"),
            "one set of cutpoints for all rows of an ordinal response: a factor right of '~' or a bar, (1 | g), moves "
            "them together, scale='~ g' spreads them, and models of the rows of each level have cutpoints of their own",
        ),
        "disc": "scale='~ x' of an ordinal response, which is one over brms's disc: coefficients have the other sign",
        "vi": "se=, the square roots of the sampling variances",
        "sei": "se=",
        "knots": "written in the formula: s(x) takes its k there",
    },
    "hypothesis": {
        **dict.fromkeys(("class_", "group", "scope"), "in the text: 'x > 0' of a coefficient, 'sd(x | g) > 1' of an sd")
    },
    "means": {
        **dict.fromkeys(("specs", "var"), "the first argument: means(factor, by=...)"),
        **dict.fromkeys(("kind", "transform", "regrid"), "means(factor).response(), on the scale of the response"),
    },
    "confint": {"parm": "nothing: the table has a row for every parameter"},
    "plot_predictions": {"condition": "x, by= and at="},
}


TRUTH: Mapping[str, Any] = {  # what an argument may be, by its annotation
    "bool": bool | np.bool_,
    "bool | None": bool | np.bool_ | None,
}


def like(name: str, names: Iterable[str]) -> str:
    """Which of some names was probably meant, as a sentence; nothing where none is like it."""
    close = get_close_matches(name, [each for each in names if not each.startswith("_")], n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def with_hints[**P, T](call: Callable[P, T], name: str | None = None) -> Callable[P, T]:
    """Let a function say what an argument of another program is here, and which of its arguments have to be named.

    What is declared to be a bool has to be one: ``"no"`` counts as true, and so would be taken for yes.
    """
    label = name or call.__name__
    signature = inspect.signature(call)
    parameters = list(signature.parameters.values())
    takes = {parameter.name for parameter in parameters}
    words = {**ARGUMENT_WORDS[""], **ARGUMENT_WORDS.get(label, {})}
    words = {word: hint for word, hint in words.items() if word not in takes and _leads_here(hint, takes)}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):  # it looks at them itself
        words = {}
    by_place = [
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    by_name = [f"{parameter.name}=" for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    most = (
        len(by_place)
        if by_name and not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        else sys.maxsize
    )
    places = [p for p in by_place if p != "self"]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = {
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in variable
    }
    switches = {
        parameter.name: TRUTH[parameter.annotation]
        for parameter in parameters
        if is_one_of(parameter.annotation, TRUTH)
    }

    @functools.wraps(call)
    def _hinted(*args: P.args, **options: P.kwargs) -> T:
        for word in options.keys() & words.keys():
            raise InputError(f"{label}({word}=...): here it is {_filled(word, words[word], options[word])}")
        if len(args) > most:
            first = f"only {', '.join(places)} may stand without a name" if places else "arguments have names"
            if not places and hasattr(args[-1], "shape"):  # as estimators of scikit-learn are fitted
                first = f"the data are those of Model(formula, data), and {first}"
            raise InputError(f"{label}(): {first}; write {', '.join(by_name)}")
        by_position = by_place[: len(args)]
        for word, value in (*zip(by_position, args, strict=False), *options.items()):
            if word in switches and not isinstance(value, switches[word]):
                raise InputError(f"{label}({word}={value!r}): {word} is True or False")
        if not (  # as they should be; `bind` takes longer to find that, and says what is wrong
            len(args) <= len(by_place)
            and takes.issuperset(options)
            and options.keys().isdisjoint(by_position)
            and needed.issubset((*by_position, *options))
        ):
            try:
                signature.bind(*args, **options)
            except TypeError as error:
                unknown = [word for word in options if word not in takes]
                raise UnknownArgumentError(f"{label}(): {error}{like(unknown[0], takes) if unknown else ''}") from None
        return call(*args, **options)

    return _hinted


def _leads_here(hint: str, takes: Collection[str]) -> bool:
    """Whether a hint that begins with an argument names one that there is."""
    argument, sign, _ = hint.partition("=")
    return not sign or not argument.isidentifier() or argument in takes


def _filled(word: str, hint: str, value: Any) -> str:
    """The hint with the probability of an interval that was asked for."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or "ci_prob=0.95" not in hint:
        return hint
    share = value / 100.0 if 50.0 <= value < 100.0 else value
    inside = 1.0 - share if word == "alpha" else share
    return hint.replace("0.95", f"{inside:.6g}", 1) if 0.0 < inside < 1.0 else hint


def public[**P, T](call: Callable[P, T]) -> Callable[P, T]:
    """A function as the package offers it, with hints; it is pickled by its public name."""
    hinted = with_hints(call)
    hinted.__module__, hinted.__qualname__ = __name__.partition(".")[0], call.__name__
    return hinted


def variable_missing(verb: str, options: Mapping[str, Any], available: Collection[str]) -> str:
    """What to write where a verb was called without its variable."""
    typed = next((str(options[word]) for word in ("variables", "var", "focal") if word in options), None)
    example = typed or next(iter(available), "x")
    return f"{verb}(fit): of which variable? {verb}(fit, {example!r}); predictors are {', '.join(available) or 'none'}"


def family_hint(name: object, families: Collection[str]) -> str:
    """What another program's word for a family is here; empty for a word that says nothing to us."""
    if not isinstance(name, str):
        return ""
    called = re.fullmatch(r"(\w+)\((?:link *= *)?['\"]?(\w+)['\"]?\)", name.strip())
    if called:  # R's function, in a text
        kind = next((ours for ours in families if _letters(ours) == _letters(called[1])), None)
        return f"{kind!r} with link={called[2]!r}" if kind else family_hint(called[1], families)
    alike = [repr(ours) for ours in families if _letters(ours) == _letters(name)]
    return alike[0] if alike else FAMILY_WORDS.get(_letters(name), "")


def absent_family(name: object) -> str:
    """What to do without a family of other programs that is not offered; empty for all other words."""
    return ABSENT_FAMILIES.get(_letters(name), "") if isinstance(name, str) else ""


def link_hint(name: object, links: Collection[str]) -> str:
    """Which of the links another program's word, or R's spelling, means; empty for a word that says nothing to us."""
    if not isinstance(name, str):
        return ""
    word = name.lower().removesuffix("()").strip().replace("_", "").replace(" ", "")
    ours = next((link for link in links if _letters(link) == _letters(word)), LINK_WORDS.get(word, ""))
    return ours if ours in links else ""


def _letters(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


def function_hint(name: str) -> str:
    """What a function of another package is here; a verb of fits is a method."""
    hint = FUNCTION_WORDS.get(name)
    return f"fit.{name}()" if hint == "" else hint or ""
