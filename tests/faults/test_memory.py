"""Fits that nobody holds any more take no memory."""

import os
import subprocess
import sys

import pytest

FITS = int(os.environ.get("FITS", "60"))  # of each kind; `FITS=250` for the figure in the documentation
MEBIBYTES = 8  # the allocator's own; 500 fits that left their cross-products behind would hold far more

PROGRAM = """
import ctypes, gc, resource, sys, warnings
import bayeslmm as blm

warnings.simplefilter("ignore")
sleep = blm.load_dataset("sleepstudy")

def held():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what has been freed goes back
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * resource.getpagesize() / 2**20

def fit(times):
    for seed in range(times):
        model = blm.Model("Reaction ~ Days + (Days | Subject)", sleep)
        reml = model.fit_reml()
        post = model.fit(random_seed=seed, draws=250, progressbar=False)
        str(reml.summary()), str(post.summary())

fit(20)
before = held()
fit(int(sys.argv[1]))
print(held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the C library to give memory back")
def test_memory_of_repeated_fits_is_flat():
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(FITS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < MEBIBYTES
