"""In which coordinates NUTS moves: what the data suggest, what a user may override, and the rough fit behind it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.engine.geometry import (
    CENTRED_ABOVE,
    FEW_LEVELS,
    NOT_BELOW,
    SURE,
    choose_geometry,
    learned_centring,
    middle_shifts,
)
from bayeslmm.engine.pql import rough_fit
from bayeslmm.errors import InputError
from bayeslmm.families import family_of
from bayeslmm.results.nuts import geometry_table

NESTED = "strength ~ 1 + (1 | batch/cask)"


def design_of(formula, name, family="gaussian"):
    return build_design(formula, blm.load_dataset(name), family=family_of(family), namespace={"np": np})


def suggested(formula, name, family="gaussian"):
    design = design_of(formula, name, family)
    return design, choose_geometry(design, rough_fit(design))


def around(design, geometry):
    """What every column is sampled around, in words; centred ones that hold no fixed effect around zero."""
    table = geometry_table(design, geometry)
    return dict(zip(zip(table["group"], table["term"], strict=True), table["around"], strict=True))


def balanced(levels, rows, ratio, seed=1):
    """Standardised so that the reliability of a level's mean is known: ratio² rows / (ratio² rows + 1)."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), rows)
    effects = rng.normal(size=levels)
    effects = (effects - effects.mean()) / effects.std(ddof=1)
    noise = rng.normal(size=(levels, rows))
    noise -= noise.mean(axis=1, keepdims=True)
    noise /= np.sqrt((noise**2).sum() / (levels * (rows - 1)))
    # means of levels vary by τ² + σ²/rows in expectation: made exact
    y = np.sqrt(ratio**2 + 1 / rows) * effects[g] + noise.reshape(-1)
    return build_design("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}))


# -- what the data suggest


def test_schools_tell_their_means_but_not_their_slopes():
    """About 45 pupils a school: means are known, slopes are not."""
    design, geometry = suggested("mathach ~ ses + (ses | school)", "hsb")
    school = geometry.placements["school"]
    assert school.is_centred(0) and not school.is_centred(1)
    assert set(np.unique(school.weights[:, 1])) == {0.0}  # correlated columns are sampled one way or the other
    # lme4: sd 2.2 of intercepts beside a residual 6.1, 45 rows: 1 − 1/(1 + 45 · 0.13) = 0.85; slopes 0.2
    assert school.reliability == pytest.approx((0.84, 0.2), abs=0.05)
    assert around(design, geometry)["school", "Intercept"] != "zero"
    assert around(design, geometry)["school", "ses"] == "zero"


def test_without_rough_estimates_nothing_is_centred():
    design = design_of("Reaction ~ Days + (Days | Subject)", "sleepstudy")
    geometry = choose_geometry(design, None)
    assert not geometry.placements["Subject"].weights.any()
    assert np.isnan(geometry.placements["Subject"].reliability).all()
    assert set(around(design, geometry).values()) == {"zero"}
    assert choose_geometry(design, rough_fit(design)).placements["Subject"].weights.all()  # with them, all is


@pytest.mark.parametrize(
    ("levels", "rows", "ratio", "expected"),
    [
        (40, 4, 0.2, 0.0),  # reliability 0.14
        (40, 4, 0.6, "between"),  # 0.59
        (40, 4, 1.0, 1.0),  # 0.8
        (6, 4, 1.0, "between"),  # 0.8 of few levels
        (6, 4, 0.6, "between"),
        (6, 4, 3.0, 1.0),  # 0.973
    ],
)
def test_reliability_decides_and_few_levels_make_it_careful(levels, rows, ratio, expected):
    geometry = choose_geometry(*(lambda d: (d, rough_fit(d)))(balanced(levels, rows, ratio)))
    placement = geometry.placements["g"]
    true = ratio**2 * rows / (ratio**2 * rows + 1)
    # what is left of an effect includes that of the mean over all levels: of the order of 1/levels
    assert placement.reliability[0] == pytest.approx(true, abs=1.0 / levels + 0.01)
    wanted = placement.reliability[0] if expected == "between" else expected
    np.testing.assert_allclose(placement.weights, wanted, rtol=1e-6)
    assert placement.is_centred(0) == (expected == 1.0)
    assert geometry.few_levels == (levels < FEW_LEVELS)
    assert 0 < NOT_BELOW < CENTRED_ABOVE < SURE < 1


def test_a_variance_of_zero_is_not_centred():
    design, geometry = suggested("Yield ~ 1 + (1 | Batch)", "dyestuff2")
    assert geometry.placements["Batch"].reliability == (0.0,)
    assert not geometry.placements["Batch"].weights.any()
    assert set(around(design, geometry).values()) == {"zero"}


def test_rows_that_tell_more_are_weighed_more():
    """Weights between go level by level: herds with many cows lean to the centred side."""
    design, geometry = suggested("p(incidence, size) ~ period + (1 | herd)", "cbpp", "binomial")
    weights = geometry.placements["herd"].weights[:, 0]
    assert ((weights > 0) & (weights < 1)).all()
    successes = np.bincount(design.groups[0].codes, design.y)
    assert np.corrcoef(weights, successes)[0, 1] > 0.5  # information is trials · p (1 − p)


# -- factors inside factors


def test_an_inner_factor_is_sampled_around_its_outer_one():
    design, geometry = suggested(NESTED, "pastes")
    batch, cask = geometry.placements["batch"], geometry.placements["batch:cask"]
    assert geometry.order == ("batch", "batch:cask")
    assert (batch.parent, cask.parent) == ("", "batch")
    inner = next(g for g in design.groups if g.name == "batch:cask")
    labels = [str(design.groups[0].levels[k]) for k in cask.above]
    assert labels == [str(level).split(":")[0] for level in inner.levels]  # the cask A:a is one of batch A
    assert cask.is_centred(0) and geometry.above_column(inner, 0) == 0
    assert around(design, geometry)["batch", "Intercept"] == "zero"
    assert around(design, geometry)["batch:cask", "Intercept"].endswith(" + batch")
    outside = next(g for g in design.groups if g.name == "batch")
    assert geometry.above_column(outside, 0) is None


def test_crossed_factors_have_no_outer_one():
    design, geometry = suggested("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin")
    assert {p.parent for p in geometry.placements.values()} == {""}
    # both are centred; β moves with the samples, of which there are six with an sd of 1.9 beside 24 with 0.8
    assert all(p.is_centred(0) for p in geometry.placements.values())
    found = around(design, geometry)
    assert found["plate", "Intercept"] == "zero" and found["sample", "Intercept"] != "zero"


def test_a_chain_of_three_takes_the_finest_factor_above():
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"a": np.arange(96) // 24, "b": np.arange(96) // 8, "c": np.arange(96) // 2})
    design = build_design("y ~ 1 + (1 | a) + (1 | b) + (1 | c)", d.assign(y=rng.normal(size=96)))
    geometry = choose_geometry(design, None, {"a": 1, "b": 1, "c": 1})
    assert [geometry.placements[k].parent for k in "abc"] == ["", "a", "b"]
    np.testing.assert_array_equal(geometry.placements["c"].above, np.arange(48) // 4)


def test_an_intercept_far_from_its_predictors_comes_last():
    """At zero an intercept and a slope of x ≈ 9 are one number given few rows; in the middle they are two."""
    rng = np.random.default_rng(3)
    g = np.arange(200) % 20
    for shift, order in ((0.0, (0, 1)), (9.0, (1, 0))):
        x = rng.normal(shift, 1, 200)
        y = 3 * rng.normal(size=20)[g] + 3 * rng.normal(size=20)[g] * x + rng.normal(size=200)
        design = build_design("y ~ x + (x | g)", pd.DataFrame({"x": x, "g": g, "y": y}))
        placement = choose_geometry(design, None, {"g": 1.0}).placements["g"]
        assert placement.blocks == (order,)
        assert choose_geometry(design, None).placements["g"].blocks == ((0, 1),)  # z needs no such thing
    assert middle_shifts(design.groups[0], (1, 0), 1) == [(1, pytest.approx(x.mean()))]
    assert middle_shifts(design.groups[0], (1, 0), 0) == []


# -- overridden


def test_weights_of_the_user_replace_those_suggested():
    design, _ = suggested("mathach ~ ses + (ses | school)", "hsb")
    rough = rough_fit(design)

    def weights(given):
        return choose_geometry(design, rough, given).placements["school"].weights

    np.testing.assert_array_equal(weights({"school": 0}), 0.0)
    np.testing.assert_array_equal(weights({"school": 1}), 1.0)
    np.testing.assert_array_equal(weights({("school", "ses"): 0.3}), np.tile([1.0, 0.3], (160, 1)))
    for given in ({"school": 0, ("school", "ses"): 1}, {("school", "ses"): 1, "school": 0}):  # in any order
        np.testing.assert_array_equal(weights(given), np.tile([0.0, 1.0], (160, 1)))
    assert set(around(design, choose_geometry(design, rough, {"school": 0})).values()) == {"zero"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nope": 1}, r"'nope' is no grouping factor or column; there are 'batch', 'batch:cask', \('batch', 'Interc"),
        ({"cask": 1}, "'cask' is no grouping factor"),
        ({("batch", "x"): 1}, r"\('batch', 'x'\) is no grouping factor or column"),
        ({("batch", "Intercept", "x"): 1}, "is no grouping factor or column"),
        ({"batch": 1.5}, r"centring=\{'batch': 1\.5\}: a weight lies between 0 \(not centred\) and 1 \(centred\)"),
        ({"batch": -0.1}, "lies between 0"),
        ({"batch": float("nan")}, "lies between 0"),
        ({"batch": "1"}, "lies between 0"),
    ],
)
def test_overrides_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        choose_geometry(design_of(NESTED, "pastes"), None, given)
    with pytest.raises(InputError, match=message):
        model = blm.Model(NESTED, blm.load_dataset("pastes"))
        model.fit(method="nuts", centring=given, progressbar=False, draws=10, tune=10)


@pytest.mark.parametrize("given", [{"batch": None}, {"batch": [0, 1]}, [("batch", 1)]])
def test_overrides_of_other_types(given):
    with pytest.raises(InputError, match="centring"):
        choose_geometry(design_of(NESTED, "pastes"), None, given)


def test_a_wrong_override_is_told_when_the_exact_sampler_is_used():
    with pytest.raises(InputError, match="centring"):
        blm.Model(NESTED, blm.load_dataset("pastes")).fit(centring={"nope": 1}, draws=500, progressbar=False)


# -- the table


def test_the_table_of_a_model():
    table = blm.Model(NESTED, blm.load_dataset("pastes")).geometry
    assert list(table.columns) == ["group", "term", "reliability", "centring", "around"]
    assert list(table["group"]) == ["batch", "batch:cask"] and set(table["term"]) == {"Intercept"}
    assert list(table["centring"]) == [0.0, 1.0]
    assert table["around"][0] == "zero" and table["around"][1].endswith(" + batch")
    assert table["reliability"].between(0, 1).all()


def test_the_table_of_a_model_without_groups_is_empty():
    table = blm.Model("Yield ~ 1", blm.load_dataset("dyestuff")).geometry
    assert list(table.columns) == ["group", "term", "reliability", "centring", "around"] and table.empty


def test_another_formula_has_another_table():
    model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    assert list(model.geometry["term"]) == ["Intercept", "Days"]
    assert list(model.update("Reaction ~ Days + (1 | Subject)").geometry["term"]) == ["Intercept"]


# -- rough estimates


def test_rough_estimates_are_close_to_glmers():
    design = design_of("p(incidence, size) ~ period + (1 | herd)", "cbpp", "binomial")
    rough = rough_fit(design)
    glmer = np.array([-1.3985, -0.9923, -1.1287, -1.5803])  # Laplace approximation, sd of herds 0.6423
    # quasi-likelihood draws effects and sd towards zero, by some 10 % with 15 cows a herd and period
    # (Breslow & Clayton 1993); for geometry and starts twice as much would do
    np.testing.assert_allclose(rough.solution.beta, glmer, rtol=0.1)
    sd = float(np.sqrt(rough.solution.covariances[0][0, 0]))
    assert 0.8 * 0.6423 < sd < 0.6423
    # a row of m trials tells m p (1 − p), less by the overdispersion that quasi-likelihood finds
    p = family_of("binomial").mean(np.array([glmer[0]]))
    first = design.X[:, 1:].sum(axis=1) == 0
    expected = design.trials[first] * p * (1 - p) / rough.solution.sigma**2
    np.testing.assert_allclose(rough.information[first].sum(), expected.sum(), rtol=0.2)


def test_rough_estimates_of_a_normal_model_are_those_of_reml():
    model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    rough, reml = rough_fit(model.design), model.fit_reml()
    np.testing.assert_array_equal(rough.solution.beta, reml.solution.beta)
    np.testing.assert_allclose(rough.information, reml.sigma**-2)


TRUE = {"sd": 0.5, "slope": 0.4}
MIDDLE = {"inverse": 3.0, "sqrt": 3.0, "identity": 8.0}  # linear predictors whose means stay in the support


def simulated(family, link, seed=4):
    rng = fixed_rng(seed)  # how near rough estimates come to the truth depends on the data
    of = family_of(family, link)
    n, g = 1000, np.arange(1000) % 40
    x = rng.normal(size=n)
    effects = rng.normal(0, TRUE["sd"], 40)
    eta = MIDDLE.get(link, 0.2) + TRUE["slope"] * np.clip(x, -2, 2) + effects[g]
    mu, m = of.mean(eta), rng.integers(5, 20, n)
    if family in ("beta", "bernoulli", "binomial"):
        mu = np.clip(mu, 1e-3, 1 - 1e-3)
    y = {
        "gaussian": lambda: rng.normal(mu, 0.05 if link == "inverse" else 0.6),
        "student_t": lambda: mu + (0.05 if link == "inverse" else 0.4) * rng.standard_t(5, n),
        "lognormal": lambda: np.exp(rng.normal(eta - MIDDLE["identity"], 0.6)),
        "bernoulli": lambda: rng.binomial(1, mu),
        "binomial": lambda: rng.binomial(m, mu),
        "poisson": lambda: rng.poisson(mu),
        "negbinomial": lambda: rng.negative_binomial(50, 50 / (50 + mu)),
        "gamma": lambda: rng.gamma(9, mu / 9),
        "beta": lambda: np.clip(rng.beta(30 * mu, 30 * (1 - mu)), 1e-6, 1 - 1e-6),
        "ordinal": lambda: (of.eta(rng.uniform(size=n))[:, None] + eta[:, None] > [-1.0, 0.0, 1.5]).sum(axis=1),
    }[family]()
    left = "p(y, m)" if family == "binomial" else "y"
    data = pd.DataFrame({"y": y, "x": np.clip(x, -2, 2), "g": g, "m": m})
    return build_design(f"{left} ~ x + (1 | g)", data, family=of)


PAIRS = [(f, link) for f, kind in FAMILIES.items() for link in kind.links]


@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_rough_estimates_of_every_family(family, link):
    rough = rough_fit(simulated(family, link))
    assert rough is not None
    found = rough.solution
    sd, slope = float(np.sqrt(found.covariances[0][0, 0])), float(found.beta[-1])
    assert np.isfinite(found.beta).all() and np.isfinite(sd) and found.sigma > 0
    assert np.isfinite(rough.information).all() and (rough.information > 0).all()
    if family == "lognormal":
        return  # below
    # slopes have standard errors near 0.03, sds near 0.07; binary data draw both towards zero by some 15 %,
    # and an ordinal response is cut in two, so within a third says that the right thing is estimated
    assert slope == pytest.approx(TRUE["slope"], rel=0.35)
    # 25 counts around 8 have a mean with a standard error of 0.6, which tells little of an sd of 0.5
    counts = family in ("poisson", "negbinomial") and link == "identity"
    assert sd == pytest.approx(TRUE["sd"], rel=0.7 if counts else 0.4)


def test_rough_estimates_of_a_lognormal_model_are_of_the_logarithm():
    found = rough_fit(simulated("lognormal", "identity")).solution
    assert found.beta[-1] == pytest.approx(TRUE["slope"], rel=0.2)
    assert found.sigma == pytest.approx(0.6, rel=0.1)


def test_rough_estimates_give_up_rather_than_leave_the_support():
    """A linear predictor that fits by a negative mean: there are no working weights."""
    x = np.linspace(0, 1, 60)
    d = pd.DataFrame({"x": x, "g": np.arange(60) % 6, "y": np.round(40 * (x > 0.5) * x**3)})
    design = build_design("y ~ x + (1 | g)", d, family=family_of("poisson", "identity"))
    assert rough_fit(design) is None
    assert not choose_geometry(design, rough_fit(design)).placements["g"].weights.any()


@pytest.mark.parametrize(("reliability", "weight"), [(0.1, 0.0), (0.6, 0.6), (0.9, 1.0)])
def test_draws_teach_the_weights_that_rough_estimates_miss(reliability, weight):
    """Effects b with Var(b | y) = (1 − r)τ² around modes: r is their reliability."""
    data = pd.DataFrame({"y": np.tile([0.0, 1.0], 20), "g": np.repeat(np.arange(20), 2)})
    design = blm.Model("y ~ 1 + (1 | g)", data).design
    rng, modes = np.random.default_rng(1), np.random.default_rng(2).normal(size=20)
    draws = modes + np.sqrt(1.0 - reliability) * rng.normal(size=(2000, 20))
    for start in (0.0, 0.3, 1.0):
        geometry = choose_geometry(design, None, {"g": start})
        learned = learned_centring(design.groups, geometry, {"g": draws[..., None]}, {"g": np.ones((2000, 1))})
        assert learned.get(("g", "Intercept"), start) == pytest.approx(weight, abs=0.02)
