"""Predictive checks: statistics against plain loops, p-values, what they say of right and wrong models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.engine.reml import conditional_draws
from bayeslmm.engine.scaling import Problem
from bayeslmm.predictive import statistics as statistics
from bayeslmm.predictive.numbers import count_levels, summarise
from bayeslmm.predictive.statistics import Split, Statistic
from bayeslmm.results.replicates import replicate

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


@pytest.fixture(scope="module")
def hsb():
    return blm.load_dataset("hsb")


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def some(hsb):
    """A third of the schools."""
    return hsb[hsb["school"].isin(sorted(hsb["school"].unique())[::3])]


@pytest.fixture(scope="module")
def schools(some):
    return blm.Model("mathach ~ ses + (1 | school)", some).fit(random_seed=1)


# -- statistics against loops


def plain_within(name, y):
    n, mean = len(y), sum(y) / len(y)
    square = sum((v - mean) ** 2 for v in y)
    return {
        "mean": mean,
        "sd": (square / (n - 1)) ** 0.5 if n > 1 else np.nan,
        "min": min(y),
        "max": max(y),
        "median": float(np.median(y)),
        "q10": float(np.percentile(y, 10)),
        "skewness": (sum((v - mean) ** 3 for v in y) / n) / (square / n) ** 1.5 if square else np.nan,
        "share_of_zeros": sum(v == 0 for v in y) / n,
        "share_of_ones": sum(v == 1 for v in y) / n,
    }[name]


def plain_between(name, parts):
    sizes = [len(part) for part in parts]
    n, J = sum(sizes), len(parts)
    grand = sum(sum(part) for part in parts) / n
    means = [sum(part) / len(part) for part in parts]
    B = sum(k * (m - grand) ** 2 for k, m in zip(sizes, means, strict=True)) / (J - 1)
    W = sum((v - m) ** 2 for part, m in zip(parts, means, strict=True) for v in part) / (n - J)
    n0 = (n - sum(k**2 for k in sizes) / n) / (J - 1)
    sds = [np.std(part, ddof=1) for part in parts if len(part) >= 5]
    return {
        "between_group_sd": max(0.0, (B - W) / n0) ** 0.5,
        "icc": (B - W) / (B + (n0 - 1) * W),
        "smallest_group_mean": min(means),
        "largest_group_mean": max(means),
        "within_sd_ratio": max(sds) / min(sds),
    }[name]


def some_data(seed, S=4, n=60, J=7):
    """Unbalanced groups, rows without one, one row in one of them, counts with ties and zeros."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(J, size=n, p=np.arange(1, J + 1) / np.arange(1, J + 1).sum())
    codes[rng.choice(n, 4, replace=False)] = -1
    codes[codes == 0] = 1
    codes[0] = 0
    return rng.poisson(2.0, size=(S, n)) + rng.integers(0, 3, J)[codes] * 1.0, codes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [*statistics.WITHIN, "q10"])
def test_statistics_within_levels_are_those_of_loops(name, seed):
    y, codes = some_data(seed)
    split = Split.of("g", codes, tuple("abcdefg"))
    statistic = statistics.named(name, blm.Model("y ~ 1", pd.DataFrame({"y": [1.0, 2.0, 4.0]})).design)
    found = statistics.compute(y, [(statistic, split)])
    expected = [[plain_within(name, list(row[codes == c])) for c in range(7) if (codes == c).any()] for row in y]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert split.labels == tuple("abcdefg"[c] for c in range(7) if (codes == c).any())
    whole = statistics.compute(y, [(statistic, Split.whole(y.shape[1]))])
    np.testing.assert_allclose(whole[:, 0], [plain_within(name, list(row)) for row in y], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", list(statistics.BETWEEN))
def test_statistics_between_levels_are_those_of_loops(name, seed):
    y, codes = some_data(seed)
    split = Split.of("g", codes, tuple("abcdefg"))
    found = statistics.compute(y, [(Statistic(name=name, compute=statistics.BETWEEN[name]), split)])
    expected = [plain_between(name, [list(row[codes == c]) for c in range(7) if (codes == c).any()]) for row in y]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)


def test_blocks_of_data_sets_do_not_matter(monkeypatch):
    y, codes = some_data(1, S=7)
    wanted = [(Statistic(name=n, compute=f), Split.of("g", codes, range(7))) for n, f in statistics.BETWEEN.items()]
    whole = statistics.compute(y, wanted)
    monkeypatch.setattr(statistics, "NUMBERS", 2 * y.shape[1])
    np.testing.assert_allclose(statistics.compute(y, wanted), whole, rtol=1e-13)  # sums of other lengths


def test_order_of_rows_names_of_levels_shift_and_scale():
    y, codes = some_data(2)
    rng = np.random.default_rng(0)
    order, renamed = rng.permutation(y.shape[1]), rng.permutation(7)
    relabelled = np.where(codes < 0, -1, renamed[codes])

    def between(values, codes):
        split = Split.of("g", codes, range(7))
        asked = [(Statistic(name=n, compute=f), split) for n, f in statistics.BETWEEN.items()]
        return dict(zip(statistics.BETWEEN, statistics.compute(values, asked).T, strict=True))

    here = between(y, codes)
    for name, other in between(y[:, order], relabelled[order]).items():
        np.testing.assert_allclose(other, here[name], rtol=1e-10)
    moved = between(3.0 * y - 7.0, codes)
    np.testing.assert_allclose(moved["between_group_sd"], 3.0 * here["between_group_sd"], rtol=1e-10)
    for name in ("icc", "within_sd_ratio"):
        np.testing.assert_allclose(moved[name], here[name], rtol=1e-10)
    for name in ("smallest_group_mean", "largest_group_mean"):
        np.testing.assert_allclose(moved[name], 3.0 * here[name] - 7.0, rtol=1e-10)


def test_the_estimates_of_variances_are_unbiased_where_groups_are_unbalanced():
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(40), rng.integers(2, 12, 40))
    y = rng.normal(0, 2, (2000, 40))[:, codes] + rng.normal(0, 3, (2000, len(codes)))
    split = Split.of("g", codes, range(40))
    found = statistics.compute(y, [(statistics.named("between_group_sd", None), split)])[:, 0]
    assert np.mean(found**2) == pytest.approx(4.0, rel=0.03)  # se of the mean of 2,000: about 0.03


# -- p-values and counts


def test_p_values_count_ties_half_and_leave_out_what_is_undefined():
    drawn = np.array([[1.0, 1.0], [2.0, np.nan], [2.0, 3.0], [3.0, 2.0]])
    asked = [(statistics.user_statistic(name, np.mean), Split.whole(3)) for name in "ab"]
    frame = summarise(asked, np.array([2.0, 2.0]), drawn, 0.5)
    assert frame["p_value"].tolist() == [0.5, (1 + 0.5) / 3]  # one above, two ties; one above, one tie, of three
    assert frame["p_two_sided"].tolist() == [1.0, 1.0]
    assert frame["mean"].tolist() == [2.0, 2.0] == frame["median"].tolist()
    low = summarise(asked, np.array([0.0, 9.0]), drawn, 0.5)
    assert low["p_value"].tolist() == [1.0, 0.0] and low["p_two_sided"].tolist() == [0.0, 0.0]


def test_a_level_in_which_nothing_varies_is_beyond_every_ratio():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(range(6), 8), "y": rng.normal(size=48)})
    data.loc[data["g"] == 2, "y"] = 0.25
    check = blm.ppc(blm.lmer("y ~ 1 + (1 | g)", data), "within_sd_ratio", random_seed=1)
    assert check.table["p_value"].iloc[0] == 0.0 and check.failed == ("within_sd_ratio | g",)
    assert "(inf, expected" in check.verdict


def test_levels_outside_are_counted_as_in_loops():
    rng = np.random.default_rng(3)
    drawn = rng.poisson(4.0, (200, 12)).astype(float)
    observed = rng.poisson(5.0, 12).astype(float)
    asked = [(statistics.named("mean", None), Split.of("g", np.arange(12), range(12)))]
    frame = summarise(asked, observed, drawn, 0.87)
    found = count_levels(frame, drawn, 0.87).iloc[0]

    def outside(value, others):
        p = np.mean(others > value) + 0.5 * np.mean(others == value)
        return 2 * min(p, 1 - p) < 0.13

    counts = [sum(outside(drawn[s, j], drawn[:, j]) for j in range(12)) for s in range(200)]
    count = sum(outside(observed[j], drawn[:, j]) for j in range(12))
    assert (found["outside"], found["levels"]) == (count, 12)
    assert found["mean"] == pytest.approx(np.mean(counts), rel=1e-12)
    p = np.mean(np.greater(counts, count)) + 0.5 * np.mean(np.equal(counts, count))
    assert found["p_value"] == pytest.approx(p, rel=1e-12)


def test_prior_predictive_p_values_are_uniform_for_data_from_the_prior():
    """Exact calibration: the data are one more draw of what they are compared with."""
    groups = pd.DataFrame({"y": np.arange(24.0), "x": np.tile([0.0, 1.0, 2.0], 8), "g": np.repeat(range(8), 3)})
    priors = {
        "Intercept": blm.Prior("Normal", mu=0, sigma=2),
        "x": blm.Prior("Normal", mu=0, sigma=1),
        "sd": blm.Prior("HalfNormal", sigma=1),
        "sigma": blm.Prior("HalfNormal", sigma=1),
    }
    model = blm.Model("y ~ x + (1 | g)", groups, priors=priors)
    data = model.prior_predictive(80, random_seed=8)["prior_predictive/y"].to_numpy()[0]
    p = []
    for seed, y in enumerate(data):
        again = blm.Model("y ~ x + (1 | g)", groups.assign(y=y), priors=priors)
        check = blm.ppc(again, draws=99, random_seed=seed)
        assert check.source == "prior" and len(check.table) == 9  # groups of three rows: no ratio of sds
        p.append(check.table["p_value"])
    for column in np.array(p).T:  # nine statistics, each uniform; between_group_sd has ties at zero
        assert stats.kstest(column, "uniform").pvalue > 1e-3


# -- what is simulated


def test_effects_of_observed_groups_are_drawn_given_estimates_as_the_dense_formula_says():
    fit = blm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    design, solution = fit.design, fit.solution
    m = sum(g.n_levels for g in design.groups)
    drawn = np.concatenate([d[:, :, 0] for d in conditional_draws(Problem.of(design), solution, np.eye(m))], axis=1)
    root = drawn - np.concatenate([modes[:, 0] for modes in solution.modes])
    Z = np.concatenate([np.eye(g.n_levels)[g.codes] for g in design.groups], axis=1)
    prior = np.concatenate(
        [np.full(g.n_levels, 1 / c[0, 0]) for g, c in zip(design.groups, solution.covariances, strict=True)]
    )
    dense = np.linalg.inv(Z.T @ Z / fit.sigma**2 + np.diag(prior))
    np.testing.assert_allclose(root.T @ root, dense, rtol=1e-8, atol=1e-12)


def test_slopes_are_drawn_with_the_covariance_of_the_modes(sleep):
    fit = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    drawn = conditional_draws(Problem.of(fit.design), fit.solution, np.eye(36))[0] - fit.solution.modes[0]
    found = np.einsum("sja,sjb->jab", drawn, drawn)
    np.testing.assert_allclose(found, fit.solution.mode_covariances[0], rtol=1e-8)


@pytest.mark.parametrize("kind", ["posterior", "estimates", "prior"])
def test_targets_mean_what_they_mean_in_predictions(kind, sleep):
    model = blm.Model("Reaction ~ 1 + (1 | Subject)", sleep, priors={"sd": blm.Prior("Uniform", lower=30, upper=50)})
    fit = {"posterior": lambda: model.fit(random_seed=1), "estimates": model.fit_reml, "prior": lambda: model}[kind]()
    icc = {
        target: blm.ppc(fit, "icc", groups=target, draws=300, random_seed=1).table["mean"].iloc[0]
        for target in ("observed", "new", "average", "population")
    }
    assert icc["observed"] > 0.1 and icc["new"] > 0.1
    assert abs(icc["average"]) < 0.02 and abs(icc["population"]) < 0.02  # rows share no effect: 0 ± 0.045/√300
    sd = {
        t: blm.ppc(fit, "sd", groups={"Subject": t}, draws=300, random_seed=1).table["mean"].iloc[0]
        for t in ("average", "population")
    }
    assert sd["population"] > 1.1 * sd["average"] or kind == "prior"  # priors of sigma are wide


def test_new_and_observed_groups_differ_in_whom_they_resemble(schools):
    observed = blm.ppc(schools, "mean", by="school", random_seed=1)
    new = blm.ppc(schools, "mean", by="school", groups="new", random_seed=1)
    own = [np.corrcoef(c.table["observed"], c.table["mean"])[0, 1] for c in (observed, new)]
    assert own[0] > 0.95 and own[1] < own[0] - 0.2
    assert observed.counts["outside"].iloc[0] < new.counts["outside"].iloc[0]


def test_the_same_seed_gives_the_same_check(schools):
    one, other, third = (blm.ppc(schools, draws=50, random_seed=seed) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(one.table, other.table)
    assert not one.table.equals(third.table)


# -- verdicts


def test_complete_pooling_does_not_reproduce_differences_between_schools(hsb, some):
    check = blm.ppc(blm.Model("mathach ~ ses", hsb).fit_reml(), by="school", random_seed=1)
    assert {"between_group_sd | school", "icc | school", "mean | school"} <= set(check.failed)
    icc = check.table.set_index("stat").loc["icc"]
    assert icc["conf_high"] < 0.06 and icc["observed"] > 0.17
    assert "does not reproduce between_group_sd | school (2.8" in check.verdict
    assert check.counts.set_index("stat").loc["mean", "outside"] > 50
    posterior = blm.Model("mathach ~ ses", some).fit(random_seed=1)
    again = blm.ppc(posterior, ["between_group_sd", "icc"], by=some["school"], random_seed=1)
    assert again.failed == ("between_group_sd | school", "icc | school")


def test_partial_pooling_does(schools):
    check = blm.ppc(schools, ["mean", "sd", "between_group_sd", "icc", "largest_group_mean"], random_seed=1)
    assert check.failed == () and check.doubtful == ()
    assert check.verdict == "the model reproduces the 5 statistics looked at."


def test_a_normal_model_does_not_reproduce_heavy_tails():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(30), 10)
    data = pd.DataFrame({"g": g, "y": rng.normal(0, 1, 30)[g] + rng.standard_t(2, 300)})
    check = blm.ppc(blm.lmer("y ~ 1 + (1 | g)", data), random_seed=1)
    assert {"min", "max"} & set(check.failed) and "between_group_sd | g" not in check.failed
    robust = blm.Model("y ~ 1 + (1 | g)", data, family="student_t")
    post = robust.fit(draws=200, tune=200, chains=2, random_seed=1, progressbar=False)
    assert not set(blm.ppc(post, random_seed=1).failed) & {"min", "max", "within_sd_ratio | g"}


def test_a_right_model_is_seldom_accused():
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(20), 8)
    failed, p = 0, []
    for seed in range(12):
        y = 5.0 + rng.normal(0, 1, 20)[g] + rng.normal(0, 2, 160)
        check = blm.ppc(blm.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"g": g, "y": y})), random_seed=seed)
        failed += bool(check.failed)
        p.append(check.table["p_value"])
    assert failed <= 1  # of 12, each with probability 5% at most
    assert 0.25 < np.mean(p) < 0.75


def test_few_data_sets_are_in_doubt_and_say_so(hsb):
    pooled = blm.Model("mathach ~ ses", hsb).fit_reml()
    check = blm.ppc(pooled, by="school", draws=50, random_seed=1)
    assert check.failed == () and "icc | school" in check.doubtful
    assert "More data sets would tell more: draws=280." in check.verdict


def test_slopes_by_day(sleep):
    checks = [
        blm.ppc(blm.lmer(f"Reaction ~ Days + ({bar} | Subject)", sleep), "sd", by="Days", random_seed=1)
        for bar in ("1", "Days")
    ]
    assert [check.failed for check in checks] == [("sd | Days",), ()]


# -- families and scales


def test_proportions_categories_and_counts():
    cows = blm.load_dataset("cbpp")
    cows.loc[len(cows)] = {"herd": cows["herd"].iloc[0], "incidence": 0, "size": 0, "period": cows["period"].iloc[0]}
    check = blm.ppc(
        blm.Model("p(incidence, size) ~ period + (1 | herd)", cows, family="binomial"), draws=20, random_seed=1
    )
    np.testing.assert_allclose(check.y, (cows["incidence"] / cows["size"])[:-1])
    assert ((check.y_rep >= 0) & (check.y_rep <= 1)).all() and check.y_rep.shape == (20, 56)
    assert check.table["n"].iloc[0] == 56 == len(check.index)
    assert check.table["stat"].tolist()[:4] == ["mean", "sd", "share_of_zeros", "max"]
    assert "proportions" in str(check)

    science = blm.load_dataset("science")
    check = blm.ppc(blm.Model("like ~ sex + (1 | school)", science, family="ordinal"), draws=20, random_seed=1)
    shares = check.table[check.table["stat"].str.startswith("share")]
    assert len(shares) == 8 and shares["observed"].sum() == pytest.approx(1.0)
    assert shares["observed"].iloc[0] == pytest.approx((check.design.y == 0).mean())
    assert check.y.min() == 1 and check.y.max() == 8

    liked = science.assign(liked=np.where(science["like"] > 4, "yes", "no"))
    check = blm.ppc(blm.Model("liked ~ sex + (1 | school)", liked, family="bernoulli"), draws=20, random_seed=1)
    assert check.table["stat"].iloc[0] == "mean" and "Means are shares of yes" in str(check)
    again = blm.ppc(
        blm.Model("liked ~ sex + (1 | school)", liked, family="bernoulli"), "share[no]", draws=20, random_seed=1
    )
    assert again.table["observed"].iloc[0] == pytest.approx(1.0 - check.table["observed"].iloc[0])

    check = blm.ppc(
        blm.Model("incidence ~ period + (1 | herd)", cows, family="poisson"), "share_of_zeros", draws=20, random_seed=1
    )
    assert check.table["observed"].iloc[0] == (cows["incidence"] == 0).mean()
    assert check.idata.prior_predictive["y"].dtype.kind == "i"


def test_transformed_responses_are_looked_at_as_the_formula_has_them():
    chicks = blm.load_dataset("chickweight")
    check = blm.ppc(blm.lmer("sqrt(weight) ~ Time + (Time | Chick)", chicks), "mean", draws=20, random_seed=1)
    assert check.table["observed"].iloc[0] == pytest.approx(np.sqrt(chicks["weight"]).mean())
    assert "on the scale of sqrt(weight)" in str(check)


def test_impossible_data_sets_are_left_out_aloud():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.gamma(5, 1, 6), "g": list("aabbcc")})
    priors = {"Intercept": blm.Prior("Normal", mu=2, sigma=2), "sd": blm.Prior("HalfNormal", sigma=0.1)}
    model = blm.Model("y ~ 1 + (1 | g)", data, family="gamma", link="identity", priors=priors)
    check = blm.ppc(model, "mean", draws=200, random_seed=1)
    assert 0 < len(check.y_rep) < 200 and np.isfinite(check.y_rep).all()
    assert f"{200 - len(check.y_rep)} data sets with impossible or infinite responses left out" in str(check)
    never = blm.Model(
        "y ~ 1 + (1 | g)",
        data,
        family="gamma",
        link="identity",
        priors=priors | {"Intercept": blm.Prior("Normal", mu=-50, sigma=1)},
    )
    with pytest.raises(errors.FitError, match="none of 20 data sets"):
        blm.ppc(never, draws=20, random_seed=1)


# -- by


def test_by_takes_factors_columns_and_values(sleep):
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep.assign(lab=np.repeat(["A", "B"], 90)))
    asked = [
        blm.ppc(fit, "mean", by=by, draws=20, random_seed=1)
        for by in (
            "lab",
            sleep["Subject"].map(lambda s: "A" if int(s) <= 335 else "B").rename("lab"),
            ["A"] * 90 + ["B"] * 90,
        )
    ]
    for check in asked:
        assert check.table["level"].tolist() == ["A", "B"] and check.table["n"].tolist() == [90, 90]
        pd.testing.assert_frame_equal(check.table.drop(columns="group"), asked[0].table.drop(columns="group"))
    assert [check.by for check in asked] == ["lab", "lab", "by"]
    assert blm.ppc(fit, "mean", by="Subject", draws=20).table["level"].tolist() == sorted(sleep["Subject"].unique())


def test_numbers_are_cut_into_bins_and_missing_levels_left_out(hsb):
    fit = blm.Model("mathach ~ ses + (1 | school)", hsb).fit_reml()
    check = blm.ppc(fit, "mean", by="ses", draws=20, random_seed=1)
    assert len(check.table) == 10 and check.table["n"].between(600, 850).all()
    lower = check.table["level"].iloc[0].split(" to ")[1]
    in_first = hsb["ses"] <= float(lower)
    assert check.table["observed"].iloc[0] == pytest.approx(hsb.loc[in_first, "mathach"].mean())
    some = pd.Series(np.where(np.arange(len(hsb)) < 100, np.nan, hsb["school"].astype(float)), index=hsb.index)
    missing = blm.ppc(fit, "mean", by=some, draws=20, random_seed=1)
    assert missing.table["n"].sum() == len(hsb) - 100 and isinstance(missing.table["level"].iloc[0], int)


def test_values_follow_the_labels_of_rows_that_were_used(sleep):
    holes = sleep.copy()
    holes.loc[holes.index[:10], "Reaction"] = np.nan
    fit = blm.Model("Reaction ~ Days + (1 | Subject)", holes).fit_reml()
    check = blm.ppc(fit, "mean", by=holes["Subject"].sample(frac=1, random_state=1), draws=20, random_seed=1)
    expected = holes.dropna().groupby("Subject")["Reaction"].mean()
    np.testing.assert_allclose(check.table["observed"], expected)


# -- statistics of the user


def test_functions_are_called_on_every_data_set(sleep):
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep)

    def steps(y):
        return np.abs(np.diff(y)).mean()

    check = blm.ppc(fit, {"steps": steps, "top": np.max, "q90": "q90"}, draws=30, random_seed=1)
    np.testing.assert_allclose(check.replicates[:, 0], [steps(y) for y in check.y_rep])
    np.testing.assert_allclose(check.replicates[:, 1], check.y_rep.max(axis=1))
    assert check.table["stat"].tolist() == ["steps", "top", "q90"]
    assert check.table["observed"].iloc[0] == steps(sleep["Reaction"].to_numpy())
    assert blm.ppc(fit, [steps, "sd"], draws=5).table["stat"].tolist() == ["steps", "sd"]
    within = blm.ppc(fit, steps, by="Subject", draws=5, random_seed=1)
    one = sleep.loc[sleep["Subject"] == "308", "Reaction"].to_numpy()
    assert within.table["observed"].iloc[0] == steps(one)


@pytest.mark.parametrize(
    ("stat", "words"),
    [
        (lambda y: y[:2], r"180 values it returned an array of shape \(2,\)"),
        (lambda y, axis: y.mean(), r"axis=-1 on 1 data sets of 180 values.* shape \(\)"),
        (lambda y: "high", "'high' .str., not a number"),
        (lambda y: None, "NoneType"),
        (lambda y: np.nan, "no finite number"),
        ("sdd", "Did you mean 'sd'"),
        ("variance of the variances", "There are mean, sd"),
        (3, "a name, a function"),
        ([], "no statistic is named"),
        (["mean", "mean"], "called 'mean'"),
        ([lambda y: 0.0, lambda y: 1.0], "called '<lambda>'"),
    ],
)
def test_bad_statistics(stat, words, sleep):
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    with pytest.raises(errors.InputError, match=words):
        blm.ppc(fit, stat, draws=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": "Subject"}, r"ppc\(groups='Subject'\): groups are 'observed', 'new'"),
        ({"groups": {"school": "new"}}, "no grouping factor"),
        ({"groups": 3}, r"ppc\(groups=3\)"),
        ({"draws": 0}, "draws=0"),
        ({"draws": 2.5}, "draws=2.5"),
        ({"ci_prob": 95}, "ci_prob=95"),
        ({"by": "colour"}, r"the data have no such column; there are 'Subject', 'Reaction', 'Days'"),
        ({"by": [1, 2]}, r"shape \(2,\) for the 180 rows"),
        ({"by": np.ones((180, 2))}, r"shape \(180, 2\)"),
        ({"by": 7}, r"shape \(\)"),
        ({"by": [None] * 180}, "missing in all rows"),
        ({"stat": "icc", "by": range(180)}, "every level of by has one row"),
        ({"stat": "within_sd_ratio", "by": np.repeat(range(60), 3)}, "5 rows or more"),
        ({"stat": "icc", "by": ["one"] * 180}, "by has one level"),
    ],
)
def test_bad_input(options, words, sleep):
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    with pytest.raises(errors.InputError, match=words):
        blm.ppc(fit, **{"draws": 5, **options})


def test_what_is_no_fit_and_what_has_no_groups(sleep, schools):
    with pytest.raises(errors.InputError, match="not DataFrame"):
        blm.ppc(sleep)
    line = blm.lmer("Reaction ~ Days", sleep)
    with pytest.raises(errors.InputError, match=r"the model has none\. Say which: by=data\['school'\]"):
        blm.ppc(line, "icc", draws=5)
    assert "between_group_sd" not in blm.ppc(line, draws=5).table["stat"].to_list()
    with pytest.raises(errors.DataError, match=r"a posterior keeps no such column.*by=data\['sector'\]"):
        blm.ppc(schools, by="sector", draws=5)
    flat = blm.Model("Reaction ~ Days + (1 | Subject)", sleep, priors={"fixed": blm.flat()})
    with pytest.raises(errors.PriorError, match="improper"):
        blm.ppc(flat)


def test_what_cannot_be_computed_is_said(sleep):
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    check = blm.ppc(fit, by=np.repeat(range(60), 3), draws=20, random_seed=1)
    assert "Left out: within_sd_ratio of by, since it compares levels with 5 rows" in str(check).replace("\n  ", " ")


# -- print and ArviZ


def test_print_says_what_is_behind_it(schools, hsb):
    check = blm.ppc(schools, by="school", random_seed=1)
    text = str(check)
    assert text.startswith("Posterior predictive check: 500 data sets from draws of the posterior\nFormula: mathach")
    assert "Simulated for the observed levels of school" in text and "ties counted half" in text
    assert "Within the levels of school:" in text and "Furthest from what is expected:" in text
    assert max(map(len, text.splitlines())) <= 100 and "nan" not in text
    assert "<table" in check._repr_html_() and "icc" in check.to_latex() and "|" in check.to_markdown()
    reml = blm.Model("mathach ~ ses + (1 | school)", hsb).fit_ml()
    assert str(blm.ppc(reml, "sd", draws=20)).startswith("Plug-in predictive check: 20 data sets from the ML estimates")
    new = blm.ppc(blm.Model("mathach ~ ses + (1 | school)", hsb), "mean", draws=20, random_seed=1)
    assert str(new).startswith("Prior predictive check") and "for the fit" not in str(new)
    assert new.verdict == "the priors expect the statistic looked at."


def test_p_values_are_as_fine_as_the_data_sets_tell(hsb):
    text = str(blm.ppc(blm.Model("mathach ~ ses", hsb).fit_reml(), ["min", "max"], draws=100, random_seed=1))
    assert "<0.010*" in text and ">0.990*" in text


def test_arviz_takes_the_data_sets(schools):
    check = blm.ppc(schools, "mean", draws=40, random_seed=1)
    tree = check.to_datatree()
    assert dict(tree.posterior_predictive.sizes) == {"chain": 1, "draw": 40, "obs": schools.nobs}
    np.testing.assert_array_equal(tree.posterior_predictive["y"][0], check.y_rep)
    np.testing.assert_array_equal(tree.observed_data["y"], schools.design.y)
    assert (tree.observed_data["obs"] == schools.design.index.to_numpy()).all()
    assert "prior_predictive" in check.__class__.to_datatree(
        blm.ppc(blm.Model("mathach ~ 1", schools.design.frame), draws=5, random_seed=1)
    )


def test_data_sets_of_a_posterior_are_those_it_predicts(schools):
    drawn = replicate(schools, draws=400, random_seed=2).y
    predicted = schools.predict(kind="response", random_seed=3)
    # 400 draws: se of a mean sigma/20 = 0.3, of an sd 3.5 %
    np.testing.assert_allclose(drawn.mean(axis=0), predicted["mean"], atol=5 * 0.31)
    np.testing.assert_allclose(drawn.std(axis=0).mean(), predicted["sd"].mean(), rtol=0.02)
