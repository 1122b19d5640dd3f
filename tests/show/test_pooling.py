"""What is drawn, not how its pixels fall."""

from __future__ import annotations

import numpy as np
import pytest

import bayeslmm as blm


@pytest.mark.parametrize(
    ("name", "formula", "levels"),
    [
        ("sleepstudy", "Reaction ~ Days + (Days | Subject)", 18),
        ("hsb", "mathach ~ ses + (ses | school)", 160),
    ],
)
def test_pooling_shows_every_group_thrice(name, formula, levels):
    model = blm.Model(formula, blm.load_dataset(name))
    fit = model.fit_reml()
    figure = blm.plot_pooling(fit)
    first, second, plane = figure.axes
    assert [ax.get_title() for ax in figure.axes[:2]] == list(model.design.groups[0].columns)
    for ax in (first, second, plane):
        assert [
            len(c.get_offsets()) for c in ax.collections if hasattr(c, "get_sizes") and len(c.get_sizes())
        ][:2] == [levels, levels]
    partial = np.sort(first.collections[2].get_offsets()[:, 1])
    np.testing.assert_allclose(partial, np.sort(fit.coef(wide=True)["Intercept"]))
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["no pooling", "partial pooling", "complete pooling"]


def test_one_term_has_one_panel():
    fit = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit_reml()
    figure = blm.plot_pooling(fit)
    assert len(figure.axes) == 1
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["F", "D", "A", "B", "C", "E"]
