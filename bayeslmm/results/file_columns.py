"""Columns of labels or numbers as the arrays of a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import StorageError

Arrays = dict[str, np.ndarray]


def store(name: str, values: Any, arrays: Arrays, what: str) -> dict[str, Any]:
    """Put labels or numbers into the arrays; what is needed to read them back."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        arrays[name] = np.asarray(values.codes)
        categories = store(f"{name}_categories", values.categories.array, arrays, what)
        return {"array": name, "categories": categories, "ordered": bool(values.ordered)}
    zoned = isinstance(values.dtype, pd.DatetimeTZDtype)
    array = np.asarray(values, dtype="datetime64[ns]" if zoned else None)  # in UTC
    if array.dtype.kind in "biuf":
        arrays[name] = array
        return {"array": name}
    if array.dtype.kind == "M":
        arrays[name] = array.astype("datetime64[ns]").view(np.int64)
        return {"array": name, "as": str(values.dtype)}
    if not all(isinstance(value, str) for value in array):
        kinds = sorted({type(value).__name__ for value in array})
        raise StorageError(f"save: {what} holds {', '.join(kinds)}, which the file cannot. Make it one type of label.")
    arrays[name] = array.astype(object)
    return {"array": name, "as": "str"}


def read(about: Mapping[str, Any], arrays: Arrays) -> Any:
    """The labels or numbers that `store` has put into the arrays."""
    values: Any = arrays[about["array"]]
    if "categories" in about:
        categories = read(about["categories"], arrays)
        return pd.Categorical.from_codes(values, categories=pd.Index(categories), ordered=about["ordered"])
    if about.get("as") == "str":
        return pd.array(values.astype(object), dtype="str")
    if "as" in about:
        moments = pd.DatetimeIndex(values.view("datetime64[ns]"))
        dtype = pd.api.types.pandas_dtype(about["as"])
        zone = getattr(dtype, "tz", None)
        if zone is not None:
            moments = moments.tz_localize("UTC").tz_convert(zone)
        return moments.astype(dtype).array
    return values
