"""Linear predictors of the family's parameters: what is read, priors, laws, one likelihood in three forms."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import laplace_fit
from bayeslmm.engine.laplace import Approximation
from bayeslmm.errors import (
    AliasedColumnsWarning,
    ConvergenceWarning,
    FormulaError,
    InputError,
    NotAvailableError,
    NotEstimableWarning,
    PriorError,
    SingularFitWarning,
    UnknownColumnError,
)
from bayeslmm.families import PREDICTED
from bayeslmm.results.log_density import log_likelihood, log_prior


@pytest.fixture(scope="module")
def data():
    """Counts with more zeros where f is yes, and positive numbers whose spread hangs on f."""
    rng = fixed_rng(5)
    n = 160
    d = pd.DataFrame(
        {"x": rng.normal(size=n) + 3.0, "g": np.arange(n) % 10, "f": np.where(rng.random(n) < 0.5, "a", "b")}
    )
    mean = np.exp(0.4 + 0.2 * d.x + 0.4 * rng.normal(size=10)[d.g])
    some = rng.random(n) > np.where(d.f == "a", 0.15, 0.45)
    d["count"] = rng.poisson(mean * rng.gamma(4.0, 0.25, n)) * some
    d["size"] = mean * rng.gamma(np.where(d.f == "a", 2.0, 8.0), 1.0 / np.where(d.f == "a", 2.0, 8.0))
    d["share"] = np.clip(rng.beta(mean, 3.0), 0.01, 0.99)
    relative = np.where(d.f == "a", 1.0, 2.0)
    d["grade"] = np.digitize(0.5 * d.x + relative * rng.logistic(size=n), [0.5, 1.5, 3.0])
    d["number"] = np.log(mean) + 0.3 * rng.standard_t(5, n)
    return d


CASES = {
    "zi": ("count ~ x + (1 | g)", {"family": "zero_inflated_negbinomial", "zi": "~ f + x"}),
    "both": ("count ~ x + (1 | g)", {"family": "hurdle_negbinomial", "hu": "~ 0 + f", "shape": "~ x"}),
    "shape": ("size ~ x + (1 | g)", {"family": "gamma", "shape": "~ f"}),
    "phi": ("share ~ x + (1 | g)", {"family": "beta", "phi": "~ f:x"}),
    "scale": ("grade ~ x + (1 | g)", {"family": "ordinal", "scale": "~ f + x"}),
    "sigma": ("number ~ x + (1 | g)", {"family": "student_t", "sigma": "~ f", "nu": "~ x"}),
}


def model(name, data, **changed):
    formula, options = CASES[name]
    return blm.Model(formula, data, **(options | changed))


def test_words_may_be_any_parameter_but_the_mean():
    assert set(PREDICTED) == {"nu", "phi", "shape", "zi", "hu", "zoi", "coi", "scale"}


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_differences(name, data):
    about = Approximation(model(name, data).design)
    psi = laplace_fit._start(about, 0.7)
    psi[about.n_beta + about.n_theta :] += 0.1 * fixed_rng(2).normal(size=about.parameters.size)
    _, gradient, about.last = about.at(psi)
    h = 1e-5
    for i in range(about.size):
        step = h * np.eye(about.size)[i]
        difference = (about.at(psi + step)[0] - about.at(psi - step)[0]) / (2 * h)
        # rounding of a sum of some hundreds, 1e-13, over h, and h² of a third derivative
        assert gradient[i] == pytest.approx(difference, rel=1e-6, abs=2e-7 * (1 + np.abs(gradient).max()))


@pytest.mark.parametrize("name", CASES)
def test_coordinates_go_back_and_forth(name, data):
    about = Approximation(model(name, data).design)
    free = fixed_rng(1).normal(size=about.parameters.size)
    np.testing.assert_allclose(about.parameters.free(about.parameters.named(free)), free, rtol=1e-9)


def test_a_constant_predictor_is_a_constant_parameter(data):
    plain = blm.Model("count ~ x + (1 | g)", data, family="zero_inflated_poisson").fit_ml()
    by_one = blm.Model("count ~ x + (1 | g)", data, family="zero_inflated_poisson", zi="~ 1").fit_ml(nAGQ=1)
    again = blm.Model("count ~ x + (1 | g)", data, family="zero_inflated_poisson").fit_ml(nAGQ=1)
    assert by_one.loglik == pytest.approx(again.loglik, abs=1e-8) and plain.n_parameters == by_one.n_parameters
    zi = float(again.solution.parameters["zi"])
    assert by_one.solution.parameters["beta_zi"][0] == pytest.approx(np.log(zi / (1 - zi)), abs=1e-5)
    assert by_one.solution.parameter_errors["beta_zi"][0] == pytest.approx(
        float(again.solution.parameter_errors["zi"]), rel=1e-4
    )


def test_a_hurdle_is_a_bernoulli_model_and_a_truncated_one(data):
    """Nothing is in common, so that both parts are fitted as if the other were not there."""
    hurdle = blm.Model("count ~ x + (1 | g)", data, family="hurdle_negbinomial", hu="~ f").fit_ml()
    some = data[data["count"] > 0]
    counts = blm.Model("count ~ x + (1 | g)", some, family="truncated_negbinomial").fit_ml(nAGQ=1)
    zeros = blm.Model("zero ~ f", data.assign(zero=(data["count"] == 0) * 1), family="bernoulli").fit_ml()
    assert hurdle.loglik == pytest.approx(counts.loglik + zeros.loglik, abs=1e-6)
    np.testing.assert_allclose(hurdle.solution.parameters["beta_hu"], zeros.solution.beta, atol=1e-5)
    np.testing.assert_allclose(
        hurdle.solution.parameter_errors["beta_hu"], np.sqrt(np.diag(zeros.solution.vcov)), rtol=1e-4
    )
    np.testing.assert_allclose(hurdle.solution.beta, counts.solution.beta, atol=1e-5)


def test_without_zeros_beside_the_counts_the_model_is_the_plain_one(data):
    rng = fixed_rng(3)
    counts = data.assign(count=rng.poisson(np.exp(0.3 * data.x + 0.4 * rng.normal(size=10)[data.g])))
    fewer = counts.assign(count=counts["count"] + 1)  # no zeros at all: zi goes to nothing
    with pytest.warns(SingularFitWarning, match="zi goes to zero, where the family is poisson"):
        inflated = blm.Model("count ~ x + (1 | g)", fewer, family="zero_inflated_poisson").fit_ml(nAGQ=1)
    plain = blm.Model("count ~ x + (1 | g)", fewer, family="poisson").fit_ml(nAGQ=1)
    assert inflated.solution.limits == ("zi",)
    # 160 rows at zi = 1e-6 differ from the plain density by 1e-6 each
    assert inflated.loglik == pytest.approx(plain.loglik, abs=1e-3)
    np.testing.assert_allclose(inflated.solution.beta, plain.solution.beta, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "zeros_in_b", "slope"),
    [
        ("zero_inflated_poisson", "none", -1.0),
        ("zero_inflated_poisson", "all", 1.0),
        ("zero_inflated_negbinomial", "none", -1.0),
        ("hurdle_poisson", "none", -1.0),
        ("hurdle_poisson", "all", 1.0),
    ],
)
def test_a_level_without_zeros_or_of_zeros_alone_is_named(family, zeros_in_b, slope, data):
    """Errors of what is finite are those of the rows that tell it: of the other level alone."""
    rng, parameter = fixed_rng(4), "hu" if family.startswith("hurdle") else "zi"
    counts = rng.poisson(3.0, len(data))
    in_b = counts + 1 if zeros_in_b == "none" else np.zeros(len(data))
    d = data.assign(count=np.where(data.f == "b", in_b, counts * (rng.random(len(data)) > 0.4)))
    options = {"family": family, parameter: "~ f"}
    with pytest.warns(ConvergenceWarning, match=f"separation of {parameter}_f\\[b\\]"):
        fit = blm.Model("count ~ 1", d, **options).fit_ml()
    assert fit.solution.status == "separated" and f"{parameter}_f[b]" in fit.solution.limits
    gamma, errors = fit.solution.parameters[f"beta_{parameter}"], fit.solution.parameter_errors[f"beta_{parameter}"]
    assert slope * gamma[1] > 8.0 and errors[1] > 10.0
    if family == "hurdle_poisson":  # a share of zeros in the rows of level a
        share = np.mean(d["count"][d.f == "a"] == 0)
        assert gamma[0] == pytest.approx(np.log(share / (1 - share)), abs=1e-5)
        assert errors[0] == pytest.approx((np.sum(d.f == "a") * share * (1 - share)) ** -0.5, rel=1e-4)
    else:
        assert 0.05 < errors[0] < 1.0


def test_a_level_with_zeros_that_counts_explain_is_no_separation_unless_it_is(data):
    rng = fixed_rng(6)
    d = data.assign(count=rng.poisson(3.0, len(data)) * (rng.random(len(data)) > np.where(data.f == "a", 0.2, 0.5)))
    fit = blm.Model("count ~ 1", d, family="zero_inflated_poisson", zi="~ f + x").fit_ml()
    assert fit.solution.status == "converged" and not fit.solution.limits


@pytest.mark.parametrize("name", ["zi", "both", "sigma", "scale"])
def test_the_pymc_model_has_the_same_density(name, data):
    """At draws of the priors: log likelihood and log prior as the loops and SciPy have them."""
    from pymc import stats

    m = model(name, data)
    prior = m.prior_predictive(3, random_seed=1)
    tree = m.read_draws(type(prior).from_dict({"posterior": prior["prior"].to_dataset()})).idata
    posterior = tree["posterior"].to_dataset()
    ours = log_likelihood(m.design, posterior)["y"].to_numpy()
    graph = stats.compute_log_likelihood(tree, model=m.pymc, extend_inferencedata=False, progressbar=False)
    np.testing.assert_allclose(graph["y"].to_numpy(), ours, rtol=1e-8, atol=1e-8)
    of_priors = stats.compute_log_prior(tree, model=m.pymc, extend_inferencedata=False, progressbar=False)
    for variable in m.design.of_variable:
        np.testing.assert_allclose(
            of_priors[variable].to_numpy(), log_prior(m.design, m.priors, posterior)[variable].to_numpy(), rtol=1e-8
        )


def test_rows_are_predicted_with_their_own_parameter(data):
    m = model("zi", data)
    fit = m.fit_ml()
    mean = fit.predict(data.iloc[:7], groups="observed")
    np.testing.assert_allclose(mean, fit.fitted()[:7], rtol=1e-12)
    gamma = fit.solution.parameters["beta_zi"]
    X = np.column_stack([np.ones(7), data.f[:7] == "b", data.x[:7]])
    eta = fit.predict(data.iloc[:7], groups="observed", kind="link")
    np.testing.assert_allclose(mean, np.exp(eta) / (1.0 + np.exp(X @ gamma)), rtol=1e-9)
    with pytest.raises(UnknownColumnError, match="'f'.*zi='~ f"):
        fit.predict(data.drop(columns="f"))
    with pytest.raises(NotAvailableError, match="E\\(y\\) hangs on zi"):
        fit.predict(data.iloc[:7], interval="plug-in")
    with pytest.raises(NotAvailableError, match="E\\(y\\) hangs on zi"):
        fit.comparisons("x")


def test_they_survive_a_file(data, tmp_path):
    m = model("both", data)
    fit = m.fit_ml()
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    for variable, value in fit.solution.parameters.items():
        np.testing.assert_array_equal(again.solution.parameters[variable], value)
    assert str(again.summary()) == str(fit.summary()) and "logit(hu): ~ 0 + f" in str(fit.summary())
    assert again.design.described == m.design.described
    smaller = fit.update(". ~ (1 | g)")
    assert list(smaller.design.predictors) == list(m.design.predictors) and smaller.design.p == 1


def test_priors_are_those_of_a_constant_on_its_link(data):
    m = model("both", data)
    table = m.priors.table().set_index("parameter")
    assert table.loc["shape_Intercept", "prior"] == "Normal(mu=2, sigma=1.5)"  # of LogNormal(2, 1.5)
    assert list(table.index[-4:]) == ["shape_Intercept", "shape_x", "hu_f[a]", "hu_f[b]"]
    assert table.loc["shape_x", "reason"].startswith("1 log unit / sd(x)")
    mine = blm.Prior("Normal", mu=0, sigma=0.3)
    changed = model("both", data, priors={"hu_f[a]": mine, ("shape", "fixed"): mine}).priors
    assert changed.get("coef", "hu", "f[a]") == mine == changed.get("coef", "shape", "x")
    with pytest.raises(PriorError, match="hu has a linear predictor here: 'hu_f\\[a\\]'"):
        model("both", data, priors={"hu": mine})
    with pytest.raises(PriorError, match="no probabilities"):
        blm.Model("count ~ x", data, family="hurdle_poisson", priors={"hu": blm.Prior("HalfNormal", sigma=1)})


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"family": "poisson", "zi": "~ f"}, InputError, "no zi.*zero_inflated_poisson"),
        ({"family": "poisson", "scale": "~ f"}, InputError, "no scale.*Families with scale: ordinal"),
        ({"family": "ordinal", "scale": "~ 1"}, FormulaError, "there is no column.*relative"),
        ({"family": "ordinal", "scale": "~ 1 + (1 | g)"}, FormulaError, "there is no column.*relative"),
        ({"family": "gaussian", "nu": "~ f"}, InputError, "no nu.*student_t"),
        ({"family": "zero_inflated_poisson", "zi": "f"}, FormulaError, "'~' first"),
        ({"family": "zero_inflated_poisson", "zi": "~ 0"}, FormulaError, "no term"),
        ({"family": "zero_inflated_poisson", "zi": "~ (1 | mm(g, h))"}, NotAvailableError, "a row has one"),
        ({"family": "zero_inflated_poisson", "zi": "~ lost"}, UnknownColumnError, "'lost' \\(zi=\\)"),
        ({"family": "zero_inflated_poisson", "zi": "~ eval(f)", "trust": False}, FormulaError, "eval"),
        ({"family": "lognormal", "sigma": "~ f"}, NotAvailableError, "log\\(y\\)"),
    ],
)
def test_what_has_no_meaning_is_refused(options, error, says, data):
    response = "size" if options["family"] == "lognormal" else "count"
    with pytest.raises(error, match=says):
        blm.Model(f"{response} ~ x + (1 | g)", data, **options)


def test_quadrature_is_refused(data):
    with pytest.raises(NotAvailableError, match="zi has a linear predictor"):
        model("zi", data).fit_ml(nAGQ=9)


def test_models_are_compared_by_their_predictors(data):
    plain = blm.Model("count ~ x + (1 | g)", data, family="zero_inflated_negbinomial").fit_ml()
    wider = model("zi", data).fit_ml()
    table = blm.anova(plain, wider).table
    assert table["df"].iloc[-1] == 2.0 and 0.0 < table["p_value"].iloc[-1] < 1.0
    other = model("zi", data, zi="~ f").fit_ml()
    crossed = model("zi", data, zi="~ x").fit_ml()
    assert "does not contain its predictors" in str(blm.anova(other, crossed))


def test_a_parameter_is_predicted_and_compared_with_its_errors(data):
    fit = model("zi", data).fit_ml()
    rows = data[["f", "x"]].iloc[:5]  # no group is needed
    gamma = fit.solution.parameters["beta_zi"]
    X = np.column_stack([np.ones(5), rows.f == "b", rows.x])
    table = fit.predict(rows, parameter="zi", interval="plug-in")
    np.testing.assert_allclose(table["estimate"], 1.0 / (1.0 + np.exp(-X @ gamma)), rtol=1e-10)
    assert ((0.0 < table["conf_low"]) & (table["conf_low"] < table["estimate"]) & (table["conf_high"] < 1.0)).all()
    # at x = 0 and the first level the linked parameter is the intercept, with its error
    at_zero = fit.predict(pd.DataFrame({"f": ["a"], "x": [0.0]}), parameter="zi", interval="plug-in").iloc[0]
    slope = at_zero["estimate"] * (1.0 - at_zero["estimate"])
    assert at_zero["std_error"] / slope == pytest.approx(fit.solution.parameter_errors["beta_zi"][0], rel=1e-3)
    difference = fit.comparisons("f", parameter="zi", at={"x": [3.0]}).iloc[0]
    two = fit.predict(pd.DataFrame({"f": ["a", "b"], "x": [3.0, 3.0]}), parameter="zi")
    assert (
        difference["estimate"] == pytest.approx(two.iloc[1] - two.iloc[0], rel=1e-9) and difference["std_error"] > 0.0
    )
    np.testing.assert_allclose(fit.predict(parameter="shape"), fit.solution.parameters["shape"])
    with pytest.raises(InputError, match="shape is the same in all rows"):
        fit.comparisons("x", parameter="shape")
    with pytest.raises(InputError, match="no such parameter.*shape, zi"):
        fit.predict(parameter="phi")
    with pytest.raises(InputError, match="kind= is about responses"):
        fit.predict(parameter="zi", kind="response")


def test_draws_of_a_parameter_are_those_of_its_coefficients(data):
    """A posterior that is a hundred draws of the priors."""
    m = model("zi", data)
    prior = m.prior_predictive(100, random_seed=1)
    post = m.read_draws(type(prior).from_dict({"posterior": prior["prior"].to_dataset()}))
    rows = pd.DataFrame({"f": ["a", "b"], "x": [2.0, 2.0]})
    gamma = post.draws("beta_zi")[0]
    zi = 1.0 / (1.0 + np.exp(-gamma @ np.array([[1.0, 1.0], [0.0, 1.0], [2.0, 2.0]])))
    np.testing.assert_allclose(post.predict(rows, parameter="zi")["mean"], zi.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(post.predict(rows, parameter="zi", draws=True).to_numpy()[0], zi, rtol=1e-10)
    compared = post.comparisons("f", parameter="zi", at={"x": [2.0]})
    assert compared["estimate"].iloc[0] == pytest.approx((zi[:, 1] - zi[:, 0]).mean(), rel=1e-9)
    assert compared["p_positive"].iloc[0] == pytest.approx((zi[:, 1] > zi[:, 0]).mean())
    ratio = post.comparisons("f", kind="ratio", parameter="zi", at={"x": [2.0]}, draws=True)
    np.testing.assert_allclose(ratio.to_numpy().reshape(-1), zi[:, 1] / zi[:, 0], rtol=1e-9)
    assert post.slopes("x", parameter="zi")["estimate"].notna().all()


def test_what_the_data_do_not_tell_of_a_parameter_is_missing(data):
    """x2 is twice x in the data: rows where it is not, and effects of either alone, have no number."""
    d = data.assign(x2=2.0 * data.x)
    with pytest.warns(AliasedColumnsWarning, match="x2 left out"):
        model = blm.Model("size ~ f + (1 | g)", d, family="gamma", shape="~ x + x2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        fit = model.fit_ml()
    for name in ("x", "x2"):
        with pytest.warns(NotEstimableWarning, match="x2 depends linearly"):
            effects = fit.comparisons(name, parameter="shape")
        assert effects[["estimate", "std_error"]].isna().all(axis=None)
    rows = pd.DataFrame({"x": [1.0, 1.0], "x2": [2.0, 5.0], "f": "a", "g": 1})
    with pytest.warns(NotEstimableWarning, match="1 of 2 rows"):
        shape = fit.predict(rows, parameter="shape", interval="plug-in")
    assert shape["estimate"].notna().tolist() == [True, False]
    assert np.isfinite(fit.fitted()).all() and np.isfinite(fit.predict(rows, groups="average")).all()
