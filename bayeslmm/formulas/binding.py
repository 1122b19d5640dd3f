"""The names of a leaf resolved: columns, functions of formulas, and names of the formula's author.

Whose functions a formula may call is its `Scope`: those of its author, or those of `whitelist` for text that nobody
vouches for. What may look at several rows at once is handed to the leaf's `Memory`; whole numbers and truth values
become doubles where something reckons with them, as in R.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from ..tools.frame import unknown_column
from .contrasts import Codings
from .expressions import DOUBLE, KEEP, NOT, NUMBER, OWN, Expression, from_formulae
from .grammar import stand_in_for, stands_in, tokenize
from .memory import Memory
from .remedies import ALONE, REMEDIES
from .terms import Atom
from .transforms import R_WORDS, Binary, Indicator, ifelse, pmax, pmin
from .whitelist import Check

FROM_FORMULAE = frozenset("bs cc cr tp poly".split())
FROM_NUMPY = frozenset("log log2 log10 log1p exp expm1 sqrt abs sin cos tan".split())
BUILTINS = frozenset("abs bool float int len list max min pow range round str sum tuple".split())
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
ARITHMETIC_METHODS = frozenset(
    "abs add cumprod cumsum dot floordiv mod mul multiply pow prod product radd rmul rpow rsub sub subtract sum".split()
)
PIECES = (ast.FormattedValue, ast.Slice, ast.Starred)  # of an expression, and none by themselves
BY_ROWS = (np.clip, np.round, np.where, round, ifelse, pmax, pmin)  # besides ufuncs
IN_DOUBLES = (np.cumsum, np.cumprod, np.dot, np.nanprod, np.nansum, np.prod, np.sum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where the names in a formula come from, beside the columns.

    Attributes
    ----------
    names : mapping
        Functions and values of the formula's author.
    trusted : bool
        Whether the text may hold any Python expression. If not, `whitelist` decides, and ``names`` join its list.
    codings : Codings
        The contrasts of factors where the formula names none.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = True
    codings: Codings = field(default_factory=Codings)

    def at(self, caller: Mapping[str, Any]) -> Scope:
        """This scope for a further formula, written where the names are those of ``caller``."""
        return replace(self, names={**self.names, **caller}) if self.trusted else self


def bind(atom: Atom, columns: pd.Index, scope: Scope, where: str, *, once: bool = False) -> Expression:
    """Resolve the names of a leaf; UnknownColumnError for the first that nothing answers to.

    FormulaError where the scope is not trusted and the leaf holds what is not on the list. Nothing is evaluated.
    ``once`` for a leaf that will not be asked about other rows.
    """
    if atom.is_name:
        if atom.text not in columns:
            raise unknown_column(atom.text, where, columns)
        return Expression(
            label=atom.label,
            code="",
            columns={atom.text: atom.text},
            objects={},
            coding=scope.codings.coding(atom.label),
        )
    quoted: dict[str, str] = {}
    pieces = []
    for token in tokenize(atom.text)[:-1]:
        if stands_in(token):
            stand_in = stand_in_for(quoted, atom.text)
            quoted[stand_in] = token.text.strip("`")
            pieces.append(stand_in)
        else:
            pieces.append(token.text)
    tree = ast.parse(" ".join(pieces), mode="eval")
    numeric: frozenset[str] = frozenset()
    if not scope.trusted:
        check = Check(
            columns=columns,
            quoted=quoted,
            allowed=scope.names,
            remedies={**REMEDIES, **ALONE},
            where=where,
            text=atom.text,
        )
        numeric = check.leaf(tree)
    binder = _Binder(columns, scope, where, quoted, tree)
    tree = ast.fix_missing_locations(binder.visit(tree))
    memory = None
    if binder.parts or binder.doubtful:
        memory = Memory(where, tried=not once)
        memory.shown.extend(binder.parts)
    code = ast.unparse(tree)
    needed = {name: value for name, value in binder.objects.items() if re.search(rf"\b{name}\b", code)}
    return Expression(
        label=atom.label,
        code=code,
        columns=binder.used,
        objects=needed,
        captured=binder.captured,
        numeric=numeric,
        memory=memory,
        coding=scope.codings.coding(atom.label),
    )


class _Binder(ast.NodeTransformer):
    """Replaces columns and functions by stand-ins and collects what they stand for.

    A part of the tree that may look at several rows at once is handed to the leaf's `Memory` instead of being
    evaluated on the spot; ``parts`` shows them as written. ``doubtful`` is set where a leaf may do so in another way.
    """

    def __init__(self, columns: pd.Index, scope: Scope, where: str, quoted: Mapping[str, str], tree: ast.AST) -> None:
        self.columns, self.scope, self.where, self.quoted = columns, scope, where, quoted
        self.used: dict[str, str] = {}
        self.objects: dict[str, Any] = {}
        self.captured: dict[str, Any] = {}
        self.parts: list[str] = []
        self.doubtful = False
        self.touched = 0  # columns met so far
        self.local = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        self.local |= {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Expression | ast.Constant | ast.Name | ast.expr_context):
            return super().visit(node)
        shown, before = self.shown(node), self.touched
        uses_local = not self.local.isdisjoint(_free(node))
        new = super().visit(node)
        if self.by_rows(new):
            return new
        self.doubtful = True
        if self.touched == before or uses_local or not isinstance(new, ast.expr) or isinstance(new, PIECES):
            return new
        self.parts.append(shown)
        thunk = ast.Lambda(
            args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]), body=new
        )
        return _call(KEEP, ast.Constant(len(self.parts) - 1), thunk)

    def by_rows(self, node: ast.AST) -> bool:
        """Whether a node gives each row its value from this row alone, if its operands do."""
        match node:
            case ast.Name() | ast.UnaryOp() | ast.List() | ast.Tuple() | ast.operator() | ast.unaryop():
                return True
            case ast.cmpop() | ast.keyword():
                return True
            case ast.BinOp():
                return not isinstance(node.op, ast.MatMult)
            case ast.Compare():
                return not any(isinstance(op, ast.In | ast.NotIn | ast.Is | ast.IsNot) for op in node.ops)
            case ast.Call(func=ast.Name(id=name)):
                return name in (DOUBLE, NUMBER, NOT) or _goes_by_rows(self.objects.get(name), node)
        return False

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = [self.visit(argument) for argument in node.args]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        if isinstance(node.func, ast.Name) and node.func.id not in self.local:
            function = self.function(node.func.id, called=True)
            if inspect.isclass(function) and getattr(function, "__stateful_transform__", False):
                function = function()
            node.func = self.object(function)
        elif isinstance(node.func, ast.Attribute):
            node.func = cast(ast.expr, self.attribute(node.func))
        else:
            node.func = self.visit(node.func)
        self.reckon_in_doubles(node)
        return node

    def reckon_in_doubles(self, node: ast.Call) -> None:
        """Hand whole numbers over as doubles, where a function would reckon with them."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in ARITHMETIC_METHODS:
            node.func.value = _call(DOUBLE, node.func.value)
            node.args = [_as_double(argument) for argument in node.args]
        if not isinstance(node.func, ast.Name):
            return
        function = self.objects.get(node.func.id)
        if _reckons(function):
            node.args = [_as_double(argument) for argument in node.args]
        elif any(function is captured for captured in self.captured.values()):
            node.args = [_as_double(argument, NUMBER) for argument in node.args]

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        node.left, node.right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ARITHMETIC):
            node.left, node.right = _as_double(node.left), _as_double(node.right)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        node.operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return _call(NOT, node.operand)
        if isinstance(node.op, ast.USub | ast.UAdd):
            node.operand = _as_double(node.operand)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        dotted = _dotted(node)
        if dotted is not None and dotted in self.columns:
            return self.column(dotted)
        return self.attribute(node)

    def attribute(self, node: ast.Attribute) -> ast.AST:
        """An attribute that is no column: of a module, or a method."""
        dotted = _dotted(node)
        node.value = self.visit(node.value)
        owner = self.objects.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if owner is None:
            return node
        if not hasattr(owner, node.attr):
            raise unknown_column(str(dotted), self.where, self.columns, dir(owner))
        return self.object(getattr(owner, node.attr))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        name = node.id
        if name in self.local:
            return node
        if name in self.quoted:
            if self.quoted[name] not in self.columns:
                raise unknown_column(self.quoted[name], self.where, self.columns)
            return self.column(self.quoted[name])
        if name in self.columns:
            return self.column(name)
        return self.object(self.function(name))

    def shown(self, node: ast.AST) -> str:
        """A part of the leaf as written."""
        text = ast.unparse(node)
        for stand_in, name in self.quoted.items():
            text = text.replace(stand_in, f"`{name}`")
        return text

    def column(self, name: str) -> ast.Name:
        stand_in = f"column_{list(self.used.values()).index(name)}" if name in self.used.values() else ""
        stand_in = stand_in or f"column_{len(self.used)}"
        self.used[stand_in] = name
        self.touched += 1
        return ast.Name(id=stand_in, ctx=ast.Load())

    def object(self, value: Any) -> ast.Name:
        for stand_in, held in self.objects.items():
            if held is value:
                return ast.Name(id=stand_in, ctx=ast.Load())
        stand_in = f"object_{len(self.objects)}"
        self.objects[stand_in] = value
        return ast.Name(id=stand_in, ctx=ast.Load())

    def function(self, name: str, *, called: bool = False) -> Any:
        name = self.quoted.get(name, name)
        if name in OWN:
            return OWN[name]
        if name in FROM_FORMULAE:
            return from_formulae(name)
        default = _default(name)
        # a module's own dunders are no names of its author: __builtins__ leads to open and __import__
        in_scope = None if name.startswith("__") else self.scope.names.get(name)
        scalar = name in FROM_NUMPY and getattr(in_scope, "__module__", "") in ("math", "builtins")
        useless = called and default is not None and not callable(in_scope)  # a number called mean
        if in_scope is not None and in_scope is not default and not scalar and not useless:
            self.captured[name] = in_scope
            self.doubtful = True
            return in_scope
        if default is not None:
            return default
        error = unknown_column(name, self.where, self.columns, FROM_FORMULAE | FROM_NUMPY | set(OWN) | set(R_WORDS))
        remedy = {**REMEDIES, **ALONE}.get(name)
        if remedy:
            raise type(error)(f"{name}() ({self.where}) is not a function in scope. {remedy}")
        raise error


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=list(arguments), keywords=[])


def _free(node: ast.AST) -> set[str]:
    """Names in a part of a tree that it does not bind itself."""
    names = [inner_node for inner_node in ast.walk(node) if isinstance(inner_node, ast.Name)]
    bound = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    bound |= {inner_node.arg for inner_node in ast.walk(node) if isinstance(inner_node, ast.arg)}
    return {name.id for name in names} - bound


def _as_double(node: Any, function: str = DOUBLE) -> Any:
    return node if isinstance(node, ast.Constant | ast.Starred) else _call(function, node)


def _reckons(function: Any) -> bool:
    """Whether a function does arithmetic on its arguments, and takes doubles."""
    if isinstance(function, np.ufunc):
        return any("d" in types_.partition("->")[0] for types_ in function.types)
    if any(function is listed for listed in (*IN_DOUBLES, *R_WORDS.values())):
        return function not in (np.where, ifelse)
    return getattr(function, "__stateful_transform__", False) and not isinstance(function, Binary | Indicator)


def _goes_by_rows(function: Any, call: ast.Call) -> bool:
    """Whether a function of these arguments is known to take each row by itself, or to remember the rows of the fit."""
    if isinstance(function, np.ufunc):
        return function.signature is None and len(call.args) == function.nin and not call.keywords
    if any(function is listed for listed in BY_ROWS):
        return function is not np.where or len(call.args) == 3
    if any(function is listed for listed in OWN.values()):
        return True
    ours = type(function).__module__.partition(".")[0] in ("bayeslmm", "formulae")
    return ours and getattr(function, "__stateful_transform__", False)


def _default(name: str) -> Any:
    """What a name means where its author says nothing; None for nothing."""
    if name in FROM_NUMPY:
        return getattr(np, name)
    if name in ("np", "numpy"):
        return np
    if name in ("pd", "pandas"):
        return pd
    if name == "pi":
        return np.pi
    if name in R_WORDS:
        return R_WORDS[name]
    return getattr(builtins, name) if name in BUILTINS else None


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return None if head is None else f"{head}.{node.attr}"
    return None
