"""The joint density in compiled loops: equal to the PyMC model's, its gradient to differences, for every family."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from scipy import special, stats
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.design.priors import resolve_priors
from bayeslmm.engine import joint, pymc_model
from bayeslmm.engine.geometry import choose_geometry
from bayeslmm.errors import NotAvailableError
from bayeslmm.families import densities, family_of, links, ordinal
from bayeslmm.families import special as compiled_special

N = 60
PAIRS = [(family, link) for family, kind in FAMILIES.items() for link in kind.links]
STRUCTURES = [
    ("x + (x | g)", {"g": 1.0}),
    ("x + u + (x + u | h) + offset(o)", {"h": 0.0, ("h", "Intercept"): 1.0}),
    ("x + (1 | a/g)", {"a": 0.4, "a:g": 1.0}),
    ("x + far + (far || g) + (1 | h)", {"g": 0.6, "h": 1.0}),
    ("0 + x + (0 + x | h) + (1 | g)", {"h": 1.0, "g": 0.0}),
    ("x + (far | h)", {"h": 1.0}),  # its priors and effects are those at the mean of the far predictor
    ("x + far + (far + u | h) + (far | g)", {"h": 1.0, "g": 0.0}),
    ("near + (near | h)", {"h": 1.0}),  # an intercept sampled at the middle of its predictor
    ("x + cs(0 + C(step) | g)", {"g": 1.0}),
    ("x + cs(1 + far + u | h, hom=True) + (1 | g)", {"h": 1.0, "g": 0.3}),
    ("x + ar1(0 + C(step) | g)", {"g": 0.0}),
    ("x + ar1(0 + C(step) | g, hom=False) + diag(x + u | g, hom=True)", {"g": 1.0}),
    ("x + diag(1 + far | h)", {"h": 0.5}),
]


@pytest.fixture(scope="module")
def data():
    rng = fixed_rng(1)
    d = pd.DataFrame(
        {
            "x": rng.normal(0, 1, N),
            "u": rng.normal(size=N),
            "far": rng.normal(8, 1, N),
            "g": np.arange(N) % 6,
            "h": rng.integers(0, 12, N),
            "w": rng.uniform(0.5, 2, N),
            "o": rng.normal(0, 0.2, N),
            "m": rng.integers(1, 9, N),
            "step": np.arange(N) // 6 % 4,
        }
    )
    eta = 0.4 + 0.3 * d.x + rng.normal(0, 0.5, 6)[d.g]
    return d.assign(
        a=d.g // 2,
        near=d.far - 6.5,
        gaussian=eta + rng.normal(size=N) + 3,
        student_t=eta + rng.standard_t(4, N) + 3,
        lognormal=np.exp(eta + rng.normal(size=N)),
        bernoulli=rng.integers(0, 2, N),
        binomial=rng.binomial(d.m, 0.4),
        poisson=rng.poisson(np.exp(eta)),
        negbinomial=rng.poisson(np.exp(eta) * rng.gamma(1, 1, N)),
        gamma=rng.gamma(2, np.exp(eta) / 2),
        beta=rng.beta(2, 3, N),
        ordinal=rng.integers(0, 4, N),
    )


def build(data, family, link, right, centring, priors=None):
    left = "p(binomial, m)" if family == "binomial" else family
    family = family_of(family, link)
    weights = "w" if family.has_residual and "u" in right else None
    design = build_design(f"{left} ~ {right}", data, family=family, weights=weights)
    resolved = resolve_priors(design, priors)
    design = resolved.at_means(design)
    geometry = choose_geometry(design, None, centring)
    return design, resolved, geometry, *joint.build(design, resolved, geometry)


def a_point(design, geometry, loops, seed=2):
    """A random x near which the response is possible, and no mean close to a pole of its link."""
    rng = fixed_rng(seed)
    x = joint.starting_point(design, geometry, None, loops, rng)
    narrow = design.family.link in ("inverse", "identity", "sqrt") and not design.family.is_normal
    return x + rng.normal(0, 0.02 if narrow else 0.3, len(x))


def at_point(model, coordinates, x):
    start = model.initial_point()
    ends = np.cumsum(coordinates.sizes)
    parts = {name: part for name, part in zip(coordinates.names, np.split(x, ends[:-1]), strict=True) if part.size}
    assert set(parts) == set(start)
    by_column = {name: np.shape(v)[::-1] if name.startswith("b_") else np.shape(v) for name, v in start.items()}
    shaped = {name: parts[name].reshape(by_column[name]) for name in start}
    return {name: v.T if name.startswith("b_") else v for name, v in shaped.items()}


def density(loops, x):
    return joint.log_density(joint.pack(loops), x, np.zeros(len(x)))


@pytest.mark.parametrize(("family", "link"), PAIRS)
@pytest.mark.parametrize(("right", "centring"), STRUCTURES[:3], ids=lambda v: v if isinstance(v, str) else "")
def test_density_is_that_of_the_pymc_model(data, family, link, right, centring):
    design, priors, geometry, loops, coordinates = build(data, family, link, right, centring)
    x = a_point(design, geometry, loops)
    model = pymc_model.build_model(design, priors, geometry)
    reference = float(model.compile_logp(mode="FAST_COMPILE")(at_point(model, coordinates, x)))
    # PyMC casts bare Python numbers of its formulas to single precision on the way: 1e-8 a term
    assert density(loops, x) == pytest.approx(reference, rel=1e-8, abs=1e-6)


@pytest.mark.parametrize(("right", "centring"), STRUCTURES[3:])
@pytest.mark.parametrize("family", ["gaussian", "negbinomial", "ordinal"])
def test_density_of_further_structures(data, family, right, centring):
    design, priors, geometry, loops, coordinates = build(data, family, None, right, centring)
    x = a_point(design, geometry, loops)
    model = pymc_model.build_model(design, priors, geometry)
    reference = float(model.compile_logp(mode="FAST_COMPILE")(at_point(model, coordinates, x)))
    assert density(loops, x) == pytest.approx(reference, rel=1e-8, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "fixed"),
    [
        ("student_t", {"nu": 4.0}),
        ("student_t", {"sigma": 0.8}),
        ("negbinomial", {"shape": 1.5}),
        ("gaussian", {"sigma": 2.0}),
    ],
)
def test_fixed_parameters_are_no_coordinates(data, family, fixed):
    of_family = family_of(family, None)
    design = build_design(f"{family} ~ x + (1 | g)", data, family=of_family, fixed=fixed)
    priors = resolve_priors(design, None)
    geometry = choose_geometry(design, None, {})
    loops, coordinates = joint.build(design, priors, geometry)
    x, gradient = a_point(design, geometry, loops), np.zeros(sum(coordinates.sizes))
    model = pymc_model.build_model(design, priors, geometry)
    reference = float(model.compile_logp(mode="FAST_COMPILE")(at_point(model, coordinates, x)))
    value = joint.log_density(joint.pack(loops), x, gradient)
    assert value == pytest.approx(reference, rel=1e-8, abs=1e-6)  # as above
    for k in range(len(x)):
        h = 1e-5 * (np.arange(len(x)) == k)
        assert gradient[k] == pytest.approx((density(loops, x + h) - density(loops, x - h)) / 2e-5, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("family", "link"), PAIRS)
@pytest.mark.parametrize(("right", "centring"), STRUCTURES)
def test_gradient_is_that_of_differences(data, family, link, right, centring):
    design, _, geometry, loops, _ = build(data, family, link, right, centring)
    x = a_point(design, geometry, loops)
    gradient = np.zeros(len(x))
    if not np.isfinite(joint.log_density(joint.pack(loops), x, gradient)):
        pytest.skip("a mean outside the support: there is no gradient")
    if link == "inverse" and not design.has_intercept:
        pytest.skip("means through infinity: differences say nothing")
    for k in range(len(x)):
        # fourth order: truncation h⁴, rounding 1e-16 |log density| / h
        h = np.zeros(len(x))
        h[k] = 1e-4
        steps = [density(loops, x + s * h) for s in (-2, -1, 1, 2)]
        slope = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12 * 1e-4)
        assert gradient[k] == pytest.approx(slope, rel=1e-5, abs=1e-6 * np.abs(gradient).max())


def test_cross_products_give_what_rows_give(data):
    """A normal model with one factor never looks at its rows."""
    _, _, _, loops, coordinates = build(data, "gaussian", None, *STRUCTURES[1])
    assert len(loops.gram) and not len(build(data, "student_t", None, *STRUCTURES[1])[3].gram)
    by_rows = loops._replace(gram=np.zeros(0))
    x = np.random.default_rng(5).normal(0, 0.5, sum(coordinates.sizes))
    ours, rows = np.zeros(len(x)), np.zeros(len(x))
    assert joint.log_density(joint.pack(loops), x, ours) == pytest.approx(
        joint.log_density(joint.pack(by_rows), x, rows), rel=1e-12
    )
    np.testing.assert_allclose(ours, rows, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prior", ["StudentT", "Cauchy", "Flat"])
def test_other_priors_of_fixed_effects(data, prior):
    given = {
        "StudentT": blm.Prior("StudentT", nu=3, mu=0, sigma=2),
        "Cauchy": blm.Prior("Cauchy", alpha=0, beta=2),
        "Flat": blm.flat(),
    }[prior]
    design, priors, geometry, loops, coordinates = build(data, "poisson", None, *STRUCTURES[0], {"fixed": given})
    x = a_point(design, geometry, loops)
    model = pymc_model.build_model(design, priors, geometry)
    reference = float(model.compile_logp(mode="FAST_COMPILE")(at_point(model, coordinates, x)))
    assert density(loops, x) == pytest.approx(reference, rel=1e-8, abs=1e-6)


def test_priors_that_only_pymc_knows(data):
    for priors in (
        {"fixed": blm.Prior("Laplace", mu=0, b=1)},
        {"sd": blm.Prior("Weibull", alpha=2, beta=1)},
        {"sd": blm.Prior("Uniform", lower=0, upper=5)},
    ):
        with pytest.raises(NotAvailableError):
            build(data, "poisson", None, *STRUCTURES[0], priors)


def test_the_buffer_holds_the_model(data):
    for family in FAMILIES:
        loops = build(data, family, None, *STRUCTURES[2])[3]
        buffer = joint.pack(loops)
        whole = buffer[int(buffer[1]) :].view(np.int64)
        assert len(buffer) == buffer[0]
        for k, (name, array) in enumerate(zip(loops._fields, loops, strict=True)):
            field = np.asarray(array)
            part = whole if field.dtype == np.int64 else buffer
            np.testing.assert_array_equal(part[whole[2 * k] : whole[2 * k + 1]], field.reshape(-1), err_msg=name)


def test_draws_unfold_to_the_effects_of_the_pymc_model(data):
    design, priors, geometry, loops, coordinates = build(data, "ordinal", None, "x + (x | g) + (1 | a)", {"g": 1.0})
    x = a_point(design, geometry, loops)
    K, Q = len(geometry.order), len(loops.sd_kind)
    sds, factors = np.zeros((1, Q)), np.zeros((1, Q, loops.middle.shape[1]))
    b, parameters = np.empty((1, int(loops.effect_start[K]))), np.empty((1, 3))
    joint.unfold(joint.pack(loops), x[None], sds, factors, b, parameters)
    model = pymc_model.build_model(design, priors, geometry)
    names = ["sd_a", "b_a", "sd_g", "b_g", "cor_g", "cutpoint", "beta"]
    fn = model.compile_fn(
        model.unobserved_value_vars, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    values = fn(at_point(model, coordinates, x))
    known = dict(zip([v.name for v in model.unobserved_value_vars], values, strict=True))
    sd_a, b_a, sd_g, b_g, cor_g, cuts, beta = (known[name] for name in names)
    np.testing.assert_allclose(sds[0], np.concatenate([sd_a, sd_g]), rtol=1e-7)
    np.testing.assert_allclose(b[0], np.concatenate([b_a.reshape(-1), b_g.reshape(-1)]), rtol=1e-7, atol=1e-9)
    L = factors[0, 1:]
    np.testing.assert_allclose(L @ L.T, cor_g, rtol=1e-7)
    np.testing.assert_allclose(parameters[0], cuts - design.X.mean(axis=0) @ beta, rtol=1e-7)


# -- rows


CDF = {"logit": stats.logistic, "probit": stats.norm, "cauchit": stats.cauchy, "cloglog": stats.gumbel_l}


@pytest.mark.parametrize("link", CDF)
@pytest.mark.parametrize("x", [-30.0, -9.0, -7.9, -2.0, 0.0, 1.5, 6.0, 30.0])
def test_tails_behind_a_threshold(link, x):
    number = list(links.LINKS).index(link)
    if link == "cloglog" and x > 6:
        x = 6.0  # e^30 in the exponent
    value, slope = links.log_cdf(number, x)
    assert value == pytest.approx(CDF[link].logcdf(x), rel=1e-6)  # the normal tail by its series: 945/x¹⁰ is left out
    assert slope == pytest.approx(np.exp(CDF[link].logpdf(x) - CDF[link].logcdf(x)), rel=1e-5, abs=1e-290)
    value, slope = links.log_survival(number, x)
    assert value == pytest.approx(CDF[link].logsf(x), rel=1e-6, abs=1e-15)
    if np.isfinite(CDF[link].logsf(x)):
        assert slope == pytest.approx(-np.exp(CDF[link].logpdf(x) - CDF[link].logsf(x)), rel=1e-5, abs=1e-190)


@pytest.mark.parametrize("x", [1e-3, 0.3, 1.0, 4.5, 9.99, 10.0, 1e4])
def test_digamma(x):
    assert compiled_special.digamma(x) == pytest.approx(special.digamma(x), rel=1e-12)


REFERENCE = {
    "gaussian": lambda y, mu, p, d: stats.norm.logpdf(y, mu, p[0] / np.sqrt(d.weights)),
    "student_t": lambda y, mu, p, d: stats.t.logpdf(y, p[1], mu, p[0] / np.sqrt(d.weights)),
    "lognormal": lambda y, mu, p, d: stats.lognorm.logpdf(y, p[0] / np.sqrt(d.weights), scale=np.exp(mu)),
    "bernoulli": lambda y, mu, p, d: stats.bernoulli.logpmf(y, mu),
    "binomial": lambda y, mu, p, d: stats.binom.logpmf(y, d.trials, mu),
    "poisson": lambda y, mu, p, d: stats.poisson.logpmf(y, mu),
    "negbinomial": lambda y, mu, p, d: stats.nbinom.logpmf(y, p[0], p[0] / (p[0] + mu)),
    "gamma": lambda y, mu, p, d: stats.gamma.logpdf(y, p[0], scale=mu / p[0]),
    "beta": lambda y, mu, p, d: stats.beta.logpdf(y, mu * p[0], (1 - mu) * p[0]),
}


@pytest.mark.parametrize("family", REFERENCE)
def test_rows_against_scipy(data, family):
    weights = "w" if family_of(family).has_residual else None
    left = "p(binomial, m)" if family == "binomial" else family
    design = build_design(f"{left} ~ x + (1 | g)", data, family=family_of(family), weights=weights)
    eta, parameters = 0.2 + 0.3 * data.x.to_numpy(), np.array([1.3, 4.0])[: len(design.family.parameters)]
    out, ones = np.empty(N), np.ones(N)
    densities.each_row(
        *densities.numbers(design.family),
        design.family.normaliser_takes_y,
        design.working_response,
        ones if design.trials is None else design.trials,
        ones if design.weights is None else design.weights,
        eta,
        parameters,
        out,
    )
    expected = REFERENCE[family](design.y, design.family.mean(eta), parameters, design)
    np.testing.assert_allclose(out + design.density_constants, expected, rtol=1e-9, atol=1e-10)


def test_categories_add_up_to_one():
    cutpoints = np.array([-1.0, 0.3, 0.31, 2.0])
    for link in (4, 5, 6, 7):
        for eta in (-8.0, -1.0, 0.0, 3.0):
            logs = [ordinal.category(link, k, 4, eta, cutpoints)[0] for k in range(5)]
            assert np.exp(logs).sum() == pytest.approx(1.0, rel=1e-12)
