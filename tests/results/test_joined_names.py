"""Levels and factors whose joined names would be the same are told apart: tables, predictions, draws, files."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.design.grouping import joined

FEW = {"draws": 40, "tune": 100, "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}
FEW_DRAWS = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")


def table(n=160):
    """Pairs x, y:z and x:y, z differ much; so do the levels of the column `f:g`, and those of f:g hardly."""
    rng = fixed_rng(0)
    a, b = rng.choice(["x", "x:y", "k"], n), rng.choice(["y:z", "z", "m"], n)
    f, g, other = rng.integers(0, 6, n), rng.integers(0, 5, n), rng.integers(0, 12, n)
    high = 3.0 * (a == "x") * (b == "y:z") - 3.0 * (a == "x:y") * (b == "z")
    y = high + rng.normal(0.0, 2.0, 12)[other] + rng.normal(0.0, 0.5, (6, 5))[f, g] + rng.normal(size=n)
    return pd.DataFrame(
        {"y": y, "x": rng.normal(size=n), "a": a, "b": b, "f": f, "g": g, "f:g": [f"u{k}" for k in other]}
    )


PARTS = st.lists(st.tuples(*[st.text("ab:`() 12", max_size=4)] * 2), min_size=1, max_size=12, unique=True)


@given(PARTS, st.lists(st.text("ab:`", max_size=5), max_size=3))
def test_joined_names_differ_and_stay_where_they_can(parts, taken):
    texts = joined(parts, taken)
    assert len(set(texts)) == len(texts) and not set(texts) & set(taken)
    plain = [":".join(part) for part in parts]
    for text, kept in zip(plain, texts, strict=True):
        if plain.count(text) == 1 and text not in taken:
            assert kept == text


def test_levels_that_would_be_called_alike_are_told_apart(tmp_path):
    data = table()
    fit = blm.lmer("y ~ x + (x | a:b)", data)
    wide = fit.ranef(wide=True)
    assert len(wide) == data.groupby(["a", "b"]).ngroups
    labels = {level for _, level in wide.index}
    assert {"x:`y:z`", "`x:y`:z", "x:m", "x:y:y:z"} <= labels and "x:y:z" not in labels
    # the same numbers as with labels that cannot coincide
    renamed = data.replace({"a": {"x:y": "x_y"}, "b": {"y:z": "y_z"}})
    plain = blm.lmer("y ~ x + (x | a:b)", renamed).ranef(wide=True)
    for quoted, name in (("x:`y:z`", "x:y_z"), ("`x:y`:z", "x_y:z")):
        np.testing.assert_allclose(wide.loc[("a:b", quoted)], plain.loc[("a:b", name)], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(fit.predict(data.tail(9)), fit.fitted()[-9:])
    blm.save(fit, tmp_path / "fit.nc")
    pd.testing.assert_frame_equal(blm.load(tmp_path / "fit.nc").ranef(), fit.ranef())


def test_unseen_combinations_are_unlike_each_other_and_what_was_seen():
    data = table()
    design = build_design("y ~ (1 | a:b)", data[(data["a"] != "x") | (data["b"] != "y:z")])
    new = pd.DataFrame({"a": ["x", "x:y", "q", "q:r", "q", None], "b": ["y:z", "z", "r:s", "s", "r:s", "z"]})
    (group,) = design.at(new).groups
    assert list(group.labels) == ["x:`y:z`", "x:y:z", "q:`r:s`", "`q:r`:s", "q:`r:s`", None]
    assert list(group.codes >= 0) == [False, True, False, False, False, False]


def names_of_a_column_and_a_combination(fit):
    return ["f:g", "`f:g`"] == list(fit.var_corr()) == list(fit.ranef()["group"].unique())


def test_a_column_called_as_a_combination_has_numbers_of_its_own():
    data = table()
    fit = blm.lmer("y ~ x + (1 | f:g) + (1 | `f:g`)", data)
    same = blm.lmer("y ~ x + (1 | f:g) + (1 | other)", data.rename(columns={"f:g": "other"}))
    assert names_of_a_column_and_a_combination(fit)
    numbers = fit.variance_components()["estimate"]
    np.testing.assert_allclose(numbers, same.variance_components()["estimate"], rtol=1e-5)
    assert len(fit.icc()) == len(same.icc())
    rows = data.head(7)
    for name, plain in (("f:g", "f:g"), ("`f:g`", "other")):
        np.testing.assert_allclose(
            fit.predict(rows, groups={name: "average"}),
            same.predict(rows.rename(columns={"f:g": "other"}), groups={plain: "average"}),
            rtol=1e-5,
        )


@FEW_DRAWS
@pytest.mark.parametrize("method", ["exact", "nuts"])
def test_both_samplers_tell_the_two_apart(method, tmp_path):
    data = table()
    priors = {("sd", "`f:g`"): blm.Prior("HalfNormal", sigma=2.0)}
    post = blm.Model("y ~ x + (1 | f:g) + (1 | `f:g`)", data, priors=priors).fit(method=method, **FEW)
    assert names_of_a_column_and_a_combination(post)
    sds = post.tidy(effects="ran_pars").set_index("group")["estimate"]
    assert sds["`f:g`"] > 1.2 > sds["f:g"]  # 2 and 0.5 made the data; the posterior sds are 0.5 and 0.2
    blm.save(post, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    assert names_of_a_column_and_a_combination(again)
    pd.testing.assert_frame_equal(again.ranef(), post.ranef())
    drawn = post.predict(data.head(3), groups={"`f:g`": "new", "f:g": "observed"}, random_seed=1)
    assert drawn["mean"].notna().all()


def test_bars_written_anew_name_the_column():
    from bayeslmm.formulas.formula import parse_formula, update_formula

    changed = update_formula(parse_formula("y ~ x + (1 | f/`f:g`)"), ". ~ . - (1 | f)")
    assert [bar.group for bar in changed.bars] == [("f", "f:g")]


def test_three_columns_in_two_bars():
    """a:b with c and a with b:c, as columns: neither is the other."""
    rng = np.random.default_rng(1)
    columns = ["a:b", "c", "a", "b:c"]
    data = pd.DataFrame({name: rng.integers(0, 4, 100).astype(str) for name in columns})
    data["y"] = rng.normal(size=100)
    design = build_design("y ~ (1 | `a:b`:c) + (1 | a:`b:c`)", data)
    assert [g.name for g in design.groups] == ["`a:b`:c", "a:`b:c`"]
    for group, (one, two) in zip(design.groups, itertools.batched(columns, 2), strict=True):
        assert len(data.groupby([one, two])) == group.n_levels
