"""Rows of a fit: means and spreads of responses, predictions by target, residuals, ranks, coefficients of levels."""

from __future__ import annotations

import arviz_stats
import numpy as np
import pandas as pd
import plain
import pytest
import xarray as xr
from plain import FAMILIES
from scipy import integrate, special, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine.scaling import Problem
from bayeslmm.errors import InputError, NotAvailableError, RefusedVerbError, UnseenLevelError
from bayeslmm.families import family_of
from bayeslmm.results import variance
from bayeslmm.results.coefficients import coding_of
from bayeslmm.results.contract import as_dataset
from bayeslmm.results.moments import expected_over, expected_response
from bayeslmm.results.simulation import simulate_response

# few draws on purpose: what is tested is what is made of them
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]

PARAMETERS = {
    "sigma": np.array([0.7, 1.3]),
    "nu": np.array([5.0, 9.0]),
    "shape": np.array([2.0, 4.5]),
    "phi": np.array([3.0, 12.0]),
    "cutpoint": np.array([[-1.0, 0.2, 1.1], [-0.4, 0.0, 2.0]]),
}
LINKED = [(name, link) for name, kind in FAMILIES.items() for link in kind.links]
WEIGHTED = ("gaussian", "student_t", "lognormal")
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def parameters_of(family):
    return family.along({name: PARAMETERS[name] for name in family.parameters})


def predictors(link):
    """η (2 draws, 3 rows) where every mean is possible."""
    return np.array([[0.4, 0.9, 1.6], [0.7, 1.1, 2.0]]) * (1.0 if link != "inverse" else 0.8)


# -- moments


def frozen(family, mean, draw, trials):
    """The response's distribution as scipy has it, for one draw (rows,)."""
    p = {name: value[draw] for name, value in parameters_of(family).items()}
    match family.name:
        case "gaussian":
            return stats.norm(mean, p["sigma"])
        case "student_t":
            return stats.t(p["nu"], mean, p["sigma"])
        case "lognormal":  # mean of the logarithm
            return stats.lognorm(p["sigma"], scale=np.exp(mean))
        case "bernoulli":
            return stats.bernoulli(mean)
        case "binomial":
            return stats.binom(trials, mean)
        case "poisson":
            return stats.poisson(mean)
        case "negbinomial":
            return stats.nbinom(p["shape"], p["shape"] / (p["shape"] + mean))
        case "gamma":
            return stats.gamma(p["shape"], scale=mean / p["shape"])
        case "beta":
            return stats.beta(mean * p["phi"], (1 - mean) * p["phi"])


@pytest.mark.parametrize(("name", "link"), [pair for pair in LINKED if pair[0] != "ordinal"])
def test_means_and_variances_as_scipy_has_them(name, link):
    family, eta = family_of(name, link), predictors(link)
    trials = np.array([1.0, 5.0, 12.0]) if name == "binomial" else None
    mean = expected_response(family, eta, parameters_of(family))
    spread = family.variance(mean, parameters_of(family), trials=trials)
    assert mean.shape == spread.shape == (2, 3)
    for draw in (0, 1):
        known = frozen(family, family.mean(eta[draw]), draw, trials)
        of_share = 1.0 if trials is None else trials
        np.testing.assert_allclose(mean[draw], known.mean() / of_share, rtol=1e-10)
        np.testing.assert_allclose(spread[draw], known.var() / of_share**2, rtol=1e-10)


@pytest.mark.parametrize("link", FAMILIES["ordinal"].links)
def test_probabilities_of_categories(link):
    family, eta = family_of("ordinal", link), predictors(link)
    found = expected_response(family, eta, parameters_of(family))
    assert found.shape == (2, 3, 4)
    below = {"logit": stats.logistic.cdf, "probit": stats.norm.cdf, "cauchit": stats.cauchy.cdf}.get(
        link, stats.gumbel_l.cdf
    )
    for draw in (0, 1):
        for row in range(3):
            edges = below(PARAMETERS["cutpoint"][draw] - eta[draw, row])
            np.testing.assert_allclose(found[draw, row], np.diff([0.0, *edges, 1.0]), rtol=1e-10)
    with pytest.raises(NotAvailableError, match="ordinal"):
        family.variance(found, parameters_of(family))


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_are_those_of_what_is_simulated(name):
    """The same conventions on both sides: trials, weights, categories; fourth moments of lognormal rows vary much."""
    family, rng, S = family_of(name), fixed_rng(5), 40_000
    eta = predictors(family.link)[1]
    one = {key: value[1] for key, value in parameters_of(family).items()}
    each = {key: np.broadcast_to(value, (S, *np.shape(value))) for key, value in one.items()}
    trials = np.array([1.0, 5.0, 12.0]) if name == "binomial" else None
    weights = np.array([0.5, 1.0, 3.0]) if name in WEIGHTED else None
    y = simulate_response(
        family, np.broadcast_to(eta, (S, 3)), parameters=each, trials=trials, weights=weights, rng=rng
    )
    mean = expected_response(family, eta, one, weights=weights)
    if name == "ordinal":
        shares = np.stack([(y == k).mean(axis=0) for k in range(4)], axis=-1)
        assert np.abs(shares - mean).max() < 5 * 0.5 / np.sqrt(S)
        return
    y = y if trials is None else y / trials
    spread = family.variance(mean, one, trials=trials, weights=weights)
    # five standard errors of a mean, and of a variance by the fourth moments of the sample
    assert (np.abs(y.mean(axis=0) - mean) < 5 * np.sqrt(spread / S)).all()
    error = np.sqrt(np.var((y - mean) ** 2, axis=0) / S)
    assert (np.abs(((y - mean) ** 2).mean(axis=0) - spread) < 5 * error + 1e-12).all()


def test_unit_variances_leave_out_the_scale():
    one, w = {name: v[1] for name, v in PARAMETERS.items()}, np.array([0.5, 1.0, 4.0])
    mean = np.array([0.2, 0.5, 0.7])
    for name in ("gaussian", "student_t"):
        np.testing.assert_allclose(family_of(name).variance(mean, one, weights=w, unit=True), 1 / w, **EXACT)
    np.testing.assert_allclose(family_of("gamma").variance(mean, one, unit=True), mean**2, **EXACT)
    for name in ("bernoulli", "poisson", "beta", "negbinomial"):
        np.testing.assert_array_equal(
            family_of(name).variance(mean, one, unit=True), family_of(name).variance(mean, one)
        )


def test_a_heavy_tail_has_an_infinite_variance():
    given = {"sigma": np.array([[1.0], [1.0]]), "nu": np.array([[2.0], [3.0]])}
    found = family_of("student_t").variance(np.zeros((2, 1)), given)
    assert np.isinf(found[0, 0]) and found[1, 0] == pytest.approx(3.0)


@pytest.mark.parametrize(("name", "link"), LINKED)
def test_means_over_groups_by_numerical_integration(name, link):
    family, eta = family_of(name, link), predictors(link)
    # an inverse link has a mean over groups only where none comes near the pole
    sd = np.array([[0.0, 0.5, 1.2], [0.3, 0.8, 0.1]]) * (0.1 if link == "inverse" else 1.0)
    found = expected_over(family, eta, sd, parameters_of(family))
    for draw in (0, 1):
        one = {key: value[draw] for key, value in parameters_of(family).items()}
        for row in range(3):

            def inside(z, row=row, draw=draw, one=one):
                at = np.array([eta[draw, row] + sd[draw, row] * z])
                return expected_response(family, at, one)[0] * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)

            whole, _ = integrate.quad_vec(inside, -12.0, 12.0, epsabs=1e-11)
            # 31 nodes: exact to rounding for polynomials and closed forms, to 1e-5 for the Cauchy's slow tails
            rtol = 1e-5 if link == "cauchit" else 1e-7
            np.testing.assert_allclose(found[draw, row], whole, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", ["bernoulli", "poisson", "lognormal", "ordinal"])
def test_means_over_groups_by_brute_force(name):
    family, rng, S = family_of(name), np.random.default_rng(2), 200_000
    one = {key: value[1] for key, value in parameters_of(family).items()}
    eta = np.array([-0.5, 1.0])
    drawn = eta[0] + 0.8 * rng.standard_normal(S), eta[1] + 0.3 * rng.standard_normal(S)
    found = expected_over(family, eta, np.array([0.8, 0.3]), one)
    for row, values in enumerate(drawn):
        each = expected_response(family, values, one)
        np.testing.assert_array_less(np.abs(each.mean(axis=0) - found[row]), 5 * each.std(axis=0) / np.sqrt(S))


def test_closed_forms_over_groups():
    eta, sd, one = (np.array([0.3, 1.0]), np.array([0.5, 2.0]), {"sigma": np.asarray(0.7), "shape": np.asarray(2.0)})
    for name in ("poisson", "negbinomial", "gamma"):
        np.testing.assert_allclose(
            expected_over(family_of(name, "log"), eta, sd, one), np.exp(eta + sd**2 / 2), **EXACT
        )
    w = np.array([1.0, 4.0])
    found = expected_over(family_of("lognormal"), eta, sd, one, weights=w)
    np.testing.assert_allclose(found, np.exp(eta + sd**2 / 2 + 0.7**2 / w / 2), **EXACT)
    probit = expected_over(family_of("bernoulli", "probit"), eta, sd, {})
    np.testing.assert_allclose(probit, stats.norm.cdf(eta / np.sqrt(1 + sd**2)), rtol=1e-6)
    np.testing.assert_array_equal(expected_over(family_of("gaussian"), eta, sd, one), eta)


# -- posteriors made up


def table_of(n=60, seed=4):
    rng = fixed_rng(seed)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "s": [f"s{i}" for i in np.arange(n) % 4],
            "c": [f"c{i}" for i in rng.integers(0, 3, n)],
            "w": rng.uniform(0.5, 3.0, n),
            "m": rng.integers(2, 9, n),
            "f": rng.choice(["p", "q", "r"], n),
        },
        index=[f"row {i}" for i in range(n)],
    )


MADE = {
    "bernoulli": lambda v, m: (v > 0).astype(int),
    "binomial": lambda v, m: np.where(v > 0, m, m // 2),
    "poisson": lambda v, m: np.floor(np.exp(v)),
    "negbinomial": lambda v, m: np.floor(np.exp(v)),
    "gamma": lambda v, m: np.exp(v),
    "lognormal": lambda v, m: np.exp(v),
    "beta": lambda v, m: special.expit(v),
    "ordinal": lambda v, m: np.digitize(v, [-0.5, 0.2, 0.9]),
}


def model_of(family="gaussian", right="x + (x | s)", link=None, **options):
    data = table_of()
    data["y"] = MADE.get(family, lambda v, m: v)(data["y"], data["m"])
    left = "p(y, m)" if family == "binomial" else "y"
    return blm.Model(f"{left} ~ {right}", data, family=family, link=link, **options)


def posterior_of(model, shape=(2, 30), **changed):
    """A posterior made up: everything scatters, correlations are −0.5."""
    design, rng = model.design, np.random.default_rng(1)
    made = {
        "sigma": rng.uniform(0.5, 1.5, shape),
        "nu": rng.uniform(4, 9, shape),
        "shape": rng.uniform(1, 5, shape),
        "phi": rng.uniform(2, 9, shape),
        "cutpoint": np.array([-1.0, 0.2, 1.1]) + 0.1 * rng.uniform(size=(*shape, 1)),
    }
    found = {name: made[name] for name in design.family.parameters}
    found["beta"] = 0.3 * rng.normal(size=(*shape, design.p))
    for g in design.groups:
        found[f"sd_{g.name}"] = rng.uniform(0.2, 0.8, (*shape, g.q))
        if g.correlated:
            cor = np.full((g.q, g.q), -0.5) + 1.5 * np.eye(g.q)
            found[f"cor_{g.name}"] = np.broadcast_to(cor, (*shape, g.q, g.q)).copy()
        found[f"b_{g.name}"] = 0.5 * rng.normal(size=(*shape, g.n_levels, g.q))
    found |= {k: np.broadcast_to(v, found[k].shape).copy() for k, v in changed.items()}
    with np.errstate(invalid="ignore"):  # draws that do not vary have no R-hat
        return model.read_draws(xr.DataTree.from_dict({"posterior": as_dataset(design, found)}))


def linear_predictor(post, *, without=()):
    """Xβ + Zb + offset (S, n), one row after the other."""
    design = post.design
    eta = np.zeros((post.n_chains * post.n_draws, design.n))
    beta = post.draws("beta").reshape(len(eta), -1)
    for s in range(len(eta)):
        eta[s] = design.X @ beta[s] + design.offset
        for g in design.groups:
            if g.name not in without:
                b = post.draws(f"b_{g.name}").reshape(len(eta), g.n_levels, g.q)[s]
                eta[s] += [g.Z[i] @ b[g.codes[i]] for i in range(design.n)]
    return eta


def flat(post, name):
    values = post.draws(name)
    return values.reshape(-1, *values.shape[2:])


# -- fitted values, residuals, bayes_r2


@pytest.mark.parametrize("family", FAMILIES)
def test_fitted_values_are_means_of_expected_responses(family):
    post = posterior_of(model_of(family, "x + offset(0.1 * w) + (x | s) + (1 | c)"))
    parameters = post.design.family.along({name: flat(post, name) for name in post.design.family.parameters})
    mean = expected_response(post.design.family, linear_predictor(post), parameters)
    np.testing.assert_allclose(post.fitted(), mean.mean(axis=0), rtol=1e-10)
    draws = post.fitted(draws=True)
    assert draws.dims[:3] == ("chain", "draw", "obs") and list(draws["obs"].values) == list(post.design.index)
    np.testing.assert_allclose(draws.values.reshape(mean.shape), mean, rtol=1e-10)
    if family == "ordinal":
        np.testing.assert_allclose(draws.sum("category"), 1.0)
        assert list(draws["category"].values) == list(post.design.levels)


@pytest.mark.parametrize(
    ("family", "weighted"),
    [*((family, False) for family in FAMILIES if family != "ordinal"), *((family, True) for family in WEIGHTED)],
)
def test_residuals_by_their_formulas(family, weighted):
    post = posterior_of(model_of(family, weights="w" if weighted else None))
    design, p = post.design, {name: flat(post, name) for name in post.design.family.parameters}
    w = design.weights if weighted else np.ones(design.n)
    mean = expected_response(design.family, linear_predictor(post), design.family.along(p), weights=w)
    y = design.y / (design.trials if family == "binomial" else 1.0)
    sigma = p["sigma"][:, None] if "sigma" in p else 1.0
    shape = p["shape"][:, None] if "shape" in p else 1.0
    full, unit = {
        "gaussian": lambda m: (sigma**2 / w, 1 / w + 0 * m),
        "student_t": lambda m: (sigma**2 / w * (p["nu"] / (p["nu"] - 2))[:, None], 1 / w + 0 * m),
        "lognormal": lambda m: ((np.exp(sigma**2 / w) - 1) * m**2,) * 2,
        "bernoulli": lambda m: (m * (1 - m),) * 2,
        "binomial": lambda m: (m * (1 - m) / design.trials,) * 2,
        "poisson": lambda m: (m, m),
        "negbinomial": lambda m: (m + m**2 / shape,) * 2,
        "gamma": lambda m: (m**2 / shape, m**2),
        "beta": lambda m: (m * (1 - m) / (1 + p["phi"][:, None]),) * 2,
    }[family](mean)
    for kind, spread in (("raw", 1.0), ("pearson", unit), ("scaled", full)):
        each = (y - mean) / np.sqrt(spread)
        np.testing.assert_allclose(post.residuals(kind), each.mean(axis=0), rtol=1e-9, atol=1e-12)
        draws = post.residuals(kind, draws=True)
        np.testing.assert_allclose(draws.values.reshape(each.shape), each, rtol=1e-9, atol=1e-12)
    # and the Bayesian R²: variance of the fit over it and the mean residual variance, draw by draw
    of_fit, rest = mean.var(axis=1, ddof=1), np.broadcast_to(full, mean.shape).mean(axis=1)
    found = post.bayes_r2(draws=True)
    np.testing.assert_allclose(found.values.reshape(-1), of_fit / (of_fit + rest), rtol=1e-9)
    assert post.bayes_r2().loc["bayes", "mean"] == pytest.approx((of_fit / (of_fit + rest)).mean())


def test_what_an_ordinal_response_does_not_have():
    post = posterior_of(model_of("ordinal"))
    for ask in (post.residuals, post.bayes_r2, lambda: post.residuals("pearson")):
        with pytest.raises(NotAvailableError, match="categories have no"):
            ask()
    with pytest.raises(InputError, match="'deviance'"):
        posterior_of(model_of()).residuals("deviance")


def test_residuals_of_a_point_fit():
    fit = model_of(weights="w").fit_reml()
    raw, w = fit.design.y - fit.fitted(), fit.design.weights
    np.testing.assert_allclose(fit.residuals(), raw)
    np.testing.assert_allclose(fit.residuals("pearson"), raw * np.sqrt(w))
    np.testing.assert_allclose(fit.residuals("scaled"), raw * np.sqrt(w) / fit.sigma)
    np.testing.assert_allclose(fit.residuals("deviance"), fit.residuals("pearson"))
    with pytest.raises(InputError, match="'student'"):
        fit.residuals("student")
    with pytest.raises(RefusedVerbError, match="r2"):
        fit.bayes_r2()


# -- predictions of a posterior


@pytest.mark.parametrize("family", ["gaussian", "bernoulli", "ordinal", "lognormal"])
@pytest.mark.parametrize("groups", ["observed", "average", "population", {"s": "population", "c": "observed"}])
def test_blocks_of_rows_make_one_table(monkeypatch, family, groups):
    post = posterior_of(model_of(family, "x + (x | s) + (1 | c)"))
    whole = [post.predict(groups=groups), post.predict(groups=groups, draws=True)]
    rest = [post.fitted(), post.fitted(draws=True)]
    if family != "ordinal":
        rest += [post.bayes_r2(draws=True), post.residuals("scaled"), post.augment().filter(like="_")]
    monkeypatch.setattr("bayeslmm.results.rows.NUMBERS", 7 * post.n_chains * post.n_draws)  # 60 rows, 7 at a time
    pd.testing.assert_frame_equal(post.predict(groups=groups), whole[0], rtol=1e-12)
    xr.testing.assert_allclose(post.predict(groups=groups, draws=True), whole[1], rtol=1e-12)
    again = [post.fitted(), post.fitted(draws=True)]
    if family != "ordinal":
        again += [post.bayes_r2(draws=True), post.residuals("scaled"), post.augment().filter(like="_")]
    for one, other in zip(again, rest, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_predictions_of_the_rows_of_a_fit_are_summaries_of_fitted_draws():
    post = posterior_of(model_of("bernoulli"))
    table, draws = post.predict(), post.fitted(draws=True).values.reshape(60, -1)
    assert list(table.index) == list(post.design.index)
    np.testing.assert_allclose(table["mean"], draws.mean(axis=0))
    np.testing.assert_allclose(table["sd"], draws.std(axis=0, ddof=1))
    np.testing.assert_allclose(table[["conf_low", "conf_high"]].T, np.quantile(draws, [0.025, 0.975], axis=0))
    np.testing.assert_allclose(
        post.predict(ci_prob=0.5)[["conf_low", "conf_high"]].T, np.quantile(draws, [0.25, 0.75], axis=0)
    )
    shuffled = post.design.frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(post.predict(shuffled), table.loc[shuffled.index])


def test_the_average_group_and_the_population_of_a_logit_model():
    """b = 0 gives the median of the probabilities of groups; their mean is pulled towards 1/2."""
    post = posterior_of(model_of("bernoulli", "x + (1 | s)"), sd_s=1.5, beta=np.array([1.0, 0.5]))
    rows = pd.DataFrame({"x": [0.0, 2.0]})
    average, population = post.predict(rows, groups="average"), post.predict(rows, groups="population")
    np.testing.assert_allclose(average["mean"], special.expit([1.0, 2.0]))
    assert (population["mean"] < average["mean"]).all() and (population["mean"] > 0.5).all()
    many = special.expit(np.array([1.0, 2.0]) + 1.5 * np.random.default_rng(1).normal(size=(200_000, 1)))
    # the mean of 200,000 probabilities, five standard errors of 0.25 / 450
    np.testing.assert_allclose(population["mean"], many.mean(axis=0), atol=0.003)
    response = post.predict(rows, groups="population", kind="response", draws=True, random_seed=1)
    assert set(np.unique(response)) == {0.0, 1.0}


def test_new_groups_share_a_draw_by_label():
    post = posterior_of(model_of(right="1 + (1 | s)"), (4, 1000), sd_s=2.0, beta=np.array([3.0]), sigma=1.0)
    rows = pd.DataFrame({"s": ["new", "new", "other", "s0"]}, index=[5, 5, 9, "z"])
    draws = post.predict(rows, groups="new", draws=True, random_seed=1)
    assert list(draws["obs"].values) == [5, 5, 9, "z"]
    values = draws.values.reshape(-1, 4)
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    together = np.corrcoef(values[:, [0, 2, 3]], rowvar=False)
    # correlations of 4,000 independent draws are 0.016 on average
    assert np.abs(together[np.triu_indices(3, 1)]).max() < 0.08
    np.testing.assert_allclose(values.std(axis=0), 2.0, rtol=0.06)  # known to 1.1 %
    # an observation of such a group: both spreads
    response = post.predict(rows, groups="new", kind="response", draws=True, random_seed=1).values.reshape(-1, 4)
    np.testing.assert_allclose(response.std(axis=0), np.hypot(2.0, 1.0), rtol=0.06)
    np.testing.assert_allclose(np.corrcoef(response[:, 0], response[:, 1])[0, 1], 4 / 5, atol=0.03)
    again = post.predict(rows, groups="new", draws=True, random_seed=1)
    xr.testing.assert_identical(again, draws)
    assert not np.array_equal(post.predict(rows, groups="new", draws=True, random_seed=2), draws)


def test_correlated_effects_of_new_groups():
    post = posterior_of(model_of(), (4, 1000), sd_s=np.array([1.0, 0.5]), beta=np.zeros(2), sigma=1.0)
    rows = pd.DataFrame({"s": ["new"] * 2, "x": [0.0, 2.0]})
    cov = np.cov(post.predict(rows, groups="new", draws=True, random_seed=1).values.reshape(-1, 2), rowvar=False)
    # z'Σz' with sds 1 and 0.5, correlation −0.5; each is known to some 2 % of its scale
    np.testing.assert_allclose(cov, [[1.0, 0.5], [0.5, 1.0]], atol=0.12)


def test_new_classes_of_known_schools_keep_the_school():
    post = posterior_of(
        model_of(right="1 + (1 | s/c)"), (4, 1000), sd_s=1.0, beta=np.zeros(1), sigma=1.0, **{"sd_s:c": 2.0}
    )
    rows = pd.DataFrame({"s": ["s1", "s1", "s1", "s2"], "c": ["n1", "n1", "n2", "n1"]})
    draws = post.predict(rows, groups={"s": "observed", "s:c": "new"}, draws=True, random_seed=1)
    school = post.draws("b_s")[..., 0].reshape(-1, 4)[:, [1, 1, 1, 2]]
    rest = draws.values.reshape(-1, 4) - school
    np.testing.assert_allclose(rest.std(axis=0), 2.0, rtol=0.06)  # known to 1.1 %
    np.testing.assert_allclose(rest[:, 0], rest[:, 1], atol=1e-12)
    others = np.corrcoef(rest[:, [0, 2, 3]], rowvar=False)[np.triu_indices(3, 1)]
    assert np.abs(others).max() < 0.08
    # new classes do not know the school's effect
    assert abs(np.corrcoef(rest[:, 0], school[:, 0])[0, 1]) < 0.08
    kept = post.predict(rows.drop(columns="c"), groups={"s": "observed", "s:c": "average"}, draws=True)
    np.testing.assert_allclose(kept.values.reshape(-1, 4), school)
    with pytest.raises(UnseenLevelError, match="s:c"):
        post.predict(rows)


def test_a_response_scatters_around_its_mean():
    post = posterior_of(model_of(), (4, 1000))
    rows = post.design.frame.head(3)
    mean = post.predict(rows, draws=True).values.reshape(-1, 3)
    response = post.predict(rows, kind="response", draws=True, random_seed=1).values.reshape(-1, 3)
    spread = np.sqrt(mean.var(axis=0) + (post.draws("sigma") ** 2).mean())
    np.testing.assert_allclose(response.std(axis=0), spread, rtol=0.06)  # known to 1.1 %
    # what is added is the noise of each draw: standard normal in units of its sigma
    noise = (response - mean) / flat(post, "sigma")[:, None]
    assert stats.kstest(noise.reshape(-1), "norm").pvalue > 1e-4


@pytest.mark.parametrize("kind", ["posterior", "point"])
def test_weights_of_the_rows_count_in_their_responses(kind):
    if kind == "posterior":
        post = posterior_of(model_of(right="1 + (1 | s)", weights="w"), (4, 1000), sigma=2.0)
        mean = post.fitted(draws=True).values.reshape(-1, 60)
        response = post.predict(kind="response", draws=True, random_seed=1).values.reshape(-1, 60)
        sigma, w = 2.0, post.design.weights
        simulated = post.simulate(4000, random_seed=1, groups="observed")
        fresh = post.predict(post.design.frame, kind="response", draws=True, random_seed=2).values.reshape(-1, 60)
        # new rows have no weights: one each
        np.testing.assert_allclose((fresh - mean).std(axis=0), 2.0, rtol=0.06)
        spread = np.sqrt(mean.var(axis=0) + 4.0 / w)
    else:
        fit = model_of(right="1 + (1 | s)", weights="w").fit_reml()
        mean = fit.fitted()
        response = fit.predict(kind="response", draws=4000, random_seed=1).values
        sigma, w = fit.sigma, fit.design.weights
        simulated = fit.simulate(4000, random_seed=1, groups="observed")
        spread = sigma / np.sqrt(w)
    # sds of 4,000 draws are known to 1.1 %
    np.testing.assert_allclose((response - mean).std(axis=0), sigma / np.sqrt(w), rtol=0.06)
    np.testing.assert_allclose(simulated.std(axis=1), spread, rtol=0.06)


def test_trials_of_new_rows():
    post = posterior_of(model_of("binomial"), (4, 500))
    rows = post.design.frame.head(4).assign(m=[3, 10, 0, 7])
    p = post.predict(rows, draws=True).values.reshape(-1, 4)
    for trials in ("m", [3, 10, 0, 7], np.array([3.0, 10.0, 0.0, 7.0])):
        y = post.predict(rows, kind="response", trials=trials, draws=True, random_seed=1).values.reshape(-1, 4)
        assert (y.max(axis=0) <= [3, 10, 0, 7]).all() and (y == np.rint(y)).all()
        # five standard errors: successes of 2,000 draws have an sd of at most 1.6 + 10 times that of p
        np.testing.assert_allclose(y.mean(axis=0), [3, 10, 0, 7] * p.mean(axis=0), atol=0.35)
    with pytest.raises(InputError, match="need their trials"):
        post.predict(rows, kind="response")
    single = post.predict(rows, kind="response", trials=1, draws=True, random_seed=1)
    assert set(np.unique(single)) <= {0.0, 1.0}
    assert post.predict(rows, kind="response", trials=100, draws=True, random_seed=1).max() > 20
    own = post.predict(kind="response", draws=True, random_seed=1)
    assert (own.max(("chain", "draw")) <= post.design.trials).all()
    for bad, message in (("k", "'k'"), ([1, 2, 3, -1], "whole"), ([1, 2, 3, 0.5], "whole")):
        with pytest.raises(InputError, match=message):
            post.predict(rows, kind="response", trials=bad)
    with pytest.raises(InputError, match="newdata"):
        post.predict(trials=3)


def test_missing_predictors_and_strangers():
    post = posterior_of(model_of(right="x + f + (x | s)"))
    rows = post.design.frame.head(4).assign(x=[1.0, np.nan, 0.0, 2.0])
    table = post.predict(rows)
    assert list(table["mean"].isna()) == [False, True, False, False]
    assert table.loc[table["mean"].isna()].isna().all().all()
    assert list(table.index) == list(rows.index)
    stranger = rows.assign(s=["s0", "s9", "s1", None])
    with pytest.raises(UnseenLevelError, match=r"2 rows .*'s9'.*groups="):
        post.predict(stranger)
    for groups in ("new", "average", "population"):
        assert post.predict(stranger, groups=groups)["mean"].notna().tolist() == [True, False, True, True]
    with pytest.raises(UnseenLevelError, match="'none'"):
        post.predict(rows.assign(f="none"), groups="average")
    with pytest.raises(InputError, match="'typical'"):
        post.predict(rows, groups="typical")
    with pytest.raises(InputError, match="'c'"):
        post.predict(rows, groups={"c": "new"})
    with pytest.raises(InputError, match="'median'"):
        post.predict(rows, kind="median")
    for groups in (None, 3, ["new"]):
        with pytest.raises(InputError, match="groups="):
            post.predict(rows, groups=groups)


def test_an_ordinal_prediction_has_a_row_for_every_category():
    post = posterior_of(model_of("ordinal"))
    rows = post.design.frame.head(2)
    table = post.predict(rows, groups="population")
    assert list(table.index) == [label for label in rows.index for _ in range(4)]
    assert list(table["category"]) == list(post.design.levels) * 2
    np.testing.assert_allclose(table["mean"].groupby(level=0).sum(), 1.0)
    response = post.predict(rows, kind="response", draws=True, random_seed=1)
    assert response.dims == ("chain", "draw", "obs") and set(np.unique(response)) <= {0, 1, 2, 3}


def test_draws_of_a_point_fit_are_labelled_by_the_rows():
    fit = model_of(right="x + (1 | s)").fit_reml()
    rows = fit.design.frame.tail(3)
    for groups in ("observed", "new"):
        assert list(fit.predict(rows, groups=groups, draws=2, random_seed=1)["obs"].values) == list(rows.index)
    assert list(fit.predict(draws=2, random_seed=1)["obs"].values) == list(fit.design.index)
    with pytest.raises(InputError, match="groups=None"):
        fit.predict(rows, groups=None)


# -- simulations


def test_simulated_responses():
    post = posterior_of(model_of("poisson"), (4, 500))
    table = post.simulate(3, random_seed=1)
    assert list(table) == ["sim_1", "sim_2", "sim_3"] and list(table.index) == list(post.design.index)
    pd.testing.assert_frame_equal(table, post.simulate(3, random_seed=1))
    assert not table.equals(post.simulate(3, random_seed=2))
    kept = post.simulate(2000, random_seed=1, groups="observed")
    mean = post.fitted(draws=True).values.reshape(2000, -1)
    error = np.sqrt((mean.var(axis=0) + mean.mean(axis=0)) / 2000)
    # every draw once, so that only the responses scatter
    assert (np.abs(kept.mean(axis=1) - mean.mean(axis=0)) < 5 * error).all()
    # more than there are draws: some come twice
    assert posterior_of(model_of()).simulate(100, random_seed=1).shape == (60, 100)
    for bad in (0, 2.5, True):
        with pytest.raises(InputError, match="n="):
            post.simulate(bad)
    with pytest.raises(InputError, match=r"simulate\(groups='typical'\)"):
        post.simulate(groups="typical")


def test_simulated_groups_are_drawn_anew():
    post = posterior_of(model_of(right="1 + (1 | s)"), (4, 500), sd_s=3.0, sigma=1.0, beta=np.zeros(1))
    table = post.simulate(2000, random_seed=1).to_numpy()
    codes = post.design.groups[0].codes
    cor = np.corrcoef(table)
    same = codes[:, None] == codes[None, :]
    off = ~np.eye(60, dtype=bool)
    # 9 / (9 + 1) in a group, 0 between them; correlations of 2,000 draws are known to 0.022
    assert np.abs(cor[same & off] - 0.9).max() < 0.11 and np.abs(cor[~same]).max() < 0.11


# -- ranks


def test_ranks_by_brute_force():
    post = posterior_of(model_of())
    b = flat(post, "b_s")[:, :, 1]
    for highest in (True, False):
        found = post.rank_groups(term="x", top=2, highest=highest, ci_prob=0.8)
        ranks = np.array([[1 + sum((o > v) if highest else (o < v) for o in row) for v in row] for row in b])
        expected_rank = pd.Series(ranks.mean(axis=0), index=["s0", "s1", "s2", "s3"])
        assert found["expected_rank"].is_monotonic_increasing
        pd.testing.assert_series_equal(found["expected_rank"].sort_index(), expected_rank, check_names=False)
        ordered = found.loc[["s0", "s1", "s2", "s3"]]
        np.testing.assert_allclose(ordered["p_top"], (ranks <= 2).mean(axis=0))
        np.testing.assert_allclose(ordered["mean"], b.mean(axis=0))
        low, high = np.quantile(ranks, [0.1, 0.9], axis=0)  # between places where two are as likely
        assert ordered["rank_low"].tolist() == np.floor(low).tolist()
        assert ordered["rank_high"].tolist() == np.ceil(high).tolist()
    assert post.rank_groups(top=1)["p_top"].sum() == pytest.approx(1.0)
    pd.testing.assert_frame_equal(post.rank_groups(top=10), post.rank_groups(top=3))  # all but one of four


def test_ranks_that_cannot_be_told():
    post = posterior_of(model_of(right="x + (x | s) + (1 | c)"))
    for top in (0, -1, 1.5, True, "all"):
        with pytest.raises(InputError, match="top="):
            post.rank_groups("s", top=top)
    with pytest.raises(InputError, match="'z'"):
        post.rank_groups("s", term="z")
    with pytest.raises(InputError, match="several"):
        post.rank_groups()
    with pytest.raises(InputError, match="'school'"):
        post.rank_groups("school")
    with pytest.raises(RefusedVerbError, match="probability"):
        model_of().fit_reml().rank_groups()


# -- coefficients of levels


def henderson(fit):
    """Joint covariance (p + m) of β̂ − β and b̂ − b by the inverse of Henderson's mixed-model equations, in b = Λu."""
    problem, sigma = Problem.of(fit.design), fit.sigma
    Z = plain.dense_Z(problem)
    lams = []
    for cov in fit.solution.covariances:  # a symmetric root, so that singular matrices have one as well
        values, vectors = np.linalg.eigh(cov / sigma**2)
        lams.append(vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)
    L = plain.dense_lambda(problem, lams)
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
    columns = np.hstack([problem.X, Z @ L])
    C = columns.T @ (w[:, None] * columns)
    p = problem.X.shape[1]
    C[p:, p:] += np.eye(len(L))
    back = np.eye(len(C))
    back[p:, p:] = L
    return sigma**2 * back @ np.linalg.inv(C) @ back.T


def signal(n=120, seed=3):
    """Rows with differences between levels, so that few variances are estimated as zero."""
    rng = np.random.default_rng(seed)
    s, a, c, x = np.arange(n) % 8, rng.integers(0, 5, n), rng.integers(0, 3, n), rng.normal(size=n)
    f = rng.choice(["p", "q", "r"], n)
    y = 1 + 0.5 * x + rng.normal(size=8)[s] + 0.8 * rng.normal(size=8)[s] * x + rng.normal(size=5)[a]
    y += 0.8 * rng.normal(size=(8, 3))[s, c] + (f == "q") * rng.normal(size=8)[s] + 0.7 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "s": s, "a": a, "c": c, "f": f, "w": rng.uniform(0.5, 2, n)})


@pytest.mark.parametrize(
    ("right", "weights"),
    [
        ("x + (1 | s)", None),
        ("x + (x | s)", "w"),
        ("x + (x || s)", None),
        ("x + (x | s) + (1 | a)", None),
        ("x + (1 | s/c)", "w"),
        ("x + (x | s/c) + (1 | a)", None),
        ("f + (f | s)", None),
        ("1 + (0 + f | s)", None),
        ("0 + x + (1 | s)", None),
        ("0 + f + (0 + x | s)", None),
        ("0 + (x | s)", None),
        ("1 + (x | s)", None),
    ],
)
@pytest.mark.parametrize("reml", [True, False])
def test_standard_errors_of_coefficients_by_hendersons_equations(right, weights, reml):
    model = blm.Model(f"y ~ {right}", signal(), weights=weights)
    fit = model.fit_reml() if reml else model.fit_ml()
    C, start = henderson(fit), fit.design.p
    table = fit.coef().set_index(["group", "level", "term"])
    checked = 0
    for group, modes in zip(fit.design.groups, fit.solution.modes, strict=True):
        coding = coding_of(fit.design, group)
        for j, level in enumerate(group.levels):
            for t, term in enumerate(coding.names):
                pick, value = np.zeros(len(C)), coding.B[t] @ fit.solution.beta
                pick[: fit.design.p] = coding.B[t]
                if t in coding.places:
                    k = coding.places.index(t)
                    pick[start + j * group.q + k], value = 1.0, value + modes[j, k]
                row = table.loc[(group.name, level, term)]
                assert row["estimate"] == pytest.approx(value, rel=1e-10, abs=1e-12)
                assert row["std_error"] == pytest.approx(np.sqrt(pick @ C @ pick), rel=1e-6), (level, term)
                half = special.stdtrit(row["df"], 0.975) * row["std_error"]
                assert row["conf_high"] - row["estimate"] == pytest.approx(half, rel=1e-6)
                checked += 1
        start += group.n_levels * group.q
    assert checked == len(table)


def test_standard_errors_of_coefficients_of_a_singular_fit():
    for formula, name in (("Yield ~ 1 + (1 | Batch)", "dyestuff2"), ("weight ~ Time + (Time | Chick)", "chickweight")):
        data = blm.load_dataset(name)
        if name == "chickweight":
            data = data[data["Chick"].isin(["1", "2", "3", "5", "7"])]
        fit = blm.lmer(formula, data)
        assert fit.is_singular, name
        C, p = henderson(fit), fit.design.p
        q = fit.design.groups[0].q
        reach = np.hstack([np.tile(np.eye(p), (fit.design.groups[0].n_levels, 1)), np.eye(len(C) - p)])
        assert p == q
        expected_se = np.sqrt(np.diag(reach @ C @ reach.T))
        np.testing.assert_allclose(fit.coef()["std_error"], expected_se, rtol=1e-5)
    # all variances zero: every level has the intercept, with its standard error
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff2"))
    np.testing.assert_allclose(fit.coef()["std_error"], fit.fixef().loc["Intercept", "std_error"])


def test_draws_of_effects_coefficients_and_covariances():
    post = posterior_of(model_of(right="x + f + (x | s) + (0 + w | c)"))
    effects = post.ranef(draws=True)
    assert set(effects) == {"b_s", "b_c"}
    np.testing.assert_array_equal(effects["b_s"], post.draws("b_s"))
    assert list(effects["b_s"]["s"].values) == ["s0", "s1", "s2", "s3"]
    coefs = post.coef(draws=True)
    assert coefs["coef_c"].dims == ("chain", "draw", "c", "c_coef")
    terms = [*post.design.x_names, "w"]
    assert list(coefs["c_coef"].values) == terms
    beta, b = post.draws("beta"), post.draws("b_s")
    for k, name in enumerate(post.design.x_names):
        where = {"Intercept": 0, "x": 1}.get(name)
        added = np.zeros(b.shape[:-1]) if where is None else b[..., where]
        np.testing.assert_allclose(coefs["coef_s"].sel(s_coef=name), beta[..., [k]] + added)
    np.testing.assert_allclose(coefs["coef_c"].sel(c_coef="w"), post.draws("b_c")[..., 0])
    table = post.coef().set_index(["group", "level", "term"])
    for group, dim in (("s", "s_coef"), ("c", "c_coef")):
        means = coefs[f"coef_{group}"].mean(("chain", "draw"))
        for level in means[group].values:
            for term in means[dim].values:
                direct = float(means.sel({group: level, dim: term}))
                assert table.loc[(group, level, term), "mean"] == pytest.approx(direct)
    covs = post.var_corr(draws=True)
    sd = post.draws("sd_s")
    np.testing.assert_allclose(covs["s"].sel(s_term="x", s_term_bis="Intercept"), -0.5 * sd[..., 0] * sd[..., 1])
    np.testing.assert_allclose(covs["c"][..., 0, 0], post.draws("sd_c")[..., 0] ** 2)
    np.testing.assert_allclose(post.var_corr()["s"], covs["s"].mean(("chain", "draw")))
    assert post.coef(wide=True).shape == (7, 5)  # 4 levels of s and 3 of c; Intercept, x, f[q], f[r], w
    assert post.ranef(wide=True).loc[("s", "s1"), "x"] == pytest.approx(b[..., 1, 1].mean())


# -- intervals


@pytest.fixture(scope="module")
def shared():
    return posterior_of(model_of())


ASKS = {
    "fixef": lambda post, **o: post.fixef(**o),
    "ranef": lambda post, **o: post.ranef(**o),
    "coef": lambda post, **o: post.coef(**o),
    "icc": lambda post, **o: post.icc(**o),
    "icc at": lambda post, **o: post.icc(at={"x": [0, 1]}, **o),
    "r2": lambda post, **o: post.r2(**o),
    "bayes_r2": lambda post, **o: post.bayes_r2(**o),
    "within_correlation": lambda post, **o: post.within_correlation({"x": [0, 1]}, **o),
    "variance_components": lambda post, **o: post.variance_components(**o),
    "confint": lambda post, **o: post.confint(**o),
    "predict": lambda post, **o: post.predict(**o),
    "tidy": lambda post, **o: post.tidy(**o),
    "pseudo_r2": lambda post, **o: post.pseudo_r2(post, **o),
}


def draws_for(post, ask):
    """Draws (S, k) that the table of a verb summarises."""
    verb = {"icc at": lambda: post.icc(at={"x": [0, 1]}, draws=True)}.get(ask)
    if ask in ("ranef", "coef"):
        found = getattr(post, ask)(draws=True)
        return found[f"{'b' if ask == 'ranef' else 'coef'}_s"].values.reshape(post.n_chains * post.n_draws, -1)
    if ask == "fixef":
        return flat(post, "beta")
    if ask == "within_correlation":
        found = post.within_correlation({"x": [0, 1]}, draws=True)
    else:
        found = verb() if verb else getattr(post, ask)(draws=True)
    return found.values.reshape(post.n_chains * post.n_draws, -1)


@pytest.mark.parametrize("ask", [a for a in ASKS if a not in ("confint", "tidy", "pseudo_r2")])
def test_highest_density_intervals_are_arvizs(shared, ask):
    table, draws = ASKS[ask](shared, ci_kind="hdi", ci_prob=0.7), draws_for(shared, ask)
    known = np.array([arviz_stats.hdi(draws[:, k], prob=0.7) for k in range(draws.shape[1])])
    np.testing.assert_allclose(table[["conf_low", "conf_high"]], known, rtol=1e-12)
    equal = ASKS[ask](shared, ci_prob=0.7)
    np.testing.assert_allclose(
        equal[["conf_low", "conf_high"]].T, np.quantile(draws, [0.15, 0.85], axis=0), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("ask", ASKS)
def test_intervals_that_are_none_are_refused_by_posteriors(shared, ask):
    for bad in (0, 1, "95", True, np.nan):
        with pytest.raises(InputError, match="ci_prob="):
            ASKS[ask](shared, ci_prob=bad)
    with pytest.raises(InputError, match="'HPD'"):
        ASKS[ask](shared, ci_kind="HPD")


def test_ranks_refuse_intervals_that_are_none(shared):
    for bad in (0, 1, "95", True):
        with pytest.raises(InputError, match="ci_prob="):
            shared.rank_groups(ci_prob=bad)


@pytest.mark.parametrize("bad", [0, 1, "95", True, np.nan])
def test_intervals_that_are_none_are_refused_by_point_fits(bad):
    fit = model_of(right="x + (1 | s)").fit_reml()
    for ask in (
        fit.fixef,
        fit.confint,
        fit.ranef,
        fit.coef,
        fit.tidy,
        fit.icc,
        fit.r2,
        fit.variance_components,
        fit.profile,
        lambda ci_prob: fit.fixef(ddf="satterthwaite", ci_prob=ci_prob),
        lambda ci_prob: fit.within_correlation({"x": [0]}, ci_prob=ci_prob),
    ):
        with pytest.raises(InputError, match="ci_prob="):
            ask(ci_prob=bad)


def test_values_of_a_posterior_are_its_draws():
    post = posterior_of(model_of("negbinomial"))
    values = post.values
    assert isinstance(values, variance.Values) and list(values.family) == ["shape"]
    np.testing.assert_array_equal(values.beta, post.draws("beta"))
