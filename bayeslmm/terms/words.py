"""``gr(...)``, ``mm(...)`` and ``s(...)`` as they are written in a formula, read without touching data."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

BASES = ("tp", "cr", "ps", "cc", "fs")
DEFAULT_K = {"tp": 10, "cr": 10, "ps": 10, "cc": 10, "fs": 10}  # mgcv's
QUOTED = re.compile(r"`([^`]+)`")


class WordError(Exception):
    """What is wrong with one of these calls, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """``gr(column, cov=A)`` or ``prec=``: levels related by a known matrix; ``matrix`` is its name."""

    column: str
    matrix: str
    is_precision: bool

    @property
    def name(self) -> str:
        """What the term is called."""
        return f"gr({self.column})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """``mm(a, b, weights=[w1, w2], scale=True)``: a row belongs to the levels in several columns, with weights."""

    columns: tuple[str, ...]
    weights: tuple[str, ...]
    scale: bool

    @property
    def name(self) -> str:
        """What the term is called."""
        return f"mm({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Smooth:
    """``s(x, k=10, bs="tp", by=f)`` or ``s(x, g, bs="fs")``.

    Attributes
    ----------
    x : str
        A column or an expression, in Python.
    group : str
        The factor of a factor smooth; empty for others.
    by : str
        The column that the smooth varies with; empty for none.
    """

    x: str
    group: str
    by: str
    k: int
    basis: str

    @property
    def name(self) -> str:
        """mgcv's label, before a level of ``by``."""
        return f"s({self.x}, {self.group})" if self.group else f"s({self.x})"


@dataclass(frozen=True, slots=True)
class _Call:
    """A call with column names, quoted or not, made readable for Python."""

    tree: ast.Call
    names: dict[str, str]

    @classmethod
    def of(cls, text: str) -> _Call:
        names: dict[str, str] = {}

        def stand_in(match: re.Match[str]) -> str:
            names[f"quoted_{len(names)}_"] = match[1]
            return f"quoted_{len(names) - 1}_"

        tree = ast.parse(QUOTED.sub(stand_in, text), mode="eval").body
        assert isinstance(tree, ast.Call)
        return cls(tree, names)

    def column(self, node: ast.expr, where: str) -> str:
        """The name of a column."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return ast.unparse(node)
        raise WordError(f"{where} is the name of a column, not {self.written(node)}")

    def written(self, node: ast.AST) -> str:
        """A part of the call as the user wrote it."""
        text = ast.unparse(node)
        for stand_in, name in self.names.items():
            text = text.replace(stand_in, f"`{name}`")
        return text

    def options(self, word: str, allowed: tuple[str, ...]) -> dict[str, ast.expr]:
        """Arguments by keyword."""
        options = {}
        for keyword in self.tree.keywords:
            if keyword.arg not in allowed:
                raise WordError(f"{word} has no argument {keyword.arg}=; it has {', '.join(a + '=' for a in allowed)}")
            options[keyword.arg] = keyword.value
        return options


def _constant(node: ast.expr, kind: type, message: str) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) is kind:
        return node.value
    raise WordError(message)


def read_related(text: str) -> Related:
    """``gr(animal, cov=A)``."""
    call = _Call.of(text)
    options = call.options("gr()", ("cov", "prec"))
    if len(call.tree.args) != 1 or len(options) != 1:
        raise WordError(
            "gr() takes one column and one matrix, cov= or prec=, as in (1 | gr(animal, cov=A)) with "
            "Model(..., matrices={'A': A})"
        )
    ((word, matrix),) = options.items()
    return Related(
        column=call.column(call.tree.args[0], "The first argument of gr()"),
        matrix=call.column(matrix, f"{word}= is the name of a matrix of Model(..., matrices={{...}}); it"),
        is_precision=word == "prec",
    )


def read_membership(text: str) -> Membership:
    """``mm(t1, t2, weights=[w1, w2])``."""
    call = _Call.of(text)
    options = call.options("mm()", ("weights", "scale"))
    columns = tuple(call.column(node, "An argument of mm()") for node in call.tree.args)
    if len(columns) < 2:
        raise WordError("mm() takes two columns or more, as in (1 | mm(teacher1, teacher2))")
    if len(set(columns)) < len(columns):
        raise WordError("mm() names a column twice")
    weights: tuple[str, ...] = ()
    if "weights" in options:
        weight_list = options["weights"]
        if not isinstance(weight_list, ast.List | ast.Tuple) or len(weight_list.elts) != len(columns):
            raise WordError(f"weights= of mm() is a list of {len(columns)} columns, one for each of its own")
        weights = tuple(call.column(node, "A weight of mm()") for node in weight_list.elts)
    scale = True
    if "scale" in options:
        scale = _constant(options["scale"], bool, "scale= of mm() is True or False")
    return Membership(columns=columns, weights=weights, scale=scale)


def read_smooth(text: str) -> Smooth:
    """``s(x, k=20, bs="cr", by=f)``."""
    call = _Call.of(text)
    options = call.options("s()", ("k", "bs", "by"))
    basis = _constant(options["bs"], str, "bs= of s() is a text") if "bs" in options else "tp"
    if basis not in BASES:
        bar = ". Random effects are a bar, as in (1 | g) or (x | g)" if basis == "re" else ""
        raise WordError(f"bs={basis!r} is not offered; the bases are {', '.join(map(repr, BASES))}{bar}")
    k = _constant(options["k"], int, "k= of s() is a whole number") if "k" in options else DEFAULT_K[basis]
    least = {"tp": 3, "cr": 3, "ps": 4, "cc": 4, "fs": 3}[basis]
    if not least <= k <= 500:
        raise WordError(f"k={k}: the basis {basis!r} has between {least} and 500 functions")
    n_arguments = 2 if basis == "fs" else 1
    if len(call.tree.args) != n_arguments:
        raise WordError(
            "s(x, g, bs='fs') takes a number and a factor"
            if basis == "fs"
            else "s() takes one number; smooths of several are not offered"
        )
    x = call.tree.args[0]
    if basis == "fs" and "by" in options:
        raise WordError("by= is not offered for bs='fs'")
    return Smooth(
        x=call.names.get(x.id, x.id) if isinstance(x, ast.Name) else call.written(x),
        group=call.column(call.tree.args[1], "The factor of s(..., bs='fs')") if basis == "fs" else "",
        by=call.column(options["by"], "by= of s()") if "by" in options else "",
        k=k,
        basis=basis,
    )
