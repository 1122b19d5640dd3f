"""What the fixed part does not tell is missing: estimable is what lies in the row space of the whole matrix."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design.aliases import Aliases
from bayeslmm.design.coding import independent_columns

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.AliasedColumnsWarning")
QUIET = {"random_seed": 1, "draws": 100, "chains": 2, "progressbar": False}


def treated():
    """A control beside two sources at three rates: what a control does at a rate was not observed."""
    cells = [("Control", "None"), *product("AB", ("low", "mid", "high"))]
    d = pd.DataFrame([(b, s, r) for b in range(4) for s, r in cells], columns=["Block", "Source", "Rate"])
    rng = np.random.default_rng(0)
    d["Y"] = d["Block"] + d["Source"].map({"Control": 0, "A": 2, "B": 4}) + rng.normal(size=28)
    return d.assign(Treated=np.where(d["Source"] == "Control", "no", "yes"), one=3.0)


NOWHERE = pd.DataFrame(  # the first row is not estimable
    {"Treated": ["no", "no"], "Source": ["A", "Control"], "Rate": ["low", "None"], "Block": 0}
)
FORMULA = "Y ~ Treated + Source * Rate + (1 | Block)"


def missing(call):
    """The result of a call, which says that some of it is not estimable."""
    with pytest.warns(errors.NotEstimableWarning, match="depends? linearly"):
        return call()


@pytest.mark.parametrize("seed", range(40))
def test_a_row_is_estimable_iff_it_lies_in_the_row_space(seed):
    rng = np.random.default_rng(seed)
    rank, P, n, intercept = int(rng.integers(1, 5)), int(rng.integers(2, 8)), 30, bool(rng.integers(2))
    X = rng.integers(-2, 3, (n, rank)) @ rng.integers(-2, 3, (rank, P)) + 0.0
    X = np.column_stack([np.ones(n), X]) if intercept else X * 10.0 ** rng.integers(-3, 4)
    independent = independent_columns(X, has_intercept=intercept)
    aliases = Aliases.of(X, independent, independent, tuple(map(str, range(X.shape[1]))), intercept=intercept)
    inside = rng.normal(size=(20, n)) @ X
    inside[:, :] = inside / (inside[:, [0]] if intercept else 1.0)  # rows have an intercept of one
    outside = inside + rng.normal(size=inside.shape) * np.abs(X).max() * (np.arange(X.shape[1]) >= intercept)
    values, basis = np.linalg.svd(X)[1:]
    null = basis[(values > 1e-9 * values.max()).sum() :] if len(values) else basis
    for rows in (inside, outside):
        expected = np.abs(rows @ null.T).max(axis=1, initial=0.0) < 1e-6 * np.abs(rows).max(axis=1)
        got = aliases.estimable(rows[:, independent], rows[:, ~independent])
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("posterior", [False, True])
def test_estimable_predictions_do_not_hang_on_which_columns_were_dropped(posterior):
    data = treated()
    grid = pd.DataFrame(
        list(product(("yes", "no"), ("Control", "A", "B"), ("None", "low", "mid", "high"), [0])),
        columns=["Treated", "Source", "Rate", "Block"],
    )
    observed = grid.merge(data.drop_duplicates(["Treated", "Source", "Rate"])[["Treated", "Source", "Rate"]])
    tables = []
    for fixed in ("Treated + Source * Rate", "Rate * Source + Treated", "Source + Treated + Rate:Source"):
        model = blm.Model(f"Y ~ {fixed} + (1 | Block)", data)
        if posterior:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", errors.BayesLMMWarning)
                fit = model.fit(**QUIET)
                tables.append(fit.predict(grid, draws=True).isnull().all(("chain", "draw")).to_numpy())
        else:
            fit = model.fit_reml()
            tables.append(missing(lambda f=fit: f.predict(grid, interval="plug-in")))
            estimates = tables[-1]["estimate"]
            assert estimates.notna().sum() == len(observed) == 7
            continue
        assert (~tables[-1]).sum() == len(observed) == 7
    for other in tables[1:]:
        if posterior:
            assert np.array_equal(tables[0], other)
        else:
            pd.testing.assert_frame_equal(tables[0], other, rtol=1e-6)


def test_contrasts_are_estimable_as_emmeans_says():
    fit = blm.lmer(FORMULA, treated())
    table = missing(lambda: fit.comparisons("Source", contrast="pairwise", by="Rate")).set_index(["contrast", "Rate"])
    cells = treated().groupby(["Source", "Rate"])["Y"].mean()
    for (contrast, rate), row in table.iterrows():
        if contrast == "B - A" and rate != "None":  # both observed: balanced, so the difference of cell means
            assert row["estimate"] == pytest.approx(cells["B", rate] - cells["A", rate])
        else:
            assert row[["estimate", "std_error", "conf_low", "conf_high"]].isna().all()
    assert missing(lambda: fit.comparisons("Source", contrast="pairwise"))["estimate"].isna().all()
    ratios = missing(lambda: fit.comparisons("Source", contrast="pairwise", kind="ratio", average=False))
    assert ratios["estimate"].notna().any() and ratios["estimate"].isna().any()


def test_a_difference_may_be_estimable_although_its_sides_are_not():
    data = treated()
    data["dose"] = np.random.default_rng(3).normal(size=28)
    fit = blm.lmer("Y ~ Treated + Source + dose + (1 | Block)", data)
    nowhere = pd.DataFrame({"Treated": ["no"], "Source": ["A"], "dose": [0.0], "Block": [0]})
    assert missing(lambda: fit.predict(nowhere)).isna().all()
    difference = fit.comparisons("dose", newdata=nowhere)["estimate"].iloc[0]
    assert difference == pytest.approx(fit.fixef().loc["dose", "estimate"])
    assert fit.slopes("dose", newdata=nowhere)["estimate"].iloc[0] == pytest.approx(difference)


def test_a_posterior_of_any_family_leaves_out_the_same_numbers():
    data = treated()
    data["count"] = np.random.default_rng(1).poisson(4, 28)
    for formula, family in ((FORMULA, "gaussian"), (FORMULA.replace("Y", "count"), "poisson")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.SamplingWarning)
            warnings.simplefilter("ignore", errors.FewLevelsWarning)
            post = blm.Model(formula, data, family=family).fit(**QUIET)
        table = missing(lambda p=post: p.comparisons("Source", contrast="pairwise", by="Rate"))
        known = (table["contrast"] == "B - A") & (table["Rate"] != "None")
        assert np.array_equal(table["estimate"].notna(), known)
        draws = missing(lambda p=post: p.comparisons("Source", contrast="pairwise", by="Rate", draws=True))
        assert np.array_equal(np.isnan(draws.to_numpy()).any(axis=(0, 1)), ~known)
        for kind in ("mean", "response"):
            told = missing(lambda p=post, k=kind: p.predict(NOWHERE, kind=k, groups="average"))
            assert told["mean"].isna().tolist() == [True, False]


def test_every_target_and_interval_of_a_point_fit_leaves_it_out():
    fit = blm.lmer(FORMULA, treated())
    for groups in ("observed", "new", "average", "population"):
        assert missing(lambda g=groups: fit.predict(NOWHERE, groups=g)).isna().tolist() == [True, False]
        table = missing(lambda g=groups: fit.predict(NOWHERE, groups=g, interval="plug-in"))
        assert table["std_error"].isna().tolist() == [True, False]
    drawn = missing(lambda: fit.predict(NOWHERE, draws=3, random_seed=1))
    assert np.isnan(drawn.to_numpy()).all(axis=0).tolist() == [True, False]


def test_the_slope_of_a_constant_column():
    fit = blm.lmer("Y ~ one + Source + (1 | Block)", treated())
    assert missing(lambda: fit.slopes("one"))[["estimate", "std_error"]].isna().all(axis=None)
    alone = blm.lmer("Y ~ 0 + one + (1 | Block)", treated())
    assert alone.slopes("one")["estimate"].iloc[0] == pytest.approx(alone.fixef()["estimate"].iloc[0])


def test_rows_of_the_fit_are_estimable_and_nothing_is_said():
    fit = blm.lmer(FORMULA, treated())
    assert np.allclose(fit.predict(treated()), fit.fitted())
