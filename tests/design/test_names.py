"""The naming contract: today's names where nothing clashes, distinct ones that a file can hold for any words."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bayeslmm.design.build import build_design
from bayeslmm.design.names import ARVIZ, COEF, EACH, ROW, THRESHOLD, contract

PACKAGE = Path(__file__).resolve().parents[2] / "bayeslmm"
WORDS = st.one_of(
    st.sampled_from(
        [
            "obs",
            "sigma",
            "beta",
            "chain",
            "draw",
            "sample",
            "g",
            "g_x",
            "g_term",
            "sd_g",
            "b_g",
            "x",
            "",
            "a/b",
            "a, b",
            "a_b",
            " ",
            ".",
            "x_y",
            "y",
            "g_term_bis",
            "coef",
            "threshold",
            "nu",
            "cor_g",
            "\ud800",
        ]
    ),
    st.text(max_size=6),
)


def test_names_of_models_in_which_nothing_clashes():
    names = contract(("sigma", "nu"), ("Intercept", "x"), (("g", ("Intercept", "x")), ("a:b", ("Intercept",))))
    assert dict(names.dims) == {
        "sigma": (),
        "nu": (),
        "beta": ("coef",),
        "sd_g": ("g_term",),
        "cor_g": ("g_term", "g_term_bis"),
        "b_g": ("g", "g_term"),
        "sd_g_at_means": ("g_term",),
        "cor_g_at_means": ("g_term", "g_term_bis"),
        "sd_a:b": ("a:b_term",),
        "cor_a:b": ("a:b_term", "a:b_term_bis"),
        "sd_a:b_at_means": ("a:b_term",),
        "cor_a:b_at_means": ("a:b_term", "a:b_term_bis"),
        "b_a:b": ("a:b", "a:b_term"),
    }
    assert (names.coef["g"], names.coef_term["g"], names.pair["g"], names.loo["g"]) == (
        "coef_g",
        "g_coef",
        "g_pair",
        "loo_g",
    )


@pytest.mark.parametrize("family", [("sigma",), ("nu", "sigma"), ("cutpoint",), ()])
@given(
    x_names=st.lists(WORDS, unique=True, max_size=3),
    groups=st.dictionaries(WORDS, st.lists(WORDS, unique=True, min_size=1, max_size=3), max_size=4),
)
@example(x_names=["x"], groups={"g": ["x", "y_z"], "g_x": ["1"], "g_x_y": ["z"], "obs": ["1"], "sigma": ["1"]})
@example(x_names=[], groups={"g": ["a_b", "c", "a", "b_c"], "a/b": ["1"], "a_b": ["1"]})
def test_every_name_is_given_once_and_fits_a_file(family, x_names, groups):
    names = contract(family, tuple(x_names), tuple((g, tuple(columns)) for g, columns in groups.items()))
    fixed = [*EACH, *ARVIZ, ROW, COEF, THRESHOLD, "beta", "y", "response", *family]
    by_key = ("sd", "cor", "b", "coef", "level", "term", "other", "coef_term", "pair", "loo")
    every = [name for field in by_key for name in getattr(names, field).values()]
    if not {"y", "response"} & set(names.level.values()):  # these stand in other datasets than levels do
        assert len({*every, *fixed}) == len(every) + len(fixed)
    assert not any("," in dim for dims in names.dims.values() for dim in dims)  # nutpie joins them by commas
    assert len(set(every)) == len(every) and not set(every) & {*EACH, *ARVIZ, ROW, COEF, THRESHOLD, "beta", *family}
    for name in every:
        assert "/" not in name and "\0" not in name and name.replace(".", "").strip() and name.encode()


def test_labels_have_the_lengths_of_the_design():
    d = pd.DataFrame({"y": np.arange(12.0) ** 1.5, "obs": list("abcdef") * 2, "x": [0.0, 1, 2, 4, 1, 0] * 2})
    coords = build_design("y ~ (1 | obs)", d).coords
    assert {dim: len(values) for dim, values in coords.items()} == {
        "coef": 1,
        "obs": 12,
        "obs_level": 6,
        "obs_term": 1,
        "obs_term_bis": 1,
    }


def _texts(node):
    """The constant beginnings of f-strings, and texts given to startswith and the like."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.JoinedStr) and inner.values:
            first, last = inner.values[0], inner.values[-1]
            yield (
                str(first.value) if isinstance(first, ast.Constant) else "",
                str(last.value) if isinstance(last, ast.Constant) else "",
            )
        if isinstance(inner, ast.Call) and getattr(inner.func, "attr", "") in {"startswith", "removeprefix"}:
            for constant in ast.walk(inner):
                if isinstance(constant, ast.Constant):
                    yield str(constant.value), ""


def makes_names(source: str) -> bool:
    """Whether a module writes or takes apart a name of the contract."""
    starts = ("b_", "sd_", "cor_", "coef_", "slope_", "z_", "effect_", "partial_", "loo_")
    return any(
        start in starts or end in {"_term", "_term_bis", "_coef", "_pair"} for start, end in _texts(ast.parse(source))
    )


@pytest.mark.parametrize("source", ['f"b_{g.name}"', 'f"{g}_term"', 'name.startswith(("sd_", "b_"))'])
def test_a_name_that_is_made_elsewhere_is_seen(source):
    assert makes_names(source)


def test_no_other_module_makes_names():
    made = [path.name for path in PACKAGE.rglob("*.py") if makes_names(path.read_text(encoding="utf-8"))]
    assert made == []  # names.py has templates
