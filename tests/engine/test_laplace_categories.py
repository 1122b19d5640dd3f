"""Point fits of categories without an order: gradient, dense oracles, two categories, many nodes, what is separated."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import agq, laplace_fit
from bayeslmm.engine.laplace_categories import approximation
from bayeslmm.errors import BayesLMMWarning, NotAvailableError, UnidentifiedTermError

J, LEVELS = 8, ("a", "b", "c")


@pytest.fixture(scope="module")
def data():
    """Three categories that hang on a number far from zero and on two crossed factors."""
    rng = fixed_rng(5)
    n = 20 * J
    d = pd.DataFrame({"x": 2.0 * rng.normal(size=n) + 3.0, "g": np.arange(n) % J, "h": np.arange(n) // 40})
    b = 0.9 * rng.normal(size=(J, 2))
    eta = np.column_stack([np.zeros(n), 0.4 * d.x - 1.2 + b[d.g, 0], 0.8 - 0.3 * d.x + b[d.g, 1]])
    d["y"] = np.array(LEVELS)[np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)]
    return d


def made(data, formula="y ~ x + (1 | g)", **options):
    return blm.Model(formula, data, family="categorical", **options)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("formula", ["y ~ x", "y ~ x + (1 | g)", "y ~ x + (x | g) + (1 | h)", "y ~ 0 + x + (x || g)"])
def test_gradient_is_that_of_differences(data, formula, restricted):
    about = approximation(made(data, formula).design, restricted=restricted)
    psi, h = laplace_fit._start(about, 0.7), 1e-5
    psi = psi + 0.1 * fixed_rng(3).normal(size=about.size)
    _, gradient, about.last = about.at(psi)
    for i, step in enumerate(h * np.eye(about.size)):
        difference = (about.at(psi + step)[0] - about.at(psi - step)[0]) / (2 * h)
        # rounding of a sum of some hundreds, 1e-13, over h, and h² of a third derivative
        assert gradient[i] == pytest.approx(difference, rel=1e-6, abs=2e-7 * (1 + np.abs(gradient).max()))


def log_p(eta, y):
    return np.take_along_axis(eta - special.logsumexp(eta, axis=-1, keepdims=True), y[..., None], axis=-1)[..., 0]


def test_without_effects_it_is_the_multinomial_logit(data):
    X, y = np.column_stack([np.ones(len(data)), data.x]), data.y.map(LEVELS.index).to_numpy()

    def deviance(beta):
        return -log_p(np.column_stack([np.zeros(len(y)), X @ beta.reshape(2, 2).T]), y).sum()

    best = optimize.minimize(deviance, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    fit = made(data, "y ~ x").fit_ml()
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-8)
    np.testing.assert_allclose(fit.fixef()["estimate"], best.x, atol=1e-5)
    p = special.softmax(np.column_stack([np.zeros(len(y)), X @ best.x.reshape(2, 2).T]), axis=1)[:, 1:]
    information = sum(np.kron(np.diag(q) - np.outer(q, q), np.outer(x, x)) for q, x in zip(p, X, strict=True))
    se = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(fit.fixef()["std_error"], se, rtol=1e-4)


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g) + (1 | h)"])
@pytest.mark.parametrize("reml", [False, True])
def test_two_categories_are_bernoulli(data, formula, reml):
    """One node of both; of REML β̂ is integrated out as well."""
    two = data[data.y != "c"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesLMMWarning)  # a variance may be zero in both
        ours, theirs = (
            model.fit_reml() if reml else model.fit_ml(nAGQ=1)
            for model in (made(two, formula), blm.Model(formula, two, family="bernoulli"))
        )
    assert ours.loglik == pytest.approx(theirs.loglik, abs=1e-6)
    se = theirs.fixef()["std_error"].to_numpy()
    np.testing.assert_allclose(ours.fixef()["estimate"], theirs.fixef()["estimate"], atol=1e-3 * se.max())
    np.testing.assert_allclose(ours.fixef()["std_error"], se, rtol=2e-3)
    for one, other in zip(ours.var_corr().values(), theirs.var_corr().values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(ours.ranef()["estimate"], theirs.ranef()["estimate"], atol=2e-3)
    np.testing.assert_allclose(ours.coef()["std_error"], theirs.coef()["std_error"], rtol=5e-3)


def dense(d, beta, sds):
    """log L by Laplace's approximation with dense matrices, and by 20 × 20 nodes a level around the modes."""
    y, X = d.y.map(LEVELS.index).to_numpy(), np.column_stack([np.ones(len(d)), d.x])
    fixed = np.column_stack([np.zeros(len(d)), X @ beta.T])
    x, w = np.polynomial.hermite_e.hermegauss(20)
    nodes = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    weights = np.log(np.outer(w, w).reshape(-1)) - np.log(w.sum()) * 2
    laplace = exact = 0.0
    for j in range(J):
        rows = (d.g == j).to_numpy()

        def joint(u, rows=rows):
            eta = fixed[rows] + np.pad(sds * u, [(0, 0)] * (u.ndim - 1) + [(1, 0)])[..., None, :]
            return log_p(eta, np.broadcast_to(y[rows], eta.shape[:-1])).sum(axis=-1) - 0.5 * (u**2).sum(axis=-1)

        u = optimize.minimize(lambda u: -joint(u), np.zeros(2), method="BFGS", options={"gtol": 1e-8}).x  # noqa: B023
        p = special.softmax(fixed[rows] + np.concatenate([[0.0], sds * u]), axis=1)[:, 1:]
        M = np.eye(2) + sum(np.outer(sds, sds) * (np.diag(q) - np.outer(q, q)) for q in p)
        laplace += joint(u) - 0.5 * np.linalg.slogdet(M)[1]
        root = np.linalg.inv(np.linalg.cholesky(M)).T
        points = u + nodes @ root.T
        logs = joint(points) + 0.5 * (nodes**2).sum(axis=1) + weights
        exact += special.logsumexp(logs) + np.linalg.slogdet(root)[1]
    return laplace, exact


def test_value_is_that_of_dense_matrices_and_near_the_integral(data):
    beta, sds = np.array([[-1.0, 0.4], [0.8, -0.3]]), np.array([0.7, 1.1])
    about = approximation(made(data).design)
    psi = np.concatenate([np.linalg.solve(about.T_x, beta.reshape(-1)), sds / np.diag(about.T_z[0])])
    value = -about.at(psi)[0]
    laplace, exact = dense(data, beta, sds)
    assert value == pytest.approx(laplace, abs=1e-6)
    assert value == pytest.approx(exact, abs=0.5)  # eight levels of twenty rows


def test_modes_move_with_coefficients_as_their_slopes_say(data):
    from bayeslmm.engine.around_categories import mode_slopes

    model = made(data, "y ~ x + (x | g)")
    solution = laplace_fit.fit(model.design)
    about, psi = approximation(model.design), None
    psi = laplace_fit.coordinates(about, solution)
    slopes, h = mode_slopes(model.design, solution), 1e-5
    for i in range(about.p):
        step = np.zeros(len(psi))
        step[: about.p] = np.linalg.solve(about.T_x, h * np.eye(about.p)[i])
        sides = []
        for sign in (1.0, -1.0):
            inner = about.at(psi + sign * step)[2]
            lams = about.lams(about.split(psi)[1])
            sides.append([u @ to_user.T for _, to_user, u, _ in about.terms(inner, lams)])
        for slope, up, down in zip(slopes, *sides, strict=True):
            np.testing.assert_allclose(slope[:, :, i], (up - down) / (2 * h), atol=1e-5)


def test_rows_that_count_twice_are_repeated_ones(data):
    once = made(pd.concat([data, data])).fit_ml()
    twice = made(data.assign(w=2), "y | weights(w) ~ x + (1 | g)").fit_ml()
    assert twice.loglik == pytest.approx(once.loglik, abs=1e-6)
    assert made(data.assign(x=1e9 * data.x)).fit_ml().loglik == pytest.approx(made(data).fit_ml().loglik, abs=1e-6)


def test_the_order_of_categories_but_the_first_changes_nothing(data):
    turned = made(data.assign(y=pd.Categorical(data.y, categories=["a", "c", "b"]))).fit_ml()
    straight = made(data).fit_ml()
    assert turned.loglik == pytest.approx(straight.loglik, abs=1e-6)
    first = straight.fixef().loc[["mu_c_Intercept", "mu_c_x", "mu_b_Intercept", "mu_b_x"]]
    pd.testing.assert_frame_equal(turned.fixef(), first, rtol=2e-3, atol=2e-3)


def test_tables_of_a_point_fit_agree(data, tmp_path):
    model = made(data)
    fit = model.fit_ml()
    terms = ["mu_b_Intercept", "mu_b_x", "mu_c_Intercept", "mu_c_x"]
    table = fit.tidy()
    assert list(table.loc[table.effect == "fixed", "term"]) == terms == list(fit.vcov())
    assert list(table.loc[table.effect == "ran_pars", "group"]) == ["mu_b_g", "mu_c_g"]
    np.testing.assert_allclose(fit.fixef()["std_error"] ** 2, np.diag(fit.vcov()))
    assert fit.n_parameters == 6 and len(fit.ranef()) == 2 * J
    wald = fit.confint().set_index("term")
    np.testing.assert_allclose(wald.loc[terms, "conf_low"], fit.fixef()["conf_low"])
    X, y = np.column_stack([np.ones(len(data)), data.x]), data.y.map(LEVELS.index).to_numpy()
    effects = fit.ranef().set_index(["group", "level"])["estimate"]
    eta = [X @ fit.fixef()["estimate"][k : k + 2] for k in (0, 2)]
    eta = [e + effects[name].loc[data.g].to_numpy() for e, name in zip(eta, ("mu_b_g", "mu_c_g"), strict=True)]
    p = special.softmax(np.column_stack([np.zeros(len(y)), *eta]), axis=1)
    np.testing.assert_allclose(fit.predict(), p, rtol=1e-9)
    np.testing.assert_allclose(fit.fitted(), p, rtol=1e-9)
    drawn = fit.predict(data, groups="new", draws=4000, random_seed=1).to_numpy().mean(axis=0)
    np.testing.assert_allclose(fit.predict(data, groups="population"), drawn, atol=0.02)  # 4000 draws
    np.testing.assert_allclose(fit.simulate(200, random_seed=1).eq("b").to_numpy().mean(), p[:, 1].mean(), atol=0.02)
    link = fit.predict(data.head(2), parameter="mu_c", groups="average", interval="plug-in")
    np.testing.assert_allclose(link["estimate"], X[:2] @ fit.fixef()["estimate"][2:])
    test = fit.test("mu_b_x = mu_c_x")
    assert test["df"].item() == 1 and test["p_value"].item() < 0.05
    assert blm.anova(made(data, "y ~ 1 + (1 | g)").fit_ml(), fit).table["df"].iloc[1] == 2
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(again.fitted(), fit.fitted(), rtol=1e-9)
    assert str(again.summary()) == str(fit.summary()) and "Log odds are against a" in str(fit)
    ppc = blm.ppc(fit, random_seed=1).table.set_index("stat")
    np.testing.assert_allclose(ppc["observed"], [(data.y == level).mean() for level in LEVELS])
    components = fit.variance_components().set_index(["group", "quantity"])["estimate"]
    assert components[("mu_c_g", "variance")] == pytest.approx(fit.var_corr()["mu_c_g"].iloc[0, 0])


def test_bootstraps_and_refits_find_the_estimates_again(data):
    fit = made(data).fit_ml()
    table = fit.bootstrap(draws=6, random_seed=1, cores=1, progressbar=False)
    spread = table.std() / np.sqrt(len(table))
    middle = fit.fixef()["estimate"].to_numpy()
    assert np.all(np.abs(table.mean()[2:] - middle) < 5.0 * spread[2:] + 0.3)  # six data sets, small-sample bias
    assert fit.refit(data.y).loglik == pytest.approx(fit.loglik, abs=1e-7)


def test_the_estimates_are_a_maximum(data):
    fit = made(data).fit_ml()
    solution, about = fit.solution, approximation(fit.design)
    psi = laplace_fit.coordinates(about, solution)
    value = about.at(psi)[0]
    se = np.sqrt(np.diag(solution.vcov))
    for i in range(about.p):
        for sign in (1.0, -1.0):
            step = np.zeros(len(psi))
            step[: about.p] = np.linalg.solve(about.T_x, sign * 0.5 * se[i] * np.eye(about.p)[i])
            assert about.at(psi + step)[0] > value


def test_what_has_no_estimate_is_said(data):
    only_c = data.assign(k=(data.y == "c") * 1.0)
    with pytest.warns(BayesLMMWarning, match="separation of mu_c_k"):
        made(only_c, "y ~ k + (1 | g)").fit_ml()
    declared = data.assign(y=pd.Categorical(data.y, categories=[*LEVELS, "d"]))
    with pytest.raises(NotAvailableError, match="log odds of d"):
        made(declared).fit_ml()
    with pytest.warns(BayesLMMWarning, match="every level of g has one response"):
        made(data.assign(y=np.array(LEVELS)[data.g % 3]), "y ~ 1 + (1 | g)").fit_ml()
    with pytest.raises(UnidentifiedTermError, match="row"):
        made(data.assign(row=range(len(data))), "y ~ x + (1 | row)").fit_ml()
    with pytest.raises(NotAvailableError, match=r"s\(x\)"):
        made(data, "y ~ s(x) + (1 | g)").fit_ml()
    with pytest.raises(NotAvailableError, match="every category but the first"):
        agq.refuse(made(data).design, 9)
