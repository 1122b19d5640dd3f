"""Forest and funnel: what stands where, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors


@pytest.fixture(scope="module")
def bcg():
    return blm.load_dataset("bcg")


@pytest.fixture(scope="module")
def fit(bcg):
    return blm.Model("y ~ 1 + (1 | trial)", bcg, se="se").fit_reml()


def ticks(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_a_forest_has_every_study_the_mean_and_a_new_one(fit, bcg):
    (ax,) = blm.plot_forest(fit).axes
    assert ticks(ax) == [*bcg.trial, "mean effect", "new study"]
    squares = ax.collections[1].get_offsets()
    np.testing.assert_allclose(squares[:, 0], bcg.y)
    shrunk = next(line for line in ax.get_lines() if len(line.get_xdata()) == len(bcg))
    np.testing.assert_allclose(shrunk.get_xdata(), fit.fitted())
    texts = [text.get_text() for text in ax.texts]
    assert texts[-2:] == ["-0.71 [-1.11, -0.32]", "-0.71 [-1.91, 0.48]"] or texts[-1].startswith("-0.71")
    assert len(texts) == len(bcg) + 2


def test_studies_in_other_orders_and_by_other_names(fit, bcg):
    (ax,) = blm.plot_forest(fit, order="estimate", labels="year", numbers=False).axes
    assert ticks(ax)[:13] == [str(year) for year in bcg.sort_values("y").year]
    assert not ax.texts
    (ax,) = blm.plot_forest(fit, order="precision", labels=[f"$study {i}" for i in range(13)]).axes
    assert ticks(ax)[0] == rf"\$study {int(np.argmin(bcg.se))}"


def test_a_forest_of_a_posterior_of_moderators_and_of_a_common_effect(bcg):
    post = blm.Model("y ~ ablat + (1 | trial)", bcg, se="se").fit(draws=200, random_seed=1, progressbar=False)
    (ax,) = blm.plot_forest(post).axes
    assert ticks(ax)[-2:] == ["mean, average predictors", "new study"]
    (ax,) = blm.plot_forest(blm.Model("y ~ 1", bcg, se="se").fit_reml()).axes
    assert ticks(ax)[-1] == "mean effect"
    (ax,) = blm.plot_funnel(post).axes
    assert ax.get_xlabel() == "residual from the fixed part"


def test_a_funnel_is_upside_down(fit, bcg):
    (ax,) = blm.plot_funnel(fit).axes
    low, high = ax.get_ylim()
    assert low > high == 0.0
    x, y = next(line for line in ax.get_lines() if len(line.get_xdata()) == len(bcg)).get_data()
    np.testing.assert_allclose(x, bcg.y)
    np.testing.assert_allclose(y, bcg.se)


def test_what_is_refused(fit):
    other = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    for plot in (blm.plot_forest, blm.plot_funnel):
        with pytest.raises(errors.NotAvailableError, match="known sampling errors"):
            plot(other)
    with pytest.raises(errors.InputError, match="ordered by"):
        blm.plot_forest(fit, order="size")
    with pytest.raises(errors.InputError, match="no such column"):
        blm.plot_forest(fit, labels="nothing")
    with pytest.raises(errors.InputError, match="2 names for 13 rows"):
        blm.plot_forest(fit, labels=["a", "b"])
    many = pd.DataFrame({"y": np.arange(130.0), "s": 1.0, "g": np.arange(130)})
    with pytest.raises(errors.InputError, match="130 rows are more"):
        blm.plot_forest(blm.Model("y ~ 1 + (1 | g)", many, se="s").fit_reml())
