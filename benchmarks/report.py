"""What the benchmarks share: the environment of their processes, the machine, and the tables in README.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
ABSENT = "–"


def one_thread(**more: str) -> dict[str, str]:
    """Environment of a child process. It must be set before NumPy is imported, hence child processes."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), **more}


def machine() -> str:
    return f"{_cpu()}, {os.cpu_count()} cores; {_system()}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def versions(*packages: str) -> str:
    parts = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", *parts])


def blas_of_python() -> str:
    """The BLAS that NumPy and SciPy have loaded in this process, with its threads where that can be asked."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        import numpy as np

        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    found = {
        f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} thread)"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"


def table(rows: Sequence[Mapping[str, str]], *, left: int = 1) -> str:
    """A Markdown table with the keys of the first row as its head; columns after the first ``left`` align right."""
    head = list(rows[0])
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    cells = [[text.replace("|", r"\|") for text in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *cells])


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many significant digits, never in powers of ten."""
    if value is None:
        return ABSENT
    shown = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - _exponent(shown))
    return f"{shown:,.{decimals}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def difference(value: float | None) -> str:
    return ABSENT if value is None else f"{value:+.1e}"


def command(script: str, arguments: Sequence[str]) -> str:
    return shlex.join(["python", f"benchmarks/{script}", *arguments])


def facts(items: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in items.items())


def write_between(marker: str, text: str) -> None:
    """Replace what stands between ``<!-- marker:begin -->`` and ``<!-- marker:end -->`` in README.md."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"README.md lacks {begin} ... {end}")
    README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
