"""Laplace's approximation under covariance structures, relationship matrices, memberships and smooths.

The laws are those of any bar: the gradient is that of differences, the value that of dense matrices, and structures
that say the same have the same likelihood.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import laplace_fit, profile_laplace, quadrature
from bayeslmm.engine.laplace import Approximation
from bayeslmm.engine.profile import Parameter
from bayeslmm.errors import NotAvailableError
from bayeslmm.families.densities import each_row, numbers

LABELS = list("abcdefghijkl")
A = pd.DataFrame(np.eye(12) + 0.3 * np.eye(12, k=1) + 0.3 * np.eye(12, k=-1), LABELS, LABELS)


def table():
    """Counts and successes of 24 levels at four steps each, and three rows a step."""
    rng = fixed_rng(4)
    g, f, _ = (a.reshape(-1) for a in np.meshgrid(range(24), range(4), range(3), indexing="ij"))
    x = rng.normal(size=len(g))
    steps = np.linalg.cholesky(0.7 ** np.abs(np.subtract.outer(range(4), range(4)))) @ rng.normal(size=(4, 24))
    eta = 0.3 * x + np.sin(2.0 * x) + 0.7 * steps[f, g]
    d = pd.DataFrame({"x": x, "g": g, "f": pd.Categorical(f), "t": f / 3.0})
    d["h"], d["k"] = np.array(LABELS)[(g + f) % 12], np.array(LABELS)[(2 * g + f + 1) % 12]
    d["count"], d["success"] = rng.poisson(np.exp(eta)), (rng.random(len(g)) < 1.0 / (1.0 + np.exp(-eta))) * 1
    d["amount"] = np.exp(eta) * rng.gamma(4.0, 0.25, len(g)) + 0.05
    return d


DATA = table()
TERMS = [
    ("count", "poisson", "ar1(0 + f | g)"),
    ("success", "bernoulli", "ar1(0 + f | g, hom=False) + (1 | h)"),
    ("amount", "gamma", "cs(t | g) + (1 | h)"),
    ("count", "negbinomial", "cs(0 + f | g, hom=True)"),
    ("success", "bernoulli", "diag(0 + f | g, hom=True)"),
    ("count", "poisson", "(1 | gr(h, cov=A)) + (1 | g)"),
    ("amount", "gamma", "(1 | mm(h, k)) + (t | g)"),
    ("success", "bernoulli", "s(x, k=6) + cs(t | g)"),
]


def model(response, family, bars):
    matrices = {"A": A} if "cov=A" in bars else None
    return blm.Model(f"{response} ~ x + {bars}".replace("x + s(x", "s(x"), DATA, family=family, matrices=matrices)


def somewhere(about):
    """A point inside, with correlations that are not zero."""
    psi = laplace_fit._start(about, 0.7)
    psi[about.theta_at] = np.where(about.diagonal, psi[about.theta_at], 0.3) * fixed_rng(3).uniform(
        0.8, 1.2, about.n_theta
    )
    return psi


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize(("response", "family", "bars"), TERMS)
def test_gradient_is_that_of_differences(response, family, bars, restricted):
    about = Approximation(model(response, family, bars).design, restricted=restricted)
    psi = somewhere(about)
    _, gradient, about.last = about.at(psi)
    h = 1e-5
    for i in range(about.size):
        step = h * np.eye(about.size)[i]
        difference = (about.at(psi + step)[0] - about.at(psi - step)[0]) / (2 * h)
        # rounding of a sum of some hundreds, 1e-13, over h, and h² of a third derivative
        assert gradient[i] == pytest.approx(difference, rel=1e-6, abs=2e-7 * (1 + np.abs(gradient).max()))


def columns_of(group, cov):
    """What rows multiply independent effects with (n, ·), from the covariances that users see."""
    if group.is_wide:
        Z = group.matrix.toarray() if hasattr(group.matrix, "toarray") else group.matrix
        L = np.eye(group.n_levels) if group.root is None else np.linalg.cholesky(group.root @ group.root.T)
        return np.sqrt(cov[0, 0]) * Z @ L
    root, level = quadrature.root(cov), np.eye(group.n_levels)[group.codes]
    return np.einsum("nj,nq->njq", level, group.Z @ root).reshape(len(level), -1)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
@pytest.mark.parametrize(("response", "family", "bars"), TERMS)
def test_estimates_have_the_value_of_dense_matrices(response, family, bars):
    """log p(y, û) − ½ log|M| by Newton's method on dense matrices and differences of the log density."""
    fit = model(response, family, bars).fit_ml(nAGQ=1)
    design, solution = fit.design, fit.solution
    columns = np.hstack([columns_of(g, cov) for g, cov in zip(design.groups, solution.covariances, strict=True)])
    kind, link = numbers(design.family)
    ones, y = np.ones(design.n), np.ascontiguousarray(design.working_response, dtype=float)
    values = np.array([float(solution.parameters[name]) for name in design.family.parameters])

    def rows(eta):
        out = np.empty(design.n)
        each_row(kind, link, design.family.normaliser_takes_y, y, ones, ones, eta, values, out)
        return out

    def curved(eta, h=1e-4):
        up, mid, down = rows(eta + h), rows(eta), rows(eta - h)
        return (up - down) / (2 * h), (up - 2 * mid + down) / h**2

    fixed, u = design.X @ solution.beta + design.offset, np.zeros(columns.shape[1])
    for _ in range(50):
        first, second = curved(fixed + columns @ u)
        u = u + np.linalg.solve(columns.T @ (-second[:, None] * columns) + np.eye(len(u)), columns.T @ first - u)
    M = columns.T @ (-curved(fixed + columns @ u)[1][:, None] * columns) + np.eye(len(u))
    eta = fixed + columns @ u
    total = rows(eta).sum() + design.density_constants.sum() - 0.5 * u @ u - 0.5 * np.linalg.slogdet(M)[1]
    assert fit.loglik == pytest.approx(total, abs=1e-4)  # second differences carry 1e-8 a row
    # the modes on the user's scale are those effects
    np.testing.assert_allclose(
        sum(g.contribution(b) for g, b in zip(design.groups, solution.modes, strict=True)), columns @ u, atol=1e-4
    )


def test_structures_that_say_the_same_have_one_likelihood():
    """Two effects: cs is us. Levels without relations: gr() is a bar. A matrix times four: half the sd."""
    cs, us = (model("count", "poisson", f"{bar}(t | g)").fit_ml() for bar in ("cs", "us"))
    assert cs.loglik == pytest.approx(us.loglik, abs=1e-6)
    np.testing.assert_allclose(cs.solution.covariances[0], us.solution.covariances[0], rtol=1e-3, atol=1e-4)
    ar1, hom = (model("count", "poisson", bar).fit_ml() for bar in ("ar1(0 + f | g)", "cs(0 + f | g, hom=True)"))
    assert ar1.n_parameters == hom.n_parameters  # an sd and a correlation each
    plain = model("count", "poisson", "(1 | h)").fit_ml()
    unit, four = (
        blm.Model("count ~ x + (1 | gr(h, cov=A))", DATA, family="poisson", matrices={"A": (LABELS, c * np.eye(12))})
        for c in (1.0, 4.0)
    )
    assert unit.fit_ml(nAGQ=1).loglik == pytest.approx(plain.loglik, abs=1e-6)
    sds = [float(np.sqrt(m.fit_ml().solution.covariances[0][0, 0])) for m in (unit, four)]
    assert sds[0] == pytest.approx(2.0 * sds[1], rel=1e-4)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_a_correlation_at_its_end_is_a_boundary():
    """Effects that are the same at all steps: the likelihood is that of one effect a level."""
    data = DATA.assign(count=fixed_rng(8).poisson(np.exp(0.8 * fixed_rng(9).normal(size=24)[DATA.g])))
    structured = blm.Model("count ~ x + cs(0 + f | g, hom=True)", data, family="poisson").fit_ml()
    single = blm.Model("count ~ x + (1 | g)", data, family="poisson").fit_ml(nAGQ=1)
    assert structured.loglik >= single.loglik - 1e-6
    if structured.solution.scaled_theta[1] == 1.0:
        assert structured.is_singular and structured.loglik == pytest.approx(single.loglik, abs=1e-5)
    assert np.isfinite(structured.fixef().to_numpy(float)[:, :2]).all()


@pytest.mark.parametrize(
    ("bars", "parameter"), [("ar1(0 + f | g)", "cor"), ("ar1(0 + f | g)", "sd"), ("s(x, k=6)", "sd")]
)
def test_profiles_hold_sds_and_correlations_of_structures(bars, parameter):
    """With the parameter held away from its estimate the rest is at its best: a search from elsewhere ends there."""
    fit = model("count", "poisson", bars).fit_ml(nAGQ=1)
    held = profile_laplace._Held(
        Approximation(fit.design),
        fit.solution,
        Parameter(kind=parameter, factor=0, a=0, b=1 if parameter == "cor" else -1),
    )
    value = held.estimate + (0.15 if parameter == "cor" else 0.4 * held.estimate)
    here = held.deviance(value, held.start)[0]
    assert here > fit.deviance + 0.01
    assert held.deviance(held.estimate, held.start)[0] == pytest.approx(fit.deviance, abs=1e-5)
    again = held.deviance(value, held.start + 0.2)[0]
    assert again == pytest.approx(here, abs=1e-4)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_verbs_of_smooths_and_related_levels():
    smooth = model("success", "bernoulli", "s(x, k=6) + (1 | g)").fit_ml()
    curve = smooth.smooth("s(x)", random_seed=1)
    assert np.isfinite(curve.select_dtypes("number").to_numpy()).all()
    assert 1.0 < float(smooth.smooths()["edf"].iloc[0]) < 5.0
    related = model("count", "poisson", "(1 | gr(h, cov=A)) + (1 | g)").fit_ml()
    table = related.predict(interval="plug-in", kind="response")
    assert (table["conf_low"] <= table["estimate"]).all() and (table["std_error"] > 0.0).all()
    assert np.isfinite(related.bootstrap(2, random_seed=1, cores=1, progressbar=False).to_numpy()).all()


def test_correlated_effects_of_related_levels_and_too_many_of_them_are_refused(monkeypatch):
    with pytest.raises(NotAvailableError, match=r"one effect a level.*\|\|.*posterior"):
        model("count", "poisson", "(x | gr(h, cov=A))").fit_ml()
    monkeypatch.setattr("bayeslmm.engine.laplace.MOST_PRODUCTS", 1000)
    with pytest.raises(NotAvailableError, match="too many.*posterior"):
        model("count", "poisson", "(1 | mm(h, k))").fit_ml()


def several_optima():
    """Counts of 12 levels at three steps, whose likelihood under ``ar1`` has optima with and without the last sd."""
    rng = fixed_rng(3)
    n, i = 144, np.arange(144)
    g, f = i % 12, i // 12 % 3
    effects, slopes = rng.normal(size=12), rng.normal(size=(12, 3))
    x, t = rng.normal(size=n), rng.uniform(0, 4, n)
    eta = 0.5 + 0.4 * x + 0.6 * effects[g] + 0.6 * slopes[g, f] + np.sin(2 * t) * (1 + 0.5 * f)
    rng.normal(size=n)
    return pd.DataFrame({"n": rng.poisson(np.exp(0.3 * eta)), "x": x, "f": np.array(["a", "b", "c"])[f], "g": g})


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
def test_the_lower_of_two_optima_is_found_and_profiled():
    """From the middle the search ended 0.109 above, where all sds are positive and the correlation is 0.37."""
    model = blm.Model("n ~ x + ar1(0 + f | g, hom=False)", several_optima(), family="poisson")
    fit = model.fit_ml()
    assert fit.loglik == pytest.approx(-415.87269 / 2.0, abs=1e-4)
    assert np.sqrt(np.diag(fit.solution.covariances[0])) == pytest.approx([0.5896, 0.4429, 0.0], abs=1e-3)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_a_profile_that_meets_a_smaller_deviance_says_so(monkeypatch):
    """A crossing is looked for on the lower branch; the search of one on the higher branch broke down."""
    monkeypatch.setattr(laplace_fit, "_cornered", lambda about, best: iter(()))
    fit = blm.Model("n ~ x + ar1(0 + f | g, hom=False)", several_optima(), family="poisson").fit_ml()
    assert fit.loglik == pytest.approx(-207.99104, abs=1e-4)
    with pytest.warns(blm.errors.ConvergenceWarning, match="deviance 0.1.* below that of the estimates"):
        table = fit.confint("profile", ci_prob=0.8, progressbar=False)
    correlation = table[table["term"] == "cor__rho"].iloc[0]
    assert correlation["conf_low"] < -0.4
    assert correlation["conf_high"] == pytest.approx(1.0, abs=1e-3)
