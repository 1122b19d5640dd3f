"""Lines and bands are what `predict` says."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from scipy import stats

import bayeslmm as blm
from bayeslmm.errors import InputError, NotAvailableError


def line(ax, label):
    return next(one for one in ax.get_lines() if one.get_label() == label)


def labels(figure):
    return [t.get_text() for t in figure.legends[0].get_texts()]


def band(ax, label=None):
    """(low, high) along the x-axis of the last filled band, or the one with this label."""
    fills = [c for c in ax.collections if type(c).__name__ == "FillBetweenPolyCollection"]
    fill = fills[-1] if label is None else next(c for c in fills if c.get_label() == label)
    corners = pd.DataFrame(fill.get_paths()[0].vertices, columns=["x", "y"]).groupby("x")["y"]
    return corners.min().to_numpy(), corners.max().to_numpy()


def points(ax):
    return np.concatenate([c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)])


@pytest.mark.parametrize("kind", ["point", "post"])
def test_each_level_has_its_data_and_its_line(kind, request):
    fit = request.getfixturevalue(kind)("sleepstudy")
    figure = blm.plot_lines(fit)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(fit.design.groups[0].levels)
    data, ax = fit.design.frame, figure.axes[0]
    own = data[data["Subject"] == "308"]
    np.testing.assert_allclose(points(ax), own[["Days", "Reaction"]])
    fitted = line(ax, "fitted")
    said = fit.predict(pd.DataFrame({"Days": fitted.get_xdata(), "Subject": "308"}))
    np.testing.assert_allclose(fitted.get_ydata(), said if kind == "point" else said["mean"])
    assert labels(figure) == ["fitted", *(["95 % interval"] if kind == "post" else []), "average Subject"]
    if kind == "post":
        np.testing.assert_allclose(band(ax), said[["conf_low", "conf_high"]].to_numpy().T)


def test_of_many_levels_some_are_shown_and_it_is_said(point):
    figure = blm.plot_lines(point("hsb"))
    assert len(figure.axes) == 24
    assert figure.get_supxlabel() == "ses\n24 of 160 levels of school shown"
    modes = point("hsb").ranef(wide=True).loc["school", "Intercept"]
    first, last = (figure.axes[i].get_title(loc="left") for i in (0, -1))
    assert (first, last) == (modes.idxmin(), modes.idxmax())


def test_a_line_ends_where_the_data_do(point):
    figure = blm.plot_lines(point("hsb"), levels=["1224"])
    own = point("hsb").design.frame.query("school == '1224'")["ses"]
    along = line(figure.axes[0], "fitted").get_xdata()
    assert (along[0], along[-1]) == (own.min(), own.max())


def test_all_lines_in_one_panel(point):
    figure = blm.plot_lines(point("sleepstudy"), together=True)
    (ax,) = figure.axes
    assert len(ax.get_lines()) == 19
    assert labels(figure) == ["fitted, each Subject", "average Subject"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Days", "Reaction")


def test_a_factor_is_drawn_as_points(post):
    figure = blm.plot_lines(post("cbpp"), levels=["1", "8"])
    one, eight = figure.axes
    assert line(one, "fitted").get_linewidth() == 0
    assert len(line(one, "fitted").get_xdata()) == 4
    assert len(line(eight, "fitted").get_xdata()) == 1  # this herd was seen once
    assert [t.get_text() for t in one.get_xticklabels()] == ["1", "2", "3", "4"]


def test_a_nested_level_has_the_effect_of_the_one_above_it(post):
    fit = post("science")
    figure = blm.plot_lines(fit, "sex", group="school:class", levels=["11:1"])
    rows = fit.design.frame[(fit.design.frame["school"] == "11") & (fit.design.frame["class"] == "1")]
    said = fit.predict(rows.assign(sex="m").head(1))["mean"].iloc[0]
    drawn = line(figure.axes[0], "fitted")
    assert drawn.get_ydata()[list(drawn.get_xdata()).index(1.0)] == pytest.approx(said)


def test_bands_of_a_point_fit(point):
    fit = point("sleepstudy")
    ax = blm.plot_predictions(fit, "Days").axes[0]
    se, tau = fit.fixef().loc["Intercept", "std_error"], fit.values.covariances[0][0, 0] ** 0.5
    middle = fit.fixef().loc["Intercept", "estimate"]
    for label, sd in ((None, se), ("a new Subject", np.hypot(se, tau))):  # at Days = 0
        low, high = band(ax, label)
        at_zero = pd.DataFrame({"Days": [0.0], "Subject": "another"})
        said = fit.predict(at_zero, groups="new" if label else "average", interval="plug-in")
        assert said["std_error"].iloc[0] == pytest.approx(sd)
        half = stats.t.ppf(0.975, said["df"].iloc[0]) * sd
        np.testing.assert_allclose([low[0], high[0]], middle + np.array([-1, 1]) * half, rtol=1e-6)
    z = blm.plot_predictions(fit, "Days", ddf=None).axes[0]
    np.testing.assert_allclose(band(z)[1][0], middle + 1.959964 * se, rtol=1e-6)
    texts = [t.get_text() for f in (ax.figure, z.figure) for t in f.texts]
    assert any("Satterthwaite df" in t for t in texts) and any("95 % bands: z" in t for t in texts)


def test_bands_of_a_posterior(post):
    fit = post("sleepstudy")
    figure = blm.plot_predictions(fit, "Days")
    ax = figure.axes[0]
    grid = pd.DataFrame({"Days": line(ax, "average Subject").get_xdata()})
    said = fit.predict(grid, groups="average")
    np.testing.assert_allclose(band(ax), said[["conf_low", "conf_high"]].to_numpy().T)
    low, high = band(ax, "a new Subject")
    assert np.all(low < said["conf_low"])
    assert np.all(high > said["conf_high"])
    assert labels(figure) == ["each Subject", "a new Subject", "average Subject"]


def test_parts_can_be_left_out(point):
    figure = blm.plot_predictions(point("sleepstudy"), lines=False, new_group=False, data=False)
    assert labels(figure) == ["average Subject"]
    assert not [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]


def test_a_new_group_is_drawn_from_the_seed(post):
    drawn = [band(blm.plot_predictions(post("sleepstudy"), random_seed=s).axes[0], "a new Subject") for s in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_an_interaction_is_drawn_in_colours():
    fit = blm.lmer("mathach ~ ses * sector + (1 | school)", blm.load_dataset("hsb"))
    figure = blm.plot_predictions(fit, "ses", by="sector")
    assert labels(figure) == ["sector = Catholic", "sector = Public"]
    ax = figure.axes[0]
    one, other = (line(ax, label) for label in labels(figure))
    assert one.get_color() != other.get_color()
    slopes = [np.ptp(each.get_ydata()) / np.ptp(each.get_xdata()) for each in (one, other)]
    assert slopes[1] - slopes[0] == pytest.approx(fit.fixef().loc["ses:sector[Public]", "estimate"])
    numbers = labels(blm.plot_predictions(fit, "sector", by="ses"))
    assert len(numbers) == 3
    assert all(text.startswith("ses = ") for text in numbers)
    chosen = blm.plot_predictions(fit, "sector", by="ses", at={"ses": [-1, 1]})
    assert labels(chosen) == ["ses = -1", "ses = 1"]


def test_what_the_others_are_held_at_is_said(post):
    figure = blm.plot_predictions(post("science"), "sex", at={"PrivPub": "private"})
    assert figure.get_supxlabel() == "at PrivPub = private"


def test_a_proportion_is_drawn_as_one(post):
    ax = blm.plot_predictions(post("cbpp")).axes[0]
    assert ax.get_ylabel() == "proportion, p(incidence, size)"
    seen = points(ax)[:, 1]
    assert seen.min() >= 0.0
    assert seen.max() <= 1.0


def test_an_ordinal_response_has_a_colour_a_category():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"x": rng.normal(size=200), "g": np.repeat(np.arange(10), 20)})
    data["y"] = pd.Categorical.from_codes(
        np.digitize(data["x"] + rng.logistic(size=200), [-1, 1]), ["low", "mid", "high"], ordered=True
    )
    fit = blm.Model("y ~ x + (1 | g)", data, family="ordinal").fit(random_seed=1, progressbar=False)
    figure = blm.plot_predictions(fit, "x")
    assert labels(figure) == ["y = low", "y = mid", "y = high"]
    total = sum(line(figure.axes[0], label).get_ydata() for label in labels(figure))
    np.testing.assert_allclose(total, 1.0)
    with pytest.raises(NotAvailableError, match="probability for each category"):
        blm.plot_lines(fit)
    assert len(blm.plot_residuals(fit).axes) == 4


def test_a_linear_model_has_no_groups_to_draw():
    fit = blm.lmer("Reaction ~ Days", blm.load_dataset("sleepstudy"))
    assert labels(blm.plot_predictions(fit)) == ["expected"]


@pytest.mark.parametrize(
    ("draw", "wrong", "message"),
    [
        ("plot_lines", {"x": "Subject"}, "no predictor 'Subject'; there are 'Days'"),
        ("plot_lines", {"group": "school"}, "no grouping factor 'school'"),
        ("plot_lines", {"levels": ["999"]}, "'999' is no level of Subject; it has '308', "),
        ("plot_lines", {"levels": []}, "nothing to draw"),
        ("plot_predictions", {"x": "ses"}, "no predictor 'ses'"),
        ("plot_predictions", {"by": "ses"}, "no predictor 'ses'"),
        ("plot_predictions", {"by": "Days"}, "along the x-axis already"),
        ("plot_predictions", {"at": {"ses": 1}}, "'ses' is no predictor"),
        ("plot_predictions", {"group": "school"}, "no grouping factor 'school'"),
    ],
)
def test_what_does_not_exist_is_refused(point, draw, wrong, message):
    with pytest.raises(InputError, match=message):
        getattr(blm, draw)(point("sleepstudy"), **wrong)


def test_a_model_without_predictors_has_no_lines(point):
    with pytest.raises(InputError, match="no predictor to draw lines over; plot_coef"):
        blm.plot_lines(point("penicillin"), group="plate")


def test_more_levels_than_colours_are_refused():
    data = blm.load_dataset("sleepstudy").assign(day=lambda d: "d" + d["Days"].astype(str))
    fit = blm.lmer("Reaction ~ age + day + (1 | Subject)", data.assign(age=np.arange(180) % 7))
    with pytest.raises(InputError, match="10 levels are more than there are colours"):
        blm.plot_predictions(fit, "age", by="day")
    with pytest.raises(InputError, match="one value, unless by='day'"):
        blm.plot_predictions(fit, "age", at={"day": ["d0", "d1"]})
