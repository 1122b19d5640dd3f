"""Numbers at the ends of what doubles hold, and data that fit perfectly or not at all."""

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors

from .harness import ROWS, check, clean, fitted, refused, same_numbers

DATA, NONFINITE, FIT = errors.DataError, errors.NonFiniteError, errors.FitError
ALIASED = (errors.AliasedColumnsWarning,)
PLAIN = "y ~ x + (1 | g)"
X, Y, Z, G = (clean()[name] for name in "xyzg")
U = pd.Series(np.repeat(np.linspace(-1.0, 1.0, 10), 6))


def at(row: int, value: float) -> pd.Series:
    """x with another value in one row."""
    return X.where(X.index != row, value)


INFINITE = [
    refused("x infinite", PLAIN, {"x": at(3, np.inf)}, NONFINITE, "'x'", "1 infinite", "row 3", "set them to missing"),
    refused("x minus infinite", PLAIN, {"x": at(3, -np.inf)}, NONFINITE, "'x'", "1 infinite", "row 3"),
    refused("x infinite throughout", PLAIN, {"x": np.inf}, NONFINITE, "'x'", "60 infinite", "…"),
    refused("x infinite in Arrow", PLAIN, {"x": at(3, np.inf).astype("float64[pyarrow]")}, NONFINITE, "'x'", "row 3"),
    refused("x infinite among objects", PLAIN, {"x": at(3, np.inf).astype(object)}, NONFINITE, "'x'", "row 3"),
    refused("y infinite", PLAIN, lambda d: d.assign(y=Y.where(d.index != 9, np.inf)), NONFINITE, "'y'", "row 9"),
    refused("infinite by a transform", "y ~ log(k) + (1 | g)", {"k": np.abs(at(3, 0.0))}, NONFINITE, "log(k)", "row 3"),
    refused(
        "infinite by a product", "y ~ k:l + (1 | g)", {"k": X * 1e200, "l": Z * 1e200}, DATA, "'k:l'", "inf", "Rescale"
    ),
    refused("beyond float32", PLAIN, {"x": (X * 1e30).astype("float32") * np.float32(1e30)}, NONFINITE, "'x'"),
]


SIZES = [
    *(
        refused(f"{name} of {factor:g}", PLAIN, {name: clean()[name] * factor}, DATA, f"'{name}'", "Rescale", word)
        for name in ("x", "y")
        for factor, word in (
            (1e300, "above 1e+50"),
            (1e60, "above 1e+50"),
            (1e-60, "below 1e-50"),
            (1e-300, "below 1e-50"),
        )
    ),
    refused(
        "an interaction of 1e80 times 1e80", "y ~ k:l + (1 | g)", {"k": X * 1e80, "l": Z * 1e80}, DATA, "k:l", "Rescale"
    ),
    refused("a slope of 1e300", "y ~ 1 + (x | g)", {"x": X * 1e300}, DATA, "'x'", "Rescale"),
    refused("an offset of 1e300", "y ~ z + offset(x) + (1 | g)", {"x": X * 1e300}, DATA, "Rescale"),
    refused("one huge value", PLAIN, {"x": at(7, 1e200)}, DATA, "'x'", "1e+200", "Rescale"),
    refused("a denormal number", PLAIN, {"x": np.where(X > 0, 5e-324, 0.0)}, DATA, "'x'", "Rescale"),
    fitted(
        "x plus 1e9",
        "y ~ x + (1 | g)",
        {"x": np.round(X, 3) + 1e9},
        like="y ~ I(x + 1e9) + (1 | g)",
        of={"x": np.round(X, 3)},
    ),
    fitted("one value far from all others", PLAIN, {"x": at(7, 1e12)}, of={"x": at(7, 1e12)}),
    fitted("x of zeros", PLAIN, {"x": 0.0}, like="y ~ 1 + (1 | g)", warns=ALIASED),
    fitted("x of ones", PLAIN, {"x": 1.0}, like="y ~ 1 + (1 | g)", warns=ALIASED),
    fitted("x of one huge number", PLAIN, {"x": 1e20}, like="y ~ 1 + (1 | g)", warns=ALIASED),
    fitted("x and twice x", "y ~ x + k + (1 | g)", {"k": 2 * X}, like=PLAIN, warns=ALIASED),
    fitted("x and x plus rounding", "y ~ x + k + (1 | g)", {"k": X * (1 + 1e-15)}, like=PLAIN, warns=ALIASED),
    fitted("a sum of two others", "y ~ x + z + k + (1 | g)", {"k": X - Z}, like="y ~ x + z + (1 | g)", warns=ALIASED),
    fitted(
        "all levels of a factor, and an intercept",
        "y ~ x + k + l + (1 | g)",
        {"k": X > 0, "l": X <= 0},
        like="y ~ x + k + (1 | g)",
        of={"k": X > 0},
        warns=ALIASED,
    ),
    fitted(
        "the response's mean is far away",
        PLAIN,
        lambda d: d.assign(y=np.round(d["y"], 6) + 1e6),
        like="I(k + 1e6) ~ x + (1 | g)",
        of=lambda d: d.assign(k=np.round(d["y"], 6)),
    ),
]
PERFECT = [
    refused(
        "y on y", "y ~ k", lambda d: d.assign(k=d["y"]), FIT, "fits the data perfectly", "Leave out what determines"
    ),
    refused("y on y and groups", "y ~ k + (1 | g)", lambda d: d.assign(k=d["y"]), FIT, "fits the data perfectly"),
    refused("y on twice y", "y ~ k + (1 | g)", lambda d: d.assign(k=2 * d["y"] + 1), FIT, "fits the data perfectly"),
    refused("y is a line", PLAIN, lambda d: d.assign(y=2 * d["x"] + 1), FIT, "fits the data perfectly"),
    refused("y is a line of whole numbers", PLAIN, {"x": np.arange(ROWS), "y": 3 * np.arange(ROWS)}, FIT, "perfectly"),
    refused(
        "y is a line but for rounding", "y ~ x", lambda d: d.assign(y=2 * d["x"] + 1e-12 * d["z"]), FIT, "perfectly"
    ),
    refused(
        "y is constant in every group",
        "y ~ 1 + (1 | g)",
        {"y": U},
        FIT,
        "out what determines the response",  # rounding decides whether the search breaks down or ends beside zero
    ),
    refused(
        "y is a line in every group",
        "y ~ x + (x | g)",
        lambda d: d.assign(y=U + (1 + U**2) * d["x"]),
        FIT,
        "out what determines the response",  # rounding decides whether the search breaks down or ends beside zero
    ),
    refused("y is a line and a group", PLAIN, lambda d: d.assign(y=U + 3 * d["x"]), FIT, "fits the data perfectly"),
    refused(
        "y is its offset",
        "y ~ x + offset(k) + (1 | g)",
        lambda d: d.assign(k=d["y"]),
        DATA,
        "less its offset is 0 in all 60 rows",
    ),
    refused("y is the dummy of a factor", "k['u'] ~ f + (1 | g)", lambda d: d.assign(k=d["f"]), FIT, "perfectly"),
    refused("y constant", PLAIN, {"y": 3.0}, DATA, "'y' is 3 in all 60 rows"),
    refused(
        "y constant where complete",
        PLAIN,
        lambda d: d.assign(y=1.0, x=X).assign(y=lambda s: s["y"].where(s.index != 3)),
        DATA,
        "'y' is 1 in all 59 rows",
    ),
    refused("y constant by a transform", "I(y - y) ~ x + (1 | g)", None, DATA, "in all 60 rows"),
]
CASES = [*INFINITE, *SIZES, *PERFECT]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_number(case):
    check(case)


@pytest.mark.parametrize("factor", [1e-45, 1e-12, 1e-3, 1e6, 1e45])
def test_other_units(factor):
    """Nothing but the units changes, over ninety powers of ten."""
    data = clean()
    expected = blm.lmer("y ~ x + (x | g)", data)
    of_x = blm.lmer("y ~ x + (x | g)", data.assign(x=data["x"] * factor))
    of_y = blm.lmer("y ~ x + (x | g)", data.assign(y=data["y"] * factor))
    # the search ends within 1e-7 standard errors of the optimum: sqrt(1e-14)
    np.testing.assert_allclose(of_x.fixef()["estimate"] * [1.0, factor], expected.fixef()["estimate"], rtol=1e-6)
    np.testing.assert_allclose(
        of_y.fixef()[["estimate", "std_error"]] / factor, expected.fixef()[["estimate", "std_error"]], rtol=1e-6
    )
    for fit, unit in ((of_x, 1.0), (of_y, factor)):
        assert fit.sigma / unit == pytest.approx(expected.sigma, rel=1e-6)
        np.testing.assert_allclose(fit.fitted() / unit, expected.fitted(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fit.r2()["estimate"], expected.r2()["estimate"], rtol=1e-5)
        assert "nan" not in str(fit.summary())


@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("slope", [False, True])
def test_hardly_a_residual(noise, slope):
    """Down to a residual of 1e-5 REML is right, and says that it converged: it used to stop on the way there."""
    data, rest = clean(), noise * fixed_rng(3).normal(size=ROWS)
    data["y"] = U + (3.0 + slope * np.repeat(np.linspace(1, -1, 10) ** 2, 6)) * data["x"] + rest
    fit = blm.lmer(f"y ~ x + ({'x' if slope else '1'} | g)", data)
    indicators = pd.get_dummies(data["g"]).to_numpy(dtype=float)
    columns = indicators * data[["x"]].to_numpy() if slope else data[["x"]].to_numpy()
    W = np.column_stack([indicators, columns])
    off = data["y"] - W @ np.linalg.lstsq(W, data["y"])[0]
    # groups are hardly pooled here, so sigma is that of a regression with one line a group
    assert fit.verdict == "converged"
    assert fit.sigma == pytest.approx(np.sqrt(off @ off / (ROWS - W.shape[1])), rel=2e-3)


def test_groups_of_very_unequal_size():
    data = clean().assign(g=["a"] * 55 + [*"bcdef"])
    same_numbers(blm.lmer(PLAIN, data), blm.lmer(PLAIN, data.iloc[::-1]), 1e-7)
