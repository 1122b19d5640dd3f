"""A file, standard input or the name of a data set → a table, and what was read in words.

The separator and the decimal sign are those that give the first lines one number of fields. Nothing is guessed
silently: what is not the plain case (comma, point, UTF-8) is said.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import difflib
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from ..datasets import list_datasets, load_dataset
from ..errors import DataError
from ..sources import source_of
from ..sources.arrow import columns_of_parquet

HEAD = 1 << 16  # bytes that are looked at
LINES = 50
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", r"\s+": "blanks"}
WITH_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
WITH_POINT = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?")
COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
PARQUET = b"PAR1"
NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 or netCDF file",
    b"\x89PNG": "a picture",
    b"RDX": "R's own format",
    b"RDA": "R's own format",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
}
ADVICE = "Save the table as CSV or Parquet."
BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """A table with what was read, and the file it came from (None for a data set or standard input).

    What is to be read in chunks stays a path in the place of the frame.
    """

    frame: Any
    description: str
    path: Path | None = None
    in_chunks: bool = False


def read_table(source: str, *, stream: bool = False) -> Table:
    """Read a file, standard input (``-``) or a data set of that name; a file comes first.

    Parameters
    ----------
    source : str
        Folders and globs of Parquet files are left to be read in chunks.
    stream : bool
        Whether to leave one Parquet file as well.

    Raises
    ------
    DataError
        There is no such file, or it holds no table; or chunks are asked for of something else than Parquet files.
    """
    chunks = _in_chunks(source, stream)
    if chunks is not None:
        return chunks
    if source == "-":
        if sys.stdin.isatty():
            raise DataError("'-' reads the table from a pipe, as in: cat data.csv | python -m bayeslmm fit - ...")
        return _read(io.BytesIO(sys.stdin.buffer.read()), "standard input", None)
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            raise DataError(f"{source} is a folder. Name the file in it.")
        if path.is_file():
            with path.open("rb") as content:
                return _read(content, path.name, path)
    except OSError as problem:
        raise DataError(f"{source} cannot be read: {problem.strerror or problem}.") from None
    if source in list(list_datasets()["name"]):
        frame = load_dataset(source)
        return Table(frame=frame, description=_described(f"data set {source}", frame, ""))
    raise DataError(_nothing(source))


def _in_chunks(source: str, stream: bool) -> Table | None:
    """Parquet files that are read in chunks: those of a folder or a glob, or one if asked."""
    path = str(Path(source).expanduser())
    several = source != "-" and not Path(path).is_file()
    parquet = source_of(path) if source != "-" and (several or stream) else None
    if parquet is None:
        if stream:
            raise DataError(f"--stream: {source} is no Parquet file, nor a folder or glob of some. {ADVICE}")
        return None
    names, rows = parquet.columns, parquet.n_rows
    many = f"{rows:,} rows" if rows is not None else "rows"
    description = f"Data: {source}, {many}, {len(names)} columns ({_briefly(names)}), read in chunks"
    return Table(frame=path, description=description, path=Path(path) if not several else None, in_chunks=True)


def _nothing(source: str) -> str:
    names = list(list_datasets()["name"])
    near = difflib.get_close_matches(source.lower(), names, n=1)
    files = [entry.name for entry in Path(source).parent.glob("*")]
    near = near or difflib.get_close_matches(Path(source).name, files, n=1, cutoff=0.75)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no file {source!r}, and no data set of that name.{guess} 'bayeslmm datasets' lists the data sets."


def _read(stream: BinaryIO, label: str, path: Path | None) -> Table:
    start = stream.read(16)
    stream.seek(0)
    for magic, opened in COMPRESSED.items():
        if start.startswith(magic):
            stream = opened(stream)
    try:
        head = stream.read(HEAD)
        stream.seek(0)
        if head.startswith(PARQUET):
            return _parquet(stream, label, path)
        frame, reading = _text(stream, head, label)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as problem:
        raise DataError(f"{label} is a damaged compressed file: {_sentence(problem)}") from None
    return Table(frame=frame, description=_described(label, frame, reading), path=path)


def _described(label: str, frame: pd.DataFrame, how: str) -> str:
    names = [str(name) for name in frame.columns]
    return f"Data: {label}{how}, {len(frame):,} rows, {len(names)} columns ({_briefly(names)})"


def _briefly(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _refuse_doubled(names: Sequence[str], label: str) -> None:
    """Raise DataError if two columns have one name."""
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise DataError(f"{label} has several columns called {', '.join(map(repr, doubled))}. Rename all but one.")


def _parquet(stream: BinaryIO, label: str, path: Path | None) -> Table:
    try:
        frame = pd.read_parquet(stream)
    except ImportError:
        raise DataError(
            f"{label} is Parquet, which takes pyarrow to read: pip install pyarrow. Or save it as CSV."
        ) from None
    except (ValueError, OSError) as problem:
        _refuse_doubled(columns_of_parquet(stream), label)
        raise DataError(f"{label} is a damaged Parquet file: {_sentence(problem)}") from None
    frame = frame.reset_index() if any(frame.index.names) else frame
    return Table(frame=frame, description=_described(label, frame, ""), path=path)


# -- text


def _text(stream: BinaryIO, head: bytes, label: str) -> tuple[pd.DataFrame, str]:
    encodings = ("utf-16",) if head.startswith(BYTE_ORDER_MARKS) else ("utf-8-sig", "cp1252")
    kind = next((what for magic, what in NO_TEXT.items() if head.startswith(magic)), "")
    if kind or (b"\0" in head and encodings != ("utf-16",)):
        raise DataError(f"{label} is {kind or 'no text'}, and no table that can be read. {ADVICE}")
    for encoding in encodings:
        try:
            return _parsed(stream, _lines(head, encoding), label, encoding)
        except UnicodeDecodeError:
            stream.seek(0)
    raise DataError(f"{label} is no text that can be read: not {' and not '.join(encodings)}. {ADVICE}")


def _parsed(stream: BinaryIO, lines: list[str], label: str, encoding: str) -> tuple[pd.DataFrame, str]:
    if not lines:
        raise DataError(f"{label} is empty.")
    begins = lines[0].strip()
    if begins.startswith(("<", "{", "[{")):
        raise DataError(f"{label} begins with {begins[:30]!r}: a web page or JSON, not a table. {ADVICE}")
    separator = _separator(lines)
    _refuse_doubled([name.strip() for name in _split(lines[:1], separator)[0]], label)
    decimal = "," if separator != "," and _has_decimal_comma(_split(lines, separator)) else "."
    options: dict[str, Any] = {
        "sep": separator,
        "decimal": decimal,
        "encoding": encoding,
        "skipinitialspace": True,
        "low_memory": False,
    }
    try:
        frame = pd.read_csv(stream, **options)
        stream.seek(0)
        codes = _codes(pd.read_csv(stream, **options, dtype=str), frame)
    except UnicodeDecodeError:
        raise
    except (ValueError, csv.Error) as problem:  # pandas' ParserError and EmptyDataError are ValueErrors
        cut = f"separator {SEPARATORS[separator]}"
        raise DataError(f"{label} is no regular table ({cut}): {_sentence(problem)}") from None
    frame = frame.assign(**codes)
    format_words = [f"separator {SEPARATORS[separator]}"] if separator != "," else []
    format_words += ["decimal comma"] if decimal == "," else []
    format_words += ["read as Windows-1252, since it is not UTF-8"] if encoding == "cp1252" else []
    format_words += [f"{name} kept as text for its leading zeros" for name in codes]
    return frame, f" ({', '.join(format_words)})" if format_words else ""


def _codes(texts: pd.DataFrame, frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Columns of digits with leading zeros as they are written: as numbers 01 and 1 would be one label."""
    numeric = [str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    return {name: texts[name] for name in numeric if texts[name].str.fullmatch(r"[+-]?0\d+\s*").any()}


def _has_decimal_comma(rows: list[list[str]]) -> bool:
    fields = [field.strip() for row in rows for field in row]
    return any(map(WITH_COMMA.fullmatch, fields)) and not any(map(WITH_POINT.fullmatch, fields))


def _lines(head: bytes, encoding: str) -> list[str]:
    """The first complete lines that hold something; a letter may be cut at the end of the head."""
    lines = codecs.getincrementaldecoder(encoding)().decode(head).splitlines()
    complete = lines if len(head) < HEAD or len(lines) < 2 else lines[:-1]
    return [line for line in complete if line.strip()][:LINES]


def _separator(lines: list[str]) -> str:
    """The separator that gives every line the same number of fields, and the most; blanks only if no other does.

    Where nothing is regular, the one that cuts the first line most often; pandas then says which line is at fault.
    """
    counts = {separator: [len(fields) for fields in _split(lines, separator)] for separator in SEPARATORS}
    blanks = counts.pop(r"\s+")
    regular = [separator for separator, fields in counts.items() if _is_regular(fields)]
    if not regular and _is_regular(blanks):
        return r"\s+"
    return max(regular or counts, key=lambda separator: counts[separator][0])


def _is_regular(fields: list[int]) -> bool:
    """R writes a first line that is one field short where rows have names."""
    first, others = fields[0], set(fields[1:] or fields)
    return first > 1 and others in ({first}, {first + 1})


def _split(lines: list[str], separator: str) -> list[list[str]]:
    if separator == r"\s+":
        return list(csv.reader((re.sub(r"\s+", " ", line.strip()) for line in lines), delimiter=" "))
    return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _sentence(problem: Exception) -> str:
    text = str(problem).splitlines()[0].removeprefix("Error tokenizing data. C error: ").rstrip(".")
    return f"{text}."
