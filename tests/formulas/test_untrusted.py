"""Formulas of untrusted text: what is not on the list is refused before anything runs, what is on it means the same."""

import inspect
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design import coding
from bayeslmm.design.build import build_design
from bayeslmm.formulas import binding, expressions, formula, grammar, whitelist
from bayeslmm.formulas.formula import parse_formula
from bayeslmm.formulas.terms import Atom

ROWS = 60


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "y": rng.normal(size=ROWS) + np.repeat([0, 3, 1, 5, 2, 4], 10),
            "x": rng.uniform(0.5, 2.0, ROWS),
            "z": rng.normal(size=ROWS),
            "k": rng.integers(1, 6, ROWS),
            "s": rng.choice(["a", "b", "c"], ROWS),
            "a.b": rng.normal(size=ROWS),
            "odd name": rng.normal(size=ROWS),
            "µg": rng.uniform(1, 2, ROWS),
            "n": rng.integers(5, 9, ROWS),
            "g": np.repeat(np.arange(6), 10),
            "open": rng.normal(size=ROWS),
        }
    )


CANARY = "CANARY"  # stands for a path in the formulas below; nothing may ever be written there

HOSTILE = {
    # out of the table and into Python
    "dunder walk": "I(().__class__.__base__.__subclasses__())",
    "dunder walk from a column": "I(x.__class__.__mro__)",
    "globals of a function": "I(poly.__init__.__globals__)",
    "dict of a module": "I(np.__dict__)",
    "builtins by name": "I(__builtins__)",
    "builtins called": "__builtins__.open('CANARY', 'w')",
    "import": "I(__import__('os').system('touch CANARY'))",
    "eval": "eval(\"open('CANARY', 'w')\")",
    "exec": "exec('1')",
    "compile": "compile('1', 'a', 'eval')",
    "open for reading": "I(open('/etc/passwd').read())",
    "open for writing": "open('CANARY', 'w')",
    "open although it is a column": "open('CANARY', 'w') + open",
    "getattr": "I(getattr(x, 'to_csv')('CANARY'))",
    "globals": "globals()",
    "vars": "I(vars(x))",
    "breakpoint": "breakpoint()",
    "input": "input('?')",
    "type with three arguments": "type('A', (), {})",
    # NumPy and pandas have files and Python inside
    "np.load": "np.load('CANARY', allow_pickle=True)",
    "np.save": "np.save('CANARY', x)",
    "numpy.save": "numpy.save('CANARY', x)",
    "np.savetxt": "np.savetxt('CANARY', x)",
    "np.fromfile": "np.fromfile('/etc/passwd')",
    "np.memmap": "np.memmap('CANARY', mode='w+', shape=(10, 10))",
    "np.vectorize": "np.vectorize(open)('CANARY')",
    "np.apply_along_axis": "np.apply_along_axis(open, 0, x)",
    "submodule of numpy": "np.random.seed(1)",
    "np.lib": "np.lib.npyio.DataSource('CANARY')",
    "np.f2py": "np.f2py.compile('x')",
    "ufunc's method": "np.subtract.outer(x, x)",
    "np.log as a value": "I(np.log)",
    "np as a value": "I(np)",
    "pandas": "pd.read_pickle('CANARY')",
    "pandas' eval": "pandas.eval('1')",
    "method of a column": "x.to_csv('CANARY')",
    "method of a column inside": "I(x.to_pickle('CANARY'))",
    "method of brackets": "I((x).to_json('CANARY'))",
    "method of a backticked column": "I(`odd name`.to_csv('CANARY'))",
    "method of an expression": "I((x + 1).to_csv('CANARY'))",
    "method of text": "I('{0.__class__}'.format(x))",
    "attribute of a column": "I(x.values)",
    "attribute that is a constant of numpy": "I(x.pi)",
    # syntax
    "lambda": "(lambda: 0)()",
    "lambda in I": "I((lambda v: v)(x))",
    "lambda as an argument": "C(x, lambda: 0)",
    "walrus": "I((v := x))",
    "f-string": "I(f'{x}')",
    "bytes": "I(b'1')",
    "comprehension": "I([v for v in x])",
    "generator": "I(sum(v for v in x))",
    "subscript": "I(x[0])",
    "slice": "I(x[::-1])",
    "conditional": "I(x if x else 1)",
    "starred": "log(*x)",
    "double starred": "log(**x)",
    "await": "I(await x)",
    "yield": "I((yield x))",
    "and": "I(x > 0 and z > 0)",
    "is": "I(x is None)",
    "in": "I(x in [1, 2])",
    "matrix product": "I(x @ z)",
    "shift": "I(1 << k)",
    "dict": "I({'a': 1})",
    "set": "I({x})",
    "tuple": "I((x, z))",
    "list": "I([x])",
    "two statements": "I(x); open('CANARY', 'w')",
    "comment": "I(x) # ok",
    "ellipsis": "I(...)",
    # arguments
    "out by place": "np.log(x, z)",
    "out by keyword": "np.log(x, out=z)",
    "third argument": "np.maximum(x, z, y)",
    "where=": "np.log(x, where=z)",
    "dtype=": "np.mean(x, dtype='O')",
    "unknown keyword of C": "C(s, contrast=Treatment, key=open)",
    "function for a contrast": "C(s, open)",
    "call for a contrast": "C(s, open('CANARY', 'w'))",
    "call in a list": "C(s, levels=[open('CANARY', 'w')])",
    "column in a list": "np.isin(x, [z])",
    "starred list": "np.isin(x, [*z])",
    "contrast by arithmetic": "C(s, Treatment + 1)",
    "argument twice": "log(x, x=z)",
    # whole numbers without end, text without end, arrays without end
    "power tower": "I(x * 10**10**10)",
    "power tower of brackets": "I(((10**10)**10)**10 * x)",
    "negative tower": "I(x * -(9**9**9))",
    "tower through I": "I(x * I(10)**I(10)**I(10))",
    "tower through round": "I(x * round(10)**round(10)**round(10))",
    "product of giants": "I(9007199254740992 * 9007199254740992 * x)",
    "product with an answer": "I(2**53 * (1 < 2) * 2**53 + x)",
    "giant literal": "I(x + 99999999999999999999999)",
    "exponent of a literal": "I(x + 2**100000000)",
    "text times number": "I('a' * 10**9)",
    "text times number with a column": "I(x * ('a' * 999999999))",
    "format": "I('%999999999d' % k)",
    "text in where": "I(np.where(x > 1, 'a', None) * 999999999)",
    "text in a function of numbers": "np.mod('%999999999d', k)",
    "nothing in arithmetic": "I(None + x)",
    "long text": f"I(s == '{'a' * 300}')",
    "degree": "poly(x, 100000)",
    "degree as a sum": "poly(x, 50 + 50)",
    "degree from data": "poly(x, k)",
    "df": "bs(x, df=1000000000)",
    "df by place": "cr(x, 10**6)",
    "max_knots": "tp(x, max_knots=100000)",
    "outer product": "I(poly(x, 1) * np.where(x > 1, 1, 0))",
    "basis inside": "scale(poly(x, 2))",
    "size of numpy": "np.zeros(999999999)",
    "np.repeat": "np.repeat(x, 999999999)",
    "np.tile": "np.tile(x, 999999999)",
    "np.arange": "np.arange(999999999)",
    "range": "I(range(999999999))",
    "len": "I(2 ** len(x) * x)",
    "pow": "I(x * pow(9, 9**9))",
    "max of Python": "I(2 ** max(k))",
    "deep sums": "I(" + "+".join(["x"] * 150) + ")",
    "deep calls": "I(" + "abs(" * 60 + "x" + ")" * 61,
    "deep brackets": "I(" + "(" * 500 + "x" + ")" * 501,
    "deep signs": "I(" + "-" * 1500 + "x)",
    "endless leaf": "I(" + "x," * 5000 + "x)",
    "endless formula": "x + " * 100_000 + "x",
    "all interactions of 26 columns": "*".join(f"c{i}" for i in range(26)),
    "twentieth power": "(" + "+".join(f"c{i}" for i in range(40)) + ")^20",
    # names that look like others
    "fullwidth open": "ｏｐｅｎ('CANARY', 'w')",
    "fullwidth eval": "I(ｅｖａｌ('1'))",
    "fullwidth dunder": "I(x.＿＿class＿＿)",
    "mathematical import": "I(__𝒾mport__('os'))",
    "cyrillic np": "пр.load('CANARY')",
    "cyrillic letter in log": "lоg(x)",
    "code in backticks": "`open('CANARY', 'w')`",
    "code in backticks in a call": "I(`__import__('os').system('touch CANARY')` + x)",
    "code in backticks beside its stand-in": "I(`'+open('CANARY','w')+'` + 'quoted_name_0_')",
    "called backticks": "I(`x`(1))",
    "stand-in of a column": "I(column_0 + x)",
    "stand-in of an object": "I(object_0 + x)",
    "function of the fit": "fit(x)",
    "name of the test": "I(ROWS + x)",
    "function of the test": "harmless(x)",
}


def harmless(values):
    """What a trusted formula would find here."""
    return values


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A path that stays free, and an eval that must not be reached."""

    def reached(code, *_):
        pytest.fail(f"evaluated: {code}")

    monkeypatch.setattr(expressions, "eval", reached, raising=False)
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


PLACES = ["response", "left of a bar", "right of a bar", "offset"]


@pytest.mark.parametrize(
    ("place", "name"),
    [*(("fixed", name) for name in HOSTILE), *((place, name) for place in PLACES for name in list(HOSTILE)[::7])],
)
def test_hostile_formulas_are_refused_before_anything_is_evaluated(data, canary, name, place):
    text = HOSTILE[name].replace(CANARY, str(canary))
    formula = {
        "fixed": f"y ~ z + {text} + (1 | g)",
        "response": f"{text} ~ z + (1 | g)",
        "left of a bar": f"y ~ z + ({text} | g)",
        "right of a bar": f"y ~ z + (1 | {text})",
        "offset": f"y ~ z + offset({text}) + (1 | g)",
    }[place]
    before = data.copy()
    with pytest.raises(errors.InputError):
        blm.Model(formula, data, trust=False)
    pd.testing.assert_frame_equal(data, before)


@pytest.mark.parametrize(
    "name", ["np.save", "np.savetxt", "np.memmap", "method of a column", "method of an expression"]
)
def test_the_same_formulas_act_when_trusted(data, tmp_path, name):
    """Otherwise the test above could not fail."""
    text = HOSTILE[name].replace(CANARY, str(tmp_path / "canary"))
    with pytest.raises(errors.InputError):  # what they give is no column, but by then it has happened
        blm.Model(f"y ~ z + {text} + (1 | g)", data)
    assert any(tmp_path.iterdir())


ORDINARY = """
x ; x * z ; x:s ; s ; s / x ; (x + z + k)^2 ; x - 1 ; 0 + s ; `odd name` ; a.b ; µg ; log(µg) + log(`odd name` + 9)
log(x) ; np.log(x) ; numpy.log1p(x)
sqrt(x) + exp(z) ; I(log(x + 1) / log(2)) ; abs(z) ; sin(2 * np.pi * x / 12) ; np.abs(z)
I(x^2) ; I(x**2 + z**2) ; {x * z} ; I(x / 2) ; I(-x ** 2) ; I((x + z) * 2) ; I(k % 2) ; I(k %/% 2) ; I(k // 2 + 10**3)
I(x > 1) ; I((x > 1) & (z < 0)) ; I(~(x > 1) | (s == 'a')) ; I(s == "b") ; I((s != 'a') * x) ; I(TRUE * x)
poly(x, 2) ; poly(x, 3, raw=TRUE) ; poly(x, degree=2):s ; bs(x, df=5) ; bs(x, knots=[1.0, 1.5]) ; cr(x, 4) ; tp(x, df=4)
cc(x, 2.5, df=4) ; scale(x) ; center(x):s ; standardize(k) ; scale(log(x)) ; I(scale(x) ** 2) ; binary(s, 'a')
C(k) ; C(s, Sum) ; C(s, Treatment('b')) ; C(s, Treatment(reference="c")) ; C(s, levels=['c', 'b', 'a'])
T(s, 'b') ; S(s) ; factor(k) ; relevel(s, ref='b') ; C(k, Treatment(3)) ; C(k > 2) ; I(binary(s, 'a') * x)
np.where(x > 1, 1, 0) ; np.where(s == 'a', x, 0) ; C(np.where(x > 1, 'high', 'low'))
np.clip(x, 1, 1.5) ; np.maximum(x, 1) ; round(x, 1) ; np.round(x, 1) ; np.power(x, 3) ; np.isin(s, ['a', 'b'])
np.floor(x * 4) ; I(x - np.mean(x)) ; I((x - mean(x)) / sd(x)) ; ave(x, s) ; I(x - ave(x, s, k)) ; pmax(x, 1, z)
pmin(x, z) ; ifelse(s == 'a', x, 0) ; I(sin(2 * pi * x)) ; C(s, contr.sum) ; C(s, contr.helmert) ; C(k, contr.poly)
factor(s, levels=c('c', 'b', 'a')) ; np.isin(s, c('a', 'b')) ; I(!(x > 1)) ; I(x / quantile(x, 0.9))
I(x - median(x))
floor(x * 4) ; ceiling(x * 4) ; I(x / var(x)) ; scale(x, scale=FALSE) ; I((x > 1) + (z > 0))
C(k, Sum()) ; C(s, Poly())
I(x / np.std(x, ddof=1)) ; I(x - np.quantile(x, 0.25)) ; np.hypot(x, z) ; I(x * 2 ** 3 - 1e3) ; I(x ** -1) ; I(2 ** x)
"""


WHOLE = (
    "log(n) ~ x + (1 | g)",
    "sqrt(n) / 2 ~ x + (log(x) | g)",
    "y ~ x + (poly(x, 2) | g)",
    "y ~ (s || g) + offset(log(x))",
    "y ~ x + (1 | g) + offset(2 * z + a.b)",
    "s['a'] ~ x + (1 | g)",
    "I(x > 1) ~ z + (1 | g/s)",
)


@pytest.mark.parametrize(
    "formula", [*(f"y ~ {term} + (1 | g)" for term in re.split(r" ; |\n", ORDINARY.strip())), *WHOLE]
)
def test_ordinary_formulas_mean_the_same_either_way(data, formula):
    trusted, checked = (build_design(formula, data, trust=trust) for trust in (True, False))
    new = [design.at(data.iloc[5:25]) for design in (trusted, checked)]
    assert checked.x_names == trusted.x_names
    assert [group.columns for group in checked.groups] == [group.columns for group in trusted.groups]
    for name in ("X", "y", "offset"):
        np.testing.assert_array_equal(getattr(checked, name), getattr(trusted, name))
    np.testing.assert_array_equal(new[1].X, new[0].X)
    for pair in (zip(*(design.groups for design in designs), strict=True) for designs in ([trusted, checked], new)):
        for one, other in pair:
            np.testing.assert_array_equal(one.Z, other.Z)


def test_the_level_of_a_response_is_no_code(data, canary):
    """``y[level]`` without quotes is text, and a call there is refused, trusted or not."""
    with pytest.raises(errors.FormulaError, match="one level"):
        parse_formula(f"s[open('{canary}', 'w')] ~ x")
    atom = parse_formula("s[exit] ~ x").response_atom
    expression = binding.bind(atom, data.columns, binding.Scope(trusted=False), "response")
    assert expression.code == "object_0(column_0, 'exit')"


@pytest.mark.parametrize(
    "term", ["I(s * 1000000000)", "I(s + s)", "np.mod(s, k)", "I(np.where(x > 1, s, s) * 9)", "log(s)"]
)
def test_columns_of_text_are_not_reckoned_with(data, canary, term):
    """What a column holds is known only with the data: ``s % k`` formats text, ``s * k`` repeats it."""
    with pytest.raises(errors.DataError, match="column 's' holds text"):
        blm.Model(f"y ~ {term} + (1 | g)", data, trust=False)


def test_the_refusal_names_the_token_the_place_and_the_list(data):
    with pytest.raises(errors.FormulaError) as caught:
        blm.Model("y ~ x + (np.load('a') | g)", data, trust=False)
    first, *rest = str(caught.value).splitlines()
    assert first == (
        "np.load is not allowed in a formula that is not trusted (left side of (np.load('a') | g): np.load('a'))."
    )
    told = " ".join(rest)
    for name in (*whitelist.BARE, *whitelist.NUMPY, "trust=True", "namespace="):
        assert name in told
    with pytest.raises(errors.FormulaError, match=r"write p\(successes, trials\)"):
        blm.Model("y ~ cbind(x, z) + (1 | g)", data, trust=False)
    with pytest.raises(errors.FormulaError, match=r"Did you mean 'np.sqrt'"):
        blm.Model("y ~ np.sqr(x) + (1 | g)", data, trust=False)


def test_the_listed_functions_have_the_listed_parameters():
    """NumPy and formulae may rename them, and a second one of a ufunc would be a place to write to."""
    for name, listed in whitelist.CALLS.items():
        leaf = Atom(f"{name}(x)", is_name=False)
        (function,) = binding.bind(leaf, pd.Index(["x"]), binding.Scope(), "").objects.values()
        parameters = [parameter.rstrip("#[]@=") for parameter in listed.split()]
        if isinstance(function, np.ufunc):
            assert len(parameters) == function.nin, name
        elif len(parameters) > 1:
            try:
                known = list(inspect.signature(function).parameters)
            except ValueError:  # np.where of NumPy 2.2 tells none
                assert name == "np.where"
                continue
            places = [parameter.rstrip("#[]@") for parameter in listed.split() if not parameter.endswith("=")]
            if known[-1] == "more":  # any number of them, and the list has the first few
                known[-1:] = places[len(known) - 1 :]
            if known[-1] == "groups":
                known[-1:] = places[1:]
            assert known[: len(places)] == places and set(parameters) <= set(known), name


def test_the_page_lists_what_is_listed():
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    bare, numpy = re.search(r"the functions `([^`]+)`.*?before it: `([^`]+)`", page, re.S).groups()
    assert sorted(bare.split()) == sorted(whitelist.BARE) and sorted(numpy.split()) == sorted(whitelist.NUMPY)
    limits = (formula.MOST_TERMS, formula.MOST_FACTORS, grammar.MOST_LETTERS, grammar.DEEPEST, coding.MOST_COLUMNS)
    told = (whitelist.SIZES["df"], whitelist.SIZES["degree"], whitelist.DEEPEST, whitelist.LONGEST_TEXT, *limits)
    assert all(f"{number:,}" in page for number in told)


# -- the caller's own names


def half(values, by=2):
    return values / by


def test_names_that_are_given_join_the_list(data):
    middle = 1.25
    formula = "y ~ half(x) + half(z, by=4) + I(x**2 - middle) + (1 | g)"
    with pytest.raises(errors.FormulaError, match=r"^half is not allowed"):
        blm.Model(formula, data, trust=False)
    with pytest.raises(errors.UnknownColumnError, match="'middle'"):
        blm.Model(formula, data, trust=False, namespace={"half": half})
    model = blm.Model(formula, data, trust=False, namespace={"half": half, "middle": middle})
    np.testing.assert_array_equal(model.design.X, blm.Model(formula, data).design.X)
    for hostile in ("half(x.to_csv('a'))", "half(lambda: 0)", "half.__globals__", "half(x, **z)", "half(half)(x)"):
        with pytest.raises(errors.InputError):
            blm.Model(f"y ~ {hostile} + (1 | g)", data, trust=False, namespace={"half": half})


def test_a_changed_formula_is_trusted_as_the_first_was(data):
    checked = blm.Model("y ~ half(x) + (1 | g)", data, trust=False, namespace={"half": half})
    assert checked.update(". ~ . + half(z)").design.p == checked.fit_reml().update(". ~ . + half(z)").design.p == 3
    assert checked.update(". ~ . + half(z)").update(data=data.head(50)).design.n == 50
    for change in (checked.update, checked.fit_reml().update):
        with pytest.raises(errors.FormulaError, match="^np.cumsum is not allowed"):
            change(". ~ . + np.cumsum(z)")
    trusted = blm.Model("y ~ half(x) + (1 | g)", data)
    assert trusted.update(". ~ . + np.nan_to_num(z)").design.p == 3


def test_a_trusted_formula_sees_no_builtins_but_the_scope_of_its_author(data):
    for name in ("__builtins__", "__import__", "open", "eval", "exec", "compile", "globals", "getattr", "__name__"):
        with pytest.raises(errors.UnknownColumnError, match=f"'{name}'"):
            blm.Model(f"y ~ I(x + {name}) + (1 | g)", data.drop(columns="open"))
    open = 2.0
    X = blm.Model("y ~ I(x + open) + (1 | g)", data.drop(columns="open")).design.X
    np.testing.assert_array_equal(X[:, 1], data["x"] + open)
    with pytest.raises(errors.UnknownColumnError, match="'open'"):
        blm.Model("y ~ I(x + open) + (1 | g)", data.drop(columns="open"), namespace={"half": half})


# -- files


@pytest.fixture
def saved(data, tmp_path):
    path = tmp_path / "fit.nc"
    blm.save(blm.Model("y ~ log(x) + (1 | g)", data).fit_reml(), path)
    return path


def rewritten(path, change):
    with h5py.File(path, "r+") as file:
        about = json.loads(file.attrs["bayeslmm"])
        change(about)
        file.attrs["bayeslmm"] = json.dumps(about)
    return path


@pytest.mark.parametrize(
    "name", ["np.save", "method of a column", "import", "dunder walk", "power tower", "all interactions of 26 columns"]
)
def test_the_formula_of_a_hostile_file_is_not_evaluated(data, saved, tmp_path, name):
    text = HOSTILE[name].replace(CANARY, str(tmp_path / "canary"))
    rewritten(saved, lambda about: about.update(formula=f"y ~ log(x) + {text} + (1 | g)"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(errors.StorageError, match=re.escape(str(saved))):
        blm.load(saved)
    assert sorted(tmp_path.iterdir()) == before


def test_a_formula_of_a_file_acts_when_trusted(saved, tmp_path):
    """Otherwise the test above could not fail."""
    text = HOSTILE["np.save"].replace(CANARY, str(tmp_path / "canary"))
    rewritten(saved, lambda about: about.update(formula=f"y ~ log(x) + {text} + (1 | g)"))
    with pytest.raises(errors.StorageError):
        blm.load(saved, trust=True)
    assert (tmp_path / "canary.npy").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("formula", "y ~ " + "(" * 9999), ("family", "__import__('os')"), ("columns", [{"name": "os"}])]
)
def test_other_entries_of_a_file_are_no_code(saved, key, value):
    with pytest.raises(errors.StorageError):
        blm.load(rewritten(saved, lambda about: about.update({key: value})))


def test_a_description_nested_without_end_is_damage(saved):
    with h5py.File(saved, "r+") as file:
        del file.attrs["bayeslmm"]
        file.attrs["bayeslmm"] = "[" * 30_000
    with pytest.raises(errors.StorageError, match="damaged"):
        blm.load(saved)


def with_external_link(file, other):
    file["bayeslmm_data/y2"] = h5py.ExternalLink(str(other), "/secret")


def with_soft_link(file, other):
    file["bayeslmm_data/y2"] = h5py.SoftLink("/bayeslmm_data/y")


def with_bytes_of_another_file(file, other):
    file.create_dataset("bayeslmm_data/y2", (16,), "u1", external=[(str(other), 0, 16)])


def with_virtual_dataset(file, other):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(other), "secret", shape=(3,))
    file.create_virtual_dataset("bayeslmm_data/y2", layout)


def with_a_group_inside_itself(file, other):
    file["bayeslmm_data/inside"] = file["bayeslmm_data"]


def with_more_than_it_can_hold(file, other):
    file.create_dataset("bayeslmm_data/y2", (10**12,), "f8", chunks=(1000,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_external_link, "y2 is a link"),
        (with_soft_link, "y2 is a link"),
        (with_bytes_of_another_file, "y2 takes its values from another file"),
        (with_virtual_dataset, "y2 takes its values from another file"),
        (with_a_group_inside_itself, "inside stands in the file under two names"),
        (with_more_than_it_can_hold, "more than the file can"),
    ],
)
def test_a_file_that_points_elsewhere_or_claims_too_much_is_refused(saved, tmp_path, change, message):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(3.0)
    with h5py.File(saved, "r+") as file:
        change(file, other)
    with pytest.raises(errors.StorageError, match=message):
        blm.load(saved)
