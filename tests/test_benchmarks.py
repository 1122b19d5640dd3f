"""The benchmarks still run; what they measure is read from benchmarks/README.md."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        (
            "reml.py",
            "--models sleepstudy_corr --repeats 2 --no-r --no-statsmodels --no-write",
            ["sleepstudy_corr_ml", "sleepstudy_corr_reml", "bootstrap refits", "nothing compiled yet"],
        ),
        (
            "posterior.py",
            "--models sleepstudy --repeats 1 --most 1e4 --no-r --no-write",
            ["bayeslmm: again", "First posterior in a new process", "with gradient"],
        ),
        (
            "nuts.py",
            "--models cbpp --repeats 1 --no-compile --no-write",
            ["bayeslmm: first of a process", "bayeslmm: again", "Bambi was left out"],
        ),
        ("waits.py", "--repeats 1 --no-write", ["first posterior after it", "loo() by row", "400 refits of hsb"]),
        ("anysize.py", "--rows 3e4 --ways memory,Parquet --no-write", ["30,000", "of themselves at most"]),
        ("growth.py", "--most 1e4 --repeats 1 --no-write", ["10,000", "within 4 standard errors"]),
    ],
)
def test_a_small_run(script, options, words):
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *options.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    for word in words:
        assert word in run.stdout
