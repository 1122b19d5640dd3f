"""Parameters fixed by a number: the same as estimated there, or as a model without the column."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError, NotAvailableError, PriorError

SLEEP = blm.load_dataset("sleepstudy")
pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(20), 8), rng.normal(size=160)
    eta = 0.8 + 0.5 * x + 0.5 * rng.normal(size=20)[g]
    y = rng.negative_binomial(2, 2 / (2 + np.exp(eta)))
    f = np.array(["a", "b", "c", "d"])[np.arange(160) % 4]
    return pd.DataFrame(
        {"g": g, "x": x, "f": f, "y": y, "z": np.where(rng.random(160) < 0.3, 0, y), "t": eta + rng.standard_t(4, 160)}
    )


# -- laws


@pytest.mark.parametrize("reml", [True, False])
def test_sigma_at_its_estimate_changes_no_other_estimate(reml):
    def fitted(**options):
        model = blm.Model(FORMULA, SLEEP, **options)
        return model.fit_reml() if reml else model.fit_ml()

    free = fitted()
    fixed = fitted(priors={"sigma": free.sigma})
    assert fixed.criterion == pytest.approx(free.criterion, abs=1e-6)
    assert fixed.sigma == free.sigma
    np.testing.assert_allclose(fixed.solution.beta, free.solution.beta, rtol=1e-6)
    np.testing.assert_allclose(fixed.solution.vcov, free.solution.vcov, rtol=1e-4)
    np.testing.assert_allclose(fixed.solution.covariances[0], free.solution.covariances[0], rtol=1e-4)
    assert fixed.n_parameters == free.n_parameters - 1
    if not reml:
        assert fixed.aic == pytest.approx(free.aic - 2.0, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "y", "name"),
    [
        ("negbinomial", "y", "shape"),
        ("zero_inflated_negbinomial", "z", "zi"),
        ("zero_inflated_negbinomial", "z", "shape"),
        ("student_t", "t", "nu"),
        ("student_t", "t", "sigma"),
    ],
)
def test_a_parameter_of_the_family_at_its_estimate_changes_no_other(counts, family, y, name):
    free = blm.Model(f"{y} ~ x + (1 | g)", counts, family=family).fit_ml()
    value = float(free.solution.parameters[name])
    fixed = blm.Model(f"{y} ~ x + (1 | g)", counts, family=family, priors={name: value}).fit_ml()
    assert fixed.loglik == pytest.approx(free.loglik, abs=1e-6)
    np.testing.assert_allclose(fixed.solution.beta, free.solution.beta, rtol=1e-4)
    assert fixed.n_parameters == free.n_parameters - 1
    assert float(fixed.solution.parameters[name]) == value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = blm.anova(fixed, free).table  # nested: one parameter more
    assert tests["df"].iloc[1] == 1
    assert tests["chisq"].iloc[1] == pytest.approx(0.0, abs=1e-5)


def test_elsewhere_than_at_the_estimate_the_likelihood_is_lower(counts):
    free, fixed = (
        blm.Model("y ~ x + (1 | g)", counts, family="negbinomial", priors=priors).fit_ml()
        for priors in (None, {"shape": 0.7})
    )
    assert fixed.loglik < free.loglik - 1.0
    assert fixed.confint(method="profile")["conf_low"].notna().all()


@pytest.mark.parametrize(
    ("right", "priors", "same"),
    [
        ("x + (x | g)", {("sd", "g", "x"): 0}, "x + (1 | g)"),
        ("x + (x | g)", {("sd", "g", "Intercept"): 0}, "x + (0 + x | g)"),
        ("x + (1 | g) + (1 | f)", {("sd", "f"): 0}, "x + (1 | g)"),
        ("x + (x || g)", {"sd": 0}, "x"),
    ],
)
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_an_sd_of_zero_is_a_model_without_the_column(counts, right, priors, same, family):
    fits = [
        blm.Model(f"y ~ {formula}", counts, family=family, priors=given).fit_ml()
        for formula, given in ((right, priors), (same, None))
    ]
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-9)
    assert fits[0].aic == pytest.approx(fits[1].aic, abs=1e-9)
    rows = pd.DataFrame({"x": [0.2, -1.0], "g": [3, 5], "f": ["a", "d"]})
    np.testing.assert_allclose(*(np.asarray(fit.predict(rows)) for fit in fits), rtol=1e-9)


def test_levels_of_a_factor_in_a_bar(counts):
    """``f || g`` is an intercept and the cells of f, which are correlated: a and d are left of them."""
    counts = counts.assign(a=(counts["f"] == "a") * 1.0, d=(counts["f"] == "d") * 1.0)
    fixed = blm.Model("t ~ f + (f || g)", counts, priors={("sd", "g", "f[b]"): 0, ("sd", "g", "f[c]"): 0}).fit_reml()
    same = blm.Model("t ~ f + (1 | g) + (0 + a + d | g)", counts).fit_reml()
    assert fixed.criterion == pytest.approx(same.criterion, abs=1e-6)
    rows = counts.head(6)
    np.testing.assert_allclose(fixed.predict(rows), same.predict(rows), rtol=1e-6)


def test_the_posterior_without_a_column_is_that_of_the_smaller_model():
    options = {"draws": 100, "chains": 2, "random_seed": 1, "progressbar": False}
    fixed = blm.Model(FORMULA, SLEEP, priors={("sd", "Subject", "Days"): 0}).fit(**options)
    same = blm.Model("Reaction ~ Days + (1 | Subject)", SLEEP).fit(**options)
    np.testing.assert_allclose(fixed.draws("beta"), same.draws("beta"), rtol=1e-10)


def test_a_fixed_sigma_is_the_limit_of_narrow_priors():
    options = {"draws": 1000, "chains": 2, "random_seed": 1, "progressbar": False}
    narrow = blm.Prior("LogNormal", mu=np.log(30.0), sigma=1e-3)
    fixed, near = (blm.Model(FORMULA, SLEEP, priors={"sigma": each}).fit(**options) for each in (30.0, narrow))
    assert "sigma" not in fixed.idata.posterior
    assert fixed.settings.method != "nuts"
    for name in ("beta", "sd_Subject"):
        one, other = fixed.draws(name), near.draws(name)
        error = one.std((0, 1)) * np.sqrt(2.0 / 1000.0)  # of means of at least 1000 effective draws
        assert np.all(np.abs(one.mean((0, 1)) - other.mean((0, 1))) < 5.0 * error)


def test_weights_and_new_rows_beside_a_fixed_sigma():
    data = SLEEP.assign(w=np.where(SLEEP.Days < 5, 2.0, 0.5))
    free = blm.Model(FORMULA, data, weights="w").fit_reml()
    fixed = blm.Model(FORMULA, data, weights="w", priors={"sigma": free.sigma}).fit_reml()
    assert fixed.criterion == pytest.approx(free.criterion, abs=1e-6)
    rows = data.head(4)
    one, other = (f.predict(rows, interval="plug-in", kind="response") for f in (fixed, free))
    assert one["df"].min() > 1e5  # where sigma is known, a normal distribution
    np.testing.assert_allclose(one.iloc[:, :2], other.iloc[:, :2], rtol=1e-4)


# -- told, saved, changed


def test_fixed_parameters_are_told():
    model = blm.Model(FORMULA, SLEEP, priors={"sigma": 25.0, ("sd", "Subject", "Days"): 0})
    fit = model.fit_reml()
    table = model.priors.table().set_index("parameter")
    assert list(table.loc["sigma"]) == ["25", "fixed by you"]
    assert list(table.loc["sd(Days | Subject)"]) == ["0", "fixed by you"]
    assert "Fixed, not estimated: sd(Days | Subject) = 0, sigma = 25" in str(fit.summary())
    rows = fit.tidy("ran_pars").set_index("term")
    assert rows.loc["sd__Observation", "estimate"] == 25.0
    assert rows.loc["sd__Days", "estimate"] == 0.0
    assert rows.loc["sd__Intercept", "estimate"] > 0.0
    assert "σ = 25   (fixed)" in str(model.equations())
    assert "fixed: sd(Days | Subject) = 0, sigma = 25" in model.design.described


def test_a_report_says_how_to_fit_it_again(tmp_path):
    fit = blm.Model("Reaction ~ Days + (1 | Subject)", SLEEP, priors={"sigma": 25}).fit_reml()
    page = blm.report(fit, tmp_path / "fit.html").read_text()
    assert "priors={&#x27;sigma&#x27;: 25.0}" in page
    assert "Fixed, not estimated: sigma = 25" in page


def test_saved_loaded_updated_and_freed(tmp_path, counts):
    model = blm.Model("t ~ x + (x | g)", counts, family="student_t", priors={"nu": 4, ("sd", "g", "x"): 0})
    fit = model.fit_ml()
    blm.save(fit, tmp_path / "fit.nc")
    loaded = blm.load(tmp_path / "fit.nc")
    assert loaded.loglik == fit.loglik
    assert loaded.design.fixed == model.design.fixed == {("sd", "g", "x"): 0.0, "nu": 4.0}
    assert loaded.update(". ~ . - x").design.fixed == model.design.fixed
    prior = blm.Prior("Gamma", alpha=2, beta=0.1)
    freed = model.update(priors={"nu": prior})
    assert freed.design.fixed == {("sd", "g", "x"): 0.0}
    assert freed.priors.get("nu") == prior
    assert freed.update(priors={"nu": 7}).design.family.known == {"nu": 7.0}
    assert model.update(data=counts.iloc[:100]).design.fixed == model.design.fixed


def test_a_posterior_is_saved_and_keeps_what_is_fixed(tmp_path):
    model = blm.Model("Reaction ~ Days + (1 | Subject)", SLEEP, priors={"sigma": 30})
    fit = model.fit(draws=50, chains=2, random_seed=1, progressbar=False)
    blm.save(fit, tmp_path / "fit.nc")
    loaded = blm.load(tmp_path / "fit.nc")
    assert loaded.priors.table().equals(fit.priors.table())
    assert fit.with_priors({"Days": blm.Prior("Normal", mu=0, sigma=1)}, draws=50).design.fixed == {"sigma": 30.0}
    for priors in ({"sigma": blm.Prior("HalfNormal", sigma=9)}, {"sigma": 20}):
        with pytest.raises(NotAvailableError, match="part of the model"):
            fit.with_priors(priors)


# -- refused


@pytest.mark.parametrize(
    ("priors", "error", "words"),
    [
        ({("sd", "g", "x"): 0.5}, NotAvailableError, "LogNormal"),
        ({"x": 2.0}, NotAvailableError, r"offset\(2 \* x\)"),
        ({("cor", "g"): 0}, NotAvailableError, r"\(x \|\| g\)"),
        ({"nu": 4}, NotAvailableError, "those of family='gaussian' are sigma"),
        ({"sigma": 0.0}, PriorError, "above zero"),
        ({"sigma": np.inf}, PriorError, "finite"),
        ({("sd", "h"): 0}, PriorError, r"\('sd', 'g', 'x'\)"),
        ({"sd": 0, ("sd", "g", "x"): blm.Prior("HalfNormal", sigma=1)}, PriorError, "one by one"),
    ],
)
def test_what_cannot_be_fixed(counts, priors, error, words):
    with pytest.raises(error, match=words):
        blm.Model("t ~ x + (x | g)", counts, priors=priors)


def test_what_cannot_be_fixed_elsewhere(counts):
    with pytest.raises(PriorError, match="between 0 and 1"):
        blm.Model("z ~ x", counts, family="zero_inflated_poisson", priors={"zi": 0})
    with pytest.raises(PriorError, match="linear predictor"):
        blm.Model("z ~ x", counts, family="zero_inflated_poisson", zi="~ x", priors={"zi": 0.3})
    with pytest.raises(NotAvailableError, match="increasing"):
        blm.Model(
            "f ~ x", counts.assign(f=pd.Categorical(counts.f, ordered=True)), family="ordinal", priors={"cutpoint": 0}
        )
    with pytest.raises(NotAvailableError, match="only parameter of the residuals"):
        blm.Model("t ~ x", counts, sigma="~ f", priors={"sigma": 1})
    with pytest.raises(PriorError, match="known already"):
        blm.Model("t ~ x", counts.assign(s=1.0), se="s", priors={"sigma": 1})
    with pytest.raises(NotAvailableError, match="every column has its place"):
        blm.Model("t ~ f + cs(0 + f | g)", counts.assign(f=counts.f), priors={("sd", "g", "f[a]"): 0})
    with pytest.raises(InputError, match="different families"):
        blm.anova(
            blm.Model("y ~ x", counts, family="negbinomial", priors={"shape": 1}).fit_ml(),
            blm.Model("y ~ x", counts, family="poisson").fit_ml(),
        )
