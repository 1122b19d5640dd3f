"""The PyMC model against densities computed by scipy, and the verdict on draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm.covariances.template import covariance
from bayeslmm.design.build import build_design
from bayeslmm.design.names import contract
from bayeslmm.design.priors import resolve_priors
from bayeslmm.engine.geometry import choose_geometry
from bayeslmm.engine.pymc_model import build_model
from bayeslmm.errors import PriorError, SamplingWarning
from bayeslmm.results.diagnosis import diagnose_draws


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    n = 60
    return pd.DataFrame(
        {
            "y": rng.normal(10, 3, n),
            "x": rng.normal(2, 1, n),
            "z": rng.normal(0, 2, n),
            "g": np.arange(n) % 6,
            "h": rng.integers(0, 3, n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(0, 1, n),
        }
    )


def evaluate(model, seed=3):
    """Log density of the free variables at a random point of the sampler, and their values there."""
    rng = np.random.default_rng(seed)
    point = {k: np.asarray(v) + rng.normal(0, 0.3, np.shape(v)) for k, v in model.initial_point().items()}
    log_density = model.compile_logp(jacobian=False, mode="FAST_COMPILE")(point)
    fn = model.compile_fn(
        model.unobserved_value_vars, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    values = dict(zip([v.name for v in model.unobserved_value_vars], fn(point), strict=True))
    return float(log_density), values


def expected(design, priors, values):
    """Log density from scipy: priors, effects and likelihood, with explicit covariance matrices."""
    total = 0.0
    mean = design.X @ values["beta"] + design.offset
    stated = {e.group: "_at_means" for e in priors.entries if e.at}
    for e in priors.entries:
        p = dict(e.prior.params) if e.kind != "cor" else {}
        if e.kind == "Intercept":
            at_centre = values["beta"] @ design.X.mean(axis=0)
            total += stats.norm.logpdf(at_centre, p["mu"], p["sigma"])
        elif e.kind == "fixed":
            total += stats.norm.logpdf(values["beta"][design.x_names.index(e.term)], p["mu"], p["sigma"])
        elif e.kind == "sd":
            columns = next(g.columns for g in design.groups if g.name == e.group)
            value = values[f"sd_{e.group}{stated.get(e.group, '')}"][columns.index(e.term)]
            total += np.log(2) + stats.t.logpdf(value, p["nu"], 0, p["sigma"])
        elif e.kind == "sigma":
            total += np.log(2) + stats.t.logpdf(values["sigma"], p["nu"], 0, p["sigma"])
    for g in design.groups:
        cor = values.get(f"cor_{g.name}", np.eye(g.q))
        cov = covariance(values[f"sd_{g.name}"], cor)
        b = values[f"b_{g.name}"]
        total += stats.multivariate_normal(np.zeros(g.q), cov).logpdf(b).sum()
        if g.q == 2 and f"cor_{g.name}" in values:  # LKJ(2): Beta(2, 2) on (-1, 1)
            total += stats.beta(2, 2, loc=-1, scale=2).logpdf(values[f"cor_{g.name}{stated.get(g.name, '')}"][0, 1])
        mean = mean + (g.Z * b[g.codes]).sum(axis=1)
    w = np.ones(len(design.y)) if design.weights is None else design.weights
    return total + stats.norm.logpdf(design.y, mean, values["sigma"] / np.sqrt(w)).sum()


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ x + (1 | g)", {}),
        ("y ~ x + z + (x | g)", {}),
        ("y ~ x + (x || g)", {}),
        ("y ~ 0 + x + (1 | g) + (0 + z | h)", {}),
        ("y ~ x + (x | g) + (1 | h)", {"weights": "w", "offset": "o"}),
    ],
)
def test_log_density_equals_scipy(data, formula, options, centred):
    design = build_design(formula, data, **options)
    priors = resolve_priors(design)
    geometry = choose_geometry(design, None, {g.name: float(centred) for g in design.groups})
    log_density, values = evaluate(build_model(design, priors, geometry))
    # a few hundred terms added in doubles
    assert log_density == pytest.approx(expected(design, priors, values), rel=1e-10)


def test_three_columns_have_the_lkj_marginals(data):
    pymc = pytest.importorskip("pymc")
    design = build_design("y ~ x + (x + z | g)", data)
    priors = resolve_priors(design, {"cor": blm.LKJ(1.5)})
    model = build_model(design, priors, choose_geometry(design, None))
    cor = pymc.draw(model["cor_g"], draws=2000, random_seed=5)
    np.testing.assert_allclose(np.diagonal(cor, axis1=1, axis2=2), 1.0, atol=1e-12)
    # every correlation of LKJ(eta) in d dimensions is Beta(a, a) on (-1, 1), a = eta + d/2 - 1
    shape = 1.5 + 3 / 2 - 1
    for i, j in ((1, 0), (2, 0), (2, 1)):
        assert stats.kstest((cor[:, i, j] + 1) / 2, stats.beta(shape, shape).cdf).pvalue > 1e-3
    assert stats.kstest((cor[:, 2, 1] + 1) / 2, stats.beta(1.0, 1.0).cdf).pvalue < 1e-6  # the check can fail


def test_a_prior_pymc_lacks_or_that_is_not_positive(data):
    design = build_design("y ~ x + (1 | g)", data)
    geometry = choose_geometry(design, None)
    for prior, message in [
        (blm.Prior("Nrmal", mu=0, sigma=1), "no continuous distribution 'Nrmal'"),
        (blm.Prior("Normal", mu=0, sigma=1), "can give numbers below zero"),
        (blm.Prior("HalfNormal", scale=1), "has no scale; it has sigma, tau"),
    ]:
        with pytest.raises(PriorError, match=message):
            build_model(design, resolve_priors(design, {"sigma": prior}), geometry)


def fake_tree(shift=0.0, diverging=0):
    import xarray as xr

    rng = np.random.default_rng(2)
    sigma = rng.normal(size=(4, 500)) + shift * np.arange(4)[:, None]
    bad = np.zeros((4, 500), bool)
    bad[0, :diverging] = True
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"sigma": (("chain", "draw"), sigma)}),
            "sample_stats": xr.Dataset(
                {"diverging": (("chain", "draw"), bad), "energy": (("chain", "draw"), rng.normal(size=(4, 500)))}
            ),
        }
    )


NAMES = contract(("sigma",), (), ())


def test_diagnosis_says_yes_and_no():
    assert diagnose_draws(fake_tree(), NAMES).converged
    with pytest.warns(SamplingWarning, match="chains disagree"):
        assert not diagnose_draws(fake_tree(shift=0.5), NAMES).converged
    with pytest.warns(SamplingWarning, match="3 divergences"):
        assert diagnose_draws(fake_tree(diverging=3), NAMES).divergences == 3
