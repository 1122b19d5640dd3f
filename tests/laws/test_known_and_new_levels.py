"""Tables with known and unknown levels: each row is predicted as it would be among its like."""

from __future__ import annotations

import ast
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import examples, tables

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.targets import MIXED

# what is asked is which effects a row gets, of short runs and small tables as well
pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

SHORT = {"draws": 100, "tune": 200, "chains": 2, "random_seed": 1, "progressbar": False}
SEED = {"random_seed": 3}


def sleep_fit(**changes):
    return blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"), **changes)


def test_the_numbers_of_allow_new_levels():
    """lme4 1.1-31: predict(m, nd, allow.new.levels = TRUE) is 227.6 for 309 and 345.6 for somebody unknown on day 9."""
    rows = pd.DataFrame({"Days": 9, "Subject": ["309", "somebody", None]}, index=["a", "b", "c"])
    fit = sleep_fit()
    for target, other in MIXED.items():
        for groups in (target, {"Subject": target}):
            found = fit.predict(rows, groups=groups)
            np.testing.assert_allclose(found, [227.6, 345.6, 345.6], atol=0.05)
            assert found.attrs == {"target_Subject": ["observed", other, other]}
            table = fit.predict(rows, groups=groups, interval="plug-in")
            assert table["target_Subject"].tolist() == ["observed", other, other]
            assert list(table.index) == list("abc")


def mixture(data):
    """Rows of the fit; of some one label is unknown, of some several, and of some there is none."""
    rows = data.iloc[np.arange(24) % len(data)].reset_index(drop=True)
    names = [name for name in "ghk" if name in rows]
    for k, name in enumerate(names):
        rows[name] = rows[name].astype(object)
        rows.loc[k::3, name] = [f"new {i % 2}" for i in range(len(rows[k::3]))]
    rows.loc[23, names[0]] = None
    return rows, names


def seen_of(fit, rows):
    built = fit.design.at(rows, offset=0.0)
    return {g.name: g.codes >= 0 for g in built.groups}


@given(tables(max_factors=3, locations=(0.0, 3.0)))
@examples(25)
def test_rows_of_a_point_fit_are_predicted_among_their_like(table):
    fit = table.model().fit_reml()
    rows, _ = mixture(table.data)
    offset = {"offset": "o"} if table.options.get("offset") else {}
    seen = seen_of(fit, rows)
    kinds = [dict(zip(seen, kind, strict=True)) for kind in set(zip(*seen.values(), strict=True))]
    for target, other in MIXED.items():
        for ask in (
            {},
            {"interval": "plug-in"},
            {"interval": "plug-in", "kind": "response", "shares": True, "ddf": None},
        ):
            whole = fit.predict(rows, groups=target, **ask, **offset)
            for kind in kinds:
                like = np.all([seen[name] == known for name, known in kind.items()], axis=0)
                groups = {name: "observed" if known else other for name, known in kind.items()}
                part = fit.predict(rows[like], groups=groups, **ask, **offset)
                told = [c for c in whole if str(c).startswith("target_")] if ask else []
                found = whole[like].drop(columns=told) if ask else whole[like]
                same = pd.testing.assert_frame_equal if ask else pd.testing.assert_series_equal
                same(found, part, rtol=1e-9, atol=1e-12)
                for name in told:
                    assert set(whole.loc[like, name]) == {groups[name.removeprefix("target_")]}


@pytest.fixture(scope="module")
def nested():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"s": np.repeat([f"s{i}" for i in range(8)], 12), "c": np.tile(np.repeat(list("abc"), 4), 8)})
    data["x"] = rng.normal(size=96)
    eta = 0.5 * data["x"] + np.repeat(rng.normal(0, 1, 8), 12) + np.repeat(rng.normal(0, 0.7, 24), 4)
    data["y"], data["k"] = eta + rng.normal(0, 0.5, 96), rng.poisson(np.exp(0.5 * eta))
    data["o"] = np.clip(np.digitize(eta, [-0.5, 0.7]), 0, 2)
    return data


ROWS = pd.DataFrame(
    {"x": [0.5] * 5, "s": ["s1", "s1", "s1", "new", "new"], "c": ["a", "z", "z", "a", "z"]}
)  # known; a known school with a new class, twice; a new school


def test_a_new_class_of_a_known_school_keeps_the_school(nested):
    fit = blm.lmer("y ~ x + (1 | s/c)", nested)
    effects = fit.ranef(wide=True)["Intercept"]
    base = fit.predict(ROWS, groups="average")
    known = effects[("s", "s1")]
    found = fit.predict(ROWS, groups="observed_or_new") - base
    np.testing.assert_allclose(found, [known + effects[("s:c", "s1:a")], known, known, 0.0, 0.0], atol=1e-12)
    table = fit.predict(ROWS, groups="observed_or_new", interval="plug-in")
    assert table["target_s"].tolist() == ["observed"] * 3 + ["new"] * 2
    assert table["target_s:c"].tolist() == ["observed"] + ["new"] * 4
    for kept in ({"s": "observed_or_new", "s:c": "average"}, {"s": "observed_or_average", "s:c": "average"}):
        np.testing.assert_allclose(fit.predict(ROWS, groups=kept) - base, [known] * 3 + [0.0] * 2, atol=1e-12)


@pytest.mark.parametrize(
    ("formula", "family", "method"),
    [
        ("y ~ x + (1 | s/c)", "gaussian", "exact"),
        ("k ~ x + (1 | s/c)", "poisson", "nuts"),
        ("o ~ x + (1 | s/c)", "ordinal", "nuts"),
    ],
)
def test_draws_of_rows_are_those_of_their_like(nested, formula, family, method):
    post = blm.Model(formula, nested, family=family).fit(method=method, **SHORT)
    known, school, new = ROWS.iloc[[0]], ROWS.iloc[[1, 2]], ROWS.iloc[[3, 4]]
    whole = post.predict(ROWS, groups="observed_or_new", draws=True, **SEED)
    assert whole["target_s:c"].values.tolist() == ["observed"] + ["new"] * 4
    np.testing.assert_allclose(whole[:, :, [0]], post.predict(known, draws=True), rtol=1e-12)
    assert np.array_equal(whole[:, :, 1], whole[:, :, 2])  # one new class
    # without the class the school is what was observed, and without both the fixed part
    kept = post.predict(ROWS, groups={"s": "observed_or_average", "s:c": "average"}, draws=True)
    np.testing.assert_allclose(
        kept[:, :, [1, 2]], post.predict(school, groups={"s": "observed", "s:c": "average"}, draws=True), rtol=1e-12
    )
    np.testing.assert_allclose(kept[:, :, 3:], post.predict(new, groups="average", draws=True), rtol=1e-12)
    population = post.predict(ROWS, groups="observed_or_population", draws=True)
    np.testing.assert_allclose(population[:, :, [0]], post.predict(known, draws=True), rtol=1e-6)
    np.testing.assert_allclose(population[:, :, 3:], post.predict(new, groups="population", draws=True), rtol=1e-6)
    fresh = post.predict(new, groups="new", draws=True, **SEED)
    only = post.predict(new, groups="observed_or_new", draws=True, **SEED)
    np.testing.assert_array_equal(fresh, only)  # where nothing is known, new is what it is
    table = post.predict(ROWS, groups="observed_or_new", **SEED)
    categories = len(post.design.levels) if family == "ordinal" else 1
    assert table["target_s"].tolist() == ["observed"] * 3 * categories + ["new"] * 2 * categories
    sd = table["sd"].to_numpy().reshape(5, categories)[:, 0]
    assert sd[3] > sd[0] and sd[1] == sd[2]
    shares = (
        post.predict(ROWS, groups="observed_or_new", kind="response", shares=True, **SEED) if categories == 1 else None
    )
    if shares is not None:
        np.testing.assert_allclose(shares.filter(like="share_").sum(axis=1), 1.0)


def test_every_verb_has_the_words(nested):
    fit = blm.lmer("y ~ x + (x | s/c)", nested)
    post = blm.Model("y ~ x + (x | s/c)", nested).fit(**SHORT)
    for one in (fit, post):
        found = one.slopes("x", newdata=ROWS, average=False, groups="observed_or_average")
        assert found["target_s"].tolist() == ["observed"] * 3 + ["average"] * 2
        slopes = one.slopes("x", newdata=ROWS.iloc[[0]], average=False, groups="observed")
        np.testing.assert_allclose(found["estimate"].iloc[0], slopes["estimate"].iloc[0], rtol=1e-9)
        np.testing.assert_allclose(found["std_error"].iloc[0], slopes["std_error"].iloc[0], rtol=1e-9)
        new = one.comparisons("x", newdata=ROWS.iloc[[3]], groups="new", **SEED)["std_error"].iloc[0]
        mixed = one.comparisons("x", newdata=ROWS, average=False, groups="observed_or_new", **SEED)["std_error"]
        assert mixed.iloc[3] == pytest.approx(new, rel=0.3)  # of 200 draws, whose sd is known to 5 %
        assert mixed.iloc[3] > mixed.iloc[0]
        same = one.simulate(2, groups="observed_or_new", **SEED)
        pd.testing.assert_frame_equal(same, one.simulate(2, groups="observed", **SEED))
        checked = blm.ppc(one, "mean", groups="observed_or_new", draws=20, **SEED)
        assert checked.groups == {"s": "observed", "s:c": "observed"}
        pd.testing.assert_frame_equal(checked.table, blm.ppc(one, "mean", draws=20, **SEED).table)
    simulated = fit.predict(ROWS, groups="observed_or_new", interval="simulated", draws=30, progressbar=False, **SEED)
    assert simulated["target_s"].tolist() == ["observed"] * 3 + ["new"] * 2 and simulated.notna().all().all()
    drawn = fit.predict(ROWS, groups="observed_or_new", draws=50, **SEED)
    assert np.ptp(drawn[:, 0].values) < 1e-12 < np.ptp(drawn[:, 3].values)
    root = blm.lmer("np.sqrt(y + 9) ~ x + (1 | s/c)", nested)
    found = root.predict(ROWS, groups="observed_or_new", transform=np.square)
    np.testing.assert_allclose(found.iloc[0], root.predict(ROWS.iloc[[0]], transform=np.square).iloc[0])
    np.testing.assert_allclose(found.iloc[3], root.predict(ROWS, groups="population", transform=np.square).iloc[3])


def test_the_error_leads_to_words_that_work(nested):
    fit = blm.lmer("y ~ x + (1 | s/c)", nested)
    for rows in (ROWS, ROWS.iloc[:3]):
        with pytest.raises(errors.UnseenLevelError) as caught:
            fit.predict(rows)
        groups = ast.literal_eval(re.search(r"groups=(\{.*?\})", str(caught.value)).group(1))
        found = fit.predict(rows, groups=groups)
        assert found.iloc[0] == fit.predict(rows.iloc[[0]]).iloc[0]
    with pytest.raises(errors.InputError, match="'observed_or_new'"):
        fit.predict(ROWS, groups="known")
