"""Nothing that other code in the session relies on is changed by importing the package or by calling it.

Libraries that are loaded when they are first needed set things of their own: PyMC Python's recursion limit, PyTensor
two filters of warnings and the path, xarray a filter when it opens a file, joblib a variable of the environment. They
are loaded, and have done so, before the first look.
"""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import h5netcdf  # noqa: F401
import joblib  # noqa: F401
import numpy as np
import nutpie  # noqa: F401
import pymc  # noqa: F401
import pytensor
import pytest
import setuptools  # noqa: F401

import bayeslmm as blm

from .state import changes, snapshot

pytestmark = pytest.mark.filterwarnings("ignore")  # few draws are in doubt

ON_IMPORT = """
import numpy, pandas, scipy.linalg, numba, xarray, threadpoolctl, formulae
from faults.state import changes, snapshot
before = snapshot()
import bayeslmm
[getattr(bayeslmm, name) for name in bayeslmm.__all__]
print(changes(before, snapshot()))
"""


def test_import_changes_nothing(pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", ON_IMPORT], capture_output=True, text=True, cwd=pytestconfig.rootpath / "tests"
    )
    assert done.stdout == "[]\n", done.stderr


def sleep_model():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def few(**options):
    return {"draws": 100, "chains": 2, "progressbar": False} | options


@pytest.fixture(scope="module")
def fits():
    """A model with its fits, and what its libraries do when they are first called."""
    model = sleep_model()
    data = blm.load_dataset("cbpp")
    counts = blm.Model("p(incidence, size) ~ period + (1 | herd)", data, family="binomial")
    point, post = model.fit_reml(), model.fit(**few(random_seed=1))
    blm.plot_lines(point)
    pytensor.function([], pytensor.tensor.as_tensor(1.0), mode="NUMBA")
    return SimpleNamespace(
        model=model, counts=counts, point=point, post=post, nuts=counts.fit(**few(tune=100, random_seed=1))
    )


VERBS = ("summary", "fixef", "ranef", "var_corr", "icc", "r2", "tidy", "glance", "augment", "predict")
PICTURES = (blm.plot_ranef, blm.plot_pooling, blm.plot_lines, blm.plot_variance, blm.plot_residuals)
CALLS = {
    "model": lambda fits, path: sleep_model(),
    "point fits": lambda fits, path: (fits.model.fit_reml(), fits.model.fit_ml()),
    "posterior": lambda fits, path: fits.model.fit(**few(random_seed=1)),
    "posterior without a seed": lambda fits, path: fits.model.fit(**few()),
    "NUTS": lambda fits, path: fits.counts.fit(**few(tune=50)),
    "NUTS of PyMC": lambda fits, path: fits.counts.fit(**few(tune=50, nuts_sampler="pymc", cores=1)),
    "NUTS of nutpie": lambda fits, path: fits.counts.fit(**few(tune=50, nuts_sampler="nutpie")),
    "bootstrap": lambda fits, path: fits.point.bootstrap(4, cores=2, progressbar=False),
    "profile": lambda fits, path: fits.model.fit_ml().profile(),
    "tables": lambda fits, path: [
        str(getattr(fit, verb)()) for fit in (fits.point, fits.post, fits.nuts) for verb in VERBS
    ],
    "leaving out": lambda fits, path: (fits.post.loo(), fits.nuts.loo()),
    "folds": lambda fits, path: blm.kfold(fits.post, k=3),
    "check": lambda fits, path: [str(blm.check(fit)) for fit in (fits.point, fits.post, fits.nuts)],
    "replicates": lambda fits, path: (str(blm.ppc(fits.post)), str(blm.ppc(fits.nuts))),
    "pooling": lambda fits, path: str(blm.compare_pooling(fits.model)),
    "pictures": lambda fits, path: [
        draw(fit).savefig(path / "a.png") for fit in (fits.point, fits.post) for draw in PICTURES
    ],
    "pictures by ArviZ": lambda fits, path: [
        draw(fits.post).savefig(path / "a.png") for draw in (blm.plot_trace, blm.plot_rank)
    ],
    "report": lambda fits, path: blm.report(fits.post, path / "a.html"),
    "file": lambda fits, path: (blm.save(fits.post, path / "a.nc"), blm.load(path / "a.nc")),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_change_nothing(name, fits, tmp_path):
    warnings.filterwarnings("once", "decode_timedelta", FutureWarning)  # as xarray does
    before = snapshot()
    CALLS[name](fits, tmp_path)
    assert changes(before, snapshot()) == []


def test_calls_that_fail_change_nothing(fits, tmp_path):
    sleep, before = blm.load_dataset("sleepstudy"), snapshot()
    for call in (
        lambda: blm.Model("Reaction ~ (Days | ", sleep),
        lambda: blm.Model("Reaction ~ nothing + (1 | Subject)", sleep),
        lambda: fits.model.fit(draws=-1),
        lambda: fits.point.loo(),
        lambda: blm.save(fits.post, tmp_path / "nowhere" / "a.nc"),
        lambda: blm.report(fits.point, tmp_path / "nowhere" / "a.html"),
    ):
        with pytest.raises(blm.errors.BayesLMMError):
            call()
    assert changes(before, snapshot()) == []


def test_a_change_would_be_seen():
    before = snapshot()
    np.random.seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        found = changes(before, snapshot())
    assert [each.split(":")[0] for each in found] == ["numpy's generator", "warnings"]
