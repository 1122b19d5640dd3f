"""Shares of variance at given values and heterogeneity beside related levels, memberships and smooths."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.results import wald

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")  # short chains
LEVELS = [f"s{k:02d}" for k in range(12)]
A = pd.DataFrame(0.5 ** np.abs(np.subtract.outer(range(12), range(12))), LEVELS, LEVELS)
A *= np.sqrt(np.outer(np.arange(1, 13), np.arange(1, 13)))  # whose diagonal is not one
EYE = pd.DataFrame(np.eye(12), LEVELS, LEVELS)


@pytest.fixture(scope="module")
def data():
    i, rng = np.arange(48), fixed_rng(4)
    table = pd.DataFrame({"sp": np.array(LEVELS)[i % 12], "other": np.array(LEVELS)[(5 * i + 1) % 12], "study": i})
    table["x"], table["se"] = rng.normal(size=48), rng.uniform(0.1, 0.3, 48)
    effects = 0.3 * np.linalg.cholesky(A.to_numpy()) @ rng.normal(size=(12, 2))
    table["y"] = effects[i % 12, 0] + (0.5 + effects[i % 12, 1]) * table["x"] + table["se"] * rng.normal(size=48)
    table["y"] += 0.4 * effects[(5 * i + 1) % 12, 0] + 0.3 * rng.normal(size=48)
    table["n"] = rng.poisson(np.exp(1.5 + effects[i % 12, 0] + np.sin(2.5 * table["x"])))
    return table


def at_values(fit, group):
    return np.r_[
        fit.icc(at={"x": [-1.0, 0.5]})["estimate"], fit.within_correlation({"x": [-1.0, 0.5]}, group=group)["estimate"]
    ]


@pytest.mark.parametrize("bar", ["(x | {})", "(0 + x | {})", "(1 | {})"])
def test_levels_that_are_unrelated_are_those_of_a_factor(data, bar):
    related = blm.Model(f"y ~ x + {bar.format('gr(sp, cov=A)')}", data, matrices={"A": EYE}).fit_reml()
    factor = blm.Model(f"y ~ x + {bar.format('sp')}", data).fit_reml()
    np.testing.assert_allclose(at_values(related, None), at_values(factor, None), rtol=1e-6)


def test_average_levels_stand_at_given_values(data):
    fit = blm.Model("y ~ x + (x | gr(sp, cov=A)) + (1 | sp)", data, matrices={"A": A}).fit_reml()
    cov, own = fit.var_corr()["gr(sp)"].to_numpy(), fit.var_corr()["sp"].to_numpy().item()
    of_rows = np.diag(A)[[LEVELS.index(level) for level in data["sp"]]].mean()
    z = np.array([[1.0, -1.0], [1.0, 0.5]])
    common = of_rows * z @ cov @ z.T + own
    total = np.diag(common) + fit.sigma**2
    found = fit.icc(at={"x": [-1.0, 0.5]}).set_index("icc")["estimate"]
    np.testing.assert_allclose(found["adjusted"], np.diag(common) / total, rtol=1e-9)
    np.testing.assert_allclose(found["gr(sp)"], (np.diag(common) - own) / total, rtol=1e-9)
    for group in ("sp", "gr(sp)"):  # which are the same animals
        found = fit.within_correlation({"x": [-1.0, 0.5]}, group=group)["estimate"].to_numpy()
        expected = common / np.sqrt(np.outer(total, total))
        np.testing.assert_allclose(found.reshape(2, 2), expected, rtol=1e-9)


def test_members_count_by_their_weights(data):
    fit = blm.Model("y ~ x + (x | mm(sp, other)) + (1 | study)", data, se="se").fit_reml()
    cov = fit.var_corr()["mm(sp, other)"].to_numpy()
    alone = (data["sp"] == data["other"]).mean()
    each = alone + (1.0 - alone) / 2.0  # Σw² of the average row
    z = np.array([1.0, 0.5])
    found = fit.within_correlation({"x": [0.5]}, group="mm(sp, other)")["estimate"].item()
    parts = fit.icc(at={"x": [0.5]}).set_index("icc")["estimate"]
    np.testing.assert_allclose(parts["mm(sp, other)"], found, rtol=1e-9)
    study = fit.var_corr()["study"].to_numpy().item()
    np.testing.assert_allclose(parts["study"] / found, study / (each * z @ cov @ z), rtol=1e-9)


def test_curves_count_where_the_residual_hangs_on_the_mean(data):
    fit = blm.Model("n ~ s(x, k=5) + (1 | sp)", data, family="poisson").fit_ml()
    rows = pd.DataFrame({"x": [-0.9, 0.8], "sp": "s00"})
    eta = fit.predict(rows, kind="link", groups="average").to_numpy()
    tau2 = fit.var_corr()["sp"].to_numpy().item()
    residual = np.log1p(1.0 / np.exp(eta + tau2 / 2.0))
    np.testing.assert_allclose(fit.icc(at={"x": [-0.9, 0.8]})["estimate"], tau2 / (tau2 + residual), rtol=1e-7)


def test_heterogeneity_beside_a_phylogeny(data):
    model = blm.Model("y ~ 1 + (1 | gr(sp, cov=A)) + (1 | study)", data, se="se", matrices={"A": A})
    fit, post = model.fit_reml(), model.fit(draws=200, random_seed=1, progressbar=False)
    table = fit.heterogeneity().set_index(["group", "quantity"])["estimate"]
    of_rows = np.diag(A)[[LEVELS.index(level) for level in data["sp"]]].mean()
    tau2 = of_rows * fit.var_corr()["gr(sp)"].to_numpy().item()
    np.testing.assert_allclose(table["gr(sp)", "tau2"], tau2, rtol=1e-9)
    np.testing.assert_allclose(table["", "tau2"], tau2 + fit.var_corr()["study"].to_numpy().item(), rtol=1e-9)
    np.testing.assert_allclose(table["gr(sp)", "I2"], fit.icc()["estimate"]["gr(sp)"], rtol=1e-6)
    assert "gr(sp)" in set(post.heterogeneity()["group"])
    for each in (fit, post):
        figure = blm.plot_forest(each)
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels[:2] == ["0", "1"] and labels[-1] == "new study"  # the studies, which are finer
        assert blm.plot_funnel(each).axes
    plt.close("all")


def test_heterogeneity_of_unrelated_levels_is_that_of_a_factor(data):
    related = blm.Model("y ~ x + (1 | gr(sp, cov=A))", data, se="se", matrices={"A": EYE}).fit_reml()
    factor = blm.Model("y ~ x + (1 | sp)", data, se="se").fit_reml()
    numbers = [fit.heterogeneity().select_dtypes("number").to_numpy(dtype=float) for fit in (related, factor)]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-6)
    labels = [[t.get_text() for t in blm.plot_forest(f).axes[0].get_yticklabels()] for f in (related, factor)]
    assert labels[0] == labels[1] and labels[0][0] == "s00"
    plt.close("all")


def test_moderators_that_are_curves_are_refused(data):
    fit = blm.Model("y ~ s(x, k=5) + (1 | study)", data, se="se").fit_reml()
    with pytest.raises(blm.errors.NotAvailableError, match="smooth"):
        fit.heterogeneity()


def test_what_no_fixed_effect_has_is_a_predictor_all_the_same(data):
    """Of a cyclic smooth, and of a slope of levels alone."""
    model = blm.Model("y ~ s(x, k=6, bs='cc') + (0 + se | gr(sp, cov=A))", data, matrices={"A": A})
    fit = model.fit_reml()
    assert set(blm.grid(fit, x=[0.1, 0.2])) == {"x", "se"}
    rows = blm.grid(fit, x=[-0.5, 0.5], by="gr(sp):se")
    assert len(rows) == 24 and list(blm.grid(fit, by={"gr(sp):se": ["s03"]})["sp"]) == ["s03"]
    assert np.isfinite(fit.predict(rows)).all()
    low, high = fit.predict(pd.DataFrame({"x": [-0.5, 0.5]}), groups="average")
    found = fit.comparisons({"x": [-0.5, 0.5]})
    np.testing.assert_allclose(found["estimate"].item(), high - low, rtol=1e-9)
    assert found["df"].item() > 1e4 and np.isfinite(found["std_error"].item())
    assert fit.slopes("x")["df"].item() > 1e4
    assert blm.plot_predictions(fit, "x").axes
    share = fit.icc(at={"se": [0.1, 0.2]})["estimate"].to_numpy()
    assert share[1] > share[0] > 0.0
    plt.close("all")


def test_what_hangs_on_no_estimated_coefficient_has_no_finite_df(data):
    fit = blm.Model("y ~ x + (1 | sp)", data).fit_reml()
    about = wald.approximation(fit.design, fit.solution, "satterthwaite")
    reach = np.array([[1e-30, 0.0], [1.0, 0.0]])
    df = wald.df_of_sums(about, reach, np.array([0.5, 1.0]))
    assert df[0] == np.inf and 1.0 < df[1] < 1e6
