"""Degrees of freedom against their definitions, written out densely, on random designs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plain
import pytest
from hypothesis import assume, given
from strategies import examples, problems

from bayeslmm.covariances.template import Template
from bayeslmm.engine import inference, reml
from bayeslmm.errors import InputError, NotAvailableError


def interior(problem, *, by_reml):
    """A fit inside the parameter space: at the boundary a finite difference of the dense deviance is not defined."""
    fit = reml.fit(problem, reml=by_reml)
    assume(fit.status == "converged" and fit.sigma > 0.1)
    assume(all(np.linalg.cond(cov) < 1e4 and np.diag(cov).min() > 1e-2 for cov in fit.covariances))
    return fit


def with_fixed_part(problem):
    n = len(problem.y)
    x = np.cos(np.arange(n))
    return replace(problem, X=np.column_stack([np.ones(n), x]), y=problem.y + 0.5 * x)


@given(problems(max_factors=2, max_columns=2))
@examples(25)
def test_satterthwaite_equals_its_definition(problem):
    problem = with_fixed_part(problem)
    for by_reml in (True, False):
        fit = interior(problem, by_reml=by_reml)
        templates = [Template.from_blocks(b) for b in problem.blocks]
        ends = np.cumsum([t.n_theta for t in templates])[:-1]

        def lams(theta, templates=templates, ends=ends):
            return [t.factor(part) for t, part in zip(templates, np.split(theta, ends), strict=True)]

        def dense(v, by_reml=by_reml, lams=lams):
            return plain.deviance(problem, lams(v[:-1]), v[-1], reml=by_reml)

        def variance(v, lams=lams):
            V = v[-1] ** 2 * plain.relative_V(problem, lams(v[:-1]))
            return np.linalg.inv(problem.X.T @ np.linalg.solve(V, problem.X))[1, 1]

        at = np.append(fit.theta, fit.sigma)
        h = 1e-4 * np.eye(len(at))
        H = np.array(
            [
                [(dense(at + a + b) - dense(at + a - b) - dense(at - a + b) + dense(at - a - b)) / 4e-8 for b in h]
                for a in h
            ]
        )
        assume(np.linalg.eigvalsh(H)[0] > 1e-2)
        g = np.array([(variance(at + a) - variance(at - a)) / 2e-4 for a in h])
        expected = 2 * variance(at) ** 2 / (g @ (2 * np.linalg.inv(H)) @ g)
        about, contrast = inference.Satterthwaite.of(problem, fit), np.array([[0.0, 1.0]])
        # second differences of a function of size 100 with steps of 1e-4 leave 1e-5 of absolute error in H
        assert about.df(contrast)[0] == pytest.approx(expected, rel=5e-3)
        assert about.variances(contrast)[0] == pytest.approx(variance(at), rel=2e-6)


@given(problems(max_factors=3, max_columns=2))
@examples(40)
def test_kenward_roger_equals_its_definition(problem):
    problem = with_fixed_part(problem)
    fit = interior(problem, by_reml=True)
    for contrast in np.eye(2):
        about = inference.KenwardRoger.of(problem, fit)
        se, df = plain.kenward_roger(problem, fit.covariances, fit.sigma, contrast)
        assert np.sqrt(about.variances(contrast[None, :])[0]) == pytest.approx(se, rel=1e-6)
        assert about.df(contrast[None, :])[0] == pytest.approx(df, rel=1e-5)


@given(problems(max_factors=2, max_columns=2))
@examples(25)
def test_degrees_of_freedom_do_not_depend_on_units(problem):
    problem = with_fixed_part(problem)
    fit = interior(problem, by_reml=True)
    T = np.array([[1.0, 300.0], [0.0, 1000.0]])
    moved = replace(problem, X=problem.X @ T, y=7 * problem.y)
    again = reml.fit(moved)
    for method in (inference.Satterthwaite, inference.KenwardRoger):
        a = method.of(problem, fit).df(np.array([[0.0, 1.0]]))
        b = method.of(moved, again).df(np.array([[0.0, 1.0]]))
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_kenward_roger_refuses_what_it_is_not_defined_for(monkeypatch):
    rng = np.random.default_rng(1)
    from bayeslmm.engine.scaling import Problem

    g = np.repeat(np.arange(6), 5)
    problem = Problem(
        y=rng.normal(size=6)[g] * 2 + rng.normal(size=30),
        X=np.ones((30, 1)),
        codes=(g,),
        Z=(np.ones((30, 1)),),
        levels=(6,),
        blocks=(((0,),),),
        weights=None,
    )
    with pytest.raises(InputError, match="REML"):
        inference.KenwardRoger.of(problem, reml.fit(problem, reml=False))
    monkeypatch.setattr(inference, "MOST_EFFECTS", 5)
    with pytest.raises(NotAvailableError, match="6 × 6"):
        inference.KenwardRoger.of(problem, reml.fit(problem))
