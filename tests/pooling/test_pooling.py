"""No, complete and partial pooling: least squares, the model's own verbs, limits, and the notes' numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.engine import pooling as engine
from bayeslmm.errors import DatasetUnavailableError, InputError, NotAvailableError, SingularFitWarning
from bayeslmm.results.summaries import flat

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def design():
    return build_design(SLEEP, blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def sleep():
    return blm.compare_pooling(blm.Model(SLEEP, blm.load_dataset("sleepstudy")), progressbar=False)


@pytest.fixture(scope="module")
def schools():
    """Intercepts of schools, and the school's kind, which is constant in a school."""
    data = blm.load_dataset("hsb")
    data = data[data["school"].isin(data["school"].unique()[:40])]
    return blm.compare_pooling(blm.Model("mathach ~ ses + sector + (1 | school)", data), progressbar=False)


@pytest.fixture(scope="module")
def lonely():
    """A subject of whom one row is left, and one with two."""
    data = blm.load_dataset("sleepstudy")
    data = pd.concat([data.iloc[:1], data.iloc[10:12], data.iloc[20:]])
    return blm.compare_pooling(blm.Model(SLEEP, data), progressbar=False)


def column(pool, name):
    """(J, q)"""
    return pool.table()[name].to_numpy().reshape(-1, pool.footing.term.q)


# -- without and with complete pooling


def test_complete_pooling_is_least_squares(design):
    data = blm.load_dataset("sleepstudy")
    slope, intercept = np.polyfit(data["Days"], data["Reaction"], 1)
    np.testing.assert_allclose(blm.complete_pooling(design), [intercept, slope], rtol=1e-10)


def test_no_pooling_is_least_squares_per_group(design):
    data = blm.load_dataset("sleepstudy")
    table = blm.no_pooling(design)
    for level, rows in data.groupby("Subject"):
        slope, intercept = np.polyfit(rows["Days"], rows["Reaction"], 1)
        np.testing.assert_allclose(table.loc[level], [intercept, slope], rtol=1e-9)


def test_no_pooling_of_intercepts_is_dummies_beside_a_common_slope():
    data = blm.load_dataset("sleepstudy")
    model = blm.Model("Reaction ~ Days + (1 | Subject)", data)
    dummies = blm.lmer("Reaction ~ 0 + C(Subject) + Days", data).fixef()["estimate"].to_numpy()
    np.testing.assert_allclose(blm.no_pooling(model)["Intercept"], dummies[:-1], rtol=1e-9)
    pool = blm.compare_pooling(model, post=False)
    np.testing.assert_allclose(pool.common.loc["Days", "none"], dummies[-1], rtol=1e-9)


def test_a_level_with_too_few_rows_is_missing_not_dropped():
    data = blm.load_dataset("sleepstudy").iloc[9:]  # one row of the first subject is left
    table = blm.no_pooling(build_design(SLEEP, data))
    assert table.iloc[0].isna().all() and table.iloc[1:].notna().all().all()


def test_which_factor_must_be_said(design):
    two = build_design("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    with pytest.raises(InputError, match="'plate', 'sample'"):
        blm.no_pooling(two)
    assert len(blm.no_pooling(two, "sample")) == 6
    with pytest.raises(InputError, match="'School'"):
        blm.no_pooling(design, "School")


# -- one footing


def test_plain_models_are_compared_by_their_coefficients(sleep):
    table = sleep.table()
    np.testing.assert_allclose(column(sleep, "none"), blm.no_pooling(sleep.reml))
    np.testing.assert_allclose(column(sleep, "complete"), np.tile(blm.complete_pooling(sleep.reml), (18, 1)))
    reml = sleep.reml.coef()
    for ours, theirs in (("reml", "estimate"), ("reml_low", "conf_low"), ("reml_high", "conf_high")):
        np.testing.assert_allclose(table[ours], reml[theirs], rtol=1e-9)
    posterior = sleep.post.coef()
    for ours, theirs in (("posterior", "mean"), ("posterior_low", "conf_low"), ("posterior_high", "conf_high")):
        np.testing.assert_allclose(table[ours], posterior[theirs], rtol=1e-9)
    assert table[["group", "level", "term"]].equals(reml[["group", "level", "term"]])
    assert (table["n"] == 10).all() and sleep.common.empty


def test_intervals_without_pooling_are_t_intervals_with_one_residual_variance(sleep):
    data = blm.load_dataset("sleepstudy")
    rss = sum(np.polyfit(rows["Days"], rows["Reaction"], 1, full=True)[1][0] for _, rows in data.groupby("Subject"))
    sigma = np.sqrt(rss / (180 - 36))
    assert sleep.fits.loc["none", "sigma"] == pytest.approx(sigma)
    days = np.arange(10.0)
    se = sigma / np.sqrt(((days - days.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, 144) * se
    np.testing.assert_allclose(column(sleep, "none_high")[:, 1] - column(sleep, "none")[:, 1], half)
    np.testing.assert_allclose(column(sleep, "none")[:, 1] - column(sleep, "none_low")[:, 1], half)
    line = blm.lmer("Reaction ~ Days", data).fixef(ddf="satterthwaite")  # exact t of a linear model
    np.testing.assert_allclose(column(sleep, "complete_low")[0], line["conf_low"], rtol=1e-9)


def test_predictors_of_the_groups_belong_to_their_coefficients():
    data = blm.load_dataset("hsb")
    model = blm.Model("mathach ~ ses * sector + (ses | school)", data)
    with pytest.warns(SingularFitWarning):
        pool = blm.compare_pooling(model, post=False)
    beta, effects = pool.reml.fixef()["estimate"], pool.reml.ranef(wide=True).to_numpy()
    kinds = data.groupby("school")["sector"].first().reindex(pool.footing.term.levels)
    sector = (kinds == "Public").to_numpy(float)
    fixed = np.column_stack(
        [beta["Intercept"] + beta["sector[Public]"] * sector, beta["ses"] + beta["ses:sector[Public]"] * sector]
    )
    np.testing.assert_allclose(column(pool, "reml"), fixed + effects, rtol=1e-8)
    lm = blm.complete_pooling(model)
    whole = np.column_stack(
        [lm["Intercept"] + lm["sector[Public]"] * sector, lm["ses"] + lm["ses:sector[Public]"] * sector]
    )
    np.testing.assert_allclose(column(pool, "complete"), whole, rtol=1e-8)
    for school, rows in list(data.groupby("school"))[:5]:
        slope, intercept = np.polyfit(rows["ses"], rows["mathach"], 1)
        np.testing.assert_allclose(blm.no_pooling(model).loc[school], [intercept, slope], rtol=1e-8)
    assert pool.common.empty and pool.fits.loc["none", "parameters"] == 320
    assert "at a boundary" in str(pool) and "Complete" in str(pool)


def test_what_all_levels_share_is_told_once(schools):
    assert list(schools.common.index) == ["ses"]
    own = schools.common.loc["ses"].astype(float)
    assert own["complete"] == pytest.approx(blm.complete_pooling(schools.reml)["ses"])
    interval = schools.reml.confint().set_index("term").loc["ses", ["estimate", "conf_low", "conf_high"]]
    np.testing.assert_allclose(own[["reml", "reml_low", "reml_high"]], interval.astype(float))
    drawn = schools.post.fixef().loc["ses"]
    np.testing.assert_allclose(
        own[["posterior", "posterior_low", "posterior_high"]], drawn[["mean", "conf_low", "conf_high"]]
    )
    assert "The same for all levels" in str(schools)


def test_nested_levels_carry_what_they_are_nested_in():
    model = blm.Model("strength ~ 1 + (1 | batch/cask)", blm.load_dataset("pastes"))
    pool = blm.compare_pooling(model, "batch:cask", progressbar=False)
    beta = pool.reml.fixef().loc["Intercept", "estimate"]
    effects = pool.reml.ranef(wide=True)["Intercept"]
    cask, batch = effects.loc["batch:cask"], effects.loc["batch"]
    total = [beta + cask[level] + batch[level.split(":")[0]] for level in cask.index]
    np.testing.assert_allclose(pool.table()["reml"], total)
    np.testing.assert_allclose(pool.table()["reml_high"] - total, 1.959964 * _henderson(model, pool), rtol=1e-6)
    drawn = pool.post.ranef(draws=True)
    first = pool.post.draws("beta")[..., 0] + drawn["b_batch"][..., 0, 0] + drawn["b_batch:cask"][..., 0, 0]
    assert pool.table()["posterior"][0] == pytest.approx(float(first.mean()))
    assert "batch:cask is nested in batch" in str(pool)
    outer = blm.compare_pooling(model, "batch", post=False)
    np.testing.assert_allclose(outer.table()["reml"], beta + batch)
    assert "effects of batch:cask are left out" in " ".join(str(outer).split())


def _henderson(model, pool):
    """Standard errors of β + b_batch + b_cask from the inverse of the mixed-model equations, dense."""
    design, solution = model.design, pool.reml.solution
    Z = [np.eye(g.n_levels)[g.codes] for g in design.groups]
    F = np.hstack([design.X, *Z])
    ridge = np.concatenate(
        [[0.0], *(np.full(z.shape[1], 1.0 / cov[0, 0]) for z, cov in zip(Z, solution.covariances, strict=True))]
    )
    C = np.linalg.inv(F.T @ F / solution.sigma**2 + np.diag(ridge))
    names = [g.name for g in design.groups]
    first = np.unique(design.group("batch:cask").codes, return_index=True)[1]
    K = F[first]  # each row adds the three
    assert set(names) == {"batch", "batch:cask"}
    return np.sqrt(np.einsum("ja,ab,jb->j", K, C, K))


def test_crossed_factors_say_which_is_left_out():
    model = blm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    pool = blm.compare_pooling(model, "sample", post=False)
    means = blm.load_dataset("penicillin").groupby("sample")["diameter"].mean()
    np.testing.assert_allclose(pool.table().set_index("level")["none"], means.reindex(pool.footing.term.levels))
    assert pool.group == "sample" and "effects of plate are left out" in str(pool)


def test_lognormal_models_are_compared_on_the_log_scale():
    data = blm.load_dataset("sleepstudy")
    model = blm.Model(SLEEP, data, family="lognormal")
    pool = blm.compare_pooling(model, progressbar=False)
    logs = blm.no_pooling(build_design("np.log(Reaction) ~ Days + (Days | Subject)", data, namespace={"np": np}))
    np.testing.assert_allclose(column(pool, "none"), logs)
    assert not pool.reml.solution.reml and "of the logarithm" in str(pool)
    np.testing.assert_allclose(column(pool, "reml").ravel(), pool.reml.coef()["estimate"])
    # the densities are of the response itself
    rows = engine.rows_left_out(pool.footing.unpooled.line).without
    assert pool.loo().elpd["none"].elpd == pytest.approx(rows.sum() - np.log(data["Reaction"]).sum())
    assert pool.held_out(3, by="posterior").title.endswith("by the posterior")


# -- how far


def test_shrinkage_of_intercepts_is_the_textbook_factor(schools):
    solution = schools.reml.solution
    tau2, sigma2 = solution.covariances[0][0, 0], solution.sigma**2
    table = schools.table()
    np.testing.assert_allclose(table["shrinkage_reml"], sigma2 / (sigma2 + table["n"] * tau2), rtol=1e-8)
    used = np.linspace(0, 3999, 1000).astype(int)  # of 4,000 draws
    drawn = [schools.post.draws(name).reshape(-1)[used] ** 2 for name in ("sd_school", "sigma")]
    factor = drawn[1][:, None] / (drawn[1][:, None] + table["n"].to_numpy() * drawn[0][:, None])
    np.testing.assert_allclose(table["shrinkage"], factor.mean(axis=0), rtol=1e-8)  # of 1,000 draws all are used
    low, high = np.quantile(factor, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(table["shrinkage_low"], low, rtol=1e-8)
    np.testing.assert_allclose(table["shrinkage_high"], high, rtol=1e-8)
    assert schools.terms.loc["Intercept", "shrinkage"] == pytest.approx(factor.mean())


def test_the_way_moved_is_the_shrinkage_where_intercepts_are_all_there_is():
    data = blm.load_dataset("hsb")
    pool = blm.compare_pooling(blm.Model("mathach ~ 1 + (1 | school)", data), post=False)
    table = pool.table()
    told = table["moved"].notna()
    np.testing.assert_allclose(table.loc[told, "moved"], table.loc[told, "shrinkage_reml"], rtol=1e-8)
    grand = pool.reml.fixef().loc["Intercept", "estimate"]
    se = pool.fits.loc["none", "sigma"] / np.sqrt(table["n"])
    np.testing.assert_array_equal(told, np.abs(table["none"] - grand) >= se)
    assert 0 < (~told).sum() < 160


def test_the_pooling_factor_is_that_of_gelman_and_pardoe(sleep):
    b = flat(sleep.post.draws("b_Subject"))
    for k, term in enumerate(["Intercept", "Days"]):
        within_draws = np.mean([np.var(draw, ddof=1) for draw in b[:, :, k]])
        expected = 1 - np.var(b[:, :, k].mean(axis=0), ddof=1) / within_draws
        assert sleep.terms.loc[term, "pooling_factor"] == pytest.approx(expected)
        # of many levels it estimates the mean share that is left open
        assert abs(expected - sleep.terms.loc[term, "shrinkage"]) < 0.06


def test_effective_parameters_lie_between_complete_and_no_pooling(sleep):
    count = sleep.fits["parameters"]
    assert count["complete"] == 2 and count["none"] == 36
    assert 2 < count["reml"] < 36 and 2 < count["posterior"] < 36
    assert (
        sleep.fits.loc["posterior", "parameters_low"] < count["reml"] < sleep.fits.loc["posterior", "parameters_high"]
    )


# -- left out


def test_loo_compares_the_three_on_the_same_rows(sleep):
    found = sleep.loo()
    assert list(found.table.index) == ["partial", "none", "complete"] and found.untold == 0
    assert found.elpd["partial"].elpd == pytest.approx(sleep.post.loo().elpd)
    data = blm.load_dataset("sleepstudy")
    rest = data.iloc[1:]
    beta, rss = np.polyfit(rest["Days"], rest["Reaction"], 1, full=True)[:2]
    X = np.column_stack([np.ones(179), rest["Days"]])
    x = np.array([1.0, data["Days"].iloc[0]])
    sd = np.sqrt(rss[0] / 177 * (1 + x @ np.linalg.inv(X.T @ X) @ x))
    expected = stats.t.logpdf(data["Reaction"].iloc[0], 177, beta[1] + beta[0] * x[1], sd)
    assert float(found.elpd["complete"].elpd_i[0]) == pytest.approx(expected)
    # rows and coefficients: p of least squares is near the number of its coefficients
    assert abs(found.elpd["none"].p - 36) < 8 and abs(found.elpd["complete"].p - 2) < 2
    assert "left-out row of a known Subject" in str(found)


def test_of_a_new_group_no_pooling_says_nothing(sleep):
    found = sleep.loo("Subject")
    assert list(found.table.index) == ["partial", "complete"] and "none" not in found.elpd
    assert "No pooling says nothing about a Subject" in str(found)


def test_rows_that_alone_tell_a_coefficient_are_counted(lonely):
    found = lonely.loo()
    assert found.untold == 3 and np.isneginf(found.elpd["none"].elpd)
    known = np.isfinite(found.elpd["none"].elpd_i.to_numpy())
    for kind in ("none", "complete", "partial"):
        assert found.table.loc[kind, "elpd"] == pytest.approx(found.elpd[kind].elpd_i.to_numpy()[known].sum())
    assert "3 of 163 rows alone tell a coefficient" in str(found)


def test_levels_without_a_fit_of_their_own_stay_in_the_table(lonely):
    table = lonely.table().set_index(["level", "term"])
    assert table["none"].isna().sum() == 2 and len(table) == 36  # two rows tell a line
    first = lonely.footing.term.levels[0]
    assert table.loc[first, ["complete", "reml", "posterior", "shrinkage"]].notna().all().all()
    assert table.loc[first, "shrinkage"].min() > table.loc[lonely.footing.term.levels[5], "shrinkage"].max()
    text = str(lonely)
    assert "1 of 18 levels has too few distinct rows" in text
    assert any(line.startswith(f"{first} ") and " -  " in line for line in text.splitlines())


def test_held_out_errors_are_those_of_fits_to_the_other_rows(lonely):
    found = lonely.held_out(4, random_seed=2)
    rows = found.rows
    data = blm.load_dataset("sleepstudy").loc[rows.index]
    assert rows["fold"].value_counts().max() - rows["fold"].value_counts().min() <= 1
    per_level = rows.groupby(["level", "fold"]).size().unstack(fill_value=0)
    assert (per_level.max(axis=1) - per_level.min(axis=1) <= 1).all()
    for fold in range(4):
        out = (rows["fold"] == fold).to_numpy()
        slope, intercept = np.polyfit(data["Days"][~out], data["Reaction"][~out], 1)
        np.testing.assert_allclose(rows["complete"][out], intercept + slope * data["Days"][out])
    out = (rows["fold"] == 0).to_numpy()
    fit = blm.lmer(SLEEP, data[~out])
    known = out & data["Subject"].isin(data["Subject"][~out]).to_numpy()
    np.testing.assert_allclose(rows["partial"][known], fit.predict(data[known]), rtol=1e-5)
    last = out & (data["Subject"] == data["Subject"].iloc[-1]).to_numpy()
    train = data[~out & (data["Subject"] == data["Subject"].iloc[-1]).to_numpy()]
    slope, intercept = np.polyfit(train["Days"], train["Reaction"], 1)
    np.testing.assert_allclose(rows["none"][last], intercept + slope * data["Days"][last])
    assert found.table.loc["no own fit", "rows"] == 3 and np.isnan(found.table.loc["no own fit", "none"])
    errors = (rows["observed"] - rows["partial"])[rows["none"].notna()] ** 2
    assert found.table.loc["own fit", "partial"] == pytest.approx(errors.mean())
    assert found.table.loc["own fit", "rows"] == 160 and "no own fit" in str(found)


def test_held_out_rows_by_the_posterior(sleep):
    by_reml, by_posterior = sleep.held_out(2), sleep.held_out(2, by="posterior")
    assert by_posterior.title.endswith("by the posterior") and by_reml.title.endswith("by REML")
    assert by_reml.rows["none"].equals(by_posterior.rows["none"])
    ratio = by_posterior.table.loc["own fit", "partial"] / by_reml.table.loc["own fit", "partial"]
    assert 0.9 < ratio < 1.1 and ratio != 1.0


# -- fits given, refused, wrong


def test_given_fits_are_not_made_again(sleep):
    model = blm.Model(SLEEP, blm.load_dataset("sleepstudy"))
    again = blm.compare_pooling(model, reml=sleep.reml, post=sleep.post)
    assert again.reml is sleep.reml and again.post is sleep.post
    pd.testing.assert_frame_equal(again.table(), sleep.table())


def test_fits_can_be_left_out(sleep):
    model = blm.Model(SLEEP, blm.load_dataset("sleepstudy"))
    bare = blm.compare_pooling(model, reml=False, post=False)
    assert list(bare.table()) == [
        "group",
        "level",
        "n",
        "term",
        "complete",
        "complete_low",
        "complete_high",
        "none",
        "none_low",
        "none_high",
    ]
    assert "Shrinkage" not in str(bare) and bare.terms.shape == (2, 0)
    with pytest.raises(InputError, match="no fit by REML or posterior"):
        bare.held_out()
    without = blm.compare_pooling(model, reml=sleep.reml, post=False)
    assert "posterior" not in without.table() and "pooling_factor" not in without.terms
    with pytest.raises(NotAvailableError, match="post=False"):
        without.loo()
    with pytest.raises(InputError, match="no fit by posterior"):
        without.held_out(by="posterior")
    ml = blm.compare_pooling(model, reml=model.fit_ml(), post=False)
    assert "ML: the model's conditional modes" in " ".join(str(ml).split())
    assert ml.held_out(2).title.endswith("by ML")


def test_bad_input_is_named(sleep):
    data = blm.load_dataset("sleepstudy")
    model = blm.Model(SLEEP, data)
    other = blm.Model("Reaction ~ Days + (1 | Subject)", data)
    with pytest.raises(InputError, match=r"reml=...\): a fit of 'Reaction ~ Days \+ \(1 \| Subject\)'"):
        blm.compare_pooling(model, reml=other.fit_reml(), post=False)
    with pytest.raises(InputError, match="post=.*PointFit"):
        blm.compare_pooling(model, post=sleep.reml)
    fewer = blm.Model(SLEEP, data.iloc[:170])
    with pytest.raises(InputError, match="different rows"):
        blm.compare_pooling(model, reml=fewer.fit_reml(), post=False)
    with pytest.raises(InputError, match="a blm.Model, not str"):
        blm.compare_pooling("model")
    with pytest.raises(InputError, match="a blm.Model, not PointFit"):
        blm.compare_pooling(sleep.reml)
    with pytest.raises(InputError, match="ci_prob"):
        blm.compare_pooling(model, ci_prob=95)
    with pytest.raises(InputError, match="no grouping factor"):
        blm.compare_pooling(blm.Model("Reaction ~ Days", data))
    for folds in (1, 181, 2.5, True):
        with pytest.raises(InputError, match="folds"):
            sleep.held_out(folds)
    with pytest.raises(InputError, match="by='lm'"):
        sleep.held_out(by="lm")


def test_a_part_without_a_fixed_effect_is_refused():
    data = blm.load_dataset("sleepstudy").assign(odd=lambda d: (np.arange(len(d)) == 7).astype(float))
    pool = blm.compare_pooling(blm.Model("Reaction ~ Days + odd + (1 | Subject)", data), post=False)
    with pytest.raises(InputError, match="the rows tell 2 of 3 fixed effects"):
        pool.held_out()


# -- print


def test_many_levels_are_printed_in_part(schools):
    text = str(schools)
    assert "12 of 40 levels are printed, from least to most pooled" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "<table" in schools._repr_html_() and "|" in schools.to_markdown() and "tabular" in schools.to_latex()


def test_few_levels_are_all_printed(sleep):
    lines = str(sleep).splitlines()
    assert all(sum(line.startswith(f"{level} ") for line in lines) == 2 for level in sleep.footing.term.levels)
    assert "Days: complete pooling 10.47 (8.02, 12.91)" in lines


# -- the notes


def test_student_1_of_the_reading_scores():
    try:
        students = blm.load_dataset("minneapolis")
    except DatasetUnavailableError as error:
        pytest.skip(str(error))
    pool = blm.compare_pooling(blm.Model("reading_score ~ grade + (grade | student_id)", students), post=False)
    table = pool.table()
    own = table[table["level"].astype(int) == 1].set_index("term")
    assert own["complete"].round(2).to_dict() == {"Intercept": 184.27, "grade": 4.36}
    # 144 + 6.00 grade, where 143.5 is rounded
    np.testing.assert_allclose(own["none"], [143.5, 6.0], atol=1e-8)
    # the note prints 5.70, the sum of 4.36 and 1.34 as rounded: docs/misprints.md
    np.testing.assert_allclose(own["reml"], [145.76, 5.707], atol=0.005)


def test_class_means_of_the_science_data():
    data = blm.load_dataset("science")
    with pytest.warns(SingularFitWarning):  # REML puts the variance between schools at zero
        pool = blm.compare_pooling(blm.Model("like ~ 1 + (1 | school/class)", data), "school:class", post=False)
    table = pool.table().set_index("level")
    means = data.groupby(["school", "class"], observed=True)["like"].mean()
    means.index = [f"{school}:{own}" for school, own in means.index]
    np.testing.assert_allclose(table["none"], means[table.index], rtol=1e-9)
    assert (table["complete"].round(6) == round(data["like"].mean(), 6)).all()
    between = (table["reml"] - table["complete"]).abs() < (table["none"] - table["complete"]).abs() + 0.3
    assert between.all()


def test_school_1308_of_the_mathematics_scores():
    pool = blm.compare_pooling(blm.Model("mathach ~ 1 + (1 | school)", blm.load_dataset("hsb")), post=False)
    own = pool.table().set_index(pool.table()["level"].astype(str)).loc["1308"]
    assert own["none"] == pytest.approx(16.2555, abs=5e-5)
    assert own["reml"] == pytest.approx(15.585491, abs=5e-6)
