"""Formulas that are bad or strange: every one is read as R reads it, or refused at the token."""

import pytest

from bayeslmm import errors

from .harness import Case, check, fitted, refused

FORMULA, DATA, UNKNOWN = errors.FormulaError, errors.DataError, errors.UnknownColumnError
PLAIN = "y ~ x + (1 | g)"
WIDE = " + ".join(["x"] * 2000)
DEEP = "(" * 1000 + "x" + ")" * 1000


def no(name: str, formula: object, error: type[errors.BayesLMMError], *words: str) -> Case:
    return refused(name, formula, None, error, *words)


NOT_A_TEXT = [
    no("None", None, FORMULA, "A formula is a text", "NoneType"),
    no("int", 3, FORMULA, "A formula is a text", "int"),
    no("bytes", b"y ~ x", FORMULA, "A formula is a text", "bytes"),
    no("list", ["y ~ x"], FORMULA, "A formula is a text", "list"),
    no("tuple of sides", ("y", "x"), FORMULA, "A formula is a text", "tuple"),
]
NOTHING = [
    no("empty", "", FORMULA, "The formula is empty"),
    no("spaces", "   \t\n", FORMULA, "The formula is empty"),
    no("tilde alone", "~", FORMULA, "The left side of '~' is empty"),
    no("no response", "~ x + (1 | g)", FORMULA, "The left side of '~' is empty"),
    no("no right side", "y ~", FORMULA, "The right side of '~' is empty", "Write 1"),
    no("no tilde", "y", FORMULA, "The formula has no '~'"),
    no("predictors alone", "x + (1 | g)", FORMULA, "The formula has no '~'"),
    no("two tildes", "y ~ x ~ z", FORMULA, "one '~'"),
    no("empty parentheses", "y ~ ()", FORMULA, "nothing between these parentheses"),
    no("empty call", "y ~ C()", DATA, "C() cannot be computed"),
    no("empty backticks", "y ~ ``", FORMULA, "backtick"),
    no("open backtick", "y ~ `x", FORMULA, "never closed"),
    no("open quote", "y ~ I(f == 'u)", FORMULA, "never closed"),
    no("open parenthesis", "y ~ (1 | g", FORMULA, "never closed", "Add ')'"),
    no("closed too often", "y ~ (1 | g))", FORMULA, "closes nothing"),
    no("crossed brackets", "y ~ (x]", FORMULA, "closes nothing"),
]
LETTERS = [
    no("minus sign of a word processor", "y ~ x \u2212 z", FORMULA, "'\u2212' has no meaning"),
    no("multiplication sign", "y ~ x \u00d7 z", FORMULA, "'\u00d7' has no meaning"),
    no("divides sign for a bar", "y ~ (1 \u2223 g)", FORMULA, "'\u2223' has no meaning"),
    no("wide tilde", "y \uff5e x", FORMULA, "'\uff5e' has no meaning"),
    no("curly quotes", "y ~ I(f == \u2018u\u2019)", FORMULA, "has no meaning"),
    no("zero width space", "y ~ x\u200b", FORMULA, "has no meaning"),
    no("emoji", "y ~ \U0001f40d", FORMULA, "has no meaning"),
    no("NUL", "y ~ x\x00", FORMULA, "has no meaning"),
    no("semicolon", "y ~ x; z", FORMULA, "';' has no meaning"),
    no("dollar", "y ~ data$x", FORMULA, "'$' has no meaning"),
    no("at", "y ~ x@z", FORMULA, "'@' has no meaning"),
    no("exponent as a letter", "y ~ x\u00b2", UNKNOWN, "'x\u00b2'"),
    fitted("no-break space", "y\u00a0~\u00a0x\u00a0+\u00a0(1\u00a0|\u00a0g)", like=PLAIN),
    fitted("tabs and newlines", "y\t~\n  x\r\n  + (1\n| g)\n", like=PLAIN),
    fitted("no spaces", "y~x+(1|g)", like=PLAIN),
    no("byte order mark", "\ufeffy ~ x", FORMULA, "'\\ufeff' has no meaning"),
]
LONG = [
    fitted("2000 times one term", f"y ~ {WIDE} + (1 | g)", like=PLAIN),
    fitted("spaces by the thousand", f"y ~ x{' ' * 50_000}+ (1 | g)", like=PLAIN),
    no("1000 parentheses", f"y ~ {DEEP} + (1 | g)", FORMULA, "Brackets are nested more than 50 deep"),
    no("20,000 signs", f"y ~ {'-' * 20_000}x", FORMULA, "too deep"),  # PyMC sets Python's limit to 10,000
    no("1000 calls", f"y ~ {'I(' * 1000}x{')' * 1000}", FORMULA, "Brackets are nested more than 50 deep"),
    no("more than 100000 letters", f"y ~ {'x + ' * 40_000}x", FORMULA, "160,005 letters"),
    no("1000 powers", f"y ~ (x + z){'^2' * 1000}", FORMULA),
    no("an unknown name of 5000 letters", "y ~ " + "q" * 5000, UNKNOWN, "q" * 20),
    no("5000 unknown terms", "y ~ " + " + ".join(f"q{i}" for i in range(5000)), UNKNOWN, "'q0'"),
    no("too many interactions", "y ~ (" + " + ".join(f"q{i}" for i in range(40)) + ")^20", FORMULA, "terms"),
    no("products of 40 names", "y ~ " + " * ".join(f"q{i}" for i in range(40)), FORMULA, "at most 10 columns"),
    no("an exponent of 5000 digits", f"y ~ (x + z)^{'9' * 5000}", FORMULA),
]
IDIOMS = [
    no("dot", "y ~ .", FORMULA, "'.' (all other columns) is not offered"),
    no("dot less one", "y ~ . - x", FORMULA, "'.' (all other columns) is not offered"),
    no("%in%", "y ~ x %in% f", FORMULA, "%in% is not offered", "x:f"),
    no("%o%", "y ~ x %o% f", FORMULA, "%o% is not offered"),
    no("walrus", "y := x", FORMULA, "A term is missing after ':'"),
    no("pipe of R", "y ~ x |> log()", FORMULA),
    no("arrow", "m <- y ~ x", UNKNOWN, "'m' (response)"),
    no("equals", "y = x + z", FORMULA, "'='", "'~'"),
    no("comparison", "y ~ x > 0", FORMULA, "Write I(x > 0)"),
    no("not", "y ~ !b", FORMULA, "'!' has no meaning here"),
    no("and", "y ~ b & f", FORMULA, "Put conditions into I(...)"),
    no("cbind", "y ~ cbind(y, x)", UNKNOWN, "cbind() (fixed part)", "p(successes, trials)"),
    no("natural splines", "y ~ ns(x, 3)", UNKNOWN, "cr(x, df=...)"),
    no("strata", "y ~ x + Error(g)", UNKNOWN, "(1 | g)"),
    no("arithmetic outside of I", "y ~ 2 * x", FORMULA, "I(...)"),
    no("a number", "y ~ 3", FORMULA, "The number 3 is no term"),
    no("a square that is none", "y ~ x^2", FORMULA, "I(x**2)"),
    no("a power of names", "y ~ (x + z)^x", FORMULA, "whole number"),
    no("a power of zero", "y ~ (x + z)^0", FORMULA, "whole number"),
    no("quoted text", "y ~ 'x'", FORMULA, "backticks"),
    no("missing operator", "y ~ x z", FORMULA, "An operator such as '+' is missing before 'z'"),
    no("operator twice", "y ~ x * / z", FORMULA, "A term is missing"),
    no("operator at the end", "y ~ x +", FORMULA, "A term is missing after '+'"),
    no("a term that is not there taken away", "y ~ x - z", FORMULA, "There is no term z"),
    no("subscript on the right", "y ~ f['u']", FORMULA, "for a response only"),
    no("response by an unknown level", "f['nobody'] ~ x + (1 | g)", DATA, "'nobody'"),
    no("response as a bar", "(1 | g) ~ x", FORMULA, "The left side of '~' is the response"),
    no("response as a bar within a sum", "y + (x || g) ~ z", FORMULA, "The left side of '~' is the response"),
    no("response as an interaction within a sum", "y + x:z ~ z", FORMULA, "The left side of '~' is the response"),
    no("response as a number", "1 ~ x", FORMULA, "The left side of '~' is the response"),
    no("response as two columns", "np.column_stack([x, y]) ~ z", DATA, "has 2 columns"),
    fitted("minus one", "y ~ x - 1 + (1 | g)", like="y ~ 0 + x + (1 | g)", terms=("x",)),
    fitted("plus zero", "y ~ x + 0 + (1 | g)", like="y ~ 0 + x + (1 | g)", terms=("x",)),
    fitted("minus zero", "y ~ x - 0 + (1 | g)", like=PLAIN),
    fitted("plus and minus", "y ~ + x - -1 + (1 | g)", like=PLAIN),
    fitted("square", "y ~ x + I(x^2) + (1 | g)", like="y ~ x + I(x**2) + (1 | g)"),
    fitted("braces", "y ~ {x * 2} + (1 | g)", like="y ~ I(2 * x) + (1 | g)"),
    fitted("raw polynomial", "y ~ poly(x, 2, raw=TRUE) + (1 | g)", like="y ~ x + I(x**2) + (1 | g)"),
    fitted("factor()", "y ~ factor(i) + (1 | g)", like="y ~ C(i) + (1 | g)"),
    fitted("in place of %in%", "y ~ f + x:f + (1 | g)", like="y ~ f/x + (1 | g)"),
    fitted("offset of a call", "y ~ z + offset(I(x / 2)) + (1 | g)", like="I(y - x / 2) ~ z + (1 | g)"),
    fitted("offset of a number", "y ~ x + offset(2) + (1 | g)", like="I(y - 2) ~ x + (1 | g)"),
    fitted(
        "interaction of groups",
        "y ~ x + (1 | g:h)",
        lambda d: d[d["h"] < "p"].assign(h=[*"mn"] * 15),
        like="y ~ x + (1 | k)",
        of=lambda d: d[d["h"] < "p"].assign(k=lambda s: s["g"] + [*"mn"] * 15),
    ),
    fitted("conditions", "y ~ I(x > 0) + (1 | g)", like="y ~ b2 + (1 | g)", of=lambda d: d.assign(b2=d["x"] > 0)),
]
BARS = [
    no("no factor", "y ~ (1 | )", FORMULA, "no grouping factor", "(1 | school)"),
    no("no effect", "y ~ ( | g)", FORMULA, "left side of the bar is empty"),
    no("zero effects", "y ~ (0 | g)", FORMULA, "no column left of this bar"),
    no("no parentheses", "y ~ x + 1 | g", FORMULA, "Write (x + 1 | g)"),
    no("two bars", "y ~ (1 | g | h)", FORMULA, "two bars"),
    no("bar in a bar", "y ~ ((1 | g) | h)", FORMULA, "no bars, no offset"),
    no("bar times", "y ~ x * (1 | g)", FORMULA, "A bar cannot be an operand of '*'"),
    no("bar squared", "y ~ ((1 | g) + x + z)^2", FORMULA, "A bar cannot be an operand"),
    no("group as an expression", "y ~ (1 | I(i + 1))", FORMULA, "A grouping factor is a column"),
    no("group as a number", "y ~ (1 | 1)", FORMULA, "names grouping columns"),
    no("unknown group", "y ~ (1 | school)", UNKNOWN, "'school' (grouping factor of (1 | school))", "The columns are"),
    no("group by case", "y ~ (1 | G)", UNKNOWN, "Did you mean 'g'?"),
    no("unknown slope", "y ~ (Days | g)", UNKNOWN, "'Days' (left side of (Days | g))"),
    no("the same bar twice", "y ~ (1 | g) + (1 | g)", errors.UnidentifiedTermError, "varies by g twice"),
    no("nothing to take away", "y ~ x - (1 | h)", FORMULA, "no bar (1 | h)"),
    no("three levels of nesting, one a row", "y ~ (1 | g/h/f)", errors.UnidentifiedTermError, "60 levels for 60 rows"),
    no("response as group", "y ~ (1 | y)", FORMULA, "'y' is among its own predictors"),
    fitted("nested in itself", "y ~ x + (1 | g/g)", like=PLAIN),
    fitted("bar of a bar taken away", "y ~ x + (1 | g) + (1 | h) - (1 | h)", like=PLAIN),
]
EVIL = [
    no("import", "y ~ __import__('os').getcwd()", errors.InputError),
    no("dunder", "y ~ x.__class__.__bases__", errors.InputError),
    no("eval", "y ~ eval('x')", errors.InputError),
    no("lambda", "y ~ (lambda: 0)()", FORMULA),
    no("a list for a column", "y ~ I([1, 2, 3])", DATA, "one value for each of the 60 rows"),
    no("a scalar for a column", "y ~ I(1)", DATA, "a single int"),
    no("a text for a column", "y ~ I('x')", DATA, "a single str"),
    no("a function for a column", "y ~ I(np.log)", DATA),
    no("a module for a column", "y ~ np", UNKNOWN, "'np'"),
    no("unknown attribute", "y ~ np.logg(x)", UNKNOWN, "np.logg", "Did you mean"),
    no("log of zero", "y ~ log(x - x)", errors.NonFiniteError, "log(x - x)", "60"),
    no("log of a negative number", "y ~ log(i)", errors.NonFiniteError, "log(i)"),
    no("division by zero", "y ~ I(1 / (i - i))", errors.NonFiniteError, "I(1 / (i - i))"),
    no("overflow", "y ~ exp(1000 * x)", errors.NonFiniteError, "exp(1000 * x)"),
    no("log of text", "y ~ log(f)", DATA, "log(f) cannot be computed", "'f' holds text"),
    no("too many columns of a spline", "y ~ bs(x, df=100)", DATA),
    fitted(
        "too high a polynomial",
        "y ~ poly(i, 30) + (1 | g)",
        like="y ~ poly(i, 6) + (1 | g)",
        warns=(errors.AliasedColumnsWarning,),
    ),
    no("unknown reference", "y ~ relevel(f, ref='nobody')", DATA, "nobody"),
    no("a walrus inside", "y ~ I(x := 1)", errors.InputError),
    no("yield inside", "y ~ I((yield))", errors.InputError),
    no("await inside", "y ~ I(await x)", errors.InputError),
    no("star inside", "y ~ I(*x)", DATA),
    no("recursion inside", "y ~ (lambda f: f(f))(lambda f: f(f))", errors.InputError),
    no("error with lines", "y ~ x.map('{')", DATA),
]
CASES = [*NOT_A_TEXT, *NOTHING, *LETTERS, *LONG, *IDIOMS, *BARS, *EVIL]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_formula(case):
    check(case)
