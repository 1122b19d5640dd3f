"""The likelihood by brute force: how far Laplace's approximation is from it, and that many nodes are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy import stats
from scipy.special import expit, logsumexp
from shifted import fixed_rng
from strategies import examples

import bayeslmm as blm
from bayeslmm.engine import laplace_error, laplace_fit
from bayeslmm.engine.laplace_error import error
from bayeslmm.engine.quadrature import OneFactor

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


@pytest.fixture(scope="module")
def sparse_binary():
    """Four binary rows of thirty levels, which two others cross."""
    rng = fixed_rng(9)
    d = pd.DataFrame({"g": np.arange(120) % 30, "h": np.repeat([0, 1], 60), "x": rng.normal(size=120)})
    eta = 1.6 * rng.normal(size=30)[d.g] + 0.8 * rng.normal(size=2)[d.h] + 0.5 * d.x
    return d.assign(y=(rng.random(120) < expit(eta)) * 1.0, school=d.g // 3)


def by_grid(design, solution):
    """The log likelihood of a crossed pair of intercepts: the second, of two levels, on a grid of nodes."""
    names = [group.name for group in design.groups]
    g, h = names.index("g"), names.index("h")
    sd_g, sd_h = (np.sqrt(solution.covariances[k][0, 0]) for k in (g, h))
    x, w = hermegauss(25)
    v = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.outer(w, w).reshape(-1) / w.sum() ** 2
    eta = design.X @ solution.beta + sd_h * v[:, design.groups[h].codes]
    one = OneFactor(replace(design, groups=(design.groups[g],)))
    given_v = one(eta, np.zeros((len(v), 0)), np.full((len(v), 1, 1), sd_g), 45)
    return float(logsumexp(given_v, b=weights))


def test_crossed_factors_are_off_by_what_a_grid_says(sparse_binary):
    fit = blm.glmer("y ~ x + (1 | g) + (1 | h)", sparse_binary, family="bernoulli")
    off = error(fit.design, fit.solution)
    exact = by_grid(fit.design, fit.solution) - fit.loglik
    assert exact > 0.3  # so that there is something to be found
    assert off.value == pytest.approx(exact, abs=4.0 * off.monte_carlo) and off.monte_carlo < 0.1 * exact
    again = error(fit.design, fit.solution, random_seed=1)
    assert again == off != error(fit.design, fit.solution, random_seed=2)


def test_nested_factors_are_integrated_unit_by_unit(sparse_binary):
    fit = blm.glmer("y ~ x + (1 | school / g)", sparse_binary, family="bernoulli")
    off = error(fit.design, fit.solution)
    # twice the data are twice the units, each with weights of its own: the error doubles, and its chance by a root of 2
    twice = pd.concat([sparse_binary, sparse_binary.assign(g=lambda d: d.g + 30, school=lambda d: d.school + 10)])
    design = blm.Model("y ~ x + (1 | school / g)", twice, family="bernoulli").design
    double = error(design, fit.solution)
    assert double.value == pytest.approx(2.0 * off.value, abs=8.0 * off.monte_carlo)
    assert 1.0 < double.monte_carlo / off.monte_carlo < 2.0


def test_of_normal_responses_there_is_no_error():
    rng = fixed_rng(10)
    d = pd.DataFrame(rng.normal(size=(60, 4)), columns=["y", "x", "z", "w"]).assign(g=np.arange(60) % 10)
    d["y"] += rng.normal(size=10)[d.g]
    design = blm.Model("y ~ x + (x + z + w | g)", d).design
    off = error(design, laplace_fit.fit(design))  # four effects a level are drawn, none are left to quadrature
    assert abs(off.value) < 4.0 * off.monte_carlo < 1.0


def test_too_many_effects_are_told(sparse_binary, monkeypatch):
    monkeypatch.setattr(laplace_error, "MOST_DRAWN", 1)
    fit = blm.glmer("y ~ x + (1 | g) + (1 | h)", sparse_binary, family="bernoulli")
    assert error(fit.design, fit.solution) is None
    assert "too many to be drawn" in blm.check(fit)["integration"].words


def test_a_check_says_it(sparse_binary):
    crossed = blm.check(blm.glmer("y ~ x + (1 | g) + (1 | h)", sparse_binary, family="bernoulli"))["integration"]
    assert crossed.level == "look" and "Monte Carlo error" in crossed.words and "posterior" in crossed.remedy
    rng = fixed_rng(11)
    apart = pd.DataFrame({"g": np.repeat(np.arange(40), 5), "x": rng.normal(size=200)})
    apart["y"] = (rng.random(200) < expit(3.0 * rng.normal(size=40)[apart.g] + apart.x)) * 1.0
    one = blm.check(blm.glmer("y ~ x + (1 | g)", apart, family="bernoulli", nAGQ=1))["integration"]
    assert one.level == "look" and "Monte Carlo" not in one.words and "nAGQ" in one.remedy
    as_needed = blm.check(blm.glmer("y ~ x + (1 | g)", apart, family="bernoulli"))["integration"]
    assert as_needed.level == "ok" and not as_needed.remedy


DENSITIES = {
    "bernoulli": lambda y, eta: stats.bernoulli.logpmf(y, expit(eta)),
    "poisson": lambda y, eta: stats.poisson.logpmf(y, np.exp(eta)),
    "gamma": lambda y, eta: stats.gamma.logpdf(y, 2.0, scale=np.exp(eta) / 2.0),
}


@examples(15)
@given(st.sampled_from(list(DENSITIES)), st.integers(1, 2), st.integers(0, 10_000), st.floats(0.1, 1.5))
def test_many_nodes_are_the_integral(family, q, seed, size):
    """A trapezoidal sum over a fine grid that knows nothing of modes, with SciPy's densities."""
    rng = np.random.default_rng(seed)
    d = pd.DataFrame({"g": np.repeat([0, 1, 2], 4), "x": rng.normal(size=12)})
    eta = 0.5 * d.x + size * rng.normal(size=3)[d.g]
    d["y"] = {"bernoulli": (eta > rng.logistic(size=12)) * 1.0, "poisson": rng.poisson(np.exp(eta)) * 1.0}.get(
        family, rng.gamma(2.0, np.exp(eta) / 2.0)
    )
    d.loc[:1, "y"] = [0.0, 1.0] if family != "gamma" else [0.3, 1.2]  # not all alike
    design = blm.Model("y ~ x + (1 | g)" if q == 1 else "y ~ x + (x | g)", d, family=family).design
    root = size * np.array([[1.0, 0.0], [0.4, 0.6]])[:q, :q]
    parameters = np.full((1, len(design.family.parameters)), 2.0)
    fixed = design.X @ np.array([0.1, 0.3])
    by_nodes = OneFactor(design)(fixed[None], parameters, root[None], 45 if q == 1 else 35)[0]
    axis = np.linspace(-8.0, 8.0, 801 if q == 1 else 161)
    u = np.stack(np.meshgrid(*[axis] * q, indexing="ij"), axis=-1).reshape(-1, q)
    effects, Z = u @ root.T, design.groups[0].Z
    rows = DENSITIES[family](d["y"].to_numpy()[:, None], fixed[:, None] + Z @ effects.T)
    prior = stats.norm.logpdf(u).sum(axis=1) + q * np.log(axis[1] - axis[0])
    by_level = [logsumexp(rows[d.g == level].sum(axis=0) + prior) for level in range(3)]
    # the sum over a grid of 0.02 (0.1) is exact to rounding for what is smooth; the nodes are to some 1e-6
    assert by_nodes == pytest.approx(sum(by_level), abs=1e-5)
