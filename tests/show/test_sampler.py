"""ArviZ draws; we choose what."""

import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError, RefusedVerbError


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


@pytest.mark.parametrize("draw", ["plot_trace", "plot_rank"])
def test_a_panel_for_each_parameter_and_none_for_constants(draw, post):
    figure = getattr(blm, draw)(post("sleepstudy"))
    assert titles(figure) == [
        "Intercept",
        "Days",
        "sd(Intercept | Subject)",
        "sd(Days | Subject)",
        "cor(Intercept, Days | Subject)",
        "sigma",
    ]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_name_may_hold_a_slash():
    halves = blm.Model("Reaction ~ I(Days / 2) + (1 | Subject)", blm.load_dataset("sleepstudy"))
    figure = blm.plot_trace(halves.fit(random_seed=1, progressbar=False))
    assert "I(Days ∕ 2)" in titles(figure)


def test_the_figure_is_taken_from_pyplot(post):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    blm.plot_trace(post("penicillin"))
    assert pyplot.get_fignums() == before


def test_variables_of_the_draws_can_be_asked_for(post):
    figure = blm.plot_trace(post("penicillin"), var_names="b_sample")
    assert len(figure.axes) == 6
    with pytest.raises(InputError, match="no variable 'b_school'; there are"):
        blm.plot_trace(post("penicillin"), var_names="b_school")


def test_energy_is_of_nuts(model, post):
    nuts = model("sleepstudy").fit(method="nuts", random_seed=1, progressbar=False)
    assert "BFMI" in titles(blm.plot_energy(nuts))
    with pytest.raises(RefusedVerbError, match=r"fit\(method='nuts'\)"):
        blm.plot_energy(post("penicillin"))


@pytest.mark.parametrize("draw", ["plot_trace", "plot_rank", "plot_energy"])
def test_a_point_fit_has_no_draws(draw, point):
    with pytest.raises(RefusedVerbError, match=f"{draw}: a point fit has no draws"):
        getattr(blm, draw)(point("sleepstudy"))
