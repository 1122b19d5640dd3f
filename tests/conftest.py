"""Settings shared by all tests."""

import os
import pathlib
import sys

# one thread a worker of pytest-xdist: small problems, and more threads than cores only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

TESTS = pathlib.Path(__file__).parent
sys.path.insert(0, str(TESTS))  # plain.py, strategies.py

# the one data set that is not bundled: tests that need it skip where this folder is absent
SHARED_DATA = TESTS.parent.parent / "shared" / "data"
if SHARED_DATA.is_dir():
    os.environ.setdefault("BAYESLMM_DATA", str(SHARED_DATA))
