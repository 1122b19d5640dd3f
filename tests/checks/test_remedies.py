"""What `check` says of a plain model with a fault can be written down as it stands, and mends it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.checks.check import check
from bayeslmm.checks.rows import remedies_of_shape
from bayeslmm.families import BY_NUTS, FAMILIES, family_of

J, M = 30, 10


def simulated():
    """Responses of one model, each with another fault, far beyond chance."""
    rng = fixed_rng(5)
    n = J * M
    g = np.repeat(np.arange(J), M)
    d = pd.DataFrame({"g": g, "t": np.tile(np.arange(M), J), "x": rng.uniform(1, 5, n), "f": rng.choice(["a", "b"], n)})
    mean, e = 1.0 + d.x + rng.normal(size=J)[g], rng.normal(size=(J, M))
    d["along"] = mean + np.exp(-1.0 + 0.5 * d.x) * e.reshape(-1)
    d["strata"] = mean + np.where(d.f == "a", 0.5, 2.0) * e.reshape(-1)
    d["groups"] = mean + np.exp(0.8 * rng.normal(size=J))[g] * e.reshape(-1)
    for k in range(1, M):
        e[:, k] = 0.7 * e[:, k - 1] + np.sqrt(1.0 - 0.7**2) * e[:, k]
    d["series"] = mean + 1.5 * e.reshape(-1)
    zero = rng.random(n) < np.where(d.f == "a", 0.1, 0.5)
    d["zeros"] = rng.poisson(np.exp(0.8 + 0.2 * d.x + 0.3 * rng.normal(size=J)[g])) * ~zero
    return d


CASES = [
    ("along", "x", {}, "residual variance", 'sigma="~ x"', {"sigma": "~ x"}),
    ("strata", "x + f", {}, "residual variance", 'sigma="~ f"', {"sigma": "~ f"}),
    ("series", "x + t", {}, "independence", 'residual="ar1(time | g)"', {"residual": "ar1(t | g)"}),
    (
        "zeros",
        "x + f",
        {"family": "poisson"},
        "prediction",
        "zero_inflated_poisson",
        {"family": "zero_inflated_poisson", "zi": "~ f"},
    ),
]


@pytest.mark.parametrize(("response", "fixed", "plain", "verdict", "says", "mended"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
def test_the_remedy_that_is_named_mends_the_fault(response, fixed, plain, verdict, says, mended):
    d, formula = simulated(), f"{response} ~ {fixed} + (1 | g)"
    before = check(blm.Model(formula, d, **plain).fit_ml())
    assert before[verdict].level == "no" and says in before[verdict].remedy, before
    after = check(blm.Model(formula, d, **(plain | mended)).fit_ml())
    assert after[verdict].level == "ok", after


def test_groups_that_scatter_by_themselves_lead_to_a_bar():
    found = check(blm.Model("groups ~ x + (1 | g)", simulated()).fit_reml())["residual variance"]
    assert found.level == "no" and 'sigma="~ (1 | g)", drawn by fit()' in found.remedy


@pytest.mark.parametrize("name", [*FAMILIES, *BY_NUTS])
def test_remedies_of_the_shape_of_residuals_suit_the_response(name):
    """No logarithm of categories, no Student's t of shares, and no effect of every row where it is refused."""
    family = family_of(name)
    words = " ".join(remedies_of_shape(family).values())
    if family.is_discrete or family.mean_is_probability:
        assert "student_t" not in words and "log(y)" not in words
    if family.has_categories or family.is_binary:
        assert "every row" not in words
