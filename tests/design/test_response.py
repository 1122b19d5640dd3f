"""The left side of a formula: what every family accepts, and by which rows and values it refuses the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from scipy import special
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.errors import (
    DataError,
    DroppedCategoriesWarning,
    DroppedRowsWarning,
    FormulaError,
    NotAvailableError,
    PriorError,
)
from bayeslmm.families import family_of

ROWS = [f"r{k}" for k in range(8)]
YES_NO = ["no", "yes"] * 4


def design(left, family, *, right="1 + (1 | g)", weights=None, **columns):
    data = pd.DataFrame({"g": list("aabbccdd"), "x": [1.0, 3, 2, 5, 4, 7, 6, 8]}, index=ROWS)
    return build_design(f"{left} ~ {right}", data.assign(**columns), family=family_of(family), weights=weights)


# -- refused


BAD = [
    # family, left side, columns, what the message says; {rows} and values as the user knows them
    (
        "binomial",
        "p(s, m)",
        {"s": [0, 1, 6, 3, 4, 5, 0, 7], "m": 5},
        r"more successes than trials; rows 'r2', 'r7' \(first: 6\)",
    ),
    (
        "binomial",
        "p(s, m)",
        {"s": [0, -1, 2, 3, 4, 5, 0, -7], "m": 5},
        r"successes must be whole numbers, zero or more; rows 'r1', 'r7' \(first: -1\)",
    ),
    (
        "binomial",
        "p(s, m)",
        {"s": [0, 0.5, 2, 3, 4, 5, 0, 1], "m": 5},
        r"successes must be whole numbers.*row 'r1' \(first: 0\.5\)",
    ),
    (
        "binomial",
        "p(s, m)",
        {"s": 0, "m": [5, 5, 5, 5, 5, 5, 5, 2.5]},
        r"trials must be whole numbers.*row 'r7' \(first: 2\.5\)",
    ),
    (
        "binomial",
        "p(s, m)",
        {"s": 0, "m": [5, -5, 5, 5, 5, 5, 5, 5]},
        r"trials must be whole numbers, zero or more; row 'r1' \(first: -5\)",
    ),
    (
        "binomial",
        "y",
        {"y": [0, 0.2, 0.4, 0, 1, 0, 1, 0]},
        r"must be a whole number; rows 'r1', 'r2' \(first: 0\.2\).*p\(successes, trials\).*weights=trials",
    ),
    (
        "binomial",
        "y",
        {"y": [0, 1, 3, 0, 1, 0, 1, 0]},
        r"proportions between 0 and 1; row 'r2' \(first: 3\).*p\(successes, trials\)",
    ),
    *[
        (f, "y", {"y": [0, 1.5, 2, 3, 4, 5, 6, 7.25]}, rf"{f}.*whole numbers.*; rows 'r1', 'r7' \(first: 1\.5\)")
        for f in ("poisson", "negbinomial")
    ],
    *[
        (f, "y", {"y": [0, 1, 2, 3, -4, 5, 6, 7]}, rf"{f}.*whole numbers, zero or more; row 'r4' \(first: -4\)")
        for f in ("poisson", "negbinomial")
    ],
    *[
        (f, "y", {"y": [1, 2, -3, 1, 2, 3, 4, 0]}, rf"{f}.*numbers above zero; rows 'r2', 'r7' \(first: -3\)")
        for f in ("gamma", "lognormal")
    ],
    (
        "beta",
        "y",
        {"y": [0, 0.5, 0.2, 1, 0.3, 0.1, 0.2, 1.5]},
        r"strictly between 0 and 1; rows 'r0', 'r3', 'r7' \(first: 0\)",
    ),
    ("bernoulli", "y", {"y": [0, 2] * 4}, r"0 or 1.*rows 'r1', 'r3', 'r5', 'r7' \(first: 2\)"),
    ("bernoulli", "y", {"y": [0, 1, 0.5, 0, 1, 0, 1, 0]}, r"0 or 1.*row 'r2' \(first: 0\.5\)"),
    ("bernoulli", "y", {"y": list("abcabcab")}, r"has 3 categories \('a', 'b', 'c'\).*I\(y == 'level'\).*ordinal"),
    ("bernoulli", "y", {"y": list("abcdefgh")}, r"has 8 categories \('a', 'b', 'c', 'd', 'e', …\)"),
    ("bernoulli", "y", {"y": ["no"] * 8}, r"has 1 categor.*'no'.*has two"),
    ("ordinal", "y", {"y": list("abcabcab")}, r"categories without an order.*pandas\.Categorical.*ordered=True"),
    ("ordinal", "y", {"y": [1, 2, 2.5, 1, 2, 3, 1, 2]}, r"ordered categories or whole numbers: row 'r2'"),
    ("ordinal", "y", {"y": [3] * 8}, r"is 3 in all rows: there is nothing to explain"),
    ("ordinal", "y", {"y": pd.Categorical(["b"] * 8, categories=["a", "b"], ordered=True)}, r"is 'b' in all rows"),
    *[(f, "y", {"y": 2.0}, r"is 2 in all 8 rows") for f in ("gaussian", "student_t", "lognormal")],
    *[
        (
            f,
            "p(s, m)",
            {"s": [0, 1, 2, 3, 4, 5, 0, 1], "m": 5},
            rf"successes and trials, which only family='binomial' and 'beta_binomial' take; this model's is '{f}'",
        )
        for f in FAMILIES
        if f != "binomial"
    ],
    *[
        (f, "y", {"y": YES_NO}, r"holds text or categories; numbers are needed.*pandas\.to_numeric.*I\(y == 'level'\)")
        for f in FAMILIES
        if f not in ("bernoulli", "ordinal")
    ],
]


@pytest.mark.parametrize(("family", "left", "columns", "message"), BAD, ids=[f"{b[0]}-{k}" for k, b in enumerate(BAD)])
def test_refused_by_row_and_value(family, left, columns, message):
    with pytest.raises(DataError, match=message):
        design(left, family, **columns)


def test_ordered_whole_numbers_that_doubles_cannot_tell_apart_are_refused():
    with pytest.raises(DataError, match="whole numbers of 2.53 and more .* rows 'r6', 'r7'"):
        design("y", "ordinal", y=[1, 1, 2, 2, 3, 3, 2**53, 2**53 + 1])
    assert design("y", "ordinal", y=[1, 1, 2, 2, 3, 3, 9, 2**53 - 1]).levels == (1, 2, 3, 9, 2**53 - 1)


def test_long_lists_of_rows_are_cut():
    with pytest.raises(DataError) as caught:
        design("y", "gamma", y=-1.0)
    assert "'r4', …" in str(caught.value) and "'r5'" not in str(caught.value)


def test_rows_are_named_as_they_are_after_others_were_dropped():
    with pytest.warns(DroppedRowsWarning), pytest.raises(DataError, match=r"row 'r6' \(first: -2\)"):
        design("y", "poisson", y=[np.nan, 1, 2, 3, 4, 5, -2, 7])


def test_a_categorical_without_an_order_is_refused_as_text_is():
    with pytest.raises(DataError, match="categories without an order"):
        design("y", "ordinal", y=pd.Categorical(["lo", "hi", "mid", "lo", "hi", "mid", "lo", "hi"]))


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "negbinomial", "gamma", "beta", "ordinal"])
def test_weights_are_refused_where_they_have_no_meaning(family):
    y = [0.2, 0.3] * 4 if family == "beta" else [0, 1] * 4 if family != "gamma" else [1.0, 2.0] * 4
    assert design("y", family, y=y).weights is None
    with pytest.raises(NotAvailableError, match=f"weights with family='{family}'.*count several times are y | weights"):
        design("y", family, y=y, w=2.0, weights="w")


def test_counts_with_trials_take_no_weights_as_well():
    with pytest.raises(NotAvailableError, match="weights with family='binomial'"):
        design("p(s, m)", "binomial", s=1, m=5, w=5.0, weights="w")


@pytest.mark.parametrize("family", ["gaussian", "student_t", "lognormal"])
def test_weights_are_kept_where_they_divide_the_variance(family):
    weights = np.arange(1.0, 9.0)
    np.testing.assert_array_equal(design("x", family, weights=weights).weights, weights)


# -- accepted


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedCategoriesWarning")
@pytest.mark.parametrize(
    ("y", "success", "levels"),
    [
        ([0, 1] * 4, 1, ()),
        ([0.0, 1.0] * 4, 1, ()),
        ([False, True] * 4, 1, ()),
        (pd.array([False, True] * 4, dtype="boolean"), 1, ()),
        (YES_NO, 1, ("no", "yes")),  # text in the order of the alphabet
        (pd.Categorical(YES_NO), 1, ("no", "yes")),
        (pd.Categorical(YES_NO, categories=["yes", "no"]), 0, ("yes", "no")),
        (pd.Categorical(YES_NO, categories=["other", "yes", "no"]), 0, ("yes", "no")),
        (pd.Categorical([2, 1] * 4), 0, (1, 2)),
    ],
)
def test_yes_and_no(y, success, levels):
    """``success`` is the place of the rows that count as one."""
    found = design("y", "bernoulli", y=y)
    expected = np.tile([0.0, 1.0] if success else [1.0, 0.0], 4)
    np.testing.assert_array_equal(found.y, expected)
    assert found.levels == levels and found.trials is None


def test_a_condition_is_a_yes_or_no():
    np.testing.assert_array_equal(design("I(y == 'no')", "bernoulli", y=YES_NO).y, [1.0, 0.0] * 4)
    levels = design("C(y, levels=['yes', 'no'])", "bernoulli", y=YES_NO)
    np.testing.assert_array_equal(levels.y, [1.0, 0.0] * 4)


def test_proportions_with_trials_as_weights_are_counts():
    successes, trials = np.array([0, 1, 2, 3, 4, 5, 0, 1]), np.array([5, 5, 7, 9, 4, 5, 3, 3])
    counts = design("p(s, m)", "binomial", s=successes, m=trials)
    shares = design("y", "binomial", y=successes / trials, m=trials, weights="m")
    for found in (counts, shares):
        np.testing.assert_array_equal(found.y, successes)
        np.testing.assert_array_equal(found.trials, trials)
        assert found.weights is None
    with pytest.raises(DataError, match=r"whole number; row 'r2' \(first: 0\.3\)"):
        design("y", "binomial", y=np.where(trials == 7, 0.3, successes / trials), m=trials, weights="m")
    with pytest.raises(DataError, match="whole number"):
        design("y", "binomial", y=successes / trials, m=trials + 0.5, weights="m")


def test_trials_may_be_one_number_or_none_at_all():
    np.testing.assert_array_equal(design("p(s, 5)", "binomial", s=3).trials, np.full(8, 5.0))
    single = design("y", "binomial", y=[0, 1] * 4)
    np.testing.assert_array_equal(single.trials, np.ones(8))
    np.testing.assert_array_equal(single.y, [0.0, 1.0] * 4)
    empty = design("p(s, m)", "binomial", s=[0, 1] * 4, m=[0, 5] * 4)  # no trial, no information
    np.testing.assert_array_equal(empty.trials, [0.0, 5.0] * 4)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedCategoriesWarning")
@pytest.mark.parametrize(
    ("y", "codes", "levels"),
    [
        ([10, 20, 40, 10, 20, 20, 40, 10], [0, 1, 2, 0, 1, 1, 2, 0], (10, 20, 40)),
        ([1.0, -1.0] * 4, [1, 0] * 4, (-1, 1)),
        (
            pd.Categorical(list("abdabdab"), categories=["d", "c", "b", "a"], ordered=True),
            [2, 1, 0, 2, 1, 0, 2, 1],  # c does not occur
            ("d", "b", "a"),
        ),
        (pd.Categorical([3, 1] * 4, categories=[3, 2, 1], ordered=True), [0, 1] * 4, (3, 1)),
    ],
)
def test_ordered_categories(y, codes, levels):
    found = design("y", "ordinal", y=y)
    np.testing.assert_array_equal(found.y, codes)
    assert found.levels == levels


def test_text_with_its_order_in_the_formula():
    found = design("C(y, levels=['lo', 'mid', 'hi'])", "ordinal", y=["hi", "lo", "mid", "lo"] * 2)
    np.testing.assert_array_equal(found.y, [2, 0, 1, 0] * 2)
    assert found.levels == ("lo", "mid", "hi")


@pytest.mark.parametrize("family", FAMILIES)
def test_responses_are_read_only(family):
    values = {"beta": [0.25, 0.75], "bernoulli": [0, 1], "binomial": [0, 1]}
    found = design("y", family, y=values.get(family, [1, 2]) * 4)
    assert found.y.dtype == np.float64 and not found.y.flags.writeable


# -- ordinal designs


def ordinal(right):
    return design("y", "ordinal", right=right, y=[1, 2, 3, 1, 2, 3, 1, 2], f=list("pqrpqrpq"))


@pytest.mark.parametrize("right", ["f + (1 | g)", "x + f + (x | g)", "1 + x:f + (1 | g)", "x + (1 | g)"])
def test_cutpoints_stand_in_place_of_the_intercept(right):
    """The columns of the fixed part are those of a model with an intercept, without it."""
    ours = ordinal(right)
    other = design("k", "poisson", right=right, f=list("pqrpqrpq"), k=[0, 1, 2, 3, 1, 0, 4, 2])
    assert other.x_names[0] == "Intercept"
    assert ours.x_names == other.x_names[1:] and not ours.has_intercept
    np.testing.assert_array_equal(ours.X, other.X[:, 1:])
    assert [g.columns for g in ours.groups] == [g.columns for g in other.groups]  # random intercepts stay


def test_new_rows_of_an_ordinal_design_have_no_intercept_either():
    found = ordinal("x + f + (1 | g)")
    new = found.at(pd.DataFrame({"x": [2.0, 3.0], "f": ["r", "p"], "g": ["a", "z"]}))
    assert found.x_names == ("x", "f[q]", "f[r]")
    np.testing.assert_array_equal(new.X, [[2, 0, 1], [3, 0, 0]])


def test_an_ordinal_design_without_predictors():
    found = ordinal("1 + (1 | g)")
    assert found.x_names == () and found.X.shape == (8, 0)


def test_a_left_out_intercept_changes_no_coding():
    """There is none to leave out: a full coding would be collinear with the cutpoints."""
    full = design("x", "gaussian", right="0 + f + (1 | g)", f=list("pqrpqrpq"))
    assert full.x_names == ("f[p]", "f[q]", "f[r]")
    assert ordinal("0 + f + (1 | g)").x_names == ("f[q]", "f[r]")


# -- categories that were declared


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (["none", "low", "mid", "high"], r"no row in 'none'.*never are in it"),
        (["low", "rather low", "mid", "high", "highest"], r"'rather low', 'highest'.*never are in them"),
    ],
)
def test_declared_categories_without_rows_are_told(declared, words):
    y = pd.Categorical(["low", "mid", "high", "mid"] * 2, categories=declared, ordered=True)
    with pytest.warns(DroppedCategoriesWarning, match=words):
        without = design("y", "ordinal", y=y)
    assert without.levels == ("low", "mid", "high")
    assert design("y", "ordinal", y=y.remove_unused_categories()).levels == without.levels


def of_three(levels, **options):
    rng = fixed_rng(3)
    data = pd.DataFrame({"y": rng.integers(1, 4, 60), "x": rng.normal(size=60), "g": np.arange(60) % 6})
    left = "y" if levels is None else f"C(y, levels={levels})"
    return blm.Model(f"{left} ~ x + (1 | g)", data, family="ordinal", **options)


@pytest.mark.parametrize(
    ("levels", "empty"), [([0, 1, 2, 3], (0,)), ([1, 1.5, 2, 3], (1.5,)), ([1, 2, 3, 4, 5], (4, 5))]
)
def test_categories_without_rows_may_be_kept_for_a_posterior(levels, empty):
    """A likelihood has no maximum with them, and a flat prior no posterior."""
    model = of_three(levels)
    assert model.design.levels == tuple(levels) and model.design.empty_categories == empty
    for verb in (model.fit_ml, model.fit_reml, lambda: blm.no_pooling(model), lambda: blm.compare_pooling(model)):
        with pytest.raises(NotAvailableError, match=f"no row in {empty[0]}.*Its limit is the model without"):
            verb()
    fit = of_three(None).fit_ml(nAGQ=1)
    with pytest.raises(NotAvailableError, match="Its limit is the model without"):
        fit.update(f"C(y, levels={levels}) ~ .")
    with pytest.raises(PriorError, match=f"no row is in {empty[0]}"):
        of_three(levels, priors={"cutpoint": blm.flat()})


def test_levels_that_all_have_rows_are_the_plain_model():
    named = of_three([1, 2, 3])
    assert named.design.empty_categories == ()
    assert named.fit_ml(nAGQ=1).loglik == pytest.approx(of_three(None).fit_ml(nAGQ=1).loglik, abs=1e-9)


def test_priors_give_a_category_without_rows_its_probability():
    """Of two cutpoints the data tell the upper one: against a sum over a grid of both and a slope of zero."""
    y = np.repeat([1, 2], [12, 18])
    model = blm.Model(
        "C(y, levels=[0, 1, 2]) ~ x",
        pd.DataFrame({"y": y, "x": np.tile([-1.0, 1.0], 15)}),
        family="ordinal",
        priors={"x": blm.Prior("Normal", mu=0, sigma=1e-4)},
    )
    post = model.fit(draws=2000, tune=500, chains=2, random_seed=1, progressbar=False)
    ours = post.predict(pd.DataFrame({"x": [0.0]}), draws=True).to_numpy().reshape(-1, 3).mean(axis=0)
    cuts = np.linspace(-12.0, 6.0, 1801)
    low, high = np.meshgrid(cuts, cuts, indexing="ij")
    at_most_0, at_most_1 = special.expit(low), special.expit(high)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_density = 12 * np.log(at_most_1 - at_most_0) + 18 * np.log1p(-at_most_1)
        log_density -= 0.5 * (low**2 + high**2) / 2.5**2
    weights = np.where(low < high, np.exp(log_density - np.nanmax(log_density[low < high])), 0.0)
    share = (weights * at_most_0).sum() / weights.sum()
    assert 0.005 < share < 0.2
    # an effective number of draws of 1,000 leaves a share of about its own size an error of 4 %
    assert ours[0] == pytest.approx(share, rel=0.2)
    assert ours[2] == pytest.approx((weights * (1 - at_most_1)).sum() / weights.sum(), abs=0.02)


def test_numbers_declare_no_categories():
    assert design("y", "ordinal", y=[1, 2, 4, 1, 2, 4, 1, 2]).levels == (1, 2, 4)


@pytest.mark.parametrize(
    "right", ["y", "x + I(y**2)", "x:y", "x + (y | g)", "x + (1 | y)", "x + (1 | g:y)", "s(y, k=4)"]
)
@pytest.mark.parametrize("left", ["y", "np.log(y)", "p(y, m)", "cens(y, event)", "y | weights(m)", "y['1']"])
def test_what_is_explained_does_not_explain_itself(left, right):
    """It was refused for normal responses alone, and there where a variance gave it away."""
    rng, n = np.random.default_rng(0), 24
    data = pd.DataFrame({"y": rng.integers(1, 3, n), "x": rng.normal(size=n), "g": np.arange(n) % 4, "m": 5})
    data["event"] = data["x"] > 0
    family = {"p": "binomial", "c": "lognormal"}.get(left[0], "bernoulli" if "[" in left else "gaussian")
    with pytest.raises(FormulaError, match="the response 'y' is among its own predictors"):
        build_design(f"{left} ~ {right}", data, family=family_of(family))
    for more in (
        {"family": "negbinomial", "shape": "~ y"},
        {"sigma": "~ y"},
        {"residual": "cs(1 | y)"},
        {"offset": "y"},
    ):
        with pytest.raises(FormulaError, match="among its own predictors"):
            blm.Model("y ~ x + (1 | g)", data, **more)


@pytest.mark.parametrize(
    ("left", "family", "words"),
    [
        ("p(c, 1)", "binomial", "the successes hold text or categories, not numbers"),
        ("p(k, c)", "binomial", "the trials hold text or categories, not numbers"),
        ("p(t, 3)", "beta_binomial", "the successes hold text or categories, not numbers"),
        ("cens(x, s, t)", "lognormal", "upper holds other things than numbers"),
        ("cens(x, s, [1, 2])", "lognormal", "upper is one column of numbers"),
        ("cens(t, s)", "weibull", "y holds other things than numbers"),
    ],
)
def test_text_in_the_place_of_numbers_of_a_response_is_refused(left, family, words):
    columns = {"c": pd.Categorical(list("abababab")), "t": list("abcdefgh"), "k": 1, "s": ["none", "interval"] * 4}
    with pytest.raises(DataError, match=words):
        design(left, family, **columns)


def test_a_third_category_without_rows_is_told_of_two_as_well():
    """As of ordered ones: a binary response left it out without a word."""
    declared = pd.Categorical(YES_NO, ["no", "yes", "perhaps"])
    with pytest.warns(DroppedCategoriesWarning, match="no row in 'perhaps'"):
        assert design("y", "bernoulli", y=declared).levels == ("no", "yes")
    assert design("y", "categorical", y=declared).levels == ("no", "yes", "perhaps")


def test_a_change_may_hang_on_the_value_before():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"before": rng.normal(size=24), "m": np.tile([5, 7], 12), "g": np.arange(24) % 4, "s": 2})
    data["after"], data["s"] = data["before"] + rng.normal(size=24), rng.integers(0, 5, 24)
    assert build_design("I(after - before) ~ before + (1 | g)", data).x_names == ("Intercept", "before")
    assert "m" in build_design("p(s, m) ~ m + (1 | g)", data, family=family_of("binomial")).x_names
