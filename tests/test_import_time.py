"""`import bayeslmm` and a REML fit, each in a fresh process, load no sampler, no ArviZ and no matplotlib."""

import subprocess
import sys

import pytest

HEAVY = {"pymc", "pytensor", "nutpie", "arviz", "arviz_base", "arviz_plots", "arviz_stats", "matplotlib"}

REML_FIT = """
import bayeslmm as blm
blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")).fit_reml()
"""


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running ``code``."""
    show = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("code", ["import bayeslmm", REML_FIT], ids=["import", "REML fit"])
def test_heavy_libraries_stay_out(code):
    assert modules_after(code) & HEAVY == set()


def test_datasets_need_pandas_only():
    loaded = modules_after("import bayeslmm.datasets as d; d.load_dataset('sleepstudy'); d.list_datasets()")
    assert loaded & (HEAVY | {"numba", "scipy", "xarray", "formulae"}) == set()


def test_the_check_can_fail():
    assert "matplotlib" in modules_after("import matplotlib") & HEAVY


def test_a_failing_process_is_not_taken_for_a_light_one():
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        modules_after("1 / 0")
