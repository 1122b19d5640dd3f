"""Text of a formula → tree, with the place of every token kept for error messages.

R's precedence, loosest first: ``~``, ``|`` and ``||``, comparison, ``+ -``, ``* /``, ``%op%``, ``:``, sign,
``^``. A call such as ``log(x)``, ``{x + 1}`` or ``y['yes']`` is one leaf: what it holds is an expression in
Python, not a formula.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ..covariances import STRUCTURES
from ..errors import FormulaError
from .remedies import AROUND_FORMULA, DOTTED

BINDING = {
    "~": 1,
    **dict.fromkeys(("|", "||"), 2),
    **dict.fromkeys(("&", "&&"), 3),
    **dict.fromkeys(("<", ">", "<=", ">=", "==", "!="), 5),
    **dict.fromkeys(("+", "-"), 6),
    **dict.fromkeys(("*", "/"), 7),
    "%": 8,
    ":": 9,
    **dict.fromkeys(("^", "**"), 11),
}
SIGN = 10
BINARY = frozenset("+ - * / // ** ^ % %% %/% & | < > <= >= == !=".split())
COMPARISONS = frozenset({"<", ">", "<=", ">=", "==", "!="})
CLOSING = {"(": ")", "[": "]", "{": "}"}
CONTRASTS = {"contr.helmert": "Helmert", "contr.poly": "Poly", "contr.sum": "Sum", "contr.treatment": "Treatment"}
RENAMED = {"factor": "C", "as.factor": "C", "relevel": "T", **CONTRASTS}  # where they are called
OPERATORS = {"^": "**", "%%": "%", "%/%": "//", "!": " not "}
LITERALS = {"TRUE": "True", "FALSE": "False", "NULL": "None", **CONTRASTS}
VALUES = frozenset({"None", "True", "False"})
SPOKEN = frozenset("and else for if in is lambda not or".split())  # in expressions of Python

MOST_LETTERS = 100_000
LONGEST_LINE = 120  # of a formula that an error shows
DEEPEST = 50  # brackets in brackets
LONGEST_LEAF = 2_000  # tokens of one Python expression

_ONLY = "There are us, diag, cs and ar1"
_BY_TIME = "Correlations that fade with time are those of residuals, Model(formula, data, residual='car1(time | g)')"
_IN_SPACE = "Correlations that fade with distance are not offered; s(x) bends a line"
_TOEPLITZ = "us(0 + f | g) leaves every covariance free, and cs and ar1 have one correlation"
OTHER_STRUCTURES = {  # words of glmmTMB and nlme
    "homdiag": "Write diag(x | g, hom=True).",
    "homcs": "Write cs(x | g, hom=True).",
    "hetar1": "Write ar1(x | g, hom=False).",
    **dict.fromkeys(("toep", "homtoep", "hettoep"), f"{_ONLY}. {_TOEPLITZ}."),
    **dict.fromkeys(("ou", "exp"), f"{_ONLY}. {_BY_TIME}."),
    **dict.fromkeys(("mat", "gau"), f"{_ONLY}. {_IN_SPACE}."),
    "rr": f"{_ONLY}. Effects of reduced rank are not offered; (x || g) leaves their correlations out.",
    "pdDiag": "Write diag(x | g).",
    "pdSymm": "Write us(x | g).",
    "pdIdent": "Write diag(x | g, hom=True).",
    "pdCompSymm": "Write cs(x | g, hom=True).",
}

TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*(?:\.\w+)*)
      | (?P<quoted>`[^`]+`)
      | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<percent>%(?:[A-Za-z.]*|[/*])%)
      | (?P<operator>\*\*|\|\||&&|<=|>=|==|!=|//|[-~|&<>+*/:^()\[\]{},.=!@%])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of the formula's text, with where it stands."""

    kind: str
    text: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A tree.

    ``kind`` is ``name``, ``expression``, ``number``, ``group`` (parentheses), ``structured`` (a word before
    parentheses that hold a bar), ``sign`` or ``binary``; ``text`` is the name, the canonical Python text, the digits,
    the word or the operator. ``options`` are what follows a bar, as in ``cs(x | g, hom=True)``.
    """

    kind: str
    text: str
    start: int
    stop: int
    parts: tuple[Node, ...] = ()
    sign_start: int = -1
    options: tuple[tuple[str, str], ...] = ()


def complain(text: str, message: str, start: int, stop: int | None = None) -> FormulaError:
    """A FormulaError whose last two lines show the formula, or the part around the token, and point at the token."""
    line = text.replace("\n", " ").replace("\t", " ")
    width = max(1, (stop or start + 1) - start)
    if len(line) > LONGEST_LINE:
        first = max(0, min(start - LONGEST_LINE // 3, len(line) - LONGEST_LINE))
        last = first + LONGEST_LINE
        line = f"{'… ' * (first > 0)}{line[first:last]}{' …' * (last < len(line))}"
        start, width = start - first + 2 * (first > 0), min(width, last - start)
    return FormulaError(f"{message}\n    {line}\n    {' ' * start}{'^' * width}")


def tokenize(text: str) -> list[Token]:
    """Cut the text into tokens, ending with one of kind ``end``."""
    tokens, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise complain(text, _unreadable(text[position]), position)
        kind = str(match.lastgroup)
        if kind != "space":
            tokens.append(Token(kind=kind, text=match.group(), start=position, stop=match.end()))
        position = match.end()
    tokens.append(Token(kind="end", text="", start=len(text), stop=len(text)))
    return tokens


def _unreadable(character: str) -> str:
    if character == "`":
        return "A backtick is opened here and never closed."
    if character in "'\"":
        return "A quoted text is opened here and never closed."
    return f"The character {character!r} has no meaning in a formula."


class Parser:
    """A Pratt parser over one formula; ``parse`` gives the tree."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MOST_LETTERS:
            raise FormulaError(f"The formula has {len(text):,} letters; at most {MOST_LETTERS:,} are read.")
        self.tokens = tokenize(text)
        self.position = 0
        self._check_brackets()

    def parse(self) -> Node:
        node = self._expression(0)
        token = self._peek()
        if token.kind != "end":
            raise self._error(*_between(token))
        return node

    def _peek(self) -> Token:
        return self.tokens[self.position]

    def _next(self) -> Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def _error(self, message: str, token: Token) -> FormulaError:
        return complain(self.text, message, token.start, token.stop)

    def _check_brackets(self) -> None:
        opened: list[Token] = []
        for token in self.tokens:
            if token.text in CLOSING:
                opened.append(token)
                if len(opened) > DEEPEST:
                    raise self._error(f"Brackets are nested more than {DEEPEST} deep.", token)
            elif token.text in CLOSING.values():
                if not opened or CLOSING[opened[-1].text] != token.text:
                    raise self._error(f"Unbalanced: this {token.text!r} closes nothing.", token)
                opened.pop()
        if opened:
            bracket = opened[-1].text
            raise self._error(f"Unbalanced: this {bracket!r} is never closed. Add {CLOSING[bracket]!r}.", opened[-1])

    def _expression(self, floor: int) -> Node:
        left = self._prefix()
        while True:
            token = self._peek()
            power = BINDING.get("%" if token.kind == "percent" else token.text, 0)
            if power <= floor:
                return left
            if token.text == "%":
                raise self._error("The character '%' has no meaning in a formula.", token)
            self._next()
            right = self._expression(power - 1 if token.text in ("^", "**") else power)
            left = Node(
                kind="binary",
                text="^" if token.text == "**" else token.text,
                start=left.start,
                stop=right.stop,
                parts=(left, right),
                sign_start=token.start,
            )

    def _prefix(self) -> Node:
        token = self._next()
        if token.text in ("+", "-"):
            operand = self._expression(SIGN - 1)
            return Node(
                kind="sign",
                text=token.text,
                start=token.start,
                stop=operand.stop,
                parts=(operand,),
                sign_start=token.start,
            )
        if token.text == "(":
            return self._group(token)
        if token.text == "{":
            self._skip_to_close("{")
            inside = self.text[token.stop : self._last().start]
            return self._leaf(token, f"I({inside})")
        if token.kind == "number":
            return Node(kind="number", text=token.text, start=token.start, stop=token.stop)
        if token.kind in ("name", "quoted"):
            return self._named(token)
        raise self._missing(token)

    def _group(self, token: Token) -> Node:
        if self._peek().text == ")":
            raise self._error("There is nothing between these parentheses.", token)
        inside = self._expression(0)
        closing = self._next()
        if closing.text != ")":
            raise self._error(*_between(closing))
        return Node(kind="group", text="()", start=token.start, stop=closing.stop, parts=(inside,))

    def _named(self, token: Token) -> Node:
        bracket = self._peek()
        if bracket.text not in ("(", "["):
            name = token.text.strip("`")
            return Node(kind="name", text=name, start=token.start, stop=token.stop)
        if token.text in STRUCTURES or token.text in OTHER_STRUCTURES:
            if self._holds_bar():
                return self._structured(token)
        self._next()
        self._skip_to_close(bracket.text)
        return self._leaf(token, self.text[token.start : self._last().stop])

    def _holds_bar(self) -> bool:
        """Whether the parentheses that come next hold a bar that is in no others."""
        depth = 0
        for token in self.tokens[self.position :]:
            depth += (token.text in CLOSING) - (token.text in CLOSING.values())
            if depth == 0:
                return False
            if depth == 1 and token.text in ("|", "||"):
                return True
        return False

    def _structured(self, token: Token) -> Node:
        """``word(left | group, option=value)``."""
        if token.text in OTHER_STRUCTURES:
            raise self._error(f"{token.text}() is no structure here. {OTHER_STRUCTURES[token.text]}", token)
        self._next()
        inside, options = self._expression(0), []
        while self._peek().text == ",":
            self._next()
            name, equals, value = self._next(), self._next(), self._next()
            if name.kind != "name" or equals.text != "=" or value.kind != "name":
                raise self._error(f"After the bar of {token.text}() stands hom=True or hom=False.", name)
            options.append((name.text, value.text))
        closing = self._next()
        if closing.text != ")":
            raise self._error(*_between(closing))
        return Node(
            kind="structured",
            text=token.text,
            start=token.start,
            stop=closing.stop,
            parts=(inside,),
            options=tuple(options),
        )

    def _last(self) -> Token:
        return self.tokens[self.position - 1]

    def _skip_to_close(self, opening: str) -> None:
        depth = 1
        while depth:
            text = self._next().text
            depth += (text == opening) - (text == CLOSING[opening])

    def _leaf(self, token: Token, source: str) -> Node:
        stop = self._last().stop
        try:
            canonical = canonical_python(source)
        except SyntaxError as problem:
            call = source.partition("(")[0]
            if call in AROUND_FORMULA:
                raise complain(self.text, f"{call}() {AROUND_FORMULA[call]}", token.start, stop) from None
            raise complain(
                self.text, f"What stands here cannot be read as a Python expression ({problem.msg}).", token.start, stop
            ) from None
        return Node(kind="expression", text=canonical, start=token.start, stop=stop)

    def _missing(self, token: Token) -> FormulaError:
        if token.text == ".":
            return self._error("'.' (all other columns) is not offered: name the columns.", token)
        if token.kind == "string":
            return self._error("A quoted text is no term. Quote a column's name with backticks.", token)
        if token.text == "[":
            return self._error("Random effects stand in round parentheses: (1 | g).", token)
        if token.text == ":":
            return self._error("'::' has no meaning here: leave the name of R's package out.", token)
        if token.text == "!":
            return self._error("'!' has no meaning here. Write I(...) around a condition.", token)
        before = self.tokens[self.position - 2] if self.position > 1 else None
        if token.text == "|" or (before is not None and before.text in ("|", "||")):
            return self._bar_side(token, before)
        if token.text == "~":
            return self._error("The left side of '~' is empty: name the response, as in y ~ x.", token)
        if token.kind == "end" and before is None:
            return self._error("The formula is empty. Write for example y ~ x + (x | g).", token)
        if before is not None and before.text == "~":
            return self._error("The right side of '~' is empty. Write 1 for an intercept alone.", before)
        if before is not None and before.kind in ("operator", "percent"):
            return self._error(f"A term is missing after {before.text!r}.", before)
        return self._error(f"A term is expected here, not {token.text!r}.", token)

    def _bar_side(self, token: Token, before: Token | None) -> FormulaError:
        if before is not None and before.text in ("|", "||"):
            return self._error("The bar has no grouping factor. Name it on the right, as in (1 | school).", before)
        return self._error("The left side of the bar is empty. Write 1 for an intercept: (1 | g).", token)


def _between(token: Token) -> tuple[str, Token]:
    if token.text == "=":
        return "'=' has no meaning in a formula. Write '~' between response and predictors.", token
    if token.text == ".":
        return "'.' (all other columns) is not offered: name the columns.", token
    if token.text == "[":
        return "Square brackets go after a plain column name only, as in y['yes'].", token
    if token.text == ",":
        return "',' has no meaning here: a formula is one text, and random effects are bars in it, (1 | g).", token
    if token.kind == "operator":
        return f"{token.text!r} has no meaning here.", token
    return f"An operator such as '+' is missing before {token.text!r}.", token


Change = Callable[[ast.Expression], ast.Expression]


def canonical_python(source: str, change: Change | None = None) -> str:
    """One spelling for one expression: R's words in Python's, spaces as `ast.unparse` sets them.

    Column names in backticks survive as they are; names that are words of Python get them. ``change`` may rewrite the
    tree.
    """
    pieces: list[str] = []
    quoted: dict[str, str] = {}
    tokens = _python_tokens(source)
    for k, token in enumerate(tokens):
        text = token.text
        called = k + 1 < len(tokens) and tokens[k + 1].text == "("
        if token.kind == "name" and called and text in DOTTED:
            raise SyntaxError(f"{text}() is R's. {DOTTED[text]}".rstrip("."))
        if stands_in(token) or (token.kind == "name" and not called and _is_word_of_python(tokens, k)):
            stand_in = stand_in_for(quoted, source)
            lookalike = token.kind == "name" and stands_in(token)  # its letters tell it from Python's
            quoted[stand_in], text = text if lookalike else f"`{text.strip('`')}`", stand_in
        elif token.kind == "name":
            text = RENAMED.get(text, text) if called else LITERALS.get(text, text)
        elif token.text in OPERATORS:
            text = OPERATORS[token.text]
        elif token.kind == "percent":
            raise SyntaxError(_of_percent(text))
        pieces.append(text)
    if len(pieces) > LONGEST_LEAF:
        raise SyntaxError(f"{len(pieces):,} words and signs, at most {LONGEST_LEAF:,} are read")
    try:
        tree = _Vectors().visit(ast.parse(" ".join(pieces).strip(), mode="eval"))
        canonical = ast.unparse(tree if change is None else change(tree))
    except (MemoryError, RecursionError, ValueError):  # ValueError: a number of thousands of digits
        raise SyntaxError("too long or too deeply nested") from None
    for stand_in, text in quoted.items():
        canonical = canonical.replace(stand_in, text)
    return canonical


class _Vectors(ast.NodeTransformer):
    """R's ``c(1, 2)`` as a list."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "c" and node.args and not node.keywords:
            return ast.List(elts=node.args, ctx=ast.Load())
        return node


def _of_percent(operator: str) -> str:
    if operator == "%in%":
        return "%in% is R's. Write np.isin(x, ['a', 'b'])"
    return f"{operator} is no operator of Python"


def _is_word_of_python(tokens: Sequence[Token], k: int) -> bool:
    """Whether a name has to be a column's although Python reads a word of its own, or no name, in its place."""
    text = tokens[k].text
    if "." in text:
        return any(keyword.iskeyword(part) or not part.isidentifier() for part in text.split("."))
    if not keyword.iskeyword(text) or text in VALUES:
        return False
    if text not in SPOKEN:
        return True
    before = tokens[k - 1].text if k else "("
    after = tokens[k + 1].text if k + 1 < len(tokens) else ")"
    operand = before in CLOSING or before in BINARY or before in (",", "=", "!")
    unsigned = BINARY - {"+", "-"} if text == "not" else BINARY
    return operand and (after in CLOSING.values() or after in unsigned or after == ",")


def stands_in(token: Token) -> bool:
    """Whether Python would not read this name as it stands: one in backticks, or letters that it takes for others."""
    lookalike = token.kind == "name" and unicodedata.normalize("NFKC", token.text) != token.text
    return token.kind == "quoted" or lookalike


def stand_in_for(taken: Collection[str], source: str) -> str:
    """A name for the next column that Python cannot read, which does not occur in the source."""
    mark = "_"
    while f"quoted_name_{len(taken)}{mark}" in source:
        mark += "_"
    return f"quoted_name_{len(taken)}{mark}"


def _python_tokens(source: str) -> list[Token]:
    try:
        return tokenize(source)[:-1]
    except FormulaError as problem:
        raise SyntaxError(str(problem).splitlines()[0].rstrip(".")) from None
