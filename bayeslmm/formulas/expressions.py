"""One leaf of a formula → values on some rows, with what the leaf has learnt from the rows of the fit.

A call such as ``scale(x)`` is ordinary Python, evaluated on the kept rows with the columns as Series. Stateful
transforms (``scale``, ``poly``, ``bs``, …) are made once per place in the formula, so new data are transformed with the
parameters of the fit; single numbers of a column, as in ``x - np.mean(x)``, are kept by the leaf's `Memory`. formulae
is imported only when one of its names is used.

What is evaluated sees the columns, functions and values it names and nothing else, no builtins either.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ..errors import BayesLMMError, DataError
from ..tools.frame import Columns, check_finite, check_size, is_numeric, plain
from .contrasts import CONTRASTS, Coding, Sum, Treatment
from .memory import Memory
from .transforms import Binary, Center, CurvesOfLevels, Indicator, Scale, double, double_unless_logical

LIBRARIES = frozenset({"bayeslmm", "formulae", "numpy", "pandas"})
# what code calls besides the objects it names
KEEP, DOUBLE, NUMBER, NOT = "_keep", "_double", "_number", "_not"


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


def treatment_coded(data: Any, ref: Any = None, levels: Any = None) -> Factor:
    """``T(x, ref)``: categorical, compared with a level."""
    return Factor(data, Treatment(ref), levels)


def sum_coded(data: Any, omit: Any = None, levels: Any = None) -> Factor:
    """``S(x, omit)``: categorical, compared with the mean of the levels."""
    return Factor(data, Sum(omit), levels)


def identity(x: Any) -> Any:
    """``I(x)``: the value itself."""
    return x


@dataclass(frozen=True, slots=True)
class Counts:
    """``p(successes, trials)``: the response of a binomial model."""

    successes: Any
    trials: Any


@dataclass(frozen=True, slots=True)
class Censoring:
    """``cens(y, status, upper)``: a response of which some rows are known to lie in an interval only."""

    y: Any
    status: Any
    upper: Any = None


OWN = {
    "C": as_factor,
    "I": identity,
    "S": sum_coded,
    "T": treatment_coded,
    **CONTRASTS,
    "B": Binary,
    "binary": Binary,
    "center": Center,
    "fs_curves": CurvesOfLevels,
    "indicator": Indicator,
    "scale": Scale,
    "standardize": Scale,
    "p": Counts,
    "prop": Counts,
    "proportion": Counts,
    "cens": Censoring,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A leaf with every name resolved.

    ``code`` is Python over stand-in names; ``columns`` maps these to columns of the data and ``objects`` to
    functions and transforms. A plain column has no code. ``captured`` holds what came from the names of the scope, and
    ``numeric`` the columns that may not hold text, as an untrusted formula reckons with them. ``memory`` keeps the
    statistics of columns inside the leaf; None where it goes row by row without doubt. ``coding`` holds the contrasts
    that the model has for factors, where the leaf names none.
    """

    label: str
    code: str
    columns: Mapping[str, str]
    objects: Mapping[str, Any]
    captured: Mapping[str, Any] = field(default_factory=dict)
    numeric: frozenset[str] = frozenset()
    memory: Memory | None = None
    coding: Coding | None = None

    @property
    def is_column(self) -> bool:
        """True for a leaf that is a column as it stands."""
        return not self.code


def from_formulae(name: str) -> Any:
    """A transform of formulae by its name in formulas."""
    from formulae.transforms import TRANSFORMS

    return TRANSFORMS[name]


def centring_matrix(means: np.ndarray) -> np.ndarray:
    """What formulae multiplies a basis (n, k) with whose columns have these means (k,), to centre it."""
    from formulae.utils import get_centering_matrix

    return np.asarray(get_centering_matrix(means[None, :]))


def evaluate(expression: Expression, frame: pd.DataFrame | Columns) -> Any:
    """The value of a leaf on these rows; any failure becomes a DataError that shows the expression."""
    if expression.is_column:
        return frame[expression.label]
    for column in expression.numeric:
        if not is_numeric(frame[column]):
            raise DataError(
                f"{expression.label} cannot be computed: column {column!r} holds text or categories, not numbers."
            )
    memory = expression.memory
    try:
        with np.errstate(all="ignore"):
            if memory is None or memory.complete:
                return _value(expression, frame)
            used = frame[list(dict.fromkeys(expression.columns.values()))]
            return memory.learn(lambda rows: _value(expression, rows), used, expression.label)
    except BayesLMMError:
        raise
    except Exception as problem:
        text = [column for column in dict.fromkeys(expression.columns.values()) if not is_numeric(frame[column])]
        hint = f" Note that {', '.join(map(repr, text))} holds text or categories, not numbers." if text else ""
        raise DataError(
            f"{expression.label} cannot be computed: {type(problem).__name__}: {_sentence(problem)}{hint}"
        ) from (problem if _calls_users_code(expression) else None)


def _value(expression: Expression, frame: pd.DataFrame | Columns) -> Any:
    """What the code of a leaf gives on these rows."""
    return value_of(expression, frame, expression.code)


def value_of(expression: Expression, frame: pd.DataFrame | Columns, code: str) -> Any:
    """What a piece of the code of a leaf gives on these rows."""
    columns = expression.columns.items() if len(frame.columns) else ()
    scope: dict[str, Any] = {stand_in: frame[column] for stand_in, column in columns}
    scope.update(expression.objects)
    scope.update({DOUBLE: double, NUMBER: double_unless_logical, NOT: np.logical_not, KEEP: expression.memory})
    return eval(code, {"__builtins__": {}, **scope})


def _calls_users_code(expression: Expression) -> bool:
    """Whether the traceback of a failure leads into a function that the user can mend."""
    functions = [value for value in expression.objects.values() if inspect.isfunction(value)]
    return any(function.__module__.partition(".")[0] not in LIBRARIES for function in functions)


def _sentence(problem: Exception) -> str:
    lines = str(problem).splitlines() or [""]
    return lines[0][:200].rstrip(".") + "."


def as_numbers_or_factor(value: Any, expression: Expression, index: pd.Index) -> np.ndarray | Factor:
    """A value as float64 of shape (n,) or (n, k), or as a Factor whose data are a plain Series."""
    if expression.is_column and isinstance(value, pd.Series) and is_numeric(value):
        numbers = value.to_numpy(dtype=np.float64)
        check_finite(numbers, index, _described(expression))
        return numbers
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
        raise DataError(f"{expression.label} gives {got}; one value for each of the {len(index)} rows is needed.")
    if isinstance(value, pd.Series) and expression.is_column:
        return value
    series = value if isinstance(value, pd.Series) else pd.Series(value, index=index)
    if types.is_float_dtype(series.dtype):
        return series.astype("float64")
    if bool(series.isna().any()):
        raise DataError(f"{expression.label} gives missing values in complete rows.")
    return plain(series, expression.label)


def total_offset(
    expressions: tuple[Expression, ...], frame: pd.DataFrame | Columns, passed: np.ndarray | None
) -> np.ndarray:
    """The sum of the offsets on these rows, with what was given from outside."""
    total = np.zeros(len(frame)) if passed is None else passed.copy()
    for expression in expressions:
        evaluated = evaluate(expression, frame)
        if np.ndim(evaluated) == 0:
            evaluated = np.full(len(frame), evaluated)
        numbers = as_numbers_or_factor(evaluated, expression, frame.index)
        if not isinstance(numbers, np.ndarray) or numbers.ndim > 1:
            raise DataError(f"The offset {expression.label!r} does not hold one number per row.")
        total += numbers
    check_finite(total, frame.index, "The offset")
    check_size(total[:, None], ["offset"])
    return total
