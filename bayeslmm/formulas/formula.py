"""Text → `Formula`: response, fixed terms, bars and offsets, expanded by R's algebra of terms.

No data are touched. Every sum is written out as products of leaves, so nobody downstream needs to know what
``*``, ``/``, ``^``, ``||`` or nesting mean:

>>> f = parse_formula("log(y) ~ x * z + (x | school/class)")
>>> f.response, f.fixed
('log(y)', '1 + x + z + x:z')
>>> [(bar.columns, bar.group) for bar in f.bars]
[('1 + x', ('school',)), ('1 + x', ('school', 'class'))]
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import comb

from ..covariances import STRUCTURES, UNSTRUCTURED, Structure
from ..errors import FormulaError
from ..terms.words import Membership, Related, Smooth, WordError, read_membership, read_related, read_smooth
from .grammar import COMPARISONS, Node, Parser, canonical_python, complain
from .remedies import BESIDE_RESPONSE
from .terms import PLAIN_NAME, Atom, Terms

QUOTED_OR_SPACE = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\s+")
NO_RESPONSE = "The left side of '~' is the response: a column or an expression of columns."
SUBSCRIPT = re.compile(r"([\w.]+|`[^`]+`)\[(.+)\]")
WORD = re.compile(r"[^\W\d][\w.]*|`[^`]+`")
BACKTICKED = re.compile(r"`[^`]+`")
LONE_DOT = re.compile(r"(?<![\w.)\]`])\.(?![\w.])")
MOST_TERMS = 5_000
MOST_FACTORS = 10  # of one interaction: k factors span 2**k subspaces
BARE_FACTOR = re.compile(r"C\((?:`([^`]+)`|([^\W\d][\w.]*))\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Random effects of one structure: the columns ``terms`` vary by the combinations of ``group``'s columns.

    ``word`` says that the levels are related (``gr``), or that a row belongs to one of each column (``mm``).
    """

    terms: Terms
    group: tuple[str, ...]
    text: str
    structure: Structure = UNSTRUCTURED
    word: Related | Membership | None = None

    @property
    def columns(self) -> str:
        """The left side in formula syntax, for example ``1 + x``."""
        return str(self.terms)

    @property
    def group_name(self) -> str:
        """The grouping factor's name, for example ``school:class``."""
        return ":".join(self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """What a formula says, written out.

    Attributes
    ----------
    text : str
        The formula as the user wrote it.
    response_atom : Atom
        The left side; `response` is its text.
    fixed_terms : Terms
        The fixed part; `fixed` is its text, for example ``1 + x + a + a:x``.
    bars : tuple of Bar
        One per block of correlated effects, in order of appearance.
    offsets : tuple of str
        The Python expressions inside ``offset(...)`` terms.
    smooths : tuple of (Smooth, str)
        The ``s(...)`` terms, each with its text; what no penalty reaches of them is in ``fixed_terms``.
    likelihood_weights : Atom or None
        What ``y | weights(w)`` counts each row with.
    """

    text: str
    response_atom: Atom
    fixed_terms: Terms
    bars: tuple[Bar, ...]
    offsets: tuple[str, ...]
    smooths: tuple[tuple[Smooth, str], ...] = ()
    likelihood_weights: Atom | None = None

    @property
    def response(self) -> str:
        """The response as a Python expression; an unusual column name stands in backticks."""
        return str(self.response_atom)

    @property
    def weights_text(self) -> str:
        """``weights(w)`` as it stands beside the response; empty where it does not."""
        return "" if self.likelihood_weights is None else f"weights({self.likelihood_weights})"

    @property
    def fixed(self) -> str:
        """The fixed part in formula syntax, every term written out."""
        return str(self.fixed_terms)

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True)
class _Sum:
    """A sum under construction; ``intercept`` is None where nothing was said about it."""

    products: dict[frozenset[Atom], tuple[Atom, ...]] = field(default_factory=dict)
    intercept: bool | None = None
    bars: list[Bar] = field(default_factory=list)
    offsets: list[str] = field(default_factory=list)
    smooths: list[tuple[Smooth, str]] = field(default_factory=list)

    @classmethod
    def of(cls, factors: Iterable[tuple[Atom, ...]]) -> _Sum:
        result = cls()
        for group in factors:
            distinct = tuple(dict.fromkeys(group))
            result.products.setdefault(frozenset(distinct), distinct)
        return result

    def terms(self) -> Terms:
        ordered = sorted(self.products.values(), key=len)
        return Terms(intercept=self.intercept is not False, products=tuple(ordered))


def parse_formula(text: str) -> Formula:
    """Read a formula with lme4's meaning.

    Parameters
    ----------
    text : str
        For example ``"Reaction ~ Days + (Days | Subject)"``. Column names that are no plain words stand in
        backticks; Python expressions are calls such as ``np.log(x)`` or stand in ``I(...)`` or ``{...}``.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        When the text cannot be read; the message points at the token.

    Examples
    --------
    >>> parse_formula("y ~ x + (x || g)").bars[1].columns
    '0 + x'
    """
    if not isinstance(text, str):
        raise FormulaError(f"A formula is a text such as 'y ~ x + (x | g)', not a {type(text).__name__}: {text!r}.")
    return _parsed(text)


@lru_cache(maxsize=256)  # a study fits one formula thousands of times
def _parsed(text: str) -> Formula:
    text = QUOTED_OR_SPACE.sub(_on_one_line, text).strip()
    try:
        return _Reader(text).formula(Parser(text).parse())
    except RecursionError:
        raise FormulaError(
            "The formula is nested too deeply to be read. Write it with fewer signs and powers."
        ) from None


def _on_one_line(match: re.Match[str]) -> str:
    """A space for a line break with its indentation; what is quoted and other spaces stay."""
    piece = match.group()
    return " " if piece.isspace() and not set(piece).isdisjoint("\n\r\t") else piece


def update_formula(old: Formula, change: str) -> Formula:
    """The formula that R's ``update(old, change)`` gives: a lone ``.`` stands for the old side, as no left one does.

    Examples
    --------
    >>> old = parse_formula("y ~ x + (x | g)")
    >>> update_formula(old, ". ~ . - (x | g) + (1 | g)").text
    'y ~ x + (1 | g)'
    >>> update_formula(old, "log(y) ~ . + z").text
    'log(y) ~ x + z + (x | g)'

    Raises
    ------
    FormulaError
        The change has no ``~``, takes away a term that is not there, or cannot be read.
    """
    if not isinstance(change, str) or change.count("~") != 1:
        raise FormulaError(f"A change of a formula is a text such as '. ~ . + x', not {change!r}.")
    sides = [side.strip() for side in old.text.split("~", 1)]
    left, right = change.split("~")
    left = left if left.strip() else "."
    left = sides[0].join(LONE_DOT.split(left))
    right = f"({sides[1]})".join(LONE_DOT.split(right))
    changed = parse_formula(f"{left.strip()} ~ {right.strip()}")
    return parse_formula(f"{left.strip()} ~ {_tidy_right(changed)}")


def _tidy_right(formula: Formula) -> str:
    """The right side with every term once: fixed part, bars, offsets."""
    fixed = formula.fixed.removeprefix("1 + ")
    written: dict[str, list[Bar]] = {}
    for bar in formula.bars:
        written.setdefault(bar.text, []).append(bar)
    texts = []
    for text, bars in written.items():
        every_bar = parse_formula(f"y ~ {text}").bars
        texts += [text] if len(every_bar) == len(bars) else [_written(bar) for bar in bars]
    texts += [text for _, text in formula.smooths]
    return " + ".join([fixed, *texts, *(f"offset({offset})" for offset in formula.offsets)])


def _written(bar: Bar) -> str:
    if bar.word is not None:
        return f"({bar.columns} | {bar.text.rpartition('|')[2].strip().removesuffix(')')})"
    sides = f"{bar.columns} | {':'.join(str(Atom(name)) for name in bar.group)}"
    if bar.structure == UNSTRUCTURED:
        return f"({sides})"
    option = "" if bar.structure.hom == bar.structure.hom_by_default else f", hom={bar.structure.hom}"
    return f"{bar.structure.name}({sides}{option})"


def _of_counts(tree: ast.Expression) -> ast.Expression:
    """R's ``cbind(successes, failures)`` as ``p(successes, trials)``; any other tree as it is."""
    match tree.body:
        case ast.Call(func=ast.Name(id="cbind"), args=[successes, failures], keywords=[]):
            counts_again = isinstance(failures, ast.BinOp) and isinstance(failures.op, ast.Sub)
            if counts_again and ast.dump(failures.right) == ast.dump(successes):  # type: ignore[attr-defined]
                trials = failures.left  # type: ignore[attr-defined]
            else:
                trials = ast.BinOp(left=successes, op=ast.Add(), right=failures)
            tree.body = ast.Call(func=ast.Name(id="p", ctx=ast.Load()), args=[successes, trials], keywords=[])
    return tree


def _same_bar(a: Bar, b: Bar) -> bool:
    same_effects = str(a.terms) == str(b.terms) and set(a.group) == set(b.group)
    return same_effects and a.word == b.word and a.structure == b.structure


class _Reader:
    """Walks the tree of one formula; holds the text for the messages."""

    def __init__(self, text: str) -> None:
        self.text = text

    def formula(self, tree: Node) -> Formula:
        if tree.kind != "binary" or tree.text != "~":
            message = "The formula has no '~'. Write the response on its left: y ~ x + (x | g)."
            raise complain(self.text, message, tree.start, tree.stop)
        left, right = tree.parts
        if left.kind == "binary" and left.text == "~":
            raise complain(self.text, "A formula has one '~'; this is the second.", tree.sign_start)
        total = self.sum(right)
        response, likelihood_weights = self.left_side(left)
        return Formula(
            text=self.text,
            response_atom=response,
            likelihood_weights=likelihood_weights,
            fixed_terms=total.terms(),
            bars=tuple(total.bars),
            offsets=tuple(total.offsets),
            smooths=tuple(dict.fromkeys(total.smooths)),
        )

    def left_side(self, node: Node) -> tuple[Atom, Atom | None]:
        """The response, and what ``y | weights(w)`` counts rows with."""
        while node.kind == "group":
            node = node.parts[0]
        if node.kind == "binary" and node.text == "|":
            return self.beside(node)
        return self.response(node), None

    def response(self, node: Node) -> Atom:
        if node.kind == "name":
            return Atom(node.text)
        if node.kind == "expression":
            subscript = SUBSCRIPT.fullmatch(node.text)
            if subscript is None:
                return Atom(canonical_python(node.text, _of_counts), is_name=False)
            return Atom(f"indicator({subscript[1]}, {self.level(subscript[2], node)})", is_name=False)
        if node.kind == "number" or (node.kind == "binary" and node.text in ("|", "||", ":", "%in%")):
            raise self.error(NO_RESPONSE, node)
        try:
            return Atom(canonical_python(self.written(node)), is_name=False)
        except SyntaxError:
            raise self.error(NO_RESPONSE, node) from None

    def beside(self, node: Node) -> tuple[Atom, Atom | None]:
        """What brms writes beside a response: trials(), cens() and weights(), and sentences for the others."""
        left, right = node.parts
        words = self.words_beside(right)
        for name, remedy in BESIDE_RESPONSE.items():
            if re.search(rf"\b{name}\(", self.written(right)):
                raise self.error(f"{name}() has no place beside the response. {remedy}", right)
        if not words or not words.keys() <= {"trials", "cens", "weights"} or {"trials", "cens"} <= words.keys():
            raise self.error(NO_RESPONSE, node)
        response, weights = self.response(left), None
        for word, function in (("trials", "p"), ("cens", "cens")):
            if word in words:
                if left.kind not in ("name", "expression"):
                    raise self.error(NO_RESPONSE, node)
                text = f"{function}({self.written(left)}, {words[word]})"
                response = Atom(canonical_python(text), is_name=False)
        if "weights" in words:
            weights = self.counted(words["weights"].strip(), right)
        return response, weights

    def counted(self, text: str, node: Node) -> Atom:
        """What stands in the brackets of ``weights()``."""
        if PLAIN_NAME.fullmatch(text) or BACKTICKED.fullmatch(text):
            return Atom(text.strip("`"))
        try:
            is_one = not isinstance(ast.parse(BACKTICKED.sub("_", text), mode="eval").body, ast.Tuple)
        except SyntaxError:
            is_one = False
        if not is_one:
            raise self.error("In weights() beside the response stands one column: y | weights(w).", node)
        return Atom(canonical_python(text), is_name=False)

    def words_beside(self, node: Node) -> dict[str, str]:
        """The words after the bar with what stands in their brackets; none where something else stands there."""
        if node.kind == "group":
            return self.words_beside(node.parts[0])
        if node.kind == "binary" and node.text == "+":
            parts = [self.words_beside(part) for part in node.parts]
            both = parts[0] | parts[1]
            return both if all(parts) and len(both) == len(parts[0]) + len(parts[1]) else {}
        word = re.fullmatch(r"(\w+)\((.+)\)", node.text, re.DOTALL) if node.kind == "expression" else None
        return {} if word is None else {word[1]: word[2]}

    def level(self, text: str, node: Node) -> str:
        """What stands in ``name[level]``, in Python: a number and a quoted text as they are, a word as a text."""
        if WORD.fullmatch(text):
            return repr(text.strip("`"))
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = None
        if not isinstance(value, str | int | float):
            raise self.error("In the brackets stands one level, as in y['yes'], y[yes] or y[1].", node)
        return text

    def error(self, message: str, node: Node) -> FormulaError:
        return complain(self.text, message, node.start, node.stop)

    def written(self, node: Node) -> str:
        return self.text[node.start : node.stop]

    # -- sums

    def sum(self, node: Node) -> _Sum:
        if node.kind == "name":
            return _Sum.of([(Atom(node.text),)])
        if node.kind == "expression":
            return self.expression(node)
        if node.kind == "number":
            return self.number(node)
        if node.kind == "sign":
            operand = self.sum(node.parts[0])
            return operand if node.text == "+" else self.minus(_Sum(), operand, node)
        if node.kind == "group":
            inside = node.parts[0]
            if inside.kind == "binary" and inside.text in ("|", "||"):
                return _Sum(bars=self.bar(inside, node))
            return self.sum(inside)
        if node.kind == "structured":
            return _Sum(bars=self.bar(node.parts[0], node, self.structure(node)))
        return self.binary(node)

    def expression(self, node: Node) -> _Sum:
        if node.text.startswith("offset("):
            call = ast.parse(re.sub("`[^`]+`", "_", node.text), mode="eval").body
            if not isinstance(call, ast.Call) or len(call.args) != 1 or call.keywords:
                raise self.error("offset() takes one expression, as in offset(log(n)).", node)
            return _Sum(offsets=[node.text[len("offset(") : -1]])
        if node.text.startswith("s("):
            return self.smooth(node)
        if node.text.startswith(("gr(", "mm(")):
            raise self.error(f"{node.text[:2]}() stands right of a bar, as in (1 | {node.text}).", node)
        if SUBSCRIPT.fullmatch(node.text):
            raise self.error("name[level] is for a response only. Write I(name == 'level').", node)
        return _Sum.of([(Atom(node.text, is_name=False),)])

    def smooth(self, node: Node) -> _Sum:
        """A smooth, and beside it what its penalty does not reach: a straight line, within levels of ``by``."""
        try:
            smooth = read_smooth(node.text)
        except WordError as problem:
            raise self.error(f"{problem}.", node) from None
        x = Atom(smooth.x, is_name=PLAIN_NAME.fullmatch(smooth.x) is not None or f"s(`{smooth.x}`" in node.text)
        if smooth.basis == "fs":
            return _Sum(bars=_curves_of_levels(smooth, x, node.text))
        lines = [] if smooth.basis == "cc" else [(Atom(smooth.by), x) if smooth.by else (x,)]
        total = _Sum.of(lines)
        total.smooths.append((smooth, node.text))
        return total

    def number(self, node: Node) -> _Sum:
        if node.text in ("0", "1"):
            return _Sum(intercept=node.text == "1")
        raise self.error(
            f"The number {node.text} is no term: only 1 (intercept) and 0 (none) are. "
            f"Arithmetic on columns goes into I(...).",
            node,
        )

    def binary(self, node: Node) -> _Sum:
        operator = node.text
        if operator in COMPARISONS:
            first, last = node.parts  # a sum binds tighter than a comparison, but no one means it here
            while first.kind == "binary" and first.text in ("+", "-"):
                first = first.parts[1]
            while last.kind == "binary" and last.text in ("+", "-"):
                last = last.parts[0]
            meant = self.text[first.start : last.stop]
            raise complain(self.text, f"A comparison is no term. Write I({meant}).", first.start, last.stop)
        if operator in ("|", "||"):
            raise self.error(f"A bar stands in parentheses. Write ({self.written(node)}).", node)
        if operator == "~":
            raise complain(self.text, "A formula has one '~'; this is the second.", node.sign_start)
        if operator in ("&", "&&"):
            raise self.error(f"{operator!r} is no operation on terms. Put conditions into I(...).", node)
        if operator.startswith("%"):
            left, right = (self.written(part) for part in node.parts)
            remedy = f"Write {left}:{right} (what R means by it)." if operator == "%in%" else "Use a call or I(...)."
            raise self.error(f"{operator} is not offered. {remedy}", node)
        if operator == "^":
            return self.power(node)
        if operator in ("+", "-"):
            return self.chain(node)
        return self.interaction(self.sum(node.parts[0]), self.sum(node.parts[1]), node)

    def chain(self, node: Node) -> _Sum:
        """A sum from left to right, however long: without a call inside a call for every term."""
        steps = []
        while node.kind == "binary" and node.text in ("+", "-"):
            node, right = node.parts[0], node
            steps.append((right.text, right.parts[1]))
        total = self.sum(node)
        for operator, term in reversed(steps):
            change = self.sum(term)
            total = self.plus(total, change) if operator == "+" else self.minus(total, change, term)
            self.check_size(len(total.products), 0, frozenset(), term)
        return total

    def interaction(self, left: _Sum, right: _Sum, node: Node) -> _Sum:
        operator, (left_node, right_node) = node.text, node.parts
        self.check_factors(left, left_node, operator)
        self.check_factors(right, right_node, operator)
        a, b = len(left.products), len(right.products)
        longest = sum(map(len, left.products)) if operator == "/" else _longest(left)
        self.check_size(a + b + a * b, longest + _longest(right), _columns(left) | _columns(right), node)
        if operator == "*":
            return _Sum.of([*left.products.values(), *right.products.values(), *_cross(left, right)])
        if operator == "/":
            atoms = tuple(atom for factors in left.products.values() for atom in factors)
            nested = [atoms + factors for factors in right.products.values()]
            return _Sum.of([*left.products.values(), *nested])
        return _Sum.of(_cross(left, right))

    def plus(self, left: _Sum, right: _Sum) -> _Sum:
        return _Sum(
            products={
                **left.products,
                **{key: value for key, value in right.products.items() if key not in left.products},
            },
            intercept=left.intercept if right.intercept is None else right.intercept,
            bars=left.bars + right.bars,
            offsets=left.offsets + right.offsets,
            smooths=left.smooths + right.smooths,
        )

    def minus(self, left: _Sum, right: _Sum, node: Node) -> _Sum:
        for offset in right.offsets:
            if offset not in left.offsets:
                raise self.error(
                    f"There is no offset({offset}) on the left that could be taken away; one given as offset= "
                    "is none of the formula's: make the model anew without it.",
                    node,
                )
        for smooth in right.smooths:
            if smooth not in left.smooths:
                raise self.error(f"There is no {smooth[1]} on the left that could be taken away.", node)
        for bar in right.bars:
            if not any(_same_bar(bar, other) for other in left.bars):
                raise self.error(f"There is no bar {bar.text} on the left that could be taken away.", node)
        absent = [factors for key, factors in right.products.items() if key not in left.products]
        if absent:
            listed = ":".join(str(atom) for atom in absent[0])
            raise self.error(f"There is no term {listed} on the left that could be taken away.", node)
        return _Sum(
            products={key: value for key, value in left.products.items() if key not in right.products},
            intercept=left.intercept if right.intercept is None else not right.intercept,
            bars=[bar for bar in left.bars if not any(_same_bar(bar, other) for other in right.bars)],
            offsets=[offset for offset in left.offsets if offset not in right.offsets],
            smooths=[smooth for smooth in left.smooths if smooth not in right.smooths],
        )

    def power(self, node: Node) -> _Sum:
        base_node, exponent = node.parts
        digits = exponent.text if exponent.kind == "number" else ""
        if not (digits.isdigit() and len(digits) < 10 and int(digits) > 0):
            raise self.error("The exponent of a sum of terms is a whole number: (a + b)^2.", exponent)
        base = self.sum(base_node)
        if len(base.products) < 2:
            source = f"{self.written(base_node)}**{exponent.text}"
            raise self.error(f"In a formula {self.written(node)} means the term itself. Write I({source}).", node)
        self.check_factors(base, base_node, "^")
        factors = list(base.products.values())
        order = min(int(exponent.text), len(factors))
        self.check_size(comb(len(factors) + order - 1, order), order * _longest(base), _columns(base), node)
        chosen = combinations_with_replacement(factors, order)
        ordered = sorted((tuple(dict.fromkeys(sum(c, ()))) for c in chosen), key=len)
        return _Sum.of(ordered)

    def check_size(self, terms: int, factors: int, columns: frozenset[Atom], node: Node) -> None:
        """Refuse to write out more terms, or interactions of more columns, than anyone has data for."""
        if terms > MOST_TERMS:
            raise self.error(f"This is {terms:,} terms written out; at most {MOST_TERMS:,} are read.", node)
        crossed = min(factors, len(columns))  # a product that holds a column twice holds it once
        if crossed > MOST_FACTORS:
            raise self.error(
                f"This crosses {crossed} columns; interactions of at most {MOST_FACTORS} columns are read.", node
            )

    def check_factors(self, total: _Sum, node: Node, operator: str) -> None:
        if total.bars:
            raise self.error(f"A bar cannot be an operand of {operator!r}. Add it with '+'.", node)
        if total.offsets:
            raise self.error(f"An offset cannot be an operand of {operator!r}. Add it with '+'.", node)
        if total.smooths:
            raise self.error(
                f"A smooth cannot be an operand of {operator!r}. Add it with '+'; one for each level of f is "
                "s(x, by=f).",
                node,
            )
        if total.intercept is not None:
            message = f"A number is no operand of {operator!r}: interactions are of columns."
            raise self.error(f"{message} Use I(...) for arithmetic.", node)

    # -- bars

    def structure(self, node: Node) -> Structure:
        """The structure that stands before the parentheses of a bar."""
        kind, inside = STRUCTURES[node.text], node.parts[0]
        if inside.kind != "binary" or inside.text not in ("|", "||"):
            raise self.error(f"In {node.text}() stands one bar, as in {node.text}(0 + f | g).", node)
        if inside.text == "||":
            raise self.error(f"{node.text}() says how the effects vary together, so its bar is |, not ||.", node)
        hom = kind.hom_by_default
        for name, value in node.options:
            flags = {"True": True, "TRUE": True, "T": True, "False": False, "FALSE": False, "F": False}
            if name != "hom" or value not in flags:
                raise self.error(f"{node.text}() takes hom=True or hom=False after its bar, not {name}={value}.", node)
            hom = flags[value]
        if hom and not kind.has_hom:
            raise self.error(
                f"{node.text}() has an sd for every column: there is no hom=True. diag, cs and ar1 have it.", node
            )
        return kind(hom=hom)

    def bar(self, node: Node, whole: Node, structure: Structure = UNSTRUCTURED) -> list[Bar]:
        left_node, group_node = node.parts
        if left_node.kind == "binary" and left_node.text in ("|", "||"):
            raise complain(
                self.text,
                "There are two bars in one pair of parentheses. Write (x | g): a name between them, by which brms "
                "joins effects of several formulas, is not offered.",
                node.sign_start,
            )
        left = self.sum(left_node)
        if left.bars or left.offsets:
            raise self.error("The left side of a bar holds columns: no bars, no offset.", left_node)
        if left.smooths:
            raise self.error("Curves of the levels of g are s(x, g, bs='fs'), without a bar.", left_node)
        terms = left.terms()
        if not len(terms):
            raise self.error("There is no column left of this bar. Write 1 for an intercept.", left_node)
        parts = _separate(terms) if node.text == "||" else [terms]
        text = self.written(whole)
        word = self.word(group_node)
        if word is not None:
            if not structure.is_free:
                raise self.error(
                    f"{structure.name}() is for levels that are independent; effects of levels that are related, or "
                    "of several memberships, have us bars: write the bar without it.",
                    whole,
                )
            group = (word.column,) if isinstance(word, Related) else word.columns
            return [Bar(terms=part, group=group, text=text, word=word) for part in parts]
        return [
            Bar(terms=part, group=names, text=text, structure=structure)
            for names in self.grouping(group_node)
            for part in parts
        ]

    def word(self, node: Node) -> Related | Membership | None:
        """``gr(...)`` or ``mm(...)`` right of a bar."""
        while node.kind == "group":
            node = node.parts[0]
        if node.kind != "expression" or not node.text.startswith(("gr(", "mm(")):
            return None
        try:
            return read_related(node.text) if node.text.startswith("gr(") else read_membership(node.text)
        except WordError as problem:
            raise self.error(f"{problem}.", node) from None

    def grouping(self, node: Node) -> list[tuple[str, ...]]:
        total = self.sum(node)
        if total.bars or total.offsets or total.intercept is not None or not total.products:
            raise self.error("The right side of a bar names grouping columns: g, a:b or a/b.", node)
        return [
            tuple(dict.fromkeys(self.group_column(atom, node) for atom in factors))
            for factors in total.products.values()
        ]

    def group_column(self, atom: Atom, node: Node) -> str:
        if atom.is_name:
            return atom.text
        if atom.text.startswith(("gr(", "mm(")):
            raise self.error(f"{atom.text[:2]}() stands alone right of its bar: (1 | {atom.text}).", node)
        bare = BARE_FACTOR.fullmatch(atom.text)
        if bare is None:
            raise self.error(
                f"A grouping factor is a column, not an expression such as {atom.text}. "
                "Make it a column of the data first.",
                node,
            )
        return bare.group(1) or bare.group(2)


def _curves_of_levels(smooth: Smooth, x: Atom, text: str) -> list[Bar]:
    """``s(x, g, bs="fs")`` as bars: what is bent, the line and the constant of every level, with an sd each.

    As mgcv's factor smooths: the penalty of the bent part is that of a thin plate spline, and each of what it leaves
    alone has a penalty of its own.
    """
    bent, line = (Atom(part, is_name=False) for part in (f"fs_curves({x}, {smooth.k})", f"center({x})"))
    parts = (
        (Terms(intercept=False, products=((bent,),)), STRUCTURES["diag"](hom=True)),
        (Terms(intercept=False, products=((line,),)), UNSTRUCTURED),
        (Terms(intercept=True, products=()), UNSTRUCTURED),
    )
    return [Bar(terms=terms, group=(smooth.group,), text=text, structure=structure) for terms, structure in parts]


def _longest(total: _Sum) -> int:
    return max(map(len, total.products), default=0)


def _columns(total: _Sum) -> frozenset[Atom]:
    return frozenset().union(*total.products)


def _cross(left: _Sum, right: _Sum) -> list[tuple[Atom, ...]]:
    return [a + b for a, b in product(left.products.values(), right.products.values())]


def _separate(terms: Terms) -> list[Terms]:
    """One sum per term: what ``||`` means."""
    first = [Terms(intercept=True, products=())] if terms.intercept else []
    return first + [Terms(intercept=False, products=(factors,)) for factors in terms.products]
