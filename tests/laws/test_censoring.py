"""``cens(y, status)``: rows of which only an interval is known, in point fits, posteriors and every verb."""

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.cli.main import main
from bayeslmm.errors import BayesLMMError, DataError, FormulaError, NotAvailableError
from bayeslmm.families import CENSORED
from bayeslmm.results.log_density import log_likelihood

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

RESPONSES = {"gaussian": "y", "lognormal": "t", "weibull": "t"}


@pytest.fixture(scope="module")
def data():
    """80 rows of ten groups; a third of the times end the study at 2.5, some are known to lie in an interval."""
    rng = fixed_rng(5)
    d = pd.DataFrame({"x": rng.normal(size=80), "g": np.arange(80) % 10})
    eta = 0.4 + 0.5 * d.x + rng.normal(0.0, 0.5, 10)[d.g]
    d["true"] = np.exp(eta) * rng.weibull(1.5, 80)
    d["t"] = np.minimum(d.true, 2.5)
    d["event"] = (d.true < 2.5).astype(int)
    d["status"] = np.where(d.event == 1, "none", "right")
    d.loc[[3, 14, 25], "status"] = "left"
    d["upper"] = d.t + 0.4
    d.loc[[8, 40, 61], "status"] = "interval"
    d["y"], d["y_upper"] = np.log(d.t), np.log(d.upper)
    d["seen"] = "none"
    d["w"] = rng.integers(1, 4, 80)
    return d


def model(data, family, right="x + (1 | g)", **options):
    y = RESPONSES[family]
    upper = "y_upper" if y == "y" else "upper"
    return blm.Model(f"cens({y}, status, {upper}) ~ {right}", data, family=family, **options)


@pytest.mark.parametrize("family", RESPONSES)
def test_nothing_censored_is_the_plain_model(data, family):
    y = RESPONSES[family]
    fits = [blm.Model(f"{left} ~ x + (1 | g)", data, family=family).fit_ml() for left in (f"{y} | cens(seen)", y)]
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-7)
    np.testing.assert_allclose(fits[0].fixef()["estimate"], fits[1].fixef()["estimate"], atol=1e-5)
    np.testing.assert_allclose(fits[0].predict(), fits[1].predict(), atol=1e-4)


@pytest.mark.parametrize("family", RESPONSES)
def test_the_likelihood_is_that_of_density_and_distribution(data, family):
    """Without groups the log likelihood is a sum over rows, by SciPy's distributions, and here it has its maximum."""
    from scipy import optimize, special, stats

    fit = model(data, family, "x").fit_ml()
    upper = data.y_upper if family == "gaussian" else data.upper
    y, status = data[RESPONSES[family]].to_numpy(), data.status.to_numpy()

    def loglik(numbers):
        *beta, log_parameter = numbers
        eta, parameter = beta[0] + beta[1] * data.x.to_numpy(), np.exp(log_parameter)
        of = {
            "gaussian": lambda: stats.norm(eta, parameter),
            "lognormal": lambda: stats.lognorm(parameter, scale=np.exp(eta)),
            "weibull": lambda: stats.weibull_min(parameter, scale=np.exp(eta - special.gammaln(1 + 1 / parameter))),
        }[family]()
        parts = {
            "none": of.logpdf(y),
            "right": of.logsf(y),
            "left": of.logcdf(y),
            "interval": np.log(of.cdf(upper) - of.cdf(y)),
        }
        return sum(part[status == word].sum() for word, part in parts.items())

    parameter = fit.design.family.parameters[0]
    at = [*fit.solution.beta, np.log(fit.solution.parameters[parameter])]
    assert fit.loglik == pytest.approx(loglik(at), rel=1e-9)
    best = optimize.minimize(lambda numbers: -loglik(numbers), at, method="Nelder-Mead")
    assert -best.fun <= fit.loglik + 1e-6


@pytest.mark.parametrize("family", RESPONSES)
def test_derivatives(data, family):
    """Those of compiled rows are differences of the row's log probability: to the rounding of steps of 1e-5."""
    from bayeslmm.families.densities import bends, numbers, row

    kind = CENSORED[family](link=CENSORED[family].links[0])
    step, shape = 1e-5, np.array([1.4])
    for low, high in [(0.3, np.inf), (0.2, 0.9), (0.3, 0.3), (kind.lowest, 0.4), (6.0, np.inf), (5.0, 5.2)]:
        low, high = (float(kind.working_response(np.array([end]))[0]) for end in (low, high))

        def parts(eta, parameters, low=low, high=high):
            return np.array(bends(*numbers(kind), low, high, 1.0, eta, parameters))

        exact = parts(0.2, shape)
        by_eta = (parts(0.2 + step, shape) - parts(0.2 - step, shape)) / (2.0 * step)
        by_parameter = (parts(0.2, shape + step) - parts(0.2, shape - step)) / (2.0 * step)
        np.testing.assert_allclose(exact[1:4], by_eta[:3], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(exact[4:7], by_parameter[:3], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(row(*numbers(kind), low, high, 1.0, 0.2, shape)[:3], exact[[0, 1, 4]], rtol=1e-12)


@pytest.mark.parametrize("family", RESPONSES)
def test_the_graph_is_the_same_density(data, family):
    """PyMC's density of the response is the sum of that of the compiled rows, counted by likelihood weights as well."""
    import xarray as xr

    left = f"{RESPONSES[family]} | cens(status, {'y_upper' if family == 'gaussian' else 'upper'}) + weights(w)"
    made = blm.Model(f"{left} ~ 0 + x", data, family=family)
    graph, parameter = made.pymc, made.design.family.parameters[0]
    density = graph.compile_logp(vars=[graph["y"], *graph.potentials])
    point = {name: np.full_like(value, 0.3) for name, value in graph.initial_point().items()}
    each = ("chain", "draw")
    values = xr.Dataset({"beta": ((*each, "coef"), [[[0.3]]]), parameter: (each, [[np.exp(0.3)]])})
    values = values.assign_coords(chain=[0], draw=[0])
    assert float(density(point)) == pytest.approx(float(log_likelihood(made.design, values)["y"].sum()), rel=1e-6)


@pytest.mark.parametrize("family", RESPONSES)
def test_verbs_of_a_point_fit_answer_or_refuse(data, family, tmp_path):
    answer_or_refuse(model(data, family).fit_ml(), data, tmp_path)
    assert "probability of what is known" in str(model(data, family).equations())


def test_verbs_of_a_posterior_answer_or_refuse(data, tmp_path):
    """A posterior mean lies within a standard error of the estimate: the data are the same and the priors wide."""
    made = model(data, "weibull")
    fit, post = made.fit_ml(), made.fit(draws=300, random_seed=1, progressbar=False)
    answer_or_refuse(post, data, tmp_path)
    assert np.isfinite(post.loo().elpd)
    z = (post.fixef()["mean"] - fit.fixef()["estimate"]) / fit.fixef()["std_error"]
    assert np.abs(z).max() < 1.0


def answer_or_refuse(fit, data, tmp_path):
    for verb in ("summary", "fixef", "ranef", "tidy", "glance", "augment", "r2", "icc", "predict", "fitted"):
        assert str(getattr(fit, verb)())
    assert np.isfinite(fit.augment().select_dtypes("number")).all().all()
    assert len(fit.simulate(2, random_seed=1)) == len(data)
    assert "right" in str(fit.summary())
    others = (lambda: blm.ppc(fit), lambda: fit.refit(data.t), lambda: blm.plot_residuals(fit))
    for refused in (fit.residuals, *others):
        with pytest.raises(NotAvailableError, match="censored"):
            refused()
    level = blm.check(fit, random_seed=2)["residual distribution"].level
    assert level in ("ok", "look") if fit.design.family.name == "weibull" else level != "none"  # the truth is Weibull
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.design.bounds, fit.design.bounds)
    np.testing.assert_allclose(again.predict(), fit.predict())


def test_models_and_fits_are_updated(data):
    made = model(data, "weibull")
    assert made.update(". ~ . - x").design.family.is_censored
    changed = made.fit_ml().update("t ~ x")
    assert changed.design.bounds is None
    assert changed.loglik == pytest.approx(blm.Model("t ~ x", data, family="weibull").fit_ml().loglik)


def test_conditions_words_and_brms(data):
    fits = [
        blm.Model(f"{left} ~ x", data, family="weibull").fit_ml().loglik
        for left in ("t | cens(event == 0)", "cens(t, event == 0)", "cens(t, ifelse(event == 1, 'none', 'right'))")
    ]
    np.testing.assert_allclose(fits, fits[0], rtol=1e-12)
    trusted = blm.Model("t | cens(status, upper) ~ x", data, family="weibull", trust=False)
    assert trusted.design.family.is_censored


def test_the_command_line(data, tmp_path, capsys):
    data.to_csv(tmp_path / "d.csv", index=False)
    arguments = ["fit", str(tmp_path / "d.csv"), "t | cens(event == 0) ~ x + (1 | g)", "--family", "weibull", "--ml"]
    assert main(arguments) == 0
    assert "censored: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("formula", "family", "message"),
    [
        ("cens(t, event) ~ x", "weibull", "opposite things"),
        ("cens(t, g) ~ x", "weibull", "opposite things"),
        ("cens(t, seen, upper, x) ~ x", "weibull", "cens"),
        ("cens(t, 'interval') ~ x", "weibull", "larger number"),
        ("cens(t, 'interval', t - 1) ~ x", "weibull", "larger number"),
        ("cens(t, 'dead') ~ x", "weibull", "'dead' is no status"),
        ("cens(t, 'right') ~ x", "weibull", "no row was observed"),
        ("cens(status, event == 0) ~ x", "weibull", "numbers"),
        ("cens(t - 1, event == 0) ~ x", "lognormal", "numbers above zero"),
        ("cens(t, event == 0) ~ x", "poisson", "'gaussian', 'lognormal', 'weibull'"),
        ("t | cens(event == 0) + trials(g) ~ x", "weibull", "left side"),
    ],
)
def test_what_censoring_is_not(data, formula, family, message):
    with pytest.raises((DataError, FormulaError, NotAvailableError), match=message):
        blm.Model(formula, data, family=family)


def test_censoring_is_not_ignored(data):
    """Taking ends of a study for events shortens times: the effect of what lengthens them is too small then."""
    censored = blm.Model("t | cens(event == 0) ~ x + (1 | g)", data, family="weibull").fit_ml()
    plain = blm.Model("t ~ x + (1 | g)", data, family="weibull").fit_ml()
    assert censored.predict(groups="average").mean() > plain.predict(groups="average").mean()
    with pytest.raises(BayesLMMError, match="different responses"):
        blm.anova(censored, plain)
