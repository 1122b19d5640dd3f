"""Functions of formulas against R's: what they give, what they remember, and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from bayeslmm.design.build import build_design
from bayeslmm.errors import DataError, StorageError
from bayeslmm.formulas.transforms import Average, Scale


def frame(**columns):
    data = pd.DataFrame(columns)
    return data.assign(y=np.arange(len(data)) % 3.0)


def column(term, data, **options):
    design = build_design(f"y ~ {term}", data, **options)
    return design, design.X[:, 1:].squeeze()


def test_scale_divides_by_the_sd_of_r():
    """R: scale(c(1, 2, 4, 9)), and attributes 4 and 3.559026."""
    data = frame(x=[1, 2, 4, 9, 4.0])
    _, got = column("scale(x)", data.iloc[:4])
    np.testing.assert_allclose(got, [-0.8429272, -0.5619515, 0.0, 1.4048787], atol=1e-7)
    design, _ = column("scale(x)", data)
    assert design.at(frame(x=[4.0 + data["x"].std()])).X[0, 1] == pytest.approx(1.0)
    _, raw = column("scale(x, center=FALSE)", data)  # by the root mean square, sum over n - 1
    np.testing.assert_allclose(raw, data["x"] / np.sqrt((data["x"] ** 2).sum() / 4))
    _, only = column("scale(x, scale=FALSE)", data)
    np.testing.assert_allclose(only, data["x"] - 4.0)
    _, given = column("scale(x, center=1, scale=2)", data)
    np.testing.assert_allclose(given, (data["x"] - 1) / 2)
    np.testing.assert_array_equal(column("standardize(x)", data)[1], column("scale(x)", data)[1])
    with pytest.raises(TypeError, match="True, False or a number"):
        Scale()(data["x"], data["x"])


def test_poly_is_r_s():
    """R: poly(1:5, 2), and its prediction at 6."""
    design, got = column("poly(x, 2)", frame(x=[1, 2, 3, 4, 5]))
    np.testing.assert_allclose(got[:, 0], np.arange(-2, 3) / np.sqrt(10))
    np.testing.assert_allclose(got[:, 1], np.array([2, -1, -2, -1, 2]) / np.sqrt(14))
    np.testing.assert_allclose(design.at(frame(x=[6])).X[0, 1:], [3 / np.sqrt(10), 7 / np.sqrt(14)])


def test_bs_spans_what_r_s_spans_beside_an_intercept():
    """Cubic pieces between quantiles and the ends of the data; new data are put on the knots of the fit."""
    from scipy.interpolate import BSpline

    x = np.random.default_rng(2).gamma(2.0, size=80)
    data = frame(x=x)
    design, _ = column("bs(x, df=6)", data)
    knots = np.concatenate([[x.min()] * 4, np.quantile(x, [0.25, 0.5, 0.75]), [x.max()] * 4])
    theirs = BSpline.design_matrix(x, knots, 3).toarray()
    assert np.linalg.matrix_rank(np.column_stack([design.X, theirs])) == 7 == design.p
    inside = np.sort(x)[5:9]
    weights = np.linalg.lstsq(design.X, theirs, rcond=None)[0]
    new = design.at(frame(x=inside)).X @ weights
    np.testing.assert_allclose(new, BSpline.design_matrix(inside, knots, 3).toarray(), atol=1e-9)


def test_ave_gives_the_means_of_groups_in_the_fit():
    """R: ave(x, g)."""
    data = frame(x=[1, 2, 6, 10, 5], g=["a", "a", "b", "b", "c"], h=[1, 2, 1, 1, 2])
    design, got = column("ave(x, g)", data)
    np.testing.assert_array_equal(got, [1.5, 1.5, 8, 8, 5])
    np.testing.assert_array_equal(column("ave(x, g, h)", data)[1], [1, 2, 8, 8, 5])
    np.testing.assert_array_equal(design.at(frame(x=[99, 98], g=["b", "a"])).X[:, 1], [8, 1.5])
    with pytest.raises(DataError, match="group 'z' has no mean, as no row of the fit"):
        design.at(frame(x=[1], g=["z"]))
    with pytest.raises(TypeError, match="the column to group by"):
        Average()(data["x"])


def test_a_level_need_not_be_among_new_rows():
    data = frame(s=["a", "b", "c", "b", "a"])
    design = build_design("y ~ indicator(s, 'c') + binary(s, 'b')", data)
    np.testing.assert_array_equal(design.at(frame(s=["a", "b"])).X, [[1, 0, 0], [1, 0, 1]])
    first, _ = column("binary(s)", data)
    np.testing.assert_array_equal(first.at(frame(s=["b"])).X, [[1, 0]])
    for term in ("binary(s, 'z')", "indicator(s, 'z')"):
        with pytest.raises(DataError, match="no row of 's' holds 'z'"):
            build_design(f"y ~ {term}", data)


def test_words_of_r_are_what_they_are_there():
    data = frame(x=[1.0, 2.0, 4.0, 9.0, 3.5], z=[3.0, 1.0, 4.0, 2.0, 9.0])
    for term, right in {
        "pmax(x, z, 2)": np.maximum(np.maximum(data["x"], data["z"]), 2),
        "pmin(x, z)": data[["x", "z"]].min(axis=1),
        "ifelse(x > z, 1, -1)": np.where(data["x"] > data["z"], 1, -1),
        "I(x / sd(x))": data["x"] / data["x"].std(),
        "I(x / var(x))": data["x"] / data["x"].var(),
        "I(x - median(x))": data["x"] - data["x"].median(),
        "I(x - quantile(x, 0.25))": data["x"] - data["x"].quantile(0.25),
        "I(x * pi)": data["x"] * np.pi,
        "I(x > mean(x))": data["x"] > data["x"].mean(),
    }.items():
        np.testing.assert_allclose(column(term, data)[1], right.astype(float), err_msg=term)


def test_names_of_the_author_come_before_words_of_r():
    data = frame(x=[1.0, 2.0, 4.0, 9.0, 3.5])
    mine = {"mean": lambda v: 1.0, "pi": 3.0, "sd": 2.0}  # the last is no function
    np.testing.assert_allclose(column("I(pi * (x - mean(x)))", data, namespace=mine)[1], 3 * (data["x"] - 1))
    np.testing.assert_allclose(column("I(x / sd(x))", data, namespace=mine)[1], data["x"] / data["x"].std())
    untrusted = column("I(pi * (x - mean(x)))", data, namespace=mine, trust=False)[1]
    np.testing.assert_allclose(untrusted, 3 * (data["x"] - 1))
    with_column = data.assign(pi=2.0 + data["x"])
    np.testing.assert_allclose(column("I(pi * x)", with_column)[1], (2 + data["x"]) * data["x"])


def test_fits_of_a_version_that_scaled_otherwise_are_refused(tmp_path):
    import json

    import h5py

    import bayeslmm as blm

    data = blm.load_dataset("sleepstudy")
    for formula, refused in (
        ("Reaction ~ scale(Days) + (1 | Subject)", True),
        ("Reaction ~ Days + (1 | Subject)", False),
    ):
        blm.save(blm.lmer(formula, data), tmp_path / "fit.nc")
        with h5py.File(tmp_path / "fit.nc", "r+") as file:
            about = json.loads(file.attrs["bayeslmm"])
            del about["scale"]
            file.attrs["bayeslmm"] = json.dumps(about)
        if refused:
            with pytest.raises(StorageError, match="divided by n and not.*fit the model again"):
                blm.load(tmp_path / "fit.nc")
        else:
            assert blm.load(tmp_path / "fit.nc").design.p == 2
