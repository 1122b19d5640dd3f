"""What users wait for, in time of the processor: python benchmarks/waits.py --help."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import report

FIRST = """
import time; clock = time.process_time; marks = [clock()]
import numpy, pandas; marks.append(clock())
import bayeslmm as blm
model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
model.fit_reml(); marks.append(clock())
model.fit(random_seed=1, progressbar=False); marks.append(clock())
print(*(b - a for a, b in zip(marks, marks[1:])))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="processes, and runs of a verb")
    parser.add_argument("--compile", action="store_true", help="also compile everything anew, some minutes")
    parser.add_argument("--no-write", action="store_true", help="do not write into README.md")
    options = parser.parse_args()
    rows = [*first_minute(options.repeats, options.compile), *verbs(options.repeats)]
    items = {
        "Machine": report.machine(),
        "Versions": report.versions("numpy", "scipy", "numba", "pandas", "bayeslmm"),
        "Command": f"`{report.command('waits.py', sys.argv[1:])}`",
    }
    text = f"{report.facts(items)}\n\n{report.table(rows)}"
    print(text)
    if not options.no_write:
        report.write_between("waits", text)


def first_minute(repeats: int, compiles: bool) -> list[dict[str, str]]:
    """A first fit in a new process, in multiples of what importing NumPy and pandas takes in the same one."""
    runs = [[float(x) for x in _python(FIRST).split()] for _ in range(repeats)]
    imports = median(run[0] for run in runs)
    names = ["import numpy, pandas", "first REML fit of a process, imports included", "first posterior after it"]
    rows = [_row(name, median(run[i] for run in runs), imports) for i, name in enumerate(names)]
    if compiles:
        with tempfile.TemporaryDirectory() as folder:
            before, begin = os.times(), time.perf_counter()
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            subprocess.run([sys.executable, "-m", "bayeslmm", "compile"], env=environment, check=True)
            after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        rows.append(_row(f"bayeslmm compile ({time.perf_counter() - begin:.0f} s by the clock)", spent, imports))
    return rows


def verbs(repeats: int) -> list[dict[str, str]]:
    """Verbs of fits in a process in which each has run once."""
    import bayeslmm as blm

    sleep, hsb = blm.load_dataset("sleepstudy"), blm.load_dataset("hsb")
    small = blm.Model("Reaction ~ Days + (Days | Subject)", sleep)
    large = blm.Model("mathach ~ ses + (ses | school)", hsb)
    posts = iter([large.fit(random_seed=seed, progressbar=False) for seed in range(3 * (repeats + 1))])
    refits = {"sleepstudy": small.fit_reml(), "hsb": large.fit_reml()}

    def bootstrap(name: str) -> Callable[[], Any]:
        return lambda: refits[name].confint(method="boot", draws=400, cores=1, random_seed=1, progressbar=False)

    works: dict[str, Callable[[], Any]] = {
        "Model() of sleepstudy": lambda: blm.Model("Reaction ~ Days + (Days | Subject)", sleep),
        "its fit_reml()": small.fit_reml,
        "loo() by row of hsb, 7,185 rows": lambda: next(posts).loo(),
        "check() of its posterior": lambda: blm.check(next(posts)),
        "400 refits of sleepstudy by the bootstrap": bootstrap("sleepstudy"),
        "400 refits of hsb by the bootstrap": bootstrap("hsb"),
    }
    return [_row(name, _least(work, repeats)) for name, work in works.items()]


def _least(work: Callable[[], Any], repeats: int) -> float:
    """Least time of the processor: what else runs on a machine only adds to it."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def _row(name: str, seconds: float, imports: float | None = None) -> dict[str, str]:
    multiples = report.ABSENT if imports is None else report.number(seconds / imports, 2)
    return {"what": name, "processor s": report.number(seconds), "multiples of the imports": multiples}


if __name__ == "__main__":
    main()
