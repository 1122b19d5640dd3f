"""NUTS on wide terms: the density in loops is the PyMC model's, whose effects are normal with the given matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from shifted import fixed_rng

from bayeslmm.design.build import build_design
from bayeslmm.design.priors import resolve_priors
from bayeslmm.engine import joint, pymc_model
from bayeslmm.engine.geometry import choose_geometry
from bayeslmm.families import family_of

N = 40
LEVELS = list("abcdefg")
RIGHT = {
    "gr": "x + (1 | gr(g, cov=A))",
    "gr without full rank": "x + (1 | gr(g, cov=B)) + (1 | h)",
    "slope": "x + (1 + x || gr(g, prec=A))",
    "correlated": "x + (x | gr(g, cov=A)) + (1 | h)",
    "mm": "x + (1 | mm(g, k))",
    "correlated mm": "x + (x | mm(g, k))",
    "s": "s(t, k=6)",
    "all": "x + s(t, k=5, bs='cr') + (1 | gr(g, cov=A)) + (x | h)",
}
FAMILIES = ["gaussian", "poisson", "bernoulli", "ordinal"]


@pytest.fixture(scope="module")
def data():
    rng = fixed_rng(21)
    table = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "t": np.sort(rng.uniform(0, 4, N)),
            "g": rng.choice(LEVELS[:6], N),
            "k": rng.choice(LEVELS[:6], N),
            "h": rng.choice(list("pqrs"), N),
        }
    )
    mean = 0.5 + 0.3 * table.x + np.sin(table.t)
    return table.assign(
        gaussian=rng.normal(mean),
        poisson=rng.poisson(np.exp(mean)),
        bernoulli=rng.integers(0, 2, N),
        ordinal=rng.integers(0, 3, N),
    )


def matrices():
    rng = fixed_rng(22)
    B = rng.normal(size=(7, 9))
    A = B @ B.T / 9 + 0.2 * np.eye(7)
    low = B[:, :4] @ B[:, :4].T / 4
    return {name: pd.DataFrame(values, index=LEVELS, columns=LEVELS) for name, values in (("A", A), ("B", low))}


def build(data, name, family="gaussian"):
    needed = {key: A for key, A in matrices().items() if f"={key})" in RIGHT[name]}
    design = build_design(f"{family} ~ {RIGHT[name]}", data, family=family_of(family, None), matrices=needed)
    priors = resolve_priors(design)
    rng = fixed_rng(23)
    geometry = choose_geometry(design, None, {group.name: 0.4 for group in design.groups})
    for group in design.groups:
        if group.is_wide:
            geometry.placements[group.name].weights[:, 0] = rng.uniform(size=group.n_levels).round()
    loops, coordinates = joint.build(design, priors, geometry)
    x = joint.starting_point(design, geometry, None, loops, rng)
    return design, priors, geometry, loops, coordinates, x


def value_of(loops, x):
    return joint.log_density(joint.pack(loops), x, np.zeros(len(x)))


def at_point(model, coordinates, x):
    parts = dict(zip(coordinates.names, np.split(x, np.cumsum(coordinates.sizes)[:-1]), strict=True))
    return {
        name: parts[name].reshape(np.shape(v)[::-1]).T if name.startswith("b_") else parts[name].reshape(np.shape(v))
        for name, v in model.initial_point().items()
    }


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_is_that_of_differences(data, family, name):
    *_, loops, _, x = build(data, name, family)
    gradient = np.zeros(len(x))
    joint.log_density(joint.pack(loops), x, gradient)
    for k in range(len(x)):
        h = np.zeros(len(x))
        h[k] = 1e-4
        steps = [value_of(loops, x + s * h) for s in (-2, -1, 1, 2)]
        slope = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12 * 1e-4)
        # fourth order: truncation h⁴, rounding 1e-16 |log density| / h
        assert gradient[k] == pytest.approx(slope, rel=1e-5, abs=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize(("name", "family"), [*((name, "poisson") for name in RIGHT), ("all", "ordinal")])
def test_density_is_that_of_the_pymc_model(data, family, name):
    design, priors, geometry, loops, coordinates, x = build(data, name, family)
    model = pymc_model.build_model(design, priors, geometry)
    reference = float(model.compile_logp(mode="FAST_COMPILE")(at_point(model, coordinates, x)))
    # a pseudo-inverse with eigenvalues down to 1e-12 of the largest loses some digits
    assert value_of(loops, x) == pytest.approx(reference, rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("name", ["gr", "slope", "mm", "s"])
def test_effects_of_the_pymc_model_are_normal_with_the_matrix(data, name):
    """Its densities on the users' scale, by scipy: b ~ N(0, τ² A), y ~ Poisson(exp(Xβ + Zb))."""
    design, priors, geometry, _, coordinates, x = build(data, name, "poisson")
    model = pymc_model.build_model(design, priors, geometry)
    point = at_point(model, coordinates, x)
    densities = dict(
        zip(
            [rv.name for rv in model.basic_RVs],
            model.compile_fn(model.logp(jacobian=False, sum=False), inputs=model.value_vars, mode="FAST_COMPILE")(
                point
            ),
            strict=True,
        )
    )
    free = model.unobserved_value_vars
    compute = model.compile_fn(free, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore")
    values = dict(zip([v.name for v in free], compute(point), strict=True))
    eta = design.X @ values["beta"]
    for group in design.groups:
        sd, b = values[design.names.sd[group.name]][0], values[design.names.b[group.name]][:, 0]
        K = np.eye(len(b)) if group.root is None else group.root @ group.root.T
        reference = stats.multivariate_normal(np.zeros(len(b)), sd**2 * K).logpdf(b)
        assert np.sum(densities[design.names.b[group.name]]) == pytest.approx(reference, rel=1e-8)
        eta = eta + sparse.csr_array(group.matrix) @ b
    assert np.sum(densities["y"]) == pytest.approx(stats.poisson(np.exp(eta)).logpmf(design.y).sum(), rel=1e-8)


def test_effects_drawn_from_the_pymc_prior_are_related(data):
    pymc = pytest.importorskip("pymc")
    design, priors, geometry, *_ = build(data, "gr", "poisson")
    model = pymc_model.build_model(design, priors, geometry)
    sd, b = pymc.draw([model["sd_gr(g)"], model["b_gr(g)"]], draws=3000, random_seed=5)
    # 3,000 draws: 2.6 % of a variance, five of them
    np.testing.assert_allclose(np.cov((b[..., 0] / sd).T), matrices()["A"], atol=0.13)
