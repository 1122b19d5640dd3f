"""Statements about named numbers, such as ``"Days > 10"`` and ``"Diet[2] = Diet[3] = 0"``.

Names are those of the tables, so they may hold brackets, colons and spaces; the longest name that fits is read. Between
them stand numbers, + - * / ** and brackets, and the functions exp, log, sqrt and abs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from ..errors import InputError
from ..tools.arrays import Array

FUNCTIONS = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs}
RELATIONS = re.compile(r"(<=|>=|==|=|<|>|≤|≥)")
PLAIN = {"==": "=", "≤": "<=", "≥": ">="}
SPREAD = re.compile(r"\b(sd|cor|icc|var|ranef|coef)\([^()]*\)")  # what looks like one, when all names are marks
WORD = re.compile(r"[^\W\d]\w*")
LONGEST = 1000  # letters of a statement
LARGEST = 1e300  # of the numbers in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """left relation right, of expressions in names.

    Attributes
    ----------
    text : str
    left, right : ast.expr
    relation : {"=", "<", "<=", ">", ">="}
    names : tuple of str
        The names that stand in it, in the order of their placeholders ``_0``, ``_1``, ...
    """

    text: str
    left: ast.expr
    right: ast.expr
    relation: str
    names: tuple[str, ...]

    def difference(self, values: Sequence[Any]) -> Any:
        """left − right at values of the names, numbers or arrays."""
        bindings = {f"_{k}": value for k, value in enumerate(values)}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _value(self.left, bindings) - _value(self.right, bindings)


def parse(text: Any, names: Sequence[str], verb: str) -> list[Statement]:
    """Statements of a text, which chains of relations and commas separate; or of a sequence of texts.

    Raises
    ------
    InputError
        No relation, a name that is not there, or what is no arithmetic.
    """
    texts = [text] if isinstance(text, str) else list(text) if isinstance(text, Sequence) else [text]
    if not texts or not all(isinstance(each, str) for each in texts):
        raise InputError(f"{verb}({text!r}): statements are texts such as 'x > 0' or 'a = b = 0'")
    statements = []
    for each in texts:
        if len(each) > LONGEST:
            raise InputError(f"{verb}: a statement of {len(each):,} letters; the limit is {LONGEST:,}")
        for part in _parts(each, names):
            statements += _chain(part, names, verb)
    return statements


def _parts(text: str, names: Sequence[str]) -> list[str]:
    """A text at its commas, but for those inside names."""
    marked = _marked(text, names)
    ordered = sorted(names, key=len, reverse=True)
    pieces, depth = [""], 0
    for sign in marked:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    return [_shown(piece, ordered) for piece in pieces]


def _marked(text: str, names: Sequence[str]) -> str:
    """The text with every name as a mark, longest names first; a name ends where its word ends."""
    ordered = sorted(names, key=len, reverse=True)
    out, position = [], 0
    while position < len(text):
        for k, name in enumerate(ordered):
            length = _length_of(name, text, position)
            if length and _is_whole(text, position, name, length):
                out.append(f"\x00{k}\x00")
                position += length
                break
        else:
            if text[position] == "`" and "`" in text[position + 1 :]:
                end = text.index("`", position + 1)
                quoted = text[position + 1 : end]
                if quoted in ordered:
                    out.append(f"\x00{ordered.index(quoted)}\x00")
                    position = end + 1
                    continue
            word = WORD.match(text, position)
            out.append(word[0] if word else text[position])
            position += len(word[0]) if word else 1
    return "".join(out)


def _length_of(name: str, text: str, position: int) -> int:
    """How many letters of a text a name takes at a place, with any spaces beside its signs; none if it is not there."""
    if text.startswith(name, position):
        return len(name)
    if " " not in name:
        return 0
    match = _with_free_spaces(name).match(text, position)
    return len(match[0]) if match else 0


@cache
def _with_free_spaces(name: str) -> re.Pattern[str]:
    words = name.split(" ")
    pattern = re.escape(words[0])
    for before, after in pairwise(words):
        inside = re.match(r"\w", before[-1:]) and re.match(r"\w", after[:1])
        pattern += (r"\s+" if inside else r"\s*") + re.escape(after)
    return re.compile(pattern)


def _is_whole(text: str, position: int, name: str, length: int) -> bool:
    before, after = text[position - 1 : position], text[position + length : position + length + 1]
    return not (name[:1].isidentifier() and before.isidentifier()) and not (
        re.match(r"\w", name[-1:]) and re.match(r"\w", after)
    )


def _chain(text: str, names: Sequence[str], verb: str) -> list[Statement]:
    marked = _marked(text, names)
    pieces = RELATIONS.split(marked)
    if len(pieces) < 3:
        example = text.strip() or next(iter(names), "x")
        raise InputError(f"{verb}({text.strip()!r}): a statement holds =, <, <=, > or >=, such as '{example} = 0'")
    ordered = sorted(names, key=len, reverse=True)
    statements = []
    for k in range(0, len(pieces) - 2, 2):
        left, relation, right = pieces[k : k + 3]
        used: list[str] = []
        sides = [_expression(side, ordered, used, text, verb, names) for side in (left, right)]
        statements.append(
            Statement(
                text=f"{_shown(left, ordered)} {PLAIN.get(relation, relation)} {_shown(right, ordered)}",
                left=sides[0],
                right=sides[1],
                relation=PLAIN.get(relation, relation),
                names=tuple(used),
            )
        )
    return statements


def _shown(marked: str, ordered: Sequence[str]) -> str:
    return re.sub("\x00(\\d+)\x00", lambda m: ordered[int(m[1])], marked).strip()


def _expression(
    marked: str, ordered: Sequence[str], used: list[str], text: str, verb: str, names: Sequence[str]
) -> ast.expr:
    def place(match: re.Match[str]) -> str:
        name = ordered[int(match[1])]
        if name not in used:
            used.append(name)
        return f"_{used.index(name)}"

    source = re.sub("\x00(\\d+)\x00", place, marked).strip().replace("^", "**")
    other = SPREAD.search(re.sub(r"\b_(\d+)(?=\()", lambda m: used[int(m[1])], source))  # icc is a name as well
    if other is not None:
        whole = re.sub(r"\b_(\d+)\b", lambda m: used[int(m[1])], other[0])
        _refuse_other_spread(other[1], whole, text, verb, names)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{verb}({text.strip()!r}): {_shown(marked, ordered)!r} is no arithmetic") from None
    _check(tree, text, verb, names)
    return tree


def _refuse_other_spread(kind: str, shown: str, text: str, verb: str, names: Sequence[str]) -> None:
    """Raise InputError for what looks like an sd, a correlation or an ICC that is not there."""
    if not any(SPREAD.match(name) for name in names):
        if verb == "hypothesis":  # of a model without groups
            return
        raise InputError(
            f"{verb}({text.strip()!r}): no {shown!r} here, it is about fixed effects: {', '.join(names)}. Of sds, "
            "correlations and levels model.fit().hypothesis(...) tells probabilities"
        )
    if kind == "var":
        remedy = f"variances are squares of sds, such as {_nearest('sd' + shown[3:], names)} ** 2."
    else:
        remedy = f"did you mean {_nearest(shown, names)}?"
    raise InputError(f"{verb}({text.strip()!r}): no {shown!r} here; {remedy} There are {', '.join(names)}")


def _nearest(name: str, names: Sequence[str]) -> str:
    spreads = [n for n in names if "(" in n and n.split("(")[0] == name.split("(")[0]] or list(names)
    return repr(next(iter(get_close_matches(name, spreads, n=1, cutoff=0.0)), spreads[0]))


def _check(node: ast.expr, text: str, verb: str, names: Sequence[str]) -> None:
    match node:
        case ast.Constant(value=bool()) | ast.Constant(value=str()):
            pass
        case ast.Constant(value=int() | float() as value) if abs(value) < LARGEST:
            return
        case ast.Name(id=name) if re.fullmatch(r"_\d+", name):
            return
        case ast.Name(id=name):
            _refuse_name(name, text, verb, names)
        case ast.Subscript(value=ast.Name(id=name)):
            shown = ast.unparse(node)
            if not re.search(r"\b_\d+\b", shown):  # the brackets are no levels, but arithmetic of names
                _refuse_name(shown, text, verb, names)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow(), right=right):
            _check(left, text, verb, names)
            _check(right, text, verb, names)
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, text, verb, names)
            return
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            _check(argument, text, verb, names)
            return
    raise InputError(
        f"{verb}({text.strip()!r}): a statement holds names, numbers, + - * / ** ( ) and {', '.join(FUNCTIONS)}; "
        f"names here are {', '.join(names)}"
    )


def _refuse_name(name: str, text: str, verb: str, names: Sequence[str]) -> NoReturn:
    by_small_letters = {str(each).lower(): str(each) for each in names}
    near = [by_small_letters[each] for each in get_close_matches(name.lower(), by_small_letters, n=3, cutoff=0.4)]
    hint = f"; did you mean {', '.join(map(repr, near))}?" if near else "."
    raise InputError(f"{verb}({text.strip()!r}): no {name!r} here{hint} There are {', '.join(names)}")


def _value(node: ast.expr, bindings: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return float(value)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return bindings[name]
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left, bindings), _value(right, bindings)
            operations = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
            return operations.get(type(op), np.power)(a, b)
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, bindings)
            return -value if isinstance(op, ast.USub) else value
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](_value(argument, bindings))
    raise AssertionError(f"unchecked {ast.dump(node)}")


def linear(statements: Sequence[Statement], names: Sequence[str], verb: str) -> tuple[Array, Array]:
    """L (k, p) and r (k,) of equations Lβ = r.

    Raises
    ------
    InputError
        An inequality, what is not linear in the names, or equations that contradict each other.
    """
    p = len(names)
    L, r = np.zeros((len(statements), p)), np.zeros(len(statements))
    for k, statement in enumerate(statements):
        if statement.relation != "=":
            raise InputError(
                f"{verb}({statement.text!r}): a test is of equations; a posterior tells P({statement.text})"
            )
        zero, places = np.zeros(p), [list(names).index(name) for name in statement.names]

        def at(beta: Array, statement: Statement = statement, places: list[int] = places) -> float:
            return float(statement.difference([beta[place] for place in places]))

        origin = at(zero)
        for place in places:
            L[k, place] = at(np.eye(p)[place]) - origin
        probe = np.linspace(0.7, 2.3, p) + 1.0 / np.pi
        beyond = [abs(at(beta) - origin - L[k] @ beta) for beta in (probe, -probe)]  # both signs: |x| is no sum
        if not np.isfinite(origin) or not max(beyond) <= 1e-8 * (1.0 + np.abs(L[k]).sum()):
            raise InputError(f"{verb}({statement.text!r}): tests are of sums of coefficients times numbers")
        if not L[k].any():
            raise InputError(f"{verb}({statement.text!r}): no coefficient stands in it")
        r[k] = -origin
    at_best = np.linalg.lstsq(L, r, rcond=None)[0]
    if np.abs(L @ at_best - r).max() > 1e-8 * (np.abs(r).max() + np.abs(L).max() * np.abs(at_best).max(initial=0.0)):
        listed = ", ".join(statement.text for statement in statements)
        raise InputError(f"{verb}({listed!r}): no coefficients fulfil these equations together")
    return L, r
