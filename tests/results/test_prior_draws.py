"""Forward simulation of priors and responses against exact distributions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from scipy import stats

import bayeslmm as blm
from bayeslmm.covariances import UNSTRUCTURED
from bayeslmm.design.build import build_design
from bayeslmm.design.categories import as_seen
from bayeslmm.design.priors import LKJ, Prior, resolve_priors
from bayeslmm.errors import InputError, PriorError
from bayeslmm.families import family_of
from bayeslmm.families.poisson import LARGEST as LARGEST_POISSON
from bayeslmm.results.prior_draws import prior_draws, prior_predictive, univariate
from bayeslmm.results.simulation import linear_predictor, simulate_response

N = 40_000
# A share of N draws has sd sqrt(p (1 − p)/N); seeds are fixed, and 5 of these leave one false alarm in a million.
SDS = 5.0


def frame(n=120, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": 3.0 + 2.0 * x + rng.normal(size=n),
            "x": x,
            "w": rng.normal(size=n),
            "g": np.arange(n) % 12,
            "h": rng.integers(0, 7, n),
            "weight": rng.uniform(0.5, 4.0, n),
            "count": rng.poisson(3.0, n),
            "size": rng.integers(3, 9, n),
            "few": rng.integers(0, 3, n),
            "positive": np.exp(rng.normal(size=n)),
            "share": rng.uniform(0.1, 0.9, n),
            "yes": rng.integers(0, 2, n),
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"], ordered=True
            ),
        }
    )


RESPONSES = {
    "gaussian": "y",
    "student_t": "y",
    "lognormal": "positive",
    "bernoulli": "yes",
    "binomial": "p(few, size)",
    "poisson": "count",
    "negbinomial": "count",
    "gamma": "positive",
    "beta": "share",
    "ordinal": "grade",
}


def drawn(formula="y ~ x + (x | g)", priors=None, *, data=None, draws=N, seed=1, **options):
    design = build_design(formula, frame() if data is None else data, **options)
    return design, prior_draws(design, resolve_priors(design, priors), draws=draws, random_seed=seed)


def has_quantiles(values, exact):
    """Whether the shares of draws below exact quantiles are those quantiles' probabilities, within their error."""
    probs = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    below = np.array([np.mean(values <= q) for q in exact.ppf(probs)])
    return bool(np.all(np.abs(below - probs) < SDS * np.sqrt(probs * (1.0 - probs) / len(values))))


class Half:
    """A symmetric distribution around zero, folded."""

    def __init__(self, whole):
        self.whole = whole

    def ppf(self, p):
        return self.whole.ppf((1.0 + p) / 2.0)


KNOWN = [
    (Prior("Normal", mu=2, sigma=3), stats.norm(2, 3)),
    (Prior("Normal", mu=2), stats.norm(2, 1)),
    (Prior("HalfNormal", sigma=3), Half(stats.norm(0, 3))),
    (Prior("StudentT", nu=4, mu=1, sigma=2), stats.t(4, 1, 2)),
    (Prior("HalfStudentT", nu=3, sigma=2), Half(stats.t(3, 0, 2))),
    (Prior("Cauchy", alpha=1, beta=2), stats.cauchy(1, 2)),
    (Prior("HalfCauchy", beta=2), Half(stats.cauchy(0, 2))),
    (Prior("Exponential", lam=4), stats.expon(scale=0.25)),
    (Prior("Exponential", scale=4), stats.expon(scale=4)),
    (Prior("Gamma", alpha=2, beta=0.1), stats.gamma(2, scale=10)),
    (Prior("InverseGamma", alpha=3, beta=2), stats.invgamma(3, scale=2)),
    (Prior("LogNormal", mu=1, sigma=0.5), stats.lognorm(0.5, scale=np.e)),
    (Prior("Uniform", lower=2, upper=5), stats.uniform(2, 3)),
    (Prior("Beta", alpha=2, beta=5), stats.beta(2, 5)),
    (Prior("Laplace", mu=1, b=2), stats.laplace(1, 2)),
    (Prior("TruncatedNormal", mu=1, sigma=2, lower=0), stats.truncnorm(-0.5, np.inf, 1, 2)),
    # through PyMC: another distribution, and other parametrisations of a known one
    (Prior("Weibull", alpha=2, beta=3), stats.weibull_min(2, scale=3)),
    (Prior("Gamma", mu=2, sigma=1), stats.gamma(4, scale=0.5)),
    (Prior("HalfStudentT", nu=3, lam=0.25), Half(stats.t(3, 0, 2))),
]


@pytest.mark.parametrize(("prior", "exact"), KNOWN, ids=[repr(p) for p, _ in KNOWN])
def test_draws_have_the_quantiles_of_their_distribution(prior, exact):
    values = univariate(prior, (N,), np.random.default_rng(3))
    assert values.shape == (N,)
    assert has_quantiles(values, exact)
    assert not has_quantiles(1.1 * values, exact)  # a scale that is off by a tenth is seen


def test_draws_come_in_the_wanted_shape_and_repeat_with_the_seed():
    for prior in (Prior("Gamma", alpha=2, beta=1), Prior("Weibull", alpha=2, beta=3)):
        first, again = (univariate(prior, (5, 3), np.random.default_rng(7)) for _ in range(2))
        assert first.shape == (5, 3)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, univariate(prior, (5, 3), np.random.default_rng(8)))


@pytest.mark.parametrize(
    ("prior", "says"),
    [
        (Prior("Nope", a=1), "no continuous distribution 'Nope'"),
        (Prior("Poisson", mu=1), "no continuous distribution 'Poisson'"),
        (Prior("Weibull", alpha=-2, beta=3), "refuses"),
        (Prior("Normal", mean=3), "has no mean; it has mu, sigma, tau"),
        (Prior("Weibull", alpha=1), "refuses"),
        (Prior("HalfCauchy", beta=-1), "positive scale"),
        (Prior("Exponential", lam=-1), "positive scale"),
        (Prior("Gamma", alpha=-1, beta=1), "no distribution"),
        (Prior("Uniform", lower=1, upper=0), "positive scale"),
    ],
    ids=repr,
)
def test_impossible_distributions_are_refused(prior, says):
    with pytest.raises(PriorError, match=says):
        univariate(prior, (10,), np.random.default_rng(1))


# -- priors of a model


def test_every_parameter_follows_its_prior():
    given = {
        "Intercept": Prior("Normal", mu=3, sigma=2),
        "x": Prior("StudentT", nu=5, mu=1, sigma=2),
        "sigma": Prior("Exponential", lam=1),
        ("sd", "g", "Intercept"): Prior("Gamma", alpha=3, beta=2),
        ("sd", "g", "x"): Prior("HalfNormal", sigma=4),
    }
    design, found = drawn(priors=given)
    assert set(found) == {"beta", "sigma", "sd_g", "cor_g", "b_g"}
    assert found["beta"].shape == (N, 2) and found["b_g"].shape == (N, 12, 2)
    assert has_quantiles(found["beta"][:, 1], stats.t(5, 1, 2))
    assert has_quantiles(found["sigma"], stats.expon())
    assert has_quantiles(found["sd_g"][:, 0], stats.gamma(3, scale=0.5))
    assert has_quantiles(found["sd_g"][:, 1], Half(stats.norm(0, 4)))
    # the intercept's is that at the middle of x
    assert has_quantiles(found["beta"] @ design.X.mean(axis=0), stats.norm(3, 2))


def test_the_intercept_moves_with_the_place_of_a_predictor():
    data = frame()
    _, here = drawn("y ~ x + (1 | g)", data=data, draws=50)
    _, there = drawn("y ~ x + (1 | g)", data=data.assign(x=data["x"] + 1000.0), draws=50)
    np.testing.assert_allclose(there["beta"][:, 1], here["beta"][:, 1], rtol=1e-9)
    np.testing.assert_allclose(there["beta"][:, 0], here["beta"][:, 0] - 1000.0 * here["beta"][:, 1], rtol=1e-9)


def test_without_an_intercept_nothing_is_centred():
    data = frame().assign(x=frame()["x"] + 5.0)
    _, found = drawn("y ~ 0 + x + (1 | g)", {"x": Prior("Normal", mu=1, sigma=2)}, data=data)
    assert has_quantiles(found["beta"][:, 0], stats.norm(1, 2))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("eta", [0.7, 2.0])
def test_correlations_are_lkj(d, eta):
    L = UNSTRUCTURED.draw(eta, d, N, np.random.default_rng(2))
    cor = L @ L.transpose(0, 2, 1)
    np.testing.assert_allclose(cor[:, range(d), range(d)], 1.0, atol=1e-12)
    assert np.linalg.eigvalsh(cor).min() > -1e-12
    shape = eta + (d - 2) / 2.0  # of every margin: Lewandowski et al. 2009
    for a in range(d):
        for b in range(a):
            margin = (1.0 + cor[:, a, b]) / 2.0
            # p-values are uniform and the seed is fixed: under 1e-4 once in ten thousand
            assert stats.kstest(margin, stats.beta(shape, shape).cdf).pvalue > 1e-4
            assert stats.kstest(margin, stats.beta(shape + 0.5, shape + 0.5).cdf).pvalue < 1e-6


def test_three_lkj_correlations_have_the_density_det_to_the_eta_minus_1():
    eta = 2.0
    L = UNSTRUCTURED.draw(eta, 3, N, np.random.default_rng(5))
    # E[det R] under |R|^(eta − 1) is a ratio of normalising constants; det R is a product of independent 1 − partial²,
    # each Beta(a, 1/2)-distributed with a = eta + (d − 2 − j)/2, of mean a/(a + 1/2)
    exact = np.prod([a / (a + 0.5) for a in (eta + 0.5, eta + 0.5, eta)])
    det = np.square(np.diagonal(L, axis1=1, axis2=2)).prod(axis=1)
    assert abs(det.mean() - exact) < SDS * det.std() / np.sqrt(N)


def test_effects_have_the_sds_and_correlations_of_their_own_draw():
    _, found = drawn(draws=20_000)
    standard = found["b_g"] / found["sd_g"][:, None, :]
    cor = found["cor_g"][:, 0, 1]
    size = standard[..., 0].size
    # squares of standard normals have sd √2, products at most that
    np.testing.assert_allclose(np.mean(standard**2, axis=(0, 1)), 1.0, atol=SDS * np.sqrt(2.0 / size))
    product = standard[..., 0] * standard[..., 1]
    assert abs(np.mean(product - cor[:, None])) < SDS * np.sqrt(2.0 / size)
    # the correlation of the same draw, not any: E[product × cor] = E[cor²]
    assert np.mean(cor**2) > 0.1
    assert abs(np.mean((product - cor[:, None]) * cor[:, None])) < SDS * np.sqrt(2.0 / size)


def test_blocks_are_independent():
    _, found = drawn("y ~ x + (x || g)", draws=4000)
    assert "cor_g" not in found
    standard = found["b_g"] / found["sd_g"][:, None, :]
    assert abs(np.mean(standard[..., 0] * standard[..., 1])) < SDS / np.sqrt(4000 * 12)
    _, found = drawn("y ~ x + w + (x | g) + (0 + w | g)", {"cor": LKJ(1.0)}, draws=200)
    assert found["cor_g"].shape == (200, 3, 3)
    np.testing.assert_array_equal(found["cor_g"][:, 2, :2], 0.0)
    assert np.abs(found["cor_g"][:, 0, 1]).max() > 0.5


def test_cutpoints_increase_and_move_with_the_predictors():
    data = frame()
    given = {"cutpoint": Prior("Normal", mu=0, sigma=2)}
    ordinal = family_of("ordinal")
    design, here = drawn("grade ~ x + (1 | g)", given, data=data, family=ordinal)
    assert here["cutpoint"].shape == (N, 2) and np.all(np.diff(here["cutpoint"], axis=1) > 0.0)
    centred = here["cutpoint"] - (here["beta"] @ design.X.mean(axis=0))[:, None]
    pooled = np.random.default_rng(0).permuted(centred, axis=1)[:, 0]  # one of the two at random: a plain normal
    assert has_quantiles(pooled, stats.norm(0, 2))
    # the lower of two has the distribution 1 − (1 − F)²
    assert abs(np.mean(centred[:, 0] < -1.0) - (1 - stats.norm(0, 2).sf(-1.0) ** 2)) < SDS * 0.5 / np.sqrt(N)
    moved = data.assign(x=data["x"] + 1000.0)
    _, there = drawn("grade ~ x + (1 | g)", given, data=moved, family=ordinal)
    np.testing.assert_allclose(there["cutpoint"], here["cutpoint"] + 1000.0 * here["beta"], rtol=1e-9)


def test_one_prior_leaves_the_draws_of_the_others():
    _, first = drawn(draws=20)
    _, other = drawn(priors={("sd", "g", "Intercept"): Prior("Gamma", alpha=3, beta=2)}, draws=20)
    for name in ("beta", "sigma", "cor_g"):
        np.testing.assert_array_equal(first[name], other[name])
    assert not np.array_equal(first["sd_g"][:, 0], other["sd_g"][:, 0])
    np.testing.assert_array_equal(first["sd_g"][:, 1], other["sd_g"][:, 1])


@pytest.mark.parametrize(
    ("priors", "says"),
    [
        ({"sigma": blm.flat()}, r"sigma: a flat prior is improper.*\{'sigma': Prior\('HalfNormal'"),
        ({"Intercept": blm.flat()}, r"Intercept: .*Prior\('Normal'"),
        ({"sd": Prior("HalfFlat")}, r"sd\(Intercept \| g\), sd\(x \| g\): .*\('sd', 'g', 'Intercept'\)"),
        ({"sigma": Prior("Normal", mu=5, sigma=1)}, r"sigma: .* can give numbers below zero"),
        ({"sd": Prior("Uniform", lower=-1, upper=1)}, r"sd\(Intercept \| g\): .* can give numbers below zero"),
        ({"x": Prior("Nope", a=1)}, r"x: PyMC has no"),
    ],
)
def test_priors_that_cannot_be_drawn_from_are_named(priors, says):
    with pytest.raises(PriorError, match=says):
        drawn(priors=priors, draws=50)


@pytest.mark.parametrize("draws", [0, -3, 2.5, True])
def test_draws_is_a_whole_number(draws):
    with pytest.raises(InputError, match="whole number"):
        drawn(draws=draws)


# -- responses

ETA = {"log": 0.7, "inverse": 0.4, "sqrt": 1.3, "identity": 2.5}
GIVEN = {"sigma": 0.6, "nu": 12.0, "shape": 2.5, "phi": 7.0, "cutpoint": np.array([-0.5, 0.4, 1.5])}
CASES = [(name, link) for name, kind in FAMILIES.items() for link in kind.links if name != "ordinal"]


def moments(family, mean, trials, weight):
    """Mean and variance of a response, by the table of the family module."""
    sigma, nu, shape, phi = (GIVEN[k] for k in ("sigma", "nu", "shape", "phi"))
    v = sigma**2 / weight
    return {
        "gaussian": (mean, v),
        "student_t": (mean, v * nu / (nu - 2.0)),
        "lognormal": (np.exp(mean + v / 2.0), np.expm1(v) * np.exp(2.0 * mean + v)),
        "bernoulli": (mean, mean * (1.0 - mean)),
        "binomial": (trials * mean, trials * mean * (1.0 - mean)),
        "poisson": (mean, mean),
        "negbinomial": (mean, mean + mean**2 / shape),
        "gamma": (mean, mean**2 / shape),
        "beta": (mean, mean * (1.0 - mean) / (1.0 + phi)),
    }[family]


@pytest.mark.parametrize(("name", "link"), CASES)
def test_responses_have_the_mean_and_variance_of_their_family(name, link):
    family, size, weight, trials = family_of(name, link), 200_000, 2.0, 9
    eta = np.full((size, 1), ETA.get(link, 0.3))
    parameters = {k: np.full((size, 1), GIVEN[k]) for k in family.parameters}
    y = simulate_response(
        family,
        eta,
        parameters=parameters,
        trials=np.array([trials]),
        weights=np.array([weight]),
        rng=np.random.default_rng(4),
    )
    assert y.shape == eta.shape and y.dtype == np.float64
    mean, var = moments(name, float(family.mean(eta[0])[0]), trials, weight)
    off = np.square(y - mean)
    assert abs(y.mean() - mean) < SDS * np.sqrt(var / size)
    assert abs(off.mean() - var) < SDS * off.std() / np.sqrt(size)  # the error of a mean of squares
    if name not in ("bernoulli", "binomial", "poisson", "negbinomial"):
        assert np.unique(y).size > size / 2
    else:
        np.testing.assert_array_equal(y, np.round(y))


@pytest.mark.parametrize("link", FAMILIES["ordinal"].links)
def test_categories_have_their_probabilities(link):
    family, size, eta = family_of("ordinal", link), 100_000, 0.3
    y = simulate_response(
        family,
        np.full((size, 1), eta),
        parameters={"cutpoint": np.tile(GIVEN["cutpoint"], (size, 1))},
        trials=None,
        weights=None,
        rng=np.random.default_rng(4),
    )
    below = np.concatenate([[0.0], family.mean(GIVEN["cutpoint"] - eta), [1.0]])
    p = np.diff(below)
    found = np.bincount(y[:, 0].astype(int), minlength=4) / size
    assert np.all(np.abs(found - p) < SDS * np.sqrt(p * (1.0 - p) / size))


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_broadcast_over_chains_and_draws(name):
    family = family_of(name)
    rng = np.random.default_rng(6)
    eta = np.broadcast_to(np.linspace(-0.5, 0.5, 5), (2, 3, 5))
    spread = rng.uniform(1.0, 4.0, (2, 3, 1))
    parameters = {k: spread for k in family.parameters}
    if name == "ordinal":
        parameters = {"cutpoint": np.sort(rng.normal(size=(2, 3, 4)), axis=-1)}
    given = {"trials": np.arange(1.0, 6.0), "weights": np.ones(5)}
    together = simulate_response(family, eta, parameters=parameters, rng=np.random.default_rng(9), **given)
    flat = simulate_response(
        family,
        eta.reshape(6, 5),
        parameters={k: v.reshape(6, *v.shape[2:]) for k, v in parameters.items()},
        rng=np.random.default_rng(9),
        **given,
    )
    assert together.shape == (2, 3, 5)
    np.testing.assert_array_equal(together.reshape(6, 5), flat)


def test_a_parameter_belongs_to_its_own_draw_and_a_weight_to_its_own_row():
    sigma, weights = np.array([0.0, 1.0, 100.0]), np.array([1.0, 10_000.0])
    y = simulate_response(
        family_of("gaussian"),
        np.zeros((3, 2)),
        parameters={"sigma": sigma[:, None]},
        trials=None,
        weights=weights,
        rng=np.random.default_rng(1),
    )
    z = np.random.default_rng(1).standard_normal((3, 2))
    np.testing.assert_allclose(y, z * sigma[:, None] / np.sqrt(weights))


def response(name, link, eta, **parameters):
    family = family_of(name, link)
    return simulate_response(
        family,
        np.atleast_2d(np.asarray(eta, dtype=float)),
        parameters={k: np.array([v]) for k, v in parameters.items()},
        trials=None,
        weights=None,
        rng=np.random.default_rng(1),
    )[0]


def test_impossible_means_give_nan():
    np.testing.assert_array_equal(np.isnan(response("gamma", "inverse", [-1.0, 0.5], shape=2.0)), [True, False])
    np.testing.assert_array_equal(np.isnan(response("poisson", "identity", [-0.1, 0.0, 3.0])), [True, False, False])
    np.testing.assert_array_equal(
        np.isnan(response("negbinomial", "identity", [-0.1, 0.0, 3.0], shape=2.0)), [True, False, False]
    )
    for name in ("bernoulli", "binomial", "ordinal", "gaussian", "poisson", "beta"):
        extra = {"sigma": 1.0, "phi": 2.0, "cutpoint": [-1.0, 1.0]}
        given = {k: extra[k] for k in family_of(name).parameters}
        np.testing.assert_array_equal(np.isnan(response(name, None, [np.nan, 0.5], **given)), [True, False])


@pytest.mark.filterwarnings("error")
def test_very_large_means_neither_raise_nor_warn():
    for name, given in (("poisson", {}), ("negbinomial", {"shape": 2.0}), ("gamma", {"shape": 2.0})):
        y = response(name, "log", [800.0, 300.0, 60.0, 2.0], **given)
        assert np.isposinf(y[0]) and np.all(np.isfinite(y[1:]))
        assert y[1] > 1e128 and y[2] > 1e23
    assert response("poisson", "log", [60.0])[0] == np.rint(np.exp(60.0)) > LARGEST_POISSON
    assert np.isposinf(response("lognormal", None, [1e4], sigma=1.0)[0])
    assert np.isposinf(response("gaussian", "log", [1e4], sigma=1.0)[0])
    for link in ("logit", "probit", "cloglog", "cauchit"):
        np.testing.assert_array_equal(response("bernoulli", link, [-1e300, 1e300]), [0.0, 1.0])
        np.testing.assert_array_equal(response("beta", link, [-1e300, 1e300], phi=3.0), [0.0, 1.0])
        np.testing.assert_array_equal(response("ordinal", link, [-1e300, 1e300], cutpoint=[0, 1]), [0.0, 2.0])


def test_the_linear_predictor_is_the_dense_formula():
    data = frame().assign(o=np.linspace(0.0, 1.0, 120))
    design, found = drawn("y ~ x + offset(o) + (x | g) + (1 | h)", data=data, draws=6)
    eta = linear_predictor(
        design, found["beta"].reshape(2, 3, -1), [found[f"b_{g.name}"].reshape(2, 3, -1, g.q) for g in design.groups]
    )
    expected = found["beta"] @ design.X.T + data["o"].to_numpy()
    for g in design.groups:
        for i in range(design.n):
            expected[:, i] += found[f"b_{g.name}"][:, g.codes[i]] @ g.Z[i]
    np.testing.assert_allclose(eta.reshape(6, -1), expected, rtol=1e-12)
    assert np.abs(eta).min() > 0.0  # neither side is all zero


# -- the tree


@pytest.mark.parametrize("name", RESPONSES)
def test_the_tree_has_a_posteriors_names_and_legal_responses(name):
    design = build_design(f"{RESPONSES[name]} ~ x + (x | g)", frame(), family=family_of(name))
    tree = prior_predictive(design, resolve_priors(design), draws=30, random_seed=3)
    assert set(tree.children) == {"prior", "prior_predictive", "observed_data"}
    prior = tree["prior"].to_dataset()
    assert prior["beta"].dims == ("chain", "draw", "coef")
    assert prior["sd_g"].dims == ("chain", "draw", "g_term")
    assert prior["cor_g"].dims == ("chain", "draw", "g_term", "g_term_bis")
    assert prior["b_g"].dims == ("chain", "draw", "g", "g_term")
    assert list(prior["g"].values) == list(range(12)) and list(prior["coef"].values) == list(design.x_names)
    for parameter in design.family.parameters:
        wanted = ("chain", "draw", "threshold") if parameter == "cutpoint" else ("chain", "draw")
        assert prior[parameter].dims == wanted
    y = tree["prior_predictive"]["y"]
    assert y.dims == ("chain", "draw", "obs") and y.shape == (1, 30, 120)
    np.testing.assert_array_equal(y["obs"], design.index)
    np.testing.assert_array_equal(tree["observed_data"]["y"], as_seen(design, design.y))
    values = y.to_numpy()
    assert not np.isnan(values).any()
    if name in ("bernoulli", "binomial", "ordinal", "beta"):
        most = design.trials if name == "binomial" else 3.0 if name == "ordinal" else 1.0
        assert values.min() >= (1.0 if name == "ordinal" else 0.0) and np.all(values <= most)
    again = prior_predictive(design, resolve_priors(design), draws=30, random_seed=3)
    np.testing.assert_array_equal(again["prior_predictive"]["y"], y)
    other = prior_predictive(design, resolve_priors(design), draws=30, random_seed=4)
    assert not np.array_equal(other["prior_predictive"]["y"], y)


def test_the_tree_of_a_model_without_fixed_or_random_effects():
    for formula, missing in (("y ~ 0 + (1 | g)", "beta"), ("y ~ x", "sd_g")):
        design = build_design(formula, frame())
        tree = prior_predictive(design, resolve_priors(design), draws=5, random_seed=1)
        assert missing not in tree["prior"] and "sigma" in tree["prior"]
        assert tree["prior_predictive"]["y"].shape == (1, 5, 120)
