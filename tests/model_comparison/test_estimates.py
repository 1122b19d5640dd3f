"""Point estimates beside the posterior: columns, differences, priors, boundaries, refusals."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.covariances.template import sd_and_correlation
from bayeslmm.errors import InputError

# short runs on purpose: the comparison is what is tested
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]

SHORT = {"draws": 500, "chains": 2, "random_seed": 1, "progressbar": False}
COLUMNS = [
    "parameter",
    "estimate",
    "std_error",
    "df",
    "estimate_low",
    "estimate_high",
    "mean",
    "sd",
    "conf_low",
    "conf_high",
    "p_positive",
    "difference",
    "prior_sensitivity",
    "prior_matters",
]


@pytest.fixture(scope="module")
def model():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def point(model):
    return model.fit_reml()


@pytest.fixture(scope="module")
def post(model):
    return model.fit(**SHORT)


@pytest.fixture(scope="module")
def compared(point, post):
    return blm.compare_estimates(point, post)


def test_both_kinds_of_estimates_in_one_table(point, post, compared):
    table = compared.table
    assert list(table) == COLUMNS and list(table.index.names) == ["effect", "group", "term"]
    ours = {
        "fixed": [("", "Intercept"), ("", "Days")],
        "ran_pars": [
            ("Subject", "sd__Intercept"),
            ("Subject", "sd__Days"),
            ("Subject", "cor__Intercept.Days"),
            ("Residual", "sd__Observation"),
        ],
    }
    assert set(table.index) == {(effect, *name) for effect, names in ours.items() for name in names}
    sd, cor = sd_and_correlation(point.solution.covariances[0])
    sds, cors = post.draws("sd_Subject"), post.draws("cor_Subject")[..., 0, 1]
    known = {
        ("fixed", "", "Days"): (point.solution.beta[1], post.draws("beta")[..., 1], "Days"),
        ("ran_pars", "Subject", "sd__Days"): (sd[1], sds[..., 1], "sd(Days) | Subject"),
        ("ran_pars", "Subject", "cor__Intercept.Days"): (cor[0, 1], cors, "cor(Intercept, Days) | Subject"),
        ("ran_pars", "Residual", "sd__Observation"): (point.sigma, post.draws("sigma"), "sigma"),
    }
    for key, (estimate, draws, name) in known.items():
        row = table.loc[key]
        assert row["estimate"] == pytest.approx(estimate) and row["parameter"] == name
        assert row["mean"] == pytest.approx(draws.mean()) and row["sd"] == pytest.approx(draws.std(ddof=1))
        np.testing.assert_allclose(row[["conf_low", "conf_high"]].astype(float), np.quantile(draws, [0.025, 0.975]))
        assert row["difference"] == pytest.approx((draws.mean() - estimate) / draws.std(ddof=1))
    fixed = table.loc["fixed"]
    np.testing.assert_allclose(fixed["std_error"], point.fixef()["std_error"])
    np.testing.assert_allclose(fixed["estimate_low"], point.fixef()["conf_low"])
    assert table.loc["ran_pars", ["std_error", "estimate_low", "estimate_high"]].isna().all().all()


def test_a_regular_fit_has_nothing_to_say_of_a_boundary(compared):
    assert compared.boundary == ()
    assert compared.table["difference"].abs().max() < 1.0
    assert not compared.table["prior_matters"].any()


def test_the_print(compared):
    text = str(compared)
    assert text.startswith("REML beside the posterior\nFormula: Reaction ~ Days + (Days | Subject)")
    line = next(line for line in text.splitlines() if line.startswith("Days"))
    assert "10.47" in line and "*" not in line and ", " in line
    difference = compared.table.loc[("fixed", "", "Days"), "difference"]
    assert f"{difference:+.2f}" in line
    assert "95% CI" in text and "nan" not in text.lower()
    latex = compared.to_latex()
    assert latex.isascii() and "|" not in latex
    assert not re.search(r"(?<!\\)[_%#~^]", re.sub(r"\$[^$]*\$", "", latex))
    lines = [line for line in compared.to_markdown().splitlines() if line.startswith("|")]
    # a bar in a name does not end its cell
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {9}
    assert any(r"sd(Days) \| Subject" in line for line in lines)


def test_profile_intervals_are_of_all_parameters():
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    point, post = model.fit_reml(), model.fit(**SHORT)
    found = blm.compare_estimates(point, post, method="profile", ci_prob=0.8)
    assert found.ci_prob == 0.8 and "80% CI" in str(found)
    keys = ["effect", "group", "term"]
    ends = point.confint("profile", ci_prob=0.8, progressbar=False).set_index(keys).loc[found.table.index]
    np.testing.assert_allclose(found.table["estimate_low"], ends["conf_low"])
    np.testing.assert_allclose(found.table["estimate_high"], ends["conf_high"])
    ours = post.confint(ci_prob=0.8).set_index(keys).loc[found.table.index]
    np.testing.assert_allclose(found.table["conf_low"], ours["conf_low"])


def test_an_ml_fit_is_called_so(model, post):
    found = blm.compare_estimates(model.fit_ml(), post)
    assert str(found).startswith("ML beside the posterior")
    assert (found.table["estimate"] != blm.compare_estimates(model.fit_reml(), post).table["estimate"]).any()


def test_a_strong_prior_is_remarked_upon(model, point):
    strong = blm.Model(
        "Reaction ~ Days + (Days | Subject)",
        blm.load_dataset("sleepstudy"),
        priors={"Days": blm.Prior("Normal", mu=0, sigma=2)},
    ).fit(**SHORT)
    found = blm.compare_estimates(point, strong)
    row = found.table.loc[("fixed", "", "Days")]
    assert row["prior_matters"] and row["prior_sensitivity"] > 0.05
    assert row["difference"] < -1.0  # pulled towards zero
    line = next(line for line in str(found).splitlines() if line.startswith("Days"))
    assert line.endswith("*")


# -- boundaries


def test_an_sd_of_zero():
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff2"))
    point, post = model.fit_reml(), model.fit(**SHORT)
    (said,) = blm.compare_estimates(point, post, ci_prob=0.9).boundary
    assert said.startswith("sd(Intercept | Batch) is zero by REML.")
    sd = post.draws("sd_Batch")
    median, upper = (float(re.search(pattern, said)[1]) for pattern in (r"median of ([\d.]+)", r"below ([\d.]+)"))
    # four significant digits are printed
    assert median == pytest.approx(np.median(sd), rel=1e-3) and upper == pytest.approx(np.quantile(sd, 0.9), rel=1e-3)
    assert "with probability 90%" in said
    assert said in str(blm.compare_estimates(point, post, ci_prob=0.9)).replace("\n  ", " ")


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning")
def test_only_the_factor_that_is_zero_is_spoken_of():
    model = blm.Model("like ~ sex + PrivPub + (1 | school/class)", blm.load_dataset("science"))
    boundary = blm.compare_estimates(model.fit_ml(), model.fit(**SHORT)).boundary
    assert len(boundary) == 1 and boundary[0].startswith("sd(Intercept | school) is zero by ML.")


def line(sign=1.0):
    """Intercepts and slopes of 12 groups on a line."""
    rng = fixed_rng(1)  # REML finds a correlation of one
    g, x = np.repeat(np.arange(12), 8), rng.normal(size=96)
    b = rng.normal(size=12)[g]
    return pd.DataFrame({"y": b + 0.6 * b * x + 0.7 * rng.normal(size=96), "x": sign * x, "g": g})


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_correlation_of_one(sign):
    model = blm.Model("y ~ x + (x | g)", line(sign))
    point, post = model.fit_reml(), model.fit(**SHORT)
    assert point.is_singular
    (said,) = blm.compare_estimates(point, post).boundary
    assert said.startswith(f"cor(Intercept, x | g) is {'+' if sign > 0 else '-'}1 by REML.")
    numbers = [float(n) for n in re.findall(r"-?\d\.\d\d", said)]
    cor = post.draws("cor_g")[..., 0, 1]
    np.testing.assert_allclose(numbers, np.quantile(cor, [0.5, 0.025, 0.975]), atol=0.0051)
    wide = np.ptp(np.quantile(cor, [0.025, 0.975])) > 1.0
    assert ("(x || g)" in said) == wide and ("strong" in said) != wide


def test_a_correlation_of_one_that_the_data_hardly_tell():
    data = line().query("g < 4 and index % 8 < 4")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model = blm.Model("y ~ x + (x | g)", data.assign(y=data["y"] + 2.0 * rng.normal(size=len(data))))
        point = model.fit_reml()
        sd, cor = sd_and_correlation(point.solution.covariances[0])
        if sd.min() > 0 and abs(cor[0, 1]) > 1 - 1e-9:
            break
    (said,) = blm.compare_estimates(point, model.fit(**SHORT)).boundary
    assert "the data hardly tell it, and (x || g) without it may do" in said


def test_a_singular_matrix_without_zeros_and_ones():
    """Three effects of which the third is the difference of the others."""
    rng = fixed_rng(3)  # REML finds a singular matrix
    g, (x, z) = np.repeat(np.arange(12), 8), rng.normal(size=(2, 96))
    u, v = rng.normal(size=(2, 12))
    y = u[g] + v[g] * x + 0.7 * (u - v)[g] * z + 0.7 * rng.normal(size=96)
    model = blm.Model("y ~ x + z + (x + z | g)", pd.DataFrame({"y": y, "x": x, "z": z, "g": g}))
    point = model.fit_reml()
    sd, cor = sd_and_correlation(point.solution.covariances[0])
    assert point.is_singular and sd.min() > 0.1 and np.abs(cor[np.triu_indices(3, 1)]).max() < 0.99
    (said,) = blm.compare_estimates(point, model.fit(**SHORT)).boundary
    assert said.startswith("The covariance matrix of g is singular by REML: some combination of Intercept, x, z")


# -- refusals


def test_fits_that_do_not_belong_together(point, post):
    data = blm.load_dataset("sleepstudy")
    with pytest.raises(InputError, match="not PosteriorFit and PointFit"):
        blm.compare_estimates(post, point)
    with pytest.raises(InputError, match="not PointFit and PointFit"):
        blm.compare_estimates(point, point)
    others = {
        "another formula": blm.lmer("Reaction ~ Days + (1 | Subject)", data),
        "another response": blm.lmer(
            "Reaction ~ Days + (Days | Subject)", data.assign(Reaction=data["Reaction"] + 1.0)
        ),
        "fewer rows": blm.lmer("Reaction ~ Days + (Days | Subject)", data.iloc[:-1]),
        "another predictor": blm.lmer("Reaction ~ Days + (Days | Subject)", data.assign(Days=data["Days"] / 7)),
        "weights": blm.Model("Reaction ~ Days + (Days | Subject)", data, weights=1.0 + data["Days"]).fit_reml(),
        "an offset": blm.Model("Reaction ~ Days + (Days | Subject)", data, offset=data["Days"]).fit_reml(),
        "other groups": blm.lmer(
            "Reaction ~ Days + (Days | Subject)", data.assign(Subject=np.roll(data["Subject"], 5))
        ),
    }
    for what, other in others.items():
        with pytest.raises(InputError, match="different models"):
            blm.compare_estimates(other, post)
            pytest.fail(what)


def test_a_family_that_has_no_point_fit(point, model):
    robust = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"), family="student_t").fit(
        draws=50, tune=100, chains=2, random_seed=1, progressbar=False
    )
    with pytest.raises(InputError, match=r"different models.*student_t"):
        blm.compare_estimates(point, robust)


def test_bad_options(point, post):
    with pytest.raises(InputError, match="method='boot'"):
        blm.compare_estimates(point, post, method="boot")
    for bad in (0, 1, "95", True):
        with pytest.raises(InputError, match="ci_prob="):
            blm.compare_estimates(point, post, ci_prob=bad)
