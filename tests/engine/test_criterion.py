"""The average information and the steps of the search, against their definitions written out."""

from __future__ import annotations

import numpy as np
import plain
import pytest
from hypothesis import given
from strategies import examples, problems_with_theta

from bayeslmm.covariances.template import Template
from bayeslmm.engine.criterion import Criterion, Evaluation
from bayeslmm.engine.crossproducts import accumulate
from bayeslmm.engine.layout import arrange


def criterion_of(problem, *, reml):
    cross = accumulate(problem.X, problem.y, problem.codes, problem.Z, levels=problem.levels, weights=problem.weights)
    return Criterion(arrange(cross), [Template.from_blocks(b) for b in problem.blocks], reml=reml)


def dense_directions(problem, templates):
    """∂Λ/∂θ_i (m, m), whole."""
    zeros = [np.zeros((t.q, t.q)) for t in templates]
    for k, template in enumerate(templates):
        for r, c in zip(template.rows, template.columns, strict=True):
            one = np.zeros((template.q, template.q))
            one[r, c] = 1.0
            yield plain.dense_lambda(problem, [*zeros[:k], one, *zeros[k + 1 :]])


def dense_terms(problem, lams, *, reml):
    """P, with V⁻¹ in its place for ML, Py and σ̂²."""
    V, X = plain.relative_V(problem, lams), problem.X
    Vi = np.linalg.inv(V)
    P = Vi - Vi @ X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
    Py = P @ problem.y
    return P if reml else Vi, Py, problem.y @ Py / (len(problem.y) - (X.shape[1] if reml else 0))


@given(problems_with_theta())
@examples(40)
def test_average_information_equals_the_dense_formula(case):
    """Equation (5.2) of docs/theory.md."""
    problem, templates, theta = case
    Z = plain.dense_Z(problem)
    for reml in (True, False):
        criterion = criterion_of(problem, reml=reml)
        here = criterion.evaluate(theta)
        lams = criterion.lams(here.theta)
        P, Py, sigma2 = dense_terms(problem, lams, reml=reml)
        df = len(problem.y) - (problem.X.shape[1] if reml else 0)
        ZL = Z @ plain.dense_lambda(problem, lams)
        ZD = [Z @ d for d in dense_directions(problem, templates)]
        slopes = [d @ ZL.T + ZL @ d.T for d in ZD]
        forces = np.array([Py @ V @ Py for V in slopes])
        expected = np.array([[Py @ a @ P @ b @ Py for b in slopes] for a in slopes]) / sigma2
        expected -= np.outer(forces, forces) / (df * sigma2**2)
        for i, a in enumerate(ZD):
            for j, b in enumerate(ZD):
                bend = a @ b.T + b @ a.T
                expected[i, j] += np.trace(P @ bend) - Py @ bend @ Py / sigma2
        found = here.axes @ np.diag(here.curvatures) @ here.axes.T
        # Γ comes from (KΛ)Λ⁻¹, where an entry of 1e-7 in Λ costs seven digits
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        value, gradient = criterion(here.theta)
        assert here.value == value
        np.testing.assert_array_equal(here.gradient, gradient)


@given(problems_with_theta())
@examples(20)
def test_slopes_in_the_variances_equal_the_dense_formula(case):
    problem, templates, theta = case
    for reml in (True, False):
        criterion = criterion_of(problem, reml=reml)
        lams = criterion.lams(theta)
        for lam in lams:
            lam[np.diag_indices_from(lam)] = np.maximum(np.diag(lam), 1e-3)
        P, Py, sigma2 = dense_terms(problem, lams, reml=reml)
        slope = plain.dense_Z(problem).T @ (P - np.outer(Py, Py) / sigma2) @ plain.dense_Z(problem)
        start = 0
        for found, J, t in zip(criterion.variance_slopes(theta), problem.levels, templates, strict=True):
            own = slope[start : start + J * t.q, start : start + J * t.q].reshape(J, t.q, J, t.q)
            expected = np.einsum("jajb->ab", own)
            # three digits are lost to (KΛ)Λ⁻¹, on top of those of V⁻¹
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * np.abs(slope).max())
            start += J * t.q


def test_zeros_on_the_diagonal_are_left_and_signs_kept():
    codes = np.arange(12) % 4
    Z = np.column_stack([np.ones(12), np.arange(12.0)])
    cross = accumulate(np.ones((12, 1)), np.arange(12.0) ** 2, [codes], [Z], levels=(4,))
    criterion = Criterion(arrange(cross), [Template.from_blocks([(0, 1)])], reml=True)
    for asked, moved in (([0.0, 0.0, -1e-9], [1e-7, 0.0, -1e-7]), ([1e-9, 1e-9, -2e-7], [1e-7, 1e-9, -2e-7])):
        np.testing.assert_array_equal(criterion.evaluate(np.array(asked)).theta, moved)


def evaluation(curvatures, gradient, angle=0.7):
    """Of a criterion with these curvatures, and this gradient along their axes."""
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Evaluation(
        theta=np.zeros(2), value=0.0, gradient=axes @ gradient, curvatures=np.array(curvatures), axes=axes
    )


@pytest.mark.parametrize(
    ("curvatures", "along"),
    [
        ([0.5, 4.0], [-2.0, 0.75]),
        ([-2.0, 4.0], [0.0, 0.75]),  # it falls away along the first
        ([3e-10, 4.0], [0.0, 0.75]),  # and is flat here, which rounding hides
        ([5e-10, 4.0], [-2e9, 0.75]),
        ([-2.0, -1.0], [0.0, 0.0]),
    ],
)
def test_newton_steps_leave_flat_directions_alone(curvatures, along):
    gradient = np.array([1.0, -3.0])
    here = evaluation(curvatures, gradient)
    np.testing.assert_allclose(here.newton_step, here.axes @ along, rtol=1e-12, atol=1e-15)
    assert here.decrement == pytest.approx(-(gradient @ along), rel=1e-12)


def test_the_promise_of_a_step_is_the_fall_of_the_quadratic():
    here = evaluation([-2.0, 4.0], np.array([1.0, -3.0]))
    H = here.axes @ np.diag(here.curvatures) @ here.axes.T
    step = np.array([0.3, -1.1])
    assert here.promise(step) == pytest.approx(-here.gradient @ step - 0.5 * step @ H @ step, rel=1e-12)


def test_a_model_without_random_effects_has_nothing_to_search():
    y, X = np.array([1.0, 2.0, 4.0, 9.0]), np.column_stack([np.ones(4), np.arange(4.0)])
    criterion = Criterion(arrange(accumulate(X, y, [], [], levels=())), [], reml=False)
    here = criterion.evaluate(np.zeros(0))
    squares = np.linalg.lstsq(X, y)[1][0]
    assert here.value == pytest.approx(4.0 * (1.0 + np.log(2.0 * np.pi * squares / 4.0)), rel=1e-12)
    assert (here.gradient.shape, here.curvatures.shape, here.axes.shape) == ((0,), (0,), (0, 0))
    assert here.newton_step.shape == (0,) and here.decrement == 0.0
