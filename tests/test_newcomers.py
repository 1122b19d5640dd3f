"""What people of other programs type: each word gets the thing, or one sentence that leads to it."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.families import LINKS, NAMES, family_of
from bayeslmm.formulas.formula import parse_formula, update_formula
from bayeslmm.results.fit import Fit
from bayeslmm.results.intervals import BOOT_OPTIONS
from bayeslmm.results.means import Means
from bayeslmm.results.point import PointFit
from bayeslmm.results.posterior import PosteriorFit
from bayeslmm.results.settings import Settings
from bayeslmm.tools.hints import (
    ABSENT_FAMILIES,
    ARGUMENT_WORDS,
    ATTRIBUTE_WORDS,
    FAMILY_WORDS,
    FUNCTION_WORDS,
    LINK_WORDS,
    METHOD_WORDS,
    MODEL_WORDS,
    SETTING_WORDS,
)

FORMULA = "Reaction ~ Days + (1 | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def model(sleep):
    return blm.Model(FORMULA, sleep)


@pytest.fixture(scope="module")
def fit(model):
    return model.fit_reml()


@pytest.fixture(scope="module")
def post(model):
    """A posterior without sampling: draws made by hand under the names of the model."""
    import xarray as xr

    names, levels = model.design.names, model.design.groups[0].levels
    g, rng = "Subject", np.random.default_rng(1)
    shapes = {"beta": (2,), "sigma": (), names.sd[g]: (1,), names.b[g]: (len(levels), 1)}
    data = {
        name: (("chain", "draw", *names.dims[name]), np.exp(rng.normal(size=(2, 50, *shape))))
        for name, shape in shapes.items()
    }
    coords = {
        "coef": ["Intercept", "Days"],
        names.level[g]: np.asarray(levels, dtype=str),
        names.term[g]: ["Intercept"],
    }
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(data, coords=coords)})
    return model.read_draws(tree)


# -- the tables lead to what exists


def test_words_of_families_lead_to_families():
    for word, hint in FAMILY_WORDS.items():
        assert word == "".join(c for c in word.lower() if c.isalnum()), word
        assert word not in NAMES
        with pytest.raises(errors.InputError, match=re.escape(f"family={word!r}: here it is {hint}; ")):
            family_of(word)
        assert set(re.findall(r"^'(\w+)'", hint)) & set(NAMES), word


def test_families_that_are_not_offered_say_what_to_do():
    for word, hint in ABSENT_FAMILIES.items():
        assert word == "".join(c for c in word.lower() if c.isalnum()), word
        assert word not in NAMES and word not in FAMILY_WORDS
        with pytest.raises(errors.InputError, match=re.escape(f"family={word!r}: {hint}; families are ")):
            family_of(word)
        assert set(re.findall(r"'(\w+)'", hint)) <= set(NAMES), word
        assert "pymc_parts()" not in hint or hasattr(blm.Model, "pymc_parts")


def test_words_of_links_lead_to_links_of_the_family():
    for word, link in LINK_WORDS.items():
        assert word not in LINKS and link in LINKS, word
    for name in NAMES:
        links = family_of(name).links
        for word, link in {**LINK_WORDS, **{f"{each.upper()}()": each for each in LINKS}}.items():
            lead = f"link={word!r}: here it is {link!r}; " if link in links else f"link={word!r}: links of "
            with pytest.raises(errors.InputError, match=f"^{re.escape(lead)}.*{links[-1]}"):
                family_of(name, word)


def test_words_of_settings_lead_to_arguments_of_fit():
    import inspect

    arguments = set(inspect.signature(blm.Model.fit).parameters) | {"target_accept", "max_treedepth", "adaptation"}
    for word, hint in SETTING_WORDS.items():
        assert word not in arguments
        with pytest.raises(errors.InputError, match=re.escape(f"fit({word}=...): here it is {hint}")):
            Settings(options={word: 1})
        with pytest.raises(errors.InputError, match=re.escape(f"{word}=1: here it is ")):
            Settings().changed({word: 1})
        named = set(re.findall(r"(\w+)=", hint)) - {"family"}
        assert named <= arguments | {"priors", "draw", "weights", "link", "offset"}, word
    for word, hint in METHOD_WORDS.items():
        with pytest.raises(errors.InputError, match=re.escape(f"here it is {hint}; method is 'auto'")):
            Settings(method=word.upper())
        assert hasattr(blm.Model, hint.partition("(")[0])


def test_words_of_verbs_lead_to_verbs():
    for word, hint in ATTRIBUTE_WORDS.items():
        home, name = re.match(r"(bayeslmm\.)?(\w+)", hint).groups()
        assert hasattr(blm, name) if home else hasattr(PointFit, name) or hasattr(PosteriorFit, name), hint
        assert not hasattr(Fit, word) and word not in {**PointFit._refused, **PosteriorFit._refused}, word
        assert not {word} & {n for kind in (PointFit, PosteriorFit) for n in dir(kind)}, word
    for word, hint in MODEL_WORDS.items():
        assert hasattr(blm.Model, hint.split("(")[0]) or hint.startswith("design."), word
        assert not hasattr(blm.Model, word)


def test_words_of_functions_lead_to_functions():
    for word, hint in FUNCTION_WORDS.items():
        assert word not in blm.__all__ and not hasattr(blm, word)
        with pytest.raises(errors.RefusedVerbError, match=f"no attribute '{word}'; here it is "):
            getattr(blm, word)
        home, name = re.match(r"(fit\.)?(\w+)", hint or f"fit.{word}").groups()
        assert (hasattr(PointFit, name) or hasattr(PosteriorFit, name)) if home else hasattr(blm, name), word
    with pytest.raises(AttributeError) as caught:
        blm.nothing_of_the_kind  # noqa: B018
    assert not isinstance(caught.value, errors.BayesLMMError)


# -- as they are typed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": 1}, "random_seed="),
        ({"random_state": 1}, "random_seed="),
        ({"iter": 2000}, "draws="),
        ({"warmup": 500}, "tune="),
        ({"n_draws": 500}, "draws="),
        ({"samples": 500}, "draws="),
        ({"seed": 1, "target_accept": 0.9, "method": "nuts"}, "random_seed="),
        ({"seed": 1, "method": "exact"}, "random_seed="),
        ({"seed": 1, "nuts_sampler": "pymc"}, "random_seed="),
        ({"method": "reml"}, r"fit_reml\(\)"),
        ({"method": "ML"}, r"fit_ml\(\)"),
    ],
)
def test_settings_as_they_are_typed(model, options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        model.fit(**options)


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("normal", "gaussian"),
        ("Gaussian", "gaussian"),
        ("nb", "negbinomial"),
        ("Gamma", "gamma"),
        ("cumulative", "ordinal"),
        ("t", "student_t"),
        ("student", "student_t"),
        ("Student-t", "student_t"),
        ("Binomial", "binomial"),
        ("binary", "bernoulli"),
        ("logistic", "bernoulli"),
        ("nbinom2", "negbinomial"),
        ("negative_binomial", "negbinomial"),
        ("inverse.gaussian", "inverse_gaussian"),
        ("Categorical", "categorical"),
        ("binomial(link='logit')", "binomial' with link='logit'"),
        ("Gamma(link=log)", "gamma"),
        ("skew_normal", "exgaussian"),
        ("compois", "negbinomial"),
        ("coxph", "weibull"),
        ("ordbeta", "zero_one_inflated_beta"),
    ],
)
def test_families_as_they_are_typed(sleep, typed, ours):
    sentence = rf"family={re.escape(repr(typed))}: here it is '{ours}.*families are gaussian"
    for call in (blm.Model, blm.lmer, blm.glmer):
        with pytest.raises(errors.InputError, match=sentence):
            call(FORMULA, sleep, family=typed)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("Normal", 0, 1), r"Prior\('Normal', mu=0, sigma=1\)"),
        (("Exponential", 2), r"Prior\('Exponential', lam=2\)"),
        (("StudentT", 0, 1), r"nu=\.\.\., mu=\.\.\., sigma=\.\.\."),
        (("Wald", 1), "by their names in PyMC"),
        ((0, 1), "the name of a distribution of PyMC comes first"),
    ],
)
def test_numbers_of_a_prior_without_names(args, sentence):
    with pytest.raises(errors.PriorError, match=sentence):
        blm.Prior(*args)


def test_a_prior_of_correlations_where_there_are_none(sleep):
    for key in ("cor", ("cor", "Subject")):
        with pytest.raises(errors.PriorError, match="No correlation is estimated here") as caught:
            blm.Model(FORMULA, sleep, priors={key: blm.LKJ(1)})
        assert "Did you mean" not in str(caught.value)
    blm.Model("Reaction ~ Days + (Days | Subject)", sleep, priors={"cor": blm.LKJ(1)})
    with pytest.raises(errors.PriorError, match=r"no parameter matches the prior key 'sd'\. There is no grouping"):
        blm.Model("Reaction ~ Days", sleep, priors={"sd": blm.Prior("HalfNormal", sigma=1)})


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda fit, model: fit.r2(nsim=3), r"r2\(nsim=\.\.\.\): here it is bootstrap="),
        (lambda fit, model: fit.r2(bootstraps=3), "'bootstraps'; it takes .* Did you mean 'bootstrap'"),
        (lambda fit, model: fit.within_correlation("Days", levels=3), "it takes bootstrap, ci_prob"),
        (lambda fit, model: model.fit_ml(maxiter=10), "the search chooses"),
        (lambda fit, model: model.fit_reml(method="powell"), "the search chooses"),
        (lambda fit, model: model.prior_predictive(samples=3), "draws="),
        (lambda fit, model: blm.anova(fit, test="Chisq"), "F tests"),
        (lambda fit, model: blm.plot_ranef(fit, which="Subject"), "group="),
        (lambda fit, model: blm.kfold(fit, K=3), "k="),
        (lambda fit, model: model.fit(summarize=False), r"summary\(\) of the fit"),
        (lambda fit, model: fit.mcmc_plot(), "plot_trace"),
        (lambda fit, model: fit.add_criterion("loo"), r"loo\(\)"),
        (lambda fit, model: fit.fixef_, r"here it is fixef\(\)"),
        (lambda fit, model: blm.LinearMixedModel(), "lmer"),
        (lambda fit, model: fit.means("Days").pairs(reverse=True), "contrasts"),
        (lambda fit, model: fit.means("Days", kind="response"), r"response\(\)"),
        (lambda fit, model: fit.means("Days", at={"Days": [0, 1]}).pairs(adjust="bonf"), "here it is 'bonferroni'"),
        (lambda fit, model: model.update("~ . + I(Days ** 2)").aic, "fit first"),
    ],
)
def test_arguments_of_functions_of_other_programs(fit, model, call, sentence):
    with pytest.raises((errors.BayesLMMError, errors.UnknownArgumentError), match=sentence):
        call(fit, model)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("Common", "It is 'fixed' here"),
        ("group_specific", "It is 'sd' here"),
        ("residual", "It is 'sigma' here"),
        ("(Intercept)", "Did you mean Intercept"),
        ("lkj", "It is 'cor' here"),
    ],
)
def test_keys_of_priors_of_other_programs(sleep, key, sentence):
    with pytest.raises(errors.PriorError, match=sentence):
        blm.Model(FORMULA, sleep, priors={key: blm.Prior("Normal", mu=0, sigma=1)})


@pytest.mark.parametrize("value", ["normal(0, 1)", ("Normal", 0, 1), blm.flat])
def test_priors_that_are_none_say_what_to_write(sleep, value):
    with pytest.raises(errors.PriorError, match=r"Write (flat\(\)|Prior\('Normal', mu=0, sigma=1\))"):
        blm.Model(FORMULA, sleep, priors={"Days": value})


def test_a_generalised_model_under_lme4s_name(sleep, fit):
    assert blm.glmer(FORMULA, sleep).criterion == fit.criterion
    data = sleep.assign(Reaction=sleep["Reaction"].round())
    counts = blm.glmer(FORMULA, data, family="poisson")
    assert counts.criterion == blm.Model(FORMULA, data, family="poisson").fit_ml().criterion


def test_verbs_as_functions(fit, model):
    pd.testing.assert_frame_equal(blm.icc(fit), fit.icc())
    pd.testing.assert_frame_equal(blm.slopes(fit, "Days"), fit.slopes("Days"))
    pd.testing.assert_frame_equal(blm.comparisons(fit, "Days"), fit.comparisons("Days"))
    np.testing.assert_array_equal(blm.predictions(fit), fit.predict())
    for call in (blm.icc, lambda x: blm.slopes(x, "Days"), lambda x: blm.comparisons(x, "Days"), blm.predictions):
        with pytest.raises(errors.RefusedVerbError, match="fit first"):
            call(model)
        with pytest.raises(errors.InputError, match="a fit comes first"):
            call("Days")
    from bayeslmm.model_comparison import anova

    assert callable(anova.anova)


@pytest.mark.parametrize("call", [blm.slopes, blm.comparisons])
def test_functions_without_their_variable_name_it(fit, call):
    for options in ({}, {"variables": "Days"}):
        with pytest.raises(errors.InputError, match=rf"{call.__name__}\(fit, 'Days'\); predictors are Days"):
            call(fit, **options)


# -- arguments of other programs


@pytest.mark.parametrize(
    ("verb", "options", "sentence"),
    [
        ("predict", {"re_form": None}, "groups='average'"),
        ("predict", {"exog": 1}, "newdata="),
        ("predict", {"allow_new_levels": True}, "groups='observed_or_new'"),
        ("predict", {"se_fit": True}, "interval='plug-in'"),
        ("confint", {"level": 0.9}, "ci_prob="),
        ("confint", {"alpha": 0.1}, "ci_prob="),
        ("confint", {"nsim": 10}, "draws="),
        ("ranef", {"condVar": True}, "standard error"),
        ("predict", {"level": 0}, "groups='average'"),
        ("r2", {"method": "nakagawa"}, "Nakagawa's"),
        ("variance_components", {"seed": 1}, "random_seed="),
        ("summary", {"correlation": False}, "vcov()"),
        ("tidy", {"conf_int": True}, "always there"),
        ("slopes", {"wrt": "Days"}, "the variable first"),
        ("profile", {"which": "Days"}, "all parameters"),
        ("update", {"REML": False}, "fit_ml()"),
        ("fit_reml", {"nAGQ": 9}, "fit_ml()"),
        ("fit_ml", {"REML": True}, "fit_reml()"),
    ],
)
def test_arguments_of_other_programs(fit, model, verb, options, sentence):
    with pytest.raises(
        errors.InputError, match=rf"^{verb}\({next(iter(options))}=\.\.\.\): here it is .*{re.escape(sentence)}"
    ):
        getattr(model if verb in ("fit_reml", "fit_ml") else fit, verb)(**options)


def test_arguments_that_lead_nowhere_are_unknown(model):
    """A hint of all verbs holds for those that have what it names."""
    for call in (model.fit_reml, model.fit_ml):
        for word in ("seed", "alpha", "n_jobs"):
            with pytest.raises(errors.UnknownArgumentError, match=rf"^{call.__name__}\(\): .*'{word}'"):
                call(**{word: 1})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"groups": "Subject"}, "(1 | group)"),
        ({"reml": False}, "fit_ml()"),
        ({"prior": {}}, "priors="),
        ({"subset": "Days > 1"}, "filter the table"),
        ({"draws": 10}, "Model(...).fit("),
        ({"noncentered": False}, "Model(...).fit("),
        ({"covariance": "us"}, "residual='us(visit | subject)'"),
    ],
)
def test_arguments_of_models_of_other_programs(sleep, options, sentence):
    for call in (blm.Model, blm.lmer):
        with pytest.raises(errors.InputError, match=re.escape(sentence)):
            call(FORMULA, sleep, **options)
    with pytest.raises(TypeError, match="nothing_of_the_kind"):
        blm.Model(FORMULA, sleep, nothing_of_the_kind=1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda sleep: blm.Model(FORMULA, sleep, weights="varIdent(form = ~ 1 | Subject)"), "sigma='~ x' of a factor"),
        (lambda sleep: blm.Model(FORMULA, sleep, weights="varPower()"), "sigma='~ x' of a factor"),
        (
            lambda sleep: blm.Model(FORMULA, sleep, correlation="corCompSymm(form = ~ 1 | Subject)"),
            "or car1, cs and us",
        ),
        (lambda sleep: blm.varIdent, "sigma='~ f'"),
        (lambda sleep: blm.corAR1, "residual='ar1(t | g)'"),
        *(
            (lambda sleep, word=word: blm.Model(f"Reaction ~ Days + {word}(0 + Days | Subject)", sleep), lead)
            for word, lead in {
                "exp": "residual='car1(time | g)'",
                "ou": "residual='car1(time | g)'",
                "toep": "us(0 + f | g) leaves every covariance free",
                "mat": "distance are not offered",
                "gau": "distance are not offered",
                "rr": "(x || g) leaves their correlations out",
            }.items()
        ),
        (
            lambda sleep: blm.Model(FORMULA, sleep).fit(sleep[["Days"]], sleep["Reaction"]),
            "the data are those of Model(",
        ),
        (lambda sleep: blm.Model(FORMULA, sleep).fit_map, "model.fit_reml()"),
        (lambda sleep: blm.Model(FORMULA, sleep, family=blm.poisson), "Model(formula, data, family='poisson')"),
        (lambda sleep: blm.lmer(FORMULA, sleep, verbose=True), "progressbar"),
        (lambda sleep: blm.Model(formula=FORMULA, df=sleep), "data="),
        (lambda sleep: blm.lmer(FORMULA, sleep).diagnostics, "diagnosis"),
    ],
)
def test_first_lines_of_other_programs_lead_on(sleep, call, sentence):
    with pytest.raises(errors.BayesLMMError, match=re.escape(sentence)) as caught:
        call(sleep)
    assert ".." not in str(caught.value).replace("(...)", "").replace("=...", "")


def test_exp_of_a_column_is_a_function(sleep):
    assert blm.Model("Reaction ~ exp(Days / 9) + (1 | Subject)", sleep).design.x_names[1] == "exp(Days / 9)"


def test_arguments_lead_to_arguments_that_exist():
    import inspect

    for verb, words in ARGUMENT_WORDS.items():
        on_models = ("fit_reml", "fit_ml", "prior_predictive")
        functions = ("plot_predictions", "plot_ranef", "anova", "drop1", "ppc", "kfold", "Model", "LKJ")
        calls = {
            **{name: getattr(blm, name) for name in functions},
            **{name: getattr(blm.Model, name) for name in on_models},
            "pairs": Means.pairs,
            "contrasts": Means.contrasts,
        }
        if not verb:
            continue
        call = calls.get(verb) or getattr(PointFit, verb, getattr(PosteriorFit, verb, None))
        takes = set(inspect.signature(call).parameters) | (set(BOOT_OPTIONS) if verb == "r2" else set())
        assert not takes & words.keys()
        for hint in words.values():
            named = set(re.findall(r"(?<!\w)(\w+)=", hint)) - {"n", "REML", "sigma", "cov"}  # cov= stands in gr()
            named -= {"ci_prob"} if hint.startswith("means(") else set()
            assert named <= takes, (verb, hint)


def test_names_in_scope_are_found_behind_the_hints(sleep):
    def halved(x):
        return x / 2

    assert blm.Model("Reaction ~ halved(Days) + (1 | Subject)", sleep).design.x_names[1] == "halved(Days)"


# -- a model that is not fitted


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("summary", r"model\.fit_reml\(\)\.summary\(\), or model\.fit\(\)\.summary\(\)"),
        ("predict", r"model\.fit_reml\(\)\.predict\(\)"),
        ("ranef", r"model\.fit_reml\(\)\.ranef\(\)"),
        ("aic", r"model\.fit_reml\(\)\.aic$"),
        ("loo", r"fit first: model\.fit\(\)\.loo\(\)"),
        ("VarCorr", r"model\.fit_reml\(\)\.var_corr\(\)"),
        ("posterior", r"fit first: model\.fit\(\)\.idata"),
        ("pp_check", r"fit first; of a fit it is bayeslmm\.ppc\(fit\)"),
        ("sample", r"here it is model\.fit\(\)"),
    ],
)
def test_verbs_of_fits_asked_of_a_model(model, verb, sentence):
    assert not hasattr(model, verb)
    with pytest.raises(errors.RefusedVerbError, match=rf"^{verb}: .*{sentence}"):
        getattr(model, verb)


def test_a_model_of_another_family_leads_to_its_fits():
    data = blm.load_dataset("sleepstudy").assign(n=3)
    model = blm.Model("n ~ Days + (1 | Subject)", data, family="poisson")
    with pytest.raises(errors.RefusedVerbError, match=r"^summary: fit first: model\.fit_ml\(\)\.summary\(\), or"):
        model.summary  # noqa: B018


def test_what_nobody_knows_is_a_plain_attribute_error(model, fit):
    for thing in (model, fit):
        for name in ("no_such_thing", "_ipython_display_", "__array__"):
            with pytest.raises(AttributeError, match=f"no attribute '{name}'") as caught:
                getattr(thing, name)
            assert not isinstance(caught.value, errors.BayesLMMError)


def test_models_and_fits_are_copied_and_pickled(model, fit):
    for thing in (model, fit):
        for other in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
            assert repr(other) == repr(thing)
    empty = object.__new__(blm.Model)
    assert not hasattr(empty, "design") and not hasattr(empty, "summary")


def test_a_property_that_fails_says_why(sleep, fit):
    class Broken(blm.Model):
        @property
        def size(self):
            return self.design.no_such_field

    class BrokenFit(PointFit):
        @property
        def size(self):
            return self.design.no_such_field

    for thing in (Broken(FORMULA, sleep), BrokenFit(design=fit.design, solution=fit.solution, origin=fit.origin)):
        with pytest.raises(AttributeError, match="no_such_field"):
            thing.size  # noqa: B018


# -- fits


@pytest.mark.parametrize(
    "word", ["params", "bse", "fe_params", "random_effects", "cov_re", "coef_", "ranef_", "posterior", "trace"]
)
def test_names_of_other_packages_are_answered_by_both_kinds_of_fit(fit, post, word):
    for thing in (fit, post):
        assert not hasattr(thing, word)
        with pytest.raises(errors.RefusedVerbError, match=re.escape(f"{word}: here it is {ATTRIBUTE_WORDS[word]}")):
            getattr(thing, word)
    with pytest.raises(errors.RefusedVerbError, match="here it is idata; a point fit has no draws"):
        fit.posterior  # noqa: B018


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Days", r"idata\.posterior\['beta'\]\.sel\(coef='Days'\)"),
        ("(Intercept)", r"sel\(coef='Intercept'\)"),
        ("Subject", r"draws\('b_Subject'\), their sds draws\('sd_Subject'\)"),
        ("sd", "Each grouping factor has its own: sd_Subject"),
        ("fixef", r"draws\('beta'\)"),
        ("x", "Variables here: beta, "),
    ],
)
def test_draws_of_a_name_that_is_no_variable(post, name, sentence):
    with pytest.raises(errors.NotAvailableError, match=sentence):
        post.draws(name)
    assert post.idata.posterior["beta"].sel(coef="Days").shape == (2, 50)


# -- formulas


def test_data_before_the_formula(sleep):
    for call in (blm.Model, blm.lmer, blm.glmer):
        with pytest.raises(errors.FormulaError, match="the formula comes first, then the data"):
            call(sleep, FORMULA)


@pytest.mark.parametrize(
    ("old", "change", "new"),
    [
        ("y ~ x + offset(log(n)) + (1 | g)", ". ~ . - offset(log(n))", "y ~ x + (1 | g)"),
        ("y ~ x + offset(a) + offset(b)", ". ~ . - offset( a )", "y ~ x + offset(b)"),
        ("y ~ x + offset(a)", ". ~ . - offset(a) + offset(b)", "y ~ x + offset(b)"),
        ("y ~ x + offset(`a b`)", ". ~ . - offset(`a b`) + z", "y ~ x + z"),
    ],
)
def test_an_offset_is_taken_away(old, change, new):
    changed = update_formula(parse_formula(old), change)
    assert (changed.text, changed.offsets) == (new, parse_formula(new).offsets)


def test_an_offset_that_is_not_there(sleep):
    with pytest.raises(errors.FormulaError, match=r"no offset\(z\) on the left.*given as offset="):
        update_formula(parse_formula("y ~ x + offset(a)"), ". ~ . - offset(z)")
    model = blm.Model("Reaction ~ 1 + offset(Days) + (1 | Subject)", sleep)
    without = blm.lmer("Reaction ~ 1 + (1 | Subject)", sleep)
    assert model.update(". ~ . - offset(Days)").fit_reml().criterion == without.criterion


def test_arguments_by_place_are_told_their_names(model, fit):
    for call, words in (
        (lambda: model.fit(1000), "fit(): arguments have names; write method=, draws="),
        (lambda: fit.simulate(5, 1), "simulate(): only n may stand without a name; write random_seed="),
        (lambda: fit.ranef("Subject"), "ranef(): arguments have names; write "),
        (lambda: blm.ppc(fit, "mean", "Subject"), "ppc(): only fit, stat may stand without a name; write by="),
    ):
        with pytest.raises(errors.InputError, match=re.escape(words)):
            call()


@pytest.mark.parametrize("name", [name for name in blm.__all__ if inspect.isfunction(getattr(blm, name))])
def test_functions_of_the_package_lead_on_and_are_pickled(name, fit):
    function = getattr(blm, name)
    assert pickle.loads(pickle.dumps(function)) is function is getattr(blm, name)
    parameters = inspect.signature(function).parameters.values()
    if any(p.name == "random_seed" for p in parameters) and all(p.kind is not p.VAR_KEYWORD for p in parameters):
        with pytest.raises(errors.InputError, match=r"seed=\.\.\.\): here it is random_seed="):
            function(fit, seed=1)
