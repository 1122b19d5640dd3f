"""PyMC's and ArviZ's own functions on (post.idata, model.pymc): they run, and say what this package says."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.errors import SamplingWarning

FORMULAS = {"binomial": "p(y, m) ~ x + (x | g)"}
CASES = [
    ("gaussian", "exact"),
    ("gaussian", "nuts"),
    ("lognormal", "exact"),
    ("student_t", "nuts"),
    ("bernoulli", "nuts"),
    ("binomial", "nuts"),
    ("poisson", "nuts"),
    ("negbinomial", "nuts"),
    ("gamma", "nuts"),
    ("beta", "nuts"),
    ("ordinal", "nuts"),
]
DRAWS = 150


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    n = 160
    g = np.repeat(np.arange(8), 20)
    x = rng.normal(3.0, 1.0, n)
    latent = 0.7 * (x - 3.0) + rng.normal(0, 1, 8)[g] + rng.logistic(size=n) / 2
    count = np.digitize(latent, [-1.0, 0.0, 1.0])
    responses = {
        "gaussian": latent,
        "lognormal": np.exp(latent),
        "student_t": latent,
        "bernoulli": np.where(count > 1, "yes", "no"),
        "binomial": count,
        "poisson": count,
        "negbinomial": count,
        "gamma": np.exp(latent / 2),
        "beta": 1 / (1 + np.exp(-latent)),
        "ordinal": np.array([2, 3, 5, 6])[count],
    }
    table = pd.DataFrame({"x": x, "g": [f"g{i}" for i in g], "m": 5})
    return {name: table.assign(y=y) for name, y in responses.items()}


@pytest.fixture(scope="module")
def fitted(data):
    kept = {}

    def fit(family, method):
        if (family, method) not in kept:
            model = blm.Model(FORMULAS.get(family, "y ~ x + (x | g)"), data[family], family=family)
            with warnings.catch_warnings():  # what the draws are like does not matter here
                warnings.simplefilter("ignore", SamplingWarning)
                post = model.fit(method=method, draws=DRAWS, tune=300, chains=2, random_seed=1, progressbar=False)
            kept[family, method] = model, post
        return kept[family, method]

    return fit


@pytest.mark.parametrize(("family", "method"), CASES)
def test_the_posterior_holds_the_free_variables_of_the_model(fitted, family, method):
    model, post = fitted(family, method)
    posterior = post.idata.posterior
    free, derived = model.pymc.free_RVs, model.pymc.deterministics
    assert {v.name for v in free} | {v.name for v in derived} == set(posterior.data_vars)
    # x lies three sds from zero, so that the priors of sds and correlations are stated at its mean
    assert {v.name for v in derived} == {"sd_g", "cor_g"}
    shapes = model.pymc.eval_rv_shapes()
    for name, draws in posterior.data_vars.items():
        assert name in {"sd_g", "cor_g"} or tuple(shapes[name]) == draws.shape[2:]
        assert model.pymc.named_vars_to_dims.get(name, ()) == draws.dims[2:]


@pytest.mark.parametrize(("family", "method"), CASES)
def test_densities_by_pymc_are_ours(fitted, family, method):
    model, post = fitted(family, method)
    tree = post.idata.copy()
    pm.compute_log_likelihood(tree, model=model.pymc, progressbar=False)
    pm.stats.compute_log_prior(tree, model=model.pymc, progressbar=False)
    post.compute_log_likelihood()
    post.compute_log_prior()
    ours = post.idata
    np.testing.assert_allclose(tree.log_likelihood["y"], ours.log_likelihood["y"], rtol=1e-9, atol=1e-9)
    # PyMC's holds the effects given their sds as well; constants of its formulas are in single precision: 1e-8
    assert set(tree.log_prior.data_vars) - set(ours.log_prior.data_vars) == {"b_g"}
    for name in ours.log_prior.data_vars:
        np.testing.assert_allclose(tree.log_prior[name], ours.log_prior[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("family", "method"), CASES)
def test_predictions_by_pymc_are_those_of_the_posterior(fitted, family, method):
    model, post = fitted(family, method)
    drawn = pm.sample_posterior_predictive(
        post.idata.copy(), model=model.pymc, random_seed=1, progressbar=False, extend_inferencedata=False
    ).posterior_predictive["y"]
    post.compute_posterior_predictive(random_seed=2)
    own = post.idata.posterior_predictive["y"]
    observed = post.idata.observed_data["y"]
    assert drawn.dims == own.dims and drawn.shape == own.shape
    assert drawn.dtype == own.dtype == observed.dtype
    if family == "ordinal":
        assert set(np.unique(drawn)) <= {2, 3, 5, 6} and set(np.unique(observed)) == {2, 3, 5, 6}
    # given the draws of the parameters both are independent, so the means of each row differ by noise alone
    spread = np.sqrt((drawn.var(("chain", "draw")) + own.var(("chain", "draw"))) / drawn[..., 0].size)
    away = (drawn.mean(("chain", "draw")) - own.mean(("chain", "draw"))) / spread.where(spread > 0, 1.0)
    if family != "lognormal":  # whose tails are too long for 300 draws
        assert float(np.abs(away).max()) < 5.0  # P(> 5) is 6e-7 a row
        assert float((away**2).mean()) < 1.6  # 160 rows: five sds above 1
    ratio = float((drawn.std(("chain", "draw")) / own.std(("chain", "draw")).where(lambda s: s > 0)).median())
    assert ratio == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("family", "formula"),
    [
        ("poisson", "counted | weights(w) ~ x + (1 | g)"),
        ("lognormal", "cens(time, is_late) ~ x + (1 | g)"),
        ("weibull", "cens(time, is_late) | weights(w) ~ x + (1 | g)"),
    ],
)
def test_rows_that_count_several_times_or_lie_in_intervals(family, formula):
    """PyMC's densities of them are those of the fit, and its predictions those of rows that were observed once."""
    rng = fixed_rng(5)
    g, x = np.repeat(np.arange(5), 6), rng.normal(size=30)
    eta = 0.5 + 0.4 * x + 0.3 * rng.normal(size=5)[g]
    columns = {"counted": rng.poisson(np.exp(eta)), "time": np.exp(eta + 0.5 * rng.normal(size=30)), "w": 1.5 + x**2}
    rows = pd.DataFrame({**columns, "x": x, "g": [f"g{k}" for k in g], "is_late": rng.uniform(size=30) < 0.3})
    model = blm.Model(formula, rows, family=family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws
        post = model.fit(draws=40, chains=2, random_seed=1, progressbar=False)
    tree = post.idata.copy()
    pm.compute_log_likelihood(tree, model=model.pymc, progressbar=False)
    post.compute_log_likelihood()
    # constants of PyMC's normal probabilities are in single precision
    np.testing.assert_allclose(tree.log_likelihood["y"], post.idata.log_likelihood["y"], rtol=1e-7, atol=1e-7)
    drawn = pm.sample_posterior_predictive(post.idata, model=model.pymc, progressbar=False, random_seed=1)
    ours = post.predict(kind="response", draws=True, random_seed=2)
    values = np.log1p(drawn.posterior_predictive["y"].to_numpy())
    np.testing.assert_allclose(values.mean(), np.log1p(np.asarray(ours)).mean(), atol=6.0 * values.std() / np.sqrt(400))


def test_a_prior_of_pymc_only_and_draws_of_pymc_itself(data):
    """Laplace and a bounded prior have transforms of their own; the model without its intercept centres nothing."""
    priors = {"x": blm.Prior("Laplace", mu=0, b=1), "sd": blm.Prior("Uniform", lower=0, upper=3)}
    model = blm.Model("y ~ 0 + x + (x | g)", data["gaussian"], priors=priors)
    with model.pymc:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = pm.sample(draws=50, tune=50, chains=1, random_seed=1, progressbar=False, quiet=True)
    assert ((tree.posterior["sd_g"] > 0) & (tree.posterior["sd_g"] < 3)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        post = model.read_draws(tree)
    pm.stats.compute_log_prior(tree, model=model.pymc, progressbar=False)
    ours = tree.log_prior["beta"].to_numpy()[..., 0]
    np.testing.assert_allclose(ours, -np.abs(post.draws("beta")[..., 0]) - np.log(2), rtol=1e-6)
    assert np.allclose(tree.log_prior["sd_g"], -np.log(3))


def test_priors_by_pymc_are_priors_by_this_package(data):
    for family in ("gaussian", "ordinal"):
        model = blm.Model("y ~ x + (x | g)", data[family], family=family)
        theirs = pm.sample_prior_predictive(2000, model=model.pymc, random_seed=1).prior
        ours = model.prior_predictive(2000, random_seed=1)["prior"]
        for name in ours.data_vars:
            for q in (0.1, 0.5, 0.9):
                a, b = (t[name].quantile(q, ("chain", "draw")).to_numpy() for t in (theirs, ours))
                scale = ours[name].quantile(0.9, ("chain", "draw")) - ours[name].quantile(0.1, ("chain", "draw"))
                # a quantile of 2,000 draws is known to 0.02-0.05 of the distance between these two
                assert (np.abs(a - b) <= 0.25 * np.abs(scale.to_numpy()) + 1e-12).all(), (family, name, q)


# -- ArviZ

az = pytest.importorskip("arviz")
PAIRED = [("gaussian", "exact"), ("gaussian", "nuts"), ("ordinal", "nuts"), ("poisson", "nuts")]
STATS = {
    "summary": {},
    "ess": {},
    "rhat": {},
    "mcse": {},
    "hdi": {},
    "eti": {},
    "mean": {},
    "median": {},
    "std": {},
    "var": {},
    "mad": {},
    "iqr": {},
    "mode": {},
    "thin": {},
    "qds": {"var_names": ["beta"]},
    "kde": {"var_names": ["beta"]},
    "histogram": {"var_names": ["beta"]},
    "loo": {},
    "loo_pit": {},
    "loo_expectations": {},
    "loo_metrics": {},
    "loo_score": {},
    "psense": {},
    "psense_summary": {},
    "ci_in_rope": {"var_names": ["beta"], "rope": (-0.1, 0.1)},
}
PLOTS = {
    **dict.fromkeys(
        (
            "autocorr",
            "convergence_dist",
            "dist",
            "ess",
            "forest",
            "mcse",
            "pair",
            "rank",
            "rank_dist",
            "ridge",
            "trace",
            "trace_dist",
            "psense_dist",
        ),
        {"var_names": ["beta", "sd_g"]},
    ),
    **dict.fromkeys(("ppc_dist", "ppc_tstat", "ppc_interval", "loo_interval"), {}),
}


@pytest.fixture(scope="module")
def complete(fitted):
    def tree_of(family, method):
        _, post = fitted(family, method)
        post.compute_log_likelihood()
        post.compute_log_prior()
        post.compute_posterior_predictive(random_seed=1)
        return post

    return tree_of


@pytest.mark.filterwarnings("ignore")  # ArviZ's own: few draws, R-hat of correlations of one with itself
@pytest.mark.parametrize(("family", "method"), PAIRED)
def test_functions_of_arviz(complete, family, method):
    import arviz_plots
    import arviz_stats
    import matplotlib.pyplot as plt

    assert len(STATS) + len(PLOTS) >= 30
    tree = complete(family, method).idata
    for name, options in STATS.items():
        assert getattr(arviz_stats, name)(tree, **options) is not None, name
    for name, options in PLOTS.items():
        assert getattr(arviz_plots, f"plot_{name}")(tree, backend="matplotlib", **options) is not None, name
        plt.close("all")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "method"), PAIRED)
def test_values_of_arviz_are_ours(complete, family, method):
    post = complete(family, method)
    tree = post.idata
    table = az.summary(tree, var_names=["beta"], ci_prob=0.95, round_to="none")
    own = post.parameters("fixed")
    for theirs, ours in (("mean", "mean"), ("sd", "sd"), ("r_hat", "rhat"), ("ess_bulk", "ess_bulk")):
        np.testing.assert_allclose(table[theirs].astype(float), own[ours], rtol=1e-9)
    assert float(az.loo(tree).elpd) == pytest.approx(
        float(post.loo(conditional=True).elpd), abs=0.1
    )  # ArviZ smooths the tail by the relative efficiency of the draws
    # a summary shows parameters and effects, no coordinates of a sampler
    assert {name.partition("[")[0] for name in az.summary(tree).index} == set(tree.posterior.data_vars)
