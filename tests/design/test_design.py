"""Formula + table → arrays: content, names, rows, and what bad input gets."""

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from bayeslmm.design.build import build_design
from bayeslmm.errors import (
    AliasedColumnsWarning,
    DataError,
    DroppedRowsWarning,
    NonFiniteError,
    UnidentifiedTermError,
    UnknownColumnError,
    UnseenLevelError,
)
from bayeslmm.families import family_of
from bayeslmm.formulas.formula import parse_formula


def table(n=60, seed=0):
    r = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "y": r.normal(5, 1, n),
            "x": r.normal(size=n),
            "z": r.normal(size=n),
            "w": r.uniform(1, 9, n),
            "g": np.repeat([f"S{i}" for i in range(n // 10)], 10),
            "h": np.tile([10, 2, 30, 4, 5], n // 5),
            "a": np.tile(["A", "B", "C"], n // 3),
            "b": np.repeat(["p", "q"], n // 2),
            "odd name": r.normal(size=n),
        }
    )


@pytest.fixture
def d():
    return table()


def X_of(formula, data, **options):
    design = build_design(formula, data, **options)
    return dict(zip(design.x_names, design.X.T, strict=True))


# -- arrays


def test_intercept_and_slope(d):
    design = build_design("y ~ x + (x | g)", d)
    assert design.x_names == ("Intercept", "x") and design.has_intercept
    assert np.array_equal(design.X, np.column_stack([np.ones(60), d.x]))
    assert np.array_equal(design.y, d.y) and design.response == "y"
    (g,) = design.groups
    assert (g.name, g.variables, g.columns, g.blocks) == ("g", ("g",), ("Intercept", "x"), ((0, 1),))
    assert g.levels == ("S0", "S1", "S2", "S3", "S4", "S5") and g.n_levels == 6 and g.q == 2
    assert np.array_equal(g.codes, np.repeat(np.arange(6), 10)) and g.codes.dtype == np.int64
    assert np.array_equal(g.Z, design.X)
    assert design.weights is None and not design.offset.any() and design.n_dropped == 0


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning")  # b is constant within g
@pytest.mark.parametrize(
    ("bar", "columns", "blocks"),
    [
        ("(1 | g)", ("Intercept",), ((0,),)),
        ("(0 + x | g)", ("x",), ((0,),)),
        ("(x - 1 | g)", ("x",), ((0,),)),
        ("(x || g)", ("Intercept", "x"), ((0,), (1,))),
        ("(1 | g) + (0 + x | g)", ("Intercept", "x"), ((0,), (1,))),
        ("(x | g) + (0 + z | g)", ("Intercept", "x", "z"), ((0, 1), (2,))),
        ("(b | g)", ("Intercept", "b[q]"), ((0, 1),)),
        ("(0 + b | g)", ("b[p]", "b[q]"), ((0, 1),)),
        ("(b || g)", ("Intercept", "b[p]", "b[q]"), ((0,), (1, 2))),
    ],
)
def test_bars_on_one_factor_become_one_term(d, bar, columns, blocks):
    (term,) = build_design("y ~ x + " + bar, d).groups
    assert term.columns == columns and term.blocks == blocks
    expected = {"Intercept": np.ones(60), "x": d.x, "z": d.z, "b[p]": d.b == "p", "b[q]": d.b == "q"}
    assert np.array_equal(term.Z, np.column_stack([expected[name] for name in columns]).astype(float))


def test_nested_and_crossed_factors(d):
    d["h"] = np.where(d.g == "S0", d.h.clip(4), d.h)
    nested = build_design("y ~ 1 + (1 | g/h)", d)
    assert [t.name for t in nested.groups] == ["g", "g:h"]
    assert nested.groups[1].levels[:4] == ("S0:4", "S0:5", "S0:10", "S0:30")
    assert nested.groups[1].n_levels == len(d.groupby(["g", "h"])) == 29
    labels = np.array(nested.groups[1].levels)[nested.groups[1].codes]
    assert (labels == d.g + ":" + d.h.astype(str)).all()
    assert [t.name for t in build_design("y ~ 1 + (1|g) + (1|h) + (0 + x|g)", d).groups] == ["g", "h"]


def test_levels_are_ordered_and_native(d):
    assert build_design("y ~ (1 | h)", d).groups[0].levels == (2, 4, 5, 10, 30)
    d["h"] = d.h.astype(float)
    levels = build_design("y ~ (1 | h)", d).groups[0].levels
    assert levels == (2, 4, 5, 10, 30) and all(type(level) is int for level in levels)
    d["h"] = pd.Categorical(d.h, categories=[30, 10, 99, 5, 4, 2])
    assert build_design("y ~ (1 | h)", d).groups[0].levels == (30, 10, 5, 4, 2)
    d["h"] = pd.date_range("2020-01-01", periods=5).repeat(12)
    assert build_design("y ~ (1 | h)", d).groups[0].levels[0] == "2020-01-01"


FORMULAS = """x | x*z | 0 + x | x - 1 | x:z | a*x | (x+z+b)**2 | 0+a | 0+a+b | a:b | a*b | a + a:b | 0+a*b | 0+a:b
a:x | x + a:x | 0+a:x | a:x:z | a:b:x | x + a:b:x | I(x**2) | {x**2} | poly(x,2) | poly(x,2,raw=True) | bs(x,df=4)
cr(x,df=4) | tp(x,df=4) | center(x) | C(h) | C(a,Sum) | C(a,Treatment('B'))
T(a,ref='B') | S(a) | binary(b) | `odd name` | np.log(w) | poly(x,2):a | a*poly(x,2) | (a+b)*x | C(a,Sum)*x
0+C(a,Sum) | b:x + a | I(x > 0) | a/x | a/b | x:a + a:b"""


@pytest.mark.parametrize("text", [f.strip() for f in FORMULAS.replace("\n", " | ").split("|")])
def test_columns_and_names_are_those_of_formulae(d, text):
    from formulae import design_matrices

    design = build_design("y ~ " + text, d)
    expanded = parse_formula("y ~ " + text).fixed
    theirs = design_matrices("y ~ " + expanded, d).common
    assert design.x_names == tuple(theirs.as_dataframe().columns)
    np.testing.assert_allclose(design.X, theirs.design_matrix, rtol=1e-12, atol=1e-14)
    again = design.at(d.drop(columns="y").iloc[:7])
    np.testing.assert_allclose(again.X, design.X[:7], rtol=1e-12, atol=1e-14)


@examples(60)
@given(st.lists(st.sets(st.sampled_from("abxz"), min_size=1, max_size=3), min_size=1, max_size=4), st.booleans())
def test_coding_is_that_of_formulae_and_has_full_rank(products, intercept):
    from formulae import design_matrices

    data = table()
    text = ("1" if intercept else "0") + "".join(" + " + ":".join(sorted(p)) for p in products)
    design = build_design("y ~ " + text, data)
    theirs = design_matrices("y ~ " + parse_formula("y ~ " + text).fixed, data).common.design_matrix
    together = np.column_stack([design.X, theirs])
    assert np.linalg.matrix_rank(design.X) == design.X.shape[1] == np.linalg.matrix_rank(together)


def test_formulae_is_not_imported_for_plain_models():
    code = (
        "import sys, pandas as pd, numpy as np\n"
        "from bayeslmm.design.build import build_design\n"
        "d = pd.DataFrame({'y': np.arange(40.) % 7, 'x': np.arange(40.), 'g': np.arange(40) % 4})\n"
        "d['a'] = list('pq') * 20\n"
        "build_design('log1p(y) ~ x * a + I(x**2) + factor(g) + (x | g)', d)\n"
        "assert 'formulae' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what formulae gets wrong


def test_category_order_and_unused_levels(d):
    for ordered in (False, True):
        d["a"] = pd.Categorical(table().a, categories=["C", "unused", "A", "B"], ordered=ordered)
        assert list(X_of("y ~ a", d)) == ["Intercept", "a[A]", "a[B]"]


def test_numeric_categories_and_intervals(d):
    d["k"] = pd.Categorical(d.h)
    assert list(X_of("y ~ k", d)) == ["Intercept", "k[4]", "k[5]", "k[10]", "k[30]"]
    d["k"] = pd.cut(d.x, [-9, 0, 9])
    assert list(X_of("y ~ k", d)) == ["Intercept", "k[(0, 9]]"]


def test_arithmetic_has_pythons_precedence_and_names(d):
    columns = X_of("y ~ I(-x^2) + I((x + z) * 2) + I(x + z * 2)", d)
    assert list(columns)[1:] == ["I(-x ** 2)", "I((x + z) * 2)", "I(x + z * 2)"]
    np.testing.assert_array_equal(columns["I(-x ** 2)"], -(d.x**2))
    np.testing.assert_array_equal(columns["I((x + z) * 2)"], (d.x + d.z) * 2)


def test_nested_labels(d):
    assert list(X_of("y ~ a/x", d)) == ["Intercept", "a[B]", "a[C]", "a[A]:x", "a[B]:x", "a[C]:x"]


@pytest.mark.parametrize("name", ["log", "exp", "sqrt", "log1p", "log2", "log10", "expm1", "abs"])
def test_bare_functions(d, name):
    np.testing.assert_allclose(X_of(f"y ~ {name}(w)", d)[f"{name}(w)"], getattr(np, name)(d.w))


def test_users_functions_are_seen(d):
    import math

    def twice(v):
        return 2 * v

    space = {"twice": twice, "k": 3.0, "log": math.log}
    columns = X_of("y ~ twice(x) + I(w / k) + log(w)", d, namespace=space)
    np.testing.assert_array_equal(columns["twice(x)"], 2 * d.x)
    np.testing.assert_array_equal(columns["I(w / k)"], d.w / 3)
    np.testing.assert_allclose(columns["log(w)"], np.log(d.w))


def test_odd_names(d):
    d["a.b"], d["log"] = d.x, d.w
    columns = X_of("y ~ a.b + log(a.b**2) + log(log) + I(`odd name` + 1)", d)
    np.testing.assert_array_equal(columns["a.b"], d.x)
    np.testing.assert_allclose(columns["log(log)"], np.log(d.w))
    np.testing.assert_array_equal(columns["I(odd name + 1)"], d["odd name"] + 1)


def test_offsets_never_enter_X(d):
    design = build_design("y ~ x + offset(log(w)) + offset(z)", d, offset="x")
    assert design.x_names == ("Intercept", "x")
    np.testing.assert_allclose(design.offset, np.log(d.w) + d.z + d.x)
    np.testing.assert_allclose(design.at(d.iloc[:3]).offset, design.offset[:3])


def test_stateful_transforms_remember(d):
    design = build_design("y ~ scale(x) + poly(z, 2) + bs(w, df=4) + center(`odd name`):a + (scale(x) | g)", d)
    new = design.at(d.iloc[:3])
    np.testing.assert_allclose(new.X, design.X[:3])
    np.testing.assert_allclose(new.groups[0].Z, design.groups[0].Z[:3])


def test_response_transforms(d):
    design = build_design("np.log(w) ~ x", d)
    np.testing.assert_allclose(design.y, np.log(d.w))
    assert design.response == "np.log(w)"
    np.testing.assert_array_equal(build_design("b['q'] ~ x", d).y, (d.b == "q").astype(float))
    d["k"], d["n"] = 3, 7
    binomial = build_design("p(k, n) ~ x", d, family=family_of("binomial"))
    assert (binomial.y == 3).all() and (binomial.trials == 7).all()


@pytest.mark.parametrize(
    "dtype", ["Int64", "Float64", "boolean", "int8", "uint8", "float32", "int64[pyarrow]", "double[pyarrow]", "object"]
)
def test_numeric_dtypes(d, dtype):
    d["k"] = (d.h > 4).astype(dtype)
    np.testing.assert_array_equal(X_of("y ~ k", d)["k"], (d.h > 4).astype(float))
    assert X_of("y ~ I(k * 300)", d)["I(k * 300)"].max() == 300


@pytest.mark.parametrize("dtype", ["str", "object", "string", "string[pyarrow]", "category"])
def test_text_dtypes(d, dtype):
    d["a"], d["g"] = d.a.astype(dtype), d.g.astype(dtype)
    design = build_design("y ~ a + (1 | g)", d)
    assert design.x_names == ("Intercept", "a[B]", "a[C]") and design.groups[0].levels[0] == "S0"


# -- rows


def test_missing_rows_are_dropped_once_and_counted(d):
    d.loc[[0, 1], "x"] = np.nan
    d.loc[[1, 2], "g"] = None
    d.loc[3, "unused"] = np.nan
    offset = np.zeros(60)
    offset[5] = np.nan
    with pytest.warns(DroppedRowsWarning, match=r"4 of 60 rows left out.*x 2, g 2, offset 1") as caught:
        design = build_design("y ~ x + (x | g)", d, offset=offset, weights=np.arange(1.0, 61))
    assert len(caught) == 1 and caught[0].filename == __file__
    assert design.n_dropped == 4 and list(design.index[:3]) == [3, 4, 6] and len(design.frame) == 56
    assert design.weights[0] == 4.0


def test_the_users_table_is_left_alone(d):
    d.loc[0, "x"] = np.nan
    d["a"] = d.a.astype("category")
    before = d.copy(deep=True)
    with pytest.warns(DroppedRowsWarning):
        design = build_design("y ~ x + a + (x | g)", d)
    pd.testing.assert_frame_equal(d, before)
    y = design.y.copy()
    d["y"] = 0.0
    d.loc[:, "x"] = 1.0
    assert np.array_equal(design.y, y) and design.X[:, 1].std() > 0


def test_arrays_are_read_only_and_contiguous(d):
    design = build_design("y ~ x*a + (x | g)", d, weights="w")
    term = design.groups[0]
    for array in (design.y, design.X, design.weights, design.offset, term.Z, term.codes):
        assert not array.flags.writeable and array.flags.c_contiguous
    new = design.at(d)
    for array in (new.X, new.offset, new.groups[0].codes, new.groups[0].Z):
        assert not array.flags.writeable
    with pytest.raises(AttributeError):
        design.y = None


def test_a_design_can_be_pickled_and_copied(d):
    design = build_design("log(y) ~ scale(x) + np.log(w) + I(x**2) + C(a, Sum) + (x | g)", d)
    for other in (pickle.loads(pickle.dumps(design)), copy.deepcopy(design)):
        np.testing.assert_array_equal(other.at(d).X, design.X)


def test_row_labels_may_repeat(d):
    d.index = np.repeat(np.arange(30), 2)
    d.iloc[0, 1] = np.nan
    with pytest.warns(DroppedRowsWarning):
        design = build_design("y ~ I(x + z) * a + (1 | g)", d)
    np.testing.assert_array_equal(design.X[:, 1], (d.x + d.z).to_numpy()[1:])


# -- rank


def test_dependent_columns_are_dropped_and_named(d):
    d["x2"], d["k"] = 3 * d.x - 1, 4.0
    with pytest.warns(AliasedColumnsWarning, match="x2, k") as caught:
        design = build_design("y ~ x + x2 + k + z", d)
    assert len(caught) == 1 and design.aliased == ("x2", "k") and design.x_names == ("Intercept", "x", "z")
    assert design.at(d.iloc[:4]).X.shape == (4, 3)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("shift", [0.0, 1e6, 1e8])
@pytest.mark.parametrize("start", ["", "0 + a + "])
def test_far_or_large_columns_are_not_aliased(d, shift, scale, start):
    d["far"] = (shift + d.x) * scale
    assert build_design(f"y ~ {start}far + z", d).aliased == ()
    d["twin"] = d.far * 2
    with pytest.warns(AliasedColumnsWarning):
        assert build_design(f"y ~ {start}far + z + twin", d).aliased == ("twin",)


# -- new data


def test_new_levels_and_missing_groups(d):
    design = build_design("y ~ x + (x | g) + (1 | g:h)", d)
    new = design.at(pd.DataFrame({"x": [0.5, np.nan, 1, 2], "g": ["S1", "S2", "new", None], "h": [2, 2, 2, 2]}))
    g, gh = new.groups
    assert g.codes.tolist() == [1, 2, -1, -1] and g.labels.tolist() == ["S1", "S2", "new", None]
    assert gh.codes.tolist() == [5, 10, -1, -1] and gh.labels.tolist() == ["S1:2", "S2:2", "new:2", None]
    assert design.groups[1].levels[5] == "S1:2"
    np.testing.assert_array_equal(new.X[:, 1], [0.5, np.nan, 1, 2])
    np.testing.assert_array_equal(g.Z[0], [1, 0.5])


def test_numeric_levels_meet_text_by_their_spelling(d):
    design = build_design("y ~ (1 | h)", d)
    for values in (["2", "77"], [2.0, 77.0], pd.Categorical(["2", "77"])):
        assert design.at(pd.DataFrame({"h": values})).groups[0].codes.tolist() == [0, -1]
    assert design.at(pd.DataFrame({"h": [None, None]})).groups[0].codes.tolist() == [-1, -1]
    assert design.at(pd.DataFrame({"h": [2, None]})).groups[0].labels.tolist() == [2, None]


def test_groups_can_be_left_out(d):
    design = build_design("y ~ x + (x | g) + (1 | h)", d)
    assert [g.name for g in design.at(d[["x", "h"]], groups=["h"]).groups] == ["h"]
    assert design.at(d[["x"]], groups=()).groups == ()
    with pytest.raises(DataError, match="'k' is no grouping factor"):
        design.at(d, groups=["k"])


def test_unseen_level_of_a_fixed_factor(d):
    design = build_design("y ~ a + (1 | g)", d)
    with pytest.raises(UnseenLevelError, match="'a' has the level 'Z'.*A, B, C"):
        design.at(d.iloc[:2].assign(a=["A", "Z"]))
    swapped = design.at(d.iloc[:2].assign(a=pd.Categorical(["C", "A"], categories=["C", "A"])))
    np.testing.assert_array_equal(swapped.X[:, 1:], [[0, 1], [0, 0]])


def test_new_data_lacking_a_column(d):
    design = build_design("y ~ x + (1 | g)", d)
    with pytest.raises(UnknownColumnError, match="'x'.*Did you mean 'X'"):
        design.at(d.rename(columns={"x": "X"}))
    with pytest.raises(UnknownColumnError, match="'g' \\(grouping factor g\\)"):
        design.at(d[["x"]])
    with pytest.raises(DataError, match="was numeric in the fit"):
        design.at(d.assign(x="one"))


def test_an_array_offset_says_nothing_about_new_rows(d):
    design = build_design("y ~ x", d, offset=d.z)
    with pytest.raises(DataError, match="offset was given as an array"):
        design.at(d)
    assert design.at(d, offset=0).offset.tolist() == [0.0] * 60
    np.testing.assert_array_equal(design.at(d, offset="w").offset, d.w)


def test_rows_with_nothing_complete(d):
    new = build_design("y ~ scale(x) + a + (1 | g)", d).at(d.iloc[:2].assign(x=None))
    assert np.isnan(new.X).all() and new.groups[0].codes.tolist() == [0, 0]


# -- bad input


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("y ~ X", UnknownColumnError, r"'X' \(fixed part\).*Did you mean 'x'"),
        ("Y ~ x", UnknownColumnError, r"'Y' \(response\).*Did you mean 'y'"),
        ("y ~ x + (1 | school)", UnknownColumnError, r"grouping factor of \(1 \| school\)"),
        ("y ~ x + (v | g)", UnknownColumnError, r"left side of \(v \| g\)"),
        ("y ~ I(v + 1)", UnknownColumnError, "'v'"),
        ("y ~ nofun(x)", UnknownColumnError, "'nofun'"),
        ("y ~ np.lag(x)", UnknownColumnError, "np.lag"),
        ("y ~ offset(v)", UnknownColumnError, "offset"),
        ("y ~ ns(x, 3)", UnknownColumnError, r"cr\(x"),
        ("y ~ cbind(x, y)", UnknownColumnError, r"p\(successes, trials\)"),
        ("cbind(x, y) ~ z", DataError, "successes and trials, which only family='binomial' and 'beta_binomial' take"),
        ("a ~ x", DataError, "'a' holds text"),
        ("a['Z'] ~ x", DataError, "no row of 'a' holds 'Z'"),
        ("poly(x, 2) ~ z", DataError, "2 columns; one is needed"),
        ("y ~ log(a)", DataError, r"log\(a\) cannot be computed.*'a' holds text"),
        ("y ~ scale(a)", DataError, "'a' holds text"),
        ("y ~ log(x)", NonFiniteError, r"log\(x\) holds .* non-finite values \(rows"),
        ("y ~ I(1)", DataError, "one value for each of the 60 rows"),
        ("y ~ T(a, ref='Z')", DataError, "cannot be coded.*'A', 'B', 'C'"),
        ("y ~ C(a, levels=['A', 'B'])", DataError, "leaves out 'C'"),
        ("y ~ const", DataError, "one level"),
        ("y ~ ids", DataError, "60 columns for 60 rows"),
        ("y ~ when", DataError, "dates"),
        ("y ~ mixed", DataError, "mixes.*int, str"),
        ("y ~ empty", DataError, "'empty' is all missing"),
        ("y ~ (1 | empty)", DataError, "'empty' is all missing"),
        ("y ~ inf", NonFiniteError, r"'inf' holds 2 infinite values \(rows 3, 7\)"),
        ("inf ~ x", NonFiniteError, "'inf'"),
        ("y ~ (1 | const)", UnidentifiedTermError, "'const' has one level"),
        ("y ~ (1 | ids)", UnidentifiedTermError, "60 levels for 60 rows, one row per level"),
        ("y ~ (two | pairs)", UnidentifiedTermError, "60 random effects for 60 rows, so they cannot be told"),
        ("y ~ (1 | g) + (x | g)", UnidentifiedTermError, "Intercept varies by g twice"),
        ("y ~ (1 | g:h) + (1 | h:g)", UnidentifiedTermError, "twice"),
        ("y ~ (1 | g) + (1 | g)", UnidentifiedTermError, "twice"),
    ],
)
def test_bad_formulas_and_columns(d, formula, error, message):
    d["const"], d["ids"], d["pairs"] = "one", [f"i{k}" for k in range(60)], np.repeat(np.arange(30), 2)
    d["two"] = [0, 1] * 30
    d["when"], d["mixed"], d["empty"] = pd.Timestamp("2020-01-01"), [1, "a"] * 30, np.nan
    d["inf"] = d.x
    d.loc[[3, 7], "inf"] = np.inf, -np.inf
    with pytest.raises(error, match=message):
        build_design(formula, d)


def test_sentence_of_the_identification_error():
    data = pd.DataFrame({"y": np.arange(36.0), "days": np.tile([0, 1], 18), "subject": np.repeat(range(18), 2)})
    with pytest.raises(UnidentifiedTermError) as caught:
        build_design("y ~ days + (days | subject)", data)
    assert str(caught.value) == (
        "(days | subject): 36 random effects for 36 rows, so they cannot be told from the residual: only "
        "sd(subject)² + sigma² and cov(Intercept, days | subject) − sigma² and sd(days | subject)² + 2·sigma² are "
        "known. Drop a column or use more rows per subject, or se= if the standard error of each row is known."
    )
    assert build_design("y ~ days + (days | subject)", data, family=family_of("poisson")).groups[0].q == 2
    assert build_design("y ~ days + (days || subject)", data).groups[0].q == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2], r"are a list.*pandas\.DataFrame\("),
        ({"y": [1], "x": [1, 2]}, "columns of different lengths: .y. has 1, .x. has 2"),
        (np.ones((3, 2)), r"numpy array of shape \(3, 2\)"),
        ("file.csv", "read_csv"),
        (pd.Series([1.0]), "to_frame"),
        (None, "NoneType"),
        (pd.DataFrame({"y": [], "x": []}), "no rows"),
    ],
)
def test_data_that_are_no_table(data, message):
    with pytest.raises(DataError, match=message):
        build_design("y ~ x", data)


def test_objects_that_turn_into_pandas(d):
    class Other:
        def to_pandas(self):
            return d

    assert build_design("y ~ x", Other()).n == 60


def test_two_columns_of_one_name(d):
    d = pd.concat([d, d[["x"]]], axis=1)
    with pytest.raises(DataError, match="2 columns called 'x'"):
        build_design("y ~ x", d)
    build_design("y ~ z", d)


def test_fewer_rows_than_coefficients(d):
    with pytest.raises(DataError, match="2 complete rows for 2 coefficients"):
        build_design("y ~ x", d.iloc[:2])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_bad_weights(d, bad):
    d.loc[5, "w"] = bad
    for weights in ("w", d.w, d.w.to_numpy()):
        with pytest.raises(DataError, match=r"1 are not \(row 5\)"):
            build_design("y ~ x", d, weights=weights)


def test_weights_and_offsets_from_outside(d):
    with pytest.raises(DataError, match="offset= has 3 values for 60 rows"):
        build_design("y ~ x", d, offset=[1, 2, 3])
    with pytest.raises(DataError, match="weights= has 3 values for 60 rows"):
        build_design("y ~ x", d, weights=[1, 2, 3])
    with pytest.raises(UnknownColumnError, match="weights="):
        build_design("y ~ x", d, weights="v")
    with pytest.raises(UnknownColumnError, match="offset="):
        build_design("y ~ x", d, offset="v")
    with pytest.raises(DataError, match="index other than"):
        build_design("y ~ x", d, offset=d.z.iloc[::-1])
    with pytest.raises(DataError, match="does not hold numbers"):
        build_design("y ~ x", d, weights="a")


def test_nothing_is_printed(d, capsys):
    with pytest.raises(DataError):
        build_design("y ~ T(a, ref='Z')", d)
    build_design("y ~ scale(x) + C(a, Sum)", d)
    assert capsys.readouterr().out == ""


def test_no_warning_without_reason(d):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_design("y ~ log(w) * a + (x | g)", d)


@pytest.mark.parametrize("formula", ["y ~ 0 + Intercept + x", "y ~ x + (0 + Intercept | g)", "y ~ Intercept + (1 | g)"])
def test_a_column_of_the_data_is_not_the_intercept(formula):
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(12, 3)), columns=["y", "x", "Intercept"]).assign(g=list("abc") * 4)
    with pytest.raises(DataError, match=r"called 'Intercept'.*Rename the data's column"):
        build_design(formula, data)
