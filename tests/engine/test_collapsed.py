"""Balanced data by fewer levels, and derivatives by strata of rows, against the criterion of all levels and rows."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.engine import reml
from bayeslmm.engine.collapsed import Collapsed, collapsed
from bayeslmm.engine.criterion import prepare
from bayeslmm.engine.residual_search import Criteria
from bayeslmm.engine.scaling import Problem


def table(levels=60, occasions=3, *, lost=0):
    """Two rows an occasion of every level, of the first ``lost`` levels without one occasion."""
    i = np.arange(levels * occasions * 2)
    g, t = i // (2 * occasions), i // 2 % occasions
    data = pd.DataFrame({"g": g, "t": t, "x": np.sin(3.0 * i), "w": 1.0 + g % 2})
    data["y"] = data["x"] + np.cos(5.0 * g) + np.sin(7.0 * g * (1 + t)) + 0.5 * np.cos(11.0 * i)
    return data[(data["g"] >= lost) | (data["t"] > 0)]


def criterion_of(data, bar="cs(0 + C(t) | g)", *, is_reml=True, **options):
    problem = Problem.of(blm.Model(f"y ~ x + {bar}", data, **options).design)
    return prepare(problem, reml=is_reml)[1]


@pytest.mark.parametrize("is_reml", [True, False])
@pytest.mark.parametrize("bar", ["cs(0 + C(t) | g)", "ar1(0 + C(t) | g)", "us(0 + C(t) | g)"])
@pytest.mark.parametrize("options", [{}, {"weights": "w"}])
def test_fewer_levels_have_the_same_criterion_and_derivatives(bar, is_reml, options):
    whole = criterion_of(table(levels=100, lost=40), bar, is_reml=is_reml, **options)
    fewer = collapsed(whole) if not whole.is_compiled else _of_linear(whole)
    assert isinstance(fewer, Collapsed) and fewer.layout.m < whole.layout.m / 2
    kinds = 4 if options else 2
    assert len(fewer.counts) == kinds and fewer.counts.sum() + fewer.layout.cross.levels[0] == 100
    for scale in (1.0, 0.3, 2.0):
        theta = np.where(whole.diagonal, scale, 0.2)
        here, there = whole.evaluate(theta), fewer.evaluate(theta)
        assert there.value == pytest.approx(here.value, rel=1e-12)
        np.testing.assert_allclose(there.gradient, here.gradient, rtol=1e-8, atol=1e-8 * np.abs(here.gradient).max())
        H, K = ((e.axes * e.curvatures) @ e.axes.T for e in (here, there))
        np.testing.assert_allclose(K, H, atol=1e-8 * np.abs(H).max())
    for mine, theirs in zip(fewer.variance_slopes(theta), whole.variance_slopes(theta), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-8 * np.abs(theirs).max())


def _of_linear(whole):
    """What `collapsed` makes where no compiled loop searches."""
    whole.__dict__["is_small"] = False
    return collapsed(whole)


def test_levels_that_differ_stay():
    balanced = criterion_of(table(), "cs(0 + C(t) | g)")
    assert collapsed(balanced) is not balanced
    data = table()
    data["own"] = 1.0 + 0.01 * data["g"]
    each = criterion_of(data, "cs(0 + C(t) | g)", weights="own")
    assert collapsed(each) is each
    crossed = criterion_of(data.assign(h=data.index % 5), "cs(0 + C(t) | g) + (1 | h)")
    assert collapsed(crossed) is crossed
    few = criterion_of(table(levels=20), "cs(0 + C(t) | g)")
    assert collapsed(few) is few


def test_fits_by_fewer_levels_are_those_of_all(monkeypatch):
    model = blm.Model("y ~ x + cs(0 + C(t) | g)", table(lost=7))
    fewer = model.fit_reml()
    monkeypatch.setattr(reml, "collapsed", lambda criterion: criterion)
    whole = model.fit_reml()
    assert fewer.criterion == pytest.approx(whole.criterion, rel=1e-12)
    np.testing.assert_allclose(fewer.solution.theta, whole.solution.theta, rtol=1e-6)
    np.testing.assert_allclose(fewer.solution.modes[0], whole.solution.modes[0], atol=1e-6)
    assert fewer.solution.evaluations > 5


def test_of_many_levels_an_evaluation_costs_a_third_at_most():
    whole = criterion_of(table(levels=2000, occasions=6))
    fewer = collapsed(whole)
    theta = 0.5 * whole.diagonal

    def seconds(criterion):
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            criterion.evaluate(theta)
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(fewer) < seconds(whole) / 3.0  # a tenth on a machine at rest


@pytest.mark.parametrize("is_reml", [True, False])
@pytest.mark.parametrize(("bars", "options"), [("", {}), ("+ (x | g) + (1 | h)", {}), ("+ (x | g)", {"weights": "w"})])
def test_derivatives_by_sds_of_strata_are_those_of_differences(is_reml, bars, options):
    data = table(levels=12).assign(h=lambda d: d["g"] * 7 % 5)
    problem = Problem.of(blm.Model(f"y ~ x {bars}", data, sigma="~ C(t)", **options).design)
    criteria = Criteria(problem, reml=is_reml)
    free = np.array([0.3, -0.4])
    diagonal = criteria.at(criteria.residual.natural(free)).diagonal
    theta = np.where(diagonal, 0.7, 0.2)
    exact = criteria.gradient(free, theta)
    criteria._strata = None  # so that rows are weighted anew, and differences taken
    np.testing.assert_allclose(exact, criteria.gradient(free, theta), atol=1e-7 * np.abs(exact).max())
