"""The compiled search beside the one in Python, and what fits of one design share."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from numpy.random import SeedSequence, default_rng
from strategies import examples, problems

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.engine import bootstrap, criterion, kept, newton, profile, refitting, reml
from bayeslmm.engine.scaling import Problem
from bayeslmm.tools.compiling import Readiness


def problem_of(name, formula):
    return Problem.of(build_design(formula, blm.load_dataset(name)))


@pytest.fixture(autouse=True)
def ready(monkeypatch):
    """The compiled search, kept from before or not."""
    monkeypatch.setattr(newton.is_ready, "evaluations", newton.WORTH_COMPILING)


@pytest.fixture(scope="module")
def sleep():
    return problem_of("sleepstudy", "Reaction ~ Days + (Days | Subject)")


@given(problems())
@examples(60)
def test_both_searches_take_the_same_steps(problem):
    """From one start: the same end after as many evaluations, for the arithmetic differs in its rounding alone."""
    with pytest.MonkeyPatch.context() as patch:
        fits = []
        for most in (0, criterion.MOST_EFFECTS):
            patch.setattr(criterion, "MOST_EFFECTS", most)
            _, of = criterion.prepare(problem, reml=True)
            assert of.is_small == (most > 0 and len(of.diagonal) > 0)
            fits.append((of, reml._descend(of, 1.0 * of.diagonal)))
    (slow, one), (fast, other) = fits
    # rounding of the criterion is some 1e-13 of it; where the data say little of θ̃ the steps along it differ more
    assert other.value == pytest.approx(one.value, rel=1e-10, abs=1e-8)
    for mine, theirs in zip(fast.lams(other.theta), slow.lams(one.theta), strict=True):
        flat = other.curvatures[0] < 1e-4 * max(other.curvatures[-1], 1.0)
        np.testing.assert_allclose(mine @ mine.T, theirs @ theirs.T, atol=1e-2 if flat else 1e-5, rtol=1e-4)


@pytest.mark.parametrize("name, formula", [
    ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
    ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ("pastes", "strength ~ 1 + (1 | batch / cask)"),
    ("dyestuff2", "Yield ~ 1 + (1 | Batch)"),
])  # fmt: skip
@pytest.mark.parametrize("restricted", [True, False])
def test_both_searches_count_the_same_evaluations(name, formula, restricted, monkeypatch):
    problem = problem_of(name, formula)
    fast = reml.fit(problem, reml=restricted)
    monkeypatch.setattr(criterion, "MOST_EFFECTS", 0)
    slow = reml.fit(problem, reml=restricted)
    assert (fast.status, fast.singular, fast.evaluations) == (slow.status, slow.singular, slow.evaluations)
    np.testing.assert_allclose(fast.theta, slow.theta, atol=1e-9)  # of a Newton search that ends at 1e-7 of an error
    assert fast.criterion == pytest.approx(slow.criterion, abs=1e-9)


def test_a_search_stops_at_a_rival_and_says_so(sleep):
    _, of = criterion.prepare(sleep, reml=True)
    best = reml.optimum(of)
    assert of.searched(1.0 * of.diagonal, best.value)[1] == newton.NOT_LOWER
    assert of.searched(1.0 * of.diagonal, best.value + 1.0)[1] == newton.AT_REST


def test_numbers_that_break_down_are_left_to_python(sleep):
    _, of = criterion.prepare(sleep, reml=True)
    assert of.searched(np.full(3, np.nan), np.inf) == (None, newton.BROKEN)


def test_the_gradient_of_a_held_sigma_is_that_of_python(sleep):
    from bayeslmm.engine import inference

    solution = reml.fit(sleep)
    _, of = criterion.prepare(sleep, reml=True)
    theta = solution.scaled_theta + [0.1, -0.05, 0.2]
    compiled = of.gradient_given_sigma(theta, 20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(criterion.Criterion, "gradient_given_sigma", lambda *_: None)
        np.testing.assert_allclose(compiled, inference._gradient_given_sigma(of, theta, 20.0), rtol=1e-10)
    assert of.gradient_given_sigma(np.array([1.0, 0.1, 0.0]), 20.0) is None  # it would be moved


def test_a_first_fit_does_not_wait_for_the_search_to_be_compiled(tmp_path):
    class Search:  # one that was never compiled
        signatures: tuple = ()
        _cache = type("Cache", (), {"cache_path": str(tmp_path)})

    ready = Readiness(Search, "newton.search", 10)
    assert not ready()
    ready.evaluations = 10
    assert ready()
    assert not Readiness(lambda *_: None, "newton.search", 0)()  # numba is told not to compile


@pytest.mark.parametrize("n", [1, 2, 3, 6, newton.SMALL, newton.SMALL + 1])
def test_eigenvalues_are_those_of_lapack(n):
    rng = default_rng(n)
    B = rng.normal(size=(n, n)) * np.logspace(-4.0, 4.0, n)
    for H in (B @ B.T, np.diag(np.arange(n) - 1.0), np.zeros((n, n)), rng.normal(size=(n, n))):
        H = H + H.T
        values, vectors = np.empty(n), np.empty((n, n))
        newton._eigen(H.copy(), values, vectors)
        size = max(float(np.abs(H).max()), 1e-300)
        assert (np.diff(values) >= 0.0).all()
        # rounding of sums of n products
        np.testing.assert_allclose(values / size, np.linalg.eigvalsh(H) / size, atol=1e-13 * n)
        np.testing.assert_allclose((vectors * values) @ vectors.T / size, H / size, atol=1e-13 * n)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-13 * n)


# -- what is shared


def test_other_arrays_are_not_those_that_are_kept(sleep):
    assert kept.kept_of(sleep) is kept.kept_of(replace(sleep, y=2.0 * sleep.y))
    weights = np.linspace(0.5, 2.0, 180)
    weights.setflags(write=False)
    others = [
        replace(sleep, Z=(sleep.Z[0].copy(),)),
        replace(sleep, weights=weights),
        replace(sleep, blocks=(((0,), (1,)),), structures=()),
        replace(sleep, intercept=None),
    ]
    others[0].Z[0].setflags(write=False)
    for other in others:
        assert kept.kept_of(other) is not kept.kept_of(sleep)
    assert kept.kept_of(replace(sleep, weights=np.ones(180))) is None  # which may change


def test_what_is_kept_goes_with_its_design():
    problem = problem_of("sleepstudy", "Reaction ~ Days + (1 | Subject)")
    gone = weakref.ref(kept.kept_of(problem))
    del problem
    gc.collect()
    assert gone() is None


def test_shared_cross_products_are_those_of_a_new_problem(sleep):
    y = default_rng(1).normal(size=180)
    shared, _ = criterion.prepare(replace(sleep, y=y), reml=True)
    alone, _ = criterion.prepare(replace(sleep, y=y, X=sleep.X.copy()), reml=True)  # writeable: nothing is kept
    np.testing.assert_allclose(shared.cross.XytXy, alone.cross.XytXy, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(shared.cross.ZtXy[0], alone.cross.ZtXy[0], rtol=1e-12, atol=1e-12)
    assert shared.y_center == alone.y_center


@pytest.mark.parametrize("formula", [
    "Reaction ~ Days + (Days | Subject)", "Reaction ~ 0 + Days + (Days || Subject)", "Reaction ~ 1 + (1 | Subject)"
])  # fmt: skip
def test_refits_of_many_are_those_one_by_one(formula):
    problem = problem_of("sleepstudy", formula)
    solution = reml.fit(problem)
    of = profile.parameters(problem)
    rows = bootstrap.refits(problem, solution, SeedSequence(5).spawn(12))
    alone = []
    for seed in SeedSequence(5).spawn(12):
        y = bootstrap.simulate(problem, solution, default_rng(seed))
        alone.append(bootstrap._refitted(replace(problem, y=y), solution, of))
    np.testing.assert_allclose(rows, alone, rtol=1e-7)


def test_what_is_near_a_boundary_is_left_to_the_whole_search(sleep):
    flat = replace(sleep, y=sleep.X @ [250.0, 10.0])
    noise = default_rng(3).normal(size=(6, 180))
    again = refitting.refits(sleep, flat.y + noise, reml=True, start=np.array([1.0, 0.0, 1.0]))
    assert not again.regular.all()
    for y, regular in zip(flat.y + noise, again.regular, strict=True):
        # one that is not at the boundary may be left to the search as well
        assert not (regular and any(reml.fit(replace(sleep, y=y)).singular))
