"""The exact posterior of relationship matrices, memberships and smooths: against quadrature, and calibrated."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.results import loo

LEVELS = [f"l{k}" for k in range(9)]
PRIORS = {
    "Intercept": blm.Prior("Normal", mu=0, sigma=2),
    "fixed": blm.Prior("Normal", mu=0, sigma=1),
    "sd": blm.Prior("HalfNormal", sigma=1),
    "sigma": blm.Prior("HalfNormal", sigma=1),
}
FORMULAS = {
    "gr": "y ~ x + (1 | gr(g, cov=A))",
    "mm": "y ~ x + (1 | mm(g, h))",
    "gr slope": "y ~ x + (x | gr(g, cov=A))",
    "mm slope": "y ~ x + (x | mm(g, h))",
    "s": "y ~ s(t, k=7)",
    "gr + s": "y ~ s(t, k=6) + (1 | gr(g, cov=A)) + (1 | c)",
}


def matrix():
    rng = fixed_rng(3)
    B = rng.normal(size=(9, 12))
    return pd.DataFrame(B @ B.T / 12 + 0.2 * np.eye(9), index=LEVELS, columns=LEVELS)


def model(name, y=None, n=45):
    rng = fixed_rng(5)  # whose curve is no straight line
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "g": rng.choice(LEVELS[:8], n),
            "h": rng.choice(LEVELS[:8], n),
            "c": rng.choice(list("pqrs"), n),
            "t": np.sort(rng.uniform(0, 4, n)),
            "y": rng.normal(size=n),
        }
    )
    members = sum(data[column].map(LEVELS.index) for column in ("g", "h"))
    made = 1 + 0.5 * data.x + np.sin(data.t) + 0.25 * (members - 7) + 0.6 * data.y
    if "slope" in name:
        slopes = dict(zip(LEVELS, fixed_rng(6).normal(size=9), strict=True))
        made = made + 0.7 * data.x * (data.g.map(slopes) + data.h.map(slopes))
    data["y"] = made if y is None else y
    given = {"A": matrix()} if "gr" in name else None
    return blm.Model(FORMULAS[name], data, priors=PRIORS, matrices=given)


def design_of(made):
    """X, prior of β, and Z K Zᵀ of the wide term, at centred predictors as the prior of the intercept is."""
    design = made.design
    X = design.X.copy()
    X[:, 1:] -= X[:, 1:].mean(axis=0)
    (term,) = design.groups
    Z = sparse.csr_array(term.matrix).toarray()
    K = np.eye(Z.shape[1]) if term.root is None else term.root @ term.root.T
    return X, np.diag([4.0] + [1.0] * (X.shape[1] - 1)), Z, K


@pytest.mark.parametrize("name", ["gr", "mm", "s"])
def test_moments_are_those_of_quadrature(name):
    """β and b integrated by dense matrices, sd and sigma over a grid of 70 × 70 points of their priors' quantiles."""
    made = model(name)
    X, P, Z, K = design_of(made)
    y, n = made.design.y, made.design.n
    probabilities = (np.arange(70) + 0.5) / 70
    points = stats.halfnorm.ppf(probabilities)  # equal shares of the prior
    log_weights, means = np.empty((70, 70)), np.empty((70, 70, Z.shape[1]))
    fixed, wide = X @ P @ X.T, Z @ K @ Z.T
    for i, sd in enumerate(points):
        for j, sigma in enumerate(points):
            V = fixed + sd**2 * wide + sigma**2 * np.eye(n)
            L = np.linalg.cholesky(V)
            a = np.linalg.solve(L, y)
            log_weights[i, j] = -np.log(np.diag(L)).sum() - a @ a / 2
            means[i, j] = sd**2 * K @ Z.T @ np.linalg.solve(L.T, a)
    w = np.exp(log_weights - log_weights.max())
    w /= w.sum()
    post = made.fit(draws=2000, random_seed=1, progressbar=False)
    (term,) = made.design.groups
    names = made.design.names
    sd, sigma = post.draws(names.sd[term.name])[..., 0], post.draws("sigma")
    b = post.draws(names.b[term.name])[..., 0].reshape(-1, Z.shape[1])
    # 8,000 nearly independent draws: a mean is known to 1 % of an sd; the midpoints of the grid to less
    for drawn, wanted in ((sd, (w.sum(axis=1) @ points)), (sigma, w.sum(axis=0) @ points)):
        assert drawn.mean() == pytest.approx(wanted, abs=0.06 * drawn.std())
    np.testing.assert_allclose(b.mean(axis=0), np.einsum("ij,ijk->k", w, means), atol=0.08 * b.std(axis=0).max())


@pytest.mark.parametrize("name", FORMULAS)
def test_ranks_are_uniform_over_simulated_data(name):
    """A thin run of simulation-based calibration: 60 data sets a structure, ranks among 99 draws in four bins."""
    refits, kept = 60, 99
    empty = model(name)
    prior = empty.prior_predictive(refits, random_seed=11)
    truths, simulated = prior["prior"].to_dataset(), prior["prior_predictive"]["y"].to_numpy()[0]
    names = empty.design.names
    correlations = [names.cor[group.name] for group in empty.design.groups if group.correlated]
    ranks = {}
    for i in range(refits):
        post = model(name, simulated[i]).fit(draws=kept, chains=4, random_seed=i, progressbar=False)
        for variable in ("sigma", "beta", *names.sd.values(), *correlations, *names.b.values()):
            drawn = post.draws(variable).reshape(4 * kept, -1)[::4]  # nearly independent
            truth = truths[variable].to_numpy()[0, i].reshape(-1)
            for k in {1} if variable in correlations else {0, len(truth) - 1}:
                ranks.setdefault((variable, k), []).append(int((drawn[:, k] < truth[k]).sum()))
    for parameter, found in ranks.items():
        counts = np.bincount(np.minimum(np.array(found) * 4 // (kept + 1), 3), minlength=4)
        # some 50 tests over all structures: one in a thousand runs would fail by chance
        assert stats.chisquare(counts).pvalue > 2e-5, (parameter, counts)


def test_prior_draws_are_related_as_the_matrix_says():
    made = model("gr")
    drawn = made.prior_predictive(4000, random_seed=2)["prior"]
    names = made.design.names
    z = drawn[names.b["gr(g)"]].to_numpy()[0, :, :, 0] / drawn[names.sd["gr(g)"]].to_numpy()[0]
    np.testing.assert_allclose(np.cov(z.T), matrix(), atol=0.15)  # 4,000 draws: 2.2 % of a variance, six of them


def test_posterior_predicts_known_levels_and_new_rows():
    made = model("gr")
    post = made.fit(draws=500, random_seed=1, progressbar=False)
    rows = pd.DataFrame({"x": [0.0, 1.0, 0.0], "g": ["l0", "l8", "nobody"]})
    told = post.predict(rows, groups="observed_or_average")
    draws, beta = post.draws("b_gr(g)")[..., 0].reshape(-1, 9), post.draws("beta").reshape(-1, 2)
    assert told["mean"].iloc[0] == pytest.approx((beta[:, 0] + draws[:, 0]).mean())
    assert told["mean"].iloc[1] == pytest.approx((beta.sum(axis=1) + draws[:, 8]).mean())
    assert told["mean"].iloc[2] == pytest.approx(beta[:, 0].mean())
    assert told["target_gr(g)"].tolist() == ["observed", "observed", "average"]


def test_curves_of_posterior_and_reml_agree():
    made = model("s")
    at = [0.5, 1.6, 3.2]
    point, post = made.fit_reml().smooth(at=at), made.fit(draws=500, random_seed=1, progressbar=False)
    drawn = post.smooth(at=at)
    assert np.abs(point["estimate"] - drawn["mean"]).max() < 0.5 * drawn["sd"].min()
    assert (drawn["simultaneous_low"] <= drawn["conf_low"] + 0.1).all()
    every = post.smooth(at=at, draws=True)
    assert every.sizes == {"chain": 4, "draw": 500, "point": 3}


def test_slope_of_a_curve_is_its_derivative():
    fit = model("s").fit_reml()
    x = np.linspace(0.6, 3.4, 7)
    h = 1e-4
    up, down = (fit.smooth(at=x + s * h)["estimate"].to_numpy() for s in (1, -1))
    slope = fit.smooth("t", at=x, derivative=True)  # by the predictor's name
    np.testing.assert_allclose(slope["estimate"], (up - down) / (2 * h), rtol=1e-4, atol=1e-5)


def test_simultaneous_bands_hold_the_curve():
    """Wider than pointwise ones, narrower than Bonferroni's over as many points as the curve has freedom."""
    fit = model("s").fit_reml()
    table = fit.smooth()
    wide = ((table["simultaneous_high"] - table["estimate"]) / table["std_error"]).to_numpy()
    assert np.ptp(wide) < 1e-9
    assert stats.norm.ppf(0.975) < wide[0] < stats.norm.ppf(1 - 0.025 / 12)


@pytest.mark.parametrize("name", FORMULAS)
def test_rows_left_out_are_those_of_dense_matrices(name):
    """Given hyperparameters y is normal: the density of a row given the others, by the inverse of its covariance."""
    made = model(name)
    post = made.fit(draws=100, random_seed=1, progressbar=False)
    design = made.design
    X = design.X.copy()
    X[:, 1:] -= X[:, 1:].mean(axis=0)
    P = np.diag([4.0] + [1.0] * (X.shape[1] - 1))
    chosen = loo.evenly(post, 100)
    densities = np.empty((100, design.n))
    for s, draw in enumerate(chosen):
        V = X @ P @ X.T + post.draws("sigma").reshape(-1)[draw] ** 2 * np.eye(design.n)
        for term, covariances in zip(design.groups, post.values.covariances, strict=True):
            cov = covariances.reshape(-1, term.q, term.q)[draw]
            Z = sparse.csr_array(term.matrix).toarray() if term.is_wide else np.eye(term.n_levels)[term.codes]
            root = np.eye(term.n_levels) if not term.is_wide or term.root is None else term.root
            V += Z @ np.kron(root @ root.T, cov) @ Z.T
        inverse = np.linalg.inv(V)
        variance = 1.0 / np.diag(inverse)
        away = variance * (inverse @ design.y)
        densities[s] = stats.norm.logpdf(away, scale=np.sqrt(variance))
    found, _ = loo._densities(post, "observation", False, post, chosen)
    np.testing.assert_allclose(found, densities, atol=1e-6)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_models_are_compared_by_what_they_predict():
    data = model("gr + s").design.frame
    curved, straight = (
        blm.Model(formula, data, priors=PRIORS).fit(draws=500, random_seed=1, progressbar=False)
        for formula in ("y ~ s(t, k=7) + (1 | c)", "y ~ t + (1 | c)")
    )
    assert curved.loo(refit=False).elpd > straight.loo(refit=False).elpd
    with pytest.raises(blm.errors.InputError, match="units are"):
        curved.loo("s(t)")


@pytest.mark.parametrize("name", ["mm", "gr + s"])
def test_nuts_draws_what_the_exact_sampler_draws(name):
    made = model(name)
    exact = made.fit(draws=1000, random_seed=1, progressbar=False)
    nuts = made.fit(draws=1000, method="nuts", random_seed=2, progressbar=False)
    names = made.design.names
    for variable in ("sigma", "beta", *names.sd.values(), *names.b.values()):
        one, other = (post.draws(variable).reshape(4000, -1) for post in (exact, nuts))
        # some 1,000 effective draws at the least: a mean is known to 3 % of an sd, an sd to 2 % where tails are light
        np.testing.assert_allclose(other.mean(axis=0), one.mean(axis=0), atol=0.16 * one.std(axis=0).max())
        np.testing.assert_allclose(other.std(axis=0), one.std(axis=0), rtol=0.2)


def test_counts_with_unrelated_levels_are_those_of_an_ordinary_factor():
    """gr() with the identity, by other coordinates, and `(1 | g)`: one posterior."""
    rng = fixed_rng(31)
    data = pd.DataFrame({"x": rng.normal(size=150), "g": rng.choice(LEVELS, 150)})
    data["n"] = rng.poisson(np.exp(0.5 + 0.4 * data.x + data.g.map(dict(zip(LEVELS, rng.normal(size=9), strict=True)))))
    options = {"family": "poisson", "priors": {key: PRIORS[key] for key in ("Intercept", "fixed", "sd")}}
    one = blm.Model("n ~ x + (1 | gr(g, cov=A))", data, matrices={"A": (LEVELS, np.eye(9))}, **options)
    other = blm.Model("n ~ x + (1 | g)", data, **options)
    wide = one.fit(draws=1000, random_seed=1, progressbar=False)
    plain = other.fit(draws=1000, random_seed=2, progressbar=False)
    for first, second in (("beta", "beta"), ("sd_gr(g)", "sd_g"), ("b_gr(g)", "b_g")):
        mine, theirs = (p.draws(v).reshape(4000, -1) for p, v in ((wide, first), (plain, second)))
        np.testing.assert_allclose(mine.mean(axis=0), theirs.mean(axis=0), atol=0.16 * theirs.std(axis=0).max())
        np.testing.assert_allclose(mine.std(axis=0), theirs.std(axis=0), rtol=0.2)
