"""Data sets to learn and to test with: :func:`load_dataset` and :func:`list_datasets`.

What is known about each (columns, source, licence) stands in ``data/catalogue.toml``. All are bundled but
for ``minneapolis``, which belongs to its publisher: it is looked up in the folder named by the environment variable
``BAYESLMM_DATA``, then in the user's cache, then downloaded once, and its values are checked wherever it came
from.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DataError, DatasetUnavailableError

__all__ = ["list_datasets", "load_dataset"]

_FOLDER = Path(__file__).parent / "data"
_DOWNLOAD_SECONDS = 30
_MOST_BYTES = 10_000_000  # no data set we fetch comes near; stops a runaway answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One data set of the catalogue; ``url`` and ``sha256`` only where the file is not bundled."""

    name: str
    title: str
    description: str
    rows: int
    columns: Mapping[str, str]  # name -> meaning, in the order of the file
    factors: tuple[str, ...]  # columns read as strings
    source: str
    licence: str
    file: str
    url: str | None
    sha256: str | None  # of the canonical text of the content, see _checksum


def load_dataset(name: str) -> pd.DataFrame:
    """Load one of the data sets of :func:`list_datasets`.

    Factors are columns of strings, also where their codes look like numbers (``school``, ``Subject``,
    ``Diet``, ``period``), so a formula treats them as factors in the fixed part as well as in groups. Their
    levels sort as text does ("1", "10", "2"). Everything else is numeric; a missing value is NaN.

    Parameters
    ----------
    name : str
        A name in ``list_datasets()["name"]``.

    Returns
    -------
    pandas.DataFrame
        A fresh table at each call, rows in the order of the source.

    Raises
    ------
    DataError
        No data set has this name.
    DatasetUnavailableError
        The data set is not bundled, and it could not be found, downloaded or verified.

    Examples
    --------
    >>> load_dataset("sleepstudy").shape
    (180, 3)
    >>> load_dataset("chickweight")["Diet"].unique().tolist()
    ['1', '2', '3', '4']
    """
    catalogue = _catalogue()
    if not isinstance(name, str) or name not in catalogue:
        raise DataError(_unknown(name, list(catalogue)))
    entry = catalogue[name]
    return _read(entry, _FOLDER / entry.file) if entry.url is None else _external(entry, entry.url)


def list_datasets() -> pd.DataFrame:
    """Describe the data sets that :func:`load_dataset` knows.

    Returns
    -------
    pandas.DataFrame
        One row a data set: ``name``, ``rows``, ``columns`` (each column with its meaning), ``description``,
        ``source`` and ``licence``.

    Examples
    --------
    >>> list_datasets().query("rows < 50")["name"].tolist()
    ['dyestuff', 'dyestuff2', 'eight_schools', 'bcg', 'reedfrogs']
    """
    return pd.DataFrame(
        [
            {
                "name": entry.name,
                "rows": entry.rows,
                "columns": "; ".join(f"{column}: {meaning}" for column, meaning in entry.columns.items()),
                "description": f"{entry.title}. {entry.description}",
                "source": entry.source,
                "licence": entry.licence,
            }
            for entry in _catalogue().values()
        ]
    )


@cache
def _catalogue() -> Mapping[str, _Entry]:
    tables = tomllib.loads((_FOLDER / "catalogue.toml").read_text(encoding="utf-8"))
    return {name: _entry(name, table) for name, table in tables.items()}


def _entry(name: str, table: Mapping[str, Any]) -> _Entry:
    defaults = {"file": f"{name}.csv", "url": None, "sha256": None}
    return _Entry(name=name, **{**defaults, **table, "factors": tuple(table["factors"])})


def _unknown(name: object, names: list[str]) -> str:
    close = difflib.get_close_matches(str(name).lower(), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"No data set is called {name!r}.{hint} The data sets are: {', '.join(names)}."


def _read(entry: _Entry, file: Path | io.BytesIO) -> pd.DataFrame:
    # Only NA is missing: pandas would also take a level called "None" or "null" away.
    return pd.read_csv(file, dtype=dict.fromkeys(entry.factors, str), keep_default_na=False, na_values=["NA"])


# ---- data sets that are not bundled ----------------------------------------------------------------------


def _external(entry: _Entry, url: str) -> pd.DataFrame:
    named = os.environ.get("BAYESLMM_DATA")
    if named and (file := Path(named).expanduser() / entry.file).is_file():
        return _verified(entry, file.read_bytes(), f"{file} (folder named by BAYESLMM_DATA)")
    cached = _cache_folder() / entry.file
    with suppress(OSError, DatasetUnavailableError):  # absent or damaged: fetch it again
        return _verified(entry, cached.read_bytes(), str(cached))
    content = _download(entry, url)
    frame = _verified(entry, content, url)
    with suppress(OSError):  # a read-only home costs a download next time, nothing else
        _write_atomically(cached, content)
    return frame


def _verified(entry: _Entry, content: bytes, origin: str) -> pd.DataFrame:
    try:
        frame = _read(entry, io.BytesIO(content))
    except ValueError:  # not a table at all, or not text
        frame = pd.DataFrame()
    problem = None
    if list(frame.columns) != list(entry.columns):
        problem = f"its columns are not {', '.join(entry.columns)}"
    elif len(frame) != entry.rows:
        problem = f"it has {len(frame)} rows instead of {entry.rows}"
    elif _checksum(frame) != entry.sha256:
        problem = "its values differ (checksum)"
    if problem:
        raise DatasetUnavailableError(
            f"{origin} is not the published data set {entry.name!r}: {problem}; replace the file, "
            f"or set BAYESLMM_DATA to a folder with the published {entry.file}."
        )
    return frame


def _checksum(frame: pd.DataFrame) -> str:
    """SHA-256 of the values in one canonical spelling: blind to line endings, quotes and trailing zeros."""
    numbers = frame.select_dtypes("number").columns
    canonical = frame.astype(dict.fromkeys(numbers, float)).to_csv(index=False, na_rep="NA", lineterminator="\n")
    return hashlib.sha256(canonical.encode()).hexdigest()


def _download(entry: _Entry, url: str) -> bytes:
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=_DOWNLOAD_SECONDS) as answer:
            return answer.read(_MOST_BYTES)
    except (OSError, HTTPException) as error:
        raise DatasetUnavailableError(
            f"Data set {entry.name!r} is not bundled and could not be downloaded ({error}): save {url} as "
            f"{entry.file} in a folder and set the environment variable BAYESLMM_DATA to that folder."
        ) from None


def _cache_folder() -> Path:
    if cache_home := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache_home) / "bayeslmm"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "bayeslmm" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bayeslmm"
    return Path.home() / ".cache" / "bayeslmm"


def _write_atomically(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(part, file)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise
