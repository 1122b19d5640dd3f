"""Leaving one group out is the posterior of the others: against dense quadrature, on random designs of few groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors

PRIORS = {
    "Intercept": blm.Prior("Normal", mu=2.0, sigma=10.0),
    "x": blm.Prior("Normal", mu=0.0, sigma=4.0),
    "sd": blm.Prior("HalfStudentT", nu=3, sigma=1.5),
    "sigma": blm.Prior("HalfStudentT", nu=3, sigma=1.5),
}
# 8,000 draws: of 147 groups with k below 0.5 (4,000 draws) the largest error was 0.11, of refits 0.04
TOLERANCE = 0.15


def unbalanced(seed, J, inner, weighted):
    """J groups of unequal size, and in them, or across them, another factor; residual variance 1 / w."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, J)
    a, n = np.repeat(np.arange(J), sizes), int(sizes.sum())
    b = {"nested": 2 * a + rng.integers(0, 2, n), "crossed": rng.permutation(n) % 4, "none": a}[inner]
    w = rng.uniform(0.3, 3.0, n) if weighted else np.ones(n)
    x = rng.normal(size=n)
    y = 2.0 + 0.5 * x + rng.normal(size=J)[a] + rng.normal(size=n) / np.sqrt(w)
    if inner != "none":
        y += 0.6 * rng.normal(size=2 * J + 4)[b]
    return pd.DataFrame({"y": y, "x": x, "w": w, "a": [f"a{i}" for i in a], "b": [f"b{i}" for i in b]})


def by_quadrature(d, factors, nodes=20):
    """log p(y_j | the other groups) of every level of a (J,): β in closed form, sds on a grid."""

    def rule(low, high):
        u, weight = np.polynomial.legendre.leggauss(nodes)
        return low + (high - low) * (u + 1.0) / 2.0, np.log(weight * (high - low) / 2.0)

    u, of_u = rule(0.0, 4.5)
    t, of_t = rule(np.log(0.3), np.log(4.0))
    axes = [(0.3 * np.sinh(u), of_u + np.log(0.3 * np.cosh(u)))] * len(factors) + [(np.exp(t), of_t + t)]
    grid = np.stack([v.ravel() for v in np.meshgrid(*(a for a, _ in axes), indexing="ij")], axis=-1)
    log_weight = sum(v.ravel() for v in np.meshgrid(*(w for _, w in axes), indexing="ij"))
    log_weight = log_weight + (stats.t.logpdf(grid / 1.5, 3) + np.log(2.0 / 1.5)).sum(axis=1)
    X = np.column_stack([np.ones(len(d)), d["x"] - d["x"].mean()])
    mean, prior = X @ [2.0, 0.0], (X * [100.0, 16.0]) @ X.T
    same = [np.equal.outer(d[f].to_numpy(), d[f].to_numpy()).astype(float) for f in factors]
    parts = np.stack([*same, np.diag(1.0 / d["w"])])

    def evidence(rows):
        at = np.ix_(rows, rows)
        V = np.einsum("gk,kij->gij", grid**2, np.stack([part[at] for part in parts])) + prior[at]
        L = np.linalg.cholesky(V)
        z = np.linalg.solve(L, np.broadcast_to((d["y"] - mean).to_numpy()[rows, None], (len(grid), rows.sum(), 1)))
        log_det = 2.0 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
        log_density = -0.5 * ((z**2).sum(axis=(1, 2)) + log_det + rows.sum() * np.log(2.0 * np.pi))
        return logsumexp(log_weight + log_density)

    whole = evidence(np.ones(len(d), dtype=bool))
    return np.array([whole - evidence((d["a"] != level).to_numpy()) for level in sorted(d["a"].unique())])


def fitted(d, inner):
    formula = {"nested": "y ~ x + (1 | a) + (1 | b)", "none": "y ~ x + (1 | a)"}.get(inner)
    model = blm.Model(formula or "y ~ x + (1 | a) + (1 | b)", d, weights="w", priors=PRIORS)
    return model.fit(random_seed=1, draws=2000, progressbar=False)


@pytest.mark.parametrize(
    ("seed", "J", "inner", "weighted"),
    [(1, 6, "nested", True), (2, 4, "nested", False), (3, 8, "none", True), (4, 5, "none", False)],
)
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning")
def test_groups_are_predicted_by_the_others(seed, J, inner, weighted):
    d = unbalanced(seed, J, inner, weighted)
    found = fitted(d, inner).loo("a")
    expected = by_quadrature(d, ["a", "b"] if inner == "nested" else ["a"])
    np.testing.assert_allclose(found.elpd_i, expected, atol=TOLERANCE)
    assert (found.pareto_k <= found.good_k).all() and not found.warning


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning")
@pytest.mark.parametrize("inner", ["nested", "crossed"])
def test_folds_of_single_groups_are_the_same(inner):
    d = unbalanced(5, 5, inner, True)
    found = blm.kfold(fitted(d, inner), k=5, unit="a", progressbar=False)
    np.testing.assert_allclose(found.elpd_i, by_quadrature(d, ["a", "b"]), atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning")
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_a_group_far_from_few_others_is_refitted_or_named(family):
    """Its Pareto k is above 0.5, where weights of few groups are off by tenths."""
    d = unbalanced(6, 6, "nested", True)
    d["y"] += np.where(d["a"] == "a2", 6.0, 0.0)
    if family == "poisson":
        d["y"] = fixed_rng(1).poisson(np.exp(np.clip(d["y"] / 2.0, -2.0, 4.5)))
    weights = "w" if family == "gaussian" else None
    how = {"random_seed": 1, "draws": 500, "chains": 2, "progressbar": False}
    post = blm.Model("y ~ x + (1 | a) + (1 | b)", d, family=family, weights=weights).fit(**how)
    with pytest.warns(errors.SamplingWarning, match="of 6 groups of a have a Pareto k above 0.50"):
        raw = post.loo("a", refit=False)
    assert raw.good_k == 0.5 and raw.warning and float(raw.pareto_k.sel(a="a2")) > 0.5
    mended = post.loo("a")
    assert not mended.warning and float(mended.pareto_k.sel(a="a2")) == 0.0
    folds = blm.kfold(post, k=6, unit="a", progressbar=False)
    # 1,000 draws each, few of which have the sd that a2 needs: that one differed by 1.0 over seeds, the others by 0.1
    far = np.abs(mended.elpd_i - folds.elpd_i)
    assert float(far.sel(a="a2")) < 3.0 and float(far.drop_sel(a="a2").max()) < 0.5


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning")
@pytest.mark.parametrize(("seed", "far"), [(7, 8.0), (8, 12.0)])
def test_a_group_far_from_the_others_is_predicted_as_by_quadrature(seed, far):
    """Few draws of the others' posterior lie where it is likely: those of all groups make up for it."""
    d = unbalanced(seed, 6, "none", True)
    d["y"] += np.where(d["a"] == "a2", far, 0.0)
    post = fitted(d, "none")
    with pytest.warns(errors.SamplingWarning, match="Pareto k above 0.50"):
        assert post.loo("a", refit=False).warning
    off = np.abs(post.loo("a").elpd_i - by_quadrature(d, ["a"], nodes=40))
    # that of a2 has a Monte Carlo error of its own, of which no more than 0.2 is called good
    assert float(off.sel(a="a2")) < 0.6 and float(off.drop_sel(a="a2").max()) < TOLERANCE


def test_a_refit_that_does_not_reach_a_group_is_told(monkeypatch):
    d = unbalanced(7, 6, "none", True)
    d["y"] += np.where(d["a"] == "a2", 8.0, 0.0)
    post = fitted(d, "none")
    monkeypatch.setattr("bayeslmm.results.loo.log_ratio", lambda one, other: (-9.0, 0.5))
    with pytest.warns(errors.SamplingWarning, match="the Monte Carlo error is still above 0.2. Fit with more draws"):
        found = post.loo("a")
    assert found.warning and float(found.pareto_k.sel(a="a2")) > 0.5
