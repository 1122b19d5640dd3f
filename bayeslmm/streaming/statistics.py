"""Statistics that a formula remembers of the rows of the fit, as sums over chunks.

``scale(x)``, ``poly(x, 2)``, ``x - np.mean(x)``: what the code of a leaf takes of all rows at once is found in its
tree, its arguments are evaluated chunk by chunk, and the answer is put where the whole column would have left it.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from ..errors import FormulaError, NotAvailableError
from ..formulas.expressions import KEEP, Expression, centring_matrix, value_of
from ..formulas.memory import has_a_value_a_row
from ..formulas.transforms import Average, Center, Scale, root_mean_square, sd, var
from ..tools.arrays import Array

DISTINCT = 200_000  # different values of which quantiles are taken exactly
REMEDY = "Compute it first and write the number into the formula, or make the column before."


class Sum(ABC):
    """One statistic, chunk by chunk."""

    @abstractmethod
    def add(self, *values: Any) -> None:
        """Add the arguments on the rows of one chunk."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Add what another one has."""

    @abstractmethod
    def tables(self) -> dict[str, pd.DataFrame]:
        """All that it has, as files hold it."""

    @abstractmethod
    def take(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Have what `tables` of another one gave."""


class Spread(Sum):
    """Number, mean, sum of squares about it, smallest and largest (Chan, Golub & LeVeque 1983, eq. 2.1)."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares, self.total = 0, 0.0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, x: Any, *_: Any) -> None:
        x = np.asarray(x, dtype=np.float64)
        part = Spread()
        part.n, part.mean, part.total = len(x), float(np.mean(x)), float(np.sum(x))
        part.squares = float(np.sum((x - part.mean) ** 2))
        part.low, part.high = float(np.min(x)), float(np.max(x))
        self.merge(part)

    def merge(self, other: Self) -> None:
        if not other.n:
            return
        n, step = self.n + other.n, other.mean - self.mean
        # ** of Python's floats raises where * is infinite
        self.squares += other.squares + step * step * self.n * other.n / n
        self.mean += step * other.n / n
        self.n, self.total = n, self.total + other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def tables(self) -> dict[str, pd.DataFrame]:
        return {"spread": pd.DataFrame({name: [float(value)] for name, value in vars(self).items()})}

    def take(self, tables: Mapping[str, pd.DataFrame]) -> None:
        row = tables["spread"].iloc[0]
        self.n, self.mean, self.squares, self.total = int(row["n"]), row["mean"], row["squares"], row["total"]
        self.low, self.high = row["low"], row["high"]

    def variance(self, ddof: int) -> float:
        """With this many degrees of freedom taken."""
        return self.squares / (self.n - ddof)

    def about(self, middle: float) -> float:
        """Sum of squares about another number than the mean."""
        return self.squares + self.n * (self.mean - middle) * (self.mean - middle)


class Means(Sum):
    """Means of a column by groups."""

    def __init__(self) -> None:
        self.table = pd.DataFrame()

    def add(self, x: Any, *groups: Any) -> None:
        keys = [np.asarray(group) for group in groups]
        grouped = pd.Series(np.asarray(x, dtype=np.float64)).groupby(keys)
        self._join(grouped.agg(["sum", "count"]))

    def merge(self, other: Self) -> None:
        self._join(other.table)

    def tables(self) -> dict[str, pd.DataFrame]:
        table = self.table.reset_index()
        return {"means": table.set_axis([*map(str, range(table.shape[1] - 2)), "sum", "count"], axis=1)}

    def take(self, tables: Mapping[str, pd.DataFrame]) -> None:
        table = tables["means"]
        keys = [table[name] for name in table.columns[:-2]]
        index = pd.MultiIndex.from_arrays(keys) if len(keys) > 1 else pd.Index(keys[0])
        self.table = table[["sum", "count"]].set_axis(index.set_names([None] * index.nlevels))

    def _join(self, table: pd.DataFrame) -> None:
        if len(self.table):
            table = pd.concat([self.table, table])
            table = table.groupby(level=list(range(table.index.nlevels))).sum()
        self.table = table


class Powers(Sum):
    """R of the QR factorisation of 1, z, …, z^d, z = (x − a)/b: nothing is squared, so that poly() keeps its digits."""

    def __init__(self, degree: int) -> None:
        self.degree, self.a, self.b = degree, 0.0, 0.0
        self.R = np.zeros((0, degree + 1))

    def add(self, x: Any, *_: Any) -> None:
        x = np.asarray(x, dtype=np.float64)
        if not self.b:
            self.a, self.b = float(np.mean(x)), float(np.std(x)) or 1.0
        self._join(np.vander((x - self.a) / self.b, self.degree + 1, increasing=True))

    def merge(self, other: Self) -> None:
        if not self.b:
            self.a, self.b = other.a, other.b
        if not other.b:
            return
        # z = g + h z' for z' of the other: powers of z are polynomials in z'
        g, h = (other.a - self.a) / self.b, other.b / self.b
        C = np.zeros((self.degree + 1, self.degree + 1))
        for k in range(self.degree + 1):
            C[: k + 1, k] = np.polynomial.polynomial.polypow([g, h], k)
        self._join(other.R @ C)

    def tables(self) -> dict[str, pd.DataFrame]:
        middle = pd.DataFrame({"a": [self.a], "b": [self.b]})
        return {"middle": middle, "powers": pd.DataFrame({str(k): column for k, column in enumerate(self.R.T)})}

    def take(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.a, self.b = (float(tables["middle"][name].iloc[0]) for name in "ab")
        self.R = tables["powers"].to_numpy(dtype=np.float64)

    def _join(self, rows: Array) -> None:
        self.R = np.linalg.qr(np.vstack([self.R, rows]), mode="r")

    def recurrence(self) -> tuple[list[float], list[float]]:
        """α_k and squared norms of the monic orthogonal polynomials in x."""
        d, R = self.degree, self.R
        J = R[:d, 1 : d + 1] @ np.linalg.inv(R[:d, :d])
        alphas = [self.a + self.b * float(J[k, k]) for k in range(d)]
        return alphas, [float(R[k, k] ** 2) * self.b ** (2 * k) for k in range(d + 1)]


class Knots(Sum):
    """Distinct values with their counts, and sums of a basis whose knots are given."""

    def __init__(self, basis: Callable[[Array], Array] | None) -> None:
        self.basis, self.spread = basis, Spread()
        self.sums: Array | float = 0.0
        self.counts: pd.Series | None = pd.Series(dtype=np.int64)

    def add(self, x: Any, *_: Any) -> None:
        x = np.asarray(x, dtype=np.float64)
        self.spread.add(x)
        if self.basis is not None:
            self.sums = self.sums + self.basis(x).sum(axis=0)
        elif self.counts is not None:
            self._count(pd.Series(x).value_counts())

    def merge(self, other: Self) -> None:
        self.spread.merge(other.spread)
        self.sums = self.sums + other.sums
        if self.counts is None or other.counts is None:
            self.counts = None
        else:
            self._count(other.counts)

    def tables(self) -> dict[str, pd.DataFrame]:
        counts = {} if self.counts is None else {"value": self.counts.index, "count": self.counts.to_numpy()}
        sums = pd.DataFrame({"sum": np.atleast_1d(self.sums)})
        return {**self.spread.tables(), "sums": sums, "counts": pd.DataFrame(counts)}

    def take(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.spread.take(tables)
        sums, counts = tables["sums"]["sum"].to_numpy(dtype=np.float64), tables["counts"]
        self.sums = sums if self.basis is not None else float(sums[0])
        self.counts = None if counts.shape[1] == 0 else pd.Series(counts["count"].to_numpy(), index=counts["value"])

    def _count(self, counts: pd.Series) -> None:
        assert self.counts is not None
        counts = self.counts.add(counts, fill_value=0).astype(np.int64) if len(self.counts) else counts
        self.counts = counts.sort_index() if len(counts) <= DISTINCT else None

    def quantiles(self, shares: Array) -> Array | None:
        """As ``numpy.percentile`` takes them; None of too many different values."""
        if self.counts is None:
            return None
        values, ends = self.counts.index.to_numpy(), np.cumsum(self.counts.to_numpy())
        places = shares * (ends[-1] - 1)
        below = np.floor(places).astype(np.int64)
        a, b = (values[np.searchsorted(ends, np.minimum(k, ends[-1] - 1), side="right")] for k in (below, below + 1))
        t = places - below
        return np.asarray(np.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1.0 - t)))


# -- what may stand in a formula

Finish = Callable[[Any, Mapping[str, Any]], Any]
REDUCTIONS: tuple[tuple[Any, Finish], ...] = (
    (np.mean, lambda s, _: s.mean),
    (np.std, lambda s, o: np.sqrt(s.variance(o.get("ddof", 0)))),
    (np.var, lambda s, o: s.variance(o.get("ddof", 0))),
    (sd, lambda s, _: np.sqrt(s.variance(1))),
    (var, lambda s, _: s.variance(1)),
    *((function, lambda s, _: s.low) for function in (min, np.min)),
    *((function, lambda s, _: s.high) for function in (max, np.max)),
    *((function, lambda s, _: s.total) for function in (sum, np.sum)),
)
CUTS = frozenset(("get", "head", "iloc", "loc", "tail", "take", "truncate", "xs"))
METHODS: dict[str, Finish] = {  # of a column, as pandas has them
    "mean": lambda s, _: s.mean,
    "std": lambda s, o: np.sqrt(s.variance(o.get("ddof", 1))),
    "var": lambda s, o: s.variance(o.get("ddof", 1)),
    "min": lambda s, _: s.low,
    "max": lambda s, _: s.high,
    "sum": lambda s, _: s.total,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One statistic of a leaf: the code of its arguments, how it is added up, and where it goes.

    ``part`` is its number in the leaf's `Memory`, or None for a transform that has its own.
    """

    expression: Expression
    part: int | None
    transform: Any
    arguments: tuple[str, ...]
    options: Mapping[str, Any]
    finish: Finish | None = None

    def start(self) -> Sum:
        """The sum of no rows."""
        kind = type(self.transform).__name__
        if self.finish is not None or isinstance(self.transform, Center | Scale):
            return Spread()
        if isinstance(self.transform, Average):
            return Means()
        if kind == "Polynomial":
            return Powers(int(self.options.get("degree", 1)))
        return Knots(self._given_basis())

    def values(self, frame: pd.DataFrame) -> tuple[Any, ...]:
        """The arguments on some rows.

        Raises
        ------
        NotAvailableError
            Rows have other values, or are others, where other rows stand beside them: sums over chunks are not theirs.
        """
        return tuple(self._argument(code, frame) for code in self.arguments)

    def _argument(self, code: str, frame: pd.DataFrame) -> Any:
        if KEEP not in code:
            return value_of(self.expression, frame, code)
        refusal = self.refusal(f"a statistic in it is of some of the rows, or of what hangs on other rows. {REMEDY}")
        if any(_cuts(node) for node in ast.walk(ast.parse(code, mode="eval"))):  # which a short chunk would not show
            raise refusal
        assert self.expression.memory is not None
        memory = self.expression.memory.like()  # that of the leaf would keep the rows of one chunk
        of_chunk = replace(self.expression, memory=memory)
        used = frame[list(dict.fromkeys(self.expression.columns.values()))]
        try:
            value = memory.learn(lambda rows: value_of(of_chunk, rows, code), used, self.expression.label)
        except FormulaError:
            value = None
        if value is None or memory.learnt or not has_a_value_a_row(value, len(used)):
            raise refusal
        return value

    def result(self, total: Any) -> Any:
        """What the leaf's memory keeps; a transform is told here."""
        transform, options = self.transform, self.options
        if self.finish is not None:
            return self.finish(total, options)
        if isinstance(transform, Center):
            transform.state = total.mean
        elif isinstance(transform, Scale):
            transform.state = _scaling(total, **options)
        elif isinstance(transform, Average):
            table = total.table
            index = table.index if table.index.nlevels > 1 else pd.MultiIndex.from_arrays([table.index])
            transform.state = (table["sum"] / table["count"]).to_numpy(), index
        elif type(transform).__name__ == "Polynomial":
            alphas, norms = total.recurrence()
            transform.degree, transform.raw = total.degree, False
            transform.alpha, transform.norms2 = dict(enumerate(alphas)), dict(enumerate(norms))
            transform.params_set = True
        else:
            self._tell_knots(total)
        return None

    # -- splines

    def _given_basis(self) -> Callable[[Array], Array] | None:
        """The basis before centring, where it does not hang on the data."""
        if any(self.options.get(name) is None for name in ("knots", "lower_bound", "upper_bound")):
            return None
        return self._basis(self.options)

    def _basis(self, options: Mapping[str, Any]) -> Callable[[Array], Array]:
        fresh = type(self.transform)()
        asked = {**options, "center": False}
        asked.pop("intercept", None)
        if asked.get("knots") is not None:
            asked.pop("df", None)
        return _Basis(fresh, asked)

    def _tell_knots(self, total: Knots) -> None:
        options, transform = dict(self.options), self.transform
        centred = options.get("center", True) if options.get("intercept") is None else not options["intercept"]
        order = int(options.get("degree", 3)) + 1
        if options.get("knots") is None:
            inner = int(options["df"]) - order + bool(centred)
            quantiles = total.quantiles(np.linspace(0.0, 1.0, inner + 2)[1:-1]) if inner > 0 else np.zeros(0)
            if quantiles is None:
                raise self.refusal(f"its knots are quantiles of more than {DISTINCT:,} different values. Give knots=")
            options["knots"] = quantiles
        options = {"lower_bound": total.spread.low, "upper_bound": total.spread.high} | {
            name: value for name, value in options.items() if value is not None
        }
        basis = self._basis(options)
        sums = total.sums
        if total.basis is None and centred:
            if total.counts is None:
                raise self.refusal(
                    "it is centred by a mean over all rows, once its ends are known. Give lower_bound= and "
                    "upper_bound= beside knots=, or center=False"
                )
            sums = total.counts.to_numpy() @ basis(total.counts.index.to_numpy())
        basis(np.array([total.spread.low, total.spread.high]))
        fresh = basis.transform  # type: ignore[attr-defined]
        transform._degree, transform._knots, transform._center = fresh._degree, fresh._knots, bool(centred)
        if centred:
            transform._centering_matrix = centring_matrix(np.asarray(sums) / total.spread.n)
        transform.params_set = True

    def refusal(self, why: str) -> NotAvailableError:
        """The error for what two passes over the rows do not tell."""
        return NotAvailableError(f"{self.expression.label} of data that come in chunks: {why}.")


class _Basis:
    """A basis before centring, on some values."""

    def __init__(self, transform: Any, options: Mapping[str, Any]) -> None:
        self.transform, self.options = transform, dict(options)

    def __call__(self, x: Array) -> Array:
        return np.asarray(self.transform(x, **self.options))


def _scaling(total: Spread, center: Any = True, scale: Any = True) -> tuple[float, float]:
    """As `Scale` learns it."""
    shift = total.mean if center is True else float(center)
    if scale is not True:
        return shift, 1.0 if scale is False else float(scale)
    return shift, root_mean_square(total.about(shift), total.n, max(-total.low, total.high))


def wanted(expression: Expression) -> list[Wanted]:
    """The statistics of a leaf.

    Raises
    ------
    NotAvailableError
        One that is not summed chunk by chunk, or a statistic of a statistic.
    """
    if expression.is_column:
        return []
    tree = ast.parse(expression.code, mode="eval")
    wanted = []
    for node in ast.walk(tree):
        for call, part in _calls(node, expression):
            inner = [child for argument in _arguments(call) for child in ast.walk(argument)]
            if any(True for child in inner for _ in _calls(child, expression)):
                raise NotAvailableError(
                    f"{expression.label} of data that come in chunks: it takes a statistic of what holds one already, "
                    f"and one pass tells one of them. {REMEDY}"
                )
            wanted.append(_wanted(call, part, expression))
    return [each for each in wanted if each is not None]


def _calls(node: ast.AST, expression: Expression) -> Iterator[tuple[ast.Call, int | None]]:
    """A statistic that stands at this node: the call, and its number in the memory."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return
    if node.func.id == KEEP:
        number, thunk = node.args
        assert isinstance(number, ast.Constant) and isinstance(thunk, ast.Lambda)
        if isinstance(thunk.body, ast.Call) and _finish_of(thunk.body, expression) is not None:
            yield thunk.body, int(str(number.value))
    elif getattr(expression.objects.get(node.func.id), "__stateful_transform__", False):
        yield node, None


def _cuts(node: ast.AST) -> bool:
    """Whether a part of a leaf may take some of the rows alone."""
    return isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr in CUTS)


def _finish_of(call: ast.Call, expression: Expression) -> Finish | None:
    if isinstance(call.func, ast.Attribute):
        return METHODS.get(call.func.attr)
    function = expression.objects.get(call.func.id) if isinstance(call.func, ast.Name) else None
    return next((finish for reduction, finish in REDUCTIONS if function is reduction), None)


def _arguments(call: ast.Call) -> list[ast.expr]:
    owner = [call.func.value] if isinstance(call.func, ast.Attribute) else []
    return [*owner, *call.args, *(keyword.value for keyword in call.keywords)]


PLACES = {"Scale": ("center", "scale"), "Polynomial": ("degree", "raw"), "BSpline": ("df", "knots", "degree")}


def _wanted(call: ast.Call, part: int | None, expression: Expression) -> Wanted | None:
    transform = None if part is not None else expression.objects[str(getattr(call.func, "id", ""))]
    kind = type(transform).__name__
    if transform is not None and kind not in ("Center", "Scale", "Average", "Polynomial", "BSpline"):
        raise NotAvailableError(
            f"{expression.label} of data that come in chunks: what {kind} learns of all rows is no sum over them. "
            f"scale, center, poly, bs, ave, mean, sd, var, min, max and sum are. {REMEDY}"
        )
    rows = [call.func.value] if isinstance(call.func, ast.Attribute) else call.args[:1]
    options = {k.arg: _constant(k.value, expression) for k in call.keywords if k.arg is not None}
    if kind == "Average":
        rows = call.args
    else:
        rest = call.args if isinstance(call.func, ast.Attribute) else call.args[1:]
        names = PLACES.get(kind, ())
        if len(rest) > len(names) or not rows or (part is not None and not options.keys() <= {"ddof"}):
            raise NotAvailableError(
                f"{expression.label} of data that come in chunks: of what is taken of all rows the column alone may be "
                f"given, and ddof= by its name. {REMEDY}"
            )
        options |= {name: _constant(argument, expression) for name, argument in zip(names, rest, strict=False)}
    if kind == "Polynomial" and options.get("raw"):
        return None
    return Wanted(
        expression=expression,
        part=part,
        transform=transform,
        arguments=tuple(ast.unparse(row) for row in rows),
        options=options,
        finish=None if part is None else _finish_of(call, expression),
    )


def _constant(node: ast.expr, expression: Expression) -> Any:
    """The value of an option, which no row decides."""
    if any(isinstance(child, ast.Name) and child.id in expression.columns for child in ast.walk(node)):
        raise NotAvailableError(f"{expression.label} of data that come in chunks: an option hangs on a column.")
    return value_of(expression, pd.DataFrame(), ast.unparse(node))


def settle(wanteds: Sequence[Wanted], totals: Sequence[Any]) -> None:
    """Tell every leaf its statistics."""
    of_leaf: dict[int, tuple[Expression, dict[int, Any]]] = {}
    for each, total in zip(wanteds, totals, strict=True):
        value = each.result(total)
        if each.part is not None:
            of_leaf.setdefault(id(each.expression), (each.expression, {}))[1][each.part] = value
    for expression, statistics in of_leaf.values():
        assert expression.memory is not None
        expression.memory.preset(statistics)
