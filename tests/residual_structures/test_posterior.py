"""The posterior of models whose residuals have a structure."""

import warnings

import numpy as np
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm.engine import residual_loo
from bayeslmm.engine.hyperpriors import HyperPriors
from bayeslmm.engine.loo import Hyperdraws
from bayeslmm.engine.marginal import Marginal
from bayeslmm.engine.residual_marginal import ResidualMarginal, marginal_of
from bayeslmm.engine.scaling import Problem
from bayeslmm.results.log_density import log_likelihood
from tests.residual_structures.dense import covariance
from tests.residual_structures.test_oracle import table

CASES = [
    ("y ~ x + (x | site)", {"residual": "ar1(t | s)", "sigma": "~ f"}),
    ("y ~ x + (1 | s)", {"residual": "car1(u | s)"}),
    ("y ~ x + (1 | site)", {"residual": "cs(1 | s)", "sigma": "~ x", "weights": "w"}),
    ("y ~ x", {"residual": "us(v | s)"}),
    ("y ~ x + (1 | s) + (1 | f)", {"sigma": "~ x"}),
]


def made(formula, options, seed=3):
    data = table(seed)
    options = {name: data["w"] if name == "weights" else value for name, value in options.items()}
    return blm.Model(formula, data, **options)


@pytest.mark.parametrize(("formula", "options"), CASES, ids=str)
def test_the_density_is_that_of_dense_matrices(formula, options):
    """log p(y | hyperparameters) by n x n matrices, and the priors, up to one constant; and its gradient."""
    model = made(formula, options)
    design, priors = model.design, model.priors
    marginal = marginal_of(Problem.of(design), HyperPriors.of(design, priors))
    assert isinstance(marginal, ResidualMarginal)
    rng, rest = np.random.default_rng(5), []
    X = design.X - np.append(0.0, design.X[:, 1:].mean(axis=0))
    mean, sd = marginal.priors.beta_mean, marginal.priors.beta_sd
    for _ in range(4):
        x = marginal.starts()[0]
        x[marginal.space.sd_at] = rng.uniform(0.5, 1.5, marginal.space.sd_at.sum())
        x[~marginal.space.sd_at] += rng.normal(0.0, 0.4, (~marginal.space.sd_at).sum())
        walk = marginal.walk(np.array([x, x]), np.zeros(2), np.full(1, -np.inf), marginal.noise(rng, 1))
        covs = [s[0][:, None] * (f[0] @ f[0].T) * s[0] for s, f in zip(walk.sds, walk.factors, strict=True)]
        V = covariance(design, walk.sigma[0], walk.residual[0], covs) + (X * sd**2) @ X.T
        likelihood = stats.multivariate_normal(X @ mean, V).logpdf(design.y)
        inner = Marginal(marginal.problem, marginal.priors)  # whose priors are those of the same coordinates
        k = marginal.residual_at.start
        of_inner = inner.walk(np.array([x[:k], x[:k]]), np.zeros(2), np.full(1, -np.inf), inner.noise(rng, 1))
        V = covariance(design, walk.sigma[0], marginal.problem.residual.values, covs) + (X * sd**2) @ X.T
        prior = of_inner.log_density[0] - stats.multivariate_normal(X @ mean, V).logpdf(design.y)
        rest.append(walk.log_density[0] - likelihood - prior - marginal.log_prior(x[k:]))
        value, gradient = marginal.with_gradient(x)
        np.testing.assert_allclose(value, marginal.log_densities(x[None])[0], rtol=1e-12)
        h = 1e-5 * np.eye(marginal.d)
        slope = (marginal.log_densities(x + h) - marginal.log_densities(x - h)) / 2e-5
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-4)  # of both differences
    np.testing.assert_allclose(rest, 0.0, atol=1e-8)


def test_exchangeable_residuals_are_a_random_intercept():
    """The likelihoods at tau² = rho sigma² are the same, with beta integrated out."""
    data = table(4)
    bars = blm.Model("y ~ x + (1 | s)", data)
    cs = blm.Model("y ~ x", data, residual="cs(1 | s)")
    plain = Marginal(Problem.of(bars.design), HyperPriors.of(bars.design, bars.priors))
    other = marginal_of(Problem.of(cs.design), HyperPriors.of(cs.design, cs.priors))
    rest = []
    for tau, sigma in ((0.5, 1.0), (1.0, 0.7), (0.1, 1.4)):
        x = np.array([np.log1p(tau / plain.space.softness[0]), np.log(sigma)])
        total = np.hypot(tau, sigma)
        y = np.append(np.log(total), other.residual.coordinates(np.array([tau**2 / total**2])))
        half_t = stats.t(3, scale=bars.priors.get("sd", "s").params[1][1])
        of_plain = np.log(2.0) + half_t.logpdf(tau) + x[0] + half_t.logpdf(sigma) + np.log(sigma)
        of_other = half_t.logpdf(total) + np.log(total) + other.log_prior(y[1:])
        rest.append(plain.log_densities(x[None])[0] - of_plain - other.log_densities(y[None])[0] + of_other)
    np.testing.assert_allclose(rest, rest[0], atol=1e-8)


def dense_left_out(design, V, X, mean, sd, rows):
    """log p(y_rows | the others) of a normal vector."""
    V = V + (X * sd**2) @ X.T
    away = design.y - X @ mean
    others = np.setdiff1d(np.arange(design.n), rows)
    slope = np.linalg.solve(V[np.ix_(others, others)], V[np.ix_(others, rows)])
    left = V[np.ix_(rows, rows)] - V[np.ix_(rows, others)] @ slope
    return stats.multivariate_normal(slope.T @ away[others], left).logpdf(away[rows])


@pytest.mark.parametrize(("formula", "options"), CASES[:1] + CASES[2:], ids=str)
def test_leaving_out_is_that_of_dense_matrices(formula, options):
    design = made(formula, options).design
    rng, p = np.random.default_rng(6), design.p
    sigma, r = np.array([1.1]), design.residual.n_parameters
    values = design.residual.structure.at(rng.normal(0.0, 0.3, r))[None]
    covs = [np.array([0.5 * np.eye(g.q) + 0.1]) for g in design.groups]
    prior = (rng.normal(size=p), rng.uniform(1.0, 3.0, p))
    draws = Hyperdraws(sigma=sigma, covariances=tuple(covs), beta=np.zeros((1, p)), prior=prior)
    V = covariance(design, sigma[0], values[0], [cov[0] for cov in covs])
    X = design.X - np.append(0.0, design.X[:, 1:].mean(axis=0))
    found = residual_loo.leave_out(Problem.of(design), draws, values).without[0]
    for row in (0, 7, design.n - 1):
        np.testing.assert_allclose(found[row], dense_left_out(design, V, X, *prior, [row]), rtol=1e-9)
    codes = np.unique(design.frame["s"] if "s" in design.frame else np.arange(design.n), return_inverse=True)[1]
    of_units = residual_loo.leave_out(Problem.of(design), draws, values, codes).without[0]
    rows = np.flatnonzero(codes == 2)
    np.testing.assert_allclose(of_units[2], dense_left_out(design, V, X, *prior, rows), rtol=1e-9)


@pytest.fixture(scope="module")
def post():
    data = blm.load_dataset("sleepstudy")
    data = data.assign(half=np.where(data["Days"] > 4, "late", "early"))
    model = blm.Model("Reaction ~ Days", data, residual="ar1(Days | Subject)", sigma="~ half")
    return model.fit(draws=250, random_seed=1, progressbar=False)


def test_the_posterior_is_near_the_estimates(post):
    reml = blm.Model("Reaction ~ Days", post.design.frame, residual="ar1(Days | Subject)", sigma="~ half").fit_reml()
    drawn = post.draws("sigma"), post.draws("log_ratio")[..., 0], post.draws("rho")[..., 0]
    for draws, estimate in zip(drawn, (reml.sigma, *reml.solution.residual), strict=True):
        assert abs(draws.mean() - estimate) < draws.std()  # weakly informative priors move it by less
    assert post.idata.posterior["log_ratio"].coords["log_ratio_term"].to_numpy().tolist() == ["half[late]"]
    assert post.verdict.startswith("converged")
    assert {"log_ratio(half[late])", "rho"} < set(post.parameters("family").index)
    assert {"log_ratio__half[late]", "cor__rho"} < set(post.tidy("ran_pars")["term"])


def test_observations_have_the_sd_of_their_row_and_the_correlation_of_their_block(post):
    new = post.predict(post.design.frame, kind="response", random_seed=1)
    mean = post.predict(post.design.frame, kind="mean")
    for half in ("early", "late"):
        rows = (post.design.frame["half"] == half).to_numpy()
        sds = post.draws("sigma") * np.exp(post.draws("log_ratio")[..., 0] * (half == "late"))
        expected = np.sqrt(np.mean(sds**2) + mean["sd"][rows] ** 2)
        np.testing.assert_allclose(new["sd"][rows].mean(), expected.mean(), rtol=0.02)  # 1,000 draws of 90 rows
    y = post.predict(kind="response", draws=True, random_seed=2).to_numpy().reshape(1000, 180)
    errors = y - post.fitted(draws=True).to_numpy().reshape(1000, 180)
    first, second = errors[:, np.arange(0, 180, 10)], errors[:, np.arange(1, 180, 10)]
    found = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert abs(found - post.draws("rho").mean()) < 0.03  # 18,000 pairs, rho itself drawn
    with pytest.raises(blm.errors.NotAvailableError, match=r"predict\(draws=..., kind='response'\) of new rows"):
        post.predict(post.design.frame.head(2), kind="response", draws=True)
    np.testing.assert_allclose(post.simulate(400, random_seed=3).std(axis=1).mean(), new["sd"].mean(), rtol=0.05)


def test_log_likelihood_and_scores(post):
    design, values = post.design, post.values
    found = log_likelihood(design, post.idata.posterior.isel(chain=[0], draw=[3]))["y"].to_numpy().sum()
    V = covariance(design, values.family["sigma"][0, 3], values.residual[0, 3], [])
    expected = stats.multivariate_normal(design.X @ values.beta[0, 3], V).logpdf(design.y)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert str(blm.check(post)).startswith("Check of the posterior of Reaction ~ Days, sigma=")


def test_left_out_units_and_what_they_are_called(post):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)  # 18 subjects, some of them odd
        assert "one Subject" in str(post.loo(unit="Subject", draws=200, refit=False))
        assert np.isfinite(post.loo(draws=200, refit=False).elpd)
    with pytest.raises(blm.errors.NotAvailableError, match="conditional=True"):
        post.loo(conditional=True)
    with pytest.raises(blm.errors.NotAvailableError, match="kfold is not offered"):
        blm.kfold(post, k=2)


def test_files_priors_and_words(post, tmp_path):
    blm.save(post, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.draws("rho"), post.draws("rho"))
    assert repr(again.priors) == repr(post.priors)
    narrow = post.with_priors({("log_ratio", "half[late]"): blm.Prior("Normal", mu=0, sigma=1e-3), "rho": blm.LKJ(1e4)})
    assert abs(narrow.draws("log_ratio").mean()) < 1e-3 and abs(narrow.draws("rho").mean()) < 0.05
    sensitive = post.prior_sensitivity()
    assert {"log_ratio[half[late]]", "rho[rho]"} <= set(sensitive.index)
    text = str(blm.equations(post)) if hasattr(blm, "equations") else ""
    assert (
        "sd_ratio half[late]"
        in str(blm.Model("Reaction ~ Days", post.design.frame, sigma="~ half").prior_audit(draws=50)) + text
    )


def test_correlations_of_two_observations_are_read_off_v(post):
    """What AR(1), bars and unequal sds imply together, against the dense covariance; without bars at a lag."""
    lags = post.within_correlation({"Days": [0, 3]}, wide=True).to_numpy()
    np.testing.assert_allclose(lags[0, 1], np.mean(post.draws("rho") ** 3), rtol=1e-10)
    assert lags[0, 0] == lags[1, 1] == 1.0  # one observation
    data = blm.load_dataset("sleepstudy")
    for formula, options in (
        ("Reaction ~ Days + (Days | Subject)", {"residual": "ar1(Days | Subject)", "sigma": "~ Days"}),
        ("Reaction ~ 1", {"residual": "us(Days | Subject)"}),
        ("Reaction ~ Days", {"residual": "cs(1 | Subject)"}),
    ):
        few = data[data["Days"] < 4]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", blm.errors.SingularFitWarning)
            fit = blm.Model(formula, few, **options).fit_reml()
        V = covariance(fit.design, fit.sigma, fit.solution.residual, fit.solution.covariances)
        first = np.flatnonzero(fit.design.frame["Subject"] == "308")
        sd = np.sqrt(np.diag(V)[first])
        expected = V[np.ix_(first, first)] / np.outer(sd, sd)
        found = fit.within_correlation({"Days": fit.design.frame["Days"].to_numpy()[first]}, wide=True).to_numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-10)
