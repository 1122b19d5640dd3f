"""Variances of related levels, memberships and smooths, judged by the rank of dense derivatives, in any family."""

import warnings

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design.identification import can_judge, identification, untold_variances
from bayeslmm.terms.wide import WideTerm

LEVELS = [f"g{i:02d}" for i in range(9)]


def matrices():
    rng = fixed_rng(3)
    Q = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    each = {"I": np.eye(9), "H": 0.5 * np.eye(9) + 0.5, "B": Q @ np.diag(rng.uniform(0.5, 2, 9)) @ Q.T}
    return {name: pd.DataFrame(A, LEVELS, LEVELS) for name, A in each.items()}


def data():
    rng = fixed_rng(2)
    g = np.repeat(np.arange(9), 6)
    d = pd.DataFrame({"x": rng.normal(size=54), "g": np.array(LEVELS)[g], "h": np.array(LEVELS)[g]})
    d["k"], d["l"] = np.array(LEVELS)[rng.integers(0, 9, (2, 54))]
    effect = rng.normal(0, 0.7, 9)[g]
    d["y"], d["n"] = effect + d.x + rng.normal(size=54), rng.poisson(np.exp(0.5 + 0.3 * d.x + effect))
    return d.assign(p=rng.gamma(3, np.exp(effect) / 3), b=rng.binomial(1, 1 / (1 + np.exp(-3 * effect))))


def model(right, family="gaussian", **options):
    y = {"gaussian": "y", "poisson": "n", "negbinomial": "n", "gamma": "p", "bernoulli": "b"}[family]
    used = {name: A for name, A in matrices().items() if f"cov={name}" in right}
    return blm.Model(f"{y} ~ {right}", data(), family=family, matrices=used, **options)


def dense_nullity(design, residual):
    """Dependent derivatives of V, projected off X, written out with n × n matrices."""
    n = design.n
    root = np.ones(n) if design.weights is None else np.sqrt(design.weights)
    Q = np.linalg.qr(design.X * root[:, None])[0]
    P = np.eye(n) - Q @ Q.T
    derivatives = [np.eye(n)] if residual else []
    for group in design.groups:
        if isinstance(group, WideTerm):
            Z = np.asarray(group.matrix.todense()) if hasattr(group.matrix, "todense") else np.asarray(group.matrix)
            A = np.eye(group.n_levels) if group.root is None else group.root @ group.root.T
            Z = Z.reshape(n, group.n_levels, group.q)
        else:
            Z, A = np.zeros((n, group.n_levels, group.q)), np.eye(group.n_levels)
            Z[np.arange(n), group.codes] = group.Z
        for block in group.template.blocks:
            for i, b in enumerate(block):
                for a in block[: i + 1]:
                    V = Z[:, :, a] @ A @ Z[:, :, b].T
                    derivatives.append(root[:, None] * (V + V.T) * root)
    flat = np.array([(P @ V @ P).reshape(-1) for V in derivatives])
    flat /= np.linalg.norm([V.reshape(-1) for V in derivatives], axis=1)[:, None]
    return int((np.linalg.svd(flat, compute_uv=False) < 1e-6).sum())


RIGHT = [
    "x + (1 | g) + (1 | gr(h, cov=I))",
    "x + (1 | g) + (1 | gr(h, cov=H))",
    "x + (1 | g) + (1 | gr(h, cov=B))",
    "x + (1 | gr(g, cov=H)) + (1 | gr(h, cov=I))",
    "x + (1 | mm(g, h)) + (1 | g)",
    "x + (1 | mm(k, l)) + (1 | k)",
    "x + (1 | mm(k, l)) + (1 | k) + (1 | l)",
    "0 + g + (1 | gr(h, cov=B))",
    "x + (x || gr(g, cov=I)) + (x || h)",
    "x + (x | gr(g, cov=I)) + (x | h)",
    "x + (x | gr(g, cov=B)) + (x | h)",
    "x + (x | gr(g, cov=H)) + (1 | h)",
    "s(x, k=5) + (1 | g)",
    "s(x, k=5) + (1 | gr(g, cov=H)) + (1 | h)",
    "x + (1 | gr(k, cov=B)) + (1 | l)",
]


@pytest.mark.parametrize("weights", [None, "x"])
@pytest.mark.parametrize("right", RIGHT)
def test_the_rank_is_that_of_dense_derivatives(right, weights):
    options = {} if weights is None else {"weights": np.linspace(0.5, 2.0, 54)}
    design = model(right, **options).design
    for residual in (True, False):
        identified = identification(design, residual=residual)
        assert len(identified.directions) == dense_nullity(design, residual), right


UNTOLD = [
    ("x + (1 | g) + (1 | gr(h, cov=I))", "only sd(g)² + sd(gr(h))² "),
    ("x + (1 | mm(g, h)) + (1 | g)", "only sd(g)² + sd(mm(g, h))² "),
]


@pytest.mark.parametrize("family", ["poisson", "gamma", "bernoulli", "negbinomial"])
@pytest.mark.parametrize(("right", "words"), UNTOLD)
def test_other_families_say_what_is_not_told(right, words, family):
    whole = model(right, family)
    with pytest.warns(errors.WeaklyIdentifiedWarning, match="not identified"):
        fit = whole.fit_ml()
    assert fit.solution.status == "unidentified" and words in fit.verdict
    table = fit.variance_components().set_index(["group", "quantity"])["estimate"]
    assert table.xs("combination", level="quantity").notna().all()
    assert table.drop("combination", level="quantity").isna().any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = model("x + (1 | g)", family).fit_ml(nAGQ=1)
    assert fit.loglik == pytest.approx(told.loglik, abs=1e-5)
    assert np.allclose(fit.fitted(), told.fitted(), rtol=1e-3)
    assert np.allclose(fit.fixef()[["estimate", "std_error"]], told.fixef()[["estimate", "std_error"]], rtol=1e-2)
    assert blm.check(fit, progressbar=False)["identification"].level == "no"
    assert words in str(whole.explain())


def test_a_posterior_says_that_the_priors_split_the_sum():
    whole = model(UNTOLD[0][0], "poisson")
    assert UNTOLD[0][1] in untold_variances(whole.design)
    told = model("x + (1 | g) + (1 | gr(h, cov=B))", "poisson")
    assert untold_variances(told.design) == "" and can_judge(told.design)
