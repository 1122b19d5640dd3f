"""One model has one posterior: at the draws of any sampler the density of the PyMC model has the slopes of a density.

Stein's identities: over draws θ of a density p, E ∂ log p/∂θ = 0 and E (θ − c) ∂ log p/∂θ = −1, of a positive θ
E θ ∂ log p/∂θ = −1. They hold whatever the sampler does inside (exact, by quadrature, NUTS), so that two definitions of
a model, in which a prior or the likelihood is meant otherwise, show in some coordinate. Informative priors: default
ones hide it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

SD, SIGMA = blm.Prior("HalfNormal", sigma=0.4), blm.Prior("HalfNormal", sigma=0.5)
FIXED = {"fixed": blm.Prior("Normal", mu=0.3, sigma=0.2), "sd": SD}
NORMAL = {**FIXED, "sigma": SIGMA}
LABELS = [f"g{k}" for k in range(8)]
RELATED = 0.5 * np.eye(8) + 0.5 * np.exp(-np.abs(np.subtract.outer(range(8), range(8))))
MODELS = {
    "constant column": ("y ~ 0 + half + x + (x | g)", {"priors": NORMAL}),
    "a slope alone": ("y ~ 0 + low + x + (x | g)", {"priors": NORMAL}),
    "the same by NUTS": ("y ~ 0 + low + x + (x | g)", {"priors": NORMAL, "method": "nuts"}),
    "members": ("y ~ 0 + half + x + (x | mm(g, h))", {"priors": NORMAL, "weights": "w"}),
    "relatives": ("y ~ x + (1 | gr(g, cov=A))", {"priors": NORMAL, "matrices": {"A": (LABELS, RELATED)}}),
    "curve": ("y ~ s(x, k=5) + (1 | g)", {"priors": NORMAL}),
    "steps": ("y ~ 0 + f + ar1(0 + f | g)", {"priors": NORMAL}),
    "alike": ("y ~ 0 + f + cs(0 + f | g, hom=True)", {"priors": NORMAL}),
    "known errors": ("y ~ 0 + half + x + (x || g)", {"priors": FIXED, "se": "w"}),
    "counts": ("k ~ 0 + half + x + (1 | g)", {"priors": FIXED, "family": "poisson"}),
    "rows that count": ("k | weights(n) ~ x + (1 | g)", {"priors": FIXED, "family": "poisson"}),
    "in intervals": ("cens(y, status) ~ x + (1 | g)", {"priors": NORMAL}),
}
FEWEST = 30  # what an effective sample size counts as at least
LARGEST = 6.0  # of some 500 statistics in standard errors: right ones exceed it with probability 1e-6, were they normal


def data() -> pd.DataFrame:
    rng, n = np.random.default_rng(11), 96
    i = np.arange(n)
    d = pd.DataFrame({"x": rng.normal(2.0, 1.0, n), "low": -3.0 - rng.uniform(0, 1, n), "half": -2.5})
    d["w"], d["n"] = rng.uniform(0.5, 2.0, n), rng.integers(1, 4, n)
    d["g"], d["h"], d["f"] = (
        np.take(LABELS, i % 8),
        np.take(LABELS, (i + 1 + i // 24) % 8),
        np.take(["a", "b", "c"], i % 3),
    )
    eta = 0.4 + 0.5 * (d["x"] - 2.0) + rng.normal(0.0, 0.8, 8)[i % 8]
    d["y"], d["k"] = eta + rng.normal(0.0, 0.7, n), rng.poisson(np.exp(0.6 * eta))
    d["status"] = np.where(rng.random(n) < 0.2, "right", "none")
    return d


def slopes(model, post):
    """(name, draws (chain, draw, k), slopes of the log density there) of every free variable, as users know them."""
    from pymc.model.transform.conditioning import remove_value_transforms

    plain = remove_value_transforms(model.pymc)
    draws = post.idata.posterior.isel(draw=slice(None, None, 2))
    variables = {variable.name: draws[variable.name].to_numpy() for variable in plain.free_RVs}
    inputs = plain.continuous_value_vars
    evaluate = plain.compile_fn(
        plain.dlogp(jacobian=False), inputs=inputs, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    lead = next(iter(variables.values())).shape[:2]
    gradients = np.array(
        [[evaluate({v.name: variables[v.name][c, d] for v in inputs}) for d in range(lead[1])] for c in range(lead[0])]
    )
    start = 0
    for variable in inputs:
        drawn = variables[variable.name].reshape(*lead, -1)
        yield variable.name, drawn, gradients[..., start : start + drawn.shape[-1]]
        start += drawn.shape[-1]


def statistics(name, drawn, by_log_density):
    """Numbers (chain, draw) whose means are zero."""
    if name.startswith("cor_"):  # of a matrix the graph has the slopes of its factor
        return
    if drawn.shape[-1] > 1 and np.ptp(drawn, axis=-1).max() == 0.0:  # one sd for all effects
        drawn, by_log_density = drawn[..., :1], by_log_density.sum(axis=-1, keepdims=True)
    if name.startswith("sd_") or name == "sigma":
        yield from np.moveaxis(1.0 + drawn * by_log_density, -1, 0)
        return
    yield from np.moveaxis(by_log_density, -1, 0)
    yield from np.moveaxis(1.0 + (drawn - drawn.mean(axis=(0, 1))) * by_log_density, -1, 0)


@pytest.mark.parametrize("name", MODELS)
def test_draws_are_those_of_the_pymc_model(name):
    from bayeslmm.results.convergence import effective_size

    formula, options = MODELS[name]
    how = {"method": options["method"]} if "method" in options else {}
    model = blm.Model(formula, data(), **{key: value for key, value in options.items() if key != "method"})
    post = model.fit(random_seed=1, draws=300, progressbar=False, **how)
    tried = 0
    for variable, drawn, by_log_density in slopes(model, post):
        for numbers in statistics(variable, drawn, by_log_density):
            error = numbers.std() / np.sqrt(max(effective_size(numbers), FEWEST))
            assert np.isfinite(numbers).all() and abs(numbers.mean()) < LARGEST * error, variable
            tried += 1
    assert tried > 15
