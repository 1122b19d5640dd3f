"""Comparisons and slopes: against coefficients, against the predictions themselves, against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import rows as rows_module
from bayeslmm.results.point import PointFit

from .test_predict import joint_errors
from .test_rows import model_of, posterior_of, table_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]

NUMBERS = ["estimate", "std_error", "conf_low", "conf_high"]
# differences over 1e-5 of a range lose five of sixteen digits
DIFFERENCES = {"rtol": 1e-8, "atol": 1e-9}
# of a curve they are one-sided at the two ends of 60 rows: some 1e-5 / 30
ONE_SIDED = {"rtol": 1e-6}


@pytest.fixture(scope="module")
def fit():
    data = table_of(80, seed=8)
    data["y"] += 1.5 * pd.factorize(data["s"])[0] + data["x"] * pd.factorize(data["c"])[0]
    return blm.lmer("y ~ x * f + (x | s) + (1 | c)", data)


@pytest.fixture(scope="module")
def post():
    return posterior_of(model_of(right="x * f + (x | s) + (1 | c)"))


@pytest.fixture(params=["point", "posterior"])
def either(request, fit, post):
    return fit if request.param == "point" else post


def coefficient_table(either):
    """Estimate and standard error of every coefficient and of combinations c'β."""
    beta = either.fixef()
    return beta["estimate" if "estimate" in beta else "mean"], either.vcov()


# -- tests, adjustments, odds


def test_p_values_are_those_of_the_coefficients_and_are_adjusted(fit):
    slope, table = fit.slopes("x", at={"f": ["p"]}).iloc[0], fit.fixef()
    assert slope["p_value"] == pytest.approx(table.loc["x", "p_value"], rel=1e-4)
    assert slope["statistic"] == pytest.approx(table.loc["x", "statistic"], rel=1e-4)
    asked = {"at": {"x": [-1.0, 0.0, 2.0]}}
    plain, holm = fit.comparisons("f", **asked), fit.comparisons("f", adjust="holm", **asked)
    p, k = np.sort(plain["p_value"]), len(plain)
    wanted = np.maximum.accumulate(np.minimum(p * (k - np.arange(k)), 1.0))
    np.testing.assert_allclose(np.sort(holm["p_value"]), wanted)
    assert (holm["conf_low"] < plain["conf_low"]).all()
    with pytest.raises(errors.InputError, match=r"pairs\(adjust=...\)"):
        fit.comparisons("f", adjust="tukey")


def test_odds_ratios_are_those_of_the_averages():
    cbpp = blm.load_dataset("cbpp")
    fit = blm.glmer("p(incidence, size) ~ period + (1 | herd)", cbpp, family="binomial")
    at = {"at": {"herd": ["1"]}, "groups": "average"}
    found = fit.comparisons("period", kind="odds_ratio", **at)
    beta = fit.fixef()["estimate"].to_numpy()
    np.testing.assert_allclose(
        found["estimate"], np.exp(beta[1:]), rtol=1e-8
    )  # of one point they are those of the model
    np.testing.assert_allclose(found["std_error"], np.exp(beta[1:]) * fit.fixef()["std_error"].iloc[1:], rtol=1e-4)
    for end in ("conf_low", "conf_high"):
        np.testing.assert_allclose(found[end], np.exp(fit.fixef()[end].iloc[1:]), rtol=1e-4)
    np.testing.assert_allclose(found["statistic"], fit.fixef()["statistic"].iloc[1:], rtol=1e-4)
    linear = blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    with pytest.raises(errors.InputError, match="is no probability"):
        linear.comparisons("Days", kind="odds_ratio")
    by_name = linear.comparisons({"Days": (0, 9)})
    pd.testing.assert_frame_equal(by_name, linear.comparisons("Days", contrast=(0, 9)))


def test_a_posterior_has_no_p_values_to_adjust(post):
    with pytest.raises(errors.InputError, match="no p-values to adjust"):
        post.slopes("x", adjust="holm")


# -- linear models: contrasts of coefficients


def test_slopes_of_a_linear_model_are_its_coefficients():
    data = table_of()
    for fit in (blm.lmer("y ~ x + (x | s)", data), posterior_of(model_of(right="x + (x | s)"))):
        beta, vcov = coefficient_table(fit)
        for found in (fit.slopes("x"), fit.comparisons("x"), fit.slopes("x", at={"x": [-1.0]})):
            np.testing.assert_allclose(found["estimate"], beta["x"], **DIFFERENCES)
            np.testing.assert_allclose(found["std_error"], np.sqrt(vcov.loc["x", "x"]), **DIFFERENCES)
    np.testing.assert_allclose(fit.slopes("x")[NUMBERS[2:]], fit.fixef().loc[["x"], NUMBERS[2:]], **DIFFERENCES)


def test_interactions_are_averaged_over_the_rows(either):
    """dy/dx = β_x + share of q times β_xq + share of r times β_xr."""
    beta, vcov = coefficient_table(either)
    names, f = list(beta.index), either.design.frame["f"]
    weights = pd.Series(0.0, index=names)
    weights["x"], weights["x:f[q]"], weights["x:f[r]"] = 1.0, (f == "q").mean(), (f == "r").mean()
    found = either.slopes("x").iloc[0]
    assert found["term"] == "x" and found["contrast"] == "d/dx"
    np.testing.assert_allclose(found["estimate"], weights @ beta, **DIFFERENCES)
    np.testing.assert_allclose(found["std_error"], np.sqrt(weights @ vcov @ weights), **DIFFERENCES)
    by = either.slopes("x", by="f")
    assert list(by["f"]) == ["p", "q", "r"]
    known = [beta["x"], beta["x"] + beta["x:f[q]"], beta["x"] + beta["x:f[r]"]]
    np.testing.assert_allclose(by["estimate"], known, **DIFFERENCES)


def test_levels_are_compared_at_the_mean_of_the_others(either):
    beta, vcov = coefficient_table(either)
    x = either.design.frame["x"].mean()
    table = either.comparisons("f")
    assert list(table["contrast"]) == ["q - p", "r - p"]
    for level, row in zip("qr", table.itertuples(), strict=True):
        weights = pd.Series(0.0, index=beta.index)
        weights[f"f[{level}]"], weights[f"x:f[{level}]"] = 1.0, x
        np.testing.assert_allclose(row.estimate, weights @ beta, rtol=1e-9)
        np.testing.assert_allclose(row.std_error, np.sqrt(weights @ vcov @ weights), rtol=1e-9)
    pairs = either.comparisons("f", contrast="pairwise")
    assert list(pairs["contrast"]) == ["q - p", "r - p", "r - q"]
    np.testing.assert_allclose(pairs["estimate"][2], pairs["estimate"][1] - pairs["estimate"][0], rtol=1e-8)
    one = either.comparisons("f", contrast=("r", "q"))
    assert list(one["contrast"]) == ["q - r"]
    np.testing.assert_allclose(one["estimate"], -pairs["estimate"][2], rtol=1e-9)
    np.testing.assert_allclose(one["std_error"], pairs["std_error"][2], rtol=1e-9)


def test_steps_of_a_number(either):
    unit = either.comparisons("x").iloc[0]
    for contrast, label, size in (
        ("sd", "+sd", either.design.frame["x"].std()),
        (2.5, "+2.5", 2.5),
        (-1, "-1", -1.0),
        ((0, 3), "3 - 0", 3.0),
    ):
        found = either.comparisons("x", contrast=contrast).iloc[0]
        assert found["contrast"] == label
        np.testing.assert_allclose(found["estimate"], size * unit["estimate"], rtol=1e-9)
        np.testing.assert_allclose(found["std_error"], abs(size) * unit["std_error"], rtol=1e-9)


def test_points_and_rows(either):
    points = either.comparisons("f", at={"x": [-1.0, 0.5]})
    df, sign = (["df"], ["statistic", "p_value"]) if isinstance(either, PointFit) else ([], ["p_positive"])
    assert list(points) == ["term", "contrast", "x", *NUMBERS[:2], *df, *NUMBERS[2:], *sign] and len(points) == 4
    rows = either.design.frame.assign(x=0.5)
    np.testing.assert_allclose(
        points.query("x == 0.5")[NUMBERS], either.comparisons("f", newdata=rows)[NUMBERS], rtol=1e-9
    )
    single = either.comparisons("f", average=False)
    n = either.nobs
    assert len(single) == 2 * n and list(single["row"].head(2)) == list(either.design.index[:2])
    np.testing.assert_allclose(single["estimate"].head(n).mean(), either.comparisons("f")["estimate"][0], rtol=1e-9)


def test_slopes_through_transforms_and_splines(either):
    data = table_of().assign(x=lambda d: np.exp(d["x"]))
    made = (lambda right: blm.lmer(f"y ~ {right}", data)) if either.nobs == 80 else None
    if made is None:
        model = blm.Model("y ~ np.log(x) + (1 | s)", data)
        post = posterior_of(model)
        found = post.slopes("x", at={"x": [0.5, 2.0]})
        np.testing.assert_allclose(
            found["estimate"], post.fixef()["mean"]["np.log(x)"] / np.array([0.5, 2.0]), rtol=1e-6
        )
        return
    fit = made("np.log(x) + I(x ** 2) + (1 | s)")
    beta = fit.fixef()["estimate"]
    x = np.array([0.5, 2.0])
    found = fit.slopes("x", at={"x": x})
    known = beta["np.log(x)"] / x + 2 * x * beta["I(x ** 2)"]
    # a central difference over a hundred-thousandth of the range errs by its square
    np.testing.assert_allclose(found["estimate"], known, rtol=1e-6)
    spline = made("bs(x, df=5) + (1 | s)")
    ends = spline.slopes("x", at={"x": [data["x"].min(), data["x"].max()]})  # one-sided: a spline ends here
    assert ends["estimate"].notna().all()
    middle = float(data["x"].median())
    rows = pd.DataFrame({"x": [middle - 1e-3, middle + 1e-3]})
    low, high = spline.predict(rows, groups="average")
    np.testing.assert_allclose(spline.slopes("x", at={"x": [middle]})["estimate"], (high - low) / 2e-3, rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(low=st.floats(-3, 3), high=st.floats(-3, 3), f=st.sampled_from("pqr"))
def test_a_difference_is_one_of_predictions(fit, post, low, high, f):
    rows = pd.DataFrame({"x": [low, high], "f": f, "s": "s1", "c": "c2"})
    for groups in ("average", "observed", {"s": "observed", "c": "average"}):
        for each, value in ((fit, "estimate"), (post, "estimate")):
            found = each.comparisons("x", contrast=(low, high), newdata=rows.tail(1), groups=groups)
            predicted = each.predict(rows, groups=groups)
            predicted = predicted if each is fit else predicted["mean"]
            np.testing.assert_allclose(found[value], np.diff(predicted), rtol=1e-8, atol=1e-10)


# -- groups


def test_contrasts_in_observed_groups_by_dense_algebra(fit):
    joint = joint_errors(fit)
    rows = fit.design.frame
    low, high = (fit.design.at(rows.assign(x=x)) for x in (0.0, 2.0))
    A = [high.X - low.X]
    for k, known in enumerate(fit.design.groups):
        Z = np.zeros((len(rows), known.n_levels * known.q))
        for i, code in enumerate(high.groups[k].codes):
            Z[i, code * known.q : (code + 1) * known.q] = high.groups[k].Z[i] - low.groups[k].Z[i]
        A.append(Z)
    whole = np.hstack(A).mean(axis=0)
    found = fit.comparisons("x", contrast=(0.0, 2.0), groups="observed")
    np.testing.assert_allclose(found["std_error"] ** 2, whole @ joint @ whole, rtol=1e-8)
    by = fit.comparisons("x", contrast=(0.0, 2.0), groups="observed", by="s")
    for level, row in zip(sorted(rows["s"].unique()), by.itertuples(), strict=True):
        own = np.hstack(A)[(rows["s"] == level).to_numpy()].mean(axis=0)
        np.testing.assert_allclose(row.std_error**2, own @ joint @ own, rtol=1e-8)


def test_new_groups_are_the_same_on_both_sides(fit):
    """A random intercept cancels; a random slope stays, shared by the rows of a group."""
    new = {"s": "average", "c": "new"}
    pd.testing.assert_frame_equal(fit.comparisons("x", groups=new), fit.comparisons("x"), rtol=1e-9)
    slope = fit.var_corr()["s"].loc["x", "x"]
    base = fit.slopes("x")["std_error"][0] ** 2
    shares = fit.design.frame["s"].value_counts(normalize=True)
    found = fit.slopes("x", groups={"s": "new", "c": "average"})["std_error"][0] ** 2
    np.testing.assert_allclose(found - base, slope * (shares**2).sum(), rtol=1e-6)
    post = posterior_of(model_of(right="x + (1 | s)"), (4, 500))
    average, new_ones = post.comparisons("x"), post.comparisons("x", groups="new", random_seed=1)
    np.testing.assert_allclose(new_ones[NUMBERS], average[NUMBERS], rtol=1e-9)
    unlabelled = post.design.frame.assign(s=None)
    np.testing.assert_allclose(
        post.comparisons("x", newdata=unlabelled, groups="new", random_seed=1)[NUMBERS], average[NUMBERS], rtol=1e-9
    )
    slopes = posterior_of(model_of(right="x + (x | s)"), (4, 1000), sd_s=np.array([1.0, 2.0]), beta=np.zeros(2))
    spread = slopes.slopes("x", groups="new", at={"x": [0.0], "s": ["a", "b"]}, random_seed=1, draws=True)
    drawn = spread.values.reshape(-1, 2)
    np.testing.assert_allclose(drawn.std(axis=0), 2.0, rtol=0.06)  # known to 1.1 %
    assert abs(np.corrcoef(drawn, rowvar=False)[0, 1]) < 0.08


# -- other links


def test_average_effects_of_a_logit_model_from_draws():
    post = posterior_of(model_of("bernoulli", "x + f + (1 | s)"))
    design, beta = post.design, post.draws("beta").reshape(60, -1)
    names = list(design.x_names)
    eta = beta @ design.X.T
    p = special.expit(eta)
    slope = (p * (1 - p)).mean(axis=1) * beta[:, names.index("x")]
    found = post.slopes("x")
    np.testing.assert_allclose(found["estimate"], slope.mean(), **ONE_SIDED)
    np.testing.assert_allclose(found["std_error"], slope.std(ddof=1), **ONE_SIDED)
    X0, X1 = design.X.copy(), design.X.copy()
    for X, q in ((X0, 0.0), (X1, 1.0)):
        X[:, names.index("f[q]")], X[:, names.index("f[r]")] = q, 0.0
    low, high = (special.expit(beta @ X.T).mean(axis=1) for X in (X0, X1))
    difference, ratio = post.comparisons("f"), post.comparisons("f", kind="ratio")
    np.testing.assert_allclose(difference["estimate"][0], (high - low).mean(), rtol=1e-9)
    np.testing.assert_allclose(ratio["estimate"][0], (high / low).mean(), rtol=1e-9)
    assert list(ratio["contrast"]) == ["q / p", "r / p"]
    np.testing.assert_allclose(
        ratio.loc[0, ["conf_low", "conf_high"]].astype(float), np.quantile(high / low, [0.025, 0.975]), rtol=1e-9
    )


def test_the_population_and_the_average_group_differ_behind_a_link():
    post = posterior_of(model_of("poisson", "x + (1 | s)"), sd_s=1.0)
    average, population = (post.comparisons("x", groups=g, draws=True) for g in ("average", "population"))
    np.testing.assert_allclose(population, average * np.exp(0.5), rtol=1e-9)  # E exp(b)
    ratios = [post.comparisons("x", kind="ratio", groups=g)[NUMBERS] for g in ("average", "population")]
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=1e-9)


def test_categories_have_a_row_each():
    post = posterior_of(model_of("ordinal", "x + (1 | s)"))
    found = post.slopes("x")
    assert list(found["category"]) == list(post.design.levels)
    assert abs(found["estimate"].sum()) < 1e-9  # probabilities add up to one
    drawn = post.comparisons("x", average=False, draws=True)
    assert drawn.sizes["comparison"] == 60 * len(post.design.levels) and "category" in drawn.coords


def test_ratios_of_a_linear_model_by_the_delta_method(fit):
    """With few draws of β from its sampling distribution the ratio scatters as the delta method says."""
    rows = fit.design.frame
    low, high = (fit.design.at(rows.assign(x=x), groups=[]).X.mean(axis=0) for x in (0.0, 2.0))
    beta = np.random.default_rng(1).multivariate_normal(fit.fixef()["estimate"], fit.vcov() * 1e-6, 4000)
    drawn = (beta @ high) / (beta @ low)
    found = fit.comparisons("x", contrast=(0.0, 2.0), kind="ratio").iloc[0]
    mean = fit.solution.beta
    np.testing.assert_allclose(found["estimate"], (mean @ high) / (mean @ low), rtol=1e-9)
    np.testing.assert_allclose(found["std_error"], drawn.std() * 1e3, rtol=0.06)  # 4,000 draws: 1.1 %


def test_blocks_of_rows_make_one_number(post, monkeypatch):
    whole = [post.slopes("x", by="f"), post.comparisons("f", kind="ratio", groups="observed")]
    monkeypatch.setattr(rows_module, "NUMBERS", 7 * 60)
    for one, other in zip(
        whole, [post.slopes("x", by="f"), post.comparisons("f", kind="ratio", groups="observed")], strict=True
    ):
        pd.testing.assert_frame_equal(other, one, rtol=1e-9)


def test_offsets_of_the_rows():
    offset = np.linspace(-0.5, 0.5, 60)
    post = posterior_of(model_of("poisson", "x + (1 | s)", offset=offset))
    beta = post.draws("beta").reshape(60, -1)
    known = (np.exp(beta @ post.design.X.T + offset) * beta[:, 1:]).mean(axis=1)
    np.testing.assert_allclose(post.slopes("x")["estimate"], known.mean(), **ONE_SIDED)
    with pytest.raises(errors.DataError, match="offset="):
        post.slopes("x", at={"x": [0.0]})
    single = post.slopes("x", newdata=post.design.frame.head(3), offset=[0.1, 0.2, 0.3])
    known = (np.exp(beta @ post.design.X[:3].T + [0.1, 0.2, 0.3]) * beta[:, 1:]).mean()
    np.testing.assert_allclose(single["estimate"], known, rtol=1e-7)


# -- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.comparisons("z"), "'z' is no predictor of the model; it has 'x', 'f'"),
        (lambda f: f.comparisons("s"), "'s' is no predictor"),
        (lambda f: f.slopes("f"), r"comparisons\('f'\)"),
        (lambda f: f.comparisons("x", kind="log"), "'difference', 'ratio' or"),
        (lambda f: f.comparisons("x", contrast="double"), "how much it grows"),
        (lambda f: f.comparisons("x", contrast=0), "how much it grows"),
        (lambda f: f.comparisons("x", contrast=(1, 2, 3)), "two values"),
        (lambda f: f.comparisons("f", contrast=1), "'pairwise' or a pair"),
        (lambda f: f.comparisons("f", contrast=("p", "z")), "z"),
        (lambda f: f.comparisons("x", by="nothing"), "by='nothing'"),
        (lambda f: f.comparisons("x", at={"f": ["p"]}, by="f"), "one by one"),
        (lambda f: f.comparisons("f", at={"f": ["p"]}), "leave it out of at="),
        (lambda f: f.comparisons("x", average=False, by="f"), "averaged over"),
        (lambda f: f.comparisons("x", groups="typical"), r"comparisons\(groups='typical'\)"),
        (lambda f: f.comparisons("x", at={"f": ["p"]}, groups="observed"), "no column 's'"),
        (lambda f: f.comparisons("x", newdata=pd.DataFrame({"f": ["p"]})), "'x'"),
        (lambda f: f.slopes("x", newdata=pd.DataFrame({"f": ["p"]})), "'x'"),
        (lambda f: f.comparisons("x", ci_prob=95), "ci_prob=95"),
    ],
)
def test_comparisons_that_make_no_sense(either, call, message):
    with pytest.raises(errors.InputError, match=message):
        call(either)


def test_a_point_fit_has_no_draws(fit):
    for asked in ({"draws": True}, {"ci_kind": "hdi"}):
        with pytest.raises(errors.InputError, match="no draws"):
            fit.slopes("x", **asked)
