"""``contrasts=``: the coding of all factors, or of some by name, that the formula leaves open."""

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")

WORDS = ("sum", "helmert", "poly")
HAND = {"sum": "contr.sum", "helmert": "contr.helmert", "poly": "contr.poly"}

# lmer with options(contrasts = c("contr.sum", "contr.poly")) and contr.helmert, and anova(type = 3) of lmerTest
R = {
    ("sum", "science"): {
        "criterion": 5592.1012730631,
        "estimate": [5.0478683778, -0.20936789508, -0.098130222808, -0.0038285930783, 0.0013534162284],
        "std_error": [0.21345952937, 0.099831991465, 0.056037925829, 0.22471975161, 0.056037925829],
        "sd": [0.41682926269],
        "f": [4.3982580317, 3.0664893854, 0.00029026583906, 0.00058330897032],
        "den_df": [30.1998666938, 1273.0708608726, 37.5373346579, 1273.0708608967],
    },
    ("sum", "machines"): {
        "criterion": 210.5084431263,
        "estimate": [59.65, -7.2944444444, 0.67222222223],
        "std_error": [2.1443829335, 1.078999023, 1.5389448858],
        "sd": [5.2428549462, 2.6038339693, 3.742275532],
        "f": [41.0059527341],
        "den_df": [5.0010685838],
    },
    ("helmert", "machines"): {
        "criterion": 211.8947374023,
        "estimate": [59.65, 3.9833333333, 3.3111111111],
        "std_error": [2.1448923851, 1.2105027167, 0.54909478906],
        "sd": [5.2441059281, 2.9390136694, 1.3257692054],
        "f": [41.0013150523],
        "den_df": [4.9993367313],
    },
}
FORMULAS = {
    "science": "like ~ PrivPub * sex + State + (1 | school)",
    "machines": "score ~ Machine + (Machine | Worker)",
}


def crossed(family="gaussian"):
    """Three factors, of which one is ordered and one holds numbers, a predictor, and 20 levels of six rows."""
    rng = fixed_rng(7)
    n = 120
    data = pd.DataFrame(
        {
            "a": np.array(["u", "v", "w"])[rng.integers(3, size=n)],
            "b": pd.Categorical(np.array(["lo", "mid", "hi"])[rng.integers(3, size=n)], ["lo", "mid", "hi"], True),
            "k": rng.integers(1, 4, size=n),
            "x": rng.normal(size=n),
            "g": np.repeat(np.arange(20), 6),
        }
    )
    eta = 0.5 * (data["a"] == "v") + 0.3 * data["x"] + np.repeat(rng.normal(size=20), 6) + 0.4 * (data["b"] == "hi")
    data["y"] = eta + 0.5 * rng.normal(size=n)
    data["n"] = rng.poisson(np.exp(0.5 + 0.4 * eta))
    return data


@pytest.mark.parametrize(("word", "name"), R)
def test_fits_are_r_s(word, name):
    right = R[word, name]
    fit = blm.lmer(FORMULAS[name], blm.load_dataset(name).dropna(), contrasts=word)
    assert fit.criterion <= right["criterion"] + 1e-5
    table = fit.fixef()
    # lmer's search of `machines` ends within 1e-3 of the optimum; standard errors and df follow it
    close = 1e-5 if name == "science" else 2e-3
    np.testing.assert_allclose(table["estimate"], right["estimate"], rtol=1e-5)
    np.testing.assert_allclose(table["std_error"], right["std_error"], rtol=close)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.solution.covariances[0])), right["sd"], rtol=close)
    tests = blm.anova(fit).table
    np.testing.assert_allclose(tests["f"], right["f"], rtol=close)
    np.testing.assert_allclose(tests["den_df"], right["den_df"], rtol=close)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ a * b + x + (1 | g)", {}),
        ("y ~ a:x + b + (x | g)", {}),
        ("y ~ 0 + a + b + (1 | g)", {}),
        ("y ~ a + C(k) + (0 + a | g)", {}),
        ("y ~ a + (1 | g)", {"sigma": "~ b"}),
        ("n ~ a * x + (1 | g)", {"family": "poisson"}),
        ("y ~ a + x + (1 | g)", {"family": "student_t", "sigma": "~ b"}),
    ],
)
def test_the_coding_changes_the_coefficients_alone(word, formula, options):
    """The space of the columns is one, so likelihood, fitted values and marginal means are."""
    data = crossed()
    plain = blm.Model(formula, data, **options).fit_ml()
    coded = blm.Model(formula, data, **options, contrasts=word).fit_ml()
    assert coded.design.x_names != plain.design.x_names
    assert coded.loglik == pytest.approx(plain.loglik, abs=1e-5)
    np.testing.assert_allclose(coded.fitted(), plain.fitted(), atol=2e-3)
    one = data.iloc[[5]].drop(columns=["y", "n"])
    np.testing.assert_allclose(coded.predict(one), np.asarray(coded.fitted())[[5]], rtol=1e-9)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("formula", ["y ~ {a} * {b} + x + (1 | g)", "y ~ x + {a} + ({a} | g)"])
def test_they_are_those_written_by_hand(word, formula):
    data = crossed()
    hand = blm.Model(formula.format(a=f"C(a, {HAND[word]})", b=f"C(b, {HAND[word]})"), data).fit_ml()
    fit = blm.Model(formula.format(a="a", b="b"), data, contrasts=word).fit_ml()
    np.testing.assert_allclose(fit.design.X, hand.design.X, rtol=0, atol=1e-15)
    for group, other in zip(fit.design.groups, hand.design.groups, strict=True):
        np.testing.assert_allclose(group.Z, other.Z, rtol=0, atol=1e-15)
    assert fit.criterion == pytest.approx(hand.criterion, rel=1e-12)


def test_by_factor_and_beside_what_the_formula_says():
    data = crossed()
    model = blm.Model("y ~ a + C(b, contr.helmert) + C(k) + (1 | g)", data, contrasts={"a": "contr.sum", "k": "Sum"})
    assert model.design.x_names == (
        *("Intercept", "a[S.u]", "a[S.v]", "C(b, Helmert)[1]", "C(b, Helmert)[2]", "C(k)[S.1]", "C(k)[S.2]"),
    )
    assert "Contrasts: sum of a, sum of k" in repr(model)
    assert "Contrasts: sum of a, sum of k" in str(model.fit_reml().summary())


def test_an_indicator_for_every_level_is_no_contrast():
    """As in R; and the residual sd of the model is that of the first level, whatever the contrasts."""
    data = crossed()
    model = blm.Model("y ~ 0 + a + ar1(0 + b | g)", data, contrasts="sum")
    assert model.design.x_names == ("a[u]", "a[v]", "a[w]")
    assert model.design.groups[0].columns == ("b[lo]", "b[mid]", "b[hi]")
    plain, coded = (blm.Model("y ~ a + (1 | g)", data, sigma="~ b", contrasts=word).fit_ml() for word in (None, "sum"))
    assert coded.sigma == pytest.approx(plain.sigma, rel=1e-4)


def test_type_iii_tests_and_means_do_not_depend_on_the_coding():
    data = crossed()
    plain, coded = (blm.lmer("y ~ a * b + x + (1 | g)", data, contrasts=word) for word in (None, "sum"))
    for ours, other in (
        (blm.anova(coded).table, blm.anova(plain).table),
        (coded.means("a", by="b").table, plain.means("a", by="b").table),
    ):
        numbers = other.select_dtypes("number").columns
        np.testing.assert_allclose(ours[numbers], other[numbers], rtol=1e-4)


def test_they_are_kept_by_what_makes_the_model_anew(tmp_path):
    data = crossed()
    model = blm.Model("y ~ a + x + (1 | g)", data, contrasts={"a": "sum"})
    fit = model.fit_reml()
    assert fit.update(". ~ . - x").design.x_names == ("Intercept", "a[S.u]", "a[S.v]")
    assert fit.update(". ~ . - a").design.x_names == ("Intercept", "x")
    assert model.update(contrasts="helmert").design.x_names == ("Intercept", "a[H.1]", "a[H.2]", "x")
    assert model.update(contrasts="treatment").design.x_names == ("Intercept", "a[v]", "a[w]", "x")
    blm.save(fit, tmp_path / "fit.nc")
    loaded = blm.load(tmp_path / "fit.nc")
    assert str(loaded.summary()) == str(fit.summary())
    np.testing.assert_array_equal(loaded.predict(data.head(7)), fit.predict(data.head(7)))
    post = model.fit(draws=50, chains=2, random_seed=1, progressbar=False)
    blm.save(post, tmp_path / "post.nc")
    assert blm.load(tmp_path / "post.nc").design.x_names == fit.design.x_names
    assert "a[S.u]" in post.summary().__str__()


@pytest.mark.parametrize(("formula", "family"), [("y ~ a * x + (1 | g)", "gaussian"), ("n ~ a + (1 | g)", "poisson")])
def test_tables_in_chunks_are_coded_alike(tmp_path, formula, family):
    data = crossed()
    data.to_parquet(tmp_path / "rows.parquet")
    fit = blm.Model(formula, data, family=family, contrasts="sum").fit_ml()
    read = blm.Model(formula, tmp_path / "rows.parquet", family=family, contrasts="sum").fit_ml()
    assert read.design.x_names == fit.design.x_names
    np.testing.assert_allclose(read.fixef()["estimate"], fit.fixef()["estimate"], rtol=1e-5)
    blm.save(read, tmp_path / "fit.nc")
    assert blm.load(tmp_path / "fit.nc").design.x_names == fit.design.x_names


def test_untrusted_formulas_and_the_pymc_model_have_them():
    model = blm.Model("y ~ a + (1 | g)", crossed(), trust=False, contrasts="sum")
    assert model.design.x_names == ("Intercept", "a[S.u]", "a[S.v]")
    assert list(model.pymc.coords["coef"]) == list(model.design.x_names)


def test_the_command_line_takes_them(tmp_path, capsys):
    path = str(tmp_path / "rows.csv")
    crossed().to_csv(path, index=False)
    assert main(["fit", path, "y ~ a + b + (1 | g)", "--reml", "--contrasts", "sum"]) == 0
    assert "b[S.hi]" in capsys.readouterr().out
    by_factor = ["--contrasts", "a=helmert", "--contrasts", "b=sum"]
    assert main(["fit", path, "y ~ a + b + (1 | g)", "--reml", *by_factor]) == 0
    assert "Contrasts: helmert of a, sum of b" in capsys.readouterr().out
    assert main(["fit", path, "y ~ a + b + (1 | g)", "--reml", "--contrasts", "sum", "--contrasts", "a=poly"]) != 0
    assert "one WORD for every factor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("contrasts", "message"),
    [
        ("summ", "contrasts='summ': contrasts are 'treatment', 'sum', 'helmert', 'poly'"),
        (3, "contrasts=3"),
        (["sum"], r"contrasts=\['sum'\]"),
        ({"a": "deviation"}, r"contrasts=\{'a': 'deviation'\}"),
        ({"A": "sum"}, "'A' is no factor of the formula"),
        ({"armm": "sum"}, "did you mean 'arm'"),
        ({"g": "sum"}, "'g' is no factor of the formula"),
        ({"x": "sum"}, r"'x' holds numbers.*Write C\(x\)"),
        ({"b": "sum"}, r"the formula says them already: C\(b, Poly\)"),
    ],
)
def test_what_cannot_be_coded_is_refused(contrasts, message):
    data = crossed().rename(columns={"a": "arm"})
    with pytest.raises(errors.BayesLMMError, match=message):
        blm.Model("y ~ arm + x + C(b, contr.poly) + (1 | g)", data, contrasts=contrasts)
