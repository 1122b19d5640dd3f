"""The frame that all pictures share."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import bayeslmm as blm
from bayeslmm.errors import InputError
from bayeslmm.show import style


def test_a_figure_shows_itself_in_a_notebook():
    figure, (ax,) = style.new_figure()
    ax.plot([1, 2])
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_figure_can_be_pickled():
    figure, (ax,) = style.new_figure()
    ax.set_title("kept")
    again = pickle.loads(pickle.dumps(figure))
    assert again.axes[0].get_title() == "kept"
    assert again._repr_png_().startswith(b"\x89PNG")


def test_drawing_neither_loads_pyplot_nor_changes_settings():
    code = (
        "import sys, matplotlib, bayeslmm as blm\n"
        "settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        "fit = blm.lmer('Yield ~ 1 + (1 | Batch)', blm.load_dataset('dyestuff'))\n"
        "for draw in (blm.plot_ranef, blm.plot_variance, blm.plot_profile, blm.plot_estimates, blm.plot_residuals):\n"
        "    draw(fit)._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert settings() == before\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_the_figure_has_as_many_axes_as_panels():
    for panels in (1, 2, 3, 5, 7, 24):
        figure, axes = style.new_figure(panels)
        assert len(axes) == len(figure.axes) == panels


def test_axes_brought_by_the_user_are_drawn_on():
    figure = Figure()
    given = figure.subplots(1, 2)
    found, axes = style.new_figure(2, ax=given)
    assert found is figure
    assert axes == list(given)
    with pytest.raises(InputError, match="needs 3 Axes, one for each panel; 2 given"):
        style.new_figure(3, ax=given)
    with pytest.raises(InputError, match="matplotlib Axes"):
        style.new_figure(1, ax="here")


def test_long_names_lose_their_middle():
    assert style.short("Subject") == "Subject"
    assert style.short("the first words and the last", most=11) == "the f… last"


def test_levels_are_thinned_evenly_and_keep_both_ends():
    keys = np.random.default_rng(1).permutation(160)
    chosen = style.spread_out(keys, 24)
    assert len(chosen) == 24
    assert (keys[chosen[0]], keys[chosen[-1]]) == (0, 159)
    assert np.ptp(np.diff(keys[chosen])) <= 1
    np.testing.assert_array_equal(style.spread_out([3.0, 1.0, 2.0]), [1, 2, 0])


@pytest.mark.parametrize(("levels", "step"), [(18, 1), (40, 1), (41, 2), (160, 4)])
def test_at_most_forty_levels_are_named(levels, step):
    _, (ax,) = style.new_figure()
    assert style.label_levels(ax, [f"L{i}" for i in range(levels)]) == step
    texts = [t.get_text() for t in ax.get_yticklabels()]
    assert len(texts) <= 40
    assert texts[1] == f"L{step}"


def test_something_else_than_a_fit_is_refused():
    with pytest.raises(InputError, match="plot_ranef: a fit is drawn, .* not DataFrame"):
        blm.plot_ranef(blm.load_dataset("sleepstudy"))
