"""Shares whose ends have probabilities of their own: laws of the family, predictors of these, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import laplace_fit
from bayeslmm.engine.laplace import Approximation
from bayeslmm.errors import DataError, NotAvailableError
from bayeslmm.families import BY_NUTS, family_of
from bayeslmm.results.log_density import log_likelihood, log_prior

NAME, J = "zero_one_inflated_beta", 8
LINKS = BY_NUTS[NAME].links
PARAMETERS = {"phi": np.array(4.0), "zoi": np.array(0.3), "coi": np.array(0.6)}


@pytest.fixture(scope="module")
def data():
    """Shares that hang on a number and on groups, 30 % of them at an end."""
    rng = fixed_rng(6)
    n = 20 * J
    d = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % J})
    mean = 1.0 / (1.0 + np.exp(-0.3 - 0.5 * d.x - 0.6 * rng.normal(size=J)[d.g]))
    share = rng.beta(5.0 * mean, 5.0 * (1.0 - mean))
    d["y"] = np.where(rng.random(n) < 0.3, 1.0 * (rng.random(n) < 0.6), share)
    return d


def from_priors(m, draws=6):
    """A posterior fit whose draws are those of the priors, for what is told of any draws."""
    prior = m.prior_predictive(draws, random_seed=3)
    with pytest.warns(blm.errors.SamplingWarning):
        return m.read_draws(type(prior).from_dict({"posterior": prior["prior"].to_dataset()}))


@pytest.fixture(scope="module")
def model(data):
    return blm.Model("y ~ x + (1 | g)", data, family=NAME, zoi="~ x + (1 | g)")


@pytest.fixture(scope="module")
def post(model):
    return from_priors(model)


def mass(family, of, eta):
    """E of(y): the ends by their probabilities, what lies between by the density."""

    def density(y):
        return float(np.exp(family.log_density(np.array([y]), np.array([eta]), PARAMETERS)[0]))

    inside = sum(integrate.quad(lambda y: of(y) * density(y), *ends, limit=200)[0] for ends in ((0, 0.5), (0.5, 1)))
    return inside + of(0.0) * density(0.0) + of(1.0) * density(1.0)


@pytest.mark.parametrize("link", LINKS)
def test_density_moments_and_distribution_function_are_of_one_distribution(link):
    family = family_of(NAME, link)
    for eta in (-0.4, 0.7):
        mean = family.expected(np.array([eta]), PARAMETERS)[0]
        variance = family.variance(np.array([mean]), PARAMETERS)[0]
        assert mass(family, lambda y: 1.0, eta) == pytest.approx(1.0, abs=1e-7)  # quad stops at 1.5e-8
        assert mass(family, lambda y: y, eta) == pytest.approx(mean, rel=1e-6)
        assert mass(family, lambda y, mean=mean: (y - mean) ** 2, eta) == pytest.approx(variance, rel=1e-6)
        below, up_to = family.cdf(np.array([0.0, 0.4, 1.0]), np.full(3, eta), PARAMETERS)
        assert below[0] == 0.0 and up_to[0] == pytest.approx(0.3 * 0.4) and up_to[2] == pytest.approx(1.0)
        assert up_to[2] - below[2] == pytest.approx(0.3 * 0.6)
        to_here = mass(family, lambda y: float(y <= 0.4), eta) if link == "logit" else below[1]
        assert below[1] == up_to[1] == pytest.approx(to_here, abs=1e-4)  # of a function with a step


@pytest.mark.parametrize("link", LINKS)
def test_draws_follow_the_distribution_function(link):
    family, rng = family_of(NAME, link), np.random.default_rng(1)
    eta = np.resize([-0.5, 0.2, 0.8], 4000)
    y = family.draw(eta, PARAMETERS, None, rng)
    assert 0.0 in y and 1.0 in y and not family.impossible(y).any()
    assert stats.kstest(family.normal_scores(y, eta, PARAMETERS, None, rng), "norm").pvalue > 1e-6
    assert stats.kstest(family.normal_scores(y, eta + 0.7, PARAMETERS, None, rng), "norm").pvalue < 1e-6


def test_without_ends_it_is_beta(data):
    """Rows between: the density of a beta model, less what is given to the ends."""
    d = data[(data.y > 0.0) & (data.y < 1.0)]
    ours, theirs = (blm.Model("y ~ x + (1 | g)", d, family=family) for family in (NAME, "beta"))
    drawn = ours.prior_predictive(5, random_seed=1)["prior"].to_dataset()
    zoi = drawn["zoi"].to_numpy()[..., None]
    a, b = (log_likelihood(m.design, drawn)["y"].to_numpy() for m in (ours, theirs))
    np.testing.assert_allclose(a - np.log1p(-zoi), b, rtol=1e-9, atol=1e-9)


def test_ends_are_two_bernoulli_responses(data, model, post):
    """Given the parameters the likelihoods of whether, of which, and of the shares between multiply."""
    posterior = post.idata.posterior.to_dataset()
    ours = log_likelihood(model.design, posterior)["y"].to_numpy()[0]
    end = ((data.y == 0.0) | (data.y == 1.0)).to_numpy()
    zoi = post.predict(parameter="zoi", draws=True).to_numpy()[0]
    coi = posterior["coi"].to_numpy()[0][:, None]
    which = np.where(data.y == 1.0, np.log(coi), np.log1p(-coi))
    np.testing.assert_allclose(ours[:, end], (np.log(zoi) + which)[:, end], rtol=1e-9)


def test_the_pymc_model_has_the_same_density(model, post):
    from pymc import stats as of_pymc

    tree, posterior = post.idata, post.idata.posterior.to_dataset()
    quick = {"extend_inferencedata": False, "progressbar": False}
    graph = of_pymc.compute_log_likelihood(tree, model=model.pymc, **quick)
    of_priors = of_pymc.compute_log_prior(tree, model=model.pymc, **quick)
    ours = log_likelihood(model.design, posterior)["y"].to_numpy()
    np.testing.assert_allclose(graph["y"].to_numpy(), ours, rtol=1e-8, atol=1e-8)
    mine = log_prior(model.design, model.priors, posterior)
    for variable in mine:
        assert float(of_priors[variable].sum()) == pytest.approx(float(mine[variable].sum()), rel=1e-8)


def test_verbs_are_of_the_whole_response(data, post):
    mean, zoi = post.fitted(), post.predict(parameter="zoi", draws=True).to_numpy()[0]
    coi, eta = (post.draws("coi")[0][:, None], post.draws("beta")[0] @ [np.ones(len(data)), data.x])
    share = 1.0 / (1.0 + np.exp(-eta - post.draws("b_g")[0][:, data.g, 0]))
    np.testing.assert_allclose(mean, (zoi * coi + (1.0 - zoi) * share).mean(axis=0), rtol=1e-9)
    stat = blm.ppc(post, random_seed=1).table.set_index("stat")["observed"]
    assert stat["share_of_zeros"] == (data.y == 0).mean() and stat["share_of_ones"] == (data.y == 1).mean()
    assert post.comparisons("x", parameter="zoi").shape[0] == 1
    assert set(post.var_corr()) == {"g", "zoi_g"}
    simulated = post.simulate(3, random_seed=1).to_numpy()
    assert simulated.min() >= 0.0 and simulated.max() <= 1.0
    check = blm.check(post, progressbar=False)
    assert "probabilities of its ends" in check["influence"].words


def test_a_saved_fit_is_the_same(post, tmp_path):
    blm.save(post, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.predict(draws=True), post.predict(draws=True))


def test_responses_are_shares_with_some_between(data):
    with pytest.raises(DataError, match="numbers from 0 to 1"):
        blm.Model("y ~ x", data.assign(y=2.0 * data.y), family=NAME)
    with pytest.raises(DataError, match="at an end"):
        blm.Model("y ~ x", data.assign(y=(data.y > 0.5).astype(float)), family=NAME)
    assert "fixed by you" in str(blm.Model("y ~ x", data, family=NAME, priors={"coi": 0.5}).priors)


@pytest.mark.parametrize(
    "verb", [lambda m, post: post.loo(), lambda m, post: post.loo(unit="g"), lambda m, post: blm.kfold(post, unit="g")]
)
def test_what_needs_compiled_loops_says_why(model, post, verb):
    with pytest.raises(NotAvailableError, match="drawn by NUTS"):
        verb(model, post)


# -- the point fit


def parts_of(d, zoi="1", coi="1"):
    """The three models that the likelihood is the product of: shares between, whether at an end, and at which."""
    end = (d.y == 0.0) | (d.y == 1.0)
    rows = d.assign(end=end * 1.0, one=(d.y == 1.0) * 1.0)
    return (
        blm.Model("y ~ x + (1 | g)", d[~end], family="beta"),
        blm.Model(f"end ~ {zoi}", rows, family="bernoulli"),
        blm.Model(f"one ~ {coi}", rows[end], family="bernoulli"),
    )


@pytest.mark.parametrize("nodes", [1, 9])
def test_its_likelihood_is_that_of_three_models(data, nodes):
    """Of shares between the ends, of whether there is an end, of which: also by quadrature."""
    between, end, one = parts_of(data)
    fit = blm.Model("y ~ x + (1 | g)", data, family=NAME).fit_ml(nAGQ=nodes)
    beta = between.fit_ml(nAGQ=nodes)
    whole = beta.loglik + end.fit_ml().loglik + one.fit_ml().loglik
    assert fit.loglik == pytest.approx(whole, abs=1e-6)  # searches stop where a step promises 1e-10
    pd.testing.assert_frame_equal(fit.fixef(), beta.fixef(), rtol=1e-4, atol=1e-5)
    shares = fit.confint().set_index("term").loc[["zoi", "coi"], "estimate"]
    ends = (data.y == 0.0) | (data.y == 1.0)
    np.testing.assert_allclose(shares, [ends.mean(), (data.y[ends] == 1.0).mean()], rtol=1e-5)
    assert len(fit.ranef()) == J and fit.solution.nodes == nodes


def test_predictors_of_the_ends_are_logistic_regressions(data):
    between, end, one = parts_of(data, "x", "x")
    fit = blm.Model("y ~ x + (1 | g)", data, family=NAME, zoi="~ x", coi="~ x").fit_ml()
    of_end, of_one = end.fit_ml(), one.fit_ml()
    assert fit.loglik == pytest.approx(between.fit_ml().loglik + of_end.loglik + of_one.loglik, abs=1e-6)
    table = fit.confint().set_index("term")
    for parameter, part in (("zoi", of_end), ("coi", of_one)):
        rows = table.loc[[f"{parameter}_Intercept", f"{parameter}_x"]]
        for column in ("estimate", "conf_low", "conf_high"):  # standard errors by differences
            np.testing.assert_allclose(rows[column], part.confint()[column], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("asked", [{}, {"zoi": "~ x", "coi": "~ x"}, {"phi": "~ x"}])
@pytest.mark.parametrize("restricted", [False, True])
def test_gradient_is_that_of_differences(data, asked, restricted):
    about = Approximation(blm.Model("y ~ x + (1 | g)", data, family=NAME, **asked).design, restricted=restricted)
    psi, h = laplace_fit._start(about, 0.7), 1e-5
    _, gradient, about.last = about.at(psi)
    for i, step in enumerate(h * np.eye(about.size)):
        difference = (about.at(psi + step)[0] - about.at(psi - step)[0]) / (2 * h)
        # rounding of a sum of some hundreds, 1e-13, over h, and h² of a third derivative
        assert gradient[i] == pytest.approx(difference, rel=1e-6, abs=2e-7 * (1 + np.abs(gradient).max()))


def test_verbs_of_a_point_fit(data, tmp_path):
    model = blm.Model("y ~ x + (1 | g)", data, family=NAME)
    fit, wider = model.fit_ml(), blm.Model("y ~ x + (1 | g)", data, family=NAME, zoi="~ x").fit_ml()
    ends = (data.y == 0.0) | (data.y == 1.0)
    mean, zoi, coi = fit.predict(data), ends.mean(), (data.y[ends] == 1.0).mean()
    eta = fit.predict(data, kind="link")
    np.testing.assert_allclose(mean, zoi * coi + (1 - zoi) / (1 + np.exp(-eta)), rtol=1e-4)
    np.testing.assert_array_equal(fit.residuals("deviance")[ends.to_numpy()], 0.0)  # they say nothing of η
    assert blm.anova(fit, wider).table["df"].iloc[1] == 1
    assert set(np.unique(fit.simulate(50, random_seed=1).to_numpy())) >= {0.0, 1.0}
    profile, wald = (
        fit.confint(method, progressbar=False).set_index("term").loc["zoi", ["conf_low", "conf_high"]].astype(float)
        for method in ("profile", "wald")
    )
    np.testing.assert_allclose(profile, wald, atol=0.02)  # of log odds, nearly normal
    blm.save(wider, tmp_path / "fit.nc")
    np.testing.assert_allclose(blm.load(tmp_path / "fit.nc").fitted(), wider.fitted(), rtol=1e-9)
    complete = blm.complete_pooling(model)
    assert complete["x"] == pytest.approx(blm.complete_pooling(parts_of(data)[0])["x"], rel=1e-4)
    none = blm.no_pooling(parts_of(data)[0])
    np.testing.assert_allclose(blm.no_pooling(model), none, rtol=1e-3, atol=1e-3)
    with pytest.raises(NotAvailableError, match="ends with a probability of their own"):
        fit.icc()


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_ends_of_one_kind_are_a_limit(data, kept):
    d = data.assign(y=data.y.where(data.y != 1.0 - kept, kept))
    with pytest.warns(blm.errors.BayesLMMWarning, match=f"coi goes to {'one' if kept else 'zero'}"):
        fit = blm.Model("y ~ x + (1 | g)", d, family=NAME).fit_ml()
    between, end, _ = parts_of(d)
    assert fit.loglik == pytest.approx(between.fit_ml().loglik + end.fit_ml().loglik, abs=1e-3)
    assert np.isfinite(fit.fixef()["std_error"]).all()


def test_what_the_ends_do_not_tell_is_said(data):
    ends = (data.y == 0.0) | (data.y == 1.0)
    with pytest.raises(NotAvailableError, match="family='beta'"):
        blm.Model("y ~ x + (1 | g)", data[~ends], family=NAME).fit_ml()
    with pytest.raises(NotAvailableError, match="effects, or an offset, of zoi"):
        blm.Model("y ~ x + (1 | g)", data, family=NAME, zoi="~ x + (1 | g)").fit_ml()
    for parameter, side in (("zoi", ends), ("coi", data.y == 1.0)):
        d = data.assign(k=np.where(side, 1.0, np.where(ends | (parameter == "zoi"), 0.0, data.x)))
        with pytest.warns(blm.errors.BayesLMMWarning, match=f"separation of {parameter}_k"):
            fit = blm.Model("y ~ x + (1 | g)", d, family=NAME, **{parameter: "~ k"}).fit_ml()
        assert np.isfinite(fit.fixef()["std_error"]).all()
    level = data.assign(y=data.y.where(data.g != 3, 1.0))  # nothing between: its effect is the prior's
    effects = blm.Model("y ~ x + (1 | g)", level, family=NAME).fit_ml().ranef().set_index("level")["estimate"]
    assert effects[3] == pytest.approx(0.0, abs=1e-9) and effects.drop(3).abs().min() > 0.0
    assert blm.no_pooling(blm.Model("y ~ x + (1 | g)", level, family=NAME)).loc[3].isna().all()


def test_rows_that_count_twice_are_repeated_ones(data):
    once, twice = (
        blm.Model(left, d, family=NAME).fit_ml(nAGQ=1)
        for left, d in (
            ("y ~ x + (1 | g)", pd.concat([data, data])),
            ("y | weights(w) ~ x + (1 | g)", data.assign(w=2)),
        )
    )
    assert twice.loglik == pytest.approx(once.loglik, abs=1e-6)
