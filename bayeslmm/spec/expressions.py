"""One leaf of a formula → values: names resolved once, transforms that remember what they learnt.

A call such as ``scale(x)`` is ordinary Python, evaluated on the kept rows with the columns as Series.
Stateful transforms of formulae (``scale``, ``poly``, ``bs``, …) are made once per place in the formula, so
new data are transformed with the parameters of the fit. formulae is imported only when one of its names is
used.

Whose functions a formula may call is its `Scope`: those of its author, or those of `whitelist` for text that nobody
vouches for. What is evaluated sees the columns, functions and values it names and nothing else, no builtins either.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from bayeslmm.errors import DataError
from bayeslmm.spec.frame import check_finite, check_size, is_numeric, plain, unknown_column
from bayeslmm.spec.grammar import stand_in_for, stands_in, tokenize
from bayeslmm.spec.terms import Atom
from bayeslmm.spec.whitelist import Check

FROM_FORMULAE = frozenset("bs cc cr tp poly center scale standardize binary B S T Treatment Sum".split())
FROM_NUMPY = frozenset("log log2 log10 log1p exp expm1 sqrt abs sin cos tan".split())
BUILTINS = frozenset("abs bool float int len list max min pow range round str sum tuple".split())
LIBRARIES = frozenset({"bayeslmm", "formulae", "numpy", "pandas"})
REMEDIES = {
    "cbind": "For counts write p(successes, trials) on the left of '~'.",
    "ns": "Natural splines are cr(x, df=...).",
    "s": "Splines are bs(x, df=...) or cr(x, df=...).",
    "ifelse": "Write np.where(condition, a, b) inside I(...).",
    "Error": "Strata of aov() are random terms here: (1 | g).",
}


@dataclass(frozen=True, slots=True)
class Factor:
    """A categorical value: data, with an optional contrast and order of levels."""

    data: Any
    contrast: Any = None
    levels: Any = None


def as_factor(data: Any, contrast: Any = None, levels: Any = None) -> Factor:
    """``C(x)``: treat x as categorical."""
    if hasattr(data, "contrast"):
        return Factor(data.data, contrast or data.contrast, levels or data.levels)
    return Factor(data, contrast, levels)


def identity(x: Any) -> Any:
    """``I(x)``: the value itself."""
    return x


def indicator(x: pd.Series, level: Any) -> pd.Series:
    """1 where x is the level: what ``y['level'] ~ ...`` makes the response."""
    if not (x == level).any():
        raise ValueError(f"no row of {x.name!r} holds {level!r}")
    return (x == level).astype("float64")


@dataclass(frozen=True, slots=True)
class Counts:
    """``p(successes, trials)``: the response of a binomial model."""

    successes: Any
    trials: Any


OWN = {
    "C": as_factor, "I": identity, "indicator": indicator, "p": Counts, "prop": Counts, "proportion": Counts
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where the names in a formula come from, beside the columns.

    Attributes
    ----------
    names : mapping
        Functions and values of the formula's author.
    trusted : bool
        Whether the text may hold any Python expression. If not, `whitelist` decides, and ``names`` join its list.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = True

    def at(self, caller: Mapping[str, Any]) -> Scope:
        """This scope for a further formula, written where the names are those of ``caller``."""
        return Scope(names={**self.names, **caller}) if self.trusted else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A leaf with every name resolved.

    ``code`` is Python over stand-in names; ``columns`` maps these to columns of the data and ``objects`` to
    functions and transforms. A plain column has no code. ``own`` holds what came from the names of the scope, and
    ``numeric`` the columns that may not hold text, as an untrusted formula reckons with them.
    """

    label: str
    code: str
    columns: Mapping[str, str]
    objects: Mapping[str, Any]
    own: Mapping[str, Any] = field(default_factory=dict)
    numeric: frozenset[str] = frozenset()

    @property
    def is_column(self) -> bool:
        """True for a leaf that is a column as it stands."""
        return not self.code


def bind(atom: Atom, columns: pd.Index, scope: Scope, where: str) -> Expression:
    """Resolve the names of a leaf; UnknownColumnError for the first that nothing answers to.

    FormulaError where the scope is not trusted and the leaf holds what is not on the list. Nothing is evaluated.
    """
    if atom.is_name:
        if atom.text not in columns:
            raise unknown_column(atom.text, where, columns)
        return Expression(label=atom.label, code="", columns={atom.text: atom.text}, objects={})
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
            columns=columns, quoted=quoted, given=scope.names, remedies=REMEDIES, where=where, text=atom.text
        )
        numeric = check.leaf(tree)
    binder = _Binder(columns, scope, where, quoted, tree)
    tree = ast.fix_missing_locations(binder.visit(tree))
    code = ast.unparse(tree)
    needed = {name: value for name, value in binder.objects.items() if re.search(rf"\b{name}\b", code)}
    return Expression(
        label=atom.label, code=code, columns=binder.used, objects=needed, own=binder.own, numeric=numeric
    )


class _Binder(ast.NodeTransformer):
    """Replaces columns and functions by stand-ins and collects what they stand for."""

    def __init__(
        self,
        columns: pd.Index,
        scope: Scope,
        where: str,
        quoted: Mapping[str, str],
        tree: ast.AST,
    ) -> None:
        self.columns, self.scope, self.where, self.quoted = columns, scope, where, quoted
        self.used: dict[str, str] = {}
        self.objects: dict[str, Any] = {}
        self.own: dict[str, Any] = {}
        self.local = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        self.local |= {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = [self.visit(argument) for argument in node.args]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        if isinstance(node.func, ast.Name) and node.func.id not in self.local:
            node.func = self.object(self.function(node.func.id))
        else:
            node.func = self.visit(node.func)
        function = self.objects.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if inspect.isclass(function) and getattr(function, "__stateful_transform__", False):
            node.func = self.object(function())
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        dotted = _dotted(node)
        if dotted is not None and dotted in self.columns:
            return self.column(dotted)
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

    def column(self, name: str) -> ast.Name:
        stand_in = f"column_{list(self.used.values()).index(name)}" if name in self.used.values() else ""
        stand_in = stand_in or f"column_{len(self.used)}"
        self.used[stand_in] = name
        return ast.Name(id=stand_in, ctx=ast.Load())

    def object(self, value: Any) -> ast.Name:
        for stand_in, known in self.objects.items():
            if known is value:
                return ast.Name(id=stand_in, ctx=ast.Load())
        stand_in = f"object_{len(self.objects)}"
        self.objects[stand_in] = value
        return ast.Name(id=stand_in, ctx=ast.Load())

    def function(self, name: str) -> Any:
        name = self.quoted.get(name, name)
        if name in OWN:
            return OWN[name]
        if name in FROM_FORMULAE:
            return _from_formulae(name)
        default = _default(name)
        # a module's own dunders are no names of its author: __builtins__ leads to open and __import__
        given = None if name.startswith("__") else self.scope.names.get(name)
        scalar = name in FROM_NUMPY and getattr(given, "__module__", "") in ("math", "builtins")
        if given is not None and given is not default and not scalar:
            self.own[name] = given
            return given
        if default is not None:
            return default
        error = unknown_column(name, self.where, self.columns, FROM_FORMULAE | FROM_NUMPY | set(OWN))
        if name in REMEDIES:
            raise type(error)(f"{name}() ({self.where}) is not a function in scope. {REMEDIES[name]}")
        raise error


def _default(name: str) -> Any:
    """What a name means where its author says nothing; None for nothing."""
    if name in FROM_NUMPY:
        return getattr(np, name)
    if name in ("np", "numpy"):
        return np
    if name in ("pd", "pandas"):
        return pd
    return getattr(builtins, name) if name in BUILTINS else None


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return None if head is None else f"{head}.{node.attr}"
    return None


def _from_formulae(name: str) -> Any:
    from formulae.categorical import ENCODINGS
    from formulae.transforms import TRANSFORMS

    return {**TRANSFORMS, **ENCODINGS}[name]


def evaluate(expression: Expression, frame: pd.DataFrame) -> Any:
    """The value of a leaf on these rows; any failure becomes a DataError that shows the expression."""
    if expression.is_column:
        return frame[expression.label]
    for column in expression.numeric:
        if not is_numeric(frame[column]):
            raise DataError(
                f"{expression.label} cannot be computed: column {column!r} holds text or categories, not numbers."
            )
    scope = {stand_in: frame[column] for stand_in, column in expression.columns.items()}
    scope.update(expression.objects)
    try:
        with np.errstate(all="ignore"):
            return eval(expression.code, {"__builtins__": {}, **scope})
    except Exception as problem:
        text = [c for c in dict.fromkeys(expression.columns.values()) if not is_numeric(frame[c])]
        hint = (
            f" Note that {', '.join(map(repr, text))} holds text or categories, not numbers." if text else ""
        )
        raise DataError(
            f"{expression.label} cannot be computed: {type(problem).__name__}: {_sentence(problem)}{hint}"
        ) from (problem if _calls_users_code(expression) else None)


def _calls_users_code(expression: Expression) -> bool:
    """Whether the traceback of a failure leads into a function that the user can mend."""
    functions = [value for value in expression.objects.values() if inspect.isfunction(value)]
    return any(function.__module__.partition(".")[0] not in LIBRARIES for function in functions)


def _sentence(problem: Exception) -> str:
    lines = str(problem).splitlines() or [""]
    return lines[0][:200].rstrip(".") + "."


def as_numbers_or_factor(value: Any, expression: Expression, index: pd.Index) -> np.ndarray | Factor:
    """A value as float64 of shape (n,) or (n, k), or as a Factor whose data are a plain Series."""
    n = len(index)
    if isinstance(value, Factor) or (hasattr(value, "contrast") and hasattr(value, "levels")):
        data = _as_series(value.data, expression, index)
        return Factor(data, value.contrast, value.levels)
    if isinstance(value, pd.DataFrame):
        value = value.to_numpy()
    array = value if isinstance(value, (pd.Series, pd.Categorical)) else np.asarray(value)
    if getattr(array, "ndim", 1) == 2 and array.shape[0] == n and array.dtype.kind in "biuf":
        numbers = np.asarray(array, dtype=np.float64)
    else:
        series = _as_series(value, expression, index)
        if not is_numeric(series):
            return Factor(series)
        numbers = series.to_numpy(dtype=np.float64)
    check_finite(numbers, index, _described(expression))
    return numbers


def _described(expression: Expression) -> str:
    return f"Column {expression.label!r}" if expression.is_column else expression.label


def _as_series(value: Any, expression: Expression, index: pd.Index) -> pd.Series:
    shape = np.shape(value)
    if len(shape) != 1 or shape[0] != len(index):
        got = f"an array of shape {shape}" if shape else f"a single {type(value).__name__}"
        raise DataError(
            f"{expression.label} gives {got}; one value for each of the {len(index)} rows is needed."
        )
    if isinstance(value, pd.Series) and expression.is_column:
        return value
    series = value if isinstance(value, pd.Series) else pd.Series(value, index=index)
    if types.is_float_dtype(series.dtype):
        return series.astype("float64")
    if bool(series.isna().any()):
        raise DataError(f"{expression.label} gives missing values in complete rows.")
    return plain(series, expression.label)


def total_offset(
    expressions: tuple[Expression, ...], frame: pd.DataFrame, given: np.ndarray | None
) -> np.ndarray:
    """The sum of the offsets on these rows, with what was given from outside."""
    total = np.zeros(len(frame)) if given is None else given.copy()
    for expression in expressions:
        value = evaluate(expression, frame)
        if np.ndim(value) == 0:
            value = np.full(len(frame), value)
        numbers = as_numbers_or_factor(value, expression, frame.index)
        if not isinstance(numbers, np.ndarray) or numbers.ndim > 1:
            raise DataError(f"The offset {expression.label!r} does not hold one number per row.")
        total += numbers
    check_finite(total, frame.index, "The offset")
    check_size(total[:, None], ["offset"])
    return total
