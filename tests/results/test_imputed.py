"""Fits of imputed tables as one, against mice."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.imputed import Imputed

FOLDER = pathlib.Path(__file__).parents[1] / "reference"
WANTED = json.loads((FOLDER / "imputed.json").read_text(encoding="utf-8"))


def wanted(table, column):
    return [row[WANTED[table]["columns"].index(column)] for row in WANTED[table]["rows"]]


@pytest.fixture(scope="module")
def tables():
    data = pd.read_csv(FOLDER / "imputed.csv")
    return [table.reset_index(drop=True) for _, table in data.groupby("imp")]


@pytest.fixture(scope="module")
def imputed(tables):
    return blm.fit_imputed(WANTED["formula_py"], tables)


@pytest.mark.reference
def test_rubins_rules_are_those_of_mice(imputed):
    table = imputed.fixef()
    columns = {
        "estimate": "estimate",
        "std_error": "SE",
        "df": "df",
        "statistic": "t",
        "conf_low": "lower",
        "conf_high": "upper",
        "p_value": "p",
    }
    for ours, theirs in columns.items():
        np.testing.assert_allclose(table[ours], wanted("pooled", theirs), rtol=1e-5)
    np.testing.assert_allclose(table["between_share"], wanted("parts", "lambda"), rtol=1e-5)
    np.testing.assert_allclose(table["fmi"], wanted("parts", "fmi"), rtol=1e-5)
    np.testing.assert_allclose(np.diag(imputed.vcov()), wanted("parts", "total"), rtol=1e-6)


@pytest.mark.reference
def test_the_joint_test_is_that_of_mice(imputed):
    found, D1 = imputed.test("ses = 0, minority[Yes] = 0").iloc[0], WANTED["D1"]
    assert found["f"] == pytest.approx(D1["F"], rel=1e-6)
    assert found["den_df"] == pytest.approx(D1["df2_reiter"], rel=1e-6)
    assert found["p_value"] == pytest.approx(D1["p_reiter"], rel=1e-5)
    assert imputed.test("ses = 0, 2 * ses = 0")["num_df"].iloc[0] == 1


def test_tables_that_are_alike_are_one_table():
    sleep = blm.load_dataset("sleepstudy")
    found = blm.fit_imputed("Reaction ~ Days + (Days | Subject)", [sleep, sleep])
    single = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep).fixef()
    np.testing.assert_allclose(found.fixef()["std_error"], single["std_error"])
    assert (found.fixef()["between_share"] == 0.0).all()
    np.testing.assert_allclose(
        found.test("Days = 10")["f"], ((single.loc["Days", "estimate"] - 10) / single.loc["Days", "std_error"]) ** 2
    )
    assert "the tables do not differ" in found.verdict


def test_means_and_trends_are_pooled_as_coefficients_are(imputed):
    """A difference of means is a coefficient, whatever stands at the means of the tables."""
    pair, coefficients = imputed.means("sector").contrasts("reverse", adjust="none").table.iloc[0], imputed.fixef()
    slope = imputed.trends("ses").table.iloc[0]
    for found, name in ((pair, "sector[Public]"), (slope, "ses")):
        for column in ("estimate", "std_error", "df", "conf_low", "conf_high"):
            assert found[column] == pytest.approx(coefficients.loc[name, column], rel=1e-8), (name, column)
    means = imputed.means("sector")
    single = [fit.means("sector").table["estimate"] for fit in imputed.fits]
    np.testing.assert_allclose(means.table["estimate"], np.mean(single, axis=0), rtol=1e-3)  # ses at the mean of means
    assert "Barnard-Rubin df" in str(means) and "5 imputed tables" in str(means)
    with pytest.raises(errors.InputError, match="Barnard and Rubin"):
        imputed.means("sector", ddf=None)


def test_comparisons_and_slopes_are_pooled_as_coefficients_are(imputed):
    """In a linear model they are coefficients."""
    for found, name in ((imputed.slopes("ses"), "ses"), (imputed.comparisons("sector"), "sector[Public]")):
        wanted = imputed.fixef().loc[name]
        for column in ("estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high", "between_share"):
            assert found[column].iloc[0] == pytest.approx(wanted[column], rel=1e-6), column
    ratio = imputed.comparisons("sector", kind="ratio").iloc[0]
    assert ratio["statistic"] == pytest.approx(np.log(ratio["estimate"]) / (ratio["std_error"] / ratio["estimate"]))
    for options, message in (({"ddf": None}, "Barnard"), ({"draws": True}, "have no draws")):
        with pytest.raises(errors.InputError, match=message):
            imputed.slopes("ses", **options)
    with pytest.raises(errors.NotAvailableError, match="how='posterior'"):
        imputed.hypothesis("ses > 0")


def by_hand(estimates, errors, complete, ci_prob=0.95):
    """Rubin (1987, 3.1.2 to 3.1.5) and Barnard & Rubin (1999) for one number, written out."""
    m = len(estimates)
    mean = sum(estimates) / m
    between = sum((estimate - mean) ** 2 for estimate in estimates) / (m - 1)
    total = sum(error**2 for error in errors) / m + (1 + 1 / m) * between
    share = (1 + 1 / m) * between / total
    df = 1 / (share**2 / (m - 1) + 1 / ((complete + 1) / (complete + 3) * complete * (1 - share)))
    half = stats.t.ppf(0.5 + ci_prob / 2, df) * total**0.5
    return {
        "estimate": mean,
        "std_error": total**0.5,
        "df": df,
        "conf_low": mean - half,
        "conf_high": mean + half,
        "between_share": share,
    }


def assert_by_hand(table, singles, complete, ci_prob=0.95):
    columns = [np.array([single[name] for single in singles], dtype=float) for name in ("estimate", "std_error")]
    assert len(table) == columns[0].shape[1] > 0
    for k in range(len(table)):
        for name, wanted in by_hand(columns[0][:, k], columns[1][:, k], complete, ci_prob).items():
            assert table[name].iloc[k] == pytest.approx(wanted, rel=1e-9), (name, k)
    assert (table["between_share"] > 0).all()


@pytest.mark.parametrize("kind", ["mean", "link", "response"])
def test_predictions_are_pooled_by_rubins_rules(imputed, tables, kind):
    rows, complete = tables[0].iloc[[3, 90, 400]], min(fit.df_resid for fit in imputed.fits)
    for groups in ("observed", "new"):
        options = {"groups": groups, "kind": kind, "interval": "plug-in"}
        singles = [fit.predict(rows, **options) for fit in imputed.fits]
        found = imputed.predict(rows, **options, ci_prob=0.8)
        assert_by_hand(found, singles, complete, 0.8)
        assert found.index.equals(rows.index) and (found["interval"] == "plug-in").all()
    if kind != "response":
        alone = imputed.predict(rows, kind=kind)
        np.testing.assert_allclose(alone, imputed.predict(rows, kind=kind, interval="plug-in")["estimate"])
        assert alone.name == "mathach" and alone.index.equals(rows.index)
    mixed = imputed.predict(rows.assign(school=[1436, 1, 2]), groups="observed_or_average", interval="plug-in")
    assert mixed["target_school"].tolist() == ["observed", "average", "average"]


def test_a_prediction_is_its_combination_of_coefficients(imputed, tables):
    rows = tables[0].iloc[:4]
    found = imputed.predict(rows, groups="average", interval="plug-in")
    X = imputed.fits[0].design.at(rows).X
    np.testing.assert_allclose(found["estimate"], X @ imputed.fixef()["estimate"])
    np.testing.assert_allclose(found["std_error"] ** 2, np.diag(X @ imputed.vcov().to_numpy() @ X.T), rtol=1e-8)


def test_rows_of_the_fits_are_predicted_where_they_are_the_same(imputed, tables):
    fitted = np.mean([fit.fitted() for fit in imputed.fits], axis=0)
    np.testing.assert_allclose(imputed.predict(), fitted)
    others = [table.iloc[:200] for table in tables[:2]]
    shuffled = others[1].iloc[::-1]
    formula = WANTED["formula_py"]
    for second, message in ((shuffled, "labels of rows"), (shuffled.reset_index(drop=True), "levels of 'school'")):
        found = blm.fit_imputed(formula, [others[0], second])
        with pytest.raises(errors.InputError, match=f"table 2 has other {message}.* give newdata"):
            found.predict()
        assert len(found.predict(others[0])) == 200


def test_effects_of_levels_are_pooled_by_rubins_rules(imputed, tables):
    complete = min(fit.df_resid for fit in imputed.fits)
    for verb in ("ranef", "coef"):
        table = getattr(imputed, verb)(ci_prob=0.9)
        assert_by_hand(table, [getattr(fit, verb)() for fit in imputed.fits], complete, 0.9)
        assert table[["group", "level", "term"]].equals(getattr(imputed.fits[0], verb)()[["group", "level", "term"]])
        wide = getattr(imputed, verb)(wide=True)
        np.testing.assert_allclose(wide, np.mean([getattr(fit, verb)(wide=True) for fit in imputed.fits], axis=0))


def test_levels_in_another_order_are_the_same_levels():
    sleep = blm.load_dataset("sleepstudy")
    subjects = sorted(sleep["Subject"].unique())
    turned = sleep.assign(Subject=pd.Categorical(sleep["Subject"], subjects[::-1]))
    found = blm.fit_imputed("Reaction ~ Days + (1 | Subject)", [sleep, turned])
    wanted = found.fits[0].ranef()
    assert found.fits[1].ranef()["level"].tolist() == wanted["level"].tolist()[::-1]
    np.testing.assert_allclose(found.ranef()["estimate"], wanted["estimate"], atol=1e-5)
    np.testing.assert_allclose(found.ranef()["std_error"], wanted["std_error"], rtol=1e-5)
    np.testing.assert_allclose(found.predict(), found.fits[0].fitted(), atol=1e-4)


def test_rows_of_several_groups_each_are_predicted():
    sleep = blm.load_dataset("sleepstudy")
    sleep["neighbour"] = np.roll(sleep["Subject"], 1)
    tables = [sleep, sleep.assign(Days=sleep["Days"] + 0.1 * (sleep.index % 3))]
    found = blm.fit_imputed("Reaction ~ Days + (1 | mm(Subject, neighbour))", tables)
    np.testing.assert_allclose(found.predict(), np.mean([fit.fitted() for fit in found.fits], axis=0))


def test_shares_of_variance_are_means_with_their_spread(imputed, tables):
    for verb, options in (("icc", {}), ("icc", {"by_group": False}), ("icc", {"at": {"ses": [0, 1]}}), ("r2", {})):
        singles = np.array([getattr(fit, verb)(**options)["estimate"] for fit in imputed.fits])
        found = getattr(imputed, verb)(**options)
        np.testing.assert_allclose(found["estimate"], singles.mean(axis=0))
        deviations = singles - singles.mean(axis=0)
        np.testing.assert_allclose(found["between"], np.sqrt((deviations**2).sum(axis=0) / (len(singles) - 1)))
        assert (found["between"] > 0).all()
    assert list(imputed.r2().index) == ["marginal", "conditional"]
    wider = tables[1].assign(ses=tables[1]["ses"] * 2)
    with pytest.raises(errors.InputError, match="give its values, at="):
        blm.fit_imputed(WANTED["formula_py"], [tables[0], wider]).icc(at="ses")


def test_predictions_that_rubins_rules_are_not_of(imputed, tables):
    rows = tables[0].head(3)
    for options, message in (
        ({"interval": "simulated"}, "'plug-in'"),
        ({"kind": "latent"}, "kind is 'mean'"),
        ({"kind": "response"}, "observations have an interval"),
        ({"groups": "all"}, "groups"),
    ):
        with pytest.raises(errors.InputError, match=message):
            imputed.predict(rows, **options)
    with pytest.raises(errors.UnseenLevelError):
        imputed.predict(rows.assign(school=-1))
    missing = imputed.predict(rows.assign(ses=[np.nan, 0, 1]), interval="plug-in")
    assert missing.iloc[0].drop("interval").isna().all() and missing.iloc[1:].notna().all(axis=None)
    with pytest.raises(errors.UnknownArgumentError, match="draws"):
        imputed.predict(rows, draws=10)
    high = [table.assign(high=(table["mathach"] > 14).astype(int)) for table in tables[:2]]
    binary = blm.fit_imputed("high ~ ses + (1 | school)", high, family="bernoulli", how="ml")
    with pytest.raises(errors.NotAvailableError, match="kind='link'"):
        binary.predict(rows, interval="plug-in")
    singles = [fit.predict(rows, kind="link", interval="plug-in") for fit in binary.fits]
    complete = min(fit.df_resid for fit in binary.fits)
    assert_by_hand(binary.predict(rows, kind="link", interval="plug-in"), singles, complete)
    np.testing.assert_allclose(binary.predict(rows), np.mean([fit.predict(rows) for fit in binary.fits], axis=0))


def test_posteriors_are_stacked(tables):
    found = blm.fit_imputed(
        WANTED["formula_py"], tables[:2], how="posterior", sampling={"random_seed": 1, "progressbar": False}
    )
    draws = np.concatenate([fit.draws("beta") for fit in found.fits])
    np.testing.assert_allclose(found.fixef()["mean"], draws.mean(axis=(0, 1)))
    assert found.draws("sigma").shape == (8, 1000)
    assert found.parameters()["mean"].iloc[-1] == pytest.approx(found.draws("sigma").mean())
    assert found.fixef()["between_share"].between(0, 1).all()
    np.testing.assert_allclose(found.fixef()["p_positive"], (draws > 0).mean(axis=(0, 1)))
    pair = found.means("sector").pairs()
    assert pair.table["mean"].iloc[0] == pytest.approx(-found.fixef().loc["sector[Public]", "mean"])
    assert pair.draws().sizes["chain"] == 8
    assert "draws stacked" in str(found)
    share = found.hypothesis("ses > 1, sd(Intercept | school) > 2")["probability"]
    sds = np.concatenate([fit.draws(fit.design.names.sd["school"]) for fit in found.fits])
    np.testing.assert_allclose(share, [(draws[..., 1] > 1).mean(), (sds > 2).mean()])
    slope = found.slopes("ses").iloc[0]
    of_ses = found.fixef().loc["ses"]
    for ours, theirs in (("estimate", "mean"), ("std_error", "sd"), ("conf_low", "conf_low")):
        assert slope[ours] == pytest.approx(of_ses[theirs], rel=1e-6)
    assert slope["p_positive"] == pytest.approx(of_ses["p_positive"])
    with pytest.raises(errors.NotAvailableError, match="probabilities"):
        found.test("ses = 0")


@pytest.fixture(scope="module")
def drawn(tables):
    """Posteriors of three tables, few draws of each."""
    few = {"draws": 200, "chains": 2, "random_seed": 1, "progressbar": False}
    return blm.fit_imputed(WANTED["formula_py"], tables[:3], how="posterior", sampling=few)


NUMBERS = ["mean", "sd", "median", "conf_low", "conf_high"]
EFFECT = ["estimate", "std_error", "conf_low", "conf_high", "p_positive"]


@pytest.mark.parametrize(
    ("verb", "arguments", "options", "columns"),
    [
        ("predict", ("rows",), {}, NUMBERS),
        ("predict", (), {}, NUMBERS),
        ("icc", (), {}, NUMBERS),
        ("icc", (), {"at": {"ses": [0.0, 1.0]}}, NUMBERS),
        ("r2", (), {}, NUMBERS),
        ("bayes_r2", (), {}, NUMBERS),
        ("variance_components", (), {}, NUMBERS),
        ("within_correlation", ({"ses": [0.0, 1.0]},), {}, [*NUMBERS, "p_positive"]),
        ("comparisons", ("sector",), {}, EFFECT),
        ("comparisons", ("sector",), {"kind": "ratio"}, EFFECT),
        ("slopes", ("ses",), {}, EFFECT),
    ],
)
def test_what_looks_at_rows_is_told_by_the_draws_of_every_table(drawn, tables, verb, arguments, options, columns):
    """Each fit's draws by itself, put together, and summarised by hand."""
    arguments = tuple(tables[0].iloc[[3, 90, 400]] if a == "rows" else a for a in arguments)
    table = getattr(drawn.stacked, verb)(*arguments, **options)
    singles = [getattr(fit, verb)(*arguments, **options, draws=True).to_numpy() for fit in drawn.fits]
    values = np.concatenate([single.reshape(400, -1) for single in singles])
    null = 1.0 if options.get("kind") == "ratio" else 0.0
    by_name = {
        "mean": values.mean(axis=0),
        "sd": values.std(axis=0, ddof=1),
        "median": np.median(values, axis=0),
        "conf_low": np.quantile(values, 0.025, axis=0),
        "conf_high": np.quantile(values, 0.975, axis=0),
        "p_positive": (values > null).mean(axis=0),
    }
    by_name |= {"estimate": by_name["mean"], "std_error": by_name["sd"]}
    for column in columns:
        np.testing.assert_allclose(table[column], by_name[column], rtol=1e-9, err_msg=column)
    labels = [name for name in getattr(drawn.fits[0], verb)(*arguments, **options) if name not in by_name]
    assert [name for name in table if name not in by_name] == labels
    together = getattr(drawn.stacked, verb)(*arguments, **options, draws=True)
    assert together.shape[:2] == (6, 200)
    np.testing.assert_array_equal(together.to_numpy().reshape(1200, -1), values)
    if hasattr(drawn, verb):
        pd.testing.assert_frame_equal(getattr(drawn, verb)(*arguments, **options), table)


def test_effects_of_levels_are_those_of_all_draws(drawn):
    for verb in ("ranef", "coef"):
        table, name = getattr(drawn, verb)(ci_prob=0.8), f"{'b' if verb == 'ranef' else 'coef'}_school"
        draws = np.concatenate([getattr(fit, verb)(draws=True)[name].to_numpy() for fit in drawn.fits])
        values = draws.reshape(1200, -1)
        np.testing.assert_allclose(table["mean"], values.mean(axis=0))
        np.testing.assert_allclose(table["conf_high"], np.quantile(values, 0.9, axis=0))
        assert table["term"].tolist() == drawn.fits[0].__getattribute__(verb)()["term"].tolist()
        wide = getattr(drawn, verb)(wide=True)
        np.testing.assert_allclose(wide.to_numpy().reshape(-1), values.mean(axis=0))
        np.testing.assert_array_equal(getattr(drawn, verb)(draws=True)[name].to_numpy(), draws)


def test_predictions_are_told_in_blocks_of_rows(drawn, tables, monkeypatch):
    from bayeslmm.results import stacked

    whole = drawn.predict(tables[0])
    monkeypatch.setattr(stacked, "AT_ONCE", 1200 * 200)
    pd.testing.assert_frame_equal(drawn.predict(tables[0]), whole)
    anew = drawn.predict(tables[0], groups="new", kind="response", random_seed=1)
    pd.testing.assert_frame_equal(drawn.predict(tables[0], groups="new", kind="response", random_seed=1), anew)
    assert (anew["sd"] > whole["sd"]).all() and anew.index.equals(tables[0].index)
    assert drawn.predict(tables[0].head(4), draws=60, random_seed=1).shape == (6, 10, 4)


def test_levels_in_another_order_are_stacked_by_their_names():
    sleep = blm.load_dataset("sleepstudy")
    order = sorted(set(sleep["Subject"]))
    tables = [sleep.assign(Subject=pd.Categorical(sleep["Subject"], levels)) for levels in (order, order[::-1])]
    few = {"draws": 200, "chains": 2, "random_seed": 1, "progressbar": False}
    found = blm.fit_imputed("Reaction ~ Days + (1 | Subject)", tables, how="posterior", sampling=few)
    single = [fit.ranef(wide=True)["Intercept"].droplevel("group") for fit in found.fits]
    assert single[1].index.tolist() == single[0].index.tolist()[::-1]
    mean = (single[0] + single[1].reindex(single[0].index)) / 2.0
    np.testing.assert_allclose(found.ranef(wide=True)["Intercept"], mean)
    np.testing.assert_allclose(found.draws("b_Subject").mean(axis=(0, 1))[:, 0], mean)
    coefs = [fit.coef(wide=True)["Intercept"].droplevel("group") for fit in found.fits]
    wanted = (coefs[0] + coefs[1].reindex(coefs[0].index)) / 2.0
    np.testing.assert_allclose(found.coef(wide=True)["Intercept"], wanted)


def test_the_draws_of_all_tables_are_a_posterior(drawn):
    post = drawn.stacked
    np.testing.assert_allclose(post.fixef()["mean"], drawn.fixef()["mean"])
    assert post.n_chains == 6 and len(post.rank_groups()) == 24
    assert post.tidy()["rhat"].max() == max(fit.tidy()["rhat"].max() for fit in drawn.fits)  # not between tables
    each = [fit.tidy()["ess_bulk"].to_numpy() for fit in drawn.fits]
    np.testing.assert_allclose(post.tidy()["ess_bulk"], np.sum(each, axis=0))
    assert "3 imputed tables" in post.verdict and post.verdict in str(post).replace("\n  ", " ")
    glance = post.glance().iloc[0]
    assert glance["icc"] == pytest.approx(post.icc().loc["adjusted", "mean"])
    assert glance["r2_marginal"] == pytest.approx(post.r2().loc["marginal", "mean"])
    pd.testing.assert_frame_equal(post.hypothesis("ses > 1"), drawn.hypothesis("ses > 1"))
    errors_of_fits = [fit.hypothesis("ses > 1")["p_mcse"].iloc[0] for fit in drawn.fits]
    together = np.sqrt(np.sum(np.square(errors_of_fits))) / len(errors_of_fits)
    assert post.hypothesis("ses > 1")["p_mcse"].iloc[0] == pytest.approx(together, rel=0.15)  # not between tables
    assert blm.plot_trace(post) is not None and blm.plot_ranef(post) is not None


def test_what_is_of_the_rows_of_one_table_is_refused(drawn):
    """No verb answers with the rows of the first table."""
    post = drawn.stacked
    verbs = ("fitted", "residuals", "augment", "simulate", "loo", "compute_log_likelihood", "compute_log_prior")
    verbs += ("compute_posterior_predictive", "prior_sensitivity", "prior_influence", "smooths", "heterogeneity")
    for verb in verbs:
        with pytest.raises(errors.NotAvailableError, match=rf"^{verb} is of the rows of one table.*\.fits"):
            getattr(post, verb)()
    for function in (blm.ppc, blm.no_pooling, blm.plot_lines, blm.plot_variance, blm.plot_residuals, blm.kfold):
        with pytest.raises(errors.NotAvailableError, match="of the rows of one table"):
            function(post)
    for options in ({"shares": True}, {"with_data": True}):
        with pytest.raises(errors.NotAvailableError, match="of one table"):
            post.predict(**options)
    with pytest.raises(errors.NotAvailableError, match="of the rows of one table"):
        post.design.X[0]
    with pytest.raises(errors.InputError, match="of imputed tables .stacked"):
        blm.plot_ranef(drawn)


def test_posteriors_have_no_plug_in_intervals_and_point_fits_no_draws(drawn, imputed):
    with pytest.raises(errors.InputError, match="intervals are those of the draws"):
        drawn.predict(interval="plug-in")
    for verb in ("ranef", "coef", "icc", "r2", "predict"):
        with pytest.raises(errors.UnknownArgumentError, match=rf"^{verb}\(\) of imputed point fits takes no 'draws'"):
            getattr(imputed, verb)(draws=True)
    with pytest.raises(errors.InputError, match="point fits have no draws"):
        imputed.slopes("ses", draws=True)
    with pytest.raises(errors.NotAvailableError, match="how='posterior'"):
        imputed.stacked  # noqa: B018


def test_fits_made_one_by_one_are_put_together(imputed, drawn, tables, tmp_path):
    two = imputed.fits[:2]
    for k, fit in enumerate(two):
        blm.save(fit, tmp_path / f"{k}.nc")
    again = Imputed(fits=tuple(blm.load(tmp_path / f"{k}.nc") for k in range(2)))
    np.testing.assert_allclose(again.fixef(), Imputed(fits=two).fixef(), rtol=1e-9)
    for one in (imputed, drawn, drawn.stacked):
        with pytest.raises(errors.StorageError, match="one by one"):
            blm.save(one, tmp_path / "all.nc")
    first = imputed.fits[0]
    other = blm.lmer("mathach ~ ses + (1 | school)", tables[0])
    by_ml = blm.Model(WANTED["formula_py"], tables[1]).fit_ml()
    for fits, message in (
        ((first, drawn.fits[0]), "point fits and posteriors"),
        ((first, other), "another formula"),
        ((first, by_ml), "another criterion"),
        ([first, first], "a tuple"),
        ((first, imputed), "a tuple"),
        ((drawn.fits[0], drawn.stacked), "stacked draws"),
        ((), "two or more"),
    ):
        with pytest.raises(errors.InputError, match=message):
            Imputed(fits=fits)
    shorter = blm.Model(WANTED["formula_py"], tables[0]).fit(draws=100, chains=2, random_seed=1, progressbar=False)
    with pytest.raises(errors.InputError, match="2 x 100 draws, the first 2 x 200"):
        Imputed(fits=(drawn.fits[0], shorter))


def test_what_rests_on_the_imputer_is_said():
    rng = np.random.default_rng(1)
    sleep = blm.load_dataset("sleepstudy")
    noisy = [sleep.assign(x=rng.normal(size=len(sleep))) for _ in range(3)]
    noisy = [table.assign(Reaction=table["Reaction"] + 30 * k * table["x"]) for k, table in enumerate(noisy, start=-1)]
    found = blm.fit_imputed("Reaction ~ Days + x + (1 | Subject)", noisy)
    assert "more than half of the variance is between imputations for x" in found.verdict


def lost(table, *rows):
    """With missing values of a predictor in some rows."""
    return table.assign(ses=table["ses"].where(~table.index.isin(rows)))


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning")
def test_tables_that_lose_the_same_rows_are_pooled(tables):
    """Such as those without a response; rows in another order are the same rows."""
    found = blm.fit_imputed(WANTED["formula_py"], [lost(table, 3, 7) for table in tables[:3]])
    shuffled = [lost(tables[0], 3, 7), *(lost(table, 3, 7).sample(frac=1, random_state=1) for table in tables[1:3])]
    again = blm.fit_imputed(WANTED["formula_py"], shuffled)
    np.testing.assert_allclose(again.fixef()["estimate"], found.fixef()["estimate"], rtol=1e-6)
    assert found.fits[0].nobs == 525


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning")
@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda tables: tables[:1], {}, "two or more"),
        (lambda tables: [tables[0], tables[1].iloc[10:]], {}, "517 rows, the first 527"),
        (lambda tables: [tables[0], tables[1].assign(sex="Male")], {}, "one level"),
        (lambda tables: [tables[0], tables[1].replace({"sector": {"Public": "State"}})], {}, "other columns"),
        (lambda tables: [tables[0], tables[1].replace({"school": {1436: 9999}})], {}, "other levels of 'school'.*9999"),
        (lambda tables: tables, {"how": "bayes"}, "'reml', 'ml', 'posterior'"),
        (lambda tables: tables, {"sampling": {"draws": 5}}, "belong to how='posterior'"),
        (lambda tables: pd.concat(tables), {}, "a list of tables"),
        (lambda tables: [], {}, "two or more"),
        (lambda tables: {"a": tables[0]}, {}, "a list of tables"),
        (lambda tables: iter(tables), {}, "a list of tables"),
        (lambda tables: [tables[0], "imputed.csv"], {}, "table 2 of 2"),
        (lambda tables: [tables[0], tables[1].drop(columns="ses")], {}, "table 2 of 2: .*'ses'"),
        (lambda tables: [tables[0], tables[1].assign(ses=tables[1]["ses"].round().astype(str))], {}, "same type"),
        (lambda tables: [tables[0], tables[1].assign(mathach="a")], {}, "table 2 of 2: .*mathach"),
        (lambda tables: [lost(tables[0], 3), lost(tables[1], 7)], {}, r"1 in table 2 and .*not the same ones \(3, 7\)"),
        (lambda tables: [tables[0].iloc[1:], lost(tables[1], 0, 5).iloc[:-1]], {}, "rows"),
    ],
)
def test_what_cannot_be_pooled_is_refused(tables, change, options, message):
    with pytest.raises(errors.BayesLMMError, match=message):
        blm.fit_imputed(WANTED["formula_py"], change(tables), **options)


def test_point_fits_have_no_draws(imputed):
    with pytest.raises(errors.NotAvailableError, match="how='posterior'"):
        imputed.draws("beta")
