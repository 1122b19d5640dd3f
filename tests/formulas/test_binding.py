"""Names in leaves: any column can be named, wherever a formula may hold an expression."""

import keyword

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import examples

import bayeslmm as blm
from bayeslmm.design.build import build_design

ROWS = 24
PLACES = (
    "y ~ I({} + 1)",
    "y ~ log({})",
    "y ~ z + np.log({} * {})",
    "y ~ z + (I({} ** 2) | g)",
    "y ~ z + (log({}) || g)",
    "I({} / 2) ~ z",
    "log({}) ~ z + (1 | g)",
    "y ~ offset({})",
    "y ~ z + offset(log({} + {}))",
    "y ~ poly({}, 2)",
    "y ~ scale({}):z",
    "y ~ np.where({} > 1.5, {}, 0)",
    "y ~ I(-{})",
    "y ~ I(z * {} - {} / {})",
    "y ~ I({})",
    "y ~ {{{} + 1}}",
    "y ~ I({} > np.mean({}))",
    "{} / 2 ~ z",
    "y ~ {} + {}:z",
    "{} ~ z",
    "y ~ pmax(z, {})",
)
UNQUOTED = sorted(set(keyword.kwlist) - {"None", "True", "False"})
DOTTED = ["x.y", "x.1", "is.a", "Sepal.Length", "x.class", "a.b.c", "in.x", "as.x2"]
ODD = [
    *keyword.kwlist,
    *keyword.softkwlist,
    "TRUE",
    "it's",
    'the "x"',
    "a b",
    "1x",
    "x+1",
    "x ",
    "#",
    "a\\b",
    "{x}",
    "(",
    "]",
    "quoted_name_0_",
    "_keep",
    "_double",
    "column_0",
    "object_0",
    "pi",
    "I",
    "c",
    "log",
    "ave",
    "x\ny",
    "🐍",
    "x.y.",
    ".x",
    "%in%",
    "|",
    "~",
    "y ~ x",
    "__import__",
    "offset(",
    "ﬁ",
    "2",
    "0",
    "None.x",
    "np.log",
    "x.mean",
]


def table(name, seed=1):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"y": rng.normal(size=ROWS), "z": rng.normal(size=ROWS), "g": np.repeat([*"abcd"], 6)})
    return data.assign(**{"y": data["y"] + 5, name: rng.uniform(1, 2, ROWS)})


def same_as_a_plain_name(place, name, written, trust):
    data = table(name)
    text, plain = (place.format(*[column] * 4) for column in (written, "v"))
    one = build_design(text, data, trust=trust)
    other = build_design(plain, data.rename(columns={name: "v"}), trust=trust)
    for part in ("X", "y", "offset"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    new = one.at(data.iloc[[5, 3]].drop(columns="y"))
    np.testing.assert_array_equal(new.X, one.X[[5, 3]])
    for group, same in zip(one.groups, other.groups, strict=True):
        np.testing.assert_array_equal(group.Z, same.Z)


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_columns_named_by_words_of_python(place, trust):
    for name in UNQUOTED[trust::2]:
        if not (name == "not" and ("{} +" in place or "{} -" in place)):  # `not - x` has a meaning of its own
            same_as_a_plain_name(place, name, name, trust)


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("name", DOTTED)
def test_columns_with_dots(name, trust):
    for place in PLACES[trust::2]:
        same_as_a_plain_name(place, name, name, trust)


@pytest.mark.parametrize("name", ODD)
def test_any_name_in_backticks(name):
    if name in ("np", "I", "log"):
        return  # then np.log is a method of the column np, and so on
    for place in PLACES[len(name) % 3 :: 3]:
        for trust in (True, False):
            same_as_a_plain_name(place, name, f"`{name}`", trust)


@examples(60)
@given(st.text(min_size=1, max_size=12), st.sampled_from(PLACES), st.booleans())
def test_any_text_in_backticks(name, place, trust):
    assume("`" not in name and name not in ("y", "z", "g", "v"))
    assume(name.encode("utf-8", "ignore").decode() == name)
    same_as_a_plain_name(place, name, f"`{name}`", trust)


def test_python_keeps_its_words():
    """Where they mean something, no column of that name is meant."""
    data = table("x").assign(**{"is": 1.0, "in": 2.0, "not": 3.0, "for": 4.0, "if": 5.0})
    for text, right in {
        "I([v for v in x])": data["x"],
        "I(x if 2 in [2] else z)": data["x"],
        "I(x * (1 if x is not None else 0))": data["x"],
        "I(not (x > 9))": np.ones(ROWS),
        "I(not x > 9)": np.ones(ROWS),
        "x.map(lambda v: v)": data["x"],
    }.items():
        np.testing.assert_array_equal(build_design(f"y ~ 0 + {text}", data).X[:, 0], right, err_msg=text)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_a_fit_with_such_columns_goes_all_the_way(tmp_path):
    data = table("class").assign(**{"is": table("q", 2)["q"], "my var": table("q", 3)["q"]})
    fit = blm.lmer("y ~ log(class) + I(is * `my var`) + (1 | g)", data)
    assert list(fit.fixef().index) == ["Intercept", "log(class)", "I(is * my var)"]
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(again.predict(data.iloc[[4]]), fit.predict(data.iloc[[4]]))
    assert fit.update(". ~ . - log(class)").design.x_names == ("Intercept", "I(is * my var)")
