"""coef(): the coefficients of a level times its columns are its fitted values, whatever X and the bars are coded by."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.results.coefficients import coding_of

CODINGS = [
    "y ~ scale(x) + (x | g)",
    "y ~ x + (scale(x) | g)",
    "y ~ scale(x) + (0 + x | g)",
    "y ~ poly(x, 2) + (x | g)",
    "y ~ x + I(x**2) + (poly(x, 2) | g)",
    "y ~ f + (0 + f | g)",
    "y ~ 0 + f + (f | g)",
    "y ~ C(f, Sum) + (f | g)",
    "y ~ f + (C(f, Sum) | g)",
    "y ~ f * x + (0 + f | g)",
    "y ~ f * scale(x) + (x | g)",
    "y ~ f * scale(x) + (1 | g) + (0 + x | g)",
    "y ~ f * scale(x) + (x || g)",
    "y ~ C(f, Sum) * scale(x) + (0 + f | g)",
    "y ~ x + z + (1 | g)",
    "y ~ z + (x | g)",
    "y ~ 0 + x + (x | g)",
    "y ~ 1 + (f | g)",
    "y ~ scale(x) + f + (0 + f | g) + (0 + x | g)",
]


def table(seed=1, groups=12, rows=9):
    rng = np.random.default_rng(seed)
    g, n = np.repeat(np.arange(groups), rows), groups * rows
    d = pd.DataFrame(
        {"x": rng.normal(50, 4, n), "z": rng.normal(size=n), "f": np.array(list("abc"))[np.arange(n) % 3], "g": g}
    )
    d["y"] = 3 + 0.5 * d.x + d.f.map({"a": 0, "b": 2, "c": 4}) + rng.normal(0, 2, groups)[g] + rng.normal(size=n)
    d["y"] += rng.normal(size=(groups, 3))[g, np.arange(n) % 3] + rng.normal(0, 0.3, groups)[g] * (d.x - 50)
    return d


def columns_of(design, group, names):
    named = {name: design.X[:, c] for c, name in enumerate(design.x_names)}
    named |= {name: group.Z[:, c] for c, name in enumerate(group.columns)}
    return np.column_stack([named[name] for name in names])


def quietly(formula, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SingularFitWarning)
        return blm.lmer(formula, data)


@pytest.mark.parametrize("formula", CODINGS)
def test_coefficients_times_columns_are_the_fitted_values(formula):
    fit = quietly(formula, table())
    design, (group,) = fit.design, fit.design.groups
    wide = fit.coef(wide=True)
    lines = np.einsum("nt,nt->n", columns_of(design, group, wide.columns), wide.to_numpy()[group.codes])
    assert np.allclose(lines, fit.fitted(), rtol=0, atol=1e-7 * np.ptp(fit.design.y))
    long = fit.coef()
    assert np.allclose(long["estimate"], wide.to_numpy().reshape(-1))


@pytest.mark.parametrize("formula", CODINGS)
def test_no_coefficient_is_told_twice(formula):
    fit = quietly(formula, table())
    (group,) = fit.design.groups
    names = coding_of(fit.design, group).names
    spanned = np.column_stack([fit.design.X, group.Z])
    own = np.linalg.matrix_rank(group.Z)  # bars of one factor may overlap: (1 | g) + (0 + f | g)
    rank = np.linalg.matrix_rank(columns_of(fit.design, group, names))
    assert rank == np.linalg.matrix_rank(spanned) == len(names) - (group.q - own)


@pytest.mark.parametrize("formula", ["y ~ scale(x) + (x | g)", "y ~ poly(x, 1) + (x | g)"])
def test_standard_errors_do_not_hang_on_the_coding(formula):
    raw, other = quietly("y ~ x + (x | g)", table()), quietly(formula, table())
    pd.testing.assert_frame_equal(raw.coef(), other.coef(), rtol=1e-4)


def test_columns_of_the_same_name_add_up_as_before():
    fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    expected = fit.ranef(wide=True) + fit.fixef()["estimate"]
    pd.testing.assert_frame_equal(fit.coef(wide=True), expected, check_names=False)


def test_centred_and_raw_days_tell_the_same_lines():
    sleep = blm.load_dataset("sleepstudy")
    raw = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    scaled = blm.lmer("Reaction ~ scale(Days) + (Days | Subject)", sleep)
    pd.testing.assert_frame_equal(scaled.coef(wide=True), raw.coef(wide=True), rtol=1e-5)
    pd.testing.assert_frame_equal(scaled.coef(), raw.coef(), rtol=1e-4)
    assert scaled.coef(wide=True).loc[("Subject", "308"), "Intercept"] == pytest.approx(253.66, abs=0.01)


def test_a_posterior_adds_in_one_coding_too():
    data = table()
    model = blm.Model("y ~ C(f, Sum) * scale(x) + (0 + f | g)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)  # few draws do: each obeys the law
        post = model.fit(random_seed=1, draws=200, chains=2, progressbar=False)
    (group,) = post.design.groups
    draws = post.coef(draws=True)["coef_g"]
    columns = columns_of(post.design, group, draws["g_coef"].to_numpy())
    lines = np.einsum("nt,cdnt->cdn", columns, draws.to_numpy()[:, :, group.codes])
    expected = post.predict(draws=True).to_numpy()
    assert np.allclose(lines, expected, rtol=0, atol=1e-8 * np.ptp(data.y))
    assert np.allclose(post.coef(wide=True).to_numpy(), draws.mean(("chain", "draw")))


def test_a_picture_shows_the_levels_around_the_same_coding():
    fit = quietly("y ~ C(f, Sum) + (0 + f | g)", table())
    figure = blm.plot_coef(fit)
    wide, beta = fit.coef(wide=True), fit.fixef()["estimate"].to_numpy()
    (group,) = fit.design.groups
    coding = coding_of(fit.design, group)
    means = coding.B @ beta
    for axes, name in zip(figure.axes, group.columns, strict=False):
        lines = [line.get_xdata()[0] for line in axes.lines if np.ptp(line.get_xdata()) == 0]
        assert any(np.isclose(x, means[list(coding.names).index(name)]) for x in lines)
        assert wide[name].min() <= means[list(coding.names).index(name)] <= wide[name].max()
