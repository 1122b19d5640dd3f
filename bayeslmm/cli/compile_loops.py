"""``bayeslmm compile``: every compiled loop made and kept, by two processes side by side."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FEW = {"draws": 25, "tune": 25, "random_seed": 1, "progressbar": False}


def run_compile(options: argparse.Namespace) -> int:
    """Fit small models; what gets compiled is kept beside the modules, or in NUMBA_CACHE_DIR."""
    start = time.perf_counter()
    print("Compiling the loops, once: some minutes on one processor, two thirds of that on two.", flush=True)
    compile_each(["kernel"])
    child = _beside(["nuts", "quadrature"])
    try:
        compile_each(["search", "sampler", "modes"])
    except BaseException:
        if child is not None:
            child.kill()
        raise
    if child is None or child.wait() != 0:
        compile_each(["nuts", "quadrature"])
    compile_each(["left out"])
    print(f"All is compiled: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


def compile_each(names: Sequence[str]) -> None:
    """Compile these loops, and say so: each line is whole, since two processes may write."""
    import bayeslmm as blm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)  # ten draws are in doubt
        for name in names:
            words, make = LOOPS[name]
            print(f"... {words}\n", end="", flush=True)
            start = time.perf_counter()
            make()
            print(f"    {words}: {time.perf_counter() - start:.1f} s\n", end="", flush=True)


def _beside(names: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """A second process that compiles these; None where there is no processor to spare, or no Python to start."""
    if (os.cpu_count() or 1) < 2 or not sys.executable or getattr(sys, "frozen", False):
        return None
    home = str(Path(__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {home!r})\n"
        f"from bayeslmm.cli import compile_loops as loops\nloops.compile_each({list(names)!r})"
    )
    try:
        return subprocess.Popen([sys.executable, "-c", code])
    except OSError:
        return None


def _sleepstudy() -> Any:
    import bayeslmm as blm

    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def _herds() -> Any:
    import bayeslmm as blm

    return blm.Model("p(incidence, size) ~ period + (1 | herd)", blm.load_dataset("cbpp"), family="binomial")


def _kernel() -> None:
    _sleepstudy().fit_reml().summary()


def _search() -> None:
    _sleepstudy().fit_reml().confint(method="boot", draws=2, cores=1, progressbar=False)


def _sampler() -> None:
    _sleepstudy().fit(random_seed=1, progressbar=False).loo()


def _nuts() -> None:
    _sleepstudy().fit(method="nuts", **FEW)


def _quadrature() -> None:
    _herds().fit(**FEW)


def _modes() -> None:
    from ..engine import laplace_loops

    laplace_loops.is_ready.worth = 0
    _herds().fit_ml()


def _left_out() -> None:
    draws = _herds().fit(**FEW)
    for unit in ("observation", "herd"):
        draws.loo(unit, refit=False)


LOOPS: dict[str, tuple[str, Callable[[], None]]] = {
    "kernel": ("the kernel of REML", _kernel),
    "search": ("the search of REML", _search),
    "sampler": ("the exact sampler, and rows left out", _sampler),
    "nuts": ("the density of NUTS, of every family", _nuts),
    "quadrature": ("effects integrated out, of every family", _quadrature),
    "modes": ("point fits of every other family", _modes),
    "left out": ("rows and groups left out, of every family", _left_out),
}
