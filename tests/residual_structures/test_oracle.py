"""The criterion, its optimum and Satterthwaite's df against dense matrices, over random designs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine.residual_search import Criteria
from bayeslmm.engine.scaling import Problem, scale
from tests.residual_structures import dense
from tests.strategies import examples

STRUCTURES = [
    {"sigma": "~ f"},
    {"sigma": "~ x"},
    {"sigma": "~ f + x", "weights": "w"},
    {"residual": "ar1(t | s)"},
    {"residual": "car1(u | s)", "sigma": "~ f"},
    {"residual": "cs(1 | s)", "weights": "w"},
    {"residual": "us(v | s)"},
    {"residual": "us(v | s, hom=True)", "sigma": "~ f"},
    {"residual": "us(arm:v | s)"},
]


def table(seed, subjects=14, visits=4, missing=0.2):
    """Subjects in sites, visits of which some are missing, in a random order of rows."""
    rng = fixed_rng(seed)  # of which every covariance has full rank
    s, v = np.divmod(np.arange(subjects * visits), visits)
    n = len(s)
    data = pd.DataFrame(
        {
            "s": s,
            "site": s // 4,
            "arm": np.where(s % 2 == 1, "drug", "control"),
            "v": [f"v{k}" for k in v],
            "t": v + (s % 2) * (v > 1),  # a step left out in half of the subjects
            "u": v + rng.uniform(0.0, 0.8, n),
            "x": rng.normal(size=n),
            "f": np.where(rng.random(n) < 0.4, "b", "a"),
            "w": rng.uniform(0.5, 2.0, n),
        }
    )
    effect = rng.normal(size=subjects)[s] + 0.5 * rng.normal(size=subjects)[s // 4]
    noise = rng.normal(size=n) * np.where(data["f"] == "b", 2.0, 1.0)
    data["y"] = 1.0 + 0.5 * data["x"] + effect + noise
    return data[rng.random(n) > missing].sample(frac=1.0, random_state=int(seed % 2**31)).reset_index(drop=True)


@pytest.mark.parametrize("bars", ["", " + (1 | site)", " + (x | site)"])
@pytest.mark.parametrize("options", STRUCTURES, ids=str)
@given(seed=st.integers(0, 2**32 - 1), reml=st.booleans())
@examples(2)
def test_criterion_is_that_of_the_dense_covariance(bars, options, seed, reml):
    rng = np.random.default_rng(seed)
    design = blm.Model(f"y ~ x + f{bars}", table(seed), **options).design
    problem = Problem.of(design)
    criteria = Criteria(problem, reml=reml)
    residual = problem.residual
    values = residual.natural(residual.starts()[-1] + 0.5 * rng.normal(size=residual.n_values))
    criterion = criteria.at(values)
    theta = criterion.diagonal * 1.0 + 0.3 * rng.normal(size=len(criterion.diagonal))
    T_z, T_x = criteria.rows.T_z, criteria.rows.T_x
    value = criteria.value(values, theta)
    if reml:
        value -= 2.0 * np.log(np.abs(np.diag(T_x))).sum()
    # σ profiled: at its best the dense criterion is the same
    covariances = [T @ lam @ (T @ lam).T for T, lam in zip(T_z, criterion.lams(theta), strict=True)]
    V = dense.covariance(design, 1.0, values, covariances)
    _, beta = dense.criterion(design, V, reml=reml)
    r = design.y - design.X @ beta
    n, p = design.X.shape
    sigma2 = float(r @ np.linalg.solve(V, r)) / (n - p if reml else n)
    wanted, _ = dense.criterion(design, sigma2 * V, reml=reml)
    np.testing.assert_allclose(value, wanted, rtol=1e-10)


@pytest.mark.parametrize("options", STRUCTURES[:-1], ids=str)
def test_optimum_cannot_be_left_downhill(options):
    """Small moves of every parameter raise the dense criterion."""
    model = blm.Model("y ~ x + f + (1 | site)", table(5, subjects=40), **options)
    design, fit = model.design, model.fit_reml()
    solution = fit.solution
    at = np.concatenate([[np.log(fit.sigma)], solution.residual, [np.sqrt(solution.covariances[0][0, 0])]])

    def value(x):
        V = dense.covariance(design, np.exp(x[0]), x[1:-1], [np.array([[x[-1] ** 2]])])
        return dense.criterion(design, V, reml=True)[0]

    lowest = value(at)
    np.testing.assert_allclose(fit.criterion, lowest, rtol=1e-10)
    for k in range(len(at)):
        for step in (-1e-3, 1e-3):
            assert value(at + step * np.eye(len(at))[k]) >= lowest - 1e-8


@pytest.mark.parametrize("bars", ["", " + (1 | site)"])
@pytest.mark.parametrize("options", [STRUCTURES[k] for k in (0, 2, 3, 4, 6)], ids=str)
def test_satterthwaite_is_two_squares_of_the_variance_over_its_own(bars, options):
    """From the dense deviance in (log σ, values, sd), all by differences."""
    model = blm.Model(f"y ~ x + f{bars}", table(11, subjects=20), **options)
    fit = model.fit_reml()
    design, solution = fit.design, fit.solution
    if bars and fit.is_singular:
        pytest.skip("a variance of zero is no parameter of the approximation")
    free = fit.design.residual.structure.free(solution.residual)
    sds = [np.sqrt(c[0, 0]) for c in solution.covariances]
    at = np.concatenate([[np.log(fit.sigma)], free, sds])
    natural, d = design.residual.structure.natural, len(free)

    def covariance_at(x):
        return dense.covariance(design, np.exp(x[0]), natural(x[1 : 1 + d]), [np.array([[s**2]]) for s in x[1 + d :]])

    def deviance(x):
        return dense.criterion(design, covariance_at(x), reml=True)[0]

    def vcov(x):
        return np.linalg.inv(design.X.T @ np.linalg.solve(covariance_at(x), design.X))

    m, h = len(at), 1e-3
    E = h * np.eye(m)
    H = np.array(
        [
            [deviance(at + a + b) - deviance(at + a - b) - deviance(at - a + b) + deviance(at - a - b) for b in E]
            for a in E
        ]
    ) / (4.0 * h * h)
    slopes = np.array([(vcov(at + e) - vcov(at - e)) / (2.0 * h) for e in E])
    g = np.einsum("kpp->pk", slopes)
    v = np.diag(vcov(at))
    df = 2.0 * v**2 / np.einsum("pk,kl,pl->p", g, 2.0 * np.linalg.inv(H), g)
    # differences of a deviance of some hundreds by steps of 1e-3 leave 1e-6 of curvatures of some tens
    np.testing.assert_allclose(fit.fixef()["df"], df, rtol=2e-4)

    # and the standard errors of the residuals' parameters, by the chain rule from free coordinates
    slopes = np.array([(natural(free + e) - natural(free - e)) / 2e-6 for e in 1e-6 * np.eye(d)]).T
    inverse = 2.0 * np.linalg.inv(H)[1 : 1 + d, 1 : 1 + d]
    told = fit.confint()
    told = told[told["group"] == "Residual"]
    np.testing.assert_allclose(told["estimate"], solution.residual)
    se = np.sqrt(np.diag(slopes @ inverse @ slopes.T))
    is_ratio = told["term"].str.startswith("log_ratio").to_numpy()
    half = (told["conf_high"] - told["conf_low"]).to_numpy()[is_ratio] / 2.0
    np.testing.assert_allclose(half, 1.959964 * se[is_ratio], rtol=1e-3)
    rho = solution.residual[~is_ratio]
    low = np.tanh(np.arctanh(rho) - 1.959964 * se[~is_ratio] / (1.0 - rho**2))
    np.testing.assert_allclose(told["conf_low"].to_numpy()[~is_ratio], low, rtol=1e-3, atol=1e-4)


def test_bars_and_weights_are_those_of_the_whitened_rows():
    """A fit whose residual parameters are known is a fit with weights."""
    data = table(3)
    fit = blm.Model("y ~ x + (1 | site)", data, sigma="~ f").fit_reml()
    weights = np.exp(-2.0 * fit.solution.residual[0] * (fit.design.frame["f"] == "b").to_numpy())
    plain = blm.Model("y ~ x + (1 | site)", data, weights=weights).fit_reml()
    np.testing.assert_allclose(fit.criterion, plain.criterion, rtol=1e-12)
    np.testing.assert_allclose(fit.ranef()["estimate"], plain.ranef()["estimate"], rtol=1e-6)
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), rtol=1e-6)
    cross, same = scale(Problem.of(fit.design)).cross, scale(replace(Problem.of(plain.design))).cross
    np.testing.assert_allclose(cross.XytXy, same.XytXy, rtol=1e-6)


LINEAR = [
    {"residual": "us(v | s)"},
    {"residual": "us(arm:v | s)"},
    {"residual": "cs(1 | s)", "weights": "w"},
    {"sigma": "~ f"},
]


@pytest.mark.parametrize("options", LINEAR, ids=str)
def test_kenward_roger_is_that_of_the_dense_covariance(options):
    """Kenward & Roger (1997), eqs. 1 to 5 and section 3, on dense matrices with V by its linear parameters."""
    subjects = 30 if "arm" in str(options) else 16  # with fewer the covariances of the arms are singular
    model = blm.Model("y ~ x + f", table(21, subjects=subjects), **options)
    fit = model.fit_reml()
    design = fit.design
    X, (n, p) = design.X, design.X.shape
    V = dense.residual_covariance(design, fit.sigma, fit.solution.residual)
    root = np.ones(n) if design.residual.structure.prior is None else 1.0 / np.sqrt(design.residual.structure.prior)
    frame = design.frame
    if "sigma" in options:
        bases = [np.diag((frame["f"] == level).to_numpy(float)) for level in ("a", "b")]
    else:
        same = (frame["s"].to_numpy()[:, None] == frame["s"].to_numpy()).astype(float)
        if "cs" in options["residual"]:
            bases = [np.eye(n), same - np.eye(n)]
        else:
            v = (frame["arm"] + frame["v"] if "arm" in options["residual"] else frame["v"]).to_numpy()
            levels = sorted(set(v))
            bases = []
            for i, a in enumerate(levels):
                for b in levels[: i + 1]:
                    met = ((v[:, None] == a) & (v == b)) | ((v[:, None] == b) & (v == a))
                    if (same * met).any():
                        bases.append(same * met)
        bases = [root[:, None] * E * root for E in bases]
    r = range(len(bases))
    Omega = np.linalg.inv(V)
    Phi = np.linalg.inv(X.T @ Omega @ X)
    P = [-X.T @ Omega @ E @ Omega @ X for E in bases]
    Q = [[X.T @ Omega @ bases[i] @ Omega @ bases[j] @ Omega @ X for j in r] for i in r]
    proj = Omega - Omega @ X @ Phi @ X.T @ Omega
    information = np.array([[0.5 * np.trace(proj @ bases[i] @ proj @ bases[j]) for j in r] for i in r])
    W = np.linalg.inv(information)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in r for j in r)
    adjusted = Phi + 2.0 * Phi @ U @ Phi
    told = fit.fixef(ddf="kenward-roger")
    np.testing.assert_allclose(told["std_error"], np.sqrt(np.diag(adjusted)), rtol=1e-7)
    for k in range(p):
        c = np.eye(p)[k]
        theta = np.outer(c, c) / (c @ Phi @ c)
        t = np.array([np.trace(theta @ Phi @ P[i] @ Phi) for i in r])
        A = float(t @ W @ t)
        np.testing.assert_allclose(told["df"].iloc[k], 2.0 / A, rtol=1e-6)
