"""Bars, smooths and offsets in linear predictors of the family's parameters: laws, rows, names, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.errors import DataError, InputError, NotAvailableError, UnknownColumnError, UnseenLevelError
from bayeslmm.results.log_density import log_likelihood, log_prior

J = 12


@pytest.fixture(scope="module")
def data():
    """Numbers whose sd, and counts whose share of zeros, differ between groups and along x."""
    rng = fixed_rng(8)
    n = 20 * J
    d = pd.DataFrame({"x": rng.normal(size=n) + 3.0, "g": np.arange(n) % J, "t": rng.uniform(1.0, 3.0, n)})
    b = 0.7 * rng.normal(size=J)
    d["y"] = 1.0 + 0.5 * d.x + np.exp(0.3 * (d.x - 3.0) + b[d.g]) * rng.normal(size=n)
    zi = 1.0 / (1.0 + np.exp(1.0 - b[d.g]))
    d["count"] = rng.poisson(np.exp(0.2 * d.x)) * (rng.random(n) > zi)
    return d


CASES = {
    "sigma": ("y ~ x + (1 | g)", {"sigma": "~ x + (x | g)"}),
    "t": ("y ~ x", {"family": "student_t", "sigma": "~ (1 | g)", "nu": "~ x"}),
    "zi": ("count ~ x + (1 | g)", {"family": "zero_inflated_poisson", "zi": "~ (1 | g) + offset(log(t))"}),
    "smooth": ("y ~ x", {"sigma": "~ s(x, k=5)"}),
}


def model(name, data, **changed):
    formula, options = CASES[name]
    return blm.Model(formula, data, **(options | changed))


def from_priors(m, draws=4):
    """A posterior fit whose draws are those of the priors, for what is told of any draws."""
    prior = m.prior_predictive(draws, random_seed=3)
    with pytest.warns(blm.errors.SamplingWarning):
        return m.read_draws(type(prior).from_dict({"posterior": prior["prior"].to_dataset()}))


@pytest.fixture(scope="module")
def posts(data):
    return {name: from_priors(model(name, data)) for name in CASES}


def drawn(post, name):
    return post.draws(name)[0]


def log_sigma(post, d, b):
    gamma = drawn(post, "beta_sigma")
    X = np.column_stack([np.ones(len(d)), d.x])
    return gamma @ X.T + b[:, d.g, 0] + b[:, d.g, 1] * d.x.to_numpy()


def test_the_density_is_that_of_the_model_as_it_is_written(data, posts):
    post = posts["sigma"]
    sd = np.exp(log_sigma(post, data, drawn(post, "b_sigma_g")))
    eta = drawn(post, "beta") @ np.column_stack([np.ones(len(data)), data.x]).T + drawn(post, "b_g")[:, data.g, 0]
    ours = log_likelihood(post.design, post.idata.posterior.to_dataset())["y"].to_numpy()[0]
    np.testing.assert_allclose(ours, stats.norm.logpdf(data.y.to_numpy(), eta, sd), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "without"), [("sigma", None), ("zi", "~ offset(log(t))")])
def test_without_effects_the_model_is_that_without_bars(name, without, data, posts):
    """At b = 0: that of a constant-free predictor, which another part of the package evaluates."""
    post, parameter = posts[name], name
    posterior = post.idata.posterior.to_dataset().copy(deep=True)
    posterior[f"b_{parameter}_g"][:] = 0.0
    ours = log_likelihood(post.design, posterior)["y"].to_numpy()
    if name == "sigma":  # of residuals with a log-linear sd: sigma at x = 0, and one log ratio
        plain = blm.Model("y ~ x + (1 | g)", data, sigma="~ x")
        gamma = posterior["beta_sigma"].to_numpy()
        posterior = posterior.assign(
            sigma=(("chain", "draw"), np.exp(gamma[..., 0])),
            log_ratio=(("chain", "draw", "log_ratio_term"), gamma[..., 1:]),
        )
    else:
        plain = model(name, data, zi=without)
    theirs = log_likelihood(plain.design, posterior)["y"].to_numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_pymc_model_has_the_same_density(name, data, posts):
    """At draws of the priors: log likelihood, log priors, and effects as normal numbers given their sds."""
    from pymc import stats as of_pymc

    post = posts[name]
    tree, posterior = post.idata, post.idata.posterior.to_dataset()
    m = model(name, data)
    graph = of_pymc.compute_log_likelihood(tree, model=m.pymc, extend_inferencedata=False, progressbar=False)
    ours = log_likelihood(m.design, posterior)["y"].to_numpy()
    np.testing.assert_allclose(graph["y"].to_numpy(), ours, rtol=1e-8, atol=1e-8)
    of_priors = of_pymc.compute_log_prior(tree, model=m.pymc, extend_inferencedata=False, progressbar=False)
    mine = log_prior(m.design, m.priors, posterior)
    for variable in mine:
        where = dict(rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(of_priors[variable].to_numpy().sum(), mine[variable].to_numpy().sum(), **where)
    group = m.design.parameter_groups[0]
    sd, b = (drawn(post, m.design.names.sd[group.name]), drawn(post, m.design.names.b[group.name]))
    if group.q == 1:
        normal = stats.norm.logpdf(b[..., 0], 0.0, sd).sum()
        assert float(of_priors[m.design.names.b[group.name]].sum()) == pytest.approx(normal, rel=1e-8)


def test_a_parameter_is_predicted_for_known_new_average_and_all_groups(data, posts):
    post = posts["zi"]
    rows = pd.DataFrame({"g": [0, 5], "t": [1.0, 2.0]})  # no x: it is not a predictor of zi
    eta = drawn(post, "beta_zi")[:, :1] + np.log(rows.t.to_numpy())
    sd, b = drawn(post, "sd_zi_g")[:, :1], drawn(post, "b_zi_g")[:, [0, 5], 0]

    def zi(groups, newdata=rows, **options):
        return post.predict(newdata, parameter="zi", groups=groups, draws=True, **options).to_numpy()[0]

    np.testing.assert_allclose(zi("observed"), 1 / (1 + np.exp(-eta - b)), rtol=1e-10)
    np.testing.assert_allclose(zi("average", rows[["t"]]), 1 / (1 + np.exp(-eta)), rtol=1e-10)
    z = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)  # an average over groups by a fine grid of quantiles
    each = 1 / (1 + np.exp(-eta[..., None] - sd[..., None] * z))
    # 21 nodes where the sd of the log odds is up to some units, and tails beyond 4e-5
    np.testing.assert_allclose(zi("population", rows[["t"]]), each.mean(axis=-1), atol=2e-3)
    new = zi("new", random_seed=1)
    assert not np.allclose(new, zi("new", random_seed=2)) and np.array_equal(new, zi("new", random_seed=1))
    with pytest.raises(UnseenLevelError, match="no zi_g of the fit"):
        post.predict(rows.assign(g=99), parameter="zi")
    with pytest.raises(UnknownColumnError, match="'g'"):
        post.predict(rows[["t"]], parameter="zi")


def test_what_is_asked_of_a_factor_is_asked_of_it_in_every_predictor(data, posts):
    post, rows = posts["zi"], data.iloc[:3]
    both = post.predict(rows, groups={"g": "average"}, draws=True).to_numpy()
    np.testing.assert_array_equal(both, post.predict(rows, groups="average", draws=True).to_numpy())
    one = post.predict(rows, groups={"g": "average", "zi_g": "observed"}, draws=True).to_numpy()
    share = post.predict(rows, parameter="zi", draws=True).to_numpy()
    none = post.predict(rows, parameter="zi", groups="average", draws=True).to_numpy()
    np.testing.assert_allclose(one / (1 - share), both / (1 - none), rtol=1e-9)


def test_responses_have_the_sd_of_their_group(data, posts):
    """Mean and sd of simulated rows against the draws that they are of."""
    post = posts["sigma"]
    rows = data.iloc[np.repeat([0], 4000)]
    y = post.predict(rows, kind="response", draws=True, random_seed=1).to_numpy()[0]
    sd = np.exp(log_sigma(post, data.iloc[:1], drawn(post, "b_sigma_g")))[:, 0]
    np.testing.assert_allclose(y.std(axis=1), sd, rtol=0.06)  # five standard errors of an sd of 4000
    every = post.predict(rows, parameter="sigma", draws=True).to_numpy()[0]
    np.testing.assert_allclose(every[:, 0], sd, rtol=1e-10)


def test_tables_name_the_effects_of_a_parameter(data, posts):
    post = posts["sigma"]
    ranef = post.ranef()
    assert list(dict.fromkeys(ranef["group"])) == ["g", "sigma_g"] and len(ranef) == J + 2 * J
    assert {"sd__Intercept", "sd__x", "cor__Intercept.x"} <= set(post.tidy("ran_pars").query("group == 'sigma_g'").term)
    assert set(post.var_corr()) == {"g", "sigma_g"}
    text = str(post.summary())
    assert "Group-level effects of sigma_g (12 levels):" in text and "log(sigma): ~ x + (x | g)" in text
    assert "sd(x | sigma_g) > 0" in str(post.hypothesis("sd(x | sigma_g) > 0"))
    told = " ".join(str(model("sigma", data).explain()).split())
    assert "Each level of g has its own intercept and its own effect of x of that log (called sigma_g)" in told
    assert "b₀[sigma_g_i]" in str(model("sigma", data).equations())


def test_priors_have_keys_of_their_own_and_do_not_hang_on_the_zero_of_x(data):
    mine = blm.Prior("HalfNormal", sigma=0.3)
    m = model("sigma", data, priors={("sd", "sigma_g", "Intercept"): mine, ("cor", "sigma_g"): blm.LKJ(5)})
    assert m.priors.get("sd", "sigma_g", "Intercept") == mine != m.priors.get("sd", "g", "Intercept")
    assert m.priors.get("cor", "sigma_g") == blm.LKJ(5)
    table = model("sigma", data).priors.table().set_index("parameter")
    assert table.loc["sd(Intercept | sigma_g)", "reason"].startswith("1 log unit; at mean x")
    moved = model("sigma", data.assign(x=data.x + 7.0)).priors.table().set_index("parameter")
    assert table.loc["sd(x | sigma_g)", "prior"] == moved.loc["sd(x | sigma_g)", "prior"]


def test_they_survive_a_file(posts, tmp_path):
    post = posts["sigma"]
    blm.save(post, tmp_path / "post.nc")
    again = blm.load(tmp_path / "post.nc")
    assert again.design.described == post.design.described
    np.testing.assert_array_equal(again.draws("b_sigma_g"), post.draws("b_sigma_g"))


def test_point_fits_take_offsets_and_refuse_effects(data):
    for name in ("sigma", "zi", "smooth"):
        with pytest.raises(NotAvailableError, match="fit_ml and fit_reml .* fit\\(\\) draws the posterior"):
            model(name, data).fit_ml()
    with pytest.raises(NotAvailableError, match="linear predictor"):
        model("sigma", data).fit(method="exact")
    options = {"family": "student_t", "sigma": "~ log(t)"}
    free = blm.Model("y ~ x", data, **options).fit_ml()
    slope = float(free.solution.parameters["beta_sigma"][1])
    fixed = blm.Model("y ~ x", data, **(options | {"sigma": f"~ offset({slope} * log(t))"})).fit_ml()
    assert fixed.loglik == pytest.approx(free.loglik, abs=1e-6)  # an offset at the estimate is no loss
    rows = data.iloc[:4]
    np.testing.assert_allclose(fixed.predict(rows, parameter="sigma"), free.predict(rows, parameter="sigma"), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"sigma": "~ (1 | lost)"}, UnknownColumnError, "lost.*sigma="),
        ({"sigma": "~ (1 | gr(g, cov=A))"}, NotAvailableError, "formula of the mean"),
        ({"sigma": "~ (1 | g)", "se": "t"}, InputError, "se="),
        ({"sigma": "~ (1 | g)", "residual": "ar1(t | g)"}, NotAvailableError, "without bars"),
        ({"sigma": "~ (eval(x) | g)", "trust": False}, blm.errors.FormulaError, "eval"),
    ],
)
def test_what_has_no_meaning_is_refused(options, error, says, data):
    with pytest.raises(error, match=says):
        blm.Model("y ~ x", data, **options)


def test_a_column_may_not_be_called_like_a_term(data):
    with pytest.raises(DataError, match="'sigma_g'"):
        blm.Model("y ~ x + (1 | sigma_g)", data.assign(sigma_g=data.g), sigma="~ (1 | g)")
    with pytest.raises(DataError, match="'sigma_x'"):  # one row of tables, and one key of priors, for two coefficients
        blm.Model("y ~ sigma_x + (1 | g)", data.assign(sigma_x=data.x**2), family="student_t", sigma="~ x")


@pytest.mark.filterwarnings("ignore:loo.* Pareto k above:bayeslmm.errors.SamplingWarning")  # of a row in some draws
def test_nuts_finds_the_groups_that_scatter(data):
    """End to end: the sds that rows were drawn with, found again by group."""
    post = model("t", data, sigma="~ x + (1 | g)", family="gaussian", nu=None).fit(
        draws=300, tune=400, chains=2, random_seed=1, progressbar=False
    )
    of_groups = data.assign(e=data.y - 1.0 - 0.5 * data.x).groupby("g")["e"].std()
    told = post.ranef().query("group == 'sigma_g'")["mean"].to_numpy()
    assert np.corrcoef(told, np.log(of_groups))[0, 1] > 0.9
    assert "since sigma has a linear predictor" in post.verdict
    for refused in (post.loo, lambda: post.loo("g")):
        with pytest.raises(NotAvailableError, match=r"quadrature.*kfold\(\) leave out rows"):
            refused()
    with pytest.raises(NotAvailableError, match="same in all rows"):  # before anything is fitted
        blm.kfold(post, unit="g")
    assert np.isfinite(post.loo(conditional=True).elpd)
    assert blm.check(post).table is not None
