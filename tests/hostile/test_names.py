"""Names of columns that mean something else elsewhere, or cannot be written without backticks."""

import keyword

import numpy as np
import pandas as pd
import pytest

from bayeslmm import errors

from .harness import ROWS, check, clean, fitted, refused

DATA, UNKNOWN, FORMULA = errors.DataError, errors.UnknownColumnError, errors.FormulaError
PLAIN = "y ~ x + (1 | g)"


def renamed(**names: object):
    """The clean table with other names for some columns."""
    return lambda data: data.rename(columns=names)


def written(name: str, *, quoted: bool = True) -> list:
    """The name as predictor, as slope and inside a call; and as response and grouping factor."""
    text, other = (f"`{name}`", f"`{name} `") if quoted else (name, f"{name}_2")
    return [
        fitted(
            f"{name!r} as predictor",
            f"y ~ {text} + I({text} ** 2) + ({text} | g)",
            renamed(x=name),
            like="y ~ x + I(x ** 2) + (x | g)",
            terms=("Intercept", name, f"I({name} ** 2)"),
        ),
        fitted(
            f"{name!r} as response and group",
            f"{text} ~ x + (1 | {other})",
            renamed(y=name, g=other.strip("`")),
            like=PLAIN,
        ),
    ]


ODD = [
    " ",
    "a b",
    " a ",
    "a:b",
    "a|b",
    "a||b",
    "a+b",
    "a*b",
    "a/b",
    "a^2",
    "a-b",
    "~",
    "y ~ x",
    "(a)",
    "a(b)",
    "[a]",
    "{a}",
    "a[0]",
    "1",
    "1st",
    "3.5",
    "-1",
    "0",
    "a,b",
    "a.b.",
    ".a",
    "..",
    "a=b",
    "a'b",
    'a"b',
    "'",
    "%",
    "100%",
    "%in%",
    "#",
    "$x",
    "a\\b",
    "\\n",
    "a\tb",
    "a\nb",
    "é",
    "ÅÄÖ",
    "größe",
    "变量",
    "עברית",
    "\u0661",
    "\U0001f40d",
    "x\u0301",
    "ﬁ",
    "x²",
    "<b>x</b>",
    "&amp;",
    "$\\beta$",
    "_",
    "__",
    "_x",
    "x_",
    "column_0",
    "object_0",
    "quoted_name_0_",
    "Intercept ",
]
KEYWORDS = [k for k in ("class", "lambda", "if", "None", "True", "in", "for", "import", "not", "async")]
FUNCTIONS = ["log", "exp", "C", "I", "np", "pd", "abs", "scale", "poly", "p", "offset", "factor", "T", "S", "B", "max"]
VERBS = [
    "term",
    "group",
    "level",
    "estimate",
    "index",
    "values",
    "size",
    "shape",
    "mean",
    "name",
    "std_error",
    "dtype",
    "columns",
    "iloc",
    "effect",
    "obs",
    "draw",
    "chain",
    "residual",
    "sigma",
    "weights",
    "Residual",
    "y_",
]
CASES = [
    *(case for name in ODD for case in written(name)),
    *(case for name in KEYWORDS for case in written(name)),
    *(case for name in VERBS for case in written(name, quoted=False)),
    *(written(name)[0] for name in FUNCTIONS),
    fitted(
        "the column wins over the function of its name",
        "y ~ log + log(z**2 + 1) + (1 | g)",
        renamed(x="log"),
        like="y ~ x + log(z**2 + 1) + (1 | g)",
    ),
    fitted(
        "name with a full stop",
        "y ~ a.b + (a.b | g)",
        renamed(x="a.b"),
        like="y ~ x + (x | g)",
        terms=("Intercept", "a.b"),
    ),
    fitted(
        "name with a full stop and a column of its beginning",
        "y ~ x.z + (1 | g)",
        lambda d: d.assign(**{"x.z": d["z"]}),
        like="y ~ z + (1 | g)",
    ),
    fitted(
        "letters that Python takes for others", "y ~ I(ﬁ + 0) + (1 | g)", renamed(x="ﬁ"), like="y ~ I(x + 0) + (1 | g)"
    ),
    fitted("two names that differ in case", "y ~ x + X + (1 | g)", renamed(z="X"), like="y ~ x + z + (1 | g)"),
    fitted("a very long name", f"y ~ {'q' * 3000} + (1 | g)", renamed(x="q" * 3000), like=PLAIN),
    fitted("name of numpy's str", "y ~ x + (1 | g)", renamed(x=np.str_("x"))),
    fitted("names twice in columns that are not used", PLAIN, renamed(z="f")),
    fitted("names that are no text in columns that are not used", PLAIN, renamed(z=0, f=None, h=("a", 1), b=2.5)),
    fitted("index with the name of a column", PLAIN, lambda d: d.rename_axis("x")),
    fitted("index with the name of the group", PLAIN, lambda d: d.set_index(d["g"])),
    fitted("columns with a name of their own", PLAIN, lambda d: d.rename_axis(columns="y")),
    fitted("columns called like the verbs' own", "y ~ _fitted + (1 | g)", renamed(x="_fitted"), like=PLAIN),
    refused("Intercept", "y ~ Intercept + (1 | g)", renamed(x="Intercept"), DATA, "called 'Intercept'", "Rename"),
    refused(
        "a name like a coded level", "y ~ f + `f[v]` + (1 | g)", renamed(x="f[v]"), DATA, "called 'f[v]'", "Rename"
    ),
    refused("a name with a backtick", "y ~ `a`b` + (1 | g)", renamed(x="a`b"), FORMULA, "backtick"),
    refused("x twice", PLAIN, renamed(z="x"), DATA, "2 columns called 'x'", "Rename"),
    refused("y twice", PLAIN, renamed(z="y"), DATA, "2 columns called 'y'"),
    refused("g twice", PLAIN, renamed(z="g"), DATA, "2 columns called 'g'"),
    refused(
        "a number for a name", "y ~ `0` + (1 | g)", renamed(x=0), UNKNOWN, "column 0", "int", "columns.astype(str)"
    ),
    refused("a number for the group's name", "y ~ x + (1 | `7`)", renamed(g=7), UNKNOWN, "column 7", "int"),
    refused(
        "a date for a name",
        "y ~ `2020-01-01 00:00:00` + (1 | g)",
        renamed(x=pd.Timestamp("2020")),
        UNKNOWN,
        "Timestamp",
        "columns.astype(str)",
    ),
    refused(
        "a name in several levels",
        PLAIN,
        lambda d: d.set_axis(pd.MultiIndex.from_product([["a"], d.columns]), axis=1),
        DATA,
        "2 levels",
        "MultiIndex",
        "'_'.join",
    ),
    refused("without backticks", "y ~ my x + (1 | g)", renamed(x="my x"), FORMULA, "missing before 'x'"),
    refused("another case", "y ~ X + (1 | g)", None, UNKNOWN, "'X'", "Did you mean 'x'?"),
    refused("nearly right", "y ~ ses + (1 | g)", renamed(x="sess"), UNKNOWN, "Did you mean 'sess'?"),
    refused(
        "many columns and none is it",
        "y ~ quux + (1 | g)",
        lambda d: pd.concat([d, pd.DataFrame(1, d.index, [f"v{k}" for k in range(500)])], axis=1),
        UNKNOWN,
        "'quux'",
        "and 496 more",
    ),
    refused("letters that look alike", "y ~ х + (1 | g)", None, UNKNOWN, "'х'"),
    refused("white space around the column's name", PLAIN, renamed(x="x "), UNKNOWN, "'x'"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_name(case):
    check(case)


def test_python_knows_these_keywords():
    assert all(keyword.iskeyword(name) for name in KEYWORDS) and len(clean()) == ROWS
