"""What first fits load, each in a fresh process: no sampler, no ArviZ and no matplotlib for REML, and no SciPy."""

import subprocess
import sys

import pytest

HEAVY = {"pymc", "pytensor", "nutpie", "arviz", "arviz_base", "arviz_plots", "arviz_stats", "matplotlib"}

REML_FIT = """
import bayeslmm as blm
blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")).fit_reml()
"""


POSTERIOR = """
import bayeslmm as blm
model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
model.fit(random_seed=1, progressbar=False)
"""


def all_modules_after(code: str) -> set[str]:
    """Modules that a fresh process has loaded after running ``code``."""
    show = "\nimport sys; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


def modules_after(code: str) -> set[str]:
    """The same, of the top level."""
    return {name.partition(".")[0] for name in all_modules_after(code)}


@pytest.mark.parametrize("code", ["import bayeslmm", REML_FIT], ids=["import", "REML fit"])
def test_heavy_libraries_stay_out(code):
    assert modules_after(code) & HEAVY == set()


def test_a_kept_reml_fit_loads_no_part_of_scipy_and_not_what_numba_compiles_with():
    # compiles what is not kept yet, the search as well, which a first fit does without
    all_modules_after("from bayeslmm.engine import newton\nnewton.is_ready.worth = 0\n" + REML_FIT)
    loaded = all_modules_after(REML_FIT)
    assert loaded & {"scipy.linalg", "scipy.special", "scipy.sparse", "scipy.optimize", "scipy.stats"} == set()
    assert loaded & {"numba.np.arraymath", "numba.np.npyimpl"} == set()


def test_an_exact_posterior_loads_of_arviz_what_tells_of_chains_and_no_pictures():
    assert modules_after(POSTERIOR) & {"arviz", "arviz_plots", "matplotlib", "pymc", "nutpie"} == set()


def test_datasets_need_pandas_only():
    loaded = modules_after("import bayeslmm.datasets as d; d.load_dataset('sleepstudy'); d.list_datasets()")
    assert loaded & (HEAVY | {"numba", "scipy", "xarray", "formulae"}) == set()


def test_the_check_can_fail():
    assert "matplotlib" in modules_after("import matplotlib") & HEAVY


def test_a_failing_process_is_not_taken_for_a_light_one():
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        modules_after("1 / 0")
