"""``y | weights(w)``: a row of weight w is w rows that are alike, in estimates, posteriors and averages over rows."""

import warnings

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.cli.main import main
from bayeslmm.errors import BayesLMMError, DataError, FormulaError, NotAvailableError

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

RIGHT = "x + f + (1 | g)"
RESPONSES = {
    "gaussian": "y",
    "student_t": "y",
    "lognormal": "p",
    "gamma": "p",
    "negbinomial": "n",
    "zero_inflated_poisson": "n",
    "bernoulli": "k",
    "ordinal": "o",
}
# numbers per row and those of the rows' count alone differ by what they are of
VERBS = {
    "loglik": lambda f: f.loglik,
    "aic": lambda f: f.aic,
    "bic": lambda f: f.bic,
    "df_resid": lambda f: f.df_resid,
    "fixef": lambda f: f.fixef(),
    "vcov": lambda f: f.vcov(),
    "ranef": lambda f: f.ranef(),
    "coef": lambda f: f.coef(),
    "variance_components": lambda f: f.variance_components(),
    "icc": lambda f: f.icc(),
    "r2": lambda f: f.r2(),
    "confint": lambda f: f.confint(),
    "test": lambda f: f.test("x = 0"),
    "comparisons": lambda f: f.comparisons("f"),
    "comparisons by": lambda f: f.comparisons("x", by="f"),
    "slopes": lambda f: f.slopes("x"),
    "means": lambda f: f.means("f").table,
    "means, proportional": lambda f: f.means("x", at={"x": [0.0, 1.0]}, weights="proportional").table,
    "new rows": lambda f: f.predict(f.design.frame.drop_duplicates()[["x", "f", "g"]].head(3), interval="plug-in"),
    "new groups": lambda f: f.predict(
        f.design.frame.drop_duplicates()[["x", "f"]].head(3).assign(g="new"), groups="new"
    ),
}


@pytest.fixture(scope="module")
def data():
    """60 rows that count 1 to 4 times, and as many rows as they count."""
    rng = fixed_rng(3)
    d = pd.DataFrame({"x": rng.normal(size=60), "g": rng.integers(0, 8, 60).astype(str), "w": rng.integers(1, 5, 60)})
    d["f"] = np.where(rng.random(60) < 0.6, "a", "b")
    eta = 0.3 + 0.5 * d.x + rng.normal(0.0, 0.7, 8)[d.g.astype(int)]
    d["y"] = eta + rng.normal(size=60)
    d["p"], d["n"] = np.exp(d.y), rng.poisson(rng.gamma(2.0, np.exp(eta) / 2.0))
    latent = eta + rng.logistic(size=60)
    d["k"], d["o"] = (latent > 0).astype(int), pd.Categorical(np.digitize(latent, [-0.5, 1.0]), ordered=True)
    d["v"] = rng.uniform(0.5, 2.0, 60)
    return d, d.loc[d.index.repeat(d.w)].reset_index(drop=True)


def pair(data, response, right, fit, **options):
    return [
        fit(blm.Model(f"{left} ~ {right}", rows, **options))
        for left, rows in ((f"{response} | weights(w)", data[0]), (response, data[1]))
    ]


def numbers(answer):
    frame = answer.select_dtypes("number") if isinstance(answer, pd.DataFrame) else answer
    return np.asarray(frame, dtype=float)


@pytest.mark.parametrize("family", RESPONSES)
def test_weights_are_repeated_rows(data, family):
    """Of estimates and every verb that answers; searches end within 1e-6 of a standard error of each other.

    Standard errors, by differences of gradients there, and so statistics are within 3e-4 of each other.
    """
    how = "fit_reml" if family == "gaussian" else "fit_ml"
    counted, repeated = pair(data, RESPONSES[family], RIGHT, lambda m: getattr(m, how)(), family=family)
    answered = 0
    for name, verb in VERBS.items():
        try:
            expected = verb(repeated)
        except BayesLMMError:
            continue
        np.testing.assert_allclose(numbers(verb(counted)), numbers(expected), rtol=5e-4, atol=2e-4, err_msg=name)
        answered += 1
    assert answered >= len(VERBS) - 4
    assert counted.loglik == pytest.approx(repeated.loglik, rel=1e-9)


@pytest.mark.parametrize(
    ("response", "right", "options"),
    [
        ("y", "x + (x | g)", {"weights": "v"}),
        ("y", "x", {}),
        ("y", "s(x, k=5) + (1 | g)", {}),
        ("n", "x + (1 | g)", {"family": "zero_inflated_poisson", "zi": "~ x"}),
        ("p(n, n + 2)", "x + (1 | g)", {"family": "beta_binomial"}),
    ],
)
def test_beside_other_terms(data, response, right, options):
    how = "fit_ml" if "family" in options else "fit_reml"
    counted, repeated = pair(data, response, right, lambda m: getattr(m, how)(), **options)
    assert counted.loglik == pytest.approx(repeated.loglik, rel=1e-9)
    if "s(" not in right:  # whose linear column is scaled by the rows as they are
        np.testing.assert_allclose(counted.fixef()["std_error"], repeated.fixef()["std_error"], rtol=2e-4)


@pytest.mark.parametrize("family", [*RESPONSES, "weibull", "inverse_gaussian", "categorical"])
def test_default_priors_are_measured_by_rows_as_often_as_they_count(data, family):
    response = RESPONSES.get(family, "o" if family == "categorical" else "p")
    counted, repeated = pair(data, response, "x + f + (x | g)", lambda m: m.priors, family=family)
    assert str(counted) == str(repeated)


def test_default_priors_beside_a_predictor_of_a_parameter_trials_and_an_offset(data):
    options = {"family": "zero_inflated_poisson", "zi": "~ x"}
    counted, repeated = pair(data, "n", "x + offset(v) + (x || g)", lambda m: m.priors, **options)
    assert str(counted) == str(repeated)
    counted, repeated = pair(data, "p(n, n + 2)", "x + (1 | g)", lambda m: m.priors, family="binomial")
    assert str(counted) == str(repeated)


@pytest.mark.parametrize("size", [1e-3, 2e7])
def test_default_priors_of_weights_that_are_no_counts(data, size):
    """Weights of a survey, and counts of more rows than are repeated, give priors near those of the repeated rows."""
    rows, repeated = data
    scaled = dict(
        blm.Model("y | weights(u) ~ x + (1 | g)", rows.assign(u=rows.w * size)).priors.get("Intercept").params
    )
    expected = dict(blm.Model("y ~ x + (1 | g)", repeated).priors.get("Intercept").params)
    assert scaled["mu"] == pytest.approx(expected["mu"], abs=1e-3)  # a row is cut by one of 100,000 at most
    assert scaled["sigma"] == pytest.approx(expected["sigma"], rel=5e-3)  # a divisor of 142 rows less one, or none


def test_brms_words_beside_trials(data):
    counted = blm.Model("n | trials(n + 2) + weights(w) ~ x + (1 | g)", data[0], family="binomial").fit_ml()
    repeated = blm.Model("p(n, n + 2) ~ x + (1 | g)", data[1], family="binomial").fit_ml()
    assert counted.loglik == pytest.approx(repeated.loglik, rel=1e-9)


def test_one_factor_more_changes_nothing_but_the_evidence(data):
    """Weights of a survey are no whole numbers: twice the weights are twice the log likelihood of fixed effects."""
    once, twice = (
        blm.Model(f"n | weights({w}) ~ x", data[0], family="poisson").fit_ml() for w in ("w / 3", "2 * w / 3")
    )
    np.testing.assert_allclose(once.fixef()["estimate"], twice.fixef()["estimate"], atol=1e-6)
    assert twice.loglik == pytest.approx(2.0 * once.loglik)


PRIORS = {
    "Intercept": blm.Prior("Normal", mu=0, sigma=1e3),  # flat to it, whose centre is the mean of the rows as they are
    "fixed": blm.Prior("Normal", mu=0, sigma=2),
    "sd": blm.Prior("HalfNormal", sigma=1),
}


@pytest.mark.parametrize(
    ("response", "options", "priors"),
    [
        ("y", {}, {"sigma": blm.Prior("HalfNormal", sigma=2)}),
        ("k", {"family": "bernoulli"}, {}),
        ("n", {"family": "negbinomial"}, {"shape": blm.Prior("Gamma", alpha=2, beta=1)}),
    ],
)
def test_posteriors(data, response, options, priors):
    """The exact samplers: means of 4 x 1,000 draws within 0.12 sds, six Monte Carlo errors of independent ones."""
    counted, repeated = pair(
        data,
        response,
        "x + (1 | g)",
        lambda m: m.fit(draws=1000, random_seed=1, progressbar=False),
        priors=PRIORS | priors,
        **options,
    )
    assert counted.idata.posterior.attrs["sampler"].startswith(repeated.idata.posterior.attrs["sampler"][:10])
    for name in ("beta", "sd_g", "b_g", *counted.design.parameters):
        a, b = (post.draws(name).reshape(4000, -1) for post in (counted, repeated))
        assert np.abs((a.mean(axis=0) - b.mean(axis=0)) / b.std(axis=0)).max() < 0.12, name
        np.testing.assert_allclose(a.std(axis=0), b.std(axis=0), rtol=0.15, err_msg=name)
    with pytest.raises(NotAvailableError, match=r"loo\(\).*weights\(w\).*repeat"):
        counted.loo()


@pytest.mark.parametrize(("family", "right"), [("student_t", "0 + x"), ("ordinal", "1")])
def test_the_graph_has_the_same_density(data, family, right):
    """PyMC's log likelihood at one point is that of repeated rows."""
    of_model = []
    for left, rows in ((f"{RESPONSES[family]} | weights(w)", data[0]), (RESPONSES[family], data[1])):
        model = blm.Model(f"{left} ~ {right}", rows, family=family).pymc
        density = model.compile_logp(vars=[model["y"], *model.potentials])
        point = {name: np.full_like(value, 0.3) for name, value in model.initial_point().items()}
        of_model.append(float(density(point)))
    assert of_model[0] == pytest.approx(of_model[1], rel=1e-9)


def test_files_updates_and_refits(data, tmp_path):
    fit = blm.Model("n | weights(w) ~ x + (1 | g)", data[0], family="poisson").fit_ml()
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.design.likelihood_weights, data[0].w)
    assert again.loglik == fit.loglik
    assert fit.update(". ~ . - x").design.formula.text == "n | weights(w) ~ 1 + (1 | g)"
    assert fit.refit(fit.design.y).loglik == pytest.approx(fit.loglik)
    assert "60, counted" in str(fit.summary())


def test_the_command_line_and_untrusted_formulas(data, tmp_path, capsys):
    data[0].to_csv(tmp_path / "d.csv", index=False)
    assert main(["fit", str(tmp_path / "d.csv"), "y | weights(w) ~ x + (1 | g)", "--reml"]) == 0
    assert "counted" in capsys.readouterr().out
    assert blm.Model("y | weights(log(w + 1)) ~ x", data[0], trust=False).design.likelihood_weights is not None
    with pytest.raises(FormulaError):
        blm.Model("y | weights(open(w)) ~ x", data[0], trust=False)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y | weights(w - 1) ~ x", "positive and finite; .* are not"),
        ("y | weights(f) ~ x", "column"),
        ("y | weights(nowhere) ~ x", "nowhere"),
        ("y | weights(w, scale=TRUE) ~ x", "one column"),
        ("y | weights(w) + weights(w) ~ x", "left side"),
        ("y | weights() ~ x", "."),
    ],
)
def test_what_weights_are_not(data, formula, message):
    with pytest.raises((DataError, FormulaError), match=message):
        blm.Model(formula, data[0])


def test_what_takes_rows_once_says_so(data):
    fit = blm.Model("y | weights(w) ~ x + (1 | g)", data[0]).fit_reml()
    for verb in (lambda: fit.bootstrap(2), lambda: blm.ppc(fit), lambda: blm.assume(fit)):
        with pytest.raises(NotAvailableError, match=r"weights\(w\): it takes every row once"):
            verb()
    assert blm.check(fit)["residual distribution"].level == "none"
    assert blm.check(fit)["boundary"].level != "none"
    with pytest.raises(NotAvailableError, match="sigma= or residual="):
        blm.Model("y | weights(w) ~ x", data[0], sigma="~ f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit.design.n_counted == data[0].w.sum()


def test_fits_of_other_weights_are_of_other_data(data):
    fits = [blm.Model(f"{left} ~ x + (1 | g)", data[0]).fit_ml() for left in ("y | weights(w)", "y")]
    with pytest.raises(BayesLMMError, match="different weights"):
        blm.anova(*fits)
