"""Known standard errors: metafor's numbers, a dense oracle, and the guises of one model."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import examples

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design.build import build_design
from bayeslmm.design.priors import resolve_priors
from bayeslmm.engine import joint, reml
from bayeslmm.engine.criterion import prepare
from bayeslmm.engine.geometry import choose_geometry
from bayeslmm.engine.hyperpriors import HyperPriors
from bayeslmm.engine.marginal import Marginal
from bayeslmm.engine.scaling import Problem
from bayeslmm.families import GaussianKnown

METAFOR = json.loads((Path(__file__).parents[1] / "reference" / "metafor.json").read_text())["fits"]
FORMULAS = [
    "y ~ 1 + (1 | row)",
    "y ~ x + (1 | row)",
    "y ~ x + (1 | g / row)",
    "y ~ x + (x | g)",
    "y ~ x + (x || g) + (1 | h)",
    "y ~ 0 + x + (1 | g)",
]


def table(seed, *, spread=1.0):
    """Forty rows with standard errors of very different sizes."""
    rng, n = np.random.default_rng(seed), 40
    g, h = np.arange(n) % 7, rng.integers(0, 4, n)
    x, se = rng.normal(1.0, 1.0, n), 0.4 * np.exp(spread * rng.normal(size=n))
    y = 1.0 + x + rng.normal(size=7)[g] * 0.7 + 0.5 * rng.normal(size=n) + se * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "row": np.arange(n), "se": se})


def quietly(formula, data, *, by_reml=True, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)  # boundaries
        model = blm.Model(formula, data, **options)
        return model.fit_reml() if by_reml else model.fit_ml()


def dense_V(design, covariances):
    """Var(y) by its definition."""
    V = np.diag(design.standard_errors**2)
    for group, cov in zip(design.groups, covariances, strict=True):
        same = group.codes[:, None] == group.codes
        V += same * (group.Z @ cov @ group.Z.T)
    return V


def dense_criterion(design, covariances, *, by_reml):
    """−2 log (restricted) likelihood at the best β, and β with its covariance."""
    V, X, y = dense_V(design, covariances), design.X, design.normal_response
    inverse = np.linalg.inv(V)
    A = X.T @ inverse @ X
    beta = np.linalg.solve(A, X.T @ inverse @ y)
    r = y - X @ beta
    value = np.linalg.slogdet(V)[1] + r @ inverse @ r
    if by_reml:
        value += np.linalg.slogdet(A)[1]
    return value + (len(y) - by_reml * X.shape[1]) * np.log(2 * np.pi), beta, np.linalg.inv(A)


@pytest.mark.parametrize("name", METAFOR)
def test_metafors_numbers(name):
    wanted = METAFOR[name]
    bars = " + ".join(f"(1 | {group})" for group in wanted["groups"])
    data = blm.load_dataset(wanted["data"])
    fit = quietly(f"{wanted['fixed']} + {bars}", data, by_reml=wanted["reml"], se="se")
    assert fit.criterion <= wanted["criterion"] + 1e-6 * abs(wanted["criterion"])
    se = np.array(wanted["se"])
    # metafor stops where its own step is below 1e-12 of tau²; the largest difference seen is 5e-7 se
    assert np.abs(fit.solution.beta - wanted["fixef"]).max() < 1e-5 * se.max()
    np.testing.assert_allclose((fit.solution.beta - wanted["fixef"]) / se, 0.0, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.solution.vcov)), se, rtol=1e-5)
    sds = [np.sqrt(cov[0, 0]) for cov in fit.solution.covariances]
    np.testing.assert_allclose(sds, wanted["sd"], rtol=1e-4, atol=1e-8)


@examples(15)
@given(st.sampled_from(FORMULAS), st.integers(0, 2**32 - 1), st.booleans())
def test_the_criterion_is_the_dense_one(formula, seed, by_reml):
    fit = quietly(formula, table(seed), by_reml=by_reml, se="se")
    value, beta, vcov = dense_criterion(fit.design, fit.solution.covariances, by_reml=by_reml)
    assert fit.criterion == pytest.approx(value, rel=1e-9, abs=1e-8)
    np.testing.assert_allclose(fit.solution.beta, beta, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit.solution.vcov, vcov, rtol=1e-7, atol=1e-12)


@examples(10)
@given(st.sampled_from(FORMULAS), st.integers(0, 2**32 - 1), st.booleans())
def test_the_gradient_is_that_of_differences(formula, seed, by_reml):
    problem = Problem.of(build_design(formula, table(seed), se="se"))
    _, criterion = prepare(problem, reml=by_reml)
    theta = np.random.default_rng(seed).normal(1.0, 0.3, len(criterion.diagonal))
    value, gradient = criterion(theta)
    h = 1e-5
    for i, slope in enumerate(gradient):
        step = h * np.eye(len(theta))[i]
        central = (criterion(theta + step)[0] - criterion(theta - step)[0]) / (2 * h)
        # values near 100 are rounded to 1e-13 of themselves, over 2h
        assert slope == pytest.approx(central, rel=1e-5, abs=1e-5 + 1e-8 * abs(value))


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g) + (1 | h)"])
def test_equal_errors_are_a_fixed_sigma(formula):
    """All equal to the estimated sigma, the maximum is where it was."""
    data = table(3, spread=0.0)
    free = quietly(formula, data, by_reml=False)
    known = quietly(formula, data.assign(se=free.sigma), by_reml=False, se="se")
    assert known.criterion == pytest.approx(free.criterion, abs=1e-7)
    np.testing.assert_allclose(known.solution.beta, free.solution.beta, rtol=1e-5)
    for one, other in zip(known.solution.covariances, free.solution.covariances, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert known.sigma == pytest.approx(free.sigma)
    assert known.n_parameters == free.n_parameters - 1


@examples(10)
@given(st.sampled_from(FORMULAS), st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 0.3, 1e6]))
def test_other_rows_and_units(formula, seed, unit):
    data = table(seed)
    order = np.random.default_rng(seed).permutation(len(data))
    moved = data.iloc[order].assign(y=lambda d: unit * d.y, se=lambda d: unit * d.se)
    one, other = quietly(formula, data, se="se"), quietly(formula, moved, se="se")
    shift = 2.0 * (one.design.n - one.design.p) * np.log(unit)
    assert other.criterion == pytest.approx(one.criterion + shift, abs=1e-6)
    np.testing.assert_allclose(other.solution.beta, unit * one.solution.beta, rtol=1e-4, atol=1e-5 * unit)
    for a, b in zip(one.solution.covariances, other.solution.covariances, strict=True):
        np.testing.assert_allclose(b, unit**2 * a, rtol=1e-3, atol=1e-5 * unit**2)


NORMAL = {"Intercept": blm.Prior("Normal", mu=0.5, sigma=2), "sd": blm.Prior("HalfNormal", sigma=1.5)}


@examples(15)
@given(st.sampled_from([f for f in FORMULAS if "x |" not in f]), st.integers(0, 2**32 - 1))
def test_the_marginal_density_is_the_dense_one(formula, seed):
    design = build_design(formula, table(seed), se="se")
    user = NORMAL | {"x": blm.Prior("Normal", mu=0.2, sigma=0.7)}
    user = {key: prior for key, prior in user.items() if key == "sd" or key in design.x_names}
    priors = HyperPriors.of(design, resolve_priors(design, user))
    marginal = Marginal(Problem.of(design), priors)
    rng = np.random.default_rng(seed)
    sds = [rng.uniform(0.2, 2.0, g.q) for g in design.groups]
    soft = marginal.softness
    x = np.concatenate([np.log1p(sd / c) for sd, c in zip(sds, soft, strict=True)])
    assert marginal.d == len(x)  # no coordinate for sigma
    center = np.eye(design.p)
    if design.has_intercept:
        center[design.x_names.index("Intercept")] = design.X.mean(axis=0)
    to_beta = np.linalg.inv(center)
    mean = design.X @ to_beta @ priors.beta_mean
    V = dense_V(design, [np.diag(sd**2) for sd in sds])
    V += design.X @ to_beta @ np.diag(priors.beta_sd**2) @ to_beta.T @ design.X.T
    wanted = stats.multivariate_normal(mean, V).logpdf(design.y)
    wanted += sum(stats.halfnorm(scale=1.5).logpdf(sd).sum() for sd in sds)
    wanted += sum(np.log(sd + c).sum() for sd, c in zip(sds, soft, strict=True))
    assert marginal.log_densities(x[None])[0] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("formula", ["y ~ x + (x | g) + (1 | row)", "y ~ 1 + (1 | row)"])
def test_the_slope_of_the_marginal_density(formula):
    design = build_design(formula, table(5), se="se")
    user = {"Intercept": blm.Prior("StudentT", nu=4, mu=0, sigma=1)}
    marginal = Marginal(Problem.of(design), HyperPriors.of(design, resolve_priors(design, user)))
    x = np.random.default_rng(1).uniform(0.3, 0.9, marginal.d)
    _, gradient = marginal.with_gradient(x)
    steps = 1e-5 * np.eye(marginal.d)
    central = (marginal.log_densities(x + steps) - marginal.log_densities(x - steps)) / 2e-5
    np.testing.assert_allclose(gradient, central, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("formula", ["y ~ x + (1 | row)", "y ~ x + (x | g)", "y ~ x"])
def test_the_joint_density_of_nuts(formula):
    """With b as it is: prior of b, of the sds and of β, and a normal of known sd."""
    design = build_design(formula, table(6), se="se")
    priors = resolve_priors(design, {k: p for k, p in NORMAL.items() if k != "sd" or design.groups})
    geometry = choose_geometry(design, None, {g.name: 0.0 for g in design.groups})
    loops, coordinates = joint.build(design, priors, geometry)
    assert not any("sigma" in label for label in coordinates.names)
    rng = np.random.default_rng(2)
    x = joint.starting_point(design, geometry, None, loops, rng)
    gradient = np.empty(len(x))
    buffer = joint.pack(loops)
    value = joint.log_density(buffer, x, gradient)
    other = np.empty(len(x))
    moved = x.copy()
    for i in range(len(x)):
        moved[i] = x[i] + 1e-5
        up = joint.log_density(buffer, moved, other)
        moved[i] = x[i] - 1e-5
        down = joint.log_density(buffer, moved, other)
        moved[i] = x[i]
        assert gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-5 + 1e-8 * abs(value))
    if formula == "y ~ x":  # nothing but β, that of the intercept at centred predictors
        eta = x[0] + (design.X[:, 1] - design.X[:, 1].mean()) * x[1]
        wanted = stats.norm(eta, design.standard_errors).logpdf(design.y).sum()
        wanted += stats.norm(0.5, 2.0).logpdf(x[0])
        slope = dict(priors.get("fixed", term="x").params)
        wanted += stats.norm(slope["mu"], slope["sigma"]).logpdf(x[1])
        assert value == pytest.approx(wanted, rel=1e-9)


def test_the_family_of_known_errors_is_normal():
    """Density with its constant, distribution function and draws: sd sigma/√weight."""
    family = GaussianKnown(link="identity", sigma=0.7)
    y, w = np.array([0.3, -1.0]), np.array([2.0, 0.5])
    sd = 0.7 / np.sqrt(w)
    design = build_design("y ~ 1", pd.DataFrame({"y": [0.0, 1.0, 2.5]}), se=[1.0, 2.0, 0.5])
    np.testing.assert_allclose(design.standard_errors, [1.0, 2.0, 0.5])
    constants = family.constants(y, None, w)
    np.testing.assert_allclose(constants - 0.5 * (y / sd) ** 2, stats.norm(0, sd).logpdf(y))
    given_sd = family.complete({}, ())["sigma"] / np.sqrt(w)
    np.testing.assert_allclose(family.cdf(y, np.zeros(2), {"sigma": given_sd})[0], stats.norm(0, sd).cdf(y))


def test_one_row_a_level_has_a_variance():
    fit = quietly("y ~ 1 + (1 | trial)", blm.load_dataset("bcg"), se="se")
    assert fit.solution.status == "converged" and fit.solution.untold is None
    with pytest.raises(errors.UnidentifiedTermError, match="or se= if the standard error"):
        blm.Model("y ~ 1 + (1 | trial)", blm.load_dataset("bcg"))


def test_a_typical_error_is_that_of_I2():
    """(k − 1) Σw / ((Σw)² − Σw²): Higgins & Thompson (2002), equation 9."""
    data = blm.load_dataset("bcg")
    w = data.se**-2.0
    wanted = (len(w) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum())
    assert build_design("y ~ 1", data, se="se").family.known["sigma"] ** 2 == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"se": [1.0, 0.0, 1.0, 1.0]}, errors.DataError, "positive and finite; 1 are not.*1"),
        ({"se": [1.0, -2.0, 1.0, 1.0]}, errors.DataError, "positive and finite"),
        ({"se": [1.0, np.nan, np.inf, 1.0]}, errors.DataError, "2 are not"),
        ({"se": [1e-200, 1.0, 1.0, 1.0]}, errors.DataError, "another unit"),
        ({"se": ["a", "b", "c", "d"]}, errors.DataError, "does not hold numbers"),
        ({"se": "name"}, errors.DataError, "does not hold numbers"),
        ({"se": "nothing"}, errors.UnknownColumnError, "nothing"),
        ({"se": 1.0}, errors.DataError, "one float"),
        ({"se": [1.0, 2.0]}, errors.DataError, "2 values for 4 rows"),
        ({"se": "s", "weights": "s"}, errors.InputError, "both say how exact"),
        ({"se": "s", "family": "student_t"}, errors.NotAvailableError, "no such sd"),
        ({"se": "s", "family": "gaussian", "link": "log"}, errors.NotAvailableError, "identity link"),
        ({"se": "s", "priors": {"sigma": blm.flat()}}, errors.PriorError, "known here, by se=s"),
    ],
)
def test_hostile_standard_errors(options, error, message):
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": list("abab"), "s": [1.0, 2.0, 1.0, 2.0], "name": list("abcd")})
    with pytest.raises(error, match=message):
        blm.Model("y ~ 1 + (1 | g)", data, **options)


def test_too_few_studies():
    one = pd.DataFrame({"y": [1.0], "g": ["a"], "s": [1.0]})
    with pytest.raises(errors.DataError, match="more rows than"):
        blm.Model("y ~ 1", one, se="s")
    two = pd.DataFrame({"y": [1.0, 1.0], "g": ["a", "a"], "s": [1.0, 2.0]})
    with pytest.raises(errors.UnidentifiedTermError, match="one level"):
        blm.Model("y ~ 1 + (1 | g)", two, se="s")
    assert blm.Model("y ~ 1", two, se="s").fit_reml().fixef().estimate.iloc[0] == 1.0  # equal: no sigma to go to zero


def test_the_least_squares_of_known_errors_has_z():
    """Without groups nothing is estimated of the variances: the intervals are normal."""
    data = table(8)
    fit = quietly("y ~ x", data, se="se")
    assert np.isinf(fit.fixef().df).all()
    w = data.se**-2.0
    X = fit.design.X
    np.testing.assert_allclose(fit.solution.vcov, np.linalg.inv(X.T @ (X * w.to_numpy()[:, None])))


def test_satterthwaite_without_sigma():
    """df of the mean of a balanced case: τ̂² + s² is the variance of J means times a chi-squared of J − 1."""
    data = table(3).assign(se=0.5)
    fit = quietly("y ~ 1 + (1 | row)", data, se="se")
    assert fit.solution.status == "converged"
    assert fit.fixef().df.iloc[0] == pytest.approx(len(data) - 1, rel=1e-4)
    kr = fit.fixef(ddf="kenward-roger")
    assert kr.df.iloc[0] == pytest.approx(len(data) - 1, rel=1e-6)


def test_a_start_elsewhere_ends_at_the_same_place():
    problem = Problem.of(build_design("y ~ x + (x | g) + (1 | row)", table(9), se="se"))
    one = reml.fit(problem)
    other = reml.fit(problem, start=np.array([3.0, -1.0, 2.0, 0.2]))
    assert one.criterion == pytest.approx(other.criterion, abs=1e-8)
