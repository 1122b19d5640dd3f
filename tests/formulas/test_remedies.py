"""What newcomers write in formulas: each gets the thing, or one sentence that leads to it."""

import re

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.errors import BayesLMMError, FormulaError
from bayeslmm.families import family_of
from bayeslmm.formulas.remedies import AROUND_FORMULA, BESIDE_RESPONSE, DOTTED, REMEDIES


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    n = 60
    data = pd.DataFrame(
        {
            "x": rng.uniform(1, 2, n),
            "z": rng.normal(size=n),
            "w": rng.uniform(1, 2, n),
            "t": np.tile(range(6), 10),
            "f": rng.choice([*"pqr"], n),
            "g": np.repeat([*"abcdefghij"], 6),
            "s": rng.integers(0, 5, n),
            "n": 9,
        }
    )
    data["fails"], data["y"] = data["n"] - data["s"], data["z"] + rng.normal(size=n)
    return data


THE_THING = {  # as written: what it is
    "y ~ I(sin(2*pi*x))": "y ~ np.sin(2 * np.pi * x)",
    "y ~ pmax(x, z)": "y ~ np.maximum(x, z)",
    "y ~ pmin(x, 1.5)": "y ~ np.minimum(x, 1.5)",
    "y ~ ifelse(x > 1.5, 1, 0)": "y ~ np.where(x > 1.5, 1, 0)",
    "y ~ I(x - mean(x))": "y ~ center(x)",
    "y ~ I((x - mean(x)) / sd(x))": "y ~ scale(x)",
    "y ~ I(x^2) + (I(x^2) | g)": "y ~ I(x**2) + (I(x**2) | g)",
    "y ~ C(f, contr.sum)": "y ~ C(f, Sum)",
    "y ~ relevel(f, ref='q')": "y ~ T(f, ref='q')",
    "y ~ factor(s)": "y ~ C(s)",
    "y ~ as.factor(s) * z": "y ~ C(s) * z",
    "y ~ I(!(x > 1.5))": "y ~ I(x <= 1.5)",
    "y ~ log1p(x) + sqrt(x) + abs(z)": "y ~ np.log1p(x) + np.sqrt(x) + np.abs(z)",
    "y ~ exp(z) + round(z)": "y ~ np.exp(z) + np.round(z)",
    "y ~ np.isin(f, c('p', 'q'))": "y ~ np.isin(f, ['p', 'q'])",
    "y ~ I(I(x) + I(z^2))": "y ~ I(x + z**2)",
    "y ~ poly(x, 2, raw=TRUE)": "y ~ poly(x, 2, raw=True)",
    "log(x) ~ z": "np.log(x) ~ z",
    "cbind(s, fails) ~ x": "p(s, n) ~ x",
    "cbind(s, n - s) ~ x": "p(s, n) ~ x",
    "s | trials(n) ~ x": "p(s, n) ~ x",
    "s | trials(9) ~ x + (1 | g)": "p(s, n) ~ x + (1 | g)",
}


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("written", THE_THING)
def test_the_thing(data, written, trust):
    options = {"trust": trust}
    if "p(s, n)" in THE_THING[written]:
        options["family"] = family_of("binomial")
    one, other = (build_design(text, data, **options) for text in (written, THE_THING[written]))
    for name in ("X", "y", "offset"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-14, atol=1e-15)
    if one.trials is not None:
        np.testing.assert_array_equal(one.trials, other.trials)
    for group, same in zip(one.groups, other.groups, strict=True):
        np.testing.assert_array_equal(group.Z, same.Z)


LEADS = {
    "y | se(w) ~ x": r"se='s'",
    "y | trunc(lb=0) ~ x": "pymc_parts",
    "y | rate(n) ~ x": r"offset\(log",
    "y | subset(w) ~ x": r"data\[condition\]",
    "y | foo(w) ~ x": "left side of '~'",
    "y ~ x, random = ~1 | g": r"bars in it, \(1 \| g\)",
    "y ~ x + [1 | g]": r"round parentheses: \(1 \| g\)",
    "y ~ x + (x | p | g)": r"Write \(x \| g\)",
    "y ~ splines::bs(x, 3)": "leave the name of R's package out",
    "Surv(x, s) ~ z": r"cens\(y, status\)",
    "y ~ x + (dummy(f, 'p') | g)": r"I\(f == 'a'\)",
    "y ~ Q('x')": "backticks",
    "y ~ mo(x)": r"C\(x, Poly\)",
    "y ~ ar(t, g)": r"residual='ar1\(time",
    "y ~ gp(x)": r"bs\(x",
    "y ~ te(x)": r"s\(x, by=f\)",
    "y ~ te(x, z)": r"bs\(x",
    "y ~ t2(x, z)": r"bs\(x",
    "y ~ me(x, w)": "pymc_parts",
    "y ~ mi(x)": "pymc_parts",
    "y ~ ns(x, 3)": r"cr\(x",
    "y ~ x + Error(g)": r"\(1 \| g\)",
    "y ~ cut(x, 3)": "pandas.cut",
    "y ~ x^2": r"I\(x\*\*2\)",
    "y ~ g %in% f": "g:f",
    "y ~ .": "name the columns",
    "y ~ I(f %in% c('p'))": r"np.isin\(x",
    "y ~ as.numeric(x)": "pandas.to_numeric",
    "y ~ I(is.na(x))": r"isna\(\)",
    "y ~ x + cumsum(z)": "cumsum",
    "y ~ lag(x)": r"shift\(\)",
    "y ~ interaction(f, g)": "a:b",
    "y ~ x == 1": r"I\(x == 1\)",
    "y ~ cbind(s, fails)": r"p\(successes, trials\)",
    "y ~ us(x)": r"diag\(x \| g\)",
    "y ~ ar1(f)": r"ar1\(0 \+ f \| g\)",
    "y ~ homdiag(x | g)": r"diag\(x \| g, hom=True\)",
    "y ~ x + mean(z)": "one value for each",
    "y ~ (1 | log(x))": "grouping factor is a column",
    "y ~ log(y ~ x)": "cannot be read",
    "y ~ rank(x)": r"rank\(\)",
    "y ~ x + (mo(z) | g)": r"C\(x, Poly\)",
    "s(y) ~ x": r"bs\(x",
    "y ~ offset(gp(x))": r"bs\(x",
}


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("written", LEADS)
def test_one_sentence_leads_on(data, written, trust):
    with pytest.raises(BayesLMMError, match=LEADS[written]):
        blm.Model(written, data, trust=trust)


@pytest.mark.parametrize("name", [*REMEDIES, *DOTTED])
def test_every_word_leads_on_from_wherever_it_stands(data, name):
    sentence = {**REMEDIES, **DOTTED}[name]
    for text in (f"y ~ z + {name}(x)", f"y ~ ({name}(x) | g)", f"y ~ offset(2 * {name}(x))", f"y ~ I({name}(x) + 1)"):
        for trust in (True, False):
            with pytest.raises(BayesLMMError) as refusal:
                build_design(text, data, trust=trust)
            assert sentence.rstrip(".") in str(refusal.value)


@pytest.mark.parametrize("call", AROUND_FORMULA)
def test_a_formula_inside_a_function_stands_alone(call):
    with pytest.raises(FormulaError, match=rf"{re.escape(call)}\(\) is not needed: the formula stands alone"):
        blm.Model(f"{call}(y ~ x + (1 | g), sigma ~ x)", pd.DataFrame({"y": [1.0], "x": [1.0], "g": [1]}))


def test_random_effects_of_mgcv_lead_to_bars():
    with pytest.raises(FormulaError, match=r"bases are .* Random effects are a bar, as in \(1 \| g\)"):
        blm.Model("y ~ s(g, bs='re')", pd.DataFrame({"y": [1.0], "g": [1]}))


@pytest.mark.parametrize("name", BESIDE_RESPONSE)
def test_what_stands_beside_the_response_leads_on(data, name):
    with pytest.raises(BayesLMMError) as refusal:
        build_design(f"y | {name}(w) ~ x", data)
    assert BESIDE_RESPONSE[name] in str(refusal.value)


def test_a_function_of_the_author_is_no_word_of_another_program(data):
    def lo(values):
        return values**2

    X = build_design("y ~ lo(x)", data, namespace={"lo": lo}).X
    np.testing.assert_array_equal(X[:, 1], data["x"] ** 2)
    X = build_design("y ~ lo(x)", data, namespace={"lo": lo}, trust=False).X
    np.testing.assert_array_equal(X[:, 1], data["x"] ** 2)
