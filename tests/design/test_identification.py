"""Which variances the data tell: the rank of the derivatives of V, against their rank as dense matrices."""

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design.build import build_design
from bayeslmm.design.identification import identification, words_of
from bayeslmm.engine import ridge
from bayeslmm.engine.criterion import prepare
from bayeslmm.engine.scaling import Problem
from bayeslmm.families import family_of

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


def schools(seed=1, levels=12, rows=6):
    rng = np.random.default_rng(seed)
    n = levels * rows
    d = pd.DataFrame({"x": rng.normal(3, 1, n), "s": np.repeat([f"s{i:02d}" for i in range(levels)], rows)})
    d["c"], d["e"] = "c" + d.s, "e" + d.s
    d["g"], d["f"] = np.arange(n) % 5, np.array(list("ab"))[np.arange(n) % 2]
    d["cell"] = d.s + d.f
    d["z"] = np.repeat(rng.normal(size=levels), rows)
    d["b"] = np.repeat(np.arange(levels) % 2, rows)
    d["w"] = rng.uniform(1, 9, n)
    d["half"] = np.repeat(np.arange(levels) // 2, rows)
    d["y"] = d.x + np.repeat(rng.normal(0, 2, levels), rows) + rng.normal(size=n)
    return d


def derivatives(design, *, project):
    """All derivatives of V as vectors (n², entries), between the columns that span what X leaves."""
    root = np.ones(design.n) if design.weights is None else np.sqrt(design.weights)
    N = np.eye(design.n)
    if project:
        left, values, _ = np.linalg.svd(design.X * root[:, None])
        N = left[:, (values > 1e-10 * values.max()).sum() :]
    columns = []
    for g in design.groups:
        Z = np.zeros((design.n, g.n_levels, g.q))
        like_sized = np.hstack([np.linalg.qr(g.Z[:, block])[0] for block in g.blocks])  # spans the same, rank stays
        Z[np.arange(design.n), g.codes] = like_sized * root[:, None] * np.sqrt(design.n)
        Z = np.einsum("nm,njq->mjq", N, Z)
        for block in g.blocks:
            for i, a in enumerate(block):
                for b in block[: i + 1]:
                    half = np.einsum("mj,nj->mn", Z[:, :, a], Z[:, :, b])
                    columns.append((half + half.T).reshape(-1))
    if design.family.has_residual:
        columns.append(np.eye(N.shape[1]).reshape(-1))
    return np.column_stack(columns)


def deficiency(A):
    size = np.linalg.norm(A, axis=0)
    kept = A[:, size > 1e-7 * size.max()] / size[size > 1e-7 * size.max()]
    return A.shape[1] - np.linalg.matrix_rank(kept, tol=1e-6)


FORMULAS = [
    "y ~ x + (1 | s)",
    "y ~ x + (x | s)",
    "y ~ x + (x || s)",
    "y ~ x + (1 | s / c)",
    "y ~ x + (1 | s) + (1 | c)",
    "y ~ x + (1 | s) + (1 | c) + (1 | e)",
    "y ~ x + (1 | s) + (1 | c) + (1 | g)",
    "y ~ x + (1 | s) + (1 | g) + (1 | cell)",
    "y ~ x + (x | s) + (1 | c)",
    "y ~ x + (x | s) + (x | c)",
    "y ~ x + (x || s) + (x | c)",
    "y ~ x + (1 | s) + (0 + x | c)",
    "y ~ x + (z | s)",
    "y ~ x + (b | s)",
    "y ~ x + (b || s)",
    "y ~ b + (b | s)",
    "y ~ f + (f || s)",
    "y ~ f + (0 + f | s)",
    "y ~ f + (0 + f | s) + (1 | c)",
    "y ~ f + (1 | s) + (1 | s:f)",
    "y ~ f + (1 | s:f) + (1 | cell)",
    "y ~ s + (1 | c)",
    "y ~ s + (x | c)",
    "y ~ s + (1 | half)",
    "y ~ half + (1 | half / s)",
    "y ~ x + (1 | half / s / c)",
    "y ~ 0 + x + (1 | s) + (0 + x | s)",
    "y ~ I(x + 1000) + (I(x + 1000) | s)",
    "y ~ I(x + 1000) + (1 | s) + (0 + I(x + 1000) | s)",
    "y ~ I(1e6 * x) + (I(1e6 * x) | s)",
]


@pytest.mark.parametrize("project", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_rank_is_that_of_dense_derivatives(formula, weights, project):
    design = build_design(formula, schools(), weights=weights)
    found = identification(design, beside_fixed=project)
    A = derivatives(design, project=project)
    assert len(found.directions) == deficiency(A)
    problem = Problem.of(design)
    by_fit = ridge.identification(problem, prepare(problem, reml=project)[0], reml=project)
    assert len(by_fit.directions) == len(found.directions) and by_fit.untold == found.untold
    assert words_of(by_fit, design) == words_of(found, design)


@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
@pytest.mark.parametrize("formula", [f for f in FORMULAS if "half" not in f][:20])
def test_other_families_have_no_residual(formula, family):
    data = schools().assign(y=lambda d: (d.y > d.y.median()).astype(int))
    design = build_design(formula, data, family=family_of(family, None))
    assert len(identification(design).directions) == deficiency(derivatives(design, project=True))


SMALL = [
    "y ~ x + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + (x || g)",
    "y ~ 1 + (1 | g) + (1 | h)",
    "y ~ x + (1 | h / g)",
    "y ~ 0 + C(h) + (1 | g)",
    "y ~ 1 + (x | g) + (1 | h)",
]


@pytest.mark.parametrize("seed", range(80))
def test_random_designs_with_few_rows_a_level(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 26))
    d = pd.DataFrame({"x": rng.integers(0, 3, n) + (rng.random(n) if seed % 2 else 0.0), "y": rng.normal(size=n)})
    d["x"] += np.arange(n) == 0  # varies
    d["g"], d["h"] = rng.integers(0, max(2, n // 2), n), np.arange(n) % 4
    d["w"] = rng.choice([1.0, 2.0], n)
    weights = "w" if rng.random() < 0.5 else None
    formula = str(rng.choice(SMALL))
    monkeypatch.setattr("bayeslmm.design.build.refuse_untold_residual", lambda design: None)
    design = build_design(formula, d, weights=weights)
    for project in (True, False):
        A = derivatives(design, project=project)
        found = identification(design, beside_fixed=project)
        assert len(found.directions) == deficiency(A)
        assert found.involves_residual == (deficiency(A[:, :-1]) < deficiency(A))
    monkeypatch.undo()
    if found.involves_residual:  # of V itself
        with pytest.raises(errors.UnidentifiedTermError, match="residual"):
            build_design(formula, d, weights=weights)
    else:
        build_design(formula, d, weights=weights)


@pytest.mark.parametrize(
    ("formula", "known"),
    [
        ("y ~ x + (1 | s / c)", "only sd(s)² + sd(s:c)² is known"),
        ("y ~ x + (1 | s) + (1 | c) + (1 | e)", "only sd(s)² + sd(c)² + sd(e)² is known"),
        ("y ~ x + (x | s) + (1 | c)", "only sd(s)² + sd(c)² is known"),
        ("y ~ x + (x || s) + (x || c)", "only sd(s)² + sd(c)² and sd(x | s)² + sd(x | c)² are known"),
        ("y ~ x + (b | s)", "only cov(Intercept, b | s) + 0.5·sd(b | s)² is known"),
        ("y ~ s + (1 | c)", "the data say nothing about sd(c)²"),
        (
            "y ~ f + (1 | s:f) + (1 | cell) + (1 | s) + (1 | c)",
            "only sd(s:f)² + sd(cell)² and sd(s)² + sd(c)² are known",
        ),
    ],
)
def test_the_words_name_the_terms_and_what_is_known(formula, known):
    model = blm.Model(formula, schools())
    assert words_of(identification(model.design), model.design) == known
    (trap,) = [t for t in model.explain().traps if "do not tell all variances" in t]
    assert known in trap


def test_one_level_in_ten_thousand_tells_two_variances_apart():
    s = np.repeat(np.arange(10_000), 2)
    d = pd.DataFrame({"s": s, "c": s, "y": np.random.default_rng(0).normal(size=len(s))})
    assert not identification(build_design("y ~ 1 + (1 | s) + (1 | c)", d)).is_full
    d.loc[0, "c"] = 10_000
    assert identification(build_design("y ~ 1 + (1 | s) + (1 | c)", d)).is_full


@pytest.mark.parametrize(
    ("formula", "weights", "identified"),
    [
        ("y ~ 1 + (1 | row)", None, False),
        ("y ~ 1 + (1 | row)", "w", True),
        ("y ~ 1 + (1 | s) + (1 | row)", None, False),
        ("y ~ x + (f * x | pair)", None, False),
        ("y ~ f + (f | pair)", None, False),
        ("y ~ x + (x | pair)", None, True),
    ],
)
def test_as_many_effects_as_rows_are_refused_only_where_they_are_the_residual(formula, weights, identified):
    data = schools().assign(row=range(72), pair=np.arange(72) // 2)
    if identified:
        assert identification(build_design(formula, data, weights=weights)).is_full
        return
    with pytest.raises(errors.UnidentifiedTermError, match=r"cannot be told from the residual: only .*sigma²"):
        build_design(formula, data, weights=weights)


def cells(positions):
    """One row of every subject at every position: an AR(1) beside what lasts."""
    rng = np.random.default_rng(3)
    e = rng.normal(size=(30, positions)) + rng.normal(size=(30, 1))
    t, u = np.tile(np.arange(positions), 30), np.repeat(np.arange(30), positions)
    return pd.DataFrame({"y": e.ravel(), "t": t, "u": u, "f": [f"t{k}" for k in t]})


@pytest.mark.parametrize("bar", ["cs(0 + f | u, hom=True)", "diag(0 + f | u, hom=True)"])
def test_residuals_that_are_correlated_are_no_multiple_of_the_unit_matrix(bar):
    """Four positions have four covariances, of which cs and ar1 have four parameters; three positions have three."""
    design = build_design(f"y ~ 1 + {bar}", cells(4), residual="ar1(t | u)")
    assert design.residual is not None
    if bar.startswith("cs"):
        with pytest.raises(errors.UnidentifiedTermError, match="too few, or too alike"):
            build_design(f"y ~ 1 + {bar}", cells(3), residual="ar1(t | u)")
    with pytest.raises(errors.UnidentifiedTermError, match="residual"):
        build_design(f"y ~ 1 + {bar}", cells(4))
