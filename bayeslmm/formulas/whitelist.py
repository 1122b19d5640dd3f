"""What a formula of untrusted text may hold: decided on its tree, before anything is evaluated.

Nothing is forbidden here by name; what is not listed is refused. A leaf of the formula may hold columns, numbers,
arithmetic, comparisons and calls of the functions in `CALLS` with the parameters written there: a second argument of
``np.log`` would be a place to write into. Text stands in comparisons and arguments, never in arithmetic, where
``'%999999999d' % x`` fills the memory. Arithmetic on bare numbers stays below 2**53, so that no whole number outgrows a
machine word. Bases of several columns stand alone, and their size is written as a number.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import operator
import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import FormulaError

# Parameters in order. A mark says what may be given: # a whole number up to SIZES, [] a list of constants as well,
# @ a contrast, = by keyword only; without a mark a value.
BASES = {
    "bs": "x df# knots[] degree# intercept lower_bound upper_bound center",
    "cc": "x period df# knots[] lower_bound center",
    "cr": "x df# knots[] lower_bound upper_bound center",
    "poly": "x degree# raw",
    "tp": "x df# center max_knots# seed",
}
CONTRASTS = {"Helmert": "", "Poly": "", "Sum": "omit", "Treatment": "reference"}
ONE = "log log2 log10 log1p exp expm1 sqrt abs sin cos tan".split()
R_WORDS = {
    **dict.fromkeys("ceiling floor mean median sd var".split(), "x"),
    **dict.fromkeys(["pmax", "pmin"], "x1 x2 x3 x4"),
    "ave": "x g g2 g3",
    "ifelse": "test yes no",
    "quantile": "a q",
}
BARE = {
    **BASES,
    **CONTRASTS,
    **dict.fromkeys(["I", "center", *ONE], "x"),
    **dict.fromkeys(["scale", "standardize"], "x center scale"),
    **R_WORDS,
    **dict.fromkeys(["B", "binary"], "x success"),
    **dict.fromkeys(["p", "prop", "proportion"], "successes trials"),
    "C": "data contrast@ levels[]",
    "cens": "y status upper",
    "S": "data omit levels[]",
    "T": "data ref levels[]",
    "fs_curves": "x k#",
    "indicator": "x level",
    "round": "number ndigits",
}
MORE_OF_NUMPY = (
    "absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cosh exp2 fabs floor isfinite isnan logical_not "
    "max mean median min rint sign sinh square sum tanh trunc"
)
NUMPY = {
    **dict.fromkeys([*ONE, *MORE_OF_NUMPY.split()], "x"),
    **dict.fromkeys("arctan2 fmax fmin hypot logical_and logical_or maximum minimum mod power".split(), "x1 x2"),
    **dict.fromkeys(["percentile", "quantile"], "a q"),
    **dict.fromkeys(["std", "var"], "a ddof="),
    "clip": "a a_min a_max",
    "isin": "element test_elements[]",
    "round": "a decimals",
    "where": "condition x y",
}
CALLS = {**BARE, **{f"np.{name}": parameters for name, parameters in NUMPY.items()}}
CONSTANTS = {"pi": 3.15, "e": 2.72}  # no smaller than they are
CONSTANTS_OF_R = ("pi",)
MODULES = ("np", "numpy")
# What arguments may be, wherever the call stands: text too, since the value is 0 or 1; numbers only.
OF_ANYTHING = {"B", "binary", "indicator", "np.isin", "ave"}
OF_NUMBERS = {"center", "fs_curves", "scale", "standardize", *ONE, *R_WORDS, *(f"np.{name}" for name in NUMPY)} - {
    "ave",
    "ifelse",
    "np.isin",
    "np.where",
}
AS_THEY_ARE = {"I", "round"}  # they would hand a whole number of Python on, which has no bound

SIZES = {"df": 100, "degree": 100, "k": 500, "max_knots": 2000}
LONGEST_TEXT = 200
DEEPEST = 100
LARGEST = 2.0**53
OPERATORS: Mapping[type, Callable[[float, float], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: max,  # no larger than that in size, which is all that is asked
    ast.BitOr: operator.add,
}
SIGNS = (ast.UAdd, ast.USub, ast.Invert, ast.Not)
COMPARED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def allowed() -> str:
    """The list that a refusal ends with."""
    bare, numpy = (" ".join(sorted(names, key=str.casefold)) for names in (BARE, NUMPY))
    text = (
        f"Allowed are columns, numbers, text in quotes, + - * / // % ** & | ~, comparisons, pi, np.pi, np.e, the "
        f"functions {bare}, and those of numpy (np.log): {numpy}."
    )
    return textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ")


@dataclass(slots=True, kw_only=True)
class Check:
    """Walks the tree of one leaf; FormulaError at the first thing that is not on the list.

    Attributes
    ----------
    columns, quoted : collection, mapping
        Columns of the data; stand-ins of the names that stood in backticks.
    allowed : collection of str
        Names that the caller of the package allows besides.
    remedies : mapping
        What to write for a function of another program.
    where, text : str
        Part of the formula, and the leaf as written.
    numeric : set of str
        Filled with the columns that stand in arithmetic, and so have to hold numbers.
    """

    columns: Collection[Any]
    quoted: Mapping[str, str]
    allowed: Collection[str]
    remedies: Mapping[str, str]
    where: str
    text: str
    numeric: set[str] = field(default_factory=set)

    def leaf(self, tree: ast.Expression) -> frozenset[str]:
        """Check a whole leaf; returns the columns that have to hold numbers."""
        if isinstance(tree.body, ast.Call):
            self._call(tree.body, 0, False)
        else:
            self._value(tree.body, 0, False)
        return frozenset(self.numeric)

    def _refuse(self, what: ast.AST | str, why: str = "is not allowed", remedy: str = "") -> NoReturn:
        shown = what if isinstance(what, str) else ast.unparse(what)
        for stand_in, column in self.quoted.items():
            shown = shown.replace(stand_in, f"`{column}`")
        raise FormulaError(
            f"{_shortened(shown)} {why} in a formula that is not trusted ({self.where}: {_shortened(self.text)})."
            f"{remedy}\n{allowed()}\n    Other functions need trust=True, or namespace={{name: function}}, in Python."
        )

    def _value(self, node: ast.AST, depth: int, arithmetic: bool) -> None:
        """One subtree; ``arithmetic`` where its value is an operand, however far above."""
        if depth > DEEPEST:
            self._refuse("This", f"has more than {DEEPEST} levels, which is not allowed")
        match node:
            case ast.Constant():
                self._constant(node, arithmetic)
            case ast.Name():
                self._name(node.id, arithmetic)
            case ast.Attribute():
                self._attribute(node, arithmetic)
            case ast.BinOp() if type(node.op) in OPERATORS:
                self._value(node.left, depth + 1, True)
                self._value(node.right, depth + 1, True)
                size = _size(node)
                if size is not None and not abs(size) <= LARGEST:
                    self._refuse(node, "is too large a number")
            case ast.UnaryOp() if isinstance(node.op, SIGNS):
                self._value(node.operand, depth + 1, arithmetic)
            case ast.Compare() if all(isinstance(each, COMPARED) for each in node.ops):
                for side in (node.left, *node.comparators):
                    self._value(side, depth + 1, False)
            case ast.Call() if _called(node) in BASES:
                self._refuse(node, "gives several columns, so it has to stand alone")
            case ast.Call():
                self._call(node, depth, arithmetic)
            case _:
                self._refuse(node)

    def _constant(self, node: ast.Constant, arithmetic: bool) -> None:
        value = node.value
        if isinstance(value, str | None) and arithmetic:
            self._refuse(node, "has no place in arithmetic")
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            self._refuse(node, f"has {len(value)} letters, and at most {LONGEST_TEXT} are allowed")
        if type(value) is int and value > LARGEST:
            self._refuse(node, "is too large a number")
        if not isinstance(value, bool | int | float | str | None):
            self._refuse(node)

    def _name(self, name: str, arithmetic: bool) -> None:
        column = self.quoted.get(name, name)
        if column in self.columns:
            if arithmetic:
                self.numeric.add(column)
        elif (
            name not in self.allowed
            and name not in CONSTANTS_OF_R
            and (name in BARE or name in MODULES or hasattr(builtins, name) or name.startswith("_"))
        ):
            self._refuse(name, "is no column, and not allowed as a value")
        # a name that nothing answers to is told when names are resolved, with the column that was meant

    def _attribute(self, node: ast.Attribute, arithmetic: bool) -> None:
        dotted = ast.unparse(node)
        if dotted in self.columns:
            if arithmetic:
                self.numeric.add(dotted)
        elif not (self._is_of_numpy(node) and node.attr in CONSTANTS):
            self._refuse(node)

    def _is_of_numpy(self, node: ast.Attribute) -> bool:
        owner = node.value
        return isinstance(owner, ast.Name) and owner.id in MODULES and owner.id not in self.columns

    def _call(self, node: ast.Call, depth: int, arithmetic: bool) -> None:
        name = _called(node)
        if name in self.allowed and (name not in BARE or name in R_WORDS):
            self._call_of_allowed(node, depth, arithmetic)
            return
        if name not in CALLS or (isinstance(node.func, ast.Attribute) and not self._is_of_numpy(node.func)):
            self._refuse_function(node, name)
        inside = name in OF_NUMBERS or (arithmetic and name not in OF_ANYTHING)
        for parameter, argument in self._arguments(name, node):
            if parameter.endswith("#"):
                self._whole_number(argument, parameter[:-1])
            elif parameter.endswith("@"):
                self._contrast(argument, depth + 1)
            elif parameter.endswith("[]") and isinstance(argument, ast.List | ast.Tuple):
                self._list(argument, depth + 1, inside)
            else:
                self._value(argument, depth + 1, inside)
        if name in AS_THEY_ARE and not self._holds_column(node):
            self._refuse(node, "holds no column, which is not allowed")

    def _call_of_allowed(self, node: ast.Call, depth: int, arithmetic: bool) -> None:
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(argument, ast.List | ast.Tuple):
                self._list(argument, depth + 1, arithmetic)
            else:
                self._value(argument, depth + 1, arithmetic)

    def _refuse_function(self, node: ast.Call, name: str) -> NoReturn:
        near = difflib.get_close_matches(name, [*CALLS, *self.allowed], n=1, cutoff=0.8)
        remedy = self.remedies.get(name, f"Did you mean {near[0]!r}?" if near else "")
        self._refuse(name or node.func, remedy=f" {remedy}" if remedy else "")

    def _arguments(self, name: str, node: ast.Call) -> list[tuple[str, ast.AST]]:
        """Every argument with the parameter it is for."""
        parameters = {parameter.rstrip("#[]@="): parameter for parameter in CALLS[name].split()}
        positional = [parameter for parameter in parameters.values() if not parameter.endswith("=")]
        signature = f"{name}({', '.join(parameters)})"
        if len(node.args) > len(positional):
            self._refuse(node.args[len(positional)], f"is an argument too many for {signature}, not allowed")
        arguments: list[tuple[str, ast.AST]] = list(zip(positional, node.args, strict=False))
        for keyword in node.keywords:
            if keyword.arg not in parameters or parameters[keyword.arg] in dict(arguments):
                written = f"{keyword.arg}=" if keyword.arg else "**"
                self._refuse(written, f"is no further argument of {signature}, so not allowed")
            arguments.append((parameters[keyword.arg], keyword.value))
        return arguments

    def _list(self, node: ast.List | ast.Tuple, depth: int, arithmetic: bool) -> None:
        for element in node.elts:
            if not isinstance(element, ast.Constant | ast.UnaryOp):
                self._refuse(element, "is no constant, so not allowed in a list")
            self._value(element, depth + 1, arithmetic)

    def _contrast(self, node: ast.AST, depth: int) -> None:
        if isinstance(node, ast.Constant) and node.value is None:
            return
        if isinstance(node, ast.Name) and (node.id in CONTRASTS or node.id in self.allowed):
            return
        if not (isinstance(node, ast.Call) and (_called(node) in CONTRASTS or _called(node) in self.allowed)):
            self._refuse(node, f"is no contrast ({', '.join(CONTRASTS)}), so not allowed")
        self._call(node, depth, False)

    def _whole_number(self, node: ast.AST, parameter: str) -> None:
        value = node.value if isinstance(node, ast.Constant) else ...
        if value is not None and not (type(value) is int and 0 <= value <= SIZES[parameter]):
            self._refuse(node, f"is not allowed for {parameter}=, which is a whole number up to {SIZES[parameter]}")

    def _holds_column(self, node: ast.AST) -> bool:
        return any(
            (isinstance(inner_node, ast.Name) and (inner_node.id in self.quoted or inner_node.id in self.columns))
            or (isinstance(inner_node, ast.Attribute) and ast.unparse(inner_node) in self.columns)
            for inner_node in ast.walk(node)
        )


def _shortened(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _called(node: ast.Call) -> str:
    """The name of a called function as `CALLS` has it; empty where no name is called."""
    function = node.func
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        owner = function.value.id
        return f"{'np' if owner in MODULES else owner}.{function.attr}"
    return ""


def _size(node: ast.AST) -> float | None:
    """What an expression of bare numbers comes to, in floating point; None where columns or calls take part.

    Calls give NumPy's numbers, whose size is fixed.
    """
    match node:
        case ast.Constant():
            return float(node.value) if isinstance(node.value, bool | int | float) else None
        case ast.Compare():
            return 1.0
        case ast.Attribute(value=ast.Name(id=owner)) if owner in MODULES:
            return CONSTANTS.get(node.attr)
        case ast.Name(id=name) if name in CONSTANTS_OF_R:  # a column of that name holds doubles
            return CONSTANTS[name]
        case ast.UnaryOp():
            size = _size(node.operand)
            return -size if size is not None and isinstance(node.op, ast.USub) else size
        case ast.BinOp():
            left, right = _size(node.left), _size(node.right)
            if left is None or right is None:
                return None
            try:
                return OPERATORS[type(node.op)](left, right)
            except OverflowError:
                return float("inf")
            except (ZeroDivisionError, TypeError):  # no number, or a complex one: told when it is evaluated
                return None
    return None
