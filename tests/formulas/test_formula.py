"""What a formula says, and how it complains."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayeslmm.errors import FormulaError
from bayeslmm.formulas.formula import parse_formula, update_formula


def bars(text):
    return [(bar.columns, bar.group_name) for bar in parse_formula("y ~ " + text).bars]


def fixed(text):
    return parse_formula("y ~ " + text).fixed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1 | g)", [("1", "g")]),
        ("(x | g)", [("1 + x", "g")]),
        ("(1 + x | g)", [("1 + x", "g")]),
        ("(0 + x | g)", [("0 + x", "g")]),
        ("(x - 1 | g)", [("0 + x", "g")]),
        ("(-1 + x | g)", [("0 + x", "g")]),
        ("(x + 0 | g)", [("0 + x", "g")]),
        ("(x || g)", [("1", "g"), ("0 + x", "g")]),
        ("(f || g)", [("1", "g"), ("0 + f", "g")]),
        ("(0 + x + z || g)", [("0 + x", "g"), ("0 + z", "g")]),
        ("(x * z || g)", [("1", "g"), ("0 + x", "g"), ("0 + z", "g"), ("0 + x:z", "g")]),
        ("(1 | a/b)", [("1", "a"), ("1", "a:b")]),
        ("(1 | a/b/c)", [("1", "a"), ("1", "a:b"), ("1", "a:b:c")]),
        ("(x || a/b)", [("1", "a"), ("0 + x", "a"), ("1", "a:b"), ("0 + x", "a:b")]),
        ("(1 | a) + (1 | b)", [("1", "a"), ("1", "b")]),
        ("(1 | a:b)", [("1", "a:b")]),
        ("(1 | a*b)", [("1", "a"), ("1", "b"), ("1", "a:b")]),
        ("(1 | a + b)", [("1", "a"), ("1", "b")]),
        ("(f | g)", [("1 + f", "g")]),
        ("(0 + f | g)", [("0 + f", "g")]),
        ("(1 | factor(g))", [("1", "g")]),
        ("(1 | C(g))", [("1", "g")]),
        ("(1 | as.factor(a):b)", [("1", "a:b")]),
        ("(1 | `school id`)", [("1", "school id")]),
        ("(factor(x) | g)", [("1 + C(x)", "g")]),
        ("(poly(x, 2) | g)", [("1 + poly(x, 2)", "g")]),
        ("((1 | g))", [("1", "g")]),
        ("(x + (1 | g))", [("1", "g")]),
    ],
)
def test_bars_have_lme4s_meaning(text, expected):
    assert bars(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "1 + x"),
        ("1 + x", "1 + x"),
        ("0 + x", "0 + x"),
        ("x - 1", "0 + x"),
        ("-1 + x", "0 + x"),
        ("x + 0", "0 + x"),
        ("0 + x + 1", "1 + x"),
        ("(1 | g)", "1"),
        ("(1 | g) + x", "1 + x"),
        ("x * z", "1 + x + z + x:z"),
        ("x:z + x", "1 + x + x:z"),
        ("x + a * b - a:b", "1 + x + a + b"),
        ("a / x", "1 + a + a:x"),
        ("a / (x + z)", "1 + a + a:x + a:z"),
        ("(a + b) / x", "1 + a + b + a:b:x"),
        ("(a + b + c + d + e + f + g + h + i + j):k - 1", "0 + " + " + ".join(f"{c}:k" for c in "abcdefghij")),
        ("(a + b + c)^2", "1 + a + b + c + a:b + a:c + b:c"),
        ("(a + b)**2", "1 + a + b + a:b"),
        ("a * b * c - a:b:c", "1 + a + b + c + a:b + a:c + b:c"),
        ("x + x", "1 + x"),
        ("a:b + b:a", "1 + a:b"),
        ("x:x", "1 + x"),
        ("log( x )", "1 + log(x)"),
        ("I(x^2)", "1 + I(x ** 2)"),
        ("{x^2}", "1 + I(x ** 2)"),
        ("I(-x^2)", "1 + I(-x ** 2)"),
        ("I((x + z) * 2)", "1 + I((x + z) * 2)"),
        ("poly(x, 2, raw=TRUE)", "1 + poly(x, 2, raw=True)"),
        ("factor(x)", "1 + C(x)"),
        ("as.factor(x)", "1 + C(x)"),
        ("relevel(f, ref='B')", "1 + T(f, ref='B')"),
        ("`odd name` * x", "1 + `odd name` + x + `odd name`:x"),
        ("log(`odd name`)", "1 + log(`odd name`)"),
        ("a.b + größe", "1 + a.b + größe"),
        ("np.log(x)", "1 + np.log(x)"),
        ("I(x %% 2)", "1 + I(x % 2)"),
        ("x + offset(log(n))", "1 + x"),
    ],
)
def test_fixed_part_is_written_out(text, expected):
    assert fixed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqrt(weight) ~ x", "sqrt(weight)"),
        ("log(y) ~ x", "log(y)"),
        ("np.log(y) ~ x", "np.log(y)"),
        ("p(k, n) ~ x", "p(k, n)"),
        ("y/2 ~ x", "y / 2"),
        ("`a b` ~ x", "`a b`"),
        ("(y) ~ x", "y"),
        ("y['yes'] ~ x", "indicator(y, 'yes')"),
        ("y[yes] ~ x", "indicator(y, 'yes')"),
        ("y[1] ~ x", "indicator(y, 1)"),
        ("y[-1.5] ~ x", "indicator(y, -1.5)"),
        ("y[`a b`] ~ x", "indicator(y, 'a b')"),
        ("`a b`['1'] ~ x", "indicator(`a b`, '1')"),
        ("y[é_1.b] ~ x", "indicator(y, 'é_1.b')"),
    ],
)
def test_response(text, expected):
    assert parse_formula(text).response == expected


def test_offsets_are_taken_out():
    formula = parse_formula("y ~ x + offset(log(n)) + offset(`o p`)")
    assert formula.fixed == "1 + x"
    assert formula.offsets == ("log(n)", "`o p`")


def test_written_form_is_kept():
    formula = parse_formula("y ~ (Days||Subject)")
    assert str(formula) == "y ~ (Days||Subject)"
    assert formula.bars[1].text == "(Days||Subject)"


@pytest.mark.parametrize(
    ("text", "message", "token"),
    [
        ("y x", "missing before 'x'", "x"),
        ("x", "no '~'", "x"),
        ("~ x", "left side of '~' is empty", "~"),
        ("y ~", "right side of '~' is empty", "~"),
        ("y ~ x ~ z", "one '~'", "~"),
        ("", "formula is empty", None),
        ("* x", "expected here, not '*'", "*"),
        ("y = x", "'=' has no meaning", "="),
        ("y ~ .", "'.' (all other columns) is not offered", "."),
        ("y ~ . - x", "'.' (all other columns) is not offered", "."),
        ("y ~ (1 | )", "no grouping factor", "|"),
        ("y ~ (1 || )", "no grouping factor", "||"),
        ("y ~ ( | g)", "left side of the bar is empty", "|"),
        ("y ~ x | g", "Write (x | g)", "x | g"),
        ("y ~ (0 | g)", "no column left of this bar", "0"),
        ("y ~ (x | g | h)", "two bars", "|"),
        ("y ~ (x", "never closed", "("),
        ("y ~ f(x", "never closed", "("),
        ("y ~ (x['a'", "Add ']'", "["),
        ("y ~ x)", "closes nothing", ")"),
        ("y ~ (x]", "closes nothing", "]"),
        ("y ~ ()", "nothing between", "("),
        ("y ~ x**2", "Write I(x**2)", "x**2"),
        ("y ~ x^2", "Write I(x**2)", "x^2"),
        ("y ~ (a + b)^x", "whole number", "x"),
        ("y ~ (a + b)^`2`", "whole number", "`2`"),
        ("y ~ (a + b)^2^2", "whole number", "2^2"),
        ("y ~ x < 0", "I(x < 0)", "x < 0"),
        ("y ~ x + (z == 1)", "I(z == 1)", "z == 1"),
        ("y ~ a + b - x == z + c - d", "I(x == z)", "x == z"),
        ("y ~ a %in% b", "Write a:b", "a %in% b"),
        ("y ~ a * b %in% c:d", "Write b:c:d", "b %in% c:d"),
        ("y ~ a %% b", "Use a call or I(...)", "a %% b"),
        ("y ~ x + 2", "The number 2 is no term", "2"),
        ("y ~ x * 2", "The number 2 is no term", "2"),
        ("y ~ x:1", "number is no operand", "1"),
        ("y ~ x ? z", "'?' has no meaning", "?"),
        ("y ~ x$z", "'$' has no meaning", "$"),
        ("y ~ x +", "missing after '+'", "+"),
        ("y ~ x z", "missing before 'z'", "z"),
        ("y ~ x Z", "missing before 'Z'", "Z"),
        ("y ~ x 2", "missing before '2'", "2"),
        ("y ~ log(x)['a']", "Square brackets go after", "["),
        ("y ~ `x", "never closed", "`"),
        ("y ~ I('a)", "never closed", "'"),
        ("y ~ I(x +)", "cannot be read as a Python expression", "I(x +)"),
        ("y ~ x - z", "no term z", "z"),
        ("y ~ -a:b", "no term a on the left", "-a"),
        ("y ~ (1 | g) * x", "bar cannot be an operand", "(1 | g)"),
        ("y ~ x - (1 | g)", "no bar (1 | g) on the left", "(1 | g)"),
        ("y ~ offset(z) * x", "offset cannot be an operand", "offset(z)"),
        ("y ~ offset(a, b)", "takes one expression", "offset(a, b)"),
        ("y ~ offset()", "takes one expression", "offset()"),
        ("y ~ offset(x=a)", "takes one expression", "offset(x=a)"),
        ("y ~ (1 | log(g))", "A grouping factor is a column", "log(g)"),
        ("y ~ (1 | 1)", "names grouping columns", "1"),
        ("y ~ (1 | g + 1)", "names grouping columns", "g + 1"),
        ("y ~ (1 | g + offset(z))", "names grouping columns", "g + offset(z)"),
        ("y ~ (1 | g + (1 | h))", "names grouping columns", "g + (1 | h)"),
        ("y ~ (offset(z) | g)", "no offset", "offset(z)"),
        ("y ~ x['a']", "for a response only", "x['a']"),
        ("y ~ 'x'", "backticks", "'x'"),
        ("1 ~ x", "is the response", "1"),
        ("y[1:2] ~ x", "stands one level", "y[1:2]"),
        ("y['a', 'b'] ~ x", "stands one level", "y['a', 'b']"),
        ("y[a == 'b'] ~ x", "stands one level", "y[a == 'b']"),
        ("y['a' + b] ~ x", "stands one level", "y['a' + b]"),
    ],
)
def test_errors_point_at_the_token(text, message, token):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    first, formula, caret = str(caught.value).split("\n")
    assert message in first
    assert formula == "    " + text
    if token is not None:
        start = caret.index("^")
        assert formula[start : start + caret.count("^")] == token


@pytest.mark.parametrize("before", [0, 20, 30, 60])
def test_a_long_formula_is_shown_around_the_token(before):
    columns = [f"x{i:02}" for i in range(60)]
    columns.insert(before, "here here")
    with pytest.raises(FormulaError) as caught:
        parse_formula(f"y ~ {' + '.join(columns)}")
    _, shown, caret = str(caught.value).split("\n")
    start = caret.index("^")
    assert shown[start - 5 : start + caret.count("^")] == "here here"
    assert shown.startswith("    … ") == (before > 0) and shown.endswith(" …") == (before < 60)
    assert len(shown.strip(" …")) <= 120


COLUMNS_A, COLUMNS_B = (" + ".join(f"{letter}{i}" for i in range(n)) for letter, n in (("a", 80), ("b", 70)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # 10 columns and 10 of which they share 9
        (f"{':'.join('abcdefghij')}:({':'.join('abcdefghik')})", "crosses 11 columns"),
        # 7 of 16, with repetition: C(22, 7)
        (f"({' + '.join('abcdefghijklmnop')})^7", "170,544 terms"),
        # 80 and 70, and a product for each pair
        (f"({COLUMNS_A}) * ({COLUMNS_B})", "5,750 terms"),
        # all that is left of a slash at once
        ("(a + b + c + d + e + f + g + h + i + j) / k", "crosses 11 columns"),
        # four terms of 3 columns each, of which up to 4 are crossed
        ("(a:b:c + d:e:f + g:h:i + j:k:l)^4", "crosses 12 columns"),
    ],
)
def test_what_nobody_has_data_for_is_not_written_out(text, message):
    with pytest.raises(FormulaError, match=message):
        parse_formula(f"y ~ {text}")


def test_brackets_are_read_fifty_deep():
    assert fixed(f"{50 * '('}x{50 * ')'}") == "1 + x"
    with pytest.raises(FormulaError, match="more than 50 deep"):
        fixed(f"{51 * '('}x{51 * ')'}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (". ~ .", "log(y) ~ x + (x || g) + offset(n)"),
        (". ~ . - x", "log(y) ~ 1 + (x || g) + offset(n)"),
        (". ~ . - (1 | g)", "log(y) ~ x + (0 + x | g) + offset(n)"),
        ("z ~ . - 1", "z ~ 0 + x + (x || g) + offset(n)"),
        (". ~ z", "log(y) ~ z"),
    ],
)
def test_a_change_keeps_what_the_dots_stand_for(change, expected):
    old = parse_formula("log(y) ~ x + (x || g) + offset(n)")
    assert update_formula(old, change).text == expected


def test_a_formula_cannot_be_changed():
    formula = parse_formula("y ~ x + (x | g)")
    with pytest.raises(FrozenInstanceError):
        formula.offsets = ("n",)
    with pytest.raises(FrozenInstanceError):
        formula.bars[0].group = ("h",)


def test_a_formula_is_text():
    with pytest.raises(FormulaError, match="not a list"):
        parse_formula(["y", "x"])


# -- laws of the algebra

names = st.sampled_from(["a", "b", "x", "z", "log(x)", "`o n`"])
sums = st.recursive(
    names, lambda inner: st.tuples(inner, st.sampled_from("+*:/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
)


def same(left, right):
    assert fixed_set(left) == fixed_set(right)


def fixed_set(text):
    terms = parse_formula("y ~ " + text).fixed_terms
    return terms.intercept, {frozenset(factors) for factors in terms.products}


@given(sums, sums)
def test_star_is_plus_and_colon(a, b):
    same(f"{a} * {b}", f"{a} + {b} + {a}:{b}")


@given(sums, sums, sums)
def test_colon_distributes(a, b, c):
    same(f"({a} + {b}):{c}", f"{a}:{c} + {b}:{c}")


@given(sums, sums)
def test_order_of_a_sum_does_not_matter(a, b):
    same(f"{a} + {b}", f"{b} + {a}")


@given(sums)
def test_reading_the_written_out_form_changes_nothing(a):
    once = parse_formula("y ~ " + a).fixed
    assert parse_formula("y ~ " + once).fixed == once


@given(st.text(alphabet="yxg~+-*/:^()|0 1.`'[{%<", max_size=14))
def test_any_text_is_read_or_refused(text):
    try:
        parse_formula(text)
    except FormulaError:
        pass
