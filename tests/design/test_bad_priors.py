"""Priors that cannot be, refused where the model is made, changed and sampled anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.design.supports import DISTRIBUTIONS, ends
from bayeslmm.engine.pymc_priors import priors_of
from bayeslmm.errors import PriorError
from bayeslmm.families import family_of

P = blm.Prior
BAD = {
    "negative sd, truncated": ({"sd": P("TruncatedNormal", mu=0, sigma=1, lower=-1)}, "below zero"),
    "negative sd, not truncated": ({"sd": P("TruncatedNormal", mu=0, sigma=1)}, "below zero"),
    "negative sd, normal": ({("sd", "g"): P("Normal", mu=0, sigma=1)}, "below zero"),
    "negative sd, of one column": ({("sd", "g", "x"): P("Uniform", lower=-1, upper=5)}, "-1 to 5"),
    "negative sd beside a better one": (
        {"sd": P("Normal", mu=5, sigma=1), ("sd", "g"): P("HalfNormal", sigma=1)},
        None,
    ),
    "negative sigma": ({"sigma": P("StudentT", nu=3, mu=0, sigma=1)}, "below zero"),
    "negative sigma, outside the table": ({"sigma": P("SkewNormal", mu=3, sigma=1, alpha=1)}, "below zero"),
    "negative sigma, rarely": ({"sigma": P("Moyal", mu=9, sigma=1)}, "below zero"),
    "wrong name": ({"x": P("Normal", mean=0, sd=1)}, "has no mean, sd; it has mu, sigma, tau"),
    "wrong name of an sd": ({"sigma": P("HalfNormal", scale=1)}, "has no scale"),
    "wrong name, outside the table": ({"x": P("SkewNormal", mean=0)}, "has no mean"),
    "missing": ({"x": P("StudentT", mu=0, sigma=1)}, "needs nu"),
    "half of a pair": ({"sigma": P("Gamma", alpha=2)}, "needs alpha, beta or mu, sigma"),
    "two pairs": ({"sigma": P("Gamma", alpha=2, beta=1, mu=3)}, "needs"),
    "nothing": ({"sigma": P("HalfCauchy")}, "given: nothing"),
    "the same twice": ({"x": P("Normal", mu=0, sigma=1, tau=1)}, "say the same"),
    "a rate of zero": ({"sigma": P("Exponential", lam=0)}, "must be positive"),
    "a negative shape": ({"sigma": P("Gamma", alpha=-2, beta=1)}, "must be positive"),
    "a scale of zero": ({"x": P("Cauchy", alpha=0, beta=0)}, "must be positive"),
    "out of range, outside the table": ({"x": P("AsymmetricLaplace", kappa=-1, mu=0, b=1)}, "PyMC refuses"),
    "an empty interval": ({"x": P("Uniform", lower=2, upper=1)}, "lower must be below upper"),
    "an empty truncation": ({"x": P("TruncatedNormal", lower=2, upper=2)}, "lower must be below upper"),
    "mean beyond a share": ({"sigma": P("Beta", mu=2, sigma=0.1)}, "between 0 and 1"),
    "flat with arguments": ({"x": P("Flat", mu=0)}, "has no mu; it has no arguments"),
    "discrete": ({"x": P("Poisson", mu=3)}, "no continuous distribution"),
    "of several numbers": ({"x": P("Dirichlet", a=1)}, "PyMC|several"),
    "no distribution": ({"x": P("Nrmal", mu=0, sigma=1)}, "no continuous distribution"),
    "LKJ of a slope": ({"x": blm.LKJ(2)}, "expected a Prior"),
    "a distribution of correlations": ({"cor": P("Normal", mu=0, sigma=1)}, "expected a LKJ"),
    "None": ({"sigma": None}, "expected a Prior"),
    "a number behind a better one": ({"sd": 3.0, ("sd", "g"): P("HalfNormal", sigma=1)}, "one by one"),
    "a key of another type": ({3: blm.flat()}, "prior key 3"),
    "a key of an empty tuple": ({(): blm.flat()}, "prior key"),
    "no key": ({None: blm.flat()}, "prior key None"),
    "not a mapping": ([blm.flat()], "priors are a dict"),
    "a parameter of another family": ({"phi": blm.flat()}, "family='gaussian' has no phi; its parameters are sigma"),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(6), 8)
    frame = pd.DataFrame({"x": rng.normal(size=48), "g": [f"g{i}" for i in g]})
    frame["two"] = np.where(g < 3, "a", "b")
    return frame.assign(y=frame["x"] + rng.normal(size=6)[g] + rng.normal(size=48))


@pytest.fixture(scope="module")
def model(data):
    return blm.Model("y ~ x + (x | g)", data)


@pytest.fixture(scope="module")
def post(model):
    return model.fit(draws=100, chains=2, random_seed=1, progressbar=False)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")  # a hundred draws
@pytest.mark.parametrize("name", BAD)
def test_bad_priors_are_refused_by_whoever_takes_them(name, data, model, post):
    priors, words = BAD[name]
    if words is None:
        blm.Model("y ~ x + (x | g)", data, priors=priors)
        return
    for verb in (
        lambda: blm.Model("y ~ x + (x | g)", data, priors=priors),
        lambda: model.update(priors=priors),
        lambda: post.with_priors(priors),
    ):
        with pytest.raises(PriorError, match=words):
            verb()


@pytest.mark.parametrize("eta", [0, -1, np.nan, np.inf, "2", True, None])
def test_shapes_of_lkj_that_cannot_be(eta):
    with pytest.raises(PriorError, match="eta must be positive and finite"):
        blm.LKJ(eta)


@pytest.mark.parametrize("value", [np.nan, np.inf, "1", None, True, [1.0]])
def test_arguments_that_are_no_numbers(value):
    with pytest.raises(PriorError, match="finite numbers"):
        P("Normal", mu=value)


# -- the table beside PyMC

EXAMPLES = {
    "Normal": [{}, {"mu": 1, "tau": 2}],
    "StudentT": [{"nu": 3}, {"nu": 3, "lam": 2}],
    "Cauchy": [{"alpha": 0, "beta": 1}],
    "Laplace": [{"mu": 0, "b": 1}],
    "Logistic": [{}, {"mu": 1, "s": 2}],
    "Gumbel": [{"mu": 0, "beta": 1}],
    "HalfNormal": [{}, {"tau": 2}],
    "HalfStudentT": [{"nu": 3}, {"nu": 3, "lam": 2}],
    "HalfCauchy": [{"beta": 1}],
    "Exponential": [{"lam": 1}, {"scale": 1}],
    "Gamma": [{"alpha": 2, "beta": 1}, {"mu": 2, "sigma": 1}],
    "InverseGamma": [{"alpha": 3, "beta": 1}],
    "LogNormal": [{}, {"mu": -1, "sigma": 1}],
    "Weibull": [{"alpha": 2, "beta": 1}],
    "ChiSquared": [{"nu": 3}],
    "Pareto": [{"alpha": 3, "m": 2}],
    "Beta": [{"alpha": 2, "beta": 1}, {"mu": 0.3, "nu": 4}, {"mu": 0.3, "sigma": 0.1}],
    "Uniform": [{"lower": -2, "upper": 3}],
    "TruncatedNormal": [{}, {"mu": 1, "sigma": 1, "lower": 0.5}, {"upper": 2}, {"lower": -1, "upper": 2}],
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_supports_and_arguments_are_those_of_pymc(name):
    import inspect

    import pymc as pm

    known = inspect.signature(getattr(pm, name).dist).parameters
    assert set(DISTRIBUTIONS[name].arguments) <= set(known)
    for given in EXAMPLES[name]:
        low, high = ends(name, given)
        near = [end + step for end in (low, high) for step in (-1e-3, 1e-3) if np.isfinite(end)]
        values = np.array([*near, -1.5, -0.5, 0.7, 2.5, 1e3])
        density = pm.logp(getattr(pm, name).dist(**given), values).eval(mode="FAST_COMPILE")
        assert np.array_equal(density > -np.inf, (values > low) & (values < high))


def test_the_table_holds_no_distribution_without_an_example():
    assert set(EXAMPLES) | {"Flat", "HalfFlat"} == set(DISTRIBUTIONS)


# -- propriety


@pytest.mark.parametrize(
    ("formula", "priors", "words"),
    [
        ("y ~ x + (1 | two)", {"sd": blm.flat()}, "without a mean, as 2 levels: that takes at least 3"),
        ("y ~ x + (1 | two)", {"sd": blm.flat(), "Intercept": blm.flat()}, "no posterior, as 2 levels and 1 flat"),
        ("y ~ x + (1 | two)", {"sd": P("HalfFlat")}, "Gelman 2006"),
        ("y ~ x + (1 | two)", {"sd": P("HalfNormal", sigma=1)}, None),
        ("y ~ x + (1 | g)", {"sd": blm.flat(), "Intercept": blm.flat(), "fixed": blm.flat()}, None),
        ("y ~ x + (x | two)", {("sd", "two", "x"): blm.flat()}, r"sd\(x \| two\)"),
        ("y ~ u + (1 | three)", {"sd": blm.flat(), "Intercept": blm.flat()}, None),
        ("y ~ u + (1 | three)", {"sd": blm.flat(), "Intercept": blm.flat(), "u": blm.flat()}, "2 flat fixed effects"),
        ("y ~ x + (1 | three)", {"sd": blm.flat(), "Intercept": blm.flat(), "x": blm.flat()}, None),
    ],
)
def test_flat_priors_of_an_sd_need_levels(data, formula, priors, words):
    three = np.repeat(np.arange(3), 16)
    design = build_design(formula, data.assign(three=[f"t{i}" for i in three], u=np.array([0.0, 1.0, 5.0])[three]))
    if words is None:
        priors_of(design, priors)
        return
    with pytest.raises(PriorError, match=words):
        priors_of(design, priors)


@pytest.mark.parametrize(("family", "at"), [("bernoulli", 1.0), ("poisson", 0.0), ("ordinal", 1.0)])
def test_levels_with_one_extreme_response_do_not_bound_a_flat_sd(data, family, at):
    rng = np.random.default_rng(1)
    mixed = data.assign(y=np.tile([0.0, 1.0], 24))
    priors_of(build_design("y ~ x + (1 | g)", mixed, family=family_of(family)), {"sd": blm.flat()})
    pure = mixed.assign(y=np.where(data["g"] < "g4", at, mixed["y"]), x=rng.normal(size=48))
    design = build_design("y ~ x + (1 | g)", pure, family=family_of(family))
    with pytest.raises(PriorError, match="2 of 6 levels have responses that bound"):
        priors_of(design, {"sd": blm.flat()})


@pytest.mark.parametrize(("family", "name"), [("student_t", "nu"), ("negbinomial", "shape")])
def test_flat_priors_of_a_parameter_with_a_limit(data, family, name):
    counts = data.assign(y=np.arange(48.0) % 5)
    design = build_design("y ~ x + (1 | g)", counts, family=family_of(family))
    with pytest.raises(PriorError, match=f"{name}: a flat prior has no posterior"):
        priors_of(design, {name: blm.flat()})


SEPARATED = [
    # family, y of x and of the first level, flat priors, whose coefficients run to infinity
    ("bernoulli", lambda x, a: x > 0, ["x"], "x"),
    ("bernoulli", lambda x, a: x > 0.3, ["x", "Intercept"], "Intercept, x"),
    ("bernoulli", lambda x, a: x > 0.3, ["Intercept"], None),
    ("bernoulli", lambda x, a: x == x, ["Intercept"], "Intercept"),
    ("bernoulli", lambda x, a: a | (np.arange(48) % 2 == 0), ["fixed"], "a"),
    ("bernoulli", lambda x, a: np.arange(48) % 2, ["fixed", "Intercept"], None),
    ("poisson", lambda x, a: 0 * x, ["Intercept"], "Intercept"),
    ("poisson", lambda x, a: 0 * x, ["x"], None),
    ("negbinomial", lambda x, a: np.where(a, 0, np.arange(48) % 5), ["fixed"], "a"),
    ("zero_inflated_poisson", lambda x, a: np.arange(48) % 5, ["fixed", "Intercept"], None),
    ("ordinal", lambda x, a: np.digitize(x, [-0.5, 0.5]), ["fixed", "cutpoint"], "x"),
    ("ordinal", lambda x, a: np.arange(48) % 3, ["fixed", "cutpoint"], None),
    ("gaussian", lambda x, a: x + np.arange(48) % 3, ["fixed", "Intercept"], None),
]


@pytest.mark.parametrize(("family", "response", "flat", "which"), SEPARATED)
def test_flat_priors_along_which_the_likelihood_rises_for_ever(family, response, flat, which):
    """They were sampled, to wherever the chains had come."""
    x, a = fixed_rng(4).normal(size=48), np.arange(48) < 8
    data = pd.DataFrame({"x": x, "a": a.astype(float), "g": np.arange(48) % 6, "y": np.asarray(response(x, a)) * 1.0})
    design = build_design("y ~ x + a + (1 | g)", data, family=family_of(family))
    priors = dict.fromkeys(flat, blm.flat())
    if which is None:
        priors_of(design, priors)
    else:
        with pytest.raises(PriorError, match=f"^{which}: a flat prior has no posterior, since the responses are sep"):
            priors_of(design, priors)
    priors_of(design, dict.fromkeys(flat, P("Normal", mu=0, sigma=10)))


@pytest.mark.parametrize(
    ("family", "parameter", "becomes"),
    [
        ("negbinomial", "shape", "poisson"),
        ("student_t", "nu", "gaussian"),
        ("zero_inflated_poisson", "zi", "poisson"),
        ("hurdle_poisson", "hu", "truncated_poisson"),
        ("student_t", "sigma", None),
    ],
)
def test_flat_priors_of_the_coefficients_of_a_parameter(data, family, parameter, becomes):
    """On the scale of its linear predictor both ends are open."""
    model = blm.Model(
        "y ~ x + (1 | g)", data.assign(y=np.arange(48.0) % 5), family=family, **{parameter: "~ x + (1 | g)"}
    )
    for key in (f"{parameter}_Intercept", f"{parameter}_x", (parameter, "fixed")):
        if becomes is None:
            model.update(priors={key: blm.flat()})
            continue
        with pytest.raises(PriorError, match=f"{parameter}_.*no posterior, since .* tends to that of {becomes}"):
            model.update(priors={key: blm.flat()})
    with pytest.raises(PriorError, match="not offered for effects on a parameter"):
        model.update(priors={("sd", f"{parameter}_g"): blm.flat()})


# -- words


@pytest.mark.parametrize(
    ("formula", "key", "words"),
    [
        ("y ~ x + (1 | g)", "cor", r"No correlation is estimated here. Write \(1 \+ x \| g\)"),
        ("y ~ x", "cor", "No correlation is estimated here. Keys"),
        ("y ~ x + (1 | g)", ("cor", "g"), "No correlation"),
        ("y ~ x", "sd", "There is no grouping factor here"),
        ("y ~ 1 + (1 | g)", "fixed", "no fixed effect besides the intercept"),
        ("y ~ x + (1 | g)", "nu", "family='gaussian' has no nu; its parameters are sigma"),
        ("y ~ x + (1 | g)", "intercept", "Did you mean Intercept"),
    ],
)
def test_a_key_that_matches_nothing_is_told_what_there_is(data, formula, key, words):
    prior = blm.LKJ(2) if "cor" in str(key) else blm.flat()
    with pytest.raises(PriorError, match=words) as caught:
        blm.Model(formula, data, priors={key: prior})
    assert f"Did you mean {key}?" not in str(caught.value)


@pytest.mark.parametrize(
    "priors",
    [
        {"x": P("Uniform", lower=0.799, upper=0.801)},
        {"sigma": P("Uniform", lower=0.799, upper=0.801)},
        {"sd": P("HalfNormal", sigma=1e-8)},
        {"x": P("Normal", mu=1e6, sigma=1e-3)},
        {"cor": blm.LKJ(1e6)},
        {"sigma": P("HalfNormal", sigma=1e-8)},
    ],
)
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")  # short runs, of priors far from the data
def test_narrow_priors_give_finite_numbers_or_an_error_of_ours(data, priors):
    try:
        post = blm.Model("y ~ x + (x | g)", data, priors=priors).fit(
            draws=40, tune=40, chains=2, random_seed=1, progressbar=False
        )
    except blm.errors.BayesLMMError:
        return
    assert np.isfinite(post.fixef()["mean"]).all()
