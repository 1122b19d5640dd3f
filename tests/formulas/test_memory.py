"""Statistics of a column inside a term: those of the fit's rows, for whatever rows the term is asked about."""

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design.build import build_design
from bayeslmm.formulas import whitelist
from bayeslmm.formulas.binding import Scope, bind
from bayeslmm.formulas.expressions import evaluate
from bayeslmm.formulas.grammar import canonical_python
from bayeslmm.formulas.terms import Atom

ROWS = 60


def table(seed=1):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "x": rng.uniform(0.5, 2.0, ROWS),
            "z": rng.normal(size=ROWS),
            "k": rng.integers(1, 6, ROWS),
            "s": rng.choice(["a", "b", "c"], ROWS),
            "flag": rng.random(ROWS) < 0.4,
            "u": rng.uniform(-0.9, 0.9, ROWS),
            "c": pd.Categorical(rng.choice(["lo", "mid", "hi"], ROWS), ["lo", "mid", "hi"], ordered=True),
            "g": np.repeat([*"mnopqr"], 10),
            "n": 9,
        },
        index=rng.permutation(ROWS) * 3,
    )
    data["y"] = data["z"] + np.repeat(rng.normal(size=6), 10) + rng.normal(size=ROWS)
    return data


EXAMPLES = {
    "cens": "cens(x, x > 1)",
    "fs_curves": "fs_curves(x, 6)",
    "bs": "bs(x, df=5)",
    "cc": "cc(x, 2.5, df=4)",
    "cr": "cr(x, df=4)",
    "poly": "poly(x, 3)",
    "tp": "tp(x, df=4)",
    "Sum": "C(s, Sum('a'))",
    "Treatment": "C(s, Treatment('b'))",
    "Helmert": "C(c, Helmert)",
    "Poly": "C(c, Poly())",
    "I": "I(x ** 2)",
    "center": "center(x)",
    "scale": "scale(x)",
    "standardize": "standardize(k)",
    "B": "B(s, 'b')",
    "binary": "binary(s)",
    "C": "C(k)",
    "S": "S(s)",
    "T": "T(s, levels=['c', 'b', 'a'])",
    "indicator": "indicator(s, 'c')",
    "round": "round(x, 1)",
    "ave": "ave(x, s, k)",
    "ceiling": "ceiling(3 * x)",
    "floor": "floor(3 * x)",
    "ifelse": "ifelse(s == 'a', x, k)",
    "mean": "I(x - mean(x))",
    "median": "I(x > median(x))",
    "pmax": "pmax(x, 1, z)",
    "pmin": "pmin(x, z)",
    "sd": "I(x / sd(x))",
    "var": "I(x / var(x))",
    "quantile": "I(x > quantile(x, 0.3))",
    "np.max": "I(x / np.max(x))",
    "np.mean": "I((x - np.mean(x)) ** 2)",
    "np.median": "np.abs(x - np.median(x))",
    "np.min": "np.log(x - np.min(x) + 1)",
    "np.sum": "I(x / np.sum(x))",
    "np.std": "scale(x / np.std(x, ddof=1))",
    "np.var": "I(x / np.var(x))",
    "np.percentile": "np.where(x > np.percentile(x, 90), 1, 0)",
    "np.quantile": "np.clip(x, np.quantile(x, 0.1), np.quantile(x, 0.9))",
    "np.isin": "np.isin(s, ['a', 'b'])",
    "np.where": "C(np.where(x > np.mean(x), 'high', 'low'))",
    "np.power": "np.power(k, -1)",
    **{
        f"np.{name}": f"np.{name}(x, z)"
        for name in "arctan2 fmax fmin hypot logical_and logical_or maximum minimum mod".split()
    },
    **{f"np.{name}": f"np.{name}(u)" for name in "arccos arcsin arctanh".split()},
    "np.arccosh": "np.arccosh(x + 1)",
    "np.isfinite": "I(np.isfinite(x) * x)",
    "np.isnan": "I(np.isnan(x) + x)",
    "np.clip": "np.clip(x, 1, 1.5)",
    "np.round": "np.round(x, 1)",
    "np.sign": "np.sign(z)",
}
for one in whitelist.CALLS:
    EXAMPLES.setdefault(one, f"{one}(x)")
COUNTED = {"p", "prop", "proportion", "cens"}  # these give a response and nothing else

TRUSTED = """
I(x - x.mean()) ; I((x - x.mean()) / x.std()) ; I(x / len(x)) ; I(x - min(x)) ; I(x / sum(x)) ; x.clip(x.min(), 1.5)
x.fillna(x.mean()) ; I(x - x.iloc[0]) ; I(x / x.size) ; I(x / x.shape[0]) ; I(x - np.mean(x[x > 1])) ; I(x - np.ptp(x))
np.searchsorted(np.quantile(x, [0.25, 0.5, 0.75]), x) ; pd.cut(x, [0, 1, 2]) ; np.digitize(x, np.quantile(x, [0.3, 1]))
pd.cut(x, np.quantile(x, [0, 0.5, 1]), include_lowest=True) ; I([v ** 2 for v in x])
I(x * float(np.mean(x))) ; s.str.upper() ; x.map(lambda v: v + 1) ; I(x.where(x > x.median(), 0)) ; I(x @ x + z)
c.astype(str) ; I(z * (x.max() if flag.any() else 1)) ; I(x - sum(v for v in x) / len(x)) ; np.interp(x, [0, 2], [0, 1])
I(-np.mean(x) + x) ; cube(x) ; shifted(x, np.mean(x)) ; scale(x):s ; I(scale(x) * np.max(z)) ; k.pow(2) ; I(x - middle)
np.isin(k, k[x > 1.9])
"""
TERMS = [EXAMPLES[name] for name in EXAMPLES if name not in COUNTED]
NAMES = {"cube": lambda v: v**3, "shifted": lambda v, by: v - by, "middle": 1.25}
CASES = [(term, trust) for term in TERMS for trust in (True, False)]
CASES += [(term, True) for term in re.split(r" ; |\n", TRUSTED.strip())]

rows = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS)


def test_every_function_of_the_list_has_an_example():
    assert set(EXAMPLES) == set(whitelist.CALLS)
    for name, term in EXAMPLES.items():
        assert re.search(rf"(?<![\w.]){re.escape(name)}\b", term), name


@pytest.mark.parametrize(("term", "trust"), CASES)
def test_rows_get_the_values_that_they_had_whatever_stands_beside_them(term, trust):
    data = table()
    formula = f"y ~ z + {term} + ({term} || g) + offset(2 * np.mean(x) + x)"

    @examples(4)
    @given(rows)
    def law(chosen):
        for some in ([chosen[0]], chosen):
            new = design.at(data.iloc[some].reset_index(drop=True))
            np.testing.assert_allclose(new.X, design.X[some], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(new.groups[0].Z, design.groups[0].Z[some], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(new.offset, design.offset[some], rtol=1e-12)

    design = quietly(formula, data, trust)
    law()


def quietly(formula, data, trust=True):
    """The design, where a column of ones or of nothing new is no matter."""
    from bayeslmm.tools.warned import muted

    with muted(errors.BayesLMMWarning):
        return build_design(formula, data, trust=trust, namespace=NAMES if trust else None)


@pytest.mark.parametrize("term", ["I(x - np.mean(x))", "scale(x)", "ave(x, s)", "I(x / shifted(x, 0).sum())"])
def test_what_is_remembered_is_of_the_rows_of_the_fit(term):
    """Of the complete ones, and of those alone; a new model takes its own."""
    data = table()
    data.iloc[:5, data.columns.get_loc("z")] = np.nan
    with pytest.warns(errors.DroppedRowsWarning):
        design = build_design(f"y ~ z + {term}", data, namespace=NAMES)
    complete = build_design(f"y ~ z + {term}", data.iloc[5:], namespace=NAMES)
    np.testing.assert_array_equal(design.X, complete.X)
    other = build_design(f"y ~ z + {term}", data.iloc[20:], namespace=NAMES)
    assert not np.allclose(other.X[:, -1], design.X[15:, -1])
    for again in (copy.deepcopy(complete), complete):
        np.testing.assert_array_equal(again.at(data.iloc[[30]]).X[0], complete.X[25])


def test_a_design_that_remembers_can_be_pickled():
    data = table()
    design = build_design("y ~ I(x - np.mean(x)) + scale(z) + ave(x, s)", data)
    again = pickle.loads(pickle.dumps(design))
    np.testing.assert_array_equal(again.at(data.iloc[[3, 1]]).X, design.X[[3, 1]])


# -- refused by name

ACROSS = {
    "np.cumsum(x)": "np.cumsum(x)",
    "np.sort(x)": "np.sort(x)",
    "np.argsort(x)": "np.argsort(x)",
    "x.rank()": "x.rank()",
    "I(x.rank(pct=True) - 0.5)": "x.rank(pct=True)",
    "x.shift(1, fill_value=0)": "x.shift(",
    "np.append(0, np.diff(x))": "np.append(0, np.diff(x))",
    "pd.cut(x, 3)": "pd.cut(x, 3)",
    "pd.qcut(x, 4)": "pd.qcut",
    "I(x.groupby(s).transform('mean'))": "x.groupby(s).transform('mean')",
    "I(c.cat.codes)": "c.cat.codes",
    "I(np.unique(s, return_inverse=True)[1])": "np.unique(",
    "centred(x)": "centred(x)",
    "above(x)": "above(x)",
    "log(centred(x) + 5)": "centred(x)",
    "largest(x)": "largest(x)",
    "np.gradient(x)": "np.gradient(x)",
    "I(x + outside)": "I(x + outside)",
    "I(x + np.arange(len(x)))": "np.arange",
    "I(noise(x))": "noise(x)",
    "np.isin(k, n - k)": "np.isin(",
    "range(60)": "range(60)",
    "I(range(60))": "I(range(60))",
    "I(x.rolling(3, min_periods=1).mean())": "x.rolling(3",
    "I([v - min(x) * rank for rank, v in enumerated(x)])": "[v - min(x) * rank",
    "I(x.sort_values().to_numpy())": "x.sort_values()",
    "centred_by_rows(x)": "centred_by_rows(x)",
}
GENERATOR = np.random.default_rng(3)
WHOLE = {
    "centred": lambda v: v - v.mean(),
    "above": lambda v: v > np.median(v),
    "largest": lambda v: v == v.max(),
    "outside": np.linspace(0, 1, ROWS),
    "noise": lambda v: v + GENERATOR.normal(size=len(v)),
    "enumerated": enumerate,
    "centred_by_rows": lambda v: v - v.mean() if len(v) > 1 else v.to_frame().pop("nothing"),
}


@pytest.mark.parametrize("place", ["y ~ z + {}", "y ~ z + ({} | g)", "y ~ z + offset({})", "y ~ z:{} + (1 | g)"])
@pytest.mark.parametrize("term", ACROSS)
def test_what_does_not_go_row_by_row_is_refused_by_name(place, term):
    if "offset" in place and "cut" in term:
        return  # bins are no numbers, which is another error
    with pytest.raises(errors.FormulaError, match="does not go row by row.*Make it a column") as refusal:
        build_design(place.format(term), table(), namespace=WHOLE)
    assert str(refusal.value).startswith(ACROSS[term])


@pytest.mark.parametrize("term", ["np.diff(x)", "I(x[x > 1])", "np.mean(x)", "np.unique(k)"])
def test_what_is_no_column_is_refused(term):
    with pytest.raises(errors.DataError, match="one value for each of the 60 rows"):
        build_design(f"y ~ {term}", table())


def test_the_response_may_look_at_all_rows():
    """It is taken once, and never for other rows."""
    data = table()
    ranks = build_design("y.rank() ~ x", data)
    np.testing.assert_array_equal(ranks.y, data["y"].rank())
    fit = blm.lmer("I(y - np.mean(y)) ~ x + (1 | g)", data)
    np.testing.assert_allclose(fit.design.y, data["y"] - data["y"].mean())
    np.testing.assert_allclose(fit.predict(data.iloc[[4]]), fit.fitted()[4])


# -- the verbs

FORMULA = "y ~ np.log(x - np.min(x) + 1) * s + scale(z) + (I(x - np.mean(x)) | g)"


@pytest.fixture(scope="module")
def fits():
    data = table()
    model = blm.Model(FORMULA, data)
    return {
        "reml": model.fit_reml(),
        "ml": model.fit_ml(),
        "exact": model.fit(random_seed=1, draws=100, chains=2, progressbar=False),
    }


pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")  # of 100 draws


@pytest.mark.parametrize("kind", ["reml", "ml", "exact"])
def test_predictions_for_rows_of_the_fit_are_its_fitted_values(fits, kind, tmp_path):
    fit, data = fits[kind], table()
    fitted = np.asarray(fit.fitted())
    blm.save(fit, tmp_path / "fit.nc")
    loaded = blm.load(tmp_path / "fit.nc")
    for each in (fit, loaded):
        for some in ([3], [50, 2, 31], list(range(ROWS))[::-1]):
            predicted = each.predict(data.iloc[some])
            if kind == "exact":  # of summaries of draws
                predicted = predicted["mean"]
            np.testing.assert_allclose(predicted, fitted[some], rtol=1e-9)


def test_comparisons_and_curves_do_not_hang_on_the_rows_that_are_asked_about(fits):
    fit, data = fits["reml"], table()
    both = fit.comparisons("x", newdata=data.head(6), average=False)
    alone = pd.concat([fit.comparisons("x", newdata=data.iloc[[k]], average=False) for k in range(6)])
    np.testing.assert_allclose(both["estimate"], alone["estimate"], rtol=1e-9)
    slope = blm.lmer("y ~ x + (I(x - np.mean(x)) | g)", data)
    many, one = slope.icc(at={"x": [0.6, 1.0, 1.9]}), slope.icc(at={"x": [1.0]})
    np.testing.assert_allclose(many["estimate"].iloc[1], one["estimate"].iloc[0])


def test_a_model_of_other_data_takes_its_own_statistics(fits):
    fit, data = fits["reml"], table()
    half = data.iloc[20:]
    updated = fit.update(". ~ .", data=half)
    np.testing.assert_array_equal(updated.design.X, build_design(FORMULA, half).X)
    again = fit.refit(np.asarray(data["y"]) + 1.0)
    np.testing.assert_allclose(again.predict(data.iloc[[7]]), again.fitted()[[7]])


# -- numbers


def value(term, data, trust=True):
    atom = Atom(canonical_python(term), is_name=False)
    return np.asarray(evaluate(bind(atom, data.columns, Scope(trusted=trust), ""), data))


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize(
    ("term", "right"),
    [
        ("I(p ** 3)", 27e24),
        ("I(p * p * p)", 27e24),
        ("I(p + p)", 6e8),
        ("np.power(p, 3)", 27e24),
        ("np.square(p) * p", 27e24),
        ("I(p ** -1)", 1 / 3e8),
        ("np.power(p, -1)", 1 / 3e8),
        ("I(2 ** e)", 2.0**70),
        ("I((p > 1) + (e > 1))", 2),
        ("I(t + t)", 2),
        ("I(-t)", -1),
        ("I(t * 3)", 3),
        ("I(t - t)", 0),
        ("I((p > 1) + (p < 1) + t)", 2),
        ("np.sum(p) ** 2 * p", 27e24),
        ("poly(p, 1, raw=True)", 3e8),
        ("I(7 // (e - 68))", 3),
        ("I((e%3 == 1) + (e%2 == 0))", 2),
        ("I(-e // 60)", -2),
        ("I(-e % 60)", 50),
        ("I(!t + 0)", 0),
        ("I(t / 2)", 0.5),
        ("I(TRUE + t)", 2),
        ("I(t ** 2 + t)", 2),
        ("I(i8 * i8)", 10_000),
        ("I(i8 + i8)", 200),
        ("I(-u8)", -200),
        ("I(u8 - 201)", -1),
        ("I(big * 10)", 9e19),
        ("I(t & t)", 1),
        ("I(e == 70)", 1),
        ("I(t == 1)", 1),
    ],
)
def test_numbers_are_doubles_as_in_r(term, right, trust):
    from bayeslmm.tools.frame import plain

    raw = pd.DataFrame({"p": [300_000_000] * 1, "e": [70], "t": [True], "big": [9_000_000_000_000_000_000]})
    raw["i8"], raw["u8"] = np.array([100], "int8"), np.array([200], "uint8")
    data = pd.DataFrame({name: plain(raw[name], name) for name in raw})
    if term.startswith("np.sum(p)"):
        term = "I(np.sum(p) ** 2 * p)"
    np.testing.assert_allclose(value(term, data, trust).astype(float).ravel(), [right], rtol=1e-14)


def test_functions_and_methods_reckon_in_doubles_too():
    data = pd.DataFrame({"p": [3_000_000, 4_000_000], "t": [True, False]})
    names = Scope(names={"cube": lambda v: v**3})
    for term in ("cube(p)", "p.pow(3)", "p.mul(p).mul(p)", "np.prod([p, p, p + 0.0], axis=0)"):
        got = np.asarray(evaluate(bind(Atom(term, is_name=False), data.columns, names, ""), data))
        np.testing.assert_allclose(got, [2.7e19, 6.4e19])
    assert value("I(t.add(t))", data).tolist() == [2.0, 0.0]
    assert value("I(t + 2 * np.sum(t))", data).tolist() == [3.0, 2.0]
    assert value("I(t & (p > 1))", data).tolist() == [True, False]
