"""One model in two guises: other rows, labels, columns, units or words, and the same fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from strategies import SCALES, Table, examples, problems, tables

from bayeslmm import errors
from bayeslmm.engine import reml

from .same import CRITERION, check_same, fit, quietly

SEEDS = st.integers(0, 2**32 - 1)
BY_REML = st.booleans()
# slopes beside a correlated intercept and the fixed intercept: no zero of x is special
FREE_OF_ZERO = {
    1: ("(1 | {})",),
    2: ("(x | {})", "(f | {})"),
    3: ("(x + z | {})",),
    4: ("(x * z | {})", "(x + z + t | {})"),
}
WITH_INTERCEPT = ("x", "x + z", "x * z", "x * f", "x + t * z")


@examples(10)
@given(tables(), SEEDS, BY_REML)
def test_rows_in_another_order(table, seed, by_reml):
    order = np.random.default_rng(seed).permutation(len(table.data))
    one, other = fit(table, reml=by_reml), fit(table.changed(lambda d: d.iloc[order]), reml=by_reml)
    check_same(one, other, rows=order)


@examples(10)
@given(tables(), SEEDS, st.sampled_from(["texts", "integers", "categories", "fractions"]))
def test_levels_by_other_names(table, seed, kind):
    """Names decide the order of levels, and with it the order of elimination."""
    rng = np.random.default_rng(seed)

    def rename(data):
        for name in [column for column in ("g", "h", "k") if column in data]:
            old = data[name].unique()
            new = rng.permutation(len(old))
            labels = {"texts": [f"level {i}" for i in new], "integers": list(new - 2), "fractions": list(new / 4)}
            column = data[name].map(dict(zip(old, labels.get(kind, [f"{i}" for i in new]), strict=True)))
            data[name] = column.astype("category") if kind == "categories" else column
        return data

    one, other = fit(table), fit(table.changed(rename))
    check_same(one, other)
    for a, b in zip(one.design.groups, other.design.groups, strict=True):
        assert len(a.levels) == len(b.levels)


@examples(10)
@given(tables(fixed=("x", "x + z", "x * f", "0 + x", "0 + f + x")), st.sampled_from(["twice", "far", "sum"]))
def test_a_column_that_says_nothing_new(table, kind):
    """It is named, left out, and nothing changes; in the last place of the formula it is the one that goes."""
    has_intercept = "0 +" not in table.formula

    def add(data):
        changes = {"twice": data["x"], "far": -3.0 * data["x"] + (7.0 * data["x"].std() if has_intercept else 0.0)}
        changes["sum"] = data["x"] + (data["z"] if "z" in table.formula.split(" + ")[1:2] else 0.0)
        return data.assign(copy=changes[kind])

    wider = table.changed(add)
    first, bars = wider.formula.split(" + (", 1)
    wider = Table(formula=f"{first} + copy + ({bars}", data=wider.data, options=wider.options)
    with pytest.warns(errors.AliasedColumnsWarning, match="copy"):
        other = wider.model()
    assert other.design.aliased == ("copy",)
    one = fit(table)
    again = quietly(other.fit_reml)
    np.testing.assert_array_equal(again.design.X, one.design.X)
    check_same(one, again)


@examples(10)
@given(tables(fixed=WITH_INTERCEPT), st.sampled_from(SCALES), st.sampled_from([0.0, -40.0, 3e4]), BY_REML)
def test_response_in_other_units_and_from_another_zero(table, scale, shift, by_reml):
    spread = table.data["y"].std()

    def move(data):
        return data.assign(y=(data["y"] - shift * spread) / scale, o=data["o"] / scale)

    check_same(fit(table, reml=by_reml), fit(table.changed(move), reml=by_reml), scale=scale, shift=shift * spread)


@examples(10)
@given(tables(), st.lists(st.sampled_from(SCALES), min_size=3, max_size=3), BY_REML)
def test_predictors_in_other_units(table, scales, by_reml):
    factors = dict(zip(("x", "z", "t"), scales, strict=True))
    other = table.changed(lambda d: d.assign(**{name: d[name] * c for name, c in factors.items()}))
    check_same(fit(table, reml=by_reml), fit(other, reml=by_reml))


@examples(10)
@given(tables(fixed=WITH_INTERCEPT, bars=FREE_OF_ZERO, locations=(0.0,)), st.sampled_from([-3.0, 50.0, 2e3]), BY_REML)
def test_predictors_from_another_zero(table, location, by_reml):
    """Such as years of the calendar instead of years since the first."""

    def move(data):
        return data.assign(**{name: data[name] + location * data[name].std() for name in ("x", "z", "t")})

    check_same(fit(table, reml=by_reml), fit(table.changed(move), reml=by_reml))


@examples(20)
@given(problems(max_factors=2, max_columns=4), SEEDS, st.sampled_from([1.0, 300.0]))
def test_columns_of_a_block_plus_multiples_of_those_before(problem, seed, size):
    """As when a predictor, its square and its products are measured from another zero: the search takes the same way.

    (Any other columns that span the same are the same model, but in small crowded designs another optimum may be met.)
    """
    effects = sum(J * Z.shape[1] for J, Z in zip(problem.levels, problem.Z, strict=True))
    assume(effects + problem.X.shape[1] < len(problem.y))  # else the residual variance may go to zero
    rng = np.random.default_rng(seed)
    maps, Z = [], []
    for old, blocks in zip(problem.Z, problem.blocks, strict=True):
        A = np.diag(10.0 ** rng.uniform(-3, 3, old.shape[1]))
        for block in blocks:
            order = sorted(block, key=lambda c: np.ptp(old[:, c]) > 0)  # the constant column stays constant
            for i, c in enumerate(order):
                A[order[:i], c] = A[c, c] * size * rng.normal(size=i)
        maps.append(A)
        Z.append(np.ascontiguousarray(old @ A))
    one, other = reml.fit(problem), reml.fit(replace(problem, Z=tuple(Z)))
    event(f"a fit is {one.status}")
    assert "failed" not in (one.status, other.status)
    assert other.criterion == pytest.approx(one.criterion, abs=CRITERION)
    for cov, moved, A in zip(one.covariances, other.covariances, maps, strict=True):
        sizes = np.sqrt(np.diag(cov)) + one.sigma
        rounding = 1e-15 * (np.abs(A) @ np.abs(moved) @ np.abs(A).T)  # what is taken off again may be far larger
        away = np.abs(A @ moved @ A.T - cov)
        assert np.all(away < 1e-3 * np.outer(sizes, sizes) + rounding)


WORDS = {
    "(x || {0})": "(1 | {0}) + (0 + x | {0})",
    "(x + z || {0})": "(1 | {0}) + (0 + x | {0}) + (0 + z | {0})",
    "(0 + x || {0})": "(0 + x | {0})",
    "(x | {0})": "(1 + x | {0})",
    "(x - 1 | {0})": "(0 + x | {0})",
    "(x * z | {0})": "(1 + x + z + x:z | {0})",
    "(1 | {0} / h)": "(1 | {0}) + (1 | {0}:h)",
    "(x | {0} / h)": "(x | {0}) + (x | {0}:h)",
    "(1 | {0} / h / k)": "(1 | {0}) + (1 | {0}:h) + (1 | {0}:h:k)",
}


@examples(20)
@given(tables(bars={1: ("(1 | {})",)}, max_factors=3), st.sampled_from(list(WORDS)))
def test_sugar_and_what_it_stands_for(table, short):
    """The arrays are the same to the last bit, so every fit is."""
    if any(name in short and name not in table.data for name in ("h", "k")):
        short = "(x || {0})"
    designs = []
    for bar in (short, WORDS[short]):
        words = Table(formula=f"y ~ x + {bar.format('g')}", data=table.data, options=table.options)
        try:
            designs.append(quietly(words.model).design)
        except errors.UnidentifiedTermError:  # as many cells of g:h as rows
            designs.append(None)
    if None in designs:
        assert designs == [None, None]
        return
    for a, b in zip(designs[0].groups, designs[1].groups, strict=True):
        assert (a.name, a.levels, a.columns, a.blocks) == (b.name, b.levels, b.columns, b.blocks)
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.Z, b.Z)


@examples(10)
@given(tables(), SEEDS)
def test_predictions_for_the_rows_of_the_fit_are_its_fitted_values(table, seed):
    """As a new table, in another order, with columns and rows that the fit never saw around them."""
    found = fit(table)
    order = np.random.default_rng(seed).permutation(len(table.data))
    rows = table.data.iloc[order].assign(another=1.0).drop(columns="y")
    predicted = quietly(lambda: found.predict(rows, groups="observed"))
    size = np.abs(found.design.X @ found.solution.beta).max(initial=0.0) + np.abs(found.design.y).max()
    # products of X and β̂ cancel where predictors are far from zero
    rounding = 1e-13 * size + 1e-14 * np.abs(found.design.X * found.solution.beta).max(initial=0.0)
    np.testing.assert_allclose(predicted, found.fitted()[order], rtol=0, atol=rounding)
    np.testing.assert_allclose(found.fitted() + found.residuals(), found.design.y, rtol=0, atol=rounding)
