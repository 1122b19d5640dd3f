"""Fits of imputed tables as one, against mice."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors

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
    for options, message in (({"ddf": None}, "Barnard"), ({"draws": True}, "every fit")):
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
    for verb in ("predict", "ranef", "coef", "icc", "r2"):
        with pytest.raises(errors.NotAvailableError, match=rf"^{verb}: .*draws=True"):
            getattr(found, verb)()


def test_what_rests_on_the_imputer_is_said():
    rng = np.random.default_rng(1)
    sleep = blm.load_dataset("sleepstudy")
    noisy = [sleep.assign(x=rng.normal(size=len(sleep))) for _ in range(3)]
    noisy = [table.assign(Reaction=table["Reaction"] + 30 * k * table["x"]) for k, table in enumerate(noisy, start=-1)]
    found = blm.fit_imputed("Reaction ~ Days + x + (1 | Subject)", noisy)
    assert "more than half of the variance is between imputations for x" in found.verdict


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
    ],
)
def test_what_cannot_be_pooled_is_refused(tables, change, options, message):
    with pytest.raises(errors.BayesLMMError, match=message):
        blm.fit_imputed(WANTED["formula_py"], change(tables), **options)


def test_point_fits_have_no_draws(imputed):
    with pytest.raises(errors.NotAvailableError, match="how='posterior'"):
        imputed.draws("beta")
